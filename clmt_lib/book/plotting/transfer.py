"""From one laboratory to another: kinds of new pairs, scores beside their ceiling (chapter
09d); a reader's own drugs and lines (chapter "Your own drugs and lines").
"""

from collections.abc import Mapping, Sequence
from textwrap import fill
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

KINDS = {  # category -> what a reader sees, place in the colour-blind palette
    "seen": ("pair seen in training", 7),
    "new_pair": ("new pair", 0),
    "new_line": ("new line", 2),
    "new_drug": ("new drug", 1),
    "new_both": ("new line and new drug", 4),
}
CEILING = "the source's own measurement"
AXIS = "per-drug ρ with the other laboratory  → better"


def kinds_of_new(joined: Any, fold: int = 0) -> Axes:
    """Lines by drugs: what is trained on (grey), and each pair that the target measured, coloured
    by what training knows of it.

    Parameters
    ----------
    joined : data.response.transfer.Transfer

    Returns
    -------
    axes. Lines and drugs are sorted: known to the source alone, to both and kept, to both and held
    out, to the target alone.
    """
    import matplotlib.pyplot as plt
    import seaborn
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Patch

    split, (category, origin) = joined.split(fold, "seen"), joined.categories(fold)
    picture = np.zeros((joined.benchmark.n_cells, joined.benchmark.n_drugs, 4))
    picture[tuple(joined.benchmark.pairs[np.concatenate([split.train, split.valid])].T)] = to_rgba(
        GREY, 0.28
    )
    palette, handles = (
        seaborn.color_palette("colorblind"),
        [Patch(color=FAINT, label="trained on, not asked")],
    )
    for kind, (label, place) in KINDS.items():
        colour = GREY if kind == "seen" else palette[place]
        for name, strength in (("held_out", 1.0), ("natural", 0.5)):
            picture[tuple(joined.pairs[(category == kind) & (origin == name)].T)] = to_rgba(
                colour, strength
            )
        handles.append(Patch(color=colour, label=label))
    lines, drugs = _sorted(joined, fold)
    fig, ax = plt.subplots(figsize=(WIDTH, 4.6))
    ax.imshow(picture[np.ix_(lines, drugs)], aspect="auto", interpolation="nearest")
    ax.set(
        xticks=[],
        yticks=[],
        xlabel="drugs: the source's alone, shared, held out, the target's alone",
        ylabel="cell lines, in the same order",
    )
    ax.spines[:].set_visible(False)
    fig.legend(
        handles=handles,
        loc="outside lower center",
        ncols=2,
        title="paler: the source never measured it",
    )
    return ax


def _sorted(joined, fold):
    """Positions of lines and of drugs by status; an entity without any pair last."""
    out = []
    for side, (n, folds) in enumerate(
        ((joined.benchmark.n_cells, joined.line_fold), (joined.benchmark.n_drugs, joined.drug_fold))
    ):
        trained, asked = (
            np.isin(np.arange(n), pairs[:, side])
            for pairs in (joined.benchmark.pairs, joined.pairs)
        )
        status = np.select([folds == fold, trained & asked, trained, asked], [2, 1, 0, 3], 4)
        out.append(np.argsort(status, kind="stable"))
    return out


def transfer_scores(
    frames: Mapping[str, pd.DataFrame], models: Sequence[str], origin: str = "held_out"
) -> Axes:
    """One panel a target, one row a kind of new pair, one mark a model, with intervals; the grey
    bar is the ceiling, with its own interval.

    Parameters
    ----------
    frames : title -> frame as `records.transfers` gives it; the panel of an empty one says that it
        is not in yet
    models : names, from top to bottom of a row; a model on fewer folds than the others is drawn
        hollow
    origin : "held_out" or "natural"

    Returns
    -------
    [targets] array of axes
    """
    asked = {
        title: frame[(frame["origin"] == origin) & frame["words"].isna()]
        for title, frame in frames.items()
    }
    there = pd.concat(asked.values())
    kinds = [kind for kind in KINDS if kind in set(there["category"])] or list(KINDS)
    fig, axes = stacked(len(frames), 0.6 + 0.62 * len(kinds), sharey=True, sharex=True)
    for ax, (title, frame) in zip(axes, frames.items(), strict=True):
        rows = asked[title]
        for place, kind in enumerate(kinds):
            of_kind = rows[rows["category"] == kind].set_index("model")
            _ceiling(ax, of_kind, place)
            for step, name in enumerate(models):
                if name in of_kind.index:
                    _mark(
                        ax,
                        of_kind.loc[name],
                        _looks(models)[name],
                        place + 0.72 * ((step + 0.5) / len(models) - 0.5),
                        of_kind["folds"].max(),
                    )
        ax.axvline(0, color=GREY, linewidth=1, linestyle=":")
        _titled(ax, title, frame)
    axes[0].set_yticks(
        range(len(kinds)),
        [KINDS[kind][0].replace(" and ", "\nand ").replace(" in ", "\nin ") for kind in kinds],
    )
    axes[0].set_ylim(len(kinds) - 0.45, -0.55)
    axes[-1].set_xlabel(AXIS)
    _names(fig, models, CEILING in set(there["model"]))
    return axes


def _titled(ax, title, frame):
    ax.set(title=title)
    ax.grid(axis="x")
    if frame.empty:
        ax.text(
            0.5, 0.5, "not in yet", transform=ax.transAxes, ha="center", va="center", color=GREY
        )


def _ceiling(ax, rows, place):
    if CEILING in rows.index:
        row = rows.loc[CEILING]
        ax.fill_betweenx(
            [place - 0.42, place + 0.42],
            row["low"],
            row["high"],
            color=GREY,
            alpha=0.18,
            linewidth=0,
        )
        ax.plot([row["value"]] * 2, [place - 0.42, place + 0.42], color=GREY, linewidth=2.6)


def _looks(models):
    """name -> (colour, marker): a second model of a family gets another marker."""
    out = {}
    for name in models:
        _, colour, marker = look(name)
        out[name] = colour, marker if (colour, marker) not in out.values() else "v"
    return out


def _mark(ax, row, looks, height, most):
    colour, marker = looks
    ax.plot([row["low"], row["high"]], [height, height], color=colour, linewidth=1.8, alpha=0.6)
    ax.plot(
        row["value"],
        height,
        marker,
        color=colour,
        markersize=9 if marker == "*" else 5.5,
        markerfacecolor="none" if row["folds"] < most else colour,
    )


def _names(fig, models, ceiling):
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", label=display_name(name))
        for name, (colour, marker) in _looks(models).items()
    ]
    if ceiling:
        said = "ceiling: the other laboratory"
        handles.append(Line2D([], [], color=GREY, linewidth=2.6, label=said))
    fig.legend(
        handles=handles, loc="outside lower center", ncols=2, columnspacing=1.2, handletextpad=0.6
    )


def across_laboratories(frames: Mapping[str, pd.DataFrame], model: str) -> Axes:
    """For one model, a dumbbell a row: its score against the source's own held-out measurement
    (hollow), and against the target's (filled); the grey bar is the ceiling.

    Parameters
    ----------
    frames : title -> frame as `records.transfers` gives it

    Returns
    -------
    [targets] array of axes
    """
    axes = stacked(len(frames), 1.7, sharey=True, sharex=True)[1]
    kinds, (_, colour, marker) = [kind for kind in KINDS if kind != "seen"], look(model)
    for ax, (title, frame) in zip(axes, frames.items(), strict=True):
        rows = frame[frame["origin"] == "held_out"]
        for place, kind in enumerate(kinds):
            _ceiling(ax, rows[rows["category"] == kind].set_index("model"), place)
            for _, row in rows[(rows["category"] == kind) & (rows["model"] == model)].iterrows():
                ax.plot(
                    [row["within"], row["value"]],
                    [place, place],
                    color=colour,
                    linewidth=1.6,
                    alpha=0.6,
                )
                ax.plot(
                    row["within"], place, marker, color=colour, markerfacecolor="none", markersize=7
                )
                ax.plot(row["value"], place, marker, color=colour, markersize=7)
        _titled(ax, title, frame)
    axes[0].set_yticks(range(len(kinds)), [KINDS[kind][0] for kind in kinds])
    axes[0].set_ylim(len(kinds) - 0.45, -0.55)
    axes[-1].set_xlabel(
        f"per-drug ρ of {display_name(model)}\nhollow, same laboratory; filled, the other"
    )
    return axes


STRATEGIES = {"random": (7, "o"), "chosen": (2, "D")}  # place in the palette, marker


def pilot_curves(curves: Mapping[str, pd.DataFrame]) -> Any:
    """What a few measurements are worth: a column a question, RMSE above and per-drug r below,
    against the number of pairs measured; drawn at random, and chosen by the library.

    Parameters
    ----------
    curves : title -> frame with `strategy`, `measured`, and `rmse`, `pcc_per_drug`, each also with
        _low and _high

    Returns
    -------
    [2, questions] array of axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    fig, axes = plt.subplots(2, len(curves), figsize=(WIDTH, 5.0), sharex=True, squeeze=False)
    palette = seaborn.color_palette("colorblind")
    for column, (title, frame) in enumerate(curves.items()):
        counts = sorted(frame["measured"].unique())
        for ax, metric in zip(axes[:, column], ("rmse", "pcc_per_drug"), strict=True):
            for strategy, (place, marker) in STRATEGIES.items():
                rows = frame[frame["strategy"] == strategy].set_index("measured").loc[counts]
                shift = np.arange(len(counts)) + (0.06 if strategy == "chosen" else -0.06)
                low, high = rows[f"{metric}_low"], rows[f"{metric}_high"]
                ax.vlines(shift, low, high, color=palette[place], alpha=0.5)
                ax.plot(
                    shift, rows[metric], marker, color=palette[place], linestyle="-", label=strategy
                )
            ax.set_xticks(np.arange(len(counts)), [str(count) for count in counts])
        axes[0][column].set_title(title)
        axes[1][column].set_xlabel("pairs measured")
    axes[0][0].set_ylabel(LABELS["rmse"])
    axes[1][0].set_ylabel(LABELS["pcc_per_drug"])
    fig.legend(
        *axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=len(STRATEGIES)
    )
    return axes


CORNERS = {  # kind of pair -> (column, row, model that answers)
    "known": (0, 0, "pairs: views and structure"),
    "new line": (0, 1, "rows: views of lines"),
    "new drug": (1, 0, "columns: views\nof drugs, and a level"),
    "both new": (1, 1, "rows, carried over\nby columns"),
}


def answered_by(accuracy: pd.DataFrame) -> Axes:
    """Four blocks, lines by drugs, known and new: which model answers, and how well it did on what
    was held out.

    Parameters
    ----------
    accuracy : [kinds of pairs] with `rmse` and `per_drug_r`, as of `Predictor.accuracy`
    """
    import matplotlib.pyplot as plt
    import seaborn
    from matplotlib.patches import Rectangle

    palette = seaborn.color_palette("colorblind")
    _, ax = plt.subplots(figsize=(WIDTH, 3.4))
    width, height = (0.0, 2.0, 3.4), (0.0, 1.3, 2.2)
    for place, (kind, (i, j, model)) in enumerate(CORNERS.items()):
        x, y = width[i], height[j]
        w, h = width[i + 1] - x - 0.06, height[j + 1] - y - 0.06
        ax.add_patch(Rectangle((x, y), w, h, color=palette[place], alpha=0.3, lw=0))
        row = accuracy.loc[kind]
        text = f"{model}\nRMSE {row['rmse']:.2f}\nper-drug r {row['per_drug_r']:.2f}"
        ax.text(
            x + w / 2,
            y + h / 2,
            f"{kind}\n{text}",
            ha="center",
            va="center",
            fontsize=9,
            color="black",
        )
    ax.set(xlim=(0, 3.4), ylim=(2.2, 0), xticks=[1.0, 2.7], yticks=[0.65, 1.75])
    ax.set_xticklabels(["known drugs", "new drugs"])
    ax.set_yticklabels(["known lines", "new lines"])
    ax.tick_params(length=0)
    return ax


def intervals_of(frame: pd.DataFrame, truth: pd.Series | None = None) -> Axes:
    """Predictions of one drug with their intervals, from the most sensitive line down; crosses
    where something was measured.

    Parameters
    ----------
    frame : of `Predictor.predict`, one drug
    truth : measured ln IC50, by line
    """
    import matplotlib.pyplot as plt

    frame = frame.sort_values("ln_ic50", kind="stable")
    at = np.arange(len(frame))
    _, ax = plt.subplots(figsize=(WIDTH, 0.28 * len(frame) + 1.2))
    ax.hlines(at, frame["lower"], frame["upper"], color=GREY, lw=2)
    ax.plot(frame["ln_ic50"], at, "o", color="C0", label="predicted")
    if truth is not None:
        ax.plot(truth.reindex(frame["line"]), at, "x", color="C1", label="measured")
    ax.set(yticks=at, xlabel="ln IC50 (µM)  ← more sensitive")
    ax.set_yticklabels(frame["line_name"])
    ax.invert_yaxis()
    if truth is not None:
        ax.legend(frameon=False)
    return ax


def coverages(rows: pd.DataFrame, level: float = 0.9, within: float = 0.03) -> Axes:
    """Share of pairs that an interval covered, with the uncertainty of that share, beside the band
    that was promised.

    Parameters
    ----------
    rows : [what was counted] with `coverage`, and optionally `low` and `high`
    """
    import matplotlib.pyplot as plt

    at = np.arange(len(rows))
    _, ax = plt.subplots(figsize=(WIDTH, 0.3 * len(rows) + 1.2))
    ax.axvspan(level - within, level + within, color=GREY, alpha=0.2, lw=0)
    ax.axvline(level, color=GREY, lw=1)
    if {"low", "high"} <= set(rows):
        ax.hlines(at, rows["low"], rows["high"], color="C0", lw=2)
    ax.plot(rows["coverage"], at, "o", color="C0")
    ax.set(yticks=at, xlabel=f"share covered by the {100 * level:.0f} % interval")
    ax.set_yticklabels(rows.index)
    ax.invert_yaxis()
    return ax


def readings(right: np.ndarray, others: Mapping[str, np.ndarray], label: str) -> Axes:
    """What is predicted when the same lines are read in other ways, against the right way.

    Parameters
    ----------
    right : [n] predictions; others : name -> [n]
    label : of the right way
    """
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(
        1, len(others), figsize=(WIDTH, 2.8), sharex=True, sharey=True, squeeze=False
    )
    every = np.concatenate([right, *others.values()])
    ends = every.min() - 0.2, every.max() + 0.2
    for ax, (name, found) in zip(axes[0], others.items(), strict=True):
        ax.plot(ends, ends, color=GREY, lw=1)
        ax.plot(right, found, "o", ms=4)
        ax.set_title(fill(name, 24), fontsize=10)
        ax.set_xlabel(fill(label, 24))
    axes[0][0].set_ylabel("predicted ln IC50")
    return axes[0][0]
