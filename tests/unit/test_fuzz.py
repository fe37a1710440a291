"""Official tables, spoiled at random: every reader gives the right table, says what it left out,
or refuses in one line. CLMT_FUZZ sets how many spoiled files there are (200 by default).
"""

import os
import random
import re

import numpy as np
import pandas as pd
import pytest
import test_doors
import test_interaction
import test_profiles
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

from clmt_lib import data
from clmt_lib.data import profiles
from clmt_lib.data.official import read_matrix, read_mutations
from clmt_lib.data.response import prepare as module
from clmt_lib.data.response import screen
from clmt_lib.io import DataError, read_table
from clmt_lib.predict.entities import DrugReader, find_lines
from clmt_lib.predict.pilot import Measured

CASES = int(os.environ.get("CLMT_FUZZ", "200")) // 8 + 1  # of each reader of a release
MORE = int(os.environ.get("CLMT_FUZZ", "200")) // 14 + 1  # of each other reader
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
    path = tmp_path_factory.mktemp("spoiled") / name
    assert_never_silent(path, files[name], read, CASES)


def assert_never_silent(path, sound, read, cases):
    """Whatever is wrong with a file, reading it gives what the sound one gives, or says what it
    left out, or is refused in one line that names the file.

    Parameters
    ----------
    path : where the spoiled files are written
    sound : text of the sound one
    read : path -> (number of entities found, what it said)
    """
    separator = "\x1f" if path.suffix == ".parquet" else "\t" if path.suffix == ".tsv" else ","
    written(path, sound)
    whole, _ = read(path)
    outcomes = []

    @settings(max_examples=cases, deadline=None, derandomize=True, database=None)
    @given(st.integers(0, 2**31))
    def check(seed):
        text = spoiled(sound, separator, seed)
        written(path, text)
        try:
            count, notes = read(path)
        except DataError as error:
            said = str(error)
            assert "\n" not in said and "\x1b" not in said, (seed, said)
            assert any(file.name in said for file in path.parent.iterdir()), (seed, said)
            outcomes.append("refused")
            return
        told = any("left out" in note or "; not, for" in note for note in notes)
        assert count >= whole or told or _smaller(text, sound), (seed, text)
        outcomes.append("read")

    try:
        check()
    finally:
        written(path, sound)
    assert {"refused", "read"} <= set(outcomes)


def written(path, text):
    """Write `text`; as Parquet, a column whose cells are all numbers as numbers."""
    if path.suffix != ".parquet":
        path.write_text(text, encoding="utf-8")
        return
    names, *rows = [row.split("\x1f") for row in text.splitlines()] or [[]]
    names = [f"{name}.{i}" if name in names[:i] else name for i, name in enumerate(names)]
    rows = [dict(zip(names, row, strict=False)) for row in rows]
    frame = pd.DataFrame(rows, columns=names).replace("", None)
    for name in names:
        numbers = pd.to_numeric(frame[name], errors="coerce")
        if numbers.notna().equals(frame[name].notna()):
            frame[name] = numbers
    frame.to_parquet(path)


def text_of(frame):
    """The text that `written` makes this table of."""
    rows = [["" if pd.isna(v) else str(v) for v in row] for row in frame.itertuples(index=False)]
    return "\n".join("\x1f".join(map(str, row)) for row in [frame.columns, *rows]) + "\n"


PREPARED = {  # benchmark -> tables of its door
    "davis": ("dti/davis_pairs", "dti/davis_proteins", "dti/davis_drugs"),
    "tox21": ("probing/tox21",),
    "bace": ("probing/bace",),
    "comas_profiles": ("morphology/comas_profiles_579",),
    "cmap": ("expression/cmap_build02_top100",),
}
DOORS = [(name, table) for name, tables in PREPARED.items() for table in tables]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Small tables in the layout of the prepared ones."""
    root = test_doors.folder.__wrapped__(tmp_path_factory.mktemp("prepared"))
    found = test_profiles.folder.__wrapped__(root)
    tox = pd.read_parquet(root / "probing/tox21.parquet").dropna(subset=["inchikey"])
    tox.iloc[:, :5].astype({"inchikey": str}).to_parquet(root / "probing/bace.parquet")
    return found


@pytest.mark.parametrize("name, table", DOORS, ids=[table for _, table in DOORS])
def test_no_spoiled_table_of_another_door_is_a_traceback(name, table, prepared):
    path = prepared / f"{table}.parquet"

    def read(_):
        if name in ("comas_profiles", "cmap"):
            found = profiles.load(prepared, [name]).measurements[name]
            return len(found), ["left out"] * found.left_out  # as `describe` says
        found = data.load(name, folder=prepared)
        return len(found) if name == "davis" else found.shape[0], [found.source]

    assert_never_silent(path, text_of(pd.read_parquet(path)), read, MORE)


INTERACTIONS = {  # benchmark -> tables that its door reads
    "kiba": ("dti/kiba_pairs", "dti/kiba_proteins", "dti/kiba_drugs"),
    "human": ("dti/human_pairs", "dti/binary_proteins", "dti/binary_drugs"),
    "biosnap_partial": ("dti/biosnap_pairs",),
    "modalities": (
        "text/repurposing_hub_20200324",
        "text/chebi20_val_test",
        "text/human_gene_go_annotations",
        "dti/human_kinase_uniprot_text",
        "probing/toxcast617",
        "probing/tox21",
        "expression/cmap_build02_top100",
    ),
}
BONDS = [(name, table) for name, tables in INTERACTIONS.items() for table in tables]


@pytest.fixture(scope="module")
def bonds(tmp_path_factory):
    return test_interaction.folder.__wrapped__(tmp_path_factory.mktemp("bonds"))


@pytest.mark.parametrize("name, table", BONDS, ids=[table for _, table in BONDS])
def test_no_spoiled_table_of_an_interaction_is_a_traceback(name, table, bonds):
    """Of a modality there is no less than in the sound table unless the benchmark says of how many
    entities it is known.
    """
    path, whose = bonds / f"{table}.parquet", "human" if name == "modalities" else name
    sound = data.load(whose, folder=bonds).source

    def read(_):
        if name != "modalities":
            found = data.load(whose, folder=bonds, modalities="none")
            return len(found) + sum(len(side) for side in found.sides), []
        found = data.load(whose, folder=bonds)
        known = sum(int(side.has(view).sum()) for side in found.sides for view in side.present)
        known += sum(int(side.frame[word].notna().sum()) for side in found.sides
                     for word in ("target", "group") if word in side.frame)  # fmt: skip
        return known, ["left out"] * (found.source != sound)

    assert_never_silent(path, text_of(pd.read_parquet(path)), read, MORE // 2 + 1)


@pytest.fixture(scope="module")
def own_screen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("screens") / "mine"
    screen.new(folder, example=True, lines=8, drugs=5)
    return folder


@pytest.mark.parametrize("table", ["lines", "drugs", "responses", "expression", "mutation"])
def test_no_spoiled_table_of_a_screen_of_ones_own_is_a_traceback(table, own_screen):
    path = own_screen / f"{table}.csv"

    def read(_):
        found = screen.check(own_screen)
        for mistake in found.mistakes:
            assert "\n" not in str(mistake) and "\x1b" not in str(mistake)
        if found.mistakes:
            raise found.mistakes[0]
        benchmark = found.benchmark()
        return len(benchmark) + sum(s.has(v).sum() for s in benchmark.sides for v in s.views), [
            f"{note} left out" for note in found.notes
        ]

    assert_never_silent(path, path.read_text(), read, MORE // 4 + 1)


@pytest.fixture(scope="module")
def known():
    return data.load("simulated", cells=24, drugs=["Erlotinib", "Olaparib", "Paclitaxel"])


@pytest.mark.parametrize("what", ["drugs", "lines", "expression", "measured"])
def test_no_spoiled_question_is_a_traceback(what, known, tmp_path):
    drugs = "name,smiles,target,max_conc_uM\nmine,c1ccccc1,EGFR,10\nOlaparib,,,\nyours,CCO,,3\n"
    names = known.cells["name"].tolist()
    genes = known.omics["expression"].iloc[:3]
    rows = [["line", *genes.columns]]
    rows += [[f"new {i}", *row] for i, row in enumerate(genes.round(3).values.tolist())]
    sound = {
        "drugs": drugs,
        "lines": "line\n" + "\n".join(names[:5]) + "\n",
        "expression": "\n".join(",".join(map(str, row)) for row in rows) + "\n",
        "measured": "line,drug,ln_ic50\n" + "".join(f"{name},mine,1.5\n" for name in names[:5]),
    }[what]
    asked = tmp_path / "asked.csv"
    asked.write_text(drugs)
    new = DrugReader(asked, known, None, None).read(slice(0, None))

    def read(path):
        if what == "drugs":
            found = DrugReader(path, known, None, None).read(slice(0, None))
        elif what == "measured":
            lines = find_lines(names[:5], known, None)
            found = Measured.match(path, new, lines, known.sides)
            return sum(len(at) for at, _ in [*found.drugs.values(), *found.lines.values()]), []
        else:
            found = find_lines(path, known, None, "zscore" if what == "expression" else "auto")
        return len(found), []

    assert_never_silent(tmp_path / f"{what}.csv", sound, read, MORE)


def _smaller(text, before):
    """Whether a text has fewer rows, or fewer columns, than it had (one that is there twice is
    one): then less is right.
    """
    rows, old = ({row for row in one.splitlines() if row.strip()} for one in (text, before))
    heads = [one.split("\n")[0] for one in (text, before)]
    new, was = (len(set(re.split("[,\t\x1f]", head))) for head in heads)
    return len(rows) < len(old) or new < was or len(heads[0]) < len(heads[1])


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
