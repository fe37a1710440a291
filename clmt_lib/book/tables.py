"""Tables of a page: no internal name, nothing where nothing is known, one form for an interval."""

from collections.abc import Hashable, Mapping
from numbers import Real
from typing import Any

import pandas as pd

from clmt_lib.book.words import reader_word
from clmt_lib.models import display_name, names

HARD = "\N{NO-BREAK SPACE}"
MODELS = ("model", "rung")  # columns and levels whose names are models


def readable(
    table: pd.DataFrame, digits: int = 3, words: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """A table in the words of its reader.

    Names of records, splits and scores as a page says them, a model's wherever its column or level
    is called model; numbers with so many digits; nothing where a value is missing; two numbers as
    an interval where their column says interval, else as a mean and its standard error.

    Parameters
    ----------
    words : of this page, see `reader_word`

    >>> found = pd.DataFrame({"split": ["cell_blind"], "rmse": [1.25], "model": ["als"]})
    >>> print(readable(found.set_index("split"), 1).to_string(index_names=False))
                RMSE                model
    cell-blind   1.2  factorisation (ALS)
    """

    def told(name: Hashable, of: Hashable = None) -> Hashable:
        if of in MODELS and name in known:
            return display_name(str(name))
        return reader_word(name, words) if isinstance(name, str) else name

    def cell(value: Any, of: Hashable) -> Any:
        interval = "interval" in str(of)
        if isinstance(value, (list, tuple)):
            numbers = [written(one) for one in value if one is not None]
            both = f"[{f',{HARD}'.join(numbers)}]"
            return both if interval and len(numbers) == 2 else f"{HARD}±{HARD}".join(numbers)
        if value is None or (isinstance(value, Real) and value != value):
            return ""
        return written(value) if isinstance(value, float) else told(value, of)

    def written(value: float) -> str:
        return f"{round(value, digits) + 0.0:.{digits}f}"  # no zero has a sign

    def named(index: pd.Index) -> pd.Index:
        if isinstance(index, pd.MultiIndex):
            rows = [tuple(map(told, row, index.names)) for row in index]
            return pd.MultiIndex.from_tuples(rows, names=list(map(told, index.names)))
        return index.map(lambda name: told(name, index.name)).rename(told(index.name))

    known = set(names()) - set(words or {})
    columns = {}
    for at, name in enumerate(table.columns):
        last, values = name[-1] if isinstance(name, tuple) else name, table.iloc[:, at]
        if not pd.api.types.is_numeric_dtype(values) or values.isna().any():
            columns[at] = pd.Series([cell(value, last) for value in values], table.index)
        elif not pd.api.types.is_float_dtype(values):
            columns[at] = values
        elif (values % 1 == 0).all() and values.abs().max() > 1:  # counts that were averaged
            columns[at] = values.astype(int)
        else:
            columns[at] = values.round(digits) + 0.0
    found = pd.DataFrame(columns, index=table.index)
    found.columns, found.index = named(table.columns), named(table.index)
    return found
