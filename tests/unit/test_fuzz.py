"""Official tables, spoiled at random: every reader gives the right table, says what it left out,
or refuses in one line. CLMT_FUZZ sets how many spoiled files there are (200 by default).
"""

import os
import random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_releases import (
    CALLS,
    COMPOUNDS,
    COPIES,
    LIST,
    MODELS,
    RESPONSE,
    STRUCTURES,
    TPM,
    depmap,
    invented,  # noqa: F401 - a fixture
)

from clmt_lib.data.official import read_matrix, read_mutations
from clmt_lib.data.response import prepare as module
from clmt_lib.io import DataError, read_table

CASES = int(os.environ.get("CLMT_FUZZ", "200")) // 8 + 1  # of each reader
ZOO = (
    "", " ", "NA", "nan", "None", "inf", "-1", "0", "1e400", "7.0E+05", "1e30", "1,5", "TRUE",
    "2026-01-01", "1-Mar", "SEPT9", "'", '"', '""', "\t", ";", "é", "\ufeff", "<script>",
    "$\\bad{$", "\x1b[31m", "../x", "9" * 40, "ACH-900000", "SIDM90000", "GDSC1", "C",
    "not a SMILES",
)  # fmt: skip


def spoiled(text, separator, seed):
    """`text` with one or two things wrong."""
    chance = random.Random(seed)
    rows = [row.split(separator) for row in text.splitlines()]
    for _ in range(chance.choice((1, 1, 2))):
        row = chance.randrange(len(rows))
        column = chance.randrange(max(1, len(rows[0])))
        kind = chance.choice(
            ["cell", "cell", "drop", "double", "order", "cut", "row", "twice", "end", "shuffle"]
        )
        if kind == "cell" and column < len(rows[row]):
            rows[row][column] = chance.choice(ZOO)
        elif kind == "drop":
            rows = [one[:column] + one[column + 1 :] for one in rows]
        elif kind == "double":
            rows = [[*one[: column + 1], *one[column:]] for one in rows]
        elif kind == "order":
            order = chance.sample(range(len(rows[0])), len(rows[0]))
            if all(len(one) == len(order) for one in rows):
                rows = [[one[place] for place in order] for one in rows]
        elif kind == "cut":
            whole = "\n".join(separator.join(one) for one in rows) + "\n"
            return whole[: chance.randrange(1, len(whole))]
        elif kind == "row":
            del rows[row]
        elif kind == "twice":
            rows.insert(row, list(rows[row]))
        elif kind == "end":
            rows = [[*one, ""] for one in rows]
        elif kind == "shuffle":
            rows[1:] = chance.sample(rows[1:], len(rows) - 1)
        if not rows:
            return ""
    return "\n".join(separator.join(one) for one in rows) + "\n"


@pytest.fixture(scope="module")
def lines(invented, tmp_path_factory):  # noqa: F811
    path = tmp_path_factory.mktemp("sound") / LIST
    path.write_text(invented[0][LIST])
    return module._cell_lines(path)


def readers(lines):
    """File name -> what reads it: the number of entities found, and what it said."""

    def matrix(path):
        found = read_matrix(path, lines, ("tpm",))
        return found.values.size, found.notes

    def calls(path):
        notes = []
        return len(read_mutations(path, lines, notes)), notes

    def response(path):
        done = module.Prepared(path)
        return len(module._response(path, "ln_uM", done)), done.notes

    def structures(path):
        notes = []
        return sum(map(len, module._read_structures(path, notes))), notes

    return {
        TPM: matrix,
        COPIES: matrix,
        "OmicsExpressionProteinCodingGenesTPMLogp1.csv": matrix,
        CALLS: calls,
        RESPONSE: response,
        LIST: lambda path: (len(module._cell_lines(path)), []),
        STRUCTURES: structures,
        COMPOUNDS: lambda path: (len(read_table(path, ["DRUG_ID", "DRUG_NAME"])), []),
    }


@pytest.mark.parametrize("place", range(8))
def test_no_spoiled_file_is_a_traceback(place, invented, lines, tmp_path_factory):  # noqa: F811
    name, read = list(readers(lines).items())[place]
    files = {**invented[0], "OmicsExpressionProteinCodingGenesTPMLogp1.csv": depmap(invented[1])}
    folder = tmp_path_factory.mktemp("spoiled")
    path = folder / name
    path.write_text(files[name])
    whole, _ = read(path)
    outcomes = []

    @settings(max_examples=CASES, deadline=None, derandomize=True, database=None)
    @given(st.integers(0, 2**31))
    def check(seed):
        text = spoiled(files[name], "\t" if name.endswith(".tsv") else ",", seed)
        path.write_text(text, encoding="utf-8")
        try:
            count, notes = read(path)
        except DataError as error:
            said = str(error)
            assert "\n" not in said and "\x1b" not in said and name in said
            outcomes.append("refused")
            return
        told = any("left out" in note or "; not, for" in note for note in notes)
        assert count >= whole or told or _smaller(text, files[name]), (seed, text)
        outcomes.append("read")

    check()
    assert {"refused", "read"} <= set(outcomes)


def _smaller(text, before):
    """Whether a text has fewer rows, or fewer columns, than it had: then less is right."""
    rows, old = ({row for row in one.splitlines() if row.strip()} for one in (text, before))
    return len(rows) < len(old) or len(text.split("\n")[0]) < len(before.split("\n")[0])


def test_the_order_of_columns_is_no_matter(invented, lines, tmp_path):  # noqa: F811
    for name in (RESPONSE, LIST, CALLS, COMPOUNDS):
        path = tmp_path / name
        path.write_text(invented[0][name])
        before = readers(lines)[name](path)[0]
        frame = pd.read_csv(path, dtype=str)
        order = np.random.default_rng(0).permutation(len(frame.columns))
        frame.iloc[:, order].to_csv(path, index=False)
        assert readers(lines)[name](path)[0] == before
    assert len(MODELS) == len(lines)
