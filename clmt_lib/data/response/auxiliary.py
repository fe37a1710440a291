"""What other tables of the prepared folder know of a benchmark's lines: what other screens measured
of them, with other compounds; their expression, measured a second time;
their cancer events (chapter 09c).

A published model sees one screen through one set of omics. This is more, and a model that reads it
says so in its name.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib.data import load_response
from clmt_lib.data.grouping import group_compounds
from clmt_lib.data.response import ccle, gdsc
from clmt_lib.data.response.base import DrugResponse
from clmt_lib.data.response.joins import whole
from clmt_lib.io import DataError, locate, read_table, require_columns

TABLES = {  # benchmark -> (screens of the same laboratory, whose expression is the second one)
    "gdsc2": (("gdsc1",), "ccle"),
    "tgsa": (("gdsc1", "gdsc2"), "gdsc"),
}
LEAST = 50  # lines that a column of another screen must know


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
    path = folder / "gdsc/mobem_v17.parquet"
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
