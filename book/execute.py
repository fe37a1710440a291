"""Execute the chapters: notebooks/NAME.ipynb -> book/notebooks/NAME.ipynb.

    python book/execute.py            the chapters whose committed outputs are not current
    python book/execute.py --fresh    all of them
    python book/execute.py --store    all of them, and outputs and fingerprints are stored
    python book/execute.py --store reproduction        this chapter alone
    python book/execute.py --prove    nothing is stored: nbval executes what is not current and
    compares, and a chapter whose outputs are the same is current again
    python book/execute.py --real gdsc2   all of them on real tables (CLMT_DATA), into _build/real;
    seconds and memory become the record chapters-gdsc2
    python book/execute.py --real gdsc2 reproduction   these chapters alone; what the record
    holds of the others stays

Chapters are committed with their outputs, and book/fingerprints.json says what those were made
from: the code of the notebook, the code of the library, the results it reads, the pinned versions.
A chapter whose fingerprint is what is there now is copied; the others are executed.

Each notebook runs in a process of its own, two at a time, on one thread, in the folder notebooks/.
A chapter appears under its name only when all of it ran, and is made by one process at a time.
What is told to end, or is killed, takes its notebooks along.
"""

import argparse
import ast
import base64
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import tokenize
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # the library of this checkout, installed or not
    sys.path.insert(0, str(ROOT))

from clmt_lib.io import atomic_write, lock  # noqa: E402

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
PICTURES = ("image/png", "image/svg+xml")
NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
UNREAD = ("cli", "predict.py")  # of the library, what no chapter reads
PAPERMILL = """
import os, threading

def leave():
    os.read(0, 1)  # returns when the process that started this one has ended, however it did
    os._exit(1)

threading.Thread(target=leave, daemon=True).start()
from papermill.__main__ import papermill
papermill()
"""
READS_RESULTS = re.compile(r"experiments/|\brecords\.(?!reproducibility_line\b)\w")


class ChapterError(Exception):
    """A chapter did not run to its end, or lost its pictures."""


def chapters(root: Path = ROOT) -> list[Path]:
    """The notebooks of `root`, by name."""
    return sorted((root / "notebooks").glob("*.ipynb"))


def chosen(only: Sequence[str], root: Path = ROOT) -> list[Path]:
    """The notebooks with these names, or all; raises ChapterError where a name is unknown."""
    unknown = sorted(set(only) - {path.stem for path in chapters(root)})
    if unknown:
        raise ChapterError(f"no chapter {unknown[0]}")
    return [path for path in chapters(root) if not only or path.stem in only]


def _hash(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        part = part if isinstance(part, bytes) else part.encode()
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]


def code_of(text: str) -> str:
    r"""What of Python code can change a result: its lines without comments, docstrings and blanks.

    >>> print(code_of("x = 1  # one\n\n# Then two.\ny = 2"))
    x = 1
    y = 2
    """
    lines, said = text.splitlines(), set()
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            and ast.get_docstring(node, clean=False) is not None
        ):
            said |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    kept = (line.rstrip() for number, line in enumerate(lines, 1) if number not in said)
    return "\n".join(line for line in kept if line)


def _meaning(path: Path) -> str | bytes:
    return code_of(path.read_text(encoding="utf-8")) if path.suffix == ".py" else path.read_bytes()


def _hash_files(files: list[Path], root: Path) -> str:
    return _hash(
        *(
            part
            for path in sorted(files)
            for part in (path.relative_to(root).as_posix(), _meaning(path))
        )
    )


def shared_inputs(root: Path = ROOT) -> dict[str, str]:
    """Hash (hex) of what many chapters depend on: the code of the library and its tables, the
    committed results with their configurations, the pinned versions. Each file is read once.
    """
    library = [
        path
        for path in (root / "clmt_lib").rglob("*")
        if path.suffix in (".py", ".tsv")
        and path.relative_to(root / "clmt_lib").parts[0] not in UNREAD
    ]
    results = [
        path
        for folder in ("results", "configs", "profiles")
        for path in (root / "experiments" / folder).glob("**/*")
        if path.is_file() and not path.name.startswith((".", "simulated"))
    ]
    return {
        "library": _hash_files(library, root),
        "results": _hash_files(results, root),
        "versions": _hash(
            *(path.read_bytes() for path in [root / "requirements.lock"] if path.is_file())
        ),
    }


def fingerprint(notebook: Path, shared: dict[str, str]) -> dict[str, str]:
    """What the outputs of `notebook` depend on, as hashes: its code with the stored outputs, and of
    the `shared_inputs` those it reads. Its prose is not among them.
    """
    cells = [cell for cell in _read(notebook)["cells"] if cell["cell_type"] == "code"]
    sources = [_text(cell["source"]) for cell in cells]
    outputs = json.dumps([_joined_streams(cell["outputs"]) for cell in cells], sort_keys=True)
    found = {"notebook": _hash(*sources, outputs), **shared}
    if not READS_RESULTS.search("\n".join(sources)):
        del found["results"]
    return found


def stored_fingerprints(root: Path = ROOT) -> dict[str, dict[str, str]]:
    """The committed fingerprints, by chapter; none where the file is missing."""
    path = root / "book" / "fingerprints.json"
    return _read(path) if path.is_file() else {}


def stale(notebook: Path, shared: dict[str, str], stored: dict[str, dict[str, str]]) -> list[str]:
    """What changed since the outputs of `notebook` were stored, by name; empty where they are
    current.
    """
    then, now = stored.get(notebook.stem, {}), fingerprint(notebook, shared)
    return sorted(name for name in {*then, *now} if then.get(name) != now.get(name))


def places(notebook: Path, root: Path = ROOT) -> tuple[Path, Path]:
    """Where the executed copy of `notebook` and its stamp lie."""
    target = root / "book" / "notebooks" / notebook.name
    return target, target.with_name(f".{notebook.stem}.stamp")


def _stamp(notebook: Path, shared: dict[str, str]) -> str:
    return _hash(notebook.read_bytes(), json.dumps(fingerprint(notebook, shared)))


def is_executed(notebook: Path, shared: dict[str, str], root: Path = ROOT) -> bool:
    """Whether the executed copy was made from exactly what is there now."""
    target, stamp = places(notebook, root)
    return (
        target.is_file()
        and stamp.is_file()
        and stamp.read_text(encoding="utf-8") == _stamp(notebook, shared)
    )


def bring(notebook: Path, shared: dict[str, str], root: Path = ROOT) -> None:
    """Copy a chapter whose committed outputs are current to where the book is built from."""
    target, stamp = places(notebook, root)
    if is_executed(notebook, shared, root):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with lock(target):
        stamp.unlink(missing_ok=True)
        with atomic_write(target, "wb") as file:
            file.write(notebook.read_bytes())
        stamp.write_text(_stamp(notebook, shared), encoding="utf-8")


def _joined_streams(outputs: list[dict]) -> list[dict]:
    """Outputs with consecutive pieces of one stream joined: where a stream is cut is a matter of
    timing.
    """
    joined = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if (
            output["output_type"] == "stream"
            and last.get("output_type") == "stream"
            and last["name"] == output["name"]
        ):
            last["text"] = _text(last["text"]) + _text(output["text"])
        else:
            joined.append(dict(output))
    return joined


def _text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "".join(value)


def lighter(picture: bytes) -> bytes:
    """A PNG in as few colours (32 to 256) as look the same, a third of the size or less; the
    picture itself where that gains nothing.
    """
    import numpy as np
    from PIL import Image

    drawn = Image.open(io.BytesIO(picture)).convert("RGBA")
    for colours in (32, 64, 128, 256):
        few = drawn.quantize(colours, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        away = np.abs(np.asarray(few.convert("RGBA"), int) - np.asarray(drawn, int))
        if away.mean() < 0.05 and (away > 2).mean() < 0.001:  # of 255
            break
    out = io.BytesIO()
    few.save(out, "PNG", optimize=True)
    return min(out.getvalue(), picture, key=len)


def _lighter(output: dict) -> dict:
    """An output with its PNG in few colours, and its table without blank space between tags and
    columns: the chapters are committed with both.
    """
    data = dict(output.get("data", {}))
    if "image/png" in data:
        few = base64.b64encode(lighter(base64.b64decode(_text(data["image/png"]))))
        data["image/png"] = few.decode() + "\n"
    if "<table" in _text(data.get("text/html", "")):
        data["text/html"] = re.sub(r"\s*\n\s*(?=<)", "", _text(data["text/html"]))
        if "text/plain" in data:  # the same table once more, which nobody sees
            data["text/plain"] = re.sub(r" {2,}", " ", _text(data["text/plain"]))
    return {**output, "data": data} if data else output


def normalised(notebook: dict) -> dict:
    """`notebook` (parsed JSON) without times, paths and versions and with light pictures, so that
    a diff shows only what changed.
    """
    cells = []
    for cell in notebook["cells"]:
        kept = {
            k: v
            for k, v in cell["metadata"].items()
            if k not in ("papermill", "execution") and (k, v) != ("tags", [])
        }
        cell = {**cell, "metadata": kept}
        if cell["cell_type"] == "code":
            cell["outputs"] = [_lighter(output) for output in _joined_streams(cell["outputs"])]
        cells.append(cell)
    return {**notebook, "metadata": NOTEBOOK_METADATA, "cells": cells}


def pictures(notebook: dict) -> set[int]:
    """Numbers of the cells of `notebook` (parsed JSON) whose outputs hold a picture."""
    return {
        number
        for number, cell in enumerate(notebook["cells"])
        if any(
            kind in output.get("data", {})
            for output in cell.get("outputs", [])
            for kind in PICTURES
        )
    }


def _expects_picture(notebook: dict) -> set[int]:
    """Cells that draw: they show a figure, or their committed copy holds one."""
    shows = {
        n
        for n, cell in enumerate(notebook["cells"])
        if cell["cell_type"] == "code" and "plt.show()" in _text(cell["source"])
    }
    return shows | pictures(notebook)


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, notebook: dict) -> None:
    """Write a notebook the way nbformat does (lists of lines, sorted keys), whole or not at all."""
    import nbformat

    with atomic_write(path) as file:
        file.write(nbformat.writes(nbformat.from_dict(notebook)) + "\n")


@contextmanager
def at_once(jobs: int) -> Iterator[tuple[ThreadPoolExecutor, set[subprocess.Popen]]]:
    """Threads that each look after a process, and the set of these; after an error, or when told to
    end, nothing else is begun and they are ended.
    """
    running: set[subprocess.Popen] = set()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield pool, running
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                process.terminate()
            raise


def run_process(
    command: list[str], root: Path, environment: dict[str, str], running: set[subprocess.Popen]
) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a process, which is in `running` while it runs; the end of its
    standard input tells it that this one has ended.
    """
    theirs, ours = os.pipe()
    try:
        process = subprocess.Popen(
            command,
            cwd=root,
            env=environment,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.add(process)
        try:
            out, err = process.communicate()
        finally:
            running.discard(process)
    finally:
        os.close(theirs)
        os.close(ours)
    return process.returncode, out, err


def run_notebook(
    notebook: Path,
    root: Path = ROOT,
    parameters: Sequence[tuple[str, str]] = (),
    folder: Path | None = None,
    running: set[subprocess.Popen] | None = None,
) -> dict:
    """Run one notebook in a process of its own, with papermill's (name, value) `parameters`, and
    return it executed and normalised (parsed JSON).

    Unfinished work lies in `folder` (where the executed copy goes, unless named), where no other
    process may run this notebook. `running`: as in `run_process`.

    Raises ChapterError with the end of the traceback, or with the cells that should hold a picture
    and do not.
    """
    folder = folder or places(notebook, root)[0].parent
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f".{notebook.stem}.running-*.ipynb"):  # by one that was killed
        left.unlink(missing_ok=True)
    temporary = folder / f".{notebook.stem}.running-{os.getpid()}.ipynb"
    environment = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"} | ONE_THREAD
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(root), os.environ.get("PYTHONPATH")])
    )
    relative = [path.relative_to(root).as_posix() for path in (notebook, temporary)]
    command = [
        sys.executable,
        "-c",
        PAPERMILL,
        *relative,
        "-k",
        "python3",
        "--cwd",
        "notebooks",
        "--no-progress-bar",
        "--log-level",
        "ERROR",
    ]
    command += [word for name, value in parameters for word in ("-p", name, value)]
    try:
        code, _, said = run_process(
            command, root, environment, set() if running is None else running
        )
        if code:
            raise ChapterError("\n".join(said.strip().splitlines()[-25:]))
        executed = normalised(_read(temporary))
    finally:
        temporary.unlink(missing_ok=True)
    missing = (
        sorted(_expects_picture(_read(notebook)) - pictures(executed)) if not parameters else []
    )  # on real tables a chapter may have less to draw
    if missing:
        raise ChapterError(
            f"cells {missing} should show a figure and hold no image (was a plotting backend "
            "forced?)"
        )
    return executed


def execute(
    notebook: Path,
    shared: dict[str, str],
    store: bool = False,
    root: Path = ROOT,
    running: set[subprocess.Popen] | None = None,
) -> float:
    """Execute one chapter into book/notebooks (and back into notebooks/ with `store`); returns the
    seconds it took.

    Raises ChapterError as `run_notebook`, or where the notebook was edited meanwhile.
    """
    start = time.perf_counter()
    target, stamp = places(notebook, root)
    target.parent.mkdir(parents=True, exist_ok=True)
    with lock(target):
        stamp.unlink(missing_ok=True)
        before, made_from = notebook.read_bytes(), _stamp(notebook, shared)
        executed = run_notebook(notebook, root, running=running)
        if notebook.read_bytes() != before:
            raise ChapterError("was edited while it was executed: run the same again")
        if store:
            _write(notebook, executed)
            made_from = _stamp(notebook, shared)
        _write(target, executed)
        stamp.write_text(made_from, encoding="utf-8")
        if store:
            add_fingerprints({notebook.stem: fingerprint(notebook, shared)}, root)
    return time.perf_counter() - start


def execute_real(
    dataset: str, only: Sequence[str] = (), root: Path = ROOT
) -> dict[str, dict[str, int]]:
    """Execute chapters (all, or `only` these names) on the real tables of `dataset`, one after the
    other; returns {chapter: {"seconds", "peak_memory_mb"}} as each one's last line tells them.
    """
    folder, out = root / "_build" / "real" / dataset, {}
    for notebook in chosen(only, root):
        folder.mkdir(parents=True, exist_ok=True)
        with lock(folder / notebook.name):
            parameters = (("profile", "real"), ("dataset", dataset))
            executed = run_notebook(notebook, root, parameters, folder)
            _write(folder / notebook.name, executed)
        told = re.findall(
            r"(\d+) s, peak memory (\d+) MB", json.dumps(executed["cells"][-1]["outputs"])
        )
        if not told:
            raise ChapterError(f"{notebook.name} does not end with its reproducibility line")
        out[notebook.stem] = {"seconds": int(told[-1][0]), "peak_memory_mb": int(told[-1][1])}
        print(f"   {notebook.name}: {told[-1][0]} s, {told[-1][1]} MB", flush=True)
    return out


def _record_real(dataset: str, only: Sequence[str] = (), root: Path = ROOT) -> None:
    """The record `chapters-<dataset>`: what every chapter took on real tables. With `only`, the
    others' numbers are kept.
    """
    from clmt_lib.records import derived, provenance, read, write_derived
    from clmt_lib.training import pick_device

    found, home, name = (
        execute_real(dataset, only, root),
        root / "experiments",
        f"chapters-{dataset}",
    )
    if only and derived(name, home):
        there = {notebook.stem for notebook in chapters(root)}
        before = read(name, home).metrics
        found = {**{key: row for key, row in before.items() if key in there}, **found}
    parts = {
        "config": {"dataset": dataset, "profile": "real"},
        "metrics": found,
        "provenance": provenance(None, device=str(pick_device())),
    }
    write_derived(name, parts, home)


def _drop_strangers(root: Path) -> None:
    """Remove executed copies whose notebook is gone."""
    names = {path.name for path in chapters(root)}
    for path in (root / "book" / "notebooks").glob("*.ipynb"):
        if path.name not in names:
            path.unlink()


def make(
    everything: bool = False,
    store: bool = False,
    jobs: int = 2,
    only: Sequence[str] = (),
    root: Path = ROOT,
) -> int:
    """Bring or execute every chapter, or `only` these names; returns 1 when one failed, else 0."""
    _drop_strangers(root)
    shared, stored, todo, failed = shared_inputs(root), stored_fingerprints(root), {}, 0
    for path in chosen(only, root):
        changed = stale(path, shared, stored)
        if everything or store:
            todo[path] = ""
        elif not changed:
            bring(path, shared, root)
        elif not is_executed(path, shared, root):
            todo[path] = f" ({', '.join(changed)} changed)"
    print(f"   {len(todo)} of {len(chapters(root))} chapters to execute", flush=True)
    with at_once(jobs) as (pool, running):
        results = {path: pool.submit(execute, path, shared, store, root, running) for path in todo}
        for path, result in results.items():
            try:
                print(f"   {path.name}{todo[path]}: {result.result():.0f} s", flush=True)
            except (ChapterError, OSError) as error:
                failed = 1
                print(f"   {path.name}: FAILED\n{error}", file=sys.stderr, flush=True)
    return failed


def prove(jobs: int = 2, only: Sequence[str] = (), root: Path = ROOT) -> int:
    """Execute the chapters that are not current and compare every printed value with the stored
    one; where all are the same, write the new fingerprint. Returns 1 when one differs, else 0.

    So a change of the library that leaves the pages as they are costs no new outputs.
    """
    shared, stored = shared_inputs(root), stored_fingerprints(root)
    todo = [path for path in chosen(only, root) if stale(path, shared, stored)]
    print(f"   {len(todo)} of {len(chapters(root))} chapters to prove", flush=True)

    def same(notebook: Path) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "pytest", "-q", "--nbval", "-p", "no:cacheprovider"]
        command += ["-c", str(ROOT / "pyproject.toml"), str(notebook)]
        environment = {**os.environ, **ONE_THREAD}
        return run_process(command, ROOT, environment, running)

    failed, before = 0, {path: fingerprint(path, shared) for path in todo}
    with at_once(jobs) as (pool, running):
        for path, (code, out, _) in zip(todo, pool.map(same, todo)):
            if code:
                failed = 1
                print(f"   {path.name}: DIFFERS\n{out[-3000:]}", file=sys.stderr, flush=True)
            else:
                add_fingerprints({path.stem: before[path]}, root)
                print(f"   {path.name}: the same", flush=True)
    return failed


def add_fingerprints(made: dict[str, dict[str, str]], root: Path = ROOT) -> None:
    """Write into book/fingerprints.json what the stored outputs of some chapters were made from."""
    names = {path.stem for path in chapters(root)}
    path = root / "book" / "fingerprints.json"
    path.parent.mkdir(exist_ok=True)
    with lock(path):
        told = {**stored_fingerprints(root), **made}
        kept = {name: found for name, found in told.items() if name in names}
        with atomic_write(path) as file:
            file.write(json.dumps(kept, indent=1, sort_keys=True) + "\n")


def main(argv: list[str] | None = None, root: Path = ROOT) -> int | str | None:
    """Command line; what it returns is for `sys.exit`: 1 or a message when a chapter failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--fresh", action="store_true", help="execute every chapter, current or not"
    )
    parser.add_argument(
        "--store",
        action="store_true",
        help="execute every chapter, and store outputs and fingerprints",
    )
    parser.add_argument(
        "--prove",
        action="store_true",
        help="compare what is not current with its stored outputs; where they are the same, say so",
    )
    parser.add_argument("--jobs", type=int, default=2, help="chapters at a time (default 2)")
    parser.add_argument(
        "--real",
        metavar="DATASET",
        help="execute every chapter on real tables, and record what it took",
    )
    parser.add_argument(
        "only",
        metavar="CHAPTER",
        nargs="*",
        help="these chapters alone, such as reproduction",
    )
    options = parser.parse_args(argv)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # clears up, as after an error
    try:
        if options.real:
            return _record_real(options.real, options.only, root)
        if options.prove:
            return prove(options.jobs, options.only, root)
        return make(options.fresh, options.store, options.jobs, options.only, root)
    except (ChapterError, OSError) as error:
        return f"FAILED\n{error}"
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
