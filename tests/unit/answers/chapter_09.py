"""Chapters 09 and 09a: right answers, and the usual wrong ones with a part of their hint."""

import numpy as np
from scipy.special import stdtrit

SAID = {"a": "reproduced", "b": "not", "c": "partly", "d": "partly", "e": "open"}
SPLITS = {
    "a": "mixed",
    "b": "cell_blind",
    "c": "drug_blind",
    "d": "scaffold_blind",
    "e": "tissue_blind",
}
OWN = {
    "id": "mine",
    "title": "Trees beat ridge",
    "claim": "For a new line, trees predict better than a ridge.",
    "by": "here",
    "where": "here",
    "tests": [
        {
            "compare": "lightgbm - ridge_per_drug",
            "dataset": "gdsc2",
            "split": "cell_blind",
            "metric": "rmse",
            "expect": "better",
        }
    ],
}


def rule(low, high, folds):
    if low <= 0 <= high:
        return "not" if folds >= 3 else "open"
    return "not" if low > 0 else "reproduced" if folds >= 3 else "partly"


def reach(scores, t=None, ddof=1, plus=True):
    n = len(scores)
    t = stdtrit(n - 1, 0.975) if t is None else t
    wide = t * scores.std(ddof=ddof) * (np.sqrt(1 + 1 / n) if plus else 1)
    return [scores.mean() - wide, scores.mean() + wide]


def twins(rest, least):
    r = np.corrcoef(rest.T)
    np.fill_diagonal(r, 0)
    return (r > least).any(axis=0)


def claim_with(**changes):
    return lambda: {**OWN, "tests": [{**OWN["tests"][0], **changes}]}


RIGHT = {
    "09.1": [0.397, 1 - 0.975**20, np.float64(0.4)],
    "09.2": [SAID],
    "09.3": [rule],
    "09.4": [reach, lambda s: tuple(reach(s)), lambda s: np.array(reach(s))],
    "09.5": [lambda: OWN, claim_with(expect="not better"), claim_with(metric="pcc_per_drug")],
}
WRONG = {
    "09.1": [
        (1 - 0.95**20, "wrong side"),
        (0.975**20, "at least one"),
        (0.025, "twenty"),
        (0.5, "add up"),
        (39.7, "between 0 and 1"),
        (0.1, "complement"),
        ("0.4", "without quotes"),
    ],
    "09.2": [
        (SAID | {"b": "partly"}, "half a win"),
        (SAID | {"c": "reproduced"}, "other data"),
        (SAID | {"e": "not"}, "says nothing yet"),
        (SAID | {"a": True}, "choose one of"),
        (["not"], "dictionary"),
    ],
    "09.3": [
        (lambda low, high, folds: "reproduced" if high < 0 else "not", "one fold"),
        (lambda low, high, folds: "reproduced" if (low + high) < 0 else "not", "holds zero"),
        (
            lambda low, high, folds: "not" if low > 0 else "partly" if folds < 3 else "reproduced",
            "holds zero",
        ),
        (lambda *given: "yes", "one of"),
        (lambda low, high, folds: "open" if folds < 3 else rule(low, high, folds), "right side"),
        (
            lambda low, high, folds: rule(low, high, folds) if folds != 3 else "partly",
            "three folds",
        ),
        (
            lambda low, high, folds: "reproduced" if high == 0 else rule(low, high, folds),
            "ends at zero",
        ),
        (
            lambda low, high, folds: "reproduced" if low > 0 else rule(low, high, folds),
            "other is better",
        ),
    ],
    "09.4": [
        (lambda s: reach(s)[::-1], "low end first"),
        (lambda s: reach(s, t=1.959964), "Student"),
        (lambda s: reach(s, ddof=0), "ddof=1"),
        (lambda s: reach(s, plus=False), "uncertain"),
        (
            lambda s: [s.mean() + i * stdtrit(4, 0.975) * s.std(ddof=1) / 5**0.5 for i in (-1, 1)],
            "the *mean*",
        ),
        (lambda s: 0.1, "shape [2]"),
        (lambda s: [0.0, 1.0], "sqrt(1 + 1/n)"),
    ],
    "09.5": [
        (lambda: {**OWN, "tests": []}, "has no test"),
        (lambda: {**OWN, "where": "rumour"}, "where"),
        (lambda: {k: v for k, v in OWN.items() if k != "title"}, "title"),
        (claim_with(split="random"), "splits"),
        (claim_with(expect="good"), "use one of"),
        (claim_with(compare="lightgbm"), "cannot read"),
        (claim_with(compare="lightgbm - my_model"), "my_model"),
        (lambda: {**OWN, "tests": [{"untestable": "no data"}]}, "compare"),
        (claim_with(compare="als - als"), "itself"),
        (
            lambda: {
                **OWN,
                "tests": [OWN["tests"][0], {**OWN["tests"][0], "expect": "not better"}],
            },
            "cannot fail",
        ),
        (lambda: {**OWN, "verdict": "reproduced"}, "verdict"),
        (lambda: "a claim", "keys"),
    ],
}

RIGHT |= {
    "09a.1": [0.85, 1.2 / np.sqrt(2)],
    "09a.2": [SPLITS],
    "09a.3": [twins, lambda rest, least: twins(rest, least).tolist()],
}
WRONG |= {
    "09a.1": [
        (1.2, "both measurements"),
        (0.6, "square root of two"),
        (1.697, "other way round"),
        (0.72, "variance"),
        (0.1, "sum of their variances"),
    ],
    "09a.2": [
        (SPLITS | {"a": "drug_blind"}, "only pairs are missing"),
        (SPLITS | {"d": "drug_blind"}, "chemical family"),
        (SPLITS | {"e": "cell_blind"}, "tissue"),
        (SPLITS | {"a": 1}, "choose one of"),
    ],
    "09a.3": [
        (lambda rest, least: (np.corrcoef(rest.T) > least).any(0), "diagonal"),
        (lambda rest, least: (np.abs(np.corrcoef(rest.T) - np.eye(6)) > least).any(0), "sign"),
        (lambda rest, least: ~twins(rest, least), "other way round"),
        (lambda rest, least: twins(rest.T, least), "shape [6]"),
        (lambda rest, least: [1, 0, 0, 0, 0, 1], "columns"),
    ],
}
