"""Tuned tree ensembles on expression and fingerprint components: the baseline most papers should
have beaten (chapter 08).
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from clmt_lib.data.base import Benchmark
from clmt_lib.data.splits import Split
from clmt_lib.io import DataError
from clmt_lib.models.base import TableModel, improves
from clmt_lib.models.known import check_sides, places
from clmt_lib.tasks import selection_score
from clmt_lib.tasks.metrics import additive_effects
from clmt_lib.views.molecules import fingerprints
from clmt_lib.views.omics import fit_omics


@dataclass
class Trees(TableModel):
    """Base of the ensembles: targets are residuals from the drug's effect, or from drug + cell
    effects, whichever the validation set prefers.

    Features of a pair are principal components of expression (of training lines) and of
    fingerprints (of training drugs), 50 of each. There is no table: a pair is predicted when asked.

    Parameters
    ----------
    grid : settings tried, the same small grid on every split
    trees : how many
    seed : of what the ensemble draws
    """

    grid: tuple[dict[str, Any], ...] = ()
    trees: int = 200
    seed: int = 0

    @abstractmethod
    def grow(self, settings: dict[str, Any]) -> Any:
        """An unfitted ensemble with scikit-learn's `fit` and `predict`."""

    @abstractmethod
    def keep(self, ensemble: Any) -> None:
        """Set the attributes that `votes` reads."""

    @abstractmethod
    def votes(self, x: np.ndarray) -> np.ndarray:
        """[n] predictions of the fitted ensemble for features [n, 2 k] float32."""

    def refit(self, benchmark: Benchmark, split: Split) -> Self:
        """See `TableModel.refit`; what an earlier `fit` chose is forgotten."""
        self.chosen = {}
        return super().refit(benchmark, split)

    def fit(self, benchmark: Benchmark, split: Split) -> "Trees":
        """Fit on train, choose from the grid on valid; without a valid, what was chosen before."""
        self.remember(benchmark)
        self._fit_features(benchmark, split)
        self.mean, cell, drug = additive_effects(benchmark, split.train)
        pairs, y, best, model = benchmark.pairs, benchmark.y, None, None
        x, valid = (self._features(pairs[part]) for part in (split.train, split.valid))
        candidates = [
            {"base": base, **settings} for base in ("drug", "effects") for settings in self.grid
        ]
        if not len(split.valid):
            candidates = [dict(self.chosen) if self.chosen else candidates[self.pick]]
        self.scores = []
        for candidate in candidates:
            row = cell if candidate["base"] == "effects" else 0 * cell
            table = self.mean + row[:, None] + drug[None]
            rest = y - table[tuple(pairs.T)]
            settings = {name: value for name, value in candidate.items() if name != "base"}
            grown = self.grow(settings).fit(x, rest[split.train])
            if len(split.valid):
                base_valid = table[tuple(pairs[split.valid].T)]
                found = selection_score(benchmark, split, base_valid + grown.predict(valid))
                self.scores.append(found)
                better = improves(found, best)
            else:
                found, better = None, True
            if better:
                best, model, self.chosen = found, grown, candidate
                self.row, self.column, self.base = row, drug, table
        self.keep(model)
        return self

    def _fit_features(self, benchmark: Benchmark, split: Split, components: int = 50) -> None:
        self.transform = fit_omics(benchmark, split, components=components)
        bits = fingerprints(benchmark.sides[1].frame)
        drugs = np.unique(benchmark.pairs[split.train, 1])
        self.centre = bits[drugs].mean(0)
        rotation = np.linalg.svd(bits[drugs] - self.centre, full_matrices=False)[2]
        self.rotation = rotation[:components]
        self.cell = self.transform(benchmark).astype(np.float32)  # [lines, k]
        self.drug = self._components(bits)  # [drugs, k]

    def _components(self, bits: np.ndarray) -> np.ndarray:
        return ((bits - self.centre) @ self.rotation.T).astype(np.float32)

    def _features(self, pairs: np.ndarray) -> np.ndarray:
        cell, drug = np.asarray(pairs).T
        return np.hstack([self.cell[cell], self.drug[drug]])  # [pairs, 2 k]

    def predict(self, pairs: np.ndarray, benchmark: Benchmark | None = None) -> np.ndarray:
        """[n] predictions of [n, 2] positions (row, column); see `Model.predict`."""
        row, column = np.asarray(pairs).T
        if benchmark is None:
            return self.base[row, column] + self.votes(self._features(pairs))
        check_sides(self.names, benchmark)
        base = (
            self.mean
            + self.padded(self.row, benchmark, 0, row)
            + self.padded(self.column, benchmark, 1, column)
        )
        at, cell = self._beside(self.cell, benchmark, 0, row)
        of, drug = self._beside(self.drug, benchmark, 1, column)
        return base + self.votes(np.hstack([cell[at], drug[of]]))

    def _beside(self, known: np.ndarray, benchmark: Benchmark, axis: int, asked: np.ndarray):
        """(positions [n] of the asked entities in a table of features, the table): that of `fit`,
        and the features of new entities after it.
        """
        at = places(self.ids[axis], benchmark, axis, asked)
        new, back = np.unique(asked[at < 0], return_inverse=True)
        if not len(new):
            return at, known
        if axis == 0:
            more = self.transform(benchmark)[new].astype(np.float32)
        else:
            more = self._components(fingerprints(benchmark.sides[1].frame.iloc[new]))
        at[at < 0] = len(known) + back
        return at, np.vstack([known, more])


@dataclass
class RandomForest(Trees):
    """Random forest (Breiman 2001), square root of the features at each cut, half of the pairs for
    each tree, 200 trees.

    scikit-learn grows it; its trees are kept, and saved, as plain arrays: of every node the feature
    it asks for, the threshold, its two children and its value.
    """

    grid: tuple[dict[str, Any], ...] = ({"min_samples_leaf": 3}, {"min_samples_leaf": 10})

    def grow(self, settings: dict[str, Any]) -> Any:
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

    def keep(self, ensemble: Any) -> None:
        """The nodes of all trees, one tree after the other; children count from their own root."""
        trees = [tree.tree_ for tree in ensemble.estimators_]
        self.nodes = np.array([tree.node_count for tree in trees])
        self.feature = np.concatenate([tree.feature for tree in trees])  # below 0 at a leaf
        self.threshold = np.concatenate([tree.threshold for tree in trees])
        self.children = np.concatenate(
            [np.column_stack([tree.children_left, tree.children_right]) for tree in trees]
        )
        self.leaves = np.concatenate([tree.value.ravel() for tree in trees])

    def votes(self, x: np.ndarray) -> np.ndarray:
        """[n] mean of the trees, added up in their order: the same to the last bit every time."""
        total, everyone = np.zeros(len(x)), np.arange(len(x))
        for root in np.cumsum(self.nodes) - self.nodes:
            node, asked = np.full(len(x), root), everyone
            while len(asked):
                asked = asked[self.feature[node[asked]] >= 0]
                at = node[asked]
                right = x[asked, self.feature[at]] > self.threshold[at]
                node[asked] = root + self.children[at, right.astype(np.int64)]
            total += self.leaves[node]
        return total / len(self.nodes)

    def state(self) -> dict[str, np.ndarray]:
        """Leaf values of every tree, and what they are added to."""
        return {"leaves": self.leaves, "base": self.base}


@dataclass
class LightGBM(Trees):
    """Gradient-boosted trees (Ke et al. 2017), 200 trees; saved as LightGBM's own text."""

    grid: tuple[dict[str, Any], ...] = (
        {"num_leaves": 31, "learning_rate": 0.1},
        {"num_leaves": 127, "learning_rate": 0.1},
    )

    def grow(self, settings: dict[str, Any]) -> Any:
        """An unfitted booster.

        Raises
        ------
        DataError
            LightGBM is not installed.
        """
        _needed()
        from lightgbm import LGBMRegressor

        return _Quiet(
            LGBMRegressor(
                n_estimators=self.trees,
                n_jobs=0,  # what OMP_NUM_THREADS says: else a thread a core, each waiting for all
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

    def keep(self, ensemble: Any) -> None:
        """The bare booster."""
        self.booster = ensemble.booster

    def votes(self, x: np.ndarray) -> np.ndarray:
        """[n] predictions of the booster."""
        return self.booster.predict(x)

    def pack(self) -> dict[str, Any]:
        """Attributes, the booster as text in bytes."""
        parts = super().pack()
        del parts["booster"]
        return {**parts, "trees_text": self.state()["trees"]}

    def unpack(self, parts: dict[str, Any]) -> None:
        """Take back what `pack` gave."""
        _needed()
        from lightgbm import Booster

        text = parts.pop("trees_text").tobytes().decode()
        super().unpack(parts)
        self.booster = Booster(model_str=text)

    def state(self) -> dict[str, np.ndarray]:
        """The trees, as text in bytes, and what they are added to."""
        text = self.booster.model_to_string().encode()
        return {"trees": np.frombuffer(text, dtype=np.uint8), "base": self.base}


def _needed() -> None:
    try:
        import lightgbm  # noqa: F401
    except ImportError:
        raise DataError(
            "lightgbm is not installed", remedy="pip install 'clmt-lib[experiments]'"
        ) from None


class _Quiet:
    """scikit-learn's face on a booster, without its warning about unnamed columns."""

    def __init__(self, regressor):
        self.regressor = regressor

    def fit(self, x: np.ndarray, y: np.ndarray) -> "_Quiet":
        """Fit, and keep the bare booster."""
        self.booster = self.regressor.fit(x, y).booster_
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """[n] predictions."""
        return self.booster.predict(x)
