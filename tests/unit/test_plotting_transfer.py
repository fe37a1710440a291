"""The figures of section 09d draw every kind of pair, the ceiling, and nothing for a record that is
not there.
"""

import matplotlib

matplotlib.use("agg", force=True)

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from clmt_lib import records
from clmt_lib.book import plotting
from clmt_lib.data import load
from clmt_lib.data.response import transfer
from clmt_lib.records.transfer import CEILING


@pytest.fixture(autouse=True)
def clean():
    with matplotlib.rc_context():
        yield
    plt.close("all")


def frame(models=("cell_mean", "tissue_drug_mean", "clmt"), origins=("held_out", "natural")):
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
        {"one": frame(), "two": records.transfers("gdsc2", "nowhere", "nowhere")},
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
    assert not plotting.transfer_scores({"one": frame()}, ["clmt"], origin="natural")[
        0
    ].collections  # no ceiling without a second measurement


def test_a_dumbbell_goes_from_home_to_away():
    axes = plotting.across_laboratories({"one": frame()}, "clmt")
    ends = [
        line.get_xdata().tolist()
        for line in axes[0].lines
        if len(line.get_xdata()) == 2 and line.get_linewidth() == 1.6
    ]
    assert len(ends) == 4 and all(end == pytest.approx([0.5, 0.3]) for end in ends)
