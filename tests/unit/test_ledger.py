"""The ledger's verdicts follow the records: they flip when the numbers flip, and nothing that is
not there is decided.
"""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from clmt_lib import records
from clmt_lib.book import plotting
from clmt_lib.io import DataError

ROOT = Path(__file__).resolve().parents[2]
AT = {"dataset": "toy", "split": "mixed", "metric": "rmse"}
COMPARE = {"compare": "new - old", **AT, "expect": "better"}
STUDY = {
    "study": "toy",
    "dataset": "toy",
    "split": "mixed",
    "variants": ["part"],
    "expect": "worse",
}


def claim(*tests, **changes):
    return {
        "id": "one",
        "title": "It helps",
        "claim": "It helps.",
        "by": "here",
        "where": "here",
        "tests": list(tests),
        **changes,
    }


def place(folder, name, metrics):
    records.write_derived(name, {"config": {}, "provenance": {}, "metrics": metrics}, folder)


def summary(folder, gap=None, folds=5, split="mixed", metric="rmse", **rungs):
    """A fabricated summary: the difference new - old as (mean, low, high), and rungs of the ladder
    as (mean, half width of the interval, sd over folds).
    """
    models = {
        name: {
            "folds": folds,
            **{
                key: value
                for m in ("rmse", "pcc", "pcc_per_drug")
                for key, value in (
                    (m, mean),
                    (f"{m}_sd", sd),
                    (f"{m}_interval", [mean - half, mean + half]),
                )
            },
        }
        for name, (mean, half, sd) in rungs.items()
    }
    rows = (
        [
            {
                "a": "new",
                "b": "old",
                "folds": folds,
                metric: {"mean": gap[0], "interval": list(gap[1:]), "folds_better": 0},
            }
        ]
        if gap
        else []
    )
    body = {"models": models, "differences": rows, "runs": {}, "replicates": 0.0}
    place(folder, f"summary-toy-{split}", body)


def study(folder, gap, folds=5, control=(0.0, -0.01, 0.01), base=1.0):
    rows = []
    for variant, (mean, low, high) in (("part", gap), ("another_seed", control)):
        values = {
            metric: {"mean": mean, "interval": [low, high], "folds_better": 0}
            for metric in ("rmse", "pcc", "pcc_per_drug")
        }
        rows.append(
            {
                "variant": variant,
                "dataset": "toy",
                "options": {},
                "split": "mixed",
                "name": "",
                "settings": {},
                "folds": folds,
                "difference": values,
                "base": dict.fromkeys(values, base),
                "value": dict.fromkeys(values, base + mean),
                "runs": [],
            }
        )
    place(folder, "study-toy", {"rows": rows})


def judged(folder, *tests):
    """(verdict, why) of a claim with these tests, through a ledger file."""
    path = folder / "ledger.yaml"
    path.write_text(
        yaml.safe_dump({"sources": {"here": "us"}, "claims": [claim(*tests)]}), encoding="utf-8"
    )
    row = records.ledger(path, folder / "records").iloc[0]
    return row["verdict"], row["why"]


@pytest.mark.parametrize(
    "gap, better, otherwise",
    [
        ((-0.02, -0.03, -0.01), "reproduced", "not"),
        ((0.02, 0.01, 0.03), "not", "reproduced"),
        ((-0.01, -0.02, 0.01), "not", "reproduced"),
    ],
)
def test_a_verdict_flips_when_the_numbers_flip(tmp_path, gap, better, otherwise):
    summary(tmp_path / "records", gap)
    assert judged(tmp_path, COMPARE)[0] == better
    assert judged(tmp_path, {**COMPARE, "expect": "not better"})[0] == otherwise


def test_a_comparison_may_come_from_another_grid(tmp_path):
    summary(tmp_path / "records", (-0.02, -0.03, -0.01))
    made = records.read("summary-toy-mixed", tmp_path / "records")
    made.path.unlink()
    parts = {part: getattr(made, part) for part in ("config", "metrics", "provenance")}
    records.write_derived("summary-text-toy-mixed", parts, tmp_path / "records")
    assert judged(tmp_path, {**COMPARE, "grid": "text"})[0] == "reproduced"
    verdict, why = judged(tmp_path, {**COMPARE, "grid": "other"})
    assert verdict == "open" and "--grid experiments/configs/other.yaml" in why


def test_a_correlation_is_better_when_it_is_higher(tmp_path):
    for gap, expected in (((0.02, 0.01, 0.03), "reproduced"), ((-0.02, -0.03, -0.01), "not")):
        summary(tmp_path / "records", gap, metric="pcc_per_drug")
        assert judged(tmp_path, {**COMPARE, "metric": "pcc_per_drug"})[0] == expected


def test_the_order_of_a_comparison_decides_its_sign(tmp_path):
    summary(tmp_path / "records", (-0.02, -0.03, -0.01))
    assert judged(tmp_path, {**COMPARE, "compare": "old - new"})[0] == "not"


def test_a_tie_is_a_tie_and_says_so(tmp_path):
    summary(tmp_path / "records", (-0.01, -0.02, 0.0))
    said = "no difference found (smallest we could have seen: 0.014)"
    assert judged(tmp_path, COMPARE) == ("not", said)


def test_few_folds_prove_half_and_a_tie_on_them_nothing(tmp_path):
    summary(tmp_path / "records", (-0.02, -0.03, -0.01), folds=1)
    assert judged(tmp_path, COMPARE)[0] == "partly"
    summary(tmp_path / "records", (-0.02, -0.03, 0.01), folds=2)
    verdict, why = judged(tmp_path, COMPARE)
    assert verdict == "open" and "clmt run" in why


def test_some_splits_of_several_is_partly(tmp_path):
    for split, gap in (("mixed", (-0.02, -0.03, -0.01)), ("cell_blind", (0.0, -0.01, 0.01))):
        summary(tmp_path / "records", gap, split=split)
    tests = [COMPARE, {**COMPARE, "split": "cell_blind"}, {**COMPARE, "split": "drug_blind"}]
    assert [
        judged(tmp_path, *chosen)[0]
        for chosen in (tests[:1], tests[1:2], tests[:2], tests[2:], [tests[0], tests[2]])
    ] == ["reproduced", "not", "partly", "open", "partly"]


@pytest.mark.parametrize(
    "test, command",
    [
        (COMPARE, "clmt run --grid experiments/configs/grid.yaml"),
        ({"reach": "als", **AT, "value": 1.0}, "clmt run"),
        ({"clear_of": "als", **AT, "values": {"A": 1.0}}, "clmt run"),
        (
            {
                "easier": "als",
                "dataset": "toy",
                "metric": "rmse",
                "splits": ["mixed", "cell_blind"],
            },
            "clmt run",
        ),
        (STUDY, "clmt study experiments/configs/studies/toy.yaml"),
    ],
)
def test_without_a_record_nothing_is_decided_and_the_command_is_named(tmp_path, test, command):
    (tmp_path / "records").mkdir()
    verdict, why = judged(tmp_path, test)
    assert verdict == "open" and "not run yet" in why and command in why


def test_one_more_split_equals_scipy_and_widens_the_interval_of_the_mean():
    scores = np.array([0.85, 0.84, 0.86, 0.83, 0.87])
    low, high = records.prediction_interval(scores.mean(), scores.std(), len(scores))
    expected = stats.t.interval(0.95, 4, scores.mean(), scores.std(ddof=1) * np.sqrt(1 + 1 / 5))
    assert np.allclose([low, high], expected)
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(4000, 6))
    inside = [
        low <= row[5] <= high
        for row in draws
        for low, high in [records.prediction_interval(row[:5].mean(), row[:5].std(), 5)]
    ]
    assert abs(np.mean(inside) - 0.95) < 0.015


def test_a_published_value_is_reached_by_the_spread_of_splits_and_elsewhere_by_half_at_most(
    tmp_path,
):
    summary(tmp_path / "records", als=(0.86, 0.05, 0.01))
    test = {"reach": "als", **AT, "value": 0.84}
    assert judged(tmp_path, test)[0] == "reproduced"  # one more split could give .84
    assert judged(tmp_path, {**test, "value": 0.9})[0] == "reproduced"  # ours is better
    assert judged(tmp_path, {**test, "value": 0.80})[0] == "not"
    assert (
        judged(tmp_path, {**test, "value": 0.82, "other": "other data"})[0] == "partly"
    )  # new lines and drugs: the wider interval
    verdict, why = judged(tmp_path, {**test, "value": 0.7, "other": "other data"})
    assert verdict == "not testable" and "other data" in why


def test_published_values_must_be_clear_of_what_needs_no_features(tmp_path):
    summary(tmp_path / "records", als=(0.86, 0.05, 0.01))
    test = {"clear_of": "als", **AT, "values": {"A": 0.80, "B": 0.87, "C": 0.95}}
    assert judged(tmp_path, test)[0] == "partly"
    assert judged(tmp_path, {**test, "values": {"A": 0.80}})[0] == "reproduced"
    assert judged(tmp_path, {**test, "values": {"B": 0.87}})[0] == "not"


def test_splits_are_in_order_only_where_intervals_are_apart(tmp_path):
    summary(tmp_path / "records", als=(0.86, 0.05, 0.01))
    test = {"easier": "als", "dataset": "toy", "metric": "rmse", "splits": ["mixed", "cell_blind"]}
    for mean, expected in ((1.2, "reproduced"), (0.9, "not"), (0.5, "not")):
        summary(tmp_path / "records", split="cell_blind", als=(mean, 0.05, 0.01))
        assert judged(tmp_path, test)[0] == expected
    summary(tmp_path / "records", folds=1, split="cell_blind", als=(0.9, 0.05, 0.01))
    assert judged(tmp_path, test)[0] == "open"  # an overlap on one fold says nothing, as any tie


def test_a_study_is_read_by_the_same_rule(tmp_path):
    for gap, expected in (
        ((0.03, 0.02, 0.04), "reproduced"),
        ((0.008, 0.001, 0.012), "reproduced"),
        ((0.0, -0.01, 0.01), "not"),
        ((-0.03, -0.04, -0.02), "not"),
    ):
        study(tmp_path / "records", gap)
        assert judged(tmp_path, STUDY)[0] == expected
    assert (
        judged(tmp_path, {**STUDY, "expect": "different"})[0] == "reproduced"
    )  # it helps, which also matters


def test_a_tie_acquits_nothing_where_the_base_has_not_learnt(tmp_path):
    test = {**STUDY, "expect": "different", "sound": "als"}
    study(tmp_path / "records", (0.0, -0.01, 0.01), base=1.2)
    summary(tmp_path / "records", als=(0.9, 0.05, 0.01))
    assert judged(tmp_path, test)[0] == "not testable"
    study(tmp_path / "records", (0.03, 0.02, 0.04), base=1.2)
    assert judged(tmp_path, test)[0] == "reproduced"  # what does show, shows
    study(tmp_path / "records", (0.0, -0.01, 0.01), base=0.8)
    assert judged(tmp_path, test)[0] == "not"


def test_a_fact_needs_its_test(tmp_path):
    path = tmp_path / "tests"
    path.mkdir()
    (path / "test_it.py").write_text("def test_there():\n    assert True\n", encoding="utf-8")
    home = tmp_path / "experiments" / "configs"
    home.mkdir(parents=True)
    for name, holds, expected in (
        ("there", True, "reproduced"),
        ("there", False, "not"),
        ("gone", True, "not testable"),
    ):
        assert (
            judged(home, {"fact": f"tests/test_it.py::test_{name}", "holds": holds})[0] == expected
        )


def test_what_cannot_be_tested_says_why(tmp_path):
    assert judged(tmp_path, {"untestable": "no table was found"}) == (
        "not testable",
        "no table was found",
    )


@pytest.mark.parametrize(
    "wrong, says",
    [
        (claim(COMPARE, verdict="reproduced"), "verdict"),
        ({k: v for k, v in claim(COMPARE).items() if k != "claim"}, "claim"),
        (claim(), "no test"),
        (claim(COMPARE, by="nobody"), "nobody"),
        (claim(COMPARE, where="rumour"), "rumour"),
        (claim({**COMPARE, "weight": 2}), "weight"),
        (claim({**COMPARE, "metric": "mae"}), "mae"),
        (claim({**COMPARE, "split": "random"}), "random"),
        (claim({**COMPARE, "expect": "good"}), "good"),
        (claim({**COMPARE, "compare": "new"}), "'new'"),
        (claim({"wins": "new", **AT}), "no known kind"),
        (claim({**COMPARE, "fact": "a::b", "holds": True}), "no known kind"),
        (claim({"reach": "als", **AT, "value": "0.9"}), "value"),
        (claim({"fact": "test_it", "holds": True}), "test_it"),
        (claim({"fact": "a::b", "holds": "yes"}), "holds"),
        (claim("new beats old"), "no known kind"),
        ("it helps", "not a set of keys"),
        (claim({**STUDY, "variants": "part"}), "variants"),
        (
            claim({"easier": "als", "dataset": "toy", "metric": "rmse", "splits": ["mixed"]}),
            "two splits",
        ),
    ],
)
def test_bad_claims_are_refused_and_named(tmp_path, wrong, says):
    path = tmp_path / "ledger.yaml"
    path.write_text(
        yaml.safe_dump({"sources": {"here": "us"}, "claims": [wrong]}), encoding="utf-8"
    )
    with pytest.raises(DataError) as error:
        records.read_ledger(path)
    assert says in str(error.value) and "ledger.yaml" in str(error.value)


@pytest.mark.parametrize(
    "text, says",
    [
        ("claims: [", "not a ledger"),
        ("- a\n- b\n", "keys"),
        ("sources: {}\nclaims: []\nmore: 1\n", "more"),
        ("\xff", "keys"),
    ],
)
def test_bad_files_are_refused(tmp_path, text, says):
    path = tmp_path / "ledger.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=says):
        records.read_ledger(path)
    with pytest.raises(DataError, match="not a ledger"):
        records.read_ledger(tmp_path / "nowhere.yaml")


def test_two_claims_of_one_id_are_refused(tmp_path):
    path = tmp_path / "ledger.yaml"
    path.write_text(
        yaml.safe_dump({"sources": {"here": "us"}, "claims": [claim(COMPARE), claim(COMPARE)]}),
        encoding="utf-8",
    )
    with pytest.raises(DataError, match="two claims"):
        records.read_ledger(path)


def test_the_books_ledger_is_read_and_each_source_is_in_the_bibliography():
    claims, sources = records.read_ledger(ROOT / "experiments" / "configs" / "ledger.yaml")
    known = set(
        re.findall(
            r"^@\w+\{([^,]+),",
            (ROOT / "book" / "references.bib").read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    )
    assert (
        15 <= len(claims) <= 60
        and set(sources) - {"here"} <= known
        and {claim.by for claim in claims} == set(sources)
    )
    facts = [test["fact"] for claim in claims for test in claim.tests if "fact" in test]
    assert facts and all(
        f"def {fact.split('::')[1]}(" in (ROOT / fact.split("::")[0]).read_text(encoding="utf-8")
        for fact in facts
    )


def test_the_books_ledger_names_rungs_and_variants_that_exist():
    from clmt_lib.models import registry

    claims, _ = records.read_ledger(ROOT / "experiments" / "configs" / "ledger.yaml")
    rungs, variants = set(), set()
    for test in (test for claim in claims for test in claim.tests):
        rungs |= set(test.get("compare", "").split(" - ")) | {
            test.get(key, "") for key in ("reach", "clear_of", "easier", "sound")
        }
        variants |= {(test["study"], variant) for variant in test.get("variants", [])}
    assert all(registry.entry(name) for name in rungs - {""})  # an unknown one is an error
    for name in {study for study, _ in variants}:
        known = yaml.safe_load(
            (ROOT / f"experiments/configs/studies/{name}.yaml").read_text(encoding="utf-8")
        )["variants"]
        assert {variant for study, variant in variants if study == name} <= set(known)


def test_every_claim_of_the_book_gets_a_verdict_and_a_reason():
    frame = records.ledger(ROOT / "experiments" / "configs" / "ledger.yaml", ROOT / "experiments")
    assert set(frame["verdict"]) <= set(records.VERDICTS) and frame["why"].str.len().min() >= 5


def test_cards_escape_what_they_show_and_read_as_text(tmp_path):
    summary(tmp_path / "records", (-0.02, -0.03, -0.01))
    path = tmp_path / "ledger.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "sources": {"here": "us"},
                "claims": [claim(COMPARE, {"untestable": "1 < 2"}, title="A <b> title")],
            }
        ),
        encoding="utf-8",
    )
    claims, sources = records.read_ledger(path)
    cards = plotting.Cards(
        records.ledger(path, tmp_path / "records"),
        records.evidence(claims, tmp_path / "records"),
        sources,
    )
    page = cards._repr_html_()
    assert (
        "A &lt;b&gt; title" in page
        and "1 &lt; 2" in page
        and "−0.020 [−0.030, −0.010]" in page
        and page.count("<details") == page.count("</details>") == 1
    )
    assert "partly: A <b> title (us)" in repr(cards)


@pytest.fixture
def closed():
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def test_a_verdict_has_one_colour_and_stands_beside_its_interval(closed):
    frame = pd.DataFrame(
        {
            "mean": [-0.02, 0.0],
            "low": [-0.03, -0.01],
            "high": [-0.01, 0.01],
            "folds": [5, 1],
            "verdict": ["reproduced", "open"],
        },
        index=["A", "B"],
    )
    ax = plotting.cases(frame)
    assert [text.get_text() for text in ax.texts] == ["reproduced, 5 folds", "open, 1 fold"]
    assert ax.lines[0].get_color() != ax.lines[2].get_color() == plotting.GREY


def test_the_bars_of_verdicts_add_up_and_tell_code_from_abstract(closed):
    frame = pd.DataFrame(
        {
            "by": ["a", "a", "a", "here"],
            "where": ["abstract", "abstract", "code", "here"],
            "verdict": ["not", "open", "not", "partly"],
        }
    )
    ax = plotting.verdict_counts(frame, {"a": "A", "here": "us"})
    assert [label.get_text().replace("\n", " ") for label in ax.get_yticklabels()] == [
        "A, abstract",
        "A, expected of published code",
        "us",
    ]
    assert sum(bar.get_width() for bar in ax.patches) == len(frame)


def test_published_values_and_ours_stand_in_one_order(closed):
    frame = pd.DataFrame(
        {
            "value": [0.9, 0.8, 1.0],
            "published": [False, True, False],
            "low": [0.85, np.nan, np.nan],
            "high": [0.95, np.nan, np.nan],
        },
        index=["als", "TGSA", "effects"],
    )
    names = [label.get_text() for label in plotting.beside_published(frame).get_yticklabels()]
    assert names == ["TGSA (published)", "factorisation (ALS)", "drug + cell effects"]
    assert [
        label.get_text() for label in plotting.beside_published(frame, "pcc").get_yticklabels()
    ][0] == "drug + cell effects"


def test_replicates_twins_and_groups_are_drawn_where_they_are(closed):
    ids = pd.DataFrame({"compound": ["x", "y"], "lines": [40, 50], "sd_measurement": [0.6, 0.8]})
    ax = plotting.replicate_noise(ids, {"als": 0.9})
    assert (
        np.isclose(ax.lines[1].get_xdata()[0], np.sqrt(0.5)) and ax.lines[2].get_xdata()[0] == 0.9
    )
    twins = plotting.nearest_twins(
        {"drugs": [0, 0.5, 1], "lines": [0, 0.5, 1]}, {"drug_r": 0.5, "line_r": 0.75}
    )
    assert [line.get_ydata()[0] for line in (twins.lines[1], twins.lines[3])] == [0.5, 0.25]
    errors = pd.DataFrame(
        {
            "model": ["als", "als", "effects"],
            "group": ["all", "few", "all"],
            "rmse": [0.9, 0.8, 1.2],
        }
    )
    drawn = plotting.errors_by_group(errors, ["all", "few"])
    assert {
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in drawn.lines
        if len(line.get_xdata()) == 1
    } == {(0.9, 0), (1.2, 0), (0.8, 1)}


def noise():
    spec = importlib.util.spec_from_file_location("noise", ROOT / "experiments" / "noise.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_correlations_with_holes_equal_pandas():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(6, 80))
    table[1] = table[0] + rng.normal(0, 0.3, 80)
    table[rng.random(table.shape) < 0.2] = np.nan
    expected = pd.DataFrame(table.T).corr(min_periods=30).to_numpy(copy=True)
    np.fill_diagonal(expected, 0)
    assert np.allclose(noise().correlations(table), expected)
    assert not noise().correlations(table[:, :20]).any()  # too little in common


def test_the_noise_of_two_ids_is_that_of_the_difference_over_root_two():
    from clmt_lib import data

    world = data.load("simulated")
    rows = noise().two_ids(world)
    ids = world.drugs["compound"].value_counts()
    assert {row["compound"] for row in rows} == set(ids.index[ids > 1].astype(str))
    first = rows[0]
    a, b = np.flatnonzero(world.drugs["compound"].astype(str) == first["compound"])[:2]
    gap = world.matrix()[:, a] - world.matrix()[:, b]
    gap = gap[np.isfinite(gap)]
    assert first["lines"] == len(gap) and np.isclose(
        first["sd_measurement"], gap.std(ddof=1) / np.sqrt(2)
    )


def test_nonsense_serves_on_random_pairs_and_not_for_new_drugs():
    from clmt_lib import data

    rows = pd.DataFrame(noise().nonsense(data.load("simulated", cells=96), seeds=(0,), folds=2))
    mean = rows.groupby(["split", "model"])[["rmse", "pcc_per_drug"]].mean()
    assert (
        mean.loc[("mixed", "true"), "rmse"]
        < mean.loc[("mixed", "swapped"), "rmse"]
        < mean.loc[("mixed", "means"), "rmse"] - 0.05
    )
    blind = mean.loc["drug_blind", "pcc_per_drug"]
    assert blind["true"] > blind["means"] + 0.02 and abs(blind["swapped"] - blind["means"]) < 0.02


def test_groups_of_test_pairs_are_complements_and_a_test_response_changes_none():
    from clmt_lib import data
    from clmt_lib.audit import permute_test_responses

    world = data.load("simulated", cells=96)
    split = data.make_split(world, "mixed")
    found, again = (
        noise().groups(benchmark, split)
        for benchmark in (world, permute_test_responses(world, split))
    )
    assert (found["drug has a twin"] == ~found["drug has none"]).all() and (
        found["replicate in train"] == ~found["no replicate in train"]
    ).all()
    assert all((found[name] == again[name]).all() for name in found)


def test_two_screens_agree_as_pandas_says_and_what_is_left_is_that_of_a_straight_line():
    rng = np.random.default_rng(2)
    b = pd.DataFrame(rng.normal(size=(60, 3)), columns=["x", "y", "z"])
    a = 2 * b + rng.normal(0, 0.5, b.shape)
    a.loc[:40, "z"] = np.nan  # too few lines in common
    a.loc[:4, "x"] = np.nan
    found = noise().agreement(a, b[["x", "y", "z"]].sample(frac=1, random_state=0))
    assert found["lines"].tolist() == [55, 60]
    assert np.allclose(found["r"], [a["x"].corr(b["x"]), a["y"].corr(b["y"])])
    assert np.allclose(found["left"], found["sd"] * np.sqrt(1 - found["r"] ** 2))
    told = noise().told(found["r"])
    assert told["mean"] == pytest.approx(found["r"].mean()) and told["drugs"] == 2
