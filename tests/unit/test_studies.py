"""Studies: a base and its variants, each run once, compared on common folds, kept where nothing
changed.
"""

import json
import shutil
from pathlib import Path

import matplotlib

matplotlib.use("agg", force=True)

import matplotlib.pyplot as plt
import numpy as np
import pytest
import yaml

from clmt_lib import data, models, records, tasks
from clmt_lib.book import plotting
from clmt_lib.cli import main
from clmt_lib.data.response import simulated
from clmt_lib.io import DataError
from clmt_lib.records import store

ROOT = Path(__file__).parents[2]
STUDY = {
    "question": "Does a lower rank cost anything?",
    "base": {"model": "als", "settings": {"ridges": [3.0], "ranks": [4]}},
    "runs": [
        {
            "dataset": "simulated",
            "split": "mixed",
            "seeds": [0, 1],
            "folds": [0],
            "options": {"cells": 48},
            "variants": ["low", "means"],
        },
        {
            "dataset": "simulated",
            "split": "drug_blind",
            "seeds": [0],
            "folds": [0],
            "options": {"cells": 48},
            "settings": {"ranks": [5]},
            "variants": ["low"],
            "name": "new drugs",
        },
    ],
    "variants": {"low": {"ranks": [2]}, "means": {"model": "effects"}},
}


def written(tmp_path, **changes):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **changes}))
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A study that has run: (its file, folder of records, what the command printed)."""
    folder = tmp_path_factory.mktemp("study")
    path = written(folder)
    assert main(["study", str(path), "--records", str(folder / "records")]) == 0
    return path, folder / "records"


@pytest.fixture
def copy(done, tmp_path):
    """The same, to be damaged."""
    shutil.copytree(done[1], tmp_path / "records")
    return Path(shutil.copy(done[0], tmp_path)), tmp_path / "records"


def test_settings_are_laid_over_each_other_and_the_base_runs_once_in_each_row(tmp_path):
    runs = [
        (name, c.split, c.seed, c.model, c.settings)
        for name, c in records.read_study(written(tmp_path))
    ]
    assert runs == [
        ("base", "mixed", 0, "als", {"ridges": [3.0], "ranks": [4]}),
        ("low", "mixed", 0, "als", {"ridges": [3.0], "ranks": [2]}),
        ("means", "mixed", 0, "effects", {}),
        ("base", "drug_blind", 0, "als", {"ridges": [3.0], "ranks": [5]}),
        ("low", "drug_blind", 0, "als", {"ridges": [3.0], "ranks": [2]}),
        ("base", "mixed", 1, "als", {"ridges": [3.0], "ranks": [4]}),
        ("low", "mixed", 1, "als", {"ridges": [3.0], "ranks": [2]}),
        ("means", "mixed", 1, "effects", {}),
    ]


def row(**changes):
    return [{**STUDY["runs"][0], **changes}]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"question": 3}, "the study, question: input should be a valid string"),
        ({"base": {"settings": {}}}, "base lacks 'model'"),
        (
            {"runs": row(variants=["nix"])},
            "row 1 of runs: unknown variant 'nix'.*use some of: low, means",
        ),
        (
            {"runs": row() + row(seeds=[1], variants=["low"])},
            "'low' runs twice on simulated mixed, seed 1, fold 0",
        ),
        ({"runs": row(variants=["low", "low"])}, "'low' runs twice"),
        ({"runs": row(fold=[0])}, "row 1 of runs has an unknown key 'fold'"),
        (
            {"runs": row(seeds=["0"])},
            "row 1 of runs, entry 1 of seeds: input should be a valid integer",
        ),
        ({"runs": row(folds=[])}, "row 1 of runs, folds: list should have at least 1 item"),
        ({"runs": row(settings=[1])}, "row 1 of runs, settings: .1. is not a set of keys"),
        (
            {"variants": {"low": {"ridges": [3.0], "ranks": [4]}, "means": {"model": "effects"}}},
            "variant 'low' is the base on simulated mixed",
        ),
        (
            {"variants": {"low": [2], "means": {"model": "effects"}}},
            "variants, low: .2. is not a set of keys",
        ),
        (
            {"variants": {"base": {"ranks": [2]}}, "runs": row(variants=["base"])},
            "variant 'base' is not a variant",
        ),
        (
            {"variants": {"low": {"settings": {"ranks": [2]}}, "means": {"model": "effects"}}},
            "variant 'low' lacks 'model'",
        ),
        ({"extra": 1}, "the study has an unknown key 'extra'.*use the keys question, base"),
        ({"base": {"model": "als", "settings": {"ridges": [float("nan")]}}}, "nan is not a finite"),
    ],
)
def test_a_study_that_cannot_be_meant_is_refused_with_file_and_key(tmp_path, changes, message):
    path = written(tmp_path, **changes)
    with pytest.raises(DataError, match=f"(?s)small.yaml.*{message}|{message}.*"):
        records.read_study(path)


@pytest.mark.parametrize("body", [b"runs: [", b"\xff\xfe", b"- 1", b"", b"runs"])
def test_a_file_that_is_no_study_is_refused(tmp_path, body):
    (tmp_path / "bad.yaml").write_bytes(body)
    with pytest.raises(DataError, match="bad.yaml"):
        records.read_study(tmp_path / "bad.yaml")
    with pytest.raises(DataError, match="not a study"):
        records.read_study(tmp_path / "missing.yaml")


def test_a_difference_is_the_difference_of_means_with_its_interval_and_the_metric_of_its_split(
    done,
):
    frame = records.study("small", done[1]).set_index(["variant", "split"])
    means = frame.loc["means", "mixed"]
    assert (
        means["metric"] == "rmse"
        and means["folds"] == 2
        and means["name"] == ""
        and json.loads(means["options"]) == {"cells": 48}
    )
    assert (
        means["difference"] == pytest.approx(means["value"] - means["base"], abs=2e-6)
        and means["low"] < means["difference"] < means["high"]
    )
    table = records.table(done[1])
    own = table.query("split == 'mixed' and model == 'effects'")["rmse"].mean()
    assert means["value"] == pytest.approx(own, abs=2e-6)
    blind = frame.loc["low", "drug_blind"]
    assert (
        blind["metric"] == "pcc_per_drug" and blind["name"] == "new drugs" and blind["folds"] == 1
    )
    assert (
        records.study("small", done[1], metric="rmse")
        .set_index(["variant", "split"])
        .loc[("low", "drug_blind"), "metric"]
        == "rmse"
    )


def test_a_study_record_is_no_run_and_names_its_runs(done):
    assert (
        len(records.table(done[1])) == 8 and "small" not in records.table(done[1])["id"].str.cat()
    )
    body = records.read("study-small", done[1])
    assert body.config["question"] == STUDY["question"] and body.metrics["runs"] == {
        "done": 5,
        "planned": 5,
        "left_out": 0,
    }
    assert all(
        records.exists(name, done[1])
        for found in body.metrics["rows"]
        for pair in found["runs"]
        for name in pair
    )


def test_what_was_compared_already_is_kept_without_draws_or_a_fit(copy, monkeypatch):
    path, folder = copy
    before = records.read("study-small", folder).metrics
    shutil.rmtree(folder / "runs")
    monkeypatch.setattr(records.runs, "_make", lambda *_: pytest.fail("computed again"))
    assert records.summarise_study(path, folder).metrics == before


def test_draws_that_were_not_kept_are_made_again_and_that_is_said(copy):
    path, folder = copy
    before = records.read("study-small", folder).metrics
    shutil.rmtree(folder / "runs")
    (folder / "results" / "derived" / "study.json").unlink()
    assert records.summarise_study(path, folder, remake=False) is None
    said = []
    assert records.summarise_study(path, folder, say=said.append).metrics == before
    assert len(said) == 8 and all(
        "made again, because its bootstrap draws" in line for line in said
    )


def test_a_comparison_whose_runs_are_elsewhere_is_kept_and_a_new_run_is_counted(copy):
    path, folder = copy
    table = folder / "results" / "simulated.jsonl"
    lines = dict(store.read_lines(table))
    gone = next(name for name in lines if name.startswith("simulated-mixed-s1-f0-effects-"))
    shutil.rmtree(folder / "runs" / gone)
    del lines[gone]
    store.write_lines(table, lines.values())
    counted = {"planned": 5, "left_out": 0}
    assert records.summarise_study(path, folder).metrics["runs"] == {"done": 5, **counted}
    (folder / "results" / "derived" / "study.json").unlink()
    assert records.summarise_study(path, folder).metrics["runs"] == {"done": 4, **counted}
    assert records.study("small", folder).query("variant == 'means'")["folds"].item() == 1
    records.run_study(path, folder, say=lambda line: None)
    records.summarise_study(path, folder)
    assert records.study("small", folder).query("variant == 'means'")["folds"].item() == 2


def test_a_comparison_of_other_runs_than_those_planned_is_made_again(copy, monkeypatch):
    from clmt_lib.models.baselines.means import Means

    path, folder = copy
    monkeypatch.setattr(
        Means, "version", 99
    )  # its runs get other ids: the stored comparison is of code that is gone
    assert records.summarise_study(path, folder).metrics["runs"] == {
        "done": 3,
        "planned": 5,
        "left_out": 0,
    }
    assert "means" not in records.study("small", folder)["variant"].tolist()


def test_a_failed_run_is_told_and_the_others_are_compared(tmp_path, capsys):
    variants = {"low": {"ranks": [2]}, "broken": {"ranks": "two"}, "means": {"model": "nonsense"}}
    path = written(
        tmp_path, variants=variants, runs=row(seeds=[0], variants=["broken", "means", "low"])
    )
    assert main(["study", str(path), "--records", str(tmp_path / "records")]) == 1
    out = capsys.readouterr().out
    assert out.count("FAILED") == 2 and "2 done, 2 failed" in out and "1 of 3 comparisons in" in out
    assert records.study("small", tmp_path / "records")["variant"].tolist() == ["low"]


def test_report_only_runs_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(records.runs, "_make", lambda *_: pytest.fail("computed"))
    assert (
        main(
            [
                "study",
                str(written(tmp_path)),
                "--records",
                str(tmp_path / "records"),
                "--report-only",
            ]
        )
        == 0
    )
    assert "no variant has run" in capsys.readouterr().out
    frame = records.study("small", tmp_path / "records")
    assert frame.empty and set(frame) >= {
        "variant",
        "dataset",
        "split",
        "metric",
        "folds",
        "base",
        "value",
        "difference",
        "low",
        "high",
        "folds_better",
    }


def test_two_processes_divide_a_study(tmp_path, done, capfd):
    assert main(["study", str(done[0]), "--records", str(tmp_path), "--jobs", "2"]) == 0
    assert "5 of 5 comparisons in" in capfd.readouterr().out
    assert records.study("small", tmp_path).equals(records.study("small", done[1]))


def test_signals_may_be_named_in_a_configuration():
    world = data.load("simulated", cells=24, signals={"text": 0})
    assert (
        world.checksum
        == data.load("simulated", cells=24, signals=simulated.Signals(text=0)).checksum
    )
    for bad in ({"txt": 0}, {"text": "none"}, [1], 3):
        with pytest.raises(DataError, match="cannot be read"):
            data.load("simulated", cells=24, signals=bad)


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "experiments" / "configs" / "studies").glob("*.yaml")),
    ids=lambda path: path.stem,
)
def test_the_studies_of_the_book_can_be_read_and_their_models_built(path):
    runs = records.read_study(path)
    for _, config in runs:
        models.build(config.model, config.split, **config.settings)
    by_chance = {
        "seed" in models.registry.model_class(config.model).known_settings() for _, config in runs
    }
    assert {"base"} | ({"another_seed"} if any(by_chance) else set()) <= {
        variant for variant, _ in runs
    }, "without `another_seed` nobody knows the size of nothing"


@pytest.mark.slow
def test_the_template_notebook_makes_the_record_that_the_command_makes(tmp_path):
    pytest.importorskip("papermill")
    import nbformat

    small = {"members": 1, "steps": 40, "hidden": 32, "dim": 16, "message": 16}
    small |= {"cell_views": ["expression"], "drug_views": ["fingerprint"]}  # few imports
    path = written(
        tmp_path,
        base={"model": "clmt", "settings": small},
        runs=row(seeds=[0], variants=["low"]),
        variants={"low": {"alignment": "none"}},
    )
    import papermill

    template, folder = ROOT / "experiments" / "templates" / "ablation.ipynb", tmp_path / "records"
    _, variant = (config for _, config in records.read_study(path))
    papermill.execute_notebook(
        template,
        tmp_path / "out.ipynb",
        {
            **variant.model_dump(),
            "settings": json.dumps(variant.settings),
            "options": json.dumps(variant.options),
            "records_folder": str(folder),
            "device": "cpu",
        },
        kernel_name="python3",
        progress_bar=False,
    )
    notebook = nbformat.read(tmp_path / "out.ipynb", 4)
    outputs = json.dumps([cell.get("outputs") for cell in notebook.cells])
    record = records.run(variant, folder)
    assert (
        record.name in outputs
        and "image/png" in outputs
        and f"{record.metrics['test']['rmse']:.3f}" in outputs
    )
    calm = records.run(variant, tmp_path / "calm")
    assert calm.name == record.name and calm.metrics["test"]["rmse"] == pytest.approx(
        record.metrics["test"]["rmse"], abs=1e-3
    )


def test_the_live_study_of_chapter_07_still_says_what_its_page_says(tmp_path):
    """Trained numbers are not compared by nbval: the first fold's error, and what it costs to take
    expression away, to a tolerance.
    """
    base = {
        "members": 1,
        "alignment": "none",
        "steps": 60,
        "hidden": 32,
        "dim": 16,
        "message": 16,
        "learning_rate": 0.01,
        "weight_decay": 0.1,
        "drop": 0.5,
        "drop_in": 0.2,
        "hide_cells": 0.0,
    }
    base |= {"cell_views": ["expression", "mutation"], "drug_views": ["annotation"]}
    runs = row(split="cell_blind", seeds=[0], options={"seed": 0}, variants=["off"])
    path = written(
        tmp_path,
        base={"model": "clmt", "settings": base},
        runs=runs,
        variants={"off": {"cell_views": ["mutation"]}},
    )
    assert records.run_study(path, tmp_path / "records", device="cpu", say=lambda line: None) == []
    records.summarise_study(path, tmp_path / "records")
    found = records.study("small", tmp_path / "records").iloc[0]
    assert (
        found["base"] == pytest.approx(1.233, abs=0.02)
        and found["difference"] == pytest.approx(0.062, abs=0.03)
        and found["low"] > 0
    )


def test_a_verdict_needs_the_interval_the_direction_the_margin_and_enough_folds():
    import pandas as pd

    rows = [
        ("rmse", 0.03, 0.05, 3, "worse"),
        ("rmse", -0.05, -0.03, 3, "better"),
        ("rmse", -0.01, 0.05, 3, "no difference found"),
        ("rmse", -0.009, 0.009, 3, "equivalent"),
        ("rmse", 0.03, 0.05, 2, "too few folds"),
        ("pcc_per_drug", 0.01, 0.03, 5, "better"),
        ("pcc_per_drug", -0.03, -0.01, 5, "worse"),
        ("pcc_per_drug", -0.006, 0.004, 5, "no difference found"),
        ("pcc_per_drug", -0.004, 0.004, 5, "equivalent"),
    ]
    frame = pd.DataFrame(rows, columns=["metric", "low", "high", "folds", "word"])
    assert records.verdicts(frame.assign(base=1.0)).tolist() == frame["word"].tolist()
    assert records.verdicts(frame.drop(columns="folds")).iloc[4] == "worse"
    assert len(records.verdicts(frame.iloc[:0])) == 0


def test_a_study_knows_how_splits_and_trainings_fell_where_its_runs_are_at_hand(tmp_path):
    path = written(tmp_path, runs=[{**STUDY["runs"][0], "seeds": [0, 1, 2], "variants": ["low"]}])
    assert records.run_study(path, tmp_path / "records", say=str) == []
    records.summarise_study(path, tmp_path / "records")
    records.collect(tmp_path / "records")
    name = path.stem
    row = records.study(name, tmp_path / "records").iloc[0]
    body = records.read(f"study-{name}", tmp_path / "records").metrics["rows"][0]
    gaps = [
        records.find(variant, tmp_path / "records").metrics["test"][row["metric"]]
        - records.find(base, tmp_path / "records").metrics["test"][row["metric"]]
        for base, variant in body["runs"]
    ]
    assert np.mean(gaps) == pytest.approx(row["difference"], abs=1e-5)
    found = tasks.judge(row["entities"], gaps, row["metric"], row["base"])
    assert (row["low"], row["high"]) == (found.low, found.high)
    assert len(gaps) == 3 and row["low"] <= tasks.luck(gaps)[0] + 1e-12


@pytest.fixture
def closed():
    with matplotlib.rc_context():
        yield
    plt.close("all")


def forest():
    import pandas as pd

    shared = {
        "dataset": "gdsc2",
        "split": "mixed",
        "metric": "rmse",
        "folds": 3,
        "base": 1.0,
        "value": 1.0,
        "name": "",
        "options": "{}",
    }
    gaps = {
        "another_seed": (0.0, -0.02, 0.02, 1),
        "worse": (0.1, 0.05, 0.15, 0),
        "better": (-0.1, -0.15, -0.05, 3),
    }
    return pd.DataFrame(
        [
            {
                **shared,
                "variant": name,
                "difference": d,
                "low": low,
                "high": high,
                "folds_better": n,
            }
            for name, (d, low, high, n) in gaps.items()
        ]
    )


def test_a_forest_shows_better_worse_and_nothing_apart(closed):
    (ax,) = plotting.study(forest(), {"worse": "much worse"})
    assert dots(ax) == [("s", True), ("D", False), ("o", False)]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "another seed",
        "much worse",
        "better",
    ]
    assert "better ←" in ax.get_xlabel() and {"1/3", "0/3", "3/3"} <= {
        text.get_text() for text in ax.texts
    }
    (ax,) = plotting.study(forest().assign(metric="pcc_per_drug"))
    assert [marker for marker, _ in dots(ax)] == ["s", "o", "D"] and "→ better" in ax.get_xlabel()


def test_a_forest_of_two_splits_has_two_panels_and_needs_its_own_figure(closed):
    import pandas as pd

    both = pd.concat(
        [forest(), forest().assign(split="drug_blind", metric="pcc_per_drug").iloc[:2]]
    )
    axes = plotting.study(both)
    assert len(axes) == 2 and [ax.get_title() for ax in axes] == [
        "GDSC2, mixed",
        "GDSC2, drug-blind",
    ]
    with pytest.raises(ValueError, match="2 panels"):
        plotting.study(both, ax=plt.subplots()[1])


def test_three_panels_stand_above_each_other_and_name_their_axis_once(closed):
    import pandas as pd

    axes = plotting.study(pd.concat(forest().assign(name=f"world {i}") for i in range(3)))
    places = [ax.get_subplotspec().rowspan.start for ax in axes]
    assert places == [0, 1, 2] and [bool(ax.get_xlabel()) for ax in axes] == [False, False, True]
    assert len({ax.get_xlim() for ax in axes}) == 1


def dots(ax):
    return [
        (line.get_marker(), line.get_markerfacecolor() == "none")
        for line in ax.lines
        if len(line.get_xdata()) == 1
    ]


def test_a_forest_draws_the_verdicts_that_are_told(closed):
    import pandas as pd

    rng, shared = (
        np.random.default_rng(0),
        {"dataset": "gdsc2", "metric": "rmse", "folds": 3, "folds_better": 1, "base": 1.0},
    )
    rows = []
    for split, name in (
        ("mixed", ""),
        ("mixed", "a"),
        ("cell_blind", "a"),
        ("cell_blind", "b"),
        ("tissue_blind", ""),
    ):
        for variant in ("another_seed", *"uvwxyz")[
            (name, split) in (("a", "mixed"), ("", "tissue_blind")) :
        ]:
            middle, half = rng.normal(0, 0.02), rng.choice([0.004, 0.01])
            rows.append(
                {
                    **shared,
                    "variant": variant,
                    "split": split,
                    "name": name,
                    "difference": middle,
                    "low": middle - half,
                    "high": middle + half,
                }
            )
    frame = pd.DataFrame(rows)
    told, looks = (
        records.verdicts(frame),
        {
            "no difference found": ("s", True),
            "too few folds": ("s", True),
            "equivalent": ("s", False),
            "worse": ("D", False),
            "better": ("o", False),
        },
    )
    drawn = [dot for ax in plotting.study(frame) for dot in dots(ax)]
    assert set(told) == set(looks) - {"too few folds"} and drawn == [
        looks[verdict] for verdict in told
    ]


def test_a_study_without_a_record_draws_a_note_not_an_error(closed, tmp_path):
    (ax,) = plotting.study(records.study("nix", tmp_path))
    assert "no record yet" in ax.texts[0].get_text()


def test_a_run_history_draws_members_and_parts_and_says_when_there_is_none(closed):
    import pandas as pd

    rows = [
        {"member": m, "step": s, "error": 1.0 / s, "alignment": 0.0, "valid": 2.0 / s}
        for m in (0, 1)
        for s in (1, 2)
    ]
    ax = plotting.run_history(pd.DataFrame(rows))
    assert len(ax.lines) == 4 and [t.get_text() for t in ax.get_legend().get_texts()] == [
        "error",
        "valid",
    ]
    assert "no learning curve" in plotting.run_history(pd.DataFrame()).texts[0].get_text()


def test_what_is_also_measured_sees_every_model_that_is_fitted_and_none_that_is_known(tmp_path):
    seen = []

    def also(config, model, benchmark, split):
        positions = benchmark.pairs[split.test]
        seen.append((config.split, config.model, np.isfinite(model.predict(positions)).all()))

    path = written(tmp_path, runs=[{**STUDY["runs"][1], "variants": ["low"]}])
    assert not records.run_study(path, tmp_path / "records", say=str, also=also)
    assert seen == [("drug_blind", "als", True)] * 2
    assert not records.run_study(path, tmp_path / "records", say=str, also=also)
    assert len(seen) == 2
    with pytest.raises(DataError, match="one process"):
        records.run_study(path, tmp_path / "records", jobs=2, also=also)
