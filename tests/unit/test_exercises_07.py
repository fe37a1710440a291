"""The checks of chapter 07 accept right answers and name the usual wrong ones."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from clmt_lib.book.exercises import CHECKS, check

CHAPTER = Path(__file__).resolve().parents[2] / "notebooks" / "07_ablations.ipynb"
VERDICTS = {"a": "hurts", "b": "tie", "c": "noise", "d": "helps"}
CLMT = {"members": 1, "steps": 40}
OWN = {
    "question": "Does the network need mutations to predict new lines?",
    "base": {"model": "clmt", "settings": CLMT},
    "runs": [
        {
            "dataset": "simulated",
            "split": "cell_blind",
            "seeds": [0],
            "folds": [0, 1],
            "variants": ["another_seed", "no_mutation"],
        }
    ],
    "variants": {"another_seed": {"seed": 1}, "no_mutation": {"cell_views": ["expression"]}},
}


def said(capsys, name, answer):
    """What the check prints."""
    check(name, answer)
    return capsys.readouterr().out


def own(**changes):
    return {**copy.deepcopy(OWN), **changes}


def runs(**changes):
    return own(runs=[{**OWN["runs"][0], **changes}])


def paired(base, variant):
    return np.std(variant - base, ddof=1) / np.sqrt(len(base))


def fair(full, no_a, no_b, neither):
    return [((no_a - full) + (neither - no_b)) / 2, ((no_b - full) + (neither - no_a)) / 2]


@pytest.mark.parametrize(
    "name, answer",
    [
        ("07.1", 0.95),
        ("07.1", 19 / 20),
        ("07.2", VERDICTS),
        ("07.3", paired),
        ("07.4", fair),
        ("07.4", lambda *s: np.array(fair(*s))),
        ("07.5", OWN),
        ("07.5", own(variants={**OWN["variants"], "means": {"model": "drug_mean"}})),
    ],
)
def test_right_answers_are_right(capsys, name, answer):
    assert said(capsys, name, answer).startswith(f"{name}  Right:")


@pytest.mark.parametrize(
    "name, answer, hint",
    [
        ("07.1", 1 - 0.95**19, "at least one false alarm"),
        ("07.1", 0.05, "for one switch"),
        ("07.1", 18.05, "do hold zero"),
        ("07.1", 0.95**19, "none of them"),
        ("07.1", 19, "same chance"),
        ("07.1", "0.95", "without quotes"),
        ("07.2", {**VERDICTS, "a": "noise"}, "far more than between two seeds"),
        ("07.2", {**VERDICTS, "b": "hurts"}, "holds zero"),
        ("07.2", {**VERDICTS, "c": "hurts"}, "changed nothing"),
        ("07.2", {**VERDICTS, "d": "hurts"}, "larger is better here"),
        ("07.2", {**VERDICTS, "d": "good"}, "choose one of"),
        (
            "07.3",
            lambda b, v: np.sqrt(b.var(ddof=1) / 6 + v.var(ddof=1) / 6),
            "independent samples",
        ),
        ("07.3", lambda b, v: (v - b).std() / np.sqrt(6), "ddof=1"),
        ("07.3", lambda b, v: (v - b).std(ddof=1), "spread of one fold"),
        ("07.3", lambda b, v: (v - b).std(ddof=1) / 6, "square root"),
        ("07.3", lambda b, v: (v - b).mean(), "How far"),
        ("07.3", lambda b, v: 7.0, "fold by fold"),
        ("07.3", 0.01, "hand in the function"),
        ("07.4", lambda f, a, b, n: [a - f, b - f], "do not add up"),
        ("07.4", lambda f, a, b, n: [n - b, n - a], "both orders"),
        ("07.4", lambda *s: fair(*s)[::-1], "swapped"),
        ("07.4", lambda *s: [-x for x in fair(*s)], "the sign"),
        ("07.4", lambda *s: np.array(fair(*s)) / sum(fair(*s)), "fractions"),
        ("07.4", lambda *s: 0.8, "shape [2]"),
        ("07.4", lambda *s: [0.0, 0.0], "with the other gone"),
        ("07.5", "a study", "as a dictionary"),
        ("07.5", {}, "lacks the key 'question'"),
        ("07.5", runs(variants=["nix"]), "unknown variant 'nix'"),
        ("07.5", runs(folds=[0]), "one fold"),
        ("07.5", runs(dataset="gdsc2"), "simulated world"),
        (
            "07.5",
            own(variants={**OWN["variants"], "another_seed": {"steps": 41}}),
            "control is missing",
        ),
        (
            "07.5",
            own(
                variants={
                    **OWN["variants"],
                    "no_mutation": {"cell_views": ["expression"], "steps": 80},
                }
            ),
            "two things at once",
        ),
        (
            "07.5",
            runs(variants=["another_seed"]) | {"variants": {"another_seed": {"seed": 1}}},
            "only the control",
        ),
        (
            "07.5",
            own(variants={**OWN["variants"], "no_mutation": {"cell_view": ["expression"]}}),
            "no setting 'cell_view'",
        ),
    ],
)
def test_usual_wrong_answers_get_their_hint(capsys, name, answer, hint):
    text = said(capsys, name, answer)
    assert "Not yet:" in text and hint in text


@pytest.mark.parametrize(
    "name, stub",
    [
        ("07.1", ...),
        ("07.1", None),
        ("07.2", {key: ... for key in VERDICTS}),
        ("07.3", lambda base, variant: ...),
        ("07.4", lambda *scores: None),
        ("07.5", ...),
    ],
)
def test_stubs_get_the_neutral_line(capsys, name, stub):
    assert "No answer yet" in said(capsys, name, stub)


@pytest.mark.parametrize("name", [f"07.{n}" for n in range(1, 6)])
@pytest.mark.parametrize(
    "answer",
    [
        "text",
        [],
        {},
        {"a": 1},
        object,
        lambda: 1,
        float("nan"),
        [[1, 2]],
        {"question": None},
        {"runs": 3},
    ],
)
def test_a_check_never_raises(capsys, name, answer):
    assert name in said(capsys, name, answer)


def test_the_chapter_asks_exactly_what_is_checked_and_solves_it(capsys):
    cells = {
        cell["id"]: "".join(cell["source"])
        for cell in json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]
    }
    source = "\n".join(cells.values())
    names = sorted(name for name in CHECKS if name.startswith("07."))
    assert len(names) == 5 and all(source.count(f'check("{name}"') == 1 for name in names)
    solutions = [
        block.split("```")[0] for block in source.split("class: dropdown\n```python\n")[1:]
    ]
    assert len(solutions) == len(names)
    given = {"np": np, "steps": 60}
    exec(
        next(text for text in cells.values() if text.startswith("small = ")), given
    )  # what the open exercise starts from
    for name, solution in zip(names, solutions, strict=True):
        before = set(given)
        exec(solution, given)  # the page's own solution
        answer = [given[key] for key in given if key not in before and key != "__builtins__"][-1]
        assert "Right" in said(capsys, name, answer), name
