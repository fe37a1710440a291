"""`clmt data`: official sources, downloads, prepared tables."""

import sys
from typing import Any

import click

from clmt_lib.cli.common import SETTINGS, command, quiet, say


@click.group("data", context_settings=SETTINGS)
def data() -> None:
    """Official sources, downloads, prepared tables."""


@command("list")
def list_sources() -> None:
    """The official sources, with licence and terms."""
    from clmt_lib.data.download import SOURCES

    for source in SOURCES:
        click.echo(source.notice() + "\n")
    untried = sum(not source.tried for source in SOURCES)
    say(
        f"{len(SOURCES)} sources; {untried} addresses could not be tried from where this was "
        "written."
    )
    say("next: clmt data fetch KEY --to DIR (shows the terms), then again with --accept-terms")


@command("fetch")
@click.argument("key", metavar="KEY")
@click.option("--to", metavar="DIR", required=True, help="Folder of downloads.")
@click.option(
    "--accept-terms",
    is_flag=True,
    help="Say that you have read the licence and terms and accept them.",
)
@click.option("--mirror", metavar="URL", help="Address of a mirror with the same file names.")
def fetch(key: str, to: str, accept_terms: bool, mirror: str | None) -> None:
    """Fetch one official file, after its terms were accepted; resumes and verifies.

    KEY is shown by `clmt data list`.
    """
    from clmt_lib.data import download

    if key == "pubchem_smiles":
        from clmt_lib.data.response.prepare import drug_cids

        cids = set(drug_cids(to).values())
        found = download.pubchem_smiles(cids, to, accept_terms=accept_terms, base=mirror)
        click.echo(f"{len(found)} structures of {len(cids)} compounds in {to}")
        return
    fetched = download.fetch(
        key,
        to,
        accept_terms=accept_terms,
        base=mirror,
        progress=_progress if sys.stderr.isatty() and not quiet() else None,
    )
    click.echo(f"{fetched.path}: {fetched.size} bytes, sha256 {fetched.sha256}")
    say("next: fetch the other sources, then clmt data prepare DOWNLOADS OUT")


def _progress(done: int, total: int | None) -> None:
    end = "\n" if done == total else ""
    print(
        f"\r  {done / 1e6:.1f} of {total / 1e6 if total else float('nan'):.1f} MB",
        end=end,
        file=sys.stderr,
        flush=True,
    )


@command("prepare")
@click.argument("downloads", metavar="DOWNLOADS")
@click.argument("out", metavar="OUT")
@click.option("--genes", metavar="FILE", help="Keep only these genes: one symbol a line.")
@click.option(
    "--scale",
    metavar="INPUT=SCALE",
    multiple=True,
    help="What the values of an input are, where they leave it in doubt: response=log10_uM, "
    "expression=tpm, copy_number=ratio, ...",
)
def prepare_tables(downloads: str, out: str, genes: str | None, scale: tuple[str, ...]) -> None:
    """Turn a folder of official downloads into prepared tables.

    OUT is the folder to make; it must not exist.
    """
    from clmt_lib.data.official import wanted_genes
    from clmt_lib.data.response.prepare import prepare
    from clmt_lib.io import DataError

    wrong = [text for text in scale if "=" not in text]
    if wrong:
        raise DataError(f"--scale {wrong[0]!r} has no value", remedy="write --scale INPUT=SCALE")
    scales = dict(text.split("=", 1) for text in scale)
    done = prepare(downloads, out, genes=wanted_genes(genes) if genes else None, scales=scales)
    for kind, about in done.sources.items():
        click.echo(f"{kind}: {about['file']}")
    for kind, consequence in done.missing.items():
        click.echo(f"{kind}: MISSING ({consequence})")
    for note in done.notes:
        click.echo(f"note: {note}")
    if done.manifest is not None:
        click.echo(done.manifest[["file", "shape", "bytes"]].to_string(index=False))
    say(f"next: export CLMT_DATA='{done.folder}', then clmt data check")


@command("check")
@click.argument("folder", metavar="[FOLDER]", required=False)
def check(folder: str | None) -> None:
    """Entities, pairs and checksum of every benchmark in a folder; or all that is wrong with a
    screen of your own.

    FOLDER holds prepared tables (default: the environment's CLMT_DATA), or the tables of a screen,
    see `clmt new`.
    """
    from clmt_lib.data import BENCHMARKS, TABLES, is_screen, load, table_of
    from clmt_lib.io import DataError, locate

    if folder is not None and is_screen(folder):
        return check_screen(folder)
    place = locate(folder)
    tables = {name: table_of(name, folder) for name in BENCHMARKS}
    real = {name: path for name, path in tables.items() if path is not None}
    if not any(path.exists() for path in real.values()):
        files = " or ".join(path.name for path in real.values())
        raise DataError(
            "no benchmark in this folder",
            file=place,
            remedy=f"it should hold {files}: see `clmt data prepare`",
        )
    broken: list[str] = []
    click.echo(f"{'benchmark':<10} {'rows':>6} {'columns':>7} {'pairs':>8}  checksum")
    for name, path in tables.items():
        if path is not None and not path.exists():
            click.echo(f"{name:<10} not in this folder ({TABLES[name][1]})")
            continue
        try:
            benchmark = load(name, **({} if path is None else {"folder": folder}))
        except DataError as error:
            click.echo(f"{name:<10} cannot be read: {error}")
            broken.append(name)
            continue
        rows, columns = benchmark.shape
        click.echo(
            f"{name:<10} {rows:>6} {columns:>7} {len(benchmark):>8}  "
            f"{benchmark.checksum}{_about(benchmark)}"
        )
    if broken:
        raise DataError(
            f"{len(broken)} of the tables in this folder cannot be read: {', '.join(broken)}",
            file=place,
            remedy="mend what the lines above name",
        )


def check_screen(folder: str) -> None:
    """Print every mistake and note of a screen's folder.

    Raises
    ------
    DataError
        It has mistakes.
    """
    from clmt_lib.data.response import screen
    from clmt_lib.io import DataError

    found = screen.check(folder)
    for note in found.notes:
        say(f"note: {note}")
    for number, mistake in enumerate(found.mistakes, start=1):
        click.echo(f"{number:>3}. {mistake}")
    if found.mistakes:
        raise DataError(
            f"{len(found.mistakes)} mistakes", file=folder, remedy="mend what the lines above name"
        )
    benchmark = found.benchmark()
    click.echo(f"{benchmark}, checksum {benchmark.checksum}: no mistake found")
    say(f"next: clmt compare {folder}")


def _about(benchmark: Any) -> str:
    """What sets a benchmark apart, for the end of its line: another target, responses that are
    bounds.
    """
    bound = benchmark.censored.mean()
    return (f"  target {benchmark.target}" if benchmark.target != "ln_ic50" else "") + (
        f"  {bound:.0%} are bounds (censored)" if bound else ""
    )


for action in (list_sources, fetch, prepare_tables, check):
    data.add_command(action)
