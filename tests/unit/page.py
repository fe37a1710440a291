"""What the exercises of every chapter are held to: one set of tests, made for a chapter from its
right and its usual wrong answers.
"""

import json
from pathlib import Path

import pytest

from clmt_lib.book.exercises import CHECKS, check

STRAY = (
    lambda *given: 1 / 0,
    object(),
    "x",
    float("nan"),
    [],
    {},
    lambda: 1,
    lambda *given: [[[1]]],
    lambda *given: float("nan"),
)  # whatever a reader may hand in


def said(capsys, name, answer):
    """What the check prints: exactly one line."""
    assert check(name, answer) is None
    out, err = capsys.readouterr()
    assert err == "" and out.count("\n") == 1
    return out


def chapter(number):
    """Cells of the notebook of this chapter, "02" for one, as a list of texts."""
    path = next((Path(__file__).resolve().parents[2] / "notebooks").glob(f"{number}_*.ipynb"))
    return [
        "".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
    ]


def exercise_tests(number, right, wrong, choices, given, stray=()):
    """The five tests of a chapter's exercises, in the order: right, wrong, stub, stray, page.

    Parameters
    ----------
    right, wrong : exercise -> right answers; exercise -> (answer, a part of its hint)
    choices : the answer of exercise 2, which is a choice for each key; exercise 1 is a number, the
        others are functions
    given : names that the page's solutions find
    stray : further things that a reader may hand in
    """

    @pytest.mark.parametrize(
        "name, answer", [(name, answer) for name, answers in right.items() for answer in answers]
    )
    def test_right_answers_are_accepted(capsys, name, answer):
        assert said(capsys, name, answer).startswith(f"{name}  Right: ")

    @pytest.mark.parametrize(
        "name, answer, hint", [(name, *case) for name, answers in wrong.items() for case in answers]
    )
    def test_typical_mistakes_get_their_hint(capsys, name, answer, hint):
        out = said(capsys, name, answer)
        assert out.startswith(f"{name}  Not yet: ") and hint in out

    @pytest.mark.parametrize("name", sorted(right))
    @pytest.mark.parametrize("stub", [None, ..., "function"])
    def test_a_stub_gets_a_neutral_line(capsys, name, stub):
        if stub == "function":
            stub = {f"{number}.1": ..., f"{number}.2": dict.fromkeys(choices, ...)}.get(
                name, lambda *given: ...
            )
        assert "No answer yet" in said(capsys, name, stub)

    @pytest.mark.parametrize("name", sorted(right))
    @pytest.mark.parametrize("answer", [*STRAY, *stray])
    def test_nothing_that_is_handed_in_raises(capsys, name, answer):
        assert "Right" not in said(capsys, name, answer)

    def test_the_chapter_asks_exactly_what_is_checked_and_solves_it(capsys):
        source = "\n".join(chapter(number))
        names = sorted(name for name in CHECKS if name.startswith(f"{number}."))
        assert sorted(right) == names and all(f'check("{name}"' in source for name in names)
        solutions = [
            block.split("```")[0] for block in source.split("class: dropdown\n```python\n")[1:]
        ]
        assert len(solutions) == len(names)
        known = dict(given)
        for name, solution in zip(names, solutions, strict=True):
            before = set(known)
            exec(solution, known)  # the page's own solution
            answer = [known[key] for key in known if key not in before and key != "__builtins__"][
                -1
            ]
            assert "Right" in said(capsys, name, answer), name

    return (
        test_right_answers_are_accepted,
        test_typical_mistakes_get_their_hint,
        test_a_stub_gets_a_neutral_line,
        test_nothing_that_is_handed_in_raises,
        test_the_chapter_asks_exactly_what_is_checked_and_solves_it,
    )
