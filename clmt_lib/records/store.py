"""Where results live: tables that are committed, and run folders that stay on their machine.

Below the home of the records (`experiments/`):

* `results/<benchmark>.jsonl`: one line a run, sorted by id: metrics, intervals, what was chosen,
  cost, and a checksum of the line; above them, once, what many runs share (resolved configuration,
  commit, machine) and the names of the values;
* `results/machines.jsonl`: versions and hardware, once;
* `results/histories/<benchmark>.jsonl.xz`: the learning curves of models that are trained in steps;
* `results/draws/<benchmark>.npz`: bootstrap draws of the models that new ones are compared with;
* `results/derived/<kind>.json`: what is made of runs (summaries, studies, transfers, benches), a
  page each;
* `runs/<id>/`: `run.json`, history, predictions and draws of a finished run; not committed.

A run writes its own folder and nothing else; `collect` folds finished folders into the tables. A
table is read whole or refused: a changed digit, a missing end or the line of another configuration
is named, never trusted.
"""

import hashlib
import json
import lzma
import math
import os
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib.config import plain
from clmt_lib.io import DataError, atomic_write, expanded, lock

RUN, PREDICTIONS, DRAWS, HISTORY = "run.json", "predictions.parquet", "draws.npy", "history.json"
COMPARED = ("kernel_omics", "kernel_text", "learned_kernel", "stack", "clmt")
"""Models that new ones are compared with: their draws are kept beside the tables."""
EACH = ("chosen", "interval", "peak_memory_mb", "seconds", "test", "valid")
"""What is another in every run of a configuration; a table says the rest once for all of them."""
PLACE = ("split", "seed", "fold")
RESTORE = "restore the file from version control; what is missing then can be run again"


def home(folder: str | Path | None = None) -> Path:
    """Folder that holds `results/` and `runs/`: `folder`, else `CLMT_RECORDS`, else the nearest
    `experiments` with results at or above the current folder, else `experiments` here.
    """
    named = folder or os.environ.get("CLMT_RECORDS")
    if named:
        return expanded(named)
    here = Path.cwd()
    above = (path / "experiments" for path in (here, *here.parents))
    return next((path for path in above if (path / "results").is_dir()), Path("experiments"))


@dataclass(frozen=True)
class Record:
    """A finished run, or what was made of several, as read from the tables.

    Attributes
    ----------
    name : id of the run, or name of the derived record
    path : folder of the run (which may be on another machine), or file of the derived record
    config : of a run, resolved: dataset, options, split, seed, fold, model, every setting, data
        checksum, version of the model
    metrics : of a run: `valid`, `test`, `interval`, `draws_used`, `chosen`
    provenance : cost, machine and commit
    """

    name: str
    path: Path
    config: dict
    metrics: dict
    provenance: dict

    @property
    def predictions(self) -> pd.DataFrame | None:
        """[role, position, predicted] frame; None where the run was made on another machine."""
        path = self.path / PREDICTIONS
        return pd.read_parquet(path) if path.exists() else None

    @property
    def draws(self) -> dict[str, np.ndarray] | None:
        """metric -> [draws] bootstrap draws of the reported metrics on the test set, the same draws
        of entities for every run on a benchmark; None where neither this machine nor the tables
        have them.
        """
        path = self.path / DRAWS
        if path.exists():
            found = np.load(path, allow_pickle=False)
        else:
            found = kept_draws(self.path.parents[1], self.config["dataset"]).get(self.name)
        names = sorted(self.metrics["interval"])
        return None if found is None else dict(zip(names, found, strict=True))

    @property
    def history(self) -> list[dict]:
        """Learning curve, one row an evaluation; empty for a model that is not trained in steps."""
        path = self.path / HISTORY
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
        table = histories(results(self.path.parents[1]), self.config["dataset"])
        columns = read_lines(table).get(self.name, {}).get("history", {})
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


# Lines with a checksum


def digest(body: Any, length: int = 16) -> str:
    """Hexadecimal digits over something JSON can hold, whatever the order of its keys.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(body, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def rounded(value: Any) -> Any:
    """`value` for JSON, floats rounded to six digits; what is not finite becomes null."""
    if isinstance(value, dict):
        return {str(key): rounded(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(part) for part in value]
    if isinstance(value, (float, np.floating)):
        return round(float(value), 6) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def line_of(body: dict) -> str:
    """JSON of `body` in one line, keys sorted, its checksum last.

    >>> line_of({"id": "a"})
    '{"id":"a","checksum":"e7349049bd0026b3"}'
    """
    return _signed(_compact(body)[:-1])


def page_of(body: dict) -> str:
    """JSON of `body` for a file of its own, laid out so that a difference is seen: a line for each
    key of the outer levels, and for each row of a list.

    >>> print(page_of({"rows": [{"a": 1}, {"a": 2}]}))
    {
    "rows":{
    "columns":["a"],
    "rows":[
    [1],
    [2]
    ]
    },
    "checksum":"89f91e9a78860752"}
    """
    return _signed(_laid_out(_tabled(body)).removesuffix("\n}"), "\n")


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))


def _signed(inner: str, space: str = "") -> str:
    own = hashlib.sha256(inner.encode()).hexdigest()[:16]
    return f'{inner},{space}"checksum":"{own}"}}'


def _laid_out(value: Any, depth: int = 0) -> str:
    if (
        isinstance(value, dict)
        and depth < 4
        and any(isinstance(v, (dict, list)) for v in value.values())
    ):
        lines = (f"{_compact(key)}:{_laid_out(value[key], depth + 1)}" for key in sorted(value))
        return "{\n" + ",\n".join(lines) + "\n}"
    if isinstance(value, list) and value and all(isinstance(v, (dict, list)) for v in value):
        return "[\n" + ",\n".join(map(_compact, value)) + "\n]"
    return _compact(value)


def _tabled(value: Any) -> Any:
    """`value` with each list of dictionaries that have the same keys as columns and rows."""
    if isinstance(value, dict):
        return {key: _tabled(part) for key, part in value.items()}
    if not isinstance(value, list) or not value or not all(isinstance(v, dict) for v in value):
        return value
    rows = [_flat(part) for part in value]
    if any(row.keys() != rows[0].keys() for row in rows):
        return value
    columns = sorted(rows[0])
    return {"columns": columns, "rows": [[row[key] for key in columns] for row in rows]}


def _flat(value: dict, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Entries of nested dictionaries by their path, such as "rmse/mean"."""
    out: dict[str, Any] = {}
    for key, part in value.items():
        whole = isinstance(part, dict) and part and not any("/" in name for name in part)
        out |= _flat(part, (*above, key)) if whole else {"/".join((*above, key)): part}
    return out


def _untabled(value: Any) -> Any:
    """What `_tabled` was given."""
    if not isinstance(value, dict):
        return value
    if value.keys() != {"columns", "rows"}:
        return {key: _untabled(part) for key, part in value.items()}
    out = []
    for row in value["rows"]:
        nested: dict = {}
        for path, part in zip(value["columns"], row, strict=True):
            *above, key = path.split("/")
            place = nested
            for name in above:
                place = place.setdefault(name, {})
            place[key] = part
        out.append(nested)
    return out


def body_of(text: str, file: Path, row: int | None = None) -> dict:
    """What `line_of` wrote. Raises DataError where the text was changed or cut since."""
    try:
        body = json.loads(text)
    except ValueError:
        raise DataError(
            "not whole: it was cut or damaged", file=file, row=row, remedy=RESTORE
        ) from None
    inner = text.rpartition('"checksum":"')[0].rstrip().removesuffix(",")
    told = body.pop("checksum", None) if isinstance(body, dict) else None
    if hashlib.sha256(inner.encode()).hexdigest()[:16] != told:
        name = f" of {body['id']}" if isinstance(body, dict) and "id" in body else ""
        raise DataError(
            f"the checksum{name} does not fit: something was changed by hand",
            file=file,
            row=row,
            remedy=RESTORE,
        )
    return body


def histories(tables: Path, dataset: str) -> Path:
    """The table of learning curves of a benchmark, in a folder of tables; compressed, for it is
    read by few.
    """
    return tables / "histories" / f"{dataset}.jsonl.xz"


def _text(path: Path) -> str:
    """What a table says; raises DataError where its compression is damaged."""
    if path.suffix != ".xz":
        return path.read_text(encoding="utf-8")
    try:
        return lzma.decompress(path.read_bytes()).decode("utf-8")
    except (lzma.LZMAError, UnicodeDecodeError) as error:
        raise DataError(f"the table is damaged: {error}", file=path, remedy=RESTORE) from None


def read_lines(path: Path) -> dict[str, dict]:
    """id -> body of each line of a table; empty where there is no such file.

    Raises
    ------
    DataError
        A line that was changed, twice there or out of order, or a table without its end.
    """
    try:
        stat = path.stat()
    except FileNotFoundError:
        return {}
    return _read_lines(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


@lru_cache(maxsize=64)
def _read_lines(path: Path, *stamp: int) -> dict[str, dict]:
    return {body["id"]: body for _, body in _read_numbered(path, *stamp)}


@lru_cache(maxsize=64)
def _read_numbered(path: Path, *stamp: int) -> list[tuple[int, dict]]:
    """(row of the file, body) of each line that is no head."""
    lines = _text(path).splitlines()
    bodies = [body_of(line, path, number) for number, line in enumerate(lines, start=1)]
    end = bodies.pop() if bodies else {}
    found, heads = [], {}
    for number, body in enumerate(bodies, start=1):
        if "head" in body:
            heads[body["head"]] = body
        else:
            found.append((number, _unpacked(body, heads, path, number)))
    if end != {"end": True, "lines": len(found)}:
        raise DataError(
            f"the table has no end, or not the {end.get('lines', '?')} lines that its end tells",
            file=path,
            remedy=RESTORE,
        )
    ids = [body["id"] for _, body in found]
    if ids != sorted(set(ids)):
        raise DataError("lines are twice there or out of order", file=path, remedy=RESTORE)
    return found


def write_lines(path: Path, lines: Iterable[dict]) -> None:
    """Replace a table whole: what several runs share, its lines sorted by id, and its end, which
    tells their number.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    heads: dict[str, dict] = {}
    ordered = [_packed(body, heads) for body in sorted(lines, key=lambda body: body["id"])]
    shared = sorted(heads.values(), key=lambda head: ("same" in head, head["head"]))
    end = {"end": True, "lines": len(ordered)}
    text = "".join(line_of(body) + "\n" for body in [*shared, *ordered, end]).encode()
    with atomic_write(path, "wb") as file:
        file.write(lzma.compress(text) if path.suffix == ".xz" else text)


def _packed(body: dict, heads: dict[str, dict]) -> dict:
    """The line of a run as values, with what they are and what it shares with others in `heads`; a
    line of another kind as it is.
    """
    if "config" not in body:
        return body
    values = _flat({key: body[key] for key in EACH if key in body})
    same = {key: part for key, part in body.items() if key not in (*EACH, "id", "config")}
    same["config"] = {key: part for key, part in body["config"].items() if key not in PLACE}
    columns = _head({"columns": sorted(values)}, heads)
    return {
        "at": [body["config"][key] for key in PLACE],
        "form": _head({"same": same, "values": columns}, heads),
        "id": body["id"],
        "values": [values[key] for key in sorted(values)],
    }


def _head(body: dict, heads: dict[str, dict]) -> str:
    """Name of a head, which is said by what it holds; put into `heads`."""
    name = digest(body, 8)
    heads[name] = {**body, "head": name}
    return name


def _unpacked(body: dict, heads: dict[str, dict], file: Path, row: int) -> dict:
    """What `_packed` was given."""
    if "form" not in body:
        return body
    form = heads.get(body["form"], {})
    columns = heads.get(form.get("values", ""), {}).get("columns")
    if columns is None or len(columns) != len(body["values"]):
        raise DataError(
            f"what the line {body['id']!r} shares with others is not there, or does not fit",
            file=file,
            row=row,
            remedy=RESTORE,
        )
    (each,) = _untabled({"columns": columns, "rows": [body["values"]]})
    config = form["same"]["config"] | dict(zip(PLACE, body["at"], strict=True))
    return {**form["same"], **each, "id": body["id"], "config": config}


# Runs


def results(folder: str | Path | None = None) -> Path:
    """Folder of the committed tables."""
    return home(folder) / "results"


def run_folder(name: str, folder: str | Path | None = None) -> Path:
    """Folder of a run on this machine, there or not."""
    return home(folder) / "runs" / name


def run_id(config: dict) -> str:
    """Readable name, and ten hexadecimal digits over the whole resolved configuration."""
    model = config["model"].replace(":", ".")
    where = f"{config['dataset']}-{config['split']}-s{config['seed']}-f{config['fold']}"
    return f"{where}-{model}-{digest(config, 10)}"


def table_of(dataset: str, folder: str | Path | None = None) -> dict[str, dict]:
    """id -> line of every run in the table of a benchmark; read once, until it is replaced.

    Raises
    ------
    DataError
        As `read_lines`, or a line whose id is not that of its configuration.
    """
    path = results(folder) / f"{dataset}.jsonl"
    try:
        stat = path.stat()
    except FileNotFoundError:
        return {}
    return _table(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


@lru_cache(maxsize=16)
def _table(path: Path, *stamp: int) -> dict[str, dict]:
    for number, line in _read_numbered(path, *stamp):
        check_line(line, path.stem, path, number)
    return _read_lines(path, *stamp)


def check_line(line: dict, dataset: str, file: Path, row: int | None = None) -> None:
    """Raise DataError where a line is not of the configuration, or the benchmark, that it names."""
    config = line.get("config", {})
    if config.get("dataset") != dataset or run_id(config) != line.get("id"):
        raise DataError(
            f"the line {line.get('id')!r} holds the configuration of another run, "
            f"{config.get('model')!r} on {config.get('dataset')!r}",
            file=file,
            row=row,
            remedy=RESTORE,
        )


def finished(name: str, folder: str | Path | None = None) -> dict | None:
    """The line of a run from its own folder; None where that is not there, or not whole."""
    path = run_folder(name, folder)
    try:
        line = body_of((path / RUN).read_text(encoding="utf-8"), path / RUN)
        check_line(line, line["config"]["dataset"], path / RUN)
        sizes = {part: (path / part).stat().st_size for part in line["files"]}
    except (OSError, UnicodeDecodeError, DataError, KeyError, TypeError):
        return None
    return line if line["id"] == name and sizes == line["files"] else None


def find(name: str, folder: str | Path | None = None) -> Record | None:
    """The record of a run by its id, from the tables or from its own folder; None where it is in
    neither.
    """
    line = table_of(name.split("-")[0], folder).get(name) or finished(name, folder)
    return None if line is None else _record(line, folder)


def _record(line: dict, folder: str | Path | None) -> Record:
    parts = ("valid", "test", "interval", "draws_used", "chosen")
    rest = {
        key: value
        for key, value in line.items()
        if key not in (*parts, "id", "config", "machine", "files")
    }
    machine = line["machine"]
    about = read_machines(folder)[machine] if isinstance(machine, str) else machine
    return Record(
        line["id"],
        run_folder(line["id"], folder),
        line["config"],
        {part: line[part] for part in parts if part in line},
        {**about, **rest},
    )


def read_machines(folder: str | Path | None = None) -> dict[str, dict]:
    """key -> versions, Python, hardware and threads of each machine that made a run."""
    found = read_lines(results(folder) / "machines.jsonl")
    return {name: {k: v for k, v in body.items() if k != "id"} for name, body in found.items()}


def runs(folder: str | Path | None = None) -> Iterator[Record]:
    """Every run of the tables, and every finished one of this machine that is not in them yet."""
    base, seen = home(folder), set()
    for path in sorted((base / "results").glob("*.jsonl")):
        if path.stem != "machines":
            for name, line in table_of(path.stem, base).items():
                seen.add(name)
                yield _record(line, base)
    for name in uncollected(base):
        own = None if name in seen else finished(name, base)
        if own is not None:
            yield _record(own, base)


def uncollected(folder: str | Path | None = None) -> list[str]:
    """Names of the run folders on this machine, whole or not."""
    base = home(folder) / "runs"
    return sorted(path.name for path in base.glob("[!.]*") if path.is_dir())


def collect(folder: str | Path | None = None) -> dict[str, int]:
    """Fold the finished runs of this machine into the tables, each table replaced whole; the run
    folders stay.

    Returns
    -------
    benchmark -> number of lines that are new.

    Raises
    ------
    DataError
        A table that cannot be trusted, or a run that is in it with other numbers.
    """
    base = home(folder)
    fresh: dict[str, dict[str, dict]] = {}
    if not (base / "runs").is_dir():
        return {}
    (base / "results").mkdir(parents=True, exist_ok=True)
    with lock(base / "results"):
        for name in uncollected(base):
            if (line := finished(name, base)) is not None:
                known = table_of(line["config"]["dataset"], base).get(name)
                if known is None:
                    fresh.setdefault(line["config"]["dataset"], {})[name] = line
        for dataset, lines in fresh.items():
            _fold(dataset, lines, base)
    return {dataset: len(lines) for dataset, lines in fresh.items()}


def _fold(dataset: str, lines: dict[str, dict], base: Path) -> None:
    """Write the draws and histories of new lines, then the machines, then the lines themselves."""
    machines = {name: {"id": name, **about} for name, about in read_machines(base).items()}
    curves = dict(read_lines(histories(base / "results", dataset)))
    draws, kept = dict(kept_draws(base, dataset)), len(machines)
    out, known, drawn = [], len(curves), len(draws)
    for name, line in lines.items():
        key = digest(line["machine"], 8)
        machines[key] = {"id": key, **line["machine"]}
        out.append({**{k: v for k, v in line.items() if k != "files"}, "machine": key})
        rows = json.loads((base / "runs" / name / HISTORY).read_text(encoding="utf-8"))
        if rows:
            columns = {key: [row.get(key) for row in rows] for key in rows[0]}
            curves[name] = {"id": name, "history": columns}
        if line["config"]["model"] in COMPARED:
            draws[name] = np.load(base / "runs" / name / DRAWS, allow_pickle=False)
    if len(draws) > drawn:
        write_draws(base, dataset, draws)
    if len(curves) > known:
        write_lines(histories(base / "results", dataset), curves.values())
    if len(machines) > kept:
        write_lines(base / "results" / "machines.jsonl", machines.values())
    write_lines(base / "results" / f"{dataset}.jsonl", [*table_of(dataset, base).values(), *out])


# Draws


def write_draws(folder: str | Path | None, dataset: str, draws: dict[str, np.ndarray]) -> None:
    """Keep [metrics, draws] of each run in one file: the mean exactly, and the deviation from it in
    half precision (an error of at most 3e-5 where a draw is 0.1 from the mean).
    """
    path = results(folder) / "draws" / f"{dataset}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    names = sorted(draws)
    table = np.stack([draws[name] for name in names]).astype(np.float64)  # [runs, metrics, draws]
    mean = np.nanmean(table, axis=2, keepdims=True)
    with atomic_write(path, "wb") as file:
        np.savez_compressed(file, names=np.array(names), mean=mean, deviation=_planes(table - mean))


def _planes(values: np.ndarray) -> np.ndarray:
    """[2, ...] uint8: the lower and the upper bytes of `values` in half precision, apart. Upper
    bytes are much alike, so a file of planes is smaller.
    """
    return np.moveaxis(values.astype("<f2")[..., None].view(np.uint8), -1, 0).copy()


def _of_planes(planes: np.ndarray) -> np.ndarray:
    """Float64 values of `_planes`."""
    joined = np.ascontiguousarray(np.moveaxis(planes, 0, -1)).view("<f2")
    return joined[..., 0].astype(np.float64)


def kept_draws(folder: str | Path | None, dataset: str) -> dict[str, np.ndarray]:
    """Id -> [metrics, draws] of the runs of a benchmark whose draws are kept."""
    path = results(folder) / "draws" / f"{dataset}.npz"
    try:
        stat = path.stat()
    except FileNotFoundError:
        return {}
    return _read_draws(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


@lru_cache(maxsize=16)
def _read_draws(path: Path, *stamp: int) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as parts:
            table = parts["mean"] + _of_planes(parts["deviation"])
            return dict(zip(parts["names"].tolist(), table, strict=True))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"the draws cannot be read ({error})", file=path, remedy=RESTORE) from None


# Derived records


def write_derived(name: str, parts: dict[str, Any], folder: str | Path | None = None) -> Record:
    """Write or replace a record made of runs (a summary, a study, a bench), and read it back.

    Parameters
    ----------
    parts : "config" (exact), "metrics" and "provenance" (floats rounded to six digits)
    """
    path = derived_file(name, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    body = {"id": name, "config": plain(parts["config"])} | {
        part: rounded(parts[part]) for part in ("metrics", "provenance")
    }
    with lock(path):
        pages = {**read_pages(path), name: page_of(body)}
        with atomic_write(path) as file:
            file.write("\n\n".join(pages[key] for key in sorted(pages)) + "\n")
    return read(name, folder)


def derived_file(name: str, folder: str | Path | None = None) -> Path:
    """File that holds a derived record, and the others whose names begin with the same word."""
    return results(folder) / "derived" / f"{name.split('-')[0]}.json"


def read_pages(path: Path) -> dict[str, str]:
    """name -> text of each record of a file of derived records; empty where there is none.

    Raises
    ------
    DataError
        The file was cut, or its records are twice there or out of order.
    """
    if not path.exists():
        return {}
    stat = path.stat()
    return _read_pages(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


@lru_cache(maxsize=64)
def _read_pages(path: Path, *stamp: int) -> dict[str, str]:
    pages = path.read_text(encoding="utf-8").rstrip("\n").split("\n\n")
    try:
        names = [json.loads(page)["id"] for page in pages]
    except (ValueError, KeyError, TypeError):
        raise DataError("not whole: it was cut or damaged", file=path, remedy=RESTORE) from None
    if names != sorted(set(names)):
        raise DataError("records are twice there or out of order", file=path, remedy=RESTORE)
    return dict(zip(names, pages, strict=True))


def derived(pattern: str, folder: str | Path | None = None) -> list[str]:
    """Names of the derived records that fit a pattern such as "summary-*", sorted."""
    paths = derived_file("", folder).parent.glob("*.json")
    names = (name for path in paths for name in read_pages(path))
    return sorted(name for name in names if fnmatchcase(name, pattern))


def is_derived(name: str, folder: str | Path | None = None) -> bool:
    """Whether there is such a derived record."""
    return name in read_pages(derived_file(name, folder))


def exists(name: str, folder: str | Path | None = None) -> bool:
    """Whether there is such a run, or such a derived record."""
    return is_derived(name, folder) or find(name, folder) is not None


def read(name: str, folder: str | Path | None = None) -> Record:
    """A run by its id, or a derived record by its name.

    Raises
    ------
    DataError
        It is not there, or it was changed since it was written.
    """
    path = derived_file(name, folder)
    page = read_pages(path).get(name)
    if page is not None:
        body = _untabled(body_of(page, path))
        return Record(name, path, *(body[part] for part in ("config", "metrics", "provenance")))
    found = find(name, folder)
    if found is None:
        raise DataError(f"no record {name!r}", file=home(folder), remedy="run its configuration")
    return found
