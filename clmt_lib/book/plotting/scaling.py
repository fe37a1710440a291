"""What a step costs, how cost grows, and who runs when (chapter 14)."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from clmt_lib.book.plotting.style import FAINT, GREY, WIDTH, display_name, look

MARKS = (("o", "-"), ("s", "--"), ("D", "-."), ("^", ":"), ("P", "-"))


def _palette():
    import seaborn

    return seaborn.color_palette("colorblind")


def two_ways(pairs: np.ndarray, n_cells: int, n_drugs: int) -> np.ndarray:
    """The same pairs computed twice: encoders drawn as squares, one couple a pair on the left, one
    an entity on the right; a dot is the small work a pair always costs.

    Parameters
    ----------
    pairs : [n, 2] positions (cell, drug)

    Returns
    -------
    [2] array of axes
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(2, 1, figsize=(WIDTH, 7.4))
    blue, orange = _palette()[0], _palette()[1]
    rows = -(-len(pairs) // 2)
    for number, (cell, drug) in enumerate(pairs):  # two columns of couples
        x, y = 4.2 * (number // rows), number % rows
        _square(axes[0], x, y, blue, f"{cell + 1}")
        _square(axes[0], x + 1, y, orange, "ABCDEFGHIJ"[drug])
        axes[0].plot([x + 1.9], [y], ".", color=GREY, markersize=9)
    for cell in range(n_cells):
        _square(axes[1], 0, cell + 1.2, blue, f"{cell + 1}")
    for drug in range(n_drugs):
        _square(axes[1], drug + 1.2, 0, orange, "ABCDEFGHIJ"[drug])
    axes[1].plot(
        np.asarray(pairs)[:, 1] + 1.2,
        np.asarray(pairs)[:, 0] + 1.2,
        ".",
        color=GREY,
        markersize=9,
        linestyle="none",
    )
    axes[0].set_title(f"every pair its own: {2 * len(pairs)} encodings, {len(pairs)} pairs")
    axes[1].set_title(f"every entity once: {n_cells + n_drugs} encodings, {len(pairs)} pairs")
    for ax in axes:
        ax.set_aspect("equal")
        ax.invert_yaxis()
        ax.set_axis_off()
        ax.autoscale_view()
    return axes


def _square(ax, x, y, colour, text):
    from matplotlib.patches import Rectangle

    ax.add_patch(
        Rectangle((x - 0.42, y - 0.42), 0.84, 0.84, facecolor=colour, edgecolor="none", alpha=0.85)
    )
    ax.text(x, y, text, ha="center", va="center", fontsize=8, color="white", fontweight="bold")


def parts(
    values: Mapping[str, float],
    title: str = "",
    label: str = "share of the time",
    unit: str = "ms",
    scale: float = 1000.0,
    ax: Axes | None = None,
) -> Axes:
    """One bar a part, longest on top, with its share and its own length.

    Parameters
    ----------
    values : name -> seconds (or another amount); `scale` and `unit` say how the amount is written

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt

    ax = ax or plt.subplots(figsize=(WIDTH, 0.8 + 0.34 * len(values)))[1]
    names = sorted(values, key=lambda name: values[name])
    share = np.array([values[name] for name in names]) / sum(values.values())
    ax.barh(names, share, color=_palette()[0], height=0.7, linewidth=0)
    for row, name in enumerate(names):
        amount = scale * values[name]
        ax.annotate(
            f"{share[row]:.0%}, {amount:,.{0 if amount >= 100 else 1 if amount >= 10 else 2}f} "
            f"{unit}",
            (share[row], row),
            (5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
        )
    ax.set(xlabel=label, title=title)
    ax.set_xticks([tick for tick in ax.get_xticks() if 0 <= tick <= 1.0001])
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.set_xlim(0, 1.3 * share.max())
    return ax


def growth(
    series: Mapping[str, Any],
    xlabel: str,
    ylabel: str,
    title: str = "",
    slope: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Amounts against size, both on logarithmic axes: a straight line is a power law, and its slope
    the exponent.

    Parameters
    ----------
    series : name -> (sizes, amounts)
    slope : draws a faint line of this slope through the first point of the first series, with the
        slope at its end

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt

    ax = ax or plt.subplots(figsize=(WIDTH, 3.6))[1]
    for (name, (x, y)), place, (marker, dash) in zip(
        series.items(), (0, 1, 2, 4, 3), MARKS, strict=False
    ):
        ax.plot(
            x,
            y,
            dash,
            marker=marker if len(x) < 20 else None,
            markersize=6,
            color=_palette()[place],
            label=name,
        )
    ax.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel, title=title)
    if slope is not None:
        first = next(iter(series.values()))
        x = np.array([first[0][0], max(max(x) for x, _ in series.values())], dtype=float)
        low, high = ax.get_ylim()
        ax.plot(
            x, first[1][0] * (x / x[0]) ** slope, color=FAINT, zorder=0, label=f"slope {slope:g}"
        )
        ax.set_ylim(low, max(high, min(first[1][0] * (x[1] / x[0]) ** slope, 4 * high)))
    ax.grid(which="major", color=FAINT)
    ax.legend()
    return ax


def speeds(
    values: Mapping[str, float],
    label: str,
    base: str | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """One dot a way of computing on a logarithmic axis, with its value and how many times the base
    it is.

    Parameters
    ----------
    values : name -> amount a second; base : the name that others are compared with

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt

    ax = ax or plt.subplots(figsize=(WIDTH, 0.9 + 0.42 * len(values)))[1]
    for row, (name, value) in enumerate(values.items()):
        ax.plot(
            value,
            row,
            MARKS[row % len(MARKS)][0],
            color=_palette()[(7 if name == base else 0)],
            markersize=9,
        )
        times = f"  ({value / values[base]:,.0f} x)" if base is not None and name != base else ""
        ax.annotate(
            f"{value:,.0f}{times}",
            (value, row),
            (9, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    ax.set_yticks(range(len(values)), list(values))
    low, high = min(values.values()), max(values.values())
    ax.set(
        xscale="log",
        xlabel=label,
        title=title,
        ylim=(len(values) - 0.5, -0.5),
        xlim=(low / 1.6, high * (high / low) ** 0.35 * 1.5),
    )
    ax.grid(axis="x", color=FAINT)
    return ax


def not_yet(command: str) -> Axes:
    """In place of a figure whose record is not there: the command that makes it. Returns axes."""
    import matplotlib.pyplot as plt

    ax = plt.subplots(figsize=(WIDTH, 0.9))[1]
    ax.text(0.5, 0.5, f"not measured yet:  {command}", ha="center", va="center", family="monospace")
    ax.set_axis_off()
    return ax


def race(
    series: Mapping[str, Any], xlabel: str, ylabel: str, title: str = "", ax: Axes | None = None
) -> Axes:
    """A line a competitor: what it had reached after how long.

    Parameters
    ----------
    series : name -> (time, value)

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt

    ax = ax or plt.subplots(figsize=(WIDTH, 3.2))[1]
    for (name, (x, y)), place, (marker, dash) in zip(
        series.items(), (0, 1, 2, 4), MARKS, strict=False
    ):
        ax.plot(x, y, dash, marker=marker, markersize=5, color=_palette()[place], label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.grid(color=FAINT)
    ax.legend()
    return ax


def lanes(jobs: Sequence[tuple], workers: int, title: str = "", ax: Axes | None = None) -> Axes:
    """Who runs when: a row a worker, a bar a run.

    Parameters
    ----------
    jobs : [(start, seconds, worker, kind)]; one colour a kind

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt

    ax = ax or plt.subplots(figsize=(WIDTH, 1.5 + 0.36 * workers))[1]
    kinds = sorted({kind for *_, kind in jobs})  # the same colours whatever the order of the runs
    for number, kind in enumerate(kinds):
        mine = [job for job in jobs if job[3] == kind]
        ax.barh(
            [job[2] for job in mine],
            [job[1] for job in mine],
            left=[job[0] for job in mine],
            height=0.72,
            color=_palette()[(0, 1, 2, 4, 5, 7)[number % 6]],
            edgecolor=GREY,
            linewidth=0.6,
            hatch=("", "//", "..", "xx", "--", "++")[number % 6],
            label=kind,
        )
    ax.set_yticks(range(workers), [f"worker {number + 1}" for number in range(workers)])
    ax.set(xlabel="seconds", title=title, ylim=(workers - 0.5, -0.5))
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.3), ncols=2)
    return ax


def time_to_accuracy(
    rungs: Mapping[str, tuple[float, float]],
    curve: Any,
    target: float,
    title: str = "",
    names: Collection[str] = (),
    ax: Axes | None = None,
) -> Axes:
    """Valid RMSE against the seconds it took: a point a rung, a line for the model while it trains,
    and the level to be reached.

    Parameters
    ----------
    rungs : name -> (seconds, valid RMSE); curve : (seconds, valid RMSE) of the model, or None
    target : valid RMSE to be reached; names : rungs that are named in the figure (all, if empty)

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt

    ax = ax or plt.subplots(figsize=(WIDTH, 4))[1]
    for name, (seconds, value) in rungs.items():
        _, colour, marker = look(name)
        ax.plot(max(seconds, 0.1), value, marker, color=colour, markersize=9)
        if not names or name in names:
            ax.annotate(
                display_name(name),
                (max(seconds, 0.1), value),
                (7, 5),
                textcoords="offset points",
                fontsize=8.5,
                color=colour,
            )
    if curve is not None:
        ax.plot(*curve, color=look("clmt")[1], label="CLMT while it trains")
    ax.axhline(target, color=GREY, linestyle="--", label="to be reached")
    ax.set(
        xscale="log",
        xlabel="processor seconds of fitting (logarithmic)",
        ylabel="valid RMSE, ln(µM)  ← better",
        title=title,
    )
    ax.grid(color=FAINT)
    ax.figure.legend(loc="outside lower center", ncols=2)
    return ax
