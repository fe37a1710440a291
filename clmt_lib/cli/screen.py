"""`clmt new` and `clmt compare`: a screen of one's own, and which model answers it."""

from pathlib import Path

import click

from clmt_lib.cli.common import PLACE, command, say


@command("new")
@click.argument("folder", type=PLACE, metavar="FOLDER")
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


@command("compare")
@click.argument("folder", metavar="FOLDER")
@click.option(
    "--new",
    "question",
    type=click.Choice(["lines", "drugs", "both"]),
    default="both",
    show_default=True,
    help="What will be new: lines, drugs, or ask both questions.",
)
@click.option(
    "--beside",
    metavar="DATASET",
    help="Another screen whose lines and drugs are put beside yours, such as gdsc2.",
)
@click.option("--report", metavar="FILE", help="The page to write; default: FOLDER/report.html.")
@click.option("--seed", type=int, default=0, help="Of the folds.")
def compare(folder: str, question: str, beside: str | None, report: str | None, seed: int) -> None:
    """Which model answers a screen of your own? The ladder and CLMT's kernel head by
    cross-validation, for new lines and for new drugs; writes a report page.
    """
    from clmt_lib import data
    from clmt_lib import screen as screens
    from clmt_lib.data.response import screen
    from clmt_lib.io import DataError

    checked = screen.check(folder)
    benchmark = checked.benchmark()
    other = None if beside is None else data.load_response(beside)
    found, lost = {}, []
    for one in screens.QUESTIONS if question == "both" else (question,):
        try:
            found[one] = screens.compare(benchmark, one, other, seed=seed, say=say)
        except DataError as error:
            if question != "both":
                raise
            lost.append(f"new {one}: {error}")
    if not found:
        raise DataError("; ".join(lost), file=folder, remedy="add lines and drugs")
    for answer in found.values():
        click.echo(answer.told())
    path = Path(report or Path(folder) / "report.html")
    notes = (*checked.notes, *lost)
    screens.page(found, Path(folder).resolve().name, notes, checked.unfitted).write(path)
    say(f"the page: {path}. Research use only, not for treatment.")
