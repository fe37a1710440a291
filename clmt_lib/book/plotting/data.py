"""A benchmark and its splits as pictures (chapter 01)."""

from collections.abc import Mapping
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from clmt_lib.book.plotting.style import GREY, WIDTH, plain
from clmt_lib.book.words import reader_word
from clmt_lib.data import Benchmark, DrugResponse, Split


def anatomy(
    benchmark: DrugResponse, lines: int = 48, drugs: int = 40, genes: int = 24
) -> np.ndarray:
    """A benchmark at a glance, on an evenly spaced sample: a table of lines (left), a table of
    drugs (top), and the responses that join them, holes left open.

    Parameters
    ----------
    benchmark : DrugResponse with expression and drug targets

    Returns
    -------
    [2, 2] array of axes; the first is empty.
    """
    import matplotlib.pyplot as plt
    import seaborn

    c, d = (
        np.unique(np.linspace(0, n - 1, min(n, most)).astype(int))
        for n, most in ((benchmark.shape[0], lines), (benchmark.shape[1], drugs))
    )
    pathways = benchmark.drugs["pathway"].value_counts().index
    facts = np.array(
        [[pathway == name for pathway in benchmark.drugs["pathway"].iloc[d]] for name in pathways],
        dtype=float,
    )  # [pathways, drugs]
    omics = benchmark.omics["expression"].to_numpy()[c, :genes]  # [lines, genes]
    fig, axes = plt.subplots(
        2,
        2,
        figsize=(WIDTH, 4.2),
        gridspec_kw={"width_ratios": [omics.shape[1], 1.5 * len(d)], "height_ratios": [1, 4]},
    )
    axes[0, 0].axis("off")
    axes[0, 1].imshow(
        np.where(facts > 0, 1.0, np.nan), cmap="Greys", vmin=0, vmax=1.7, aspect="auto"
    )
    axes[1, 0].imshow(omics, cmap="PuOr", vmin=-3, vmax=3, aspect="auto")
    picture = axes[1, 1].imshow(
        benchmark.matrix()[np.ix_(c, d)],
        cmap=seaborn.color_palette("viridis", as_cmap=True),
        aspect="auto",
    )
    for ax, title in (
        (axes[0, 1], "table of drugs: their facts"),
        (axes[1, 0], "lines: omics"),
        (axes[1, 1], "responses: one number a pair"),
    ):
        ax.set(xticks=[], yticks=[])
        ax.set_title(title, fontsize=10)
    axes[1, 0].set_ylabel("cell lines")
    axes[1, 1].set_xlabel("drugs")
    fig.colorbar(picture, ax=axes[:, 1], label="ln(IC50), ln(µM)", shrink=0.7)
    return axes


def dose_response(
    curves: Mapping[str, tuple[float, float]], highest: float, lowest: float = 0.01
) -> Axes:
    """Viability against dose for named Hill curves, the tested range apart from the extrapolated,
    the IC50 of each marked.

    Parameters
    ----------
    curves : name -> (ln_ic50 in ln uM, slope)
    highest, lowest : tested doses, uM

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    ax = plt.subplots(figsize=(WIDTH, 4.0))[1]
    ends = np.log(lowest), np.log(highest)
    for (name, (ln_ic50, slope)), colour, marker in zip(
        curves.items(), seaborn.color_palette("colorblind"), "osD^v"
    ):
        for start, stop, dash in ((*ends, "-"), (ends[1], ends[1] + 4, ":")):
            dose = np.linspace(start, stop, 100)
            ax.plot(dose, 1 / (1 + np.exp(slope * (dose - ln_ic50))), dash, color=colour)
        tested = np.linspace(*ends, 7)
        ax.plot(
            tested, 1 / (1 + np.exp(slope * (tested - ln_ic50))), marker, color=colour, markersize=4
        )
        ax.plot(
            ln_ic50,
            0.5,
            marker,
            color=colour,
            markersize=10,
            markerfacecolor="none",
            markeredgewidth=2,
            label=f"{plain(name)}: ln(IC50) = {ln_ic50:.1f}",
        )
    ax.axhline(0.5, color=GREY, linewidth=0.8)
    ax.axvspan(ends[1], ends[1] + 4, color=GREY, alpha=0.12, linewidth=0)
    ax.text(ends[1] + 0.15, 0.97, "never tested", fontsize=9)
    ax.set(xlabel="dose, ln(µM)", ylabel="share of cells alive", ylim=(0, 1.05))
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2))
    return ax


def shares(frame: pd.DataFrame, label: str = "share of variance") -> Axes:
    """Stacked horizontal bars, one a row: how a whole divides.

    Parameters
    ----------
    frame : [rows, parts] shares, NaN for a part that a row does not have

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    fig, ax = plt.subplots(figsize=(WIDTH, 1.5 + 0.5 * len(frame)))
    start, rows = np.zeros(len(frame)), np.arange(len(frame))
    for place, part in enumerate(frame):
        value, colour = (
            frame[part].fillna(0).to_numpy(float),
            seaborn.color_palette("colorblind")[place % 10],
        )
        ax.barh(rows, value, left=start, height=0.6, color=colour, label=part)
        ink = "black" if np.dot(colour, (0.3, 0.6, 0.1)) > 0.45 else "white"
        for row in rows[value > 0.055]:
            ax.text(
                start[row] + value[row] / 2,
                row,
                f"{value[row]:.0%}",
                ha="center",
                va="center",
                fontsize=9,
                color=ink,
            )
        start = start + value
    ax.set_yticks(rows, [fill(plain(name), 14) for name in frame.index])
    ax.set(xlabel=label, xlim=(0, max(1.0, start.max())), ylim=(len(frame) - 0.5, -0.5))
    fig.legend(
        loc="outside lower center",
        ncols=min(frame.shape[1], 4),
        columnspacing=1.2,
        handlelength=1.2,
    )
    return ax


def split_maps(
    benchmark: Benchmark,
    splits: Mapping[str, Split],
    drug_order: np.ndarray | None = None,
    cell_order: np.ndarray | None = None,
    most: int = 64,
) -> Axes:
    """One map a split, on an evenly spaced sample: cell lines down, drugs across, each measured
    pair in the colour of its role, holes open.

    Parameters
    ----------
    splits : title -> Split
    drug_order, cell_order : positions; put what belongs together side by side
    most : lines and drugs drawn, so that a pair stays large enough to see

    Returns
    -------
    [splits] array of axes
    """
    import matplotlib.pyplot as plt
    import seaborn
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    palette = seaborn.color_palette("colorblind")
    roles = {"train": (0.72, 0.72, 0.72), "valid": palette[1], "test": palette[0]}
    order = [
        np.arange(n) if given is None else np.asarray(given)
        for n, given in ((benchmark.shape[0], cell_order), (benchmark.shape[1], drug_order))
    ]
    order = [rows[np.unique(np.linspace(0, len(rows) - 1, most).astype(int))] for rows in order]
    columns = min(len(splits), 3)
    lines = -(-len(splits) // columns)
    fig, axes = plt.subplots(lines, columns, figsize=(WIDTH, 0.5 + 2.4 * lines), squeeze=False)
    for spare in axes.ravel()[len(splits) :]:
        spare.remove()
    axes = axes.ravel()[: len(splits)]
    for ax, (title, split) in zip(axes, splits.items(), strict=True):
        table = np.full(benchmark.shape, np.nan)
        for code, positions in enumerate(split.sets().values()):
            table[tuple(benchmark.pairs[positions].T)] = code
        ax.imshow(
            table[np.ix_(*order)],
            cmap=ListedColormap(list(roles.values())),
            vmin=-0.5,
            vmax=2.5,
            aspect="auto",
            interpolation="nearest",
        )
        ax.set(xticks=[], yticks=[], title=reader_word(title), xlabel="drugs")
    for ax in axes[::columns]:
        ax.set_ylabel("cell lines")
    fig.legend(
        handles=[Patch(color=colour, label=role) for role, colour in roles.items()],
        loc="outside lower center",
        ncols=3,
    )
    return axes
