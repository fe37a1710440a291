"""The figures of chapter 02 draw every token, leave padding open, and name the common labels."""

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


def test_pooling_shows_each_token_and_the_mean():
    vectors = np.random.default_rng(0).normal(size=(4, 10))
    vectors[3] = np.nan  # padding
    axes = plotting.pooling(
        ["facts: A", "template: A drug."],
        ["[CLS]", "a", "[SEP]", "[PAD]"],
        vectors,
        vectors[:3].mean(0),
        dims=6,
    )
    plt.gcf().canvas.draw()
    assert [label.get_text() for label in axes[0].get_yticklabels()] == [
        "[CLS]",
        "a",
        "[SEP]",
        "[PAD]",
    ]
    drawn, mean = (ax.images[0].get_array() for ax in axes)
    assert (
        drawn.shape == (4, 6)
        and drawn.mask[3].all()
        and not drawn.mask[:3].any()
        and np.allclose(mean, vectors[:3, :6].mean(0))
    )
    assert (
        axes[0].get_title(loc="left") == "facts: A\ntemplate: A drug."
        and "6 of 10" in axes[1].get_xlabel()
    )


def test_a_text_map_names_the_common_labels_and_draws_the_rest_grey():
    label = ["a_b"] * 4 + ["c"] * 3 + ["d"] + ["e"]
    ax = plotting.text_map(np.arange(18.0).reshape(9, 2), label, "title", most=2)
    assert [entry.get_text() for entry in ax.get_legend().get_texts()] == ["a b", "c"]
    assert [len(line.get_xdata()) for line in ax.lines] == [2, 4, 3] and ax.lines[
        0
    ].get_color() == plotting.GREY
    assert len({line.get_marker() for line in ax.lines}) == 3 and ax.get_title() == "title"


def test_text_lengths_draw_every_text_and_state_the_share_beyond_the_limit():
    lengths = {
        "tokens": {"short": [5, 9, 256], "long": [200, 300, 400, 500]},
        "characters": {"short": [20, 30, 40], "long": [900, 700, 800, 801]},
    }
    axes = plotting.text_lengths(
        lengths, {"tokens": (256, "cut"), "characters": (800, "read from")}
    )
    plt.gcf().canvas.draw()
    assert [[note.get_text() for note in ax.texts] for ax in axes] == [
        ["0%", "75%", "beyond"],
        ["0%", "50%", "beyond"],
    ]
    assert [sum(len(line.get_xdata()) for line in ax.lines[:-1]) for ax in axes] == [7, 7]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["short", "long"] and axes[
        1
    ].get_title() == "dashed, 800: read from"
