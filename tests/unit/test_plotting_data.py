"""The figures of chapter 01 draw what they are given."""

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import tiny

from clmt_lib.book import plotting
from clmt_lib.data import make_split


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


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
