"""`clmt data prepare` on official layouts: small invented tables with answers known by hand, and,
where CLMT_DATA is set, real ones.
"""

import gzip
import hashlib
import os
import shutil
import zipfile
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

from clmt_lib.data.response import gdsc
from clmt_lib.data.response.prepare import CELL_COLUMNS, drug_cids, prepare
from clmt_lib.io import DataError, locate

LINES = ["SIDM00001", "SIDM00002", "SIDM00003", "SIDM00004"]  # 3 has two COSMIC ids, 4 has none
GENES = ["AAA1", "BBB2", "CCC3", "DDD4"]
TPM = np.array(
    [[0, 1, 3, 7], [3, 3, 3, 3], [15, 7, 3, 1], [1, 0, 1, 63]], float
)  # [genes, lines]; BBB2 is constant


def response():
    rows = []
    for number, cosmic in enumerate((11, 12, 13)):
        for drug in (1, 2, 3):
            rows.append(
                [
                    "GDSC2",
                    1,
                    100 * cosmic + drug,
                    cosmic,
                    f"LINE-{cosmic}",
                    LINES[number],
                    "LUAD",
                    drug,
                    f"drug {drug}",
                    None if drug == 3 else f"T{drug}",
                    f"pathway {drug}",
                    1046,
                    "Y",
                    0.01,
                    10.0,
                    round(0.25 * cosmic - drug, 6),
                    0.5,
                    0.1,
                    -0.5,
                ]
            )
    return pd.DataFrame(rows, columns=gdsc.RESPONSE_COLUMNS)


def models():
    frame = pd.DataFrame(dict.fromkeys([*CELL_COLUMNS, "not_used"]), index=range(4), dtype=object)
    frame["model_id"], frame["model_name"] = LINES, ["LINE-11", "LINE-12", "LINE-13", "LINE-X"]
    frame["COSMIC_ID"], frame["BROAD_ID"] = (
        ["11", "12", "13;14", None],
        ["ACH-000001", "ACH-000002", "ACH-000003", "ACH-000004"],
    )
    frame["tissue"], frame["cancer_type"], frame["msi_status"] = "Lung", "Carcinoma", "MSS"
    return frame


def passports_matrix(values):
    head = [["model_id", ""], ["model_name", ""], ["data_source", ""], ["gene_id", "symbol"]]
    rows = [
        [*head[0], *LINES],
        [*head[1], "a", "b", "c", "d"],
        [*head[2], *["sanger"] * 4],
        [*head[3], "", "", "", ""],
    ]
    return (
        "\n".join(
            ",".join(map(str, row))
            for row in rows + [[f"SIDG0000{i}", gene, *values[i]] for i, gene in enumerate(GENES)]
        )
        + "\n"
    )


def mutations():
    return pd.DataFrame(
        {
            "gene_symbol": ["AAA1", "AAA1", "BBB2", "CCC3", "DDD4", "DDD4"],
            "effect": ["missense", "nonsense", "silent", "frameshift", "intronic", "missense"],
            "model_id": [
                "SIDM00001",
                "SIDM00001",
                "SIDM00001",
                "SIDM00003",
                "SIDM00002",
                "SIDM00004",
            ],
            "vaf": 0.5,
        }
    )


@pytest.fixture
def downloads(tmp_path):
    folder = tmp_path / "downloads"
    folder.mkdir()
    response().to_csv(folder / "GDSC2_fitted_dose_response_test.csv", index=False)
    models().to_csv(folder / "model_list_20200101.csv", index=False)
    pd.DataFrame(
        {
            "DRUG_ID": [1, 2, 9],
            "SCREENING_SITE": "X",
            "DRUG_NAME": ["drug 1", "drug 2", "drug 9"],
            "SYNONYMS": ["one", None, None],
            "TARGET": ["T1", "T2", None],
            "TARGET_PATHWAY": "P",
        }
    ).to_csv(folder / "screened_compounds_rel_0.csv", index=False)
    (folder / "Drug_list.csv").write_text(
        "Drug Id, Name, Synonyms, Targets, Target pathway, PubCHEM\n1,drug 1,,,,702\n2,drug "
        '2,,,,"887, 888"\n3,drug 3,,,,none\n',
        encoding="utf-8",
    )
    (folder / "pubchem_smiles.tsv").write_text("CID\tSMILES\n702\tOCC\n887\tCO\n", encoding="utf-8")
    (folder / "rnaseq_tpm_20200101.csv").write_text(passports_matrix(TPM), encoding="utf-8")
    mutations().to_csv(folder / "mutations_all_20200101.csv", index=False)
    (folder / "WES_pureCN_CNV_genes_total_copy_number_20200101.csv").write_text(
        passports_matrix(np.array([[2, 4, 3, 2], [2, 4, 3, 2], [0, 8, 3, 2], [2, 4, 6, 2]])),
        encoding="utf-8",
    )
    return folder


def table(out, name):
    return pd.read_parquet(out / f"{name}.parquet")


def assert_nothing_left(out):
    assert not out.exists() and not [
        path for path in out.parent.iterdir() if path.name.startswith(".")
    ]


def test_the_prepared_folder_is_what_the_readers_take(downloads, tmp_path):
    out = tmp_path / "prepared"
    done = prepare(downloads, out)
    assert done.missing == {} and set(done.sources) == {
        "response",
        "models",
        "compounds",
        "drug list",
        "structures",
        "expression",
        "mutations",
        "copy number",
    }
    benchmark = gdsc.load(folder=out)
    assert (
        benchmark.n_cells == 3 and list(benchmark.drugs.index) == ["1", "2"] and len(benchmark) == 6
    )
    assert benchmark.matrix()[0, 0] == 0.25 * 11 - 1
    assert (
        list(benchmark.cells.index) == ["11", "12", "13"]
        and benchmark.cells["tissue"].eq("Lung").all()
    )
    assert len(gdsc.load(folder=out, complete=False)) == 9


def test_response_keeps_the_official_columns_and_values(downloads, tmp_path):
    prepare(downloads, tmp_path / "out")
    pd.testing.assert_frame_equal(
        table(tmp_path / "out", "gdsc/response_gdsc2"),
        pd.read_csv(downloads / "GDSC2_fitted_dose_response_test.csv"),
    )


def test_expression_is_the_log_standardised_per_gene(downloads, tmp_path):
    done = prepare(downloads, tmp_path / "out")
    found = table(tmp_path / "out", "gdsc/expression_zscore").set_index("COSMIC_ID")
    assert list(found.columns) == ["AAA1", "CCC3", "DDD4"] and list(found.index) == [11, 12, 13, 14]
    raw = np.array([0.0, 1, 2, 2])  # log2(TPM+1) of AAA1; the third model has two COSMIC ids
    np.testing.assert_allclose(found["AAA1"], (raw - raw.mean()) / raw.std(), rtol=1e-6)
    assert any("1 genes" in note and "constant" in note for note in done.notes)


def test_means_and_deviations_are_kept_so_that_a_new_line_comes_onto_the_same_scale(
    downloads, tmp_path
):
    prepare(downloads, tmp_path / "out")
    scale = table(tmp_path / "out", "gdsc/expression_scale").set_index("symbol")
    found = table(tmp_path / "out", "gdsc/expression_zscore").set_index("COSMIC_ID")
    assert list(scale.index) == list(found.columns) and (scale["deviation"] > 0).all()
    known = np.array([0.0, 1, 2, 2])  # log2(TPM+1) of AAA1
    np.testing.assert_allclose(scale.loc["AAA1"], [known.mean(), known.std()])
    raw = found * scale["deviation"] + scale["mean"]  # log2(TPM+1) of the lines that are there
    side = gdsc.load(tmp_path / "out", complete=False).side("cell")
    assert list(side.scales) == ["expression"]
    wanted = found[side.views["expression"].columns]
    np.testing.assert_allclose(side.on_scale("expression", raw), wanted, atol=1e-6)
    with pytest.raises(DataError, match="missing column 'AAA1'"):
        side.on_scale("expression", raw.drop(columns="AAA1"))
    with pytest.raises(DataError, match="nothing says what mutation of cells .*data prepare"):
        side.on_scale("mutation", raw)


def test_copy_number_is_the_log_ratio_to_the_median_of_the_line(downloads, tmp_path):
    prepare(downloads, tmp_path / "out")
    found = table(tmp_path / "out", "gdsc/cna_log2").set_index("symbol").drop(columns="entrez_id")
    assert list(found.columns) == ["11", "12", "13", "14"]
    np.testing.assert_allclose(found["11"], [0, 0, -5, 0])
    np.testing.assert_allclose(found["12"], [0, 0, 1, 0])
    np.testing.assert_allclose(found["13"], [0, 0, 0, 1])


def test_mutations_are_those_that_change_a_protein(downloads, tmp_path):
    prepare(downloads, tmp_path / "out")
    long = table(tmp_path / "out", "gdsc/mutation_long")
    assert list(long.columns) == ["COSMIC_ID", "entrez_id", "score", "symbol"]
    assert list(zip(long["COSMIC_ID"], long["symbol"], long["score"], strict=True)) == [
        (11, "AAA1", 1.0),
        (13, "CCC3", 1.0),
        (14, "CCC3", 1.0),
    ]
    assert list(table(tmp_path / "out", "gdsc/mutation_lines")["COSMIC_ID"]) == [11, 12, 13, 14]
    assert list(table(tmp_path / "out", "gdsc/mutation_genes")["symbol"]) == [
        "AAA1",
        "BBB2",
        "CCC3",
        "DDD4",
    ]


def test_drugs_have_ids_targets_and_checked_structures(downloads, tmp_path):
    done = prepare(downloads, tmp_path / "out")
    drugs = table(tmp_path / "out", "gdsc/drugs").set_index("DRUG_ID")
    assert (
        list(drugs.index) == [1, 2, 3, 9]
        and drugs.loc[3, "drug_name"] == "drug 3"
        and drugs.loc[1, "synonyms"] == "one"
    )
    assert list(drugs["pubchem_cid"].astype(object).fillna(0)) == [702, 887, 0, 0]
    assert (
        drugs.loc[1, "smiles"] == "OCC"
        and drugs.loc[1, "canonical_smiles_rdkit"] == "CCO"
        and drugs.loc[1, "inchikey_rdkit"] == "LFQSCWFLJHTTHZ-UHFFFAOYSA-N"
    )
    assert drugs["smiles"].isna().tolist() == [False, False, True, True] and drugs[
        "in_gdsc2"
    ].tolist() == [True, True, True, False]
    assert any("1 drugs of the response table are not in" in note for note in done.notes)
    assert drug_cids(downloads) == {1: 702, 2: 887}


def test_manifest_and_sources_are_true(downloads, tmp_path):
    out = tmp_path / "out"
    done = prepare(downloads, out)
    manifest = pd.read_csv(out / "MANIFEST.tsv", sep="\t").set_index("file")
    files = {str(path.relative_to(out)) for path in out.rglob("*.parquet")}
    assert set(manifest.index) == files == set(done.manifest["file"])
    for name, row in manifest.iterrows():
        content = (out / name).read_bytes()
        assert row["bytes"] == len(content) and row["sha256"] == hashlib.sha256(content).hexdigest()
        assert row["shape"] == "x".join(map(str, pd.read_parquet(out / name).shape))
    sources = pd.read_csv(out / "SOURCES.tsv", sep="\t").set_index("input")
    assert (
        sources.loc["models", "sha256"]
        == hashlib.sha256((downloads / "model_list_20200101.csv").read_bytes()).hexdigest()
    )


def test_xlsx_zip_and_gzip_give_the_same_tables(downloads, tmp_path):
    prepare(downloads, tmp_path / "plain")
    response().to_excel(downloads / "GDSC2_fitted_dose_response_test.xlsx", index=False)
    (downloads / "GDSC2_fitted_dose_response_test.csv").unlink()
    with zipfile.ZipFile(downloads / "mutations_all_20200101.zip", "w") as archive:
        archive.write(downloads / "mutations_all_20200101.csv", "deep/mutations_all_20200101.csv")
        archive.writestr("deep/readme.txt", "not an input")
    (downloads / "mutations_all_20200101.csv").unlink()
    with gzip.open(downloads / "model_list_20200101.csv.gz", "wb") as packed:
        packed.write((downloads / "model_list_20200101.csv").read_bytes())
    (downloads / "model_list_20200101.csv").unlink()
    done = prepare(downloads, tmp_path / "packed")
    plain = pd.read_csv(tmp_path / "plain/MANIFEST.tsv", sep="\t")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "packed/MANIFEST.tsv", sep="\t"), plain)
    assert (
        done.sources["mutations"]["file"] == "mutations_all_20200101.csv"
        and not (tmp_path / "packed/.unpacked").exists()
    )


def test_depmap_layouts(downloads, tmp_path):
    for name in (
        "rnaseq_tpm_20200101.csv",
        "mutations_all_20200101.csv",
        "WES_pureCN_CNV_genes_total_copy_number_20200101.csv",
    ):
        (downloads / name).unlink()
    ids = ["ACH-000001", "ACH-000002", "ACH-000003", "ACH-000001"]
    wide = pd.DataFrame(
        {
            "": range(4),
            "ModelID": ids,
            "IsDefaultEntryForModel": ["Yes", "Yes", "Yes", "No"],
            "AAA1 (7)": [0, 1, 3, 99.0],
            "CCC3 (9)": [2, 1, 0, 99.0],
        }
    )
    wide.to_csv(downloads / "OmicsExpressionProteinCodingGenesTPMLogp1.csv", index=False)
    pd.DataFrame({"AAA1 (7)": [1, 2, 0.0], "CCC3 (9)": [1, 1, np.log2(1.5)]}, index=ids[:3]).to_csv(
        downloads / "OmicsCNGene.csv"
    )
    pd.DataFrame(
        {
            "ModelID": ids,
            "HugoSymbol": ["AAA1", "CCC3", "AAA1", "AAA1"],
            "EntrezGeneID": [7, 9, 7, 7.0],
            "MolecularConsequence": [
                "missense_variant&splice_region_variant",
                "synonymous_variant",
                "stop_gained",
                "missense_variant",
            ],
        }
    ).to_csv(downloads / "OmicsSomaticMutations.csv", index=False)
    out = tmp_path / "out"
    prepare(downloads, out)
    raw = np.array(
        [0.0, 1, 3, 3]
    )  # already a logarithm; the row that is not the model's default is left out
    np.testing.assert_allclose(
        table(out, "gdsc/expression_zscore")["AAA1"], (raw - raw.mean()) / raw.std(), rtol=1e-6
    )
    copy = table(out, "gdsc/cna_log2").set_index("symbol")
    assert list(copy["entrez_id"]) == [7, 9]
    np.testing.assert_allclose(
        copy[["11", "12", "13", "14"]], [[0, np.log2(3), -5, -5], [0, 0, -1, -1]]
    )
    long = table(out, "gdsc/mutation_long")
    assert list(zip(long["COSMIC_ID"], long["symbol"], long["entrez_id"], strict=True)) == [
        (11, "AAA1", 7),
        (13, "AAA1", 7),
        (14, "AAA1", 7),
    ]
    assert len(gdsc.load(folder=out)) == 6


def test_passports_long_tables_agree_with_the_matrix(downloads, tmp_path):
    prepare(downloads, tmp_path / "matrix")
    rows = [(line, gene, TPM[i, j]) for i, gene in enumerate(GENES) for j, line in enumerate(LINES)]
    long = pd.DataFrame(rows, columns=["model_id", "gene_symbol", "tpm"])
    long.to_csv(downloads / "rnaseq_latest.csv", index=False)
    (downloads / "rnaseq_tpm_20200101.csv").unlink()
    prepare(downloads, tmp_path / "long")
    pd.testing.assert_frame_equal(
        table(tmp_path / "matrix", "gdsc/expression_zscore"),
        table(tmp_path / "long", "gdsc/expression_zscore"),
    )


def test_a_symbol_seen_twice_keeps_its_first_row(downloads, tmp_path):
    prepare(downloads, tmp_path / "once")
    path = downloads / TPMS
    path.write_text(path.read_text(encoding="utf-8") + "SIDG00009,AAA1,9,1,5,1\n", encoding="utf-8")
    prepare(downloads, tmp_path / "twice")
    pd.testing.assert_frame_equal(
        table(tmp_path / "once", "gdsc/expression_zscore"),
        table(tmp_path / "twice", "gdsc/expression_zscore"),
    )


def test_a_list_of_genes_restricts_every_omics_table(downloads, tmp_path):
    out = tmp_path / "out"
    prepare(downloads, out, genes=["AAA1", "DDD4"])
    assert list(table(out, "gdsc/expression_zscore").columns) == ["COSMIC_ID", "AAA1", "DDD4"]
    assert set(table(out, "gdsc/mutation_long")["symbol"]) == {"AAA1"} and list(
        table(out, "gdsc/cna_log2")["symbol"]
    ) == ["AAA1", "DDD4"]
    assert len(table(out, "gdsc/mutation_lines")) == 4


def test_missing_optional_inputs_are_reported_not_invented(downloads, tmp_path):
    for path in downloads.iterdir():
        if not path.name.startswith(("GDSC2", "model_list")):
            path.unlink()
    out = tmp_path / "out"
    done = prepare(downloads, out)
    assert set(done.missing) == {
        "compounds",
        "drug list",
        "structures",
        "expression",
        "mutations",
        "copy number",
    }
    assert {path.name for path in out.rglob("*.parquet")} == {
        "cell_lines.parquet",
        "response_gdsc2.parquet",
        "drugs.parquet",
    }
    drugs = table(out, "gdsc/drugs")
    assert drugs["smiles"].isna().all() and list(drugs["target"].fillna("")) == ["T1", "T2", ""]


def test_empty_rows_are_counted(downloads, tmp_path):
    path = downloads / "GDSC2_fitted_dose_response_test.csv"
    path.write_text(path.read_text(encoding="utf-8") + "," * 18 + "\n", encoding="utf-8")
    done = prepare(downloads, tmp_path / "out")
    assert (
        any("1 empty rows" in note for note in done.notes)
        and len(table(tmp_path / "out", "gdsc/response_gdsc2")) == 9
    )


def spoil(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def latin1(path):
    path.write_bytes(path.read_bytes().replace(b"LINE-12", b"LINE-\xe9", 1))


def cut_gzip(path):
    whole = gzip.compress(path.read_bytes())
    path.with_name(path.name + ".gz").write_bytes(whole[: len(whole) // 2])
    path.unlink()


RESPONSE, MODELS, TPMS = (
    "GDSC2_fitted_dose_response_test.csv",
    "model_list_20200101.csv",
    "rnaseq_tpm_20200101.csv",
)
HOSTILE = {
    "unknown column": (
        RESPONSE,
        lambda path: spoil(path, "LN_IC50", "IC50"),
        "missing column 'LN_IC50'.*the table has",
    ),
    "latin-1": (RESPONSE, latin1, "row 5: text is not UTF-8.*iconv"),
    "cut gzip": (RESPONSE, cut_gzip, "test.csv.gz.*broken gzip.*fetch it again"),
    "empty file": (RESPONSE, lambda path: path.write_bytes(b""), "empty table"),
    "header only": (
        RESPONSE,
        lambda path: path.write_text(path.read_text().splitlines()[0] + "\n"),
        "empty table",
    ),
    "no response value": (
        RESPONSE,
        lambda path: spoil(path, "1.75,0.5", "NaN,0.5"),
        "row 2: LN_IC50 is empty",
    ),
    "infinite response": (
        RESPONSE,
        lambda path: spoil(path, "1.75,0.5", "inf,0.5"),
        "row 2: LN_IC50 .* is not a finite number",
    ),
    "id not a number": (
        RESPONSE,
        lambda path: spoil(path, "1102,11,", "1102,eleven,"),
        "row 3: COSMIC_ID 'eleven' is not a whole number",
    ),
    "duplicate pair": (
        RESPONSE,
        lambda path: spoil(path, "LUAD,2,", "LUAD,1,"),
        "row 3: duplicate pair COSMIC_ID 11, DRUG_ID 1",
    ),
    "another screen": (
        RESPONSE,
        lambda path: spoil(path, "GDSC2,1,1102", "GDSC1,1,1102"),
        "row 3: a row of 'GDSC1' among GDSC2",
    ),
    "model list without ids": (
        MODELS,
        lambda path: spoil(path, "BROAD_ID", "BROAD"),
        "missing column 'BROAD_ID'",
    ),
    "COSMIC id of letters": (
        MODELS,
        lambda path: spoil(path, "13;14", "13;x"),
        "row 4: COSMIC_ID 'x' is not a whole number",
    ),
    "other layout": (TPMS, lambda path: path.write_text("a,b\n1,2\n"), "row 1: unknown layout"),
    "TPM of letters": (
        TPMS,
        lambda path: spoil(path, "15.0", "much"),
        "row 7: SIDM00001 'much' is not a finite number",
    ),
    "negative TPM": (TPMS, lambda path: spoil(path, "15.0", "-15.0"), "negative TPM of CCC3"),
    "no header rows": (
        TPMS,
        lambda path: path.write_text("model_id,,SIDM00001\nmodel_name,,a\n"),
        "no rows of genes",
    ),
    "lines of nobody": (
        TPMS,
        lambda path: path.write_text(path.read_text().replace("SIDM0000", "SIDM0009")),
        "no line of this table has a COSMIC id",
    ),
    "SMILES": (
        "pubchem_smiles.tsv",
        lambda path: spoil(path, "\tCO", "\tC(("),
        r"row 3: SMILES 'C\(\(' cannot be parsed",
    ),
    "CID of letters": (
        "pubchem_smiles.tsv",
        lambda path: spoil(path, "887", "x"),
        "row 3: cid 'x' is not a whole number",
    ),
    "drug list": (
        "Drug_list.csv",
        lambda path: spoil(path, "PubCHEM", "other"),
        "missing column 'pubchem'",
    ),
    "unknown effects": (
        "mutations_all_20200101.csv",
        lambda path: path.write_text(
            path.read_text()
            .replace("missense", "a")
            .replace("nonsense", "b")
            .replace("frameshift", "c")
        ),
        "no effect is known to change a protein",
    ),
    "two releases": (
        MODELS,
        lambda path: path.with_name("model_list_20210101.csv").write_text(
            path.read_text().replace("Lung", "Skin")
        ),
        "two files for models.*keep the one you mean",
    ),
    "needed input": (MODELS, lambda path: path.unlink(), "no file for models"),
    "zip": (
        "mutations_all_20200101.csv",
        lambda path: path.with_name("x.zip").write_bytes(b"PK\x03\x04 no"),
        "x.zip: broken zip",
    ),
    "xlsx": (RESPONSE, lambda path: path.rename(path.with_suffix(".xlsx")), "cannot be parsed"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_bad_input_gives_one_clear_message_and_leaves_nothing(downloads, tmp_path, case):
    name, spoiler, message = HOSTILE[case]
    spoiler(downloads / name)
    with pytest.raises(DataError, match=message) as caught:
        prepare(downloads, tmp_path / "out")
    assert "Remedy:" in str(caught.value)
    assert_nothing_left(tmp_path / "out")


@contextmanager
def without_privileges():
    """Root may read everything: become nobody for a moment."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_folder_that_cannot_be_read_or_written(downloads, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(DataError, match="nowhere: folder of downloads cannot be read.*Remedy"):
        prepare(tmp_path / "nowhere", out)
    assert_nothing_left(out)
    downloads.chmod(0)
    with without_privileges(), pytest.raises(DataError, match="cannot be"):
        prepare(downloads, out)
    downloads.chmod(0o755)
    assert_nothing_left(out)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written|is there already"):
        prepare(downloads, tmp_path / "file" / "out")


def test_what_is_there_is_never_overwritten(downloads, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="is there already"):
        prepare(downloads, out)
    assert (out / "mine.txt").read_text() == "mine"


def test_leftovers_of_a_killed_run_do_no_harm(downloads, tmp_path):
    left = tmp_path / ".out.partial" / "gdsc"
    left.mkdir(parents=True)
    (left / "half.parquet").write_bytes(b"half")
    prepare(downloads, tmp_path / "out")
    assert not left.exists() and not (tmp_path / "out/gdsc/half.parquet").exists()


# Real tables, re-expressed in the official layouts


@pytest.fixture
def real():
    if not os.environ.get("CLMT_DATA"):
        pytest.skip("CLMT_DATA is not set")
    folder = locate()
    if not (folder / "raw").is_dir():
        pytest.skip("the data folder has no raw/ official files")
    return folder


def real_downloads(real, folder, genes, cosmic, models):
    """Official-layout files for some genes and lines of the real prepared tables."""
    shutil.copy(real / "raw/GDSC2_fitted_dose_response.subset.csv.gz", folder)
    shutil.copy(
        real / "raw/cell_model_passports_list_20240103.csv.gz",
        folder / "model_list_20240103.csv.gz",
    )
    shutil.copy(
        real / "raw/GDSC_8.4_treatmentMetadata.csv", folder / "screened_compounds_rel_8.4.csv"
    )
    drugs = pd.read_parquet(real / "gdsc/drugs.parquet")
    drugs.rename(columns={"pubchem_cid": "CID"})[["DRUG_ID", "CID", "smiles"]].to_csv(
        folder / "my_smiles.tsv", sep="\t", index=False
    )
    copy = (
        pd.read_parquet(real / "gdsc/cna_log2.parquet")
        .drop_duplicates("symbol")
        .set_index("symbol")
        .loc[genes]
    )
    entrez, copy = copy["entrez_id"], copy[[str(line) for line in cosmic]].T
    relative = np.log2(2**copy + 1)
    relative.columns = [f"{gene} ({entrez[gene]})" for gene in genes]
    relative.index = [models.loc[line, "BROAD_ID"] for line in cosmic]
    relative.to_csv(folder / "OmicsCNGene.csv")
    long = pd.read_parquet(real / "gdsc/mutation_long.parquet")
    long = long[long["COSMIC_ID"].isin(cosmic) & long["symbol"].isin(genes)]
    calls = pd.DataFrame(
        {
            "model_id": long["COSMIC_ID"].map(models["model_id"]),
            "gene_symbol": long["symbol"],
            "effect": "missense",
        }
    )
    calls.to_csv(folder / "mutations_all_20240101.csv", index=False)
    z = (
        pd.read_parquet(real / "gdsc/expression_zscore_656g.parquet")
        .set_index("COSMIC_ID")
        .loc[cosmic, genes]
    )
    logs = z - z.min()  # a logarithm of TPM + 1 is not negative; z-scores know no shift
    logs.set_axis(relative.columns, axis=1).set_axis(relative.index).to_csv(
        folder / "OmicsExpressionProteinCodingGenesTPMLogp1.csv"
    )
    return z, copy, long


def test_real_official_files_give_the_shared_tables(real, tmp_path):
    downloads, out = tmp_path / "downloads", tmp_path / "out"
    downloads.mkdir()
    models = pd.read_csv(
        real / "raw/cell_model_passports_list_20240103.csv.gz", low_memory=False
    ).dropna(subset=["COSMIC_ID", "BROAD_ID"])
    models = models[
        models["COSMIC_ID"].str.fullmatch(r"\d+") & ~models["BROAD_ID"].str.contains(";")
    ]
    models = models.assign(COSMIC_ID=models["COSMIC_ID"].astype(int)).set_index("COSMIC_ID")
    response = pd.read_parquet(real / "gdsc/response_gdsc2.parquet")
    usable = set(response["COSMIC_ID"]) & set(models.index)
    for name in ("mutation_lines", "expression_zscore_656g"):
        usable &= set(
            pd.read_parquet(real / f"gdsc/{name}.parquet", columns=["COSMIC_ID"])["COSMIC_ID"]
        )
    everything = (
        pd.read_parquet(real / "gdsc/cna_log2.parquet")
        .drop_duplicates("symbol")
        .set_index("symbol")
    )
    cosmic = sorted(
        line for line in usable if str(line) in everything and everything[str(line)].notna().all()
    )[:60]
    genes = [
        gene
        for gene in pd.read_parquet(real / "gdsc/expression_zscore_656g.parquet").columns[1:]
        if gene in everything.index
    ][:80]
    z, copy, long = real_downloads(real, downloads, genes, cosmic, models)
    prepare(downloads, out)
    pd.testing.assert_frame_equal(table(out, "gdsc/response_gdsc2"), response)
    np.testing.assert_allclose(
        table(out, "gdsc/expression_zscore").set_index("COSMIC_ID").loc[cosmic, genes],
        (z - z.mean()) / z.std(ddof=0),
        atol=1e-5,
    )
    found = table(out, "gdsc/cna_log2").set_index("symbol").loc[genes, copy.index].T
    np.testing.assert_allclose(found, np.maximum(copy, -5), atol=1e-9)
    mutated = table(out, "gdsc/mutation_long")
    assert set(zip(mutated["COSMIC_ID"], mutated["symbol"], strict=True)) == set(
        zip(long["COSMIC_ID"], long["symbol"], strict=True)
    )
    drugs, shared = (
        pd.read_parquet(folder / "gdsc/drugs.parquet").set_index("DRUG_ID")
        for folder in (out, real)
    )
    both = drugs.index.intersection(shared.index)
    for column in ("smiles", "canonical_smiles_rdkit", "inchikey_rdkit"):
        assert drugs.loc[both, column].fillna("").equals(shared.loc[both, column].fillna("")), (
            column
        )
    benchmark = gdsc.load(folder=out)
    sequenced = set(
        long["COSMIC_ID"]
        # a line without a mutation in these few genes has no row: it does not count as sequenced
    )
    reference = response[
        response["COSMIC_ID"].isin(sequenced)
        & response["DRUG_ID"].isin(shared.index[shared["smiles"].notna()])
    ]
    assert len(benchmark) == len(reference) > 5000 and set(benchmark.cells.index) == set(
        map(str, sequenced)
    )
