"""SMILES and annotations to bits, and how alike they are (chapter 03). A missing structure gives a
row of zeros, never an error.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd


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


def tanimoto(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[n, m] Tanimoto similarity between 0/1 rows of a [n, bits] and of b [m, bits]; 0 where both
    are empty.

    >>> tanimoto(np.array([[1, 1, 0]]), np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]])).tolist()
    [[0.5, 1.0, 0.0]]
    """
    both = (a @ b.T).astype(np.float64)
    either = a.sum(1)[:, None] + b.sum(1)[None] - both
    return np.divide(both, either, out=np.zeros(both.shape), where=either > 0)
