"""A fitted model on disk and off it, and entities that were not there when it was fitted."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clmt_lib import data, models
from clmt_lib.data.response import simulated
from clmt_lib.data.splits import Split
from clmt_lib.io import DataError
from clmt_lib.models import kernels, stack
from clmt_lib.models.saving import ARRAYS, FACTS

CONTROLS = ("drugs_random", "drugs_shuffled")  # vectors dealt to the drugs of one benchmark
# kernels read off responses: a new entity has none (test_kernel_head asks about the heads that do)
LEARNED = ("learned_kernel", "kernel_head")
NETWORKS = tuple(name for name in models.names() if models.family(name) == "network")
OF_NETWORKS = ("clmt_kernel", "stack_clmt", "stack_auxiliary_clmt")
# pairs of proteins and drugs: entities that were not there at fit are refused
INTERACTION = tuple(name for name in models.names() if name.startswith(("interaction_", "kiba_")))
HERE = [name for name in models.names() if name not in (*NETWORKS, *OF_NETWORKS, *INTERACTION)]
QUICK = {"random_forest": {"trees": 10}, "lightgbm": {"trees": 10}}
QUICK |= {"als": {"ranks": (5, 10), "ridges": (5.0,)}, "ridge": {"ridges": (100.0, 1000.0)}}
QUICK |= dict.fromkeys(("stack", "stack_auxiliary", "stack_masked"), {"inner": 2, "boost": False})
BLEND = {"parts": ["kernel_omics", "effects"]}


def built(name):
    return models.build(name, **(BLEND if name == "clmt_kernel" else QUICK.get(name, {})))


@pytest.fixture(scope="module")
def world():
    names = list(dict.fromkeys(simulated.facts()["name"]))[:40]
    return data.load("simulated", cells=60, drugs=names)


def without_test(benchmark, split):
    """The benchmark without the entities that only the test set has, and the split of the rest."""
    kept = np.sort(np.concatenate([split.train, split.valid]))
    some = [np.unique(column) for column in benchmark.pairs[kept].T]
    sides = [
        replace(
            side,
            frame=side.frame.iloc[rows],
            views={name: view.iloc[rows] for name, view in side.views.items()},
            keys=side.keys.rules,
        )
        for side, rows in zip(benchmark.sides, some, strict=True)
    ]
    pairs = np.column_stack(
        [
            np.searchsorted(r, column)
            for r, column in zip(some, benchmark.pairs[kept].T, strict=True)
        ]
    )
    small = replace(
        benchmark,
        sides=tuple(sides),
        pairs=pairs,
        y=benchmark.y[kept],
        censored=benchmark.censored[kept],
    )
    train, valid = (np.searchsorted(kept, part) for part in (split.train, split.valid))
    nothing = np.zeros(0, dtype=np.int64)
    return small, Split(split.kind, train, valid, nothing, 0, 0, 1, small.name, small.checksum)


@pytest.fixture(scope="module")
def without(world):
    cuts = {kind: data.make_split(world, kind) for kind in ("cell_blind", "drug_blind")}
    return {kind: (split, *without_test(world, split)) for kind, split in cuts.items()}


@pytest.mark.parametrize("kind", ["cell_blind", "drug_blind"])
@pytest.mark.parametrize(
    "name", [name for name in HERE if name not in (*CONTROLS, *LEARNED)] + ["clmt_kernel"]
)
def test_new_entities_are_predicted_as_if_they_had_been_there(
    world, without, tmp_path, monkeypatch, name, kind
):
    """Fitted without the held-out entities and asked about them, a model says what it says when
    they were there without a value; and so it does when it comes back from disk, to the last bit.
    """
    # a solver that stops early stops one step later, or earlier, for a last bit
    for room, goal in ((kernels, "TOLERANCE"), (stack, "ROUGH")):
        monkeypatch.setattr(room, goal, 1e-12)
    split, small, smaller = without[kind]
    asked = world.pairs[split.test]
    wanted = built(name).fit(world, split).predict(asked)
    model = built(name).fit(small, smaller)
    for room in (kernels, stack):  # what was fitted is used: nothing is solved again
        monkeypatch.setattr(room, "solve_pairs", None)
    found = models.predicted(model, asked, world)
    assert np.abs(found - wanted).max() < 1e-8
    model.save(tmp_path / "model")
    again = type(model).load(tmp_path / "model")
    assert np.array_equal(again.predict(asked, world), found)
    assert np.array_equal(again.predict(small.pairs), model.predict(small.pairs))
    assert again.resolved() == model.resolved() and dict(again.chosen) == dict(model.chosen)
    assert {key: value.tobytes() for key, value in again.state().items()} == {
        key: value.tobytes() for key, value in model.state().items()
    }


@pytest.mark.parametrize("name", ["interaction_features", "interaction_lightgbm"])
def test_models_of_interactions_refuse_new_entities_and_find_known_ones(world, without, name):
    split, small, smaller = without["cell_blind"]
    model = built(name).fit(small, smaller)
    with pytest.raises(DataError, match="not there at fit"):
        model.predict(world.pairs[split.test], world)
    places = np.array([[world.sides[i].ids.get_loc(small.sides[i].ids[0]) for i in (0, 1)]])
    assert model.predict(places, world) == model.predict(np.zeros((1, 2), dtype=int))


@pytest.mark.parametrize("name", ["effects", "ridge", "lightgbm", "kernel_omics", "als"])
def test_known_pairs_of_another_benchmark_are_found_by_id(world, without, name):
    split, small, smaller = without["cell_blind"]
    model = built(name).fit(small, smaller)
    rows = small.sides[0].ids.get_indexer(world.sides[0].ids)
    columns = small.sides[1].ids.get_indexer(world.sides[1].ids)
    known = (rows[world.pairs[:, 0]] >= 0) & (columns[world.pairs[:, 1]] >= 0)
    pairs = world.pairs[known]
    own = np.column_stack([rows[pairs[:, 0]], columns[pairs[:, 1]]])
    assert np.array_equal(model.predict(pairs, world), model.predict(own))


def test_a_model_of_responses_alone_gives_a_new_entity_the_additive_effect(world, without):
    split, small, smaller = without["cell_blind"]
    asked = world.pairs[split.test]
    effects = models.build("effects").fit(small, smaller)
    for name in ("als", "learned_kernel"):
        found = built(name).fit(small, smaller).predict(asked, world)
        assert np.allclose(found, effects.predict(asked, world), atol=1e-12)


@pytest.mark.parametrize("name", [*CONTROLS, "stack"])
def test_who_cannot_know_a_new_entity_says_so(world, without, name):
    split, small, smaller = without["drug_blind"]
    cut = data.make_split(small, "mixed") if name == "stack" else smaller
    model = built(name).fit(small, cut)
    with pytest.raises(DataError, match="dealt to the drugs|known lines and known drugs"):
        model.predict(world.pairs[split.test], world)


def test_a_blend_of_tables_has_no_parts_to_ask(world, without):
    split, small, smaller = without["cell_blind"]
    tables = [np.zeros(small.shape), np.ones(small.shape)]
    model = models.build("clmt_kernel").fit(small, smaller, tables=tables)
    with pytest.raises(DataError, match="fit it without tables"):
        model.predict(world.pairs[split.test], world)


def test_a_new_line_needs_its_omics(world, without):
    split, small, smaller = without["cell_blind"]
    line = replace(
        world.sides[0],
        frame=world.sides[0].frame.iloc[:1].set_axis(["new line"]),
        views={"mutation": world.omics["mutation"].iloc[:1]},
        keys={"tissue": "tissue"},
    )
    one = {"pairs": np.array([[0, 0]]), "y": np.zeros(1), "censored": np.zeros(1, dtype=bool)}
    other = replace(world, sides=(line, world.sides[1]), **one)
    with pytest.raises(DataError, match="'new line' is new and has no expression"):
        built("kernel_text").fit(small, smaller).predict(other.pairs, other)
    with pytest.raises(DataError, match="no omics 'expression'"):
        built("ridge").fit(small, smaller).predict(other.pairs, other)
    genes = world.omics["expression"].iloc[:1, 3:]
    other = other.with_views(cell={**line.views, "expression": genes})
    with pytest.raises(DataError, match="expression lacks 3 of the"):
        built("kernel_text").fit(small, smaller).predict(other.pairs, other)
    shuffled = world.omics["expression"].iloc[:1].sample(frac=1, axis=1, random_state=0)
    for name in ("kernel_text", "ridge"):  # genes are found by name
        model = built(name).fit(small, smaller)
        given, turned = (
            other.with_views(cell={**line.views, "expression": table})
            for table in (world.omics["expression"].iloc[:1], shuffled)
        )
        assert np.array_equal(model.predict([[0, 0]], given), model.predict([[0, 0]], turned))


def test_other_sides_are_refused(world, without):
    _, small, smaller = without["cell_blind"]
    other = replace(
        world, sides=(replace(world.sides[0], name="protein", identity=""), world.sides[1])
    )
    with pytest.raises(DataError, match="has proteins and drugs, the model knows cells and drugs"):
        built("effects").fit(small, smaller).predict(world.pairs[:1], other)


@pytest.fixture(scope="module")
def saved(without, tmp_path_factory):
    _, small, smaller = without["cell_blind"]
    folder = tmp_path_factory.mktemp("saved") / "als"
    return models.build("als", ranks=(2,)).fit(small, smaller).save(folder)


def copied(saved, folder):
    folder.mkdir()
    for path in saved.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def flip(path, at=-9):
    body = bytearray(path.read_bytes())
    body[at] ^= 1
    path.write_bytes(bytes(body))


@pytest.mark.parametrize(
    "damage, says",
    [
        (lambda folder: flip(folder / ARRAYS), f"{ARRAYS} was changed"),
        (lambda folder: (folder / ARRAYS).write_bytes(b""), f"{ARRAYS} was changed"),
        (lambda folder: (folder / ARRAYS).unlink(), "not a saved model"),
        (lambda folder: (folder / FACTS).unlink(), "not a saved model"),
        (lambda folder: (folder / FACTS).write_text("{"), "not a saved model"),
        (lambda folder: (folder / FACTS).write_text("[1]"), "not a saved model"),
        (
            lambda folder: (folder / FACTS).write_text(
                (folder / FACTS).read_text().replace('"rank": 2', '"rank": 3')
            ),
            f"{FACTS} was changed",
        ),
    ],
)
def test_a_damaged_folder_is_refused(saved, tmp_path, damage, says):
    folder = copied(saved, tmp_path / "broken")
    damage(folder)
    with pytest.raises(DataError, match=f"broken.*{says}"):
        models.load(folder)


def test_a_folder_of_another_model_or_version_is_refused(saved, tmp_path, monkeypatch):
    als = models.model_class("als")
    with pytest.raises(DataError, match="holds a ALS, not a Means"):
        models.model_class("drug_mean").load(saved)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something else"):
        als.load(saved).save(tmp_path / "other")
    with pytest.raises(DataError, match="not a saved model"):
        models.load(tmp_path / "other")
    monkeypatch.setattr(als, "version", 7)
    with pytest.raises(DataError, match="saved by version 1, this is version 7"):
        als.load(saved)


def test_nothing_that_a_folder_names_is_executed(saved, tmp_path):
    """A folder may name any class: it is made only if it is a model."""
    from clmt_lib.models.saving import _checksum

    folder = copied(saved, tmp_path / "named")
    facts = json.loads((folder / FACTS).read_text())
    facts["class"] = "pathlib:Path"
    facts["checksum"] = _checksum({key: facts[key] for key in facts if key != "checksum"})
    (folder / FACTS).write_text(json.dumps(facts))
    with pytest.raises(DataError, match="holds a Path"):
        models.load(folder)


class Keeper(models.Model):
    """Keeps whatever it is given."""

    def fit(self, benchmark, split):
        return self

    def predict(self, pairs, benchmark=None):
        return np.zeros(len(pairs))


def test_attributes_come_back_as_they_were(tmp_path):
    model = Keeper()
    model.a = np.arange(6, dtype=np.int32).reshape(2, 3)
    model.turned, model.empty = np.asfortranarray(model.a.astype(float)), np.zeros((0, 3))
    model.shared = {"same": model.a, "deep": [1, (2.5, None, True), float("inf")]}
    model.frame = pd.DataFrame({"x": [1.5, np.nan], "t": ["a", "b"]}, index=["r", "s"])
    model.index, model.words = pd.Index(["é", "b"]), np.array(["u", None], dtype=object)
    model.inner = Keeper()
    model.inner.b = np.float64(0.1)
    again = Keeper.load(model.save(tmp_path / "kept"))
    assert np.array_equal(again.a, model.a) and again.a.dtype == np.int32
    assert again.turned.flags.f_contiguous and np.array_equal(again.turned, model.turned)
    assert again.empty.shape == (0, 3) and again.shared["deep"] == model.shared["deep"]
    assert np.array_equal(again.shared["same"], model.a)
    assert again.frame["x"].equals(model.frame["x"]) and again.frame["t"].tolist() == ["a", "b"]
    assert list(again.index) == ["é", "b"] and list(again.words) == ["u", None]
    assert isinstance(again.inner, Keeper) and again.inner.b == 0.1
    model.strange = object()
    with pytest.raises(DataError, match="strange is a object, which cannot be saved"):
        model.save(tmp_path / "strange")
    assert not (tmp_path / "strange").exists()
