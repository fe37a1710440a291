"""The checks of the exercises: right answers pass, each typical mistake gets its own hint, and
nothing that is handed in raises. Answers are in `answers/`, one module a chapter.
"""

import ast
import io
import json
import math
import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from answers import CHAPTERS, merged
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from clmt_lib.book import exercises
from clmt_lib.book.exercises import CHECKS, check
from clmt_lib.book.exercises.scaling import encodings

PAGES = {
    page.stem: page
    for page in sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
    if 'check(\\"' in page.read_text(encoding="utf-8")
}
RIGHT, WRONG = merged("RIGHT"), merged("WRONG")


def said(name, *answer):
    """What a check prints: exactly one line, and nothing on the error stream."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        assert check(name, *answer) is None
    text = out.getvalue()
    assert err.getvalue() == "" and text.endswith("\n") and text.count("\n") == 1
    return text.strip()


def test_every_exercise_has_right_and_wrong_answers_here():
    assert set(RIGHT) == set(WRONG) == set(CHECKS)
    assert all(answers and len(WRONG[name]) >= 3 for name, answers in RIGHT.items())


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_right_answers_pass_and_each_typical_mistake_gets_its_own_hint(name):
    for number, answer in enumerate(RIGHT[name]):
        assert said(name, answer) == f"{name}  Right: {CHECKS[name][1]}", f"right answer {number}"
    for number, (answer, hint) in enumerate(WRONG[name]):
        found = said(name, answer)
        assert found.startswith(f"{name}  Not yet: "), f"wrong answer {number}"
        assert hint in found, f"wrong answer {number}"


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_a_stub_gets_the_neutral_line(name):
    right, stubs = RIGHT[name][0], [None, ...]
    if callable(right):
        stubs += [lambda *inputs: None, lambda *inputs: ...]
    elif isinstance(right, dict) and all(isinstance(choice, str) for choice in right.values()):
        stubs += [dict.fromkeys(right, ...)]
    assert said(name).startswith(f"{name}  No answer yet")
    for stub in stubs:
        assert said(name, stub).startswith(f"{name}  No answer yet")


def test_a_drug_of_the_test_role_in_train_is_named():
    def lines_only(world):
        new = world.pairs[:, 0] < 6
        return np.flatnonzero(~new), np.flatnonzero(new)

    assert "a drug of the test set is in train" in said("01.5", lines_only)


# --- nothing raises


class Hostile:
    """An object that raises wherever it is touched."""

    def __getattribute__(self, name):
        raise RuntimeError("do not touch")

    def __len__(self):
        raise RuntimeError("do not measure")

    def __repr__(self):
        raise RuntimeError("do not print")

    __eq__ = __bool__ = __float__ = __iter__ = __array__ = __call__ = __repr__


def leaves(*inputs):
    raise SystemExit(3)


def forever(*inputs):
    return forever(*inputs)


VALUES = [
    *("", "text", b"bytes", 0, -1, 1e308, 10**400, math.nan, math.inf, 1j, True),
    *([], (), {}, set(), [None], [[1], [1, 2]], [[[1]]], ([[1]], "x"), (None, 1)),
    *({"a": None}, {"a": np.ones(3), "b": 1}, {"question": None}, {"runs": 3}),
    *(range(10**12), np.array([]), np.array(["a"]), np.array(None), np.zeros((3, 3))),
    *(np.ones(10**6), object(), object, Hostile(), ValueError("an error"), iter([]), pytest),
]  # no exercise has one of these for a right answer
FUNCTIONS = [
    *(len, leaves, forever, ValueError, lambda: 1, lambda *a: 1 / 0),
    *(lambda *a: Hostile(), lambda *a: range(10**12), lambda *a: "text"),
    *(lambda *a: (x for x in a), lambda *a: (None, None), lambda *a: math.nan),
]


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_whatever_is_handed_in_gets_one_line(name):
    for number, answer in enumerate([*VALUES, *FUNCTIONS]):
        found = said(name, answer)
        assert found.startswith(f"{name}  ") and "Right" not in found, f"strange answer {number}"


def raising(error):
    def answer(*inputs):
        raise error("a reader's own error")

    return answer


PRINTABLE = [value for value in VALUES if type(value) is not Hostile]
LEAVES = (
    st.sampled_from(PRINTABLE) | st.builds(Hostile) | st.text(max_size=6) | st.binary(max_size=3)
)
NESTED = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.sampled_from("abcde") | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=6,
)
ARRAYS = arrays(
    float,
    array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=20),
    elements=st.sampled_from([math.nan, math.inf, -math.inf, 1e308, 0.0]),
)
STRANGE = NESTED | ARRAYS
RETURNING = STRANGE.map(lambda value: lambda *inputs: value)
RAISING = st.sampled_from([ZeroDivisionError, MemoryError, StopIteration, SystemExit]).map(raising)


@settings(max_examples=400)
@given(name=st.sampled_from(sorted(CHECKS)), answer=STRANGE | RETURNING | RAISING)
def test_whatever_can_be_built_of_strange_things_gets_one_line(name, answer):
    found = said(name, answer)
    assert found.startswith(f"{name}  ") and "Right" not in found


@given(name=st.text(max_size=5) | st.sampled_from(["01.9", None, ["01.1"], 1.1, math.nan]))
def test_an_unknown_exercise_names_the_known_ones(name):
    if str(name) not in CHECKS:
        found = said(name, 1)
        assert found.startswith("No exercise") and (str(name)[:2] != "01" or "01.1" in found)


def test_checks_do_not_change_what_they_are_given():
    answer = dict(RIGHT["01.2"][0])
    said("01.2", answer)
    assert answer == RIGHT["01.2"][0]


def test_an_exercise_is_registered_under_its_name(monkeypatch):
    monkeypatch.setattr(exercises.core, "CHECKS", registered := {})
    exercises.exercise("99.1", "well done.")(lambda answer: None if answer == 1 else "one more.")
    assert list(registered) == ["99.1"]
    assert said("99.1", 1) == "99.1  Right: well done."
    assert said("99.1", 0) == "99.1  Not yet: one more."


def test_encodings_are_counted_once_a_batch():
    pairs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    assert encodings(pairs, [np.arange(4)]) == 4
    assert encodings(pairs, [np.array([0, 1]), np.array([2, 3])]) == 6


# --- the pages


def imports(source):
    """The import statements of a cell, to run without the rest."""
    body = [
        node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    return ast.unparse(ast.Module(body, []))


def asked_on(page):
    """Exercise -> name of the variable that is handed in, in the order of a page."""
    cells = json.loads(PAGES[page].read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return dict(re.findall(r'check\("([^"]+)", (\w+)\)', "\n".join(code)))


def test_the_pages_ask_exactly_what_is_checked():
    asked = [name for page in PAGES for name in asked_on(page)]
    assert sorted(asked) == sorted(CHECKS)


@pytest.mark.parametrize("page", sorted(PAGES))
def test_the_solutions_of_a_page_are_right(page):
    cells = json.loads(PAGES[page].read_text(encoding="utf-8"))["cells"]
    code, prose = (
        ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]
        for kind in ("code", "markdown")
    )
    asked = asked_on(page)
    chapter = next(iter(asked)).split(".")[0]
    assert list(asked) == sorted(name for name in asked if name.split(".")[0] == chapter)

    folded = r"\{admonition\} (?:A s|S)olution\n:class: dropdown\n(.*?)(?=\n#|\Z)"
    solutions = re.findall(folded, "\n".join(prose), re.DOTALL)
    assert len(solutions) == len(asked)
    module = next(m for m in CHAPTERS if next(iter(asked)) in m.RIGHT)
    scope = dict(getattr(module, "GIVEN", {}))
    for source in code:
        starts = getattr(module, "CELLS", ())
        exec(source if starts and source.startswith(starts) else imports(source), scope)
    for (name, variable), solution in zip(asked.items(), solutions, strict=True):
        block = re.search(r"```python\n(.*?)```", solution, re.DOTALL)
        inline = re.search(r"^`(.*)`", solution.strip(), re.MULTILINE)
        text = block[1] if block else inline[1]
        exec(text if re.search(rf"\b{variable}\b", text) else f"{variable} = {text}", scope)
        assert "Right" in said(name, scope[variable]), name
