"""`clmt plan`, `collect`, `study`, `transfer`: what is missing, what is in, what was compared."""

import click

from clmt_lib.cli import common
from clmt_lib.cli.common import PLACE, command, say
from clmt_lib.cli.run import told


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
@click.option(
    "--out", type=PLACE, metavar="DIR", help="Leave the plan here, for experiments/Snakefile."
)
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


@command("collect")
@common.records
def collect(records: str | None) -> None:
    """Fold this machine's finished runs into the tables of results.

    A run leaves a folder under runs/; the tables under results/ are what is committed.
    """
    from clmt_lib.io import DataError, expanded
    from clmt_lib.records import collect as folded

    if records is not None and not expanded(records).is_dir():
        raise DataError("no such folder", file=records, remedy="name a home of records")
    found = folded(records)
    for dataset, lines in found.items():
        click.echo(f"{dataset}: {lines} new")
    if not found:
        click.echo("no new run")
    say("next: clmt report")


@command("study")
@click.argument("file", metavar="FILE")
@common.jobs
@click.option(
    "--report-only", is_flag=True, help="Run nothing that is missing; compare what is there."
)
@common.records
@common.device
def study(
    file: str,
    jobs: int,
    report_only: bool,
    records: str | None,
    device: str,
) -> int:
    """Run a study's variants and compare them with its base.

    FILE is such as experiments/configs/studies/signals.yaml. A finished run costs nothing; the
    paired differences become a record.
    """
    from clmt_lib.records import read_study, run_study, summarise_study

    configs = [config for _, config in read_study(file)]
    code = 0
    if not report_only:
        failed = run_study(file, records, jobs=jobs, device=device, say=say)
        code = told(configs, failed, records, "the report")
    record = summarise_study(file, records, say=say)
    if record is None:
        click.echo(
            "no variant has run beside its base yet; next: the same command without --report-only"
        )
        return code
    done = record.metrics["runs"]
    click.echo(f"{done['done']} of {done['planned']} comparisons in; {record.path}")
    return code


@command("transfer")
@click.argument("file", metavar="FILE")
@common.records
@common.device
def transfer(file: str, records: str | None, device: str) -> None:
    """Fit on one screen, compare with what another measured.

    FILE is such as experiments/configs/transfer.yaml. Each target gets a record; a finished fit
    costs nothing.
    """
    from clmt_lib.records.transfer import run_transfer

    for record in run_transfer(file, records, device=device, say=say):
        click.echo(f"{record.path}: {len(record.metrics['rows'])} rows")
    say("next: make book")
