"""Chapter `cldr`."""

from typing import Any

import numpy as np

from clmt_lib.book.exercises.core import Hint, called, chosen, exercise, first, number, numbers
from clmt_lib.tasks.order import straightness


@exercise("cldr.1", "a step of 0.001 is 0.04 ln µM, and one measurement is uncertain by twenty.")
def _step(answer: Any) -> Any:
    known = [
        (0.04, None),
        (0.01, "that forgets the sigmoid's own slope, y (1 - y): a quarter at y = 0.5."),
        (0.004, "the sigmoid's slope is 1/4 and the factor is 0.1: divide by both."),
        (0.000025, "that is how far y moves when ln IC50 moves by 0.001: turn it around."),
        (0.025, "that is dy / d ln IC50. How far must ln IC50 move for a step of 0.001?"),
        (0.4, "check the factor: y = sigmoid(0.1 ln IC50)."),
    ]
    value = number(answer)
    return next(
        (hint for right, hint in known if abs(value - right) < 0.03 * right),
        "divide the step, 0.001, by the slope of y at y = 0.5.",
    )


MUST, CAN = "must read the number", "can ignore the number"
CAPTION_HINTS = {
    "a": (MUST, "nothing but the number is there to tell two captions apart."),
    "b": (CAN, "SMILES and line name each pair: a table of names solves the game."),
    "c": (CAN, "an id that means nothing still names its pair."),
    "d": (CAN, "the names are right, whatever the numbers say."),
    "e": (MUST, "every caption of such a batch names the same drug and the same line's tissue."),
}


@exercise("cldr.2", "whatever names the pair is enough to win, and then nobody reads the number.")
def _captions(answer: Any) -> Any:
    return chosen(answer, CAPTION_HINTS, (MUST, CAN))


@exercise("cldr.3", "near numbers share the blame, far ones none, and every row sums to one.")
def _soft(answer: Any) -> Any:
    y, width = np.array([0.31, 0.35, 0.36, 0.52, 0.70]), 0.05
    got = numbers(called(answer, y.copy(), width), (5, 5))
    apart = np.abs(y[:, None] - y)

    def rows(logits: np.ndarray) -> np.ndarray:
        odds = np.exp(logits)
        return odds / odds.sum(1, keepdims=True)

    right = rows(-apart / width)
    known = [
        (right, None),
        (np.exp(-apart / width), "divide each row by its sum: targets are probabilities."),
        (rows(apart / width), "turned around: the farther, the less."),
        (right.T, "normalise rows, not columns: an anchor's targets sum to one."),
        (rows(-(apart**2) / width), "the distance itself, not its square."),
        (rows(-((apart / width) ** 2)), "the distance itself, not its square."),
        (rows(-apart * width), "divide by the width."),
        (rows(-apart), "the width is missing."),
        (np.eye(5), "those are hard targets: what about the pair with nearly the same label?"),
    ]
    return first(got, known, "try it on the five pairs of this chapter first.")


@exercise("cldr.4", "chance is one half, whatever the dimension, and a collapse gets no credit.")
def _triplets(answer: Any) -> Any:
    rng = np.random.default_rng(3)
    y, z = rng.normal(size=9), rng.normal(size=(9, 2))
    z[5] = z[2]
    got = number(called(answer, z.copy(), y.copy()))
    share = {tie: _share(z, y, tie) for tie in (0.5, 0.0, 1.0)}
    known = [
        (share[0.5], None),
        (share[0.0], "a tie in the representation is half a point, not a loss."),
        (share[1.0], "a tie in the representation is half a point, not a win."),
        (1 - share[0.5], "turned around: the nearer response should be nearer."),
        (_share(y[:, None], y, 0.5), "that compares responses with themselves: use `z`."),
        (100 * share[0.5], "a share, not a percentage."),
        (_share(z[:, :1], y, 0.5), "use all dimensions of `z`: the length of the difference."),
    ]
    return next(
        (hint for right, hint in known if abs(got - right) < 1e-6),
        "for three different pairs i, j, k with |y_i - y_j| < |y_i - y_k|, ask whether z_i is "
        "nearer to z_j; take the mean over all such triplets.",
    )


def _share(z: np.ndarray, y: np.ndarray, tie: float) -> float:
    points = []
    for i in range(len(y)):
        for j in range(len(y)):
            for k in range(len(y)):
                if len({i, j, k}) == 3 and abs(y[i] - y[j]) < abs(y[i] - y[k]):
                    near, far = np.linalg.norm(z[i] - z[j]), np.linalg.norm(z[i] - z[k])
                    points.append(tie if np.isclose(near, far) else float(near < far))
    return float(np.mean(points))


@exercise("cldr.5", "a number line nobody had to learn. What would a text still add to it?")
def _encoder(answer: Any) -> Any:
    codes = np.arange(200, 801)
    got = np.asarray(called(answer, codes.copy()), dtype=float)
    if got.ndim != 2 or len(got) != len(codes):
        raise Hint(f"return one vector a number: shape [601, dim], got {list(got.shape)}.")
    if not np.isfinite(got).all():
        return "some values are not finite."
    gaps = np.linalg.norm(np.diff(got, axis=0), axis=1)
    if (gaps < 1e-9 * np.abs(got).max()).any():
        return "two neighbours have the same vector: a thousandth is lost."
    if straightness(got)["spearman"] < 0.9:
        return (
            "far numbers are not farther apart than near ones: the rank correlation of distance "
            "and |n - m| is below 0.9. Are waves too short?"
        )
    shuffled = np.asarray(called(answer, codes[::-1].copy()), dtype=float)
    if shuffled.shape != got.shape or not np.allclose(shuffled[::-1], got):
        return "a number's vector must depend on the number alone, not on its place in the list."
    return None
