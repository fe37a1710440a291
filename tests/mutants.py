"""Would the tests notice? Plants small bugs, one at a time, and runs the tests that reach them.

    make mutants              a random sample of 300 over what the models compute
    make mutants ONLY=stack   one module; JOBS=2: two at a time; AGAIN=1: only those that survived
    python tests/mutants.py --seed 1 --minutes 4    another sample, some of it

A first run of the tests notes which test reaches which line. Each mutant is then planted in a copy
of the tree and meets, in a process of its own, the tests that reach its line, quick ones first, and
then whatever else stands in their files. It is killed by a failing test or by the clock. Results
are kept in _build/mutants/, so that a run that was stopped goes on where it was.
"""

import argparse
import ast
import copy
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "_build" / "mutants"
TESTS = {  # module of clmt_lib -> the test files that are about it
    "data/splits": "splits sides references numbers interaction",
    "views/omics": "views stack references numbers",
    "nn/contrast": "contrast nn language",
    "tasks/metrics": "metrics tasks references models",
    "tasks/bootstrap": "bootstrap",
    "training": "nn network training",
    "models/clmt/corrected": "clmt network numbers",
    "models/kernels": "references models textworth numbers new_entities stack",
    "models/stack": "stack references new_entities numbers",
    "models/baselines/linear": "references models numbers new_entities",
    "records/runs": "records stack",
}


def files_of(module: str) -> list[str]:
    """The test files of a module that exist."""
    names = [f"tests/unit/test_{word}.py" for word in TESTS[module].split()]
    return [name for name in names if (ROOT / name).exists()]


# --- the bugs

COMPARE = {
    ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.GtE), ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
}  # fmt: skip
BINARY = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
}  # fmt: skip


def variants(node: ast.AST, neighbours: list[str]) -> list[ast.AST]:
    """What may stand in the place of a node: small mistakes, each on its own."""
    out = []

    def changed(**fields):
        other = copy.copy(node)
        for name, value in fields.items():
            setattr(other, name, value)
        out.append(other)

    match node:
        case ast.Compare(ops=[op]):
            for kind in COMPARE[type(op)]:
                changed(ops=[kind()])
        case ast.BinOp() if type(node.op) in BINARY:
            changed(op=BINARY[type(node.op)]())
        case ast.BoolOp():
            changed(op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            out.append(node.operand)
        case ast.Constant(value=bool()):
            changed(value=not node.value)
        case ast.Constant(value=int() | float()):
            changed(value=node.value + 1)
            changed(value=node.value * 2 if node.value else -1)
        case ast.If() | ast.IfExp():
            changed(test=ast.UnaryOp(ast.Not(), node.test))
        case ast.AugAssign() | ast.Expr(value=ast.Call()):
            out.append(ast.Pass())
        case ast.Call():
            if len(node.args) > 1 and ast.dump(node.args[0]) != ast.dump(node.args[1]):
                changed(args=[node.args[1], node.args[0], *node.args[2:]])
            for i, keyword in enumerate(node.keywords):
                if keyword.arg:
                    changed(keywords=node.keywords[:i] + node.keywords[i + 1 :])
        case ast.Return(value=ast.Name(id=name)):
            for other in neighbours:
                if other != name:
                    changed(value=ast.Name(other, ast.Load()))
    return out


def places(node: ast.AST, neighbours: tuple[str, ...] = ()):
    """Every node that may be changed, with the local names around it; words are left alone."""
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.FunctionDef):
        names = {a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)} - {"self", "cls"}
        names |= {
            n.id for n in ast.walk(node) if isinstance(n, ast.Name) and type(n.ctx) is ast.Store
        }
        for child in [*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body]:
            yield from places(child, tuple(sorted(names)))
        return
    yield node, neighbours
    skipped = {"annotation", "decorator_list", "returns"}
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and field not in skipped:
                yield from places(child, neighbours)


def mutants(module: str) -> list[dict]:
    """All mutants of a module that compile: first and last line, the new text, how they read."""
    path = f"clmt_lib/{module}.py"
    source = (ROOT / path).read_bytes()
    starts = [0]
    for line in source.split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    out = {}
    for node, names in places(ast.parse(source)):
        for other in variants(node, list(names)):
            text = ast.unparse(other)
            if isinstance(node, ast.If):  # only its condition: the body keeps its comments
                node, text = node.test, ast.unparse(other.test)
            if isinstance(node, ast.expr):
                text = f"({text})"
            begin = starts[node.lineno - 1] + node.col_offset
            end = starts[node.end_lineno - 1] + node.end_col_offset
            new = source[:begin] + text.encode() + source[end:]
            try:
                compile(new, path, "exec")
            except SyntaxError:
                continue
            old, first, last = source[begin:end].decode(), node.lineno, node.end_lineno
            key = hashlib.sha1(new).hexdigest()[:12]
            out[key] = {
                "key": key, "module": module, "file": path, "line": first, "last": last,
                "old": old, "new": text, "source": new.decode(),
            }  # fmt: skip
    return list(out.values())


# --- the tests


class Lines:
    """A pytest plugin that notes which test reaches which line of the files of interest."""

    def __init__(self, tree: Path):
        """tree: the copy that is tested."""
        self.prefix, self.now, self.shared = str(tree / "clmt_lib") + "/", None, None
        self.reached, self.seconds = defaultdict(set), Counter()
        self.wanted = {str(tree / f"clmt_lib/{module}.py") for module in TESTS}

    def trace(self, frame, event, arg):
        """Follow calls, and lines only in the files of interest."""
        if frame.f_code.co_filename not in self.wanted:
            return None
        self.reached[frame.f_code.co_filename, frame.f_lineno].add(self.now)
        return self.trace

    def pytest_runtest_logstart(self, nodeid, location):
        """Begin to follow a test."""
        self.now, self.began = nodeid, time.perf_counter()
        sys.settrace(self.trace)

    def pytest_runtest_logfinish(self, nodeid, location):
        """Stop following it."""
        sys.settrace(None)
        self.seconds[nodeid] += time.perf_counter() - self.began

    def save(self, tree: Path):
        """Write what was found."""
        lines = defaultdict(set)
        for (file, number), tests in self.reached.items():
            lines[f"{Path(file).relative_to(tree)}:{number}"] |= tests - {None}
        found = {place: sorted(tests) for place, tests in lines.items()}
        (BUILD / "lines.json").write_text(json.dumps([found, self.seconds]))


def copied(name: str) -> Path:
    """A copy of the tracked tree to plant bugs in."""
    tree = BUILD / name
    shutil.rmtree(tree, ignore_errors=True)
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout
    for file in listed.splitlines():
        if not file.startswith("experiments/results/") and (ROOT / file).exists():
            (tree / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, tree / file)
    return tree


def forked(tree: Path, arguments: list[str], plugin: Lines | None = None) -> int:
    """Run pytest on a tree in a child; the child's process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setsid()
        os.chdir(tree)
        os.environ["PYTHONPATH"] = str(tree)
        sys.path[:0] = [str(tree), str(tree / "tests/unit")]
        log = os.open(BUILD / f"{tree.name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2)
        import pytest

        options = ["-q", "-o", "addopts=", "-p", "no:cacheprovider", "-p", "no:xdist"]
        code = pytest.main([*options, *arguments], [plugin] if plugin else None)
        if plugin:
            plugin.save(tree)
    finally:
        os._exit(int(code))


def preload() -> None:
    """Import what is heavy once, before the children are forked; never the library itself."""
    import hypothesis  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import pandas  # noqa: F401
    import rdkit.Chem  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.linear_model  # noqa: F401
    import torch_geometric  # noqa: F401


def reach(tree: Path, tests: list[str]) -> tuple[dict, dict]:
    """Line -> tests that reach it, and seconds of each test, from one run of all of them."""
    digest = hashlib.sha1()
    for path in [*(ROOT / "clmt_lib").rglob("*.py"), *(ROOT / name for name in tests)]:
        digest.update(path.read_bytes())
    known = BUILD / f"lines-{digest.hexdigest()[:12]}.json"
    if not known.exists():
        print(f"running {len(tests)} test files once, to see which lines they reach")
        _, status = os.waitpid(forked(tree, tests, plugin=Lines(tree)), 0)
        if os.waitstatus_to_exitcode(status):
            sys.exit(f"the tests fail without any mutant: see {BUILD / (tree.name + '.log')}")
        (BUILD / "lines.json").rename(known)
    return json.loads(known.read_text())


def plan(mutant: dict, lines: dict, seconds: dict, budget: float) -> tuple[list[str], float]:
    """The tests that a mutant meets, quick ones first, and the seconds it has."""
    files = set(files_of(mutant["module"]))
    span = range(mutant["line"], mutant["last"] + 1)
    near = {test for n in span for test in lines.get(f"{mutant['file']}:{n}", [])}
    near = {test for test in near if test.split("::")[0] in files}
    # What a fixture or a cache shares is reached by its first test only, what runs at import (a
    # default, a constant) by none: then the other tests of those files are asked, too.
    sharing = {f for f in files if re.search(r"cache|scope=", (ROOT / f).read_text("utf-8"))}
    wider = {test.split("::")[0] for test in near} & sharing if near else files
    far = {test for test in seconds if test.split("::")[0] in wider} - near
    chosen, total = [], 0.0
    for test in [*sorted(near, key=seconds.get), *sorted(far, key=seconds.get)]:
        total += seconds[test]
        if total < budget:
            chosen.append(test)
    return chosen, 30 + 4 * min(total, budget)


def run(
    chosen: list[dict],
    results: dict,
    jobs: int,
    budget: float,
    until: float,
    lines: dict,
    seconds: dict,
) -> None:
    """Plant every mutant without a result, `jobs` at a time and none after `until` (as
    `time.monotonic`); results are written one by one.
    """
    waiting = [mutant for mutant in chosen if mutant["key"] not in results]
    trees, busy, done = [copied(f"tree{i}") for i in range(jobs)], {}, len(chosen) - len(waiting)
    while waiting or busy:
        if time.monotonic() > until:
            waiting = []
        if waiting and trees:
            mutant, tree = waiting.pop(0), trees.pop()
            (tree / mutant["file"]).write_text(mutant["source"])
            tests, limit = plan(mutant, lines, seconds, budget)
            child = forked(tree, ["-x", *tests])
            busy[child] = mutant, tree, time.monotonic(), limit
            continue
        time.sleep(0.05)
        for child, (mutant, tree, began, limit) in list(busy.items()):
            ended, status = os.waitpid(child, os.WNOHANG)
            late = time.monotonic() - began > limit
            if not ended and not late:
                continue
            if not ended:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
            code = os.waitstatus_to_exitcode(status) if ended else None
            result = "timeout" if late and not ended else "killed" if code else "survived"
            spent, done = time.monotonic() - began, done + 1
            kept = {name: value for name, value in mutant.items() if name != "source"}
            results[mutant["key"]] = kept | {"result": result, "seconds": round(spent, 1)}
            write(results)
            print(
                f"{done}/{len(chosen)} {mutant['file']}:{mutant['line']} {result} {spent:.0f} s",
                flush=True,
            )
            shutil.copy(ROOT / mutant["file"], tree / mutant["file"])
            trees.append(tree)
            del busy[child]


def write(results: dict) -> None:
    """Write the results whole."""
    new = BUILD / "results.json.new"
    new.write_text(json.dumps(results, indent=1))
    new.replace(BUILD / "results.json")


def report(chosen: list[dict], results: dict) -> None:
    """Print the score of each module and the survivors as differences."""
    found = [results[mutant["key"]] for mutant in chosen if mutant["key"] in results]
    for module in TESTS:
        count = Counter(one["result"] for one in found if one["module"] == module)
        print(f"{module:28s} {count.total():4d} planted {count['survived']:4d} survived")
    alive = [one for one in found if one["result"] == "survived"]
    for one in sorted(alive, key=lambda one: (one["file"], one["line"])):
        print(f"\n{one['file']}:{one['line']} ({one['key']})\n- {one['old']}\n+ {one['new']}")
    killed = len(found) - len(alive)
    print(f"\n{killed} of {len(found)} mutants killed")


def main() -> None:
    """Draw the sample, plant what is missing, report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="modules whose name holds this")
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--budget", type=float, default=60, help="seconds of tests for a mutant")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="then none is begun")
    parser.add_argument("--again", action="store_true", help="plant the survivors once more")
    parser.add_argument("--report", action="store_true", help="only tell what is known")
    asked = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"  # before torch is imported: its threads do not survive a fork
    BUILD.mkdir(parents=True, exist_ok=True)
    modules = [m for m in TESTS if asked.only in m and (ROOT / f"clmt_lib/{m}.py").exists()]
    every = [mutant for module in modules for mutant in mutants(module)]
    chosen = random.Random(asked.seed).sample(every, min(asked.sample, len(every)))
    kept = BUILD / "results.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    if asked.again:
        results = {key: one for key, one in results.items() if one["result"] != "survived"}
    print(f"{len(chosen)} of {len(every)} possible mutants in {len(modules)} modules")
    if not asked.report:
        preload()
        tests = sorted({name for module in modules for name in files_of(module)})
        reached = reach(copied("clean"), tests)
        until = time.monotonic() + 60 * asked.minutes
        run(chosen, results, asked.jobs, asked.budget, until, *reached)
    report(chosen, results)


if __name__ == "__main__":
    main()
