"""Chapter 02."""

import numpy as np

from clmt_lib.book.exercises.core import called, chosen, exercise, first, number, numbers


@exercise("02.1", "padding is no word: it counts neither above nor below the fraction bar.")
def _pooled(answer):
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
def _similarity(answer):
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
def _neighbour_probe(answer):
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
def _own_template(answer):
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
