"""Many runs: a grid file, and running what is missing of it."""

import json
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import SpawnContext
from pathlib import Path

from clmt_lib import data
from clmt_lib.config import Grid, load
from clmt_lib.io import DataError
from clmt_lib.records.runs import RunConfig, run

REMEDY = "see experiments/configs/grid.yaml"
FAILURES = (ValueError, ArithmeticError, RuntimeError, MemoryError, OSError, TypeError)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
UNGUARDED = 93  # exit code of a process whose program starts processes while it is imported


def read_grid(path: str | Path) -> list[RunConfig]:
    """Configurations named by a grid file, the first fold and seed of every split first.

    The file is YAML: `runs:` a list of {dataset, split, seeds, folds, models, settings?, options?,
    last?}; rows with `last: true` come after all others. `anchors:` may name lists for YAML's & and
    *.

    Raises
    ------
    DataError
        Unreadable file, or a row with a missing or unknown key or a wrong value.
    """
    rows = load(Grid, path, "grid", REMEDY).runs
    early, late = (
        [
            RunConfig(
                dataset=row.dataset,
                split=row.split,
                model=model,
                seed=seed,
                fold=fold,
                settings=row.settings,
                options=row.options,
            )
            for row in rows
            if row.last == last
            for seed in row.seeds
            for fold in row.folds
            for model in row.models
        ]
        for last in (False, True)
    )
    return sorted(early, key=lambda c: c.fold + c.seed) + late  # stable: within a round, the file's


def run_grid(
    configs: Sequence[RunConfig],
    folder: str | Path | None = None,
    *,
    jobs: int = 1,
    device: str = "auto",
    say: Callable[[str], None] = print,
    also: Callable[..., None] | None = None,
) -> list[tuple[RunConfig, Exception]]:
    """Run what is missing of many configurations; a failed run is reported and does not stop the
    rest.

    Parameters
    ----------
    jobs : processes that take one configuration after the other, each with its share of the cores;
        1 runs in this one. A process that dies fails its run alone: another takes its place
    also : as in `run`, with one process

    Returns
    -------
    list of (config, error) of the runs that failed.
    """
    if jobs > 1 and also is not None:
        raise DataError("what is also measured needs one process", remedy="use jobs=1")
    if jobs > 1 and len(configs) > 1:
        return _shared(configs, folder, min(jobs, len(configs)), device, say)
    failed: list = []
    loaded: dict = {}
    for number, config in enumerate(configs, start=1):
        line, error = _one(config, folder, device, loaded, also)
        say(f"[{number}/{len(configs)}] {line}")
        failed += [(config, error)] if error else []
    return failed


def _one(config, folder, device, loaded, also=None):
    """(what to say of a run, its error or None); `loaded` keeps the benchmarks of this process."""
    key, start = (config.dataset, json.dumps(config.options, sort_keys=True)), time.perf_counter()
    try:
        if key not in loaded:
            loaded[key] = data.load(config.dataset, **config.options)
        record = run(config, folder, device=device, benchmark=loaded[key], also=also)
    except FAILURES as error:
        return f"FAILED {_named(config)}: {error}", error
    found = record.metrics["test"]
    scores = ", ".join(f"{name} {found[name] or 0:.3f}" for name in record.metrics["interval"])
    return f"{record.name}: {scores} ({time.perf_counter() - start:.1f} s)", None


def _named(config):
    """A configuration in one line."""
    more = {key: value for key in ("options", "settings") if (value := getattr(config, key))}
    where = f"{config.dataset} {config.split}, seed {config.seed}, fold {config.fold}"
    return f"{config.model} on {where}" + (f" {json.dumps(more)}" if more else "")


def _shared(configs, folder, jobs, device, say):
    """Run configurations from one queue in several processes; a thread looks after each, and this
    one says what they report.
    """
    check_processes()
    waiting, reports, failed = queue.SimpleQueue(), queue.SimpleQueue(), []
    workers: list[Worker] = []
    for config in configs:
        waiting.put(config)
    starting, threads = threading.Lock(), max(1, (os.cpu_count() or 1) // jobs)

    def look_after():
        worker = None
        while True:
            try:
                config = waiting.get_nowait()
            except queue.Empty:
                break
            try:
                if worker is None or worker.died:
                    with starting:
                        worker = Worker(folder, device, threads)
                        workers.append(worker)
                reports.put((config, *worker.run(config)))
            except DataError as error:  # no process can be started: none of the runs can be made
                reports.put((None, "", error))
                break
            except Exception as error:  # noqa: BLE001 a fault of ours is not lost in a thread
                reports.put((config, f"FAILED {_named(config)}: {error!r}", error))
        if worker is not None:
            worker.close()

    lookers = [threading.Thread(target=look_after, daemon=True) for _ in range(jobs)]
    for looker in lookers:
        looker.start()
    try:
        for number in range(1, len(configs) + 1):
            config, line, error = reports.get()
            if config is None:
                raise error
            say(f"[{number}/{len(configs)}] {line}")
            failed += [(config, error)] if error else []
        for looker in lookers:
            looker.join()
    except BaseException:  # interrupted: no process stays behind
        while not waiting.empty():
            waiting.get()
        with starting:
            for worker in workers:
                worker.stop()
        raise
    return failed


def check_processes() -> None:
    """See whether this program can have processes of its own.

    Raises
    ------
    DataError
        It is read from standard input, so that no other process could import it.
    SystemExit
        It is itself such a process and is still importing the program, which then may not start
        others.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit(UNGUARDED)
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is not None and not Path(file).exists():
        raise DataError(
            f"a program that is read from {Path(file).name} can have no processes of its own",
            remedy="save it as a file, or use jobs=1",
        )


@contextmanager
def spawning(threads: int) -> Iterator[SpawnContext]:
    """How processes are started here, each with so many threads for the libraries in it.

    They begin anew: a copy of this process would have the locks of its threads and not the threads,
    and would wait for ever in the first product of matrices.
    """
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, str(threads)))  # read when libraries are imported
    try:
        yield multiprocessing.get_context("spawn")
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def not_started() -> DataError:
    """What is said where a process ended in order before it began to work."""
    return DataError(
        "no process of its own could be started: the program starts processes while it is imported",
        remedy='in a file, write what it does under `if __name__ == "__main__":`, or use jobs=1',
    )


class Worker:
    """A process that runs one configuration after the other, and keeps its benchmarks loaded.

    Parameters
    ----------
    threads : cores that the libraries in it may use
    """

    def __init__(self, folder: str | Path | None, device: str, threads: int) -> None:
        with spawning(threads) as context:
            self.pipe, theirs = context.Pipe()
            self.process = context.Process(target=_work, args=(theirs, folder, device), daemon=True)
            self.died, self.began = False, False
            self.process.start()
        theirs.close()

    def run(self, config: RunConfig) -> tuple[str, Exception | None]:
        """(what to say of the run, its error or None); raises DataError where the process could not
        be started.
        """
        try:
            if not self.began:
                self.began = self.pipe.recv()
            self.pipe.send(config.model_dump())
            return self.pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self.process.join()
            self.died = True
            if not self.began and self.process.exitcode == UNGUARDED:
                raise not_started() from None
            error = RuntimeError(
                f"its process was killed (exit code {self.process.exitcode}); memory may have run "
                "out. Remedy: the same command with fewer jobs"
            )
            return f"FAILED {_named(config)}: {error}", error

    def stop(self, seconds: float = 10.0) -> None:
        """End the process in the middle of a run; one that does not end in so many seconds is
        killed.
        """
        self.process.terminate()
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def close(self) -> None:
        """End the process."""
        self.pipe.close()
        self.process.join()


def _work(pipe, folder, device):
    """What a worker's process does: run what comes through the pipe until that is closed, or until
    the process that started it has ended, however it did.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # clears up, as after an error
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started it tells it
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    loaded = {}
    pipe.send(True)
    while True:
        try:
            config = RunConfig(**pipe.recv())
        except EOFError:
            return
        line, error = _one(config, folder, device, loaded)
        if error is not None and not isinstance(error, DataError):
            error = RuntimeError(str(error))  # not every library's error can be sent
        pipe.send((line, error))


def _leave_with_parent():
    """End this process when the one that started it has ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
