"""UMME and ACMO: many modalities of two sides, fused by attention, and trained with an eye to how
reliable each is (after the abstract of Chen and Sun 2025; the UMME chapter).

A reconstruction: neither text nor code of the paper could be had, and every equation is ours.
Every entity is encoded once a step; a pair is a product of what its two entities hold. Two nets in
the manner of DeepDTA (Öztürk et al. 2018) and GraphDTA (Nguyen et al. 2021) share everything but
the head.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from clmt_lib.io import DataError
from clmt_lib.models.base import check_names
from clmt_lib.models.network import NetworkModel
from clmt_lib.nn.contrast import Temperature, info_nce, multi_view
from clmt_lib.nn.encoders import EntityNorm, SequenceEncoder, Tower
from clmt_lib.nn.fusion import CrossAttention, SideAttention, stacked
from clmt_lib.nn.heads import LossOutput
from clmt_lib.nn.molecular import GINE
from clmt_lib.tasks.metrics import BASES, held_out, known_effects
from clmt_lib.training import TrainConfig
from clmt_lib.views.base import (
    Alike,
    Described,
    Fingerprint,
    Letters,
    Measured,
    Molecules,
    Recipe,
    make_views,
)
from clmt_lib.views.geometry import MoleculeGraphs

IDENTITY = "identity"
CURRICULA = ("none", "equal", "reliability", "permuted")
DROPOUTS = ("none", "plain", "scheduled")
HEADS = ("attention", "dot", "mlp")
DENSE = 8  # a table with at most so many times as many cells as pairs is computed whole
# a new entity has no embedding of its own, and its modalities must carry more
NEW = {"identity": False, "drop": 0.5, "drop_in": 0.2, "hide": 1.0}


@dataclass(frozen=True)
class UMMEConfig:
    """Switches and sizes.

    Attributes
    ----------
    row_views, column_views : modalities of either side, see `recipe_of`; "a/b" is the first of them
        that the side has; "auto" is all that the side has
    kernel_rows : further modalities, how alike an entity is to each of the training set: "kernel"
        on the sides that have structures or sequences
    landmarks : in a kernel, with at most how many entities one is compared; 0 for all of the
        training set
    identity : a further modality, a free embedding of each entity of the training set
    drop_identity : dropout of the elements of identities
    hide : share of entities whose identity is hidden in a step, as a new entity's would be
    dim, hidden : widths of an embedding and of an encoder
    drop_in, drop : dropout of inputs and of hidden layers
    head : "attention" across the sides; "dot", the product of what either side's attention adds
        up, without a projection or a norm between encoder and product; or "mlp", a small network
        of both vectors
    base : what is left to the network: the values less "both" effects, those of one side, or
        "none" of them; "auto" takes the effects of the sides that the split does not hold out
    missing : "mask", or "mean", which puts the mean of the training entities in the place of an
        absent modality and calls it there
    curriculum : "none"; "reliability" weighs modalities by ACMO's reliabilities first and equally
        later; as controls "equal", everything as in it but equal weights, and "permuted", each
        modality with the reliability of another
    ramp : share of the steps after which the curriculum has ended
    held_in : share of the training set that only probes the modalities until then
    held_by : "split", whole entities where the split holds out entities, else pairs; or "pairs"
    softness : of the softmax that makes reliabilities of what the probes leave unexplained
    probe : weight of the probes' own loss, which reaches no encoder
    modality_dropout : "none", "plain" (the same share always) or "scheduled" (growing as the
        curriculum ends); at least what an entity has of one modality stays
    lose : share of modalities that are lost
    align : weight of the contrast between the modalities of an entity; 0 leaves it out
    temperature : of the contrast, at first
    members : trainings whose predictions are averaged
    rows_a_step : entities of the first side that a step draws, with all their training pairs, in
        passes over all of them: many cheap steps where one encoder is costly, as a convolution over
        sequences is; 0 for every pair in every step
    """

    row_views: tuple[str, ...] = ("auto",)
    column_views: tuple[str, ...] = ("auto",)
    kernel_rows: bool = False
    landmarks: int = 0
    identity: bool = True
    drop_identity: float = 0.0
    hide: float = 0.2
    dim: int = 64
    hidden: int = 128
    drop_in: float = 0.1
    drop: float = 0.3
    head: str = "attention"
    base: str = "auto"
    missing: str = "mask"
    curriculum: str = "none"
    ramp: float = 0.5
    held_in: float = 0.2
    held_by: str = "split"
    softness: float = 0.1
    probe: float = 0.1
    modality_dropout: str = "none"
    lose: float = 0.3
    align: float = 0.0
    temperature: float = 0.1
    members: int = 1
    rows_a_step: int = 0
    steps: int = 300
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    evaluate_every: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises DataError for an unknown switch, a share that is none, or a curriculum in steps of
        a few rows, whose pairs may all be held in.
        """
        check_names(
            self,
            curriculum=CURRICULA,
            modality_dropout=DROPOUTS,
            head=HEADS,
            base=BASES,
            missing=("mask", "mean"),
            held_by=("split", "pairs"),
        )
        for name in ("hide", "held_in", "lose", "ramp"):
            if not 0 <= getattr(self, name) <= 1:
                raise DataError(f"{name} of {getattr(self, name)}", remedy="use a share, 0 to 1")
        if self.rows_a_step and self.curriculum != "none":
            raise DataError(
                f"rows_a_step of {self.rows_a_step} with the curriculum {self.curriculum!r}",
                remedy="use every pair in every step (rows_a_step=0), or no curriculum",
            )


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the network reads: tensors on one device. A pair of things is (of rows, of columns).

    Attributes
    ----------
    x : modality -> [n, features], codes of letters, or graphs
    present : modality -> [n] bool
    recipes : modality -> how it was made, fitted on the training set
    filler : modality -> [features] mean of the training entities, where `missing` is "mean"
    seen : [n] bool, the entity has a training pair
    same : [n, n] bool, two ids of one and the same thing, among the entities of the fit
    pairs, target : [pairs, 2] and [pairs] of the training set, the target standardised (0/1 where
        `binary`)
    held : [pairs] bool, the pair is held in for the probes while the curriculum lasts
    mean, spread, effects : prediction = mean + effects of row and column + spread x output
    """

    x: tuple[dict[str, Any], dict[str, Any]]
    present: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]
    recipes: tuple[dict[str, Recipe], dict[str, Recipe]]
    filler: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]
    seen: tuple[torch.Tensor, torch.Tensor]
    same: tuple[torch.Tensor, torch.Tensor]
    pairs: torch.Tensor
    target: torch.Tensor
    held: torch.Tensor
    mean: float
    spread: float
    effects: tuple[np.ndarray, np.ndarray]
    binary: bool

    @property
    def dense(self) -> bool:
        """Whether the whole table costs less than its pairs one by one."""
        return len(self.seen[0]) * len(self.seen[1]) <= DENSE * len(self.pairs)


@dataclass(frozen=True)
class Rows:
    """Passes over the training entities of the first side, so many at a time, in an order that
    follows torch's generator; `narrowed` makes what a step reads.
    """

    inputs: Inputs
    many: int

    def __iter__(self) -> Iterator[torch.Tensor]:
        """[many] positions after [many] positions."""
        rows = self.inputs.seen[0].nonzero()[:, 0]
        order = torch.randperm(len(rows)).to(rows.device)
        yield from rows[order].split(self.many)


def narrowed(inputs: Inputs, rows: torch.Tensor) -> Inputs:
    """The inputs as if only these rows had training pairs: nobody else is encoded in training."""
    seen = torch.zeros_like(inputs.seen[0]).index_fill(0, rows, True)
    some = seen[inputs.pairs[:, 0]]
    kept = {name: getattr(inputs, name)[some] for name in ("pairs", "target", "held")}
    return replace(inputs, seen=(seen, inputs.seen[1]), **kept)


def recipe_of(name: str, side: Any) -> Recipe | None:
    """How a modality of a side is made; None where the side does not have it.

    graph (atoms and bonds), smiles (its letters), fingerprint (Morgan bits), kernel (how alike to
    each training entity), words_2 and words_3 (how alike in words of two or three residues, where
    an alignment of thousands of sequences would take hours), sequence (its letters); any other view
    of the side: text by the frozen encoder, a table by z-scores with masks for its gaps.
    """
    structure = "smiles" in side.frame and side.frame["smiles"].notna().any()
    if name in ("graph", "smiles", "fingerprint"):
        makers = {
            "graph": Molecules(),
            "smiles": Letters("smiles", longest=120),
            "fingerprint": Fingerprint(scale=3.0),
        }
        return makers[name] if structure else None
    of_letters = isinstance(side.views.get("sequence"), pd.Series)
    if name == "kernel":
        if structure:
            return Alike()
        return Alike(kinds=("words_3", "alignment")) if of_letters else None
    if name in ("words_2", "words_3"):
        return Alike(kinds=(name,)) if of_letters else None
    if name == "sequence" and of_letters:
        return Letters("sequence")
    view = side.views.get(name)
    if view is None:
        return None
    if isinstance(view, pd.Series):
        return Described(name, scale=10.0)
    return Measured(name)


def modalities(
    side: Any, wanted: tuple[str, ...], kernel: bool, landmarks: int = 0
) -> dict[str, Recipe]:
    """The modalities of a side by name, "auto" and alternatives resolved.

    Raises
    ------
    DataError
        The side has none of the alternatives, or no modality at all.
    """
    found: dict[str, Recipe] = {}
    for name in wanted:
        options = [*side.views, "fingerprint"] if name == "auto" else name.split("/")
        there = {option: recipe_of(option, side) for option in options}
        some = {option: recipe for option, recipe in there.items() if recipe is not None}
        if not some and name != "auto":
            raise DataError(
                f"the {side.name}s have no {name!r}",
                remedy=f"use some of: {', '.join([*side.views, 'auto'])}",
            )
        found |= some if name == "auto" else dict(list(some.items())[:1])
    rows = recipe_of("kernel", side) if kernel else None
    if rows is not None:
        found["kernel"] = rows
    for name, recipe in found.items():
        if isinstance(recipe, Alike):
            found[name] = replace(recipe, landmarks=landmarks)
    return {name: replace(recipe, entity=side.name) for name, recipe in found.items()}


def prepare(
    benchmark: Any, split: Any, config: UMMEConfig, device: torch.device | str = "cpu"
) -> Inputs:
    """Everything the network needs, fitted on the training set.

    Raises
    ------
    DataError
        A side lacks a modality that is asked for, or has none at all.
    """
    pairs, y = benchmark.pairs[split.train], benchmark.y[split.train]
    first, second = (_side_inputs(benchmark, axis, pairs, config, device) for axis in (0, 1))
    binary = bool(np.isin(y, (0.0, 1.0)).all())
    mean, *effects = known_effects(benchmark, split, "none" if binary else config.base)
    rest = y - mean - effects[0][pairs[:, 0]] - effects[1][pairs[:, 1]]
    spread = 1.0 if binary else max(float(rest.std()), 1e-6)
    held = np.zeros(len(pairs), dtype=bool)
    if config.curriculum != "none":
        held = _held_in(benchmark, split, config)
    target = y if binary else rest / spread
    return Inputs(
        **{name: (first[name], second[name]) for name in first},
        pairs=torch.as_tensor(pairs, device=device),
        target=torch.as_tensor(target, dtype=torch.float32, device=device),
        held=torch.as_tensor(held, device=device),
        mean=0.0 if binary else mean,
        spread=spread,
        effects=(effects[0], effects[1]),
        binary=binary,
    )


def _side_inputs(
    benchmark: Any, axis: int, pairs: np.ndarray, config: UMMEConfig, device: Any
) -> dict[str, Any]:
    """What `Inputs` keeps of one side, by the names of its fields."""
    side, rows = benchmark.sides[axis], np.unique(pairs[:, axis])
    wanted = (config.row_views, config.column_views)[axis]
    kinds = modalities(side, wanted, config.kernel_rows, config.landmarks)
    if not kinds and not config.identity:
        raise DataError(
            f"the {side.name}s of {benchmark.name} have no modality",
            remedy="give them a view, or allow identity=true",
        )
    recipes = {name: how.fit(side, rows) for name, how in kinds.items()}
    views = make_views(side, recipes)
    x = {name: view.tensor(device) for name, view in views.items()}
    present = {name: view.mask(device) for name, view in views.items()}
    for name, value in x.items():
        if isinstance(recipes[name], Letters):  # no encoder is shown what is not there
            x[name] = value * present[name][:, None]
    seen = torch.as_tensor(np.isin(np.arange(len(side)), rows), device=device)
    filler = {}
    if config.missing == "mean":
        filler = {
            name: value[present[name] & seen].mean(0)
            for name, value in x.items()
            if torch.is_tensor(value) and value.is_floating_point()
        }
        _fill(x, present, filler)
    code = np.unique(side.keys[side.identity], return_inverse=True)[1]
    same = torch.as_tensor(code[:, None] == code[None], device=device)
    found = {"x": x, "present": present, "recipes": recipes, "filler": filler}
    return {**found, "seen": seen, "same": same}


def _held_in(benchmark: Any, split: Any, config: UMMEConfig) -> np.ndarray:
    """[training pairs] bool: some of the pairs, or all pairs of some entities of the sides that the
    split holds out. A probe judged by pairs of drugs that the encoders know is judged by how well a
    modality tells drugs apart, whatever it says of them.
    """
    rng, n = np.random.default_rng([config.seed, 17]), len(split.train)
    new = held_out(benchmark, split.kind) if config.held_by == "split" else ()
    held = np.zeros(n, dtype=bool)
    for axis, key in new:
        code = np.unique(benchmark.sides[axis].keys[key], return_inverse=True)[1]
        code = code[benchmark.pairs[split.train, axis]]
        groups = rng.permutation(np.unique(code))
        held |= np.isin(code, groups[: round(config.held_in * len(groups))])
    if not new:
        held[rng.permutation(n)[: round(config.held_in * n)]] = True
    return held


def _fill(x: dict[str, Any], present: dict[str, torch.Tensor], filler: Mapping[str, Any]) -> None:
    """Put the mean in the place of what is absent, and call it there."""
    for name, mean in filler.items():
        x[name] = torch.where(present[name][:, None], x[name], mean)
        present[name] = torch.ones_like(present[name])


class GraphEncoder(nn.Module):
    """Two rounds of messages between atoms, scaled over molecules: `MoleculeGraphs` -> [n, dim]."""

    def __init__(self, dim: int, drop: float) -> None:
        super().__init__()
        self.graph = GINE(dim, layers=2, drop=drop, out=dim)
        self.norm = EntityNorm(dim)

    def forward(self, graphs: MoleculeGraphs) -> torch.Tensor:
        """See the class."""
        return self.norm(self.graph(graphs), graphs.known > 0)


def _encoder(recipe: Recipe, x: Any, config: UMMEConfig) -> nn.Module:
    if isinstance(x, MoleculeGraphs):
        return GraphEncoder(config.dim, config.drop)
    if isinstance(recipe, Letters):
        return SequenceEncoder(recipe.letters, config.dim, config.dim, drop=config.drop)
    return Tower(x.shape[1], config.hidden, config.dim, config.drop_in, config.drop)


class SideNet(nn.Module):
    """The encoders of one side, its probes, and ACMO's running losses of them.

    Buffers
    -------
    running : [tokens] exponential mean of the share of variance that each modality's probe leaves
        on held-in pairs; the null token's stands last and is never used
    """

    def __init__(self, inputs: Inputs, axis: int, config: UMMEConfig) -> None:
        super().__init__()
        x, recipes, n = inputs.x[axis], inputs.recipes[axis], len(inputs.seen[axis])
        self.encoders = nn.ModuleDict(
            {name: _encoder(recipes[name], value, config) for name, value in x.items()}
        )
        if config.identity:
            self.free = nn.Parameter(0.1 * torch.randn(n, config.dim))
            self.drop_identity = config.drop_identity
        self.names = (*x, IDENTITY) if config.identity else tuple(x)
        plain = config.head == "dot"
        self.norms = nn.ModuleDict(
            {name: nn.Identity() if plain else nn.LayerNorm(config.dim) for name in self.names}
        )
        self.null = nn.Parameter(0.1 * torch.randn(config.dim))
        self.attention = SideAttention(config.dim, add=plain)
        self.probes = nn.ModuleDict(
            {name: nn.Linear(config.dim, config.dim + 1) for name in self.names}
        )
        self.register_buffer("running", torch.ones(len(self.names) + 1))

    def embeddings(
        self, x: Mapping[str, Any], rows: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Modality -> [n, dim], of all entities; or of `rows` alone, zeros elsewhere."""
        z = {}
        for name, encode in self.encoders.items():
            value = x[name]
            if rows is None:
                z[name] = self.norms[name](encode(value))
                continue
            some = value.take(rows) if isinstance(value, MoleculeGraphs) else value[rows]
            found = self.norms[name](encode(some))
            n = value.n if isinstance(value, MoleculeGraphs) else len(value)
            z[name] = found.new_zeros(n, found.shape[1]).index_copy(0, rows, found)
        if IDENTITY in self.names:
            new = len(next(iter(z.values()))) - len(self.free) if z else 0
            free = self.norms[IDENTITY](F.pad(self.free, (0, 0, 0, new)))
            z[IDENTITY] = F.dropout(free, self.drop_identity, self.training)
        return z

    def reliability(self, softness: float) -> torch.Tensor:
        """[tokens] shares: softmax of minus the running losses; the null token has none."""
        running = torch.as_tensor(self.running)  # [tokens]
        return F.pad((-running[:-1] / softness).softmax(0), (0, 1))


class Network(nn.Module):
    """Two `SideNet`s and a head.

    Buffers
    -------
    step : optimiser steps so far, which the curriculum hangs on
    """

    def __init__(self, inputs: Inputs, config: UMMEConfig) -> None:
        super().__init__()
        self.config, self.binary, self.scale = config, inputs.binary, config.dim**-0.5
        self.sides = nn.ModuleList([SideNet(inputs, axis, config) for axis in (0, 1)])
        self.temperature = Temperature(config.temperature)
        self.level = nn.ModuleList([nn.Linear(config.dim, 1) for _ in (0, 1)])
        if config.head == "attention":
            self.cross: nn.Module = CrossAttention(config.dim)
        elif config.head == "mlp":
            self.parts = nn.ModuleList([nn.Linear(config.dim, config.hidden) for _ in (0, 1)])
            self.mlp = nn.Sequential(
                nn.ReLU(), nn.Dropout(config.drop), nn.Linear(config.hidden, 1)
            )
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def progress(self) -> float:
        """rho, from 0 at the first step to 1 when the curriculum has ended."""
        end = self.config.ramp * self.config.steps
        return min(1.0, int(torch.as_tensor(self.step)) / end) if end else 1.0

    def weights(self, axis: int) -> torch.Tensor:
        """[tokens] w = (1 - rho) M r + rho of the M modalities of a side; the null token's is 1."""
        side: Any = self.sides[axis]
        r, many = side.reliability(self.config.softness), len(side.names)
        if self.config.curriculum == "permuted":
            r = F.pad(r[:-1].roll(1), (0, 1))
        if self.config.curriculum in ("none", "equal"):
            return torch.ones_like(r)
        rho = self.progress()
        weight = (1 - rho) * many * r + rho
        return torch.cat([weight[:-1].clamp(min=1e-6), torch.ones_like(weight[-1:])])

    def encoded(
        self, inputs: Inputs, axis: int
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """(modality -> [n, dim], modality -> [n] bool who has it)."""
        side: Any = self.sides[axis]
        present = dict(inputs.present[axis])
        if IDENTITY in side.names:
            present[IDENTITY] = inputs.seen[axis]
        # in training a new entity is not even looked at: its atoms would draw random numbers, too
        seen = inputs.seen[axis]
        rows = seen.nonzero()[:, 0] if self.training and not seen.all() else None
        return side.embeddings(inputs.x[axis], rows), present

    def lost(self, present: dict[str, torch.Tensor], seen: torch.Tensor) -> dict[str, torch.Tensor]:
        """Who still has what in this step of training: identities are hidden, modalities lost. An
        entity that would lose all of them keeps them.
        """
        config, left = self.config, dict(present)
        if IDENTITY in left:
            left[IDENTITY] = left[IDENTITY] & (
                torch.rand(len(seen), device=seen.device) >= config.hide
            )
        share = {"none": 0.0, "plain": 1.0, "scheduled": self.progress()}[config.modality_dropout]
        if share:
            for name in left:
                if name != IDENTITY:
                    draw = torch.rand(len(seen), device=seen.device)
                    left[name] = left[name] & (draw >= share * config.lose)
        some = torch.stack(list(left.values()), 1).any(1)
        return {name: torch.where(some, there, present[name]) for name, there in left.items()}

    def tokens(
        self, z: dict[str, torch.Tensor], present: dict[str, torch.Tensor], axis: int
    ) -> tuple[torch.Tensor, ...]:
        """(u [n, dim], tokens, there, weight) of a side, as `CrossAttention` takes it."""
        side: Any = self.sides[axis]
        tokens, there = stacked(z, present, side.null)
        weight = self.weights(axis)
        if not there[:, -1].any():  # nobody is empty: the null token would be carried for nothing
            tokens, there, weight = tokens[:, :-1], there[:, :-1], weight[:-1]
        return side.attention(tokens, there, weight), tokens, there, weight

    def head(
        self,
        row: tuple[torch.Tensor, ...],
        column: tuple[torch.Tensor, ...],
        pairs: torch.Tensor,
        dense: bool,
    ) -> torch.Tensor:
        """[pairs] outputs."""
        r, c = pairs.T
        level = self.level[0](row[0])[r, 0] + self.level[1](column[0])[c, 0]
        if self.config.head == "dot":
            if dense:
                return level + (self.scale * row[0] @ column[0].T)[r, c]
            return level + self.scale * (row[0][r] * column[0][c]).sum(1)
        if self.config.head == "mlp":
            hidden = self.parts[0](row[0])[r] + self.parts[1](column[0])[c]
            return level + self.mlp(hidden)[:, 0]
        if dense:
            return level + self.cross(row, column)[r, c]
        return level + self.cross(row, column, pairs)

    def forward(self, inputs: Inputs, pairs: torch.Tensor, dense: bool = False) -> torch.Tensor:
        """[pairs] outputs in evaluation: every modality that is there counts."""
        sides = [self.tokens(*self.encoded(inputs, axis), axis) for axis in (0, 1)]
        return self.head(sides[0], sides[1], pairs, dense)

    def error(self, said: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """[pairs] squared errors, or cross-entropies of 0/1 targets."""
        if self.binary:
            return F.binary_cross_entropy_with_logits(said, target, reduction="none")
        return (said - target) ** 2


def objective(net: Network, inputs: Inputs, config: UMMEConfig) -> LossOutput:
    """LossOutput of one step: error on the training pairs, contrast between the modalities of an
    entity, and the probes, which learn beside it.
    """
    probing = config.curriculum != "none" and net.progress() < 1
    zs, present, sides = [], [], []
    for axis in (0, 1):
        z, there = net.encoded(inputs, axis)
        zs.append(z)
        present.append(there)
        sides.append(net.tokens(z, net.lost(there, inputs.seen[axis]), axis))
    used = ~inputs.held if probing else torch.ones_like(inputs.held)
    said = net.head(sides[0], sides[1], inputs.pairs[used], inputs.dense)
    error = net.error(said, inputs.target[used]).mean()
    parts = {"error": error.detach()}
    total = error
    if config.align:
        aligned = config.align * sum(_aligned(net, inputs, zs[a], present[a], a) for a in (0, 1))
        total, parts["alignment"] = total + aligned, torch.as_tensor(aligned).detach()
    if probing:
        probed = config.probe * _probed(net, inputs, zs, present, [side[0] for side in sides])
        total, parts["probe"] = total + probed, probed.detach()
    torch.as_tensor(net.step).add_(1)  # the buffer itself
    return LossOutput(total, parts)


def _aligned(net: Network, inputs: Inputs, z: Any, present: Any, axis: int) -> torch.Tensor:
    """Mean contrast over the pairs of modalities of a side, of its training entities alone;
    identity, which has nothing to find a partner by, does not play.
    """
    views = {name: value for name, value in z.items() if name != IDENTITY}
    known = {name: present[name] & inputs.seen[axis] for name in views}
    loss = partial(info_nce, temperature=net.temperature())
    found = multi_view(views, known, inputs.same[axis], loss=loss)
    return found / max(1, len(views) * (len(views) - 1) // 2)


def _probed(net: Network, inputs: Inputs, zs: Any, present: Any, u: Any) -> torch.Tensor:
    """Mean loss of the probes on the pairs that are not held in; on the way the running losses on
    those that are move.

    A probe reads one modality of one side, as it stands, and the fused vector of the other side;
    no gradient leaves it.
    """
    r, c = inputs.pairs.T
    total, many = torch.zeros((), device=r.device), 0
    for axis in (0, 1):
        side: Any = net.sides[axis]
        other = u[1 - axis].detach()
        for token, name in enumerate(side.names):
            asked = side.probes[name](zs[axis][name].detach())  # [n, dim + 1]
            mine, theirs = (r, c) if axis == 0 else (c, r)
            if inputs.dense:
                table = net.scale * asked[:, :-1] @ other.T + asked[:, -1:]
                said = table[mine, theirs]
            else:
                said = net.scale * (asked[mine, :-1] * other[theirs]).sum(1) + asked[mine, -1]
            loss, there = net.error(said, inputs.target), present[axis][name][mine]
            free, held = there & ~inputs.held, there & inputs.held
            if free.any():
                total, many = total + loss[free].mean(), many + 1
            if held.any():
                found = _unexplained(said[held].detach(), inputs.target[held])
                side.running[token] = 0.9 * side.running[token] + 0.1 * found
    return total / max(many, 1)


def _unexplained(said: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Share of the variance of `target` that a probe leaves, once rescaled: 1 - r^2, and 1 where r
    is not above 0.

    A share, because modalities are had by different entities, on which it is more or less easy to
    be right; rescaled, because a probe that says too much of something true is still informed.
    """
    x, y = said - said.mean(), target - target.mean()
    r = (x @ y) / (x.norm() * y.norm()).clamp(min=1e-9)
    return 1 - r.clamp(min=0) ** 2


@dataclass
class UMME(NetworkModel):
    """`UMMEConfig` behind the interface of every model; see there for the settings.

    A new entity is read through its modalities by the recipes fitted on the training set; it has no
    identity and no effect of its own.
    """

    config: UMMEConfig = field(default_factory=UMMEConfig)
    Config = UMMEConfig
    version = 1
    settings_for = MappingProxyType(
        {
            f"{name}_blind": NEW
            for name in ("protein", "drug", "compound", "scaffold", "cell", "tissue", "both")
        }
    )
    # of metrics when a run is repeated: another processor's rounding grows over a training
    tolerance = 0.02

    def prepare(self, benchmark: Any, split: Any, device: torch.device) -> Inputs:
        """See `prepare`."""
        return prepare(benchmark, split, self.config, device)

    def build(self, inputs: Inputs) -> Network:
        """See `Network`."""
        return Network(inputs, self.config)

    def loss(self, net: Network, inputs: Inputs, *batch: Any) -> LossOutput:
        """See `objective`."""
        return objective(net, narrowed(inputs, *batch) if batch else inputs, self.config)

    def batches(self, inputs: Inputs) -> Iterable[torch.Tensor] | None:
        """See `Rows`; None where a step sees every training pair."""
        return Rows(inputs, self.config.rows_a_step) if self.config.rows_a_step else None

    def schedule(self, inputs: Inputs) -> TrainConfig:
        """One cycle; a step sees every training pair, or those of `rows_a_step` rows."""
        config = self.config
        return TrainConfig(
            config.steps,
            config.learning_rate,
            config.weight_decay,
            evaluate_every=config.evaluate_every,
        )

    def refit(self, benchmark: Any, split: Any) -> Self:
        """All steps on all training pairs, and the last weights: nothing is chosen on the way."""
        return self.fit(benchmark, split)

    def predicted(self, net: Network, inputs: Inputs, pairs: np.ndarray) -> np.ndarray:
        """[n] of one network."""
        asked = torch.as_tensor(np.ascontiguousarray(pairs), device=inputs.pairs.device)
        dense = len(inputs.seen[0]) * len(inputs.seen[1]) <= DENSE * len(pairs)
        with torch.inference_mode():
            said = net(inputs, asked, dense)
        said = torch.sigmoid(said) if inputs.binary else said
        effects = sum(effect[pairs[:, axis]] for axis, effect in enumerate(inputs.effects))
        return inputs.mean + effects + inputs.spread * said.cpu().numpy().astype(np.float64)

    def extended(self, more: Mapping[str, Any]) -> Inputs:
        """The inputs with further entities at the end: their modalities by the fitted recipes."""
        out = self.inputs
        for axis in (0, 1):
            names = {recipe.entity for recipe in out.recipes[axis].values()}
            for side in (side for name, side in more.items() if name in names):
                out = _extended(out, axis, side)
        return out

    def reliabilities(self, member: int = 0) -> dict[str, dict[str, float]]:
        """Side ("row", "column") -> modality -> ACMO's reliability as it ended; shares of one."""
        out = {}
        sides: Any = self.networks[member].sides
        for name, side in zip(("row", "column"), sides, strict=True):
            shares = side.reliability(self.config.softness).tolist()
            out[name] = dict(zip(side.names, shares[:-1], strict=True))
        return out

    def seeing(self, present: Mapping[int, Mapping[str, np.ndarray]]) -> Self:
        """The same trained model, with other masks of who has what: what it says where modalities
        are withheld at test.

        Parameters
        ----------
        present : axis -> modality -> [n] bool; a modality not named stays as it is. What an entity
            does not have cannot be given to it: masks are only narrowed
        """
        masks = [dict(side) for side in self.inputs.present]
        for axis, changes in present.items():
            for name, there in changes.items():
                if name not in masks[axis]:
                    raise DataError(
                        f"no modality {name!r}", remedy=f"use one of: {', '.join(masks[axis])}"
                    )
                mask = torch.as_tensor(np.asarray(there), device=masks[axis][name].device)
                masks[axis][name] = masks[axis][name] & mask
        other = replace(self)
        vars(other).update(vars(self))
        other.inputs = replace(self.inputs, present=(masks[0], masks[1]))
        return other


def _extended(inputs: Inputs, axis: int, side: Any) -> Inputs:
    device = inputs.pairs.device
    views = make_views(side, inputs.recipes[axis])
    x = {name: view.tensor(device) for name, view in views.items()}
    present = {name: view.mask(device) for name, view in views.items()}
    _fill(x, present, inputs.filler[axis])
    old = inputs.x[axis]
    grown: dict[str, Any] = {
        "x": {
            name: old[name].joined(new)
            if isinstance(new, MoleculeGraphs)
            else torch.cat([old[name], new])
            for name, new in x.items()
        },
        "present": {
            name: torch.cat([inputs.present[axis][name], mask]) for name, mask in present.items()
        },
        "seen": F.pad(inputs.seen[axis], (0, len(side))),
        "effects": np.append(inputs.effects[axis], np.zeros(len(side))),
    }
    both: dict[str, Any] = {
        name: tuple(value if a == axis else getattr(inputs, name)[a] for a in (0, 1))
        for name, value in grown.items()
    }
    return replace(inputs, **both)
