"""Molecules on paper, what an encoder reads in them, and how its numbers move (chapter 03)."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from clmt_lib.book.plotting.style import FAINT, GREY, WIDTH, plain


def molecule(
    drawing: Any,
    weights: np.ndarray | None = None,
    largest: float | None = None,
    title: str = "",
    numbered: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """A molecule in lines, with a disc on each atom: its area is the size of the atom's weight,
    blue above zero, orange (dashed rim) below.

    Parameters
    ----------
    drawing : (positions [atoms, 2], bonds [bonds, 3], elements [atoms]), as
        `views.geometry.flat_drawing` gives it
    weights : [atoms] or None
    largest : weight that fills a full disc; None takes the largest of these
    numbered : write each atom's number beside it

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    position, bonds, elements = drawing
    ax = ax or plt.subplots(figsize=(3.6, 3.0))[1]
    for first, second, order in bonds:
        _bond(ax, position[int(first)], position[int(second)], order)
    near: list[list[int]] = [[] for _ in elements]
    for first, second, _ in bonds:
        near[int(first)].append(int(second))
        near[int(second)].append(int(first))
    for number, (place, element) in enumerate(zip(position, elements, strict=True)):
        label = ("" if element == "C" else element) + (f"{number}" if numbered else "")
        away = place - np.mean(position[near[number]], axis=0) if near[number] else np.ones(2)
        length = np.linalg.norm(away)
        ax.annotate(
            label,
            place,
            # on the side where no bond is; between opposite bonds, above
            xytext=8 * (away / length if length > 0.1 else np.array([0.0, 1.0])),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8,
            fontweight="bold",
            color=GREY,
        )
    if weights is not None:
        size = np.asarray(weights) / (largest or max(np.abs(weights).max(), 1e-12))
        for sign, colour, rim in (
            (1, seaborn.color_palette("colorblind")[0], "-"),
            (-1, seaborn.color_palette("colorblind")[1], "--"),
        ):
            rows = sign * size > 0
            x, y = position[rows].T
            ax.scatter(
                x,
                y,
                s=170 * np.minimum(np.abs(size[rows]), 1.2),
                color=colour,
                alpha=0.75,
                edgecolor=GREY,
                linewidth=1,
                linestyle=rim,
                zorder=3,
            )
    ax.set_aspect("equal")
    ax.margins(0.15)
    ax.set_title(plain(title), fontsize=10)
    ax.set_axis_off()
    return ax


def _bond(ax, one, other, order):
    """A line, two for a double bond, a full and a dashed one for an aromatic bond, three for a
    triple bond.
    """
    along = other - one
    aside = 0.09 * np.array([-along[1], along[0]]) / max(np.linalg.norm(along), 1e-9)
    for shift, style in {
        1.0: [(0, "-")],
        1.5: [(1, "-"), (-1, ":")],
        2.0: [(1, "-"), (-1, "-")],
        3.0: [(0, "-"), (1.6, "-"), (-1.6, "-")],
    }.get(order, [(0, "-")]):
        ends = np.array([one, other]) + shift * aside
        ax.plot(*ends.T, style, color=GREY, linewidth=1.5, zorder=1)


def attributes(
    drawing: Any, bits: np.ndarray, strips: Mapping[str, Any], corner: Sequence[int] | None = None
) -> list[Axes]:
    """What the attribute view sees: a numbered molecule, its fingerprint bits, and below a strip of
    numbers for each kind of omics of a line.

    Parameters
    ----------
    bits : [n] 0/1, n a multiple of 64; strips : name -> [genes]; corner : three atoms (i, j, k)
        whose angle at j is drawn

    Returns
    -------
    list of axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    fig = plt.figure(figsize=(9, 4.2 + 0.45 * len(strips)))
    grid = fig.add_gridspec(
        1 + len(strips), 2, height_ratios=[7, *[1] * len(strips)], width_ratios=[1.7, 1]
    )
    axes = [fig.add_subplot(grid[0, 0]), fig.add_subplot(grid[0, 1])]
    molecule(drawing, title="a drug: atoms and bonds, bonds and angles", numbered=True, ax=axes[0])
    if corner is not None:
        axes[0].plot(
            *drawing[0][list(corner)].T,
            color=seaborn.color_palette("colorblind")[1],
            linewidth=4,
            alpha=0.7,
            zorder=0,
        )
    on = np.argwhere(np.asarray(bits).reshape(-1, 64))
    axes[1].plot(
        on[:, 1], on[:, 0], "s", color=seaborn.color_palette("colorblind")[0], markersize=3.2
    )
    axes[1].set(
        xticks=[],
        yticks=[],
        xlim=(-1, 64),
        ylim=(len(bits) // 64, -1),
        title=f"the same drug: {int(np.sum(bits))} of {len(bits)} fingerprint bits",
    )
    axes[1].spines[["top", "right"]].set_visible(True)
    for row, (name, values) in enumerate(strips.items(), start=1):
        ax = fig.add_subplot(grid[row, :])
        values = np.asarray(values, dtype=float)
        largest = max(np.abs(values).max(), 1e-12)  # each strip on its own scale
        ax.imshow(
            values[None],
            cmap="PuOr",
            vmin=-largest,
            vmax=largest,
            aspect="auto",
            interpolation="nearest",
        )
        ax.set(xticks=[], yticks=[0], yticklabels=[name.replace("_", " ")])
        axes.append(ax)
    axes[2].set_title("a cell line: one number for each gene and kind", fontsize=10)
    return axes


def fold_scores(
    scores: pd.DataFrame, chance: Any = None, label: str = "", ax: Axes | None = None
) -> Axes:
    """One row a model: a dot for each fold, a bar at their mean, and chance as a dotted line with
    its band.

    Parameters
    ----------
    scores : [folds, models] frame
    chance : None, a number, or (low, high)

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    ax = ax or plt.subplots(figsize=(WIDTH, 0.9 + 0.36 * scores.shape[1]))[1]
    if chance is not None:
        low, high = np.broadcast_to(chance, 2)
        ax.axvspan(low, high, color=FAINT, linewidth=0)
        ax.axvline(
            0 if low < 0 < high else (low + high) / 2, color=GREY, linestyle=":", linewidth=1.2
        )
    blue, orange = (seaborn.color_palette("colorblind")[i] for i in (0, 1))
    for row, name in enumerate(scores):
        ax.plot(scores[name], np.full(len(scores), row), "o", color=blue, alpha=0.7, markersize=5)
        ax.plot([scores[name].mean()] * 2, [row - 0.3, row + 0.3], color=orange, linewidth=3)
    ax.set_yticks(range(scores.shape[1]), [name.replace("_", " ") for name in scores.columns])
    ax.set_ylim(scores.shape[1] - 0.4, -0.6)
    ax.set_xlabel(fill(label, 50))
    ax.grid(axis="x")
    return ax


def company(
    predictions: Mapping[str, Any],
    truth: float | None = None,
    label: str = "",
    ax: Axes | None = None,
) -> Axes:
    """The prediction for ONE drug, made again and again in other batches: one row a network, one
    dot a batch.

    Parameters
    ----------
    predictions : name -> [batches]
    truth : the value to predict, drawn as a dotted line

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    ax = ax or plt.subplots(figsize=(WIDTH, 0.9 + 0.5 * len(predictions)))[1]
    for row, (values, colour, marker) in enumerate(
        zip(predictions.values(), seaborn.color_palette("colorblind"), "osD^vP")
    ):
        high = row + np.linspace(
            -0.25, 0.25, len(values)
        )  # one height a batch, so that equal values stay visible
        ax.plot(values, high, marker, color=colour, alpha=0.75, markersize=5)
    if truth is not None:
        ax.axvline(truth, color=GREY, linestyle=":", linewidth=1.2)
    ax.set_yticks(range(len(predictions)), predictions)
    ax.set_ylim(len(predictions) - 0.4, -0.6)
    ax.set_xlabel(label)
    ax.grid(axis="x")
    return ax
