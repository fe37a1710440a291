"""Drawings of chapter 03 show what they are given."""

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from clmt_lib.book import plotting
from clmt_lib.views.geometry import flat_drawing


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


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
