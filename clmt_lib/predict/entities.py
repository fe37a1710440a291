"""Drugs and lines as a reader names them: by name, id, SMILES or a table of expression, matched to
those that a fitted model knows.
"""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from clmt_lib.data.base import Benchmark, Side
from clmt_lib.data.grouping import KEY, SALT_ELEMENTS, letters, parent_key, parent_smiles
from clmt_lib.data.response.base import drug_side
from clmt_lib.io import DataError, read_table
from clmt_lib.views.controls import (
    BITS_VIEW,
    SHAPE_VIEW,
    STEPS_VIEW,
    TEXT_VIEW,
    drug_vectors,
)
from clmt_lib.views.genesets import steps
from clmt_lib.views.molecules import descriptors, fingerprints

Source: TypeAlias = str | os.PathLike | pd.DataFrame | Iterable[str] | None
DRUG_WORDS = {  # what a column of a table of drugs may be called -> the fact that it holds
    "id": ("drug_id", "drug", "id", "compound_id"),
    "name": ("drug_name", "name", "compound", "compound_name"),
    "smiles": ("smiles", "canonical_smiles", "structure"),
    "target": ("target", "targets", "putative_target"),
    "pathway": ("pathway", "target_pathway", "pathway_name"),
    "mechanism": ("mechanism", "text", "description"),
    "max_conc_um": ("max_conc_um", "max_concentration_um", "max_conc"),
}
LINE_WORDS = {
    "id": ("line_id", "cosmic_id", "depmap_id", "sanger_model_id", "cell_line", "line", "id"),
    "name": ("name", "line_name", "cell_line_name", "model_name"),
    "tissue": ("tissue",),
}
LINE_IDS = ("name", "depmap_id", "cosmic_id", "sanger_model_id", "rrid")
SCALES = ("auto", "zscore", "log2tpm", "tpm", "cohort")
FEWEST_LINES = 30  # of a cohort that may be standardised against itself
FEWEST_GENES = 20  # that make a table one of expression
DRUG_LIKE = 8  # heavy atoms of a fragment that is no counter-ion
SAME = "the same compound as"  # how the note on a drug of another name begins
PEPTIDE = 4  # amide bonds of a backbone


@dataclass
class Asked:
    """Entities of one side that somebody asks about, in their order.

    Attributes
    ----------
    ids, names : [n] as the reader wrote them, and as the model knows them
    at : [n] positions among the entities the model was fitted on, -1 for a new one
    new : [n] positions in `side`, -1 for a known one
    side : the new ones, with the views that the models read; None where there is none
    notes : [n] sentences that warn
    genes : [n] share of the model's genes that were given, NaN where it is not asked
    """

    ids: list[str]
    names: list[str]
    at: np.ndarray
    new: np.ndarray
    side: Side | None
    notes: list[list[str]]
    genes: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return len(self.ids)


def table_of(source: Source, words: Mapping[str, tuple[str, ...]]) -> tuple[pd.DataFrame, Any]:
    """(frame of what was asked for with the columns of `words` that are there, file): from a table
    (file or frame), or from names.
    """
    if isinstance(source, pd.DataFrame):
        frame, file = source.reset_index(drop=True), None
    elif isinstance(source, (str, os.PathLike)):
        file = _existing(source)
        if file.suffix.lower() == ".txt":
            names = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
            frame = pd.DataFrame({"id": [name for name in names if name]})
        else:
            frame = read_table(file, dtype=str) if file.suffix != ".parquet" else read_table(file)
    else:
        frame, file = (
            pd.DataFrame({"id": [str(name) for name in (() if source is None else source)]}),
            None,
        )
    found = {}
    lower = {str(column).strip().lower().replace(" ", "_"): column for column in frame.columns}
    for fact, called in words.items():
        column = next((lower[name] for name in called if name in lower), None)
        if column is not None:
            found[fact] = frame[column]
    return pd.DataFrame(found, index=frame.index), file


def _existing(source: str | os.PathLike) -> Path:
    """The file that was named."""
    if not Path(source).is_file():
        raise DataError(
            "no such file",
            file=source,
            remedy="name a table (.csv, .tsv, .parquet) or a list (.txt); in Python, names, ids "
            "and SMILES themselves are given as a list",
        )
    return Path(source)


def _texts(frame: pd.DataFrame, column: str) -> list[str | None]:
    """[n] stripped text of a column, None where there is none."""
    if column not in frame:
        return [None] * len(frame)
    out = []
    for value in frame[column]:
        text = "" if value is None or pd.isna(value) else str(value).strip()
        out.append(re.sub(r"\.0$", "", text) if text else None)
    return out


# Drugs


class DrugReader:
    """Reads drugs that a reader asks about, some rows of a table at a time.

    Parameters
    ----------
    source : a table (file or frame) with a column of ids, names or SMILES, and optionally target,
        pathway, mechanism and max_conc_uM; or names, ids and SMILES themselves; None: all drugs
        that the model was fitted on
    known : what the model was fitted on
    catalogue : facts of further drugs, by id
    gene_sets : of the view "steps", if the model reads it
    as_new : treat a drug that the model knows as if it were new
    checked : every structure has been read once already

    Raises
    ------
    DataError
        A table without a column that says which drugs; a column of SMILES that cannot be read.
    """

    def __init__(
        self,
        source: Source,
        known: Benchmark,
        catalogue: pd.DataFrame | None,
        gene_sets: Mapping[str, set[str]] | None,
        as_new: bool = False,
        checked: bool = False,
    ) -> None:
        self.known, self.gene_sets, self.as_new = known, gene_sets, as_new
        drugs = known.sides[1].frame
        self.names = _Names(drugs, catalogue)
        if source is None:
            source = pd.DataFrame({"id": drugs.index})
        self.frame, self.file = table_of(source, DRUG_WORDS)
        if not {"id", "name", "smiles"} & set(self.frame):
            raise DataError(
                "no column says which drugs",
                file=self.file,
                row=1,
                remedy="add a column drug_id, drug_name or smiles",
            )
        smiles = pd.Series(_texts(self.frame, "smiles"), dtype=object)
        # before anything long begins
        for i in [] if checked else np.flatnonzero(smiles.notna()).tolist():
            _check_structure(str(smiles[i]), self.file, self._row(i))
        ids, names = _texts(self.frame, "id"), _texts(self.frame, "name")
        given: dict[str, Any] = {}
        for i, label in enumerate(one or other for one, other in zip(ids, names, strict=True)):
            structure = smiles[i] if isinstance(smiles[i], str) else None
            if label and given.setdefault(label, structure) != structure:
                raise DataError(
                    f"drug {label!r} has two structures: {given[label]!r} and {structure!r}",
                    file=self.file,
                    row=self._row(i),
                    remedy="keep the right one, or give each a name of its own",
                )

    def __len__(self) -> int:
        return len(self.frame)

    def _row(self, i: int) -> int | None:
        return None if self.file is None else int(i) + 2

    def read(self, rows: slice) -> Asked:
        """Some rows of the table.

        Raises
        ------
        DataError
            A name that nobody knows and that is no SMILES; a concentration that is not a positive
            number.
        """
        frame = self.frame.iloc[rows]
        n, first = len(frame), rows.start
        ids, names, smiles = (_texts(frame, column) for column in ("id", "name", "smiles"))
        given = {fact: _texts(frame, fact) for fact in ("target", "pathway", "mechanism")}
        doses = _texts(frame, "max_conc_um")
        out = Asked([], [], np.full(n, -1), np.full(n, -1), None, [])
        new: list[dict[str, Any]] = []
        for i in range(n):
            row = self._row(first + i)
            found = self.names.find(ids[i], names[i], smiles[i], self.file, row)
            facts = {**found.facts, "max_conc_um": _concentration(doses[i], self.file, row)}
            facts |= {fact: text[i] or facts.get(fact) for fact, text in given.items()}
            out.ids.append(ids[i] or names[i] or smiles[i] or "")
            out.names.append(str(facts.get("name") or out.ids[-1]))
            out.notes.append(list(found.notes))
            if found.at >= 0 and not self.as_new:
                out.at[i] = found.at
                continue
            if found.at >= 0:
                out.notes[-1].append(
                    "the model was fitted on this drug: it does not count as a new one"
                )
            out.new[i] = len(new)
            out.notes[-1] += _kind_of_molecule(facts.get("smiles"))
            new.append(facts)
        if new:
            out.side = new_drug_side(new, self.known, self.gene_sets)
        return out


def _check_structure(smiles: str, file: Any, row: int | None) -> None:
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        if Chem.MolFromSmiles(smiles) is None:
            raise DataError(
                f"SMILES {smiles!r} cannot be read",
                file=file,
                row=row,
                remedy="correct it, or name the drug instead",
            )


@dataclass
class Found:
    """A drug that was found: its position among the known ones or -1, its facts, what to say."""

    at: int
    facts: dict[str, Any]
    notes: list[str]


class _Names:
    """What drugs are called, in the table that the model was fitted on and in the catalogue."""

    def __init__(self, drugs: pd.DataFrame, catalogue: pd.DataFrame | None) -> None:
        self.drugs, self.catalogue = drugs, catalogue
        self.ids = {str(label): i for i, label in enumerate(drugs.index)}
        self.names: dict[str, int] = {}
        self.parents: dict[str, int] = {}
        for i, (name, smiles) in enumerate(zip(drugs["name"], drugs["smiles"], strict=True)):
            self.names.setdefault(letters(name), i)
            key = parent_key(smiles) if isinstance(smiles, str) else None
            if key:
                self.parents.setdefault(key, i)
        more = catalogue if catalogue is not None else drugs.iloc[:0]
        self.more_names: dict[str, str] = {}
        for label, name in more["name"].items():
            self.more_names.setdefault(letters(name), str(label))

    def find(
        self, label: str | None, name: str | None, smiles: str | None, file: Any, row: int | None
    ) -> Found:
        """Who is meant; raises DataError if nobody is."""
        from rdkit import Chem, rdBase

        more = self.catalogue
        for text in (label, name):
            if text in self.ids:
                return self._known(self.ids[text], [])
        known_id = label if more is not None and label in more.index else None
        for text in (name, label):
            if text and letters(text) in self.names and not smiles and not known_id:
                return self._known(self.names[letters(text)], [])
        for text in (name, label):
            if known_id is None and text and letters(text) in self.more_names:
                known_id = self.more_names[letters(text)]
        facts: dict[str, Any] = {}
        skeleton = next((t[:14] for t in (label, name) if t and re.fullmatch(KEY, t)), "")
        if skeleton in self.parents and not smiles:
            return self._known(self.parents[skeleton], [])
        if known_id is not None and more is not None:
            row_of = more.loc[known_id]
            facts = {key: value for key, value in row_of.items() if isinstance(value, str)}
        if not facts and not smiles:
            smiles = label or name  # perhaps the SMILES itself
            with rdBase.BlockLogs():
                if not smiles or Chem.MolFromSmiles(smiles) is None:
                    raise DataError(
                        f"no drug {smiles!r} is known, and it is no SMILES",
                        file=file,
                        row=row,
                        remedy=self._near(smiles or ""),
                    )
        if smiles:
            facts["smiles"] = smiles
        key = parent_key(facts.get("smiles"))
        if name:
            facts.setdefault("name", name)
        if key in self.parents:
            at = self.parents[key]
            said = name or label
            other = str(self.drugs["name"].iloc[at])
            note = f"{SAME} {other} ({self.drugs.index[at]}), which the model knows"
            return self._known(
                at, [note] if said is None or letters(said) != letters(other) else []
            )
        return Found(-1, facts, [])

    def _known(self, at: int, notes: list[str]) -> Found:
        row = self.drugs.iloc[at]
        facts = {key: value for key, value in row.items() if isinstance(value, str)}
        return Found(at, facts, notes)

    def _near(self, text: str) -> str:
        names = sorted({str(name) for name in self.drugs["name"]})
        close = difflib.get_close_matches(text, names, 3)
        more = f"did you mean {', '.join(close)}? else " if close else ""
        return f"{more}give its SMILES in a column smiles"


def _concentration(text: str | None, file: Any, row: int | None) -> float:
    if text is None:
        return float("nan")
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not (value > 0 and np.isfinite(value)):
        raise DataError(
            f"max_conc_uM is {text!r}",
            file=file,
            row=row,
            remedy="give the highest concentration in uM, or leave it empty",
        )
    return value


def _kind_of_molecule(smiles: Any) -> list[str]:
    """What warns about a structure itself: one sentence each."""
    from rdkit import Chem, rdBase

    if not isinstance(smiles, str):
        return ["no structure is known: predicted from its annotation alone"]
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    notes = []
    metals = sorted(
        {a.GetSymbol() for a in molecule.GetAtoms() if a.GetAtomicNum() not in SALT_ELEMENTS}
    )
    if "*" in metals:
        notes.append("an open structure (R groups): a family of molecules, not one")
        metals.remove("*")
    if metals:
        notes.append(f"a complex of {', '.join(metals)}: fingerprints hardly describe it")
    parts = set()
    if "." in smiles:
        parts = {
            Chem.MolToSmiles(part)
            for part in Chem.GetMolFrags(molecule, asMols=True)
            if part.GetNumHeavyAtoms() >= DRUG_LIKE
        }
    if len(parts) > 1:
        notes.append(f"a mixture of {len(parts)} molecules: predicted as the largest alone")
    if len(molecule.GetSubstructMatches(_backbone())) >= PEPTIDE:
        notes.append("a peptide: the model was fitted on small molecules")
    return notes


@lru_cache(maxsize=1)
def _backbone() -> Any:
    """What repeats in a peptide."""
    from rdkit import Chem

    return Chem.MolFromSmarts("[NX3][CX4][CX3](=O)[NX3]")


def drug_views(
    frame: pd.DataFrame, gene_sets: Mapping[str, set[str]] | None
) -> dict[str, np.ndarray]:
    """Views of drugs that the models read, computed once: sentence vectors, fingerprints, steps; a
    salt has those of its parent.
    """
    frame = frame.assign(smiles=[parent_smiles(smiles) for smiles in frame["smiles"]])
    views: dict[str, np.ndarray] = {
        TEXT_VIEW.format(source): drug_vectors(frame, source)
        for source in ("annotation", "mechanism")
    }
    views[BITS_VIEW] = fingerprints(frame).astype(np.uint8)
    # a molecule stands at the end, so that there are descriptors even where no structure is known
    views[SHAPE_VIEW] = descriptors([*frame["smiles"], "C"])[:-1]
    if gene_sets is not None:
        views[STEPS_VIEW] = steps(frame, gene_sets).astype(np.uint8)
    return views


def new_drug_side(
    rows: list[dict[str, Any]], known: Benchmark, gene_sets: Mapping[str, set[str]] | None
) -> Side:
    """New drugs as a side, with the columns of the known ones."""
    columns = known.sides[1].frame.columns
    index = pd.Index([f"new drug {i}" for i in range(len(rows))])
    frame = pd.DataFrame(rows, index=index)
    doses = frame["max_conc_um"].to_numpy(np.float64)
    frame = frame.reindex(columns=[*columns.union(["mechanism"], sort=False)])
    for column in ("name", "smiles", "target", "pathway", "mechanism"):
        frame[column] = frame[column].astype(object).where(frame[column].notna(), None)
    frame["compound"] = index
    # a name that nobody gave must not look up a mechanism
    frame["name"] = [name if isinstance(name, str) else i for name, i in zip(frame["name"], index)]
    views: dict[str, Any] = dict(drug_views(frame, gene_sets))
    if "dose" in known.sides[1].views:
        views["dose"] = pd.DataFrame({"log uM": np.log(doses)}, index)
    views = {view: part for view, part in views.items() if view in known.sides[1].views}
    return Side("drug", drug_side(frame[columns]).frame, views=views)


# Lines


def find_lines(
    source: Source,
    known: Benchmark,
    catalogue: Side | None,
    scale: str = "auto",
    as_new: bool = False,
    genes: str | os.PathLike | pd.DataFrame | None = None,
) -> Asked:
    """The lines that a reader asks about.

    Parameters
    ----------
    source : a table (file or frame) of names or ids, or of expression by gene (lines in rows or in
        columns); or names and ids themselves; None: all lines that the model was fitted on
    catalogue : further lines, with what was measured of them
    scale : what expression is given as: "zscore", "log2tpm", "tpm", "cohort" (standardise these
        lines against each other), or "auto", where it can be told
    as_new : treat a line that the model knows as if it were new
    genes : a table that says which symbol an Ensembl id stands for, where genes are named by these

    Raises
    ------
    DataError
        A line that nobody knows; expression on a scale that the model cannot use, with hardly a
        gene of the model, or with a value that is not a number.
    """
    side = known.sides[0]
    if scale not in SCALES:
        raise DataError(f"unknown scale {scale!r}", remedy=f"use {', '.join(SCALES)}")
    if source is None:
        every = np.arange(len(side))
        empty: list[list[str]] = [[] for _ in every]
        names = side.frame["name"].tolist()
        blank = np.full(len(side), np.nan)
        return Asked(side.ids.tolist(), names, every, every * 0 - 1, None, empty, blank)
    table = expression_table(source, known, symbols_of(genes))
    if table is not None:
        return _expressed(*table, known, scale)
    frame, file = table_of(source, LINE_WORDS)
    if not {"id", "name"} & set(frame):
        raise DataError(
            "no column says which lines, and no gene of the model is there",
            file=file,
            row=1,
            remedy="add a column of names or ids (COSMIC_ID, DEPMAP_ID, name), or give expression "
            "by gene symbol",
        )
    ids, names = _texts(frame, "id"), _texts(frame, "name")
    book, more = _line_names(side), {} if catalogue is None else _line_names(catalogue)
    out = Asked([], [], np.full(len(frame), -1), np.full(len(frame), -1), None, [])
    asked: list[tuple[Side, int]] = []
    for i in range(len(frame)):
        texts = [text for text in (ids[i], names[i]) if text]
        at = next((book[letters(text)] for text in texts if letters(text) in book), -1)
        other = next((more[letters(text)] for text in texts if letters(text) in more), -1)
        if at < 0 and other < 0:
            close = difflib.get_close_matches(letters(texts[0]) if texts else "", [*book, *more], 3)
            meant = f"did you mean {', '.join(close)}? else " if close else ""
            raise DataError(
                f"no line {texts[0] if texts else ''!r} is known",
                file=file,
                row=None if file is None else i + 2,
                remedy=f"{meant}give its expression by gene symbol",
            )
        out.ids.append(texts[0])
        notes = []
        if at >= 0 and not as_new:
            out.at[i] = at
            out.names.append(str(side.frame["name"].iloc[at]))
        else:
            if at >= 0:
                notes.append("the model was fitted on this line: it does not count as a new one")
            where, place = (side, at) if at >= 0 or catalogue is None else (catalogue, other)
            out.new[i] = len(asked)
            asked.append((where, place))
            out.names.append(str(where.frame["name"].iloc[place]))
        out.notes.append(notes)
    out.genes = np.full(len(frame), np.nan)
    if asked:
        out.side = _collected(asked, side)
    return out


def _line_names(side: Side) -> dict[str, int]:
    """Every name and id of a line, as letters and digits, to its position."""
    out: dict[str, int] = {}
    for column in (None, *LINE_IDS):
        if column is not None and column not in side.frame:
            continue
        values = side.ids if column is None else side.frame[column]
        for i, value in enumerate(values):
            if value is not None and not pd.isna(value):
                out.setdefault(letters(re.sub(r"\.0$", "", str(value))), i)
    out.pop("", None)
    return out


def _collected(asked: list[tuple[Side, int]], like: Side) -> Side:
    """Some lines of several sides as one side of new lines, with the views of `like`."""
    index = pd.Index([f"new line {i}" for i in range(len(asked))])
    frame = pd.concat([where.frame.iloc[[i]] for where, i in asked]).reindex(
        columns=like.frame.columns
    )
    views, present = {}, {}
    for view, table in like.views.items():
        rows = [where.views[view].iloc[[i]] for where, i in asked]
        views[view] = pd.concat(rows)[table.columns].set_axis(index)
        present[view] = np.array([where.has(view)[i] for where, i in asked])
    return Side("cell", frame.set_axis(index), views=views, present=present)


def symbols_of(genes: str | os.PathLike | pd.DataFrame | None) -> dict[str, str]:
    """Ensembl id (without its version) -> symbol, from a table with a column of each.

    Raises
    ------
    DataError
        No column of Ensembl ids, or none of symbols.
    """
    if genes is None:
        return {}
    frame = genes if isinstance(genes, pd.DataFrame) else read_table(genes)
    columns = {str(c).strip().lower().replace(" ", "_"): c for c in frame.columns}
    ids = next(
        (c for c in frame.columns if frame[c].astype(str).str.startswith("ENSG").any()), None
    )
    words = ("symbol", "hgnc_symbol", "gene_name", "external_gene_name", "gene_symbol", "gene")
    name = next((columns[word] for word in words if word in columns), None)
    if ids is None or name is None:
        raise DataError(
            "a table of genes needs a column of Ensembl ids and one of symbols",
            file=None if isinstance(genes, pd.DataFrame) else genes,
            remedy="name the second one symbol",
        )
    known = frame[frame[name].notna()]
    return {
        _symbol(label): str(symbol).upper()
        for label, symbol in zip(known[ids], known[name], strict=True)
    }


def expression_table(
    source: Source, known: Benchmark, symbols: Mapping[str, str]
) -> tuple[pd.DataFrame, pd.Series, Any] | None:
    """(expression [lines, genes of the model that are there], tissue of each line, file), or None
    where the source is no table of expression.

    Symbols may be in any order and in any case, beside an Entrez id ("TP53 (7157)"), and lines in
    rows or in columns; of a symbol that is there twice the mean is taken.
    """
    if not isinstance(source, (str, os.PathLike, pd.DataFrame)):
        return None
    if isinstance(source, pd.DataFrame):
        frame, file = source, None
    else:
        file = _existing(source)
        if file.suffix.lower() == ".txt" and "\t" not in _first_line(file):
            return None
        frame = read_table(file)
        first = frame.columns[0]
        if frame[first].dtype.kind not in "fiub" or not _symbol(first) or _symbol(first) == "ID":
            frame = frame.set_index(first)

    def symbol(label: Any) -> str:
        found = _symbol(label)
        return symbols.get(found, found)

    genes = {gene.upper(): gene for gene in known.sides[0].views["expression"].columns}
    in_columns = sum(symbol(c) in genes for c in frame.columns)
    in_rows = sum(symbol(r) in genes for r in frame.index)
    if max(in_columns, in_rows) < min(FEWEST_GENES, len(genes)):
        ensembl = sum(
            str(label).upper().startswith("ENSG") for label in [*frame.columns, *frame.index]
        )
        if ensembl >= FEWEST_GENES:
            raise DataError(
                f"{ensembl} genes are named by Ensembl ids, the model knows symbols",
                file=file,
                remedy="name them by HGNC symbol, or give --genes, a table with a column of "
                "Ensembl ids and one of symbols",
            )
        if in_columns > 1:  # one column of names may be called as a gene is
            raise DataError(
                f"{in_columns} of the model's {len(genes)} genes are there",
                file=file,
                remedy=f"give {FEWEST_GENES} or more, by HGNC symbol; where lines are asked about "
                "by name, no column is called as a gene is",
            )
        return None
    tissue = pd.Series(None, frame.index, dtype=object)
    if in_columns >= in_rows:
        for column in frame.columns:
            if str(column).strip().lower() == "tissue":
                tissue = frame[column].astype(object)
    else:
        frame = frame.T
        tissue = pd.Series(None, frame.index, dtype=object)
    frame = frame.loc[:, [symbol(column) in genes for column in frame.columns]]
    kept = list(frame.columns)
    values = frame.apply(pd.to_numeric, errors="coerce")
    bad = values.isna() & frame.notna()
    if bad.any(axis=None):
        line, gene = np.argwhere(bad.to_numpy())[0]
        raise DataError(
            f"{kept[gene]} of {frame.index[line]!r} is {frame.iloc[line, gene]!r}",
            file=file,
            remedy="give numbers, and leave a cell empty where nothing was measured",
        )
    values.columns = [genes[symbol(column)] for column in kept]
    values = values.T.groupby(level=0).mean().T.astype(np.float64)
    values.index = pd.Index([str(label) for label in values.index])
    again = values.index.duplicated() & ~values.reset_index().duplicated().to_numpy()
    if again.any():
        raise DataError(
            f"line {values.index[again][0]!r} is there twice, with other values",
            file=file,
            remedy="keep the right one, or give each a name of its own",
        )
    return values, tissue.set_axis(values.index), file


def _first_line(file: Path) -> str:
    with file.open(encoding="utf-8") as lines:
        return lines.readline()


def _symbol(label: Any) -> str:
    """The symbol in the name of a gene: "TP53 (7157)", "tp53", "TP53|7157" are all TP53, and so is
    "TP53.1", which is how a second column of that name is read.
    """
    return re.sub(r"\.\d+$", "", re.split(r"[ (|]", str(label).strip(), maxsplit=1)[0]).upper()


def _expressed(
    values: pd.DataFrame, tissue: pd.Series, file: Any, known: Benchmark, scale: str
) -> Asked:
    """Lines that are given by their expression: all of them are new."""
    side = known.sides[0]
    z, notes = on_model_scale(values, side, scale, file)
    genes = side.views["expression"].columns
    share = z.notna().sum(axis=1).to_numpy() / len(genes)
    if (share * len(genes) < min(FEWEST_GENES, len(genes))).any():
        line = z.index[int(np.argmin(share))]
        raise DataError(
            f"line {line!r} has {int(share.min() * len(genes))} of the model's {len(genes)} genes",
            file=file,
            remedy="give more of its genes",
        )
    index = pd.Index([f"new line {i}" for i in range(len(z))])
    frame = pd.DataFrame(None, index, side.frame.columns, dtype=object)
    frame["name"] = list(z.index)
    frame["tissue"] = tissue.to_numpy()
    views: dict[str, Any] = {"expression": completed(z, side).set_axis(index)}
    present = {"expression": np.ones(len(z), dtype=bool)}
    for view, table in side.views.items():
        if view != "expression":
            fill = np.nan if view == "culture" else 0.0
            views[view] = pd.DataFrame(fill, index, table.columns)
            present[view] = np.full(len(z), view == "culture")
    every = [list(notes) for _ in index]
    for i, part in enumerate(share):
        if part < 0.999:
            every[i].append(f"{int(100 * part)} % of the model's genes were given")
    return Asked(
        z.index.tolist(),
        z.index.tolist(),
        np.full(len(z), -1),
        np.arange(len(z)),
        Side("cell", frame, views=views, present=present),
        every,
        share,
    )


def on_model_scale(
    values: pd.DataFrame, side: Side, scale: str, file: Any = None
) -> tuple[pd.DataFrame, list[str]]:
    """(z-scores [lines, genes of the model], NaN for a gene that was not given; what to say).

    Raises
    ------
    DataError
        A scale that cannot be told, or raw values of too few lines where the model does not know
        the means and deviations of its genes.
    """
    genes = side.views["expression"].columns
    low, high = float(np.nanmin(values.to_numpy())), float(np.nanmax(values.to_numpy()))
    centre = float(np.nanmean(values.to_numpy()))
    known = side.scales.get("expression")
    notes = []
    if scale == "auto":
        if low < -0.2 and high < 40 and abs(centre) < 1:
            scale = "zscore"
        elif low >= 0 and high > 40:
            scale = "tpm"
        elif low >= 0 and known is not None and low < 0.5:
            scale = "log2tpm"
        elif len(values) >= FEWEST_LINES and known is None:
            scale = "cohort"
        else:
            raise DataError(
                f"expression from {low:.3g} to {high:.3g}: its scale cannot be told",
                file=file,
                remedy="say it: --scale zscore, log2tpm, tpm, or cohort (30 lines or more, "
                "standardised against each other)",
            )
        notes.append(f"expression was taken for {scale}")
    if scale in ("tpm", "log2tpm") and known is None:
        if len(values) < FEWEST_LINES:
            raise DataError(
                f"raw expression of {len(values)} line(s), and the model's table has z-scores "
                "without the means and deviations of its genes",
                file=file,
                remedy="give z-scores, or a cohort of at least 30 lines, or fit the model on "
                "tables of `clmt data prepare`, which keeps means and deviations",
            )
        scale = "cohort"
    x = values
    if scale == "tpm" or (scale == "cohort" and low >= 0 and high > 40):
        x = np.log2(x.clip(lower=0) + 1)
    if scale == "cohort":
        if len(x) < FEWEST_LINES:
            raise DataError(
                f"a cohort of {len(x)} lines",
                file=file,
                remedy=f"give at least {FEWEST_LINES} lines to standardise against each other",
            )
        x = (x - x.mean()) / x.std(ddof=0).where(x.std(ddof=0) > 1e-8, 1.0)
        notes.append("standardised against the lines of this table, not against the model's")
    elif scale in ("tpm", "log2tpm") and known is not None:
        there = [gene for gene in x.columns if gene in known.index]
        x = (x[there] - known.loc[there, "mean"]) / known.loc[there, "deviation"]
    return x.reindex(columns=genes), notes


def completed(z: pd.DataFrame, side: Side, ridge: float = 0.3) -> pd.DataFrame:
    """z-scores [lines, genes] without holes: a gene that was not given is predicted from those that
    were, by ridge regression among the lines that the model knows.
    """
    known = side.views["expression"].to_numpy(np.float64)[side.has("expression")]
    out = z.to_numpy(np.float64).copy()
    holes = np.isnan(out)
    for pattern in np.unique(holes, axis=0):
        rows = (holes == pattern).all(1)
        if not pattern.any():
            continue
        there = known[:, ~pattern]
        system = there @ there.T + ridge * there.shape[1] * np.eye(len(known))
        weight = np.linalg.solve(system, there @ out[rows][:, ~pattern].T)  # [known, lines]
        out[np.ix_(rows, pattern)] = weight.T @ known[:, pattern]
    return pd.DataFrame(out.astype(np.float32), z.index, z.columns)
