"""Chapter 01."""

import math
from typing import Any

import numpy as np

from clmt_lib.book.exercises.core import called, chosen, exercise, number, numbers


@exercise("01.1", "a ratio of concentrations is the exponential of a difference of logarithms.")
def _fold(answer: Any) -> Any:
    value, gap = number(answer), 2.81 - 0.50
    if abs(value - math.exp(gap)) < 0.1:
        return None
    known = {
        gap: "that is the difference of the logarithms. What does a difference of logarithms "
        "say about the concentrations?",
        10**gap: "these are natural logarithms, so the base is e, not 10.",
        2**gap: "these are natural logarithms, so the base is e, not 2.",
        math.exp(-gap): "upside down: which of the two lines needs more of the drug?",
        2.81 / 0.50: "a ratio of logarithms has no meaning; take their difference first.",
    }
    return next(
        (hint for wrong, hint in known.items() if abs(value - wrong) < 0.02 * abs(wrong)),
        "take the difference of the two, then undo the logarithm.",
    )


QUESTIONS = ("mixed", "cell_blind", "drug_blind", "scaffold_blind", "tissue_blind")
SPLIT_HINTS = {
    "a": (
        "cell_blind",
        "the patient's cells have never been screened, but the drugs are all known. What must "
        "the test set hold out?",
    ),
    "b": (
        "mixed",
        "every line and every drug of that screen has been measured with something. Nothing has "
        "to be new.",
    ),
    "c": (
        "scaffold_blind",
        "holding drugs out is not enough: a near copy of the new molecule, on the same "
        "skeleton, may sit in train.",
    ),
    "d": (
        "tissue_blind",
        "holding lines out is not enough: other lines of the same tissue may sit in train.",
    ),
}


@exercise("01.2", "the question comes first, the split follows from it.")
def _questions(answer: Any) -> Any:
    return chosen(answer, SPLIT_HINTS, QUESTIONS)


@exercise(
    "01.3", "test lines are scaled by what the training lines know, and change nothing themselves."
)
def _scaler(answer: Any) -> Any:
    rng = np.random.default_rng(1)
    x, train = rng.normal(3.0, 2.0, (8, 4)), np.array([0, 2, 3, 5, 6])
    x[:, 3] = 7.0  # a gene without spread
    got = called(answer, x.copy(), train.copy())
    if hasattr(got, "__len__") and len(got) == len(train):
        return "only the training lines came back: fit on them, but scale every line."
    got, (mean, scale) = numbers(got, x.shape), (x[train].mean(0), x[train].std(0))
    if not np.isfinite(got).all():
        return "a gene without spread gives a division by zero: let it keep the scale 1."
    spread = np.where(scale > 0, scale, 1.0)
    sample = np.where(scale > 0, x[train].std(0, ddof=1), 1.0)
    if np.allclose(got, (x - mean) / spread) or np.allclose(got, (x - mean) / sample):
        return None
    every = np.where(x.std(0) > 0, x.std(0), 1.0)
    if (
        np.allclose(got, (x - x.mean(0)) / every)
        or np.allclose(got, (x - x.mean(0)) / spread)
        or np.allclose(got, (x - mean) / every)
    ):
        return "a leak: the mean or the spread is that of all lines. Use the training lines alone."
    if np.allclose(got, (x - mean) / np.where(scale > 0, scale**2, 1.0)):
        return "that divides by the variance: divide by its square root."
    if np.allclose(got, x - mean):
        return "the mean is right; now divide by the standard deviation of the training lines."
    return (
        "take mean and standard deviation of x[train], gene by gene (axis 0), and apply both "
        "to all of x."
    )


@exercise("01.4", "a compound counts once, whatever its ids and however its name is written.")
def _crossing(answer: Any) -> Any:
    names = [
        "Gemcitabine",
        "Olaparib",
        "gemcitabine ",
        "Paclitaxel",
        "Olaparib",
        "Erlotinib",
        "GEMCITABINE",
    ]
    got = called(answer, list(names), [0, 1, 5], [2, 3, 4, 6])
    if isinstance(got, (str, bytes)) or not hasattr(got, "__len__") or len(got) > 100:
        return f"return a list of names, got {type(got).__name__}."
    if any(not isinstance(name, str) for name in got):
        return "return names, not ids or positions."
    if not len(got):
        return "two compounds are in both roles. Do you compare ids? Compare the names behind them."
    found = [name.strip().lower() for name in got]
    if len(set(found)) < len(found):
        return (
            "one compound came back more than once: strip blanks and lower the case before "
            "you compare, and return each name once."
        )
    if "gemcitabine" not in found:
        return (
            "one compound is written 'Gemcitabine', 'gemcitabine ' and 'GEMCITABINE': strip "
            "blanks and lower the case before you compare."
        )
    if set(found) - {"gemcitabine", "olaparib"}:
        return "a compound came back that is in one role only: it must be in train and in test."
    return (
        None
        if "olaparib" in found
        else "a compound with two ids of exactly the same name is missing."
    )


@exercise(
    "01.5",
    "neither the line nor the compound of a test pair was ever seen. Now argue: who would ask "
    "this question?",
)
def _both_blind(answer: Any) -> Any:
    from clmt_lib import data

    world: Any = data.load(
        "simulated",
        cells=24,
        drugs=["Gemcitabine", "Olaparib", "Trametinib", "Paclitaxel", "Erlotinib", "Bortezomib"],
    )
    got = called(answer, world)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        return "return two things: the positions of train and of test."
    train, test = (np.asarray(role) for role in got)
    for name, role in (("train", train), ("test", test)):
        if role.ndim != 1 or not np.issubdtype(role.dtype, np.integer):
            return (
                f"{name} must be a list of whole numbers, positions into benchmark.responses "
                "(np.flatnonzero makes them of a mask)."
            )
        if not len(role):
            return f"{name} is empty."
        if role.min() < 0 or role.max() >= len(world):
            return f"{name} holds a position outside the responses."
    (line, drug), compound = world.pairs.T, world.drugs["compound"].to_numpy()
    if np.isin(train, test).any():
        return "a pair is in both roles."
    if np.isin(line[test], line[train]).any():
        return "a line of the test set is in train, too: leave such pairs out of train."
    if np.isin(drug[test], drug[train]).any():
        return "a drug of the test set is in train, too: leave such pairs out of train."
    if np.isin(compound[drug[test]], compound[drug[train]]).any():
        return (
            "the ids differ, but a compound is in both roles under two ids: hold out "
            "compounds, not ids."
        )
    return (
        None
        if len(train) >= 0.2 * len(world)
        else (
            "correct, but wasteful: train keeps less than a fifth of the pairs. Hold out fewer "
            "lines or compounds."
        )
    )
