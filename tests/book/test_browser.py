"""The built book in a real browser with the network cut."""

import fcntl
import functools
import http.server
import json
import os
import select
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


class Chromium:
    """One browser for all pages, every other host unresolvable, driven over its debugging pipe:
    JSON messages with a NUL byte behind each (the Chrome DevTools Protocol).
    """

    def __init__(self, folder):
        inside, self.write = os.pipe()
        self.read, outside = os.pipe()
        command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        command += ["--disable-background-networking", f"--user-data-dir={folder / 'profile'}"]
        command += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        command += ["--remote-debugging-pipe"]

        def connect():  # it reads descriptor 3 and writes descriptor 4
            away = [fcntl.fcntl(each, fcntl.F_DUPFD, 10) for each in (inside, outside)]
            os.dup2(away[0], 3), os.dup2(away[1], 4)

        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, preexec_fn=connect, pass_fds=(3, 4), **quiet)
        os.close(inside), os.close(outside)
        self.number, self.rest, self.events = 0, b"", []

    def receive(self, seconds=120):
        """The next message."""
        while b"\0" not in self.rest:
            assert select.select([self.read], [], [], seconds)[0], "the browser does not answer"
            piece = os.read(self.read, 1 << 20)
            assert piece, "the browser has ended"
            self.rest += piece
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def call(self, method, session=None, **parameters):
        """Send a command; what it returns. Events that come before it are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        whole = json.dumps(message).encode() + b"\0"
        while whole:
            whole = whole[os.write(self.write, whole) :]
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def wait(self, method):
        """Receive until an event of this name has come."""
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self.receive())

    def visit(self, url):
        """Load a page in a tab of its own, and let eight seconds of its own time pass; its rendered
        DOM and the addresses that it asked for.
        """
        tab = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        self.call("Network.enable", session)
        self.events.clear()
        policy = {"policy": "pauseIfNetworkFetchesPending", "budget": 8000}
        self.call("Page.navigate", session, url=url)
        self.call("Emulation.setVirtualTimePolicy", session, **policy)
        self.wait("Emulation.virtualTimeBudgetExpired")
        html = "document.documentElement.outerHTML"
        dom = self.call("Runtime.evaluate", session, expression=html)["result"]["value"]
        asked = {
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        }
        self.call("Target.closeTarget", targetId=tab)
        return dom, {each for each in asked if not each.startswith(("data:", "blob:"))}

    def close(self):
        """End the browser."""
        self.process.terminate()
        self.process.wait(30)
        os.close(self.read), os.close(self.write)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium = Chromium(tmp_path_factory.mktemp("browser"))
    yield chromium
    chromium.close()


@pytest.mark.parametrize("name", TOC)
def test_a_page_renders_with_the_network_cut(server, browser, name):
    address, failed = server
    failed.clear()
    dom, asked = browser.visit(f"{address}/{name}.html")
    assert 'id="main-content"' in dom
    assert {urlsplit(url).hostname for url in asked} == {"127.0.0.1"}
    assert failed == []
    page = BeautifulSoup(dom, "html.parser")
    written = BeautifulSoup(
        (SITE / f"{name}.html").read_text(encoding="utf-8"), "html.parser"
    ).select("article .math")
    assert len(page.select("article .math mjx-container svg")) >= len(written)
    assert page.select("article [data-mml-node=merror], article mjx-merror") == []
