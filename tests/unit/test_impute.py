"""Imputed profiles: the closed forms against refitting and against scikit-learn."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.kernel_ridge import KernelRidge

from clmt_lib.io import DataError
from clmt_lib.models.ceiling import _rotated
from clmt_lib.models.imputation import fit_components, impute, impute_donors
from clmt_lib.views.molecules import jaccard, tanimoto


@pytest.fixture
def world():
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


def test_imputing_is_kernel_ridge(world):
    bits, profile = world
    donors, asked = np.arange(30), np.arange(30, 40)
    k = tanimoto(bits, bits)
    want = KernelRidge(alpha=0.3, kernel="precomputed")
    mean = profile[donors].mean(0)
    want.fit(k[np.ix_(donors, donors)], profile[donors] - mean)
    got = impute(profile[donors], k[np.ix_(donors, donors)], k[np.ix_(asked, donors)], 0.3)
    assert np.allclose(got, want.predict(k[np.ix_(asked, donors)]) + mean)


def test_leaving_groups_out_at_once_is_refitting_without_each(world):
    bits, profile = world
    profile = profile - profile.mean(0)
    k, groups = jaccard(bits), np.arange(40) // 3
    got = impute_donors(profile, k, groups, 0.3)
    for group in np.unique(groups):
        out, rest = np.flatnonzero(groups == group), np.flatnonzero(groups != group)
        weights = np.linalg.solve(k[np.ix_(rest, rest)] + 0.3 * np.eye(len(rest)), profile[rest])
        assert np.allclose(got[out], k[np.ix_(out, rest)] @ weights)


def test_shapes_that_do_not_match_are_refused(world):
    bits, profile = world
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
