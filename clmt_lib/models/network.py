"""What every trained network shares: device, members, training, checkpoints, history, saving.

A network model says three things: how it is built from its inputs, what its loss is, and what it
predicts. Everything around them is written here, once (chapter 14 adds one in this way)::

    @dataclass
    class Mine(NetworkModel):
        config: MyConfig = field(default_factory=MyConfig)
        Config = MyConfig

        def prepare(self, benchmark, split, device): ...   # inputs, fitted on the training set
        def build(self, inputs): ...                       # an nn.Module
        def loss(self, net, inputs): ...                   # a LossOutput
        def predicted(self, net, inputs, pairs): ...       # [n] in the benchmark's units
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from clmt_lib.io import DataError
from clmt_lib.models.base import Configured
from clmt_lib.nn.heads import LossOutput
from clmt_lib.tasks import selection_score
from clmt_lib.training import Callback, TrainConfig, pick_device, train

TENSOR = "tensor"  # marks an array that is a tensor while the model is in use


@dataclass
class NetworkModel(Configured):
    """A model that trains one network, or several whose predictions are averaged.

    Parameters
    ----------
    config : a frozen dataclass with at least `seed`; `members`, where it has it, is the number of
        trainings, with the seeds that follow
    device : "auto", "cpu" or "cuda"
    checkpoint : file that each member's checkpoint is named after, or None
    progress : show a bar
    callbacks : told of every step and evaluation of every member, see `training.Callback`

    Attributes
    ----------
    inputs : what `prepare` made
    networks : the trained modules, in eval mode
    ids : ids of the entities of either side that it was fitted with
    history : of the trainings, rows of member, step, named losses, valid
    """

    config: Any = None
    device: str = "auto"
    checkpoint: Path | None = None
    progress: bool = False
    callbacks: Sequence[Callback] = field(default=(), repr=False, compare=False)
    accelerated = True
    refits = True

    @abstractmethod
    def prepare(self, benchmark: Any, split: Any, device: torch.device) -> Any:
        """Everything the network reads, on a device: a dataclass, fitted on the training set."""

    @abstractmethod
    def build(self, inputs: Any) -> nn.Module:
        """A network with fresh weights."""

    @abstractmethod
    def loss(self, net: Any, inputs: Any, *batch: Any) -> LossOutput:
        """How wrong it is: on everything, or on the batch where `batches` gives some."""

    @abstractmethod
    def predicted(self, net: Any, inputs: Any, pairs: np.ndarray) -> np.ndarray:
        """[n] float64 predictions of one network, in the benchmark's units, of [n, 2] positions."""

    def batches(self, inputs: Any) -> Iterable[Any] | None:
        """What `training.train` takes as `batches`; None for a full batch."""
        return None

    def schedule(self, inputs: Any) -> TrainConfig:
        """How long and how hard to train; the seed is set by `fit`."""
        config = self.config
        return TrainConfig(config.steps, config.learning_rate, config.weight_decay)

    def score(self, net: Any, inputs: Any, benchmark: Any, split: Any) -> float | tuple[float, ...]:
        """What the best weights are chosen by, on the validation set; lower is better."""
        predicted = self.predicted(net, inputs, benchmark.pairs[split.valid])
        return selection_score(benchmark, split, predicted)

    def fit(self, benchmark: Any, split: Any) -> Self:
        """Train on the training set, keep the weights that are best on the validation set."""
        device = pick_device(self.device)
        self.device_used = str(device)
        self.ids = tuple(side.ids.to_numpy(object) for side in benchmark.sides)
        self.inputs = inputs = self.prepare(benchmark, split, device)
        self.networks, self.history = [], []
        for member in range(getattr(self.config, "members", 1)):
            net, history = train(
                lambda: self.build(inputs),
                lambda net, *batch: self.loss(net, inputs, *batch),
                replace(self.schedule(inputs), seed=self.config.seed + member),
                batches=self.batches(inputs),
                evaluate=None
                if not len(split.valid)  # all steps, and the last weights
                else lambda net: self.score(net, inputs, benchmark, split),
                checkpoint=self.checkpoint and self.checkpoint.with_suffix(f".{member}.pt"),
                callbacks=self.callbacks,
                device=device,
                progress=self.progress,
            )
            self.networks.append(net)
            self.history += [{"member": member, **row} for row in history]
        if len(split.valid):
            self.chosen = {"best_valid": min(row["valid"] for row in self.history)}
        return self

    def predict(self, pairs: np.ndarray, benchmark: Any = None) -> np.ndarray:
        """[n] mean over the networks, in the benchmark's units; see `Model.predict`."""
        pairs, inputs = np.asarray(pairs), self.inputs
        if benchmark is not None:
            pairs, inputs = self.placed(pairs, benchmark)
        return np.mean([self.predicted(net, inputs, pairs) for net in self.networks], axis=0)

    def placed(self, pairs: np.ndarray, benchmark: Any) -> tuple[np.ndarray, Any]:
        """Positions in another benchmark as positions in inputs that know all its entities.

        Entities are matched by id; those that are new come after the known ones, in inputs that
        `extended` makes.
        """
        places, more = [], {}
        for axis, side in enumerate(benchmark.sides):
            known = {name: position for position, name in enumerate(self.ids[axis])}
            asked = np.unique(pairs[:, axis])
            new = [position for position in asked if side.ids[position] not in known]
            place = np.full(len(side), -1)
            for position in asked:
                place[position] = known.get(side.ids[position], -1)
            place[new] = len(known) + np.arange(len(new))
            places.append(place[pairs[:, axis]])
            if new:
                more[side.name] = taken(side, np.array(new))
        return np.stack(places, 1), self.extended(more) if more else self.inputs

    def extended(self, more: Mapping[str, Any]) -> Any:
        """The inputs with further entities, name of a side -> `Side`, which come after the known
        ones and have no response.

        Raises
        ------
        DataError
            The network cannot read an entity that was not there at `fit`.
        """
        name, side = next(iter(more.items()))
        raise DataError(
            f"{type(self).__name__} cannot predict for the {name} {side.ids[0]!r}: "
            "it was not there at fit",
            remedy="fit on a benchmark that has it, or take a model for new entities",
        )

    def state(self) -> dict[str, np.ndarray]:
        """Every weight by name, a member's after its number."""
        return {
            f"{member}.{name}": value.cpu().numpy()
            for member, net in enumerate(self.networks)
            for name, value in net.state_dict().items()
        }

    def pack(self) -> dict[str, Any]:
        """What `save` writes: settings, inputs and weights, tensors as arrays."""
        out = super().pack()
        out.pop("callbacks", None)
        weights = [dict(net.state_dict()) for net in out.pop("networks", ())]
        settings = {f.name: getattr(self.config, f.name) for f in fields(self.config)}
        return {
            **out,
            "config": settings,
            "inputs": _arrays(out.get("inputs")),
            "weights": _arrays(weights),
        }

    def unpack(self, parts: dict[str, Any]) -> None:
        """Take back what `pack` gave, onto the device there is."""
        parts = dict(parts)
        device = pick_device(self.device)
        weights = _tensors(parts.pop("weights"), device)
        parts["config"] = type(self).Config(**parts["config"])
        super().unpack({**parts, "inputs": _tensors(parts["inputs"], device), "callbacks": ()})
        self.networks = []
        for state in weights:
            with torch.random.fork_rng(devices=[]):
                net = self.build(self.inputs).to(device)
            net.load_state_dict(state)
            self.networks.append(net.eval())


def taken(side: Any, positions: np.ndarray) -> Any:
    """A `Side` of some entities of another."""
    return replace(
        side,
        frame=side.frame.iloc[positions],
        views={
            name: view.iloc[positions] if hasattr(view, "iloc") else view[positions]
            for name, view in side.views.items()
        },
        present={name: side.has(name)[positions] for name in side.present},
        keys={
            name: rule[positions] if isinstance(rule, np.ndarray) else rule
            for name, rule in side.keys.rules.items()
        },
    )


def _mapped(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """The same containers with `leaf` of what is in them, where that is not None."""
    found = leaf(value)
    if found is not None:
        return found
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(
            **{f.name: _mapped(getattr(value, f.name), leaf) for f in fields(value) if f.init}
        )
    if isinstance(value, Mapping):
        return {name: _mapped(part, leaf) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(part, leaf) for part in value)
    return value


def _arrays(value: Any) -> Any:
    """Tensors as marked arrays."""
    return _mapped(
        value,
        lambda x: {TENSOR: x.detach().cpu().numpy()} if isinstance(x, torch.Tensor) else None,
    )


def _tensors(value: Any, device: torch.device) -> Any:
    """Marked arrays as tensors on a device."""
    return _mapped(
        value,
        lambda x: (
            torch.tensor(x[TENSOR], device=device)
            if isinstance(x, dict) and set(x) == {TENSOR}
            else None
        ),
    )
