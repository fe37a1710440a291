"""Chapter umme_acmo."""

from typing import Any

import numpy as np

from clmt_lib.book.exercises.core import called, chosen, exercise, first, number, numbers


@exercise("umme.1", "early weights are the reliabilities themselves, late ones are all one.")
def _weight(answer: Any) -> Any:
    known = [
        (1.75, None),
        (0.625, "reliabilities sum to one: multiply by the number of modalities first."),
        (1.25, "you have turned rho around: it grows, and what grows with it is equality."),
        (2.0, "that is the weight at the very start."),
        (1.0, "that is the weight when the curriculum has ended."),
    ]
    return first(number(answer), known, "w = (1 - rho) M r + rho, with M = 4.")


LEAK, FAIR = "leak", "fair"
HINTS = {
    "a": (LEAK, "whoever wrote it had measured the pair that is asked about."),
    "b": (FAIR, "a structure is known before anything is measured."),
    "c": (LEAK, "that assay is the question under another name."),
    "d": (FAIR, "a sequence is known before any drug meets the protein."),
    "e": (LEAK, "a text exists because the drug was studied: presence alone predicts."),
}
exercise("umme.2", "ask what was known before the pair was measured, and why it was written.")(
    lambda answer: chosen(answer, HINTS, (LEAK, FAIR))
)


@exercise("umme.3", "what is absent gets no share, and the rest sums to one.")
def _shares(answer: Any) -> Any:
    rng = np.random.default_rng(3)
    say, there = rng.normal(size=(5, 3)), rng.random((5, 3)) < 0.6
    there[:, 0] |= ~there.any(1)
    got = numbers(called(answer, say.copy(), there.copy()), (5, 3))
    odds = np.exp(say)
    kept = odds * there
    known = [
        (kept / kept.sum(1, keepdims=True), None),
        (odds / odds.sum(1, keepdims=True), "the mask is not used: absent ones have a share."),
        (
            odds / odds.sum(1, keepdims=True) * there,
            "masked after the softmax, so that what is left does not sum to one.",
        ),
        (
            np.exp(say * there) / np.exp(say * there).sum(1, keepdims=True),
            "a score of zero is no mask: exp(0) is 1.",
        ),
    ]
    return first(got, known, "take exp, set absent ones to zero, divide by the sum of the row.")


@exercise("umme.4", "a sure modality gets the larger share, and the shares sum to one.")
def _reliability(answer: Any) -> Any:
    left = np.array([0.6, 0.8, 0.8, 1.0])
    got = numbers(called(answer, left.copy(), 0.1), (4,))
    odds = np.exp(-left / 0.1)
    known = [
        (odds / odds.sum(), None),
        (odds, "shares sum to one: divide."),
        (
            np.exp(left / 0.1) / np.exp(left / 0.1).sum(),
            "what is left unexplained is bad: a minus.",
        ),
        (np.exp(-left * 0.1) / np.exp(-left * 0.1).sum(), "divide by the softness."),
    ]
    return first(got, known, "the softmax of minus what is left, divided by the softness.")


@exercise("umme.5", "nothing is invented, nobody is left with nothing, and enough is lost.")
def _dropout(answer: Any) -> Any:
    rng = np.random.default_rng(5)
    present = rng.random((400, 4)) < 0.7
    got = numbers(called(answer, present.copy(), 0.3, np.random.default_rng(0)), (400, 4)) > 0.5
    if (got & ~present).any():
        return "an entity has a modality now that it did not have: a mask can only be narrowed."
    had = present.any(1)
    if not got[had].any(1).all():
        return "an entity has lost everything: leave it at least one."
    lost = 1 - got.sum() / present.sum()
    if lost < 0.1:
        return f"only {lost:.0%} of what was there is lost, of a rate of 30 %."
    return f"{lost:.0%} of what was there is lost, of a rate of 30 %." if lost > 0.45 else None
