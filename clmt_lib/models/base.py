"""What a model is: a typed contract, one criterion for choosing settings, saving and loading."""

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self, cast, get_args, get_type_hints

import numpy as np

from clmt_lib.data.base import Benchmark
from clmt_lib.data.response.auxiliary import AuxiliaryOmics, load_auxiliary
from clmt_lib.data.splits import Split
from clmt_lib.io import DataError
from clmt_lib.models import saving
from clmt_lib.models.known import check_sides, places
from clmt_lib.tasks import selection_score

RUNNING = ("device", "checkpoint", "progress")  # how a fit runs, not what it finds: no settings


def cosine(z: np.ndarray) -> np.ndarray:
    """[n, n] cosine of rows in float64; a row of zeros resembles only itself."""
    z = np.asarray(z, dtype=np.float64)
    z = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    out = z @ z.T
    np.fill_diagonal(out, 1.0)
    return out


def improves(found: float, best: float | None) -> bool:
    """Whether a selection score beats the best so far: by more than the last bits, which another
    processor computes otherwise. So of equal candidates the first is kept everywhere.

    >>> improves(0.3, 0.1 + 0.2), improves(0.29, 0.3), improves(0.3, None)
    (False, True, True)
    """
    return best is None or found < best - 1e-9


class Model(ABC):
    """The contract of every predictor: `fit` and `predict` are its own, the rest is given.

    A model is made of settings (the parameters of its `__init__`, or the fields of a dataclass),
    and whatever `fit` sets as attributes is what it learned: `save` writes it, `load` reads it.

    Attributes
    ----------
    display_name, family : what a reader sees, on the class or in the registration
    version : of the class, raised only when the numbers change
    tolerance : of metrics when a run is repeated
    accelerated : it trains on a GPU where there is one
    settings_for : kind of split -> settings that suit it better than the defaults
    refits : `fit_again` works: where the validation set is empty, what was chosen before is kept
    device, checkpoint, progress : set by who runs it: "auto", "cpu" or "cuda"; where an unfinished
        fit is kept, or None; whether to show a bar
    device_used : what `fit` ran on
    parts : names of the models it is made of, whose predictions `fit` then takes as `tables`
    chosen : settings that `fit` chose on the validation set
    also_read : what `fit` read besides the benchmark, for a run's provenance
    history : of a training, one mapping a line
    """

    display_name: ClassVar[str | None] = None
    family: ClassVar[str | None] = None
    version: ClassVar[int] = 1
    tolerance: ClassVar[float] = 1e-4
    accelerated: ClassVar[bool] = False
    settings_for: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})
    refits: ClassVar[bool] = False

    device: str = "auto"
    checkpoint: Path | None = None
    progress: bool = False
    device_used: str = "cpu"
    parts: Sequence[str] = ()
    chosen: Mapping[str, Any] = MappingProxyType({})
    also_read: Mapping[str, Any] = MappingProxyType({})
    history: Sequence[Mapping[str, Any]] = ()

    @abstractmethod
    def fit(self, benchmark: Benchmark, split: Split) -> Self:
        """Learn from `split.train`, choose on `split.valid`, never read `split.test`; give self."""

    @abstractmethod
    def predict(self, pairs: np.ndarray, benchmark: Benchmark | None = None) -> np.ndarray:
        """[n] predictions, in the benchmark's units, for [n, 2] positions (row, column).

        Parameters
        ----------
        benchmark : whose positions the pairs are; None for the one it was fitted on. Of another,
            entities are matched by id, and may be unknown to the model.

        Raises
        ------
        DataError
            The model cannot predict for an entity that was not there at `fit`.
        """

    def refit(self, benchmark: Benchmark, split: Split) -> Self:
        """Learn from the whole of `split.train` where there is no validation set, with settings
        chosen over the folds that `split.within()` gives.

        Raises
        ------
        DataError
            The model cannot: here, always.
        """
        raise DataError(
            f"{type(self).__name__} needs a validation set, {split.kind} has none",
            remedy="fit it on the folds of the published split",
        )

    def fit_again(self, benchmark: Benchmark, split: Split) -> Self:
        """Fit once more, on the training and the validation set together, with what `fit` chose.

        Parameters
        ----------
        benchmark, split : those that `fit` was given

        Raises
        ------
        DataError
            The model does not say that it can (`refits`).
        """
        if not self.refits:
            raise DataError(
                f"{type(self).__name__} cannot be fitted again on training and validation set",
                remedy="define fit_again(self, benchmark, split) in its class",
            )
        return self.fit(benchmark, split.with_validation())

    def state(self) -> dict[str, np.ndarray]:
        """Every fitted array by name."""
        return saving.arrays_of(self.pack())

    @classmethod
    def known_settings(cls) -> set[str]:
        """Names of what `models.build` may set."""
        if cls.__init__ is object.__init__:
            return set()
        return set(list(inspect.signature(cls.__init__).parameters)[1:]) - set(RUNNING)

    @classmethod
    def make(cls, **settings: Any) -> Self:
        """An unfitted model (lists become tuples, as JSON has none)."""
        return cls(**{name: _tuples(value) for name, value in settings.items()})

    def resolved(self, kind: str | None = None) -> dict[str, Any]:
        """Every setting with its exact value, as plain JSON.

        Parameters
        ----------
        kind : of split, for models made of others

        Raises
        ------
        DataError
            A value that is no finite JSON.
        """
        return plain_settings(self, type(self), sorted(self.known_settings()))

    def pack(self) -> dict[str, Any]:
        """What `save` writes: settings and everything that `fit` set, as attributes by name."""
        return {name: value for name, value in vars(self).items() if name not in RUNNING}

    def unpack(self, parts: dict[str, Any]) -> None:
        """Take back what `pack` gave."""
        for name, value in parts.items():
            setattr(self, name, value)

    def save(self, folder: str | Path) -> Path:
        """Write a fitted model: `model.json` and `arrays.safetensors`, no pickle.

        Raises
        ------
        DataError
            An attribute that is neither array, frame, number, text nor a container of such; or a
            folder that holds something else.
        """
        return saving.write(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a model that `save` wrote; its predictions are the same to the last bit.

        Raises
        ------
        DataError
            No such folder, files damaged or changed, a model of another class or version.
        """
        return saving.read(cls, Path(folder))


def load(folder: str | Path) -> Model:
    """Read a saved model of whatever class. Raises DataError as `Model.load` does."""
    return saving.read(Model, Path(folder))


def fitted(model: Model, benchmark: Benchmark, split: Split, **options: Any) -> Model:
    """`model.fit(benchmark, split)`, checked; `model.refit` where the split has no validation set.

    Raises
    ------
    DataError
        `fit` did not return the model.
    """
    fit = model.fit if len(split.valid) else model.refit
    found = fit(benchmark, split, **options)
    if found is not model:
        raise DataError(
            f"fit of {type(model).__name__} returned {type(found).__name__}, not the model",
            remedy="end it with: return self",
        )
    return model


def predicted(model: Model, pairs: np.ndarray, benchmark: Benchmark | None = None) -> np.ndarray:
    """`model.predict(pairs)` as [n] float64, checked.

    Raises
    ------
    DataError
        Not one finite number for each pair.
    """
    pairs = np.asarray(pairs)
    found = model.predict(pairs) if benchmark is None else model.predict(pairs, benchmark)
    wrong = f"predict of {type(model).__name__} returned "
    remedy = f"return one finite number for each of the {len(pairs)} pairs"
    try:
        values = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{wrong}{type(found).__name__}, not numbers", remedy=remedy) from None
    if values.shape != (len(pairs),):
        what = "None" if found is None else f"an array of shape {values.shape}"
        raise DataError(wrong + what, remedy=remedy)
    if not np.isfinite(values).all():
        lost = int((~np.isfinite(values)).sum())
        raise DataError(f"{wrong}{lost} values that are not finite", remedy=remedy)
    return values


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value


def plain_settings(holder: Any, hinted: type, names: Iterable[str]) -> dict[str, Any]:
    """Attributes of `holder` as JSON would have them, numbers as the annotations of `hinted` say.

    Raises
    ------
    DataError
        A value that is no finite JSON.
    """
    hints = get_type_hints(hinted)
    missing = [name for name in names if not hasattr(holder, name)]
    if missing:
        raise DataError(
            f"{type(holder).__name__} does not keep its setting {missing[0]!r}",
            remedy=f"set self.{missing[0]} in __init__, or make the class a dataclass",
        )
    return {name: _plain(name, getattr(holder, name), hints.get(name)) for name in names}


def _plain(name: str, value: Any, hint: Any = None) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int) and not isinstance(value, bool) and float in (hint, *get_args(hint)):
        value = float(value)  # 3 and 3.0 are one setting
    if isinstance(value, Mapping):
        return {str(key): _plain(f"{name}.{key}", part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(name, part, hint) for part in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and np.isfinite(value):
        return value
    raise DataError(
        f"setting {name} is {value!r}", remedy="use finite numbers, text, and lists of such"
    )


class Configured(Model):
    """A model whose settings are the fields of one frozen dataclass, `Config`."""

    Config: ClassVar[type]
    config: Any

    @classmethod
    def known_settings(cls) -> set[str]:
        """The fields of `Config`."""
        return {f.name for f in fields(cls.Config)}

    @classmethod
    def make(cls, **settings: Any) -> Self:
        """A model with some settings changed (lists become tuples, as JSON has none)."""
        config = cls.Config(**{name: _tuples(value) for name, value in settings.items()})
        return cast("Any", cls)(config)

    def resolved(self, kind: str | None = None) -> dict[str, Any]:
        """Every field of the configuration with its exact value, as plain JSON."""
        return plain_settings(self.config, self.Config, sorted(self.known_settings()))


def check_names(config: Any, **allowed: Iterable[str]) -> None:
    """Raises DataError where a setting of `config`, a name or several, is not among its `allowed`
    names.
    """
    for setting, names in allowed.items():
        value = getattr(config, setting)
        for name in (value,) if isinstance(value, str) else value:
            if name not in names:
                raise DataError(f"unknown {setting} {name!r}", remedy=f"use {', '.join(names)}")


Candidate = tuple[dict[str, Any], np.ndarray, dict[str, np.ndarray]]


@dataclass
class TableModel(Model):
    """A model whose predictions are one [R, C] table, made at the end of `fit`, for the entities of
    the benchmark it was fitted on; of others it knows what `new_table` says.

    What it reads besides the benchmark, it says in `also_read`, and a record's provenance says it,
    too.
    """

    table: Any = field(default=None, init=False, repr=False)
    fitted: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)
    ids: Any = field(default=None, init=False, repr=False)
    names: Any = field(default=None, init=False, repr=False)
    scores: list[float] = field(default_factory=list, init=False, repr=False)
    pick: int = field(default=0, init=False, repr=False)
    refits = True

    def refit(self, benchmark: Benchmark, split: Split) -> Self:
        """Fit on the whole training set the candidate whose mean score over the folds of
        `split.within()` is best; see `Model.refit`.
        """
        scores = []
        for part in split.within():
            model = copy.deepcopy(self)
            model.fit(benchmark, part)
            scores.append(model.scores)
        best = None
        # the mean of each candidate; as in `choose`, the first wins a tie
        for number, found in enumerate(np.mean(scores, axis=0) if scores[0] else ()):
            if improves(found, best):
                best, self.pick = found, number
        return self.fit(benchmark, split)

    def predict(self, pairs: np.ndarray, benchmark: Benchmark | None = None) -> np.ndarray:
        """[n] predictions of [n, 2] positions (row, column); see `Model.predict`."""
        row, column = np.asarray(pairs).T
        if benchmark is None:
            return self.table[row, column]
        check_sides(self.names, benchmark)
        at = [places(self.ids[i], benchmark, i, part) for i, part in enumerate((row, column))]
        known = (at[0] >= 0) & (at[1] >= 0)
        out = np.empty(len(row))
        out[known] = self.table[at[0][known], at[1][known]]
        if not known.all():
            rows, i = np.unique(row[~known], return_inverse=True)
            columns, j = np.unique(column[~known], return_inverse=True)
            out[~known] = self.new_table(benchmark, rows, columns)[i, j]
        return out

    def new_table(self, benchmark: Benchmark, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """[rows, columns] predictions for entities of another benchmark, some of them unknown.

        Parameters
        ----------
        rows, columns : positions in `benchmark`

        Raises
        ------
        DataError
            The model cannot: here, always.
        """
        raise DataError(
            f"{type(self).__name__} cannot predict for entities that were not there at fit",
            remedy="fit it on a benchmark that has them, without values of theirs",
        )

    def padded(
        self, values: np.ndarray, benchmark: Benchmark, axis: int, positions: np.ndarray
    ) -> np.ndarray:
        """[n] values of fitted entities for those asked about, 0 for a new one."""
        return np.append(values, 0.0)[places(self.ids[axis], benchmark, axis, positions)]

    def remember(self, benchmark: Benchmark) -> None:
        """Keep the ids of a benchmark's entities, and the names of its sides."""
        self.ids = tuple(side.ids for side in benchmark.sides)
        self.names = tuple(side.name for side in benchmark.sides)

    def tabulate(self, benchmark: Benchmark) -> Self:
        """Keep what `new_table` says of every entity of the benchmark, at the end of `fit`."""
        self.remember(benchmark)
        self.table = self.new_table(benchmark, *(np.arange(n) for n in benchmark.shape))
        return self

    def choose(self, benchmark: Benchmark, split: Split, candidates: Iterable[Candidate]) -> Self:
        """Keep the (settings, table, state) with the best score on the validation set; the first
        wins a tie (`improves`). Without a validation set: the one that was picked before.
        """
        self.remember(benchmark)
        cell, drug = benchmark.pairs[split.valid].T
        best, self.scores = None, []
        for number, (settings, table, state) in enumerate(candidates):
            if len(cell):
                found = selection_score(benchmark, split, table[cell, drug])
                self.scores.append(found)
                better = improves(found, best)
            else:
                found, better = None, number == self.pick
            if better:
                self.pick = number
                best, self.chosen, self.table, self.fitted = found, settings, table, state
        return self

    def load_auxiliary(self, benchmark: Benchmark) -> AuxiliaryOmics:
        """`data.response.auxiliary.load_auxiliary`, noted in `also_read`."""
        auxiliary = load_auxiliary(cast("Any", benchmark))
        self.also_read = auxiliary.describe()
        return auxiliary

    def state(self) -> dict[str, np.ndarray]:
        """Every fitted array by name."""
        return dict(self.fitted)
