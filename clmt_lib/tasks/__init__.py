"""What is asked of a model, and how the answer is scored.

`of(benchmark)` is its `Task`; `score` computes every metric of one run on one set, `evaluate` those
of predictions made anywhere; `Bootstrap` and `pool` give intervals.
"""

from clmt_lib.tasks import interaction, probing, response, retrieval
from clmt_lib.tasks.base import TASKS, Task, bootstrap_of, get, of, register, score, selection_score
from clmt_lib.tasks.bootstrap import (
    DRAWS,
    ENOUGH,
    WORDS,
    Bootstrap,
    Verdict,
    draws_used,
    interval,
    judge,
    luck,
    pool,
    with_interval,
)
from clmt_lib.tasks.metrics import METRICS, Metric, evaluate, find
from clmt_lib.tasks.response import UNSEEN_DRUG_SPLITS
from clmt_lib.tasks.retrieval import retrieve

__all__ = [
    "DRAWS",
    "ENOUGH",
    "METRICS",
    "TASKS",
    "UNSEEN_DRUG_SPLITS",
    "WORDS",
    "Bootstrap",
    "Metric",
    "Task",
    "Verdict",
    "bootstrap_of",
    "draws_used",
    "evaluate",
    "find",
    "get",
    "interaction",
    "interval",
    "judge",
    "luck",
    "of",
    "pool",
    "probing",
    "register",
    "response",
    "retrieval",
    "retrieve",
    "score",
    "selection_score",
    "with_interval",
]
