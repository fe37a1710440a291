"""Expression, mutation and copy number as tensors, fitted on training lines only (chapter 03)."""

from dataclasses import dataclass

import numpy as np

from clmt_lib.data.tables import DataError


@dataclass(frozen=True, eq=False)
class OmicsTransform:
    """Standardise (and, if `components` is set, rotate to principal components), with parameters from `fitted_on` lines alone.

    Attributes
    ----------
    kind : which omics table
    mean, scale : [genes]; a gene without spread keeps scale 1
    components : [k, genes] or None
    fitted_on : positions of the lines it was fitted on, for the audit
    """

    kind: str
    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray | None
    fitted_on: np.ndarray

    def __call__(self, benchmark):
        """[C, genes] or [C, k] float64 for every line of `benchmark`."""
        z = (benchmark.omics[self.kind].to_numpy(np.float64) - self.mean) / self.scale
        return z if self.components is None else z @ self.components.T  # [cells, k]


def train_cells(benchmark, split):
    """Positions of lines with at least one training pair."""
    return np.unique(benchmark.pairs[split.train, 0])


def fit_omics(benchmark, split, kind="expression", components=None):
    """Fit an `OmicsTransform` on the training lines of `split`.

    Parameters
    ----------
    components : number of principal components to keep (by singular value decomposition of the training lines), or None

    Raises
    ------
    DataError
        The benchmark has no such omics.
    """
    if kind not in benchmark.omics:
        raise DataError(f"{benchmark.name} has no omics {kind!r}", remedy=f"use one of: {', '.join(benchmark.omics)}")
    cells = train_cells(benchmark, split)
    x = benchmark.omics[kind].to_numpy(np.float64)[cells]
    mean, scale = x.mean(0), x.std(0)
    scale = np.where(scale > 1e-8, scale, 1.0)
    rotation = None
    if components is not None:
        _, _, rotation = np.linalg.svd((x - mean) / scale, full_matrices=False)
        rotation = rotation[:components]
    return OmicsTransform(kind, mean, scale, rotation, cells)
