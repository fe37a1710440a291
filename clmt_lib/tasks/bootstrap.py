"""Intervals: entities are drawn again, not pairs; folds are pooled draw by draw (chapter 08)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from clmt_lib.io import DataError
from clmt_lib.tasks.metrics import BINS, FEWEST, METRICS, REPORTED, calibration_bins, find, parse

DRAWS = 1000  # of a bootstrap
AT_ONCE = 20_000_000  # weights in memory: 160 MB
BLOCK = 1000  # rows of the matrix of pairs of examples
ENOUGH = 3  # folds or seeds below which a difference says nothing: chance of training is unknown
MARGINS = (
    0.01,
    0.005,
)  # of an error, as a share of the base's; of any other score: too small to care
WORDS = ("better", "worse", "equivalent", "no difference found", "too few folds")


class Bootstrap:
    """Two-way cluster bootstrap: the entities of both sides are drawn again, with replacement, and
    a pair weighs the product of their counts.

    Draws are computed together as matrix products over the table of rows and columns, so a thousand
    cost a second. The same draw of entities serves every fold and every predictor, so means over
    folds and differences between predictors are paired draw by draw.

    Parameters
    ----------
    shape : number of entities of each side; one number alone is a side without a table
    draws, seed : number of resamples and where they start
    names : what the sides are called in a metric's name, as in "pcc_per_drug"
    resampled : names of the sides that are drawn again; the others stay as they are (None: all)
    fewest : pairs an entity needs before a statistic of its own is counted

    Attributes
    ----------
    counts : one [draws, entities] array a side: how often each entity was drawn

    Examples
    --------
    >>> boot = Bootstrap((3, 2), draws=4)
    >>> [int(row.sum()) for row in boot.counts[0]]
    [3, 3, 3, 3]
    """

    def __init__(
        self,
        shape: Sequence[int],
        draws: int = DRAWS,
        seed: int = 0,
        names: Sequence[str] = ("cell", "drug"),
        resampled: Sequence[str] | None = None,
        fewest: int = FEWEST,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.draws, self.fewest, self.names = draws, fewest, tuple(names)[: len(shape)]
        if len(self.names) != len(shape) or not set(resampled or ()) <= set(self.names):
            raise DataError(
                f"{len(shape)} sides called {', '.join(self.names)}, of which "
                f"{', '.join(resampled or self.names)} are drawn again",
                remedy="give every side a name, and draw sides by these names",
            )
        self.resampled = self.names if resampled is None else tuple(resampled)
        self.counts = tuple(
            rng.multinomial(n, np.full(n, 1 / n), draws).astype(float)
            if name in self.resampled
            else np.ones((draws, n))
            for n, name in zip(shape, self.names, strict=True)
        )

    def statistics(
        self,
        pairs: np.ndarray,
        y: np.ndarray,
        predicted: np.ndarray,
        metrics: Iterable[str] = REPORTED,
    ) -> dict[str, np.ndarray]:
        """Metrics of one predictor on the pairs of one set, in every draw.

        Ranks, for Spearman's correlation, are those of the data as they are: a draw weighs them.

        Parameters
        ----------
        pairs : [n, 2] positions of entities (with one side: [n] or [n, 1])
        y, predicted : [n]
        metrics : names of `MOMENTS` and `RANKED`, each also with "_per_<side>": its mean over the
            entities of that side that have at least `fewest` pairs. Any other metric per entity of
            one side, where the other side is not resampled

        Returns
        -------
        metric -> [draws]; NaN where nothing that it can be computed from was drawn.
        """
        pairs, y, p = self._pairs(pairs), np.asarray(y), np.asarray(predicted)
        found, sums = {}, dict[tuple, Any]()
        for metric in metrics:
            name, side = self._parse(metric)
            if name not in MOMENTS:
                function = RANKED[name] if name in RANKED else _unweighted(name)
                each = self._ranked(function, pairs, y, p, side)
            else:
                group = np.zeros(len(y), dtype=int) if side is None else pairs[:, side]
                key = side, name == "spearman"
                if key not in sums:
                    values = (_ranks(y, group), _ranks(p, group)) if key[1] else (y, p)
                    sums[key] = self._sums(pairs, _moments(*values), side)
                with np.errstate(invalid="ignore", divide="ignore"):
                    each = MOMENTS[name](sums[key])
            weight = self._weight(pairs, y, name, side, sums)
            found[metric] = (
                np.where(weight > 0, each, np.nan) if side is None else _mean(each, weight)
            )
        return found

    def weights(
        self,
        pairs: np.ndarray,
        metrics: Iterable[str] = REPORTED,
        y: np.ndarray | None = None,
        relative: bool = True,
    ) -> dict[str, np.ndarray]:
        """How much of what a metric is computed from was drawn: what `pool` weighs a fold by. It
        depends on the data alone, not on what was predicted.

        Parameters
        ----------
        pairs : [n, 2] positions of the entities of one fold
        y : [n] measured values, which metrics of `RANKED` need: an AUROC is not defined where only
            positives were drawn
        relative : as a share of the fold as it is, so that folds count alike, as in the mean over
            folds that is reported; else pairs (or entities, for a metric per entity) count alike

        Returns
        -------
        metric -> [draws]: pairs drawn, or entities drawn that have enough pairs.
        """
        pairs, found, sums = self._pairs(pairs), {}, dict[tuple, Any]()
        for metric in metrics:
            name, side = self._parse(metric)
            weight = self._weight(pairs, y, name, side, sums)
            full = len(pairs)
            if side is not None:
                weight = weight.sum(1)
                full = int((np.unique(pairs[:, side], return_counts=True)[1] >= self.fewest).sum())
            found[metric] = weight / max(full, 1) if relative else weight
        return found

    def _pairs(self, pairs):
        pairs = np.asarray(pairs)
        pairs = pairs[:, None] if pairs.ndim == 1 else pairs
        if pairs.ndim != 2 or pairs.shape[1] != len(self.counts):
            raise DataError(
                f"pairs of shape {pairs.shape} for {len(self.counts)} side(s)",
                remedy="give one column of positions a side",
            )
        return pairs

    def _parse(self, metric):
        """(name of the statistic, side whose entities it is a mean over, or None)."""
        name, side = parse(metric)
        others = set(self.names) - {side}
        weighted = name in MOMENTS or name in RANKED
        if (side and (side not in self.names or not others)) or (
            not weighted and (not side or others & set(self.resampled))
        ):
            raise DataError(
                f"no bootstrap of {metric!r}",
                remedy=f"use one of {', '.join([*MOMENTS, *RANKED])}, alone or, with two sides, "
                + "followed by "
                + " or ".join(f"_per_{each}" for each in self.names),
            )
        return name, self.names.index(side) if side else None

    def _weight(self, pairs, y, name, side, sums):
        """[draws] pairs drawn, or [draws, entities of `side`] how often an entity counts: as often
        as it was drawn; not at all with too few pairs, or where what was drawn of it does not
        define the metric. `sums` keeps what was computed for another metric.
        """
        if (side, "n") not in sums:
            sums[side, "n"] = self._sums(pairs, {"n": np.ones(len(pairs))}, side)["n"]
        n = sums[side, "n"]
        if name not in MOMENTS:
            if y is None:
                raise DataError(f"weights of {name} need y", remedy="give the measured values")
            function = DEFINED[name] if name in RANKED else _unweighted(name, defined=True)
            defined = self._ranked(function, pairs, np.asarray(y), None, side)
        else:  # one pair of an entity has an error, but no correlation
            defined = n > (0 if side is None or name in ERRORS else 1)
        if side is None:
            return n * defined
        entities, count = np.unique(pairs[:, side], return_counts=True)
        return self.counts[side][:, entities] * (count >= self.fewest) * defined

    def _sums(self, pairs, values, side):
        """name -> weighted sums, [draws] over everything or [draws, entities] over the entities of
        `side` that have pairs: each is weighted by the other side's counts alone.
        """
        if len(self.counts) == 1:
            weight = self.counts[0][:, pairs[:, 0]]
            return {key: weight @ value for key, value in values.items()}
        last = 1 if side is None else side
        (rows, row), (columns, column) = (
            np.unique(pairs[:, which], return_inverse=True) for which in (1 - last, last)
        )
        inner, out = self.counts[1 - last][:, rows], {}
        for key, value in values.items():
            table = np.zeros((len(rows), len(columns)))
            np.add.at(table, (row, column), value)
            out[key] = inner @ table  # [draws, entities of `last`]
        if side is None:
            outer = self.counts[1][:, columns]
            out = {key: (value * outer).sum(1) for key, value in out.items()}
        return out

    def _ranked(self, function, pairs, y, p, side):
        """[draws] or [draws, entities of `side`] of a function of values, predictions and weights,
        in the order of the predictions, some draws at a time.
        """
        if side is None:
            groups = [np.arange(len(pairs))]
        else:
            order = np.argsort(pairs[:, side], kind="stable")
            groups = np.split(order, np.flatnonzero(np.diff(pairs[order, side])) + 1)
        columns = []
        for rows in groups:
            if p is not None:
                rows = rows[np.argsort(p[rows], kind="stable")]
            step, values = max(1, AT_ONCE // len(rows)), []
            for start in range(0, self.draws, step):
                weight = np.ones((1, len(rows)))
                for axis, counts in enumerate(self.counts):
                    if axis != side:
                        weight = weight * counts[start : start + step, pairs[rows, axis]]
                values.append(function(y[rows], None if p is None else p[rows], weight))
            columns.append(np.concatenate(values))
        return columns[0] if side is None else np.stack(columns, axis=1)


def pool(draws_by_fold: ArrayLike, weights_by_fold: ArrayLike) -> np.ndarray:
    """One value a draw from the values of its folds, weighed by how much of each fold was drawn and
    divided once.

    A fold with two drugs is often not drawn at all: its value is then empty, and its weight zero. A
    mean over folds would lose the whole draw (or, over the folds that are there, count a drug that
    was drawn three times once, which makes intervals too narrow). Here every (fold, entity) keeps
    the share it has in the reported mean over folds, times how often it was drawn: with every
    entity drawn once, this *is* that mean, and with one drug a fold it is the plain bootstrap of
    drugs. An RMSE is pooled as such, not as mean square: the reported number is the mean of the
    folds' RMSEs, and the root of the pooled mean square is another, larger one.

    Paired differences pool in the same way: the weights are the same for every predictor.

    Parameters
    ----------
    draws_by_fold : [folds, draws] of one metric
    weights_by_fold : [folds, draws] of the same metric, as `Bootstrap.weights` gives them

    Returns
    -------
    [draws]; NaN where no fold was drawn.

    Raises
    ------
    DataError
        Shapes that differ, or a value missing where its fold was drawn.

    Examples
    --------
    >>> pool([[1.0, np.nan], [3.0, 2.0]], [[1.0, 0.0], [3.0, 1.0]]).tolist()
    [2.5, 2.0]
    """
    values = np.asarray(draws_by_fold, dtype=np.float64)
    weights = np.asarray(weights_by_fold, dtype=np.float64)
    if values.shape != weights.shape or values.ndim != 2:
        raise DataError(
            f"draws of shape {values.shape}, weights of shape {weights.shape}",
            remedy="give one row a fold to both",
        )
    drawn = weights > 0
    if not np.isfinite(values[drawn]).all():
        raise DataError(
            "a draw has no value in a fold of which something was drawn",
            remedy="draws and weights must be of the same benchmark, split and seed",
        )
    total = weights.sum(0)
    return np.divide(
        (np.where(drawn, values, 0.0) * weights).sum(0),
        total,
        out=np.full(len(total), np.nan),
        where=total > 0,
    )


def interval(values: ArrayLike, level: float = 0.95) -> list[float]:
    """[low, high] percentile interval of bootstrap draws; empty ones are left out, so say
    `draws_used` beside it. NaN where all are empty.
    """
    tail = 50 * (1 - level)
    values = np.asarray(values, dtype=np.float64)
    if not draws_used(values):
        return [float("nan"), float("nan")]
    return [float(v) for v in np.nanpercentile(values, [tail, 100 - tail])]


@dataclass(frozen=True)
class Verdict:
    """What a difference says, by the book's one rule (`judge`).

    Attributes
    ----------
    word : one of `WORDS`
    low, high : the interval that it was read from
    smallest : the effect that a design with such an interval finds four times in five
    """

    word: str
    low: float
    high: float
    smallest: float

    def __str__(self) -> str:
        """The verdict as a page prints it."""
        if self.word != "no difference found":
            return self.word
        return f"{self.word} (smallest we could have seen: {self.smallest:.3f})"


def luck(gaps: ArrayLike, level: float = 0.95) -> list[float]:
    """[low, high] of the mean of paired differences, one a fold or seed, by Student's t: what
    another training or another split could have brought.

    >>> [round(end, 3) for end in luck([0.1, 0.2, 0.3])]
    [-0.048, 0.448]
    """
    from scipy.special import stdtrit

    gaps = np.asarray(gaps, dtype=np.float64)
    reach = stdtrit(len(gaps) - 1, (1 + level) / 2) * gaps.std(ddof=1) / len(gaps) ** 0.5
    return [float(gaps.mean() - reach), float(gaps.mean() + reach)]


def judge(
    entities: Sequence[float],
    gaps: ArrayLike | int,
    metric: str = "rmse",
    base: float = float("nan"),
) -> Verdict:
    """The book's one rule for a difference of two models, variant minus base.

    Two kinds of chance are at work: which lines and drugs were tested (the bootstrap's interval),
    and how splits and trainings fell (`luck`). The interval reaches as far as the wider of the two
    on either side. Where it leaves zero out, the variant is better or worse; where all of it is
    within a margin that was stated before (`MARGINS`), the two are equivalent; else no difference
    was found, and `smallest` says how large one would have had to be.

    Parameters
    ----------
    entities : [low, high] of the bootstrap of entities
    gaps : the difference on every fold and seed; only their number where they are not at hand: the
        interval is then that of the entities alone
    base : score of the base, which the margin of an error is a share of; without it, none

    Examples
    --------
    >>> judge([-0.03, -0.01], [-0.02, -0.03, -0.01, -0.02]).word
    'better'
    >>> print(judge([-0.03, -0.01], [-0.06, 0.02, -0.02]))  # folds disagree
    no difference found (smallest we could have seen: 0.142)
    >>> judge([-0.03, -0.01], [-0.02]).word
    'too few folds'
    """
    low, high = (float(end) for end in entities)
    each = np.asarray(gaps, dtype=np.float64)  # [folds and seeds], or how many there are
    number = len(each) if each.ndim else int(each)
    if each.ndim and number >= ENOUGH and np.isfinite(each).all():
        by_luck = luck(each)
        low, high = min(low, by_luck[0]), max(high, by_luck[1])
    smallest = (high - low) / 2 * (1.95996 + 0.84162) / 1.95996  # 95 %, found four times in five
    about = find(metric)
    margin = MARGINS[1] if about.higher_is_better else MARGINS[0] * abs(base)
    if number < ENOUGH:
        word = "too few folds"
    elif not low <= 0 <= high:
        word = "better" if about.gain(high) > 0 else "worse"
    elif max(-low, high) <= margin:
        word = "equivalent"
    else:
        word = "no difference found"
    return Verdict(word, low, high, smallest)


def draws_used(values: ArrayLike) -> int:
    """Number of draws that have a value."""
    return int(np.isfinite(np.asarray(values, dtype=np.float64)).sum())


def with_interval(values: ArrayLike) -> dict[str, list[float] | int]:
    """What a record says of bootstrap draws: their `interval`, and of how many it is made.

    >>> with_interval([1.0, 1.0, np.nan])
    {'interval': [1.0, 1.0], 'draws_used': 2}
    """
    return {"interval": interval(values), "draws_used": draws_used(values)}


def _moments(y, p):
    return {
        "n": np.ones(len(y)),
        "y": y,
        "p": p,
        "yy": y * y,
        "pp": p * p,
        "yp": y * p,
        "ee": (y - p) ** 2,
        "e": np.abs(y - p),
    }


def _correlation(s):
    cov = s["yp"] / s["n"] - s["y"] * s["p"] / s["n"] ** 2
    spread = (s["yy"] / s["n"] - (s["y"] / s["n"]) ** 2) * (
        s["pp"] / s["n"] - (s["p"] / s["n"]) ** 2
    )
    return np.where(spread > 1e-12, cov / np.sqrt(np.maximum(spread, 1e-12)), 0.0)


def _explained(s):
    spread = s["yy"] / s["n"] - (s["y"] / s["n"]) ** 2
    return np.where(spread > 1e-12, 1 - s["ee"] / s["n"] / np.maximum(spread, 1e-12), 0.0)


def _modified(s):
    """r2 (1 - sqrt(|r2 squared - r02 squared|)) of `metrics.rm2`, from sums."""
    squared, spread = _correlation(s) ** 2, s["yy"] - s["y"] ** 2 / s["n"]
    through_origin = 1 - (s["yy"] - s["yp"] ** 2 / s["pp"]) / spread
    return np.where(
        squared > 0, squared * (1 - np.sqrt(np.abs(squared**2 - through_origin**2))), 0.0
    )


def _upto(weight):
    """[draws, n + 1] sum of the weights before each place."""
    return np.concatenate([np.zeros((len(weight), 1)), np.cumsum(weight, axis=1)], axis=1)


def _auroc(y, p, weight):
    """Of [n] examples sorted by prediction: weight of the negatives below each positive."""
    positive = y == 1
    first, last = (np.searchsorted(p, p[positive], side) for side in ("left", "right"))
    negatives = _upto(weight * ~positive)
    below = (negatives[:, first] + negatives[:, last]) / 2  # [draws, positives]; ties: one half
    weight = weight[:, positive]
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weight * below).sum(1) / (weight.sum(1) * negatives[:, -1])


def _auprc(y, p, weight):
    """Of [n] examples sorted by prediction: precision at the threshold of each positive."""
    positive = y == 1
    every, right = _upto(weight), _upto(weight[:, positive])
    predicted = every[:, -1:] - every[:, np.searchsorted(p, p[positive])]
    true = right[:, -1:] - right[:, np.searchsorted(p[positive], p[positive])]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.nan_to_num(true / predicted)
        return (weight[:, positive] * precision).sum(1) / right[:, -1]


def _ece(y, p, weight):
    member = np.eye(BINS)[calibration_bins(p)]  # [n, bins]
    gap = (weight * ((y == 1) - np.clip(p, 0, 1))) @ member
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.abs(gap).sum(1) / weight.sum(1)


def _concordance(y, p, weight):
    """Every pair of examples, in blocks of rows: weights differ in every draw, so the sorting that
    makes one concordance index quick has nothing to share.
    """
    order = np.argsort(y, kind="stable")
    y, p, weight = y[order], p[order], weight[:, order]
    columns, concordant = weight.T.astype(np.float32), np.zeros(len(weight))
    for start in range(0, len(y), BLOCK):
        rows, end = slice(start, start + BLOCK), min(start + BLOCK, len(y))  # smaller y come before
        right = (y[rows, None] > y[:end]) * (0.5 + 0.5 * np.sign(p[rows, None] - p[:end]))
        before = right.astype(np.float32) @ columns[:end]  # sums of counts and halves: exact
        concordant += (weight[:, rows].T * before).sum(0)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(y)) + 1])
    tied = (np.add.reduceat(weight, starts, axis=1) ** 2).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return concordant / ((weight.sum(1) ** 2 - tied) / 2)


def _unweighted(name, defined=False):
    """A metric of what is not drawn again, the same in every draw (or whether it is defined)."""

    def same(y: np.ndarray, p: np.ndarray, weight: np.ndarray) -> np.ndarray:
        value = METRICS[name](y, np.zeros(len(y)) if defined else p)
        return np.full(len(weight), not np.isnan(value) if defined else value)

    return same


def _some_positive(y, _, weight):
    return weight @ (y == 1) > 0


def _both_labels(y, _, weight):
    return (weight @ (y == 1) > 0) & (weight @ (y != 1) > 0)


def _something(y, _, weight):
    return weight.sum(1) > 0


def _different_values(y, _, weight):
    drawn = weight > 0
    return np.where(drawn, y, -np.inf).max(1) > np.where(drawn, y, np.inf).min(1)


MOMENTS = {  # metrics that are functions of weighted sums
    "rmse": lambda s: np.sqrt(s["ee"] / s["n"]),
    "mse": lambda s: s["ee"] / s["n"],
    "mae": lambda s: s["e"] / s["n"],
    "r2": _explained,
    "pcc": _correlation,
    "spearman": _correlation,
    "rm2": _modified,
}
ERRORS = ("rmse", "mse", "mae")  # of an entity, defined by one pair
RANKED = {  # metrics that need every example: functions of y, predictions and [draws, n] weights
    "auroc": _auroc,
    "auprc": _auprc,
    "ece": _ece,
    "ci": _concordance,
}
DEFINED = {  # where a metric of `RANKED` is defined, from y and the weights alone
    "auroc": _both_labels,
    "auprc": _some_positive,
    "ece": _something,
    "ci": _different_values,
}


def _mean(each, weight):
    """[draws] mean of [draws, entities] by weight; NaN where nothing weighs."""
    total = weight.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (np.nan_to_num(each) * weight).sum(1) / total


def _ranks(values, group):
    """[n] average ranks inside each group."""
    return pd.Series(values).groupby(group).rank().to_numpy()
