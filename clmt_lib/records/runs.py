"""One run, one folder: whole or not at all."""

import hashlib
import json
import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from clmt_lib import data, models, tasks
from clmt_lib.config import RunConfig as Base
from clmt_lib.config import check
from clmt_lib.io import DataError
from clmt_lib.records.provenance import provenance
from clmt_lib.tasks import metrics

ROLES = ("valid", "test")
PREDICTIONS, DRAWS = "predictions.parquet", "draws.npy"


def home(folder=None):
    """Folder of the records: `folder`, else `CLMT_RECORDS`, else the nearest `experiments/records`
    at or above the current folder, else there.
    """
    named = folder or os.environ.get("CLMT_RECORDS")
    if named:
        return Path(named)
    here = Path.cwd()
    return next(
        (
            path / "experiments/records"
            for path in (here, *here.parents)
            if (path / "experiments/records").is_dir()
        ),
        Path("experiments/records"),
    )


class RunConfig(Base):
    """Everything that decides a run's numbers, and the id that says so."""

    def id(self, checksum: str) -> str:
        """Readable name plus ten hexadecimal digits over configuration, data checksum and model
        version.
        """
        body = json.dumps(
            [self.model_dump(), checksum, models.model_class(self.model).version], sort_keys=True
        )
        digest = hashlib.sha256(body.encode()).hexdigest()[:10]
        return f"{self.dataset}-{self.split}-s{self.seed}-f{self.fold}-{self.model}-{digest}"


@dataclass(frozen=True)
class Record:
    """One finished run, as read from disk."""

    path: Path
    config: dict
    metrics: dict
    provenance: dict

    @property
    def predictions(self):
        """[role, position, predicted] frame, or None where only the committed part of the record is
        here.
        """
        path = self.path / "predictions.parquet"
        return pd.read_parquet(path) if path.exists() else None

    @property
    def draws(self):
        """name -> [1000] bootstrap draws of the reported metrics on the test role, the same draws
        of entities for every run on a benchmark; None in a record made without.
        """
        path = self.path / DRAWS
        return (
            dict(zip(metrics.REPORTED, np.load(path, allow_pickle=False), strict=True))
            if path.exists()
            else None
        )


def read(path):
    """Read one record. Raises DataError where the folder is not a whole record."""
    try:
        parts = [
            json.loads((Path(path) / f"{name}.json").read_text(encoding="utf-8"))
            for name in ("config", "metrics", "provenance")
        ]
    except (OSError, ValueError) as error:
        raise DataError(
            f"not a record ({error})",
            file=path,
            remedy="delete the folder and run its configuration again",
        ) from None
    return Record(Path(path), *parts)


def read_config(path: str | Path) -> RunConfig:
    """RunConfig from a JSON file. Raises DataError where the file is missing, is not JSON or has a
    key unknown to `RunConfig`.
    """
    remedy = "copy the config.json of a record, and change what you want to change"
    try:
        body = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"not a configuration ({error})", file=path, remedy=remedy) from None
    return check(RunConfig, body, "the configuration", path, remedy)


def run(
    config,
    folder=None,
    *,
    predictions=False,
    draws=False,
    device="auto",
    benchmark=None,
    progress=False,
):
    """Fit, predict and score one configuration, or read its record if it is there already.

    Parameters
    ----------
    config : RunConfig
    folder : where records live
    predictions, draws : the caller needs them: a record that came without is computed again, and
        must give the same metrics
    device : passed to models that train on one ("auto", "cpu", "cuda")
    benchmark : an already loaded benchmark, to save loading it
    progress : show a bar where a model trains step by step, if standard error is a terminal

    Raises
    ------
    DataError
        Unknown dataset, split, model or setting; or a repeated run whose metrics differ from its
        record.
    """
    benchmark = benchmark if benchmark is not None else data.load(config.dataset, **config.options)
    name = config.id(benchmark.checksum)
    final = home(folder) / name
    needed = [part for part, needs in ((PREDICTIONS, predictions), (DRAWS, draws)) if needs]
    if final.exists() and all((final / part).exists() for part in needed):
        return read(final)
    with workplace(final) as work:
        if not final.exists():
            _compute(config, benchmark, work, device, progress)
            _publish(work, final)
        elif not all((final / part).exists() for part in needed):
            _compute(config, benchmark, work, device, progress)
            _same_metrics(final, work, models.model_class(config.model))
            for part in (PREDICTIONS, DRAWS):
                os.replace(work / part, final / part)
    return read(final)


@contextmanager
def workplace(final):
    """A folder for unfinished work, held by one process at a time; what a killed process left is
    taken over, and nothing is left behind.
    """
    work = final.parent / f".work-{final.name}"
    handle = _locked(work)
    try:
        yield work
    except BaseException:
        if not any(work.glob("checkpoint*")):  # nothing worth resuming from
            shutil.rmtree(work, ignore_errors=True)
        raise
    else:
        shutil.rmtree(work, ignore_errors=True)
    finally:
        os.close(handle)


def _locked(work):
    """Handle of the folder `work`, locked; made again where whoever held the lock has finished and
    removed it.
    """
    while True:
        work.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(work, os.O_RDONLY)
        except FileNotFoundError:  # removed since
            continue
        try:
            _lock(handle)
            if os.path.samestat(os.fstat(handle), os.stat(work)):
                return handle
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lock(handle):
    try:
        import fcntl
    except ImportError:  # Windows: one process at a time is then up to the user
        return
    fcntl.flock(handle, fcntl.LOCK_EX)


def _compute(config, benchmark, work, device, progress):
    split = data.make_split(benchmark, config.split, config.seed, config.fold)
    model = models.build(config.model, **config.settings)
    model.device, model.progress, model.checkpoint = device, progress, work / "checkpoint.pt"
    resumed = any(work.glob("checkpoint*"))
    start, cpu = time.perf_counter(), time.process_time()
    if model.parts:  # a blend of models that have records of their own is made of those
        models.fitted(
            model,
            benchmark,
            split,
            tables=[
                _table(
                    config.changed(model=name, settings=model.settings.get(name, {})),
                    work.parent,
                    benchmark,
                )
                for name in model.parts
            ],
        )
    else:
        models.fitted(model, benchmark, split)
    fitted, cpu = time.perf_counter(), time.process_time() - cpu
    frames, found = [], {}
    for role in ROLES:
        positions = getattr(split, role)
        predicted = models.predicted(model, benchmark.pairs[positions])
        found[role] = tasks.score(benchmark, split, predicted, role)
        frames.append(pd.DataFrame({"role": role, "position": positions, "predicted": predicted}))
    seconds = {
        "fit": round(fitted - start, 2),
        "fit_cpu": round(cpu, 2),
        "predict": round(time.perf_counter() - fitted, 2),
    }
    if resumed:  # what the earlier attempts took is not known
        seconds = {"resumed": True}
    boot = tasks.Bootstrap((benchmark.n_cells, benchmark.n_drugs))
    draws = boot.statistics(
        benchmark.pairs[split.test], benchmark.y[split.test], frames[-1]["predicted"]
    )
    found["interval"] = {key: tasks.interval(value) for key, value in draws.items()}
    found["draws_used"] = {key: tasks.draws_used(value) for key, value in draws.items()}
    np.save(
        work / DRAWS,
        np.stack([draws[key] for key in metrics.REPORTED]).astype(np.float32),
        allow_pickle=False,
    )
    found["chosen"] = dict(model.chosen)
    pd.concat(frames).to_parquet(work / PREDICTIONS, index=False)
    write(work / "config.json", config.model_dump())
    write(work / "metrics.json", found)
    write(work / "history.json", list(model.history))
    about = {"version": type(model).version, "device": model.device_used}
    also = {"also_read": dict(model.also_read)} if model.also_read else {}
    write(work / "provenance.json", provenance(benchmark, seconds, **about, **also))


def _table(config, folder, benchmark):
    """[C, D] predictions of a run on its valid and test pairs, NaN elsewhere."""
    rows = run(config, folder, predictions=True, benchmark=benchmark).predictions
    out = np.full((benchmark.n_cells, benchmark.n_drugs), np.nan)
    out[tuple(benchmark.pairs[rows["position"]].T)] = rows["predicted"]
    return out


def write(path, body):
    """Write JSON with floats rounded to six digits, keys sorted; what is not finite becomes null."""

    def plain(value):
        if isinstance(value, dict):
            return {str(k): plain(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(v) for v in value]
        if isinstance(value, (float, np.floating)):
            return round(float(value), 6) if np.isfinite(value) else None
        return value.item() if isinstance(value, np.generic) else value

    Path(path).write_text(
        json.dumps(plain(body), indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )


def rewrite(final, parts):
    """Write or replace a record made of other records (a summary, a study, a transfer), and read it
    back.

    Each file is replaced whole; a kill between two leaves a record that the same command repairs.

    Parameters
    ----------
    parts : "config", "metrics" and "provenance" -> what `write` takes
    """
    with workplace(final) as work:
        final.mkdir(exist_ok=True)
        for name, part in parts.items():
            write(work / f"{name}.json", part)
            os.replace(work / f"{name}.json", final / f"{name}.json")
    return read(final)


def _publish(work, final):
    """Rename the finished folder into place: a reader sees all of a record or nothing."""
    for stray in (
        set(work.iterdir())
        - {work / f"{name}.json" for name in ("config", "metrics", "history", "provenance")}
        - {work / PREDICTIONS, work / DRAWS}
    ):
        stray.unlink()
    for part in work.iterdir():
        with open(part, "rb") as file:
            os.fsync(file.fileno())
    os.rename(work, final)


def _same_metrics(final, work, model):
    tolerance = model.tolerance
    old, new = (
        json.loads((folder / "metrics.json").read_text())["test"] for folder in (final, work)
    )
    for key, value in old.items():
        if (value is None) != (new[key] is None) or (
            value is not None and abs(value - new[key]) > tolerance
        ):
            raise DataError(
                f"run again, {key} is {new[key]}, the record says {value}",
                file=final,
                remedy="if its code changed, raise the model's version; if only the computer or "
                "its packages did, delete the record and run it again",
            )
