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
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Also list what to run in so many minutes: new questions first, cheap before dear.",
)
@click.option("--out", metavar="DIR", help="Leave the plan here, for experiments/Snakefile.")
@common.records
def plan(
    files: tuple[str, ...],
    cores: int,
    minutes: float | None,
    out: str | None,
    records: str | None,
) -> None:
    """What is missing of grids and studies, and what it will cost.

    FILE is a grid or a study (default: experiments/configs/grid.yaml). Nothing is run: the
    estimate comes from earlier records.
    """
    from clmt_lib.records import format_plan, within, write_plan
    from clmt_lib.records import plan as planned

    files = files or ("experiments/configs/grid.yaml",)
    jobs = planned(files, records)
    if out:
        write_plan(jobs, files, out)
    click.echo("\n".join(format_plan(jobs, cores)))
    if minutes is not None:
        chosen = within(jobs, minutes, cores)
        click.echo(f"in {minutes:g} minutes, in this order: {len(chosen)} runs")
        for job in chosen:
            click.echo(f"  {job.name}  {job.seconds:.0f} s")
