"""Chapter cldr: right answers, and the usual wrong ones with a part of their hint."""

import numpy as np

MUST, CAN = "must read the number", "can ignore the number"
SAID = {"a": MUST, "b": CAN, "c": CAN, "d": CAN, "e": MUST}


def soft(y, width, power=1):
    odds = np.exp(-(np.abs(y[:, None] - y) ** power) / width)
    return odds / odds.sum(1, keepdims=True)


def ordered(z, y, tie=0.5):
    apart, gap = np.linalg.norm(z[:, None] - z, axis=2), np.abs(y[:, None] - y)
    points = [
        tie if np.isclose(apart[i, j], apart[i, k]) else float(apart[i, j] < apart[i, k])
        for i in range(len(y))
        for j in range(len(y))
        for k in range(len(y))
        if len({i, j, k}) == 3 and gap[i, j] < gap[i, k]
    ]
    return np.mean(points)


def bumps(codes):
    centres = np.linspace(0, 1000, 21)
    return np.exp(-(((codes[:, None] - centres) / 300) ** 2))


RIGHT = {
    "cldr.1": [0.04, 0.001 / (0.1 * 0.25), np.float64(0.0404)],
    "cldr.2": [SAID],
    "cldr.3": [soft, lambda y, width: soft(y, width).tolist()],
    "cldr.4": [ordered, lambda z, y: np.array([ordered(z, y)])],
    "cldr.5": [bumps, lambda codes: codes[:, None] / 1000],
}
WRONG = {
    "cldr.1": [
        (0.01, "own slope"),
        (0.004, "divide by both"),
        (0.000025, "turn it around"),
        (0.025, "How far"),
        (0.4, "factor"),
        (1.0, "divide the step"),
        ("0.04", "quotes"),
    ],
    "cldr.2": [
        (SAID | {"a": CAN}, "nothing but the number"),
        (SAID | {"b": MUST}, "table of names"),
        (SAID | {"c": MUST}, "names its pair"),
        (SAID | {"d": MUST}, "whatever the numbers say"),
        (SAID | {"e": CAN}, "the same drug"),
        (SAID | {"a": "yes"}, "choose one of"),
        (["a"], "dictionary"),
    ],
    "cldr.3": [
        (lambda y, w: np.exp(-np.abs(y[:, None] - y) / w), "its sum"),
        (lambda y, w: soft(y, -w), "turned around"),
        (lambda y, w: soft(y, w).T, "not columns"),
        (lambda y, w: soft(y, w, 2), "not its square"),
        (lambda y, w: soft(y, w**2, 2), "not its square"),
        (lambda y, w: soft(y, 1 / w), "divide by the width"),
        (lambda y, w: soft(y, 1.0), "missing"),
        (lambda y, w: np.eye(5), "hard targets"),
        (lambda y, w: np.ones((5, 5)), "five pairs"),
        (lambda y, w: y, "shape [5, 5]"),
    ],
    "cldr.4": [
        (lambda z, y: ordered(z, y, 0.0), "not a loss"),
        (lambda z, y: ordered(z, y, 1.0), "not a win"),
        (lambda z, y: 1 - ordered(z, y), "turned around"),
        (lambda z, y: 1.0, "with themselves"),
        (lambda z, y: 100 * ordered(z, y), "percentage"),
        (lambda z, y: ordered(z[:, :1], y), "all dimensions"),
        (lambda z, y: 0.123, "three different pairs"),
    ],
    "cldr.5": [
        (lambda codes: codes / 1000, "shape [601, dim]"),
        (lambda codes: np.full((601, 2), np.nan), "not finite"),
        (lambda codes: codes[:, None] // 10, "thousandth is lost"),
        (
            lambda codes: np.stack([np.sin(codes), np.cos(codes)], axis=1),
            "waves too short",
        ),
        (lambda codes: np.arange(601.0)[:, None], "place in the list"),
    ],
}
