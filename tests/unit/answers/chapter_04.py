"""Chapter 04: right answers, and the usual wrong ones with a part of their hint."""

import numpy as np
import pandas as pd

from clmt_lib.views.structure import neighbours

SAID = {"a": "yes", "b": "no", "c": "no", "d": "no", "e": "say so"}


def near(similarity, k, skip=0, diagonal=-np.inf):
    score = np.where(np.eye(len(similarity), dtype=bool), diagonal, similarity)
    table = np.zeros_like(similarity)
    np.put_along_axis(table, np.argsort(-score, axis=1)[:, skip : skip + k], 1.0, axis=1)
    return table


def mutual(similarity, k):
    return np.maximum(near(similarity, k), near(similarity, k).T)


def hold_out(measured, keep, rng):
    travels = rng.random(measured.shape) < keep
    return measured & travels, measured & ~travels


def two_draws(measured, keep, rng):
    return hold_out(measured, keep, rng)[0], hold_out(measured, keep, rng)[1]


def whole_lines(measured, keep, rng):
    travels = rng.random((len(measured), 1)) < keep
    return measured & travels, measured & ~travels


def acts_alike(target, k, fewest=5, noise=None):
    alike = pd.DataFrame(target).corr(min_periods=fewest).to_numpy(copy=True)
    if noise is not None:
        alike = np.where(np.isfinite(alike), noise.random(alike.shape), np.nan)
    np.fill_diagonal(alike, -np.inf)
    alike = np.where(alike > 0, alike, -np.inf)
    table = np.zeros_like(alike)
    np.put_along_axis(table, np.argsort(-alike, axis=1)[:, :k], 1.0, axis=1)
    return np.where(np.isfinite(alike), table, 0.0)


def filled(target, k):
    values = np.nan_to_num(target)
    length = np.maximum(np.linalg.norm(values, axis=0), 1e-12)
    return near(values.T @ values / length / length[:, None], k)


RIGHT = {
    "04.1": [[0.0, 2.0], np.array([0, 2])],
    "04.2": [SAID],
    "04.3": [
        near,
        lambda similarity, k: neighbours(similarity - similarity.min() + 0.1, k),
        lambda s, k: near(s, k).astype(bool).tolist(),
    ],
    "04.4": [
        hold_out,
        lambda m, keep, rng: tuple(part.astype(float) for part in hold_out(m, keep, rng)),
    ],
    "04.5": [acts_alike],
}
WRONG = {
    "04.1": [
        ([1.0, 3.0], "sum"),
        ([-2.0, 2.0], "ReLU is missing"),
        ([3.0, 1.0], "what it hears"),
        ([1 / 3, 1.0], "no neighbour"),
        ([0.0, 1.0], "node alone"),
        ([9.0, 9.0], "first the mean"),
        (2.0, "shape [2]"),
    ],
    "04.2": [
        (SAID | {"b": "yes"}, "nothing is learnt"),
        (SAID | {"e": "yes"}, "transductive"),
        (SAID | {"d": "say so"}, "another density"),
        (SAID | {"a": True}, "choose one of"),
        (["yes"], "dictionary"),
    ],
    "04.3": [
        (lambda s, k: near(s, k).T, "transposed"),
        (lambda s, k: near(s, k, skip=1), "nearest neighbour is missing"),
        (lambda s, k: near(s, k, diagonal=2), "own nearest"),
        (lambda s, k: near(s, k + 1), "one neighbour too many"),
        (lambda s, k: near(-s, k), "least"),
        (mutual, "symmetric"),
        (lambda s, k: s * near(s, k), "zeros and ones"),
        (lambda s, k: s[:2], "shape [9, 9]"),
        (lambda s, k: np.ones_like(s), "sort each row"),
    ],
    "04.4": [
        (lambda m, keep, rng: (m, m), "in both tables"),
        (two_draws, "in both tables"),
        (lambda m, keep, rng: (rng.random(m.shape) < keep, m & False), "never measured"),
        (lambda m, keep, rng: (hold_out(m, keep, rng)[0], m & False), "neither table"),
        (lambda m, keep, rng: hold_out(m, keep, rng)[::-1], "travel; `keep`"),
        (lambda m, keep, rng: m, "two tables"),
        (lambda m, keep, rng: hold_out(m, keep, np.random.default_rng(0)), "draw with `rng`"),
        (lambda m, keep, rng: whole_lines(m, 0.78, rng), "whole lines"),
    ],
    "04.5": [
        (lambda t, k: np.eye(20), "hears itself"),
        (lambda t, k: np.ones((20, 20)) - np.eye(20), "drug 0"),
        (filled, "drug 0"),
        (lambda t, k: acts_alike(t, k + 2), "at most k"),
        (lambda t, k: acts_alike(t, k, noise=np.random.default_rng(0)), "16 % is chance"),
        (lambda t, k: np.zeros((20, 20)), "no drug hears"),
        (lambda t, k: pd.DataFrame(t).corr().to_numpy(), "zeros and ones"),
        (lambda t, k: acts_alike(t[:20], k), "another order"),
    ],
}
