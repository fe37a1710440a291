"""Records read back as tables: means over folds, intervals, paired differences."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from clmt_lib import data, models, tasks
from clmt_lib.io import DataError
from clmt_lib.records import store
from clmt_lib.records.provenance import provenance
from clmt_lib.records.runs import RunConfig, run
from clmt_lib.records.store import Record

Fold = tuple[int, int]  # seed and fold of a split


def table(folder: str | Path | None = None, role: str = "test") -> pd.DataFrame:
    """Every run as one row of a frame: configuration (`options` of the benchmark's reader and
    `settings` as JSON of what overrides the defaults), the metrics of `role`, seconds. Empty where
    there is none. Runs of one benchmark with other options may have another unit.
    """
    rows = []
    for record in store.runs(folder):
        about = {key: record.config[key] for key in ("dataset", "split", "seed", "fold", "model")}
        rows.append(
            {
                **about,
                "options": json.dumps(record.config["options"], sort_keys=True),
                "settings": json.dumps(record.provenance["overrides"], sort_keys=True),
                **record.metrics[role],
                "seconds": record.provenance["seconds"].get("fit"),
                "id": record.name,
            }
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Scores:
    """Runs of one model on folds of one split: their records, and their bootstrap draws where they
    are at hand.
    """

    model: str
    records: dict[Fold, Record]
    draws: dict[Fold, dict[str, np.ndarray]]

    @property
    def drawn(self) -> bool:
        """Whether no run lacks its draws."""
        return set(self.draws) == set(self.records)

    @property
    def ids(self) -> list[str]:
        """Ids of the runs, in order."""
        return sorted(record.name for record in self.records.values())

    def test(self, metric: str, folds: Sequence[Fold] | None = None) -> list[float]:
        """A metric on the test set of each fold; NaN where it has no value."""
        values = [self.records[fold].metrics["test"][metric] for fold in folds or self.records]
        return [np.nan if value is None else value for value in values]


class Pooled:
    """Bootstrap draws pooled over the folds of one benchmark and split: what was drawn of a fold
    depends on its test set alone, so it is computed once.
    """

    def __init__(self, benchmark: data.Benchmark, kind: str) -> None:
        self.benchmark, self.kind = benchmark, kind
        self.boot = tasks.bootstrap_of(benchmark)
        self.known: dict[Fold, dict[str, np.ndarray]] = {}

    def weights(self, fold: Fold) -> dict[str, np.ndarray]:
        """metric -> [draws] how much of a fold was drawn."""
        if fold not in self.known:
            test = data.make_split(self.benchmark, self.kind, *fold).test
            reported = tasks.of(self.benchmark).reported
            pairs, y = self.benchmark.pairs[test], self.benchmark.y[test]
            self.known[fold] = self.boot.weights(pairs, reported, y)
        return self.known[fold]

    def __call__(self, draws: dict[Fold, np.ndarray], metric: str) -> dict:
        """`interval` and `draws_used` of one metric from its [draws] on each fold."""
        weights = [self.weights(fold)[metric] for fold in draws]
        values = np.stack(list(draws.values()))
        return tasks.with_interval(tasks.pool(values, np.stack(weights)))


def scores_of(
    model: str,
    configs: Sequence[RunConfig],
    folder: str | Path | None,
    benchmark: data.Benchmark,
    remake: bool = False,
    say: Callable[[str], None] = print,
) -> Scores:
    """The runs of a model that are in.

    Parameters
    ----------
    remake : make a run again whose draws are not at hand, and say so
    """
    records, draws = {}, {}
    for config in configs:
        try:
            record = store.find(config.id(benchmark.checksum), folder)
        except DataError:  # an unknown model or setting: its run has failed, and was reported
            record = None
        if record is None:
            continue
        fold = config.seed, config.fold
        if fold in records:
            raise DataError(
                f"{config.model} appears twice for seed {config.seed}, fold {config.fold}",
                remedy="give a model one settings in the grid's rows of a split",
            )
        found = record.draws
        if found is None and remake:
            say(f"{record.name}: made again, because its bootstrap draws are not kept")
            record = run(config, folder, needs=("draws",), benchmark=benchmark)
            found = record.draws
        records[fold] = record
        if found is not None:
            draws[fold] = found
    return Scores(model, records, draws)


def summarise(
    configs: Sequence[RunConfig],
    folder: str | Path | None = None,
    *,
    benchmark: data.Benchmark | None = None,
    grid: str = "",
    remake: bool = False,
    say: Callable[[str], None] = print,
) -> Record | None:
    """Means over folds and paired differences of the models run on one benchmark and split, with
    two-way bootstrap intervals, as a record of its own.

    The same draws of lines and drugs serve every model and fold, so a difference is paired pair by
    pair and draw by draw. Runs not done yet are left out and counted. Draws are kept for the models
    that new ones are compared with; an interval or difference of others stands as an earlier
    summary of the very same runs has it, or is left out and counted, unless `remake`.

    Parameters
    ----------
    configs : RunConfigs that share dataset, options and split, one settings a model
    grid : name of a grid other than the main one; its summaries carry it
    remake : make runs again whose draws are not at hand

    Returns
    -------
    Record `summary-[<grid>-]<label>-<split>`, or None where no run is done.
    """
    first = configs[0]
    benchmark = benchmark if benchmark is not None else data.load(first.dataset, **first.options)
    names = dict.fromkeys(config.model for config in configs)
    found = [
        scores_of(name, [c for c in configs if c.model == name], folder, benchmark, remake, say)
        for name in names
    ]
    found = [scores for scores in found if scores.records]
    if not found:
        return None
    name = summary_name(first.label, first.split, grid)
    earlier: dict = {"models": {}, "differences": []}
    if store.is_derived(name, folder):
        earlier = store.read(name, folder).metrics
    pooled = Pooled(benchmark, first.split)
    means, differences, left_out = _compare(found, pooled, earlier)
    splits = sorted({fold for scores in found for fold in scores.records})
    body = {
        "runs": {
            "done": sum(len(scores.records) for scores in found),
            "planned": len(configs),
            "left_out": left_out,
        },
        "replicates": float(
            np.mean(
                [
                    _replicated(benchmark, data.make_split(benchmark, first.split, *which))
                    for which in splits
                ]
            )
        ),
        "models": means,
        "differences": differences,
    }
    about: dict = {"dataset": first.dataset, "options": first.options, "split": first.split}
    about |= {"grid": grid, "draws": tasks.DRAWS, "checksum": benchmark.checksum}
    parts = {"config": about, "metrics": body, "provenance": provenance(benchmark)}
    return store.write_derived(name, parts, folder)


def _compare(found, pooled, earlier):
    """(model -> means, differences, number of intervals and differences left out). What draws are
    missing for is taken from an earlier summary of the same runs.
    """
    same = {
        scores.model
        for scores in found
        if earlier["models"].get(scores.model, {}).get("runs") == scores.ids
    }
    known = {frozenset((row["a"], row["b"])): row for row in earlier["differences"]}
    means, differences, left_out = {}, [], 0
    for number, a in enumerate(found):
        means[a.model] = _mean_of_folds(a, pooled)
        if not a.drawn and a.model in same:
            means[a.model] = earlier["models"][a.model]
        elif not a.drawn:
            left_out += 1
        for b in found[:number]:
            pair = frozenset((a.model, b.model))
            if not set(a.records) & set(b.records):
                continue  # no fold in common
            if a.drawn and b.drawn:
                differences.append(paired(a, b, pooled))
            elif pair <= same and pair in known:
                differences.append(known[pair])
            else:
                left_out += 1
    return means, differences, left_out


def _replicated(benchmark, split):
    """Share of test pairs whose two things were also measured, under other ids, in the training
    set: the same line and compound, for a screen.
    """
    rows, columns = (
        pd.factorize(side.keys[side.identity])[0][benchmark.pairs[:, axis]]
        for axis, side in enumerate(benchmark.sides)
    )
    key = rows.astype(np.int64) * benchmark.shape[1] + columns
    return np.isin(key[split.test], key[split.train]).mean()


def _mean_of_folds(scores, pooled):
    """Mean and spread over folds of every metric, and intervals of those reported."""
    records = list(scores.records.values())
    out = {"folds": len(records), "seconds": _typical_cpu(records), "runs": scores.ids}
    for key in records[0].metrics["test"]:
        values = scores.test(key)
        out[key], out[f"{key}_sd"] = float(np.mean(values)), float(np.std(values))
    for key in sorted(records[0].metrics["interval"]):
        own = {fold: draws[key] for fold, draws in scores.draws.items()}
        told = pooled(own, key) if scores.drawn else {"interval": [np.nan, np.nan]}
        out[f"{key}_interval"] = told["interval"]
        out[f"{key}_draws_used"] = told.get("draws_used", 0)
    return out


def _typical_cpu(records):
    """Median processor seconds of a fit (None if never measured): it depends less than wall time on
    what else the computer did, but threads that wait still count.
    """
    known = [
        record.provenance["seconds"]["fit_cpu"]
        for record in records
        if "fit_cpu" in record.provenance["seconds"]
    ]
    return float(np.median(known)) if known else None


def paired(a: Scores, b: Scores, pooled: Pooled) -> dict:
    """Model a minus model b on the folds both have: of each reported metric the mean, its interval,
    the draws used and on how many folds a is better.
    """
    common = sorted(set(a.records) & set(b.records))
    out = {"a": a.model, "b": b.model, "folds": len(common)}
    for key in a.records[common[0]].metrics["interval"]:
        gap = np.subtract(a.test(key, common), b.test(key, common))
        draws = {fold: a.draws[fold][key] - b.draws[fold][key] for fold in common}
        out[key] = {
            "mean": float(np.mean(gap)),
            **pooled(draws, key),
            "folds_better": int((tasks.find(key).gain(gap) > 0).sum()),
        }
    return out


def gaps_of(
    a: Sequence[str], b: Sequence[str], metric: str, folder: str | Path | None = None
) -> np.ndarray | None:
    """[folds] differences a minus b of runs by their ids, on the seeds and folds both have; None
    where the tables lack one of the runs.
    """
    values: list[dict[Fold, float]] = []
    for ids in (a, b):
        found = [store.find(name, folder) for name in ids]
        scores: dict[Fold, float] = {}
        for record in found:
            value = None if record is None else record.metrics["test"].get(metric)
            if record is None or value is None:
                return None
            scores[record.config["seed"], record.config["fold"]] = value
        values.append(scores)
    common = sorted(set(values[0]) & set(values[1]))
    return np.array([values[0][key] - values[1][key] for key in common]) if common else None


def summary_name(label: str, split: str, grid: str = "") -> str:
    """Name of a summary's record."""
    return "-".join(["summary", *filter(None, [grid]), label, split])


def ladder(
    dataset: str, split: str, folder: str | Path | None = None, grid: str = ""
) -> pd.DataFrame:
    """[models] frame of one summary, in the order of the ladder, models with an ending such as
    "_refit" last: folds, seconds, metrics,
    `rmse_low`, `rmse_high` and so on for intervals.

    Raises
    ------
    DataError
        No such summary.
    """
    record = store.read(summary_name(dataset, split, grid), folder)
    rows = {}
    for name, told in record.metrics["models"].items():
        rows[name] = {key: value for key, value in told.items() if not isinstance(value, list)}
        for key, value in told.items():
            if key.endswith("_interval"):
                metric = key.removesuffix("_interval")
                rows[name][f"{metric}_low"], rows[name][f"{metric}_high"] = value
    frame = pd.DataFrame(rows).T.astype(float)
    registered = [name for name in models.names() if name in frame.index]
    return frame.reindex([*registered, *(name for name in frame.index if name not in registered)])


def difference(
    dataset: str,
    split: str,
    a: str,
    b: str,
    metric: str = "rmse",
    folder: str | Path | None = None,
    grid: str = "",
) -> dict:
    """Paired difference a minus b from a summary: dict of mean, interval, folds_better, folds;
    entities, the interval of the bootstrap alone; and verdict, what `tasks.judge` makes of them.
    Raises DataError where it is not there.
    """
    told = store.read(summary_name(dataset, split, grid), folder).metrics
    for row in told["differences"]:
        if {row["a"], row["b"]} == {a, b} and metric in row:
            found = {**row[metric], "folds": row["folds"]}
            if row["a"] != a:
                low, high = found["interval"]
                found |= {
                    "mean": -found["mean"],
                    "interval": [-high, -low],
                    "folds_better": row["folds"] - found["folds_better"],
                }
            runs = [told["models"].get(name, {}).get("runs", ()) for name in (a, b)]
            base = told["models"].get(b, {}).get(metric, np.nan)
            gaps = gaps_of(runs[0], runs[1], metric, folder)
            entities = found["interval"]
            verdict = tasks.judge(entities, row["folds"] if gaps is None else gaps, metric, base)
            interval = [verdict.low, verdict.high]
            return {**found, "interval": interval, "entities": entities, "verdict": verdict}
    raise DataError(
        f"no comparison of {a!r} with {b!r} in {dataset} {split}",
        remedy="run both, then `clmt report` (with --remake where draws were not kept)",
    )
