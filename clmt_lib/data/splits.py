"""Who is held out: seeded splits by pair, by either side, by what its entities share, or by both
sides (chapters 01 and 09b); and the splits that somebody published with a table.
"""

import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib.config import SPLIT_ALIASES
from clmt_lib.data.base import REFIT, TEST_PART, Benchmark
from clmt_lib.io import DataError, atomic_write

FOLDS = {
    "mixed": 10,
    "cell_blind": 5,
    "drug_blind": 10,
    "scaffold_blind": 5,
    "tissue_blind": 5,
    "target_blind": 5,
    "pathway_blind": 10,
    "both_blind": 5,
}
KINDS = tuple(FOLDS)  # those of cell lines x drugs; the first seven are seeded by their place here
VALID_SHARE = {
    "mixed": 1 / 9,
    "tissue_blind": 0.15,
    "pathway_blind": 0.2,
    "both_blind": 0.2,  # of each side: a twenty-fifth of the pairs that are left
}  # of what the test fold leaves
OTHER_FOLDS, OTHER_VALID_SHARE = 5, 0.1
SETS = ("train", "valid", "test")
FACTS = ("kind", "seed", "fold", "folds", "benchmark", "checksum")  # of a split, beside its sets


@dataclass(frozen=True, eq=False)
class Split:
    """Disjoint positions into `Benchmark.pairs`, and the blindness they promise.

    Attributes
    ----------
    train, valid, test : int64 positions. Fit on train, choose on valid, report on test, once.
    kind : mixed (8:1:1 pairs); `<side>_blind` (all ids of one entity together: cell_blind,
        drug_blind, protein_blind); `<key>_blind` (all that share it: scaffold_blind, tissue_blind,
        target_blind and pathway_blind, directly or through others); both_blind (a test pair is new
        on both sides, a pair that is new on one alone is in no set); published (a test set that
        somebody fixed: fold k of the rest is valid), published_refit (all of the rest is train,
        valid is empty, and settings are chosen over the folds that `within` gives)
    seed, fold, folds : which of the repeated partitions, and which part of it is the test set
    benchmark, checksum : the data the positions belong to
    parts : [train] published fold of each training pair, where there is no validation set
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
    parts: np.ndarray | None = None

    def within(self) -> Iterator["Split"]:
        """The folds inside the training set of a split without a validation set: each of its parts
        is valid once, the others are train, and nothing is test.

        Raises
        ------
        DataError
            The split has a validation set, or does not know the folds.
        """
        if len(self.valid) or self.parts is None:
            raise DataError(
                f"{self.kind} has no folds inside its training set",
                remedy=f"choose on its validation set, or make a split whose kind ends in {REFIT}",
            )
        for part in range(int(self.parts.max()) + 1):
            yield replace(
                self,
                train=self.train[self.parts != part],
                valid=self.train[self.parts == part],
                test=self.test[:0],
                parts=None,
            )

    def sets(self) -> dict[str, np.ndarray]:
        """The training, validation and test positions by name."""
        return {name: getattr(self, name) for name in SETS}

    def with_validation(self) -> "Split":
        """The split whose training set holds the validation set, too, and which has none: for
        fitting again once everything is chosen (`Model.fit_again`).
        """
        return replace(self, train=np.union1d(self.train, self.valid), valid=self.valid[:0])


def kind_of(kind: str, benchmark: Benchmark | None = None) -> str:
    """The library's own name of a kind of split; DrEval's LPO, LCO, LDO and LTO are known.

    >>> kind_of("LCO"), kind_of("mixed")
    ('cell_blind', 'mixed')

    Raises
    ------
    DataError
        A kind that the benchmark does not have; without one, a name that no kind can have.
    """
    kind = SPLIT_ALIASES.get(kind, kind)
    if benchmark is not None:
        benchmark.blinded(kind)
    elif kind != "mixed" and not _named(kind):
        names = ", ".join([*KINDS, *SPLIT_ALIASES])
        raise DataError(
            f"unknown split {kind!r}",
            remedy=f"use one of: {names}; or <side>_blind, <key>_blind, published of the benchmark",
        )
    return kind


def _named(kind: str) -> bool:
    """Whether a kind of split may have this name on some benchmark."""
    return kind.startswith("published") or (kind.endswith("_blind") and kind != "_blind")


def folds_of(kind: str, benchmark: Benchmark | None = None) -> int:
    """Number of folds that a seed of a kind of split has: disjoint test sets; where the test set is
    a published one, validation sets.
    """
    kind = kind_of(kind, benchmark)
    if kind.endswith(REFIT):
        return 1
    if benchmark is not None and kind in benchmark.partitions:
        return benchmark.partitions[kind].folds
    return FOLDS.get(kind, OTHER_FOLDS)


def make_split(benchmark: Benchmark, kind: str, seed: int = 0, fold: int = 0) -> Split:
    """Cut a benchmark into training, validation and test set of the same blindness.

    Groups are shuffled by `seed`, then dealt to the fold with the fewest pairs so far; validation
    groups are drawn from the rest in the same way.

    Parameters
    ----------
    kind : one of `benchmark.kinds`, or an alias of DrEval
    seed : another seed is another partition
    fold : 0 .. folds - 1 (see `folds_of`); the folds of a seed are disjoint test sets, those of a
        published kind disjoint validation sets

    Raises
    ------
    DataError
        Unknown kind, fold or seed out of range, fewer groups than sets need, or no pair of new row
        and new column.

    Examples
    --------
    `make_split(davis, "published", fold=2)` validates on the third published fold;
    `make_split(davis, "published_refit")` trains on all five.
    """
    kind = kind_of(kind, benchmark)
    folds = folds_of(kind, benchmark)
    if not 0 <= fold < folds:
        raise DataError(f"fold {fold} of {kind}", remedy=f"use 0 to {folds - 1}")
    if seed < 0:
        raise DataError(f"seed {seed}", remedy="use 0 or more")
    if kind.removesuffix(REFIT) in benchmark.partitions:
        return _published(benchmark, kind, seed, fold)
    place = KINDS.index(kind) if kind in KINDS else zlib.crc32(kind.encode())
    if kind == "both_blind":
        parts = [
            _sets_of(benchmark, f"{side.name}_blind", kind, [seed, place, axis, 0], fold)
            for axis, side in enumerate(benchmark.sides)
        ]
        part = np.where(parts[0] == parts[1], parts[0], -1)
    else:
        part = _sets_of(benchmark, kind, kind, [seed, place], fold)
    where = [np.flatnonzero(part == number) for number in range(len(SETS))]
    for name, positions in zip(SETS, where):
        if not len(positions):
            raise DataError(
                f"{kind} of {benchmark.name}, seed {seed}, fold {fold}: no pair is left for {name}",
                remedy="use another seed or fold, or a table with fewer gaps",
            )
    train, valid, test = where
    return Split(kind, train, valid, test, seed, fold, folds, benchmark.name, benchmark.checksum)


def _published(benchmark: Benchmark, kind: str, seed: int, fold: int) -> Split:
    """A split that somebody published with the table; seeds have nothing to say in it."""
    if seed:
        raise DataError(f"seed {seed} of {kind}", remedy="a published split has seed 0 alone")
    partition = benchmark.partitions[kind.removesuffix(REFIT)]
    refit, part = kind.endswith(REFIT), partition.part
    held = -3 if refit else fold  # no pair is in part -3
    train = np.flatnonzero((part >= 0) & (part != held))
    valid, test = np.flatnonzero(part == held), np.flatnonzero(part == TEST_PART)
    # what is always trained on is in no turn the validation set
    parts = np.where(part < partition.folds, part, -1)[train] if refit else None
    about = (seed, fold, folds_of(kind, benchmark), benchmark.name, benchmark.checksum)
    return Split(kind, train, valid, test, *about, parts=parts)


def _sets_of(
    benchmark: Benchmark, grouping: str, kind: str, seeds: list[int], fold: int
) -> np.ndarray:
    """[pairs] 0 training, 1 validation, 2 test, by whole groups of one kind."""
    folds, share = folds_of(kind), VALID_SHARE.get(kind, OTHER_VALID_SHARE)
    groups = np.unique(benchmark.groups(grouping), return_inverse=True)[1]
    sizes = np.bincount(groups)
    if len(sizes) < folds + 1:
        raise DataError(
            f"{kind} needs at least {folds + 1} groups, {benchmark.name} has {len(sizes)}",
            remedy="use a split with more groups, or more data",
        )
    dealt = _deal(sizes, folds, np.random.default_rng(seeds))
    rest = np.flatnonzero(dealt != fold)
    # with few groups each part still gets one, so the validation set is never empty
    parts = min(max(2, round(1 / share)), len(rest))
    part = np.zeros(len(sizes), dtype=np.int64)
    part[rest[_deal(sizes[rest], parts, np.random.default_rng([*seeds, fold])) == 0]] = 1
    part[dealt == fold] = 2
    return part[groups]


def _deal(sizes: np.ndarray, parts: int, rng: np.random.Generator) -> np.ndarray:
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


def write_split_csv(split: Split, benchmark: Benchmark, path: str | Path) -> None:
    """Write a split as ids, so that it can be used without this library: a comment that says which
    split of which data it is, then a row (row id, column id, set) for each pair of a set.

    Raises
    ------
    DataError
        A split of other data.
    """
    _same_data(split.benchmark, split.checksum, benchmark, path)
    ids = [
        side.ids.to_numpy()[benchmark.pairs[:, axis]] for axis, side in enumerate(benchmark.sides)
    ]
    names = [side.name for side in benchmark.sides]
    table = pd.concat(
        [
            pd.DataFrame({names[0]: ids[0][rows], names[1]: ids[1][rows], "set": name})
            for name, rows in split.sets().items()
        ]
    )
    body = table.to_csv(index=False, lineterminator="\n")
    about = {key: getattr(split, key) for key in FACTS}
    with atomic_write(path) as file:
        file.write(f"# {json.dumps({**about, 'sha256': _digest(about, body)})}\n{body}")


def _digest(about: dict, body: str) -> str:
    """SHA-256 over what a file says it is, and its rows."""
    said = json.dumps({key: about[key] for key in FACTS})
    return hashlib.sha256(f"{said}\n{body}".encode()).hexdigest()


def read_split_csv(path: str | Path, benchmark: Benchmark) -> Split:
    """Read a split that `write_split_csv` wrote.

    Raises
    ------
    DataError
        Not such a file, changed since it was written, a split of other data, an unknown id or set,
        a pair that was not measured, a pair in two sets.
    """
    try:
        head, _, body = Path(path).read_text(encoding="utf-8").partition("\n")
        about = json.loads(head.removeprefix("# "))
        said, digest = about["sha256"], _digest(about, body)
        table = pd.read_csv(StringIO(body), dtype=str, keep_default_na=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"not a split in ids ({type(error).__name__}: {error})",
            file=path,
            remedy="write it again with write_split_csv",
        ) from None
    _same_data(about["benchmark"], about["checksum"], benchmark, path)
    where = _positions(table, benchmark, path)
    if said != digest:
        raise DataError(
            "wrong checksum: the split was changed after it was written",
            file=path,
            remedy="restore it, or make it anew",
        )
    sets: dict[str, Any] = {
        name: np.sort(where[(table["set"] == name).to_numpy()]) for name in SETS
    }
    return Split(**{key: about[key] for key in FACTS}, **sets)


def _positions(table: pd.DataFrame, benchmark: Benchmark, path: str | Path) -> np.ndarray:
    """[rows] positions into `benchmark.pairs` of the ids of a table of sets (its header is row 2 of
    the file), or the first thing wrong with it.
    """
    names = [side.name for side in benchmark.sides]
    if list(table.columns) != [*names, "set"]:
        raise DataError(
            f"columns {', '.join(table.columns)}",
            file=path,
            row=2,
            remedy=f"give {', '.join([*names, 'set'])}",
        )

    def refuse(wrong: np.ndarray, what: str, remedy: str) -> None:
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            said = what.format(**table.iloc[at].to_dict())
            raise DataError(said, file=path, row=at + 3, remedy=remedy)

    places = []
    for side in benchmark.sides:
        places.append(side.ids.get_indexer(table[side.name]))
        refuse(
            places[-1] < 0,
            f"no {side.name} {{{side.name}}} in {benchmark.name}",
            "use the ids of the benchmark",
        )
    refuse(~table["set"].isin(SETS), "unknown set {set}", f"use {', '.join(SETS)}")
    pair = f"{{{names[0]}}}, {{{names[1]}}}"
    refuse(
        table.duplicated(names).to_numpy(),
        f"pair {pair} is there twice",
        "a pair belongs to one set at most",
    )
    columns = len(benchmark.sides[1])
    known = pd.Index(benchmark.pairs[:, 0] * columns + benchmark.pairs[:, 1])
    where = known.get_indexer(places[0] * columns + places[1])
    refuse(where < 0, f"pair {pair} has no value in {benchmark.name}", "drop the row")
    return where.astype(np.int64)


def _same_data(name: str, checksum: str, benchmark: Benchmark, path: str | Path) -> None:
    if (name, checksum) != (benchmark.name, benchmark.checksum):
        raise DataError(
            f"split of {name} {checksum}, data is {benchmark.name} {benchmark.checksum}",
            file=path,
            remedy="use the data it was made for",
        )
