"""Profiles: each feature space its own, replicates kept, extremes clipped, gaps known."""

import numpy as np
import pandas as pd
import pytest

from clmt_lib.data import DataError, load, profiles
from clmt_lib.data.profiles.measured import CLIP, FEWEST_INSTANCES

ASPIRIN, CAFFEINE, ETHANOL = (
    ("BSYNRYMUTXBXSQ-UHFFFAOYSA-N", "CC(=O)Oc1ccccc1C(=O)O"),
    ("RYYVLZVUVIJVGH-UHFFFAOYSA-N", "Cn1c(=O)c2c(ncn2C)n(C)c1=O"),
    ("LFQSCWFLJHTTHZ-UHFFFAOYSA-N", "CCO"),
)


def comas(rows):
    """A table like COMAS': (molecule, two features, cell count) a row."""
    return pd.DataFrame(
        [
            {
                "source_set": "a library",
                "Run": str(row),
                "Well_Id": f"w{row}",
                "Conc_uM": 10.0,
                "Induction": 5.0,
                "Rel_Cell_Count": count,
                "Smiles": key[1],
                "inchikey": key[0],
                "Median_Cells_Area": one,
                "Median_Nuclei_Area": two,
            }
            for row, (key, one, two, count) in enumerate(rows)
        ]
    )


def cmap(instances):
    """A table like the Connectivity Map's: (molecule, line, genes up, genes down) a row."""
    return pd.DataFrame(
        [
            {
                "drug_name": "a drug",
                "cell_line": line,
                "conc_M": 1e-5,
                "replicate": row,
                "smiles": key[1],
                "inchikey": key[0],
                "up_genes": up,
                "down_genes": down,
            }
            for row, (key, line, up, down) in enumerate(instances)
        ]
    )


@pytest.fixture
def folder(tmp_path):
    for part in ("morphology", "expression"):
        (tmp_path / part).mkdir()
    comas(
        [
            (ASPIRIN, 4500.0, 1.0, 90),
            (ASPIRIN, 0.0, 1.0, 110),
            (CAFFEINE, -4500.0, 1.0, 50),
        ]
    ).to_parquet(tmp_path / "morphology/comas_profiles_579.parquet")
    instances = [(CAFFEINE, "MCF7", "A B", "C"), (ETHANOL, "MCF7", "A", "B C")] * FEWEST_INSTANCES
    instances += [(ETHANOL, "PC3", "C rare", "A")] * 3
    cmap(instances).to_parquet(tmp_path / "expression/cmap_build02_top100.parquet")
    return tmp_path


def read(folder, *spaces):
    return profiles.load(folder, spaces or ("comas_profiles", "cmap"))


def test_replicates_are_kept_and_their_mean_is_the_view(folder):
    found = read(folder)
    assert list(found.side.ids) == [key[:14] for key, _ in (ASPIRIN, CAFFEINE, ETHANOL)]
    data = found.measurements["comas_profiles"]
    assert len(data) == 3 and data.facts["replicate"].tolist() == ["0", "1", "2"]
    aspirin = data.molecule == 0
    assert np.allclose(data.dense()[aspirin].mean(0), found.values("comas_profiles")[0])
    assert found.fact("comas_profiles", "library").tolist() == ["a library", "a library", None]
    count, known = found.cell_count()
    assert count[known].tolist() == [[100.0, 5.0], [50.0, 5.0]] and known.tolist() == [1, 1, 0]


def test_extremes_are_clipped_and_counted(folder):
    found = read(folder, "comas_profiles")
    assert found.measurements["comas_profiles"].dense()[:, 0].tolist() == [CLIP, 0.0, -CLIP]
    assert found.measurements["comas_profiles"].clipped == pytest.approx(2 / 6)


def test_a_molecule_without_a_profile_is_missing_and_zero(folder):
    found = read(folder)
    assert found.known("comas_profiles").tolist() == [True, True, False]
    assert found.known("cmap").tolist() == [False, True, True]
    assert not found.values("cmap")[0].any()
    assert not found.standardised("comas_profiles", np.arange(3))[2].any()
    assert found.positions(["no such molecule", CAFFEINE[0][:14]]).tolist() == [-1, 1]


def test_standardising_reads_training_molecules_and_leaves_constants_at_zero(folder):
    found = read(folder, "comas_profiles")
    one = found.standardised("comas_profiles", np.array([0, 1]))
    assert np.allclose(one[:, 0], [1, -1]) and not one[:, 1].any()  # the second never varies
    with pytest.raises(DataError, match="no training molecule"):
        read(folder).standardised("comas_profiles", np.array([2]))


def test_signed_genes_are_centred_per_line_then_averaged(folder):
    found = read(folder, "cmap")
    data, table = found.measurements["cmap"], found.side.views["cmap"]
    assert list(table) == ["A", "B", "C"]  # the rare gene is no feature
    signs = {"A B|C": [1, 1, -1], "A|B C": [1, -1, -1], "C rare|A": [-1, 0, 1]}
    lines = np.array(["MCF7"] * 2 * FEWEST_INSTANCES + ["PC3"] * 3)
    plain = np.array(
        [signs["A B|C"], signs["A|B C"]] * FEWEST_INSTANCES + [signs["C rare|A"]] * 3, dtype=float
    )
    for line in np.unique(lines):
        plain[lines == line] -= plain[lines == line].mean(0)
    assert np.allclose(data.dense(), plain, atol=1e-6)
    assert np.allclose(data.dense(np.array([5, 0])), plain[[5, 0]], atol=1e-6)
    for molecule in range(2):
        mean = plain[data.molecule == molecule].mean(0)
        assert np.allclose(table.to_numpy()[molecule], mean, atol=1e-6)
    assert data.facts["dose_um"].iloc[0] == pytest.approx(10.0)


def test_levels_become_differences_from_the_vehicle(tmp_path):
    (tmp_path / "expression").mkdir()
    wells = pd.DataFrame(
        {
            "pert_iname": ["DMSO", "DMSO", "aspirin"],
            "pert_type": ["ctl_vehicle", "ctl_vehicle", "trt_cp"],
            "pert_dose": ["-666", "-666", "3.33"],
            "cell_id": "A375",
            "det_plate": "p",
            "det_well": ["a", "b", "c"],
            "smiles": [None, None, ASPIRIN[1]],
            "inchikey": [None, None, ASPIRIN[0]],
            "PSME1": [4.0, 6.0, 8.0],
            "ATF1": [1.0, 1.0, 0.5],
        }
    )
    path = tmp_path / "expression/l1000_level3_LJP005_A375_24h.parquet"
    wells.to_parquet(path)
    found = read(tmp_path, "l1000_kinase")
    assert found.values("l1000_kinase").tolist() == [[3.0, -0.5]]
    assert found.measurements["l1000_kinase"].left_out == 2
    wells[wells["pert_type"] == "trt_cp"].to_parquet(path)
    with pytest.raises(DataError, match="no untreated well"):
        read(tmp_path, "l1000_kinase")


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda t: t.assign(Median_Cells_Area=["x", "1", "2"]), "Median_Cells_Area is 'x'"),
        (lambda t: t.assign(Median_Cells_Area=[np.inf, 1, 2]), "Median_Cells_Area is inf"),
        (lambda t: t.assign(inchikey="ASPIRIN"), "is no InChIKey"),
        (lambda t: t.assign(Smiles="C1CC"), "cannot be parsed"),
        (lambda t: t.drop(columns="Smiles"), "missing column 'Smiles'"),
    ],
)
def test_bad_tables_of_features_are_refused(folder, change, said):
    path = folder / "morphology/comas_profiles_579.parquet"
    change(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(DataError, match=said) as error:
        read(folder, "comas_profiles")
    assert "row" in str(error.value)


def test_bad_requests_and_lists_are_refused(folder):
    with pytest.raises(DataError, match="unknown feature space 'no'"):
        read(folder, "no")
    path = folder / "expression/cmap_build02_top100.parquet"
    cmap([(CAFFEINE, "MCF7", "A B", "B")] * 40).to_parquet(path)
    with pytest.raises(DataError, match="gene 'B' is listed twice"):
        read(folder, "cmap")


def test_profiles_beside_labels_keep_molecules_without_labels_as_donors(folder):
    (folder / "probing").mkdir()
    labels = pd.DataFrame(
        {
            "smiles": ["c1ccccc1", ASPIRIN[1]],
            "inchikey": ["UHOVQNZJYSORNB-UHFFFAOYSA-N", ASPIRIN[0]],
            "Class": [0, 1],
        }
    )
    labels.to_parquet(folder / "probing/bace.parquet")
    found = read(folder)
    table = load("bace", folder=folder, molecules="connectivity")
    joined = profiles.beside(table, found, ["comas_profiles", "cmap"])
    side = joined.sides[0]
    assert list(side.ids) == [
        "UHOVQNZJYSORNB",
        *(key[:14] for key, _ in (ASPIRIN, CAFFEINE, ETHANOL)),
    ]
    assert side.has("comas_profiles").tolist() == [False, True, True, False]
    assert side.has("cmap").tolist() == [False, False, True, True]
    assert np.array_equal(side.views["cmap"].to_numpy()[2:], found.values("cmap")[1:])
    assert np.array_equal(joined.pairs, table.pairs) and np.array_equal(joined.y, table.y)
    with pytest.raises(DataError, match="no molecule of bace has a profile of cmap"):
        profiles.beside(table, read(folder, "cmap"), ["cmap"])
