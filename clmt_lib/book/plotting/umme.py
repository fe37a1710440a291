"""Modalities of drugs and proteins: how a curriculum weighs them, how reliable they were found, and
what each part of ACMO changed (the UMME chapter).
"""

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from clmt_lib.book.plotting.style import FAINT, GREY, WIDTH

MARKERS = "os^Dv"


def curriculum(rho: np.ndarray, weights: Mapping[str, np.ndarray], ends: float) -> Axes:
    """Weight of each modality while training goes on.

    Parameters
    ----------
    rho : [steps] share of the training that is over
    weights : modality -> [steps]
    ends : where the curriculum ends

    Returns
    -------
    the axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    _, ax = plt.subplots(figsize=(WIDTH, 3.2))
    ax.axvline(ends, color=FAINT)
    for number, (name, weight) in enumerate(weights.items()):
        colour = seaborn.color_palette("colorblind")[number]
        ax.plot(
            rho, weight, color=colour, marker=MARKERS[number], markevery=len(rho) // 8, label=name
        )
    ax.set(xlabel="share of the training", ylabel="weight of a modality", ylim=(0, None))
    ax.legend(frameon=False)
    return ax


def reliabilities(frame: pd.DataFrame, worth: Mapping[str, Mapping[str, float]]) -> Sequence[Axes]:
    """What each world's modalities were found to be, in the order of what they are worth.

    Parameters
    ----------
    frame : columns truth, seed, modality, reliability
    worth : truth -> modality -> share of the match that it explains

    Returns
    -------
    [truths] axes, which share a scale
    """
    import matplotlib.pyplot as plt
    import seaborn

    size = WIDTH, 2.2 * len(worth)
    _, axes = plt.subplots(len(worth), 1, figsize=size, sharey=True)
    for ax, (truth, known) in zip(np.atleast_1d(axes), worth.items(), strict=True):
        order = sorted(known, key=lambda name: -known[name])
        for seed, rows in frame[frame["truth"] == truth].groupby("seed"):
            found = rows.set_index("modality")["reliability"].reindex(order)
            colour = seaborn.color_palette("colorblind")[int(seed) % 10]
            ax.plot(range(len(order)), found, marker=MARKERS[int(seed) % 5], color=colour, lw=0.8)
        ax.set_xticks(
            range(len(order)), [f"{name}\n{known[name]:.2f}" for name in order], fontsize=8
        )
        ax.set_title(f"most reliable: {truth}", fontsize=9)
        ax.set_ylabel("reliability found")
    return list(np.atleast_1d(axes))


def changes(frame: pd.DataFrame, label: str) -> Axes:
    """Differences with intervals, a row each; hollow where the interval holds zero.

    Parameters
    ----------
    frame : indexed by what was changed; columns mean, low, high

    Returns
    -------
    the axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    colour = seaborn.color_palette("colorblind")[0]
    _, ax = plt.subplots(figsize=(WIDTH, 0.8 + 0.36 * len(frame)))
    ax.axvline(0, color=GREY, lw=0.8)
    for place, (_, row) in enumerate(frame[::-1].iterrows()):
        clear = row["low"] > 0 or row["high"] < 0
        ax.plot([row["low"], row["high"]], [place, place], color=colour)
        ax.plot(row["mean"], place, "o", color=colour, mfc=colour if clear else "none")
    names = [fill(name.replace(" - ", " − "), 28) for name in frame.index[::-1]]
    ax.set_yticks(range(len(frame)), names)
    ax.set_ylim(-0.6, len(frame) - 0.4)
    ax.locator_params(axis="x", nbins=5)
    ax.set_xlabel(label)
    return ax


def withheld(frame: pd.DataFrame, label: str) -> Axes:
    """A score against how many modalities are left, a dot for each subset, and the mean.

    Parameters
    ----------
    frame : columns many (modalities left), score

    Returns
    -------
    the axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    colour = seaborn.color_palette("colorblind")[0]
    _, ax = plt.subplots(figsize=(WIDTH, 3.0))
    ax.plot(frame["many"], frame["score"], "o", color=colour, mfc="none")
    mean = frame.groupby("many")["score"].mean()
    ax.plot(mean.index, mean, color=GREY)
    ax.set(xlabel="modalities of a drug that are left", ylabel=label)
    ax.set_xticks(sorted(frame["many"].unique()))
    return ax
