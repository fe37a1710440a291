"""The `clmt` command from outside: quick help, exit codes, one message and no traceback for bad
input.
"""

import contextlib
import functools
import http.server
import importlib.util
import io
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clmt_lib
from clmt_lib import data
from clmt_lib.cli import main
from clmt_lib.data.download import SOURCES

ROOT = Path(__file__).parents[2]
ANYTHING = [[], ["data"], ["data", "check"], ["plan"], ["run", "--config"], ["run", "--set"]]


def clmt(*words, **environment):
    env = (
        {key: value for key, value in os.environ.items() if key != "CLMT_DATA"}
        | {"PYTHONPATH": str(ROOT)}
        | environment
    )
    return subprocess.run(
        [sys.executable, "-m", "clmt_lib", *map(str, words)],
        capture_output=True,
        text=True,
        env=env,
        timeout=120,
        check=False,
    )


def test_help_is_quick():
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        result = clmt("--help")
        seconds.append(time.perf_counter() - start)
        assert result.returncode == 0 and "data" in result.stdout
    assert min(seconds) < 1


def test_help_imports_nothing_heavy():
    code = (
        "import sys, clmt_lib.cli as c\nc.main(['--help'])\n"
        "print('HEAVY', [m for m in ('pandas', 'numpy', 'torch', 'rdkit') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert result.stdout.endswith("HEAVY []\n")


@pytest.mark.parametrize(
    "words, said",
    [
        (["data", "nonsense"], "No such command 'nonsense'.*`clmt data --help`"),
        (["data", "fetch", "depmap_models"], "Missing option '--to'.*`clmt data fetch --help`"),
        (["data", "fetch"], "Missing argument 'KEY'.*`clmt data fetch --help`"),
        (["data", "check", "one", "two"], "extra argument.*`clmt data check --help`"),
        (["run", "--mode", "als"], "No such option '?--mode.*`clmt run --help`"),
        (["run", "--model"], "'--model' requires an argument"),
        (["run", "--model", "als", "--seed", "one"], "'one' is not a valid integer"),
        (["run", "--model", "als", "--device", "abacus"], "abacus.*auto.*cpu.*cuda"),
        (["run", "--grid", "g.yaml", "--jobs", "0"], "0 is not in the range"),
        (["run", "-v", "-q", "--model", "als"], "-v and -q exclude each other"),
        (["-q", "run", "-v", "--model", "als"], "-v and -q exclude each other"),
        (["run", "--grid", "g", "--config", "c"], "--config and --grid exclude each other"),
        (["run", "--model", "als", "--grid", "g"], "--model and --grid exclude each other"),
        (["run", "--grid", "g", "--fold", "1"], "--fold cannot be used with --grid"),
        (["run", "--grid", "g", "--share", "0/2"], "No such option '?--share"),
        (["run", "--config", "c", "--set", "a=1"], "--set cannot be used with --config"),
        (["run", "--model", "als", "--jobs", "2"], "--jobs cannot be used with --model"),
        (["--nonsense"], "No such option '?--nonsense.*`clmt --help`"),
    ],
)
def test_a_command_that_cannot_be_meant_gets_one_line(words, said, capsys):
    assert main(words) == 2
    shown = capsys.readouterr()
    assert re.search(said, shown.err) and len(shown.err.splitlines()) == 1 and shown.out == ""


@pytest.mark.parametrize("words", [[], ["data"]])
def test_without_a_command_the_commands_are_shown(words, capsys):
    assert main(words) == 2
    assert f"Usage: {' '.join(['clmt', *words])} " in capsys.readouterr().err


def test_the_version_is_that_of_the_library(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"clmt, version {clmt_lib.__version__}\n"


@pytest.mark.parametrize("words", [["-h"], ["run", "--help"], ["data", "fetch", "-h"]])
def test_every_command_explains_itself(words, capsys):
    assert main(words) == 0
    assert "Usage: clmt" in capsys.readouterr().out


def test_list_shows_every_source_with_licence_and_marks_untried_addresses(capsys):
    assert main(["data", "list"]) == 0
    out = capsys.readouterr().out
    for source in SOURCES:
        assert source.key in out and source.url in out and source.licence in out
    assert out.count("could not be tried from here") == sum(not source.tried for source in SOURCES)


@pytest.mark.parametrize(
    "environment, message",
    [({}, "CLMT_DATA is not set"), ({"CLMT_DATA": "/nowhere/at/all"}, "no such folder")],
)
def test_check_without_data_says_how_to_get_it(environment, message, capsys, monkeypatch):
    monkeypatch.delenv("CLMT_DATA", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["data", "check"]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error and len(error.splitlines()) == 1
    assert message in error and "clmt data fetch" in error and "clmt data prepare" in error


def test_check_of_a_folder_without_benchmarks(tmp_path, capsys):
    assert main(["data", "check", str(tmp_path)]) == 2
    assert "no benchmark in this folder" in capsys.readouterr().err


def test_check_of_real_data(capsys, monkeypatch):
    if not os.environ.get("CLMT_DATA"):
        pytest.skip("CLMT_DATA is not set")
    # each of the others is read by the test of its reader
    monkeypatch.setattr(data, "BENCHMARKS", ("simulated", "gdsc2", "tgsa"))
    assert main(["data", "check"]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert rows["gdsc2"][:3] == ["577", "216", "112044"] and rows["tgsa"][:3] == [
        "580",
        "170",
        "82833",
    ]
    assert int(rows["simulated"][0]) >= 200 and int(rows["simulated"][1]) >= 96
    assert all(
        re.fullmatch(r"[0-9a-f]{16}", rows[name][3]) for name in ("simulated", "gdsc2", "tgsa")
    )


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "Model.csv").write_text("ModelID\nACH-000001\n")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=folder)
    )
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_fetch_asks_for_the_terms_first(mirror, tmp_path, capsys):
    to = tmp_path / "downloads"
    assert main(["data", "fetch", "depmap_models", "--to", str(to), "--mirror", mirror]) == 2
    shown = capsys.readouterr()
    assert "CC BY 4.0" in shown.out and "--accept-terms" in shown.err and list(to.iterdir()) == []
    assert (
        main(
            [
                "data",
                "fetch",
                "depmap_models",
                "--to",
                str(to),
                "--mirror",
                mirror,
                "--accept-terms",
            ]
        )
        == 0
    )
    assert (
        "sha256" in capsys.readouterr().out
        and (to / "Model.csv").read_text() == "ModelID\nACH-000001\n"
    )


def test_fetch_of_an_unknown_key_and_of_structures_without_a_drug_list(tmp_path, capsys):
    assert main(["data", "fetch", "nope", "--to", str(tmp_path)]) == 2
    assert "unknown source 'nope'" in capsys.readouterr().err
    assert main(["data", "fetch", "pubchem_smiles", "--to", str(tmp_path)]) == 2
    assert "fetch gdsc_drug_list" in capsys.readouterr().err


def test_prepare_reports_what_it_used_and_what_is_missing(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location(
        "prepare_tables", Path(__file__).with_name("test_prepare.py")
    )
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    assert main(["data", "prepare", str(downloads), str(tmp_path / "out")]) == 2
    assert "no file for response" in capsys.readouterr().err
    made.response().to_csv(downloads / "GDSC2_fitted_dose_response_test.csv", index=False)
    made.models().to_csv(downloads / "model_list_1.csv", index=False)
    assert main(["data", "prepare", str(downloads), str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert (
        "expression: MISSING" in out
        and "gdsc/response_gdsc2.parquet" in out
        and "clmt data check" in out
    )


@pytest.mark.parametrize("content", [None, "", "\n \n"])
def test_a_bad_list_of_genes(tmp_path, capsys, content):
    genes = tmp_path / "genes.txt"
    if content is not None:
        genes.write_text(content)
    assert (
        main(["data", "prepare", str(tmp_path), str(tmp_path / "out"), "--genes", str(genes)]) == 2
    )
    assert "list of genes" in capsys.readouterr().err


def test_a_reader_that_leaves_early_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-m", "clmt_lib", "data", "list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=30) == 0 and process.stderr.read() == b""
    process.stderr.close()


def small_run(tmp_path, *more):
    config = tmp_path / "config.json"
    config.write_text(
        '{"dataset": "simulated", "split": "mixed", "model": "effects", "options": {"cells": 48}}'
    )
    return ["run", "--config", str(config), "--records", str(tmp_path / "records"), *more]


def test_run_prints_metrics_with_intervals_and_leaves_one_record(tmp_path, capsys):
    assert main(small_run(tmp_path)) == 0
    shown = capsys.readouterr().out
    assert "rmse" in shown and "[" in shown and "record:" in shown
    assert len(list((tmp_path / "records" / "runs").glob("[!.]*"))) == 1


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["run", "--model", "deep_magic"], "unknown model 'deep_magic'.*use one of"),
        (["run", "--model", "als", "--split", "by_moon"], "unknown split 'by_moon'.*use one of"),
        (["run", "--model", "als", "--fold", "99"], "fold 99 of mixed.*use 0 to"),
        (["run", "--model", "als", "--seed", "-1"], "seed -1.*0 or more"),
        (["run", "--model", "als", "--settings", "{rank: 3}"], "not JSON"),
        (["run", "--model", "als", "--settings", "[3]"], "not JSON"),
        (["run", "--model", "als", "--settings", '{"depth": 3}'], "no setting 'depth'"),
        (
            ["run", "--model", "als", "--settings", '{"ranks": 5}'],
            "settings do not fit the model.*type of its default",
        ),
        (["run"], "no --model, --grid or --config.*als.*kernel_text.*`clmt run --model als`"),
        (["run", "--model", "als", "--set", "rank"], "'rank' is not name=value"),
        (["run", "--model", "als", "--set", "=3"], "'=3' is not name=value"),
        (["run", "--model", "als", "--set", "ranks=[3"], "neither JSON nor a word"),
        (["run", "--model", "als", "--set", "ranks=True"], "write true"),
        (["run", "--model", "als", "--set", "depth=3"], "no setting 'depth'"),
        (["run", "--model", "als", "--set", "ranks=[1]", "--set", "ranks=[2]"], "set twice"),
        (
            ["run", "--model", "als", "--set", "ranks=[1]", "--settings", '{"ranks": [2]}'],
            "'ranks' is in --settings and in --set",
        ),
        (["run", "--config", "nowhere.json"], "not a configuration.*clmt plan --out"),
        (["run", "--grid", "nowhere.yaml"], "not a grid"),
        (["audit", "--dataset", "elsewhere"], "unknown benchmark 'elsewhere'"),
    ],
)
def test_bad_arguments_get_one_line_that_says_what_there_is(tmp_path, capsys, arguments, said):
    more = ["--records", str(tmp_path)] if arguments[0] == "run" else []
    assert main([*arguments, *more]) == 2
    error = capsys.readouterr().err
    assert re.search(said, error) and len(error.strip().splitlines()) == 1
    assert not list(tmp_path.glob("results/*")) and not list(tmp_path.glob("runs/[!.]*"))


def test_settings_one_by_one_are_those_of_one_object(tmp_path, capsys):
    folder = str(tmp_path)
    words = ["run", "--model", "als", "--options", '{"cells": 48}', "--records", folder]
    assert main([*words, "--set", "ranks=[2]", "--set", "ridges=[3.0]"]) == 0
    first = capsys.readouterr().out
    assert main([*words, "--settings", '{"ridges": [3.0], "ranks": [2]}']) == 0
    assert capsys.readouterr().out == first


def test_quiet_leaves_results_and_verbose_says_where(tmp_path, capsys):
    assert main(["-q", "data", "list"]) == 0
    assert "next:" not in capsys.readouterr().out
    assert main(["data", "list"]) == 0
    assert "next:" in capsys.readouterr().out
    assert main(["run", "-v", "--model", "nothing", "--records", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "Traceback" in error and error.splitlines()[-1].startswith("clmt: unknown model")


def test_an_interrupted_run_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("clmt_lib.records.run", stop)
    assert main(small_run(tmp_path)) == 130
    assert "run the same command again" in capsys.readouterr().err


def test_a_fault_of_ours_is_not_hidden(tmp_path, monkeypatch):
    def wrong(*_, **__):
        raise ValueError("not bad input")

    monkeypatch.setattr("clmt_lib.records.run", wrong)
    with pytest.raises(ValueError, match="not bad input"):
        main(small_run(tmp_path))


@pytest.mark.parametrize("words", ANYTHING)
@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12))
@settings(max_examples=25, deadline=None)
def test_whatever_is_typed_gets_an_exit_code(words, text):
    with (
        contextlib.redirect_stderr(io.StringIO()) as said,
        contextlib.redirect_stdout(said),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.delenv("CLMT_DATA", raising=False)  # the real tables are not what is typed
        code = main([*words, text])
    assert code in (0, 2) and "Traceback" not in said.getvalue()


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    assert main(small_run(tmp_path)) == 2
    assert "no permission" in capsys.readouterr().err


def test_a_disk_that_is_full_gets_one_line(tmp_path, capsys, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr("pathlib.Path.mkdir", full)
    assert main(small_run(tmp_path)) == 2
    error = capsys.readouterr().err
    assert (
        "No space left on device" in error
        and "Remedy" in error
        and str(tmp_path) in error
        and len(error.splitlines()) == 1
    )


def test_a_metric_that_could_not_be_computed_is_a_dash(tmp_path, capsys):
    assert main(small_run(tmp_path)) == 0
    from clmt_lib.records import store

    (path,) = (tmp_path / "records" / "runs").glob("[!.]*/run.json")
    found = store.body_of(path.read_text(), path)
    found["test"]["pcc_per_drug"], found["interval"]["pcc_per_drug"] = None, [None, None]
    path.write_text(store.line_of(found) + "\n")
    capsys.readouterr()
    assert main(small_run(tmp_path)) == 0
    assert re.search(r"pcc_per_drug +-  \[-, -\]\n", capsys.readouterr().out)


def test_a_grid_folds_its_runs_into_the_table_and_says_what_failed(tmp_path, capsys):
    grid, home = tmp_path / "grid.yaml", tmp_path / "home"
    row = "dataset: simulated, split: mixed, seeds: [0], folds: [0], options: {cells: 48}"
    grid.write_text(f"runs: [{{{row}, models: [effects, nonsense, drug_mean]}}]")
    assert main(["run", "--grid", str(grid), "--records", str(home)]) == 1
    assert "2 done, 1 failed, 2 new in the tables" in capsys.readouterr().out
    assert (home / "results" / "simulated.jsonl").read_text().count('{"at":') == 2
    assert main(["run", "--model", "als", "--records", str(home), "--set", "ranks=[2]"]) == 0
    assert main(["collect", "--records", str(home)]) == 0
    assert "simulated: 1 new" in capsys.readouterr().out


def test_audit_of_a_model_is_clean_and_says_what_was_checked(capsys):
    assert main(["audit", "--split", "drug_blind", "--model", "effects"]) == 0
    shown = capsys.readouterr().out
    assert "clean" in shown and "test responses permuted" in shown


SMALL = ["--options", '{"cells": 48}', "--split", "drug_blind", "--fold", "3"]


def test_a_split_is_shown_and_written(tmp_path, capsys):
    out = tmp_path / "split.csv"
    assert main(["split", *SMALL]) == 0
    sizes = capsys.readouterr().out
    assert re.search(r"^test +\d+ pairs, 48 of 48 cells, 12 of 113 drugs$", sizes, re.MULTILINE)
    assert main(["split", *SMALL, "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith(sizes)
    world = data.load("simulated", cells=48)
    back = data.read_split_csv(out, world)
    made = data.make_split(world, "drug_blind", 0, 3)
    assert all((back.sets()[name] == made.sets()[name]).all() for name in made.sets())


def test_a_split_that_cannot_be_written_gets_one_line(tmp_path, capsys):
    assert main(["split", *SMALL, "--out", str(tmp_path / "no" / "such" / "folder.csv")]) == 2
    assert "No such file or directory" in capsys.readouterr().err
    assert main(["split", "--split", "LDO", "--fold", "99"]) == 2
    assert "fold 99 of drug_blind" in capsys.readouterr().err
