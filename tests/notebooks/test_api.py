"""The reference is written from docstrings that know nothing of reStructuredText."""

import api
import pytest


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


def test_a_room_that_is_not_there_is_named(tmp_path):
    (tmp_path / "book").mkdir()
    toc = "format: jb-book\nroot: index\nchapters:\n  - file: api/attic\n"
    (tmp_path / "book" / "_toc.yml").write_text(toc)
    with pytest.raises(api.ExtensionError, match="attic"):
        api.write_pages(tmp_path / "book")
