"""Metrics against scipy and scikit-learn."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import mean_absolute_error, r2_score

from clmt_lib import data, tasks
from clmt_lib.tasks import metrics

rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def world():
    benchmark = data.load("simulated", cells=60)
    return benchmark, data.make_split(benchmark, "mixed")


def test_correlations_equal_scipy():
    y, p = rng.normal(size=50), rng.integers(0, 5, 50).astype(float)
    assert metrics.pearson(y, p) == pytest.approx(stats.pearsonr(y, p)[0], abs=1e-12)
    assert metrics.spearman(y, p) == pytest.approx(stats.spearmanr(y, p)[0], abs=1e-12)
    assert metrics.pearson(y, np.ones(50)) == 0.0


def test_evaluate_equals_scikit_learn(world):
    benchmark, split = world
    y = benchmark.y[split.test]
    p = y + rng.normal(size=len(y))
    found = tasks.score(benchmark, split, p)
    assert found["mae"] == pytest.approx(mean_absolute_error(y, p))
    assert found["r2"] == pytest.approx(r2_score(y, p))
    drugs = benchmark.pairs[split.test, 1]
    each = [
        stats.pearsonr(y[drugs == d], p[drugs == d])[0]
        for d in np.unique(drugs)
        if (drugs == d).sum() >= metrics.FEWEST
    ]
    assert found["pcc_per_drug"] == pytest.approx(np.mean(each))


def test_effects_alone_are_zero_after_normalising(world):
    benchmark, split = world
    mean, cell, drug = metrics.additive_effects(benchmark, split.train)
    pairs = benchmark.pairs[split.test]
    found = tasks.score(benchmark, split, mean + cell[pairs[:, 0]] + drug[pairs[:, 1]])
    assert found["r2_normalised"] == pytest.approx(0, abs=1e-12)


def test_effects_minimise_the_ridge_objective(world):
    benchmark, split = world
    pairs, y = benchmark.pairs[split.train], benchmark.y[split.train]
    x = np.zeros((len(y), benchmark.n_cells + benchmark.n_drugs))
    x[np.arange(len(y)), pairs[:, 0]] = 1
    x[np.arange(len(y)), benchmark.n_cells + pairs[:, 1]] = 1
    exact = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ (y - y.mean()))
    _, cell, drug = metrics.additive_effects(benchmark, split.train)
    assert np.abs(x @ (np.concatenate([cell, drug]) - exact)).max() < 1e-3


@pytest.mark.filterwarnings("error")
def test_without_shrinkage_an_entity_without_pairs_still_has_effect_zero(world):
    benchmark, split = world
    pairs = benchmark.pairs[split.train]
    kept = split.train[(pairs[:, 0] != 0) & (pairs[:, 1] != 0)]
    _, cell, drug = metrics.additive_effects(benchmark, kept, shrink=0)
    assert (
        cell[0] == drug[0] == 0
        and np.isfinite(cell).all()
        and np.isfinite(drug).all()
        and cell.any()
        and drug.any()
    )


def test_predictions_that_are_not_finite_are_refused(world):
    benchmark, split = world
    with pytest.raises(ValueError, match="not finite"):
        tasks.score(benchmark, split, np.full(len(split.test), np.nan))
