"""The figures of chapter 04 draw every edge once, in the look of its sign, and count who hears
nobody.
"""

import matplotlib

matplotlib.use("agg", force=True)

import matplotlib.pyplot as plt
import numpy as np
import pytest

from clmt_lib.book import plotting


@pytest.fixture(autouse=True)
def clean():
    with matplotlib.rc_context():
        yield
    plt.close("all")


def test_a_response_graph_draws_measured_pairs_alike_and_then_by_sign():
    residual = np.array([[-1.0, 2.0, np.nan], [0.5, np.nan, -0.1]])
    similar = np.array([[0, 1], [0, 0]])
    axes = plotting.response_graphs(
        ["a", "b"], ["x", "y", "z"], residual, similar, np.zeros((3, 3))
    )
    plt.gcf().canvas.draw()
    for ax in axes:
        edges = [line for line in ax.lines if list(line.get_xdata()) == [0, 1]]
        assert (
            len(edges) == 4 and len([line for line in ax.lines if len(line.get_xdata()) == 30]) == 1
        )  # one arc
        assert [text.get_text() for text in ax.texts] == ["a", "b", "x", "y", "z"]
    looks = [
        {
            (line.get_color(), line.get_linestyle())
            for line in ax.lines
            if list(line.get_xdata()) == [0, 1]
        }
        for ax in axes
    ]
    assert len(looks[0]) == 1 and len(looks[1]) == 2
    widths = [line.get_linewidth() for line in axes[1].lines if list(line.get_xdata()) == [0, 1]]
    assert sorted(widths) == pytest.approx([0.56, 1.2, 2.0, 3.6])  # by the size of the residual


def test_agreement_marks_the_mean_of_each_graph():
    ax = plotting.agreement({"one": [0.0, 0.2], "two": [0.5, 0.7, 0.9]})
    means = [line.get_xdata()[0] for line in ax.lines if line.get_linewidth() == 3.5]
    assert means == pytest.approx([0.1, 0.7]) and [
        label.get_text() for label in ax.get_yticklabels()
    ] == ["one", "two"]
    assert sorted(len(line.get_xdata()) for line in ax.lines if line.get_marker() in "oD") == [2, 3]


def test_hearers_counts_those_who_hear_nobody():
    axes = plotting.hearers({"lines": np.array([3, 3, 3]), "drugs": np.array([0, 0, 9])}, 3)
    assert [ax.get_title() for ax in axes] == ["lines: 0 hear nobody", "drugs: 2 hear nobody"]
    assert [sum(bar.get_height() for bar in ax.patches) for ax in axes] == [3, 3]


def test_depth_begins_before_the_first_layer():
    axes = plotting.depth({"lines": [0, 0.5, 1]}, {"lines": [1, 0.4, 0.2]}, "title")
    assert [list(ax.lines[0].get_xdata()) for ax in axes] == [[0, 1, 2]] * 2 and list(
        axes[1].lines[0].get_ydata()
    ) == [1, 0.4, 0.2]


def test_copying_tells_train_from_valid_by_more_than_colour():
    ax = plotting.copying([1, 10], {"in": ([0, 0.1], [2, 1]), "out": ([0.5, 0.6], [1, 0.9])})
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--"] * 2 and len(
        {line.get_marker() for line in ax.lines}
    ) == 2
    assert [entry.get_text() for entry in ax.get_legend().get_texts()] == [
        "in: valid",
        "in: train",
        "out: valid",
        "out: train",
    ]
