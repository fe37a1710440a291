"""What other tables of the prepared folder know of a benchmark's lines: what other screens measured
of them, with other compounds; their expression, measured a second time;
their cancer events (chapter 09c); and how they are grown.

A published model sees one screen through one set of omics. This is more, and a model that reads it
says so in its name.
"""

import hashlib
import os
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from clmt_lib.data import load_response
from clmt_lib.data.base import Benchmark
from clmt_lib.data.grouping import group_compounds, letters
from clmt_lib.data.response import ccle, gdsc
from clmt_lib.data.response.base import DrugResponse
from clmt_lib.data.response.joins import whole
from clmt_lib.io import DataError, locate, read_table, require_columns

TABLES = {  # benchmark -> (screens of the same laboratory, whose expression is the second one)
    "gdsc2": (("gdsc1",), "ccle"),
    "tgsa": (("gdsc1", "gdsc2"), "gdsc"),
}
LEAST = 50  # lines that a column of another screen must know
DETAILS = "raw/Cell_Lines_Details.xlsx"  # of GDSC: medium and growth properties
EVENTS = "gdsc/mobem_v17.parquet"  # cancer functional events of GDSC
ANNOTATIONS = "raw/Cell_lines_annotations_20181226.txt.gz"  # of CCLE: doubling times
SCREENS = ("gdsc1", "gdsc2", "tgsa", "ccle", "ctrp")  # whose lines have ids of these tables
GROWTH = ("Adherent", "Semi-Adherent", "Suspension")
CULTURE = ("medium D/F12", *GROWTH, "log doubling time")  # features of the view "culture"


@dataclass(frozen=True, eq=False)
class AuxiliaryOmics:
    """Facts about the C lines of a benchmark, missing where a table does not know the line.

    Attributes
    ----------
    responses : [C, D'] frame of ln IC50 (ln uM) of compounds that the benchmark does *not* have, so
        no pair of it is measured again
    expression : [C, genes] frame of z-scores
    events : [C, events] frame of 0/1: mutated drivers, recurrent copy-number segments (Iorio et al.
        2016), microsatellite instability
    """

    responses: pd.DataFrame
    expression: pd.DataFrame
    events: pd.DataFrame

    def describe(self) -> dict[str, Any]:
        """Columns of each table and a checksum over all of them, for a run's provenance; empty
        where nothing is known.
        """
        tables = {"responses": self.responses, "expression": self.expression, "events": self.events}
        columns = {name: len(table.columns) for name, table in tables.items()}
        digest = hashlib.sha256(
            b"".join(table.to_numpy(np.float64).tobytes() for table in tables.values())
        ).hexdigest()[:16]
        return {**columns, "checksum": digest} if any(columns.values()) else {}

    def patterns(self) -> Iterator[tuple[str, np.ndarray, "AuxiliaryOmics"]]:
        """Lines by what was measured of them: (names of those tables among expression and events,
        [C] bool which lines these are, the auxiliary omics without the columns of the other
        tables).

        What is predicted for a line then rests on kernels of what it has: where a table does not
        know a line, nothing stands in for its values.
        """
        tables = {"expression": self.expression, "events": self.events}
        has = {
            name: table.notna().all(axis=1).to_numpy() & bool(len(table.columns))
            for name, table in tables.items()
        }
        label = np.array([" + ".join(n for n in has if has[n][i]) for i in range(len(self.events))])
        for pattern in np.unique(label)[::-1]:
            rows = label == pattern
            lost = {n: tables[n].iloc[:, :0] for n in has if not has[n][rows].any()}
            yield str(pattern), rows, replace(self, **lost)


def load_auxiliary(
    benchmark: DrugResponse, folder: str | os.PathLike | None = None
) -> AuxiliaryOmics:
    """The auxiliary omics of a benchmark: without a column for one that has no other tables here,
    such as a simulated world.

    Lines are joined by COSMIC or DepMap id, compounds by name or first InChIKey block.

    Parameters
    ----------
    folder : prepared tables; None takes `CLMT_DATA`

    Raises
    ------
    DataError
        From `locate` and the readers.
    """
    screens, source = TABLES.get(benchmark.name, ((), None))
    if not screens:
        nothing = pd.DataFrame(index=benchmark.cells.index)
        return AuxiliaryOmics(nothing, nothing, nothing)
    folder = locate(folder)
    cosmic = pd.to_numeric(benchmark.cells["cosmic_id"]).astype("Int64").astype("string")
    responses = pd.concat(
        [_responses(benchmark, load_response(name, folder=folder), cosmic) for name in screens],
        axis=1,
    )
    second = (
        _of(ccle.read_omics(folder)["expression"], benchmark.cells["depmap_id"])
        if source == "ccle"
        else _of(gdsc.read_omics(folder)["expression"], cosmic)
    )
    return AuxiliaryOmics(
        responses,
        second.set_axis(benchmark.cells.index),
        _of(read_events(folder), cosmic).set_axis(benchmark.cells.index),
    )


def read_events(folder: Path) -> pd.DataFrame:
    """[lines, events] cancer functional events of GDSC (MoBEM, release v17) as 0/1, indexed by
    COSMIC id; a line's tissue is not one of them.

    Raises
    ------
    DataError
        From `read_table`; a line that appears twice, an id that is not a whole number, a value that
        is neither 0 nor 1.
    """
    path = folder / EVENTS
    table = read_table(path).reset_index(drop=True)
    require_columns(table.columns, ["COSMIC_ID", "TISSUE_FACTOR"], path)
    lines, events = (
        whole(table, "COSMIC_ID", path),
        table.drop(columns=["COSMIC_ID", "TISSUE_FACTOR"]),
    )
    if lines.duplicated().any():
        row = int(lines.duplicated().idxmax())
        raise DataError(
            f"line {lines[row]} appears twice",
            file=path,
            row=row + 2,
            remedy="keep one row for each line",
        )
    wrong = ~events.isin([0, 1])
    if wrong.any(axis=None):
        row, column = np.argwhere(wrong.to_numpy())[0]
        raise DataError(
            f"{events.columns[column]} is {events.iloc[row, column]!r}, an event is there (1) "
            "or not (0)",
            file=path,
            row=int(row) + 2,
            remedy="write 0 and 1",
        )
    return events.astype(float).set_index(pd.Index(lines))


def _responses(benchmark: DrugResponse, other: DrugResponse, cosmic: pd.Series) -> pd.DataFrame:
    """[C, D'] what `other` measured of these lines with compounds that `benchmark` lacks."""
    compound = group_compounds(
        pd.concat(
            [part.drugs[["name", "inchikey"]] for part in (benchmark, other)], ignore_index=True
        )
    ).to_numpy()
    new = ~pd.Index(compound[benchmark.n_drugs :]).isin(compound[: benchmark.n_drugs])
    table = pd.DataFrame(
        other.matrix()[:, new],
        other.cells.index,
        [f"{other.name} {drug}" for drug in other.drugs.index[new]],
    )
    table = _of(table, cosmic).set_axis(benchmark.cells.index)
    return table.loc[:, table.notna().sum() >= LEAST]


def _of(table: pd.DataFrame, ids: pd.Series) -> pd.DataFrame:
    """Rows of a table by id, missing where it has none."""
    return table.reindex(pd.Index(ids.astype("object")))


def read_culture(folder: Path) -> tuple[pd.DataFrame, pd.Series]:
    """How lines are grown, from the tables of the laboratories that grew them.

    Returns
    -------
    (frame indexed by COSMIC id of 0/1 features: D/F12 and not RPMI as medium, and each of the
    growth properties; doubling time in log hours, indexed by DepMap id). What a table does not say
    is missing.

    Raises
    ------
    DataError
        A table is missing, cannot be read, or has no such column.
    """
    path = folder / DETAILS
    if not path.exists():
        raise DataError(
            "no such file",
            file=path,
            remedy="put the official table of GDSC1000 lines there, or fit without culture facts",
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Unknown extension")  # a decoration of the sheet
        try:
            table = pd.read_excel(path, engine="openpyxl")
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise DataError(
                f"not a sheet ({error})", file=path, remedy="copy the official file again"
            ) from None
    require_columns(
        table.columns, ["COSMIC identifier", "Screen Medium", "Growth Properties"], path
    )
    number = pd.to_numeric(table["COSMIC identifier"], errors="coerce")  # the last row is a sum
    table = table[number.notna()].set_index(number.dropna().astype("int64").astype(str))
    table = table[~table.index.duplicated()]
    medium, growth = (
        table[column].astype("string").str.strip()
        for column in ("Screen Medium", "Growth Properties")
    )
    facts = pd.DataFrame(
        {CULTURE[0]: (medium == "D/F12").where(medium.notna())}
        | {name: (growth == name).where(growth.notna()) for name in GROWTH}
    ).astype("float64")
    times = read_table(folder / ANNOTATIONS, ["depMapID", "Doubling.Time.Calculated.hrs"])
    hours = times.dropna().drop_duplicates("depMapID").set_index("depMapID").iloc[:, 0]
    return facts, np.log(hours[hours > 0].astype(float)).rename(CULTURE[-1])


def with_culture(benchmark: Benchmark, folder: str | os.PathLike | None = None) -> Benchmark:
    """A benchmark whose lines have the view "culture": [C, 5] features of `CULTURE`, missing (NaN)
    where nothing is known. One that has the view already is returned as it is.

    Nobody chose these facts by a response: medium and growth properties stand in the list of lines
    that were to be screened, and the doubling times were measured by another laboratory. The
    benchmark itself, its checksum and the runs on it know nothing of them.

    Parameters
    ----------
    folder : prepared tables; None takes `CLMT_DATA`. Lines without a COSMIC and a DepMap id are
        not looked up, nor are those of a benchmark that is none of `SCREENS` where no prepared
        table knows of culture

    Raises
    ------
    DataError
        From `locate` and `read_culture`.
    """
    side = benchmark.sides[0]
    if "culture" in side.views:
        return benchmark
    table = pd.DataFrame(np.nan, side.ids, list(CULTURE))
    known = {"cosmic_id", "depmap_id"} <= set(side.frame.columns)
    if known and (benchmark.name in SCREENS or _has_culture(folder)):
        facts, hours = read_culture(locate(folder))
        cosmic = pd.to_numeric(side.frame["cosmic_id"]).astype("Int64").astype("string")
        table[facts.columns] = _of(facts, cosmic).to_numpy()
        table[CULTURE[-1]] = _of(hours.to_frame(), side.frame["depmap_id"]).to_numpy()[:, 0]
    views = {**side.views, "culture": table.astype("float64")}
    return benchmark.with_sides(replace(side, views=views))


def with_events(benchmark: Benchmark, folder: str | os.PathLike | None = None) -> Benchmark:
    """A benchmark whose lines have the view "events" (`read_events`), where a prepared folder knows
    of any; one that has it already, or whose lines have no COSMIC id, is returned as it is.

    Raises
    ------
    DataError
        From `locate` and `read_events`.
    """
    side = benchmark.sides[0]
    if "events" in side.views or benchmark.name not in SCREENS or "cosmic_id" not in side.frame:
        return benchmark
    home = locate(folder)
    if not (home / EVENTS).exists():
        return benchmark
    cosmic = pd.to_numeric(side.frame["cosmic_id"]).astype("Int64").astype("string")
    table = _of(read_events(home), cosmic).set_axis(side.ids)
    there = table.notna().all(axis=1).to_numpy()
    views = {**side.views, "events": table.fillna(0.0).astype("float32")}
    return benchmark.with_sides(
        replace(side, views=views, present={**side.present, "events": there})
    )


def _has_culture(folder: str | os.PathLike | None) -> bool:
    try:
        home = locate(folder)
    except DataError:
        return False
    return (home / DETAILS).exists() and (home / ANNOTATIONS).exists()


def highest_concentration(
    benchmark: Benchmark, folder: str | os.PathLike | None = None
) -> Benchmark:
    """A benchmark whose drugs have the view "dose": [D, 1] log of the highest concentration that
    the screen tested, in uM; missing (NaN) where it is not known. One that has it is returned.

    It says how potent somebody expected the drug to be: a fact of the plan of the screen. What a
    drug of a user's own is to be tested at stands in a column `max_concentration_um` of the drugs.

    Raises
    ------
    DataError
        From `locate` and `read_table`; concentrations of another screen than GDSC2 are not known.
    """
    side = benchmark.sides[1]
    if "dose" in side.views:
        return benchmark
    if "max_concentration_um" in side.frame:
        found = pd.to_numeric(side.frame["max_concentration_um"], errors="coerce")
    elif benchmark.name == "gdsc2":
        path = locate(folder) / "gdsc/response_gdsc2.parquet"
        table = read_table(path, ["DRUG_ID", "MAX_CONC"])
        found = table.groupby(table["DRUG_ID"].astype(str))["MAX_CONC"].median().reindex(side.ids)
    else:
        raise DataError(
            f"the concentrations that were tested are not known for {benchmark.name}",
            remedy="give the drugs a column max_concentration_um, or leave the dose out",
        )
    dose = np.log(found.where(found > 0).astype("float64"))
    view = pd.DataFrame({"log uM": dose.to_numpy()}, side.ids)
    return benchmark.with_sides(replace(side, views={**side.views, "dose": view}))


OTHER_SCREENS = {  # screen -> (responses, columns of line, drug and ln IC50)
    "GDSC1": ("gdsc/response_gdsc1_v17.parquet", ("COSMIC_ID", "DRUG_ID", "LN_IC50")),
    "CTRP": ("ctrp/response_ctrp_ic50.parquet", ("DEPMAP_ID", "compound", "LN_IC50")),
}
SWEEPS = 5  # over lines and drugs, of `_levels_of`


def other_levels(
    folder: str | os.PathLike | None = None, without: Collection[str] = ()
) -> pd.DataFrame:
    """How potent other screens found their drugs to be: mean ln IC50 (ln uM) of each, the effects
    of the lines that it was tried on taken out.

    Nothing of a line or a compound that the folder keeps back for an external test
    (`transfer.withheld`) is read. A screen whose table is not in the folder is left out.

    Parameters
    ----------
    without : COSMIC ids of lines whose responses are not read either, because they are held out

    Returns
    -------
    [drugs] frame, indexed by screen and drug, with `screen`, `name`, `smiles`, `inchikey`,
    `target`, `pathway`, `max_concentration_um` and `level`.

    Raises
    ------
    DataError
        From `locate` and the readers.
    """
    from clmt_lib.data.response import ctrp
    from clmt_lib.data.response.transfer import withheld

    folder = locate(folder)
    facts = gdsc.read_drugs(folder)
    kept_back, lines = withheld(folder), {}
    ids = folder / "ids/cell_lines.parquet"
    if kept_back["lines"] or without:
        known = read_table(ids, ["COSMIC_ID", "DEPMAP_ID"])
        cosmic = known["COSMIC_ID"].astype("Int64").astype("string")
        gone = known["DEPMAP_ID"].isin(kept_back["lines"]) | cosmic.isin(set(without))
        lines = {
            "GDSC1": set(cosmic[gone].dropna()) | set(without),
            "CTRP": set(known.loc[gone, "DEPMAP_ID"].dropna()),
        }
    away = facts.loc[facts.index.isin(kept_back["drugs"])]
    found = []
    for screen, (file, columns) in OTHER_SCREENS.items():
        path = folder / file
        if not path.exists():
            continue
        table = read_table(path, list(columns))
        table = table.set_axis(["line", "drug", "y"], axis=1).dropna()
        if screen == "GDSC1":
            drugs = facts.assign(max_concentration_um=np.nan)
            table["line"] = table["line"].astype("int64").astype(str)
            table["drug"] = table["drug"].astype("int64").astype(str)
        else:
            drugs = ctrp.read_drugs(folder)
            drugs = drugs[~drugs["mixture"]]
            tried = read_table(
                folder / "ctrp/compounds.parquet", ["master_cpd_id", "top_test_conc_umol"]
            )
            tried = tried.set_index(tried["master_cpd_id"].astype("int64").astype(str)).iloc[:, 1]
            drugs = drugs.assign(max_concentration_um=tried.reindex(drugs.index))
            drugs = drugs.set_index(drugs["name"].map(letters))
            drugs = drugs[~drugs.index.duplicated()]
            table["drug"] = table["drug"].map(letters)
        level = _levels_of(table[~table["line"].isin(lines.get(screen, set()))])
        drugs = drugs.reindex(drugs.index.intersection(level.index))
        columns_of_drugs = ["name", "smiles", "inchikey", "target", "pathway"]
        part = drugs[[*columns_of_drugs, "max_concentration_um"]].astype(
            {"max_concentration_um": "float64"}
        )
        part[columns_of_drugs] = part[columns_of_drugs].astype(object)
        part.insert(0, "screen", screen)
        part = part.assign(level=level.reindex(part.index))
        found.append(part.set_index(screen + " " + part.index.astype(str)))
    if not found:
        columns_of_all = ["screen", "name", "smiles", "inchikey", "target", "pathway"]
        return pd.DataFrame(columns=[*columns_of_all, "max_concentration_um", "level"])
    out = pd.concat(found)
    both = pd.concat([out, away], ignore_index=True)
    compound = group_compounds(both[["name", "inchikey", "smiles"]]).to_numpy()
    kept = ~np.isin(compound[: len(out)], compound[len(out) :])
    return out[kept]


def _levels_of(table: pd.DataFrame) -> pd.Series:
    """Mean response of each drug of a long table (line, drug, y), the effects of lines taken out.

    >>> table = pd.DataFrame({"line": list("abb"), "drug": list("xxy"), "y": [0.0, 2.0, 5.0]})
    >>> _levels_of(table).round(1).to_dict()
    {'x': 1.0, 'y': 4.0}
    """
    y = table.pivot_table(index="line", columns="drug", values="y")
    level = y.mean()
    for _ in range(SWEEPS):
        line = (y - level).mean(axis=1)
        level = y.sub(line - line.mean(), axis=0).mean()
    return level
