"""`clmt transfer`: fitted on one screen, asked about another."""

import click

from clmt_lib.cli import common
from clmt_lib.cli.common import command, say


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
