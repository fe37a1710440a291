"""The bug clinic: ten functions that run, and are wrong in the way that such code is wrong."""

from typing import Any

import numpy as np

from clmt_lib.book.exercises.core import called, exercise, first, numbers

X = np.array([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0], [40.0, 6.0]])  # the last row is a test line


@exercise("clinic.01", "whatever is fitted is fitted on the training set.")
def _scaler(answer: Any) -> Any:
    train = np.array([0, 1, 2])
    got = numbers(called(answer, X.copy(), train), X.shape)
    mean, spread = X[train].mean(0), X[train].std(0)
    right = (X - mean) / np.where(spread > 0, spread, 1)
    if not np.isfinite(got).all():
        return "a gene that is the same in all training lines gives no finite number."
    moved = X.copy()
    moved[3] *= 7
    again = numbers(called(answer, moved, train), X.shape)
    if not np.allclose(again[train], got[train]):
        return "change only the test line, and the numbers of the training lines change."
    if np.allclose(got[3], 0):
        return "the test line was scaled by itself: what would one new sample become?"
    return first(got, [(right, None)], "training lines should have mean 0 and variance 1 a gene.")


@exercise("clinic.02", "two ids of one compound are one question.")
def _held_out(answer: Any) -> Any:
    compounds = np.array(["a", "a", "b", "c", "c", "d", "e", "f", "f", "f"])
    ever = np.zeros(len(compounds), bool)
    for seed in range(20):
        test = np.asarray(called(answer, compounds.copy(), np.random.default_rng(seed)))
        if test.dtype != bool or test.shape != compounds.shape:
            return "return one True or False an id: True where it is held out."
        if not 0 < test.sum() < len(test):
            return "either nothing is held out, or nothing is left to train on."
        if set(compounds[test]) & set(compounds[~test]):
            return "somebody in the test set has been seen in training under another id."
        ever |= test
    if not ever.all():
        return "some ids are never held out, whatever the seed."
    return None


@exercise("clinic.03", "a feature made of responses may use those of training alone.")
def _level(answer: Any) -> Any:
    y, drug = np.array([1.0, 3.0, 10.0, 6.0, 2.0]), np.array([0, 0, 0, 1, 2])
    train = np.array([0, 1, 3])
    got = numbers(called(answer, y.copy(), drug, train, 3), (3,))
    known = [
        ([2, 6, 4], None),
        ([14 / 3, 6, 2], "the test responses are in it: change them, and the feature changes."),
        ([2, 6, 0], "a drug without a training response is not at 0 ln µM: what do you expect?"),
        (
            [2, 6, 10 / 3],
            "for the unseen drug every other drug counts once, however many pairs it has.",
        ),
        ([2, 6, 22 / 5], "for the unseen drug you used all responses, test included."),
        ([4] * 3, "every drug has the same level now."),
    ]
    if not np.isfinite(got).all():
        return "a drug without a training response has no finite level."
    return first(got, known, "the mean of each drug's training responses, please.")


@exercise("clinic.04", "a prediction is made once, and made the same the next time.")
def _dropout(answer: Any) -> Any:
    x, weight = np.ones((200, 50)), np.full(50, 0.02)

    def said(training: bool, seed: int) -> np.ndarray:
        result = called(answer, x, weight, training, np.random.default_rng(seed))
        return numbers(result, (len(x),))

    if not np.allclose(said(False, 0), said(False, 1)):
        return "ask twice for a prediction, and you get two."
    if np.allclose(said(True, 0), said(True, 1)):
        return "in training nothing is left out any more."
    if abs(said(True, 0).mean() - 1) > 0.1 or abs(said(False, 0).mean() - 1) > 1e-9:
        return "in training and in use, the expected output must be the same."
    return None


@exercise("clinic.05", "nobody's prediction depends on who else is asked about.")
def _norm(answer: Any) -> Any:
    h, mean, spread = np.array([[1.0], [3.0], [8.0]]), np.array([2.0]), np.array([4.0])
    used = numbers(called(answer, h, mean, spread, False), (3, 1))
    alone = numbers(called(answer, h[:1], mean, spread, False), (1, 1))
    if not np.allclose(used[:1], alone):
        return "in use, the first row changes with the rows beside it."
    trained = numbers(called(answer, h, mean, spread, True), (3, 1))
    if np.allclose(used, (h - h.mean(0)) / spread) or not np.allclose(used, (h - mean) / spread):
        return "in use, take the mean and the spread that were kept in training."
    if not np.allclose(trained, (h - h.mean(0)) / h.std(0)):
        return "in training, take the mean and the spread of the batch."
    return None


@exercise("clinic.06", "a copy is no negative.")
def _negatives(answer: Any) -> Any:
    drug = np.array([3, 7, 3, 1])
    got = np.asarray(called(answer, drug))
    if got.shape != (4, 4):
        return "return a table of True and False, a row and a column an entry of the batch."
    same = drug[:, None] == drug[None]
    known = [
        (~same, None),
        (~np.eye(4, dtype=bool), "the encoder is asked to push a drug away from itself."),
        (same, "that is the opposite: True where the column is to be pushed away."),
        (~same | np.eye(4, dtype=bool), "the row's own entry counts as its negative."),
    ]
    return first(got.astype(float), known, "which columns hold another drug than the row?")


@exercise("clinic.07", "the nearest neighbour is the one that you want most.")
def _nearest(answer: Any) -> Any:
    likeness = np.array(
        [[1.0, 0.9, 0.2, 0.5], [0.9, 1.0, 0.6, 0.1], [0.2, 0.6, 1.0, 0.3], [0.5, 0.1, 0.3, 1.0]]
    )
    got = numbers(called(answer, likeness.copy(), 2), (4, 2))
    right = np.array([[1, 3], [0, 2], [1, 3], [0, 2]])
    if (got == np.arange(4)[:, None]).any():
        return "somebody is a neighbour of itself."
    if not np.equal(np.sort(got, 1), right).all():
        if not (got == right[:, :1]).any(1).all():
            return "ask for two, and the very nearest one is missing."
        return "these are not the two most similar ones of every row."
    return None if (got == right).all() else "the right ones, but the nearest should come first."


@exercise("clinic.08", "one error over all pairs, however they were cut into batches.")
def _batches(answer: Any) -> Any:
    batches = [np.array([1.0, -1.0, 1.0, -1.0]), np.array([3.0])]
    got = numbers(np.atleast_1d(called(answer, batches)), (1,))
    known = [
        ([np.sqrt(13 / 5)], None),
        ([2.0], "cut the same pairs into other batches, and the error is another."),
        ([np.sqrt(5)], "the single pair of the last batch counts as much as four."),
        ([1.0], "the last batch is missing: a test set does not depend on the batch size."),
        ([13 / 5], "take the root at the end."),
    ]
    return first(got, known, "the root of the mean over all pairs of the squared error.")


@exercise("clinic.09", "one criterion, and the best look by it.")
def _kept(answer: Any) -> Any:
    rmse = np.array([1.00, 0.90, 0.93, 0.95, 0.97])
    r = np.array([0.50, 0.55, 0.54, 0.57, 0.56])
    got = numbers(np.atleast_1d(called(answer, rmse, r)), (1,))
    known = [
        ([1], None),
        ([3], "the reported look has a higher error than an earlier one."),
        ([4], "the last look is not the best one."),
        ([0], "the first look is kept, whatever follows."),
    ]
    hint = first(got, known, "return the position of the look with the lowest RMSE.")
    tied = called(answer, np.array([0.9, 0.8, 0.8]), np.array([0.1, 0.2, 0.3]))
    if hint is None and int(tied) != 1:
        return "with equal errors, the earlier look stays: the later one is no better."
    return hint


@exercise("clinic.10", "units are a part of a number.")
def _units(answer: Any) -> Any:
    got = [float(called(answer, value, unit)) for value, unit in ((2.0, "uM"), (500.0, "nM"))]
    micro, nano = np.log(2), np.log(0.5)
    known = [
        ([micro, nano], None),
        (np.log10([2, 0.5]), "the table is in natural logarithms: a factor of ten is 2.3."),
        ([micro, np.log(5e5)], "500 nM are more potent than 2 µM, not less."),
        ([micro, np.log(500)], "nanomolar values are read as micromolar ones."),
        (np.log1p([2, 0.5]), "there is no 1 to add: ln of 1 µM is 0."),
    ]
    return first(numbers(got, (2,)), known, "the natural logarithm of the concentration in µM.")
