"""The doors of Davis and Tox21: what comes in, and what is refused with its file and row."""

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tiny

from clmt_lib import audit
from clmt_lib.data import load, make_split, table_of
from clmt_lib.data.probes.tox21 import ASSAYS
from clmt_lib.io import DataError, locate

SMILES = ["c1ccccc1", "c1ccncc1", "c1ccoc1", "c1ccsc1", "CCO", "C1CCCCC1", "c1ccc2[nH]ccc2c1"]


def keys(smiles):
    from rdkit import Chem

    return [Chem.MolToInchiKey(Chem.MolFromSmiles(structure)) for structure in smiles]


@pytest.fixture
def folder(tmp_path):
    """Small tables in the layout of the prepared ones: 14 proteins (two of one sequence) x 7 drugs,
    and 40 molecules x 12 assays.
    """
    (tmp_path / "dti").mkdir()
    (tmp_path / "probing").mkdir()
    rng = np.random.default_rng(0)
    names = [f"KIN{i}" for i in range(13)] + ["KIN0(E1K)"]
    sequence = ["MKV" + "ACDEFGHIKLMNPQRST"[: i + 1] for i in range(13)]
    proteins = pd.DataFrame(
        {
            "protein_index": np.arange(14),
            "protein_id": names,
            "sequence": [*sequence, sequence[0]],
            "uniprot": "P0",
            "gene": names,
            "protein_name": "a kinase",
            "function_text": [*["it phosphorylates"] * 12, None, None],
        }
    )
    drugs = pd.DataFrame(
        {
            "drug_index": np.arange(7),
            "drug_id": [str(100 + i) for i in range(7)],
            "smiles_isomeric": SMILES,
            "inchikey": keys(SMILES),
        }
    )
    pairs = pd.DataFrame([(d, p) for d in range(7) for p in range(14)])
    pairs.columns = ["drug_index", "protein_index"]
    pairs["kd_nM"] = np.where(np.arange(98) % 3, 10_000.0, rng.uniform(1, 9000, 98))
    pairs["pKd"] = 9 - np.log10(pairs["kd_nM"])
    for name, table in (("proteins", proteins), ("drugs", drugs), ("pairs", pairs)):
        table.to_parquet(tmp_path / f"dti/davis_{name}.parquet")
    structures = ["C" * i + tail for i in range(1, 14) for tail in ("c1ccccc1", "N", "O")]
    tox = pd.DataFrame({"smiles": [*structures, "O[Al](O)(O)(O)"]})
    tox["inchikey"] = [*keys(structures), None]
    for column in ASSAYS:
        tox[column] = pd.array(rng.integers(0, 2, 40), dtype="Int8")
        tox.loc[rng.random(40) < 0.2, column] = pd.NA
    tox.to_parquet(tmp_path / "probing/tox21.parquet")
    return tmp_path


def changed(folder, name, change):
    """Change one of the tables in place, and give its path."""
    path = folder / name
    change(pd.read_parquet(path).astype(object)).to_csv(path.with_suffix(".csv"), index=False)
    table = pd.read_csv(path.with_suffix(".csv"))
    table.to_parquet(path)
    return path


def cell(row, column, value):
    def change(table):
        table.loc[row, column] = value
        return table

    return change


def test_davis_comes_in_as_proteins_x_drugs(folder):
    data = load("davis", folder=folder)
    assert data.shape == (14, 7) and len(data) == 98 and data.task == "affinity"
    assert [side.name for side in data.sides] == ["protein", "drug"]
    table = pd.read_parquet(folder / "dti/davis_pairs.parquet")
    assert np.allclose(data.matrix()[table["protein_index"], table["drug_index"]], table["pKd"])
    assert np.array_equal(data.censored, (table["kd_nM"] == 10_000).to_numpy())
    protein = data.side("protein")
    assert protein.keys["sequence"][0] == protein.keys["sequence"][13]
    assert len(np.unique(protein.keys["sequence"])) == 13
    assert protein.has("function").sum() == 12 and protein.views["function"].iloc[13] == ""
    assert data.kinds == ("mixed", "protein_blind", "drug_blind", "scaffold_blind", "both_blind")
    for fold in range(5):
        split = make_split(data, "protein_blind", fold=fold)
        held = [set(protein.keys["sequence"][data.pairs[at, 0]]) for at in split.sets().values()]
        assert not held[0] & held[2] and not held[0] & held[1] and not held[1] & held[2]
        assert audit.audit(data, split).clean


def test_tox21_comes_in_as_molecules_x_assays_with_gaps(folder):
    data = load("tox21", folder=folder)
    table = pd.read_parquet(folder / "probing/tox21.parquet").iloc[:39]
    assert data.shape == (39, 12) and data.task == "labels" and not data.censored.any()
    assert len(data) == table[list(ASSAYS)].notna().sum().sum() < 39 * 12
    wanted = table.set_index(table["inchikey"].str[:14])[list(ASSAYS)].astype("float64")
    got = pd.DataFrame(data.matrix(), data.side("molecule").ids, data.side("assay").ids)
    pd.testing.assert_frame_equal(got.loc[wanted.index], wanted, check_names=False)
    for kind in data.kinds[:3]:
        if kind != "scaffold_blind":
            assert audit.audit(data, make_split(data, kind)).clean


def test_rows_of_one_connectivity_are_one_molecule_and_disagreement_is_no_label(folder):
    path = folder / "probing/tox21.parquet"
    table = pd.read_parquet(path)
    twin = table.iloc[[4]].copy()
    first, second, third, *_ = ASSAYS
    twin[first] = 1 - table.loc[3, first] if pd.notna(table.loc[3, first]) else 1
    table.loc[4, [first, second]] = [0, 1]
    twin[[first, second, third]] = [1, 1, 0]
    table.loc[4, third] = pd.NA
    pd.concat([table, twin], ignore_index=True).to_parquet(path)
    data = load("tox21", folder=folder)
    got = pd.Series(data.matrix()[data.side("molecule").ids.get_loc(table["inchikey"][4][:14])])
    assert data.shape == (39, 12) and np.isnan(got[0]) and got[1] == 1 and got[2] == 0


DAVIS, TOX = "dti/davis_", "probing/tox21.parquet"


@pytest.mark.parametrize(
    "name, change, says",
    [
        (DAVIS + "pairs.parquet", cell(5, "pKd", 7.0), "row 7: pKd 7.0 of a Kd of"),
        (DAVIS + "pairs.parquet", lambda t: t.assign(pKd=t["kd_nM"]), "row 2: pKd .* of a Kd of"),
        (DAVIS + "pairs.parquet", cell(5, "kd_nM", -3.0), "row 7: pKd .* of a Kd of -3.0 nM"),
        (DAVIS + "pairs.parquet", cell(5, "kd_nM", None), "row 7: pKd .* of a Kd of nan"),
        (DAVIS + "pairs.parquet", cell(5, "drug_index", 7), "row 7: drug_index 7, there are 7 dr"),
        (DAVIS + "pairs.parquet", cell(5, "protein_index", -1), "row 7: protein_index -1"),
        (DAVIS + "pairs.parquet", cell(5, "protein_index", 4), "row 7: duplicate pair"),
        (DAVIS + "pairs.parquet", lambda t: t.drop(columns="kd_nM"), "missing column 'kd_nM'"),
        (DAVIS + "pairs.parquet", lambda t: t[:0], "empty table"),
        (DAVIS + "proteins.parquet", cell(2, "sequence", "MKV*"), "row 4: sequence of 'KIN2'"),
        (DAVIS + "proteins.parquet", cell(2, "sequence", None), "row 4: sequence of 'KIN2' is em"),
        (DAVIS + "proteins.parquet", cell(2, "protein_id", "KIN1"), "row 4: protein_id is 'KIN1'"),
        (DAVIS + "proteins.parquet", cell(2, "protein_index", 9), "row 4: protein_index is 9"),
        (DAVIS + "drugs.parquet", cell(3, "smiles_isomeric", "c1cc"), "row 5: drug '103': SMILES"),
        (DAVIS + "drugs.parquet", lambda t: t.iloc[::-1], "row 2: drug_index is 6"),
        (TOX, cell(6, "NR-AR", 2), "row 8: NR-AR is 2.0.*a label is 0 or 1"),
        (TOX, cell(6, "SR-p53", "active"), "row 8: SR-p53 is 'active'"),
        (TOX, cell(6, "inchikey", "ethanol"), "row 8: 'ethanol' is no InChIKey"),
        (TOX, cell(6, "smiles", "C(C"), "row 8: .*SMILES 'C.C' cannot be parsed"),
        (TOX, lambda t: t.drop(columns="SR-MMP"), "missing column 'SR-MMP'"),
    ],
)
def test_bad_table_is_refused_with_file_row_and_remedy(folder, name, change, says):
    path = changed(folder, name, change)
    with pytest.raises(DataError, match=says) as caught:
        load("davis" if "davis" in name else "tox21", folder=folder)
    message = str(caught.value)
    assert message.startswith(str(path)) and "Remedy: " in message and "\n" not in message


def test_the_folder_may_hold_the_parts_or_be_one(folder, monkeypatch):
    (folder / "drp").mkdir()
    assert locate(folder) == locate(folder / "drp") == folder / "drp"
    assert locate(folder, "dti") == locate(folder / "dti", "dti") == folder / "dti"
    monkeypatch.setenv("CLMT_DATA", str(folder))
    assert table_of("tox21") == folder / "probing/tox21.parquet"
    assert table_of("gdsc2") == folder / "drp/gdsc/response_gdsc2.parquet"
    assert table_of("simulated") is None
    assert load("davis").checksum == load("davis", folder=folder / "dti").checksum
    with pytest.raises(DataError, match="davis_proteins.parquet: no such file.*Remedy"):
        load("davis", folder=folder / "drp")


# Leaks planted in either


def moved(split, positions):
    """The split with some test pairs in train as well as their fellows of the test role."""
    keep = np.setdiff1d(split.test, positions)
    return replace(split, test=keep, train=np.sort(np.append(split.train, positions)))


def leak(report, kind, *says):
    (finding,) = (found for found in report.leaks if found.kind == kind)
    assert all(part in finding.what for part in says), finding
    return finding


def plant_a_construct_of_a_known_sequence(data):
    """Two constructs of one sequence, one in train and one in test."""
    for fold in range(5):
        split = make_split(data, "protein_blind", fold=fold)
        label = data.side("protein").keys["sequence"][data.pairs[:, 0]]
        of_one = pd.Series(data.pairs[split.test, 0]).groupby(label[split.test]).nunique()
        if (of_one > 1).any():
            same = split.test[label[split.test] == of_one.idxmax()]
            return split, same[data.pairs[same, 0] == data.pairs[same[0], 0]]
    raise AssertionError("no sequence has two constructs")


def test_a_sequence_on_both_sides_of_a_davis_split_is_found(folder):
    data = load("davis", folder=folder)
    split, planted = plant_a_construct_of_a_known_sequence(data)
    assert audit.audit(data, split).clean
    found = leak(
        audit.audit(data, moved(split, planted)), "shared sequence", "is in train and in test"
    )
    assert (
        found.where == "split protein_blind"
        and "KIN0" in found.what
        and "one sequence" in (found.remedy)
    )


def test_a_molecule_known_from_another_assay_is_a_leak_of_a_blind_tox21_split(folder):
    data = load("tox21", folder=folder)
    split = make_split(data, "molecule_blind")
    one = split.test[data.pairs[split.test, 0] == data.pairs[split.test[0], 0]]
    leak(audit.audit(data, moved(split, one[:1])), "shared compound", "is in train and in test")
    blind = make_split(data, "both_blind")
    rows, columns = (np.isin(data.pairs[:, axis], data.pairs[blind.train, axis]) for axis in (0, 1))
    tested = [np.isin(data.pairs[:, axis], data.pairs[blind.test, axis]) for axis in (0, 1)]
    half_new = np.flatnonzero(rows & tested[1])[:3]  # a known molecule in a test assay
    report = audit.audit(data, replace(blind, test=np.append(blind.test, half_new)))
    assert [finding.kind for finding in report.leaks] == ["shared compound"]
    half_new = np.flatnonzero(columns & tested[0])[:3]
    report = audit.audit(data, replace(blind, test=np.append(blind.test, half_new)))
    assert [finding.kind for finding in report.leaks] == ["shared assay"]


@pytest.mark.parametrize("name, salt", [("tox21", "CCCCCCCC[NH3+].[Cl-]"), ("davis", None)])
def test_one_thing_under_two_names_is_found_on_any_side(folder, name, salt):
    """The table's own word for a molecule is believed by no audit: a salt beside its free base, a
    second row of one sequence.
    """
    data = load(name, folder=folder)
    if salt:
        side = data.side("molecule")
        table = side.frame.assign(own=side.ids)
        table.iloc[0, table.columns.get_loc("smiles")] = salt
        blindfolded = data.with_sides(
            replace(side, frame=table, keys={"own": "own"}, identity="own")
        )
        says = ("one own under two names", "parent structure")
    else:
        blindfolded = data.with_sides(replace(data.side("protein"), identity="protein"))
        says = ("one protein under two ids", "sequence")
    assert audit.audit(data).clean
    leak(audit.audit(blindfolded), says[0], "share " + says[1])


@pytest.mark.parametrize("kind", ["protein_blind", "drug_blind", "both_blind"])
def test_what_reads_test_entities_of_davis_is_proved_leaky_and_what_does_not_is_proved_blind(kind):
    data = tiny.affinity()
    split = make_split(data, kind)

    def honest(data, split):
        rows = np.unique(data.pairs[split.train, 0])
        return {
            "mean": data.y[split.train].mean(),
            "letters": data.side("protein").views["sequence"].iloc[rows].str.len().mean(),
        }

    def of_all_proteins(data, split):
        lengths = data.side("protein").views["sequence"].str.len().to_numpy()
        return {"lengths": lengths @ np.arange(len(lengths))}

    def of_all_structures(data, split):
        lengths = data.side("drug").frame["smiles"].fillna("").str.len().to_numpy()
        return {"lengths": lengths @ np.arange(len(lengths))}

    report = audit.proves_blind(honest, data, split)
    assert report.clean and "test responses permuted" in report.checks
    for fit, side, world in (
        (of_all_proteins, "protein", "test proteins' views replaced by noise"),
        (of_all_structures, "drug", "test drugs' facts permuted"),
    ):
        told = len(audit.unseen(data, split, side)) > 1
        assert (world in report.checks) == told
        assert audit.proves_blind(fit, data, split).clean != told


def test_graph_and_scaler_of_proteins_are_audited_by_side():
    data = tiny.affinity()
    split = make_split(data, "protein_blind")

    class Scaler:
        fitted_on = np.arange(13)

    new = audit.unseen(data, split, "protein")
    leak(audit.audit(data, split, transforms=Scaler()), "fitted beyond train", "proteins")
    honest = Scaler()
    honest.fitted_on = np.unique(data.pairs[split.train, 0])
    assert audit.audit(data, split, transforms=honest).clean
    honest.entity, honest.fitted_on = "drug", np.arange(15)
    assert audit.audit(data, split, transforms=honest).clean
    edges = {
        ("drug", "binds", "protein"): data.pairs[split.test[:2]].T[::-1],
        ("protein", "alike", "protein"): np.array([[0], [new[0]]]),
    }
    report = audit.audit(data, split, graph_edges=edges)
    leak(report, "test edges in the graph", "2 of 2 edges", "protein 'P")
    assert "transductive graph" in {finding.kind for finding in report.findings if finding.note}


@pytest.mark.real_data
@pytest.mark.skipif(not os.environ.get("CLMT_DATA"), reason="CLMT_DATA is not set")
class TestRealTables:
    def test_davis(self):
        data = tiny.real("davis")
        assert data.shape == (442, 68) and len(data) == 30_056 and data.censored.sum() == 20_931
        assert data.checksum == "f44448e153ff60f4"
        assert (data.y[data.censored] == 5.0).all() and not (data.y[~data.censored] == 5.0).any()
        assert data.describe()["different proteins"] == 379
        assert data.side("protein").has("function").sum() == 423
        assert len(np.unique(data.side("drug").keys["compound"])) == 68

    def test_tox21(self):
        data = tiny.real("tox21")
        assert data.shape == (7_619, 12) and set(np.unique(data.y)) == {0.0, 1.0}
        assert len(data) == 75_773 and 0.05 < data.y.mean() < 0.1

    @pytest.mark.parametrize("name", ["davis", "tox21"])
    def test_every_kind_of_split_is_clean(self, name):
        data = tiny.real(name)
        for kind in data.kinds:
            place = (0, 0) if kind.startswith("published") else (1, 2)
            split = make_split(data, kind, *place)
            report = audit.audit(data, split, graph_edges=data.pairs[split.train].T)
            assert report.clean, report

    def test_a_leak_planted_in_either_is_found(self):
        data = tiny.real("davis")
        split, planted = plant_a_construct_of_a_known_sequence(data)
        report = audit.audit(data, moved(split, planted))
        assert [finding.kind for finding in report.leaks] == ["shared sequence"]
        data = tiny.real("tox21")
        split = make_split(data, "scaffold_blind")
        ring = data.side("molecule").frame["smiles"].str.contains("1").to_numpy()
        planted = split.test[ring[data.pairs[split.test, 0]]][:1]
        report = audit.audit(data, moved(split, planted))
        assert {"shared scaffold", "shared compound"} <= {leak.kind for leak in report.leaks}
