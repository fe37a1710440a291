"""Files as providers ship them and people keep them: each either gives the right tables or one
line that names file, row and remedy. Lines and drugs are invented, layouts are the official ones.
"""

import gzip
import io
import re
import zipfile

import numpy as np
import pandas as pd
import pytest

from clmt_lib import data
from clmt_lib.data.official import to_ln_um, wanted_genes
from clmt_lib.data.response.gdsc import RESPONSE_COLUMNS
from clmt_lib.data.response.prepare import prepare
from clmt_lib.io import DataError, numbers, read_table

GENES = "TP53 EGFR KRAS BRAF MARCH1 SEPT9 MYC PTEN ERBB2 CDK4 RB1 C1orf112".split()
MODELS = [f"SIDM{90000 + i}" for i in range(12)]
SMILES = (
    "CC(=O)Oc1ccccc1C(=O)O CN1C=NC2=C1C(=O)N(C(=O)N2C)C CC(C)Cc1ccc(cc1)C(C)C(=O)O "
    "CC(=O)Nc1ccc(O)cc1 c1ccc2[nH]ccc2c1 CN(C)C(=N)NC(=N)N Nc1ccc(cc1)S(=O)(=O)N "
    "OC(=O)c1cccnc1"
).split()
RESPONSE, LIST = "GDSC2_fitted_dose_response_27Oct23.csv", "model_list_20241120.csv"
TPM, CALLS = "rnaseq_tpm_20220624.csv", "mutations_all_20241212.csv"
COPIES = "WES_pureCN_CNV_genes_total_copy_number_20221213.csv"
COMPOUNDS, STRUCTURES = "screened_compounds_rel_8.5.csv", "my_smiles.tsv"


def responses(random):
    rows = []
    for line, model in enumerate(MODELS):
        for drug in range(len(SMILES)):
            value = round(float(random.normal(2, 2.5)), 5)
            rows.append(
                ["GDSC2", 343, 1000 * line + drug, 700000 + 7 * line, f"INV-{line:02}", model]
                + ["LUAD", 1001 + drug, f"Drug {drug}", f"T{drug}", f"pathway {drug % 3}", 1046]
                + ["Y", 0.01, 10.0, value, 0.5, 0.07, 0.1]
            )
    return pd.DataFrame(rows, columns=RESPONSE_COLUMNS)


def passports(values, labels=("gene_id", "gene_symbol")):
    ids = {"gene_id": [f"SIDG{i:05}" for i in range(12)], "gene_symbol": GENES}
    ids["ensembl_gene_id"] = [f"ENSG{i:011}" for i in range(12)]
    pad = [""] * (len(labels) - 1)
    head = [["model_id", *pad, *MODELS], ["model_name", *pad, *MODELS]]
    head += [[*labels, *[""] * len(MODELS)]]
    rows = [[*(ids[label][i] for label in labels), *values[i]] for i in range(len(GENES))]
    return "".join(",".join(map(str, row)) + "\n" for row in head + rows)


def depmap(values):
    head = ["", "SequencingID", "ModelID", "IsDefaultEntryForModel"]
    head += [f"{gene} ({7000 + i})" for i, gene in enumerate(GENES)]
    rows = [[i, f"CDS-{i}", f"ACH-{900000 + i}", "Yes", *values[:, i]] for i in range(len(MODELS))]
    return "".join(",".join(map(str, row)) + "\n" for row in [head, *rows])


@pytest.fixture(scope="module")
def invented():
    """File name -> text of a sound folder of downloads, and the arrays they were written from."""
    random = np.random.default_rng(0)
    tpm = np.round(np.exp(random.normal(2.5, 1.2, (12, 12))), 3)
    copies = random.integers(1, 5, (12, 12))
    lines = pd.DataFrame({"model_id": MODELS, "COSMIC_ID": 700000 + 7 * np.arange(12)})
    lines["BROAD_ID"] = [f"ACH-{900000 + i}" for i in range(12)]
    lines["RRID"], lines["model_name"] = (
        [f"CVCL_{i}" for i in range(12)],
        [f"INV-{i:02}" for i in range(12)],
    )
    lines["tissue"], lines["cancer_type"], lines["msi_status"] = "Lung", "Carcinoma", "MSS"
    calls = [
        [gene, "missense" if (i + j) % 3 else "silent", model, 0.4]
        for j, model in enumerate(MODELS)
        for i, gene in enumerate(GENES)
        if (i * j) % 4 < 2
    ]
    drugs = range(len(SMILES))
    compounds = [[1001 + i, "INV", f"Drug {i}", "", f"T{i}", f"pathway {i % 3}"] for i in drugs]
    columns = "DRUG_ID SCREENING_SITE DRUG_NAME SYNONYMS TARGET TARGET_PATHWAY".split()
    files = {
        RESPONSE: responses(random).to_csv(index=False),
        LIST: lines.to_csv(index=False),
        TPM: passports(tpm),
        COPIES: passports(copies),
        CALLS: pd.DataFrame(calls, columns=["gene_symbol", "effect", "model_id", "vaf"]).to_csv(
            index=False
        ),
        COMPOUNDS: pd.DataFrame(compounds, columns=columns).to_csv(index=False),
        STRUCTURES: "DRUG_ID\tCID\tSMILES\n"
        + "".join(f"{1001 + i}\t{501 + i}\t{SMILES[i]}\n" for i in drugs),
    }
    return files, tpm, copies


@pytest.fixture
def downloads(invented, tmp_path):
    folder = tmp_path / "downloads"
    folder.mkdir()
    for name, text in invented[0].items():
        (folder / name).write_text(text)
    return folder


def change(path, old, new, count=-1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def prepared(downloads, tmp_path, **more):
    done = prepare(downloads, tmp_path / "out", **more)
    return done, data.load("gdsc2", folder=tmp_path / "out")


def replace(downloads, old, new, content):
    (downloads / old).unlink()
    (downloads / new).write_text(content)


# --- read, and right


def test_the_sound_folder_gives_every_pair(downloads, tmp_path, invented):
    done, benchmark = prepared(downloads, tmp_path)
    assert benchmark.shape == (12, 8) and len(benchmark) == 96
    log = np.log2(invented[1] + 1)
    z = (log - log.mean(1, keepdims=True)) / log.std(1, keepdims=True)
    expression = benchmark.omics["expression"]
    assert np.allclose(expression[GENES].to_numpy().T, z, atol=1e-5)
    assert "96 of 96 responses have all omics and a structure" in done.notes
    assert any("silent" in note and CALLS in note for note in done.notes)


@pytest.mark.parametrize(
    "labels",
    [
        ("gene_symbol", "ensembl_gene_id", "gene_id"),
        ("gene_symbol", "ensembl_gene_id"),
        ("ensembl_gene_id", "gene_symbol"),
    ],
)
def test_gene_columns_of_the_passports_are_found_by_their_labels(
    downloads, tmp_path, invented, labels
):
    replace(downloads, TPM, "rnaseq_merged_rsem_tpm_20260323.csv", passports(invented[1], labels))
    _, benchmark = prepared(downloads, tmp_path)
    assert sorted(benchmark.omics["expression"].columns) == sorted(GENES)


@pytest.mark.parametrize(
    "name, values, expected",
    [
        ("OmicsCNGeneWGS.csv", [0.0, 0.5, 2.0, 4.0], [-5, -1, 1, 2]),
        ("PortalOmicsCNGeneLog2.csv", [0.0, 1.0, np.log2(3), 2.0], [-5, 0, 1, np.log2(3)]),
        ("OmicsCNGene.csv", [1.0, 0.5, 2.0, 16.0], [0, -1, 1, 4]),  # 16 is no log2(ratio + 1)
        ("OmicsCNGene.csv", [-1.0, 0.0, 1.0, 2.0], [-1, 0, 1, 2]),  # nor is -1
    ],
)
def test_the_scale_of_copy_numbers_is_recognised(downloads, tmp_path, name, values, expected):
    table = np.ones((12, 12))
    table[0, :4] = values
    replace(downloads, COPIES, name, depmap(table))
    done, benchmark = prepared(downloads, tmp_path)
    assert np.allclose(benchmark.omics["copy_number"]["TP53"].iloc[:4], expected, atol=1e-5)
    assert any(note.startswith(f"{name} read as") for note in done.notes)


@pytest.mark.parametrize("logged", [True, False])
def test_expression_of_depmap_is_the_same_logged_or_not(downloads, tmp_path, invented, logged):
    name = "OmicsExpressionTPMLogp1HumanProteinCodingGenes.csv"
    values = np.log2(invented[1] + 1) if logged else invented[1]
    _, before = prepared(downloads, tmp_path)
    replace(downloads, TPM, name, depmap(values))
    done = prepare(downloads, tmp_path / "again")
    after = data.load("gdsc2", folder=tmp_path / "again")
    assert np.allclose(
        after.omics["expression"][GENES], before.omics["expression"][GENES], atol=1e-5
    )
    assert any("holds TPM, not their logarithms" in note for note in done.notes) is not logged


def test_a_scale_that_was_said_is_believed(downloads, tmp_path):
    _, before = prepared(downloads, tmp_path)
    frame = pd.read_csv(downloads / RESPONSE)
    frame["LN_IC50"] /= np.log(10)
    frame.to_csv(downloads / RESPONSE, index=False)
    prepare(downloads, tmp_path / "again", scales={"response": "log10_uM"})
    after = data.load("gdsc2", folder=tmp_path / "again")
    assert np.allclose(after.y, before.y, atol=1e-5)


def test_symbols_are_repaired_and_counted(downloads, tmp_path, invented):
    change(downloads / TPM, ",TP53,", ",TP53 ,")
    change(downloads / TPM, ",KRAS,", ",kras,")
    change(downloads / TPM, ",C1orf112,", ",c1orf112,")
    done, benchmark = prepared(downloads, tmp_path)
    assert benchmark.omics["mutation"].shape[1] == len(GENES)
    assert any("3 gene symbols" in note and "'kras' is KRAS" in note for note in done.notes)


def test_a_list_of_genes_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "genes.txt"
    path.write_bytes(b"\xef\xbb\xbfTP53\r\nEGFR\r\n")
    assert wanted_genes(path) == ["TP53", "EGFR"]


def test_wanted_genes_that_are_nowhere_are_said(downloads, tmp_path):
    done, _ = prepared(downloads, tmp_path, genes=["TP53", "EGFR", "NOSUCH1"])
    assert sum("1 of 3 wanted genes" in note and "NOSUCH1" in note for note in done.notes) == 2


def test_spaces_around_ids_and_an_index_column_do_no_harm(downloads, tmp_path):
    lines = pd.read_csv(downloads / LIST)
    lines["COSMIC_ID"] = lines["COSMIC_ID"].astype(float)
    lines["model_id"] += " "
    lines.to_csv(downloads / LIST)
    assert prepared(downloads, tmp_path)[1].shape == (12, 8)


def test_salts_and_hydrates_are_the_compound_itself(downloads, tmp_path):
    change(downloads / STRUCTURES, SMILES[1], "[Na+].[O-]C(=O)c1ccccc1OC(C)=O")
    change(downloads / STRUCTURES, SMILES[3], SMILES[2] + ".O")
    _, benchmark = prepared(downloads, tmp_path)
    compound = benchmark.drugs["compound"]
    assert compound["1001"] == compound["1002"] and compound["1003"] == compound["1004"]
    assert compound.nunique() == 6


def test_one_cosmic_id_of_two_models_is_that_which_the_responses_name(downloads, tmp_path):
    change(downloads / LIST, "SIDM90003,700021", "SIDM90003,700014")
    change(downloads / RESPONSE, ",700021,", ",700028,", 0)
    frame = pd.read_csv(downloads / RESPONSE)
    frame[frame["SANGER_MODEL_ID"] != "SIDM90003"].to_csv(downloads / RESPONSE, index=False)
    done, benchmark = prepared(downloads, tmp_path)
    assert benchmark.shape == (11, 8)
    assert any("SIDM90002, which the responses name, is taken" in note for note in done.notes)


def test_what_lies_beside_the_files_is_passed_over_and_named(downloads, tmp_path):
    for name in ("~$my_smiles.csv", "._my_smiles.tsv", "OmicsSomaticMutationsMatrixDamaging.csv"):
        (downloads / name).write_text("nothing\n")
    done, _ = prepared(downloads, tmp_path)
    (note,) = [note for note in done.notes if note.startswith("files passed over")]
    assert "~$my_smiles.csv" in note and "MatrixDamaging" in note


def test_a_copy_of_a_file_and_capitals_in_its_name_do_no_harm(downloads, tmp_path):
    text = (downloads / RESPONSE).read_text()
    (downloads / RESPONSE.replace(".csv", " (1).csv")).write_text(text)
    assert len(prepared(downloads, tmp_path)[1]) == 96
    (downloads / RESPONSE.replace(".csv", " (1).csv")).unlink()
    replace(downloads, RESPONSE, "gdsc2_fitted_dose_response.CSV", text)
    prepare(downloads, tmp_path / "again")


def test_forms_of_a_pubchem_id(downloads, tmp_path):
    (downloads / STRUCTURES).write_text(
        "CID\tSMILES\n" + "".join(f"{501 + i}\t{smiles}\n" for i, smiles in enumerate(SMILES))
    )
    forms = ["501", "502.0", " 503", "504;999", "CID505", "506 999", "none", "5.08E+02"]
    (downloads / "Drug_list.csv").write_text(
        "drug_id,PubCHEM\n" + "".join(f"{1001 + i},{form}\n" for i, form in enumerate(forms))
    )
    done, benchmark = prepared(downloads, tmp_path)
    assert list(benchmark.drugs.index) == [str(1001 + i) for i in range(6)]
    assert any("'5.08E+02' (row 9)" in note for note in done.notes)


def test_a_line_that_was_hardly_measured_is_left_out_alone(downloads, tmp_path):
    rows = (downloads / TPM).read_text().splitlines()
    rows[3:] = [re.sub(r"[^,]+$", "", row) for row in rows[3:]]
    (downloads / TPM).write_text("\n".join(rows) + "\n")
    done, benchmark = prepared(downloads, tmp_path)
    assert benchmark.shape == (11, 8)
    assert any("most genes missing (700077)" in note for note in done.notes)


# --- refused, in one line that names file, row and remedy


def packed(member, content, **options):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        archive.writestr(member, content)
    return bytearray(buffer.getvalue())


def encrypted(path):
    body = packed(path.name, path.read_text())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        body[body.index(mark) + offset] |= 1
    path.with_suffix(".zip").write_bytes(bytes(body))
    path.unlink()


def unknown_method(path):
    body = packed(path.name, path.read_text())
    for mark, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        body[body.index(mark) + offset] = 9  # deflate64
    path.with_suffix(".zip").write_bytes(bytes(body))
    path.unlink()


def bomb(path):
    import clmt_lib.data.response.prepare as module

    body = packed(path.name, "0" * (module.HIGHEST_PACKING * 10**6), compression=8)
    path.with_suffix(".zip").write_bytes(bytes(body))
    path.unlink()


def workbook(path):
    text, buffer = path.read_text(), io.BytesIO()
    pd.read_csv(io.StringIO(text)).to_excel(buffer, index=False)
    path.write_bytes(buffer.getvalue())


def scaled(column, factor, shift=0.0):
    def spoil(path):
        frame = pd.read_csv(path)
        frame[column] = frame[column] * factor + shift
        frame.to_csv(path, index=False)

    return spoil


def logged(path):
    rows = [row.split(",") for row in path.read_text().splitlines()]
    for row in rows[3:]:
        row[2:] = [f"{np.log2(float(cell) + 1):.4f}" for cell in row[2:]]
    path.write_text("".join(",".join(row) + "\n" for row in rows))


def cut_in_a_row(path):
    text = path.read_text()
    path.write_text(text[: text.rindex(",SEPT9,") + 30])


def trailing(path):
    separator = "\t" if path.suffix == ".tsv" else ","
    first, *rows = path.read_text().splitlines()
    path.write_text("\n".join([first, *(row + separator for row in rows)]) + "\n")


def append(text):
    return lambda path: path.write_text(path.read_text() + text + "\n")


def write(content):
    return lambda path: path.write_bytes(content(path.read_bytes()))


REFUSED = {
    "log10 uM": (RESPONSE, scaled("LN_IC50", 1 / np.log(10)), "spreads by .*--scale response"),
    "ln nM": (RESPONSE, scaled("LN_IC50", 1, np.log(1000)), "median is .*--scale response"),
    "logarithm twice": (TPM, logged, "TPM may be logarithms already.*--scale expression"),
    "z-scores": (TPM, lambda path: change(path, "TP53,", "TP53,-"), "negative TPM of TP53"),
    "a date for a gene": (TPM, lambda p: change(p, "MARCH1", "1-Mar"), "row 8: gene '1-Mar'"),
    "another date": (TPM, lambda p: change(p, "SEPT9", "Sep-09"), "gene 'Sep-09'"),
    "a date in the calls": (CALLS, lambda p: change(p, "MARCH1", "2026-03-01"), "spreadsheet"),
    "shortened ids": (
        LIST,
        lambda path: change(path, ",700014,", ",7.0001E+05,"),
        "row 4: COSMIC_ID '7.0001E.05' is not a whole number.*export as text",
    ),
    "shortened drug ids": (
        RESPONSE,
        lambda path: change(path, ",1003,Drug", ",1.003E+03,Drug"),
        "row 4: DRUG_ID '1.003E.03'.*spreadsheet has shortened it",
    ),
    "id without end": (LIST, lambda p: change(p, ",700014,", f",{'9' * 30},"), "12 digits"),
    "empty id": (RESPONSE, lambda p: change(p, ",700007,", ",,", 1), "row 10: COSMIC_ID is empty"),
    "no value": (
        RESPONSE,
        lambda path: path.write_text(
            re.sub(r"(10\.0,)[-.\d]+", r"\1NA", path.read_text(), count=1)
        ),
        "row 2: LN_IC50 is empty",
    ),
    "unknown Entrez id": (
        CALLS,
        lambda path: path.write_text(
            "ModelID,HugoSymbol,EntrezGeneID,MolecularConsequence\n"
            "ACH-900000,TP53,?,missense_variant\n"
        ),
        "row 2: EntrezGeneID '\\?' is not a whole number",
    ),
    "two names of a drug": (
        COMPOUNDS,
        append("1003,INV,Another compound,,ZZZ,pathway 2"),
        "row 10: DRUG_ID 1003 has two values of DRUG_NAME",
    ),
    "two structures of a drug": (
        STRUCTURES,
        append("1001\t777\tCCCCCCO"),
        "row 10: DRUG_ID 1001 has two values of SMILES",
    ),
    "two tissues of a line": (
        LIST,
        append("SIDM90002,700014,ACH-900002,CVCL_2,INV-02,Kidney,Carcinoma,MSS"),
        "row 14: model_id SIDM90002 has two values of tissue: 'Lung' and 'Kidney'",
    ),
    "two models of an id": (
        LIST,
        lambda path: change(path, ",700021,", ",700014,"),
        "COSMIC_ID 700014 is that of SIDM90002 and SIDM90003",
    ),
    "cut in a row": (TPM, cut_in_a_row, "row 9: . cells where the first row has 14.*cut short"),
    "separator at the end": (RESPONSE, trailing, "row 2: 20 cells where the first row has 19"),
    "tab at the end": (STRUCTURES, trailing, "row 2: 4 cells where the first row has 3"),
    "semicolons": (RESPONSE, lambda p: change(p, ",", ";"), "separated by semicolons"),
    "tabs in a csv": (RESPONSE, lambda p: change(p, ",", "\t"), "separated by tabs.*name it .tsv"),
    "UTF-16": (
        RESPONSE,
        write(lambda body: body.decode().encode("utf-16")),
        "is text in UTF-16.*iconv -f UTF-16",
    ),
    "gzip as csv": (CALLS, write(gzip.compress), "is gzip under another name.*rename it"),
    "workbook as csv": (RESPONSE, workbook, "is a zip file or an Excel workbook"),
    "login page": (RESPONSE, write(lambda _: b"<!DOCTYPE html><html>"), "is a web page"),
    "parquet as csv": (RESPONSE, write(lambda _: b"PAR1" + b"\0" * 50), "is a Parquet file"),
    "open quotation": (
        COMPOUNDS,
        lambda path: change(path, "Drug 3", '"Drug 3'),
        "row 5: a quotation mark is never closed",
    ),
    "two columns of a name": (
        RESPONSE,
        lambda path: change(path, "WEBRELEASE", "LN_IC50"),
        "two columns are called 'LN_IC50'",
    ),
    "encrypted zip": (CALLS, encrypted, "zip is encrypted.*password"),
    "unknown zip method": (CALLS, unknown_method, "zip cannot be unpacked here"),
    "zip bomb": (CALLS, bomb, "would unpack to 0.2 GB"),
    "GDSC1": (RESPONSE, lambda p: change(p, "GDSC2,", "GDSC1,"), "row 2: a row of 'GDSC1'"),
    "no symbols": (
        TPM,
        lambda path: (
            change(path, "gene_symbol", "ensembl")
            or path.write_text(re.sub(r",[A-Zc]\w*(?=,\d)", ",ENSG0000", path.read_text()))
        ),
        "genes have ids \\(ENSG0000\\) but no symbols",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line_and_nothing_is_left(downloads, tmp_path, case):
    name, spoil, message = REFUSED[case]
    spoil(downloads / name)
    with pytest.raises(DataError, match=message) as caught:
        prepare(downloads, tmp_path / "out")
    assert "\n" not in str(caught.value) and "Remedy: " in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["downloads"]


@pytest.mark.parametrize(
    "lost, message",
    [
        (
            (STRUCTURES,),
            "12 of 12 lines have all omics here, 0 of 8 drugs have a structure.*SMILES",
        ),
        ((TPM,), "no table of expression here.*prepared without"),
        ((CALLS,), "no table of mutations here"),
        ((COPIES,), "no table of copy number here"),
    ],
)
def test_a_folder_without_what_is_joined_says_what_to_bring(downloads, tmp_path, lost, message):
    for name in lost:
        (downloads / name).unlink()
    done = prepare(downloads, tmp_path / "out")
    assert any(note.startswith("0 of 96 responses") for note in done.notes)
    with pytest.raises(DataError, match=message):
        data.load("gdsc2", folder=tmp_path / "out")


def test_an_unknown_scale_is_refused(downloads, tmp_path):
    with pytest.raises(DataError, match="unknown scale expression=counts.*use one of: response"):
        prepare(downloads, tmp_path / "out", scales={"expression": "counts"})


# --- the pieces


@pytest.mark.parametrize(
    "scale, value", [(None, 2.0), ("log10_uM", 2 * np.log(10)), ("ln_nM", 2 - np.log(1000))]
)
def test_concentrations_become_ln_um(scale, value):
    assert to_ln_um(pd.Series([2.0]), "x.csv", scale)[0] == pytest.approx(value)


@pytest.mark.parametrize(
    "cells",
    [
        pd.Series(["1", "2e3"]),
        pd.Series([1.0, np.inf]),
        pd.Series([1.0, 2.5]),
        pd.Series([1, None]),
        pd.Series(pd.to_datetime(["2026-01-01", "2026-01-02"])),
        pd.Series([True, False]),
        pd.Series([[1], [2]]),
        pd.Series(["1", str(10**30)]),
    ],
)
def test_what_is_no_whole_number_is_refused(cells):
    with pytest.raises(DataError, match="id"):
        numbers(pd.DataFrame({"id": cells}), "id", "x.csv")


def test_quoted_cells_may_hold_separators_and_line_ends(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('name,note\na,"one, two"\nb,"three\nfour"\n\nc,\n')
    assert list(read_table(path)["name"]) == ["a", "b", "c"]
