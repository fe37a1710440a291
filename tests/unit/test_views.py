"""Views: made once an entity, fitted on training entities alone, and masks for what is missing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import benchmark as tiny

from clmt_lib import data
from clmt_lib.audit import audit, proves_blind
from clmt_lib.io import DataError
from clmt_lib.models.network import taken
from clmt_lib.views import base
from clmt_lib.views.molecules import fingerprints, membership
from clmt_lib.views.omics import fit_omics
from clmt_lib.views.text import describe_cells, describe_drugs, encode


@pytest.fixture(scope="module")
def world():
    return tiny()


@pytest.fixture(scope="module")
def split(world):
    return data.make_split(world, "cell_blind")


def only(world, split, side, recipe):
    return base.fit_views(world, split, {side: {"it": recipe}})[side]["it"]


def test_tables_are_standardised_and_ranged_over_training_lines_alone(world, split):
    rows = np.unique(world.pairs[split.train, 0])
    x = world.omics["expression"].to_numpy(np.float64)
    view = only(world, split, "cell", base.Standardised("expression"))
    assert np.allclose(view.values[rows].mean(0), 0) and np.allclose(view.values[rows].std(0), 1)
    assert np.array_equal(view.values, fit_omics(world, split)(world))
    assert np.array_equal(view.fitted_on, rows) and len(rows) < len(x)
    ranged = only(world, split, "cell", base.Ranged("expression", most=4))
    assert ranged.values.shape == (len(x), 4)
    assert ranged.values[rows].min() == 0 and ranged.values[rows].max() == 1
    kept = x[:, ranged.recipe.kept]
    low, high = kept[rows].min(0), kept[rows].max(0)
    assert np.allclose(ranged.values, (kept - low) / (high - low))
    everyone = only(world, split, "cell", base.Ranged("expression", everyone=True))
    assert everyone.values.min() == 0 and everyone.values.max() == 1
    raw = only(world, split, "cell", base.Raw("mutation", scale=2.0))
    assert np.array_equal(raw.values, world.omics["mutation"]) and not len(raw.fitted_on)
    assert torch.equal(raw.tensor(), 2 * torch.tensor(world.omics["mutation"].to_numpy()))


def test_what_is_made_of_a_drug_is_what_the_functions_make_and_masks_say_who_has_it(world, split):
    drugs = world.drugs.copy()
    drugs.loc[drugs.index[3], ["target", "pathway"]] = None
    world = world.with_frames(drug=drugs)
    bits = only(world, split, "drug", base.Fingerprint(radius=3, bits=512))
    assert np.array_equal(bits.values, fingerprints(drugs, 3, 512))
    assert np.array_equal(bits.present, drugs["smiles"].notna()) and not bits.present.all()
    table = only(world, split, "drug", base.Annotation())
    both = np.hstack([membership(drugs["target"]), membership(drugs["pathway"])])
    assert np.array_equal(table.values, both)
    text = only(world, split, "drug", base.Text())
    assert np.array_equal(text.values, encode(describe_drugs(drugs)))
    for view in (table, text):
        assert np.flatnonzero(~view.present).tolist() == [3]
    graphs = only(world, split, "drug", base.Molecules())
    assert np.array_equal(graphs.values.known, graphs.present) and graphs.tensor().n == len(drugs)
    control = only(world, split, "drug", base.Text("one_hot"))
    assert control.present.all() and (control.values.sum(1) == 1).all()


def test_the_two_text_defects_of_the_authors_code(world, split):
    said = describe_cells(world.cells)
    tail = only(world, split, "cell", base.Text(skip=10))
    assert np.array_equal(tail.values, encode([text[10:] for text in said]))
    gone = only(world, split, "cell", base.Text(skip=800))
    assert not gone.present.any() and not gone.values.any()
    counted = only(world, split, "cell", base.Text(skip=800, empty_counts=True))
    assert counted.present.all() and len(np.unique(counted.values, axis=0)) == 1


def test_an_audit_reads_what_shaped_a_view(world, split):
    good = {
        "cell": {"expression": base.Standardised("expression"), "mutation": base.Raw("mutation")},
        "drug": {"fingerprint": base.Fingerprint()},
    }
    views = base.fit_views(world, split, good)
    assert [view.entity for view in views.fitted()] == ["cell"]
    found = audit(world, split, transforms=views.fitted()).findings
    assert not any(finding.kind == "fitted beyond train" for finding in found)
    bad = base.fit_views(world, split, {"cell": {"it": base.Ranged("expression", everyone=True)}})
    assert any(
        finding.kind == "fitted beyond train"
        for finding in audit(world, split, transforms=bad.fitted()).findings
    )


def test_views_of_training_lines_know_nothing_of_test_lines(world, split):
    rows = np.unique(world.pairs[split.train, 0])

    def made(benchmark, split):
        recipe = base.Standardised("expression")
        return only(benchmark, split, "cell", recipe).values[rows]

    assert proves_blind(made, world, split).clean


def test_new_entities_go_through_the_fitted_recipes_by_name_of_feature(world, split):
    recipes = {
        "expression": base.Standardised("expression"),
        "ranged": base.Ranged("expression", most=3),
        "mutation": base.Raw("mutation"),
    }
    fitted = base.fit_views(world, split, {"cell": recipes})
    some = np.array([5, 2, 11])
    turned = {name: table.iloc[:, ::-1] for name, table in world.omics.items()}
    new = base.make_views(
        taken(world.with_views(cell=turned).side("cell"), some), fitted.recipes["cell"]
    )
    for name, view in new.items():
        assert np.array_equal(view.values, fitted["cell"][name].values[some])
    few = {name: table.iloc[:, 1:] for name, table in world.omics.items()}
    with pytest.raises(DataError, match=r"lacks 'TP53' \(and 0 more\)"):
        base.make_views(world.with_views(cell=few).side("cell"), fitted.recipes["cell"])
    names = base.fit_views(world, split, {"drug": {"it": base.Annotation(("target",))}})
    stranger = world.drugs.assign(target="TARGET 1, never heard of")
    made = base.make_views(world.with_frames(drug=stranger).side("drug"), names.recipes["drug"])
    assert (made["it"].values.sum(1) == 1).all() and made["it"].values.shape[1] == 12
    with pytest.raises(DataError, match="no 'methylation'.*expression"):
        only(world, split, "cell", base.Raw("methylation"))
    with pytest.raises(DataError, match="no side 'protein'"):
        only(world, split, "protein", base.Raw("sequence"))


def test_entities_that_are_taken_keep_what_is_known_of_them(world):
    side = world.side("cell")
    there = np.arange(len(side)) % 3 > 0
    some = taken(replace(side, present={"expression": there}), np.array([4, 3, 0]))
    assert some.has("expression").tolist() == [True, False, False]
    assert some.has("mutation").all() and some.ids.tolist() == side.ids[[4, 3, 0]].tolist()
    assert np.array_equal(some.views["mutation"], side.views["mutation"].iloc[[4, 3, 0]])
    assert some.keys["tissue"].tolist() == side.keys["tissue"][[4, 3, 0]].tolist()
    _, present = base.Raw("expression").make(some)
    assert present.tolist() == [True, False, False]
