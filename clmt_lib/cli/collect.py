"""`clmt collect`: finished runs of this machine into the tables."""

import click

from clmt_lib.cli import common
from clmt_lib.cli.common import command, say


@command("collect")
@common.records
def collect(records: str | None) -> None:
    """Fold this machine's finished runs into the tables of results.

    A run leaves a folder under runs/; the tables under results/ are what is committed.
    """
    from clmt_lib.records import collect as folded

    for dataset, lines in folded(records).items():
        click.echo(f"{dataset}: {lines} new")
    say("next: clmt report")
