"""The level of a drug, that is its mean ln IC50 over the lines of a screen, predicted from what the
drug is (chapter "Your own drugs and lines").

A Gaussian process over pairs of a drug and a screen (multi-task; Bonilla et al. 2007): drugs are
alike by their views, and a level that another screen measured counts `BETWEEN` as much as one of
the screen that is asked about. So some hundred compounds of other screens teach it, too. The
ranking of lines is none of its business.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from clmt_lib.data.base import Side
from clmt_lib.models.kernels import bandwidth, squared_distances
from clmt_lib.nn.kernel_ridge import press_residuals
from clmt_lib.views.controls import BITS_VIEW, SHAPE_VIEW, STEPS_VIEW, TEXT_VIEW
from clmt_lib.views.molecules import listed, membership, quantiles_of, ranked, tanimoto

WEIGHTS = {  # view -> its weight; descriptors tell most of a level
    "text": 0.25,
    "text, wide": 0.25,
    "fingerprint": 0.25,
    "targets": 0.25,
    "pathway": 0.25,
    "steps": 0.25,
    "descriptors": 1.25,
}
CONSTANT, SAME, BETWEEN = 0.3, 0.5, 0.7
DOSE, SLOPE = 1.0, 0.5  # of an RBF and a line in the log of the highest concentration
RIDGES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)


@dataclass(frozen=True, eq=False)
class Described:
    """What is read of n drugs.

    Attributes
    ----------
    text : [n, dim] sentence vectors of length 1, 0 where nothing is annotated
    bits, steps : [n, bits], [n, sets] 0/1
    shape : [n, descriptors], with `there` [n] bool, which of them have a structure
    targets, pathways : [n] comma-separated names, or None
    dose : [n] log of the highest concentration in uM, NaN where it is not known
    """

    text: np.ndarray
    bits: np.ndarray
    steps: np.ndarray
    shape: np.ndarray
    there: np.ndarray
    targets: list[str | None]
    pathways: list[str | None]
    dose: np.ndarray

    def __len__(self) -> int:
        return len(self.text)

    def __getitem__(self, rows: np.ndarray) -> "Described":
        """Some of the drugs."""
        parts: dict[str, Any] = {part.name: getattr(self, part.name) for part in fields(self)}
        some: dict[str, Any] = {
            name: [part[i] for i in rows] if isinstance(part, list) else part[rows]
            for name, part in parts.items()
        }
        return Described(**some)


def described(side: Side) -> Described:
    """What is read of the drugs of a side that has the views of `entities.drug_views`."""
    text = np.asarray(side.views[TEXT_VIEW.format("annotation")], dtype=np.float64)
    n, frame = len(side), side.frame

    def texts(column: str) -> list[str | None]:
        return [value if isinstance(value, str) else None for value in frame[column]]

    dose = np.full(n, np.nan)
    if "dose" in side.views:
        dose = np.asarray(side.views["dose"], dtype=np.float64)[:, 0]
    return Described(
        text / np.maximum(np.linalg.norm(text, axis=1, keepdims=True), 1e-12),
        np.asarray(side.views[BITS_VIEW], dtype=np.uint8),
        np.asarray(side.views.get(STEPS_VIEW, np.zeros((n, 1))), dtype=np.uint8),
        np.asarray(side.views[SHAPE_VIEW], dtype=np.float64),
        np.array([isinstance(smiles, str) for smiles in frame["smiles"]], dtype=bool),
        texts("target"),
        [text and text.replace(",", ";") for text in texts("pathway")],
        dose,
    )


def joined(one: Described, other: Described) -> Described:
    """The drugs of both, one after the other."""
    both: dict[str, Any] = {}
    for part in fields(one):
        a, b = getattr(one, part.name), getattr(other, part.name)
        both[part.name] = [*a, *b] if isinstance(a, list) else np.concatenate([a, b])
    return Described(**both)


@dataclass(eq=False)
class DrugLevels:
    """Levels of drugs, fitted on those of known ones.

    Attributes
    ----------
    known : the drugs it was fitted on
    screen : [n] 0 where the level is of the screen that is asked about
    with_dose : whether the highest concentration is read
    weights : [n] of the kernel ridge
    mean : of the levels of the screen that is asked about
    reference : [q, descriptors] quantiles among the known drugs
    width : bandwidth of the descriptors
    doses : (mean, deviation) of log doses
    ridge, press : chosen, and the root mean squared error of compounds left out one by one
    """

    known: Described
    screen: np.ndarray
    with_dose: bool
    weights: np.ndarray
    mean: float
    reference: np.ndarray
    width: float
    doses: tuple[float, float]
    ridge: float
    press: float

    @classmethod
    def fit(
        cls,
        known: Described,
        level: np.ndarray,
        compound: np.ndarray,
        screen: np.ndarray | None = None,
        with_dose: bool = False,
        ridges: Sequence[float] = RIDGES,
    ) -> "DrugLevels":
        """Fit on levels [n] of drugs; the ridge is chosen by leaving out one compound after the
        other, from every screen.

        Parameters
        ----------
        compound : [n] labels; what shares one is one thing
        screen : [n] integers, 0 for the screen that is asked about; None: all are of that one
        """
        screen = np.zeros(len(level), dtype=np.int64) if screen is None else screen
        means = {int(one): level[screen == one].mean() for one in np.unique(screen)}
        target = level - np.array([means[int(one)] for one in screen])
        own = screen == 0
        some = known.shape[known.there]
        reference = quantiles_of(some if len(some) else known.shape)
        dose = known.dose[own & np.isfinite(known.dose)]
        doses = (float(dose.mean()), max(float(dose.std()), 1e-6)) if len(dose) else (0.0, 1.0)
        made = cls(known, screen, with_dose, np.zeros(0), means[0], reference, 1.0, doses, 0.0, 0.0)
        z = ranked(some, reference)
        made.width = float(bandwidth(squared_distances(z, z), np.arange(len(z))))
        same = compound[:, None] == compound[None]
        kernel = made.kernel(known) + SAME * same
        np.fill_diagonal(kernel, CONSTANT + SAME + sum(WEIGHTS.values()) + made._own_dose(known))
        kernel = kernel * np.where(screen[:, None] == screen[None], 1.0, BETWEEN)
        code = np.unique(compound, return_inverse=True)[1]
        blocks = [torch.from_numpy(np.flatnonzero(code == i)) for i in range(code.max() + 1)]
        errors = []
        for ridge in ridges:
            left = press_residuals(
                torch.from_numpy(kernel), ridge, torch.from_numpy(target[:, None]), blocks
            )
            errors.append(round(float((left[torch.from_numpy(own)] ** 2).mean().sqrt()), 6))
        made.press, made.ridge = min(zip(errors, ridges, strict=True))
        made.weights = np.linalg.solve(kernel + made.ridge * np.eye(len(level)), target)
        return made

    def kernel(self, asked: Described) -> np.ndarray:
        """[asked, known] how alike drugs are, whatever the screen."""
        known = self.known
        cosine = asked.text @ known.text.T
        there = np.outer(asked.text.any(1), known.text.any(1))
        parts = {
            "text": there * np.exp(10 * (cosine - 1)),
            "text, wide": there * np.exp(5 * (cosine - 1)),
            "fingerprint": _alike(asked.bits, known.bits),
            "targets": _listed_alike(asked.targets, known.targets),
            "pathway": _listed_alike(asked.pathways, known.pathways),
            "steps": _alike(asked.steps, known.steps),
        }
        x, z = (ranked(part.shape, self.reference) for part in (asked, known))
        near = np.exp(-squared_distances(x, z) / self.width)
        parts["descriptors"] = near * np.outer(asked.there, known.there)
        total = CONSTANT + sum(WEIGHTS[name] * part for name, part in parts.items())
        if not self.with_dose:
            return total
        a, b = self._standard(asked.dose), self._standard(known.dose)
        both = np.outer(np.isfinite(a), np.isfinite(b))
        a, b = np.nan_to_num(a), np.nan_to_num(b)
        gap = np.exp(-0.5 * (a[:, None] - b[None]) ** 2)
        return total + both * (DOSE * gap + SLOPE * np.outer(a, b))

    def _standard(self, dose: np.ndarray) -> np.ndarray:
        return (dose - self.doses[0]) / self.doses[1]

    def _own_dose(self, known: Described) -> np.ndarray | float:
        """[n] what the dose adds to the likeness of a drug and itself."""
        if not self.with_dose:
            return 0.0
        z = self._standard(known.dose)
        return np.where(np.isfinite(z), DOSE + SLOPE * np.nan_to_num(z) ** 2, 0.0)

    def predict(self, asked: Described) -> np.ndarray:
        """[n] levels in the screen that is asked about."""
        across = np.where(self.screen == 0, 1.0, BETWEEN)
        return self.mean + (self.kernel(asked) * across) @ self.weights


def _alike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return tanimoto(a.astype(np.float32), b.astype(np.float32))


def _listed_alike(a: list[str | None], b: list[str | None]) -> np.ndarray:
    """[n, m] Tanimoto similarity of comma-separated names; 0 where nothing is listed."""
    out, names = np.zeros((len(a), len(b))), listed([*a, *b])
    rows = [i for i, text in enumerate(a) if text]
    if rows and names:
        out[rows] = tanimoto(membership([a[i] for i in rows], names), membership(b, names))
    return out
