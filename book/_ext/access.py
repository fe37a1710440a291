"""Sphinx extension: built pages that a screen reader can name and walk through.

The theme and Sphinx leave a few things that axe-core counts as violations; they are repaired in
the written pages, since no option of theirs changes them.
"""

import re
from pathlib import Path

REPAIRS = (
    # A corner of a table is no header.
    (re.compile(r"<th(?: [^>]*)?>\s*(?:<p>\s*</p>)?\s*</th>"), "<td></td>"),
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


def setup(app):
    """Called by Sphinx before it looks for source files."""
    app.connect("build-finished", repair)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
