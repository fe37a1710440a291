"""A model of your own: cross-validated beside three others, saved, loaded, asked about a new line
and a new drug.

`python experiments/examples/own_model.py` takes the simulated world, a few seconds;
`python experiments/examples/own_model.py gdsc2` the real table (it needs CLMT_DATA).
"""

import sys
import tempfile
from dataclasses import dataclass

import numpy as np
import pandas as pd

from clmt_lib import data, models
from clmt_lib.data.base import Side


@models.register("similar_lines", display_name="similar lines", family="neighbours")
@dataclass
class SimilarLines(models.TableModel):
    """A drug's mean, plus what the lines of the most similar expression differ from such means."""

    lines: int = 10

    def fit(self, benchmark, split):
        """Learn from the training set alone: means of drugs, deviations of lines."""
        self.remember(benchmark)
        y = pd.DataFrame(benchmark.matrix(split.train), benchmark.cells.index)
        self.mean = float(np.nanmean(y))
        self.drug = y.mean().fillna(self.mean).to_numpy() - self.mean
        deviation = (y - y.mean()).mean(axis=1).dropna()  # of lines with training pairs
        self.deviation = deviation.to_numpy()
        self.x = benchmark.omics["expression"].loc[deviation.index].to_numpy()
        self.table = self.new_table(benchmark, *(np.arange(n) for n in benchmark.shape))
        return self

    def new_table(self, benchmark, rows, columns):
        """[rows, columns] predictions for any lines with expression and any drugs."""
        x = benchmark.omics["expression"].to_numpy()[rows]
        alike = np.corrcoef(x, self.x)[: len(x), len(x) :]
        nearest = np.argsort(-alike, axis=1, kind="stable")[:, : self.lines]
        drug = self.padded(self.drug, benchmark, 1, columns)  # 0 for a new one
        return self.mean + self.deviation[nearest].mean(1)[:, None] + drug


def main(name: str = "simulated", kind: str = "cell_blind", folds: int = 3, **options) -> None:
    """Print the comparison, then the predictions for a new line and a new drug."""
    benchmark = data.load(name, **options)
    mine = models.cross_validate("similar_lines", benchmark, kind, folds=folds)
    print(mine.summary().round(3))
    for other in ("drug_mean", "tissue_drug_mean", "ridge"):
        found = models.cross_validate(other, benchmark, kind, folds=folds)
        print(f"\nsimilar lines - {models.display_name(other)}")
        print(models.compare(mine, found).round(3))

    model = models.build("similar_lines", lines=5).fit(benchmark, data.make_split(benchmark, kind))
    with tempfile.TemporaryDirectory() as folder:
        again = models.load(model.save(f"{folder}/mine"))
    expression = benchmark.omics["expression"].iloc[[0]].set_axis(["my line"])
    line = Side("cell", pd.DataFrame({"name": ["mine"]}, ["my line"]), {"expression": expression})
    drug = Side("drug", pd.DataFrame({"name": ["new"], "smiles": ["CCO"]}, ["my drug"]))
    wider = benchmark.extended(line, drug)
    at = np.array(wider.shape) - 1  # the last line and the last drug
    print(f"\nmy line, a known drug: {again.predict(np.array([[at[0], 0]]), wider)[0]:.2f}")
    print(f"my line, my drug:      {again.predict(at[None], wider)[0]:.2f}  {benchmark.units}")


if __name__ == "__main__":
    main(*sys.argv[1:])
