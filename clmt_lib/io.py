"""Files: tables read with one message for every bad one (file, row, remedy), whatever is written
replaced whole, one process at a time, and what is costly kept by content.
"""

import gzip
import hashlib
import os
import secrets
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pandas as pd


class DataError(ValueError):
    """Bad input. The message names what is wrong, where (file, row) and what to do about it, in one
    line, whatever the value that it quotes.
    """

    def __init__(
        self,
        what: str,
        *,
        file: str | os.PathLike | None = None,
        row: int | None = None,
        remedy: str | None = None,
    ) -> None:
        where = ", ".join(
            part
            for part in (str(file) if file else "", f"row {row}" if row is not None else "")
            if part
        )
        text = (f"{where}: " if where else "") + what + (f". Remedy: {remedy}" if remedy else "")
        super().__init__(" ".join(line.strip() for line in text.splitlines()))


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
    path = Path(named).expanduser()
    if not path.is_dir():
        raise DataError("no such folder", file=named, remedy=GET_DATA)
    if not os.access(path, os.R_OK | os.X_OK):
        raise DataError(
            "folder cannot be read",
            file=named,
            remedy="give yourself permission to read it (chmod u+rx)",
        )
    return path / part if (path / part).is_dir() else path


def read_table(
    path: str | os.PathLike, columns: Iterable[str] | None = None, **options: Any
) -> pd.DataFrame:
    """Read CSV, TSV (plain or gzipped) or Parquet into a frame, with errors that say what to do.

    Parameters
    ----------
    path : file whose name ends in .csv, .tsv, .txt (optionally .gz) or .parquet
    columns : names that must be there; only these are kept. None keeps all.
    options : passed to the pandas reader.

    Raises
    ------
    DataError
        Missing or unreadable file, truncated gzip, text that is not UTF-8, unknown layout, missing
        column, no rows.
    """
    path = Path(path)
    columns = None if columns is None else list(columns)
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
    except (pd.errors.ParserError, OSError, ValueError) as error:
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
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        require_columns(pq.read_schema(path).names, columns, path)
        return pd.read_parquet(path, columns=columns, **options)
    plain = path.name.removesuffix(".gz")
    if not plain.endswith((".csv", ".tsv", ".txt")):
        raise DataError(
            f"unknown kind of file {path.suffix!r}",
            file=path,
            remedy="use .csv, .tsv, .txt (optionally .gz) or .parquet",
        )
    frame = pd.read_csv(
        path, sep="," if plain.endswith(".csv") else "\t", low_memory=False, **options
    )
    require_columns(frame.columns, columns, path)
    return frame if columns is None else frame[columns]


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
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as lines:
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
    error nothing of it is left, and the old file is as it was.

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
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with open(part, mode.replace("w", "x"), **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


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
    folder = Path(os.environ.get("CLMT_CACHE") or Path("~/.cache/clmt_lib").expanduser())
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
