"""Where drug-target models stand, and where annotation gives the answer away: the record
`interactions` (the chapter on UMME and ACMO).

    python experiments/interactions.py

reads the runs of `experiments/configs/dti.yaml`, and trains a ridge with one modality more or less
for new drugs, new proteins and both (a minute; needs `CLMT_DATA`; with `--runs` nothing is
trained).

A pair is *named* where the drug's annotation lists the protein's gene among its targets.
"""

import argparse
import sys

import numpy as np

from clmt_lib import data, models, tasks
from clmt_lib.records import provenance, read, write_derived
from clmt_lib.records.store import runs
from clmt_lib.tasks import metrics

FRAGMENTS = {"morgan": 0.25, "atom_pairs": 0.25, "torsions": 0.25, "paths": 0.25}
FAMILY = {"family": 0.5, "group": 0.2}


def with_kernels(rows=None, columns=None):
    """Settings of the ridge for new entities with further kernels on either side."""
    rows, columns = {"own": 1.0, **(rows or {})}, {**FRAGMENTS, **(columns or {})}
    return {"stages": [{"rows": rows, "columns": columns, "identity": [0.03, 0.03]}]}


# What is changed of one ridge on alignment and fragments, fitted again on train and valid. As
# controls: `struck`, mechanism words without names of targets; `dealt`, those of other drugs;
# `presence`, who has words at all. `both means` takes away the means of what is held out, too.
VARIANTS = {
    "compound_blind": {
        **{
            name: with_kernels(columns={name: 0.5})
            for name in ("mechanism", "struck", "dealt", "presence", "targets")
        },
        **{name: with_kernels(columns={name: 0.5}) for name in ("assay", "expression")},
        "both means": {"means": "both"},
    },
    "protein_blind": {
        "family": with_kernels(rows=FAMILY),
        "function": with_kernels(rows={"function": 0.5}),
        "function alone": with_kernels(rows={"own": 0.0, "function": 1.0}),
        "both means": {"means": "both"},
    },
    "both_blind": {
        "mechanism + family": with_kernels(rows=FAMILY, columns={"mechanism": 0.5}),
        "both means": {"means": "both"},
    },
}
HIT = 7.0  # pKd above which a pair is called a hit: Kd below 100 nM
FOLDS = range(5)


def published(folder=None):
    """Every run on a published split: [{dataset, split, fold, model, ...}] with test metrics, the
    interval of the MSE (the square of that of the RMSE) and seconds.
    """
    rows = []
    for record in runs(folder):
        config, test = record.config, record.metrics["test"]
        if not config["split"].startswith("published") or "mse" not in test:
            continue
        interval = record.metrics["interval"]
        kept = ("mse", "mse_measured", "ci", "rm2", "pcc", "auroc", "auprc", "ece")
        row = {key: test.get(key) for key in kept}
        row |= {"mse_interval": [end**2 for end in interval.get("rmse", [])]}
        row |= {name: interval.get(key, []) for name, key in INTERVALS.items()}
        seconds = record.provenance["seconds"]
        about = {key: config[key] for key in ("dataset", "split", "fold", "model")}
        rows.append({**about, **row, "cpu_seconds": seconds.get("fit_cpu")})
    return sorted(rows, key=lambda row: [str(row[key]) for key in ("dataset", "split", "model")])


INTERVALS = {"ci_interval": "ci", "auroc_interval": "auroc"}


def in_words(overrides):
    """What a run changed of its model's settings: "ridges 0.03, 0.1, 0.3; tolerance 0.01", of a
    model inside another, too.
    """
    parts = []
    for name, value in sorted(overrides.items()):
        if name == "settings":
            parts.append(in_words(value))
        elif isinstance(value, (list, tuple)):
            parts.append(f"{name} {', '.join(map(str, value))}")
        else:
            parts.append(f"{name} {value}")
    return "; ".join(parts).replace("_", " ")


def cold(folder=None):
    """Means over folds of every model on a split that holds entities out: [{dataset, options,
    split, model, settings, folds, mse, ci, ...}].
    """
    found = {}
    for record in runs(folder):
        config, test = record.config, record.metrics["test"]
        names = [side for side in ("compound", "protein", "both") if side in config["split"]]
        if names and config["split"].endswith("_blind") and "mse" in test:
            key = (config["dataset"], str(config["options"]), config["split"], config["model"])
            key += (in_words(record.provenance["overrides"] or {}),)
            found.setdefault(key, []).append(test)
    rows = []
    for (dataset, options, split, model, settings), tests in sorted(found.items()):
        means = {
            key: float(np.mean([test[key] for test in tests]))
            for key in ("mse", "ci", "rm2", "pcc")
        }
        about = {"dataset": dataset, "options": options, "split": split, "model": model}
        rows.append({**about, "settings": settings, "folds": len(tests), **means})
    return rows


def named_pairs(benchmark):
    """[pairs] bool: the drug's annotation lists the protein's gene."""
    gene = benchmark.sides[0].frame["gene"].to_numpy(object)
    listed = [
        set(text.split(", ")) if isinstance(text, str) else set()
        for text in benchmark.sides[1].frame["target"]
    ]
    return np.array([gene[row] in listed[column] for row, column in benchmark.pairs])


def predictions(benchmark, kind):
    """variant -> [pairs] predictions of every pair that some fold tests, NaN elsewhere."""
    out = {}
    for name, settings in {"base": {}, **VARIANTS[kind]}.items():
        out[name] = np.full(len(benchmark), np.nan)
        for fold in FOLDS:
            split = data.make_split(benchmark, kind, fold=fold)
            model = models.build("interaction_cold_refit", kind, settings=settings)
            model.fit(benchmark, split)
            out[name][split.test] = model.predict(benchmark.pairs[split.test])
    return out


def worth(benchmark, kind, said):
    """What each modality adds: [{split, variant, mse, ci, change, low, high, folds_better}], change
    of the MSE over all folds with its two-way interval, and in how many of five folds it is lower.
    """
    parts = [data.make_split(benchmark, kind, fold=fold).test for fold in FOLDS]
    at = np.concatenate(parts)
    y, pairs = benchmark.y, benchmark.pairs[at]
    bootstrap, rows = tasks.bootstrap_of(benchmark), []
    draws = {
        name: bootstrap.statistics(pairs, y[at], values[at], ["rmse"])["rmse"] ** 2
        for name, values in said.items()
    }
    for name, values in said.items():
        low, high = tasks.interval(draws[name] - draws["base"])
        found = [
            [np.mean((y[part] - some[part]) ** 2) for part in parts]
            for some in (values, said["base"])
        ]
        row = {"split": kind, "variant": name, "mse": float(np.mean(found[0]))}
        row["ci"] = float(np.mean([metrics.concordance(y[p], values[p]) for p in parts]))
        row["change"] = float(np.mean((y[at] - values[at]) ** 2 - (y[at] - said["base"][at]) ** 2))
        row |= {"low": float(low), "high": float(high)}
        rows.append(row | {"folds_better": int(np.sum(np.less(*found)))})
    return rows


def leak(benchmark, said):
    """What annotation is worth for a new drug, with and without the pairs that it names: [{variant,
    group, pairs, mse, gain, share}]; gain over the base, share of the whole gain.
    """
    mask, rows = named_pairs(benchmark), []
    error = {name: (benchmark.y - values) ** 2 for name, values in said.items()}
    for name in ("base", "mechanism", "struck", "dealt", "presence", "targets"):
        gains = error["base"] - error[name]
        total = float(np.nanmean(gains))
        for group, some in (("all", mask | True), ("named", mask), ("not named", ~mask)):
            gain = float(np.nanmean(gains[some]))
            share = gain * some.mean() / total if total else float("nan")
            row = {"variant": name, "group": group, "pairs": int(some.sum())}
            rows.append(
                row | {"mse": float(np.nanmean(error[name][some])), "gain": gain, "share": share}
            )
    return rows


def named(benchmark):
    """Davis's named pairs against the others: numbers, mean pKd, share of hits, and how well being
    named alone tells hits.
    """
    mask, hit = named_pairs(benchmark), (benchmark.y > HIT).astype(float)
    return {
        "pairs": len(mask),
        "named": int(mask.sum()),
        "mean_named": float(benchmark.y[mask].mean()),
        "mean_others": float(benchmark.y[~mask].mean()),
        "hits_named": float(hit[mask].mean()),
        "hits_others": float(hit[~mask].mean()),
        "auroc": metrics.auroc(hit, mask.astype(float)),
    }


def named_in_human(benchmark):
    """The same for the test sets of Human: [{split, test, named, binding}]."""
    mask, rows = named_pairs(benchmark), []
    for kind in benchmark.partitions:
        test = data.make_split(benchmark, kind).test
        inside = test[mask[test]]
        rows.append(
            {
                "split": kind,
                "test": len(test),
                "named": len(inside),
                "binding": int(benchmark.y[inside].sum()),
            }
        )
    return rows


def measured_targets(columns):
    """Gene, in capitals -> columns of assays that measure it: a part of the column's name is the
    gene, as in "NVS_ENZ_hFGFR1", with or without the letter of the species before it.
    """
    found = {}
    for place, column in enumerate(columns):
        for part in str(column).split("_"):
            for gene in {part, part[1:] if part[:1] in tuple("bghmr") else part}:
                found.setdefault(gene.upper(), []).append(place)
    return found


def assays_on_the_target(benchmark):
    """Pairs whose drug was tried in an assay on the very protein: {dataset, pairs, proteins,
    active, binding_active, binding_inactive, binding, auroc}, shares of pairs that bind among those
    that the assay calls active and inactive and among all.
    """
    drug, gene = benchmark.side("drug"), benchmark.sides[0].frame["gene"].to_numpy(object)
    calls = np.asarray(drug.views["assay"], dtype=float)  # [drugs, assays]
    columns = measured_targets(drug.views["assay"].columns)
    call = np.full(len(benchmark), np.nan)
    for pair, (row, column) in enumerate(benchmark.pairs):
        place = columns.get(gene[row].upper()) if isinstance(gene[row], str) else None
        values = calls[column, place] if place else np.empty(0)
        if np.isfinite(values).any():
            call[pair] = np.nanmax(values)
    known = np.isfinite(call)
    binds = (benchmark.y > (HIT if benchmark.task == "affinity" else 0.5)).astype(float)
    out = {"dataset": benchmark.name, "pairs": int(known.sum()), "all": len(benchmark)}
    out |= {"proteins": len(set(gene[benchmark.pairs[known, 0]])), "binding": float(binds.mean())}

    def share(some):
        return float(binds[some].mean()) if some.any() else float("nan")

    if known.any():
        out |= {
            "active": int((call == 1).sum()),
            "binding_active": share(call == 1),
            "binding_inactive": share(call == 0),
            "auroc": metrics.auroc(binds[known], call[known]),
        }
    return out


def main(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", metavar="DIR")
    parser.add_argument(
        "--runs", action="store_true", help="read the runs anew, keep what was trained for the rest"
    )
    given = parser.parse_args(argv)
    folder = given.records
    if given.runs:
        record = read("interactions", folder)
        of_runs = {"published": published(folder), "cold": cold(folder)}
        parts = {"config": record.config, "provenance": record.provenance}
        write_derived("interactions", {**parts, "metrics": {**record.metrics, **of_runs}}, folder)
        return
    davis, human = data.load("davis", modalities="all"), data.load("human")
    tables = (davis, human, data.load("biosnap_partial"))
    said = {kind: predictions(davis, kind) for kind in VARIANTS}
    body = {
        "published": published(folder),
        "cold": cold(folder),
        "named": named(davis),
        "named_in_human": named_in_human(human),
        "modalities": [row for kind in said for row in worth(davis, kind, said[kind])],
        "leak": leak(davis, said["compound_blind"]),
        "assays": [assays_on_the_target(table) for table in tables],
    }
    about = {"grid": "dti", "variants": VARIANTS, "hit": HIT, "task": tasks.of(davis).name}
    parts = {"config": about, "metrics": body, "provenance": provenance(davis)}
    write_derived("interactions", parts, folder)


if __name__ == "__main__":
    sys.exit(main())
