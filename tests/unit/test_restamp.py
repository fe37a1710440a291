"""Restamping: a renamed setting gives lines another id and leaves their numbers; anything else is
refused.
"""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from clmt_lib import data, records
from clmt_lib.io import DataError
from clmt_lib.records import RunConfig, store

ROOT = Path(__file__).parents[2]
SMALL = {"cells": 48}


@pytest.fixture(scope="module")
def restamp():
    spec = importlib.util.spec_from_file_location("restamp", ROOT / "experiments" / "restamp.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A table of two runs, and their summary."""
    monkeypatch.setattr(store, "COMPARED", ("als",))
    world = data.load("simulated", **SMALL)
    configs = [
        RunConfig("simulated", "mixed", "als", settings={"ranks": [2]}, options=SMALL),
        RunConfig("simulated", "mixed", "effects", options=SMALL),
    ]
    for config in configs:
        records.run(config, tmp_path, benchmark=world)
    records.summarise(configs, tmp_path, benchmark=world)
    records.collect(tmp_path)
    shutil.rmtree(tmp_path / "runs")
    return tmp_path


def earlier(home, restamp, names):
    """Turn the tables back with the very tool: what is `names[new]` today was `new` then."""
    path = home / "results" / "simulated.jsonl"
    lines, ids = [], {}
    for old, line in store.read_lines(path).items():
        config = {**line["config"], "settings": restamp.renamed(line["config"]["settings"], names)}
        ids[old] = store.run_id(config)
        overrides = restamp.renamed(line["overrides"], names)
        lines.append({**line, "id": ids[old], "config": config, "overrides": overrides})
    restamp._write(home, {"simulated": lines}, ids, names)
    return ids


def test_a_renamed_setting_moves_ids_and_no_number(home, restamp):
    before = {record.name: record for record in records.store.runs(home)}
    draws = {name: record.draws for name, record in before.items()}
    summary = records.derived("summary-*", home)[0]
    body = records.read(summary, home).metrics
    ids = earlier(home, restamp, {"ranks": "widths"})
    assert len(set(ids.values()) & set(before)) == 1, "effects has no ranks"
    with pytest.raises(DataError, match="no setting 'widths'"):
        restamp.restamp(home, {}, True)
    assert restamp.restamp(home, {"widths": "ranks"}, False) == {"als": 1}
    assert {record.name for record in store.runs(home)} == set(ids.values()), "only told"
    assert restamp.restamp(home, {"widths": "ranks"}, True) == {"als": 1}
    after = {record.name: record for record in records.store.runs(home)}
    assert {name: record.metrics for name, record in after.items()} == {
        name: record.metrics for name, record in before.items()
    }
    assert records.read(summary, home).metrics == body
    (als,) = (name for name in after if "-als-" in name)
    for metric, values in after[als].draws.items():
        assert np.allclose(values, draws[als][metric], atol=1e-3)
    assert restamp.restamp(home, {}, True) == {}


def test_a_setting_that_has_another_value_today_is_refused(home, restamp):
    path = home / "results" / "simulated.jsonl"
    lines = [json.loads(json.dumps(line)) for line in store.read_lines(path).values()]
    for line in lines:
        if line["config"]["model"] == "als":
            line["config"]["settings"]["ridges"] = [0.5]
            line["id"] = store.run_id(line["config"])
    store.write_lines(path, lines)
    before = path.read_bytes()
    with pytest.raises(DataError, match="settings.ridges is not what it was.*run again"):
        restamp.restamp(home, {}, True)
    assert path.read_bytes() == before
