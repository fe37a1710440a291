"""The three auxiliary tasks of CLMT: their targets, their heads and their loss (chapter 06).

Next to the response, the authors' code asks for the tissue of a line, and for the pathway and the
*drug threshold* of a drug: the ln IC50 below which a line counts as
sensitive. The threshold is made of responses, so it is fitted on chosen ones: `positions` is
`split.train` in this book, and every pair in the authors' code, a leak.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.signal import fftconvolve
from torch import nn

from clmt_lib.io import DataError

TASKS = ("cell_type", "threshold", "pathway")
DRAWS, JITTER = 100, 0.2  # draws for each response, and their sd in ln uM
BANDWIDTH, POINTS = 0.5, 1000  # of the density, in ln uM, and of the grid it is read on
DIGITS = 12  # of a density: what differs less is equal
LEAST_MASS = 0.05  # what the first peak must hold to count as a group of sensitive lines
QUANTILE = 1.645  # the lower 5 % of a normal distribution


def drug_thresholds(benchmark: Any, positions: np.ndarray, seed: int = 0) -> np.ndarray:
    """Sensitivity threshold of every drug, by the rule of the authors' code, from the responses at
    `positions` alone.

    Each response is drawn again 100 times with an sd of 0.2, and the draws are smoothed to a
    density. mu is its mode; theta its first stationary point if that lies left of
    mu and holds over 5 % of the mass, else the smallest response; sigma = |(theta + mu) / 2|; the
    threshold is mu - 1.645 sigma. That sigma is the place of a point and no
    spread: in nM instead of uM, the threshold of one and the same drug would be another one. It is
    kept, since this is what was published.

    Parameters
    ----------
    benchmark : DrugResponse
    positions : into its responses: split.train, or everything for the published leak; their order
        does not matter
    seed : of the draws. A drug's draws do not depend on the other drugs.

    Returns
    -------
    [D] float64 in ln uM; NaN for a drug without a response among `positions`.
    """
    positions = np.unique(np.asarray(positions, dtype=np.int64))
    drug, y = benchmark.pairs[positions, 1], benchmark.y[positions]
    out = np.full(benchmark.n_drugs, np.nan)
    for d in np.unique(drug):
        out[d] = _threshold(y[drug == d], np.random.default_rng([seed, int(d)]))
    return out


def _threshold(y: np.ndarray, rng: np.random.Generator) -> float:
    grid, density = smooth((y[:, None] + JITTER * rng.standard_normal((len(y), DRAWS))).ravel())
    mu, theta = peaks(grid, density, y.min())
    return mu - QUANTILE * abs((theta + mu) / 2)


def peaks(grid: np.ndarray, density: np.ndarray, smallest: float) -> tuple[float, float]:
    """(mu, theta) of a density that begins at its smallest draw: the mode, and the first stationary
    point if it is another one and holds over 5 % of the mass, else `smallest`. Of equal densities
    the first counts.
    """
    density = np.round(density, DIGITS)  # the last bits of a transform decide nothing
    mode = density.argmax()
    # seen from its smallest draw a density rises, so its first stationary point is a peak
    first = int(np.argmax(np.diff(density, append=-np.inf) <= 0))
    groups = first < mode and density[: first + 1].sum() > LEAST_MASS * density.sum()
    return float(grid[mode]), float(grid[first] if groups else smallest)


def smooth(
    draws: np.ndarray, bandwidth: float = BANDWIDTH, points: int = POINTS
) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian kernel density from the smallest to the largest draw: (grid [points], density
    [points]).

    The draws are shared out between their two grid points and the counts convolved, so a drug of
    50,000 draws costs a millisecond; tested equal to scipy's `gaussian_kde`.
    """
    low, high = draws.min(), draws.max()
    if high <= low:
        low, high = low - bandwidth, high + bandwidth
    step = (high - low) / (points - 1)
    place = (draws - low) / step
    left = np.minimum(place.astype(np.int64), points - 2)
    counts = np.bincount(left, 1 - (place - left), points) + np.bincount(
        left + 1, place - left, points
    )
    offset = step * np.arange(1 - points, points)
    kernel = np.exp(-0.5 * (offset / bandwidth) ** 2) / (bandwidth * np.sqrt(2 * np.pi))
    return low + step * np.arange(points), fftconvolve(counts, kernel)[
        points - 1 : 2 * points - 1
    ] / len(draws)


def class_labels(values: Iterable[Any]) -> tuple[np.ndarray, list[str]]:
    """Classes as integers: ([n] int64 with -1 where missing, list of names in alphabetical order).

    >>> class_labels(["Skin", None, "Lung", "Skin"])
    (array([ 1, -1,  0,  1]), ['Lung', 'Skin'])
    """
    labels, names = pd.factorize(pd.Series(values, dtype=object), sort=True)
    return labels.astype(np.int64), [str(name) for name in names]


def auxiliary_targets(
    benchmark: Any, positions: np.ndarray, seed: int = 0
) -> dict[str, np.ndarray]:
    """Targets of the three tasks as arrays, the threshold standardised over the drugs that have
    one.

    Returns
    -------
    {"cell_type": [C] int64, "threshold": [D] float64, "pathway": [D] int64}; -1 and NaN are
    missing.
    """
    threshold = drug_thresholds(benchmark, positions, seed)
    spread = np.nanstd(threshold)
    return {
        "cell_type": class_labels(benchmark.cells["tissue"])[0],
        "threshold": (threshold - np.nanmean(threshold)) / (spread if spread > 0 else 1.0),
        "pathway": class_labels(benchmark.drugs["pathway"])[0],
    }


class AuxiliaryHeads(nn.Module):
    """Small heads on the attribute embeddings: tissue by a Linear, threshold by dim-8-1, pathway by
    dim-32-classes, as in the authors' code.

    Parameters
    ----------
    cell_dim, drug_dim : widths of the embeddings
    tissues, pathways : numbers of classes
    """

    def __init__(self, cell_dim: int, drug_dim: int, tissues: int, pathways: int) -> None:
        super().__init__()
        self.cell_type = nn.Linear(cell_dim, tissues)
        self.threshold = nn.Sequential(nn.Linear(drug_dim, 8), nn.ReLU(), nn.Linear(8, 1))
        self.pathway = nn.Sequential(nn.Linear(drug_dim, 32), nn.ReLU(), nn.Linear(32, pathways))

    def forward(self, z_cell: torch.Tensor, z_drug: torch.Tensor) -> dict[str, torch.Tensor]:
        """[C, cell_dim], [D, drug_dim] -> {"cell_type": [C, tissues] logits, "threshold": [D],
        "pathway": [D, pathways] logits}.
        """
        return {
            "cell_type": self.cell_type(z_cell),
            "threshold": self.threshold(z_drug).squeeze(-1),
            "pathway": self.pathway(z_drug),
        }


def auxiliary_loss(
    outputs: Mapping[str, torch.Tensor],
    targets: Mapping[str, torch.Tensor],
    tasks: Sequence[str] = TASKS,
    cells: torch.Tensor | None = None,
    drugs: torch.Tensor | None = None,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Sum of the tasks' losses: mean cross-entropy (nats) of the classes, mean squared error of the
    threshold.

    Parameters
    ----------
    outputs : what `AuxiliaryHeads` returns
    targets : name -> [n] tensor; a class of -1 and a threshold of NaN are missing and do not count.
        The caller standardises the threshold (`auxiliary_targets`),
        or its squared error in ln uM outweighs everything else.
    tasks : which of `TASKS` count
    cells, drugs : index or bool tensors: only these entities count (those of the train role); None
        takes all

    Returns
    -------
    (total, scalar; {name: detached scalar})

    Raises
    ------
    DataError
        Unknown task.
    """
    unknown = [task for task in tasks if task not in TASKS]
    if unknown:
        raise DataError(
            f"unknown auxiliary task {unknown[0]!r}", remedy=f"use some of: {', '.join(TASKS)}"
        )
    total, parts = torch.zeros((), device=outputs["threshold"].device), {}
    for task in tasks:
        which = cells if task == "cell_type" else drugs
        found, wanted = (x if which is None else x[which] for x in (outputs[task], targets[task]))
        value = _error(found, wanted)
        total, parts[task] = total + value, value.detach()
    return total, parts


def _error(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean loss over what is known; 0, with gradients of 0, where nothing is."""
    known = torch.isfinite(wanted) if wanted.is_floating_point() else wanted >= 0
    if not known.any():
        return found.sum() * 0.0
    if wanted.is_floating_point():
        return F.mse_loss(found[known], wanted[known].to(found.dtype))
    return F.cross_entropy(found[known], wanted[known])
