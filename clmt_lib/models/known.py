"""What a fitted model keeps of its training data, and further entities beside it.

A kernel compares a new entity with those of the training set, so a model that reads kernels keeps
these: ids, facts, the views it reads, and the training values. `joined` puts the entities of
another benchmark beside them; whatever is fitted on training data is the same there.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from clmt_lib.data.base import Benchmark, Side
from clmt_lib.data.splits import Split
from clmt_lib.io import DataError


def training_set(benchmark: Benchmark, split: Split, views: Sequence[str] = ()) -> Benchmark:
    """The entities of `benchmark` with training pairs, in their order, and the training values.

    Parameters
    ----------
    views : of either side, which are kept
    """
    pairs = benchmark.pairs[split.train]
    kept = [np.unique(column) for column in pairs.T]
    first, second = (
        _some(side, rows, [view for view in views if view in side.views])
        for side, rows in zip(benchmark.sides, kept, strict=True)
    )
    places = np.column_stack(
        [np.searchsorted(rows, column) for rows, column in zip(kept, pairs.T, strict=True)]
    )
    return replace(
        benchmark,
        sides=(first, second),
        pairs=places,
        y=benchmark.y[split.train],
        censored=benchmark.censored[split.train],
        partitions={},
    )


def _some(side: Side, rows: np.ndarray, views: Sequence[str]) -> Side:
    """Some entities of a side, with some of its views, its identity and its tissue."""
    keys = {}
    for key in {side.identity, "tissue"} & set(side.keys.rules):
        rule = side.keys.rules[key]  # a rule that is a function cannot be saved: its labels can
        keys[key] = rule if isinstance(rule, str) else side.keys[key][rows]
    return replace(
        side,
        frame=side.frame.iloc[rows],
        views={view: _rows(side.views[view], rows) for view in views},
        present={view: side.has(view)[rows] for view in views if view in side.present},
        keys=keys,
        scales={},
    )


def _rows(view, rows: np.ndarray):
    return view.iloc[rows] if isinstance(view, (pd.DataFrame, pd.Series)) else view[rows]


def whole_split(benchmark: Benchmark, kind: str) -> Split:
    """The split in which every pair is a training pair."""
    nothing = np.zeros(0, dtype=np.int64)
    train = np.arange(len(benchmark), dtype=np.int64)
    return Split(kind, train, nothing, nothing, 0, 0, 1, benchmark.name, "")


def places(ids: pd.Index, benchmark: Benchmark, axis: int, positions: np.ndarray) -> np.ndarray:
    """[n] positions in `ids` of some entities of a benchmark; -1 for one that is not there."""
    return ids.get_indexer(benchmark.sides[axis].ids)[positions]


def check_sides(names: Sequence[str], benchmark: Benchmark) -> None:
    """Raises DataError unless a benchmark has the sides that a model was fitted on."""
    found = [side.name for side in benchmark.sides]
    if found != list(names):
        raise DataError(
            f"{benchmark.name} has {found[0]}s and {found[1]}s, the model knows {names[0]}s and "
            f"{names[1]}s",
            remedy="ask it about the entities it was fitted on, and others of their kind",
        )


def joined(
    known: Benchmark,
    other: Benchmark,
    rows: np.ndarray,
    columns: np.ndarray,
    partial: bool = False,
) -> tuple[Benchmark, np.ndarray, np.ndarray]:
    """`known` and those of the asked entities that it lacks, without a value of theirs.

    Parameters
    ----------
    rows, columns : positions in `other`
    partial : a new entity may lack a view (`present` then says so)

    Returns
    -------
    (joint benchmark, positions of the rows in it, positions of the columns)

    Raises
    ------
    DataError
        A new entity lacks a view, or a feature of it, that `known` has.
    """
    more, found = [], []
    for axis, asked in enumerate((rows, columns)):
        own, side = known.sides[axis], other.sides[axis]
        at = places(own.ids, other, axis, asked)
        new = np.asarray(asked)[at < 0]
        if len(new):
            more.append(_alike(own, side, new, partial))
            at[at < 0] = len(own) + np.arange(len(new))
        found.append(at)
    return known.extended(*more), found[0], found[1]


def _alike(own: Side, side: Side, new: np.ndarray, partial: bool = False) -> Side:
    """Some entities of another side, their views with the features of `own` in its order."""
    views, present = {}, {}
    for view, table in own.views.items():
        lost = new[~side.has(view)[new]]
        if len(lost) and partial:
            present[view] = side.has(view)[new]
            if len(lost) == len(new):
                continue
        elif len(lost):
            raise DataError(
                f"{side.name} {side.ids[lost[0]]!r} is new and has no {view}",
                remedy=f"give its {view}: the model compares it with those it knows",
            )
        part = side.views[view]
        if isinstance(table, pd.DataFrame):
            part = with_features(part, table.columns, view)
        views[view] = _rows(part, new)
    some = _some(side, new, ())
    return replace(some, views=views, present=present, keys={}, identity="")


def with_features(table: pd.DataFrame, features: pd.Index, what: str) -> pd.DataFrame:
    """A table with these columns in this order. Raises DataError naming those that it lacks."""
    if table.columns.equals(features):
        return table
    missing = features.difference(table.columns)
    if len(missing):
        raise DataError(
            f"{what} lacks {len(missing)} of the {len(features)} features that the model reads, "
            f"{missing[0]!r} first",
            remedy="give them all, on the scale of the training data",
        )
    return table[features]
