"""Reading tables from files, so that every bad file gives one message: file, row, remedy."""

import gzip
import os
import zlib
from pathlib import Path

import pandas as pd


class DataError(ValueError):
    """Bad input. The message names what is wrong, where (file, row) and what to do about it."""

    def __init__(self, what, *, file=None, row=None, remedy=None):
        where = ", ".join(
            part
            for part in (str(file) if file else "", f"row {row}" if row is not None else "")
            if part
        )
        super().__init__(
            (f"{where}: " if where else "") + what + (f". Remedy: {remedy}" if remedy else "")
        )


GET_DATA = (
    "set CLMT_DATA to a folder of prepared tables; to make one from the official downloads: "
    "`clmt data list`, `clmt data fetch`, `clmt data prepare`. The simulated world needs no data"
)


def locate(folder=None):
    """Folder of the prepared drug-response tables: `folder`, else the environment's `CLMT_DATA`
    (it, or its `drp/`).

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
    return path / "drp" if (path / "drp").is_dir() else path


def read_table(path, columns=None, **options):
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


def _read(path, columns, options):
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        require_columns(pq.read_schema(path).names, columns, path)
        return pd.read_parquet(
            path, columns=list(columns) if columns is not None else None, **options
        )
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
    return frame if columns is None else frame[list(columns)]


def require_columns(found, wanted, file=None):
    """Raise `DataError` unless every name of `wanted` is among `found`, naming the missing ones and
    what is there.
    """
    missing = [name for name in wanted or () if name not in set(found)]
    if missing:
        there = ", ".join(map(str, list(found)[:20]))
        raise DataError(
            f"missing column {', '.join(map(repr, missing))}",
            file=file,
            row=1,
            remedy=f"rename or add it; the table has: {there}",
        )


def _row_of_bad_byte(path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return None
