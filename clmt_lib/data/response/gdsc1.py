"""GDSC1, release v17: ln IC50 of an older assay (Iorio et al. 2016), with the drugs and omics of
the prepared GDSC tables.
"""

import os
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from clmt_lib.data.response.base import DrugResponse
from clmt_lib.data.response.gdsc import LICENCE, read_cells, read_drugs, read_omics, read_scales
from clmt_lib.data.response.joins import assemble, complete_lines, joined_pairs, whole
from clmt_lib.io import locate, numbers, read_table

SOURCE = (
    "GDSC1 (release v17) ln IC50; expression z-scores, mutations and copy number of the "
    "same lines; Cell Model Passports"
)


def load(
    folder: str | os.PathLike | None = None,
    responses: str | os.PathLike | None = None,
    complete: bool = True,
) -> DrugResponse:
    """GDSC1 with expression, binary mutation, log2 copy number, structures, targets and pathways,
    joined by COSMIC id and GDSC drug id.

    Parameters
    ----------
    folder : prepared tables; None takes `CLMT_DATA`
    responses : another file with COSMIC_ID, DRUG_ID and LN_IC50
    complete : keep only lines with all three omics and drugs with a structure; otherwise drugs
        without a structure stay

    Returns
    -------
    DrugResponse named "gdsc1"; ids are COSMIC ids and GDSC drug ids, as strings.

    Raises
    ------
    DataError
        From `locate`, `read_table` and `DrugResponse.from_tables`; an id that is not a whole
        number, a line under two ids.
    """
    folder = locate(folder)
    path = responses or folder / "gdsc/response_gdsc1_v17.parquet"
    table = read_table(path, ["COSMIC_ID", "DRUG_ID", "LN_IC50"]).reset_index(drop=True)
    pairs = pd.DataFrame(
        {
            "cell": whole(table, "COSMIC_ID", path),
            "drug": whole(table, "DRUG_ID", path),
            "ln_ic50": numbers(table, "LN_IC50", path, whole=False),
        }
    )
    drugs, omics = read_drugs(folder), read_omics(folder)
    if complete:
        drugs = drugs[drugs["smiles"].notna()]
    pairs = joined_pairs(pairs, complete_lines(omics), drugs.index, path)
    return assemble(
        "gdsc1",
        folder,
        read_cells(folder, "COSMIC_ID", _models(folder)),
        drugs.loc[sorted(pairs["drug"].unique(), key=int)],
        omics,
        pairs,
        path=path,
        drug_file="gdsc/drugs.parquet",
        omics_folder="gdsc",
        order=int,
        scales=read_scales(folder / "gdsc"),
        licence=LICENCE,
        source=SOURCE,
    )


def _models(folder: Path) -> Collection[str]:
    """Sanger model ids of GDSC2's lines, where it is there: v17 names lines by COSMIC id alone, and
    one id may stand for two lines of the table.
    """
    path = folder / "gdsc/response_gdsc2.parquet"
    return (
        read_table(path, ["SANGER_MODEL_ID"])["SANGER_MODEL_ID"].unique() if path.exists() else ()
    )
