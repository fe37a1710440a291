"""The ladder: fast paths against plain ones, one interface for all, every model better than chance
where it should be.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

from clmt_lib import data, models
from clmt_lib.data.response import simulated
from clmt_lib.io import DataError
from clmt_lib.models import kernels, registry
from clmt_lib.models.baselines import linear
from clmt_lib.models.baselines.factors import factorise
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
QUICK |= dict.fromkeys(
    ("clmt_published", "clmt_repaired"),
    {"epochs": 10, "batch": 512, "width": 16, "learning_rate": 5e-3},
)


@pytest.fixture(scope="module")
def world():
    names = list(dict.fromkeys(simulated.facts()["name"]))[:60]
    benchmark = data.load("simulated", cells=96, drugs=names)
    return benchmark, {
        kind: data.make_split(benchmark, kind) for kind in ("mixed", "cell_blind", "drug_blind")
    }


@pytest.mark.parametrize("name", models.names())
def test_fit_predict_state(world, name):
    benchmark, splits = world
    split = splits["mixed"]
    model = models.build(name, **QUICK.get(name, {})).fit(benchmark, split)
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
    assert np.allclose(kernels.solve_pairs(k_cell, k_drug, y, seen, 0.5)[seen], exact, atol=1e-4)


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
