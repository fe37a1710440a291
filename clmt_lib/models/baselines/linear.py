"""Linear models on features: one for all pairs, and one for each drug, as pharmacogenomics has done
since its first screens (chapter 08).
"""

import warnings
from dataclasses import dataclass

import numpy as np

from clmt_lib.models.base import TableModel
from clmt_lib.tasks.metrics import additive_effects
from clmt_lib.views.molecules import fingerprints
from clmt_lib.views.omics import fit_omics


@dataclass
class PairRidge(TableModel):
    """Ridge regression of ln IC50 on [expression | fingerprint], fitted without ever writing a
    pair's features down. Additive: it ranks lines alike for every drug.

    The normal equations need only sums over entities: X'X has the blocks A'diag(n_cell)A, A'NB and
    B'diag(n_drug)B, where N counts the pairs.
    """

    ridges: tuple = (10.0, 100.0, 1000.0, 10000.0)

    def fit(self, benchmark, split):
        """Fit on train, choose the ridge on valid."""
        a, b = fit_omics(benchmark, split)(benchmark), fingerprints(benchmark.drugs)
        y = benchmark.matrix(split.train)
        seen = np.isfinite(y).astype(float)
        mean = np.nanmean(y)
        rest = np.where(seen > 0, y - mean, 0.0)
        b = b - (seen.sum(0) @ b) / seen.sum()
        cross = a.T @ seen @ b
        normal = np.block(
            [[a.T @ (seen.sum(1)[:, None] * a), cross], [cross.T, b.T @ (seen.sum(0)[:, None] * b)]]
        )
        moment = np.concatenate([a.T @ rest.sum(1), b.T @ rest.sum(0)])

        def candidates():
            for ridge in self.ridges:
                weights = np.linalg.solve(normal + ridge * np.eye(len(normal)), moment)
                table = (
                    mean + (a @ weights[: a.shape[1]])[:, None] + (b @ weights[a.shape[1] :])[None]
                )
                yield {"ridge": ridge}, table, {"weights": weights}

        return self.choose(benchmark, split, candidates())


def per_drug_targets(benchmark, split):
    """Training residuals after drug effects, standardised per drug, with what turns them back, and
    the lines' mean residual for drugs never seen.

    Returns
    -------
    (target [C, D] NaN where not seen, offset [D], spread [D], general [C] mean standardised
    residual of a line, NaN where unseen)
    """
    mean, _, drug = additive_effects(benchmark, split.train)
    y = benchmark.matrix(split.train) - mean - drug[None]
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", category=RuntimeWarning
        )  # means of rows that are empty by design
        spread = np.nanstd(y, axis=0)
        spread = np.where(np.isfinite(spread) & (spread > 1e-6), spread, np.nanmean(spread))
        general = np.nanmean(y / spread, axis=1)
    return y / spread, mean + drug, spread, general


@dataclass
class RidgePerDrug(TableModel):
    """One ridge regression on expression for each drug; a drug without training pairs takes the
    regression of the lines' mean residual.
    """

    ridges: tuple = (100.0, 300.0, 1000.0, 3000.0)

    def fit(self, benchmark, split):
        """Fit on train, choose one ridge for all drugs on valid."""
        x = fit_omics(benchmark, split)(benchmark)
        target, offset, spread, general = per_drug_targets(benchmark, split)
        gram = x @ x.T  # [lines, lines]

        def column(values, ridge):
            seen = np.isfinite(values)
            if not seen.any():
                return column(general, ridge)
            level = values[seen].mean()
            dual = np.linalg.solve(
                gram[np.ix_(seen, seen)] + ridge * np.eye(seen.sum()), values[seen] - level
            )
            return level + gram[:, seen] @ dual, x[seen].T @ dual

        def candidates():
            for ridge in self.ridges:
                fitted, weights = (
                    np.stack(part, axis=1)
                    for part in zip(*(column(values, ridge) for values in target.T), strict=True)
                )
                yield (
                    {"ridge": ridge},
                    offset + spread * fitted,
                    {"weights": weights, "spread": spread, "offset": offset},
                )  # [lines, drugs], [genes, drugs]

        return self.choose(benchmark, split, candidates())


@dataclass
class ElasticNetPerDrug(TableModel):
    """One elastic net (half L1, half L2) on expression for each drug, one penalty for all chosen on
    valid; unseen drugs as in `RidgePerDrug`.
    """

    alphas: tuple = (0.3, 0.15, 0.08, 0.04)

    def fit(self, benchmark, split):
        """Fit on train, choose one penalty for all drugs on valid."""
        x = fit_omics(benchmark, split)(benchmark)
        target, offset, spread, general = per_drug_targets(benchmark, split)
        unseen = ~np.isfinite(target).any(0)
        paths = np.stack(
            [
                self._path(x, general if lost else values)
                for values, lost in zip(target.T, unseen, strict=True)
            ]
        )  # [drugs, genes + 1, alphas]

        def candidates():
            for i, alpha in enumerate(sorted(self.alphas, reverse=True)):
                table = offset + spread * (x @ paths[:, :-1, i].T + paths[:, -1, i])
                yield (
                    {"alpha": alpha},
                    table,
                    {"weights": paths[..., i], "spread": spread, "offset": offset},
                )

        return self.choose(benchmark, split, candidates())

    def _path(self, x, values):
        from sklearn.linear_model import enet_path

        seen = np.isfinite(values)
        level, centre = values[seen].mean(), x[seen].mean(0)
        weights = enet_path(
            x[seen] - centre,
            values[seen] - level,
            l1_ratio=0.5,
            alphas=sorted(self.alphas, reverse=True),
            tol=1e-3,
        )[1]  # [genes, alphas]
        return np.vstack([weights, level - centre @ weights])
