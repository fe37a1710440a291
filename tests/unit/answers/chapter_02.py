"""Chapter 02: right answers, and the usual wrong ones with a part of their hint."""

import numpy as np

from clmt_lib.views.text import centred

SAID = {"a": "fact", "b": "leak", "c": "leak", "d": "fact", "e": "leak"}


def cosine(z):
    z = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    return z @ z.T


def similarity(z):
    there = z.any(axis=1)
    return cosine(np.where(there[:, None], z - z[there].mean(axis=0), 0.0))


def probe(alike, label, compound, leave_out="compound"):
    out = {
        "compound": compound[:, None] == compound[None],
        "self": np.eye(len(label), dtype=bool),
        "nothing": np.zeros(alike.shape, bool),
    }[leave_out]
    nearest = np.where(out, -np.inf, alike).argmax(axis=1)
    return np.mean(label[nearest] == label)


def describe(row):
    return f"{row['target'] or 'an unknown protein'} is what it binds; pathway {row['pathway']}."


RIGHT = {
    "02.1": [[2.0, 2.0], np.array([2, 2])],
    "02.2": [SAID],
    "02.3": [similarity, lambda z: centred(z) @ centred(z).T, lambda z: similarity(z).tolist()],
    "02.4": [probe, lambda *given: float(probe(*given))],
    "02.5": [describe, lambda row: f"{row['pathway']}: {row['target'] or 'target not known'}"],
}
WRONG = {
    "02.1": [
        ([3.0, 3.0], "padding"),
        ([6.0, 6.0], "sum"),
        ([1.5, 1.5], "divide by 4"),
        ([0.0, 1.0], "multiply"),
        (2.0, "shape [2]"),
        ([2.0, 2.0, 2.0], "shape [2]"),
    ],
    "02.2": [
        (SAID | {"b": "fact"}, "approval"),
        (SAID | {"e": "fact"}, "looked at"),
        (SAID | {"a": True}, "choose one of"),
        (["fact"], "dictionary"),
    ],
    "02.3": [
        (cosine, "was not taken off"),
        (lambda z: cosine(z - z.mean(0)), "in your mean"),
        (lambda z: cosine(z - z[z.any(1)].mean(0)), "minus the mean"),
        (lambda z: (z / np.linalg.norm(z, axis=1, keepdims=True)) @ z.T, "length zero"),
        (lambda z: z, "shape [6, 6]"),
        (lambda z: np.eye(6), "scale rows"),
    ],
    "02.4": [
        (lambda *given: probe(*given, "self"), "second id"),
        (lambda *given: probe(*given, "nothing"), "second id"),
        (lambda *given: 5 * probe(*given), "count"),
        (lambda *given: 0.5, "other compounds"),
    ],
    "02.5": [
        (lambda row: f"Approved; hits {row['target']}", "response_words"),
        (lambda row: f"Lines with high {row['target']} are sensitive.", "response_words"),
        (lambda row: "a drug", "different targets"),
        (lambda row: f"{row['target']}, {row['pathway']}", "says None"),
        (lambda row: f"{row['target']} " * 130, "120 words"),
        (lambda row: "", "not empty"),
        (lambda row: 3, "one text"),
    ],
}
