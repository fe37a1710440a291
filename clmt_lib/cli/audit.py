"""`clmt audit`: proofs that a benchmark, its split and a model are clean, or the leak's name."""

import click

from clmt_lib.cli import common
from clmt_lib.cli.common import command


@command("audit")
@common.dataset
@common.kind
@common.seed
@common.fold
@click.option(
    "--model",
    metavar="NAME",
    help="Also fit it where only the test set differs, and compare every fitted bit.",
)
def audit(dataset: str, kind: str, seed: int, fold: int, model: str | None) -> int:
    """Look for leaks in a benchmark, a split and a fitted model."""
    from clmt_lib import data, models
    from clmt_lib.audit import audit as audited
    from clmt_lib.audit import proves_blind

    benchmark = data.load(dataset)
    split = data.make_split(benchmark, kind, seed, fold)
    reports = [audited(benchmark, split, graph_edges=benchmark.pairs[split.train].T)]
    if model:
        reports.append(
            proves_blind(
                lambda world, part: models.build(model, part.kind).fit(world, part).state(),
                benchmark,
                split,
            )
        )
    click.echo("\n\n".join(str(report) for report in reports))
    return 0 if all(report.clean for report in reports) else 1
