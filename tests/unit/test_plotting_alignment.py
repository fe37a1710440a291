"""The figures of chapter 05 show what they are given: every partner, every rank, every fold, and
where chance lies.
"""

import matplotlib

matplotlib.use("agg", force=True)

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from clmt_lib.book import plotting


@pytest.fixture(autouse=True)
def clean():
    with matplotlib.rc_context():
        yield
    plt.close("all")


def test_partners_share_a_colour_and_lie_in_their_own_direction():
    a, b = np.array([[3.0, 0.0], [0.0, 2.0]]), np.array([[0.0, 1.0], [0.0, 5.0]])
    ax = plotting.partners({"before": (a, b), "after": (a, a)})[0]
    line, dot, square = ax.lines[1:4]  # the circle comes first
    assert np.allclose(np.ravel(dot.get_xydata()), [1, 0]) and np.allclose(
        np.ravel(square.get_xydata()), [0, 0.86]
    )
    assert line.get_color() == dot.get_color() == square.get_color() != ax.lines[4].get_color()


def test_recall_counts_ranks_up_to_k_and_draws_chance():
    ax = plotting.recall({"found": [1, 1.5, 3, 4]}, 4)
    chance, found = ax.lines
    assert found.get_ydata().tolist() == [
        0,
        0.25,
        0.5,
        0.75,
        1.0,
    ]  # a tie at the top is not a first place
    assert np.allclose(chance.get_ydata(), np.arange(5) / 4)


def test_copies_are_shares_of_anchors_with_the_tail_together():
    ax = plotting.copies(
        {"drugs": np.array([1, 2, 2, 9]), "lines": np.array([1, 1, 1, 12])}, most=3
    )
    height = [bar.get_height() for bar in ax.patches]
    assert height == [0.25, 0.5, 0.25, 0.75, 0, 0.25] and [
        t.get_text() for t in ax.get_xticklabels()
    ] == ["1", "2", "3+"]


def test_pull_draws_each_loss_and_its_slope():
    lead = np.linspace(-1, 1, 5)
    axes = plotting.pull(lead, {"a": lead, "b": -lead}, {"a": lead**2, "b": lead})
    assert [len(ax.lines) for ax in axes] == [3, 3] and np.allclose(
        axes[1].lines[0].get_ydata(), lead**2
    )
    assert (
        axes[0].lines[0].get_linestyle() != axes[0].lines[1].get_linestyle()
    )  # told apart without colour


def test_temperatures_show_the_place_with_its_interval_and_label_every_point():
    frame = pd.DataFrame(
        {
            "place": [0.3, 0.4],
            "low": [0.2, 0.3],
            "high": [0.5, 0.6],
            "distance": [1.0, 0.5],
            "uniformity": [-1.0, -2.0],
        },
        index=[0.1, 1.0],
    )
    left, right = plotting.temperatures(frame)
    assert left.get_xscale() == "log" and left.collections[0].get_segments()[1].tolist() == [
        [1.0, 0.3],
        [1.0, 0.6],
    ]
    assert [text.get_text() for text in right.texts] == ["0.1", "1"]


def test_knowledge_shows_every_fold_and_their_mean():
    folds = pd.DataFrame(
        {"tissue": [0.2, 0.4, 0.9], "beyond": [0.1, 0.1, 0.5]}, index=["tower", "tower", "itself"]
    )
    axes = plotting.knowledge(
        folds, {"tissue": "tissue", "beyond": "beyond"}, chance={"tissue": 0.1}
    )
    ticks, mean = axes[0].lines[:2]
    assert ticks.get_xdata().tolist() == [0.2, 0.4] and mean.get_xdata()[0] == pytest.approx(0.3)
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["tower", "itself"]
    assert len(axes[0].lines) == 5 and len(axes[1].lines) == 4  # one of them has a chance line
