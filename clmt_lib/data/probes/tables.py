"""Label tables: molecules x assays, with gaps. One reader for all of them, and a table of what each
is.

Sources: MoleculeNet's sets in chemprop's tables, the sets of InfoAlign (ChEMBL and Broad assays for
compounds of Cell Painting screens, Biogen's ADME), 691 ChEMBL targets of DeepChem, and the FDA's
DILIst.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from clmt_lib.data.base import Benchmark, Side, shown
from clmt_lib.data.grouping import KEY, check_smiles, molecule_side
from clmt_lib.io import DataError, locate, read_table

MOLECULENET = "MoleculeNet's table, from chemprop (MIT)"
INFOALIGN = "InfoAlign's table (its repository states no licence)"
Molecules = Literal["rows", "connectivity"]


@dataclass(frozen=True)
class LabelTable:
    """What a label table is.

    Attributes
    ----------
    file : in the folder of prepared tables, part "probing"
    about : in words
    licence : terms as far as known
    facts : columns that are no assay, beside the structure and its key
    name : column that names a molecule ("" : its key does)
    molecules : what a molecule is: "rows", each row of the table, as published splits count them;
        or "connectivity", all rows of one first InChIKey block
    numbers : the values are numbers in these units, not labels
    """

    file: str
    about: str
    licence: str
    facts: tuple[str, ...] = ()
    name: str = ""
    molecules: Molecules = "rows"
    numbers: str = ""


TABLES = {
    "chembl2k": LabelTable(
        "infoalign_chembl2k.parquet",
        "activity on 41 targets, compounds of Cell Painting screens",
        f"{INFOALIGN}; labels ChEMBL, CC BY-SA 3.0",
        ("inchikey14", "Metadata_JCP2022", "ChEMBL_ID"),
    ),
    "broad6k": LabelTable(
        "infoalign_broad6k.parquet",
        "activity in 32 Broad assays (Moshkov et al. 2023)",
        f"{INFOALIGN}; labels MIT",
        ("inchikey14",),
    ),
    "biogen": LabelTable(
        "biogen_adme.parquet",
        "six ADME properties (Fang et al. 2023)",
        INFOALIGN,
        ("Internal ID", "CollectionName"),
        numbers="log10 of the assay's own units",
    ),
    "toxcast": LabelTable(
        "toxcast617.parquet", "617 toxicity assays", f"public domain; {MOLECULENET}"
    ),
    "sider": LabelTable(
        "sider.parquet", "27 classes of side effects", f"CC BY-NC-SA 4.0; {MOLECULENET}"
    ),
    "clintox": LabelTable(
        "clintox.parquet", "approval, and failure in trials for toxicity", MOLECULENET
    ),
    "bbbp": LabelTable("bbbp.parquet", "passes the blood-brain barrier", MOLECULENET),
    "bace": LabelTable("bace.parquet", "inhibits BACE-1", MOLECULENET),
    "hiv": LabelTable("hiv.parquet", "inhibits replication of HIV", MOLECULENET),
    "muv": LabelTable("muv.parquet", "17 assays with maximally unbiased negatives", MOLECULENET),
    "dilist": LabelTable(
        "dilist.parquet",
        "injures the liver (FDA's DILIst)",
        "FDA data; table MIT",
        ("compound_name", "route", "dilist_id"),
        name="compound_name",
        molecules="connectivity",
    ),
    "chembl691": LabelTable(
        "deepchem_chembl_5thresh.parquet",
        "activity on 691 targets, -log10(molar) as far as the values say",
        "ChEMBL, CC BY-SA 3.0; table MIT",
        molecules="connectivity",
        numbers="-log10(mol/l), not stated by the source",
    ),
}


def load(
    name: str,
    folder: str | os.PathLike | None = None,
    molecules: Molecules | None = None,
) -> Benchmark:
    """A label table as molecules x assays.

    Molecules without any label stay: published splits count them. An assay without any is left out,
    and so are rows whose structure could not be read and that have no key: `source` counts them.

    Parameters
    ----------
    name : in `TABLES`
    folder : prepared tables; None takes `CLMT_DATA`
    molecules : "rows" (ids are InChIKeys, a second row of a key is "<key>#2"; stereoisomers are
        molecules of one `compound`) or "connectivity" (ids are first blocks; where labels of one
        molecule disagree it has none, of numbers it has the mean); None takes the table's own

    Returns
    -------
    Benchmark with the task "labels" (y is 0 or 1) or "properties" (numbers). Molecules are grouped
    by `scaffold`; stereoisomers, salts and free bases are one compound.

    Raises
    ------
    DataError
        Unknown table or kind of molecule; from `locate`, `read_table` and `Benchmark.from_ids`; a
        label that is neither 0 nor 1, a number that is not finite, a key that is no InChIKey, a
        structure that cannot be read, a table without a label.
    """
    if name not in TABLES:
        raise DataError(f"unknown label table {name!r}", remedy=f"use one of: {', '.join(TABLES)}")
    about = TABLES[name]
    kind = about.molecules if molecules is None else molecules
    if kind not in ("rows", "connectivity"):
        raise DataError(f"unknown kind of molecule {kind!r}", remedy="use rows or connectivity")
    path = locate(folder, "probing") / about.file
    table = read_table(path).reset_index(drop=True)
    missing = [c for c in ("smiles", "inchikey", *about.facts) if c not in table]
    if missing:
        raise DataError(
            f"missing column {missing[0]!r}", file=path, row=1, remedy="fetch the table again"
        )
    assays = [c for c in table if c not in ("smiles", "inchikey", *about.facts)]
    values = _values(table, assays, bool(about.numbers), path)
    known = np.isfinite(values).any(axis=0)
    if not known.any():
        raise DataError("no label at all", file=path, remedy="fetch the table again")
    assays, values = [assay for assay, has in zip(assays, known) if has], values[:, known]
    kept = (table["inchikey"].fillna("") != "").to_numpy()
    left_out = "" if kept.all() else f"; {(~kept).sum()} rows without a key left out"
    frame, values = _molecules(table[kept], values[kept], kind, about, path)
    long = pd.DataFrame(values, frame.index, assays).stack().dropna().rename("y").reset_index()
    long.columns = ["molecule", "assay", "y"]
    facts = pd.DataFrame({"name": assays}, index=pd.Index(assays, name="assay"))
    return Benchmark.from_ids(
        name,
        (molecule_side(frame), Side("assay", facts)),
        long,
        within=(-np.inf, np.inf) if about.numbers else (0.0, 1.0),
        task="properties" if about.numbers else "labels",
        target="value" if about.numbers else "active",
        units=about.numbers or "1 active, 0 inactive",
        licence=about.licence,
        source=f"{about.about}; {about.file}{left_out}",
    )


def _molecules(
    table: pd.DataFrame, values: np.ndarray, kind: Molecules, about: LabelTable, path: Path
) -> tuple[pd.DataFrame, np.ndarray]:
    """(frame of molecules by id, in the order of their first rows; [molecules, assays] values)."""
    key = table["inchikey"].astype("str")
    strange = ~key.str.fullmatch(KEY)
    if strange.any():
        row = int(strange.idxmax())
        raise DataError(
            f"{key.loc[row]!r} is no InChIKey",
            file=path,
            row=row + 2,
            remedy="compute it from the structure, or leave it empty to leave the row out",
        )
    if kind == "connectivity":
        ids = key.str[:14]
    else:
        again = key.groupby(key).cumcount()
        ids = key.where(again == 0, key + "#" + (again + 1).astype(str))
    first = ~ids.duplicated()
    frame = table.loc[first, ["smiles", "inchikey"]].astype("object")
    check_smiles(frame.set_index(frame.index + 2), path)
    names = table.loc[first, about.name].astype(str) if about.name else ids[first]
    frame.insert(0, "name", names)
    frame = frame.set_axis(pd.Index(ids[first], name="molecule"))
    if kind == "connectivity":
        votes = pd.DataFrame(values).groupby(ids.to_numpy(), sort=False)
        if about.numbers:
            values = votes.mean().to_numpy()
        else:
            low, high = votes.min(), votes.max()
            values = high.where(low == high).to_numpy()
    return frame, values


def _values(table: pd.DataFrame, assays: Iterable[str], numbers: bool, path: Path) -> np.ndarray:
    """[rows, assays] float64, NaN where not known; `DataError` for the first that cannot be."""
    raw = table[list(assays)]
    values = raw.apply(pd.to_numeric, errors="coerce").astype("float64").to_numpy(copy=True)
    fine = np.isfinite(values) if numbers else np.isin(values, (0.0, 1.0))
    wrong = ~fine & raw.notna().to_numpy()
    if wrong.any():
        row, column = map(int, np.argwhere(wrong)[0])
        raise DataError(
            f"{raw.columns[column]} is {shown(raw.iloc[:, column], row)}",
            file=path,
            row=row + 2,
            remedy="a finite number, or empty where it is not known"
            if numbers
            else "a label is 0 or 1, or empty where it is not known",
        )
    return values
