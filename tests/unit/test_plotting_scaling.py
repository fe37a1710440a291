"""The figures of chapter 14 draw what they are given, all of it."""

import warnings

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from clmt_lib.book import plotting


@pytest.fixture(autouse=True)
def _closed():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plotting.style()
        yield
    plt.close("all")


def words(ax):
    return [text.get_text() for text in ax.texts]


def test_every_pair_has_its_two_squares_and_every_entity_its_one():
    pairs = np.array([[0, 0], [0, 1], [2, 1]])
    left, right = plotting.two_ways(pairs, 3, 2)
    assert len(left.patches) == 6 and len(right.patches) == 5
    assert "6 encodings" in left.get_title() and "5 encodings" in right.get_title()
    assert sum(len(line.get_xdata()) for line in right.lines) == len(pairs)


def test_the_longest_part_is_on_top_and_shares_add_up():
    ax = plotting.parts({"short": 0.1, "long": 0.3})
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "short",
        "long",
    ]  # bars grow upwards
    assert sum(bar.get_width() for bar in ax.patches) == pytest.approx(1.0)
    assert words(ax) == ["25%, 100 ms", "75%, 300 ms"]
    assert max(ax.get_xticks()) <= 1.0001


def test_growth_draws_every_series_and_the_slope_it_is_asked_for():
    ax = plotting.growth(
        {"pairs": ([1, 2, 4], [1, 1.1, 1.2]), "lines": ([1, 2], [1, 2])}, "x", "y", slope=1
    )
    assert ax.get_xscale() == ax.get_yscale() == "log" and len(ax.lines) == 3
    guide = ax.lines[-1].get_xydata()
    assert guide[1, 1] / guide[0, 1] == pytest.approx(guide[1, 0] / guide[0, 0])


def test_speeds_are_told_as_times_of_the_base():
    ax = plotting.speeds({"plain": 100.0, "fast": 9000.0}, "pairs a second", "plain")
    assert words(ax) == ["100", "9,000  (90 x)"]


def test_lanes_keep_their_colours_whatever_the_order():
    jobs = [(0, 5, 0, "trees"), (0, 2, 1, "network"), (2, 4, 1, "trees")]
    colours = []
    for order in (jobs, jobs[::-1]):
        ax = plotting.lanes(order, 2)
        assert len(ax.patches) == len(jobs)
        colours.append(
            {
                text.get_text(): patch.get_facecolor()
                for text, patch in zip(
                    ax.get_legend().get_texts(), ax.get_legend().get_patches(), strict=True
                )
            }
        )
    assert colours[0] == colours[1] and len(set(colours[0].values())) == 2


def test_time_to_accuracy_and_a_race_show_every_competitor():
    ax = plotting.time_to_accuracy(
        {"als": (3.0, 0.9), "my_rung": (0.0, 1.1)}, ([1, 2], [1.0, 0.9]), 0.9, names=("als",)
    )
    assert words(ax) == ["factorisation (ALS)"] and len(ax.lines) == 4
    assert ax.lines[1].get_xdata()[0] > 0  # nothing at zero seconds on a logarithmic axis
    assert plotting.time_to_accuracy({}, None, 0.9).get_xscale() == "log"
    assert len(plotting.race({"a": ([1, 2], [3, 2]), "b": ([1], [3])}, "x", "y").lines) == 2


def test_a_missing_record_names_its_command():
    assert "bench.py curves" in words(plotting.not_yet("python experiments/bench.py curves"))[0]
