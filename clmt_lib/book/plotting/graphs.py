"""Who hears whom: response graphs, messages, hubs and depth (chapter 04)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from clmt_lib.book.plotting.style import FAINT, GREY, WIDTH

KINDS: dict[str, tuple[int, Any]] = {
    "sensitive": (0, "-"),
    "resistant": (1, (0, (4, 2))),
}  # relation -> (place in the colour-blind palette, line style)


def response_graphs(
    lines: Sequence[str],
    drugs: Sequence[str],
    residual: np.ndarray,
    similar_lines: np.ndarray,
    similar_drugs: np.ndarray,
) -> np.ndarray:
    """The same lines and drugs twice: every measured pair alike, and each pair by the sign (colour,
    style) and size (width) of its residual; arcs join neighbours of a kind.

    Parameters
    ----------
    lines, drugs : names
    residual : [lines, drugs] standardised, NaN where there is no edge
    similar_lines, similar_drugs : [n, n], above 0 where the row hears the column

    Returns
    -------
    [2] array of axes
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(
        2, 1, figsize=(WIDTH, 1.2 + 0.8 * max(len(lines), len(drugs))), sharex=True
    )
    where = [np.linspace(0, 1, len(names)) for names in (lines, drugs)]
    for ax, title, signed in zip(
        axes, ("measured or not", "what was measured"), (False, True), strict=True
    ):
        _edges(ax, residual, where, signed)
        for x, y, names, marker, similar in (
            (0, where[0], lines, "o", similar_lines),
            (1, where[1], drugs, "s", similar_drugs),
        ):
            _arcs(ax, x, y, np.asarray(similar) > 0)
            ax.plot(np.full(len(y), x), y, marker, color=GREY, markersize=8, zorder=3)
            for height, name in zip(y, names, strict=True):
                ax.annotate(
                    name,
                    (x, height),
                    xytext=(-26 if x == 0 else 26, 0),
                    textcoords="offset points",
                    va="center",
                    ha="right" if x == 0 else "left",
                    fontsize=8,
                )
        ax.set_title(title)
        ax.set(xlim=(-0.75, 1.75), ylim=(1.08, -0.08))
        ax.set_axis_off()
    handles = [
        plt.Line2D([], [], color=_colour(place), linestyle=style, label=name)
        for name, (place, style) in KINDS.items()
    ]
    handles += [
        plt.Line2D([], [], color=GREY, linestyle=":", label="similar"),
        plt.Line2D([], [], color=GREY, label="measured"),
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=4)
    return axes


def _colour(place):
    import seaborn

    return GREY if place is None else seaborn.color_palette("colorblind")[place]


def _edges(ax, residual, where, signed):
    for line, drug in np.argwhere(np.isfinite(residual)):
        value, look = residual[line, drug], (None, "-")
        if signed:
            look = KINDS["sensitive" if value < 0 else "resistant"]
        width = 0.4 + 1.6 * min(abs(value), 2.0) if signed else 1.2
        ax.plot(
            [0, 1],
            [where[0][line], where[1][drug]],
            color=_colour(look[0]),
            linestyle=look[1],
            linewidth=width,
            alpha=0.85 if signed else 0.6,
        )


def _arcs(ax, x, y, similar):
    """Dotted half circles on the outer side, from one node to another of its kind."""
    side, turn = (-1 if x == 0 else 1), np.linspace(0, np.pi, 30)
    for a, b in np.argwhere(np.triu(similar | similar.T, 1)):
        middle, radius = (y[a] + y[b]) / 2, abs(y[a] - y[b]) / 2
        ax.plot(
            x + side * 0.16 * np.sin(turn),
            middle + radius * np.cos(turn),
            ":",
            color=GREY,
            linewidth=1.4,
        )


def agreement(
    values: Mapping[str, np.ndarray], label: str = "agreement of two halves", chance: float = 0.0
) -> Axes:
    """One dot a drug and a row a graph: how far two halves of the sources agree on a message; a bar
    at the mean, a dotted line at chance.

    Parameters
    ----------
    values : graph -> [drugs] cosine

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt

    ax = plt.subplots(figsize=(WIDTH, 0.9 + 0.62 * len(values)))[1]
    for row, (name, marker) in enumerate(zip(values, "oDs^" * 9)):
        found = np.asarray(values[name])
        lift = row + 0.24 * np.sin(
            2.4 * np.arange(len(found))
        )  # spread out, the same on every machine
        ax.plot(found, lift, marker, color=_colour(row % 4), markersize=4, alpha=0.65)
        ax.plot([found.mean()] * 2, [row - 0.4, row + 0.4], color=GREY, linewidth=3.5)
    ax.axvline(chance, color=GREY, linestyle=":", linewidth=1.4)
    ax.set_yticks(range(len(values)), list(values))
    ax.set(xlabel=label, ylim=(len(values) - 0.45, -0.55))
    return ax


def hearers(
    counts: Mapping[str, np.ndarray], k: int, label: str = "nodes that one receives from"
) -> Axes:
    """From how many others each node receives when similarity edges run backwards, a panel a kind
    of node; the dashed line is how many it should be.

    Parameters
    ----------
    counts : name -> [n] number of sources of each node
    k : the right number

    Returns
    -------
    [kinds] array of axes
    """
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(
        len(counts), 1, figsize=(WIDTH, 2.3 * len(counts)), sharex=True, squeeze=False
    )
    top = max(int(np.max(values)) for values in counts.values()) + 2
    for ax, (name, values) in zip(axes[:, 0], counts.items(), strict=True):
        ax.hist(
            values, bins=np.arange(-0.5, top, 2), color=_colour(1), edgecolor=GREY, linewidth=0.6
        )
        ax.axvline(k, color=GREY, linestyle="--", linewidth=1.4)
        ax.annotate(
            f"should be {k}",
            (k, 0.97),
            xycoords=("data", "axes fraction"),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=8.5,
            va="top",
        )
        ax.margins(y=0.25)
        ax.set(
            title=f"{name}: {(np.asarray(values) == 0).sum()} receive from none",
            ylabel=name,
            xlim=(-2, top),
        )
    axes[-1, 0].set_xlabel(label)
    return axes[:, 0]


def depth(
    reached: Mapping[str, Sequence[float]], left: Mapping[str, Sequence[float]], title: str = ""
) -> np.ndarray:
    """What more layers do: the share of all nodes that reach a node, and the share of
    differences between nodes that is left.

    Parameters
    ----------
    reached, left : name -> [layers + 1] shares, from no layer on

    Returns
    -------
    [2] array of axes
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(2, 1, figsize=(WIDTH, 4.8), sharex=True)
    for ax, curves, label in zip(
        axes,
        (reached, left),
        ("share of the others\nthat reach a node", "share of the\ndifferences left"),
        strict=True,
    ):
        for (name, values), place, marker, style in zip(
            curves.items(), (0, 1, 2), "osD", ("-", "--", ":")
        ):
            ax.plot(
                range(len(values)),
                values,
                marker=marker,
                linestyle=style,
                color=_colour(place),
                label=name,
            )
        ax.set(ylabel=label, ylim=(-0.03, 1.06))
        ax.set_xticks(range(len(values)))
        ax.grid(axis="y", color=FAINT)
    axes[1].set_xlabel("layers")
    axes[0].legend(loc="lower right")
    fig.suptitle(title, fontsize=11)
    return axes


def copying(ridges: Sequence[float], errors: Mapping[str, Any], title: str = "") -> Axes:
    """Training (hollow, dashed) and validation error against the ridge, a colour for each way of
    using a pair's own edge.

    Parameters
    ----------
    ridges : [n]
    errors : name -> (train [n], valid [n]) RMSE, ln(uM)

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt

    ax = plt.subplots(figsize=(WIDTH, 3.9))[1]
    for (name, (train, valid)), place, marker in zip(errors.items(), (1, 0, 2), "Dos"):
        ax.plot(ridges, valid, marker=marker, color=_colour(place), label=f"{name}: valid")
        ax.plot(
            ridges,
            train,
            marker=marker,
            color=_colour(place),
            linestyle="--",
            markerfacecolor="none",
            label=f"{name}: train",
        )
    ax.set(xscale="log", xlabel="ridge λ", ylabel="RMSE, ln(µM)", title=title, ylim=(0, None))
    ax.grid(axis="y", color=FAINT)
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=2, fontsize=8)
    return ax
