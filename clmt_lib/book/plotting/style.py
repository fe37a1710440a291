"""Colours, names and the defaults of every figure."""

import numpy as np

GREY = (
    "#787878"  # the one grey with about 4.4 : 1 contrast against both a white and a near-black page
)
FAINT = "#78787855"
NAMES = {  # rung -> what a reader sees
    "global_mean": "global mean",
    "drug_mean": "drug mean",
    "cell_mean": "cell mean",
    "tissue_drug_mean": "drug mean in tissue",
    "effects": "drug + cell effects",
    "neighbours_fingerprint": "neighbours (fingerprint)",
    "neighbours_text": "neighbours (text)",
    "ridge": "ridge (all pairs)",
    "ridge_per_drug": "ridge per drug",
    "elastic_net_per_drug": "elastic net per drug",
    "random_forest": "random forest",
    "lightgbm": "LightGBM",
    "als": "factorisation (ALS)",
    "kernel_identity": "kernel ridge (drug identity)",
    "kernel_fingerprint": "kernel ridge (fingerprint)",
    "kernel_annotation": "kernel ridge (annotation)",
    "kernel_text": "kernel ridge (text)",
    "kernel_mechanism": "kernel ridge (mechanism)",
    "kernel_omics": "kernel ridge (all omics)",
    "kernel_auxiliary": "kernel ridge (told more)",
    "learned_kernel": "learned-kernel ridge",
    "clmt": "CLMT",
    "drugs_random": "random vectors",
    "drugs_shuffled": "sentences, shuffled",
    "drugs_name": "name only",
    "drugs_fingerprint": "fingerprint",
    "drugs_pathway": "pathway, one-hot",
    "drugs_targets": "shared targets",
    "drugs_annotation": "pathway + targets",
    "drugs_text": "sentence: target, pathway",
    "drugs_mechanism": "mechanism paragraph",
    "drugs_long": "long text",
    "drugs_steps": "shared steps (Reactome)",
    "processes": "steps + targets + texts",
    "target_states": "the same + targets in lines",
    "clmt_published": "CLMT as published",
    "clmt_repaired": "CLMT as published, repaired",
    "clmt_unaligned": "CLMT, not aligned",
    "clmt_soft": "CLMT, softly aligned",
    "clmt_response": "CLMT, aligned to response",
    "clmt_long": "CLMT, trained longer",
    "clmt_kernel": "CLMT + kernel",
    "stack": "stack",
    "stack_clmt": "stack + CLMT",
    "stack_auxiliary": "stack (told more)",
    "stack_auxiliary_clmt": "stack (told more) + CLMT",
}
FAMILIES = {  # family -> (rungs, place in the colour-blind palette, marker)
    "means": (("global_mean", "drug_mean", "cell_mean", "tissue_drug_mean", "effects"), 7, "s"),
    "neighbours": (("neighbours_fingerprint", "neighbours_text"), 5, "v"),
    "linear": (("ridge", "ridge_per_drug", "elastic_net_per_drug"), 0, "^"),
    "trees": (("random_forest", "lightgbm"), 2, "P"),
    "no features": (("als", "learned_kernel"), 3, "D"),
    "kernels": (
        (
            "kernel_identity",
            "kernel_fingerprint",
            "kernel_annotation",
            "kernel_text",
            "kernel_mechanism",
            "kernel_omics",
        ),
        1,
        "o",
    ),
    "ridge over drugs": (
        (
            "drugs_random",
            "drugs_shuffled",
            "drugs_name",
            "drugs_fingerprint",
            "drugs_pathway",
            "drugs_targets",
            "drugs_annotation",
            "drugs_text",
            "drugs_mechanism",
            "drugs_long",
            "drugs_steps",
            "processes",
            "target_states",
        ),
        9,
        "h",
    ),
    "network": (
        (
            "clmt",
            "clmt_unaligned",
            "clmt_soft",
            "clmt_response",
            "clmt_long",
            "clmt_published",
            "clmt_repaired",
        ),
        4,
        "*",
    ),
    "combined": (("clmt_kernel", "stack", "stack_clmt"), 6, "X"),
    "told more": (
        ("kernel_auxiliary", "stack_auxiliary", "stack_auxiliary_clmt"),
        9,
        "d",
    ),  # they read other tables of the same lines (`data.response.auxiliary`)
}
LABELS = {  # metric -> label of its axis
    "rmse": "RMSE, ln(µM)  ← better",
    "mae": "MAE, ln(µM)  ← better",
    "pcc": "global r  → better",
    "pcc_per_drug": "per-drug r  → better",
    "pcc_normalised": "normalised r  → better",
    "pcc_per_cell": "per-cell r  → better",
}


def style():
    """Set matplotlib's and seaborn's defaults for a chapter: transparent figures, mid-grey text and
    axes, colour-blind palette.
    """
    import seaborn

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
