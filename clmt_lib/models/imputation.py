"""Profiles from structure: what can be predicted of a profile that was not measured (chapter
profiles).

Kernel ridge from fingerprints to the principal components of a feature space, a closed form in
seconds, is the honest rival of every alignment: both see structures and profiles of other molecules
and nothing else.
"""

from dataclasses import dataclass

import numpy as np

from clmt_lib.data.profiles.measured import CLIP_STANDARDISED, CONSTANT
from clmt_lib.io import DataError


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components of profiles, fitted on some molecules: standardised features, rotated,
    each component with deviation 1 over those molecules.

    Attributes
    ----------
    mean, deviation : [features] of the molecules it was fitted on; a constant feature is left out
        (its deviation is infinite)
    axes : [features, k]
    centre, scale : [k] of the rotated molecules
    """

    mean: np.ndarray
    deviation: np.ndarray
    axes: np.ndarray
    centre: np.ndarray
    scale: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """[n, k] components of profiles [n, features]."""
        z = np.clip((values - self.mean) / self.deviation, -CLIP_STANDARDISED, CLIP_STANDARDISED)
        return (z @ self.axes - self.centre) / self.scale


def fit_components(values: np.ndarray, k: int) -> Components:
    """Principal components of [m, features] profiles; at most `k`, and no more than their rank.

    Raises
    ------
    DataError
        Fewer than two molecules, a value that is not finite, features that are all constant.

    Examples
    --------
    >>> x = np.array([[0.0, 1.0, 5.0], [2.0, 0.0, 5.0], [4.0, 2.0, 5.0], [1.0, 1.0, 5.0]])
    >>> z = fit_components(x, 2)(x)
    >>> z.std(0).round(6).tolist(), np.abs(np.corrcoef(z.T)[0, 1]).round(6).item()
    ([1.0, 1.0], 0.0)
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2 or not np.isfinite(values).all():
        raise DataError(
            f"profiles of shape {values.shape}, {int((~np.isfinite(values)).sum())} values not "
            "finite",
            remedy="give finite profiles of two molecules or more",
        )
    mean, deviation = values.mean(0), values.std(0)
    constant = deviation < CONSTANT
    if constant.all():
        raise DataError(
            f"all {len(constant)} features are constant",
            remedy="use a space that differs between molecules",
        )
    deviation = np.where(constant, np.inf, deviation)
    z = np.clip((values - mean) / deviation, -CLIP_STANDARDISED, CLIP_STANDARDISED)
    middle = z.mean(0)
    # the smaller of the two Gram matrices has the same leading eigenvalues
    z = z - middle
    if len(z) < z.shape[1]:
        size, vectors = np.linalg.eigh(z @ z.T)
        axes = z.T @ vectors
    else:
        size, axes = np.linalg.eigh(z.T @ z)
    keep = np.flatnonzero(size > 1e-8 * size[-1])[::-1][:k]
    axes = axes[:, keep] / np.linalg.norm(axes[:, keep], axis=0)
    axes = axes * np.where(axes[np.abs(axes).argmax(0), np.arange(len(keep))] < 0, -1.0, 1.0)
    return Components(mean, deviation, axes, middle @ axes, (z @ axes).std(0))


def impute(
    profiles: np.ndarray,
    among: np.ndarray,
    asked: np.ndarray,
    ridge: float = 0.3,
) -> np.ndarray:
    """Profiles of molecules that were not measured: kernel ridge on those of others.

    Parameters
    ----------
    profiles : [m, k] components of the donors
    among : [m, m] kernel (Tanimoto similarity of fingerprints) among the donors
    asked : [n, m] kernel between the molecules asked about and the donors
    ridge : added to the diagonal

    Returns
    -------
    [n, k]

    Raises
    ------
    DataError
        Shapes that do not match.
    """
    _check(profiles, among, asked)
    mean = profiles.mean(0)
    weights = np.linalg.solve(among + ridge * np.eye(len(among)), profiles - mean)
    return asked @ weights + mean


def impute_donors(
    profiles: np.ndarray, among: np.ndarray, groups: np.ndarray, ridge: float = 0.3
) -> np.ndarray:
    """[m, k] imputed profile of each donor from the donors outside its group: what `impute` gives
    when the group is left out (mean and components aside), for all groups at once.

    The residual of a group when it is left out is (I - H)^-1 of its residual when it is not, H
    being the block of the hat matrix K (K + ridge I)^-1 that belongs to the group.

    Parameters
    ----------
    groups : [m] labels (scaffold, compound) of the donors; others as in `impute`
    """
    _check(profiles, among, among)
    mean = profiles.mean(0)
    inverse = np.linalg.inv(among + ridge * np.eye(len(among)))
    rest = ridge * inverse @ (profiles - mean)  # residuals: I - H = ridge (K + ridge I)^-1
    out = np.empty(np.shape(profiles))
    for rows in _rows_of(groups):
        block = ridge * inverse[np.ix_(rows, rows)]
        out[rows] = profiles[rows] - np.linalg.solve(block, rest[rows])
    return out


def _rows_of(groups: np.ndarray) -> list[np.ndarray]:
    code = np.unique(np.asarray(groups), return_inverse=True)[1]
    order = np.argsort(code, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(code[order])) + 1)


def _check(profiles: np.ndarray, among: np.ndarray, asked: np.ndarray) -> None:
    m = len(profiles)
    if among.shape != (m, m) or asked.ndim != 2 or asked.shape[1] != m:
        raise DataError(
            f"{m} profiles, kernels of shape {among.shape} and {asked.shape}",
            remedy="give the kernel among the donors, and that between those asked and the donors",
        )
