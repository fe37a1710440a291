"""What comes in: benchmarks, their readers, downloads and splits."""

import inspect
import os
from importlib import import_module
from pathlib import Path
from typing import Any

from clmt_lib.data.base import Benchmark, Side
from clmt_lib.data.probes.tables import TABLES as LABEL_TABLES
from clmt_lib.data.response.base import DrugResponse
from clmt_lib.data.response.screen import is_screen
from clmt_lib.data.response.screen import load as load_screen
from clmt_lib.data.splits import (
    KINDS,
    Split,
    kind_of,
    make_split,
    read_split_csv,
    write_split_csv,
)
from clmt_lib.io import DataError, locate

TABLES = {  # the part of the prepared tables and the file in it that holds a benchmark's values
    "gdsc2": ("drp", "gdsc/response_gdsc2.parquet"),
    "tgsa": ("drp", "ccle/response_gdsc2_tgsa_580x170.parquet"),
    "ccle": ("drp", "ccle/response_ccle_np24.parquet"),
    "gdsc1": ("drp", "gdsc/response_gdsc1_v17.parquet"),
    "ctrp": ("drp", "ctrp/response_ctrp_auc.parquet"),
    "davis": ("dti", "davis_pairs.parquet"),
    "kiba": ("dti", "kiba_pairs.parquet"),
    "human": ("dti", "human_pairs.parquet"),
    "biosnap_partial": ("dti", "biosnap_pairs.parquet"),
    "tox21": ("probing", "tox21.parquet"),
    **{name: ("probing", table.file) for name, table in LABEL_TABLES.items()},
}
RESPONSES = {name: file for name, (part, file) in TABLES.items() if part == "drp"}
BENCHMARKS = ("simulated", "interactions", *TABLES)
_READERS = {
    "simulated": "response.simulated.load",
    "interactions": "interaction.simulated.load",  # the invented world of drugs and proteins
    "gdsc2": "response.gdsc.load",
    "tgsa": "response.ccle.load",
    "ccle": "response.ccle.load_ccle",
    "gdsc1": "response.gdsc1.load",
    "ctrp": "response.ctrp.load",
    "davis": "interaction.davis.load",
    "kiba": "interaction.tables.load_kiba",
    "human": "interaction.tables.load_human",
    "biosnap_partial": "interaction.tables.load_biosnap",
    "tox21": "probes.tox21.load",
    **dict.fromkeys(LABEL_TABLES, "probes.tables.load"),
}

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "DataError",
    "DrugResponse",
    "KINDS",
    "LABEL_TABLES",
    "RESPONSES",
    "Side",
    "Split",
    "TABLES",
    "kind_of",
    "load",
    "load_response",
    "locate",
    "make_split",
    "read_split_csv",
    "table_of",
    "write_split_csv",
]


def table_of(name: str, folder: str | os.PathLike | None = None) -> Path | None:
    """The file that holds a real benchmark's values, there or not; None for a bundled one.

    Raises
    ------
    DataError
        No folder of prepared tables.
    """
    if name not in TABLES:
        return None
    part, file = TABLES[name]
    return locate(folder, part) / file


def load(name: str, **options: Any) -> Benchmark:
    """Read one benchmark by name; `options` go to its reader (`folder=` for the real ones, `seed=`
    for the simulated world, `target="act_area"` for ccle). The folder of a screen of your own is a
    name, too.

    Raises
    ------
    DataError
        Unknown name, or the folder named by `CLMT_DATA` is missing or incomplete.
    """
    if name not in _READERS:
        if not options and is_screen(name):
            return load_screen(name)
        raise DataError(
            f"unknown benchmark {name!r}", remedy=f"use one of: {', '.join(BENCHMARKS)}"
        )
    module, function = _READERS[name].rsplit(".", 1)
    reader = getattr(import_module(f"clmt_lib.data.{module}"), function)
    known = list(inspect.signature(reader).parameters)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise DataError(
            f"{name} has no option {unknown[0]!r}", remedy=f"use one of: {', '.join(known)}"
        )
    own = {"name": name} if name in LABEL_TABLES else {}  # one reader for all of them
    try:
        return reader(**own, **options)
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        if isinstance(error, DataError) or not options:
            raise
        said = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise DataError(
            f"{name} cannot be made with {said} ({error})",
            remedy="give options of the kind that its reader documents",
        ) from error


def load_response(name: str, **options: Any) -> DrugResponse:
    """Read a benchmark of cell lines x drugs, as `load`.

    Raises
    ------
    DataError
        As `load`; also for a benchmark of other sides.
    """
    benchmark = load(name, **options)
    if not isinstance(benchmark, DrugResponse):
        rows, columns = (side.name for side in benchmark.sides)
        raise DataError(
            f"{name} holds {rows}s x {columns}s",
            remedy="name a benchmark of cell lines x drugs: "
            + ", ".join(["simulated", *RESPONSES]),
        )
    return benchmark
