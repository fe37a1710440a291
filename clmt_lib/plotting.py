"""One style for every figure: colour-blind safe, readable on a white and on a dark page. Functions here only draw what they are given.

Call `style()` once, near the top of a chapter. Every plot returns its axes, and leaves `plt.show()` to the cell.
"""

import numpy as np

GREY = "#787878"  # the one grey with about 4.4 : 1 contrast against both a white and a near-black page
FAINT = "#78787855"
NAMES = {  # rung -> what a reader sees
    "global_mean": "global mean", "drug_mean": "drug mean", "cell_mean": "cell mean", "tissue_drug_mean": "drug mean in tissue", "effects": "drug + cell effects",
    "neighbours_fingerprint": "neighbours (fingerprint)", "neighbours_text": "neighbours (text)", "ridge": "ridge (all pairs)", "ridge_per_drug": "ridge per drug",
    "elastic_net_per_drug": "elastic net per drug", "random_forest": "random forest", "lightgbm": "LightGBM", "als": "factorisation (ALS)",
    "kernel_identity": "kernel ridge (drug identity)", "kernel_fingerprint": "kernel ridge (fingerprint)", "kernel_annotation": "kernel ridge (annotation)",
    "kernel_text": "kernel ridge (text)", "kernel_mechanism": "kernel ridge (long text)", "learned_kernel": "learned-kernel ridge", "clmt": "CLMT",
    "clmt_unaligned": "CLMT, not aligned", "clmt_response": "CLMT, aligned to response",
}
FAMILIES = {  # family -> (rungs, place in the colour-blind palette, marker)
    "means": (("global_mean", "drug_mean", "cell_mean", "tissue_drug_mean", "effects"), 7, "s"),
    "neighbours": (("neighbours_fingerprint", "neighbours_text"), 5, "v"),
    "linear": (("ridge", "ridge_per_drug", "elastic_net_per_drug"), 0, "^"),
    "trees": (("random_forest", "lightgbm"), 2, "P"),
    "no features": (("als", "learned_kernel"), 3, "D"),
    "kernels": (("kernel_identity", "kernel_fingerprint", "kernel_annotation", "kernel_text", "kernel_mechanism"), 1, "o"),
    "network": (("clmt", "clmt_unaligned", "clmt_response"), 4, "*"),
}
LABELS = {  # metric -> label of its axis
    "rmse": "RMSE, ln(µM)  ← better", "mae": "MAE, ln(µM)  ← better", "pcc": "global r  → better", "pcc_per_drug": "per-drug r  → better",
    "pcc_normalised": "normalised r  → better", "pcc_per_cell": "per-cell r  → better",
}


def style():
    """Set matplotlib's and seaborn's defaults for a chapter: transparent figures, mid-grey text and axes, colour-blind palette."""
    import seaborn

    grey = ("text.color", "axes.labelcolor", "axes.titlecolor", "axes.edgecolor", "xtick.color", "ytick.color", "legend.labelcolor")
    sizes = {"font.size": 10, "axes.titlesize": 11, "axes.labelsize": 10, "xtick.labelsize": 9, "ytick.labelsize": 9, "legend.fontsize": 9}
    clear = {"figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none", "legend.frameon": False}
    seaborn.set_theme(style="ticks", palette="colorblind", rc={
        **dict.fromkeys(grey, GREY), **sizes, **clear, "figure.dpi": 110, "figure.constrained_layout.use": True, "axes.spines.top": False,
        "axes.spines.right": False, "grid.color": FAINT, "lines.linewidth": 1.6,
    })


def display_name(rung):
    """What a reader sees for a rung.

    >>> display_name("als"), display_name("my_rung")
    ('factorisation (ALS)', 'my rung')
    """
    return NAMES.get(rung, rung.replace("_", " "))


def look(rung):
    """(family, colour, marker) of a rung; a stranger is a grey cross."""
    import seaborn

    for family, (rungs, place, marker) in FAMILIES.items():
        if rung in rungs:
            return family, seaborn.color_palette("colorblind")[place], marker
    return "other", GREY, "X"


def seconds(value):
    """A duration in the unit a person would use.

    >>> seconds(0.03), seconds(4.2), seconds(250), seconds(7300), seconds(float("nan"))
    ('< 1 s', '4 s', '4 min', '2.0 h', '?')
    """
    if not np.isfinite(value):
        return "?"
    if value < 90:
        return f"{value:.0f} s" if value >= 1 else "< 1 s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"


def ladder(frame, metrics=("rmse", "pcc_per_drug"), title="", chance=None):
    """Rungs from bottom to top of the ladder, one panel a metric; bars are intervals; fit seconds and folds stand at the right.

    Parameters
    ----------
    frame : [rungs] frame as `records.ladder` gives it: `<metric>`, optionally `<metric>_low` and `<metric>_high`, `seconds`, `folds`
    chance : metric -> value of a guess that knows nothing, drawn as a dotted line

    Returns
    -------
    [metrics] array of axes. A rung with fewer folds than the others is drawn hollow: its mean is over other test sets. A rung far behind is an arrow at the edge.
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(metrics), figsize=(4.3 * len(metrics), 1.1 + 0.27 * len(frame)), sharey=True, squeeze=False)
    most = frame["folds"].max() if "folds" in frame else None
    for ax, metric in zip(axes[0], metrics, strict=True):
        left, right = _focus(frame, metric)
        for row, (rung, values) in enumerate(frame.iterrows()):
            _rung(ax, values, metric, row, look(rung), (left, right), hollow=most is not None and values["folds"] < most)
        if chance and left < chance.get(metric, np.nan) < right:
            ax.axvline(chance[metric], color=GREY, linestyle=":", linewidth=1.2)
        ax.set(xlim=(left, right), xlabel=LABELS.get(metric, metric))
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
        ax.plot([values[f"{metric}_low"], values[f"{metric}_high"]], [row, row], color=colour, linewidth=2.2, alpha=0.6, solid_capstyle="butt")
    size = 9 if marker == "*" else 6
    return ax.plot(value, row, marker, color=colour, markersize=size, markerfacecolor="none" if hollow else colour)


def _focus(frame, metric):
    """Limits that show the rungs worth telling apart: those not much further from the best than half of them are."""
    values = frame[metric].astype(float)
    gap = (values - (values.min() if metric in ("rmse", "mae") else values.max())).abs()
    near = frame[gap <= max(3 * gap.median(), 1e-3)]
    low, high = (near.get(f"{metric}_{side}", near[metric]) for side in ("low", "high"))
    pad = 0.06 * max(high.max() - low.min(), 1e-3)
    return low.min() - pad, high.max() + pad


def _margin(ax, frame):
    """Seconds per fit and number of folds, right of the last panel."""
    columns = [(column, write) for column, write in (("seconds", seconds), ("folds", lambda n: f"{n:.0f}")) if column in frame]
    for place, (column, write) in enumerate(columns):
        cells = [(-0.6, {"seconds": "fit"}.get(column, column), "bottom"), *((row, write(value), "center") for row, value in enumerate(frame[column]))]
        for row, text, align in cells:
            ax.annotate(text, (1.03 + 0.17 * place, row), xycoords=("axes fraction", "data"), fontsize=8.5, va=align, annotation_clip=False)


def _families(fig, rungs):
    from matplotlib.lines import Line2D

    found = dict.fromkeys(look(rung) for rung in rungs)
    handles = [Line2D([], [], color=colour, marker=marker, linestyle="", label=family) for family, colour, marker in found]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.0, handletextpad=0.2)


def paired(frame, label="", ax=None):
    """Forest plot of paired differences: dot and interval a row, a line at zero, the number of folds at the right.

    Parameters
    ----------
    frame : index what is compared; columns mean, low, high, optionally folds
    label : of the axis

    Returns
    -------
    axes. An interval that holds zero is drawn grey and hollow: a tie.
    """
    import matplotlib.pyplot as plt
    import seaborn

    ax = ax or plt.subplots(figsize=(7, 0.9 + 0.34 * len(frame)))[1]
    for row, (_, values) in enumerate(frame.iterrows()):
        tie = values["low"] <= 0 <= values["high"]
        colour = GREY if tie else seaborn.color_palette("colorblind")[0]
        ax.plot([values["low"], values["high"]], [row, row], color=colour, linewidth=2.2, alpha=0.7)
        ax.plot(values["mean"], row, "o", color=colour, markerfacecolor="none" if tie else colour)
    ax.axvline(0, color=GREY, linewidth=1)
    ax.set_yticks(range(len(frame)), frame.index)
    ax.set_ylim(len(frame) - 0.4, -0.6)
    ax.set_xlabel(label)
    ax.grid(axis="x")
    if "folds" in frame:
        _margin(ax, frame[["folds"]])
    return ax


def by_drug(measured, predicted, drug, title="", ax=None):
    """Measured against predicted, one colour and marker a drug, with the line through each drug's own points.

    Parameters
    ----------
    measured, predicted, drug : [pairs] ln IC50 (ln uM), ln IC50 (ln uM), label

    Returns
    -------
    axes
    """
    import matplotlib.pyplot as plt
    import seaborn

    ax = ax or plt.subplots(figsize=(4, 3.6))[1]
    measured, predicted, drug = map(np.asarray, (measured, predicted, drug))
    for place, (label, marker) in enumerate(zip(dict.fromkeys(drug.tolist()), "osD^vP*X" * 99)):
        y, p, colour = measured[drug == label], predicted[drug == label], seaborn.color_palette("colorblind")[place % 10]
        ax.plot(p, y, marker, color=colour, alpha=0.75, markersize=5, label=label)
        if np.ptp(p) > 1e-9:
            ends = np.array([p.min(), p.max()])
            ax.plot(ends, np.polyval(np.polyfit(p, y, 1), ends), color=colour)
    ax.set(xlabel="predicted ln(IC50)", ylabel="measured ln(IC50)", title=title)
    ax.legend(fontsize=8, handletextpad=0.1)
    return ax


def before_after(before, after, names, label="", ax=None):
    """Two columns of dots, each pair joined by a line: what a choice seemed worth, and what it was worth on fresh data.

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

    ax = ax or plt.subplots(figsize=(5, 3.4))[1]
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


def anatomy(benchmark, lines=48, drugs=40, genes=24):
    """A benchmark at a glance, on an evenly spaced sample: a table of lines (left), a table of drugs (top), and the responses that join them, holes left open.

    Parameters
    ----------
    benchmark : DrugResponse with expression and drug targets

    Returns
    -------
    [2, 2] array of axes; the first is empty.
    """
    import matplotlib.pyplot as plt
    import seaborn

    c, d = (np.unique(np.linspace(0, n - 1, min(n, most)).astype(int)) for n, most in ((benchmark.n_cells, lines), (benchmark.n_drugs, drugs)))
    pathways = benchmark.drugs["pathway"].value_counts().index
    facts = np.array([[pathway == name for pathway in benchmark.drugs["pathway"].iloc[d]] for name in pathways], dtype=float)  # [pathways, drugs]
    omics = benchmark.omics["expression"].to_numpy()[c, :genes]  # [lines, genes]
    fig, axes = plt.subplots(2, 2, figsize=(7.6, 5.4), gridspec_kw={"width_ratios": [omics.shape[1], 1.5 * len(d)], "height_ratios": [1, 4]})
    axes[0, 0].axis("off")
    axes[0, 1].imshow(np.where(facts > 0, 1.0, np.nan), cmap="Greys", vmin=0, vmax=1.7, aspect="auto")
    axes[1, 0].imshow(omics, cmap="PuOr", vmin=-3, vmax=3, aspect="auto")
    picture = axes[1, 1].imshow(benchmark.matrix()[np.ix_(c, d)], cmap=seaborn.color_palette("viridis", as_cmap=True), aspect="auto")
    for ax, title in ((axes[0, 1], "table of drugs: pathway, target, structure, text"), (axes[1, 0], "table of cell lines: omics"), (axes[1, 1], "responses: one number a pair")):
        ax.set(xticks=[], yticks=[], title=title)
    axes[1, 0].set_ylabel("cell lines")
    axes[1, 1].set_xlabel("drugs")
    fig.colorbar(picture, ax=axes[:, 1], label="ln(IC50), ln(µM)", shrink=0.7)
    return axes


def dose_response(curves, highest, lowest=0.01):
    """Viability against dose for named Hill curves, the tested range apart from the extrapolated, the IC50 of each marked.

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

    ax = plt.subplots(figsize=(6.4, 3.4))[1]
    ends = np.log(lowest), np.log(highest)
    for (name, (ln_ic50, slope)), colour, marker in zip(curves.items(), seaborn.color_palette("colorblind"), "osD^v"):
        for start, stop, dash in ((*ends, "-"), (ends[1], ends[1] + 4, ":")):
            dose = np.linspace(start, stop, 100)
            ax.plot(dose, 1 / (1 + np.exp(slope * (dose - ln_ic50))), dash, color=colour)
        tested = np.linspace(*ends, 7)
        ax.plot(tested, 1 / (1 + np.exp(slope * (tested - ln_ic50))), marker, color=colour, markersize=4)
        ax.plot(ln_ic50, 0.5, marker, color=colour, markersize=10, markerfacecolor="none", markeredgewidth=2, label=f"{name}: ln(IC50) = {ln_ic50:.1f}")
    ax.axhline(0.5, color=GREY, linewidth=0.8)
    ax.axvspan(ends[1], ends[1] + 4, color=GREY, alpha=0.12, linewidth=0)
    ax.text(ends[1] + 0.15, 0.97, "never tested", fontsize=9)
    ax.set(xlabel="dose, ln(µM)", ylabel="share of cells alive", ylim=(0, 1.05))
    ax.legend(loc="lower left")
    return ax


def shares(frame, label="share of variance"):
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

    fig, ax = plt.subplots(figsize=(7, 1.3 + 0.5 * len(frame)))
    start, rows = np.zeros(len(frame)), np.arange(len(frame))
    for place, part in enumerate(frame):
        value, colour = frame[part].fillna(0).to_numpy(float), seaborn.color_palette("colorblind")[place % 10]
        ax.barh(rows, value, left=start, height=0.6, color=colour, label=part)
        ink = "black" if np.dot(colour, (0.3, 0.6, 0.1)) > 0.45 else "white"
        for row in rows[value > 0.03]:
            ax.text(start[row] + value[row] / 2, row, f"{value[row]:.0%}", ha="center", va="center", fontsize=9, color=ink)
        start = start + value
    ax.set_yticks(rows, frame.index)
    ax.set(xlabel=label, xlim=(0, max(1.0, start.max())), ylim=(len(frame) - 0.5, -0.5))
    fig.legend(loc="outside lower center", ncols=frame.shape[1], columnspacing=1.2, handlelength=1.2)
    return ax


def split_maps(benchmark, splits, drug_order=None, cell_order=None, most=64):
    """One map a split, on an evenly spaced sample: cell lines down, drugs across, each measured pair in the colour of its role, holes open.

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
    order = [np.arange(n) if given is None else np.asarray(given) for n, given in ((benchmark.n_cells, cell_order), (benchmark.n_drugs, drug_order))]
    order = [rows[np.unique(np.linspace(0, len(rows) - 1, most).astype(int))] for rows in order]
    fig, axes = plt.subplots(1, len(splits), figsize=(1.75 * len(splits), 3.3), squeeze=False)
    for ax, (title, split) in zip(axes[0], splits.items()):
        table = np.full((benchmark.n_cells, benchmark.n_drugs), np.nan)
        for code, positions in enumerate(split.roles().values()):
            table[tuple(benchmark.pairs[positions].T)] = code
        ax.imshow(table[np.ix_(*order)], cmap=ListedColormap(list(roles.values())), vmin=-0.5, vmax=2.5, aspect="auto", interpolation="nearest")
        ax.set(xticks=[], yticks=[], title=title, xlabel="drugs")
    axes[0][0].set_ylabel("cell lines")
    fig.legend(handles=[Patch(color=colour, label=role) for role, colour in roles.items()], loc="outside lower center", ncols=3)
    return axes[0]


def pooling(steps, words, vectors, pooled, dims=64):
    """From facts to one vector: what is written, a row of numbers a token, and their mean below; padded rows (NaN) stay open.

    Parameters
    ----------
    steps : lines of text; words [tokens]; vectors [tokens, dim]; pooled [dim]; dims : how many are drawn

    Returns
    -------
    [2] array of axes
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(2, 1, figsize=(7.4, 1.5 + 0.24 * len(words)), gridspec_kw={"height_ratios": [len(words), 1]})
    for ax, rows, names in zip(axes, (vectors, pooled[None]), (words, ["mean, without padding"]), strict=True):
        picture = ax.imshow(rows[:, :dims], cmap="PuOr", vmin=-0.8, vmax=0.8, aspect="auto", interpolation="nearest")
        ax.set(xticks=[], yticks=range(len(names)), yticklabels=names)
    axes[0].set_title("\n".join(steps), loc="left", fontsize=10)
    axes[1].set_xlabel(f"the first {dims} of {vectors.shape[1]} numbers")
    fig.colorbar(picture, ax=axes, shrink=0.6)
    return axes


def text_map(points, label, title="", most=7, ax=None):
    """[n, 2] points in the colour and marker of their label; labels beyond the `most` common ones are small and grey."""
    import matplotlib.pyplot as plt
    import seaborn

    ax, label = ax or plt.subplots(figsize=(6, 4))[1], np.asarray(label, dtype=str)
    names, count = np.unique(label, return_counts=True)
    shown = names[np.argsort(-count, kind="stable")[:most]]
    ax.plot(*points[~np.isin(label, shown)].T, ".", color=GREY, markersize=4)
    for name, colour, marker in zip(shown, seaborn.color_palette("colorblind"), "osD^vP*Xph"):
        ax.plot(*points[label == name].T, marker, color=colour, markersize=6, label=name.replace("_", " "))
    ax.set(xticks=[], yticks=[], title=title)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, fontsize=8, handletextpad=0.1, columnspacing=0.8)
    return ax
