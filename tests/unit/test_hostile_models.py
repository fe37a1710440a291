"""Benchmarks that are awkward but true: a drug with one response, a one-atom drug, no structure, no
text, a gene without spread. Both presets go through.
"""

import numpy as np
import pandas as pd
import pytest

from clmt_lib import data, models
from clmt_lib.data import DrugResponse
from clmt_lib.data.grouping import group_compounds

SIZES = {
    "clmt": {"steps": 5, "hidden": 16, "dim": 8, "message": 8},
    "clmt_repaired": {"width": 8, "epochs": 1, "batch": 128},
}
SIZES["clmt_published"] = SIZES["clmt_repaired"]


@pytest.fixture(scope="module")
def awkward():
    world = data.load(
        "simulated",
        cells=36,
        drugs=list(dict.fromkeys(data.load("simulated", cells=24).drugs["name"]))[:12],
    )
    drugs, cells = world.drugs.copy(), world.cells
    first, second, third, fourth = drugs.index[:4]
    drugs.loc[first, "smiles"] = None  # nothing is known of its structure
    drugs.loc[second, "smiles"] = "[Li+]"  # one atom, no bond
    drugs.loc[third, ["target", "pathway"]] = None  # nothing to write a sentence about
    drugs["compound"] = group_compounds(drugs.drop(columns="compound"))
    expression = world.omics["expression"].copy()
    expression.iloc[:, 0] = 1.0  # a gene without spread
    expression = expression.rename(
        columns={expression.columns[1]: "LOC1"}
    )  # a gene that is in no pathway
    pairs = pd.DataFrame(
        {
            "cell": cells.index[world.pairs[:, 0]],
            "drug": drugs.index[world.pairs[:, 1]],
            "ln_ic50": world.y,
        }
    )
    once = pairs[pairs["drug"] == fourth].index[1:]
    omics = {**world.omics, "expression": expression}
    return DrugResponse.from_tables(
        "awkward", cells, drugs, omics, pairs.drop(index=once).reset_index(drop=True)
    )


@pytest.mark.parametrize("kind", ["mixed", "cell_blind", "drug_blind"])
@pytest.mark.parametrize("name", SIZES)
def test_awkward_entities_get_finite_predictions(awkward, name, kind):
    split = data.make_split(awkward, kind)
    model = models.build(name, **SIZES[name]).fit(awkward, split)
    for cell, drug in ((0, 0), (1, 1), (2, 2), (3, 3)):
        assert np.isfinite(model.predict(np.array([[cell, drug]]))).all()
    assert np.isfinite(model.predict(awkward.pairs)).all()
    assert all(
        np.isfinite(value).all() or key == "threshold"
        for key, value in model.state().items()
        if value.dtype.kind == "f"
    )


@pytest.mark.parametrize("source", ["long", "mechanism"])
def test_missing_texts_are_missing_and_not_guessed(awkward, source):
    model = models.build("clmt_repaired", drug_text=source, **SIZES["clmt_repaired"]).fit(
        awkward, data.make_split(awkward, "mixed")
    )
    told = model.inputs.has_text_drug.numpy()
    assert np.array_equal(told, model.inputs.text_drug.any(1).numpy())
    assert 0 < told.sum() <= awkward.n_drugs
