"""Davis: how strongly 68 kinase inhibitors bind 442 kinase constructs, as pKd.

Source: Davis et al. 2011, in the tables that DeepDTA published. Every pair was measured. Where
no binding was seen up to 10 uM (seven pairs in ten), pKd is given as 5: a bound, flagged as
`censored`.
The 442 constructs have 379 sequences, because the source gives a mutant its wild type's: a model
of sequences cannot tell them apart, and a split keeps them together.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from clmt_lib.data.base import Benchmark, Side, shown
from clmt_lib.data.grouping import check_keys, check_smiles, skeletons
from clmt_lib.data.interaction.modalities import with_modalities
from clmt_lib.data.interaction.tables import in_order, placed, protein_side, published
from clmt_lib.data.response.base import drug_side
from clmt_lib.io import DataError, locate, read_table, require_columns

LICENCE = (
    "the repository of the tables states none (data of Davis et al. 2011); protein names and texts "
    "UniProt, CC BY 4.0; research use, not redistributed here"
)
SOURCE = "Davis et al. 2011, kinase inhibitor binding constants; DeepDTA's tables"
HIGHEST_NM = 10_000.0  # the highest concentration tried


def load(folder: str | os.PathLike | None = None, modalities: str = "none") -> Benchmark:
    """Davis as proteins x drugs; ids are names of constructs and PubChem ids.

    Parameters
    ----------
    folder : prepared tables; None takes `CLMT_DATA`
    modalities : "none", or "all" of what `modalities.with_modalities` adds

    Returns
    -------
    Benchmark named "davis": y is pKd = -log10(Kd in mol/l), higher binds more strongly. Proteins
    have the views `sequence` and, most of them, `function` (UniProt's text); constructs of one
    `sequence` are one and the same for a split, drugs of one InChIKey skeleton are one compound.
    Kinds of split, besides the library's own: published (DeepDTA's test set; fold k of five is the
    validation set) and published_refit (all five are the training set).

    Raises
    ------
    DataError
        From `locate`, `read_table` and `Benchmark.from_ids`; an unknown place of a drug or protein,
        a letter that is no amino acid, a structure that cannot be read, a pKd that is not that of
        its Kd.
    """
    home = locate(folder, "dti")
    path = home / "davis_pairs.parquet"
    columns = ["protein_id", "sequence", "uniprot", "gene", "protein_name", "function_text"]
    proteins = protein_side(home / "davis_proteins.parquet", columns)
    drugs = _drugs(home)
    table = read_table(path).reset_index(drop=True)
    require_columns(table.columns, ["protein_index", "drug_index", "kd_nM", "pKd"], path)
    kd, pkd = (pd.to_numeric(table[key], errors="coerce") for key in ("kd_nM", "pKd"))
    wrong = ~((kd > 0) & np.isclose(pkd, 9 - np.log10(kd.where(kd > 0)), atol=1e-3))
    if wrong.any():
        row = int(wrong.idxmax())
        raise DataError(
            f"pKd {shown(table['pKd'], row)} of a Kd of {shown(table['kd_nM'], row)} nM",
            file=path,
            row=row + 2,
            remedy="pKd is 9 less the decimal logarithm of the Kd in nM: correct either",
        )
    values = pd.DataFrame({"y": pkd, "censored": kd >= HIGHEST_NM})
    benchmark = Benchmark.from_ids(
        "davis",
        (proteins, drugs),
        placed(values, table, (proteins, drugs), path),
        file=path,
        within=(0.0, 15.0),
        task="affinity",
        target="pkd",
        units="pKd, -log10(Kd in mol/l)",
        licence=LICENCE,
        source=SOURCE,
        partitions=published(table, path),
    )
    return with_modalities(benchmark, modalities, folder)


def _drugs(folder: Path) -> Side:
    """The inhibitors, in the order of their places in the table of pairs."""
    path = folder / "davis_drugs.parquet"
    table = in_order(path, "drug_index", ["drug_id", "smiles_isomeric", "inchikey"])
    check_keys(table["inchikey"], path)
    frame = pd.DataFrame(
        {
            "name": "CID " + table["drug_id"].astype(str),
            "smiles": table["smiles_isomeric"],
            "inchikey": table["inchikey"],
            "compound": skeletons(table["inchikey"]),
        }
    ).set_index(pd.Index(table["drug_id"].astype(str)))
    check_smiles(frame, path)
    return drug_side(frame)
