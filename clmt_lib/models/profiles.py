"""Molecules aligned with their profiles: one encoder of molecules, one tower for each feature
space, and a contrast over whatever pairs exist (Masood et al. 2025; chapter profiles).

`Profiles` is fitted on a table of molecules x feature spaces (`data.profiles.matching`); what it
learned for molecules without any profile is `features`, for a probe. `ProfilesConfig.published()`
computes what the public code of the authors computes, each of its defects a switch; `corrected()`
repairs them. `Assays` trains the same encoder on activities instead: a control that must help.

Not kept, and the same in every variant here: their gated graph network (75 wide, 6 rounds, atoms
summed) is a fingerprint tower or the book's GINE; the embeddings of cell line, dose and time; a
batch of 512 and 1,000 epochs, which our few thousand molecules do not need.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from clmt_lib.io import DataError
from clmt_lib.models.base import check_names
from clmt_lib.models.imputation import Components, fit_components
from clmt_lib.models.network import NetworkModel
from clmt_lib.nn.contrast import info_nce, multi_view, rank_of_positive, soft_alignment
from clmt_lib.nn.encoders import Tower
from clmt_lib.nn.heads import LossOutput
from clmt_lib.nn.molecular import GINE
from clmt_lib.training import TrainConfig
from clmt_lib.views.base import Fingerprint, Molecules, Raw, Recipe, make_views

DEFECTS = {  # switch -> what the authors' code does where it is on; off is the repair
    "untrained_heads": "the optimiser is made before the projection heads exist: they stay as "
    "they were drawn",
    "absent_columns": "only rows are masked: the profile of a molecule that has none is a vector "
    "of -1, encoded like any other, and a negative for everybody, many times over",
    "temperature_in_training_only": "the validation loss is computed without the temperature",
    "mixed_accuracy": "weights are chosen by the accuracy in the first feature space over all "
    "rows, those without such a profile included; the other spaces do not count",
    "stereoisomers_apart": "two ids of one compound are negatives of each other",
    "other_activation": "the probe reads tanh of a layer that was trained under another activation",
}
RARE = 3  # bits on in fewer training molecules are left out


@dataclass(frozen=True)
class ProfilesConfig:
    """Sizes, losses and defects.

    Attributes
    ----------
    defects : switches that are on, names of `DEFECTS`
    encoder : of molecules: "fingerprint", or "graph" (GINE)
    pairs : which views are contrasted: "molecule" with each feature space; "all": feature spaces
        with each other, too
    targets : "hard", or "soft": a molecule may also belong to those with similar profiles
        (`soft_temperature` says how far)
    within : key of the molecules; negatives are of the same group alone (library, plate). "" takes
        all
    components : principal components kept of a feature space
    shuffled : profiles are dealt out anew among the training molecules: a control
    hidden, dim : width of the features a probe reads, and of the space of the contrast
    profile_hidden : width of a feature space's tower
    batch : molecules a step; a table that is smaller is one batch
    """

    defects: tuple = ()
    encoder: str = "fingerprint"
    pairs: str = "molecule"
    targets: str = "hard"
    within: str = ""
    components: int = 50
    shuffled: bool = False
    hidden: int = 256
    dim: int = 64
    profile_hidden: int = 128
    drop_in: float = 0.2
    drop: float = 0.5
    profile_drop: float = 0.1
    temperature: float = 0.1
    soft_temperature: float = 0.1
    batch: int = 512
    steps: int = 100
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    members: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises DataError for an unknown defect, encoder or loss."""
        check_names(
            self,
            defects=DEFECTS,
            encoder=("fingerprint", "graph"),
            pairs=("molecule", "all"),
            targets=("hard", "soft"),
        )

    @classmethod
    def published(cls, **settings: Any) -> Self:
        """What the authors' code computes; `defects=()` repairs all of it."""
        return cls(**{"defects": tuple(DEFECTS), "drop_in": 0.0, "drop": 0.1, **settings})

    @classmethod
    def corrected(cls, **settings: Any) -> Self:
        """Ours."""
        return cls(**settings)

    def has(self, defect: str) -> bool:
        """Whether this defect is on."""
        return defect in self.defects


@dataclass(frozen=True, eq=False)
class FeatureSpace(Raw):
    """Principal components of a feature space (`imputation.fit_components`), fitted on the
    molecules that have the profile.

    Attributes
    ----------
    most : components kept at most
    components : fitted
    """

    most: int = 50
    components: Components | None = field(default=None, repr=False)

    def fit(self, side: Any, rows: np.ndarray) -> Self:
        """Components over those of `rows` that have the profile."""
        rows = np.asarray(rows)[side.has(self.view)[rows]]
        named = super().fit(side, rows)
        found = fit_components(named._table(side)[rows], self.most)
        return replace(named, components=found, fitted_on=rows)

    def make(self, side: Any) -> tuple[np.ndarray, np.ndarray]:
        """[n, components] float64, zeros where the profile is missing."""
        there, how = side.has(self.view), self.components
        if how is None:
            raise DataError(f"{self.view} is not fitted", remedy="call `fit` first")
        out = np.zeros((len(there), len(how.scale)))
        out[there] = how(self._table(side)[there].astype(np.float64))
        return out, there


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the network reads.

    Attributes
    ----------
    molecule : [n, bits] tensor, or `MoleculeGraphs`
    spaces : feature space -> [n, components], zeros where missing
    known, train : feature space -> [n] bool, who has the profile; and in the training set
    rows : [m] molecules with a training profile
    compound : [n] int64, equal for two ids of one compound
    group : [n] int64, the key that negatives must share; all 0 where it does not matter
    recipes : view -> how it was made
    kept : [bits] positions of the fingerprint's bits that the network reads
    """

    molecule: Any
    spaces: dict[str, torch.Tensor]
    known: dict[str, torch.Tensor]
    train: dict[str, torch.Tensor]
    rows: torch.Tensor
    compound: torch.Tensor
    group: torch.Tensor
    recipes: dict[str, Recipe]
    kept: np.ndarray

    def structures(self, side: Any, device: torch.device | str) -> Any:
        """The molecules of a side as the encoder reads them."""
        made = make_views(side, {"molecule": self.recipes["molecule"]})["molecule"]
        return read(made, self.kept, device)


def read(view: Any, kept: np.ndarray, device: torch.device | str) -> Any:
    """[n, kept] tensor of a view of bits; graphs as they are."""
    x = view.tensor(device)
    return x[:, torch.as_tensor(kept, device=device)] if isinstance(x, torch.Tensor) else x


def structure_recipe(side: Any, encoder: str) -> Recipe:
    """How the structures of a side become what an encoder reads: graphs; else the side's own
    fingerprints, or Morgan bits of its SMILES.
    """
    if encoder == "graph":
        return Molecules(entity=side.name)
    known = "fingerprint" in side.views
    return Raw("fingerprint", entity=side.name) if known else Fingerprint(entity=side.name)


def frequent(view: Any, rows: np.ndarray) -> np.ndarray:
    """Positions of the bits that at least `RARE` of the rows have; none of graphs."""
    if not isinstance(view.values, np.ndarray):
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero((view.values[rows] > 0).sum(0) >= RARE)


def codes(labels: np.ndarray, device: torch.device | str) -> torch.Tensor:
    """[n] int64, equal where labels are."""
    return torch.as_tensor(np.unique(labels, return_inverse=True)[1], device=device)


class Network(nn.Module):
    """One tower of molecules, one for each feature space; the last layer of a tower is its
    projection head, and what is before it are the features.
    """

    def __init__(self, inputs: Inputs, config: ProfilesConfig) -> None:
        super().__init__()
        self.molecule = molecule_tower(inputs.molecule, config)
        self.spaces = nn.ModuleDict(
            {
                space: Tower(
                    x.shape[1], config.profile_hidden, config.dim, 0.0, config.profile_drop
                )
                for space, x in inputs.spaces.items()
            }
        )
        if config.has("untrained_heads"):
            towers: list[Any] = [self.molecule, *self.spaces.values()]
            for tower in towers:
                tower.layers[-1].requires_grad_(False)

    def forward(self, molecule: Any, spaces: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """View -> [n, dim]; a row without a profile holds what its zeros give."""
        z = {space: tower(spaces[space]) for space, tower in self.spaces.items() if space in spaces}
        return {"molecule": self.molecule(molecule), **z}

    def features(self, molecule: Any, other_activation: bool = False) -> torch.Tensor:
        """[n, hidden] what is before the head of the molecules' tower."""
        layers: Any = self.molecule.layers
        if not other_activation:
            return layers[:-1](molecule)
        return torch.tanh(layers[:-3](molecule))


class GraphTower(nn.Module):
    """GINE, LayerNorm, GELU, dropout, Linear: `Tower` for `MoleculeGraphs`."""

    def __init__(self, hidden: int, dim: int, drop: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            GINE(64, 2, drop, hidden),
            nn.LayerNorm(hidden),
            nn.GELU(),
            nn.Dropout(drop),
            nn.Linear(hidden, dim),
        )

    def forward(self, graphs: Any) -> torch.Tensor:
        """`MoleculeGraphs` -> [n, dim]."""
        return self.layers(graphs)


def molecule_tower(molecule: Any, config: Any) -> nn.Module:
    """The encoder of molecules for what it is to read."""
    if isinstance(molecule, torch.Tensor):
        return Tower(molecule.shape[1], config.hidden, config.dim, config.drop_in, config.drop)
    return GraphTower(config.hidden, config.dim, config.drop)


def taken(molecule: Any, rows: torch.Tensor) -> Any:
    """Some rows of what an encoder reads."""
    return molecule[rows] if isinstance(molecule, torch.Tensor) else molecule.take(rows)


@dataclass(frozen=True)
class Batches:
    """An endless stream of random rows, `steps` of them a pass."""

    rows: torch.Tensor
    size: int
    steps: int

    def __iter__(self) -> Iterator[torch.Tensor]:
        for _ in range(self.steps):
            yield self.rows[torch.randperm(len(self.rows))[: self.size]]


@dataclass
class Encoder(NetworkModel):
    """What two pre-trained encoders of molecules share: their features, for anybody's probe."""

    def features(self, side: Any = None) -> np.ndarray:
        """[n, hidden x members] float64 frozen features of the molecules of a side (None: those it
        was fitted with).
        """
        device = torch.device(self.device_used)
        x = self.inputs.molecule if side is None else self.inputs.structures(side, device)
        return self._apply(partial(self._features, x=x))

    def _features(self, net: Any, x: Any) -> torch.Tensor:
        return net.features(x)

    def _apply(self, make: Callable[[Any], torch.Tensor]) -> np.ndarray:
        with torch.inference_mode():
            return np.hstack([make(net).double().cpu().numpy() for net in self.networks])

    def untrained(self, benchmark: Any, split: Any) -> Self:
        """Fitted in nothing but its inputs: the weights are random. A control."""
        device = torch.device("cpu")
        self.device_used = "cpu"
        self.ids = tuple(side.ids.to_numpy(object) for side in benchmark.sides)
        self.inputs, self.networks = self.prepare(benchmark, split, device), []
        for member in range(self.config.members):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.config.seed + member)
                self.networks.append(self.build(self.inputs).eval())
        self.history, self.chosen = [], {}
        return self


@dataclass
class Profiles(Encoder):
    """`ProfilesConfig` behind the interface of every model.

    Its benchmark is molecules x feature spaces; a prediction is the cosine of a molecule and its
    profile, and weights are chosen by where validation molecules rank among each other.
    """

    config: ProfilesConfig = field(default_factory=ProfilesConfig)
    Config = ProfilesConfig
    version = 1
    tolerance = 0.05

    def prepare(self, benchmark: Any, split: Any, device: torch.device) -> Inputs:
        """Structures and components; whatever is fitted is fitted on training molecules."""
        config = self.config
        side, spaces = benchmark.sides[0], list(benchmark.sides[1].ids)
        pairs = benchmark.pairs[split.train]
        rows = np.unique(pairs[:, 0])
        recipes: dict[str, Recipe] = {"molecule": structure_recipe(side, config.encoder)}
        train = {}
        for number, space in enumerate(spaces):
            train[space] = np.zeros(len(side), dtype=bool)
            train[space][pairs[pairs[:, 1] == number, 0]] = True
            if not train[space].any():
                raise DataError(
                    f"no training molecule has {space}", remedy="use another split, or leave it out"
                )
            how = FeatureSpace(space, most=config.components, entity=side.name)
            recipes[space] = how.fit(side, np.flatnonzero(train[space]))
        views = make_views(side, recipes)
        kept = frequent(views["molecule"], rows)
        values = {space: views[space].values for space in spaces}
        if config.shuffled:
            rng = np.random.default_rng(config.seed)
            for space in spaces:
                there = np.flatnonzero(train[space])
                values[space] = values[space].copy()
                values[space][there] = values[space][rng.permutation(there)]
        labels = side.keys[side.name if config.has("stereoisomers_apart") else side.identity]
        group = side.keys[config.within] if config.within else np.zeros(len(side))
        return Inputs(
            molecule=read(views["molecule"], kept, device),
            spaces={
                space: torch.as_tensor(x, dtype=torch.float32, device=device)
                for space, x in values.items()
            },
            known={space: views[space].mask(device) for space in spaces},
            train={space: torch.as_tensor(mask, device=device) for space, mask in train.items()},
            rows=torch.as_tensor(rows, device=device),
            compound=codes(labels, device),
            group=codes(group, device),
            recipes=recipes,
            kept=kept,
        )

    def build(self, inputs: Inputs) -> Network:
        """See `Network`."""
        return Network(inputs, self.config)

    def batches(self, inputs: Inputs) -> Batches:
        """Every step draws its molecules afresh."""
        size = self.config.batch
        return Batches(inputs.rows, size, max(1, len(inputs.rows) // size))

    def schedule(self, inputs: Inputs) -> TrainConfig:
        """One cycle, the weights looked at ten times."""
        config = self.config
        every = max(1, config.steps // 10)
        return TrainConfig(
            config.steps, config.learning_rate, config.weight_decay, evaluate_every=every
        )

    def loss(self, net: Network, inputs: Inputs, *batch: torch.Tensor) -> LossOutput:
        """See `objective`."""
        return objective(net, inputs, batch[0], inputs.train, self.config)

    def score(self, net: Network, inputs: Inputs, benchmark: Any, split: Any) -> float:
        """How far down validation molecules find their profiles (0 first, 1 last, in logarithms),
        the mean over feature spaces and directions; or, with defects, what the code looks at.
        """
        config, pairs = self.config, benchmark.pairs[split.valid]
        rows = torch.as_tensor(np.unique(pairs[:, 0]), device=inputs.rows.device)
        if config.has("mixed_accuracy"):
            space = next(iter(inputs.spaces))
            z = encode(net, inputs, rows, inputs.known, config)
            return -float((rank_of_positive(z["molecule"], z[space]) == 1).double().mean())
        known = inputs.known
        if config.has("temperature_in_training_only"):
            warm = replace(config, temperature=1.0)
            return float(objective(net, inputs, rows, known, warm).total)
        z, found = encode(net, inputs, rows, known, config), []
        for space in inputs.spaces:
            there = known[space][rows]
            if there.sum() < 2:
                continue
            same = inputs.compound[rows][:, None] == inputs.compound[rows][None]
            for pair in ((z["molecule"], z[space]), (z[space], z["molecule"])):
                rank = rank_of_positive(*pair, there, same)
                found.append(rank.log().mean().item() / np.log(len(rank)))
        if not found:
            raise DataError(
                "fewer than two validation molecules have a profile",
                remedy="use another split, or more molecules",
            )
        return float(np.mean(found))

    def predicted(self, net: Network, inputs: Inputs, pairs: np.ndarray) -> np.ndarray:
        """[n] cosine of a molecule and its profile."""
        rows = torch.as_tensor(np.unique(pairs[:, 0]), device=inputs.rows.device)
        with torch.inference_mode():
            z = encode(net, inputs, rows, inputs.known, self.config)
            spaces = torch.stack([F.normalize(z[space], dim=1) for space in inputs.spaces], 1)
            own = F.normalize(z["molecule"], dim=1)[:, None]
            cosine = (own * spaces).sum(2).double().cpu().numpy()  # [rows, spaces]
        return cosine[np.searchsorted(rows.cpu().numpy(), pairs[:, 0]), pairs[:, 1]]

    def extended(self, more: Mapping[str, Any]) -> Inputs:
        """The inputs with further molecules after the known ones."""
        if set(more) != {"molecule"}:
            return super().extended(more)
        inputs, side = self.inputs, more["molecule"]
        device = inputs.rows.device
        fresh = inputs.structures(side, device)
        known = isinstance(inputs.molecule, torch.Tensor)
        both = torch.cat([inputs.molecule, fresh]) if known else inputs.molecule.joined(fresh)
        asked = {
            space: how
            for space, how in inputs.recipes.items()
            if space != "molecule" and side.has(space).any()
        }
        made = make_views(side, asked)
        spaces, masks, train = {}, {}, {}
        nobody = torch.zeros(len(side), dtype=torch.bool, device=device)
        for space, x in inputs.spaces.items():
            new = x.new_zeros(len(side), x.shape[1])
            if space in made:
                new = torch.as_tensor(made[space].values, dtype=torch.float32, device=device)
            spaces[space] = torch.cat([x, new])
            there = made[space].mask(device) if space in made else nobody
            masks[space] = torch.cat([inputs.known[space], there])
            train[space] = torch.cat([inputs.train[space], nobody])
        last = int(inputs.compound.max()) + 1
        alone = torch.arange(last, last + len(side), device=device)
        return replace(
            inputs,
            molecule=both,
            spaces=spaces,
            known=masks,
            train=train,
            compound=torch.cat([inputs.compound, alone]),
            group=torch.cat([inputs.group, inputs.group.new_zeros(len(side))]),
        )

    def embeddings(self, rows: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """View -> [rows, dim x members] float64 embeddings of length 1 (over the root of the
        members), so that an inner product is the mean cosine; zeros where a profile is missing.
        """
        inputs = self.inputs
        every = torch.arange(len(inputs.compound), device=inputs.rows.device)
        rows_ = every if rows is None else torch.as_tensor(rows, device=inputs.rows.device)
        parts: dict[str, list[np.ndarray]] = {}
        with torch.inference_mode():
            for net in self.networks:
                z = encode(
                    cast("Network", net),
                    inputs,
                    rows_,
                    inputs.known,
                    replace(self.config, defects=()),
                )
                for view, value in z.items():
                    there = inputs.known[view][rows_] if view != "molecule" else None
                    unit = F.normalize(value, dim=1).double()
                    unit = unit if there is None else unit * there[:, None]
                    parts.setdefault(view, []).append(unit.cpu().numpy())
        return {view: np.hstack(part) / np.sqrt(len(part)) for view, part in parts.items()}

    def _features(self, net: Network, x: Any) -> torch.Tensor:
        return net.features(x, self.config.has("other_activation"))


def encode(
    net: Network,
    inputs: Inputs,
    rows: torch.Tensor,
    known: Mapping[str, torch.Tensor],
    config: ProfilesConfig,
) -> dict[str, torch.Tensor]:
    """View -> [rows, dim]; with `absent_columns` a missing profile is a vector of -1."""
    spaces = {}
    for space, x in inputs.spaces.items():
        there, fill = known[space][rows][:, None], -1.0 if config.has("absent_columns") else 0.0
        spaces[space] = torch.where(there, x[rows], torch.full_like(x[rows], fill))
    return net(taken(inputs.molecule, rows), spaces)


def objective(
    net: Network,
    inputs: Inputs,
    rows: torch.Tensor,
    known: Mapping[str, torch.Tensor],
    config: ProfilesConfig,
) -> LossOutput:
    """Sum of the contrast over pairs of views, over the molecules that have both.

    Parameters
    ----------
    rows : [b] molecules of the batch
    known : feature space -> [n] bool, profiles that may be looked at
    """
    z = encode(net, inputs, rows, known, config)
    there = {space: mask[rows] for space, mask in known.items()}
    compound, group = inputs.compound[rows], inputs.group[rows]
    same = (compound[:, None] == compound[None]) | (group[:, None] != group[None])
    asked = [("molecule", space) for space in inputs.spaces]
    if config.pairs == "all":
        names = list(inputs.spaces)
        asked += [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    parts = {}
    for a, b in asked:
        masks: dict[str, torch.Tensor] | None = there
        out: torch.Tensor | None = same
        loss: Callable[..., torch.Tensor] = partial(info_nce, temperature=config.temperature)
        if config.targets == "soft":
            out, x = None, F.normalize(inputs.spaces[b][rows], dim=1)
            near = torch.softmax(x @ x.T / config.soft_temperature, 1)
            loss = partial(soft_alignment, targets=near, temperature=config.temperature)
        elif config.has("absent_columns"):
            asks = there[b] & there[a] if a in there else there[b]
            masks, loss = None, partial(loss, asks=asks)
        parts[f"{a}-{b}"] = multi_view(z, masks, out, [(a, b)], loss)
    total = torch.stack(list(parts.values())).sum()
    return LossOutput(total, {name: part.detach() for name, part in parts.items()})


@dataclass(frozen=True)
class AssaysConfig:
    """The same encoder, trained on measured activities.

    Attributes
    ----------
    encoder, hidden, dim, drop_in, drop : as in `ProfilesConfig`
    batch : molecules a step
    """

    encoder: str = "fingerprint"
    hidden: int = 256
    dim: int = 64
    drop_in: float = 0.1
    drop: float = 0.3
    batch: int = 512
    steps: int = 400
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    members: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises DataError for an unknown encoder."""
        check_names(self, encoder=("fingerprint", "graph"))


@dataclass(frozen=True, eq=False)
class AssayInputs:
    """Structures, and standardised training values.

    Attributes
    ----------
    y, seen : [n, assays], zeros and False where there is no training value
    rows : [m] molecules with one
    mean, spread : [assays] of the training values
    """

    molecule: Any
    y: torch.Tensor
    seen: torch.Tensor
    rows: torch.Tensor
    mean: np.ndarray
    spread: np.ndarray
    recipes: dict[str, Recipe]
    kept: np.ndarray

    structures = Inputs.structures


class AssayNetwork(nn.Module):
    """The molecules' tower, and one linear output an assay behind it."""

    def __init__(self, inputs: AssayInputs, config: AssaysConfig) -> None:
        super().__init__()
        self.molecule = molecule_tower(inputs.molecule, config)
        self.head = nn.Sequential(nn.GELU(), nn.Linear(config.dim, inputs.y.shape[1]))

    def forward(self, molecule: Any) -> torch.Tensor:
        """[n, assays] in standard deviations."""
        return self.head(self.molecule(molecule))

    features = Network.features


@dataclass
class Assays(Encoder):
    """One network for all assays of a table of molecules x assays: the mean squared error over
    measured pairs, each assay standardised.
    """

    config: AssaysConfig = field(default_factory=AssaysConfig)
    Config = AssaysConfig
    version = 1
    tolerance = 0.05

    def prepare(self, benchmark: Any, split: Any, device: torch.device) -> AssayInputs:
        """Structures, and values standardised by the training set."""
        side, table = benchmark.sides[0], benchmark.matrix(split.train)
        seen = np.isfinite(table)
        count = seen.sum(0)
        mean = np.where(seen, table, 0.0).sum(0) / np.maximum(count, 1)
        spread = np.sqrt(np.where(seen, (table - mean) ** 2, 0.0).sum(0) / np.maximum(count, 1))
        spread = np.where(spread > 1e-6, spread, 1.0)
        rows = np.flatnonzero(seen.any(1))
        recipe = structure_recipe(side, self.config.encoder)
        view = make_views(side, {"molecule": recipe})["molecule"]
        kept = frequent(view, rows)
        y = np.where(seen, (table - mean) / spread, 0.0)
        return AssayInputs(
            read(view, kept, device),
            torch.as_tensor(y, dtype=torch.float32, device=device),
            torch.as_tensor(seen, device=device),
            torch.as_tensor(rows, device=device),
            mean,
            spread,
            {"molecule": recipe},
            kept,
        )

    def build(self, inputs: AssayInputs) -> AssayNetwork:
        """See `AssayNetwork`."""
        return AssayNetwork(inputs, self.config)

    def batches(self, inputs: AssayInputs) -> Batches:
        """Every step draws its molecules afresh."""
        size = self.config.batch
        return Batches(inputs.rows, size, max(1, len(inputs.rows) // size))

    def loss(self, net: AssayNetwork, inputs: AssayInputs, *batch: torch.Tensor) -> LossOutput:
        """Mean squared error over the measured pairs of the batch."""
        rows = batch[0]
        seen = inputs.seen[rows]
        error = (net(taken(inputs.molecule, rows)) - inputs.y[rows])[seen]
        total = (error**2).sum() / seen.sum().clamp(min=1)
        return LossOutput(total, {"error": total.detach()})

    def predicted(self, net: AssayNetwork, inputs: AssayInputs, pairs: np.ndarray) -> np.ndarray:
        """[n] in the benchmark's units."""
        rows, at = np.unique(pairs[:, 0], return_inverse=True)
        with torch.inference_mode():
            said = net(taken(inputs.molecule, torch.as_tensor(rows, device=inputs.rows.device)))
        said = said.double().cpu().numpy()
        return said[at, pairs[:, 1]] * inputs.spread[pairs[:, 1]] + inputs.mean[pairs[:, 1]]

    def outputs(self, side: Any) -> np.ndarray:
        """[n, assays x members] float64 predicted activities, in standard deviations, of the
        molecules of a side.
        """
        x = self.inputs.structures(side, torch.device(self.device_used))
        return self._apply(lambda net: net(x))
