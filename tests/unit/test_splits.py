"""Splits: disjoint, complete, blind as promised, different per seed, safe on disk. The names say
what each prevents.
"""

import contextlib
import hashlib
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from clmt_lib.config import SPLIT_ALIASES as ALIASES
from clmt_lib.config import RunConfig
from clmt_lib.data import KINDS, DrugResponse, load, make_split, read_split_csv, write_split_csv
from clmt_lib.data.grouping import pathway_groups, target_groups
from clmt_lib.data.splits import FOLDS, folds_of, kind_of
from clmt_lib.io import DataError

ONE_SIDE = KINDS[:7]  # both_blind leaves pairs out
SETS = [("train", "valid"), ("train", "test"), ("valid", "test")]
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


@pytest.mark.parametrize("kind", ONE_SIDE)
def test_sets_are_disjoint_and_cover_every_pair(data, kind):
    for fold in range(FOLDS[kind]):
        split = make_split(data, kind, seed=3, fold=fold)
        everything = np.concatenate([split.train, split.valid, split.test])
        assert np.array_equal(np.sort(everything), np.arange(len(data)))
        assert min(map(len, split.sets().values())) > 0
        assert all(role.dtype == np.int64 for role in split.sets().values())


@pytest.mark.parametrize("kind", ONE_SIDE)
def test_test_sets_of_the_folds_partition_the_pairs(data, kind):
    tests = [make_split(data, kind, seed=1, fold=fold).test for fold in range(FOLDS[kind])]
    assert np.array_equal(np.sort(np.concatenate(tests)), np.arange(len(data)))


@pytest.mark.parametrize("kind", list(BLIND_TO))
def test_no_blinded_entity_is_in_two_sets(data, kind):
    for seed in range(3):
        for fold in range(FOLDS[kind]):
            roles = {
                name: entities(data, kind, role)
                for name, role in make_split(data, kind, seed, fold).sets().items()
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
            {name for name, role in split.sets().items() if drug in set(data.pairs[role, 1])}
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
    assert all(np.array_equal(again.sets()[name], role) for name, role in split.sets().items())


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_is_another_partition_not_another_fold_of_the_same(data, kind):
    first, second = (
        {tuple(make_split(data, kind, seed, fold).test) for fold in range(FOLDS[kind])}
        for seed in (0, 1)
    )
    assert first != second


def both(data, split):
    """Rows and columns of each set of a split."""
    return {
        name: [
            set(data.sides[axis].keys[data.sides[axis].identity][data.pairs[at, axis]])
            for axis in (0, 1)
        ]
        for name, at in split.sets().items()
    }


@pytest.mark.parametrize("made", [tiny.benchmark, tiny.affinity])
def test_both_blind_sets_share_no_row_and_no_column_and_half_new_pairs_are_in_none(made):
    data = made()
    for fold in range(folds_of("both_blind")):
        split = make_split(data, "both_blind", seed=4, fold=fold)
        known = both(data, split)
        for one, other in SETS:
            for axis in (0, 1):
                assert not known[one][axis] & known[other][axis], (one, other, axis)
        inside = np.zeros(len(data), dtype=bool)
        for name, (rows, columns) in known.items():  # every pair of a set's rows and columns is in
            labels = [side.keys[side.identity] for side in data.sides]
            within = np.isin(labels[0][data.pairs[:, 0]], list(rows)) & np.isin(
                labels[1][data.pairs[:, 1]], list(columns)
            )
            assert np.array_equal(np.flatnonzero(within), split.sets()[name]), name
            inside |= within
        assert 0 < (~inside).sum() < len(data)
    tests = [set(make_split(data, "both_blind", 4, fold).test) for fold in range(5)]
    assert sum(map(len, tests)) == len(set.union(*tests))


@pytest.mark.parametrize("kind", ["protein_blind", "drug_blind", "family_blind", "scaffold_blind"])
def test_any_benchmark_is_split_by_either_side_and_by_its_keys(kind):
    """Two proteins of one sequence, two ids of one compound: never apart."""
    data = tiny.affinity()
    (axis, key) = data.blinded(kind)[0]
    assert (key, axis) == {
        "protein_blind": ("sequence", 0),
        "drug_blind": ("compound", 1),
        "family_blind": ("family", 0),
        "scaffold_blind": ("scaffold", 1),
    }[kind]
    label = data.sides[axis].keys[key]
    assert len(np.unique(label)) < len(label)
    tests = []
    for fold in range(folds_of(kind)):
        split = make_split(data, kind, fold=fold)
        held = {name: set(label[data.pairs[at, axis]]) for name, at in split.sets().items()}
        assert not any(held[one] & held[other] for one, other in SETS)
        tests.append(split.test)
    assert np.array_equal(np.sort(np.concatenate(tests)), np.arange(len(data)))


def test_kinds_that_a_benchmark_does_not_have_are_refused_with_those_it_has():
    data = tiny.affinity()
    assert data.kinds == (
        "mixed",
        "protein_blind",
        "drug_blind",
        "family_blind",
        "scaffold_blind",
        "both_blind",
    )
    for kind in ("cell_blind", "tissue_blind", "LCO", "protein"):
        with pytest.raises(DataError, match="of affinity.*mixed, protein_blind, drug_blind"):
            make_split(data, kind)
    for kind in ("protein", "_blind", "", "lco"):
        with pytest.raises(DataError, match=f"unknown split '{kind}'.*LPO, LCO, LDO, LTO"):
            kind_of(kind)


@pytest.mark.parametrize("alias", list(ALIASES))
def test_names_of_drevals_splits_give_the_splits_of_our_names(data, alias):
    split, own = make_split(data, alias, 2, 1), make_split(data, kind_of(alias), 2, 1)
    assert split.kind == own.kind == ALIASES[alias] and kind_of(alias, data) == split.kind
    assert all(np.array_equal(own.sets()[name], at) for name, at in split.sets().items())
    assert np.array_equal(data.groups(alias), data.groups(own.kind))
    config = RunConfig("simulated", alias, "als")
    assert config.split == own.kind and config == RunConfig("simulated", own.kind, "als")


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(7, 14), st.integers(7, 14)),
    share=st.floats(0.5, 1.0),
    groups=st.integers(6, 10),
    seed=st.integers(0, 999),
    fold=st.integers(0, 4),
)
def test_no_table_of_any_shape_leaks_a_row_group_into_two_sets(shape, share, groups, seed, fold):
    data = tiny.gaps(shape, share, groups, seed)
    for kind in ("row_blind", "kind_blind"):
        split, label = make_split(data, kind, seed, fold), data.groups(kind)
        for one, other in SETS:
            assert not set(label[split.sets()[one]]) & set(label[split.sets()[other]])
        assert sum(map(len, split.sets().values())) == len(data)
    if not_both(data, seed, fold):  # a table with gaps may hold no pair that is new on both sides
        return
    split = make_split(data, "both_blind", seed, fold)
    for one, other in SETS:
        for axis in (0, 1):
            ends = [set(data.pairs[split.sets()[name], axis]) for name in (one, other)]
            assert not ends[0] & ends[1]


def not_both(data, seed, fold):
    """Whether a split that blinds both sides is refused, for want of a pair."""
    with contextlib.suppress(DataError):
        return not make_split(data, "both_blind", seed, fold)
    with pytest.raises(DataError, match="no pair is left for (train|valid|test).*Remedy"):
        make_split(data, "both_blind", seed, fold)
    return True


@pytest.mark.parametrize("made", [tiny.benchmark, tiny.affinity], ids=["response", "affinity"])
@pytest.mark.parametrize("kind", ["mixed", "drug_blind", "both_blind"])
def test_split_written_as_ids_reads_back_the_same(made, kind, tmp_path):
    data, path = made(), tmp_path / "split.csv"
    split = make_split(data, kind, seed=2, fold=1)
    write_split_csv(split, data, path)
    back = read_split_csv(path, data)
    assert all(np.array_equal(back.sets()[name], at) for name, at in split.sets().items())
    assert replace(back, **split.sets()) is not back and vars(back).keys() == vars(split).keys()
    assert [getattr(back, key) for key in ("kind", "seed", "fold", "folds", "checksum")] == [
        kind,
        2,
        1,
        FOLDS[kind],
        data.checksum,
    ]
    table = pd.read_csv(path, comment="#", dtype=str)
    assert list(table.columns) == [*(side.name for side in data.sides), "set"]
    assert set(table.iloc[:, 0]) <= set(data.sides[0].ids)
    assert [file.name for file in tmp_path.iterdir()] == ["split.csv"]


def rows(change):
    """A change of the table of a written split."""

    def changed(path):
        head, body = path.read_text().split("\n", 1)
        lines = body.splitlines()
        change(lines)
        path.write_text("\n".join([head, *lines]) + "\n")

    return changed


def words(old, new):
    return lambda path: path.write_text(path.read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    "change, says",
    [
        (rows(lambda lines: lines.pop()), "wrong checksum"),
        (words("train\n", "test\n"), "wrong checksum"),
        (words('"kind": "cell_blind"', '"kind": "mixed"'), "wrong checksum"),
        (words('"seed": 0', '"seed": 7'), "wrong checksum"),
        (words("9001,", "9999,"), "row 3: no cell 9999 in tiny"),
        (words(",1003,", ",nobody,"), "no drug nobody in tiny"),
        (rows(lambda lines: lines.append(lines[1])), "row 318: pair 9001, .* is there twice"),
        (words("train\n", "training\n"), "unknown set training.*use train, valid, test"),
        (words("cell,drug,set", "line,drug,set"), "row 2: columns line, drug, set.*give cell"),
    ],
)
def test_changed_split_file_is_refused(data, tmp_path, change, says):
    path = tmp_path / "split.csv"
    write_split_csv(make_split(data, "cell_blind", fold=1), data, path)
    change(path)
    with pytest.raises(DataError, match=r"split\.csv.*" + says):
        read_split_csv(path, data)


@pytest.mark.parametrize("content", ["", "[]", "# {}", "# []\na", "not json", "cell,drug,set\n"])
def test_broken_split_file_is_refused(data, tmp_path, content):
    path = tmp_path / "split.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=r"split\.csv: not a split in ids.*Remedy"):
        read_split_csv(path, data)
    with pytest.raises(DataError, match="not a split in ids"):
        read_split_csv(tmp_path / "absent.csv", data)


def test_split_of_other_data_is_neither_written_nor_read(data, tmp_path):
    path, other = tmp_path / "split.csv", tiny.benchmark(seed=1)
    with pytest.raises(DataError, match="split of tiny .*Remedy: use the data it was made for"):
        write_split_csv(make_split(data, "mixed"), other, path)
    write_split_csv(make_split(data, "mixed"), data, path)
    with pytest.raises(DataError, match="split of tiny .*Remedy: use the data it was made for"):
        read_split_csv(path, other)


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


POSITIONS = {  # of seeds and folds (0, 0), (1, 3), (7, 4) of the simulated world
    "mixed": ("83297bc03fc8b838", "81c7dd21707567bf", "dc39a1eeb88e5ca4"),
    "cell_blind": ("a5e741ca69c2e723", "9ea255b71fb8e68d", "e1b16ba2f41c7a5b"),
    "drug_blind": ("d7b976308f6b4db2", "f5bad677747ffb10", "88b8d87a2b067e98"),
    "scaffold_blind": ("c4de9496fa90a1de", "68c875aefb4c5a39", "df7a262aaabf7d97"),
    "tissue_blind": ("ea48124ddba95fcb", "4313f7601cf44a4c", "02de2218b683a8f8"),
    "target_blind": ("edf0d851b8587d1c", "c72abce7e8a02c79", "ac35bb872c30f91f"),
    "pathway_blind": ("7c338ee6986dc171", "6763884c2ae56735", "154aff1e31f16ce6"),
}


@pytest.mark.parametrize("kind", list(POSITIONS))
def test_older_kinds_of_split_have_not_moved_by_a_bit(kind):
    """A kind's place in KINDS is part of its seed: a new kind anywhere but at the end would change
    every record.
    """
    for (seed, fold), wanted in zip(((0, 0), (1, 3), (7, 4)), POSITIONS[kind]):
        sets = make_split(load("simulated"), kind, seed, fold).sets().values()
        assert hashlib.sha256(b"".join(at.tobytes() for at in sets)).hexdigest()[:16] == wanted


def test_benchmark_of_one_tissue_is_refused_by_the_tissue_blind_split():
    with pytest.raises(DataError, match="tissue_blind needs at least 6 groups, tiny has 1.*Remedy"):
        make_split(tiny.benchmark(tissues=1), "tissue_blind")


def test_few_groups_still_fill_every_set():
    data = tiny.benchmark(lines=6, tissues=6)
    for kind in ("cell_blind", "tissue_blind"):
        for seed in range(5):
            for fold in range(FOLDS[kind]):
                assert min(map(len, make_split(data, kind, seed, fold).sets().values())) > 0


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
@pytest.mark.parametrize("kind", ONE_SIDE)
def test_real_gdsc2_splits_keep_their_promise(kind):
    data = tiny.real("gdsc2")
    for fold in (0, FOLDS[kind] - 1):
        split = make_split(data, kind, fold=fold)
        assert sum(map(len, split.sets().values())) == len(data) == 112_044
        assert 0.5 < len(split.train) / len(data) < 0.9 and min(
            len(split.valid), len(split.test)
        ) > 0.02 * len(data)
        if kind != "mixed":
            assert not entities(data, kind, split.train) & entities(data, kind, split.test)
            assert not entities(data, kind, split.train) & entities(data, kind, split.valid)
