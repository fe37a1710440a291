"""TGSA's set: GDSC2 responses (an older release) of 580 CCLE lines and 170 drugs, with CCLE omics.

Source: the set published with TGSA (Zhu et al. 2022). Its expression is standardised per gene over all 580 lines, test lines included: a strict cell-blind
evaluation says so. Two drugs (carmustine, vincristine) have no structure in the prepared tables: they stay, structure is a missing modality.
"""

import pandas as pd

from clmt_lib.data.benchmark import DrugResponse, group_compounds
from clmt_lib.data.gdsc import read_cells, read_drugs
from clmt_lib.data.tables import locate, read_table

LICENCE = "GDSC terms for responses, DepMap/CCLE CC BY 4.0 for omics; research use, not redistributed here"
SOURCE = "TGSA 580 x 170 (GDSC2 ln IC50 on CCLE lines)"


def load(folder=None):
    """TGSA's 580 x 170 set; ids are DepMap ids and GDSC drug names.

    Returns
    -------
    DrugResponse named "tgsa", omics of 706 census genes.

    Raises
    ------
    DataError
        From `locate`, `read_table` and `DrugResponse.from_tables`.
    """
    folder = locate(folder)
    path = folder / "ccle/response_gdsc2_tgsa_580x170.parquet"
    pairs = read_table(path, ["DEPMAP_ID", "DRUG_NAME", "LN_IC50"])
    pairs.columns = ["cell", "drug", "ln_ic50"]
    lines = sorted(pairs["cell"].unique())
    omics = {}
    for kind, name in (("expression", "expression_zscore"), ("mutation", "mutation"), ("copy_number", "copynumber")):
        omics[kind] = read_table(folder / f"ccle/{name}_706g.parquet").set_index("DEPMAP_ID")
    drugs = drugs_by_name(read_drugs(folder), sorted(pairs["drug"].unique()))
    cells = read_cells(folder, "DEPMAP_ID")
    cells = cells.loc[[line for line in lines if line in cells.index]]
    files = {"cells": folder / "ids/cell_lines.parquet", "drugs": folder / "gdsc/drugs.parquet", "responses": path, **dict.fromkeys(omics, folder / "ccle")}
    return DrugResponse.from_tables("tgsa", cells, drugs, omics, pairs, file=files, licence=LICENCE, source=SOURCE)


def drugs_by_name(table, names):
    """[names] the GDSC drug table by name: the first id with a structure speaks for a name that has several."""
    table = table.assign(missing=table["smiles"].isna()).sort_values("missing", kind="stable").drop(columns="missing")
    drugs = table.drop_duplicates("name").set_index("name", drop=False).reindex(pd.Index(names))
    drugs["name"] = drugs.index
    return drugs.assign(compound=group_compounds(drugs))
