"""A headless Chromium with the network cut, for tests of the built pages and for PDF and EPUB.

It is driven over its debugging pipe: JSON messages with a NUL byte behind each (the Chrome DevTools
Protocol), so that nothing needs to be installed beside the browser. Linux and macOS.
"""

import base64
import fcntl
import functools
import http.server
import json
import os
import select
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def served(site: Path) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """The folder `site` on loopback: (its address, what was asked for and could not be given)."""
    failed: list[tuple[int, str]] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *details):
            pass

        def send_error(self, code, *details, **more):
            failed.append((code, self.path))
            super().send_error(code, *details, **more)

    service = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=site)
    )
    threading.Thread(target=service.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{service.server_port}", failed
    finally:
        service.shutdown()
        service.server_close()


class Chromium:
    """One browser for all pages, every other host unresolvable; `folder` holds its profile."""

    def __init__(self, folder: Path) -> None:
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

    def receive(self, seconds: float = 300) -> dict:
        """The next message."""
        while b"\0" not in self.rest:
            assert select.select([self.read], [], [], seconds)[0], "the browser does not answer"
            piece = os.read(self.read, 1 << 20)
            assert piece, "the browser has ended"
            self.rest += piece
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict:
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

    def wait(self, method: str) -> None:
        """Receive until an event of this name has come."""
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self.receive())

    def tab(self) -> tuple[str, str]:
        """(tab, session) of a new tab."""
        tab = self.call("Target.createTarget", url="about:blank")["targetId"]
        return tab, self.call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]

    def load(self, session: str, url: str) -> None:
        """Go to a page, and let eight seconds of its own time pass."""
        self.events.clear()
        policy = {"policy": "pauseIfNetworkFetchesPending", "budget": 8000}
        self.call("Page.navigate", session, url=url)
        self.call("Emulation.setVirtualTimePolicy", session, **policy)
        self.wait("Emulation.virtualTimeBudgetExpired")

    def evaluate(self, session: str, expression: str) -> Any:
        """The value of a JavaScript expression on the page; of a promise, what it comes to."""
        how = {"returnByValue": True, "awaitPromise": True}
        told = self.call("Runtime.evaluate", session, expression=expression, **how)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def visit(
        self, url: str, script: str = "", width: int = 1280, theme: str = "light", tool: str = ""
    ) -> tuple[Any, set[str]]:
        """Load a page in a tab of its own, for a reader who likes a "light" or a "dark" one, and
        run a `tool` on it if there is one; (what `script` says there, or the rendered DOM; the
        addresses that the page asked for).
        """
        tab, session = self.tab()
        for domain in ("Network", "Runtime", "Log"):
            self.call(f"{domain}.enable", session)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", session, **size)
        likes = [{"name": "prefers-color-scheme", "value": theme}]
        self.call("Emulation.setEmulatedMedia", session, features=likes)
        self.load(session, url)
        if tool:  # which may wait for a clock: time goes on
            self.call("Emulation.setVirtualTimePolicy", session, policy="advance")
            self.call("Runtime.evaluate", session, expression=tool)
        told = self.evaluate(session, script or "document.documentElement.outerHTML")
        asked = {
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        }
        self.call("Target.closeTarget", targetId=tab)
        return told, {each for each in asked if not each.startswith(("data:", "blob:"))}

    def complaints(self) -> list[str]:
        """Errors that the page of the last visit wrote to its console, or left uncaught."""
        found = []
        for event in self.events:
            told = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(told["exceptionDetails"]["text"])
            elif event.get("method") == "Log.entryAdded" and told["entry"]["level"] == "error":
                found.append(told["entry"]["text"])
            elif event.get("method") == "Runtime.consoleAPICalled" and told["type"] == "error":
                found.append(" ".join(str(part.get("value", "")) for part in told["args"]))
        return found

    def pdf(self, url: str, **options: Any) -> bytes:
        """A page as PDF; `options` of Page.printToPDF."""
        tab, session = self.tab()
        self.load(session, url)
        told = self.call(
            "Page.printToPDF",
            session,
            transferMode="ReturnAsStream",
            preferCSSPageSize=True,
            **options,
        )
        parts, done = [], False
        while not done:
            piece = self.call("IO.read", session, handle=told["stream"], size=1 << 20)
            data, done = piece["data"], piece["eof"]
            parts.append(base64.b64decode(data) if piece.get("base64Encoded") else data.encode())
        self.call("Target.closeTarget", targetId=tab)
        return b"".join(parts)

    def close(self) -> None:
        """End the browser."""
        self.process.terminate()
        self.process.wait(30)
        os.close(self.read), os.close(self.write)
