"""From a drug's targets to genes, and from genes to the steps of a cell they take part in (chapter
09b).
"""

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from clmt_lib.io import DataError, locate
from clmt_lib.views.descriptions import _rows

LARGEST = (
    100  # genes of a set: "signal transduction" holds thousands, and says nothing of a mechanism
)


def target_genes(drugs: pd.DataFrame) -> list[set[str]]:
    """[D] sets of gene symbols of each drug's listed targets: a spelling of `target_genes.tsv`
    ("MEK1", "HSP90") becomes its genes, any other is taken for a symbol.

    >>> import pandas as pd
    >>> [sorted(genes) for genes in target_genes(pd.DataFrame({"target": ["MEK1, EGFR", None]}))]
    [['EGFR', 'MAP2K1'], []]
    """
    known = {row["spelling"].lower(): row["genes"].split() for row in _rows("target_genes.tsv")}
    parts = [
        [part.strip() for part in entry.split(",") if part.strip()]
        if isinstance(entry, str)
        else []
        for entry in drugs["target"]
    ]
    return [{gene for part in row for gene in known.get(part.lower(), [part])} for row in parts]


def reactome(folder: str | Path | None = None) -> dict[str, set[str]]:
    """Name -> set of gene symbols, from the one file `genesets/*reactome*.gmt` (or `.gmt.gz`) of
    the prepared folder (MSigDB's layout).

    Raises
    ------
    DataError
        No prepared folder, no such file, or one that cannot be read.
    """
    home = locate(folder) / "genesets"
    path = next(iter(sorted(home.glob("*reactome*.gmt*"))), None)
    if path is None:
        raise DataError(
            "no gene sets", file=home, remedy="put MSigDB's c2.cp.reactome.*.symbols.gmt there"
        )
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
            rows = [line.rstrip("\n").split("\t") for line in lines]
    except (OSError, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise DataError(
            f"gene sets cannot be read ({error})", file=path, remedy="copy the file again"
        ) from None
    sets = {row[0]: set(row[2:]) for row in rows if len(row) > 2}
    if not sets:
        raise DataError(
            "no gene sets in this file",
            file=path,
            remedy="a line is: name, address, genes, separated by tabs",
        )
    return sets


def steps(drugs: pd.DataFrame, sets: Mapping[str, set[str]], largest: int = LARGEST) -> np.ndarray:
    """[D, sets] 0/1: a target of the drug is in the set; sets of more than `largest` genes are left
    out.
    """
    genes = target_genes(drugs)
    kept = [members for members in sets.values() if len(members) <= largest]
    out = np.zeros((len(genes), len(kept)))
    for row, own in enumerate(genes):
        if own:
            out[row] = [bool(own & members) for members in kept]
    return out
