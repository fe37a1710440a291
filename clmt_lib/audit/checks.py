"""The sets of a split, the promise of its kind, and what transforms, graphs and auxiliary targets
declare.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib.audit.identity import entities, noun, one_of
from clmt_lib.audit.report import Finding
from clmt_lib.data.base import Benchmark, Side
from clmt_lib.data.grouping import scaffold_of, skeletons
from clmt_lib.data.splits import Split

PAIRS_OF_SETS = (("train", "test"), ("train", "valid"), ("valid", "test"))


def broken_split(benchmark: Benchmark, split: Split) -> Iterator[Finding]:
    """Findings: other data, empty or overlapping sets, positions twice or out of range."""
    where = f"split {split.kind}"
    if (split.benchmark, split.checksum) != (benchmark.name, benchmark.checksum):
        made = (
            f"made for {split.benchmark} {split.checksum}, the data is {benchmark.name} "
            f"{benchmark.checksum}"
        )
        yield Finding(
            "wrong data", where, made, "use the data it was made for, or make the split anew"
        )
    for name, positions in split.sets().items():
        if not len(positions):
            if name == "valid" and split.parts is not None:
                continue  # settings are chosen over folds of train
            yield Finding("empty set", where, f"{name} has no pair", "use more data or fewer folds")
        elif positions.min() < 0 or positions.max() >= len(benchmark):
            yield Finding(
                "wrong data",
                where,
                f"{name} has a position outside the {len(benchmark)} responses",
                "make the split anew",
            )
        if len(np.unique(positions)) < len(positions):
            yield Finding(
                "position twice",
                where,
                f"{name} lists {len(positions) - len(np.unique(positions))} positions twice",
                "make the split anew",
            )
    for one, other in PAIRS_OF_SETS:
        shared = np.intersect1d(split.sets()[one], split.sets()[other])
        if len(shared):
            yield Finding(
                "sets overlap",
                where,
                f"{len(shared)} pairs are in {one} and in {other} (first: position {shared[0]})",
                "sets must be disjoint: make the split anew",
            )


def _promised(benchmark: Benchmark, kind: str) -> Iterator[tuple[str, int, np.ndarray, np.ndarray]]:
    """For each thing the kind of split blinds: its name, column of `pairs`, label of each entity,
    title of each entity.
    """
    for axis, key in benchmark.blinded(kind):
        side = benchmark.sides[axis]
        yield one_of(side), axis, entities(side), side.frame["name"].to_numpy()
        if key == "scaffold":  # found again without the grouping that the split used
            title = _scaffolds(side)
            yield key, axis, pd.factorize(title)[0], title
        elif key not in (side.name, side.identity):
            label = side.keys[key]
            title = side.frame[key].fillna("unknown").to_numpy() if key in side.frame else label
            yield key, axis, pd.factorize(label)[0], title


def _scaffolds(side: Side) -> np.ndarray:
    """[n] Bemis-Murcko scaffold; a structure without a ring, and a missing one, stands alone."""
    found = [scaffold_of(smiles) for smiles in side.frame["smiles"]]
    return np.array([smiles or f"none {row}" for row, smiles in enumerate(found)], dtype=object)


def broken_promise(benchmark: Benchmark, split: Split) -> Iterator[Finding]:
    """Findings: a line, compound, sequence, scaffold or tissue in two sets of a split that promises
    otherwise, under one id or several.
    """
    for what, axis, label, title in _promised(benchmark, split.kind):
        ids = benchmark.sides[axis].ids
        inside = {name: np.unique(benchmark.pairs[at, axis]) for name, at in split.sets().items()}
        for one, other in PAIRS_OF_SETS:
            shared = np.intersect1d(label[inside[one]], label[inside[other]])
            if not len(shared):
                continue
            first = [
                [row for row in inside[name] if label[row] == shared[0]] for name in (one, other)
            ]
            under = " and ".join(sorted({str(ids[row]) for rows in first for row in rows})[:4])
            more = f" (and {len(shared) - 1} more)" if len(shared) > 1 else ""
            text = (
                f"{what} {str(title[first[0][0]])!r} under id {under} is in {one} and in {other}"
                f"{more}"
            )
            yield Finding(
                f"shared {what}",
                f"split {split.kind}",
                text,
                f"keep all pairs of one {what} in one set, as make_split does",
            )


def shared_structures(benchmark: Benchmark, split: Split) -> Iterator[Finding]:
    """Findings: molecules of one connectivity (stereoisomers), or of one achiral scaffold, in two
    sets of a split that promises to hold whole molecules, or scaffolds, out; with their share.

    Published splits keep chirality in the scaffold: their groups are not what they seem.
    """
    for axis, key in benchmark.blinded(split.kind):
        side = benchmark.sides[axis]
        if not has_molecules(side):
            continue
        labels = {"connectivity": pd.factorize(skeletons(side.frame["inchikey"]))[0]}
        if key == "scaffold":
            labels["achiral scaffold"] = pd.factorize(_scaffolds(side))[0]
        inside = {name: np.unique(benchmark.pairs[at, axis]) for name, at in split.sets().items()}
        for what, label in labels.items():
            for known, asked in PAIRS_OF_SETS:
                shared = np.isin(label[inside[asked]], label[inside[known]])
                shared &= ~np.isin(inside[asked], inside[known])  # `broken_promise` names those
                if shared.any():
                    first = side.ids[inside[asked][shared.argmax()]]
                    yield Finding(
                        f"{what} in two sets",
                        f"split {split.kind}",
                        f"{int(shared.sum())} of {len(shared)} {side.name}s of {asked} "
                        f"({shared.mean():.0%}) share their {what} with one of {known} "
                        f"(first: {first})",
                        "keep whole groups together (rule 'scaffold'), or report both parts of "
                        f"{asked}",
                    )


def has_molecules(side: Side) -> bool:
    """Whether the entities of a side are molecules with known keys."""
    return side.name == "molecule" and "inchikey" in side.frame and "smiles" in side.frame


def replicates(benchmark: Benchmark, split: Split) -> Iterator[Finding]:
    """Note test pairs whose line and compound (or sequence and compound) were measured in train
    under another id: a mixed split may hold them, but should say so.
    """
    rows, columns = (entities(side) for side in benchmark.sides)
    row, column = benchmark.pairs.T
    pair = rows[row] * benchmark.shape[1] + columns[column]
    seen = np.isin(pair[split.test], pair[split.train])
    if seen.any():
        several = [len(np.unique(label)) < len(label) for label in (rows, columns)]
        axis = 0 if several == [True, False] else 1  # the side that has one thing under two ids
        side = benchmark.sides[axis]
        first = benchmark.pairs[split.test[np.flatnonzero(seen)[0]], axis]
        known = side.frame["compound" if "compound" in side.frame else "name"]
        text = (
            f"{int(seen.sum())} of {len(seen)} test pairs have a replicate in train: the same "
            f"{' and '.join(map(one_of, benchmark.sides))} under another id "
            f"(first: {known.iloc[first]!r})"
        )
        yield Finding(
            "replicate measurements",
            f"split {split.kind}",
            text,
            f"say so beside the result, or keep one id for each {one_of(side)}",
            note=True,
        )


def bounds(benchmark: Benchmark) -> Iterator[Finding]:
    """Note responses that are bounds: a model or metric that reads them as measurements may be
    used, but its user should know.
    """
    bound = benchmark.censored
    if bound.any():
        columns = pd.Series(bound).groupby(benchmark.pairs[:, 1]).mean()
        worst = benchmark.sides[1].frame["name"].iloc[columns.idxmax()]
        text = (
            f"{int(bound.sum())} of {len(bound)} responses are bounds (most often of "
            f"{worst!r}: {columns.max():.0%}), and every model and metric here reads them as "
            "measured"
        )
        uncapped = " (ccle: act_area)" if benchmark.target == "ln_ic50" else ""
        yield Finding(
            "censored responses",
            f"responses of {benchmark.name}",
            text,
            "report rmse_measured and ranks beside the RMSE, or use a target without a cap"
            + uncapped,
            note=True,
        )


def listed(things: Any) -> tuple:
    """One thing, several or None, as a tuple."""
    return (
        () if things is None else tuple(things) if isinstance(things, (list, tuple)) else (things,)
    )


def name_of(thing: Any) -> str:
    """Class of a fitted thing, and its own name where it has one."""
    own = next(
        (
            getattr(thing, key)
            for key in ("name", "kind")
            if isinstance(getattr(thing, key, None), str)
        ),
        "",
    )
    return f"{type(thing).__name__} {own}".strip()


def _fitted_on(thing: Any) -> np.ndarray | None:
    positions = getattr(thing, "fitted_on", None)
    if positions is None:
        return None
    positions = np.asarray(positions)
    return (
        np.flatnonzero(positions)
        if positions.dtype == bool
        else np.unique(positions.astype(np.int64))
    )


def _unproven(thing: Any, what: str) -> Finding:
    return Finding(
        "no proof",
        f"{what} {name_of(thing)}",
        "it does not say what it was fitted on",
        "give it `fitted_on`, or use proves_blind",
    )


def transform(benchmark: Benchmark, split: Split, fitted: Any) -> Iterator[Finding]:
    """Findings: a transform fitted on entities without a training pair; its `entity` names the side
    (the first, where it does not say).
    """
    used = _fitted_on(fitted)
    if used is None:
        yield _unproven(fitted, "transform")
        return
    axis = benchmark.axis(getattr(fitted, "entity", benchmark.sides[0].name))
    side = benchmark.sides[axis]
    table, what = side.frame, f"{noun(side)}s"
    sets = {name: np.unique(benchmark.pairs[at, axis]) for name, at in split.sets().items()}
    stray = np.setdiff1d(used, sets["train"])
    if len(stray):
        first = stray[0]
        name = (
            repr(table["name"].iloc[first])
            if 0 <= first < len(table)
            else f"position {first}, outside the table"
        )
        known = next(
            (
                f", of the {word} set"
                for name, word in (("test", "test"), ("valid", "validation"))
                if first in sets[name]
            ),
            "",
        )
        text = (
            f"{len(stray)} of the {len(used)} {what} it was fitted on have no training "
            f"pair (first: {name}{known})"
        )
        yield Finding(
            "fitted beyond train",
            f"transform {name_of(fitted)}",
            text,
            f"fit on the {what} of split.train, then apply to all",
        )


def graph(benchmark: Benchmark, split: Split, edges: Any) -> Iterator[Finding]:
    """Findings: response edges beyond the training pairs; as a note, similarity edges that touch
    unseen entities.
    """
    edges = getattr(edges, "edge_index_dict", edges)  # a HeteroData's
    names = tuple(side.name for side in benchmark.sides)
    edges = edges if isinstance(edges, Mapping) else {(names[0], "response", names[1]): edges}
    for (source, relation, target), index in edges.items():
        index = np.asarray(index)
        if index.ndim != 2 or index.shape[0] != 2:
            raise ValueError(f"edges {relation!r} have shape {index.shape}, not [2, E]")
        if {source, target} == set(names):
            yield from _response_edges(
                benchmark, split, relation, index if source == names[0] else index[::-1]
            )
        elif source == target and source in names:
            yield from _similarity_edges(benchmark, split, relation, benchmark.side(source), index)


def _response_edges(
    benchmark: Benchmark, split: Split, relation: str, index: np.ndarray
) -> Iterator[Finding]:
    rows, columns = benchmark.shape
    pair, edge = (row * columns + column for row, column in (benchmark.pairs.T, index))
    there = (index >= 0).all(0) & (index[0] < rows) & (index[1] < columns)
    edge = np.where(there, edge, -1)
    remedy = "build response edges from split.train alone"
    for name in ("test", "valid"):
        inside = np.isin(edge, pair[split.sets()[name]]) & ~np.isin(edge, pair[split.train])
        if inside.any():
            first = ", ".join(
                f"{noun(side)} {side.frame['name'].iloc[at]!r}"
                for side, at in zip(benchmark.sides, index[:, inside.argmax()])
            )
            yield Finding(
                f"{name} edges in the graph",
                f"edges {relation!r}",
                f"{inside.sum()} of {len(edge)} edges are {name} pairs (first: {first})",
                remedy,
            )
    unknown = ~np.isin(edge, pair)
    if unknown.any():
        yield Finding(
            "edges nobody measured",
            f"edges {relation!r}",
            f"{unknown.sum()} of {len(edge)} edges are no pair of the benchmark",
            remedy,
        )


def _similarity_edges(
    benchmark: Benchmark, split: Split, relation: str, side: Side, index: np.ndarray
) -> Iterator[Finding]:
    unseen = np.setdiff1d(index, benchmark.pairs[split.train, benchmark.axis(side.name)])
    if len(unseen):
        text = (
            f"edges touch {len(unseen)} {side.name}s without a training pair: their features, "
            "not their responses, shape the graph"
        )
        yield Finding(
            "transductive graph",
            f"edges {relation!r}",
            text,
            "call the result transductive, or join unseen entities only at prediction",
            note=True,
        )


def auxiliary(benchmark: Benchmark, split: Split, target: Any) -> Iterator[Finding]:
    """Findings: an auxiliary target computed from responses beyond train."""
    fitted = _fitted_on(target)
    if fitted is None:
        yield _unproven(target, "auxiliary target")
        return
    stray = np.setdiff1d(fitted, split.train)
    if len(stray):
        shares = ", ".join(
            f"{n} {name}"
            for name in ("test", "valid")
            if (n := len(np.intersect1d(stray, split.sets()[name])))
        )
        text = (
            f"{len(stray)} of the {len(fitted)} responses it was computed from are not "
            f"training pairs ({shares or 'outside the split'})"
        )
        yield Finding(
            "target computed beyond train",
            f"auxiliary target {name_of(target)}",
            text,
            "compute it from split.train alone",
        )
