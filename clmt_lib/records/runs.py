"""One run, one folder: whole or not at all."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib import data, models, tasks
from clmt_lib.audit import audit
from clmt_lib.config import RunConfig as Base
from clmt_lib.config import check, plain
from clmt_lib.io import DataError, atomic_write, lock
from clmt_lib.records import store
from clmt_lib.records.provenance import provenance
from clmt_lib.records.store import DRAWS, HISTORY, PREDICTIONS, RUN, Record

ROLES = ("valid", "test")
KEPT = (HISTORY, PREDICTIONS, DRAWS)


class RunConfig(Base):
    """Everything that decides a run's numbers, and the id that says so.

    >>> RunConfig("simulated", "mixed", "als").resolved("")["settings"]["ranks"]
    [10, 30, 60]
    """

    def resolved(self, checksum: str) -> dict[str, Any]:
        """The configuration as it runs: every setting of the model with its exact value, the
        checksum of the data and the version of the model.

        Raises
        ------
        DataError
            Unknown model or setting, or a value that is not finite.
        """
        return {
            **self.model_dump(),
            "settings": models.resolve(self.model, self.settings, self.split),
            "checksum": checksum,
            "version": models.model_class(self.model).version,
        }

    def id(self, checksum: str) -> str:
        """Readable name plus ten hexadecimal digits over the resolved configuration."""
        return store.run_id(self.resolved(checksum))


def read_config(path: str | Path) -> RunConfig:
    """RunConfig from a JSON file. Raises DataError where the file is missing, is not JSON or has a
    key unknown to `RunConfig`.
    """
    remedy = "write it as `clmt plan --out DIR` does: dataset, split, model, seed, fold, settings"
    try:
        body = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"not a configuration ({error})", file=path, remedy=remedy) from None
    found = check(Base, body, "the configuration", path, remedy)
    return RunConfig(**found.model_dump())


def run(
    config: RunConfig,
    folder: str | Path | None = None,
    *,
    needs: tuple[str, ...] = (),
    device: str = "auto",
    benchmark: data.Benchmark | None = None,
    progress: bool = False,
    also: Callable[..., None] | None = None,
    leaky: bool = False,
) -> Record:
    """Fit, predict and score one configuration, or read its record if it is there already: in the
    tables, else in its own folder.

    Parameters
    ----------
    config : RunConfig
    folder : home of the records
    needs : "predictions", "draws": what the caller needs besides metrics, and tables do not hold; a
        run that is in without them is made again on this machine, and must give the same metrics
    device : passed to models that train on one ("auto", "cpu", "cuda")
    benchmark : an already loaded benchmark, to save loading it
    progress : show a bar where a model trains step by step, if standard error is a terminal
    also : called with (config, fitted model, benchmark, split) when the run is made: what else is
        measured of a model that is not kept
    leaky : run although the audit of the split finds a leak; the record names it (`leaks`)

    Raises
    ------
    DataError
        A leak that the audit of the split finds; unknown dataset, split, model or setting; or a
        run made again whose metrics differ from those in the table.
    """
    benchmark = benchmark if benchmark is not None else data.load(config.dataset, **config.options)
    resolved = config.resolved(benchmark.checksum)
    name = store.run_id(resolved)

    def enough(found: Record | None) -> bool:
        return found is not None and all(getattr(found, part) is not None for part in needs)

    if not enough(store.find(name, folder)):
        final = store.run_folder(name, folder)
        with workplace(final) as work:
            found = store.find(name, folder)  # another process may have made it meanwhile
            if not enough(found):
                _make(config, resolved, benchmark, work, folder, device, progress, also, leaky)
                if found is not None:
                    _same_metrics(found, work, models.model_class(config.model))
                _publish(work, final)
    return store.read(name, folder)


@contextmanager
def workplace(final: Path) -> Iterator[Path]:
    """A folder for unfinished work on `final`, held by one process at a time; what a killed process
    left is taken over, and nothing is left behind.
    """
    work = final.parent / f".work-{final.name}"
    final.parent.mkdir(parents=True, exist_ok=True)
    for place in (work, final):
        if place.is_symlink():
            raise DataError(
                "is a link, and what it leads to would be replaced",
                file=place,
                remedy="remove the link: runs are kept in folders of their own",
            )
    with lock(final):
        work.mkdir(exist_ok=True)
        try:
            yield work
        except BaseException:
            if not any(work.glob("checkpoint*")):  # nothing worth resuming from
                shutil.rmtree(work, ignore_errors=True)
            raise
        else:
            shutil.rmtree(work, ignore_errors=True)


def _make(config, resolved, benchmark, work, folder, device, progress, also, leaky):
    """Fit, score and write one run into the folder `work`."""
    split = data.make_split(benchmark, config.split, config.seed, config.fold)
    leaks = audited(benchmark, split, leaky)
    model, seconds = _fit(config, benchmark, split, work, folder, device, progress)
    start = time.perf_counter()
    predicted = {
        role: models.predicted(model, benchmark.pairs[getattr(split, role)])
        for role in ROLES
        if len(getattr(split, role))
    }
    if seconds != {"resumed": True}:
        seconds["predict"] = round(time.perf_counter() - start, 2)
    if also is not None:
        also(config, model, benchmark, split)
    found, draws = _score(benchmark, split, predicted)
    about = provenance(benchmark, seconds)
    more: dict[str, Any] = {"also_read": dict(model.also_read)} if model.also_read else {}
    more |= {"leaks": leaks} if leaks else {}
    line = {
        "id": store.run_id(resolved),
        "config": resolved,
        "overrides": config.settings,
        **store.rounded(found),
        "chosen": plain(model.chosen),
        "seconds": about["seconds"],
        "peak_memory_mb": about["peak_memory_mb"],
        "commit": about["commit"],
        "device": str(model.device_used),
        "machine": {key: about[key] for key in ("versions", "python", "hardware", "threads")},
        **plain(more),
    }
    history = store.rounded(list(model.history))
    _write(line, split, predicted, draws, history, work)


def audited(benchmark: data.Benchmark, split: data.Split, leaky: bool = False) -> list[str]:
    """What the audit of a split finds, as sentences: nothing, unless `leaky` allows it.

    Raises
    ------
    DataError
        The first leak, where none is allowed.
    """
    leaks = audit(benchmark, split).leaks
    if leaks and not leaky:
        more = f" (and {len(leaks) - 1} more)" if len(leaks) > 1 else ""
        raise DataError(
            f"{benchmark.name}, {split.kind}: {leaks[0].kind}: {leaks[0].what}{more}",
            remedy=f"{leaks[0].remedy}; or --allow-leaks, which the record will say",
        )
    return [f"{leak.kind}: {leak.what}" for leak in leaks]


def _fit(config, benchmark, split, work, folder, device, progress):
    """(fitted model, what fitting took)."""
    model = models.build(config.model, config.split, **config.settings)
    model.device, model.progress, model.checkpoint = device, progress, work / "checkpoint.pt"
    resumed = any(work.glob("checkpoint*"))
    start, cpu = time.perf_counter(), time.process_time()
    if model.parts:  # a blend of models that have records of their own is made of those
        model.fit(benchmark, split, _parts(model, config, folder, benchmark))
    else:
        models.fitted(model, benchmark, split)
    if resumed:  # what the earlier attempts took is not known
        return model, {"resumed": True}
    seconds = {"fit": time.perf_counter() - start, "fit_cpu": time.process_time() - cpu}
    return model, {key: round(value, 2) for key, value in seconds.items()}


def _parts(model, config, folder, benchmark):
    """[rows, columns] predictions of each part of a blend on its validation and test pairs, NaN
    elsewhere.
    """
    tables = []
    for name in model.parts:
        part = config.changed(model=name, settings=model.settings.get(name, {}))
        rows = run(part, folder, needs=("predictions",), benchmark=benchmark).predictions
        table = np.full(benchmark.shape, np.nan)
        table[tuple(benchmark.pairs[rows["position"]].T)] = rows["predicted"]
        tables.append(table)
    return tables


def _score(benchmark, split, predicted):
    """(metrics of both sets, intervals and draws used; draws of the test set)."""
    found: dict = dict.fromkeys(ROLES, {})
    found |= {role: tasks.score(benchmark, split, p, role) for role, p in predicted.items()}
    test = split.test
    draws = tasks.bootstrap_of(benchmark).statistics(
        benchmark.pairs[test], benchmark.y[test], predicted["test"], tasks.of(benchmark).reported
    )
    found["interval"] = {key: tasks.interval(value) for key, value in draws.items()}
    found["draws_used"] = {key: tasks.draws_used(value) for key, value in draws.items()}
    return found, draws


def _write(line, split, predicted, draws, history, work):
    """The files of a run; `run.json` tells the sizes of the others, so that a folder that was
    copied by half is no run.
    """
    rows = [
        pd.DataFrame({"role": role, "position": getattr(split, role), "predicted": values})
        for role, values in predicted.items()
    ]
    pd.concat(rows).to_parquet(work / PREDICTIONS, index=False)
    np.save(
        work / DRAWS,
        np.stack([draws[key] for key in sorted(draws)]).astype(np.float32),
        allow_pickle=False,
    )
    (work / HISTORY).write_text(json.dumps(history) + "\n", encoding="utf-8")
    sizes = {part: (work / part).stat().st_size for part in KEPT}
    with atomic_write(work / RUN) as file:
        file.write(store.line_of({**line, "files": sizes}) + "\n")


def _publish(work, final):
    """Rename the finished folder into place: a reader sees all of a run or nothing."""
    for stray in set(work.iterdir()) - {work / part for part in (RUN, *KEPT)}:
        stray.unlink()
    for part in work.iterdir():
        with open(part, "rb") as file:
            os.fsync(file.fileno())
    shutil.rmtree(final, ignore_errors=True)  # one that was not whole, or came without its parts
    os.rename(work, final)


def _same_metrics(found, work, model):
    """Raise DataError where a run made again has other metrics than the table says."""
    tolerance = model.tolerance
    old = found.metrics["test"]
    new = json.loads((work / RUN).read_text(encoding="utf-8"))["test"]
    for key, value in old.items():
        if (value is None) != (new[key] is None) or (
            value is not None and abs(value - new[key]) > tolerance
        ):
            raise DataError(
                f"made again, {key} is {new[key]}, its record says {value}",
                file=found.name,
                remedy="if its code changed, raise the model's version; if only the computer or "
                "its packages did, take its line out of the table and run it again",
            )
