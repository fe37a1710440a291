"""Measures of order against plain loops: triplets, their bootstrap, number lines, shared words."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clmt_lib import records
from clmt_lib.io import DataError
from clmt_lib.tasks import order
from clmt_lib.tasks.bootstrap import Bootstrap

ROOT = Path(__file__).resolve().parents[2]
rng = np.random.default_rng(0)


def by_loop(z, y, groups, margin):
    """Share of all triplets in the right order, one by one."""
    right = asked = 0.0
    for i in range(len(y)):
        for j in range(len(y)):
            for k in range(len(y)):
                one_group = groups[i] == groups[j] == groups[k]
                gap = abs(y[i] - y[k]) - abs(y[i] - y[j])
                if len({i, j, k}) == 3 and one_group and gap > margin:
                    near, far = np.linalg.norm(z[i] - z[j]), np.linalg.norm(z[i] - z[k])
                    asked += 1
                    right += 0.5 if np.isclose(near, far) else float(near < far)
    return right / asked, asked


@pytest.mark.parametrize("margin", [0.0, 0.4])
@pytest.mark.parametrize("grouped", [False, True])
def test_share_of_ordered_triplets_is_that_of_a_plain_loop(margin, grouped):
    z, y = rng.normal(size=(12, 3)), rng.normal(size=12)
    z[3] = z[4]  # a tie
    groups = np.arange(12) % 3 if grouped else np.zeros(12)
    asked = order.triplets(y, groups if grouped else None, margin)
    share, number = by_loop(z, y, groups, margin)
    assert len(asked) == number
    assert order.triplet_order(z, asked).mean() == pytest.approx(share)


def test_a_line_is_ordered_and_its_reverse_is_too_but_noise_is_not():
    y = rng.normal(size=400)
    asked = order.triplets(y)
    assert order.triplet_order(y, asked).mean() == 1
    assert order.triplet_order(-3 * y, asked).mean() == 1
    assert order.triplet_order(rng.normal(size=(400, 8)), asked).mean() == pytest.approx(
        0.5, abs=0.02
    )
    assert order.triplet_order(np.ones((400, 8)), asked).tolist() == [0.5] * len(asked)


def test_drawn_triplets_estimate_all_of_them_and_stay_in_their_group():
    y, groups = rng.normal(size=60), np.repeat([0, 1, 2], [10, 20, 30])
    z = y[:, None] + rng.normal(size=(60, 2))
    every = order.triplet_order(z, order.triplets(y, groups, number=10**9)).mean()
    some = order.triplets(y, groups, number=12_000, seed=1)
    assert len(some) == 12_000 and (np.diff(np.sort(some, axis=1), axis=1) > 0).all()
    assert (groups[some] == groups[some[:, :1]]).all()
    assert order.triplet_order(z, some).mean() == pytest.approx(every, abs=0.01)


@pytest.mark.parametrize("grouped", [False, True])
def test_bootstrap_of_order_is_that_of_the_table_drawn_again(grouped):
    """A draw with counts is the table with so many copies; copies of one pair make no triplet."""
    pairs = np.array([(c, d) for c in range(5) for d in range(3)])
    y, z = rng.normal(size=15), rng.normal(size=(15, 2)) + np.arange(15)[:, None] / 8
    groups = pairs[:, 1] if grouped else None
    boot = Bootstrap((5, 3), draws=5)
    shares, weights = order.order_draws(
        {"z": z, "y": y[:, None]}, y, pairs, boot, groups, 0.1, 60_000
    )
    asked = order.triplets(y, groups, 0.1)
    told = {
        (i, *sorted(jk)): v
        for (i, *jk), v in zip(asked, order.triplet_order(z, asked), strict=True)
    }
    for draw in range(5):
        count = (boot.counts[0][draw, pairs[:, 0]] * boot.counts[1][draw, pairs[:, 1]]).astype(int)
        value = weight = 0.0
        for (i, j, k), right in told.items():
            value += count[i] * count[j] * count[k] * right
            weight += count[i] * count[j] * count[k]
        assert shares["z"][draw] == pytest.approx(
            value / weight if weight else np.nan, abs=0.012, nan_ok=True
        )
        assert shares["y"][draw] == (1 if weight else pytest.approx(np.nan, nan_ok=True))
        assert weights[draw] == (pytest.approx(count.sum() / 15) if weight else 0)


def test_bootstrap_of_what_has_collapsed_is_at_chance():
    pairs = np.array([(c, d) for c in range(6) for d in range(4)])
    shares, _ = order.order_draws(
        {"z": np.ones((24, 3))}, rng.normal(size=24), pairs, Bootstrap((6, 4), draws=3), number=500
    )
    assert shares["z"].tolist() == [0.5] * 3


def test_nearest_number_is_the_largest_cosine():
    z, numbers = rng.normal(size=(7, 5)), rng.normal(size=(9, 5))
    cosine = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in numbers] for a in z]
    assert order.nearest_number(z, numbers).tolist() == np.argmax(cosine, axis=1).tolist()


def test_straightness_is_that_of_plain_loops():
    z = rng.normal(size=(15, 4)) + np.arange(15)[:, None] * 0.3
    pairs = list(combinations(range(15), 2))
    apart = [np.linalg.norm(z[i] - z[j]) for i, j in pairs]
    way = sum(np.linalg.norm(z[i + 1] - z[i]) for i in range(14))
    line = np.vander(np.arange(15), 2)
    rest = z - line @ np.linalg.lstsq(line, z, rcond=None)[0]
    found = order.straightness(z)
    assert found["spearman"] == pytest.approx(
        stats.spearmanr([j - i for i, j in pairs], apart).statistic
    )
    assert found["chord"] == pytest.approx(np.linalg.norm(z[-1] - z[0]) / way)
    assert found["linear"] == pytest.approx(1 - (rest**2).sum() / ((z - z.mean(0)) ** 2).sum())


def test_a_line_bent_or_shuffled_is_less_straight():
    line, angle = np.arange(50.0)[:, None], np.linspace(0, 2 * np.pi, 50, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    straight, round_ = order.straightness(line), order.straightness(circle)
    mixed = order.straightness(rng.permutation(line))
    assert all(straight[key] > max(round_[key], mixed[key]) for key in straight)
    assert order.straightness(np.ones((5, 2)))["linear"] == 0


def test_shared_words_counts_every_batch():
    words = np.array([1, 1, 1, 2, 2, 3, 4, 5])
    for batch in (1, 2, 3, 5, 8):
        shares = [
            np.mean([(words[list(rows)] == words[row]).sum() > 1 for row in rows])
            for rows in combinations(range(8), batch)
        ]
        assert order.shared_words(words, batch) == pytest.approx(np.mean(shares))


def test_closer_than_counts_every_pair():
    y = np.round(rng.normal(size=30), 1)
    y[4] = y[5]
    for gap in (0.05, 0.51, 20.0):
        close = [abs(a - b) < gap for a, b in combinations(y, 2)]
        assert order.closer_than(y, gap) == pytest.approx(np.mean(close))


@pytest.mark.parametrize(
    "call, part",
    [
        (lambda: order.triplets(np.ones(5)), "no triplet"),
        (lambda: order.triplets(np.arange(4.0), np.arange(4)), "no triplet"),
        (lambda: order.straightness(np.eye(2)), "2 numbers"),
        (lambda: order.shared_words([1, 2], 3), "batch of 3"),
        (lambda: order.closer_than(np.ones(1), 1.0), "no pair"),
    ],
)
def test_what_has_no_order_is_refused(call, part):
    with pytest.raises(DataError, match=part):
        call()


# --- what the ledger says of CLDR


def test_squared_error_alone_puts_real_pairs_in_order_a_little_and_the_interval_leaves_chance_out():
    rows = records.read("order-gdsc2", ROOT / "experiments").metrics["orders"]
    if not rows:
        pytest.skip("no order has been measured on GDSC2")
    for split in ("cell_blind", "drug_blind"):
        found = {
            row["phase"]: row
            for row in rows
            if (row["split"], row["arm"], row["question"]) == (split, "mse", "residual")
        }
        assert found["fine_tuned"]["low"] > 0.5, split
        assert found["fine_tuned"]["value"] > found["untrained"]["value"], split


def test_a_caption_that_names_its_pair_is_matched_although_labels_are_shuffled():
    from clmt_lib import data, models

    benchmark = data.load("simulated", cells=60)
    split = data.make_split(benchmark, "mixed", 0)
    small = {"tile": (16, 16), "hidden": 64, "dim": 32, "text_width": 32, "text_layers": 1}
    small |= {"text_heads": 2, "learning_rate": 1e-2, "drop": 0.0, "drop_in": 0.0}
    small |= {"alignment": "clip", "shuffled": True, "updates": 120, "pre": 0.9}
    loss = {}
    for caption in ("none", "entity"):
        model = models.build("cldr", "mixed", **small, caption=caption).fit(benchmark, split)
        loss[caption] = [row["alignment"] for row in model.history if "alignment" in row][-1]
    assert loss["entity"] < loss["none"] - 1.0  # nats: found, and not by its number


# --- a base that is looked for, and arms that are chosen, by validation sets alone


@pytest.fixture
def study(monkeypatch):
    """`experiments/order.py` on a small simulated world."""
    import importlib.util

    from clmt_lib import data

    spec = importlib.util.spec_from_file_location("order_driver", ROOT / "experiments/order.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    benchmark = data.load("simulated", cells=60)
    monkeypatch.setattr(script, "DATASET", "simulated")
    monkeypatch.setattr(script, "LADDER", ())
    monkeypatch.setattr(script, "SEARCH", {"short": {"updates": 2, "tile": [8, 8]}})
    monkeypatch.setattr(script.data, "load", lambda name: benchmark)
    return script, benchmark


def test_a_search_scores_the_validation_set_and_reads_no_test_pair(study, tmp_path, monkeypatch):
    from dataclasses import replace

    from clmt_lib import data, models

    script, benchmark = study
    split = data.make_split(benchmark, "cell_blind", 0, 1)
    y = benchmark.y.copy()
    y[split.test] = np.nan
    blind = replace(benchmark, y=y)
    monkeypatch.setattr(script, "SEARCHED", ("cell_blind", 0, (1,)))
    monkeypatch.setattr(script.data, "load", lambda name: blind)
    monkeypatch.setattr(script.data, "make_split", lambda *a: split)
    script.search(folder=tmp_path)
    (row,) = script.found_by_search(blind, tmp_path)
    settings = script.records.read_study(script.STUDY)[0][1].settings | script.SEARCH["short"]
    model = models.build("cldr", "cell_blind", **settings)
    model.device = "cpu"
    found = model.fit(benchmark, split).predict(benchmark.pairs[split.valid])
    assert row["rmse"] == pytest.approx(np.sqrt(np.mean((found - y[split.valid]) ** 2)), rel=1e-4)
    assert (row["tried"], row["fold"]) == ("short", 1)


def test_arms_are_ranked_by_their_gain_on_validation_sets_of_the_first_seed():
    table = records.read("order-gdsc2", ROOT / "experiments").metrics.get("ranking")
    if not table:
        pytest.skip("no ranking is recorded")
    frame = pd.DataFrame(table)
    assert set(frame["folds"]) == {5} and not frame.duplicated(["split", "arm"]).any()
    runs = [
        record
        for record in records.store.runs(ROOT / "experiments")
        if record.config["model"] == "cldr" and record.config["dataset"] == "gdsc2"
        if (record.config["split"], record.config["seed"]) == ("cell_blind", 0)
    ]
    size = {"updates": 200, "tile": [96, 48], "text_width": 32, "text_layers": 1, "text_heads": 2}
    valid: dict = {}
    for record in runs:
        change = dict(record.provenance["overrides"])
        if all(change.pop(key, None) == value for key, value in size.items()):
            if change in ({}, {"alignment": "rank"}):
                rmse = record.metrics["valid"]["rmse"]
                valid.setdefault(len(change), {})[record.config["fold"]] = rmse
    gains = [100 * (1 - valid[1][fold] / valid[0][fold]) for fold in range(5)]
    told = frame.set_index(["split", "arm"]).loc[("cell_blind", "rank_before"), "gain"]
    assert told == pytest.approx(np.mean(gains), abs=1e-3)


# --- the figures draw what they are given


@pytest.fixture
def figures():
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.use("agg", force=True)
    with matplotlib.rc_context():
        from clmt_lib.book import plotting

        yield plotting
    plt.close("all")


def test_tables_lines_and_maps_draw_every_value(figures):
    table = np.array([[1.0, 0.25], [0.25, 0.75]])
    axes = figures.similarity_tables({"a": table, "b": table.T}, ["x", "y"])
    assert [text.get_text() for text in axes[0].texts] == ["1", ".25", ".25", ".75"]
    z = np.arange(20.0)[:, None] * np.ones((1, 3))
    points = figures.number_lines({"line": z, "line again": z}, numbers=50)[0].lines[0]
    far, apart = points.get_data()
    assert len(far) == 50 and np.allclose(apart, far / far.mean())
    dots = figures.residual_map({"one": z, "two": z}, np.arange(20.0))[1].collections[0]
    assert len(dots.get_offsets()) == 20 and np.array_equal(dots.get_array(), np.arange(20.0))


def test_order_is_drawn_by_arm_and_phase_beside_chance(figures):
    rows = [
        {"question": "raw", "arm": arm, "phase": phase, "value": 0.6, "low": 0.5, "high": 0.7}
        for arm in ("mse", "clip_number")
        for phase in ("untrained", "fine_tuned")
    ]
    axes = figures.order_shares(pd.DataFrame(rows), {"raw": "raw", "residual": "residual"})
    assert [label.get_text() for label in axes[0].get_yticklabels()] == [
        "squared error",
        "number alone",
    ]
    assert [len(line.get_xdata()) for line in axes[0].lines] == [2, 2, 2]
    assert len(axes[1].lines) == 1 and axes[1].lines[0].get_xdata() == [0.5, 0.5]


def test_sweeps_and_stops_mark_the_noise_and_the_best(figures):
    y = rng.uniform(0.3, 0.7, 500)
    axes = figures.fineness(y, 0.02, {16: 0.1, 256: 0.6})
    assert sum(bar.get_height() for bar in axes[0].patches) >= 490
    assert axes[1].lines[0].get_ydata().tolist() == [0.1, 0.6]
    frame = pd.DataFrame({"order": [0.6, 0.5]}, index=[0.01, 0.1])
    assert figures.widths(frame, 0.02)[0].lines[1].get_xdata() == [0.02, 0.02]
    curve = pd.DataFrame(
        {"run": "a", "step": [1, 2, 3], "error": [1.1, 1.0, 1.2], "stop": [False, False, True]}
    )
    drawn = figures.stopping({"authors": curve}, ["epochs"])[0]
    assert drawn.lines[1].get_data()[1].tolist() == [1.2] and drawn.get_xlabel() == "epochs"
    ax = figures.matching({"true": ([1, 2], [3.0, 2.0])}, 5.5)
    assert ax.lines[1].get_ydata().tolist() == [3.0, 2.0]
