"""Matrix factorisation by alternating least squares: no feature at all (chapter 08)."""

from dataclasses import dataclass

import numpy as np

from clmt_lib.data.base import Benchmark
from clmt_lib.data.splits import Split
from clmt_lib.models.base import TableModel
from clmt_lib.tasks.metrics import additive_effects


def factorise(
    residual: np.ndarray,
    seen: np.ndarray,
    rank: int,
    ridge: float,
    sweeps: int = 20,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Alternating ridge regressions of a partly seen matrix on `rank` factors a side (Koren, Bell
    and Volinsky 2009).

    Parameters
    ----------
    residual : [R, C], anything where not seen
    seen : [R, C] bool
    ridge : penalty on every factor

    Returns
    -------
    (row [R, rank], column [C, rank])
    """
    rng = np.random.default_rng(seed)
    w, r = seen.astype(float), np.where(seen, residual, 0.0)
    drug = rng.normal(0, 0.1, (residual.shape[1], rank))
    for _ in range(sweeps):
        cell = _solve(w, r, drug, ridge)
        drug = _solve(w.T, r.T, cell, ridge)
    return cell, drug


def _solve(w: np.ndarray, r: np.ndarray, other: np.ndarray, ridge: float) -> np.ndarray:
    rank = other.shape[1]
    outer = (other[:, :, None] * other[:, None, :]).reshape(len(other), -1)  # [others, rank * rank]
    normal = (w @ outer).reshape(-1, rank, rank) + ridge * np.eye(rank)
    return np.linalg.solve(normal, (r @ other)[..., None])[..., 0]  # [rows, rank]


def filled(z: np.ndarray, rank: int = 30, ridge: float = 10.0) -> np.ndarray:
    """[rows, columns] a table without holes: a missing value (NaN) gets the row's mean and what a
    factorisation of the others' deviations from it says.
    """
    seen = np.isfinite(z)
    row = np.where(seen, z, 0.0).sum(1, keepdims=True) / np.maximum(seen.sum(1, keepdims=True), 1)
    u, v = factorise(np.where(seen, z - row, 0.0), seen, rank, ridge)
    return np.where(seen, z, row + u @ v.T)


@dataclass
class ALS(TableModel):
    """Row + column effects, plus a factorisation of what they leave.

    A new entity has factors of zero, as one without training pairs has: its prediction is the
    additive effect of the other side's.

    Parameters
    ----------
    ranks, ridges : tried on the validation set
    """

    ranks: tuple[int, ...] = (10, 30, 60)
    ridges: tuple[float, ...] = (5.0, 10.0, 20.0)

    def fit(self, benchmark: Benchmark, split: Split) -> "ALS":
        """Fit on train, choose rank and ridge on valid."""
        mean, cell, drug = additive_effects(benchmark, split.train)
        y = benchmark.matrix(split.train)
        seen, base = np.isfinite(y), mean + cell[:, None] + drug[None]
        self.mean = mean
        tried = []
        for rank in self.ranks:
            for ridge in self.ridges:
                u, v = factorise(y - base, seen, rank, ridge)
                tried.append(
                    (
                        {"rank": rank, "ridge": ridge},
                        base + u @ v.T,
                        {"cell": cell, "drug": drug, "u": u, "v": v},
                    )
                )
        return self.choose(benchmark, split, tried)

    def new_table(self, benchmark: Benchmark, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """[rows, columns] additive effects: of a new entity, no factor is known."""
        row = self.padded(self.fitted["cell"], benchmark, 0, rows)
        return self.mean + row[:, None] + self.padded(self.fitted["drug"], benchmark, 1, columns)
