"""`clmt plan`: what is missing, and what it will cost."""

import click

from clmt_lib.cli import common
from clmt_lib.cli.common import command


@command("plan")
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option(
    "--cores",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Cores that will share the work, for the estimate.",
)
@click.option(
    "--draws",
    is_flag=True,
    help="Count a record without its bootstrap draws as missing: tables need them.",
)
@click.option("--out", metavar="DIR", help="Leave the plan here, for experiments/Snakefile.")
@common.records
def plan(
    files: tuple[str, ...], cores: int, draws: bool, out: str | None, records: str | None
) -> None:
    """What is missing of grids and studies, and what it will cost.

    FILE is a grid or a study (default: experiments/grid.yaml). Nothing is run: the
    estimate comes from earlier records.
    """
    from clmt_lib.records import format_plan, write_plan
    from clmt_lib.records import plan as planned

    files = files or ("experiments/grid.yaml",)
    jobs = planned(files, records, draws=draws)
    if out:
        write_plan(jobs, files, out)
    click.echo("\n".join(format_plan(jobs, cores)))
