"""`clmt run`: one configuration, or a grid."""

from collections.abc import Sequence
from typing import Any

import click

from clmt_lib.cli import common
from clmt_lib.cli.common import command, one_of, only_with, say

ONE = "dataset kind model seed fold settings set_ options records device allow_leaks".split()
GRID = "grid only jobs records device".split()
CONFIG = "config records device allow_leaks".split()


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
@click.option(
    "--allow-leaks",
    is_flag=True,
    help="Run although the audit of the split finds a leak; the record will say so.",
)
@click.option("--config", metavar="FILE", help="Instead: a file as `clmt plan --out` leaves them.")
@click.option(
    "--grid", metavar="FILE", help="Instead: a grid, such as experiments/configs/grid.yaml."
)
@click.option("--only", metavar="BENCHMARK", help="Of a grid: the runs on this one, such as ccle.")
@common.jobs
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
    allow_leaks: bool,
    config: str | None,
    grid: str | None,
    only: str | None,
    jobs: int,
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
        return _run_grid(grid, only, jobs, records, device)
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
            what, records, device=device, progress=not common.quiet(), leaky=allow_leaks
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
    from clmt_lib.tasks import METRICS, find

    places = {metric.name: place for place, metric in enumerate(METRICS.values())}
    for key in sorted(record.metrics["interval"], key=lambda key: (places[find(key).name], key)):
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
    for leak in record.provenance.get("leaks", []):
        click.echo(f"LEAK allowed: {leak}")
    table = record.path.parents[1] / "results" / f"{record.config['dataset']}.jsonl"
    click.echo(f"record: {record.path if record.path.exists() else table} ({record.name})")


def _run_grid(grid: str, only: str | None, jobs: int, records: str | None, device: str) -> int:
    from clmt_lib.records import read_grid, run_grid

    configs = on_benchmark(read_grid(grid), only)
    failed = run_grid(configs, records, jobs=jobs, device=device, say=say)
    return told(configs, failed, records, "clmt report")


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


def told(configs: Sequence[Any], failed: Sequence[Any], records: str | None, after: str) -> int:
    """Collect what was run, say how many runs are done and what comes next; the exit code."""
    from clmt_lib.records import collect

    new = sum(collect(records).values())
    done = len(configs) - len(failed)
    click.echo(f"{done} done, {len(failed)} failed, {new} new in the tables; next: {after}")
    return 1 if failed else 0
