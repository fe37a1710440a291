"""Which molecule has which profile, as a table: what contrastive pre-training is split by (chapter
profiles).
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from clmt_lib.data.base import Benchmark, Side
from clmt_lib.data.grouping import scaffold_of
from clmt_lib.data.splits import Split
from clmt_lib.io import DataError


def matching(
    molecules: Side, spaces: Iterable[str] | None = None, name: str = "profiles"
) -> Benchmark:
    """Molecules x feature spaces: a pair for each profile that is there, with the value 1.

    So the splits of every benchmark hold molecules, compounds or scaffolds out, and the audit can
    look at them.

    Parameters
    ----------
    molecules : side whose views are feature spaces, present or missing; molecules without any
        profile stay, without a pair
    spaces : views that are feature spaces; None takes every view but "fingerprint"

    Raises
    ------
    DataError
        The side has no such view, or nobody has a profile.

    >>> from clmt_lib.data.profiles import simulated
    >>> matching(simulated.load(molecules=200).sides[0])
    <Benchmark profiles: 206 molecules x 2 spaces, 185 pairs>
    """
    asked = [view for view in molecules.views if view != "fingerprint"]
    asked = asked if spaces is None else list(spaces)
    unknown = [space for space in asked if space not in molecules.views]
    if unknown or not asked:
        raise DataError(
            f"the {molecules.name}s have no feature space {unknown[0] if unknown else 'at all'!r}",
            remedy=f"there is {', '.join(molecules.views) or 'none'}",
        )
    there = np.stack([molecules.has(space) for space in asked], axis=1)  # [molecules, spaces]
    if not there.any():
        raise DataError(
            f"no {molecules.name} has a profile", remedy="read feature spaces that they were in"
        )
    kept = {view: values for view, values in molecules.views.items() if view in asked}
    if "fingerprint" in molecules.views:
        kept["fingerprint"] = molecules.views["fingerprint"]
    present = {view: mask for view, mask in molecules.present.items() if view in kept}
    index = pd.Index(asked, name="space")
    pairs = np.argwhere(there).astype(np.int64)
    return Benchmark(
        name,
        (
            replace(molecules, views=kept, present=present),
            Side("space", pd.DataFrame({"name": asked}, index=index)),
        ),
        pairs,
        np.ones(len(pairs)),
        np.zeros(len(pairs), dtype=bool),
        task="retrieval",
        target="measured",
        units="1 where there is a profile",
    )


def follow(split: Split, benchmark: Benchmark, table: Benchmark, key: str = "scaffold") -> Split:
    """A split of a table of profiles that holds out what a split of labels holds out.

    Profiles of molecules that share `key`, or the compound, with a test molecule are test; with a
    validation molecule, validation; all others are there to be trained on, whether they have labels
    or not.

    Parameters
    ----------
    split : of `benchmark`, molecules x assays
    table : from `matching`; its molecules may be others
    key : of the molecules: "scaffold", or "compound" for the molecules themselves alone. Groups of
        scaffolds are numbered afresh on every side, so where there are structures, the scaffolds
        themselves are compared

    Raises
    ------
    DataError
        Nothing is left to train on, or nothing to choose on.

    >>> from clmt_lib.data import make_split
    >>> from clmt_lib.data.profiles import simulated
    >>> world = simulated.load(molecules=200)
    >>> table = matching(world.sides[0])
    >>> cut = follow(make_split(world, "scaffold_blind"), world, table)
    >>> sum(len(part) for part in cut.sets().values()) == len(table)
    True
    """
    labelled, molecules = benchmark.sides[0], table.sides[0]
    part = np.zeros(len(table), dtype=np.int64)
    for name in (key, "compound"):
        ours, theirs = _labels(labelled, name), _labels(molecules, name)[table.pairs[:, 0]]
        for number, positions in ((1, split.valid), (2, split.test)):
            there = np.unique(ours[benchmark.pairs[positions, 0]])
            part[np.isin(theirs, there)] = np.maximum(part[np.isin(theirs, there)], number)
    train, valid, test = (np.flatnonzero(part == number) for number in range(3))
    for name, positions in (("train", train), ("valid", valid)):
        if not len(positions):
            raise DataError(f"no profile is left for {name}", remedy="use another split")
    facts = split.seed, split.fold, split.folds, table.name, table.checksum
    return Split(split.kind, train, valid, test, *facts)


def _labels(side: Side, key: str) -> np.ndarray:
    """[n] labels of a key that mean the same on every side."""
    if key == "scaffold" and "smiles" in side.frame:
        found = [scaffold_of(smiles) for smiles in side.frame["smiles"]]
        alone = [f"alone {name}" for name in side.ids]  # no ring: like nobody
        return np.array([scaffold or own for scaffold, own in zip(found, alone, strict=True)])
    return np.asarray(side.keys[key]).astype(str)
