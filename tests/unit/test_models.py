"""The ladder: fast paths against plain ones, one interface for all, every model better than chance
where it should be.
"""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tiny
from sklearn.kernel_ridge import KernelRidge as Reference

from clmt_lib import data, models
from clmt_lib.audit import proves_blind
from clmt_lib.data.response import simulated
from clmt_lib.data.response.auxiliary import highest_concentration
from clmt_lib.io import DataError
from clmt_lib.models import kernels, registry
from clmt_lib.models.baselines import linear
from clmt_lib.models.baselines.factors import factorise
from clmt_lib.models.kernels import drug_kernels, same_entity
from clmt_lib.tasks import score
from clmt_lib.tasks.metrics import rmse
from clmt_lib.views.molecules import fingerprints
from clmt_lib.views.omics import fit_omics

QUICK = {"random_forest": {"trees": 20}, "lightgbm": {"trees": 40}}
SMALL = {"steps": 60, "hidden": 64, "dim": 32, "message": 32}
QUICK["cldr"] = {"updates": 60, "tower": 64, "hidden": 64, "dim": 32}
QUICK |= dict.fromkeys(("clmt", "clmt_unaligned", "clmt_soft", "clmt_response", "clmt_long"), SMALL)
QUICK |= dict.fromkeys(
    ("umme", "acmo", "deep_dta", "graph_dta"),
    {"steps": 60, "hidden": 32, "dim": 16, "learning_rate": 0.01},
)
QUICK |= dict.fromkeys(
    ("clmt_kernel", "stack_clmt", "stack_auxiliary_clmt"), {"settings": {"clmt": SMALL}}
)
for part in ("stack", "stack_auxiliary"):
    QUICK[f"{part}_clmt"] = {"settings": {"clmt": SMALL, part: {"inner": 2}}}
QUICK |= dict.fromkeys(
    ("clmt_published", "clmt_repaired"),
    {"epochs": 6, "batch": 512, "width": 16, "learning_rate": 5e-3},
)


SHORT = {"interaction_lightgbm": {"trees": 40}}  # as exact as when they are long
SHORT |= dict.fromkeys(("stack", "stack_auxiliary", "stack_masked"), {"inner": 2})
SHORT |= dict.fromkeys(("interaction_stack", "kiba_stack"), {"inner": 2, "tree_counts": (20, 40)})


@pytest.fixture(scope="module")
def world():
    names = list(dict.fromkeys(simulated.facts()["name"]))[:60]
    benchmark = data.load("simulated", cells=96, drugs=names)
    return benchmark, {
        kind: data.make_split(benchmark, kind) for kind in ("mixed", "cell_blind", "drug_blind")
    }


@pytest.mark.parametrize("name", models.names())
def test_fit_predict_state(world, name, monkeypatch):
    tiny.few_trees(monkeypatch, 60)
    benchmark, splits = world
    split = splits["mixed"]
    model = models.build(name, **{**QUICK, **SHORT}.get(name, {})).fit(benchmark, split)
    predicted = model.predict(benchmark.pairs[split.test])
    assert predicted.shape == split.test.shape and np.isfinite(predicted).all()
    order = np.random.default_rng(0).permutation(len(split.test))
    if name != "clmt_published":  # where a batch matters, on purpose
        assert np.allclose(
            model.predict(benchmark.pairs[split.test][order]),
            predicted[order],
            rtol=0,
            atol=0 if name not in QUICK else 1e-5,
        )  # a pair does not see its batch
    assert all(isinstance(value, np.ndarray) for value in model.state().values()) and model.state()
    if name not in ("global_mean", "cell_mean", "row_mean"):
        constant = np.full(len(split.test), benchmark.y[split.train].mean())
        assert rmse(benchmark.y[split.test], predicted) < 0.75 * rmse(
            benchmark.y[split.test], constant
        )


def test_kernel_ridge_equals_the_explicit_pair_matrix():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(6, 6)), rng.normal(size=(4, 4))
    k_cell, k_drug, y = a @ a.T, b @ b.T, rng.normal(size=(6, 4))
    seen = rng.random((6, 4)) < 0.7
    cell, drug = np.nonzero(seen)
    k = k_cell[np.ix_(cell, cell)] * k_drug[np.ix_(drug, drug)]
    exact = np.linalg.solve(k + 0.5 * np.eye(len(k)), y[seen])
    assert np.allclose(kernels.solve_pairs(k_cell, k_drug, y, seen, 0.5)[seen], exact, atol=1e-6)


def test_kernel_ridge_is_the_same_whatever_the_order_of_its_sums():
    """As on other processors, and with more threads, where the last bits are others."""
    rng = np.random.default_rng(2)
    k_row, k_column = (np.exp(-kernels.squared_distances(x, x) / 8) + 0.5 * np.eye(len(x))
                       for x in (rng.normal(size=(90, 4)), rng.normal(size=(40, 4))))  # fmt: skip
    y, seen = rng.normal(size=(90, 40)), rng.random((90, 40)) < 0.6

    def predicted(rows, columns, **how):
        k_r, k_c = k_row[np.ix_(rows, rows)], k_column[np.ix_(columns, columns)]
        some = np.ix_(rows, columns)
        found = np.empty(y.shape)
        found[some] = k_r @ kernels.solve_pairs(k_r, k_c, y[some], seen[some], 0.1, **how) @ k_c
        return found

    here = predicted(np.arange(90), np.arange(40))
    for _ in range(3):
        there = predicted(rng.permutation(90), rng.permutation(40))
        assert np.abs(here - there).max() < 1e-6
    exact = predicted(np.arange(90), np.arange(40), tolerance=1e-12)
    assert np.abs(here - exact).max() < 1e-6
    rough = predicted(np.arange(90), np.arange(40), tolerance=kernels.ROUGH)
    assert np.abs(rough - exact).max() > 1e-6  # what such a test would notice


def test_kernel_ridge_that_does_not_converge_says_so(monkeypatch):
    monkeypatch.setattr(kernels, "MOST_STEPS", 2)
    rng = np.random.default_rng(0)
    a = rng.normal(size=(30, 30))
    with pytest.raises(ArithmeticError, match="raise the ridge"):
        kernels.solve_pairs(a @ a.T, a @ a.T, a, rng.random((30, 30)) < 0.5, 1e-6)


def test_pair_ridge_equals_scikit_learn(world):
    from sklearn.linear_model import Ridge

    benchmark, splits = world
    split = splits["mixed"]
    model = linear.PairRidge(ridges=(50.0,)).fit(benchmark, split)
    x = np.hstack(
        [
            fit_omics(benchmark, split)(benchmark)[benchmark.pairs[:, 0]],
            fingerprints(benchmark.drugs)[benchmark.pairs[:, 1]],
        ]
    )
    x -= x[split.train].mean(0) * np.r_[np.zeros(x.shape[1] - 2048), np.ones(2048)]
    y = benchmark.y[split.train]
    plain = Ridge(50.0, fit_intercept=False).fit(x[split.train], y - y.mean())
    assert np.allclose(
        model.predict(benchmark.pairs[split.test]),
        y.mean() + plain.predict(x[split.test]),
        atol=1e-5,
    )


def test_factorise_recovers_a_low_rank_matrix():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(50, 2)) @ rng.normal(size=(2, 40))
    seen = rng.random(truth.shape) < 0.6
    u, v = factorise(truth, seen, rank=2, ridge=1e-3)
    assert rmse(truth[~seen], (u @ v.T)[~seen]) < 0.05


def test_text_is_worth_more_than_fingerprints_where_the_world_says_so(world):
    benchmark, splits = world
    found = {
        name: score(
            benchmark,
            splits["drug_blind"],
            models.build(name)
            .fit(benchmark, splits["drug_blind"])
            .predict(benchmark.pairs[splits["drug_blind"].test]),
        )["pcc_per_drug"]
        for name in ("cell_mean", "kernel_annotation")
    }
    assert found["kernel_annotation"] > found["cell_mean"]


def test_unknown_names_and_settings_say_what_there_is():
    with pytest.raises(DataError, match="use one of.*learned_kernel"):
        models.build("deep_magic")
    with pytest.raises(DataError, match="no setting 'rank'.*by"):
        models.build("drug_mean", rank=3)


class Shift(models.Model):
    """The mean of the training responses plus a setting, as a stranger would write it."""

    def __init__(self, shift: float = 0.0):
        self.shift = shift

    def fit(self, benchmark, split):
        self.mean = benchmark.y[split.train].mean()
        return self

    def predict(self, pairs, benchmark=None):
        return np.full(len(pairs), self.mean + self.shift)


@pytest.fixture
def registered():
    """The registry as it was, whatever a test adds to it."""
    before = dict(registry._ENTRIES)
    yield
    registry._ENTRIES.clear()
    registry._ENTRIES.update(before)


def test_a_strangers_model_joins_by_decorator(world, registered):
    models.register("shifted", settings={"shift": 2}, display_name="mean, shifted")(Shift)
    assert models.names()[-1] == "shifted" and models.display_name("shifted") == "mean, shifted"
    assert models.family("shifted") == "other" and models.resolve("shifted") == {"shift": 2.0}
    benchmark, splits = world
    model = models.build("shifted", shift=-1.0).fit(benchmark, splits["mixed"])
    assert model.predict(benchmark.pairs[:3]) == pytest.approx(
        benchmark.y[splits["mixed"].train].mean() - 1
    )
    models.register("shifted", display_name="again")(Shift)  # a cell of a notebook, run twice
    with pytest.raises(DataError, match="a model 'als' already"):
        models.register("als")(Shift)
    with pytest.raises(DataError, match="one word"):
        models.register("my model")(Shift)


def test_a_strangers_model_is_found_by_its_place(tmp_path, monkeypatch):
    (tmp_path / "their_model.py").write_text(
        "from clmt_lib.models import Model\n"
        "class Zero(Model):\n"
        "    def fit(self, benchmark, split): return self\n"
        "    def predict(self, pairs, benchmark=None): return [0.0] * len(pairs)\n"
        "class Half(Model):\n"
        "    def fit(self, benchmark, split): return self\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    assert models.build("their_model:Zero").predict([[0, 0]]) == [0.0]
    assert models.resolve("their_model:Zero", kind="cell_blind") == {}
    assert models.display_name("their_model:Zero") == "Zero"
    with pytest.raises(DataError, match=r"Half\) has no predict.*derive it from"):
        models.build("their_model:Half")
    with pytest.raises(DataError, match="no class 'Nothing'"):
        models.build("their_model:Nothing")
    with pytest.raises(DataError, match="no module 'nowhere'"):
        models.build("nowhere:Nothing")
    with pytest.raises(DataError, match="no model.*derive it from"):
        models.build("pathlib:Path")


@pytest.mark.parametrize(
    "wrong, says",
    [
        (lambda pairs: None, "None"),
        (lambda pairs: np.zeros((len(pairs), 1)), r"shape \(5, 1\)"),
        (lambda pairs: np.full(len(pairs), np.nan), "5 values that are not finite"),
        (lambda pairs: ["a"] * len(pairs), "not numbers"),
    ],
)
def test_a_wrong_return_is_named(world, wrong, says):
    model = Shift().fit(world[0], world[1]["mixed"])
    model.predict = wrong
    with pytest.raises(DataError, match=f"predict of Shift returned.*{says}.*each of the 5 pairs"):
        models.predicted(model, world[0].pairs[:5])


def test_a_fit_that_returns_nothing_is_named(world):
    model = Shift()
    model.fit = lambda benchmark, split: None
    with pytest.raises(DataError, match="fit of Shift returned NoneType.*return self"):
        models.fitted(model, world[0], world[1]["mixed"])


@pytest.mark.parametrize("name", models.names())
def test_resolved_settings_are_all_of_them_and_make_the_same_model(name):
    resolved = models.resolve(name)
    assert set(resolved) == models.model_class(name).known_settings()
    assert json.loads(json.dumps(resolved, allow_nan=False)) == resolved
    assert models.build(name, **resolved).resolved() == resolved


def test_settings_come_in_order_default_entry_kind_override():
    assert models.resolve("clmt_long")["steps"] == 500 and models.resolve("clmt")["steps"] == 300
    blind = models.resolve("clmt", kind="drug_blind")
    assert (blind["hide_drugs"], blind["drop"], blind["weight_decay"]) == (0.5, 0.5, 0.1)
    assert models.resolve("clmt", {"hide_drugs": 0.1}, "drug_blind")["hide_drugs"] == 0.1
    assert models.resolve("clmt", kind="mixed") == models.resolve("clmt")
    own = {"settings": {"clmt": {"members": 3}}}
    parts = models.resolve("stack_clmt", own, "cell_blind")["settings"]
    assert parts["clmt"] == models.resolve("clmt", {"members": 3}, "cell_blind")
    assert parts["stack"] == models.resolve("stack")


def test_a_setting_without_a_finite_value_is_refused():
    with pytest.raises(DataError, match="setting ridges is nan"):
        models.resolve("als", {"ridges": [1.0, float("nan")]})
    assert models.resolve("kernel_text", {"ridges": [1e-7]})["ridges"] == [1e-7]


def test_the_registry_is_light():
    """Naming models costs no torch and no scikit-learn."""
    code = "import sys; from clmt_lib import models; [models.family(n) for n in models.names()]; "
    code += "print([m for m in ('torch', 'sklearn', 'rdkit') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- What can be done with every model: fitted again on training and validation set, and given the
# level of a new drug


@pytest.fixture(scope="module")
def protocol_world():
    names = list(dict.fromkeys(simulated.facts()["name"]))[:40]
    protocol_world = data.load("simulated", cells=40, drugs=names)
    drugs = protocol_world.drugs.assign(
        max_concentration_um=10.0 ** (np.arange(protocol_world.n_drugs) % 3 - 1)
    )
    return protocol_world.with_frames(drug=drugs)


ONE = {  # name -> chosen settings as the only ones that are tried
    "als": lambda c: {"ranks": (c["rank"],), "ridges": (c["ridge"],)},
    "kernel_fingerprint": lambda c: {"ridges": (c["ridge"],), "same": (c["same"],)},
    "learned_kernel": lambda c: {"ridges": (c["ridge"],)},
    "ridge_per_drug": lambda c: {"ridges": (c["ridge"],)},
    "target_states": lambda c: {"ridges": (c["ridge"],), "states": (c["states"],)},
    "drugs_targets": lambda c: {"ridges": (c["ridge"],)},
    "lightgbm": lambda c: {"grid": ({k: v for k, v in c.items() if k != "base"},)},
    "drug_mean": lambda c: {},
}
PROTOCOL_SMALL = {"lightgbm": {"trees": 10}}


@pytest.mark.parametrize("name", ONE)
def test_a_refit_is_a_fit_on_both_sets_with_what_was_chosen(protocol_world, name, monkeypatch):
    """The same as fitting a model that has nothing left to choose on both sets together."""
    monkeypatch.setattr(kernels, "TOLERANCE", 1e-10)  # started elsewhere, a solver stops elsewhere
    split = data.make_split(protocol_world, "cell_blind" if name == "lightgbm" else "drug_blind")
    small = PROTOCOL_SMALL.get(name, {})
    first = models.build(name, **small).fit(protocol_world, split)
    found = models.build(f"{name}_refit", settings=small).fit(protocol_world, split)
    assert dict(found.chosen) == dict(first.chosen)
    if name == "lightgbm":
        small = {**small, "grid": ONE[name](first.chosen)["grid"]}
        reference = models.build(name, **small)
        bases = iter(("drug", "effects"))
        reference.chosen = dict(first.chosen)
        assert next(bases) in ("drug", "effects")
        reference.fit(protocol_world, split.with_validation())
    else:
        reference = models.build(name, **{**small, **ONE[name](first.chosen)})
        reference.fit(protocol_world, split.with_validation())
    pairs = protocol_world.pairs[split.test]
    assert np.allclose(found.predict(pairs), reference.predict(pairs), atol=1e-6)
    if name != "drug_mean":
        assert not np.allclose(found.predict(pairs), first.predict(pairs), atol=1e-6)


def test_a_network_and_a_blend_are_fitted_again_and_keep_what_was_chosen(protocol_world):
    split = data.make_split(protocol_world, "cell_blind")
    clmt = models.build("clmt_refit", settings={"steps": 3, "hidden": 16, "members": 1})
    clmt.device = "cpu"
    clmt.fit(protocol_world, split)
    assert set(clmt.chosen) == {"best_valid"} and "valid" not in clmt.history[-1]
    parts = {"parts": ("kernel_omics", "effects")}
    first = models.build("clmt_kernel", **parts).fit(protocol_world, split)
    blend = models.build("clmt_kernel_refit", settings=parts).fit(protocol_world, split)
    share = first.chosen["share"]
    assert blend.chosen == first.chosen
    pairs = protocol_world.pairs[split.test]
    one, other = (
        models.build(f"{n}_refit").fit(protocol_world, split).predict(pairs) for n in parts["parts"]
    )
    assert np.allclose(blend.predict(pairs), share * one + (1 - share) * other)


@pytest.mark.parametrize(
    "name", ["kernel_text_refit", "kernel_text_level", "kernel_text_dose_refit"]
)
def test_neither_reads_the_test_set(protocol_world, name):
    report = proves_blind(
        lambda benchmark, split: models.build(name).fit(benchmark, split).state(),
        protocol_world,
        data.make_split(protocol_world, "drug_blind"),
        at_once=True,
    )
    assert report.clean, str(report)


@pytest.mark.parametrize("dose", [False, True])
def test_a_level_is_a_kernel_ridge_on_drug_means_and_moves_new_drugs_alone(protocol_world, dose):
    """scikit-learn's ridge, and the ranking of the lines as it was."""
    split = data.make_split(protocol_world, "drug_blind")
    plain = models.build("kernel_text").fit(protocol_world, split)
    model = models.build("kernel_text_dose" if dose else "kernel_text_level").fit(
        protocol_world, split
    )
    y = protocol_world.matrix(split.train)
    known = np.flatnonzero(np.isfinite(y).any(0))
    new = np.setdiff1d(np.arange(protocol_world.n_drugs), known)
    means = np.array([np.nanmean(y[:, drug]) for drug in known])
    parts = [
        drug_kernels(protocol_world, "text")[1][1],
        drug_kernels(protocol_world, "fingerprint")[0][1],
    ]
    if dose:
        parts += [
            drug_kernels(protocol_world, name)[0][1] for name in ("text", "targets", "pathway")
        ]
        parts = [*parts, np.zeros_like(parts[0])]  # an invented world has no steps
    kernel = 0.3 + 2 / len(parts) * sum(parts) + 0.5 * same_entity(protocol_world, 1)
    if dose:
        log = np.log(protocol_world.drugs["max_concentration_um"].to_numpy())
        z = (log - log[known].mean()) / log[known].std()
        kernel = kernel + np.exp(-0.5 * (z[:, None] - z) ** 2) + 0.5 * np.outer(z, z)
    reference = Reference(alpha=model.ridge, kernel="precomputed")
    reference.fit(kernel[np.ix_(known, known)], means - means.mean())
    level = means.mean() + reference.predict(kernel[new][:, known])
    lines = np.flatnonzero(np.isfinite(y).any(1))
    assert np.allclose(model.table[np.ix_(lines, new)].mean(0), level)
    moved = model.table - plain.table
    assert np.allclose(moved[:, known], 0) and np.ptp(moved[:, new], axis=0).max() < 1e-12


def test_the_error_of_levels_is_that_of_leaving_each_compound_out(protocol_world):
    split = data.make_split(protocol_world, "drug_blind")
    model = models.build("cell_mean_level").fit(protocol_world, split)
    y = protocol_world.matrix(split.train)
    known = np.flatnonzero(np.isfinite(y).any(0))
    means = np.array([np.nanmean(y[:, drug]) for drug in known])
    rest, compound = means - means.mean(), protocol_world.drugs["compound"].to_numpy()[known]
    kernel = model._kernel(protocol_world, known)[np.ix_(known, known)]
    errors = []
    for i, own in enumerate(compound):
        others = np.flatnonzero(compound != own)
        among = kernel[np.ix_(others, others)] + model.ridge * np.eye(len(others))
        errors.append(rest[i] - kernel[i, others] @ np.linalg.solve(among, rest[others]))
    assert model.chosen["level"]["press"] == pytest.approx(
        np.sqrt(np.mean(np.square(errors))), abs=1e-5
    )


@pytest.mark.parametrize("name", ["target_states_level", "kernel_text_dose_refit"])
def test_they_come_back_from_disk_and_know_new_drugs(protocol_world, tmp_path, name):
    """A drug under another id is a new one: it is told the same, before and after the disk."""
    split = data.make_split(protocol_world, "drug_blind")
    model = models.build(name).fit(protocol_world, split)
    pairs = protocol_world.pairs[split.test]
    side, held = protocol_world.sides[1], np.unique(pairs[:, 1])
    ids = [f"new {label}" if i in held else label for i, label in enumerate(side.ids)]
    other = protocol_world.with_sides(
        replace(side, frame=side.frame.set_axis(pd.Index(ids, name="drug")))
    )
    found = model.predict(pairs, other)
    assert np.abs(found - model.predict(pairs)).max() < 1e-6
    again = models.load(model.save(tmp_path / "model"))
    assert np.array_equal(again.predict(pairs, other), found)
    assert np.array_equal(again.predict(pairs), model.predict(pairs))


def test_names_settings_and_what_a_reader_sees():
    assert models.display_name("als_level_refit") == "factorisation (ALS), with level, refitted"
    assert models.family("als_refit") == models.family("als")
    assert models.resolve("als_refit") == {
        "of": "als",
        "settings": models.resolve("als"),
        "version_of": 1,
    }
    assert models.resolve("clmt_refit", {}, "cell_blind")["settings"] == models.resolve(
        "clmt", {}, "cell_blind"
    )
    assert models.resolve("als_dose")["dose"] is True
    with pytest.raises(DataError, match="unknown model 'nothing_refit'"):
        models.build("nothing_refit")


def test_a_model_that_does_not_say_so_is_not_fitted_again(protocol_world):
    class Mine(models.Model):
        def fit(self, benchmark, split):
            return self

        def predict(self, pairs, benchmark=None):
            return np.zeros(len(pairs))

    split = data.make_split(protocol_world, "mixed")
    with pytest.raises(DataError, match="Mine cannot be fitted again"):
        Mine().fit(protocol_world, split).fit_again(protocol_world, split)


def test_concentrations_are_a_view_that_only_a_model_sees(protocol_world):
    told = highest_concentration(protocol_world)
    assert np.allclose(
        np.exp(told.sides[1].views["dose"].to_numpy()[:, 0]),
        protocol_world.drugs["max_concentration_um"],
    )
    assert "dose" not in protocol_world.sides[1].views and highest_concentration(told) is told
    plain = protocol_world.with_frames(
        drug=protocol_world.drugs.drop(columns="max_concentration_um")
    )
    with pytest.raises(DataError, match="not known for simulated"):
        highest_concentration(plain)
