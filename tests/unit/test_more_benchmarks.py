"""CCLE, GDSC1 and CTRP: joined rightly, bounds called bounds, and every bad table refused in one
message.
"""

import gzip
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny

from clmt_lib import models, records, tasks
from clmt_lib.audit import audit
from clmt_lib.cli import main
from clmt_lib.data import BENCHMARKS, RESPONSES, DrugResponse, load, make_split, table_of
from clmt_lib.data.response import auxiliary
from clmt_lib.data.response.joins import one_line_each
from clmt_lib.io import DataError
from clmt_lib.tasks import metrics

REAL = os.environ.get("CLMT_DATA")
NEW = ("ccle", "gdsc1", "ctrp")
DRUGS = [name for name in tiny.STRUCTURES if name != "unknown"]  # 13 with a structure
DOSES = ".0025,.0080,.025,.080,.25,.80,2.53,8"


@pytest.fixture
def folder(template, tmp_path):
    """A copy of the prepared folder, to spoil."""
    return Path(shutil.copytree(template, tmp_path / "prepared"))


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A prepared folder with the layouts of all real benchmarks but TGSA's; line 20 has no omics of
    CCLE's.
    """
    root = tiny.prepared_folder(tmp_path_factory.mktemp("more") / "prepared")
    made, rng = tiny.tables(), np.random.default_rng(5)
    for name in ("ccle", "ctrp"):
        (root / name).mkdir()
    ids = pd.read_parquet(root / "ids/cell_lines.parquet")
    ids.assign(CCLE_NAME=ids["model_name"].str.replace("-", "") + "_LUNG").to_parquet(
        root / "ids/cell_lines.parquet"
    )
    depmap = made["cells"]["depmap_id"].tolist()
    for kind, name in (
        ("expression", "expression_zscore"),
        ("mutation", "mutation"),
        ("copy_number", "copynumber"),
    ):
        made["omics"][kind].iloc[:20].reset_index(drop=True).assign(
            DEPMAP_ID=depmap[:20]
        ).to_parquet(root / f"ccle/{name}_706g.parquet")
    _ccle(root, ids, rng)
    _ctrp(root, depmap, rng)
    made["responses"].rename(
        columns={"cell": "COSMIC_ID", "drug": "DRUG_ID", "ln_ic50": "LN_IC50"}
    ).astype({"COSMIC_ID": "int64", "DRUG_ID": "int64"}).to_parquet(root / RESPONSES["gdsc1"])
    return root


def _ccle(root, ids, rng):
    names = [*DRUGS, "unknown"]
    drugs = pd.DataFrame(
        {
            "compound": names,
            "target": "EGFR",
            "pubchem_cid": range(50, 50 + len(names)),
            "mechanism": "an inhibitor",
            "smiles": [tiny.STRUCTURES[name] for name in names],
        }
    )
    drugs.to_parquet(root / "ccle/drugs.parquet")
    rows = pd.MultiIndex.from_product([range(21), range(len(names))]).to_frame(index=False)
    line, drug = rows[0].to_numpy(), rows[1].to_numpy()
    um = np.minimum(np.exp(rng.normal(2.0, 1.5, len(rows))), 8.0).clip(0.0025)
    um[3] = 0.0025
    pd.DataFrame(
        {
            "CCLE Cell Line Name": [f"LINE{i}_LUNG" for i in line],
            "Compound": [names[j] for j in drug],
            "Doses (uM)": DOSES,
            "IC50 (uM)": um,
            "ActArea": rng.uniform(0, 7, len(rows)).round(4),
            "DEPMAP_ID": ids["DEPMAP_ID"].to_numpy()[line],
            "PUBCHEM_CID": drug + 50,
        }
    ).to_parquet(root / RESPONSES["ccle"])


def _ctrp(root, depmap, rng):
    names = [*DRUGS, "furan:benzene (1:1 mol/mol)"]
    smiles = [*(tiny.STRUCTURES[name] for name in DRUGS), "c1ccoc1.c1ccccc1"]
    number = [str(100 + j) for j in range(len(names))]
    drugs = pd.DataFrame(
        {
            "master_cpd_id": number,
            "cpd_name": names,
            "cpd_smiles": smiles,
            "gene_symbol_of_protein_target": ["MAP2K1;MAP2K2", None] * 7,
            "target_or_activity_of_compound": "screening hit",
        }
    )
    drugs.to_parquet(root / "ctrp/compounds.parquet")
    rows = [
        (line, f"{name.upper()} (CTRP:{key})", int(key))
        for line in depmap
        for name, key in zip(names, number, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["DEPMAP_ID", "compound", "ctrp_master_cpd_id"])
    table.assign(AUC=rng.uniform(1, 29, len(table)).round(3)).to_parquet(root / RESPONSES["ctrp"])


def changed(path, change):
    """Change a Parquet table in place; `change` may return a new one."""
    table = pd.read_parquet(path)
    out = change(table)
    (table if out is None else out).to_parquet(path)
    return path


def assert_refused(call, *says):
    """One message of one line that holds every part of `says` and a remedy."""
    with pytest.raises(DataError) as caught:
        call()
    message = str(caught.value)
    for part in (*says, "Remedy: "):
        assert str(part) in message, message
    assert "\n" not in message


# What is read


def test_ccle_joins_lines_drugs_and_flags_the_cap(folder):
    data, raw = load("ccle", folder=folder), pd.read_parquet(folder / RESPONSES["ccle"])
    kept = raw[raw["Compound"].isin(DRUGS) & (raw["DEPMAP_ID"] != "ACH-000020")]
    assert (data.n_cells, data.n_drugs, len(data)) == (
        20,
        13,
        260,
    )  # one line has no omics, one drug no structure
    np.testing.assert_allclose(data.y, np.log(kept["IC50 (uM)"]))
    assert (
        data.cells.index[data.pairs[:, 0]].tolist() == kept["DEPMAP_ID"].tolist()
        and data.drugs.index[data.pairs[:, 1]].tolist() == kept["Compound"].tolist()
    )
    beyond = ((kept["IC50 (uM)"] == 8) | (kept["IC50 (uM)"] == 0.0025)).to_numpy()
    assert (
        data.censored.tolist() == beyond.tolist() and data.censored[3] and 0.3 < beyond.mean() < 0.8
    )  # the bound below counts too
    assert load("ccle", folder=folder, complete=False).n_drugs == 14
    assert data.describe()["censored"] == round(beyond.mean(), 3)


def test_the_table_of_ccle_as_it_is_published_is_read(folder, tmp_path):
    ours = pd.read_parquet(folder / RESPONSES["ccle"])
    layout = [
        *("CCLE Cell Line Name", "Primary Cell Line Name", "Compound", "Target", "Doses (uM)"),
        *("Activity Data (median)", "Activity SD", "Num Data", "FitType", "EC50 (uM)", "IC50 (uM)"),
        *("Amax", "ActArea"),
    ]
    path = tmp_path / "CCLE_NP24.2009_Drug_data_2015.02.24.csv"
    ours.reindex(columns=layout).to_csv(path, index=False)
    found, expected = load("ccle", folder=folder, responses=path), load("ccle", folder=folder)
    assert np.allclose(found.y, expected.y) and (found.pairs == expected.pairs).all()
    assert (found.censored == expected.censored).all()


def test_activity_area_is_another_target_with_no_bound_and_units_of_its_own(folder):
    data, other = load("ccle", folder=folder), load("ccle", folder=folder, target="act_area")
    raw = pd.read_parquet(folder / RESPONSES["ccle"]).query(
        "Compound != 'unknown' and DEPMAP_ID != 'ACH-000020'"
    )
    np.testing.assert_array_equal(other.y, raw["ActArea"])
    assert (
        (other.target, data.target) == ("act_area", "ln_ic50")
        and "uM" not in other.units
        and not other.censored.any()
    )
    assert other.checksum != data.checksum and other.describe()["target"] == "act_area"
    assert_refused(
        lambda: load("ccle", folder=folder, target="auc"), "no target 'auc'", "ln_ic50 or act_area"
    )


def test_ccles_own_layout_without_depmap_ids_gives_the_same_benchmark(folder):
    raw = pd.read_parquet(folder / RESPONSES["ccle"]).drop(columns=["DEPMAP_ID", "PUBCHEM_CID"])
    raw.to_csv(folder / "np24.csv.gz", index=False)
    assert (
        load("ccle", folder=folder, responses=folder / "np24.csv.gz").checksum
        == load("ccle", folder=folder).checksum
    )


def test_gdsc1_is_gdsc2_where_the_responses_are(folder):
    one, two = (
        load("gdsc1", folder=folder),
        load("gdsc2", folder=folder),
    )  # the tiny folder holds the same responses twice
    assert one.name == "gdsc1" and one.checksum != two.checksum
    np.testing.assert_array_equal(one.matrix(), two.matrix())
    pd.testing.assert_frame_equal(one.drugs, two.drugs)
    (folder / RESPONSES["gdsc2"]).unlink()
    np.testing.assert_array_equal(
        load("gdsc1", folder=folder).matrix(), two.matrix()
    )  # needs no other screen


def test_ctrp_leaves_mixtures_out_and_says_its_target(folder):
    data, raw = load("ctrp", folder=folder), pd.read_parquet(folder / RESPONSES["ctrp"])
    kept = raw[~raw["compound"].str.contains("MOL/MOL") & (raw["DEPMAP_ID"] != "ACH-000020")]
    assert (data.n_cells, data.n_drugs, len(data)) == (20, 13, 260) and not data.drugs[
        "name"
    ].str.contains(":").any()
    np.testing.assert_array_equal(data.y, kept["AUC"])
    assert (data.target, data.censored.any()) == ("auc", False) and "mixture" not in data.drugs
    assert data.drugs["target"].iloc[0] == "MAP2K1, MAP2K2" and pd.isna(
        data.drugs["target"].iloc[1]
    )  # as other tables spell lists; missing is missing


def test_pathways_come_from_the_same_compound_only(folder):
    changed(
        folder / "gdsc/drugs.parquet",
        lambda t: t.assign(
            target_pathway=t["drug_name"] + " pathway",
            drug_name=t["drug_name"]
            .replace("indole", "another name")
            .replace("furan", "not there"),
            inchikey_rdkit=[
                "SIKJAQJRHWYJAI-UHFFFAOYSA-N" if name == "indole" else None
                for name in t["drug_name"]
            ],
        ),
    )
    for name in ("ccle", "ctrp"):
        drugs = load(name, folder=folder).drugs.set_index("name")
        assert drugs.loc["indole", ["pathway", "gdsc_name"]].tolist() == [
            "indole pathway",
            "another name",
        ]  # by structure, whatever the name
        assert (
            drugs.loc["pyridine", "pathway"] == "pyridine pathway"
            and drugs["pathway"].isna()["furan"]
        )
    (folder / "gdsc/drugs.parquet").unlink()
    assert load("ctrp", folder=folder).drugs["pathway"].isna().all()


def test_stereoisomers_are_one_compound_not_an_error(folder):
    changed(
        folder / "ctrp/compounds.parquet",
        lambda t: t.assign(cpd_smiles=["C[C@H](N)O", "C[C@@H](N)O", *t["cpd_smiles"][2:]]),
    )
    data = load("ctrp", folder=folder)
    assert data.n_drugs == 13 and data.drugs["compound"].nunique() == 12


# Bounds

LN_8_UM = np.log(8.0)


def capped(cap=LN_8_UM, share=0.4):
    """The tiny tables with the largest 40 % of the responses at ln 8."""
    made = tiny.tables()
    y = made["responses"]["ln_ic50"]
    made["responses"]["ln_ic50"] = np.minimum(y - y.quantile(1 - share) + cap, cap)
    return made


def test_a_pile_of_bounds_that_nobody_calls_so_is_refused():
    made = capped()
    pile = made["responses"]["ln_ic50"] == made["responses"]["ln_ic50"].max()
    row = int(np.flatnonzero(pile)[0]) + 2
    assert_refused(
        lambda: DrugResponse.from_tables("tiny", **made, file="mine.csv"),
        "mine.csv",
        f"row {row}",
        f"{pile.sum()} of 315 responses are exactly 2.07944 (8 uM)",
        "add a column `censored`",
    )
    low = capped()
    low["responses"]["ln_ic50"] *= -1
    assert_refused(lambda: DrugResponse.from_tables("tiny", **low), "bounds, not measurements")
    made["responses"]["censored"] = pile
    assert DrugResponse.from_tables("tiny", **made).censored.sum() == pile.sum()
    made["responses"]["censored"] = 0  # said to be measured after all
    assert not DrugResponse.from_tables("tiny", **made).censored.any()


@pytest.mark.parametrize("value", [None, 2, "yes"])
def test_censored_that_is_neither_true_nor_false_names_its_row(value):
    made = tiny.tables()
    made["responses"]["censored"] = pd.Series(False, index=made["responses"].index, dtype=object)
    made["responses"].loc[7, "censored"] = value
    assert_refused(
        lambda: DrugResponse.from_tables("tiny", **made, file="mine.csv"),
        "mine.csv",
        "row 9",
        "censored is",
    )


def test_flags_change_the_checksum_and_their_absence_does_not():
    plain, made = tiny.benchmark(), tiny.tables()
    made["responses"]["censored"] = np.arange(315) % 7 == 0
    one = DrugResponse.from_tables("tiny", **made)
    made["responses"]["censored"] = np.arange(315) % 7 == 1
    assert (
        len({plain.checksum, one.checksum, DrugResponse.from_tables("tiny", **made).checksum}) == 3
    )
    assert (
        not plain.responses["censored"].any()
        and plain.censored.shape == (315,)
        and not plain.censored.any()
    )


def test_metrics_and_audit_say_that_bounds_are_read_as_measured(folder):
    data = load("ccle", folder=folder)
    split = make_split(data, "mixed")
    found = tasks.score(data, split, np.zeros(len(split.test)))
    bound = data.censored[split.test]
    assert found["censored"] == pytest.approx(bound.mean()) and found[
        "rmse_measured"
    ] == pytest.approx(np.sqrt(np.mean(data.y[split.test][~bound] ** 2)))
    report = audit(data, split)
    notes = [str(finding) for finding in report.findings if finding.kind == "censored responses"]
    assert (
        report.clean
        and len(notes) == 1
        and f"{data.censored.sum()} of 260" in notes[0]
        and "Remedy" in notes[0]
        and "bounds" in report.checks
    )
    other = load("ccle", folder=folder, target="act_area")
    assert (
        "censored" not in tasks.score(other, make_split(other, "mixed"), np.zeros(len(split.test)))
        and "bounds" not in audit(other).checks
    )


@pytest.mark.parametrize(
    "name, options", [("ccle", {}), ("ccle", {"target": "act_area"}), ("gdsc1", {}), ("ctrp", {})]
)
def test_a_run_needs_nothing_special(folder, tmp_path, name, options):
    options = {"folder": str(folder), **options}
    for model in ("drug_mean", "als"):
        record = records.run(
            records.RunConfig(name, "mixed", model, options=options), tmp_path / "records"
        )
        assert ("censored" in record.metrics["valid"]) == (
            options.keys() == {"folder"} and name == "ccle"
        ) and record.metrics["valid"]["rmse"] > 0


# Bad input


def test_one_line_under_two_ids_names_both_rows(folder):
    path = folder / RESPONSES["ccle"]
    before = path.read_bytes()
    changed(
        path,
        lambda t: t.assign(
            **{"CCLE Cell Line Name": t["CCLE Cell Line Name"].where(t.index != 20, "LINE-1_LUNG")}
        ),
    )
    assert_refused(
        lambda: load("ccle", folder=folder),
        path,
        "row 22",
        "one line under two names",
        "'LINE1_LUNG' (row 16)",
        "'LINE-1_LUNG'",
        "ACH-000001",
    )
    path.write_bytes(before)
    changed(path, lambda t: t.assign(DEPMAP_ID=t["DEPMAP_ID"].where(t.index != 20, "ACH-000007")))
    assert_refused(
        lambda: load("ccle", folder=folder),
        path,
        "row 22",
        "one line under two names",
        "'ACH-000001' (row 16)",
        "'ACH-000007'",
        "LINE1_LUNG",
    )


@pytest.mark.parametrize("name", [*NEW, "gdsc2"])
def test_two_ids_that_share_a_registry_id_are_one_line(folder, name):
    changed(
        folder / "ids/cell_lines.parquet",
        lambda t: t.assign(RRID=t["RRID"].where(t.index != t.index[4], t["RRID"].iloc[2])),
    )
    one, other = ("9003", "9005") if name.startswith("gdsc") else ("ACH-000002", "ACH-000004")
    width = 15 if name.startswith("gdsc") else 14
    assert_refused(
        lambda: load(name, folder=folder),
        folder / RESPONSES[name],
        f"row {4 * width + 2}",
        f"'{one}' (row {2 * width + 2}) and '{other}' share the RRID CVCL_0002",
    )


def test_lines_without_a_registry_id_are_not_one_line():
    cells = pd.DataFrame({"rrid": [None, None]}, index=["a", "b"])
    one_line_each(cells, pd.DataFrame({"cell": ["a", "b"]}), "mine.csv")
    cells["rrid"] = "CVCL_1"
    assert_refused(
        lambda: one_line_each(cells, pd.DataFrame({"cell": ["b", "a"]}), "mine.csv"),
        "row 3",
        "'b' (row 2) and 'a'",
    )


@pytest.mark.parametrize(
    "column, value, says",
    [
        ("compound", "Indole", "have the same name"),
        ("pubchem_cid", 53, "have the same PubChem id"),
        ("smiles", "C1=CC=C2NC=CC2=C1", "have the same structure"),
    ],
)
def test_one_drug_in_two_rows_of_the_table_of_drugs(folder, column, value, says):
    path = changed(
        folder / "ccle/drugs.parquet",
        lambda t: t.assign(**{column: t[column].where(t.index != 9, value)}),
    )
    assert_refused(
        lambda: load("ccle", folder=folder),
        path,
        "row 11",
        "one drug under two names",
        "'indole' (row 5)",
        says,
    )


def test_one_drug_under_two_names_in_the_responses(folder):
    path = changed(
        folder / RESPONSES["ccle"],
        lambda t: t.assign(Compound=t["Compound"].where(t.index != 17, "Indole")),
    )
    assert_refused(
        lambda: load("ccle", folder=folder),
        path,
        "row 19",
        "one drug under two names",
        "'indole' (row 5) and 'Indole'",
        "PUBCHEM_CID",
    )
    path = changed(
        folder / RESPONSES["ctrp"],
        lambda t: t.assign(compound=t["compound"].where(t.index != 17, "INDOL (CTRP:103)")),
    )
    assert_refused(
        lambda: load("ctrp", folder=folder),
        path,
        "row 19",
        "one drug under two names",
        "INDOL (CTRP:103)",
        "(row 5)",
    )


def test_a_drug_that_no_table_knows_is_not_dropped_in_silence(folder):
    path = changed(
        folder / RESPONSES["ccle"],
        lambda t: t.assign(Compound=t["Compound"].replace("indole", "indolium")),
    )
    assert_refused(
        lambda: load("ccle", folder=folder),
        path,
        "row 5",
        "'indolium' has a response but no row in the table of drugs",
    )


def set_value(name, column, value):
    def change(table):
        table[column] = table[column].astype(object)
        table.loc[31, column] = value

    return lambda folder: changed_csv(folder, name, change)


def changed_csv(folder, name, change):
    table = pd.read_parquet(folder / RESPONSES[name])
    out = change(table)
    path = folder / f"{name}.csv"
    (table if out is None else out).to_csv(path, index=False)
    return path


def latin_1(folder):
    path = changed_csv(
        folder, "ccle", lambda t: t.assign(FitType=t["Compound"].where(t.index != 20, "Zürich"))
    )
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))
    return path


def cut(folder):
    path = folder / "ctrp.csv.gz"
    whole = gzip.compress(changed_csv(folder, "ctrp", lambda t: None).read_bytes())
    path.write_bytes(whole[: len(whole) // 2])
    return path


HOSTILE = {
    "ccle, no column of IC50s": (
        "ccle",
        lambda f: changed_csv(f, "ccle", lambda t: t.drop(columns="IC50 (uM)")),
        ("row 1", "missing column 'IC50 (uM)'", "the table has"),
    ),
    "ccle, above the cap": (
        "ccle",
        set_value("ccle", "IC50 (uM)", 8000.0),
        ("row 33", "8000 uM, above the 8 uM"),
    ),
    "ccle, a logarithm": (
        "ccle",
        set_value("ccle", "IC50 (uM)", -1.5),
        ("row 33", "not above zero"),
    ),
    "ccle, not a number": (
        "ccle",
        set_value("ccle", "IC50 (uM)", "resistant"),
        ("row 33", "not a finite number"),
    ),
    "ccle, missing": (
        "ccle",
        set_value("ccle", "IC50 (uM)", None),
        ("row 33", "not a finite number"),
    ),
    "ccle, duplicate pair": (
        "ccle",
        lambda f: changed_csv(f, "ccle", lambda t: pd.concat([t, t.iloc[[4]]])),
        ("row 296", "duplicate pair ('ACH-000000', 'furan')"),
    ),
    "ccle, latin-1": ("ccle", latin_1, ("row 22", "not UTF-8", "iconv")),
    "ccle, header only": (
        "ccle",
        lambda f: changed_csv(f, "ccle", lambda t: t.iloc[:0]),
        ("empty table",),
    ),
    "ccle, other lines": (
        "ccle",
        lambda f: changed_csv(f, "ccle", lambda t: t.assign(DEPMAP_ID="X" + t["DEPMAP_ID"])),
        ("no response is left", "check that its ids"),
    ),
    "gdsc1, other lines": (
        "gdsc1",
        lambda f: changed_csv(f, "gdsc1", lambda t: t.assign(COSMIC_ID=t["COSMIC_ID"] + 5000)),
        ("no response is left",),
    ),
    "ctrp, other lines": (
        "ctrp",
        lambda f: changed_csv(f, "ctrp", lambda t: t.assign(DEPMAP_ID="X" + t["DEPMAP_ID"])),
        ("no response is left",),
    ),
    "gdsc1, id of letters": (
        "gdsc1",
        set_value("gdsc1", "COSMIC_ID", "LINE-1"),
        ("row 33", "COSMIC_ID 'LINE-1' is not a whole number"),
    ),
    "gdsc1, half an id": (
        "gdsc1",
        set_value("gdsc1", "DRUG_ID", 3.5),
        ("row 33", "DRUG_ID", "not a whole number"),
    ),
    "gdsc1, infinite": (
        "gdsc1",
        set_value("gdsc1", "LN_IC50", "inf"),
        ("row 33", "not a finite number"),
    ),
    "gdsc1, in uM": (
        "gdsc1",
        lambda f: changed_csv(f, "gdsc1", lambda t: t.assign(LN_IC50=np.exp(t["LN_IC50"]))),
        ("looks like uM",),
    ),
    "gdsc1, capped": (
        "gdsc1",
        lambda f: changed_csv(f, "gdsc1", lambda t: t.assign(LN_IC50=t["LN_IC50"].clip(upper=2.0))),
        ("exactly 2", "bounds, not measurements"),
    ),
    "ctrp, out of range": (
        "ctrp",
        set_value("ctrp", "AUC", 31.5),
        ("row 33", "31.5 is out of range for auc (0 to 30)"),
    ),
    "ctrp, negative": ("ctrp", set_value("ctrp", "AUC", -0.1), ("row 33", "out of range")),
    "ctrp, 0 to 1": (
        "ctrp",
        lambda f: changed_csv(f, "ctrp", lambda t: t.assign(AUC=t["AUC"] / 30)),
        ("scaled to 0-1",),
    ),
    "ctrp, id missing": (
        "ctrp",
        set_value("ctrp", "ctrp_master_cpd_id", None),
        ("row 33", "ctrp_master_cpd_id is empty"),
    ),
    "ctrp, id unknown": ("ctrp", set_value("ctrp", "ctrp_master_cpd_id", 999), ("row 33",)),
    "ctrp, cut gzip": ("ctrp", cut, ("broken gzip", "fetch it again")),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_bad_responses_give_one_clear_message_and_leave_nothing(folder, case):
    name, spoil, says = HOSTILE[case]
    path = spoil(folder)
    before = sorted(folder.rglob("*"))
    assert_refused(lambda: load(name, folder=folder, responses=path), path, *says)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    "name, table, column",
    [("ccle", "ccle/drugs", "smiles"), ("ctrp", "ctrp/compounds", "cpd_smiles")],
)
def test_unparsable_smiles_names_its_row_and_file(folder, name, table, column):
    path = changed(
        folder / f"{table}.parquet",
        lambda t: t.assign(**{column: t[column].where(t.index != 6, "c1cc(")}),
    )
    assert_refused(lambda: load(name, folder=folder), path, "row 8", "'c1cc('")


def test_a_line_that_the_table_of_lines_does_not_know(folder):
    changed(folder / "ids/cell_lines.parquet", lambda t: t.iloc[1:])
    for name in NEW:
        assert_refused(
            lambda name=name: load(name, folder=folder),
            folder / RESPONSES[name],
            "row 2",
            "no row in the table of cells",
        )


def test_unknown_target_or_units_of_a_target_name_the_allowed_ones():
    made = tiny.tables()
    assert_refused(
        lambda: DrugResponse.from_tables("tiny", **made, target="ec50"),
        "unknown target 'ec50'",
        "ln_ic50, act_area, auc",
    )
    assert_refused(
        lambda: DrugResponse.from_tables("tiny", **made, target="auc"), "missing column 'auc'"
    )
    made["responses"]["auc"] = 3.0 + np.arange(315) / 100
    assert_refused(
        lambda: DrugResponse.from_tables("tiny", **made, target="auc", units="uM"),
        "unknown units 'uM'",
        "about 0 to 30",
    )
    assert DrugResponse.from_tables("tiny", **made, target="auc").y.max() == pytest.approx(6.14)


def test_one_tissue_cannot_be_split_by_tissue_but_by_line(folder):
    changed(folder / "ids/cell_lines.parquet", lambda t: t.assign(tissue="Lung"))
    for name in NEW:
        data = load(name, folder=folder)
        assert_refused(
            lambda data=data: make_split(data, "tissue_blind"),
            f"tissue_blind needs at least 6 groups, {name} has 1",
            "use a split with more groups",
        )
        assert len(make_split(data, "cell_blind").test)


def test_with_one_tissue_the_mean_in_the_tissue_is_still_a_mean(folder):
    changed(folder / "ids/cell_lines.parquet", lambda t: t.assign(tissue="Lung"))
    data = load("ctrp", folder=folder)
    split = make_split(data, "cell_blind")
    one, other = (
        models.build(name).fit(data, split).table for name in ("tissue_drug_mean", "drug_mean")
    )
    np.testing.assert_allclose(
        one, other, atol=1e-9
    )  # what is above the drug's mean in the only tissue is nothing


def test_every_fold_has_a_test_drug_or_the_split_is_refused(folder):
    data = load("ccle", folder=folder)
    for kind, folds in (("drug_blind", 10), ("scaffold_blind", 5)):
        drugs = [
            np.unique(data.pairs[make_split(data, kind, fold=fold).test, 1])
            for fold in range(folds)
        ]
        assert all(len(held_out) for held_out in drugs) and np.array_equal(
            np.sort(np.concatenate(drugs)), np.arange(13)
        )
    path = changed(folder / RESPONSES["ccle"], lambda t: t[t["Compound"].isin(DRUGS[:10])])
    few = load("ccle", folder=folder, responses=path)
    assert_refused(
        lambda: make_split(few, "drug_blind"),
        "drug_blind needs at least 11 groups, ccle has 10",
        "more data",
    )


# The command line


def test_data_check_lists_what_is_there_and_names_what_is_not(folder, capsys):
    assert main(["data", "check", str(folder)]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert (
        list(rows) == ["benchmark", *BENCHMARKS]
        and f"not in this folder ({RESPONSES['tgsa']})" in rows["tgsa"]
    )
    assert (
        "are bounds (censored)" in rows["ccle"]
        and "target auc" in rows["ctrp"]
        and rows["gdsc1"].split()[1:4] == ["21", "14", "294"]
    )
    for name in NEW:
        (folder / RESPONSES[name]).unlink()
    assert main(["data", "check", str(folder)]) == 0
    tables = [table_of(name, folder) for name in BENCHMARKS]
    lost = sum(path is not None and not path.exists() for path in tables)
    assert capsys.readouterr().out.count("not in this folder") == lost >= 6


def test_run_tells_that_bounds_were_read_as_measured(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CLMT_DATA", str(folder))
    for name, told in (("ccle", True), ("gdsc1", False)):
        assert (
            main(
                [
                    "run",
                    "--dataset",
                    name,
                    "--split",
                    "mixed",
                    "--model",
                    "drug_mean",
                    "--records",
                    str(tmp_path / "records"),
                ]
            )
            == 0
        )
        assert ("are bounds, read here as measured" in capsys.readouterr().out) == told


def test_report_and_ladder_say_that_bounds_were_read_as_measured_even_where_a_fold_has_none(
    folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("CLMT_DATA", str(folder))
    first = set(make_split(load("ccle", folder=folder), "drug_blind").test)
    pairs, raw = load("ccle", folder=folder), pd.read_parquet(folder / RESPONSES["ccle"])
    drugs = set(pairs.drugs.index[pairs.pairs[sorted(first), 1]])
    changed(
        folder / RESPONSES["ccle"],
        lambda t: t.assign(
            **{
                "IC50 (uM)": raw["IC50 (uM)"].where(
                    ~raw["Compound"].isin(drugs), 1.0 + raw.index % 7
                )
            }
        ),
    )  # the first fold's drugs lose their bounds
    (tmp_path / "grid.yaml").write_text(
        "runs:\n  - {dataset: ccle, split: drug_blind, seeds: [0], folds: [0, 1], models: "
        "[cell_mean]}\n  - {dataset: gdsc1, split: mixed, seeds: [0], folds: [0], models: "
        "[cell_mean]}\n"
    )
    for command in (["run", "--grid"], ["report", "--grid"]):
        assert (
            main([*command, str(tmp_path / "grid.yaml"), "--records", str(tmp_path / "records")])
            == 0
        )
    told = {
        line.split()[0]: line for line in capsys.readouterr().out.splitlines() if "runs in" in line
    }
    assert (
        "of its test responses are bounds, read as measured" in told["ccle"]
        and "bounds" not in told["gdsc1"]
    )
    row = records.ladder("ccle", "drug_blind", folder=tmp_path / "records").loc["cell_mean"]
    assert 0 < row["censored"] < 1 and row["rmse_measured"] > 0 and row["folds"] == 2


# Real tables


def test_the_simulated_world_is_what_it_was():
    assert load("simulated").checksum == "7b0bf50d10528a94"


@pytest.mark.real_data
@pytest.mark.skipif(not REAL, reason="CLMT_DATA is not set")
class TestRealData:
    @pytest.mark.parametrize(
        "name, checksum", [("gdsc2", "dc11e2108ef7aa88"), ("tgsa", "e3e72dc218d3c8d3")]
    )
    def test_the_first_benchmarks_are_what_they_were(self, name, checksum):
        assert load(name).checksum == checksum

    @pytest.mark.parametrize(
        "name, lines, drugs, compounds, pairs",
        [
            ("ccle", 316, 23, 23, 6_962),
            ("gdsc1", 732, 244, 231, 146_881),
            ("ctrp", 478, 496, 494, 188_642),
        ],
    )
    def test_counts(self, name, lines, drugs, compounds, pairs):
        data = tiny.real(name)
        assert (data.n_cells, data.n_drugs, data.drugs["compound"].nunique(), len(data)) == (
            lines,
            drugs,
            compounds,
            pairs,
        )
        assert (
            data.cells[["name", "tissue"]].notna().all().all()
            and data.drugs["smiles"].notna().all()
            and audit(data).clean
        )

    def test_half_of_ccle_is_a_bound_and_its_own_csv_gives_the_same(self):
        data, path = (
            load("ccle"),
            os.path.join(REAL, "drp/raw/CCLE_NP24.2009_Drug_data_2015.02.24.csv.gz"),
        )
        assert (
            data.censored.mean() == pytest.approx(0.543, abs=5e-4)
            and (data.y[data.censored] > 2).mean() > 0.98
        )
        if os.path.exists(path):
            assert load("ccle", responses=path).checksum == data.checksum

    def test_act_area_falls_where_the_ic50_rises(self):
        one, other = tiny.real("ccle"), load("ccle", target="act_area")
        measured = ~one.censored
        assert metrics.spearman(one.y[measured], other.y[measured]) < -0.8 and other.y.min() >= 0

    def test_ctrp_agrees_with_ccle_on_the_direction(self):
        ctrp, ccle = tiny.real("ctrp"), tiny.real("ccle")
        name = {"ctrp": "paclitaxel", "ccle": "Paclitaxel"}
        series = []
        for data in (ctrp, ccle):
            drug = data.drugs["name"].tolist().index(name[data.name])
            series.append(pd.Series(data.matrix()[:, drug], index=data.cells.index))
        both = pd.concat(series, axis=1).dropna()
        assert len(both) > 100 and metrics.spearman(both[0].to_numpy(), both[1].to_numpy()) > 0.2


@pytest.fixture
def wider(folder, monkeypatch):
    """The folder where GDSC2 has not tried furan, nor benzene under its second id, which GDSC1 both
    has; with a table of events for all lines but the first.
    """
    monkeypatch.setattr(auxiliary, "LEAST", 5)
    furan = tiny.tables()["drugs"].index[list(tiny.STRUCTURES).index("furan") + 1]
    changed(
        folder / RESPONSES["gdsc2"], lambda table: table[~table["DRUG_ID"].isin([1002, int(furan)])]
    )
    lines = [int(line) for line in tiny.tables()["cells"].index[1:]]
    pd.DataFrame(
        {
            "COSMIC_ID": lines,
            "TISSUE_FACTOR": "lung",
            "MSI_FACTOR": 1,
            "TP53_mut": [i % 2 for i in range(len(lines))],
        }
    ).to_parquet(folder / "gdsc/mobem_v17.parquet")
    return folder, furan


def test_elsewhere_shows_other_compounds_of_other_screens_and_never_a_pair_again(wider):
    folder, furan = wider
    benchmark, first = load("gdsc2", folder=folder), load("gdsc1", folder=folder)
    more = auxiliary.load_auxiliary(benchmark, folder)
    assert list(more.responses.columns) == [f"gdsc1 {furan}"], (
        "benzene under its second id is a compound that GDSC2 has"
    )
    wanted = pd.Series(first.matrix()[:, first.drugs.index.get_loc(furan)], first.cells.index)[
        benchmark.cells.index
    ]
    assert np.allclose(more.responses.iloc[:, 0], wanted)
    assert more.expression.isna().all(axis=1).tolist() == [False] * 20 + [True], (
        "line 20 has no second expression"
    )
    assert (
        more.events.columns.tolist() == ["MSI_FACTOR", "TP53_mut"]
        and more.events.isna().all(axis=1).tolist() == [True] + [False] * 20
    )
    assert all(
        list(table.index) == list(benchmark.cells.index)
        for table in (more.responses, more.expression, more.events)
    )
    assert (
        more.describe()["responses"] == 1
        and more.describe() == auxiliary.load_auxiliary(benchmark, folder).describe()
    )


def test_a_benchmark_without_other_tables_is_told_nothing_more():
    world = load("simulated", cells=30)
    assert auxiliary.load_auxiliary(world).describe() == {} and auxiliary.load_auxiliary(
        tiny.benchmark()
    ).responses.shape == (21, 0)
    split = make_split(world, "cell_blind")
    plain, told = (
        models.build(name, inner=2).fit(world, split) for name in ("stack", "stack_auxiliary")
    )
    assert np.array_equal(plain.table, told.table) and told.also_read == {}


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda table: table.drop(columns="TISSUE_FACTOR"), ["missing column 'TISSUE_FACTOR'"]),
        (
            lambda table: table.assign(COSMIC_ID=table["COSMIC_ID"] + 0.5),
            ["COSMIC_ID", "is not a whole number", "row 2"],
        ),
        (
            lambda table: table.assign(COSMIC_ID=table["COSMIC_ID"].iloc[0]),
            ["line 9002 appears twice", "row 3"],
        ),
        (lambda table: table.assign(MSI_FACTOR="yes"), ["MSI_FACTOR", "'yes'", "row 2"]),
    ],
)
def test_a_bad_table_of_events_is_refused_in_one_message(wider, change, says):
    folder, _ = wider
    changed(folder / "gdsc/mobem_v17.parquet", change)
    assert_refused(
        lambda: auxiliary.load_auxiliary(load("gdsc2", folder=folder), folder),
        "mobem_v17.parquet",
        *says,
    )


def test_a_run_says_what_else_it_read(wider, tmp_path, monkeypatch):
    folder, _ = wider
    monkeypatch.setenv("CLMT_DATA", str(folder))
    record = records.run(
        records.RunConfig("gdsc2", "cell_blind", "kernel_auxiliary"), tmp_path / "records"
    )
    assert record.provenance["also_read"] == auxiliary.load_auxiliary(load("gdsc2")).describe()
    assert (
        "also_read"
        not in records.run(
            records.RunConfig("gdsc2", "cell_blind", "kernel_omics"), tmp_path / "records"
        ).provenance
    )
