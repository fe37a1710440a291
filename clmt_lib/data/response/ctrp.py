"""CTRPv2: area under the dose-response curve (AUC) of some 500 compounds, on the lines of TGSA's
omics.

Source: Cancer Therapeutics Response Portal v2 (Seashore-Ludlow et al. 2015; Rees et al. 2016). The
area is taken over the logarithm of the dose, runs from
0 to about 30, and is lower where the line is more sensitive. It depends on how many doses a
compound was tried at: compare lines within a compound.
Mixtures of two compounds (names with ":") are left out: the response to a mixture is no fact about
one structure.
"""

import os
from pathlib import Path

import pandas as pd

from clmt_lib.data.response.base import DrugResponse
from clmt_lib.data.response.ccle import read_omics
from clmt_lib.data.response.gdsc import read_cells, read_scales
from clmt_lib.data.response.joins import (
    assemble,
    complete_lines,
    inchikeys,
    one_name_each,
    one_to_one,
    some_left,
    whole,
    with_pathways,
)
from clmt_lib.io import locate, read_table

LICENCE = (
    "CTRP: open data of the NCI CTD2 network; DepMap/CCLE CC BY 4.0 for omics; research "
    "use, not redistributed here"
)
SOURCE = "CTRPv2 AUC on CCLE lines"


def load(
    folder: str | os.PathLike | None = None, responses: str | os.PathLike | None = None
) -> DrugResponse:
    """CTRPv2 AUC with expression, mutation and copy number of 706 census genes; ids are DepMap ids
    and CTRP's master compound ids, as strings.

    Parameters
    ----------
    folder : prepared tables; None takes `CLMT_DATA`
    responses : another file with DEPMAP_ID, compound, AUC and ctrp_master_cpd_id

    Returns
    -------
    DrugResponse named "ctrp", target "auc". `target` of a drug are gene symbols; `activity` is
    CTRP's phrase about what it does, or "screening hit".

    Raises
    ------
    DataError
        From `locate`, `read_table` and `DrugResponse.from_tables`; an id that is not a whole
        number, a line under two ids, a drug under two names.
    """
    folder = locate(folder)
    path = responses or folder / "ctrp/response_ctrp_auc.parquet"
    table = read_table(path, ["DEPMAP_ID", "compound", "AUC", "ctrp_master_cpd_id"]).reset_index(
        drop=True
    )
    table["drug"] = whole(table, "ctrp_master_cpd_id", path)
    one_to_one(table, "drug", "compound", "drug", path)
    drugs, omics = read_drugs(folder), read_omics(folder)
    pairs = table.rename(columns={"DEPMAP_ID": "cell", "AUC": "auc"})[["cell", "drug", "auc"]]
    known = pairs["cell"].isin(complete_lines(omics))
    pairs = some_left(pairs[known & ~pairs["drug"].isin(drugs.index[drugs["mixture"]])], path)
    there = set(pairs["drug"])
    return assemble(
        "ctrp",
        folder,
        read_cells(folder, "DEPMAP_ID"),
        drugs.loc[[drug for drug in drugs.index if drug in there]].drop(columns="mixture"),
        omics,
        pairs,
        path=path,
        drug_file="ctrp/compounds.parquet",
        omics_folder="ccle",
        scales=read_scales(folder / "ccle"),
        target="auc",
        licence=LICENCE,
        source=SOURCE,
    )


def read_drugs(folder: Path) -> pd.DataFrame:
    """[compounds] structures, targets, pathways where GDSC's table knows the compound, and
    `mixture` (bool), indexed by CTRP's master compound id.
    """
    path = folder / "ctrp/compounds.parquet"
    columns = {
        "cpd_name": "name",
        "cpd_smiles": "smiles",
        "gene_symbol_of_protein_target": "target",
        "target_or_activity_of_compound": "activity",
    }
    drugs = (
        read_table(path, ["master_cpd_id", *columns]).reset_index(drop=True).rename(columns=columns)
    )
    ids = whole(drugs, "master_cpd_id", path)
    drugs = drugs.drop(columns="master_cpd_id").assign(
        mixture=drugs["name"].str.contains(":", regex=False),
        target=drugs["target"].str.replace(";", ", ", regex=False),
    )
    drugs["inchikey"] = inchikeys(drugs, path)
    one_name_each(drugs, path)
    drugs = with_pathways(drugs, folder).set_index(pd.Index(ids))
    return drugs.loc[sorted(drugs.index, key=int)]
