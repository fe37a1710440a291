"""Tuned tree ensembles on expression and fingerprint components: the baseline most papers should
have beaten (chapter 08).
"""

from dataclasses import dataclass, field

import numpy as np

from clmt_lib.io import DataError
from clmt_lib.models.base import Model, improves
from clmt_lib.tasks import selection_score
from clmt_lib.tasks.metrics import additive_effects
from clmt_lib.views.molecules import fingerprints
from clmt_lib.views.omics import fit_omics


def pair_features(benchmark, split, components=50):
    """(cell [C, k], drug [D, k]) float32: principal components of expression (training lines) and
    of fingerprints (training drugs).
    """
    cell = fit_omics(benchmark, split, components=components)(benchmark)
    bits, drugs = fingerprints(benchmark.drugs), np.unique(benchmark.pairs[split.train, 1])
    centre = bits[drugs].mean(0)
    rotation = np.linalg.svd(bits[drugs] - centre, full_matrices=False)[2][:components]
    return cell.astype(np.float32), ((bits - centre) @ rotation.T).astype(np.float32)


@dataclass
class Trees(Model):
    """Base of the ensembles: targets are residuals from the drug's effect, or from drug + cell
    effects, whichever the valid role prefers.

    Parameters
    ----------
    grid : settings tried, the same small grid on every split
    """

    grid: tuple = ()
    trees: int = 200
    seed: int = 0
    chosen: dict = field(default_factory=dict, init=False, repr=False)

    def fit(self, benchmark, split):
        """Fit on train, choose from the grid on valid."""
        self.cell, self.drug = pair_features(benchmark, split)
        mean, cell, drug = additive_effects(benchmark, split.train)
        pairs, y, best = benchmark.pairs, benchmark.y, None
        x, valid = self._features(pairs[split.train]), self._features(pairs[split.valid])
        for base in ("drug", "effects"):
            table = mean + (cell[:, None] if base == "effects" else 0 * cell[:, None]) + drug[None]
            rest = y - table[tuple(pairs.T)]
            for settings in self.grid:
                model = self.grow(settings).fit(x, rest[split.train])
                found = selection_score(
                    benchmark, split, table[tuple(pairs[split.valid].T)] + model.predict(valid)
                )
                if improves(found, best):
                    best, self.chosen, self.base, self.model = (
                        found,
                        {"base": base, **settings},
                        table,
                        model,
                    )
        self.model.n_jobs = (
            1  # threads would add the trees' votes in any order, and change the last bit
        )
        return self

    def predict(self, pairs):
        """[n] ln IC50 (ln uM) of [n, 2] positions (cell, drug)."""
        return self.base[tuple(np.asarray(pairs).T)] + self.model.predict(self._features(pairs))

    def _features(self, pairs):
        cell, drug = np.asarray(pairs).T
        return np.hstack([self.cell[cell], self.drug[drug]])  # [pairs, 2 k]


@dataclass
class RandomForest(Trees):
    """Random forest (Breiman 2001), square root of the features at each cut, half of the pairs for
    each tree, 200 trees.
    """

    grid: tuple = ({"min_samples_leaf": 3}, {"min_samples_leaf": 10})

    def grow(self, settings):
        """An unfitted forest."""
        from sklearn.ensemble import RandomForestRegressor

        return RandomForestRegressor(
            self.trees,
            max_features="sqrt",
            max_samples=0.5,
            random_state=self.seed,
            n_jobs=-1,
            **settings,
        )

    def state(self):
        """Leaf values of every tree."""
        return {
            "leaves": np.concatenate([tree.tree_.value.ravel() for tree in self.model.estimators_]),
            "base": self.base,
        }


@dataclass
class LightGBM(Trees):
    """Gradient-boosted trees (Ke et al. 2017), 200 trees."""

    grid: tuple = (
        {"num_leaves": 31, "learning_rate": 0.1},
        {"num_leaves": 127, "learning_rate": 0.1},
    )

    def grow(self, settings):
        """An unfitted booster.

        Raises
        ------
        DataError
            LightGBM is not installed.
        """
        try:
            from lightgbm import LGBMRegressor
        except ImportError:
            raise DataError(
                "lightgbm is not installed", remedy="pip install 'clmt-lib[experiments]'"
            ) from None
        return _Quiet(
            LGBMRegressor(
                n_estimators=self.trees,
                subsample=0.8,
                subsample_freq=1,
                colsample_bytree=0.5,
                random_state=self.seed,
                deterministic=True,
                force_row_wise=True,
                verbose=-1,
                **settings,
            )
        )

    def state(self):
        """The trees, as text in bytes."""
        return {
            "trees": np.frombuffer(self.model.booster.model_to_string().encode(), dtype=np.uint8),
            "base": self.base,
        }


class _Quiet:
    """scikit-learn's face on a booster, without its warning about unnamed columns."""

    def __init__(self, regressor):
        self.regressor = regressor

    def fit(self, x, y):
        """Fit, and keep the bare booster."""
        self.booster = self.regressor.fit(x, y).booster_
        return self

    def predict(self, x):
        """[n] predictions."""
        return self.booster.predict(x)
