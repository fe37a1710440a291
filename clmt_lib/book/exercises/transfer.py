"""Chapter 09d."""

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
def _counted(answer):
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
def _spearman(answer):
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
