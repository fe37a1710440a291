"""A run and its record: `run(config)` computes once, writes atomically, and costs nothing the second time (appendix on reproducibility).

A record is a folder `<id>/` of `config.json`, `metrics.json`, `history.json` and `provenance.json`, which are committed, and `predictions.parquet`, which stays on the
computer that made it. The id hashes the configuration, the data checksum and the model's declared version.
"""

import hashlib
import json
import os
import platform
import resource
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd

from clmt_lib import data, metrics, models
from clmt_lib.data.tables import DataError

FOLDER = Path("experiments/records")
PACKAGES = ("numpy", "pandas", "scipy", "scikit-learn", "torch", "torch-geometric", "rdkit", "transformers", "lightgbm")
ROLES = ("valid", "test")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's numbers.

    Attributes
    ----------
    dataset, options : benchmark name and its reader's options
    split, seed, fold : which split (see `data.make_split`)
    model, settings : name on the ladder and what overrides its defaults
    """

    dataset: str
    split: str
    model: str
    seed: int = 0
    fold: int = 0
    settings: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)

    def id(self, checksum):
        """Readable name plus ten hexadecimal digits over configuration, data checksum and model version."""
        body = json.dumps([asdict(self), checksum, models.model_class(self.model).version], sort_keys=True)
        return f"{self.dataset}-{self.split}-s{self.seed}-f{self.fold}-{self.model}-{hashlib.sha256(body.encode()).hexdigest()[:10]}"


@dataclass(frozen=True)
class Record:
    """One finished run, as read from disk."""

    path: Path
    config: dict
    metrics: dict
    provenance: dict

    @property
    def predictions(self):
        """[role, position, predicted] frame, or None where only the committed part of the record is here."""
        path = self.path / "predictions.parquet"
        return pd.read_parquet(path) if path.exists() else None


def read(path):
    """Read one record. Raises DataError where the folder is not a whole record."""
    try:
        parts = [json.loads((Path(path) / f"{name}.json").read_text(encoding="utf-8")) for name in ("config", "metrics", "provenance")]
    except (OSError, ValueError) as error:
        raise DataError(f"not a record ({error})", file=path, remedy="delete the folder and run its configuration again") from None
    return Record(Path(path), *parts)


def run(config, folder=FOLDER, *, predictions=False, device="auto", benchmark=None):
    """Fit, predict and score one configuration, or read its record if it is there already.

    Parameters
    ----------
    config : RunConfig
    folder : where records live
    predictions : the caller needs predictions: a record that came without them is computed again, and must give the same metrics
    device : passed to models that train on one ("auto", "cpu", "cuda")
    benchmark : an already loaded benchmark, to save loading it

    Raises
    ------
    DataError
        Unknown dataset, split, model or setting; or a repeated run whose metrics differ from its record.
    """
    benchmark = benchmark if benchmark is not None else data.load(config.dataset, **config.options)
    name = config.id(benchmark.checksum)
    final = Path(folder) / name
    if final.exists() and (not predictions or (final / "predictions.parquet").exists()):
        return read(final)
    with _workplace(final) as work:
        if not final.exists():
            _compute(config, benchmark, work, device)
            _publish(work, final)
        elif predictions and not (final / "predictions.parquet").exists():
            _compute(config, benchmark, work, device)
            _same_metrics(final, work, models.model_class(config.model))
            os.replace(work / "predictions.parquet", final / "predictions.parquet")
    return read(final)


@contextmanager
def _workplace(final):
    """A folder for unfinished work, held by one process at a time; what a killed process left is taken over, and nothing is left behind."""
    work = final.parent / f".work-{final.name}"
    work.mkdir(parents=True, exist_ok=True)
    handle = os.open(work, os.O_RDONLY)
    try:
        _lock(handle)
        work.mkdir(exist_ok=True)  # another process may have finished and removed it while we waited
        yield work
        shutil.rmtree(work, ignore_errors=True)
    finally:
        os.close(handle)


def _lock(handle):
    try:
        import fcntl
    except ImportError:  # Windows: one process at a time is then up to the user
        return
    fcntl.flock(handle, fcntl.LOCK_EX)


def _compute(config, benchmark, work, device):
    split = data.make_split(benchmark, config.split, config.seed, config.fold)
    model = models.build(config.model, **config.settings)
    if hasattr(model, "device"):
        model.device = device
    if hasattr(model, "checkpoint"):
        model.checkpoint = work / "checkpoint.pt"
    start, cpu = time.perf_counter(), time.process_time()
    model.fit(benchmark, split)
    fitted, cpu = time.perf_counter(), time.process_time() - cpu
    frames, found = [], {}
    for role in ROLES:
        positions = getattr(split, role)
        predicted = np.asarray(model.predict(benchmark.pairs[positions]), dtype=np.float64)
        found[role] = metrics.evaluate(benchmark, split, predicted, role)
        frames.append(pd.DataFrame({"role": role, "position": positions, "predicted": predicted}))
    seconds = {"fit": round(fitted - start, 2), "fit_cpu": round(cpu, 2), "predict": round(time.perf_counter() - fitted, 2)}
    boot = metrics.Bootstrap(benchmark.n_cells, benchmark.n_drugs)
    draws = boot.statistics(benchmark.pairs[split.test], benchmark.y[split.test], frames[-1]["predicted"])
    found["interval"] = {key: metrics.interval(value) for key, value in draws.items()}
    found["chosen"] = model.chosen
    pd.concat(frames).to_parquet(work / "predictions.parquet", index=False)
    _write(work / "config.json", asdict(config))
    _write(work / "metrics.json", found)
    _write(work / "history.json", getattr(model, "history", []))
    _write(work / "provenance.json", provenance(benchmark, seconds, version=type(model).version, device=str(getattr(model, "device_used", "cpu"))))


def provenance(benchmark, seconds=None, **more):
    """Where numbers come from: commit, data, versions, hardware, seconds, peak memory (MB)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if platform.system() == "Linux" else 1024**2)
    return {
        "benchmark": benchmark and benchmark.describe(), "simulated": benchmark and benchmark.simulated, "seconds": seconds, "peak_memory_mb": round(peak),
        "commit": _commit(), "versions": versions(), "python": platform.python_version(), "hardware": hardware(), **more,
    }


def versions():
    """Installed versions of the packages that make the numbers."""
    out = {}
    for name in PACKAGES:
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    return out


def hardware():
    """Processor model and cores, without the name of the machine."""
    model = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    return f"{model}, {os.cpu_count()} cores"


def _commit():
    try:
        return subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True, cwd=Path(__file__).parent).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _write(path, body):
    def plain(value):
        if isinstance(value, dict):
            return {str(k): plain(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(v) for v in value]
        if isinstance(value, (float, np.floating)):
            return round(float(value), 6) if np.isfinite(value) else None
        return value.item() if isinstance(value, np.generic) else value

    Path(path).write_text(json.dumps(plain(body), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _publish(work, final):
    """Rename the finished folder into place: a reader sees all of a record or nothing."""
    for stray in set(work.iterdir()) - {work / f"{name}.json" for name in ("config", "metrics", "history", "provenance")} - {work / "predictions.parquet"}:
        stray.unlink()
    for part in work.iterdir():
        with open(part, "rb") as file:
            os.fsync(file.fileno())
    os.rename(work, final)


def _same_metrics(final, work, model):
    tolerance = getattr(model, "tolerance", 1e-4)
    old, new = (json.loads((folder / "metrics.json").read_text())["test"] for folder in (final, work))
    for key, value in old.items():
        if value is not None and abs(value - new[key]) > tolerance:
            raise DataError(f"run again, {key} is {new[key]}, the record says {value}", file=final, remedy="the code changed its numbers: raise the model's version")


def table(folder=FOLDER, role="test"):
    """Every record as one row of a frame: configuration, the metrics of `role`, seconds. Empty where there is none."""
    rows = []
    for path in sorted(Path(folder).glob("[!.]*/metrics.json")):
        record = read(path.parent)
        if "model" not in record.config:
            continue  # a comparison
        about = {key: record.config[key] for key in ("dataset", "split", "seed", "fold", "model")}
        rows.append({**about, "settings": json.dumps(record.config["settings"], sort_keys=True), **record.metrics[role], "seconds": record.provenance["seconds"]["fit"], "id": path.parent.name})
    return pd.DataFrame(rows)


def read_grid(path):
    """Configurations named by a grid file, the first fold and seed of every split first.

    The file is YAML: `runs:` a list of {dataset, split, seeds, folds, models, settings?, options?, last?}; rows with `last: true` come after all others.

    Raises
    ------
    DataError
        Unreadable file, or a row without a needed key.
    """
    import yaml

    try:
        rows = yaml.safe_load(Path(path).read_text(encoding="utf-8"))["runs"]
        configs = [
            RunConfig(row["dataset"], row["split"], model, seed, fold, dict(row.get("settings", {})), dict(row.get("options", {})))
            for row in sorted(rows, key=lambda row: row.get("last", False)) for seed in row["seeds"] for fold in row["folds"] for model in row["models"]
        ]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise DataError(f"not a grid ({error!r})", file=path, remedy="see experiments/grid.yaml") from None
    slow = sum(len(row["seeds"]) * len(row["folds"]) * len(row["models"]) for row in rows if row.get("last"))
    early = configs[: len(configs) - slow]
    return sorted(early, key=lambda c: c.fold + c.seed) + configs[len(early) :]  # stable: within a round, the file's order


def run_grid(configs, folder=FOLDER, *, share=(0, 1), device="auto", say=print):
    """Run what is missing of many configurations, one after the other; a failed run is reported and does not stop the rest.

    Parameters
    ----------
    share : (i, n): this process takes every n-th configuration from the i-th, so n processes divide the work

    Returns
    -------
    list of (config, error) of the runs that failed.
    """
    failed, loaded, mine = [], {}, configs[share[0] :: share[1]]
    for number, config in enumerate(mine, start=1):
        key = (config.dataset, json.dumps(config.options, sort_keys=True))
        start = time.perf_counter()
        try:
            if key not in loaded:
                loaded[key] = data.load(config.dataset, **config.options)
            record = run(config, folder, device=device, benchmark=loaded[key])
        except (DataError, ArithmeticError, RuntimeError, MemoryError) as error:
            failed.append((config, error))
            say(f"[{number}/{len(mine)}] FAILED {config}: {error}")
            continue
        found = record.metrics["test"]
        say(f"[{number}/{len(mine)}] {record.path.name}: rmse {found['rmse']:.3f}, per-drug r {found['pcc_per_drug'] or 0:.3f} ({time.perf_counter() - start:.1f} s)")
    return failed


def summarise(configs, folder=FOLDER, *, benchmark=None, draws=1000):
    """Means over folds and paired differences of the models run on one benchmark and split, with two-way bootstrap intervals, as a record of its own.

    The same draws of lines and drugs serve every model and fold, so a difference is paired pair by pair and draw by draw. Runs not done yet are left out and counted;
    a run whose predictions are not on this computer is computed again first, and must give the same metrics.

    Parameters
    ----------
    configs : RunConfigs that share dataset and split, one settings a model

    Returns
    -------
    Record `summary-<dataset>-<split>`, or None where no run is done.
    """
    first = configs[0]
    benchmark = benchmark if benchmark is not None else data.load(first.dataset, **first.options)
    boot, found = metrics.Bootstrap(benchmark.n_cells, benchmark.n_drugs, draws), {}
    for config in configs:
        if not (Path(folder) / config.id(benchmark.checksum)).exists():
            continue
        record = run(config, folder, predictions=True, benchmark=benchmark)
        rows = record.predictions.query("role == 'test'")
        at = rows["position"].to_numpy()
        fold = found.setdefault(config.model, {})
        fold[config.seed, config.fold] = record, boot.statistics(benchmark.pairs[at], benchmark.y[at], rows["predicted"].to_numpy())
    if not found:
        return None
    body = {
        "runs": {"done": sum(map(len, found.values())), "planned": len(configs)},
        "models": {name: _mean_of_folds(runs) for name, runs in found.items()},
        "differences": [_difference(a, found[a], b, found[b]) for i, a in enumerate(found) for b in list(found)[:i]],
    }
    final = Path(folder) / f"summary-{first.dataset}-{first.split}"
    work = Path(folder) / f".work-{final.name}"
    work.mkdir(parents=True, exist_ok=True)
    _write(work / "config.json", {"dataset": first.dataset, "split": first.split, "draws": draws, "checksum": benchmark.checksum})
    _write(work / "metrics.json", body)
    _write(work / "provenance.json", provenance(benchmark))
    shutil.rmtree(final, ignore_errors=True)
    os.rename(work, final)
    return read(final)


REPORTED = ("rmse", "pcc", "pcc_per_drug")


def _mean_of_folds(runs):
    out = {"folds": len(runs), "seconds": _mean_cpu([record for record, _ in runs.values()])}
    tests = [record.metrics["test"] for record, _ in runs.values()]
    for key in tests[0]:
        values = [np.nan if test[key] is None else test[key] for test in tests]
        out[key], out[f"{key}_sd"] = float(np.mean(values)), float(np.std(values))
    for key in REPORTED:
        out[f"{key}_interval"] = metrics.interval(np.mean([draws[key] for _, draws in runs.values()], axis=0))
    return out


def _mean_cpu(records):
    """Mean processor seconds of a fit (None if never measured), over the runs that measured them: unlike wall time, it does not depend on what else the computer did."""
    known = [record.provenance["seconds"]["fit_cpu"] for record in records if "fit_cpu" in record.provenance["seconds"]]
    return float(np.mean(known)) if known else None


def _difference(a, runs_a, b, runs_b):
    """Model a minus model b on the folds both have."""
    common = sorted(set(runs_a) & set(runs_b))
    out = {"a": a, "b": b, "folds": len(common)}
    for key in REPORTED if common else ():
        gap = [runs_a[fold][0].metrics["test"][key] - runs_b[fold][0].metrics["test"][key] for fold in common]
        draws = np.mean([runs_a[fold][1][key] - runs_b[fold][1][key] for fold in common], axis=0)
        out[key] = {"mean": float(np.mean(gap)), "interval": metrics.interval(draws), "folds_better": int(np.sum(np.less(gap, 0) if key == "rmse" else np.greater(gap, 0)))}
    return out


def ladder(dataset, split, folder=FOLDER):
    """[models] frame of one summary, in the order of the ladder: folds, seconds, metrics, `rmse_low`, `rmse_high` and so on for intervals.

    Raises
    ------
    DataError
        No such summary.
    """
    record = read(Path(folder) / f"summary-{dataset}-{split}")
    rows = pd.DataFrame(record.metrics["models"]).T
    for key in REPORTED:
        rows[f"{key}_low"], rows[f"{key}_high"] = (rows[f"{key}_interval"].str[i] for i in (0, 1))
    rows = rows.drop(columns=[f"{key}_interval" for key in REPORTED]).astype(float)
    return rows.reindex([name for name in models.names() if name in rows.index])


def difference(dataset, split, a, b, metric="rmse", folder=FOLDER):
    """Paired difference a minus b from a summary: dict of mean, interval, folds_better, folds. Raises DataError where it is not there."""
    for row in read(Path(folder) / f"summary-{dataset}-{split}").metrics["differences"]:
        if {row["a"], row["b"]} == {a, b} and metric in row:
            if row["a"] == a:
                return {**row[metric], "folds": row["folds"]}
            low, high = row[metric]["interval"]
            return {"mean": -row[metric]["mean"], "interval": [-high, -low], "folds_better": row["folds"] - row[metric]["folds_better"], "folds": row["folds"]}
    raise DataError(f"no comparison of {a!r} with {b!r} in {dataset} {split}", remedy="run both, then `clmt report`")


def reproducibility_line(benchmark=None, started=None):
    """How a chapter's numbers were made: versions, data and its checksum, seconds since `started` (a `time.perf_counter()`), peak memory."""
    about = provenance(benchmark)
    parts = [f"Python {about['python']}", *(f"{name} {number}" for name, number in about["versions"].items())]
    parts += [f"data {benchmark.name} {benchmark.checksum}"] if benchmark is not None else []
    parts += [f"{time.perf_counter() - started:.0f} s"] if started is not None else []
    return ", ".join([*parts, f"peak memory {about['peak_memory_mb']} MB"])
