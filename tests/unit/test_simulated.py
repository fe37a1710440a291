"""The simulated world: its facts are right, its truth is what the docstring states, and it is the
same every time.
"""

import os
import re
import time
from itertools import combinations

import numpy as np
import pytest

from clmt_lib.data.response import simulated
from clmt_lib.data.response.base import LARGEST_LN_UM
from clmt_lib.data.response.simulated import SD, TERMS, Signals, facts, load, truth
from clmt_lib.io import DataError, locate

FORBIDDEN = (
    r"\b\w*(?:respon[sd]|sensiti|resist|approv|indicat|patient|clinic|therap|treat|efficac|licence)"
    r"\w*"
)
STATED = {  # what the reader of a paragraph can recognise its consequence by
    "replication_forks": r"\bforks?\b|DNA synthesis breaks down",
    "mitotic_spindle": r"mitotic spindle",
    "unfolded_proteins": r"unfold|misfold",
    "outer_membrane": r"outer membrane",
    "transcription": r"transcri|RNA polymerase|elongat",
    "growth_signal": r"\bG1\b|restriction point|growth|mitogenic",
}


@pytest.fixture(scope="module")
def world():
    return load()


@pytest.fixture(scope="module")
def known():
    return truth()


def test_size_and_columns(world):
    assert world.name == "simulated" and world.simulated
    assert (
        world.drugs["compound"].nunique() >= 96
        and world.n_cells >= 200
        and world.cells["tissue"].nunique() == 12
    )
    assert set(world.omics) == {"expression", "mutation", "copy_number"}
    assert all(
        frame.shape == (world.n_cells, 329) and (frame.dtypes == np.float32).all()
        for frame in world.omics.values()
    )
    assert set(np.unique(world.omics["mutation"])) == {0, 1}
    assert world.cells.index.str.fullmatch(r"SIM-[A-Z]+-\d{3}").all()
    assert abs(len(world) / (world.n_cells * world.n_drugs) - simulated.MEASURED) < 0.01
    assert "consequence" not in world.drugs.columns


def test_same_seed_same_world_other_seed_other_world(world):
    assert load(0).checksum == world.checksum
    others = {load(seed).checksum for seed in (1, 2)} | {
        load(signals=Signals(text=0)).checksum,
        load(cells=200).checksum,
    }
    assert len(others | {world.checksum}) == 5


def test_a_second_of_work():
    load(cells=24)  # imports RDKit
    start = time.process_time()
    load(3)
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    "signals",
    [
        Signals(),
        Signals(1, 0, 0, 0, 0, 0),
        Signals(0, 0, 0, 0.9, 0, 0.1),
        Signals(0, 0, 0.9, 0, 0, 0.1),
    ],
)
def test_no_seed_leaves_the_range_of_ln_um(signals):
    for seed in range(12):
        assert np.abs(truth(seed, signals=signals).expected(*TERMS)).max() < LARGEST_LN_UM


def test_shares_are_exact_over_all_pairs_and_close_over_the_measured_ones(known):
    stated = {name: getattr(Signals(), name) for name in TERMS}
    assert known.shares() == pytest.approx(stated, abs=1e-12)
    assert known.shares(measured=True) == pytest.approx(stated, rel=0.03)
    terms = np.array([known.terms[name].ravel() for name in TERMS])
    assert np.abs(np.corrcoef(terms) - np.eye(len(TERMS))).max() < 1e-9


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_making_terms_uncorrelated_hardly_changes_them(seed):
    _, table, omics, latents = simulated._entities(seed, 240, None)
    raw = simulated._raw_terms(simulated._rng(seed, 4), table, omics, latents)
    final = truth(seed).terms
    for name in TERMS:
        assert np.corrcoef(raw[name].ravel(), final[name].ravel())[0, 1] > 0.999


def test_responses_are_the_sum_of_the_terms(world, known):
    y = world.matrix()
    assert (np.isfinite(y) == known.measured).all()
    assert np.abs(y - known.expected(*TERMS))[known.measured].max() < 1e-6
    assert np.nanvar(y) == pytest.approx(SD**2, rel=0.02)
    residual = (y - known.expected())[known.measured]  # all but noise
    assert residual.var() == pytest.approx(Signals().noise * SD**2, rel=0.03)


@pytest.mark.parametrize("name", TERMS)
def test_a_switched_off_signal_takes_away_exactly_its_term(name, known):
    stated = {other: getattr(Signals(), other) for other in TERMS}
    without = truth(signals=Signals(**{**stated, name: 0}))
    assert not without.terms[name].any()
    assert all(
        (without.terms[other] == known.terms[other]).all() for other in TERMS if other != name
    )
    assert (without.measured == known.measured).all()
    full, less = load().matrix(), load(signals=Signals(**{**stated, name: 0})).matrix()
    assert np.nanmax(np.abs(full - less - known.terms[name])) < 2e-6  # two roundings


def test_interactions_hold_no_drug_or_cell_effect(known):
    for name in ("expression", "mutation", "text"):
        term = known.terms[name]
        assert np.abs(term.mean(axis=0)).max() < 1e-9 and np.abs(term.mean(axis=1)).max() < 1e-9


def test_targets_drive_the_expression_term(world, known):
    # a line with more EGFR has lower IC50 of gefitinib than its effects and other terms say
    gene = world.omics["expression"]["EGFR"]
    drug = world.drugs.index[world.drugs["name"] == "Gefitinib"][0]
    assert (
        np.corrcoef(gene, known.terms["expression"][:, world.drugs.index.get_loc(drug)])[0, 1]
        < -0.95
    )


def test_the_text_latent_is_visible_in_the_marker_genes(world, known):
    for state, genes in simulated.MARKERS.items():
        markers = world.omics["expression"][genes.split()].mean(axis=1)
        assert np.corrcoef(markers, known.latents[state])[0, 1] > 0.8
    targets = {gene for target in world.drugs["target"] for gene in target.split(", ")}
    assert not targets & {gene for genes in simulated.MARKERS.values() for gene in genes.split()}


def test_a_replicate_pair_differs_by_noise_alone(world, known):
    second = [drug for drug in world.drugs.index if drug.endswith("-2")]
    assert len(second) == 3
    for drug in second:
        first = drug.removesuffix("-2")
        assert world.drugs.loc[drug].equals(world.drugs.loc[first])
        i, j = world.drugs.index.get_indexer([first, drug])
        assert all(
            (known.terms[name][:, i] == known.terms[name][:, j]).all() == (name != "noise")
            for name in TERMS
        )


def test_pathway_and_targets_say_as_little_about_the_consequence_as_stated():
    table = facts()
    pathway, stated = table["pathway"].to_numpy(object), table["consequence"].to_numpy(object)
    targets = [set(cell.split(", ")) for cell in table["target"]]
    common, right = table["consequence"].mode()[0], 0
    for i in range(len(table)):
        weight = np.array(
            [
                (pathway[i] == pathway[j])
                + len(targets[i] & targets[j]) / len(targets[i] | targets[j])
                for j in range(len(table))
            ]
        )
        weight[i] = 0
        votes = {name: weight[stated == name].sum() for name in sorted(set(stated))}
        right += stated[i] == (max(votes, key=votes.get) if weight.any() else common)
    assert f"{100 * right / len(table):.1f} % of the drugs" in simulated.__doc__
    assert f"right for {100 * (stated == common).mean():.1f} %" in simulated.__doc__


def test_every_paragraph_states_its_consequence_and_no_other():
    for drug, row in facts().iterrows():
        found = [
            name
            for name, words in STATED.items()
            if re.search(words, row["mechanism"], re.IGNORECASE)
        ]
        assert row["consequence"] in found, drug
        assert set(found) <= {row["consequence"], "growth_signal"}, (
            drug
        )  # "growth" is also said in passing


def test_every_structure_parses_to_its_inchikey():
    from rdkit import Chem

    table = facts()
    assert (
        table["inchikey"].is_unique and table["name"].is_unique and table["pubchem_cid"].is_unique
    )
    for drug, row in table.iterrows():
        molecule = Chem.MolFromSmiles(row["smiles"])
        assert molecule is not None and Chem.MolToInchiKey(molecule) == row["inchikey"], drug


@pytest.mark.skipif(
    not os.environ.get("CLMT_DATA"), reason="CLMT_DATA names no folder of prepared tables"
)
def test_facts_agree_with_the_prepared_drug_table():
    import pandas as pd

    folder = locate()
    prepared = (
        pd.read_parquet(folder / "gdsc/drugs.parquet")
        .dropna(subset="inchikey_rdkit")
        .drop_duplicates("drug_name")
        .set_index("drug_name")
    )
    table = facts().set_index("name")
    block = prepared.loc[table.index, "inchikey_rdkit"].str.split("-").str[0]
    assert (table["inchikey"].str.split("-").str[0] == block).all()
    assert (table["pubchem_cid"] == prepared.loc[table.index, "pubchem_cid"]).all()
    withheld = folder / "withheld_drugs.csv"
    if withheld.exists():
        assert not set(table.index) & set(pd.read_csv(withheld)["drug_name"])


def test_paragraphs_speak_of_mechanism_only():
    table = facts()
    found = {
        drug: re.findall(FORBIDDEN, text, re.IGNORECASE)
        for drug, text in table["mechanism"].items()
    }
    assert not {drug: words for drug, words in found.items() if words}
    assert re.search(FORBIDDEN, "Sensitivity of patients", re.IGNORECASE)  # the guard can bite
    assert table["mechanism"].str.split().str.len().between(35, 70).all()


def test_no_paragraph_is_a_template_of_another():
    words = [set(re.findall(r"[a-z]+", text.lower())) for text in facts()["mechanism"]]
    assert max(len(a & b) / len(a | b) for a, b in combinations(words, 2)) < 0.8
    openings = [" ".join(text.split()[1:6]) for text in facts()["mechanism"]]
    assert len(set(openings)) > 0.9 * len(openings)


def test_targets_are_genes_of_the_world_and_drivers_name_real_pathways(world):
    genes = set(world.omics["expression"].columns)
    assert {gene for target in world.drugs["target"] for gene in target.split(", ")} - {
        "DNA"
    } <= genes
    assert set(simulated.EFFECTS) <= set(world.drugs["pathway"])
    assert set(simulated.DRIVERS) == set(simulated.TISSUES) == set(world.cells["tissue"])


def test_a_choice_of_drugs_keeps_their_facts_and_compounds():
    few = load(cells=24, drugs=["Olaparib", "Paclitaxel", "Erlotinib", "Gefitinib"])
    assert (
        set(few.drugs["name"]) == {"Olaparib", "Paclitaxel", "Erlotinib", "Gefitinib"}
        and few.n_drugs == 5
    )
    assert (
        few.omics["expression"].to_numpy() == load(cells=24).omics["expression"].to_numpy()
    ).all()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Signals(drug=0.9), "sum"),
        (lambda: Signals(text=-0.1), "0 or more"),
        (lambda: Signals(noise=float("nan")), "impossible"),
        (lambda: Signals(0, 0, 0, 0, 0, 0), "above 0"),
        (lambda: load(cells=11), "too few"),
        (lambda: load(drugs=["Aspirin"]), "'Aspirin' is not in the simulated world"),
        (
            lambda: load(cells=24, drugs=["Cisplatin", "Temozolomide"]),
            "no room for the signal 'expression'",
        ),
        (lambda: truth(cells=24).expected("weather"), "'weather'"),
    ],
)
def test_bad_arguments_say_what_to_do(call, message):
    with pytest.raises(DataError, match=message) as error:
        call()
    assert "Remedy" in str(error.value)
