"""Training and reading the published code: chapters 06 and published_code."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from clmt_lib.book.exercises.core import Hint, called, chosen, exercise, first, number, numbers


@exercise("06.1", "sixty times fewer encodings, and every gradient exact.")
def _encodings(answer: Any) -> Any:
    hints = [
        ([40000, 600], None),
        ([20000, 600], "each pair brings a line *and* a drug."),
        (
            [40000, 24000],
            "in the second way all pairs are one batch: nothing is encoded twice in an epoch.",
        ),
        ([40000, 80000], "how many different lines and drugs are there?"),
        ([1000, 600], "that is one batch of the first way; the epoch has more of them."),
        ([600, 40000], "the right numbers in the wrong order."),
        ([1000, 15], "both are per epoch, not per batch."),
    ]
    return first(
        numbers(answer, (2,)),
        hints,
        "first way: two encodings for each pair of the epoch. Second way: one for each line and "
        "each drug.",
    )


BLIND_HINTS = {
    "a": ("cell_blind", "the lines are new, the drugs are known."),
    "b": ("mixed", "every line and every drug of the table has been seen: holes are to be filled."),
    "c": ("drug_blind", "the compound is new, the lines are known."),
    "d": ("scaffold_blind", "not only the compound is new, its ring systems are, too."),
    "e": (
        "tissue_blind",
        "a whole tissue is new, so valid lines must come from tissues that training has not seen.",
    ),
}


exercise("06.2", "the validation set asks what the test set will ask.")(
    lambda answer: chosen(
        answer, BLIND_HINTS, ("mixed", "cell_blind", "drug_blind", "scaffold_blind", "tissue_blind")
    )
)


def adamw(
    theta: Any,
    gradients: Iterable[float],
    rate: float,
    decay: float,
    corrected: bool = True,
    coupled: bool = False,
    root: bool = True,
) -> Any:
    """AdamW after several gradients; the options are the usual mistakes."""
    m = q = np.zeros_like(theta)
    for t, g in enumerate(gradients, start=1):
        g = g + decay * theta if coupled else g
        m, q = 0.9 * m + 0.1 * g, 0.999 * q + 0.001 * g**2
        up, down = (m / (1 - 0.9**t), q / (1 - 0.999**t)) if corrected else (m, q)
        theta = theta - rate * (
            up / ((np.sqrt(down) if root else down) + 1e-8) + (0 if coupled else decay * theta)
        )
    return theta


@exercise(
    "06.3",
    "that is one step of the optimiser behind nearly every model of these years, three times over.",
)
def _adamw(answer: Any) -> Any:
    theta, gradients = np.array([1.0, -2.0]), np.array([[0.5, -1.0], [0.1, 0.4], [-2.0, 0.3]])
    given = theta.copy(), [g.copy() for g in gradients], 0.1, 0.5
    got = called(answer, *given)
    if isinstance(got, tuple):
        raise Hint("return the weights alone, not the running means.")
    right: dict[str, Any] = {"theta": theta, "gradients": gradients, "rate": 0.1, "decay": 0.5}
    known = [
        (adamw(**right), None),
        (
            adamw(**right, corrected=False),
            "the bias correction is missing: divide m by 1 - 0.9^t and q by 1 - 0.999^t, with t "
            "starting at 1.",
        ),
        (
            adamw(**right, coupled=True),
            "your decay goes through the running means: that is Adam with L2. In AdamW it is "
            "taken off the weights directly.",
        ),
        (adamw(**(right | {"decay": 0.0})), "the decay is missing."),
        (adamw(**right, root=False), "divide by the *square root* of q."),
        (
            adamw(**(right | {"gradients": gradients[:1]})),
            "only the first gradient was used: loop over all of them.",
        ),
        (theta - 0.1 * gradients.sum(0), "that is plain gradient descent."),
        (adamw(**right) - theta, "that is the change: add it to where you started."),
    ]
    return first(
        numbers(got, (2,)),
        known,
        "for each gradient: update m, update q, correct both, step, and take off rate * decay * "
        "theta.",
    )


@exercise("06.4", "the loop of the library keeps its books in the same way.")
def _early_stopping(answer: Any) -> Any:
    valid, patience = [0.9, 0.7, 0.8, 0.7, 0.6, 0.65, 0.61, 0.62, 0.5], 3
    got = called(answer, list(valid), patience)
    if isinstance(got, (int, float, np.number)):
        raise Hint("return two things: the look that is kept, and how many looks were made.")
    known = [
        ((4, 8), None),
        (
            (8, 9),
            "your loop looked at everything: after 3 looks without improvement it must stop, "
            "and the last value is never seen.",
        ),
        ((5, 8), "counting looks from 0, please."),
        ((7, 8), "you return the look at which it stopped: keep the best one."),
        ((4, 7), "the look at which patience ran out was made, too: count it."),
        ((1, 4), "an improvement sets the count back to 0."),
        ((4, 6), "an improvement sets the count back to 0."),
        ((0, 3), "an improvement sets the count back to 0."),
        ((4, 9), "after 3 looks without improvement it must stop: the last value is never seen."),
    ]
    hint = first(
        numbers(got, (2,)),
        known,
        "keep the best value, where it was, and how many looks have passed since; stop when "
        "that count reaches the patience.",
    )
    if hint is None and tuple(np.asarray(called(answer, [1.0, 1.0, 1.0, 1.0, 0.5], 2), float)) != (
        0,
        3,
    ):
        return "an equal value is no improvement: with a tie the first look stays."
    if hint is None and tuple(np.asarray(called(answer, [3.0, 2.0, 1.0], 5), float)) != (2, 3):
        return "where patience never runs out, all looks are made."
    return hint


@exercise(
    "06.5",
    "an auxiliary target from the responses it was given, and from nothing else. Does learning "
    "it help? Compare with and without, over seeds, on lines the choice has not seen.",
)
def _own_target(answer: Any) -> Any:
    from clmt_lib import data

    world: Any = data.load(
        "simulated",
        cells=24,
        drugs=["Erlotinib", "Olaparib", "Paclitaxel", "Bortezomib", "Trametinib", "Gemcitabine"],
    )
    train = np.flatnonzero((np.arange(len(world)) % 3 > 0) & (world.pairs[:, 1] != 0))
    got = numbers(called(answer, world, train.copy()), (world.n_drugs,))
    other = data.load("simulated", cells=24, drugs=sorted(set(world.drugs["name"])))
    hidden = np.setdiff1d(np.arange(len(other)), train)
    y = other.y.copy()
    y[hidden] = 14.0 - 3 * np.random.default_rng(0).random(len(hidden))
    other = replace(other, y=y)
    if not np.array_equal(
        numbers(called(answer, other, train.copy()), (world.n_drugs,)), got, equal_nan=True
    ):
        return (
            "it changes when responses outside `positions` change (or from call to call): "
            "that is the leak of this chapter."
        )
    known = np.isin(np.arange(world.n_drugs), world.pairs[train, 1])
    if np.isfinite(got[~known]).any():
        return (
            "a drug without a response among `positions` gets a value: leave it NaN, so that "
            "the loss can skip it."
        )
    if not np.isfinite(got[known]).all():
        return "a drug with responses has no value."
    return (
        "all drugs get the same value: nothing to learn there."
        if np.ptp(got[known]) < 1e-9
        else None
    )


KINDS = ("leak", "chance", "lost")
KIND_HINTS = {
    "a": ("chance", "the same pair asked twice gets two answers."),
    "b": ("leak", "the scaler has seen the lines that it will be tested on."),
    "c": ("lost", "what stood in the text never reaches the model."),
    "d": ("leak", "a training target is made of test responses."),
    "e": ("lost", "the best piece of evidence is thrown away, and nothing of the test gets in."),
}

exercise("published.1", "three questions for every line of somebody's code.")(
    lambda answer: chosen(answer, KIND_HINTS, KINDS)
)


@exercise("published.2", "with so little of the way gone, its branches have nearly nothing to say.")
def _share_of_the_way(answer: Any) -> Any:
    hints = [
        (0.125, None),
        (0.875, "that is what is still missing."),
        (-0.125, "the direction: lower is better, and the base is better than the effects."),
        (0.03, "that is the gain in ln uM: divide it by the whole way."),
        (8.0, "upside down: the gain stands above the line."),
        (12.5, "as a share, not in percent."),
    ]
    return first(number(answer), hints, "(effects - base) / (effects - ALS).")


@exercise("published.3", "each mark is forgotten as soon as the other criterion jumps.")
def _either_or(answer: Any) -> Any:
    rmse = np.array([1.00, 1.10, 0.90, 0.95, 0.97, 0.96])
    r = np.array([0.50, 0.60, 0.40, 0.40, 0.41, 0.39])
    got = called(answer, rmse.copy(), r.copy())
    right = [1, 1, 1, 0, 1, 1]
    known = [
        (right, None),
        ([1, 1, 1, 0, 0, 0], "the authors' code forgets: on a gain *both* marks are overwritten."),
        ([1, 0, 0, 0, 0, 0], "one of the two is enough."),
        ([1, 1, 1, 1, 1, 1], "an equal value is no improvement."),
        ([1, 1, 1, 0, 0, 1], "overwrite both marks, and only when the look is kept."),
        ([1, 0, 1, 0, 0, 1], "look at the correlation, too: higher is better there."),
    ]
    return first(
        numbers(got, (6,)),
        known,
        "keep a look if its RMSE is below its mark or its r above its own; then both marks are "
        "this look's.",
    )


@exercise("published.4", "three lines that would have found two of the switches.")
def _alone_as_together(answer: Any) -> Any:
    rng = np.random.default_rng(0)
    pairs = rng.normal(size=(12, 3))

    def honest(rows: np.ndarray) -> np.ndarray:
        return rows.sum(axis=1)

    def normed(rows: np.ndarray) -> np.ndarray:  # the norm is over the batch
        return (rows - rows.mean(axis=0)).sum(axis=1)

    def drawn(rows: np.ndarray) -> np.ndarray:  # dropout that stays on
        return rows.sum(axis=1) * rng.binomial(1, 0.5, len(rows))

    def last(rows: np.ndarray) -> np.ndarray:  # alone it is right, but for the last of the batch
        out = rows.sum(axis=1)
        if len(rows) > 1:
            out[-1] += 1
        return out

    for predict, wanted, hint in (
        (honest, True, "a prediction row by row that is the same is free of its batch: True."),
        (drawn, False, "asked twice, the second model gives two answers: False."),
        (normed, False, "the third takes the mean of its batch off: alone it says something else."),
        (last, False, "compare every row, not the first alone."),
    ):
        if bool(called(answer, predict, pairs.copy())) is not wanted:
            return hint
    return None


@exercise("published.5", "four runs; the interaction is what both do beyond the sum of each.")
def _two_switches(answer: Any) -> Any:
    from clmt_lib.models.clmt.published import DEFECTS

    if callable(answer) or isinstance(answer, (str, bytes, dict)):
        raise Hint("hand in a list of four lists of switches.")
    runs = [frozenset(run) for run in answer]
    unknown = sorted({str(name) for run in runs for name in run} - set(DEFECTS))
    if unknown:
        return f"{unknown[0]!r} is no switch of DEFECTS."
    if len(runs) != 4 or len(set(runs)) != 4:
        return "four different runs are needed: none, each alone, and both."
    if frozenset() not in runs:
        return "the repaired network is missing: the run with no switch on."
    single = [run for run in runs if len(run) == 1]
    if len(single) != 2:
        return "each of the two switches must be on alone once."
    return None if single[0] | single[1] in runs else "the run with both switches on is missing."
