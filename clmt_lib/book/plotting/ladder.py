"""Models side by side: the ladder, paired differences, one drug after another (chapter 08)."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from clmt_lib import tasks
from clmt_lib.book.plotting.style import (
    FAINT,
    GREY,
    LABELS,
    WIDTH,
    display_name,
    look,
    plain,
    seconds,
)
from clmt_lib.book.words import spelt


def ladder(
    frame: pd.DataFrame,
    metrics: Sequence[str] = ("rmse", "pcc_per_drug"),
    title: str = "",
    chance: Mapping[str, float] | None = None,
    reference: Mapping[str, float] | None = None,
) -> Axes:
    """Rungs from bottom to top of the ladder, one panel a metric; bars are intervals; fit seconds
    and folds stand at the right.

    Parameters
    ----------
    frame : [rungs] frame as `records.ladder` gives it: `<metric>`, optionally `<metric>_low` and
        `<metric>_high`, `seconds`, `folds`
    chance : metric -> value of a guess that knows nothing, drawn as a dotted line
    reference : metric -> value of a second measurement, drawn as a dashed line

    Returns
    -------
    [metrics] array of axes. A rung with fewer folds than the others is drawn hollow: its mean is
    over other test sets. A rung far behind is an arrow at the edge.
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(
        1,
        len(metrics),
        figsize=(WIDTH if "folds" not in frame else 6.8, 1.1 + 0.27 * len(frame)),
        sharey=True,
        squeeze=False,
    )
    most = frame["folds"].max() if "folds" in frame else None
    for ax, metric in zip(axes[0], metrics, strict=True):
        left, right = _focus(frame, metric)
        for row, (rung, values) in enumerate(frame.iterrows()):
            _rung(
                ax,
                values,
                metric,
                row,
                look(rung),
                (left, right),
                hollow=most is not None and values["folds"] < most,
            )
        if chance and left < chance.get(metric, np.nan) < right:
            ax.axvline(chance[metric], color=GREY, linestyle=":", linewidth=1.2)
        if reference and metric in reference:
            ax.axvline(reference[metric], color=GREY, linestyle="--", linewidth=1.2)
            left, right = min(left, reference[metric] - 0.01), max(right, reference[metric] + 0.01)
        ax.set(xlim=(left, right), xlabel=LABELS.get(metric, metric).replace("  ", "\n"))
        ax.locator_params(axis="x", nbins=4)
        ax.grid(axis="x")
    axes[0][0].set_yticks(range(len(frame)), [display_name(rung) for rung in frame.index])
    axes[0][0].set_ylim(len(frame) - 0.4, -0.6)
    _margin(axes[0][-1], frame)
    _families(fig, frame.index)
    fig.suptitle(title, fontsize=11)
    return axes[0]


def _rung(ax, values, metric, row, look, limits, hollow):
    """One dot with its interval; a rung off the scale is an arrow at the edge, with its value."""
    (_, colour, marker), (left, right), value = look, limits, values[metric]
    room = 0.02 * (right - left)
    if not left + room <= value <= right - room:
        edge, arrow, align = (left, "◂ ", "left") if value < left else (right, " ▸", "right")
        text = f"{arrow}{value:.2f}" if align == "left" else f"{value:.2f}{arrow}"
        return ax.annotate(text, (edge, row), color=colour, fontsize=8.5, va="center", ha=align)
    if f"{metric}_low" in values:
        ax.plot(
            [values[f"{metric}_low"], values[f"{metric}_high"]],
            [row, row],
            color=colour,
            linewidth=2.2,
            alpha=0.6,
            solid_capstyle="butt",
        )
    size = 9 if marker == "*" else 6
    return ax.plot(
        value,
        row,
        marker,
        color=colour,
        markersize=size,
        markerfacecolor="none" if hollow else colour,
    )


def _focus(frame, metric):
    """Limits that show the rungs worth telling apart: those not much further from the best than
    half of them are.
    """
    values = frame[metric].astype(float)
    gap = (values - (values.max() if tasks.find(metric).higher_is_better else values.min())).abs()
    near = frame[gap <= max(3 * gap.median(), 1e-3)]
    low, high = (near.get(f"{metric}_{side}", near[metric]) for side in ("low", "high"))
    pad = 0.06 * max(high.max() - low.min(), 1e-3)
    return low.min() - pad, high.max() + pad


def _margin(ax, frame):
    """Seconds per fit and number of folds, right of the last panel."""
    columns = [
        (column, write)
        for column, write in (("seconds", seconds), ("folds", lambda n: f"{n:.0f}"))
        if column in frame
    ]
    for place, (column, write) in enumerate(columns):
        cells = [
            (-0.6, {"seconds": "fit"}.get(column, column), "bottom"),
            *((row, write(value), "center") for row, value in enumerate(frame[column])),
        ]
        for row, text, align in cells:
            ax.annotate(
                text,
                (1, row),
                xycoords=("axes fraction", "data"),
                xytext=(6 + 40 * place, 0),
                textcoords="offset points",
                fontsize=8.5,
                va=align,
                annotation_clip=False,
            )


def _families(fig, rungs):
    from matplotlib.lines import Line2D

    found = dict.fromkeys(look(rung) for rung in rungs)
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", label=family)
        for family, colour, marker in found
    ]
    fig.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles) if len(handles) < 5 else -(-len(handles) // 2),
        columnspacing=1.0,
        handletextpad=0.2,
    )


def paired(
    frame: pd.DataFrame, label: str = "", ax: Axes | None = None, larger_is_better: bool = True
) -> Axes:
    """Forest plot of paired differences: dot and interval a row, a line at zero, the number of
    folds at the right.

    Parameters
    ----------
    frame : index what is compared; columns mean, low, high, optionally folds
    label : of the axis
    larger_is_better : whether a difference above zero is a gain

    Returns
    -------
    axes. A gain is a blue dot, a loss an orange diamond; an interval that holds zero is drawn grey
    and hollow: a tie.
    """
    import matplotlib.pyplot as plt
    import seaborn

    label = fill(label, 24 if ax else 44)  # one of several panels is narrow
    names = [fill(spelt(plain(name)), 34) for name in frame.index]
    step = 0.38 if max((name.count("\n") for name in names), default=0) < 2 else 0.5
    ax = ax or plt.subplots(figsize=(WIDTH, 0.9 + step * len(frame)))[1]
    for row, (_, values) in enumerate(frame.iterrows()):
        tie = values["low"] <= 0 <= values["high"]
        gain = tie or (values["low"] > 0) == larger_is_better
        colour = GREY if tie else seaborn.color_palette("colorblind")[0 if gain else 1]
        ax.plot([values["low"], values["high"]], [row, row], color=colour, linewidth=2.2, alpha=0.7)
        ax.plot(
            values["mean"],
            row,
            "o" if gain else "D",
            color=colour,
            markerfacecolor="none" if tie else colour,
        )
    ax.axvline(0, color=GREY, linewidth=1)
    ax.set_yticks(range(len(frame)), names)
    ax.set_ylim(len(frame) - 0.4, -0.6)
    ax.set_xlabel(label)
    ax.locator_params(axis="x", nbins=5)
    ax.grid(axis="x")
    if "folds" in frame:
        _margin(ax, frame[["folds"]])
    return ax


def by_drug(
    measured: np.ndarray,
    predicted: np.ndarray,
    drug: np.ndarray,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Measured against predicted, one colour and marker a drug, with the line through each drug's
    own points.

    Parameters
    ----------
    measured, predicted, drug : [pairs] ln IC50 (ln uM), ln IC50 (ln uM), label

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    ax = ax or plt.subplots(figsize=(WIDTH, 3.6))[1]
    measured, predicted, drug = map(np.asarray, (measured, predicted, drug))
    for place, (label, marker) in enumerate(zip(dict.fromkeys(drug.tolist()), "osD^vP*X" * 99)):
        y, p, colour = (
            measured[drug == label],
            predicted[drug == label],
            seaborn.color_palette("colorblind")[place % 10],
        )
        ax.plot(p, y, marker, color=colour, alpha=0.75, markersize=5, label=plain(label))
        if np.ptp(p) > 1e-9:
            ends = np.array([p.min(), p.max()])
            ax.plot(ends, np.polyval(np.polyfit(p, y, 1), ends), color=colour)
    ax.set(xlabel="predicted ln(IC50)", ylabel="measured ln(IC50)", title=plain(title))
    ax.legend(fontsize=8, handletextpad=0.1)
    return ax


def before_after(
    before: np.ndarray,
    after: np.ndarray,
    names: Sequence[str],
    label: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Two columns of dots, each pair joined by a line: what a choice seemed worth, and what it was
    worth on fresh data.

    Parameters
    ----------
    before, after : [n] the same quantity, seen twice
    names : of the two columns

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    ax = ax or plt.subplots(figsize=(WIDTH, 3.2))[1]
    blue, orange = (seaborn.color_palette("colorblind")[i] for i in (0, 1))
    for a, b in zip(before, after, strict=True):
        ax.plot([0, 1], [a, b], color=FAINT)
    for x, values, colour, marker in ((0, before, orange, "D"), (1, after, blue, "o")):
        ax.plot(np.full(len(values), x), values, marker, color=colour, alpha=0.85)
        ax.plot([x - 0.12, x + 0.12], [np.mean(values)] * 2, color=colour, linewidth=3)
    ax.axhline(0, color=GREY, linewidth=1)
    ax.set_xticks([0, 1], names)
    ax.set(xlim=(-0.4, 1.4), ylabel=label)
    return ax
