"""The checks of chapter 03 accept right answers and name the usual wrong ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from clmt_lib.book.exercises import CHECKS, check

CHAPTER = Path(__file__).resolve().parents[2] / "notebooks" / "03_attribute_encoders.ipynb"


def said(capsys, name, answer):
    """What the check prints: exactly one line."""
    assert check(name, answer) is None
    out, err = capsys.readouterr()
    assert err == "" and out.count("\n") == 1
    return out


def one_round(h, bond_index, e):
    source, target = bond_index
    out = h.copy()
    np.add.at(out, target, np.maximum(h[source] + e, 0))
    return out


def no_self(h, bond_index, e):
    return one_round(h, bond_index, e) - h


def cut_late(h, bond_index, e):
    total = np.zeros_like(h)
    np.add.at(total, bond_index[1], h[bond_index[0]] + e)
    return h + np.maximum(total, 0)


def averaged(h, bond_index, e):
    count = np.bincount(bond_index[1], minlength=len(h))
    return h + no_self(h, bond_index, e) / np.maximum(count, 1)[:, None]


def adds_once(h, bond_index, e):
    out = h.copy()
    out[bond_index[1]] += np.maximum(h[bond_index[0]] + e, 0)
    return out


def graph_norm(h, molecule, ddof=0, eps=1e-5):
    out = np.empty_like(h)
    for m in np.unique(molecule):
        rows = h[molecule == m]
        with np.errstate(all="ignore"):
            out[molecule == m] = (rows - rows.mean(0)) / np.sqrt(rows.var(0, ddof=ddof) + eps)
    return out


def descriptor(smiles):
    from rdkit import Chem

    molecule = Chem.MolFromSmiles(smiles)
    elements = [atom.GetSymbol() for atom in molecule.GetAtoms()]
    return [elements.count(name) / len(elements) for name in ("C", "N", "O")]


RIGHT = {
    "03.1": [6 / np.sqrt(8 / 3), 3.6742346],
    "03.2": [6, 6.0],
    "03.3": [one_round],
    "03.4": [graph_norm, lambda h, m: graph_norm(h, m, eps=1e-6)],
    "03.5": [descriptor, lambda smiles: np.array(descriptor(smiles))],
}
WRONG = {
    "03.1": [
        (4.5 / np.sqrt(8.75), "train lines alone"),
        (3.0, "library divides"),
        (2.25, "root"),
        (6, "not yet divided"),
        (2.0, "min-max"),
        ("3.67", "without quotes"),
        (1.0, "train mean"),
    ],
    "03.2": [
        (3, "counts twice"),
        (12, "walking back"),
        (4, "number of atoms"),
        (9, "DIFFERENT"),
        (5, "only the central"),
        (True, "expected one number"),
    ],
    "03.3": [
        (no_self, "own vector"),
        (cut_late, "BEFORE"),
        (averaged, "a mean"),
        (adds_once, "adds only once"),
        (lambda h, b, e: one_round(h, b[::-1], e), "turned round"),
        (lambda h, b, e: one_round(h, b, 0 * e), "bond's vector"),
        (lambda h, b, e: h, "for each bond"),
        (one_round(np.ones((2, 1)), np.array([[0], [1]]), np.ones((1, 1))), "function itself"),
    ],
    "03.4": [
        (lambda h, m: graph_norm(h, 0 * m), "whole batch"),
        (lambda h, m: graph_norm(h, m, ddof=1), "infinite"),
        (lambda h, m: h - h.mean(0), "for each molecule"),
        (
            lambda h, m: (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5),
            "LayerNorm",
        ),
        (lambda h, m: h.mean(0), "shape"),
    ],
    "03.5": [
        (lambda smiles: [smiles.count("C")], "spelled"),
        (lambda smiles: [1.0, 2.0], "same numbers"),
        (lambda smiles: [len(smiles)] * len(smiles), "different length"),
        (lambda smiles: [1.0 if len(smiles) > 3 else np.inf], "infinite"),
        (lambda smiles: 3.0, "one list"),
        (lambda smiles: 1 / 0, "raised ZeroDivisionError"),
    ],
}


@pytest.mark.parametrize(
    "name, answer", [(name, answer) for name, answers in RIGHT.items() for answer in answers]
)
def test_right_answers_are_accepted(capsys, name, answer):
    assert said(capsys, name, answer).startswith(f"{name}  Right: ")


@pytest.mark.parametrize(
    "name, answer, hint",
    [(name, answer, hint) for name, cases in WRONG.items() for answer, hint in cases],
)
def test_a_wrong_answer_gets_its_hint(capsys, name, answer, hint):
    out = said(capsys, name, answer)
    assert "Not yet: " in out and hint in out


@pytest.mark.parametrize("name", sorted(RIGHT))
def test_a_stub_is_neither_right_nor_wrong(capsys, name):
    for stub in (..., None):
        assert "No answer yet" in said(capsys, name, stub)


@pytest.mark.parametrize("name", ["03.3", "03.4", "03.5"])
def test_a_function_without_a_body_is_no_answer_yet(capsys, name):
    assert "No answer yet" in said(capsys, name, lambda *given: ...)


@pytest.mark.skipif(not CHAPTER.exists(), reason="the chapter is not written yet")
def test_every_solution_of_the_chapter_is_right(capsys):
    """The folded solutions are run, each in a namespace of its own."""
    cells = json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]
    blocks = [
        part.split("```")[0]
        for cell in cells
        if cell["cell_type"] == "markdown"
        for part in "".join(cell["source"]).split("```python\n")[1:]
    ]
    answers = {}
    for block in blocks:
        space = {"np": np}
        exec(block, space)
        answers |= {
            name: value
            for name, value in space.items()
            if name.startswith("answer_") or name in ("one_round", "graph_norm", "describe")
        }
    by_exercise = dict(
        zip(
            ["03.1", "03.2", "03.3", "03.4", "03.5"],
            [
                answers[name]
                for name in ("answer_1", "answer_2", "one_round", "graph_norm", "describe")
            ],
            strict=True,
        )
    )
    for name, answer in by_exercise.items():
        assert "Right: " in said(capsys, name, answer)


def test_the_exercises_of_the_chapter_all_have_checks():
    assert {name for name in CHECKS if name.startswith("03.")} == set(RIGHT) == set(WRONG)
