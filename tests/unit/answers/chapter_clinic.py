"""Bug clinic: mended functions, the ill ones of the page, and the usual wrong repairs."""

import numpy as np


def standardise(x, train):
    spread = x[train].std(axis=0)
    return (x - x[train].mean(axis=0)) / np.where(spread > 0, spread, 1)


def held_out(compounds, rng):
    names = np.unique(compounds)
    return np.isin(compounds, rng.choice(names, len(names) // 3, replace=False))


def level(y, drug, train, n):
    y, drug = y[train], drug[train]
    known = {d: y[drug == d].mean() for d in np.unique(drug)}
    rest = np.mean(list(known.values()))
    return np.array([known.get(d, rest) for d in range(n)])


def output(x, weight, training, rng):
    if not training:
        return x @ weight
    kept = rng.random(x.shape) < 0.5
    return (x * kept / 0.5) @ weight


def normalised(h, mean, spread, training):
    if training:
        mean, spread = h.mean(axis=0), h.std(axis=0)
    return (h - mean) / spread


def negatives(drug):
    return drug[:, None] != drug[None]


def nearest(likeness, k):
    np.fill_diagonal(likeness, -np.inf)
    return np.argsort(likeness, axis=1)[:, -k:][:, ::-1]


def error(batches):
    return np.sqrt(np.mean(np.concatenate(batches) ** 2))


def kept(rmse, r):
    return int(np.argmin(rmse))


def ln_ic50(value, unit):
    return np.log(value / {"uM": 1, "nM": 1000}[unit])


def ill_standardise(x, train):
    """x [lines, genes], train: positions; returns [lines, genes]."""
    return (x - x.mean(axis=0)) / x.std(axis=0)


def ill_held_out(compounds, rng):
    """compounds [ids], a name an id; returns [ids] True where held out."""
    ids = np.arange(len(compounds))
    return np.isin(ids, rng.choice(ids, len(ids) // 3, replace=False))


def ill_level(y, drug, train, n):
    """y, drug [pairs], train: positions of pairs; returns [n] a drug."""
    return np.array([y[drug == d].mean() for d in range(n)])


def ill_output(x, weight, training, rng):
    """x [rows, inputs], weight [inputs]; returns [rows]."""
    kept = rng.random(x.shape) < 0.5
    return (x * kept / 0.5) @ weight


def ill_normalised(h, mean, spread, training):
    """h [rows, dim]; mean, spread [dim] were kept; returns [rows, dim]."""
    return (h - h.mean(axis=0)) / h.std(axis=0)


def ill_negatives(drug):
    """drug [rows]; returns [rows, rows] True where to push."""
    return ~np.eye(len(drug), dtype=bool)


def ill_nearest(likeness, k):
    """likeness [n, n]; returns [n, k] positions."""
    np.fill_diagonal(likeness, 0)
    return np.argsort(likeness, axis=1)[:, -k - 1 : -1][:, ::-1]


def ill_error(batches):
    """batches: a list of arrays of prediction - measured; returns RMSE."""
    return np.mean([np.sqrt(np.mean(batch**2)) for batch in batches])


def ill_kept(rmse, r):
    """rmse, r [looks]; returns the position of the look that is kept."""
    best, low, high = 0, rmse[0], r[0]
    for look in range(1, len(rmse)):
        if rmse[look] < low or r[look] > high:
            best, low, high = look, rmse[look], r[look]
    return best


def ill_ln_ic50(value, unit):
    """value in unit "uM" or "nM"; returns ln of the value in µM."""
    return np.log10(value * {"uM": 1, "nM": 1000}[unit])


def each_by_itself(x, train):
    out, test = x.copy(), np.setdiff1d(np.arange(len(x)), train)
    for rows in (train, test):
        spread = x[rows].std(axis=0)
        out[rows] = (x[rows] - x[rows].mean(axis=0)) / np.where(spread > 0, spread, 1)
    return out


def unguarded(x, train):
    return (x - x[train].mean(axis=0)) / x[train].std(axis=0)


def zero_for_new(y, drug, train, n):
    found = level(y, drug, train, n)
    return np.where(np.isin(np.arange(n), drug[train]), found, 0)


def nan_for_new(y, drug, train, n):
    found = level(y, drug, train, n)
    return np.where(np.isin(np.arange(n), drug[train]), found, np.nan)


def with_itself(likeness, k):
    return np.argsort(likeness, axis=1)[:, -k:][:, ::-1]


def far_first(likeness, k):
    return nearest(likeness, k)[:, ::-1]


RIGHT = {
    "clinic.01": [standardise],
    "clinic.02": [held_out],
    "clinic.03": [level],
    "clinic.04": [output],
    "clinic.05": [normalised],
    "clinic.06": [negatives],
    "clinic.07": [nearest],
    "clinic.08": [error],
    "clinic.09": [kept],
    "clinic.10": [ln_ic50],
}
WRONG = {
    "clinic.01": [
        (ill_standardise, "numbers of the training lines change"),
        (each_by_itself, "one new sample"),
        (unguarded, "no finite number"),
    ],
    "clinic.02": [
        (ill_held_out, "under another id"),
        (lambda names, rng: np.zeros(len(names), bool), "nothing is held out"),
        (lambda names, rng: names == "a", "never held out"),
        (lambda names, rng: np.flatnonzero(held_out(names, rng)), "True or False"),
    ],
    "clinic.03": [
        (ill_level, "test responses"),
        (zero_for_new, "not at 0"),
        (nan_for_new, "no finite level"),
    ],
    "clinic.04": [
        (ill_output, "you get two"),
        (lambda x, w, training, rng: x @ w, "nothing is left out"),
        (
            lambda x, w, training, rng: (
                x @ w if not training else (x * (rng.random(x.shape) < 0.5)) @ w
            ),
            "expected output",
        ),
    ],
    "clinic.05": [
        (ill_normalised, "rows beside it"),
        (lambda h, mean, spread, training: (h - mean) / spread, "of the batch"),
        (lambda h, mean, spread, training: h - mean, "kept in training"),
    ],
    "clinic.06": [
        (ill_negatives, "away from itself"),
        (lambda drug: drug[:, None] == drug[None], "opposite"),
        (
            lambda drug: negatives(drug) | np.eye(len(drug), dtype=bool),
            "counts as its negative",
        ),
    ],
    "clinic.07": [
        (ill_nearest, "nearest one is missing"),
        (with_itself, "neighbour of itself"),
        (far_first, "come first"),
    ],
    "clinic.08": [
        (ill_error, "into other batches"),
        (lambda batches: np.sqrt(np.mean([np.mean(b**2) for b in batches])), "as much as four"),
        (lambda batches: error(batches[:1]), "last batch is missing"),
        (lambda batches: error(batches) ** 2, "root"),
    ],
    "clinic.09": [
        (ill_kept, "higher error"),
        (lambda rmse, r: len(rmse) - 1, "last look"),
        (lambda rmse, r: int(np.flatnonzero(rmse == rmse.min())[-1]), "earlier look"),
    ],
    "clinic.10": [
        (lambda value, unit: np.log10(value / {"uM": 1, "nM": 1000}[unit]), "natural"),
        (lambda value, unit: np.log(value * {"uM": 1, "nM": 1000}[unit]), "more potent"),
        (lambda value, unit: np.log(value), "micromolar"),
        (ill_ln_ic50, "natural logarithm"),
    ],
}
