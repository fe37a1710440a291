"""Arguments and small files that cannot be meant: each ends in one line that says what is wrong and
what to do, exit code 2, and nothing is left behind.
"""

import gzip
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clmt_lib import data, models, predict, records
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


GRID = "runs:\n - {dataset: simulated, split: mixed, seeds: [0], folds: [0], models: [als]}"
CALM = '{"cells": 24, "drugs": ["Erlotinib", "Gefitinib", "Olaparib", "Paclitaxel", "Docetaxel"]}'
FIT = ["fit", "simulated", "--options", CALM, "--out"]


def grid(old, new):
    return ["run", "--grid", "FILE"], GRID.replace(old, new).encode()


def about(what, content):
    return ["predict", "MODEL", what, "FILE"], content


REFUSED |= {  # MODEL stands for a fitted model, beside FILE
    "fit without a folder": (["fit"], None, "Missing option '--out'"),
    "fit on nothing": (["fit", "nope", "--out", "m"], None, "unknown benchmark 'nope'"),
    "fit on a path": (["fit", "../../x", "--out", "m"], None, "unknown benchmark '../../x'"),
    "fit on proteins": (["fit", "interactions", "--out", "m"], None, "holds proteins x drugs"),
    "fit with a list": (["fit", "simulated", "--options", "[1]", "--out", "m"], None, "not JSON"),
    "fit with half of JSON": (["fit", "simulated", "--options", "{", "--out", "m"], None, "JSON"),
    "fit with an unknown option": (
        ["fit", "simulated", "--options", '{"zz": 1}', "--out", "m"],
        None,
        "no option 'zz'",
    ),
    "fit without tables": (["fit", "gdsc2", "--out", "m"], None, "CLMT_DATA is not set"),
    "fit with seed -1": ([*FIT, "m", "--seed", "-1"], None, "-1 is not in the range"),
    "fit with a word for a seed": ([*FIT, "m", "--seed", "x"], None, "not a valid integer"),
    "fit for nobody": ([*FIT, "~nosuchuser/x"], None, "home folder not found"),
    "predict with nothing": (["predict", "none"], None, "not a saved model"),
    "predict with a file": (["predict", "FILE"], b"x", "not a saved model"),
    "an unknown level": (["predict", "MODEL", "--level", "2"], None, "'2' is not one of"),
    "an unknown scale": (["predict", "MODEL", "--scale", "x"], None, "'x' is not one of"),
    "predictions in a program": (["predict", "MODEL", "--out", "p.exe"], None, ".csv or .parquet"),
    "predictions over a folder": (["predict", "MODEL", "--out", "."], None, ".csv or .parquet"),
    "drugs that are not there": (["predict", "MODEL", "--drugs", "none.csv"], None, "no such file"),
    "drugs of nothing": (*about("--drugs", b""), "FILE.csv: empty table"),
    "drugs of bytes": (*about("--drugs", b"\x80\x81\x00"), "holds bytes that are no text"),
    "drugs of a web page": (*about("--drugs", b"<html>login"), "is a web page"),
    "drugs in UTF-16": (*about("--drugs", "drug\nx\n".encode("utf-16")), "is text in UTF-16"),
    "drugs in gzip": (*about("--drugs", gzip.compress(b"drug\nx\n")), "is gzip"),
    "drugs cut short": (*about("--drugs", b'drug,smiles\nx,"CCO\n'), "never closed"),
    "drugs and semicolons": (*about("--drugs", b"drug;smiles;x\n"), "separated by semicolons"),
    "a structure that is none": (*about("--drugs", b"drug,smiles\nx,C1CC\n"), "row 2: SMILES 'C1"),
    "a drug that is none": (*about("--drugs", b"drug\nNoSuch\n"), "row 2: no drug 'NoSuch'"),
    "a script for a drug": (
        *about("--drugs", b"drug\n<script>alert(1)</script>\n"),
        "no drug '<script>",
    ),
    "escapes for a drug": (*about("--drugs", b"drug\n\x1b[31mred\n"), r"\\x1b\[31mred"),
    "a drug of two structures": (
        *about("--drugs", b"drug,smiles\nx,CCO\nx,CCC\n"),
        "row 3: drug 'x' has two structures: 'CCO' and 'CCC'",
    ),
    "lines of nothing": (*about("--lines", b"line\n"), "empty table"),
    "a line that is none": (*about("--lines", b"line\nNOPE\n"), "row 2: no line 'NOPE'"),
    "a row too long": (*about("--lines", b"line,TP53\nx,1,2\n"), "row 2: 3 cells where"),
    "a screen nowhere": (["new", "no/such/x"], None, "no such folder"),
    "a screen that is there": (["new", "."], None, "something here already"),
    "a screen of a NUL": (["new", "a\0b"], None, "a name holds a NUL"),
    "a screen of nobody": (["new", "~nosuchuser/x"], None, "home folder not found"),
    "a check of a file": (["data", "check", "FILE"], b"x", "no such folder"),
    "a word for a fold": (*grid("folds: [0]", "folds: [a]"), "entry 1 of folds"),
    "a fold below none": (*grid("folds: [0]", "folds: [-1]"), "greater than or equal to 0"),
    "a grid of no model": (*grid("[als]", "[]"), "at least 1 item"),
    "a word for models": (*grid("[als]", "als"), "models: input should be a valid list"),
    "a path in a grid": (*grid("simulated", "../../x"), "'../../x' is no name"),
    "a path for a split in a grid": (*grid("mixed", "../x"), "'../x' is no name"),
    "escapes in a grid": (*grid("simulated", '"\\e[31mx"'), r"'\\x1b\[31mx' is no name"),
    "an unknown key in a grid": (*grid("[als]", "[als], zz: 1"), "unknown key 'zz'"),
    "a key twice": (["run", "--grid", "FILE"], b"runs: []\nruns: []\n", "'runs' stands twice"),
    "a key twice in a row": (*grid("seeds: [0]", "seeds: [0], seeds: [1]"), "'seeds' stands twice"),
    "a tab in a grid": (["run", "--grid", "FILE"], b"runs:\n\t- {}", "not a grid"),
    "a folder for a grid": (["run", "--grid", "."], None, "not a grid.*Is a directory"),
    "a report of a folder": (["report", "--grid", "."], None, "not a grid"),
    "nothing to collect from": (["collect", "--records", "none"], None, "no such folder"),
    "no model's name": (["run", "--model", ""], None, "unknown model ''"),
    "a model of dots": (["run", "--model", "..:x"], None, "names no module"),
    "no benchmark's name": (["run", "--model", "als", "--dataset", ""], None, "'' is no name"),
    "no split's name": (["run", "--model", "als", "--split", ""], None, "'' is no name"),
    "a name written backwards": (settings("als", "\u202eranks=[1]"), None, "is not name=value"),
    "a setting without end": (settings("als", "ranks=" + "[" * 50_000), None, "neither JSON nor"),
    "too few lines": (
        ["run", "--model", "als", "--options", '{"cells": -5}'],
        None,
        "-5 lines are too few",
    ),
    "half a line": (
        ["run", "--model", "als", "--options", '{"cells": 24.5}'],
        None,
        "cannot be made with cells=24.5",
    ),
    "a script for a drug's name": (
        ["run", "--model", "als", "--options", '{"drugs": ["<script>"]}'],
        None,
        "drug '<script>' is not in",
    ),
    "more than all variance": (
        ["run", "--model", "als", "--options", '{"signals": {"text": 5}}'],
        None,
        "shares of variance .* are impossible",
    ),
    "an audit of escapes": (["audit", "--dataset", "\x1b[31m"], None, r"'\\x1b\[31m'"),
    "an audit of a path": (["audit", "--split", "../x"], None, "unknown split '../x'"),
    "predictions without ids": (["score", "FILE.csv"], b"a,b\n1,2\n", "missing column 'cell'"),
    "predictions of nobody": (
        ["score", "FILE.csv"],
        b"cell,drug,predicted\nx,y,1\n",
        "test pairs have no prediction",
    ),
    "genes of bytes": (
        ["data", "prepare", ".", "o", "--genes", "FILE"],
        b"\x80",
        "list of genes cannot be read",
    ),
    "genes of dates": (
        ["data", "prepare", ".", "o", "--genes", "FILE"],
        b"1-Mar\n",
        "row 1: gene '1-Mar' is no symbol",
    ),
    "a scale of furlongs": (
        ["data", "prepare", ".", "o", "--scale", "response=furlongs"],
        None,
        "unknown scale response=furlongs",
    ),
    "a split over a folder": (["split", "--out", "."], None, "Is a directory"),
    "an unknown command": (["frobnicate"], None, "No such command 'frobnicate'"),
}


def test_there_are_enough_of_them():
    assert len(REFUSED) >= 120


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted") / "model"
    assert main(["-q", *FIT, str(folder)]) == 0
    return folder


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(case, tmp_path, monkeypatch, capsys, request):
    arguments, content, message = REFUSED[case]
    if "MODEL" in arguments:
        place = str(request.getfixturevalue("model"))
        table = "FILE.csv" if content is not None else "FILE"
        names = {"MODEL": place, "FILE": table}
        arguments = [names.get(word, word) for word in arguments]
        capsys.readouterr()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLMT_RECORDS", str(tmp_path / "records"))
    monkeypatch.delenv("CLMT_DATA", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    if content is not None:
        name = "FILE.csv" if "FILE.csv" in arguments else "FILE"
        (tmp_path / name).write_bytes(content)
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith("clmt: ") and len(said.err.splitlines()) == 1
    assert "\x1b" not in said.err and "Traceback" not in said.err
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(said.err)
    kept = {path.name for path in tmp_path.iterdir()} - {"FILE", "FILE.csv", "records"}
    assert not kept, f"left behind: {kept}"
    assert not list((tmp_path / "records").rglob("run.json"))


def test_no_committed_run_has_a_setting_out_of_range():
    count = 0
    for record in store.runs():
        check_values(record.config["model"], record.config["settings"])
        count += 1
    assert count > 1000


@pytest.mark.parametrize(
    "name, change, message",
    [
        ("arrays.safetensors", lambda body: body[:-9] + b"x" + body[-8:], "changed or cut short"),
        ("arrays.safetensors", lambda body: body[:-100], "changed or cut short"),
        ("arrays.safetensors", None, "not a saved model"),
        ("model.json", lambda body: b"{}", "not a saved model"),
        ("model.json", lambda body: body[: len(body) // 2], "not a saved model"),
        ("model.json", lambda body: body.replace(b"clmt_lib.predict", b"os"), "changed or cut"),
        ("model.json", lambda body: body.replace(b"0.", b"1.", 1), "changed or cut short"),
    ],
)
def test_a_model_that_was_damaged_is_not_believed(model, tmp_path, capsys, name, change, message):
    broken = Path(shutil.copytree(model, tmp_path / "model"))
    if change is None:
        (broken / name).unlink()
    else:
        before = (broken / name).read_bytes()
        (broken / name).write_bytes(change(before))
        assert (broken / name).read_bytes() != before
    assert main(["predict", str(broken)]) == 2
    said = capsys.readouterr().err
    assert message in said and len(said.splitlines()) == 1


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


# --- Processes of one's own: started from a program in which PyTorch has already computed, with as
# many threads as there are cores, as in a notebook


PROGRAM = """
import sys

def work():
    if "threads" in sys.argv:
        import torch

        (torch.ones(900, 900) @ torch.ones(900, 900)).sum()  # its threads are there now
    if "grid" in sys.argv:
        from clmt_lib import records

        options = {"cells": 24, "drugs": ["Erlotinib", "Olaparib", "Paclitaxel"]}
        names = ("effects", "drug_mean", "cell_mean")
        kinds = [records.RunConfig("simulated", "mixed", name, options=options) for name in names]
        print(len(records.run_grid(kinds, "home", jobs=2, say=lambda line: None)), "failed")
    if "predict" in sys.argv:
        from clmt_lib.predict import Predictor, write_predictions

        predictor = Predictor.load(sys.argv[1])
        asked = dict(drugs=["CCO"] * 501, lines=list(predictor.known.sides[0].ids[:1]))
        print(write_predictions(predictor, "found.csv", **asked, jobs=2), "predicted")

"""
GUARD = 'if __name__ == "__main__":\n    '


def started(folder, code, *words):
    (folder / "mine.py").write_text(code)
    environment = {key: value for key, value in os.environ.items() if "NUM_THREADS" not in key}
    return subprocess.run(
        [sys.executable, "mine.py", *map(str, words)],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_processes_are_started_although_threads_are_there(model, tmp_path):
    done = started(tmp_path, PROGRAM + GUARD + "work()\n", model, "threads", "grid", "predict")
    assert done.stdout.split() == ["0", "failed", "501", "predicted"], done.stderr


def test_a_program_that_starts_processes_while_it_is_imported_is_told_so(tmp_path):
    done = started(tmp_path, PROGRAM + "work()\n", "grid")
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("clmt_lib.io.DataError: ") and f"`{GUARD.strip()}`" in last
    assert done.stderr.count("Traceback") == 1  # its own: the processes end without one


def test_where_no_process_can_be_started_it_is_said(monkeypatch):
    class Context:
        def Manager(self):
            raise EOFError

    with pytest.raises(DataError, match="under `if __name__"):
        predict._started(Context())
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "<stdin>", raising=False)
    with pytest.raises(DataError, match="read from <stdin> .*use jobs=1"):
        records.run_grid([records.RunConfig("simulated", "mixed", "effects")] * 2, jobs=2)


# --- The same configuration in another process, folder, time zone, with another language and seed


ELSEWHERE = """
import json, sys
from clmt_lib import records

for body in json.loads(sys.argv[1]):
    record = records.run(records.RunConfig(**body), "home")
    print(json.dumps([record.name, record.metrics, record.predictions["predicted"].tolist()]))
"""


def test_a_run_is_the_same_to_the_byte_elsewhere(tmp_path):
    network = {"members": 1, "steps": 20, "hidden": 8, "dim": 4, "message": 4}
    options = json.loads(CALM)
    bodies = [
        {"dataset": "simulated", "split": "mixed", "model": model, "options": options}
        | {"settings": network if model == "clmt" else {}}
        for model in ("kernel_text", "clmt")
    ]
    code = [sys.executable, "-c", ELSEWHERE, json.dumps(bodies)]
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    other = {"LC_ALL": "de_DE.UTF-8", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "12345"}
    other |= {"PYTHONPATH": str(Path(__file__).parents[2])} | dict.fromkeys(names, "1")
    done = subprocess.run(
        code, cwd=tmp_path, env=os.environ | other, capture_output=True, text=True, check=True
    )
    for body, line in zip(bodies, done.stdout.splitlines(), strict=True):
        record = records.run(records.RunConfig(**body), tmp_path / "here")
        name, metrics, predicted = json.loads(line)
        here = record.predictions["predicted"].tolist()
        assert name == record.name
        assert predicted == here and metrics == json.loads(json.dumps(record.metrics))
