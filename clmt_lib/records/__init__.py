"""A run and its record: `run(config)` computes once, writes atomically, and costs nothing the
second time (appendix on reproducibility).

A record is a folder `<id>/` of `config.json`, `metrics.json`, `history.json` and `provenance.json`,
which are committed, and `predictions.parquet`, which stays on the
computer that made it. The id hashes the configuration, the data checksum and the model's declared
version.
"""

from clmt_lib.records.grids import read_grid, run_grid
from clmt_lib.records.ledger import (
    VERDICTS,
    check_claim,
    decide,
    direction,
    evidence,
    ledger,
    prediction_interval,
    read_ledger,
    verdict,
)
from clmt_lib.records.plan import Job, format_plan, plan, write_plan
from clmt_lib.records.provenance import hardware, provenance, reproducibility_line, versions
from clmt_lib.records.runs import Record, RunConfig, home, read, read_config, run
from clmt_lib.records.studies import (
    read_study,
    run_notebooks,
    run_study,
    study,
    summarise_study,
    verdicts,
)
from clmt_lib.records.summaries import difference, ladder, summarise, table
from clmt_lib.records.transfer import read_transfer, run_transfer, transfer_counts, transfers

__all__ = [
    "Job",
    "Record",
    "RunConfig",
    "VERDICTS",
    "check_claim",
    "decide",
    "difference",
    "direction",
    "evidence",
    "format_plan",
    "hardware",
    "home",
    "ladder",
    "ledger",
    "plan",
    "prediction_interval",
    "provenance",
    "read",
    "read_config",
    "read_grid",
    "read_ledger",
    "read_study",
    "read_transfer",
    "reproducibility_line",
    "run",
    "run_grid",
    "run_notebooks",
    "run_study",
    "run_transfer",
    "study",
    "summarise",
    "summarise_study",
    "table",
    "transfer_counts",
    "transfers",
    "verdict",
    "verdicts",
    "versions",
    "write_plan",
]
