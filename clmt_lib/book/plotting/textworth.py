"""What a description of a drug is worth: gains by what was told, and whose gains they are (chapter
09b).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from clmt_lib.book.plotting.style import FAINT, GREY, WIDTH, display_name, stacked

GROUPS = {  # what a rung is told -> (place in the colour-blind palette, marker)
    "nothing (controls)": (7, "s"),
    "structure": (2, "^"),
    "facts": (0, "D"),
    "words": (1, "o"),
    "facts and words": (4, "*"),
}
TOLD = {
    "cell_mean": "nothing (controls)",
    "drugs_random": "nothing (controls)",
    "drugs_shuffled": "nothing (controls)",
    "drugs_name": "nothing (controls)",
    "drugs_fingerprint": "structure",
    "drugs_pathway": "facts",
    "drugs_targets": "facts",
    "drugs_annotation": "facts",
    "drugs_steps": "facts",
    "drugs_text": "words",
    "drugs_mechanism": "words",
    "drugs_long": "words",
    "processes": "facts and words",
    "target_states": "facts and words",
}


def who_is_told_what() -> str:
    """The idea of the chapter as an SVG in the page's colours: what each description says of three
    known drugs and a new one, and from whom the new one therefore borrows.
    """
    names, at = ("A", "B", "C", "new"), (166, 244, 322, 426)  # middles of the columns
    rows = (  # what is told, of A, B, C and the new drug; whom the new one resembles then
        ("nothing", "random", ("3715", "6240", "1573", "4062"), ""),
        ("structure", "molecule", ("56", "65", "66", "65"), "B"),
        ("facts", "target", ("MEK", "PARP", "MEK", "MEK"), "AC"),
        ("words", "sentence", ("MEK", "PARP", "MEK", "MEK"), "AC"),
    )
    parts = [
        '<svg class="drawn" viewBox="0 0 480 436" role="img" aria-label="Three known drugs and a '
        "new one. The known ones have responses, the new one has none. Random numbers make it like "
        "nobody, its molecule like B, its target like A and C, and a sentence that names the "
        'target like A and C again." xmlns="http://www.w3.org/2000/svg">',
        '<text class="head" x="244" y="18" text-anchor="middle">known drugs</text>',
        '<text class="head" x="426" y="18" text-anchor="middle">a new drug</text>',
        '<text class="head" x="4" y="84">responses</text>',
        '<text class="small" x="4" y="102">of five lines</text>',
        '<path class="plain" d="M374 8V386" stroke-dasharray="4 5"/>',
    ]
    shades = ("85214", "35829", "84315")  # A and C kill the same lines
    for x, name, shade in zip(at, names, (*shades, None), strict=True):
        parts.append(f'<text x="{x}" y="40" text-anchor="middle">{name if shade else "?"}</text>')
        for line in range(5):
            fill = f"fill:#0072b2;fill-opacity:0.{shade[line]}" if shade else "stroke-dasharray:3"
            kind = "drug" if shade else "plain"
            parts.append(
                f'<rect class="{kind}" x="{x - 11}" y="{50 + 17 * line}" width="22" height="15" '
                f'style="{fill};stroke-width:1"/>'
            )
    for row, (told, how, cells, alike) in enumerate(rows):
        y = 172 + 60 * row
        parts.append(
            f'<text class="head" x="4" y="{y - 3}">{told}</text>'
            f'<text class="small" x="4" y="{y + 15}">{how}</text>'
        )
        for x, name, cell in zip(at, names, cells, strict=True):
            if alike and (name in alike or name == "new"):
                parts.append(
                    f'<rect class="line" x="{x - 36}" y="{y - 24}" width="72" height="48" rx="6"/>'
                )
            parts.append(_cell(told, cell, x, y))
    parts.append(
        '<text x="4" y="408">The new drug borrows the responses of the drugs that</text>'
        '<text x="4" y="428">look like it, as told: framed. Nobody framed: the mean.</text>'
    )
    return "".join([*parts, "</svg>"])


def _cell(told: str, cell: str, x: float, y: float) -> str:
    """One drug as one description shows it, around (x, y)."""
    if told == "nothing":
        squares = (
            f'<rect class="plain" x="{x - 31 + 16 * place}" y="{y - 7}" width="14" height="14" '
            f'style="fill:#787878;fill-opacity:0.{digit};stroke-width:1"/>'
            for place, digit in enumerate(cell)
        )
        return "".join(squares)
    if told == "structure":  # two rings, of so many atoms
        rings = []
        for place, atoms in enumerate(map(int, cell)):
            turn = 2 * np.pi * (np.arange(atoms) + 0.5) / atoms
            corners = zip(x - 13 + 26 * place + 12 * np.cos(turn), y + 12 * np.sin(turn))
            rings.append("M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in corners) + "Z")
        return f'<path class="plain" d="{"".join(rings)}"/>'
    if told == "facts":
        return f'<text x="{x}" y="{y + 5}" text-anchor="middle">{cell}</text>'
    return (
        f'<text class="small" x="{x}" y="{y - 3}" text-anchor="middle">“It acts</text>'
        f'<text class="small" x="{x}" y="{y + 14}" text-anchor="middle">on {cell}.”</text>'
    )


def worth(
    panels: Mapping[str, pd.DataFrame], label: str = "gain in per-drug r", base: str = "cell mean"
) -> Axes:
    """Gains over a baseline, a row for each rung and a panel for each split; bars are intervals,
    hollow where they hold zero.

    Parameters
    ----------
    panels : title -> [rungs] frame with mean, low, high
    base : what the gains are over, for the axis

    Returns
    -------
    [panels] axes, which share both scales.
    """
    import seaborn

    rungs = list(dict.fromkeys(rung for frame in panels.values() for rung in frame.index))
    fig, axes = stacked(len(panels), 0.8 + 0.25 * len(rungs), sharex=True, sharey=True)
    for ax, (title, frame) in zip(axes, panels.items(), strict=True):
        for rung, values in frame.iterrows():
            place, marker = GROUPS[TOLD.get(rung, "facts")]
            colour, row, tie = (
                seaborn.color_palette("colorblind")[place],
                rungs.index(rung),
                values["low"] <= 0 <= values["high"],
            )
            ax.plot(
                [values["low"], values["high"]], [row, row], color=colour, linewidth=2.2, alpha=0.65
            )
            ax.plot(
                values["mean"],
                row,
                marker,
                color=colour,
                markersize=8 if marker == "*" else 6,
                markerfacecolor="none" if tie else colour,
            )
        ax.axvline(0, color=GREY, linewidth=1)
        ax.set_title(title)
        ax.grid(axis="x")
    axes[0].set_yticks(range(len(rungs)), [display_name(rung) for rung in rungs])
    axes[0].set_ylim(len(rungs) - 0.4, -0.6)
    axes[-1].set_xlabel(f"{label} over the {base}  → better")
    _legend(fig, rungs)
    return axes


def _legend(fig, rungs):
    import seaborn
    from matplotlib.lines import Line2D

    found = [group for group in GROUPS if group in {TOLD.get(rung) for rung in rungs}]
    handles = [
        Line2D(
            [],
            [],
            color=seaborn.color_palette("colorblind")[GROUPS[g][0]],
            marker=GROUPS[g][1],
            linestyle="",
            label=f"told: {g}",
        )
        for g in found
    ]
    fig.legend(
        handles=handles,
        loc="outside upper center",
        ncols=3,
        columnspacing=1.0,
        handletextpad=0.2,
    )


def whose_gain(
    gap: Any, group: Any, twin: Any, label: str = "gain in per-drug r", ax: Axes | None = None
) -> Axes:
    """A row of dots for each group of drugs, largest mean gain on top; a drug with a twin in
    training is filled, one without hollow; the bar is the group's mean.

    Parameters
    ----------
    gap : [drugs] gain; group : [drugs] label, such as the pathway; twin : [drugs] bool

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import pandas as pd
    import seaborn

    frame = pd.DataFrame(
        {
            "gap": np.asarray(gap, dtype=float),
            "group": np.asarray(group),
            "twin": np.asarray(twin, dtype=bool),
        }
    ).dropna()
    order = frame.groupby("group")["gap"].mean().sort_values(ascending=False, kind="stable").index
    ax = ax or plt.subplots(figsize=(WIDTH, 0.9 + 0.25 * len(order)))[1]
    blue, orange = (seaborn.color_palette("colorblind")[i] for i in (0, 1))
    for row, name in enumerate(order):
        own = frame[frame["group"] == name]
        shift = 0.22 * np.linspace(-1, 1, len(own)) if len(own) > 1 else np.zeros(1)
        for known, marker, colour in ((True, "o", blue), (False, "D", orange)):
            there = own["twin"].to_numpy() == known
            ax.plot(
                own["gap"][there],
                row + shift[there],
                marker,
                color=colour,
                markersize=4,
                alpha=0.8,
                markerfacecolor=colour if known else "none",
            )
        ax.plot([own["gap"].mean()] * 2, [row - 0.36, row + 0.36], color=GREY, linewidth=3)
    ax.axvline(0, color=GREY, linewidth=1)
    for row in range(len(order)):
        ax.axhline(row + 0.5, color=FAINT, linewidth=0.5)
    ax.set_yticks(
        range(len(order)), [f"{name} ({(frame['group'] == name).sum()})" for name in order]
    )
    ax.set_ylim(len(order) - 0.5, -0.5)
    ax.set_xlabel(label)
    handles = [
        plt.Line2D([], [], color=c, marker=m, linestyle="", markerfacecolor=f, label=t)
        for c, m, f, t in (
            (blue, "o", blue, "has a twin in training"),
            (orange, "D", "none", "has none"),
        )
    ]
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.2, -0.09), ncols=2)
    return ax
