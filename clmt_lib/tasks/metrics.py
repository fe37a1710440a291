"""One table of metrics: what each computes, which direction is better, in which unit (chapter 08).

Every function takes [n] measured and [n] predicted values and returns one number, NaN where the
data do not define it (an AUROC of positives alone). Existing libraries compute what they know.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np

from clmt_lib.data.base import Benchmark
from clmt_lib.data.splits import Split
from clmt_lib.io import DataError

FEWEST = 5  # pairs an entity needs before a statistic of its own is counted
REPORTED = ("rmse", "pcc", "pcc_per_drug")  # of drug response, with intervals
BINS = 15  # of the calibration error
Statistic = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Metric:
    """A number that says how good predictions are.

    Attributes
    ----------
    name : in records
    function : (y, predicted) -> value
    higher_is_better : direction
    unit : "y" or "y squared" for the benchmark's units, "" for a pure number

    Examples
    --------
    >>> METRICS["rmse"](np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    1.4142135623730951
    >>> find("pcc_per_drug").higher_is_better, find("rmse_measured").higher_is_better
    (True, False)
    """

    name: str
    function: Statistic
    higher_is_better: bool
    unit: str = ""

    def __call__(self, y: np.ndarray, predicted: np.ndarray) -> float:
        """Value of [n] measured and [n] predicted numbers."""
        return self.function(y, predicted)

    def gain(self, difference: Any) -> Any:
        """A difference (a number or an array), its sign turned so that positive is better."""
        return difference if self.higher_is_better else -difference


def additive_effects(
    benchmark: Benchmark, positions: np.ndarray, shrink: float = 1.0
) -> tuple[float, np.ndarray, np.ndarray]:
    """Row + column effects of a table (of lines and drugs: ln IC50) fitted on `positions`
    (Gauss-Seidel, each mean shrunk as if `shrink` more pairs sat at zero).

    Parameters
    ----------
    benchmark : whose `pairs`, `y` and `shape` are read
    positions : [n] of its pairs

    Returns
    -------
    (mean, row effects, column effects) in the benchmark's units; an entity without a pair has
    effect zero.
    """
    (row, column), y = benchmark.pairs[positions].T, benchmark.y[positions]
    mean, (n_rows, n_columns) = y.mean(), benchmark.shape
    rows, columns = np.zeros(n_rows), np.zeros(n_columns)
    in_row, in_column = np.bincount(row, minlength=n_rows), np.bincount(column, minlength=n_columns)
    for _ in range(20):
        total = np.bincount(column, y - mean - rows[row], n_columns)
        columns = total / np.maximum(in_column + shrink, 1e-12)
        total = np.bincount(row, y - mean - columns[column], n_rows)
        rows = total / np.maximum(in_row + shrink, 1e-12)
    return mean, rows, columns


BASES = ("auto", "both", "row", "column", "none")


def held_out(benchmark: Benchmark, kind: str) -> tuple[tuple[int, str], ...]:
    """What a kind of split holds out as a whole, as `Benchmark.blinded`; nothing for a split of its
    own, which no benchmark knows.
    """
    try:
        return benchmark.blinded(kind)
    except DataError:
        return ()


def known_effects(
    benchmark: Benchmark, split: Split, base: str = "auto", shrink: float = 1.0
) -> tuple[float, np.ndarray, np.ndarray]:
    """(mean, row effects, column effects) of the training set, of some sides alone.

    An effect of an entity that is held out cannot be known; where it is taken away from those that
    are not, nothing is left in which a model could learn the general level of a new one.

    Parameters
    ----------
    base : "both" as `additive_effects`; "row" or "column" as the shrunk means of one side; "none";
        or "auto", those of the sides that the split does not hold out

    Raises
    ------
    DataError
        Unknown base.
    """
    if base not in BASES:
        raise DataError(f"unknown base {base!r}", remedy=f"use one of: {', '.join(BASES)}")
    mean, row, column = additive_effects(benchmark, split.train, shrink)
    if base == "auto":
        new = {axis for axis, _ in held_out(benchmark, split.kind)}
        base = {(): "both", (0,): "column", (1,): "row"}.get(tuple(sorted(new)), "none")
    if base == "both":
        return mean, row, column
    out = [np.zeros(n) for n in benchmark.shape]
    if base in ("row", "column"):  # means of one side alone, shrunk as the effects of both are
        axis = ("row", "column").index(base)
        where, y = benchmark.pairs[split.train, axis], benchmark.y[split.train]
        count = np.bincount(where, minlength=len(out[axis]))
        total = np.bincount(where, y - mean, len(out[axis]))
        out[axis] = total / np.maximum(count + shrink, 1e-12)
    return float(mean), out[0], out[1]


def rmse(y: np.ndarray, p: np.ndarray) -> float:
    """Root mean squared error, in the units of `y`."""
    return float(np.sqrt(np.mean((y - p) ** 2)))


def mse(y: np.ndarray, p: np.ndarray) -> float:
    """Mean squared error, in the squared units of `y`."""
    return float(np.mean((y - p) ** 2))


def mae(y: np.ndarray, p: np.ndarray) -> float:
    """Mean absolute error, in the units of `y`."""
    return float(np.mean(np.abs(y - p)))


def r2(y: np.ndarray, p: np.ndarray) -> float:
    """Share of the variance explained, 1 - MSE / variance; 0 where `y` is constant."""
    spread = np.var(y)
    return float(1 - np.mean((y - p) ** 2) / spread) if spread > 0 else 0.0


def pearson(y: np.ndarray, p: np.ndarray) -> float:
    """Pearson correlation; 0 where either side is constant."""
    y, p = y - y.mean(), p - p.mean()
    scale = np.sqrt((y @ y) * (p @ p))
    return float(y @ p / scale) if scale > 1e-12 * max(len(y), 1) else 0.0


def spearman(y: np.ndarray, p: np.ndarray) -> float:
    """Spearman rank correlation (average ranks for ties); 0 where either side is constant."""
    return pearson(_ranks(y), _ranks(p))


def _ranks(x: np.ndarray) -> np.ndarray:
    """[n] ranks from 1 on; equal values share the mean of theirs."""
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def concordance(y: np.ndarray, p: np.ndarray) -> float:
    """Concordance index: of all pairs of examples with different `y`, the share that the
    predictions put in the same order. Equal predictions count one half, as in the code of the
    drug-target field (DeepDTA, GraphDTA); 0.5 is chance. NaN where `y` is constant.

    It follows from Kendall's tau-b in O(n log n): tau is concordant minus discordant pairs, over
    sqrt(pairs with different y * pairs with different p).

    >>> round(concordance(np.array([1.0, 2, 3]), np.array([0.1, 0.1, 0.9])), 4)
    0.8333
    """
    from scipy.stats import kendalltau  # imported where needed: naming metrics stays quick

    different_y, different_p = _different(y), _different(p)
    if not different_y:
        return float("nan")
    if not different_p:
        return 0.5
    tau = kendalltau(y, p).statistic
    surplus = np.rint(tau * np.sqrt(different_y) * np.sqrt(different_p))  # a whole number
    return float(0.5 + 0.5 * surplus / different_y)


def _different(values):
    """Number of pairs of examples with different values."""
    count = np.unique(values, return_counts=True)[1].astype(float)
    return (len(values) ** 2 - (count**2).sum()) / 2


def rm2(y: np.ndarray, p: np.ndarray) -> float:
    """Modified squared correlation of Roy et al. (2012) as DeepDTA's code has it,
    r2 (1 - sqrt(|r2 squared - r02 squared|)), where r2 is Pearson's r squared and r02 the share
    explained by the line k p through the origin. 0 where either side is constant.

    The papers have sqrt(|r2 - r02|); published tables were made with the code.
    """
    squared, spread, scale = pearson(y, p) ** 2, np.sum((y - np.mean(y)) ** 2), np.sum(p * p)
    if squared == 0 or scale == 0:
        return 0.0
    through_origin = 1 - np.sum((y - np.sum(y * p) / scale * p) ** 2) / spread
    return float(squared * (1 - np.sqrt(np.abs(squared**2 - through_origin**2))))


def auroc(y: np.ndarray, p: np.ndarray) -> float:
    """Area under the ROC curve of 0/1 labels; NaN where only one of them occurs."""
    from sklearn.metrics import roc_auc_score

    positive = _labels(y)
    defined = positive.any() and not positive.all()
    return float(roc_auc_score(positive, p)) if defined else float("nan")


def auprc(y: np.ndarray, p: np.ndarray) -> float:
    """Average precision of 0/1 labels (the area under the precision-recall curve, in steps); its
    chance level is the share of positives. NaN where there is no positive.
    """
    from sklearn.metrics import average_precision_score

    positive = _labels(y)
    return float(average_precision_score(positive, p)) if positive.any() else float("nan")


def ece(y: np.ndarray, p: np.ndarray) -> float:
    """Expected calibration error of probabilities of a 0/1 label: over `BINS` bins of equal width,
    |share of positives - mean probability|, weighted by the bin's examples.

    A prediction outside [0, 1] counts as the nearest probability.
    """
    gap = _labels(y) - np.clip(p, 0, 1)
    return float(np.abs(np.bincount(calibration_bins(p), gap)).sum() / len(gap))


def calibration_bins(p: np.ndarray) -> np.ndarray:
    """[n] bin of each probability, 0 to `BINS` - 1; a bin holds its lower edge, the last one 1."""
    edges = np.linspace(0, 1, BINS + 1)[1:-1]
    return np.searchsorted(edges, np.clip(p, 0, 1), side="right")


def top_k(k: int) -> Statistic:
    """Retrieval for one query: whether a right candidate is among the `k` highest scores.

    Returns
    -------
    function of [n] labels (1: right) and [n] scores: 0 or 1, and where scores are equal the chance
    of a hit when ties are broken at random, so a constant score hits in k of n. NaN without a right
    candidate.

    >>> top_k(1)(np.array([0, 1, 0, 0]), np.array([0.2, 0.9, 0.9, 0.1]))
    0.5
    """

    def hit(y: np.ndarray, p: np.ndarray) -> float:
        right = _labels(y)
        if not right.any():
            return float("nan")
        if k >= len(p):
            return 1.0
        last = np.sort(p)[-k]
        if right[p > last].any():
            return 1.0
        tied, places = right[p == last], k - int((p > last).sum())
        none = comb(len(tied) - int(tied.sum()), places) / comb(len(tied), places)
        return 1 - none

    return hit


def _labels(y):
    """[n] bool of 0/1 labels."""
    y = np.asarray(y)
    if not np.isin(y, (0, 1)).all():
        strange = y[~np.isin(y, (0, 1))][0]
        raise DataError(f"label {strange!r} is neither 0 nor 1", remedy="use a metric of numbers")
    return y == 1


METRICS = {
    metric.name: metric
    for metric in (
        Metric("rmse", rmse, False, "y"),
        Metric("mse", mse, False, "y squared"),
        Metric("mae", mae, False, "y"),
        Metric("r2", r2, True),
        Metric("pcc", pearson, True),
        Metric("spearman", spearman, True),
        Metric("ci", concordance, True),
        Metric("rm2", rm2, True),
        Metric("auroc", auroc, True),
        Metric("auprc", auprc, True),
        Metric("ece", ece, False),
        Metric("top1", top_k(1), True),
        Metric("top5", top_k(5), True),
        Metric("top10", top_k(10), True),
    )
}


def parse(name: str) -> tuple[str, str]:
    """(metric, group) of a name in a record: "pcc_per_drug" is ("pcc", "drug").

    Raises
    ------
    DataError
        Unknown metric.
    """
    metric, _, group = name.partition("_per_")
    if metric not in METRICS:
        raise DataError(
            f"unknown metric {name!r}",
            remedy=f"use one of: {', '.join(METRICS)}, alone or followed by _per_<group>",
        )
    return metric, group


def find(name: str) -> Metric:
    """The metric behind a name in a record, whatever it is taken over: alone, "_per_drug",
    "_normalised" or "_measured".

    Raises
    ------
    DataError
        Unknown metric.
    """
    return METRICS[parse(name.removesuffix("_normalised").removesuffix("_measured"))[0]]


def per_group(
    y: np.ndarray,
    p: np.ndarray,
    group: np.ndarray,
    statistic: Statistic = pearson,
    fewest: int = FEWEST,
) -> float:
    """Mean over groups (drugs, or lines) of a statistic computed inside each group of at least
    `fewest` pairs; NaN if there is none. Groups in which it is not defined do not count.

    "Per-drug r" is `per_group(y, p, drug)`: what a biologist choosing among lines needs, and what
    global correlation hides.
    """
    order = np.argsort(group, kind="stable")
    cuts = np.flatnonzero(np.diff(np.unique(group, return_inverse=True)[1][order])) + 1
    values = [statistic(y[rows], p[rows]) for rows in np.split(order, cuts) if len(rows) >= fewest]
    values = [value for value in values if not np.isnan(value)]
    return float(np.mean(values)) if values else float("nan")


def evaluate(
    y: np.ndarray,
    predicted: np.ndarray,
    groups: Mapping[str, np.ndarray] | None = None,
    metrics: Iterable[str] | None = None,
    fewest: int = FEWEST,
) -> dict[str, float]:
    """Metrics of predictions, whatever made them.

    Parameters
    ----------
    y, predicted : [n] measured and predicted values, all finite
    groups : name -> [n] labels; "pcc_per_drug" is the mean over the groups of "drug" of r inside
    metrics : names, each alone or followed by "_per_<group>"; None takes RMSE, MAE, R2, Pearson and
        Spearman, and both correlations per group
    fewest : examples a group needs

    Returns
    -------
    metric -> value, in the order asked for; NaN where it is not defined.

    Raises
    ------
    DataError
        Shapes that differ, values that are not finite, unknown metric or group.

    Examples
    --------
    >>> evaluate(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]), metrics=["mae", "ci"])
    {'mae': 0.3333333333333333, 'ci': 1.0}
    """
    y, p = _checked(y, predicted)
    groups = dict(groups or {})
    if metrics is None:
        each = [f"{name}_per_{group}" for group in groups for name in ("pcc", "spearman")]
        metrics = ["rmse", "mae", "r2", "pcc", "spearman", *each]
    found = {}
    for asked in metrics:
        name, group = parse(asked)
        if group and (group not in groups or len(groups[group]) != len(y)):
            raise DataError(
                f"{asked} needs one label of {group!r} for each of {len(y)} values",
                remedy=f"groups are: {', '.join(groups) or 'none'}",
            )
        function = METRICS[name].function
        found[asked] = (
            per_group(y, p, np.asarray(groups[group]), function, fewest)
            if group
            else function(y, p)
        )
    return found


def _checked(y, predicted):
    y, p = np.asarray(y, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if p.shape != y.shape or y.ndim != 1 or not np.isfinite(p).all() or not np.isfinite(y).all():
        raise DataError(
            f"predictions of shape {p.shape} with {np.sum(~np.isfinite(p))} not finite; expected "
            f"{y.shape}, all finite",
            remedy="give one finite prediction a measured value",
        )
    if not len(y):
        raise DataError("no value to score", remedy="give at least one")
    return y, p
