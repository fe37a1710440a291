"""Transfer: no response of the target enters a fit, signs are turned once, what is new is new, and
a killed run goes on.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny

from clmt_lib import models, records
from clmt_lib.config import Transfer
from clmt_lib.data import DrugResponse, load
from clmt_lib.data.response import simulated, transfer
from clmt_lib.io import DataError
from clmt_lib.records import transfer as runs
from clmt_lib.tasks import metrics
from clmt_lib.views.wording import HOW, in_the_words_of

SOME = simulated.facts()["name"].tolist()[:48]
FAST = ("cell_mean", "kernel_annotation")


@pytest.fixture(scope="module")
def screens():
    return transfer.invented_screens(load("simulated", cells=48, drugs=SOME), seed=1)


@pytest.fixture(scope="module")
def joined(screens):
    return transfer.join(*screens, folds=3)


@pytest.fixture(scope="module")
def found(joined, tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    return {
        name: {
            fold: {kind: runs.fit(joined, name, {}, fold, kind, folder) for kind in runs.ROLES}
            for fold in (0, 1)
        }
        for name in FAST
    }


# The sign


def test_a_higher_value_means_a_less_sensitive_line_on_every_assay(screens, joined):
    y = np.array([0.5, 2.0, 7.0])
    assert (
        transfer.resistance(y, "ln_ic50").tolist()
        == y.tolist()
        == transfer.resistance(y, "auc").tolist()
    )
    assert transfer.resistance(y, "act_area").tolist() == (-y).tolist()
    source, target = screens
    both = np.isfinite(joined.y_source)
    assert (
        metrics.spearman(joined.y[both], joined.y_source[both]) > 0.6
        and target.target == "act_area"
    )  # an area falls where an IC50 rises
    with pytest.raises(DataError, match="unknown target 'ec50'.*ln_ic50, act_area, auc"):
        transfer.resistance(y, "ec50")


# Who meets whom


def test_the_union_holds_every_entity_once_and_the_sources_responses_alone(screens, joined):
    source, target = screens
    union = joined.benchmark
    assert len(union) == len(source) and np.array_equal(union.y, source.y)
    assert union.cells.index.is_unique and set(union.cells.index) == set(source.cells.index) | set(
        target.cells.index
    )
    assert union.drugs["compound"].nunique() == len(
        set(source.drugs["compound"]) | set(target.drugs["compound"])
    )
    line, drug = joined.pairs.T
    said = pd.DataFrame(
        {
            "line": union.cells.index[line],
            "compound": union.drugs["compound"].to_numpy()[drug],
            "y": -joined.y,
        }
    )
    asked = target.responses.rename(columns={"y": "measured"}).assign(
        line=target.cells.index[target.pairs[:, 0]],
        compound=target.drugs["compound"].to_numpy()[target.pairs[:, 1]],
    )
    both = said.merge(asked, on=["line", "compound"])
    assert (
        len(both) >= len(said)
        and (
            both.groupby(["line", "compound"])[["y", "measured"]].apply(
                lambda g: (g["y"] == g["measured"]).any()
            )
        ).all()
    )
    np.testing.assert_array_equal(
        union.omics["expression"].loc[target.cells.index], target.omics["expression"]
    )


def test_one_compound_under_two_names_is_one_and_its_second_id_is_not_asked_twice():
    made = tiny.tables()
    made["responses"] = made["responses"][made["responses"]["drug"] != "1001"]
    source = DrugResponse.from_tables("one", **made)
    made = tiny.tables(seed=3)
    made["drugs"]["name"] = made["drugs"]["name"].str.upper()
    made["drugs"].index = [f"x{i}" for i in range(len(made["drugs"]))]
    made["responses"]["drug"] = made["drugs"].index[made["responses"]["drug"].astype(int) - 1001]
    target = DrugResponse.from_tables("two", **made)
    joined = transfer.join(source, target, folds=2)
    assert joined.benchmark.n_drugs == source.n_drugs and joined.counts["new_compounds"] == 0
    assert (
        joined.counts["asked"]["drugs"] == target.n_drugs - 1
    )  # benzene stands in the target under two ids, and is asked about under one
    benzene = np.unique(
        joined.pairs[:, 1][
            joined.benchmark.drugs["name"].to_numpy()[joined.pairs[:, 1]] == "benzene"
        ]
    )
    assert (
        len(benzene) == 1 and joined.benchmark.drugs.index[benzene[0]] == "1002"
    )  # the id with responses, not the empty one


def test_screens_on_different_genes_or_with_little_in_common_are_refused(screens):
    source, target = screens
    with pytest.raises(DataError, match="different genes of expression.*one set of omics"):
        transfer.join(
            source,
            target.with_views(
                cell={**target.omics, "expression": target.omics["expression"].iloc[:, 1:]}
            ),
        )
    with pytest.raises(DataError, match="shared, 500 folds need as many.*Remedy"):
        transfer.join(source, target, folds=500)


def test_a_readers_options_reach_it_and_withheld_lines_are_refused_in_training(
    screens, monkeypatch
):
    source, target = screens
    asked, kept_back = (
        [],
        {"lines": {target.cells.index[0]} - set(source.cells.index), "drugs": set(), "in_table": 3},
    )
    monkeypatch.setattr(transfer, "SOURCES", {"gdsc2": lambda folder: source})
    monkeypatch.setattr(
        transfer, "load_benchmark", lambda name, **options: asked.append((name, options)) or target
    )
    monkeypatch.setattr(transfer, "withheld", lambda folder=None, name=None: kept_back)
    monkeypatch.setattr(transfer, "_of_compounds", lambda ids, joined, folder: 0)
    found = transfer.load("gdsc2", "ccle", 3, target="act_area").counts["withheld"]
    assert asked == [("ccle", {"folder": None, "target": "act_area"})] and found == {
        "lines_in_table": 3,
        "lines_tested": len(kept_back["lines"]),
        "compounds_tested": 0,
        "trained": 0,
    }
    kept_back["lines"] = {source.cells.index[0]}
    with pytest.raises(DataError, match="withheld lines or drugs: they are for testing alone"):
        transfer.load("gdsc2", "ccle", 3)
    with pytest.raises(DataError, match="unknown source 'gdsc1'"):
        transfer.load("gdsc1", "ccle")


# Who is new


@pytest.mark.parametrize("fold", range(3))
def test_what_is_called_new_has_no_response_in_training_and_what_is_called_seen_has(joined, fold):
    category, origin = joined.categories(fold)
    known = joined.benchmark.drugs["compound"].to_numpy()
    for kind in transfer.CATEGORIES:
        split = joined.split(fold, kind)
        fitted = joined.benchmark.pairs[np.concatenate([split.train, split.valid])]
        cells, compounds, pairs = (
            set(fitted[:, 0]),
            set(known[fitted[:, 1]]),
            set(map(tuple, fitted)),
        )
        rows = joined.pairs[category == kind]
        assert len(rows)
        new = {
            "line": [c not in cells for c in rows[:, 0]],
            "drug": [d not in compounds for d in known[rows[:, 1]]],
            "pair": [tuple(pair) not in pairs for pair in rows],
        }
        expected = {
            "seen": (0, 0, 0),
            "new_pair": (0, 0, 1),
            "new_line": (1, 0, 1),
            "new_drug": (0, 1, 1),
            "new_both": (1, 1, 1),
        }[kind]
        assert tuple(
            int(np.mean(new[what])) for what in ("line", "drug", "pair")
        ) == expected and all(len(set(flags)) == 1 for flags in new.values())
    assert (
        set(origin[category == "seen"]) == {"held_out"}
        and np.isfinite(joined.y_source[origin == "held_out"]).all()
        and np.isnan(joined.y_source[origin == "natural"]).all()
    )


def test_over_the_folds_every_shared_line_and_drug_is_held_out_once(joined):
    split = [joined.split(fold, "seen") for fold in range(3)]
    for side, fold_of in ((0, joined.line_fold), (1, joined.drug_fold)):
        for fold in range(3):
            inside = np.unique(joined.benchmark.pairs[split[fold].train, side])
            assert not np.isin(np.flatnonzero(fold_of == fold), inside).any()
    assert (
        set(joined.line_fold) == {-1, 0, 1, 2}
        and joined.counts["shared_lines"] == (joined.line_fold >= 0).sum()
    )


@pytest.mark.parametrize("category, column", [("new_line", 0), ("new_drug", 1)])
def test_settings_are_chosen_on_pairs_that_are_new_in_the_same_way(joined, category, column):
    split = joined.split(0, category)
    entity = (
        joined.benchmark.pairs[:, 0]
        if column == 0
        else joined.benchmark.drugs["compound"].to_numpy()[joined.benchmark.pairs[:, 1]]
    )
    assert (
        not set(entity[split.train]) & set(entity[split.valid])
        and split.kind == transfer.VALID[category]
    )
    everything = np.sort(np.concatenate([split.train, split.valid, split.test]))
    assert np.array_equal(everything, np.arange(len(joined.benchmark)))


# No leak


def test_changing_every_response_of_the_target_changes_no_prediction(screens, joined, tmp_path):
    source, target = screens
    rng = np.random.default_rng(9)
    other = transfer.join(
        source,
        replace(target, y=rng.permutation(target.y)),
        folds=3,
    )
    assert other.benchmark.checksum == joined.benchmark.checksum and not np.array_equal(
        other.y, joined.y
    )
    for kind in runs.ROLES:
        one, two = (
            runs.fit(which, "kernel_annotation", {}, 0, kind, tmp_path / str(i))
            for i, which in enumerate((joined, other))
        )
        assert np.array_equal(one, two)


def test_changing_the_sources_held_out_responses_changes_no_prediction(joined, tmp_path):
    split = joined.split(0, "new_line")
    y = joined.benchmark.y.copy()
    y[split.test] = np.random.default_rng(0).permutation(y[split.test]) + 5
    other = replace(
        joined,
        benchmark=replace(joined.benchmark, y=y),
    )
    one, two = (
        runs.fit(which, "kernel_annotation", {}, 0, "cell_blind", tmp_path / str(i))
        for i, which in enumerate((joined, other))
    )
    assert np.array_equal(one, two)


# Scores


def test_scores_are_those_of_a_loop_and_the_ceiling_is_the_sources_own_measurement(joined, found):
    rows = pd.DataFrame(
        runs.compare(joined, np.full(joined.benchmark.n_drugs, ""), found, draws=50)
    )
    row = rows.query(
        "category == 'new_line' and origin == 'held_out' and model == 'kernel_annotation' and "
        "metric == 'spearman_per_drug'"
    ).iloc[0]
    scores, inside = [], []
    for fold in (0, 1):
        category, origin = joined.categories(fold)
        at = np.flatnonzero((category == "new_line") & (origin == "held_out"))
        predicted = found["kernel_annotation"][fold]["cell_blind"][tuple(joined.pairs[at].T)]
        for drug in np.unique(joined.pairs[at, 1]):
            mine = joined.pairs[at, 1] == drug
            if mine.sum() >= metrics.FEWEST:
                scores.append(metrics.spearman(joined.y[at][mine], predicted[mine]))
                inside.append(metrics.spearman(joined.y_source[at][mine], predicted[mine]))
    assert (
        row["value"] == pytest.approx(np.mean(scores))
        and row["within"] == pytest.approx(np.mean(inside))
        and row["folds"] == 2
    )
    assert row["interval"][0] < row["value"] < row["interval"][1]
    ceiling = rows.query("model == @runs.CEILING and metric == 'spearman_per_drug'").set_index(
        "category"
    )
    assert (
        (ceiling["value"] > 0.6).all()
        and ceiling["within"].isna().all()
        and set(ceiling["origin"]) == {"held_out"}
    )
    assert (
        rows.query("origin == 'held_out'").groupby(["category", "metric"])["pairs"].nunique() == 1
    ).all()  # model and ceiling on the same pairs


def test_a_difference_is_paired_and_taken_from_the_best_rung(joined, found):
    rows = pd.DataFrame(
        runs.compare(joined, np.full(joined.benchmark.n_drugs, ""), found, draws=200)
    )
    mine = rows.query(
        "category == 'new_drug' and origin == 'held_out' and metric == 'spearman_per_drug' and "
        "model != @runs.CEILING"
    ).set_index("model")
    best = mine["value"].idxmax()
    other = mine.drop(best).iloc[0]
    assert (
        other["against_best"]["best"] == best
        and other["against_best"]["mean"] == pytest.approx(other["value"] - mine["value"][best])
        and not isinstance(mine["against_best"][best], dict)
    )


def test_a_bound_is_counted_and_the_score_without_bounds_stands_beside(joined, found):
    bounds = replace(joined, censored=np.arange(len(joined.y)) % 4 == 0)
    rows = pd.DataFrame(
        runs.compare(bounds, np.full(joined.benchmark.n_drugs, ""), found, draws=20)
    )
    assert rows["censored"].between(0.15, 0.35).all() and rows["value_measured"].notna().all()
    assert (
        pd.DataFrame(runs.compare(joined, np.full(joined.benchmark.n_drugs, ""), found, draws=20))[
            "value_measured"
        ]
        .isna()
        .all()
    )


# Words


def test_a_drug_takes_the_words_of_its_compound_then_of_its_family_then_keeps_its_own():
    reference = pd.DataFrame(
        {
            "name": ["trametinib", "Erlotinib", "stranger"],
            "inchikey": ["LIRYPHYGHXZJBZ-UHFFFAOYSA-N", None, None],
            "target": ["MEK1, MEK2", "EGFR", None],
            "pathway": ["ERK MAPK signaling", "EGFR signaling", "Other"],
        }
    )
    drugs = pd.DataFrame(
        {
            "name": ["GSK1120212", "another", "third", "stranger"],
            "inchikey": ["LIRYPHYGHXZJBZ-AAAAAAAAAA-N", None, None, None],
            "target": ["x", "MAP2K1, MAP2K2", "S1PR3", None],
            "pathway": None,
        }
    )
    out, how = in_the_words_of(drugs, reference)
    assert how.tolist() == [HOW[0], HOW[1], HOW[2], HOW[2]]
    assert (
        out["target"].tolist()[:3] == ["MEK1, MEK2", "MEK1, MEK2", "S1PR3"]
        and out["pathway"].tolist()[:2] == ["ERK MAPK signaling"] * 2
    )
    assert drugs["target"].iloc[0] == "x"  # the table handed in is left as it was


# Files and records

PLAN = {
    "question": "?",
    "source": "gdsc2",
    "folds": 2,
    "targets": [{"dataset": "ccle"}],
    "models": {"cell_mean": {}, "effects": {"folds": [0]}},
}


def test_a_bad_file_gives_one_message(tmp_path):
    import yaml

    path = tmp_path / "plan.yaml"
    bad = [
        PLAN | {"folds": "two"},
        {key: PLAN[key] for key in list(PLAN)[1:]},
        PLAN | {"targets": [{"fold": 1}]},
        PLAN | {"models": {"oracle": {}}},
        PLAN | {"models": {"als": {"rank": 3}}},
        3,
    ]
    for body in bad:
        path.write_text(yaml.safe_dump(body))
        with pytest.raises(DataError) as caught:
            runs.read_transfer(path)
        assert "Remedy: " in str(caught.value) and "\n" not in str(caught.value)
    path.write_text("{")
    with pytest.raises(DataError, match="plan.yaml: not a transfer"):
        runs.read_transfer(path)


@pytest.fixture
def laboratory(screens, monkeypatch):
    """`run_transfer` on the invented screens instead of files."""
    monkeypatch.setattr(
        runs,
        "load_transfer",
        lambda plan, row, folder=None: (
            joined_of(screens, plan.folds),
            np.full(joined_of(screens, plan.folds).benchmark.n_drugs, ""),
        ),
    )


def joined_of(screens, folds):
    return transfer.join(*screens, folds=folds)


def test_a_second_run_fits_nothing_and_writes_the_same_bytes(laboratory, tmp_path, monkeypatch):
    import yaml

    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(PLAN))
    (record,) = runs.run_transfer(
        tmp_path / "plan.yaml", tmp_path / "records", say=lambda line: None
    )
    first = record.metrics
    monkeypatch.setattr(models, "build", lambda *a, **k: pytest.fail("fitted again"))
    runs.run_transfer(tmp_path / "plan.yaml", tmp_path / "records", say=lambda line: None)
    assert records.read(record.name, tmp_path / "records").metrics == first
    frame = runs.transfers("gdsc2", "ccle", tmp_path / "records")
    assert (
        set(frame["model"]) == {runs.CEILING, "cell_mean", "effects"}
        and frame.query("model == 'effects'")["folds"].eq(1).all()
        and frame["low"].le(frame["high"]).all()
    )
    assert (
        runs.transfer_counts("gdsc2", "ccle", tmp_path / "records")["counts"]["shared_lines"] > 10
    )


def test_records_that_are_not_there_are_an_empty_frame_not_an_error(tmp_path):
    frame = runs.transfers("gdsc2", "ccle", tmp_path)
    assert (
        frame.empty
        and {"model", "value", "gap"} <= set(frame.columns)
        and runs.transfer_counts("gdsc2", "ccle", tmp_path) is None
    )


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from clmt_lib import models, records
from clmt_lib.data import load
from clmt_lib.data.response import simulated, transfer
from clmt_lib.records import transfer as runs
world = load("simulated", cells=48, drugs=simulated.facts()["name"].tolist()[:48])
joined, built = transfer.join(*transfer.invented_screens(world, seed=1), folds=3), models.build
def build(name, **settings):
    if len(list(Path(sys.argv[1]).glob("runs/.fits-transfer/*.npy"))) == 2:
        os.kill(os.getpid(), 9)
    return built(name, **settings)
models.build = build
for fold in (0, 1):
    for kind in runs.ROLES:
        runs.fit(joined, "cell_mean", {}, fold, kind, sys.argv[1])
"""


def test_a_killed_run_keeps_its_finished_fits_and_nothing_half_written(joined, tmp_path):
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(root)],
        capture_output=True,
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    kept = sorted((tmp_path / "runs" / ".fits-transfer").iterdir())
    assert (
        done.returncode == -9 and len(kept) == 2 and not any(".part" in path.name for path in kept)
    )
    before = [path.stat().st_mtime_ns for path in kept]
    tables = [runs.fit(joined, "cell_mean", {}, 0, kind, tmp_path) for kind in runs.ROLES]
    assert (
        [path.stat().st_mtime_ns for path in kept] == before
        and all(np.isfinite(table).all() for table in tables)
        and len(list((tmp_path / "runs" / ".fits-transfer").iterdir())) == 3
    )


def test_the_committed_file_is_a_transfer_and_every_setting_is_known():
    plan = runs.read_transfer(Path(__file__).parents[2] / "experiments/configs/transfer.yaml")
    for name, about in plan.models.items():
        for kind in runs.ROLES:
            models.build(name, **{**about.settings, **getattr(about, kind)})
    assert "clmt" in plan.models and {row.dataset for row in plan.targets} == {
        "ccle",
        "ctrp",
    }


# Real tables


@pytest.mark.real_data
@pytest.mark.skipif(not os.environ.get("CLMT_DATA"), reason="CLMT_DATA is not set")
class TestRealData:
    def test_withheld_lines_and_drugs_are_never_trained_on(self):
        body = {"question": "?", "source": "gdsc2", "folds": 4, "models": {"drug_mean": None}}
        plan = Transfer(targets=[{"dataset": "ctrp"}], **body)
        joined, how = runs.load_transfer(plan, plan.targets[0])
        kept_back = transfer.withheld()
        fitted = joined.benchmark.pairs
        assert (
            kept_back["lines"]
            and not kept_back["lines"] & set(joined.benchmark.cells.index[np.unique(fitted[:, 0])])
            and not kept_back["drugs"] & set(joined.benchmark.drugs.index[np.unique(fitted[:, 1])])
        )
        assert (
            joined.counts["withheld"]["trained"] == 0
            and joined.counts["withheld"]["lines_in_table"]
            >= joined.counts["withheld"]["lines_tested"]
        )
        assert json.dumps(joined.counts) and len(how) == joined.benchmark.n_drugs

    def test_a_withheld_line_among_the_sources_responses_is_refused(self, monkeypatch):
        source = transfer.load_source()
        monkeypatch.setattr(
            transfer,
            "withheld",
            lambda folder=None, name=None: {
                "lines": {source.cells.index[0]},
                "drugs": set(),
                "in_table": 1,
            },
        )
        with pytest.raises(DataError, match="withheld lines or drugs: they are for testing alone"):
            transfer.load("gdsc2", "ccle")

    def test_the_assays_agree_on_the_direction(self):
        for target, options in (("ccle", {}), ("ccle", {"target": "act_area"}), ("ctrp", {})):
            joined = transfer.load("gdsc2", target, **options)
            both = np.isfinite(joined.y_source)
            assert (
                metrics.per_group(
                    joined.y[both], joined.y_source[both], joined.pairs[both, 1], metrics.spearman
                )
                > 0.3
            )
