"""Sphinx extension: a bare `jupyter-book build book` shows the committed chapters instead of none.

`make book` executes the chapters into book/notebooks/ first.
Where it has not run, or a notebook is newer than its executed copy, the committed notebook (with
its stored outputs) is copied there.
"""

import lzma
import shutil
from pathlib import Path

import yaml
from sphinx.errors import ExtensionError


def named_in(toc):
    """Every file that a table of contents (parsed _toc.yml) names, in order."""
    if isinstance(toc, list):
        return [name for item in toc for name in named_in(item)]
    if isinstance(toc, dict):
        own = [toc[key] for key in ("root", "file") if key in toc]
        return own + [
            name
            for value in toc.values()
            if isinstance(value, (list, dict))
            for name in named_in(value)
        ]
    return []


def bring_chapters(book):
    """Copy into book/notebooks what `_toc.yml` names and is missing or out of date; raise if there
    is no such notebook.
    """
    toc = yaml.safe_load((book / "_toc.yml").read_text(encoding="utf-8"))
    for name in named_in(toc):
        if not name.startswith("notebooks/"):
            continue
        source, target = book.parent / f"{name}.ipynb", book / f"{name}.ipynb"
        if not source.is_file():
            raise ExtensionError(f"_toc.yml names {name}, but there is no {name}.ipynb")
        if not target.is_file() or target.stat().st_mtime < source.stat().st_mtime:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.with_name(f".{target.stem}.stamp").unlink(missing_ok=True)
            shutil.copyfile(source, target)


def unpack_mathjax(book):
    """Write assets/mathjax/tex-svg-full.js (MathJax 3, 2.3 MB) from its archive where it is missing
    or older.
    """
    archive = book / "_ext" / "mathjax.js.xz"
    script = book / "assets" / "mathjax" / "tex-svg-full.js"
    if not script.is_file() or script.stat().st_mtime < archive.stat().st_mtime:
        part = script.with_suffix(".part")
        part.write_bytes(lzma.decompress(archive.read_bytes()))
        part.replace(script)


def drop_thebe(app, pagename, templatename, context, doctree):
    """Leave out the scripts of Thebe, which would run code on another machine: no page asks for
    anything from elsewhere.
    """

    def is_thebe(script):
        return "thebe" in str(script.filename).lower() or "THEBE" in script.attributes.get(
            "body", ""
        )

    context["script_files"] = [script for script in context["script_files"] if not is_thebe(script)]


def renew_assets(app, env, added, changed, removed):
    """Write the first page again where an asset is newer than its copy: Sphinx copies assets only
    when it writes a page.
    """
    assets, copies = Path(app.srcdir) / "assets", Path(app.outdir) / "_static"
    pairs = (
        (asset, copies / asset.relative_to(assets))
        for asset in assets.rglob("*")
        if asset.is_file()
    )
    stale = any(
        not copy.is_file() or copy.stat().st_mtime < asset.stat().st_mtime for asset, copy in pairs
    )
    return [app.config.root_doc] if stale else []


def fill_in(app, config):
    """What pages name between double braces: sentences and tables made from the records. Raise
    where a sentence no longer holds.
    """
    from clmt_lib.book import findings
    from clmt_lib.io import DataError

    try:
        told = findings.substitutions(Path(app.srcdir).parent / "experiments")
    except DataError as error:
        raise ExtensionError(str(error)) from error
    config.myst_substitutions = {**(config.myst_substitutions or {}), **told}


def setup(app):
    """Called by Sphinx before it looks for source files."""
    bring_chapters(Path(app.srcdir))
    unpack_mathjax(Path(app.srcdir))
    app.connect("config-inited", fill_in)
    app.connect("env-get-outdated", renew_assets)
    app.connect("html-page-context", drop_thebe, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
