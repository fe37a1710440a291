"""The checks of chapter 08 accept right answers and name the usual wrong ones."""

import numpy as np
import pytest

from clmt_lib import models
from clmt_lib.book.exercises import check
from clmt_lib.tasks import metrics


def said(capsys, name, answer):
    """What the check prints."""
    check(name, answer)
    return capsys.readouterr().out


SCORES = {"a": "pcc_per_drug", "b": "pcc_per_cell", "c": "rmse", "d": "pcc_normalised"}


def per_drug(y, p, drug):
    return metrics.per_group(y, p, drug)


def per_drug_bare(fewest=5, drop=False, weigh=False):
    """The usual ways of writing it, right and wrong."""

    def answer(y, p, drug):
        values, weights = [], []
        for d in np.unique(drug):
            rows = drug == d
            if rows.sum() < fewest or (drop and np.ptp(p[rows]) == 0):
                continue
            values.append(0.0 if np.ptp(p[rows]) == 0 else np.corrcoef(y[rows], p[rows])[0, 1])
            weights.append(rows.sum() if weigh else 1)
        return np.average(values, weights=weights)

    return answer


def naive_nan(y, p, drug):
    return np.mean([np.nan if np.ptp(p[drug == d]) == 0 else 1.0 for d in np.unique(drug)])


def effects_only(world, split):
    mean, cells, drugs = metrics.additive_effects(world, split.train)
    return mean + cells[:, None] + drugs[None]


def factorised(world, split):
    return models.build("als", ranks=(10,), ridges=(10.0,)).fit(world, split).table


def peeks(world, split):
    table = effects_only(world, split)
    cell, drug = world.pairs[split.test].T
    table[cell, drug] = world.y[split.test]
    return table


def only_test_pairs(world, split):
    return world.y[split.test]


def with_holes(world, split):
    return world.matrix(split.train)


RIGHT = {
    "08.1": [100.4, np.float64(112_044**2 * 8 / 1e9), 100],
    "08.2": [SCORES],
    "08.3": [per_drug, per_drug_bare()],
    "08.4": [
        lambda a, b: np.percentile(a - b, [2.5, 97.5]),
        lambda a, b: tuple(metrics.interval(a - b)),
    ],
    "08.5": [
        factorised,
        lambda world, split: models.build("neighbours_fingerprint").fit(world, split).table,
    ],
}
WRONG = [
    ("08.1", 93.5, "GiB"),
    ("08.1", 12.55, "8 bytes"),
    ("08.1", 50.2, "float32"),
    ("08.1", 0.000896, "every pair"),
    ("08.1", 0.003036, "avoids"),
    ("08.1", 100.43e9, "10 ** 9"),
    ("08.1", 7, "rows x columns"),
    ("08.1", "100", "without quotes"),
    ("08.2", SCORES | {"a": "pcc"}, "a is not pcc"),
    ("08.2", SCORES | {"b": "pcc_per_drug"}, "inside the line"),
    ("08.2", SCORES | {"c": "pcc"}, "units"),
    ("08.2", SCORES | {"d": "rmse"}, "take away first"),
    ("08.2", SCORES | {"d": "accuracy"}, "choose one of"),
    ("08.2", ["rmse"], "dictionary"),
    ("08.3", lambda y, p, drug: np.corrcoef(y, p)[0, 1], "global correlation"),
    ("08.3", per_drug_bare(fewest=1), "three lines"),
    ("08.3", per_drug_bare(drop=True), "reward giving up"),
    ("08.3", per_drug_bare(weigh=True), "counts once"),
    ("08.3", naive_nan, "NaN"),
    ("08.3", lambda y, p, drug: [0.1, 0.2], "mean over drugs"),
    ("08.3", 0.5, "hand in the function"),
    ("08.3", lambda y, p, drug: 0.123, "inside each drug"),
    ("08.4", lambda a, b: np.percentile(b - a, [2.5, 97.5]), "sign"),
    ("08.4", lambda a, b: np.percentile(a - b, [5, 95]), "90 %"),
    ("08.4", lambda a, b: a - b, "each draw"),
    ("08.4", lambda a, b: np.percentile(a - b, [97.5, 2.5]), "low end first"),
    (
        "08.4",
        lambda a, b: np.percentile(a, [2.5, 97.5]) - np.percentile(b, [2.5, 97.5]),
        "subtract first",
    ),
    ("08.4", lambda a, b: (0, 0), "np.percentile"),
    ("08.5", effects_only, "drug + cell effects"),
    ("08.5", peeks, "a leak"),
    ("08.5", only_test_pairs, "whole table"),
    ("08.5", with_holes, "holes"),
    ("08.5", lambda world, split: np.zeros((3, 3)), "shape"),
    ("08.5", lambda world, split: 1 / 0, "ZeroDivisionError"),
]


@pytest.mark.parametrize(
    ("name", "answer"), [(name, answer) for name, answers in RIGHT.items() for answer in answers]
)
def test_right_answers_are_accepted(capsys, name, answer):
    assert said(capsys, name, answer).startswith(f"{name}  Right: ")


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_each_usual_mistake_gets_its_own_hint(capsys, name, answer, hint):
    out = said(capsys, name, answer)
    assert out.startswith(f"{name}  Not yet: ") and hint in out


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize(
    "stub",
    [None, ..., lambda *inputs: None, lambda *inputs: ...],
    ids=["None", "...", "returns None", "returns ..."],
)
def test_a_stub_is_not_a_mistake(capsys, name, stub):
    if callable(stub) and name in ("08.1", "08.2"):
        assert "Not yet" in said(capsys, name, stub)
    else:
        assert "No answer yet" in said(capsys, name, stub)


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize(
    "answer",
    [
        "text",
        b"bytes",
        [],
        {},
        float("nan"),
        np.zeros((2, 2)),
        object(),
        range(10**9),
        lambda: 1,
        ValueError,
    ],
    ids=lambda a: type(a).__name__,
)
def test_nothing_raises(capsys, name, answer):
    out = said(capsys, name, answer)
    assert out.startswith(name) and "Right" not in out


def test_the_dictionary_stub_is_neutral(capsys):
    assert "No answer yet" in said(capsys, "08.2", dict.fromkeys("abcd", ...))
