"""What models share: one criterion for choosing settings, one way to look predictions up."""

from dataclasses import dataclass, field, fields

import numpy as np

from clmt_lib.data.response.auxiliary import load_auxiliary
from clmt_lib.io import DataError
from clmt_lib.tasks.metrics import per_group, rmse

UNSEEN_DRUG_SPLITS = (
    "drug_blind",
    "scaffold_blind",
    "target_blind",
    "pathway_blind",
)  # a new drug's potency is unknowable here: settings are chosen by how well its lines are ranked


def selection_score(benchmark, split, predicted, role="valid"):
    """What settings are chosen by, lower is better: RMSE, or minus the per-drug r where whole drugs
    are held out.
    """
    positions = getattr(split, role)
    y = benchmark.y[positions]
    if split.kind in UNSEEN_DRUG_SPLITS:
        return -per_group(y, predicted, benchmark.pairs[positions, 1])
    return rmse(y, predicted)


def cosine(z):
    """[n, n] cosine of rows in float64; a row of zeros resembles only itself."""
    z = np.asarray(z, dtype=np.float64)
    z = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    out = z @ z.T
    np.fill_diagonal(out, 1.0)
    return out


class Model:
    """What `models.build` asks of every class: which settings it knows, and how it is made of them."""

    version = 1  # raised only when the numbers change

    @classmethod
    def known_settings(cls):
        """Names of what `models.build` may set."""
        return {f.name for f in fields(cls) if f.init}

    @classmethod
    def make(cls, **settings):
        """An unfitted model."""
        return cls(**settings)


class Configured(Model):
    """A model whose settings are the fields of one frozen dataclass, `Config`."""

    Config = None

    @classmethod
    def known_settings(cls):
        """The fields of `Config`."""
        return {f.name for f in fields(cls.Config)}

    @classmethod
    def make(cls, **settings):
        """A model with some settings changed (lists become tuples, as JSON has none)."""
        return cls(
            cls.Config(
                **{
                    name: tuple(value) if isinstance(value, list) else value
                    for name, value in settings.items()
                }
            )
        )


def check_names(config, **allowed):
    """Raises DataError where a setting of `config`, a name or several, is not among its `allowed`
    names.
    """
    for setting, names in allowed.items():
        value = getattr(config, setting)
        for name in (value,) if isinstance(value, str) else value:
            if name not in names:
                raise DataError(f"unknown {setting} {name!r}", remedy=f"use {', '.join(names)}")


@dataclass
class TableModel(Model):
    """A model whose predictions are one [C, D] table of ln IC50, made at the end of `fit`.

    What it reads besides the benchmark, it says in `also_read`, and a record's provenance says it,
    too.
    """

    table: np.ndarray = field(default=None, init=False, repr=False)
    chosen: dict = field(default_factory=dict, init=False, repr=False)
    also_read: dict = field(default_factory=dict, init=False, repr=False)

    def predict(self, pairs):
        """[n] ln IC50 (ln uM) of [n, 2] positions (cell, drug)."""
        cell, drug = np.asarray(pairs).T
        return self.table[cell, drug]

    def choose(self, benchmark, split, candidates):
        """Keep the (settings, table, state) with the lowest valid loss; the first wins a tie."""
        cell, drug = benchmark.pairs[split.valid].T
        best = None
        for settings, table, state in candidates:
            found = selection_score(benchmark, split, table[cell, drug])
            if best is None or found < best:
                best, self.chosen, self.table, self.fitted = found, settings, table, state
        return self

    def load_auxiliary(self, benchmark):
        """`data.response.auxiliary.look`, noted in `also_read`."""
        more = load_auxiliary(benchmark)
        self.also_read = more.describe()
        return more

    def state(self):
        """Every fitted array by name."""
        return dict(self.fitted)
