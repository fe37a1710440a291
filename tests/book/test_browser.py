"""The built book in a real browser with the network cut, and what `make release` makes of it."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import urlsplit
from xml.etree import ElementTree

import browser as headless
import chapters as extension
import pytest
import release
import yaml
from browser import BROWSER, Chromium
from bs4 import BeautifulSoup

ROOT = release.ROOT
SITE = ROOT / "_build" / "html"
TOC = extension.named_in(yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8")))
AXE = os.environ.get("CLMT_AXE", "")  # axe.min.js, of the package axe-core: half a megabyte
SERIOUS = """axe.run(document, {resultTypes: ["violations"], iframes: false}).then(
  told => JSON.stringify(told.violations.filter(one => /serious|critical/.test(one.impact)).map(
    one => [one.id, one.nodes.slice(0, 3).map(node => node.html.slice(0, 120))])))"""
PHONE = """(() => {
  const seen = each => each.getBoundingClientRect().width > 0;
  const beyond = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const letters = [...document.querySelectorAll("article svg.drawn text")].filter(seen).map(
    text => parseFloat(getComputedStyle(text).fontSize) *
      Math.hypot(text.getScreenCTM().a, text.getScreenCTM().b));
  const shrunk = [...document.querySelectorAll("article img")].filter(seen).map(
    img => img.getBoundingClientRect().width / img.naturalWidth);
  return JSON.stringify([beyond, Math.min(99, ...letters), Math.min(9, ...shrunk)]);
})()"""
LETTER = 12.2  # pixels: the smallest letters in a figure of a chapter, 8 points at 110 dots an inch
FEW = ("index", "clmt_in_one_page", "notation", "notebooks/data", "glossary")
WHOLE = """JSON.stringify([document.documentElement.outerHTML,
  document.documentElement.scrollWidth - document.documentElement.clientWidth])"""

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine"),
    pytest.mark.skipif(
        not (SITE / "index.html").is_file(), reason="the book is not built: make book"
    ),
]


@pytest.fixture(scope="module")
def server():
    """The site on loopback; the list collects what was asked for and could not be given."""
    with headless.served(SITE) as found:
        yield found


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium = Chromium(tmp_path_factory.mktemp("browser"))
    yield chromium
    chromium.close()


@pytest.mark.parametrize("name", TOC)
def test_a_page_renders_with_the_network_cut(server, browser, name):
    address, failed = server
    failed.clear()
    told, asked = browser.visit(f"{address}/{name}.html", WHOLE, width=1280)
    dom, beyond = json.loads(told)
    assert 'id="main-content"' in dom and beyond <= 0
    assert {urlsplit(url).hostname for url in asked} == {"127.0.0.1"}
    assert failed == [] and browser.complaints() == []
    page = BeautifulSoup(dom, "html.parser")
    written = BeautifulSoup(
        (SITE / f"{name}.html").read_text(encoding="utf-8"), "html.parser"
    ).select("article .math")
    assert len(page.select("article .math mjx-container svg")) >= len(written)
    assert page.select("article [data-mml-node=merror], article mjx-merror") == []


@pytest.mark.parametrize("name", [*TOC, "genindex", "py-modindex", "search"])
def test_a_page_fits_a_phone_and_its_figures_can_be_read_there(server, browser, name):
    told = browser.visit(f"{server[0]}/{name}.html", PHONE, width=390, theme="dark")[0]
    beyond, letters, shrunk = json.loads(told)
    assert beyond <= 0, "the page itself scrolls sideways"
    assert letters >= 8 and shrunk * LETTER >= 8, "letters of less than 8 pixels"


def test_a_figure_that_a_phone_shrinks_too_far_is_noticed(tmp_path, browser):
    page = (
        "<link rel='icon' href='data:,'><body style='margin:0'><article>"
        "<svg class=drawn style='width:100%' viewBox='0 0 780 9'>"
        "<text x=9 y=9 font-size=12 transform='rotate(0)'>a</text></svg></article>"
    )
    (tmp_path / "bad.html").write_text(page)
    with headless.served(tmp_path) as (address, _):
        told = json.loads(browser.visit(f"{address}/bad.html", PHONE, width=390)[0])
    assert told[0] <= 0 and abs(told[1] - 6) < 0.1


@pytest.mark.skipif(not AXE, reason="no axe-core: set CLMT_AXE to its axe.min.js")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", TOC)
def test_axe_finds_nothing_serious(server, browser, name, theme):
    tool = Path(AXE).read_text(encoding="utf-8")
    told = browser.visit(f"{server[0]}/{name}.html", SERIOUS, 390, theme, tool)[0]
    assert json.loads(told) == []


@pytest.mark.skipif(not AXE, reason="no axe-core: set CLMT_AXE to its axe.min.js")
def test_axe_would_find_it(tmp_path, browser):
    (tmp_path / "bad.html").write_text(
        "<html lang='en'><title>t</title><main><h1>t</h1><img src=x>"
    )
    with headless.served(tmp_path) as (address, _):
        tool = Path(AXE).read_text(encoding="utf-8")
        told = browser.visit(f"{address}/bad.html", SERIOUS, tool=tool)[0]
    assert [one for one, _ in json.loads(told)] == ["image-alt"]


def test_a_page_that_is_too_wide_or_complains_is_noticed(tmp_path, browser):
    # without an icon of its own a page asks for /favicon.ico, which is one more complaint
    page = (
        "<link rel='icon' href='data:,'>"
        "<body><div style='width:900px'>wide</div><script>console.error('no')</script></body>"
    )
    (tmp_path / "bad.html").write_text(page)
    with headless.served(tmp_path) as (address, _):
        beyond = json.loads(browser.visit(f"{address}/bad.html", WHOLE, width=390)[0])[1]
    assert beyond > 0 and browser.complaints() == ["no"]


RELEASE = pytest.mark.xdist_group("release")  # made once, for the tests of one process


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    return release.release(SITE, tmp_path_factory.mktemp("dist"), FEW)


@RELEASE
def test_the_pdf_is_one(released):
    data = released[1].read_bytes()
    assert data.startswith(b"%PDF-") and data.rstrip().endswith(b"%%EOF")
    assert data.count(b"/Type /Page\n") + data.count(b"/Type /Page ") >= len(FEW)
    assert b"/Outlines" in data  # a reader can jump to a chapter


@RELEASE
def test_the_epub_holds_every_page_formula_and_figure(released):
    with zipfile.ZipFile(released[2]) as book:
        names = set(book.namelist())
        assert book.namelist()[0] == "mimetype"
        package = ElementTree.fromstring(book.read("OEBPS/content.opf"))
        items = {item.get("href") for item in package.iter("{http://www.idpf.org/2007/opf}item")}
        assert {f"OEBPS/{item}" for item in items} <= names
        assert {f"{name.replace('/', '-')}.xhtml" for name in FEW} <= items
        trees = {n: ElementTree.fromstring(book.read(n)) for n in names if n.endswith(".xhtml")}
    ids = {name: {node.get("id") for node in tree.iter()} for name, tree in trees.items()}
    for page in FEW:
        key = page.replace("/", "-")
        tree, built = trees[f"OEBPS/{key}.xhtml"], (SITE / f"{page}.html").read_text("utf-8")
        article = BeautifulSoup(built, "html.parser").find("article")
        drawn = [n for n in tree.iter() if n.get("class") in ("formula", "shown")]
        assert len(drawn) >= len(article.select(".math"))
        assert all(n.find("{http://www.w3.org/2000/svg}svg") is not None for n in drawn)
        assert len(list(tree.findall(".//{*}img"))) == len(article.select("img"))
    for name, tree in trees.items():
        for picture in tree.findall(".//{*}img"):
            assert normpath(join(dirname(name), picture.get("src"))) in names
        for link in tree.findall(".//{*}a"):
            url = urlsplit(link.get("href", "https://"))
            if not url.scheme:
                target = normpath(join(dirname(name), url.path)) if url.path else name
                assert target in names and (not url.fragment or url.fragment in ids[target])


@RELEASE
def test_a_release_without_a_figure_or_a_heading_is_refused(released):
    printed = released[1].read_bytes()
    with headless.served(SITE) as (address, _):
        reader = Chromium(released[1].parent)
        pages = release.read_pages(SITE, FEW, reader, address)
        reader.close()
    whole = release.one_file(pages, SITE, "")
    release.check(pages, SITE, whole, printed, released[2])
    for tag, said in ((b"/Alt (", "formulas and figures"), (b"/S /H2\n", "headings")):
        assert tag in printed
        with pytest.raises(ValueError, match=said):
            release.check(pages, SITE, whole, printed.replace(tag, b"/Gone (", 1), released[2])
    pages[0].formulas += 1
    with pytest.raises(ValueError, match=f"{FEW[0]}: .* are in the EPUB"):
        release.check(pages, SITE, whole, printed, released[2])


@RELEASE
def test_the_zip_is_the_site_and_the_sums_are_of_the_files(released):
    import hashlib

    with zipfile.ZipFile(released[0]) as site:
        assert "clmt-book/index.html" in site.namelist() and site.testzip() is None
    for line in released[3].read_text().splitlines():
        digest, name = line.split("  ")
        path = released[3].with_name(name)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest


POISON = (
    "<script>window.taken = 1</script>",
    "<img src=x onerror='window.taken = 2'>",
    "</pre><svg onload='window.taken = 3'>",
    "javascript:window.taken=4",
    "\x1b[31mred\x1b[0m\x07",
    r"$\bad{$",
    "\"double\" 'single' `tick`",
    "../../../etc/passwd",
    "| pipe | {ref}`x` [link](javascript:0)",
)
POISONED = f"""
import numpy as np
from IPython.display import display

from clmt_lib import audit, data
from clmt_lib.book import plotting
from clmt_lib.data import DrugResponse
from clmt_lib.views import text

NAMES = {POISON!r}
first = data.load("simulated", cells=24)
drugs = first.drugs[~first.drugs.duplicated("compound")].index[: len(NAMES)]
world = data.load("simulated", cells=24, drugs=list(first.drugs.loc[drugs, "name"]))
table = world.drugs.iloc[: len(NAMES)].copy()
table["name"] = table["target"] = table["pathway"] = NAMES
table.index = [f"{{i}} {{name}}" for i, name in enumerate(NAMES)]
lines = world.cells.copy()
lines["name"] = [NAMES[i % len(NAMES)] + str(i) for i in range(len(lines))]
pairs = world.pairs[world.pairs[:, 1] < len(NAMES)]
y = world.y[world.pairs[:, 1] < len(NAMES)]
frame = {{"cell": lines.index[pairs[:, 0]], "drug": table.index[pairs[:, 1]], "ln_ic50": y}}
poisoned = DrugResponse.from_tables(
    "poisoned", lines, table, world.omics, __import__("pandas").DataFrame(frame)
)
print(poisoned)
print(list(poisoned.drugs.index))
print("\\n".join(poisoned.drugs["name"]))
display(poisoned.drugs.drop(columns="smiles"))
display(poisoned.drugs["name"])
split = data.make_split(poisoned, "mixed")
print(audit.audit(poisoned, split))
display(text.describe_drugs(poisoned.drugs))
plotting.style()
plotting.by_drug(y, y[::-1], table["name"].to_numpy()[pairs[:, 1]], title=NAMES[5]);
"""


def test_names_that_would_run_something_are_shown_and_run_nothing(browser, tmp_path):
    """A real page, built from a benchmark whose drugs and lines have such names."""
    nbclient = pytest.importorskip("nbclient")
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    pages = tmp_path / "book"
    pages.mkdir()
    cells = [new_markdown_cell("# Poisoned"), new_code_cell(POISONED)]
    kernel = {"name": "python3", "display_name": "Python 3"}
    notebook = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("CLMT_DATA", None)
    nbclient.NotebookClient(notebook, timeout=120).execute(env=environment)
    nbformat.write(notebook, pages / "index.ipynb")
    (pages / "_config.yml").write_text('title: "p"\nexecute: {execute_notebooks: "off"}\n')
    (pages / "_toc.yml").write_text("format: jb-book\nroot: index\n")
    code = "from jupyter_book.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "build", str(pages), "-q"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with headless.served(pages / "_build" / "html") as (address, _):
        asked = "[window.taken === undefined, document.body.innerText, document.title]"
        told, _ = browser.visit(f"{address}/index.html", f"JSON.stringify({asked})")
    clean, words, title = json.loads(told)
    assert clean and title.startswith("Poisoned")
    for name in POISON[:4]:
        assert words.count(name) >= 3, name  # as text: in a table, a list, a print
    page = (pages / "_build" / "html" / "index.html").read_text(encoding="utf-8")
    run = BeautifulSoup(page, "html.parser").select("article script, article svg")
    assert not any("window.taken" in str(tag) for tag in run)
    assert len(notebook.cells[1].outputs) >= 5 and "image/png" in str(notebook.cells[1].outputs)
