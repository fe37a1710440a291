"""CLMT: the corrected network, and what its authors' public code computes."""

from clmt_lib.models.clmt.corrected import (
    ALIGNMENTS,
    CELL_VIEWS,
    CLMT,
    DRUG_VIEWS,
    SCALES,
    SHARPNESS,
    CLMTConfig,
    Inputs,
    Network,
    alignment,
    objective,
    prepare,
    recipes,
    similar_responses,
)

__all__ = [
    "ALIGNMENTS",
    "CELL_VIEWS",
    "CLMT",
    "CLMTConfig",
    "DRUG_VIEWS",
    "Inputs",
    "Network",
    "SCALES",
    "SHARPNESS",
    "alignment",
    "objective",
    "prepare",
    "recipes",
    "similar_responses",
]
