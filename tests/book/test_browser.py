"""The built book in a real browser with the network cut."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

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
DESK = """(async () => {
  const written = new DOMParser().parseFromString(
    await (await fetch(location.href)).text(), "text/html");
  const count = (page, what) => page.querySelectorAll(what).length;
  return JSON.stringify({
    beyond: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    main: count(document, "#main-content"),
    written: count(written, "article .math"),
    drawn: count(document, "article .math mjx-container svg"),
    broken: count(document, "article [data-mml-node=merror], article mjx-merror"),
  });
})()"""

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
    told, asked = browser.visit(f"{address}/{name}.html", DESK, width=1280)
    page = json.loads(told)
    assert page["main"] == 1 and page["beyond"] <= 0
    assert {urlsplit(url).hostname for url in asked} == {"127.0.0.1"}
    assert failed == [] and browser.complaints() == []
    assert page["drawn"] >= page["written"] and page["broken"] == 0


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


def test_a_page_that_is_too_wide_or_complains_or_leaves_a_formula_is_noticed(tmp_path, browser):
    # without an icon of its own a page asks for /favicon.ico, which is one more complaint
    page = (
        "<link rel='icon' href='data:,'><body><div style='width:900px'>wide</div>"
        "<article><span class=math>\\\\(x\\\\)</span><i data-mml-node=merror>y</i></article>"
        "<script>console.error('no')</script></body>"
    )
    (tmp_path / "bad.html").write_text(page)
    with headless.served(tmp_path) as (address, _):
        told = json.loads(browser.visit(f"{address}/bad.html", DESK, width=390)[0])
    assert told["beyond"] > 0 and browser.complaints() == ["no"]
    assert (told["main"], told["written"], told["drawn"], told["broken"]) == (0, 1, 0, 1)


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
