"""The built book as files to hand on: a zip of the pages, a PDF and an EPUB, with checksums.

    python book/release.py          into dist/ (make release builds the pages first)

All three come from the same pages. Formulas are drawn once, by the MathJax of the book in a
headless Chromium, and travel as SVG; so neither TeX nor the network is needed. The reference of
the library (api/) is in the zip only.
"""

import hashlib
import re
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from html import escape
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import yaml

ROOT = Path(__file__).resolve().parent.parent
for place in (ROOT / "book", ROOT / "book" / "_ext"):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

from browser import BROWSER, Chromium, served  # noqa: E402
from chapters import named_in  # noqa: E402

XHTML = "http://www.w3.org/1999/xhtml"
WHEN = (1980, 1, 1, 0, 0, 0)  # in the archives: the same book gives the same bytes
# What stands on a page, as XHTML: formulas as SVG with their TeX as a label, nothing to click.
PAGE = r"""
(() => {
  const article = document.querySelector("article.bd-article").cloneNode(true);
  const drop = "script, style, button, .headerlink, .toggle-details, mjx-assistive-mml, " +
    ".sd-tab-set > input, details.hide, .tocpage, .explorer > input, .explorer > label, " +
    ".explorer > br, .explorer .on-screen, .explorer .pane .second";
  article.querySelectorAll(drop).forEach(each => each.remove());
  article.querySelectorAll(".toggle-hidden").forEach(
    each => each.classList.remove("toggle-hidden"));
  const drawn = window.MathJax && MathJax.startup && MathJax.startup.document;
  const tex = drawn ? [...drawn.math].map(item => item.math) : [];  // a page may have none
  article.querySelectorAll("mjx-container").forEach((formula, number) => {
    const svg = formula.querySelector("svg"), span = document.createElement("span");
    span.className = formula.getAttribute("display") === "true" ? "shown" : "formula";
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", tex[number] || "formula");
    ["focusable", "aria-hidden"].forEach(name => svg.removeAttribute(name));
    span.append(svg);
    formula.replaceWith(span);
  });
  article.querySelectorAll("details").forEach(each => each.setAttribute("open", "open"));
  article.querySelectorAll("[tabindex]").forEach(each => each.removeAttribute("tabindex"));
  return JSON.stringify([document.querySelector("h1").firstChild.textContent.trim(),
    tex.length, new XMLSerializer().serializeToString(article)]);
})()
"""
STYLE = """
@page { size: A4; margin: 18mm 16mm 20mm; }
body { font: 10.5pt/1.45 Georgia, "DejaVu Serif", serif; color: #1f2933; }
h1, h2, h3, h4, .admonition-title, th { font-family: Helvetica, Arial, sans-serif; }
article { break-before: page; }
h1, h2, h3, h4 { break-after: avoid; line-height: 1.2; }
a { color: #0b57c2; text-decoration: none; }
img { max-width: 100%; max-height: 225mm; width: auto; height: auto; }
img, table, svg.drawn { break-inside: avoid; }
pre { font: 8pt/1.35 "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; background: #f3f4f5; padding: 0.5em 0.7em; margin: 0.4em 0; }
.output pre { background: none; border-left: 2px solid #c9ced6; }
code { font-size: 88%; }
table { border-collapse: collapse; font-size: 8.5pt; margin: 0.6em 0; }
th, td { border-bottom: 0.5pt solid #c9ced6; padding: 0.15em 0.5em; text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }
.admonition { border-left: 3px solid #0072b2; padding: 0.2em 0.8em; margin: 0.8em 0; }
.admonition-title { font-weight: 600; margin: 0.2em 0; }
.shown { display: block; text-align: center; margin: 0.7em 0; }
.shown svg { max-width: 100%; }
.eqno { float: right; }
svg.drawn { display: block; width: 100%; max-width: 28em; margin: 1em auto; }
svg.drawn text { font: 13px Helvetica, Arial, sans-serif; fill: #1f2933; }
svg.drawn text.small { font-size: 12.5px; }
svg.drawn .head { font-weight: 600; }
svg.drawn rect, svg.drawn path { fill: none; stroke-width: 2; }
svg.drawn .line { stroke: #d55e00; } svg.drawn .drug { stroke: #0072b2; }
svg.drawn circle.line { fill: #d55e00; } svg.drawn circle.drug { fill: #0072b2; }
svg.drawn .plain, svg.drawn .flow { stroke: #667085; }
svg.drawn path.tip { fill: #667085; stroke: none; }
svg.drawn path.edge { stroke: #667085; stroke-width: 0.8; }
svg.drawn .dot path { stroke-width: 8; stroke-linecap: round; }
svg.drawn .dot circle { fill: none; stroke-width: 2; }
svg.drawn image { image-rendering: pixelated; }
.explorer .on-paper { font: 600 9pt Helvetica, Arial, sans-serif; margin: 0.6em 0 0; }
.explorer .shared svg.drawn { margin-bottom: 0; }
.explorer .shared ~ .pane .on-paper { display: none; }
.explorer .shared ~ .pane svg.drawn { margin-top: 0; }
.cover { text-align: center; padding-top: 30%; }
"""


class Page:
    """One page of the book, out of the browser.

    Attributes
    ----------
    name : its path without ".html"; title; formulas : how many MathJax drew
    body : its article, XHTML, with ids of its own
    pictures : path under the site -> name in the EPUB
    """

    def __init__(self, name: str, title: str, formulas: int, body: str) -> None:
        self.name, self.title, self.formulas = name, title, formulas
        self.key = name.replace("/", "-")
        self.body, self.pictures = body, {}

    def settle(self, names: Sequence[str], site: Path, target: str) -> str:
        """The article with links and pictures for one file of everything (`target` "pdf") or for
        files beside each other ("epub"). Links to what is not in the book lose their address.
        """
        tree = ElementTree.fromstring(self.body)
        here = dirname(self.name)
        for node in tree.iter():
            for name in ("id", "name"):
                if name in node.attrib and node.tag.split("}")[-1] != "meta":
                    node.set(name, f"{self.key}--{node.get(name)}")
            for name in list(node.attrib):
                value = node.get(name)
                if name in ("aria-labelledby", "aria-describedby", "for"):
                    del node.attrib[name]
                elif "url(#" in value:
                    node.set(name, value.replace("url(#", f"url(#{self.key}--"))
            tag = node.tag.split("}")[-1]
            if tag == "use":
                for name in ("href", "{http://www.w3.org/1999/xlink}href"):
                    if name in node.attrib:
                        node.set(name, f"#{self.key}--{node.get(name).removeprefix('#')}")
            elif tag == "a" and "href" in node.attrib:
                node.set("href", self._link(node.get("href"), here, names, target))
                if not node.get("href"):
                    del node.attrib["href"]
            elif tag == "img":
                path = normpath(join(here, unquote(node.get("src"))))
                kept = f"{len(self.pictures):03d}-{self.key}{Path(path).suffix}"
                self.pictures.setdefault(path, kept)
                node.set("src", f"images/{self.pictures[path]}" if target == "epub" else f"/{path}")
                node.attrib.pop("srcset", None)
        tree.set("id", self.key)
        return ElementTree.tostring(tree, encoding="unicode")

    def _link(self, href: str, here: str, names: Sequence[str], target: str) -> str:
        url = urlsplit(href)
        if url.scheme or url.netloc:
            return href
        path = normpath(join(here, unquote(url.path))).removesuffix(".html") if url.path else ""
        path = path or self.name
        if path not in names:
            return ""
        key = path.replace("/", "-")
        anchor = f"{key}--{unquote(url.fragment)}" if url.fragment else key
        return f"#{anchor}" if target == "pdf" else f"{key}.xhtml#{anchor}"


def named(root: Path = ROOT) -> list[str]:
    """The pages of the PDF and the EPUB, in the order of the contents."""
    toc = yaml.safe_load((root / "book" / "_toc.yml").read_text(encoding="utf-8"))
    return [name for name in named_in(toc) if not name.startswith("api")]


def read_pages(site: Path, names: Sequence[str], browser: Chromium, address: str) -> list[Page]:
    """Every page, rendered.

    Raises
    ------
    ValueError
        A page with a formula that MathJax could not draw.
    """
    import json

    ElementTree.register_namespace("", XHTML)
    ElementTree.register_namespace("svg", "http://www.w3.org/2000/svg")
    pages = []
    for name in names:
        title, formulas, body = json.loads(browser.visit(f"{address}/{name}.html", PAGE)[0])
        if "merror" in body:
            raise ValueError(f"{name}: a formula is wrong")
        pages.append(Page(name, title, formulas, body))
    return pages


def one_file(pages: Sequence[Page], site: Path, title: str) -> str:
    """All pages as one XHTML file with a cover and a table of contents, to be printed."""
    names = [page.name for page in pages]
    contents = "".join(f'<li><a href="#{page.key}">{escape(page.title)}</a></li>' for page in pages)
    colours = (site / "_static" / "pygments.css").read_text(encoding="utf-8")
    colours = "\n".join(line for line in colours.splitlines() if "data-theme" not in line)
    bodies = "".join(page.settle(names, site, "pdf") for page in pages)
    return (
        f'<html xmlns="{XHTML}" lang="en"><head><title>{escape(title)}</title>'
        f"<style>{escape(colours + STYLE)}</style></head><body>"
        f'<div class="cover"><h1>{escape(title)}</h1></div>'
        f"<article><h1>Contents</h1><ol>{contents}</ol></article>{bodies}</body></html>"
    )


def epub(pages: Sequence[Page], site: Path, title: str, path: Path) -> None:
    """Write the pages as an EPUB 3."""
    names = [page.name for page in pages]
    bodies = {page.key: page.settle(names, site, "epub") for page in pages}
    pictures = {kept: place for page in pages for place, kept in page.pictures.items()}
    kinds = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}
    items, spine, contents = [], [], []
    for page in pages:
        has = ' properties="svg"' if "<svg" in bodies[page.key] else ""
        items.append(
            f'<item id="{page.key}" href="{page.key}.xhtml" '
            f'media-type="application/xhtml+xml"{has}/>'
        )
        spine.append(f'<itemref idref="{page.key}"/>')
        contents.append(f'<li><a href="{page.key}.xhtml">{escape(page.title)}</a></li>')
    for number, kept in enumerate(pictures):
        kind = kinds[Path(kept).suffix]
        items.append(f'<item id="i{number}" href="images/{kept}" media-type="{kind}"/>')
    digest = hashlib.sha256("".join(bodies.values()).encode()).hexdigest()[:32]
    package = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" '
        'xml:lang="en"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f'<dc:identifier id="id">urn:sha256:{digest}</dc:identifier>'
        f"<dc:title>{escape(title)}</dc:title><dc:language>en</dc:language>"
        "<dc:creator>The clmt-lib authors</dc:creator><dc:rights>CC BY 4.0</dc:rights>"
        '<meta property="dcterms:modified">2026-01-01T00:00:00Z</meta></metadata><manifest>'
        '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
        '<item id="style" href="style.css" media-type="text/css"/>'
        f"{''.join(items)}</manifest><spine>{''.join(spine)}</spine></package>"
    )
    head = '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE html>\n'
    nav = (
        f'{head}<html xmlns="{XHTML}" xmlns:epub="http://www.idpf.org/2007/ops" lang="en"><head>'
        f'<title>{escape(title)}</title></head><body><nav epub:type="toc"><h1>Contents</h1>'
        f"<ol>{''.join(contents)}</ol></nav></body></html>"
    )
    container = (
        '<?xml version="1.0"?><container version="1.0" '
        'xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile '
        'full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/></rootfiles>'
        "</container>"
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:

        def put(name: str, data: str | bytes, how: int = zipfile.ZIP_DEFLATED) -> None:
            out.writestr(zipfile.ZipInfo(name, WHEN), data, how)

        put("mimetype", "application/epub+zip", zipfile.ZIP_STORED)  # first, and not packed
        put("META-INF/container.xml", container)
        put("OEBPS/content.opf", package)
        put("OEBPS/nav.xhtml", nav)
        put("OEBPS/style.css", STYLE)
        for page in pages:
            put(
                f"OEBPS/{page.key}.xhtml",
                f'{head}<html xmlns="{XHTML}" lang="en"><head><title>{escape(page.title)}</title>'
                '<link rel="stylesheet" href="style.css"/></head>'
                f"<body>{bodies[page.key]}</body></html>",
            )
        for kept, place in pictures.items():
            put(f"OEBPS/images/{kept}", (site / place).read_bytes())


def check(
    pages: Sequence[Page],
    site: Path,
    whole: str,
    printed: bytes,
    book: Path,
    names: Sequence[str] | None = None,
) -> None:
    """See that PDF and EPUB hold every chapter, formula and figure of the built pages.

    Parameters
    ----------
    whole : the file that was printed; printed : the PDF; book : the EPUB
    names : the pages that there should be, in their order; None those of `pages`

    Raises
    ------
    ValueError
        Something is missing, and where.
    """
    from bs4 import BeautifulSoup

    described, read = 0, [page.name for page in pages]
    for name in read if names is None else names:
        key = name.replace("/", "-")
        if name not in read or f' id="{key}"' not in whole:
            raise ValueError(f"{name}: this page is not in the PDF")
    with zipfile.ZipFile(book) as parts:
        inside, spine = parts.namelist(), parts.read("OEBPS/content.opf").decode()
        for page in pages:
            if f"OEBPS/{page.key}.xhtml" not in inside or f'idref="{page.key}"' not in spine:
                raise ValueError(f"{page.name}: this page is not in the EPUB")
            built = (site / f"{page.name}.html").read_text(encoding="utf-8")
            article = BeautifulSoup(built, "html.parser").find("article")
            beyond = len(article.select(".on-screen svg.drawn"))
            figures = len(article.select("img, svg.drawn")) - beyond
            tree = ElementTree.fromstring(parts.read(f"OEBPS/{page.key}.xhtml"))
            kept = [n for n in tree.iter() if n.tag.endswith("}img") or n.get("role") == "img"]
            wanted = page.formulas + figures
            if page.formulas < len(article.select(".math")) or len(kept) != wanted:
                raise ValueError(
                    f"{page.name}: {len(kept)} of {wanted} formulas and figures are in the EPUB"
                )
            described += wanted
    headings = len(re.findall(r"<h[1-6][ >]", whole))
    found = {  # a tagged PDF says of every picture what it shows, and which line is a heading
        "formulas and figures": (printed.count(b"/Alt ("), printed.count(b"/Alt <"), described),
        "headings": (len(re.findall(rb"/S /H[1-6]\b", printed)), 0, headings),
        "entries of the contents": (len(re.findall(rb"/Title [(<]", printed)) - 1, 0, headings),
    }
    for what, (plain, coded, wanted) in found.items():
        if plain + coded != wanted:
            raise ValueError(f"the PDF holds {plain + coded} of {wanted} {what}")


def archive(site: Path, path: Path) -> None:
    """Write the pages as a zip that works from a folder, without any network."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for file in sorted(site.rglob("*")):
            if file.is_file() and ".doctrees" not in file.parts:
                name = Path("clmt-book") / file.relative_to(site)
                out.writestr(
                    zipfile.ZipInfo(name.as_posix(), WHEN), file.read_bytes(), zipfile.ZIP_DEFLATED
                )


def release(site: Path, to: Path, names: Sequence[str] | None = None) -> list[Path]:
    """Make zip, PDF, EPUB and SHA256SUMS of a built site; the files.

    Raises
    ------
    ValueError
        A page is not built, or PDF or EPUB lacks something that the pages have.
    """
    names = names or named()
    for name in names:
        if not (site / f"{name}.html").is_file():
            raise ValueError(f"{name}: this page is not built")
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    to.mkdir(parents=True, exist_ok=True)
    made = [to / f"clmt-book.{ending}" for ending in ("zip", "pdf", "epub")]
    archive(site, made[0])
    with tempfile.TemporaryDirectory() as folder, served(site) as (address, _):
        browser = Chromium(Path(folder))
        try:
            pages = read_pages(site, names, browser, address)
            whole = site / "_whole_book.xhtml"
            text = one_file(pages, site, config["title"])
            whole.write_text(text, encoding="utf-8")
            foot = (
                '<div style="font-size:8px;width:100%;text-align:center">'
                '<span class="pageNumber"></span></div>'
            )
            made[1].write_bytes(
                browser.pdf(
                    f"{address}/{whole.name}",
                    displayHeaderFooter=True,
                    headerTemplate="<span></span>",
                    footerTemplate=foot,
                    generateDocumentOutline=True,
                    generateTaggedPDF=True,
                )
            )
            epub(pages, site, config["title"], made[2])
            check(pages, site, text, made[1].read_bytes(), made[2], names)
        finally:
            browser.close()
            (site / "_whole_book.xhtml").unlink(missing_ok=True)
    sums = to / "SHA256SUMS"
    sums.write_text(
        "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in made)
    )
    return [*made, sums]


def main() -> int:
    """Make the release of the pages that are built; 1 where something is missing."""
    site = ROOT / "_build" / "html"
    if not (site / "index.html").is_file():
        print("The book is not built. Next: make book", file=sys.stderr)
        return 1
    if BROWSER is None:
        print("PDF and EPUB need Chromium or Chrome. Next: install one", file=sys.stderr)
        return 1
    try:
        made = release(site, ROOT / "dist")
    except ValueError as error:
        print(f"This is no release: {error}", file=sys.stderr)
        return 1
    for path in made:
        print(f"   {path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
