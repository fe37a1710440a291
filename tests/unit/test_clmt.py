"""What CLMT computes, by identities: what supervises, what is hidden, how errors are weighted, and
what it says of lines and drugs that were not there at fit.
"""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import gaussian_kde
from tiny import benchmark as tiny
from tiny import renamed

from clmt_lib import audit, data, models
from clmt_lib.io import DataError
from clmt_lib.models import clmt
from clmt_lib.models.clmt.auxiliary import (
    BANDWIDTH,
    AuxiliaryHeads,
    auxiliary_loss,
    auxiliary_targets,
    class_labels,
    drug_thresholds,
    smooth,
)
from clmt_lib.nn.contrast import info_nce, soft_alignment
from clmt_lib.nn.heads import Output

SMALL = {"hidden": 16, "dim": 8, "message": 8, "steps": 6, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def world():
    """60 lines, 40 drugs; three drugs without a structure, three without an annotation."""
    drugs = list(dict.fromkeys(data.load("simulated", cells=24).drugs["name"]))[:40]
    world = data.load("simulated", cells=60, drugs=drugs)
    facts = world.drugs.copy()
    facts.loc[facts.index[[0, 1, 7]], "smiles"] = None  # 7 and 9 are held out below
    facts.loc[facts.index[[1, 3, 9]], ["target", "pathway"]] = None
    return world.with_frames(drug=facts)


@pytest.fixture(scope="module")
def inputs(world):
    config = clmt.CLMTConfig.corrected(**SMALL)
    return clmt.prepare(world, data.make_split(world, "mixed"), config)


class Recorder:
    """Stands in for the network: predicts what it is given, and keeps what it was asked with."""

    def __init__(self, inputs):
        draw = torch.Generator().manual_seed(0)
        self.prediction = torch.randn(inputs.mask.shape, generator=draw).requires_grad_()

    def __call__(self, inputs, mask, hide_cell, hide_drug):
        self.mask, self.hide_cell, self.hide_drug = mask, hide_cell, hide_drug
        return Output(self.prediction, {}, {})


@pytest.mark.parametrize("keep", [0.3, 0.85])
def test_a_pair_supervises_or_travels_as_a_message_and_never_both(inputs, keep):
    config, net = clmt.CLMTConfig.corrected(keep=keep, alignment="none"), Recorder(inputs)
    clmt.objective(net, inputs, config).total.backward()
    asked, told = net.prediction.grad != 0, net.mask > 0
    assert not (asked & told).any() and torch.equal(asked | told, inputs.mask > 0)
    assert told.sum() / inputs.mask.sum() == pytest.approx(keep, abs=0.04)


def test_an_error_counts_in_the_units_of_the_responses(world, inputs):
    """The loss is the mean squared error in ln uM of the pairs asked about, over one constant."""
    config, net = clmt.CLMTConfig.corrected(keep=1.0, alignment="none"), Recorder(inputs)
    loss = clmt.objective(net, inputs, config).parts["error"].item()
    train = data.make_split(world, "mixed").train
    said = inputs.in_units(net.prediction.detach())[tuple(world.pairs[train].T)]
    constant = (inputs.spread**2).mean()
    assert loss * constant == pytest.approx(((said - world.y[train]) ** 2).mean(), rel=1e-4)
    assert inputs.spread.std() > 0.1  # drugs differ, or equal weights would pass


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_step_hides_the_share_of_lines_and_of_drugs_that_is_asked_for(inputs, share):
    for side in ("cells", "drugs"):
        settings = {"keep": 0.8, "alignment": "none", f"hide_{side}": share}
        net, seen = Recorder(inputs), []
        for _ in range(20):
            clmt.objective(net, inputs, clmt.CLMTConfig.corrected(**settings))
            hidden, other = (net.hide_cell, net.hide_drug)[:: 1 if side == "cells" else -1]
            seen.append(hidden.float().mean().item())
            assert not other.any()
        assert np.mean(seen) == pytest.approx(share, abs=0.06)


def test_hidden_entities_say_nothing_of_their_own_and_are_still_heard(inputs):
    torch.manual_seed(0)
    net = clmt.Network(inputs, clmt.CLMTConfig.corrected(**SMALL)).eval()
    nobody = [torch.zeros(n, dtype=torch.bool) for n in inputs.mask.shape]
    with torch.inference_mode():
        plain, same = net(inputs), net(inputs, None, *nobody)
        assert torch.equal(plain.prediction, same.prediction)
        for axis, side in enumerate(("cell", "drug")):
            hide = [mask.clone() for mask in nobody]
            hide[axis][:5] = True
            out = net(inputs, None, *hide)
            own, before = getattr(out, side)["structure"], getattr(plain, side)["structure"]
            assert not own[:5].any() and torch.equal(own[5:], before[5:]) and before[:5].any()
            assert not getattr(out, f"present_{side}")["structure"][:5].any()
            near = [getattr(x, side)["neighbours"] for x in (out, plain)]
            assert torch.equal(*near)
            changed = (out.prediction != plain.prediction).any(1 - axis)
            assert changed[:5].all() and not changed[5:].any()


def test_what_is_missing_is_masked_and_a_row_of_zeros_in_a_table_is_a_fact(world):
    omics = {name: table.copy() for name, table in world.omics.items()}
    omics["mutation"].iloc[4] = 0.0
    silent = world.with_views(cell=omics)
    config = clmt.CLMTConfig.corrected(**SMALL)
    given = clmt.prepare(silent, data.make_split(silent, "mixed"), config)
    assert given.present_cell["mutation"].all() and not given.cell["mutation"][4].any()
    for view, missing in {"fingerprint": [0, 1, 7], "text": [1, 3, 9]}.items():
        assert torch.nonzero(~given.present_drug[view])[:, 0].tolist() == missing
    net = clmt.Network(given, config).eval()
    with torch.inference_mode():
        out = net(given)
    assert out.cell["mutation"][4].any()  # the tower's constant reaches it
    has = given.present_drug["fingerprint"]
    assert torch.equal(out.drug["fingerprint"].any(1), has)


SPLITS = {
    "cell_blind": {"hide_cells": 0.5},
    "drug_blind": {"hide_drugs": 0.5, "drug_text": "long"},
}


@pytest.fixture(scope="module", params=SPLITS)
def blind(world, request):
    split = data.make_split(world, request.param)
    settings = {**SMALL, **SPLITS[request.param], "members": 2}
    return split, models.build("clmt", **settings).fit(world, split)


def test_a_new_line_or_drug_gets_the_prediction_of_a_held_out_one(world, blind):
    """An entity of the test set had no response in training and was in the graph; the same entity
    under a new id was in nothing. Its neighbours are the same, so its predictions are.
    """
    split, model = blind
    axis = ("cell_blind", "drug_blind").index(split.kind)
    new = np.unique(world.pairs[split.test, axis])
    assert axis == 0 or {7, 9} <= set(new)  # one without a structure, one without a text
    other = renamed(world, **{("lines", "drugs")[axis]: new})
    found = model.predict(world.pairs, other)
    assert np.allclose(found, model.predict(world.pairs), rtol=0, atol=1e-5)
    known = ~np.isin(world.pairs[:, axis], new)
    assert np.array_equal(found[known], model.predict(world.pairs)[known])
    alone = model.predict(world.pairs[split.test][:1], other)  # whoever else is asked about
    assert np.allclose(alone, model.predict(world.pairs[split.test][:1]), atol=1e-5)


def test_new_lines_and_new_drugs_at_once_and_whatever_their_responses_and_order(world, blind):
    split, model = blind
    axis = ("cell_blind", "drug_blind").index(split.kind)
    new = np.unique(world.pairs[split.test, axis])
    sides = dict(zip(("lines", "drugs")[:: 1 - 2 * axis], (new, [7]), strict=True))
    both, pair = renamed(world, **sides), np.zeros((1, 2), dtype=int)
    pair[0, axis], pair[0, 1 - axis] = new[0], 7
    found = model.predict(pair, both)
    assert np.isfinite(found).all()
    shuffled = replace(both, y=both.y[::-1].copy())
    assert np.array_equal(model.predict(pair, shuffled), found)
    line = both.side("cell" if axis == 0 else "drug")
    order = np.random.default_rng(0).permutation(len(line))
    turned = both.with_sides(models.network.taken(line, order))
    there = pair.copy()
    there[0, axis] = np.flatnonzero(order == new[0])[0]
    assert np.allclose(model.predict(there, turned), found, atol=1e-6)


def test_a_saved_model_says_the_same_of_known_and_of_new_ones(world, blind, tmp_path):
    split, model = blind
    new = renamed(world, lines=[0, 3], drugs=[1, 2])
    model.save(tmp_path / "it")
    again = models.load(tmp_path / "it")
    assert np.array_equal(again.predict(world.pairs), model.predict(world.pairs))
    assert np.array_equal(again.predict(world.pairs, new), model.predict(world.pairs, new))
    assert again.config == model.config and again.chosen == model.chosen
    state, kept = again.state(), model.state()
    assert state.keys() == kept.keys() and all(
        np.array_equal(state[name], value) for name, value in kept.items()
    )


def test_what_a_new_entity_must_bring_is_named(world, blind):
    _, model = blind
    new = renamed(world, lines=[0])
    few = {name: table.iloc[:, 1:] for name, table in new.omics.items()}
    lost = new.omics["expression"].columns[0]
    with pytest.raises(DataError, match=f"expression of the cells lacks '{lost}'"):
        model.predict(world.pairs, new.with_views(cell=few))
    turned = {name: table.iloc[:, ::-1] for name, table in new.omics.items()}
    found = model.predict(world.pairs, new.with_views(cell=turned))  # in any order
    assert np.array_equal(found, model.predict(world.pairs, new))
    with pytest.raises(DataError, match="no 'expression'"):
        model.predict(world.pairs, new.with_views(cell={}))


def test_a_control_has_no_vector_for_a_new_drug(world):
    split = data.make_split(world, "mixed")
    model = models.build("clmt", **{**SMALL, "steps": 2}, drug_text="shuffled").fit(world, split)
    assert np.isfinite(model.predict(world.pairs, renamed(world, lines=[0]))).all()
    with pytest.raises(DataError, match="control 'shuffled' has no vector"):
        model.predict(world.pairs, renamed(world, drugs=[0]))


@pytest.mark.parametrize(
    "wrong", [{"cell_views": ("expresion",)}, {"drug_views": ("smell",)}, {"alignment": "firm"}]
)
def test_a_view_or_an_alignment_that_is_none_is_refused(wrong):
    with pytest.raises(DataError, match="expresion|smell|firm"):
        clmt.CLMTConfig.corrected(**wrong)


def test_a_control_that_is_dealt_by_chance_is_dealt_by_the_seed_of_the_model(world):
    split = data.make_split(world, "mixed")

    def dealt(seed):
        config = clmt.CLMTConfig.corrected(**SMALL, drug_text="shuffled", seed=seed)
        return clmt.prepare(world, split, config).drug["text"]

    one, again, other = dealt(1), dealt(1), dealt(2)
    assert torch.equal(one, again) and not torch.equal(one, other)


@pytest.mark.parametrize("kind", ["infonce", "soft"])
def test_alignment_is_over_training_entities_that_have_both_views(world, kind):
    """Against the losses of two views, summed by hand; and what is not in it gets no gradient."""
    split = data.make_split(world, "cell_blind")
    compound = world.drugs["compound"].to_numpy(object).copy()
    compound[10] = compound[20]  # two ids of one thing
    world = world.with_frames(drug=world.drugs.assign(compound=compound))
    config = clmt.CLMTConfig.corrected(**SMALL, alignment=kind)
    given = clmt.prepare(world, split, config)
    few = {  # as if every fourth entity had too few responses for a similarity
        side: (table, known & (torch.arange(len(known)) % 4 > 0))
        for side, (table, known) in given.similar.items()
    }
    given = replace(given, similar=few)
    net = clmt.Network(given, config).eval()
    out, expected = net(given), []
    for side in ("cell", "drug"):
        z, has = getattr(out, side), getattr(out, f"present_{side}")
        anchor = {"cell": "expression", "drug": "fingerprint"}[side]
        seen = given.mask.sum(int(side == "cell")) > 0
        for other in ("structure", "text"):
            known = seen & has[anchor] & has[other]
            if kind == "soft":
                similar, enough = given.similar[side]
                targets = (clmt.SHARPNESS * similar).softmax(1)
                loss = soft_alignment(z[anchor], z[other], targets, 0.2, known & enough)
            else:
                same = given.same_drug if side == "drug" else None
                loss = info_nce(z[anchor], z[other], 0.2, known, same)
            expected.append(loss)
        if side == "cell":
            assert not seen.all()
    for z in (out.cell, out.drug):
        z["text"].retain_grad()
    total = clmt.alignment(out, given, config)
    assert total.item() == pytest.approx(sum(expected).item(), rel=1e-5)
    total.backward()
    held_out = given.mask.sum(1) == 0
    assert not out.cell["text"].grad[held_out].any() and out.cell["text"].grad.any()


def test_every_kind_of_split_has_the_settings_of_what_is_new_in_it(world):
    """Named in full or made by name: a blind split never takes the settings for random pairs."""
    for kind in world.kinds:
        sides = {world.sides[axis].name for axis, _ in world.blinded(kind)}
        found = models.build("clmt", kind=kind).config
        hidden = {"cell": found.hide_cells, "drug": found.hide_drugs}
        assert {side for side, share in hidden.items() if share} == sides, kind
        assert (found.drop > clmt.CLMTConfig().drop) == bool(sides)


def test_similar_responses_are_those_of_the_committed_runs():
    """No setting of CLMT names their rank, ridge and fewest pairs."""
    rng = np.random.default_rng(0)
    target = np.where(rng.random((60, 50)) < 0.5, rng.normal(size=(60, 50)), np.nan)
    target[:5, 11:] = np.nan
    found = clmt.similar_responses(target)
    wanted = clmt.similar_responses(target, rank=20, ridge=10.0, fewest=10)
    for side, (similar, known) in found.items():
        assert np.array_equal(similar, wanted[side][0]) and np.array_equal(known, wanted[side][1])
    few = clmt.similar_responses(target, rank=21)
    assert np.abs(found["cell"][0] - few["cell"][0]).max() > 1e-3
    assert known.all() and not found["cell"][1].all()


# --- Auxiliary targets are fitted on what they are given, and what is missing does not count


def with_responses(auxiliary_world, at, values):
    """The world with other responses at some positions."""
    y = auxiliary_world.y.copy()
    y[at] = values
    return replace(auxiliary_world, y=y)


@pytest.fixture(scope="module")
def auxiliary_world():
    return data.load("simulated", cells=60)


def plain_threshold(y, rng):
    """The rule, with scipy's density and a loop for the first stationary point."""
    draws = np.concatenate([value + 0.2 * rng.standard_normal(100) for value in y])
    grid = np.linspace(draws.min(), draws.max(), 1000)
    density = gaussian_kde(draws, BANDWIDTH / draws.std(ddof=1))(grid)
    mode = density.argmax()
    first = next(i for i in range(1000) if i == 999 or density[i + 1] <= density[i])
    theta = (
        grid[first]
        if first < mode and density[: first + 1].sum() > 0.05 * density.sum()
        else y.min()
    )
    return grid[mode] - 1.645 * abs((theta + grid[mode]) / 2)


@pytest.mark.parametrize(
    "groups",
    [
        [(40, 2.0)],
        [(30, -2.0), (60, 3.0)],
        [(1, -6.0), (60, 3.0)],
        [(1, 1.0)],
        [(60, -3.0), (20, 2.0)],
    ],
)
def test_the_fast_density_and_threshold_equal_the_plain_ones(groups):
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.normal(centre, 0.5, n) for n, centre in groups])
    draws = (y[:, None] + 0.2 * rng.standard_normal((len(y), 100))).ravel()
    grid, density = smooth(draws)
    assert np.abs(density - gaussian_kde(draws, BANDWIDTH / draws.std(ddof=1))(grid)).max() < 1e-4
    auxiliary_world = tiny()
    at = np.flatnonzero(auxiliary_world.pairs[:, 1] == 2)
    rest, at = at[len(y) :], at[: len(y)]
    auxiliary_world = with_responses(with_responses(auxiliary_world, rest, 0.0), at, y[: len(at)])
    assert drug_thresholds(auxiliary_world, at, seed=5)[2] == pytest.approx(
        plain_threshold(y[: len(at)], np.random.default_rng([5, 2])), abs=0.02
    )


def test_two_groups_of_lines_put_theta_on_the_peak_of_the_sensitive_ones():
    y = np.concatenate([np.full(5, -2.0), np.full(16, 3.0)])
    auxiliary_world = tiny()
    at = np.flatnonzero(auxiliary_world.pairs[:, 1] == 0)[:21]
    auxiliary_world = with_responses(auxiliary_world, at, y)
    assert drug_thresholds(auxiliary_world, at)[0] == pytest.approx(
        3 - 1.645 * 0.5, abs=0.15
    )  # mu 3, theta -2, sigma 0.5
    auxiliary_world = with_responses(auxiliary_world, at, y + 2)
    assert drug_thresholds(auxiliary_world, at)[0] == pytest.approx(
        5 - 1.645 * 2.5, abs=0.3
    )  # moved by 2, the threshold moves by less: sigma is no spread


def test_a_drug_without_a_response_has_no_threshold_and_one_response_is_enough(auxiliary_world):
    drug = auxiliary_world.pairs[:, 1]
    at = np.concatenate([np.flatnonzero(drug == 0)[:1], np.flatnonzero(drug == 3)])
    found = drug_thresholds(auxiliary_world, at)
    assert np.flatnonzero(np.isfinite(found)).tolist() == [0, 3]


def test_thresholds_depend_on_the_seed_and_not_on_order_or_on_other_drugs(auxiliary_world):
    drug = auxiliary_world.pairs[:, 1]
    at = np.flatnonzero(drug < 4)
    found = drug_thresholds(auxiliary_world, at)
    assert np.array_equal(found, drug_thresholds(auxiliary_world, at[::-1]), equal_nan=True)
    assert drug_thresholds(auxiliary_world, np.flatnonzero(drug == 2))[2] == found[2]
    assert (drug_thresholds(auxiliary_world, at, seed=1)[:4] != found[:4]).all()


def test_thresholds_of_train_are_blind_to_the_test_role_and_those_of_all_pairs_are_not(
    auxiliary_world,
):
    split = data.make_split(auxiliary_world, "cell_blind")
    assert audit.proves_blind(
        lambda b, s: auxiliary_targets(b, s.train), auxiliary_world, split
    ).clean
    assert not audit.proves_blind(
        lambda b, s: drug_thresholds(b, np.arange(len(b))), auxiliary_world, split
    ).clean


def test_thresholds_of_a_whole_screen_take_seconds():
    full = data.load("simulated")
    start = time.process_time()
    found = drug_thresholds(full, np.arange(len(full)))
    assert np.isfinite(found).all() and time.process_time() - start < 5


def test_labels_are_alphabetical_and_missing_ones_are_minus_one():
    labels, names = class_labels(np.array(["b", None, "a", np.nan, "b"], dtype=object))
    assert labels.tolist() == [1, -1, 0, -1, 1] and labels.dtype == np.int64 and names == ["a", "b"]


def outputs_and_targets():
    torch.manual_seed(0)
    heads = AuxiliaryHeads(6, 5, 3, 4)
    outputs = heads(torch.randn(7, 6), torch.randn(8, 5))
    targets = {
        "cell_type": torch.tensor([0, 1, 2, -1, 0, 1, 2]),
        "threshold": torch.tensor(
            [0.1, float("nan"), 1.0, -1.0, 0.0, 2.0, float("nan"), 0.5]
        ).double(),
        "pathway": torch.tensor([0, 1, 2, 3, -1, -1, 0, 1]),
    }
    return heads, outputs, targets


def test_the_loss_equals_a_plain_loop_and_missing_targets_do_not_count():
    _, outputs, targets = outputs_and_targets()
    total, parts = auxiliary_loss(outputs, targets)
    expected = {}
    for task in ("cell_type", "pathway"):
        rows = [
            (row, label)
            for row, label in zip(outputs[task].tolist(), targets[task].tolist())
            if label >= 0
        ]
        expected[task] = np.mean([np.log(np.exp(row).sum()) - row[label] for row, label in rows])
    wanted = targets["threshold"].numpy()
    expected["threshold"] = np.nanmean((outputs["threshold"].detach().numpy() - wanted) ** 2)
    assert {task: float(value) for task, value in parts.items()} == pytest.approx(
        expected, abs=1e-5
    )
    assert total.item() == pytest.approx(sum(expected.values()), abs=1e-5)


def test_only_training_entities_count_and_get_gradients():
    heads, _, targets = outputs_and_targets()
    z_cell, z_drug = torch.randn(7, 6, requires_grad=True), torch.randn(8, 5, requires_grad=True)
    cells, drugs = torch.tensor([0, 1, 3]), torch.arange(8) < 4
    auxiliary_loss(heads(z_cell, z_drug), targets, cells=cells, drugs=drugs)[0].backward()
    assert z_cell.grad.abs().sum(1).gt(0).tolist() == [
        True,
        True,
        False,
        False,
        False,
        False,
        False,
    ]
    assert z_drug.grad.abs().sum(1).gt(0).tolist() == [True] * 4 + [False] * 4


@pytest.mark.parametrize("tasks", [(), ("cell_type",), ("threshold", "pathway")])
def test_only_the_named_tasks_count(tasks):
    _, outputs, targets = outputs_and_targets()
    total, parts = auxiliary_loss(outputs, targets, tasks)
    assert tuple(parts) == tasks and total.item() == pytest.approx(
        sum(float(value) for value in parts.values())
    )


def test_nothing_known_is_a_loss_of_zero_and_an_unknown_task_an_error():
    _, outputs, targets = outputs_and_targets()
    total, _ = auxiliary_loss(
        outputs,
        {
            name: torch.full_like(value, -1) if name != "threshold" else value * torch.nan
            for name, value in targets.items()
        },
    )
    total.backward()
    assert total.item() == 0
    with pytest.raises(DataError, match="tissue"):
        auxiliary_loss(outputs, targets, ("tissue",))
