"""Colours, markers and the defaults of every figure; names and families are the registry's."""

from typing import Any

import numpy as np

from clmt_lib import models
from clmt_lib.io import harmless
from clmt_lib.models import display_name

__all__ = [
    "FAMILIES",
    "FAINT",
    "GREY",
    "LABELS",
    "WIDTH",
    "display_name",
    "look",
    "plain",
    "seconds",
    "stacked",
    "style",
]

GREY = (
    "#787878"  # the one grey with about 4.4 : 1 contrast against both a white and a near-black page
)
FAINT = "#78787855"
WIDTH = 4.7  # inches: a phone shows a figure of this width whole, its letters 8 pixels high
FAMILIES = {  # family of the registry -> (place in the colour-blind palette, marker)
    "means": (7, "s"),
    "neighbours": (5, "v"),
    "linear": (0, "^"),
    "trees": (2, "P"),
    "no features": (3, "D"),
    "kernels": (1, "o"),
    "ridge over drugs": (9, "h"),
    "network": (4, "*"),
    "combined": (6, "X"),
    "auxiliary data": (9, "d"),  # other tables of the same lines (`data.response.auxiliary`)
}
LABELS = {  # metric -> label of its axis
    "rmse": "RMSE, ln(µM)  ← better",
    "mae": "MAE, ln(µM)  ← better",
    "pcc": "global r  → better",
    "pcc_per_drug": "per-drug r  → better",
    "pcc_normalised": "normalised r  → better",
    "pcc_per_cell": "per-cell r  → better",
}


def plain(name: object) -> str:
    r"""A name from somebody's table, as text of a figure: `$` begins no formula, and control
    characters are written out, but for the end of a line.

    >>> print(plain("$A$"))
    \$A\$
    """
    return "\n".join(map(harmless, str(name).split("\n"))).replace("$", r"\$")


def stacked(panels: int, height: float, **shared: Any) -> tuple[Any, np.ndarray]:
    """(figure, [panels] axes): as wide as a phone shows whole, one panel below another, each so
    many inches high.
    """
    import matplotlib.pyplot as plt

    size = WIDTH, panels * height
    fig, axes = plt.subplots(panels, 1, figsize=size, squeeze=False, **shared)
    return fig, axes[:, 0]


def style() -> None:
    """Set the defaults of a chapter: transparent figures, mid-grey text and axes, a colour-blind
    palette; whole sentences in tables.
    """
    import pandas as pd
    import seaborn

    pd.set_option("display.max_colwidth", None)

    grey = (
        "text.color",
        "axes.labelcolor",
        "axes.titlecolor",
        "axes.edgecolor",
        "xtick.color",
        "ytick.color",
        "legend.labelcolor",
    )
    sizes = {
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.labelsize": 10,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "legend.fontsize": 9,
    }
    clear = {
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "legend.frameon": False,
    }
    seaborn.set_theme(
        style="ticks",
        palette="colorblind",
        rc={
            **dict.fromkeys(grey, GREY),
            **sizes,
            **clear,
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "grid.color": FAINT,
            "lines.linewidth": 1.6,
        },
    )


def look(rung: str) -> tuple[str, Any, str]:
    """(family, colour, marker) of a model; a stranger's family is drawn as a grey cross."""
    import seaborn

    family = models.family(rung)
    if family not in FAMILIES:
        return family, GREY, "X"
    place, marker = FAMILIES[family]
    return family, seaborn.color_palette("colorblind")[place], marker


def seconds(value: float) -> str:
    """A duration in the unit a person would use.

    >>> seconds(0.03), seconds(4.2), seconds(250), seconds(7300), seconds(float("nan"))
    ('< 1 s', '4 s', '4 min', '2.0 h', '?')
    """
    if not np.isfinite(value):
        return "?"
    if value < 90:
        return f"{value:.0f} s" if value >= 1 else "< 1 s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"
