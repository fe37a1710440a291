"""Probes: small models of each task of a label table on frozen features of its molecules (chapter
profiles).

L2 logistic regression (ridge, where the values are numbers) is the probe proper; a forest and ranks
of several models stand beside it. All tasks of a table are fitted in one call; settings are chosen
on the validation set, one for the whole table, since a task alone has few labels there.
"""

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Self, cast

import numpy as np
import pandas as pd
import scipy.sparse as sp

from clmt_lib.data.base import Benchmark
from clmt_lib.data.profiles.measured import standardise
from clmt_lib.data.splits import Split
from clmt_lib.io import DataError
from clmt_lib.models.base import Candidate, Model, TableModel, improves
from clmt_lib.models.stack import inner_folds
from clmt_lib.tasks import Bootstrap, interval, selection_score
from clmt_lib.tasks.metrics import METRICS
from clmt_lib.views.molecules import (
    count_fingerprints,
    descriptors,
    fragment_counts,
    heavy_atoms,
    normal_scores,
)

LIGHT = (
    0.3  # weight of a dense block beside counts: a deviation of 1 would drown bits that are rare
)
FEWEST = 10  # labels of either class that a task needs in a set to be scored
STRUCTURE = ("counts", "fragments", "descriptors", "heavy_atoms")


def features(benchmark: Benchmark, split: Split, names: Sequence[str]) -> sp.csr_matrix:
    """[molecules, features] sparse blocks side by side, fitted on the molecules of the training
    set.

    Parameters
    ----------
    names : "counts" (logarithm of 1 + Morgan counts), "fragments" (the same of atom pairs and of
        torsions, which see farther than a circle of two bonds), "descriptors" (each brought to a
        normal distribution by its ranks), "heavy_atoms", or views of the molecules (standardised;
        zeros where missing). Dense blocks weigh `LIGHT`

    Raises
    ------
    DataError
        No name, or one that is neither structure nor a view.
    """
    side = benchmark.sides[0]
    unknown = [name for name in names if name not in STRUCTURE and name not in side.views]
    if unknown or not names:
        raise DataError(
            f"unknown features {unknown[0]!r}" if unknown else "no features",
            remedy=f"use some of: {', '.join([*STRUCTURE, *side.views])}",
        )
    train = np.unique(benchmark.pairs[split.train, 0])
    blocks: list[Any] = []
    for name in names:
        if name == "counts":
            block = count_fingerprints(side.frame["smiles"])
            block.data = np.log1p(block.data)
            blocks.append(block)
        elif name == "fragments":  # a molecule has some hundred pairs: they weigh like dense ones
            for kind in ("atom_pairs", "torsions"):
                counts = fragment_counts(side.frame, kind)
                blocks.append(LIGHT * np.log1p(sp.csr_matrix(counts)))
        elif name == "descriptors":
            blocks.append(LIGHT * normal_scores(descriptors(side.frame["smiles"]), train))
        else:
            raw = (
                heavy_atoms(side.frame["smiles"])[:, None]
                if name == "heavy_atoms"
                else np.asarray(side.views[name], dtype=np.float64).reshape(len(side), -1)
            )
            known = side.has(name) if name in side.views else np.ones(len(side), dtype=bool)
            blocks.append(LIGHT * standardise(raw, known, train))
    return sp.csr_matrix(sp.hstack([sp.csr_matrix(block) for block in blocks]))


def training_labels(
    benchmark: Benchmark, split: Split, fraction: float = 1.0, seed: int = 0
) -> np.ndarray:
    """[molecules, assays] labels of the training set, NaN elsewhere; of a random share of its
    molecules.

    Raises
    ------
    DataError
        A fraction outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise DataError(f"fraction {fraction:g}", remedy="use more than 0, and 1 at most")
    y = benchmark.matrix(split.train)
    if fraction < 1:
        rows = np.flatnonzero(np.isfinite(y).any(axis=1))
        order = np.random.default_rng([seed, 7]).permutation(rows)
        y[order[max(1, round(fraction * len(rows))) :]] = np.nan
    return y


@dataclass
class LinearProbe(TableModel):
    """L2 logistic regression of each assay on frozen features; of numbers, ridge.

    An assay with one class in the training set is predicted by its mean.

    Parameters
    ----------
    features : see `features`
    strengths : inverse penalties C tried on the validation set: the loss is C times the sum over
        molecules plus half the squared weights, the intercept free
    fraction, seed : share of the training molecules whose labels are used, and which
    """

    features: tuple[str, ...] = ("counts", "descriptors")
    strengths: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    fraction: float = 1.0
    seed: int = 0

    def fit(self, benchmark: Benchmark, split: Split) -> Self:
        """Fit on train, choose the penalty on valid."""
        x = features(benchmark, split, self.features)
        y = training_labels(benchmark, split, self.fraction, self.seed)
        fit = fit_ridge if benchmark.task == "properties" else fit_logistic
        found = [fit(x, y[:, task], self.strengths) for task in range(y.shape[1])]

        def candidates() -> Iterator[Candidate]:
            for number, strength in enumerate(self.strengths):
                weights = np.stack([task[0][number] for task in found])  # [assays, features]
                intercept = np.array([task[1][number] for task in found])
                table = np.asarray(x @ weights.T + intercept)
                if fit is fit_logistic:
                    table = 1 / (1 + np.exp(-np.clip(table, -50, 50)))
                yield {"C": strength}, table, {"weights": weights, "intercept": intercept}

        return self.choose(benchmark, split, candidates())


def fit_logistic(
    x: sp.csr_matrix, y: np.ndarray, strengths: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """L2 logistic regression of one assay for several penalties.

    Parameters
    ----------
    x : [n, features]
    y : [n] 0, 1 or NaN
    strengths : C, see `LinearProbe`

    Returns
    -------
    ([strengths, features] weights, [strengths] intercepts); with one class, or no label, no weight
    and the logit of the mean (shrunk by half a label of either class).
    """
    from sklearn.linear_model import LogisticRegression

    rows = np.flatnonzero(np.isfinite(y))
    label = y[rows]
    weights = np.zeros((len(strengths), x.shape[1]))
    if not len(rows) or label.min() == label.max():
        share = (label.sum() + 0.5) / (len(rows) + 1)
        return weights, np.full(len(strengths), np.log(share / (1 - share)))
    part, intercepts = x[rows], np.zeros(len(strengths))
    model = LogisticRegression(max_iter=300, tol=1e-3, warm_start=True)
    for number in np.argsort(strengths):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # 300 steps are enough to rank
            model.set_params(C=strengths[number]).fit(part, label)
        weights[number], intercepts[number] = model.coef_[0], model.intercept_[0]
    return weights, intercepts


def fit_ridge(
    x: sp.csr_matrix, y: np.ndarray, strengths: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge of one assay for several penalties, in closed form; as `fit_logistic`, with half the
    squared error as loss.
    """
    rows = np.flatnonzero(np.isfinite(y))
    weights, intercepts = np.zeros((len(strengths), x.shape[1])), np.zeros(len(strengths))
    if not len(rows):
        return weights, intercepts
    part = np.asarray(x[rows].todense())
    mean, level = part.mean(0), y[rows].mean()
    part = part - mean
    size, vectors = np.linalg.eigh(part @ part.T)
    target = vectors.T @ (y[rows] - level)
    for number, strength in enumerate(strengths):
        dual = vectors @ (target / (np.maximum(size, 0) + 1 / strength))
        weights[number] = part.T @ dual
        intercepts[number] = level - mean @ weights[number]
    return weights, intercepts


@dataclass
class ForestProbe(TableModel):
    """A random forest for each assay: class probabilities (numbers, where the values are).

    Parameters
    ----------
    features : see `features`; trees do not mind their scale
    trees, leaf : how many, and molecules of a leaf at least
    hard : give the label that the trees vote for instead of the probability. An AUROC of such
        labels has one threshold, and is lower: a mistake that is easily made
    fraction, seed : as in `LinearProbe`
    """

    features: tuple[str, ...] = ("counts", "descriptors")
    trees: int = 200
    leaf: int = 1
    hard: bool = False
    fraction: float = 1.0
    seed: int = 0

    def fit(self, benchmark: Benchmark, split: Split) -> Self:
        """Fit on train; nothing is chosen."""
        x = np.asarray(features(benchmark, split, self.features).todense(), dtype=np.float32)
        y = training_labels(benchmark, split, self.fraction, self.seed)
        numbers = benchmark.task == "properties"
        table = np.stack([self._grown(x, y[:, task], numbers) for task in range(y.shape[1])], 1)
        self.remember(benchmark)
        self.table, self.chosen = table, {}
        return self

    def _grown(self, x: np.ndarray, y: np.ndarray, numbers: bool) -> np.ndarray:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        rows = np.flatnonzero(np.isfinite(y))
        if not len(rows) or y[rows].min() == y[rows].max():
            return np.full(len(x), y[rows].mean() if len(rows) else 0.0)
        shared = {
            "n_estimators": self.trees,
            "min_samples_leaf": self.leaf,
            "random_state": self.seed,
        }
        if numbers:
            grown = RandomForestRegressor(max_features=1 / 3, **shared)
            return grown.fit(x[rows], y[rows]).predict(x)
        grown = RandomForestClassifier(class_weight="balanced_subsample", **shared)
        grown.fit(x[rows], y[rows])
        return grown.predict(x) if self.hard else grown.predict_proba(x)[:, 1]


def mean_of_ranks(tables: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """[molecules, assays] mean over models of the rank of each molecule among `rows`, as a share;
    NaN elsewhere. A monotone change of a model's scores changes nothing.

    Parameters
    ----------
    tables : [molecules, assays] scores of each model
    rows : positions of molecules that no model was fitted on (their features are known, their
        labels are not asked)

    >>> a, b = np.array([[0.1], [0.9], [0.5]]), np.array([[3.0], [1.0], [2.0]])
    >>> mean_of_ranks([a, a, b], np.array([0, 1, 2])).round(2).ravel().tolist()
    [0.56, 0.78, 0.67]
    """
    out = np.full(tables[0].shape, np.nan)
    ranks = [pd.DataFrame(table[rows]).rank(pct=True).to_numpy() for table in tables]
    out[rows] = np.mean(ranks, axis=0)
    return out


def subset_scores(
    tables: Mapping[str, np.ndarray],
    benchmark: Benchmark,
    split: Split,
    average: bool = False,
) -> dict[tuple[str, ...], tuple[float, np.ndarray]]:
    """{names of some models: (selection score on the validation set, lower is better; their table)}
    of every subset, the small ones first. The table is the mean of the models' ranks among the
    molecules that the split does not train on.

    Parameters
    ----------
    tables : model -> [molecules, assays] scores
    average : the mean of the scores instead of their ranks (numbers)
    """
    fitted = np.unique(benchmark.pairs[split.train, 0])
    rows = np.setdiff1d(np.arange(benchmark.shape[0]), fitted)
    # a mean of ranks is the mean of each model's: rank once, not once a subset
    parts = {k: t if average else mean_of_ranks([t], rows) for k, t in tables.items()}
    asked, out = tuple(benchmark.pairs[split.valid].T), {}
    for size in range(1, len(tables) + 1):
        for names in combinations(tables, size):
            table = np.mean([parts[name] for name in names], axis=0)
            score = selection_score(benchmark, split, table[asked]) if len(split.valid) else np.nan
            out[names] = score, table
    return out


def best_of_ranks(
    tables: Mapping[str, np.ndarray],
    benchmark: Benchmark,
    split: Split,
    average: bool = False,
) -> tuple[tuple[str, ...], np.ndarray, int]:
    """The mean of ranks of that subset of models which validates best: see `subset_scores`.

    Returns
    -------
    (names of the chosen models, their table, how many subsets were looked at)
    """
    if not tables:
        raise DataError("no model to choose from", remedy="give at least one")
    found = subset_scores(tables, benchmark, split, average)
    names = _best({names: score for names, (score, _) in found.items()})
    return names, found[names][1], len(found)


def _best(scores: Mapping[tuple[str, ...], float]) -> tuple[str, ...]:
    """The key of the lowest score; the first wins a tie."""
    best: tuple[str, ...] = next(iter(scores))
    for names, score in scores.items():
        if improves(score, scores[best]):
            best = names
    return best


@dataclass
class BlendProbe(TableModel):
    """Mean of ranks (of numbers: of values) of that subset of probes which is best over folds
    inside the training and the validation set.

    A validation set of a few hundred molecules, with a few dozen labels an assay, cannot tell
    subsets apart; folds ask every molecule once. They hold out what the split holds out (whole
    scaffolds), and the test set has no part in them. The members choose their own settings in each
    fold, and at last on the split's validation set.

    Parameters
    ----------
    members : name -> an unfitted probe
    folds : 0 takes the validation set alone
    seed : of the folds
    """

    members: Mapping[str, Model] = field(default_factory=dict)
    folds: int = 3
    seed: int = 0
    looked: dict[tuple[str, ...], float] = field(default_factory=dict, init=False, repr=False)
    kept: dict[str, Model] = field(default_factory=dict, init=False, repr=False)

    def fit(self, benchmark: Benchmark, split: Split) -> Self:
        """Choose the subset over the folds, then fit it on train.

        Raises
        ------
        DataError
            No member.
        """
        if not self.members:
            raise DataError("no probe to blend", remedy="give members")
        scores: dict[tuple[str, ...], list[float]] = {}
        for part in self.parts_of(benchmark, split):
            found = {name: self.table_of(name, benchmark, part) for name in self.members}
            numbers = benchmark.task == "properties"
            for names, (score, _) in subset_scores(found, benchmark, part, numbers).items():
                scores.setdefault(names, []).append(score)
        self.looked = {names: float(np.mean(each)) for names, each in scores.items()}
        names = _best(self.looked)
        self.kept = {name: self._fitted(name, benchmark, split) for name in names}
        self.chosen = {name: dict(model.chosen) for name, model in self.kept.items()}
        return self._blended(benchmark, split)

    def fit_again(self, benchmark: Benchmark, split: Split) -> Self:
        """Fit the chosen subset, with its settings, on train and valid."""
        self.kept = {name: model.fit_again(benchmark, split) for name, model in self.kept.items()}
        return self._blended(benchmark, split.with_validation())

    def parts_of(self, benchmark: Benchmark, split: Split) -> Iterator[Split]:
        """Splits whose validation sets are the folds; the test set stays, and nobody reads it."""
        if not self.folds:
            yield split
            return
        whole = split.with_validation()
        fold = inner_folds(benchmark, whole, self.folds, self.seed)
        for k in range(self.folds):
            yield replace(whole, train=whole.train[fold != k], valid=whole.train[fold == k])

    def table_of(self, name: str, benchmark: Benchmark, part: Split) -> np.ndarray:
        """[molecules, assays] scores of a member that is fitted on a fold's training set."""
        return self._fitted(name, benchmark, part).table

    def _fitted(self, name: str, benchmark: Benchmark, split: Split) -> Any:
        return copy.deepcopy(self.members[name]).fit(benchmark, split)

    def _blended(self, benchmark: Benchmark, split: Split) -> Self:
        tables: dict[str, Any] = {name: cast("Any", m).table for name, m in self.kept.items()}
        found = subset_scores(tables, benchmark, split, benchmark.task == "properties")
        self.remember(benchmark)
        self.table = found[tuple(tables)][1]
        return self


@dataclass(frozen=True, eq=False)
class Scored:
    """One set of a label table, and the assays that can be scored on it.

    Attributes
    ----------
    kept : [assays] bool, those with at least `FEWEST` labels of either class in the set (of
        numbers: values); the others are dropped, and counted
    positions : of the pairs of those assays
    """

    benchmark: Benchmark
    kept: np.ndarray
    positions: np.ndarray

    @classmethod
    def of(
        cls, benchmark: Benchmark, split: Split, role: str = "test", fewest: int = FEWEST
    ) -> Self:
        """The set of a split."""
        positions = getattr(split, role)
        assay, y = benchmark.pairs[positions, 1], benchmark.y[positions]
        size = benchmark.shape[1]
        if benchmark.task == "properties":
            kept = np.bincount(assay, minlength=size) >= fewest
        else:
            positive = np.bincount(assay, y, minlength=size)
            kept = (positive >= fewest) & (np.bincount(assay, 1 - y, minlength=size) >= fewest)
        return cls(benchmark, kept, positions[kept[assay]])

    @property
    def dropped(self) -> int:
        """Number of assays that are not scored."""
        return int((~self.kept).sum())

    def each(self, table: np.ndarray, metric: str = "auroc") -> np.ndarray:
        """[assays] metric of each; NaN where the assay is dropped."""
        row, assay = self.benchmark.pairs[self.positions].T
        y, p = self.benchmark.y[self.positions], table[row, assay]
        out = np.full(self.benchmark.shape[1], np.nan)
        for task in np.flatnonzero(self.kept):
            mine = assay == task
            out[task] = METRICS[metric](y[mine], p[mine])
        return out

    def draws(
        self, table: np.ndarray, metric: str = "auroc", over: str = "molecule", draws: int = 1000
    ) -> np.ndarray:
        """[draws] mean over the assays, molecules or assays drawn again. What is drawn of molecules
        is compounds: stereoisomers come together. The same seed for all, so that differences are
        paired.
        """
        rows, columns = self.benchmark.sides
        compound = np.unique(rows.keys[rows.identity], return_inverse=True)[1]
        pairs = self.benchmark.pairs[self.positions]
        y, p = self.benchmark.y[self.positions], table[tuple(pairs.T)]
        boot = Bootstrap(
            (compound.max() + 1, len(columns)),
            draws,
            names=("molecule", "assay"),
            resampled=(over,),
        )
        entities = np.column_stack([compound[pairs[:, 0]], pairs[:, 1]])
        name = f"{metric}_per_assay"
        return boot.statistics(entities, y, p, [name])[name]

    def compared(
        self, table: np.ndarray, other: np.ndarray, metric: str = "auroc", draws: int = 1000
    ) -> dict[str, Any]:
        """How one model differs from another: mean over assays, share of assays that are better,
        and intervals over molecules and over assays.
        """
        gap = METRICS[metric].gain(self.each(table, metric) - self.each(other, metric))
        gap = gap[self.kept]
        found: dict[str, Any] = {"mean": float(gap.mean()), "better": float((gap > 0).mean())}
        for over in ("molecule", "assay"):
            drawn = self.draws(table, metric, over, draws) - self.draws(other, metric, over, draws)
            found[f"over_{over}s"] = interval(METRICS[metric].gain(drawn))
        return found
