"""Small modules against plain loops, and the training loop against itself."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import nn

from clmt_lib import data, models
from clmt_lib.nn.contrast import info_nce, response_alignment
from clmt_lib.nn.encoders import Dropout, Tower, dropout
from clmt_lib.nn.heads import LossOutput, PairHead
from clmt_lib.nn.message_passing import ResponseLayer
from clmt_lib.training import TrainConfig, train
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


@pytest.mark.parametrize("alignment", ["none", "infonce", "response"])
def test_clmt_learns_and_copes_with_missing_structures_and_texts(alignment):
    world = data.load("simulated", cells=60)
    drugs = world.drugs.copy()
    drugs.loc[drugs.index[:3], "smiles"] = None
    drugs.loc[drugs.index[2:5], ["target", "pathway"]] = None
    world = data.DrugResponse(
        world.name, world.cells, drugs, world.omics, world.responses, simulated=True
    )
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
