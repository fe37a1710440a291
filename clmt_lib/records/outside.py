"""Predictions made outside this library, scored on one of its splits beside its own models."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from clmt_lib import tasks
from clmt_lib.data import Benchmark, Split
from clmt_lib.io import DataError, read_table
from clmt_lib.records import store


@dataclass(frozen=True)
class Scored:
    """Predictions of one test set, and what others reached on it.

    Attributes
    ----------
    metrics : of the task, as every run has them
    interval : metric -> [low, high] of the bootstrap
    headline : name of the metric to look at first
    others : [models] frame, best first, indexed by the model's name: the reported metrics, and
        `low`, `high` of the headline metric's paired difference (predictions minus model; NaN
        where the model's bootstrap draws were not kept)
    """

    metrics: dict[str, float]
    interval: dict[str, list[float]]
    headline: str
    others: pd.DataFrame


def score_predictions(
    predicted: np.ndarray,
    benchmark: Benchmark,
    split: Split,
    options: dict | None = None,
    folder: str | Path | None = None,
) -> Scored:
    """Score the predictions of a test set, beside every model that ran on it with its own settings.

    Parameters
    ----------
    predicted : [len(split.test)], in the benchmark's units and the split's order
    options : those that the benchmark was loaded with
    folder : where records live

    Raises
    ------
    DataError
        Predictions of another shape, or not finite.
    """
    task, test = tasks.of(benchmark), split.test
    metrics = tasks.score(benchmark, split, predicted)
    draws = tasks.bootstrap_of(benchmark).statistics(
        benchmark.pairs[test], benchmark.y[test], predicted, task.reported
    )
    headline = task.headline(split.kind)
    same = {
        "dataset": benchmark.name,
        "options": options or {},
        "split": split.kind,
        "seed": split.seed,
        "fold": split.fold,
    }
    rows = []
    for record in store.runs(folder):
        if record.provenance["overrides"] or any(record.config[k] != v for k, v in same.items()):
            continue
        found, kept = record.metrics["test"], record.draws
        beside = [np.nan, np.nan]
        if kept is not None and headline in kept:
            beside = tasks.interval(draws[headline] - kept[headline])
        values = {name: found.get(name) for name in task.reported}
        rows.append(
            {"model": record.config["model"], **values, "low": beside[0], "high": beside[1]}
        )
    others = pd.DataFrame(rows, columns=["model", *task.reported, "low", "high"])
    others = others.set_index("model").astype(float)
    others = others.sort_values(
        headline, ascending=not tasks.find(headline).higher_is_better, kind="stable"
    )
    interval = {name: tasks.interval(values) for name, values in draws.items()}
    return Scored(metrics, interval, headline, others)


def read_predictions(file: str | Path, benchmark: Benchmark, split: Split) -> np.ndarray:
    """Predictions of the test set from a CSV of ids.

    Parameters
    ----------
    file : columns named as the two sides, and `predicted`; other rows and columns are left out
    benchmark, split : Benchmark, and a Split of it

    Returns
    -------
    [len(split.test)] in the order of the split's positions.

    Raises
    ------
    DataError
        A missing column, a test pair without a prediction or with two, a prediction that is not a
        finite number, or a file that says it belongs to another split.
    """
    before = _refuse_another_split(Path(file), split)
    names = [side.name for side in benchmark.sides]
    table = read_table(
        file, [*names, "predicted"], dtype=dict.fromkeys(names, str), skiprows=before
    )
    place = np.full(benchmark.shape, -1)  # of each pair in the test set
    place[tuple(benchmark.pairs[split.test].T)] = np.arange(len(split.test))
    axes = [
        side.ids.astype(str).get_indexer(table[name])
        for side, name in zip(benchmark.sides, names, strict=True)
    ]
    known = (axes[0] >= 0) & (axes[1] >= 0)
    where = np.where(known, place[axes[0], axes[1]], -1)
    predicted = np.full(len(split.test), np.nan)
    seen = np.zeros(len(split.test), dtype=bool)
    for row in np.flatnonzero(where >= 0):
        value, at = _float(table["predicted"].iloc[row]), where[row]
        if seen[at] or not np.isfinite(value):
            what = "has a prediction already" if seen[at] else "has no finite number"
            raise DataError(
                f"the pair {', '.join(table[names].iloc[row])} {what}",
                file=file,
                row=2 + before + int(row),
                remedy="give each test pair one finite prediction",
            )
        predicted[at], seen[at] = value, True
    if not seen.all():
        first = benchmark.pairs[split.test[np.flatnonzero(~seen)[0]]]
        ids = [str(side.ids[at]) for side, at in zip(benchmark.sides, first, strict=True)]
        raise DataError(
            f"{np.sum(~seen)} of {len(seen)} test pairs have no prediction, such as "
            f"{', '.join(ids)}",
            file=file,
            remedy="`clmt split --out` writes the pairs of the test set",
        )
    return predicted


def _float(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")


def _refuse_another_split(path: Path, split: Split) -> int:
    """Number of lines before the header: one where the file says which split it is, and that is
    the one that was asked for.
    """
    if path.suffix not in (".csv", ".tsv", ".txt") or not path.is_file():
        return 0
    with open(path, encoding="utf-8", errors="replace") as lines:
        line = next(lines, "")
    if not line.startswith("#"):
        return 0
    try:
        about = json.loads(line.lstrip("#"))
        told = {key: about[key] for key in ("benchmark", "checksum", "kind", "seed", "fold")}
    except (ValueError, KeyError, TypeError):
        return 1
    wrong = [key for key, value in told.items() if value != getattr(split, key)]
    if wrong:
        raise DataError(
            f"made for {told['benchmark']} {told['kind']}, seed {told['seed']}, fold "
            f"{told['fold']}; another {wrong[0]} was asked for",
            file=path,
            remedy="name the split it was made for: --dataset, --split, --seed, --fold",
        )
    return 1
