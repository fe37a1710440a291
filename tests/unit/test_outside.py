"""Predictions made outside the library: read from a file of ids, scored beside its own models."""

import ast
import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clmt_lib import data, models, records, tasks
from clmt_lib.cli import main
from clmt_lib.io import DataError
from clmt_lib.models.baselines.means import Means
from clmt_lib.records import outside
from clmt_lib.tasks import bootstrap_of, of, pool, score

OPTIONS = {"cells": 48}
ASKED = ["--options", json.dumps(OPTIONS), "--split", "mixed", "--seed", "1", "--fold", "2"]


@pytest.fixture(scope="module")
def world():
    return data.load("simulated", **OPTIONS)


@pytest.fixture(scope="module")
def split(world):
    return data.make_split(world, "mixed", 1, 2)


@pytest.fixture(scope="module")
def predicted(world, split):
    return models.build("effects").fit(world, split).predict(world.pairs[split.test])


@pytest.fixture(scope="module")
def kept(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    for model in ("effects", "als", "global_mean"):
        records.run(records.RunConfig("simulated", "mixed", model, 1, 2, options=OPTIONS), folder)
    records.run(
        records.RunConfig("simulated", "mixed", "als", 1, 2, {"ranks": [1]}, OPTIONS), folder
    )
    records.run(records.RunConfig("simulated", "mixed", "als", 1, 3, options=OPTIONS), folder)
    records.collect(folder)
    return folder


@pytest.fixture
def file(world, split, predicted, tmp_path):
    """The split as it is written, with a column of predictions for its test set."""
    path = tmp_path / "mine.csv"
    data.write_split_csv(split, world, path)
    head, _, body = path.read_text().partition("\n")
    table = pd.read_csv(StringIO(body), dtype=str)
    table["predicted"] = ""
    table.loc[table["set"] == "test", "predicted"] = [repr(float(value)) for value in predicted]
    path.write_text(f"{head}\n{table.sample(frac=1, random_state=0).to_csv(index=False)}")
    return path


def edited(file, change):
    """The file again, its table changed; without the line that says which split it is."""
    table = change(pd.read_csv(file, skiprows=1, dtype=str))
    file.write_text(table.to_csv(index=False))
    return file


def test_the_written_split_comes_back_with_predictions_in_the_order_of_its_test_set(
    world, split, predicted, file
):
    assert (outside.read_predictions(file, world, split) == predicted).all()
    only_test = edited(file, lambda table: table[table["set"] == "test"].drop(columns="set"))
    assert (outside.read_predictions(only_test, world, split) == predicted).all()


def test_scores_are_those_of_the_record_of_the_same_predictions(world, split, predicted, kept):
    found = outside.score_predictions(predicted, world, split, OPTIONS, kept)
    own = records.run(
        records.RunConfig("simulated", "mixed", "effects", 1, 2, options=OPTIONS), kept
    )
    for name, value in own.metrics["test"].items():
        assert found.metrics[name] == pytest.approx(value, abs=1e-6)
    for name, value in own.metrics["interval"].items():
        assert found.interval[name] == pytest.approx(value, abs=1e-6)


def test_models_of_the_same_test_set_stand_beside_best_first(world, split, predicted, kept):
    found = outside.score_predictions(predicted, world, split, OPTIONS, kept)
    assert found.headline == tasks.of(world).headline("mixed") == "rmse"
    assert found.others.index.tolist() == ["als", "effects", "global_mean"]
    assert (found.others["rmse"].diff().dropna() > 0).all()
    assert found.others.loc["effects", ["low", "high"]].tolist() == pytest.approx([0, 0], abs=1e-6)
    low, high = found.others.loc["als", ["low", "high"]]
    assert 0 < low < found.metrics["rmse"] - found.others.loc["als", "rmse"] < high
    assert found.others.loc["global_mean", "high"] < 0


def test_without_records_the_scores_stand_alone(world, split, predicted, tmp_path):
    found = outside.score_predictions(predicted, world, split, OPTIONS, tmp_path)
    assert found.others.empty and found.metrics["pairs"] == len(split.test)


def first_test(table):
    return table.index[table["predicted"].notna()][0]


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda t: t.drop(columns="predicted"), "missing column 'predicted'"),
        (lambda t: t.rename(columns={"drug": "molecule"}), "missing column 'drug'"),
        (lambda t: t.drop(index=first_test(t)), "1 of .* test pairs have no prediction, such as"),
        (lambda t: pd.concat([t, t]), "has a prediction already.*one finite prediction"),
        (lambda t: t.assign(predicted="high"), "row 2: the pair .* has no finite number"),
        (lambda t: t.assign(predicted="inf"), "row 2: the pair .* has no finite number"),
        (lambda t: t.assign(drug=t["drug"] + "?"), "test pairs have no prediction"),
        (lambda t: t.iloc[:0], "empty table"),
    ],
)
def test_a_file_that_cannot_be_scored_is_told_what_is_wrong(world, split, file, change, said):
    only_test = edited(file, lambda table: table[table["set"] == "test"])
    with pytest.raises(DataError, match=said):
        outside.read_predictions(edited_again(only_test, change), world, split)


def edited_again(file, change):
    file.write_text(change(pd.read_csv(file, dtype=str)).to_csv(index=False))
    return file


def test_a_file_of_another_split_is_refused(world, file):
    with pytest.raises(DataError, match="made for simulated mixed, seed 1, fold 2; another fold"):
        outside.read_predictions(file, world, data.make_split(world, "mixed", 1, 3))
    with pytest.raises(DataError, match="another kind was asked for"):
        outside.read_predictions(file, world, data.make_split(world, "drug_blind", 1, 2))


def test_pairs_of_no_test_set_are_left_out(world, split, predicted, file):
    strange = pd.DataFrame({"cell": ["X"], "drug": ["Y"], "set": ["test"], "predicted": ["1"]})
    more = edited(file, lambda table: pd.concat([strange, table]))
    assert (outside.read_predictions(more, world, split) == predicted).all()


def test_the_command_prints_scores_and_the_ladder(file, kept, capsys):
    assert main(["score", str(file), *ASKED, "--records", str(kept)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mine.csv on simulated mixed, seed 1, fold 2: 462 test pairs"
    assert [line.split()[0] for line in lines[-3:]] == ["als", "effects", "global_mean"]
    assert "rmse: mine.csv - model" in lines[-4]


def test_the_command_refuses_in_one_line(file, tmp_path, capsys):
    for words, said in (
        ([str(file), *ASKED[:-1], "3"], "another fold was asked for"),
        ([str(tmp_path / "no.csv"), *ASKED], "no.csv: no such file"),
        ([str(tmp_path), *ASKED], "unknown kind of file"),
        ([str(file), *ASKED, "--options", "{"], "--options: not JSON"),
    ):
        assert main(["score", *words]) == 2
        error = capsys.readouterr().err
        assert said in error and len(error.splitlines()) == 1


# --- Cross-validation in a notebook's five lines, paired comparisons, and a stranger's own model


EXAMPLE = Path(__file__).parents[2] / "experiments/examples/own_model.py"


@pytest.fixture(scope="module")
def validation_world():
    return data.load("simulated", cells=40)


@pytest.fixture(scope="module")
def found(validation_world):
    return {
        name: models.cross_validate(name, validation_world, "cell_blind", folds=3, draws=200)
        for name in ("drug_mean", "global_mean", "tissue_drug_mean")
    }


def test_every_fold_is_fitted_and_scored_as_by_hand(validation_world, found):
    mine, boot = found["tissue_drug_mean"], bootstrap_of(validation_world, 200)
    assert (mine.model, mine.kind, mine.seed) == ("tissue_drug_mean", "cell_blind", 0)
    draws, weights = [], []
    for fold in range(3):
        split = data.make_split(validation_world, "cell_blind", 0, fold)
        by_hand = (
            models.build("tissue_drug_mean")
            .fit(validation_world, split)
            .predict(validation_world.pairs[split.test])
        )
        rows = mine.predictions[mine.predictions["fold"] == fold]
        assert np.array_equal(rows["position"], split.test)
        assert np.array_equal(rows["predicted"], by_hand)
        assert mine.metrics.loc[fold].to_dict() == score(validation_world, split, by_hand)
        pairs, y = validation_world.pairs[split.test], validation_world.y[split.test]
        draws.append(boot.statistics(pairs, y, by_hand, ["rmse"])["rmse"])
        weights.append(boot.weights(pairs, ["rmse"], y)["rmse"])
    pooled = pool(np.stack(draws), np.stack(weights))
    row = mine.summary().loc["rmse"]
    assert (row["low"], row["high"]) == tuple(np.percentile(pooled, [2.5, 97.5]))
    assert row["mean"] == mine.metrics["rmse"].mean() and row["draws"] == 200
    assert list(mine.summary().index) == list(of(validation_world).reported)


def test_a_class_a_name_and_a_function_are_the_same_model(validation_world, found):
    for model in (Means, lambda: Means(by="tissue_drug"), "clmt_lib.models.baselines.means:Means"):
        own = {} if not isinstance(model, (str, type)) else {"settings": {"by": "tissue_drug"}}
        again = models.cross_validate(model, validation_world, "LCO", folds=3, draws=200, **own)
        assert again.predictions.equals(found["tissue_drug_mean"].predictions)


def test_settings_that_suit_the_kind_of_split_are_used(validation_world):
    class Suited(Means):
        settings_for = {"cell_blind": {"by": "drug"}}

    blind = models.cross_validate(Suited, validation_world, "cell_blind", folds=[1], draws=10)
    plain = models.cross_validate("drug_mean", validation_world, "cell_blind", folds=[1], draws=10)
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


def test_what_cannot_be_compared_is_refused(validation_world, found):
    a = found["drug_mean"]
    others = {
        "kind": models.cross_validate("drug_mean", validation_world, "mixed", folds=1, draws=10),
        "seed": models.cross_validate(
            "drug_mean", validation_world, "cell_blind", folds=3, draws=10, seed=1
        ),
        "folds": models.cross_validate(
            "drug_mean", validation_world, "cell_blind", folds=2, draws=200
        ),
        "number of draws": models.cross_validate(
            "drug_mean", validation_world, "cell_blind", folds=3, draws=10
        ),
    }
    for what, b in others.items():
        with pytest.raises(DataError, match=f"not the same {what}"):
            models.compare(a, b)


def test_what_cannot_be_run_is_refused_before_the_first_fold(validation_world):
    with pytest.raises(DataError, match="no setting 'rank'"):
        models.cross_validate("drug_mean", validation_world, settings={"rank": 3})
    with pytest.raises(DataError, match="no setting 'rank'"):
        models.cross_validate(Means, validation_world, settings={"rank": 3})
    with pytest.raises(DataError, match="makes no fresh model"):
        models.cross_validate(Means(), validation_world)
    with pytest.raises(DataError, match="no model"):
        models.cross_validate(lambda: 3, validation_world)
    with pytest.raises(DataError, match="no fold to run"):
        models.cross_validate("drug_mean", validation_world, folds=[])


def test_a_strangers_model_runs_from_its_script():
    """Outside the package: defined, validated beside three others, saved, loaded, asked of new."""
    done = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    told = [name for name in ("drug_mean", "tissue_drug_mean", "ridge") if name in done.stdout]
    assert len(told) == 3 and done.stdout.count("rmse") == 4
    said = [float(line.rsplit(maxsplit=1)[1]) for line in lines[-3:-1]]
    assert lines[-2].startswith("(my line, my drug)") and "Name: ln(uM)" in lines[-1]
    assert all(-10 < value < 10 for value in said) and said[0] != said[1]


def test_a_strangers_model_takes_twenty_five_lines():
    """Without blank lines, imports and what it says about itself."""
    source = EXAMPLE.read_text(encoding="utf-8")
    aside = {
        number
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for number in range(node.lineno, node.end_lineno + 1)
    }
    code = [line for number, line in enumerate(source.splitlines(), 1) if number not in aside]
    assert sum(bool(line.strip()) for line in code) <= 25
