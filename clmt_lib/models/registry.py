"""The open registry of models: what they are called, how they are made, where a stranger's joins.

The book's own models stand in one table, in the order of the page, and are imported when asked for.
Others join by a decorator, or are named by their place::

    @register("similar_lines", display_name="similar lines", family="neighbours")
    class SimilarLines(Model): ...

    build("my_package.my_module:SimilarLines")
"""

import inspect
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from clmt_lib.data.splits import kind_of
from clmt_lib.io import DataError
from clmt_lib.models.base import Model


@dataclass(frozen=True)
class Entry:
    """One registered model.

    Attributes
    ----------
    cls : the class, or where it is ("package.module:Class"), imported when asked for
    settings : what this entry sets; everything else has the default of the class
    display_name, family : what a reader sees; None takes those of the class
    """

    cls: type[Model] | str
    settings: Mapping[str, Any] = field(default_factory=dict)
    display_name: str | None = None
    family: str | None = None


_HERE = "clmt_lib.models"
_MEANS = f"{_HERE}.baselines.means:Means"
_NEIGHBOURS = f"{_HERE}.baselines.means:Neighbours"
_LINEAR = f"{_HERE}.baselines.linear"
_TREES = f"{_HERE}.baselines.trees"
_DRUGS = f"{_HERE}.baselines.drug_ridge:DrugRidge"
_KERNEL = f"{_HERE}.kernels:KernelRidge"
_STACK = f"{_HERE}.stack:Stack"
_BLEND = f"{_HERE}.stack:Blend"
_CLMT = f"{_HERE}.clmt.corrected:CLMT"
_CLDR = f"{_HERE}.cldr:CLDR"
_PUBLISHED = f"{_HERE}.clmt.published:Published"
_STAGED = f"{_HERE}.interaction:StagedRidge"
_UMME = f"{_HERE}.umme:UMME"
_ACMO = {"curriculum": "reliability", "modality_dropout": "scheduled", "align": 0.1}
_DTA = {"head": "mlp", "identity": False, "row_views": ("sequence/expression",)}


_PROTOCOL = f"{_HERE}.protocol"
ENDINGS = {  # of a name -> what is done with the model before it, and how a reader is told
    "refit": (f"{_PROTOCOL}:Refit", {}, "refitted"),
    "level": (f"{_PROTOCOL}:Level", {}, "with level"),
    "dose": (f"{_PROTOCOL}:Level", {"dose": True}, "with level and dose"),
}


def _kernel(name: str, kind: str) -> Entry:
    return Entry(_KERNEL, {"column_kernel": kind}, f"kernel ridge ({name})", "kernels")


def _over_drugs(display_name: str, kind: str) -> Entry:
    settings = {"kinds": (kind,), "ridges": (0.3, 1.0, 2.5, 6.0)}
    return Entry(_DRUGS, settings, display_name, "ridge over drugs")


_ENTRIES: dict[str, Entry] = {  # in the order of the page; `register` adds to the end
    "global_mean": Entry(_MEANS, {"by": "global"}, "global mean", "means"),
    "drug_mean": Entry(_MEANS, {"by": "drug"}, "drug mean", "means"),
    "cell_mean": Entry(_MEANS, {"by": "cell"}, "cell mean", "means"),
    "row_mean": Entry(_MEANS, {"by": "row"}, "row mean", "means"),  # of any two sides
    "column_mean": Entry(_MEANS, {"by": "column"}, "column mean", "means"),
    "tissue_drug_mean": Entry(_MEANS, {"by": "tissue_drug"}, "drug mean in tissue", "means"),
    "effects": Entry(_MEANS, {"by": "effects"}, "drug + cell effects", "means"),
    "neighbours_fingerprint": Entry(
        _NEIGHBOURS, {"similarity": "fingerprint"}, "neighbours (fingerprint)", "neighbours"
    ),
    "neighbours_text": Entry(
        _NEIGHBOURS, {"similarity": "text"}, "neighbours (text)", "neighbours"
    ),
    "ridge": Entry(f"{_LINEAR}:PairRidge", {}, "ridge (all pairs)", "linear"),
    "ridge_per_drug": Entry(f"{_LINEAR}:RidgePerDrug", {}, "ridge per drug", "linear"),
    "elastic_net_per_drug": Entry(
        f"{_LINEAR}:ElasticNetPerDrug", {}, "elastic net per drug", "linear"
    ),
    "random_forest": Entry(f"{_TREES}:RandomForest", {}, "random forest", "trees"),
    "lightgbm": Entry(f"{_TREES}:LightGBM", {}, "LightGBM", "trees"),
    "als": Entry(f"{_HERE}.baselines.factors:ALS", {}, "factorisation (ALS)", "no features"),
    "kernel_identity": _kernel("drug identity", "identity"),
    "kernel_fingerprint": _kernel("fingerprint", "fingerprint"),
    "kernel_annotation": _kernel("annotation", "annotation"),
    "kernel_text": _kernel("text", "text"),
    "kernel_words": _kernel("word counts", "words"),
    "kernel_mechanism": _kernel("mechanism", "mechanism"),
    "kernel_omics": Entry(
        _KERNEL,
        {"row_kernel": "omics", "column_kernel": "text"},
        "kernel ridge (all omics)",
        "kernels",
    ),
    "kernel_auxiliary": Entry(
        _KERNEL,
        {"row_kernel": "auxiliary", "column_kernel": "text"},
        "kernel ridge (auxiliary data)",
        "auxiliary data",
    ),
    "kernel_masked": Entry(
        _KERNEL,
        {"row_kernel": "masked", "column_kernel": "text"},
        "kernel ridge (auxiliary data, masked)",
        "auxiliary data",
    ),
    "drugs_random": _over_drugs("random vectors", "random"),
    "drugs_shuffled": _over_drugs("sentences, shuffled", "shuffled"),
    "drugs_name": _over_drugs("name only", "name"),
    "drugs_fingerprint": _over_drugs("fingerprint", "fingerprint"),
    "drugs_pathway": _over_drugs("pathway, one-hot", "pathway"),
    "drugs_targets": _over_drugs("shared targets", "targets"),
    "drugs_annotation": _over_drugs("pathway + targets", "annotation"),
    "drugs_text": _over_drugs("sentence: target, pathway", "text"),
    "drugs_mechanism": _over_drugs("mechanism paragraph", "mechanism"),
    "drugs_long": _over_drugs("long text", "long"),
    "drugs_steps": _over_drugs("shared steps (Reactome)", "steps"),
    "processes": Entry(_DRUGS, {}, "steps + targets + texts", "ridge over drugs"),
    "target_states": Entry(
        _DRUGS, {"states": (0.05, 0.1, 0.15)}, "the same + targets in lines", "ridge over drugs"
    ),
    "learned_kernel": Entry(
        f"{_HERE}.kernels:LearnedKernelRidge", {}, "learned-kernel ridge", "no features"
    ),
    "kernel_head": Entry(f"{_HERE}.kernel_head:KernelHead", {}, "kernel-head network", "kernels"),
    "interaction_ridge": Entry(
        _STAGED,
        {"ridges": (0.02, 0.05, 0.1, 0.2, 0.5)},
        "ridge (alignment x fingerprint)",
        "kernels",
    ),
    "interaction_learned": Entry(
        f"{_HERE}.interaction:LearnedInteraction", {}, "learned kernels", "no features"
    ),
    "interaction_features": Entry(
        f"{_HERE}.interaction:FeatureInteraction", {}, "learned kernels + features", "kernels"
    ),
    "interaction_lightgbm": Entry(
        f"{_HERE}.interaction:InteractionTrees", {}, "LightGBM (sequence, fingerprint)", "trees"
    ),
    "interaction_cold": Entry(
        f"{_HERE}.interaction:ColdRidge",
        {},
        "ridge (alignment, fragments), new entities",
        "kernels",
    ),
    "kiba_ridge": Entry(
        _STAGED,
        {"ridges": (0.1,), "tolerance": 1e-2},
        "ridge (alignment, fingerprint), large table",
        "kernels",
    ),
    "kiba_learned": Entry(
        f"{_HERE}.interaction:KibaLearned", {}, "learned kernels, large table", "no features"
    ),
    "kiba_features": Entry(
        f"{_HERE}.interaction:KibaFeatures",
        {},
        "learned kernels + features, large table",
        "kernels",
    ),
    "kiba_stack": Entry(
        f"{_HERE}.interaction:KibaStack", {}, "stack (interactions), large table", "combined"
    ),
    "interaction_stack": Entry(
        f"{_HERE}.interaction:InteractionStack", {}, "stack (interactions)", "combined"
    ),
    "clmt_published": Entry(_PUBLISHED, {}, "CLMT as published", "network"),
    "clmt_repaired": Entry(_PUBLISHED, {"defects": ()}, "CLMT as published, repaired", "network"),
    "clmt_unaligned": Entry(_CLMT, {"alignment": "none"}, "CLMT, not aligned", "network"),
    "clmt_soft": Entry(_CLMT, {"alignment": "soft"}, "CLMT, softly aligned", "network"),
    "clmt_response": Entry(
        _CLMT, {"alignment": "response", "weight": 0.3}, "CLMT, aligned to response", "network"
    ),
    "clmt": Entry(_CLMT, {}, "CLMT", "network"),
    "clmt_long": Entry(_CLMT, {"steps": 500}, "CLMT, trained longer", "network"),
    "deep_dta": Entry(
        _UMME,
        {**_DTA, "column_views": ("smiles",)},
        "convolutions, as in DeepDTA",
        "network",
    ),
    "graph_dta": Entry(
        _UMME,
        {**_DTA, "column_views": ("graph",)},
        "graph and convolution, as in GraphDTA",
        "network",
    ),
    "umme": Entry(_UMME, {}, "UMME", "network"),
    "acmo": Entry(_UMME, _ACMO, "UMME with ACMO", "network"),
    "clmt_kernel": Entry(_BLEND, {}, "CLMT + kernel", "combined"),
    "cldr": Entry(_CLDR, {}, "CLDR's network, squared error", "network"),
    "stack": Entry(_STACK, {}, "stack", "combined"),
    "stack_clmt": Entry(_BLEND, {"parts": ("stack", "clmt")}, "stack + CLMT", "combined"),
    "stack_auxiliary": Entry(
        _STACK, {"auxiliary": True}, "stack (auxiliary data)", "auxiliary data"
    ),
    "stack_masked": Entry(
        _STACK, {"auxiliary": "masked"}, "stack (auxiliary data, masked)", "auxiliary data"
    ),
    "stack_auxiliary_clmt": Entry(
        _BLEND,
        {"parts": ("stack_auxiliary", "clmt")},
        "stack (auxiliary data) + CLMT",
        "auxiliary data",
    ),
}


def _entry(name: str) -> Entry | None:
    """The registration of a name, or of one with an ending (`ENDINGS`) that a registered name
    stands before; None where there is none.
    """
    if name in _ENTRIES:
        return _ENTRIES[name]
    base, _, ending = name.rpartition("_")
    if ending not in ENDINGS or _entry(base) is None:
        return None
    cls, settings, told = ENDINGS[ending]
    return Entry(cls, {"of": base, **settings}, f"{display_name(base)}, {told}", family(base))


def register(
    name: str,
    *,
    settings: Mapping[str, Any] | None = None,
    display_name: str | None = None,
    family: str | None = None,
) -> Callable[[type[Model]], type[Model]]:
    """Class decorator: `build(name)` then makes this model, as the command line and a grid do.

    Parameters
    ----------
    name : one word; nothing else may have it, but the same class defined again (a notebook's cell)
    settings : what this entry sets beyond the defaults of the class
    display_name, family : what a reader sees; None takes those of the class

    Raises
    ------
    DataError
        A name that is taken or not a word; a class that is no `Model`, or lacks one of its methods.
    """
    if not name.isidentifier():
        raise DataError(f"{name!r} is no name for a model", remedy="use one word: my_model")

    def add(cls: type[Model]) -> type[Model]:
        checked_class(cls, name)
        if name in _ENTRIES and _place(_ENTRIES[name].cls) != _place(cls):
            raise DataError(
                f"there is a model {name!r} already ({_place(_ENTRIES[name].cls)})",
                remedy="register yours by another name",
            )
        check_settings(name, cls, settings or {})
        _ENTRIES[name] = Entry(cls, dict(settings or {}), display_name, family)
        return cls

    return add


def _place(cls: type | str) -> str:
    """Where a class is: "package.module:Class"."""
    return cls if isinstance(cls, str) else f"{cls.__module__}:{cls.__qualname__}"


def checked_class(cls: Any, name: str) -> type[Model]:
    """`cls`, if it is a whole `Model`.

    Raises
    ------
    DataError
        No class, no subclass of `Model`, or abstract methods left out: all of them are named.
    """
    contract = "derive it from clmt_lib.models.Model and define fit(self, benchmark, split) "
    contract += "and predict(self, pairs, benchmark=None)"
    if not inspect.isclass(cls) or not issubclass(cls, Model):
        raise DataError(f"{name!r} is no model: {cls!r}", remedy=contract)
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        raise DataError(f"model {name!r} ({_place(cls)}) has no {missing}", remedy=contract)
    return cls


def names() -> tuple[str, ...]:
    """Names of every registered model, in the order of the page."""
    return tuple(_ENTRIES)


def entry(name: str) -> Entry:
    """The registration behind a name, such as "als", or "als_refit" for the same model fitted
    again on training and validation set (see `ENDINGS`); of "package.module:Class" one without
    settings of its own.

    Raises
    ------
    DataError
        Unknown name.
    """
    found = _entry(name)
    if found is not None:
        return found
    if ":" in name:
        return Entry(name)
    raise DataError(
        f"unknown model {name!r}",
        remedy=f"use one of: {', '.join(_ENTRIES)}; or a class of your own: package.module:Class",
    )


def model_class(name: str) -> type[Model]:
    """The class behind a name or a "package.module:Class", imported when asked for.

    Raises
    ------
    DataError
        Unknown name, a module that cannot be imported or has no such class, a class that is no
        whole `Model`.
    """
    found = entry(name).cls
    return checked_class(_imported(found) if isinstance(found, str) else found, name)


def _imported(place: str) -> Any:
    """The object at "package.module:Class"; modules are looked for in the current folder, too."""
    module, _, name = place.partition(":")
    if not all(part.isidentifier() for part in module.split(".")):
        raise DataError(f"{place!r} names no module", remedy="write package.module:Class")
    here = os.getcwd()
    if here not in sys.path:  # as `python -m` has it; the `clmt` command has not
        sys.path.append(here)
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if not module.startswith(error.name or module):  # something that the module itself imports
            raise
        raise DataError(
            f"no module {module!r} for the model {place!r}",
            remedy="call from the folder it is in, or install its package",
        ) from None
    if not hasattr(found, name):
        raise DataError(
            f"module {module!r} has no class {name!r}", remedy="write package.module:Class"
        )
    return getattr(found, name)


def _bounds() -> dict[str, tuple[float, float, str]]:
    """Setting -> (lowest, highest, in words): what a setting of that name may be, in any model."""
    positive = (1e-300, float("inf"), "above 0")
    count = (1, 10**7, "1 or more")
    share = (0, 1 - 1e-9, "at least 0 and below 1")
    names = {
        "steps updates epochs members rank ranks dim hidden trees rounds batch block inner "
        "conformers genes message mates context text_width text_layers text_heads": count,
        "temperature slope sharpness als_ridge": positive,
        "learning_rate": (1e-300, 10, "above 0 and at most 10"),
        "ridge ridges weight weight_decay": (0, float("inf"), "0 or more"),
        "drop drop_in drop_identity drop_graph hide_cells hide_drugs smoothing": share,
        "keep share": (1e-300, 1, "above 0 and at most 1"),
    }
    return {word: bound for words, bound in names.items() for word in words.split()}


BOUNDS = _bounds()
NEVER_EMPTY = ("ranks", "ridges", "parts", "kinds", "grid", "alphas", "shares")
LARGEST_RANK = 5_000  # a factorisation solves a system of rank x rank for every entity


def check_values(name: str, settings: Mapping[str, Any]) -> None:
    """Raises DataError for a setting of the right type that cannot be meant: steps: 0, drop: 2."""
    for key, value in settings.items():
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        if not values and key in NEVER_EMPTY:
            raise DataError(
                f"model {name!r}: {key} is empty", remedy="give at least one, or leave it out"
            )
        if key not in BOUNDS:
            continue
        lowest, highest, words = BOUNDS[key]
        if key in ("rank", "ranks"):
            highest, words = LARGEST_RANK, f"1 to {LARGEST_RANK}"
        for one in values:
            number = isinstance(one, (int, float)) and not isinstance(one, bool)
            if number and math.isfinite(one) and not lowest <= one <= highest:
                raise DataError(f"model {name!r}: {key} is {one}", remedy=f"give a number {words}")


def check_settings(name: str, cls: type[Model], settings: Mapping[str, Any]) -> None:
    """Raises DataError for a setting that the class does not have, or a value out of range."""
    known = cls.known_settings()
    unknown = sorted(set(settings) - known)
    if unknown:
        raise DataError(
            f"model {name!r} has no setting {unknown[0]!r}",
            remedy=f"use one of: {', '.join(sorted(known)) or 'none'}",
        )
    check_values(name, settings)


def suits(cls: type[Model], kind: str | None) -> dict[str, Any]:
    """What a class says suits a kind of split (by its name or an alias of it)."""
    return dict(cls.settings_for.get(kind_of(kind), {})) if kind else {}


def settings_of(name: str, kind: str | None = None) -> dict[str, Any]:
    """What a name sets beyond the defaults of its class: its registration, then, if a kind of
    split is given, what the class says suits it.
    """
    return {**entry(name).settings, **suits(model_class(name), kind)}


def build(name: str, kind: str | None = None, **settings: Any) -> Model:
    """A fresh model by its name, or by "package.module:Class"; `settings` override its defaults.

    Parameters
    ----------
    kind : of the split it is for ("cell_blind", ...): settings that the class says suit it come
        before its defaults, and after `settings`. None asks for none of them.

    >>> build("drug_mean").by
    'drug'

    Raises
    ------
    DataError
        Unknown name or setting.
    """
    cls = model_class(name)
    check_settings(name, cls, settings)
    return cls.make(**{**settings_of(name, kind), **settings})


def resolve(
    name: str, settings: Mapping[str, Any] | None = None, kind: str | None = None
) -> dict[str, Any]:
    """Every setting of a model with its exact value, as plain JSON (tuples become lists).

    Defaults of the class, then the registration, then what suits the `kind` of split, then
    `settings`, each over the one before. A blend's parts are resolved, too.

    >>> resolve("als", {"ranks": [2]})
    {'ranks': [2], 'ridges': [5.0, 10.0, 20.0]}

    Raises
    ------
    DataError
        Unknown name or setting, or a value that is no finite JSON.
    """
    return build(name, kind, **(settings or {})).resolved(kind)


def display_name(name: str) -> str:
    """What a reader sees for a model.

    >>> display_name("als"), display_name("my_model")
    ('factorisation (ALS)', 'my model')
    """
    return _about(name, "display_name") or name.rpartition(":")[2].replace("_", " ")


def family(name: str) -> str:
    """Which kind of model it is: means, linear, kernels, network, ...; "other" for a stranger."""
    return _about(name, "family") or "other"


def _about(name: str, what: str) -> str | None:
    """A fact of the registration, else of its class, imported only if the registration says
    nothing.
    """
    found = _entry(name)
    if found is None:
        return None
    return getattr(found, what) or getattr(model_class(name), what)
