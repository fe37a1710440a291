"""What must be one must be one: checks of the tables of a screen before they are joined, facts that
another table knows of the same compound, and the joining.
"""

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from clmt_lib.data.grouping import check_smiles, group_compounds, skeletons
from clmt_lib.data.response.base import DrugResponse
from clmt_lib.io import DataError, numbers, read_table

REGISTRY = {
    "sanger_model_id": "Sanger model id",
    "depmap_id": "DepMap id",
    "cosmic_id": "COSMIC id",
    "rrid": "RRID",
}


def assemble(
    name: str,
    folder: Path,
    cells: pd.DataFrame,
    drugs: pd.DataFrame,
    omics: Mapping[str, pd.DataFrame],
    pairs: pd.DataFrame,
    *,
    path: str | os.PathLike,
    drug_file: str,
    omics_folder: str,
    order: Callable[[str], Any] | None = None,
    **about: Any,
) -> DrugResponse:
    """The benchmark of a screen's pairs: the lines they name and `cells` knows, in the order of
    their ids, compounds grouped.

    Parameters
    ----------
    cells : frame indexed by line id; lines without a pair are left out
    drugs : frame indexed by drug id, exactly those of the pairs
    pairs : columns `cell`, `drug` (ids) and the target's; rows numbered as in the file `path`
    drug_file, omics_folder : where these tables came from, in the folder, for messages
    order : of line ids; None takes that of text
    about : to `DrugResponse.from_tables`

    Raises
    ------
    DataError
        A line under two ids; from `DrugResponse.from_tables`.
    """
    cells = cells.loc[
        [line for line in sorted(set(pairs["cell"]), key=order) if line in cells.index]
    ]
    one_line_each(cells, pairs, path)
    files = {
        "cells": folder / "ids/cell_lines.parquet",
        "drugs": folder / drug_file,
        "responses": path,
        **dict.fromkeys(omics, folder / omics_folder),
    }
    drugs = drugs.assign(compound=group_compounds(drugs))
    return DrugResponse.from_tables(name, cells, drugs, omics, pairs, file=files, **about)


def complete_lines(omics: Mapping[str, pd.DataFrame]) -> set[str]:
    """Ids of the lines that every table of omics has."""
    return set.intersection(*(set(table.index) for table in omics.values()))


def whole(table: pd.DataFrame, column: str, path: str | os.PathLike) -> pd.Series:
    """[n] ids of whole numbers as text; the row and value of the first that is none are named."""
    return numbers(table, column, path).astype(str)


def one_to_one(
    table: pd.DataFrame, one: str, other: str, what: str, path: str | os.PathLike
) -> None:
    """Raise for the first row of `table` (numbered from 0) where a value of `one` stands beside a
    second value of `other`, or the reverse.

    Rows where either is missing are passed over.
    """
    known = table[table[one].notna() & table[other].notna()].drop_duplicates([one, other])
    for key, value in ((one, other), (other, one)):
        twice = known[key].duplicated()
        if twice.any():
            row = known.index[twice][0]
            first = known.index[known[key] == known.loc[row, key]][0]
            text = (
                f"one {what} under two names: {value} {known.loc[first, value]!r} (row "
                f"{first + 2}) and {known.loc[row, value]!r}, both with {key} "
                f"{known.loc[row, key]!r}"
            )
            raise DataError(
                text,
                file=path,
                row=int(row) + 2,
                remedy=f"keep one name for each {what}, in every row",
            )


def joined_pairs(
    pairs: pd.DataFrame, lines: Collection[str], drugs: Collection[str], path: str | os.PathLike
) -> pd.DataFrame:
    """The pairs whose line is among `lines` (those with all omics) and whose drug among `drugs`.

    Raises
    ------
    DataError
        None is left; says how many lines and drugs were found.
    """
    of_line, of_drug = pairs["cell"].isin(set(lines)), pairs["drug"].isin(set(drugs))
    left = pairs[of_line & of_drug]
    if left.empty:
        counts = [
            f"{pairs.loc[known, name].nunique()} of {pairs[name].nunique()} {name}s {what}"
            for name, known, what in (
                ("cell", of_line, "have all omics here"),
                ("drug", of_drug, "have a structure"),
            )
        ]
        text = f"no response is left: {counts[0].replace('cells', 'lines')}, {counts[1]}"
        asked, there = pairs["cell"].iloc[0], next(iter(sorted(lines)), None)
        remedy = (
            "give the drugs' structures: a table DRUG_ID, SMILES beside the downloads, or `clmt "
            "data fetch pubchem_smiles`, then `clmt data prepare` again"
            if of_line.any()
            else f"check that its ids ({asked!r}) are those of the omics tables ({there!r})"
        )
        raise DataError(text, file=path, remedy=remedy)
    return left


def some_left(pairs: pd.DataFrame, path: str | os.PathLike) -> pd.DataFrame:
    """The pairs, or an error where joining has left none."""
    if pairs.empty:
        raise DataError(
            "no response is left: none of its lines has omics here, or none of its drugs a "
            "structure",
            file=path,
            remedy="check that its ids are those of the other tables",
        )
    return pairs


def one_line_each(cells: pd.DataFrame, pairs: pd.DataFrame, path: str | os.PathLike) -> None:
    """Raise where two lines of `cells` (indexed by id) share a registry id; names the rows of
    `pairs` (column `cell`) that bring them in.
    """
    for key, name in REGISTRY.items():
        values = cells[key].dropna().astype(str) if key in cells else pd.Series(dtype=str)
        twice = values[values.duplicated(keep=False)]
        if len(twice):
            one, other = twice.index[twice == twice.iloc[0]][:2]
            first, second = sorted(
                ((pairs["cell"] == line).idxmax(), line) for line in (one, other)
            )
            text = (
                f"one line under two ids: {first[1]!r} (row {first[0] + 2}) and "
                f"{second[1]!r} share the {name} {twice.iloc[0]}"
            )
            raise DataError(
                text,
                file=path,
                row=int(second[0]) + 2,
                remedy="keep one id for each line, and average its replicates or keep one",
            )


def one_name_each(drugs: pd.DataFrame, path: str | os.PathLike) -> None:
    """Raise where two rows of a table of drugs (numbered from 0) have one name but for capitals,
    one PubChem id, or one whole structure.

    For screens that name a drug by one id. Stereoisomers differ in their InChIKey and may stay
    (`group_compounds` makes them one compound).
    """
    keys = {
        "name": drugs["name"].str.strip().str.lower(),
        "PubChem id": drugs.get("pubchem_cid"),
        "structure": drugs.get("inchikey"),
    }
    for what, values in keys.items():
        known = values.dropna() if values is not None else pd.Series(dtype=str)
        if known.duplicated().any():
            row = known.index[known.duplicated()][0]
            first = known.index[known == known[row]][0]
            text = (
                f"one drug under two names: {drugs.loc[first, 'name']!r} (row {first + 2}) "
                f"and {drugs.loc[row, 'name']!r} have the same {what}"
            )
            raise DataError(
                text,
                file=path,
                row=int(row) + 2,
                remedy="keep one row for each drug, and one name for it in the responses",
            )


def inchikeys(drugs: pd.DataFrame, path: str | os.PathLike) -> pd.Series:
    """[D] InChIKey of each SMILES, None where there is none. Raises `DataError` for one that cannot
    be parsed.
    """
    from rdkit import Chem, rdBase

    check_smiles(drugs, path)
    with rdBase.BlockLogs():
        keys = [
            Chem.MolToInchiKey(Chem.MolFromSmiles(smiles)) if isinstance(smiles, str) else None
            for smiles in drugs["smiles"]
        ]
    return pd.Series(keys, index=drugs.index, dtype="str")


def with_pathways(drugs: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The drugs with `pathway` and `gdsc_name` of the same compound (first InChIKey block, else
    name) in GDSC's table; both missing where it has none.

    Only these two are taken: `target` keeps the words of the screen's own table, so that one
    benchmark has one vocabulary.
    """
    path = folder / "gdsc/drugs.parquet"
    facts = (
        read_table(path, ["drug_name", "inchikey_rdkit", "target_pathway"])
        if path.exists()
        else pd.DataFrame(columns=["drug_name", "inchikey_rdkit", "target_pathway"], dtype="str")
    )
    facts = facts.assign(
        block=skeletons(facts["inchikey_rdkit"]),
        low=facts["drug_name"].astype("str").str.strip().str.lower(),
    )
    by_block, by_name = (
        facts.dropna(subset=[key]).drop_duplicates(key).set_index(key) for key in ("block", "low")
    )
    out = {}
    for column, source in (("pathway", "target_pathway"), ("gdsc_name", "drug_name")):
        found = skeletons(drugs["inchikey"]).map(by_block[source])
        out[column] = found.where(
            found.notna(), drugs["name"].str.strip().str.lower().map(by_name[source])
        ).astype("str")
    return drugs.assign(**out)
