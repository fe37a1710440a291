"""The checks behind the exercises: `check(name, answer)` prints what is right or a hint, and never raises (every chapter).

A check is a function answer -> None where the answer is right, else a hint for the mistake it recognised. It is registered with the words for a right answer:

    @exercise("01.1", "ratios of concentrations are differences of logarithms.")
    def _check_fold(answer): ...

A check gives `Ellipsis` back, or raises it in a hint, where there is no answer yet.
"""

import math
from numbers import Real

import numpy as np

CHECKS = {}  # name -> (check, words for a right answer)


def exercise(name, praise):
    """Decorator that registers a check under the exercise's name, "chapter.number"."""
    def register(function):
        CHECKS[name] = function, praise
        return function

    return register


def check(name, answer=None):
    """Print whether an answer is right, or a hint. Whatever is handed in, this never raises; the stubs None and ... get a neutral line.

    >>> check("01.1", ...)
    01.1  No answer yet: replace the ... by your own, then run this cell again.
    >>> check("01.1", 2.31)
    01.1  Not yet: that is the difference of the logarithms. What does a difference of logarithms say about the concentrations?
    """
    name = str(name)
    if name not in CHECKS:
        chapter = [known for known in sorted(CHECKS) if known.split(".")[0] == name.split(".")[0]]
        return print(f"No exercise {name!r}; there are: {', '.join(chapter or sorted(CHECKS))}")
    function, praise = CHECKS[name]
    hint = ... if answer is None or answer is ... else _hint(function, answer)
    if hint is ...:
        return print(f"{name}  No answer yet: replace the ... by your own, then run this cell again.")
    print(f"{name}  Right: {praise}" if hint is None else f"{name}  Not yet: {hint}")


def _hint(function, answer):
    """The hint of a check; one of its own where the answer breaks."""
    try:
        with np.errstate(all="ignore"):
            return function(answer)
    except _Hint as hint:
        return hint.args[0]
    except (Exception, SystemExit) as error:  # whatever was handed in: an exercise never stops a chapter
        return f"your answer raised {type(error).__name__}. Try it on a small example of your own first."


class _Hint(Exception):
    """A hint raised from a helper, for the reader; `Ellipsis` where there is no answer yet."""


def number(answer):
    """The answer as one finite float; anything else raises a hint."""
    if callable(answer):
        raise _Hint("hand in the number, not the function: call it.")
    if isinstance(answer, (str, bytes)):
        raise _Hint("hand in a number, without quotes.")
    if isinstance(answer, np.ndarray) and answer.size == 1:
        answer = answer.item()
    if isinstance(answer, bool) or not isinstance(answer, (Real, np.number)):
        raise _Hint(f"expected one number, got {type(answer).__name__}.")
    if not math.isfinite(answer):
        raise _Hint("expected a finite number.")
    return float(answer)


def numbers(answer, shape):
    """The answer as a float array of `shape`; anything else raises a hint."""
    if answer is None:
        raise _Hint("the function returned nothing: does it end in `return`?")
    if callable(answer):
        raise _Hint("expected numbers, got a function: call it.")
    if isinstance(answer, (str, bytes)) or not hasattr(answer, "__len__"):
        raise _Hint(f"expected an array of shape {list(shape)}, got {type(answer).__name__}.")
    if len(answer) != shape[0]:  # before numpy copies something huge
        raise _Hint(f"expected an array of shape {list(shape)}, got one of length {len(answer)}.")
    values = np.asarray(answer, dtype=float)
    if values.shape != tuple(shape):
        raise _Hint(f"expected an array of shape {list(shape)}, got {list(values.shape)}.")
    return values


def chosen(answer, right, allowed):
    """Check a dictionary of choices: the hint of the first wrong one, `Ellipsis` while all are stubs; right: key -> (choice, hint)."""
    if not isinstance(answer, dict):
        return f"hand in a dictionary with the keys {', '.join(list(right)[:-1])} and {list(right)[-1]}, got {type(answer).__name__}."
    if all(answer.get(key) in (None, ...) for key in right):
        return ...
    for key, (choice, hint) in right.items():
        said = answer.get(key)
        if not isinstance(said, str) or said not in allowed:
            return f"for {key}, choose one of: {', '.join(allowed)}."
        if said != choice:
            return f"{key} is not {said}: {hint}"
    return None


def called(function, *inputs):
    """What the function that was handed in returns for `inputs`; a stub, and anything but a function, raises a hint."""
    if not callable(function):
        raise _Hint(f"hand in the function itself, without calling it; got {type(function).__name__}.")
    result = function(*inputs)
    if result is None or result is ...:
        raise _Hint(...)
    return result


# --- 01 data -----------------------------------------------------------------------------------------------------------------------------------


@exercise("01.1", "a ratio of concentrations is the exponential of a difference of logarithms.")
def _fold(answer):
    value, gap = number(answer), 2.81 - 0.50
    if abs(value - math.exp(gap)) < 0.1:
        return None
    known = {
        gap: "that is the difference of the logarithms. What does a difference of logarithms say about the concentrations?",
        10**gap: "these are natural logarithms, so the base is e, not 10.",
        2**gap: "these are natural logarithms, so the base is e, not 2.",
        math.exp(-gap): "upside down: which of the two lines needs more of the drug?",
        2.81 / 0.50: "a ratio of logarithms has no meaning; take their difference first.",
    }
    return next((hint for wrong, hint in known.items() if abs(value - wrong) < 0.02 * abs(wrong)), "take the difference of the two, then undo the logarithm.")


QUESTIONS = ("mixed", "cell_blind", "drug_blind", "scaffold_blind", "tissue_blind")
SPLIT_HINTS = {
    "a": ("cell_blind", "the patient's cells have never been screened, but the drugs are all known. What must the test role hold out?"),
    "b": ("mixed", "every line and every drug of that screen has been measured with something. Nothing has to be new."),
    "c": ("scaffold_blind", "holding drugs out is not enough: a near copy of the new molecule, on the same skeleton, may sit in train."),
    "d": ("tissue_blind", "holding lines out is not enough: other lines of the same tissue may sit in train."),
}


@exercise("01.2", "the question comes first, the split follows from it.")
def _questions(answer):
    return chosen(answer, SPLIT_HINTS, QUESTIONS)


@exercise("01.3", "test lines are scaled by what the training lines know, and change nothing themselves.")
def _scaler(answer):
    rng = np.random.default_rng(1)
    x, train = rng.normal(3.0, 2.0, (8, 4)), np.array([0, 2, 3, 5, 6])
    x[:, 3] = 7.0  # a gene without spread
    got = called(answer, x.copy(), train.copy())
    if hasattr(got, "__len__") and len(got) == len(train):
        return "only the training lines came back: fit on them, but scale every line."
    got, (mean, scale) = numbers(got, x.shape), (x[train].mean(0), x[train].std(0))
    if not np.isfinite(got).all():
        return "a gene without spread gives a division by zero: let it keep the scale 1."
    spread = np.where(scale > 0, scale, 1.0)
    sample = np.where(scale > 0, x[train].std(0, ddof=1), 1.0)
    if np.allclose(got, (x - mean) / spread) or np.allclose(got, (x - mean) / sample):
        return None
    every = np.where(x.std(0) > 0, x.std(0), 1.0)
    if np.allclose(got, (x - x.mean(0)) / every) or np.allclose(got, (x - x.mean(0)) / spread) or np.allclose(got, (x - mean) / every):
        return "a leak: the mean or the spread is that of all lines. Use the training lines alone."
    if np.allclose(got, (x - mean) / np.where(scale > 0, scale**2, 1.0)):
        return "that divides by the variance: divide by its square root."
    if np.allclose(got, x - mean):
        return "the mean is right; now divide by the standard deviation of the training lines."
    return "take mean and standard deviation of x[train], gene by gene (axis 0), and apply both to all of x."


@exercise("01.4", "a compound counts once, whatever its ids and however its name is written.")
def _crossing(answer):
    names = ["Gemcitabine", "Olaparib", "gemcitabine ", "Paclitaxel", "Olaparib", "Erlotinib", "GEMCITABINE"]
    got = called(answer, list(names), [0, 1, 5], [2, 3, 4, 6])
    if isinstance(got, (str, bytes)) or not hasattr(got, "__len__") or len(got) > 100:
        return f"return a list of names, got {type(got).__name__}."
    if any(not isinstance(name, str) for name in got):
        return "return names, not ids or positions."
    if not len(got):
        return "two compounds are in both roles. Do you compare ids? Compare the names behind them."
    found = [name.strip().lower() for name in got]
    if len(set(found)) < len(found):
        return "one compound came back more than once: strip blanks and lower the case before you compare, and return each name once."
    if "gemcitabine" not in found:
        return "one compound is written 'Gemcitabine', 'gemcitabine ' and 'GEMCITABINE': strip blanks and lower the case before you compare."
    if set(found) - {"gemcitabine", "olaparib"}:
        return "a compound came back that is in one role only: it must be in train and in test."
    return None if "olaparib" in found else "a compound with two ids of exactly the same name is missing."


@exercise("01.5", "neither the line nor the compound of a test pair was ever seen. Now argue: who would ask this question?")
def _both_blind(answer):
    from clmt_lib import data

    world = data.load("simulated", cells=24, drugs=["Gemcitabine", "Olaparib", "Trametinib", "Paclitaxel", "Erlotinib", "Bortezomib"])
    got = called(answer, world)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        return "return two things: the positions of train and of test."
    train, test = (np.asarray(role) for role in got)
    for name, role in (("train", train), ("test", test)):
        if role.ndim != 1 or not np.issubdtype(role.dtype, np.integer):
            return f"{name} must be a list of whole numbers, positions into benchmark.responses (np.flatnonzero makes them of a mask)."
        if not len(role):
            return f"{name} is empty."
        if role.min() < 0 or role.max() >= len(world):
            return f"{name} holds a position outside the responses."
    (line, drug), compound = world.pairs.T, world.drugs["compound"].to_numpy()
    if np.isin(train, test).any():
        return "a pair is in both roles."
    if np.isin(line[test], line[train]).any():
        return "a line of the test role is in train, too: leave such pairs out of train."
    if np.isin(drug[test], drug[train]).any():
        return "a drug of the test role is in train, too: leave such pairs out of train."
    if np.isin(compound[drug[test]], compound[drug[train]]).any():
        return "the ids differ, but a compound is in both roles under two ids: hold out compounds, not ids."
    return None if len(train) >= 0.2 * len(world) else "correct, but wasteful: train keeps less than a fifth of the pairs. Hold out fewer lines or compounds."


# --- 08 honest ladder --------------------------------------------------------------------------------------------------------------------------


@exercise("08.1", "about a hundred gigabytes. The two small kernels hold the same in under four megabytes.")
def _pair_kernel(answer):
    value, pairs = number(answer), 112_044
    size = pairs**2 * 8 / 1e9
    if abs(value - size) < 1.5:
        return None
    known = {
        pairs**2 * 8 / 2**30: "close: that is in GiB (2 ** 30 bytes); the question asks for GB (10 ** 9 bytes).",
        size / 8: "that counts the numbers; each of them takes 8 bytes in float64.",
        size / 2: "that is float32, or half of a symmetric matrix; count all entries at 8 bytes each.",
        pairs * 8 / 1e9: "the kernel compares every pair with every pair: it has a row *and* a column for each.",
        (577**2 + 216**2) * 8 / 1e9: "that is the size of the two small kernels, the trick's price. How large is the matrix it avoids?",
        size * 1e9: "that is in bytes; divide by 10 ** 9.",
    }
    return next((hint for wrong, hint in known.items() if abs(value - wrong) < 0.02 * abs(wrong)), "rows x columns x 8 bytes, divided by 10 ** 9.")


SCORES = ("rmse", "pcc", "pcc_per_drug", "pcc_per_cell", "pcc_normalised")
SCORE_HINTS = {
    "a": ("pcc_per_drug", "one drug, many lines to choose from: correlate across lines, inside the drug."),
    "b": ("pcc_per_cell", "one line, many drugs to choose from: correlate across drugs, inside the line."),
    "c": ("rmse", "a correlation does not know units: shift or stretch the predictions and it stays the same."),
    "d": ("pcc_normalised", "take away first what the drug and cell effects already say, and correlate what is left."),
}


@exercise("08.2", "a score is the answer to one question, and to no other.")
def _which_score(answer):
    return chosen(answer, SCORE_HINTS, SCORES)


@exercise("08.3", "and a drug with a constant prediction counts as zero: it ranks nobody.")
def _per_drug(answer):
    from clmt_lib.metrics import pearson, within

    rng = np.random.default_rng(8)
    drug = np.array([0] * 12 + [1] * 6 + [2] * 7 + [3] * 3)
    y = np.array([-3.0, 4.0, 1.0, 0.0])[drug] + rng.normal(size=len(drug))
    p = y + rng.normal(0, 2.0, len(drug))
    p[drug == 1] = 4.0
    got = called(answer, y.copy(), p.copy(), drug.copy())
    if np.ndim(got) == 1:
        return "one number, please: the mean over drugs."
    if isinstance(got, (float, np.floating)) and np.isnan(got):
        return "NaN: a drug with a constant prediction has no correlation. Count it as zero."
    value, every = number(got), [pearson(y[drug == d], p[drug == d]) for d in range(4)]
    sizes = np.bincount(drug)
    known = {
        within(y, p, drug): None,
        pearson(y, p): "that is the global correlation: split the pairs by drug first.",
        float(np.mean(every)): "a drug with three lines was counted. Leave out drugs with fewer than `fewest` lines.",
        (every[0] + every[2]) / 2: "the drug with a constant prediction was left out. That would reward giving up: count it as zero.",
        float(np.dot(sizes[:3], every[:3]) / sizes[:3].sum()): "large drugs were given more weight: every drug counts once.",
    }
    return next((hint for right, hint in known.items() if abs(value - right) < 1e-9), "correlate inside each drug with at least `fewest` lines, then average over drugs.")


@exercise("08.4", "draw by draw, what both models find hard cancels.")
def _paired_interval(answer):
    rng = np.random.default_rng(9)
    hard = rng.normal(1.0, 0.2, 4000)
    a, b = hard + rng.normal(0, 0.02, 4000), hard + 0.1 + rng.normal(0, 0.03, 4000)
    got = called(answer, a.copy(), b.copy())
    if np.shape(got) == np.shape(a):
        return "that is the difference in each draw; now give the two percentiles that hold its middle 95 %."
    got = numbers(got, (2,))

    def ends(values, tail):
        return np.percentile(values, [tail, 100 - tail])

    if np.allclose(got, ends(a - b, 2.5), atol=1e-3):
        return None
    if np.allclose(got, ends(b - a, 2.5), atol=1e-3):
        return "the sign is turned: a minus b."
    if np.allclose(got, ends(a - b, 2.5)[::-1], atol=1e-3):
        return "low end first."
    if np.allclose(got, ends(a - b, 5), atol=1e-3):
        return "that is a 90 % interval: cut 2.5 % off each end, not 5 %."
    if np.allclose(got, ends(a, 2.5) - ends(b, 2.5), atol=1e-3) or np.allclose(got, ends(a, 2.5) - ends(b, 2.5)[::-1], atol=1e-3):
        return "subtract first, then take percentiles: a difference of two intervals is not the interval of a difference."
    return "np.percentile(a - b, [2.5, 97.5])."


@exercise("08.5", "your rung beats drug + cell effects, and is blind to the test role. Where does it stand in a drug-blind split?")
def _own_rung(answer):
    from clmt_lib import data, metrics
    from clmt_lib.audit import permute_test_responses

    world = data.load("simulated", cells=96)
    split = data.make_split(world, "mixed")
    got = called(answer, world, split)
    if len(np.shape(got)) == 1 and len(got) == len(split.test):
        return "return the whole table [C, D], a prediction for every line and drug, not only the test pairs."
    table = numbers(got, (world.n_cells, world.n_drugs)).copy()
    if not np.isfinite(table).all():
        return "the table has holes (NaN or infinity): every pair needs a prediction, measured or not."
    other = numbers(answer(permute_test_responses(world, split), split), table.shape)
    if not np.array_equal(table, other):
        return "a leak, or an unseeded draw: shuffling the *test* responses changed your table. Use split.train (and split.valid to choose) only."
    cell, drug = world.pairs[split.test].T
    mean, cells, drugs = metrics.effects(world, split.train)
    mine, theirs = (metrics.rmse(world.y[split.test], values[cell, drug]) for values in (table, mean + cells[:, None] + drugs[None]))
    if mine >= theirs:
        return f"it runs and leaks nothing; its RMSE is {mine:.2f}, that of drug + cell effects {theirs:.2f}. Add what the effects leave: neighbours, factors, a kernel."
    return None


# --- 02 text modality --------------------------------------------------------------------------------------------------------------------------


def _first(got, known, otherwise):
    """The hint of the first known answer that `got` equals (None: right), else the general one."""
    return next((hint for value, hint in known if np.allclose(got, value)), otherwise)


@exercise("02.1", "padding is no word: it counts neither above nor below the fraction bar.")
def _pooled(answer):
    tokens = np.array([[1.0, 3.0], [3.0, -1.0], [2.0, 4.0], [6.0, 6.0]])
    known = [(tokens[:3].mean(0), None), (tokens.mean(0), "the padding is in your mean: its mask is 0."), (tokens[:3].sum(0), "that is the sum, not yet a mean.")]
    known.append((tokens[:3].sum(0) / 4, "the padding is out of the sum, but you divide by 4 tokens."))
    return _first(numbers(answer, (2,)), known, "multiply each vector by its mask, add, and divide by the sum of the mask.")


FACT_HINTS = {
    "a": ("fact", "targets and pathway of a drug are known without any screen."), "b": ("leak", "an approval is a conclusion from responses: those of patients."),
    "c": ("leak", "that is the answer itself."), "d": ("fact", "what follows from the chemistry inside a cell is mechanism, whatever the screen says."),
    "e": ("leak", "whoever wrote it had looked at the responses, though no word of it sounds like one."),
}


exercise("02.2", "ask of each sentence whether it could have been written before the screen.")(lambda answer: chosen(answer, FACT_HINTS, ("fact", "leak")))


@exercise("02.3", "what all texts share is gone, and a missing text resembles nothing.")
def _similarity(answer):
    z, there = np.random.default_rng(2).normal(0.5, 1.0, (6, 4)), np.arange(6)[:, None] < 5
    z = np.where(there, z, 0.0)
    got = called(answer, z.copy())
    got, mean = numbers(got, (6, 6)), z[:5].mean(0)
    moved = (np.where(there, z - mean, 0), z, z - mean, np.where(there, z - z.mean(0), 0), z - z.mean(0))
    unit = [rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in moved]
    if not np.isfinite(got).all():
        return "a missing text (a row of zeros) has length zero: do not divide by it."
    hints = [None, "the mean was not taken off.", "the missing text became minus the mean: put its row back to zero.", *["the row of zeros is in your mean: it is missing."] * 2]
    known = [(rows @ rows.T, hint) for rows, hint in zip(unit, hints)]
    return _first(got, known, "take off the mean of the rows that are there, put missing rows back to zero, scale rows to length 1, multiply.")


@exercise("02.4", "a copy of the drug itself is no evidence.")
def _neighbour_probe(answer):
    alike = np.array([[1, 0.9, 0.5, 0.1, 0.2], [0.9, 1, 0.3, 0.6, 0.1], [0.5, 0.3, 1, 0.4, 0.2], [0.1, 0.6, 0.4, 1, 0.7], [0.2, 0.1, 0.2, 0.7, 1]])
    got = called(answer, alike.copy(), np.array(["x", "x", "x", "y", "y"]), np.array(["P", "P", "Q", "R", "S"]))
    known = [(0.8, None), (1.0, "a drug was its own nearest neighbour, or its second id was: leave every id of its compound out."), (4.0, "that is a count: divide by the number of drugs.")]
    return _first(number(got), known, "for each drug, look among the ids of other compounds only, take the most similar one, and compare the labels.")


@exercise("02.5", "facts alone, short enough, nothing invented where a fact is missing. Does it beat the template of this chapter?")
def _own_template(answer):
    from clmt_lib.data import simulated
    from clmt_lib.views.text import response_words

    invented = [{"name": "X", "target": target, "pathway": "Mitosis"} for target in ("TUBB", "AURKA", None)]
    rows = [*simulated.facts()[["name", "target", "pathway"]].to_dict("records"), *invented]
    texts = [called(answer, dict(row)) for row in rows]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        return "return one text, not empty, for each drug."
    if any(response_words(texts)):
        return "your text speaks of response, sensitivity or use in the clinic: `response_words` shows where."
    if max(len(text.split()) for text in texts) > 120:
        return "over 120 words: the encoder reads 256 tokens, and a name like trametinib takes several."
    if texts[-3] == texts[-2]:
        return "two drugs with different targets get the same text."
    return "where the target is missing, your text says None." if "None" in texts[-1] or "nan" in texts[-1].split() else None
