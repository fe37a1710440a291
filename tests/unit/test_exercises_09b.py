"""The checks of chapter 09b accept right answers and name the usual wrong ones."""

import numpy as np
import pytest

from clmt_lib.book.exercises import check

CONTROLS = {"a": "random", "b": "shuffled", "c": "name", "d": "annotation"}
RIGHT = {
    "09b.1": [3, 3.0, np.int64(3)],
    "09b.2": [CONTROLS],
    "09b.3": [
        lambda gap, twin: gap[twin].sum() / gap.sum(),
        lambda gap, twin: np.sum(gap * twin) / np.sum(gap),
    ],
}
WRONG = [
    ("09b.1", 6, "left behind"),
    ("09b.1", 4, "becomes of B"),
    ("09b.1", 5, "all the pairs"),
    ("09b.1", 2, "RAF"),
    ("09b.1", 1, "islands"),
    ("09b.1", 9, "an island"),
    ("09b.1", "3", "without quotes"),
    ("09b.2", {**CONTROLS, "a": "shuffled"}, "a is not shuffled"),
    ("09b.2", {**CONTROLS, "b": "random"}, "clusters"),
    ("09b.2", {**CONTROLS, "d": "words"}, "choose one of"),
    ("09b.2", 3, "dictionary"),
    ("09b.3", lambda gap, twin: gap[~twin].sum() / gap.sum(), "without"),
    ("09b.3", lambda gap, twin: twin.mean(), "share of the drugs"),
    ("09b.3", lambda gap, twin: gap[twin].mean() / gap.mean(), "ratio of means"),
    ("09b.3", lambda gap, twin: gap[twin].mean(), "mean gain"),
    ("09b.3", lambda gap, twin: gap[twin].sum(), "divide"),
    ("09b.3", lambda gap, twin: gap[twin & (gap > 0)].sum() / gap[gap > 0].sum(), "losses"),
    ("09b.3", lambda gap, twin: 100 * gap[twin].sum() / gap.sum(), "per cent"),
    ("09b.3", lambda gap, twin: 7.0, "sum of all gains"),
    ("09b.3", lambda gap, twin: gap, "one number"),
    ("09b.3", lambda gap: 1.0, "TypeError"),
]


def said(capsys, name, answer):
    """What the check prints."""
    check(name, answer)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "answer"), [(name, answer) for name, answers in RIGHT.items() for answer in answers]
)
def test_right_answers_are_accepted(capsys, name, answer):
    assert said(capsys, name, answer).startswith(f"{name}  Right: ")


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_each_usual_mistake_gets_its_own_hint(capsys, name, answer, hint):
    out = said(capsys, name, answer)
    assert out.startswith(f"{name}  Not yet: ") and hint in out


@pytest.mark.parametrize(
    ("name", "stub"),
    [
        ("09b.1", ...),
        ("09b.2", dict.fromkeys("abcd", ...)),
        ("09b.3", lambda gap, twin: ...),
        ("09b.3", None),
    ],
)
def test_a_stub_is_not_a_mistake(capsys, name, stub):
    assert "No answer yet" in said(capsys, name, stub)


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize(
    "answer",
    ["text", [], {}, float("nan"), np.zeros((2, 2)), object(), range(10**9), ValueError],
    ids=lambda a: type(a).__name__,
)
def test_nothing_raises(capsys, name, answer):
    out = said(capsys, name, answer)
    assert out.startswith(name) and "Right" not in out
