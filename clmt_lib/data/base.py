"""Two sides and a table: the shape of every benchmark (chapter 01).

A `Benchmark` has two `Side`s of entities (cell lines x drugs, proteins x drugs, molecules x
assays) and a sparse table of values between them. Everything costly is computed once per entity; a
pair is two positions and a number. One side alone is what contrastive pre-training reads.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self, TypeAlias, cast

import numpy as np
import pandas as pd

from clmt_lib.config import SPLIT_ALIASES
from clmt_lib.io import DataError, require_columns

View: TypeAlias = pd.DataFrame | pd.Series | np.ndarray
KeyRule = str | np.ndarray | Callable[[pd.DataFrame], Any]
UNCHANGED_TARGET = "ln_ic50"  # the first target there was: it left no trace in a checksum
UNCHANGED_PARTITIONS = ("davis", "gdsc1")  # recorded before their published folds were read
TEST_PART, NO_PART = -1, -2  # of a partition: the test set, and in no set
REFIT = "_refit"  # of a published kind of split: fitted on all of its training pairs


class Keys(Mapping):
    """Labels to group the entities of a side by, computed when they are first asked for.

    Parameters
    ----------
    name : of the side; as a key it labels every entity by its own position
    frame : [n] facts
    rules : key -> a column of `frame`, [n] labels, or a function of `frame` that returns them
    """

    def __init__(self, name: str, frame: pd.DataFrame, rules: Mapping[str, KeyRule]) -> None:
        self.name, self.frame, self.rules = name, frame, dict(rules)
        self._labels: dict[str, np.ndarray] = {}

    def __getitem__(self, key: str) -> np.ndarray:
        if key == self.name:
            return np.arange(len(self.frame))
        if key not in self._labels:
            rule = self.rules[key]
            if isinstance(rule, str):
                values = self.frame[rule].fillna("unknown")
            else:
                values = rule(self.frame) if callable(rule) else rule
            labels = np.asarray(values).astype(str)
            if labels.shape != (len(self.frame),):
                raise DataError(
                    f"key {key!r} has {len(labels)} labels for {len(self.frame)} {self.name}s",
                    remedy="give one label an entity, in the order of the frame",
                )
            self._labels[key] = labels
        return self._labels[key]

    def __contains__(self, key: object) -> bool:
        return key == self.name or key in self.rules

    def __iter__(self) -> Iterator[str]:
        yield self.name
        yield from self.rules

    def __len__(self) -> int:
        return 1 + len(self.rules)


@dataclass(frozen=True, eq=False)
class Side:
    """Entities of one kind: their ids, facts, views, and what to group them by.

    Attributes
    ----------
    name : "cell", "drug", "protein", "molecule", "assay"
    frame : [n] facts, indexed by id (unique text), with at least `name`
    views : view -> [n] or [n, features] rows aligned with `frame`: omics, sequence, text, profile
    present : view -> [n] bool, which entities have it; a view without an entry is complete
    keys : key -> [n] labels to group by ("tissue", "scaffold"); given as columns of `frame`, labels
        or functions of `frame`. The side's own name is always a key: every entity alone
    identity : the key whose equal labels mean one and the same thing under several ids
        ("compound", "sequence"); held out together. By default every entity stands alone
    scales : view -> frame indexed by feature with `mean` and `deviation` (in the view's units
        before it was standardised): what puts a new entity on the same scale, where it is known

    Raises
    ------
    DataError
        No entity, an id that is not unique text, a view or mask of another length, unknown key.
    """

    name: str
    frame: pd.DataFrame
    views: Mapping[str, Any] = field(default_factory=dict)
    present: Mapping[str, np.ndarray] = field(default_factory=dict)
    keys: Any = field(default_factory=dict)
    identity: str = ""
    scales: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_ids(self.name, self.frame.index)
        require_columns(self.frame.columns, ["name"])
        for what, parts in (("view", self.views), ("present mask", self.present)):
            for key, part in parts.items():
                if len(part) != len(self.frame):
                    raise DataError(
                        f"{what} {key!r} has {len(part)} rows for {len(self.frame)} {self.name}s",
                        remedy=f"give one row a {self.name}, in the order of the frame",
                    )
        rules = self.keys.rules if isinstance(self.keys, Keys) else self.keys
        object.__setattr__(self, "keys", Keys(self.name, self.frame, rules))
        object.__setattr__(self, "identity", self.identity or self.name)
        if self.identity not in self.keys:
            raise DataError(
                f"{self.name}s have no key {self.identity!r}",
                remedy=f"use one of: {', '.join(self.keys)}",
            )

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        return (
            f"Side({self.name!r}, {len(self)} entities, views: {', '.join(self.views) or 'none'})"
        )

    @property
    def ids(self) -> pd.Index:
        """[n] unique ids, in the order of every array of this side."""
        return self.frame.index

    def has(self, view: str) -> np.ndarray:
        """[n] bool: which entities have this view; none where the side has no such view."""
        if view not in self.views:
            return np.zeros(len(self), dtype=bool)
        return np.asarray(self.present.get(view, np.ones(len(self), dtype=bool)), dtype=bool)

    def on_scale(self, view: str, raw: pd.DataFrame) -> pd.DataFrame:
        """Raw values [n, features] of new entities, standardised as this side's view was; features
        of the view in its order.

        Raises
        ------
        DataError
            The side does not know what the view was standardised by, or a feature is missing.
        """
        known = self.views.get(view)
        if view not in self.scales or not isinstance(known, pd.DataFrame):
            raise DataError(
                f"nothing says what {view} of {self.name}s was standardised by",
                remedy="prepare the tables with `clmt data prepare`, which keeps means and "
                "deviations, or give values that are standardised already",
            )
        features = list(known.columns)
        require_columns(raw.columns, features)
        scale = self.scales[view].loc[features]
        return (raw[features] - scale["mean"]) / scale["deviation"]

    def extended(self, more: "Side") -> "Side":
        """The side with the entities of another of the same kind after its own.

        Columns, views, keys and scales stay those of the side; what `more` lacks is missing (in a
        view: zeros or empty text, and `present` says so).

        Raises
        ------
        DataError
            Another kind of entity, an id that is here already, a view with other features.
        """
        if more.name != self.name:
            raise DataError(f"{more.name}s cannot extend {self.name}s", remedy="match the sides")
        twice = self.ids.intersection(more.ids)
        if len(twice):
            raise DataError(
                f"{self.name} {twice[0]!r} (and {len(twice) - 1} more) is there already",
                remedy="give further entities ids of their own",
            )
        frame = pd.concat([self.frame, more.frame.reindex(columns=self.frame.columns)])
        views = {key: _stacked(key, view, more) for key, view in self.views.items()}
        gaps = {key for key in views if key in self.present or not more.has(key).all()}
        present = {key: np.concatenate([self.has(key), more.has(key)]) for key in gaps}
        rules = {
            key: _longer(rule, more.ids) for key, rule in cast("Keys", self.keys).rules.items()
        }
        return replace(
            self,
            frame=frame.rename_axis(self.frame.index.name),
            views=views,
            present=present,
            keys=rules,
        )


def _stacked(key: str, view: View, more: Side) -> View:
    """Rows of a view, then those of the further entities (empty ones where they lack the view)."""
    other: Any = more.views.get(key)
    if isinstance(view, pd.DataFrame):
        if other is None:
            zeros = np.zeros((len(more), len(view.columns)), dtype=view.to_numpy().dtype)
            other = pd.DataFrame(zeros, more.ids, view.columns)
        if list(other.columns) != list(view.columns):
            raise DataError(
                f"{key} of the further {more.name}s has other features",
                remedy=f"give the {len(view.columns)} features of {key} in their order",
            )
        return pd.concat([view, other])
    if isinstance(view, pd.Series):
        return pd.concat([view, pd.Series("", more.ids) if other is None else other])
    if other is None:
        other = np.zeros((len(more), *view.shape[1:]), dtype=view.dtype)
    if np.shape(other)[1:] != view.shape[1:]:
        raise DataError(
            f"{key} of the further {more.name}s has shape {np.shape(other)[1:]} an entity, "
            f"not {view.shape[1:]}",
            remedy="compute it in the same way",
        )
    return np.concatenate([view, other])


def _longer(rule: KeyRule, ids: pd.Index) -> KeyRule:
    """A key's rule for a longer frame: given labels stay, a further entity stands alone."""
    if not isinstance(rule, np.ndarray):
        return rule
    return np.concatenate([rule.astype(str), [f"new {label}" for label in ids]])


@dataclass(frozen=True, eq=False)
class Partition:
    """How somebody published a benchmark's pairs cut into a test set and training folds.

    Attributes
    ----------
    part : [pairs] int64: -1 the test set, -2 in no set, otherwise the part of the training pairs
    folds : parts 0 to folds - 1 are the validation set once each; others are always trained on
    source : who published it
    """

    part: np.ndarray
    folds: int
    source: str = ""

    @classmethod
    def from_labels(
        cls, labels: pd.Series, folds: int, source: str = "", *, file: Any = None
    ) -> Self:
        """A partition from the labels of a table of pairs, -1 or "test" for the test set.

        Parameters
        ----------
        labels : [pairs] numbers of the folds from 0, and -1; or words: "test", "val" (fold 0),
            "train", and missing for a pair that is in no set
        folds : how many folds take turns as the validation set

        Raises
        ------
        DataError
            A fold that is missing or out of range, another word, no pair for a fold or the test
            set, no pair that is always trained on where there is one fold alone.
        """
        words = {"test": TEST_PART, "val": 0, "train": 1}
        if pd.api.types.is_numeric_dtype(labels):
            allowed: dict[Any, int] = {TEST_PART: TEST_PART} | {fold: fold for fold in range(folds)}
            remedy = f"use -1 for the test set, 0 to {folds - 1} for the folds, each pair in one"
        else:
            allowed, remedy = dict(words), "use train, val and test, or leave the cell empty"
            labels = labels.astype(object).where(labels.notna(), None)
        wrong = ~labels.isin(list(allowed))
        if words == allowed:
            wrong &= labels.notna()
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"{labels.name} is {shown(labels, at)}",
                file=file,
                row=row_of(labels, at, file),
                remedy=remedy,
            )
        part = labels.map(allowed).fillna(NO_PART).to_numpy(np.int64)
        needed = {TEST_PART: "the test set", **{fold: f"fold {fold}" for fold in range(folds)}}
        if folds == 1:
            needed[1] = "the training set"
        for number, what in needed.items():
            if not (part == number).any():
                raise DataError(f"{labels.name} has no pair in {what}", file=file, remedy=remedy)
        return cls(part, folds, source)


@dataclass(frozen=True, eq=False, repr=False)
class Benchmark:
    """Two sides of entities and a sparse table of values between them. Born in `data`, never
    changed afterwards: `dataclasses.replace(benchmark, y=...)` and `with_frames` make another.

    Attributes
    ----------
    sides : rows and columns of the table
    pairs : [pairs, 2] int64 positions (row, column), each pair once
    y : [pairs] float64 in `units`
    censored : [pairs] bool, the value is a bound and not a measurement
    task : what is asked of a model, by name: "response", "affinity" or "labels"
    target : what `y` is, by name: "ln_ic50", "act_area", "auc", "pkd", "kiba", "active"
    partitions : kind of split -> the `Partition` that somebody published ("published")
    """

    name: str
    sides: tuple[Side, Side]
    pairs: np.ndarray
    y: np.ndarray
    censored: np.ndarray
    task: str = ""
    units: str = ""
    licence: str = ""
    source: str = ""
    simulated: bool = False
    target: str = ""
    partitions: Mapping[str, Partition] = field(default_factory=dict)

    @classmethod
    def from_ids(
        cls,
        name: str,
        sides: tuple[Side, Side],
        values: pd.DataFrame,
        *,
        file: Any = None,
        within: tuple[float, float] = (-np.inf, np.inf),
        **about: Any,
    ) -> Self:
        """Join two sides and a table that names their entities by id.

        Parameters
        ----------
        values : frame with a column of ids for each side (its name), `y`, and where some values are
            bounds `censored`
        file : where `values` came from, for messages. Rows are counted by the frame's own integer
            index, so a filtered table still names the row of its file (the header is row 1)
        within : lowest and highest value that is possible
        about : further attributes

        Raises
        ------
        DataError
            Empty table, missing column, id in one table only, value that is not a finite number or
            out of range, duplicate pair.
        """
        names = [side.name for side in sides]
        require_columns(values.columns, (*names, "y"), file)
        if values.empty:
            raise DataError("empty table of values", file=file, remedy="check where it came from")
        y = pd.to_numeric(values["y"], errors="coerce").to_numpy(np.float64)
        wrong = ~np.isfinite(y) | (y < within[0]) | (y > within[1])
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"value {shown(values['y'], at)} is not a number from {within[0]:g} to "
                f"{within[1]:g}",
                file=file,
                row=row_of(values, at, file),
                remedy="correct it, or drop the pair",
            )
        check_pairs(values, names, file)
        places = [positions(side.name, values[side.name], side.ids, file) for side in sides]
        bound = values.get("censored", pd.Series(False, values.index))
        return cls(name, sides, np.column_stack(places), y, bound.to_numpy(bool), **about)

    def __post_init__(self) -> None:
        if self.sides[0].name == self.sides[1].name:
            raise DataError(
                f"both sides of {self.name} are called {self.sides[0].name!r}",
                remedy="give them different names",
            )
        n = len(self.pairs)
        if self.pairs.shape != (n, 2) or len(self.y) != n or len(self.censored) != n:
            raise DataError(
                f"{self.name}: {self.pairs.shape} pairs, {len(self.y)} values, "
                f"{len(self.censored)} marks of bounds",
                remedy="give one value and one mark a pair",
            )
        for kind, partition in self.partitions.items():
            if len(partition.part) != n:
                raise DataError(
                    f"{self.name}: {kind} has a part for {len(partition.part)} of {n} pairs",
                    remedy="give one part a pair, or no partition",
                )

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        rows, columns = self.sides
        return (
            f"<{type(self).__name__} {self.name}: {len(rows):,} {rows.name}s x "
            f"{len(columns):,} {columns.name}s, {len(self):,} pairs>"
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return len(self.sides[0]), len(self.sides[1])

    def side(self, name: str) -> Side:
        """One side by its name."""
        return self.sides[self.axis(name)]

    def axis(self, name: str) -> int:
        """Column of `pairs` that a side stands in: 0 or 1.

        Raises
        ------
        DataError
            The benchmark has no such side.
        """
        names = [side.name for side in self.sides]
        if name not in names:
            raise DataError(
                f"{self.name} has no side {name!r}", remedy=f"use one of: {', '.join(names)}"
            )
        return names.index(name)

    def matrix(self, positions: np.ndarray | None = None) -> np.ndarray:
        """[rows, columns] values, NaN where there is none (or none at `positions` of `pairs`)."""
        rows = slice(None) if positions is None else positions
        out = np.full(self.shape, np.nan)
        out[tuple(self.pairs[rows].T)] = self.y[rows]
        return out

    def locate(self, pairs: Iterable[tuple[str, str]]) -> np.ndarray:
        """[n, 2] positions (row, column) of pairs that are named by id, measured or not: what
        `Model.predict` is asked about.

        Raises
        ------
        DataError
            An id that the benchmark does not have.

        Examples
        --------
        >>> sides = [Side(name, pd.DataFrame({"name": list("ab")}, list("ab")))
        ...          for name in ("protein", "drug")]
        >>> values = pd.DataFrame({"protein": ["a"], "drug": ["a"], "y": [5.0]})
        >>> Benchmark.from_ids("small", sides, values).locate([("b", "a"), ("b", "b")])
        array([[1, 0],
               [1, 1]])
        """
        named = pd.DataFrame(list(pairs), columns=[side.name for side in self.sides], dtype=object)
        places = []
        for side in self.sides:
            at = side.ids.get_indexer(named[side.name])
            if (at < 0).any():
                raise DataError(
                    f"no {side.name} {named[side.name][int(np.argmax(at < 0))]!r} in {self.name}",
                    remedy="use the ids of the benchmark, or add the entity by `extended`",
                )
            places.append(at)
        return np.column_stack(places).astype(np.int64)

    @cached_property
    def checksum(self) -> str:
        """First 16 hexadecimal digits of a SHA-256 over every table: the same data always gives the
        same.
        """
        digest = hashlib.sha256(self.name.encode())
        for side in self.sides:
            digest.update("\x1f".join([*side.frame.index, *side.frame.columns]).encode())
            facts = side.frame.astype("str").fillna("").to_numpy()
            digest.update("\x1f".join(facts.ravel().tolist()).encode())
        for side in self.sides:
            for key in sorted(side.views):
                _update(digest, key, side.views[key])
            for key in sorted(side.present):
                digest.update(f"\x1f{key}".encode() + side.has(key).tobytes())
        for column in (0, 1):
            digest.update(np.ascontiguousarray(self.pairs[:, column], dtype=np.int64).tobytes())
        digest.update(np.ascontiguousarray(self.y, dtype=np.float64).tobytes())
        if self.target != UNCHANGED_TARGET:
            digest.update(self.target.encode())
        if self.censored.any():
            digest.update(np.ascontiguousarray(self.censored, dtype=bool).tobytes())
        for kind in sorted(self.partitions if self.name not in UNCHANGED_PARTITIONS else ()):
            partition = self.partitions[kind]
            digest.update(f"\x1f{kind} {partition.folds}".encode())
            digest.update(np.ascontiguousarray(partition.part, dtype=np.int64).tobytes())
        return digest.hexdigest()[:16]

    def describe(self) -> dict[str, Any]:
        """One row of a table: entities of each side (and how many are different where some are one
        and the same), pairs, density, share of bounds, checksum.
        """
        row: dict[str, Any] = {"benchmark": self.name}
        for side in self.sides:
            row[f"{side.name}s"] = len(side)
            different = len(np.unique(side.keys[side.identity]))
            if different < len(side):
                row[f"different {side.name}s"] = different
        row |= {
            "pairs": len(self),
            "density": round(len(self) / (self.shape[0] * self.shape[1]), 3),
        }
        row |= {"target": self.target, "checksum": self.checksum}
        return row | self._bounds()

    def _bounds(self) -> dict[str, float]:
        share = round(float(self.censored.mean()), 3)
        return {"censored": share} if self.censored.any() else {}

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of split that it has: mixed, each side or key blind, both sides blind, published
        ones (each also with all of its training pairs: "published_refit").
        """
        keys = [
            key for side in self.sides for key in side.keys if key not in (side.name, side.identity)
        ]
        return (
            "mixed",
            *(f"{side.name}_blind" for side in self.sides),
            *(f"{key}_blind" for key in keys),
            "both_blind",
            *(kind + more for kind in self.partitions for more in ("", REFIT)),
        )

    def blinded(self, kind: str) -> tuple[tuple[int, str], ...]:
        """What a kind of split holds out as a whole: (column of `pairs`, key) for each side that it
        blinds, none for mixed and for what was published.

        Raises
        ------
        DataError
            A kind that this benchmark does not have.
        """
        kind = SPLIT_ALIASES.get(kind, kind)
        if kind == "mixed" or kind.removesuffix(REFIT) in self.partitions:
            return ()
        if kind == "both_blind":
            return tuple((axis, side.identity) for axis, side in enumerate(self.sides))
        name = kind.removesuffix("_blind")
        for axis, side in enumerate(self.sides):
            if kind.endswith("_blind") and name in side.keys:
                return ((axis, side.identity if name == side.name else name),)
        raise DataError(
            f"unknown split {kind!r} of {self.name}", remedy=f"use one of: {', '.join(self.kinds)}"
        )

    def groups(self, kind: str) -> np.ndarray:
        """[pairs] int64 label of what a kind of split keeps together: the pair itself, or what its
        row or column (or both) stands for, numbered in the order of the key's labels.
        """
        blinded = self.blinded(kind)
        if not blinded:
            return np.arange(len(self))
        out = np.zeros(len(self), dtype=np.int64)
        for axis, key in blinded:
            code = np.unique(self.sides[axis].keys[key], return_inverse=True)[1]
            out = out * (code.max() + 1) + code[self.pairs[:, axis]]
        return out

    def with_sides(self, *sides: Side) -> Self:
        """The same benchmark with other facts, views or keys of a side's entities, in their order.

        Raises
        ------
        DataError
            No such side, or another number of entities.
        """
        new = {side.name: side for side in self.sides}
        for side in sides:
            if len(side) != len(self.side(side.name)):
                raise DataError(
                    f"{len(side)} {side.name}s instead of {len(self.side(side.name))}",
                    remedy="change facts, not entities; `extended` adds some",
                )
            new[side.name] = side
        return replace(self, sides=(new[self.sides[0].name], new[self.sides[1].name]))

    def with_frames(self, **frames: pd.DataFrame) -> Self:
        """The same benchmark with another frame of facts for the sides named; keys follow.

        Examples
        --------
        `benchmark.with_frames(drug=benchmark.drugs.assign(pathway="unknown"))`
        """
        return self.with_sides(
            *(replace(self.side(name), frame=frame) for name, frame in frames.items())
        )

    def with_views(self, **views: Mapping[str, View]) -> Self:
        """The same benchmark with other views of the sides named (all views of that side)."""
        return self.with_sides(
            *(replace(self.side(name), views=given) for name, given in views.items())
        )

    def extended(self, *more: Side, name: str | None = None) -> Self:
        """The same benchmark with further entities, and no response of theirs.

        Parameters
        ----------
        more : entities of either side, or of both; they come after those that are there
        name : of the new benchmark; None keeps it

        Raises
        ------
        DataError
            No such side, or as `Side.extended`.
        """
        sides = list(self.sides)
        for side in more:
            axis = self.axis(side.name)
            sides[axis] = sides[axis].extended(side)
        return replace(self, sides=(sides[0], sides[1]), name=self.name if name is None else name)


def _update(digest: Any, key: str, view: View) -> None:
    """Feed one view to a digest: its name, features and values (numbers as float32)."""
    columns = view.columns if isinstance(view, pd.DataFrame) else ()
    digest.update("\x1f".join([key, *columns]).encode())
    if isinstance(view, pd.Series) and not pd.api.types.is_numeric_dtype(view):
        digest.update("\x1f".join(view.fillna("").astype(str)).encode())
    else:
        digest.update(np.ascontiguousarray(np.asarray(view), dtype=np.float32).tobytes())


def check_ids(what: str, index: pd.Index, file: Any = None) -> None:
    """Raise `DataError` unless ids are there, text and unique; rows are those of the table."""
    if not len(index):
        raise DataError(f"empty table of {what}s", file=file, remedy="check the file it came from")
    if index.hasnans:
        raise DataError(
            f"{what} without an id",
            file=file,
            row=int(np.flatnonzero(index.isna())[0]) + 1,
            remedy="give every row an id",
        )
    strange = next((row for row, label in enumerate(index) if not isinstance(label, str)), None)
    if strange is not None:
        raise DataError(
            f"{what} id {shown(pd.Series(index), strange)} is not text",
            file=file,
            row=strange + 1,
            remedy="make them text: frame.index = frame.index.astype(str)",
        )
    if not index.is_unique:
        row = int(np.flatnonzero(index.duplicated())[0])
        raise DataError(
            f"duplicate {what} id {index[row]!r}",
            file=file,
            row=row + 1,
            remedy="keep one row for each id",
        )


def row_of(table: pd.DataFrame | pd.Series, position: int, file: Any = None) -> int:
    """Row to name in a message: by the frame's own numbering where it has one; the header of a file
    is its row 1.
    """
    label = table.index[position]
    own = pd.api.types.is_integer_dtype(table.index)
    return int(label if own else position) + (2 if file else 1)


def shown(values: pd.Series, position: int) -> str:
    """A value as a message shows it: text in quotes, a number without its numpy type."""
    value = values.iloc[position]
    return repr(value.item() if isinstance(value, np.generic) else value)


def check_pairs(values: pd.DataFrame, names: list[str], file: Any = None) -> None:
    """Raise `DataError` for the first pair of ids that is there twice."""
    twice = values.duplicated(names)
    if twice.any():
        at = int(np.flatnonzero(twice)[0])
        raise DataError(
            f"duplicate pair {tuple(values[names].iloc[at])}",
            file=file,
            row=row_of(values, at, file),
            remedy="average replicates or keep one",
        )


def positions(what: str, ids: pd.Series, index: pd.Index, file: Any = None) -> np.ndarray:
    """[pairs] int64 positions of ids in an index; `DataError` for the first that is not there."""
    found = index.get_indexer(ids)
    if (found < 0).any():
        at = int(np.flatnonzero(found < 0)[0])
        raise DataError(
            f"{what} {ids.iloc[at]!r} has a response but no row in the table of {what}s",
            file=file,
            row=row_of(ids, at, file),
            remedy=f"add it to the {what}s or drop its responses",
        )
    return found.astype(np.int64)
