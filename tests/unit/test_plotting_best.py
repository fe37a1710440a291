"""The figures of chapter 09c show ties, gaps and what is not in; weights learnt in sample cost."""

import matplotlib

matplotlib.use("agg", force=True)

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from clmt_lib import data, models
from clmt_lib.book import plotting
from clmt_lib.models import stack
from clmt_lib.tasks import metrics


@pytest.fixture(autouse=True)
def clean():
    yield
    plt.close("all")


def texts(axes):
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
        "tgsa mixed: learned-kernel ridge",
        "CLMT",
        "stack",
        "gdsc2 mixed: kernel ridge (text)",
        "stack",
    ]
    assert texts(ax).split() == ["not", "in", "yet"] and [
        line.get_ydata()[0] for line in ax.lines if line.get_marker() in "Do"
    ] == [0.0, 3.6]


def test_weights_and_inner_folds_are_drawn_and_an_empty_panel_says_so():
    axes = plotting.base_weights(
        {"a": pd.DataFrame({"plain": [0.2, 0.4], "text": [0.5, 0.5]}), "b": pd.DataFrame()}
    )
    assert np.allclose(
        [bar.get_width() for bar in axes[0].patches], [0.3, 0.5]
    ) and "no weights yet" in texts(axes)
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
