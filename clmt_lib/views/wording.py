"""Facts about the drugs of one screen in the words of another, so that a text or an annotation
means the same on both sides (chapter 09d).
"""

import pandas as pd

from clmt_lib.data.grouping import group_compounds
from clmt_lib.views.descriptions import target_families

HOW = ("same compound", "same family of targets", "own words")


def in_the_words_of(drugs: pd.DataFrame, reference: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Targets and pathways as `reference` spells them: one screen says MAP2K1, another MEK1, and an
    encoder of text does not know that they are the same.

    A drug takes the row of its own compound in the reference; else that of the reference compound
    whose families of targets (the packaged table) overlap most, the commonest such target first;
    else it keeps its own words. Only facts about targets are read, never a response.

    Parameters
    ----------
    drugs, reference : frames with `name`, `inchikey`, `target`, `pathway`

    Returns
    -------
    (drugs with `target` and `pathway` replaced, [D] series of `HOW`)
    """
    reference = reference[reference["target"].notna() & reference["pathway"].notna()]
    both = pd.concat(
        [reference[["name", "inchikey"]], drugs[["name", "inchikey"]]], ignore_index=True
    )
    compound = group_compounds(both).to_numpy()
    own = dict(
        zip(reversed(compound[: len(reference)]), reversed(range(len(reference))), strict=True)
    )  # the first row of a compound speaks for it
    table = target_families()
    known = {
        "family": [_families(target, table) for target in reference["target"]],
        "common": reference["target"].map(reference["target"].value_counts()).to_numpy(),
    }
    rows, how = [], []
    for name, target in zip(compound[len(reference) :], drugs["target"], strict=True):
        row = own.get(name)
        how.append(HOW[0] if row is not None else HOW[1])
        row = row if row is not None else _nearest(_families(target, table), **known)
        how[-1] = how[-1] if row is not None else HOW[2]
        rows.append(row)
    facts = {
        column: [
            drugs[column].iloc[i] if row is None else reference[column].iloc[row]
            for i, row in enumerate(rows)
        ]
        for column in ("target", "pathway")
    }
    return drugs.assign(**facts), pd.Series(how, index=drugs.index, name="words")


def _families(target, table):
    """Families of targets that a comma-separated list names; those the packaged table does not know
    are left out.
    """
    return (
        frozenset(
            table[piece.strip().lower()]
            for piece in target.split(",")
            if piece.strip().lower() in table
        )
        if isinstance(target, str)
        else frozenset()
    )


def _nearest(families, family, common):
    """Row of the reference with the largest overlap (Jaccard) of families, the commonest target
    among equals; None where nothing overlaps.
    """
    score = [
        (len(families & other) / len(families | other) if families & other else 0.0, count, -row)
        for row, (other, count) in enumerate(zip(family, common, strict=True))
    ]
    best = max(score, default=(0.0, 0, 0))
    return -best[2] if best[0] > 0 else None
