"""Chapter 09b: right answers, and the usual wrong ones with a part of their hint."""

import numpy as np

CONTROLS = {"a": "random", "b": "shuffled", "c": "name", "d": "annotation"}
RIGHT = {
    "09b.1": [3, 3.0, np.int64(3)],
    "09b.2": [CONTROLS],
    "09b.3": [
        lambda gap, twin: gap[twin].sum() / gap.sum(),
        lambda gap, twin: np.sum(gap * twin) / np.sum(gap),
    ],
}
WRONG = {
    "09b.1": [
        (6, "left behind"),
        (4, "becomes of B"),
        (5, "all the pairs"),
        (2, "RAF"),
        (1, "islands"),
        (9, "an island"),
        ("3", "without quotes"),
    ],
    "09b.2": [
        ({**CONTROLS, "a": "shuffled"}, "a is not shuffled"),
        ({**CONTROLS, "b": "random"}, "clusters"),
        ({**CONTROLS, "d": "words"}, "choose one of"),
        (3, "dictionary"),
    ],
    "09b.3": [
        (lambda gap, twin: gap[~twin].sum() / gap.sum(), "without"),
        (lambda gap, twin: twin.mean(), "share of the drugs"),
        (lambda gap, twin: gap[twin].mean() / gap.mean(), "ratio of means"),
        (lambda gap, twin: gap[twin].mean(), "mean gain"),
        (lambda gap, twin: gap[twin].sum(), "divide"),
        (lambda gap, twin: gap[twin & (gap > 0)].sum() / gap[gap > 0].sum(), "losses"),
        (lambda gap, twin: 100 * gap[twin].sum() / gap.sum(), "per cent"),
        (lambda gap, twin: 7.0, "sum of all gains"),
        (lambda gap, twin: gap, "one number"),
        (lambda gap: 1.0, "TypeError"),
    ],
}
