"""GDSC2 from a folder of prepared tables (see `clmt data prepare`), or with the responses from an
official release file.

Sources: Genomics of Drug Sensitivity in Cancer (Yang et al. 2013; Iorio et al. 2016), Cell Model
Passports, COSMIC Cell Lines Project.
"""

import os
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from clmt_lib.data.base import Side
from clmt_lib.data.grouping import check_smiles
from clmt_lib.data.response.base import DrugResponse, cell_side
from clmt_lib.data.response.joins import assemble, complete_lines, joined_pairs
from clmt_lib.io import DataError, locate, numbers, read_table, require_columns

RESPONSE_COLUMNS = (
    "DATASET",
    "NLME_RESULT_ID",
    "NLME_CURVE_ID",
    "COSMIC_ID",
    "CELL_LINE_NAME",
    "SANGER_MODEL_ID",
    "TCGA_DESC",
    "DRUG_ID",
    "DRUG_NAME",
    "PUTATIVE_TARGET",
    "PATHWAY_NAME",
    "COMPANY_ID",
    "WEBRELEASE",
    "MIN_CONC",
    "MAX_CONC",
    "LN_IC50",
    "AUC",
    "RMSE",
    "Z_SCORE",
)
LICENCE = (
    "GDSC and COSMIC terms (Wellcome Sanger Institute): research, non-commercial; not "
    "redistributed here"
)
SOURCE = (
    "GDSC2 fitted dose response; expression z-scores, mutations and copy number of the "
    "same lines; Cell Model Passports"
)
EMPTY_COPY_NUMBER = (
    0.5  # a line with more than this share of missing genes has no usable copy number
)


def read_responses(path: str | os.PathLike) -> pd.DataFrame:
    """GDSC2 responses in the official 19 columns, from CSV (also gzipped) or Parquet: the same
    table either way.

    Raises
    ------
    DataError
        As `read_table`; also for an id that is not a whole number.
    """
    ids = ("COSMIC_ID", "DRUG_ID")
    frame = read_table(path, RESPONSE_COLUMNS, text=ids).reset_index(drop=True)
    other = frame["DATASET"] != "GDSC2"
    if other.any():
        raise DataError(
            f"a row of {str(frame.loc[other, 'DATASET'].iloc[0])!r} among GDSC2",
            file=path,
            row=int(other.idxmax()) + 2,
            remedy="GDSC1 is another assay: keep the rows of GDSC2 only",
        )
    for column in ids:
        frame[column] = numbers(frame, column, path)
    frame["LN_IC50"] = numbers(frame, "LN_IC50", path, whole=False)
    return frame


def load(
    folder: str | os.PathLike | None = None,
    responses: str | os.PathLike | None = None,
    complete: bool = True,
    screened: bool = False,
) -> DrugResponse:
    """GDSC2 with expression, binary mutation, log2 copy number, structures, targets and pathways,
    joined by COSMIC id and GDSC drug id.

    Parameters
    ----------
    folder : prepared tables; None takes `CLMT_DATA`
    responses : another file of responses in the official layout
    complete : keep only lines with all three omics and drugs with a structure; otherwise drugs
        without a structure stay
    screened : keep every line that was screened and every drug, whatever is known of them: what a
        line lacks, the side's `present` says

    Returns
    -------
    DrugResponse named "gdsc2"; ids are COSMIC ids and GDSC drug ids, as strings.

    Raises
    ------
    DataError
        From `locate`, `read_table` and `DrugResponse.from_tables`; a line under two ids.
    """
    folder = locate(folder)
    path = responses or folder / "gdsc/response_gdsc2.parquet"
    table = read_responses(path)
    drugs, omics = read_drugs(folder), read_omics(folder)
    cells = read_cells(folder, "COSMIC_ID", table["SANGER_MODEL_ID"].unique())
    if complete and not screened:
        drugs = drugs[drugs["smiles"].notna()]
    lines = set(cells.index) if screened else complete_lines(omics)
    pairs = pd.DataFrame(
        {
            "cell": table["COSMIC_ID"].astype(str),
            "drug": table["DRUG_ID"].astype(str),
            "ln_ic50": table["LN_IC50"],
        }
    )
    pairs = joined_pairs(pairs, lines, drugs.index, path)
    return assemble(
        "gdsc2",
        folder,
        cells,
        drugs.loc[sorted(pairs["drug"].unique(), key=int)],
        omics,
        pairs,
        path=path,
        drug_file="gdsc/drugs.parquet",
        omics_folder="gdsc",
        order=int,
        scales=read_scales(folder / "gdsc"),
        partial=screened,
        licence=LICENCE,
        source=SOURCE,
    )


def read_drugs(folder: Path) -> pd.DataFrame:
    """[drug ids] structures, targets and pathways, indexed by GDSC drug id; `smiles` missing where
    no public structure is known.
    """
    path = folder / "gdsc/drugs.parquet"
    columns = {
        "drug_name": "name",
        "smiles": "smiles",
        "inchikey_rdkit": "inchikey",
        "target": "target",
        "target_pathway": "pathway",
        "pubchem_cid": "pubchem_cid",
    }
    table = read_table(path, ["DRUG_ID", *columns])
    table = table.set_index(table["DRUG_ID"].astype(str)).rename(columns=columns)[
        list(columns.values())
    ]
    check_smiles(table, path)
    return table


def read_cells(folder: Path, key: str, models: Collection[str] = ()) -> pd.DataFrame:
    """[lines] names, tissue, cancer type, MSI status and every other id, indexed by `key`
    ("COSMIC_ID" or "DEPMAP_ID").

    The table may hold one line in several rows, each with some of its fields (they are merged), and
    may give one COSMIC id to two lines
    (MS-1 of the lung, MS-1 of the skin): the line among `models`, Sanger model ids, is the one
    meant.
    """
    columns = {
        "model_name": "name",
        "tissue": "tissue",
        "cancer_type": "cancer_type",
        "msi_status": "msi",
    }
    ids = ["SANGER_MODEL_ID", "DEPMAP_ID", "COSMIC_ID", "RRID"]
    table = read_table(folder / "ids/cell_lines.parquet", [*columns, *ids])
    table = table[table[key].notna()].reset_index(drop=True)
    first = pd.DataFrame(
        {"other": ~table["SANGER_MODEL_ID"].isin(models), "unnamed": table["model_name"].isna()}
    ).sort_values(["other", "unnamed"], kind="stable")
    table = (
        table.loc[first.index]
        .groupby([key, "SANGER_MODEL_ID"], sort=False, dropna=False)
        .first()
        .reset_index()[[*columns, *ids]]
        .drop_duplicates(key)
    )
    return table.set_index(table[key].astype(str)).rename(columns=columns).rename(columns=str.lower)


def read_omics(folder: Path) -> dict[str, pd.DataFrame]:
    """Expression (z-score), mutation (0/1) and copy number (log2 ratio to ploidy), each [lines,
    genes], indexed by COSMIC id.

    Mutation and copy number keep the genes of the expression table that both know; a mutation is
    any non-zero score.

    Raises
    ------
    DataError
        From `read_table`; a sequenced line that appears twice, or a mutation of one that does not.
    """
    gdsc = folder / "gdsc"
    expression = _read_expression(gdsc)
    path = _there(gdsc / "mutation_long.parquet", "mutations")
    long = read_table(path, ["COSMIC_ID", "symbol", "score"])
    long = long[long["symbol"].isin(expression.columns) & (long["score"] != 0)]
    copy = _read_copy_number(gdsc, set(expression.columns) & _sequenced_genes(gdsc, long))
    shared = [gene for gene in expression.columns if gene in set(copy.columns)]
    return {
        "expression": expression,
        "mutation": _mutation_table(gdsc, long, shared),
        "copy_number": copy.loc[copy.isna().mean(axis=1) < EMPTY_COPY_NUMBER, shared],
    }


def _read_expression(gdsc: Path) -> pd.DataFrame:
    """[lines, genes] z-scores: the whole table where it is there, else the one of census genes."""
    names = ("expression_zscore.parquet", "expression_zscore_656g.parquet")
    path = next((gdsc / name for name in names if (gdsc / name).exists()), gdsc / names[0])
    table = read_table(_there(path, "expression"))
    require_columns(table.columns, ["COSMIC_ID"], path)
    return table.set_index(table["COSMIC_ID"].astype(str)).drop(columns="COSMIC_ID")


def _there(path: Path, kind: str) -> Path:
    """The path of a table of omics; raises DataError where the folder was prepared without it."""
    if not path.exists():
        raise DataError(
            f"no table of {kind} here",
            file=path,
            remedy=f"the folder was prepared without: put the provider's file of {kind} beside the "
            "other downloads and run `clmt data prepare` into a new folder",
        )
    return path


def read_scales(part: Path) -> dict[str, pd.DataFrame]:
    """What the expression of a prepared folder was standardised by, where it says so: "expression"
    -> frame indexed by gene with `mean` and `deviation` of log2(TPM+1).
    """
    path = part / "expression_scale.parquet"
    if not path.exists():
        return {}
    return {"expression": read_table(path, ["symbol", "mean", "deviation"]).set_index("symbol")}


def _sequenced_genes(gdsc: Path, long: pd.DataFrame) -> set[str]:
    """Symbols that were looked at; without a list of them, those that were found mutated."""
    path = gdsc / "mutation_genes.parquet"
    return set((read_table(path, ["symbol"]) if path.exists() else long)["symbol"])


def _read_copy_number(gdsc: Path, genes: set[str]) -> pd.DataFrame:
    """[lines, genes] log2 ratios of those genes; the first row of a symbol speaks for it."""
    path = _there(gdsc / "cna_log2.parquet", "copy number")
    table = read_table(path)
    require_columns(table.columns, ["symbol"], path)
    table = table[table["symbol"].isin(genes)].drop_duplicates("symbol").set_index("symbol")
    return table.drop(columns="entrez_id", errors="ignore").T


def _mutation_table(gdsc: Path, long: pd.DataFrame, genes: list[str]) -> pd.DataFrame:
    """[sequenced lines, genes] 0/1 from rows of mutated genes; a line without a row has none."""
    path = gdsc / "mutation_lines.parquet"
    lines = read_table(path, ["COSMIC_ID"])["COSMIC_ID"].astype(str)
    if lines.duplicated().any():
        twice = int(np.flatnonzero(lines.duplicated())[0])
        raise DataError(
            f"line {lines.iloc[twice]} appears twice",
            file=path,
            row=twice + 2,
            remedy="keep one row for each line",
        )
    long = long[long["symbol"].isin(genes)]
    row = pd.Index(lines).get_indexer(long["COSMIC_ID"].astype(str))
    if (row < 0).any():
        stranger = long["COSMIC_ID"].to_numpy()[row < 0][0]
        raise DataError(
            f"line {stranger} has mutations but is not in mutation_lines",
            file=gdsc / "mutation_long.parquet",
            remedy="add it there, or drop its mutations",
        )
    block = np.zeros((len(lines), len(genes)), np.float32)
    block[row, pd.Index(genes).get_indexer(long["symbol"])] = 1
    return pd.DataFrame(block, index=pd.Index(lines), columns=genes)


def catalogue(folder: str | os.PathLike | None = None) -> tuple[Side, pd.DataFrame]:
    """Every line and drug of the prepared tables, screened or not: what a fitted model can be asked
    about by name.

    Returns
    -------
    (lines by COSMIC id, with whatever omics they have; facts of drugs by GDSC id)
    """
    folder = locate(folder)
    omics = read_omics(folder)
    cells = read_cells(folder, "COSMIC_ID")
    cells = cells[cells.index.isin(set().union(*(table.index for table in omics.values())))]
    views = {
        kind: table.reindex(cells.index).fillna(0.0).astype("float32")
        for kind, table in omics.items()
    }
    present = {kind: cells.index.isin(table.index) for kind, table in omics.items()}
    return cell_side(cells, views, present=present), read_drugs(folder)
