"""Splits of molecules: random, by scaffold, and the published ones, rebuilt from their rules
(chapter profiles).

A published number stands on the molecules of its own test set. InfoAlign's code cuts 60:15:25 by
scaffold groups, OGB 80:10:10 with the largest scaffolds first; both leave chirality in the
scaffold, so stereoisomers of one molecule may land in two sets. The audit says where they do.
"""

import numpy as np

from clmt_lib.data.base import Benchmark, Side
from clmt_lib.data.splits import SETS, Split
from clmt_lib.io import DataError, cache_file, read_cached, write_cached

SHARES = {
    "infoalign": (0.6, 0.15, 0.25),
    "ogb": (0.8, 0.1, 0.1),
    "scaffold": (0.6, 0.15, 0.25),
    "random": (0.6, 0.15, 0.25),
}
RULES = tuple(SHARES)
KIND = {"random": "molecule_blind"}  # what a rule promises; the others: scaffold_blind
STATED = {  # sizes of InfoAlign's sets, which its rule must give
    "chembl2k": (1413, 353, 589),
    "broad6k": (3940, 985, 1642),
    "biogen": (2112, 528, 881),
}
PUBLISHED_SEED = 3  # of InfoAlign's shuffle


def molecule_split(
    benchmark: Benchmark,
    rule: str,
    seed: int = 0,
    shares: tuple[float, float, float] | None = None,
) -> Split:
    """Cut a benchmark by its molecules (the first side).

    Parameters
    ----------
    rule, seed, shares : see `roles`

    Returns
    -------
    Split of kind "molecule_blind" (random) or "scaffold_blind"; its positions are those of pairs.

    Raises
    ------
    DataError
        As `roles`; the rule of InfoAlign gives other sizes than the paper states, for a table that
        it states them for.
    """
    side = benchmark.sides[0]
    role = roles(side, rule, seed, shares)
    sizes = tuple(int(n) for n in np.bincount(role, minlength=3))
    stated = STATED.get(benchmark.name)
    if rule == "infoalign" and shares is None and stated and sizes != stated:
        raise DataError(
            f"{benchmark.name}: the published rule gives {sizes} molecules, the paper states "
            f"{stated}",
            remedy="load every row of the table, in its order (molecules='rows')",
        )
    kind = KIND.get(rule, "scaffold_blind")
    return split_of_roles(benchmark, role, kind, PUBLISHED_SEED if rule == "infoalign" else seed)


def split_of_roles(
    benchmark: Benchmark, role: np.ndarray, kind: str, seed: int = 0, fold: int = 0, folds: int = 1
) -> Split:
    """The split whose pairs have the role of their molecule.

    Parameters
    ----------
    role : [molecules] 0 training, 1 validation, 2 test; another number is in no set

    Raises
    ------
    DataError
        A set without a pair.
    """
    part = role[benchmark.pairs[:, 0]]
    where = {name: np.flatnonzero(part == number) for number, name in enumerate(SETS)}
    empty = [name for name, positions in where.items() if not len(positions)]
    if empty:
        raise DataError(
            f"no label is left for {empty[0]}", remedy="use another seed, or other shares"
        )
    train, valid, test = where.values()
    return Split(kind, train, valid, test, seed, fold, folds, benchmark.name, benchmark.checksum)


def roles(
    side: Side, rule: str, seed: int = 0, shares: tuple[float, float, float] | None = None
) -> np.ndarray:
    """[molecules] 0 training, 1 validation, 2 test.

    Parameters
    ----------
    side : molecules, with `smiles`
    rule : "infoalign" (scaffold groups in the order of their first rows, shuffled by
        `numpy.random.seed(3)`, cut by rows, so a group may be cut, too), "ogb" (scaffold groups,
        the largest first, whole), "scaffold" (whole groups of one compound or achiral scaffold,
        connected through others), "random" (whole compounds)
    seed : of "scaffold" and "random"
    shares : of the sets; None takes those of `SHARES`

    Raises
    ------
    DataError
        Unknown rule, shares that do not add to one.
    """
    if rule not in SHARES:
        raise DataError(f"unknown rule {rule!r}", remedy=f"use one of: {', '.join(RULES)}")
    given = SHARES[rule] if shares is None else shares
    if len(given) != 3 or min(given) < 0 or not np.isclose(sum(given), 1):
        raise DataError(f"shares {given}", remedy="give three that add to one")
    if rule in ("infoalign", "ogb"):
        groups = _in_order(chiral_scaffolds(side))
        return _published(groups, rule, given)
    key = side.identity if rule == "random" else "scaffold"
    code = np.unique(side.keys[key], return_inverse=True)[1]
    order = np.random.default_rng([seed, RULES.index(rule)]).permutation(code.max() + 1)
    full = np.bincount(code)[order].cumsum() / len(code)
    role = np.empty(len(order), dtype=np.int64)
    role[order] = np.searchsorted(np.cumsum(given)[:2] + 1e-9, full)
    return role[code]


def _published(groups: list[np.ndarray], rule: str, shares: tuple) -> np.ndarray:
    n = sum(map(len, groups))
    out = np.empty(n, dtype=np.int64)
    if rule == "infoalign":
        generator = np.random.RandomState(PUBLISHED_SEED)  # what seeding numpy.random does
        generator.shuffle(groups)
        ends = int(shares[0] * n), int(shares[0] * n) + int(shares[1] * n)
        for number, rows in enumerate(np.split(np.concatenate(groups), ends)):
            out[rows] = number
        return out
    first, second = shares[0] * n, (shares[0] + shares[1]) * n
    count = [0, 0]
    for rows in sorted(groups, key=lambda rows: (len(rows), rows[0]), reverse=True):
        if count[0] + len(rows) <= first:
            number = 0
        elif count[0] + count[1] + len(rows) <= second:
            number = 1
        else:
            number = 2
        out[rows] = number
        if number < 2:
            count[number] += len(rows)
    return out


def _in_order(labels: np.ndarray) -> list[np.ndarray]:
    """Rows of each label, labels in the order of their first rows."""
    groups: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        groups.setdefault(label, []).append(row)
    return [np.array(rows) for rows in groups.values()]


def chiral_scaffolds(side: Side) -> np.ndarray:
    """[molecules] Bemis-Murcko scaffold with chirality; "" where there is no ring (all of these are
    one group in the published rules).
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem.Scaffolds import MurckoScaffold

    smiles = side.frame["smiles"].fillna("").astype(str).tolist()
    path = cache_file("scaffolds", [rdBase.rdkitVersion, *smiles])
    found = read_cached(path)
    if found is None:
        with rdBase.BlockLogs():
            found = np.array(
                [
                    Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(Chem.MolFromSmiles(text)))
                    for text in smiles
                ]
            )
        write_cached(path, found)
    return found
