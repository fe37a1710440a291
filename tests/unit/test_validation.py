"""Cross-validation in a notebook's five lines, paired comparisons, and a stranger's own model."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clmt_lib import data, models
from clmt_lib.io import DataError
from clmt_lib.models.baselines.means import Means
from clmt_lib.tasks import bootstrap_of, of, pool, score

EXAMPLE = Path(__file__).parents[2] / "experiments/examples/own_model.py"


@pytest.fixture(scope="module")
def world():
    return data.load("simulated", cells=40)


@pytest.fixture(scope="module")
def found(world):
    return {
        name: models.cross_validate(name, world, "cell_blind", folds=3, draws=200)
        for name in ("drug_mean", "global_mean", "tissue_drug_mean")
    }


def test_every_fold_is_fitted_and_scored_as_by_hand(world, found):
    mine, boot = found["tissue_drug_mean"], bootstrap_of(world, 200)
    assert (mine.model, mine.kind, mine.seed) == ("tissue_drug_mean", "cell_blind", 0)
    draws, weights = [], []
    for fold in range(3):
        split = data.make_split(world, "cell_blind", 0, fold)
        by_hand = (
            models.build("tissue_drug_mean").fit(world, split).predict(world.pairs[split.test])
        )
        rows = mine.predictions[mine.predictions["fold"] == fold]
        assert np.array_equal(rows["position"], split.test)
        assert np.array_equal(rows["predicted"], by_hand)
        assert mine.metrics.loc[fold].to_dict() == score(world, split, by_hand)
        pairs, y = world.pairs[split.test], world.y[split.test]
        draws.append(boot.statistics(pairs, y, by_hand, ["rmse"])["rmse"])
        weights.append(boot.weights(pairs, ["rmse"], y)["rmse"])
    pooled = pool(np.stack(draws), np.stack(weights))
    row = mine.summary().loc["rmse"]
    assert (row["low"], row["high"]) == tuple(np.percentile(pooled, [2.5, 97.5]))
    assert row["mean"] == mine.metrics["rmse"].mean() and row["draws"] == 200
    assert list(mine.summary().index) == list(of(world).reported)


def test_a_class_a_name_and_a_function_are_the_same_model(world, found):
    for model in (Means, lambda: Means(by="tissue_drug"), "clmt_lib.models.baselines.means:Means"):
        own = {} if not isinstance(model, (str, type)) else {"settings": {"by": "tissue_drug"}}
        again = models.cross_validate(model, world, "LCO", folds=3, draws=200, **own)
        assert again.predictions.equals(found["tissue_drug_mean"].predictions)


def test_settings_that_suit_the_kind_of_split_are_used(world):
    class Suited(Means):
        settings_for = {"cell_blind": {"by": "drug"}}

    blind = models.cross_validate(Suited, world, "cell_blind", folds=[1], draws=10)
    plain = models.cross_validate("drug_mean", world, "cell_blind", folds=[1], draws=10)
    assert blind.predictions.equals(plain.predictions) and list(blind.metrics.index) == [1]


def test_a_difference_is_paired_and_has_a_direction(found):
    a, b = found["tissue_drug_mean"], found["global_mean"]
    there = models.compare(a, b).droplevel("model")
    back = models.compare(b, a).droplevel("model")
    assert np.allclose(there["difference"], -back["difference"])
    assert np.allclose(there["low"], -back["high"])
    apart = pool(a.draws["rmse"], a.weights["rmse"]) - pool(b.draws["rmse"], b.weights["rmse"])
    low, high = np.percentile(apart, [2.5, 97.5])
    assert np.allclose(there.loc["rmse", ["low", "high"]].astype(float), [low, high])
    assert {there.loc["rmse", "verdict"], back.loc["rmse", "verdict"]} == {"better", "worse"}
    assert there.loc["rmse", "difference"] < 0 and there.loc["rmse", "verdict"] == "better"
    assert there.loc["pcc_per_drug", "verdict"] == "better"  # higher is better
    same = models.compare(a, a)
    assert (same["verdict"] == "no difference found").all() and (same["difference"] == 0).all()
    both = models.compare(a, b, found["drug_mean"])
    assert both.loc["global_mean"].equals(there)
    assert both.loc["drug_mean"].equals(models.compare(a, found["drug_mean"]).loc["drug_mean"])
    with pytest.raises(DataError, match="nothing to compare with"):
        models.compare(a)


def test_what_cannot_be_compared_is_refused(world, found):
    a = found["drug_mean"]
    others = {
        "kind": models.cross_validate("drug_mean", world, "mixed", folds=1, draws=10),
        "seed": models.cross_validate("drug_mean", world, "cell_blind", folds=3, draws=10, seed=1),
        "folds": models.cross_validate("drug_mean", world, "cell_blind", folds=2, draws=200),
        "number of draws": models.cross_validate(
            "drug_mean", world, "cell_blind", folds=3, draws=10
        ),
    }
    for what, b in others.items():
        with pytest.raises(DataError, match=f"not the same {what}"):
            models.compare(a, b)


def test_what_cannot_be_run_is_refused_before_the_first_fold(world):
    with pytest.raises(DataError, match="no setting 'rank'"):
        models.cross_validate("drug_mean", world, settings={"rank": 3})
    with pytest.raises(DataError, match="no setting 'rank'"):
        models.cross_validate(Means, world, settings={"rank": 3})
    with pytest.raises(DataError, match="makes no fresh model"):
        models.cross_validate(Means(), world)
    with pytest.raises(DataError, match="no model"):
        models.cross_validate(lambda: 3, world)
    with pytest.raises(DataError, match="no fold to run"):
        models.cross_validate("drug_mean", world, folds=[])


def test_a_strangers_model_runs_from_its_script():
    """Outside the package: defined, validated beside three others, saved, loaded, asked of new."""
    code = f"import sys; sys.path.insert(0, {str(EXAMPLE.parent)!r}); import own_model; "
    call = [sys.executable, "-c", code + "own_model.main(cells=48)"]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    told = [name for name in ("drug_mean", "tissue_drug_mean", "ridge") if name in done.stdout]
    assert len(told) == 3 and done.stdout.count("rmse") == 4
    said = [float(line.rsplit(maxsplit=1)[1]) for line in lines[-3:-1]]
    assert lines[-2].startswith("(my line, my drug)") and "Name: ln(uM)" in lines[-1]
    assert all(-10 < value < 10 for value in said) and said[0] != said[1]
