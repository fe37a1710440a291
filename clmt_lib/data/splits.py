"""Who is held out: seeded splits by pair, line, compound, scaffold, tissue, target or pathway
(chapters 01 and 09b).
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clmt_lib.io import DataError, atomic_write

FOLDS = {
    "mixed": 10,
    "cell_blind": 5,
    "drug_blind": 10,
    "scaffold_blind": 5,
    "tissue_blind": 5,
    "target_blind": 5,
    "pathway_blind": 10,
}
KINDS = tuple(FOLDS)  # a kind's place here is part of its seed: new kinds go to the end
VALID_SHARE = {
    "mixed": 1 / 9,
    "cell_blind": 0.1,
    "drug_blind": 0.1,
    "scaffold_blind": 0.1,
    "tissue_blind": 0.15,
    "target_blind": 0.1,
    "pathway_blind": 0.2,
}  # of what the test fold leaves


@dataclass(frozen=True, eq=False)
class Split:
    """Disjoint positions into `DrugResponse.responses`, and the blindness they promise.

    Attributes
    ----------
    train, valid, test : int64 positions. Fit on train, choose on valid, report on test, once.
    kind : mixed (8:1:1 pairs), cell_blind, drug_blind (all ids of a compound together),
        scaffold_blind, tissue_blind,
        target_blind (all drugs that share a listed target, directly or through others),
        pathway_blind (all drugs of a pathway)
    seed, fold, folds : which of the repeated partitions, and which part of it is the test role
    benchmark, checksum : the data the positions belong to
    """

    kind: str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    seed: int
    fold: int
    folds: int
    benchmark: str
    checksum: str

    def roles(self):
        """The three roles by name."""
        return {"train": self.train, "valid": self.valid, "test": self.test}


def make_split(benchmark, kind, seed=0, fold=0):
    """Cut a benchmark into train, valid and test of the same blindness.

    Groups are shuffled by `seed`, then dealt to the fold with the fewest pairs so far; validation
    groups are drawn from the rest in the same way.

    Parameters
    ----------
    benchmark : DrugResponse
    kind : one of `KINDS`
    seed : another seed is another partition
    fold : 0 .. folds - 1 (10 for mixed, drug_blind and pathway_blind, else 5); the folds of a seed
        are disjoint test sets

    Raises
    ------
    DataError
        Unknown kind, fold or seed out of range, or fewer groups than roles need.
    """
    if kind not in FOLDS:
        raise DataError(f"unknown split {kind!r}", remedy=f"use one of: {', '.join(KINDS)}")
    folds = FOLDS[kind]
    if not 0 <= fold < folds:
        raise DataError(f"fold {fold} of {kind}", remedy=f"use 0 to {folds - 1}")
    if seed < 0:
        raise DataError(f"seed {seed}", remedy="use 0 or more")
    groups = np.unique(benchmark.groups(kind), return_inverse=True)[1]
    sizes = np.bincount(groups)
    if len(sizes) < folds + 1:
        raise DataError(
            f"{kind} needs at least {folds + 1} groups, {benchmark.name} has {len(sizes)}",
            remedy="use a split with more groups, or more data",
        )
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    dealt = _deal(sizes, folds, rng)
    rest = np.flatnonzero(dealt != fold)
    rng = np.random.default_rng([seed, KINDS.index(kind), fold])
    parts = min(
        max(2, round(1 / VALID_SHARE[kind])), len(rest)
    )  # with few groups each part still gets one, so valid is never empty
    role = np.full(len(sizes), "train", dtype=object)
    role[rest[_deal(sizes[rest], parts, rng) == 0]] = "valid"
    role[dealt == fold] = "test"
    where = {name: np.flatnonzero(role[groups] == name) for name in ("train", "valid", "test")}
    return Split(
        kind,
        where["train"],
        where["valid"],
        where["test"],
        seed,
        fold,
        folds,
        benchmark.name,
        benchmark.checksum,
    )


def _deal(sizes, parts, rng):
    """Part of each group: groups in random order, each to the part with the fewest pairs so far, so
    parts differ by about one group.
    """
    if sizes.max() == 1:  # pairs of the mixed split: dealing is slicing
        out = np.empty(len(sizes), dtype=np.int64)
        out[rng.permutation(len(sizes))] = np.arange(len(sizes)) % parts
        return out
    out, load = np.empty(len(sizes), dtype=np.int64), np.zeros(parts)
    for group in rng.permutation(len(sizes)):
        lightest = np.flatnonzero(load == load.min())
        out[group] = part = lightest[rng.integers(len(lightest))]
        load[part] += sizes[group]
    return out


def save_split(split, path):
    """Write a split as JSON with a checksum of its own, atomically."""
    body = {
        key: value.tolist() if isinstance(value, np.ndarray) else value
        for key, value in vars(split).items()
    }
    body["sha256"] = _digest(body)
    with atomic_write(path) as file:
        file.write(json.dumps(body))


def load_split(path, benchmark):
    """Read a saved split, and refuse it when the file was changed or belongs to other data.

    Raises
    ------
    DataError
        Broken file, wrong checksum, or a split of another benchmark.
    """
    try:
        body = json.loads(Path(path).read_text())
        said = body.pop("sha256")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"not a saved split ({error})", file=path, remedy="write it again with save_split"
        ) from None
    if said != _digest(body):
        raise DataError(
            "wrong checksum: the split was changed after it was saved",
            file=path,
            remedy="restore it, or make it anew",
        )
    if (body["benchmark"], body["checksum"]) != (benchmark.name, benchmark.checksum):
        raise DataError(
            f"split of {body['benchmark']} {body['checksum']}, data is {benchmark.name} "
            f"{benchmark.checksum}",
            file=path,
            remedy="use the data it was made for",
        )
    return Split(
        **{
            key: np.array(value, dtype=np.int64) if key in ("train", "valid", "test") else value
            for key, value in body.items()
        }
    )


def _digest(body):
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
