"""What chapter 09b stands on: drug kernels, the ridge over drugs, gene sets, and who gains."""

import gzip
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from clmt_lib import data, models, records, tasks
from clmt_lib.audit import proves_blind
from clmt_lib.book import plotting
from clmt_lib.io import DataError
from clmt_lib.models.baselines.drug_ridge import DrugRidge, target_states
from clmt_lib.models.baselines.factors import filled
from clmt_lib.models.kernels import FACTS, TEXTS, drug_kernels
from clmt_lib.records.by_drug import by_drug, gain, summarise_drugs
from clmt_lib.views.genesets import reactome, steps, target_genes
from clmt_lib.views.omics import train_cells


@pytest.fixture(scope="module")
def world():
    return data.load("simulated", cells=48)


@pytest.fixture(scope="module")
def split(world):
    return data.make_split(world, "pathway_blind")


@pytest.mark.parametrize("kind", [*FACTS, *TEXTS])
def test_every_drug_kernel_is_a_kernel(world, split, kind):
    """Positive semi-definite and symmetric: else the ridge solves another problem than it says."""
    for _, k in drug_kernels(world, kind, split):
        assert np.allclose(k, k.T) and np.linalg.eigvalsh(k).min() > -1e-8 and np.isfinite(k).all()


def test_shuffled_kernel_keeps_its_values_and_loses_its_drugs(world):
    (_, honest), (_, shuffled) = drug_kernels(world, "text")[0], drug_kernels(world, "shuffled")[0]
    one = ~world.drugs["compound"].duplicated().to_numpy()
    assert np.allclose(
        np.sort(honest[np.ix_(one, one)], axis=None),
        np.sort(shuffled[np.ix_(one, one)], axis=None),
        atol=1e-6,
    ) and not np.allclose(honest, shuffled)


@pytest.mark.parametrize("kind", ["mechanism", "long"])
def test_centred_kernels_ask_for_the_split(world, kind):
    with pytest.raises(DataError, match="pass the split"):
        drug_kernels(world, kind)


def test_ridge_over_drugs_is_the_formula_on_a_table_without_holes(world, split):
    """Against equation 2 of the chapter, written out for one line and one new drug."""
    model = DrugRidge(kinds=("annotation",), ridges=(2.0,)).fit(world, split)
    y = world.matrix(split.train)
    rows = np.flatnonzero(np.isfinite(y).any(0))
    mean, spread = np.nanmean(y[:, rows], 0), np.nanstd(y[:, rows], 0)
    z = filled((y[:, rows] - mean) / spread)
    seen = np.isfinite(y[:, rows])
    assert np.array_equal(
        z[seen], ((y[:, rows] - mean) / spread)[seen]
    )  # filling touches holes alone
    compound = world.drugs["compound"].to_numpy()
    kernel = (
        0.3 + drug_kernels(world, "annotation")[0][1] + 0.3 * (compound[:, None] == compound[None])
    )
    new = world.pairs[split.test[0], 1]
    weights = (
        np.linalg.inv(kernel[np.ix_(rows, rows)] + 2.0 * np.eye(len(rows))) @ kernel[rows, new]
    )
    assert np.allclose(model.table[5, new], mean.mean() + spread.mean() * z[5] @ weights)


def test_ridge_told_nothing_ranks_the_lines_alike_for_every_new_drug(world, split):
    table = (
        models.build("drugs_random")
        .fit(world, split)
        .table[:, np.unique(world.pairs[split.test, 1])]
    )
    assert np.corrcoef(table.T).min() > 0.99


def test_states_of_targets_are_where_the_targets_are(world, split):
    """Equation 4 of the chapter, written out; a line rich in a drug's target gets less of the
    response, and a drug of unknown targets nothing.
    """
    drugs = world.drugs.copy()
    drugs["target"] = None
    (
        drugs.iloc[3, drugs.columns.get_loc("target")],
        drugs.iloc[4, drugs.columns.get_loc("target")],
    ) = "EGFR", "NOSUCH1"
    known = world.with_frames(drug=drugs)
    z = np.random.default_rng(0).normal(size=(world.n_cells, 30))
    state = target_states(known, split, z, rank=5)
    assert not np.delete(state, 3, axis=1).any()
    rows = train_cells(world, split)
    own = np.zeros(world.n_cells)
    for kind in ("expression", "copy_number"):
        x = world.omics[kind]["EGFR"].to_numpy(float)
        own -= (x - x[rows].mean()) / x[rows].std()
    hit = world.omics["mutation"]["EGFR"].to_numpy(float)
    own -= 4 * (hit - hit[rows].mean())
    line = z.mean(1) - z.mean()
    rest = np.column_stack([column - line * (line @ column) / (line @ line) for column in z.T])
    u = np.linalg.svd(rest - rest.mean(0))[0][:, :5]
    assert np.allclose(state[:, 3], sum(v * (v @ own) for v in u.T) + 0.2 * own)
    assert (
        np.corrcoef(state[:, 3], own)[0, 1] > 0.5
        and np.corrcoef(state[:, 3], world.omics["expression"]["EGFR"])[0, 1] < 0
    )


def test_states_of_targets_help_where_responses_follow_them(world, split):
    """A planted truth: every drug is resisted by lines poor in its targets, and nothing else; the
    ridge alone cannot know it of a new mechanism.
    """
    rng = np.random.default_rng(1)
    genes, place = (
        target_genes(world.drugs),
        {gene: i for i, gene in enumerate(world.omics["expression"].columns)},
    )
    x = world.omics["expression"].to_numpy(float)
    own = np.stack(
        [
            x[:, [place[g] for g in g_ if g in place]].mean(1)
            if any(g in place for g in g_)
            else np.zeros(len(x))
            for g_ in genes
        ],
        axis=1,
    )
    own = own / own.std()
    y = -own[tuple(world.pairs.T)] + 0.3 * rng.normal(size=len(world.pairs))
    planted = replace(world, y=y)
    asked = planted.pairs[split.test]
    score = {
        name: tasks.score(planted, split, models.build(name).fit(planted, split).predict(asked))[
            "pcc_per_drug"
        ]
        for name in ("processes", "target_states")
    }
    assert score["target_states"] > score["processes"] + 0.1


@pytest.mark.parametrize("name", ["drugs_long", "processes", "target_states"])
def test_ridge_over_drugs_is_blind_to_test_responses_and_to_test_drugs_facts(world, split, name):
    report = proves_blind(
        lambda bench, part: models.build(name).fit(bench, part).state(), world, split, at_once=True
    )
    assert report.clean, str(report)


@pytest.mark.parametrize("kinds", [("horoscope",), ()])
def test_unknown_kind_names_the_others(kinds):
    with pytest.raises(DataError, match="steps"):
        DrugRidge(kinds=kinds)


def test_settings_of_new_blind_splits_are_chosen_by_ranking():
    assert {"target_blind", "pathway_blind"} <= set(tasks.UNSEEN_DRUG_SPLITS)


def test_spellings_become_genes_and_strangers_stay_themselves():
    found = target_genes(pd.DataFrame({"target": ["mek1, MEK2", "HSP90, EGFR", None, "NEW1, "]}))
    assert found == [{"MAP2K1", "MAP2K2"}, {"HSP90AA1", "HSP90AB1", "EGFR"}, set(), {"NEW1"}]


def test_steps_leave_out_sets_that_say_nothing():
    sets = {"small": {"EGFR", "SRC"}, "large": {"EGFR", *map(str, range(200))}}
    assert steps(pd.DataFrame({"target": ["EGFR", "BRAF"]}), sets).tolist() == [[1.0], [0.0]]


@pytest.mark.parametrize("packed", [True, False])
def test_gene_sets_are_read_from_the_prepared_folder(tmp_path, packed):
    (tmp_path / "genesets").mkdir()
    path = tmp_path / "genesets" / f"c2.reactome.gmt{'.gz' if packed else ''}"
    with (gzip.open if packed else open)(path, "wt", encoding="utf-8") as out:
        out.write("A\thttp\tEGFR\tSRC\nB\thttp\tBRAF\n")
    assert reactome(tmp_path) == {"A": {"EGFR", "SRC"}, "B": {"BRAF"}}


@pytest.mark.parametrize("content", [None, b"", b"not a set\n", b"\xff\xfe\x00"])
def test_missing_or_broken_gene_sets_are_refused_with_a_remedy(tmp_path, content):
    (tmp_path / "genesets").mkdir()
    if content is not None:
        (tmp_path / "genesets" / "c2.reactome.gmt").write_bytes(content)
    with pytest.raises(DataError, match="Remedy"):
        reactome(tmp_path)


def test_broken_archive_of_gene_sets_is_refused(tmp_path):
    (tmp_path / "genesets").mkdir()
    (tmp_path / "genesets" / "c2.reactome.gmt.gz").write_bytes(gzip.compress(b"A\tx\tEGFR\n")[:-9])
    with pytest.raises(DataError, match="cannot be read"):
        reactome(tmp_path)


def test_per_drug_record_holds_the_very_r_of_the_runs(world, split, tmp_path):
    configs = [
        records.RunConfig("simulated", "pathway_blind", name, options={"cells": 48})
        for name in ("cell_mean", "drugs_annotation")
    ]
    kept = {
        config.model: records.run(config, tmp_path, benchmark=world).metrics["test"]["pcc_per_drug"]
        for config in configs
    }
    summarise_drugs(configs, "text", tmp_path, benchmark=world)
    frame = by_drug(configs[0].label, "pathway_blind", "text", tmp_path)
    assert {name: round(frame[name].mean(), 5) for name in kept} == {
        name: round(value, 5) for name, value in kept.items()
    }
    assert not frame["twin"].any()  # nobody of another pathway has the very same pathway
    found = gain(frame, "drugs_annotation", "cell_mean")
    assert (
        found["mean"] == pytest.approx(kept["drugs_annotation"] - kept["cell_mean"], abs=1e-5)
        and found["interval"][0] <= found["mean"] <= found["interval"][1]
    )
    with pytest.raises(DataError, match="no drugs in common"):
        gain(frame, "drugs_text", "cell_mean")


def test_twins_are_found_where_there_are_any(world, tmp_path):
    config = records.RunConfig("simulated", "drug_blind", "cell_mean", options={"cells": 48})
    records.run(config, tmp_path, benchmark=world)
    split = data.make_split(world, "drug_blind")
    frame = pd.DataFrame(
        summarise_drugs([config], "text", tmp_path, benchmark=world).metrics["rows"]
    )
    facts = world.drugs["target"] + world.drugs["pathway"]
    train, test = (
        facts.iloc[np.unique(world.pairs[role, 1])] for role in (split.train, split.test)
    )
    assert frame["twin"].sum() == test.isin(train).sum() > 0


def test_gain_draws_drugs_and_is_paired():
    base = np.linspace(0.2, 0.9, 50)
    frame = pd.DataFrame({"a": base + 0.1, "b": base})
    found = gain(frame, "a", "b")
    assert (
        np.allclose(found["interval"], 0.1) and found["better"] == 1.0 and found["drugs"] == 50
    )  # what both find hard cancels
    assert np.ptp(tasks.interval(frame["a"].to_numpy())) > 0.5


def test_figures_draw_what_they_are_given():
    frame = pd.DataFrame(
        {"mean": [0.1, 0.0], "low": [0.05, -0.01], "high": [0.15, 0.01]},
        index=["drugs_text", "drugs_random"],
    )
    axes = plotting.worth({"one": frame, "two": frame.iloc[:0]})
    assert [label.get_text() for label in axes[0].get_yticklabels()] == [
        plotting.display_name(rung) for rung in frame.index
    ]
    assert [
        line.get_markerfacecolor() for line in axes[0].get_lines() if line.get_marker() in "os"
    ][1] == "none"  # a tie is hollow
    ax = plotting.whose_gain(
        [0.1, 0.3, -0.1, np.nan], ["x", "y", "x", "z"], [True, False, False, True]
    )
    assert [label.get_text() for label in ax.get_yticklabels()] == ["y (1)", "x (2)"]
    plt.close("all")
