"""What is asked of a model on a benchmark, and which numbers answer it.

A benchmark names its task by a string; `of(benchmark)` finds it. What is scored, reported with an
interval, looked at first and selected by on validation is said here once, and nowhere else.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from clmt_lib.data.base import Benchmark
from clmt_lib.data.splits import Split
from clmt_lib.io import DataError
from clmt_lib.tasks.bootstrap import DRAWS, Bootstrap
from clmt_lib.tasks.metrics import (
    FEWEST,
    METRICS,
    additive_effects,
    evaluate,
    find,
    parse,
    pearson,
    per_group,
)

TASKS: dict[str, "Task"] = {}


@dataclass(frozen=True)
class Task:
    """What is asked of a model, and how its answers are scored.

    Names of metrics may hold "{row}" and "{column}", for the names of a benchmark's two sides.

    Attributes
    ----------
    name : what a benchmark calls it
    question : in one sentence
    scored : metrics computed on every set
    with_interval : those that are reported with a bootstrap interval
    usual : the metric to look at first, and to select settings by on validation
    unseen : the one that takes its place where whole entities of the second side are held out
    drawn : sides whose entities the bootstrap draws again
    measured : metrics also computed without the values that are bounds, where there are some
    normalised : also correlation and R2 of what row and column effects leave
    fewest : pairs an entity needs before a statistic of its own is counted
    sides : names of the two sides
    keys : of the second side: a split "<key>_blind" holds out whole entities of it
    """

    name: str
    question: str
    scored: tuple[str, ...]
    with_interval: tuple[str, ...]
    usual: str
    unseen: str = ""
    drawn: tuple[str, ...] = ("{row}", "{column}")
    measured: tuple[str, ...] = ()
    normalised: bool = False
    fewest: int = FEWEST
    sides: tuple[str, str] = ("row", "column")
    keys: tuple[str, ...] = field(default=(), repr=False)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that are computed on every set."""
        return self._named(self.scored)

    @property
    def reported(self) -> tuple[str, ...]:
        """Names of the metrics that are reported with an interval."""
        return self._named(self.with_interval)

    @property
    def resampled(self) -> tuple[str, ...]:
        """Names of the sides whose entities the bootstrap draws again."""
        return self._named(self.drawn)

    @property
    def unseen_splits(self) -> tuple[str, ...]:
        """Kinds of split that hold out whole entities of the second side alone."""
        return tuple(f"{key}_blind" for key in self.keys)

    def headline(self, kind: str) -> str:
        """The metric to look at first on a kind of split."""
        held_out = kind == "both_blind" or kind in self.unseen_splits
        return self._named([self.unseen if held_out and self.unseen else self.usual])[0]

    def selection(self, kind: str) -> str:
        """The metric that settings are selected by on the validation set of a kind of split."""
        return self.headline(kind)

    def on(self, sides: Iterable[str], keys: Iterable[str] | None = None) -> "Task":
        """The same task between sides of other names (and with other keys of the second side)."""
        row, column = sides
        return replace(self, sides=(row, column), keys=self.keys if keys is None else tuple(keys))

    def _named(self, names):
        row, column = self.sides
        return tuple(name.format(row=row, column=column) for name in names)


def register(task: Task) -> Task:
    """Make a task known by its name, and return it.

    Raises
    ------
    DataError
        Another task has the name, or a metric is unknown.
    """
    if TASKS.get(task.name, task) != task:
        raise DataError(f"there is a task {task.name!r} already", remedy="choose another name")
    for name in (*task.metrics, *task.reported, *task.measured, task.headline("mixed")):
        parse(name)
    TASKS[task.name] = task
    return task


def get(name: str) -> Task:
    """A task by its name.

    Raises
    ------
    DataError
        Unknown task.

    Examples
    --------
    >>> get("response").headline("mixed"), get("response").headline("drug_blind")
    ('rmse', 'pcc_per_drug')
    """
    if name not in TASKS:
        raise DataError(f"unknown task {name!r}", remedy=f"use one of: {', '.join(TASKS)}")
    return TASKS[name]


def of(benchmark: Benchmark) -> Task:
    """The task of a benchmark, between its sides."""
    rows, columns = benchmark.sides
    return get(benchmark.task).on((rows.name, columns.name), columns.keys)


def bootstrap_of(benchmark: Benchmark, draws: int = DRAWS, seed: int = 0) -> Bootstrap:
    """The bootstrap of a benchmark: draws the entities of the sides that its task says."""
    task = of(benchmark)
    return Bootstrap(benchmark.shape, draws, seed, task.sides, task.resampled, task.fewest)


def score(
    benchmark: Benchmark, split: Split, predicted: np.ndarray, role: str = "test"
) -> dict[str, float]:
    """Every metric of one run on one set.

    Parameters
    ----------
    predicted : [n] in the benchmark's units, in the order of `split`'s positions
    role : "train", "valid" or "test"

    Returns
    -------
    dict: `pairs`, and the task's metrics. For drug response: rmse, mae, r2, pcc, spearman over all
    pairs; pcc and spearman per drug and per cell; pcc and r2 normalised (after subtracting the drug
    and cell effects of the training set).
    Where some values are bounds, all of these read them as measured; `censored` is then their
    share, and "rmse_measured" the RMSE of the others.

    Raises
    ------
    DataError
        Predictions of another shape, or not finite.
    """
    task, positions = of(benchmark), getattr(split, role)
    (row, column), y = benchmark.pairs[positions].T, benchmark.y[positions]
    groups = dict(zip(task.sides, (row, column), strict=True))
    found = {"pairs": len(y), **evaluate(y, predicted, groups, task.metrics, task.fewest)}
    p = np.asarray(predicted, dtype=np.float64)
    if task.normalised:
        mean, rows, columns = additive_effects(benchmark, split.train)
        base = mean + rows[row] + columns[column]
        found["pcc_normalised"] = pearson(y - base, p - base)
        found["r2_normalised"] = float(1 - np.mean((y - p) ** 2) / np.mean((y - base) ** 2))
    bound = benchmark.censored[positions]
    if benchmark.censored.any():  # in every set, so that folds can be averaged
        found["censored"] = float(bound.mean())
        for name in task.measured:
            found[f"{name}_measured"] = (
                float("nan") if bound.all() else METRICS[name](y[~bound], p[~bound])
            )
    return found


def selection_score(
    benchmark: Benchmark, split: Split, predicted: np.ndarray, role: str = "valid"
) -> float:
    """What settings are selected by, lower is better: the task's metric for the kind of split (for
    drug response RMSE, or the per-drug r where whole drugs are held out), its sign turned where
    higher is better.
    """
    task, positions = of(benchmark), getattr(split, role)
    asked = task.selection(split.kind)
    name, group = parse(asked)
    y, function = benchmark.y[positions], METRICS[name].function
    if group:
        entities = benchmark.pairs[positions, task.sides.index(group)]
        value = per_group(y, predicted, entities, function, task.fewest)
    else:
        value = function(y, predicted)
    return -value if find(asked).higher_is_better else value
