"""Official sources of the real tables: what they are, under which terms, and how to fetch them once
and safely.

Nothing is fetched before the licence and terms were shown and accepted. A transfer that stops can
be resumed, what arrives is checked (length, SHA-256), and the
checksum of the first copy is recorded in `checksums.json` beside it and required ever after.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from clmt_lib.io import DataError, atomic_write, expanded, harmless, lock

BLOCK = 1 << 18  # bytes read at a time
LARGEST_FILE = 20 * 10**9  # bytes taken from a server that does not say how many there are
AGENT = "clmt-lib (teaching book)"
ACCEPT = "read the terms above, then repeat with accept_terms=True (command line: --accept-terms)"

Say = Callable[[str], Any]
Progress = Callable[[int, int | None], Any]

_GDSC = (
    "GDSC terms of the Wellcome Sanger Institute (https://www.cancerrxgene.org)",
    "Free for non-commercial research as far as we know; commercial use needs a licence. Do not "
    "pass the files on.",
)
_PASSPORTS = (
    "Cell Model Passports terms of the Wellcome Sanger Institute "
    "(https://cellmodelpassports.sanger.ac.uk)",
    "Free for non-commercial research as far as we know. Cite the Cell Model Passports (van der "
    "Meer et al. 2019).",
)
_DEPMAP = (
    "CC BY 4.0 (DepMap Public, https://depmap.org/portal)",
    "Use and sharing are allowed with attribution to DepMap, Broad Institute. Do not try to "
    "identify donors.",
)
_PUBCHEM = (
    "Public domain in the main, contributors' rights apart (https://pubchem.ncbi.nlm.nih.gov)",
    "At most five requests a second. Cite PubChem.",
)


@dataclass(frozen=True)
class Source:
    """One official file: where it is, what it may be used for, what it is called here.

    `sha256` and `size` (bytes) are None until a copy was verified by us; `tried` is False while the
    address was never reached from here.
    """

    key: str
    title: str
    url: str
    licence: str
    terms: str
    filename: str
    sha256: str | None = None
    size: int | None = None
    tried: bool = False

    def notice(self, address: str | None = None) -> str:
        """What a reader must see before anything is fetched: title, address, licence, terms."""
        untried = (
            ""
            if self.tried
            else "\n  note: this address could not be tried from here; it may have moved"
        )
        return (
            f"{self.key}: {self.title}\n  address: {address or self.url}{untried}\n  "
            f"licence: {self.licence}\n  terms: {self.terms}"
        )


@dataclass(frozen=True)
class Fetched:
    """What `fetch` did: the file, its final address ("" if it was there already), SHA-256, size and
    first resumed byte.
    """

    path: Path
    address: str
    sha256: str
    size: int
    resumed_from: int = 0


_SANGER = "https://cog.sanger.ac.uk"
# the DepMap portal itself asks for a person; its figshare deposit does not
_FIGSHARE = "https://ndownloader.figshare.com/files"
SOURCES = (
    Source(
        "gdsc2_response",
        "GDSC2 fitted dose response, release 8.5",
        f"{_SANGER}/cancerrxgene/GDSC_release8.5/GDSC2_fitted_dose_response_27Oct23.xlsx",
        *_GDSC,
        "GDSC2_fitted_dose_response_27Oct23.xlsx",
    ),
    Source(
        "gdsc_compounds",
        "GDSC screened compounds, release 8.5",
        f"{_SANGER}/cancerrxgene/GDSC_release8.5/screened_compounds_rel_8.5.csv",
        *_GDSC,
        "screened_compounds_rel_8.5.csv",
    ),
    Source(
        "gdsc_drug_list",
        "GDSC drug list with PubChem ids",
        "https://www.cancerrxgene.org/api/compounds?list=all&export=csv",
        *_GDSC,
        "Drug_list.csv",
    ),
    Source(
        "gdsc_cell_lines",
        "GDSC cell-line details, release 8.5",
        f"{_SANGER}/cancerrxgene/GDSC_release8.5/Cell_Lines_Details.xlsx",
        *_GDSC,
        "Cell_Lines_Details.xlsx",
    ),
    Source(
        "passports_models",
        "Cell Model Passports model list, 2024-11-20",
        f"{_SANGER}/cmp/download/model_list_20241120.csv",
        *_PASSPORTS,
        "model_list_20241120.csv",
    ),
    Source(
        "passports_expression",
        "Cell Model Passports RNA-seq (TPM inside), 2022-06-24; hundreds of MB",
        f"{_SANGER}/cmp/download/rnaseq_all_20220624.zip",
        *_PASSPORTS,
        "rnaseq_all_20220624.zip",
    ),
    Source(
        "passports_mutations",
        "Cell Model Passports mutations, 2024-12-12; hundreds of MB",
        f"{_SANGER}/cmp/download/mutations_all_20241212.zip",
        *_PASSPORTS,
        "mutations_all_20241212.zip",
    ),
    Source(
        "passports_copy_number",
        "Cell Model Passports gene copy number (WES), latest; hundreds of MB",
        f"{_SANGER}/cmp/download/WES_pureCN_CNV_genes_latest.csv.gz",
        *_PASSPORTS,
        "WES_pureCN_CNV_genes_latest.csv.gz",
    ),
    Source(
        "depmap_models",
        "DepMap Public 24Q4 model table",
        f"{_FIGSHARE}/51065297",
        *_DEPMAP,
        "Model.csv",
    ),
    Source(
        "depmap_expression",
        "DepMap Public 24Q4 expression, log2(TPM+1); about 0.5 GB",
        f"{_FIGSHARE}/51065489",
        *_DEPMAP,
        "OmicsExpressionProteinCodingGenesTPMLogp1.csv",
    ),
    Source(
        "depmap_mutations",
        "DepMap Public 24Q4 somatic mutations",
        f"{_FIGSHARE}/51065732",
        *_DEPMAP,
        "OmicsSomaticMutations.csv",
    ),
    Source(
        "depmap_copy_number",
        "DepMap Public 24Q4 gene copy number, log2(ratio+1); about 1.4 GB",
        f"{_FIGSHARE}/51065324",
        *_DEPMAP,
        "OmicsCNGene.csv",
    ),
    Source(
        "pubchem_smiles",
        "PubChem structures of the drugs in Drug_list.csv",
        "https://pubchem.ncbi.nlm.nih.gov/rest/pug/compound/cid/property/SMILES/JSON",
        *_PUBCHEM,
        "pubchem_smiles.tsv",
    ),
)


def find(key: str) -> Source:
    """The `Source` with this key.

    >>> find("depmap_models").filename
    'Model.csv'

    Raises
    ------
    DataError
        Unknown key (the message lists the known ones).
    """
    known = {source.key: source for source in SOURCES}
    if key not in known:
        raise DataError(f"unknown source {key!r}", remedy=f"use one of: {', '.join(known)}")
    return known[key]


def fetch(
    key: str | Source,
    folder: str | Path,
    *,
    accept_terms: bool = False,
    say: Say = print,
    progress: Progress | None = None,
    base: str | None = None,
    timeout: float = 60,
) -> Fetched:
    """Fetch one official file into `folder`, or verify the copy that is there; run again to resume
    a transfer that stopped.

    Parameters
    ----------
    key : a key of `SOURCES`, or a `Source`; folder : where files and `checksums.json` go; made if
        absent
    accept_terms : True after reading licence and terms; otherwise nothing is fetched
    say : receives lines of text for the reader
    progress : called with (bytes so far, total bytes or None)
    base : address of a mirror that holds the files under the same names
    timeout : seconds without an answer before giving up

    Returns
    -------
    Fetched

    Raises
    ------
    DataError
        Terms not accepted, no network, refused or broken transfer (the part is kept), wrong length
        or checksum (the file is set aside as `.bad`).
    """
    source = key if isinstance(key, Source) else find(key)
    if source.key == "pubchem_smiles":
        raise DataError(
            "PubChem is asked for compounds, not for a file",
            remedy="use pubchem_smiles(cids, folder)",
        )
    address = f"{base.rstrip('/')}/{source.filename}" if base else source.url
    folder = _make(folder)
    path = folder / source.filename
    with lock(path):  # of two processes that fetch it, one waits and finds it there
        if path.exists():
            return _settle(source, path, path, "")
        say(source.notice(address))
        _require_acceptance(source, accept_terms)
        final, start = _transfer(source, address, path, say, progress, timeout)
        if final != address:
            say(f"  redirected to: {harmless(final)}")
        return _settle(source, _part(path), path, final, start)


def _require_acceptance(source: Source, accepted: bool) -> None:
    if not accepted:
        raise DataError(
            f"nothing was fetched for {source.key}: licence ({source.licence}) and terms "
            f"({source.terms}) are not accepted yet",
            remedy=ACCEPT,
        )


def _make(folder: str | Path) -> Path:
    folder = expanded(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.listdir(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(
            f"folder cannot be made, read and written ({error.strerror})",
            file=folder,
            remedy="name a folder you may write to",
        ) from None
    return folder


def _by_hand(source: Source, address: str, path: Path) -> str:
    return (
        f"when the network is back run the same command; or download {address} by hand (see "
        f"also {source.licence}) and save it as {path}"
    )


class _Session(requests.Session):
    """Follows no redirection from https to http."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target and urlsplit(resp.url).scheme == "https":
            whole = urljoin(resp.url, target)
            if urlsplit(whole).scheme == "http":
                raise requests.exceptions.InvalidSchema(f"from https to {whole}")
        return target


def _ask(
    address: str, remedy: str, file: str | Path, timeout: float, **request: Any
) -> requests.Response:
    """The reply of a server, its body unread; one clear error where none is reached. Only http and
    https are asked, and followed to.
    """
    try:
        if urlsplit(address).scheme not in ("http", "https"):
            raise requests.exceptions.InvalidURL("neither http nor https")
        headers = {
            "User-Agent": AGENT,
            "Accept-Encoding": "identity",
            "Connection": "close",  # one file, one connection
            **request.pop("headers", {}),
        }
        how = "POST" if "data" in request else "GET"
        return _Session().request(
            how, address, headers=headers, stream=True, timeout=timeout, **request
        )
    except requests.exceptions.InvalidSchema as error:
        raise DataError(
            f"refused: {address} redirects to what is not https, or not http ({error})",
            remedy="do not trust this address; see the provider's own page",
        ) from None
    except (requests.RequestException, ValueError) as error:
        cause: BaseException = error
        while cause.__context__ is not None:  # the last of many wrappers says what happened
            cause = cause.__context__
        raise DataError(
            f"cannot reach {address} ({cause}): offline?", file=file, remedy=remedy
        ) from None


def _transfer(
    source: Source,
    address: str,
    path: Path,
    say: Say,
    progress: Progress | None,
    timeout: float,
) -> tuple[str, int]:
    """Complete the part of `path` from `address`, resuming what is there if the server can; returns
    (final address, first byte asked for).
    """
    part, by_hand = _part(path), _by_hand(source, address, path)
    have, known = _resume_point(part, address)
    headers = {"Range": f"bytes={have}-"} if have else {}
    if have and known.get("validator"):
        headers["If-Range"] = known["validator"]
    with _ask(address, by_hand, source.filename, timeout, headers=headers) as reply:
        start, total, note = _describe(reply, address)
        if have and (
            reply.status_code == 416
            or (reply.status_code == 206 and (start != have or _changed(known, note)))
        ):
            if reply.headers.get("Content-Range", "") == f"bytes */{have}":
                return reply.url, have  # all of it was here
            part.unlink()  # another file, or not the part that was asked for: begin again
            _note(part).unlink()
            return _transfer(source, address, path, say, progress, timeout)
        if reply.status_code not in (200, 206) or start < 0 or (start and not have):
            raise DataError(
                f"the server answered {reply.status_code} ({reply.reason}) for {reply.url}",
                file=source.filename,
                remedy=by_hand,
            )
        if reply.headers.get("Content-Type", "").startswith("text/html"):
            raise DataError(
                "the server answered with a web page, not the file (a login, or proof of being a "
                "person?)",
                file=source.filename,
                remedy=_by_hand(source, reply.url, path),
            )
        if have and not start:
            say("  the server sends the whole file again: starting from the beginning")
        if total is None:
            say("  the server does not state the length: a cut transfer could not be noticed")
        _write_json(_note(part), note)
        _copy(reply, part, start, total, progress)
        return reply.url, start


def _changed(known: dict[str, Any], note: dict[str, Any]) -> bool:
    """Whether the file on the server is no longer the one whose part is here."""
    return any(
        known.get(key) and note[key] and known[key] != note[key] for key in ("validator", "total")
    )


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _resume_point(part: Path, address: str) -> tuple[int, dict[str, Any]]:
    """(bytes that may be kept, what is known of the file they belong to); nothing is kept that came
    from another address.
    """
    known = _read_json(_note(part)) if part.exists() and _note(part).exists() else {}
    if known.get("address") != address:
        part.unlink(missing_ok=True)
        return 0, {}
    return part.stat().st_size, known


def _describe(reply: requests.Response, address: str) -> tuple[int, int | None, dict[str, Any]]:
    """(first byte, total bytes or None, note to resume by) from the headers of a reply."""
    length = reply.headers.get("Content-Length", "")
    start, total = 0, _whole(length)
    if reply.status_code == 206:
        span, _, whole = (
            reply.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        )
        first = span.partition("-")[0]
        start = -1 if _whole(first) is None else int(first)
        total = _whole(whole)
    tag = reply.headers.get("ETag", "")
    validator = tag if tag and not tag.startswith("W/") else reply.headers.get("Last-Modified", "")
    return start, total, {"address": address, "validator": validator, "total": total}


def _whole(text: str) -> int | None:
    """The number that some digits of a header stand for; None where they are not digits."""
    return int(text) if text.isascii() and text.isdigit() else None


def _copy(
    reply: requests.Response, part: Path, start: int, total: int | None, progress: Progress | None
) -> None:
    """Append the body to `part` from byte `start`; a body that stops early leaves the part for the
    next run.
    """
    done, cause = start, ""
    try:
        with open(part, "r+b" if start else "wb") as out:
            out.seek(start)
            out.truncate()
            blocks = reply.raw.stream(BLOCK, decode_content=False)
            while True:
                try:
                    block = next(blocks, b"")
                except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
                    cause = f" ({type(error).__name__})"
                    break
                if not block:
                    break
                out.write(block)
                done += len(block)
                if done > (LARGEST_FILE if total is None else total):
                    cause = " (more than it said, or than any official file has)"
                    break
                if progress:
                    progress(done, total)
    except OSError as error:
        raise DataError(
            f"cannot be written ({error.strerror})",
            file=part,
            remedy="free some space, then run the same command to resume",
        ) from None
    if cause.startswith(" (more"):
        part.unlink(missing_ok=True)
        raise DataError(
            f"the server sent {done} bytes and would have gone on{cause}",
            file=part,
            remedy="nothing of it was kept; fetch it by hand, or from another address",
        )
    if cause or not done or (total is not None and done < total):
        raise DataError(
            f"transfer stopped after {done} of {'unknown' if total is None else total} "
            f"bytes{cause}; they are kept",
            file=part,
            remedy="run the same command again to resume",
        )


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _settle(source: Source, found: Path, path: Path, address: str, start: int = 0) -> Fetched:
    """Check `found` against what is known of the file, then let it take its place and record its
    checksum.
    """
    with open(found, "rb") as file:
        start_of_it = file.read(200).lstrip().lower()
    if start_of_it.startswith((b"<!doctype html", b"<html")):
        bad = path.with_name(path.name + ".bad")
        os.replace(found, bad)
        _note(found).unlink(missing_ok=True)
        raise DataError(
            f"what came is a web page (a login, or an error); it was set aside as {bad.name}",
            file=path,
            remedy=_by_hand(source, address or source.url, path),
        )
    book = path.with_name("checksums.json")
    with lock(book):  # two files may settle at once
        return _recorded(source, found, path, book, address, start)


def _recorded(
    source: Source, found: Path, path: Path, book: Path, address: str, start: int
) -> Fetched:
    """Compare with the recorded checksum, or record it; then the file takes its place."""
    recorded = _read_json(book) if book.exists() else {}
    entry = recorded.get(path.name, {})
    if not isinstance(entry, dict):
        raise DataError(
            f"the entry of {path.name} is no record of a checksum",
            file=book,
            remedy="remove this file; checksums are then recorded anew",
        )
    size, digest = found.stat().st_size, sha256_of(found)
    wanted = source.sha256 or entry.get("sha256")
    if (wanted and digest != wanted) or (source.size and size != source.size):
        bad = path.with_name(path.name + ".bad")
        os.replace(found, bad)
        _note(found).unlink(missing_ok=True)
        whose = (
            "the one known to this library"
            if source.sha256 or not wanted
            else f"the one recorded on {entry.get('recorded')}"
        )
        raise DataError(
            f"wrong checksum: {size} bytes, sha256 {digest}, but {whose} is "
            f"{wanted or f'{source.size} bytes'}; the file was set aside as {bad.name}",
            file=path,
            remedy="fetch it again; if the provider has published a new version and you want "
            f"it, remove {path.name!r} from {book} first",
        )
    os.replace(found, path)
    _note(_part(path)).unlink(missing_ok=True)  # a killed fetch may have left it
    if not entry:
        recorded[path.name] = {
            "sha256": digest,
            "bytes": size,
            "address": address or "placed by hand",
            "recorded": datetime.now(UTC).date().isoformat(),
        }
        _write_json(book, recorded)
    return Fetched(path, address, digest, size, start)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DataError(
            f"cannot be read ({error})",
            file=path,
            remedy="remove this file; checksums are then recorded anew",
        ) from None


def _write_json(path: Path, body: dict[str, Any]) -> None:
    with atomic_write(path) as file:
        file.write(json.dumps(body, indent=1, sort_keys=True) + "\n")


def pubchem_smiles(
    cids: Iterable[int],
    folder: str | Path,
    *,
    accept_terms: bool = False,
    say: Say = print,
    base: str | None = None,
    batch: int = 100,
    pause: float = 0.25,
    timeout: float = 60,
) -> dict[int, str]:
    """SMILES of PubChem compounds, kept in `folder/pubchem_smiles.tsv` so that no compound is asked
    for twice.

    Parameters
    ----------
    cids : whole numbers
    batch, pause : compounds a request, seconds between requests; base : another address that
        answers like PUG-REST's property/SMILES/JSON

    Returns
    -------
    dict of cid -> SMILES, for the compounds PubChem knows.

    Raises
    ------
    DataError
        Terms not accepted, no network (what was received is kept), an answer that is not PubChem's.
    """
    source = find("pubchem_smiles")
    path = _make(folder) / source.filename
    known = _read_smiles(path)
    wanted = sorted({int(cid) for cid in cids})
    missing = [cid for cid in wanted if cid not in known]
    if missing:
        say(source.notice(base))
        _require_acceptance(source, accept_terms)
    for first in range(0, len(missing), batch):
        time.sleep(pause if first else 0)
        known |= _ask_pubchem(
            source, base or source.url, missing[first : first + batch], path, timeout
        )
        with atomic_write(path) as file:
            file.write("CID\tSMILES\n")
            file.writelines(f"{cid}\t{known[cid]}\n" for cid in sorted(known))
    unknown = [cid for cid in wanted if cid not in known]
    if unknown:
        say(
            f"  no structure from PubChem for {len(unknown)} of {len(wanted)} compounds, e.g. "
            f"CID {unknown[0]}"
        )
    return {cid: known[cid] for cid in wanted if cid in known}


def _read_smiles(path: Path) -> dict[int, str]:
    known: dict[int, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[1:] if path.exists() else []
    except UnicodeDecodeError:
        raise DataError(
            "text is not UTF-8", file=path, remedy="remove this file; it is fetched again"
        ) from None
    for row, line in enumerate(lines, start=2):
        cid, _, smiles = line.partition("\t")
        if not cid.isdigit() or not smiles:
            raise DataError(
                f"{line!r} is not a compound id, a tab and a SMILES",
                file=path,
                row=row,
                remedy="remove the row; it is fetched again",
            )
        known[int(cid)] = smiles
    return known


def _ask_pubchem(
    source: Source, address: str, cids: Collection[int], path: Path, timeout: float
) -> dict[int, str]:
    """One batch, cid -> SMILES; compounds PubChem does not know are left out."""
    remedy = f"{_by_hand(source, address, path)} (columns CID and SMILES, separated by a tab)"
    asked = {"cid": ",".join(map(str, cids))}
    with _ask(address, remedy, path, timeout, data=asked) as reply:
        try:
            if reply.status_code == 404 and b"PUGREST.NotFound" in reply.content:
                return {}
            if not reply.ok:
                raise DataError(
                    f"PubChem answered {reply.status_code} ({reply.reason})",
                    file=path,
                    remedy="wait a minute, then run the same command; what was received is kept",
                )
            return {
                int(entry["CID"]): str(entry["SMILES"])
                for entry in reply.json()["PropertyTable"]["Properties"]
                if entry.get("SMILES")
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"{address} did not answer as PubChem does",
                file=path,
                remedy="check the address",
            ) from None
        except requests.RequestException as error:
            raise DataError(
                f"{address} stopped answering ({type(error).__name__})", file=path, remedy=remedy
            ) from None
