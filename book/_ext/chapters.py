"""Sphinx extension: what the pages need beyond what Sphinx and the theme give.

A bare `jupyter-book build book` shows the committed chapters instead of none.

`make book` executes the chapters into book/notebooks/ first.
Where it has not run, or a notebook is newer than its executed copy, the committed notebook (with
its stored outputs) is copied there.
"""

import json
import lzma
import os
import re
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


# What the theme and Sphinx leave undone for a screen reader (axe-core counts it as violations), and
# no option of theirs changes: repaired in the written pages.
REPAIRS = (
    # A corner of a table is no header.
    (
        re.compile(r"<th((?: [^>]*)?)>\s*(?:<p>\s*</p>)?\s*</th>"),
        lambda found: f"<td{''.join(re.findall(r' (?:row|col)span=.[0-9]+.', found[1]))}></td>",
    ),
    # The arrow that opens a part of the contents.
    (
        re.compile(r'<summary>(<span class="toctree-toggle")'),
        r'<summary aria-label="Show what is inside">\1',
    ),
    # A fold says itself whether it shows or hides.
    (re.compile(r'<summary aria-label="Toggle hidden content">'), "<summary>"),
    # The button says "Search" itself; a label beside it hides the keys from its name.
    (re.compile(r'(<button class="btn search-button-field[^>]*?) aria-label="Search"'), r"\1"),
    # A bibliography is read as text: its roles are deprecated, and contradict each other.
    (re.compile(r' role="(?:doc-biblioentry|doc-backlink)"'), ""),
    (re.compile(r'<div role="list" class="citation-list">'), '<div class="citation-list">'),
    # A wide table scrolls in its frame, by keys too.
    (
        re.compile(r'<div class="pst-scrollable-table-container">'),
        '<div class="pst-scrollable-table-container" tabindex="0">',
    ),
    # So does a wide figure, on a phone.
    (
        re.compile(r'<figure class="([^"]*drawn-by-cell[^"]*)"(?! tabindex)'),
        r'<figure class="\1" tabindex="0"',
    ),
    # A long name in a header may break behind an underscore or a plus, for a phone.
    (
        re.compile(r"(<th\b[^>]*>)([^<]*\w[_+]\w[^<]*</th>)"),
        lambda found: found[1] + re.sub(r"(?<=\w)([_+])(?=\w)", r"\1<wbr>", found[2]),
    ),
    # The column at the left is a place of its own.
    (
        re.compile(r'<div class="bd-sidebar-primary bd-sidebar([^"]*)">'),
        r'<div class="bd-sidebar-primary bd-sidebar\1" role="region" aria-label="The book">',
    ),
)


def accessible(html: str) -> str:
    """A page with the repairs; one that has them already is left as it is.

    >>> accessible("<tr><th></th><th>RMSE</th></tr>")
    '<tr><td></td><th>RMSE</th></tr>'
    >>> accessible('<th rowspan="2" valign="top"></th>')
    '<td rowspan="2"></td>'
    >>> accessible(accessible('<th class="a_b">cell_mean</th>'))
    '<th class="a_b">cell_<wbr>mean</th>'
    """
    for pattern, instead in REPAIRS:
        html = pattern.sub(instead, html)
    return html


def repair(app, error):
    """Rewrite the pages that need it, when all are written."""
    if error or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        better = accessible(text)
        if better != text:
            path.write_text(better, encoding="utf-8")


FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
TOLD = re.compile(r"(\d+) s, peak memory (\d+) MB")


def size_of(notebook):
    """How long a chapter (parsed JSON) is without its exercises and quiz: words of prose, code
    cells that a reader sees, figures, minutes to read, and the seconds and MB that its last line
    tells ("" where it does not).

    Minutes are words / 180 + lines of visible code / 12 + half a minute a figure.
    """
    cells, last, read = notebook["cells"], notebook["cells"][-1], True
    prose, code = [], []
    for cell in cells:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            code += [cell] if read else []
            continue
        text = re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)
        for part in re.split(r"(?m)^(?=## )", text):
            if part.startswith("## "):
                read = not part.startswith(("## Exercises", "## Quiz"))
            prose += [part] if read else []
    words = sum(len(re.findall(r"[^\W\d_]{2,}", part)) for part in prose)
    seen = ["".join(c["source"]) for c in code if not FOLDED & set(c["metadata"].get("tags", []))]
    lines = sum(len([line for line in text.splitlines() if line.strip()]) for text in seen)
    figures = sum(
        1
        for c in code
        for output in c["outputs"]
        if {"image/png", "image/svg+xml"} & set(output.get("data", {}))
    )
    told = TOLD.findall(json.dumps(last.get("outputs", [])))
    seconds, memory = told[-1] if told else ("", "")
    minutes = round(words / 180 + lines / 12 + figures / 2)
    return {
        "words": words,
        "cells": len(seen),
        "figures": figures,
        "minutes": minutes,
        "seconds": seconds,
        "memory": memory,
    }


def size_table(book):
    """The sizes of all chapters of `_toc.yml`, as a markdown table."""
    toc = yaml.safe_load((book / "_toc.yml").read_text(encoding="utf-8"))
    rows = [
        "| chapter | words | visible cells | figures | minutes to read | seconds to run | MB |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name in named_in(toc):
        if name.startswith("notebooks/"):
            path = book.parent / f"{name}.ipynb"
            size = size_of(json.loads(path.read_text(encoding="utf-8")))
            cells = " | ".join(str(value) for value in size.values())
            rows.append(f"| {{doc}}`/{name}` | {cells} |")
    return "\n".join(rows)


def launch_options(url):
    """Theme options for a book whose repository is public at `url` (such as
    https://github.com/somebody/clmt): buttons to the source, to issues, and to run a chapter on
    Binder or Colab. Empty without an address.
    """
    if not url:
        return {}
    return {
        "repository_url": url.removesuffix("/").removesuffix(".git"),
        "repository_branch": "main",
        "path_to_docs": "",  # notebooks/NAME.ipynb lies there under the same path
        "use_repository_button": True,
        "use_issues_button": True,
        "launch_buttons": {
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
            "notebook_interface": "jupyterlab",
        },
    }


def caption_figures(app, doctree):
    """Number the pictures that cells drew, and put their alternative text below them as a caption:
    what to see stands once, in the notebook's metadata.
    """
    from docutils import nodes

    found = [
        image
        for image in doctree.findall(nodes.image)
        if image.get("alt") and _in_output(image) and not isinstance(image.parent, nodes.figure)
    ]
    for number, image in enumerate(found, 1):
        name = f"figure-{number}"
        classes = ["drawn-by-cell", *(["wider"] if _width(app, image) > PHONE else [])]
        figure = nodes.figure("", ids=[name], classes=classes)
        image.replace_self(figure)
        figure += image
        figure += nodes.caption("", image["alt"])


PHONE = 560  # dots: a phone shows a figure of this width whole


def _width(app, image):
    """Dots of a picture from left to right; 0 where it is no picture of dots."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(Path(app.srcdir) / image["uri"].lstrip("/")) as picture:
            return picture.width
    except (OSError, UnidentifiedImageError):
        return 0


def _in_output(node):
    """Whether a node stands in the output of a cell."""
    while node.parent is not None:
        node = node.parent
        if "cell_output" in node.get("classes", ()):
            return True
    return False


def fill_in(app, config):
    """What pages name between double braces: sentences and tables made from the records, the
    sizes of chapters, and pictures to play with; and buttons that need a public repository, where
    CLMT_REPOSITORY names one. Raise where a sentence no longer holds.
    """
    from clmt_lib.book import explorers, findings
    from clmt_lib.io import DataError

    try:
        told = findings.substitutions(Path(app.srcdir).parent / "experiments")
    except DataError as error:
        raise ExtensionError(str(error)) from error
    told["sizes"] = size_table(Path(app.srcdir))
    told |= explorers.simulated_world()
    config.myst_substitutions = {**(config.myst_substitutions or {}), **told}
    offered = launch_options(os.environ.get("CLMT_REPOSITORY", ""))
    config.html_theme_options = {**config.html_theme_options, **offered}


def share_work(app, config):
    """Read and write the pages in as many processes as CLMT_JOBS says: jupyter-book has no option
    for it.
    """
    app.parallel = int(os.environ.get("CLMT_JOBS", "1"))
    # two that jupyter-book brings do not say that they allow it: one is about LaTeX, the other
    # numbers the table of contents when every page has been read
    for name in ("sphinx_jupyterbook_latex", "sphinx_multitoc_numbering"):
        if name in app.extensions:
            app.extensions[name].parallel_read_safe = True


def setup(app):
    """Called by Sphinx before it looks for source files."""
    bring_chapters(Path(app.srcdir))
    unpack_mathjax(Path(app.srcdir))
    app.connect("config-inited", fill_in)
    app.connect("config-inited", share_work)
    app.connect("doctree-read", caption_figures)
    app.connect("env-get-outdated", renew_assets)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("build-finished", repair)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
