"""The house keeps its rules: imports point one way, public functions say their types, files are
written in one way, and what is installed is pinned.
"""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import clmt_lib

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "clmt_lib"
MODULES = sorted(LIBRARY.rglob("*.py"))
FLOORS = (  # each may import what lies before it; rooms of one floor do not see each other
    ("io",),
    ("config",),
    ("data",),
    ("views",),
    ("tasks", "nn", "audit"),
    ("training",),
    ("models",),
    ("records",),
    ("report",),
    ("predict",),
    ("screen",),
    ("cli",),
    ("book",),
)
APART = {("tasks", "views"), ("cli", "book")}  # lower, and still not to be imported


def name_of(path):
    return str(path.relative_to(LIBRARY))


def room_of(path):
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def imported(tree):
    """(line, dotted name) of everything a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def against_the_direction(path, text):
    """Imports of one module that point upwards, sideways or apart."""
    floor = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
    here = room_of(path)
    for line, name in imported(ast.parse(text)):
        package, _, rest = name.partition(".")
        there = rest.partition(".")[0]
        if package != "clmt_lib" or there in ("", here, "__version__"):
            continue
        if floor[there] >= floor[here] or (here, there) in APART:
            yield f"{name_of(path)}:{line} imports {there}"


def test_every_room_has_its_floor():
    found = {room_of(path) for path in MODULES} - {"__init__", "__main__"}
    assert found <= {room for rooms in FLOORS for room in rooms}


def test_imports_point_downwards():
    assert [
        line
        for path in MODULES
        if path != LIBRARY / "__main__.py"
        for line in against_the_direction(path, path.read_text(encoding="utf-8"))
    ] == []


@pytest.mark.parametrize(
    "file, text, found",
    [
        ("data/splits.py", "from clmt_lib import io, __version__", []),
        ("data/splits.py", "from clmt_lib.data import load", []),
        ("data/splits.py", "def f():\n    import clmt_lib.models.base", ["2 imports models"]),
        ("nn/heads.py", "from clmt_lib.tasks import metrics", ["1 imports tasks"]),
        ("tasks/base.py", "from clmt_lib import data, views", ["1 imports views"]),
        ("records/store.py", "from clmt_lib import book", ["1 imports book"]),
        ("cli/__init__.py", "from clmt_lib.records import run", []),
    ],
)
def test_the_direction_is_noticed(file, text, found):
    assert [
        line.removeprefix(f"{file}:") for line in against_the_direction(LIBRARY / file, text)
    ] == found


def public_functions(body, inside=""):
    """(qualified name, node) of the functions and methods that a reader may call."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, f"{node.name}.")
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (
            not node.name.startswith("_") or (inside and node.name == "__init__")
        ):
            yield inside + node.name, node


def untyped(tree):
    """Public functions with a parameter or a result that does not say its type."""
    for name, node in public_functions(tree.body):
        given = node.args
        named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
        static = any(getattr(deco, "id", "") == "staticmethod" for deco in node.decorator_list)
        if "." in name and not static:
            named = named[1:]  # self, cls
        named += [extra for extra in (given.vararg, given.kwarg) if extra]
        missing = [argument.arg for argument in named if argument.annotation is None]
        if node.returns is None and not name.endswith("__init__"):
            missing.append("return")
        if missing:
            yield f"{name} ({', '.join(missing)})"


def test_public_functions_say_their_types():
    found = {
        name_of(path): missing
        for path in MODULES
        if (missing := list(untyped(ast.parse(path.read_text(encoding="utf-8")))))
    }
    told = [f"{name}: {one}" for name, some in found.items() for one in some]
    assert told == []


def test_a_missing_type_is_noticed():
    text = """
def f(a, *, b: int = 0, **c) -> int: ...
def _g(a): ...
class C:
    def __init__(self, a): ...
    def m(self, a: int): ...
    @staticmethod
    def s(a) -> None: ...
"""
    assert list(untyped(ast.parse(text))) == [
        "f (a, c)",
        "C.__init__ (a)",
        "C.m (return)",
        "C.s (a)",
    ]


def test_files_are_replaced_in_one_way():
    """`os.replace` and temporary files stand in io.py alone; a download settles a finished part."""
    allowed = {"io.py", "data/download.py"}
    found = {
        name_of(path)
        for path in MODULES
        if re.search(r"os\.replace|NamedTemporaryFile|mkstemp", path.read_text(encoding="utf-8"))
    }
    assert found <= allowed


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def plain(name):
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower()


def pinned():
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_the_version_is_said_once():
    assert "version" in project()["project"]["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", clmt_lib.__version__)


def test_the_lock_pins_every_package_and_nothing_of_a_machine():
    lines = pinned()
    assert all(re.fullmatch(r"[a-z0-9-]+==[A-Za-z0-9.+!]+", line) for line in lines)
    assert lines == sorted(lines, key=lambda line: line.partition("==")[0])
    about = project()["project"]
    wanted = [
        *about["dependencies"],
        *(
            package
            for extra, packages in about["optional-dependencies"].items()
            if extra != "grid"
            for package in packages
        ),
    ]
    assert {plain(one) for one in wanted} - {"torch"} <= {line.split("==")[0] for line in lines}


def test_an_installed_library_has_its_tables():
    patterns = project()["tool"]["setuptools"]["package-data"]
    left_out = [
        name_of(path)
        for path in LIBRARY.rglob("*")
        if path.is_file()
        and path.suffix not in (".py", ".pyc")
        and not any(
            path.parent == ROOT / package.replace(".", "/") and path.match(pattern)
            for package, some in patterns.items()
            for pattern in some
        )
    ]
    assert left_out == []


def test_ci_checks_and_then_tests():
    ran = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert ran.index("make check") < ran.index("make test")
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    steps = yaml.safe_load(workflow)["jobs"]["tests"]["steps"]
    assert steps[-1] == {"run": "bash .ci/run"}


def test_hooks_use_the_versions_of_the_lock():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    used = {
        package
        for repo in hooks["repos"]
        for hook in repo["hooks"]
        for package in hook.get("additional_dependencies", ())
    }
    assert used and used <= set(pinned())
