"""What happens while a network learns (chapter 06)."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from clmt_lib.book.plotting.style import FAINT, GREY, WIDTH
from clmt_lib.book.words import spelt

DASHES = ("-", "--", "-.", ":")


def _palette():
    import seaborn

    return seaborn.color_palette("colorblind")


def learning_curves(
    history: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
    marked: Collection[str] = (),
    title: str = "",
    label: str = "RMSE, ln(µM)",
    ax: Axes | None = None,
) -> Axes:
    """A line a quantity over the steps of a training; the name stands at the line's end, and a dot
    at the lowest point of those that are `marked`.

    Parameters
    ----------
    history : rows of {"step": ..., quantity: value}, as `training.train` returns them
    names : quantity -> what a reader sees
    marked : quantities by which one could choose

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt

    ax = ax or plt.subplots(figsize=(WIDTH, 3.4))[1]
    steps, ends = np.array([row["step"] for row in history]), []
    for (key, name), colour, dash in zip(
        names.items(), [_palette()[i] for i in (7, 1, 0, 2)], DASHES, strict=False
    ):
        values = np.array([row[key] for row in history])
        ax.plot(steps, values, dash, color=colour)
        ends.append((values[-1], name, colour))
        if key in marked:
            best = values.argmin()
            ax.plot(steps[best], values[best], "o", color=colour, markersize=9)
            ax.annotate(
                f"step {steps[best]}",
                (steps[best], values[best]),
                (0, 9),
                textcoords="offset points",
                ha="center",
                fontsize=8.5,
                color=colour,
            )
    _names_at_the_end(ax, steps[-1], ends)
    ax.set(xlabel="step", ylabel=label, title=title)
    ax.grid(axis="y")
    return ax


def passes(
    curves: Mapping[str, Sequence[Sequence[float]]],
    label: str = "RMSE on the validation set, ln(µM)",
    ax: Axes | None = None,
) -> Axes:
    """Score against passes over the training pairs, a line a run; its name stands in the legend.

    Parameters
    ----------
    curves : run -> [looks] of (pass, score)

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt

    ax = ax or plt.subplots(figsize=(WIDTH, 3.4))[1]
    colours = _palette()
    for place, (name, looks) in enumerate(curves.items()):
        x, y = np.array(looks, dtype=float).reshape(-1, 2).T
        dash = DASHES[place % len(DASHES)]
        ax.plot(x, y, dash, marker="o", markersize=3, color=colours[place % 10], label=spelt(name))
    ax.set(xlabel="passes over the training pairs", ylabel=label)
    ax.grid(axis="y")
    if curves:
        ax.legend(fontsize=8, frameon=False)
    return ax


def _names_at_the_end(ax, x, ends):
    """Names right of their lines, moved apart where they would touch."""
    low, high = ax.get_ylim()
    gap, last = 0.075 * (high - low), -np.inf
    for value, name, colour in sorted(ends, key=lambda end: end[0]):
        last = max(value, last + gap)
        ax.annotate(
            name,
            (x, last),
            (9, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=colour,
            annotation_clip=False,
        )


def descent(
    grid: np.ndarray,
    values: np.ndarray,
    paths: Mapping[str, Any],
    names: Sequence[str],
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Contours of a loss over two weights, and the paths that optimisers took over it.

    Parameters
    ----------
    grid : two [n] arrays, the weights; values [n, n] : loss at (second, first)
    paths : label -> [steps + 1, 2] weights; names : of the two weights

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt

    ax = ax or plt.subplots(figsize=(WIDTH, 3.6))[1]
    ax.contour(
        *grid,
        values,
        levels=np.geomspace(values.min() + 0.02, values.max(), 12),
        colors=GREY,
        linewidths=0.7,
        alpha=0.6,
    )
    low = np.unravel_index(values.argmin(), values.shape)
    ax.plot(grid[0][low[1]], grid[1][low[0]], "*", color=GREY, markersize=13)
    for (name, path), colour, marker in zip(
        paths.items(), (_palette()[i] for i in (0, 1, 2)), "osD"
    ):
        ax.plot(*np.asarray(path).T, marker=marker, color=colour, label=name, markersize=5)
    ax.set(xlabel=names[0], ylabel=names[1], title=title)
    ax.legend(loc="upper left")
    return ax


def schedules(rates: Mapping[str, Any], title: str = "", ax: Axes | None = None) -> Axes:
    """Learning rate of each step: name -> [steps]."""
    import matplotlib.pyplot as plt

    ax = ax or plt.subplots(figsize=(WIDTH, 2.8))[1]
    for (name, values), colour, dash in zip(
        rates.items(), (_palette()[i] for i in (0, 1, 2)), DASHES
    ):
        ax.plot(np.arange(1, len(values) + 1), values, dash, color=colour, label=name)
    ax.set(xlabel="step", ylabel="learning rate", title=title, ylim=(0, None))
    ax.legend()
    return ax


def threshold(
    y: np.ndarray,
    grid: np.ndarray,
    density: np.ndarray,
    marks: Mapping[str, float],
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Density of one drug's responses, a tick for each of them, and named points of its axis.

    Parameters
    ----------
    y : [n] ln IC50 (ln uM); grid, density [points]
    marks : name -> ln IC50

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt

    ax = ax or plt.subplots(figsize=(WIDTH, 3.2))[1]
    ax.fill_between(grid, density, color=FAINT, linewidth=0)
    ax.plot(grid, density, color=GREY)
    ax.plot(y, np.full(len(y), -0.03 * density.max()), "|", color=GREY, markersize=7)
    for (name, place), colour, dash in zip(
        marks.items(), (_palette()[i] for i in (0, 2, 1)), DASHES
    ):
        ax.axvline(place, color=colour, linestyle=dash, label=name)
    ax.set(xlabel="ln(IC50), ln(µM)", ylabel="density", title=title)
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.22), ncols=3, columnspacing=1.2)
    return ax


def choices(
    frame: pd.DataFrame,
    chosen: Any,
    label: str = "RMSE, ln(µM)  ← better",
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Candidates as lines over several ways of scoring them; those that somebody would choose are
    coloured, with the reason in the legend.

    Parameters
    ----------
    frame : [candidates, scores], lower is better
    chosen : legend text -> candidate

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt

    ax = ax or plt.subplots(figsize=(WIDTH, 3.6))[1]
    places, coloured, ends = np.arange(frame.shape[1]), {}, []
    for (text, name), colour, marker in zip(
        chosen.items(), (_palette()[i] for i in (1, 0, 2)), "Dos"
    ):
        coloured[name] = colour, marker, text
    for name, values in frame.iterrows():
        colour, marker, text = coloured.get(name, (GREY, ".", None))
        ax.plot(
            places,
            values,
            marker=marker,
            color=colour,
            label=text,
            linewidth=2.4 if text else 1,
            markersize=7,
            zorder=3 if text else 2,
        )
        ends.append((values.iloc[-1], str(name).replace("_", " "), colour))
    _names_at_the_end(ax, places[-1], ends)
    ax.set_xticks(places, frame.columns)
    ax.set(ylabel=label, title=title)
    ax.grid(axis="y")
    ax.figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return ax


def ratchet(
    rmse: np.ndarray,
    r: np.ndarray,
    kept: Any,
    labels: Sequence[str] = ("RMSE", "r"),
    title: str = "",
) -> np.ndarray:
    """Two criteria over the looks at the validation set: filled dots were kept as "the best so
    far", a dotted line shows the best there ever was.

    Parameters
    ----------
    rmse, r : [looks]; kept : [looks] bool

    Returns
    -------
    [2] array of axes
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(2, 1, figsize=(WIDTH, 5.0), sharex=True)
    kept, looks = np.asarray(kept), np.arange(1, len(rmse) + 1)
    last = looks[kept][-1]
    for ax, values, best, label, place in zip(
        axes, (np.asarray(rmse), np.asarray(r)), (np.min, np.max), labels, (1, 0), strict=True
    ):
        ax.plot(looks, values, color=FAINT)
        ax.plot(looks[~kept], values[~kept], "o", color=GREY, markerfacecolor="none")
        ax.plot(looks[kept], values[kept], "o", color=_palette()[place], label="kept as best")
        ax.plot(
            last,
            values[last - 1],
            "o",
            color=_palette()[place],
            markersize=14,
            markerfacecolor="none",
            markeredgewidth=2,
            label="what is reported",
        )
        ax.axhline(best(values), color=GREY, linestyle=":", label="best there was")
        ax.set_ylabel(label)
    axes[1].set_xlabel("look at the validation set")
    axes[0].legend(fontsize=8)
    fig.suptitle(title, fontsize=11)
    return axes


def seed_spread(values: Mapping[str, Any], label: str = "", ax: Axes | None = None) -> Axes:
    """One row a variant: a dot for each seed, a bar at their mean; the same seed is joined from row
    to row.

    Parameters
    ----------
    values : variant -> [seeds]

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt

    ax = ax or plt.subplots(figsize=(WIDTH, 0.9 + 0.6 * len(values)))[1]
    rows = np.arange(len(values))
    for seed in np.array(list(values.values())).T:
        ax.plot(seed, rows, color=FAINT)
    for row, found, colour, marker in zip(
        rows, values.values(), (_palette()[i] for i in (0, 1, 2, 4)), "oDs^"
    ):
        ax.plot(found, np.full(len(found), row), marker, color=colour, alpha=0.9)
        ax.plot([np.mean(found)] * 2, [row - 0.22, row + 0.22], color=colour, linewidth=3)
    ax.set_yticks(rows, list(values))
    ax.set(ylim=(len(values) - 0.5, -0.5), xlabel=label)
    ax.grid(axis="x")
    return ax
