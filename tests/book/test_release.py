"""What `make release` makes of the built book: a zip, a PDF, an EPUB and their checksums."""

import hashlib
import zipfile
from posixpath import dirname, join, normpath
from urllib.parse import urlsplit
from xml.etree import ElementTree

import browser as headless
import pytest
import release
from browser import BROWSER, Chromium
from bs4 import BeautifulSoup

SITE = release.ROOT / "_build" / "html"
FEW = ("index", "clmt_in_one_page", "notation", "notebooks/data", "glossary")

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine"),
    pytest.mark.skipif(
        not (SITE / "index.html").is_file(), reason="the book is not built: make book"
    ),
]


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    return release.release(SITE, tmp_path_factory.mktemp("dist"), FEW)


def test_the_pdf_is_one(released):
    data = released[1].read_bytes()
    assert data.startswith(b"%PDF-") and data.rstrip().endswith(b"%%EOF")
    assert data.count(b"/Type /Page\n") + data.count(b"/Type /Page ") >= len(FEW)
    assert b"/Outlines" in data  # a reader can jump to a chapter


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


def test_the_zip_is_the_site_and_the_sums_are_of_the_files(released):
    with zipfile.ZipFile(released[0]) as site:
        assert "clmt-book/index.html" in site.namelist() and site.testzip() is None
    for line in released[3].read_text().splitlines():
        digest, name = line.split("  ")
        path = released[3].with_name(name)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
