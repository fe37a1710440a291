"""Are representations ordered as the responses are? Runs the study `cldr`, measures each network
that it trains, and writes the record `order-gdsc2` (chapter `cldr`).

    python experiments/order.py                 run what is missing of the study, then the record
    python experiments/order.py --only-record   the record of what has been measured
    python experiments/order.py --logs FILE     also reads the authors' training logs
    python experiments/order.py --search        looks for a stronger base, on validation sets

needs `CLMT_DATA`. A training is measured when it is made; it can be interrupted at any time, and
goes on with the training that is missing.

*Raw* order is that of ln IC50 over all test pairs, *residual* order that of ln IC50 less each
drug's mean, in the drug's deviations, and *within* asks of triplets of one drug alone. *Read* is
the correlation of the number whose text is nearest with the label, over all pairs and per drug.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from clmt_lib import data, models, records, tasks
from clmt_lib.io import atomic_write
from clmt_lib.records import provenance, write_derived
from clmt_lib.records.store import home
from clmt_lib.tasks import order

ROOT = Path(__file__).resolve().parent
STUDY = ROOT / "configs" / "studies" / "cldr.yaml"
DATASET = "gdsc2"
SPLITS = ("cell_blind", "drug_blind")
FOLDS = (0,)
MARGIN = 0.3  # standard deviations by which two distances of responses must differ
PAIRS, DRAWS = 3000, 150  # test pairs that triplets are made of; of the bootstrap
PHASES = ("untrained", "pretrained", "fine_tuned")
MIDDLE = slice(200, 801)  # numbers that occur
SEARCHED = "cell_blind", 0, (0, 1)  # where a stronger base was looked for: split, seed, folds
LADDER = "kernel_omics", "kernel_text"  # what a base should come near
OMICS = ["expression", "mutation", "copy_number"]
SEARCH: dict[str, dict] = {  # what was tried, beyond the study's base
    "the base": {},
    "400 updates": {"updates": 400},
    "all omics": {"cell_views": OMICS},
    "larger tiles": {"tile": [192, 96]},
    "a third of the rate": {"learning_rate": 1.7e-3},
    "a fifth of the rate": {"learning_rate": 1e-3},
    "a third of the rate, larger tiles": {"learning_rate": 1.7e-3, "tile": [192, 96]},
    "a third of the rate, 400 updates": {"learning_rate": 1.7e-3, "updates": 400},
    "a third of the rate, half of the inputs dropped": {"learning_rate": 1.7e-3, "drop_in": 0.5},
    "a third of the rate, weight decay 0.5": {"learning_rate": 1.7e-3, "weight_decay": 0.5},
    "a third of the rate, three members": {"learning_rate": 1.7e-3, "members": 3},
    "a tenth of the rate": {"learning_rate": 5e-4},
    "a fifth of the rate, half of the inputs dropped": {"learning_rate": 1e-3, "drop_in": 0.5},
    "a fifth of the rate, three members": {"learning_rate": 1e-3, "members": 3},
    "a fifth of the rate, less dropout": {"learning_rate": 1e-3, "drop_in": 0.1, "drop": 0.2},
    "a fifth of the rate, 64 components": {"learning_rate": 1e-3, "components": 64},
    "a fifth of the rate, all omics": {"learning_rate": 1e-3, "cell_views": OMICS},
    "a fifth of the rate, narrower": {"learning_rate": 1e-3, "tower": 128, "hidden": 32},
    "a fifth of the rate, more dropout": {"learning_rate": 1e-3, "drop": 0.7},
    "a fifth of the rate, larger tiles": {"learning_rate": 1e-3, "tile": [192, 96]},
    "a fifth of the rate, expression and mutations": {
        "learning_rate": 1e-3,
        "cell_views": ["expression", "mutation"],
    },
    "a fifth of the rate, larger tiles, three members": {
        "learning_rate": 1e-3,
        "tile": [192, 96],
        "members": 3,
    },
    "a fifth of the rate, wider": {"learning_rate": 1e-3, "tower": 512, "hidden": 128},
}


def residuals(benchmark, positions):
    """[n] ln IC50 less the drug's mean over these pairs, in the drug's deviations over them."""
    frame = pd.DataFrame({"drug": benchmark.pairs[positions, 1], "y": benchmark.y[positions]})
    grouped = frame.groupby("drug")["y"]
    spread = grouped.transform("std").fillna(1.0).clip(lower=1e-9)
    return ((frame["y"] - grouped.transform("mean")) / spread).to_numpy()


def questions(benchmark, positions):
    """Question -> (responses, groups or None, margin in their units)."""
    drug, y = benchmark.pairs[positions, 1], benchmark.y[positions]
    left = residuals(benchmark, positions)
    return {
        "raw": (y, None, MARGIN * y.std()),
        "residual": (left, None, MARGIN),
        "within": (left, drug, MARGIN),
    }


def measured(model, benchmark, split, draws=DRAWS):
    """What one trained model knows of order on its test pairs: [{phase, question, value}], and
    question -> phase -> ([draws] values, [draws] weights).
    """
    boot = tasks.Bootstrap(benchmark.shape, draws)
    rng = np.random.default_rng(0)
    some = np.sort(rng.permutation(split.test)[:PAIRS])
    pairs, rows, drawn = benchmark.pairs[some], [], {}
    phases = [p for p in PHASES if p != "pretrained" or model.config.steps[0]]
    z = {phase: model.embed(pairs, phase=phase) for phase in phases}
    for name, (value, groups, margin) in questions(benchmark, some).items():
        asked = order.triplets(value, groups, margin)
        shares, weights = order.order_draws(z, value, pairs, boot, groups, margin)
        for phase in phases:
            right = order.triplet_order(z[phase], asked)
            rows.append({"phase": phase, "question": name, "value": right.mean()})
            drawn[name, phase] = shares[phase], weights
    lines = []
    if model.config.alignment in ("clip", "soft"):
        pairs, y = benchmark.pairs[split.test], benchmark.y[split.test]
        read, label = model.read(pairs, phase="pretrained"), model.labels(y, pairs)
        found = tasks.evaluate(
            label, read, {"drug": pairs[:, 1]}, ["spearman", "spearman_per_drug"]
        )
        told = boot.statistics(pairs, label, read, found)
        weights = boot.weights(pairs, found)
        for name, key in (("read", "spearman"), ("read within", "spearman_per_drug")):
            rows.append({"phase": "pretrained", "question": name, "value": found[key]})
            drawn[name, "pretrained"] = told[key], weights[key]
        lines = [
            {"phase": phase, **order.straightness(model.numbers(phase=phase)[MIDDLE])}
            for phase in phases
        ]
    return rows, drawn, lines


def measure(config, model, benchmark, split, folder=None):
    """Keep the measures of a model that a study has just trained, if they are asked for."""
    asked = config.dataset == DATASET and config.split in SPLITS and config.seed == 0
    if (
        not asked
        or config.fold not in FOLDS
        or config.settings.get("members", 1) > 1
        or {"seed", "learning_rate"} & set(config.settings)
    ):
        return
    rows, drawn, lines = measured(model, benchmark, split)
    body = {
        "rows": rows,
        "drawn": [
            [question, phase, *(np.round(part, 5).tolist() for part in parts)]
            for (question, phase), parts in drawn.items()
        ],
        "lines": lines,
        "curve": [
            [row["step"], row["valid"]] for row in model.history if row.get("valid") is not None
        ],
    }
    path = kept(config, benchmark, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        json.dump(body, file)


def kept(config, benchmark, folder=None):
    """Where the measures of a run are kept on this machine."""
    return home(folder) / "runs" / ".order" / f"{config.id(benchmark.checksum)}.json"


def known(benchmark, folder=None):
    """(variant, split) -> (settings, measures of each fold), of what has been measured."""
    found: dict = {}
    plan = records.read_study(STUDY)
    base = plan[0][1].settings  # of the first row, which changes nothing
    for variant, config in plan:
        path = kept(config, benchmark, folder)
        if path.exists():
            told = json.loads(path.read_text(encoding="utf-8"))
            name = "mse" if config.settings == base else variant
            if config.settings.get("text_width") != base["text_width"]:
                name += ", published size"
            key = name, config.split, json.dumps(config.settings, sort_keys=True)
            found.setdefault(key, (config.settings, {}))[1][config.fold] = told
    return found


def orders(found):
    """[{split, arm, phase, question, value, low, high, folds, gap, gap_low, gap_high}]: means over
    folds with pooled intervals; the gap is to squared error alone at its end, on the same folds.
    """
    rows = []
    for (arm, kind, _), (settings, folds) in found.items():
        if arm.startswith("base") or "share" in settings or settings.get("target") == "normalised":
            continue
        ends = next(
            (
                told
                for (name, split, _), (_, told) in found.items()
                if (name, split) == ("mse", kind)
            ),
            {},
        )
        both = sorted(set(folds) & set(ends))
        for row in folds[both[0]]["rows"] if both else ():
            question, phase = row["question"], row["phase"]
            value, pooled = _pooled([folds[fold] for fold in both], question, phase)
            low, high = tasks.interval(pooled)
            out = {"split": kind, "arm": arm, "phase": phase, "question": question}
            out |= {"value": value, "low": low, "high": high, "folds": len(both)}
            gap: list = [None, None, None]
            if not question.startswith("read"):
                other, drawn = _pooled([ends[fold] for fold in both], question, "fine_tuned")
                gap = [value - other, *tasks.interval(pooled - drawn)]
            out |= dict(zip(("gap", "gap_low", "gap_high"), gap, strict=True))
            rows.append({k: round(v, 4) if isinstance(v, float) else v for k, v in out.items()})
    return rows


def _pooled(told, question, phase):
    """Mean over folds of one measure, and its pooled draws."""
    place = next(
        number
        for number, row in enumerate(told[0]["rows"])
        if (row["question"], row["phase"]) == (question, phase)
    )
    values, weights = (
        np.array([each["drawn"][place][part] for each in told], dtype=float) for part in (2, 3)
    )
    return float(np.mean([each["rows"][place]["value"] for each in told])), tasks.pool(
        values, weights
    )


def number_lines(found):
    """[{arm, form, phase, spearman, chord, linear}] of the networks that read numbers, cell-blind,
    fold 0.
    """
    return [
        {"arm": arm, **line}
        for (arm, kind, _), (_, folds) in found.items()
        if kind == "cell_blind" and 0 in folds
        for line in folds[0]["lines"]
        if line["phase"] != "fine_tuned"
    ]


def as_the_base(settings, base):
    """Whether an arm was trained in the way of the base, its own part apart."""
    keys = ("share", "target", "learning_rate", "backbone", *base)
    return all(settings.get(key) == base.get(key) for key in keys)


def curves(found):
    """[{split, arm, step, valid}] of fold 0: fine-tuning after pre-training, and without."""
    base = records.read_study(STUDY)[0][1].settings
    return [
        {"split": kind, "arm": arm, "step": step, "valid": valid}
        for (arm, kind, _), (settings, folds) in found.items()
        if arm in ("mse", "clip_number", "clip_caption", "soft") and 0 in folds
        if as_the_base(settings, base)
        for step, valid in folds[0]["curve"]
    ]


def fineness(benchmark, noise):
    """How fine a thousandth is, on the labels of all pairs: as published, and of residuals."""
    from clmt_lib.views import captions

    rows = []
    drug = benchmark.pairs[:, 1]
    mean = pd.Series(benchmark.y).groupby(drug).transform("mean").to_numpy()
    for name, x in (("ln IC50", benchmark.y), ("residual", benchmark.y - mean)):
        label = captions.labels(x)
        step = 0.001 / (captions.SLOPE * np.median(label * (1 - label)))
        code = captions.codes(label)
        rows.append(
            {
                "label": name,
                "lowest": label.min(),
                "highest": label.max(),
                "words": len(np.unique(code)),
                "step": step,
                "noise": noise * 0.001 / step,
                "shared": order.shared_words(code, 256),
                "closer": order.closer_than(label, noise * 0.001 / step),
            }
        )
    return rows


def _named(run):
    """A run of the logs as a reader knows it: backbone and recipe, and when it was begun."""
    recipe, began = run.split("/")[0], run.split("__")[-1]
    more = next((f", {part}" for part in run.split("_") if "epoch" in part), "")
    return (
        f"{recipe.replace('_', ' ')}{more}, {began[6:8]}.{began[4:6]}. {began[8:10]}:{began[10:12]}"
    )


def logs(path):
    """What the authors' training logs say: for each run its RMSE at its best epoch, and at the
    epoch they report, the last at which their validation improved.
    """
    frame, rows = pd.read_csv(path), []
    for run, curve in frame.groupby("run", sort=True):
        best = curve.loc[curve["rmse"].idxmin()]
        last = curve.iloc[-1]
        marks = sorted({0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, int(last["epoch"])})
        at = curve[curve["epoch"].isin(marks)]
        rows.append(
            {
                "run": _named(run),
                "epochs": int(last["epoch"]),
                "best_epoch": int(best["epoch"]),
                "best_rmse": float(best["rmse"]),
                "best_pcc": float(best["pearson"]),
                "last_rmse": float(last["rmse"]),
                "last_pcc": float(last["pearson"]),
                "marks": at["epoch"].astype(int).tolist(),
                "relative": (at["rmse"] / best["rmse"]).round(4).tolist(),
            }
        )
    return rows


def search(names=(), folder=None):
    """Score what `SEARCH` names, or some of it, on the validation sets of `SEARCHED`; no test pair
    is read.
    """
    benchmark, base = data.load(DATASET), records.read_study(STUDY)[0][1].settings
    kind, seed, folds = SEARCHED
    for fold in folds:
        split = data.make_split(benchmark, kind, seed, fold)
        y, groups = benchmark.y[split.valid], {"drug": benchmark.pairs[split.valid, 1]}
        for name in names or SEARCH:
            settings = base | SEARCH[name]
            path = searched(settings, fold, benchmark, folder)
            if path.exists():
                continue
            began = time.process_time()
            model = models.build("cldr", kind, **settings)
            model.device = "cpu"
            model.fit(benchmark, split)
            found = model.predict(benchmark.pairs[split.valid])
            told = tasks.evaluate(y, found, groups, ["rmse", "pcc_per_drug"])
            told = {"cpu": time.process_time() - began, "fold": fold, **told}
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                json.dump(told, file)
            print(name, fold, told, flush=True)


def searched(settings, fold, benchmark, folder=None):
    """Where the validation scores of a search are kept on this machine."""
    kind, seed, _ = SEARCHED
    config = records.RunConfig(DATASET, kind, "cldr", seed, fold, settings, {})
    return home(folder) / "runs" / ".order" / f"search-{config.id(benchmark.checksum)}.json"


def found_by_search(benchmark, folder=None):
    """[{tried, fold, rmse, pcc_per_drug}] on the validation sets of `SEARCHED`, and of the
    ladder's kernel ridges on the same.
    """
    rows, base = [], records.read_study(STUDY)[0][1].settings
    kind, seed, folds = SEARCHED
    for name, change in SEARCH.items():
        paths = [searched(base | change, fold, benchmark, folder) for fold in folds]
        for path in (path for path in paths if path.exists()):
            told = json.loads(path.read_text(encoding="utf-8"))
            keys = ("fold", "rmse", "pcc_per_drug")
            rows.append({"tried": name, **{key: told[key] for key in keys}})
    for rung in LADDER if rows else ():
        for fold in folds:
            config = records.RunConfig(DATASET, kind, rung, seed, fold, {}, {})
            told = records.read(config.id(benchmark.checksum), folder).metrics["valid"]
            keys = ("rmse", "pcc_per_drug")
            rows.append({"tried": rung, "fold": fold, **{key: told[key] for key in keys}})
    return rows


def ranking(benchmark, folder=None):
    """[{split, arm, folds, gain}]: by how many per cent an arm's error on the validation sets of a
    blind split, seed 0 and folds 0 to 4, is below that of squared error alone; by the means of the
    two splits, the arms that run on more seeds were chosen.
    """
    plan, told = records.read_study(STUDY), {}
    base = plan[0][1].settings
    for variant, config in plan:
        arm = "mse" if config.settings == base else variant
        name = config.id(benchmark.checksum)
        asked = config.dataset == DATASET and config.split in SPLITS and not config.seed
        if asked and config.fold < 5 and arm != "base" and records.exists(name, folder):
            rmse = records.read(name, folder).metrics["valid"]["rmse"]
            if variant == "two_members" or as_the_base(config.settings, base):
                told.setdefault((config.split, arm), {})[config.fold] = rmse
    rows = []
    for (kind, arm), found in told.items():
        plain = told[kind, "mse"]
        gains = [100 * (1 - found[fold] / plain[fold]) for fold in found]
        if arm != "mse" and len(gains) == 5:
            rows.append({"split": kind, "arm": arm, "folds": 5, "gain": float(np.mean(gains))})
    return rows


def record(folder=None, authors=None):
    """Write `order-gdsc2` from what has been measured; returns its metrics."""
    benchmark = data.load(DATASET)
    found = known(benchmark, folder)
    name = f"order-{DATASET}"
    earlier = records.read(name, folder).metrics if records.exists(name, folder) else {}
    noise = float(records.read(f"noise-{DATASET}", folder).metrics["noise"]["mean"])
    body = {
        "orders": orders(found),
        "lines": number_lines(found),
        "curves": curves(found),
        "fineness": fineness(benchmark, noise),
        "noise": noise,
        "logs": logs(authors) if authors else earlier.get("logs"),
        "ranking": ranking(benchmark, folder),
        "search": found_by_search(benchmark, folder) or earlier.get("search", []),
    }
    about = {
        "dataset": DATASET,
        "splits": list(SPLITS),
        "folds": list(FOLDS),
        "margin": MARGIN,
        "triplets": order.TRIPLETS,
        "pairs": PAIRS,
        "draws": DRAWS,
        "checksum": benchmark.checksum,
    }
    parts = {"config": about, "metrics": body, "provenance": provenance(benchmark)}
    return write_derived(name, parts, folder).metrics


def main(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only-record", action="store_true")
    parser.add_argument("--search", nargs="*", metavar="NAME", choices=SEARCH)
    parser.add_argument("--records", metavar="DIR")
    parser.add_argument("--logs", metavar="FILE", help="cldr_training_logs.csv.gz")
    options = parser.parse_args(argv)

    def also(*made):
        measure(*made, folder=options.records)

    if options.search is not None:
        return search(options.search, options.records)
    if not options.only_record:
        records.run_study(STUDY, options.records, device="cpu", also=also)
        records.summarise_study(STUDY, options.records)
    found = record(options.records, options.logs)
    print(f"order-{DATASET}: {len(found['orders'])} measures of order")


if __name__ == "__main__":
    sys.exit(main())
