"""What is missing of the grid and the studies, and what it will cost: the list that
`experiments/Snakefile` turns into jobs.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from clmt_lib import data
from clmt_lib.config import read_yaml
from clmt_lib.io import DataError, atomic_write
from clmt_lib.records import store
from clmt_lib.records.grids import read_grid
from clmt_lib.records.runs import RunConfig
from clmt_lib.records.studies import read_study

SPARE = 1.25  # of the memory that earlier runs took: a job that asks for too little is killed


@dataclass(frozen=True)
class Job:
    """One run of a plan.

    Attributes
    ----------
    name : id of its record; where that cannot be known, a name of its own
    config : RunConfig
    files : stems of the grid and study files that ask for it
    done : it is in the tables, or its own folder is whole
    seconds : what fitting should take, from earlier records; None where there is none to go by
    memory_mb : what it should need, from earlier records; None likewise
    trouble : why it cannot be run (no data, unknown model); "" where nothing is known against it
    """

    name: str
    config: RunConfig
    files: tuple
    done: bool
    seconds: float | None = None
    memory_mb: int | None = None
    trouble: str = ""


def plan(paths: Sequence[str | Path], folder: str | Path | None = None) -> list[Job]:
    """Every run that grid and study files name, once each, in the files' order.

    A run is done when it is in the tables or its own folder is whole: markers, times of files and
    what a scheduler remembers have no say in it. Each benchmark is loaded once, because a run's id
    needs its checksum.

    Parameters
    ----------
    paths : grid files (`runs:` of models) and study files (`base:` and `variants:`)
    folder : home of the records

    Returns
    -------
    list of Job

    Raises
    ------
    DataError
        A file that is neither grid nor study, or two files of one name.
    """
    stems = [Path(path).stem for path in paths]
    if len(set(stems)) < len(stems):
        raise DataError(
            "two files of one name",
            file=max(stems, key=stems.count),
            remedy="rename one: a plan and its tables are known by the file's name",
        )
    once: dict = {}
    for path, stem in zip(paths, stems, strict=True):
        for config in _configs(path):
            key = json.dumps(config.model_dump(), sort_keys=True)
            once.setdefault(key, (config, []))[1].append(stem)
    known = _costs(folder)
    checksums: dict = {}
    jobs: dict[str, Job] = {}
    for key, (config, files) in once.items():
        try:
            name, trouble = config.id(_checksum(config, checksums)), ""
        except DataError as error:
            where = f"{config.dataset}-{config.split}-s{config.seed}-f{config.fold}"
            digits = hashlib.sha256(key.encode()).hexdigest()[:10]
            name, trouble = f"{where}-{config.model}-{digits}", str(error)
        files = [*jobs[name].files, *files] if name in jobs else files
        done = not trouble and store.find(name, folder) is not None
        seconds, memory = _estimate(config, known)
        files = tuple(dict.fromkeys(files))
        jobs[name] = Job(name, config, files, done, seconds, memory, trouble)
    return list(jobs.values())


def within(jobs: Sequence[Job], minutes: float, cores: int = 1) -> list[Job]:
    """What should be run of a plan in a given time.

    Of each question (a model with its settings on a benchmark and split) the first missing fold
    comes before the second of any other, and the cheap before the dear, until `minutes` of `cores`
    are used up. Runs of unknown cost are left out.
    """
    asked: Counter = Counter()
    ranked: list = []
    for job in jobs:
        config = job.config
        question = json.dumps(config.model_dump(exclude={"seed", "fold"}), sort_keys=True)
        if not job.done and not job.trouble and job.seconds is not None:
            ranked.append((asked[question], job.seconds, len(ranked), job))
        asked[question] += 1
    left, chosen = minutes * 60 * cores, []
    for *_, job in sorted(ranked):
        if job.seconds is not None and job.seconds <= left:
            chosen.append(job)
            left -= job.seconds
    return chosen


def _configs(path):
    return [config for _, config in read_study(path)] if _is_study(path) else read_grid(path)


def _is_study(path):
    """A study has a `base`, a grid has none."""
    remedy = "see experiments/configs/grid.yaml and experiments/configs/studies"
    body = read_yaml(path, "grid and no study", remedy)
    return isinstance(body, dict) and "base" in body


def _checksum(config, checksums):
    """Checksum of a run's benchmark, loaded once; what went wrong with a benchmark goes wrong with
    each of its runs.
    """
    key = config.dataset, json.dumps(config.options, sort_keys=True)
    if key not in checksums:
        try:
            checksums[key] = data.load(config.dataset, **config.options).checksum
        except DataError as error:
            checksums[key] = error
        except TypeError as error:  # an option that the reader does not know
            checksums[key] = DataError(
                f"options do not fit the benchmark {config.dataset!r} ({error})",
                remedy="see its reader's `load`",
            )
    if isinstance(checksums[key], DataError):
        raise checksums[key]
    return checksums[key]


def _costs(folder):
    """What earlier runs cost: [(seconds, memory in MB)] by (model, dataset), and by (model,
    dataset, split, settings).
    """
    found = {}
    for record in store.runs(folder):
        config, seconds = record.config, record.provenance["seconds"]
        if "resumed" in seconds:  # it took longer than its last attempt
            continue
        near = config["model"], config["dataset"]
        settings = json.dumps(record.provenance["overrides"], sort_keys=True)
        cost = (
            seconds.get("fit_cpu", seconds["fit"]) + seconds.get("predict", 0),
            record.provenance["peak_memory_mb"],
        )
        for key in (near, (*near, config["split"], settings)):
            found.setdefault(key, []).append(cost)
    return found


def _estimate(config, known):
    """(median seconds, largest memory with something to spare) of runs of the same model, dataset,
    split and settings, else of the same model and dataset.
    """
    near = config.model, config.dataset
    costs = known.get(
        (*near, config.split, json.dumps(config.settings, sort_keys=True))
    ) or known.get(near)
    if not costs:
        return None, None
    return round(median(seconds for seconds, _ in costs), 1), round(
        SPARE * max(memory for _, memory in costs)
    )


def format_plan(jobs: Sequence[Job], cores: int = 1) -> list[str]:
    """The plan in words, as a list of lines: a line for each benchmark and model of which something
    is missing, what stands in the way, and the sum.
    """
    missing, cannot = (
        [job for job in jobs if not job.done and not job.trouble],
        Counter(job.trouble for job in jobs if job.trouble),
    )
    groups: dict = {}
    for job in missing:
        groups.setdefault((job.config.dataset, job.config.model), []).append(job)
    out = (
        [f"{'benchmark':<12} {'model':<24} {'missing':>7} {'each':>9} {'together':>9}"]
        if groups
        else []
    )
    for (dataset, model), group in groups.items():
        known = [job.seconds for job in group if job.seconds is not None]
        each, together = (
            (_duration(median(known)), _duration(sum(known))) if known else ("unknown", "unknown")
        )
        out.append(f"{dataset:<12} {model:<24} {len(group):>7} {each:>9} {together:>9}")
    out += [f"cannot run {count} of them: {why}" for why, count in cannot.items()]
    known = [job.seconds for job in missing if job.seconds is not None]
    cost = (
        f"; about {_duration(sum(known) / cores)} of fitting on {cores} core{'s' * (cores > 1)}"
        if known
        else ""
    )
    unknown = f"; {len(missing) - len(known)} of unknown cost" if len(known) < len(missing) else ""
    return [
        *out,
        f"{sum(job.done for job in jobs)} of {len(jobs)} runs are in, {len(missing)} to "
        f"do{cost}{unknown}",
    ]


def _duration(seconds):
    """Seconds for people.

    >>> _duration(7.04), _duration(100), _duration(10_000)
    ('7.0 s', '1.7 min', '2.8 h')
    """
    return (
        f"{seconds:.1f} s"
        if seconds < 60
        else f"{seconds / 60:.1f} min"
        if seconds < 3600
        else f"{seconds / 3600:.1f} h"
    )


def write_plan(jobs: Sequence[Job], paths: Sequence[str | Path], out: str | Path) -> None:
    """Leave a plan for a scheduler in the folder `out`: `plan.json`, and the configuration of each
    missing run as `configs/<name>.json`.

    `plan.json` holds `runs`: name -> {done, files, seconds, memory_mb, trouble}, and `tables`: stem
    of a file -> the words of the `clmt` command that makes its tables; it is
    replaced whole. Markers and logs of runs that are not done are removed: the records decide what
    is done.
    """
    out = Path(out)
    (out / "configs").mkdir(parents=True, exist_ok=True)
    for job in jobs:
        if not job.done:
            for left in (out / "done" / job.name, out / "logs" / f"{job.name}.log"):
                left.unlink(missing_ok=True)
            _replace(out / "configs" / f"{job.name}.json", job.config.model_dump())
    runs = {
        job.name: {
            "done": job.done,
            "files": job.files,
            "seconds": job.seconds,
            "memory_mb": job.memory_mb,
            "trouble": job.trouble,
        }
        for job in jobs
    }
    tables = {
        Path(path).stem: ["study", str(path), "--report-only"]
        if _is_study(path)
        else ["report", "--grid", str(path)]
        for path in paths
    }
    _replace(out / "plan.json", {"runs": runs, "tables": tables})


def _replace(path, body):
    with atomic_write(path) as file:
        file.write(json.dumps(body, indent=1) + "\n")
