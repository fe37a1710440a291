"""Ridge over drugs, for compounds nobody has screened on lines that everybody has: what a drug kernel is told is all that differs (chapter 09b)."""

from dataclasses import dataclass

import numpy as np

from clmt_lib.data.tables import DataError
from clmt_lib.models.base import TableModel
from clmt_lib.models.factors import factorise
from clmt_lib.models.kernels import FACTS, TEXTS, drug_kernels
from clmt_lib.views.genesets import reactome, steps
from clmt_lib.views.molecules import jaccard

PARTS = (*FACTS, *TEXTS, "steps")


@dataclass
class DrugRidge(TableModel):
    """Kernel ridge over drugs, on responses standardised per drug: K = 0.3 + the sum of `kinds` + 0.3 [same compound].

    Standardised, a potent drug counts no more than a weak one, as in the per-drug r. The lines need no kernel: every line is known, so one small system over the
    training drugs serves them all (on a table without holes). Holes are filled by a factorisation of the training role.

    Parameters
    ----------
    kinds : of `models.kernels.drug_kernels`, or steps (Jaccard of the Reactome sets of up to 100 genes that hold a target: two drugs of different pathways may share
        a step where they share no target; left out in a simulated world, whose genes are not Reactome's). A single part has its sharpness chosen on the valid role.
    ridges : tried on the valid role
    rank, als_ridge : of the factorisation

    Raises
    ------
    DataError
        Unknown part; or no gene sets for steps.
    """

    kinds: tuple = ("steps", "targets", "text", "mechanism")
    ridges: tuple = (1.0, 2.5, 6.0)
    rank: int = 30
    als_ridge: float = 10.0

    def __post_init__(self):
        unknown = sorted(set(self.kinds) - set(PARTS))
        if unknown or not self.kinds:
            raise DataError(f"unknown kind {unknown[0]!r}" if unknown else "no kind", remedy=f"use one or more of: {', '.join(PARTS)}")

    def fit(self, benchmark, split):
        """Fit on train, choose the ridge (and a single part's sharpness) on valid."""
        y = benchmark.matrix(split.train)
        rows = np.flatnonzero(np.isfinite(y).any(0))  # training drugs
        mean, spread = np.nanmean(y[:, rows], axis=0), np.nanstd(y[:, rows], axis=0)
        z = self._filled((y[:, rows] - mean) / np.where(spread > 1e-6, spread, 1.0))  # [C, training drugs]
        compound = benchmark.drugs["compound"].to_numpy()
        one = 0.3 + 0.3 * (compound[:, None] == compound[None])
        offset, scale = np.full(benchmark.n_drugs, mean.mean()), np.full(benchmark.n_drugs, spread.mean())  # a new drug's potency is not known
        offset[rows], scale[rows] = mean, spread

        def candidates():
            for setting, k in self._kernels(benchmark, split):
                among, to_all = (one + k)[np.ix_(rows, rows)], (one + k)[rows]
                for ridge in self.ridges:
                    weights = np.linalg.solve(among + ridge * np.eye(len(rows)), z.T).T  # [C, training drugs]
                    yield {**setting, "ridge": ridge}, offset + scale * (weights @ to_all), {"weights": weights, "mean": mean, "spread": spread}

        return self.choose(benchmark, split, candidates())

    def _filled(self, z):
        """[C, drugs] standardised responses; a hole gets the line's mean and what a factorisation of the others' deviations says."""
        seen = np.isfinite(z)
        line = np.where(seen, z, 0.0).sum(1, keepdims=True) / np.maximum(seen.sum(1, keepdims=True), 1)
        u, v = factorise(np.where(seen, z - line, 0.0), seen, self.rank, self.als_ridge)
        return np.where(seen, z, line + u @ v.T)

    def _kernels(self, benchmark, split):
        """[(setting, k [D, D])]: every candidate of a single part, else the one sum."""
        if len(self.kinds) == 1 and self.kinds != ("steps",):
            return drug_kernels(benchmark, self.kinds[0], split)
        return [({}, sum(_part(benchmark, part, split) for part in self.kinds))]


def _part(benchmark, part, split):
    """[D, D] kernel of one part of a sum: of an embedding the sharper kernel of a short text, the softer one of a long one."""
    if part == "steps":
        return 0.0 if benchmark.simulated else jaccard(steps(benchmark.drugs, reactome()))
    return drug_kernels(benchmark, part, split)[-1 if part == "text" else 0][1]
