"""Text vectors, and what stands in for them in an experiment: vectors that say nothing, or say it
of the wrong drug (chapter 07).
"""

import numpy as np
import pandas as pd

from clmt_lib.data.base import Side
from clmt_lib.views.molecules import descriptors, fingerprints
from clmt_lib.views.text import BUNDLED, describe_drugs, encode

CONTROLS = ("words", "shuffled", "random", "one_hot")
TEXT_VIEW, BITS_VIEW, STEPS_VIEW, SHAPE_VIEW = "text {}", "fingerprint", "steps", "descriptors"
DRUG_VIEWS = (TEXT_VIEW.format("annotation"), TEXT_VIEW.format("mechanism"), BITS_VIEW, STEPS_VIEW)


def text_vectors(side: Side, source: str) -> np.ndarray:
    """[D, dim] embeddings of a text source: the side's view of it, where somebody has computed it
    already, else `drug_vectors`.
    """
    view = TEXT_VIEW.format(source)
    return side.views[view] if view in side.views else drug_vectors(side.frame, source)


def morgan_bits(side: Side) -> np.ndarray:
    """[D, bits] fingerprints: the side's view, else `fingerprints`."""
    if BITS_VIEW in side.views:
        return np.asarray(side.views[BITS_VIEW], dtype=np.float64)
    return fingerprints(side.frame)


def shapes(side: Side) -> tuple[np.ndarray, np.ndarray]:
    """([D, descriptors] of each drug: the side's view, else `descriptors`; [D] bool which of them
    have a structure).
    """
    there = side.frame["smiles"].map(lambda smiles: isinstance(smiles, str)).to_numpy(bool)
    if SHAPE_VIEW in side.views:
        return np.asarray(side.views[SHAPE_VIEW], dtype=np.float64), there
    return descriptors(side.frame["smiles"]), there


def drug_vectors(
    drugs: pd.DataFrame, source: str = "annotation", seed: int = 0, encoder: str = BUNDLED
) -> np.ndarray:
    """[D, dim] embeddings of a text source, or a control for the annotation's.

    Parameters
    ----------
    source : a source of `describe_drugs`; or "words" (the annotation's words counted, no encoder),
        "shuffled" (the annotation's vectors, dealt to other compounds), "random" (a normal vector
        of length 1 for each compound) or "one_hot" (one number a compound)

    Raises
    ------
    DataError
        Unknown source.
    """
    if source not in CONTROLS:
        return encode(describe_drugs(drugs, source), encoder)
    compound = drugs["compound"].factorize()[0]
    n, rng = compound.max() + 1, np.random.default_rng(seed)
    if source == "one_hot":
        return np.eye(n, dtype=np.float32)[compound]
    if source == "words":
        from sklearn.feature_extraction.text import HashingVectorizer

        texts = [text or "" for text in describe_drugs(drugs)]
        count = HashingVectorizer(n_features=2048, alternate_sign=False)
        return count.transform(texts).toarray().astype(np.float32)
    if source == "random":
        z = rng.normal(size=(n, 384)).astype(np.float32)
        return (z / np.linalg.norm(z, axis=1, keepdims=True))[compound]
    first = np.unique(compound, return_index=True)[1]  # one id of each compound
    return encode(describe_drugs(drugs), encoder)[first[rng.permutation(n)]][compound]
