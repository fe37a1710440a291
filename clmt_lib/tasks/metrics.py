"""How good is a prediction: global, per drug, per cell line and normalised; two-way bootstrap
intervals; paired differences (chapter 08).
"""

import numpy as np
import pandas as pd

FEWEST = 5  # pairs a drug or line needs before its own correlation is counted
REPORTED = ("rmse", "pcc", "pcc_per_drug")  # with intervals
DRAWS = 1000  # of a bootstrap


def additive_effects(benchmark, positions, shrink=1.0):
    """Drug + cell effects of ln IC50 fitted on `positions` (Gauss-Seidel, each mean shrunk as if
    `shrink` more pairs sat at zero).

    Returns
    -------
    (mean, cell [C], drug [D]) in ln uM; an entity without a pair has effect zero.
    """
    rows = benchmark.responses.iloc[positions]
    cell, drug, y = rows["cell"].to_numpy(), rows["drug"].to_numpy(), rows["y"].to_numpy()
    mean, cells, drugs = y.mean(), np.zeros(benchmark.n_cells), np.zeros(benchmark.n_drugs)
    n_cell, n_drug = (
        np.bincount(cell, minlength=len(cells)),
        np.bincount(drug, minlength=len(drugs)),
    )
    for _ in range(20):
        drugs = np.bincount(drug, y - mean - cells[cell], len(drugs)) / np.maximum(
            n_drug + shrink, 1e-12
        )
        cells = np.bincount(cell, y - mean - drugs[drug], len(cells)) / np.maximum(
            n_cell + shrink, 1e-12
        )
    return mean, cells, drugs


def rmse(y, p):
    """Root mean squared error, in the units of `y`."""
    return float(np.sqrt(np.mean((y - p) ** 2)))


def pearson(y, p):
    """Pearson correlation; 0 where either side is constant."""
    y, p = y - y.mean(), p - p.mean()
    scale = np.sqrt((y @ y) * (p @ p))
    return float(y @ p / scale) if scale > 1e-12 * max(len(y), 1) else 0.0


def spearman(y, p):
    """Spearman rank correlation (average ranks for ties); 0 where either side is constant."""
    return pearson(pd.Series(y).rank().to_numpy(), pd.Series(p).rank().to_numpy())


def per_group(y, p, group, statistic=pearson, fewest=FEWEST):
    """Mean over groups (drugs, or lines) of a statistic computed inside each group of at least
    `fewest` pairs; NaN if there is none.

    "Per-drug r" is `within(y, p, drug)`: what a biologist choosing among lines needs, and what
    global correlation hides.
    """
    order = np.argsort(group, kind="stable")
    cuts = np.flatnonzero(np.diff(np.asarray(group)[order])) + 1
    values = [statistic(y[rows], p[rows]) for rows in np.split(order, cuts) if len(rows) >= fewest]
    return float(np.mean(values)) if values else float("nan")


def evaluate(benchmark, split, predicted, role="test"):
    """Every metric of one run on one role.

    Parameters
    ----------
    predicted : [len(role)] ln IC50 in ln uM, in the order of `split`'s positions

    Returns
    -------
    dict: rmse, mae, r2, pcc, spearman (global); pcc, spearman per drug and per cell; normalised
    (after subtracting training drug + cell effects).
    Where some responses are bounds, all of these read them as measured; `censored` is then their
    share, `rmse_measured` the RMSE of the others.
    """
    positions = getattr(split, role)
    (cell, drug), y, p = (
        benchmark.pairs[positions].T,
        benchmark.y[positions],
        np.asarray(predicted, dtype=np.float64),
    )
    if p.shape != y.shape or not np.isfinite(p).all():
        raise ValueError(
            f"predictions of shape {p.shape} with {np.sum(~np.isfinite(p))} not finite; "
            f"expected {y.shape}, all finite"
        )
    mean, cells, drugs = additive_effects(benchmark, split.train)
    base = mean + cells[cell] + drugs[drug]
    found = {
        "pairs": len(y),
        "rmse": rmse(y, p),
        "mae": float(np.mean(np.abs(y - p))),
        "r2": float(1 - np.mean((y - p) ** 2) / np.var(y)),
        "pcc": pearson(y, p),
        "spearman": spearman(y, p),
        "pcc_per_drug": per_group(y, p, drug),
        "spearman_per_drug": per_group(y, p, drug, spearman),
        "pcc_per_cell": per_group(y, p, cell),
        "spearman_per_cell": per_group(y, p, cell, spearman),
        "pcc_normalised": pearson(y - base, p - base),
        "r2_normalised": float(1 - np.mean((y - p) ** 2) / np.mean((y - base) ** 2)),
    }
    bound = benchmark.censored[positions]
    if benchmark.censored.any():  # in every role, so that folds can be averaged
        found |= {
            "censored": float(bound.mean()),
            "rmse_measured": float("nan") if bound.all() else rmse(y[~bound], p[~bound]),
        }
    return found


class Bootstrap:
    """Two-way (drug x cell) cluster bootstrap: lines and drugs are drawn again, with replacement,
    and a pair weighs the product of their counts.

    Draws are computed together as matrix products over the [C, D] table, so a thousand cost a
    second. The same draw of entities serves every fold and every predictor,
    so means over folds and differences between predictors are paired draw by draw.

    Parameters
    ----------
    n_cells, n_drugs : size of the benchmark
    draws, seed : number of resamples and where they start
    """

    def __init__(self, n_cells, n_drugs, draws=DRAWS, seed=0):
        rng = np.random.default_rng(seed)
        self.w_cell = rng.multinomial(n_cells, np.full(n_cells, 1 / n_cells), draws).astype(
            float
        )  # [draws, C]
        self.w_drug = rng.multinomial(n_drugs, np.full(n_drugs, 1 / n_drugs), draws).astype(
            float
        )  # [draws, D]

    def _per_drug(self, pairs, values):
        (cells, row), (drugs, column) = (
            np.unique(side, return_inverse=True) for side in np.asarray(pairs).T
        )
        table = np.zeros((len(cells), len(drugs)))
        np.add.at(table, (row, column), values)
        return self.w_cell[:, cells] @ table  # [draws, drugs of these pairs]

    def statistics(self, pairs, y, predicted):
        """name -> [draws] of rmse, pcc (global) and pcc_per_drug of one predictor on [n, 2] pairs
        (cell, drug) with measured `y`.
        """
        y, p = np.asarray(y), np.asarray(predicted)
        rough = {
            "n": np.ones(len(y)),
            "y": y,
            "p": p,
            "yy": y * y,
            "pp": p * p,
            "yp": y * p,
            "ee": (y - p) ** 2,
        }
        by_drug = {
            key: self._per_drug(pairs, value) for key, value in rough.items()
        }  # [draws, drugs]
        drugs, count = np.unique(np.asarray(pairs)[:, 1], return_counts=True)
        weight = self.w_drug[:, drugs]
        total = {key: (value * weight).sum(1) for key, value in by_drug.items()}  # [draws]
        weight = weight * (count >= FEWEST) * (by_drug["n"] > 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            per_drug = np.nan_to_num(_correlation(by_drug))
            return {
                "rmse": np.sqrt(total["ee"] / total["n"]),
                "pcc": _correlation(total),
                "pcc_per_drug": (per_drug * weight).sum(1) / weight.sum(1),
            }


def _correlation(s):
    cov = s["yp"] / s["n"] - s["y"] * s["p"] / s["n"] ** 2
    spread = (s["yy"] / s["n"] - (s["y"] / s["n"]) ** 2) * (
        s["pp"] / s["n"] - (s["p"] / s["n"]) ** 2
    )
    return np.where(spread > 1e-12, cov / np.sqrt(np.maximum(spread, 1e-12)), 0.0)


def interval(values, level=0.95):
    """[low, high] percentile interval of bootstrap draws, ignoring empty ones."""
    tail = 50 * (1 - level)
    return [float(v) for v in np.nanpercentile(values, [tail, 100 - tail])]
