"""Responses as words: tables of similarities, number lines, order, and when to stop (chapter
`cldr`).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from clmt_lib.book.plotting.style import FAINT, GREY, WIDTH, stacked

ARMS = {  # of the study: what a reader sees
    "mse": "squared error",
    "clip_number": "number alone",
    "clip_entity": "entities alone",
    "clip_caption": "caption names the pair",
    "clip_shuffled": "the same, shuffled",
    "clip_line": "a line for the numbers",
    "soft": "soft targets",
    "rank_before": "Rank-N-Contrast",
    "rank_within": "the same, within a drug",
    "entities_joint": "entities like responses",
    "histogram": "histogram loss, no text",
    "correlation": "+ per-drug correlation",
}
LINES, MARKERS = ("-", "--", "-.", ":"), "osD^vP*X"


def similarity_tables(panels: Mapping[str, np.ndarray], labels: Sequence[str]) -> np.ndarray:
    """Square tables, one below another, each with its numbers written in.

    Parameters
    ----------
    panels : title -> [n, n] shares from 0 to 1, a row for each pair, a column for each number
    labels : [n] of rows and columns

    Returns
    -------
    [panels] array of axes
    """
    axes = stacked(len(panels), 2.6)[1]
    for ax, (title, table) in zip(axes, panels.items(), strict=True):
        ax.imshow(table, cmap="Blues", vmin=0, vmax=1)
        for (i, j), value in np.ndenumerate(table):
            dark = value > 0.5
            ax.text(
                j,
                i,
                f"{value:.2f}".lstrip("0") if value < 0.995 else "1",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark else "black",
            )
        ax.set_xticks(range(len(labels)), labels, rotation=45)
        ax.set_yticks(range(len(labels)), labels)
        ax.set_title(title, fontsize=10)
        ax.set_ylabel("pair, by its label")
    axes[-1].set_xlabel("number")
    return axes


def fineness(
    y: np.ndarray, noise: float, shared: Mapping[int, float], step: float = 0.001
) -> np.ndarray:
    """How fine a number is: labels as they fall into words, one measurement's noise beside them,
    and the rows of a batch that share their word.

    Parameters
    ----------
    y : [n] labels in 0 to 1
    noise : standard deviation of one measurement, on the scale of `y`
    shared : rows in a batch -> share of them whose word another row has
    step : width of a word

    Returns
    -------
    [2] array of axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    blue, orange = seaborn.color_palette("colorblind")[:2]
    axes = plt.subplots(2, 1, figsize=(WIDTH, 5.2))[1]
    low, high = np.quantile(y, [0.001, 0.999])
    axes[0].hist(y, bins=np.arange(low, high + step, step), color=blue)
    middle, top = np.median(y), axes[0].get_ylim()[1]
    axes[0].hlines(1.06 * top, middle - noise, middle + noise, color=orange, linewidth=3)
    axes[0].text(middle, 1.1 * top, "one measurement ± its noise", ha="center", color=orange)
    axes[0].set(
        xlabel="label, in thousandths: a bar is a word", ylabel="pairs", ylim=(0, 1.25 * top)
    )
    axes[1].plot(list(shared), list(shared.values()), "o-", color=blue)
    axes[1].set(xscale="log", xlabel="pairs in a batch", ylabel="share a word", ylim=(0, 1))
    axes[1].set_xticks(list(shared), [str(size) for size in shared])
    axes[1].minorticks_off()
    axes[1].yaxis.set_major_formatter("{x:.0%}")
    return axes


def order_shares(frame: pd.DataFrame, labels: Mapping[str, str], chance: float = 0.5) -> np.ndarray:
    """How often three pairs are ordered as their responses are: a panel a question, a row an arm,
    hollow after pre-training, full at the end.

    Parameters
    ----------
    frame : columns question, arm, phase ("untrained", "pretrained" or "fine_tuned"), value, and
        low, high where there is an interval
    labels : question -> label of its panel

    Returns
    -------
    [questions] array of axes
    """
    import seaborn

    arms, colours = list(dict.fromkeys(frame["arm"])), seaborn.color_palette("colorblind")
    looks = {
        "untrained": (GREY, "x"),
        "pretrained": (colours[1], "D"),
        "fine_tuned": (colours[0], "o"),
    }
    axes = stacked(len(labels), 0.9 + 0.27 * len(arms), sharey=True)[1]
    for ax, (question, label) in zip(axes, labels.items(), strict=True):
        ax.axvline(chance, color=GREY, linestyle=":")
        for phase, (colour, marker) in looks.items():
            rows = frame[(frame["question"] == question) & (frame["phase"] == phase)]
            if not len(rows):
                continue
            place = np.array([arms.index(arm) for arm in rows["arm"]]) + 0.18 * (
                list(looks).index(phase) - 1
            )
            if "low" in rows:
                ax.hlines(place, rows["low"], rows["high"], color=colour, linewidth=2, alpha=0.6)
            ax.plot(
                rows["value"],
                place,
                marker,
                color=colour,
                label=phase.replace("_", "-"),
                markerfacecolor="none" if phase == "pretrained" else colour,
            )
        ax.set_xlabel(label)
        ax.locator_params(axis="x", nbins=4)
        ax.grid(axis="x")
    axes[0].set_yticks(range(len(arms)), [ARMS.get(arm, arm.replace("_", " ")) for arm in arms])
    axes[0].set_ylim(len(arms) - 0.5, -0.5)
    handles = {
        label: handle
        for ax in axes
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    axes[0].figure.legend(handles.values(), handles, loc="outside upper center", ncols=len(handles))
    return axes


def residual_map(
    panels: Mapping[str, np.ndarray], residual: np.ndarray, label: str = "residual, drug's sd"
) -> np.ndarray:
    """Embeddings of pairs on their two principal axes, coloured by response.

    Parameters
    ----------
    panels : title -> [n, dim]
    residual : [n]

    Returns
    -------
    [panels] array of axes
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 2.7), squeeze=False)
    reach = float(np.quantile(np.abs(residual), 0.98))
    for ax, (title, z) in zip(axes[0], panels.items(), strict=True):
        z = z - z.mean(0)
        u, s, _ = np.linalg.svd(z, full_matrices=False)
        drawn = ax.scatter(
            *(u[:, :2] * s[:2]).T, c=residual, cmap="cividis", vmin=-reach, vmax=reach, s=7
        )
        ax.set(title=ARMS.get(title, title), xticks=[], yticks=[])
    fig.colorbar(drawn, ax=axes[0], label=label, shrink=0.8)
    return axes[0]


def number_lines(
    panels: Mapping[str, np.ndarray], numbers: int = 4000, seed: int = 0
) -> np.ndarray:
    """Distance of two numbers' embeddings against |n - m|, a panel an encoder, relative to the mean
    distance.

    Parameters
    ----------
    panels : title -> [k, dim] embeddings of consecutive thousandths
    numbers : pairs of numbers that are drawn

    Returns
    -------
    [panels] array of axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    blue = seaborn.color_palette("colorblind")[0]
    axes = plt.subplots(
        -(-len(panels) // 2), 2, figsize=(WIDTH, 4.6), sharex=True, sharey=True, squeeze=False
    )[1].ravel()
    rng = np.random.default_rng(seed)
    for ax, (title, z) in zip(axes, panels.items(), strict=False):
        one, other = rng.integers(0, len(z), (2, numbers))
        apart = np.linalg.norm(z[one] - z[other], axis=1)
        ax.plot(
            np.abs(one - other), apart / apart.mean(), ".", color=blue, markersize=1.5, alpha=0.5
        )
        ax.set(title=title, ylim=(0, None))
    axes[0].figure.supxlabel("|n − m|, thousandths", fontsize=10)
    axes[0].figure.supylabel("distance over its mean", fontsize=10)
    return axes


def matching(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], chance: float) -> Axes:
    """A contrastive loss while it is trained, against what nobody can know.

    Parameters
    ----------
    curves : name -> (updates, loss in nats)
    chance : loss of a guess

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    ax = plt.subplots(figsize=(WIDTH, 3.3))[1]
    ax.axhline(chance, color=GREY, linestyle=":", label="chance")
    for (name, (step, loss)), colour, line, marker in zip(
        curves.items(), seaborn.color_palette("colorblind"), LINES * 2, MARKERS
    ):
        ax.plot(step, loss, line, color=colour, marker=marker, markersize=4, label=name)
    ax.set(xlabel="updates", ylabel="contrastive loss, nats")
    ax.legend()
    return ax


def widths(
    frame: pd.DataFrame, noise: float, label: str = "share of triplets in order"
) -> np.ndarray:
    """A sweep over the width of soft targets, the noise of one measurement marked.

    Parameters
    ----------
    frame : index width; columns are curves, an axes each
    noise : on the same scale as the widths
    label : of the first column, when it has no name of its own

    Returns
    -------
    [columns] array of axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    axes = plt.subplots(
        len(frame.columns), 1, figsize=(WIDTH, 2.5 * len(frame.columns)), sharex=True, squeeze=False
    )[1][:, 0]
    for ax, column, colour in zip(
        axes, frame.columns, seaborn.color_palette("colorblind"), strict=False
    ):
        ax.plot(frame.index, frame[column], "o-", color=colour)
        ax.axvline(noise, color=GREY, linestyle="--")
        ax.annotate(" noise", (noise, 0.9), xycoords=("data", "axes fraction"), color=GREY)
        ax.set(xscale="log", ylabel=str(column) or label)
    axes[-1].set_xlabel("width of the soft targets")
    return axes


def fine_tuning(curves: pd.DataFrame) -> np.ndarray:
    """Score on the validation set while an arm is fitted: a panel a split, a line a run, and a
    colour an arm, which may have been run with several settings.

    Parameters
    ----------
    curves : rows in the order of the runs; columns split, arm, step, valid

    Returns
    -------
    [splits] array of axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    panels = list(curves.groupby("split"))
    size = WIDTH, 2.9 * len(panels)
    axes = plt.subplots(len(panels), 1, figsize=size, sharex=True, squeeze=False)[1][:, 0]
    for ax, (split, rows) in zip(axes, panels, strict=True):
        for (arm, found), colour, dash in zip(
            rows.groupby("arm", sort=False), seaborn.color_palette("colorblind"), LINES
        ):
            starts = (found["step"].diff() < 0).cumsum()  # where the steps begin again, a new run
            for number, run in found.groupby(starts):
                label = ARMS.get(str(arm), str(arm)) if not number else None
                ax.plot(run["step"], run["valid"], dash, color=colour, label=label)
        ax.set(title=str(split).replace("_", "-"), ylabel="validation, lower is better")
    axes[-1].set_xlabel("updates")
    axes[0].legend(fontsize=8, ncols=2)
    return axes


def stopping(curves: Mapping[str, pd.DataFrame], titles: Sequence[str] = ()) -> np.ndarray:
    """Error while training goes on, relative to its best: a curve a run, dots where each rule
    stopped.

    Parameters
    ----------
    curves : panel -> frame with columns run, step, error, and stop (True where validation stopped)
    titles : of the horizontal axes

    Returns
    -------
    [panels] array of axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    axes = plt.subplots(1, len(curves), figsize=(WIDTH * len(curves), 4.6), squeeze=False)[1][0]
    for place, (ax, (panel, frame)) in enumerate(zip(axes, curves.items(), strict=True)):
        for (run, rows), colour, line in zip(
            frame.groupby("run", sort=False), seaborn.color_palette("colorblind"), LINES * 3
        ):
            ax.plot(rows["step"], rows["error"], line, color=colour, label=str(run), linewidth=1.4)
            stopped = rows[rows["stop"].astype(bool)]
            ax.plot(stopped["step"], stopped["error"], "o", color=colour, markersize=7)
        ax.axhline(1, color=FAINT)
        ax.set(
            ylim=(0.97, min(ax.get_ylim()[1], 1.4)),  # the first steps may be far above
            title=panel,
            xlabel=titles[place] if place < len(titles) else "updates",
            ylabel="test error over its best",
        )
        ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.18))
    return axes
