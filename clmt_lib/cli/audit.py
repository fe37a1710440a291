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
@click.option(
    "--recorded",
    is_flag=True,
    help="Instead: the split of every committed run whose tables are here.",
)
@common.records
def audit(
    dataset: str,
    kind: str,
    seed: int,
    fold: int,
    model: str | None,
    recorded: bool,
    records: str | None,
) -> int:
    """Look for leaks in a benchmark, a split and a fitted model."""
    if recorded:
        common.only_with("--recorded", ["recorded", "records"])
        return _audit_records(records)
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


def _audit_records(folder: str | None) -> int:
    """Audit each split that a record names, once; the exit code."""
    from clmt_lib import data
    from clmt_lib.audit import audit as audited
    from clmt_lib.config import plain
    from clmt_lib.io import DataError
    from clmt_lib.records import store

    splits: dict[tuple[str, str], dict[tuple[str, int, int], int]] = {}
    for record in store.runs(folder):
        config = record.config
        one = splits.setdefault((config["dataset"], str(plain(config["options"]))), {})
        key = config["split"], config["seed"], config["fold"]
        one[key] = one.get(key, 0) + 1
    options = {
        (record.config["dataset"], str(plain(record.config["options"]))): record.config["options"]
        for record in store.runs(folder)
    }
    clean = runs = leaky = 0
    for source, found in sorted(splits.items()):
        try:
            benchmark = data.load(source[0], **options[source])
        except DataError as error:
            click.echo(f"{source[0]}: not audited ({error})")
            continue
        for (kind, seed, fold), count in sorted(found.items()):
            report = audited(benchmark, data.make_split(benchmark, kind, seed, fold))
            runs, clean, leaky = runs + count, clean + report.clean, leaky + (not report.clean)
            if not report.clean:
                click.echo(str(report))
        click.echo(f"{source[0]}: {len(found)} splits of {sum(found.values())} runs audited")
    click.echo(f"{clean} splits clean, {leaky} leaky, of {runs} runs")
    return 1 if leaky or not clean else 0
