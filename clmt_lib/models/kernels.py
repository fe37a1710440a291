"""Pairwise (Kronecker) kernel ridge on observed pairs, and its learned-kernel sister (chapter 08).

Each side of a benchmark has a kernel of its own, chosen by name: of omics, structures, sequences,
annotation or texts, whatever the side has.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from clmt_lib.data.base import Benchmark
from clmt_lib.data.response.auxiliary import AuxiliaryOmics
from clmt_lib.data.splits import Split
from clmt_lib.io import DataError
from clmt_lib.models.base import Candidate, TableModel, cosine
from clmt_lib.models.baselines.factors import factorise
from clmt_lib.models.baselines.linear import per_drug_targets
from clmt_lib.models.known import joined, training_set, whole_split
from clmt_lib.tasks.metrics import additive_effects
from clmt_lib.views.controls import morgan_bits, text_vectors
from clmt_lib.views.molecules import (
    count_fingerprints,
    count_similarity,
    descriptors,
    jaccard,
    membership,
    normal_scores,
)
from clmt_lib.views.omics import average_platforms, binary, fit_omics, train_cells
from clmt_lib.views.proteins import kmer_counts
from clmt_lib.views.text import centred

# Stopping early looks right to a correlation and wrong to an error. Where it stops hangs on the
# last bits of the sums, so predictions are the same on other processors and with more threads only
# as far as the system is solved
TOLERANCE, ROUGH, MOST_STEPS = 1e-7, 1e-5, 1500
Eigen = tuple[np.ndarray, np.ndarray]  # of a kernel: values [n], vectors [n, n]


def solve_pairs(
    k_row: np.ndarray,
    k_column: np.ndarray,
    residual: np.ndarray,
    seen: np.ndarray,
    ridge: float,
    start: np.ndarray | None = None,
    eigen: Eigen | None = None,
    tolerance: float | None = None,
    precision: type[np.floating] = np.float64,
) -> np.ndarray:
    """Dual weights A of kernel ridge on the seen pairs: (K_row A K_column)[seen] + ridge A =
    residual, by preconditioned conjugate gradients.

    A pair's kernel is the product of its row's and its column's (Kronecker), so one step costs two
    matrix products over entities, not one over pairs.

    Parameters
    ----------
    k_row [R, R], k_column [C, C] : positive semi-definite kernels
    residual [R, C] : targets; seen [R, C] bool : where they count
    start [R, C] : a first guess
    eigen : of the row kernel among rows that have a pair, where many systems share it
    tolerance : relative residual to stop at, 1e-7 unless given; `ROUGH` where the solution is a
        step of something longer; 3e-3 is enough for four digits of an MSE, and an order of
        magnitude faster
    precision : of the arithmetic; np.float32 halves the time, and cannot reach a tolerance of 1e-5

    Returns
    -------
    A [R, C], zero where not seen.

    Raises
    ------
    ArithmeticError
        1,500 steps leave a relative residual above 1e-4, or above ten times the tolerance.
    """
    k_row, k_column = k_row.astype(precision, copy=False), k_column.astype(precision, copy=False)
    rows, columns = seen.any(1), seen.any(0)  # an entity without a pair has no weight
    some = np.ix_(rows, columns)
    k_row, k_column = k_row[np.ix_(rows, rows)], k_column[np.ix_(columns, columns)]
    w, target = seen[some].astype(precision), np.where(seen, residual, 0.0)[some].astype(precision)
    eigen = np.linalg.eigh(k_row) if eigen is None else eigen
    full = _full_table_inverse(eigen, np.linalg.eigh(k_column), w.mean(), ridge)

    out = np.zeros(seen.shape, dtype=precision)
    out[some] = _conjugate_gradients(
        lambda a: w * (k_row @ a @ k_column) + ridge * a,
        lambda rest: w * full(rest),
        target,
        0 * target if start is None else start[some].astype(precision) * w,
        TOLERANCE if tolerance is None else tolerance,
    )
    return out


def _conjugate_gradients(
    apply: Callable[[np.ndarray], np.ndarray],
    near: Callable[[np.ndarray], np.ndarray],
    target: np.ndarray,
    a: np.ndarray,
    tolerance: float,
) -> np.ndarray:
    """Solve apply(a) = target from a first guess, `near` being a rough inverse of `apply` (the
    preconditioner).
    """
    rest = target - apply(a)
    step = near(rest)
    size, goal = np.vdot(rest, step), tolerance**2 * np.vdot(target, target)
    for _ in range(MOST_STEPS):
        if np.vdot(rest, rest) <= goal:
            break
        image = apply(step)
        length = size / np.vdot(step, image)
        a = a + length * step
        rest = rest - length * image
        close = near(rest)
        new = np.vdot(rest, close)
        step, size = close + (new / size) * step, new
    left = np.sqrt(np.vdot(rest, rest) / max(np.vdot(target, target), np.finfo(float).tiny))
    if left > 10 * max(tolerance, ROUGH):
        raise ArithmeticError(
            f"conjugate gradients stopped at relative residual {left:.1e}: raise the ridge"
        )
    return a


def _full_table_inverse(row: Eigen, column: Eigen, density: float, ridge: float):
    """What would solve the system at once if no pair were missing (two eigendecompositions); with
    some missing it makes conjugate gradients start close.
    """
    (l_row, u_row), (l_column, u_column) = row, column
    spectrum = density * np.outer(l_row, l_column).clip(0) + ridge
    return lambda rest: u_row @ ((u_row.T @ rest @ u_column) / spectrum) @ u_column.T


def correlation(rows: np.ndarray) -> np.ndarray:
    """[n, n] Pearson correlation of rows."""
    return cosine(rows - rows.mean(1, keepdims=True))


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[n, m] squared distances between the rows of a [n, features] and of b [m, features]."""
    size = (a**2).sum(1)[:, None] + (b**2).sum(1)[None]
    return np.maximum(size - 2 * a @ b.T, 0)


def bandwidth(distance: np.ndarray, rows: np.ndarray) -> float:
    """Median of a table of squared distances [n, n] among `rows`; 1 where these are too few."""
    if len(rows) < 2:
        return 1.0
    return max(np.median(distance[np.ix_(rows, rows)][np.triu_indices(len(rows), 1)]), 1e-12)


def rbf(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[n, n] RBF kernel of the rows of x [n, features], bandwidth the median squared distance among
    `rows`.
    """
    distance = squared_distances(x, x)
    return np.exp(-distance / bandwidth(distance, rows))


def masked(kernel: np.ndarray, there: np.ndarray) -> np.ndarray:
    """A kernel [n, n] that is 0 wherever an entity lacks what it is made of (`there` [n] bool)."""
    return kernel if there.all() else kernel * np.outer(there, there)


def with_supervised_weights(x: np.ndarray, target: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """x [C, features] with each feature weighted by the root mean square of its correlations with
    the training targets [C, D] over `rows`; mean square weight 1.
    """
    return x * unit(np.sqrt(((x[rows].T @ target[rows] / max(len(rows), 1)) ** 2).mean(1)))


def unit(weight: np.ndarray) -> np.ndarray:
    """Weights [features] scaled to a mean square of 1."""
    return weight / max(np.sqrt((weight**2).mean()), 1e-12)


def line_kernels(
    benchmark: Benchmark,
    part: Split,
    target: np.ndarray,
    auxiliary: AuxiliaryOmics | None = None,
) -> dict[str, np.ndarray]:
    """Kernels [C, C] of lines: plain expression; expression, mutation, copy number (and events)
    weighted by what they tell of `target` [C, D] (0 where unknown); same tissue. A line that lacks
    a view resembles none by it, itself neither.

    Parameters
    ----------
    part : split whose training lines scale the features
    auxiliary : `AuxiliaryOmics` or None: expression is the mean of both measurements, and
        there is a kernel of events

    Returns
    -------
    dict of kernels; `z` [C, genes] is the expression behind them, `events` [C, events] under "hits"
    the events.
    """
    rows = train_cells(benchmark, part)
    z, copies = (
        fit_omics(benchmark, part)(benchmark),
        fit_omics(benchmark, part, "copy_number")(benchmark),
    )
    lines = benchmark.sides[0]
    tissue = lines.frame["tissue"].fillna("unknown").to_numpy()

    def told(kind: str, x: np.ndarray) -> np.ndarray:
        known = rows[lines.has(kind)[rows]]
        return masked(rbf(with_supervised_weights(x, target, known), known), lines.has(kind))

    hit = binary(lines.views["mutation"], rows[lines.has("mutation")[rows]])
    out = {"mutation": told("mutation", hit), "copies": told("copy_number", copies)}
    if auxiliary is not None and len(auxiliary.expression.columns):
        genes = benchmark.sides[0].views["expression"].columns
        z = average_platforms(z, genes, auxiliary.expression, rows)
    if auxiliary is not None and len(auxiliary.events.columns):
        hits = binary(auxiliary.events.fillna(0.0), rows)
        out.update(hits=hits, events=rbf(with_supervised_weights(hits, target, rows), rows))
    return {
        **out,
        "z": z,
        "plain": masked(rbf(z, rows), lines.has("expression")),
        "expression": told("expression", z),
        "tissue": (tissue[:, None] == tissue[None]).astype(float),
    }


def all_omics(k: dict[str, np.ndarray]) -> np.ndarray:
    """[C, C] 0.3 + everything in `line_kernels` + 0.5 I."""
    events = 0.3 * k["events"] if "events" in k else 0.0
    return (
        0.3
        + k["expression"]
        + 0.3 * k["mutation"]
        + 0.2 * k["copies"]
        + 0.2 * k["tissue"]
        + events
        + 0.5 * np.eye(len(k["expression"]))
    )


# kind -> source of its vectors, sharpnesses s of exp(s (cos - 1)), whether what all training texts
# share is taken off (in a long text it is most)
TEXTS = {
    "text": ("annotation", (5.0, 10.0), False),
    "words": ("words", (2.0, 5.0), False),
    "mechanism": ("mechanism", (2.0, 5.0), True),
    "long": ("long", (2.0, 5.0), True),
    "name": ("name", (5.0, 10.0), False),
    "shuffled": ("shuffled", (5.0, 10.0), False),
    "random": ("random", (10.0,), False),
}
CONTROLS = (
    "shuffled",
    "random",
)  # vectors dealt to the drugs of one benchmark: no new drug has one
FACTS = {  # kind -> columns of the frame that it reads
    "identity": (),
    "fingerprint": ("smiles",),
    "counts": ("smiles",),
    "structure": ("smiles",),
    "pathway": ("pathway",),
    "targets": ("target",),
    "annotation": ("target", "pathway"),
}
VIEWS = {  # kind -> views of the side that it reads
    "expression": ("expression",),
    "omics": ("expression", "mutation", "copy_number"),
    "auxiliary": ("expression", "mutation", "copy_number"),
    "masked": ("expression", "mutation", "copy_number"),
    "kmers": ("sequence",),
}
COUNTS = 3.0  # sharpness s of exp(s (similarity of counts - 1))
KINDS = ("auto", *FACTS, *TEXTS, *VIEWS)


def suited(benchmark: Benchmark, axis: int, kind: str) -> str:
    """`kind`, or what "auto" stands for on a side: expression, else k-mers of sequences, else
    fingerprints of structures, else identity.

    Raises
    ------
    DataError
        Unknown kind, or one that reads what the side does not have.
    """
    side = benchmark.sides[axis]

    def lacks(kind: str) -> list[str]:
        views = [f"view {view!r}" for view in VIEWS.get(kind, ()) if view not in side.views]
        wanted = FACTS.get(kind, ())
        return views + [f"column {name!r}" for name in wanted if name not in side.frame]

    if kind == "auto":
        order = ("expression", "kmers", "fingerprint", "identity")
        return next(kind for kind in order if not lacks(kind))
    if kind not in KINDS:
        raise DataError(
            f"unknown kernel {kind!r}", remedy=f"use {', '.join(KINDS[:-1])} or {KINDS[-1]}"
        )
    if lacks(kind):
        raise DataError(
            f"{side.name}s of {benchmark.name} have no {lacks(kind)[0]}, which the kernel {kind!r} "
            "reads",
            remedy="use another kernel, or auto",
        )
    return kind


def side_kernels(
    benchmark: Benchmark, axis: int, kind: str, split: Split | None = None
) -> list[tuple[dict[str, float], np.ndarray]]:
    """Candidates for k [n, n] among the entities of one side: [(setting, k), ...].

    Fitted, on training entities alone: the scale and the bandwidth of expression, the centre of a
    long text.

    Parameters
    ----------
    kind : identity (nothing), fingerprint (Tanimoto of Morgan bits), counts (exp(3 (t - 1)) of the
        same for counts), structure (half of that, half an RBF of descriptors), pathway (the same),
        targets (Jaccard of those listed), annotation (half of each); kmers (cosine of the counts
        of three residues, the spectrum kernel of Leslie et al. 2002); expression (RBF); or
        exp(s (cos - 1)) of embeddings: text (of a sentence with target and pathway), words (counts
        of the words of the same sentence, no encoder), mechanism (of a paragraph on how the drug
        works), long (both, and what pathway and targets do in a cell),
        and as controls name (of nothing else), shuffled (the sentences, dealt to other compounds),
        random (no text at all)

    Raises
    ------
    DataError
        Unknown kind, one that the side does not serve, or one that is fitted without a split.
    """
    kind, side = suited(benchmark, axis, kind), benchmark.sides[axis]
    if kind == "structure":
        rows = np.unique(benchmark.pairs[_needed(split, kind).train, axis])
        shape = normal_scores(descriptors(side.frame["smiles"]), rows)
        return [({}, 0.5 * _likeness(side.frame, "counts") + 0.5 * rbf(shape, rows))]
    if kind in FACTS:
        if kind == "fingerprint":
            return [({}, jaccard(morgan_bits(side)))]
        return [({}, _likeness(side.frame, kind))]
    if kind == "kmers":
        return [({}, cosine(kmer_counts(side.views["sequence"])))]
    if kind == "expression":
        part = _needed(split, kind)
        z = fit_omics(benchmark, part, "expression")(benchmark)
        return [({}, rbf(z, train_cells(benchmark, part)))]
    if kind not in TEXTS:
        raise DataError(f"{kind} is a sum of kernels", remedy="use it as the row kernel")
    source, sharpness, centre = TEXTS[kind]
    z = text_vectors(side, source)
    if centre:
        z = centred(z, np.unique(benchmark.pairs[_needed(split, kind).train, axis]))
    likeness = cosine(z)
    return [({"sharpness": s}, np.exp(s * (likeness - 1))) for s in sharpness]


def _needed(split: Split | None, kind: str) -> Split:
    if split is None:
        raise DataError(
            f"the {kind} kernel is fitted on training entities", remedy="pass the split"
        )
    return split


def drug_kernels(
    benchmark: Benchmark, kind: str, split: Split | None = None
) -> list[tuple[dict[str, float], np.ndarray]]:
    """`side_kernels` of the columns."""
    return side_kernels(benchmark, 1, kind, split)


def _likeness(frame, kind: str) -> np.ndarray:
    """[n, n] similarity of a kind in `FACTS`."""
    if kind == "identity":
        return np.zeros((len(frame), len(frame)))
    if kind == "counts":
        counts = count_fingerprints(frame["smiles"]).toarray()
        return np.exp(COUNTS * (count_similarity(counts, counts) - 1))
    if kind == "targets":
        return jaccard(membership(frame["target"]))
    pathway = jaccard(membership(frame["pathway"].str.replace(",", ";")))
    if kind == "pathway":
        return pathway
    return 0.5 * jaccard(membership(frame["target"])) + 0.5 * pathway


def same_entity(benchmark: Benchmark, axis: int) -> np.ndarray:
    """[n, n] 1 where two ids of a side are one thing (two ids of a compound), else 0."""
    side = benchmark.sides[axis]
    code = np.unique(side.keys[side.identity], return_inverse=True)[1]
    return (code[:, None] == code[None]).astype(float)


@dataclass
class KernelRidge(TableModel):
    """Pairwise kernel ridge on the residuals of the column effects.

    K_row = 0.3 + k + 0.5 [same entity], K_column = 0.3 + k + s [same entity]; the prediction is
    base + K_row A K_column, A from `solve_pairs`.

    Parameters
    ----------
    row_kernel : a kind of `side_kernels`; or omics, the sum of `line_kernels`, on responses
        standardised per drug; or auxiliary, the same with what `data.response.auxiliary` knows of
        the lines, zeros where it knows nothing; or masked, the same, but a line is predicted from
        what was measured of it (one system of equations for each pattern of measurements)
    column_kernel : a kind of `side_kernels`
    ridges : tried on the validation set, as is the weight s of [same entity]
    """

    row_kernel: str = "auto"
    column_kernel: str = "auto"
    ridges: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0)
    same: tuple[float, ...] = (0.2, 0.5)

    def __post_init__(self) -> None:
        for kind in (self.row_kernel, self.column_kernel):
            if kind not in KINDS:
                raise DataError(f"unknown kernel {kind!r}", remedy=f"use one of {', '.join(KINDS)}")

    def fit(self, benchmark: Benchmark, split: Split) -> "KernelRidge":
        """Fit on train, choose ridge and column-kernel settings on valid."""
        mean, _, column = additive_effects(benchmark, split.train)
        y = benchmark.matrix(split.train)
        seen, base = np.isfinite(y), mean + np.broadcast_to(column[None], y.shape)
        patterns, spread = self._rows(benchmark, split)
        rows = seen.any(1)
        eigen = [np.linalg.eigh(k_row[np.ix_(rows, rows)]) for _, _, k_row in patterns]

        def candidates() -> Iterator[Candidate]:
            for setting, k_column in self._columns(benchmark, split, self.same):
                weights: dict[str, np.ndarray] = {}
                for ridge in sorted(self.ridges, reverse=True):
                    table = np.empty(y.shape)
                    for (name, asked, k_row), own in zip(patterns, eigen, strict=True):
                        weights[name] = solve_pairs(
                            k_row,
                            k_column,
                            (y - base) / spread,
                            seen,
                            ridge,
                            weights.get(name),
                            own,
                        )
                        found = base + k_row @ weights[name] @ k_column * spread
                        table[asked] = found[asked]
                    yield {**setting, "ridge": ridge}, table, {**weights, "drug": column}

        self.choose(benchmark, split, candidates())
        views = VIEWS.get(suited(benchmark, 0, self.row_kernel), ())
        views += VIEWS.get(suited(benchmark, 1, self.column_kernel), ())
        self.known, self.kind = training_set(benchmark, split, views), split.kind
        some = np.ix_(rows, seen.any(0))
        kept = {name: self.fitted[name][some] for name, _, _ in patterns}
        self.weights = kept.get("weights", kept)  # of one system, or of each pattern by its name
        return self

    def _rows(
        self, benchmark: Benchmark, split: Split
    ) -> tuple[list[tuple[str, np.ndarray, np.ndarray]], np.ndarray | float]:
        """([(name of the weights, [R] bool rows that are predicted by it, K_row [R, R])], what the
        residuals of each column [C] are divided by).
        """
        every = np.ones(benchmark.shape[0], dtype=bool)
        kind = suited(benchmark, 0, self.row_kernel)
        if kind not in ("omics", "auxiliary", "masked"):
            k = side_kernels(benchmark, 0, kind, split)[0][1]
            return [("weights", every, 0.3 + k + 0.5 * same_entity(benchmark, 0))], 1.0
        target, _, spread, _ = per_drug_targets(benchmark, split)
        more = None if kind == "omics" else self.load_auxiliary(benchmark)
        patterns = [("weights", every, more)]
        if kind == "masked" and more is not None:
            patterns = [(f"weights of {name}", asked, own) for name, asked, own in more.patterns()]
        target = np.nan_to_num(target)
        return [
            (name, asked, all_omics(line_kernels(benchmark, split, target, own)))
            for name, asked, own in patterns
        ], spread

    def _columns(self, benchmark: Benchmark, split: Split, weights_of_same):
        """(setting, K_column [C, C]) of every candidate."""
        one = same_entity(benchmark, 1)
        for setting, k in side_kernels(benchmark, 1, self.column_kernel, split):
            for same in weights_of_same:
                yield {**setting, "same": same}, 0.3 + k + same * one

    def new_table(self, benchmark: Benchmark, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """[rows, columns] from the kernels between new entities and those of the training set."""
        check_dealt(self.row_kernel, self.column_kernel)
        (n, m), chosen = self.known.shape, dict(self.chosen)
        del chosen["ridge"]
        joint, rows, columns = joined(self.known, benchmark, rows, columns)
        split = whole_split(self.known, self.kind)
        mean, _, column = additive_effects(joint, split.train)
        patterns, spread = self._rows(joint, split)
        k_column = next(
            k for found, k in self._columns(joint, split, [chosen["same"]]) if found == chosen
        )
        spread = np.broadcast_to(spread, len(column))
        kept = self.weights if isinstance(self.weights, dict) else {"weights": self.weights}
        dual = np.empty((len(rows), len(columns)))
        for name, asked, k_row in patterns:
            if name not in kept:  # no line of this pattern was there at fit
                y = joint.matrix(split.train)
                rest = (y - mean - column) / spread
                ridge = self.chosen["ridge"]
                solved = solve_pairs(k_row, k_column, rest, np.isfinite(y), ridge)
                kept[name] = solved[:n, :m]
            here = asked[rows]
            dual[here] = k_row[rows[here], :n] @ kept[name] @ k_column[:m][:, columns]
        return mean + column[columns] + dual * spread[columns]


def check_dealt(*kinds: str) -> None:
    """Raises DataError where a kernel is a control, whose vectors a new drug does not have."""
    dealt = next((kind for kind in kinds if kind in CONTROLS), None)
    if dealt is not None:
        raise DataError(
            f"the kernel {dealt!r} is dealt to the drugs of one benchmark: it knows no new entity",
            remedy="use a kernel of facts or texts",
        )


@dataclass
class LearnedKernelRidge(TableModel):
    """Kernel ridge whose kernels are read off the training responses themselves: no feature at all.

    The training matrix is factorised; the correlations R of its *denoised* residuals (factorisation
    minus drug + cell effects), between lines and between drugs, give
    kernels 0.3 + exp(sharpness (R - 1)) + 0.3 I; R is recomputed once from the ridge's own
    prediction. Residuals are scaled by the drug's spread.

    Of a new entity no residual is known: its prediction is the additive effect of the other side's.

    Parameters
    ----------
    ridges : tried on the validation set
    scale : divide residuals by each drug's training standard deviation
    """

    rank: int = 60
    als_ridge: float = 10.0
    ridges: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    sharpness: float = 3.0
    rounds: int = 2
    scale: bool = True

    def fit(self, benchmark: Benchmark, split: Split) -> "LearnedKernelRidge":
        """Fit on train, choose the ridge on valid."""
        mean, cell, drug = additive_effects(benchmark, split.train)
        self.mean, self.row, self.column = mean, cell, drug
        y = benchmark.matrix(split.train)
        seen, base = np.isfinite(y), mean + cell[:, None] + drug[None]
        rest = np.where(seen, y - base, 0.0)
        spread = (
            np.sqrt((rest**2).sum(0) / np.maximum(seen.sum(0), 1))
            if self.scale
            else np.ones(len(drug))
        )
        spread = np.where(spread > 1e-6, spread, 1.0)
        u, v = factorise(rest / spread, seen, self.rank, self.als_ridge)

        def candidates() -> Iterator[Candidate]:
            for ridge in self.ridges:
                smooth = u @ v.T
                for _ in range(self.rounds):
                    k_cell, k_drug = self._kernel(smooth), self._kernel(smooth.T)
                    weights = solve_pairs(k_cell, k_drug, rest / spread, seen, ridge)
                    smooth = k_cell @ weights @ k_drug
                yield (
                    {"ridge": ridge},
                    base + smooth * spread,
                    {"weights": weights, "u": u, "v": v, "spread": spread},
                )

        return self.choose(benchmark, split, candidates())

    def _kernel(self, rows: np.ndarray) -> np.ndarray:
        return 0.3 + np.exp(self.sharpness * (correlation(rows) - 1)) + 0.3 * np.eye(len(rows))

    def new_table(self, benchmark: Benchmark, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """[rows, columns] additive effects."""
        row = self.padded(self.row, benchmark, 0, rows)
        return self.mean + row[:, None] + self.padded(self.column, benchmark, 1, columns)
