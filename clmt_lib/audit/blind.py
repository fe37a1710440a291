"""The proof that trusts nobody: fit again where only the test role differs, and compare every
fitted bit.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import fields, is_dataclass, replace
from types import BuiltinFunctionType, FunctionType, ModuleType

import numpy as np
import pandas as pd

from clmt_lib.audit.report import Audit, Finding

CELL, DRUG = 0, 1  # columns of `pairs`
FACTS = (
    "smiles",
    "inchikey",
    "target",
    "pathway",
    "mechanism",
)  # what views read of a drug; names and compounds stay, so the split's promise holds


def proves_blind(fit, benchmark, split, seed=0):
    """Fit in the real world and in worlds where only the test role differs; any differing bit of
    the fitted state is a leak.

    The worlds: test responses permuted; test responses replaced by noise (a mean or scale over all
    pairs survives a permutation);
    omics of test-only lines replaced by noise, and facts of test-only drugs permuted among them,
    where the split has such lines or drugs.

    Parameters
    ----------
    fit : callable (benchmark, split) -> fitted state: arrays, tensors, dataclasses, estimators, in
        any nesting. Must be deterministic.

    Returns
    -------
    Audit whose findings name the world and the first differing field.
    """
    worlds = {
        "test responses permuted": permute_test_responses,
        "test responses replaced by noise": replace_test_responses,
    }
    if len(unseen_cells(benchmark, split)):
        worlds["test lines' omics replaced by noise"] = corrupt_test_cells
    if len(_unseen(benchmark, split, DRUG)) > 1:
        worlds["test drugs' facts permuted"] = corrupt_test_drugs
    fitted = deepcopy(
        fit(benchmark, split)
    )  # a fit that returns the same object twice must not be compared with itself
    where, differences = getattr(fit, "__name__", type(fit).__name__), {}
    for world, change in worlds.items():
        changed = change(benchmark, split, seed)
        difference = state_difference(
            fitted, fit(changed, replace(split, checksum=changed.checksum))
        )
        if difference is not None:
            differences[world] = difference
    found = [
        Finding(
            "fit depends on the test role",
            where,
            f"with {world}, {what}",
            "fit on split.train, choose on split.valid",
        )
        for world, what in differences.items()
    ]
    again = state_difference(fitted, fit(benchmark, split)) if found else None
    if again is not None:
        found = [
            Finding(
                "fit is not reproducible",
                where,
                f"fitted twice on the same data, {again}",
                "pass seeds explicitly: until then nothing can be proved",
            )
        ]
    return Audit(f"a fit on {benchmark.name}, {split.kind}", tuple(worlds), tuple(found))


def unseen_cells(benchmark, split):
    """Positions of lines that occur in the test role and in no other."""
    return _unseen(benchmark, split, CELL)


def _unseen(benchmark, split, column):
    entity = benchmark.pairs[:, column]
    return np.setdiff1d(entity[split.test], entity[np.concatenate([split.train, split.valid])])


def permute_test_responses(benchmark, split, seed=0):
    """The same benchmark with the responses of the test role in another order, none at its own
    place.
    """
    order = np.random.default_rng(seed).permutation(split.test)
    return _with_responses(benchmark, order, benchmark.y[np.roll(order, 1)])


def replace_test_responses(benchmark, split, seed=0):
    """The same benchmark with noise (ln uM, of another mean and spread) as responses of the test
    role.
    """
    return _with_responses(
        benchmark, split.test, np.random.default_rng(seed).normal(5.0, 1.0, len(split.test))
    )


def corrupt_test_cells(benchmark, split, seed=0):
    """The same benchmark with noise as omics of test-only lines (0/1 tables get random 0/1); itself
    where no line is test-only.
    """
    lines = unseen_cells(benchmark, split)
    if not len(lines):
        return benchmark
    rng, omics = np.random.default_rng(seed), {}
    for kind, table in benchmark.omics.items():
        values = np.array(
            table.to_numpy(), order="K"
        )  # the same memory layout: sums over rows would differ in the last bit without it
        binary = np.isin(values, (0, 1)).all()
        shape = (len(lines), values.shape[1])
        values[lines] = rng.integers(0, 2, shape) if binary else rng.normal(0.0, 3.0, shape)
        omics[kind] = pd.DataFrame(values, index=table.index, columns=table.columns, copy=False)
    return benchmark.with_views(cell=omics)


def corrupt_test_drugs(benchmark, split, seed=0):
    """The same benchmark with structure, targets, pathway and mechanism moved, together, from each
    test-only drug to another; itself where fewer than two are test-only.
    """
    drugs = _unseen(benchmark, split, DRUG)
    if len(drugs) < 2:
        return benchmark
    order, table = np.random.default_rng(seed).permutation(drugs), benchmark.drugs.copy()
    for column in [name for name in FACTS if name in table]:
        values = table[column].array.copy()
        values[order] = values[np.roll(order, 1)]
        table[column] = values
    return benchmark.with_frames(drug=table)


def _with_responses(benchmark, positions, values):
    y = benchmark.y.copy()
    y[positions] = values
    return replace(benchmark, y=y)


def state_difference(a, b, path="state"):
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


def _plain(value):
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


def _parts(value):
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


def _array_difference(a, b, path):
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
