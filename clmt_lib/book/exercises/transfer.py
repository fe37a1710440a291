"""Chapters 09d and 'Your own drugs and lines'."""

from typing import Any

import numpy as np

from clmt_lib.book.exercises.core import called, chosen, exercise, first, number

TURN_HINTS = {
    "ln_ic50": (
        "keep",
        "a small IC50 means that little of the drug was enough: low is sensitive already.",
    ),
    "act_area": ("turn", "the activity area adds up what the drug took away: high is sensitive."),
    "auc": ("keep", "CTRP's area lies under the curve of cells alive: low is sensitive already."),
    "percent_dead": (
        "turn",
        "the more cells died, the more sensitive the line: high is sensitive.",
    ),
}


exercise(
    "09d.2",
    "one place in the code, one test: a sign that is turned twice is as wrong as one never turned.",
)(lambda answer: chosen(answer, TURN_HINTS, ("keep", "turn")))


@exercise("09d.1", "the pair that was trained on is a memory, and its score is no prediction.")
def _counted(answer: Any) -> Any:
    known = [
        (1, None),
        (
            4,
            "these are all pairs that training never met; new pair means that its line and its "
            "drug are both known, each from another pair.",
        ),
        (5, "that is the number of pairs asked about: one of them was trained on."),
        (3, "those are the pairs in which a line or a drug is new, too."),
    ]
    return first(
        number(answer),
        known,
        "go through the pairs one by one: is the pair itself in training? Its line? Its drug?",
    )


@exercise("09d.3", "with average ranks, a pile of bounds is what it is: a tie.")
def _spearman(answer: Any) -> Any:
    import pandas as pd

    y, p = np.array([2.08, 0.3, 2.08, -1.0, 2.08, 0.9]), np.array([1.5, 0.2, 0.9, 0.1, 2.0, 0.7])
    ranks = {
        how: [pd.Series(values).rank(method=how).to_numpy() for values in (y, p)]
        for how in ("average", "first", "min")
    }
    right = {how: np.corrcoef(*pair)[0, 1] for how, pair in ranks.items()}
    got = number(called(answer, y.copy(), p.copy()))
    known = [
        (right["average"], None),
        (
            right["first"],
            "tied values got different ranks, by where they stand in the table: give them the "
            "mean of their ranks.",
        ),
        (
            right["min"],
            "tied values share the lowest of their ranks: give them the mean of their ranks.",
        ),
        (np.corrcoef(y, p)[0, 1], "that is Pearson's correlation of the values: take ranks first."),
        (-right["average"], "the sign is turned around."),
    ]
    return first(
        got,
        known,
        "rank both sides, tied values by the mean of their ranks, then take Pearson's "
        "correlation of the ranks.",
    )


@exercise(
    "own.1", "with n scores it is the ceil((n + 1) level)-th smallest: here the ninth of nine."
)
def _quantile(answer: Any) -> Any:
    scores = np.array([0.3, 1.1, 0.2, 0.9, 2.4, 0.6, 0.1, 0.5, 1.6])
    known = [
        (2.4, None),
        (1.6, "that is the eighth: one more score, the new one, has to be counted, too."),
        (
            float(np.quantile(scores, 0.9)),
            "np.quantile interpolates between the eighth and the ninth: an interval from it covers "
            "too little.",
        ),
    ]
    return first(number(answer), known, "sort the nine scores, and take the ceil(10 x 0.9)-th.")


OWN_KINDS = {
    "A549, erlotinib under another salt": (
        "known",
        "the salt has another SMILES and the same parent: the drug is a known one.",
    ),
    "A549, a molecule drawn yesterday": ("new drug", "the line was screened, the drug was not."),
    "a biopsy, erlotinib": ("new line", "nobody has screened this line; the drug is known."),
    "a biopsy, a molecule drawn yesterday": ("both new", "neither of the two was ever screened."),
}
exercise("own.2", "which question a pair asks decides which model and which interval answer.")(
    lambda answer: chosen(answer, OWN_KINDS, ("known", "new line", "new drug", "both new"))
)


@exercise("own.3", "by drug: what is drawn again must be what is exchangeable.")
def _by_drug(answer: Any) -> Any:
    errors = np.array([3.0, 3.1, 2.9, 3.0, 0.1, 0.2, -0.4, 0.5])
    drug = np.array([0, 0, 0, 0, 1, 1, 2, 3])
    got = called(answer, np.abs(errors), drug)
    weight = np.asarray(got, dtype=float)
    if weight.shape != errors.shape:
        return "give one weight for each of the pairs."
    right = np.array([0.25] * 4 + [0.5, 0.5, 1.0, 1.0])
    if np.allclose(weight / weight.sum(), right / right.sum()):
        return None
    if np.allclose(weight, weight[0]):
        return "equal weights let the drug with most pairs decide: each drug should weigh the same."
    if np.allclose(weight / weight.sum(), (1 / right) / (1 / right).sum()):
        return "that is the number of pairs of the drug: divide by it."
    return "the weights of the pairs of one drug should add up to the same for every drug."
