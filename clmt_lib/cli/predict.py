"""`clmt fit` and `clmt predict`: a model folder, and answers for one's own drugs and lines."""

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from clmt_lib.cli.common import PLACE, command, parse_json, say

if TYPE_CHECKING:
    import pandas as pd

    from clmt_lib.predict import Predictor

SHOWN = 12  # rows of a table of trust


@command("fit")
@click.argument("dataset", default="simulated")
@click.option(
    "--out", type=PLACE, required=True, metavar="FOLDER", help="Where the fitted model goes."
)
@click.option(
    "--options", metavar="JSON", default="{}", help="Of the benchmark's reader, as for `clmt run`."
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    help="Of what is held out to calibrate intervals.",
)
def fit(dataset: str, out: str, options: str, seed: int) -> None:
    """Fit a predictor on a benchmark of cell lines and drugs, and calibrate its intervals.

    Of gdsc2 every screened line and drug is used, whatever is known of it, and the levels of drugs
    in GDSC1 and CTRP, where their tables are there.
    """
    from clmt_lib import data
    from clmt_lib.data.response import gdsc
    from clmt_lib.data.response.auxiliary import other_levels
    from clmt_lib.predict import Predictor

    given = parse_json("--options", options)
    lines = drugs = others = None
    if dataset == "gdsc2":
        given = {"screened": True, **given}
        lines, drugs = gdsc.catalogue(given.get("folder"))
        others = partial(other_levels, given.get("folder"))
    benchmark = data.load_response(dataset, **given)
    predictor = Predictor.fit(benchmark, lines, drugs, seed, say, others)
    predictor.save(out)
    say(predictor.accuracy().to_string(na_rep=""))
    say(f"{out}: {predictor.about['use']}. Terms of the data: {predictor.about['licence']}")
    say(f"next: clmt predict {out} --drugs FILE --lines FILE --out predictions.csv")


@command("predict")
@click.argument("model", type=PLACE, metavar="FOLDER")
@click.option(
    "--drugs",
    type=PLACE,
    metavar="FILE",
    help="Names, ids or SMILES; without it, all known drugs.",
)
@click.option(
    "--lines",
    type=PLACE,
    metavar="FILE",
    help="Names or ids, or expression by gene symbol; without it, all known lines.",
)
@click.option(
    "--out", type=PLACE, metavar="FILE", help="A .csv or .parquet; without it, the first rows."
)
@click.option(
    "--scale",
    type=click.Choice(["auto", "zscore", "log2tpm", "tpm", "cohort"]),
    default="auto",
    help="What the expression of --lines is given as.",
)
@click.option(
    "--level",
    type=click.Choice(["0.5", "0.8", "0.9", "0.95"]),
    default="0.9",
    help="Share of pairs that an interval should cover.",
)
@click.option(
    "--genes", metavar="FILE", help="Ensembl ids and symbols, where --lines names genes by ids."
)
@click.option("--as-new", is_flag=True, help="Treat known drugs and lines as if they were new.")
@click.option(
    "--measured",
    metavar="FILE",
    help="Pilot responses (line, drug, ln_ic50 or ic50_uM) of a new drug in known lines, or of a "
    "new line under known drugs: predictions follow them.",
)
@click.option(
    "--jobs", type=click.IntRange(min=1), default=1, help="Processes that work at once, for --out."
)
@click.option("--report", metavar="FILE", help="Write a page (.html) of the predictions, too.")
@click.option(
    "--next",
    "more",
    type=click.IntRange(min=1),
    metavar="N",
    help="Say in which N known lines to measure a new drug next (and which drugs on a new line).",
)
def predict(
    model: str,
    drugs: str | None,
    lines: str | None,
    out: str | None,
    scale: str,
    level: str,
    genes: str | None,
    as_new: bool,
    measured: str | None,
    jobs: int,
    report: str | None,
    more: int | None,
) -> None:
    """Predict ln IC50 (uM) for every pair of some drugs and lines, with intervals and warnings.

    FOLDER is what `clmt fit` wrote. Research use only, not for treatment.
    """
    from clmt_lib.predict import Predictor, write_predictions

    predictor = Predictor.load(model)
    asked: dict[str, Any] = {
        "level": float(level),
        "scale": scale,
        "as_new": as_new,
        "genes": genes,
        "measured": measured,
    }
    if out is None:
        found = predictor.predict(drugs, lines, **asked)
        shown = ["line", "drug", "ln_ic50", "lower", "upper", "percentile", "pair", "note"]
        click.echo(found[shown].head(20).round(2).to_string(index=False))
        say(f"{len(found):,} pairs; give --out to keep them. {predictor.about['use']}")
    else:
        bar = sys.stderr.isatty()
        count = write_predictions(predictor, out, drugs, lines, jobs=jobs, progress=bar, **asked)
        say(f"{out}: {count:,} pairs. {predictor.about['use']}")
        _trusted(predictor, _columns(out))
    if report is not None:
        from clmt_lib.screen import predictions_page, read_predictions

        found = found if out is None else read_predictions(out)
        page = predictions_page(predictor, found, lines, scale=scale, as_new=as_new, genes=genes)
        say(f"the page: {page.write(report)}. {predictor.about['use']}")
    if more is not None:
        from clmt_lib.predict.pilot import told_next

        click.echo("\n".join(told_next(predictor, measured, more)))


def _columns(path: str) -> "pd.DataFrame":
    """What a table of trust needs of predictions that were written."""
    import pandas as pd

    asked = ["drug_name", "pair"]
    if path.endswith(".parquet"):
        return pd.read_parquet(path, columns=asked)
    return pd.read_csv(path, usecols=asked, dtype=str)


def _trusted(predictor: "Predictor", found: "pd.DataFrame") -> None:
    """Say how far answers about new lines under known drugs could be trusted."""
    asked = found.loc[found["pair"] == "new line", "drug_name"].unique()
    if not len(asked):
        return
    table = predictor.trust("drug")
    table = table[table["name"].isin(asked)]
    say("known drugs in new lines, measured while lines were held out (r across lines):")
    shown = table
    if len(table) > SHOWN:
        shown = table.iloc[[*range(SHOWN // 2), *range(len(table) - SHOWN // 2, len(table))]]
        say(f"the best and the worst {SHOWN // 2} of {len(table)}")
    say(shown.round(2).to_string())
