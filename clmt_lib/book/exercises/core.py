"""How an exercise is checked: the register, and helpers that read an answer."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

Check = Callable[[Any], Any]  # an answer -> None (right), a hint, or Ellipsis (no answer yet)
CHECKS: dict[str, tuple[Check, str]] = {}  # name -> (check, words for a right answer)


def exercise(name: str, praise: str) -> Callable[[Check], Check]:
    """Decorator that registers a check under the exercise's name, "chapter.number"."""

    def register(function: Check) -> Check:
        CHECKS[name] = function, praise
        return function

    return register


def check(name: str, answer: Any = None) -> None:
    """Print whether an answer is right, or a hint. Whatever is handed in, this never raises; the
    stubs None and ... get a neutral line.

    >>> check("01.1", ...)
    01.1  No answer yet: replace the ... by your own, then run this cell again.
    >>> check("99.1", 2.31)
    No exercise '99.1'; there are: 01.1, 01.2, ...
    """
    name = str(name)
    if name not in CHECKS:
        chapter = [known for known in sorted(CHECKS) if known.split(".")[0] == name.split(".")[0]]
        return print(f"No exercise {name!r}; there are: {', '.join(chapter or sorted(CHECKS))}")
    function, praise = CHECKS[name]
    hint = ... if answer is None or answer is ... else _hint(function, answer)
    if hint is ...:
        return print(
            f"{name}  No answer yet: replace the ... by your own, then run this cell again."
        )
    print(f"{name}  Right: {praise}" if hint is None else f"{name}  Not yet: {hint}")


def _hint(function: Check, answer: Any) -> Any:
    """The hint of a check; one of its own where the answer breaks."""
    try:
        with np.errstate(all="ignore"):
            return function(answer)
    except Hint as hint:
        return hint.args[0]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - an exercise never stops a chapter
        return (
            f"your answer raised {type(error).__name__}. Try it on a small example of your "
            "own first."
        )


class Hint(Exception):
    """A hint raised from a helper, for the reader; `Ellipsis` where there is no answer yet."""


def number(answer: Any) -> float:
    """The answer as one finite float; anything else raises a hint."""
    if callable(answer):
        raise Hint("hand in the number, not the function: call it.")
    if isinstance(answer, (str, bytes)):
        raise Hint("hand in a number, without quotes.")
    if isinstance(answer, np.ndarray) and answer.size == 1:
        answer = answer.item()
    if isinstance(answer, bool) or not isinstance(answer, (Real, np.number)):
        raise Hint(f"expected one number, got {type(answer).__name__}.")
    if not math.isfinite(answer):
        raise Hint("expected a finite number.")
    return float(answer)


def numbers(answer: Any, shape: Sequence[int]) -> np.ndarray:
    """The answer as a float array of `shape`; anything else raises a hint."""
    if answer is None:
        raise Hint("the function returned nothing: does it end in `return`?")
    if callable(answer):
        raise Hint("expected numbers, got a function: call it.")
    if isinstance(answer, (str, bytes)) or not hasattr(answer, "__len__"):
        raise Hint(f"expected an array of shape {list(shape)}, got {type(answer).__name__}.")
    if len(answer) != shape[0]:  # before numpy copies something huge
        raise Hint(f"expected an array of shape {list(shape)}, got one of length {len(answer)}.")
    values = np.asarray(answer, dtype=float)
    if values.shape != tuple(shape):
        raise Hint(f"expected an array of shape {list(shape)}, got {list(values.shape)}.")
    return values


def chosen(answer: Any, right: Mapping[str, tuple[str, str]], allowed: Sequence[str]) -> Any:
    """Check a dictionary of choices: the hint of the first wrong one, `Ellipsis` while all are
    stubs; right: key -> (choice, hint).
    """
    if not isinstance(answer, dict):
        return (
            f"hand in a dictionary with the keys {', '.join(list(right)[:-1])} and "
            f"{list(right)[-1]}, got {type(answer).__name__}."
        )
    if all(answer.get(key) in (None, ...) for key in right):
        return ...
    for key, (choice, hint) in right.items():
        said = answer.get(key)
        if not isinstance(said, str) or said not in allowed:
            return f"for {key}, choose one of: {', '.join(allowed)}."
        if said != choice:
            return f"{key} is not {said}: {hint}"
    return None


def called(function: Any, *inputs: Any) -> Any:
    """What the function that was handed in returns for `inputs`; a stub, and anything but a
    function, raises a hint.
    """
    if not callable(function):
        raise Hint(
            f"hand in the function itself, without calling it; got {type(function).__name__}."
        )
    result = function(*inputs)
    if result is None or result is ...:
        raise Hint(...)
    return result


def first(got: Any, known: Iterable[tuple[Any, str | None]], otherwise: str) -> str | None:
    """The hint of the first known answer that `got` equals (None: right), else the general one."""
    return next((hint for value, hint in known if np.allclose(got, value)), otherwise)
