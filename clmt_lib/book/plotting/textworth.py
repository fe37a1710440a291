"""What a description of a drug is worth: gains by what was told, and whose gains they are (chapter
09b).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from clmt_lib.book.plotting.style import FAINT, GREY, display_name

GROUPS = {  # what a rung is told -> (place in the colour-blind palette, marker)
    "nothing (controls)": (7, "s"),
    "structure": (2, "^"),
    "facts": (0, "D"),
    "words": (1, "o"),
    "facts and words": (4, "*"),
}
TOLD = {
    "cell_mean": "nothing (controls)",
    "drugs_random": "nothing (controls)",
    "drugs_shuffled": "nothing (controls)",
    "drugs_name": "nothing (controls)",
    "drugs_fingerprint": "structure",
    "drugs_pathway": "facts",
    "drugs_targets": "facts",
    "drugs_annotation": "facts",
    "drugs_steps": "facts",
    "drugs_text": "words",
    "drugs_mechanism": "words",
    "drugs_long": "words",
    "processes": "facts and words",
    "target_states": "facts and words",
}


def worth(
    panels: Mapping[str, pd.DataFrame], label: str = "gain in per-drug r", base: str = "cell mean"
) -> Axes:
    """Gains over a baseline, a row for each rung and a panel for each split; bars are intervals,
    hollow where they hold zero.

    Parameters
    ----------
    panels : title -> [rungs] frame with mean, low, high
    base : what the gains are over, for the axis

    Returns
    -------
    [panels] axes, which share both scales.
    """
    import matplotlib.pyplot as plt
    import seaborn

    rungs = list(dict.fromkeys(rung for frame in panels.values() for rung in frame.index))
    fig, axes = plt.subplots(
        1,
        len(panels),
        figsize=(1.9 + 3.0 * len(panels), 1.3 + 0.31 * len(rungs)),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for ax, (title, frame) in zip(axes[0], panels.items(), strict=True):
        for rung, values in frame.iterrows():
            place, marker = GROUPS[TOLD.get(rung, "facts")]
            colour, row, tie = (
                seaborn.color_palette("colorblind")[place],
                rungs.index(rung),
                values["low"] <= 0 <= values["high"],
            )
            ax.plot(
                [values["low"], values["high"]], [row, row], color=colour, linewidth=2.2, alpha=0.65
            )
            ax.plot(
                values["mean"],
                row,
                marker,
                color=colour,
                markersize=8 if marker == "*" else 6,
                markerfacecolor="none" if tie else colour,
            )
        ax.axvline(0, color=GREY, linewidth=1)
        ax.set_title(title)
        ax.grid(axis="x")
    axes[0][0].set_yticks(range(len(rungs)), [display_name(rung) for rung in rungs])
    axes[0][0].set_ylim(len(rungs) - 0.4, -0.6)
    fig.supxlabel(f"{label} over the {base}  → better", fontsize=10)
    _legend(fig, rungs)
    return axes[0]


def _legend(fig, rungs):
    import seaborn
    from matplotlib.lines import Line2D

    found = [group for group in GROUPS if group in {TOLD.get(rung) for rung in rungs}]
    handles = [
        Line2D(
            [],
            [],
            color=seaborn.color_palette("colorblind")[GROUPS[g][0]],
            marker=GROUPS[g][1],
            linestyle="",
            label=f"told: {g}",
        )
        for g in found
    ]
    fig.legend(
        handles=handles,
        loc="outside upper center",
        ncols=len(handles),
        columnspacing=1.0,
        handletextpad=0.2,
    )


def whose_gain(
    gap: Any, group: Any, twin: Any, label: str = "gain in per-drug r", ax: Axes | None = None
) -> Axes:
    """A row of dots for each group of drugs, largest mean gain on top; a drug with a twin in
    training is filled, one without hollow; the bar is the group's mean.

    Parameters
    ----------
    gap : [drugs] gain; group : [drugs] label, such as the pathway; twin : [drugs] bool

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import pandas as pd
    import seaborn

    frame = pd.DataFrame(
        {
            "gap": np.asarray(gap, dtype=float),
            "group": np.asarray(group),
            "twin": np.asarray(twin, dtype=bool),
        }
    ).dropna()
    order = frame.groupby("group")["gap"].mean().sort_values(ascending=False, kind="stable").index
    ax = ax or plt.subplots(figsize=(7.5, 0.9 + 0.25 * len(order)))[1]
    blue, orange = (seaborn.color_palette("colorblind")[i] for i in (0, 1))
    for row, name in enumerate(order):
        own = frame[frame["group"] == name]
        shift = 0.22 * np.linspace(-1, 1, len(own)) if len(own) > 1 else np.zeros(1)
        for known, marker, colour in ((True, "o", blue), (False, "D", orange)):
            there = own["twin"].to_numpy() == known
            ax.plot(
                own["gap"][there],
                row + shift[there],
                marker,
                color=colour,
                markersize=4,
                alpha=0.8,
                markerfacecolor=colour if known else "none",
            )
        ax.plot([own["gap"].mean()] * 2, [row - 0.36, row + 0.36], color=GREY, linewidth=3)
    ax.axvline(0, color=GREY, linewidth=1)
    for row in range(len(order)):
        ax.axhline(row + 0.5, color=FAINT, linewidth=0.5)
    ax.set_yticks(
        range(len(order)), [f"{name} ({(frame['group'] == name).sum()})" for name in order]
    )
    ax.set_ylim(len(order) - 0.5, -0.5)
    ax.set_xlabel(label)
    handles = [
        plt.Line2D([], [], color=c, marker=m, linestyle="", markerfacecolor=f, label=t)
        for c, m, f, t in (
            (blue, "o", blue, "has a twin in training"),
            (orange, "D", "none", "has none"),
        )
    ]
    ax.legend(handles=handles, loc="lower right")
    return ax
