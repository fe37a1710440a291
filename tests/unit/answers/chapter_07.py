"""Chapters 07 and published_code: right answers, and the usual wrong ones with a part of their
hint.
"""

import copy

import numpy as np

VERDICTS = {"a": "worse", "b": "no difference found", "c": "equivalent", "d": "better"}
CLMT = {"members": 1, "steps": 40}
OWN = {
    "question": "Does the network need mutations to predict new lines?",
    "base": {"model": "clmt", "settings": CLMT},
    "runs": [
        {
            "dataset": "simulated",
            "split": "cell_blind",
            "seeds": [0],
            "folds": [0, 1],
            "variants": ["another_seed", "no_mutation"],
        }
    ],
    "variants": {"another_seed": {"seed": 1}, "no_mutation": {"cell_views": ["expression"]}},
}


def own(**changes):
    return {**copy.deepcopy(OWN), **changes}


def runs(**changes):
    return own(runs=[{**OWN["runs"][0], **changes}])


def paired(base, variant):
    return np.std(variant - base, ddof=1) / np.sqrt(len(base))


def fair(full, no_a, no_b, neither):
    return [((no_a - full) + (neither - no_b)) / 2, ((no_b - full) + (neither - no_a)) / 2]


RIGHT = {
    "07.1": [0.95, 19 / 20],
    "07.2": [VERDICTS],
    "07.3": [paired],
    "07.4": [fair, lambda *s: np.array(fair(*s))],
    "07.5": [
        OWN,
        own(variants={**OWN["variants"], "means": {"model": "drug_mean"}}),
    ],
}
WRONG = {
    "07.1": [
        (1 - 0.95**19, "at least one false alarm"),
        (0.05, "for one switch"),
        (18.05, "do hold zero"),
        (0.95**19, "none of them"),
        (19, "same chance"),
        ("0.95", "without quotes"),
    ],
    "07.2": [
        ({**VERDICTS, "a": "equivalent"}, "all of the interval is above zero"),
        ({**VERDICTS, "b": "equivalent"}, "reaches further"),
        ({**VERDICTS, "c": "no difference found"}, "too small to care"),
        ({**VERDICTS, "d": "worse"}, "larger is better here"),
        ({**VERDICTS, "d": "good"}, "choose one of"),
    ],
    "07.3": [
        (lambda b, v: np.sqrt(b.var(ddof=1) / 6 + v.var(ddof=1) / 6), "independent samples"),
        (lambda b, v: (v - b).std() / np.sqrt(6), "ddof=1"),
        (lambda b, v: (v - b).std(ddof=1), "spread of one fold"),
        (lambda b, v: (v - b).std(ddof=1) / 6, "square root"),
        (lambda b, v: (v - b).mean(), "How far"),
        (lambda b, v: 7.0, "fold by fold"),
        (0.01, "hand in the function"),
    ],
    "07.4": [
        (lambda f, a, b, n: [a - f, b - f], "do not add up"),
        (lambda f, a, b, n: [n - b, n - a], "both orders"),
        (lambda *s: fair(*s)[::-1], "swapped"),
        (lambda *s: [-x for x in fair(*s)], "the sign"),
        (lambda *s: np.array(fair(*s)) / sum(fair(*s)), "fractions"),
        (lambda *s: 0.8, "shape [2]"),
        (lambda *s: [0.0, 0.0], "with the other gone"),
    ],
    "07.5": [
        ("a study", "as a dictionary"),
        ({}, "the study lacks 'question'"),
        (runs(variants=["nix"]), "unknown variant 'nix'"),
        (runs(folds=[0]), "one fold"),
        (runs(dataset="gdsc2"), "simulated world"),
        (own(variants={**OWN["variants"], "another_seed": {"steps": 41}}), "control is missing"),
        (
            own(
                variants={
                    **OWN["variants"],
                    "no_mutation": {"cell_views": ["expression"], "steps": 80},
                }
            ),
            "two things at once",
        ),
        (
            runs(variants=["another_seed"]) | {"variants": {"another_seed": {"seed": 1}}},
            "only the control",
        ),
        (
            own(variants={**OWN["variants"], "no_mutation": {"cell_view": ["expression"]}}),
            "no setting 'cell_view'",
        ),
    ],
}
CELLS = ("small = ",)  # what the open exercise starts from
GIVEN = {"steps": 60}


# --- Reading the published code


KINDS = {"a": "chance", "b": "leak", "c": "lost", "d": "leak", "e": "lost"}


def either(rmse, r, forget=True, both=False, tie=False, with_r=True):
    marks, kept = (np.inf, -np.inf), []
    for now in zip(rmse, r, strict=True):
        first = now[0] <= marks[0] if tie else now[0] < marks[0]
        second = with_r and (now[1] >= marks[1] if tie else now[1] > marks[1])
        kept.append(bool(first and second) if both else bool(first or second))
        if not forget:
            marks = min(now[0], marks[0]), max(now[1], marks[1])
        elif kept[-1]:
            marks = now
    return np.array(kept)


def batch_free(predict, rows, count=None):
    alone = np.concatenate([predict(row[None]) for row in rows[:count]])
    return np.allclose(alone, predict(rows)[:count])


PAIR = ["text_tail", "missing_as_text"]
FOUR = [[], PAIR[:1], PAIR[1:], PAIR]
RIGHT |= {
    "published.1": [KINDS],
    "published.2": [0.125, (1.24 - 1.21) / (1.24 - 1.0)],
    "published.3": [either, lambda *given: either(*given).tolist()],
    "published.4": [batch_free],
    "published.5": [FOUR, [set(run) for run in FOUR]],
}
WRONG |= {
    "published.1": [
        (KINDS | {"a": "leak"}, "two answers"),
        (KINDS | {"b": "chance"}, "scaler"),
        (KINDS | {"e": "leak"}, "thrown away"),
        (KINDS | {"c": "text"}, "choose one of"),
        (["leak"], "dictionary"),
    ],
    "published.2": [
        (0.875, "missing"),
        (-0.125, "direction"),
        (0.03, "divide"),
        (8.0, "upside down"),
        (12.5, "percent"),
        ("0.125", "without quotes"),
    ],
    "published.3": [
        (lambda *given: either(*given, forget=False), "overwritten"),
        (lambda *given: either(*given, both=True), "enough"),
        (lambda *given: either(*given, tie=True), "equal value"),
        (lambda *given: either(*given, with_r=False), "keep a look"),
        (lambda *given: True, "got bool"),
    ],
    "published.4": [
        (lambda predict, rows: True, "two answers"),
        (lambda predict, rows: False, "True"),
        (lambda predict, rows: np.allclose(predict(rows), predict(rows)), "alone"),
        (lambda predict, rows: batch_free(predict, rows, 3), "every row"),
    ],
    "published.5": [
        (FOUR[:3], "four different"),
        (FOUR[1:] + [["or_selection"]], "repaired network"),
        ([[], PAIR[:1], PAIR, ["or_selection", "text_tail"]], "on alone"),
        ([[], PAIR[:1], PAIR[1:], ["text_tail", "or_selection"]], "both switches"),
        ([[], ["typo"]], "no switch"),
        ("all", "four lists"),
    ],
}
