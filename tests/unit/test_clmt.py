"""What CLMT computes, by identities: what supervises, what is hidden, how errors are weighted, and
what it says of lines and drugs that were not there at fit.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import renamed

from clmt_lib import data, models
from clmt_lib.io import DataError
from clmt_lib.models import clmt
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
