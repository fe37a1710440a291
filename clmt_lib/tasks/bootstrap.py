"""Intervals: entities are drawn again, not pairs; folds are pooled draw by draw (chapter 08)."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from clmt_lib.io import DataError
from clmt_lib.tasks.metrics import FEWEST, REPORTED

DRAWS = 1000  # of a bootstrap


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
    ) -> None:
        rng = np.random.default_rng(seed)
        self.draws, self.names = draws, tuple(names)[: len(shape)]
        if len(self.names) != len(shape) or not set(resampled or ()) <= set(self.names):
            raise DataError(
                f"{len(shape)} sides called {', '.join(self.names)}, of which "
                f"{', '.join(resampled or self.names)} are drawn again",
                remedy="give every side a name, and draw sides by these names",
            )
        self.counts = tuple(
            rng.multinomial(n, np.full(n, 1 / n), draws).astype(float)
            if resampled is None or name in resampled
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
        metrics : names of `MOMENTS`, each also with "_per_<side>": its mean over the entities of
            that side that have at least `FEWEST` pairs

        Returns
        -------
        metric -> [draws]; NaN where nothing that it can be computed from was drawn.
        """
        pairs, y, p = self._pairs(pairs), np.asarray(y), np.asarray(predicted)
        found, sums = {}, {}
        for metric in metrics:
            name, side = self._parse(metric)
            group = pairs[:, side] if side is not None else np.zeros(len(y), dtype=int)
            if name == "spearman":
                values, key = (_ranks(y, group), _ranks(p, group)), (side, "ranks")
            else:
                values, key = (y, p), (side, "values")
            if key not in sums:
                sums[key] = self._sums(pairs, _moments(*values), side)
            with np.errstate(invalid="ignore", divide="ignore"):
                each = MOMENTS[name](sums[key])
            weight = self._group_weights(pairs, name, side, sums[key]["n"])
            found[metric] = (
                _mean(each, weight) if side is not None else np.where(weight, each, np.nan)
            )
        return found

    def weights(
        self, pairs: np.ndarray, metrics: Iterable[str] = REPORTED, relative: bool = True
    ) -> dict[str, np.ndarray]:
        """How much of what a metric is computed from was drawn: what `pool` weighs a fold by. It
        depends on the pairs alone, not on what was measured or predicted.

        Parameters
        ----------
        pairs : [n, 2] positions of the entities of one fold
        relative : as a share of the fold as it is, so that folds count alike, as in the mean over
            folds that is reported; else pairs (or entities, for a metric per entity) count alike

        Returns
        -------
        metric -> [draws]: pairs drawn, or entities drawn that have enough pairs.
        """
        pairs = self._pairs(pairs)
        ones, found, counted = {"n": np.ones(len(pairs))}, {}, {}
        for metric in metrics:
            name, side = self._parse(metric)
            if side not in counted:
                counted[side] = self._sums(pairs, ones, side)["n"]
            weight = self._group_weights(pairs, name, side, counted[side])
            full = len(pairs)
            if side is not None:
                weight, full = weight.sum(1), (np.bincount(pairs[:, side]) >= FEWEST).sum()
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
        name, _, side = metric.partition("_per_")
        if name not in MOMENTS or (side and side not in self.names):
            raise DataError(
                f"no bootstrap of {metric!r}",
                remedy=f"use one of {', '.join(MOMENTS)}, alone or followed by "
                + " or ".join(f"_per_{each}" for each in self.names),
            )
        return name, self.names.index(side) if side else None

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

    def _group_weights(self, pairs, name, side, n):
        """[draws] pairs drawn, or [draws, entities of `side`] how often an entity counts: as often
        as it was drawn; not at all with too few pairs, or with too few of them drawn.
        """
        if side is None:
            return n
        entities, count = np.unique(pairs[:, side], return_counts=True)
        least = 0 if name in ("rmse", "mse", "mae") else 1  # one pair has no correlation
        return self.counts[side][:, entities] * (count >= FEWEST) * (n > least)


def pool(draws_by_fold: np.ndarray, weights_by_fold: np.ndarray) -> np.ndarray:
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


def interval(values: np.ndarray, level: float = 0.95) -> list[float]:
    """[low, high] percentile interval of bootstrap draws; empty ones are left out, so say
    `draws_used` beside it. NaN where all are empty.
    """
    tail = 50 * (1 - level)
    values = np.asarray(values, dtype=np.float64)
    if not draws_used(values):
        return [float("nan"), float("nan")]
    return [float(v) for v in np.nanpercentile(values, [tail, 100 - tail])]


def draws_used(values: np.ndarray) -> int:
    """Number of draws that have a value."""
    return int(np.isfinite(values).sum())


def with_interval(values: np.ndarray) -> dict[str, list[float] | int]:
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


MOMENTS = {  # metrics that are functions of weighted sums
    "rmse": lambda s: np.sqrt(s["ee"] / s["n"]),
    "mse": lambda s: s["ee"] / s["n"],
    "mae": lambda s: s["e"] / s["n"],
    "r2": _explained,
    "pcc": _correlation,
    "spearman": _correlation,
}


def _mean(each, weight):
    """[draws] mean of [draws, entities] by weight; NaN where nothing weighs."""
    total = weight.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (np.nan_to_num(each) * weight).sum(1) / total


def _ranks(values, group):
    """[n] average ranks inside each group."""
    return pd.Series(values).groupby(group).rank().to_numpy()
