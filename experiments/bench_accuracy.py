"""Time to accuracy: how soon the corrected model is as good on valid as factorisation (TGSA's mixed
split), what each rung costs, and what tiles do to learning.

`python experiments/bench_accuracy.py` writes the record `bench-published`: how far the published
network at its own size has come, run by run of its grid, finished or not.
"""

import os
import time
from functools import partial

import torch
from bench_tools import clock, fresh
from threadpoolctl import threadpool_limits

from clmt_lib import data, models
from clmt_lib.models import clmt
from clmt_lib.models.clmt import published
from clmt_lib.records import provenance, read_grid, store
from clmt_lib.tasks import metrics
from clmt_lib.training import Callback, TrainConfig, train

DATASET, SPLIT, SEED = "tgsa", "mixed", 0
SETTINGS = {"dataset": DATASET, "split": SPLIT, "seed": SEED, "fold": 0}
# rungs that fit in about a minute: their processor seconds are measured here; those of the others
# are their records'
CHEAP = (
    "global_mean",
    "drug_mean",
    "cell_mean",
    "tissue_drug_mean",
    "effects",
    "neighbours_fingerprint",
    "neighbours_text",
    "ridge",
    "ridge_per_drug",
    "elastic_net_per_drug",
    "lightgbm",
    "als",
    "kernel_identity",
    "kernel_fingerprint",
    "kernel_annotation",
    "kernel_text",
    "learned_kernel",
)
TILES = {
    "width": 32,
    "epochs": 10,
    "batch": 4096,
    "tile": [161, 38],
    "patience": 100,
}  # of clmt_repaired; a tile holds about as many pairs as a batch
RATE = 1e-3
KINDS = ("random", "tiles", "bfloat16")


def _records():
    """rung -> its record on this split, where there is one."""
    found = {}
    where = {"dataset": DATASET, "split": SPLIT, "seed": SEED, "fold": 0, "options": {}}
    for record in store.runs():  # of the models as they are, with nothing overridden
        if where.items() <= record.config.items() and not record.provenance["overrides"]:
            found.setdefault(record.config["model"], record)
    return found


class Clock(Callback):
    """Wall and processor seconds, since it was made, of every evaluation."""

    def __init__(self) -> None:
        self.wall, self.cpu, self.ticks = time.perf_counter(), time.process_time(), []

    def read(self) -> tuple[float, float]:
        """(wall, processor) seconds so far."""
        return time.perf_counter() - self.wall, time.process_time() - self.cpu

    def on_evaluate(self, step: int, module: torch.nn.Module, row: dict[str, float]) -> None:
        """Note when an evaluation was done."""
        self.ticks.append(self.read())


def reach(target: float, device: str) -> dict:
    """The corrected model trained once, watched: when its valid RMSE first is at most `target`; the
    clock runs from before its views are made.
    """
    benchmark = data.load(DATASET)
    split = data.make_split(benchmark, SPLIT, SEED)
    clock = Clock()
    model = clmt.CLMT(clmt.CLMTConfig.corrected(), device=device, callbacks=[clock])
    model.fit(benchmark, split)
    total = clock.read()
    looks = [row for row in model.history if "valid" in row]
    curve = [
        {"step": row["step"], "seconds": t, "cpu_seconds": c, "valid": row["valid"]}
        for row, (t, c) in zip(looks, clock.ticks, strict=True)
    ]
    first = next((row for row in curve if row["valid"] <= target), None)
    return {
        "seconds_to_target": first and first["seconds"],
        "cpu_seconds_to_target": first and first["cpu_seconds"],
        "steps_to_target": first and first["step"],
        "training_seconds": total[0],
        "training_cpu_seconds": total[1],
        "valid_rmse": min(row["valid"] for row in looks),
        "members": model.config.members,
        "curve": curve,
    }


def rung(name):
    """{model, valid_rmse, seconds, cpu_seconds, threads} of one fresh fit, on one thread: on two, a
    thread that waits for the other in many small products spends processor seconds.
    """
    benchmark = data.load(DATASET)
    split, model = data.make_split(benchmark, SPLIT, SEED), models.build(name)
    with threadpool_limits(1):
        seconds, cpu = clock(lambda: model.fit(benchmark, split))
    error = metrics.rmse(benchmark.y[split.valid], model.predict(benchmark.pairs[split.valid]))
    return {
        "model": name,
        "valid_rmse": error,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "threads": 1,
        "source": "fresh",
    }


class Stopwatch(Callback):
    """(wall, processor) seconds spent in steps, at every evaluation; evaluations are left out."""

    def __init__(self) -> None:
        self.spent, self.ticks = (0.0, 0.0), []
        self.went_on = self.now()

    @staticmethod
    def now() -> tuple[float, float]:
        """(wall, processor) clocks."""
        return time.perf_counter(), time.process_time()

    def on_step(self, step, module, out, learning_rate) -> None:
        """Add what the step took."""
        now = self.now()
        self.spent = tuple(s + t - b for s, t, b in zip(self.spent, now, self.went_on, strict=True))
        self.went_on = now

    def on_evaluate(self, step, module, row) -> None:
        """Note what the steps took so far, and go on."""
        self.ticks.append(self.spent)
        self.went_on = self.now()


def learning(kind, device):
    """Learning curve of the repaired published network with random batches, with tiles of the same
    number of pairs, or with random batches in half precision: RMSE after every pass.
    """
    benchmark = data.load(DATASET)
    split = data.make_split(benchmark, SPLIT, SEED)
    settings = {
        **TILES,
        "tile": tuple(TILES["tile"]) if kind == "tiles" else (),
        "defects": (),
        "precision": "bfloat16" if kind == "bfloat16" else "float32",
    }
    config = published.PublishedConfig(**settings)
    model, watch = published.Published(config), Stopwatch()
    inputs = model.prepare(benchmark, split, torch.device(device))
    batches, valid = model.batches(inputs), benchmark.pairs[split.valid]
    size = published.tiles(inputs.pairs.cpu(), config.tile)[1] if config.tile else config.batch
    length = TrainConfig(
        config.epochs * batches.steps,
        RATE,
        config.weight_decay,
        evaluate_every=batches.steps,
        schedule="step",
        fused=kind == "bfloat16",
    )
    _, history = train(
        partial(model.build, inputs),
        lambda net, rows: model.loss(net, inputs, rows),
        length,
        batches=batches,
        evaluate=lambda net: metrics.rmse(
            benchmark.y[split.valid], model.predicted(net, inputs, valid)
        ),
        callbacks=[watch],
        device=device,
    )
    curve = [
        {
            "step": row["step"],
            "pairs": size * row["step"],
            "seconds": seconds,
            "cpu_seconds": cpu,
            "valid": row["valid"],
        }
        for row, (seconds, cpu) in zip(history, watch.ticks, strict=True)
    ]
    return {"curve": curve, "pairs_per_step": size}


def own_size(folder=None):
    """Write the record `bench-published`: of every run that was begun its size, the passes made and
    their validation scores, from its record or, where it is not finished, from its checkpoint.
    """
    home, rows, loaded = store.home(folder), [], {}
    for config in read_grid(home / "configs" / "published.yaml"):
        if config.label not in loaded:
            loaded[config.label] = data.load(config.dataset, **config.options)
        benchmark = loaded[config.label]
        name = config.id(benchmark.checksum)
        found = store.find(name, folder)
        left = store.run_folder(name, folder)
        left = left.parent / f".work-{left.name}" / "checkpoint.0.pt"
        if found is not None:
            history = found.history or []
        elif left.is_file():
            history = torch.load(left, weights_only=True)["state"]["history"]
        else:
            continue
        settings = published.PublishedConfig(**{"seed": 0, **config.settings})
        steps = history[0]["step"] // 2 if history else 0  # it looks every other pass
        split = data.make_split(benchmark, config.split, config.seed, config.fold)
        errors = [row["valid"] for row in history]
        rows.append(
            {
                **{key: getattr(config, key) for key in ("dataset", "split", "seed", "fold")},
                "model": config.model,
                "finished": found is not None,
                "width": settings.width,
                "genes": min(settings.genes, benchmark.sides[0].views["expression"].shape[1]),
                "pairs": len(split.train),
                "pairs_per_step": round(len(split.train) / steps) if steps else None,
                "passes": history[-1]["step"] // steps if history else 0,
                "most_passes": settings.epochs,
                "best_valid_rmse": min(errors, default=None),
                "test": found.metrics["test"] if found else None,
                "seconds": found.provenance["seconds"] if found else None,
                "curve": [[row["step"] // steps, row["valid"]] for row in history],
            }
        )
    parts = {
        "config": {"grid": "published"},
        "metrics": {"runs": store.rounded(rows)},
        "provenance": provenance(None, benchmarks=[b.describe() for b in loaded.values()]),
    }
    return store.write_derived("bench-published", parts, folder)


def measure(keep, short, device):
    """Every part; nothing without real tables."""
    if not os.environ.get("CLMT_DATA"):
        raise SystemExit("bench-accuracy needs real tables: set CLMT_DATA")
    target = keep(
        "target",
        lambda: {
            "model": "als",
            "valid_rmse": _records()["als"].metrics["valid"]["rmse"],
            "source": "record",
        },
    )
    keep("clmt", lambda: fresh(f"reach:{target['valid_rmse']}:{device}"))
    for name in CHEAP[:6] if short else CHEAP:
        keep(f"rung-{name}", partial(fresh, f"rung:{name}"))
    for kind in KINDS:
        keep(f"learning-{kind}", partial(fresh, f"learning:{kind}:{device}"))


def assemble(found):
    """metrics.json."""
    rungs = {
        key.removeprefix("rung-"): value for key, value in found.items() if key.startswith("rung-")
    }
    for name, record in _records().items():
        seconds = record.provenance.get("seconds") or {}
        rungs.setdefault(
            name,
            {
                "model": name,
                "valid_rmse": record.metrics["valid"]["rmse"],
                "seconds": seconds.get("fit"),
                "cpu_seconds": seconds.get("fit_cpu"),
                "source": "record",
            },
        )
    curves = {
        kind: found[f"learning-{kind}"]["curve"] for kind in KINDS if f"learning-{kind}" in found
    }
    best = {kind: min(row["valid"] for row in rows) for kind, rows in curves.items()}
    per_step = {kind: found[f"learning-{kind}"]["pairs_per_step"] for kind in curves}
    return {
        "target": found["target"],
        "clmt": found["clmt"],
        "rungs": [rungs[name] for name in models.names() if name in rungs],
        "tiles": {
            "settings": {
                "model": "clmt_repaired",
                **TILES,
                "learning_rate": RATE,
                "pairs_per_step": per_step,
            },
            **curves,
            "best": best,
        },
    }


CHILDREN = {
    "reach": lambda target, device: reach(float(target), device),
    "rung": rung,
    "learning": learning,
}


if __name__ == "__main__":
    for row in own_size().metrics["runs"]:
        print({key: value for key, value in row.items() if key not in ("curve", "test")})
