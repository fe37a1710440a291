"""A screen of one's own: a folder of tables, everything that is wrong with it said at once, and
dose-response points turned into ln IC50.

A folder holds `lines`, `drugs`, `responses` (or `points`, the doses behind them) and, where it is
known, `expression`, `mutation` and `copy_number`, each as .csv or .tsv, also gzipped.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib.data.base import row_of
from clmt_lib.data.grouping import group_compounds, letters
from clmt_lib.data.response.base import LARGEST_LN_UM, DrugResponse
from clmt_lib.io import DataError, appearing, atomic_write, read_table

TABLES = ("lines", "drugs", "responses", "points", "expression", "mutation", "copy_number")
OMICS = ("expression", "mutation", "copy_number")
ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
COLUMNS = {  # table -> columns that it must have
    "lines": ("line",),
    "drugs": ("drug",),
    "responses": ("line", "drug"),
    "points": ("line", "drug", "conc_uM"),
}
UNITS = ("ln_ic50", "ic50_uM")
VIABILITY = {"viability": 1.0, "viability_percent": 100.0}  # column -> what the control has
LARGEST_LOG_EXPRESSION = 30.0  # a logarithm of TPM is below 20, a z-score below 10
FEWEST_DOSES = 4
NAMED = 3  # rows that a report names of one and the same mistake
WORST_FIT = 0.2  # root mean squared error of a curve, as a share of the control
BEYOND = 3.0  # an IC50 this many times the highest (or below the lowest) dose is a bound
DATE = re.compile(r"\d{1,2}-(?:mar|sep|dec|oct)|(?:mar|sep|dec|oct)-\d{1,2}", re.IGNORECASE)
LICENCE = "yours"
SOURCE = "a screen of your own"


def find_table(folder: str | Path, name: str) -> Path | None:
    """The file of a folder that holds a table of `TABLES`; None where there is none."""
    return next((p for e in ENDINGS if (p := Path(folder) / f"{name}{e}").is_file()), None)


def is_screen(folder: str | Path) -> bool:
    """Whether a folder is meant as a screen of one's own: it has lines or drugs, and responses."""
    there = {name for name in TABLES if find_table(folder, name)}
    return len(there & {"lines", "drugs", "responses", "points"}) >= 2


@dataclass(frozen=True, eq=False)
class Screen:
    """What a folder holds, as far as it can be read.

    Attributes
    ----------
    folder : where it is
    tables : name of a table -> its frame; ids as text, numbers as numbers
    mistakes : what is wrong, in the order of the files
    notes : what is allowed, and worth knowing
    unfitted : [pairs] frame of line, drug, reason: dose-response points without an IC50
    fits : [pairs] frame of the curves behind the responses, where points were given
    """

    folder: Path
    tables: Mapping[str, pd.DataFrame]
    mistakes: tuple[DataError, ...] = ()
    notes: tuple[str, ...] = ()
    unfitted: pd.DataFrame = field(default_factory=pd.DataFrame)
    fits: pd.DataFrame = field(default_factory=pd.DataFrame)

    def benchmark(self) -> DrugResponse:
        """The screen as a benchmark, named as its folder.

        Raises
        ------
        DataError
            The screen has mistakes.
        """
        if self.mistakes:
            raise DataError(
                f"{len(self.mistakes)} mistakes, the first: {self.mistakes[0]}",
                file=self.folder,
                remedy=f"see them all with `clmt data check {self.folder}`",
            )
        return _benchmark(self)


def load(folder: str | Path) -> DrugResponse:
    """The benchmark of a screen's folder. Raises DataError as `Screen.benchmark` does."""
    return check(folder).benchmark()


class _Notebook:
    """Mistakes of one folder as they are found; of many equal ones, the first rows are named."""

    def __init__(self) -> None:
        self.mistakes: list[DataError] = []
        self.notes: list[str] = []

    def add(self, what: str, path: Path, remedy: str, row: int | None = None) -> None:
        self.mistakes.append(DataError(what, file=path.name, row=row, remedy=remedy))

    def rows(self, table: pd.DataFrame, wrong: Any, what: str, path: Path, remedy: str) -> None:
        """One mistake for each row that is `wrong`; `what` may quote its cells by `{column}`."""
        places = np.flatnonzero(np.asarray(wrong))
        for number, at in enumerate(places[:NAMED]):
            said = what.format(**{str(k): v for k, v in table.iloc[at].items()})
            left = len(places) - NAMED
            if number == NAMED - 1 and left > 0:
                said += f" (and {left} more such rows)"
            self.add(said, path, remedy, row_of(table, int(at), path))


def check(folder: str | Path) -> Screen:
    """Read a screen's folder, and find everything that is wrong with it.

    Raises
    ------
    DataError
        No such folder. Whatever is wrong inside it stands in the result's `mistakes`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            "no such folder", file=folder, remedy=f"make it with `clmt new {folder.name}`"
        )
    said, tables, paths = _Notebook(), dict[str, pd.DataFrame](), dict[str, Path]()
    for name in TABLES:
        path = find_table(folder, name)
        if path is not None:
            paths[name] = path
            table = _read(path, said)
            if table is not None and _has_columns(name, table, path, said):
                tables[name] = table
    for name in ("lines", "drugs"):
        if name not in paths:
            said.add("no such table", folder / f"{name}.csv", f"give one row a {name[:-1]}")
    if not {"responses", "points"} & set(paths):
        said.add("no such table", folder / "responses.csv", "give responses, or points.csv")
    if {"responses", "points"} <= set(paths):
        said.add(
            "beside a table of responses",
            paths["points"],
            "keep one of them: points are fitted, responses are taken as they are",
        )
        tables.pop("points", None)
    for name in ("lines", "drugs"):
        if name in tables:
            tables[name] = _ids(tables[name], name[:-1], paths[name], said)
    if "drugs" in tables:
        tables["drugs"] = _check_drugs(tables["drugs"], paths["drugs"], said)
    if "lines" in tables:
        tables["lines"] = _check_lines(tables["lines"], paths["lines"], said)
    if "responses" in tables:
        tables["responses"] = _check_responses(tables, paths, said)
    fits = unfitted = pd.DataFrame()
    if "points" in tables:
        before = len(said.mistakes)
        points = _check_points(tables, paths, said)
        if len(said.mistakes) == before:
            tables["responses"], fits, unfitted = _fitted(points, said)
    for name in OMICS:
        if name in tables:
            tables[name] = _check_omics(name, tables, paths[name], said)
    _compare_tables(tables, said)
    found = Screen(folder, tables, tuple(said.mistakes), tuple(said.notes), unfitted, fits)
    if found.mistakes:
        return found
    try:
        found.benchmark()
    except DataError as error:
        said.mistakes.append(error)
    return Screen(folder, tables, tuple(said.mistakes), tuple(said.notes), unfitted, fits)


def _read(path: Path, said: _Notebook) -> pd.DataFrame | None:
    """A table as text, without the rows that are cut; None where nothing can be read."""
    try:
        table = read_table(path, dtype=object, keep_default_na=False, na_values=[""])
    except DataError as error:
        text = path.suffix != ".gz" and "cells where the first row" in error.what
        if not text:
            remedy = error.remedy or "export it again"
            remedy = "fill it in, one row after the header" if "empty" in error.what else remedy
            said.mistakes.append(
                DataError(error.what, file=path.name, row=error.row, remedy=remedy)
            )
            return None
        table = _whole_rows(path, said)
        twice = table.columns[table.columns.duplicated()]
        if len(twice):
            said.add(f"column {twice[0]!r} is there twice", path, "keep one of them", 1)
            return None
    # as one block: a table of omics has a column for each of 20,000 genes
    bare = [
        (cell.strip() or None) if isinstance(cell, str) else cell
        for cell in table.to_numpy(dtype=object).ravel()
    ]
    cells = np.array(bare, dtype=object).reshape(table.shape)
    return pd.DataFrame(cells, table.index, table.columns, dtype=object)


def _whole_rows(path: Path, said: _Notebook) -> pd.DataFrame:
    """The rows of a text table that have as many cells as its header, numbered as in the file."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file, delimiter="," if path.suffix == ".csv" else "\t"))
    header, places, whole = rows[0], [], []
    for place, row in enumerate(rows[1:]):
        if len(row) == len(header):
            places.append(place)
            whole.append([cell or None for cell in row])
        elif row:
            said.add(
                f"{len(row)} cells where the first row has {len(header)}",
                path,
                'put a cell that holds a comma in quotation marks: "a, b"',
                place + 2,
            )
    return pd.DataFrame(whole, index=places, columns=header, dtype=object)


def _has_columns(name: str, table: pd.DataFrame, path: Path, said: _Notebook) -> bool:
    missing = [column for column in COLUMNS.get(name, ("line",)) if column not in table]
    choice = {"responses": UNITS, "points": tuple(VIABILITY)}.get(name, ())
    there = [column for column in choice if column in table]
    listed = ", ".join(map(str, table.columns[:8]))
    for column in missing:
        close = [own for own in table if str(own).strip().lower() == column.lower()]
        remedy = f"rename {close[0]!r}" if close else f"add it; the table has: {listed}"
        said.add(f"no column {column!r}", path, remedy, 1)
    if choice and not there:
        said.add(
            f"no column {' or '.join(map(repr, choice))}",
            path,
            f"name the values by what they are; the table has: {listed}",
            1,
        )
    if len(there) > 1:
        said.add(f"both {there[0]!r} and {there[1]!r}", path, "keep one of them", 1)
    return not missing and (not choice or len(there) == 1)


def _ids(table: pd.DataFrame, key: str, path: Path, said: _Notebook) -> pd.DataFrame:
    """The rows that have an id of their own."""
    empty = table[key].isna()
    said.rows(table, empty, f"no {key} id", path, "give every row an id, or delete the row")
    table = table[~empty]
    again = table.duplicated(key)
    said.rows(table, again, f"{key} {{{key}!r}} is there twice", path, "keep one row for each id")
    return table[~again]


def _numbers(
    table: pd.DataFrame, column: str, path: Path, said: _Notebook, needed: bool = True
) -> pd.Series:
    """A column as numbers; each cell that is none is a mistake, an empty one where it is needed."""
    values = pd.to_numeric(table[column], errors="coerce").astype("float64")
    values = values.where(np.isfinite(values))
    text, told = table[column].astype("string"), table[column].isna().to_numpy()
    for pattern, what, remedy in (
        (r"-?\d+,\d+", "a decimal comma", "write a point: 1.5"),
        (r"[<>≤≥].*", "a bound", "write the number alone, and true in a column censored"),
    ):
        such = text.str.fullmatch(pattern).fillna(False).to_numpy(bool)
        said.rows(table, such, f"{column} is {{{column}!r}}: {what}", path, remedy)
        told = told | such
    if needed:
        none = table[column].isna().to_numpy()
        said.rows(table, none, f"{column} is empty", path, "give the number, or delete the row")
    wrong = values.isna().to_numpy() & ~told
    said.rows(
        table,
        wrong,
        f"{column} is {{{column}!r}}, not a number",
        path,
        "give the number, or delete the row",
    )
    return values


def _check_drugs(table: pd.DataFrame, path: Path, said: _Notebook) -> pd.DataFrame:
    from rdkit import Chem, rdBase

    table = table.copy()
    for column in ("smiles", "target", "pathway"):
        if column not in table:
            table[column] = pd.Series(None, table.index, dtype=object)
    table["name"] = table["name"].fillna(table["drug"]) if "name" in table else table["drug"]
    with rdBase.BlockLogs():
        molecules = [Chem.MolFromSmiles(s) if isinstance(s, str) else None for s in table["smiles"]]
    lost = np.array([m is None for m in molecules], dtype=bool) & table["smiles"].notna()
    said.rows(
        table,
        lost,
        "SMILES {smiles!r} of drug {drug!r} cannot be parsed",
        path,
        "correct it, or leave it empty: a missing structure is allowed",
    )
    table.loc[lost, "smiles"] = None
    table["inchikey"] = pd.Series(
        [m and Chem.MolToInchiKey(m) or None for m in molecules], table.index, dtype=object
    )
    if "max_conc_uM" in table:
        values = _numbers(table, "max_conc_uM", path, said, needed=False)
        said.rows(
            table,
            (values <= 0).to_numpy(),
            "max_conc_uM is {max_conc_uM!r}",
            path,
            "a concentration in uM is above 0: give it, or leave it empty",
        )
        table["max_concentration_um"] = values.where(values > 0)
    unknown = table["smiles"].isna() & table["target"].isna() & table["pathway"].isna()
    if unknown.any():
        said.notes.append(
            f"{path.name}: nothing is known of {_list(table.loc[unknown, 'drug'])} (no SMILES, "
            "target or pathway): as a new drug it would be predicted as an average one"
        )
    table["compound"] = group_compounds(table).to_numpy()
    twice = table[table.duplicated("compound", keep=False)].groupby("compound")["drug"].agg(list)
    for ids in twice:
        said.notes.append(f"{path.name}: {_list(ids)} are one compound: they are held out together")
    return table


def _check_lines(table: pd.DataFrame, path: Path, said: _Notebook) -> pd.DataFrame:
    table = table.copy()
    table["name"] = table["name"].fillna(table["line"]) if "name" in table else table["line"]
    if "tissue" not in table:
        said.notes.append(f"{path.name}: no column tissue: every line is of tissue 'unknown'")
        table["tissue"] = "unknown"
    table["tissue"] = table["tissue"].fillna("unknown")
    return table


def _check_keys(
    name: str, tables: Mapping[str, pd.DataFrame], path: Path, said: _Notebook
) -> np.ndarray:
    """[rows] bool: the line and the drug of a row of responses or points are known."""
    table = tables[name]
    known = np.ones(len(table), dtype=bool)
    for key in ("line", "drug"):
        side = tables.get(f"{key}s")
        empty = table[key].isna().to_numpy()
        said.rows(table, empty, f"no {key}", path, "give it, or delete the row")
        known &= ~empty
        if side is None:
            continue
        ids = set(side[key])
        strange = ~table[key].isin(ids).to_numpy() & ~empty
        for value in dict.fromkeys(table.loc[strange, key]):
            rows = (table[key] == value).to_numpy()
            near = [own for own in ids if letters(own) == letters(value)]
            at = int(np.flatnonzero(rows)[0])
            said.add(
                f"{key} {value!r} is not in the table of {key}s"
                + (f" ({rows.sum()} rows)" if rows.sum() > 1 else ""),
                path,
                f"write it as there: {near[0]!r}" if near else f"add it to {key}s, or drop it",
                row_of(table, at, path),
            )
        known &= ~strange
    return known


def _check_responses(
    tables: Mapping[str, pd.DataFrame], paths: Mapping[str, Path], said: _Notebook
) -> pd.DataFrame:
    """[pairs] line, drug, ln_ic50 and, where it was given, censored."""
    path = paths["responses"]
    table, known = tables["responses"], _check_keys("responses", tables, path, said)
    unit = next(column for column in UNITS if column in table)
    values = _numbers(table, unit, path, said)
    if unit == "ic50_uM":
        said.rows(
            table,
            (values <= 0).to_numpy(),
            "ic50_uM is {ic50_uM!r}",
            path,
            "an IC50 in uM is above 0: is this a logarithm? then name the column ln_ic50",
        )
        values = np.log(values.where(values > 0))
    large = (values.abs() > LARGEST_LN_UM).to_numpy()
    said.rows(
        table,
        large,
        f"{unit} is {{{unit}!r}}, out of range",
        path,
        "ln_ic50 is the natural logarithm of uM, within 15 of 0: name IC50s in uM ic50_uM",
    )
    pairs = table[["line", "drug"]].assign(ln_ic50=values)
    if "censored" in table:
        words = table["censored"].astype("string").str.lower()
        wrong = ~words.isin(["true", "false", "0", "1"]).to_numpy()
        said.rows(
            table,
            wrong,
            "censored is {censored!r}",
            path,
            "say true (the value is a bound) or false (it was measured)",
        )
        pairs["censored"] = words.isin(["true", "1"]).to_numpy(bool)
    again = pairs.duplicated(["line", "drug"]).to_numpy()
    said.rows(
        pairs,
        again,
        "line {line!r} and drug {drug!r} are there twice",
        path,
        "average the replicates, or keep one",
    )
    return pairs[known & ~again & pairs["ln_ic50"].notna().to_numpy() & ~large]


def _check_points(
    tables: Mapping[str, pd.DataFrame], paths: Mapping[str, Path], said: _Notebook
) -> pd.DataFrame:
    """[points] line, drug, conc_uM, viability (1 as in the control)."""
    path = paths["points"]
    table, known = tables["points"], _check_keys("points", tables, path, said)
    column = next(name for name in VIABILITY if name in table)
    conc = _numbers(table, "conc_uM", path, said)
    said.rows(
        table,
        (conc <= 0).to_numpy(),
        "conc_uM is {conc_uM!r}",
        path,
        "leave the untreated control out: divide by it",
    )
    alive = _numbers(table, column, path, said) / VIABILITY[column]
    if len(alive) and alive.median() > 3:
        said.add(
            f"half of the {column} are above {3 * VIABILITY[column]:g}",
            path,
            "divide by the untreated control; per cent stand in a column viability_percent",
        )
    return table[["line", "drug"]].assign(conc_uM=conc, viability=alive)[known]


def _check_omics(
    name: str, tables: Mapping[str, pd.DataFrame], path: Path, said: _Notebook
) -> pd.DataFrame:
    """[lines, genes] numbers, indexed by line id."""
    table = _ids(tables[name], "line", path, said)
    with _text(path) as file:
        header = next(csv.reader(file, delimiter="," if ".csv" in path.name else "\t"))
    genes = [gene.strip() for gene in header if gene.strip() != "line"]
    twice = sorted(gene for gene, count in Counter(genes).items() if count > 1)
    if twice:
        said.add(
            f"gene {twice[0]!r} has several columns"
            + (f" (as have {len(twice) - 1} more genes)" if twice[1:] else ""),
            path,
            "keep one column for each gene, or average them",
            1,
        )
    dates = [gene for gene in genes if DATE.fullmatch(gene)]
    if dates:
        said.add(
            f"gene {dates[0]!r} is a date",
            path,
            "a spreadsheet has changed it (MARCH1, SEPT2): take the symbol from the source",
            1,
        )
    cells = table.drop(columns="line")
    numbers = pd.to_numeric(cells.to_numpy(dtype=object).ravel(), errors="coerce")
    values = pd.DataFrame(numbers.astype("float64").reshape(cells.shape), None, cells.columns)
    values = values.where(np.isfinite(values))
    bad = np.argwhere(values.isna().to_numpy())
    if len(bad):
        at, gene = bad[0]
        cell = cells.iloc[at, gene]
        more = f" (and {len(bad) - 1} more cells)" if len(bad) > 1 else ""
        said.add(
            f"{values.columns[gene]} of line {table['line'].iloc[at]!r} is {cell!r}, not a "
            f"number{more}",
            path,
            "give the number, or delete the gene or the line",
            row_of(table, int(at), path),
        )
    _check_scale(name, values, path, said)
    if "lines" in tables:
        strange = ~table["line"].isin(set(tables["lines"]["line"])).to_numpy()
        if strange.any():
            said.notes.append(
                f"{path.name}: {_list(table.loc[strange, 'line'])} are not in the table of lines: "
                "not read"
            )
    return values.set_axis(pd.Index(table["line"], name="cell")).fillna(0.0)


def _text(path: Path) -> Any:
    import gzip

    opener: Any = gzip.open if path.suffix == ".gz" else open
    return opener(path, "rt", encoding="utf-8-sig", newline="")


def _check_scale(name: str, values: pd.DataFrame, path: Path, said: _Notebook) -> None:
    flat = values.to_numpy()
    flat = flat[np.isfinite(flat)]
    if not len(flat):
        return
    if name == "expression" and flat.max() > LARGEST_LOG_EXPRESSION:
        said.add(
            f"values up to {flat.max():.4g}: counts or TPM, not their logarithms",
            path,
            "give log2(TPM + 1), or z-scores: one scale for the whole table",
        )
    if name == "mutation" and not np.isin(flat, (0.0, 1.0)).all():
        odd = flat[~np.isin(flat, (0.0, 1.0))][0]
        said.add(f"a value is {odd:g}", path, "say 1 (mutated) or 0 (not)")
    if name == "copy_number" and flat.min() >= 0 and (flat % 1 == 0).mean() > 0.9:
        said.add(
            "whole numbers, none below 0: copies, not log2 ratios",
            path,
            "give log2(copies / ploidy of the line)",
        )


def _compare_tables(tables: Mapping[str, pd.DataFrame], said: _Notebook) -> None:
    """What one table has and another lacks."""
    if not {"lines", "drugs", "responses"} <= set(tables):
        return
    pairs = tables["responses"]
    for key in ("line", "drug"):
        ids = tables[f"{key}s"][key]
        idle = ids[~ids.isin(set(pairs[key]))]
        if len(idle):
            said.notes.append(f"{_list(idle)} of the table of {key}s have no response: left out")
    for name in OMICS:
        if name in tables:
            lost = [line for line in dict.fromkeys(pairs["line"]) if line not in tables[name].index]
            if lost and len(tables[name]):
                said.add(
                    f"no {name} of {_list(lost)}, which have responses",
                    Path(f"{name}.csv"),
                    "add a row for each, or leave their responses out",
                )
        elif name == "expression":
            said.notes.append(
                "no table of expression: a new line can only be predicted as an average one"
            )
    lines, drugs = pairs["line"].nunique(), pairs["drug"].nunique()
    if lines < 5 or drugs < 3:
        said.notes.append(
            f"{lines} lines and {drugs} drugs have responses: too few to compare models by "
            "cross-validation (5 lines, 3 drugs)"
        )


def _list(ids: Iterable[Any], most: int = 4) -> str:
    """Some ids as a reader is told of them.

    >>> _list(["A", "B", "C", "D", "E", "F"])
    'A, B, C, D and 2 more'
    """
    ids = [str(one) for one in ids]
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return ", ".join(ids[:most]) + more


def _benchmark(screen: Screen) -> DrugResponse:
    tables = screen.tables
    pairs = tables["responses"].rename(columns={"line": "cell"})
    lines, drugs = (
        tables[f"{key}s"].set_index(key).loc[list(dict.fromkeys(tables["responses"][key]))]
        for key in ("line", "drug")
    )
    known = [c for c in drugs if c not in ("max_conc_uM",)]
    # without a table, one feature that says nothing: models that read it go on without
    nothing = pd.DataFrame(0.0, lines.index, ["none"], dtype="float32")
    omics = {name: tables.get(name, nothing) for name in OMICS}
    found = DrugResponse.from_tables(
        screen.folder.resolve().name,
        lines.drop(columns=["compound"], errors="ignore"),
        drugs[known],
        omics,
        pairs,
        file={"responses": find_table(screen.folder, "responses")},
        trust_units=True,
        licence=LICENCE,
        source=SOURCE,
    )
    absent = {name: np.zeros(len(lines), dtype=bool) for name in OMICS if name not in tables}
    side = found.sides[0]
    return found.with_sides(replace(side, present=absent)) if absent else found


# Dose-response points


def logistic(
    conc: np.ndarray, ic: float, slope: float, bottom: float = 0.0, top: float = 1.0
) -> np.ndarray:
    """Viability at concentrations: bottom + (top - bottom) / (1 + (conc / ic)^slope).

    Parameters
    ----------
    conc, ic : uM; `ic` is where the curve is halfway between top and bottom
    slope : Hill coefficient, above 0

    >>> logistic(np.array([1.0]), ic=1.0, slope=2.0, bottom=0.2).round(3).tolist()
    [0.6]
    """
    return bottom + (top - bottom) / (1 + (np.asarray(conc) / ic) ** slope)


def fit_curve(conc: np.ndarray, viability: np.ndarray, free_top: bool = False) -> dict[str, Any]:
    """ln IC50 of one dose-response curve, by least squares of a three-parameter logistic (its top
    is the control), or of four parameters.

    The IC50 is the concentration at which the fitted viability is one half of the control, as in
    GDSC. Where the curve does not come down to one half within `BEYOND` times the highest dose,
    the highest dose is a lower bound; where it is below one half everywhere, the lowest dose an
    upper one.

    Parameters
    ----------
    conc : [n] uM, replicates allowed
    viability : [n], 1 as in the untreated control
    free_top : fit the top, too (four parameters)

    Returns
    -------
    ln_ic50, censored, ic, slope, bottom, top, rmse; or `reason`, why there is no IC50
    """
    from scipy.optimize import least_squares

    conc, alive = np.asarray(conc, dtype=np.float64), np.asarray(viability, dtype=np.float64)
    doses = np.unique(conc)
    parameters = 4 if free_top else 3
    if len(doses) < max(FEWEST_DOSES, parameters + free_top):
        return {"reason": f"{len(doses)} different doses, {FEWEST_DOSES + free_top} are needed"}
    x, (low, high) = np.log(conc), np.log(doses[[0, -1]])
    far = np.log(1e3)
    lower, upper = [low - far, np.log(0.1), -0.05], [high + far, np.log(10.0), 0.95]
    if free_top:
        lower, upper = [*lower, 0.7], [*upper, 1.3]

    def curve(p: np.ndarray) -> np.ndarray:
        top = p[3] if free_top else 1.0
        return p[2] + (top - p[2]) / (1 + np.exp(np.exp(p[1]) * (x - p[0])))

    best: Any = None
    halfway = x[np.abs(alive - (alive.min() + alive.max()) / 2).argmin()]
    for start, bottom in ((halfway, min(max(alive.min(), 0.02), 0.9)), (low, 0.02), (high, 0.02)):
        first = [start, 0.0, bottom, *([1.0] if free_top else [])]
        found = least_squares(lambda p: curve(p) - alive, first, bounds=(lower, upper))
        best = found if best is None or found.cost < best.cost - 1e-12 else best
    middle, slope, bottom = best.x[0], float(np.exp(best.x[1])), float(best.x[2])
    top = float(best.x[3]) if free_top else 1.0
    wrong = float(np.sqrt(np.mean(best.fun**2)))
    rise = alive[conc == doses[-1]].mean() - alive[conc == doses[0]].mean()
    if rise > WORST_FIT:
        return {"reason": f"viability rises with the dose, by {rise:.2f} of the control"}
    if wrong > WORST_FIT:
        return {"reason": f"no sigmoid: the fit is off by {wrong:.2f} of the control (RMSE)"}
    shape = {"ic": float(np.exp(middle)), "slope": slope, "bottom": bottom, "top": top}
    crosses = bottom < 0.5 < top
    half = middle + np.log((top - bottom) / (0.5 - bottom) - 1) / slope if crosses else np.inf
    bound = high if half > high + np.log(BEYOND) else low if half < low - np.log(BEYOND) else None
    value = half if bound is None else bound
    return {"ln_ic50": float(value), "censored": bound is not None, **shape, "rmse": wrong}


def fit_curves(points: pd.DataFrame, free_top: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`fit_curve` for every line and drug of a table of points.

    Parameters
    ----------
    points : columns line, drug, conc_uM, viability (1 as in the control)

    Returns
    -------
    (fitted, unfitted): [pairs] line, drug and what `fit_curve` found; [pairs] line, drug, reason
    """
    fitted, unfitted = list[dict[str, Any]](), list[dict[str, Any]]()
    for (line, drug), group in points.groupby(["line", "drug"], sort=False):
        conc, alive = group["conc_uM"].to_numpy(), group["viability"].to_numpy()
        found = {"line": line, "drug": drug, **fit_curve(conc, alive, free_top)}
        (unfitted if "reason" in found else fitted).append(found)
    columns = "line drug ln_ic50 censored ic slope bottom top rmse".split()
    return pd.DataFrame(fitted, columns=columns), pd.DataFrame(
        unfitted, columns=["line", "drug", "reason"]
    )


def _fitted(
    points: pd.DataFrame, said: _Notebook
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    fits, unfitted = fit_curves(points)
    said.notes.append(
        f"{len(fits)} curves fitted, {int(fits['censored'].sum())} of them bounds; "
        f"{len(unfitted)} could not be fitted"
    )
    said.notes += [
        f"not fitted: {row.line}, {row.drug}: {row.reason}" for row in unfitted.itertuples()
    ]
    return fits[["line", "drug", "ln_ic50", "censored"]], fits, unfitted


# The template


README = """# {name}: a screen of your own

Fill these tables (spreadsheets: save as CSV, UTF-8, points in the numbers), then

    clmt data check {name}      # everything that is wrong, at once
    clmt compare {name}         # which model answers: new lines? new drugs? writes a page

| file | columns |
|---|---|
| `lines.csv` | `line` (your id), `name`, `tissue` |
| `drugs.csv` | `drug` (your id), `name`, `smiles`, `target` (gene symbols, a comma between them), \
`pathway`, `max_conc_uM`; what is not known stays empty |
| `responses.csv` | `line`, `drug`, and `ln_ic50` (natural logarithm of uM) or `ic50_uM`; \
`censored`: true where the value is a bound |
| `points.csv` | instead of responses, the doses: `line`, `drug`, `conc_uM`, `viability` (1 as in \
the untreated control) or `viability_percent` |
| `expression.csv` | `line`, then one column a gene symbol: log2(TPM + 1) or z-scores |
| `mutation.csv`, `copy_number.csv` | if you have them: `line`, then a column a gene: 0/1; log2 \
ratios |

Research use only, not for treatment.
"""
EMPTY = {
    "lines": "line,name,tissue",
    "drugs": "drug,name,smiles,target,pathway,max_conc_uM",
    "responses": "line,drug,ln_ic50",
    "expression": "line,TP53,EGFR",
}


def new(folder: str | Path, example: bool = False, lines: int = 20, drugs: int = 8) -> list[Path]:
    """Make a screen's folder: a README and tables with their headers alone, or with an `example`,
    a made-up screen of so many lines and drugs from the simulated world.

    Returns
    -------
    the files that were written

    Raises
    ------
    DataError
        The folder is there already, or cannot be made.
    """
    folder = Path(folder)
    if folder.exists():
        raise DataError(
            "there is something here already", file=folder, remedy="name a folder to make"
        )
    if not folder.parent.is_dir():
        raise DataError("no such folder", file=folder.parent, remedy="make it first")
    texts = {name: header + "\n" for name, header in EMPTY.items()}
    if example:
        texts = {k: t.to_csv(index=False, lineterminator="\n") for k, t in _made_up(lines, drugs)}
    files = {"README.md": README.format(name=folder.name)}
    files |= {f"{name}.csv": text for name, text in texts.items()}
    with appearing(folder.absolute()) as made:
        for name, text in files.items():
            with atomic_write(made / name) as file:
                file.write(text)
    return [folder / name for name in files]


def _made_up(lines: int, drugs: int) -> Iterable[tuple[str, pd.DataFrame]]:
    """Tables of a made-up screen: some lines and compounds of the simulated world."""
    from clmt_lib.data.response.simulated import load as load_world

    world = load_world()
    first = world.drugs[~world.drugs.duplicated("compound")].index
    rows = np.linspace(0, world.n_cells - 1, lines).round().astype(int)
    columns = world.drugs.index.get_indexer(
        first[np.linspace(0, len(first) - 1, drugs).round().astype(int)]
    )
    cells, table = world.cells.iloc[rows], world.drugs.iloc[columns]
    y = world.matrix()[np.ix_(rows, columns)]
    at = np.argwhere(np.isfinite(y))
    yield "lines", cells[["name", "tissue"]].rename_axis("line").reset_index()
    facts = table[["name", "smiles", "target", "pathway"]].assign(max_conc_uM=10)
    yield "drugs", facts.rename_axis("drug").reset_index()
    yield (
        "responses",
        pd.DataFrame(
            {
                "line": cells.index[at[:, 0]],
                "drug": table.index[at[:, 1]],
                "ln_ic50": y[tuple(at.T)].round(3),
            }
        ),
    )
    for kind, digits in (("expression", 3), ("mutation", 0)):
        block = world.omics[kind].iloc[rows].astype("float64").round(digits)
        block = block.astype(int) if kind == "mutation" else block
        yield kind, block.rename_axis("line").reset_index()
