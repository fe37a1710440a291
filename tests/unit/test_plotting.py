"""Figures draw what they are given: every rung, every interval, hollow where folds are missing,
readable on white and on black.
"""

import matplotlib

matplotlib.use("agg", force=True)

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from clmt_lib import models
from clmt_lib.book import plotting


@pytest.fixture(autouse=True)
def clean():
    with matplotlib.rc_context():
        yield
    plt.close("all")


def frame():
    """Four rungs, one of them on fewer folds, one far behind."""
    rows = {
        "global_mean": (2.8, 2.6, 3.0, 0.0, 0.01, 5),
        "effects": (1.24, 1.2, 1.3, 0.45, 0.02, 5),
        "lightgbm": (1.1, 1.0, 1.2, 0.5, 800.0, 2),
        "als": (0.9, 0.85, 0.95, 0.7, 4.0, 5),
    }
    return pd.DataFrame(
        rows, index=["rmse", "rmse_low", "rmse_high", "pcc_per_drug", "seconds", "folds"]
    ).T


def texts(ax):
    return [text.get_text() for text in ax.texts]


def luminance(colour):
    value = np.array(matplotlib.colors.to_rgb(colour))
    return np.where(value <= 0.03928, value / 12.92, ((value + 0.055) / 1.055) ** 2.4) @ [
        0.2126,
        0.7152,
        0.0722,
    ]


@pytest.mark.parametrize("page", ["#ffffff", "#121212"])
def test_text_is_readable_on_a_white_and_on_a_dark_page(page):
    low, high = sorted([luminance(plotting.GREY), luminance(page)])
    assert (high + 0.05) / (low + 0.05) > 4.2


def test_style_is_transparent_and_of_one_grey():
    plotting.style()
    assert plt.rcParams["figure.facecolor"] == "none" and plt.rcParams["axes.facecolor"] == "none"
    assert {
        plt.rcParams[key] for key in ("text.color", "xtick.color", "ytick.color", "axes.labelcolor")
    } == {plotting.GREY}


def test_every_rung_of_the_ladder_has_a_name_and_a_look():
    assert len({plotting.display_name(name) for name in models.names()}) == len(models.names())
    looks = [plotting.look(rung) for rung in models.names()]
    assert "other" not in {family for family, _, _ in looks}
    assert len({marker for _, _, marker in looks}) == len({family for family, _, _ in looks})


def test_a_stranger_still_has_a_name_and_a_look():
    assert plotting.display_name("my_own") == "my own" and plotting.look("my_own")[0] == "other"


def test_ladder_draws_rungs_in_order_with_their_values():
    axes = plotting.ladder(frame(), title="a split")
    assert [label.get_text() for label in axes[0].get_yticklabels()] == [
        "global mean",
        "drug + cell effects",
        "LightGBM",
        "factorisation (ALS)",
    ]
    dots = {
        float(line.get_ydata()[0]): float(line.get_xdata()[0])
        for line in axes[0].lines
        if line.get_marker() not in ("None", "", None)
    }
    assert dots == {1.0: 1.24, 2.0: 1.1, 3.0: 0.9}


def test_ladder_draws_intervals_and_writes_seconds_and_folds():
    axes = plotting.ladder(frame())
    bars = [
        tuple(map(float, line.get_xdata())) for line in axes[0].lines if len(line.get_xdata()) == 2
    ]
    assert bars == [(1.2, 1.3), (1.0, 1.2), (0.85, 0.95)]
    assert {"13 min", "4 s", "< 1 s", "2", "5", "fit", "folds"} <= set(texts(axes[1]))


def test_a_rung_far_behind_is_an_arrow_with_its_value():
    axes = plotting.ladder(frame())
    assert any("2.80" in text for text in texts(axes[0]))
    assert axes[0].get_xlim()[1] < 2


def test_a_rung_with_fewer_folds_is_hollow():
    axes = plotting.ladder(frame())
    hollow = {
        float(line.get_ydata()[0])
        for line in axes[0].lines
        if line.get_marker() not in ("None", "", None) and line.get_markerfacecolor() == "none"
    }
    assert hollow == {2.0}


def test_ladder_copes_without_seconds_folds_intervals_or_values():
    bare = frame()[["rmse", "pcc_per_drug"]]
    bare.loc["clmt"] = np.nan
    axes = plotting.ladder(bare, chance={"rmse": 1.0})
    assert not [text for text in texts(axes[1]) if "folds" in text]
    axes[0].figure.canvas.draw()


def test_paired_marks_ties():
    rows = pd.DataFrame(
        {"mean": [0.1, 0.0], "low": [0.05, -0.1], "high": [0.15, 0.1], "folds": [5, 1]},
        index=["a - b", "a - c"],
    )
    ax = plotting.paired(rows, "gain")
    faces = [line.get_markerfacecolor() for line in ax.lines if line.get_marker() == "o"]
    assert faces[1] == "none" and faces[0] != "none"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a - b", "a - c"] and {
        "folds",
        "5",
        "1",
    } <= set(texts(ax))


def test_paired_tells_a_gain_from_a_loss_by_more_than_a_side():
    rows = pd.DataFrame(
        {"mean": [0.1, -0.1, 0.0], "low": [0.05, -0.15, -0.1], "high": [0.15, -0.05, 0.1]},
        index=["a", "b", "c"],
    )
    marks = [
        [
            (line.get_marker(), line.get_color())
            for line in plotting.paired(rows, larger_is_better=up).lines
            if line.get_marker() in "oD"
        ]
        for up in (True, False)
    ]
    assert [marker for marker, _ in marks[0]] == ["o", "D", "o"] and [
        marker for marker, _ in marks[1]
    ] == ["D", "o", "o"]
    assert (
        len({colour for _, colour in marks[0]}) == 3
        and marks[0][0] == marks[1][1]
        and marks[0][2] == marks[1][2]
    )


def test_by_drug_draws_one_line_a_drug_and_none_for_a_constant_prediction():
    ax = plotting.by_drug([0, 1, 2, 5, 6], [0.0, 1.0, 2.0, 3.0, 3.0], ["A", "A", "A", "B", "B"])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["A", "B"]
    assert len(ax.lines) == 3


def test_before_after_draws_each_pair_and_both_means():
    ax = plotting.before_after([0.2, 0.4], [0.0, -0.2], ("then", "now"))
    means = sorted(
        float(np.mean(line.get_ydata())) for line in ax.lines if line.get_linewidth() == 3
    )
    assert means == pytest.approx([-0.1, 0.3])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["then", "now"]


def test_who_was_measured_is_written_beside_each_row():
    masks = {"structure": np.ones(40, dtype=bool), "morphology": np.arange(40) < 10}
    ax = plotting.presence(masks, most=20)
    assert {"100%", "25%", "structure", "morphology"} <= set(texts(ax))


def test_contents_stack_up_and_small_shares_are_not_written():
    table = pd.DataFrame({"visible": [0.5, 0.2], "private": [0.02, 0.3]}, index=["a", "b"])
    ax = plotting.contents(table)
    assert sorted(texts(ax)) == ["20%", "30%", "50%"]
    assert [patch.get_x() for patch in ax.patches] == pytest.approx([0, 0, 0.5, 0.2])


def test_worths_draw_every_row_with_its_interval_and_score():
    rows = {"gain": [0.0, 0.1], "low": [0.0, 0.05], "high": [0.0, 0.15], "auroc": [0.7, 0.8]}
    rows = pd.DataFrame(rows, index=["structure", "+ measured"])
    axes = plotting.worths({"a": rows, "b": rows.iloc[1:]})
    assert len(axes) == 2 and "0.800" in texts(axes[0]) and "0.700" not in texts(axes[1])
    assert [line.get_xdata()[0] for line in axes[1].lines if line.get_marker() in "os"] == [0.1]


def test_retrieval_shows_chance_and_a_row_a_method():
    rows = [("cmap", m, h, h - 0.01, h + 0.01, 0.05) for m, h in (("ridge", 0.1), ("x", 0.05))]
    columns = ["space", "method", "hit", "low", "high", "chance"]
    axes = plotting.retrieved(pd.DataFrame(rows, columns=columns))
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["ridge", "x"]
    assert axes[0].lines[0].get_xdata()[0] == 0.05 and len(axes[0].lines) == 5


def test_differences_and_the_extrapolation_of_a_curve():
    table = pd.DataFrame({"difference": [0.1], "low": [0.0], "high": [0.2]}, index=["one"])
    ax = plotting.differences(table, "place", (-0.05, 0.05))
    assert len(ax.patches) == 1 and len(ax.lines) == 3
    x = [100, 200, 400]
    rows = pd.DataFrame({"method": "ridge", "pairs": x, "score": [0.1, 0.2, 0.3]})
    rows["low"], rows["high"] = rows["score"] - 0.01, rows["score"] + 0.01
    assert len(plotting.curve(rows).lines) == 1
    dashed = plotting.curve(rows, 800).lines[1]
    assert dashed.get_ydata()[-1] == pytest.approx(0.4) and dashed.get_linestyle() == "--"
