"""Networks of drugs and proteins: what ACMO does in invented worlds, and UMME on real tables, as
the records `umme-world`, `umme-published`, `umme-epochs` and `umme-partial` (the UMME chapter).

    python experiments/umme.py world published epochs partial

The last three need `CLMT_DATA`. What was computed is kept line by line in a scratch file beside the
runs, so an interrupted call goes on where it was; with `--collect` nothing is trained.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from functools import cache

import numpy as np
import torch

from clmt_lib import data, tasks
from clmt_lib.io import atomic_write
from clmt_lib.models import build
from clmt_lib.models.interaction import Likeness, residuals, solve_few
from clmt_lib.models.umme import UMME
from clmt_lib.records import provenance, store, write_derived
from clmt_lib.training import Callback

SMALL = {"dim": 24, "hidden": 48, "steps": 100, "learning_rate": 0.01, "drop": 0.2}
SMALL |= {"drop_in": 0.1, "identity": False, "hide": 1.0}
WORLD = {"drugs": 200, "proteins": 30}
PARTS = {"curriculum": "reliability", "modality_dropout": "scheduled", "align": 0.1}
VARIANTS = {  # in the order of what is wanted first
    "reliability first": {"curriculum": "reliability"},
    "equal weights": {"curriculum": "equal"},
    "acmo": PARTS,
    "plain": {},
    "reliabilities permuted": {"curriculum": "permuted"},
    "contrast": {"align": 0.1},
    "scheduled dropout": {"modality_dropout": "scheduled"},
    "plain dropout": {"modality_dropout": "plain"},
    "mean imputed": {"missing": "mean"},
}
BARCODE = {
    "equal weights": {"curriculum": "equal"},
    "judged by held-in pairs": {"curriculum": "reliability", "held_by": "pairs"},
    "equal weights, pairs held in": {"curriculum": "equal", "held_by": "pairs"},
    "judged by held-in drugs": {"curriculum": "reliability"},
}
TRUTHS, SEEDS = ("structure", "words", "genes"), range(5)
ROWS = {"row_views": [], "column_views": [], "kernel_rows": True, "dim": 128, "hidden": 256}
ROWS |= {"head": "dot", "drop_identity": 0.2}  # chosen on the first fold, of nine variants
BLENDED = (0, 2)  # folds on which the share of a network is learned
WEIGHTS, RIDGE = {"fingerprint": 1.0}, 0.3  # of kernels (others a half), and of their ridge: as set
LARGE = {**ROWS, "landmarks": 400}  # of KIBA's two thousand drugs


def rows_of(part, plan, collect):
    """The results of a plan {name: function () -> dict}, those that are kept and those made now."""
    path = store.home() / "runs" / f"umme-{part}.jsonl"
    kept = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            kept[row["key"]] = row
    for key, make in plan.items():
        if key not in kept and not collect:
            began = time.process_time()
            found = make()
            kept[key] = {"key": key, **found, "cpu_seconds": round(time.process_time() - began, 1)}
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                file.write("".join(json.dumps(row) + "\n" for row in kept.values()))
            print(json.dumps(kept[key]), flush=True)
    return [kept[key] for key in plan if key in kept]


def scored(model, benchmark, split, names=("mse", "ci", "rm2", "auroc", "auprc")):
    """Metrics of the test set, as far as the task has them."""
    found = tasks.score(benchmark, split, model.predict(benchmark.pairs[split.test]))
    return {name: round(found[name], 4) for name in names if name in found}


def lacking(model, rate, seed=0):
    """The model where each drug lacks each modality with a chance of `rate`, at test."""
    rng = np.random.default_rng([seed, 5])
    names = list(model.inputs.present[1])
    n = len(model.inputs.seen[1])
    return model.seeing({1: {name: rng.random(n) >= rate for name in names}})


def in_world(truth, seed, changes):
    """One training in one world, asked about new drugs."""
    benchmark = data.load("interactions", truth=truth, seed=seed, **WORLD)
    split = data.make_split(benchmark, "drug_blind", seed=seed)
    model = UMME.make(**{**SMALL, **changes, "seed": seed}).fit(benchmark, split)
    reliability = {name: round(r, 4) for name, r in model.reliabilities()["column"].items()}
    half = scored(lacking(model, 0.5), benchmark, split)["mse"]
    return {**scored(model, benchmark, split), "mse_half": half, "reliability": reliability}


def world(collect):
    """Three truths and five seeds, each variant; then the truth that deceives a judge of pairs."""
    plan = {}
    for name, changes in VARIANTS.items():
        for seed in SEEDS:
            for truth in TRUTHS:
                plan[f"{truth}/{seed}/{name}"] = lambda t=truth, s=seed, c=changes: in_world(
                    t, s, c
                )
        if name == "equal weights":
            for seed in SEEDS:
                for variant, change in BARCODE.items():
                    plan[f"barcode/{seed}/{variant}"] = lambda s=seed, c=change: in_world(
                        "barcode", s, c
                    )
    about = {"settings": SMALL, "world": WORLD, "variants": VARIANTS, "barcode": BARCODE}
    benchmark = data.load("interactions", **WORLD)
    return about, rows_of("world", plan, collect), [benchmark]


def fitted(benchmark, split, **changes):
    """(model, CPU seconds of its fit)."""
    began = time.process_time()
    model = UMME.make(**{**ROWS, **changes})
    model = model.fit(benchmark, split) if len(split.valid) else model.refit(benchmark, split)
    return model, round(time.process_time() - began, 1)


def squared(benchmark, split, *predictions):
    """[draws] of the MSE of each prediction for the test set, paired."""
    asked, y = benchmark.pairs[split.test], benchmark.y[split.test]
    found = tasks.bootstrap_of(benchmark)
    return [found.statistics(asked, y, said, ["rmse"])["rmse"] ** 2 for said in predictions]


def published(collect):
    """Single networks on the published test fold: settings from the folds, then all of them; and
    one of them beside the stack, with a share learned out of fold.
    """

    @cache
    def table(name):
        return data.load(name, modalities="none")

    def one(name, **changes):
        benchmark = table(name)
        split = data.make_split(benchmark, "published_refit")
        model, seconds = fitted(benchmark, split, **changes)
        draws = squared(benchmark, split, model.predict(benchmark.pairs[split.test]))
        low, high = tasks.interval(draws[0])
        found = scored(model, benchmark, split)
        return found | {"low": round(low, 4), "high": round(high, 4), "fit_seconds": seconds}

    def blended():
        benchmark, out, y = table("davis"), [], []
        whole = data.make_split(benchmark, "published_refit")
        for fold in BLENDED:  # each model without the fold that it predicts
            part = data.make_split(benchmark, "published", fold=fold)
            some = replace(part, valid=part.valid[:0])
            said = both(benchmark, some, part.valid)
            out.append(said[:, 0] - said[:, 1])
            y.append(benchmark.y[part.valid] - said[:, 1])
        gap, rest = np.concatenate(out), np.concatenate(y)
        share = float(np.clip(gap @ rest / (gap @ gap), 0, 1))  # of the network
        said = both(benchmark, whole, whole.test)
        mixed = said @ np.array([share, 1 - share])
        names = ["mse", "ci", "rm2"]
        found = tasks.score(benchmark, whole, mixed)
        alone = tasks.score(benchmark, whole, said[:, 1])
        draws = squared(benchmark, whole, mixed, said[:, 1])
        low, high = tasks.interval(draws[0] - draws[1])
        out = {name: round(found[name], 4) for name in names}
        out |= {f"stack_{name}": round(alone[name], 4) for name in names}
        return out | {
            "share": round(share, 3),
            "gap_low": round(low, 4),
            "gap_high": round(high, 4),
        }

    plan = {
        "davis/rows of kernels": lambda: one("davis", identity=False),
        "davis/rows of kernels + identity": lambda: one("davis", identity=True),
        "davis/mean of three": lambda: one("davis", identity=True, members=3),
        "davis/blended with the stack": blended,
        "kiba/rows of kernels + identity": lambda: one("kiba", **LARGE),
    }
    about = {"settings": ROWS, "large": LARGE, "blended": BLENDED}
    described = [table(name) for name in ("davis", "kiba")]
    return about, rows_of("published", plan, collect), described


def both(benchmark, split, asked):
    """[n, 2] what the network and the stack say of pairs, trained on the training set alone."""
    net, _ = fitted(benchmark, split, identity=True)
    stack = build("interaction_stack").refit(benchmark, split)
    return np.stack([model.predict(benchmark.pairs[asked]) for model in (net, stack)], 1)


class Watched(Callback):
    """Test errors on the way, for the experiment on choosing by them, and nothing else."""

    def __init__(self, model, benchmark, split):
        self.model, self.benchmark, self.split, self.test = model, benchmark, split, []

    def on_evaluate(self, step, module, row):
        """Keep the test error of this evaluation."""
        asked = self.benchmark.pairs[self.split.test]
        with torch.inference_mode():
            said = self.model.predicted(module, self.model.inputs, asked)
        self.test.append(float(np.mean((said - self.benchmark.y[self.split.test]) ** 2)))


class Constant(UMME):
    """The rate of learning stays as it is, as in the projects that choose on the test fold."""

    def schedule(self, inputs):
        """See `UMME.schedule`."""
        return replace(super().schedule(inputs), schedule="step")


def epochs(collect):
    """What it buys to choose the epoch by the test fold: one training, three choices."""
    benchmark = data.load("davis", modalities="none")
    split = data.make_split(benchmark, "published", fold=0)

    def one(seed, steady):
        settings = {**ROWS, "dim": 64, "hidden": 128, "steps": 120, "identity": False, "seed": seed}
        settings |= {"evaluate_every": 5, "learning_rate": 1e-3 if steady else 3e-3}
        model = (Constant if steady else UMME).make(**settings)
        watch = Watched(model, benchmark, split)
        model.callbacks = [watch]
        model.fit(benchmark, split)
        valid = [row["valid"] ** 2 for row in model.history]
        test = watch.test
        return {
            "chosen on valid": round(test[int(np.argmin(valid))], 4),
            "chosen on test": round(min(test), 4),
            "last": round(test[-1], 4),
            "steps": settings["steps"],
        }

    plan = {
        f"davis/{'constant' if steady else 'one cycle'}/{seed}": lambda s=seed, c=steady: one(s, c)
        for steady in (True, False)
        for seed in range(3)
    }
    return {"settings": ROWS}, rows_of("epochs", plan, collect), [benchmark]


def partial(collect):
    """Human: new drugs with what is known of them, and with some of it withheld."""
    benchmark = data.load("human", modalities="all")
    names = ["fingerprint", "mechanism", "caption", "assay", "expression"]
    settings = {"dim": 32, "hidden": 64, "steps": 100, "learning_rate": 5e-3, "drop": 0.4}
    settings |= {"row_views": ["kernel"], "column_views": names, "identity": False}

    def one(seed, changes):
        split = data.make_split(benchmark, "drug_blind", fold=seed)
        model = UMME.make(**{**settings, **changes, "seed": seed}).fit(benchmark, split)
        out, n = {}, benchmark.shape[1]
        nobody = np.zeros(n, dtype=bool)
        asked, y = benchmark.pairs[split.test], benchmark.y[split.test]
        for code in range(1, 2 ** len(names)):
            some = [name for i, name in enumerate(names) if code >> i & 1]
            off = {name: nobody for name in names if name not in some}
            said = model.seeing({1: off}).predict(asked)
            out["+".join(some)] = round(tasks.evaluate(y, said, {}, ["auroc"])["auroc"], 4)
        for rate in (0.0, 0.25, 0.5, 0.75):
            said = lacking(model, rate).predict(asked)
            key = f"{rate:.0%} missing"
            out[key] = round(tasks.evaluate(y, said, {}, ["auroc"])["auroc"], 4)
        there = np.array([benchmark.side("drug").has(name) for name in names[1:]]).sum(0)
        out["presence alone"] = round(
            tasks.evaluate(y, there[asked[:, 1]].astype(float), {}, ["auroc"])["auroc"], 4
        )
        return {"auroc": out, "pairs": len(y)}

    def kernels(fold):
        """A ridge on a sum of kernels, trained with all that drugs have: what a drug lacks, or what
        is withheld, resembles nothing.
        """
        split = data.make_split(benchmark, "compound_blind", fold=fold)
        likeness, asked = Likeness(benchmark, split.train), benchmark.pairs[split.test]
        y, (row, column) = benchmark.y[split.test], asked.T
        rows = likeness.total(0, {"kmers": 0.5, "pairs": 0.5})
        each = {name: WEIGHTS.get(name, 0.5) * likeness[1, name] for name in names}
        _, rest, seen = residuals(benchmark, split, 1.0, "none")
        dual = solve_few(rows, sum(each.values()), rest, seen, RIDGE)
        scores = rows @ dual  # [proteins, drugs]: what a drug that is like this one would get
        said = {
            name: np.einsum("pc,pc->p", scores[row], kernel[column])
            for name, kernel in each.items()
        }
        side, out = benchmark.side("drug"), {}
        has = {name: side.has(name)[column] for name in names[1:]}

        def auroc(values, some=slice(None)):
            return round(tasks.evaluate(y[some], values[some], {}, ["auroc"])["auroc"], 4)

        for code in range(1, 2 ** len(names)):
            some = [name for i, name in enumerate(names) if code >> i & 1]
            out["+".join(some)] = auroc(sum(said[name] for name in some))
        rng = np.random.default_rng([fold, 5])
        lost = {name: rng.random(len(side)) for name in names}
        for rate in (0.0, 0.25, 0.5, 0.75):
            left = [np.where(lost[name][column] >= rate, said[name], 0.0) for name in names]
            out[f"{rate:.0%} missing"] = auroc(sum(left))
        for name, there in has.items():
            out[f"structure, drugs with {name}"] = auroc(said["fingerprint"], there)
            out[f"with {name}, drugs with {name}"] = auroc(said["fingerprint"] + said[name], there)
        out["presence alone"] = auroc(sum(there.astype(float) for there in has.values()))
        return {"auroc": out, "pairs": len(y)}

    plan = {f"human/{fold}/kernels": lambda f=fold: kernels(f) for fold in range(5)}
    plan |= {
        f"human/{seed}/{name}": lambda s=seed, c=changes: one(s, c)
        for seed in range(3)
        for name, changes in {"plain": {}, "acmo": PARTS}.items()
    }
    about = {"settings": settings, "weights": WEIGHTS, "ridge": RIDGE}
    return about, rows_of("partial", plan, collect), [benchmark]


PARTS_OF = {"world": world, "published": published, "epochs": epochs, "partial": partial}


def main(argv=None):
    """Run the parts that are named, and write their records."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=PARTS_OF)
    parser.add_argument("--collect", action="store_true", help="write what is there, train nothing")
    given = parser.parse_args(argv)
    torch.set_flush_denormal(True)
    for name in given.parts:
        about, rows, benchmarks = PARTS_OF[name](given.collect)
        described = [benchmark.describe() for benchmark in benchmarks]
        write_derived(
            f"umme-{name}",
            {
                "config": about,
                "metrics": {"rows": rows},
                "provenance": provenance(None, benchmarks=described),
            },
        )
        print(f"umme-{name}: {len(rows)} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
