"""Chapter 03: right answers, and the usual wrong ones with a part of their hint."""

import numpy as np


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


RIGHT = {
    "03.1": [6 / np.sqrt(8 / 3), 3.6742346],
    "03.2": [6, 6.0],
    "03.3": [one_round],
    "03.4": [graph_norm, lambda h, m: graph_norm(h, m, eps=1e-6)],
    "03.5": [descriptor, lambda smiles: np.array(descriptor(smiles))],
}
WRONG = {
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
