"""KIBA, Human and BioSNAP as proteins x drugs, and what the readers of interaction tables share.

Sources: KIBA (Tang et al. 2014, He et al. 2017) in the tables of DeepDTA; Human (Liu et al. 2015)
and BioSNAP (MINER ChG, made from DrugBank) in the tables of DrugBAN and MolTrans. Of BioSNAP a part
of the training pairs could not be had: the benchmark is called "biosnap_partial".

What is known of compounds and proteins besides structure and sequence comes from `modalities`.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib.data.base import TEST_PART, Benchmark, Partition, Side, shown
from clmt_lib.data.grouping import check_keys, check_smiles, connected, parent_key, skeletons
from clmt_lib.data.interaction.modalities import with_modalities
from clmt_lib.data.response.base import drug_side
from clmt_lib.io import DataError, locate, read_table, require_columns

# the twenty, selenocysteine and pyrrolysine, and what stands for several or any (B, J, X, Z)
AMINO_ACIDS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CHARGED = r"[.+]|-\]"  # in a SMILES: a salt or an ion, whose parent is another structure
DEEPDTA = "DeepDTA's fixed test set and five training folds"
KIBA_LICENCE = (
    "the repository of the tables states none (data of Tang et al. 2014); protein names and texts "
    "UniProt, CC BY 4.0; research use, not redistributed here"
)
HUMAN_LICENCE = "table of DrugBAN, MIT (data of Liu et al. 2015); not redistributed here"
BIOSNAP_LICENCE = (
    "tables of MolTrans, BSD-3, and DrugBAN, MIT; made from DrugBank, whose terms are "
    "non-commercial; not redistributed here"
)


def load_kiba(folder: str | os.PathLike | None = None, modalities: str = "all") -> Benchmark:
    """KIBA as proteins x drugs; ids are UniProt accessions and ChEMBL ids.

    Parameters
    ----------
    folder : prepared tables; None takes `CLMT_DATA`
    modalities : "all", or "none" of what `modalities.with_modalities` adds

    Returns
    -------
    Benchmark named "kiba": y is DeepDTA's transformed KIBA score (0 to 18), higher binds more
    strongly. Sides as those of Davis; kinds of split published and published_refit as well.

    Raises
    ------
    DataError
        As `davis.load`; a score out of range.
    """
    home = locate(folder, "dti")
    path = home / "kiba_pairs.parquet"
    columns = ["protein_id", "sequence", "gene", "protein_name", "function_text"]
    proteins = protein_side(home / "kiba_proteins.parquet", columns)
    drugs = compound_side(home / "kiba_drugs.parquet", "smiles_isomeric", "drug_id")
    table = read_table(path).reset_index(drop=True)
    require_columns(table.columns, ["protein_index", "drug_index", "kiba_score_transformed"], path)
    values = pd.DataFrame({"y": table["kiba_score_transformed"]})
    benchmark = Benchmark.from_ids(
        "kiba",
        (proteins, drugs),
        placed(values, table, (proteins, drugs), path),
        file=path,
        within=(0.0, 20.0),
        task="affinity",
        target="kiba",
        units="transformed KIBA score",
        licence=KIBA_LICENCE,
        source="KIBA (Tang et al. 2014; He et al. 2017); DeepDTA's tables",
        partitions=published(table, path),
    )
    return with_modalities(benchmark, modalities, folder)


def load_human(folder: str | os.PathLike | None = None, modalities: str = "all") -> Benchmark:
    """Human as proteins x drugs: 0/1 labels, and two published splits.

    Kinds of split, besides the library's own: published (a random one) and published_cold (test
    pairs are new on both sides; 2,496 pairs are in no set), each with one validation set.

    Parameters
    ----------
    folder, modalities : as `load_kiba`

    Raises
    ------
    DataError
        As `davis.load`; a label that is neither 0 nor 1; a test set of one class.
    """
    return _binary(
        "human",
        folder,
        modalities,
        {"published": "random_split", "published_cold": "cold_split"},
        "DrugBAN's random and cold split",
        licence=HUMAN_LICENCE,
        source="Human (Liu et al. 2015); DrugBAN's table",
    )


def load_biosnap(folder: str | os.PathLike | None = None, modalities: str = "all") -> Benchmark:
    """What is to be had of BioSNAP as proteins x drugs: 24,548 of about 27,464 pairs, 0/1 labels.

    Kind of split, besides the library's own: published, MolTrans's random one. Its validation and
    test set are complete, its training set (every pair that is in neither) is not, so numbers are
    lower bounds of what the whole table would give.

    Parameters
    ----------
    folder, modalities : as `load_kiba`

    Raises
    ------
    DataError
        As `load_human`.
    """
    return _binary(
        "biosnap_partial",
        folder,
        modalities,
        {"published": "moltrans_random"},
        "MolTrans's random split, part of its training pairs missing",
        licence=BIOSNAP_LICENCE,
        source="BioSNAP (MINER ChG); tables of MolTrans and DrugBAN, a part of them missing",
    )


def _binary(
    name: str,
    folder: str | os.PathLike | None,
    modalities: str,
    kinds: dict[str, str],
    whose: str,
    **about: Any,
) -> Benchmark:
    """A table of 0/1 labels between the shared tables of proteins and drugs.

    Parameters
    ----------
    kinds : kind of split -> column that names each pair's set
    """
    home = locate(folder, "dti")
    path = home / f"{name.removesuffix('_partial')}_pairs.parquet"
    table = read_table(path).reset_index(drop=True)
    require_columns(table.columns, ["protein_index", "drug_index", "label", *kinds.values()], path)
    columns = ["uniprot", "sequence", "gene", "protein_name"]
    proteins = protein_side(home / "binary_proteins.parquet", columns)
    ids = compound_ids(home / "binary_drugs.parquet", "inchikey")
    table = table.assign(**places_of(table, {"protein": len(proteins), "drug": len(ids)}, path))
    used = {name: np.unique(table[f"{name}_index"]) for name in ("protein", "drug")}
    sides = (
        some(proteins, used["protein"]),
        compound_side(home / "binary_drugs.parquet", "smiles", "inchikey", used["drug"]),
    )
    values = pd.DataFrame({"y": table["label"]})
    for side in sides:
        place = np.searchsorted(used[side.name], table[f"{side.name}_index"])
        values[side.name] = side.ids.to_numpy()[place]
    label = pd.to_numeric(values["y"], errors="coerce")
    strange = ~label.isin([0, 1])
    if strange.any():
        row = int(strange.idxmax())
        raise DataError(
            f"label is {shown(values['y'], row)}",
            file=path,
            row=row + 2,
            remedy="a label is 0 or 1: correct it, or drop the pair",
        )
    partitions = {}
    for kind, column in kinds.items():
        labels = table[column]
        if name == "biosnap_partial":  # a pair without a mark is a training pair
            labels = labels.astype(object).where(labels.notna(), "train").rename(column)
        partitions[kind] = Partition.from_labels(labels, 1, whose, file=path)
        if len(set(label[partitions[kind].part == TEST_PART])) < 2:
            raise DataError(
                f"the test set of {column} has labels of one class alone",
                file=path,
                remedy="no area under a curve is defined there: give a test set of both classes",
            )
    benchmark = Benchmark.from_ids(
        name,
        sides,
        values.assign(y=label),
        file=path,
        within=(0.0, 1.0),
        task="interaction",
        target="binds",
        units="1 binds, 0 does not",
        partitions=partitions,
        **about,
    )
    return with_modalities(benchmark, modalities, folder)


def published(table: pd.DataFrame, path: Path) -> dict[str, Partition]:
    """The five folds and the test set that DeepDTA published; none where the table has no column
    `fold`.
    """
    if "fold" not in table:
        return {}
    return {"published": Partition.from_labels(table["fold"], 5, DEEPDTA, file=path)}


def placed(
    values: pd.DataFrame, table: pd.DataFrame, sides: tuple[Side, Side], path: Path
) -> pd.DataFrame:
    """`values` with the ids of each pair's entities, whose places (from 0) `table` gives.

    Raises
    ------
    DataError
        A place that is not in the table of entities.
    """
    found = places_of(table, {side.name: len(side) for side in sides}, path)
    for side in sides:
        values[side.name] = side.ids.to_numpy()[found[f"{side.name}_index"]]
    return values


def places_of(table: pd.DataFrame, sizes: dict[str, int], path: Path) -> dict[str, np.ndarray]:
    """[pairs] int64 places of each pair's entities, by the column "<side>_index" that gives them.

    Parameters
    ----------
    sizes : name of a side -> how many entities its table has

    Raises
    ------
    DataError
        A place that is not in the table of entities.
    """
    found = {}
    for name, size in sizes.items():
        column = f"{name}_index"
        place = pd.to_numeric(table[column], errors="coerce")
        strange = ~place.isin(range(size))
        if strange.any():
            row = int(strange.idxmax())
            raise DataError(
                f"{column} {shown(table[column], row)}, there are {size} {name}s",
                file=path,
                row=row + 2,
                remedy=f"use the places (from 0) of the table of {name}s",
            )
        found[column] = place.to_numpy(np.int64)
    return found


def protein_side(path: Path, columns: Sequence[str]) -> Side:
    """Proteins, in the order of their places in the table of pairs.

    Parameters
    ----------
    columns : the id first; `sequence`, and `function_text` where there is one. A missing or
        repeated id is replaced by the place, unless it is `protein_id`

    Raises
    ------
    DataError
        Places that are not 0, 1, ..., an id that is missing or twice there, a sequence that is
        empty or holds something that is no letter.
    """
    table = in_order(path, "protein_index", list(columns))
    letters = table["sequence"].astype("str").str.fullmatch(f"[{AMINO_ACIDS}]+")
    letters &= table["sequence"].notna()
    if not letters.all():
        row = int(np.flatnonzero(~letters)[0])
        raise DataError(
            f"sequence of {table[columns[0]].iloc[row]!r} is empty or has a letter that is no "
            "amino acid",
            file=path,
            row=row + 2,
            remedy=f"use the letters {AMINO_ACIDS}",
        )
    frame = table.rename(columns={"function_text": "function"})
    if columns[0] == "protein_id":
        frame = frame.set_index("protein_id")
    else:
        frame.index = _own_ids(table[columns[0]], "protein")
    frame.insert(0, "name", frame.index)
    views, present = {"sequence": frame["sequence"]}, {}
    if "function" in frame:
        views["function"] = frame["function"].fillna("")
        present["function"] = frame["function"].notna().to_numpy()
    return Side(
        "protein",
        frame.rename_axis("protein"),
        views=views,
        present=present,
        keys={"sequence": "sequence"},
        identity="sequence",
    )


def compound_side(path: Path, smiles: str, label: str, needed: np.ndarray | None = None) -> Side:
    """Drugs, in the order of their places in the table of pairs; those of one InChIKey skeleton, or
    of one parent structure (a salt and its free base), are one compound, and one without a key
    stands alone, without a structure.

    Parameters
    ----------
    smiles, label : columns of the structure and of the id
    needed : places of those that are wanted; None for all

    Raises
    ------
    DataError
        Places that are not 0, 1, ..., an id that is missing or twice there, a structure that
        cannot be read.
    """
    table = in_order(path, "drug_index", list(dict.fromkeys([label, smiles, "inchikey"])))
    check_keys(table["inchikey"], path)
    ids = _compound_ids(table, label)
    known = table["inchikey"].notna()
    frame = pd.DataFrame(
        {
            "name": ids.astype(str),
            "smiles": table[smiles].where(known, None),
            "inchikey": table["inchikey"],
        }
    ).set_index(pd.Index(ids.astype(str)))
    check_smiles(frame, path)
    frame = frame if needed is None else frame.iloc[needed]
    own = skeletons(frame["inchikey"])
    facts = [
        {key, parent_key(smiles) if re.search(CHARGED, smiles) else key}
        if isinstance(key, str)
        else set()
        for key, smiles in zip(own, frame["smiles"], strict=True)
    ]
    group = connected(facts)
    label = own.where(own.notna(), frame["name"]).to_numpy()
    first = np.unique(group, return_index=True)[1]
    return drug_side(frame.assign(compound=label[first][group]))


def compound_ids(path: Path, label: str) -> pd.Index:
    """Ids of the drugs of a table, in the order of their places."""
    return _compound_ids(in_order(path, "drug_index", [label]), label)


def _compound_ids(table: pd.DataFrame, label: str) -> pd.Index:
    return pd.Index(table[label]) if label == "drug_id" else _own_ids(table[label], "drug")


def _own_ids(labels: pd.Series, what: str) -> pd.Index:
    """Labels as ids; where one is missing or there twice, the place instead."""
    unique = labels.notna() & ~labels.duplicated(keep=False)
    place = pd.Series([f"{what} {i}" for i in range(len(labels))])
    return pd.Index(labels.reset_index(drop=True).where(unique.to_numpy(), place).astype(str))


def some(side: Side, rows: np.ndarray) -> Side:
    """The entities of a side that a table needs, in their order."""
    frame = side.frame.iloc[rows]
    views = {key: view.iloc[rows] for key, view in side.views.items()}
    present = {key: mask[rows] for key, mask in side.present.items()}
    return Side(side.name, frame, views, present, side.keys.rules, side.identity)


def in_order(path: Path, place: str, columns: list[str]) -> pd.DataFrame:
    """A table of entities whose column `place` numbers its rows from 0, each with an id of its own
    where the first of `columns` is one ("..._id"); or the row that breaks the rule.
    """
    table = read_table(path, [place, *columns]).reset_index(drop=True)
    wrong = pd.to_numeric(table[place], errors="coerce") != np.arange(len(table))
    twice = table[columns[0]].duplicated() | table[columns[0]].isna()
    twice &= columns[0].endswith("_id")
    for bad, column, remedy in (
        (wrong, place, "number the rows from 0, in their order"),
        (twice, columns[0], "give each row an id of its own"),
    ):
        if bad.any():
            row = int(bad.idxmax())
            raise DataError(
                f"{column} is {shown(table[column], row)}", file=path, row=row + 2, remedy=remedy
            )
    return table
