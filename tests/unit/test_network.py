"""The glue of every network, on a third one that says only how it is built, what its loss is and
what it predicts.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from tiny import renamed
from torch import nn

from clmt_lib import data
from clmt_lib.audit import proves_blind
from clmt_lib.io import DataError
from clmt_lib.models.network import NetworkModel, taken
from clmt_lib.nn.heads import LossOutput
from clmt_lib.training import Callback, TrainConfig, train
from clmt_lib.views.base import Standardised, fit_views


@dataclass(frozen=True)
class LinesConfig:
    steps: int = 12
    learning_rate: float = 1e-2
    weight_decay: float = 0.01
    members: int = 2
    batch: int = 0
    seed: int = 3


@dataclass
class Lines(NetworkModel):
    """A drug's bias plus a linear function of a line's expression, one for all drugs."""

    config: LinesConfig = field(default_factory=LinesConfig)
    Config = LinesConfig

    def prepare(self, benchmark, split, device):
        views = fit_views(benchmark, split, {"cell": {"it": Standardised("expression")}})
        pairs = torch.as_tensor(benchmark.pairs[split.train], device=device)
        y = torch.as_tensor(benchmark.y[split.train], dtype=torch.float32, device=device)
        x = views["cell"]["it"].tensor(device)
        return {"x": x, "drugs": benchmark.shape[1], "pairs": pairs, "y": y}

    def build(self, inputs):
        width = inputs["x"].shape[1]
        line = nn.Sequential(nn.Dropout(0.2), nn.Linear(width, 1))
        return nn.ModuleDict({"line": line, "drug": nn.Embedding(inputs["drugs"], 1)})

    def batches(self, inputs):
        if not self.config.batch:
            return None
        rows = torch.arange(len(inputs["y"]))
        return torch.utils.data.DataLoader(rows, self.config.batch, shuffle=True)

    def loss(self, net, inputs, *batch):
        rows = batch[0] if batch else slice(None)
        cell, drug = inputs["pairs"][rows].T
        said = net["line"](inputs["x"])[cell, 0] + net["drug"](drug)[:, 0]
        error = ((said - inputs["y"][rows]) ** 2).mean()
        return LossOutput(error, {"error": error.detach()})

    def schedule(self, inputs):
        return TrainConfig(
            self.config.steps, self.config.learning_rate, evaluate_every=3, checkpoint_every=2
        )

    def predicted(self, net, inputs, pairs):
        cell, drug = torch.as_tensor(pairs.T.copy())
        with torch.inference_mode():
            said = net["line"](inputs["x"])[cell, 0] + net["drug"](drug)[:, 0]
        return said.double().numpy()


@pytest.fixture(scope="module")
def world():
    return data.load("simulated", cells=48)


@pytest.fixture(scope="module")
def split(world):
    return data.make_split(world, "cell_blind")


@pytest.fixture(scope="module")
def model(world, split):
    return Lines().fit(world, split)


def test_members_have_seeds_of_their_own_and_are_averaged(world, split, model):
    alone = [
        Lines(LinesConfig(members=1, seed=seed)).fit(world, split).predict(world.pairs)
        for seed in (3, 4)
    ]
    assert not np.allclose(*alone)
    assert np.array_equal(model.predict(world.pairs), np.mean(alone, axis=0))
    assert [row["member"] for row in model.history] == [0] * 4 + [1] * 4
    assert model.chosen["best_valid"] == min(row["valid"] for row in model.history)
    assert model.device_used in ("cpu", "cuda")


def test_the_glue_adds_nothing_to_the_loop(world, split, model):
    inputs = model.prepare(world, split, torch.device("cpu"))
    config = model.schedule(inputs)
    net, _ = train(
        lambda: model.build(inputs),
        lambda net: model.loss(net, inputs),
        TrainConfig(**{**vars(config), "seed": 4}),
        evaluate=lambda net: model.score(net, inputs, world, split),
    )
    for name, value in net.state_dict().items():
        assert np.array_equal(model.state()[f"1.{name}"], value.numpy())


class Dies(Callback):
    def __init__(self, at):
        self.left = at

    def on_step(self, step, module, out, learning_rate):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("batch", [0, 100])
@pytest.mark.parametrize("at", [5, 17])  # in the first and in the second member
def test_a_fit_that_was_cut_off_goes_on_where_it_was(world, split, tmp_path, at, batch):
    config, file = LinesConfig(batch=batch), tmp_path / "checkpoint.pt"
    calm = Lines(config).fit(world, split)
    with pytest.raises(KeyboardInterrupt):
        Lines(config, checkpoint=file, callbacks=[Dies(at)]).fit(world, split)
    steps = Dies(-1)
    again = Lines(config, checkpoint=file, callbacks=[steps]).fit(world, split)
    assert np.array_equal(again.predict(world.pairs), calm.predict(world.pairs))
    assert again.history == calm.history
    assert -1 - steps.left <= 2 * config.steps - at + 1  # what was done is not done again
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint.0.pt",
        "checkpoint.1.pt",
    ]


def test_a_saved_network_predicts_the_same_to_the_last_bit(world, model, tmp_path):
    model.save(tmp_path / "it")
    again = Lines.load(tmp_path / "it")
    assert np.array_equal(again.predict(world.pairs), model.predict(world.pairs))
    assert again.config == model.config and again.history == model.history
    assert again.state().keys() == model.state().keys()


def test_entities_are_matched_by_id_and_a_new_one_is_refused_by_name(world, model):
    order = np.random.default_rng(0).permutation(world.shape[0])
    turned = world.with_sides(taken(world.side("cell"), order))
    there = world.pairs.copy()
    there[:, 0] = np.argsort(order)[there[:, 0]]
    assert np.array_equal(model.predict(there, turned), model.predict(world.pairs))
    other = renamed(world, lines=[2])
    known = world.pairs[world.pairs[:, 0] != 2]  # nobody asks about the new one
    assert np.array_equal(model.predict(known, other), model.predict(known))
    name = f"new {world.cells.index[2]}"
    with pytest.raises(DataError, match=f"Lines cannot predict for the cell '{name}'"):
        model.predict(world.pairs, other)


def test_it_is_a_model_like_the_others(world, split):
    assert Lines.known_settings() == {
        "steps",
        "learning_rate",
        "weight_decay",
        "members",
        "batch",
        "seed",
    }

    def fit(benchmark, split):
        return Lines(LinesConfig(steps=3, members=1)).fit(benchmark, split).state()

    assert proves_blind(fit, world, split).clean
