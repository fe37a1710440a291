"""A network whose head is a kernel ridge: views give kernels, and some fifty constants are trained
by gradient through the closed form (chapter 06; results in chapter 09).

Plainly: a kernel ridge with trained weights. Every view of an entity gives one kernel. Where whole
lines or drugs are held out, the responses are turned into their main modes, and each group of modes
has weights of its own for the kernels, and a ridge of its own.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch

from clmt_lib.data.base import Benchmark
from clmt_lib.data.response.auxiliary import with_culture
from clmt_lib.data.splits import Split
from clmt_lib.io import DataError
from clmt_lib.models.base import TableModel, cosine
from clmt_lib.models.baselines.drug_ridge import drug_part, target_states
from clmt_lib.models.baselines.factors import factorise, filled
from clmt_lib.models.baselines.linear import per_drug_targets
from clmt_lib.models.kernels import (
    ROUGH,
    drug_kernels,
    line_kernels,
    masked,
    rbf,
    same_entity,
    solve_pairs,
    with_supervised_weights,
)
from clmt_lib.models.known import joined, training_set, whole_split
from clmt_lib.models.stack import drug_facts
from clmt_lib.nn.contrast import info_nce, multi_view, response_alignment, soft_alignment
from clmt_lib.nn.heads import LossOutput
from clmt_lib.nn.kernel_ridge import PairRidge, StructureKernel, WeightedKernels
from clmt_lib.tasks.metrics import additive_effects
from clmt_lib.training import TrainConfig, train
from clmt_lib.views.controls import DRUG_VIEWS, morgan_bits, text_vectors
from clmt_lib.views.molecules import membership
from clmt_lib.views.omics import binary, train_cells

HEADS = ("pairs", "rows", "columns")
LINES = {  # kernel of lines -> weight that training starts from
    "expression": 0.4,
    "expression, wide": 0.5,
    "expression, narrow": 0.4,
    "mutation": 0.3,
    "copies": 0.2,
    "tissue": 0.2,
    "culture": 0.2,
    "doubling time": 0.1,
    "events": 0.3,
    "constant": 0.3,
}
DRUGS = {  # the same of drugs
    "text": 0.7,
    "text, wide": 0.3,
    "mechanism": 0.7,
    "targets": 0.7,
    "pathway": 0.1,
    "steps": 0.7,
    "fingerprint": 0.1,
    "text, centred": 0.3,
    "annotation, centred": 0.3,
    "fingerprint, centred": 0.3,
    "same": 0.3,
    "constant": 0.3,
}
SEEN_LINES = {"expression": 0.5, "mutation": 0.2, "copies": 0.1, "tissue": 0.05}  # beside structure
SEEN_DRUGS = {"text": 0.05, "annotation": 0.05, "fingerprint": 0.05, "same": 0.2}
RANK = 60  # of the structure vectors
ON_THE_WAY = 100.0  # how much looser than the last one the solves of a training are
MASKS = 2  # each hides one part of the training pairs in so many as there are blocks
MODES = {"rows": (1, 3, 8, 20, 50), "columns": (1, 3, 8, 20, 60)}  # first modes of later groups
RIDGES = {"rows": (0.3, 0.5, 0.8, 1.2, 2.0, 4.0), "columns": (1.0, 2.0, 2.5, 3.0, 4.0, 6.0)}
FEWEST_LINES = 10  # training lines that a measurement of culture must know
SHARE = 0.05  # of `target_states`, where training starts
ALIGNED = 0.3  # weight of the kernel of aligned views, where training starts
ALIGNMENTS = ("hard", "soft", "response")
IN_CONTRAST = {  # head -> views that meet in the contrastive stage
    "rows": ("expression", "mutation", "copies"),
    "columns": ("text", "mechanism", "targets", "fingerprint"),
}
NEW_LINES: dict[str, Any] = {"head": "rows", "steps": 16, "learning_rate": 0.06, "blocks": 8}
NEW_DRUGS: dict[str, Any] = {"head": "columns", "steps": 30, "learning_rate": 0.03, "blocks": 10}


@dataclass(frozen=True, eq=False)
class Problem:
    """What a head for new rows, or for new columns, is fitted on.

    Attributes
    ----------
    axis : 0 where rows are new, 1 where columns are
    known, other : positions of the training entities of this axis, and of the other one
    target : [known, other] standardised responses without holes
    seen : [known, other] bool, which of them were measured
    offset, spread : [C] that turn standardised responses back, column by column
    kernels : kernel -> [n, n] among all entities of this axis
    states : [n, other] what `target_states` says, 0 where it is not read
    """

    axis: int
    known: np.ndarray
    other: np.ndarray
    target: np.ndarray
    seen: np.ndarray
    offset: np.ndarray
    spread: np.ndarray
    kernels: Mapping[str, np.ndarray]
    states: np.ndarray


@dataclass
class KernelHead(TableModel):
    """Kernel ridge whose weights of views and ridges are trained through the solver.

    Prediction of new rows: sum over groups g of modes, K_g[:, train] (K_g[train, train] +
    ridge_g I)^-1 Y V_g V_g', where Y is the standardised training table without holes, V its right
    singular vectors, and K_g = sum over views of exp(a_gv) K_v. What is trained are a and the
    ridges, on what the head says of training entities in blocks that are left out
    (`nn.kernel_ridge.press_residuals`). No weight of a gene or a word is trained.

    An entity that is new on the other side gets the mean of the known ones.

    Where rows and columns are known ("pairs"), one more view tells of structure: singular vectors
    of the denoised table of training responses, each with a trained scale. The kernels of a pair's
    row and column are multiplied, and what is trained on are training pairs that are hidden from
    everything (`nn.kernel_ridge.PairSolve`). A new entity has no structure, its other views alone.

    Parameters
    ----------
    head : "pairs" for known rows and columns, "rows" for new rows, "columns" for new columns
    steps, learning_rate : of the training
    blocks : that the training entities are dealt into, anew in every step; what the split holds out
        together stays together. Of pairs, one in so many is hidden
    culture : read how lines are grown (`data.response.auxiliary.with_culture`), for new rows
    seed : of the dealing
    """

    head: str = "pairs"
    steps: int = 12
    learning_rate: float = 0.08
    blocks: int = 10
    culture: bool = True
    seed: int = 0

    settings_for: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **dict.fromkeys(("cell_blind", "tissue_blind"), NEW_LINES),
        **dict.fromkeys(
            ("drug_blind", "scaffold_blind", "target_blind", "pathway_blind"), NEW_DRUGS
        ),
    }

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise DataError(f"unknown head {self.head!r}", remedy=f"use {', '.join(HEADS)}")

    def fit(self, benchmark: Benchmark, split: Split) -> "KernelHead":
        """Train the constants on the training set, then solve; nothing is chosen on valid."""
        self.remember(benchmark)
        if self.head == "pairs":
            self.constants = self._trained_on_pairs(benchmark, split)
            return self._solved_pairs(benchmark, split)
        benchmark = self._told(benchmark)
        problem = self._problem(benchmark, split)
        self.constants = self._trained(problem, self._groups(benchmark, split, problem))
        return self._solved(benchmark, split, problem)

    def fit_again(self, benchmark: Benchmark, split: Split) -> "KernelHead":
        """Solve again on the training and the validation set, with the constants that were trained
        on the training set.
        """
        split = split.with_validation()
        if self.head == "pairs":
            return self._solved_pairs(benchmark, split)
        benchmark = self._told(benchmark)
        return self._solved(benchmark, split, self._problem(benchmark, split))

    def _told(self, benchmark: Benchmark) -> Benchmark:
        """The benchmark with every view that this model reads."""
        if self.head != "rows" or not self.culture:
            return benchmark
        benchmark = with_culture(benchmark)
        table = benchmark.sides[0].views["culture"]
        if table.notna().any(axis=None):
            digest = hashlib.sha256(table.to_numpy(np.float64).tobytes()).hexdigest()[:16]
            self.also_read = {"culture": int(table.notna().any(axis=1).sum()), "checksum": digest}
        return benchmark

    def _groups(self, benchmark: Benchmark, split: Split, problem: Problem) -> np.ndarray:
        """[known] integer label of what the split would hold out together."""
        side = benchmark.sides[problem.axis]
        keys = [key for axis, key in benchmark.blinded(split.kind) if axis == problem.axis]
        labels = side.keys[keys[0] if keys else side.identity]
        return np.unique(labels[problem.known], return_inverse=True)[1]

    def _problem(self, benchmark: Benchmark, split: Split, again: bool = False) -> Problem:
        """What the head is fitted on; `again` takes the table without holes that `fit` made."""
        make = _new_rows if self.head == "rows" else _new_columns
        return make(benchmark, split, self.whole if again else None)

    def _modes(
        self, problem: Problem, groups: int | None = None
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The target's scores [known, k] on the k modes [k, other] of each group; the sum of their
        products is the target.
        """
        u, s, vt = np.linalg.svd(problem.target, full_matrices=False)
        inside = [mode for mode in MODES[self.head] if mode < len(s)]
        inside = inside if groups is None else inside[: groups - 1]
        edges = [0, *inside, len(s)]
        spans = [slice(i, j) for i, j in zip(edges[:-1], edges[1:], strict=True)]
        return [u[:, span] * s[span] for span in spans], [vt[span] for span in spans]

    def _trained(self, problem: Problem, groups: np.ndarray) -> dict[str, np.ndarray]:
        """Log weights [groups of modes, kernels], log ridges [groups of modes], share of states."""
        start = LINES if self.head == "rows" else DRUGS
        among = np.ix_(problem.known, problem.known)
        kernels = torch.from_numpy(np.stack([k[among] for k in problem.kernels.values()]))
        scores, modes = ([torch.from_numpy(p) for p in part] for part in self._modes(problem))
        states = torch.from_numpy(problem.states[problem.known])
        loss = _loss_of(problem)

        def wrong(net: WeightedKernels, blocks: list[torch.Tensor]) -> LossOutput:
            return loss(net.held_out(kernels, scores, modes, blocks) + net.share * states)

        def build() -> WeightedKernels:
            return WeightedKernels(
                [start.get(name, ALIGNED) for name in problem.kernels],
                RIDGES[self.head][: len(scores)],
                SHARE if problem.states.any() else None,
            )

        rng = np.random.default_rng(self.seed)
        dealt = [_dealt(groups, self.blocks, rng) for _ in range(self.steps)]
        config = TrainConfig(self.steps, self.learning_rate, 0.0, evaluate_every=1, seed=self.seed)
        net, self.history = train(build, wrong, config, batches=dealt)
        return {name: value.numpy() for name, value in net.state_dict().items()}

    def _solved(self, benchmark: Benchmark, split: Split, problem: Problem) -> "KernelHead":
        """Duals of every group, and the table of predictions."""
        self.duals, self.whole = self._duals(problem), problem.target
        n = benchmark.shape[problem.axis]
        self.table = self._table(problem, np.arange(n), benchmark.shape[1 - problem.axis])
        self.fitted = {**self.constants, "duals": self.duals}
        self.known, self.kind = training_set(benchmark, split, VIEWS), split.kind
        return self

    def _duals(self, problem: Problem, without: Sequence[str] = ()) -> np.ndarray:
        """[groups of modes, known, other] dual weights, some views left out."""
        size = len(problem.known)
        solved = []
        for kernel, ridge, score, modes in zip(
            self._mixtures(problem, problem.known, without),
            self.constants["log_ridge"],
            *self._modes(problem, len(self.constants["log_ridge"])),
        ):  # a smaller table has fewer groups of modes than the constants were trained for
            system = kernel[problem.known] + np.exp(ridge) * np.eye(size)
            solved.append(np.linalg.solve(system, score) @ modes)
        return np.stack(solved)

    def _mixtures(
        self, problem: Problem, known: np.ndarray, without: Sequence[str] = ()
    ) -> list[np.ndarray]:
        """[n, known] weighted kernel of every group of modes."""
        left = [name not in without for name in problem.kernels]
        kernels = np.stack([k[:, known] for k in problem.kernels.values()])[left]
        return [np.tensordot(np.exp(a[left]), kernels, 1) for a in self.constants["log_weight"]]

    def _table(self, problem: Problem, asked: np.ndarray, others: int) -> np.ndarray:
        """[rows, columns] predictions for some entities of this axis and all of the other one."""
        known = problem.known[: self.duals.shape[1]]
        z = self.constants["share"] * problem.states[asked]  # [asked, other]
        for without, rows in _patterns(problem, asked):
            duals = self._duals(problem, without) if without else self.duals
            for kernel, dual in zip(self._mixtures(problem, known, without), duals):
                z[rows] = z[rows] + kernel[asked[rows]] @ dual
        every = np.repeat(z.mean(1, keepdims=True), others, axis=1)
        every[:, problem.other] = z
        if problem.axis == 0:
            return problem.offset + problem.spread * every
        return problem.offset[asked] + problem.spread[asked] * every.T

    def carried(
        self, benchmark: Benchmark, asked: np.ndarray, profiles: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """([asked, training columns], [asked, n]) predictions of entities of this head's axis: for
        the training entities of the other axis, and for further ones, of which only profiles are
        known: responses, measured or predicted, to the training entities.

        What the head learnt is linear in the training table, so it carries over to any further
        row: with the modes U_g of the training columns it is sum over groups of
        K_g[asked, train] (K_g[train, train] + ridge_g I)^-1 U_g U_g' profile. What the states of a
        row's own targets add does not carry over.

        Parameters
        ----------
        asked : positions in `benchmark`
        profiles : [training columns, n] in the benchmark's units
        """
        joint, at = self._with_asked(self._told(benchmark), asked)
        problem = self._problem(joint, whole_split(self.known, self.kind), again=True)
        known = problem.known
        offset, spread = problem.offset[known, None], problem.spread[known, None]
        z = (profiles - offset) / spread
        every = np.hstack([problem.target, z])
        found = np.zeros((len(at), every.shape[1]))
        groups = len(self.constants["log_ridge"])
        for kernel, ridge, score in zip(
            self._mixtures(problem, known),
            self.constants["log_ridge"],
            self._modes(problem, groups)[0],
        ):
            size = np.linalg.norm(score, axis=0)
            modes = score[:, size > 1e-9 * max(size.max(), 1e-300)]
            modes = modes / np.linalg.norm(modes, axis=0)  # [training, modes], orthonormal
            system = kernel[known] + np.exp(ridge) * np.eye(len(known))
            found += kernel[at] @ np.linalg.solve(system, modes @ (modes.T @ every))
        rows = problem.target.shape[1]
        found[:, :rows] += self.constants["share"] * problem.states[at]
        found = problem.offset[at, None] + problem.spread[at, None] * found
        return found[:, :rows], found[:, rows:]

    def _with_asked(self, benchmark: Benchmark, asked: np.ndarray) -> tuple[Benchmark, np.ndarray]:
        """(joint benchmark, positions in it) of entities of the axis of this head, which is that
        of new columns.
        """
        nobody = np.zeros(0, dtype=np.int64)
        joint, _, at = joined(self.known, benchmark, nobody, asked, partial=True)
        return joint, at

    def new_table(self, benchmark: Benchmark, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """[rows, columns] from the kernels between new entities and those of the training set."""
        if self.head == "pairs":
            return self._new_pairs(benchmark, rows, columns)
        benchmark = self._told(benchmark)
        joint, rows, columns = joined(self.known, benchmark, rows, columns, partial=True)
        problem = self._problem(joint, whole_split(self.known, self.kind), again=True)
        asked, others = (rows, columns) if problem.axis == 0 else (columns, rows)
        table = self._table(problem, asked, joint.shape[1 - problem.axis])
        return table[:, others] if problem.axis == 0 else table[others]

    def _trained_on_pairs(self, benchmark: Benchmark, split: Split) -> dict[str, np.ndarray]:
        """Constants of a `PairRidge`, from hidden parts of the training pairs."""
        order = np.random.default_rng(self.seed).permutation(len(split.train))
        hidden = [split.train[order[part :: self.blocks]] for part in range(MASKS)]
        seen = [replace(split, train=np.setdiff1d(split.train, part)) for part in hidden]
        masks = [
            (_structured(benchmark, part), *benchmark.pairs[rows].T, benchmark.y[rows])
            for part, rows in zip(seen, hidden, strict=True)
        ]

        def wrong(net: PairRidge, mask: tuple[Any, ...]) -> LossOutput:
            table, row, column, y = mask
            found = table.predicted(net, ON_THE_WAY)[row, column]
            spread = torch.from_numpy(table.spread[column])
            rest = torch.from_numpy(y - table.base[row, column])
            total = ((spread * found - rest) ** 2).mean()
            return LossOutput(total, {"mse": total.detach()})

        config = TrainConfig(self.steps, self.learning_rate, 0.0, evaluate_every=1, seed=self.seed)
        net, self.history = train(lambda: _pair_ridge(masks[0][0]), wrong, config, batches=masks)
        return {name: value.numpy() for name, value in net.state_dict().items()}

    def _solved_pairs(self, benchmark: Benchmark, split: Split) -> "KernelHead":
        """Duals of the training pairs, and the table of predictions."""
        table = _structured(benchmark, split)
        k_row, k_column = self._pair_kernels(table)
        ridge = float(np.exp(self.constants["log_ridge"]))
        duals = solve_pairs(k_row, k_column, table.target, table.seen, ridge)
        self.table = table.base + table.spread * (k_row @ duals @ k_column)
        some = np.ix_(table.seen.any(1), table.seen.any(0))
        self.duals, self.factors = duals[some], table.factors[some]
        self.structure = tuple(
            part[table.seen.any(1 - axis)] for axis, part in enumerate(table.structure)
        )
        self.fitted = {**self.constants, "duals": self.duals}
        self.known, self.kind = training_set(benchmark, split, VIEWS_OF_PAIRS), split.kind
        return self

    def _pair_kernels(self, table: "Structured") -> tuple[np.ndarray, np.ndarray]:
        net = _pair_ridge(table)
        net.load_state_dict({k: torch.from_numpy(v) for k, v in self.constants.items()})
        with torch.no_grad():
            k_row, k_column = net.kernels(*table.tensors())
        return k_row.numpy(), k_column.numpy()

    def _new_pairs(self, benchmark: Benchmark, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """[rows, columns]: a new entity by its views, apart from structure, and without an effect
        of its own.
        """
        joint, rows, columns = joined(self.known, benchmark, rows, columns, partial=True)
        n, m = self.duals.shape
        factors = np.zeros(joint.shape)
        factors[:n, :m] = self.factors
        row_part, column_part = (
            np.vstack([part, np.zeros((size - len(part), part.shape[1]))])
            for size, part in zip(joint.shape, self.structure, strict=True)
        )
        split = whole_split(self.known, self.kind)
        table = replace(_structured(joint, split, factors), structure=(row_part, column_part))
        k_row, k_column = self._pair_kernels(table)
        found = k_row[rows, :n] @ self.duals @ k_column[:m][:, columns]
        return table.base[np.ix_(rows, columns)] + table.spread[columns] * found


VIEWS = ("expression", "mutation", "copy_number", "culture", "events", *DRUG_VIEWS)
VIEWS_OF_PAIRS = tuple(view for view in VIEWS if view not in ("culture", "events"))
OF_VIEW = {  # view of a line that may be missing -> kernels that are made of it
    "expression": ("expression", "expression, wide", "expression, narrow"),
    "mutation": ("mutation",),
    "copy_number": ("copies",),
    "events": ("events",),
}


def _patterns(problem: Problem, asked: np.ndarray) -> list[tuple[tuple[str, ...], np.ndarray]]:
    """[(kernels that they lack, positions in `asked`)]: where nothing was measured, nothing stands
    in for it, and an entity is predicted by kernels of what it has.
    """
    views = [names for names in OF_VIEW.values() if names[0] in problem.kernels]
    if problem.axis == 1 or not views:
        return [((), np.arange(len(asked)))]
    has = np.column_stack([problem.kernels[names[0]][asked, asked] > 0 for names in views])
    out = []
    for pattern in np.unique(has, axis=0):
        without = tuple(n for names, there in zip(views, pattern) if not there for n in names)
        out.append((without, np.flatnonzero((has == pattern).all(1))))
    return out


@dataclass
class AlignedKernelHead(KernelHead):
    """The kernel-head network with a contrastive stage before it: views of the training entities
    are aligned to each other, and what is shared gives one kernel more.

    Every view's kernel gives coordinates (Nystroem's, on the training entities), a trained linear
    map takes them to one space, and the new kernel is exp(3 (cos - 1)) of the mean of an entity's
    unit vectors there. Its weight is trained with the others. For new rows or new columns.

    Parameters
    ----------
    alignment : "hard", InfoNCE between every two views; "soft", the same onto a softmax of the
        correlation of training responses; "response", the cosines of every view regressed on that
        correlation
    dim, rounds, temperature : of the contrastive stage: size of the space, steps, InfoNCE's
    """

    alignment: str = "hard"
    dim: int = 16
    rounds: int = 150
    temperature: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alignment not in ALIGNMENTS:
            known = ", ".join(ALIGNMENTS)
            raise DataError(f"unknown alignment {self.alignment!r}", remedy=f"use {known}")

    def fit(self, benchmark: Benchmark, split: Split) -> "AlignedKernelHead":
        """Align on the training entities, train the constants, solve."""
        if self.head == "pairs":
            raise DataError(
                "a contrastive stage stands before the heads for new lines and new drugs only",
                remedy="take kernel_head for random pairs",
            )
        self.maps: dict[str, np.ndarray] = {}
        self.last_known: np.ndarray = np.zeros(0, dtype=np.int64)
        super().fit(benchmark, split)
        return self

    def _problem(self, benchmark: Benchmark, split: Split, again: bool = False) -> Problem:
        problem = super()._problem(benchmark, split, again)
        if not self.maps:
            self.anchors: np.ndarray = np.arange(len(problem.known))
            same = same_entity(benchmark, problem.axis)[np.ix_(problem.known, problem.known)] > 0
            self.maps = self._aligned(problem, same)
        elif len(problem.known) != len(self.last_known):  # refitted: who was aligned is among them
            self.anchors = np.searchsorted(problem.known, self.last_known[self.anchors])
        self.last_known = problem.known
        anchors = problem.known[self.anchors]
        views = [_unit(problem.kernels[name][:, anchors] @ by) for name, by in self.maps.items()]
        aligned = np.exp(3 * (cosine(np.sum(views, axis=0)) - 1))
        kernels = {**problem.kernels, "aligned": aligned}
        return replace(problem, kernels=kernels)

    def _aligned(self, problem: Problem, same: np.ndarray) -> dict[str, np.ndarray]:
        """view -> [known, dim] map from an entity's kernel with the training entities."""
        among, whiten = np.ix_(problem.known, problem.known), {}
        for name in IN_CONTRAST[self.head]:
            if name in problem.kernels:
                values, vectors = np.linalg.eigh(problem.kernels[name][among])
                kept = np.argsort(-values, kind="stable")[: 2 * self.dim]
                kept = kept[values[kept] > 1e-6 * values.max()]
                whiten[name] = vectors[:, kept] / np.sqrt(values[kept])  # [known, k]
        x = {
            name: torch.from_numpy(problem.kernels[name][among] @ by).float()
            for name, by in whiten.items()
        }
        alike = torch.from_numpy(np.corrcoef(problem.target)).float()
        twins = torch.from_numpy(same)
        everybody = torch.ones(len(alike), dtype=torch.bool)

        def wrong(net: torch.nn.ModuleDict) -> LossOutput:
            z = {name: net[name](part) for name, part in x.items()}
            if self.alignment == "response":
                total = sum(response_alignment(part, alike, everybody) for part in z.values())
            elif self.alignment == "soft":
                targets = (alike / self.temperature).softmax(1)

                def softly(a: torch.Tensor, b: torch.Tensor, known: Any) -> torch.Tensor:
                    return soft_alignment(a, b, targets, self.temperature, known)

                total = multi_view(z, loss=softly)
            else:
                hard = partial(info_nce, temperature=self.temperature)
                total = multi_view(z, same=twins, loss=hard)
            return LossOutput(torch.as_tensor(total), {})

        def build() -> torch.nn.ModuleDict:
            linear = {
                name: torch.nn.Linear(part.shape[1], self.dim, False) for name, part in x.items()
            }
            return torch.nn.ModuleDict(linear)

        config = TrainConfig(self.rounds, 0.01, 0.01, evaluate_every=self.rounds, seed=self.seed)
        weights = train(build, wrong, config)[0].state_dict()
        return {
            name: by @ weights[f"{name}.weight"].numpy().T.astype(np.float64)
            for name, by in whiten.items()
        }


def _unit(x: np.ndarray) -> np.ndarray:
    """Rows of unit length; a row of nothing stays one."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


@dataclass(frozen=True, eq=False)
class Structured:
    """What a head for pairs of known rows and columns reads of one set of training pairs.

    Attributes
    ----------
    base [R, C], spread [C] : response = base + spread * target
    target, seen [R, C] : standardised residuals (0 where not seen), and where they are
    factors [R, C] : `target` denoised by a factorisation
    kernels : [views, R, R] of `SEEN_LINES`, [views, C, C] of `SEEN_DRUGS`
    structure : [R, rank], [C, rank] singular vectors of a denoised table, times singular values
    """

    base: np.ndarray
    spread: np.ndarray
    target: np.ndarray
    seen: np.ndarray
    factors: np.ndarray
    kernels: tuple[np.ndarray, np.ndarray]
    structure: tuple[np.ndarray, np.ndarray]

    def tensors(self) -> Any:
        """(structure, kernels) as `PairRidge` takes them."""
        return tuple(
            tuple(torch.from_numpy(part) for part in both)
            for both in (self.structure, self.kernels)
        )

    def predicted(self, net: PairRidge, loose: float = 1.0) -> torch.Tensor:
        """[R, C] what a network makes of it."""
        target, seen = torch.from_numpy(self.target), torch.from_numpy(self.seen.astype(float))
        eigen: list[Any] = []  # forwards and backwards, it is one system

        def solve(
            k_row: np.ndarray,
            k_column: np.ndarray,
            right: np.ndarray,
            pairs: np.ndarray,
            ridge: float,
        ) -> Any:
            if not eigen:
                rows = pairs.any(1)
                eigen.append(np.linalg.eigh(k_row[np.ix_(rows, rows)]))
            return solve_pairs(k_row, k_column, right, pairs, ridge, None, eigen[0], loose * ROUGH)

        return net(*self.tensors(), target, seen, solve)


def _pair_ridge(table: Structured, first: bool = False) -> PairRidge:
    """The network where it starts; the `first` solves, which make the structure, have sharper
    kernels.
    """
    own, sharpness, ridge = (0.3, 3.0, 0.15) if first else (0.05, 2.0, 0.3)
    rows, columns = (
        StructureKernel([0.3, 1.0, own, *views.values()], sharpness, part.shape[1])
        for views, part in zip((SEEN_LINES, SEEN_DRUGS), table.structure, strict=True)
    )
    return PairRidge(rows, columns, ridge)


def _structured(
    benchmark: Benchmark, split: Split, factors: np.ndarray | None = None
) -> Structured:
    """Effects, factorisation, kernels and structure of the training pairs; the structure is read
    off two rounds of the ridge that is not trained yet. Where `factors` are given, it is left out.
    """
    mean, row, column = additive_effects(benchmark, split.train)
    y, base = benchmark.matrix(split.train), mean + row[:, None] + column[None]
    seen = np.isfinite(y)
    rest = np.where(seen, y - base, 0.0)
    spread = np.sqrt((rest**2).sum(0) / np.maximum(seen.sum(0), 1))
    spread = np.where(spread > 1e-6, spread, spread[seen.any(0)].mean())
    target, again = rest / spread, factors is None
    if factors is None:
        u, v = factorise(target, seen, RANK, 10.0)
        factors = u @ v.T
    k, facts = line_kernels(benchmark, split, factors), drug_facts(benchmark)
    kernels = np.stack([k[name] for name in SEEN_LINES]), np.stack([facts[n] for n in SEEN_DRUGS])
    table = Structured(base, spread, target, seen, factors, kernels, _vectors(factors, seen))
    if again:
        for _ in range(2):
            with torch.no_grad():
                better = table.predicted(_pair_ridge(table, first=True), ON_THE_WAY)
            table = replace(table, structure=_vectors(better.numpy(), seen))
    return table


def _vectors(table: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """([R, rank], [C, rank]) singular vectors times singular values; exact zeros for an entity
    without a response.
    """
    rows, columns = np.asarray(seen.any(1)), np.asarray(seen.any(0))
    u, s, vt = np.linalg.svd(np.where(np.outer(rows, columns), table, 0.0), full_matrices=False)
    return (rows[:, None] * u * s)[:, :RANK], (columns[:, None] * vt.T * s)[:, :RANK]


def _dealt(groups: np.ndarray, blocks: int, rng: np.random.Generator) -> list[torch.Tensor]:
    """Positions of each block: whole groups, dealt out in random order."""
    n = groups.max() + 1
    block = (rng.permutation(n) % min(blocks, n))[groups]
    return [torch.from_numpy(np.flatnonzero(block == i)) for i in range(block.max() + 1)]


def _loss_of(problem: Problem):
    """What a held-out prediction [known, other] is scored by, over what was measured.

    New rows: the squared error in the benchmark's units. New columns: half of the standardised
    squared error, and 1 - mean per-column r.
    """
    target, seen = torch.from_numpy(problem.target), torch.from_numpy(problem.seen.astype(float))
    if problem.axis == 0:
        spread = problem.spread[problem.other]
        weight = seen * torch.from_numpy(spread**2 / (spread**2).mean())

        def error(found: torch.Tensor) -> LossOutput:
            total = (weight * (found - target) ** 2).sum() / seen.sum()
            return LossOutput(total, {"mse": total.detach()})

        return error

    count = seen.sum(1, keepdim=True).clamp_min(1)

    def centred(z: torch.Tensor) -> torch.Tensor:
        return seen * (z - (seen * z).sum(1, keepdim=True) / count)

    wanted = centred(target)

    def ranking(found: torch.Tensor) -> LossOutput:
        mse = (seen * (found - target) ** 2).sum() / seen.sum()
        z = centred(found)
        r = (z * wanted).sum(1) / (z.norm(dim=1) * wanted.norm(dim=1) + 1e-6)
        return LossOutput(0.5 * mse + 1 - r.mean(), {"mse": mse.detach(), "r": r.mean().detach()})

    return ranking


def _new_rows(benchmark: Benchmark, split: Split, whole: np.ndarray | None = None) -> Problem:
    """Lines are new: expression at three widths, mutation, copy number, tissue; weighted by what
    the features tell of the training responses.
    """
    target, offset, spread, _ = per_drug_targets(benchmark, split)
    known, other = train_cells(benchmark, split), np.flatnonzero(np.isfinite(target).any(0))
    table = target[np.ix_(known, other)]
    k = line_kernels(benchmark, split, np.nan_to_num(target))
    kernels = {name: k[name] for name in ("expression", "mutation", "copies", "tissue")}
    kernels |= {
        "expression, wide": k["expression"] ** (1 / 3),  # of three times the bandwidth, and of half
        "expression, narrow": k["expression"] ** 2,
        "constant": np.ones_like(k["tissue"]),
    }
    if "culture" in benchmark.sides[0].views:
        kernels |= _culture_kernels(benchmark, np.nan_to_num(target), known)
    if "events" in benchmark.sides[0].views:
        kernels["events"] = _events_kernel(benchmark, np.nan_to_num(target), known)
    n = len(k["tissue"])
    return Problem(
        0,
        known,
        other,
        filled(table) if whole is None else whole,
        np.isfinite(table),
        offset,
        spread,
        kernels,
        np.zeros((n, len(other))),
    )


def _events_kernel(benchmark: Benchmark, target: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[C, C] kernel of the view "events", weighted by what each event tells of the `target` [C, D]:
    0 for a line of which none is known.
    """
    side = benchmark.sides[0]
    there = side.has("events")
    known = rows[there[rows]]
    if len(known) < FEWEST_LINES:
        return np.zeros((len(side), len(side)))
    hits = binary(side.views["events"], known)
    return masked(rbf(with_supervised_weights(hits, target, known), known), there)


def _culture_kernels(
    benchmark: Benchmark, target: np.ndarray, rows: np.ndarray
) -> dict[str, np.ndarray]:
    """A kernel [C, C] of each measurement of how lines are grown, weighted by what it tells of the
    `target` [C, D]: 0 for a line of which it is missing, and everywhere if hardly a training line
    has it.
    """
    table = benchmark.sides[0].views["culture"]
    out = {}
    for name, columns in {
        "culture": table.columns[:-1],
        "doubling time": table.columns[-1:],
    }.items():
        x = table[columns].to_numpy(np.float64)
        there = np.isfinite(x).all(1)
        known = rows[there[rows]]
        if len(known) < FEWEST_LINES:
            out[name] = np.zeros((len(x), len(x)))
            continue
        mean, deviation = x[known].mean(0), x[known].std(0)
        x = np.where(there[:, None], (x - mean) / np.where(deviation > 1e-8, deviation, 1.0), 0.0)
        k = rbf(with_supervised_weights(x, target, known), known)
        out[name] = k * np.outer(there, there)
    return out


def _new_columns(benchmark: Benchmark, split: Split, whole: np.ndarray | None = None) -> Problem:
    """Drugs are new: texts, annotation, steps and structure."""
    y = benchmark.matrix(split.train)
    known, other = np.flatnonzero(np.isfinite(y).any(0)), train_cells(benchmark, split)
    y = y[np.ix_(other, known)]
    mean, sd = np.nanmean(y, axis=0), np.nanstd(y, axis=0)
    if whole is None:
        whole = filled((y - mean) / np.where(sd > 1e-6, sd, 1.0)).T
    z = whole.T  # [other, known]
    offset = np.full(benchmark.shape[1], mean.mean())  # of a new drug, the level is not known
    spread = np.full(benchmark.shape[1], sd.mean())
    offset[known], spread[known] = mean, sd
    whole = np.zeros((benchmark.shape[0], len(known)))
    whole[other] = z
    return Problem(
        1,
        known,
        other,
        z.T,
        np.isfinite(y).T,
        offset,
        spread,
        _drug_kernels(benchmark, split, known),
        target_states(benchmark, split, whole)[other].T,
    )


def _drug_kernels(benchmark: Benchmark, split: Split, known: np.ndarray) -> dict[str, np.ndarray]:
    """Kernels [D, D] of `DRUGS`, in its order; what is fitted is fitted on the drugs `known`."""
    drugs, (wide, sharp) = benchmark.sides[1].frame, drug_kernels(benchmark, "text")
    notes = np.hstack([membership(drugs["target"]), membership(drugs["pathway"])])
    found: dict[str, Any] = {
        "text": sharp[1],
        "text, wide": wide[1],
        "mechanism": drug_part(benchmark, "mechanism", split),
        "targets": drug_part(benchmark, "targets", split),
        "pathway": drug_kernels(benchmark, "pathway")[0][1],
        "steps": drug_part(benchmark, "steps", split),
        "fingerprint": drug_part(benchmark, "fingerprint", split),
        "text, centred": _in_few_dimensions(text_vectors(benchmark.sides[1], "annotation"), known),
        "annotation, centred": _in_few_dimensions(notes, known),
        "fingerprint, centred": _in_few_dimensions(morgan_bits(benchmark.sides[1]), known),
        "same": same_entity(benchmark, 1),
        "constant": np.ones((len(drugs), len(drugs))),
    }
    return {name: found[name] for name in DRUGS if isinstance(found[name], np.ndarray)}


def _in_few_dimensions(
    x: np.ndarray, known: np.ndarray, rank: int = 32, sharpness: float = 3.0
) -> np.ndarray:
    """[n, n] exp(sharpness (cos - 1)) of x [n, features] in the main directions of its known rows
    about their mean.
    """
    x = np.asarray(x, dtype=np.float64) - np.asarray(x, dtype=np.float64)[known].mean(0)
    _, s, directions = np.linalg.svd(x[known], full_matrices=False)
    least = max(s[min(rank, len(s)) - 1] * (1 - 1e-6), 1e-6 * s[0])  # of equals, all or none
    return np.exp(sharpness * (cosine(x @ directions[s >= least].T) - 1))
