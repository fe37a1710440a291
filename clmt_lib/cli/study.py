"""`clmt study`: a base and its variants, run and compared."""

import click

from clmt_lib.cli import common
from clmt_lib.cli.common import command, say
from clmt_lib.cli.run import told


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
