"""`clmt new`: a screen of one's own."""

import click

from clmt_lib.cli.common import command, say


@command("new")
@click.argument("folder", metavar="FOLDER")
@click.option(
    "--example", is_flag=True, help="Fill it with a made-up screen of 20 lines x 8 drugs."
)
def new(folder: str, example: bool) -> None:
    """Make the folder of a screen of your own: tables to fill in, and a README."""
    from clmt_lib.data.response import screen

    for path in screen.new(folder, example):
        click.echo(path)
    say(
        f"next: clmt data check {folder}" if example else f"next: fill them, see {folder}/README.md"
    )
