"""Pairwise (Kronecker) kernel ridge on observed pairs, and its learned-kernel sister (chapter 08)."""

from dataclasses import dataclass

import numpy as np

from clmt_lib.io import DataError
from clmt_lib.models.base import TableModel, check_names, cosine
from clmt_lib.models.baselines.factors import factorise
from clmt_lib.models.baselines.linear import per_drug_targets
from clmt_lib.tasks.metrics import additive_effects
from clmt_lib.views.controls import drug_vectors
from clmt_lib.views.molecules import fingerprints, jaccard, membership
from clmt_lib.views.omics import average_platforms, binary, fit_omics, train_cells
from clmt_lib.views.text import centred

TOLERANCE, MOST_STEPS = (
    1e-5,
    1500,
)  # stopping early looks right to a correlation and wrong to an error: solve to tolerance


def solve_pairs(k_cell, k_drug, residual, seen, ridge, start=None):
    """Dual weights A of kernel ridge on the seen pairs: (K_cell A K_drug)[seen] + ridge A =
    residual, by preconditioned conjugate gradients.

    A pair's kernel is the product of its line's and its drug's (Kronecker), so one step costs two
    matrix products over entities, not one over pairs.

    Parameters
    ----------
    k_cell [C, C], k_drug [D, D] : positive semi-definite kernels
    residual [C, D] : targets; seen [C, D] bool : where they count
    start [C, D] : a first guess

    Returns
    -------
    A [C, D], zero where not seen.

    Raises
    ------
    ArithmeticError
        1,500 steps leave a relative residual above 1e-4; it stops at 1e-5.
    """
    cells, drugs = seen.any(1), seen.any(0)  # an entity without a pair has no weight
    some = np.ix_(cells, drugs)
    k_cell, k_drug = k_cell[np.ix_(cells, cells)], k_drug[np.ix_(drugs, drugs)]
    w, target = seen[some].astype(float), np.where(seen, residual, 0.0)[some]
    full = _full_table_inverse(k_cell, k_drug, w.mean(), ridge)

    out = np.zeros(seen.shape)
    out[some] = _conjugate_gradients(
        lambda a: w * (k_cell @ a @ k_drug) + ridge * a,
        lambda rest: w * full(rest),
        target,
        0 * target if start is None else start[some] * w,
    )
    return out


def _conjugate_gradients(apply, near, target, a):
    """Solve apply(a) = target from a first guess, `near` being a rough inverse of `apply` (the
    preconditioner).
    """
    rest = target - apply(a)
    step = near(rest)
    size, goal = np.vdot(rest, step), TOLERANCE**2 * np.vdot(target, target)
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
    if np.vdot(rest, rest) > 100 * goal:
        left = np.sqrt(np.vdot(rest, rest) / np.vdot(target, target))
        raise ArithmeticError(
            f"conjugate gradients stopped at relative residual {left:.1e}: raise the ridge"
        )
    return a


def _full_table_inverse(k_cell, k_drug, density, ridge):
    """What would solve the system at once if no pair were missing (two eigendecompositions); with
    some missing it makes conjugate gradients start close.
    """
    (l_cell, u_cell), (l_drug, u_drug) = np.linalg.eigh(k_cell), np.linalg.eigh(k_drug)
    spectrum = density * np.outer(l_cell, l_drug).clip(0) + ridge
    return lambda rest: u_cell @ ((u_cell.T @ rest @ u_drug) / spectrum) @ u_drug.T


def correlation(rows):
    """[n, n] Pearson correlation of rows."""
    return cosine(rows - rows.mean(1, keepdims=True))


def rbf(x, rows):
    """[n, n] RBF kernel of the rows of x [n, features], bandwidth the median squared distance among
    `rows`.
    """
    square = (x**2).sum(1)
    distance = np.maximum(square[:, None] + square[None] - 2 * x @ x.T, 0)
    width = np.median(distance[np.ix_(rows, rows)][np.triu_indices(len(rows), 1)])
    return np.exp(-distance / max(width, 1e-12))


def expression_kernel(benchmark, split):
    """[C, C] 0.3 + RBF + 0.5 I on expression standardised on training lines, bandwidth the median
    squared distance among them.
    """
    z = fit_omics(benchmark, split, "expression")(benchmark)
    return 0.3 + rbf(z, train_cells(benchmark, split)) + 0.5 * np.eye(len(z))


def with_supervised_weights(x, target, rows):
    """x [C, features] with each feature weighted by the root mean square of its correlations with
    the training targets [C, D] over `rows`; mean square weight 1.
    """
    return x * unit(np.sqrt(((x[rows].T @ target[rows] / len(rows)) ** 2).mean(1)))


def unit(weight):
    """Weights [features] scaled to a mean square of 1."""
    return weight / max(np.sqrt((weight**2).mean()), 1e-12)


def line_kernels(benchmark, part, target, auxiliary=None):
    """Kernels [C, C] of lines: plain expression; expression, mutation, copy number (and events)
    weighted by what they tell of `target` [C, D] (0 where unknown); same tissue.

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
    tissue = benchmark.cells["tissue"].fillna("unknown").to_numpy()
    out = {
        "mutation": rbf(
            with_supervised_weights(binary(benchmark.omics["mutation"], rows), target, rows), rows
        ),
        "copies": rbf(with_supervised_weights(copies, target, rows), rows),
    }
    if auxiliary is not None and len(auxiliary.events.columns):
        z, hits = (
            average_platforms(z, benchmark.omics["expression"].columns, auxiliary.expression, rows),
            binary(auxiliary.events.fillna(0.0), rows),
        )
        out.update(hits=hits, events=rbf(with_supervised_weights(hits, target, rows), rows))
    return {
        **out,
        "z": z,
        "plain": rbf(z, rows),
        "expression": rbf(with_supervised_weights(z, target, rows), rows),
        "tissue": (tissue[:, None] == tissue[None]).astype(float),
    }


def all_omics(k):
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
    "mechanism": ("mechanism", (2.0, 5.0), True),
    "long": ("long", (2.0, 5.0), True),
    "name": ("name", (5.0, 10.0), False),
    "shuffled": ("shuffled", (5.0, 10.0), False),
    "random": ("random", (10.0,), False),
}
FACTS = ("identity", "fingerprint", "pathway", "targets", "annotation")


def drug_kernels(benchmark, kind, split=None):
    """Candidates for k [D, D], from facts about the drugs: [(setting, k), ...]. Only the centred
    ones fit anything: their centre, on the training drugs of `split`.

    Parameters
    ----------
    kind : identity (nothing), fingerprint (Tanimoto), pathway (the same one), targets (Jaccard of
        those listed), annotation (half of each); or exp(s (cos - 1)) of embeddings:
        text (of a sentence with target and pathway), mechanism (of a paragraph on how the drug
        works), long (both, and what pathway and targets do in a cell), and as
        controls name (of nothing else), shuffled (the sentences, dealt to other compounds), random
        (no text at all)

    Raises
    ------
    DataError
        Unknown kind, or one that is centred without a split.
    """
    if kind in FACTS:
        return [({}, _likeness(benchmark.drugs, kind))]
    if kind not in TEXTS:
        raise DataError(
            f"unknown drug kernel {kind!r}",
            remedy=f"use {', '.join([*FACTS, *TEXTS][:-1])} or {[*FACTS, *TEXTS][-1]}",
        )
    source, sharpness, centre = TEXTS[kind]
    if centre and split is None:
        raise DataError(f"the {kind} kernel is centred on training drugs", remedy="pass the split")
    z = drug_vectors(benchmark.drugs, source)
    z = centred(z, np.unique(benchmark.pairs[split.train, 1])) if centre else z
    likeness = cosine(z)
    return [({"sharpness": s}, np.exp(s * (likeness - 1))) for s in sharpness]


def _likeness(drugs, kind):
    """[D, D] similarity of a kind in `FACTS`."""
    if kind == "identity":
        return np.zeros((len(drugs), len(drugs)))
    if kind == "fingerprint":
        return jaccard(fingerprints(drugs))
    target, pathway = (
        (lambda: jaccard(membership(drugs["target"]))),
        (lambda: jaccard(membership(drugs["pathway"].str.replace(",", ";")))),
    )
    return (
        target()
        if kind == "targets"
        else pathway()
        if kind == "pathway"
        else 0.5 * target() + 0.5 * pathway()
    )


@dataclass
class KernelRidge(TableModel):
    """Pairwise kernel ridge: K_cell from expression or all omics, K_drug = 0.3 + k + s [same
    compound].

    Parameters
    ----------
    drug_kernel : a kind of `drug_kernels`
    lines : expression; or omics, the sum of `line_kernels`, on responses standardised per drug; or
        auxiliary, the same with what `data.response.auxiliary` knows of the lines
    ridges : tried on the valid role, as is the weight s of [same compound]
    """

    drug_kernel: str = "text"
    ridges: tuple = (0.1, 0.3, 1.0, 3.0, 10.0)
    same: tuple = (0.2, 0.5)
    lines: str = "expression"

    def __post_init__(self):
        check_names(self, lines=("expression", "omics", "auxiliary"))

    def fit(self, benchmark, split):
        """Fit on train, choose ridge and drug-kernel settings on valid."""
        mean, cell, drug = additive_effects(benchmark, split.train)
        y = benchmark.matrix(split.train)
        seen, base = np.isfinite(y), mean + np.broadcast_to(drug[None], y.shape)
        k_cell, spread = self._lines(benchmark, split)
        compound = benchmark.drugs["compound"].to_numpy()
        one = (compound[:, None] == compound[None]).astype(float)

        def candidates():
            for setting, k in drug_kernels(benchmark, self.drug_kernel, split):
                for same in self.same:
                    weights = None
                    for ridge in sorted(self.ridges, reverse=True):
                        k_drug = 0.3 + k + same * one
                        weights = solve_pairs(
                            k_cell, k_drug, (y - base) / spread, seen, ridge, weights
                        )
                        yield (
                            {**setting, "same": same, "ridge": ridge},
                            base + k_cell @ weights @ k_drug * spread,
                            {"weights": weights, "drug": drug},
                        )

        return self.choose(benchmark, split, candidates())

    def _lines(self, benchmark, split):
        """(kernel of lines [C, C], what the residuals of each drug [D] are divided by)."""
        if self.lines == "expression":
            return expression_kernel(benchmark, split), 1.0
        target, _, spread, _ = per_drug_targets(benchmark, split)
        auxiliary = self.load_auxiliary(benchmark) if self.lines == "auxiliary" else None
        return all_omics(line_kernels(benchmark, split, np.nan_to_num(target), auxiliary)), spread


@dataclass
class LearnedKernelRidge(TableModel):
    """Kernel ridge whose kernels are read off the training responses themselves: no feature at all.

    The training matrix is factorised; the correlations R of its *denoised* residuals (factorisation
    minus drug + cell effects), between lines and between drugs, give
    kernels 0.3 + exp(sharpness (R - 1)) + 0.3 I; R is recomputed once from the ridge's own
    prediction. Residuals are scaled by the drug's spread.

    Parameters
    ----------
    ridges : tried on the valid role
    scale : divide residuals by each drug's training standard deviation
    """

    rank: int = 60
    als_ridge: float = 10.0
    ridges: tuple = (0.05, 0.1, 0.2, 0.4)
    sharpness: float = 3.0
    rounds: int = 2
    scale: bool = True

    def fit(self, benchmark, split):
        """Fit on train, choose the ridge on valid."""
        mean, cell, drug = additive_effects(benchmark, split.train)
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

        def candidates():
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

    def _kernel(self, rows):
        return 0.3 + np.exp(self.sharpness * (correlation(rows) - 1)) + 0.3 * np.eye(len(rows))
