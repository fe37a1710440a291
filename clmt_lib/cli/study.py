"""`clmt study`: a base and its variants, run and compared."""

import click

from clmt_lib.cli import common
from clmt_lib.cli.common import command, say
from clmt_lib.cli.run import divided, parse_share, told


@command("study")
@click.argument("file", metavar="FILE")
@common.jobs
@click.option(
    "--report-only", is_flag=True, help="Run nothing that is missing; compare what is there."
)
@click.option(
    "--papermill",
    metavar="DIR",
    help="Make each run by executing experiments/templates/ablation.ipynb; the notebooks are "
    "left in DIR.",
)
@click.option("--share", metavar="I/N", default="0/1", hidden=True)
@common.records
@common.device
def study(
    file: str,
    jobs: int,
    report_only: bool,
    papermill: str | None,
    share: str,
    records: str | None,
    device: str,
) -> int:
    """Run a study's variants and compare them with its base.

    FILE is such as experiments/studies/signals.yaml. A finished run costs nothing; the paired
    differences become a record.
    """
    from clmt_lib.records import read_study, summarise_study

    configs = [config for _, config in read_study(file)]
    code = 0 if report_only else _run(file, configs, jobs, papermill, share, records, device)
    if parse_share(share)[1] > 1:  # one of several processes: the one that started them reports
        return code
    record = summarise_study(file, records)
    if record is None:
        click.echo(
            "no variant has run beside its base yet; next: the same command without --report-only"
        )
        return code
    done = record.metrics["runs"]
    click.echo(f"{done['done']} of {done['planned']} comparisons in; {record.path}")
    return code


def _run(
    file: str,
    configs: list,
    jobs: int,
    papermill: str | None,
    share: str,
    records: str | None,
    device: str,
) -> int:
    """Run what is missing, in this process or in several; 1 where something failed."""
    from clmt_lib.records import run_notebooks, run_study

    if jobs > 1:
        words = ["study", file, *(["--papermill", papermill] if papermill else [])]
        return divided(words, jobs, records, device)
    part = parse_share(share)
    failed = (
        run_notebooks(file, papermill, folder=records, share=part, device=device, say=say)
        if papermill
        else run_study(file, folder=records, share=part, device=device, say=say)
    )
    return told(configs, failed, share, "the report")
