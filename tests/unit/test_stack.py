"""The stack: inner folds as blind as the split, a second stage that believes who was right out of fold, and blends made of records."""

from dataclasses import replace

import numpy as np
import pytest

from clmt_lib import data, models, records
from clmt_lib.metrics import rmse, within
from clmt_lib.models import stack


@pytest.fixture(scope="module")
def world():
    return data.load("simulated", cells=72)


@pytest.mark.parametrize("kind", ["mixed", "cell_blind", "drug_blind", "scaffold_blind", "tissue_blind"])
def test_inner_folds_keep_together_what_the_split_keeps_together(world, kind):
    split = data.make_split(world, kind)
    fold = stack.inner_folds(world, split, 4, seed=0)
    groups = data.splits.groups_of(world, kind)[split.train]
    assert set(fold) == {0, 1, 2, 3} and len(fold) == len(split.train)
    assert all(len(set(fold[groups == group])) == 1 for group in np.unique(groups)[:50])
    assert np.array_equal(fold, stack.inner_folds(world, split, 4, seed=0)) and not np.array_equal(fold, stack.inner_folds(world, split, 4, seed=1))


def parts_of(truth, wrong, offset=0.0):
    """Three folds in which one base says the truth and another is wrong."""
    out = []
    for part in np.array_split(np.argwhere(np.ones(truth.shape, dtype=bool)), 3):
        stage = stack.Stage(np.zeros(truth.shape), np.ones(truth.shape[1]), {"right": truth, "wrong": wrong}, truth)
        out.append((stage, part, truth[tuple(part.T)] + offset * part[:, 1]))
    return out


def test_the_second_stage_believes_who_was_right():
    rng = np.random.default_rng(0)
    truth, wrong = rng.normal(size=(2, 30, 8))
    assert np.allclose(stack.blend(parts_of(truth, wrong)), [1, 0], atol=0.05)
    assert np.allclose(stack.blend(parts_of(truth, -truth)), [1, 0], atol=0.01), "no weight is below zero"
    shifted = parts_of(truth, wrong, offset=5.0)
    assert np.allclose(stack.blend(shifted, centre=True), [1, 0], atol=0.1), "a new drug's level is unknowable and must not count"


def test_nearest_measured_pairs_leave_out_the_pair_itself_and_what_was_not_measured():
    similar = np.array([[1.0, 0.9, 0.5, 0.1], [0.9, 1.0, 0.2, 0.3], [0.5, 0.2, 1.0, 0.4], [0.1, 0.3, 0.4, 1.0]])
    target = np.array([[10.0, 11.0, 12.0, 13.0]])
    seen = np.array([[True, False, True, True]])
    values, near, mean = stack.nearest(similar, seen, target, np.array([0]), np.array([0]))
    assert values[0, :2].tolist() == [12.0, 13.0] and near[0, :2].tolist() == [0.5, 0.1]
    assert 12.0 < mean[0, 0] < 12.5


def test_features_are_weighted_by_what_they_tell_of_the_target():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 3))
    y = x[:, :1] + 0.1 * rng.normal(size=(200, 2))
    weighted = stack.told(x, y, np.arange(200))
    spread = weighted.std(0) / x.std(0)
    assert spread[0] > 5 * spread[1:].max() and np.isclose((spread**2).mean(), 1)
    one = stack.one_by_one(np.where(rng.random(y.shape) < 0.7, y, np.nan), [(x, 0.5, 1.0, False)], 1.0)
    assert np.corrcoef(one[:, 0], y[:, 0])[0, 1] > 0.95


def test_a_column_does_not_explain_itself():
    rng = np.random.default_rng(2)
    target = rng.normal(size=(60, 4))  # four unrelated columns: nothing to learn from one another
    out = stack.one_by_one(np.where(np.arange(60)[:, None] < 40, target, np.nan), [(target, 1.0, 1.0, True)], 0.1)
    assert abs(np.corrcoef(out[40:, 0], target[40:, 0])[0, 1]) < 0.5
    told = stack.one_by_one(np.where(np.arange(60)[:, None] < 40, target, np.nan), [(target, 1.0, 1.0, False)], 0.1)
    assert np.corrcoef(told[40:, 0], target[40:, 0])[0, 1] > 0.8


@pytest.mark.parametrize("kind", ["mixed", "cell_blind", "drug_blind"])
def test_the_stack_beats_what_it_stands_on_in_the_simulated_world(world, kind):
    split = data.make_split(world, kind)
    pairs, y = world.pairs[split.test], world.y[split.test]
    simple = models.build({"mixed": "effects", "cell_blind": "drug_mean", "drug_blind": "cell_mean"}[kind]).fit(world, split).predict(pairs)
    model = models.build("stack", inner=3).fit(world, split)
    if kind == "drug_blind":
        assert within(y, model.predict(pairs), pairs[:, 1]) > within(y, simple, pairs[:, 1])
    else:
        assert rmse(y, model.predict(pairs)) < rmse(y, simple)
    assert model.chosen["second"] in ("mean of bases", "weights", "trees") and (model.state()["weights"] >= 0).all()


def test_a_blend_is_made_of_its_parts_records_and_equals_one_that_fits_them(tmp_path, world):
    config = records.RunConfig("simulated", "mixed", "clmt_kernel", settings={"parts": ["als", "effects"], "settings": {"als": {"ranks": [2]}}}, options={"cells": 72})
    record = records.run(config, tmp_path, benchmark=world)
    split = data.make_split(world, "mixed")
    fitted = models.build("clmt_kernel", **config.settings).fit(world, split)
    rows = record.predictions
    assert np.allclose(fitted.predict(world.pairs[rows["position"]]), rows["predicted"]) and record.metrics["chosen"] == fitted.chosen
    als = records.run(replace(config, model="als", settings={"ranks": [2]}), tmp_path, benchmark=world)
    assert record.metrics["valid"]["rmse"] <= als.metrics["valid"]["rmse"] + 1e-6, "a share of one was tried"
    assert len(list(tmp_path.glob("simulated-*"))) == 3
