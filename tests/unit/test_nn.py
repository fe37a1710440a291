"""Small modules against plain loops, and the training loop against itself."""

import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from clmt_lib import data, models
from clmt_lib.io import DataError
from clmt_lib.nn import fusion
from clmt_lib.nn.contrast import info_nce, response_alignment
from clmt_lib.nn.encoders import Dropout, Tower, dropout
from clmt_lib.nn.heads import LossOutput, PairHead
from clmt_lib.nn.message_passing import ResponseLayer
from clmt_lib.training import Callback, TrainConfig, train
from clmt_lib.views.structure import nearest


def draw(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


def plain_info_nce(a, b, temperature, same):
    total = 0.0
    for x, y in ((a, b), (b, a)):
        for i in range(len(x)):
            score = [
                float(x[i] @ y[j] / x[i].norm() / y[j].norm()) / temperature
                for j in range(len(y))
                if j == i or not same[i, j]
            ]
            own = float(x[i] @ y[i] / x[i].norm() / y[i].norm()) / temperature
            total -= own - np.log(np.exp(score).sum())
    return total / (2 * len(a))


def test_info_nce_equals_a_plain_loop():
    a, b = draw(7, 5), draw(7, 5, seed=1)
    same = torch.eye(7, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    assert info_nce(a, b, 0.3, same=same).item() == pytest.approx(
        plain_info_nce(a, b, 0.3, same), abs=1e-5
    )


def test_info_nce_chance_is_log_n_and_unknown_entities_do_not_count():
    a, b = draw(512, 4096), draw(512, 4096, seed=1)
    assert info_nce(a, b, 1.0).item() == pytest.approx(np.log(512), abs=0.01)
    known = torch.arange(512) < 100
    changed = torch.where(known[:, None], b, torch.zeros(()))
    assert info_nce(a, b, 0.2, known) == info_nce(a, changed, 0.2, known)
    assert info_nce(a, b, known=torch.arange(512) < 1).item() == 0


def test_response_alignment_is_zero_where_cosines_are_the_similarity():
    z = nn.functional.normalize(draw(6, 3), dim=1)
    assert response_alignment(z, z @ z.T, torch.ones(6, dtype=torch.bool)).item() == pytest.approx(
        0, abs=1e-10
    )
    assert response_alignment(z, torch.zeros(6, 6), torch.ones(6, dtype=torch.bool)) > 0.01


def test_pair_head_equals_one_pair_at_a_time():
    head, cells, drugs = PairHead(4), draw(3, 4), draw(5, 4, seed=1)
    table = head(cells, drugs)
    for c in range(3):
        for d in range(5):
            one = cells[c] @ drugs[d] / 2 + head.cell(cells[c]) + head.drug(drugs[d])
            assert torch.allclose(table[c, d], one, atol=1e-6)


def test_response_layer_equals_a_loop_over_edges():
    layer = ResponseLayer(others=4, message=6, dim=3).eval()
    residual, mask = draw(5, 4), (draw(5, 4, seed=2) > 0).float()
    expected = torch.zeros(5, 6)
    for n in range(5):
        for other in range(4):
            if mask[n, other]:
                r = residual[n, other]
                expected[n] += r * layer.sender[other] if r > 0 else -r * layer.sender[4 + other]
        expected[n] /= (mask[n].sum() + 5) ** 0.5
    assert torch.allclose(layer(residual, mask, torch.eye(5))[0], layer.own(expected), atol=1e-5)


def test_nearest_listens_to_known_others_only():
    known = np.array([True, True, True, False, True])
    similarity = np.corrcoef(np.random.default_rng(0).normal(size=(5, 8)))
    (source, target), weight = nearest(similarity, known, k=2)
    assert (
        known[source].all()
        and (source != target).all()
        and np.allclose(np.bincount(target, weight), 1)
    )
    best = max((s for s in range(5) if known[s] and s != 3), key=lambda s: similarity[3, s])
    assert best in source[target == 3]  # the nearest one is not dropped


def toy(**changes):
    x, y = draw(40, 5), draw(40, 1, seed=3)

    def loss(module):
        error = ((module(x) - y) ** 2).mean()
        return LossOutput(error, {"error": error.detach()})

    return (
        lambda: Tower(5, 16, 1),
        loss,
        TrainConfig(**{"steps": 30, "evaluate_every": 5, "checkpoint_every": 4, **changes}),
        lambda module: loss(module).total,
    )


def weights(module):
    return torch.cat([p.flatten() for p in module.parameters()])


def test_an_interrupted_training_ends_with_the_weights_of_an_undisturbed_one(tmp_path):
    build, loss, config, evaluate = toy()
    calm, history = train(build, loss, config, evaluate=evaluate)
    count = iter(range(100))

    def dies(module):
        if next(count) == 17:
            raise KeyboardInterrupt
        return loss(module)

    with pytest.raises(KeyboardInterrupt):
        train(build, dies, config, evaluate=evaluate, checkpoint=tmp_path / "checkpoint.pt")
    storm, again = train(
        build, loss, config, evaluate=evaluate, checkpoint=tmp_path / "checkpoint.pt"
    )
    assert torch.equal(weights(calm), weights(storm)) and history == again
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("damage", ["empty", "cut", "other seed", "other shape", "no state"])
def test_a_checkpoint_that_is_damaged_or_of_another_training_is_not_resumed(tmp_path, damage):
    build, loss, config, evaluate = toy()
    path = tmp_path / "checkpoint.pt"
    train(
        (lambda: Tower(5, 8, 1)) if damage == "other shape" else build,
        loss,
        toy(seed=9)[2] if damage == "other seed" else config,
        checkpoint=path,
    )
    if damage in ("empty", "cut"):
        path.write_bytes(b"" if damage == "empty" else path.read_bytes()[:500])
    if damage == "no state":
        torch.save({"config": asdict(config)}, path)
    calm, history = train(build, loss, config)
    again, found = train(build, loss, config, checkpoint=path)
    assert torch.equal(weights(calm), weights(again)) and history == found


def test_training_keeps_the_best_weights_stops_early_and_leaves_the_global_generator_alone():
    build, loss, config, evaluate = toy(steps=400, patience=2, learning_rate=0.03)
    before = torch.get_rng_state()
    module, history = train(build, loss, config, evaluate=evaluate)
    assert torch.equal(before, torch.get_rng_state())
    assert history[-1]["step"] < 400
    with torch.no_grad():
        assert float(evaluate(module)) == pytest.approx(
            min(row["valid"] for row in history), abs=1e-5
        )


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_counts_evaluations_without_improvement(patience):
    build, loss, config, _ = toy(patience=patience)
    worse = iter(range(100))
    history = train(build, loss, config, evaluate=lambda module: next(worse))[1]
    assert len(history) == 1 + patience  # the first is the best


class Notes(Callback):
    """What a callback was told."""

    def __init__(self):
        self.steps, self.rates, self.rows = [], [], []

    def on_step(self, step, module, out, learning_rate):
        assert module.training
        self.steps.append((step, out.total.item()))
        self.rates.append(learning_rate)

    def on_evaluate(self, step, module, row):
        assert not module.training and row["step"] == step
        self.rows.append(row)


def test_callbacks_hear_every_step_and_evaluation_and_change_no_bit():
    build, loss, config, evaluate = toy()
    alone, history = train(build, loss, config, evaluate=evaluate)
    notes, more = Notes(), Notes()
    watched, again = train(build, loss, config, evaluate=evaluate, callbacks=(notes, more))
    assert torch.equal(weights(alone), weights(watched)) and history == again == notes.rows
    assert [step for step, _ in notes.steps] == list(range(1, config.steps + 1))
    assert notes.steps == more.steps and notes.steps[4][1] == pytest.approx(
        history[0]["error"], abs=1e-5
    )


def rates(**changes):
    build, loss, config, _ = toy(steps=10, learning_rate=0.5, **changes)
    notes = Notes()
    train(build, loss, config, callbacks=[notes])
    return notes.rates


def test_the_rate_goes_where_each_schedule_says():
    half = [0.25 * (1 + math.cos(math.pi * k / 6)) for k in range(6)]
    assert rates(schedule="cosine", warmup=4) == pytest.approx([0.125, 0.25, 0.375, 0.5, *half])
    assert rates(schedule="cosine")[0] == 0.5 and min(rates(schedule="cosine")) > 0
    assert rates(schedule="step", milestone=7) == pytest.approx([0.5] * 7 + [0.05] * 3)
    assert rates(schedule="step") == [0.5] * 10
    assert max(rates()) == pytest.approx(0.5) and rates()[0] == pytest.approx(0.02)


def test_what_a_schedule_cannot_do_is_refused_before_a_step():
    for changes, what in (
        ({"schedule": "warm"}, "unknown schedule 'warm'.*one_cycle, step, cosine"),
        ({"schedule": "cosine", "warmup": 500}, "warm-up of 500 steps in a training of 400"),
        ({"warmup": 5}, "'one_cycle' has no warm-up"),
    ):
        with pytest.raises(DataError, match=what):
            TrainConfig(**changes)


def seen_batches(batches, **changes):
    """(weights, batches as lists, a function that trains again) of a training on row numbers."""
    x, y, seen = draw(40, 5), draw(40, 1, seed=3), []
    build, _, config, _ = toy(**changes)

    def loss(module, rows):
        if len(seen) == loss.dies_at:
            raise KeyboardInterrupt
        seen.append(rows.tolist())
        return LossOutput(((module(x[rows]) - y[rows]) ** 2).mean(), {})

    loss.dies_at = None
    return seen, lambda **more: train(build, loss, config, batches=batches, **more)[0], loss


def test_a_loader_is_gone_through_pass_after_pass_each_row_once_a_pass():
    seen, run, _ = seen_batches(DataLoader(torch.arange(40), 16, shuffle=True), steps=9)
    run()
    assert [len(rows) for rows in seen] == [16, 16, 8] * 3
    passes = [sum(seen[i : i + 3], []) for i in (0, 3, 6)]
    assert all(sorted(rows) == list(range(40)) for rows in passes) and passes[0] != passes[1]


class Draws:
    """Passes of five batches, each drawn when it is asked for."""

    def __iter__(self):
        return (torch.randperm(40)[:6] for _ in range(5))


@pytest.mark.parametrize("loader", ["shuffled", "drawn", "list"])
@pytest.mark.parametrize("dies_at", [13, 14, 15, 18])  # in a pass, and around its end
def test_a_training_on_batches_that_was_cut_off_ends_with_the_same_weights(
    tmp_path, loader, dies_at
):
    def batches():
        return {
            "shuffled": lambda: DataLoader(torch.arange(40), 8, shuffle=True),
            "drawn": Draws,
            "list": lambda: list(torch.arange(40).split(8)),
        }[loader]()

    seen, run, _ = seen_batches(batches())
    calm = run()
    assert len(seen) == 30
    before, storm, loss = seen_batches(batches())
    loss.dies_at = dies_at
    with pytest.raises(KeyboardInterrupt):
        storm(checkpoint=tmp_path / "it.pt")
    after, again, _ = seen_batches(batches())
    assert torch.equal(weights(calm), weights(again(checkpoint=tmp_path / "it.pt")))
    assert before + after[dies_at % 4 :] == seen  # a checkpoint was written every four steps


def test_batches_that_are_used_up_are_an_error_that_says_so():
    for batches in ([], iter(torch.arange(40).split(20))):
        _, run, _ = seen_batches(batches)
        with pytest.raises(DataError, match="no batch to train on"):
            run()


Z = {name: draw(6, 4, seed=seed) for seed, name in enumerate("abc")}
PRESENT = {
    "a": torch.tensor([True, True, False, True, False, False]),
    "b": torch.tensor([True, False, False, True, True, False]),
}


def test_masked_sum_and_mean_equal_a_loop_over_entities():
    total, mean = fusion.masked_sum(Z, PRESENT), fusion.masked_mean(Z, PRESENT)
    for i in range(6):
        there = [z[i] for name, z in Z.items() if name not in PRESENT or PRESENT[name][i]]
        assert torch.allclose(total[i], sum(there)) and torch.allclose(
            mean[i], sum(there) / len(there)
        )
    two = {name: Z[name] for name in "ab"}
    assert not fusion.masked_mean(two, PRESENT)[[2, 5]].any()  # nothing there, and no NaN
    with pytest.raises(DataError, match="no view"):
        fusion.masked_sum({}, {})


@pytest.mark.parametrize("alignment", ["none", "infonce", "response"])
def test_clmt_learns_and_copes_with_missing_structures_and_texts(alignment):
    world = data.load("simulated", cells=60)
    drugs = world.drugs.copy()
    drugs.loc[drugs.index[:3], "smiles"] = None
    drugs.loc[drugs.index[2:5], ["target", "pathway"]] = None
    world = world.with_frames(drug=drugs)
    split = data.make_split(world, "drug_blind")
    model = models.build("clmt", steps=60, hidden=48, dim=16, message=16, alignment=alignment).fit(
        world, split
    )
    assert np.isfinite(model.table).all()
    assert model.history[-1]["error"] < model.history[0]["error"]
    assert (model.history[0]["alignment"] > 0) == (alignment != "none")


@pytest.mark.parametrize("share", [0.1, 0.4, 0.9])
def test_dropout_loses_its_share_keeps_the_expectation_and_leaves_elements_independent(share):
    torch.manual_seed(0)
    x = torch.ones(400, 999, requires_grad=True)
    out = dropout(x, share)
    kept = out > 0
    assert (~kept).float().mean().item() == pytest.approx(
        share, abs=5e-3
    ) and out.detach().unique().tolist() == pytest.approx([0, 1 / (1 - share)], rel=1e-4)
    assert all(
        (~kept).flatten()[i::4].float().mean().item() == pytest.approx(share, abs=8e-3)
        for i in range(4)
    )  # four elements come from one random number
    assert (
        np.abs(np.corrcoef(kept.flatten()[: 4 * 99900].reshape(-1, 4).T.numpy()) - np.eye(4)).max()
        < 0.02
    )
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())


def test_dropout_follows_the_seed_and_does_nothing_when_off():
    x, drop = torch.randn(7, 5), Dropout(0.5)
    torch.manual_seed(3)
    first = drop(x)
    torch.manual_seed(3)
    assert torch.equal(drop(x), first) and not torch.equal(drop(x), first)
    assert (
        torch.equal(drop.eval()(x), x)
        and torch.equal(dropout(x, 0.0), x)
        and not dropout(x, 1.0).any()
    )
    assert dropout(x.bfloat16(), 0.5).dtype == torch.bfloat16
