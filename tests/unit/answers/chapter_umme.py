"""Chapter umme: right answers, and the usual wrong ones with a part of their hint."""

import numpy as np

LEAK, FAIR = "leak", "fair"
SAID = {"a": LEAK, "b": FAIR, "c": LEAK, "d": FAIR, "e": LEAK}


def shares(say, there):
    odds = np.exp(say) * there
    return odds / odds.sum(1, keepdims=True)


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def lose(present, rate, rng):
    left = present & (rng.random(present.shape) >= rate)
    return np.where(left.any(1)[:, None], left, present)


RIGHT = {
    "umme.1": [1.75, 0.75 * 4 * 0.5 + 0.25],
    "umme.2": [SAID],
    "umme.3": [shares],
    "umme.4": [lambda left, soft: softmax(-left / soft)],
    "umme.5": [lose],
}
WRONG = {
    "umme.1": [
        (0.625, "number of modalities"),
        (1.25, "turned rho around"),
        (2.0, "very start"),
        (1.0, "has ended"),
        (3.0, "M = 4"),
    ],
    "umme.2": [
        (SAID | {"a": FAIR}, "measured the pair"),
        (SAID | {"b": LEAK}, "before anything is measured"),
        (SAID | {"c": FAIR}, "under another name"),
        (SAID | {"d": LEAK}, "before any drug"),
        (SAID | {"e": FAIR}, "presence alone"),
    ],
    "umme.3": [
        (lambda say, there: softmax(say.T).T / softmax(say.T).T.sum(1)[:, None], "not used"),
        (
            lambda say, there: np.exp(say) / np.exp(say).sum(1)[:, None] * there,
            "after the softmax",
        ),
        (
            lambda say, there: np.exp(say * there) / np.exp(say * there).sum(1)[:, None],
            "no mask",
        ),
        (lambda say, there: say, "divide by the sum"),
    ],
    "umme.4": [
        (lambda left, soft: np.exp(-left / soft), "divide"),
        (lambda left, soft: softmax(left / soft), "a minus"),
        (lambda left, soft: softmax(-left * soft), "by the softness"),
        (lambda left, soft: left, "softmax of minus"),
    ],
    "umme.5": [
        (lambda present, rate, rng: rng.random(present.shape) >= rate, "did not have"),
        (
            lambda present, rate, rng: present & (rng.random(present.shape) >= rate),
            "lost everything",
        ),
        (lambda present, rate, rng: present, "only 0%"),
        (
            lambda present, rate, rng: present & (np.cumsum(present, 1) == 1),
            "of a rate of 30 %",
        ),
    ],
}
