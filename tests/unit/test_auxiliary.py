"""Auxiliary targets are fitted on what they are given, and what is missing does not count."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import gaussian_kde
from sklearn.decomposition import PCA
from sklearn.kernel_ridge import KernelRidge
from tiny import benchmark as tiny

from clmt_lib import audit, data
from clmt_lib.io import DataError
from clmt_lib.models.ceiling import _rotated
from clmt_lib.models.clmt.auxiliary import (
    BANDWIDTH,
    AuxiliaryHeads,
    auxiliary_loss,
    auxiliary_targets,
    class_labels,
    drug_thresholds,
    smooth,
)
from clmt_lib.models.imputation import fit_components, impute, impute_donors
from clmt_lib.views.molecules import jaccard, tanimoto


def with_responses(world, at, values):
    """The world with other responses at some positions."""
    y = world.y.copy()
    y[at] = values
    return replace(world, y=y)


@pytest.fixture(scope="module")
def world():
    return data.load("simulated", cells=60)


def plain_threshold(y, rng):
    """The rule, with scipy's density and a loop for the first stationary point."""
    draws = np.concatenate([value + 0.2 * rng.standard_normal(100) for value in y])
    grid = np.linspace(draws.min(), draws.max(), 1000)
    density = gaussian_kde(draws, BANDWIDTH / draws.std(ddof=1))(grid)
    mode = density.argmax()
    first = next(i for i in range(1000) if i == 999 or density[i + 1] <= density[i])
    theta = (
        grid[first]
        if first < mode and density[: first + 1].sum() > 0.05 * density.sum()
        else y.min()
    )
    return grid[mode] - 1.645 * abs((theta + grid[mode]) / 2)


@pytest.mark.parametrize(
    "groups",
    [
        [(40, 2.0)],
        [(30, -2.0), (60, 3.0)],
        [(1, -6.0), (60, 3.0)],
        [(1, 1.0)],
        [(60, -3.0), (20, 2.0)],
    ],
)
def test_the_fast_density_and_threshold_equal_the_plain_ones(groups):
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.normal(centre, 0.5, n) for n, centre in groups])
    draws = (y[:, None] + 0.2 * rng.standard_normal((len(y), 100))).ravel()
    grid, density = smooth(draws)
    assert np.abs(density - gaussian_kde(draws, BANDWIDTH / draws.std(ddof=1))(grid)).max() < 1e-4
    world = tiny()
    at = np.flatnonzero(world.pairs[:, 1] == 2)
    rest, at = at[len(y) :], at[: len(y)]
    world = with_responses(with_responses(world, rest, 0.0), at, y[: len(at)])
    assert drug_thresholds(world, at, seed=5)[2] == pytest.approx(
        plain_threshold(y[: len(at)], np.random.default_rng([5, 2])), abs=0.02
    )


def test_two_groups_of_lines_put_theta_on_the_peak_of_the_sensitive_ones():
    y = np.concatenate([np.full(5, -2.0), np.full(16, 3.0)])
    world = tiny()
    at = np.flatnonzero(world.pairs[:, 1] == 0)[:21]
    world = with_responses(world, at, y)
    assert drug_thresholds(world, at)[0] == pytest.approx(
        3 - 1.645 * 0.5, abs=0.15
    )  # mu 3, theta -2, sigma 0.5
    world = with_responses(world, at, y + 2)
    assert drug_thresholds(world, at)[0] == pytest.approx(
        5 - 1.645 * 2.5, abs=0.3
    )  # moved by 2, the threshold moves by less: sigma is no spread


def test_a_drug_without_a_response_has_no_threshold_and_one_response_is_enough(world):
    drug = world.pairs[:, 1]
    at = np.concatenate([np.flatnonzero(drug == 0)[:1], np.flatnonzero(drug == 3)])
    found = drug_thresholds(world, at)
    assert np.flatnonzero(np.isfinite(found)).tolist() == [0, 3]


def test_thresholds_depend_on_the_seed_and_not_on_order_or_on_other_drugs(world):
    drug = world.pairs[:, 1]
    at = np.flatnonzero(drug < 4)
    found = drug_thresholds(world, at)
    assert np.array_equal(found, drug_thresholds(world, at[::-1]), equal_nan=True)
    assert drug_thresholds(world, np.flatnonzero(drug == 2))[2] == found[2]
    assert (drug_thresholds(world, at, seed=1)[:4] != found[:4]).all()


def test_thresholds_of_train_are_blind_to_the_test_role_and_those_of_all_pairs_are_not(world):
    split = data.make_split(world, "cell_blind")
    assert audit.proves_blind(lambda b, s: auxiliary_targets(b, s.train), world, split).clean
    assert not audit.proves_blind(
        lambda b, s: drug_thresholds(b, np.arange(len(b))), world, split
    ).clean


def test_thresholds_of_a_whole_screen_take_seconds():
    full = data.load("simulated")
    start = time.process_time()
    found = drug_thresholds(full, np.arange(len(full)))
    assert np.isfinite(found).all() and time.process_time() - start < 5


def test_labels_are_alphabetical_and_missing_ones_are_minus_one():
    labels, names = class_labels(np.array(["b", None, "a", np.nan, "b"], dtype=object))
    assert labels.tolist() == [1, -1, 0, -1, 1] and labels.dtype == np.int64 and names == ["a", "b"]


def outputs_and_targets():
    torch.manual_seed(0)
    heads = AuxiliaryHeads(6, 5, 3, 4)
    outputs = heads(torch.randn(7, 6), torch.randn(8, 5))
    targets = {
        "cell_type": torch.tensor([0, 1, 2, -1, 0, 1, 2]),
        "threshold": torch.tensor(
            [0.1, float("nan"), 1.0, -1.0, 0.0, 2.0, float("nan"), 0.5]
        ).double(),
        "pathway": torch.tensor([0, 1, 2, 3, -1, -1, 0, 1]),
    }
    return heads, outputs, targets


def test_the_loss_equals_a_plain_loop_and_missing_targets_do_not_count():
    _, outputs, targets = outputs_and_targets()
    total, parts = auxiliary_loss(outputs, targets)
    expected = {}
    for task in ("cell_type", "pathway"):
        rows = [
            (row, label)
            for row, label in zip(outputs[task].tolist(), targets[task].tolist())
            if label >= 0
        ]
        expected[task] = np.mean([np.log(np.exp(row).sum()) - row[label] for row, label in rows])
    wanted = targets["threshold"].numpy()
    expected["threshold"] = np.nanmean((outputs["threshold"].detach().numpy() - wanted) ** 2)
    assert {task: float(value) for task, value in parts.items()} == pytest.approx(
        expected, abs=1e-5
    )
    assert total.item() == pytest.approx(sum(expected.values()), abs=1e-5)


def test_only_training_entities_count_and_get_gradients():
    heads, _, targets = outputs_and_targets()
    z_cell, z_drug = torch.randn(7, 6, requires_grad=True), torch.randn(8, 5, requires_grad=True)
    cells, drugs = torch.tensor([0, 1, 3]), torch.arange(8) < 4
    auxiliary_loss(heads(z_cell, z_drug), targets, cells=cells, drugs=drugs)[0].backward()
    assert z_cell.grad.abs().sum(1).gt(0).tolist() == [
        True,
        True,
        False,
        False,
        False,
        False,
        False,
    ]
    assert z_drug.grad.abs().sum(1).gt(0).tolist() == [True] * 4 + [False] * 4


@pytest.mark.parametrize("tasks", [(), ("cell_type",), ("threshold", "pathway")])
def test_only_the_named_tasks_count(tasks):
    _, outputs, targets = outputs_and_targets()
    total, parts = auxiliary_loss(outputs, targets, tasks)
    assert tuple(parts) == tasks and total.item() == pytest.approx(
        sum(float(value) for value in parts.values())
    )


def test_nothing_known_is_a_loss_of_zero_and_an_unknown_task_an_error():
    _, outputs, targets = outputs_and_targets()
    total, _ = auxiliary_loss(
        outputs,
        {
            name: torch.full_like(value, -1) if name != "threshold" else value * torch.nan
            for name, value in targets.items()
        },
    )
    total.backward()
    assert total.item() == 0
    with pytest.raises(DataError, match="tissue"):
        auxiliary_loss(outputs, targets, ("tissue",))


# --- Imputed profiles: the closed forms against refitting and against scikit-learn.


@pytest.fixture
def half_told():
    rng = np.random.default_rng(0)
    bits = (rng.random((40, 30)) < 0.3).astype(float)
    bits[bits.sum(1) == 0, 0] = 1
    return bits, bits @ rng.normal(size=(30, 12)) + rng.normal(size=(40, 12))


@pytest.mark.parametrize("features", [5, 12, 60])
def test_components_are_those_of_scikit_learn(features):
    x = np.random.default_rng(1).normal(size=(20, features)) * np.arange(1, features + 1)
    z = (x - x.mean(0)) / x.std(0)  # no value of 20 is 6 deviations away
    want = PCA(3, whiten=True).fit_transform(z)
    got = fit_components(x, 3)(x)
    sign = np.sign((want * got).sum(0))
    assert np.allclose(got, want * sign * np.sqrt(20 / 19), atol=1e-6)


def test_components_ignore_constants_and_stop_at_the_rank():
    x = np.random.default_rng(2).normal(size=(4, 6))
    x[:, 2] = 7.0
    fitted = fit_components(x, 10)
    assert fitted(x).shape == (4, 3)  # four points span three directions
    moved = x.copy()
    moved[:, 2] = -100.0
    assert np.allclose(fitted(moved), fitted(x))
    with pytest.raises(DataError, match="all 6 features are constant"):
        fit_components(np.ones((4, 6)), 2)
    with pytest.raises(DataError, match="not finite"):
        fit_components(np.full((4, 6), np.nan), 2)


def test_imputing_is_kernel_ridge(half_told):
    bits, profile = half_told
    donors, asked = np.arange(30), np.arange(30, 40)
    k = tanimoto(bits, bits)
    want = KernelRidge(alpha=0.3, kernel="precomputed")
    mean = profile[donors].mean(0)
    want.fit(k[np.ix_(donors, donors)], profile[donors] - mean)
    got = impute(profile[donors], k[np.ix_(donors, donors)], k[np.ix_(asked, donors)], 0.3)
    assert np.allclose(got, want.predict(k[np.ix_(asked, donors)]) + mean)


def test_leaving_groups_out_at_once_is_refitting_without_each(half_told):
    bits, profile = half_told
    profile = profile - profile.mean(0)
    k, groups = jaccard(bits), np.arange(40) // 3
    got = impute_donors(profile, k, groups, 0.3)
    for group in np.unique(groups):
        out, rest = np.flatnonzero(groups == group), np.flatnonzero(groups != group)
        weights = np.linalg.solve(k[np.ix_(rest, rest)] + 0.3 * np.eye(len(rest)), profile[rest])
        assert np.allclose(got[out], k[np.ix_(out, rest)] @ weights)


def test_shapes_that_do_not_match_are_refused(half_told):
    bits, profile = half_told
    with pytest.raises(DataError, match="40 profiles"):
        impute(profile, np.eye(39), np.eye(40))


def test_features_in_coordinates_of_their_span_keep_every_product():
    """What a penalty on squared weights sees are products of molecules."""
    x = np.random.default_rng(0).normal(size=(9, 40))
    row = np.array([3, 3, 5, 8, 0])
    part, place = _rotated(x, row[:4], row)
    assert part.shape == (3, 3)
    assert np.allclose(part @ part.T, x[[3, 5, 8]] @ x[[3, 5, 8]].T)
    assert place[:4].tolist() == [0, 0, 1, 2]
    thin, place = _rotated(x[:, :2], np.arange(9), row)
    assert np.array_equal(thin, x[:, :2]) and np.array_equal(place, row)
