"""Chapter 09b."""

import numpy as np

from clmt_lib.book.exercises.core import called, chosen, exercise, first, number


@exercise("09b.1", "three: A, B and C form a chain, D and E share MEK1, and F stands alone.")
def _groups(answer):
    known = [
        (3.0, None),
        (6.0, "no drug of a group may be left behind: drugs that share a target go together."),
        (
            4.0,
            "A and C share nothing, but B shares a target with each of them: what becomes of B "
            "if they are parted?",
        ),
        (5.0, "every shared target ties two drugs; go through all the pairs."),
        (2.0, "RAF hands its signal to MEK, but as targets they are two names: F shares none."),
        (
            1.0,
            "not every drug is tied to every other: draw a line between drugs that share a "
            "target, and count the islands.",
        ),
    ]
    return first(
        number(answer),
        known,
        "draw a line between any two drugs that share a target; a group is an island.",
    )


CONTROLS = {
    "a": (
        "random",
        "vectors that mean nothing still bring the same ridge, the same scaling and the same "
        "choice of settings.",
    ),
    "b": ("shuffled", "keep every vector and its clusters, and break only the tie to the drug."),
    "c": (
        "name",
        "an encoder that has read about drugs might know them by name: give it the name and "
        "nothing else.",
    ),
    "d": ("annotation", "the same facts without any language: pathway and targets as sets."),
}


@exercise(
    "09b.2",
    "each control keeps all but one thing; what is lost with that thing is what the thing was "
    "worth.",
)
def _controls(answer):
    return chosen(answer, CONTROLS, ("random", "shuffled", "name", "annotation"))


@exercise(
    "09b.3",
    "a share of the *sum*: many drugs with small gains can carry more than a few with large ones.",
)
def _share(answer):
    rng = np.random.default_rng(3)
    twin = rng.random(40) < 0.4
    gap = np.where(twin, 0.12, 0.03) + rng.normal(0, 0.05, 40)
    got = number(called(answer, gap.copy(), twin.copy()))
    known = [
        (gap[twin].sum() / gap.sum(), None),
        (gap[~twin].sum() / gap.sum(), "that is the share of the drugs *without* a twin."),
        (twin.mean(), "that is the share of the drugs, not of the gain."),
        (
            gap[twin].mean() / gap.mean(),
            "a ratio of means leaves out how many drugs there are: take sums.",
        ),
        (
            gap[twin].mean(),
            "that is the mean gain of drugs with a twin; which part of the whole gain is theirs?",
        ),
        (gap[twin].sum(), "divide by the gain of all drugs."),
        (
            gap[twin & (gap > 0)].sum() / gap[gap > 0].sum(),
            "losses count, too: a drug that lost takes from the sum.",
        ),
        (100 * gap[twin].sum() / gap.sum(), "as a share between 0 and 1, please, not in per cent."),
    ]
    return first(
        got, known, "the sum of the gains of drugs with a twin, divided by the sum of all gains."
    )
