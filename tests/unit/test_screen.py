"""A screen of one's own: its folder, what is wrong with it, dose-response points."""

import shutil

import numpy as np
import pandas as pd
import pytest

from clmt_lib import data
from clmt_lib.cli import main
from clmt_lib.data.response import screen
from clmt_lib.io import DataError


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    folder = tmp_path_factory.mktemp("screens") / "mine"
    screen.new(folder, example=True)
    return folder


@pytest.fixture
def mine(example, tmp_path):
    return shutil.copytree(example, tmp_path / "mine")


def change(folder, name, function):
    path = folder / f"{name}.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    out = function(table)
    (table if out is None else out).to_csv(path, index=False)


def put(row, column, value):
    def function(table):
        table.loc[row - 2, column] = value

    return function


def test_the_example_is_a_benchmark(example):
    found = screen.check(example)
    assert found.mistakes == ()
    benchmark = data.load(str(example))
    assert benchmark.shape == (20, 8) and benchmark.name == "mine"
    world = data.load("simulated")
    rows = world.cells.index.get_indexer(benchmark.cells.index)
    columns = world.drugs.index.get_indexer(benchmark.drugs.index)
    own, there = benchmark.matrix(), world.matrix()[np.ix_(rows, columns)]
    np.testing.assert_array_equal(np.isfinite(own), np.isfinite(there))
    np.testing.assert_allclose(own, there, atol=5.01e-4)
    assert not benchmark.sides[0].has("copy_number").any()  # no table, and it is said


def test_an_empty_template_is_told_what_to_fill(tmp_path, capsys):
    assert main(["new", str(tmp_path / "mine")]) == 0
    assert main(["data", "check", str(tmp_path / "mine")]) == 2
    out = capsys.readouterr().out
    assert all(f"{name}.csv: empty table" in out for name in screen.EMPTY)
    assert main(["new", str(tmp_path / "mine")]) == 2


PLANTED = {  # table, change, (row, words) that the report must hold
    "a line that is not in the table": (
        "responses", put(2, "line", "HELA-X"), ("responses.csv, row 2", "'HELA-X' is not in"),
    ),
    "a drug in another spelling": (
        "drugs", lambda t: t.assign(drug=t["drug"].replace(t["drug"][1], t["drug"][1].lower())),
        ("responses.csv, row", "write it as there"),
    ),
    "a pair twice": (
        "responses", lambda t: pd.concat([t, t.iloc[[4]]]), ("responses.csv, row 146", "twice"),
    ),
    "a word for a number": (
        "responses", put(9, "ln_ic50", "n.d."), ("responses.csv, row 9", "'n.d.', not a number"),
    ),
    "a decimal comma": (
        "responses", put(10, "ln_ic50", "1,5"), ("responses.csv, row 10", "decimal comma"),
    ),
    "uM in a column of logarithms": (
        "responses", put(11, "ln_ic50", "25.3"), ("responses.csv, row 11", "out of range"),
    ),
    "a structure that is none": (
        "drugs", put(3, "smiles", "C1CC("), ("drugs.csv, row 3", "cannot be parsed"),
    ),
    "a concentration of zero": (
        "drugs", put(4, "max_conc_uM", "0"), ("drugs.csv, row 4", "max_conc_uM is '0'"),
    ),
    "a line twice": (
        "lines", lambda t: pd.concat([t, t.iloc[[0]]]), ("lines.csv, row 22", "there twice"),
    ),
    "a line without expression": (
        "expression", lambda t: t.drop(index=5), ("expression.csv", "which have responses"),
    ),
    "a gene that a spreadsheet took for a date": (
        "expression", lambda t: t.rename(columns={t.columns[3]: "1-Mar"}),
        ("expression.csv, row 1", "'1-Mar' is a date"),
    ),
    "a mutation that is neither 0 nor 1": (
        "mutation", put(2, "TP53", "7"), ("mutation.csv", "a value is 7"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_one_planted_mistake_is_named(mine, name):
    table, function, words = PLANTED[name]
    change(mine, table, function)
    found = screen.check(mine)
    assert any(all(word in str(one) for word in words) for one in found.mistakes), found.mistakes
    assert all(one.remedy for one in found.mistakes)
    with pytest.raises(DataError, match="clmt data check"):
        data.load(str(mine))


def test_twelve_planted_mistakes_are_named_in_one_report(mine, capsys):
    assert len(PLANTED) == 12
    for table, function, _ in PLANTED.values():
        change(mine, table, function)
    assert main(["data", "check", str(mine)]) == 2
    out = capsys.readouterr().out.splitlines()
    for name, (_, _, words) in PLANTED.items():
        assert any(all(word in line for word in words) for line in out), (name, out)
    assert sum("Remedy" in line for line in out) == 12


@pytest.mark.parametrize(
    "break_it, words",
    [
        (lambda f: (f / "drugs.csv").unlink(), "drugs.csv: no such table"),
        (lambda f: (f / "responses.csv").unlink(), "responses.csv: no such table"),
        (
            lambda f: change(f, "responses", lambda t: t.rename(columns={"line": "Line"})),
            "no column 'line'. Remedy: rename 'Line'",
        ),
        (
            lambda f: change(f, "responses", lambda t: t.rename(columns={"ln_ic50": "IC50"})),
            "no column 'ln_ic50' or 'ic50_uM'",
        ),
        (
            lambda f: (f / "drugs.csv").write_text("drug,name\nA,B\nC,D,E\nF\n"),
            "drugs.csv, row 3: 3 cells where the first row has 2",
        ),
        (
            lambda f: change(f, "expression", lambda t: t.assign(TP53="250.5")),
            "values up to 250.5: counts or TPM",
        ),
        (
            lambda f: (f / "lines.csv").write_bytes(b"line;name;tissue\nA;B;C\n"),
            "lines.csv, row 1: cells are separated by semicolons",
        ),
        (
            lambda f: change(f, "responses", lambda t: t.assign(censored="maybe")),
            "censored is 'maybe' (and 141 more such rows)",
        ),
    ],
)
def test_other_mistakes(mine, break_it, words):
    break_it(mine)
    assert any(words in str(one) for one in screen.check(mine).mistakes), screen.check(mine)


def test_what_is_allowed_is_noted(mine):
    (mine / "expression.csv").unlink()
    change(mine, "lines", lambda t: t.drop(columns="tissue"))
    change(mine, "drugs", lambda t: t.assign(smiles="", target="", pathway=""))
    found = screen.check(mine)
    assert found.mistakes == ()
    assert [any(word in note for note in found.notes) for word in
            ("average one", "no column tissue", "nothing is known of")] == [True] * 3  # fmt: skip


DOSES = 10 * 4.0 ** -np.arange(8)


@pytest.mark.parametrize(
    "ic, slope, bottom, top",
    [(1.0, 1.0, 0.0, 1.0), (0.05, 2.5, 0.2, 1.0), (12.0, 1.4, 0.0, 1.0), (0.4, 0.8, 0.1, 0.85)],
)
def test_curves_with_known_parameters_are_found_again(ic, slope, bottom, top):
    """Without noise exactly; the IC50 is where the curve crosses one half, in closed form."""
    alive = screen.logistic(DOSES, ic, slope, bottom, top)
    found = screen.fit_curve(DOSES, alive, free_top=top != 1.0)
    crosses = ic * ((top - bottom) / (0.5 - bottom) - 1) ** (1 / slope)
    assert not found["censored"]
    assert found["ln_ic50"] == pytest.approx(np.log(crosses), abs=1e-3)
    assert [found[k] for k in ("ic", "slope", "bottom", "top")] == pytest.approx(
        [ic, slope, bottom, top], rel=2e-2, abs=2e-3
    )
    noisy = np.tile(alive, 3) + 0.03 * np.random.default_rng(0).standard_normal(3 * len(alive))
    again = screen.fit_curve(np.tile(DOSES, 3), noisy, free_top=top != 1.0)
    assert again["ln_ic50"] == pytest.approx(np.log(crosses), abs=0.25)


def test_a_curve_that_never_reaches_one_half_is_a_bound():
    flat = screen.fit_curve(DOSES, screen.logistic(DOSES, 1.0, 1.0, bottom=0.6))
    assert flat["censored"] and flat["ln_ic50"] == pytest.approx(np.log(DOSES.max()))
    dead = screen.fit_curve(DOSES, screen.logistic(DOSES, 1e-6, 1.0))
    assert dead["censored"] and dead["ln_ic50"] == pytest.approx(np.log(DOSES.min()))


def test_points_become_responses_and_what_cannot_be_fitted_is_listed(mine):
    pairs = pd.read_csv(mine / "responses.csv")
    (mine / "responses.csv").unlink()
    rows = []
    for number, row in enumerate(pairs.itertuples()):
        doses = np.exp(row.ln_ic50) * 3.0 ** np.arange(-4, 4)
        alive = screen.logistic(doses, np.exp(row.ln_ic50), 1.2)
        if number == 0:
            doses, alive = doses[:3], alive[:3]
        if number == 1:
            alive = alive[::-1]
        if number == 2:
            alive = np.array([1.0, 0.0] * 4)
        rows += [(row.line, row.drug, c, v) for c, v in zip(doses, alive, strict=True)]
    names = ["line", "drug", "conc_uM", "viability"]
    pd.DataFrame(rows, columns=names).to_csv(mine / "points.csv", index=False)
    found = screen.check(mine)
    assert found.mistakes == ()
    told = dict(zip(zip(found.unfitted["line"], found.unfitted["drug"]), found.unfitted["reason"]))
    expected = ["3 different doses, 4 are needed", "viability rises", "no sigmoid"]
    for row, reason in zip(pairs.itertuples(), expected):
        assert told.pop((row.line, row.drug)).startswith(reason)
    assert not told and any("3 could not be fitted" in note for note in found.notes)
    both = found.tables["responses"].merge(pairs, on=["line", "drug"])
    assert len(both) == len(pairs) - 3
    np.testing.assert_allclose(both["ln_ic50_x"], both["ln_ic50_y"], atol=1e-3)
    assert len(found.benchmark()) == len(pairs) - 3
