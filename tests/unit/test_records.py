"""Records: one run, one folder, whole or not at all."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from clmt_lib import data, records
from clmt_lib.io import DataError
from clmt_lib.records import RunConfig

SMALL = {"cells": 48}
CLMT = {"steps": 200, "hidden": 48, "dim": 16, "message": 16}


@pytest.fixture(scope="module")
def world():
    return data.load("simulated", **SMALL)


def config(model="effects", **changes):
    return RunConfig(
        **{"dataset": "simulated", "split": "mixed", "model": model, "options": SMALL, **changes}
    )


def test_the_same_configuration_costs_nothing(tmp_path, world, monkeypatch):
    first = records.run(config(), tmp_path, benchmark=world)
    monkeypatch.setattr(records.runs, "_compute", lambda *a: pytest.fail("computed again"))
    assert records.run(config(), tmp_path, benchmark=world).metrics == first.metrics
    assert {p.name for p in first.path.iterdir()} == {
        "config.json",
        "metrics.json",
        "history.json",
        "provenance.json",
        "predictions.parquet",
        "draws.npy",
    }
    assert [p.name for p in tmp_path.iterdir()] == [first.path.name]


def test_the_id_follows_configuration_data_and_version(world, monkeypatch):
    from clmt_lib.models.baselines.means import Means

    name = config().id(world.checksum)
    assert name != config(seed=1).id(world.checksum) and name != config().id("other data")
    assert name == RunConfig(**json.loads(json.dumps(config().model_dump()))).id(world.checksum)
    monkeypatch.setattr(Means, "version", 2)
    assert name != config().id(world.checksum)


def test_a_record_without_predictions_is_done_and_is_run_again_only_for_them(tmp_path, world):
    record = records.run(config("als"), tmp_path, benchmark=world)
    before = record.predictions
    (record.path / "predictions.parquet").unlink()
    assert records.run(config("als"), tmp_path, benchmark=world).predictions is None
    again = records.run(config("als"), tmp_path, predictions=True, benchmark=world).predictions
    assert np.allclose(again["predicted"], before["predicted"])


def test_a_record_whose_metrics_no_longer_hold_is_refused(tmp_path, world):
    record = records.run(config(), tmp_path, benchmark=world)
    (record.path / "predictions.parquet").unlink()
    told = json.loads((record.path / "metrics.json").read_text())
    told["test"]["rmse"] -= 0.1
    (record.path / "metrics.json").write_text(json.dumps(told))
    with pytest.raises(DataError, match="run again, rmse is.*raise the model's version"):
        records.run(config(), tmp_path, predictions=True, benchmark=world)


def test_a_half_written_record_is_not_read(tmp_path, world):
    record = records.run(config(), tmp_path, benchmark=world)
    (record.path / "metrics.json").write_text('{"test": ')
    with pytest.raises(DataError, match="not a record.*run its configuration again"):
        records.read(record.path)


def test_a_failed_run_is_reported_and_does_not_stop_the_grid(tmp_path, world):
    lines = []
    failed = records.run_grid([config("nonsense"), config("drug_mean")], tmp_path, say=lines.append)
    assert len(failed) == 1 and "FAILED" in lines[0] and "unknown model 'nonsense'" in lines[0]
    assert "drug_mean" in lines[1] and len(records.table(tmp_path)) == 1


def test_who_waited_for_a_folder_that_is_gone_makes_it_again_and_holds_it_alone(tmp_path):
    pytest.importorskip("fcntl")
    final, inside, seen = tmp_path / "a-record", [], []

    def work():
        with records.runs.workplace(final) as place:
            inside.append(1)
            seen.append((len(inside), place.is_dir()))
            time.sleep(0.02)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert seen == [(1, True)] * 8 and not list(tmp_path.iterdir())


def test_a_resumed_run_says_so_and_claims_no_processor_time(tmp_path, world):
    final = tmp_path / config("als").id(world.checksum)
    assert (
        "fit_cpu"
        in records.run(config("als"), tmp_path / "calm", benchmark=world).provenance["seconds"]
    )
    with pytest.raises(KeyboardInterrupt), records.runs.workplace(final) as place:
        (place / "checkpoint.pt").write_bytes(b"left by a killed process")
        raise KeyboardInterrupt
    seconds = records.run(config("als"), tmp_path, benchmark=world).provenance["seconds"]
    assert seconds["resumed"] is True and "fit_cpu" not in seconds


def test_a_metric_that_was_none_must_stay_none(tmp_path, world):
    record = records.run(config("drug_mean"), tmp_path, benchmark=world)
    told = json.loads((record.path / "metrics.json").read_text())
    told["test"]["rmse"] = None
    (record.path / "metrics.json").write_text(json.dumps(told))
    (record.path / "predictions.parquet").unlink()
    with pytest.raises(DataError, match="the record says None.*delete the record and run it again"):
        records.run(config("drug_mean"), tmp_path, predictions=True, benchmark=world)


@pytest.mark.parametrize(
    "error", [np.linalg.LinAlgError("singular"), ValueError("no"), OSError("disk full")]
)
def test_whatever_a_fit_raises_the_grid_goes_on(tmp_path, monkeypatch, error):
    from clmt_lib.models.baselines.means import Means

    monkeypatch.setattr(Means, "fit", lambda *_: (_ for _ in ()).throw(error))
    failed = records.run_grid(
        [config("drug_mean"), config("drug_mean", seed=1)], tmp_path, say=lambda line: None
    )
    assert [found for _, found in failed] == [error] * 2


def test_provenance_tells_changed_code_and_code_of_no_repository(tmp_path, monkeypatch):
    def git(*words):
        subprocess.run(
            ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b.invalid", *words],
            check=True,
            capture_output=True,
        )

    from clmt_lib.records.provenance import _commit as commit

    library = tmp_path / "library"
    library.mkdir()
    (library / "__init__.py").write_text("")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit(library) == "unknown"
    git("init")
    (tmp_path / "other.txt").write_text("")
    git("add", "other.txt")
    git("commit", "-m", "of another project")
    assert commit(library) == "unknown"
    git("add", "library")
    git("commit", "-m", "ours")
    clean = commit(library)
    assert clean.isalnum()
    (tmp_path / "other.txt").write_text("not the library's")
    assert commit(library) == clean
    (library / "__init__.py").write_text("changed = True")
    assert commit(library) == f"{clean}+changes"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert records.provenance(None)["threads"] == "3"
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert records.provenance(None)["threads"] is None


def test_paired_differences_are_the_difference_of_means_with_an_interval_around_it(tmp_path, world):
    grid = [config(model, seed=seed) for model in ("drug_mean", "effects") for seed in (0, 1)]
    records.run_grid(grid[:3], tmp_path)
    record = records.summarise(grid, tmp_path, benchmark=world)
    assert record.metrics["runs"] == {"done": 3, "planned": 4, "without_draws": 0}
    records.run_grid(grid, tmp_path)
    records.summarise(grid, tmp_path, benchmark=world)
    ladder = records.ladder(config().label, "mixed", tmp_path)
    gap = records.difference(config().label, "mixed", "effects", "drug_mean", folder=tmp_path)
    assert gap["mean"] == pytest.approx(
        ladder.loc["effects", "rmse"] - ladder.loc["drug_mean", "rmse"], abs=2e-6
    )
    assert gap["interval"][0] < gap["mean"] < gap["interval"][1] < 0 and gap["folds_better"] == 2
    back = records.difference(config().label, "mixed", "drug_mean", "effects", folder=tmp_path)
    assert back["mean"] == -gap["mean"] and back["interval"][0] > 0 and back["folds_better"] == 0


def test_one_model_with_two_settings_cannot_share_a_summary(tmp_path, world):
    grid = [config("als", settings=settings) for settings in ({"ranks": [2]}, {"ranks": [3]})]
    records.run_grid(grid, tmp_path)
    with pytest.raises(DataError, match="als appears twice"):
        records.summarise(grid, tmp_path, benchmark=world)
    assert not [p for p in tmp_path.iterdir() if "summary" in p.name]


def test_grid_runs_first_folds_first_and_slow_rows_last(tmp_path):
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        "runs:\n- {dataset: simulated, split: mixed, seeds: [0], folds: [0, 1], models: [als], "
        "last: true}\n- {dataset: simulated, split: mixed, seeds: [0, 1], folds: [0], models: "
        "[effects, drug_mean]}\n"
    )
    assert [(c.model, c.seed, c.fold) for c in records.read_grid(grid)] == [
        ("effects", 0, 0),
        ("drug_mean", 0, 0),
        ("effects", 1, 0),
        ("drug_mean", 1, 0),
        ("als", 0, 0),
        ("als", 0, 1),
    ]
    row = "dataset: simulated, split: mixed, seeds: [0], folds: [0], models: [als]"
    for bad, said in {
        "runs: [{dataset: simulated}]": "row 1 of runs lacks 'split'.*use the keys dataset, split",
        "runs: [simulated]": "row 1 of runs: 'simulated' is not a set of keys",
        "[]": "the grid: .. is not a set of keys",
        "runs: 3": "the grid, runs: input should be a valid list, not 3",
        "runs: [": "not a grid",
        "runs: [{%s, setings: {}}]" % row: "unknown key 'setings'.*models, settings, options, last",
        "runs: [{%s, settings: {ridges: [.inf]}}]" % row: "row 1 of runs, settings: inf is not a",
    }.items():
        grid.write_text(bad)
        with pytest.raises(DataError, match=f"grid.yaml: .*{said}.*see experiments/grid.yaml"):
            records.read_grid(grid)


def _start(folder):
    settings = [
        sys.executable,
        "-m",
        "clmt_lib",
        "run",
        "--config",
        str(folder / "config.json"),
        "--records",
        str(folder / "records"),
    ]
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(records.__file__).parents[2]),
    }
    return subprocess.Popen(settings, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_killed_again_and_again_ends_as_if_undisturbed(tmp_path):
    """SIGKILL at random moments, then started again: the same metrics, no stray file. CLMT_KILLS=20
    repeats what was shown once; six keep the suite quick.
    """
    body = config("clmt", settings=CLMT).model_dump()
    for place in ("calm", "storm"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "config.json").write_text(json.dumps(body))
    start = time.monotonic()
    assert _start(tmp_path / "calm").wait() == 0
    span, moments = time.monotonic() - start, random.Random(0)
    for _ in range(int(os.environ.get("CLMT_KILLS", "6"))):
        process = _start(tmp_path / "storm")
        time.sleep(moments.uniform(0.3 * span, span))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert _start(tmp_path / "storm").wait() == 0
    calm, storm = (next((tmp_path / place / "records").iterdir()) for place in ("calm", "storm"))
    assert calm.name == storm.name
    assert json.loads((calm / "metrics.json").read_text()) == json.loads(
        (storm / "metrics.json").read_text()
    )
    assert sorted(p.name for p in (tmp_path / "storm" / "records").rglob("*")) == sorted(
        p.name for p in (tmp_path / "calm" / "records").rglob("*")
    )


def test_without_draws_a_summary_keeps_what_an_earlier_one_found_of_the_same_runs(
    tmp_path, world, monkeypatch
):
    grid = [config(model, seed=seed) for model in ("drug_mean", "effects") for seed in (0, 1)]
    records.run_grid(grid, tmp_path)
    before = records.summarise(grid, tmp_path, benchmark=world).metrics
    for path in tmp_path.glob("*-effects-*/draws.npy"):
        path.unlink()
    records.run_grid([config("global_mean", seed=seed) for seed in (0, 1)], tmp_path)
    monkeypatch.setattr(records.runs, "_compute", lambda *_: pytest.fail("computed again"))
    after = records.summarise(
        [*grid, *(config("global_mean", seed=seed) for seed in (0, 1))], tmp_path, benchmark=world
    ).metrics
    assert after["runs"] == {"done": 6, "planned": 6, "without_draws": 2}
    assert (
        after["models"]["effects"] == before["models"]["effects"]
        and before["differences"][0] in after["differences"]
    )
    assert {(row["a"], row["b"]) for row in after["differences"]} == {
        ("effects", "drug_mean"),
        ("global_mean", "drug_mean"),
    }, "nothing is invented for effects and the new model"
    other = [
        {**row, "rmse": {**row["rmse"], "mean": row["rmse"]["mean"] + 0.1}}
        for row in after["differences"]
    ]  # of other runs
    (next(tmp_path.glob("summary-*")) / "metrics.json").write_text(
        json.dumps({**after, "models": {}, "differences": other})
    )
    fresh = records.summarise(grid, tmp_path, benchmark=world).metrics
    assert (
        fresh["models"]["effects"]["rmse_interval"] == [None, None] and fresh["differences"] == []
    )
