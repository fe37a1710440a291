"""Our paragraphs about real drugs: mechanism only, each written for itself, and for drugs of the
three tables.
"""

import os
import re
from collections import Counter
from importlib.resources import files
from itertools import combinations

import pandas as pd
import pytest
import tiny
from test_simulated import FORBIDDEN

from clmt_lib.data.response.simulated import facts
from clmt_lib.io import locate
from clmt_lib.views.text import mechanisms, response_words

COVERED = 0.85  # share of the benchmark's drug names that have a text
real = pytest.mark.skipif(
    not os.environ.get("CLMT_DATA"), reason="CLMT_DATA names no folder of prepared tables"
)


@pytest.fixture(scope="module")
def rows():
    lines = (files("clmt_lib.data") / "mechanisms.tsv").read_bytes().decode("utf-8").split("\n")
    assert lines[0] == "name\tmechanism\tsource" and lines[-1] == ""
    return [line.split("\t") for line in lines[1:-1]]


@pytest.fixture(scope="module")
def texts(rows):
    return {name: text for name, text, _ in rows}


def defects(name, text):
    """What is wrong with one paragraph; [] if nothing."""
    found = [
        f"speaks of {word}"
        for word in re.findall(FORBIDDEN, text, re.IGNORECASE) + response_words([text])[0]
    ]
    words = len(text.split())
    found += [] if 25 <= words <= 70 else [f"{words} words"]
    return found + ([] if name.lower().split()[0] in text.lower() else ["does not name its drug"])


def likeness(one, other):
    """Jaccard index of two texts' sets of words."""
    a, b = (set(re.findall(r"[a-z]+", text.lower())) for text in (one, other))
    return len(a & b) / len(a | b)


def test_every_line_has_three_clean_fields(rows):
    assert len(rows) > 100
    assert all(len(row) == 3 for row in rows)
    assert all(
        field and field == " ".join(field.split()) and field.isprintable() and '"' not in field
        for row in rows
        for field in row
    )
    assert all(re.match(r"[A-Z0-9]", text) and text.endswith(".") for _, text, _ in rows)


def test_names_are_unique_and_not_covered_twice(rows):
    counts = Counter(name.lower() for name, *_ in rows)
    assert not {name for name, count in counts.items() if count > 1}
    assert not set(counts) & set(facts()["name"].str.lower())


def test_the_text_view_reads_the_same_table(texts):
    assert mechanisms().items() >= {name.lower(): text for name, text in texts.items()}.items()


def test_paragraphs_speak_of_mechanism_only_and_at_length(texts):
    assert not {name: defects(name, text) for name, text in texts.items() if defects(name, text)}


@pytest.mark.parametrize(
    "text, defect",
    [
        ("X is sensitive. " * 15, "sensitive"),
        ("X is used in patients. " * 8, "patients"),
        ("X binds DNA.", "3 words"),
        ("Y binds the groove. " * 8, "name"),
        ("X is a potent one. " * 6, "potent"),
    ],
)
def test_the_guard_can_bite(text, defect):
    assert any(defect in found for found in defects("X", text))


def test_no_paragraph_is_a_template_of_another(texts):
    everything = [*texts.values(), *facts()["mechanism"]]
    assert max(likeness(one, other) for one, other in combinations(everything, 2)) < 0.8
    text = everything[0]
    assert (
        likeness(text, text.replace("that", "which")) > 0.8
    )  # a changed word does not hide a copy


@real
def test_most_drugs_of_the_benchmark_have_a_text(texts):
    names = set(tiny.real("gdsc2").drugs["name"])
    missing = names - set(texts) - set(facts()["name"])
    assert 1 - len(missing) / len(names) >= COVERED, sorted(missing)


@real
def test_every_name_is_one_of_the_three_tables(texts):
    ccle = pd.read_parquet(locate() / "ccle/drugs.parquet")["compound"]
    assert set(texts) <= set(tiny.real("gdsc2").drugs["name"]) | set(
        tiny.real("tgsa").drugs["name"]
    ) | set(ccle)
