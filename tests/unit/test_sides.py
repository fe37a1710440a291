"""Two sides and a table: keys follow the facts, further entities come after, and what does not fit
is refused.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from clmt_lib.data import Benchmark, Side
from clmt_lib.data.grouping import connected, parent_key, scaffold_groups
from clmt_lib.data.response.base import cell_side, drug_side
from clmt_lib.io import DataError


@pytest.fixture
def data():
    return tiny.affinity()


def frame(*ids):
    return pd.DataFrame({"name": list(ids)}, index=list(ids))


def test_shape_matrix_and_censored_of_any_benchmark(data):
    assert data.shape == (13, 15) and len(data) == 195 and data.task == "affinity"
    matrix = data.matrix()
    assert matrix.shape == data.shape and np.isfinite(matrix).all()
    assert np.array_equal(matrix[tuple(data.pairs.T)], data.y)
    few = data.matrix(np.array([3, 7]))
    assert np.isfinite(few).sum() == 2 and few[tuple(data.pairs[7])] == data.y[7]
    assert np.array_equal(data.censored, data.y == 5.0) and 0 < data.censored.mean() < 1
    row = data.describe()
    assert (row["proteins"], row["different proteins"], row["different drugs"]) == (13, 12, 14)
    assert row["censored"] == round(data.censored.mean(), 3) and row["checksum"] == data.checksum


def test_keys_follow_the_facts_and_the_sides_name_is_always_one(data):
    side = data.side("protein")
    assert np.array_equal(side.keys["protein"], np.arange(13))
    assert list(side.keys) == ["protein", "sequence", "family"] and side.identity == "sequence"
    assert side.keys["sequence"][0] == side.keys["sequence"][1] != side.keys["sequence"][2]
    other = data.with_frames(protein=side.frame.assign(sequence=[f"M{i}" for i in range(13)]))
    assert len(np.unique(other.side("protein").keys["sequence"])) == 13
    unknown = data.with_frames(protein=side.frame.assign(family=None))
    assert set(unknown.side("protein").keys["family"]) == {"unknown"}
    assert data.axis("drug") == 1 and "kinase" not in side.keys


def test_a_key_may_be_a_function_a_column_or_labels():
    table = frame("a", "b", "c").assign(kind=["x", None, "x"])
    side = Side(
        "thing", table, keys={"kind": "kind", "own": np.array([3, 3, 4]), "size": name_size}
    )
    assert side.keys["kind"].tolist() == ["x", "unknown", "x"]
    assert side.keys["own"].tolist() == ["3", "3", "4"]
    assert side.keys["size"].tolist() == ["1", "1", "1"]
    more = side.extended(Side("thing", frame("dd")))
    assert more.keys["own"].tolist() == ["3", "3", "4", "new dd"]
    assert more.keys["size"].tolist() == ["1", "1", "1", "2"]
    with pytest.raises(DataError, match="key 'bad' has 2 labels for 3 things"):
        Side("thing", table, keys={"bad": np.arange(2)}).keys["bad"]


def name_size(table):
    return table["name"].str.len()


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: Side("cell", frame()), "empty table of cells"),
        (lambda: Side("cell", frame("a", "a")), "duplicate cell id 'a'"),
        (lambda: Side("cell", pd.DataFrame({"name": [1]}, index=[7])), "cell id 7 is not text"),
        (lambda: Side("cell", pd.DataFrame({"x": [1]}, index=["a"])), "missing column 'name'"),
        (lambda: Side("cell", frame("a"), views={"x": np.ones(2)}), "view 'x' has 2 rows for 1"),
        (
            lambda: Side("cell", frame("a"), present={"x": np.ones(3, bool)}),
            "present mask 'x' has 3 rows",
        ),
        (lambda: Side("cell", frame("a"), identity="y"), "no key 'y'.*use one of: cell"),
    ],
)
def test_a_side_that_does_not_fit_is_refused(make, says):
    with pytest.raises(DataError, match=says):
        make()


def values(**changed):
    table = {"cell": ["a", "a", "b"], "drug": ["1", "2", "1"], "y": [1.0, 2.0, 3.0]}
    return pd.DataFrame(table | changed)


@pytest.mark.parametrize(
    "changed, says",
    [
        ({"drug": ["1", "9", "1"]}, "t.csv, row 3: drug '9' has a response but no row"),
        ({"cell": ["a", "a", "a"]}, r"t.csv, row 4: duplicate pair \('a', '1'\)"),
        ({"y": [1.0, None, 3.0]}, "t.csv, row 3: value nan is not a number from 0 to 5"),
        ({"y": [1.0, "low", 3.0]}, "t.csv, row 3: value 'low' is not a number"),
        ({"y": [1.0, 2.0, 5.1]}, "t.csv, row 4: value 5.1 is not a number from 0 to 5"),
    ],
)
def test_values_that_do_not_fit_the_sides_name_their_row(changed, says):
    sides = Side("cell", frame("a", "b")), Side("drug", frame("1", "2"))
    good = Benchmark.from_ids("t", sides, values(), file="t.csv", within=(0, 5))
    assert good.shape == (2, 2) and good.y.tolist() == [1, 2, 3] and not good.censored.any()
    with pytest.raises(DataError, match=says):
        Benchmark.from_ids("t", sides, values(**changed), file="t.csv", within=(0, 5))


def test_sides_of_one_name_and_arrays_of_other_lengths_are_refused():
    sides = Side("cell", frame("a", "b")), Side("drug", frame("1", "2"))
    with pytest.raises(DataError, match="both sides of t are called 'cell'"):
        Benchmark.from_ids("t", (sides[0], sides[0]), values()[["cell", "y"]].iloc[1:])
    good = Benchmark.from_ids("t", sides, values())
    with pytest.raises(DataError, match="2 values"):
        replace(good, y=np.ones(2))
    with pytest.raises(DataError, match="t has no side 'protein'.*cell, drug"):
        good.side("protein")
    with pytest.raises(DataError, match="1 cells instead of 2"):
        good.with_sides(Side("cell", frame("a")))


# Further entities


def further(data, lines=3):
    """Lines that the tiny benchmark does not have, with two of its three omics."""
    rng = np.random.default_rng(5)
    ids = [f"new {i}" for i in range(lines)]
    cells = pd.DataFrame({"name": ids, "tissue": "tissue 0", "extra": 1}, index=ids)
    omics = {
        kind: pd.DataFrame(rng.normal(size=(lines, 6)).astype("float32"), ids, tiny.GENES)
        for kind in ("expression", "mutation")
    }
    return cell_side(cells, omics)


def test_extended_adds_entities_after_those_that_are_there_and_no_response():
    data = tiny.benchmark()
    drug = drug_side(pd.DataFrame({"name": ["new"], "compound": ["new"], "smiles": ["CCO"]}, ["n"]))
    more = data.extended(further(data), drug, name="wider")
    assert more.shape == (24, 16) and more.name == "wider" and type(more) is type(data)
    assert more.pairs is data.pairs and more.y is data.y
    assert list(more.cells.columns) == list(data.cells.columns)
    assert np.array_equal(more.matrix()[:21, :15], data.matrix(), equal_nan=True)
    assert np.isnan(more.matrix()[21:]).all() and np.isnan(more.matrix()[:, 15]).all()
    side = more.side("cell")
    assert side.has("expression").all() and not side.has("methylation").any()
    assert side.has("copy_number").tolist() == [True] * 21 + [False] * 3
    pd.testing.assert_frame_equal(more.omics["expression"].iloc[:21], data.omics["expression"])
    assert (
        more.omics["expression"]
        .loc["new 1"]
        .equals(further(data).views["expression"].loc["new 1"].astype("float32"))
    )
    # ethanol is there already under another id: one scaffold group alone, but one more compound
    assert scaffold_groups(more.drugs).nunique() == scaffold_groups(data.drugs).nunique() + 1
    assert more.checksum != data.checksum
    named = [("new 1", "n"), (data.cells.index[4], "n"), ("new 2", data.drugs.index[0])]
    assert more.locate(named).tolist() == [[22, 15], [4, 15], [23, 0]]
    assert more.locate([]).shape == (0, 2)
    with pytest.raises(DataError, match="no drug 'nothing' in wider"):
        more.locate([*named, ("new 0", "nothing")])


def test_what_cannot_extend_a_side_is_refused():
    data = tiny.benchmark()
    with pytest.raises(DataError, match=r"cell '9001' \(and 20 more\) is there already"):
        data.extended(data.side("cell"))
    with pytest.raises(DataError, match="tiny has no side 'protein'"):
        data.extended(Side("protein", frame("p")))
    side = further(data)
    other = {"expression": side.views["expression"].iloc[:, :3]}
    with pytest.raises(DataError, match="expression of the further cells has other features"):
        data.extended(replace(side, views=other))


def test_text_and_array_views_are_extended_too(data):
    protein = data.side("protein")
    protein = replace(protein, views={**protein.views, "embedding": np.ones((13, 4))})
    table = pd.DataFrame({"name": ["q"], "family": ["f"], "sequence": ["MW"]}, ["q"])
    new = Side("protein", table, views={"sequence": table["sequence"]})
    more = protein.extended(new)
    assert more.views["sequence"]["q"] == "MW" and more.views["embedding"].shape == (14, 4)
    assert more.has("embedding").tolist() == [True] * 13 + [False]
    assert not more.views["embedding"][13].any() and "sequence" not in more.present
    with pytest.raises(DataError, match=r"embedding .* has shape \(3,\) an entity, not \(4,\)"):
        protein.extended(replace(new, views={"embedding": np.ones((1, 3))}))


# Checksums and groups


@pytest.mark.parametrize(
    "change",
    [
        lambda data: replace(data, y=data.y + 1e-12),
        lambda data: replace(data, censored=~data.censored),
        lambda data: replace(data, pairs=data.pairs[:, ::-1][:, ::-1][::-1]),
        lambda data: replace(data, target="ki"),
        lambda data: replace(data, name="other"),
        lambda data: data.with_views(
            protein={"sequence": data.side("protein").views["sequence"] + "A"}
        ),
        lambda data: data.with_sides(
            replace(data.side("protein"), present={"sequence": np.arange(13) > 0})
        ),
        lambda data: data.with_frames(drug=data.side("drug").frame.assign(smiles=None)),
    ],
)
def test_any_changed_table_changes_the_checksum(data, change):
    changed = change(data)
    assert changed.checksum != data.checksum == tiny.affinity().checksum


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.integers(0, 8), max_size=3), min_size=1, max_size=12))
def test_connected_is_the_closure_of_sharing_a_fact(facts):
    label = connected(facts)
    reach = np.eye(len(facts), dtype=bool)  # an entity without a fact is like no other
    for one, other in np.ndindex(reach.shape):
        reach[one, other] |= bool(facts[one] & facts[other])
    for _ in facts:
        reach = (reach.astype(int) @ reach.astype(int)) > 0
    assert np.array_equal(label[:, None] == label[None], reach)


def test_a_salt_and_its_free_base_have_one_parent():
    assert parent_key("CCN") == parent_key("CC[NH3+].[Cl-]") != parent_key("CCO")
    assert parent_key("C(C)N") == parent_key("CCN") and parent_key(None) is None
    assert parent_key("N.N.Cl[Pt]Cl") != parent_key("N")
