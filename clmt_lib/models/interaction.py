"""Drug-target interaction: pairwise kernel ridge in stages, trees, and their stack.

A stage is one pairwise kernel ridge on what the means leave. Its kernels may be read off the
sequence, structure and annotation of the entities, and off the table that the stage before it
predicts: two drugs are alike when their predicted residuals correlate over all proteins. Such a
learned kernel needs no feature at all, and is recomputed from each better prediction.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import nnls

from clmt_lib.data.base import Benchmark, Side
from clmt_lib.data.splits import Split
from clmt_lib.io import DataError
from clmt_lib.models.base import Candidate, TableModel, check_names
from clmt_lib.models.baselines.factors import factorise
from clmt_lib.models.baselines.trees import LightGBM
from clmt_lib.models.kernels import same_entity, solve_pairs
from clmt_lib.models.stack import inner_folds
from clmt_lib.tasks.metrics import BASES, known_effects
from clmt_lib.views import molecules, proteins
from clmt_lib.views.text import word_cosine

FEW_PAIRS = 6000  # solved at once: a table of thousands x thousands with few pairs is mostly holes
STAGE: Mapping[str, Any] = {  # what a stage does not say
    "learned": 0.0,  # weight of exp(sharpness (C - 1)), C the correlations of the stage before
    "sharpness": (3.0, 3.0),  # of rows, of columns
    "rows": {},  # kernel -> weight
    "columns": {},
    "identity": (0.3, 0.3),  # every entity alone
    "same": 0.0,  # rows of one identity (one sequence)
    "constant": 0.3,
    "ridge": 0.1,
    "factors": 0,  # rank: a factorisation instead of a ridge
}
Stage = Mapping[str, Any]
# Chosen on the published training folds 0 and 1 of Davis, of some seventy variants; and for KIBA on
# its fold 0 (few variants: a ridge of that table takes ten seconds).
FEATURES: dict[str, Any] = {"rows": {"own": 1.0}, "columns": {"own": 1.0}}
FIRST = {**FEATURES, "ridge": 0.05}
LEARNED = {"learned": 1.0, "ridge": 0.2}
BOTH = {
    "learned": 1.0,
    "rows": {"own": 1.0},
    "columns": {"own": 0.3},
    "identity": (0.1, 0.3),
    "sharpness": (3.0, 2.0),
    "ridge": 0.05,
}
COUNTS = {"morgan": 0.2, "atom_pairs": 0.2, "torsions": 0.2}
NO_FEATURES = ({}, *[LEARNED] * 6)
WITH_FEATURES = (FIRST, *[BOTH] * 4)
FRAGMENTS = {"morgan": 0.25, "atom_pairs": 0.25, "torsions": 0.25, "paths": 0.25}
COLD: dict[str, Any] = {"rows": {"own": 1.0}, "columns": FRAGMENTS, "identity": (0.03, 0.03)}
KIBA_FIRST = {**FEATURES, "ridge": 0.1}
KIBA_BOTH = {**FEATURES, "learned": 1.0, "ridge": 0.1}
KIBA_LAST = {
    "learned": 1.0,
    "rows": {"own": 0.5},
    "columns": {"morgan": 1.0, "atom_pairs": 1.0, "torsions": 1.0},
    "identity": (0.1, 0.2),
    "ridge": 0.2,
}
KIBA_FEATURES = (KIBA_FIRST, KIBA_BOTH, KIBA_LAST)
KIBA_CHAINS: dict[str, tuple[dict[str, Any], ...]] = {
    "factorisation": ({"factors": 10, "ridge": 5.0}, LEARNED),
    "features": KIBA_FEATURES,
    "two": KIBA_FEATURES[:2],
}
CHAINS: dict[str, tuple[dict[str, Any], ...]] = {  # of the stack on Davis
    "factorisation": ({"factors": 20, "ridge": 5.0}, LEARNED, LEARNED),
    "features": WITH_FEATURES,
    "counts": (FIRST, *[{**BOTH, "columns": COUNTS}] * 3),
}


class Likeness:
    """Kernels between the entities of each side, computed when they are first asked for.

    own is what describes the entities of a side by itself: alignment of sequences, fingerprint of
    structures, else expression.
    Proteins: alignment, kmers, family and group (kinases), function (words of the text). Drugs:
    fingerprint (Tanimoto of Morgan bits), morgan, atom_pairs, torsions, paths (Tanimoto of counts),
    mechanism (Jaccard of the Hub's words), struck (the same without names of targets), dealt (the
    words of other drugs, a control), targets (Jaccard of the genes that the Hub names), caption
    (words), assay, tox21 and expression (cosine), presence (both have mechanism words).

    Parameters
    ----------
    train : positions of the training pairs: means and word frequencies are those of their entities
    """

    def __init__(self, benchmark: Benchmark, train: np.ndarray) -> None:
        self.benchmark = benchmark
        self.known = tuple(np.unique(benchmark.pairs[train, axis]) for axis in (0, 1))
        self._kept: dict[tuple[int, str], np.ndarray] = {}

    def __getitem__(self, key: tuple[int, str]) -> np.ndarray:
        """[n, n] float32 kernel of a side (0 rows, 1 columns) by name.

        Raises
        ------
        DataError
            Unknown kernel, or one that reads what the side does not have.
        """
        if key not in self._kept:
            axis, name = key
            side = self.benchmark.sides[axis]
            makers = _makers(side)
            if name not in makers:
                raise DataError(
                    f"unknown kernel {name!r} of {side.name}s",
                    remedy=f"use one of: {', '.join(makers)}",
                )
            self._kept[key] = makers[name](side, self.known[axis]).astype(np.float32)
        return self._kept[key]

    @cached_property
    def same(self) -> np.ndarray:
        """[R, R] 1 where two rows are one and the same."""
        return same_entity(self.benchmark, 0).astype(np.float32)

    def total(self, axis: int, weights: Mapping[str, float]) -> np.ndarray:
        """[n, n] weighted sum of the kernels of a side."""
        n = self.benchmark.shape[axis]
        out = np.zeros((n, n), dtype=np.float32)
        for name, weight in weights.items():
            out += np.float32(weight) * self[axis, name]
        return out


def _makers(side: Side) -> dict[str, Any]:
    """Kernel name -> what makes it of a side and its training entities."""
    if "smiles" in side.frame:
        return DRUG_KERNELS
    return PROTEIN_KERNELS if "sequence" in side.views else OTHER_KERNELS


def _view(side: Side, name: str) -> Any:
    if name not in side.views:
        raise DataError(
            f"{side.name}s have no view {name!r}", remedy="load the benchmark with modalities='all'"
        )
    return side.views[name]


def _column(side: Side, name: str) -> Any:
    if name not in side.frame:
        raise DataError(
            f"{side.name}s have no column {name!r}",
            remedy="load the benchmark with modalities='all'",
        )
    return side.frame[name]


def _listed(words: Sequence[str]) -> np.ndarray:
    """[n, n] Jaccard of "a; b" lists; an empty list resembles nothing."""
    member = molecules.membership([text.replace(",", " ").replace(";", ",") for text in words])
    out = molecules.jaccard(member)
    known = np.asarray(member.any(1))  # [n]
    return out * np.logical_and.outer(known, known)


def _measured(side: Side, name: str, rows: np.ndarray) -> np.ndarray:
    """[n, n] cosine of measurements less their mean over `rows`, unmeasured ones left out, below 0
    cut.
    """
    x = np.asarray(_view(side, name), dtype=np.float64)
    there = side.has(name)
    known = np.isfinite(x) & there[:, None]
    mean = np.where(known, x, 0.0)[rows].sum(0) / np.maximum(known[rows].sum(0), 1)
    z = np.where(known, np.nan_to_num(x) - mean, 0.0)
    z = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-9)
    return np.maximum(z @ z.T, 0)


def _struck(side: Side) -> list[str]:
    """Mechanism words without names of targets; without a table of proteins, by usual aliases and
    every gene that any drug's annotation names.
    """
    genes = molecules.listed(_column(side, "target"))
    names = proteins.names_of(_column(side, "target").rename("gene").to_frame())
    names |= {gene.lower() for gene in genes}
    return [proteins.struck(text, names) for text in _view(side, "mechanism")]


def _dealt(side: Side) -> list[str]:
    words = np.asarray(_view(side, "mechanism"), dtype=object)
    return list(words[np.random.default_rng(1).permutation(len(words))])


OTHER_KERNELS: dict[str, Any] = {"own": lambda side, rows: _measured(side, "expression", rows)}
PROTEIN_KERNELS: dict[str, Any] = {
    "own": lambda side, rows: proteins.alignment(list(_view(side, "sequence"))),
    "alignment": lambda side, rows: proteins.alignment(list(_view(side, "sequence"))),
    "kmers": lambda side, rows: _spectrum(list(_view(side, "sequence")), 3),
    "pairs": lambda side, rows: _spectrum(list(_view(side, "sequence")), 2) ** 8,
    "family": lambda side, rows: proteins.same_label(_column(side, "family")),
    "group": lambda side, rows: proteins.same_label(_column(side, "group")),
    "function": lambda side, rows: word_cosine(list(_view(side, "function")), rows),
}
DRUG_KERNELS: dict[str, Any] = {
    "own": lambda side, rows: DRUG_KERNELS["fingerprint"](side, rows),
    "fingerprint": lambda side, rows: molecules.jaccard(
        molecules.fingerprints(side.frame).astype(np.float32)
    ),
    **{
        kind: lambda side, rows, kind=kind: molecules.count_tanimoto(
            molecules.fragment_counts(side.frame, kind)
        )
        for kind in molecules.COUNTED
    },
    "mechanism": lambda side, rows: _listed(list(_view(side, "mechanism"))),
    "struck": lambda side, rows: _listed(_struck(side)),
    "dealt": lambda side, rows: _listed(_dealt(side)),
    "targets": lambda side, rows: _listed(
        [
            text.replace(",", ";") if isinstance(text, str) else ""
            for text in _column(side, "target")
        ]
    ),
    "caption": lambda side, rows: word_cosine(list(_view(side, "caption")), rows),
    "assay": lambda side, rows: _measured(side, "assay", rows),
    "tox21": lambda side, rows: _measured(side, "tox21", rows),
    "expression": lambda side, rows: _measured(side, "expression", rows),
    "presence": lambda side, rows: np.outer(side.has("mechanism"), side.has("mechanism")),
}


def _spectrum(sequences: list[str], k: int) -> np.ndarray:
    """[n, n] cosine of the counts of words of k residues."""
    counts = proteins.kmer_counts(sequences, k).astype(np.float32)
    counts /= np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-12)
    return counts @ counts.T


def correlations(rows: np.ndarray) -> np.ndarray:
    """[n, n] float32 Pearson correlation of rows; 0 with a constant row."""
    z = rows.astype(np.float32)
    z = z - z.mean(1, keepdims=True)
    z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), np.float32(1e-6))
    return z @ z.T


def solve_few(
    k_row: np.ndarray, k_column: np.ndarray, residual: np.ndarray, seen: np.ndarray, ridge: float
) -> np.ndarray:
    """Dual weights of kernel ridge on the seen pairs as `solve_pairs`, by one Cholesky factor of
    the kernel between pairs: exact, and quick where pairs are few.
    """
    from scipy.linalg import cho_factor, cho_solve

    row, column = np.nonzero(seen)
    kernel = k_row[np.ix_(row, row)]
    kernel *= k_column[np.ix_(column, column)]
    kernel[np.diag_indices(len(row))] += ridge
    out = np.zeros(seen.shape, dtype=kernel.dtype)
    factor = cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)
    out[row, column] = cho_solve(factor, residual[row, column].astype(kernel.dtype))
    return out


def solved(
    k_row: np.ndarray,
    k_column: np.ndarray,
    rest: np.ndarray,
    seen: np.ndarray,
    ridge: float,
    tolerance: float,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """[R, C] float32 dual weights, by whichever solver is quicker."""
    if seen.sum() <= FEW_PAIRS and seen.mean() < 0.05:
        return solve_few(k_row, k_column, rest, seen, ridge)
    return solve_pairs(
        k_row, k_column, rest, seen, ridge, start, tolerance=tolerance, precision=np.float32
    )


def stage_kernels(
    likeness: Likeness, stage: Stage, before: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Kernels [R, R] and [C, C] of a stage.

    Parameters
    ----------
    before : [R, C] what the stage before predicts (less the means), for learned kernels
    """
    found = []
    for axis in (0, 1):
        kernel = likeness.total(axis, stage["rows" if axis == 0 else "columns"])
        kernel += np.float32(stage["constant"])
        if stage["learned"]:
            if before is None:
                raise DataError(
                    "the first stage has no prediction to learn kernels from",
                    remedy="begin with a stage whose `learned` is 0",
                )
            seen = before[:, likeness.known[1]] if axis == 0 else before[likeness.known[0]].T
            alike = correlations(seen)  # over the training entities of the other side
            sharp = np.float32(stage["sharpness"][axis])
            kernel += np.float32(stage["learned"]) * np.exp(sharp * (alike - 1))
        if axis == 0 and stage["same"]:
            kernel += np.float32(stage["same"]) * likeness.same
        kernel[np.diag_indices(len(kernel))] += np.float32(stage["identity"][axis])
        found.append(kernel)
    return found[0], found[1]


def predicted_stage(
    likeness: Likeness,
    stage: Stage,
    rest: np.ndarray,
    seen: np.ndarray,
    before: np.ndarray | None,
    tolerance: float,
) -> np.ndarray:
    """[R, C] float32 what one stage predicts of the residuals `rest` (0 where not seen)."""
    if stage["factors"]:
        u, v = factorise(rest, seen, stage["factors"], stage["ridge"], sweeps=8)
        return (u @ v.T).astype(np.float32)
    k_row, k_column = stage_kernels(likeness, stage, before)
    dual = solved(k_row, k_column, rest, seen, stage["ridge"], tolerance)
    return k_row @ dual @ k_column


def checked_stages(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """Stages with every setting. Raises DataError for an unknown one, or none."""
    for stage in stages:
        unknown = sorted(set(stage) - set(STAGE))
        if unknown:
            raise DataError(
                f"a stage has no setting {unknown[0]!r}", remedy=f"use: {', '.join(STAGE)}"
            )
    if not stages:
        raise DataError("no stage", remedy="give at least one")
    return [{**STAGE, **stage} for stage in stages]


def residuals(
    benchmark: Benchmark, split: Split, shrink: float, means: str = "both"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(base [R, C] of row and column means, residuals [R, C] with 0 where not seen, seen [R, C])
    of the training pairs; `means` as in `known_effects`.
    """
    train = split.train
    mean, row, column = known_effects(benchmark, split, means, shrink)
    base = mean + row[:, None] + column[None]
    y = benchmark.matrix(train)
    seen = np.isfinite(y)
    return base, np.where(seen, y - base, 0.0), seen


@dataclass
class StagedRidge(TableModel):
    """Pairwise kernel ridge on the residuals of row and column means, in stages whose kernels may
    be learned from the prediction of the stage before.

    K = constant + features + learned exp(s (C - 1)) + identity, on each side, and
    prediction = means + K_row A K_column.

    Of a new entity (held out as a whole) the mean is that of all; features and, through the first
    stages, learned kernels still say whom it is like. An entity that was not in the benchmark at
    `fit` is not predicted.

    Parameters
    ----------
    stages : settings of each stage, over those of `STAGE`
    ridges : of the last stage, chosen on the validation set
    shrink : of the means, as if so many more pairs sat at the mean of all
    tolerance : of the solver, which works in float32

    Attributes
    ----------
    means : what is taken away first, see `tasks.metrics.known_effects`
    """

    stages: tuple[dict[str, Any], ...] = (FEATURES,)
    ridges: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.5)
    shrink: float = 1.0
    tolerance: float = 3e-3  # type: ignore[misc]
    means: ClassVar[str] = "both"

    def __post_init__(self) -> None:
        checked_stages(self.stages)
        check_names(self, means=BASES)

    def fit(self, benchmark: Benchmark, split: Split) -> "StagedRidge":
        """Fit every stage on train, choose the last one's ridge on valid."""
        likeness = Likeness(benchmark, split.train)
        stages = checked_stages(self.stages)
        base, rest, seen = residuals(benchmark, split, self.shrink, self.means)
        before = None
        for stage in stages[:-1]:
            before = predicted_stage(likeness, stage, rest, seen, before, self.tolerance)

        def candidates() -> Iterator[Candidate]:
            last, dual = stages[-1], None
            k_row, k_column = stage_kernels(likeness, last, before)
            for ridge in sorted(self.ridges, reverse=True):
                dual = solved(k_row, k_column, rest, seen, ridge, self.tolerance, dual)
                found = k_row @ dual @ k_column
                yield {"ridge": ridge}, base + found, {"weights": dual}

        return self.choose(benchmark, split, candidates())

    def refit(self, benchmark: Benchmark, split: Split) -> "StagedRidge":
        """As `TableModel.refit`; with one ridge there is nothing to choose, and one fit is all."""
        if len(self.ridges) < 2:
            return self.fit(benchmark, split)
        return super().refit(benchmark, split)


@dataclass
class ColdRidge(StagedRidge):
    """One pairwise ridge for new entities: the means of a side that is held out are not taken away,
    so that the kernels learn the general level of a new drug or protein, too; and structures are
    compared by four kinds of fragments.

    Chosen, of some eighty variants, by cross-validation inside train and valid of five folds of
    Davis: one identity that is small (0.03), and no weight on a learned kernel.

    Parameters
    ----------
    means : what is taken away first, see `tasks.metrics.known_effects`
    """

    stages: tuple[dict[str, Any], ...] = (COLD,)
    ridges: tuple[float, ...] = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0)
    means: str = "auto"  # type: ignore[misc]


@dataclass
class LearnedInteraction(StagedRidge):
    """Kernels learned from the training table itself, no feature at all: an identity kernel first,
    then six rounds of exp(3 (C - 1)).
    """

    stages: tuple[dict[str, Any], ...] = NO_FEATURES
    ridges: tuple[float, ...] = (0.1, 0.2, 0.4)


@dataclass
class FeatureInteraction(StagedRidge):
    """Alignment x fingerprint first, then four rounds of learned and feature kernels together."""

    stages: tuple[dict[str, Any], ...] = WITH_FEATURES
    ridges: tuple[float, ...] = (0.02, 0.05, 0.1)


@dataclass
class KibaFeatures(StagedRidge):
    """The recipe for a table of two thousand drugs: alignment x fingerprint, learned and feature
    kernels, then once more with three fingerprints. A ridge takes ten seconds, so none is chosen.
    """

    stages: tuple[dict[str, Any], ...] = KIBA_FEATURES
    ridges: tuple[float, ...] = (0.2,)
    tolerance: float = 1e-2  # type: ignore[misc]


@dataclass
class KibaLearned(StagedRidge):
    """The same table without a feature: kernels learned from a factorisation."""

    stages: tuple[dict[str, Any], ...] = ({"factors": 10, "ridge": 5.0}, LEARNED)
    ridges: tuple[float, ...] = (0.2,)
    tolerance: float = 1e-2  # type: ignore[misc]


@dataclass
class InteractionTrees(LightGBM):
    """LightGBM on components of fingerprints, and on composition and alignment components of
    sequences.
    """

    def _fit_features(self, benchmark: Benchmark, split: Split, components: int = 50) -> None:
        if "sequence" not in benchmark.sides[0].views:
            return super()._fit_features(benchmark, split, components)
        bits = molecules.fingerprints(benchmark.sides[1].frame)
        drugs = np.unique(benchmark.pairs[split.train, 1])
        self.centre = bits[drugs].mean(0)
        rotation = np.linalg.svd(bits[drugs] - self.centre, full_matrices=False)[2]
        self.rotation = rotation[:components]
        self.drug = self._components(bits)
        sequences = list(benchmark.sides[0].views["sequence"])
        rows = np.unique(benchmark.pairs[split.train, 0])
        alike = kernel_components(proteins.alignment(sequences), 24, rows)
        self.cell = np.hstack([proteins.composition(sequences), alike]).astype(np.float32)

    def _beside(self, known: np.ndarray, benchmark: Benchmark, axis: int, asked: np.ndarray):
        from clmt_lib.models.known import places

        at = places(self.ids[axis], benchmark, axis, asked)
        if (at < 0).any():
            raise DataError(
                f"{type(self).__name__} cannot predict for entities that were not there at fit",
                remedy="fit it on a benchmark that has them, without values of theirs",
            )
        return at, known


def kernel_components(kernel: np.ndarray, components: int, rows: np.ndarray) -> np.ndarray:
    """[n, components] principal components of a kernel among `rows` (kernel PCA), the largest
    first, and where all others fall on them.
    """
    from scipy.linalg import eigh

    among = kernel[np.ix_(rows, rows)].astype(np.float64)
    to = kernel[:, rows].astype(np.float64)
    to = to - to.mean(1, keepdims=True) - among.mean(0) + among.mean()
    among = among - among.mean(0) - among.mean(1, keepdims=True) + among.mean()
    k = min(components, len(rows))
    values, vectors = eigh((among + among.T) / 2, subset_by_index=(len(rows) - k, len(rows) - 1))
    values, vectors = np.maximum(values[::-1], 1e-9), vectors[:, ::-1]
    sign = np.sign(vectors[np.abs(vectors).argmax(0), np.arange(k)])
    return to @ (vectors * sign / np.sqrt(values))


@dataclass(frozen=True, eq=False)
class Tables:
    """What the bases of a stack say of every pair, fitted on some training pairs.

    Attributes
    ----------
    names : of the bases, the means first
    bases : [bases, R, C] float32
    rest, seen : [R, C] residuals of the means, and where they were measured
    values : [R, C] the measured values, NaN elsewhere
    alike : [R, R] and [C, C] similarity by which measured neighbours are found
    """

    names: tuple[str, ...]
    bases: np.ndarray
    rest: np.ndarray
    seen: np.ndarray
    values: np.ndarray
    alike: tuple[np.ndarray, np.ndarray]


@dataclass
class InteractionStack(TableModel):
    """Stack for interactions: staged ridges and a factorisation out of fold, blended by
    non-negative least squares; then boosted trees on what the blend leaves, shown the bases, the 8
    nearest measured pairs on either side and robust summaries of each row and column.

    Nothing is chosen on the validation set: loss and number of trees are, over the inner folds.
    Where the split has no validation set, the inner folds are the published ones.

    Parameters
    ----------
    chains : name -> stages; the predictions of the first and of the last are bases
    inner : how many inner folds the training pairs are cut into
    held : how many of them are predicted (a large table needs fewer)
    losses : of the trees, tried over the inner folds
    tree_counts : numbers of trees that are tried
    booster : settings of LightGBM
    shrink, tolerance : as `StagedRidge`
    neighbours : measured pairs on either side
    closest : the chain whose prediction says which rows and columns are alike
    seeds : boosters whose predictions are averaged
    """

    chains: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=lambda: dict(CHAINS))
    inner: int = 5
    held: int = 5
    losses: tuple[str, ...] = ("regression", "huber")
    tree_counts: tuple[int, ...] = (50, 100, 150, 200, 300)
    booster: dict[str, Any] = field(
        default_factory=lambda: {
            "learning_rate": 0.04,
            "num_leaves": 31,
            "min_data_in_leaf": 50,
            "feature_fraction": 0.3,
        }
    )
    shrink: float = 1.0
    tolerance: float = 3e-3  # type: ignore[misc]
    neighbours: int = 8
    closest: str = "features"
    seeds: int = 2

    def refit(self, benchmark: Benchmark, split: Split) -> "InteractionStack":
        """As `fit`, which needs no validation set."""
        return self.fit(benchmark, split)

    def fit(self, benchmark: Benchmark, split: Split) -> "InteractionStack":
        """Fit bases out of fold and on the whole of train, then blend and trees."""
        self.remember(benchmark)
        likeness = Likeness(benchmark, split.train)
        self.side_features = tuple(
            kernel_components(likeness[axis, "own"], 24, likeness.known[axis]).astype(np.float32)
            for axis in (0, 1)
        )
        fold = split.parts
        if fold is None:
            fold = inner_folds(benchmark, split, self.inner, 0)
        bases, features, y, group = [], [], [], []
        for number in range(min(self.held, int(fold.max()) + 1)):
            held = split.train[fold == number]
            inside = replace(split, train=split.train[fold != number])
            tables = self._tables(benchmark, likeness, inside)
            pairs = benchmark.pairs[held]
            bases.append(tables.bases[:, pairs[:, 0], pairs[:, 1]].T)
            features.append(self._features(tables, pairs))
            y.append(benchmark.y[held])
            group.append(np.full(len(held), number))
        out, target, groups = np.concatenate(bases), np.concatenate(y), np.concatenate(group)
        self.mean = float(target.mean())
        self.weights = blend_weights(out, target)  # [bases]
        self._fit_trees(out, np.concatenate(features), target, groups)
        self.whole = self._tables(benchmark, likeness, split)
        self.fitted = {"weights": self.weights, "out_of_fold": out}
        return self

    def _tables(self, benchmark: Benchmark, likeness: Likeness, split: Split) -> Tables:
        base, rest, seen = residuals(benchmark, split, self.shrink)
        names, tables = ["means"], [base.astype(np.float32)]
        known: dict[str, np.ndarray] = {}
        shown: set[str] = set()
        last = np.zeros_like(base)
        for chain, given in self.chains.items():
            before, path = None, ""
            for number, stage in enumerate(checked_stages(given)):
                path += repr(sorted(stage.items()))  # chains may begin alike
                if path not in known:
                    known[path] = predicted_stage(
                        likeness, stage, rest, seen, before, self.tolerance
                    )
                if number in (0, len(given) - 1):  # those between are much like the last
                    if path not in shown:
                        shown.add(path)
                        names.append(f"{chain} {number + 1}")
                        tables.append((base + known[path]).astype(np.float32))
                before = known[path]
            last = before if chain == self.closest or not last.any() else last  # type: ignore
        values = np.where(seen, base + rest, np.nan)
        alike = tuple(
            0.5 * correlations(part) + 0.5 * likeness[axis, "own"]
            for axis, part in ((0, last[:, likeness.known[1]]), (1, last[likeness.known[0]].T))
        )
        rest32 = rest.astype(np.float32)
        return Tables(tuple(names), np.stack(tables), rest32, seen, values, (alike[0], alike[1]))

    def _features(self, tables: Tables, pairs: np.ndarray) -> np.ndarray:
        """[n, features] float32 what the trees are shown of a pair."""
        row, column = pairs.T
        out = tables.bases[:, row, column].T
        summaries = [
            summary(tables.values if axis == 0 else tables.values.T)[pairs[:, axis]]
            for axis in (0, 1)
        ]
        by_column = nearest_measured(
            tables.alike[1], tables.rest, tables.seen, row, column, self.neighbours
        )
        by_row = nearest_measured(
            tables.alike[0], tables.rest.T, tables.seen.T, column, row, self.neighbours
        )
        return np.column_stack(
            [
                out,
                out[:, 1:].std(1),
                tables.seen.sum(1)[row],
                tables.seen.sum(0)[column],
                *summaries,
                by_column,
                by_row,
                self.side_features[0][row],
                self.side_features[1][column],
            ]
        ).astype(np.float32)

    def blended(self, out: np.ndarray) -> np.ndarray:
        """[n] blend of the bases' predictions [n, bases]."""
        return self.mean + (out - self.mean) @ self.weights

    def _fit_trees(
        self, out: np.ndarray, features: np.ndarray, y: np.ndarray, group: np.ndarray
    ) -> None:
        """Choose loss and number of trees over the inner folds, then fit on all of them."""
        import lightgbm

        blended = self.blended(out)
        x = np.column_stack([features, blended]).astype(np.float32)
        rest = y - blended
        found = {}
        folds = np.unique(group)[:2]  # two turns tell one setting from another
        for loss in self.losses:
            errors = []
            for number in folds:
                train, valid = group != number, group == number
                booster = self._booster(
                    lightgbm, x[train], rest[train], loss, max(self.tree_counts), 0
                )
                errors.append(
                    [
                        np.mean((rest[valid] - booster.predict(x[valid], num_iteration=n)) ** 2)
                        for n in self.tree_counts
                    ]
                )
            for n, error in zip(self.tree_counts, np.mean(errors, axis=0), strict=True):
                found[loss, n] = float(error)
        loss, n = min(found, key=lambda setting: found[setting])
        self.chosen = {
            "loss": loss,
            "trees": n,
            "blend_mse": float(np.mean(rest**2)),
            "mse": {f"{name} {count}": round(error, 5) for (name, count), error in found.items()},
        }
        self.boosters = [
            self._booster(lightgbm, x, rest, loss, n, seed) for seed in range(self.seeds)
        ]

    def _booster(self, lightgbm: Any, x: np.ndarray, y: np.ndarray, loss: str, n: int, seed: int):
        settings = {
            "objective": loss,
            "alpha": 0.2,  # of huber: errors above it count linearly
            "verbose": -1,
            "num_threads": 1,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            **self.booster,
        }
        return lightgbm.train(settings, lightgbm.Dataset(x, y), num_boost_round=n)

    def predict(self, pairs: np.ndarray, benchmark: Benchmark | None = None) -> np.ndarray:
        """[n] predictions of [n, 2] positions; see `Model.predict`."""
        from clmt_lib.models.known import check_sides, places

        pairs = np.asarray(pairs)
        if benchmark is not None:
            check_sides(self.names, benchmark)
            at = [places(self.ids[i], benchmark, i, pairs[:, i]) for i in (0, 1)]
            pairs = np.column_stack(at)
            if (pairs < 0).any():
                self.new_table(benchmark, pairs[:, 0], pairs[:, 1])
        out = np.empty(len(pairs))
        for rows in np.array_split(np.arange(len(pairs)), max(1, len(pairs) // 20_000)):
            some = pairs[rows]
            blended = self.blended(self.whole.bases[:, some[:, 0], some[:, 1]].T)
            x = np.column_stack([self._features(self.whole, some), blended]).astype(np.float32)
            out[rows] = blended + np.mean([tree.predict(x) for tree in self.boosters], axis=0)
        return out

    def pack(self) -> dict[str, Any]:
        """Attributes; boosters as text in bytes, tables as arrays."""
        parts = super().pack()
        texts = [tree.model_to_string().encode() for tree in parts.pop("boosters")]
        whole = parts.pop("whole")
        return {
            **parts,
            "trees_text": [np.frombuffer(text, dtype=np.uint8) for text in texts],
            "kept": {name: getattr(whole, name) for name in Tables.__dataclass_fields__},
        }

    def unpack(self, parts: dict[str, Any]) -> None:
        """Take back what `pack` gave."""
        from lightgbm import Booster

        texts, kept = parts.pop("trees_text"), parts.pop("kept")
        super().unpack(parts)
        self.boosters = [Booster(model_str=text.tobytes().decode()) for text in texts]
        kept["names"], kept["alike"] = tuple(kept["names"]), tuple(kept["alike"])
        self.whole = Tables(**kept)


@dataclass
class KibaStack(InteractionStack):
    """The stack of a table of two thousand drugs: fewer bases, two folds out of fold, more leaves.

    Its scores come in ticks, so a loss that is robust to the tail is tried beside the squared one.
    """

    chains: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=lambda: dict(KIBA_CHAINS))
    held: int = 2
    tree_counts: tuple[int, ...] = (100, 200, 300, 400)
    booster: dict[str, Any] = field(
        default_factory=lambda: {
            "learning_rate": 0.05,
            "num_leaves": 63,
            "min_data_in_leaf": 40,
            "feature_fraction": 0.3,
        }
    )
    tolerance: float = 1e-2  # type: ignore[misc]
    seeds: int = 1


def blend_weights(out: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[bases] weights >= 0 of predictions [n, bases], both taken from the mean of y, by least
    squares (the normal equations, a little regularised).
    """
    mean = y.mean()
    x = out.astype(np.float64) - mean
    root = np.linalg.cholesky(x.T @ x + 1e-6 * len(x) * np.eye(x.shape[1]))
    return nnls(root.T, np.linalg.solve(root, x.T @ (y - mean)))[0]


def summary(values: np.ndarray) -> np.ndarray:
    """[n, 7] of each row's measured values: median, quartiles, lowest, highest, and the most
    frequent value (to two digits) with its share; 0 for a row without any.
    """
    out = np.zeros((len(values), 7))
    for row, line in enumerate(values):
        known = line[np.isfinite(line)]
        if len(known):
            value, count = np.unique(np.round(known, 2), return_counts=True)
            quarters = np.percentile(known, [50, 25, 75, 0, 100])
            out[row] = [*quarters, value[count.argmax()], count.max() / len(known)]
    return out


def nearest_measured(
    alike: np.ndarray,
    rest: np.ndarray,
    seen: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
    k: int,
) -> np.ndarray:
    """[n, 2 k + 1] measured residuals of `row` in the k columns most like `column` (its own left
    out), these similarities, and the mean weighted by them.
    """
    similar = alike.astype(np.float32).copy()
    np.fill_diagonal(similar, -2)
    k = min(k, similar.shape[1] - 1)
    out = np.empty((len(row), 2 * k + 1), dtype=np.float32)
    for rows in np.array_split(np.arange(len(row)), max(1, len(row) // 4000)):
        near = np.where(seen[row[rows]], similar[column[rows]], np.float32(-2))  # [n, columns]
        which = np.argpartition(-near, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(near, which, 1), axis=1, kind="stable")
        which = np.take_along_axis(which, order, 1)
        close = np.take_along_axis(near, which, 1)
        values = np.take_along_axis(rest[row[rows]], which, 1)
        weight = np.exp(6 * close)
        out[rows] = np.hstack([values, close, ((values * weight).sum(1) / weight.sum(1))[:, None]])
    return out
