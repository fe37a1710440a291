"""Means and neighbours: the predictors every model must stand beside (chapter 08)."""

from dataclasses import dataclass

import numpy as np

from clmt_lib.io import DataError
from clmt_lib.models.base import TableModel, cosine
from clmt_lib.tasks.metrics import additive_effects
from clmt_lib.views.molecules import fingerprints, jaccard
from clmt_lib.views.text import describe_drugs, encode


@dataclass
class Means(TableModel):
    """Mean of the training responses by group; an unseen group takes the next wider mean (of the
    drug for an unseen tissue, else of everything).

    Parameters
    ----------
    by : global, drug, cell, tissue_drug (mean of the drug in the line's tissue) or effects (mean +
        drug + cell)
    """

    by: str = "effects"

    def fit(self, benchmark, split):
        """Fit on train; nothing to choose. Raises DataError for an unknown `by`."""
        shape = (benchmark.n_cells, benchmark.n_drugs)
        mean, cell, drug = additive_effects(benchmark, split.train, shrink=1.0)
        known = {
            "global": lambda: np.full(shape, mean),
            "drug": lambda: mean + np.broadcast_to(self._raw(benchmark, split, 1, mean), shape),
            "cell": lambda: (
                mean + np.broadcast_to(self._raw(benchmark, split, 0, mean)[:, None], shape)
            ),
            "effects": lambda: mean + cell[:, None] + drug[None],
            "tissue_drug": lambda: self._tissue(benchmark, split, mean),
        }
        if self.by not in known:
            raise DataError(f"unknown mean {self.by!r}", remedy=f"use one of: {', '.join(known)}")
        self.table = known[self.by]()
        self.fitted = {"table": self.table}
        return self

    @staticmethod
    def _raw(benchmark, split, column, mean):
        """[C] or [D] mean training response above the global mean, zero where unseen."""
        size = (benchmark.n_cells, benchmark.n_drugs)[column]
        ids, y = benchmark.pairs[split.train, column], benchmark.y[split.train] - mean
        return np.bincount(ids, y, size) / np.maximum(np.bincount(ids, minlength=size), 1)

    def _tissue(self, benchmark, split, mean, shrink=2.0):
        """[C, D] drug mean, moved towards the drug's mean in the line's tissue as its pairs there
        allow.
        """
        drug_mean = self._raw(benchmark, split, 1, mean)
        tissue, labels = benchmark.cells["tissue"].factorize(use_na_sentinel=False)
        cell, drug = benchmark.pairs[split.train].T
        rest = benchmark.y[split.train] - mean - drug_mean[drug]
        total, count = (
            np.zeros((len(labels), benchmark.n_drugs)),
            np.zeros((len(labels), benchmark.n_drugs)),
        )
        np.add.at(total, (tissue[cell], drug), rest)
        np.add.at(count, (tissue[cell], drug), 1)
        return (mean + drug_mean[None] + total / (count + shrink))[tissue]


def drug_similarity(benchmark, kind):
    """[D, D] similarity in [-1, 1]: "fingerprint" (Tanimoto), "text" (cosine of description
    embeddings); unknown drugs resemble only themselves.
    """
    if kind == "fingerprint":
        return jaccard(fingerprints(benchmark.drugs))
    if kind == "text":
        texts = describe_drugs(benchmark.drugs)
        return cosine(encode(texts))
    raise DataError(f"unknown similarity {kind!r}", remedy="use fingerprint or text")


@dataclass
class Neighbours(TableModel):
    """Drug + cell effects, plus the similarity-weighted mean residual of the drugs most like this
    one in the same line.

    Parameters
    ----------
    similarity : fingerprint or text
    sharpness : exponents tried on the valid role; weight = exp(sharpness (similarity - 1))
    """

    similarity: str = "fingerprint"
    sharpness: tuple = (2.0, 5.0, 10.0, 20.0)

    def fit(self, benchmark, split):
        """Fit on train, choose the sharpness on valid."""
        likeness = drug_similarity(benchmark, self.similarity)
        mean, cell, drug = additive_effects(benchmark, split.train)
        y = benchmark.matrix(split.train)
        seen = np.isfinite(y)
        rest = np.where(seen, y - mean - cell[:, None] - drug[None], 0)
        tried = []
        for sharpness in self.sharpness:
            weight = np.exp(sharpness * (likeness - 1)) * (
                1 - np.eye(len(likeness))
            )  # [drugs, drugs]
            known = weight * seen.any(0)[None]
            borrowed = np.where(seen.any(0), drug, known @ drug / (known.sum(1) + 1e-3))
            table = (
                mean + cell[:, None] + borrowed[None] + rest @ weight.T / (seen @ weight.T + 0.1)
            )
            tried.append(
                ({"sharpness": sharpness}, table, {"rest": rest, "cell": cell, "drug": drug})
            )
        return self.choose(benchmark, split, tried)
