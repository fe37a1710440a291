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
from clmt_lib.data.grouping import check_smiles, skeletons
from clmt_lib.data.response.base import drug_side
from clmt_lib.io import DataError, locate, read_table

LICENCE = (
    "the repository of the tables states none (data of Davis et al. 2011); protein names and texts "
    "UniProt, CC BY 4.0; research use, not redistributed here"
)
SOURCE = "Davis et al. 2011, kinase inhibitor binding constants; DeepDTA's tables"
HIGHEST_NM = 10_000.0  # the highest concentration tried
AMINO_ACIDS = "ACDEFGHIKLMNPQRSTUVWXY"  # with selenocysteine, and X for unknown


def load(folder: str | os.PathLike | None = None) -> Benchmark:
    """Davis as proteins x drugs; ids are names of constructs and PubChem ids.

    Parameters
    ----------
    folder : prepared tables; None takes `CLMT_DATA`

    Returns
    -------
    Benchmark named "davis": y is pKd = -log10(Kd in mol/l), higher binds more strongly. Proteins
    have the views `sequence` and, most of them, `function` (UniProt's text); constructs of one
    `sequence` are one and the same for a split, drugs of one InChIKey skeleton are one compound.

    Raises
    ------
    DataError
        From `locate`, `read_table` and `Benchmark.from_ids`; an unknown place of a drug or protein,
        a letter that is no amino acid, a structure that cannot be read, a pKd that is not that of
        its Kd.
    """
    home = locate(folder, "dti")
    path = home / "davis_pairs.parquet"
    proteins, drugs = _proteins(home), _drugs(home)
    table = read_table(path, ["protein_index", "drug_index", "kd_nM", "pKd"]).reset_index(drop=True)
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
    for side, column in ((proteins, "protein_index"), (drugs, "drug_index")):
        place = pd.to_numeric(table[column], errors="coerce")
        strange = ~place.isin(range(len(side)))
        if strange.any():
            row = int(strange.idxmax())
            raise DataError(
                f"{column} {shown(table[column], row)}, there are {len(side)} {side.name}s",
                file=path,
                row=row + 2,
                remedy=f"use the places (from 0) of the table of {side.name}s",
            )
        values[side.name] = side.ids.to_numpy()[place.astype(int)]
    return Benchmark.from_ids(
        "davis",
        (proteins, drugs),
        values,
        file=path,
        within=(0.0, 15.0),
        task="affinity",
        target="pkd",
        units="pKd, -log10(Kd in mol/l)",
        licence=LICENCE,
        source=SOURCE,
    )


def _proteins(folder: Path) -> Side:
    """The constructs, in the order of their places in the table of pairs."""
    path = folder / "davis_proteins.parquet"
    columns = ["protein_id", "sequence", "uniprot", "gene", "protein_name", "function_text"]
    table = _in_order(path, "protein_index", columns)
    letters = table["sequence"].astype("str").str.fullmatch(f"[{AMINO_ACIDS}]+")
    if not letters.all():
        row = int(np.flatnonzero(~letters)[0])
        raise DataError(
            f"sequence of {table['protein_id'].iloc[row]!r} is empty or has a letter that is no "
            "amino acid",
            file=path,
            row=row + 2,
            remedy=f"use the letters {AMINO_ACIDS}",
        )
    frame = table.rename(columns={"function_text": "function"}).set_index("protein_id")
    frame.insert(0, "name", frame.index)
    return Side(
        "protein",
        frame.rename_axis("protein"),
        views={"sequence": frame["sequence"], "function": frame["function"].fillna("")},
        present={"function": frame["function"].notna().to_numpy()},
        keys={"sequence": "sequence"},
        identity="sequence",
    )


def _drugs(folder: Path) -> Side:
    """The inhibitors, in the order of their places in the table of pairs."""
    path = folder / "davis_drugs.parquet"
    table = _in_order(path, "drug_index", ["drug_id", "smiles_isomeric", "inchikey"])
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


def _in_order(path: Path, place: str, columns: list[str]) -> pd.DataFrame:
    """A table of entities whose column `place` numbers its rows from 0, each with an id of its own;
    or the row that breaks the rule.
    """
    table = read_table(path, [place, *columns]).reset_index(drop=True)
    wrong = pd.to_numeric(table[place], errors="coerce") != np.arange(len(table))
    twice = table[columns[0]].duplicated() | table[columns[0]].isna()
    for bad, column, remedy in (
        (wrong, place, "number the rows from 0, in their order"),
        (twice, columns[0], "give each row an id of its own"),
    ):
        if bad.any():
            row = int(bad.idxmax())
            raise DataError(
                f"{column} is {shown(table[column], row)}", file=path, row=row + 2, remedy=remedy
            )
    return table
