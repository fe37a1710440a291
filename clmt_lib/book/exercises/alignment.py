"""Chapter 05."""

import math
from typing import Any

import numpy as np

from clmt_lib.book.exercises.core import Hint, called, chosen, exercise, first, number, numbers


@exercise("05.1", "whoever knows nothing gives every candidate the same probability, 1/64.")
def _chance(answer: Any) -> Any:
    known = [
        (math.log(64), None),
        (math.log2(64), "that is in bits; the loss is in nats: use the natural logarithm."),
        (math.log10(64), "that is the decimal logarithm; use the natural one."),
        (1 / 64, "that is the chance of being right. What is the mean of minus its logarithm?"),
        (64, "that is the number of candidates; the loss is a logarithm."),
        (math.log(63), "that is the chance line when the positive is left out of the denominator."),
        (-math.log(64), "the loss is minus the log of a probability: it is positive."),
    ]
    value = number(answer)
    return next(
        (hint for right, hint in known if abs(value - right) < 0.006),
        "every candidate is equally likely: what is -ln(1/64)?",
    )


PAIR_HINTS = {
    "a": ("positive", "the two views are of one drug."),
    "b": (
        "negative",
        "two compounds are two entities, even when they share a target. If that hurts, soft "
        "targets are the cure, not a mask.",
    ),
    "c": (
        "left out",
        "two ids of one compound are one thing: pushing them apart is a false negative.",
    ),
    "d": ("left out", "a row of zeros is no fingerprint; it must be neither anchor nor negative."),
    "e": (
        "left out",
        "the sentences are equal letter by letter: no encoder could tell this candidate from the "
        "right one.",
    ),
}


@exercise("05.2", "a negative is only what we know to be another thing, in both views.")
def _which_pair(answer: Any) -> Any:
    return chosen(answer, PAIR_HINTS, ("positive", "negative", "left out"))


def _unit(z: np.ndarray) -> np.ndarray:
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def _picked(s: np.ndarray, positive: bool = True) -> np.ndarray:
    below = np.exp(s).sum(1) - (0 if positive else np.exp(s.diagonal()))
    return np.log(below) - s.diagonal()


@exercise(
    "05.3", "normalise, compare, divide by the temperature, and pick the diagonal from both sides."
)
def _infonce(answer: Any) -> Any:
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    got, s = number(called(answer, a.copy(), b.copy(), 0.4)), _unit(a) @ _unit(b).T
    both = [_picked(s / 0.4).mean(), _picked(s.T / 0.4).mean()]
    raw, times = a @ b.T / 0.4, s * 0.4
    known = [
        (np.mean(both), None),
        (
            both[0],
            "that is one direction, a to b. Let every b look for its a, too, and take the mean.",
        ),
        (both[1], "that is one direction, b to a. Take the mean of both."),
        (sum(both), "that is the sum of both directions: halve it."),
        (6 * np.mean(both), "that is the sum over entities: take the mean."),
        (-np.mean(both), "the sign is turned: a loss goes down when things get better."),
        (
            np.mean([_picked(raw).mean(), _picked(raw.T).mean()]),
            "the rows were not scaled to length 1: cosines, not inner products.",
        ),
        (
            np.mean([_picked(times).mean(), _picked(times.T).mean()]),
            "multiplied by the temperature: divide by it.",
        ),
        (np.mean([_picked(s).mean(), _picked(s.T).mean()]), "the temperature is missing."),
        (
            np.mean([_picked(s / 0.4, False).mean(), _picked(s.T / 0.4, False).mean()]),
            "the positive is missing from the denominator.",
        ),
    ]
    return next(
        (hint for right, hint in known if abs(got - right) < 1e-6),
        "try it on the table of four drugs of this chapter first.",
    )


@exercise("05.4", "a tie costs half a place, so an embedding that has collapsed sits at chance.")
def _ranks(answer: Any) -> Any:
    cosine = np.array(
        [[0.9, 0.1, 0.3, -0.2], [0.8, 0.5, 0.5, 0.1], [0.2, 0.2, 0.2, 0.2], [0.7, 0.4, 0.6, -0.1]]
    )
    got, own = called(answer, cosine.copy()), cosine.diagonal()[:, None]
    got = numbers(got, (4,))
    above, level = (cosine > own).sum(1), (cosine == own).sum(1) - 1
    known = [
        (1 + above + level / 2, None),
        (above + level / 2, "the best place is 1, not 0."),
        (above, "start at 1, and let a tie cost half a place."),
        (
            1 + above,
            "a tie is no win: it costs half a place. Row three cannot tell anybody from anybody.",
        ),
        (1 + above + level, "a tie is no defeat either: it costs half a place."),
        (1.5 + above + level / 2, "the positive ties with itself: leave it out of the ties."),
        (1 + (cosine < own).sum(1) + level / 2, "turned around: a *larger* cosine is nearer."),
        (
            1 + (cosine.T > own).sum(1) + ((cosine.T == own).sum(1) - 1) / 2,
            "that is the rank from b to a: rows are the anchors.",
        ),
    ]
    return first(
        got,
        known,
        "for each row, count the cosines above its diagonal entry, add half of those that equal "
        "it, and start at 1.",
    )


@exercise(
    "05.5",
    "it pulls and pushes, and knows neither lengths nor the order. Does it beat InfoNCE on "
    "held-out drugs?",
)
def _own_loss(answer: Any) -> Any:
    import torch

    def draw(seed: int) -> Any:
        return torch.from_numpy(np.random.default_rng(seed).normal(size=(8, 5))).float()

    def loss(a: Any, b: Any) -> Any:
        value = called(answer, a, b)
        if not torch.is_tensor(value) or value.numel() != 1:
            raise Hint("return one torch number, so that it can be differentiated.")
        return value

    a, b = draw(0).requires_grad_(), draw(1)
    value = loss(a, b)
    if not value.requires_grad:
        return "it cannot be differentiated: stay in torch, without .item() or .detach()."
    value.sum().backward()
    if a.grad is None or not torch.isfinite(a.grad).all() or not (a.grad != 0).any():
        return "its gradient is zero or not finite."
    order, tolerance = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4]), 1e-4 * (1 + abs(value.item()))
    if abs(loss(3 * draw(0), 0.2 * b).item() - value.item()) > tolerance:
        return (
            "it depends on the lengths of the vectors: normalise them, or it can be made "
            "small by shrinking."
        )
    if abs(loss(draw(0)[order], b[order]).item() - value.item()) > tolerance:
        return (
            "it depends on the order of the entities: permute both views together, and "
            "nothing may change."
        )
    if not loss(a, a).item() < loss(a, a[order]).item():
        return "it does not prefer the right candidates to the wrong ones."
    together = torch.ones(8, 5) + 0.01 * draw(2)
    if not loss(a, a).item() < loss(together, together).item():
        return "it only pulls: putting all entities on one spot is as good as telling them apart."
    return None
