"""Matrix factorisation by alternating least squares: no feature at all (chapter 08)."""

from dataclasses import dataclass

import numpy as np

from clmt_lib.models.base import TableModel
from clmt_lib.tasks.metrics import additive_effects


def factorise(residual, seen, rank, ridge, sweeps=20, seed=0):
    """Alternating ridge regressions of a partly seen matrix on `rank` factors a side (Koren, Bell
    and Volinsky 2009).

    Parameters
    ----------
    residual : [C, D], anything where not seen
    seen : [C, D] bool
    ridge : penalty on every factor

    Returns
    -------
    (cell [C, rank], drug [D, rank])
    """
    rng = np.random.default_rng(seed)
    w, r = seen.astype(float), np.where(seen, residual, 0.0)
    drug = rng.normal(0, 0.1, (residual.shape[1], rank))
    for _ in range(sweeps):
        cell = _solve(w, r, drug, ridge)
        drug = _solve(w.T, r.T, cell, ridge)
    return cell, drug


def _solve(w, r, other, ridge):
    rank = other.shape[1]
    outer = (other[:, :, None] * other[:, None, :]).reshape(len(other), -1)  # [others, rank * rank]
    normal = (w @ outer).reshape(-1, rank, rank) + ridge * np.eye(rank)
    return np.linalg.solve(normal, (r @ other)[..., None])[..., 0]  # [rows, rank]


@dataclass
class ALS(TableModel):
    """Drug + cell effects, plus a factorisation of what they leave.

    Parameters
    ----------
    ranks, ridges : tried on the valid role
    """

    ranks: tuple = (10, 30, 60)
    ridges: tuple = (5.0, 10.0, 20.0)

    def fit(self, benchmark, split):
        """Fit on train, choose rank and ridge on valid."""
        mean, cell, drug = additive_effects(benchmark, split.train)
        y = benchmark.matrix(split.train)
        seen, base = np.isfinite(y), mean + cell[:, None] + drug[None]
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
