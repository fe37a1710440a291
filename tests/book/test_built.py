"""The built book, page by page: `make test` builds it first."""

import json
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import api
import chapters as extension
import execute
import pytest
import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
TOC = extension.named_in(yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8")))
CHAPTERS = [name for name in TOC if name.startswith("notebooks/")]
LOADED = (
    ("script", "src"),
    ("img", "src"),
    ("img", "srcset"),
    ("link", "href"),
    ("iframe", "src"),
    ("source", "src"),
    ("object", "data"),
    ("embed", "src"),
)
REMOTE = re.compile(r"^(?:https?:)?//")


@pytest.fixture(scope="module")
def pages():
    """Every built page, parsed, by its path under the site."""
    if not (SITE / "index.html").is_file():
        assert "CLMT_BOOK_BUILT" not in os.environ, "make built no book"
        pytest.skip("the book is not built: make book")
    found = SITE.rglob("*.html")
    return {
        path.relative_to(SITE).as_posix(): BeautifulSoup(
            path.read_text(encoding="utf-8"), "html.parser"
        )
        for path in found
        if "_static" not in path.parts
    }


@pytest.fixture(scope="module")
def anchors(pages):
    """The ids and names that each page defines."""
    return {
        name: {
            tag.get("id") or tag.get("name")
            for tag in page.find_all(lambda tag: tag.has_attr("id") or tag.has_attr("name"))
        }
        for name, page in pages.items()
    }


def body(page):
    """The text of a page, without its navigation."""
    return page.find("article")


@pytest.mark.parametrize("name", TOC)
def test_every_page_of_the_contents_is_there_and_reachable(pages, name):
    assert len(body(pages[f"{name}.html"]).get_text().split()) > 40
    links = {
        unquote(link["href"]).split("#")[0] for link in pages["index.html"].find_all("a", href=True)
    }
    assert name == "index" or f"{name}.html" in links


def test_no_page_is_outside_the_contents(pages):
    extra = (
        set(pages)
        - {f"{name}.html" for name in TOC}
        - {"genindex.html", "py-modindex.html", "search.html"}
    )
    assert extra == set()


def test_internal_links_resolve(pages, anchors):
    broken = []
    for name, page in pages.items():
        for tag, attribute in (("a", "href"), ("img", "src"), ("script", "src"), ("link", "href")):
            for item in page.find_all(tag, attrs={attribute: True}):
                url = urlsplit(item[attribute])
                if url.scheme or url.netloc:
                    continue
                target = (
                    os.path.normpath(os.path.join(os.path.dirname(name), unquote(url.path)))
                    if url.path
                    else name
                )
                if not (SITE / target).exists():
                    broken.append(f"{name}: {item[attribute]}")
                elif (
                    tag == "a"
                    and url.fragment
                    and target in anchors
                    and unquote(url.fragment) not in anchors[target]
                ):
                    broken.append(f"{name}: {item[attribute]} (no such anchor)")
    assert broken == []


def test_every_image_has_alternative_text(pages):
    silent = [
        f"{name}: {image.get('src')}"
        for name, page in pages.items()
        for image in page.find_all("img")
        if not (image.get("alt") or "").strip()
    ]
    file_names = [
        f"{name}: {image['alt']}"
        for name, page in pages.items()
        for image in page.find_all("img", alt=re.compile(r"\.(png|svg|jpe?g)$"))
    ]
    assert silent + file_names == []


def test_pages_load_nothing_from_elsewhere(pages):
    remote = [
        f"{name}: {tag[key]}"
        for name, page in pages.items()
        for kind, key in LOADED
        for tag in page.find_all(kind, attrs={key: REMOTE})
    ]
    inline = [
        f"{name}: {script.get_text()[:60]}"
        for name, page in pages.items()
        for script in page.find_all("script", src=False)
        if re.search(r"https?://(?!www\.w3\.org)", script.get_text())
        and script.get("type") != "text/x-thebe-config"
    ]
    assert remote + inline == []


def test_styles_load_nothing_from_elsewhere(pages):
    sheets = list(SITE.rglob("*.css"))
    fetches = re.compile(r"(?:@import\s+|url\()\s*[\"']?(?:https?:)?//[^)\"']+")
    remote = [
        f"{sheet.name}: {hit}"
        for sheet in sheets
        for hit in fetches.findall(sheet.read_text(encoding="utf-8"))
    ]
    assert sheets and remote == []


def test_maths_comes_with_the_book(pages):
    sources = [
        script["src"]
        for script in pages["notation.html"].find_all("script", src=True)
        if "mathjax" in script["src"].lower()
    ]
    assert len(sources) == 1
    assert (SITE / sources[0].split("?")[0]).stat().st_size > 1_000_000


def test_a_screen_reader_finds_names_and_no_empty_headers(pages):
    """What axe-core looks for and the theme leaves undone; the whole of axe is run by hand."""
    bad = []
    for name, page in pages.items():
        empty = [th for th in page.find_all("th") if not th.get_text(strip=True)]
        unnamed = [
            one
            for one in page.find_all("summary")
            if not (one.get("aria-label") or one.get_text(strip=True))
        ]
        hidden = page.find_all("summary", attrs={"aria-label": "Toggle hidden content"})
        roles = page.find_all(attrs={"role": re.compile("^doc-(biblioentry|backlink)$")})
        frames = [
            each
            for each in page.select("div.pst-scrollable-table-container, figure.drawn-by-cell")
            if not each.has_attr("tabindex")
        ]
        if empty or unnamed or hidden or roles or frames:
            bad.append(name)
    assert bad == []


def test_every_figure_of_a_chapter_has_a_number_and_a_caption(pages):
    for name in CHAPTERS:
        drawn = pages[f"{name}.html"].select("div.cell_output img")
        captions = pages[f"{name}.html"].select("figure.drawn-by-cell figcaption .caption-number")
        assert len(captions) == len(drawn), name


def test_no_page_shows_an_error_of_the_builder(pages):
    bad = [name for name, page in pages.items() if page.select(".system-message, .problematic")]
    assert bad == []


def _shows(cell):
    """Whether a cell has an output meant for the page: one that is more than a glued value."""
    if {"remove-output", "remove-cell"} & set(cell["metadata"].get("tags", [])):
        return False
    return any(
        not all(
            kind.startswith("application/papermill.record")
            for kind in output.get("data", {"text": ""})
        )
        for output in cell.get("outputs", [])
    )


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_shows_its_outputs_and_figures(pages, name):
    notebook = json.loads((ROOT / f"{name}.ipynb").read_text(encoding="utf-8"))
    page = pages[f"{name}.html"]
    wanted = sum(1 for cell in notebook["cells"] if _shows(cell))
    assert wanted > 0
    assert len(page.select("div.cell_output")) >= wanted
    assert len(page.select("div.cell_output img")) >= len(execute.pictures(notebook))


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_says_which_profile_the_reader_sees(pages, name):
    text = body(pages[f"{name}.html"]).get_text().lower()
    assert "profile" in text and ("bundled" in text or "real" in text)


def test_the_reference_has_every_module_and_nothing_undocumented(pages):
    rooms = [name.removeprefix("api/") for name in TOC if name.startswith("api/")]
    library = ROOT / "clmt_lib"
    there = {path.name.removesuffix(".py") for path in library.iterdir() if path.name[0] != "_"}
    assert set(rooms) == {name for name in there if api.modules_of(library, name)}
    for room in rooms:
        page = pages[f"api/{room}.html"]
        sections = {tag["id"] for tag in page.find_all(id=re.compile("^module-"))}
        assert sections == {f"module-{name}" for name in api.modules_of(library, room)}
        assert page.select("dl.py"), room


def test_the_front_page_says_what_is_simulated(pages):
    text = body(pages["index.html"]).get_text()
    assert "What is real here, and what is simulated" in text
    assert "no measured response is in this book" in text


def test_the_map_agrees_with_the_library(pages):
    table = body(pages["architecture.html"]).find("table")  # its first: the rooms
    drawn = [row.find("code").get_text() for row in table.find_all("tr") if row.find("code")]
    library = ROOT / "clmt_lib"
    built = {
        path.name.removesuffix(".py")
        for path in library.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert set(drawn) == built - {"__init__", "__main__"}
    order = {room: place for place, room in enumerate(drawn)}
    against = []
    for path in library.rglob("*.py"):
        room = path.relative_to(library).parts[0].removesuffix(".py")
        for other in re.findall(
            r"^\s*(?:from|import) clmt_lib\.(\w+)", path.read_text(encoding="utf-8"), re.MULTILINE
        ):
            if room in order and order.get(other, -1) > order[room]:
                against.append(f"{path.relative_to(library)} imports {other}")
    assert against == []
