"""What comes in: benchmarks, their readers, downloads and splits."""

from importlib import import_module

from clmt_lib.data.benchmark import DrugResponse
from clmt_lib.data.splits import KINDS, Split, load_split, make_split, save_split
from clmt_lib.data.tables import DataError, locate

BENCHMARKS = ("simulated", "gdsc2", "tgsa")
_READERS = {"simulated": "simulated", "gdsc2": "gdsc", "tgsa": "ccle"}

__all__ = ["BENCHMARKS", "DataError", "DrugResponse", "KINDS", "Split", "load", "load_split", "locate", "make_split", "save_split"]


def load(name, **options):
    """Read one benchmark by name; `options` go to its reader (`folder=` for the real ones, `seed=` for the simulated world).

    Raises
    ------
    DataError
        Unknown name, or the folder named by `CLMT_DATA` is missing or incomplete.
    """
    if name not in _READERS:
        raise DataError(f"unknown benchmark {name!r}", remedy=f"use one of: {', '.join(BENCHMARKS)}")
    return import_module(f"clmt_lib.data.{_READERS[name]}").load(**options)
