"""A run and its record: `run(config)` computes once, writes whole or not at all, and costs nothing
the second time (appendix on reproducibility).

Results are tables, one line a run (`records.store`); a run's history, predictions and draws stay in
its own folder on the machine that made it. Its id hashes the resolved configuration: every setting
of the model with its exact value, the data checksum and the model's version.
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
from clmt_lib.records.plan import Job, format_plan, plan, within, write_plan
from clmt_lib.records.provenance import hardware, provenance, reproducibility_line, versions
from clmt_lib.records.runs import RunConfig, read_config, run
from clmt_lib.records.store import (
    Record,
    collect,
    derived,
    exists,
    find,
    home,
    read,
    write_derived,
)
from clmt_lib.records.studies import read_study, run_study, study, summarise_study, verdicts
from clmt_lib.records.summaries import difference, ladder, summarise, table
from clmt_lib.records.transfer import read_transfer, run_transfer, transfer_counts, transfers

__all__ = [
    "Job",
    "Record",
    "RunConfig",
    "VERDICTS",
    "check_claim",
    "collect",
    "decide",
    "derived",
    "difference",
    "direction",
    "evidence",
    "exists",
    "find",
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
    "within",
    "write_derived",
    "write_plan",
]
