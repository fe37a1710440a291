"""Every predictor behind one interface: `fit(benchmark, split)`, `predict(pairs)`, `state()`.

`fit` learns from the train role and may choose settings on the valid role; it never reads the test
role. `predict` takes [n, 2] positions (cell, drug) and returns
[n] ln IC50 in ln uM. `state()` names every fitted array, so that a leak test can compare them bit
by bit.
"""

from importlib import import_module

from clmt_lib.io import DataError

LADDER = {  # rung -> (module, class, settings); order is the order of the page
    "global_mean": ("baselines.means", "Means", {"by": "global"}),
    "drug_mean": ("baselines.means", "Means", {"by": "drug"}),
    "cell_mean": ("baselines.means", "Means", {"by": "cell"}),
    "tissue_drug_mean": ("baselines.means", "Means", {"by": "tissue_drug"}),
    "effects": ("baselines.means", "Means", {"by": "effects"}),
    "neighbours_fingerprint": ("baselines.means", "Neighbours", {"similarity": "fingerprint"}),
    "neighbours_text": ("baselines.means", "Neighbours", {"similarity": "text"}),
    "ridge": ("baselines.linear", "PairRidge", {}),
    "ridge_per_drug": ("baselines.linear", "RidgePerDrug", {}),
    "elastic_net_per_drug": ("baselines.linear", "ElasticNetPerDrug", {}),
    "random_forest": ("baselines.trees", "RandomForest", {}),
    "lightgbm": ("baselines.trees", "LightGBM", {}),
    "als": ("baselines.factors", "ALS", {}),
    "kernel_identity": ("kernels", "KernelRidge", {"drug_kernel": "identity"}),
    "kernel_fingerprint": ("kernels", "KernelRidge", {"drug_kernel": "fingerprint"}),
    "kernel_annotation": ("kernels", "KernelRidge", {"drug_kernel": "annotation"}),
    "kernel_text": ("kernels", "KernelRidge", {"drug_kernel": "text"}),
    "kernel_mechanism": ("kernels", "KernelRidge", {"drug_kernel": "mechanism"}),
    "kernel_omics": ("kernels", "KernelRidge", {"lines": "omics"}),
    "kernel_auxiliary": ("kernels", "KernelRidge", {"lines": "more"}),
    **{
        f"drugs_{part}": (
            "baselines.drug_ridge",
            "DrugRidge",
            {"kinds": (part,), "ridges": (0.3, 1.0, 2.5, 6.0)},
        )
        for part in (
            "random",
            "shuffled",
            "name",
            "fingerprint",
            "pathway",
            "targets",
            "annotation",
            "text",
            "mechanism",
            "long",
            "steps",
        )
    },
    "processes": ("baselines.drug_ridge", "DrugRidge", {}),
    "target_states": ("baselines.drug_ridge", "DrugRidge", {"states": (0.05, 0.1, 0.15)}),
    "learned_kernel": ("kernels", "LearnedKernelRidge", {}),
    "clmt_published": ("clmt.published", "Published", {}),
    "clmt_repaired": ("clmt.published", "Published", {"defects": ()}),
    "clmt_unaligned": ("clmt.corrected", "CLMT", {"alignment": "none"}),
    "clmt_soft": ("clmt.corrected", "CLMT", {"alignment": "soft"}),
    "clmt_response": ("clmt.corrected", "CLMT", {"alignment": "response", "weight": 0.3}),
    "clmt": ("clmt.corrected", "CLMT", {}),
    "clmt_long": ("clmt.corrected", "CLMT", {"steps": 500}),
    "clmt_kernel": ("stack", "Blend", {}),
    "stack": ("stack", "Stack", {}),
    "stack_clmt": ("stack", "Blend", {"parts": ("stack", "clmt")}),
    "stack_auxiliary": ("stack", "Stack", {"more": True}),
    "stack_auxiliary_clmt": ("stack", "Blend", {"parts": ("stack_auxiliary", "clmt")}),
}


def names():
    """Names of every model `build` knows, in the order of the ladder."""
    return tuple(LADDER)


def model_class(name):
    """The class behind a name, imported when asked for.

    Raises
    ------
    DataError
        Unknown name.
    """
    if name not in LADDER:
        raise DataError(f"unknown model {name!r}", remedy=f"use one of: {', '.join(LADDER)}")
    module, cls, _ = LADDER[name]
    return getattr(import_module(f"clmt_lib.models.{module}"), cls)


def build(name, **settings):
    """A fresh model by its name on the ladder; `settings` override its defaults.

    >>> build("drug_mean").by
    'drug'

    Raises
    ------
    DataError
        Unknown name or setting.
    """
    cls = model_class(name)
    known = cls.known_settings()
    unknown = sorted(set(settings) - known)
    if unknown:
        raise DataError(
            f"model {name!r} has no setting {unknown[0]!r}",
            remedy=f"use one of: {', '.join(sorted(known)) or 'none'}",
        )
    return cls.make(**{**LADDER[name][2], **settings})
