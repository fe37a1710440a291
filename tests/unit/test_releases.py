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
from clmt_lib.data.official import gene_symbols, to_ln_um, wanted_genes
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
    return downloads_of()


def downloads_of():
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
        ("OmicsCNGene.csv", [-1.0, 0.0, 1.0, 1.5], [-1, 0, 1, 1.5]),  # nor is -1
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


@pytest.mark.parametrize(
    "name, said",
    [
        ("CCLE_NP24.2009_Drug_data_2015.02.24.csv", 'is of the screen of CCLE: `data.load("ccle"'),
        ("v20.data.curves_post_qc.txt", "is of CTRP: copy its columns into a screen"),
        ("secondary-screen-dose-response-curve-parameters.csv", "is of PRISM: copy its columns"),
        ("GDSC1_fitted_dose_response_27Oct23.xlsx", "is of GDSC1, another screen than GDSC2"),
    ],
)
def test_the_table_of_another_screen_is_named_and_not_mixed_in(downloads, tmp_path, name, said):
    before = len(prepared(downloads, tmp_path / "a")[1])
    (downloads / name).write_text("whatever it holds\n")
    done, benchmark = prepared(downloads, tmp_path / "b")
    assert [note for note in done.notes if note.startswith(f"{name} {said}")]
    assert len(benchmark) == before


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


def before_2022(values):
    """DepMap's matrix as of 22Q2."""
    head = ["", *(f"{gene} ({7000 + i})" for i, gene in enumerate(GENES))]
    rows = [[f"ACH-{900000 + i}", *values[:, i]] for i in range(len(MODELS))]
    return "".join(",".join(map(str, row)) + "\n" for row in [head, *rows])


def test_the_files_of_depmap_of_2022_are_read(downloads, tmp_path, invented):
    _, before = prepared(downloads, tmp_path)
    rows = [f"{gene},1,Missense_Mutation,ACH-900000" for gene in GENES]
    rows += [f"TP53,1,Silent,ACH-{900000 + i}" for i in range(1, 12)]
    calls = "\n".join(["Hugo_Symbol,Entrez_Gene_Id,Variant_Classification,DepMap_ID", *rows])
    replace(downloads, TPM, "CCLE_expression.csv", before_2022(np.log2(invented[1] + 1)))
    replace(downloads, COPIES, "CCLE_gene_cn.csv", before_2022(np.log2(invented[2] / 2 + 1)))
    replace(downloads, CALLS, "CCLE_mutations.csv", calls + "\n")
    lines = pd.read_csv(downloads / LIST, dtype=str)
    names = {"model_id": "Sanger_Model_ID", "COSMIC_ID": "COSMICID", "BROAD_ID": "DepMap_ID"}
    names |= {"model_name": "cell_line_name", "tissue": "lineage", "cancer_type": "primary_disease"}
    replace(downloads, LIST, "sample_info.csv", lines.rename(columns=names).to_csv(index=False))
    prepare(downloads, tmp_path / "again")
    after = data.load("gdsc2", folder=tmp_path / "again")
    assert np.allclose(after.omics["expression"][GENES], before.omics["expression"][GENES], 1e-4)
    mutated = after.omics["mutation"][GENES].to_numpy()
    assert mutated[0].all() and not mutated[1:].any()
    ratio = np.log2(np.maximum(invented[2] / 2, 2.0**-5)).T
    assert np.allclose(after.omics["copy_number"][GENES], ratio, atol=1e-5)


def test_the_model_table_of_depmap_stands_for_the_list(downloads, tmp_path):
    lines = pd.read_csv(downloads / LIST, dtype=str).drop(columns="msi_status")
    names = {"model_id": "SangerModelID", "COSMIC_ID": "COSMICID", "BROAD_ID": "ModelID"}
    names |= {"model_name": "CellLineName", "tissue": "OncotreeLineage"}
    names |= {"cancer_type": "OncotreePrimaryDisease"}
    replace(downloads, LIST, "Model.csv", lines.rename(columns=names).to_csv(index=False))
    assert prepared(downloads, tmp_path)[1].shape == (12, 8)


def test_calls_of_another_than_the_default_entry_are_left_out(downloads, tmp_path):
    rows = [f"ACH-{900000 + i},Yes,TP53,7157,missense_variant" for i in range(12)]
    rows.append("ACH-900000,No,EGFR,1956,missense_variant")
    head = "ModelID,IsDefaultEntryForModel,HugoSymbol,EntrezGeneID,MolecularConsequence"
    replace(downloads, CALLS, "OmicsSomaticMutations.csv", "\n".join([head, *rows]) + "\n")
    done, benchmark = prepared(downloads, tmp_path)
    assert list(benchmark.omics["mutation"].columns) == ["TP53"]
    assert any(note.startswith("1 calls of OmicsSomatic") for note in done.notes)
    assert any("1 of 12 genes of expression are among the 1 of mut" in note for note in done.notes)


@pytest.mark.parametrize(
    "name, change_of",
    [
        (RESPONSE, lambda text: text.replace("COSMIC_ID", " cosmic_id ", 1)),
        (RESPONSE, lambda text: text.replace("GDSC2,", "gdsc2 ,")),
        (RESPONSE, lambda text: "\ufeff\ufeff" + text),
        (LIST, lambda text: "\ufeff" + text.replace("model_id", "Model_ID", 1)),
        (COPIES, lambda text: "\ufeff" + text),
        (TPM, lambda text: text.replace("\n", "\n\n")),
        (TPM, lambda text: text.replace("\n", ",\r\n")),
        (STRUCTURES, lambda text: text.replace("SMILES", "CanonicalSMILES", 1)),
        (CALLS, lambda text: text.replace("missense", "Missense_Mutation")),
    ],
)
def test_what_a_label_or_a_line_end_is_written_like_is_no_matter(
    downloads, tmp_path, name, change_of
):
    text = change_of((downloads / name).read_text())
    (downloads / name).write_text(text, newline="")
    done, benchmark = prepared(downloads, tmp_path)
    assert benchmark.shape == (12, 8) and benchmark.omics["mutation"].shape == (12, len(GENES))
    assert not any("left out" in note or "repaired" in note for note in done.notes)


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


def recomputed(column, change_of):
    def spoil(path):
        frame = pd.read_csv(path)
        more = (frame,) if change_of.__code__.co_argcount == 2 else ()
        frame[column] = change_of(frame[column], *more)
        frame.to_csv(path, index=False)

    return spoil


def rescaled(factor, digits=2):
    def spoil(path):
        rows = [row.split(",") for row in path.read_text().splitlines()]
        for row in rows[3:]:
            row[2:] = [f"{float(cell) * factor:.{digits}f}" for cell in row[2:]]
        path.write_text("".join(",".join(row) + "\n" for row in rows))

    return spoil


def in_row(gene, cell):
    return lambda path: path.write_text(
        re.sub(rf"(,{gene},)[\d.]+", rf"\g<1>{cell}", path.read_text())
    )


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
    "counts for TPM": (TPM, rescaled(1e5), "no TPM: those of line .* sum to .*of counts"),
    "whole numbers for TPM": (TPM, rescaled(1e2, 0), "TPM may be counts.*--scale expression"),
    "an endless TPM": (TPM, in_row("TP53", "inf"), "row 4: SIDM90000 is infinite"),
    "a word for a TPM": (TPM, in_row("TP53", "#VALUE!"), "row 4: SIDM90000 '#VALUE!'"),
    "calls of copy number": (
        COPIES,
        lambda path: path.write_text(path.read_text().replace(",1", ",-1").replace(",4", ",0")),
        "copy numbers are not absolute.*--scale copy_number",
    ),
    "concentrations": (
        RESPONSE,
        recomputed("LN_IC50", lambda value: np.exp(value / 4)),
        "every value is positive",
    ),
    "ln of mol/l": (RESPONSE, scaled("LN_IC50", 1, -np.log(1e6)), "LN_IC50 is -1.*--scale"),
    "a missing value in figures": (
        RESPONSE,
        recomputed("LN_IC50", lambda value: value.where(value.index != 3, -999.0)),
        "row 5: LN_IC50 is -999, out of range",
    ),
    "the sign of another": (
        RESPONSE,
        recomputed("AUC", lambda value, frame: 1 / (1 + np.exp(frame["LN_IC50"]))),
        "LN_IC50 is lower where more cells live.*pIC50",
    ),
    "areas in percent": (RESPONSE, scaled("AUC", 100), "row 2: AUC is 50, and AUC is from 0 to 1"),
    "doses the other way round": (RESPONSE, scaled("MIN_CONC", 1e4), "row 2: MIN_CONC is 100"),
    "a dose of nothing": (RESPONSE, scaled("MAX_CONC", 0), "row 2: MAX_CONC is 0"),
    "an error below none": (RESPONSE, scaled("RMSE", -1), "row 2: RMSE is -0.07"),
    "a column in another order": (
        LIST,
        recomputed("COSMIC_ID", lambda value: value.to_numpy()[::-1]),
        "12 of 12 models have other COSMIC ids than in the responses: SIDM90000 is 700000",
    ),
    "structures of other drugs": (
        STRUCTURES,
        lambda path: change(path, "\n10", "\n90"),
        "no response has all omics and a structure.*0 of 8 screened drugs",
    ),
    "a response under another ending": (
        RESPONSE,
        lambda path: path.rename(path.with_suffix(".csv.part")),
        r"no file for response.*\(there: GDSC2_fitted_dose_response_27Oct23.csv.part",
    ),
    "DepMap's list under tabs": (TPM, lambda p: change(p, ",", "\t"), "separated by tabs"),
    "numbers with commas": (
        TPM,
        lambda path: path.write_text(path.read_text().replace(",", ";").replace(".", ",")),
        "separated by semicolons",
    ),
    "bytes of a broken disk": (
        RESPONSE,
        lambda path: path.write_bytes(path.read_bytes()[:-200] + bytes(4096)),
        "holds bytes that are no text",
    ),
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
    "cell",
    "1-Mar 01-Mar Mar-01 1.Mar 1/3 1/3/26 01.03.2026 2026-03-01 2026/03/01 01-Mar-26 SEP-9 1-Mrz "
    "1-mars 1-ene 3月1日 43160 43160.0 2.31E+13".split()
    + ["1 Mar", "March 1", "1. Mär", "Sep 9", "2026-03-01 00:00:00"],
)
def test_what_a_spreadsheet_makes_of_a_gene_is_no_symbol(cell):
    with pytest.raises(DataError, match="row 7: gene .* is no symbol: a spreadsheet"):
        gene_symbols(["TP53", cell], "x.csv", 6, [])


def test_symbols_that_look_like_dates_are_symbols():
    cells = ["HLA-A", "MT-CO1", "DEC1", "SEP15", "NKX2-1", "7SK", "1-8D", "MARCHF1", "KRTAP1-1"]
    notes = []
    assert gene_symbols(cells, "x.csv", 1, notes) == cells and not notes


@pytest.mark.parametrize(
    "start, said",
    [
        (b"\x28\xb5\x2f\xfdxx", "is zstd"),
        (b"7z\xbc\xaf\x27\x1c", "is a 7z archive"),
        (b"Rar!\x1a\x07\0", "is a RAR archive"),
        (b"BZh91AY", "is bzip2"),
        (b"\x89HDF\r\n", "is HDF5"),
        (b'{"error": "not found"}', "is JSON"),
        (b"\n<HEAD><title>404", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        ("a,b\n1,2\n".encode("utf-32"), "is text in UTF-32"),
        ("a,b\n1,2\n".encode("utf-16-le"), "is text in UTF-16"),
        (b"a,b\r1,2\r", "row 1: rows end in a carriage return alone"),
        (b"a,b\n1,2\n\0\0,3\n", "row 3: holds bytes that are no text|holds bytes"),
        (b"a\n" + b"x" * 200_000 + b'"\n', "a quotation mark is never closed"),
        (b'a\n"' + b"x" * 200_000 + b'"\n', "cannot be parsed .field larger"),
    ],
)
def test_other_kinds_of_file_are_told_for_what_they_are(tmp_path, start, said):
    path = tmp_path / "x.csv"
    path.write_bytes(start)
    with pytest.raises(DataError, match=said):
        read_table(path)


@pytest.mark.parametrize(
    "scale, value",
    [
        (None, 2.0),
        ("log10_uM", 2 * np.log(10)),
        ("ln_nM", 2 - np.log(1000)),
        ("uM", np.log(2)),
        ("nM", np.log(0.002)),
        ("log10_M", 8 * np.log(10)),
        ("pIC50", 4 * np.log(10)),
    ],
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
