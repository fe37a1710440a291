"""The official layouts of omics tables, read into one: a frame [lines, genes] indexed by COSMIC id
(used by `clmt data prepare`).

Known layouts: the Cell Model Passports' matrix (genes are rows, header rows above) and long table,
DepMap's matrix (models are rows), and both providers' mutation lists. Columns are found by their
labels, scales are recognised by their values, and what was repaired or left out is said.
"""

import gzip
import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from clmt_lib.io import DataError, numbers, read_table

UNCHANGED = "use the Cell Model Passports' or DepMap's own file, unchanged"
SYMBOL_LABELS = ("gene_symbol", "symbol", "hgnc_symbol")
MONTHS = (
    "jan feb mar apr may jun jul aug sep sept oct nov dec january february march april june july "
    "august september october november december"
).split()
OTHER_MONTHS = (  # of German, French, Spanish, Italian, Portuguese and Dutch spreadsheets
    "jän mrz mär märz mai okt dez janv févr fév mars avr juin juil août déc ene abr ago dic gen "
    "mag giu lug set ott fev out mrt mei maart"
).split()
AS_A_DATE = re.compile(
    rf"(\d{{1,2}}[-. /]+({'|'.join([*MONTHS, *OTHER_MONTHS])})\.?([-. /]+\d{{2,4}})?"
    rf"|({'|'.join(MONTHS)})\.?[-. /]+\d{{1,4}}"
    r"|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}.*|\d{1,2}/\d{1,2}"
    r"|\d{1,2}月\d{1,2}日)",
    re.IGNORECASE,
)  # MARCH1 and SEPT9 after a spreadsheet has seen them
AS_A_NUMBER = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?", re.IGNORECASE)
OTHER_IDS = re.compile(r"(SIDG|ENS[A-Z]*G|NM_)\d+.*")
DEPMAP_COLUMNS = (  # of its matrices, besides genes
    "",
    "ModelID",
    "SequencingID",
    "ProfileID",
    "ModelConditionID",
    "IsDefaultEntryForModel",
    "IsDefaultEntryForMC",
    "IsDefaultEntry",
)
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
    frame_shift_ins frame_shift_del in_frame_ins in_frame_del splice_site nonstop missense_mutation
    nonsense_mutation nonstop_mutation translation_start_site start_codon_snp start_codon_ins
    start_codon_del stop_codon_ins stop_codon_del de_novo_start_outofframe""".split()
)  # the words of both providers, old and new
MUTATION_COLUMNS = {  # of the model -> (of the gene, of the effect, of its Entrez id)
    "ModelID": ("HugoSymbol", ("MolecularConsequence", "VariantInfo"), "EntrezGeneID"),
    "DepMap_ID": ("Hugo_Symbol", ("Variant_Classification",), "Entrez_Gene_Id"),  # until 22Q2
    "model_id": ("gene_symbol", ("effect",), "EntrezGeneID"),
}


@dataclass(frozen=True)
class Matrix:
    """values: [lines, genes] float64 indexed by COSMIC_ID; entrez: symbol -> Entrez id where the
    file says; depmap: DepMap's layout, else the Passports'; notes: what was repaired or left out.
    """

    values: pd.DataFrame
    entrez: dict
    depmap: bool
    notes: list[str] = field(default_factory=list)


def gene_symbols(cells: Iterable, path: str | os.PathLike, row: int | None, notes: list) -> list:
    """Gene symbols as HGNC writes them: spaces around them and small letters are repaired, which
    `notes` says.

    Parameters
    ----------
    cells : [n] symbols; what is missing stays None
    row : the file's row of the first; None where they stand in one row

    Raises
    ------
    DataError
        A symbol that a spreadsheet has turned into a date or a number.
    """
    out: list[str | None] = []
    repaired = {}
    for place, cell in enumerate(cells):
        if not isinstance(cell, str) or not cell.strip():
            out.append(None)
            continue
        symbol = cell.strip().strip('"')
        if AS_A_DATE.fullmatch(symbol) or AS_A_NUMBER.fullmatch(symbol):
            raise DataError(
                f"gene {symbol!r} is no symbol: a spreadsheet has changed it",
                file=path,
                row=row if row is None else row + place,
                remedy="use the provider's file as it was downloaded (MARCH1 became 1-Mar, "
                "SEPT9 9-Sep)",
            )
        if symbol.islower() or re.fullmatch(r"[A-Z][a-z]+\d*[a-z]?\d*", symbol):
            symbol = re.sub(r"^(C[\dXY]+)ORF(\d+)$", r"\1orf\2", symbol.upper())
        if symbol != cell:
            repaired[cell] = symbol
        out.append(symbol)
    if repaired:
        shown = ", ".join(f"{old!r} is {new}" for old, new in list(repaired.items())[:3])
        notes.append(f"{len(repaired)} gene symbols of {Path(path).name} repaired: {shown}")
    return out


def wanted_genes(path: str | os.PathLike) -> list[str]:
    """The symbols of a text file, one a line.

    Raises
    ------
    DataError
        Not such a file, an empty one, or a symbol that a spreadsheet has changed.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"list of genes cannot be read ({error})",
            file=path,
            remedy="name a UTF-8 text file with one gene symbol a line",
        ) from None
    genes = [symbol for symbol in gene_symbols(lines, path, 1, []) if symbol]
    if not genes:
        raise DataError("empty list of genes", file=path, remedy="one gene symbol a line")
    return genes


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
    first = head.iloc[0].fillna("").str.strip()
    entrez = first.str.extract(r"^(.+) \((\d+)\)$")
    ids: dict = {}
    notes: list[str] = []
    depmap = False
    if first.str.fullmatch(r"SIDM\d+").any():
        frame = _passports_matrix(path, head, genes, notes)
    elif "model_id" in set(first):
        frame = _passports_long(path, list(first), values, genes, notes)
    elif entrez[0].notna().any():
        depmap = True
        symbols = pd.Series(gene_symbols(entrez[0], path, None, notes), index=entrez.index)
        other = [name for name in first[symbols.isna()] if name not in DEPMAP_COLUMNS]
        if other:
            notes.append(
                f"{len(other)} columns of {path.name} left out: not named as a gene is, such as "
                f"TP53 (7157): {other[0]!r}"
            )
        twice = symbols.dropna()[symbols.dropna().duplicated()]
        if len(twice):
            raise DataError(
                f"gene {twice.iloc[0]} has two columns",
                file=path,
                row=1,
                remedy=UNCHANGED,
            )
        ids = {
            symbol: int(number)
            for symbol, number in zip(symbols, entrez[1], strict=True)
            if isinstance(symbol, str) and (genes is None or symbol in genes)
        }
        frame = _depmap_matrix(path, first, symbols, notes)
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
    key = "DEPMAP_ID" if depmap else "SANGER_MODEL_ID"
    return Matrix(_by_cosmic(frame, lines, key, path, notes), ids, depmap, notes)


def _passports_matrix(
    path: Path, head: pd.DataFrame, genes: Collection[str] | None, notes: list[str]
) -> pd.DataFrame:
    """[model ids, symbols]: genes are rows, models are columns, with several header rows above; a
    symbol seen twice keeps its first row.
    """
    top = head.iloc[0].fillna("").str.strip()
    columns = np.flatnonzero(top.str.fullmatch(r"SIDM\d+"))
    gene, start = _symbols_place(head, int(columns[0]), path)
    if start is None or gene < 0:
        raise DataError(
            "no rows of genes below the header rows", file=path, row=len(head), remedy=UNCHANGED
        )
    start = _line_of(path, start)
    body = read_table(path, header=None, skiprows=start)
    known = body[gene].dropna().astype(str)
    if len(known) and known.str.fullmatch(OTHER_IDS).all():
        raise DataError(
            f"genes have ids ({known.iloc[0]}) but no symbols",
            file=path,
            row=start + 1,
            remedy=f"{UNCHANGED}, with its column gene_symbol",
        )
    symbols = pd.Series(
        gene_symbols(body[gene].astype("object"), path, start + 1, notes), index=body.index
    ).astype("string")
    twice = symbols[symbols.notna() & symbols.duplicated()]
    if len(twice):
        notes.append(
            f"{len(twice)} rows of {path.name} left out: their gene stands above already "
            f"({twice.iloc[0]})"
        )
    if symbols.isna().any():
        notes.append(f"{int(symbols.isna().sum())} rows of {path.name} left out: no gene symbol")
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
                label=top[column],
            )
    out = body[columns].astype("float64")
    _finite(out.set_axis(top[columns], axis=1), path, start + 1)
    out = out.T
    out.index, out.columns = top[columns].to_numpy(), symbols[body.index].to_numpy()
    return out


def _symbols_place(head: pd.DataFrame, models: int, path: Path) -> tuple[int, int | None]:
    """(column of the gene symbols, row where genes begin): by the label above the symbols, else the
    column before the first model; `models` is that model's column.
    """
    for row in range(1, len(head)):
        labels = [str(cell).strip().lower() for cell in head.iloc[row, :models]]
        label = next((label for label in SYMBOL_LABELS if label in labels), None)
        if label is None:
            continue
        above = head.iloc[1:row, :models].stack().dropna().astype(str).str.strip().str.lower()
        strange = above[~above.isin(MATRIX_HEADER)]
        if len(strange):
            raise DataError(
                f"{strange.iloc[0]!r} stands above the labels of the genes ({label})",
                file=path,
                row=int(strange.index[0][0]) + 1,
                remedy=UNCHANGED,
            )
        return labels.index(label), row + 1
    begins = (
        row
        for row in range(1, len(head))
        if isinstance(head.iat[row, 0], str) and head.iat[row, 0] not in MATRIX_HEADER
    )
    return models - 1, next(begins, None)


def _passports_long(
    path: Path,
    there: list[str],
    values: tuple[str, ...],
    genes: Collection[str] | None,
    notes: list[str],
) -> pd.DataFrame:
    """[model ids, symbols] from one row a model and gene; several measurements of one model are
    averaged.
    """
    symbol = next((label for label in SYMBOL_LABELS if label in there), "gene_symbol")
    value = next((name for name in values if name in there), values[0])
    frame = read_table(path, ["model_id", symbol, value])
    missing = frame[["model_id", symbol, value]].isna().any(axis=1)
    if missing.any():
        notes.append(f"{int(missing.sum())} rows of {path.name} left out: an empty cell")
    frame = frame[~missing]
    known = frame[symbol].drop_duplicates()
    spelt = dict(zip(known, gene_symbols(known, path, None, notes), strict=True))
    frame = frame.assign(**{symbol: frame[symbol].map(spelt)})
    if genes is not None:
        frame = frame[frame[symbol].isin(genes)]
    return (
        frame.assign(**{value: numbers(frame, value, path, whole=False)})
        .groupby(["model_id", symbol])[value]
        .mean()
        .unstack()
    )


def _depmap_matrix(
    path: Path, first: pd.Series, symbols: pd.Series, notes: list[str]
) -> pd.DataFrame:
    """[DepMap ids, symbols]: models are rows, genes are columns named `SYMBOL (Entrez id)`; the
    default row of each model.
    """
    model = next((place for place, name in enumerate(first) if name == "ModelID"), 0)
    start = _line_of(path, 1)
    frame = read_table(path, header=None, skiprows=start)
    for place in (place for place, name in enumerate(first) if name == "IsDefaultEntryForModel"):
        frame = frame[_default_rows(frame[place], "rows", path, notes)]
    frame = frame.copy()
    frame[model] = frame[model].astype(str).str.strip()
    bad = ~frame[model].str.fullmatch(r"ACH-\d+").astype(bool)
    if bad.any():
        raise DataError(
            f"{frame.loc[bad, model].iloc[0]!r} is not a DepMap model id",
            file=path,
            row=int(bad.idxmax()) + start + 1,
            remedy=UNCHANGED,
        )
    places = {symbol: place for place, symbol in enumerate(symbols) if isinstance(symbol, str)}
    body = {
        symbol: frame[place]
        if pd.api.types.is_float_dtype(frame[place])
        else numbers(frame, place, path, whole=False, missing=True, label=symbol)
        for symbol, place in places.items()
    }
    table = pd.DataFrame(body, index=frame.index)
    _finite(table, path, start + 1)
    return table.set_index(frame[model])


def _default_rows(marks: pd.Series, what: str, path: Path, notes: list[str]) -> pd.Series:
    """Which rows are a model's default entry; raises DataError where none is."""
    default = marks.astype(str).str.strip().str.lower().isin(("yes", "true", "1", "1.0"))
    if not default.any():
        raise DataError("no row is a model's default entry", file=path, remedy=UNCHANGED)
    if not default.all():
        notes.append(f"{int((~default).sum())} {what} of {path.name} left out: not the default")
    return default


def _line_of(path: Path, rows: int) -> int:
    """Lines of a file up to the end of so many rows: blank ones are no rows."""
    with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as lines:
        seen = 0
        for number, line in enumerate(lines, start=1):
            seen += bool(line.strip())
            if seen == rows:
                return number
    return rows


def _finite(frame: pd.DataFrame, path: Path, first_row: int) -> None:
    """Raise for the first infinite value of a table [rows, columns]: an empty cell is a missing
    value, an infinite one is an error of whoever wrote it.
    """
    endless = np.isinf(frame.to_numpy(dtype="float64"))
    if endless.any():
        row, column = map(int, np.argwhere(endless)[0])
        raise DataError(
            f"{frame.columns[column]} is infinite",
            file=path,
            row=int(frame.index[row]) + first_row,
            remedy="leave the cell empty where nothing was measured",
        )


def _by_cosmic(
    frame: pd.DataFrame, lines: pd.DataFrame, key: str, path: Path, notes: list[str]
) -> pd.DataFrame:
    """Rows by COSMIC id instead of the provider's model id; rows of one model (measured twice) are
    averaged.
    """
    frame.index = frame.index.astype(str).str.strip()
    link = lines[[key, "COSMIC_ID"]].dropna().drop_duplicates()
    link = link[link[key].isin(frame.index)]
    notes.append(_matched("models", path, frame.index.unique(), set(link[key])))
    if link.empty:
        raise DataError(
            "no line of this table has a COSMIC id in the model list "
            f"(here {frame.index[0]!r}, there {next(iter(lines[key].dropna()), None)!r})",
            file=path,
            remedy="use a model list and an omics table of the same provider and about the same "
            "date",
        )
    if frame.index.has_duplicates:
        again = frame.index[frame.index.duplicated()].unique()
        notes.append(
            f"{len(again)} models of {path.name} were measured more than once: their means are "
            f"taken ({again[0]})"
        )
        frame = frame.groupby(level=0).mean()
    frame = frame.loc[link[key]]
    frame.index = pd.Index(link["COSMIC_ID"].astype("int64"), name="COSMIC_ID")
    frame = frame.groupby(level=0).mean() if frame.index.has_duplicates else frame
    frame.columns.name = None
    return frame.sort_index()


def _matched(what: str, path: Path, found: Collection, known: set) -> str:
    """How many of the entities of a file are known, with examples of those that are not."""
    lost = [str(name) for name in found if name not in known]
    more = f"; not, for example, {', '.join(lost[:3])}" if lost else ""
    return (
        f"{len(found) - len(lost)} of {len(found)} {what} of {path.name} are in the model list "
        f"with a COSMIC id{more}"
    )


# Scales

RESPONSE_SCALES = ("ln_uM", "log10_uM", "ln_nM", "log10_nM", "uM", "nM", "log10_M", "pIC50")
EXPRESSION_SCALES = ("tpm", "log2_tpm_plus_1")
COPY_NUMBER_SCALES = ("absolute", "ratio", "log2_ratio_plus_1", "log2_ratio")
SCALES = {
    "response": RESPONSE_SCALES,
    "expression": EXPRESSION_SCALES,
    "copy number": COPY_NUMBER_SCALES,
}
LARGEST_LOG_TPM = 20.0  # log2 of a million
LARGEST_TPM_SUM = 1.05e6  # a million, but for rounding
LARGEST_LOG_RATIO = 10.0  # log2(ratio + 1) of a thousand copies
NARROW_LN_IC50, HIGH_LN_IC50 = 1.3, 7.5  # GDSC2: deviation 2.8, median 3.2


def ask_scale(what: str, seen: str, kind: str, path: str | os.PathLike) -> DataError:
    """The error that asks for the scale of a table whose values leave it in doubt."""
    option = kind.replace(" ", "_")
    return DataError(
        f"{what}: {seen}",
        file=path,
        remedy=f"say what the values are: --scale {option}={' or '.join(SCALES[kind])}",
    )


def to_ln_um(values: pd.Series, path: str | os.PathLike, scale: str | None = None) -> pd.Series:
    """[pairs] half-inhibitory concentrations as ln uM.

    Parameters
    ----------
    scale : one of `RESPONSE_SCALES`; None takes them for ln uM, unless 50 or more of them spread or
        lie as no screen's do

    Raises
    ------
    DataError
        The values cannot be ln uM, and no scale was said.
    """
    if scale is None and len(values) >= 50:
        spread, middle = float(values.std()), float(values.median())
        if spread < NARROW_LN_IC50:
            raise ask_scale(
                "LN_IC50 may not be a natural logarithm of uM",
                f"it spreads by {spread:.2f} (standard deviation), where screens spread by about "
                "2.8, as log10 would",
                "response",
                path,
            )
        if middle > HIGH_LN_IC50:
            raise ask_scale(
                "LN_IC50 may not be a natural logarithm of uM",
                f"its median is {middle:.1f}, where that of screens is about 3, as nM would have",
                "response",
                path,
            )
        if values.min() > 0:
            raise ask_scale(
                "LN_IC50 may not be a natural logarithm of uM",
                f"every value is positive (lowest {values.min():.3g}), as concentrations are",
                "response",
                path,
            )
    if scale in ("uM", "nM"):
        below = values <= 0
        if below.any():
            raise DataError(
                f"LN_IC50 is {values[below].iloc[0]:g}, and a concentration is above 0",
                file=path,
                row=int(below.idxmax()) + 2,
                remedy="say what the values are, or drop the row",
            )
        values = np.log(values)
    if scale == "pIC50":
        values = -values
    if scale in ("log10_uM", "log10_nM", "log10_M", "pIC50"):
        values = values * np.log(10.0)
    if scale in ("ln_nM", "log10_nM", "nM"):
        values = values - np.log(1e3)
    if scale in ("log10_M", "pIC50"):
        values = values + np.log(1e6)
    return values


def expression_scale(
    values: pd.DataFrame, depmap: bool, path: Path, scale: str | None, notes: list[str]
) -> str:
    """Which of `EXPRESSION_SCALES` a table is in: as its provider has it, unless its values say
    otherwise (a logarithm of TPM is below 20, the TPM of some gene are not).

    Raises
    ------
    DataError
        Negative values; values that may be logarithms in a file of TPM, and no scale was said.
    """
    low = values.columns[(values < 0).any()]
    if len(low):
        raise DataError(
            f"negative {'values' if depmap else 'TPM'} of {low[0]}",
            file=path,
            remedy="use the table of TPM values, not of z-scores or other logarithms",
        )
    largest = float(np.nanmax(values.to_numpy(), initial=0.0))
    if scale == "tpm" or (scale is None and largest > LARGEST_LOG_TPM):
        total = values.sum(axis=1)
        if total.max() > LARGEST_TPM_SUM:
            raise DataError(
                f"no TPM: those of line {total.idxmax()} sum to {total.max():.3g}, and TPM to a "
                "million",
                file=path,
                remedy="use the table of TPM, not of counts",
            )
    if scale is not None:
        notes.append(f"{path.name} read as {scale}, as was said")
        return scale
    some = np.nan_to_num(values.to_numpy())
    if some.size >= 100 and largest > LARGEST_LOG_TPM and not (some % 1).any():
        raise ask_scale("TPM may be counts", "every value is a whole number", "expression", path)
    if depmap and largest > LARGEST_LOG_TPM:
        notes.append(
            f"{path.name} holds TPM, not their logarithms (the largest value is {largest:.0f}): "
            "log2(TPM+1) was taken"
        )
        return "tpm"
    if not depmap and values.size >= 100 and largest <= LARGEST_LOG_TPM:
        raise ask_scale(
            "TPM may be logarithms already",
            f"the largest of {values.size} values is {largest:.1f}",
            "expression",
            path,
        )
    found = "log2_tpm_plus_1" if depmap else "tpm"
    notes.append(f"{path.name} read as {found} (largest value {largest:.1f})")
    return found


def copy_number_scale(
    values: pd.DataFrame, depmap: bool, path: Path, scale: str | None, notes: list[str]
) -> str:
    """Which of `COPY_NUMBER_SCALES` a table is in.

    The Passports' numbers are absolute. DepMap's `OmicsCNGeneWGS` holds ratios to the line's
    ploidy, the older `OmicsCNGene` and `PortalOmicsCNGeneLog2` log2(ratio + 1); values that a scale
    cannot have overrule the name, which `notes` says.

    Raises
    ------
    DataError
        Values that fit no scale, or only another than the provider's, and no scale was said.
    """
    found = values.to_numpy()[np.isfinite(values.to_numpy())]
    if scale is not None or not len(found):
        notes.append(f"{path.name} read as {scale or 'absolute'}, as was said")
        return scale or "absolute"
    lowest, middle, largest = float(found.min()), float(np.median(found)), float(found.max())
    whole = bool((found % 1 == 0).all())
    seen = f"lowest {lowest:.2f}, median {middle:.2f}, largest {largest:.2f}"
    if not depmap:
        if lowest < 0 or (middle < 1.5 and not whole):
            raise ask_scale("copy numbers are not absolute", seen, "copy number", path)
        notes.append(f"{path.name} read as absolute copy numbers ({seen})")
        return "absolute"
    name = "log2_ratio_plus_1" if "wgs" not in path.name.lower() else "ratio"
    if lowest < 0 and whole:
        raise ask_scale(
            "copy numbers may be calls, such as -1 for a loss", seen, "copy number", path
        )
    if lowest < 0:
        by_value = "log2_ratio"
    elif whole and middle >= 2:
        by_value = "absolute"
    elif largest > LARGEST_LOG_RATIO:
        by_value = "ratio"
    elif 0.5 < middle < 1.6:
        by_value = name
    else:
        raise ask_scale("copy numbers are of no known scale", seen, "copy number", path)
    against = "" if by_value == name else f", not as {name}, as its name says"
    notes.append(f"{path.name} read as {by_value} ({seen}){against}")
    return by_value


def copy_ratio(values: pd.DataFrame, scale: str) -> pd.DataFrame:
    """[lines, genes] ratio of the copy number to the line's middle (absolute numbers) or to diploid
    (relative ones).
    """
    if scale == "absolute":
        middle = values.median(axis=1)
        return values.div(middle.where(middle > 0), axis=0)
    if scale == "log2_ratio_plus_1":
        return 2.0**values - 1
    return 2.0**values if scale == "log2_ratio" else values


def read_mutations(path: Path, lines: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """[calls] COSMIC_ID, entrez_id (missing where the file has none), symbol, changes_protein, from
    the Passports' or DepMap's list of mutations; `notes` grows by what was left out.

    Raises
    ------
    DataError
        Missing column, no known word for an effect, no line with a COSMIC id.
    """
    there = list(read_table(path, nrows=5).columns)
    model = next((name for name in MUTATION_COLUMNS if name in there), "model_id")
    symbol, words, number = MUTATION_COLUMNS[model]
    effect = next((name for name in words if name in there), words[0])
    entrez = [number] if number in there else []
    default = [name for name in ("IsDefaultEntryForModel",) if name in there]
    calls = read_table(path, [model, symbol, effect, *entrez, *default])
    if default:
        calls = calls[_default_rows(calls[default[0]], "calls", path, notes)]
    unnamed = calls[[model, symbol]].isna().any(axis=1)
    if unnamed.any():
        notes.append(f"{int(unnamed.sum())} calls of {path.name} left out: no model or no gene")
    calls = calls[~unnamed]
    calls = calls.assign(**{model: calls[model].astype(str).str.strip()})
    if entrez:
        calls[entrez[0]] = numbers(calls, entrez[0], path, missing=True)
    known = calls[symbol].drop_duplicates()
    spelt = dict(zip(known, gene_symbols(known.astype(str), path, None, notes), strict=True))
    calls = calls.assign(**{symbol: calls[symbol].map(spelt)})
    count = calls[effect].fillna("(empty)").astype(str).value_counts()
    changes = {
        word: bool(PROTEIN_CHANGES & set(word.lower().replace(",", "&").split("&")))
        for word in count.index
    }
    if not any(changes.values()):
        seen = ", ".join(sorted(changes)[:5])
        raise DataError(
            f"no {effect} is known to change a protein (there: {seen})", file=path, remedy=UNCHANGED
        )
    silent = [f"{word} ({count[word]})" for word in count.index if not changes[word]]
    if silent:
        notes.append(
            f"words of {path.name} taken for no change of a protein: {', '.join(silent[:8])}"
            + (f" and {len(silent) - 8} more" if len(silent) > 8 else "")
        )
    link = (
        lines[["SANGER_MODEL_ID" if model == "model_id" else "DEPMAP_ID", "COSMIC_ID"]]
        .dropna()
        .drop_duplicates()
    )
    notes.append(_matched("models", path, calls[model].unique(), set(link.iloc[:, 0])))
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
            "changes_protein": calls[effect]
            .fillna("(empty)")
            .astype(str)
            .map(changes)
            .astype(bool),
        }
    )
