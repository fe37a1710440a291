"""Studies: what each variant changed, as forests of paired differences (chapter 07)."""

import numpy as np

from clmt_lib.plotting.style import FAINT, GREY

CONTROL = "another_seed"  # the variant in which nothing but the seed differs
AXES = {  # metric -> (label, whether a larger value is better)
    "rmse": ("RMSE, variant − base, ln(µM)", False), "pcc": ("global r, variant − base", True), "pcc_per_drug": ("per-drug r, variant − base", True),
}
BETTER, WORSE, TIE = (0, "o"), (1, "D"), (None, "s")  # place in the colour-blind palette, marker


def study(frame, names=None, title="", ax=None):
    """Forest of a study: a row for each variant, dot and 95 % interval of variant minus base, zero line, direction of "better", seeds and folds on which it was better.

    Parameters
    ----------
    frame : rows as `records.study` gives them; rows that differ in dataset, split or name get panels of their own
    names : variant -> what a reader sees; None writes its name with spaces
    ax : axes to draw into, for rows of one panel; None makes a figure

    Returns
    -------
    [panels] array of axes. A variant that is better is a blue dot, one that is worse an orange diamond, a tie (the interval holds zero) a hollow grey square.
    The interval of the variant `another_seed` is also drawn as a band through all rows: the size of nothing.
    """
    import matplotlib.pyplot as plt

    if not len(frame):
        return _nothing_yet(ax, title)
    panels = dict(list(frame.groupby(["dataset", "split", "name"], sort=False)))
    variants = list(dict.fromkeys(frame["variant"]))
    if ax is not None and len(panels) > 1:
        raise ValueError(f"{len(panels)} panels cannot share one axes: choose one dataset, split and name, or leave out ax")
    if ax is None:
        fig, axes = plt.subplots(1, len(panels), figsize=(max(7, 2.2 + 3.1 * len(panels)), 1.3 + 0.3 * len(variants)), sharey=True, squeeze=False)
        fig.suptitle(title, fontsize=11)
    else:
        axes = np.array([[ax]])
        ax.set_title(title, fontsize=11)
    for panel, ((dataset, split, name), rows) in zip(axes[0], panels.items(), strict=True):
        _panel(panel, rows.set_index("variant"), variants)
        if len(panels) > 1:
            panel.set_title(name or f"{dataset}, {split.replace('_', '-')}", fontsize=10)
    labels = [(names or {}).get(variant, variant.replace("_", " ")) for variant in variants]
    axes[0][0].set_yticks(range(len(variants)), labels)
    axes[0][0].set_ylim(len(variants) - 0.4, -0.9)
    return axes[0]


def _panel(ax, rows, variants):
    """The rows of one dataset and split."""
    import seaborn

    metric = rows["metric"].iloc[0]
    label, up = AXES[metric]
    if CONTROL in rows.index:
        ax.axvspan(rows.loc[CONTROL, "low"], rows.loc[CONTROL, "high"], color=FAINT, linewidth=0)
    for place, variant in enumerate(variants):
        if variant not in rows.index:
            continue
        row = rows.loc[variant]
        tie = row["low"] <= 0 <= row["high"]
        colour, marker = TIE if tie else BETTER if (row["difference"] > 0) == up else WORSE
        colour = GREY if colour is None else seaborn.color_palette("colorblind")[colour]
        ax.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.2, alpha=0.7)
        ax.plot(row["difference"], place, marker, color=colour, markersize=6, markerfacecolor="none" if tie else colour)
        ax.annotate(f"{row['folds_better']:.0f}/{row['folds']:.0f}", (1.02, place), xycoords=("axes fraction", "data"), fontsize=8.5, va="center", annotation_clip=False)
    ax.annotate("better", (1.02, -0.65), xycoords=("axes fraction", "data"), fontsize=8.5, va="center", annotation_clip=False)
    ax.axvline(0, color=GREY, linewidth=1)
    ax.set_xlabel(f"{label}\n{'worse ←   → better' if up else 'better ←   → worse'}")
    ax.margins(x=0.08)
    ax.grid(axis="x")


def _nothing_yet(ax, title):
    """An empty panel that says why it is empty."""
    import matplotlib.pyplot as plt

    ax = ax or plt.subplots(figsize=(7, 1))[1]
    ax.annotate("this study has no record yet: `clmt study` makes it", (0.5, 0.5), xycoords="axes fraction", ha="center", va="center")
    ax.set_title(title, fontsize=11)
    ax.set_axis_off()
    return np.array([ax])
