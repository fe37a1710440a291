"""Partners, strangers and what an alignment found (chapter 05)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from clmt_lib.book.plotting.style import FAINT, GREY, WIDTH, plain

LINES, MARKERS = ("-", "--", "-.", ":"), "osD^vP*X"


def partners(panels: Mapping[str, Sequence[np.ndarray]]) -> np.ndarray:
    """Entities on the unit circle, seen in two views: a circle and a square in one colour are
    partners, joined by a line.

    Parameters
    ----------
    panels : title -> (z_a, z_b), each [n, 2]

    Returns
    -------
    [panels] array of axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    size = WIDTH, 0.4 + WIDTH / len(panels)
    axes = plt.subplots(1, len(panels), figsize=size, squeeze=False)[1][0]
    turn = np.linspace(0, 2 * np.pi, 200)
    for ax, (title, views) in zip(axes, panels.items(), strict=True):
        ax.plot(np.cos(turn), np.sin(turn), color=FAINT, linewidth=1)
        a, b = (
            np.asarray(z) / np.linalg.norm(z, axis=1, keepdims=True) * r
            for z, r in zip(views, (1.0, 0.86), strict=True)
        )  # two radii: partners that meet stay visible
        for i, colour in zip(range(len(a)), seaborn.color_palette("colorblind", len(a))):
            ax.plot(*np.stack([a[i], b[i]]).T, color=colour, linewidth=1.2)
            ax.plot(*a[i], "o", color=colour, markersize=7)
            ax.plot(
                *b[i], "s", color=colour, markersize=6, markerfacecolor="none", markeredgewidth=1.6
            )
        ax.set(title=title, aspect="equal", xlim=(-1.2, 1.2), ylim=(-1.2, 1.2))
        ax.set_axis_off()
    return axes


def pull(
    lead: np.ndarray, losses: Mapping[str, np.ndarray], pulls: Mapping[str, np.ndarray]
) -> np.ndarray:
    """What a loss says, and how hard it pulls, against the lead of the positive over all negatives
    together.

    Parameters
    ----------
    lead : [k] s_ii / temperature less log-sum-exp of the negatives; losses, pulls : name -> [k]

    Returns
    -------
    [2] array of axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    axes = plt.subplots(2, 1, figsize=(WIDTH, 5.0), sharex=True)[1]
    for ax, curves, label in zip(
        axes, (losses, pulls), ("loss, nats", "pull on the positive"), strict=True
    ):
        for (name, values), colour, line in zip(
            curves.items(), seaborn.color_palette("colorblind"), LINES
        ):
            ax.plot(lead, values, line, color=colour, label=name, linewidth=2)
        ax.axhline(0, color=GREY, linewidth=1)
        ax.set_ylabel(label)
    axes[1].set_xlabel("lead of the positive over all negatives")
    axes[0].legend()
    return axes


def copies(counts: Mapping[str, Any], most: int = 8) -> Axes:
    """How many rows of a batch are the anchor's own entity: share of anchors with 1 (no copy), 2,
    3, ... rows; from `most` on together.

    Parameters
    ----------
    counts : name -> [anchors] int, at least 1

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    ax, width = plt.subplots(figsize=(WIDTH, 3.2))[1], 0.8 / len(counts)
    for place, ((name, values), colour, hatch) in enumerate(
        zip(counts.items(), seaborn.color_palette("colorblind"), ("", "//", ".."))
    ):
        share = np.bincount(np.minimum(values, most), minlength=most + 1)[1:] / len(values)
        ax.bar(
            np.arange(1, most + 1) + (place - (len(counts) - 1) / 2) * width,
            share,
            width,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.6,
            label=name,
        )
    ax.set_xticks(range(1, most + 1), [*map(str, range(1, most)), f"{most}+"])
    ax.set(
        xlabel="rows of the batch that are the anchor's entity, itself included",
        ylabel="share of anchors",
    )
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.legend()
    return ax


def recall(ranks: Mapping[str, np.ndarray], pool: int, ax: Axes | None = None) -> Axes:
    """Share of entities whose positive is among the first k, against k; the dotted diagonal is
    chance.

    Parameters
    ----------
    ranks : name -> [entities] rank of the positive, 1 is best
    pool : number of candidates

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import seaborn
    from matplotlib.ticker import MaxNLocator

    ax, k = ax or plt.subplots(figsize=(WIDTH, 3.4))[1], np.arange(0, pool + 1)
    ax.plot(k, k / pool, color=GREY, linestyle=":", linewidth=1.4, label="chance")
    for (name, rank), colour, line, marker in zip(
        ranks.items(), seaborn.color_palette("colorblind"), LINES, MARKERS
    ):
        share = (np.asarray(rank)[:, None] <= k).mean(0)
        ax.plot(
            k, share, line, color=colour, marker=marker, markersize=4, markevery=(1, 2), label=name
        )
    ax.set(
        xlabel="places looked at, k",
        ylabel="positive among the first k",
        xlim=(0, pool),
        ylim=(0, 1.03),
    )
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.legend(loc="lower right")
    return ax


def temperatures(frame: pd.DataFrame, chance: float = 0.5) -> np.ndarray:
    """A sweep over the temperature: where the positive lands on held-out entities, and how near
    positives and how spread entities are.

    Parameters
    ----------
    frame : index temperature; columns place, low, high (0 first, 1 last, `chance` for a guess),
        distance, uniformity

    Returns
    -------
    [2] array of axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    axes, (blue, orange) = (
        plt.subplots(2, 1, figsize=(WIDTH, 5.4))[1],
        seaborn.color_palette("colorblind")[:2],
    )
    axes[0].axhline(chance, color=GREY, linestyle=":", label="chance")
    axes[0].vlines(frame.index, frame["low"], frame["high"], color=blue, linewidth=2.2, alpha=0.6)
    axes[0].plot(frame.index, frame["place"], "o-", color=blue)
    axes[0].set(
        xscale="log",
        xlabel="temperature",
        ylabel="place of the positive\n0 first, 1 last",
        ylim=(0, None),
    )
    axes[0].set_xticks(frame.index, [f"{value:g}" for value in frame.index])
    axes[0].minorticks_off()
    axes[0].legend()
    axes[1].plot(frame["distance"], frame["uniformity"], "s-", color=orange, linewidth=1)
    for temperature, row in frame.iterrows():
        axes[1].annotate(
            f"{temperature:g}",
            (row["distance"], row["uniformity"]),
            textcoords="offset points",
            xytext=(7, 2),
            fontsize=9,
        )
    axes[1].set(xlabel="distance of positives  ← nearer", ylabel="uniformity  ← more spread")
    axes[1].margins(0.15)
    return axes


def knowledge(
    folds: pd.DataFrame, labels: Mapping[str, str], chance: Mapping[str, float] | None = None
) -> np.ndarray:
    """What embeddings know, a panel a question: small dots are folds, the large mark is their mean.

    Parameters
    ----------
    folds : [folds x embeddings] frame, indexed by embedding (rows repeat, one a fold), columns
        questions
    labels : question -> label of its axis
    chance : question -> value of a guess, drawn dotted

    Returns
    -------
    [questions] array of axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    names = list(dict.fromkeys(folds.index))
    lines = -(-len(labels) // 2)
    axes = plt.subplots(
        lines,
        2,
        figsize=(WIDTH, lines * (0.8 + 0.34 * len(names))),
        sharey=True,
        squeeze=False,
    )[1].ravel()
    for spare in axes[len(labels) :]:
        spare.remove()
    axes = axes[: len(labels)]
    for ax, (question, label), colour in zip(
        axes, labels.items(), seaborn.color_palette("colorblind"), strict=False
    ):
        for row, name in enumerate(names):
            values = np.atleast_1d(folds.loc[name, question])
            ax.plot(values, np.full(len(values), row), "|", color=colour, markersize=8, alpha=0.8)
            ax.plot(values.mean(), row, "o", color=colour, markersize=7)
        if chance and question in chance:
            ax.axvline(chance[question], color=GREY, linestyle=":")
        ax.set_xlabel(label)
        ax.locator_params(axis="x", nbins=4)
        ax.grid(axis="x")
    axes[0].set_yticks(range(len(names)), [plain(name) for name in names])
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    return axes
