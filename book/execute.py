"""Execute the chapters: notebooks/NN_name.ipynb -> book/notebooks/NN_name.ipynb.

    python book/execute.py            the chapters whose notebook, library, records or lock changed
    python book/execute.py --fresh    all of them
    python book/execute.py --store    and write the outputs back to notebooks/ (what is committed)
    python book/execute.py --real gdsc2   all of them on real tables (CLMT_DATA), into _build/real;
    seconds and memory become the record chapters-gdsc2
    python book/execute.py --real gdsc2 09_reproduction   these chapters alone; what the record
    holds of the others stays

Each notebook runs in a process of its own, two at a time, on one thread, in the folder notebooks/.
A chapter appears under its name only when all of it ran; its stamp holds a hash of everything it
was made from.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
PICTURES = ("image/png", "image/svg+xml")
NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}


class ChapterError(Exception):
    """A chapter did not run to its end, or lost its pictures."""


def chapters(root=ROOT):
    """The notebooks of `root`, in reading order."""
    return sorted((root / "notebooks").glob("[0-9][0-9]*_*.ipynb"))


def _made_from(root):
    """Files that every chapter depends on: the library, what is committed of the records, grids,
    studies and claims, the lock and this file.
    """
    found = [path for path in (root / "clmt_lib").rglob("*") if "__pycache__" not in path.parts]
    found += [
        path
        for path in (root / "experiments" / "records").glob("[!.]*/*")
        if not path.name.startswith((".", "predictions", "draws"))
    ]
    found += (root / "experiments").glob("**/*.yaml")
    return sorted(
        path
        for path in [*found, root / "requirements.lock", root / "book" / "execute.py"]
        if path.is_file()
    )


def fingerprint(notebook, root=ROOT):
    """Hash (hex) of all that decides what the executed `notebook` looks like."""
    digest = hashlib.sha256()
    for path in [notebook, *_made_from(root)]:
        name = path.relative_to(root).as_posix()
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def places(notebook, root=ROOT):
    """Where the executed copy of `notebook` and its stamp lie."""
    target = root / "book" / "notebooks" / notebook.name
    return target, target.with_name(f".{notebook.stem}.stamp")


def is_current(notebook, root=ROOT):
    """Whether the executed copy was made from exactly what is there now."""
    target, stamp = places(notebook, root)
    return (
        target.is_file()
        and stamp.is_file()
        and stamp.read_text(encoding="utf-8") == fingerprint(notebook, root)
    )


def _joined_streams(outputs):
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


def _text(value):
    return value if isinstance(value, str) else "".join(value)


def normalised(notebook):
    """`notebook` (parsed JSON) without times, paths and versions, so that a diff shows only what
    changed.
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
            cell["outputs"] = _joined_streams(cell["outputs"])
        cells.append(cell)
    return {**notebook, "metadata": NOTEBOOK_METADATA, "cells": cells}


def pictures(notebook):
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


def _expects_picture(notebook):
    """Cells that draw: they show a figure, or their committed copy holds one."""
    shows = {
        n
        for n, cell in enumerate(notebook["cells"])
        if cell["cell_type"] == "code" and "plt.show()" in _text(cell["source"])
    }
    return shows | pictures(notebook)


def _read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path, notebook):
    """Write a notebook the way nbformat does (lists of lines, sorted keys), through a temporary
    file.
    """
    import nbformat

    from clmt_lib.io import atomic_write

    with atomic_write(path) as file:
        file.write(nbformat.writes(nbformat.from_dict(notebook)) + "\n")


def run_notebook(notebook, root=ROOT, parameters=(), folder=None):
    """Run one notebook in a process of its own, with papermill's (name, value) `parameters`, and
    return it executed and normalised (parsed JSON).

    Unfinished work lies in `folder` (where the executed copy goes, unless named).

    Raises ChapterError with the end of the traceback, or with the cells that should hold a picture
    and do not.
    """
    folder = folder or places(notebook, root)[0].parent
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{notebook.stem}.running.ipynb"
    environment = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"} | ONE_THREAD
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(root), os.environ.get("PYTHONPATH")])
    )
    relative = [path.relative_to(root).as_posix() for path in (notebook, temporary)]
    command = [
        sys.executable,
        "-m",
        "papermill",
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
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise ChapterError("\n".join(done.stderr.strip().splitlines()[-25:]))
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


def execute(notebook, store=False, root=ROOT):
    """Execute one chapter into book/notebooks (and back into notebooks/ with `store`); returns the
    seconds it took.
    """
    start = time.perf_counter()
    target, stamp = places(notebook, root)
    stamp.unlink(missing_ok=True)
    before = fingerprint(notebook, root)
    executed = run_notebook(notebook, root)
    if store:
        _write(notebook, executed)
        before = fingerprint(notebook, root)
    _write(target, executed)
    stamp.write_text(before, encoding="utf-8")
    return time.perf_counter() - start


def execute_real(dataset, only=(), root=ROOT):
    """Execute chapters (all, or `only` these names) on the real tables of `dataset`, one after the
    other; returns {chapter: {"seconds", "peak_memory_mb"}} as each one's last line tells them.
    """
    folder, out = root / "_build" / "real" / dataset, {}
    unknown = sorted(set(only) - {notebook.stem for notebook in chapters(root)})
    if unknown:
        raise ChapterError(f"no chapter {unknown[0]}")
    for notebook in (path for path in chapters(root) if not only or path.stem in only):
        executed = run_notebook(notebook, root, (("profile", "real"), ("dataset", dataset)), folder)
        _write(folder / notebook.name, executed)
        told = re.findall(
            r"(\d+) s, peak memory (\d+) MB", json.dumps(executed["cells"][-1]["outputs"])
        )
        if not told:
            raise ChapterError(f"{notebook.name} does not end with its reproducibility line")
        out[notebook.stem] = {"seconds": int(told[-1][0]), "peak_memory_mb": int(told[-1][1])}
        print(f"   {notebook.name}: {told[-1][0]} s, {told[-1][1]} MB", flush=True)
    return out


def _record_real(dataset, only=(), root=ROOT):
    """The record `chapters-<dataset>`: what every chapter took on real tables. With `only`, the
    others' numbers are kept.
    """
    from clmt_lib.records import home
    from clmt_lib.records.provenance import provenance
    from clmt_lib.records.runs import write
    from clmt_lib.training import pick_device

    found = execute_real(dataset, only, root)
    final = home(root / "experiments" / "records") / f"chapters-{dataset}"
    final.mkdir(parents=True, exist_ok=True)
    if only and (final / "metrics.json").exists():
        there = {notebook.stem for notebook in chapters(root)}
        found = {
            **{name: row for name, row in _read(final / "metrics.json").items() if name in there},
            **found,
        }
    for name, part in {
        "config": {"dataset": dataset, "profile": "real"},
        "metrics": found,
        "provenance": provenance(None, device=str(pick_device())),
    }.items():
        write(final / f"{name}.json", part)


def _drop_strangers(root):
    """Remove executed copies whose notebook is gone."""
    names = {path.name for path in chapters(root)}
    for path in (root / "book" / "notebooks").glob("*.ipynb"):
        if path.name not in names:
            path.unlink()


def main(argv=None):
    """Command line; what it returns is for `sys.exit`: 1 or a message when a chapter failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--fresh", action="store_true", help="execute every chapter, changed or not"
    )
    parser.add_argument("--store", action="store_true", help="write the outputs back to notebooks/")
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
        help="with --real: these chapters alone, such as 09_reproduction",
    )
    options = parser.parse_args(argv)
    if options.real:
        try:
            return _record_real(options.real, options.only)
        except ChapterError as error:
            return f"FAILED\n{error}"
    _drop_strangers(ROOT)
    todo = [path for path in chapters() if options.fresh or not is_current(path)]
    print(f"   {len(todo)} of {len(chapters())} chapters to execute", flush=True)
    failed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        running = {path: pool.submit(execute, path, options.store) for path in todo}
        for path, result in running.items():
            try:
                print(f"   {path.name}: {result.result():.0f} s", flush=True)
            except ChapterError as error:
                failed += 1
                print(f"   {path.name}: FAILED\n{error}", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
