"""A fitted model on disk: `model.json` and `arrays.safetensors`, no pickle.

Attributes are written as JSON, with a mark (`"$"`) where JSON has no word for something: an array
(kept in the other file), a frame, a tuple, a model inside the model. Both files are covered by a
checksum, so that a changed digit is noticed; nothing that is read is executed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clmt_lib.io import DataError, atomic_write

if TYPE_CHECKING:
    from clmt_lib.models.base import Model

FORMAT = 1
FACTS, ARRAYS = "model.json", "arrays.safetensors"


def place_of(cls: type) -> str:
    """Where a class is: "package.module:Class"."""
    return f"{cls.__module__}:{cls.__qualname__}"


class _Writer:
    """Attributes to JSON; arrays on the way are collected, each once."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._known: dict[int, tuple[np.ndarray, dict]] = {}

    def __call__(self, value: Any, where: str) -> Any:
        from clmt_lib.models.base import Model

        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return value if np.isfinite(value) else {"$": "number", "value": repr(value)}
        if isinstance(value, np.ndarray):
            return self._array(value, where)
        if isinstance(value, Mapping):
            strange = next((key for key in value if not isinstance(key, str) or key == "$"), None)
            if strange is None:
                return {key: self(part, f"{where}.{key}") for key, part in value.items()}
            raise DataError(f"{where} has the key {strange!r}", remedy="use text as keys")
        if isinstance(value, (list, tuple)):
            items = [self(part, f"{where}.{i}") for i, part in enumerate(value)]
            return items if isinstance(value, list) else {"$": "tuple", "items": items}
        if isinstance(value, pd.Index):
            return {"$": "index", "values": self._texts(value.to_numpy(object), where)}
        if isinstance(value, pd.Series):
            return {"$": "series", "frame": self._frame(value.to_frame("values"), where)}
        if isinstance(value, pd.DataFrame):
            return {"$": "frame", **self._frame(value, where)}
        if isinstance(value, Model):
            parts = {name: self(part, f"{where}.{name}") for name, part in value.pack().items()}
            about = {"class": place_of(type(value)), "version": type(value).version}
            return {"$": "model", **about, "parts": parts}
        if is_dataclass(value) and type(value).__module__.startswith("clmt_lib."):
            parts = {
                f.name: self(getattr(value, f.name), f"{where}.{f.name}") for f in fields(value)
            }
            return {"$": "object", "class": place_of(type(value)), "parts": parts}
        raise DataError(
            f"{where} is a {type(value).__name__}, which cannot be saved",
            remedy="keep what was fitted as arrays, frames, numbers, text, lists and dicts, "
            "or define pack and unpack",
        )

    def _array(self, value: np.ndarray, where: str) -> dict:
        if value.dtype.kind not in "bifu":
            return {"$": "texts", "values": self._texts(value, where)}
        if id(value) not in self._known:  # the array is kept, or its id could be another's
            # a matrix product may round differently on the transposed layout: it is kept, too
            turned = value.ndim > 1 and value.flags.f_contiguous and not value.flags.c_contiguous
            self.arrays[where] = np.ascontiguousarray(value.T if turned else value)
            mark = {"$": "array", "name": where, "turned": turned, "shape": list(value.shape)}
            self._known[id(value)] = value, mark
        return self._known[id(value)][1]

    def _texts(self, values: np.ndarray, where: str) -> list:
        out = [None if value is None or value is pd.NA else value for value in values.tolist()]
        out = [None if isinstance(value, float) and np.isnan(value) else value for value in out]
        strange = next((v for v in out if not isinstance(v, (str, int, float, type(None)))), None)
        if strange is not None or values.ndim != 1:
            raise DataError(f"{where} holds {strange!r}", remedy="keep arrays of numbers or text")
        return out

    def _frame(self, frame: pd.DataFrame, where: str) -> dict:
        kinds = set(frame.dtypes)
        index = self._texts(frame.index.to_numpy(object), where)
        columns = self._texts(frame.columns.to_numpy(object), where)
        if (
            len(kinds) == 1
            and isinstance(next(iter(kinds)), np.dtype)
            and (next(iter(kinds)).kind in "bifu")
        ):
            body = self._array(frame.to_numpy(), where)
        else:
            body = {
                str(name): self._column(frame[name], f"{where}.{name}") for name in frame.columns
            }
        return {"index": index, "columns": columns, "name": frame.index.name, "body": body}

    def _column(self, column: pd.Series, where: str) -> Any:
        plain = isinstance(column.dtype, np.dtype) and column.dtype.kind in "bifu"
        return self(column.to_numpy() if plain else column.to_numpy(object), where)


class _Reader:
    """What `_Writer` wrote, back."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self(part) for part in value]
        if not isinstance(value, dict):
            return value
        if "$" not in value:
            return {key: self(part) for key, part in value.items()}
        return getattr(self, f"_{value['$']}")(value)

    def _number(self, value: dict) -> float:
        return float(value["value"])

    def _array(self, value: dict) -> np.ndarray:
        array = self.arrays[value["name"]]
        return (array.T if value["turned"] else array).reshape(value["shape"])

    def _texts(self, value: dict) -> np.ndarray:
        return np.array(value["values"], dtype=object)

    def _tuple(self, value: dict) -> tuple:
        return tuple(self(part) for part in value["items"])

    def _index(self, value: dict) -> pd.Index:
        return pd.Index(value["values"], dtype=object)

    def _series(self, value: dict) -> pd.Series:
        return self._frame(value["frame"])["values"].rename(None)

    def _frame(self, value: dict) -> pd.DataFrame:
        body, index = self(value["body"]), pd.Index(value["index"], name=value["name"])
        if isinstance(body, np.ndarray):
            return pd.DataFrame(body, index, value["columns"], copy=False)
        return pd.DataFrame(body, index).reindex(columns=value["columns"])

    def _model(self, value: dict) -> "Model":
        from clmt_lib.models.base import Model

        cls = _found(value["class"])
        if not issubclass(cls, Model):
            raise KeyError(value["class"])
        _same_version(cls, value["version"])
        return _revived(cls, self(value["parts"]))

    def _object(self, value: dict) -> Any:
        cls = _found(value["class"])
        if not (is_dataclass(cls) and cls.__module__.startswith("clmt_lib.")):
            raise KeyError(value["class"])
        return cls(**self(value["parts"]))


def _found(place: str) -> type:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def _revived(cls: "type[Model]", parts: dict[str, Any]) -> "Model":
    model = cls.__new__(cls)
    model.unpack(parts)
    return model


def _same_version(cls: "type[Model]", version: int) -> None:
    if version != cls.version:
        raise DataError(
            f"{cls.__name__} was saved by version {version}, this is version {cls.version}",
            remedy="fit it again",
        )


def arrays_of(parts: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Every array among a model's attributes, by name."""
    writer = _Writer()
    for name, value in parts.items():
        writer(value, name)
    return writer.arrays


def write(model: "Model", folder: Path) -> Path:
    """Write a model into a folder, which is made if need be; see `Model.save`."""
    from safetensors.numpy import save

    strange = (
        sorted(
            {path.name for path in folder.iterdir() if not path.name.endswith(".part")}
            - {FACTS, ARRAYS}
        )
        if folder.is_dir()
        else []
    )
    if strange:
        raise DataError(
            f"the folder holds something else ({strange[0]})",
            file=folder,
            remedy="save into an empty or a new folder",
        )
    writer = _Writer()
    parts = {name: writer(value, name) for name, value in model.pack().items()}
    body = save(writer.arrays)
    facts = {
        "format": FORMAT,
        "class": place_of(type(model)),
        "version": type(model).version,
        "parts": parts,
        "arrays": hashlib.sha256(body).hexdigest(),
    }
    facts["checksum"] = _checksum(facts)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / ARRAYS, "wb") as file:
        file.write(body)
    with atomic_write(folder / FACTS) as file:  # last: until it is there, there is no model
        file.write(json.dumps(facts, indent=1) + "\n")
    return folder


def read(cls: "type[Model]", folder: Path) -> Any:
    """Read a model that is a `cls` from a folder; see `Model.load`."""
    from safetensors.numpy import load

    again = "save the model again"
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        body = (folder / ARRAYS).read_bytes()
        wanted, arrays_sum, place = facts.pop("checksum"), facts["arrays"], facts["class"]
        form = facts["format"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"not a saved model ({type(error).__name__}: {error})", file=folder, remedy=again
        ) from None
    if form != FORMAT:
        raise DataError(f"format {form}, this reads {FORMAT}", file=folder, remedy=again)
    if wanted != _checksum(facts):
        raise DataError(f"{FACTS} was changed or cut short", file=folder, remedy=again)
    if arrays_sum != hashlib.sha256(body).hexdigest():
        raise DataError(f"{ARRAYS} was changed or cut short", file=folder, remedy=again)
    found = cls if place == place_of(cls) else _class_of(place, cls, folder)
    _same_version(found, facts["version"])
    try:
        return _revived(found, _Reader(load(body))(facts["parts"]))
    except (KeyError, AttributeError, TypeError, ImportError) as error:
        raise DataError(
            f"not a saved {found.__name__} ({type(error).__name__}: {error})",
            file=folder,
            remedy=again,
        ) from None


def _class_of(place: str, asked: "type[Model]", folder: Path) -> "type[Model]":
    """The class a folder names, if it is one of those asked for."""
    from clmt_lib.models.base import Model

    module, _, name = place.partition(":")
    if (
        module == "__main__" and name == asked.__qualname__
    ):  # saved by its script, loaded by another
        return asked
    try:
        found = _found(place)
    except (ImportError, AttributeError, ValueError):
        raise DataError(
            f"there is no {place} to load it into",
            file=folder,
            remedy="make its module importable, or call load of the class itself",
        ) from None
    if not (isinstance(found, type) and issubclass(found, Model) and issubclass(found, asked)):
        raise DataError(
            f"the folder holds a {name}, not a {asked.__name__}",
            file=folder,
            remedy=f"load it with {name}.load",
        )
    return found


def _checksum(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
