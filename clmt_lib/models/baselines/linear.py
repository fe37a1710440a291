"""Linear models on features: one for all pairs, and one for each drug, as pharmacogenomics has done
since its first screens (chapter 08).
"""

import warnings
from dataclasses import dataclass

import numpy as np

from clmt_lib.data.base import Benchmark
from clmt_lib.data.splits import Split
from clmt_lib.models.base import TableModel
from clmt_lib.models.known import places
from clmt_lib.tasks.metrics import additive_effects
from clmt_lib.views.molecules import fingerprints
from clmt_lib.views.omics import fit_omics


@dataclass
class PairRidge(TableModel):
    """Ridge regression of the response on [expression | fingerprint], fitted without ever writing a
    pair's features down. Additive: it ranks lines alike for every drug.

    The normal equations need only sums over entities: X'X has the blocks A'diag(n_cell)A, A'NB and
    B'diag(n_drug)B, where N counts the pairs.

    Parameters
    ----------
    ridges : tried on the validation set
    """

    ridges: tuple[float, ...] = (10.0, 100.0, 1000.0, 10000.0)

    def fit(self, benchmark: Benchmark, split: Split) -> "PairRidge":
        """Fit on train, choose the ridge on valid."""
        self.transform = fit_omics(benchmark, split)
        a, b = self.transform(benchmark), fingerprints(benchmark.sides[1].frame)
        y = benchmark.matrix(split.train)
        seen = np.isfinite(y).astype(float)
        self.mean = mean = np.nanmean(y)
        rest = np.where(seen > 0, y - mean, 0.0)
        self.centre = (seen.sum(0) @ b) / seen.sum()
        b = b - self.centre
        cross = a.T @ seen @ b
        normal = np.block(
            [[a.T @ (seen.sum(1)[:, None] * a), cross], [cross.T, b.T @ (seen.sum(0)[:, None] * b)]]
        )
        moment = np.concatenate([a.T @ rest.sum(1), b.T @ rest.sum(0)])

        def candidates():
            for ridge in self.ridges:
                weights = np.linalg.solve(normal + ridge * np.eye(len(normal)), moment)
                yield {"ridge": ridge}, self._table(a, b, weights), {"weights": weights}

        return self.choose(benchmark, split, candidates())

    def _table(self, a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """[R, C] from features of lines [R, genes] and of drugs [C, bits]."""
        of_drug = weights[a.shape[1] :]
        return self.mean + (a @ weights[: a.shape[1]])[:, None] + (b @ of_drug)[None]

    def new_table(self, benchmark: Benchmark, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """[rows, columns] from the expression of the lines and the structures of the drugs."""
        bits = fingerprints(benchmark.sides[1].frame.iloc[columns]) - self.centre
        return self._table(self.transform(benchmark)[rows], bits, self.fitted["weights"])


def _drug_scale(benchmark: Benchmark, split: Split):
    """(residuals after column effects [R, C], their offset [C], mean, spread [C], its mean)."""
    mean, _, drug = additive_effects(benchmark, split.train)
    y = benchmark.matrix(split.train) - mean - drug[None]
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", category=RuntimeWarning
        )  # means of rows that are empty by design
        spread = np.nanstd(y, axis=0)
        usual = np.nanmean(spread)
        spread = np.where(np.isfinite(spread) & (spread > 1e-6), spread, usual)
    return y, mean + drug, mean, spread, usual


def per_drug_targets(
    benchmark: Benchmark, split: Split
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training residuals after drug effects, standardised per drug, with what turns them back, and
    the lines' mean residual for drugs never seen.

    Returns
    -------
    (target [C, D] NaN where not seen, offset [D], spread [D], general [C] mean standardised
    residual of a line, NaN where unseen)
    """
    y, offset, _, spread, _ = _drug_scale(benchmark, split)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=RuntimeWarning)  # a line without training pairs
        general = np.nanmean(y / spread, axis=1)
    return y / spread, offset, spread, general


class PerDrug(TableModel):
    """A linear regression on expression for each drug; a drug without training pairs takes the
    regression of the lines' mean residual, the mean response and the mean spread.

    A subclass sets, at the end of `fit`, `fitted["weights"]` [genes + 1, drugs] (the last row is
    the intercept) and `general` [genes + 1] (that of a new drug).
    """

    def prepare(self, benchmark: Benchmark, split: Split) -> tuple[np.ndarray, ...]:
        """(expression [lines, genes], target [lines, drugs], offset, spread, general)."""
        self.transform = fit_omics(benchmark, split)
        self.general = np.zeros(0)  # `fit` sets it
        _, _, self.new_offset, _, self.new_spread = _drug_scale(benchmark, split)
        return self.transform(benchmark), *per_drug_targets(benchmark, split)

    def new_table(self, benchmark: Benchmark, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """[rows, columns]: a new line's expression under each drug's regression."""
        x, at = self.transform(benchmark)[rows], places(self.ids[1], benchmark, 1, columns)
        weights = np.column_stack([self.fitted["weights"], self.general])[:, at]
        offset = np.append(self.fitted["offset"], self.new_offset)[at]
        spread = np.append(self.fitted["spread"], self.new_spread)[at]
        return offset + spread * (x @ weights[:-1] + weights[-1])


@dataclass
class RidgePerDrug(PerDrug):
    """One ridge regression on expression for each drug; a drug without training pairs takes the
    regression of the lines' mean residual.

    Parameters
    ----------
    ridges : tried on the validation set, one for all drugs
    """

    ridges: tuple[float, ...] = (100.0, 300.0, 1000.0, 3000.0)

    def fit(self, benchmark: Benchmark, split: Split) -> "RidgePerDrug":
        """Fit on train, choose one ridge for all drugs on valid."""
        x, target, offset, spread, general = self.prepare(benchmark, split)
        gram = x @ x.T  # [lines, lines]

        def column(values: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray]:
            seen = np.isfinite(values)
            if not seen.any():
                return column(general, ridge)
            level = values[seen].mean()
            dual = np.linalg.solve(
                gram[np.ix_(seen, seen)] + ridge * np.eye(seen.sum()), values[seen] - level
            )
            return level + gram[:, seen] @ dual, np.append(x[seen].T @ dual, level)

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
                )  # [lines, drugs], [genes + 1, drugs]

        self.choose(benchmark, split, candidates())
        self.general = column(general, self.chosen["ridge"])[1]
        return self


@dataclass
class ElasticNetPerDrug(PerDrug):
    """One elastic net (half L1, half L2) on expression for each drug, one penalty for all chosen on
    valid; unseen drugs as in `RidgePerDrug`.

    Parameters
    ----------
    alphas : penalties tried on the validation set
    """

    alphas: tuple[float, ...] = (0.3, 0.15, 0.08, 0.04)

    def fit(self, benchmark: Benchmark, split: Split) -> "ElasticNetPerDrug":
        """Fit on train, choose one penalty for all drugs on valid."""
        x, target, offset, spread, general = self.prepare(benchmark, split)
        unseen = ~np.isfinite(target).any(0)
        of_all = self._path(x, general)
        paths = np.stack(
            [
                of_all if lost else self._path(x, values)
                for values, lost in zip(target.T, unseen, strict=True)
            ]
        )  # [drugs, genes + 1, alphas]
        alphas = sorted(self.alphas, reverse=True)

        def candidates():
            for i, alpha in enumerate(alphas):
                table = offset + spread * (x @ paths[:, :-1, i].T + paths[:, -1, i])
                yield (
                    {"alpha": alpha},
                    table,
                    {"weights": paths[..., i].T, "spread": spread, "offset": offset},
                )

        self.choose(benchmark, split, candidates())
        self.general = of_all[:, alphas.index(self.chosen["alpha"])]
        return self

    def _path(self, x: np.ndarray, values: np.ndarray) -> np.ndarray:
        """[genes + 1, alphas] weights, and the intercept last, for uncentred expression."""
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
