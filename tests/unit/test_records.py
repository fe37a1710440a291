"""Records: one run, one folder, one line, whole or not at all."""

import functools
import importlib.util
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from clmt_lib import data, records, tasks
from clmt_lib.io import DataError
from clmt_lib.records import RunConfig, store

SMALL = {"cells": 48}
CLMT = {"steps": 200, "hidden": 16, "dim": 8, "message": 8, "members": 1}
CLMT |= {"cell_views": ["expression"], "drug_views": ["fingerprint"]}


@pytest.fixture(scope="module")
def world():
    return data.load("simulated", **SMALL)


ALS = {"ranks": [2], "ridges": [3.0]}  # nothing to choose: a twelfth of the time


def config(model="effects", **changes):
    about = {"dataset": "simulated", "split": "mixed", "model": model, "options": SMALL}
    return RunConfig(**about | ({"settings": ALS} if model == "als" else {}) | changes)


FILES = {"run.json", "history.json", "predictions.parquet", "draws.npy"}


def test_the_same_configuration_costs_nothing_from_its_folder_and_from_the_table(
    tmp_path, world, monkeypatch
):
    first = records.run(config(), tmp_path, benchmark=world)
    monkeypatch.setattr(records.runs, "_make", lambda *a: pytest.fail("computed again"))
    assert records.run(config(), tmp_path, benchmark=world).metrics == first.metrics
    assert {p.name for p in first.path.iterdir()} == FILES
    assert [p.name for p in (tmp_path / "runs").glob("[!.]*")] == [first.name]
    assert records.collect(tmp_path) == {"simulated": 1} and records.collect(tmp_path) == {}
    shutil.rmtree(tmp_path / "runs")
    again = records.run(config(), tmp_path, benchmark=world)
    assert (again.metrics, again.config) == (first.metrics, first.config)
    assert again.provenance == first.provenance and again.predictions is None


def test_a_blend_is_made_of_the_recorded_predictions_of_its_parts(tmp_path, world):
    parts = ["effects", "drug_mean"]
    blend = records.run(
        config("clmt_kernel", settings={"parts": parts, "shares": [0.25]}),
        tmp_path,
        benchmark=world,
    )
    one, other = (records.run(config(name), tmp_path, benchmark=world) for name in parts)
    wanted = 0.25 * one.predictions["predicted"] + 0.75 * other.predictions["predicted"]
    assert np.allclose(blend.predictions["predicted"], wanted, atol=1e-12)
    assert np.array_equal(blend.predictions["position"], one.predictions["position"])


def test_the_id_follows_every_resolved_setting_data_and_version(world, monkeypatch):
    from clmt_lib.models.baselines.factors import ALS
    from clmt_lib.models.baselines.means import Means

    name = config().id(world.checksum)
    assert name != config(seed=1).id(world.checksum) and name != config().id("other data")
    assert name == RunConfig(**json.loads(json.dumps(config().model_dump()))).id(world.checksum)
    monkeypatch.setattr(Means, "version", 2)
    assert name != config().id(world.checksum)
    silent = config("als", settings={})
    plain = silent.resolved(world.checksum)
    assert plain["settings"]["ranks"] == [10, 30, 60], "defaults are written down"
    said = config("als", settings={"ranks": [10, 30, 60]})
    assert said.id(world.checksum) == silent.id(world.checksum), "one run, said twice"
    monkeypatch.setattr(ALS, "__init__", _with_other_default(ALS.__init__))
    assert silent.id(world.checksum) != said.id(world.checksum), "a default that changed"


def _with_other_default(init):
    @functools.wraps(init)
    def changed(self, *args, **settings):
        init(self, *args, **{"ranks": (3,), **settings})

    return changed


def test_what_is_stored_is_what_ran_and_what_is_not_finite_is_refused(tmp_path, world):
    small = config("als", settings={"ridges": (1e-7, 0.1 + 0.2), "ranks": [2]})
    records.run(small, tmp_path, benchmark=world)
    records.collect(tmp_path)
    line = (tmp_path / "results" / "simulated.jsonl").read_text()
    (body,) = store.table_of("simulated", tmp_path).values()
    assert body["config"]["settings"]["ridges"] == [1e-7, 0.1 + 0.2]
    assert '"ridges":[1e-07,0.30000000000000004]' in line
    for bad in (float("nan"), float("inf"), [1.0, float("-inf")], {"deep": [float("nan")]}):
        with pytest.raises(DataError, match="is not a finite number"):
            config("als", settings={"ridges": bad})


def test_a_run_without_predictions_is_done_and_is_made_again_only_for_them(tmp_path, world):
    record = records.run(config("als"), tmp_path, benchmark=world)
    before = record.predictions
    records.collect(tmp_path)
    shutil.rmtree(record.path)
    assert records.run(config("als"), tmp_path, benchmark=world).predictions is None
    again = records.run(config("als"), tmp_path, needs=("predictions",), benchmark=world)
    assert np.allclose(again.predictions["predicted"], before["predicted"])


def _changed(path, change):
    """Write a table again with one of its lines changed and a checksum that fits: a forgery."""
    lines = dict(store.read_lines(path))
    store.write_lines(path, [change(json.loads(json.dumps(line))) for line in lines.values()])


def test_a_run_made_again_must_give_the_metrics_of_its_line(tmp_path, world):
    record = records.run(config(), tmp_path, benchmark=world)
    records.collect(tmp_path)
    shutil.rmtree(record.path)
    for value in (record.metrics["test"]["rmse"] - 0.1, None):
        _changed(
            tmp_path / "results" / "simulated.jsonl",
            lambda line, value=value: {**line, "test": {**line["test"], "rmse": value}},
        )
        with pytest.raises(DataError, match=f"its record says {value}.*raise the model's version"):
            records.run(config(), tmp_path, needs=("predictions",), benchmark=world)


@pytest.fixture(scope="module")
def small_table(tmp_path_factory, world):
    """A table of four runs of two models, to be damaged."""
    folder = tmp_path_factory.mktemp("table")
    for model in ("effects", "drug_mean"):
        for seed in (0, 1):
            records.run(config(model, seed=seed), folder, benchmark=world)
    records.collect(folder)
    shutil.rmtree(folder / "runs")
    return folder


def _swap(lines):
    """The metrics of one model under the id of another, checksums and all."""
    a, b = (json.loads(line) for line in lines[-5:-3])
    a["form"] = b["form"]
    a.pop("checksum")
    return [*lines[:-5], store.line_of(a), *lines[-4:]]


def _tell(old, new):
    """A digit changed, whichever line has it."""
    return lambda lines: "\n".join(lines).replace(old, new, 1).split("\n")


@pytest.mark.parametrize(
    "damage, said",
    [
        (_tell('"values":[{},[0.', '"values":[{},[0.9'), "checksum of"),
        (_tell('"mixed",0,0', '"mixed",7,0'), "checksum of"),
        (_tell('"settings"', '"sentings"'), "checksum"),
        (_swap, "holds the configuration of another run, '"),
        (lambda lines: lines[:-1], "has no end"),
        (lambda lines: [*lines[:-2], lines[-1]], "not the 4 lines that its end tells"),
        (lambda lines: lines[1:], "shares with others is not there"),
        (lambda lines: [*lines[1:], lines[0]], "shares with others is not there"),
        (lambda lines: [*lines[:-1], lines[-1][:20]], "cut or damaged"),
        (lambda lines: [*lines[:-2], lines[-2][:300]], "cut or damaged"),
        (lambda lines: [*lines[:-3], lines[-2], lines[-3], lines[-1]], "twice there or out of"),
        (lambda lines: [*lines[:-3], lines[-2], lines[-2], lines[-1]], "twice there or out of"),
        (lambda lines: ["", *lines], "cut or damaged"),
    ],
)
def test_a_table_that_was_changed_is_refused_by_name(small_table, tmp_path, world, damage, said):
    shutil.copytree(small_table, tmp_path / "home")
    path = tmp_path / "home" / "results" / "simulated.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(damage(lines)) + "\n")
    assert path.read_text().splitlines() != lines
    for read in (
        lambda: records.run(config(), tmp_path / "home", benchmark=world),
        lambda: records.table(tmp_path / "home"),
    ):
        with pytest.raises(DataError, match=f"simulated.jsonl.*{said}.*Remedy: restore"):
            read()


def test_a_table_gives_back_its_lines_as_they_were(tmp_path):
    config = {"dataset": "x", "split": "mixed", "seed": 1, "fold": 0, "settings": {"a/b": [1e-7]}}
    odd = {"test": {"rmse": None, "a/b": {"c": [1]}}, "chosen": {}, "seconds": {"resumed": True}}
    lines = [
        {"id": "a", "config": config, "overrides": {}, **odd},
        {"id": "b", "config": {**config, "seed": 2}, "overrides": {}, "leaks": ["one"], **odd},
        {"id": "c", "config": config | {"settings": {}}, "chosen": {"k": {"rows": [], "n": 2}}},
        {"id": "d", "history": {"step": [1, 2]}},
    ]
    store.write_lines(tmp_path / "x.jsonl", lines[::-1])
    assert list(store.read_lines(tmp_path / "x.jsonl").values()) == lines


def test_learning_curves_are_kept_compressed_and_refused_when_damaged(tmp_path):
    path = store.histories(tmp_path, "x")
    lines = [{"id": name, "history": {"step": list(range(200))}} for name in "ab"]
    store.write_lines(path, lines)
    assert list(store.read_lines(path).values()) == lines
    whole = path.read_bytes()
    assert len(whole) < 600
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for damaged in (whole[:-9], whole[:middle], flipped, b"not compressed", b""):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="x.jsonl.xz.*Remedy: restore"):
            store.read_lines(path)


def test_a_line_in_the_table_of_another_benchmark_is_refused(small_table, tmp_path):
    shutil.copytree(small_table / "results", tmp_path / "results")
    shutil.move(tmp_path / "results" / "simulated.jsonl", tmp_path / "results" / "gdsc2.jsonl")
    with pytest.raises(DataError, match="gdsc2.jsonl.*another run, .* on 'simulated'"):
        records.table(tmp_path)


def test_a_changed_derived_record_is_refused(tmp_path):
    parts = {"config": {"ridge": 1e-7}, "metrics": {"rmse": 0.1234567}, "provenance": {}}
    record = records.write_derived("summary-x", parts, tmp_path)
    assert record.config == {"ridge": 1e-7} and record.metrics == {"rmse": 0.123457}
    text = record.path.read_text()
    record.path.write_text(text.replace("0.123457", "0.123456"))
    with pytest.raises(DataError, match="summary.json.*of summary-x.*changed by hand"):
        records.read("summary-x", tmp_path)
    record.path.write_text(text[:-20])
    with pytest.raises(DataError, match="summary.json.*cut or damaged"):
        records.read("summary-x", tmp_path)


def test_derived_records_of_one_kind_share_a_file_and_leave_each_other_alone(tmp_path):
    parts = {"config": {}, "metrics": {"rmse": 1.0}, "provenance": {}}
    for name in ("study-b", "study-a", "summary-x"):
        records.write_derived(name, parts, tmp_path)
    records.write_derived("study-b", {**parts, "metrics": {"rmse": 2.0}}, tmp_path)
    assert records.derived("*", tmp_path) == ["study-a", "study-b", "summary-x"]
    assert [records.read(name, tmp_path).metrics["rmse"] for name in ("study-a", "study-b")] == [
        1.0,
        2.0,
    ]
    path = records.read("study-a", tmp_path).path
    pages = path.read_text().rstrip("\n").split("\n\n")
    path.write_text("\n\n".join(pages[::-1]) + "\n")
    with pytest.raises(DataError, match="study.json.*out of order"):
        records.read("study-a", tmp_path)


def test_a_run_folder_that_was_copied_by_half_is_not_done(tmp_path, world):
    record = records.run(config("als"), tmp_path, benchmark=world)
    for part in sorted(FILES):
        whole = (record.path / part).read_bytes()
        for half in (whole[: len(whole) // 2], None):
            (record.path / part).unlink()
            if half is not None:
                (record.path / part).write_bytes(half)
            assert records.find(record.name, tmp_path) is None and records.collect(tmp_path) == {}
            again = records.run(config("als"), tmp_path, benchmark=world)
            assert again.metrics == record.metrics
            assert {p.name for p in record.path.iterdir()} == FILES


def test_a_foreign_run_folder_is_no_run(tmp_path, world):
    mine = records.run(config("als"), tmp_path, benchmark=world)
    other = records.run(config("effects"), tmp_path, benchmark=world)
    shutil.rmtree(mine.path)
    shutil.copytree(other.path, mine.path)
    assert records.find(mine.name, tmp_path) is None


def test_collecting_twice_at_once_loses_nothing(tmp_path, world):
    for seed in range(6):
        records.run(config(seed=seed), tmp_path, benchmark=world)
    threads = [threading.Thread(target=records.collect, args=(tmp_path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    lines = (tmp_path / "results" / "simulated.jsonl").read_text().splitlines()
    assert len(lines) == 2 + 6 + 1, "two lines of what they share, and the end"
    assert json.loads(lines[-1])["lines"] == len(store.table_of("simulated", tmp_path)) == 6
    assert len(store.read_machines(tmp_path)) == 1


def test_draws_of_compared_models_are_kept_to_a_precision_that_does_not_matter(
    tmp_path, world, monkeypatch
):
    monkeypatch.setattr(store, "COMPARED", ("als",))
    als, means = (
        records.run(config(name), tmp_path, benchmark=world) for name in ("als", "drug_mean")
    )
    before = als.draws
    records.collect(tmp_path)
    shutil.rmtree(tmp_path / "runs")
    assert records.read(means.name, tmp_path).draws is None
    after = records.read(als.name, tmp_path).draws
    for key, values in before.items():
        assert np.allclose(after[key], values, atol=2e-4)
        assert np.allclose(tasks.interval(after[key]), tasks.interval(values), atol=1e-4)
    path = tmp_path / "results" / "draws" / "simulated.npz"
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match="simulated.npz: the draws cannot be read"):
        _ = records.read(als.name, tmp_path).draws


def test_a_learning_curve_survives_its_folder(tmp_path, world):
    small = {"steps": 40, "hidden": 16, "dim": 8, "message": 8, "members": 2}
    record = records.run(config("clmt", settings=small), tmp_path, benchmark=world)
    before = record.history
    assert len(before) > 1 and "step" in before[0]
    records.collect(tmp_path)
    shutil.rmtree(tmp_path / "runs")
    assert records.read(record.name, tmp_path).history == before


def test_a_failed_run_is_reported_and_does_not_stop_the_grid(tmp_path, world):
    lines = []
    failed = records.run_grid([config("nonsense"), config("drug_mean")], tmp_path, say=lines.append)
    assert len(failed) == 1 and "FAILED" in lines[0] and "unknown model 'nonsense'" in lines[0]
    assert "drug_mean" in lines[1] and len(records.table(tmp_path)) == 1


def test_who_waits_for_a_folder_holds_it_alone_afterwards(tmp_path):
    final, inside, seen = tmp_path / "runs" / "a-record", [], []

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
    assert seen == [(1, True)] * 8 and not list((tmp_path / "runs").glob("[!.]*"))
    assert not list((tmp_path / "runs").glob(".work-*"))


def test_a_resumed_run_says_so_and_claims_no_processor_time(tmp_path, world):
    final = tmp_path / "runs" / config("als").id(world.checksum)
    assert (
        "fit_cpu"
        in records.run(config("als"), tmp_path / "calm", benchmark=world).provenance["seconds"]
    )
    with suppress(KeyboardInterrupt), records.runs.workplace(final) as place:
        (place / "checkpoint.pt").write_bytes(b"left by a killed process")
        raise KeyboardInterrupt
    seconds = records.run(config("als"), tmp_path, benchmark=world).provenance["seconds"]
    assert seconds["resumed"] is True and "fit_cpu" not in seconds


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
    assert record.metrics["runs"] == {"done": 3, "planned": 4, "left_out": 0}
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
    assert records.derived("summary-*", tmp_path) == []


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
        f"runs: [{{{row}, setings: {{}}}}]": "unknown key 'setings'.*settings, options, last",
        f"runs: [{{{row}, settings: {{ridges: [.inf]}}}}]": "row 1 of runs, settings: inf is not a",
    }.items():
        grid.write_text(bad)
        with pytest.raises(
            DataError, match=f"grid.yaml: .*{said}.*see experiments/configs/grid.yaml"
        ):
            records.read_grid(grid)


@pytest.fixture(scope="module")
def started(world):
    """Starts a run in a process of its own, forked from one that has the packages imported."""
    fresh = multiprocessing.get_context("forkserver")
    packages = ("torch._dynamo", "pandas", "pyarrow.parquet", "rdkit.Chem", "sklearn.preprocessing")
    fresh.set_forkserver_preload(list(packages))
    server = fresh.Process(target=time.sleep, args=(0,))
    server.start()
    server.join()

    def start(about, folder):
        process = fresh.Process(
            target=records.run, args=(about, folder), kwargs={"benchmark": world, "device": "cpu"}
        )
        process.start()
        return process

    return start


def test_killed_again_and_again_ends_as_if_undisturbed(tmp_path, started):
    """SIGKILL at random moments, then started again: the same metrics, no stray file. CLMT_KILLS=20
    repeats what was shown once; three keep the suite quick (tests/faults.py strikes 200 times).
    """
    about = config("clmt", settings=CLMT)
    begun, process = time.monotonic(), started(about, tmp_path / "calm")
    process.join()
    span, moments = time.monotonic() - begun, random.Random(0)
    assert process.exitcode == 0
    for _ in range(int(os.environ.get("CLMT_KILLS", "3"))):
        process = started(about, tmp_path / "storm")
        time.sleep(moments.uniform(0.2 * span, 0.9 * span))
        process.kill()
        process.join()
    process = started(about, tmp_path / "storm")
    process.join()
    assert process.exitcode == 0
    calm, storm = (next((tmp_path / place / "runs").glob("[!.]*")) for place in ("calm", "storm"))
    assert calm.name == storm.name
    found = {}
    for place in (calm, storm):
        line = json.loads((place / "run.json").read_text())
        found[place] = [line[part] for part in ("id", "config", "valid", "test", "interval")]
    assert found[calm] == found[storm]
    assert sorted(p.name for p in (tmp_path / "storm").rglob("*")) == sorted(
        p.name for p in (tmp_path / "calm").rglob("*")
    )


def test_without_draws_a_summary_keeps_what_an_earlier_one_found_of_the_same_runs(
    tmp_path, world, monkeypatch
):
    monkeypatch.setattr(store, "COMPARED", ("drug_mean",))
    grid = [config(model, seed=seed) for model in ("drug_mean", "effects") for seed in (0, 1)]
    records.run_grid(grid, tmp_path)
    before = records.summarise(grid, tmp_path, benchmark=world).metrics
    records.collect(tmp_path)
    shutil.rmtree(tmp_path / "runs")
    grid += [config("global_mean", seed=seed) for seed in (0, 1)]
    records.run_grid(grid[4:], tmp_path)
    after = records.summarise(grid, tmp_path, benchmark=world).metrics
    assert after["runs"] == {"done": 6, "planned": 6, "left_out": 1}
    assert after["models"]["effects"] == before["models"]["effects"]
    assert before["differences"][0] in after["differences"]
    assert {(row["a"], row["b"]) for row in after["differences"]} == {
        ("effects", "drug_mean"),
        ("global_mean", "drug_mean"),
    }, "nothing is invented for effects and the new model"
    grid += [config("effects", seed=2)]  # other runs of effects than those of the summary
    records.run_grid(grid[-1:], tmp_path)
    fresh = records.summarise(grid, tmp_path, benchmark=world).metrics
    assert fresh["models"]["effects"]["rmse_interval"] == [None, None]
    assert fresh["runs"]["left_out"] == 3
    said = []
    whole = records.summarise(grid, tmp_path, benchmark=world, remake=True, say=said.append)
    assert whole.metrics["runs"]["left_out"] == 0 and len(whole.metrics["differences"]) == 3
    assert len(said) == 2 and all("made again" in line and "-effects-" in line for line in said)


def test_processes_share_a_grid_and_one_that_dies_fails_its_run_alone(tmp_path):
    lines = []
    models = ("effects", "drug_mean", "cell_mean", "nonsense", "tests_killer:Killer", "als")
    sys.path.insert(0, str(tmp_path))
    (tmp_path / "tests_killer.py").write_text(KILLER)
    try:
        failed = records.run_grid(
            [config(model) for model in models], tmp_path, jobs=2, say=lines.append
        )
    finally:
        sys.path.remove(str(tmp_path))
    assert sorted(c.model for c, _ in failed) == ["nonsense", "tests_killer:Killer"]
    assert len(lines) == 6 and sum("FAILED" in line for line in lines) == 2
    assert len(records.table(tmp_path)) == 4


KILLER = """
import os
import signal

from clmt_lib.models.baselines.means import Means


class Killer(Means):
    def fit(self, *args):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_audits_its_split_and_an_allowed_leak_is_on_record(tmp_path, world, monkeypatch):
    from clmt_lib.audit import Audit, Finding
    from clmt_lib.records import runs

    leak = Finding("shared compound", "split drug_blind", "aspirin is in train and in test", "mend")
    monkeypatch.setattr(runs, "audit", lambda *_: Audit("x", (), (leak,)))
    config = RunConfig("simulated", "drug_blind", "global_mean")
    for refused in (
        lambda: records.run(config, tmp_path),
        lambda: runs.audited(world, data.make_split(world, "drug_blind")),
    ):
        with pytest.raises(DataError, match="aspirin is in train.*--allow-leaks"):
            refused()
    assert records.run(config, tmp_path, leaky=True).provenance["leaks"] == [
        "shared compound: aspirin is in train and in test"
    ]


@pytest.mark.parametrize("prefix", ["", ".work-"])
def test_a_link_among_the_runs_is_not_followed(tmp_path, prefix):
    aim = tmp_path / "mine"
    aim.mkdir()
    (aim / "thesis.txt").write_text("years of work")
    asked = RunConfig("simulated", "mixed", "global_mean")
    name = asked.id(data.load("simulated").checksum)
    (tmp_path / "home" / "runs").mkdir(parents=True)
    (tmp_path / "home" / "runs" / f"{prefix}{name}").symlink_to(aim, target_is_directory=True)
    with pytest.raises(DataError, match="is a link"):
        records.run(asked, tmp_path / "home")
    assert (aim / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("name", ["../../x", "a/b", "", ".hidden", "x" * 200, "a\nb", "~root"])
def test_names_that_would_be_paths_are_refused(name):
    with pytest.raises(DataError, match="dataset.*is no name"):
        RunConfig(name, "mixed", "als")
    with pytest.raises(DataError, match="split.*is no name"):
        RunConfig("simulated", name, "als")


# --- Restamping: a renamed setting gives lines another id and leaves their numbers; anything else


ROOT = Path(__file__).parents[2]


SMALL_RUN = {"cells": 48}


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
    world = data.load("simulated", **SMALL_RUN)
    configs = [
        RunConfig("simulated", "mixed", "als", settings={"ranks": [2]}, options=SMALL_RUN),
        RunConfig("simulated", "mixed", "effects", options=SMALL_RUN),
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
