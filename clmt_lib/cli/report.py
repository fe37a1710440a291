"""`clmt report`: summaries of the runs of a grid."""

from itertools import groupby
from pathlib import Path
from typing import Any

import click

from clmt_lib.cli import common
from clmt_lib.cli.common import command, say
from clmt_lib.cli.run import on_benchmark


@command("report")
@click.option("--grid", metavar="FILE", default="experiments/configs/grid.yaml", show_default=True)
@click.option("--only", metavar="BENCHMARK", help="The summaries of this benchmark alone.")
@click.option(
    "--remake",
    is_flag=True,
    help="Make runs again whose bootstrap draws were not kept, for the intervals that lack them.",
)
@common.records
def report(grid: str, only: str | None, remake: bool, records: str | None) -> None:
    """Summarise the runs of a grid, as records that the book reads.

    Means over seeds and folds, intervals and paired differences.
    """
    from clmt_lib import data
    from clmt_lib.records import read_grid, summarise

    stem = Path(grid).stem
    configs = sorted(on_benchmark(read_grid(grid), only), key=lambda c: (c.label, c.split))
    for label, grouped in groupby(configs, key=lambda c: c.label):
        rows = list(grouped)
        benchmark = data.load(rows[0].dataset, **rows[0].options)
        for split, runs in groupby(rows, key=lambda c: c.split):
            record = summarise(
                list(runs),
                records,
                benchmark=benchmark,
                grid="" if stem == "grid" else stem,
                remake=remake,
                say=say,
            )
            if record is not None:
                done = record.metrics["runs"]
                without = (
                    f", {done['left_out']} intervals left out (draws were not kept; --remake "
                    "makes their runs again)"
                    if done["left_out"]
                    else ""
                )
                click.echo(
                    f"{label} {split}: {done['done']} of {done['planned']} runs in{without}; "
                    f"{record.path}{_bounds(record)}"
                )
    say("next: make book")


def _bounds(record: Any) -> str:
    """What to know of a summary whose responses are partly bounds."""
    share = max(
        (about.get("censored") or 0 for about in record.metrics["models"].values()), default=0
    )
    return (
        f"; {share:.0%} of its test responses are bounds, read as measured (`rmse_measured` "
        "leaves them out)"
        if share
        else ""
    )
