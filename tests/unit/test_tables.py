"""Tables of a page: what a reader sees is what the records hold, in other words."""

import numpy as np
import pandas as pd
import pytest

from clmt_lib.book.tables import HARD, readable
from clmt_lib.book.words import PROBES, WORDS, reader_word


@pytest.mark.parametrize(
    "name, said",
    [
        ("gdsc2", "GDSC2"),
        ("ccle-act_area", "CCLE, activity area"),
        ("summary-gdsc2-cell_blind", "summary-GDSC2-cell-blind"),
        ("kernel_text", "kernel ridge (text)"),
        ("text", "text"),  # a view, or a model: an ambiguous name stays as it is
        ("back_top1_interval", "to the molecule, top 1, interval"),
        ("defect: untrained_heads", "defect: untrained heads"),
        ("random pairs, one fold", "random pairs, one fold"),
        ("als, kernel_text", "als; kernel ridge (text)"),
    ],
)
def test_a_name_is_said_as_a_reader_knows_it(name, said):
    assert reader_word(name) == said


def test_a_page_has_words_of_its_own_before_those_of_all():
    assert reader_word("both") == "both" and reader_word("both", PROBES) == "counts + descriptors"
    assert reader_word("mse", {"mse": "squared error"}) == "squared error" != WORDS["mse"]


def test_values_stay_and_gaps_say_nothing():
    table = pd.DataFrame(
        {
            "rmse": [1.23456, np.nan],
            "folds": [5, 3],
            "gain": [[0.1, 0.02], [0.3, None]],
            "gain_interval": [[-1.0, 0.5], None],
            "model": ["kernel_text", None],
        },
        index=pd.Index(["cell_blind", "mixed"], name="split"),
    )
    before = table.copy(deep=True)
    said = readable(table, 2)
    assert said["RMSE"].tolist() == ["1.23", ""] and said["folds"].tolist() == [5, 3]
    assert said["gain"].tolist() == [f"0.10{HARD}±{HARD}0.02", "0.30"]
    assert said["gain interval"].tolist() == [f"[-1.00,{HARD}0.50]", ""]
    assert said["model"].tolist() == ["kernel ridge (text)", ""]
    assert said.index.tolist() == ["cell-blind", "mixed"] and said.index.name == "split"
    pd.testing.assert_frame_equal(table, before)


def test_counts_have_no_decimals_and_zero_has_no_sign():
    said = readable(pd.DataFrame({"worlds": [5.0, 12.0], "gap": [-0.0001, 1.0]}))
    assert said["worlds"].tolist() == [5, 12] and said["worlds"].dtype == int
    assert str(said["gap"][0]) == "0.0"
    assert readable(pd.DataFrame({"gap": [-0.0001, None]}))["gap"].tolist() == ["0.000", ""]


def test_every_level_of_rows_and_columns_is_read():
    rows = pd.MultiIndex.from_tuples([("gdsc2", 0), ("tgsa", 1)], names=["dataset", "fold"])
    columns = pd.MultiIndex.from_product([["cell_blind"], ["rmse", "folds_better"]])
    said = readable(pd.DataFrame([[1.0, 2], [3.0, 4]], rows, columns))
    assert said.columns.tolist() == [("cell-blind", "RMSE"), ("cell-blind", "folds better")]
    assert said.index.tolist() == [("GDSC2", 0), ("TGSA", 1)]
    assert said.to_numpy().tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_model_is_said_by_its_name_where_the_column_says_so():
    said = readable(pd.DataFrame({"model": ["als", "both"], "what": ["als", "both"]}), words=PROBES)
    assert said["model"].tolist() == ["factorisation (ALS)", "counts + descriptors"]
    assert said["what"].tolist() == ["als", "counts + descriptors"]
    rows = pd.MultiIndex.from_tuples([("mixed", "als")], names=["split", "model"])
    assert readable(pd.DataFrame({"a": [1]}, rows)).index[0] == ("mixed", "factorisation (ALS)")


def test_two_columns_of_one_name_stay_two():
    said = readable(pd.DataFrame([[1, 2]], columns=["test_all", "test_all"]))
    assert said.columns.tolist() == ["test, all assays"] * 2 and said.iloc[0].tolist() == [1, 2]
