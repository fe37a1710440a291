"""`clmt split` and `clmt score`: our splits for others, and predictions made elsewhere on them."""

import click

from clmt_lib.cli import common
from clmt_lib.cli.common import PLACE, command, say

OPTIONS = click.option(
    "--options", metavar="JSON", default="{}", help="Of the benchmark's reader, as for `clmt run`."
)


@command("split")
@common.dataset
@OPTIONS
@common.kind
@common.seed
@common.fold
@click.option("--out", type=PLACE, metavar="FILE", help="Write it there as a CSV of ids.")
def split(dataset: str, options: str, kind: str, seed: int, fold: int, out: str | None) -> None:
    """Show the sizes of a split, or write it as a CSV of ids.

    Other programs can then be trained and tested on the very same pairs.
    """
    import numpy as np

    from clmt_lib import data

    benchmark = data.load(dataset, **common.parse_json("--options", options))
    made = data.make_split(benchmark, kind, seed, fold)
    for name, positions in made.sets().items():
        pairs = benchmark.pairs[positions]
        sides = ", ".join(
            f"{len(np.unique(pairs[:, axis]))} of {len(side)} {side.name}s"
            for axis, side in enumerate(benchmark.sides)
        )
        click.echo(f"{name:<6} {len(positions):>8} pairs, {sides}")
    if out:
        data.write_split_csv(made, benchmark, out)
        say(f"{out}: ids and sets. next: add a column `predicted`, then clmt score {out}")


@command("score")
@click.argument("file", metavar="FILE")
@common.dataset
@OPTIONS
@common.kind
@common.seed
@common.fold
@common.records
def score(
    file: str, dataset: str, options: str, kind: str, seed: int, fold: int, records: str | None
) -> None:
    """Score predictions made elsewhere on one of our splits.

    FILE is a CSV with the ids of both sides and a column `predicted`, for every pair of the test
    set; `clmt split --out` writes the ids. The models of the tables on the same test set stand
    beside it, with the paired difference where their bootstrap draws are kept.
    """
    from pathlib import Path

    from clmt_lib import data
    from clmt_lib.records import outside

    chosen = common.parse_json("--options", options)
    benchmark = data.load(dataset, **chosen)
    made = data.make_split(benchmark, kind, seed, fold)
    predicted = outside.read_predictions(file, benchmark, made)
    found = outside.score_predictions(predicted, benchmark, made, chosen, records)
    click.echo(
        f"{Path(file).name} on {dataset} {made.kind}, seed {seed}, fold {fold}: "
        f"{len(made.test)} test pairs"
    )
    for metric in dict.fromkeys([*found.interval, *found.metrics]):
        if metric != "pairs":
            line = f"  {metric:<20} {_number(found.metrics[metric])}"
            if metric in found.interval:
                low, high = found.interval[metric]
                line += f"  {_interval(low, high)}"
            click.echo(line)
    if found.others.empty:
        say("no model of the tables has run on this test set; next: clmt run --model NAME")
        return
    names = list(found.interval)
    click.echo(
        f"\n  {'model':<24}"
        + "".join(f"{name:>14}" for name in names)
        + f"   {found.headline}: {Path(file).name} - model"
    )
    for model, row in found.others.iterrows():
        numbers = "".join(f"{_number(row[name]):>14}" for name in names)
        kept = row["low"] == row["low"]
        beside = _interval(row["low"], row["high"], "+.3f") if kept else "draws not kept"
        click.echo(f"  {model:<24}{numbers}   {beside}")


def _number(value: float) -> str:
    return f"{value:.3f}" if value == value else "-"


def _interval(low: float, high: float, form: str = ".3f") -> str:
    return f"[{low:{form}}, {high:{form}}]"
