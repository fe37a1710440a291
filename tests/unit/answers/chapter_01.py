"""Chapter 01: right answers, and the usual wrong ones with a part of their hint."""

import math

import numpy as np


def scaler(x, train):
    mean, scale = x[train].mean(0), x[train].std(0)
    return (x - mean) / np.where(scale > 0, scale, 1.0)


def crossing(names, train, test):
    clean = [name.strip().lower() for name in names]
    return sorted({clean[i] for i in train} & {clean[i] for i in test})


def both_blind(benchmark, shares=(0.25, 0.34), key="compound"):
    (line, drug), rng = benchmark.pairs.T, np.random.default_rng(0)
    group = np.unique(benchmark.drugs[key] if key else benchmark.drugs.index, return_inverse=True)[
        1
    ][drug]
    held_line, held_group = (
        rng.permutation(n)[: math.ceil(share * n)]
        for n, share in zip((benchmark.n_cells, group.max() + 1), shares)
    )
    new_line, new_group = np.isin(line, held_line), np.isin(group, held_group)
    return np.flatnonzero(~new_line & ~new_group), np.flatnonzero(new_line & new_group)


RIGHT = {
    "01.1": [math.exp(2.31), 10.07, np.float64(10.07), np.array([10.1]), np.float32(10.07)],
    "01.2": [{"a": "cell_blind", "b": "mixed", "c": "scaffold_blind", "d": "tissue_blind"}],
    "01.3": [
        scaler,
        lambda x, train: scaler(x, train).tolist(),
        lambda x, train: (
            (x - x[train].mean(0)) / np.where(x[train].std(0) > 0, x[train].std(0, ddof=1), 1.0)
        ),
    ],
    "01.4": [
        crossing,
        lambda *roles: [name.title() for name in crossing(*roles)],
        lambda *roles: set(crossing(*roles)),
    ],
    "01.5": [both_blind, lambda world: [role.tolist() for role in both_blind(world)]],
}
ANSWERS = RIGHT["01.2"][0]


def leaky_scaler(x, train):
    return scaler(x, np.arange(len(x)))


def mixed_scaler(x, train):
    return (x - x[train].mean(0)) / np.where(x.std(0) > 0, x.std(0), 1.0)


def constant_gene(x, train):
    return (x - x[train].mean(0)) / x[train].std(0)


def by_variance(x, train):
    scale = x[train].std(0)
    return (x - x[train].mean(0)) / np.where(scale > 0, scale**2, 1.0)


def by_exact_name(names, train, test):
    return sorted({names[i] for i in train} & {names[i] for i in test})


WRONG = {
    "01.1": [
        (2.31, "difference of the logarithms"),
        (10**2.31, "not 10"),
        (2**2.31, "not 2"),
        (math.exp(-2.31), "upside down"),
        (2.81 / 0.5, "ratio of logarithms"),
        (42, "take the difference"),
        ("10", "without quotes"),
        (math.nan, "finite"),
        (True, "got bool"),
        ([10.07], "got list"),
        (math.exp, "call it"),
    ],
    "01.2": [
        (ANSWERS | {"a": "mixed"}, "a is not mixed"),
        (ANSWERS | {"b": "cell_blind"}, "Nothing has to be new"),
        (ANSWERS | {"c": "drug_blind"}, "near copy"),
        (ANSWERS | {"d": "cell_blind"}, "same tissue"),
        (ANSWERS | {"d": "tissue-blind"}, "for d, choose one of"),
        ({"a": "cell_blind"}, "for b, choose one of"),
        (list(ANSWERS.values()), "dictionary"),
    ],
    "01.3": [
        (leaky_scaler, "a leak"),
        (mixed_scaler, "a leak"),
        (constant_gene, "division by zero"),
        (by_variance, "divides by the variance"),
        (lambda x, train: scaler(x, train)[train], "only the training lines"),
        (lambda x, train: x - x[train].mean(0), "now divide"),
        (lambda x, train: x, "gene by gene"),
        (lambda x, train: x.mean(), "expected an array of shape [8, 4]"),
        (lambda x, train: scaler(x, train).T, "got one of length 4"),
        (lambda x, train: scaler, "got a function"),
        (scaler(np.ones((8, 4)), [0, 1]), "without calling it"),
        (lambda x: x, "raised TypeError"),
    ],
    "01.4": [
        (by_exact_name, "'GEMCITABINE'"),
        (lambda names, train, test: sorted(set(train) & set(test)), "Do you compare ids"),
        (lambda names, train, test: [2, 4], "not ids"),
        (
            lambda names, train, test: [
                names[i] for i in test if names[i].strip().lower() in crossing(names, train, test)
            ],
            "more than once",
        ),
        (
            lambda names, train, test: sorted({name.strip().lower() for name in names}),
            "one role only",
        ),
        (lambda names, train, test: ["gemcitabine"], "exactly the same name"),
        (lambda names, train, test: "gemcitabine", "got str"),
    ],
    "01.5": [
        (lambda world: both_blind(world, key=None), "under two ids"),
        (lambda world: (np.arange(10), np.arange(9, 20)), "in both roles"),
        (lambda world: (np.arange(1, len(world)), np.array([0])), "a line of the test set"),
        (lambda world: both_blind(world, shares=(0.8, 0.8)), "wasteful"),
        (lambda world: (np.arange(10), np.array([], dtype=int)), "test is empty"),
        (lambda world: (np.arange(10), np.array([10**6])), "outside the responses"),
        (lambda world: (np.ones(len(world), bool), np.zeros(len(world), bool)), "whole numbers"),
        (lambda world: np.arange(10), "two things"),
    ],
}
