"""The figures show what they are given: every partner, rank and fold, and where chance lies."""

from xml.etree import ElementTree

import matplotlib

matplotlib.use("agg", force=True)

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import tiny

from clmt_lib import data, models, records
from clmt_lib.book import plotting
from clmt_lib.data import load, make_split
from clmt_lib.data.response import transfer
from clmt_lib.models import stack
from clmt_lib.records.transfer import CEILING
from clmt_lib.tasks import metrics
from clmt_lib.views.geometry import flat_drawing


@pytest.fixture(autouse=True)
def clean():
    with matplotlib.rc_context():
        yield
    plt.close("all")


# --- Figures draw what they are given: every rung, every interval, hollow where folds are missi


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


def test_ladder_draws_a_second_measurement_as_a_dashed_line_and_makes_room_for_it():
    axes = plotting.ladder(frame(), reference={"pcc_per_drug": 0.85})
    dashed = [line for line in axes[1].lines if line.get_linestyle() == "--"]
    assert [line.get_xdata()[0] for line in dashed] == [0.85] and axes[1].get_xlim()[1] > 0.85
    assert not [line for line in axes[0].lines if line.get_linestyle() == "--"]


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


def test_printed_values_are_hollow_and_the_best_row_is_on_top():
    table = pd.DataFrame(
        {
            "table": ["a", "a", "b, error", "b, error"],
            "row": ["mine", "theirs", "mine", "theirs"],
            "value": [0.7, 0.8, 0.7, 0.8],
            "printed": [False, True, False, True],
        }
    )
    axes = plotting.beside_printed(table)
    tops = [ax.get_yticklabels()[0].get_text() for ax in axes]
    assert tops == ["theirs", "mine"]  # an error is better when it is small
    assert [line.get_markerfacecolor() == "none" for line in axes[0].lines] == [True, False]


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


# --- The figures of chapter 01 draw what they are given


def picture(ax):
    return np.ma.filled(ax.images[0].get_array().astype(float), np.nan)


def test_anatomy_shows_the_responses_and_leaves_holes_open():
    benchmark = tiny.benchmark()
    axes = plotting.anatomy(benchmark, lines=21, drugs=15, genes=6)
    assert np.array_equal(picture(axes[1, 1]), benchmark.matrix(), equal_nan=True)
    assert np.allclose(picture(axes[1, 0]), benchmark.omics["expression"])
    assert picture(axes[0, 1]).shape == (
        benchmark.drugs["pathway"].nunique(),
        benchmark.n_drugs,
    )  # a row a pathway


def test_anatomy_copes_with_fewer_entities_than_it_samples():
    assert picture(plotting.anatomy(tiny.benchmark(lines=9))[1, 1]).shape == (9, 15)


def test_an_ic50_is_marked_where_its_curve_crosses_one_half():
    ax = plotting.dose_response({"one": (0.5, 1.0), "two": (4.0, 2.0)}, highest=10)
    marks = [line for line in ax.lines if line.get_label().startswith(("one", "two"))]
    assert [line.get_xydata().tolist() for line in marks] == [[[0.5, 0.5]], [[4.0, 0.5]]]
    tested = [line for line in ax.lines if len(line.get_xdata()) == 7]
    assert len(tested) == 2 and all(
        np.isclose(line.get_xdata().max(), np.log(10)) for line in tested
    )


def test_shares_are_stacked_to_their_sum():
    frame = pd.DataFrame(
        {"drug": [0.6, 0.5], "cell": [0.1, 0.1], "rest": [0.3, np.nan], "noise": [np.nan, 0.4]},
        index=["a", "b"],
    )
    ax = plotting.shares(frame)
    ends = [
        max(
            bar.get_x() + bar.get_width()
            for bar in ax.patches
            if round(bar.get_y() + bar.get_height() / 2) == row
        )
        for row in (0, 1)
    ]
    assert np.allclose(ends, 1.0)
    assert {text.get_text() for text in ax.texts} == {"60%", "50%", "10%", "30%", "40%"}


@pytest.mark.parametrize("kind", ["mixed", "cell_blind", "drug_blind"])
def test_a_split_map_colours_every_pair_by_its_role(kind):
    benchmark = tiny.benchmark()
    split = make_split(benchmark, kind)
    ax = plotting.split_maps(
        benchmark, {kind: split}, drug_order=np.arange(benchmark.n_drugs)[::-1]
    )[0]
    shown = picture(ax)[:, ::-1]
    for code, positions in enumerate(split.sets().values()):
        assert (shown[tuple(benchmark.pairs[positions].T)] == code).all()
    assert np.isfinite(shown).sum() == len(benchmark)


def test_a_split_map_samples_a_large_benchmark():
    benchmark = tiny.benchmark()
    ax = plotting.split_maps(benchmark, {"mixed": make_split(benchmark, "mixed")}, most=5)[0]
    assert picture(ax).shape == (5, 5)


# --- The figures of chapter 02 draw every token, leave padding open, and name the common labels


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
        axes[0].figure.get_suptitle() == "facts: A\ntemplate: A drug."
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


# --- Drawings of chapter 03 show what they are given


def test_a_molecule_has_a_line_a_bond_and_a_disc_a_weight():
    drawing = flat_drawing("CC(N)=O")
    ax = plotting.molecule(drawing, weights=[0.5, -0.5, 0.0, 1.0])
    assert len(ax.lines) == 4  # two single bonds, and two lines for the double one
    blue, orange = (len(points.get_offsets()) for points in ax.collections)
    assert (blue, orange) == (2, 1) and [text.get_text() for text in ax.texts] == ["", "", "N", "O"]


def test_a_molecule_of_one_atom_can_be_drawn():
    assert not plotting.molecule(flat_drawing("C"), weights=[0.0], numbered=True).lines


def test_every_set_bit_and_every_strip_is_drawn():
    bits = np.zeros(128)
    bits[[3, 70]] = 1
    axes = plotting.attributes(
        flat_drawing("CCO"),
        bits,
        {"expression": [1, -2, 0.0], "copy_number": [0, 0, 0.0]},
        corner=(0, 1, 2),
    )
    assert axes[1].lines[0].get_xdata().tolist() == [3, 6] and axes[1].lines[
        0
    ].get_ydata().tolist() == [0, 1]
    assert len(axes) == 4 and axes[3].get_yticklabels()[0].get_text() == "copy number"


def test_fold_scores_show_every_fold_their_mean_and_chance_at_zero():
    ax = plotting.fold_scores(pd.DataFrame({"one": [0.1, 0.3], "two": [0.5, 0.5]}), (-0.2, 0.3))
    assert ax.lines[0].get_xdata()[0] == 0  # chance
    assert ax.lines[1].get_xdata().tolist() == [0.1, 0.3] and ax.lines[
        2
    ].get_xdata() == pytest.approx([0.2, 0.2])


def test_company_shows_every_batch():
    ax = plotting.company({"repaired": np.ones(5), "broken": np.arange(5.0)}, truth=0.5)
    assert (
        ax.lines[1].get_xdata().tolist() == [0, 1, 2, 3, 4]
        and len(np.unique(ax.lines[0].get_ydata())) == 5
    )


# --- The figures of chapter 04 draw every edge once, in the look of its sign, and count who hea


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


def test_hearers_counts_those_who_receive_from_none():
    axes = plotting.hearers({"lines": np.array([3, 3, 3]), "drugs": np.array([0, 0, 9])}, 3)
    assert [ax.get_title() for ax in axes] == [
        "lines: 0 receive from none",
        "drugs: 2 receive from none",
    ]
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


# --- The figures of chapter 05 show what they are given: every partner, every rank, every fold,


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


# --- The figures of chapter 14 draw what they are given, all of it


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


# --- The figures of chapter 09c show ties, gaps and what is not in; weights learnt in sample cost


def words_of(axes):
    return " ".join(text.get_text() for ax in np.ravel(axes) for text in ax.texts)


def test_a_plan_asks_every_inner_fold_once_and_scores_test_in_the_last_fit_only():
    ax = plotting.stack_plan(4)
    assert len(ax.patches) == 4 * 4 + 6 and [tick.get_text() for tick in ax.get_yticklabels()] == [
        "fit 1",
        "fit 2",
        "fit 3",
        "fit 4",
        "last fit",
    ]


def test_a_plan_never_asks_the_last_fit_about_training_pairs():
    from matplotlib.colors import to_rgb

    ax = plotting.stack_plan(3)
    last = [to_rgb(patch.get_facecolor()) for patch in ax.patches if patch.get_y() > 3]
    assert len(set(last[:3])) == 1 and len(set(last)) == 3
    assert [to_rgb(patch.get_facecolor()) for patch in ax.patches].count(last[0]) == 3 * 2 + 3


def test_a_tie_is_hollow_and_what_is_not_in_says_so():
    rows = [
        ("tgsa mixed", "learned_kernel", "clmt", "rmse", -0.1, -0.2, 0.1),
        ("tgsa mixed", "learned_kernel", "stack", "rmse", -0.1, -0.2, -0.05),
        ("gdsc2 mixed", "kernel_text", "stack", "rmse", np.nan, np.nan, np.nan),
    ]
    (ax,) = plotting.beside_kernel(
        pd.DataFrame(rows, columns=["where", "kernel", "model", "metric", "mean", "low", "high"]),
        metrics=("rmse",),
    )
    marks = [line for line in ax.lines if line.get_marker() in ("*", "X")]
    assert [mark.get_markerfacecolor() == "none" for mark in marks] == [True, False]
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == [
        "TGSA mixed: learned-kernel ridge",
        "CLMT",
        "stack",
        "GDSC2 mixed: kernel ridge (text)",
        "stack",
    ]
    assert words_of(ax).split() == ["not", "in", "yet"] and [
        line.get_ydata()[0] for line in ax.lines if line.get_marker() in "Do"
    ] == [0.0, 3.6]


def test_weights_and_inner_folds_are_drawn_and_an_empty_panel_says_so():
    axes = plotting.base_weights(
        {"a": pd.DataFrame({"plain": [0.2, 0.4], "text": [0.5, 0.5]}), "b": pd.DataFrame()}
    )
    assert np.allclose(
        [bar.get_width() for bar in axes[0].patches], [0.3, 0.5]
    ) and "no weights yet" in words_of(axes)
    table = np.array([[0.0, 1, -1], [np.nan, 1, 0]])
    shown = plotting.inner_fold_maps({"x": table})[0].images[0].get_array()
    assert np.ma.getmaskarray(shown)[1, 0] and shown[0].tolist() == [0, 1, -1]


@pytest.mark.parametrize("kind", ["cell_blind", "drug_blind"])
def test_weights_learnt_in_sample_go_to_the_closest_fit_and_cost_on_test(kind):
    world = data.load("simulated", cells=100)
    split, bases = (
        data.make_split(world, kind),
        {"cell_blind": stack.new_line_bases, "drug_blind": stack.new_drug_bases}[kind],
    )
    whole, honest = (
        bases(world, split, stack.drug_facts(world)),
        models.build("stack", inner=3).fit(world, split),
    )
    in_sample = stack.blend(
        [(whole, world.pairs[split.train], world.y[split.train])], centre=kind == "drug_blind"
    )

    def error(weights, role):
        cell, drug = world.pairs[role].T
        return metrics.rmse(
            world.y[role],
            (
                whole.offset
                + whole.spread * np.tensordot(weights, np.stack(list(whole.tables.values())), 1)
            )[cell, drug],
        )

    alone = [error(row, split.train) for row in np.eye(len(in_sample))]
    weights = honest.fitted["weights"]
    assert in_sample.argmax() == np.argmin(alone) != weights.argmax()
    assert (
        error(in_sample, split.train) < error(weights, split.train) - 0.05
        and error(in_sample, split.test) > error(weights, split.test) + 0.005
    )


# --- The figures of section 09d draw every kind of pair, the ceiling, and nothing for a record th


def scored(models=("cell_mean", "tissue_drug_mean", "clmt"), origins=("held_out", "natural")):
    rows = []
    for origin in origins:
        for kind in transfer.CATEGORIES:
            for place, name in enumerate((CEILING, *models) if origin == "held_out" else models):
                rows.append(
                    {
                        "category": kind,
                        "origin": origin,
                        "words": None,
                        "model": name,
                        "value": 0.1 * place,
                        "low": 0.1 * place - 0.05,
                        "high": 0.1 * place + 0.05,
                        "within": 0.5,
                        "folds": 2 if name == "clmt" else 4,
                    }
                )
    return pd.DataFrame(rows)


def test_the_ceiling_of_the_record_is_the_one_that_is_drawn():
    assert plotting.transfer.CEILING == CEILING  # two modules that may not import each other


def test_the_map_has_a_colour_for_each_kind_and_paler_ones_where_the_source_never_measured():
    joined = transfer.join(*transfer.invented_screens(load("simulated", cells=48)))
    ax = plotting.kinds_of_new(joined, fold=1)
    picture = ax.images[0].get_array()
    assert picture.shape == (joined.benchmark.n_cells, joined.benchmark.n_drugs, 4)
    seen = {tuple(np.round(colour, 2)) for colour in np.asarray(picture).reshape(-1, 4)}
    assert len(seen) >= 2 + 5 + 3  # nothing, trained on, five kinds, three of them natural, too
    assert len(ax.figure.legends[0].get_texts()) == 6


def test_every_model_stands_in_every_row_beside_the_ceiling_and_few_folds_are_hollow():
    axes = plotting.transfer_scores(
        {"one": scored(), "two": records.transfers("gdsc2", "nowhere", "nowhere")},
        ["cell_mean", "tissue_drug_mean", "clmt"],
    )
    plt.gcf().canvas.draw()
    marks = [line for line in axes[0].lines if line.get_marker() not in ("None", "", None)]
    assert (
        len(marks) == 3 * 5 and len(axes[0].collections) == 5 and len(axes[1].lines) == 1
    )  # the empty panel has its line at zero
    assert [text.get_text() for text in axes[1].texts] == ["not in yet"] and not axes[0].texts
    assert (
        len({(line.get_color(), line.get_marker()) for line in marks}) == 3
    )  # two of one family are told apart
    assert all(
        (line.get_markerfacecolor() == "none") == (line.get_marker() == "*") for line in marks
    )
    assert not plotting.transfer_scores({"one": scored()}, ["clmt"], origin="natural")[
        0
    ].collections  # no ceiling without a second measurement


def test_a_kind_of_pair_that_no_panel_has_gets_no_row():
    frame = scored()
    (ax,) = plotting.transfer_scores({"one": frame[frame["category"] != "seen"]}, ["clmt"])
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "new pair",
        "new line",
        "new drug",
        "new line\nand new drug",
    ]
    alone = frame[frame["model"] == "clmt"]
    plotting.transfer_scores({"one": alone}, ["clmt"])
    (legend,) = plt.gcf().legends
    assert [text.get_text() for text in legend.get_texts()] == ["CLMT"]  # no ceiling, no such line


def test_a_dumbbell_goes_from_home_to_away():
    axes = plotting.across_laboratories({"one": scored()}, "clmt")
    ends = [
        line.get_xdata().tolist()
        for line in axes[0].lines
        if len(line.get_xdata()) == 2 and line.get_linewidth() == 1.6
    ]
    assert len(ends) == 4 and all(end == pytest.approx([0.5, 0.3]) for end in ends)


def test_passes_are_a_line_a_run_and_nothing_where_nothing_was_run():
    ax = plotting.passes({"a": [(2, 1.4), (4, 1.2)], "b": []})
    assert [line.get_xydata().tolist() for line in ax.lines] == [[[2, 1.4], [4, 1.2]], []]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    assert not plotting.passes({}).lines


def test_a_run_of_fine_tuning_is_a_line_and_its_arm_stands_once_in_the_legend():
    runs = {"mse": [(20, 1.4), (40, 1.3)], "soft": [(20, 1.5), (40, 1.4), (20, 1.7), (40, 1.6)]}
    rows = [("cell_blind", arm, *look) for arm, looks in runs.items() for look in looks]
    axes = plotting.fine_tuning(pd.DataFrame(rows, columns=["split", "arm", "step", "valid"]))
    assert [ax.get_title() for ax in axes] == ["cell-blind"]
    assert [line.get_ydata().tolist() for line in axes[0].lines] == [
        *([1.4, 1.3], [1.5, 1.4], [1.7, 1.6])
    ]
    said = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert said == ["squared error", "soft targets"]


def test_facts_frame_the_same_drugs_as_the_sentence_and_structure_another():
    drawn = ElementTree.fromstring(plotting.who_is_told_what())
    frames = [box for box in drawn.iter() if box.get("class") == "line"]
    rows = {}
    for box in frames:
        rows.setdefault(box.get("y"), []).append(float(box.get("x")))
    structure, facts, words = (sorted(found) for found in rows.values())
    assert facts == words and len(facts) == 3 and len(structure) == 2
    assert set(structure) & set(facts) == {max(facts)}  # of all known drugs, none: the new one
    width = float(drawn.get("viewBox").split()[2])
    assert all(0 <= float(node.get("x", 0)) < width for node in drawn.iter())


# --- Names that would be formulas, or would steer a terminal


def test_the_end_of_a_line_in_a_title_is_one():
    assert plotting.plain("a\nb$\x1b") == "a\nb\\$\\x1b"


@pytest.mark.parametrize("name", [r"$\bad{$", "a$b", "$x$", "<b>", "\x1b[31m", "100 %", "é"])
def test_whatever_a_drug_is_called_its_figures_can_be_drawn(name, tmp_path):
    measured = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 2.5])
    drug = np.array([name] * 3 + ["other"] * 3)
    ax = plotting.by_drug(measured, measured[::-1], drug, title=name)
    ax.figure.savefig(tmp_path / "x.png")
    plotting.molecule(flat_drawing("CCO"), title=name).figure.savefig(tmp_path / "y.png")
    plotting.text_map(np.eye(2), [name, "other"]).figure.savefig(tmp_path / "z.png")
    assert all((tmp_path / f"{one}.png").stat().st_size > 1000 for one in "xyz")
    assert not set(ax.get_title()) & set("\x1b")
