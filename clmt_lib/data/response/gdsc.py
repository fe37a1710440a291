"""GDSC2 from a folder of prepared tables (see `clmt data prepare`), or with the responses from an
official release file.

Sources: Genomics of Drug Sensitivity in Cancer (Yang et al. 2013; Iorio et al. 2016), Cell Model
Passports, COSMIC Cell Lines Project.
"""

import numpy as np
import pandas as pd

from clmt_lib.data.grouping import check_smiles, group_compounds
from clmt_lib.data.response.base import DrugResponse
from clmt_lib.data.response.joins import one_line_each
from clmt_lib.io import DataError, locate, read_table

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


def read_responses(path):
    """GDSC2 responses in the official 19 columns, from CSV (also gzipped) or Parquet: the same
    table either way.

    Raises
    ------
    DataError
        As `read_table`; also for an id that is not a whole number.
    """
    frame = read_table(path, RESPONSE_COLUMNS).reset_index(drop=True)
    for column in ("COSMIC_ID", "DRUG_ID"):
        number = pd.to_numeric(frame[column], errors="coerce")
        bad = number.isna() | (number % 1 != 0)
        if bad.any():
            raise DataError(
                f"{column} {frame.loc[bad, column].iloc[0]!r} is not a whole number",
                file=path,
                row=int(np.flatnonzero(bad)[0]) + 2,
                remedy="drop rows without an id",
            )
        frame[column] = number.astype("int64")
    return frame


def load(folder=None, responses=None, complete=True):
    """GDSC2 with expression, binary mutation, log2 copy number, structures, targets and pathways,
    joined by COSMIC id and GDSC drug id.

    Parameters
    ----------
    folder : prepared tables; None takes `CLMT_DATA`
    responses : another file of responses in the official layout
    complete : keep only lines with all three omics and drugs with a structure; otherwise drugs
        without a structure stay

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
    table = read_responses(path)[["COSMIC_ID", "SANGER_MODEL_ID", "DRUG_ID", "LN_IC50"]]
    drugs = read_drugs(folder)
    if complete:
        drugs = drugs[drugs["smiles"].notna()]
    omics = read_omics(folder)
    lines = (
        omics["expression"]
        .index.intersection(omics["mutation"].index)
        .intersection(omics["copy_number"].index)
    )
    pairs = pd.DataFrame(
        {
            "cell": table["COSMIC_ID"].astype(str),
            "drug": table["DRUG_ID"].astype(str),
            "ln_ic50": table["LN_IC50"],
        }
    )
    pairs = pairs[pairs["cell"].isin(lines) & pairs["drug"].isin(drugs.index)]
    drugs = drugs.loc[sorted(pairs["drug"].unique(), key=int)]
    lines = sorted(pairs["cell"].unique(), key=int)
    cells = read_cells(folder, "COSMIC_ID", table["SANGER_MODEL_ID"].unique())
    cells = cells.loc[[line for line in lines if line in cells.index]]
    one_line_each(cells, pairs, path)
    drugs = drugs.assign(compound=group_compounds(drugs))
    files = {
        "cells": folder / "ids/cell_lines.parquet",
        "drugs": folder / "gdsc/drugs.parquet",
        "responses": path,
        **dict.fromkeys(omics, folder / "gdsc"),
    }
    return DrugResponse.from_tables(
        "gdsc2", cells, drugs, omics, pairs, file=files, licence=LICENCE, source=SOURCE
    )


def read_drugs(folder):
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


def read_cells(folder, key, models=()):
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


def read_omics(folder):
    """Expression (z-score), mutation (0/1) and copy number (log2 ratio to ploidy), each [lines,
    genes], indexed by COSMIC id.

    Mutation and copy number keep the genes of the expression table that both know; a mutation is
    any non-zero score.
    """
    gdsc = folder / "gdsc"
    path = next(
        (
            gdsc / name
            for name in ("expression_zscore.parquet", "expression_zscore_656g.parquet")
            if (gdsc / name).exists()
        ),
        gdsc / "expression_zscore.parquet",
    )
    expression = read_table(path)
    expression = expression.set_index(expression["COSMIC_ID"].astype(str)).drop(columns="COSMIC_ID")
    genes = set(expression.columns)
    long = read_table(gdsc / "mutation_long.parquet", ["COSMIC_ID", "symbol", "score"])
    long = long[long["symbol"].isin(genes) & (long["score"] != 0)]
    known = (
        set(read_table(gdsc / "mutation_genes.parquet", ["symbol"])["symbol"])
        if (gdsc / "mutation_genes.parquet").exists()
        else set(long["symbol"])
    )
    copy = read_table(gdsc / "cna_log2.parquet")
    copy = (
        copy[copy["symbol"].isin(genes & known)]
        .drop_duplicates("symbol")
        .set_index("symbol")
        .drop(columns="entrez_id", errors="ignore")
        .T
    )
    shared = [gene for gene in expression.columns if gene in set(copy.columns)]
    lines = read_table(gdsc / "mutation_lines.parquet", ["COSMIC_ID"])["COSMIC_ID"].astype(str)
    if lines.duplicated().any():
        twice = int(np.flatnonzero(lines.duplicated())[0])
        raise DataError(
            f"line {lines.iloc[twice]} appears twice",
            file=gdsc / "mutation_lines.parquet",
            row=twice + 2,
            remedy="keep one row for each line",
        )
    long = long[long["symbol"].isin(shared)]
    block = np.zeros(
        (len(lines), len(shared)), np.float32
    )  # a line without a row in the long table has no mutation
    row = pd.Index(lines).get_indexer(long["COSMIC_ID"].astype(str))
    if (row < 0).any():
        stranger = long["COSMIC_ID"].to_numpy()[row < 0][0]
        raise DataError(
            f"line {stranger} has mutations but is not in mutation_lines",
            file=gdsc / "mutation_long.parquet",
            remedy="add it there, or drop its mutations",
        )
    block[row, pd.Index(shared).get_indexer(long["symbol"])] = 1
    mutation = pd.DataFrame(block, index=pd.Index(lines), columns=shared)
    copy = copy.loc[copy.isna().mean(axis=1) < EMPTY_COPY_NUMBER, shared]
    return {"expression": expression, "mutation": mutation, "copy_number": copy}
