"""Are representations ordered as the responses are? Networks trained with and without an alignment
to the words of a response, as the record `order-<dataset>` (chapter `cldr`).

    python experiments/order.py gdsc2
    python experiments/order.py gdsc2 --logs FOLDER   also reads the authors' training logs

needs `CLMT_DATA`, and takes about ten minutes. What is measured once is kept beside the record, so
that an interrupted measurement goes on where it was.

*Raw* order is that of ln IC50 over all test pairs, *residual* order that of ln IC50 less each
drug's mean, in the drug's deviations, and *within* asks of triplets of one drug alone. *Read* is
the correlation of the number whose text is nearest with the label, over all pairs and per drug.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from clmt_lib.models.cldr import ARMS

from clmt_lib import data, models, tasks
from clmt_lib.io import atomic_write
from clmt_lib.records import provenance, write_derived
from clmt_lib.records.store import digest, home
from clmt_lib.tasks import order

SPLITS = ("cell_blind", "drug_blind")
FOLDS = (0, 1, 2)
MEASURED = (
    "mse",
    "histogram",
    "clip_number",
    "clip_caption",
    "clip_entity",
    "clip_shuffled",
    "soft",
    "rank_before",
)
WIDTHS = (0.001, 0.003, 0.01, 0.02, 0.03, 0.1)  # of soft targets, in labels
NUMBERS = {  # name -> settings: what stands in the number's place
    "words": {},
    "graph as published": {"graph": "published"},
    "graph, mean margin": {"graph": "margin"},
    "line": {"numbers": "line"},
    "sinusoidal": {"numbers": "sinusoidal"},
    "rbf": {"numbers": "rbf"},
}
MARGIN = 0.3  # standard deviations by which two distances of responses must differ
DRAWS = 400
PHASES = ("untrained", "pretrained", "fine_tuned")
MIDDLE = slice(200, 801)  # numbers that occur


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
    pairs, y = benchmark.pairs[split.test], benchmark.y[split.test]
    boot = tasks.Bootstrap(benchmark.shape, draws)
    rows, drawn = [], {}
    phases = [p for p in PHASES if p != "pretrained" or model.config.steps[0]]
    reads = model.config.alignment in ("clip", "soft")
    for phase in phases:
        z = model.embed(pairs, phase=phase)
        for name, (value, groups, margin) in questions(benchmark, split.test).items():
            asked = order.triplets(value, groups, margin)
            right = order.triplet_order(z, asked)
            rows.append({"phase": phase, "question": name, "value": right.mean()})
            drawn[name, phase] = order.mean_over_tuples(right, asked, pairs, boot)
        if reads and phase != "untrained":
            read, label = model.read(pairs, phase=phase), model.labels(y, pairs)
            found = tasks.evaluate(
                label, read, {"drug": pairs[:, 1]}, ["spearman", "spearman_per_drug"]
            )
            told = boot.statistics(pairs, label, read, found)
            weights = boot.weights(pairs, found)
            for name, key in (("read", "spearman"), ("read within", "spearman_per_drug")):
                rows.append({"phase": phase, "question": name, "value": found[key]})
                drawn[name, phase] = told[key], weights[key]
    lines = []
    if reads:
        lines = [
            {"phase": phase, **order.straightness(model.numbers(phase=phase)[MIDDLE])}
            for phase in phases
        ]
    return rows, drawn, lines


def fitted(settings, benchmark, split):
    """A trained CLDR."""
    return models.build("cldr", split.kind, **settings).fit(benchmark, split)


class Kept:
    """What was measured, one file an answer; measured where it is not there."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def __call__(self, about, measure):
        """The answer to `about`, from its file or from `measure()`."""
        path = self.folder / f"{digest(about)}.json"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            found = measure()
            with atomic_write(path) as file:
                json.dump({"about": about, "found": found}, file)
        return json.loads(path.read_text(encoding="utf-8"))["found"]


def one(arm, settings, kind, fold, benchmark, draws=DRAWS):
    """What is kept of one training: its measures, their draws, and how well it predicts."""
    split = data.make_split(benchmark, kind, 0, fold)
    model = fitted(settings, benchmark, split)
    rows, drawn, lines = measured(model, benchmark, split, draws)
    score = tasks.score(benchmark, split, models.predicted(model, benchmark.pairs[split.test]))
    return {
        "rows": rows,
        "drawn": [
            [question, phase, *(np.round(part, 5).tolist() for part in parts)]
            for (question, phase), parts in drawn.items()
        ],
        "lines": lines,
        "score": {key: score[key] for key in ("rmse", "pcc_per_drug")},
    }


def orders(benchmark, kept, version):
    """[{split, arm, phase, question, value, low, high, folds}]: means over folds, their draws
    pooled, and the paired difference to MSE's end where that is asked.
    """
    rows = []
    for kind in SPLITS:
        ends: dict = {}
        for arm in MEASURED:
            found = [
                kept(
                    {"order": arm, "kind": kind, "fold": fold, "version": version},
                    lambda arm=arm, kind=kind, fold=fold: one(
                        arm, ARMS[arm], kind, fold, benchmark
                    ),
                )
                for fold in FOLDS
            ]
            for place, row in enumerate(found[0]["rows"]):
                at = {"split": kind, "arm": arm, "phase": row["phase"], "question": row["question"]}
                value = np.mean([each["rows"][place]["value"] for each in found])
                values, weights = (
                    np.array([each["drawn"][place][part] for each in found], dtype=float)
                    for part in (2, 3)
                )
                pooled = tasks.pool(values, weights)
                low, high = tasks.interval(pooled)
                rows.append({**at, "value": value, "low": low, "high": high, "folds": len(found)})
                key = row["question"]
                if arm == "mse" and row["phase"] == "fine_tuned":
                    ends[key] = value, pooled
                if key in ends:
                    gap = tasks.interval(pooled - ends[key][1])
                    rows[-1] |= {
                        "gap": value - ends[key][0], "gap_low": gap[0], "gap_high": gap[1]
                    }  # fmt: skip
                else:
                    rows[-1] |= {"gap": None, "gap_low": None, "gap_high": None}
    return rows


def sweep(benchmark, kept, version):
    """[{split, width, order, rmse, r}] of soft targets of several widths, means over folds."""
    rows = []
    for kind in SPLITS:
        for width in WIDTHS:
            found = [
                kept(
                    {"width": width, "kind": kind, "fold": fold, "version": version},
                    lambda width=width, kind=kind, fold=fold: one(
                        "soft", {**ARMS["soft"], "width": width}, kind, fold, benchmark, 2
                    ),
                )
                for fold in FOLDS[:2]
            ]
            ordered = [
                next(
                    row["value"]
                    for row in each["rows"]
                    if (row["phase"], row["question"]) == ("pretrained", "residual")
                )
                for each in found
            ]
            rows.append(
                {
                    "split": kind,
                    "width": width,
                    "order": float(np.mean(ordered)),
                    "rmse": float(np.mean([each["score"]["rmse"] for each in found])),
                    "r": float(np.mean([each["score"]["pcc_per_drug"] for each in found])),
                }
            )
    return rows


def number_lines(benchmark, kept, version):
    """[{form, phase, spearman, chord, linear}] on one cell-blind fold."""
    rows = []
    for form, settings in NUMBERS.items():
        found = kept(
            {"numbers": form, "version": version},
            lambda settings=settings: one(
                "clip", {**ARMS["clip_number"], **settings}, "cell_blind", 0, benchmark, 2
            ),
        )
        rows += [{"form": form, **line} for line in found["lines"] if line["phase"] != "fine_tuned"]
    return rows


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
                "run": run.split("/")[0] + " " + run.split("__")[-1][4:8],
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


def record(name, folder=None, authors=None):
    """Measure and write `order-<name>`; returns its metrics."""
    benchmark = data.load(name)
    version = [models.model_class("cldr").version, benchmark.checksum]
    kept = Kept(home(folder) / "runs" / ".order")
    noise = next(iter_noise(folder, name))
    body = {
        "orders": orders(benchmark, kept, version),
        "widths": sweep(benchmark, kept, version),
        "lines": number_lines(benchmark, kept, version),
        "fineness": fineness(benchmark, noise),
        "noise": noise,
        "logs": logs(authors) if authors else None,
    }
    about = {
        "dataset": name,
        "splits": list(SPLITS),
        "folds": list(FOLDS),
        "margin": MARGIN,
        "triplets": order.TRIPLETS,
        "draws": DRAWS,
        "checksum": benchmark.checksum,
    }
    parts = {"config": about, "metrics": body, "provenance": provenance(benchmark)}
    return write_derived(f"order-{name}", parts, folder).metrics


def iter_noise(folder, name):
    """The noise of one measurement in ln uM, from the record of chapter 09a."""
    from clmt_lib.records import read

    yield float(read(f"noise-{name}", folder).metrics["noise"]["mean"])


def main(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--records", metavar="DIR")
    parser.add_argument("--logs", metavar="FILE", help="cldr_training_logs.csv.gz")
    options = parser.parse_args(argv)
    found = record(options.dataset, options.records, options.logs)
    print(f"order-{options.dataset}: {len(found['orders'])} measures of order")


if __name__ == "__main__":
    sys.exit(main())
