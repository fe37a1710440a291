"""Chapter 14."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from clmt_lib.book.exercises.core import Hint, called, chosen, exercise, first, number, numbers


@exercise(
    "14.1",
    "sixteen billion operations, for any number of pairs. Encoded for each of 100,000 pairs, "
    "the same layer would take a hundred times as many.",
)
def _layer(answer: Any) -> Any:
    once = 2 * 969 * 8000 * 1024 / 1e9
    got, hints = (
        number(answer),
        [
            (once, None),
            (once / 2, "a multiplication and an addition are two operations."),
            (once * 1e9, "in units of 10^9, please."),
            (
                once * 3,
                "that is a training step, forward and backward; only the forward pass is asked "
                "for.",
            ),
            (2 * 8000 * 1024 / 1e9, "that is one line; there are 969."),
            (once * 222, "that is every pair of the table: how often must one line be encoded?"),
            (once / 1e3, "that is in units of 10^12."),
        ],
    )
    return next(
        (hint for value, hint in hints if abs(got - value) < 0.01 * value),
        "a layer costs two operations for each line, each of its inputs and each of its outputs.",
    )


REMEDIES = ("encode once", "keep it on disk", "larger batches", "cluster", "pack")
CASES = {
    "a": (
        "encode once",
        "the same work is done again and again inside a step: do it once for each entity.",
    ),
    "b": (
        "cluster",
        "the runs need nothing of one another and no GPU: let many computers make them.",
    ),
    "c": (
        "keep it on disk",
        "what never changes between runs need not be computed in each of them.",
    ),
    "d": (
        "larger batches",
        "the time goes into starting small operations: give each of them more to do.",
    ),
    "e": (
        "pack",
        "the time is short and the list is long: start with what tells most, and several at a "
        "time.",
    ),
}


exercise(
    "14.2", "look where the time goes first; each remedy helps in one place and nowhere else."
)(lambda answer: chosen(answer, CASES, REMEDIES))


@exercise("14.3", "on this scale a power law is a straight line, and the exponent its slope.")
def _exponent(answer: Any) -> Any:
    size, seconds = np.array([1e3, 2e3, 4e3, 8e3, 16e3]), np.array([0.2, 0.26, 0.31, 0.42, 0.50])
    got = float(numbers(np.atleast_1d(called(answer, size.copy(), seconds.copy())), (1,))[0])
    x, y = np.log(size), np.log(seconds)
    known = [
        (np.polyfit(x, y, 1)[0], None),
        (np.polyfit(x, y, 1)[1], "that is the other number of the fit, the intercept."),
        (np.polyfit(y, x, 1)[0], "sizes and seconds are swapped."),
        (
            np.polyfit(size, seconds, 1)[0],
            "that is a slope in seconds per item: take logarithms of both first.",
        ),
        (np.polyfit(x, seconds, 1)[0], "take the logarithm of the seconds, too."),
        (
            (y[-1] - y[0]) / (x[-1] - x[0]),
            "only the first and the last point were used: fit a line to all of them.",
        ),
        (2 ** np.polyfit(x, y, 1)[0], "that is what doubling costs, 2 to the exponent."),
        (
            seconds[-1] / seconds[0],
            "that says how much longer the last takes; by how much did the size grow?",
        ),
    ]
    return first(
        got,
        known,
        "the slope of a straight line through log(seconds) against log(size), by least squares.",
    )


def makespan(seconds: Iterable[float], workers: int) -> float:
    """Seconds until the last run has ended, if whoever is free takes the next."""
    free = [0.0] * workers
    for length in seconds:
        free[free.index(min(free))] += length
    return max(free)


@exercise(
    "14.4", "that is all a queue does, and Snakemake, Slurm and `clmt run --jobs` are such queues."
)
def _makespan(answer: Any) -> Any:
    seconds, workers = [4.0, 7.0, 3.0, 2.0, 6.0, 5.0, 1.0, 9.0], 3
    got = float(numbers(np.atleast_1d(called(answer, list(seconds), workers)), (1,))[0])
    known = [
        (makespan(seconds, workers), None),
        (sum(seconds) / workers, "that is the least possible; runs are not cut into pieces."),
        (sum(seconds), "that is one worker alone."),
        (max(seconds), "that is the longest run alone: there are more runs than workers."),
        (
            max(sum(seconds[i::workers]) for i in range(workers)),
            "that deals the runs out beforehand, and whoever is done early waits. Let whoever "
            "is free take the next one.",
        ),
        (
            makespan(sorted(seconds, reverse=True), workers),
            "keep the order of the list: longest first is often better, but was not asked for.",
        ),
    ]
    hint = first(
        got,
        known,
        "keep one number a worker, the time at which it is free; give each run to the smallest.",
    )
    if hint is None and abs(float(answer([5.0, 5.0, 1.0], 1)) - 11.0) > 1e-9:
        return "with one worker, the answer should be the sum."
    return hint


def encodings(pairs: np.ndarray, batches: Iterable[np.ndarray]) -> int:
    """Lines and drugs that must be encoded over all batches, each once a batch."""
    return sum(len(np.unique(side)) for batch in batches for side in pairs[batch].T)


@exercise(
    "14.5",
    "each encoding now serves more pairs. What does it do to the noise of a step? Train with "
    "both and look at the validation set before you believe in it.",
)
def _batches(answer: Any) -> Any:
    rng, most = np.random.default_rng(0), 200
    pairs = np.argwhere(rng.random((60, 40)) < 0.8)
    pairs = pairs[rng.permutation(len(pairs))]
    got = called(answer, pairs.copy(), most)
    if (
        isinstance(got, (str, bytes, dict))
        or not hasattr(got, "__len__")
        or not 0 < len(got) <= len(pairs)
    ):
        raise Hint("return a list of arrays, one a batch, with positions into `pairs`.")
    batches = [np.asarray(batch) for batch in got]
    if any(batch.ndim != 1 or batch.dtype.kind not in "iu" for batch in batches):
        return (
            "a batch is a flat array of whole numbers: positions into `pairs`, not the pairs "
            "themselves."
        )
    seen = np.concatenate(batches)
    if len(seen) and (seen.min() < 0 or seen.max() >= len(pairs)):
        return "a position lies outside `pairs`."
    if len(np.unique(seen)) < len(seen):
        return "a pair is in two batches: an epoch meets each pair once."
    if len(seen) < len(pairs):
        return f"{len(pairs) - len(seen)} pairs are in no batch."
    if max(map(len, batches)) > most:
        return f"a batch holds {max(map(len, batches))} pairs, at most {most} are allowed."
    mine, chance = (
        encodings(pairs, batches),
        encodings(pairs, np.array_split(np.arange(len(pairs)), -(-len(pairs) // most))),
    )
    by_one = min(
        encodings(pairs, np.array_split(np.argsort(side, kind="stable"), -(-len(pairs) // most)))
        for side in pairs.T
    )
    if mine > 0.9 * chance:
        return (
            f"{mine} encodings, and random batches need {chance}: which pairs share a line, "
            "which a drug?"
        )
    if mine > min(0.55 * chance, 0.9 * by_one):
        return (
            f"{mine} encodings instead of {chance}: better. Sorting by one side leaves the "
            "other side scattered; cut lines *and* drugs into blocks."
        )
    return None
