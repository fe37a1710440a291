"""The doors of Davis and Tox21: what comes in, and what is refused with its file and row."""

import os

import numpy as np
import pandas as pd
import pytest

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


@pytest.mark.real_data
@pytest.mark.skipif(not os.environ.get("CLMT_DATA"), reason="CLMT_DATA is not set")
class TestRealTables:
    def test_davis(self):
        data = load("davis")
        assert data.shape == (442, 68) and len(data) == 30_056 and data.censored.sum() == 20_931
        assert data.checksum == "f44448e153ff60f4"
        assert (data.y[data.censored] == 5.0).all() and not (data.y[~data.censored] == 5.0).any()
        assert data.describe()["different proteins"] == 379
        assert data.side("protein").has("function").sum() == 423
        assert len(np.unique(data.side("drug").keys["compound"])) == 68

    def test_tox21(self):
        data = load("tox21")
        assert data.shape == (7_619, 12) and set(np.unique(data.y)) == {0.0, 1.0}
        assert len(data) == 75_773 and 0.05 < data.y.mean() < 0.1

    @pytest.mark.parametrize("name", ["davis", "tox21"])
    def test_every_kind_of_split_is_clean(self, name):
        data = load(name)
        for kind in data.kinds:
            split = make_split(data, kind, seed=1, fold=2)
            report = audit.audit(data, split, graph_edges=data.pairs[split.train].T)
            assert report.clean, report
