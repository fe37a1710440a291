"""From words to vectors (chapter 02)."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from clmt_lib.book.plotting.style import GREY, WIDTH, plain


def pooling(
    steps: Sequence[str],
    words: Sequence[str],
    vectors: np.ndarray,
    pooled: np.ndarray,
    dims: int = 64,
) -> np.ndarray:
    """From facts to one vector: what is written, a row of numbers a token, and their mean below;
    padded rows (NaN) stay open.

    Parameters
    ----------
    steps : lines of text; words [tokens]; vectors [tokens, dim]; pooled [dim]; dims : how many are
        drawn

    Returns
    -------
    [2] array of axes
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(
        2,
        1,
        figsize=(WIDTH, 1.5 + 0.2 * len(words)),
        gridspec_kw={"height_ratios": [len(words), 1]},
    )
    for ax, rows, names in zip(
        axes, (vectors, pooled[None]), (words, ["mean, without padding"]), strict=True
    ):
        picture = ax.imshow(
            rows[:, :dims], cmap="PuOr", vmin=-0.8, vmax=0.8, aspect="auto", interpolation="nearest"
        )
        ax.set(xticks=[], yticks=range(len(names)), yticklabels=[plain(name) for name in names])
    told = "\n".join(fill(step, 62, subsequent_indent="   ") for step in steps)
    fig.suptitle(told, x=0.01, ha="left", fontsize=10)
    axes[1].set_xlabel(f"the first {dims} of {vectors.shape[1]} numbers")
    fig.colorbar(picture, ax=axes, shrink=0.6)
    return axes


def text_map(
    points: np.ndarray, label: Any, title: str = "", most: int = 7, ax: Axes | None = None
) -> Axes:
    """[n, 2] points in the colour and marker of their label; labels beyond the `most` common ones
    are small and grey.
    """
    import matplotlib.pyplot as plt
    import seaborn

    ax, label = ax or plt.subplots(figsize=(WIDTH, 3.8))[1], np.asarray(label, dtype=str)
    names, count = np.unique(label, return_counts=True)
    shown = names[np.argsort(-count, kind="stable")[:most]]
    ax.plot(*points[~np.isin(label, shown)].T, ".", color=GREY, markersize=4)
    for name, colour, marker in zip(shown, seaborn.color_palette("colorblind"), "osD^vP*Xph"):
        ax.plot(
            *points[label == name].T,
            marker,
            color=colour,
            markersize=6,
            label=plain(name.replace("_", " ")),
        )
    ax.set(xticks=[], yticks=[], title=title)
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        ncols=2,
        fontsize=8,
        handletextpad=0.1,
        columnspacing=0.8,
    )
    return ax


def text_lengths(lengths: Mapping[str, Any], limits: Mapping[str, Any]) -> np.ndarray:
    """How long texts are: a panel for each unit, a row for each source, a dot for each text, a
    dashed line at the limit and the share beyond it.

    Parameters
    ----------
    lengths : unit -> {source: [n] lengths}; limits : unit -> (length, what happens there)

    Returns
    -------
    [units] array of axes.
    """
    import matplotlib.pyplot as plt
    import seaborn

    most = max(len(rows) for rows in lengths.values())
    axes = plt.subplots(
        len(lengths),
        1,
        figsize=(WIDTH, len(lengths) * (1.1 + 0.36 * most)),
        sharey=True,
        squeeze=False,
    )[1][:, 0]
    for ax, (unit, rows) in zip(axes, lengths.items(), strict=True):
        limit, what = limits[unit]
        for place, values in enumerate(rows.values()):
            values = np.asarray(values, dtype=float)
            lift = 0.22 * np.sin(
                2.4 * np.arange(len(values))
            )  # spread by a fixed pattern, not by chance
            past = values > limit
            for some, colour, marker in ((~past, 0, "o"), (past, 1, "D")):
                ax.plot(
                    values[some],
                    place + lift[some],
                    marker,
                    color=seaborn.color_palette("colorblind")[colour],
                    markersize=3,
                    alpha=0.7,
                )
            ax.annotate(
                f"{past.mean():.0%}" if len(values) else "",
                (1.01, place),
                xycoords=("axes fraction", "data"),
                fontsize=8.5,
                va="center",
                annotation_clip=False,
            )
        ax.axvline(limit, color=GREY, linestyle="--", linewidth=1.2)
        ax.annotate(
            "beyond",
            (1.01, -0.62),
            xycoords=("axes fraction", "data"),
            fontsize=8.5,
            va="center",
            annotation_clip=False,
        )
        ax.set(xscale="log", xlabel=f"{unit} a text", ylim=(len(rows) - 0.5, -0.85))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_title(f"dashed, {limit}: {what}", fontsize=10)
        ax.set_yticks(range(len(rows)), list(rows))
    return axes
