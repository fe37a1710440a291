"""Chapter 08: right answers, and the usual wrong ones with a part of their hint."""

import numpy as np

from clmt_lib import models, tasks
from clmt_lib.tasks import metrics

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
        lambda a, b: tuple(tasks.interval(a - b)),
    ],
    "08.5": [
        factorised,
        lambda world, split: models.build("neighbours_fingerprint").fit(world, split).table,
    ],
}
WRONG = {
    "08.1": [
        (93.5, "GiB"),
        (12.55, "8 bytes"),
        (50.2, "float32"),
        (0.000896, "every pair"),
        (0.003036, "avoids"),
        (100.43e9, "10 ** 9"),
        (7, "rows x columns"),
        ("100", "without quotes"),
    ],
    "08.2": [
        (SCORES | {"a": "pcc"}, "a is not pcc"),
        (SCORES | {"b": "pcc_per_drug"}, "inside the line"),
        (SCORES | {"c": "pcc"}, "units"),
        (SCORES | {"d": "rmse"}, "take away first"),
        (SCORES | {"d": "accuracy"}, "choose one of"),
        (["rmse"], "dictionary"),
    ],
    "08.3": [
        (lambda y, p, drug: np.corrcoef(y, p)[0, 1], "global correlation"),
        (per_drug_bare(fewest=1), "three lines"),
        (per_drug_bare(drop=True), "reward giving up"),
        (per_drug_bare(weigh=True), "counts once"),
        (naive_nan, "NaN"),
        (lambda y, p, drug: [0.1, 0.2], "mean over drugs"),
        (0.5, "hand in the function"),
        (lambda y, p, drug: 0.123, "inside each drug"),
    ],
    "08.4": [
        (lambda a, b: np.percentile(b - a, [2.5, 97.5]), "sign"),
        (lambda a, b: np.percentile(a - b, [5, 95]), "90 %"),
        (lambda a, b: a - b, "each draw"),
        (lambda a, b: np.percentile(a - b, [97.5, 2.5]), "low end first"),
        (
            lambda a, b: np.percentile(a, [2.5, 97.5]) - np.percentile(b, [2.5, 97.5]),
            "subtract first",
        ),
        (lambda a, b: (0, 0), "np.percentile"),
    ],
    "08.5": [
        (effects_only, "drug + cell effects"),
        (peeks, "a leak"),
        (only_test_pairs, "whole table"),
        (with_holes, "holes"),
        (lambda world, split: np.zeros((3, 3)), "shape"),
        (lambda world, split: 1 / 0, "ZeroDivisionError"),
    ],
}
