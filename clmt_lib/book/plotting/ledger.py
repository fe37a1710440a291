"""The ledger and the mixed split: verdicts, published values beside ours, twins and replicates
(chapters 09 and 09a).
"""

from collections.abc import Mapping
from html import escape
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from clmt_lib import tasks
from clmt_lib.book.plotting.style import FAINT, GREY, LABELS, WIDTH, display_name, look

MARKS = {
    "reproduced": ("●", 0),
    "partly": ("◐", 2),
    "not": ("◆", 1),
    "not testable": ("□", None),
    "open": ("…", None),
}  # verdict -> (mark, place in the colour-blind palette)
SHAPES = {"reproduced": "o", "partly": "s", "not": "D", "not testable": "X", "open": "P"}
WHERE = {
    "abstract": "abstract",
    "paper": "paper",
    "code": "expected of published code",
    "log": "log of the authors",
    "here": "own claim",
}
OUTCOMES = {
    "holds": "holds",
    "half": "holds by half",
    "fails": "fails",
    "open": "open",
    "cannot": "cannot be decided",
}
SHORT = {"mse": "MSE", "rmse": "RMSE", "pcc": "global r", "pcc_per_drug": "per-drug r"}


def verdict_colour(verdict: str) -> str:
    """Colour of a verdict; grey where there is none."""
    import seaborn

    place = MARKS[verdict][1]
    return GREY if place is None else seaborn.color_palette("colorblind")[place]


def cases(frame: pd.DataFrame, label: str = "", ax: Axes | None = None) -> Axes:
    """What a rule makes of intervals: a row each, dot and interval, a line at zero, the verdict in
    words at the right.

    Parameters
    ----------
    frame : index what is compared; columns mean, low, high, verdict, optionally folds (said beside
        the verdict)

    Returns
    -------
    axes. Colour and shape of the dot are the verdict's.
    """
    import matplotlib.pyplot as plt

    ax = ax or plt.subplots(figsize=(WIDTH, 0.9 + 0.42 * len(frame)))[1]
    for row, (_, values) in enumerate(frame.iterrows()):
        colour, clear = (
            verdict_colour(values["verdict"]),
            values["verdict"] in ("open", "not testable"),
        )
        ax.plot([values["low"], values["high"]], [row, row], color=colour, linewidth=2.4, alpha=0.7)
        ax.plot(
            values["mean"],
            row,
            SHAPES[values["verdict"]],
            color=colour,
            markersize=7,
            markerfacecolor="none" if clear else colour,
        )
        folds = (
            f", {values['folds']:.0f} fold{'' if values['folds'] == 1 else 's'}"
            if "folds" in values
            else ""
        )
        ax.annotate(
            f"{values['verdict']}{folds}",
            (1.02, row),
            xycoords=("axes fraction", "data"),
            fontsize=9,
            va="center",
            annotation_clip=False,
        )
    ax.axvline(0, color=GREY, linewidth=1)
    ax.set_yticks(range(len(frame)), [fill(str(name), 24) for name in frame.index])
    ax.set_ylim(len(frame) - 0.4, -0.6)
    ax.set_xlabel(label)
    ax.grid(axis="x")
    return ax


def source_of(claim: Any, names: Mapping[str, str] | None = None) -> str:
    """Whose claim, and where it stands, in words."""
    name = (names or {}).get(claim["by"], claim["by"])
    return name if claim["where"] == "here" else f"{name}, {WHERE[claim['where']]}"


def verdict_counts(
    frame: pd.DataFrame, names: Mapping[str, str] | None = None, ax: Axes | None = None
) -> Axes:
    """Whose claims, and what became of them: a bar a source, a piece a verdict, its number inside.

    Parameters
    ----------
    frame : rows as `records.ledger` gives them
    names : source -> what a reader sees

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt

    source = frame.apply(source_of, axis=1, names=names)
    sources = list(dict.fromkeys(source))
    ax = ax or plt.subplots(figsize=(WIDTH, 1.6 + 0.42 * len(sources)))[1]
    for row, who in enumerate(sources):
        left = 0
        for verdict in MARKS:
            count = int(((source == who) & (frame["verdict"] == verdict)).sum())
            if count:
                ax.barh(row, count, left=left, linewidth=0.9, **_fill(verdict))
                ax.annotate(
                    str(count),
                    (left + count / 2, row),
                    ha="center",
                    va="center",
                    fontsize=9,
                    color=GREY if MARKS[verdict][1] is None else "white",
                    fontweight="bold",
                )
            left += count
    ax.set_yticks(range(len(sources)), [fill(name, 22) for name in sources])
    ax.set_ylim(len(sources) - 0.4, -0.6)
    ax.set_xlabel("claims")
    _verdict_legend(ax, [verdict for verdict in MARKS if (frame["verdict"] == verdict).any()])
    return ax


def _fill(verdict):
    """How the piece of a verdict is filled: hollow where nothing is decided, with a dotted edge
    where it is open.
    """
    return {
        "facecolor": "none" if MARKS[verdict][1] is None else verdict_colour(verdict),
        "edgecolor": GREY,
        "linestyle": ":" if verdict == "open" else "-",
    }


def _verdict_legend(ax, shown):
    from matplotlib.patches import Patch

    handles = [Patch(label=verdict, **_fill(verdict)) for verdict in shown]
    ax.figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=2,
        columnspacing=1.0,
        handletextpad=0.4,
    )


def beside_published(
    frame: pd.DataFrame, metric: str = "rmse", title: str = "", ax: Axes | None = None
) -> Axes:
    """Published values and our rungs on one scale, best on top: hollow diamonds are published, the
    rest ours, with intervals where known.

    Parameters
    ----------
    frame : index name (a rung of ours, or who published); columns value, published (bool),
        optionally low, high

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt

    frame = frame.sort_values(
        "value", ascending=not tasks.find(metric).higher_is_better, kind="stable"
    )
    ax = ax or plt.subplots(figsize=(WIDTH, 0.9 + 0.3 * len(frame)))[1]
    for row, (name, values) in enumerate(frame.iterrows()):
        _, colour, marker = (None, GREY, "D") if values["published"] else look(name)
        if np.isfinite(values.get("low", np.nan)):
            ax.plot(
                [values["low"], values["high"]], [row, row], color=colour, linewidth=2.4, alpha=0.6
            )
        ax.plot(
            values["value"],
            row,
            marker,
            color=colour,
            markersize=7,
            markerfacecolor="none" if values["published"] else colour,
        )
    ax.set_yticks(
        range(len(frame)),
        [
            f"{name} (published)" if published else display_name(name)
            for name, published in frame["published"].items()
        ],
    )
    ax.set_ylim(len(frame) - 0.4, -0.6)
    ax.set(xlabel=LABELS.get(metric, metric), title=title)
    ax.grid(axis="x")
    return ax


def nearest_twins(
    nearest: Mapping[str, np.ndarray], twins: Mapping[str, Any], ax: Axes | None = None
) -> Axes:
    """How alike the nearest twin is: for each correlation, the share of drugs and of lines whose
    nearest twin is at least as alike; dots mark what we call a near twin.

    Parameters
    ----------
    nearest : {"drugs": quantiles, "lines": quantiles}, correlations at evenly spaced quantiles from
        0 to 1
    twins : {"drug_r", "line_r"}: where a twin begins

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    ax = ax or plt.subplots(figsize=(WIDTH, 3.4))[1]
    for side, line, marker, mark in (
        ("drugs", "-", "o", twins["drug_r"]),
        ("lines", "--", "s", twins["line_r"]),
    ):
        values, colour = (
            np.asarray(nearest[side]),
            seaborn.color_palette("colorblind")[0 if side == "drugs" else 1],
        )
        share = 1 - np.linspace(0, 1, len(values))
        ax.plot(values, share, line, color=colour, label=side)
        ax.plot(mark, np.interp(mark, values, share), marker, color=colour, markersize=8)
    ax.set(
        xlabel="residual correlation with the nearest twin",
        ylabel="share with a twin at least as alike",
        xlim=(0.2, 1),
        ylim=(-0.03, 1.03),
    )
    ax.legend()
    ax.grid()
    return ax


def errors_by_group(frame: pd.DataFrame, groups: Mapping[str, Any], ax: Axes | None = None) -> Axes:
    """RMSE of a few rungs in groups of test pairs: a row a group, a mark a rung.

    Parameters
    ----------
    frame : rows {model, group, rmse}
    groups : which groups, from top to bottom

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt

    ax = ax or plt.subplots(figsize=(WIDTH, 1.5 + 0.45 * len(groups)))[1]
    table = frame.pivot(index="group", columns="model", values="rmse").reindex(groups)[
        list(dict.fromkeys(frame["model"]))
    ]
    for row, (_, values) in enumerate(table.iterrows()):
        ax.plot([values.min(), values.max()], [row, row], color=FAINT, linewidth=1.5, zorder=0)
        for model, value in values.dropna().items():
            _, colour, marker = look(model)
            ax.plot(
                value,
                row,
                marker,
                color=colour,
                markersize=7,
                markerfacecolor="none" if model == "als" else colour,
            )
    ax.set_yticks(range(len(groups)), [fill(str(name), 22) for name in groups])
    ax.set_ylim(len(groups) - 0.4, -0.6)
    ax.set_xlabel(LABELS["rmse"])
    ax.grid(axis="x")
    _models_legend(ax, table.columns)
    return ax


def _models_legend(ax, names):
    from matplotlib.lines import Line2D

    looks = [(name, *look(name)[1:]) for name in names]
    handles = [
        Line2D(
            [],
            [],
            color=c,
            marker=m,
            linestyle="",
            markerfacecolor="none" if name == "als" else c,
            label=display_name(name),
        )
        for name, c, m in looks
    ]
    ax.figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=2,
        columnspacing=1.0,
        handletextpad=0.2,
    )


def replicate_noise(
    frame: pd.DataFrame, errors: Mapping[str, float] | None = None, ax: Axes | None = None
) -> Axes:
    """How far apart two measurements of one compound in one line are, as the sd of one measurement:
    a dot a pair of ids, their root mean square, and lines where models stand.

    Parameters
    ----------
    frame : rows {compound, lines, sd_measurement} (ln uM)
    errors : rung -> RMSE, drawn as vertical lines

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    frame = frame.sort_values("sd_measurement", kind="stable")
    ax = ax or plt.subplots(figsize=(WIDTH, 1.8 + 0.28 * len(frame)))[1]
    ax.plot(
        frame["sd_measurement"],
        range(len(frame)),
        "o",
        color=seaborn.color_palette("colorblind")[0],
        markersize=7,
    )
    ax.axvline(
        np.sqrt((frame["sd_measurement"] ** 2).mean()),
        color=GREY,
        linestyle="--",
        linewidth=1.2,
        label="root mean square of the dots",
    )
    for rung, value in (errors or {}).items():
        ax.axvline(
            value,
            color=look(rung)[1],
            linewidth=1.8,
            linestyle="-" if look(rung)[1] != GREY else "-.",
            label=f"RMSE, {display_name(rung)}",
        )
    ax.figure.legend(loc="outside lower center", ncols=1)
    ax.set_yticks(
        range(len(frame)),
        [f"{c} ({n:.0f} lines)" for c, n in zip(frame["compound"], frame["lines"], strict=True)],
    )
    ax.set_ylim(len(frame) - 0.4, -0.6)
    ax.set_xlabel("standard deviation, ln(µM)")
    ax.grid(axis="x")
    return ax


def evidence_line(row: Mapping[str, Any] | pd.Series) -> str:
    """One test of a claim in words.

    >>> import pandas as pd
    >>> row = {"test": "compare", "dataset": "gdsc2", "split": "mixed", "metric": "rmse"}
    >>> row |= {"what": "als", "against": "effects", "mean": -0.354, "low": -0.406, "high": -0.301}
    >>> row |= {"folds": 3.0, "claimed": float("nan"), "outcome": "holds", "why": "better"}
    >>> evidence_line(pd.Series(row))[:57]
    'factorisation (ALS) − drug + cell effects, gdsc2 mixed, 3'
    """
    end = f"{OUTCOMES[row['outcome']]}: {row['why']}"
    if row["test"] in ("fact", "untestable"):
        return end
    what, against = (
        display_name(row[key]) if isinstance(row[key], str) else "" for key in ("what", "against")
    )
    if row["test"] == "easier":
        what, against = what.replace(" ", "-"), against.replace(" ", "-")
    where = f"{row['dataset']} {row['split']}" if isinstance(row["split"], str) else row["dataset"]
    if not np.isfinite(row["mean"]):
        return f"{what}{' − ' + against if against else ''}, {where}; {end}"
    at = f"{where}, {row['folds']:.0f} fold{'' if row['folds'] == 1 else 's'}"
    score = f"{SHORT[row['metric']]} {_number(row, signed=not np.isfinite(row['claimed']))}"
    if row["test"] == "reach":
        return f"published {row['claimed']:.3f}, {what}, {at}: {score}; {end}"
    if row["test"] == "clear_of":
        return f"{row['what']} published {row['claimed']:.3f}, {against}, {at}: {score}; {end}"
    return f"{what} − {against}, {at}: {score}; {end}"


def _number(row, signed):
    form = "+.3f" if signed else ".3f"
    return f"{row['mean']:{form}} [{row['low']:{form}}, {row['high']:{form}}]".replace("-", "−")


class Cards:
    """A ledger as a list that reads on a phone: a line a claim, and behind it the claim, the
    evidence and the reason. A notebook shows it as HTML, a terminal as text.
    """

    def __init__(
        self,
        ledger: pd.DataFrame,
        evidence: pd.DataFrame,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.claims = [
            (claim, [evidence_line(row) for _, row in evidence[evidence["id"] == name].iterrows()])
            for name, claim in ledger.iterrows()
        ]
        self.names = names

    def __repr__(self):
        return "\n".join(
            f"{MARKS[claim['verdict']][0]} {claim['verdict']}: {claim['title']} "
            f"({source_of(claim, self.names)})"
            for claim, _ in self.claims
        )

    def _repr_html_(self) -> str:
        return "\n".join(
            ["<div>", *(self._card(claim, lines) for claim, lines in self.claims), "</div>"]
        )

    def _card(self, claim, lines):
        mark, verdict = MARKS[claim["verdict"]][0], escape(claim["verdict"])
        head = (
            f"<summary style='cursor:pointer'>{mark} <b>{verdict}</b>: "
            f"{escape(claim['title'])} <span "
            f"style='opacity:.75'>({escape(source_of(claim, self.names))})</span></summary>"
        )
        items = "".join(f"<li>{escape(line)}</li>" for line in lines)
        return (
            "<details style='margin:.35em 0;border-left:3px solid "
            f"{GREY};padding-left:.6em'>{head}<p style='margin:.4em "
            f"0'>{escape(claim['claim'])}</p><ul>{items}</ul></details>"
        )
