"""The plan of what is missing, and the Snakefile that turns it into jobs: a kill, a failure or a
second start never costs a finished run.
"""

import importlib.util
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from clmt_lib import records
from clmt_lib.cli import main
from clmt_lib.io import DataError
from clmt_lib.records import store

ROOT = Path(__file__).parents[2]
HERE = importlib.util.find_spec("snakemake") is not None
snakemake = pytest.mark.skipif(
    not HERE, reason='snakemake is not installed here (pip install -e ".[grid]")'
)
slurm = pytest.mark.skipif(
    not HERE or importlib.util.find_spec("snakemake_executor_plugin_slurm") is None,
    reason='snakemake or its plugin for Slurm is not installed here (pip install -e ".[grid]")',
)
ROW = {
    "dataset": "simulated",
    "split": "mixed",
    "seeds": [0],
    "folds": [0],
    "models": ["drug_mean", "effects"],
    "options": {"cells": 48},
}
PARTS = {"run.json", "history.json", "predictions.parquet", "draws.npy"}


def grid(folder, *rows, name="small.yaml"):
    path = folder / name
    path.write_text(yaml.safe_dump({"runs": list(rows) or [ROW]}))
    return path


def invented(folder, *costs):
    """A table of runs of which only the cost is of interest: dictionaries of `seconds`, `memory`
    and what a configuration says otherwise than the first row of a grid.
    """
    lines = []
    for number, cost in enumerate(costs):
        about = {"split": "mixed", "model": "als", "dataset": "simulated", "settings": {}} | {
            key: value for key, value in cost.items() if key not in ("seconds", "memory")
        }
        config = {**about, "seed": number, "fold": 0, "options": {}}
        lines.append(
            {
                "id": store.run_id(config),
                "config": config,
                "overrides": about["settings"],
                "seconds": cost["seconds"],
                "peak_memory_mb": cost.get("memory", 1000),
                "machine": "here",
            }
        )
    store.write_lines(folder / "results" / "machines.jsonl", [{"id": "here"}])
    for dataset in {line["config"]["dataset"] for line in lines}:
        mine = [line for line in lines if line["config"]["dataset"] == dataset]
        store.write_lines(folder / "results" / f"{dataset}.jsonl", mine)


def contents(folder):
    """What a grid is for: name of each run -> its metrics and its predictions' bytes."""
    parts = ("config", "valid", "test", "interval")
    return {
        path.name: (
            [json.loads((path / "run.json").read_text())[part] for part in parts],
            (path / "predictions.parquet").read_bytes(),
        )
        for path in (folder / "runs").glob("[!.]*")
    }


def test_a_plan_knows_what_is_done_without_a_marker_or_a_time(tmp_path):
    path, home = grid(tmp_path), tmp_path / "records"
    assert [job.done for job in records.plan([path], home)] == [False, False]
    done = records.run(records.read_grid(path)[1], home)
    jobs = records.plan([path], home)
    assert (
        [job.done for job in jobs] == [False, True]
        and jobs[1].name == done.name
        and jobs[1].files == ("small",)
    )
    records.collect(home)
    shutil.rmtree(home / "runs")
    assert [job.done for job in records.plan([path], home)] == [False, True]
    records.run(records.read_grid(path)[0], home)
    assert [job.done for job in records.plan([path], home)] == [True, True]
    (home / "runs" / jobs[0].name / "draws.npy").unlink()  # a folder that was copied by half
    assert [job.done for job in records.plan([path], home)] == [False, True]


def test_a_plan_without_records_or_folder_makes_neither(tmp_path):
    records.plan([grid(tmp_path)], tmp_path / "records")
    assert not (tmp_path / "records").exists()


def test_a_run_of_a_grid_and_a_study_is_one_job_of_both(tmp_path):
    study = {
        "question": "?",
        "base": {"model": "effects"},
        "variants": {"less": {"model": "drug_mean"}},
        "runs": [{**{k: v for k, v in ROW.items() if k != "models"}, "variants": ["less"]}],
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    jobs = records.plan(
        [grid(tmp_path, {**ROW, "models": ["effects", "als"]}), tmp_path / "study.yaml"],
        tmp_path / "records",
    )
    assert [(job.config.model, job.files) for job in jobs] == [
        ("effects", ("small", "study")),
        ("als", ("small",)),
        ("drug_mean", ("study",)),
    ]


def test_two_files_of_one_name_are_refused(tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match="two files of one name"):
        records.plan([grid(tmp_path), grid(tmp_path / "other")], tmp_path)


@pytest.mark.parametrize("body", [None, b"\xff\xfe", b"runs: [", b"3"])
def test_a_file_that_is_neither_grid_nor_study_is_refused(tmp_path, body):
    if body is not None:
        (tmp_path / "bad.yaml").write_bytes(body)
    with pytest.raises(DataError, match="bad.yaml"):
        records.plan([tmp_path / "bad.yaml"], tmp_path)


def test_what_cannot_be_run_is_told_and_does_not_stop_the_plan(tmp_path, monkeypatch):
    monkeypatch.delenv("CLMT_DATA", raising=False)
    rows = (
        {**ROW, "dataset": "gdsc2", "options": {}},
        {**ROW, "models": ["nonsense", "effects"]},
        {**ROW, "options": {"moons": 3}, "models": ["als"]},
    )
    jobs = records.plan([grid(tmp_path, *rows)], tmp_path / "records")
    why = {(job.config.dataset, job.config.model): job.trouble for job in jobs}
    assert (
        "CLMT_DATA is not set" in why["gdsc2", "effects"]
        and "unknown model" in why["simulated", "nonsense"]
        and "moons" in why["simulated", "als"]
    )
    assert (
        why["simulated", "effects"] == ""
        and not any(job.done for job in jobs)
        and len({job.name for job in jobs}) == 5
    )
    lines = "\n".join(records.format_plan(jobs))
    assert (
        re.search("cannot run 2 of them: .*CLMT_DATA is not set", lines)
        and "0 of 5 runs are in, 1 to do" in lines
    )


def test_a_cost_is_the_median_of_runs_like_it_else_of_its_model_and_benchmark(tmp_path):
    invented(
        tmp_path,
        *(
            {"seconds": {"fit": 9.0, "fit_cpu": s, "predict": 0.5}, "memory": 1000 * n}
            for n, s in enumerate((10, 20, 90))
        ),
        {
            "seconds": {"fit": 9.0, "fit_cpu": 300, "predict": 0.5},
            "split": "cell_blind",
            "memory": 800,
        },
        {"seconds": {"fit": 7.0, "predict": 0.5}, "model": "effects"},
        {"seconds": {"fit": 9.0, "fit_cpu": 1}, "dataset": "gdsc2"},
        {"seconds": {"resumed": True}, "memory": 9},
    )
    row = {**ROW, "options": {}, "models": ["als", "effects", "drug_mean"]}
    jobs = records.plan(
        [
            grid(
                tmp_path,
                row,
                {**row, "split": "drug_blind", "models": ["als"]},
                {**row, "split": "cell_blind", "models": ["als"]},
            )
        ],
        tmp_path,
    )
    assert {(job.config.model, job.config.split): (job.seconds, job.memory_mb) for job in jobs} == {
        ("als", "mixed"): (20.5, 2500),
        ("effects", "mixed"): (7.5, 1250),
        ("drug_mean", "mixed"): (None, None),
        ("als", "drug_blind"): (55.5, 2500),
        ("als", "cell_blind"): (300.5, 1000),
    }
    told = records.format_plan(jobs, cores=2)
    assert (
        "0 of 5 runs are in, 5 to do; about 3.2 min of fitting on 2 cores; 1 of unknown cost"
        == told[-1]
    )
    assert any(
        line.split() == ["simulated", "drug_mean", "1", "unknown", "unknown"] for line in told
    )


def test_a_written_plan_has_the_configuration_of_what_is_missing_and_forgets_stale_markers(
    tmp_path,
):
    path, home, out = grid(tmp_path), tmp_path / "records", tmp_path / "out"
    done = records.run(records.read_grid(path)[0], home).path.name
    jobs = records.plan([path], home)
    for job in jobs:
        for left in (out / "done" / job.name, out / "logs" / f"{job.name}.log"):
            left.parent.mkdir(parents=True, exist_ok=True)
            left.touch()
    records.write_plan(jobs, [path], out)
    missing = next(job for job in jobs if job.name != done)
    assert {p.name for p in (out / "done").iterdir()} == {done} and {
        p.stem for p in (out / "logs").iterdir()
    } == {done}
    assert [p.name for p in (out / "configs").iterdir()] == [f"{missing.name}.json"]
    assert records.read_config(out / "configs" / f"{missing.name}.json") == missing.config
    body = json.loads((out / "plan.json").read_text())
    assert {name: run["done"] for name, run in body["runs"].items()} == {
        done: True,
        missing.name: False,
    } and body["tables"] == {"small": ["report", "--grid", str(path)]}


def test_the_command_tells_the_plan_and_runs_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(records.runs, "_make", lambda *_: pytest.fail("computed"))
    assert main(["plan", str(grid(tmp_path)), "--records", str(tmp_path / "records")]) == 0
    assert "0 of 2 runs are in, 2 to do; 2 of unknown cost" in capsys.readouterr().out
    assert main(["plan", str(tmp_path / "nowhere.yaml")]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err


def test_a_budget_takes_new_questions_first_and_the_cheap_before_the_dear(tmp_path):
    invented(
        tmp_path,
        {"seconds": {"fit": 60.0}, "model": "als"},
        {"seconds": {"fit": 30.0}, "model": "effects"},
    )
    path = grid(tmp_path, {**ROW, "seeds": [5, 6], "models": ["als", "effects", "drug_mean"]})
    jobs = records.plan([path], tmp_path)

    def chosen(minutes):
        return [(j.config.model, j.config.seed) for j in records.within(jobs, minutes)]

    assert chosen(10) == [("effects", 5), ("als", 5), ("effects", 6), ("als", 6)]
    assert chosen(2) == [("effects", 5), ("als", 5), ("effects", 6)] and chosen(0.1) == []


def test_one_benchmark_of_a_grid_alone(tmp_path, capsys):
    path = tmp_path / "two.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "runs": [
                    {**ROW, "models": ["drug_mean"]},
                    {**ROW, "dataset": "ccle", "models": ["drug_mean"]},
                ]
            }
        )
    )
    home = ["--records", str(tmp_path / "records")]
    assert main(["run", "--grid", str(path), "--only", "simulated", *home]) == 0
    assert main(["report", "--grid", str(path), "--only", "simulated", *home]) == 0
    assert records.derived("*", tmp_path / "records") == ["summary-two-simulated-48-mixed"]
    assert len(records.table(tmp_path / "records")) == 1
    assert main(["run", "--grid", str(path), "--only", "tgsa", *home]) == 2
    assert "use one of: ccle, simulated" in capsys.readouterr().err


def test_the_profiles_go_on_after_a_failure_and_survive_a_kill():
    for name in ("default", "slurm"):
        profile = yaml.safe_load(
            (ROOT / "experiments" / "profiles" / name / "config.yaml").read_text()
        )
        assert (
            profile["keep-going"]
            and profile["retries"] >= 1
            and profile["nolock"]
            and profile["rerun-incomplete"]
        )
    assert profile["executor"] == "slurm"


def start(folder, path, *words, target="runs", config=(), **more):
    """A scheduler in `folder`, its output in `said.txt`."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-s",
        str(ROOT / "experiments" / "Snakefile"),
        target,
        *words,
        "--directory",
        str(folder),
    ]
    command += [
        "--config",
        f"files={json.dumps([str(path)])}",
        f"records={folder / 'records'}",
        f"python={sys.executable}",
        *config,
    ]
    with open(folder / "said.txt", "w") as said:
        return subprocess.Popen(
            command,
            stdout=said,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            **more,
        )


def finish(folder, path, *words, **more):
    code = start(folder, path, *words, **more).wait(timeout=300)
    return code, (folder / "said.txt").read_text()


@snakemake
@pytest.mark.slow
def test_a_failed_run_is_reported_the_others_are_done_and_only_it_is_tried_again(tmp_path):
    folder = tmp_path / "a folder with spaces"
    folder.mkdir()
    path = grid(
        folder,
        {**ROW, "models": ["drug_mean", "effects"]},
        {**ROW, "models": ["als"], "settings": {"ranks": "two"}},
        {**ROW, "models": ["nonsense"]},
    )
    calm = folder / "calm"
    records.run_grid(records.read_grid(path), calm, say=lambda line: None)
    code, said = finish(folder, path, "--retries", "1", target="tables")
    assert code == 1 and "0 of 4 runs are in, 3 to do" in said
    assert (
        "FAILED simulated-mixed-s0-f0-als" in said
        and "settings do not fit the model" in said
        and "FAILED 1 runs that could not be started: unknown model 'nonsense'" in said
    )
    assert contents(folder / "records") == contents(calm) and len(contents(calm)) == 2
    before = {
        path: path.stat().st_mtime_ns for path in (folder / "records" / "runs").glob("[!.]*/*")
    }
    code, said = finish(folder, path, "--dry-run", target="tables")
    assert (
        code == 0
        and "2 of 4 runs are in, 1 to do" in said
        and "about" not in said.split("runs are in")[1].splitlines()[0]
    )
    code, said = finish(folder, path, "--retries", "0", target="runs")
    assert code == 1 and "f0-als" in said and "f0-effects" not in said
    assert {
        path: path.stat().st_mtime_ns for path in (folder / "records" / "runs").glob("[!.]*/*")
    } == before


@snakemake
@pytest.mark.slow
def test_tables_follow_the_runs_and_are_made_anew_only_for_other_runs(tmp_path):
    row = {key: value for key, value in ROW.items() if key != "models"}
    study = {
        "question": "?",
        "base": {"model": "effects"},
        "variants": {"less": {"model": "drug_mean"}},
        "runs": [{**row, "variants": ["less"]}],
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    code, said = finish(tmp_path, path, target="tables")
    assert code == 0, said
    assert records.read("study-study", tmp_path / "records").metrics["runs"] == {
        "done": 1,
        "planned": 1,
        "left_out": 0,
    }
    code, said = finish(tmp_path, path, target="tables")
    assert code == 0 and "tables_of_one_file" not in said and "2 of 2 runs are in, 0 to do" in said
    table = tmp_path / "records" / "results" / "simulated.jsonl"
    lines = [line for line in store.read_lines(table).values() if "drug_mean" not in line["id"]]
    store.write_lines(table, lines)
    shutil.rmtree(next((tmp_path / "records" / "runs").glob("*drug_mean*")))
    code, said = finish(tmp_path, path, "--dry-run", target="tables")
    assert "1 of 2 runs are in, 1 to do" in said and code == 0 and "rule one_run" in said
    code, said = finish(tmp_path, path, "--dry-run", target="tables", config=["partial=1"])
    assert code == 0 and "rule one_run" not in said and "rule tables_of_one_file" in said


@slurm
@pytest.mark.slow
def test_the_slurm_profile_plans_its_jobs_with_memory_and_time(tmp_path):
    cost = {"seconds": {"fit_cpu": 3600.0, "fit": 1.0}, "memory": 4000, "model": "effects"}
    invented(tmp_path / "records", cost)
    code, said = finish(tmp_path, grid(tmp_path), "--workflow-profile", "slurm", "--dry-run")
    assert code == 0, said
    assert "1.0 h" in said and "one_run 2" in " ".join(said.split())
    jobs = {block.split("done/")[1].split()[0]: block for block in said.split("rule one_run:")[1:]}
    effects, mean = (
        next(block for name, block in jobs.items() if model in name)
        for model in ("effects", "drug_mean")
    )
    assert "mem_mb=5000" in effects and "runtime=240" in effects and "mem_mb=8000" in mean


STAND_IN = """#!{python}
import os, subprocess, sys, time
name, words, state = os.path.basename(sys.argv[0]), sys.argv[1:], "{state}"
if name == "sbatch":
    job = str(time.time_ns() % 10**9)
    wrap = next(word[7:] for word in words if word.startswith("--wrap="))
    with open(f"{{state}}/sbatch", "a") as calls:
        calls.write(" ".join(words) + "\\n")
    file = f"{{state}}/{{job}}"
    after = f"bash -c \\"$JOB\\" >'{{file}}.log' 2>&1 && echo COMPLETED >'{{file}}'"
    after += f" || echo FAILED >'{{file}}'"
    open(file, "w").write("RUNNING")
    env = {{**os.environ, "JOB": wrap, "SLURM_JOB_ID": job}}
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    subprocess.Popen(["bash", "-c", after], env=env, **quiet)
    print(job)
elif name == "sacct":
    for job in os.listdir(state):
        if job.isdigit():
            print(f"{{job}}|{{open(f'{{state}}/{{job}}').read().strip()}}")
elif name == "sacctmgr":
    print("lab")
elif name == "srun":
    while words[0].startswith("-"):
        words = words[1:]
    os.execvp(words[0], words)
"""


@slurm
@pytest.mark.slow
@pytest.mark.skipif(
    "CLMT_KILLS" not in os.environ, reason="a minute of waiting for polls: set CLMT_KILLS=5"
)
def test_a_node_of_the_cluster_reads_the_snakefile_again_and_finds_the_plan(tmp_path, monkeypatch):
    """Stand-ins for Slurm's commands run each submitted job here, as its own process, the way a
    node would.
    """
    state, bin = tmp_path / "state", tmp_path / "bin"
    state.mkdir()
    bin.mkdir()
    for name in ("sbatch", "sacct", "srun", "squeue", "sinfo", "scancel", "scontrol", "sacctmgr"):
        (bin / name).write_text(STAND_IN.format(python=sys.executable, state=state))
        (bin / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin}{os.pathsep}{os.environ['PATH']}")
    polls = [
        "--slurm-init-seconds-before-status-checks",
        "5",
        "--seconds-between-status-checks",
        "3",
        "--latency-wait",
        "10",
    ]
    code, said = finish(
        tmp_path,
        grid(tmp_path),
        "--workflow-profile",
        "slurm",
        *polls,
        "--default-resources",
        "slurm_partition=cpu",
        "slurm_account=lab",
    )
    assert code == 0, said
    assert len(contents(tmp_path / "records")) == 2
    calls = (state / "sbatch").read_text().splitlines()
    assert len(calls) == 2 and all(
        "-p cpu" in call and "--mem 8000" in call and "-t 240" in call for call in calls
    )


def descendants(pid):
    """Processes below `pid`, by /proc (where a process that ends while we look is no error)."""
    below, found = {}, [pid]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            below.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(
                int(stat.parent.name)
            )
        except OSError:
            continue
    for parent in found:
        found += below.get(parent, [])
    return found[1:]


def worker(scheduler, name):
    """The Python process, started by this scheduler, that computes the run `name`; None while there
    is none.
    """
    for pid in descendants(scheduler.pid):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"clmt_lib" in words and any(word.endswith(f"{name}.json".encode()) for word in words):
            return pid
    return None


def fits(pid, name):
    """Whether this process holds the work folder of run `name`: imports and data are done."""
    try:
        return any(
            os.readlink(handle).endswith(f".{name}.lock")
            for handle in Path(f"/proc/{pid}/fd").iterdir()
        )
    except OSError:
        return False


def strike(scheduler, name, fitting, delay, victims):
    """SIGKILL the worker of run `name` if there is one (`fitting`: one that fits), `delay` seconds
    after it was seen.
    """
    pid = worker(scheduler, name)
    if pid is None or pid in victims or (fitting and not fits(pid, name)):
        return
    time.sleep(delay)
    if worker(scheduler, name) == pid:
        os.kill(pid, signal.SIGKILL)
        victims.append(pid)


STORM = [
    {
        **ROW,
        "seeds": list(range(6)),
        "models": [
            "drug_mean",
            "cell_mean",
            "effects",
            "als",
            "kernel_identity",
            "kernel_fingerprint",
        ],
    },
    {**ROW, "split": "cell_blind", "models": ["drug_mean", "als", "kernel_identity"]},
    {**ROW, "models": ["clmt"], "settings": {"steps": 120, "hidden": 48, "dim": 16, "message": 16}},
]


@snakemake
@pytest.mark.slow
@pytest.mark.skipif(
    "CLMT_KILLS" not in os.environ or not Path("/proc/self/stat").exists(),
    reason="minutes: set CLMT_KILLS=5 (needs Linux)",
)
def test_a_grid_whose_scheduler_and_worker_are_killed_ends_as_if_undisturbed(tmp_path):
    """Forty runs, two at a time. One worker is killed CLMT_KILLS times (three attempts a
    scheduler), a scheduler in the middle once; what is in is never touched again.
    """
    path, home, calm, moments = (
        grid(tmp_path, *STORM),
        tmp_path / "records",
        tmp_path / "calm",
        random.Random(0),
    )
    configs = records.read_grid(path)
    assert (
        len(configs) == 40
        and records.run_grid(configs, calm, device="cpu", say=lambda line: None) == []
    )
    victim = next(p.name for p in (calm / "runs").glob("*-clmt-*"))
    victims, seen, kills, schedulers = [], {}, int(os.environ["CLMT_KILLS"]), 0

    def in_so_far():
        return {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (home / "runs").glob("[!.]*/*")}

    def restarted():
        nonlocal schedulers
        schedulers += 1
        return start(tmp_path, path, "--cores", "2"), {p.parent.name for p in seen}

    def checked(before):
        """What was in before this scheduler must be in unchanged, and may not have been planned."""
        assert {p: stamp for p, stamp in in_so_far().items() if p in seen} == seen
        said = (tmp_path / "said.txt").read_text()
        planned = {
            line.split("name=")[1].strip()
            for line in said.splitlines()
            if "wildcards: name=" in line
        }
        assert not planned & before, "a finished run was planned again"
        seen.update(in_so_far())

    scheduler, before = restarted()  # killed when a third of the records is in
    while len(list((home / "runs").glob("[!.]*"))) < 13:
        assert scheduler.poll() is None, (tmp_path / "said.txt").read_text()
        if len(victims) < kills:
            strike(
                scheduler, victim, False, 0, victims
            )  # Snakemake chooses the order: if it is the victim's turn already, so be it
        time.sleep(0.05)
    left = descendants(scheduler.pid)
    scheduler.send_signal(signal.SIGKILL)
    scheduler.wait()
    # what it had started goes on alone, and may end while the next scheduler plans: wait, so that
    # "missing" has one meaning here
    for pid in left:
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.05)
    checked(before)
    assert 13 <= len(contents(home)) < 30
    while len(victims) < kills:
        scheduler, before = restarted()
        while len(victims) < kills and scheduler.poll() is None:
            strike(
                scheduler, victim, len(victims) % 3 > 0, moments.uniform(0, 0.5), victims
            )  # the first of three kills meets imports, the others a fit
            time.sleep(0.02)
        code = scheduler.wait(timeout=600)
        checked(before)
        assert (home / "runs" / victim).exists() == (code == 0)
        assert code == 0 or len(contents(home)) == 39, "a killed worker held up other runs"
        assert code or len(victims) == kills, f"the run was too quick: killed {len(victims)} times"
    if not (home / "runs" / victim).exists():
        scheduler, before = restarted()
        assert scheduler.wait(timeout=600) == 0
        checked(before)
    assert len(victims) == kills
    assert contents(home) == contents(calm)
    assert all(
        {p.name for p in record.iterdir()} == PARTS for record in (home / "runs").glob("[!.]*")
    )
    left = {p.name for p in (home / "runs").glob(".*") if p.suffix != ".lock"}
    assert left == {".grid"}, "unfinished work was left behind"
    code, said = finish(tmp_path, path)
    assert code == 0 and "40 of 40 runs are in, 0 to do" in said and "one_run" not in said
    print(f"{schedulers} schedulers, one killed; {len(victims)} workers killed")


@snakemake
def test_every_table_of_drugs_in_a_folder_gets_its_answers(tmp_path):
    drugs, model = tmp_path / "my drugs", tmp_path / "model"
    drugs.mkdir()
    model.mkdir()
    (model / "model.json").write_text("{}")
    lines = tmp_path / "lines.csv"
    for table in (drugs / "one.csv", drugs / "two.csv", lines):
        table.write_text("name\nA549\n")
    own = [f"model={model}", f"drugs={drugs}", f"out={tmp_path / 'out'}", f"lines={lines}"]
    words = {"target": "predictions", "config": own}
    code, said = finish(tmp_path, grid(tmp_path, ROW), "--dry-run", "-p", "--cores", "2", **words)
    assert code == 0, said
    for table in ("one", "two"):
        assert f"--drugs '{drugs}/{table}.csv' --lines '{lines}'" in said
        assert f"--out {tmp_path}/out/{table}.parquet --jobs 2" in said
    words["config"] = own[:2]
    code, said = finish(tmp_path, grid(tmp_path, ROW), "--dry-run", "--cores", "1", **words)
    assert code != 0 and "out is not given" in said
