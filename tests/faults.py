"""Faults on purpose: a command is killed, told to end, out of disk, out of time or not alone, and
is then run again.

    python tests/faults.py            200 faults over every command (some five minutes)
    python tests/faults.py --only run --faults 20 --seed 3

Each fault strikes a process of its own at a random one of the moments at which the command touches
its files. Afterwards what was finished before is as it was, nothing half-written is taken for
whole, no process is left, and the same command, run again, ends with what an undisturbed one makes
and leaves nothing else. A sample runs in the tests (test_hostile.py).
"""

import argparse
import contextlib
import errno
import functools
import hashlib
import http.server
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

KINDS = ("kill", "term", "full", "read-only", "size", "clock", "late", "late-term", "two")
FEW = {  # of a command that starts processes, which import everything anew
    "grid": ("late", "late-term"),
    "book": ("late", "kill", "late-term", "two", "full", "size", "term"),
}
TOUCHES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}
ENDED = {0, 1, 2, 130, 143}  # exit codes of a command that ended in order
SECONDS = 120  # of one command, at most
MOST_BAD = 3  # faults that are not met well, then no more are tried: each may take minutes
SMALL = {"cells": 24, "drugs": ["Erlotinib", "Gefitinib", "Olaparib", "Paclitaxel", "Docetaxel"]}
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
NETWORK = {"members": 1, "steps": 12, "hidden": 8, "dim": 4, "message": 4}


@dataclass(frozen=True)
class Scene:
    """A command in a folder.

    Attributes
    ----------
    made : fills the folder with what the command needs
    words : the command line, given the folder
    result : what counts of what it made, given the folder
    """

    name: str
    made: Callable[[Path], None]
    words: Callable[[Path], list[str]]
    result: Callable[[Path], object]


def tree(folder: Path, but: tuple[str, ...] = ()) -> dict[str, str]:
    """Path -> checksum of every file, but for those of these names."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in but
    }


# --- commands


def _config(model: str, **settings: object) -> dict:
    body = {"dataset": "simulated", "split": "mixed", "model": model, "settings": settings}
    return {**body, "seed": 0, "fold": 0, "options": SMALL}


def _write_config(folder: Path, model: str, **settings: object) -> None:
    (folder / "c.json").write_text(json.dumps(_config(model, **settings)))


def _run_words(folder: Path) -> list[str]:
    return ["run", "--config", str(folder / "c.json"), "--records", str(folder / "home")]


def _run_result(folder: Path) -> object:
    """Metrics and predictions of every run: times and memory aside."""
    from clmt_lib import records

    home, out = folder / "home", {}
    for path in sorted((home / "runs").glob("[!.]*")):
        record = records.read(path.name, home)
        predictions = record.predictions
        assert predictions is not None, f"{path.name} has no predictions"
        out[path.name] = (json.dumps(record.metrics), predictions["predicted"].tolist())
    return out


@functools.lru_cache(1)
def _finished() -> Path:
    """Records of three finished runs, to be copied."""
    from clmt_lib import records

    home = Path(tempfile.mkdtemp(prefix="clmt-faults-"))
    for model in ("effects", "drug_mean", "cell_mean"):
        records.run(records.RunConfig("simulated", "mixed", model, options=SMALL), home)
    return home


def _with_runs(folder: Path) -> None:
    shutil.copytree(_finished(), folder / "home")
    rows = "dataset: simulated, split: mixed, seeds: [0], folds: [0], models: [effects, drug_mean]"
    (folder / "grid.yaml").write_text(f"runs: [{{{rows}, options: {json.dumps(SMALL)}}}]")


def _report_result(folder: Path) -> object:
    """Every summary: where, when and in how much memory it was made aside."""
    path = folder / "home" / "results" / "derived" / "summary.json"
    found = json.loads(path.read_text())
    for key in ("provenance", "checksum"):  # the second is of the first too
        del found[key]
    return {"summary": json.dumps(found, sort_keys=True)} | tree(
        folder / "home" / "results", but=("summary.json",)
    )


def _with_grid(folder: Path) -> None:
    _with_runs(folder)
    shutil.rmtree(folder / "home")


def _with_tables(folder: Path) -> None:
    from clmt_lib import records

    _with_runs(folder)
    records.collect(folder / "home")


def _downloads(folder: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parent / "unit"))
    try:
        import test_releases as releases
    finally:
        sys.path.pop(0)
    (folder / "in").mkdir()
    for name, text in releases.downloads_of()[0].items():
        (folder / "in" / name).write_text(text)


def _screen(folder: Path) -> None:
    from clmt_lib.data.response import screen

    screen.new(folder / "screen", True)


def _fit_words(folder: Path) -> list[str]:
    options = ["--options", json.dumps(SMALL)]
    return ["fit", "simulated", *options, "--out", str(folder / "model")]


@functools.lru_cache(1)
def _model() -> Path:
    from clmt_lib.cli import main

    folder = Path(tempfile.mkdtemp(prefix="clmt-faults-"))
    assert main(["-q", *_fit_words(folder)]) == 0
    return folder / "model"


def _with_model(folder: Path) -> None:
    shutil.copytree(_model(), folder / "model")


@contextlib.contextmanager
def mirror() -> Iterator[str]:
    """The address of a server, in this process, of one file of some size."""
    place = Path(tempfile.mkdtemp(prefix="clmt-faults-"))
    (place / "Model.csv").write_text("ModelID\n" + "ACH-000001\n" * 40_000)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def copyfile(self, source: object, outputfile: object) -> None:
            with contextlib.suppress(ConnectionError):  # who asked was killed
                super().copyfile(source, outputfile)

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=place)
    )
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    os.environ["no_proxy"] = "*"
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        shutil.rmtree(place)


def scenes(address: str) -> dict[str, Scene]:
    """The commands by name."""
    found = [
        Scene("run", lambda f: _write_config(f, "effects"), _run_words, _run_result),
        Scene("network", lambda f: _write_config(f, "clmt", **NETWORK), _run_words, _run_result),
        Scene(
            "grid",
            _with_grid,
            lambda f: [
                *("run", "--grid", str(f / "grid.yaml")),
                *("--records", str(f / "home"), "--jobs", "2"),
            ],
            _run_result,
        ),
        Scene(
            "collect",
            _with_runs,
            lambda f: ["collect", "--records", str(f / "home")],
            lambda f: tree(f / "home" / "results"),
        ),
        Scene(
            "report",
            _with_tables,
            lambda f: [
                *("report", "--grid", str(f / "grid.yaml")),
                *("--records", str(f / "home")),
            ],
            _report_result,
        ),
        Scene(
            "fetch",
            lambda f: None,
            lambda f: [
                *("data", "fetch", "depmap_models", "--to", str(f / "to")),
                *("--mirror", address, "--accept-terms"),
            ],
            lambda f: tree(f / "to", but=("checksums.json",)),
        ),
        Scene(
            "prepare",
            _downloads,
            lambda f: ["data", "prepare", str(f / "in"), str(f / "out")],
            lambda f: tree(f / "out"),
        ),
        Scene("new", lambda f: None, lambda f: ["new", str(f / "s")], lambda f: tree(f / "s")),
        Scene("fit", lambda f: None, _fit_words, lambda f: sorted(tree(f / "model"))),
        Scene(
            "predict",
            _with_model,
            lambda f: ["predict", str(f / "model"), "--out", str(f / "p.csv")],
            lambda f: tree(f, but=()),
        ),
        Scene("book", _with_chapter, lambda f: ["book", "--store"], _chapter_result),
    ]
    return {scene.name: scene for scene in found}


def _with_chapter(folder: Path) -> None:
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    (folder / "notebooks").mkdir()
    sources = ["import time", *(f"time.sleep(0.1)\nprint({number})" for number in range(4))]
    kernel = {"name": "python3", "display_name": "Python 3"}
    cells = [new_markdown_cell("# One", id="m"), *map(new_code_cell, sources)]
    for number, cell in enumerate(cells):
        cell["id"] = str(number)
    notebook = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "notebooks" / "one.ipynb")


def _chapter_result(folder: Path) -> object:
    """The chapter, where it is stored and where the book is built from, and what they were made
    from.
    """
    (folder / ".jupyter").mkdir(exist_ok=True)
    found = {name: sum_ for name, sum_ in tree(folder).items() if not name.startswith(".jupyter")}
    printed = json.loads((folder / "notebooks" / "one.ipynb").read_text())["cells"][1:]
    assert [len(cell["outputs"]) for cell in printed] == [0, 1, 1, 1, 1]
    return found


def _call(words: list[str], folder: Path) -> int:
    """What a command ends with."""
    if words[0] != "book":
        from clmt_lib.cli import main

        return main(words)
    import execute

    os.environ["JUPYTER_RUNTIME_DIR"] = str(folder / ".jupyter")  # names the folder to its kernels
    ended = execute.main(words[1:], folder)
    if isinstance(ended, str):
        print(ended, file=sys.stderr)
    return ended if isinstance(ended, int) else int(ended is not None)


# --- faults


def _strike(kind: str, at: int, folder: Path, chance: random.Random) -> list[str]:
    """Make this process meet a fault when it touches a file of `folder` for the `at`th time; what
    it touched is in the list.
    """
    touched: list[str] = []
    root = f"{folder}{os.sep}"

    def hook(event: str, arguments: tuple) -> None:
        if event == "open":
            path, _, flags = arguments
            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event in TOUCHES:
            path = arguments[0]
        else:
            return
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        if not os.fsdecode(path).startswith(root):
            return
        touched.append(f"{event} {os.fsdecode(path)}")
        seen = len(touched)
        if kind in ("kill", "clock") and seen == at:
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == "term" and seen == at:
            os.kill(os.getpid(), signal.SIGTERM)
        elif kind in ("full", "read-only") and seen >= at and event != "os.remove":
            number = errno.ENOSPC if kind == "full" else errno.EROFS
            raise OSError(number, os.strerror(number), os.fsdecode(path))

    if kind == "size":
        most = chance.choice((0, 100, 3_000, 20_000))
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    if kind == "clock":
        true, shift = time.time, chance.choice((-1e9, -3600.0, 1e8))
        time.time = lambda: true() + shift
    sys.addaudithook(hook)
    return touched


def _start(words: list[str], folder: Path, kind: str = "", at: int = 0, seed: int = 0) -> int:
    """The process id of a command that a fault may strike."""
    place = folder.parent / f"{folder.name}.said"
    said = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND)  # there, however early it ends
    pid = os.fork()
    if pid:
        os.close(said)
        return pid
    code = 70
    try:
        os.setsid()
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.stdout = open(1, "w", closefd=False)
        sys.stderr = open(2, "w", closefd=False)
        touched = _strike(kind, at, folder, random.Random(seed)) if kind else []
        code = _call(words, folder)
        sys.stdout.flush()
        if kind == "count":
            (folder.parent / f"{folder.name}.count").write_text(str(len(touched)))
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 - whatever it was, the parent reads it
        import traceback

        with contextlib.suppress(OSError):
            traceback.print_exc()
            sys.stderr.flush()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)


def _end(pid: int) -> int:
    """Exit code of a process, or minus the signal that ended it."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # and what it started
    os.waitpid(pid, 0)
    raise AssertionError(f"did not end in {SECONDS} s")


def _left(session: int, folder: Path) -> list[int]:
    """Processes of a session, or with this folder on their command line, that are still there."""
    out = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            own = int((place / "stat").read_text().rsplit(")", 1)[1].split()[3]) == session
            if own or os.fsencode(f"{folder}{os.sep}") in (place / "cmdline").read_bytes():
                out.append(int(place.name))
    return out


@dataclass
class Undisturbed:
    """What a command makes when nothing happens: its result, its files, and how often it touches
    them.
    """

    result: object
    files: dict[str, str]
    touches: int
    seconds: float


def undisturbed(scene: Scene, base: Path) -> Undisturbed:
    """Run a command without a fault."""
    folder = base / f"{scene.name}-calm"
    folder.mkdir()
    scene.made(folder)
    start = time.monotonic()
    code = _end(_start(scene.words(folder), folder, "count"))
    seconds = time.monotonic() - start
    assert code == 0, (base / f"{folder.name}.said").read_text()
    touches = int((base / f"{folder.name}.count").read_text())
    return Undisturbed(scene.result(folder), tree(folder), touches, seconds)


def _difference(found: object, expected: object) -> object:
    """What differs, in short."""
    if isinstance(found, dict) and isinstance(expected, dict):
        return sorted(
            str(key) for key in set(found) | set(expected) if found.get(key) != expected.get(key)
        )
    return f"{found} and {expected}"


def meet(scene: Scene, calm: Undisturbed, base: Path, kind: str, seed: int) -> str:
    """Let a fault strike a command, look at what it left, run it again; returns how it ended.

    Raises
    ------
    AssertionError
        Something finished was lost, something half-written was believed, or something was left.
    """
    chance = random.Random(f"{scene.name} {kind} {seed}")
    folder = base / f"{scene.name}-{kind}-{seed}"
    folder.mkdir()
    scene.made(folder)
    before = tree(folder)
    words = scene.words(folder)
    at = chance.randint(1, calm.touches)
    if kind == "two":
        pids = [_start(words, folder) for _ in range(2)]
        codes = [_end(pid) for pid in pids]
        assert 0 in codes and set(codes) <= {0, 2}, codes
    elif kind.startswith("late"):
        pids = [_start(words, folder)]
        time.sleep(chance.uniform(0, calm.seconds))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[0], signal.SIGTERM if kind == "late-term" else signal.SIGKILL)
        codes = [_end(pids[0])]
    else:
        pids = [_start(words, folder, kind, at, seed)]
        codes = [_end(pids[0])]
    said = (base / f"{folder.name}.said").read_text()
    assert all(code in ENDED or -code in (signal.SIGKILL, signal.SIGTERM) for code in codes), (
        codes,
        said,
    )
    assert "Traceback" not in said or "one.ipynb: FAILED" in said, said  # of a notebook, it may
    until = time.monotonic() + 10
    while any(_left(pid, folder) for pid in pids) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(_left(pid, folder) for pid in pids), "a process is left"
    now = tree(folder)
    lost = [name for name in before if now.get(name) not in (before[name], calm.files.get(name))]
    assert not lost, f"changed or lost: {lost}"
    code = _end(_start(words, folder))
    again = (base / f"{folder.name}.said").read_text()
    refused = scene.name in ("prepare", "new", "fit") and code == 2 and "already" in again
    assert code == 0 or refused, (code, again)
    found = scene.result(folder)
    assert found == calm.result, (
        f"another result than undisturbed: {_difference(found, calm.result)}"
    )
    strays = {name for name in tree(folder) if not name.endswith(".lock")} - set(
        calm.files
    )  # empty
    strays = {name for name in strays if not name.startswith(".jupyter")}  # of killed kernels
    assert not strays, f"left behind: {sorted(strays)}"
    shutil.rmtree(folder)
    return f"{scene.name} {kind} at {at} of {calm.touches}: {codes}"


def strike(count: int, only: list[str], seed: int = 0, say: Callable[[str], None] = print) -> int:
    """So many faults over these commands (none: all), or fewer where `MOST_BAD` were not met well;
    returns how many were not.
    """
    bad = 0
    base = Path(tempfile.mkdtemp(prefix="clmt-faults-")).resolve()
    try:
        with mirror() as address:
            known = scenes(address)
            names = only or [name for name in known if name not in FEW]
            calm = {name: undisturbed(known[name], base) for name in names}
            for number in range(count):
                name = names[number % len(names)]
                kinds = FEW.get(name, KINDS)
                kind = kinds[(number // len(names)) % len(kinds)]
                try:
                    say(meet(known[name], calm[name], base, kind, seed + number))
                except AssertionError as error:
                    bad += 1
                    say(f"BAD {name} {kind} {seed + number}: {error}")
                    if bad == MOST_BAD:
                        say(f"{bad} faults not met well: no more are tried")
                        break
    finally:
        shutil.rmtree(base, ignore_errors=True)
        for made in (_finished, _model):
            if made.cache_info().currsize:
                shutil.rmtree(made(), ignore_errors=True)
            made.cache_clear()
    return bad


def main() -> None:
    """The command line."""
    os.environ.update(ONE_THREAD)  # before torch is imported: its threads do not survive a fork
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "book")]
    os.environ.pop("CLMT_DATA", None)
    import clmt_lib.models
    import clmt_lib.records  # noqa: F401 - before the processes that are struck are made

    bad = strike(chosen.faults, chosen.only, chosen.seed)
    for name, kinds in {} if chosen.only or bad else FEW.items():
        bad += strike(max(4, len(kinds)), [name], chosen.seed)
    print(f"{chosen.faults} faults, {bad} not met well")
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
