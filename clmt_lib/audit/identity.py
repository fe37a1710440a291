"""One thing under two names: entities that are the same although the tables call them different."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib.audit.report import Finding
from clmt_lib.data.base import Benchmark, Side
from clmt_lib.data.grouping import parent_key, skeletons

REGISTRY_IDS = ("sanger_model_id", "depmap_id", "cosmic_id", "rrid")
NOUNS = {"cell": "line"}  # what prose calls an entity, where that is not the side's name
Twins = dict[tuple[int, int], list[str]]


def noun(side: Side) -> str:
    """What a message calls an entity of a side: "line", "drug", "protein"."""
    return NOUNS.get(side.name, side.name)


def one_of(side: Side) -> str:
    """What is one and the same under several ids: "line", "compound", "sequence"."""
    return noun(side) if side.identity == side.name else side.identity


def _evidence(columns: Mapping[str, Any]) -> pd.DataFrame:
    """Long frame (row, key, value) of what could show two entities to be one; several values in one
    cell are split at ';'.
    """
    parts = []
    for key, values in columns.items():
        known = pd.Series(list(values), dtype=object).dropna().astype(str)
        known = known.str.split(";").explode().str.strip()
        known = known[known != ""]
        parts.append(pd.DataFrame({"row": known.index, "key": key, "value": known.to_numpy()}))
    return pd.concat(parts, ignore_index=True).drop_duplicates()


def _pairs_of_one(evidence: pd.DataFrame, label: np.ndarray) -> Twins:
    """{(row, row): [keys]} of entities that share evidence while their labels say they are
    different.
    """
    found: Twins = {}
    shared = evidence[evidence.duplicated(["key", "value"], keep=False)]
    for (key, _), group in shared.groupby(["key", "value"], sort=False):
        rows = group["row"].to_numpy()
        for one in range(len(rows)):
            for other in rows[one + 1 :]:
                if label[rows[one]] != label[other]:
                    found.setdefault((int(rows[one]), int(other)), []).append(str(key))
    return found


def joined(label: np.ndarray | pd.Series | pd.Index, pairs: Twins) -> np.ndarray:
    """[n] labels as integers, with those of each pair made one."""
    label = pd.factorize(np.asarray(label, dtype=object))[0]
    for one, other in pairs:
        label[label == label[other]] = label[one]
    return label


def _stripped(names: pd.Series) -> pd.Series:
    plain = names.astype(str).str.lower().str.replace(r"[^a-z0-9]", "", regex=True)
    return plain.where(names.notna())


def twins(side: Side) -> tuple[Twins, Twins]:
    """Pairs of entities that are one although their labels of `side.identity` differ, each with
    what they share (name, registry id, parent structure, InChIKey block, sequence, expression
    profile); and pairs that only share a name, while their registry ids differ.
    """
    frame = side.frame
    columns: dict[str, Any] = {"name": _stripped(frame["name"])}
    known = [key for key in REGISTRY_IDS if key in frame]
    columns |= {key: frame[key] for key in known}
    if "smiles" in frame:
        structures = (smiles if isinstance(smiles, str) else None for smiles in frame["smiles"])
        columns["parent structure"] = [parent_key(smiles) for smiles in structures]
    if "inchikey" in frame:
        columns["first InChIKey block"] = skeletons(frame["inchikey"])
    if "sequence" in side.views:
        columns["sequence"] = side.views["sequence"]
    if "expression" in side.views:
        profiles: np.ndarray = np.asarray(side.views["expression"])
        columns["expression profile"] = [
            row.tobytes().hex() if there else None
            for row, there in zip(profiles, side.has("expression"), strict=True)
        ]
    found = _pairs_of_one(_evidence(columns), side.keys[side.identity])
    namesakes: Twins = {}
    for pair, keys in list(found.items()):
        one, other = (frame.iloc[row] for row in pair)
        if keys == ["name"] and any(
            pd.notna(one[key]) and pd.notna(other[key]) and one[key] != other[key] for key in known
        ):
            namesakes[pair] = found.pop(pair)
    return found, namesakes


def entities(side: Side) -> np.ndarray:
    """[n] integer label of what is one and the same, by the table's own word and by `twins`."""
    return joined(side.keys[side.identity], twins(side)[0])


def same_things(benchmark: Benchmark, side: Side) -> Iterator[Finding]:
    """Findings: one entity under two labels; as a note, two entities under one name."""
    where, what = f"{side.name}s of {benchmark.name}", one_of(side)
    found, namesakes = twins(side)
    own = side.identity == side.name
    for (one, other), keys in found.items():
        names = " and ".join(_named(side, row, own) for row in (one, other))
        yield Finding(
            f"one {what} under two {'ids' if own else 'names'}",
            where,
            f"{names} share {', '.join(keys)}",
            "keep one id, or give both one row" if own else f"give them one value of `{what}`",
        )
    for one, other in namesakes:
        names = " and ".join(_named(side, row, True) for row in (one, other))
        yield Finding(
            f"two {noun(side)}s of one name",
            where,
            f"{names} have different registry ids",
            f"join tables of {noun(side)}s by id, never by name",
            note=True,
        )


def _named(side: Side, row: int, by_id: bool) -> str:
    name = f"{side.frame['name'].iloc[row]!r} (id {side.ids[row]}"
    return name + (")" if by_id else f", {side.identity} {str(side.keys[side.identity][row])!r})")
