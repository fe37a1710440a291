"""Right and wrong answers to the exercises of chapters 01 to 06, 08 and 14, and of the clinic."""

import math

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from clmt_lib import models, tasks
from clmt_lib.book.exercises.scaling import makespan
from clmt_lib.book.exercises.training import adamw
from clmt_lib.models.clmt.auxiliary import drug_thresholds
from clmt_lib.nn.contrast import info_nce
from clmt_lib.tasks import metrics
from clmt_lib.views.structure import neighbours
from clmt_lib.views.text import centred

# --- Right and wrong answers to the exercises of chapters 01 to 05.


def scaler(x, train):
    mean, scale = x[train].mean(0), x[train].std(0)
    return (x - mean) / np.where(scale > 0, scale, 1.0)


def crossing(names, train, test):
    clean = [name.strip().lower() for name in names]
    return sorted({clean[i] for i in train} & {clean[i] for i in test})


def both_blind(benchmark, shares=(0.25, 0.34), key="compound"):
    (line, drug), rng = benchmark.pairs.T, np.random.default_rng(0)
    group = np.unique(benchmark.drugs[key] if key else benchmark.drugs.index, return_inverse=True)[
        1
    ][drug]
    held_line, held_group = (
        rng.permutation(n)[: math.ceil(share * n)]
        for n, share in zip((benchmark.n_cells, group.max() + 1), shares)
    )
    new_line, new_group = np.isin(line, held_line), np.isin(group, held_group)
    return np.flatnonzero(~new_line & ~new_group), np.flatnonzero(new_line & new_group)


RIGHT_01 = {
    "01.1": [math.exp(2.31), 10.07, np.float64(10.07), np.array([10.1]), np.float32(10.07)],
    "01.2": [{"a": "cell_blind", "b": "mixed", "c": "scaffold_blind", "d": "tissue_blind"}],
    "01.3": [
        scaler,
        lambda x, train: scaler(x, train).tolist(),
        lambda x, train: (
            (x - x[train].mean(0)) / np.where(x[train].std(0) > 0, x[train].std(0, ddof=1), 1.0)
        ),
    ],
    "01.4": [
        crossing,
        lambda *roles: [name.title() for name in crossing(*roles)],
        lambda *roles: set(crossing(*roles)),
    ],
    "01.5": [both_blind, lambda world: [role.tolist() for role in both_blind(world)]],
}


ANSWERS = RIGHT_01["01.2"][0]


def leaky_scaler(x, train):
    return scaler(x, np.arange(len(x)))


def mixed_scaler(x, train):
    return (x - x[train].mean(0)) / np.where(x.std(0) > 0, x.std(0), 1.0)


def constant_gene(x, train):
    return (x - x[train].mean(0)) / x[train].std(0)


def by_variance(x, train):
    scale = x[train].std(0)
    return (x - x[train].mean(0)) / np.where(scale > 0, scale**2, 1.0)


def by_exact_name(names, train, test):
    return sorted({names[i] for i in train} & {names[i] for i in test})


WRONG_01 = {
    "01.1": [
        (2.31, "difference of the logarithms"),
        (10**2.31, "not 10"),
        (2**2.31, "not 2"),
        (math.exp(-2.31), "upside down"),
        (2.81 / 0.5, "ratio of logarithms"),
        (42, "take the difference"),
        ("10", "without quotes"),
        (math.nan, "finite"),
        (True, "got bool"),
        ([10.07], "got list"),
        (math.exp, "call it"),
    ],
    "01.2": [
        (ANSWERS | {"a": "mixed"}, "a is not mixed"),
        (ANSWERS | {"b": "cell_blind"}, "Nothing has to be new"),
        (ANSWERS | {"c": "drug_blind"}, "near copy"),
        (ANSWERS | {"d": "cell_blind"}, "same tissue"),
        (ANSWERS | {"d": "tissue-blind"}, "for d, choose one of"),
        ({"a": "cell_blind"}, "for b, choose one of"),
        (list(ANSWERS.values()), "dictionary"),
    ],
    "01.3": [
        (leaky_scaler, "a leak"),
        (mixed_scaler, "a leak"),
        (constant_gene, "division by zero"),
        (by_variance, "divides by the variance"),
        (lambda x, train: scaler(x, train)[train], "only the training lines"),
        (lambda x, train: x - x[train].mean(0), "now divide"),
        (lambda x, train: x, "gene by gene"),
        (lambda x, train: x.mean(), "expected an array of shape [8, 4]"),
        (lambda x, train: scaler(x, train).T, "got one of length 4"),
        (lambda x, train: scaler, "got a function"),
        (scaler(np.ones((8, 4)), [0, 1]), "without calling it"),
        (lambda x: x, "raised TypeError"),
    ],
    "01.4": [
        (by_exact_name, "'GEMCITABINE'"),
        (lambda names, train, test: sorted(set(train) & set(test)), "Do you compare ids"),
        (lambda names, train, test: [2, 4], "not ids"),
        (
            lambda names, train, test: [
                names[i] for i in test if names[i].strip().lower() in crossing(names, train, test)
            ],
            "more than once",
        ),
        (
            lambda names, train, test: sorted({name.strip().lower() for name in names}),
            "one role only",
        ),
        (lambda names, train, test: ["gemcitabine"], "exactly the same name"),
        (lambda names, train, test: "gemcitabine", "got str"),
    ],
    "01.5": [
        (lambda world: both_blind(world, key=None), "under two ids"),
        (lambda world: (np.arange(10), np.arange(9, 20)), "in both roles"),
        (lambda world: (np.arange(1, len(world)), np.array([0])), "a line of the test set"),
        (lambda world: both_blind(world, shares=(0.8, 0.8)), "wasteful"),
        (lambda world: (np.arange(10), np.array([], dtype=int)), "test is empty"),
        (lambda world: (np.arange(10), np.array([10**6])), "outside the responses"),
        (lambda world: (np.ones(len(world), bool), np.zeros(len(world), bool)), "whole numbers"),
        (lambda world: np.arange(10), "two things"),
    ],
}


SAID_02 = {"a": "fact", "b": "leak", "c": "leak", "d": "fact", "e": "leak"}


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


RIGHT_02 = {
    "02.1": [[2.0, 2.0], np.array([2, 2])],
    "02.2": [SAID_02],
    "02.3": [similarity, lambda z: centred(z) @ centred(z).T, lambda z: similarity(z).tolist()],
    "02.4": [probe, lambda *given: float(probe(*given))],
    "02.5": [describe, lambda row: f"{row['pathway']}: {row['target'] or 'target not known'}"],
}


WRONG_02 = {
    "02.1": [
        ([3.0, 3.0], "padding"),
        ([6.0, 6.0], "sum"),
        ([1.5, 1.5], "divide by 4"),
        ([0.0, 1.0], "multiply"),
        (2.0, "shape [2]"),
        ([2.0, 2.0, 2.0], "shape [2]"),
    ],
    "02.2": [
        (SAID_02 | {"b": "fact"}, "approval"),
        (SAID_02 | {"e": "fact"}, "looked at"),
        (SAID_02 | {"a": True}, "choose one of"),
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


def one_round(h, bond_index, e):
    source, target = bond_index
    out = h.copy()
    np.add.at(out, target, np.maximum(h[source] + e, 0))
    return out


def no_self(h, bond_index, e):
    return one_round(h, bond_index, e) - h


def cut_late(h, bond_index, e):
    total = np.zeros_like(h)
    np.add.at(total, bond_index[1], h[bond_index[0]] + e)
    return h + np.maximum(total, 0)


def averaged(h, bond_index, e):
    count = np.bincount(bond_index[1], minlength=len(h))
    return h + no_self(h, bond_index, e) / np.maximum(count, 1)[:, None]


def adds_once(h, bond_index, e):
    out = h.copy()
    out[bond_index[1]] += np.maximum(h[bond_index[0]] + e, 0)
    return out


def graph_norm(h, molecule, ddof=0, eps=1e-5):
    out = np.empty_like(h)
    for m in np.unique(molecule):
        rows = h[molecule == m]
        with np.errstate(all="ignore"):
            out[molecule == m] = (rows - rows.mean(0)) / np.sqrt(rows.var(0, ddof=ddof) + eps)
    return out


def descriptor(smiles):
    from rdkit import Chem

    molecule = Chem.MolFromSmiles(smiles)
    elements = [atom.GetSymbol() for atom in molecule.GetAtoms()]
    return [elements.count(name) / len(elements) for name in ("C", "N", "O")]


RIGHT_03 = {
    "03.1": [6 / np.sqrt(8 / 3), 3.6742346],
    "03.2": [6, 6.0],
    "03.3": [one_round],
    "03.4": [graph_norm, lambda h, m: graph_norm(h, m, eps=1e-6)],
    "03.5": [descriptor, lambda smiles: np.array(descriptor(smiles))],
}


WRONG_03 = {
    "03.1": [
        (4.5 / np.sqrt(8.75), "train lines alone"),
        (3.0, "library divides"),
        (2.25, "root"),
        (6, "not yet divided"),
        (2.0, "min-max"),
        ("3.67", "without quotes"),
        (1.0, "train mean"),
    ],
    "03.2": [
        (3, "counts twice"),
        (12, "walking back"),
        (4, "number of atoms"),
        (9, "DIFFERENT"),
        (5, "only the central"),
        (True, "expected one number"),
    ],
    "03.3": [
        (no_self, "own vector"),
        (cut_late, "BEFORE"),
        (averaged, "a mean"),
        (adds_once, "adds only once"),
        (lambda h, b, e: one_round(h, b[::-1], e), "turned round"),
        (lambda h, b, e: one_round(h, b, 0 * e), "bond's vector"),
        (lambda h, b, e: h, "for each bond"),
        (one_round(np.ones((2, 1)), np.array([[0], [1]]), np.ones((1, 1))), "function itself"),
    ],
    "03.4": [
        (lambda h, m: graph_norm(h, 0 * m), "whole batch"),
        (lambda h, m: graph_norm(h, m, ddof=1), "infinite"),
        (lambda h, m: h - h.mean(0), "for each molecule"),
        (
            lambda h, m: (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5),
            "LayerNorm",
        ),
        (lambda h, m: h.mean(0), "shape"),
    ],
    "03.5": [
        (lambda smiles: [smiles.count("C")], "spelled"),
        (lambda smiles: [1.0, 2.0], "same numbers"),
        (lambda smiles: [len(smiles)] * len(smiles), "different length"),
        (lambda smiles: [1.0 if len(smiles) > 3 else np.inf], "infinite"),
        (lambda smiles: 3.0, "one list"),
        (lambda smiles: 1 / 0, "raised ZeroDivisionError"),
    ],
}


SAID_04 = {"a": "yes", "b": "no", "c": "no", "d": "no", "e": "say so"}


def near(similarity, k, skip=0, diagonal=-np.inf):
    score = np.where(np.eye(len(similarity), dtype=bool), diagonal, similarity)
    table = np.zeros_like(similarity)
    np.put_along_axis(table, np.argsort(-score, axis=1)[:, skip : skip + k], 1.0, axis=1)
    return table


def mutual(similarity, k):
    return np.maximum(near(similarity, k), near(similarity, k).T)


def hold_out(measured, keep, rng):
    travels = rng.random(measured.shape) < keep
    return measured & travels, measured & ~travels


def two_draws(measured, keep, rng):
    return hold_out(measured, keep, rng)[0], hold_out(measured, keep, rng)[1]


def whole_lines(measured, keep, rng):
    travels = rng.random((len(measured), 1)) < keep
    return measured & travels, measured & ~travels


def acts_alike(target, k, fewest=5, noise=None):
    alike = pd.DataFrame(target).corr(min_periods=fewest).to_numpy(copy=True)
    if noise is not None:
        alike = np.where(np.isfinite(alike), noise.random(alike.shape), np.nan)
    np.fill_diagonal(alike, -np.inf)
    alike = np.where(alike > 0, alike, -np.inf)
    table = np.zeros_like(alike)
    np.put_along_axis(table, np.argsort(-alike, axis=1)[:, :k], 1.0, axis=1)
    return np.where(np.isfinite(alike), table, 0.0)


def filled(target, k):
    values = np.nan_to_num(target)
    length = np.maximum(np.linalg.norm(values, axis=0), 1e-12)
    return near(values.T @ values / length / length[:, None], k)


RIGHT_04 = {
    "04.1": [[0.0, 2.0], np.array([0, 2])],
    "04.2": [SAID_04],
    "04.3": [
        near,
        lambda similarity, k: neighbours(similarity - similarity.min() + 0.1, k),
        lambda s, k: near(s, k).astype(bool).tolist(),
    ],
    "04.4": [
        hold_out,
        lambda m, keep, rng: tuple(part.astype(float) for part in hold_out(m, keep, rng)),
    ],
    "04.5": [acts_alike],
}


WRONG_04 = {
    "04.1": [
        ([1.0, 3.0], "sum"),
        ([-2.0, 2.0], "ReLU is missing"),
        ([3.0, 1.0], "what it hears"),
        ([1 / 3, 1.0], "no neighbour"),
        ([0.0, 1.0], "node alone"),
        ([9.0, 9.0], "first the mean"),
        (2.0, "shape [2]"),
    ],
    "04.2": [
        (SAID_04 | {"b": "yes"}, "nothing is learnt"),
        (SAID_04 | {"e": "yes"}, "transductive"),
        (SAID_04 | {"d": "say so"}, "another density"),
        (SAID_04 | {"a": True}, "choose one of"),
        (["yes"], "dictionary"),
    ],
    "04.3": [
        (lambda s, k: near(s, k).T, "transposed"),
        (lambda s, k: near(s, k, skip=1), "nearest neighbour is missing"),
        (lambda s, k: near(s, k, diagonal=2), "own nearest"),
        (lambda s, k: near(s, k + 1), "one neighbour too many"),
        (lambda s, k: near(-s, k), "least"),
        (mutual, "symmetric"),
        (lambda s, k: s * near(s, k), "zeros and ones"),
        (lambda s, k: s[:2], "shape [9, 9]"),
        (lambda s, k: np.ones_like(s), "sort each row"),
    ],
    "04.4": [
        (lambda m, keep, rng: (m, m), "in both tables"),
        (two_draws, "in both tables"),
        (lambda m, keep, rng: (rng.random(m.shape) < keep, m & False), "never measured"),
        (lambda m, keep, rng: (hold_out(m, keep, rng)[0], m & False), "neither table"),
        (lambda m, keep, rng: hold_out(m, keep, rng)[::-1], "travel; `keep`"),
        (lambda m, keep, rng: m, "two tables"),
        (lambda m, keep, rng: hold_out(m, keep, np.random.default_rng(0)), "draw with `rng`"),
        (lambda m, keep, rng: whole_lines(m, 0.78, rng), "whole lines"),
    ],
    "04.5": [
        (lambda t, k: np.eye(20), "hears itself"),
        (lambda t, k: np.ones((20, 20)) - np.eye(20), "drug 0"),
        (filled, "drug 0"),
        (lambda t, k: acts_alike(t, k + 2), "at most k"),
        (lambda t, k: acts_alike(t, k, noise=np.random.default_rng(0)), "16 % is chance"),
        (lambda t, k: np.zeros((20, 20)), "no drug hears"),
        (lambda t, k: pd.DataFrame(t).corr().to_numpy(), "zeros and ones"),
        (lambda t, k: acts_alike(t[:20], k), "another order"),
    ],
}


SAID_05 = {"a": "positive", "b": "negative", "c": "left out", "d": "left out", "e": "left out"}


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


RIGHT_05 = {
    "05.1": [np.log(64), 4.16, np.float64(4.1589)],
    "05.2": [SAID_05],
    "05.3": [nce, by_list, lambda a, b, t: np.array([nce(a, b, t)])],
    "05.4": [ranks, lambda cosines: ranks(cosines).tolist()],
    "05.5": [
        sigmoid_loss,
        margin_loss,
        lambda a, b: info_nce(a, b, 0.2),
        lambda a, b: info_nce(a, b, 0.2, both=False, positive=False),
    ],
}


WRONG_05 = {
    "05.1": [
        (6.0, "bits"),
        (1 / 64, "chance of being right"),
        (64, "number of candidates"),
        (np.log(63), "left out"),
        (-np.log(64), "positive"),
        (1.806, "decimal"),
        (2.0, "equally likely"),
        ("4.16", "quotes"),
    ],
    "05.2": [
        (SAID_05 | {"b": "left out"}, "two entities"),
        (SAID_05 | {"c": "negative"}, "false negative"),
        (SAID_05 | {"d": "negative"}, "row of zeros"),
        (SAID_05 | {"e": "negative"}, "letter by letter"),
        (SAID_05 | {"a": 1}, "choose one of"),
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
        (lambda a, b: -sigmoid_loss(a, b), "right candidates"),
        (lambda a, b: sigmoid_loss(a, b).item(), "one torch number"),
        (lambda a, b: sigmoid_loss(a, b).detach(), "differentiated"),
        (lambda a, b: (unit_rows(a) @ unit_rows(b).T)[0, 0], "order"),
        (lambda a, b: (a * 0).sum(), "zero or not finite"),
        (lambda a, b: unit_rows(a), "one torch number"),
    ],
}


RIGHT_views = RIGHT_01 | RIGHT_02 | RIGHT_03 | RIGHT_04 | RIGHT_05


WRONG_views = WRONG_01 | WRONG_02 | WRONG_03 | WRONG_04 | WRONG_05


# --- Chapter 06: right answers, and the usual wrong ones with a part of their hint.


SAID_06 = {
    "a": "cell_blind",
    "b": "mixed",
    "c": "drug_blind",
    "d": "scaffold_blind",
    "e": "tissue_blind",
}


def stop(valid, patience, tie=False, restart=True, end=True):
    best, kept, since, made = float("inf"), 0, 0, 0
    for look, score in enumerate(valid):
        made, since = look + 1, since + 1
        if score < best or (tie and score == best):
            best, kept, since = score, look, 0 if restart else since - 1
        if end and since >= patience:
            break
    return kept, made


def spread(benchmark, positions):
    table = benchmark.matrix(positions)
    out, some = np.full(benchmark.n_drugs, np.nan), np.isfinite(table).any(axis=0)
    out[some] = np.nanstd(table[:, some], axis=0)
    return out


RIGHT_06 = {
    "06.1": [[40000, 600], np.array([40000, 600]), (40000, 600)],
    "06.2": [SAID_06],
    "06.3": [adamw, lambda *given: adamw(*given).tolist()],
    "06.4": [stop, lambda *given: list(stop(*given))],
    "06.5": [spread, lambda world, at: drug_thresholds(world, at)],
}


WRONG_06 = {
    "06.1": [
        ([20000, 600], "drug"),
        ([40000, 24000], "nothing is encoded twice"),
        ([40000, 80000], "different"),
        ([1000, 600], "one batch"),
        ([600, 40000], "order"),
        ([1, 2], "two encodings"),
        (600, "shape [2]"),
    ],
    "06.2": [
        (SAID_06 | {"a": "mixed"}, "lines are new"),
        (SAID_06 | {"d": "drug_blind"}, "ring systems"),
        (SAID_06 | {"e": "cell_blind"}, "tissue"),
        (SAID_06 | {"b": 1}, "choose one of"),
        (["mixed"], "dictionary"),
    ],
    "06.3": [
        (lambda *given: adamw(*given, corrected=False), "bias correction"),
        (lambda *given: adamw(*given, coupled=True), "L2"),
        (lambda theta, g, rate, decay: adamw(theta, g, rate, 0.0), "decay is missing"),
        (lambda *given: adamw(*given, root=False), "square root"),
        (lambda theta, g, *rest: adamw(theta, g[:1], *rest), "only the first"),
        (lambda theta, g, rate, decay: theta - rate * sum(g), "plain"),
        (lambda theta, *rest: adamw(theta, *rest) - theta, "the change"),
        (lambda *given: np.zeros(2), "update m"),
        (lambda *given: (adamw(*given), 0), "weights alone"),
        (lambda *given: 1.0, "shape [2]"),
    ],
    "06.4": [
        (lambda *given: stop(*given, tie=True), "equal value"),
        (lambda *given: stop(*given, end=False), "must stop"),
        (lambda *given: stop(*given, restart=False), "back to 0"),
        (lambda *given: (7, 8), "stopped"),
        (lambda *given: (4, 7), "count it"),
        (lambda *given: 4, "two things"),
        (lambda *given: (stop(*given)[0] + 1, stop(*given)[1]), "from 0"),
        (lambda *given: (0, 0), "keep the best value"),
        (
            lambda valid, patience: stop(valid, patience) if patience < 5 else (0, 1),
            "all looks are made",
        ),
    ],
    "06.5": [
        (lambda world, at: spread(world, np.arange(len(world))), "outside `positions`"),
        (lambda world, at: np.nan_to_num(spread(world, at)), "leave it NaN"),
        (lambda world, at: np.random.default_rng().random(world.n_drugs), "call to call"),
        (lambda world, at: spread(world, at) * 0 + 1, "same value"),
        (lambda world, at: spread(world, at) * np.nan, "no value"),
        (lambda world, at: 3.0, "array of shape"),
    ],
}


# --- Chapter 08: right answers, and the usual wrong ones with a part of their hint.


SCORES = {"a": "pcc_per_drug", "b": "pcc_per_cell", "c": "rmse", "d": "pcc_normalised"}


def per_drug(y, p, drug):
    return metrics.per_group(y, p, drug)


def per_drug_bare(fewest=5, drop=False, weigh=False):
    """The usual ways of writing it, right and wrong."""

    def answer(y, p, drug):
        values, weights = [], []
        for d in np.unique(drug):
            rows = drug == d
            if rows.sum() < fewest or (drop and np.ptp(p[rows]) == 0):
                continue
            values.append(0.0 if np.ptp(p[rows]) == 0 else np.corrcoef(y[rows], p[rows])[0, 1])
            weights.append(rows.sum() if weigh else 1)
        return np.average(values, weights=weights)

    return answer


def naive_nan(y, p, drug):
    return np.mean([np.nan if np.ptp(p[drug == d]) == 0 else 1.0 for d in np.unique(drug)])


def effects_only(world, split):
    mean, cells, drugs = metrics.additive_effects(world, split.train)
    return mean + cells[:, None] + drugs[None]


def factorised(world, split):
    return models.build("als", ranks=(10,), ridges=(10.0,)).fit(world, split).table


def peeks(world, split):
    table = effects_only(world, split)
    cell, drug = world.pairs[split.test].T
    table[cell, drug] = world.y[split.test]
    return table


def only_test_pairs(world, split):
    return world.y[split.test]


def with_holes(world, split):
    return world.matrix(split.train)


RIGHT_08 = {
    "08.1": [100.4, np.float64(112_044**2 * 8 / 1e9), 100],
    "08.2": [SCORES],
    "08.3": [per_drug, per_drug_bare()],
    "08.4": [
        lambda a, b: np.percentile(a - b, [2.5, 97.5]),
        lambda a, b: tuple(tasks.interval(a - b)),
    ],
    "08.5": [
        factorised,
        lambda world, split: models.build("neighbours_fingerprint").fit(world, split).table,
    ],
}


WRONG_08 = {
    "08.1": [
        (93.5, "GiB"),
        (12.55, "8 bytes"),
        (50.2, "float32"),
        (0.000896, "every pair"),
        (0.003036, "avoids"),
        (100.43e9, "10 ** 9"),
        (7, "rows x columns"),
        ("100", "without quotes"),
    ],
    "08.2": [
        (SCORES | {"a": "pcc"}, "a is not pcc"),
        (SCORES | {"b": "pcc_per_drug"}, "inside the line"),
        (SCORES | {"c": "pcc"}, "units"),
        (SCORES | {"d": "rmse"}, "take away first"),
        (SCORES | {"d": "accuracy"}, "choose one of"),
        (["rmse"], "dictionary"),
    ],
    "08.3": [
        (lambda y, p, drug: np.corrcoef(y, p)[0, 1], "global correlation"),
        (per_drug_bare(fewest=1), "three lines"),
        (per_drug_bare(drop=True), "reward giving up"),
        (per_drug_bare(weigh=True), "counts once"),
        (naive_nan, "NaN"),
        (lambda y, p, drug: [0.1, 0.2], "mean over drugs"),
        (0.5, "hand in the function"),
        (lambda y, p, drug: 0.123, "inside each drug"),
    ],
    "08.4": [
        (lambda a, b: np.percentile(b - a, [2.5, 97.5]), "sign"),
        (lambda a, b: np.percentile(a - b, [5, 95]), "90 %"),
        (lambda a, b: a - b, "each draw"),
        (lambda a, b: np.percentile(a - b, [97.5, 2.5]), "low end first"),
        (
            lambda a, b: np.percentile(a, [2.5, 97.5]) - np.percentile(b, [2.5, 97.5]),
            "subtract first",
        ),
        (lambda a, b: (0, 0), "np.percentile"),
    ],
    "08.5": [
        (effects_only, "drug + cell effects"),
        (peeks, "a leak"),
        (only_test_pairs, "whole table"),
        (with_holes, "holes"),
        (lambda world, split: np.zeros((3, 3)), "shape"),
        (lambda world, split: 1 / 0, "ZeroDivisionError"),
    ],
}


# --- Chapter 14: right answers, and the usual wrong ones with a part of their hint.


SAID_14 = {
    "a": "encode once",
    "b": "cluster",
    "c": "keep it on disk",
    "d": "larger batches",
    "e": "pack",
}


def exponent(size, seconds):
    return np.polyfit(np.log(size), np.log(seconds), 1)[0]


def tiles(pairs, most, wide=12, high=15):
    block = pairs[:, 0] // high * 1000 + pairs[:, 1] // wide
    return [np.flatnonzero(block == one) for one in np.unique(block)]


def by_line(pairs, most):
    return np.array_split(np.argsort(pairs[:, 0], kind="stable"), -(-len(pairs) // most))


RIGHT_14 = {
    "14.1": [2 * 969 * 8000 * 1024 / 1e9, 15.9, np.float64(15.88)],
    "14.2": [SAID_14],
    "14.3": [exponent, lambda size, seconds: np.array([exponent(size, seconds)])],
    "14.4": [makespan],
    "14.5": [tiles, lambda *given: [batch.tolist() for batch in tiles(*given)]],
}


WRONG_14 = {
    "14.1": [
        (7.94, "two operations"),
        (47.6, "backward"),
        (15_876_096_000, "units of 10^9"),
        (0.016384, "969"),
        (3525, "every pair"),
        (1.0, "two operations for each line"),
        ("16", "without quotes"),
    ],
    "14.2": [
        (SAID_14 | {"a": "cluster"}, "again and again"),
        (SAID_14 | {"b": "pack"}, "many computers"),
        (SAID_14 | {"c": "larger batches"}, "never changes"),
        (SAID_14 | {"d": "encode once"}, "starting small"),
        (SAID_14 | {"e": "cluster"}, "tells most"),
        (SAID_14 | {"e": "a faster computer"}, "choose one of"),
        (["pack"], "dictionary"),
    ],
    "14.3": [
        (lambda size, s: np.polyfit(np.log(size), np.log(s), 1)[1], "intercept"),
        (lambda size, s: np.polyfit(np.log(s), np.log(size), 1)[0], "swapped"),
        (lambda size, s: np.polyfit(size, s, 1)[0], "logarithms of both"),
        (lambda size, s: np.polyfit(np.log(size), s, 1)[0], "too"),
        (lambda size, s: np.log(s[-1] / s[0]) / np.log(size[-1] / size[0]), "first and the last"),
        (lambda size, s: 2 ** exponent(size, s), "doubling"),
        (lambda size, s: s[-1] / s[0], "size grow"),
        (lambda size, s: 5.0, "least squares"),
        (lambda size, s: np.polyfit(np.log(size), np.log(s), 1), "shape [1]"),
    ],
    "14.4": [
        (lambda s, n: sum(s) / n, "least possible"),
        (lambda s, n: sum(s), "one worker alone"),
        (lambda s, n: max(s), "longest run alone"),
        (lambda s, n: max(sum(s[i::n]) for i in range(n)), "beforehand"),
        (lambda s, n: makespan(sorted(s, reverse=True), n), "order of the list"),
        (lambda s, n: makespan(s, 3), "with one worker"),
        (lambda s, n: 1.0, "one number a worker"),
    ],
    "14.5": [
        (lambda pairs, most: np.array_split(np.arange(len(pairs)), 12), "random batches need"),
        (by_line, "one side"),
        (lambda pairs, most: [np.arange(len(pairs))], "at most 200"),
        (lambda pairs, most: [pairs[:100]], "flat array"),
        (lambda pairs, most: tiles(pairs, most)[1:], "in no batch"),
        (lambda pairs, most: tiles(pairs, most) * 2, "two batches"),
        (lambda pairs, most: [batch + 1 for batch in tiles(pairs, most)], "outside"),
        (lambda *given: 3, "list of arrays"),
    ],
}


# --- Bug clinic: mended functions, the ill ones of the page, and the usual wrong repairs.


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


RIGHT_clinic = {
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


WRONG_clinic = {
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


RIGHT = RIGHT_views | RIGHT_06 | RIGHT_08 | RIGHT_14 | RIGHT_clinic
WRONG = WRONG_views | WRONG_06 | WRONG_08 | WRONG_14 | WRONG_clinic
