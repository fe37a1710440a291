"""The built book in a real browser with the network cut."""

import functools
import http.server
import json
import shutil
import subprocess
import threading
from pathlib import Path
from urllib.parse import urlsplit

import chapters as extension
import pytest
import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
TOC = extension.named_in(yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8")))
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine"),
    pytest.mark.skipif(
        not (SITE / "index.html").is_file(), reason="the book is not built: make book"
    ),
]


@pytest.fixture(scope="module")
def server():
    """The site on loopback; the list collects what was asked for and could not be given."""
    failed = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *details):
            pass

        def send_error(self, code, *details, **more):
            failed.append((code, self.path))
            super().send_error(code, *details, **more)

    service = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=SITE)
    )
    threading.Thread(target=service.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{service.server_port}", failed
    service.shutdown()
    service.server_close()


def visit(url, folder):
    """Load a page with every other host unresolvable; returns its rendered DOM and the addresses it
    asked for.
    """
    log = folder / "net.json"
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
    ]
    command += [
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={folder / 'profile'}",
    ]
    command += [f"--log-net-log={log}", "--virtual-time-budget=8000", "--dump-dom", url]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    ours = "{0.scheme}://{0.netloc}".format(urlsplit(url))
    asked = {
        event["params"]["url"]
        for event in events
        if event.get("params", {}).get("initiator", "").startswith(ours)
        and "url" in event["params"]
    }
    return dom, asked


@pytest.mark.parametrize("name", TOC)
def test_a_page_renders_with_the_network_cut(server, tmp_path, name):
    address, failed = server
    failed.clear()
    dom, asked = visit(f"{address}/{name}.html", tmp_path)
    assert 'id="main-content"' in dom
    assert {urlsplit(url).hostname for url in asked} == {"127.0.0.1"}
    assert failed == []
    page = BeautifulSoup(dom, "html.parser")
    written = BeautifulSoup(
        (SITE / f"{name}.html").read_text(encoding="utf-8"), "html.parser"
    ).select("article .math")
    assert len(page.select("article .math mjx-container svg")) >= len(written)
    assert page.select("article [data-mml-node=merror], article mjx-merror") == []
