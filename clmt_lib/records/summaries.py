"""Records read back as tables: means over folds, intervals, paired differences."""

import json

import numpy as np
import pandas as pd

from clmt_lib import data, models, tasks
from clmt_lib.io import DataError
from clmt_lib.records.provenance import provenance
from clmt_lib.records.runs import home, read, rewrite
from clmt_lib.tasks import metrics

REPORTED = metrics.REPORTED


def table(folder=None, role="test"):
    """Every record as one row of a frame: configuration, the metrics of `role`, seconds. Empty
    where there is none.
    """
    rows = []
    for path in sorted(home(folder).glob("[!.]*/metrics.json")):
        record = read(path.parent)
        if "model" not in record.config:
            continue  # a comparison
        about = {key: record.config[key] for key in ("dataset", "split", "seed", "fold", "model")}
        rows.append(
            {
                **about,
                "settings": json.dumps(record.config["settings"], sort_keys=True),
                **record.metrics[role],
                "seconds": record.provenance["seconds"].get("fit"),
                "id": path.parent.name,
            }
        )
    return pd.DataFrame(rows)


def summarise(configs, folder=None, *, benchmark=None, grid=""):
    """Means over folds and paired differences of the models run on one benchmark and split, with
    two-way bootstrap intervals, as a record of its own.

    The same draws of lines and drugs serve every model and fold, so a difference is paired pair by
    pair and draw by draw. Runs not done yet are left out and counted. For
    a model with a run that came without its draws, intervals and differences are those of the
    earlier summary, if that was made of the same runs; else there are none.

    Parameters
    ----------
    configs : RunConfigs that share dataset, options and split, one settings a model
    grid : name of a grid other than the main one; its summaries carry it

    Returns
    -------
    Record `summary-[<grid>-]<label>-<split>`, or None where no run is done.
    """
    first = configs[0]
    benchmark = benchmark if benchmark is not None else data.load(first.dataset, **first.options)
    found = _runs_that_are_in(configs, folder, benchmark)
    if not found:
        return None
    final = _place(first.label, first.split, grid, folder)
    weights = fold_weights(benchmark, first.split, {key for runs in found.values() for key in runs})
    means = {name: _mean_of_folds(runs, weights) for name, runs in found.items()}
    means, differences = _with_earlier(
        means, found, weights, read(final).metrics if final.exists() else None
    )
    splits = sorted({which for runs in found.values() for which in runs})
    body = {
        "runs": {
            "done": sum(map(len, found.values())),
            "planned": len(configs),
            "without_draws": sum(
                draws is None for runs in found.values() for _, draws in runs.values()
            ),
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
    parts = {
        "config": {
            "dataset": first.dataset,
            "options": first.options,
            "split": first.split,
            "grid": grid,
            "draws": tasks.DRAWS,
            "checksum": benchmark.checksum,
        },
        "metrics": body,
        "provenance": provenance(benchmark),
    }
    return rewrite(final, parts)


def _runs_that_are_in(configs, folder, benchmark):
    """model -> (seed, fold) -> (record, its bootstrap draws or None), for the runs that are done."""
    found = {}
    for config in configs:
        path = home(folder) / config.id(benchmark.checksum)
        if not path.exists():
            continue
        fold = found.setdefault(config.model, {})
        if (config.seed, config.fold) in fold:
            raise DataError(
                f"{config.model} appears twice for seed {config.seed}, fold {config.fold}",
                remedy="give a model one settings in the grid's rows of a split",
            )
        record = read(path)
        fold[config.seed, config.fold] = record, record.draws
    return found


def _with_earlier(means, found, weights, earlier):
    """(means, differences), where draws are missing completed from an earlier summary of the same
    runs: its means there must be those of the runs that are here.
    """
    drawn = {
        name for name, runs in found.items() if all(draws is not None for _, draws in runs.values())
    }
    earlier = earlier or {"models": {}, "differences": []}
    known = {frozenset((row["a"], row["b"])): row for row in earlier["differences"]}
    differences = []
    for i, a in enumerate(found):
        for b in list(found)[:i]:
            if {a, b} <= drawn:
                differences.append(_difference(a, found[a], b, found[b], weights))
            elif frozenset((a, b)) in known and _same_difference(known[frozenset((a, b))], found):
                differences.append(known[frozenset((a, b))])
    same = {
        name
        for name, row in earlier["models"].items()
        if name in means
        and all(_near(row[key], means[name][key]) for key in ("folds", "rmse", "rmse_sd", "mae"))
    }
    return {
        name: earlier["models"][name] if name in same - drawn else row
        for name, row in means.items()
    }, differences


def _same_difference(row, found):
    common = sorted(set(found[row["a"]]) & set(found[row["b"]]))
    gaps = {
        key: np.mean(
            [
                found[row["a"]][fold][0].metrics["test"][key]
                - found[row["b"]][fold][0].metrics["test"][key]
                for fold in common
            ]
        )
        for key in REPORTED
        if key in row
    }
    return row["folds"] == len(common) and all(
        _near(row[key]["mean"], gap) for key, gap in gaps.items()
    )


def _near(one, other):
    return one is None or abs(one - other) < 2e-6


def _replicated(benchmark, split):
    """Share of test pairs whose line and compound were also measured under another id of the train
    role.
    """
    compound = benchmark.drugs["compound"].factorize()[0]
    cell, drug = benchmark.pairs.T
    key = cell * benchmark.n_drugs + compound[drug]
    return np.isin(key[split.test], key[split.train]).mean()


def fold_weights(benchmark, kind, folds):
    """(seed, fold) -> metric -> [draws] of `Bootstrap.weights`: how much of each fold's test set
    was drawn. It depends on the data alone, so draws kept earlier are pooled without a refit.

    Parameters
    ----------
    kind : of split
    folds : (seed, fold) pairs
    """
    boot = tasks.Bootstrap((benchmark.n_cells, benchmark.n_drugs))
    return {
        which: boot.weights(benchmark.pairs[data.make_split(benchmark, kind, *which).test])
        for which in sorted(folds)
    }


def _mean_of_folds(runs, weights):
    out = {"folds": len(runs), "seconds": _typical_cpu([record for record, _ in runs.values()])}
    tests = [record.metrics["test"] for record, _ in runs.values()]
    for key in tests[0]:
        values = [np.nan if test[key] is None else test[key] for test in tests]
        out[key], out[f"{key}_sd"] = float(np.mean(values)), float(np.std(values))
    drawn = all(draws is not None for _, draws in runs.values())
    for key in REPORTED:
        pooled = (
            tasks.pool(
                [draws[key] for _, draws in runs.values()], [weights[which][key] for which in runs]
            )
            if drawn
            else np.full(1, np.nan)
        )
        out[f"{key}_interval"] = tasks.interval(pooled)
        out[f"{key}_draws_used"] = tasks.draws_used(pooled)
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


def _difference(a, runs_a, b, runs_b, weights):
    """Model a minus model b on the folds both have."""
    common = sorted(set(runs_a) & set(runs_b))
    out = {"a": a, "b": b, "folds": len(common)}
    for key in REPORTED if common else ():
        gap = [
            runs_a[fold][0].metrics["test"][key] - runs_b[fold][0].metrics["test"][key]
            for fold in common
        ]
        draws = tasks.pool(
            [runs_a[fold][1][key] - runs_b[fold][1][key] for fold in common],
            [weights[fold][key] for fold in common],
        )
        out[key] = {
            "mean": float(np.mean(gap)),
            **tasks.with_interval(draws),
            "folds_better": int(np.sum(tasks.find(key).gain(np.array(gap)) > 0)),
        }
    return out


def _place(dataset, split, grid, folder):
    return home(folder) / "-".join(["summary", *filter(None, [grid]), dataset, split])


def ladder(dataset, split, folder=None, grid=""):
    """[models] frame of one summary, in the order of the ladder: folds, seconds, metrics,
    `rmse_low`, `rmse_high` and so on for intervals.

    Raises
    ------
    DataError
        No such summary.
    """
    record = read(_place(dataset, split, grid, folder))
    rows = pd.DataFrame(record.metrics["models"]).T
    for key in REPORTED:
        rows[f"{key}_low"], rows[f"{key}_high"] = (rows[f"{key}_interval"].str[i] for i in (0, 1))
    rows = rows.drop(columns=[f"{key}_interval" for key in REPORTED]).astype(float)
    return rows.reindex([name for name in models.names() if name in rows.index])


def difference(dataset, split, a, b, metric="rmse", folder=None, grid=""):
    """Paired difference a minus b from a summary: dict of mean, interval, folds_better, folds.
    Raises DataError where it is not there.
    """
    for row in read(_place(dataset, split, grid, folder)).metrics["differences"]:
        if {row["a"], row["b"]} == {a, b} and metric in row:
            if row["a"] == a:
                return {**row[metric], "folds": row["folds"]}
            low, high = row[metric]["interval"]
            return {
                "mean": -row[metric]["mean"],
                "interval": [-high, -low],
                "draws_used": row[metric].get("draws_used"),
                "folds_better": row["folds"] - row[metric]["folds_better"],
                "folds": row["folds"],
            }
    raise DataError(
        f"no comparison of {a!r} with {b!r} in {dataset} {split}",
        remedy="run both, then `clmt report`",
    )
