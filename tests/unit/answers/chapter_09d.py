"""Chapter 09d: right answers, and the usual wrong ones with a part of their hint."""

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from clmt_lib.tasks import metrics

SAID = {"ln_ic50": "keep", "act_area": "turn", "auc": "keep", "percent_dead": "turn"}


def by_ranks(how):
    return lambda y, p: np.corrcoef(*(pd.Series(v).rank(method=how) for v in (y, p)))[0, 1]


RIGHT = {
    "09d.1": [1, 1.0, np.int64(1)],
    "09d.2": [SAID],
    "09d.3": [metrics.spearman, lambda y, p: spearmanr(y, p)[0], by_ranks("average")],
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
}
