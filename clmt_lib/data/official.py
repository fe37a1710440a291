"""The official layouts of omics tables, read into one: a frame [lines, genes] indexed by COSMIC id
(used by `clmt data prepare`).

Known layouts: the Cell Model Passports' matrix (genes are rows, header rows above) and long table,
DepMap's matrix (models are rows), and both providers' mutation lists.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib.io import DataError, read_table, require_columns

UNCHANGED = "use the Cell Model Passports' or DepMap's own file, unchanged"
MATRIX_HEADER = (
    "model_id",
    "model_name",
    "dataset_name",
    "dataset_id",
    "data_source",
    "source",
    "gene_id",
    "symbol",
    "gene_symbol",
    "ensembl_gene_id",
)
PROTEIN_CHANGES = frozenset(
    """missense nonsense frameshift inframe ess_splice start_lost stop_lost cds_disrupted
    complex_sub missense_variant stop_gained frameshift_variant inframe_insertion
    inframe_deletion splice_acceptor_variant splice_donor_variant protein_altering_variant
    frame_shift_ins frame_shift_del in_frame_ins in_frame_del splice_site nonstop""".split()
)  # the words of both providers, old and new


@dataclass(frozen=True)
class Matrix:
    """values: [lines, genes] float64 indexed by COSMIC_ID; entrez: symbol -> Entrez id where the
    file says; depmap: DepMap's scale, else the Passports'.
    """

    values: pd.DataFrame
    entrez: dict
    depmap: bool


def read_matrix(
    path: Path, lines: pd.DataFrame, values: tuple[str, ...], genes: Collection[str] | None = None
) -> Matrix:
    """Read one omics table in any known layout.

    Parameters
    ----------
    path : csv, plain or gzipped
    lines : frame with SANGER_MODEL_ID, DEPMAP_ID, COSMIC_ID (the prepared table of lines)
    values : names of the value column of a long table, best first
    genes : symbols to keep; None keeps all

    Raises
    ------
    DataError
        Unknown layout, a value that is not a number, no wanted gene, no line with a COSMIC id.
    """
    head = read_table(path, header=None, nrows=len(MATRIX_HEADER) + 2, dtype=str)
    first = head.iloc[0].fillna("")
    entrez = first.str.extract(r"^(.+) \((\d+)\)$")
    ids = {}
    depmap = False
    if first.str.fullmatch(r"SIDM\d+").any():
        frame = _passports_matrix(path, head, genes)
    elif "model_id" in set(first):
        frame = _passports_long(path, set(first), values, genes)
    elif entrez[0].notna().any():
        depmap = True
        ids = {
            symbol: int(number)
            for symbol, number in entrez.dropna().to_numpy()
            if genes is None or symbol in genes
        }
        frame = _depmap_matrix(path, first, entrez[0])
        frame = frame[[symbol for symbol in frame if symbol in ids]]
    else:
        raise DataError(
            f"unknown layout: the first row begins {', '.join(first[:4])}",
            file=path,
            row=1,
            remedy=UNCHANGED,
        )
    if not len(frame.columns):
        raise DataError(
            "none of the wanted genes is in the table",
            file=path,
            remedy="check the list of genes: it takes HGNC symbols",
        )
    return Matrix(
        _by_cosmic(frame, lines, "DEPMAP_ID" if depmap else "SANGER_MODEL_ID", path), ids, depmap
    )


def numbers(
    frame: pd.DataFrame,
    column: Any,
    path: Path,
    whole: bool = True,
    first_row: int = 2,
    missing: bool = False,
    label: str | None = None,
) -> pd.Series:
    """A column as int64 (`whole`) or float64, or an error with the file's row of the first cell
    that is not such a number.

    `first_row` is the file's row of index 0; `missing` allows empty cells; `label` is what the
    message calls the column.
    """
    values = pd.to_numeric(frame[column], errors="coerce").astype("float64")
    bad = ~np.isfinite(values) | (whole & (values % 1 != 0))
    if missing:
        bad &= frame[column].notna()
    if bad.any():
        cell = frame.loc[bad, column].iloc[0]
        raise DataError(
            f"{label or column} {cell!r} is not a {'whole' if whole else 'finite'} number",
            file=path,
            row=int(bad.idxmax()) + first_row,
            remedy="correct the row or drop it",
        )
    return values.astype("int64") if whole else values


def _passports_matrix(
    path: Path, head: pd.DataFrame, genes: Collection[str] | None
) -> pd.DataFrame:
    """[model ids, symbols]: genes are rows, models are columns, with several header rows above; a
    symbol seen twice keeps its first row.
    """
    columns = np.flatnonzero(head.iloc[0].fillna("").str.fullmatch(r"SIDM\d+"))
    start = next(
        (
            row
            for row in range(1, len(head))
            if isinstance(head.iat[row, 0], str) and head.iat[row, 0] not in MATRIX_HEADER
        ),
        None,
    )
    gene = int(columns[0]) - 1
    if start is None or gene < 0:
        raise DataError(
            "no rows of genes below the header rows", file=path, row=len(head), remedy=UNCHANGED
        )
    body = read_table(path, header=None, skiprows=start)
    symbols = body[gene].astype("string")
    if symbols.str.fullmatch(r"SIDG\d+").all():
        raise DataError(
            "genes have provider's ids but no symbols", file=path, row=start + 1, remedy=UNCHANGED
        )
    body = body[
        symbols.notna() & ~symbols.duplicated() & (True if genes is None else symbols.isin(genes))
    ].copy()
    for column in columns:
        if not pd.api.types.is_numeric_dtype(body[column]):
            body[column] = numbers(
                body,
                column,
                path,
                whole=False,
                first_row=start + 1,
                missing=True,
                label=head.iat[0, column],
            )
    out = body[columns].astype("float64").T
    out.index, out.columns = head.iloc[0, columns].to_numpy(), body[gene].to_numpy()
    return out


def _passports_long(
    path: Path, there: set[str], values: tuple[str, ...], genes: Collection[str] | None
) -> pd.DataFrame:
    """[model ids, symbols] from one row a model and gene; several measurements of one model are
    averaged.
    """
    symbol = "symbol" if "symbol" in there else "gene_symbol"
    value = next((name for name in values if name in there), values[0])
    require_columns(there, ("model_id", symbol, value), path)
    frame = read_table(path, usecols=["model_id", symbol, value])
    frame = frame[frame[symbol].notna() & frame[value].notna()]
    if genes is not None:
        frame = frame[frame[symbol].isin(genes)]
    return (
        frame.assign(**{value: numbers(frame, value, path, whole=False)})
        .groupby(["model_id", symbol])[value]
        .mean()
        .unstack()
    )


def _depmap_matrix(path: Path, first: pd.Series, symbols: pd.Series) -> pd.DataFrame:
    """[DepMap ids, symbols]: models are rows, genes are columns named `SYMBOL (Entrez id)`; the
    default row of each model.
    """
    model = next((place for place, name in enumerate(first) if name == "ModelID"), 0)
    frame = read_table(path, header=None, skiprows=1)
    for place in (place for place, name in enumerate(first) if name == "IsDefaultEntryForModel"):
        frame = frame[frame[place].astype(str).str.lower().isin(("yes", "true", "1"))]
    bad = ~frame[model].astype(str).str.fullmatch(r"ACH-\d+").astype(bool)
    if bad.any():
        raise DataError(
            f"{frame.loc[bad, model].iloc[0]!r} is not a DepMap model id",
            file=path,
            row=int(bad.idxmax()) + 2,
            remedy=UNCHANGED,
        )
    places = {symbol: place for place, symbol in enumerate(symbols) if isinstance(symbol, str)}
    body = {
        symbol: frame[place]
        if pd.api.types.is_float_dtype(frame[place])
        else numbers(frame, place, path, whole=False, missing=True, label=symbol)
        for symbol, place in places.items()
    }
    return pd.DataFrame(body).set_index(frame[model])


def _by_cosmic(frame: pd.DataFrame, lines: pd.DataFrame, key: str, path: Path) -> pd.DataFrame:
    """Rows by COSMIC id instead of the provider's model id; models of one COSMIC id (or measured
    twice) are averaged.
    """
    link = lines[[key, "COSMIC_ID"]].dropna().drop_duplicates()
    link = link[link[key].isin(frame.index)]
    if link.empty:
        raise DataError(
            "no line of this table has a COSMIC id in the model list",
            file=path,
            remedy="use a model list and an omics table of the same provider and about the same "
            "date",
        )
    frame = frame.groupby(level=0).mean() if frame.index.has_duplicates else frame
    frame = frame.loc[link[key]]
    frame.index = pd.Index(link["COSMIC_ID"].astype("int64"), name="COSMIC_ID")
    frame = frame.groupby(level=0).mean() if frame.index.has_duplicates else frame
    frame.columns.name = None
    return frame.sort_index()


def read_mutations(path: Path, lines: pd.DataFrame) -> pd.DataFrame:
    """[calls] COSMIC_ID, entrez_id (missing where the file has none), symbol, changes_protein, from
    the Passports' or DepMap's list of mutations.

    Raises
    ------
    DataError
        Missing column, no known word for an effect, no line with a COSMIC id.
    """
    there = list(read_table(path, nrows=5).columns)
    depmap = "ModelID" in there
    model, symbol = ("ModelID", "HugoSymbol") if depmap else ("model_id", "gene_symbol")
    words = ("MolecularConsequence", "VariantInfo") if depmap else ("effect",)
    effect = next((name for name in words if name in there), words[0])
    require_columns(there, (model, symbol, effect), path)
    entrez = [name for name in ("EntrezGeneID",) if name in there]
    calls = read_table(path, usecols=[model, symbol, effect, *entrez]).dropna(
        subset=[model, symbol]
    )
    changes = {
        word: bool(PROTEIN_CHANGES & set(str(word).lower().replace(",", "&").split("&")))
        for word in calls[effect].unique()
    }
    if not any(changes.values()):
        seen = ", ".join(sorted(map(str, changes))[:5])
        raise DataError(
            f"no {effect} is known to change a protein (there: {seen})", file=path, remedy=UNCHANGED
        )
    link = (
        lines[["DEPMAP_ID" if depmap else "SANGER_MODEL_ID", "COSMIC_ID"]]
        .dropna()
        .drop_duplicates()
    )
    calls = calls.merge(link, left_on=model, right_on=link.columns[0])
    if calls.empty:
        raise DataError(
            "no line of this table has a COSMIC id in the model list",
            file=path,
            remedy="use a model list and a mutation table of about the same date",
        )
    return pd.DataFrame(
        {
            "COSMIC_ID": calls["COSMIC_ID"].astype("int64"),
            "entrez_id": pd.to_numeric(
                calls[entrez[0]] if entrez else pd.Series(np.nan, index=calls.index)
            ).astype("Int64"),
            "symbol": calls[symbol].astype("str"),
            "changes_protein": calls[effect].map(changes).astype(bool),
        }
    )
