"""What chapter 06 says of the training loop and of the small networks it trains, held to
tolerances; and its figures.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from tiny import renamed
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from clmt_lib import data, models
from clmt_lib.audit import proves_blind
from clmt_lib.book import plotting
from clmt_lib.data.response import simulated
from clmt_lib.io import DataError
from clmt_lib.models import clmt
from clmt_lib.models.clmt import auxiliary
from clmt_lib.models.network import NetworkModel, taken
from clmt_lib.nn.heads import LossOutput
from clmt_lib.tasks import metrics
from clmt_lib.training import Callback, TrainConfig, pick_device, train
from clmt_lib.views.base import Standardised, fit_views

matplotlib.use("agg")
X, Y = np.array([-1.0, 0, 1, 2]), np.array([-1.0, 1, 3, 5])


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(2, dtype=torch.float64))


def line_loss(module):
    rest = module.theta[0] * torch.from_numpy(X) + module.theta[1] - torch.from_numpy(Y)
    return LossOutput((rest**2).mean(), {})


def adamw(count, rate=0.5, decay=0.1, clip=np.inf):
    theta = m = q = np.zeros(2)
    path = [theta]
    for t in range(1, count + 1):
        rest = theta[0] * X + theta[1] - Y
        g = np.array([np.mean(2 * rest * X), np.mean(2 * rest)])
        g = g * min(1, clip / np.linalg.norm(g))
        m, q = 0.9 * m + 0.1 * g, 0.999 * q + 0.001 * g**2
        theta = theta - rate * (
            m / (1 - 0.9**t) / (np.sqrt(q / (1 - 0.999**t)) + 1e-8) + decay * theta
        )
        path.append(theta)
    return np.array(path)


def test_the_loop_takes_the_steps_of_the_pencil():
    trained, _ = train(Line, line_loss, TrainConfig(8, 0.5, 0.1, schedule="step"))
    assert np.allclose(trained.theta.detach().numpy(), adamw(8)[-1], atol=1e-9)


def test_only_gradients_longer_than_the_clip_are_shortened():
    steps = {
        clip: train(Line, line_loss, TrainConfig(8, 0.5, 0.1, schedule="step", clip=clip))[0]
        .theta.detach()
        .numpy()
        for clip in (None, 2.0, 1e9)
    }
    assert np.allclose(steps[2.0], adamw(8, clip=2.0)[-1], atol=1e-5) and not np.allclose(
        adamw(8, clip=2.0)[-1], adamw(8)[-1], atol=1e-2
    )
    assert np.array_equal(steps[None], steps[1e9]), "a clip that never acts changes no bit"


def test_two_criteria_keep_the_last_that_was_better_in_either_and_patience_never_runs_out():
    rmse, r = (
        [1.00, 1.02, 1.01, 1.03, 1.02, 1.04, 1.03, 1.05],
        [0.50, 0.51, 0.49, 0.50, 0.48, 0.49, 0.47, 0.48],
    )
    config, both, one = (
        TrainConfig(8, 0.5, 0.1, schedule="step", evaluate_every=1, patience=2),
        iter(zip(rmse, r, strict=True)),
        iter(rmse),
    )
    kept, history = train(
        Line,
        line_loss,
        config,
        evaluate=lambda module: tuple(a * s for a, s in zip(next(both), (1, -1), strict=True)),
    )
    assert len(history) == 8 and np.allclose(kept.theta.detach().numpy(), adamw(8)[8])
    kept, history = train(Line, line_loss, config, evaluate=lambda module: next(one))
    assert len(history) == 3 and np.allclose(kept.theta.detach().numpy(), adamw(8)[1])


@pytest.fixture(scope="module")
def stage():
    """The rehearsal of the chapter: roles, inputs of the network without a brake, and the judge's
    responses without noise.
    """
    torch.set_num_threads(1)
    world = data.load("simulated")
    split = data.make_split(world, "cell_blind")
    free = np.sort(np.concatenate([split.train, split.valid]))
    lines = np.random.default_rng(0).permutation(np.unique(world.pairs[free, 0]))
    learn, choose, judge = np.split(lines, [int(0.6 * len(lines)), int(0.8 * len(lines))])
    of = {
        name: free[np.isin(world.pairs[free, 0], rows)]
        for name, rows in (("learn", learn), ("choose", choose))
    }
    known = np.random.default_rng(1).permutation(of["learn"])
    holes, fitted = np.split(known, [len(known) // 10])
    cut = replace(split, train=np.sort(fitted), valid=of["choose"])
    bare = clmt.CLMTConfig.corrected(
        cell_views=("expression", "mutation", "copy_number"),
        drug_views=("annotation", "fingerprint"),
        hidden=32,
        dim=16,
        alignment="none",
        keep=1.0,
        drop_in=0.0,
        drop=0.0,
    )
    return {
        "world": world,
        "cut": cut,
        "easy": replace(cut, kind="mixed", valid=np.sort(holes)),
        "judge": judge,
        "truth": simulated.truth().expected(),
        "bare": bare,
        "inputs": clmt.prepare(world, cut, bare),
    }


def table(stage, module):
    with torch.inference_mode():
        return stage["inputs"].in_units(module(stage["inputs"]).prediction)


def error_on(stage, found, positions):
    return metrics.rmse(
        stage["world"].y[positions], found[tuple(stage["world"].pairs[positions].T)]
    )


def error(stage, prediction):
    inputs = stage["inputs"]
    return (
        inputs.mask * inputs.weight * (prediction - inputs.target) ** 2
    ).sum() / inputs.mask.sum()


def fitted(stage, config, settings):
    rows = []

    def look(module):
        found = table(stage, module)
        rows.append(
            [
                error_on(stage, found, positions)
                for positions in (stage["cut"].train, stage["easy"].valid, stage["cut"].valid)
            ]
        )
        return rows[-1][-1]

    def loss(module):
        value = error(stage, module(stage["inputs"]).prediction)
        return LossOutput(value, {"error": value.detach()})

    return train(lambda: clmt.Network(stage["inputs"], config), loss, settings, evaluate=look)[
        0
    ], np.array(rows)


@pytest.fixture(scope="module")
def memoriser(stage):
    return fitted(
        stage, stage["bare"], TrainConfig(100, 8e-3, 0.01, evaluate_every=5, schedule="step")
    )


def test_without_a_brake_new_lines_are_best_early_and_known_lines_late(memoriser):
    training, holes, new = memoriser[1].T
    assert training[-1] == pytest.approx(0.62, abs=0.06) and (np.diff(training) < 0.02).all()
    assert (
        new.argmin() < 10 < holes.argmin()
        and new.min() == pytest.approx(1.27, abs=0.04)
        and new[-1] > new.min() + 0.01
    )


def test_dropout_raises_the_training_error_lowers_that_of_new_lines_and_is_off_in_eval(
    stage, memoriser
):
    module, rows = fitted(
        stage,
        replace(stage["bare"], drop_in=0.1, drop=0.4),
        TrainConfig(100, 8e-3, 0.1, evaluate_every=5),
    )
    assert rows[-1, 0] > memoriser[1][-1, 0] + 0.1
    assert rows[:, 2].min() < memoriser[1][:, 2].min() - 0.02
    assert np.array_equal(table(stage, module), table(stage, module))
    module.train()
    assert np.median(np.abs(table(stage, module) - table(stage, module))) > 0.1


def test_each_entity_once_gives_the_predictions_of_the_long_way(stage, memoriser):
    module, inputs, pairs = memoriser[0], stage["inputs"], stage["world"].pairs[:300]
    cell, drug = torch.as_tensor(pairs.T.copy())
    with torch.inference_mode():
        z_cell, z_drug = (
            sum(tower(side[name][at]) for name, tower in towers.items())
            for towers, side, at in (
                (module.cell, inputs.cell, cell),
                (module.drug, inputs.drug, drug),
            )
        )
        long = (
            module.head.scale * (z_cell * z_drug).sum(1)
            + module.head.cell(z_cell)[:, 0]
            + module.head.drug(z_drug)[:, 0]
        )
        assert torch.allclose(long, module(inputs).prediction[cell, drug], atol=1e-4)


def test_holes_of_known_lines_choose_a_model_that_fails_on_new_ones(stage):
    options = dict(ridges=(1.0, 3.0), same=(0.5,))
    candidates = {
        "effects": {},
        "als": dict(ranks=(10,)),
        "learned_kernel": dict(rank=20),
        "kernel_text": options,
    }
    made = {
        name: [
            models.build(name, **kw).fit(stage["world"], stage[cut]).table
            for cut in ("easy", "cut")
        ]
        for name, kw in candidates.items()
    }
    by_holes = min(made, key=lambda name: error_on(stage, made[name][0], stage["easy"].valid))
    by_new = min(made, key=lambda name: error_on(stage, made[name][1], stage["cut"].valid))
    assert (by_holes, by_new) == ("learned_kernel", "kernel_text")
    judged = {
        name: metrics.rmse(stage["truth"][stage["judge"]], tables[1][stage["judge"]])
        for name, tables in made.items()
    }
    assert judged["learned_kernel"] == pytest.approx(1.20, abs=0.02) and judged[
        "kernel_text"
    ] == pytest.approx(1.00, abs=0.02)
    assert judged["effects"] < judged["learned_kernel"]


def test_auxiliary_heads_learn_their_tasks_and_do_not_help_the_response(stage):
    world, cut, config = stage["world"], stage["cut"], replace(stage["bare"], drop_in=0.1, drop=0.4)
    targets = {
        name: torch.as_tensor(values)
        for name, values in auxiliary.auxiliary_targets(world, cut.train).items()
    }
    classes = [int(targets[name].max()) + 1 for name in ("cell_type", "pathway")]
    cells, drugs = (torch.as_tensor(np.unique(side)) for side in world.pairs[cut.train].T)

    class Helped(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.heads = (
                clmt.Network(stage["inputs"], config),
                auxiliary.AuxiliaryHeads(config.dim, config.dim, *classes),
            )

        def forward(self, inputs):
            return self.net(inputs)

    def run(weight):
        def loss(module):
            out = module(stage["inputs"])
            extra, parts = auxiliary.auxiliary_loss(
                module.heads(out.cell["expression"], out.drug["fingerprint"]),
                targets,
                cells=cells,
                drugs=drugs,
            )
            return LossOutput(error(stage, out.prediction) + weight * extra, parts)

        module, history = train(
            Helped,
            loss,
            TrainConfig(50, 8e-3, 0.1, evaluate_every=25),
            evaluate=lambda net: error_on(stage, table(stage, net), cut.valid),
        )
        return metrics.rmse(
            stage["truth"][stage["judge"]], table(stage, module)[stage["judge"]]
        ), history[-1]

    (without, quiet), (helped, heard) = run(0.0), run(0.5)
    assert (
        heard["cell_type"] < 0.5 * np.log(classes[0]) < quiet["cell_type"]
        and heard["pathway"] < 0.9 * np.log(classes[1]) < quiet["pathway"]
    )
    assert helped - without == pytest.approx(0.03, abs=0.05)


@pytest.mark.parametrize("kind, expected", [("mixed", 0.95), ("cell_blind", 1.23)])
def test_a_small_clmt_beats_the_effects_within_seconds(kind, expected):
    world = data.load("simulated")
    cut = data.make_split(world, kind)
    made = [
        models.build(name, **kw).fit(world, cut)
        for name, kw in (
            ("clmt", dict(hidden=64, dim=32, message=64, steps=60, members=1, learning_rate=1e-2)),
            ("effects", {}),
        )
    ]
    small, effects = (
        metrics.rmse(world.y[cut.valid], model.predict(world.pairs[cut.valid])) for model in made
    )
    assert small == pytest.approx(expected, abs=0.06) and small < effects - 0.02


def texts(ax):
    return " ".join(text.get_text() for text in ax.texts)


def test_learning_curves_mark_the_lowest_step_and_name_every_line():
    rows = [{"step": 5 * i, "a": 1 / i, "b": abs(i - 3) + 1.0} for i in range(1, 7)]
    ax = plotting.learning_curves(rows, {"a": "training", "b": "valid"}, ("b",))
    assert "step 15" in texts(ax) and "training" in texts(ax) and len(ax.lines) == 3


def test_a_ratchet_fills_what_was_kept_and_circles_what_is_reported():
    axes = plotting.ratchet([1.0, 0.9, 1.1, 1.2], [0.5, 0.4, 0.45, 0.3], [True, True, True, False])
    assert axes[0].lines[1].get_xdata().tolist() == [4] and axes[0].lines[3].get_xdata() == [3]


def test_choices_colours_the_chosen_and_seed_spread_draws_every_seed():
    frame = pd.DataFrame([[1.0, 2.0], [2.0, 1.0], [3.0, 3.0]], ["a", "b", "c"], ["x", "y"])
    ax = plotting.choices(frame, {"by x": "a", "by y": "b"})
    (legend,) = ax.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["by x", "by y"]
    assert all(name in texts(ax) for name in "abc")
    ax = plotting.seed_spread({"one": [1.0, 2.0], "two": [1.5, 2.5]})
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one", "two"] and len(
        ax.lines
    ) == 6


def test_schedule_descent_and_threshold_draw_what_they_are_given():
    assert len(plotting.schedules({"one": [1.0, 2.0], "two": [2.0, 1.0]}).lines) == 2
    w = np.linspace(0, 1, 5)
    assert (
        len(
            plotting.descent(
                (w, w), np.add.outer(w**2, w**2), {"path": np.zeros((3, 2))}, ("w", "b")
            ).lines
        )
        == 2
    )
    ax = plotting.threshold(np.zeros(3), w, w, {"mode": 0.2, "threshold": 0.1})
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["mode", "threshold"]


class Waits(TorchDispatchMode):
    """Notes every operation whose result the host must have before it can go on: on a GPU each
    would stop the queue.
    """

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in (
            "_local_scalar_dense",
            "is_nonzero",
            "nonzero",
            "masked_select",
            "unique_dim",
            "_unique2",
        ):
            self.seen.add(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("alignment", clmt.ALIGNMENTS)
def test_a_step_of_the_corrected_model_never_waits_for_the_device(alignment):
    world = data.load("simulated", cells=48)
    config = clmt.CLMTConfig.corrected(
        hidden=16, dim=8, message=8, alignment=alignment, hide_cells=0.3, hide_drugs=0.3
    )
    inputs = clmt.prepare(world, data.make_split(world, "cell_blind"), config)
    network = clmt.Network(inputs, config)
    with Waits() as waits:
        clmt.objective(network, inputs, config).total.backward()
    assert not waits.seen
    with waits:
        float(network.head.cell.bias)
    assert waits.seen == {"_local_scalar_dense"}  # the net would have caught one


# --- The glue of every network, on a third one that says only how it is built, what its loss is and
# what it predicts


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


@pytest.mark.parametrize("there", [False, True])
def test_a_gpu_is_taken_where_there_is_one_and_missed_where_it_is_asked_for(monkeypatch, there):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert pick_device("auto").type == ("cuda" if there else "cpu")
    assert pick_device("cpu").type == "cpu"
    if there:
        assert pick_device("cuda:1") == torch.device("cuda", 1)
    else:
        with pytest.raises(DataError, match="no GPU that PyTorch can use"):
            pick_device("cuda")


class Runs:
    """Makes a file when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def test_a_checkpoint_that_would_run_something_runs_nothing(tmp_path):
    def trained(checkpoint):
        weights = lambda: nn.Linear(3, 1)
        loss = lambda net: LossOutput((net.weight**2).sum(), {})
        return train(weights, loss, TrainConfig(3, 0.01), checkpoint=checkpoint)[0].weight

    trace, file = tmp_path / "trace", tmp_path / "checkpoint.pt"
    torch.save({"state": Runs(trace)}, file)
    torch.load(file, weights_only=False)
    assert trace.exists()  # so it would
    trace.unlink()
    assert torch.equal(trained(file), trained(None)) and not trace.exists()
