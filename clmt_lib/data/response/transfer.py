"""Two screens seen through one set of omics: fitted on the responses of one, asked about the
other's (chapter 09d).

The `Transfer` of a source and a target holds one benchmark: the lines and drugs of both, and the
responses of the *source alone*. Nothing the target measured can enter
a fit, because it is not in there. What the target measured stands beside it, turned so that a
higher value means a less sensitive line on every assay.
"""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib.data import RESPONSES
from clmt_lib.data import load_response as load_benchmark
from clmt_lib.data.grouping import group_compounds
from clmt_lib.data.response import ccle, gdsc
from clmt_lib.data.response.base import TARGETS, DrugResponse, cell_side, drug_side
from clmt_lib.data.response.joins import assemble, complete_lines, joined_pairs
from clmt_lib.data.splits import Split
from clmt_lib.io import DataError, locate, read_table

CATEGORIES = (
    "seen",
    "new_pair",
    "new_line",
    "new_drug",
    "new_both",
)  # what the training responses know of a pair that the target measured
ORIGINS = ("held_out", "natural")  # taken out of training here, or never measured by the source
VALID = {
    "seen": "mixed",
    "new_pair": "mixed",
    "new_line": "cell_blind",
    "new_drug": "drug_blind",
    "new_both": "drug_blind",
}  # settings are chosen on pairs new in the same way
VALID_PARTS = 10  # one part in ten of what may be trained on
SOURCE = "GDSC2 ln IC50 on CCLE lines: expression, mutation and copy number of 706 census genes"


def resistance(y: np.ndarray, target: str) -> np.ndarray:
    """Responses turned so that a higher value means a less sensitive line, whatever the assay: the
    only place where the sign of a target is handled.

    >>> resistance(np.array([1.0, 3.0]), "act_area").tolist()
    [-1.0, -3.0]

    Raises
    ------
    DataError
        Unknown target.
    """
    if target not in TARGETS:
        raise DataError(f"unknown target {target!r}", remedy=f"use one of: {', '.join(TARGETS)}")
    return np.asarray(y, dtype=np.float64) * (1.0 if TARGETS[target].sensitive == "low" else -1.0)


def load_source(folder: str | os.PathLike | None = None) -> DrugResponse:
    """GDSC2 on the lines of CCLE's omics, by DepMap id: the source of every transfer in this book.

    Returns
    -------
    DrugResponse named "gdsc2-on-ccle"; drugs are GDSC ids with a structure.

    Raises
    ------
    DataError
        From `locate`, `read_table` and `DrugResponse.from_tables`; a line under two ids.
    """
    folder = locate(folder)
    path = folder / "gdsc/response_gdsc2.parquet"
    table, omics = gdsc.read_responses(path), ccle.read_omics(folder)
    depmap = gdsc.read_cells(folder, "COSMIC_ID", table["SANGER_MODEL_ID"].unique())["depmap_id"]
    drugs = gdsc.read_drugs(folder)
    drugs = drugs[drugs["smiles"].notna()]
    pairs = pd.DataFrame(
        {
            "cell": table["COSMIC_ID"].astype(str).map(depmap),
            "drug": table["DRUG_ID"].astype(str),
            "ln_ic50": table["LN_IC50"],
        }
    )
    pairs = joined_pairs(pairs, complete_lines(omics), drugs.index, path)
    return assemble(
        "gdsc2-on-ccle",
        folder,
        gdsc.read_cells(folder, "DEPMAP_ID"),
        drugs.loc[sorted(pairs["drug"].unique(), key=int)],
        omics,
        pairs,
        path=path,
        drug_file="gdsc/drugs.parquet",
        omics_folder="ccle",
        scales=gdsc.read_scales(folder / "ccle"),
        licence=gdsc.LICENCE,
        source=SOURCE,
    )


def withheld(folder: str | os.PathLike | None = None, name: str | None = None) -> dict[str, Any]:
    """What the provider of a prepared folder keeps back for an external test, where it says so
    (`withheld_lines.csv`, `withheld_drugs.csv`).

    Parameters
    ----------
    name : a benchmark; then also how many of these lines stand in its own table of responses, with
        omics or without

    Returns
    -------
    {"lines": set of DepMap ids, "drugs": set of GDSC drug ids, "in_table": int or None}; empty
    where the folder keeps nothing back.
    """
    folder = locate(folder)
    out: dict[str, Any] = {"lines": set(), "drugs": set(), "in_table": None}
    lists = {key: folder / f"withheld_{key}.csv" for key in ("lines", "drugs")}
    if lists["drugs"].exists():
        out["drugs"] = set(read_table(lists["drugs"], ["DRUG_ID"])["DRUG_ID"].astype(str))
    if lists["lines"].exists():
        cosmic = read_table(lists["lines"], ["COSMIC_ID"])["COSMIC_ID"].astype("int64")
        ids = read_table(folder / "ids/cell_lines.parquet", ["COSMIC_ID", "DEPMAP_ID"]).dropna()
        out["lines"] = set(ids["DEPMAP_ID"][ids["COSMIC_ID"].astype("int64").isin(cosmic)])
        table = read_table(folder / RESPONSES[name]) if name else pd.DataFrame()
        found = [
            table[key].isin(those)
            for key, those in (("COSMIC_ID", cosmic), ("DEPMAP_ID", out["lines"]))
            if key in table
        ]
        out["in_table"] = (
            int(table.loc[np.any(found, axis=0)].iloc[:, 0].nunique()) if found else None
        )
    return out


@dataclass(frozen=True, eq=False)
class Transfer:
    """A source and a target, joined: born in `join`.

    Attributes
    ----------
    benchmark : DrugResponse with the lines and drugs of both screens, source first, and the
        responses of the source alone
    target : name of the target screen; `measures` is what it measured, a key of `TARGETS`
    pairs : [n, 2] positions (cell, drug) in `benchmark` of what the target measured
    y : [n] its values by `resistance`; censored : [n] bool, a bound
    y_source : [n] what the source measured of the same pair, NaN where nothing
    line_fold [C], drug_fold [D], pair_fold [C, D] : fold in which a shared line, drug or pair is
        held out of training; -1 where it never is
    folds : number of parts in which the shared ones are cut
    counts : lines, compounds and pairs of each side and of both
    """

    benchmark: DrugResponse
    target: str
    measures: str
    pairs: np.ndarray = field(repr=False)
    y: np.ndarray = field(repr=False)
    censored: np.ndarray = field(repr=False)
    y_source: np.ndarray = field(repr=False)
    line_fold: np.ndarray = field(repr=False)
    drug_fold: np.ndarray = field(repr=False)
    pair_fold: np.ndarray = field(repr=False)
    folds: int
    counts: dict

    def split(self, fold: int, category: str) -> Split:
        """Roles of the source's responses when `fold` is held out: test is what is held out, valid
        what is new to training as the pairs of `category` are.

        Validation takes a tenth of the pairs that are left (seen, new_pair), of the lines
        (new_line) or of the compounds (new_drug, new_both).
        """
        cell, drug = self.benchmark.pairs.T
        held = (
            (self.line_fold[cell] == fold)
            | (self.drug_fold[drug] == fold)
            | (self.pair_fold[cell, drug] == fold)
        )
        kind, rest = VALID[category], np.flatnonzero(~held)
        group = {
            "mixed": np.arange(len(cell)),
            "cell_blind": cell,
            "drug_blind": self.benchmark.drugs["compound"].factorize()[0][drug],
        }[kind][rest]
        names = np.unique(group)
        rng = np.random.default_rng([fold, sorted(set(VALID.values())).index(kind)])
        chosen = np.isin(group, rng.permutation(names)[: max(1, len(names) // VALID_PARTS)])
        return Split(
            kind,
            rest[~chosen],
            rest[chosen],
            np.flatnonzero(held),
            0,
            fold,
            self.folds,
            self.benchmark.name,
            self.benchmark.checksum,
        )

    def categories(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """([n] category, [n] origin) of the target's pairs when `fold` is held out; both empty text
        where a pair is part held out, part unknown.

        "held_out" pairs are those that the source measured too, so each has a ceiling; "natural"
        ones it never measured.
        """
        cell, drug = self.pairs.T
        known_cell, known_drug = (
            np.isin(np.arange(n), self.benchmark.pairs[:, side])
            for side, n in enumerate((self.benchmark.n_cells, self.benchmark.n_drugs))
        )
        absent = [~known_cell[cell], ~known_drug[drug]]
        held = [self.line_fold[cell] == fold, self.drug_fold[drug] == fold]
        both = np.isfinite(self.y_source)
        category, origin = (
            np.full(len(cell), "", dtype=object),
            np.full(len(cell), "", dtype=object),
        )
        for name, new in (("held_out", held), ("natural", absent)):
            other = absent if name == "held_out" else held
            plain = ~other[0] & ~other[1] & (both if name == "held_out" else ~both)
            for kind, rows in (
                ("new_line", new[0] & ~new[1]),
                ("new_drug", ~new[0] & new[1]),
                ("new_both", new[0] & new[1]),
            ):
                category[plain & rows], origin[plain & rows] = kind, name
        known = ~(absent[0] | absent[1] | held[0] | held[1])
        out = self.pair_fold[cell, drug] == fold
        for kind, name, rows in (
            ("seen", "held_out", both & ~out),
            ("new_pair", "held_out", both & out),
            ("new_pair", "natural", ~both),
        ):
            category[known & rows], origin[known & rows] = kind, name
        return category, origin


def join(source: DrugResponse, target: DrugResponse, folds: int = 4, seed: int = 0) -> Transfer:
    """The `Transfer` of two benchmarks on the same omics: lines joined by id, drugs by compound
    (name or first InChIKey block).

    Where several ids stand for one compound, the one with most responses is asked about, on either
    side; all ids of a compound are held out together.
    Shared lines, compounds and pairs are dealt to `folds` by `seed`, without a look at any
    response.

    Raises
    ------
    DataError
        Different genes; fewer shared lines or drugs than folds.
    """
    for kind in source.omics:
        if kind not in target.omics or list(source.omics[kind].columns) != list(
            target.omics[kind].columns
        ):
            raise DataError(
                f"{source.name} and {target.name} have different genes of {kind}",
                remedy="see both screens through one set of omics",
            )
    compound, place = _joined_drugs(source, target)
    lines = [line for line in target.cells.index if line not in set(source.cells.index)]
    new = [drug for drug in np.unique(target.pairs[:, 1]) if place[drug] >= source.n_drugs]
    benchmark = _union(source, target, lines, new, compound)
    at_cell, rows = (
        benchmark.cells.index.get_indexer(target.cells.index),
        np.flatnonzero(place[target.pairs[:, 1]] >= 0),
    )
    pairs = np.stack([at_cell[target.pairs[rows, 0]], place[target.pairs[rows, 1]]], axis=1)
    y_source = benchmark.matrix()[tuple(pairs.T)]
    line_fold, drug_fold, pair_fold = _dealt(benchmark, pairs, folds, seed)
    shared = pairs[np.isfinite(y_source)]
    counts = {
        "source": _count(source.pairs),
        "target": _count(target.pairs),
        "asked": _count(pairs),
        "both_measured": _count(shared),
        "shared_lines": int((line_fold >= 0).sum()),
        "shared_compounds": int(benchmark.drugs["compound"][drug_fold >= 0].nunique()),
        "new_lines": len(lines),
        "new_compounds": len(new),
    }
    return Transfer(
        benchmark,
        target.name,
        target.target,
        pairs,
        resistance(target.y[rows], target.target),
        target.censored[rows],
        resistance(y_source, source.target),
        line_fold,
        drug_fold,
        pair_fold,
        folds,
        counts,
    )


def _count(pairs: np.ndarray) -> dict[str, int]:
    return {
        "lines": len(np.unique(pairs[:, 0])),
        "drugs": len(np.unique(pairs[:, 1])),
        "pairs": len(pairs),
    }


def _joined_drugs(source: DrugResponse, target: DrugResponse) -> tuple[np.ndarray, np.ndarray]:
    """(compound of source drugs then target drugs, position in the union of each target drug): -1
    for a second id of one compound.
    """
    both = pd.concat(
        [frame[["name", "inchikey"]] for frame in (source.drugs, target.drugs)], ignore_index=True
    )
    compound = group_compounds(both).to_numpy()
    measured = [np.bincount(part.pairs[:, 1], minlength=part.n_drugs) for part in (source, target)]
    first: dict[str, int] = {}
    second: dict[str, int] = {}
    for ids, counts, offset in ((first, measured[0], 0), (second, measured[1], source.n_drugs)):
        for drug in np.argsort(-counts, kind="stable"):
            ids.setdefault(compound[offset + drug], drug)
    place, after = np.full(target.n_drugs, -1), source.n_drugs
    for drug in range(target.n_drugs):
        name = compound[source.n_drugs + drug]
        if second[name] == drug:
            place[drug] = first.get(name, after)
            after += name not in first
    return compound, place


def _union(
    source: DrugResponse,
    target: DrugResponse,
    lines: list[str],
    new: list[int],
    compound: np.ndarray,
) -> DrugResponse:
    """The source with the target's lines and drugs that it lacks, and no response of theirs."""
    drugs = target.drugs.iloc[new]
    more = (
        [cell_side(target.cells.loc[lines], {k: v.loc[lines] for k, v in target.omics.items()})]
        if lines
        else []
    )
    more += [drug_side(drugs.set_axis(f"{target.name} " + drugs.index))] if len(new) else []
    joined = source.extended(*more, name=f"{source.name}+{target.name}")
    after = compound[source.n_drugs + np.array(new, dtype=int)]
    drugs = joined.drugs.assign(compound=np.concatenate([compound[: source.n_drugs], after]))
    return joined.with_frames(drug=drugs)


def _dealt(
    benchmark: DrugResponse, pairs: np.ndarray, folds: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Folds of shared lines [C], drugs [D] and pairs [C, D], -1 where not shared."""
    rng = np.random.default_rng([seed, folds])
    compound = benchmark.drugs["compound"].factorize()[0]
    asked = np.zeros((benchmark.n_cells, benchmark.n_drugs), dtype=bool)
    asked[tuple(pairs.T)] = True
    there = np.isfinite(benchmark.matrix())
    out = []
    for known, wanted, group in (
        (there.any(1), asked.any(1), np.arange(benchmark.n_cells)),
        (there.any(0), asked.any(0), compound),
    ):
        names = np.intersect1d(group[known], group[wanted])
        if len(names) < folds:
            raise DataError(
                f"{len(names)} lines or drugs are shared, {folds} folds need as many",
                remedy="use fewer folds, or screens that share more",
            )
        fold = np.full(group.max() + 1, -1)
        fold[rng.permutation(names)] = np.arange(len(names)) % folds
        out.append(fold[group])
    pair = np.where(asked & there, rng.integers(0, folds, asked.shape), -1)
    return out[0], out[1], pair


SOURCES = {"gdsc2": load_source}


def load(
    source: str,
    dataset: str,
    folds: int = 4,
    folder: str | os.PathLike | None = None,
    words: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    **options: Any,
) -> Transfer:
    """Read two screens and `join` them.

    Parameters
    ----------
    source : a key of `SOURCES`
    dataset : the target, a benchmark on CCLE's omics (ccle, ctrp); `options` go to its reader
    words : function from the target's table of drugs to one in the words of the source's table
        (targets, pathways), or None

    Raises
    ------
    DataError
        Unknown source; from the readers and `join`; a withheld line or drug among the source's
        responses.
    """
    if source not in SOURCES:
        raise DataError(f"unknown source {source!r}", remedy=f"use {', '.join(SOURCES)}")
    known, asked, kept_back = (
        SOURCES[source](folder),
        load_benchmark(dataset, folder=folder, **options),
        withheld(folder, dataset),
    )
    if kept_back["lines"] & set(known.cells.index) or kept_back["drugs"] & set(known.drugs.index):
        raise DataError(
            f"{source} holds responses of withheld lines or drugs: they are for testing alone",
            remedy="use the prepared folder as it is provided",
        )
    joined = join(known, asked.with_frames(drug=words(asked.drugs)) if words else asked, folds)
    tested = kept_back["lines"] & set(joined.benchmark.cells.index[np.unique(joined.pairs[:, 0])])
    about = {
        "lines_in_table": kept_back["in_table"],
        "lines_tested": len(tested),
        "compounds_tested": _of_compounds(kept_back["drugs"], joined, folder),
        "trained": 0,
    }
    return replace(joined, counts={**joined.counts, "withheld": about})


def _of_compounds(ids: Collection[str], joined: Transfer, folder: str | os.PathLike | None) -> int:
    """How many compounds asked about are those of these GDSC ids."""
    table = gdsc.read_drugs(locate(folder))
    table = table[table.index.isin(ids)]
    asked = joined.benchmark.drugs.iloc[np.unique(joined.pairs[:, 1])]
    compound = group_compounds(
        pd.concat([table[["name", "inchikey"]], asked[["name", "inchikey"]]], ignore_index=True)
    )
    return len(set(compound[: len(table)]) & set(compound[len(table) :]))


def invented_screens(
    world: DrugResponse, seed: int = 0, share: float = 0.75, noise: float = 1.0
) -> tuple[DrugResponse, DrugResponse]:
    """Two screens of one simulated world, as two laboratories might run them (chapter 09d): a
    source that reports ln IC50, and a target that reports an area, higher if sensitive.

    Each tries a `share` of the lines and of the compounds, chosen by `seed`; what both try is what
    they share. The target adds `noise` (sd, ln uM) of its own to what the
    world holds, and turns it into an area between 0 and 8.

    Returns
    -------
    (source, target) : DrugResponse named "first-lab" and "second-lab"
    """
    rng = np.random.default_rng(seed)
    compound = world.drugs["compound"].factorize()[0]
    lines, compounds = rng.permutation(world.n_cells), rng.permutation(compound.max() + 1)
    y = world.y + noise * rng.standard_normal(len(world))
    area = 8 / (1 + np.exp((y - np.median(y)) / 2))
    first = _part(
        world,
        lines[: round(share * len(lines))],
        np.isin(compound, compounds[: round(share * len(compounds))]),
        world.y,
        "first-lab",
        "ln_ic50",
    )
    second = _part(
        world,
        lines[-round(share * len(lines)) :],
        np.isin(compound, compounds[-round(share * len(compounds)) :]),
        area,
        "second-lab",
        "act_area",
    )
    return first, second


def _part(
    world: DrugResponse,
    lines: np.ndarray,
    drugs: np.ndarray,
    y: np.ndarray,
    name: str,
    target: str,
) -> DrugResponse:
    cell, drug = world.pairs.T
    rows = np.flatnonzero(np.isin(cell, lines) & drugs[drug])
    cells, drugs = (
        frame.iloc[np.unique(which[rows])]
        for frame, which in ((world.cells, cell), (world.drugs, drug))
    )
    pairs = pd.DataFrame(
        {
            "cell": world.cells.index[cell[rows]],
            "drug": world.drugs.index[drug[rows]],
            target: y[rows],
        }
    )
    return DrugResponse.from_tables(
        name,
        cells,
        drugs,
        {kind: table.loc[cells.index] for kind, table in world.omics.items()},
        pairs,
        target=target,
        trust_units=True,
        licence=world.licence,
        source=world.source,
        simulated=world.simulated,
    )
