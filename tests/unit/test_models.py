"""The ladder: fast paths against plain ones, one interface for all, every model better than chance
where it should be.
"""

import numpy as np
import pytest

from clmt_lib import data, models
from clmt_lib.data.response import simulated
from clmt_lib.io import DataError
from clmt_lib.models import kernels
from clmt_lib.models.baselines import linear
from clmt_lib.models.baselines.factors import factorise
from clmt_lib.tasks.metrics import evaluate, rmse
from clmt_lib.views.molecules import fingerprints
from clmt_lib.views.omics import fit_omics

QUICK = {"random_forest": {"trees": 20}, "lightgbm": {"trees": 40}}
QUICK |= dict.fromkeys(
    ("clmt", "clmt_unaligned", "clmt_soft", "clmt_response"),
    {"steps": 60, "hidden": 64, "dim": 32, "message": 32},
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
    if name not in ("global_mean", "cell_mean"):
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
        name: evaluate(
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
