"""The checks of chapter 02 accept right answers and name the usual wrong ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from clmt_lib.exercises import CHECKS, check
from clmt_lib.views.text import centred

CHAPTER = Path(__file__).resolve().parents[2] / "notebooks" / "02_text_modality.ipynb"
SAID = {"a": "fact", "b": "leak", "c": "leak", "d": "fact", "e": "leak"}


def said(capsys, name, answer):
    """What the check prints: exactly one line."""
    assert check(name, answer) is None
    out, err = capsys.readouterr()
    assert err == "" and out.count("\n") == 1
    return out


def cosine(z):
    z = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    return z @ z.T


def similarity(z):
    there = z.any(axis=1)
    return cosine(np.where(there[:, None], z - z[there].mean(axis=0), 0.0))


def probe(alike, label, compound, leave_out="compound"):
    out = {"compound": compound[:, None] == compound[None], "self": np.eye(len(label), dtype=bool), "nothing": np.zeros(alike.shape, bool)}[leave_out]
    nearest = np.where(out, -np.inf, alike).argmax(axis=1)
    return np.mean(label[nearest] == label)


def describe(row):
    return f"{row['target'] or 'an unknown protein'} is what it binds; pathway {row['pathway']}."


RIGHT = {
    "02.1": [[2.0, 2.0], np.array([2, 2])],
    "02.2": [SAID],
    "02.3": [similarity, lambda z: centred(z) @ centred(z).T, lambda z: similarity(z).tolist()],
    "02.4": [probe, lambda *given: float(probe(*given))],
    "02.5": [describe, lambda row: f"{row['pathway']}: {row['target'] or 'target not known'}"],
}
WRONG = {
    "02.1": [([3.0, 3.0], "padding"), ([6.0, 6.0], "sum"), ([1.5, 1.5], "divide by 4"), ([0.0, 1.0], "multiply"), (2.0, "shape [2]"), ([2.0, 2.0, 2.0], "shape [2]")],
    "02.2": [(SAID | {"b": "fact"}, "approval"), (SAID | {"e": "fact"}, "looked at"), (SAID | {"a": True}, "choose one of"), (["fact"], "dictionary")],
    "02.3": [
        (cosine, "was not taken off"), (lambda z: cosine(z - z.mean(0)), "in your mean"), (lambda z: cosine(z - z[z.any(1)].mean(0)), "minus the mean"),
        (lambda z: (z / np.linalg.norm(z, axis=1, keepdims=True)) @ z.T, "length zero"), (lambda z: z, "shape [6, 6]"), (lambda z: np.eye(6), "scale rows"),
    ],
    "02.4": [
        (lambda *given: probe(*given, "self"), "second id"), (lambda *given: probe(*given, "nothing"), "second id"), (lambda *given: 5 * probe(*given), "count"), (lambda *given: 0.5, "other compounds"),
    ],
    "02.5": [
        (lambda row: f"Approved; hits {row['target']}", "response_words"), (lambda row: f"Lines with high {row['target']} are sensitive.", "response_words"), (lambda row: "a drug", "different targets"),
        (lambda row: f"{row['target']}, {row['pathway']}", "says None"), (lambda row: f"{row['target']} " * 130, "120 words"), (lambda row: "", "not empty"), (lambda row: 3, "one text"),
    ],
}


@pytest.mark.parametrize("name, answer", [(name, answer) for name, answers in RIGHT.items() for answer in answers])
def test_right_answers_are_accepted(capsys, name, answer):
    assert said(capsys, name, answer).startswith(f"{name}  Right: ")


@pytest.mark.parametrize("name, answer, hint", [(name, *wrong) for name, answers in WRONG.items() for wrong in answers])
def test_typical_mistakes_get_their_hint(capsys, name, answer, hint):
    out = said(capsys, name, answer)
    assert out.startswith(f"{name}  Not yet: ") and hint in out


@pytest.mark.parametrize("name", sorted(RIGHT))
@pytest.mark.parametrize("stub", [None, ..., "function"])
def test_a_stub_gets_a_neutral_line(capsys, name, stub):
    if stub == "function" and name in ("02.1", "02.2"):
        stub = dict.fromkeys(SAID, ...) if name == "02.2" else ...
    stub = (lambda *given: ...) if stub == "function" else stub
    assert "No answer yet" in said(capsys, name, stub)


@pytest.mark.parametrize("name", sorted(RIGHT))
@pytest.mark.parametrize("answer", [lambda *given: 1 / 0, object(), "x", float("nan"), [], {}, lambda: 1, lambda *given: [[[1]]], lambda *given: float("nan")])
def test_nothing_that_is_handed_in_raises(capsys, name, answer):
    assert "Right" not in said(capsys, name, answer)


def test_the_chapter_asks_exactly_what_is_checked_and_solves_it(capsys):
    cells = json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells)
    names = sorted(name for name in CHECKS if name.startswith("02."))
    assert sorted(RIGHT) == names and all(f'check("{name}"' in source for name in names)
    solutions = [block.split("```")[0] for block in source.split("class: dropdown\n```python\n")[1:]]
    assert len(solutions) == len(names)
    given = {"np": np}
    for name, solution in zip(names, solutions, strict=True):
        before = set(given)
        exec(solution, given)  # the page's own solution
        answer = [given[key] for key in given if key not in before and key != "__builtins__"][-1]
        assert "Right" in said(capsys, name, answer), name
