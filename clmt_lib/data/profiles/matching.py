"""Which molecule has which profile, as a table: what contrastive pre-training is split by (chapter
profiles).
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from clmt_lib.data.base import Benchmark, Side
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
