"""The checks behind the exercises: `check(name, answer)` prints what is right or a hint, and never
raises (every chapter).

A check is a function answer -> None where the answer is right, else a hint for the mistake it
recognised. It is registered with the words for a right answer:

    @exercise("01.1", "ratios of concentrations are differences of logarithms.")
    def _check_fold(answer): ...

A check gives `Ellipsis` back, or raises it in a hint, where there is no answer yet.
"""

from clmt_lib.book.exercises import (  # noqa: F401, each registers its checks
    ablations,
    alignment,
    attributes,
    best,
    clinic,
    data,
    graphs,
    ladder,
    language,
    profiles,
    reproduction,
    scaling,
    text,
    training,
    transfer,
    umme,
)
from clmt_lib.book.exercises.core import CHECKS, check, exercise

__all__ = ["CHECKS", "check", "exercise"]
