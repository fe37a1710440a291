"""Chapters 09 and 09a."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clmt_lib import tasks
from clmt_lib.book.exercises.core import called, chosen, exercise, first, number, numbers

VERDICTS = ("reproduced", "partly", "not", "not testable", "open")


@exercise(
    "09.1",
    "with twenty claims on the table, one that looks reproduced is no surprise; several are.",
)
def _empty_claims(answer: Any) -> Any:
    value = number(answer)
    known = [
        (1 - 0.975**20, None),
        (
            1 - 0.95**20,
            "5 % of the intervals exclude zero, but half of those on the wrong side: a claim "
            "looks reproduced 2.5 % of the time.",
        ),
        (0.975**20, "that is the chance of none; you want at least one."),
        (0.025, "that is the chance for one claim; there are twenty."),
        (
            20 * 0.025,
            "chances of several events do not simply add up: it could happen twice, and with "
            "fifty claims you would get more than 1.",
        ),
    ]
    if value > 1:
        return "as a share between 0 and 1, please."
    return next(
        (hint for right, hint in known if abs(value - right) < 0.006),
        "first the chance that none of the twenty looks reproduced, then its complement.",
    )


CASES = {
    "a": ("reproduced", "the interval lies wholly on the side claimed, on five folds."),
    "b": (
        "not",
        "the interval holds zero: no difference was found, whatever side its middle is on, and "
        "that is not half a win.",
    ),
    "c": (
        "partly",
        "the value is reached, but on other data and by another model: that supports a value by "
        "half.",
    ),
    "d": ("partly", "one of three tests holds: the claim is right somewhere."),
    "e": ("open", "a tie on one fold says nothing yet, neither for nor against."),
}


@exercise("09.2", "and none of the five needed anybody's opinion.")
def _verdicts(answer: Any) -> Any:
    return chosen(answer, CASES, VERDICTS)


def _right_verdict(low: float, high: float, folds: int) -> str:
    if low <= 0 <= high:
        return "not" if folds >= 3 else "open"
    if low > 0:
        return "not"
    return "reproduced" if folds >= 3 else "partly"


@exercise(
    "09.3", "the rule, and nothing but the rule: now nobody can be generous to her own model."
)
def _rule(answer: Any) -> Any:
    hints = {
        (
            -0.03,
            -0.01,
            5,
        ): "an interval wholly below zero on five folds: the lower RMSE is shown, so reproduced.",
        (
            -0.03,
            0.01,
            5,
        ): "the interval holds zero, on five folds: a tie does not reproduce a claim.",
        (0.01, 0.03, 5): "an interval wholly above zero: the other is better, so not.",
        (-0.03, -0.01, 1): "right side, but one fold only: that is partly.",
        (-0.03, 0.01, 1): "a tie on one fold is open, not a refutation.",
        (0.01, 0.03, 2): "wrong side, if only on two folds: not.",
        (-0.03, -0.01, 3): "three folds are enough.",
        (-0.03, 0.0, 4): "an interval that ends at zero holds zero.",
    }
    for case, hint in hints.items():
        got = called(answer, *case)
        if not isinstance(got, str) or got not in VERDICTS:
            return (
                f"for low {case[0]}, high {case[1]}, folds {case[2]} give one of: "
                f"{', '.join(VERDICTS)}."
            )
        if got != _right_verdict(*case):
            return hint
    return None


@exercise(
    "09.4", "one more split lands there nineteen times in twenty, if the scores scatter normally."
)
def _one_more(answer: Any) -> Any:
    from scipy.special import stdtrit

    scores = np.array([0.85, 0.84, 0.86, 0.83, 0.87])
    got, n = numbers(called(answer, scores.copy()), (2,)), len(scores)
    mean, sd, t = scores.mean(), scores.std(ddof=1), stdtrit(n - 1, 0.975)

    def ends(reach: float) -> list[float]:
        return [mean - reach, mean + reach]

    known = [
        (ends(t * sd * np.sqrt(1 + 1 / n)), None),
        (ends(t * sd * np.sqrt(1 + 1 / n))[::-1], "low end first."),
        (
            ends(t * sd / np.sqrt(n)),
            "that is where the *mean* of many splits lies. One more split scatters itself, too: "
            "sd times sqrt(1 + 1/n).",
        ),
        (
            ends(1.959964 * sd * np.sqrt(1 + 1 / n)),
            "five scores do not know their spread well: take Student's t with n - 1 degrees of "
            "freedom, not 1.96.",
        ),
        (
            ends(t * scores.std() * np.sqrt(1 + 1 / n)),
            "np.std divides by n unless told otherwise: ddof=1.",
        ),
        (
            ends(t * sd),
            "close: the mean of n scores is uncertain, too. Multiply the sd by sqrt(1 + 1/n).",
        ),
        (
            ends(1.959964 * sd),
            "the mean is uncertain, too, and five scores do not know their spread well: t "
            "instead of 1.96, and sqrt(1 + 1/n).",
        ),
    ]
    return next(
        (hint for values, hint in known if np.allclose(got, values, atol=1e-6)),
        "mean -+ t(0.975, n - 1) * sd * sqrt(1 + 1/n).",
    )


@exercise("09.5", "your claim can come out either way, which is what makes it one.")
def _own_claim(answer: Any) -> Any:
    from clmt_lib import models, records
    from clmt_lib.io import DataError

    claim = called(answer)
    try:
        checked = records.check_claim(claim)
    except DataError as error:
        return str(error)
    tests = [test for test in checked.tests if "compare" in test]
    if not tests:
        return "give it a test of the kind `compare`, on a split and a metric that you name."
    unknown = [
        rung
        for test in tests
        for rung in test["compare"].split(" - ")
        if rung not in models.names()
    ]
    if unknown:
        return f"there is no rung {unknown[0]!r}; there are: {', '.join(models.names())}."
    if any(len(set(test["compare"].split(" - "))) == 1 for test in tests):
        return "a rung compared with itself: name two."
    verdicts = {
        records.verdict(records.evidence([checked], _fabricated(tests, sign))["outcome"])
        for sign in (-1, 1)
    }
    return (
        None
        if len(verdicts) == 2
        else "whatever the records say, its verdict is the same: a claim that cannot fail is none."
    )


def _fabricated(tests: Sequence[Mapping[str, Any]], sign: int) -> Path:
    """Folder of summaries in which the first rung of each comparison is better (sign 1) or worse
    (-1), on five folds.
    """
    from clmt_lib import records

    folder = Path(tempfile.mkdtemp(prefix="clmt-claim-"))
    rows: dict[str, list[dict[str, Any]]] = {}
    for test in tests:
        a, b = test["compare"].split(" - ")
        gap = tasks.find(test["metric"]).gain(sign)
        row = {
            "a": a,
            "b": b,
            "folds": 5,
            test["metric"]: {
                "mean": 0.02 * gap,
                "interval": sorted([0.01 * gap, 0.03 * gap]),
                "folds_better": 5,
            },
        }
        rows.setdefault(f"summary-{test['dataset']}-{test['split']}", []).append(row)
    for name, differences in rows.items():
        parts = {"metrics": {"models": {}, "differences": differences}}
        records.write_derived(name, {"config": {}, "provenance": {}, **parts}, folder)
    return folder


@exercise(
    "09a.1",
    "no model can be expected to predict a measurement better than it would predict itself.",
)
def _noise(answer: Any) -> Any:
    value, sd = number(answer), 1.2
    known = [
        (sd / math.sqrt(2), None),
        (sd, "that is the spread of the difference: both measurements contribute to it."),
        (sd / 2, "variances add up, not standard deviations: divide by the square root of two."),
        (
            sd * math.sqrt(2),
            "the other way round: the difference scatters more than one measurement does.",
        ),
        (sd**2 / 2, "that is the variance; take its square root."),
    ]
    return next(
        (hint for right, hint in known if abs(value - right) < 0.006),
        "the variance of a difference of two independent values is the sum of their variances.",
    )


SPLITS = {
    "a": ("mixed", "all lines and all drugs have been measured, only pairs are missing."),
    "b": ("cell_blind", "the drugs are known, the cells are new."),
    "c": ("drug_blind", "the lines are known, the compound is new."),
    "d": ("scaffold_blind", "not only the compound is new, but its whole chemical family."),
    "e": ("tissue_blind", "not only the line is new, but its whole tissue."),
}


@exercise("09a.2", "the split is the question, written down.")
def _which_split(answer: Any) -> Any:
    return chosen(
        answer, SPLITS, ("mixed", "cell_blind", "drug_blind", "scaffold_blind", "tissue_blind")
    )


@exercise("09a.3", "and a test drug with such a twin in training is a question half answered.")
def _twins(answer: Any) -> Any:
    rng = np.random.default_rng(9)
    shared = rng.normal(size=(40, 1))
    twins, opposite, strangers = (
        shared + rng.normal(0, 0.4, (40, 2)),
        -shared + rng.normal(0, 0.4, (40, 1)),
        rng.normal(size=(40, 3)),
    )
    rest = np.hstack([twins, opposite, strangers])
    got = numbers(called(answer, rest.copy(), 0.6), (6,)).astype(bool)
    r = np.corrcoef(rest.T)
    off = r - np.eye(6)
    known = [
        ((off > 0.6).any(0), None),
        ((r > 0.6).any(0), "every drug is its own perfect twin: leave the diagonal out."),
        (
            (np.abs(off) > 0.6).any(0),
            "an opposite is no twin: it kills where the other spares. Keep the sign.",
        ),
        (~(off > 0.6).any(0), "the other way round: True where there *is* a twin."),
    ]
    return first(
        got,
        known,
        "correlate the columns (np.corrcoef(rest.T)), forget the diagonal, and look for "
        "anything above `least`.",
    )
