"""KIBA, Human, BioSNAP and Davis: doors, published splits, modalities, alignment of sequences."""

import os

import numpy as np
import pandas as pd
import pytest
from test_doors import SMILES, cell, changed, keys

from clmt_lib import audit, models, tasks
from clmt_lib.data import load, make_split
from clmt_lib.data.base import Partition
from clmt_lib.io import DataError
from clmt_lib.models.base import fitted
from clmt_lib.views import proteins

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
        models.build("als", ranks=(1, 2), ridges=(1.0, 10.0)), audit_copy(data, moved), whole
    )
    assert np.array_equal(model.table, again.table)


def audit_copy(data, y):
    from dataclasses import replace

    return replace(data, y=y)


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
    from dataclasses import replace

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
