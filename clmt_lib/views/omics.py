"""Expression, mutation and copy number as tensors, fitted on training lines only (chapter 03)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clmt_lib.data.base import Benchmark
from clmt_lib.data.splits import Split
from clmt_lib.io import DataError


@dataclass(frozen=True, eq=False)
class OmicsTransform:
    """Standardise (and, if `components` is set, rotate to principal components), with parameters
    from `fitted_on` lines alone.

    Attributes
    ----------
    kind : which omics table
    mean, scale : [genes]; a gene without spread keeps scale 1
    components : [k, genes] or None
    fitted_on : positions of the lines it was fitted on, for the audit
    features : [genes] their names, by which another benchmark's are found; None takes its order
    """

    kind: str
    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray | None
    fitted_on: np.ndarray
    features: pd.Index | None = None

    def __call__(self, benchmark: Benchmark) -> np.ndarray:
        """[C, genes] or [C, k] float64 for every line of `benchmark`.

        Raises
        ------
        DataError
            The benchmark has no such omics, or lacks some of the genes.
        """
        table = _omics(benchmark, self.kind)
        if self.features is not None and not table.columns.equals(self.features):
            missing = self.features.difference(table.columns)
            if len(missing):
                raise DataError(
                    f"{self.kind} of {benchmark.name} lacks {len(missing)} genes, {missing[0]!r} "
                    "first",
                    remedy=f"give all {len(self.features)}, on the scale of the training data",
                )
            table = table[self.features]
        z = (table.to_numpy(np.float64) - self.mean) / self.scale
        z[~benchmark.sides[0].has(self.kind)] = 0.0  # a line that lacks it is at the mean
        return z if self.components is None else z @ self.components.T  # [cells, k]


def train_cells(benchmark: Benchmark, split: Split) -> np.ndarray:
    """Positions of lines with at least one training pair, ascending."""
    return np.unique(benchmark.pairs[split.train, 0])


def measured_cells(benchmark: Benchmark, split: Split, kind: str) -> np.ndarray:
    """Positions of training lines of which this view was measured, ascending."""
    cells = train_cells(benchmark, split)
    return cells[benchmark.sides[0].has(kind)[cells]]


def fit_omics(
    benchmark: Benchmark,
    split: Split,
    kind: str = "expression",
    components: int | None = None,
) -> OmicsTransform:
    """Fit an `OmicsTransform` on the training lines of `split` that have this view.

    Parameters
    ----------
    kind : view of the first side: "expression", "mutation", "copy_number"
    components : number of principal components to keep (by singular value decomposition of the
        training lines), or None

    Raises
    ------
    DataError
        The benchmark has no such omics.
    """
    table, cells = _omics(benchmark, kind), measured_cells(benchmark, split, kind)
    x = table.to_numpy(np.float64)[cells] if len(cells) else np.zeros((1, len(table.columns)))
    mean, scale = x.mean(0), x.std(0)
    scale = np.where(scale > 1e-8, scale, 1.0)
    rotation = None
    if components is not None:
        _, _, rotation = np.linalg.svd((x - mean) / scale, full_matrices=False)
        rotation = rotation[:components]
    return OmicsTransform(kind, mean, scale, rotation, cells, table.columns)


def _omics(benchmark, kind):
    """The [C, genes] frame of one kind of omics."""
    views = benchmark.sides[0].views
    if kind not in views:
        raise DataError(
            f"{benchmark.name} has no omics {kind!r}",
            remedy=f"use one of: {', '.join(views) or 'none'}",
        )
    return views[kind]


def binary(table: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
    """A 0/1 table standardised over the training lines.

    Parameters
    ----------
    table : [C, features] 0/1
    rows : positions of the training lines

    Returns
    -------
    [C, features]; what fewer than 3 training lines have is 0. The deviation is raised by 0.05, so
    that a rare event does not become a huge number.
    """
    x = table.to_numpy(np.float64)
    if not len(rows):
        return np.zeros_like(x)
    return (x[rows].sum(0) >= 3) * (x - x[rows].mean(0)) / (x[rows].std(0) + 0.05)


def average_platforms(
    z: np.ndarray, genes: pd.Index, other: pd.DataFrame, rows: np.ndarray
) -> np.ndarray:
    """Expression measured twice, on two platforms: their mean, which has less noise than either.

    Parameters
    ----------
    z : [C, genes] standardised
    genes : its columns
    other : [C, more genes] the second measurement, missing where a line was not measured;
        standardised here
    rows : positions of the training lines, over which it is standardised

    Returns
    -------
    [C, genes + those that `other` alone has] : z where there is no second measurement, and 0 for
    the genes that it would have added.
    """
    x = other.to_numpy(np.float64)
    measured = np.isfinite(x).all(1)
    known = rows[measured[rows]]
    if len(known) < 3:  # nothing to standardise on
        return z
    x = (x - x[known].mean(0)) / np.maximum(x[known].std(0), 1e-6)
    column = other.columns.get_indexer(genes)
    both, alone = np.flatnonzero(column >= 0), np.setdiff1d(np.arange(x.shape[1]), column)
    out = z.copy()
    twice = np.ix_(measured, both)
    out[twice] = (z[twice] + x[np.ix_(measured, column[both])]) / 2
    return np.hstack([out, np.where(measured[:, None], x[:, alone], 0.0)])
