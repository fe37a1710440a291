"""Files: tables read with one message for every bad one (file, row, remedy), whatever is written
replaced whole, one process at a time, and what is costly kept by content.
"""

import csv
import errno
import glob
import gzip
import hashlib
import os
import platform
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pandas as pd


class DataError(ValueError):
    """Bad input. The message names what is wrong, where (file, row) and what to do about it, in one
    line, whatever the value that it quotes.

    Attributes
    ----------
    what, file, row, remedy : the parts of the message
    """

    def __init__(
        self,
        what: str,
        *,
        file: str | os.PathLike | None = None,
        row: int | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what, self.file, self.row, self.remedy = what, file, row, remedy
        where = ", ".join(
            part
            for part in (str(file) if file else "", f"row {row}" if row is not None else "")
            if part
        )
        text = (f"{where}: " if where else "") + what + (f". Remedy: {remedy}" if remedy else "")
        super().__init__(harmless(" ".join(part.strip() for part in text.splitlines())))


def harmless(text: str) -> str:
    r"""`text` with control characters written out, so that a name cannot steer a terminal.

    >>> print(harmless(chr(27) + "[31mred"))
    \x1b[31mred
    """
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


GET_DATA = (
    "set CLMT_DATA to a folder of prepared tables; to make one from the official downloads: "
    "`clmt data list`, `clmt data fetch`, `clmt data prepare`. The simulated world needs no data"
)


def locate(folder: str | os.PathLike | None = None, part: str = "drp") -> Path:
    """Folder of one part of the prepared tables: in `folder`, else in the environment's
    `CLMT_DATA`; or that folder itself, where it has no such part.

    Parameters
    ----------
    part : "drp" (drug response), "dti" (drug-target interaction), "probing" (label tables)

    Raises
    ------
    DataError
        Unset, absent, not a folder, or not readable.
    """
    named = folder or os.environ.get("CLMT_DATA")
    if not named:
        raise DataError("no data folder: CLMT_DATA is not set", remedy=GET_DATA)
    path = expanded(named)
    if not path.is_dir():
        raise DataError("no such folder", file=named, remedy=GET_DATA)
    if not os.access(path, os.R_OK | os.X_OK):
        raise DataError(
            "folder cannot be read",
            file=named,
            remedy="give yourself permission to read it (chmod u+rx)",
        )
    return path / part if (path / part).is_dir() else path


def expanded(path: str | os.PathLike) -> Path:
    """The path with `~` replaced by the home folder.

    Raises
    ------
    DataError
        `~name` of nobody, or no home folder is known.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise DataError(
            f"home folder not found ({error})", file=path, remedy="write the folder out in full"
        ) from None


def read_table(
    path: str | os.PathLike,
    columns: Iterable[str] | None = None,
    text: Collection[str] = (),
    **options: Any,
) -> pd.DataFrame:
    """Read CSV, TSV (plain or gzipped) or Parquet into a frame, with errors that say what to do.

    Every row of a text table has as many cells as the first: a file that was cut in the middle of a
    row, or whose rows end in a further separator, is refused. Columns are found whatever spaces
    stand around their names, and in capitals or not.

    Parameters
    ----------
    path : file whose name ends in .csv, .tsv, .txt (optionally .gz) or .parquet
    columns : names that must be there; only these are kept. None keeps all.
    text : names of columns (such as ids) that are kept as they are written in a text table
    options : passed to the pandas reader.

    Raises
    ------
    DataError
        Missing or unreadable file, truncated gzip, another kind of file than its name says, text
        that is not UTF-8, rows of unequal length, unknown layout, missing or doubled column, no
        rows.
    """
    path = Path(path)
    columns = None if columns is None else list(columns)
    if text and not path.name.lower().endswith(".parquet"):
        options["dtype"] = dict.fromkeys(text, "str")
    if not path.exists():
        raise DataError(
            "no such file", file=path, remedy="check the folder's layout with `clmt data check`"
        )
    try:
        frame = _read(path, columns, options)
    except PermissionError:
        raise DataError(
            "file cannot be read",
            file=path,
            remedy="give yourself permission to read it (chmod u+r)",
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"broken gzip ({error})",
            file=path,
            remedy="the file is cut short or not gzip: fetch it again",
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(
            "text is not UTF-8",
            file=path,
            row=_row_of_bad_byte(path),
            remedy="convert it, e.g. `iconv -f latin1 -t utf8` (byte "
            f"{error.object[error.start]:#x})",
        ) from None
    except pd.errors.EmptyDataError:
        raise DataError("empty table", file=path, remedy="fetch or export it again") from None
    except (pd.errors.ParserError, csv.Error, OSError, ValueError, _arrow_errors()) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"cannot be parsed ({str(error).splitlines()[0]})",
            file=path,
            remedy="check that the file is complete and in the stated format",
        ) from None
    if frame.empty:
        raise DataError("empty table", file=path, remedy="fetch or export it again")
    return frame


def _read(path: Path, columns: list[str] | None, options: dict[str, Any]) -> pd.DataFrame:
    name = path.name.lower()
    if name.endswith(".parquet"):
        import pyarrow.parquet as pq

        require_columns(pq.read_schema(path).names, columns, path)
        frame = pd.read_parquet(path, columns=columns, **options)
        return frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index(drop=True)
    plain = name.removesuffix(".gz")
    if not plain.endswith((".csv", ".tsv", ".txt")):
        raise DataError(
            f"unknown kind of file {path.suffix!r}",
            file=path,
            remedy="use .csv, .tsv, .txt (optionally .gz) or .parquet",
        )
    _as_named(path)
    separator = "," if plain.endswith(".csv") else "\t"
    names: dict[str, str] = {}
    if "nrows" in options:  # a look at the first rows leaves the rest for the next reader
        with _opened(path) as lines:
            line = next((line for line in lines if line.strip()), b"").decode("utf-8-sig")
        _right_separator(path, line, separator)
    else:
        before = 0 if "header" in options else options.get("skiprows", 0)  # lines above the header
        header = _equal_rows(path, separator, before)
        dtype = options.get("dtype")
        text = list(dtype) if isinstance(dtype, dict) else []
        names = spelt(header, [*(columns or ()), *text])
        if names and isinstance(dtype, dict):
            written = {name: cell for cell, name in names.items()}
            options = {**options, "dtype": {written.get(n, n): kind for n, kind in dtype.items()}}
        bare = [_bare(cell) for cell in header]
        twice = [column for column in columns or () if bare.count(column) > 1]
        if twice:
            raise DataError(
                f"two columns are called {twice[0]!r}",
                file=path,
                row=1,
                remedy="keep one of them",
            )
    frame = pd.read_csv(
        path,
        sep=separator,
        low_memory=False,
        compression="gzip" if name.endswith(".gz") else None,
        **options,
    )
    if "header" not in options:
        frame = frame.rename(columns=lambda name: names.get(name) or _bare(name))
    require_columns(frame.columns, columns, path)
    return frame if columns is None else frame[columns]


def _bare(name: Any) -> Any:
    return name.strip().strip("\ufeff") if isinstance(name, str) else name


def spelt(found: Iterable[str], wanted: Iterable[str]) -> dict[str, str]:
    """Names as they are written in a header -> as they are wanted, where they differ by capitals,
    or by spaces around them, alone.

    >>> spelt([" drug_id", "SMILES", "smiles", "x"], ["DRUG_ID", "smiles"])
    {' drug_id': 'DRUG_ID'}
    """
    written: dict[str, list[str]] = {}
    found = list(found)
    for cell in found:
        written.setdefault(_bare(cell).casefold(), []).append(cell)
    return {
        written[name.casefold()][0]: name
        for name in wanted
        if name not in found and len(written.get(name.casefold(), ())) == 1
    }


def _arrow_errors() -> type[Exception]:
    """What pyarrow raises for a damaged file and is no ValueError."""
    from pyarrow import ArrowException

    return ArrowException


def _opened(path: Path) -> Any:
    """The bytes of a file, unpacked where its name ends in .gz."""
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else open(path, "rb")


KINDS_OF_FILE = (  # first bytes -> (what it is, what to do); {name} is the file's
    (b"\xff\xfe\0\0", "is text in UTF-32", "convert it: `iconv -f UTF-32 -t UTF-8`"),
    (b"\x1f\x8b", "is gzip under another name", "rename it to {name}.gz, or unpack it"),
    (b"PK", "is a zip file or an Excel workbook", "unpack it, or save the sheet as CSV (UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel workbook", "open it and save the sheet as CSV (UTF-8)"),
    (b"PAR1", "is a Parquet file", "give it a name that ends in .parquet"),
    (
        b"\xff\xfe",
        "is text in UTF-16",
        "convert it: `iconv -f UTF-16 -t UTF-8`, or save it as UTF-8",
    ),
    (
        b"\xfe\xff",
        "is text in UTF-16",
        "convert it: `iconv -f UTF-16 -t UTF-8`, or save it as UTF-8",
    ),
    (b"BZh", "is bzip2", "unpack it (bunzip2)"),
    (b"\x28\xb5\x2f\xfd", "is zstd", "unpack it (unzstd)"),
    (b"7z\xbc\xaf", "is a 7z archive", "unpack it"),
    (b"Rar!", "is a RAR archive", "unpack it"),
    (b"\x89HDF", "is HDF5", "export the table as CSV (UTF-8)"),
    (b"RDX", "is a file of R", "write the table as CSV from R"),
    (
        b"version https://git-lfs",
        "is a pointer of Git LFS",
        "fetch the table itself (git lfs pull)",
    ),
    (b"{", "is JSON", "fetch the table itself: a server may have answered with a message"),
    (b"\xfd7zXZ", "is xz", "unpack it (unxz)"),
    (b"%PDF", "is a PDF", "fetch the table itself"),
)


def _as_named(path: Path) -> None:
    """Raise where the first bytes show another kind of file than text."""
    with _opened(path) as file:
        start = file.read(512)
    for mark, what, remedy in KINDS_OF_FILE:
        if start.startswith(mark):
            raise DataError(
                f"{what}, not a text table", file=path, remedy=remedy.format(name=path.name)
            )
    page = (b"<!doctype", b"<html", b"<head", b"<body", b"<title", b"<?xml", b"<!--")
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(page):
        raise DataError(
            "is a web page, not a table",
            file=path,
            remedy="the server answered with a login or error page: fetch the file again",
        )
    low, high = sorted((start[::2].count(0), start[1::2].count(0)))
    if high > max(2, len(start) // 4) and low <= high // 10:
        raise DataError(
            "is text in UTF-16",
            file=path,
            remedy="convert it: `iconv -f UTF-16LE -t UTF-8`, or save it as UTF-8",
        )
    if b"\0" in start:
        raise DataError(
            "holds bytes that are no text", file=path, remedy="fetch or export it again"
        )


def _equal_rows(path: Path, separator: str, before: int = 0) -> list[str]:
    """The cells of the first row; raises where a later one has more cells or fewer. So many lines
    `before` it are passed over.
    """
    first: list[str] = []
    row, began, held = 0, 1, ""
    with _opened(path) as lines:
        for number, raw in enumerate(lines, start=1):
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            if "\0" in line or ("\r" in line and '"' not in line and not held):
                raise DataError(
                    "holds bytes that are no text"
                    if "\0" in line
                    else "rows end in a carriage return alone",
                    file=path,
                    row=number,
                    remedy="a disk or a download has damaged it: fetch or export it again"
                    if "\0" in line
                    else "save it with the line ends of Unix or Windows (`tr '\\r' '\\n'`)",
                )
            if held or '"' in line:
                held = f"{held}\n{line}" if held else line
                if held.count('"') % 2:  # the quoted cell goes on in the next line
                    continue
                line, cells = held, next(csv.reader([held], delimiter=separator), [""])
                held, count = "", len(cells)
            else:
                count = line.count(separator) + 1
            if number <= before or not line.strip():
                began = number + 1
                continue
            row += 1
            if row == 1:
                first = next(csv.reader([line], delimiter=separator))
                _right_separator(path, line, separator)
            elif count != len(first):
                raise DataError(
                    f"{count} cells where the first row has {len(first)}",
                    file=path,
                    row=began,
                    remedy="rows end in a separator too many: remove it"
                    if count > len(first)
                    else "the row, or the file, is cut short: fetch or export it again",
                )
            began = number + 1
    if held:
        raise DataError(
            "a quotation mark is never closed",
            file=path,
            row=began,
            remedy="the file is cut short, or a mark is missing: fetch or export it again",
        )
    return first


def _right_separator(path: Path, line: str, separator: str) -> None:
    """Raise where a header without a single separator has those of another kind of table."""
    others = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
    for other, name in others.items():
        fewest = 2 if other in ",|" else 1  # a comma or a bar may stand in a name
        if other != separator and separator not in line and line.count(other) >= fewest:
            wanted = others[separator]
            raise DataError(
                f"cells are separated by {name}, not by {wanted}",
                file=path,
                row=1,
                remedy=f"save it with {wanted} between the cells and points in the numbers"
                if other in ";|"
                else f"name it {'.csv' if other == ',' else '.tsv'}, or save it with {wanted}",
            )


def numbers(
    frame: pd.DataFrame,
    column: Any,
    path: str | os.PathLike,
    whole: bool = True,
    first_row: int = 2,
    missing: bool = False,
    label: str | None = None,
) -> pd.Series:
    """A column as int64 (`whole`) or float64.

    Parameters
    ----------
    whole : ids; such a number keeps all its digits, so that 7.0001E+05 is none
    first_row : the file's row of index 0
    missing : allows empty cells (which stay missing: float64)
    label : what a message calls the column

    Raises
    ------
    DataError
        A cell that is empty or no such number, with its row.
    """
    cells, label = frame[column], label or str(column)
    if cells.dtype.kind not in "iufOTSU" and not isinstance(cells.dtype, pd.StringDtype):
        if not pd.api.types.is_numeric_dtype(cells) or pd.api.types.is_bool_dtype(cells):
            raise DataError(
                f"column {label} holds values of type {cells.dtype}, not numbers",
                file=path,
                remedy="export it as numbers",
            )
    try:
        values = pd.to_numeric(cells, errors="coerce").astype("float64")
    except (TypeError, OverflowError):  # lists, digits without end
        values = pd.Series(np.nan, cells.index)
    bad = ~np.isfinite(values)
    if whole:
        shortened = (
            cells.astype(str).str.contains("e", case=False) if cells.dtype.kind != "f" else False
        )
        bad |= (values % 1 != 0) | (values.abs() >= 2.0**53) | shortened
    if missing:
        bad &= cells.notna()
    if bad.any():
        place = bad.idxmax()
        cell = cells.loc[place]
        empty = cell is None or (np.isscalar(cell) and pd.isna(cell))
        kind = "whole" if whole else "finite"
        raise DataError(
            f"{label} {'is empty: it' if empty else repr(str(cell))} is not a {kind} number",
            file=path,
            row=int(place) + first_row,
            remedy="give it, or drop the row"
            if empty
            else "a spreadsheet has shortened it: export the column as text"
            if whole and "e" in str(cell).lower()
            else "correct the row or drop it",
        )
    return values.astype("int64") if whole and not missing else values


def require_columns(
    found: Iterable[str], wanted: Iterable[str] | None, file: str | os.PathLike | None = None
) -> None:
    """Raise `DataError` unless every name of `wanted` is among `found`, naming the missing ones and
    what is there.
    """
    found = list(found)
    missing = [name for name in wanted or () if name not in found]
    if missing:
        there = ", ".join(map(str, found[:20]))
        raise DataError(
            f"missing column {', '.join(map(repr, missing))}",
            file=file,
            row=1,
            remedy=f"rename or add it; the table has: {there}",
        )


def _row_of_bad_byte(path: Path) -> int | None:
    with _opened(path) as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return None


@contextmanager
def atomic_write(path: str | os.PathLike, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """Open a file to write that takes its place when it is complete: readers see the old one or the
    new one, whole. Text is UTF-8 with Unix line ends.

    What is written goes to a hidden file beside `path`, reaches the disk and is renamed. After an
    error nothing of it is left, and the old file is as it was; what a killed process of this
    machine left is removed by the next that writes there.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with atomic_write(Path(folder) / "note.txt") as file:
    ...         _ = file.write("whole")
    ...     [(path.name, path.read_text()) for path in Path(folder).iterdir()]
    [('note.txt', 'whole')]

    Parameters
    ----------
    path : file to make or replace; its folder must be there
    mode : "w" for text, "wb" for bytes
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    here = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
    _sweep(path, here)
    part = path.with_name(f".{path.name}.{here}-{os.getpid()}-{secrets.token_hex(4)}.part")
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with open(part, mode.replace("w", "x"), **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == str(part):
            error.filename = str(path)  # what the caller knows
        raise


def _sweep(path: Path, here: str) -> None:
    """Remove what processes of this machine that are no more have left beside a file."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.{here}-*.part"):
        number = part.name.split("-")[-2]
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            part.unlink(missing_ok=True)
        except (OSError, ValueError):  # somebody else's process
            continue


@contextmanager
def appearing(out: Path) -> Iterator[Path]:
    """A folder to fill that takes the place of `out` at the end, or vanishes after an error; one
    process at a time.

    Raises
    ------
    DataError
        `out` is there already and not empty, or cannot be written.
    """
    if not out.name:
        raise DataError(
            "is there already", file=out, remedy="name a folder that does not exist yet"
        )
    new = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with lock(out):
            try:
                if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
                    raise DataError(
                        "is there already",
                        file=out,
                        remedy="name a folder that does not exist yet; what is there is never "
                        "overwritten",
                    )
                shutil.rmtree(new, ignore_errors=True)  # left by a process that was killed
                new.mkdir()
                yield new
                new.replace(out)
            finally:
                shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"cannot be written ({error.strerror or error})",
            file=error.filename or out,
            remedy="name a folder you may write to, with space left",
        ) from None


@contextmanager
def lock(path: str | os.PathLike, timeout: float | None = None) -> Iterator[None]:
    """Hold `path` alone: other processes that lock it wait. A killed process lets go at once.

    Parameters
    ----------
    path : file or folder that is about to change, there or not; its folder must be there
    timeout : seconds to wait; None waits for ever

    Raises
    ------
    DataError
        Another process has held it for longer than `timeout`.
    """
    from filelock import FileLock, Timeout

    path = Path(path)
    held = FileLock(
        path.with_name(f".{path.name}.lock"), timeout=-1 if timeout is None else timeout
    )
    try:
        held.acquire()
    except Timeout:
        raise DataError(
            f"another process has been writing here for {timeout:g} s",
            file=path,
            remedy="wait until it has ended, then run the same command again",
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):  # who waits for a file that is gone makes a new one, and locks that
            Path(held.lock_file).unlink()
        held.release()


def cache_file(kind: str, parts: Sequence[str], suffix: str = "npy") -> Path:
    """Path for something made from `parts` (texts), under `CLMT_CACHE` or the user's cache folder:
    other parts, another file.
    """
    folder = expanded(os.environ.get("CLMT_CACHE") or "~/.cache/clmt_lib")
    digest = hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:24]
    return folder / f"{kind}-{digest}.{suffix}"


def read_cached(path: Path | None) -> Any:
    """The stored array, or dictionary of arrays (.npz); None where there is none or it cannot be
    read: a cache that is lost or damaged only costs time.
    """
    try:
        if not path or not path.exists():
            return None
        stored = np.load(path)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            return stored
        with stored:
            return dict(stored)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return None


def write_cached(path: Path | None, table: np.ndarray | dict[str, Any]) -> None:
    """Keep an array, or a dictionary of arrays (.npz); whole or not at all. A folder that cannot be
    written is passed over.
    """
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, "wb") as file:
            np.savez(file, **table) if isinstance(table, dict) else np.save(file, table)
    except OSError:
        return
