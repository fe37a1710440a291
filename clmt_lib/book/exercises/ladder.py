"""Chapter 08."""

from typing import Any

import numpy as np

from clmt_lib.book.exercises.core import called, chosen, exercise, number, numbers


@exercise(
    "08.1",
    "about a hundred gigabytes. The two small kernels hold the same in under four megabytes.",
)
def _pair_kernel(answer: Any) -> Any:
    value, pairs = number(answer), 112_044
    size = pairs**2 * 8 / 1e9
    if abs(value - size) < 1.5:
        return None
    known = {
        pairs**2
        * 8
        / 2**30: "close: that is in GiB (2 ** 30 bytes); the question asks for GB (10 ** 9 bytes).",
        size / 8: "that counts the numbers; each of them takes 8 bytes in float64.",
        size
        / 2: "that is float32, or half of a symmetric matrix; count all entries at 8 bytes each.",
        pairs
        * 8
        / 1e9: "the kernel compares every pair with every pair: it has a row *and* a column for "
        "each.",
        (577**2 + 216**2)
        * 8
        / 1e9: "that is the size of the two small kernels, the trick's price. How large is the "
        "matrix it avoids?",
        size * 1e9: "that is in bytes; divide by 10 ** 9.",
    }
    return next(
        (hint for wrong, hint in known.items() if abs(value - wrong) < 0.02 * abs(wrong)),
        "rows x columns x 8 bytes, divided by 10 ** 9.",
    )


SCORES = ("rmse", "pcc", "pcc_per_drug", "pcc_per_cell", "pcc_normalised")
SCORE_HINTS = {
    "a": (
        "pcc_per_drug",
        "one drug, many lines to choose from: correlate across lines, inside the drug.",
    ),
    "b": (
        "pcc_per_cell",
        "one line, many drugs to choose from: correlate across drugs, inside the line.",
    ),
    "c": (
        "rmse",
        "a correlation does not know units: shift or stretch the predictions and it stays the "
        "same.",
    ),
    "d": (
        "pcc_normalised",
        "take away first what the drug and cell effects already say, and correlate what is left.",
    ),
}


@exercise("08.2", "a score is the answer to one question, and to no other.")
def _which_score(answer: Any) -> Any:
    return chosen(answer, SCORE_HINTS, SCORES)


@exercise("08.3", "and a drug with a constant prediction counts as zero: it ranks nobody.")
def _per_drug(answer: Any) -> Any:
    from clmt_lib.tasks.metrics import pearson, per_group

    rng = np.random.default_rng(8)
    drug = np.array([0] * 12 + [1] * 6 + [2] * 7 + [3] * 3)
    y = np.array([-3.0, 4.0, 1.0, 0.0])[drug] + rng.normal(size=len(drug))
    p = y + rng.normal(0, 2.0, len(drug))
    p[drug == 1] = 4.0
    got = called(answer, y.copy(), p.copy(), drug.copy())
    if np.ndim(got) == 1:
        return "one number, please: the mean over drugs."
    if isinstance(got, (float, np.floating)) and np.isnan(got):
        return "NaN: a drug with a constant prediction has no correlation. Count it as zero."
    value, every = number(got), [pearson(y[drug == d], p[drug == d]) for d in range(4)]
    sizes = np.bincount(drug)
    known = {
        per_group(y, p, drug): None,
        pearson(y, p): "that is the global correlation: split the pairs by drug first.",
        float(
            np.mean(every)
        ): "a drug with three lines was counted. Leave out drugs with fewer than `fewest` lines.",
        (every[0] + every[2])
        / 2: "the drug with a constant prediction was left out. That would reward giving up: "
        "count it as zero.",
        float(
            np.dot(sizes[:3], every[:3]) / sizes[:3].sum()
        ): "large drugs were given more weight: every drug counts once.",
    }
    return next(
        (hint for right, hint in known.items() if abs(value - right) < 1e-9),
        "correlate inside each drug with at least `fewest` lines, then average over drugs.",
    )


@exercise("08.4", "draw by draw, what both models find hard cancels.")
def _paired_interval(answer: Any) -> Any:
    rng = np.random.default_rng(9)
    hard = rng.normal(1.0, 0.2, 4000)
    a, b = hard + rng.normal(0, 0.02, 4000), hard + 0.1 + rng.normal(0, 0.03, 4000)
    got = called(answer, a.copy(), b.copy())
    if np.shape(got) == np.shape(a):
        return (
            "that is the difference in each draw; now give the two percentiles that hold its "
            "middle 95 %."
        )
    got = numbers(got, (2,))

    def ends(values: np.ndarray, tail: float) -> np.ndarray:
        return np.percentile(values, [tail, 100 - tail])

    if np.allclose(got, ends(a - b, 2.5), atol=1e-3):
        return None
    if np.allclose(got, ends(b - a, 2.5), atol=1e-3):
        return "the sign is turned: a minus b."
    if np.allclose(got, ends(a - b, 2.5)[::-1], atol=1e-3):
        return "low end first."
    if np.allclose(got, ends(a - b, 5), atol=1e-3):
        return "that is a 90 % interval: cut 2.5 % off each end, not 5 %."
    if np.allclose(got, ends(a, 2.5) - ends(b, 2.5), atol=1e-3) or np.allclose(
        got, ends(a, 2.5) - ends(b, 2.5)[::-1], atol=1e-3
    ):
        return (
            "subtract first, then take percentiles: a difference of two intervals is not the "
            "interval of a difference."
        )
    return "np.percentile(a - b, [2.5, 97.5])."


@exercise(
    "08.5",
    "your rung beats drug + cell effects, and is blind to the test set. Where does it stand in "
    "a drug-blind split?",
)
def _own_rung(answer: Any) -> Any:
    from clmt_lib import data
    from clmt_lib.audit import permute_test_responses
    from clmt_lib.tasks import metrics

    if not callable(answer):
        return called(answer)  # the hint for that, before a world is made
    world: Any = data.load("simulated", cells=96)
    split = data.make_split(world, "mixed")
    got = called(answer, world, split)
    if len(np.shape(got)) == 1 and len(got) == len(split.test):
        return (
            "return the whole table [C, D], a prediction for every line and drug, not only "
            "the test pairs."
        )
    table = numbers(got, (world.n_cells, world.n_drugs)).copy()
    if not np.isfinite(table).all():
        return (
            "the table has holes (NaN or infinity): every pair needs a prediction, measured or not."
        )
    other = numbers(answer(permute_test_responses(world, split), split), table.shape)
    if not np.array_equal(table, other):
        return (
            "a leak, or an unseeded draw: shuffling the *test* responses changed your table. "
            "Use split.train (and split.valid to choose) only."
        )
    cell, drug = world.pairs[split.test].T
    mean, cells, drugs = metrics.additive_effects(world, split.train)
    mine, theirs = (
        metrics.rmse(world.y[split.test], values[cell, drug])
        for values in (table, mean + cells[:, None] + drugs[None])
    )
    if mine >= theirs:
        return (
            f"it runs and leaks nothing; its RMSE is {mine:.2f}, that of drug + cell effects "
            f"{theirs:.2f}. Add what the effects leave: neighbours, factors, a kernel."
        )
    return None
