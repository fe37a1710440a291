"""Chapters 09d and "Your own drugs and lines": right answers, and the usual wrong ones with a part
of their hint.
"""

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from clmt_lib.tasks import metrics

SAID = {"ln_ic50": "keep", "act_area": "turn", "auc": "keep", "percent_dead": "turn"}


def by_ranks(how):
    return lambda y, p: np.corrcoef(*(pd.Series(v).rank(method=how) for v in (y, p)))[0, 1]


OWN = {
    "A549, erlotinib under another salt": "known",
    "A549, a molecule drawn yesterday": "new drug",
    "a biopsy, erlotinib": "new line",
    "a biopsy, a molecule drawn yesterday": "both new",
}
SCORES = [0.3, 1.1, 0.2, 0.9, 2.4, 0.6, 0.1, 0.5, 1.6]


def each_drug_the_same(scores, drug):
    return [1 / (drug == one).sum() for one in drug]


RIGHT = {
    "09d.1": [1, 1.0, np.int64(1)],
    "09d.2": [SAID],
    "09d.3": [metrics.spearman, lambda y, p: spearmanr(y, p)[0], by_ranks("average")],
    "own.1": [2.4, np.float64(2.4)],
    "own.2": [OWN],
    "own.3": [each_drug_the_same, lambda s, d: 2 * np.array(each_drug_the_same(s, d))],
}
WRONG = {
    "09d.1": [
        (4, "both known"),
        (5, "trained on"),
        (3, "is new, too"),
        (0, "one by one"),
        ("1", "without quotes"),
    ],
    "09d.2": [
        (SAID | {"act_area": "keep"}, "took away"),
        (SAID | {"auc": "turn"}, "cells alive"),
        (SAID | {"ln_ic50": "turn"}, "little of the drug"),
        (SAID | {"auc": -1}, "choose one of"),
    ],
    "09d.3": [
        (by_ranks("first"), "different ranks"),
        (by_ranks("min"), "lowest"),
        (lambda y, p: np.corrcoef(y, p)[0, 1], "take ranks first"),
        (lambda y, p: -metrics.spearman(y, p), "turned around"),
        (lambda y, p: 0.3, "rank both sides"),
        (0.9, "without calling"),
    ],
    "own.1": [
        (1.6, "one more score"),
        (float(np.quantile(SCORES, 0.9)), "covers too little"),
        (0.1, "sort the nine"),
    ],
    "own.2": [
        (OWN | {"A549, erlotinib under another salt": "new drug"}, "same parent"),
        (OWN | {"a biopsy, erlotinib": "known"}, "nobody has screened"),
        (OWN | {"A549, a molecule drawn yesterday": "both new"}, "the line was screened"),
        (OWN | {"a biopsy, a molecule drawn yesterday": "new line"}, "neither"),
    ],
    "own.3": [
        (lambda s, d: np.ones(len(s)), "equal weights"),
        (lambda s, d: [(d == one).sum() for one in d], "divide by it"),
        (lambda s, d: [1.0], "one weight for each"),
        (lambda s, d: np.arange(1.0, len(s) + 1), "add up to the same"),
    ],
}
