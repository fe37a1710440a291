"""Pack what is missing of the grid and the studies into one device's time: the most informative
runs first, several at a time.

    python experiments/pack.py --minutes 20 --device cuda --records DIR --dry-run    which runs
    would start, and what they should cost
    python experiments/pack.py --minutes 20 --device cuda --records DIR              start them
    python experiments/pack.py --minutes 20 experiments/studies/defects.yaml         only this
    file's runs, into the records of the book

A run is done when its record is in `--records` or in `--known` (the book's records), or when the
study that asks for it holds its comparison. Earlier records say what
a run cost in processor seconds; the first runs here say how much faster or slower this device is,
by model, and every later estimate is scaled by it. No run is started
that should end after the budget, and what still runs at its end is stopped; the same command goes
on from there, a stopped training from its last checkpoint.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from clmt_lib import models, records  # noqa: E402
from clmt_lib.data import load
from clmt_lib.io import DataError, atomic_write  # noqa: E402

HEADLINE, WHOLE = ("clmt",), ("clmt_published", "clmt_repaired")
MARGIN = 1.25  # a run is started when this much more than its estimate still fits
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), "1"
)


def same(config):
    """One string for a configuration."""
    return json.dumps(config.model_dump(), sort_keys=True)


def question(config):
    """What a run asks, whatever its seed and fold: its comparisons grow by a fold with each such
    run.
    """
    return json.dumps(
        [config.dataset, config.options, config.split, config.model, config.settings],
        sort_keys=True,
    )


def place(config):
    """Where a run is compared with others: benchmark, split, seed and fold."""
    return json.dumps(
        [config.dataset, config.options, config.split, config.seed, config.fold], sort_keys=True
    )


def read_roles(files):
    """(bases, variants): stem of a study file -> the configurations that are its bases, its
    variants; a grid has neither.
    """
    bases, variants = {}, {}
    for path in files:
        try:
            runs = records.read_study(path)
        except DataError:
            records.read_grid(path)  # neither: its message is the better one
            continue
        bases[Path(path).stem] = [config for name, config in runs if name == "base"]
        variants[Path(path).stem] = [config for name, config in runs if name != "base"]
    return bases, variants


def compared(known):
    """Stem of a study -> ids of the runs whose comparisons its record holds; they are kept there,
    whether the runs themselves are here or not.
    """
    out = {}
    for path in records.home(known).glob("study-*/metrics.json"):
        rows = records.read(path.parent).metrics.get("rows", [])
        out[path.parent.name.removeprefix("study-")] = {
            name for row in rows for pair in row.get("runs", []) for name in pair
        }
    return out


def is_done(job, folder, studies):
    """Whether nothing is left to do for a job: its record is here or known, or every study that
    asks for it has its comparison.
    """
    return (
        job.done
        or (folder / job.name).exists()
        or all(job.name in studies.get(stem, ()) for stem in job.files)
    )


def uses_device(model):
    """Whether a model trains on a device; the others leave a GPU idle."""
    return models.model_class(model).accelerated


def _facts(missing, bases, variants, device):
    """name -> (question, bases it waits for, leaves the device idle, tier, seconds) of each missing
    job.
    """
    only_variants = {same(config) for runs in variants.values() for config in runs} - {
        same(config) for runs in bases.values() for config in runs
    }
    needed = {}  # (stem, place) -> bases that must be in
    for stem, runs in bases.items():
        for config in runs:
            needed.setdefault((stem, place(config)), set()).add(same(config))
    facts = {}
    for job in missing:
        config, key = job.config, same(job.config)
        by_grid = any(stem not in bases for stem in job.files)
        is_variant = key in only_variants and not by_grid
        waits = (
            set().union(*(needed.get((stem, place(config)), set()) for stem in job.files)) - {key}
            if is_variant
            else set()
        )
        tier = (
            3
            if is_variant
            else 0
            if config.model in HEADLINE and by_grid
            else 1
            if config.model in WHOLE or not by_grid
            else 2
        )
        idle = device == "cuda" and not uses_device(config.model)
        facts[job.name] = (
            question(config),
            waits,
            idle,
            tier,
            float("inf") if job.seconds is None else job.seconds,
        )
    return facts


def order(missing, done, bases, variants, device="auto"):
    """Missing jobs, the most informative first.

    Parameters
    ----------
    missing, done : lists of `records.Job`
    bases, variants : as `read_roles` gives them
    device : where the runs would go; on "cuda", models that cannot use it come last

    Returns
    -------
    list of Job, by: a variant after its bases; fewest folds of its comparison so far, counting what
    comes before it here; the headline model, then whole published networks,
    bases and other rungs, then variants; cheap before dear.
    """
    facts = _facts(missing, bases, variants, device)
    folds, there = Counter(question(job.config) for job in done), {same(job.config) for job in done}

    def rank(job):
        asks, waits, idle, tier, seconds = facts[job.name]
        return idle, not waits <= there, folds[asks], tier, seconds, job.name

    left, out = list(missing), []
    while left:
        job = min(left, key=rank)
        left.remove(job)
        out.append(job)
        folds[question(job.config)] += 1
        there.add(same(job.config))
    return out


class Estimates:
    """Seconds that a run should take here: what earlier records say, times what the device has
    shown.

    Parameters
    ----------
    factor : seconds here for a processor second of the earlier records, before anything was
        measured
    unknown : seconds assumed for a run that no record tells of
    file : where measurements are kept between calls, or None
    """

    def __init__(self, factor=1.0, unknown=300.0, file=None):
        self.factor, self.unknown, self.file = factor, unknown, file
        try:
            kept = json.loads(file.read_text(encoding="utf-8")) if file else {}
            self.ratios, self.seconds = dict(kept["ratios"]), dict(kept["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            self.ratios, self.seconds = {}, {}

    def __call__(self, job):
        asked = question(job.config)
        if asked in self.seconds:
            return median(self.seconds[asked])
        ratios = self.ratios.get(job.config.model) or [
            ratio for some in self.ratios.values() for ratio in some
        ]
        return (median(ratios) if ratios else self.factor) * max(
            1.0, self.unknown if job.seconds is None else job.seconds
        )

    def learn(self, job, seconds):
        """A run has ended here after so many seconds."""
        self.seconds.setdefault(question(job.config), []).append(round(seconds, 2))
        if job.seconds is not None:
            self.ratios.setdefault(job.config.model, []).append(
                round(seconds / max(1.0, job.seconds), 4)
            )
        if self.file:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.file) as file:
                json.dump({"ratios": self.ratios, "seconds": self.seconds}, file)


def fitting(queue, estimate, left):
    """The first job of a queue that should end within `left` seconds, or None."""
    return next((job for job in queue if MARGIN * estimate(job) <= left), None)


def foreseen(queue, estimate, workers, seconds):
    """[(start, job)] that a pack of this budget would start, and the seconds until the last has
    ended, if every estimate were right.
    """
    queue, free, out, end = list(queue), [0.0] * workers, [], 0.0
    while free:
        now = min(free)
        job = fitting(queue, estimate, seconds - now)
        free.remove(now)
        if job is not None:
            queue.remove(job)
            out.append((now, job))
            free.append(now + estimate(job))
            end = max(end, now + estimate(job))
    return out, end


class Pack:
    """A queue of jobs, several workers, one budget: each job is handed out once."""

    def __init__(self, queue, estimate, seconds, start, say=print):
        self.queue, self.estimate, self.start, self.say = list(queue), estimate, start, say
        self.deadline, self.changed = time.monotonic() + seconds, threading.Condition()
        self.running, self.workers, self.done, self.failed = set(), [], [], []

    def take(self):
        """The next job that fits, waiting for others' measurements where nothing does; None at the
        end.
        """
        with self.changed:
            while self.queue:
                job = fitting(self.queue, self.estimate, self.deadline - time.monotonic())
                if job is not None:
                    self.queue.remove(job)
                    self.running.add(job.name)
                    return job
                if not self.running:
                    return None
                self.changed.wait(1.0)
            return None

    def give(self, job, seconds, error):
        """A job has ended."""
        with self.changed:
            self.running.discard(job.name)
            expected = self.estimate(job)
            if error:
                self.failed.append((job, error))
                self.say(f"FAILED {job.name}: {error}")
            else:
                self.done.append(job)
                self.estimate.learn(job, seconds)
                self.say(
                    f"{job.name}: {seconds:.1f} s (expected {expected:.1f}); {len(self.done)} "
                    f"done, {len(self.queue)} wait"
                )
            self.changed.notify_all()

    def lane(self):
        """One worker's life: a process that makes one run after the other; a new one where it dies."""
        worker = None
        while (job := self.take()) is not None:
            if worker is None:
                worker = self.start()
                self.workers.append(worker)
            answer = _asked(worker, job)
            if answer is None:
                answer, worker = (
                    {
                        "error": "its process ended: out of memory, killed, or at the end of "
                        "the budget"
                    },
                    _ended(worker, kill=True),
                )
            self.give(job, answer.get("seconds"), answer.get("error"))
        if worker is not None:
            worker.stdin.close()

    def run(self, workers):
        """Run until the queue is empty or the budget is spent; stops its own workers at the end."""
        lanes = [
            threading.Thread(target=self.lane, daemon=True)
            for _ in range(min(workers, len(self.queue)))
        ]
        try:
            for lane in lanes:
                lane.start()
            for lane in lanes:
                lane.join(max(0.0, self.deadline - time.monotonic()))
        finally:
            for worker in list(self.workers):
                if any(lane.is_alive() for lane in lanes) and worker.poll() is None:
                    worker.terminate()
            for lane in lanes:
                lane.join(10.0)
            for worker in self.workers:
                _ended(worker)
        return self


def _asked(worker, job):
    """A worker's answer about a job, as a dictionary; None where it has none to give."""
    try:
        worker.stdin.write(json.dumps(job.config.model_dump()) + "\n")
        worker.stdin.flush()
        return json.loads(worker.stdout.readline())
    except (OSError, ValueError):
        return None


def _ended(worker, kill=False):
    """Wait for a process whose input is closed or that was told to stop; end it where it does not
    listen.
    """
    try:
        if kill:
            worker.kill()
        worker.wait(10.0)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


def starter(folder, device):
    """A function that starts a worker process."""
    env = {
        **os.environ,
        **ONE_THREAD,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    words = [
        sys.executable,
        str(Path(__file__).resolve()),
        "--worker",
        "--records",
        str(folder),
        "--device",
        device,
    ]
    return lambda: subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )


def worker(folder, device):
    """Read a configuration a line from standard input, make its run, answer {"seconds": ...} or
    {"error": ...} on standard output; ends with its input.
    """
    answers, loaded = os.fdopen(os.dup(1), "w"), {}
    os.dup2(2, 1)  # whatever else prints must not come between the answers
    for line in sys.stdin:
        config = records.RunConfig(**json.loads(line))
        key = json.dumps([config.dataset, config.options], sort_keys=True)
        try:
            if key not in loaded:
                loaded[key] = load(config.dataset, **config.options)
            start = time.perf_counter()
            records.run(config, folder, device=device, benchmark=loaded[key])
            answer = {"seconds": time.perf_counter() - start}
        except (
            ValueError,
            ArithmeticError,
            RuntimeError,
            MemoryError,
            OSError,
            TypeError,
        ) as error:  # as in `records.run_grid`
            answer = {"error": " ".join(str(error).split())[:500] or type(error).__name__}
        print(json.dumps(answer), file=answers, flush=True)


def arguments(argv):
    parser = argparse.ArgumentParser(
        description="Pack what is missing of the grid and the studies into one device's time, "
        "the most informative runs first."
    )
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        help="grids and studies (default: experiments/grid.yaml and experiments/studies/*.yaml)",
    )
    parser.add_argument("--minutes", type=float, default=20.0, help="the budget")
    parser.add_argument(
        "--records", metavar="DIR", help="where records are written (default: experiments/records)"
    )
    parser.add_argument(
        "--known",
        metavar="DIR",
        help="earlier records: what is done, and what runs cost (default: experiments/records)",
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument(
        "--workers",
        type=int,
        default=int(os.environ.get("CORES") or os.cpu_count() or 1),
        help="runs at a time (default: CORES, else the number of cores)",
    )
    parser.add_argument(
        "--factor",
        type=float,
        default=1.0,
        help="seconds here for a processor second of earlier records, until the first runs have "
        "told",
    )
    parser.add_argument("--most", type=int, help="start at most so many runs")
    parser.add_argument("--dry-run", action="store_true", help="only tell")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv=None):
    """0 where nothing failed, 1 where a run did, 2 for bad input."""
    args = arguments(argv)
    own = ROOT / "experiments/records"
    folder, known = (Path(named) if named else own for named in (args.records, args.known))
    if args.worker:
        return worker(folder, args.device)
    files = args.files or [
        ROOT / "experiments/grid.yaml",
        *sorted((ROOT / "experiments/studies").glob("*.yaml")),
    ]
    try:
        jobs, (bases, variants) = records.plan(files, known), read_roles(files)
    except DataError as error:
        print(f"pack: {error}", file=sys.stderr)
        return 2
    studies = compared(known)
    done = [job for job in jobs if is_done(job, folder, studies)]
    missing = [job for job in jobs if not is_done(job, folder, studies) and not job.trouble]
    for why, count in Counter(job.trouble for job in jobs if job.trouble).items():
        print(f"cannot run {count} of them: {why}")
    queue = order(missing, done, bases, variants, args.device)[: args.most]
    estimate = Estimates(
        args.factor,
        min(300.0, 60 * args.minutes / 3),
        file=folder / ".grid" / f"pack-{args.device}.json",
    )
    tell(queue, len(done), estimate, args)
    if args.dry_run:
        return 0
    pack = Pack(
        queue,
        estimate,
        60 * args.minutes,
        starter(folder, args.device),
        say=lambda line: print(line, flush=True),
    ).run(args.workers)
    print(
        f"{len(pack.done)} done, {len(pack.failed)} failed or stopped, "
        f"{len(queue) - len(pack.done) - len(pack.failed)} not started; the same command goes "
        "on"
    )
    return 1 if pack.failed else 0


def tell(queue, done, estimate, args):
    """The plan in words: what would start, in this order, and what would have to wait."""
    shown, end = foreseen(queue, estimate, args.workers, 60 * args.minutes)
    if args.dry_run:
        for start, job in shown:
            known = "" if job.seconds is not None else "  (cost unknown)"
            print(f"{start / 60:6.1f} min  {estimate(job):7.1f} s  {job.name}{known}")
    print(
        f"{done} runs are in, {len(queue)} to do; {len(shown)} of them should fit into "
        f"{args.minutes:g} min with {args.workers} at a time"
        f" (the last ends after {end / 60:.1f} min)",
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
