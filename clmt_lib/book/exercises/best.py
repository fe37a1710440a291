"""Chapter 09c."""

from collections.abc import Callable
from typing import Any

import numpy as np

from clmt_lib.book.exercises.core import called, chosen, exercise, first, number, numbers

DEALT = ("pairs", "lines", "compounds", "tissues")
DEALT_HINTS = {
    "mixed": (
        "pairs",
        "the test set holds other pairs of known lines and known drugs, so an inner fold is "
        "made of pairs.",
    ),
    "cell_blind": (
        "lines",
        "the test set holds new lines. A base that knew the line from its other pairs would "
        "look better than it will be.",
    ),
    "drug_blind": (
        "compounds",
        "the test set holds new compounds, with all their ids. Whole compounds have to be "
        "unknown inside, too.",
    ),
    "tissue_blind": (
        "tissues",
        "the test set holds new tissues; a new line of a known tissue is an easier question.",
    ),
}


exercise("09c.2", "inside, ask the question that will be asked outside.")(
    lambda answer: chosen(answer, DEALT_HINTS, DEALT)
)


@exercise("09c.1", "a stack costs its bases once for each inner fold, and once more on everything.")
def _fits(answer: Any) -> Any:
    known = [
        (24, None),
        (
            20,
            "those teach the second stage. On what are the bases fitted that make the final "
            "prediction?",
        ),
        (4, "each base is fitted many times: without each inner fold, and then on all."),
        (5, "that is the number of inner folds; every base is fitted for each of them."),
        (6, "that is the number of fits of *one* base."),
        (25, "the second stage is fitted, too, but it is no base."),
    ]
    return first(
        number(answer),
        known,
        "count the rows of the first figure, for five inner folds, and multiply by the bases.",
    )


def _line(x: np.ndarray, y: np.ndarray) -> Callable[[Any], np.ndarray]:
    """A least-squares line through the origin, as a function; it remembers what it was given."""
    slope = (x @ y) / (x @ x)
    return lambda new: slope * np.asarray(new)


def _nearest(x: np.ndarray, y: np.ndarray) -> Callable[[Any], np.ndarray]:
    """The response of the nearest known x: perfect on what it has seen."""
    return lambda new: y[np.abs(np.asarray(new)[:, None] - x[None]).argmin(1)]


@exercise("09c.3", "each prediction comes from a model that had not seen its answer.")
def _out_of_fold(answer: Any) -> Any:
    rng = np.random.default_rng(9)
    x, fold = rng.permutation(12).astype(float) + 1, np.array([2, 0, 1, 1, 0, 2, 0, 2, 1, 0, 2, 1])
    y = 2 * x + rng.normal(size=12)
    for fit in (_line, _nearest):
        right, one = np.empty(12), []
        for k in range(3):
            right[fold == k] = fit(x[fold != k], y[fold != k])(x[fold == k])
            one.append(fit(x[fold == k], y[fold == k])(x))
        got = numbers(called(answer, fit, x.copy(), y.copy(), fold.copy()), (12,))
        known = [
            (right, None),
            (
                fit(x, y)(x),
                "these are in-sample: the model that predicts a pair was fitted on it. Leave "
                "its fold out.",
            ),
            (
                np.choose(fold, one),
                "turned around: you fitted on the fold and then asked about the same fold. Fit "
                "on the others.",
            ),
            (
                np.concatenate([right[fold == k] for k in range(3)]),
                "the values are right, the order is not: they came out fold by fold. Put each "
                "back in its own place.",
            ),
        ]
        hint = first(
            got,
            known,
            "for each k: fit(x[fold != k], y[fold != k]) gives a function; ask it about x[fold "
            "== k].",
        )
        if hint:
            return hint
    return None
