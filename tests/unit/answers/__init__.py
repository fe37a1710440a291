"""Answers to the exercises, one module a chapter: `RIGHT` and `WRONG`.

RIGHT is exercise -> answers, WRONG is exercise -> (answer, a part of its hint). Where the page's
own solutions build on more than its imports, CELLS names cells by how they begin, GIVEN their
inputs.
"""

from importlib import import_module
from pathlib import Path

CHAPTERS = [
    import_module(f"{__name__}.{path.stem}")
    for path in sorted(Path(__file__).parent.glob("chapter_*.py"))
]


def merged(name):
    """The dictionaries `name` of all chapters as one."""
    return {key: value for chapter in CHAPTERS for key, value in getattr(chapter, name, {}).items()}
