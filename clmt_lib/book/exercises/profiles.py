"""Chapter `profiles`."""

from typing import Any

import numpy as np

from clmt_lib.book.exercises.core import called, chosen, exercise, first, number, numbers


@exercise("profiles.1", "ten places of 350: whoever guesses is right once in 35 times.")
def _chance(answer: Any) -> Any:
    known = [
        (10 / 350, None),
        (1 / 350, "that is chance for the first place. How many places may be looked at?"),
        (35, "that is one in how many: turn it around."),
        (1000 / 350, "a share, not a percentage."),
        (350 / 10, "turn it around: places looked at by places there are."),
        (10 / 1400, "training molecules are no candidates: only held-out ones are."),
        (5.5 / 350, "no mean over places: all ten count."),
    ]
    value = number(answer)
    return next(
        (hint for right, hint in known if abs(value - right) < 0.02 * right),
        "the profile is equally likely in each of the 350 places, and ten of them count.",
    )


SAID = ("positive", "negative", "left out")
PAIR_HINTS = {
    "a": ("positive", "it is the molecule's own profile."),
    "b": ("negative", "another molecule, and both were measured: that is what a negative is."),
    "c": ("left out", "a stereoisomer has the same connectivity, and the encoder reads no more."),
    "d": ("left out", "nobody measured it: a row of zeros is not how the cells looked."),
    "e": ("left out", "a replicate is the same thing again; as a negative it is a false one."),
}


@exercise("profiles.2", "negatives are different molecules that were both measured.")
def _pairs(answer: Any) -> Any:
    return chosen(answer, PAIR_HINTS, SAID)


def _unit(z: np.ndarray) -> np.ndarray:
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def _both_ways(s: np.ndarray, rows: np.ndarray | None = None) -> float:
    """Mean over both directions of the cross-entropy of the diagonal, over the rows that ask."""
    rows = np.arange(len(s)) if rows is None else np.flatnonzero(rows)
    ways = [np.log(np.exp(t).sum(1))[rows] - np.diag(t)[rows] for t in (s, s.T)]
    return 0.5 * (ways[0].mean() + ways[1].mean())


@exercise("profiles.3", "each space asks its own question, of those who were measured in it.")
def _masked(answer: Any) -> Any:
    rng = np.random.default_rng(7)
    z = {view: rng.normal(size=(8, 5)) for view in ("molecule", "morphology", "expression")}
    known = {
        "morphology": np.array([1, 1, 1, 0, 1, 0, 1, 0], dtype=bool),
        "expression": np.array([0, 1, 0, 1, 1, 1, 0, 1], dtype=bool),
    }
    given = {view: value.copy() for view, value in z.items()}
    got = number(called(answer, given, {space: mask.copy() for space, mask in known.items()}))
    unit = {view: _unit(value) for view, value in z.items()}
    cosines = {space: unit["molecule"] @ unit[space].T / 0.1 for space in known}
    full = [_both_ways(cosines[space][np.ix_(m, m)]) for space, m in known.items()]
    rows = [_both_ways(cosines[space], m) for space, m in known.items()]
    every = [_both_ways(s) for s in cosines.values()]
    both = known["morphology"] & known["expression"]
    fully = [_both_ways(s[np.ix_(both, both)]) for s in cosines.values()]
    plain = [
        _both_ways((z["molecule"] @ z[space].T / 0.1)[np.ix_(m, m)]) for space, m in known.items()
    ]
    known_answers: list[tuple[Any, str | None]] = [
        (sum(full), None),
        (sum(rows), "rows are masked, columns are not: absent profiles are still candidates."),
        (sum(every), "nothing is masked: absent profiles ask and are candidates."),
        (sum(fully), "only molecules with both profiles play: each space needs its own mask."),
        (np.mean(full), "take the sum over the feature spaces, not the mean."),
        (full[0], "that is morphology alone: add the other space."),
        (sum(plain), "cosines, not inner products: scale every vector to length 1."),
    ]
    return next(
        (hint for right, hint in known_answers if abs(got - right) < 1e-6),
        "for each space: keep the molecules that have it, then InfoNCE in both directions at "
        "temperature 0.1, its mean over the two; add the spaces up.",
    )


@exercise("profiles.4", "a closed form, in seconds, and the rival of every alignment.")
def _impute(answer: Any) -> Any:
    rng = np.random.default_rng(2)
    bits = (rng.random((9, 20)) < 0.4).astype(float)
    both = bits @ bits.T
    kernel = both / (bits.sum(1)[:, None] + bits.sum(1) - both)
    among, between, y = kernel[:6, :6], kernel[6:, :6], rng.normal(1.0, 1.0, (6, 4))
    got = numbers(called(answer, among.copy(), between.copy(), y.copy(), 0.3), (3, 4))

    def ridge(strength: float, middle: np.ndarray | float) -> np.ndarray:
        return between @ np.linalg.solve(among + strength * np.eye(6), y - middle) + middle

    mean = y.mean(0)
    share = between / between.sum(1, keepdims=True)
    known = [
        (ridge(0.3, mean), None),
        (ridge(0.3, 0.0), "take the mean of the donors off first, and add it at the end."),
        (ridge(0.3, mean) - mean, "add the mean of the donors again at the end."),
        (ridge(0.0, mean), "the ridge is missing from the diagonal."),
        (ridge(0.09, mean), "the ridge itself goes onto the diagonal, not its square."),
        (share @ y, "that is a weighted mean of neighbours. Solve the linear system."),
        (between @ (y - mean) + mean, "the inverse of the kernel among the donors is missing."),
        (y[between.argmax(1)], "that is the nearest neighbour's profile."),
    ]
    return first(
        got, known, "weights = solve(among + ridge I, profiles - mean); then between @ weights."
    )


@exercise("profiles.5", "what is left after such a shuffle was never about the molecules.")
def _shuffle(answer: Any) -> Any:
    library = np.array(["dark"] * 7 + ["natural"] * 6 + ["dark"] * 4 + ["natural"] * 3)
    orders = [np.asarray(called(answer, library.copy(), seed)) for seed in (0, 1, 2)]
    for order in orders:
        if order.shape != library.shape or not np.issubdtype(order.dtype, np.integer):
            return "return one integer a molecule: whose profile it gets."
        if not np.array_equal(np.sort(order), np.arange(len(library))):
            return "every profile must be dealt out exactly once."
        if (library[order] != library).any():
            return (
                "a molecule got a profile of another library: then the control loses more than "
                "the pairing, and telling the libraries apart looks like a success."
            )
        if (order == np.arange(len(library))).any():
            return "a molecule kept its own profile: move everybody (a rotation does it)."
    if all(np.array_equal(orders[0], order) for order in orders[1:]):
        return "it does not depend on the seed: one shuffle is one draw."
    return None
