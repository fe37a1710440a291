"""Entities to arrays, one view at a time, and which entities have it (chapters 02 to 04).

A `Recipe` says how one view of one kind of entity is made: `fit` sees the entities themselves and
which of them are in training, never a response; `make` then works for any entities of that kind,
also for new ones. `fit_views` fits and makes all the views of a benchmark; what comes out, a
`Views`, says for each which entities have it (`present`) and which shaped it (`fitted_on`), so that
an audit can compare that with the split.

What is missing is a mask, not a row of zeros: a row of zeros in a table of mutations is a fact.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pandas as pd
import torch

from clmt_lib.io import DataError
from clmt_lib.views.controls import CONTROLS, drug_vectors
from clmt_lib.views.geometry import molecule_graphs
from clmt_lib.views.molecules import alike, fingerprints, listed, membership
from clmt_lib.views.proteins import alignment, word_cosine
from clmt_lib.views.structure import ranked
from clmt_lib.views.text import BUNDLED, describe_cells, describe_drugs, encode

NOBODY = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False, kw_only=True)
class Recipe(ABC):
    """How one view of one kind of entity is made.

    Attributes
    ----------
    entity : kind of entity, the name of its side; `fit_views` sets it
    scale : factor on the way into a network: sparse or small values to about the spread of a
        z-score. `make` does not apply it
    fitted_on : positions of the entities that shaped it; none where nothing is fitted
    """

    entity: str = "cell"
    scale: float = 1.0
    fitted_on: np.ndarray = field(default_factory=NOBODY.copy, repr=False)

    def fit(self, side: Any, rows: np.ndarray) -> Self:
        """The same recipe, fitted.

        Parameters
        ----------
        side : `Side` of all entities
        rows : positions of those with a training pair
        """
        return self

    @abstractmethod
    def make(self, side: Any) -> tuple[Any, np.ndarray]:
        """([n, features] values, [n] bool: who has them) for every entity of a side.

        Raises
        ------
        DataError
            The side lacks what this view is made from.
        """


@dataclass(frozen=True, eq=False)
class Raw(Recipe):
    """A table of the side as it is, such as mutations.

    Attributes
    ----------
    view : which table
    columns : features, as named in the table it was fitted on; those of new entities are put into
        this order
    """

    view: str
    columns: tuple[str, ...] | None = field(default=None, repr=False)

    def fit(self, side: Any, rows: np.ndarray) -> Self:
        """Keep the names of the columns."""
        table = self._view(side)
        names = tuple(map(str, table.columns)) if isinstance(table, pd.DataFrame) else None
        return replace(self, columns=names)

    def make(self, side: Any) -> tuple[np.ndarray, np.ndarray]:
        """[n, features] as in the table."""
        return self._table(side), side.has(self.view)

    def _view(self, side: Any) -> Any:
        if self.view not in side.views:
            raise DataError(
                f"the {side.name}s have no {self.view!r}",
                remedy=f"give that table too; there is {', '.join(side.views) or 'none'}",
            )
        return side.views[self.view]

    def _table(self, side: Any) -> np.ndarray:
        table = self._view(side)
        if not isinstance(table, pd.DataFrame):
            return np.asarray(table)
        if self.columns is not None and tuple(table.columns) != self.columns:
            lost = [name for name in self.columns if name not in table.columns]
            if lost:
                raise DataError(
                    f"{self.view} of the {side.name}s lacks {lost[0]!r} (and {len(lost) - 1} more)",
                    remedy="give every feature that the model was fitted on",
                )
            table = table[list(self.columns)]
        return table.to_numpy()


@dataclass(frozen=True, eq=False)
class Standardised(Raw):
    """A table of numbers less its mean, by its standard deviation over training entities; a column
    without spread keeps deviation 1.

    Attributes
    ----------
    mean, deviation : [features]
    """

    mean: Any = field(default=None, repr=False)
    deviation: Any = field(default=None, repr=False)

    def fit(self, side: Any, rows: np.ndarray) -> Self:
        """Mean and deviation over `rows` alone."""
        named = super().fit(side, rows)
        x = named._table(side).astype(np.float64)[rows]
        mean, deviation = x.mean(0), x.std(0)
        deviation = np.where(deviation > 1e-8, deviation, 1.0)
        return replace(named, mean=mean, deviation=deviation, fitted_on=rows)

    def make(self, side: Any) -> tuple[np.ndarray, np.ndarray]:
        """[n, features] float64 z-scores."""
        x = self._table(side).astype(np.float64)
        return (x - self.mean) / self.deviation, side.has(self.view)


@dataclass(frozen=True, eq=False)
class Components(Standardised):
    """Principal components of the z-scores over the entities it is fitted on, the first ones, all
    divided by one number: the mean of their deviations. So the first stay the largest.

    Attributes
    ----------
    most : components kept at most
    rotation : [features, kept]
    """

    most: int = 128
    rotation: Any = field(default=None, repr=False)

    def fit(self, side: Any, rows: np.ndarray) -> Self:
        """Rotation and scale over `rows` alone."""
        named = super().fit(side, rows)
        z = super(Components, named).make(side)[0][rows]
        rotation = np.linalg.svd(z - z.mean(0), full_matrices=False)[2]
        rotation = rotation[: min(self.most, len(rows) - 1)].T
        spread = max(float((z @ rotation).std(0).mean()), 1e-8)
        return replace(named, rotation=rotation / spread)

    def make(self, side: Any) -> tuple[np.ndarray, np.ndarray]:
        """[n, kept] float64."""
        z, there = super().make(side)
        return z @ self.rotation, there


@dataclass(frozen=True, eq=False)
class Ranged(Raw):
    """A table of numbers from 0 to 1 over the entities it is fitted on, its most variable columns.

    Attributes
    ----------
    most : columns kept at most
    everyone : fitted on all entities, those of the test set too: a defect of the authors' code
    low, spread : [features] minimum and range
    kept : positions of the columns that are kept
    """

    most: int = 8000
    everyone: bool = False
    low: Any = field(default=None, repr=False)
    spread: Any = field(default=None, repr=False)
    kept: Any = field(default=None, repr=False)

    def fit(self, side: Any, rows: np.ndarray) -> Self:
        """Minimum, range and choice of columns over `rows`, or over all entities."""
        rows = np.arange(len(side.frame)) if self.everyone else rows
        named = super().fit(side, rows)
        x = named._table(side).astype(np.float64)[rows]
        low, spread = x.min(0), x.max(0) - x.min(0)
        spread = np.where(spread > 1e-8, spread, 1.0)
        variance = ((x - low) / spread).var(0)
        kept = np.sort(ranked(variance)[: self.most])
        return replace(named, low=low, spread=spread, kept=kept, fitted_on=rows)

    def make(self, side: Any) -> tuple[np.ndarray, np.ndarray]:
        """[n, kept] float64."""
        x = self._table(side).astype(np.float64)
        return ((x - self.low) / self.spread)[:, self.kept], side.has(self.view)


@dataclass(frozen=True, eq=False)
class Fingerprint(Recipe):
    """Morgan bits of the structure (Rogers and Hahn 2010)."""

    radius: int = 2
    bits: int = 2048

    def make(self, side: Any) -> tuple[np.ndarray, np.ndarray]:
        """[n, bits] float64 0/1."""
        return fingerprints(side.frame, self.radius, self.bits), has_structure(side.frame)


@dataclass(frozen=True, eq=False)
class Molecules(Recipe):
    """Atom and bond-angle graphs of the structure."""

    conformers: int = 1

    def make(self, side: Any) -> tuple[Any, np.ndarray]:
        """`MoleculeGraphs`."""
        return molecule_graphs(side.frame, self.conformers), has_structure(side.frame)


def has_structure(frame: pd.DataFrame) -> np.ndarray:
    """[n] bool: a SMILES is given."""
    return np.array([isinstance(text, str) and bool(text.strip()) for text in frame["smiles"]])


@dataclass(frozen=True, eq=False)
class Annotation(Recipe):
    """Comma-separated names, such as targets, as a 0/1 column a name.

    Attributes
    ----------
    columns : of the frame
    names : for each column, the names there were at `fit`, over all entities; a name that comes
        later has no column. An entity without any of them does not have the view
    """

    columns: tuple[str, ...] = ("target", "pathway")
    names: tuple[tuple[str, ...], ...] = field(default=(), repr=False)

    def fit(self, side: Any, rows: np.ndarray) -> Self:
        """Collect the names of every column."""
        names = tuple(tuple(listed(side.frame[column])) for column in self.columns)
        return replace(self, names=names)

    def make(self, side: Any) -> tuple[np.ndarray, np.ndarray]:
        """[n, names] float64 0/1."""
        parts = zip(self.columns, self.names, strict=True)
        table = np.hstack([membership(side.frame[column], names) for column, names in parts])
        return table, (table != 0).any(axis=1)


@dataclass(frozen=True, eq=False)
class Text(Recipe):
    """A description of the entity, read by a frozen encoder.

    Attributes
    ----------
    source : of `describe_cells` or `describe_drugs`; for drugs also a control of
        `views.controls.drug_vectors`
    encoder : the bundled one, or a transformers model on this computer
    seed : of the controls that are random
    skip : characters left out at the beginning; a shorter text is missing (a defect of the authors'
        code)
    empty_counts : a missing text is read like any other (another defect)
    """

    source: str = "annotation"
    encoder: str = BUNDLED
    seed: int = 0
    skip: int = 0
    empty_counts: bool = False

    def texts(self, side: Any) -> list[str | None]:
        """[n] descriptions, None where there is none."""
        if self.entity == "cell":
            omics = {
                name: side.views[name] for name in ("mutation", "copy_number") if name in side.views
            }
            found = describe_cells(side.frame, self.source, omics)
        else:
            found = describe_drugs(side.frame, self.source)
        if self.skip:
            found = [text[self.skip :] or None if text else None for text in found]
        return [text or "" for text in found] if self.empty_counts else found

    def make(self, side: Any) -> tuple[np.ndarray, np.ndarray]:
        """[n, dim] float32 embeddings."""
        if self.entity == "drug" and self.source in CONTROLS:
            z = drug_vectors(side.frame, self.source, self.seed, self.encoder)
            return z, (z != 0).any(
                axis=1
            )  # a control deals out vectors, that of a missing text too
        texts = self.texts(side)
        there = np.array([text is not None for text in texts])
        return encode(texts, self.encoder), there


@dataclass(frozen=True, eq=False)
class Measured(Raw):
    """A table of measurements with gaps, such as assays or an expression signature: z-scores over
    the training entities that have them, then a 0/1 column for each feature that has gaps, 1 where
    it was measured. A gap is the mean, a z-score of 0.

    Attributes
    ----------
    mean, deviation : [features] over the entities it is fitted on, as far as measured
    gaps : [features] bool, the feature has a gap in some entity with the view that it is fitted on
    """

    mean: Any = field(default=None, repr=False)
    deviation: Any = field(default=None, repr=False)
    gaps: Any = field(default=None, repr=False)

    def fit(self, side: Any, rows: np.ndarray) -> Self:
        """Mean, deviation and gaps over those of `rows` that have the view."""
        named = super().fit(side, rows)
        rows = rows[side.has(self.view)[rows]]
        x = named._table(side).astype(np.float64)[rows]  # [some, features]
        there = np.isfinite(x)
        count = np.maximum(there.sum(0), 1)
        mean = np.where(there, x, 0.0).sum(0) / count
        deviation = np.sqrt(np.where(there, (x - mean) ** 2, 0.0).sum(0) / count)
        deviation = np.where(deviation > 1e-8, deviation, 1.0)
        gaps = ~there.all(0) if len(rows) else np.zeros(x.shape[1], dtype=bool)
        return replace(named, mean=mean, deviation=deviation, gaps=gaps, fitted_on=rows)

    def make(self, side: Any) -> tuple[np.ndarray, np.ndarray]:
        """[n, features + features with gaps] float64."""
        x = self._table(side).astype(np.float64)
        there = np.isfinite(x) & side.has(self.view)[:, None]
        z = np.where(there, (x - self.mean) / self.deviation, 0.0)
        return np.hstack([z, there[:, self.gaps].astype(np.float64)]), there.any(1)


@dataclass(frozen=True, eq=False)
class Described(Recipe):
    """A view of the side that is text, such as a protein's function, read by a frozen encoder.

    Attributes
    ----------
    view : which text; an entity whose text is empty does not have it
    encoder : the bundled one, or a transformers model on this computer
    """

    view: str
    encoder: str = BUNDLED

    def make(self, side: Any) -> tuple[np.ndarray, np.ndarray]:
        """[n, dim] float32 embeddings."""
        if self.view not in side.views:
            raise DataError(
                f"the {side.name}s have no {self.view!r}",
                remedy=f"give that text too; there is {', '.join(side.views) or 'none'}",
            )
        given = zip(side.views[self.view], side.has(self.view), strict=True)
        texts = [
            text if there and isinstance(text, str) and text.strip() else None
            for text, there in given
        ]
        return encode(texts, self.encoder), np.array([text is not None for text in texts])


ALPHABETS = {  # letters with a code of their own, from 1; any other letter has the one after them
    "sequence": "ACDEFGHIKLMNPQRSTVWY",
    "smiles": "#%()+-./0123456789=@BCFHIKLNOPSV[\\]abceilnoprst",
}


@dataclass(frozen=True, eq=False)
class Letters(Recipe):
    """The letters of a sequence or a SMILES as integers, for a convolution.

    Attributes
    ----------
    source : "sequence", a view of the side, or "smiles", a column of its frame
    longest : letters that are read; what comes after them is left out
    """

    source: str = "sequence"
    longest: int = 1200

    @property
    def letters(self) -> int:
        """The largest code: that of a letter outside the alphabet."""
        return len(ALPHABETS[self.source]) + 1

    def make(self, side: Any) -> tuple[np.ndarray, np.ndarray]:
        """[n, longest] int64 codes, zeros behind the end."""
        found = side.views if self.source == "sequence" else side.frame
        if self.source not in found:
            raise DataError(f"the {side.name}s have no {self.source!r}", remedy="give it, too")
        code = np.full(256, self.letters, dtype=np.int64)
        for number, letter in enumerate(ALPHABETS[self.source], start=1):
            code[ord(letter)] = number
        out = np.zeros((len(side), self.longest), dtype=np.int64)
        for row, text in enumerate(found[self.source]):
            text = text if isinstance(text, str) else ""
            text = text.upper() if self.source == "sequence" else text
            letters = np.frombuffer(text.encode("latin-1", "replace"), dtype=np.uint8)
            out[row, : len(letters)] = code[letters[: self.longest]]
        return out, (out != 0).any(1)


STRUCTURES = ("morgan", "atom_pair", "path")  # fingerprints; another kind is of sequences


def between(kind: str, a: Sequence[str], b: Sequence[str]) -> np.ndarray:
    """[a, b] similarity from 0 to 1 of structures, or of sequences; 0 beside an empty one.

    Parameters
    ----------
    kind : "morgan", "atom_pair" or "path": Tanimoto of such fingerprints; "words_2", "words_3":
        cosine of the counts of so many residues in a row; "alignment", as in `views.proteins`
    """
    if kind in STRUCTURES:
        return alike(a, b, kind)
    if kind == "alignment":
        return alignment([*a, *b])[: len(a), len(a) :]
    return word_cosine(a, b, int(kind.removeprefix("words_")))


@dataclass(frozen=True, eq=False)
class Alike(Recipe):
    """How alike an entity is to each entity of the training set: a row of kernels.

    Attributes
    ----------
    kinds : of similarity, side by side, all of structures or all of sequences; see `between`
    landmarks : an entity is compared with at most so many training entities, spread evenly over
        their order; 0 compares it with all, which may be thousands
    known : kind -> [training entities] what they are compared by: SMILES or sequences
    mean, deviation : [features] over the training entities
    """

    kinds: tuple[str, ...] = ("morgan", "atom_pair", "path")
    landmarks: int = 0
    known: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    mean: Any = field(default=None, repr=False)
    deviation: Any = field(default=None, repr=False)

    def fit(self, side: Any, rows: np.ndarray) -> Self:
        """Keep the training entities, and the scale of each column among them."""
        there = [row for row in rows if self._texts(side)[row]]
        marks = there
        if 0 < self.landmarks < len(there):
            places = np.linspace(0, len(there) - 1, self.landmarks).round().astype(int)
            marks = [there[place] for place in places]
        known = tuple(self._texts(side)[row] for row in marks)
        named = replace(self, known=dict.fromkeys(self.kinds, known))
        # with all of the side, as `make` does: one alignment is then kept, whatever the fold
        x = named._rows(self._texts(side))[there]
        deviation = np.maximum(x.std(0), 0.03)
        return replace(named, mean=x.mean(0), deviation=deviation, fitted_on=np.array(there))

    def make(self, side: Any) -> tuple[np.ndarray, np.ndarray]:
        """[n, kinds x training entities] float64 z-scores."""
        texts = self._texts(side)
        there = np.array([bool(text) for text in texts])
        x = (self._rows(texts) - self.mean) / self.deviation
        return np.where(there[:, None], x, 0.0), there

    def _texts(self, side: Any) -> list[str]:
        of_structure = self.kinds[0] in STRUCTURES
        found = side.frame if of_structure else side.views
        source = "smiles" if of_structure else "sequence"
        if source not in found:
            raise DataError(f"the {side.name}s have no {source!r}", remedy="give it, too")
        return [text.strip() if isinstance(text, str) else "" for text in found[source]]

    def _rows(self, texts: Sequence[str]) -> np.ndarray:
        parts = [between(kind, texts, self.known[kind]) for kind in self.kinds]
        return np.hstack(parts)


@dataclass(frozen=True, eq=False)
class View:
    """One view of all entities of a side.

    Attributes
    ----------
    recipe : how it was made, fitted
    values : [n, features], or `MoleculeGraphs`
    present : [n] bool, who has it
    """

    recipe: Recipe
    values: Any = field(repr=False)
    present: np.ndarray = field(repr=False)

    @property
    def entity(self) -> str:
        """Name of the side."""
        return self.recipe.entity

    @property
    def fitted_on(self) -> np.ndarray:
        """Positions of the entities that shaped it."""
        return self.recipe.fitted_on

    def tensor(self, device: torch.device | str = "cpu") -> Any:
        """The values, scaled, as float32 on a device; graphs as they are."""
        if not isinstance(self.values, np.ndarray):
            return self.values.to(device)
        if self.values.dtype.kind == "i":  # codes of letters
            return torch.tensor(self.values, device=device)
        scaled = self.recipe.scale * self.values
        return torch.tensor(np.asarray(scaled, dtype=np.float32), device=device)

    def mask(self, device: torch.device | str = "cpu") -> torch.Tensor:
        """[n] bool on a device: who has it."""
        return torch.tensor(self.present, device=device)


@dataclass(frozen=True, eq=False)
class Views(Mapping[str, Mapping[str, View]]):
    """The views of a benchmark: `views["drug"]["text"].values`.

    Attributes
    ----------
    sides : name of a side -> name of a view -> `View`
    """

    sides: Mapping[str, Mapping[str, View]]

    def __getitem__(self, side: str) -> Mapping[str, View]:
        return self.sides[side]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sides)

    def __len__(self) -> int:
        return len(self.sides)

    @property
    def recipes(self) -> dict[str, dict[str, Recipe]]:
        """Side -> view -> the fitted recipe: what is needed for new entities."""
        return {
            side: {name: view.recipe for name, view in views.items()}
            for side, views in self.sides.items()
        }

    def fitted(self) -> list[View]:
        """Views with something fitted, as `audit.audit` takes them as `transforms`."""
        return [
            view for views in self.sides.values() for view in views.values() if len(view.fitted_on)
        ]


def fit_views(benchmark: Any, split: Any, recipes: Mapping[str, Mapping[str, Recipe]]) -> Views:
    """Fit every recipe on the entities with a training pair, and make its view of all entities.

    Parameters
    ----------
    benchmark : with sides of the names that `recipes` has
    split : whose training set is fitted on
    recipes : name of a side -> name of a view -> `Recipe`

    Raises
    ------
    DataError
        A side that is not there, or lacks what a view is made from.

    >>> from clmt_lib import data
    >>> world = data.load("simulated", cells=24)
    >>> split = data.make_split(world, "cell_blind")
    >>> recipe = {"cell": {"expression": Standardised("expression")}, "drug": {"text": Text()}}
    >>> views = fit_views(world, split, recipe)
    >>> views["drug"]["text"].values.shape == (world.n_drugs, 384)
    True
    >>> [view.entity for view in views.fitted()]
    ['cell']
    """
    sides = {}
    for name, wanted in recipes.items():
        side, axis = benchmark.side(name), benchmark.axis(name)
        rows = np.unique(benchmark.pairs[split.train, axis])
        fitted = {view: replace(how, entity=name).fit(side, rows) for view, how in wanted.items()}
        sides[name] = make_views(side, fitted)
    return Views(sides)


def make_views(side: Any, recipes: Mapping[str, Recipe]) -> dict[str, View]:
    """view -> `View` of the entities of a side, by recipes that are fitted already."""
    return {name: View(recipe, *recipe.make(side)) for name, recipe in recipes.items()}
