"""The proof that trusts nobody: fit again where only the test set differs, and compare every fitted
bit.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import fields, is_dataclass, replace
from functools import partial
from types import BuiltinFunctionType, FunctionType, MappingProxyType, ModuleType
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib.audit.identity import noun
from clmt_lib.audit.report import Audit, Finding
from clmt_lib.data.base import Benchmark, View
from clmt_lib.data.splits import Split

# what views read of an entity; names and identities stay, so the split's promise holds
FACTS = ("smiles", "inchikey", "target", "pathway", "mechanism", "function", "family")
VIEWS = {"cell": "omics"}  # what the views of a side are called, where there is a better word


def proves_blind(
    fit: Callable[[Benchmark, Split], Any],
    benchmark: Benchmark,
    split: Split,
    seed: int = 0,
    at_once: bool = False,
) -> Audit:
    """Fit in the real world and in worlds where only the test set differs; any differing bit of the
    fitted state is a leak.

    The worlds: test responses permuted; test responses replaced by noise (a mean or scale over all
    pairs survives a permutation); for each side that has entities in the test set alone, their
    views replaced by noise, and their facts permuted among them.

    Parameters
    ----------
    fit : callable (benchmark, split) -> fitted state: arrays, tensors, dataclasses, estimators, in
        any nesting. Must be deterministic.
    at_once : make every change in one world first, and go through them one by one only where that
        fit differs: two fits, not three to six, for one that is blind.

    Returns
    -------
    Audit whose findings name the world and the first differing field.
    """
    worlds: dict[str, Callable] = {
        "test responses permuted": permute_test_responses,
        "test responses replaced by noise": replace_test_responses,
    }
    for side in benchmark.sides:
        new = unseen(benchmark, split, side.name)
        if len(new) and side.views:
            said = f"test {noun(side)}s' {VIEWS.get(side.name, 'views')} replaced by noise"
            worlds[said] = partial(corrupt_views, side=side.name)
        if len(new) > 1 and any(fact in side.frame for fact in FACTS):
            worlds[f"test {noun(side)}s' facts permuted"] = partial(permute_facts, side=side.name)
    # a fit that returns the same object twice must not be compared with itself
    fitted = _snapshot(fit(benchmark, split))
    where, differences = getattr(fit, "__name__", type(fit).__name__), {}

    def difference(*changes: Callable) -> str | None:
        changed = benchmark
        for change in changes:
            changed = change(changed, split, seed)
        return state_difference(
            fitted, _snapshot(fit(changed, replace(split, checksum=changed.checksum)))
        )

    if not at_once or difference(*worlds.values()):
        told = {world: difference(change) for world, change in worlds.items()}
        differences = {world: what for world, what in told.items() if what}
    found = [
        Finding(
            "fit depends on the test set",
            where,
            f"with {world}, {what}",
            "fit on split.train, choose on split.valid",
        )
        for world, what in differences.items()
    ]
    twice = state_difference(fitted, _snapshot(fit(benchmark, split))) if found else None
    if twice is not None:
        found = [
            Finding(
                "fit is not reproducible",
                where,
                f"fitted twice on the same data, {twice}",
                "pass seeds explicitly: until then nothing can be proved",
            )
        ]
    return Audit(f"a fit on {benchmark.name}, {split.kind}", tuple(worlds), tuple(found))


def _snapshot(value: Any) -> Any:
    """A deep copy of a fitted state; a read-only mapping, which cannot be copied, as a dict."""
    if type(value) in (dict, MappingProxyType):
        return {key: _snapshot(part) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_snapshot(part) for part in value)
    return deepcopy(value)


def unseen(benchmark: Benchmark, split: Split, side: str = "cell") -> np.ndarray:
    """Positions of entities of a side that occur in the test set and in no other."""
    entity = benchmark.pairs[:, benchmark.axis(side)]
    return np.setdiff1d(entity[split.test], entity[np.concatenate([split.train, split.valid])])


def permute_test_responses(benchmark: Benchmark, split: Split, seed: int = 0) -> Benchmark:
    """The same benchmark with the responses of the test set in another order, none at its own
    place.
    """
    order = np.random.default_rng(seed).permutation(split.test)
    return _with_responses(benchmark, order, benchmark.y[np.roll(order, 1)])


def replace_test_responses(benchmark: Benchmark, split: Split, seed: int = 0) -> Benchmark:
    """The same benchmark with noise (of another mean and spread) as responses of the test set."""
    noise = np.random.default_rng(seed).normal(5.0, 1.0, len(split.test))
    return _with_responses(benchmark, split.test, noise)


def _with_responses(benchmark: Benchmark, positions: np.ndarray, values: np.ndarray) -> Benchmark:
    y = benchmark.y.copy()
    y[positions] = values
    return replace(benchmark, y=y)


def corrupt_views(
    benchmark: Benchmark, split: Split, seed: int = 0, side: str = "cell"
) -> Benchmark:
    """The same benchmark with noise as views of the test-only entities of a side (0/1 tables get
    random 0/1, texts go to another of them); itself where no entity is test-only.
    """
    rows = unseen(benchmark, split, side)
    if not len(rows):
        return benchmark
    rng = np.random.default_rng(seed)
    views = {key: _noisy(view, rows, rng) for key, view in benchmark.side(side).views.items()}
    return benchmark.with_views(**{side: views})


def _noisy(view: View, rows: np.ndarray, rng: np.random.Generator) -> View:
    """A view with the values of some rows replaced."""
    if isinstance(view, pd.Series) and not pd.api.types.is_numeric_dtype(view):
        text = view.to_numpy(dtype=object, copy=True)
        text[rows] = np.roll(text[rng.permutation(rows)], 1)
        return pd.Series(text, index=view.index, name=view.name)
    # the same memory layout: sums over rows would differ in the last bit without it
    values = np.array(view if isinstance(view, np.ndarray) else view.to_numpy(), order="K")
    binary, shape = np.isin(values, (0, 1)).all(), (len(rows), *values.shape[1:])
    values[rows] = rng.integers(0, 2, shape) if binary else rng.normal(0.0, 3.0, shape)
    if isinstance(view, pd.DataFrame):
        return pd.DataFrame(values, index=view.index, columns=view.columns, copy=False)
    return pd.Series(values, index=view.index) if isinstance(view, pd.Series) else values


def permute_facts(
    benchmark: Benchmark, split: Split, seed: int = 0, side: str = "drug"
) -> Benchmark:
    """The same benchmark with what is known of test-only entities of a side (structure, targets,
    pathway, mechanism) moved, together, from each to another; itself where fewer than two are
    test-only.
    """
    rows = unseen(benchmark, split, side)
    if len(rows) < 2:
        return benchmark
    order, table = np.random.default_rng(seed).permutation(rows), benchmark.side(side).frame.copy()
    for column in [name for name in FACTS if name in table]:
        values = table[column].array.copy()
        values[order] = values[np.roll(order, 1)]
        table[column] = values
    return benchmark.with_frames(**{side: table})


def state_difference(a: Any, b: Any, path: str = "state") -> str | None:
    """Path and nature of the first difference between two fitted states, to the bit; None where
    they are the same.

    Arrays, tensors, frames, mappings, sequences, dataclasses and estimators (by their attributes)
    are entered. NaN equals NaN; 0.0 differs from -0.0.

    >>> state_difference({"mean": np.zeros(2)}, {"mean": np.zeros(2)})
    >>> state_difference({"mean": np.zeros(2)}, {"mean": np.array([0.0, 1.0])})
    "state['mean'] differs in 1 of 2 values"
    """
    if a is b:
        return None
    if type(a) is not type(b):
        return f"{path} is {type(a).__name__} in one, {type(b).__name__} in the other"
    a, b = _plain(a), _plain(b)
    if isinstance(a, np.ndarray) and a.dtype != object:
        return _array_difference(a, b, path)
    if isinstance(a, Mapping):
        if list(a) != list(b):
            return f"{path} has other keys"
        parts = ((a[key], b[key], f"{path}[{key!r}]") for key in a)
    elif isinstance(a, (list, tuple, np.ndarray)):
        if len(a) != len(b):
            return f"{path} has {len(a)} parts in one, {len(b)} in the other"
        parts = ((x, y, f"{path}[{number}]") for number, (x, y) in enumerate(zip(a, b)))
    else:
        return None if a == b else f"{path} differs"
    return next(
        (found for x, y, where in parts if (found := state_difference(x, y, where)) is not None),
        None,
    )


def _plain(value: Any) -> Any:
    """An object as something `state_difference` can enter: array, mapping, sequence, or a value
    with a meaningful ==.
    """
    if isinstance(
        value, (np.ndarray, Mapping, list, tuple, str, bytes, int, bool, type(None), type)
    ):
        return value
    if isinstance(value, (float, complex, np.generic)):
        return np.asarray(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    if isinstance(value, pd.DataFrame):
        return {
            "index": value.index.to_numpy(),
            "columns": value.columns.to_numpy(),
            **{f"column {c}": value[c].to_numpy() for c in value},
        }
    if isinstance(value, (pd.Series, pd.Index)):
        return value.to_numpy()
    if hasattr(value, "detach"):  # a torch tensor, by its bytes: numpy does not know bfloat16
        value = value.detach().cpu().contiguous()
        return {
            "shape": tuple(value.shape),
            "dtype": str(value.dtype),
            "values": value.numpy() if value.dtype.itemsize > 2 else value.float().numpy(),
        }
    if hasattr(value, "state_dict"):  # a torch module
        return dict(value.state_dict())
    if hasattr(value, "model_to_string"):  # a LightGBM booster
        return value.model_to_string()
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, FunctionType):  # what it closes over is part of what was fitted
        return {
            "name": value.__qualname__,
            "defaults": value.__defaults__,
            "closure": [cell.cell_contents for cell in value.__closure__ or ()],
        }
    if isinstance(value, (BuiltinFunctionType, ModuleType)):
        return value.__name__
    return _parts(value)


def _parts(value: Any) -> Any:
    """The parts a copy of any other object would be built from."""
    try:
        parts = value.__reduce_ex__(2)
    except TypeError:
        raise TypeError(
            f"a fitted state holds a {type(value).__name__}, which cannot be compared: hand "
            "over its arrays instead"
        ) from None
    return (
        parts
        if isinstance(parts, str)
        else [list(part) if isinstance(part, Iterator) else part for part in parts]
    )


def _array_difference(a: np.ndarray, b: np.ndarray, path: str) -> str | None:
    if a.dtype != b.dtype or a.shape != b.shape:
        return f"{path} is {a.dtype} {a.shape} in one, {b.dtype} {b.shape} in the other"
    if a.dtype.names:  # structured: field by field
        return next(
            (
                found
                for name in a.dtype.names
                if (found := _array_difference(a[name], b[name], f"{path}.{name}")) is not None
            ),
            None,
        )
    if a.tobytes() == b.tobytes():
        return None
    kind = f"V{a.dtype.itemsize}"
    different = (
        (np.ascontiguousarray(a).view(kind) != np.ascontiguousarray(b).view(kind)).sum()
        if a.ndim
        else 1
    )
    return f"{path} differs in {different} of {a.size} values"
