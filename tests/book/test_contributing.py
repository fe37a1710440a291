"""What CONTRIBUTING.md tells a newcomer to do works, step by step."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import execute
import numpy as np
import pandas as pd
import pytest
from lint import problems

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def blocks(section):
    """(language, code) of every fenced block of a section, in order."""
    part = re.search(rf"^## {section}$(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)[1]
    return re.findall(r"^```(\w+)\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)


def call(folder, *words):
    """Run Python in a folder, with the library of this checkout; returns what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clmt(folder, line):
    """Run one line that begins with `clmt`."""
    return call(folder, "-m", "clmt_lib", *line.split()[1:])


def test_a_model_of_ones_own_runs_and_is_blind(tmp_path):
    (_, module), (_, commands) = blocks("Add a model")
    (tmp_path / "my_models.py").write_text(module, encoding="utf-8")
    run, audit = commands.strip().splitlines()
    assert "rmse" in clmt(tmp_path, run).lower()
    assert "LEAK" not in clmt(tmp_path, audit)


def test_a_benchmark_of_ones_own_is_split_audited_and_scored(tmp_path):
    rng = np.random.default_rng(0)
    families = [f"f{number % 6}" for number in range(24)]
    proteins = pd.DataFrame({"id": [f"P{i}" for i in range(24)], "family": families})
    drugs = pd.DataFrame({"id": [f"D{i}" for i in range(15)]})
    for name, frame in (("proteins", proteins), ("drugs", drugs)):
        frame.assign(name=frame["id"]).to_csv(tmp_path / f"{name}.csv", index=False)
    values = (
        proteins[["id"]].merge(drugs[["id"]], how="cross").set_axis(["protein", "drug"], axis=1)
    )
    values.assign(y=rng.normal(6, 1, len(values))).to_csv(tmp_path / "values.csv", index=False)
    (_, reader), (_, use) = blocks("Add a benchmark")
    (tmp_path / "my_screen.py").write_text(reader, encoding="utf-8")
    assert "'rmse'" in call(tmp_path, "-c", use)
    kinds = "import my_screen; print(*sorted(my_screen.load().kinds))"
    assert call(tmp_path, "-c", kinds).split() == sorted(
        re.findall(r"`(\w+)`", re.search(r"has the splits (.*)\.", TEXT)[1])
    )


def test_a_chapter_of_ones_own_is_executed_stored_and_clean(tmp_path):
    (_, writer), (_, commands) = blocks("Add a chapter")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "book").mkdir()
    call(tmp_path, "-c", writer)
    name = re.search(r"--store (\w+)", commands)[1]
    assert execute.make(store=True, only=[name], root=tmp_path) == 0
    path = tmp_path / "notebooks" / f"{name}.ipynb"
    assert problems(json.loads(path.read_text(encoding="utf-8"))) == []
    shared, stored = execute.shared_inputs(tmp_path), execute.stored_fingerprints(tmp_path)
    assert execute.stale(path, shared, stored) == []


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([\w/]+/[\w./]*\w)`", TEXT))))
def test_every_file_that_is_named_is_there(path):
    assert (ROOT / path).exists() or path.startswith("notebooks/NN")
