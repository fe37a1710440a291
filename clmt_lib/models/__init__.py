"""Every predictor behind one contract (`base.Model`): `fit`, `predict`, `state`, `save`, `load`.

`fit` learns from the training set and may choose settings on the validation set; it never reads the
test set. `predict` takes [n, 2] positions and returns [n] values in the units of the benchmark.
`state()` names every fitted array, so that a leak test can compare them bit by bit.
Models are made by name: see `registry`.
"""

from clmt_lib.models.base import Model, TableModel, fitted, load, predicted
from clmt_lib.models.registry import (
    build,
    display_name,
    family,
    model_class,
    names,
    register,
    resolve,
)
from clmt_lib.models.validation import Validation, compare, cross_validate
from clmt_lib.tasks import evaluate

__all__ = [
    "Model",
    "TableModel",
    "Validation",
    "build",
    "compare",
    "cross_validate",
    "display_name",
    "evaluate",
    "family",
    "fitted",
    "load",
    "model_class",
    "names",
    "predicted",
    "register",
    "resolve",
]
