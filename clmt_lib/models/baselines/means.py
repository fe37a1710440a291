"""Means and neighbours: the predictors every model must stand beside (chapter 08)."""

from dataclasses import dataclass

import numpy as np

from clmt_lib.data.base import Benchmark
from clmt_lib.data.splits import Split
from clmt_lib.io import DataError
from clmt_lib.models.base import TableModel, cosine
from clmt_lib.models.known import joined, training_set, whole_split
from clmt_lib.tasks.metrics import additive_effects
from clmt_lib.views.molecules import fingerprints, jaccard
from clmt_lib.views.text import describe_drugs, encode


@dataclass
class Means(TableModel):
    """Mean of the training values by group; an unseen group takes the next wider mean (of the drug
    for an unseen tissue, else of everything).

    Parameters
    ----------
    by : global, row, column or the name of a side (cell, drug); tissue_drug (mean of the column
        among rows of the same tissue) or effects (mean + row + column, `additive_effects`)
    """

    by: str = "effects"

    def fit(self, benchmark: Benchmark, split: Split) -> "Means":
        """Fit on train; nothing to choose. Raises DataError for an unknown `by`."""
        mean, row, column = additive_effects(benchmark, split.train, shrink=1.0)
        axis = self._axis(benchmark)
        self.mean, self.row, self.column = mean, 0 * row, 0 * column
        if self.by == "effects":
            self.row, self.column = row, column
        elif axis == 0:
            self.row = self._raw(benchmark, split, 0, mean)
        elif axis == 1 or self.by == "tissue_drug":
            self.column = self._raw(benchmark, split, 1, mean)
        if self.by == "tissue_drug":
            self._fit_tissues(benchmark, split)
        self.tabulate(benchmark)
        self.fitted = {"table": self.table}
        return self

    def _axis(self, benchmark: Benchmark) -> int | None:
        """Which side `by` names, if any."""
        named = {side.name: axis for axis, side in enumerate(benchmark.sides)}
        known = {"row": 0, "column": 1, **named} | dict.fromkeys(["global", "tissue_drug"])
        known["effects"] = None
        if self.by not in known:
            raise DataError(f"unknown mean {self.by!r}", remedy=f"use one of: {', '.join(known)}")
        return known[self.by]

    @staticmethod
    def _raw(benchmark: Benchmark, split: Split, axis: int, mean: float) -> np.ndarray:
        """[R] or [C] mean training value above the global mean, zero where unseen."""
        size = benchmark.shape[axis]
        ids, y = benchmark.pairs[split.train, axis], benchmark.y[split.train] - mean
        return np.bincount(ids, y, size) / np.maximum(np.bincount(ids, minlength=size), 1)

    def _fit_tissues(self, benchmark: Benchmark, split: Split, shrink: float = 2.0) -> None:
        """[tissues, C] how a column's values in a tissue differ from its mean, as far as its pairs
        there allow.
        """
        self.tissues, tissue = np.unique(_tissues(benchmark), return_inverse=True)
        cell, drug = benchmark.pairs[split.train].T
        rest = benchmark.y[split.train] - self.mean - self.column[drug]
        total, count = np.zeros((2, len(self.tissues), benchmark.shape[1]))
        np.add.at(total, (tissue[cell], drug), rest)
        np.add.at(count, (tissue[cell], drug), 1)
        self.deviation = total / (count + shrink)

    def new_table(self, benchmark: Benchmark, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """[rows, columns]: a new entity has no effect of its own; a new line has its tissue's."""
        row = self.padded(self.row, benchmark, 0, rows)
        column = self.padded(self.column, benchmark, 1, columns)
        if self.by != "tissue_drug":
            return self.mean + row[:, None] + column[None]
        place = {tissue: i for i, tissue in enumerate(self.tissues)}
        at = [place.get(tissue, -1) for tissue in _tissues(benchmark)[rows]]
        moved = np.stack([self.padded(part, benchmark, 1, columns) for part in self.deviation])
        return self.mean + column[None] + np.vstack([moved, np.zeros(len(columns))])[at]


def _tissues(benchmark: Benchmark) -> np.ndarray:
    """[R] tissue of each line."""
    side = benchmark.sides[0]
    if "tissue" not in side.keys:
        raise DataError(
            f"{side.name}s of {benchmark.name} have no tissue", remedy="use by='column'"
        )
    return side.keys["tissue"]


def drug_similarity(benchmark: Benchmark, kind: str) -> np.ndarray:
    """[D, D] similarity in [-1, 1]: "fingerprint" (Tanimoto), "text" (cosine of description
    embeddings); unknown drugs resemble only themselves.
    """
    drugs = benchmark.sides[1].frame
    if kind == "fingerprint":
        return jaccard(fingerprints(drugs))
    if kind == "text":
        return cosine(encode(describe_drugs(drugs)))
    raise DataError(f"unknown similarity {kind!r}", remedy="use fingerprint or text")


@dataclass
class Neighbours(TableModel):
    """Drug + cell effects, plus the similarity-weighted mean residual of the drugs most like this
    one in the same line.

    Parameters
    ----------
    similarity : fingerprint or text
    sharpness : exponents tried on the validation set; weight = exp(sharpness (similarity - 1))
    """

    similarity: str = "fingerprint"
    sharpness: tuple[float, ...] = (2.0, 5.0, 10.0, 20.0)

    def fit(self, benchmark: Benchmark, split: Split) -> "Neighbours":
        """Fit on train, choose the sharpness on valid."""
        self.known, self.kind = training_set(benchmark, split), split.kind
        return self.choose(benchmark, split, self._tables(benchmark, split, self.sharpness))

    def _tables(self, benchmark: Benchmark, split: Split, tried):
        likeness = drug_similarity(benchmark, self.similarity)
        mean, cell, drug = additive_effects(benchmark, split.train)
        y = benchmark.matrix(split.train)
        seen = np.isfinite(y)
        rest = np.where(seen, y - mean - cell[:, None] - drug[None], 0)
        for sharpness in tried:
            weight = np.exp(sharpness * (likeness - 1)) * (
                1 - np.eye(len(likeness))
            )  # [drugs, drugs]
            known = weight * seen.any(0)[None]
            borrowed = np.where(seen.any(0), drug, known @ drug / (known.sum(1) + 1e-3))
            table = (
                mean + cell[:, None] + borrowed[None] + rest @ weight.T / (seen @ weight.T + 0.1)
            )
            yield {"sharpness": sharpness}, table, {"rest": rest, "cell": cell, "drug": drug}

    def new_table(self, benchmark: Benchmark, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """[rows, columns]: a new drug borrows from those like it; a new line has nothing to."""
        joint, rows, columns = joined(self.known, benchmark, rows, columns)
        split = whole_split(self.known, self.kind)
        tables = self._tables(joint, split, [self.chosen["sharpness"]])
        return next(tables)[1][np.ix_(rows, columns)]
