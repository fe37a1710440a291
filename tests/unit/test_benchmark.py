"""Bad input: each kind gives one message that names the file, the row where there is one, and what
to do.
"""

import gzip
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny

from clmt_lib.data import DrugResponse, load
from clmt_lib.data.response import gdsc
from clmt_lib.io import DataError, locate, read_table

REAL = os.environ.get("CLMT_DATA")
real_data = [pytest.mark.real_data, pytest.mark.skipif(not REAL, reason="CLMT_DATA is not set")]


@pytest.fixture
def folder(tmp_path):
    return tiny.prepared_folder(tmp_path / "prepared")


def changed_responses(folder, change, ending=".csv"):
    """Official-layout responses after `change`, as a file of their own."""
    frame = tiny.official(tiny.tables())
    changed = change(frame)
    return tiny.write_responses(
        frame if changed is None else changed, folder / f"GDSC2_fitted_dose_response_test{ending}"
    )


def assert_refused(call, *says):
    """The one message of a refused input; it holds every part of `says` and a remedy."""
    with pytest.raises(DataError) as caught:
        call()
    message = str(caught.value)
    for part in (*says, "Remedy: "):
        assert str(part) in message, message
    assert "\n" not in message
    return message


def test_good_folder_is_read_whole(folder):
    read, made = gdsc.load(folder), tiny.benchmark()
    assert (read.n_cells, read.n_drugs, len(read)) == (
        21,
        14,
        21 * 14,
    )  # one drug has no structure: not a complete case
    complete = made.responses[made.responses["drug"] < 14]
    np.testing.assert_array_equal(read.matrix(), made.matrix(complete.index)[:, :14])
    np.testing.assert_array_equal(
        read.omics["mutation"].to_numpy(), made.omics["mutation"].to_numpy()
    )
    assert gdsc.load(folder, complete=False).n_drugs == 15
    assert read.checksum == gdsc.load(folder).checksum != gdsc.load(folder, complete=False).checksum


def test_unparsable_smiles_names_drug_file_and_row(folder):
    path = folder / "gdsc/drugs.parquet"
    table = pd.read_parquet(path)
    table.loc[table.index[3], "smiles"] = "c1ccc(C"
    table.to_parquet(path)
    assert_refused(
        lambda: gdsc.load(folder), path, "row 5", "'1004'", "'c1ccc(C'", "cannot be parsed"
    )


def test_unknown_column_names_it_and_the_columns_there(folder):
    path = changed_responses(folder, lambda t: t.rename(columns={"LN_IC50": "IC50"}))
    assert_refused(
        lambda: gdsc.load(folder, responses=path), path, "row 1", "missing column 'LN_IC50'", "IC50"
    )


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_duplicate_pair_names_its_row(folder, ending):
    path = changed_responses(
        folder, lambda t: pd.concat([t, t.iloc[[7]]], ignore_index=True), ending
    )
    assert_refused(
        lambda: gdsc.load(folder, responses=path),
        path,
        f"row {21 * 15 + 2}",
        "duplicate pair ('9001', '1008')",
        "average replicates",
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_response_that_is_not_finite_names_its_row(folder, value):
    def change(table):
        table.loc[100, "LN_IC50"] = value

    path = changed_responses(folder, change)
    assert_refused(
        lambda: gdsc.load(folder, responses=path), path, "row 102", "is not a finite number"
    )
    assert path.read_text().splitlines()[101].split(",")[7] == str(
        tiny.official(tiny.tables())["DRUG_ID"][100]
    )  # row 102 of the file is that row


def test_response_that_is_text_names_its_row(folder):
    path = changed_responses(
        folder,
        lambda t: t.astype({"LN_IC50": object}).assign(
            LN_IC50=lambda f: f["LN_IC50"].where(f.index != 4, "resistant")
        ),
    )
    assert_refused(
        lambda: gdsc.load(folder, responses=path),
        path,
        "row 6",
        "'resistant' is not a finite number",
    )


def test_micromolar_instead_of_its_logarithm_is_noticed(folder):
    path = changed_responses(folder, lambda t: t.assign(LN_IC50=np.exp(t["LN_IC50"])))
    assert_refused(
        lambda: gdsc.load(folder, responses=path),
        path,
        "looks like uM, not ln(uM)",
        "units='uM'",
        "row ",
    )


def test_small_micromolar_values_are_noticed_and_can_be_trusted():
    made = tiny.tables()
    made["responses"]["ln_ic50"] = np.random.default_rng(0).uniform(
        0.1, 9.0, len(made["responses"])
    )  # all positive, none out of range
    assert_refused(
        lambda: DrugResponse.from_tables("tiny", **made, file="responses.csv"),
        "responses.csv",
        "row 2",
        "looks like uM",
        "trust_units=True",
    )
    trusted = DrugResponse.from_tables("tiny", **made, trust_units=True)
    converted = DrugResponse.from_tables("tiny", **made, units="uM")
    np.testing.assert_allclose(converted.y, np.log(trusted.y))


def test_micromolar_must_be_positive():
    made = tiny.tables()
    made["responses"] = made["responses"].assign(ln_ic50=1.0)
    made["responses"].loc[9, "ln_ic50"] = 0.0
    assert_refused(
        lambda: DrugResponse.from_tables("tiny", **made, units="uM", file="responses.csv"),
        "responses.csv",
        "row 11",
        "not above zero",
    )


def test_latin_1_text_names_the_row_of_the_byte(folder):
    path = changed_responses(
        folder,
        lambda t: t.assign(CELL_LINE_NAME=t["CELL_LINE_NAME"].where(t.index != 20, "Zürich-1")),
    )
    path.write_bytes(path.read_text().encode("latin-1"))
    assert_refused(
        lambda: gdsc.load(folder, responses=path), path, "row 22", "not UTF-8", "iconv", "0xfc"
    )


def test_line_without_row_in_the_table_of_lines(folder):
    path = folder / "ids/cell_lines.parquet"
    pd.read_parquet(path).iloc[1:].to_parquet(path)
    assert_refused(
        lambda: gdsc.load(folder),
        folder / "gdsc/response_gdsc2.parquet",
        "row 2",
        "'9001'",
        "no row in the table of cells",
    )


@pytest.mark.parametrize(
    "table, column, missing", [("cells", "cell", "9003"), ("drugs", "drug", "1003")]
)
def test_id_in_one_table_only(table, column, missing):
    made = tiny.tables()
    made[table] = made[table].drop(index=missing)
    row = int(made["responses"].index[made["responses"][column] == missing][0]) + 2
    files = {"responses": "responses.csv"}
    assert_refused(
        lambda: DrugResponse.from_tables("tiny", **made, file=files),
        "responses.csv",
        f"row {row}",
        f"{column} '{missing}'",
        f"no row in the table of {table}",
    )


def test_unknown_units_name_those_there():
    assert_refused(
        lambda: DrugResponse.from_tables(
            "tiny", **tiny.tables(), units="nM", file=Path("responses.csv")
        ),
        "responses.csv",
        "unknown units 'nM'",
        "use ln(uM) or uM",
    )


@pytest.mark.parametrize("table", ["cells", "drugs"])
def test_ids_that_are_numbers_are_refused(table):
    made = tiny.tables()
    made[table].index = made[table].index.astype(int)
    assert_refused(
        lambda: DrugResponse.from_tables("tiny", **made, file=f"{table}.csv"),
        f"{table}.csv",
        "row 1",
        f"{table[:-1]} id",
        "is not text",
        "frame.index.astype(str)",
    )


def test_mutations_of_a_line_that_was_not_profiled_are_refused(folder):
    path = folder / "gdsc/mutation_lines.parquet"
    pd.read_parquet(path).query("COSMIC_ID != 9003").to_parquet(path)
    assert_refused(
        lambda: gdsc.load(folder),
        folder / "gdsc/mutation_long.parquet",
        "line 9003",
        "not in mutation_lines",
    )


def test_a_line_profiled_twice_is_refused(folder):
    path = folder / "gdsc/mutation_lines.parquet"
    table = pd.read_parquet(path)
    pd.concat([table, table.iloc[[2]]]).to_parquet(path)
    assert_refused(
        lambda: gdsc.load(folder), path, "line 9003 appears twice", f"row {len(table) + 2}"
    )


def test_line_without_omics_is_named():
    made = tiny.tables()
    made["omics"]["mutation"] = made["omics"]["mutation"].drop(index=["9002", "9005"])
    assert_refused(
        lambda: DrugResponse.from_tables("tiny", **made, file={"mutation": "mutation.csv"}),
        "mutation.csv",
        "'9002'",
        "1 more",
        "no row of mutation",
    )


@pytest.mark.parametrize(
    "value, says", [(np.nan, "not finite"), (np.inf, "not finite"), ("high", "not a number")]
)
def test_omics_that_are_no_number(value, says):
    made = tiny.tables()
    made["omics"]["expression"] = made["omics"]["expression"].astype(object)
    made["omics"]["expression"].loc["9002", "KRAS"] = value
    assert_refused(
        lambda: DrugResponse.from_tables("tiny", **made, file={"expression": "expression.csv"}),
        "expression.csv",
        says,
    )


def test_two_rows_of_omics_for_one_line():
    made = tiny.tables()
    made["omics"]["expression"] = pd.concat(
        [made["omics"]["expression"], made["omics"]["expression"].iloc[[4]]]
    )
    assert_refused(
        lambda: DrugResponse.from_tables("tiny", **made, file={"expression": "expression.csv"}),
        "expression.csv",
        "'9005' has two rows",
    )


@pytest.mark.parametrize("table", ["cells", "drugs"])
def test_duplicate_id(table):
    made = tiny.tables()
    made[table] = pd.concat([made[table], made[table].iloc[[2]]])
    assert_refused(
        lambda: DrugResponse.from_tables("tiny", **made, file=f"{table}.csv"),
        f"{table}.csv",
        "row ",
        f"duplicate {table[:-1]} id",
    )


@pytest.mark.parametrize("table", ["cells", "drugs", "responses"])
def test_empty_table(table):
    made = tiny.tables()
    made[table] = made[table].iloc[:0]
    assert_refused(
        lambda: DrugResponse.from_tables("tiny", **made, file=f"{table}.csv"),
        f"{table}.csv",
        "empty table",
    )


@pytest.mark.parametrize(
    "content", ["", ",".join(gdsc.RESPONSE_COLUMNS) + "\n"], ids=["no byte", "header only"]
)
def test_empty_file(tmp_path, content):
    path = tmp_path / "GDSC2_fitted_dose_response.csv"
    path.write_text(content)
    assert_refused(lambda: gdsc.read_responses(path), path, "empty table")


@pytest.mark.parametrize("keep", [0.3, 0.9, -4])
def test_truncated_gzip(folder, keep):
    path = changed_responses(folder, lambda t: None, ".csv.gz")
    content = path.read_bytes()
    path.write_bytes(content[: keep if keep < 0 else int(len(content) * keep)])
    assert_refused(lambda: gdsc.load(folder, responses=path), path, "broken gzip", "fetch it again")


def test_damaged_gzip(folder):
    path = changed_responses(folder, lambda t: None, ".csv.gz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert_refused(lambda: gdsc.load(folder, responses=path), path)


def test_text_called_gzip(tmp_path):
    path = tmp_path / "responses.csv.gz"
    path.write_text("cell,drug\n1,2\n")
    assert_refused(lambda: read_table(path), path, "broken gzip")
    with gzip.open(path, "wt") as file:
        file.write("cell,drug\n1,2\n")
    assert len(read_table(path)) == 1


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.95])
def test_truncated_parquet(folder, keep):
    path = folder / "gdsc/drugs.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    assert_refused(lambda: gdsc.load(folder), path)


def test_row_with_too_many_fields(tmp_path):
    path = tmp_path / "responses.csv"
    path.write_text("cell,drug\n1,2\n1,2,3,4\n")
    assert_refused(lambda: read_table(path), path, "row 3", "4 cells where the first row has 2")


@pytest.mark.parametrize("value", ["LINE-1", "", "12.5"])
def test_id_that_is_no_whole_number_names_its_row(folder, value):
    path = changed_responses(
        folder,
        lambda t: t.astype({"COSMIC_ID": object}).assign(
            COSMIC_ID=lambda f: f["COSMIC_ID"].where(f.index != 3, value)
        ),
    )
    assert_refused(
        lambda: gdsc.load(folder, responses=path), path, "row 5", "COSMIC_ID", "not a whole number"
    )


def test_missing_file_and_unknown_kind_of_file(folder):
    assert_refused(
        lambda: gdsc.load(folder, responses=folder / "absent.csv"),
        folder / "absent.csv",
        "no such file",
    )
    (folder / "gdsc/drugs.parquet").unlink()
    assert_refused(lambda: gdsc.load(folder), folder / "gdsc/drugs.parquet", "no such file")
    (folder / "table.xls").write_text("x")
    assert_refused(
        lambda: read_table(folder / "table.xls"), folder / "table.xls", "unknown kind of file"
    )


def test_folder_without_read_permission(folder, monkeypatch):
    """Asked of os.access, as the one who runs the tests may be allowed to read everything."""
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder)
    assert_refused(lambda: gdsc.load(folder), folder, "cannot be read", "chmod u+rx")


def test_file_without_read_permission(folder, monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pd, "read_csv", forbidden)
    path = changed_responses(folder, lambda t: None)
    assert_refused(lambda: read_table(path), path, "cannot be read", "chmod u+r")


def test_data_folder_that_points_nowhere_says_how_to_get_data(tmp_path, monkeypatch):
    monkeypatch.setenv("CLMT_DATA", str(tmp_path / "nowhere"))
    for name in ("gdsc2", "tgsa"):
        assert_refused(
            lambda: load(name),
            tmp_path / "nowhere",
            "no such folder",
            "clmt data fetch",
            "clmt data prepare",
            "simulated",
        )
    monkeypatch.delenv("CLMT_DATA")
    assert_refused(locate, "CLMT_DATA is not set", "clmt data fetch")
    monkeypatch.setenv("CLMT_DATA", str(tmp_path))
    assert_refused(
        lambda: load("gdsc2"), "no such file", "clmt data check"
    )  # a folder, but not of tables


def test_unknown_benchmark_names_those_there():
    assert_refused(lambda: load("gdsc3"), "'gdsc3'", "simulated, interactions, gdsc2, tgsa")


def test_bad_input_leaves_nothing_behind(folder):
    path = changed_responses(folder, lambda t: t.assign(LN_IC50=np.inf))
    before = sorted(folder.rglob("*"))
    assert_refused(lambda: gdsc.load(folder, responses=path), path)
    assert sorted(folder.rglob("*")) == before


def test_one_line_in_several_rows_of_the_table_of_lines(folder):
    """Fields of one line are merged over its rows; of two lines with one COSMIC id, the one the
    responses mean is taken.
    """
    path = folder / "ids/cell_lines.parquet"
    table = pd.read_parquet(path)
    half = table.iloc[[0]].assign(model_name=None, tissue=None)
    other = table.iloc[[1]].assign(
        SANGER_MODEL_ID="SIDM99999", tissue="another tissue", model_name="LINE-1"
    )
    named = table.assign(DEPMAP_ID=table["DEPMAP_ID"].where(table["COSMIC_ID"] != 9001))
    pd.concat([half, other, named]).to_parquet(path)
    cells = gdsc.load(folder).cells
    assert cells.loc["9001", ["name", "tissue", "depmap_id"]].tolist() == [
        "LINE-0",
        "tissue 0",
        "ACH-000000",
    ]
    assert cells.loc["9002", ["sanger_model_id", "tissue"]].tolist() == ["SIDM00001", "tissue 1"]


def test_official_layout_is_the_same_from_every_kind_of_file(folder):
    from_parquet = gdsc.read_responses(folder / "gdsc/response_gdsc2.parquet")
    for ending in (".csv", ".csv.gz"):
        path = changed_responses(folder, lambda t: None, ending)
        pd.testing.assert_frame_equal(gdsc.read_responses(path), from_parquet)
        assert gdsc.load(folder, responses=path).checksum == gdsc.load(folder).checksum


class TestRealData:
    pytestmark = real_data

    def test_complete_cases_of_gdsc2(self):
        data = tiny.real("gdsc2")
        assert (data.n_cells, data.n_drugs, len(data)) == (577, 216, 112_044)
        assert data.drugs["compound"].nunique() == 207  # the key alone splits oxaliplatin
        assert data.cells[["name", "tissue", "sanger_model_id"]].notna().all().all()

    def test_tgsa_keeps_the_two_drugs_without_a_structure(self):
        data = tiny.real("tgsa")
        assert (data.n_cells, data.n_drugs, len(data)) == (580, 170, 82_833)
        assert set(data.drugs.index[data.drugs["smiles"].isna()]) == {"Carmustine", "Vincristine"}

    def test_every_line_of_gdsc2_is_the_one_its_responses_name(self):
        data, table = (
            tiny.real("gdsc2"),
            gdsc.read_responses(locate() / "gdsc/response_gdsc2.parquet"),
        )
        models = table.drop_duplicates("COSMIC_ID").set_index(
            table["COSMIC_ID"].drop_duplicates().astype(str)
        )["SANGER_MODEL_ID"]
        assert (data.cells["sanger_model_id"] == models[data.cells.index]).all()

    def test_official_csv_and_parquet_give_identical_tables(self):
        csv = locate() / "raw/GDSC2_fitted_dose_response.subset.csv.gz"
        from_csv, from_parquet = (
            gdsc.read_responses(csv),
            gdsc.read_responses(locate() / "gdsc/response_gdsc2.parquet"),
        )
        key = ["COSMIC_ID", "DRUG_ID"]
        pd.testing.assert_frame_equal(
            from_csv.sort_values(key, ignore_index=True),
            from_parquet.sort_values(key, ignore_index=True),
        )
        assert load("gdsc2", responses=csv).checksum == tiny.real("gdsc2").checksum
