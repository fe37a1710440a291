"""Prediction intervals from errors that were made on what was held out (split conformal; Vovk et
al. 2005), for each way in which a pair can be new.

An interval is a prediction plus and minus a scale times a quantile of |error| / scale. Where lines
are new, pairs of one line share an error and there are hundreds of lines: each drug has quantiles
of its own, and each tissue a scale. Where drugs are new, all pairs of a drug share the error of its
level, so drugs and not pairs are exchangeable: every held-out compound has the same weight (Dunn,
Wasserman and Ramdas 2023, pooled distribution functions).
"""

from dataclasses import dataclass

import numpy as np

LEVELS = (0.5, 0.8, 0.9, 0.95)  # of the quantiles that a fitted model keeps
FEWEST = 50  # held-out errors of a drug that has quantiles of its own
PRIOR_LINES = 20.0  # a tissue's scale is pulled towards 1 as if so many lines had it


def conformal_quantile(scores: np.ndarray, level: float, weight: np.ndarray | None = None) -> float:
    """The smallest score that covers `level` of exchangeable scores and of one more.

    Parameters
    ----------
    scores : [n]
    weight : [n] of each; groups that are exchangeable as wholes share a weight of 1 each. One more
        group, whose scores are infinite, stands for the one that is asked about

    Returns
    -------
    The quantile; infinite where there are too few.

    Examples
    --------
    >>> conformal_quantile(np.arange(1.0, 10.0), 0.9), conformal_quantile(np.arange(1.0, 9.0), 0.9)
    (9.0, inf)
    """
    weight = np.ones(len(scores)) if weight is None else weight
    order = np.argsort(scores, kind="stable")
    share = np.cumsum(weight[order]) / (weight.sum() + 1.0)
    at = int(np.searchsorted(share, level - 1e-12))
    return float(scores[order][at]) if at < len(scores) else float("inf")


def by_group(groups: np.ndarray) -> np.ndarray:
    """[n] weights that sum to 1 in every group.

    >>> by_group(np.array([0, 0, 1])).tolist()
    [0.5, 0.5, 1.0]
    """
    _, code, count = np.unique(groups, return_inverse=True, return_counts=True)
    return 1.0 / count[code]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Half widths of prediction intervals for one way of being new.

    Attributes
    ----------
    drugs [D] : ids of the drugs with quantiles of their own
    quantiles [D, levels], pooled [levels] : of |error| / scale
    tissues, scale [tissues] : of the lines; 1 for one that is not named
    error : what was held out: number of pairs, lines and drugs, RMSE, mean per-drug r
    """

    drugs: np.ndarray
    quantiles: np.ndarray
    pooled: np.ndarray
    tissues: np.ndarray
    scale: np.ndarray
    error: dict

    def half_width(self, drugs: np.ndarray, tissues: np.ndarray, level: float) -> np.ndarray:
        """[n] half widths of the intervals of pairs: ids of the drugs ("" for a new one), tissues
        of the lines.
        """
        column = LEVELS.index(level)
        own = dict(zip(self.drugs.tolist(), self.quantiles[:, column].tolist(), strict=True))
        of_tissue = dict(zip(self.tissues.tolist(), self.scale.tolist(), strict=True))
        quantile = np.array([own.get(drug, self.pooled[column]) for drug in drugs.tolist()])
        return quantile * np.array([of_tissue.get(tissue, 1.0) for tissue in tissues.tolist()])


def calibrate(
    error: np.ndarray,
    line: np.ndarray,
    drug: np.ndarray,
    tissue: np.ndarray,
    compound: np.ndarray | None = None,
) -> Calibration:
    """The `Calibration` of errors [n] made on held-out pairs.

    Parameters
    ----------
    line, drug, tissue : [n] labels of the pairs
    compound : [n] labels of what was held out together where drugs are new: then no drug has
        quantiles of its own, and every compound weighs the same
    """
    size = np.abs(error)
    if compound is not None:
        weight = by_group(compound)
        pooled = np.array([conformal_quantile(size, level, weight) for level in LEVELS])
        nothing = np.zeros(0, dtype=object)
        return Calibration(nothing, np.zeros((0, len(LEVELS))), pooled, nothing, np.zeros(0), {})
    names, code = np.unique(drug.astype(str), return_inverse=True)
    count = np.bincount(code)
    spread = np.sqrt(np.bincount(code, error**2) / count)[code]
    tissues, place = np.unique(tissue.astype(str), return_inverse=True)
    lines = np.array([len(np.unique(line[place == i])) for i in range(len(tissues))])
    ratio = np.bincount(place, (error / spread) ** 2) / np.bincount(place)
    # of a tissue with few lines little is known: its scale stays near 1
    scale = np.sqrt((lines * ratio + PRIOR_LINES) / (lines + PRIOR_LINES))
    score = size / scale[place]
    pooled = np.array([conformal_quantile(score, level) for level in LEVELS])
    enough = np.flatnonzero(count >= FEWEST)
    own = np.array(
        [[conformal_quantile(score[code == i], level) for level in LEVELS] for i in enough]
    ).reshape(len(enough), len(LEVELS))
    return Calibration(names[enough].astype(object), own, pooled, tissues.astype(object), scale, {})
