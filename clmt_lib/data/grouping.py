"""What belongs together: ids of one compound, drugs of one scaffold, target or pathway (chapters 01
and 09b).
"""

import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib.data.base import Side
from clmt_lib.io import DataError

KEY = r"[A-Z]{14}-[A-Z]{10}-[A-Z]"  # what an InChIKey looks like
# H Li B C N O F Na Mg Si P S Cl K Ca Se Br I; a metal centre is no salt: without it the drug
# (platinum) is gone
SALT_ELEMENTS = frozenset([1, 3, 5, 6, 7, 8, 9, 11, 12, 14, 15, 16, 17, 19, 20, 34, 35, 53])


def letters(name: Any) -> str:
    """Letters and digits of a name, whatever its case: "NCI-H23" and "ncih23" are one line.

    >>> letters("NCI-H23 "), letters("5-Fluorouracil")
    ('ncih23', '5fluorouracil')
    """
    return "".join(letter for letter in str(name).casefold() if letter.isalnum())


def group_compounds(drugs: pd.DataFrame) -> pd.Series:
    """Compound of each drug id: ids that share a lower-case name, the first InChIKey block (the
    skeleton, so stereoisomers too) or that of their parents (so salts and hydrates too).

    Parameters
    ----------
    drugs : [D] frame with `name` and, where known, `inchikey` and `smiles`

    Returns
    -------
    [D] series of compound names (that of the group's first row).
    """
    names = drugs["name"].str.strip().str.lower()
    blocks = skeletons(drugs["inchikey"])
    structures = drugs["smiles"] if "smiles" in drugs else [None] * len(drugs)
    parents = [parent_key(smiles) if isinstance(smiles, str) else None for smiles in structures]
    facts = [
        {f"name {name}" for name in [name] if isinstance(name, str)}
        | {f"key {key}" for key in (block, parent) if isinstance(key, str)}
        for name, block, parent in zip(names, blocks, parents, strict=True)
    ]
    group = connected(facts)
    first = drugs["name"].groupby(group).first()
    return pd.Series(first.to_numpy()[group], index=drugs.index, name="compound")


def check_keys(keys: pd.Series, path: str | os.PathLike) -> pd.Series:
    """The InChIKeys of a table, row by row, where each is one or is empty; else DataError."""
    said = keys.astype("str").fillna("")
    strange = np.flatnonzero((said != "") & ~said.str.fullmatch(KEY))
    if strange.size:
        raise DataError(
            f"{said.iloc[strange[0]]!r} is no InChIKey",
            file=path,
            row=int(strange[0]) + 2,
            remedy="give the key of the structure (27 letters and hyphens), or leave it empty",
        )
    return keys


def skeletons(inchikeys: pd.Series) -> pd.Series:
    """[n] first block of each InChIKey (the connectivity of the molecule), missing where there is
    no key.
    """
    return inchikeys.astype("str").str.extract("^([^-]+)", expand=False)


@lru_cache(maxsize=50_000)
def parent_key(smiles: str | None) -> str | None:
    """First InChIKey block of the uncharged parent of a structure, so that a salt and its free base
    agree; None where there is none.

    >>> parent_key("CC(=O)Oc1ccccc1C(=O)O") == parent_key("CC(=O)Oc1ccccc1C(=O)[O-].[Na+]")
    True
    """
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        molecule = _parent(smiles)
        return None if molecule is None else Chem.MolToInchiKey(molecule).split("-")[0] or None


@lru_cache(maxsize=50_000)
def parent_smiles(smiles: str | None) -> str | None:
    """The uncharged parent of a structure as SMILES, so that a salt is described as its free base;
    a complex of a metal stays whole, and of a mixture the largest molecule is taken. None where
    there is none.

    >>> parent_smiles("CC(=O)Oc1ccccc1C(=O)[O-].[Na+]")
    'CC(=O)Oc1ccccc1C(=O)O'
    """
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        molecule = _parent(smiles)
        return None if molecule is None else Chem.MolToSmiles(molecule)


@lru_cache(maxsize=2_000)
def _parent(smiles: str | None) -> Any:
    """Molecule of the uncharged largest part of a structure; None where it cannot be read."""
    from rdkit import Chem
    from rdkit.Chem.MolStandardize import rdMolStandardize

    molecule = Chem.MolFromSmiles(smiles) if isinstance(smiles, str) else None
    if molecule is None or not molecule.GetNumAtoms():
        return None
    plain = not any(mark in str(smiles) for mark in (".", "+", "-]"))
    if plain or not {atom.GetAtomicNum() for atom in molecule.GetAtoms()} <= SALT_ELEMENTS:
        return molecule
    return rdMolStandardize.Uncharger().uncharge(
        rdMolStandardize.LargestFragmentChooser(preferOrganic=True).choose(molecule)
    )


def parent_groups(molecules: pd.DataFrame) -> pd.Series:
    """[n] label of each molecule: the skeleton of its parent structure (`parent_key`), so that a
    salt and its free base share one; its own id where it has no structure.
    """
    keys = [
        (parent_key(smiles) if isinstance(smiles, str) else None) or f"id {label}"
        for label, smiles in molecules["smiles"].items()
    ]
    return pd.Series(keys, index=molecules.index, name="compound")


def scaffold_of(smiles: object) -> str:
    """Bemis-Murcko scaffold of a structure as SMILES, without chirality; "" where it has no ring or
    there is no structure.

    >>> scaffold_of("CC(=O)Oc1ccccc1C(=O)O"), scaffold_of("CCO"), scaffold_of(None)
    ('c1ccccc1', '', '')
    """
    return _scaffold(smiles) if isinstance(smiles, str) else ""


@lru_cache(maxsize=20_000)  # the keys of a side and each look of the audit ask for the same ones
def _scaffold(smiles: str) -> str:
    from rdkit import rdBase
    from rdkit.Chem.Scaffolds import MurckoScaffold

    with rdBase.BlockLogs():
        return MurckoScaffold.MurckoScaffoldSmiles(smiles, includeChirality=False)


def scaffold_groups(drugs: pd.DataFrame) -> pd.Series:
    """[D] series: drug ids that share a compound or a Bemis-Murcko scaffold get one label. A drug
    without a ring or structure stands alone.
    """
    return _joined(drugs, [{scaffold_of(smiles)} - {""} for smiles in drugs["smiles"]], "scaffold")


def target_groups(drugs: pd.DataFrame) -> pd.Series:
    """[D] series: drug ids that share a compound or a listed target get one label, and so do those
    joined through others (A hits EGFR, B both EGFR and ERBB2, C ERBB2).

    Targets are compared as they are spelt. A drug whose target is not known stands alone.
    """
    facts = [
        {part.strip().lower() for part in entry.split(",")} - {""}
        if isinstance(entry, str)
        else set()
        for entry in drugs["target"]
    ]
    return _joined(drugs, facts, "target")


def pathway_groups(drugs: pd.DataFrame) -> pd.Series:
    """[D] series: drug ids that share a compound or a pathway get one label. "Other" and the like
    are held out as if they were pathways; a drug without any stands alone.
    """
    facts = [
        {entry.strip().lower()} - {""} if isinstance(entry, str) else set()
        for entry in drugs["pathway"]
    ]
    return _joined(drugs, facts, "pathway")


def _joined(drugs: pd.DataFrame, facts: list[set], name: str) -> pd.Series:
    """[D] series of labels: ids with a compound or a fact in common, directly or through others,
    share one.
    """
    own = [{("compound", compound)} for compound in drugs["compound"]]
    label = connected([mine | {(name, fact) for fact in more} for mine, more in zip(own, facts)])
    return pd.Series([f"group {i}" for i in label], index=drugs.index, name=name)


def connected(facts: Iterable[Iterable]) -> np.ndarray:
    """[n] group of each entity: those with a fact in common, directly or through others, share one.
    Groups are numbered by their first entity.

    >>> connected([{"a"}, {"b"}, {"a", "c"}, set(), {"c"}])
    array([0, 1, 0, 2, 0])
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    sets = [sorted(map(repr, own)) for own in facts]
    number = {
        fact: place for place, fact in enumerate(dict.fromkeys(f for own in sets for f in own))
    }
    rows = np.repeat(np.arange(len(sets)), [len(own) for own in sets])
    columns = len(sets) + np.array([number[fact] for own in sets for fact in own], dtype=int)
    n = len(sets) + len(number)  # entities and facts are the two kinds of node of one graph
    link = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(n, n))
    label = connected_components(link, directed=False)[1][: len(sets)]
    return pd.factorize(label)[0].astype(np.int64)


def check_smiles(drugs: pd.DataFrame, file: str | os.PathLike | None = None) -> None:
    """Raise `DataError` for the first SMILES of the table that RDKit cannot read. A missing one is
    allowed.
    """
    for row, (drug, smiles) in enumerate(drugs["smiles"].items(), start=2 if file else 1):
        if isinstance(smiles, str) and not _is_readable(smiles):
            raise DataError(
                f"drug {drug!r}: SMILES {smiles!r} cannot be parsed",
                file=file,
                row=row,
                remedy="correct it, or leave it empty: a missing structure is allowed",
            )


@lru_cache(maxsize=50_000)
def _is_readable(smiles: str) -> bool:
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        return Chem.MolFromSmiles(smiles) is not None


def molecule_side(
    molecules: pd.DataFrame,
    views: Mapping[str, Any] | None = None,
    present: Mapping[str, np.ndarray] | None = None,
) -> Side:
    """Molecules (frame with `smiles`, ids are first blocks of InChIKeys) as a side: those of one
    parent structure are one compound, grouped by scaffold.
    """
    return Side(
        "molecule",
        molecules.rename_axis("molecule"),
        views=views or {},
        present=present or {},
        keys={"compound": parent_groups, "scaffold": _molecule_scaffolds},
        identity="compound",
    )


def _molecule_scaffolds(molecules: pd.DataFrame) -> pd.Series:
    return scaffold_groups(molecules.assign(compound=parent_groups(molecules)))
