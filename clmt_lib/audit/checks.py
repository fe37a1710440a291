"""The roles of a split, the promise of its kind, and what transforms, graphs and auxiliary targets
declare.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from clmt_lib.audit.identity import cell_twins, drug_twins, joined
from clmt_lib.audit.report import Finding
from clmt_lib.data.grouping import pathway_groups, target_groups

PROMISES = {
    "cell_blind": ("line",),
    "drug_blind": ("compound",),
    "scaffold_blind": ("compound", "scaffold"),
    "tissue_blind": ("line", "tissue"),
    "target_blind": ("compound", "target"),
    "pathway_blind": ("compound", "pathway"),
}
ROLE_PAIRS = (("train", "test"), ("train", "valid"), ("valid", "test"))


def broken_split(benchmark, split):
    """Findings: other data, empty or overlapping roles, positions twice or out of range."""
    where = f"split {split.kind}"
    if (split.benchmark, split.checksum) != (benchmark.name, benchmark.checksum):
        made = (
            f"made for {split.benchmark} {split.checksum}, the data is {benchmark.name} "
            f"{benchmark.checksum}"
        )
        yield Finding(
            "wrong data", where, made, "use the data it was made for, or make the split anew"
        )
    for name, role in split.sets().items():
        if not len(role):
            yield Finding(
                "empty role", where, f"{name} has no pair", "use more data or fewer folds"
            )
        elif role.min() < 0 or role.max() >= len(benchmark):
            yield Finding(
                "wrong data",
                where,
                f"{name} has a position outside the {len(benchmark)} responses",
                "make the split anew",
            )
        if len(np.unique(role)) < len(role):
            yield Finding(
                "position twice",
                where,
                f"{name} lists {len(role) - len(np.unique(role))} positions twice",
                "make the split anew",
            )
    for one, other in ROLE_PAIRS:
        shared = np.intersect1d(split.sets()[one], split.sets()[other])
        if len(shared):
            yield Finding(
                "roles overlap",
                where,
                f"{len(shared)} pairs are in {one} and in {other} (first: position {shared[0]})",
                "roles must be disjoint: make the split anew",
            )


def _promised(benchmark, kind):
    """For each thing the kind of split blinds: its name, column of `pairs`, label of each entity,
    title of each entity.
    """
    from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

    cells, drugs, promises = benchmark.cells, benchmark.drugs, PROMISES.get(kind, ())
    if "line" in promises:
        yield "line", 0, joined(cells.index, cell_twins(benchmark)[0]), cells["name"].to_numpy()
    if "tissue" in promises:
        tissue = cells["tissue"].fillna("unknown")
        yield "tissue", 0, pd.factorize(tissue)[0], tissue.to_numpy()
    if "compound" in promises:
        yield (
            "compound",
            1,
            joined(drugs["compound"], drug_twins(benchmark)),
            drugs["name"].to_numpy(),
        )
    if "scaffold" in promises:
        scaffold = [
            MurckoScaffoldSmiles(smiles, includeChirality=False) if isinstance(smiles, str) else ""
            for smiles in drugs["smiles"]
        ]
        title = np.array(
            [smiles or f"none {row}" for row, smiles in enumerate(scaffold)], dtype=object
        )  # without a ring: alone
        yield "scaffold", 1, pd.factorize(title)[0], title
    for what, grouped in (("target", target_groups), ("pathway", pathway_groups)):
        if what in promises:
            yield what, 1, pd.factorize(grouped(drugs))[0], drugs[what].fillna("unknown").to_numpy()


def broken_promise(benchmark, split):
    """Findings: a line, compound, scaffold or tissue in two roles of a split that promises
    otherwise, under one id or several.
    """
    for what, column, label, title in _promised(benchmark, split.kind):
        ids = (benchmark.cells, benchmark.drugs)[column].index
        entities = {
            name: np.unique(benchmark.pairs[role, column]) for name, role in split.sets().items()
        }
        for one, other in ROLE_PAIRS:
            shared = np.intersect1d(label[entities[one]], label[entities[other]])
            if not len(shared):
                continue
            first = [
                [row for row in entities[name] if label[row] == shared[0]] for name in (one, other)
            ]
            under = " and ".join(sorted({str(ids[row]) for rows in first for row in rows})[:4])
            more = f" (and {len(shared) - 1} more)" if len(shared) > 1 else ""
            text = (
                f"{what} {title[first[0][0]]!r} under id {under} is in {one} and in {other}{more}"
            )
            yield Finding(
                f"shared {what}",
                f"split {split.kind}",
                text,
                f"keep all pairs of one {what} in one role, as make_split does",
            )


def replicates(benchmark, split):
    """Note test pairs whose line and compound were measured in train under another id: a mixed
    split may hold them, but should say so.
    """
    cell, drug = benchmark.pairs.T
    lines, compounds = (
        joined(benchmark.cells.index, cell_twins(benchmark)[0]),
        joined(benchmark.drugs["compound"], drug_twins(benchmark)),
    )
    pair = lines[cell] * benchmark.n_drugs + compounds[drug]
    seen = np.isin(pair[split.test], pair[split.train])
    if seen.any():
        example = benchmark.drugs["compound"].iloc[drug[split.test[np.flatnonzero(seen)[0]]]]
        text = (
            f"{int(seen.sum())} of {len(seen)} test pairs have a replicate in train: the "
            f"same line and compound under another id (first: {example!r})"
        )
        yield Finding(
            "replicate measurements",
            f"split {split.kind}",
            text,
            "say so beside the result, or keep one id for each compound",
            note=True,
        )


def bounds(benchmark):
    """Note responses that are bounds: a model or metric that reads them as measurements may be
    used, but its user should know.
    """
    bound = benchmark.censored
    if bound.any():
        drugs = pd.Series(bound).groupby(benchmark.pairs[:, 1]).mean()
        worst = benchmark.drugs["name"].iloc[drugs.idxmax()]
        text = (
            f"{int(bound.sum())} of {len(bound)} responses are bounds (most often of "
            f"{worst!r}: {drugs.max():.0%}), and every model and metric here reads them as "
            "measured"
        )
        yield Finding(
            "censored responses",
            f"responses of {benchmark.name}",
            text,
            "report rmse_measured and ranks beside the RMSE, or use a target without a cap "
            "(ccle: act_area)",
            note=True,
        )


def listed(things):
    """One thing, several or None, as a tuple."""
    return (
        () if things is None else tuple(things) if isinstance(things, (list, tuple)) else (things,)
    )


def name_of(thing):
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


def _fitted_on(thing):
    positions = getattr(thing, "fitted_on", None)
    if positions is None:
        return None
    positions = np.asarray(positions)
    return (
        np.flatnonzero(positions)
        if positions.dtype == bool
        else np.unique(positions.astype(np.int64))
    )


def _unproven(thing, what):
    return Finding(
        "no proof",
        f"{what} {name_of(thing)}",
        "it does not say what it was fitted on",
        "give it `fitted_on`, or use proves_blind",
    )


def transform(benchmark, split, fitted):
    """Findings: a transform fitted on lines (or drugs) without a training pair."""
    entities = _fitted_on(fitted)
    if entities is None:
        yield _unproven(fitted, "transform")
        return
    column, what, table = (
        (1, "drugs", benchmark.drugs)
        if getattr(fitted, "entity", "cell") == "drug"
        else (0, "lines", benchmark.cells)
    )
    roles = {name: np.unique(benchmark.pairs[role, column]) for name, role in split.sets().items()}
    stray = np.setdiff1d(entities, roles["train"])
    if len(stray):
        first = stray[0]
        name = (
            repr(table["name"].iloc[first])
            if 0 <= first < len(table)
            else f"position {first}, outside the table"
        )
        role = next(
            (f", of the {role} role" for role in ("test", "valid") if first in roles[role]), ""
        )
        text = (
            f"{len(stray)} of the {len(entities)} {what} it was fitted on have no training "
            f"pair (first: {name}{role})"
        )
        yield Finding(
            "fitted beyond train",
            f"transform {name_of(fitted)}",
            text,
            f"fit on the {what} of split.train, then apply to all",
        )


def graph(benchmark, split, edges):
    """Findings: response edges beyond the training pairs; as a note, similarity edges that touch
    unseen entities.
    """
    edges = getattr(edges, "edge_index_dict", edges)  # a HeteroData's
    edges = edges if isinstance(edges, Mapping) else {("cell", "response", "drug"): edges}
    for (source, relation, target), index in edges.items():
        index = np.asarray(index)
        if index.ndim != 2 or index.shape[0] != 2:
            raise ValueError(f"edges {relation!r} have shape {index.shape}, not [2, E]")
        if {source, target} == {"cell", "drug"}:
            yield from _response_edges(
                benchmark, split, relation, index if source == "cell" else index[::-1]
            )
        elif source == target and source in ("cell", "drug"):
            yield from _similarity_edges(benchmark, split, relation, source, index)


def _response_edges(benchmark, split, relation, index):
    pair, edge = (cell * benchmark.n_drugs + drug for cell, drug in (benchmark.pairs.T, index))
    edge = np.where(
        (index >= 0).all(0) & (index[0] < benchmark.n_cells) & (index[1] < benchmark.n_drugs),
        edge,
        -1,
    )
    remedy = "build response edges from split.train alone"
    for name in ("test", "valid"):
        inside = np.isin(edge, pair[split.sets()[name]]) & ~np.isin(edge, pair[split.train])
        if inside.any():
            cell, drug = index[:, inside.argmax()]
            first = (
                f"line {benchmark.cells['name'].iloc[cell]!r}, drug "
                f"{benchmark.drugs['name'].iloc[drug]!r}"
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


def _similarity_edges(benchmark, split, relation, entity, index):
    unseen = np.setdiff1d(index, benchmark.pairs[split.train, int(entity == "drug")])
    if len(unseen):
        text = (
            f"edges touch {len(unseen)} {entity}s without a training pair: their features, "
            "not their responses, shape the graph"
        )
        yield Finding(
            "transductive graph",
            f"edges {relation!r}",
            text,
            "call the result transductive, or join unseen entities only at prediction",
            note=True,
        )


def auxiliary(benchmark, split, target):
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
