"""What comes in: benchmarks, their readers, downloads and splits."""

from importlib import import_module

from clmt_lib.data.base import Benchmark, Side
from clmt_lib.data.response.base import DrugResponse
from clmt_lib.data.splits import (
    KINDS,
    Split,
    kind_of,
    make_split,
    read_split_csv,
    write_split_csv,
)
from clmt_lib.io import DataError, locate

RESPONSES = {  # where a prepared folder keeps the responses of each real benchmark
    "gdsc2": "gdsc/response_gdsc2.parquet",
    "tgsa": "ccle/response_gdsc2_tgsa_580x170.parquet",
    "ccle": "ccle/response_ccle_np24.parquet",
    "gdsc1": "gdsc/response_gdsc1_v17.parquet",
    "ctrp": "ctrp/response_ctrp_auc.parquet",
}
BENCHMARKS = ("simulated", *RESPONSES)
_READERS = {
    "simulated": "response.simulated.load",
    "gdsc2": "response.gdsc.load",
    "tgsa": "response.ccle.load",
    "ccle": "response.ccle.load_ccle",
    "gdsc1": "response.gdsc1.load",
    "ctrp": "response.ctrp.load",
}

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "DataError",
    "DrugResponse",
    "KINDS",
    "RESPONSES",
    "Side",
    "Split",
    "kind_of",
    "load",
    "locate",
    "make_split",
    "read_split_csv",
    "write_split_csv",
]


def load(name, **options):
    """Read one benchmark by name; `options` go to its reader (`folder=` for the real ones, `seed=`
    for the simulated world, `target="act_area"` for ccle).

    Raises
    ------
    DataError
        Unknown name, or the folder named by `CLMT_DATA` is missing or incomplete.
    """
    if name not in _READERS:
        raise DataError(
            f"unknown benchmark {name!r}", remedy=f"use one of: {', '.join(BENCHMARKS)}"
        )
    module, function = _READERS[name].rsplit(".", 1)
    return getattr(import_module(f"clmt_lib.data.{module}"), function)(**options)
