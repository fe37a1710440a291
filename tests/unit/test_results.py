"""The committed results: whole, of today's configuration, and all that the pages compare."""

import json
import subprocess
import sys
from collections import Counter
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from clmt_lib import models, records
from clmt_lib.records import store

ROOT = Path(__file__).parents[2]
HOME = ROOT / "experiments"
TABLES = ("ccle", "gdsc2", "tgsa")  # of drug response
OTHERS = ("davis", "tox21", "kiba", "human", "gdsc1")
ERRORS = {"tox21": "auroc_per_assay", "human": "auroc"}


@pytest.fixture(scope="module")
def lines():
    return {
        name: line
        for table in TABLES + OTHERS
        for name, line in store.table_of(table, HOME).items()
    }


@pytest.fixture(scope="module")
def checksums(lines):
    """(benchmark, its options as JSON) -> checksum of its data."""
    found = {}
    for line in lines.values():
        about = line["config"]
        key = about["dataset"], json.dumps(about["options"], sort_keys=True)
        assert found.setdefault(key, about["checksum"]) == about["checksum"]
    return found


def test_no_run_was_lost_when_folders_became_tables(lines):
    counted = Counter(line["config"]["dataset"] for line in lines.values())
    least = {"gdsc2": 1327, "ccle": 481, "tgsa": 343}
    assert all(counted[table] >= number for table, number in least.items())
    assert len(lines) >= 2151 + 152
    for line in lines.values():
        assert np.isfinite(line["test"][ERRORS.get(line["config"]["dataset"], "rmse")])
    kinds = Counter(name.split("-")[0] for name in store.derived("*", HOME))
    assert kinds >= Counter(summary=19, study=5, drugs=4, transfer=3, bench=3, noise=2, chapters=1)


def test_a_line_says_every_setting_its_machine_and_how_many_draws_its_intervals_use(lines):
    machines = store.read_machines(HOME)
    for name, line in lines.items():
        assert line["machine"] in machines and line["seconds"] and line["peak_memory_mb"] > 0
        own = models.model_class(line["config"]["model"]).known_settings()
        told = set(line["config"]["settings"])
        assert told - {"version_of"} == own, name  # of a model in another, its version, too
        if "draws_used" in line:
            assert set(line["draws_used"]) == set(line["interval"])
            assert max(line["draws_used"].values()) <= 1000


@pytest.mark.parametrize("name", ["grid", "text"])
def test_every_run_of_the_grids_is_in_the_tables_under_its_own_id(lines, checksums, name):
    configs = records.read_grid(HOME / "configs" / f"{name}.yaml")
    keys = [(c.dataset, json.dumps(c.options, sort_keys=True)) for c in configs]
    missing = [
        config.model
        for config, key in zip(configs, keys, strict=True)
        if config.id(checksums[key]) not in lines
    ]
    assert len(configs) > 400 and missing == []


def test_what_is_derived_names_runs_that_are_there(lines):
    for name in store.derived("summary-*", HOME):
        for row in store.read(name, HOME).metrics["models"].values():
            assert set(row["runs"]) <= set(lines) and len(row["runs"]) == row["folds"]
    for name in store.derived("study-*", HOME):
        for row in store.read(name, HOME).metrics["rows"]:
            if row["dataset"] != "simulated":  # those are made again on demand
                there = sum(run in lines for pair in row["runs"] for run in pair)
                assert there == 2 * len(row["runs"]) or name == "study-defects", (name, row)


def test_means_of_the_pages_are_those_of_their_runs(lines):
    for name in store.derived("summary-*", HOME):
        for model, row in store.read(name, HOME).metrics["models"].items():
            tests = [lines[run]["test"] for run in row["runs"]]
            for metric in {"rmse", "mae", "pcc", "ci", "auroc_per_assay"} & set(row):
                mean = np.mean([test[metric] for test in tests])
                assert row[metric] == pytest.approx(mean, abs=2e-6), (name, model, metric)


def test_draws_are_kept_of_the_models_that_others_are_compared_with(lines):
    for table in TABLES:
        kept = store.kept_draws(HOME, table)
        assert {lines[name]["config"]["model"] for name in kept} <= set(store.COMPARED)
        summaries = [store.read(name, HOME) for name in store.derived(f"summary-{table}-*", HOME)]
        compared = {
            run
            for summary in summaries
            for model, told in summary.metrics["models"].items()
            if model in store.COMPARED
            for run in told["runs"]
        }
        assert compared and compared <= set(kept)
        for name, values in list(kept.items())[::25]:
            told = dict(zip(sorted(lines[name]["interval"]), values, strict=True))
            for metric, (low, high) in lines[name]["interval"].items():
                assert np.allclose(
                    np.nanpercentile(told[metric], [2.5, 97.5]), [low, high], atol=1e-3
                )


@pytest.fixture
def tracked():
    """The files of a clone."""
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if names.returncode:
        pytest.skip("not a checkout of git")
    return [ROOT / name for name in names.stdout.splitlines()]


def test_the_copy_in_which_bugs_are_planted_lacks_no_code(tracked, monkeypatch, tmp_path):
    spec = spec_from_file_location("mutants", ROOT / "tests" / "mutants.py")
    mutants = module_from_spec(spec)
    spec.loader.exec_module(mutants)
    monkeypatch.setattr(mutants, "BUILD", tmp_path)
    tree = mutants.copied("tree")
    code = [path.relative_to(ROOT) for path in tracked if path.suffix in (".py", ".yaml")]
    assert len(code) > 250
    assert [path for path in code if not (tree / path).exists()] == []


def test_a_clone_is_small(tracked):
    assert len(tracked) < 400
    results = [path for path in tracked if HOME / "results" in path.parents]
    assert sum(path.stat().st_size for path in results) < 10e6


def test_the_library_and_its_help_do_not_wait_for_validators():
    code = "import sys, clmt_lib; from clmt_lib.cli import main; main(['--help']); "
    code += "print(sorted({'pydantic', 'torch', 'pandas'} & set(sys.modules)))"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert said.stdout.splitlines()[-1] == "[]"
