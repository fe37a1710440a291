"""The checks of the exercises: right answers pass, each typical mistake gets its own hint, and
nothing that is handed in raises.
"""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from clmt_lib.book import exercises
from clmt_lib.book.exercises import CHECKS, check

CHAPTER = Path(__file__).resolve().parents[2] / "notebooks" / "01_data.ipynb"


def said(capsys, name, *answer):
    """What a check prints: exactly one line."""
    assert check(name, *answer) is None
    out, err = capsys.readouterr()
    assert err == "" and out.endswith("\n") and out.count("\n") == 1
    return out.strip()


# --- right answers
# -------------------------------------------------------------------------------------------------------------------------------


def scaler(x, train):
    mean, scale = x[train].mean(0), x[train].std(0)
    return (x - mean) / np.where(scale > 0, scale, 1.0)


def crossing(names, train, test):
    clean = [name.strip().lower() for name in names]
    return sorted({clean[i] for i in train} & {clean[i] for i in test})


def both_blind(benchmark, shares=(0.25, 0.34), key="compound"):
    (line, drug), rng = benchmark.pairs.T, np.random.default_rng(0)
    group = np.unique(benchmark.drugs[key] if key else benchmark.drugs.index, return_inverse=True)[
        1
    ][drug]
    held_line, held_group = (
        rng.permutation(n)[: math.ceil(share * n)]
        for n, share in zip((benchmark.n_cells, group.max() + 1), shares)
    )
    new_line, new_group = np.isin(line, held_line), np.isin(group, held_group)
    return np.flatnonzero(~new_line & ~new_group), np.flatnonzero(new_line & new_group)


RIGHT = {
    "01.1": [math.exp(2.31), 10.07, np.float64(10.07), np.array([10.1]), np.float32(10.07)],
    "01.2": [{"a": "cell_blind", "b": "mixed", "c": "scaffold_blind", "d": "tissue_blind"}],
    "01.3": [
        scaler,
        lambda x, train: scaler(x, train).tolist(),
        lambda x, train: (
            (x - x[train].mean(0)) / np.where(x[train].std(0) > 0, x[train].std(0, ddof=1), 1.0)
        ),
    ],
    "01.4": [
        crossing,
        lambda *roles: [name.title() for name in crossing(*roles)],
        lambda *roles: set(crossing(*roles)),
    ],
    "01.5": [both_blind, lambda world: [role.tolist() for role in both_blind(world)]],
}


@pytest.mark.parametrize(
    "name, answer", [(name, answer) for name, answers in RIGHT.items() for answer in answers]
)
def test_right_answers_are_accepted(capsys, name, answer):
    assert said(capsys, name, answer) == f"{name}  Right: {CHECKS[name][1]}"


def test_every_exercise_of_chapter_01_has_a_right_answer_here():
    assert set(RIGHT) == {name for name in CHECKS if name.startswith("01.")}


# --- typical mistakes, each with a hint of its own
# -----------------------------------------------------------------------------------------------

ANSWERS = RIGHT["01.2"][0]


def leaky_scaler(x, train):
    return scaler(x, np.arange(len(x)))


def mixed_scaler(x, train):
    return (x - x[train].mean(0)) / np.where(x.std(0) > 0, x.std(0), 1.0)


def constant_gene(x, train):
    return (x - x[train].mean(0)) / x[train].std(0)


def by_variance(x, train):
    scale = x[train].std(0)
    return (x - x[train].mean(0)) / np.where(scale > 0, scale**2, 1.0)


def by_exact_name(names, train, test):
    return sorted({names[i] for i in train} & {names[i] for i in test})


WRONG = [
    ("01.1", 2.31, "difference of the logarithms"),
    ("01.1", 10**2.31, "not 10"),
    ("01.1", 2**2.31, "not 2"),
    ("01.1", math.exp(-2.31), "upside down"),
    ("01.1", 2.81 / 0.5, "ratio of logarithms"),
    ("01.1", 42, "take the difference"),
    ("01.1", "10", "without quotes"),
    ("01.1", math.nan, "finite"),
    ("01.1", True, "got bool"),
    ("01.1", [10.07], "got list"),
    ("01.1", math.exp, "call it"),
    ("01.2", ANSWERS | {"a": "mixed"}, "a is not mixed"),
    ("01.2", ANSWERS | {"b": "cell_blind"}, "Nothing has to be new"),
    ("01.2", ANSWERS | {"c": "drug_blind"}, "near copy"),
    ("01.2", ANSWERS | {"d": "cell_blind"}, "same tissue"),
    ("01.2", ANSWERS | {"d": "tissue-blind"}, "for d, choose one of"),
    ("01.2", {"a": "cell_blind"}, "for b, choose one of"),
    ("01.2", list(ANSWERS.values()), "dictionary"),
    ("01.3", leaky_scaler, "a leak"),
    ("01.3", mixed_scaler, "a leak"),
    ("01.3", constant_gene, "division by zero"),
    ("01.3", by_variance, "divides by the variance"),
    ("01.3", lambda x, train: scaler(x, train)[train], "only the training lines"),
    ("01.3", lambda x, train: x - x[train].mean(0), "now divide"),
    ("01.3", lambda x, train: x, "gene by gene"),
    ("01.3", lambda x, train: x.mean(), "expected an array of shape [8, 4]"),
    ("01.3", lambda x, train: scaler(x, train).T, "got one of length 4"),
    ("01.3", lambda x, train: scaler, "got a function"),
    ("01.3", scaler(np.ones((8, 4)), [0, 1]), "without calling it"),
    ("01.3", lambda x: x, "raised TypeError"),
    ("01.4", by_exact_name, "'GEMCITABINE'"),
    ("01.4", lambda names, train, test: sorted(set(train) & set(test)), "Do you compare ids"),
    ("01.4", lambda names, train, test: [2, 4], "not ids"),
    (
        "01.4",
        lambda names, train, test: [
            names[i] for i in test if names[i].strip().lower() in crossing(names, train, test)
        ],
        "more than once",
    ),
    (
        "01.4",
        lambda names, train, test: sorted({name.strip().lower() for name in names}),
        "one role only",
    ),
    ("01.4", lambda names, train, test: ["gemcitabine"], "exactly the same name"),
    ("01.4", lambda names, train, test: "gemcitabine", "got str"),
    ("01.5", lambda world: both_blind(world, key=None), "under two ids"),
    ("01.5", lambda world: (np.arange(10), np.arange(9, 20)), "in both roles"),
    ("01.5", lambda world: (np.arange(1, len(world)), np.array([0])), "a line of the test role"),
    ("01.5", lambda world: both_blind(world, shares=(0.8, 0.8)), "wasteful"),
    ("01.5", lambda world: (np.arange(10), np.array([], dtype=int)), "test is empty"),
    ("01.5", lambda world: (np.arange(10), np.array([10**6])), "outside the responses"),
    (
        "01.5",
        lambda world: (np.ones(len(world), bool), np.zeros(len(world), bool)),
        "whole numbers",
    ),
    ("01.5", lambda world: np.arange(10), "two things"),
]


@pytest.mark.parametrize("name, answer, hint", WRONG)
def test_typical_mistakes_get_their_own_hint(capsys, name, answer, hint):
    found = said(capsys, name, answer)
    assert found.startswith(f"{name}  Not yet: ") and hint in found


def test_a_drug_of_the_test_role_in_train_is_named(capsys):
    def lines_only(world):
        new = world.pairs[:, 0] < 6
        return np.flatnonzero(~new), np.flatnonzero(new)

    assert "a drug of the test role is in train" in said(capsys, "01.5", lines_only)


# --- the chapter
# ---------------------------------------------------------------------------------------------------------------------------------


def chapter_cells(kind):
    return [
        "".join(cell["source"])
        for cell in json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == kind
    ]


def test_the_folded_solutions_pass_their_checks(capsys):
    solutions = re.findall(
        r"\{admonition\} Solution\n:class: dropdown\n```python\n(.*?)```",
        "\n".join(chapter_cells("markdown")),
        re.DOTALL,
    )
    asked = [
        re.search(r'exercises\.check\("([\d.]+)", (\w+)\)', source)
        for source in chapter_cells("code")
    ]
    asked = [found.groups() for found in asked if found]
    assert [name for name, _ in asked] == sorted(RIGHT) and len(solutions) == len(asked)
    for solution, (name, variable) in zip(solutions, asked, strict=True):
        scope = {"np": np}
        exec(solution, scope)
        assert "Right" in said(capsys, name, scope[variable])


# --- nothing raises
# ------------------------------------------------------------------------------------------------------------------------------


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


STRANGE = [
    "",
    "text",
    b"bytes",
    0,
    -1,
    1e308,
    10**400,
    math.inf,
    1j,
    True,
    [],
    (),
    {},
    set(),
    [None],
    [[1], [1, 2]],
    {"a": None},
    {"a": np.ones(3), "b": 1},
    range(10**12),
    np.array([]),
    np.array(["a"]),
    np.zeros((3, 3)),
    np.ones(10**6),
    np.array(None),
    object(),
    object,
    Hostile(),
    len,
    leaves,
    forever,
    lambda: 1,
    lambda *a: 1 / 0,
    lambda *a: Hostile(),
    lambda *a: range(10**12),
    lambda *a: "text",
    lambda *a: (x for x in a),
    lambda *a: ([[1]], "x"),
    lambda *a: (None, None),
    ValueError("an error"),
    iter([]),
    pytest,
]


@pytest.mark.parametrize("name", sorted(CHECKS))
@pytest.mark.parametrize("which", range(len(STRANGE)))
def test_whatever_is_handed_in_gets_one_line(capsys, name, which):
    found = said(capsys, name, STRANGE[which])
    assert found.startswith(f"{name}  ") and not (name in RIGHT and "Right" in found)


@pytest.mark.parametrize("name", sorted(CHECKS))
@pytest.mark.parametrize("stub", [(), (None,), (...,)])
def test_a_stub_gets_a_neutral_line(capsys, name, stub):
    assert said(capsys, name, *stub).startswith(f"{name}  No answer yet")


@pytest.mark.parametrize("name", ["01.3", "01.4", "01.5"])
@pytest.mark.parametrize("value", [None, ...])
def test_a_function_that_is_still_a_stub_gets_the_neutral_line(capsys, name, value):
    assert "No answer yet" in said(capsys, name, lambda *inputs: value)


def test_a_dictionary_that_is_still_a_stub_gets_the_neutral_line(capsys):
    assert "No answer yet" in said(capsys, "01.2", dict.fromkeys("abcd", ...))


@pytest.mark.parametrize("name", ["01.9", "", None, ["01.1"], 1.1])
def test_an_unknown_exercise_names_the_known_ones(capsys, name):
    found = said(capsys, name, 1)
    assert found.startswith("No exercise") and "01.1" in found


def test_checks_do_not_change_what_they_are_given(capsys):
    answer = dict(ANSWERS)
    said(capsys, "01.2", answer)
    assert answer == ANSWERS


def test_an_exercise_is_registered_under_its_name(capsys, monkeypatch):
    monkeypatch.setattr(exercises, "CHECKS", {})
    exercises.exercise("99.1", "well done.")(lambda answer: None if answer == 1 else "one more.")
    assert said(capsys, "99.1", 1) == "99.1  Right: well done."
    assert said(capsys, "99.1", 0) == "99.1  Not yet: one more."
