"""How a stack is made, what its bases weigh, and what it adds beside the best kernel rung (chapter
09c).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from clmt_lib.book.plotting.style import (
    FAINT,
    GREY,
    LABELS,
    WIDTH,
    display_name,
    look,
    stacked,
)
from clmt_lib.book.words import spelt

USES = {
    "fitted on": 0,
    "asked, out of fold": 1,
    "chooses the second stage": 2,
    "scored, once": 4,
}  # what a fit does with a block of pairs -> place in the colour-blind palette


def stack_plan(inner: int = 3, ax: Axes | None = None) -> Axes:
    """Fits down, blocks of pairs across: what each fit of a base is shown (blue) and what it is
    asked, block by block.

    Parameters
    ----------
    inner : inner folds

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import seaborn
    from matplotlib.patches import Patch, Rectangle

    ax = ax or plt.subplots(figsize=(WIDTH, 0.62 * inner + 2.0))[1]
    palette, blocks = (
        seaborn.color_palette("colorblind"),
        [*(f"inner\nfold {k + 1}" for k in range(inner)), "valid", "test"],
    )
    for row in range(inner + 1):
        uses = ["asked, out of fold" if k == row else "fitted on" for k in range(inner)] + (
            [] if row < inner else ["chooses the second stage", "scored, once"]
        )
        for place, use in enumerate(uses):
            ax.add_patch(
                Rectangle(
                    (place + 0.04, row + 0.12),
                    0.92,
                    0.76,
                    color=palette[USES[use]],
                    alpha=0.35 if use == "fitted on" else 0.95,
                    linewidth=0,
                )
            )
    ax.axhline(inner, color=GREY, linewidth=1, linestyle=":")
    ax.set(xlim=(0, inner + 2), ylim=(inner + 1, 0))
    ax.set_xticks(np.arange(inner + 2) + 0.5, blocks)
    ax.set_yticks(np.arange(inner + 1) + 0.5, [*(f"fit {k + 1}" for k in range(inner)), "last fit"])
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.figure.legend(
        handles=[
            Patch(color=palette[place], alpha=0.35 if use == "fitted on" else 0.95, label=use)
            for use, place in USES.items()
        ],
        loc="outside lower center",
        ncols=len(USES),
    )
    return ax


def inner_fold_maps(maps: Mapping[str, Any], most: int = 40) -> Axes:
    """One map a split, on an evenly spaced sample: cell lines down, drugs across, each training
    pair in the colour of its inner fold; valid and test grey, holes open.

    Parameters
    ----------
    maps : title -> [C, D] table with the number of the inner fold, -1 where the pair is in another
        role, NaN where nothing was measured

    Returns
    -------
    [maps] array of axes
    """
    import matplotlib.pyplot as plt
    import seaborn
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    folds = int(max(np.nanmax(table) for table in maps.values())) + 1
    colours = [
        (0.6, 0.6, 0.6),
        *(seaborn.color_palette("colorblind")[i] for i in (0, 1, 2, 4, 8, 5, 3, 6)),
    ][: folds + 1]
    fig, axes = plt.subplots(1, len(maps), figsize=(WIDTH, 2.8), squeeze=False)
    for ax, (title, table) in zip(axes[0], maps.items(), strict=True):
        rows, columns = (np.unique(np.linspace(0, n - 1, most).astype(int)) for n in table.shape)
        ax.imshow(
            table[np.ix_(rows, columns)],
            cmap=ListedColormap(colours),
            vmin=-1.5,
            vmax=folds - 0.5,
            aspect="auto",
            interpolation="nearest",
        )
        ax.set(xticks=[], yticks=[], title=title, xlabel="drugs")
    axes[0][0].set_ylabel("cell lines")
    labels = ["valid and test", *(f"inner fold {k + 1}" for k in range(folds))]
    fig.legend(
        handles=[
            Patch(color=colour, label=label) for colour, label in zip(colours, labels, strict=True)
        ],
        loc="outside lower center",
        ncols=folds + 1,
    )
    return axes[0]


def base_weights(frames: Mapping[str, pd.DataFrame]) -> Any:
    """One panel a split, one row a base: a bar for its mean weight, a dot for each fold; a split
    without a fold says so.

    Parameters
    ----------
    frames : title -> [folds, bases] frame of weights

    Returns
    -------
    [frames] array of axes
    """
    import seaborn

    most = max([len(frame.columns) for frame in frames.values()] + [3])
    axes = stacked(len(frames), 0.8 + 0.24 * most)[1]
    blue = seaborn.color_palette("colorblind")[0]
    for ax, (title, frame) in zip(axes, frames.items(), strict=True):
        if not len(frame):
            ax.text(0.5, 0.5, "no weights yet", transform=ax.transAxes, ha="center")
            ax.set(title=title, xticks=[], yticks=[])
            continue
        ax.barh(range(len(frame.columns)), frame.mean(), color=blue, alpha=0.35)
        for _, row in frame.iterrows():
            ax.plot(row, range(len(row)), "o", color=blue, markersize=4, alpha=0.8)
        ax.set_yticks(range(len(frame.columns)), frame.columns)
        ax.set_ylim(len(frame.columns) - 0.4, -0.6)
        ax.set(title=title, xlabel="weight")
        ax.set_xlim(left=min(0.0, float(frame.min().min())))
    return axes


def beside_kernel(frame: pd.DataFrame, metrics: Sequence[str] = ("rmse", "pcc_per_drug")) -> Axes:
    """Differences to the best kernel rung, one panel a metric, one block of rows a benchmark and
    split; its first row, at zero, is the kernel rung itself.

    Parameters
    ----------
    frame : columns where (of the block), kernel (the rung at zero), model, metric, mean, low, high
        (NaN where not in)

    Returns
    -------
    [metrics] array of axes. An interval that holds zero is drawn hollow: a tie. What is not in says
    so in the first panel.
    """
    import matplotlib.pyplot as plt

    rows = _blocks(frame)
    fig, axes = plt.subplots(
        1,
        len(metrics),
        figsize=(7, 0.9 + 0.24 * (max(rows.values()) + 1)),
        sharey=True,
        squeeze=False,
    )
    for ax, metric in zip(axes[0], metrics, strict=True):
        for _, row in frame[frame["metric"] == metric].iterrows():
            _beside(ax, row, rows[row["where"], row["model"]], say=ax is axes[0][0])
        for (where, model), y in rows.items():
            if model in frame.loc[frame["where"] == where, "kernel"].to_numpy():
                _, colour, marker = look(model)
                ax.plot(0, y, marker, color=colour, markersize=5)
                ax.axhline(y - 0.8, color=FAINT, linewidth=0.8)
        ax.axvline(0, color=GREY, linewidth=1, zorder=0)
        ax.grid(axis="x")
        ax.locator_params(axis="x", nbins=4)
        ax.set_xlabel("difference in " + LABELS.get(metric, metric).replace("  ", "\n"))
    _name_rows(axes[0][0], frame, rows)
    return axes[0]


def _blocks(frame):
    """(where, model) -> height, the kernel rung first in its block, half a row and more between
    blocks.
    """
    rows, y = {}, 0.0
    for where, block in frame.groupby("where", sort=False):
        for model in dict.fromkeys([block["kernel"].iloc[0], *block["model"]]):
            rows[where, model] = y
            y += 1
        y += 0.6
    return rows


def _beside(ax, row, y, say):
    _, colour, marker = look(row["model"])
    if not np.isfinite(row["mean"]):
        return ax.annotate(
            "not in yet" if say else "",
            (0, y),
            xytext=(4, 0),
            textcoords="offset points",
            color=GREY,
            fontsize=8,
            va="center",
        )
    tie = row["low"] <= 0 <= row["high"]
    ax.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=2.2, alpha=0.6)
    return ax.plot(
        row["mean"],
        y,
        marker,
        color=colour,
        markersize=9 if marker == "*" else 6,
        markerfacecolor="none" if tie else colour,
    )


def _name_rows(ax, frame, rows):
    """Names at the left; that of the kernel rung carries the benchmark and split of its block, in
    bold.
    """
    kernels = dict(zip(frame["where"], frame["kernel"], strict=True))
    ax.set_yticks(
        list(rows.values()),
        [
            f"{spelt(where)}: {display_name(model)}"
            if kernels[where] == model
            else display_name(model)
            for where, model in rows
        ],
    )
    for (where, model), label in zip(rows, ax.get_yticklabels(), strict=True):
        label.set_fontweight("bold" if kernels[where] == model else "normal")
    ax.set_ylim(max(rows.values()) + 0.7, -0.8)
