"""Chapter profiles: right answers, and the usual wrong ones with a part of their hint."""

import numpy as np

SAID = {"a": "positive", "b": "negative", "c": "left out", "d": "left out", "e": "left out"}


def both_ways(s, rows=slice(None)):
    ways = [(np.log(np.exp(t).sum(1)) - np.diag(t))[rows].mean() for t in (s, s.T)]
    return np.mean(ways)


def logits(z, space):
    unit = {view: value / np.linalg.norm(value, axis=1)[:, None] for view, value in z.items()}
    return unit["molecule"] @ unit[space].T / 0.1


def masked(z, known, mean=False):
    found = [both_ways(logits(z, space)[np.ix_(m, m)]) for space, m in known.items()]
    return np.mean(found) if mean else np.sum(found)


def fully(z, known):
    both = known["morphology"] & known["expression"]
    return masked(z, dict.fromkeys(known, both))


def products(z, known):
    return sum(both_ways((z["molecule"] @ z[s].T / 0.1)[np.ix_(m, m)]) for s, m in known.items())


def ridge(among, between, y, strength, middle=None):
    middle = y.mean(0) if middle is None else middle
    weights = np.linalg.solve(among + strength * np.eye(len(among)), y - middle)
    return between @ weights + middle


def rotated(library, seed):
    rng, out = np.random.default_rng(seed), np.arange(len(library))
    for name in np.unique(library):
        rows = rng.permutation(np.flatnonzero(library == name))
        out[rows] = np.roll(rows, 1)
    return out


RIGHT = {
    "profiles.1": [10 / 350, 1 / 35],
    "profiles.2": [SAID],
    "profiles.3": [masked],
    "profiles.4": [ridge, lambda a, b, y, r: ridge(a, b, y, r).tolist()],
    "profiles.5": [rotated, lambda library, seed: rotated(library, seed + 5)],
}
WRONG = {
    "profiles.1": [
        (1 / 350, "first place"),
        (35, "turn it around"),
        (2.857, "not a percentage"),
        (10 / 1400, "no candidates"),
        (5.5 / 350, "all ten"),
        (0.5, "equally likely"),
        ("0.03", "quotes"),
    ],
    "profiles.2": [
        (SAID | {"a": "negative"}, "own profile"),
        (SAID | {"b": "left out"}, "what a negative is"),
        (SAID | {"c": "negative"}, "connectivity"),
        (SAID | {"d": "negative"}, "nobody measured"),
        (SAID | {"e": "negative"}, "replicate"),
        (SAID | {"a": "yes"}, "choose one of"),
        (3, "dictionary"),
    ],
    "profiles.3": [
        (lambda z, k: sum(both_ways(logits(z, s), m) for s, m in k.items()), "columns are not"),
        (lambda z, k: sum(both_ways(logits(z, s)) for s in k), "nothing is masked"),
        (fully, "its own mask"),
        (lambda z, k: masked(z, k, True), "not the mean"),
        (lambda z, k: masked(z, {"morphology": k["morphology"]}), "add the other space"),
        (products, "length 1"),
        (lambda z, k: 1.0, "for each space"),
    ],
    "profiles.4": [
        (lambda a, b, y, r: ridge(a, b, y, r, np.zeros(4)), "mean of the donors off"),
        (lambda a, b, y, r: ridge(a, b, y, r) - y.mean(0), "again at the end"),
        (lambda a, b, y, r: ridge(a, b, y, 0.0), "ridge is missing"),
        (lambda a, b, y, r: ridge(a, b, y, r**2), "not its square"),
        (lambda a, b, y, r: b / b.sum(1)[:, None] @ y, "weighted mean"),
        (lambda a, b, y, r: b @ (y - y.mean(0)) + y.mean(0), "inverse"),
        (lambda a, b, y, r: y[b.argmax(1)], "nearest neighbour"),
        (lambda a, b, y, r: np.zeros((3, 4)), "weights = solve"),
        (lambda a, b, y, r: y, "shape [3, 4]"),
    ],
    "profiles.5": [
        (lambda library, seed: library, "one integer"),
        (lambda library, seed: np.zeros(len(library), dtype=int), "exactly once"),
        (lambda library, seed: np.roll(np.arange(len(library)), 1), "another library"),
        (lambda library, seed: np.arange(len(library)), "kept its own"),
        (lambda library, seed: rotated(library, 0), "depend on the seed"),
    ],
}
