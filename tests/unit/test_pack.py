"""Packing a device's time: the most informative runs first, the budget kept, no run given to two
workers, nothing lost by a kill.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from clmt_lib import records
from clmt_lib.records import Job, RunConfig

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("pack", ROOT / "experiments/pack.py")
pack = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pack)


def job(model, fold=0, seconds=10.0, files=("grid",), split="mixed", **settings):
    config = RunConfig("simulated", split, model, 0, fold, settings)
    return Job(f"{split}-{model}-f{fold}-{json.dumps(settings)}", config, files, False, seconds)


def queue_of(missing, done=(), bases=(), variants=(), device="auto"):
    found = pack.order(
        missing,
        list(done),
        {"study": [j.config for j in bases]} if bases else {},
        {"study": [j.config for j in variants]} if variants else {},
        device,
    )
    assert sorted(found, key=id) == sorted(missing, key=id)  # each once
    return found


def test_the_comparison_with_fewest_folds_comes_first():
    done = [job("clmt", 0), job("clmt", 1), job("als", 0)]
    missing = [job("clmt", 2, 1.0), job("als", 1, 90.0), job("clmt_repaired", 0, 900.0)]
    assert [j.config.model for j in queue_of(missing, done)] == ["clmt_repaired", "als", "clmt"]


def test_folds_that_the_queue_itself_will_bring_are_counted():
    missing = [job("als", fold, 1.0) for fold in range(3)] + [
        job("ridge", fold, 50.0) for fold in range(3)
    ]
    assert [j.config.model for j in queue_of(missing)] == ["als", "ridge"] * 3


def test_the_headline_comes_before_whole_published_networks_before_variants_and_cheap_before_dear():
    base, changed, dear = (
        job("clmt", 0, 5.0, ("study",), width=1),
        job("clmt", 0, 1.0, ("study",), width=2),
        job("clmt", 0, 2.0, ("study",), width=3),
    )
    missing = [dear, changed, base, job("clmt_published", 0, 900.0), job("clmt", 0, 80.0)]
    found = queue_of(missing, bases=[base], variants=[changed, dear])
    assert [(j.config.model, j.config.settings.get("width")) for j in found] == [
        ("clmt", None),
        ("clmt", 1),
        ("clmt_published", None),
        ("clmt", 2),
        ("clmt", 3),
    ]


def test_a_variant_waits_for_the_base_of_its_fold():
    bases = [job("clmt", fold, 100.0, ("study",), width=1) for fold in (0, 1)]
    changed = [job("clmt", fold, 1.0, ("study",), width=2) for fold in (0, 1)]
    found = queue_of([*changed, bases[1]], [bases[0]], bases, changed)
    assert found == [
        changed[0],
        bases[1],
        changed[1],
    ]  # fold 1 of the variant is of no use before its base


def test_a_variant_that_a_grid_asks_for_too_does_not_wait():
    bases = [job("clmt", 0, 100.0, ("study",), width=1)]
    both = job("clmt", 0, 1.0, ("study", "grid"), width=2)
    assert queue_of([both, *bases], (), bases, [both])[0] is both


def test_on_a_gpu_models_that_leave_it_idle_come_last():
    missing = [job("als", 0, 1.0), job("clmt_published", 3, 100.0)]
    assert (
        queue_of(missing, [job("clmt_published", 0)], device="cuda")[0].config.model
        == "clmt_published"
    )
    assert queue_of(missing, [job("clmt_published", 0)], device="cpu")[0].config.model == "als"


def test_a_comparison_that_a_study_holds_is_not_run_again(tmp_path):
    (tmp_path / "study-study").mkdir()
    for name, body in {
        "config": {},
        "metrics": {"rows": [{"runs": [["base-run", "its-variant"]]}]},
        "provenance": {},
    }.items():
        (tmp_path / f"study-study/{name}.json").write_text(json.dumps(body))
    held = pack.compared(tmp_path)
    assert held == {"study": {"base-run", "its-variant"}}
    there = Job("its-variant", job("clmt").config, ("study",), False)
    asked_twice = Job("its-variant", job("clmt").config, ("study", "grid"), False)
    assert pack.is_done(there, tmp_path, held) and not pack.is_done(asked_twice, tmp_path, held)
    (tmp_path / "its-variant").mkdir()
    assert pack.is_done(asked_twice, tmp_path, held)


def test_estimates_learn_from_the_device(tmp_path):
    file = tmp_path / "pack.json"
    estimate = pack.Estimates(1.0, 300.0, file)
    slow, other, unknown = (
        job("clmt", 0, 100.0),
        job("clmt", 0, 200.0, width=9),
        job("als", 0, None),
    )
    assert [estimate(j) for j in (slow, other, unknown)] == [100.0, 200.0, 300.0]
    estimate.learn(slow, 10.0)
    assert [estimate(j) for j in (job("clmt", 1, 100.0), other, unknown)] == [
        10.0,
        pytest.approx(20.0),
        pytest.approx(30.0),
    ]
    assert pack.Estimates(1.0, 300.0, file)(other) == pytest.approx(20.0)  # kept between calls
    file.write_text("{")
    assert pack.Estimates(1.0, 300.0, file)(other) == 200.0  # a damaged file is no measurement


@pytest.mark.parametrize("workers", [1, 3])
def test_the_plan_keeps_the_budget(workers):
    estimate = pack.Estimates()
    queue = [
        job("als", fold, seconds)
        for fold, seconds in enumerate([50.0, 70.0, 20.0, 500.0, 5.0, 30.0])
    ]
    shown, end = pack.foreseen(queue, estimate, workers, 100.0)
    assert (
        end <= 100.0
        and all(j.seconds < 500 for _, j in shown)
        and len({j.name for _, j in shown}) == len(shown)
    )
    for moment in range(100):
        assert sum(start <= moment < start + estimate(j) for start, j in shown) <= workers
    assert all(start + pack.MARGIN * estimate(j) <= 100.0 for start, j in shown)


def test_nothing_is_started_that_should_end_after_the_budget_and_later_ones_that_fit_are():
    packed = pack.Pack([job("als", 0, 100.0), job("als", 1, 2.0)], pack.Estimates(), 10.0, None)
    assert packed.take().seconds == 2.0 and [j.seconds for j in packed.queue] == [100.0]


def test_no_run_is_handed_out_twice():
    packed, taken = (
        pack.Pack(
            [job("als", fold, 1.0) for fold in range(60)],
            pack.Estimates(),
            1000.0,
            None,
            say=lambda line: None,
        ),
        [],
    )

    def lane():
        while (mine := packed.take()) is not None:
            taken.append(mine.name)
            packed.give(mine, 0.01, None)

    lanes = [threading.Thread(target=lane) for _ in range(8)]
    for one in lanes:
        one.start()
    for one in lanes:
        one.join(20)
    assert len(taken) == len(set(taken)) == 60 and not packed.running


def grid(tmp_path, *rows):
    path = tmp_path / "small.yaml"
    row = {
        "dataset": "simulated",
        "split": "mixed",
        "seeds": [0],
        "folds": [0],
        "models": ["drug_mean", "effects"],
        "options": {"cells": 48},
    }
    path.write_text(yaml.safe_dump({"runs": [{**row, **changes} for changes in rows or [{}]]}))
    return path


def command(path, home, *more):
    return [
        sys.executable,
        str(ROOT / "experiments/pack.py"),
        str(path),
        "--records",
        str(home),
        "--known",
        str(home),
        "--device",
        "cpu",
        "--workers",
        "2",
        *more,
    ]


def finished(home):
    return {path.parent.name for path in home.glob("[!.]*/metrics.json")}


def test_a_dry_run_starts_nothing(tmp_path):
    told = subprocess.run(
        command(grid(tmp_path), tmp_path / "records", "--dry-run"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (
        "0 runs are in, 2 to do" in told
        and "cost unknown" in told
        and not finished(tmp_path / "records")
    )


def test_a_failed_run_is_reported_and_does_not_stop_the_others(tmp_path):
    path, home = (
        grid(tmp_path, {"models": ["effects"]}, {"models": ["als"], "settings": {"rank": 2}}),
        tmp_path / "records",
    )
    done = subprocess.run(command(path, home), capture_output=True, text=True)
    assert (
        done.returncode == 1
        and "no setting 'rank'" in done.stdout
        and "1 done, 1 failed" in done.stdout
    ), done.stdout + done.stderr
    assert len(finished(home)) == 1


def test_a_folder_that_is_no_grid_is_one_clear_line(tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text("- 1")
    assert pack.main([str(tmp_path / "bad.yaml"), "--records", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("pack: ")


def test_a_killed_pack_goes_on_where_it_stopped_and_ends_as_if_undisturbed(tmp_path):
    path, home, calm = (
        grid(
            tmp_path,
            {"models": ["drug_mean", "effects", "als", "kernel_identity"], "folds": [0, 1]},
        ),
        tmp_path / "killed",
        tmp_path / "calm",
    )
    records.run_grid(records.read_grid(path), calm, say=lambda line: None)
    first = subprocess.Popen(
        command(path, home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not finished(home) and first.poll() is None:
            time.sleep(0.02)
    finally:
        os.killpg(first.pid, signal.SIGKILL)  # parent and workers
        first.wait()
    before = finished(home)
    subprocess.run(command(path, home, "--minutes", "60"), capture_output=True, check=True)
    assert before and finished(home) == finished(calm)
    for name in finished(calm):
        assert (home / name / "metrics.json").read_bytes() == (
            calm / name / "metrics.json"
        ).read_bytes()
    again = subprocess.run(command(path, home), capture_output=True, text=True, check=True).stdout
    assert f"{len(finished(calm))} runs are in, 0 to do" in again and not list(home.glob(".work-*"))


def test_a_worker_that_dies_costs_its_own_run_only():
    dies = (
        "import json, sys\nfor n, line in enumerate(sys.stdin):\n    if 'ridge' in line: "
        "sys.exit(9)\n    print(json.dumps({'seconds': 0.1}), flush=True)"
    )
    start = lambda: subprocess.Popen(
        [sys.executable, "-c", dies], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    queue = [job("als", 0), job("ridge", 0), job("effects", 0), job("drug_mean", 0)]
    packed = pack.Pack(queue, pack.Estimates(), 60.0, start, say=lambda line: None).run(1)
    assert [j.config.model for j in packed.done] == ["als", "effects", "drug_mean"] and len(
        packed.workers
    ) == 2
    assert [j.config.model for j, _ in packed.failed] == ["ridge"] and all(
        worker.poll() is not None for worker in packed.workers
    )


def test_what_still_runs_at_the_end_of_the_budget_is_stopped(tmp_path):
    sleeper = lambda: subprocess.Popen(
        [sys.executable, "-c", "import sys, time; sys.stdin.readline(); time.sleep(60)"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    start = time.monotonic()
    packed = pack.Pack(
        [job("als", 0, 1.0)], pack.Estimates(), 2.0, sleeper, say=lambda line: None
    ).run(1)
    assert (
        time.monotonic() - start < 15
        and packed.workers[0].poll() is not None
        and "end of the budget" in packed.failed[0][1]
    )
