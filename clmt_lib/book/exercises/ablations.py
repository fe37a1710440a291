"""Chapter 07."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from clmt_lib.book.exercises.core import called, chosen, exercise, first, number, numbers


@exercise(
    "07.1",
    "about one switch in twenty, and there are about twenty: expect one discovery where nothing "
    "is to be found.",
)
def _false_alarms(answer: Any) -> Any:
    known = [
        (0.95, None),
        (
            1 - 0.95**19,
            "that is the chance of at least one false alarm. How many are there on average?",
        ),
        (0.05, "that is the chance for one switch: there are 19."),
    ]
    known += [
        (19 * 0.95, "those are the intervals that do hold zero. Count the others."),
        (0.95**19, "that is the chance that none of them is a false alarm."),
    ]
    return first(
        number(answer),
        known,
        "each of the 19 intervals misses zero with the same chance. What do you expect in total?",
    )


VERDICTS = {
    "a": ("worse", "the error rises, and all of the interval is above zero."),
    "b": (
        "no difference found",
        "the interval holds zero, and reaches further than 1 % of the base's error.",
    ),
    "c": (
        "equivalent",
        "the interval holds zero and stays within 0.013, 1 % of the base's error: whatever the "
        "difference is, it is too small to care.",
    ),
    "d": (
        "better",
        "a per-drug r that rises is a better model: larger is better here, unlike an RMSE.",
    ),
}


exercise("07.2", "interval, margin, and the direction of the score: all three.")(
    lambda answer: chosen(
        answer, VERDICTS, ("better", "worse", "equivalent", "no difference found")
    )
)


@exercise(
    "07.3", "pair first: what all variants find hard in a fold is gone before the spread is taken."
)
def _paired_error(answer: Any) -> Any:
    rng = np.random.default_rng(7)
    base = rng.normal(1.3, 0.1, 6)
    variant = base + rng.normal(0.01, 0.01, 6)
    gap, k = variant - base, 6
    known = [
        (gap.std(ddof=1) / np.sqrt(k), None),
        (
            np.sqrt(base.var(ddof=1) / k + variant.var(ddof=1) / k),
            "that is the error of two independent samples: subtract fold by fold first.",
        ),
        (
            gap.std() / np.sqrt(k),
            "divide by the number of folds less one inside the standard deviation: `ddof=1`.",
        ),
        (gap.std(ddof=1), "that is the spread of one fold; the mean of several is steadier."),
        (gap.std(ddof=1) / k, "divide by the square root of the number of folds."),
        (gap.mean(), "that is the mean difference. How far might it be off?"),
    ]
    return first(
        number(called(answer, base.copy(), variant.copy())),
        known,
        "take the differences fold by fold, their standard deviation, and divide by the root of "
        "their number.",
    )


@exercise(
    "07.4",
    "the shares add up to what both are worth together, and views that say the same share alike.",
)
def _fair_shares(answer: Any) -> Any:
    full, no_a, no_b, neither = 0.3, 0.35, 0.5, 1.1
    a, b, both = no_a - full, no_b - full, neither - full
    fair = np.array([(a + both - b) / 2, (b + both - a) / 2])
    known = [
        (fair, None),
        (fair[::-1], "the two shares are swapped."),
        (
            np.array([a, b]),
            "those are the losses of dropping each alone: they do not add up to what both are "
            "worth.",
        ),
        (
            np.array([both - b, both - a]),
            "that is what each adds when the other is gone already. Average over both orders.",
        ),
        (-fair, "the sign: a view that lowers the error is worth something."),
        (
            fair / fair.sum(),
            "those are fractions of the whole: hand them in in the units of the score.",
        ),
    ]
    return first(
        numbers(called(answer, full, no_a, no_b, neither), (2,)),
        known,
        "for each view, average what its loss costs with the other there and with the other gone.",
    )


@exercise(
    "07.5",
    "one question, one change a variant, a control that changes nothing, and more than one "
    "fold. Write down what you expect, then run it.",
)
def _own_study(answer: Any) -> Any:
    import yaml

    from clmt_lib import models, records
    from clmt_lib.io import DataError

    if not isinstance(answer, dict):
        return (
            "hand in the study as a dictionary, as its YAML file would hold it; got "
            f"{type(answer).__name__}."
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.yaml"
        path.write_text(yaml.safe_dump(answer), encoding="utf-8")
        try:
            runs = records.read_study(path)
            for _, config in runs:
                models.build(config.model, **config.settings)
        except DataError as error:
            return str(error).replace(f"{path}: ", "").replace(str(path), "your study")
    if any(config.dataset != "simulated" for _, config in runs):
        return "stay in the simulated world, where you know what to expect."
    changes = [change for change in answer["variants"].values() if "model" not in change]
    if not any(set(change) == {"seed"} for change in changes):
        return "a control is missing: a variant that changes nothing but the seed."
    if not all(len(change) == 1 for change in changes):
        return "a variant changes two things at once: which of them would explain its difference?"
    if len({(config.seed, config.fold) for _, config in runs}) < 2:
        return "one fold is one draw of test entities: take more than one."
    return (
        None
        if len(changes) > 1
        else "there is only the control: add the ablation that you want to know about."
    )
