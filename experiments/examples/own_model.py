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
from sklearn.metrics.pairwise import cosine_similarity

from clmt_lib import data, models
from clmt_lib.tasks.metrics import additive_effects
from clmt_lib.views.structure import ranked


@models.register("similar_lines", display_name="similar lines", family="neighbours")
@dataclass
class SimilarLines(models.TableModel):
    """Mean and drug effect, and the mean effect of the lines whose expression is most similar."""

    lines: int = 10

    def fit(self, benchmark, split):
        """Learn from the training set alone."""
        self.mean, line, self.drug = additive_effects(benchmark, split.train)
        seen = np.unique(benchmark.pairs[split.train, 0])
        self.line, self.x = line[seen], benchmark.omics["expression"].to_numpy()[seen]
        return self.tabulate(benchmark)

    def new_table(self, benchmark, rows, columns):
        """[rows, columns] predictions for any lines with expression and any drugs."""
        alike = cosine_similarity(benchmark.omics["expression"].to_numpy()[rows], self.x)
        line = self.line[ranked(alike)[:, : self.lines]].mean(1)
        return self.mean + line[:, None] + self.padded(self.drug, benchmark, 1, columns)


benchmark = data.load(*sys.argv[1:] or ["simulated"])
names = ["similar_lines", "drug_mean", "tissue_drug_mean", "ridge"]
found = [models.cross_validate(name, benchmark, "cell_blind", folds=3) for name in names]
print(found[0].summary().round(3), models.compare(*found).round(3).to_string(), sep="\n\n")

mine = models.build("similar_lines").fit(benchmark, data.make_split(benchmark, "cell_blind"))
again = models.load(mine.save(f"{tempfile.mkdtemp()}/mine"))
x = benchmark.omics["expression"].iloc[:1].set_axis(["my line"])
line = data.Side("cell", pd.DataFrame({"name": ["mine"]}, ["my line"]), {"expression": x})
drug = data.Side("drug", pd.DataFrame({"name": ["new"], "smiles": ["CCO"]}, ["my drug"]))
wider = benchmark.extended(line, drug)
asked = [("my line", benchmark.drugs.index[0]), ("my line", "my drug")]
print(pd.Series(again.predict(wider.locate(asked), wider), asked, name=benchmark.units))
