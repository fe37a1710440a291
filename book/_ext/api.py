"""Sphinx extension: the reference of the library, one page a room, written from the tree.

The pages hold headings and `automodule` alone; what they say stands in the docstrings, which are
plain text with code between backticks.
They are made anew at every build (book/api/, ignored by git), so no module can be forgotten; which
rooms there are, and in which order, the table of contents says.
"""

import re
from importlib import import_module
from pathlib import Path

import yaml
from chapters import named_in
from sphinx.errors import ExtensionError

MODULE = """\
```{{eval-rst}}
.. automodule:: {module}
   :members:
   :ignore-module-all:
   :show-inheritance:
```
"""
LISTED = ("Parameters", "Attributes")  # sections whose entries are "name : what it is"
CODE = re.compile(r"(``.+?``|`[^`]+`)", re.DOTALL)


def modules_of(library: Path, room: str) -> list[str]:
    """Dotted names of the modules of a room, the room itself first; those with an underscore are
    left out. Empty where there is no such room.
    """
    if (library / f"{room}.py").is_file():
        return [f"{library.name}.{room}"]
    names = []
    for path in (library / room).rglob("*.py"):
        parts = path.relative_to(library.parent).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts):
            names.append(".".join(parts))
    return sorted(names)


def page_of(library: Path, room: str) -> str:
    """The page of one room: a section a module."""
    first, *others = modules_of(library, room)
    parts = [f"# `{first}`\n", MODULE.format(module=first)]
    for module in others:
        parts += [f"## `{module}`\n", MODULE.format(module=module)]
    return "\n".join(parts)


def write_pages(book: Path) -> list[str]:
    """Write the page api/<room>.md for every room in `_toc.yml`, and return the rooms; a page that
    is right already is left alone, so that Sphinx need not read it again. Raise where there is no
    such room.
    """
    toc = yaml.safe_load((book / "_toc.yml").read_text(encoding="utf-8"))
    rooms = [name.removeprefix("api/") for name in named_in(toc) if name.startswith("api/")]
    library, folder = book.parent / "clmt_lib", book / "api"
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.md"):
        if path.stem not in rooms:
            path.unlink()
    for room in rooms:
        if not modules_of(library, room):
            raise ExtensionError(f"_toc.yml names api/{room}, but there is no clmt_lib.{room}")
        path, text = folder / f"{room}.md", page_of(library, room)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    return rooms


def _escaped(text: str) -> str:
    """`text` with code in double backticks, and without what reStructuredText would read as markup:
    stars, bars and underscores at the end of a word.
    """
    parts = CODE.split(text)
    for number, part in enumerate(parts):
        if number % 2:  # code: markup wants a space or a bracket beside it, or this nothing
            left = "" if (parts[number - 1][-1:] or " ") in " \n'\"([{<-/:" else "\\ "
            right = "" if (parts[number + 1][:1] or " ") in " \n'\")]}>-/\\:.,;!?" else "\\ "
            parts[number] = f"{left}``{part.strip('` ')}``{right}"
        else:
            part = re.sub(r"(?m)^( *)\\\*(?= )", r"\1*", part.replace("*", r"\*"))  # bullets stay
            parts[number] = re.sub(r"(?<=\w)_(?!\w)", r"\\_", part.replace("|", r"\|"))
    return "".join(parts)


def described(lines: list[str]) -> list[str]:
    """A docstring as numpydoc's reader wants it. Its parameters and attributes, of the form
    "name : what it is", become a name with a description below it: after the colon, a type would
    be expected. What follows a section without a heading of its own gets one, or it would be read
    as more entries: "Examples" above an example, "Notes" above a paragraph.
    """
    out, section = [], ""
    for number, line in enumerate(lines):
        follows = lines[number + 1] if number + 1 < len(lines) else ""
        if _is_rule(follows):
            section = line.strip()
        elif (
            section and line.strip() and not line.startswith(" ") and not lines[number - 1].strip()
        ):
            heading = ""
            if line.startswith(">>>"):
                heading = "" if section == "Examples" else "Examples"
            elif section in (*LISTED, "Raises") and not (" : " in line or follows.startswith(" ")):
                heading = "Notes"
            if heading:
                section = heading
                out += [heading, "-" * len(heading)]
        name, colon, text = line.partition(" : ")
        if section in LISTED and colon and not name.startswith(" "):
            out += [name.replace(", ", ","), f"    {text}"]  # one entry for several names
        else:
            out.append(line)
    return out


def _is_rule(line: str) -> bool:
    """Whether a line underlines a heading."""
    return len(line.strip()) > 2 and not line.strip().strip("-")


def as_markup(docstring: str) -> str:
    r"""A docstring as reStructuredText: everything but examples and literal blocks is plain text.

    >>> print(as_markup("The mean of all `x`s over a|b, c*d."))
    The mean of all ``x``\ s over a\|b, c\*d.
    """
    out, prose, literal, example = [], [], None, False

    def flush():
        if prose:
            out.append(_escaped("\n".join(prose)))
            prose.clear()

    for line in described(docstring.split("\n")):
        depth = len(line) - len(line.lstrip())
        if literal is not None and line.strip() and depth <= literal:
            literal = None
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        if literal is not None or example:
            flush()
            out.append(line)
        else:
            prose.append(line)
            literal = depth if line.rstrip().endswith("::") else literal
    flush()
    return "\n".join(out)


def process(app, what, name, obj, options, lines):
    """For autodoc, before it looks for the sections of a docstring."""
    lines[:] = as_markup("\n".join(lines)).split("\n")


def setup(app):
    """Called by Sphinx before it looks for source files."""
    library = Path(app.srcdir).parent / "clmt_lib"
    for room in write_pages(Path(app.srcdir)):
        for module in modules_of(library, room):  # first: autodoc changes annotations of what it
            import_module(module)  # documents, and a pydantic class made after that is unusable
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", process, priority=100)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
