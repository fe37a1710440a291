"""What models compute, against small independent references and identities: explicit pair matrices,
scikit-learn drug by drug, bases that have learnt the training pairs by heart.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import ElasticNet, Ridge

from clmt_lib import data, models
from clmt_lib.io import DataError
from clmt_lib.models import kernels, stack
from clmt_lib.models.baselines.linear import per_drug_targets
from clmt_lib.tasks.metrics import additive_effects
from clmt_lib.views.molecules import fingerprints, jaccard
from clmt_lib.views.omics import average_platforms, binary, fit_omics, train_cells
from clmt_lib.views.text import describe_drugs, encode


@pytest.fixture(scope="module")
def world():
    """Few lines and drugs, so that a matrix over all pairs is small."""
    return data.load("simulated", cells=24)


def length_one(z):
    """Rows of length 1."""
    return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)


def row_kernel(benchmark, split):
    """K_row from expression, written out: 0.3 + RBF with the median distance + 0.5 [same line]."""
    x = benchmark.omics["expression"].to_numpy(float)
    rows = train_cells(benchmark, split)
    z = (x - x[rows].mean(0)) / np.where(x[rows].std(0) > 1e-8, x[rows].std(0), 1.0)
    return 0.3 + kernels.rbf(z, rows) + 0.5 * np.eye(len(x))


def column_kernel(benchmark, name, same):
    """K_column of a registered model, written out."""
    z = length_one(encode(describe_drugs(benchmark.drugs)).astype(float))
    compound = benchmark.drugs["compound"].to_numpy()
    k = {
        "kernel_identity": lambda: np.zeros((len(z), len(z))),
        "kernel_fingerprint": lambda: jaccard(fingerprints(benchmark.drugs)),
        "kernel_text": lambda: np.exp(5.0 * (z @ z.T - 1)),
    }[name]()
    return 0.3 + k + same * (compound[:, None] == compound[None])


@pytest.mark.parametrize("kind", ["mixed", "cell_blind", "drug_blind"])
@pytest.mark.parametrize("name", ["kernel_identity", "kernel_fingerprint", "kernel_text"])
def test_a_kernel_ridge_predicts_with_the_kernel_that_it_fitted(world, name, kind, monkeypatch):
    """Equal to solving the system over all pairs, with each kernel written out from its formula."""
    monkeypatch.setitem(kernels.TEXTS, "text", ("annotation", (5.0,), False))
    split = data.make_split(world, kind)
    model = models.build(name, ridges=(0.7,), same=(0.4,)).fit(world, split)
    k_row, k_column = row_kernel(world, split), column_kernel(world, name, 0.4)
    mean, _, drug = additive_effects(world, split.train)
    row, column = world.pairs[split.train].T
    system = k_row[np.ix_(row, row)] * k_column[np.ix_(column, column)] + 0.7 * np.eye(len(row))
    weights = np.linalg.solve(system, world.y[split.train] - mean - drug[column])
    asked_row, asked_column = world.pairs[split.test].T
    cross = k_row[np.ix_(asked_row, row)] * k_column[np.ix_(asked_column, column)]
    expected = mean + drug[asked_column] + cross @ weights
    assert np.allclose(model.predict(world.pairs[split.test]), expected, atol=2e-3)
    assert np.std(cross @ weights) > 0.05  # the kernels say something here


def per_drug(benchmark, split, regression):
    """[C, D] predictions of one scikit-learn regression a drug, on what is standardised."""
    x = fit_omics(benchmark, split)(benchmark)
    target, offset, spread, general = per_drug_targets(benchmark, split)
    table = np.empty(target.shape)
    for d in range(target.shape[1]):
        values = target[:, d] if np.isfinite(target[:, d]).any() else general
        seen = np.isfinite(values)
        table[:, d] = regression().fit(x[seen], values[seen]).predict(x)
    return offset + spread * table


@pytest.mark.parametrize("kind", ["mixed", "drug_blind"])
def test_elastic_nets_equal_scikit_learn_drug_by_drug(world, kind):
    """With the intercept that scikit-learn finds: each drug has lines of its own, and their genes
    do not have mean zero.
    """
    split = data.make_split(world, kind)
    model = models.build("elastic_net_per_drug", alphas=(0.15,)).fit(world, split)
    plain = per_drug(world, split, lambda: ElasticNet(0.15, l1_ratio=0.5, tol=1e-6, max_iter=5000))
    cell, drug = world.pairs.T
    found = model.predict(world.pairs)
    assert np.allclose(found, plain[cell, drug], atol=0.03)  # the library stops at 1e-3
    seen = split.train  # an intercept leaves errors with mean zero, drug by drug
    for d in np.unique(drug[seen]):
        rows = seen[drug[seen] == d]
        assert abs((world.y[rows] - found[rows]).mean()) < 1e-6


class CentredRidge(Ridge):
    """A ridge around the drug's mean; genes keep the scale of all training lines."""

    def fit(self, x, y):
        self.level = y.mean()
        return super().fit(x, y - self.level)

    def predict(self, x):
        return self.level + super().predict(x)


@pytest.mark.parametrize("kind", ["mixed", "drug_blind"])
def test_ridges_equal_scikit_learn_drug_by_drug(world, kind):
    split = data.make_split(world, kind)
    model = models.build("ridge_per_drug", ridges=(40.0,)).fit(world, split)
    plain = per_drug(world, split, lambda: CentredRidge(40.0, fit_intercept=False))
    cell, drug = world.pairs.T
    assert np.allclose(model.predict(world.pairs), plain[cell, drug], atol=1e-6)


def test_a_table_of_events_is_standardised_on_training_lines_and_rare_ones_are_left_out():
    """Three training lines are enough; the deviation is raised by 0.05."""
    table = np.zeros((10, 3))
    table[:3, 0] = table[:2, 1] = table[:6, 2] = 1
    rows = np.arange(8)
    out = binary(pd.DataFrame(table), rows)
    assert np.all(out[:, 1] == 0)
    for column, share in ((0, 3 / 8), (2, 6 / 8)):
        spread = np.sqrt(share * (1 - share)) + 0.05
        assert np.allclose(out[:, column], (table[:, column] - share) / spread)


def test_a_second_platform_may_have_a_scale_of_its_own():
    rng = np.random.default_rng(0)
    z, second, genes = rng.normal(size=(20, 3)), rng.normal(size=(20, 3)), list("abc")
    means = [
        average_platforms(z, genes, pd.DataFrame(values, columns=genes), np.arange(12))
        for values in (second, 7 * second + 3)
    ]
    standard = (second - second[:12].mean(0)) / second[:12].std(0)
    assert np.allclose(means[0], (z + standard) / 2) and np.allclose(means[0], means[1])


@pytest.mark.parametrize("wrong", [{"fold": -1}, {"fold": 99}, {"seed": -1}, {"seed": -2}])
def test_a_fold_or_a_seed_that_does_not_exist_is_refused(world, wrong):
    with pytest.raises(DataError, match=f"{next(iter(wrong))} -?[0-9]+.*Remedy: use 0"):
        data.make_split(world, "mixed", **wrong)


# --- the stack


class Learnt(stack.Stack):
    """A stack of a base that knows its training pairs by heart and one that is near the truth."""

    def _bases(self, benchmark, kind):
        noise = np.random.default_rng(3).normal(size=(benchmark.n_cells, benchmark.n_drugs))

        def bases(benchmark, split, **given):
            shape = benchmark.n_cells, benchmark.n_drugs
            heart, honest = np.zeros(shape), np.zeros(shape)
            at = tuple(benchmark.pairs[split.train].T)
            heart[at] = benchmark.y[split.train]
            honest[tuple(benchmark.pairs.T)] = benchmark.y
            return stack.BasePredictions(
                offset=np.zeros(shape),
                spread=np.ones(shape[1]),
                tables={"by heart": heart, "honest": honest + 0.5 * noise},
                target=np.where(heart != 0, heart, np.nan),
            )

        return bases


@pytest.mark.parametrize("kind", ["mixed", "cell_blind"])
def test_a_base_that_learns_by_heart_gets_no_weight(world, kind):
    """Weights come from pairs that the base has not seen: inner folds cover train, each once."""
    split = data.make_split(world, kind)
    model = Learnt(inner=3, boost=False).fit(world, split)
    by_heart, honest = model.fitted["weights"]
    assert by_heart < 0.02 and 0.85 < honest < 1.0
    said = model.fitted["out_of_fold"]  # [training pairs, bases], fold after fold
    assert len(said) == len(split.train) and np.all(said[:, 0] == 0)


def test_trees_weigh_an_error_in_the_units_of_the_responses(world, monkeypatch):
    """Residuals are divided by the drug's spread, so a pair weighs the square of it."""
    from sklearn import ensemble

    seen = {}

    class Trees(ensemble.HistGradientBoostingRegressor):
        def fit(self, x, y, sample_weight=None):
            seen.update(y=y, weight=sample_weight, settings=self.get_params())
            return super().fit(x, y, sample_weight=sample_weight)

    monkeypatch.setattr(ensemble, "HistGradientBoostingRegressor", Trees)
    rng = np.random.default_rng(0)
    shape, pairs = (30, 12), np.argwhere(np.ones((30, 12), dtype=bool))
    spread, offset = rng.uniform(0.3, 3.0, 12), rng.normal(size=shape)
    part = stack.BasePredictions(
        offset, spread, {"a": rng.normal(size=shape), "b": rng.normal(size=shape)},
        rng.normal(size=shape),
    )  # fmt: skip
    y, weights = rng.normal(size=len(pairs)), np.array([0.7, 0.2])
    stack.boosted([(part, pairs, y)], weights, 0)
    cell, drug = pairs.T
    blend = offset[cell, drug] + spread[drug] * (part.stacked(pairs) @ weights)
    # no setting of the stack names the trees' own: the committed runs are of these
    own = {"learning_rate": 0.03, "max_iter": 300, "max_leaf_nodes": 15, "min_samples_leaf": 200}
    assert own.items() <= seen["settings"].items() and seen["settings"]["max_features"] == 0.4
    # what the trees minimise at 0 is the squared error of the blend, in the units of y
    assert np.allclose(seen["weight"] * seen["y"] ** 2, (y - blend) ** 2)


def test_a_blend_of_new_lines_is_the_weighted_mean_of_its_parts(world):
    other = data.load("simulated", cells=30)  # the same world with further lines
    model = stack.Blend(parts=("ridge_per_drug", "kernel_fingerprint"), shares=(0.3,))
    model.fit(world, data.make_split(world, "cell_blind"))
    first, second = (part.predict(other.pairs, other) for part in model.models.values())
    found = model.predict(other.pairs, other)
    assert np.allclose(found, 0.3 * first + 0.7 * second)
    assert np.abs(first - second).max() > 0.1
