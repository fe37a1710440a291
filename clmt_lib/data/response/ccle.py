"""Two benchmarks on CCLE's omics: TGSA's set (GDSC2 responses, an older release, of 580 lines and
170 drugs), and CCLE's own screen of 24 drugs.

Sources: the set published with TGSA (Zhu et al. 2022). Its expression is standardised per gene over
all 580 lines, test lines included: a strict cell-blind
evaluation says so. Two drugs (carmustine, vincristine) have no structure in the prepared tables:
they stay, structure is a missing modality.
CCLE's pharmacology (Barretina et al. 2012), table NP24 of 2015: where a line survives the highest
dose, its IC50 is given as 8 uM. That is a bound, not a
measurement, and is flagged as `censored`, as are the few IC50s that stand at the lowest dose tried.
"""

import os
from pathlib import Path

import pandas as pd

from clmt_lib.data.grouping import group_compounds
from clmt_lib.data.response.base import DrugResponse
from clmt_lib.data.response.gdsc import read_cells, read_drugs, read_scales
from clmt_lib.data.response.joins import (
    assemble,
    complete_lines,
    inchikeys,
    one_name_each,
    one_to_one,
    some_left,
    with_pathways,
)
from clmt_lib.io import DataError, locate, read_table, require_columns

LICENCE = (
    "GDSC terms for responses, DepMap/CCLE CC BY 4.0 for omics; research use, not "
    "redistributed here"
)
SOURCE = "TGSA 580 x 170 (GDSC2 ln IC50 on CCLE lines)"
HIGHEST_UM = 8.0  # the highest dose of the CCLE screen
LICENCE_NP24 = (
    "Broad Institute terms for the legacy CCLE drug data, DepMap/CCLE CC BY 4.0 for "
    "omics; research use, not redistributed here"
)
SOURCE_NP24 = "CCLE pharmacological profiling, NP24 of 2015-02-24 (24 drugs)"
NAME, DRUG, UM, AREA, DOSES = (
    "CCLE Cell Line Name",
    "Compound",
    "IC50 (uM)",
    "ActArea",
    "Doses (uM)",
)


def load(folder: str | os.PathLike | None = None) -> DrugResponse:
    """TGSA's 580 x 170 set; ids are DepMap ids and GDSC drug names.

    Returns
    -------
    DrugResponse named "tgsa", omics of 706 census genes.

    Raises
    ------
    DataError
        From `locate`, `read_table` and `DrugResponse.from_tables`; a line under two ids.
    """
    folder = locate(folder)
    path = folder / "ccle/response_gdsc2_tgsa_580x170.parquet"
    pairs = read_table(path, ["DEPMAP_ID", "DRUG_NAME", "LN_IC50"])
    pairs.columns = ["cell", "drug", "ln_ic50"]
    return assemble(
        "tgsa",
        folder,
        read_cells(folder, "DEPMAP_ID"),
        drugs_by_name(read_drugs(folder), sorted(pairs["drug"].unique())),
        read_omics(folder),
        pairs,
        path=path,
        drug_file="gdsc/drugs.parquet",
        omics_folder="ccle",
        scales=read_scales(folder / "ccle"),
        licence=LICENCE,
        source=SOURCE,
    )


def drugs_by_name(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """[names] the GDSC drug table by name: the first id with a structure speaks for a name that has
    several.
    """
    table = (
        table.assign(missing=table["smiles"].isna())
        .sort_values("missing", kind="stable")
        .drop(columns="missing")
    )
    drugs = table.drop_duplicates("name").set_index("name", drop=False).reindex(pd.Index(names))
    drugs["name"] = drugs.index
    return drugs.assign(compound=group_compounds(drugs))


def read_omics(folder: Path) -> dict[str, pd.DataFrame]:
    """Expression (z-score over the 580 lines), mutation (0/1) and copy number (log2(ratio + 1)) of
    706 census genes, each [lines, genes], indexed by DepMap id.
    """
    tables = {
        "expression": "expression_zscore",
        "mutation": "mutation",
        "copy_number": "copynumber",
    }
    return {
        kind: read_table(folder / f"ccle/{name}_706g.parquet").set_index("DEPMAP_ID")
        for kind, name in tables.items()
    }


def load_ccle(
    folder: str | os.PathLike | None = None,
    responses: str | os.PathLike | None = None,
    target: str = "ln_ic50",
    complete: bool = True,
) -> DrugResponse:
    """CCLE's own screen on the lines of TGSA's omics; ids are DepMap ids and CCLE's names of drugs.

    Parameters
    ----------
    folder : prepared tables; None takes `CLMT_DATA`
    responses : another file in CCLE's layout; where it has no DEPMAP_ID, lines are found by their
        CCLE name
    target : "ln_ic50" (with `censored`), or "act_area", which has no cap and is higher where the
        line is more sensitive
    complete : keep only drugs with a structure; otherwise LBW242 stays, its structure missing

    Returns
    -------
    DrugResponse named "ccle".

    Raises
    ------
    DataError
        From `locate`, `read_table` and `DrugResponse.from_tables`; a line under two ids, a drug
        under two names, an unknown target.
    """
    if target not in ("ln_ic50", "act_area"):
        raise DataError(f"CCLE has no target {target!r}", remedy="use ln_ic50 or act_area")
    folder = locate(folder)
    path = responses or folder / "ccle/response_ccle_np24.parquet"
    table = read_np24(path, folder)
    drugs, omics = _np24_drugs(folder), read_omics(folder)
    known = table["cell"].isin(complete_lines(omics))
    if complete:
        known &= ~table["drug"].isin(drugs.index[drugs["smiles"].isna()])
    pairs = some_left(table[known], path)
    there, values = set(pairs["drug"]), [target, "censored"][: 2 if target == "ln_ic50" else 1]
    return assemble(
        "ccle",
        folder,
        read_cells(folder, "DEPMAP_ID"),
        drugs.loc[[drug for drug in drugs.index if drug in there]],
        omics,
        pairs[["cell", "drug", *values]],
        path=path,
        drug_file="ccle/drugs.parquet",
        omics_folder="ccle",
        scales=read_scales(folder / "ccle"),
        units="uM" if target == "ln_ic50" else None,
        target=target,
        licence=LICENCE_NP24,
        source=SOURCE_NP24,
    )


def read_np24(path: str | os.PathLike, folder: Path) -> pd.DataFrame:
    """[pairs] cell (DepMap id, missing where none is known), drug, `ln_ic50` (still in uM),
    `censored` and `act_area`, rows as in the file.

    Raises
    ------
    DataError
        As `read_table`; also for a line or a drug under two names, or an IC50 above the cap.
    """
    table = read_table(path).reset_index(drop=True)
    require_columns(table.columns, (NAME, DRUG, UM, AREA, DOSES), path)
    if "DEPMAP_ID" not in table:
        known = (
            read_table(folder / "ids/cell_lines.parquet", ["CCLE_NAME", "DEPMAP_ID"])
            .dropna()
            .drop_duplicates("CCLE_NAME")
            .set_index("CCLE_NAME")["DEPMAP_ID"]
        )
        table["DEPMAP_ID"] = table[NAME].map(known)
    one_to_one(table, NAME, "DEPMAP_ID", "line", path)
    if "PUBCHEM_CID" in table:
        one_to_one(table, DRUG, "PUBCHEM_CID", "drug", path)
    ic50 = pd.to_numeric(table[UM], errors="coerce")
    above = ic50 > HIGHEST_UM
    if above.any():
        row = int(above.idxmax())
        raise DataError(
            f"IC50 of {ic50[row]:g} uM, above the {HIGHEST_UM:g} uM that CCLE reports at most",
            file=path,
            row=row + 2,
            remedy="give IC50s in uM, capped as in CCLE's table",
        )
    lowest = pd.to_numeric(table[DOSES].astype(str).str.split(",").str[0], errors="coerce")
    beyond = (ic50 == HIGHEST_UM) | (ic50 <= lowest)
    return pd.DataFrame(
        {
            "cell": table["DEPMAP_ID"],
            "drug": table[DRUG],
            "ln_ic50": table[UM],
            "censored": beyond,
            "act_area": table[AREA],
        }
    )


def _np24_drugs(folder: Path) -> pd.DataFrame:
    path = folder / "ccle/drugs.parquet"
    columns = {
        "compound": "name",
        "smiles": "smiles",
        "target": "target",
        "pubchem_cid": "pubchem_cid",
        "mechanism": "activity",
    }
    drugs = read_table(path, list(columns)).reset_index(drop=True).rename(columns=columns)
    drugs["inchikey"] = inchikeys(drugs, path)
    one_name_each(drugs, path)
    return with_pathways(drugs, folder).set_index("name", drop=False)
