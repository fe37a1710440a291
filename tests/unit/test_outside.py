"""Predictions made outside the library: read from a file of ids, scored beside its own models."""

import json
from io import StringIO

import pandas as pd
import pytest

from clmt_lib import data, models, records, tasks
from clmt_lib.cli import main
from clmt_lib.io import DataError
from clmt_lib.records import outside

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
