"""What a committed chapter must be, beyond running: `problems(notebook)` names every departure.

python tests/notebooks/lint.py notebooks/*.ipynb
"""

import ast
import json
import re
import sys
from pathlib import Path

PARAMETERS = ("profile", "dataset", "seed", "device")
LONGEST_CELL = 40
WIDEST_LINE = 79
LONGEST_ALT = 250
ABSOLUTE_PATH = re.compile(
    r"(?<![\w.:/<])/(?:home|Users|root|tmp|var|opt|mnt|usr|private)/[\w.-]+|\b[A-Z]:\\\\?[A-Za-z]"
)
TYPED_METRIC = re.compile(
    r"\b(RMSE|MAE|PCC|R2|Pearson|Spearman|per-drug r)\b[^.\d\n]{0,25}?[-−]?\d*\.\d+", re.IGNORECASE
)
CELL_OF_TABLE = re.compile(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", re.DOTALL)
INTERNAL_NAME = re.compile(r"\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b|\b(?:None|NaN|nan)\b")
TYPED_NAMES = {  # that a reader types, or finds in another's code: they may stand in a table
    "act_area",
    "cell_type",
    "copy_number",
    "ln_ic50",
    "nearest_line",
    "unweighted_responses",
    *("create_cell_feat", "create_drug_feat", "drug_encoder", "hetero_graph", "train_test"),
}
FORBIDDEN = {
    "installs or runs a shell command": re.compile(r"^\s*(?:!|%(?!matplotlib\b))", re.MULTILINE),
    "silences all warnings": re.compile(
        r"(?:filterwarnings|simplefilter)\(\s*[\"']ignore[\"']\s*\)"
    ),
    "forces a plotting backend": re.compile(r"MPLBACKEND|matplotlib\.use\("),
}


def text_of(value):
    """Notebook text, which may be stored as a list of lines."""
    return value if isinstance(value, str) else "".join(value)


def tags_of(cell):
    """Tags of a cell."""
    return set(cell["metadata"].get("tags", []))


def shows_picture(cell):
    """Whether an output of the cell is a picture."""
    return any(
        kind in output.get("data", {})
        for output in cell["outputs"]
        for kind in ("image/png", "image/svg+xml")
    )


def _parsed(cell):
    try:
        return ast.parse(text_of(cell["source"]))
    except SyntaxError:
        return None


def check_parameters(code):
    """One cell of parameters: the four names as plain values, in the bundled profile; every import
    before it.
    """
    where = [number for number, cell in code if "parameters" in tags_of(cell)]
    if len(where) != 1:
        yield f"has {len(where)} cells tagged 'parameters', want 1"
        return
    values = {}
    for node in getattr(_parsed(dict(code)[where[0]]), "body", []):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            values |= {
                target.id: node.value.value
                for target in node.targets
                if isinstance(target, ast.Name)
            }
    for name in PARAMETERS:
        if name not in values:
            yield f"cell {where[0]}: parameter {name!r} is missing"
    if values.get("profile", "bundled") != "bundled":
        yield f"cell {where[0]}: committed chapters are of the bundled profile"
    for number, cell in code:
        if number > where[0] and any(
            isinstance(node, (ast.Import, ast.ImportFrom))
            for node in getattr(_parsed(cell), "body", [])
        ):
            yield f"cell {number}: imports after the parameters cell"


def check_execution(code):
    """Executed once, from top to bottom, without an error or a warning left in the page."""
    counts = [cell["execution_count"] for _, cell in code if text_of(cell["source"]).strip()]
    if counts != list(range(1, len(counts) + 1)):
        yield f"cells were not executed once from top to bottom: {counts}"
    for number, cell in code:
        for output in cell["outputs"]:
            if output["output_type"] == "error" and "raises-exception" not in tags_of(cell):
                yield f"cell {number}: stored error {output.get('ename')}"
            if output["output_type"] == "stream" and output["name"] == "stderr":
                yield f"cell {number}: stored text of stderr (a warning?)"
    if not any(cell["outputs"] for _, cell in code):
        yield "holds no output at all"


def check_source(code):
    """Short, narrow cells without shell commands, blanket filters or forced backends."""
    for number, cell in code:
        source = text_of(cell["source"])
        lines = sum(bool(line.strip()) for line in source.splitlines())
        if lines > LONGEST_CELL and "remove-cell" not in tags_of(cell):
            yield f"cell {number}: {lines} lines, at most {LONGEST_CELL}"
        widest = max(map(len, source.splitlines()), default=0)
        if widest > WIDEST_LINE:
            yield f"cell {number}: a line of {widest} characters, at most {WIDEST_LINE}"
        yield from (
            f"cell {number}: {what}"
            for what, pattern in FORBIDDEN.items()
            if pattern.search(source)
        )


def check_pictures(code):
    """Every figure is there, and described where the page will use it."""
    for number, cell in code:
        alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
        if "plt.show()" in text_of(cell["source"]) and not shows_picture(cell):
            yield f"cell {number}: shows a figure, but no image is stored"
        if shows_picture(cell) and not alt.strip():
            yield f"cell {number}: figure without alt text (metadata mystnb.image.alt)"
        if len(alt) > LONGEST_ALT:
            yield f"cell {number}: alt text of {len(alt)} characters, at most {LONGEST_ALT}"


def check_tables(code):
    """Tables speak the words of their reader, and leave out what nothing is known of."""
    for number, cell in code:
        if "remove-cell" in tags_of(cell):
            continue
        for output in cell["outputs"]:
            table = text_of(output.get("data", {}).get("text/html", ""))
            said = " ".join(CELL_OF_TABLE.findall(table))
            for name in sorted(set(INTERNAL_NAME.findall(said)) - TYPED_NAMES):
                yield f"cell {number}: a table says {name}; clmt_lib.book.tables.readable has words"


def check_prose(cells):
    """A title first; metrics glued, not typed (a cited number of somebody else is fine)."""
    if (
        not cells
        or cells[0]["cell_type"] != "markdown"
        or not text_of(cells[0]["source"]).startswith("# ")
    ):
        yield "does not begin with a title"
    for number, cell in enumerate(cells):
        if cell["cell_type"] != "markdown":
            continue
        for line in text_of(cell["source"]).splitlines():
            typed = TYPED_METRIC.search(line)
            if typed and "{cite" not in line and "{glue" not in line:
                yield (
                    f"cell {number}: typed metric {typed.group(0)!r}: glue it, or cite its "
                    "source on the same line"
                )


def check_paths(cells, metadata):
    """No path of one machine, and metadata that does not change from run to run."""
    for number, cell in enumerate(cells):
        found = ABSOLUTE_PATH.search(text_of(cell["source"]) + json.dumps(cell.get("outputs", [])))
        if found:
            yield f"cell {number}: absolute path {found.group(0)!r}"
        if {"papermill", "execution"} & set(cell["metadata"]):
            yield f"cell {number}: metadata of one run (make notebooks removes it)"
    if (
        set(metadata) != {"kernelspec", "language_info"}
        or metadata["kernelspec"].get("name") != "python3"
    ):
        yield "notebook metadata is not normalised (make notebooks does it)"


def problems(notebook):
    """Every departure of a notebook (parsed JSON) from what a committed chapter must be, as
    sentences.
    """
    cells = notebook["cells"]
    code = [(number, cell) for number, cell in enumerate(cells) if cell["cell_type"] == "code"]
    found = [
        *check_parameters(code),
        *check_execution(code),
        *check_source(code),
        *check_pictures(code),
        *check_tables(code),
    ]
    return [*found, *check_prose(cells), *check_paths(cells, notebook["metadata"])]


def main(paths):
    """Print the problems of the named notebooks; exit status 1 when there are any."""
    found = [
        f"{path}: {problem}"
        for path in paths
        for problem in problems(json.loads(Path(path).read_text(encoding="utf-8")))
    ]
    print("\n".join(found) or "no problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
