"""SMILES and annotations to bits, and how alike they are (chapter 03). A missing structure gives a
row of zeros, never an error.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.special import ndtri

from clmt_lib.io import cache_file, read_cached, write_cached

QUANTILES = 200  # of a feature that is brought to a normal distribution, at most
END = 1e-7  # how near to 0 or 1 a rank may come


def fingerprints(drugs: pd.DataFrame, radius: int = 2, bits: int = 2048) -> np.ndarray:
    """[D, bits] float64 Morgan (ECFP) bits of each drug's SMILES (Rogers and Hahn 2010); zeros
    where the structure is missing.
    """
    from rdkit import Chem
    from rdkit.Chem import rdFingerprintGenerator

    make = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=bits)
    out = np.zeros((len(drugs), bits))
    for row, smiles in enumerate(drugs["smiles"]):
        if isinstance(smiles, str):
            out[row] = make.GetFingerprintAsNumPy(Chem.MolFromSmiles(smiles))
    return out


def alike(a: Sequence[str], b: Sequence[str], kind: str = "morgan") -> np.ndarray:
    """[a, b] Tanimoto similarity of fingerprints (2,048 bits) of SMILES; 0 beside an empty one.

    Parameters
    ----------
    kind : "morgan" (radius 2), "atom_pair" or "path" (RDKit's own)
    """
    from rdkit import Chem
    from rdkit.Chem import rdFingerprintGenerator as generators

    make = {
        "morgan": generators.GetMorganGenerator(radius=2, fpSize=2048),
        "atom_pair": generators.GetAtomPairGenerator(fpSize=2048),
        "path": generators.GetRDKitFPGenerator(fpSize=2048),
    }[kind]
    once = {text: row for row, text in enumerate(dict.fromkeys([*a, *b]))}
    bits = np.zeros((len(once), 2048), dtype=np.float32)
    for text, row in once.items():
        if text:
            bits[row] = make.GetFingerprintAsNumPy(Chem.MolFromSmiles(text))
    x, y = bits[[once[text] for text in a]], bits[[once[text] for text in b]]
    return tanimoto(x, y)


COUNTED = ("morgan", "atom_pairs", "torsions", "paths")


def fragment_counts(drugs: pd.DataFrame, kind: str = "morgan", bits: int = 2048) -> np.ndarray:
    """[D, bits] float32 counts of hashed fragments; zeros where the structure is missing.

    Parameters
    ----------
    kind : morgan (circular, radius 2), atom_pairs (two atoms and their distance), torsions (four
        atoms in a row) or paths (RDKit's own, up to seven bonds)
    """
    from rdkit import Chem
    from rdkit.Chem import rdFingerprintGenerator as generators

    make = {
        "morgan": lambda: generators.GetMorganGenerator(radius=2, fpSize=bits),
        "atom_pairs": lambda: generators.GetAtomPairGenerator(fpSize=bits),
        "torsions": lambda: generators.GetTopologicalTorsionGenerator(fpSize=bits),
        "paths": lambda: generators.GetRDKitFPGenerator(fpSize=bits),
    }[kind]()
    out = np.zeros((len(drugs), bits), dtype=np.float32)
    for row, smiles in enumerate(drugs["smiles"]):
        if isinstance(smiles, str):
            out[row] = make.GetCountFingerprintAsNumPy(Chem.MolFromSmiles(smiles))
    return out


def count_tanimoto(counts: np.ndarray, most: int = 8) -> np.ndarray:
    """[D, D] sum of the smaller over sum of the larger counts (Tanimoto of multisets), counts above
    `most` cut; an empty row resembles only itself.

    >>> count_tanimoto(np.array([[2, 1], [1, 0], [0, 0]])).round(2).tolist()
    [[1.0, 0.33, 0.0], [0.33, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    cut = np.minimum(counts, most).astype(np.float32)
    steps = [(cut >= step).astype(np.float32) for step in range(1, int(cut.max(initial=0)) + 1)]
    both = sum((part @ part.T for part in steps), np.zeros((len(cut),) * 2, dtype=np.float32))
    size = cut.sum(1)
    out = (both / np.maximum(size[:, None] + size[None] - both, 1)).astype(np.float64)
    np.fill_diagonal(out, 1.0)
    return out


def jaccard(bits: np.ndarray) -> np.ndarray:
    """[D, D] Tanimoto (Jaccard) similarity of 0/1 rows; an empty row resembles only itself.

    >>> jaccard(np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]])).round(2).tolist()
    [[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    both = bits @ bits.T
    size = bits.sum(1)
    either = size[:, None] + size[None] - both
    out = np.divide(both, either, out=np.zeros(both.shape, dtype=float), where=either > 0)
    np.fill_diagonal(out, 1.0)
    return out


def membership(lists: Iterable[str | None], names: Sequence[str] | None = None) -> np.ndarray:
    """[D, items] 0/1 table of comma-separated names ("EGFR, ERBB2"); a missing entry is a row of
    zeros.

    Parameters
    ----------
    names : [items] what the columns are, such as those of other entities; None: `listed(lists)`

    >>> membership(["a, b", None], names=["b", "c"]).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    names = listed(lists) if names is None else names
    parts = [_parts(entry) for entry in lists]
    return np.array([[name in entry for name in names] for entry in parts], dtype=float).reshape(
        len(parts), len(names)
    )


def listed(lists: Iterable[str | None]) -> list[str]:
    """Every name in comma-separated lists, once, in alphabetical order."""
    return sorted({name for entry in lists for name in _parts(entry)})


def _parts(entry: str | None) -> set[str]:
    entry = entry if isinstance(entry, str) else ""
    return {part.strip() for part in entry.split(",") if part.strip()}


def count_similarity(a: np.ndarray, b: np.ndarray, most: int = 4) -> np.ndarray:
    """[n, m] min-max (Tanimoto) similarity between rows of counts a [n, features] and b
    [m, features], counts above `most` taken as `most`; 0 where both are empty.

    >>> count_similarity(np.array([[2, 1]]), np.array([[1, 1], [0, 3]])).round(3).tolist()
    [[0.667, 0.2]]
    """
    a, b = (np.minimum(part, most).astype(np.float32) for part in (a, b))
    # the smaller of two counts is the number of thresholds that both reach
    low = sum(
        (a >= k).astype(np.float32) @ (b >= k).astype(np.float32).T for k in range(1, most + 1)
    )
    both = np.asarray(low, dtype=np.float64)
    either = a.sum(1)[:, None] + b.sum(1)[None] - both
    return np.divide(both, either, out=np.zeros(both.shape), where=either > 0)


def tanimoto(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[n, m] Tanimoto similarity between 0/1 rows of a [n, bits] and of b [m, bits]; 0 where both
    are empty.

    >>> tanimoto(np.array([[1, 1, 0]]), np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]])).tolist()
    [[0.5, 1.0, 0.0]]
    """
    both = (a @ b.T).astype(np.float64)
    either = a.sum(1)[:, None] + b.sum(1)[None] - both
    return np.divide(both, either, out=np.zeros(both.shape), where=either > 0)


def count_fingerprints(smiles: Iterable[str], radius: int = 2, bits: int = 2048) -> sp.csr_matrix:
    """[n, bits] float32 sparse counts of Morgan (ECFP) environments, chirality ignored; a structure
    that cannot be read is a row of zeros. Kept in the cache.
    """
    from rdkit import rdBase
    from rdkit.Chem import rdFingerprintGenerator

    texts = _texts(smiles)
    path = cache_file("counts", [rdBase.rdkitVersion, str(radius), str(bits), *texts], "npz")
    kept = read_cached(path)
    if kept is None:
        make = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=bits)
        rows = [
            {} if molecule is None else make.GetCountFingerprint(molecule).GetNonzeroElements()
            for molecule in _parsed(texts)
        ]
        kept = {
            "data": np.array([n for row in rows for n in row.values()], dtype=np.float32),
            "indices": np.array([bit for row in rows for bit in row], dtype=np.int32),
            "indptr": np.cumsum([0, *map(len, rows)]).astype(np.int32),
        }
        write_cached(path, kept)
    shape = (len(texts), bits)
    out = sp.csr_matrix((kept["data"], kept["indices"], kept["indptr"]), shape=shape)
    out.sort_indices()
    return out


def descriptors(smiles: Iterable[str]) -> np.ndarray:
    """[n, 160 or so] float64 physico-chemical descriptors of RDKit: counts of atoms, rings and
    groups, surface by charge, lipophilicity and refractivity; zeros where a structure cannot be
    read. Nothing of them knows chirality. Kept in the cache.
    """
    from rdkit import rdBase
    from rdkit.Chem import rdMolDescriptors

    texts = _texts(smiles)
    path = cache_file("descriptors", [rdBase.rdkitVersion, *texts])
    kept = read_cached(path)
    if kept is None:
        names = rdMolDescriptors.Properties.GetAvailableProperties()
        properties = rdMolDescriptors.Properties([n for n in names if "Stereo" not in n])
        more = (
            rdMolDescriptors.MQNs_,
            rdMolDescriptors.SlogP_VSA_,
            rdMolDescriptors.SMR_VSA_,
            rdMolDescriptors.PEOE_VSA_,
        )
        rows = [
            None
            if molecule is None
            else np.concatenate(
                [properties.ComputeProperties(molecule), *(make(molecule) for make in more)]
            )
            for molecule in _parsed(texts)
        ]
        width = max((len(row) for row in rows if row is not None), default=0)
        kept = np.array([np.zeros(width) if row is None else row for row in rows])
        kept = np.nan_to_num(kept, posinf=0.0, neginf=0.0)
        write_cached(path, kept)
    return kept


def normal_scores(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    """[n, features] brought to a normal distribution by their ranks among training rows, clipped at
    +-3; a feature that is constant there is 0.
    """
    return ranked(values, quantiles_of(values[train]))


def quantiles_of(values: np.ndarray) -> np.ndarray:
    """[q, features] quantiles of features [n, features]; q is n, at most `QUANTILES`. Their last
    bits, on which the rank of a tie depends, are those of scikit-learn's `QuantileTransformer`.
    """
    return np.percentile(values, 100 * np.linspace(0, 1, min(QUANTILES, len(values))), axis=0)


def ranked(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """`normal_scores` of values [n, features] among others, of which `reference` [q, features]
    holds the quantiles.

    >>> ranked(np.array([[0.0], [2.0], [9.0]]), np.array([[1.0], [2.0], [3.0]])).ravel().tolist()
    [-3.0, 0.0, 3.0]
    """
    share = np.linspace(0, 1, len(reference))
    out = np.zeros(values.shape)
    for j in np.flatnonzero(np.ptp(reference, axis=0) > 0):
        x, known = values[:, j], reference[:, j]
        # a value that many share lies in the middle of its ranks, unless it is an end
        low = np.interp(x, known, share)
        high = 1 - np.interp(-x, -known[::-1], share)
        rank = np.where(x > known[-1] - END, 1.0, (low + high) / 2)
        rank = np.where(x < known[0] + END, 0.0, rank)
        out[:, j] = np.clip(ndtri(np.clip(rank, END, 1 - END)), -3, 3)
    return out


def heavy_atoms(smiles: Iterable[str]) -> np.ndarray:
    """[n] float64 number of heavy atoms; 0 where a structure cannot be read."""
    return np.array(
        [0.0 if m is None else m.GetNumHeavyAtoms() for m in _parsed(_texts(smiles))], dtype=float
    )


def _texts(smiles: Iterable[str]) -> list[str]:
    return [text if isinstance(text, str) else "" for text in smiles]


def _parsed(texts: list[str]) -> Iterator[Any]:
    """Molecule of each text, None where it cannot be read or is empty."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        for text in texts:
            molecule = Chem.MolFromSmiles(text) if text else None
            yield molecule if molecule is not None and molecule.GetNumAtoms() else None
