"""`clmt run`: one configuration, or a grid."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import click

from clmt_lib.cli import common
from clmt_lib.cli.common import command, one_of, only_with, say

ONE = "dataset kind model seed fold settings set_ options predictions draws records device".split()
GRID = "grid only jobs share draws records device".split()
CONFIG = "config predictions draws records device".split()


@command("run")
@click.option("--model", metavar="NAME", help="A name of the registry, or package.module:Class.")
@common.dataset
@common.kind
@common.seed
@common.fold
@click.option(
    "--set",
    "set_",
    metavar="NAME=VALUE",
    multiple=True,
    help="Overrides a setting of the model, e.g. --set rank=30; may be repeated. Values are JSON.",
)
@click.option(
    "--settings", metavar="JSON", default="{}", help="The same as one object, '{\"rank\": 30}'."
)
@click.option(
    "--options",
    metavar="JSON",
    default="{}",
    help='Of the benchmark\'s reader, e.g. \'{"target": "act_area"}\'.',
)
@click.option("--config", metavar="FILE", help="Instead: a config.json as records keep them.")
@click.option("--grid", metavar="FILE", help="Instead: a grid, such as experiments/grid.yaml.")
@click.option("--only", metavar="BENCHMARK", help="Of a grid: the runs on this one, such as ccle.")
@common.jobs
@click.option("--share", metavar="I/N", default="0/1", hidden=True)
@click.option(
    "--predictions",
    is_flag=True,
    help="Run a record again that came without its predictions (not with --grid).",
)
@click.option(
    "--draws",
    is_flag=True,
    help="Run a record again that came without its bootstrap draws, which tables need.",
)
@common.records
@common.device
def run(
    model: str | None,
    dataset: str,
    kind: str,
    seed: int,
    fold: int,
    set_: tuple[str, ...],
    settings: str,
    options: str,
    config: str | None,
    grid: str | None,
    only: str | None,
    jobs: int,
    share: str,
    predictions: bool,
    draws: bool,
    records: str | None,
    device: str,
) -> int | None:
    """Fit and score one model on one split, or a whole grid.

    A finished run costs nothing: its record is read.
    """
    from clmt_lib import records as recorded
    from clmt_lib.io import DataError

    one_of("model", "config", "grid")
    if grid is not None:
        only_with("--grid", GRID)
        return _run_grid(grid, only, jobs, share, draws, records, device)
    if config is not None:
        only_with("--config", CONFIG)
        what = recorded.read_config(config)
    elif model is not None:
        only_with("--model", ONE)
        what = recorded.RunConfig(
            dataset=dataset,
            split=kind,
            model=model,
            seed=seed,
            fold=fold,
            settings=merged(common.parse_json("--settings", settings), common.parse_settings(set_)),
            options=common.parse_json("--options", options),
        )
    else:
        raise DataError(
            f"nothing to run: no --model, --grid or --config. Models: {_models()}",
            remedy="name one, such as `clmt run --model als`",
        )
    try:
        record = recorded.run(
            what,
            records,
            predictions=predictions,
            draws=draws,
            device=device,
            progress=not common.quiet(),
        )
    except TypeError as error:
        raise DataError(
            f"settings do not fit the model ({error})",
            remedy="give each setting a value of the type of its default",
        ) from error
    _print_metrics(record)
    return None


def merged(settings: dict[str, Any], pairs: dict[str, Any]) -> dict[str, Any]:
    """Settings said as one object and one by one.

    Raises
    ------
    DataError
        One of them is said in both ways.
    """
    from clmt_lib.io import DataError

    both = sorted(settings.keys() & pairs.keys())
    if both:
        raise DataError(
            f"{both[0]!r} is in --settings and in --set", remedy="say it in one of them"
        )
    return {**settings, **pairs}


def _models() -> str:
    from clmt_lib import models

    return ", ".join(models.names())


def _print_metrics(record: Any) -> None:
    for key in ("rmse", "pcc", "pcc_per_drug"):
        value, low, high = (
            "-" if number is None else f"{number:.3f}"
            for number in (record.metrics["test"][key], *record.metrics["interval"][key])
        )
        click.echo(f"{key:<14} {value}  [{low}, {high}]")
    if "censored" in record.metrics["test"]:
        click.echo(
            f"censored       {record.metrics['test']['censored']:.3f}  of these responses are "
            "bounds, read here as measured; see rmse_measured in the record"
        )
    click.echo(f"record: {record.path}")


def _run_grid(
    grid: str,
    only: str | None,
    jobs: int,
    share: str,
    draws: bool,
    records: str | None,
    device: str,
) -> int:
    from clmt_lib.records import read_grid, run_grid

    configs = on_benchmark(read_grid(grid), only)
    if jobs > 1:
        words = ["run", "--grid", grid, *(["--draws"] if draws else [])]
        return divided([*words, *(["--only", only] if only else [])], jobs, records, device)
    failed = run_grid(
        configs, records, share=parse_share(share), draws=draws, device=device, say=say
    )
    return told(configs, failed, share, "clmt report")


def on_benchmark(configs: Sequence[Any], only: str | None) -> list[Any]:
    """The configurations on one benchmark, or all of them.

    Raises
    ------
    DataError
        None is on it.
    """
    from clmt_lib.io import DataError

    left = [config for config in configs if only in (None, config.dataset)]
    if only and not left:
        raise DataError(
            f"the grid has no run on {only!r}",
            remedy=f"use one of: {', '.join(sorted({config.dataset for config in configs}))}",
        )
    return left


def divided(words: Sequence[str], jobs: int, records: str | None, device: str) -> int:
    """The same command in `jobs` processes, each with its share of the runs and of the cores; 1
    where one of them failed.
    """
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
    command = [sys.executable, "-m", "clmt_lib", *words, "--device", device]
    command += ["--records", records] if records else []
    workers = [
        subprocess.Popen(
            [*command, "--share", f"{i}/{jobs}"], env=os.environ | dict.fromkeys(names, threads)
        )
        for i in range(jobs)
    ]
    codes = [worker.wait() for worker in workers]  # a killed worker's code is below zero
    return 1 if any(codes) else 0


def parse_share(share: str) -> tuple[int, int]:
    """Which part of the runs is this process's: "1/4" is the second of four."""
    first, _, step = share.partition("/")
    return int(first), int(step)


def told(configs: Sequence[Any], failed: Sequence[Any], share: str, after: str) -> int:
    """Say how many runs are done and what comes next; the exit code."""
    first, step = parse_share(share)
    click.echo(
        f"{len(configs[first::step]) - len(failed)} done, {len(failed)} failed; next: {after}"
    )
    return 1 if failed else 0
