"""Chapter 09c: right answers, and the usual wrong ones with a part of their hint."""

import numpy as np

DEALT = {
    "mixed": "pairs",
    "cell_blind": "lines",
    "drug_blind": "compounds",
    "tissue_blind": "tissues",
}


def by_fold(fit, x, y, fold, place=True, same=False):
    out, parts = np.empty(len(x)), []
    for k in np.unique(fold):
        known = fold == k if same else fold != k
        parts.append(fit(x[known], y[known])(x[fold == k]))
        out[fold == k] = parts[-1]
    return out if place else np.concatenate(parts)


RIGHT = {
    "09c.1": [24, 24.0, np.int64(24)],
    "09c.2": [DEALT],
    "09c.3": [by_fold, lambda *given: by_fold(*given).tolist()],
}
WRONG = {
    "09c.1": [
        (20, "final prediction"),
        (4, "many times"),
        (6, "one* base"),
        (25, "no base"),
        (7, "first figure"),
        ("24", "without quotes"),
    ],
    "09c.2": [
        (DEALT | {"mixed": "lines"}, "known lines"),
        (DEALT | {"cell_blind": "pairs"}, "new lines"),
        (DEALT | {"drug_blind": "pairs"}, "new compounds"),
        (DEALT | {"tissue_blind": "lines"}, "easier"),
        (DEALT | {"mixed": 1}, "choose one of"),
    ],
    "09c.3": [
        (lambda fit, x, y, fold: fit(x, y)(x), "in-sample"),
        (lambda *given: by_fold(*given, same=True), "turned around"),
        (lambda *given: by_fold(*given, place=False), "the order is not"),
        (lambda fit, x, y, fold: np.zeros(len(x)), "for each k"),
        (lambda fit, x, y, fold: np.zeros(3), "shape"),
        (0.9, "without calling"),
    ],
}
