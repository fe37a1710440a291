"""Splits: disjoint, complete, blind as promised, different per seed, safe on disk. The names say
what each prevents.
"""

import hashlib
import json
import os

import numpy as np
import pytest
import tiny

from clmt_lib.data import KINDS, DrugResponse, load, load_split, make_split, save_split
from clmt_lib.data.grouping import pathway_groups, target_groups
from clmt_lib.data.splits import FOLDS
from clmt_lib.io import DataError

BLIND_TO = {
    "cell_blind": "line",
    "drug_blind": "compound",
    "scaffold_blind": "scaffold",
    "tissue_blind": "tissue",
    "target_blind": "target",
    "pathway_blind": "pathway",
}


def entities(data, kind, positions):
    """What a kind of split blinds, found without the library's own grouping."""
    from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

    rows = data.responses.iloc[positions]
    if kind == "cell_blind":
        return set(rows["cell"])
    if kind == "tissue_blind":
        return set(data.cells["tissue"].iloc[rows["cell"]])
    drugs = data.drugs.iloc[rows["drug"].unique()]
    if kind == "drug_blind":
        return set(drugs["name"].str.lower())
    if kind in ("target_blind", "pathway_blind"):
        return {
            part.strip()
            for entry in drugs[kind.split("_")[0]].dropna()
            for part in (entry.split(",") if kind == "target_blind" else [entry])
        }
    return {MurckoScaffoldSmiles(smiles) for smiles in drugs["smiles"].dropna()} - {""}


@pytest.fixture(scope="module")
def data():
    return tiny.benchmark()


@pytest.mark.parametrize("kind", KINDS)
def test_roles_are_disjoint_and_cover_every_pair(data, kind):
    for fold in range(FOLDS[kind]):
        split = make_split(data, kind, seed=3, fold=fold)
        everything = np.concatenate([split.train, split.valid, split.test])
        assert np.array_equal(np.sort(everything), np.arange(len(data)))
        assert min(map(len, split.roles().values())) > 0
        assert all(role.dtype == np.int64 for role in split.roles().values())


@pytest.mark.parametrize("kind", KINDS)
def test_test_sets_of_the_folds_partition_the_pairs(data, kind):
    tests = [make_split(data, kind, seed=1, fold=fold).test for fold in range(FOLDS[kind])]
    assert np.array_equal(np.sort(np.concatenate(tests)), np.arange(len(data)))


@pytest.mark.parametrize("kind", list(BLIND_TO))
def test_no_blinded_entity_is_in_two_roles(data, kind):
    for seed in range(3):
        for fold in range(FOLDS[kind]):
            roles = {
                name: entities(data, kind, role)
                for name, role in make_split(data, kind, seed, fold).roles().items()
            }
            assert (
                not roles["train"] & roles["test"]
                and not roles["train"] & roles["valid"]
                and not roles["valid"] & roles["test"]
            )


@pytest.mark.parametrize("kind", ["drug_blind", "scaffold_blind", "target_blind", "pathway_blind"])
def test_ids_of_one_compound_stay_together(data, kind):
    assert data.drugs["compound"].duplicated().any()
    for fold in range(FOLDS[kind]):
        split = make_split(data, kind, fold=fold)
        roles = [
            {name for name, role in split.roles().items() if drug in set(data.pairs[role, 1])}
            for drug in (0, 1)
        ]  # 1001 and 1002
        assert roles[0] == roles[1] and len(roles[0]) == 1


def test_mixed_split_is_eight_to_one_to_one(data):
    split = make_split(data, "mixed")
    assert [round(len(role) / len(data), 2) for role in (split.train, split.valid, split.test)] == [
        0.8,
        0.1,
        0.1,
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_give_different_splits_and_one_seed_gives_one(data, kind):
    tests = {tuple(make_split(data, kind, seed).test) for seed in range(6)}
    assert len(tests) >= 4  # seven tissues leave little to choose from, and still
    again, split = make_split(data, kind, 5), make_split(data, kind, 5)
    assert all(np.array_equal(again.roles()[name], role) for name, role in split.roles().items())


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_is_another_partition_not_another_fold_of_the_same(data, kind):
    first, second = (
        {tuple(make_split(data, kind, seed, fold).test) for fold in range(FOLDS[kind])}
        for seed in (0, 1)
    )
    assert first != second


@pytest.mark.parametrize("kind", KINDS)
def test_saved_split_reads_back_the_same_and_leaves_no_part_file(data, kind, tmp_path):
    split, path = make_split(data, kind, seed=2, fold=1), tmp_path / "split.json"
    save_split(split, path)
    back = load_split(path, data)
    assert all(np.array_equal(back.roles()[name], role) for name, role in split.roles().items())
    assert (back.kind, back.seed, back.fold, back.folds, back.benchmark, back.checksum) == (
        kind,
        2,
        1,
        FOLDS[kind],
        "tiny",
        data.checksum,
    )
    assert [file.name for file in tmp_path.iterdir()] == ["split.json"]


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["test"].pop(),
        lambda body: body["train"].append(body["test"][0]),
        lambda body: body.update(kind="mixed"),
        lambda body: body.update(seed=7),
        lambda body: body.update(sha256="0" * 64),
    ],
    ids=[
        "pair removed",
        "test pair moved to train",
        "another promise",
        "another seed",
        "another checksum",
    ],
)
def test_tampered_split_file_is_refused(data, tmp_path, change):
    path = tmp_path / "split.json"
    save_split(make_split(data, "cell_blind"), path)
    body = json.loads(path.read_text())
    change(body)
    path.write_text(json.dumps(body))
    with pytest.raises(DataError, match=r"split\.json: wrong checksum.*Remedy: restore it"):
        load_split(path, data)


@pytest.mark.parametrize("content", ["", "[]", "{}", "not json", '{"kind": "mixed"'])
def test_broken_split_file_is_refused(data, tmp_path, content):
    path = tmp_path / "split.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"split\.json: not a saved split.*Remedy"):
        load_split(path, data)
    with pytest.raises(DataError, match="not a saved split"):
        load_split(tmp_path / "absent.json", data)


def test_split_of_other_data_is_refused(data, tmp_path):
    path = tmp_path / "split.json"
    save_split(make_split(data, "mixed"), path)
    with pytest.raises(DataError, match="split of tiny .*Remedy: use the data it was made for"):
        load_split(path, tiny.benchmark(seed=1))


def test_chain_of_shared_targets_stays_together_and_an_unknown_target_stands_alone():
    """A hits EGFR, B both EGFR and ERBB2, C ERBB2: holding out A alone would leave its mechanism in
    train twice over.
    """
    made = tiny.tables()
    made["drugs"]["target"] = [None, None, "EGFR", "ERBB2, egfr", "ERBB2", *[None] * 10]
    groups = target_groups(made["drugs"])
    assert groups.iloc[2] == groups.iloc[3] == groups.iloc[4] and groups.iloc[0] == groups.iloc[1]
    assert groups.nunique() == 12  # 15 ids: one chain of three, one compound of two, and ten alone


def test_a_pathway_is_one_group_and_a_drug_without_one_stands_alone():
    made = tiny.tables()
    made["drugs"]["pathway"] = ["Mitosis"] * 3 + [" mitosis", None, None] + ["other"] * 9
    groups = pathway_groups(made["drugs"])
    assert groups.iloc[:4].nunique() == 1 and groups.nunique() == 4


@pytest.mark.parametrize(
    "kind, found",
    [
        ("mixed", "81c7dd21707567bf"),
        ("cell_blind", "9ea255b71fb8e68d"),
        ("drug_blind", "f5bad677747ffb10"),
        ("scaffold_blind", "68c875aefb4c5a39"),
        ("tissue_blind", "4313f7601cf44a4c"),
    ],
)
def test_older_kinds_of_split_have_not_moved_by_a_bit(kind, found):
    """A kind's place in KINDS is part of its seed: a new kind anywhere but at the end would change
    every record.
    """
    roles = make_split(load("simulated"), kind, seed=1, fold=3).roles().values()
    assert hashlib.sha256(b"".join(role.tobytes() for role in roles)).hexdigest()[:16] == found


def test_benchmark_of_one_tissue_is_refused_by_the_tissue_blind_split():
    with pytest.raises(DataError, match="tissue_blind needs at least 6 groups, tiny has 1.*Remedy"):
        make_split(tiny.benchmark(tissues=1), "tissue_blind")


def test_few_groups_still_fill_every_role():
    data = tiny.benchmark(lines=6, tissues=6)
    for kind in ("cell_blind", "tissue_blind"):
        for seed in range(5):
            for fold in range(FOLDS[kind]):
                assert min(map(len, make_split(data, kind, seed, fold).roles().values())) > 0


def test_too_few_pairs_for_a_mixed_split_are_refused():
    made = tiny.tables()
    made["responses"] = made["responses"].iloc[:10]
    with pytest.raises(DataError, match="mixed needs at least 11 groups, tiny has 10"):
        make_split(DrugResponse.from_tables("tiny", **made), "mixed")


@pytest.mark.parametrize(
    "kind, fold, says",
    [
        ("random", 0, "unknown split 'random'.*mixed, cell_blind"),
        ("mixed", 10, "use 0 to 9"),
        ("cell_blind", -1, "use 0 to 4"),
    ],
)
def test_unknown_kind_or_fold_names_the_allowed_ones(data, kind, fold, says):
    with pytest.raises(DataError, match=says):
        make_split(data, kind, fold=fold)


@pytest.mark.real_data
@pytest.mark.skipif(not os.environ.get("CLMT_DATA"), reason="CLMT_DATA is not set")
@pytest.mark.parametrize("kind", KINDS)
def test_real_gdsc2_splits_keep_their_promise(kind):
    data = load("gdsc2")
    for fold in (0, FOLDS[kind] - 1):
        split = make_split(data, kind, fold=fold)
        assert sum(map(len, split.roles().values())) == len(data) == 112_044
        assert 0.5 < len(split.train) / len(data) < 0.9 and min(
            len(split.valid), len(split.test)
        ) > 0.02 * len(data)
        if kind != "mixed":
            assert not entities(data, kind, split.train) & entities(data, kind, split.test)
            assert not entities(data, kind, split.train) & entities(data, kind, split.valid)
