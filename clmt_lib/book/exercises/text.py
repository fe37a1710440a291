"""Chapters 02 and 09b: what a text is made of, and what it is worth."""

from typing import Any

import numpy as np

from clmt_lib.book.exercises.core import called, chosen, exercise, first, number, numbers


@exercise("02.1", "padding is no word: it counts neither above nor below the fraction bar.")
def _pooled(answer: Any) -> Any:
    tokens = np.array([[1.0, 3.0], [3.0, -1.0], [2.0, 4.0], [6.0, 6.0]])
    known = [
        (tokens[:3].mean(0), None),
        (tokens.mean(0), "the padding is in your mean: its mask is 0."),
        (tokens[:3].sum(0), "that is the sum, not yet a mean."),
    ]
    known.append(
        (tokens[:3].sum(0) / 4, "the padding is out of the sum, but you divide by 4 tokens.")
    )
    return first(
        numbers(answer, (2,)),
        known,
        "multiply each vector by its mask, add, and divide by the sum of the mask.",
    )


FACT_HINTS = {
    "a": ("fact", "targets and pathway of a drug are known without any screen."),
    "b": ("leak", "an approval is a conclusion from responses: those of patients."),
    "c": ("leak", "that is the answer itself."),
    "d": (
        "fact",
        "what follows from the chemistry inside a cell is mechanism, whatever the screen says.",
    ),
    "e": (
        "leak",
        "whoever wrote it had looked at the responses, though no word of it sounds like one.",
    ),
}


exercise("02.2", "ask of each sentence whether it could have been written before the screen.")(
    lambda answer: chosen(answer, FACT_HINTS, ("fact", "leak"))
)


@exercise("02.3", "what all texts share is gone, and a missing text resembles nothing.")
def _similarity(answer: Any) -> Any:
    z, there = np.random.default_rng(2).normal(0.5, 1.0, (6, 4)), np.arange(6)[:, None] < 5
    z = np.where(there, z, 0.0)
    got = called(answer, z.copy())
    got, mean = numbers(got, (6, 6)), z[:5].mean(0)
    moved = (
        np.where(there, z - mean, 0),
        z,
        z - mean,
        np.where(there, z - z.mean(0), 0),
        z - z.mean(0),
    )
    unit = [rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in moved]
    if not np.isfinite(got).all():
        return "a missing text (a row of zeros) has length zero: do not divide by it."
    hints = [
        None,
        "the mean was not taken off.",
        "the missing text became minus the mean: put its row back to zero.",
        *["the row of zeros is in your mean: it is missing."] * 2,
    ]
    known = [(rows @ rows.T, hint) for rows, hint in zip(unit, hints)]
    return first(
        got,
        known,
        "take off the mean of the rows that are there, put missing rows back to zero, scale "
        "rows to length 1, multiply.",
    )


@exercise("02.4", "a copy of the drug itself is no evidence.")
def _neighbour_probe(answer: Any) -> Any:
    alike = np.array(
        [
            [1, 0.9, 0.5, 0.1, 0.2],
            [0.9, 1, 0.3, 0.6, 0.1],
            [0.5, 0.3, 1, 0.4, 0.2],
            [0.1, 0.6, 0.4, 1, 0.7],
            [0.2, 0.1, 0.2, 0.7, 1],
        ]
    )
    got = called(
        answer,
        alike.copy(),
        np.array(["x", "x", "x", "y", "y"]),
        np.array(["P", "P", "Q", "R", "S"]),
    )
    known = [
        (0.8, None),
        (
            1.0,
            "a drug was its own nearest neighbour, or its second id was: leave every id of its "
            "compound out.",
        ),
        (4.0, "that is a count: divide by the number of drugs."),
    ]
    return first(
        number(got),
        known,
        "for each drug, look among the ids of other compounds only, take the most similar one, "
        "and compare the labels.",
    )


@exercise(
    "02.5",
    "facts alone, short enough, nothing invented where a fact is missing. Does it beat the "
    "template of this chapter?",
)
def _own_template(answer: Any) -> Any:
    from clmt_lib.data.response import simulated
    from clmt_lib.views.text import response_words

    invented = [
        {"name": "X", "target": target, "pathway": "Mitosis"} for target in ("TUBB", "AURKA", None)
    ]
    rows = [*simulated.facts()[["name", "target", "pathway"]].to_dict("records"), *invented]
    texts = [called(answer, dict(row)) for row in rows]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        return "return one text, not empty, for each drug."
    if any(response_words(texts)):
        return (
            "your text speaks of response, sensitivity or use in the clinic: "
            "`response_words` shows where."
        )
    if max(len(text.split()) for text in texts) > 120:
        return (
            "over 120 words: the encoder reads 256 tokens, and a name like trametinib takes "
            "several."
        )
    if texts[-3] == texts[-2]:
        return "two drugs with different targets get the same text."
    return (
        "where the target is missing, your text says None."
        if "None" in texts[-1] or "nan" in texts[-1].split()
        else None
    )


@exercise("09b.1", "three: A, B and C form a chain, D and E share MEK1, and F stands alone.")
def _groups(answer: Any) -> Any:
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
def _controls(answer: Any) -> Any:
    return chosen(answer, CONTROLS, ("random", "shuffled", "name", "annotation"))


@exercise(
    "09b.3",
    "a share of the *sum*: many drugs with small gains can carry more than a few with large ones.",
)
def _share(answer: Any) -> Any:
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
