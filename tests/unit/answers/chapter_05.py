"""Chapter 05: right answers, and the usual wrong ones with a part of their hint."""

import numpy as np
import torch
from torch.nn import functional as F

from clmt_lib.nn.contrast import info_nce

SAID = {"a": "positive", "b": "negative", "c": "left out", "d": "left out", "e": "left out"}


def unit(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def ways(logits, positive=True):
    below = [np.exp(t).sum(1) - (0 if positive else np.exp(np.diag(t))) for t in (logits, logits.T)]
    return [np.log(b) - np.diag(logits) for b in below]


def nce(a, b, temperature, positive=True):
    return np.mean(ways(unit(a) @ unit(b).T / temperature, positive))


def ranks(cosines, tie=0.5, start=1):
    own = np.diag(cosines)[:, None]
    return start + (cosines > own).sum(1) + tie * ((cosines == own).sum(1) - 1)


def unit_rows(z):
    return F.normalize(z, dim=1)


def sigmoid_loss(a, b):
    s = unit_rows(a) @ unit_rows(b).T
    return F.softplus(-(2 * torch.eye(len(s)) - 1) * (5 * s - 2)).mean()


def margin_loss(a, b):
    s = unit_rows(a) @ unit_rows(b).T
    return (s - s.diagonal()[:, None] + 0.5).clamp(min=0).mean()


def by_list(a, b, temperature):
    return info_nce(torch.from_numpy(a), torch.from_numpy(b), temperature).item()


RIGHT = {
    "05.1": [np.log(64), 4.16, np.float64(4.1589)],
    "05.2": [SAID],
    "05.3": [nce, by_list, lambda a, b, t: np.array([nce(a, b, t)])],
    "05.4": [ranks, lambda cosines: ranks(cosines).tolist()],
    "05.5": [
        sigmoid_loss,
        margin_loss,
        lambda a, b: info_nce(a, b, 0.2),
        lambda a, b: info_nce(a, b, 0.2, both=False, positive=False),
    ],
}
WRONG = {
    "05.1": [
        (6.0, "bits"),
        (1 / 64, "chance of being right"),
        (64, "number of partners"),
        (np.log(63), "left out"),
        (-np.log(64), "positive"),
        (1.806, "decimal"),
        (2.0, "equally likely"),
        ("4.16", "quotes"),
    ],
    "05.2": [
        (SAID | {"b": "left out"}, "two entities"),
        (SAID | {"c": "negative"}, "false negative"),
        (SAID | {"d": "negative"}, "row of zeros"),
        (SAID | {"e": "negative"}, "letter by letter"),
        (SAID | {"a": 1}, "choose one of"),
        (["positive"], "dictionary"),
    ],
    "05.3": [
        (lambda a, b, t: ways(unit(a) @ unit(b).T / t)[0].mean(), "one direction"),
        (lambda a, b, t: ways(unit(a) @ unit(b).T / t)[1].mean(), "b to a"),
        (lambda a, b, t: 2 * nce(a, b, t), "halve"),
        (lambda a, b, t: 6 * nce(a, b, t), "over entities"),
        (lambda a, b, t: -nce(a, b, t), "sign"),
        (lambda a, b, t: np.mean(ways(a @ b.T / t)), "length 1"),
        (lambda a, b, t: nce(a, b, 1 / t), "divide by it"),
        (lambda a, b, t: nce(a, b, 1.0), "missing"),
        (lambda a, b, t: nce(a, b, t, False), "denominator"),
        (lambda a, b, t: 1.0, "four drugs"),
        (lambda a, b, t: a, "one number"),
    ],
    "05.4": [
        (lambda c: ranks(c, start=0), "not 0"),
        (lambda c: ranks(c, tie=0), "no win"),
        (lambda c: ranks(c, tie=1), "no defeat"),
        (lambda c: ranks(-c), "turned around"),
        (lambda c: ranks(c.T), "b to a"),
        (lambda c: ranks(c) + 0.5, "ties with itself"),
        (lambda c: np.ones(4), "for each row"),
        (lambda c: 1.0, "shape [4]"),
        (lambda c: ranks(c)[:3], "shape [4]"),
    ],
    "05.5": [
        (lambda a, b: ((a - b) ** 2).mean(), "lengths"),
        (lambda a, b: 1 - F.cosine_similarity(a, b).mean(), "only pulls"),
        (lambda a, b: -sigmoid_loss(a, b), "right partners"),
        (lambda a, b: sigmoid_loss(a, b).item(), "one torch number"),
        (lambda a, b: sigmoid_loss(a, b).detach(), "differentiated"),
        (lambda a, b: (unit_rows(a) @ unit_rows(b).T)[0, 0], "order"),
        (lambda a, b: (a * 0).sum(), "zero or not finite"),
        (lambda a, b: unit_rows(a), "one torch number"),
    ],
}
