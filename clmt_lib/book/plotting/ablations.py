"""Studies: what each variant changed, as forests of paired differences (chapter 07)."""

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from clmt_lib import tasks
from clmt_lib.book.plotting.style import GREY, WIDTH, stacked
from clmt_lib.book.words import spelt
from clmt_lib.records.studies import verdicts

AXES = {  # metric -> label
    "rmse": "RMSE, variant − base, ln(µM)",
    "pcc": "global r, variant − base",
    "pcc_per_drug": "per-drug r, variant − base",
}
BETTER, WORSE, QUIET = (0, "o"), (1, "D"), (None, "s")  # place in the colour-blind palette, marker


def study(
    frame: pd.DataFrame,
    names: Mapping[str, str] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Any:
    """Forest of a study: a row for each variant, dot and 95 % interval of variant minus base, zero
    line, direction of "better", seeds and folds on which it was better.

    Parameters
    ----------
    frame : rows as `records.study` gives them; rows that differ in dataset, split or name get
        panels of their own
    names : variant -> what a reader sees; None writes its name with spaces
    ax : axes to draw into, for rows of one panel; None makes a figure

    Returns
    -------
    [panels] array of axes. A variant that is better is a blue dot, one that is worse an orange
    diamond, one equivalent to the base a full grey square; where no difference was found, or folds
    are too few to say so, the square is hollow (`records.verdicts`).
    """
    if not len(frame):
        return _nothing_yet(ax, title)
    panels = dict(list(frame.groupby(["dataset", "split", "name"], sort=False)))
    variants = list(dict.fromkeys(frame["variant"]))
    if ax is not None and len(panels) > 1:
        raise ValueError(
            f"{len(panels)} panels cannot share one axes: choose one dataset, split and name, "
            "or leave out ax"
        )
    axes = _axes(len(panels), len(variants), title) if ax is None else np.array([ax])
    if ax is not None:
        ax.set_title(title, fontsize=11)
    for panel, ((dataset, split, name), rows) in zip(axes, panels.items(), strict=True):
        _panel(panel, rows.set_index("variant"), variants)
        if len(panels) > 1:
            where = f"{split.replace('_', '-')}, " if frame["split"].nunique() > 1 else ""
            panel.set_title(
                f"{where}{name.replace('_', ' ')}"
                if name
                else f"{spelt(dataset)}, {split.replace('_', '-')}",
                fontsize=10,
            )
    axes[0].set_yticks(
        range(len(variants)),
        [(names or {}).get(variant, variant.replace("_", " ")) for variant in variants],
    )
    axes[0].set_ylim(len(variants) - 0.4, -0.9)
    _one_scale(axes, frame)
    if frame["metric"].nunique() == 1:
        for panel in axes[:-1]:
            panel.set_xlabel("")
    return axes


def _axes(panels, rows, title):
    """[panels] axes of a new figure, one above another."""
    fig, axes = stacked(panels, 0.95 + 0.27 * rows + 0.4 / panels, sharey=True)
    fig.suptitle(fill(title, 46), fontsize=11)
    return axes


def _panel(ax, rows, variants):
    """The rows of one dataset and split."""
    import seaborn

    metric = rows["metric"].iloc[0]
    label, up, said = AXES[metric], tasks.find(metric).higher_is_better, verdicts(rows)
    for place, variant in enumerate(variants):
        if variant not in rows.index:
            continue
        row = rows.loc[variant]
        word = said[variant]
        colour, marker = {"better": BETTER, "worse": WORSE}.get(word, QUIET)
        colour = GREY if colour is None else seaborn.color_palette("colorblind")[colour]
        ax.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.2, alpha=0.7)
        ax.plot(
            row["difference"],
            place,
            marker,
            color=colour,
            markersize=6,
            markerfacecolor=colour if word in ("better", "worse", "equivalent") else "none",
        )
        ax.annotate(
            f"{row['folds_better']:.0f}/{row['folds']:.0f}",
            (1.02, place),
            xycoords=("axes fraction", "data"),
            fontsize=8.5,
            va="center",
            annotation_clip=False,
        )
    ax.annotate(
        "better",
        (1.02, -0.65),
        xycoords=("axes fraction", "data"),
        fontsize=8.5,
        va="center",
        annotation_clip=False,
    )
    ax.axvline(0, color=GREY, linewidth=1)
    ax.set_xlabel(f"{label}\n{'worse ←   → better' if up else 'better ←   → worse'}")
    ax.locator_params(axis="x", nbins=4)
    ax.grid(axis="x")


def _one_scale(axes, frame):
    """The same limits for all panels of one metric, so that lengths can be compared."""
    for metric in frame["metric"].unique():
        rows = frame[frame["metric"] == metric]
        low, high = min(rows["low"].min(), 0), max(rows["high"].max(), 0)
        low, high = min(low, -0.02 * (high - low)), max(high, 0.02 * (high - low))
        for ax in axes:
            if ax.get_xlabel().startswith(AXES[metric]):
                ax.set_xlim(low - 0.06 * (high - low), high + 0.06 * (high - low))


def _nothing_yet(ax, title):
    """An empty panel that says why it is empty."""
    import matplotlib.pyplot as plt

    ax = ax or plt.subplots(figsize=(7, 1))[1]
    ax.annotate(
        "this study has no record yet: `clmt study` makes it",
        (0.5, 0.5),
        xycoords="axes fraction",
        ha="center",
        va="center",
    )
    ax.set_title(title, fontsize=11)
    ax.set_axis_off()
    return np.array([ax])


def run_history(history: pd.DataFrame, title: str = "", ax: Axes | None = None) -> Axes:
    """Learning curve: the score on the validation set and each part of the loss against steps, on a
    logarithmic axis; members share a colour.

    Parameters
    ----------
    history : frame of `step`, optionally `member` and `valid`, and one column for each part of the
        loss; empty for a model that does not train

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    ax = ax or plt.subplots(figsize=(WIDTH, 3.2))[1]
    ax.set_title(title, fontsize=9)
    if not len(history) or "step" not in history:
        ax.annotate(
            "this model has no learning curve", (0.5, 0.5), xycoords="axes fraction", ha="center"
        )
        ax.set_axis_off()
        return ax
    parts = [
        name
        for name in history.columns
        if name not in ("step", "member") and history[name].abs().max() > 0
    ]
    members = [rows for _, rows in history.groupby("member")] if "member" in history else [history]
    for place, (name, marker) in enumerate(zip(parts, "osD^vP*X" * 9)):
        for number, rows in enumerate(members):
            style = {
                "color": seaborn.color_palette("colorblind")[place % 10],
                "marker": marker,
                "markersize": 3,
            }
            ax.plot(rows["step"], rows[name], label=None if number else name, **style)
    if (history[parts] > 0).all(axis=None):
        ax.set_yscale("log")
    ax.set(xlabel="step", ylabel="value")
    ax.legend(fontsize=8)
    return ax


KINDS = {"leak": ("o", 1), "chance": ("D", 4), "lost": ("s", 0)}  # kind -> marker, place in palette


def switches(stages: Mapping[str, Mapping[str, str]], ax: Axes | None = None) -> Axes:
    """Where the switches of a published code act: stages of the pipeline one below the other, each
    switch with a mark for its kind.

    Parameters
    ----------
    stages : stage -> switch -> one of `KINDS`
    """
    import matplotlib.pyplot as plt
    import seaborn

    palette = seaborn.color_palette("colorblind")
    rows = sum(map(len, stages.values()))
    ax = ax or plt.subplots(figsize=(5.6, 0.27 * (rows + len(stages)) + 0.7))[1]
    y = 0.0
    for stage, held in stages.items():
        ax.text(0.0, y + (len(held) - 1) / 2, stage, va="center", fontweight="bold")
        ax.plot([0.30, 0.30], [y - 0.45, y + len(held) - 0.55], color=GREY, linewidth=1)
        for name, kind in held.items():
            marker, place = KINDS[kind]
            ax.plot(0.36, y, marker=marker, color=palette[place], markersize=8)
            ax.text(0.41, y, name.replace("_", " "), va="center")
            y += 1
        y += 0.8
    for kind, (marker, place) in KINDS.items():
        ax.plot([], [], marker, color=palette[place], markersize=8, label=kind)
    ax.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=len(KINDS))
    ax.set(xlim=(0, 1), ylim=(y - 0.9, -0.8))
    ax.set_axis_off()
    return ax
