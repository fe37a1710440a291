"""Molecules and their profiles: who was measured, what an embedding is made of, and what that is
worth (chapter `profiles`).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from clmt_lib.book.plotting.style import FAINT, GREY, WIDTH, stacked
from clmt_lib.book.words import reader_word

MARKERS = "osD^vP*X"


def presence(masks: Mapping[str, np.ndarray], most: int = 60) -> Axes:
    """Who has which view: a column a molecule, a row a view, filled where it is there.

    Parameters
    ----------
    masks : view -> [n] bool
    most : molecules shown, evenly spaced after sorting by what they have

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    table = np.stack([np.asarray(mask, dtype=bool) for mask in masks.values()])
    order = np.lexsort(~table[::-1])
    shown = order[np.unique(np.linspace(0, len(order) - 1, most).round().astype(int))]
    ax = plt.subplots(figsize=(WIDTH, 0.5 * len(masks) + 0.7))[1]
    for row, ((view, mask), colour) in enumerate(
        zip(masks.items(), seaborn.color_palette("colorblind"), strict=False)
    ):
        here = np.asarray(mask)[shown]
        place = np.arange(len(shown))
        ax.bar(place[here], 0.7, 0.8, row - 0.35, color=colour)
        ax.bar(place[~here], 0.7, 0.8, row - 0.35, color="none", edgecolor=FAINT, linewidth=0.6)
        ax.text(len(shown) + 0.5, row, f"{mask.mean():.0%}", va="center")
        ax.text(-1.5, row, view, va="center", ha="right")
    ax.set(ylim=(len(masks) - 0.4, -0.6), xlim=(-0.6, len(shown) + 4))
    ax.set_axis_off()
    return ax


def contents(frame: pd.DataFrame) -> Axes:
    """What vectors are made of: a stacked bar a row, shares of its variance; what is left to 1 is
    told by nothing that is known.

    Parameters
    ----------
    frame : rows are vectors, columns are kinds of states, values shares from 0 to 1

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    ax = plt.subplots(figsize=(WIDTH, 0.55 * len(frame) + 2.1))[1]
    left = np.zeros(len(frame))
    hatches = ("", "//", "..", "xx")
    for (name, values), colour, hatch in zip(
        frame.items(), seaborn.color_palette("colorblind"), hatches, strict=False
    ):
        ax.barh(
            range(len(frame)),
            values,
            0.62,
            left,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.6,
            label=name,
        )
        for row, (start, value) in enumerate(zip(left, values, strict=True)):
            if value >= 0.05:
                ax.text(
                    start + value / 2,
                    row,
                    f"{value:.0%}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.85},
                )
        left += values.to_numpy()
    ax.set_yticks(range(len(frame)), frame.index)
    ax.set(xlim=(0, 1), ylim=(len(frame) - 0.5, -0.5), xlabel="share of the variance")
    ax.xaxis.set_major_formatter("{x:.0%}")
    ax.figure.legend(loc="outside upper left")
    return ax


def worths(
    panels: Mapping[str, pd.DataFrame], label: str = "mean AUROC over assays, minus structure"
) -> np.ndarray:
    """What each set of features has over structure, a panel a table: a dot and its interval, and a
    line at nothing.

    Parameters
    ----------
    panels : title -> frame of rows, columns gain, low, high and, where it is to be written beside
        the row, auroc
    label : of the axis

    Returns
    -------
    [panels] array of axes
    """
    import seaborn

    names = list(dict.fromkeys(name for frame in panels.values() for name in frame.index))
    height = (0.6 if len(panels) > 1 else 1.2) + 0.3 * len(names)
    axes = stacked(len(panels), height, sharey=True, sharex=True)[1]
    palette = seaborn.color_palette("colorblind", len(names))
    for ax, (title, frame) in zip(axes, panels.items(), strict=True):
        ax.axvline(0, color=GREY, linestyle=":")
        for row, (name, colour) in enumerate(zip(names, palette, strict=True)):
            if name not in frame.index:
                continue
            gain, low, high = frame.loc[name, ["gain", "low", "high"]].astype(float)
            ax.plot([low, high], [row, row], color=colour, linewidth=2.2, alpha=0.7)
            ax.plot(gain, row, MARKERS[row % len(MARKERS)], color=colour, markersize=7)
            if "auroc" in frame:
                ax.text(
                    1.01,
                    row,
                    f"{frame.loc[name, 'auroc']:.3f}",
                    transform=ax.get_yaxis_transform(),
                    fontsize=8,
                    va="center",
                )
        ax.set_title(reader_word(title))
        ax.locator_params(axis="x", nbins=4)
        ax.grid(axis="x")
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    axes[-1].set_xlabel(label)
    return axes


def retrieved(frame: pd.DataFrame, k: int = 10) -> np.ndarray:
    """How often a held-out molecule's profile is among the first k, a panel a feature space; the
    dotted line is chance.

    Parameters
    ----------
    frame : a row a space and method, columns space, method, hit, low, high, chance

    Returns
    -------
    [spaces] array of axes
    """
    import seaborn

    spaces = list(dict.fromkeys(frame["space"]))
    methods = list(dict.fromkeys(frame["method"]))
    axes = stacked(len(spaces), 0.8 + 0.26 * len(methods), sharey=True)[1]
    colours = dict(zip(methods, seaborn.color_palette("colorblind", len(methods)), strict=True))
    for ax, space in zip(axes, spaces, strict=True):
        here = frame[frame["space"] == space].set_index("method")
        ax.axvline(here["chance"].iloc[0], color=GREY, linestyle=":")
        for row, method in enumerate(methods):
            if method not in here.index:
                continue
            hit, low, high = here.loc[method, ["hit", "low", "high"]].astype(float)
            ax.plot([low, high], [row, row], color=colours[method], linewidth=2.2, alpha=0.7)
            ax.plot(hit, row, MARKERS[row % len(MARKERS)], color=colours[method], markersize=7)
        ax.set(title=reader_word(space), xlim=(0, None))
        ax.xaxis.set_major_formatter("{x:.0%}")
        ax.grid(axis="x")
    axes[0].set_yticks(range(len(methods)), methods)
    axes[0].set_ylim(len(methods) - 0.5, -0.5)
    axes[-1].set_xlabel(f"profile among the first {k}")
    return axes


def differences(frame: pd.DataFrame, label: str, band: Sequence[float] | None = None) -> Axes:
    """Differences to a base with their intervals, a row each; the grey band is what another seed
    does.

    Parameters
    ----------
    frame : index names, columns difference, low, high
    label : of the axis
    band : (low, high) of a difference that is luck

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    ax = plt.subplots(figsize=(WIDTH, 0.34 * len(frame) + 1.0))[1]
    if band is not None:
        ax.axvspan(*band, color=FAINT, linewidth=0)
    ax.axvline(0, color=GREY, linestyle=":")
    colour = seaborn.color_palette("colorblind")[0]
    for row, (_, values) in enumerate(frame.iterrows()):
        ax.plot([values["low"], values["high"]], [row, row], color=colour, linewidth=2, alpha=0.7)
        ax.plot(values["difference"], row, "o", color=colour)
    names = [str(name).replace("_", " ").removeprefix("defect: ") for name in frame.index]
    ax.set_yticks(range(len(frame)), names)
    ax.set(xlabel=label, ylim=(len(frame) - 0.5, -0.5))
    ax.locator_params(axis="x", nbins=5)
    ax.grid(axis="x")
    return ax


def curve(frame: pd.DataFrame, to: float | None = None, label: str = "profile found") -> Axes:
    """A score against the number of pairs, a line a method; where `to` is given, each line goes on,
    dashed and faint, as a straight line in the logarithm of the number: an extrapolation.

    Parameters
    ----------
    frame : columns method, pairs, score, low, high
    to : number of pairs to draw on to

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    ax = plt.subplots(figsize=(WIDTH, 3.6))[1]
    for (method, rows), colour, marker in zip(
        frame.groupby("method", sort=False), seaborn.color_palette("colorblind"), MARKERS
    ):
        x, y = rows["pairs"].to_numpy(float), rows["score"].to_numpy(float)
        ax.vlines(x, rows["low"], rows["high"], color=colour, linewidth=2, alpha=0.5)
        ax.plot(x, y, marker + "-", color=colour, label=method)
        if to is not None and len(x) > 2:
            slope, start = np.polyfit(np.log(x), y, 1)
            on = np.geomspace(x[-1], to, 20)
            ax.plot(on, start + slope * np.log(on), "--", color=colour, alpha=0.5, linewidth=1.2)
    ax.set(xscale="log", xlabel="molecules with a profile in training", ylabel=label)
    ax.legend()
    return ax


def beside_printed(frame: pd.DataFrame, label: str = "mean AUROC") -> np.ndarray:
    """What was measured beside what is printed, a panel for each table, the best row on top: filled
    where measured here, hollow where printed.

    Parameters
    ----------
    frame : columns table, row, value, printed (bool)
    label : of the axes; a table whose values are errors has "error" in its name

    Returns
    -------
    [tables] array of axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    tables = frame.groupby("table", sort=False)
    rows = [len(part) for _, part in tables]
    size = (WIDTH, 0.21 * sum(rows) + 0.7 * len(rows))
    axes = plt.subplots(len(rows), 1, figsize=size, squeeze=False, height_ratios=rows)[1][:, 0]
    ours, printed = seaborn.color_palette("colorblind")[:2]
    for ax, (name, part) in zip(axes, tables, strict=True):
        error = "error" in str(name)
        part = part.sort_values("value", ascending=error, kind="stable")
        for y, (_, row) in enumerate(part.iterrows()):
            colour, fill = (printed, "none") if row["printed"] else (ours, ours)
            ax.plot(row["value"], y, "o", color=colour, markerfacecolor=fill)
        ax.set_yticks(range(len(part)), part["row"])
        ax.set_ylim(len(part) - 0.5, -0.5)
        ax.set_title(f"{name} (hollow: printed)", loc="left")
        ax.grid(axis="x")
    axes[-1].set_xlabel(label)
    return axes
