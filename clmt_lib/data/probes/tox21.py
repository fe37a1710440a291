"""Tox21: which molecules are active in twelve assays of nuclear receptors and stress responses.

Source: the Tox21 challenge of 2014, in the table that MoleculeNet and chemprop published. A label
is 0 or 1, and one in six is missing. Rows whose structure cannot be read have no InChIKey and are
left out. Rows of one connectivity (the first InChIKey block: stereoisomers, duplicates) are one
molecule; where their labels of an assay disagree, it has none.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from clmt_lib.data.base import Benchmark, Side, shown
from clmt_lib.data.grouping import KEY, check_smiles, molecule_side
from clmt_lib.io import DataError, locate, read_table

LICENCE = (
    "public domain (Tox21 programme of the US federal agencies); the table is MoleculeNet's, from "
    "chemprop (MIT)"
)
SOURCE = "Tox21 challenge 2014, 12 assays; MoleculeNet's table"
ASSAYS = {
    "NR-AR": "androgen receptor",
    "NR-AR-LBD": "androgen receptor, ligand-binding domain",
    "NR-AhR": "aryl hydrocarbon receptor",
    "NR-Aromatase": "aromatase",
    "NR-ER": "oestrogen receptor alpha",
    "NR-ER-LBD": "oestrogen receptor alpha, ligand-binding domain",
    "NR-PPAR-gamma": "peroxisome proliferator-activated receptor gamma",
    "SR-ARE": "antioxidant response element",
    "SR-ATAD5": "genotoxicity (ATAD5)",
    "SR-HSE": "heat shock response element",
    "SR-MMP": "mitochondrial membrane potential",
    "SR-p53": "p53 response",
}


def load(folder: str | os.PathLike | None = None) -> Benchmark:
    """Tox21 as molecules x assays; ids are first blocks of InChIKeys and names of assays.

    Parameters
    ----------
    folder : prepared tables; None takes `CLMT_DATA`

    Returns
    -------
    Benchmark named "tox21": y is 1 where the molecule is active and 0 where it is not. Molecules
    are grouped by `scaffold`; a salt and its free base (one parent structure) are one compound.

    Raises
    ------
    DataError
        From `locate`, `read_table` and `Benchmark.from_ids`; a label that is neither 0 nor 1, a key
        that is no InChIKey, a structure that cannot be read.
    """
    path = locate(folder, "probing") / "tox21.parquet"
    table = read_table(path, ["smiles", "inchikey", *ASSAYS]).reset_index(drop=True)
    labels = _labels(table, path)
    table = table[table["inchikey"].notna()]
    strange = ~table["inchikey"].str.fullmatch(KEY)
    if strange.any():
        row = int(strange.idxmax())
        raise DataError(
            f"{table.loc[row, 'inchikey']!r} is no InChIKey",
            file=path,
            row=row + 2,
            remedy="compute it from the structure, or leave it empty to leave the row out",
        )
    molecule = table["inchikey"].str[:14]
    first = table.loc[~molecule.duplicated(), ["smiles", "inchikey"]]
    check_smiles(first.set_index(first.index + 2), path)
    first = first.set_axis(molecule[first.index])
    first.insert(0, "name", first.index)
    votes = labels.loc[table.index].groupby(molecule, sort=False)
    low, high = votes.min(), votes.max()
    long = high.where(low == high).stack().dropna().rename("y").reset_index()
    long.columns = ["molecule", "assay", "y"]
    molecules = first.loc[first.index.isin(long["molecule"])]
    return Benchmark.from_ids(
        "tox21",
        (molecule_side(molecules), assay_side()),
        long,
        within=(0.0, 1.0),
        task="labels",
        target="active",
        units="1 active, 0 inactive",
        licence=LICENCE,
        source=SOURCE,
    )


def assay_side() -> Side:
    """The twelve assays: seven of nuclear receptors (NR), five of stress responses (SR)."""
    facts = {"name": list(ASSAYS), "asks": list(ASSAYS.values())}
    frame = pd.DataFrame(facts, index=pd.Index(list(ASSAYS), name="assay"))
    return Side("assay", frame)


def _labels(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """[rows, assays] 0.0, 1.0 or NaN; `DataError` for the first that is anything else."""
    labels = table[list(ASSAYS)].apply(pd.to_numeric, errors="coerce").astype("float64")
    wrong = (~labels.isin([0.0, 1.0])).to_numpy() & table[list(ASSAYS)].notna().to_numpy()
    if wrong.any():
        row, column = map(int, np.argwhere(wrong)[0])
        assay = labels.columns[column]
        raise DataError(
            f"{assay} is {shown(table[assay], row)}",
            file=path,
            row=row + 2,
            remedy="a label is 0 or 1, or empty where it is not known",
        )
    return labels
