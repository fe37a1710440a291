"""Chapter 14: right answers, and the usual wrong ones with a part of their hint."""

import numpy as np

from clmt_lib.book.exercises.scaling import makespan

SAID = {
    "a": "encode once",
    "b": "cluster",
    "c": "keep it on disk",
    "d": "larger batches",
    "e": "pack",
}


def exponent(size, seconds):
    return np.polyfit(np.log(size), np.log(seconds), 1)[0]


def tiles(pairs, most, wide=12, high=15):
    block = pairs[:, 0] // high * 1000 + pairs[:, 1] // wide
    return [np.flatnonzero(block == one) for one in np.unique(block)]


def by_line(pairs, most):
    return np.array_split(np.argsort(pairs[:, 0], kind="stable"), -(-len(pairs) // most))


RIGHT = {
    "14.1": [2 * 969 * 8000 * 1024 / 1e9, 15.9, np.float64(15.88)],
    "14.2": [SAID],
    "14.3": [exponent, lambda size, seconds: np.array([exponent(size, seconds)])],
    "14.4": [makespan],
    "14.5": [tiles, lambda *given: [batch.tolist() for batch in tiles(*given)]],
}
WRONG = {
    "14.1": [
        (7.94, "two operations"),
        (47.6, "backward"),
        (15_876_096_000, "units of 10^9"),
        (0.016384, "969"),
        (3525, "every pair"),
        (1.0, "two operations for each line"),
        ("16", "without quotes"),
    ],
    "14.2": [
        (SAID | {"a": "cluster"}, "again and again"),
        (SAID | {"b": "pack"}, "many computers"),
        (SAID | {"c": "larger batches"}, "never changes"),
        (SAID | {"d": "encode once"}, "starting small"),
        (SAID | {"e": "cluster"}, "tells most"),
        (SAID | {"e": "a faster computer"}, "choose one of"),
        (["pack"], "dictionary"),
    ],
    "14.3": [
        (lambda size, s: np.polyfit(np.log(size), np.log(s), 1)[1], "intercept"),
        (lambda size, s: np.polyfit(np.log(s), np.log(size), 1)[0], "swapped"),
        (lambda size, s: np.polyfit(size, s, 1)[0], "logarithms of both"),
        (lambda size, s: np.polyfit(np.log(size), s, 1)[0], "too"),
        (lambda size, s: np.log(s[-1] / s[0]) / np.log(size[-1] / size[0]), "first and the last"),
        (lambda size, s: 2 ** exponent(size, s), "doubling"),
        (lambda size, s: s[-1] / s[0], "size grow"),
        (lambda size, s: 5.0, "least squares"),
        (lambda size, s: np.polyfit(np.log(size), np.log(s), 1), "shape [1]"),
    ],
    "14.4": [
        (lambda s, n: sum(s) / n, "least possible"),
        (lambda s, n: sum(s), "one worker alone"),
        (lambda s, n: max(s), "longest run alone"),
        (lambda s, n: max(sum(s[i::n]) for i in range(n)), "beforehand"),
        (lambda s, n: makespan(sorted(s, reverse=True), n), "order of the list"),
        (lambda s, n: makespan(s, 3), "with one worker"),
        (lambda s, n: 1.0, "one number a worker"),
    ],
    "14.5": [
        (lambda pairs, most: np.array_split(np.arange(len(pairs)), 12), "random batches need"),
        (by_line, "one side"),
        (lambda pairs, most: [np.arange(len(pairs))], "at most 200"),
        (lambda pairs, most: [pairs[:100]], "flat array"),
        (lambda pairs, most: tiles(pairs, most)[1:], "in no batch"),
        (lambda pairs, most: tiles(pairs, most) * 2, "two batches"),
        (lambda pairs, most: [batch + 1 for batch in tiles(pairs, most)], "outside"),
        (lambda *given: 3, "list of arrays"),
    ],
}
