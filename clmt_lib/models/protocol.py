"""What can be done with every model, whatever it is: fit it again on training and validation set
together, and give it the level of a new drug (chapter 09).

A name says so by its end: `build("kernel_text_refit")`, `build("kernel_text_level")`; both:
`build("kernel_text_level_refit")`.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch

from clmt_lib.data.base import Benchmark
from clmt_lib.data.response.auxiliary import highest_concentration
from clmt_lib.data.splits import Split
from clmt_lib.models.base import Model, TableModel, fitted, predicted
from clmt_lib.models.baselines.drug_ridge import drug_part
from clmt_lib.models.kernels import drug_kernels, masked, rbf, same_entity
from clmt_lib.models.known import joined, training_set
from clmt_lib.nn.kernel_ridge import press_residuals
from clmt_lib.views.controls import shapes
from clmt_lib.views.molecules import normal_scores

RIDGES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
# what the level of a drug is predicted from
ALONE = ("text", "fingerprint")
WITH_DOSE = ("text", "text, wide", "fingerprint", "targets", "pathway", "steps")


def _view(benchmark: Benchmark, name: str, known: np.ndarray) -> np.ndarray | float:
    """[D, D] kernel of one view of drugs; only that of descriptors is fitted, on drugs `known`."""
    if name == "text, wide":
        return drug_kernels(benchmark, "text")[0][1]
    if name != "descriptors":
        return drug_part(benchmark, name, None)
    x, there = shapes(benchmark.sides[1])
    rows = known[there[known]]
    if len(rows) < 2:
        return np.zeros((len(x), len(x)))
    return masked(rbf(normal_scores(x, rows), rows), there)


def _settings(model: Any, kind: str | None) -> dict[str, Any]:
    """Every setting of the model inside another, and the version of its class."""
    from clmt_lib.models.registry import model_class, resolve

    inner = resolve(model.of, model.settings, kind)
    return {"of": model.of, "settings": inner, "version_of": model_class(model.of).version}


def _built(model: Any, kind: str) -> Model:
    """The unfitted model inside another."""
    from clmt_lib.models.registry import build

    inner = build(model.of, kind, **model.settings)
    inner.device, inner.progress = model.device, model.progress
    return inner


@dataclass
class Refit(Model):
    """Another model, which chooses on the validation set as it always does and is then fitted once
    more, on the training and the validation set, with what it chose.

    A comparison is fair where both models were refitted, or neither.

    Parameters
    ----------
    of : name of the model
    settings : what overrides its defaults
    """

    of: str = "kernel_omics"
    settings: dict[str, Any] = field(default_factory=dict)

    def resolved(self, kind: str | None = None) -> dict[str, Any]:
        """Every setting with its exact value; those of the model inside, too."""
        return _settings(self, kind)

    def fit(self, benchmark: Benchmark, split: Split) -> "Refit":
        """Fit, choose, fit again."""
        self.model = fitted(_built(self, split.kind), benchmark, split)
        self.chosen = dict(self.model.chosen)
        self.model.fit_again(benchmark, split)
        self.also_read, self.history = self.model.also_read, self.model.history
        self.device_used = self.model.device_used
        return self

    def predict(self, pairs: np.ndarray, benchmark: Benchmark | None = None) -> np.ndarray:
        """[n] predictions of the model inside; see `Model.predict`."""
        return self.model.predict(pairs, benchmark)

    def state(self) -> dict[str, np.ndarray]:
        """Every fitted array of the model inside."""
        return self.model.state()


@dataclass
class Level(TableModel):
    """Another model, whose mean over the lines is replaced, for drugs without training responses,
    by a level that is predicted from what the drug is.

    The level is a kernel ridge on the mean responses of the training drugs, K = 0.3 + text +
    fingerprint + 0.5 [same compound], its ridge chosen by leaving out one compound after the other
    (in closed form). How the lines are ranked does not change.

    Parameters
    ----------
    of : name of the model
    settings : what overrides its defaults
    dose : read the highest concentration that was tested, too, beside a third of each of text at
        two scales, fingerprint, targets, pathway and steps. It is known before anything is
        measured, but it was set by people who guessed how potent the drug is: a fact of the
        screen's plan, not of the drug
    ridges : tried
    """

    of: str = "kernel_text"
    settings: dict[str, Any] = field(default_factory=dict)
    dose: bool = False
    ridges: tuple[float, ...] = RIDGES

    reads: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]] = (ALONE, WITH_DOSE)

    def resolved(self, kind: str | None = None) -> dict[str, Any]:
        """Every setting with its exact value; those of the model inside, too."""
        return {**super().resolved(), **_settings(self, kind)}

    def fit(self, benchmark: Benchmark, split: Split) -> "Level":
        """Fit the model, and the levels on the training drugs' means."""
        self.model = fitted(_built(self, split.kind), benchmark, split)
        return self._levelled(benchmark, split)

    def fit_again(self, benchmark: Benchmark, split: Split) -> "Level":
        """Fit the model again on the training and the validation set, and the levels, too."""
        self.model.fit_again(benchmark, split)
        return self._levelled(benchmark, split.with_validation())

    def _levelled(self, benchmark: Benchmark, split: Split) -> "Level":
        benchmark = self._dosed(benchmark)
        self.remember(benchmark)
        views = (*benchmark.sides[0].views, *benchmark.sides[1].views)
        self.known = training_set(benchmark, split, views)
        drug, y = self.known.pairs[:, 1], self.known.y
        self.means = np.bincount(drug, y) / np.bincount(drug)
        lines, drugs = (np.unique(column) for column in benchmark.pairs[split.train].T)
        compound = same_entity(self.known, 1).argmax(1)  # the first id of each
        among = np.ix_(drugs, drugs)
        kernel = self._kernel(benchmark, drugs)
        press, self.ridge = min(
            (self._press(kernel[among], compound, ridge), ridge) for ridge in self.ridges
        )
        self.weights = np.linalg.solve(
            kernel[among] + self.ridge * np.eye(len(drugs)), self.means - self.means.mean()
        )
        everything = np.argwhere(np.ones(benchmark.shape, dtype=bool))
        self.table = predicted(self.model, everything).reshape(benchmark.shape)
        new = np.setdiff1d(np.arange(benchmark.shape[1]), drugs)
        level = self.means.mean() + kernel[new][:, drugs] @ self.weights
        self.table[:, new] += level - self.table[np.ix_(lines, new)].mean(0)
        self.chosen = {**self.model.chosen, "level": {"ridge": self.ridge, "press": press}}
        self.also_read = {**self.model.also_read, **({"dose": "MAX_CONC"} if self.dose else {})}
        self.history, self.device_used = self.model.history, self.model.device_used
        self.fitted = {**self.model.state(), "levels": self.weights, "means": self.means}
        return self

    def _dosed(self, benchmark: Benchmark) -> Benchmark:
        return highest_concentration(benchmark) if self.dose else benchmark

    def _kernel(self, benchmark: Benchmark, drugs: np.ndarray) -> np.ndarray:
        """[D, D] kernel of levels; the concentration is standardised over the training `drugs`."""
        parts = [_view(benchmark, name, drugs) for name in self.reads[self.dose]]
        kernel = 0.3 + 2 / len(parts) * sum(parts) + 0.5 * same_entity(benchmark, 1)
        if not self.dose:
            return kernel
        dose = benchmark.sides[1].views["dose"].to_numpy(np.float64)[:, 0]
        there = np.isfinite(dose)
        known = dose[drugs][there[drugs]]
        z = np.where(there, (dose - known.mean()) / max(known.std(), 1e-6), 0.0)
        near = np.exp(-0.5 * (z[:, None] - z[None]) ** 2) * np.outer(there, there)
        return kernel + near + 0.5 * np.outer(z, z)  # 0 for a drug whose concentration is missing

    def _press(self, kernel: np.ndarray, compound: np.ndarray, ridge: float) -> float:
        """Root mean squared error of the levels of compounds, each left out in turn."""
        target = torch.from_numpy((self.means - self.means.mean())[:, None])
        blocks = [torch.from_numpy(np.flatnonzero(compound == one)) for one in np.unique(compound)]
        left = press_residuals(torch.from_numpy(kernel), ridge, target, blocks)
        return round(float((left**2).mean().sqrt()), 6)

    def new_table(self, benchmark: Benchmark, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """[rows, columns]: the model's, with the level of each new drug."""
        joint, rows, columns = self._joined(benchmark, rows, columns)
        n, m = self.known.shape
        asked = np.concatenate([np.arange(n), rows])  # training lines, to centre on
        pairs = np.stack(np.meshgrid(asked, columns, indexing="ij"), -1).reshape(-1, 2)
        found = predicted(self.model, pairs, joint).reshape(len(asked), len(columns))
        new = columns >= m
        found[:, new] += self._levels(joint, columns[new]) - found[:n, new].mean(0)
        return found[n:]

    def levels(self, benchmark: Benchmark, columns: np.ndarray) -> np.ndarray:
        """[n] predicted mean over the training lines of some drugs of another benchmark."""
        joint, _, columns = self._joined(benchmark, np.zeros(0, dtype=np.int64), columns)
        return self._levels(joint, columns)

    def _joined(self, benchmark: Benchmark, rows: np.ndarray, columns: np.ndarray):
        return joined(self.known, self._dosed(benchmark), rows, columns, partial=True)

    def _levels(self, joint: Benchmark, columns: np.ndarray) -> np.ndarray:
        m = self.known.shape[1]
        return self.means.mean() + self._kernel(joint, np.arange(m))[columns][:, :m] @ self.weights


@dataclass
class Potency(Level):
    """`Level` that also asks how alike drugs are in physico-chemical descriptors (lipophilicity,
    surfaces, counts of groups), which tell more of a drug's level than fingerprint and text: these
    count twice beside each other view. A structure that is missing resembles none.
    """

    reads: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]] = (
        (*ALONE, "descriptors", "descriptors"),
        (*WITH_DOSE, "descriptors", "descriptors"),
    )
