"""Downloads against a local server: everything that goes wrong on a real network goes wrong here on
purpose.
"""

import gzip
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from clmt_lib.data import download
from clmt_lib.data.download import SOURCES, Source, fetch, find, pubchem_smiles
from clmt_lib.io import DataError

BODY = bytes(range(256)) * 4000  # about 1 MB, invented


class Site:
    """What the local server does next, and what it was asked."""

    def __init__(self):
        self.body, self.tag, self.ranges, self.cut, self.kind = (
            BODY,
            '"v1"',
            True,
            None,
            "application/octet-stream",
        )
        self.redirects, self.status, self.chunked, self.length, self.requests, self.answer = (
            {},
            None,
            False,
            True,
            [],
            None,
        )
        self.conditions, self.shift, self.hang = True, 0, False


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        site = self.server.site
        site.requests.append((self.path, self.headers.get("Range"), self.headers.get("If-Range")))
        self.close_connection = True
        if self.path in site.redirects:
            return self.head(302, {"Location": site.redirects[self.path], "Content-Length": "0"})
        if site.status:
            return self.head(site.status, {"Content-Length": "0"})
        start, total = 0, len(site.body)
        asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
        headers = {"Content-Type": site.kind} | ({"ETag": site.tag} if site.tag else {})
        if asked and site.ranges and (condition in (None, site.tag) or not site.conditions):
            start = int(asked.removeprefix("bytes=").rstrip("-")) + site.shift
            if start >= total:
                return self.head(416, {"Content-Range": f"bytes */{total}", "Content-Length": "0"})
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        body = site.body[start:]
        headers |= (
            {"Transfer-Encoding": "chunked"}
            if site.chunked
            else {"Content-Length": str(len(body))}
            if site.length
            else {}
        )
        self.head(206 if start else 200, headers)
        sent = body if site.cut is None else body[: max(0, site.cut - start)]
        self.wfile.write(b"%x\r\n%s\r\n" % (len(body), sent) if site.chunked else sent)
        if site.hang:
            self.wfile.flush()
            site.hang.wait(20)
        if site.chunked and site.cut is None:
            self.wfile.write(b"0\r\n\r\n")

    def do_POST(self):
        site = self.server.site
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        site.requests.append((self.path, asked, None))
        status, reply = site.answer(asked)
        self.head(status, {"Content-Length": str(len(reply))})
        self.wfile.write(reply)

    def head(self, status, headers):
        self.send_response(status)
        for name, value in (headers | {"Connection": "close"}).items():
            self.send_header(name, value)
        self.end_headers()


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.site, server.handle_error = (
        Site(),
        lambda *_: None,
    )  # a client that hangs up is part of the play
    server.site.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.site
    server.shutdown()
    server.server_close()


def source(site, **changes):
    return Source(
        **(
            {
                "key": "test",
                "title": "a test file",
                "url": f"{site.address}/file.bin",
                "licence": "test licence",
                "terms": "test terms",
                "filename": "file.bin",
            }
            | changes
        )
    )


def get(site, folder, **options):
    said = []
    changes = options.pop("changes", {})
    fetched = fetch(
        source(site, **changes), folder, accept_terms=True, say=said.append, timeout=5, **options
    )
    return fetched, "\n".join(said)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_every_source_is_complete_and_honest():
    assert (
        len({entry.key for entry in SOURCES})
        == len(SOURCES)
        == len({entry.filename for entry in SOURCES})
    )
    for entry in SOURCES:
        assert entry.url.startswith("https://") and entry.licence and entry.terms and entry.filename
        assert entry.tried or "could not be tried" in entry.notice()
        assert entry.sha256 is None or len(entry.sha256) == 64
        assert find(entry.key) is entry


def test_unknown_key_lists_the_known_ones():
    with pytest.raises(DataError, match="unknown source 'nope'.*gdsc2_response"):
        find("nope")


def test_happy_path_shows_terms_and_records_the_checksum(site, tmp_path):
    seen = []
    fetched, said = get(site, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert fetched.path.read_bytes() == BODY
    assert fetched.sha256 == hashlib.sha256(BODY).hexdigest() and fetched.size == len(BODY)
    assert "test licence" in said and "test terms" in said and "could not be tried" in said
    assert seen[-1] == (len(BODY), len(BODY))
    assert names(tmp_path) == ["checksums.json", "file.bin"]
    assert (
        json.loads((tmp_path / "checksums.json").read_text())["file.bin"]["sha256"]
        == fetched.sha256
    )


def test_nothing_is_fetched_before_terms_are_accepted(site, tmp_path):
    said = []
    with pytest.raises(DataError, match="test licence.*test terms.*--accept-terms"):
        fetch(source(site), tmp_path, say=said.append)
    assert site.requests == [] and names(tmp_path) == []
    assert "test terms" in said[0]


def test_a_second_fetch_asks_nobody(site, tmp_path):
    get(site, tmp_path)
    count = len(site.requests)
    fetched, _ = get(site, tmp_path)
    assert len(site.requests) == count and fetched.size == len(BODY)


@pytest.mark.parametrize("tag", ['"v1"', "", 'W/"v1"'])
def test_a_server_that_dies_mid_file_is_resumed(site, tmp_path, tag):
    site.cut, site.tag = 300_000, tag
    with pytest.raises(
        DataError,
        match=f"stopped after 300000 of {len(BODY)} bytes.*run the same command again to resume",
    ):
        get(site, tmp_path)
    assert (tmp_path / "file.bin.part").stat().st_size == 300_000 and not (
        tmp_path / "file.bin"
    ).exists()
    site.cut = None
    fetched, _ = get(site, tmp_path)
    assert fetched.path.read_bytes() == BODY and fetched.resumed_from == 300_000
    assert site.requests[-1] == ("/file.bin", "bytes=300000-", '"v1"' if tag == '"v1"' else None)
    assert names(tmp_path) == ["checksums.json", "file.bin"]


def test_a_cut_chunked_body_is_noticed(site, tmp_path):
    site.cut, site.chunked = 300_000, True
    with pytest.raises(DataError, match="transfer stopped after .* of unknown bytes"):
        get(site, tmp_path)
    assert not (tmp_path / "file.bin").exists()
    site.cut, site.chunked = None, False
    assert get(site, tmp_path)[0].path.read_bytes() == BODY


def test_a_body_without_length_is_said(site, tmp_path):
    site.length = False
    fetched, said = get(site, tmp_path)
    assert fetched.path.read_bytes() == BODY and "does not state the length" in said


def test_a_server_that_ignores_ranges_starts_again_cleanly(site, tmp_path):
    site.cut, site.ranges = 300_000, False
    with pytest.raises(DataError):
        get(site, tmp_path)
    site.cut = None
    fetched, said = get(site, tmp_path)
    assert (
        fetched.path.read_bytes() == BODY
        and fetched.resumed_from == 0
        and "from the beginning" in said
    )


@pytest.mark.parametrize("tag", ['"v2"', ""])
def test_content_that_changed_between_the_halves_is_not_stitched(site, tmp_path, tag):
    site.cut = 300_000
    with pytest.raises(DataError):
        get(site, tmp_path)
    site.cut, site.body, site.tag = None, BODY[::-1] + b"longer", tag
    fetched, _ = get(site, tmp_path)
    assert fetched.path.read_bytes() == BODY[::-1] + b"longer"


def test_a_server_that_ignores_conditions_is_caught(site, tmp_path):
    site.cut = 300_000
    with pytest.raises(DataError):
        get(site, tmp_path)
    site.cut, site.body, site.tag, site.conditions = None, BODY[::-1], '"v2"', False
    assert get(site, tmp_path)[0].path.read_bytes() == BODY[::-1]
    assert [asked for _, asked, _ in site.requests] == [None, "bytes=300000-", None]


@pytest.mark.parametrize("shift", [-7, 7])
def test_a_range_that_was_not_asked_for_is_not_appended(site, tmp_path, shift):
    site.cut = 300_000
    with pytest.raises(DataError):
        get(site, tmp_path)
    site.cut, site.shift = None, shift
    assert get(site, tmp_path)[0].path.read_bytes() == BODY


def test_an_empty_answer_is_not_a_file(site, tmp_path):
    site.body = b""
    with pytest.raises(DataError, match="transfer stopped after 0 of 0 bytes"):
        get(site, tmp_path)
    assert not (tmp_path / "file.bin").exists()


def test_a_fetch_killed_outright_is_resumed(site, tmp_path):
    site.cut, site.hang = 600_000, threading.Event()
    code = (
        "from clmt_lib.data.download import *; fetch(Source('k', 't', "
        f"'{site.address}/file.bin', 'l', 't', 'file.bin'), {str(tmp_path)!r}, "
        "accept_terms=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    part = tmp_path / "file.bin.part"
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size >= 100_000) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    site.hang.set()
    kept = part.stat().st_size
    site.cut, site.hang = None, False
    fetched, _ = get(site, tmp_path)
    assert fetched.path.read_bytes() == BODY and fetched.resumed_from == kept >= 100_000
    assert names(tmp_path) == ["checksums.json", "file.bin"]


def test_a_complete_part_left_by_a_killed_run_is_used(site, tmp_path):
    site.cut = 300_000
    with pytest.raises(DataError):
        get(site, tmp_path)
    (tmp_path / "file.bin.part").write_bytes(BODY)
    site.cut = None
    assert get(site, tmp_path)[0].path.read_bytes() == BODY


def test_a_part_longer_than_the_file_is_dropped(site, tmp_path):
    site.cut = 300_000
    with pytest.raises(DataError):
        get(site, tmp_path)
    (tmp_path / "file.bin.part").write_bytes(BODY + b"too much")
    site.cut = None
    assert get(site, tmp_path)[0].path.read_bytes() == BODY


def test_a_part_from_another_address_is_not_continued(site, tmp_path):
    site.cut = 300_000
    with pytest.raises(DataError):
        get(site, tmp_path)
    site.cut = None
    fetched, _ = get(site, tmp_path, base=f"{site.address}/mirror/")
    assert fetched.path.read_bytes() == BODY and site.requests[-1] == (
        "/mirror/file.bin",
        None,
        None,
    )


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"size": 12}])
def test_a_wrong_checksum_or_size_is_not_left_in_place(site, tmp_path, wrong):
    with pytest.raises(DataError, match="wrong checksum.*set aside as file.bin.bad"):
        get(site, tmp_path, changes=wrong)
    assert names(tmp_path) == ["file.bin.bad"]


def test_a_right_pinned_checksum_passes(site, tmp_path):
    fetched, _ = get(
        site, tmp_path, changes={"sha256": hashlib.sha256(BODY).hexdigest(), "size": len(BODY)}
    )
    assert fetched.path.read_bytes() == BODY


def test_content_changed_later_is_refused_on_the_server(site, tmp_path):
    fetched, _ = get(site, tmp_path)
    fetched.path.unlink()
    site.body, site.tag = BODY[::-1], '"v2"'
    with pytest.raises(DataError, match="wrong checksum.*recorded on.*remove 'file.bin' from"):
        get(site, tmp_path)
    assert names(tmp_path) == ["checksums.json", "file.bin.bad"]
    (tmp_path / "checksums.json").write_text("{}")
    assert get(site, tmp_path)[0].path.read_bytes() == BODY[::-1]


def test_content_changed_later_is_refused_on_disk(site, tmp_path):
    fetched, _ = get(site, tmp_path)
    fetched.path.write_bytes(BODY[:-1])
    with pytest.raises(DataError, match="wrong checksum"):
        get(site, tmp_path)
    assert not fetched.path.exists()
    assert get(site, tmp_path)[0].path.read_bytes() == BODY


def test_a_file_placed_by_hand_is_recorded(site, tmp_path):
    (tmp_path / "file.bin").write_bytes(BODY)
    get(site, tmp_path)
    assert site.requests == []
    assert (
        json.loads((tmp_path / "checksums.json").read_text())["file.bin"]["address"]
        == "placed by hand"
    )


def test_a_broken_checksum_book_is_named(site, tmp_path):
    (tmp_path / "checksums.json").write_text("{not json")
    (tmp_path / "file.bin").write_bytes(BODY)
    with pytest.raises(DataError, match="checksums.json.*remove this file"):
        get(site, tmp_path)


def test_a_redirect_is_followed_and_reported(site, tmp_path):
    site.redirects["/file.bin"] = "/elsewhere/real.bin"
    fetched, said = get(site, tmp_path)
    assert (
        fetched.path.read_bytes() == BODY
        and fetched.address == f"{site.address}/elsewhere/real.bin"
    )
    assert f"redirected to: {site.address}/elsewhere/real.bin" in said


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/file.bin", "data:,x"])
def test_a_redirect_off_http_is_refused(site, tmp_path, target):
    site.redirects["/file.bin"] = target
    with pytest.raises(DataError, match="refused.*redirects to"):
        get(site, tmp_path)
    assert names(tmp_path) == []


def test_a_file_address_is_refused(site, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file.bin").write_bytes(b"secret")
    with pytest.raises(DataError, match="cannot reach"):
        get(site, tmp_path / "out", base=secret.as_uri())
    assert names(tmp_path / "out") == []


def test_a_file_that_is_sent_packed_is_kept_as_it_is(site, tmp_path, monkeypatch):
    """Some servers call a .gz file packed in transit; what is stored is the file all the same."""
    plain = Handler.head

    def head(self, status, headers):
        plain(self, status, headers | {"Content-Encoding": "gzip"})

    monkeypatch.setattr(Handler, "head", head)
    site.body = gzip.compress(BODY)
    assert get(site, tmp_path)[0].path.read_bytes() == site.body


def test_an_endless_redirect_is_given_up(site, tmp_path):
    site.redirects["/file.bin"] = "/file.bin"
    with pytest.raises(DataError, match="cannot reach"):
        get(site, tmp_path)
    assert names(tmp_path) == []


def test_offline_says_what_to_do_by_hand(site, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(DataError) as caught:
        get(site, tmp_path, base=f"http://127.0.0.1:{port}")
    assert "offline?" in str(caught.value) and f"http://127.0.0.1:{port}/file.bin" in str(
        caught.value
    )
    assert f"save it as {tmp_path / 'file.bin'}" in str(caught.value) and names(tmp_path) == []


def test_a_silent_server_times_out(site, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(DataError, match="cannot reach.*timed out"):
            fetch(
                source(site),
                tmp_path,
                accept_terms=True,
                say=str,
                base=f"http://127.0.0.1:{silent.getsockname()[1]}",
                timeout=0.2,
            )


@pytest.mark.parametrize("status", [403, 404, 503])
def test_an_error_status_is_passed_on(site, tmp_path, status):
    site.status = status
    with pytest.raises(DataError, match=f"answered {status}.*by hand"):
        get(site, tmp_path)
    assert names(tmp_path) == []


def test_a_web_page_is_not_taken_for_the_file(site, tmp_path):
    site.kind = "text/html; charset=utf-8"
    with pytest.raises(DataError, match="web page, not the file"):
        get(site, tmp_path)
    assert names(tmp_path) == []


def test_a_folder_that_is_a_file_is_named(site, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(DataError, match="taken: folder cannot be made"):
        get(site, tmp_path / "taken")


def chemistry(known):
    def answer(asked):
        cids = [int(cid) for cid in asked.removeprefix("cid=").split("%2C")]
        found = [{"CID": cid, "SMILES": known[cid]} for cid in cids if cid in known]
        return (
            (200, json.dumps({"PropertyTable": {"Properties": found}}).encode())
            if found
            else (404, b'{"Fault": {"Code": "PUGREST.NotFound"}}')
        )

    return answer


def test_pubchem_is_asked_in_batches_and_once(site, tmp_path):
    known = {cid: "C" * cid for cid in range(1, 8)}
    site.answer = chemistry(known)
    said = []
    options = {
        "accept_terms": True,
        "say": said.append,
        "base": f"{site.address}/pug",
        "batch": 3,
        "pause": 0,
    }
    assert pubchem_smiles([3, 1, 2, 7, 5, 99], tmp_path, **options) == {
        cid: known[cid] for cid in (1, 2, 3, 5, 7)
    }
    assert len(site.requests) == 2 and "no structure from PubChem for 1 of 6" in said[-1]
    assert (tmp_path / "pubchem_smiles.tsv").read_text().splitlines()[:2] == ["CID\tSMILES", "1\tC"]
    assert pubchem_smiles([3, 4], tmp_path, **options) == {3: "CCC", 4: "CCCC"}
    assert site.requests[-1][1] == "cid=4"
    assert pubchem_smiles([99], tmp_path, **options) == {}


def test_pubchem_keeps_what_it_has_when_the_network_goes(site, tmp_path):
    site.answer = chemistry({1: "C"})
    options = {
        "accept_terms": True,
        "say": str,
        "base": f"{site.address}/pug",
        "batch": 1,
        "pause": 0,
    }
    pubchem_smiles([1], tmp_path, **options)
    site.answer = lambda asked: (503, b"busy")
    with pytest.raises(DataError, match="PubChem answered 503"):
        pubchem_smiles([1, 2], tmp_path, **options)
    assert pubchem_smiles([1], tmp_path, say=str) == {1: "C"}


@pytest.mark.parametrize(
    "reply", [b"<html>", b"[]", b'{"PropertyTable": {"Properties": [{"SMILES": "C"}]}}']
)
def test_pubchem_answers_that_make_no_sense_are_refused(site, tmp_path, reply):
    site.answer = lambda asked: (200, reply)
    with pytest.raises(DataError, match="did not answer as PubChem does"):
        pubchem_smiles([1], tmp_path, accept_terms=True, say=str, base=site.address)
    assert names(tmp_path) == []


def test_pubchem_needs_terms_and_a_sound_cache(site, tmp_path):
    with pytest.raises(DataError, match="not accepted"):
        pubchem_smiles([1], tmp_path, say=str, base=site.address)
    assert site.requests == []
    (tmp_path / "pubchem_smiles.tsv").write_text("CID\tSMILES\n1\tC\nbroken row\n")
    with pytest.raises(DataError, match="row 3"):
        pubchem_smiles([1], tmp_path)


def test_pubchem_is_not_a_file(tmp_path):
    with pytest.raises(DataError, match="use pubchem_smiles"):
        fetch("pubchem_smiles", tmp_path, accept_terms=True)


def test_nothing_is_followed_from_https_to_http():
    from clmt_lib.data.download import _Session

    reply = requests.Response()
    reply.url, reply.status_code = "https://a.example/file", 302
    for target, refused in (
        ("http://a.example/file", True),
        ("//b.example/file", False),
        ("https://b.example/file", False),
        ("/other", False),
    ):
        reply.headers["location"] = target
        if refused:
            with pytest.raises(requests.exceptions.InvalidSchema, match="from https to http:"):
                _Session().get_redirect_target(reply)
        else:
            assert _Session().get_redirect_target(reply) == target


def test_a_web_page_under_another_type_is_set_aside(site, tmp_path):
    site.body = b"\n <!DOCTYPE html><html>log in</html>"
    with pytest.raises(DataError, match="is a web page.*set aside as file.bin.bad"):
        get(site, tmp_path)
    assert names(tmp_path) == ["file.bin.bad"]


def test_a_body_without_end_is_stopped_and_not_kept(site, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "LARGEST_FILE", 300_000)
    site.length = False
    with pytest.raises(DataError, match="would have gone on.*nothing of it was kept"):
        get(site, tmp_path)
    assert not (tmp_path / "file.bin.part").exists()


def test_two_files_that_settle_at_once_are_both_recorded(site, tmp_path):
    def one(number):
        get(site, tmp_path, changes={"filename": f"{number}.bin"})

    threads = [threading.Thread(target=one, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorded = json.loads((tmp_path / "checksums.json").read_text())
    assert sorted(recorded) == sorted(f"{number}.bin" for number in range(12))


@pytest.mark.parametrize("entry", ['"text"', "null", "[1]"])
def test_a_damaged_entry_of_the_checksums_is_named(site, tmp_path, entry):
    (tmp_path / "checksums.json").write_text('{"file.bin": ' + entry + "}")
    with pytest.raises(DataError, match="checksums.json.*no record of a checksum"):
        get(site, tmp_path)


def test_deep_checksums_and_a_cache_in_latin1_are_named(site, tmp_path):
    (tmp_path / "checksums.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="checksums.json.*cannot be read"):
        get(site, tmp_path)
    (tmp_path / "pubchem_smiles.tsv").write_bytes(b"CID\tSMILES\n1\t\xff\n")
    with pytest.raises(DataError, match="pubchem_smiles.tsv.*text is not UTF-8"):
        pubchem_smiles([1], tmp_path, accept_terms=True, say=lambda _: None)
