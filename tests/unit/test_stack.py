"""The stack: inner folds as blind as the split, a meta-learner that believes who was right out of
fold, and blends made of records.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tiny

from clmt_lib import data, models, records
from clmt_lib.data.response.auxiliary import AuxiliaryOmics
from clmt_lib.models import base, kernels, stack
from clmt_lib.tasks.metrics import per_group, rmse
from clmt_lib.views.omics import average_platforms


@pytest.fixture(scope="module")
def world():
    return data.load("simulated", cells=72)


@pytest.mark.parametrize(
    "kind", ["mixed", "cell_blind", "drug_blind", "scaffold_blind", "tissue_blind"]
)
def test_inner_folds_keep_together_what_the_split_keeps_together(world, kind):
    split = data.make_split(world, kind)
    fold = stack.inner_folds(world, split, 4, seed=0)
    groups = world.groups(kind)[split.train]
    assert set(fold) == {0, 1, 2, 3} and len(fold) == len(split.train)
    assert all(len(set(fold[groups == group])) == 1 for group in np.unique(groups)[:50])
    assert np.array_equal(fold, stack.inner_folds(world, split, 4, seed=0)) and not np.array_equal(
        fold, stack.inner_folds(world, split, 4, seed=1)
    )


def parts_of(truth, wrong, offset=0.0):
    """Three folds in which one base says the truth and another is wrong."""
    out = []
    for part in np.array_split(np.argwhere(np.ones(truth.shape, dtype=bool)), 3):
        base_says = stack.BasePredictions(
            np.zeros(truth.shape), np.ones(truth.shape[1]), {"right": truth, "wrong": wrong}, truth
        )
        out.append((base_says, part, truth[tuple(part.T)] + offset * part[:, 1]))
    return out


def test_the_meta_learner_believes_who_was_right():
    rng = np.random.default_rng(0)
    truth, wrong = rng.normal(size=(2, 30, 8))
    assert np.allclose(stack.blend(parts_of(truth, wrong)), [1, 0], atol=0.05)
    assert np.allclose(stack.blend(parts_of(truth, -truth)), [1, 0], atol=0.01), (
        "no weight is below zero"
    )
    shifted = parts_of(truth, wrong, offset=5.0)
    assert np.allclose(stack.blend(shifted, centre=True), [1, 0], atol=0.1), (
        "a new drug's level is unknowable and must not count"
    )


def test_nearest_measured_pairs_leave_out_the_pair_itself_and_what_was_not_measured():
    similar = np.array(
        [[1.0, 0.9, 0.5, 0.1], [0.9, 1.0, 0.2, 0.3], [0.5, 0.2, 1.0, 0.4], [0.1, 0.3, 0.4, 1.0]]
    )
    target = np.array([[10.0, 11.0, 12.0, 13.0]])
    seen = np.array([[True, False, True, True]])
    values, near, mean = stack.neighbour_features(
        similar, seen, target, np.array([0]), np.array([0])
    )
    assert values[0, :2].tolist() == [12.0, 13.0] and near[0, :2].tolist() == [0.5, 0.1]
    assert 12.0 < mean[0, 0] < 12.5


def test_features_are_weighted_by_what_they_tell_of_the_target():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 3))
    y = x[:, :1] + 0.1 * rng.normal(size=(200, 2))
    weighted = kernels.with_supervised_weights(x, y, np.arange(200))
    spread = weighted.std(0) / x.std(0)
    assert spread[0] > 5 * spread[1:].max() and np.isclose((spread**2).mean(), 1)
    one = stack.one_by_one(
        np.where(rng.random(y.shape) < 0.7, y, np.nan), [(x, 0.5, 1.0, False)], 1.0
    )
    assert np.corrcoef(one[:, 0], y[:, 0])[0, 1] > 0.95


def test_a_column_does_not_explain_itself():
    rng = np.random.default_rng(2)
    target = rng.normal(size=(60, 4))  # four unrelated columns: nothing to learn from one another
    out = stack.one_by_one(
        np.where(np.arange(60)[:, None] < 40, target, np.nan), [(target, 1.0, 1.0, True)], 0.1
    )
    assert abs(np.corrcoef(out[40:, 0], target[40:, 0])[0, 1]) < 0.5
    found = stack.one_by_one(
        np.where(np.arange(60)[:, None] < 40, target, np.nan), [(target, 1.0, 1.0, False)], 0.1
    )
    assert np.corrcoef(found[40:, 0], target[40:, 0])[0, 1] > 0.8


def test_meta_learners_say_what_they_are_called(monkeypatch):
    """The mean of bases, their blend, and the blend plus what the trees add, each on the drug's
    own scale.
    """
    rng = np.random.default_rng(4)
    truth, wrong = rng.normal(size=(12, 9)), rng.normal(size=(12, 9))
    offset, spread = rng.normal(size=(12, 9)), rng.uniform(0.5, 2, size=9)
    whole = stack.BasePredictions(offset, spread, {"right": truth, "wrong": wrong}, truth)

    class Trees:
        def predict(self, features):
            return features[:, 0] ** 2  # of what the first base says

    monkeypatch.setattr(stack, "boosted", lambda *_: Trees())
    learners = models.build("stack")._meta_learners(parts_of(truth, wrong), whole, "mixed")
    found = {chosen["second"]: (chosen, table) for chosen, table, _ in learners}
    chosen, blended = found["weights"]
    mixed = chosen["right"] * truth + chosen["wrong"] * wrong
    assert chosen["right"] == pytest.approx(1, abs=1e-3) and np.allclose(
        blended, offset + spread * mixed, atol=5e-3
    )
    assert np.allclose(found["mean of bases"][1], offset + spread * (truth + wrong) / 2)
    assert np.allclose(found["trees"][1] - blended, spread * truth**2)


def test_responses_of_another_screen_lose_the_effects_of_its_drugs_and_lines():
    rng = np.random.default_rng(5)
    table = rng.normal(size=(8, 5)) * [1, 2, 3, 4, 5] + [9, 0, 1, -3, 2]
    table[rng.random(table.shape) < 0.3] = np.nan
    table[0] = np.nan  # a line that was not measured there
    wanted = (table - np.nanmean(table, 0)) / np.nanstd(table, 0)
    for row in wanted[1:]:
        row -= row[np.isfinite(row)].mean()
    for column in wanted.T:
        column /= np.std(column[np.isfinite(column)])
    assert np.allclose(stack.other_columns(pd.DataFrame(table)), wanted, equal_nan=True)


@pytest.mark.parametrize("kind", ["mixed", "cell_blind", "drug_blind"])
def test_the_stack_beats_what_it_stands_on_in_the_simulated_world(world, kind, monkeypatch):
    tiny.few_trees(monkeypatch, 100)
    split = data.make_split(world, kind)
    pairs, y = world.pairs[split.test], world.y[split.test]
    simple = (
        models.build(
            {"mixed": "effects", "cell_blind": "drug_mean", "drug_blind": "cell_mean"}[kind]
        )
        .fit(world, split)
        .predict(pairs)
    )
    model = models.build("stack", inner=3).fit(world, split)
    if kind == "drug_blind":
        assert per_group(y, model.predict(pairs), pairs[:, 1]) > per_group(y, simple, pairs[:, 1])
    else:
        assert rmse(y, model.predict(pairs)) < rmse(y, simple)
    assert (
        model.chosen["second"] in ("mean of bases", "weights", "trees")
        and (model.state()["weights"] >= 0).all()
    )


def test_a_blend_is_made_of_its_parts_records_and_equals_one_that_fits_them(tmp_path, world):
    config = records.RunConfig(
        "simulated",
        "mixed",
        "clmt_kernel",
        settings={"parts": ["als", "effects"], "settings": {"als": {"ranks": [2]}}},
        options={"cells": 72},
    )
    record = records.run(config, tmp_path, benchmark=world)
    split = data.make_split(world, "mixed")
    fitted = models.build("clmt_kernel", **config.settings).fit(world, split)
    rows = record.predictions
    assert (
        np.allclose(fitted.predict(world.pairs[rows["position"]]), rows["predicted"])
        and record.metrics["chosen"] == fitted.chosen
    )
    als = records.run(
        config.changed(model="als", settings={"ranks": [2]}), tmp_path, benchmark=world
    )
    assert record.metrics["valid"]["rmse"] <= als.metrics["valid"]["rmse"] + 1e-6, (
        "a share of one was tried"
    )
    assert len(list((tmp_path / "runs").glob("simulated-*"))) == 3


def invented(world, seed=0, responses=6):
    """`AuxiliaryOmics` of the simulated world: columns that follow its first drugs, its expression
    measured again with noise, two events of half of the lines.
    """
    rng = np.random.default_rng(seed)
    y = pd.DataFrame(world.matrix()[:, :responses]).fillna(0.0) + rng.normal(
        size=(world.n_cells, responses)
    )
    genes = world.omics["expression"]
    again = genes + rng.normal(size=genes.shape)
    again.insert(0, "ANOTHER", rng.normal(size=len(again)))
    again.iloc[::5] = np.nan
    events = pd.DataFrame(rng.integers(0, 2, (world.n_cells, 2)), columns=["a", "b"], dtype=float)
    return AuxiliaryOmics(y, again, events)


def test_events_of_lines_are_weighted_by_what_they_tell_of_the_target(world):
    split, auxiliary = data.make_split(world, "cell_blind"), invented(world)
    target = np.random.default_rng(6).normal(size=world.shape)
    target[:, :40] += 3 * auxiliary.events[["a"]].to_numpy()
    rows = np.unique(world.pairs[split.train, 0])
    hits = auxiliary.events.to_numpy()
    z = (hits - hits[rows].mean(0)) / (hits[rows].std(0) + 0.05)
    told = np.sqrt(((z[rows].T @ target[rows] / len(rows)) ** 2).mean(1))
    assert told[0] > 2 * told[1]
    gap = (((z * told)[:, None] - (z * told)[None]) ** 2).sum(2)
    found = kernels.line_kernels(world, split, target, auxiliary)["events"]
    # one kernel is exp(-gap / width): whatever the width, its logarithm is the gap up to a factor
    rate = np.log(found)[gap > 0] / gap[gap > 0]
    assert (rate < 0).all() and np.allclose(rate, rate.mean())


def fitted_stack(world, kind, auxiliary, monkeypatch):
    monkeypatch.setattr(base, "load_auxiliary", lambda benchmark: auxiliary)
    return models.build("stack_auxiliary", inner=2, boost=False).fit(
        world, data.make_split(world, kind)
    )


def test_other_screens_are_heard_on_random_pairs_and_nowhere_else(world, monkeypatch):
    auxiliary = invented(world)
    silent = replace(
        auxiliary,
        responses=auxiliary.responses * 0
        + np.random.default_rng(9).normal(size=auxiliary.responses.shape),
    )
    for kind, heard in (("mixed", True), ("cell_blind", False), ("drug_blind", False)):
        tables = [
            fitted_stack(world, kind, facts, monkeypatch).table for facts in (auxiliary, silent)
        ]
        assert np.array_equal(*tables) != heard, (
            f"{kind}: a held-out line or drug has responses in other screens"
        )


def test_auxiliary_data_about_lines_enter_and_are_named(world, monkeypatch):
    auxiliary, split = invented(world), data.make_split(world, "cell_blind")
    found = fitted_stack(world, "cell_blind", auxiliary, monkeypatch)
    assert (
        found.also_read == auxiliary.describe()
        and "drug by drug + events"
        in stack.new_line_bases(world, split, stack.drug_facts(world), auxiliary).tables
    )
    assert not np.array_equal(found.table, models.build("stack", inner=2).fit(world, split).table)


def test_a_second_look_has_less_noise_and_leaves_the_others_as_they_are():
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(400, 5))
    first, second = (truth + rng.normal(size=truth.shape) for _ in range(2))
    other = pd.DataFrame(
        np.column_stack([second, rng.normal(size=400)]), columns=[*"edcba", "new"]
    )[["new", *"edcba"]]
    other.iloc[:100] = np.nan
    out = average_platforms(first, list("edcba"), other, np.arange(400))
    assert (
        np.array_equal(out[:100, :5], first[:100])
        and (out[:100, 5] == 0).all()
        and out.shape == (400, 6)
    )
    errors = [np.corrcoef(x[100:].ravel(), truth[100:].ravel())[0, 1] for x in (out[:, :5], first)]
    assert errors[0] > errors[1] + 0.05
    assert np.array_equal(average_platforms(first, list("edcba"), other, np.arange(100)), first), (
        "no training line was measured twice: nothing to standardise on"
    )


def test_the_second_look_is_scaled_on_training_lines_alone(world, monkeypatch):
    """Test lines' second expression and events may be anything: kernels among the other lines stay
    the same to the bit.
    """
    auxiliary, split = invented(world), data.make_split(world, "cell_blind")
    test = np.unique(world.pairs[split.test, 0])
    other = replace(
        auxiliary, expression=auxiliary.expression.copy(), events=auxiliary.events.copy()
    )
    other.expression.iloc[test] += 100.0
    other.events.iloc[test] = 1.0 - other.events.iloc[test]
    target = np.random.default_rng(0).normal(size=(world.n_cells, 4))
    rest = np.setdiff1d(np.arange(world.n_cells), test)
    one, two = (kernels.line_kernels(world, split, target, facts) for facts in (auxiliary, other))
    assert all(
        np.array_equal(one[name][np.ix_(rest, rest)], two[name][np.ix_(rest, rest)])
        for name in ("plain", "expression", "events")
    )
    assert not np.array_equal(one["events"], two["events"])


ONE = {"ridges": (1.0,), "same": (0.5,)}  # nothing to choose: lines do not meet on valid either


def told(world, auxiliary, name, monkeypatch):
    monkeypatch.setattr(base, "load_auxiliary", lambda benchmark: auxiliary)
    monkeypatch.setattr(kernels, "TOLERANCE", 1e-9)
    return models.build(name, **ONE).fit(world, data.make_split(world, "cell_blind")).table


@pytest.mark.parametrize("lost", ["expression", "events", "both"])
def test_a_line_without_a_measurement_is_predicted_as_if_there_were_no_such_table(
    world, monkeypatch, lost
):
    """Hidden from the test lines, a table changes nothing of what a model without it says of them,
    and nothing of other lines; zeros in its place do.
    """
    complete = invented(world)
    complete = replace(
        complete, expression=complete.expression.fillna(0.1)
    )  # every line was measured twice
    split = data.make_split(world, "cell_blind")
    test = np.unique(world.pairs[split.test, 0])
    others = np.setdiff1d(np.arange(world.n_cells), test)
    names = ("expression", "events") if lost == "both" else (lost,)
    hidden, none = {}, {}
    for name in names:
        table = getattr(complete, name)
        hidden[name] = table.copy()
        hidden[name].iloc[test] = np.nan
        none[name] = table.iloc[:, :0]
    found = told(world, replace(complete, **hidden), "kernel_masked", monkeypatch)
    without = told(world, replace(complete, **none), "kernel_masked", monkeypatch)
    assert np.abs(found[test] - without[test]).max() < 1e-6
    if lost == "both":
        omics = told(world, complete, "kernel_omics", monkeypatch)
        assert np.abs(found[test] - omics[test]).max() < 1e-6
    whole = told(world, complete, "kernel_masked", monkeypatch)
    assert np.abs(whole - told(world, complete, "kernel_auxiliary", monkeypatch)).max() < 1e-6
    assert np.abs(found[others] - whole[others]).max() < 1e-6
    zeros = told(world, replace(complete, **hidden), "kernel_auxiliary", monkeypatch)
    assert np.abs(zeros[test] - without[test]).max() > 1e-3


def test_lines_of_a_pattern_that_nobody_had_at_fit_are_predicted_all_the_same(world, monkeypatch):
    complete = invented(world)
    complete = replace(complete, expression=complete.expression.fillna(0.1))
    monkeypatch.setattr(base, "load_auxiliary", lambda benchmark: complete)
    monkeypatch.setattr(kernels, "TOLERANCE", 1e-9)
    split = data.make_split(world, "cell_blind")
    model = models.build("kernel_masked", **ONE).fit(world, split)
    test = np.unique(world.pairs[split.test, 0])
    n, side = len(np.unique(world.pairs[split.train, 0])), world.sides[0]
    ids = [f"new {label}" if i in test else label for i, label in enumerate(side.ids)]
    index = pd.Index(ids, name="cell")
    views = {name: view.set_axis(index) for name, view in side.views.items()}
    other = world.with_sides(replace(side, frame=side.frame.set_axis(index), views=views))

    def load(joint):  # as of new lines: their second expression is not known
        rows = world.sides[0].ids.get_indexer([i.removeprefix("new ") for i in joint.sides[0].ids])
        facts = {
            name: getattr(complete, name).iloc[rows].set_axis(joint.sides[0].ids)
            for name in ("responses", "expression", "events")
        }
        facts["expression"].iloc[n:] = np.nan
        return replace(complete, **facts)

    monkeypatch.setattr(base, "load_auxiliary", load)
    pairs = world.pairs[split.test]
    found = model.predict(pairs, other)
    none = replace(complete, expression=complete.expression.iloc[:, :0])
    expected = told(world, none, "kernel_masked", monkeypatch)
    assert np.abs(found - expected[tuple(pairs.T)]).max() < 1e-6


@pytest.mark.parametrize("lost", ["expression", "events"])
def test_the_bases_of_a_masked_stack_fall_back_to_what_a_line_has(world, lost):
    complete = invented(world)
    complete = replace(complete, expression=complete.expression.fillna(0.1))
    split = data.make_split(world, "cell_blind")
    test, facts = np.unique(world.pairs[split.test, 0]), stack.drug_facts(world)
    hidden = getattr(complete, lost).copy()
    hidden.iloc[test] = np.nan
    without = replace(complete, **{lost: getattr(complete, lost).iloc[:, :0]})
    kept = {}
    found = stack.masked_bases(world, split, facts, replace(complete, **{lost: hidden}), kept)
    bare = stack.new_line_bases(world, split, facts, without)
    whole = stack.new_line_bases(world, split, facts, complete)
    others = np.setdiff1d(np.arange(world.n_cells), test)
    for name, table in whole.tables.items():
        same = bare.tables.get(name, bare.tables["drug by drug"])
        assert np.abs(found.tables[name][test] - same[test]).max() < 1e-3
        assert np.abs(found.tables[name][others] - table[others]).max() < 1e-3
    again = stack.masked_bases(
        world, split, facts, replace(complete, **{lost: hidden}), kept, np.arange(world.n_cells)
    )
    assert all(np.allclose(again.tables[n], found.tables[n], atol=1e-6) for n in found.tables)


def test_a_masked_stack_is_fitted_saved_and_asked_about_new_lines(world, monkeypatch, tmp_path):
    monkeypatch.setattr(base, "load_auxiliary", lambda benchmark: invented(benchmark))
    split = data.make_split(world, "cell_blind")
    model = models.build("stack_masked", inner=2).fit(world, split)
    again = models.load(model.save(tmp_path / "model"))
    assert np.array_equal(again.table, model.table) and np.isfinite(model.table).all()
    side, pairs = world.sides[0], world.pairs[split.test]
    test = np.unique(pairs[:, 0])
    ids = [f"new {label}" if i in test else label for i, label in enumerate(side.ids)]
    index = pd.Index(ids, name="cell")
    views = {name: view.set_axis(index) for name, view in side.views.items()}
    other = world.with_sides(replace(side, frame=side.frame.set_axis(index), views=views))
    assert np.isfinite(again.predict(pairs, other)).all()
