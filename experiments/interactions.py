"""Where drug-target models stand, and where annotation gives the answer away: the record
`interactions` (the chapter on UMME and ACMO).

    python experiments/interactions.py

reads the runs of `experiments/configs/dti.yaml` and of the study `modalities`, and makes again what
it needs of predictions that are not on this machine (needs `CLMT_DATA`).

A pair is *named* where the drug's annotation lists the protein's gene among its targets.
"""

import argparse
import sys

import numpy as np

from clmt_lib import data, tasks
from clmt_lib.config import Study, load
from clmt_lib.records import RunConfig, provenance, run, write_derived
from clmt_lib.records.store import runs
from clmt_lib.tasks import metrics

STUDY = "experiments/configs/studies/modalities.yaml"
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


def cold(folder=None):
    """Means over folds of every model on a split that holds entities out: [{dataset, options,
    split, model, settings, folds, mse, ci, ...}].
    """
    found = {}
    for record in runs(folder):
        config, test = record.config, record.metrics["test"]
        names = [side for side in ("compound", "protein", "both") if side in config["split"]]
        if names and config["split"].endswith("_blind") and "mse" in test:
            model = config["model"] + (" (changed)" if record.provenance["overrides"] else "")
            key = (config["dataset"], str(config["options"]), config["split"], model)
            key += (str(record.provenance["overrides"]),)
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


def leak(benchmark, folder=None):
    """What annotation is worth for a new drug, with and without the pairs that it names: [{variant,
    group, pairs, mse, gain, share}]; gain over the base of the study, share of the whole gain.
    """
    study = load(Study, STUDY, "study")
    named, rows, whole = named_pairs(benchmark), [], {}
    base = {"model": study.base.model, "settings": study.base.settings}
    for name, change in {"base": base, **study.variants}.items():
        if name not in ("base", "mechanism", "struck", "dealt", "presence", "targets"):
            continue
        error = np.full(len(benchmark), np.nan)
        for fold in FOLDS:
            config = RunConfig(
                "davis",
                "compound_blind",
                change["model"],
                fold=fold,
                settings=change["settings"],
                options={"modalities": "all"},
            )
            found = run(config, folder, needs=("predictions",), benchmark=benchmark).predictions
            found = found[found["role"] == "test"]
            at = found["position"].to_numpy()
            error[at] = (benchmark.y[at] - found["predicted"].to_numpy()) ** 2
        whole[name] = error
    for name, error in whole.items():
        total = float(np.nanmean(whole["base"] - error))
        for group, mask in (("all", named | True), ("named", named), ("not named", ~named)):
            gain = float(np.nanmean((whole["base"] - error)[mask]))
            share = gain * mask.mean() / total if total else float("nan")
            row = {"variant": name, "group": group, "pairs": int(mask.sum())}
            rows.append(row | {"mse": float(np.nanmean(error[mask])), "gain": gain, "share": share})
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
    if known.any():
        out |= {
            "active": int((call == 1).sum()),
            "binding_active": float(binds[call == 1].mean()),
            "binding_inactive": float(binds[call == 0].mean()),
            "auroc": metrics.auroc(binds[known], call[known]),
        }
    return out


def main(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", metavar="DIR")
    folder = parser.parse_args(argv).records
    davis, human = data.load("davis", modalities="all"), data.load("human")
    tables = (davis, human, data.load("biosnap_partial"))
    body = {
        "published": published(folder),
        "cold": cold(folder),
        "named": named(davis),
        "named_in_human": named_in_human(human),
        "leak": leak(davis, folder),
        "assays": [assays_on_the_target(table) for table in tables],
    }
    about = {"grid": "dti", "study": "modalities", "hit": HIT, "task": tasks.of(davis).name}
    parts = {"config": about, "metrics": body, "provenance": provenance(davis)}
    write_derived("interactions", parts, folder)


if __name__ == "__main__":
    sys.exit(main())
