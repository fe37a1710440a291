"""Ridge over drugs, for compounds nobody has screened on lines that everybody has: what a drug
kernel knows is all that differs (chapter 09b).

Where a drug is like no other, there is one more place to look: its targets in the lines (`states`).
"""

from dataclasses import dataclass

import numpy as np

from clmt_lib.data.base import Benchmark
from clmt_lib.data.splits import Split
from clmt_lib.io import DataError
from clmt_lib.models.base import TableModel
from clmt_lib.models.baselines.factors import filled
from clmt_lib.models.kernels import FACTS, TEXTS, check_dealt, drug_kernels, same_entity
from clmt_lib.models.known import joined, training_set, whole_split
from clmt_lib.views.controls import STEPS_VIEW
from clmt_lib.views.genesets import reactome, steps, target_genes
from clmt_lib.views.molecules import jaccard
from clmt_lib.views.omics import fit_omics, train_cells

PARTS = (*FACTS, *TEXTS, "steps")


@dataclass
class DrugRidge(TableModel):
    """Kernel ridge over drugs, on responses standardised per drug: K = 0.3 + the sum of `kinds` +
    0.3 [same compound].

    Standardised, a potent drug counts no more than a weak one, as in the per-drug r. The lines need
    no kernel: every line is known, so one small system over the
    training drugs serves them all (on a table without holes). Holes are filled by a factorisation
    of the training set.

    Parameters
    ----------
    kinds : of `models.kernels.drug_kernels`, or steps (Jaccard of the Reactome sets of up to 100
        genes that hold a target: two drugs of different pathways may share
        a step where they share no target; left out in a simulated world, whose genes are not
        Reactome's). A single part has its sharpness chosen on the validation set.
    ridges : tried on the validation set
    states : shares tried on the validation set of `target_states`, which is added to a drug's
        prediction; (0,) leaves it out
    rank, als_ridge : of the factorisation

    Raises
    ------
    DataError
        Unknown part; or no gene sets for steps.
    """

    kinds: tuple[str, ...] = ("steps", "targets", "text", "mechanism")
    ridges: tuple[float, ...] = (1.0, 2.5, 6.0)
    states: tuple[float, ...] = (0.0,)
    rank: int = 30
    als_ridge: float = 10.0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.kinds) - set(PARTS))
        if unknown or not self.kinds:
            raise DataError(
                f"unknown kind {unknown[0]!r}" if unknown else "no kind",
                remedy=f"use one or more of: {', '.join(PARTS)}",
            )

    def fit(self, benchmark: Benchmark, split: Split) -> "DrugRidge":
        """Fit on train, choose the ridge (and a single part's sharpness) on valid."""
        self.choose(benchmark, split, self._candidates(benchmark, split, self.ridges, self.states))
        views = ("expression", "copy_number", "mutation") if any(self.states) else ()
        self.known, self.kind = training_set(benchmark, split, views), split.kind
        return self

    def _candidates(self, benchmark: Benchmark, split: Split, ridges, shares):
        y = benchmark.matrix(split.train)
        rows = np.flatnonzero(np.isfinite(y).any(0))  # training drugs
        mean, spread = np.nanmean(y[:, rows], axis=0), np.nanstd(y[:, rows], axis=0)
        z = filled(
            (y[:, rows] - mean) / np.where(spread > 1e-6, spread, 1.0), self.rank, self.als_ridge
        )  # [C, training drugs]
        one = 0.3 + 0.3 * same_entity(benchmark, 1)
        offset, scale = (
            np.full(y.shape[1], mean.mean()),
            np.full(y.shape[1], spread.mean()),
        )  # a new drug's potency is not known
        offset[rows], scale[rows] = mean, spread
        states = target_states(benchmark, split, z) if any(shares) else 0.0
        for setting, k in self._kernels(benchmark, split):
            among, to_all = (one + k)[np.ix_(rows, rows)], (one + k)[rows]
            for ridge in ridges:
                weights = np.linalg.solve(
                    among + ridge * np.eye(len(rows)), z.T
                ).T  # [C, training drugs]
                for share in shares:
                    found = {} if self.states == (0.0,) else {"states": share}
                    table = offset + scale * (weights @ to_all + share * states)
                    yield (
                        {**setting, "ridge": ridge, **found},
                        table,
                        {"weights": weights, "mean": mean, "spread": spread},
                    )

    def new_table(self, benchmark: Benchmark, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """[rows, columns]: a new drug from its kernel with those of the training set, a new line as
        the mean of the drug (and the state of its targets); the small system is solved again.
        """
        check_dealt(*self.kinds)
        joint, rows, columns = joined(self.known, benchmark, rows, columns)
        split = whole_split(self.known, self.kind)
        ridges, shares = [self.chosen["ridge"]], [self.chosen.get("states", 0.0)]
        for found, table, _ in self._candidates(joint, split, ridges, shares):
            if found == self.chosen:
                return table[np.ix_(rows, columns)]
        raise AssertionError(f"{self.chosen} is none of the candidates")

    def _kernels(self, benchmark: Benchmark, split: Split):
        """[(setting, k [D, D])]: every candidate of a single part, else the one sum."""
        if len(self.kinds) == 1 and self.kinds != ("steps",):
            return drug_kernels(benchmark, self.kinds[0], split)
        return [({}, sum(drug_part(benchmark, part, split) for part in self.kinds))]


def drug_part(benchmark: Benchmark, part: str, split: Split | None) -> np.ndarray | float:
    """[D, D] kernel of one part of a sum: of an embedding the sharper kernel of a short text, the
    softer one of a long one.
    """
    if part == "steps":
        if STEPS_VIEW in benchmark.sides[1].views:
            return jaccard(np.asarray(benchmark.sides[1].views[STEPS_VIEW], dtype=np.float64))
        return 0.0 if benchmark.simulated else jaccard(steps(benchmark.sides[1].frame, reactome()))
    return drug_kernels(benchmark, part, split)[-1 if part == "text" else 0][1]


def target_states(
    benchmark: Benchmark, split: Split, z: np.ndarray, rank: int = 20, loose: float = 0.2
) -> np.ndarray:
    """[C, D] how much of a drug's targets a line has: their expression, mutations and copies, as
    far as responses to other drugs know of them.

    A line that lives by a gene often has more of it, and dies of less drug against it. Most of a
    gene's variation has no such meaning, so it is cut down to the part that
    lies in the main directions of the lines' responses, their mean apart.

    Parameters
    ----------
    z : [C, training drugs] standardised responses without holes; only training lines are read
    rank : directions
    loose : share at which the part outside of them enters

    Returns
    -------
    In standard deviations, negative where there is much; 0 for a drug whose targets are not in the
    tables.
    """
    rows, state = train_cells(benchmark, split), np.zeros(benchmark.shape)
    lines, drugs = benchmark.sides
    genes, mutation = target_genes(drugs.frame), lines.views["mutation"].to_numpy(np.float64)
    tables = {
        "expression": fit_omics(benchmark, split)(benchmark),
        "copy_number": fit_omics(benchmark, split, "copy_number")(benchmark),
        "mutation": mutation,
    }
    for kind, x in tables.items():
        there = lines.has(kind)
        place = {gene: i for i, gene in enumerate(lines.views[kind].columns)}
        for drug, own in enumerate(genes):
            columns = sorted(place[gene] for gene in own if gene in place)
            if columns and kind == "mutation":
                hit = x[:, columns].max(1)
                state[:, drug] -= (
                    4 * there * (hit - hit[rows[there[rows]]].mean())
                )  # a frequent driver gene's 0/1 to about the spread of the others
            elif columns:
                state[:, drug] -= x[:, columns].mean(1)
    z = z[rows]
    line = z.mean(1) - z.mean()
    rest = z - np.outer(line, line @ z / max(line @ line, 1e-12))
    directions = np.linalg.svd(rest - rest.mean(0), full_matrices=False)[0][:, :rank]
    out = loose * state  # all that is known of a line without responses
    out[rows] += directions @ (directions.T @ state[rows])
    return out
