"""Chapter 03."""

from typing import Any

import numpy as np

from clmt_lib.book.exercises.core import Hint, called, exercise, first, number, numbers


@exercise("03.1", "the test line has no say in the ruler it is measured with.")
def _z_score(answer: Any) -> Any:
    train, test = np.array([2.0, 4.0, 6.0]), 10.0
    every = np.append(train, test)
    known = [
        ((test - train.mean()) / train.std(), None),
        (
            (test - every.mean()) / every.std(),
            "the test line is in your mean and standard deviation: fit on the three train lines "
            "alone.",
        ),
    ]
    known += [
        (
            (test - train.mean()) / train.std(ddof=1),
            "you divided the squares by 2. The library divides by the number of train lines, 3.",
        )
    ]
    known += [
        ((test - train.mean()) / train.var(), "that is divided by the variance: take its root."),
        (test - train.mean(), "centred, but not yet divided by the standard deviation."),
    ]
    known += [
        ((test - train.min()) / np.ptp(train), "that is min-max scaling, as the authors do it.")
    ]
    return first(
        number(answer), known, "(value minus the train mean) over the train standard deviation."
    )


@exercise(
    "03.2",
    "an atom with three neighbours has six corners, counted from either side; an end has none.",
)
def _corners(answer: Any) -> Any:
    known = [
        (6, None),
        (3, "each corner counts twice: you can walk it from either side."),
        (12, "you let k be i: walking back over the same bond is no corner."),
    ]
    known += [
        (3 * 2 * 2, "you let k be i."),
        (4, "that is the number of atoms."),
        (24, "these would be triples of atoms without regard to bonds."),
        (9, "count pairs of DIFFERENT bonds at the centre."),
    ]
    return first(
        number(answer),
        known,
        "only the central atom has more than one bond. In how many ways can you arrive by one "
        "and leave by another?",
    )


def _one_round(
    h: np.ndarray,
    bond_index: np.ndarray,
    e: np.ndarray,
    own: bool = True,
    inside: bool = True,
    mean: bool = False,
    back: bool = False,
) -> np.ndarray:
    out, count = np.zeros_like(h), np.zeros(len(h))
    for (j, i), bond in zip(bond_index.T, e, strict=True):
        i, j = (j, i) if back else (i, j)
        out[i] += np.maximum(h[j] + bond, 0) if inside else h[j] + bond
        count[i] += 1
    out = out / np.maximum(count, 1)[:, None] if mean else out
    out = out if inside else np.maximum(out, 0)
    return out + own * h


@exercise("03.3", "that is the whole of message passing: gather, add, cut off below zero, sum.")
def _message_round(answer: Any) -> Any:
    rng = np.random.default_rng(3)
    h, bond_index = (
        rng.normal(size=(5, 2)),
        np.array([[0, 1, 1, 2, 3, 4, 4], [1, 0, 2, 1, 2, 2, 1]]),
    )  # a graph whose arrows do not all come in pairs
    e = rng.normal(size=(7, 2))
    got = numbers(called(answer, h.copy(), bond_index.copy(), e.copy()), (5, 2))
    known = [
        (_one_round(h, bond_index, e), None),
        (
            _one_round(h, bond_index, e, own=False),
            "the atom's own vector is missing: a message is added to what it knows.",
        ),
    ]
    known += [
        (
            _one_round(h, bond_index, e, inside=False),
            "each message is cut off below zero BEFORE the sum; you cut the sum.",
        )
    ]
    known += [
        (
            _one_round(h, bond_index, e, mean=True),
            "that is a mean: GINE sums, so that two equal neighbours say more than one.",
        )
    ]
    known += [
        (
            _one_round(h, bond_index, e, back=True),
            "the arrows are turned round: bond_index[0] speaks, bond_index[1] listens.",
        )
    ]
    known += [(_one_round(h, bond_index, 0 * e), "the bond's vector is missing from the message.")]
    return first(
        got,
        known,
        "for each bond: message = max(h[j] + e, 0), added to atom i. Several bonds may end in "
        "one atom: `h[i] += ...` with an array of i adds only once, `np.add.at` adds all.",
    )


def _norm(h: np.ndarray, molecule: np.ndarray, centre: bool = True, ddof: int = 0) -> np.ndarray:
    out = np.empty_like(h)
    for m in np.unique(molecule):
        rows = h[molecule == m]
        out[molecule == m] = (rows - centre * rows.mean(0)) / np.sqrt(rows.var(0, ddof=ddof) + 1e-5)
    return out


@exercise("03.4", "each molecule is its own world, and its batch-mates are nobody.")
def _graph_norm(answer: Any) -> Any:
    h, molecule = (
        np.random.default_rng(4).normal(1.0, 2.0, (9, 3)),
        np.array([0, 0, 0, 0, 1, 1, 1, 1, 1]),
    )
    single = numbers(called(answer, h[:1].copy(), molecule[:1].copy()), (1, 3))
    if not np.isfinite(single).all():
        return (
            "a drug of one atom gives something infinite: add 1e-5 to the variance before "
            "the root, and divide by the number of atoms, not by one less."
        )
    got = numbers(called(answer, h.copy(), molecule.copy()), (9, 3))
    known = [
        (_norm(h, molecule), None),
        (
            _norm(h, 0 * molecule),
            "that is the norm over the whole batch, the authors' mistake: take each molecule's "
            "own mean and variance.",
        ),
    ]
    known += [
        (_norm(h, molecule, ddof=1), "divide the squares by the number of atoms, not by one less."),
        (_norm(h, molecule, centre=False), "the mean was not taken off."),
    ]
    known += [
        (
            np.stack([(row - row.mean()) / np.sqrt(row.var() + 1e-5) for row in h]),
            "that is LayerNorm: it looks along one atom's numbers. GraphNorm looks along a "
            "molecule's atoms.",
        )
    ]
    if np.allclose(got, _norm(h, molecule), atol=2e-3):
        return None  # another small number under the root
    return first(
        got,
        known,
        "for each molecule: take off the mean over its atoms, divide by the root of the "
        "variance over its atoms + 1e-5.",
    )


@exercise(
    "03.5",
    "the same for every spelling, of one length, and never infinite. Does it beat the element "
    "shares?",
)
def _own_descriptor(answer: Any) -> Any:
    spelled = [
        ("OCC", "CCO"),
        ("c1ccccc1O", "OC1=CC=CC=C1"),
        ("C(C)(=O)Nc1ccc(O)cc1", "CC(=O)Nc1ccc(O)cc1"),
    ]
    odd = [
        "C",
        "[Na+].CC(=O)[O-]",
        "N[Pt](N)(Cl)Cl",
        "CC(C)(C)c1ccc(cc1)C(O)CCCN1CCC(CC1)C(O)(c1ccccc1)c1ccccc1",
    ]
    rows = [np.asarray(called(answer, text), dtype=float) for text in [*sum(spelled, ()), *odd]]
    if any(row.ndim != 1 or not row.size for row in rows):
        return "return one list of numbers for a SMILES."
    if len({row.size for row in rows}) > 1:
        return (
            "molecules of different size get lists of different length: summarise (count, "
            "mean, largest), do not list atoms."
        )
    if not all(np.isfinite(row).all() for row in rows):
        raise Hint("something infinite or missing: try a molecule of one atom, a salt and a metal.")
    if any(not np.allclose(rows[2 * i], rows[2 * i + 1]) for i in range(len(spelled))):
        return (
            "one molecule spelled in two ways gets two descriptions: count atoms of the "
            "molecule, not letters of the text."
        )
    return (
        "every molecule gets the same numbers."
        if np.ptp(np.stack(rows), axis=0).max() == 0
        else None
    )
