"""A screen of one's own: its folder, what is wrong with it, dose-response points; which model
answers it; and what a few measurements of a new drug are worth.
"""

import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clmt_lib import data
from clmt_lib import screen as screens
from clmt_lib.cli import main
from clmt_lib.data.response import screen, simulated
from clmt_lib.io import DataError
from clmt_lib.predict import Predictor, pilot


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
            lambda f: change(f, "responses", put(4, "ln_ic50", ">3")),
            "'>3': a bound. Remedy: write the",
        ),
        (lambda f: change(f, "responses", put(4, "ln_ic50", "")), "row 4: ln_ic50 is empty"),
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


# clmt compare


@pytest.fixture(scope="module")
def compared(example):
    benchmark, world = data.load(str(example)), data.load("simulated")
    names = ("ridge_per_drug",)
    return {
        "lines": screens.compare(benchmark, "lines", world, names=names, draws=100),
        "drugs": screens.compare(benchmark, "drugs", names=("kernel_annotation",), draws=100),
    }


def test_every_pair_is_predicted_by_a_fit_that_did_not_see_its_line(example, compared):
    """Of the drug mean by hand: the shrunk mean over the lines of the other folds."""
    benchmark = data.load(str(example))
    folds = screens._folds(benchmark, 0, np.arange(20), 0)
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(benchmark)))
    for valid, test in folds:
        lines = [set(benchmark.pairs[part, 0]) for part in (valid, test)]
        rest = np.setdiff1d(np.arange(len(benchmark)), np.concatenate([valid, test]))
        assert not lines[0] & lines[1] and not (lines[0] | lines[1]) & set(benchmark.pairs[rest, 0])
    found = compared["lines"].predictions["drug_mean (own)"].to_numpy()
    valid, test = folds[2]
    rest = np.setdiff1d(np.arange(len(benchmark)), np.concatenate([valid, test]))
    for row in test:
        same = rest[benchmark.pairs[rest, 1] == benchmark.pairs[row, 1]]
        near = benchmark.y[same].mean()
        assert abs(found[row] - near) < abs(near - benchmark.y[rest].mean()) / len(same) * 2 + 1e-9


def test_another_screen_beside_helps_where_the_two_are_one_world(compared):
    table = compared["lines"].table.set_index(["name", "screens"])
    own, both = table.loc[(screens.PAIRS, "own")], table.loc[(screens.PAIRS, "own + simulated")]
    assert both["rmse"] < own["rmse"] - 0.1 and both["verdict"] == "better"
    assert any("20 of 20 lines and 8 of 8 drugs" in note for note in compared["lines"].notes)


def test_what_is_held_out_here_is_held_out_of_the_other_screen(example):
    """Responses of a held-out line in the other screen may be anything."""
    benchmark, world = data.load(str(example)), data.load("simulated")
    folds = screens._folds(benchmark, 0, np.arange(20), 0)[:1]
    held = np.unique(benchmark.pairs[folds[0][1], 0])

    def told(rows):
        lines = world.cells.index.get_indexer(benchmark.cells.index[rows])
        y = np.where(np.isin(world.pairs[:, 0], lines), 9.0, world.y)
        joint = screens.Joint.of(benchmark, replace(world, y=y))
        return next(screens._asked(joint, benchmark, "cell_blind", 0, folds))

    plain = told(held[:0])
    np.testing.assert_array_equal(told(held), plain)
    others = np.setdiff1d(np.arange(20), held)[:3]
    assert np.abs(told(others) - plain).max() > 0.1


def test_the_pair_ridge_is_the_one_that_its_kernel_says(example):
    """One candidate, one ridge: the closed form over pairs, written out."""
    benchmark = data.load(str(example))
    folds = screens._folds(benchmark, 1, np.arange(8), 0)[:1]
    kernels = screens._own_kernels(benchmark)
    found = screens._pair_ridge(benchmark, 1, np.arange(8), folds, kernels)
    test = folds[0][1]
    train = np.setdiff1d(np.arange(len(benchmark)), test)
    row, column = benchmark.pairs.T

    def kernel(a, b, product):
        out = np.empty((len(a), len(b)))
        for i, p in enumerate(a):
            for j, q in enumerate(b):
                lines, drugs = kernels[0][row[p], row[q]], kernels[1][column[p], column[q]]
                out[i, j] = 0.5 * lines + 0.5 * (row[p] == row[q]) + 0.5 * drugs
                out[i, j] += (column[p] == column[q]) + product * lines * drugs
        return out

    y = benchmark.y[train]
    answers = [
        y.mean()
        + kernel(test, train, product)
        @ np.linalg.solve(kernel(train, train, product) + ridge * np.eye(len(train)), y - y.mean())
        for product in screens.PRODUCTS
        for ridge in screens.RIDGES
    ]
    assert min(np.abs(one - found[test]).max() for one in answers) < 1e-8


def test_the_scale_of_expression_is_told_or_refused(example):
    benchmark, world = data.load(str(example)), data.load("simulated")
    own = benchmark.omics["expression"]
    raw = benchmark.with_sides(
        replace(
            benchmark.sides[0],
            views={**benchmark.omics, "expression": (own - own.to_numpy().min()).round(3)},
            frame=benchmark.cells.assign(name=[f"L{i}" for i in range(20)]).set_axis(
                [f"L{i}" for i in range(20)]
            ),
        )
    )
    with pytest.raises(DataError, match="does not say what its z-scores"):
        screens.Joint.of(raw, world)
    genes = pd.DataFrame({"mean": 1.0, "deviation": 2.0}, world.omics["expression"].columns)
    scaled = world.with_sides(replace(world.sides[0], scales={"expression": genes}))
    joint = screens.Joint.of(raw, scaled).benchmark
    np.testing.assert_allclose(
        joint.omics["expression"].iloc[:20].to_numpy(),
        (raw.omics["expression"].to_numpy() - 1.0) / 2.0,
        atol=1e-5,
    )
    few = benchmark.with_sides(
        replace(benchmark.sides[0], views={**benchmark.omics, "expression": own.iloc[:, :5]})
    )
    with pytest.raises(DataError, match="5 of the .* genes"):
        screens.Joint.of(few, world)


def test_the_page_is_whole_and_escapes_what_it_is_told(compared, tmp_path):
    page = screens.page(compared, "<script>alert(1)</script>", ("a & b <i>",))
    path = page.write(tmp_path / "report.html")
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text and "&lt;script&gt;" in text and "a &amp; b &lt;i&gt;" in text
    assert text.count("not for treatment") >= 2 and "http" not in text
    assert 'name="viewport"' in text and "prefers-color-scheme:dark" in text
    for one in compared.values():
        assert f"{one.best['rmse']:.2f}" in text
    assert text.count("<svg") == 2 and text.count("aria-label") >= 4


def test_compare_on_the_command_line_says_which_is_best(mine, capsys, monkeypatch):
    monkeypatch.setattr(screens, "LADDER", {"lines": ("drug_mean",), "drugs": ("cell_mean",)})
    change(mine, "lines", lambda t: t.iloc[:4])  # too few lines, and their responses are left over
    assert main(["compare", str(mine)]) == 2
    assert "mistakes" in capsys.readouterr().err
    change(mine, "responses", lambda t: t[t["line"].isin(pd.read_csv(mine / "lines.csv")["line"])])
    assert main(["compare", str(mine), "--new", "lines"]) == 2
    assert "4 lines in mine" in capsys.readouterr().err
    assert main(["compare", str(mine)]) == 0
    assert "new drugs: For a new drug" in capsys.readouterr().out
    assert "4 lines in mine" in (mine / "report.html").read_text(encoding="utf-8")


# a few measurements


def test_one_measurement_moves_the_level_and_the_ranking_follows_what_goes_together():
    """Conditioning a normal distribution, by hand and by the inverse of the whole covariance."""
    rng = np.random.default_rng(0)
    half = rng.standard_normal((6, 6))
    prior = pilot.PilotPrior(np.full(6, 0.5), half @ half.T + np.eye(6), 0.0)
    at, rest, said = [1, 4], [0, 2, 3, 5], rng.standard_normal(6)
    found = prior.update(said, at, [2.0, -1.0])
    precision = np.linalg.inv(prior.covariance)
    left = np.linalg.inv(precision[np.ix_(rest, rest)])
    away = np.array([2.0, -1.0]) - (said + 0.5)[at]
    np.testing.assert_allclose(
        found[rest], (said + 0.5)[rest] - left @ precision[np.ix_(rest, at)] @ away
    )
    np.testing.assert_allclose(found[at], [2.0, -1.0])
    np.testing.assert_allclose(prior.variance(at)[rest], np.diag(left))
    np.testing.assert_allclose(prior.update(said, [], []), said + 0.5)


def test_the_place_to_measure_next_leaves_the_smallest_variance():
    rng = np.random.default_rng(1)
    half = rng.standard_normal((7, 4))
    prior = pilot.PilotPrior(np.zeros(7), half @ half.T + 0.3 * np.eye(7), 0.0)
    chosen = prior.choose(3)
    for step in range(3):
        left = {
            i: np.delete(prior.variance([*chosen[:step], i]), [*chosen[:step], i]).sum() + 0 * i
            for i in range(7)
            if i not in chosen[:step]
        }
        gain = {
            i: np.delete(prior.variance(chosen[:step]), [*chosen[:step], i]).sum() - left[i]
            for i in left
        }
        assert max(gain, key=gain.get) == chosen[step]
    assert prior.choose(2, at=chosen[:1]) == chosen[1:]
    assert prior.choose(9, among=[0, 3]) in ([0, 3], [3, 0])


def test_a_covariance_of_errors_is_learnt_and_helps():
    """Errors with a level and two groups of lines that go together: a few of one group tell of the
    rest of it, and with nothing but a level in the world the plain part is chosen.
    """
    rng = np.random.default_rng(2)
    group = np.repeat([0, 1], 20)

    def drawn(n, shared):
        level, own = rng.standard_normal((n, 1)), shared * rng.standard_normal((n, 2))
        return level + own[:, group] + 0.3 * rng.standard_normal((n, 40))

    errors, new = drawn(120, 1.5), drawn(30, 1.5)
    errors[rng.random(errors.shape) < 0.1] = np.nan
    prior = pilot.fit_prior(errors)
    assert prior.share < 0.5
    at = [0, 1, 2, 20, 21]
    wrong = [prior.update(np.zeros(40), at, row[at]) - row for row in new]
    assert np.sqrt(np.mean(np.square(wrong))) < 0.45
    assert np.sqrt(np.mean(new**2)) > 1.3
    assert set(group[prior.choose(2)]) == {0, 1}
    assert pilot.fit_prior(drawn(30, 0.0)).share >= 0.5
    with pytest.raises(DataError, match="4 entities"):
        pilot.fit_prior(errors[:4])


@pytest.fixture(scope="module")
def fitted():
    """A small model of the simulated world, the drugs that it knows, and what is held back."""
    few = list(simulated.facts()["name"][::3])
    world = data.load("simulated", cells=60, drugs=few[1:])
    return Predictor.fit(world), data.load("simulated", cells=60, drugs=few)


def ask(world, at):
    facts = world.drugs.iloc[[at]][["name", "smiles", "target", "pathway"]]
    return facts.assign(name="my drug").reset_index(drop=True)


def test_predictions_follow_what_was_measured(fitted):
    """As the prior says it by hand; everything else stays as it is."""
    predictor, world = fitted
    new = ask(world, 0)
    two = pd.concat([new, new.assign(name="another", smiles="CC(=O)Nc1ccc(O)cc1", target=None)])
    before = predictor.predict(two)
    lines = predictor.measure_next("lines", 4)
    y = [2.5, 3.0, 1.0, 2.0]
    measured = pd.DataFrame({"line": lines, "drug": "my drug", "ln_ic50": y})
    after = predictor.predict(two, measured=measured)
    own, other = (after["drug_name"] == name for name in ("my drug", "another"))
    pd.testing.assert_frame_equal(after[other], before[other])
    prior = predictor.pilot("new drug")
    at = predictor.known.sides[0].ids.get_indexer(lines)
    by_hand = prior.update(before.loc[own, "ln_ic50"].to_numpy(), at, y)
    np.testing.assert_allclose(after.loc[own, "ln_ic50"], by_hand, atol=1e-9)
    width = (after["upper"] - after["lower"])[own].to_numpy()
    sd = np.sqrt(prior.variance(at))
    np.testing.assert_allclose(width, 2 * 1.6448536 * sd, rtol=1e-6)
    assert after.loc[own, "note"].str.endswith("measured").sum() == 4 and width[at].max() == 0
    text = measured.assign(ic50_uM=np.exp(y)).drop(columns="ln_ic50")
    pd.testing.assert_frame_equal(predictor.predict(two, measured=text), after, rtol=1e-9)
    assert not set(predictor.measure_next("lines", 5, lines)) & set(lines)


def test_a_new_line_follows_the_drugs_that_were_tried_on_it(fitted):
    predictor, world = fitted
    table = predictor.known.sides[0].views["expression"].iloc[[5, 9]].set_axis(["A", "B"])
    before = predictor.predict(None, table, scale="zscore")
    drugs = predictor.measure_next("drugs", 3)
    measured = pd.DataFrame({"line": "A", "drug": drugs, "ln_ic50": [0.0, 1.0, 0.5]})
    after = predictor.predict(None, table, scale="zscore", measured=measured)
    one = after["line"] == "A"
    pd.testing.assert_frame_equal(after[~one], before[~one])
    at = predictor.known.sides[1].ids.get_indexer(drugs)
    prior = predictor.pilot("new line")
    by_hand = prior.update(before.loc[one, "ln_ic50"].to_numpy(), at, [0.0, 1.0, 0.5])
    np.testing.assert_allclose(after.loc[one, "ln_ic50"], by_hand, atol=1e-9)


@pytest.mark.parametrize(
    "change_it, words",
    [
        ({"line": "nobody"}, "line 'nobody' is neither asked about nor known"),
        ({"drug": "nothing"}, "drug 'nothing' is neither"),
        ({"ln_ic50": "many"}, "ln_ic50 is 'many'"),
        ({"ln_ic50": 400.0}, "ln_ic50 is 400.0"),
        ({"drug": "known"}, "are both known"),
    ],
)
def test_a_bad_table_of_measurements_is_refused(fitted, change_it, words):
    predictor, world = fitted
    known = predictor.known.sides
    row = {"line": known[0].ids[3], "drug": "my drug", "ln_ic50": 1.0} | change_it
    row["drug"] = known[1].ids[0] if row["drug"] == "known" else row["drug"]
    with pytest.raises(DataError, match=re.escape(words)):
        predictor.predict(ask(world, 0), measured=pd.DataFrame([row]))
    good = {"line": known[0].ids[3], "drug": "my drug", "ln_ic50": 1.0}
    with pytest.raises(DataError, match="there twice"):
        predictor.predict(ask(world, 0), measured=pd.DataFrame([good, good]))


def test_the_page_of_predictions_says_what_it_must(fitted, tmp_path, capsys):
    predictor, world = fitted
    folder = tmp_path / "model"
    predictor.save(folder)
    ask(world, 0).assign(name="<i>mine</i>").to_csv(tmp_path / "drugs.csv", index=False)
    lines = predictor.known.sides[0].views["expression"].iloc[[5, 9]].set_axis(["A&A", "B"])
    lines.rename_axis("line").reset_index().to_csv(tmp_path / "lines.csv", index=False)
    asked = ["--drugs", str(tmp_path / "drugs.csv"), "--report", str(tmp_path / "a.html")]
    assert main(["predict", str(folder), *asked, "--next", "3"]) == 0
    out = capsys.readouterr().out
    assert out.count("measure a new") == 2
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<i>" not in text and "&lt;i&gt;mine" in text
    best = predictor.predict(tmp_path / "drugs.csv").sort_values("ln_ic50")
    assert text.index(str(best["line_name"].iloc[0])) < text.index(str(best["line_name"].iloc[-1]))
    assert "not for treatment" in text and "held-out pairs of this kind" in text
    asked = ["--lines", str(tmp_path / "lines.csv"), "--scale", "zscore"]
    asked += ["--out", str(tmp_path / "p.csv"), "--report", str(tmp_path / "b.html")]
    assert main(["predict", str(folder), *asked]) == 0
    text = (tmp_path / "b.html").read_text(encoding="utf-8")
    assert "Where the new lines lie" in text and "A&amp;A" in text and "Line B" in text
    assert text.count("<circle") >= 60 + 2


def test_pilot_curves_show_every_count_with_its_interval():
    import matplotlib

    matplotlib.use("agg", force=True)
    from clmt_lib.book import plotting

    counts, rows = [0, 1, 5, 50], []
    for strategy, gain in (("random", 0.0), ("chosen", 0.2)):
        for count in counts:
            value = 2.0 / (1 + count) + 1 - gain
            row = {"strategy": strategy, "measured": count}
            for metric, centre in (("rmse", value), ("pcc_per_drug", 1 - value / 3)):
                ends = {
                    metric: centre,
                    f"{metric}_low": centre - 0.1,
                    f"{metric}_high": centre + 0.1,
                }
                row |= ends
            rows.append(row)
    frame = pd.DataFrame(rows)
    axes = plotting.pilot_curves({"new drugs": frame, "new lines": frame.iloc[::-1]})
    assert axes.shape == (2, 2) and [ax.get_title() for ax in axes[0]] == ["new drugs", "new lines"]
    for ax, metric in zip(axes[:, 0], ("rmse", "pcc_per_drug"), strict=True):
        for line, strategy in zip(ax.lines, ("random", "chosen"), strict=True):
            wanted = frame.loc[frame["strategy"] == strategy, metric]
            np.testing.assert_allclose(line.get_ydata(), wanted)
        bars = [segment for part in ax.collections for segment in part.get_segments()]
        assert len(bars) == 8 and all(abs(np.ptp(bar[:, 1]) - 0.2) < 1e-9 for bar in bars)
    assert [tick.get_text() for tick in axes[1][1].get_xticklabels()] == ["0", "1", "5", "50"]
    matplotlib.pyplot.close("all")


def test_a_doubled_column_of_a_table_with_cut_rows_is_one_of_its_mistakes(mine):
    path = mine / "drugs.csv"
    header, *rows = path.read_text().splitlines()
    rows = [row if i else row + ",one,more" for i, row in enumerate(rows)]
    path.write_text("\n".join([header.replace("target", "smiles"), *rows]) + "\n")
    said = [str(mistake) for mistake in screen.check(mine).mistakes]
    assert any("drugs.csv, row 1: column 'smiles' is there twice" in text for text in said)
