"""Chapter 06: right answers, and the usual wrong ones with a part of their hint."""

import numpy as np

from clmt_lib.book.exercises.training import adamw
from clmt_lib.models.clmt.auxiliary import drug_thresholds

SAID = {
    "a": "cell_blind",
    "b": "mixed",
    "c": "drug_blind",
    "d": "scaffold_blind",
    "e": "tissue_blind",
}


def stop(valid, patience, tie=False, restart=True, end=True):
    best, kept, since, made = float("inf"), 0, 0, 0
    for look, score in enumerate(valid):
        made, since = look + 1, since + 1
        if score < best or (tie and score == best):
            best, kept, since = score, look, 0 if restart else since - 1
        if end and since >= patience:
            break
    return kept, made


def spread(benchmark, positions):
    table = benchmark.matrix(positions)
    out, some = np.full(benchmark.n_drugs, np.nan), np.isfinite(table).any(axis=0)
    out[some] = np.nanstd(table[:, some], axis=0)
    return out


RIGHT = {
    "06.1": [[40000, 600], np.array([40000, 600]), (40000, 600)],
    "06.2": [SAID],
    "06.3": [adamw, lambda *given: adamw(*given).tolist()],
    "06.4": [stop, lambda *given: list(stop(*given))],
    "06.5": [spread, lambda world, at: drug_thresholds(world, at)],
}
WRONG = {
    "06.1": [
        ([20000, 600], "drug"),
        ([40000, 24000], "nothing is encoded twice"),
        ([40000, 80000], "different"),
        ([1000, 600], "one batch"),
        ([600, 40000], "order"),
        ([1, 2], "two encodings"),
        (600, "shape [2]"),
    ],
    "06.2": [
        (SAID | {"a": "mixed"}, "lines are new"),
        (SAID | {"d": "drug_blind"}, "ring systems"),
        (SAID | {"e": "cell_blind"}, "tissue"),
        (SAID | {"b": 1}, "choose one of"),
        (["mixed"], "dictionary"),
    ],
    "06.3": [
        (lambda *given: adamw(*given, corrected=False), "bias correction"),
        (lambda *given: adamw(*given, coupled=True), "L2"),
        (lambda theta, g, rate, decay: adamw(theta, g, rate, 0.0), "decay is missing"),
        (lambda *given: adamw(*given, root=False), "square root"),
        (lambda theta, g, *rest: adamw(theta, g[:1], *rest), "only the first"),
        (lambda theta, g, rate, decay: theta - rate * sum(g), "plain"),
        (lambda theta, *rest: adamw(theta, *rest) - theta, "the change"),
        (lambda *given: np.zeros(2), "update m"),
        (lambda *given: (adamw(*given), 0), "weights alone"),
        (lambda *given: 1.0, "shape [2]"),
    ],
    "06.4": [
        (lambda *given: stop(*given, tie=True), "equal value"),
        (lambda *given: stop(*given, end=False), "must stop"),
        (lambda *given: stop(*given, restart=False), "back to 0"),
        (lambda *given: (7, 8), "stopped"),
        (lambda *given: (4, 7), "count it"),
        (lambda *given: 4, "two things"),
        (lambda *given: (stop(*given)[0] + 1, stop(*given)[1]), "from 0"),
        (lambda *given: (0, 0), "keep the best value"),
        (
            lambda valid, patience: stop(valid, patience) if patience < 5 else (0, 1),
            "all looks are made",
        ),
    ],
    "06.5": [
        (lambda world, at: spread(world, np.arange(len(world))), "outside `positions`"),
        (lambda world, at: np.nan_to_num(spread(world, at)), "leave it NaN"),
        (lambda world, at: np.random.default_rng().random(world.n_drugs), "call to call"),
        (lambda world, at: spread(world, at) * 0 + 1, "same value"),
        (lambda world, at: spread(world, at) * np.nan, "no value"),
        (lambda world, at: 3.0, "array of shape"),
    ],
}
