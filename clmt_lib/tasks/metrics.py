"""How good is a prediction: global, per drug, per cell line and normalised (chapter 08)."""

import numpy as np
import pandas as pd

FEWEST = 5  # pairs a drug or line needs before its own correlation is counted
REPORTED = ("rmse", "pcc", "pcc_per_drug")  # with intervals


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
