"""KIBA, Human, BioSNAP and Davis: doors, published splits, modalities, alignment of sequences."""

import importlib.util
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import nnls
from test_doors import SMILES, cell, changed, keys

from clmt_lib import audit, models, tasks
from clmt_lib.data import Benchmark, Side, load, make_split
from clmt_lib.data.base import Partition
from clmt_lib.io import DataError
from clmt_lib.models import interaction, kernels
from clmt_lib.models.base import fitted
from clmt_lib.models.baselines.factors import factorise
from clmt_lib.tasks.metrics import rmse
from clmt_lib.views import proteins
from clmt_lib.views.molecules import fingerprints

PARTS = [*[-1] * 14, *np.arange(84) % 5]
HUB = {"moa": ["MEK inhibitor|kinase inhibitor", None], "target": ["MAP2K1", "EGFR|ERBB2"]}


@pytest.fixture
def folder(tmp_path):
    """14 proteins x 7 drugs in the layouts of KIBA and of the binary tables, and the tables of
    modalities, which know the first two drugs and the first protein.
    """
    for part in ("dti", "text", "probing", "expression"):
        (tmp_path / part).mkdir()
    rng = np.random.default_rng(0)
    sequence = ["MKV" + "ACDEFGHIKLMNPQRST"[: i + 1] for i in range(14)]
    place = {"protein_index": np.arange(14), "sequence": sequence}
    genes = ["EGFR", *[f"GENE{i}" for i in range(13)]]
    names = {"gene": genes, "protein_name": "a protein"}
    accession = [f"P{i}" for i in range(14)]
    text = ["phosphorylates proteins", *[None] * 13]
    smiles = [*SMILES[:6], "CC(=O)[O-].[Na+]"]
    drugs = {"drug_index": np.arange(7), "inchikey": keys(smiles)}
    pairs = pd.DataFrame([(d, p) for d in range(7) for p in range(14)])
    pairs.columns = ["drug_index", "protein_index"]
    sets = np.array(["train", "val", "test"])[np.arange(98) % 3]
    label = (np.arange(98) // 3) % 2
    tables = {
        "dti/kiba_proteins": {"protein_id": accession, **place, **names, "function_text": text},
        "dti/kiba_drugs": {"drug_id": [f"C{i}" for i in range(7)], "smiles_isomeric": smiles}
        | drugs,
        "dti/kiba_pairs": pairs.assign(
            kiba_score_transformed=rng.uniform(10, 14, 98).round(2), fold=PARTS
        ),
        "dti/binary_proteins": {**place, "uniprot": [*accession[:13], None], **names},
        "dti/binary_drugs": {**drugs, "smiles": smiles},
        "dti/human_pairs": pairs.assign(
            label=label,
            random_split=sets,
            cold_split=np.where(np.arange(98) % 4, sets, None),
        ),
        "dti/biosnap_pairs": pairs.assign(
            label=label, moltrans_random=np.where(sets == "train", None, sets)
        ),
        "dti/human_kinase_uniprot_text": {
            "uniprot": ["P0"],
            "group": ["TK"],
            "family": ["EGFR"],
        },
        "text/repurposing_hub_20200324": {"inchikey": keys(smiles[:2]), **HUB},
        "text/chebi20_val_test": {"inchikey": keys(smiles[:1]), "description": ["an arene"]},
        "text/human_gene_go_annotations": {
            "gene": ["EGFR"],
            "go_biological_process": ["signalling"],
            "go_molecular_function": ["binding"],
            "go_cellular_component": [None],
        },
        "probing/toxcast617": {
            "smiles": smiles[:2],
            "inchikey": keys(smiles[:2]),
            "assay one": [1, 0],
            "assay two": [None, 1],
        },
        "probing/tox21": {"smiles": smiles[:1], "inchikey": keys(smiles[:1]), "NR-AR": [1]},
        "expression/cmap_build02_top100": {
            "inchikey": keys([smiles[0], smiles[0], smiles[1]]),
            "up_genes": ["EGFR TP53", "EGFR", "TP53"],
            "down_genes": ["MYC", "MYC TP53", "MYC"],
        },
    }
    for name, table in tables.items():
        pd.DataFrame(table).to_parquet(tmp_path / f"{name}.parquet")
    return tmp_path


@pytest.mark.parametrize("name", ["kiba", "human", "biosnap_partial"])
def test_tables_come_in_as_proteins_x_drugs(folder, name):
    data = load(name, folder=folder)
    assert data.shape == (14, 7) and len(data) == 98 and data.name == name
    stem = name.removesuffix("_partial")
    table = pd.read_parquet(folder / f"dti/{stem}_pairs.parquet")
    values = table["kiba_score_transformed" if name == "kiba" else "label"]
    assert np.allclose(data.matrix()[table["protein_index"], table["drug_index"]], values)
    drugs = data.side("drug")
    assert len(np.unique(drugs.keys["compound"])) == 7
    assert drugs.has("mechanism").tolist() == [True] + [False] * 6
    assert drugs.views["mechanism"].iloc[0] == "MEK inhibitor; kinase inhibitor"
    assert drugs.frame["target"].iloc[1] == "EGFR, ERBB2" and drugs.views["mechanism"].iloc[1] == ""
    assert drugs.has("caption").sum() == 1 and drugs.has("tox21").sum() == 1
    assert drugs.has("assay").sum() == 2
    assert drugs.views["assay"].isna().to_numpy().sum() == 11  # one call, and all of five drugs
    assert drugs.views["expression"].loc[drugs.ids[0]].to_dict() == {
        "EGFR": 1.0,
        "MYC": -1.0,
        "TP53": 0.0,
    } or list(drugs.views["expression"].columns) == ["MYC", "TP53"]
    protein = data.side("protein")
    assert protein.frame["family"].iloc[0] == "EGFR" and protein.has("function").sum() == 1
    for kind in data.kinds:
        if kind not in ("scaffold_blind", "drug_blind"):  # of which seven drugs make too few groups
            assert audit.audit(data, make_split(data, kind)).clean, kind


def test_a_modality_is_an_option_and_changes_the_checksum(folder):
    plain = load("kiba", folder=folder, modalities="none")
    assert not plain.side("drug").views and plain.checksum != load("kiba", folder=folder).checksum
    with pytest.raises(DataError, match="unknown modalities 'some'.*use all or none"):
        load("kiba", folder=folder, modalities="some")


def test_published_folds_take_turns_and_the_refit_has_them_all(folder):
    data = load("kiba", folder=folder)
    part = np.array(PARTS)
    for fold in range(5):
        split = make_split(data, "published", fold=fold)
        assert split.folds == 5 and np.array_equal(split.valid, np.flatnonzero(part == fold))
        assert np.array_equal(split.test, np.flatnonzero(part == -1))
        assert np.array_equal(split.train, np.flatnonzero((part >= 0) & (part != fold)))
    whole = make_split(data, "published_refit")
    assert np.array_equal(whole.train, np.flatnonzero(part >= 0)) and not len(whole.valid)
    for fold, within in enumerate(whole.within()):
        split = make_split(data, "published", fold=fold)
        assert np.array_equal(within.train, split.train)
        assert np.array_equal(within.valid, split.valid) and not len(within.test)
    assert fold == 4 and audit.audit(data, whole).clean
    with pytest.raises(DataError, match="no folds inside"):
        next(split.within())
    for wrong, says in (({"fold": 5}, "fold 5 of published"), ({"seed": 1}, "seed 0 alone")):
        with pytest.raises(DataError, match=says):
            make_split(data, "published", **wrong)


def test_one_published_validation_set_is_the_only_fold(folder):
    data = load("human", folder=folder)
    table = pd.read_parquet(folder / "dti/human_pairs.parquet")
    for kind, column in (("published", "random_split"), ("published_cold", "cold_split")):
        split = make_split(data, kind)
        for role, word in (("train", "train"), ("valid", "val"), ("test", "test")):
            wanted = np.flatnonzero(table[column] == word)
            assert np.array_equal(getattr(split, role), wanted)
    whole = make_split(data, "published_refit")
    (within,) = whole.within()
    assert np.array_equal(within.valid, make_split(data, "published").valid)


def test_a_refit_has_the_setting_of_the_best_mean_over_the_folds(folder):
    data = load("kiba", folder=folder)
    whole = make_split(data, "published_refit")
    model = fitted(models.build("als", ranks=(1, 2), ridges=(1.0, 10.0)), data, whole)
    table = {}
    for rank in (1, 2):
        for ridge in (1.0, 10.0):
            errors = []
            for part in whole.within():
                one = models.build("als", ranks=(rank,), ridges=(ridge,)).fit(data, part)
                errors.append(
                    tasks.selection_score(data, part, one.predict(data.pairs[part.valid]))
                )
            table[rank, ridge] = np.mean(errors)
    best = min(table, key=lambda setting: table[setting])
    assert (model.chosen["rank"], model.chosen["ridge"]) == best
    moved = data.y.copy()
    moved[whole.test] = np.random.default_rng(1).permutation(moved[whole.test]) + 1
    again = fitted(
        models.build("als", ranks=(1, 2), ridges=(1.0, 10.0)), replace(data, y=moved), whole
    )
    assert np.array_equal(model.table, again.table)


KIBA, PAIRS = "dti/kiba_", "pairs.parquet"


@pytest.mark.parametrize(
    "benchmark, name, change, says",
    [
        ("kiba", KIBA + PAIRS, cell(20, "fold", 7), "row 22: fold is 7.*-1 for the test set"),
        ("kiba", KIBA + PAIRS, cell(20, "fold", None), "row 22: fold is nan"),
        ("kiba", KIBA + PAIRS, lambda t: t.assign(fold=t["fold"].clip(0)), "no pair in the test"),
        ("kiba", KIBA + PAIRS, lambda t: t.assign(fold=t["fold"].clip(None, 3)), "fold 4"),
        ("kiba", KIBA + PAIRS, cell(20, "protein_index", 5), "row 22: duplicate pair"),
        ("kiba", KIBA + PAIRS, cell(20, "kiba_score_transformed", 430.0), "from 0 to 20"),
        ("kiba", KIBA + PAIRS, cell(20, "kiba_score_transformed", "x"), "row 22: value 'x'"),
        ("kiba", KIBA + PAIRS, cell(20, "drug_index", 70), "row 22: drug_index 70"),
        ("kiba", KIBA + "proteins.parquet", cell(2, "sequence", ""), "row 4: sequence of 'P2'"),
        ("kiba", KIBA + "proteins.parquet", cell(2, "sequence", "MK-V"), "row 4: sequence of 'P2'"),
        ("kiba", KIBA + "drugs.parquet", cell(3, "smiles_isomeric", "c1cc"), "row 5: drug 'C3'"),
        ("kiba", KIBA + "drugs.parquet", cell(3, "drug_id", "C2"), "row 5: drug_id is 'C2'"),
        ("human", "dti/human_" + PAIRS, cell(3, "label", 2), "row 5: label is 2"),
        ("human", "dti/human_" + PAIRS, cell(3, "random_split", "dev"), "row 5: random_split is"),
        (
            "human",
            "dti/human_" + PAIRS,
            lambda t: t.assign(label=t["label"].where(t["random_split"] != "test", 1)),
            "test set of random_split has labels of one class",
        ),
        (
            "human",
            "text/repurposing_hub_20200324.parquet",
            lambda t: t.drop(columns="moa"),
            "missing column 'moa'",
        ),
        ("human", "probing/tox21.parquet", lambda t: t.drop(columns="inchikey"), "'inchikey'"),
    ],
)
def test_bad_table_is_refused_with_file_and_remedy(folder, benchmark, name, change, says):
    path = changed(folder, name, change)
    with pytest.raises(DataError, match=says) as caught:
        load(benchmark, folder=folder)
    message = str(caught.value)
    assert message.startswith(str(path)) and "Remedy: " in message and "\n" not in message


def test_modalities_of_strangers_and_strange_letters_are_no_error(folder):
    def unknown(table):
        return table.assign(inchikey=["A" * 14 + "-" + "B" * 10 + "-N"] * len(table))

    changed(folder, "probing/toxcast617.parquet", unknown)
    changed(folder, "dti/kiba_proteins.parquet", cell(2, "sequence", "M"))
    changed(folder, "dti/kiba_proteins.parquet", cell(3, "sequence", "MUXBZ" * 600))
    changed(folder, "dti/kiba_drugs.parquet", cell(6, "inchikey", None))
    data = load("kiba", folder=folder)
    assert not data.side("drug").has("assay").any()
    lost = data.side("drug")
    assert lost.frame["smiles"].isna().tolist() == [False] * 6 + [True]
    assert not any(lost.has(view)[6] for view in lost.views)  # no modality at all
    assert proteins.nonstandard(data.side("protein").views["sequence"])[3] == 4 * 600
    model = models.build("effects").fit(data, make_split(data, "published"))
    assert np.isfinite(model.predict(data.pairs)).all()


def test_a_partition_needs_a_part_for_every_pair(folder):
    data = load("kiba", folder=folder)
    with pytest.raises(DataError, match="has a part for 3 of 98 pairs"):
        replace(data, partitions={"published": Partition(np.zeros(3, dtype=np.int64), 1)})


def plainly_aligned(a, b):
    """Smith-Waterman with affine gaps, cell by cell."""
    code = {letter: i for i, letter in enumerate("ARNDCQEGHILKMFPSTWYVBZX")}
    score = proteins.blosum62()
    h = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    down, across = np.full(h.shape, -9999), np.full(h.shape, -9999)
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            down[i, j] = max(down[i - 1, j] - 1, h[i - 1, j] - 11)
            across[i, j] = max(across[i, j - 1] - 1, h[i, j - 1] - 11)
            same = score[code.get(a[i - 1], 22), code.get(b[j - 1], 22)]
            h[i, j] = max(0, h[i - 1, j - 1] + same, down[i, j], across[i, j])
    return h.max()


@pytest.mark.parametrize("chunk", [40, 20_000])
def test_alignment_is_that_of_the_plain_double_loop(chunk, monkeypatch):
    monkeypatch.setattr(proteins, "CHUNK", chunk)
    rng = np.random.default_rng(0)
    letters = list("ARNDCQEGHILKMFPSTWYVBZXU")
    ancestor = rng.choice(letters, 50)
    sequences = ["", "M", "WWWWW"]
    for _ in range(9):  # relatives with gaps and substitutions
        text = list(ancestor)
        for _ in range(3):
            at = rng.integers(0, len(text) - 8)
            text[at : at + rng.integers(0, 8)] = rng.choice(letters, rng.integers(0, 6)).tolist()
        for at in rng.integers(0, len(text), 8):
            text[at] = rng.choice(letters)
        sequences.append("".join(text))
    found = proteins.local_scores(sequences)
    wanted = [[plainly_aligned(a, b) for b in sequences] for a in sequences]
    assert np.array_equal(found, wanted) and (found[3:, 3:] > 25).all()


def test_alignment_is_normalised_and_cached_by_content(tmp_path, monkeypatch):
    monkeypatch.setenv("CLMT_CACHE", str(tmp_path))
    sequences = ["MKVLAA", "MKVLWA", "", "MKVLAA", "GGGG"]
    first = proteins.alignment(sequences)
    assert np.allclose(np.diag(first), 1) and np.allclose(first, first.T)
    assert first[0, 3] == 1 and not first[2, [0, 1, 3, 4]].any() and 0 < first[0, 1] < 1
    (kept,) = tmp_path.iterdir()
    monkeypatch.setattr(proteins, "local_scores", None)  # not called again
    assert np.array_equal(proteins.alignment(sequences), first)
    kept.write_bytes(b"damaged")
    with pytest.raises(TypeError):
        proteins.alignment(sequences)


def test_blosum62_is_symmetric_with_its_known_entries():
    score, letters = proteins.blosum62(), "ARNDCQEGHILKMFPSTWYVBZX"
    assert np.array_equal(score, score.T)
    known = {"WW": 11, "CC": 9, "IV": 3, "AR": -1, "EZ": 4, "DB": 4, "XX": -1, "WC": -2, "FY": 3}
    assert {pair: score[letters.index(pair[0]), letters.index(pair[1])] for pair in known} == known


@pytest.mark.real_data
@pytest.mark.skipif(not os.environ.get("CLMT_DATA"), reason="CLMT_DATA is not set")
class TestRealTables:
    def test_davis_folds_are_those_that_its_runs_had(self):
        part = load("davis").partitions["published"].part
        assert np.bincount(part + 1).tolist() == [5010, 5010, 5009, 5009, 5009, 5009]

    def test_kiba(self):
        data = load("kiba", modalities="none")
        assert data.shape == (229, 2_111) and len(data) == 118_254
        split = make_split(data, "published", fold=2)
        assert [len(at) for at in split.sets().values()] == [78_836, 19_709, 19_709]

    def test_binary_tables(self):
        human = load("human", modalities="none")
        assert len(human) == 5_997 and human.y.sum() == 2_633
        cold = make_split(human, "published_cold")
        assert [len(at) for at in cold.sets().values()] == [3_059, 150, 292]
        split = make_split(load("biosnap_partial", modalities="none"), "published")
        assert [len(at) for at in split.sets().values()] == [16_304, 2_748, 5_496]


# Models


def sparse_world(seed=0):
    """Residuals, seen pairs and two kernels of 9 rows x 7 columns; row 8 has no pair."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(9, 4)), rng.normal(size=(7, 4))
    k_row, k_column = a @ a.T + 0.3 * np.eye(9), b @ b.T + 0.3 * np.eye(7)
    seen = rng.random((9, 7)) < 0.6
    seen[8] = False
    rest = np.where(seen, rng.normal(size=(9, 7)), 0.0)
    return k_row, k_column, rest, seen


def solved_pair_by_pair(k_row, k_column, rest, seen, ridge):
    """The dense system over pairs: one row and column a pair, no Kronecker structure used."""
    pairs = np.argwhere(seen)
    kernel = np.array([[k_row[a, c] * k_column[b, d] for c, d in pairs] for a, b in pairs])
    out = np.zeros(seen.shape)
    dual = np.linalg.solve(kernel + ridge * np.eye(len(pairs)), rest[seen])
    out[tuple(pairs.T)] = dual
    return out


@pytest.mark.parametrize("ridge", [0.05, 1.0])
def test_every_solver_is_the_dense_system_over_pairs(ridge):
    world = sparse_world()
    wanted = solved_pair_by_pair(*world, ridge)
    assert np.allclose(interaction.solve_few(*world, ridge), wanted)
    assert np.allclose(kernels.solve_pairs(*world, ridge), wanted, atol=1e-3)
    quick = kernels.solve_pairs(*world, ridge, tolerance=3e-3, precision=np.float32)
    k_row, k_column = world[:2]
    assert quick.dtype == np.float32
    assert np.abs(k_row @ (quick - wanted) @ k_column).max() < 0.02
    again = kernels.solve_pairs(*world, ridge, quick, tolerance=3e-3, precision=np.float32)
    assert np.array_equal(again, quick)  # a start that is good enough is the answer


def affinities(seed=0):
    """Nine proteins x eight drugs whose residuals have two factors, three in four measured."""
    rng = np.random.default_rng(seed)
    letters = list("ACDEFGHIKLMNPQRSTVWY")
    sequence = ["".join(rng.choice(letters, 30)) for _ in range(9)]
    smiles = [f"c1ccccc1{'C' * i}" for i in range(4)] + ["CCN", "CCONN", "CCO", "c1ccncc1"]
    ids = [f"P{i}" for i in range(9)]
    frame = pd.DataFrame({"name": ids, "sequence": sequence}, index=ids)
    protein = Side(
        "protein", frame, {"sequence": frame["sequence"]}, {}, {"sequence": "sequence"}, "sequence"
    )
    drugs = pd.DataFrame({"name": smiles, "smiles": smiles}, index=[f"D{i}" for i in range(8)])
    table = rng.normal(size=(9, 2)) @ rng.normal(size=(2, 8)) + rng.normal(6, 0.3, (9, 8))
    pairs = np.argwhere(rng.random((9, 8)) < 0.8)
    part = rng.integers(-1, 3, len(pairs))
    return Benchmark(
        "invented",
        (protein, Side("drug", drugs, keys={"compound": "name"})),
        pairs,
        table[tuple(pairs.T)],
        np.zeros(len(pairs), dtype=bool),
        task="affinity",
        partitions={"published": Partition(part, 3)},
    )


def plain_stages(data, train, stages, shrink):
    """Means and stages again: dense solves over pairs, correlations by numpy, kernels by hand."""
    row, column = data.pairs[train].T
    y = data.y[train]
    n, m = data.shape
    mean, rows, columns = y.mean(), np.zeros(n), np.zeros(m)
    for _ in range(20):
        for j in range(m):
            inside = column == j
            columns[j] = (y - mean - rows[row])[inside].sum() / (inside.sum() + shrink)
        for i in range(n):
            inside = row == i
            rows[i] = (y - mean - columns[column])[inside].sum() / (inside.sum() + shrink)
    base = mean + rows[:, None] + columns[None]
    seen = np.zeros((n, m), dtype=bool)
    seen[row, column] = True
    rest = np.where(seen, data.matrix(train) - base, 0.0)
    alike = proteins.alignment(list(data.side("protein").frame["sequence"]))
    bits = fingerprints(data.side("drug").frame)
    tanimoto = np.array([[(a * b).sum() / ((a + b) > 0).sum() for b in bits] for a in bits])
    before = None
    for stage in stages:
        stage = {**interaction.STAGE, **stage}
        k = []
        for axis, (facts, feature) in enumerate((("rows", alike), ("columns", tanimoto))):
            kernel = 0.3 + sum(stage[facts].values()) * feature
            kernel = kernel + stage["identity"][axis] * np.eye(len(feature))
            if stage["learned"]:
                others = column if axis == 0 else row
                seen_by = before if axis == 0 else before.T
                c = np.corrcoef(seen_by[:, np.unique(others)])
                kernel = kernel + stage["learned"] * np.exp(stage["sharpness"][axis] * (c - 1))
            k.append(kernel)
        before = k[0] @ solved_pair_by_pair(*k, rest, seen, stage["ridge"]) @ k[1]
    return base + before


STAGES = (
    {"rows": {"alignment": 1.0}, "columns": {"fingerprint": 1.0}, "ridge": 0.3},
    {"learned": 1.0, "columns": {"fingerprint": 0.5}, "identity": (0.1, 0.3), "ridge": 0.2},
    {"learned": 2.0, "sharpness": (2.0, 4.0), "ridge": 0.4},
)


@pytest.mark.parametrize("few", [0, 6000])
def test_stages_are_those_of_the_plain_formula(few, monkeypatch):
    monkeypatch.setattr(interaction, "FEW_PAIRS", few)
    data = affinities()
    split = make_split(data, "published", fold=1)
    model = models.build("interaction_ridge", stages=STAGES, ridges=(0.4,), tolerance=1e-6)
    wanted = plain_stages(data, split.train, STAGES, 1.0)
    assert np.allclose(model.fit(data, split).table, wanted, atol=2e-3)


def test_the_last_ridge_is_chosen_on_valid_and_refitted_by_the_mean_over_folds():
    data = affinities()
    ridges = (0.05, 0.5, 5.0)
    model = models.build("interaction_ridge", stages=STAGES, ridges=ridges, tolerance=1e-6)
    whole = make_split(data, "published_refit")
    error = {}
    for ridge in ridges:
        stages = (*STAGES[:2], {**STAGES[2], "ridge": ridge})
        error[ridge] = []
        for part in whole.within():
            table = plain_stages(data, part.train, stages, 1.0)
            at = tuple(data.pairs[part.valid].T)
            error[ridge].append(rmse(data.y[part.valid], table[at]))
    split = make_split(data, "published", fold=2)
    assert model.fit(data, split).chosen["ridge"] == min(ridges, key=lambda ridge: error[ridge][2])
    best = min(ridges, key=lambda ridge: np.mean(error[ridge]))
    refitted = fitted(
        models.build("interaction_ridge", stages=STAGES, ridges=ridges, tolerance=1e-6), data, whole
    )
    assert refitted.chosen["ridge"] == best
    wanted = plain_stages(data, whole.train, (*STAGES[:2], {**STAGES[2], "ridge": best}), 1.0)
    assert np.allclose(refitted.table, wanted, atol=2e-3)


@pytest.mark.parametrize("kind, axis", [("compound_blind", 1), ("protein_blind", 0)])
def test_the_level_of_a_new_entity_is_left_to_the_kernels(kind, axis):
    """A drug far above the others, whose twin is held out: the twin's level is predicted."""
    data = affinities()
    split = make_split(data, kind)
    model = models.build("interaction_cold", ridges=(0.2,), tolerance=1e-6).fit(data, split)
    y, pairs, known = data.y[split.train], data.pairs[split.train], 1 - axis
    mean, effect = y.mean(), np.zeros(data.shape[known])
    for i in range(len(effect)):
        inside = pairs[:, known] == i
        effect[i] = (y - mean)[inside].sum() / (inside.sum() + 1.0)
    base = mean + (effect[:, None] if known == 0 else effect[None]) + np.zeros(data.shape)
    likeness = interaction.Likeness(data, split.train)
    k = []
    for side, weights in ((0, {"own": 1.0}), (1, interaction.FRAGMENTS)):
        kernel = sum(weight * likeness[side, name] for name, weight in weights.items())
        k.append(0.3 + kernel + 0.03 * np.eye(len(kernel)))
    seen = np.zeros(data.shape, dtype=bool)
    seen[tuple(pairs.T)] = True
    rest = np.where(seen, data.matrix(split.train) - base, 0.0)
    wanted = base + k[0] @ solved_pair_by_pair(*k, rest, seen, 0.2) @ k[1]
    assert np.allclose(model.table, wanted, atol=2e-3)
    level = np.zeros(data.shape[axis])
    level[np.unique(pairs[:, axis])[0]] = 5.0  # of one entity that was trained on
    raised = replace(data, y=data.y + level[data.pairs[:, axis]])
    test = tuple(data.pairs[split.test].T)
    changed = {}
    for means in ("auto", "both"):
        tables = [
            models.build("interaction_cold", ridges=(0.2,), means=means).fit(b, split).table
            for b in (data, raised)
        ]
        shift = (tables[1] - tables[0])[test]
        changed[means] = np.ptp(shift)  # what all entities share says nothing of one of them
    assert changed["auto"] > 3 * changed["both"]


SMALL = {
    "chains": {"features": STAGES[:2], "factorisation": ({"factors": 2, "ridge": 1.0},)},
    "losses": ("regression", "huber"),
    "tree_counts": (5, 10),
    "booster": {"learning_rate": 0.1, "num_leaves": 4, "min_data_in_leaf": 3},
    "neighbours": 3,
    "seeds": 1,
}


def test_a_stack_is_a_blend_out_of_fold_and_trees_on_what_it_leaves(tmp_path):
    data = affinities()
    whole = make_split(data, "published_refit")
    model = fitted(models.build("interaction_stack", **SMALL), data, whole)
    out, y = [], []
    for part in whole.within():  # out of fold: every base fitted without the published fold
        at = tuple(data.pairs[part.valid].T)
        base, rest, seen = interaction.residuals(data, part, 1.0)
        u, v = factorise(rest, seen, 2, 1.0, sweeps=8)
        tables = [
            base,
            plain_stages(data, part.train, STAGES[:1], 1.0),
            plain_stages(data, part.train, STAGES[:2], 1.0),
            base + u @ v.T,
        ]
        out.append(np.stack([table[at] for table in tables], axis=1))
        y.append(data.y[part.valid])
    out, y = np.concatenate(out), np.concatenate(y)
    assert model.whole.names == ("means", "features 1", "features 2", "factorisation 1")
    assert np.allclose(model.fitted["out_of_fold"], out, atol=5e-3)
    weights = nnls(out - y.mean(), y - y.mean())[0]
    assert np.allclose(model.weights, weights, atol=0.05)
    found = model.predict(data.pairs[whole.test])
    assert model.chosen["loss"] in SMALL["losses"] and model.chosen["trees"] in SMALL["tree_counts"]
    again = models.load(model.save(tmp_path / "stack"))
    assert np.array_equal(again.predict(data.pairs[whole.test]), found)
    moved = data.y.copy()
    moved[whole.test] = moved[whole.test][::-1] + 3
    other = fitted(models.build("interaction_stack", **SMALL), replace(data, y=moved), whole)
    assert np.array_equal(other.predict(data.pairs[whole.test]), found)


def test_trees_take_what_is_best_over_the_folds_and_are_grown_on_all_of_them():
    data = affinities()
    whole = make_split(data, "published_refit")
    grid = tuple({"num_leaves": 3, "learning_rate": rate} for rate in (1e-6, 0.3))
    found = fitted(models.build("interaction_lightgbm", trees=8, grid=grid), data, whole)
    scores = [
        [
            models.build("interaction_lightgbm", trees=8, grid=(one,)).fit(data, part).scores
            for one in grid
        ]
        for part in whole.within()
    ]
    best = np.mean(scores, axis=0)  # [settings, bases]
    setting, base = np.unravel_index(best.argmin(), best.shape)
    assert found.chosen == {"base": ("drug", "effects")[base], **grid[setting]}
    alone = models.build("interaction_lightgbm", trees=8)
    alone.chosen = dict(found.chosen)
    alone.fit(data, whole)
    pairs = data.pairs[whole.test]
    assert np.array_equal(alone.predict(pairs), found.predict(pairs))


def test_nearest_measured_leaves_the_pair_itself_and_the_unmeasured_out():
    alike = np.array([[1.0, 0.9, 0.5, 0.8], [0.9, 1, 0, 0], [0.5, 0, 1, 0], [0.8, 0, 0, 1]])
    rest = np.array([[10.0, 1.0, 2.0, 3.0]])
    seen = np.array([[True, False, True, True]])
    zero = np.zeros(1, dtype=int)
    found = interaction.nearest_measured(alike, rest, seen, zero, zero, 2)[0]
    assert np.allclose(found[:4], [3.0, 2.0, 0.8, 0.5])
    weight = np.exp(6 * np.array([0.8, 0.5]))
    assert np.isclose(found[4], (3 * weight[0] + 2 * weight[1]) / weight.sum())


def test_summaries_are_those_of_numpy():
    values = np.array([[1.0, 1.0, np.nan, 4.0], [np.nan] * 4])
    assert interaction.summary(values)[0].tolist() == [1.0, 1.0, 2.5, 1.0, 4.0, 1.0, 2 / 3]
    assert not interaction.summary(values)[1].any()


def test_names_of_targets_are_struck_from_mechanism_words():
    frame = pd.DataFrame(
        {"gene": ["MAP2K1", None], "family": ["STE7", None], "protein_name": ["kinase p70", None]}
    )
    names = proteins.names_of(frame)
    assert {"map2k1", "map2k", "ste7", "ste", "p70"} <= names and "kinase" not in names
    text = "MAP2K1 inhibitor; p70 kinase inhibitor; microtubule stabilizing agent"
    wanted = "inhibitor; kinase inhibitor; microtubule stabilizing agent"
    assert proteins.struck(text, names) == wanted


def test_unknown_kernels_and_stages_are_refused(folder):
    with pytest.raises(DataError, match="a stage has no setting 'rank'.*use: learned"):
        models.build("interaction_ridge", stages=({"rank": 3},))
    with pytest.raises(DataError, match="no stage"):
        models.build("interaction_ridge", stages=())
    data = load("kiba", folder=folder, modalities="none")
    for stage, says in (
        ({"rows": {"shape": 1.0}}, "unknown kernel 'shape' of proteins"),
        ({"columns": {"mechanism": 1.0}}, "drugs have no view 'mechanism'.*modalities='all'"),
        ({"rows": {"family": 1.0}}, "proteins have no column 'family'"),
        ({"learned": 1.0}, "begin with a stage whose `learned` is 0"),
    ):
        model = models.build("interaction_ridge", stages=(stage,))
        with pytest.raises(DataError, match=says):
            model.fit(data, make_split(data, "published"))


def test_every_kernel_of_modalities_is_symmetric_and_leaves_the_absent_out(folder):
    data = load("kiba", folder=folder)
    likeness = interaction.Likeness(data, np.arange(len(data)))
    for axis, makers in ((0, interaction.PROTEIN_KERNELS), (1, interaction.DRUG_KERNELS)):
        for name in makers:
            kernel = likeness[axis, name]
            n = data.shape[axis]
            assert kernel.shape == (n, n) and np.allclose(kernel, kernel.T), name
            assert np.isfinite(kernel).all() and kernel.max() <= 1 + 1e-6, name
    for name in ("mechanism", "struck", "targets", "assay", "expression"):
        assert not likeness[1, name][5].any(), name


def test_an_assay_on_the_protein_itself_is_found_by_its_name(folder):
    path = Path(__file__).parents[2] / "experiments" / "interactions.py"
    spec = importlib.util.spec_from_file_location("interactions", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    found = script.measured_targets(["NVS_ENZ_hEGFR", "ATG_AHR_CIS", "APR_HepG2_Stress_24h_up"])
    assert found["EGFR"] == [0] and found["AHR"] == [1] and "GENE" not in found
    path = folder / "probing" / "toxcast617.parquet"
    table = pd.read_parquet(path).rename(columns={"assay two": "NVS_ENZ_hEGFR"})
    table.to_parquet(path)  # of the second drug alone: active
    data = load("human", folder=folder)
    told = script.assays_on_the_target(data)
    pair = (data.pairs == [0, 1]).all(1)
    assert told["pairs"] == told["active"] == told["proteins"] == 1 and told["all"] == 98
    assert told["binding_active"] == data.y[pair][0]
    assert told["binding"] == pytest.approx(data.y.mean())
