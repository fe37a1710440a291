"""Arguments and small files that cannot be meant: each ends in one line that says what is wrong and
what to do, exit code 2, and nothing is left behind.
"""

import importlib.util
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clmt_lib import data, models
from clmt_lib.cli import main
from clmt_lib.config import read_yaml
from clmt_lib.data import DrugResponse
from clmt_lib.data.grouping import group_compounds
from clmt_lib.io import DataError, appearing, atomic_write
from clmt_lib.models.registry import check_values
from clmt_lib.records import store

DEEP = "[" * 100_000 + "]" * 100_000
ROW = "{dataset: simulated, split: mixed, seeds: [0], folds: [0], models: [als]%s}"
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)


def settings(model, *said):
    return ["run", "--model", model, *(part for one in said for part in ("--set", one))]


REFUSED = {  # name -> (arguments; FILE stands for a file of the given content), what is said
    "no model": (["run"], None, "nothing to run"),
    "unknown model": (["run", "--model", "nope"], None, "unknown model 'nope'"),
    "a path for a model": (["run", "--model", "../../etc:passwd"], None, "names no module"),
    "a function for a model": (["run", "--model", "os:getcwd"], None, "is no model"),
    "a module that is not there": (["run", "--model", "no_such:X"], None, "no module 'no_such'"),
    "a path for a benchmark": (
        ["run", "--model", "als", "--dataset", "../../x"],
        None,
        "is no name",
    ),
    "a path for a split": (["run", "--model", "als", "--split", "../x"], None, "is no name"),
    "escapes for a benchmark": (
        ["run", "--model", "als", "--dataset", "\x1b[31mred"],
        None,
        r"'\\x1b\[31mred'",
    ),
    "seed -1": (["run", "--model", "als", "--seed", "-1"], None, "seed -1"),
    "fold -1": (["run", "--model", "als", "--fold", "-1"], None, "fold -1"),
    "fold 99": (["run", "--model", "als", "--fold", "99"], None, "fold 99"),
    "deep settings": (["run", "--model", "als", "--settings", '{"a":' + DEEP + "}"], None, "JSON"),
    "settings of a list": (["run", "--model", "als", "--settings", "[1]"], None, "not an object"),
    "not a number": (settings("als", "ridges=[NaN]"), None, "nan is not a finite number"),
    "infinite": (settings("als", "ridges=[Infinity]"), None, "inf is not a finite number"),
    "unknown setting": (settings("als", "zz=1"), None, "has no setting 'zz'"),
    "no steps": (settings("clmt", "steps=0"), None, "steps is 0"),
    "steps below none": (settings("clmt", "steps=-1"), None, "steps is -1"),
    "no members": (settings("clmt", "members=0"), None, "members is 0"),
    "drop 2": (settings("clmt", "drop=2.0"), None, "drop is 2.0.*below 1"),
    "weight decay below 0": (settings("clmt", "weight_decay=-1"), None, "weight_decay is -1"),
    "temperature 0": (settings("clmt", "temperature=0"), None, "temperature is 0"),
    "a rate without end": (settings("clmt", "learning_rate=1e30"), None, "at most 10"),
    "no parts": (settings("clmt_kernel", "parts=[]"), None, "parts is empty"),
    "unknown parts": (settings("clmt_kernel", 'parts=["x"]'), None, "unknown model 'x'"),
    "a rank without end": (settings("als", "ranks=[100000]"), None, "ranks is 100000"),
    "rank 0": (settings("als", "ranks=[0]"), None, "ranks is 0"),
    "no ranks": (settings("als", "ranks=[]"), None, "ranks is empty"),
    "a ridge below 0": (settings("als", "ridges=[-1]"), None, "ridges is -1"),
    "a word for a seed": (
        ["run", "--model", "als", "--options", '{"seed": "abc"}'],
        None,
        "simulated cannot be made with seed='abc'",
    ),
    "a number for drugs": (
        ["run", "--model", "als", "--options", '{"drugs": 0}'],
        None,
        "cannot be made with drugs=0",
    ),
    "unknown option": (
        ["run", "--model", "als", "--options", '{"zz": 1}'],
        None,
        "no option 'zz'.*use one of: seed",
    ),
    "configuration that is not there": (["run", "--config", "none.json"], None, "No such file"),
    "empty configuration": (["run", "--config", "FILE"], b"{}", "lacks dataset, split, model"),
    "configuration of a list": (["run", "--config", "FILE"], b"[1]", "not a set of keys"),
    "deep configuration": (["run", "--config", "FILE"], DEEP.encode(), "recursion"),
    "binary configuration": (["run", "--config", "FILE"], b"\x80\x81", "not a configuration"),
    "unknown key": (
        ["run", "--config", "FILE"],
        b'{"dataset": "simulated", "split": "mixed", "model": "als", "zz": 1}',
        "unknown key 'zz'",
    ),
    "grid that is not there": (["run", "--grid", "none.yaml"], None, "not a grid"),
    "binary grid": (["run", "--grid", "FILE"], b"\x80\x81\x00", "not a grid"),
    "grid of nothing": (["run", "--grid", "FILE"], b"", "not a set of keys"),
    "deep grid": (["run", "--grid", "FILE"], b"runs: " + b"[" * 3000 + b"]" * 3000, "recursion"),
    "grid of aliases": (["run", "--grid", "FILE"], BOMB.encode(), "more than .* values"),
    "grid that runs code": (
        ["run", "--grid", "FILE"],
        b"runs: !!python/object/apply:os.getcwd []",
        "could not determine a constructor",
    ),
    "seeds of a word": (
        ["run", "--grid", "FILE"],
        b"runs:\n - {dataset: simulated, split: mixed, seeds: abc, folds: [0], models: [als]}",
        "row 1 of runs, seeds",
    ),
    "a date for a setting": (
        ["run", "--grid", "FILE"],
        ("runs:\n - " + ROW % ", settings: {als: {ranks: 2026-01-01}}").encode(),
        "date is no plain value",
    ),
    "a set for options": (
        ["run", "--grid", "FILE"],
        ("runs:\n - " + ROW % ", options: !!set {a, b}").encode(),
        "options",
    ),
    "a list for a benchmark": (
        ["run", "--grid", "FILE"],
        ("runs:\n - " + (ROW % "").replace("simulated", "[a]")).encode(),
        "dataset",
    ),
    "report of unknown options": (
        ["report", "--grid", "FILE"],
        ("runs:\n - " + ROW % ", options: {zz: 1}").encode(),
        "no option 'zz'",
    ),
    "study of nothing": (["study", "FILE"], b"{}", "the study lacks"),
    "deep study": (["study", "FILE"], b"x: " + b"[" * 3000 + b"]" * 3000, "recursion"),
    "transfer of nothing": (["transfer", "FILE"], b"{}", "the transfer lacks"),
    "predictions that are not there": (["score", "none.csv"], None, "no such file"),
    "binary predictions": (["score", "FILE"], b"\xf4\x00\x01", "FILE|text"),
    "unknown kind of split": (["split", "--split", "nope"], None, "unknown split 'nope'"),
    "home of nobody": (["data", "check", "~nosuchuser/x"], None, "home folder not found"),
    "records of nobody": (
        ["run", "--model", "global_mean", "--records", "~nosuchuser/x"],
        None,
        "home folder not found",
    ),
    "records in a file": (
        ["run", "--model", "global_mean", "--records", "FILE"],
        b"x",
        "Not a directory",
    ),
    "tables into /": (["data", "prepare", ".", "/"], None, "is there already"),
    "a scale of nothing": (["data", "prepare", ".", "x", "--scale", "y"], None, "has no value"),
    "unknown source": (["data", "fetch", "nope", "--to", "x"], None, "unknown source"),
    "no jobs": (["run", "--grid", "FILE", "--jobs", "0"], b"runs: []", "--jobs"),
    "a GPU that is not there": (
        ["run", "--model", "clmt", "--device", "cuda", "--set", "steps=1"],
        None,
        "no GPU",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(case, tmp_path, monkeypatch, capsys):
    arguments, content, message = REFUSED[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLMT_RECORDS", str(tmp_path / "records"))
    monkeypatch.delenv("CLMT_DATA", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    if content is not None:
        (tmp_path / "FILE").write_bytes(content)
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith("clmt: ") and len(said.err.splitlines()) == 1
    assert "\x1b" not in said.err and "Traceback" not in said.err
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(said.err)
    kept = {path.name for path in tmp_path.iterdir()} - {"FILE", "records"}
    assert not kept, f"left behind: {kept}"
    assert not list((tmp_path / "records").rglob("run.json"))


def test_no_committed_run_has_a_setting_out_of_range():
    count = 0
    for record in store.runs():
        check_values(record.config["model"], record.config["settings"])
        count += 1
    assert count > 1000


@pytest.mark.parametrize("name", models.names())
def test_the_defaults_of_every_model_are_in_range(name):
    settings = models.resolve(name)
    check_values(name, settings)  # raises where one is not
    assert isinstance(settings, dict)


def test_anchors_of_a_sound_file_are_read(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("a: &a [1, 2]\nb: [*a, *a]\n")
    assert read_yaml(path, "grid") == {"a": [1, 2], "b": [[1, 2], [1, 2]]}


def test_a_name_with_escapes_is_shown_harmlessly():
    error = DataError(f"{json.dumps('x')} and \x1b[31mred\x1b[0m\n second line\x07")
    assert "\x1b" not in str(error) and "\x07" not in str(error) and "\n" not in str(error)


# --- Benchmarks that are awkward but true: a drug with one response, a one-atom drug, no structure,
# no text, a gene without spread. Both presets go through


SIZES = {
    "clmt": {"steps": 5, "hidden": 16, "dim": 8, "message": 8},
    "clmt_repaired": {"width": 8, "epochs": 1, "batch": 128},
}
SIZES["clmt_published"] = SIZES["clmt_repaired"]


@pytest.fixture(scope="module")
def awkward():
    world = data.load(
        "simulated",
        cells=36,
        drugs=list(dict.fromkeys(data.load("simulated", cells=24).drugs["name"]))[:12],
    )
    drugs, cells = world.drugs.copy(), world.cells
    first, second, third, fourth = drugs.index[:4]
    drugs.loc[first, "smiles"] = None  # nothing is known of its structure
    drugs.loc[second, "smiles"] = "[Li+]"  # one atom, no bond
    drugs.loc[third, ["target", "pathway"]] = None  # nothing to write a sentence about
    drugs["compound"] = group_compounds(drugs.drop(columns="compound"))
    expression = world.omics["expression"].copy()
    expression.iloc[:, 0] = 1.0  # a gene without spread
    expression = expression.rename(
        columns={expression.columns[1]: "LOC1"}
    )  # a gene that is in no pathway
    pairs = pd.DataFrame(
        {
            "cell": cells.index[world.pairs[:, 0]],
            "drug": drugs.index[world.pairs[:, 1]],
            "ln_ic50": world.y,
        }
    )
    once = pairs[pairs["drug"] == fourth].index[1:]
    omics = {**world.omics, "expression": expression}
    return DrugResponse.from_tables(
        "awkward", cells, drugs, omics, pairs.drop(index=once).reset_index(drop=True)
    )


@pytest.mark.parametrize("kind", ["mixed", "cell_blind", "drug_blind"])
@pytest.mark.parametrize("name", SIZES)
def test_awkward_entities_get_finite_predictions(awkward, name, kind):
    split = data.make_split(awkward, kind)
    model = models.build(name, **SIZES[name]).fit(awkward, split)
    for cell, drug in ((0, 0), (1, 1), (2, 2), (3, 3)):
        assert np.isfinite(model.predict(np.array([[cell, drug]]))).all()
    assert np.isfinite(model.predict(awkward.pairs)).all()
    assert all(
        np.isfinite(value).all() or key == "threshold"
        for key, value in model.state().items()
        if value.dtype.kind == "f"
    )


@pytest.mark.parametrize("source", ["long", "mechanism"])
def test_missing_texts_are_missing_and_not_guessed(awkward, source):
    model = models.build("clmt_repaired", drug_text=source, **SIZES["clmt_repaired"]).fit(
        awkward, data.make_split(awkward, "mixed")
    )
    told = model.inputs.has_text_drug.numpy()
    assert np.array_equal(told, model.inputs.text_drug.any(1).numpy())
    assert 0 < told.sum() <= awkward.n_drugs


# --- Kills, full disks, clocks that jump, two at once: a sample; `python tests/faults.py` has 200


def test_what_was_finished_survives_and_what_was_not_is_made_again(monkeypatch):
    spec = importlib.util.spec_from_file_location("faults", Path(__file__).parents[1] / "faults.py")
    faults = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "faults", faults)  # dataclasses look there
    spec.loader.exec_module(faults)
    monkeypatch.delenv("CLMT_DATA", raising=False)
    said = []
    bad = faults.strike(len(faults.KINDS) * 2, ["collect", "new"], seed=11, say=said.append)
    bad += faults.strike(2, ["run"], seed=12, say=said.append)
    assert bad == 0 and len(said) == len(faults.KINDS) * 2 + 2, "\n".join(said)


def test_what_a_killed_process_was_writing_is_removed_by_the_next(tmp_path):
    path = tmp_path / "x[1].txt"
    with atomic_write(path) as file:
        (part,) = tmp_path.glob(".*.part")
        file.write("whole")
    gone = part.name.replace(f"-{os.getpid()}-", "-99999999-")  # no process has this number
    for name in (gone, part.name, ".other.txt.0-99999999-0.part"):
        (tmp_path / name).write_text("half")
    with atomic_write(path) as file:
        file.write("new")
    left = {one.name for one in tmp_path.iterdir()}
    assert left == {path.name, part.name, ".other.txt.0-99999999-0.part"}


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    out = tmp_path / "a" / "out"
    with suppress(KeyboardInterrupt), appearing(out) as new:
        (new / "x").write_text("half")
        raise KeyboardInterrupt
    assert list(out.parent.iterdir()) == []
    with appearing(out) as new:
        (new / "x").write_text("whole")
    with pytest.raises(DataError, match="is there already"), appearing(out):
        pass
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert (out / "x").read_text() == "whole"


def test_a_command_that_is_told_to_end_ends_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "clmt_lib.records.run", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM)
    )
    before = signal.getsignal(signal.SIGTERM)
    code = main(["run", "--model", "effects", "--records", str(tmp_path)])
    assert code == 143 and "told to end; run the same command again" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before
