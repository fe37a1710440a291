"""Cross-validation of a model, and the comparison of two with intervals that are paired.

For a notebook or a script: nothing is written to disk. `records` runs many models, keeps what they
found and resumes what was killed; both score by the benchmark's task.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib.data.base import Benchmark
from clmt_lib.data.splits import folds_of, make_split
from clmt_lib.io import DataError
from clmt_lib.models import registry
from clmt_lib.models.base import Model, fitted, predicted
from clmt_lib.tasks import DRAWS, bootstrap_of, draws_used, find, interval, of, pool, score

ModelLike = str | type[Model] | Callable[[], Model]


@dataclass(frozen=True, eq=False)
class Validation:
    """What cross-validation found of one model.

    Attributes
    ----------
    model, benchmark, kind, seed : what was run; `benchmark` by name and checksum
    metrics : [folds, metrics] frame of the test sets, indexed by fold
    predictions : frame of fold, position (into the benchmark's pairs) and predicted, of the test
        sets
    chosen : fold -> settings that were chosen on its validation set
    draws, weights : metric -> [folds, draws] bootstrap draws and how much of a fold they drew
    """

    model: str
    benchmark: tuple[str, str]
    kind: str
    seed: int
    metrics: pd.DataFrame
    predictions: pd.DataFrame
    chosen: Mapping[int, Mapping[str, Any]]
    draws: Mapping[str, np.ndarray] = field(repr=False)
    weights: Mapping[str, np.ndarray] = field(repr=False)

    def summary(self, level: float = 0.95) -> pd.DataFrame:
        """One row a reported metric: mean over the folds, its interval, how many draws it is made
        of.
        """
        rows = {}
        for metric in self.draws:
            pooled = pool(self.draws[metric], self.weights[metric])
            low, high = interval(pooled, level)
            mean = float(self.metrics[metric].mean())
            rows[metric] = {"mean": mean, "low": low, "high": high, "draws": draws_used(pooled)}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("metric")


def cross_validate(
    model: ModelLike,
    benchmark: Benchmark,
    kind: str = "mixed",
    *,
    folds: Iterable[int] | int | None = None,
    seed: int = 0,
    draws: int = DRAWS,
    settings: Mapping[str, Any] | None = None,
) -> Validation:
    """Fit a model on every fold of a kind of split, and score it on the fold's test set.

    Parameters
    ----------
    model : a registered name or "package.module:Class", a `Model` class, or a function that makes
        an unfitted model; a fresh one is made for each fold
    kind : of split; settings that the model's class says suit it are used
    folds : which of them, or the first so many; None takes all
    seed : of the split; the bootstrap draws the same entities for every model on a benchmark
    draws : of the bootstrap
    settings : what overrides the model's defaults

    Raises
    ------
    DataError
        Unknown model, setting, kind or fold; a model that breaks its contract.

    Examples
    --------
    >>> from clmt_lib import data
    >>> world = data.load("simulated", cells=30)
    >>> found = cross_validate("drug_mean", world, "cell_blind", folds=2, draws=100)
    >>> list(found.metrics.index), list(found.summary().columns)
    ([0, 1], ['mean', 'low', 'high', 'draws'])
    """
    name, make = _maker(model, kind, dict(settings or {}))
    task, boot = of(benchmark), bootstrap_of(benchmark, draws)
    if folds is None or isinstance(folds, int):
        folds = range(folds_of(kind, benchmark) if folds is None else folds)
    metrics, frames, chosen, drawn, weights = {}, [], {}, [], []
    for fold in folds:
        split = make_split(benchmark, kind, seed, fold)
        pairs, y = benchmark.pairs[split.test], benchmark.y[split.test]
        done = fitted(make(), benchmark, split)
        found = predicted(done, pairs)
        metrics[fold], chosen[fold] = score(benchmark, split, found), dict(done.chosen)
        frames.append(pd.DataFrame({"fold": fold, "position": split.test, "predicted": found}))
        drawn.append(boot.statistics(pairs, y, found, task.reported))
        weights.append(boot.weights(pairs, task.reported, y))
    if not frames:
        raise DataError(
            "no fold to run", remedy=f"{kind} has folds 0 to {folds_of(kind, benchmark) - 1}"
        )
    return Validation(
        name,
        (benchmark.name, benchmark.checksum),
        split.kind,
        seed,
        pd.DataFrame.from_dict(metrics, orient="index").rename_axis("fold"),
        pd.concat(frames, ignore_index=True),
        chosen,
        {metric: np.stack([part[metric] for part in drawn]) for metric in task.reported},
        {metric: np.stack([part[metric] for part in weights]) for metric in task.reported},
    )


def _maker(
    model: ModelLike, kind: str, settings: dict[str, Any]
) -> tuple[str, Callable[[], Model]]:
    """(what the model is called, what makes an unfitted one)."""
    if isinstance(model, str):
        registry.resolve(model, settings, kind)  # before the first fold, not in it
        return model, lambda: registry.build(model, kind, **settings)
    if isinstance(model, type):
        cls = registry.checked_class(model, model.__name__)
        suited = {**registry.suits(cls, kind), **settings}
        registry.check_settings(cls.__name__, cls, suited)
        return cls.display_name or cls.__name__, lambda: cls.make(**suited)
    if isinstance(model, Model) or not callable(model):
        raise DataError(
            f"{type(model).__name__} makes no fresh model for each fold",
            remedy="give a name, a class, or a function: lambda: MyModel(rank=3)",
        )
    if settings:
        raise DataError("settings for a function", remedy="set them in the function")
    first = registry.checked_class(type(model()), getattr(model, "__name__", "model"))
    return first.display_name or first.__name__, model


def compare(a: Validation, *others: Validation, level: float = 0.95) -> pd.DataFrame:
    """What `a` has more than each of `others` of every reported metric, with paired bootstrap
    intervals.

    Both are asked about the same pairs and the same draws of entities, so what is hard for both
    cancels; folds are pooled draw by draw (`tasks.pool`).

    Returns
    -------
    One row a model and metric: difference (a - model) of the means over folds, low, high, draws it
    is made of, and verdict: "better" or "worse" where the interval leaves zero out, else "no
    difference found".

    Raises
    ------
    DataError
        Nothing to compare with; another benchmark, kind of split, seed, folds or number of draws.
    """
    if not others:
        raise DataError("nothing to compare with", remedy="give the validation of another model")
    rows = [row for b in others for row in _differences(a, b, level)]
    return pd.DataFrame(rows).set_index(["model", "metric"])


def _differences(a: Validation, b: Validation, level: float) -> Iterator[dict[str, Any]]:
    for what in ("benchmark", "kind", "seed"):
        if getattr(a, what) != getattr(b, what):
            raise DataError(
                f"not the same {what}: {getattr(a, what)} and {getattr(b, what)}",
                remedy="cross-validate both in the same way",
            )
    if list(a.metrics.index) != list(b.metrics.index):
        raise DataError("not the same folds", remedy="cross-validate both on the same folds")
    if any(a.draws[metric].shape != b.draws[metric].shape for metric in a.draws):
        raise DataError("not the same number of draws", remedy="give both the same draws=")
    for metric in a.draws:
        pooled = pool(a.draws[metric] - b.draws[metric], a.weights[metric])
        low, high = interval(pooled, level)
        sign = 1 if find(metric).higher_is_better else -1
        verdict = "no difference found"
        if low > 0 or high < 0:
            verdict = "better" if sign * low > 0 or sign * high > 0 else "worse"
        yield {
            "model": b.model,
            "metric": metric,
            "difference": float(a.metrics[metric].mean() - b.metrics[metric].mean()),
            "low": low,
            "high": high,
            "draws": draws_used(pooled),
            "verdict": verdict,
        }
