"""Fit once, ask often: predictions for a reader's own drugs and lines, each with an interval and
with what should make one doubt it.

The interface, which other modules build on::

    predictor = Predictor.fit(benchmark)            # a DrugResponse in ln uM
    predictor.save(folder)                          # safetensors and JSON
    predictor = Predictor.load(folder)
    frame = predictor.predict(drugs, lines)         # names, ids, SMILES, files or frames
    frame = predict_responses(folder, drugs, lines)

`drugs` and `lines` are as in `entities.DrugReader` and `entities.find_lines`; None is all that the
model knows. `frame` has a row for each pair, drug by drug, and the columns `COLUMNS`.

Each kind of pair is answered by a model that suits it:

========== ===================================================================================
known      kernel ridge with structure (`KernelHead`, "pairs")
new line   kernel ridge of the lines' views, trained with whole lines left out ("rows"); of a line
           without expression, one that was also fitted on such lines
new drug   kernel ridge of the drugs' views, trained with whole compounds left out ("columns"), and
           the level of the drug (`levels.DrugLevels`; with its highest concentration, if given)
both new   what the second says of the new line under all known drugs, carried over to the new drug
           by the third (`KernelHead.carried`), at the drug's level
========== ===================================================================================
"""

import copy
import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from multiprocessing.context import SpawnContext
from multiprocessing.managers import SyncManager
from pathlib import Path
from statistics import NormalDist
from typing import Any, ClassVar, TypeAlias

import numpy as np
import pandas as pd
from tqdm import tqdm

from clmt_lib.data.base import Benchmark, Side
from clmt_lib.data.grouping import connected, group_compounds, letters, parent_key
from clmt_lib.data.response.auxiliary import (
    highest_concentration,
    with_culture,
    with_events,
)
from clmt_lib.data.splits import Split
from clmt_lib.io import DataError, atomic_write
from clmt_lib.models import saving
from clmt_lib.models.kernel_head import NEW_DRUGS, NEW_LINES, KernelHead
from clmt_lib.models.known import training_set, whole_split
from clmt_lib.predict.entities import (
    Asked,
    DrugReader,
    Source,
    drug_views,
    find_lines,
    new_drug_side,
)
from clmt_lib.predict.intervals import LEVELS, Calibration, calibrate
from clmt_lib.predict.levels import Described, DrugLevels, described, joined
from clmt_lib.predict.pilot import Measured, PilotPrior, fit_prior, known_names
from clmt_lib.records.grids import check_processes, not_started, spawning
from clmt_lib.tasks.metrics import per_group
from clmt_lib.views.controls import BITS_VIEW
from clmt_lib.views.genesets import LARGEST, reactome
from clmt_lib.views.molecules import tanimoto

KINDS = ("known", "new line", "new drug", "both new")
DOSED = " with concentration"  # ending of the calibration of drugs whose concentration was given
USE = "research use only, not for treatment"
COLUMNS = (
    "line",
    "drug",
    "ln_ic50",
    "lower",
    "upper",
    "ic50_um",
    "percentile",
    "pair",
    "line_name",
    "drug_name",
    "nearest_drug",
    "drug_similarity",
    "nearest_line",
    "line_similarity",
    "genes_given",
    "missing_views",
    "note",
    "use",
)
LINE_PARTS, DRUG_PARTS = 5, 5  # in which lines and compounds are held out, to calibrate intervals
SEEN_PART = 10  # one known pair in so many is held out
BLOCK = 500  # new entities of a side that are predicted together, at most
PAIRS = 100_000  # of a block, at most, unless one drug has more
Elsewhere: TypeAlias = Callable[[Collection[str]], pd.DataFrame]
FAR = 0.05  # an entity is unlike all where so few known ones are as far from the next known one


@dataclass(eq=False)
class Predictor:
    """Models that were fitted on one screen, for pairs of known and new drugs and lines.

    Attributes
    ----------
    known : Benchmark of what was fitted on, with every view that the models read
    seen, line, drug : `KernelHead`s for known pairs, new lines and new drugs
    bare : the one for new lines without expression; None where all lines have it
    level, dosed : `DrugLevels`, without and with the highest concentration; None where the screen's
        are not known
    out_of_fold : kind of pair (and `DOSED`) -> [lines, drugs] float32 what was said of each line,
        drug or both while they were held out; NaN where a pair was not asked about
    calibration : kind of pair (and `DOSED`) -> `Calibration`
    gene_sets : name -> symbols, that the view "steps" is made of; None where it is not read
    lines, drugs : further lines (a Side) and drugs (a frame of facts) that are known by name
    far : side -> similarity to the nearest known entity below which a new one is unlike all
    elsewhere : skeleton of a compound -> other screens that tell of its level
    about : what it was fitted on, its terms
    """

    known: Benchmark
    seen: KernelHead
    line: KernelHead
    bare: KernelHead | None
    drug: KernelHead
    level: DrugLevels
    dosed: DrugLevels | None
    out_of_fold: dict[str, np.ndarray]
    calibration: dict[str, Calibration]
    gene_sets: dict[str, list[str]] | None = None
    lines: Side | None = None
    drugs: pd.DataFrame | None = None
    far: dict[str, float] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    version: ClassVar[int] = 3

    @classmethod
    def fit(
        cls,
        benchmark: Benchmark,
        lines: Side | None = None,
        drugs: pd.DataFrame | None = None,
        seed: int = 0,
        say: Callable[[str], None] | None = None,
        others: Elsewhere | None = None,
    ) -> "Predictor":
        """Fit every model on all pairs of a benchmark, and calibrate the intervals on what was held
        out in turn.

        The constants of the kernels are trained once, on all pairs (by leaving out blocks);
        whatever else is fitted is fitted again without each part.

        Parameters
        ----------
        benchmark : cell lines x drugs, ln IC50 in ln uM
        lines, drugs : further entities that may be asked about by name (see
            `data.response.gdsc.catalogue`)
        seed : of what is held out together
        say : is told what is being done
        others : ids of lines -> levels of drugs in other screens without these lines
            (`data.response.auxiliary.other_levels`), which teach the levels of new drugs, too

        Raises
        ------
        DataError
            Another kind of benchmark, or one with too few lines or drugs to hold any out.
        """
        say = say or (lambda text: None)
        if [side.name for side in benchmark.sides] != ["cell", "drug"]:
            raise DataError(
                f"{benchmark.name} is no screen of cell lines and drugs",
                remedy="fit on a benchmark of cell lines x drugs",
            )
        gene_sets = None if benchmark.simulated else _gene_sets()
        known = _whole(_told(benchmark, gene_sets))
        if lines is not None:
            lines = _told_lines(lines, benchmark)
        say(f"fitting on {len(known):,} pairs of {known.shape[0]} lines and {known.shape[1]} drugs")
        rows = _of_whole_lines(known)
        line = KernelHead(**NEW_LINES).fit(known, _only(known, rows, "cell_blind"))
        bare = None
        if not _with_expression(known.sides[0]).all():
            bare = KernelHead(**NEW_LINES).fit(known, whole_split(known, "cell_blind"))
        drug = KernelHead(**NEW_DRUGS).fit(known, whole_split(known, "drug_blind"))
        told = _Levels.of(known, others, gene_sets)
        level = told.fit(known.pairs, known.y)
        dosed = None
        if "dose" in known.sides[1].views:
            dosed = told.fit(known.pairs, known.y, with_dose=True)
        say("holding out known pairs")
        seen, calibration = _seen(known, seed)
        fitted = cls(known, seen, line, bare, drug, level, dosed, {}, calibration)
        say("holding out lines, drugs and both")
        fitted._hold_out(seed, told)
        for model in (seen, line, bare, drug):
            if model is not None and model.known.shape == known.shape:
                model.known = known  # one training set for all, in memory and on disk
        fitted.lines, fitted.drugs, fitted.far = lines, drugs, _far(known)
        fitted.elsewhere = told.elsewhere()
        if gene_sets is not None:
            fitted.gene_sets = {name: sorted(genes) for name, genes in gene_sets.items()}
        fitted.about = {
            "fitted_on": benchmark.name,
            "seed": seed,
            "lines": known.shape[0],
            "drugs": known.shape[1],
            "pairs": len(known),
            "levels_of_other_screens": told.count(),
            "units": benchmark.units,
            "licence": benchmark.licence,
            "source": benchmark.source,
            "simulated": benchmark.simulated,
            "use": USE,
        }
        return fitted

    def _hold_out(self, seed: int, told: "_Levels") -> None:
        """Predict every part of the lines, of the compounds, and of both while it is held out."""
        known = self.known
        row, column = known.pairs.T
        line_part, drug_part = parts_of(known, seed)
        new_line, new_drug, new_dosed, both, both_dosed = (
            np.full(known.shape, np.nan, dtype=np.float32) for _ in range(5)
        )
        for part in range(LINE_PARTS):
            lines = np.flatnonzero(line_part == part)
            new_line[lines] = self._lines_without(line_part[row] != part)[lines]
        for part in range(DRUG_PARTS):
            drugs = np.flatnonzero(drug_part == part)
            rest = np.flatnonzero(drug_part[column] != part)
            table = _again(self.drug, known, rest).table[:, drugs].astype(float)
            centre = table[np.unique(row[rest])].mean(0)
            for out, with_dose in ((new_drug, False), (new_dosed, True)):
                if not with_dose or self.dosed is not None:
                    levels = told.fit(known.pairs[rest], known.y[rest], drugs, with_dose)
                    out[:, drugs] = table - centre + levels.predict(told.own[drugs])
        for part in range(min(LINE_PARTS, DRUG_PARTS)):
            lines, drugs = np.flatnonzero(line_part == part), np.flatnonzero(drug_part == part)
            rest = np.flatnonzero((line_part[row] != part) & (drug_part[column] != part))
            told_by_rest = told.without(known.sides[0].ids[lines])
            table = self._lines_without(np.isin(np.arange(len(row)), rest))
            profiles = table[np.ix_(lines, np.unique(column[rest]))]
            model = _again(self.drug, known, rest)
            found, further = (part.T for part in model.carried(known, drugs, profiles.T))
            for out, with_dose in ((both, False), (both_dosed, True)):
                if not with_dose or self.dosed is not None:
                    levels = told_by_rest.fit(known.pairs[rest], known.y[rest], drugs, with_dose)
                    shift = levels.predict(told.own[drugs]) - found.mean(0)
                    out[np.ix_(lines, drugs)] = further + shift
        said = {"new line": new_line, "new drug": new_drug, "both new": both}
        if self.dosed is not None:
            said |= {f"new drug{DOSED}": new_dosed, f"both new{DOSED}": both_dosed}
        self.out_of_fold = said
        for kind, table in said.items():
            where = np.isfinite(table[row, column])
            self.calibration[kind] = _calibrated(
                known, np.flatnonzero(where), table[row, column][where], kind != "new line"
            )

    def _lines_without(self, kept: np.ndarray) -> np.ndarray:
        """[lines, drugs] what is said of every line by fits on the pairs `kept` [n] bool alone."""
        known, whole = self.known, _of_whole_lines(self.known)
        table = _again(self.line, known, whole[kept[whole]]).table
        if self.bare is None:
            return table
        other = _again(self.bare, known, np.flatnonzero(kept)).table
        return np.where(_with_expression(known.sides[0])[:, None], table, other)

    def predict(
        self,
        drugs: Source = None,
        lines: Source = None,
        *,
        level: float = 0.9,
        scale: str = "auto",
        as_new: bool = False,
        genes: str | os.PathLike | pd.DataFrame | None = None,
        measured: str | os.PathLike | pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Predictions for every pair of some drugs and lines, drug by drug.

        Parameters
        ----------
        drugs, lines : see `entities.DrugReader`, `entities.find_lines`; None: all known ones
        level : share of pairs that an interval should cover, one of `LEVELS`
        scale : of a table of expression
        as_new : treat known drugs and lines as if they were new
        genes : table of Ensembl ids and symbols, for a table of expression that has ids
        measured : pilot responses of new drugs in known lines, or of new lines under known drugs
            (`pilot.Measured.match`): predictions of these follow them

        Returns
        -------
        [pairs] frame with the columns `COLUMNS`.

        Raises
        ------
        DataError
            From those; another level.
        """
        return pd.concat(
            self.blocks(
                drugs,
                lines,
                level=level,
                scale=scale,
                as_new=as_new,
                genes=genes,
                measured=measured,
            ),
            ignore_index=True,
        )

    def blocks(
        self,
        drugs: Source = None,
        lines: Source = None,
        *,
        level: float = 0.9,
        scale: str = "auto",
        as_new: bool = False,
        genes: str | os.PathLike | pd.DataFrame | None = None,
        measured: str | os.PathLike | pd.DataFrame | None = None,
        skip: Callable[[int], bool] = lambda number: False,
        checked: bool = False,
    ) -> Iterator[pd.DataFrame]:
        """`predict`, a frame for each block of drugs: what is in memory at once does not grow with
        their number.

        Parameters
        ----------
        skip : number of a block -> whether it is left out (it is known already)
        checked : every structure has been read once already (by `count`)

        Returns
        -------
        An iterator of frames, one for each block that is not left out.
        """
        if level not in LEVELS:
            raise DataError(
                f"no interval of {level:g}", remedy=f"use one of {', '.join(map(str, LEVELS))}"
            )
        asked_lines = find_lines(lines, self.known, self.lines, scale, as_new, genes)
        reader = DrugReader(drugs, self.known, self.drugs, self._sets(), as_new, checked)
        about_lines = self._about_lines(asked_lines)
        rows = self._new_rows(asked_lines)
        pilot = Measured()
        if measured is not None:
            every = reader.read(slice(0, len(reader)))
            pilot = Measured.match(measured, every, asked_lines, self.known.sides)
        size = block_size(len(asked_lines))
        for number, start in enumerate(range(0, len(reader), size)):
            if not skip(number):
                part = reader.read(slice(start, start + size))
                own = {j - start: given for j, given in pilot.drugs.items()}
                block = Measured(own, pilot.lines)
                yield self._block(part, asked_lines, about_lines, rows, level, block)

    def count(self, drugs: Source, lines: Source, **options: Any) -> tuple[int, int]:
        """(lines, drugs) that are asked about; raises what `predict` would of files and names."""
        read = {name: options[name] for name in ("scale", "as_new", "genes") if name in options}
        as_new = bool(read.get("as_new", False))
        found = find_lines(lines, self.known, self.lines, **read)
        return len(found), len(DrugReader(drugs, self.known, self.drugs, self._sets(), as_new))

    def pilot(self, kind: str) -> PilotPrior:
        """How errors go together that were made of "new line"s (over drugs), or "new drug"s (over
        lines; with `DOSED`, where the concentration was given), while they were held out.
        """
        errors = self.known.matrix() - self.out_of_fold[kind]
        if kind == "new line":
            return fit_prior(errors)
        return fit_prior(errors.T, self.known.sides[1].keys["compound"])

    def measure_next(
        self, what: str = "lines", count: int = 10, measured: Sequence[str] = ()
    ) -> list[str]:
        """Ids of the known lines in which to measure a new drug (or of the drugs to try on a new
        line), best first: those that leave the smallest variance in all others.

        Parameters
        ----------
        what : "lines" or "drugs"
        measured : ids or names of those that were measured already

        Raises
        ------
        DataError
            Something else; a name that the model does not know.
        """
        if what not in ("lines", "drugs"):
            raise DataError(f"no {what!r} to measure", remedy="ask for lines or drugs")
        side = self.known.sides[0 if what == "lines" else 1]
        names = known_names(side)
        lost = [label for label in measured if letters(label) not in names]
        if lost:
            raise DataError(f"{lost[0]!r} is none of the model's {what}", remedy="name a known one")
        prior = self.pilot("new drug" if what == "lines" else "new line")
        chosen = prior.choose(count, [names[letters(label)] for label in measured])
        return [str(side.ids[i]) for i in chosen]

    def number_of_pairs(self) -> int:
        """How many pairs it was fitted on."""
        return len(self.known)

    @property
    def held_out(self) -> np.ndarray:
        """[lines, drugs] what was said of each known line while it was held out."""
        return self.out_of_fold["new line"]

    def _sets(self) -> dict[str, set[str]] | None:
        if self.gene_sets is None:
            return None
        return {name: set(genes) for name, genes in self.gene_sets.items()}

    def _new_rows(self, lines: Asked) -> np.ndarray:
        """[new lines, known drugs] what is said of new lines under every known drug."""
        if lines.side is None:
            return np.zeros((0, self.known.shape[1]))
        found = []
        for start in range(0, len(lines.side), BLOCK):
            side = _some_of(lines.side, slice(start, start + BLOCK))
            joint = self.known.extended(side)
            new = self.known.shape[0] + np.arange(len(side))
            every = np.arange(self.known.shape[1])
            with_it = _with_expression(side)
            table = np.zeros((len(side), len(every)))
            for model, rows in ((self.line, with_it), (self.bare or self.line, ~with_it)):
                if rows.any():
                    table[rows] = model.new_table(joint, new[rows], every)
            found.append(table)
        return np.vstack(found)

    def _block(
        self,
        drugs: Asked,
        lines: Asked,
        about_lines: pd.DataFrame,
        rows: np.ndarray,
        level: float,
        pilot: Measured,
    ) -> pd.DataFrame:
        """The frame of some drugs under all lines."""
        n, m = len(lines), len(drugs)
        found, percentile, half = (np.full((n, m), np.nan) for _ in range(3))
        kind = np.empty((n, m), dtype=object)
        new_line, new_drug = lines.at < 0, drugs.at < 0
        tissues = self._tissues(lines)
        dose, sd = np.zeros(m, dtype=bool), np.full((n, m), np.nan)  # of what follows a measurement
        known_columns = np.flatnonzero(~new_drug)
        shares = np.ones((n, m))  # of the variance that is left, of a new line under such a drug
        rows, sd_of_lines = self._measured_lines(lines, rows, pilot)
        for j in known_columns:
            column = drugs.at[j]
            for new in (False, True):
                at = np.flatnonzero(new_line == new)
                own = rows[lines.new[at], column] if new else self.seen.table[lines.at[at], column]
                sd[at, j] = sd_of_lines[lines.new[at], column] if new else np.nan
                others = (self.held_out if new else self.seen.table)[:, column]
                found[at, j], percentile[at, j] = own, _percentile(own, others)
        if new_drug.any() and drugs.side is not None:
            columns = np.flatnonzero(new_drug)
            known_part, further, held = self._new_columns(drugs.side, rows)
            place = drugs.new[columns]
            dose[columns] = self._doses(drugs.side)[place]
            old, priors = np.flatnonzero(~new_line), dict[str, PilotPrior]()
            for j, p in zip(columns, place, strict=True):
                if j in pilot.drugs:
                    name = "new drug" + (DOSED if dose[j] else "")
                    prior = priors[name] = priors.get(name) or self.pilot(name)
                    given = pilot.drugs[int(j)]
                    variance = prior.variance(given[0])
                    better = prior.update(known_part[:, p], *given)
                    shift = (better - known_part[:, p]).mean()  # a new line follows the level
                    known_part[:, p] = better
                    further[:, p] += shift
                    held[:, p] += shift
                    sd[:, j] = np.sqrt(np.where(new_line, np.nan, variance[lines.at]))
                    shares[:, j] = variance.sum() / np.trace(prior.covariance)
            found[np.ix_(old, columns)] = known_part[lines.at[old]][:, place]
            fresh = np.flatnonzero(new_line)
            found[np.ix_(fresh, columns)] = further[lines.new[fresh]][:, place]
            for j, p in zip(columns, place, strict=True):
                percentile[old, j] = _percentile(found[old, j], known_part[:, p])
                percentile[fresh, j] = _percentile(found[fresh, j], held[:, p])
        for i_new, j_new, name in (
            (False, False, "known"),
            (True, False, "new line"),
            (False, True, "new drug"),
            (True, True, "both new"),
        ):
            for with_dose in (False, True):
                block = np.ix_(new_line == i_new, (new_drug == j_new) & (dose == with_dose))
                if not kind[block].size:
                    continue
                kind[block] = name
                calibration = self.calibration[name + (DOSED if with_dose else "")]
                ids = np.array([self._drug_id(drugs, column) for column in block[1].ravel()])
                of_row, of_column = (part.ravel() for part in np.indices(kind[block].shape))
                rows_of = tissues[block[0].ravel()]
                width = calibration.half_width(ids[of_column], rows_of[of_row], level)
                half[block] = width.reshape(kind[block].shape)
        # with measurements errors are nearly normal (record `pilot-gdsc2`: their coverage)
        half = np.where(
            np.isnan(sd), half * np.sqrt(shares), NormalDist().inv_cdf(0.5 + level / 2) * sd
        )
        told = _pilot_notes(pilot, drugs, lines, sd)
        return self._frame(drugs, lines, about_lines, found, half, percentile, kind, told)

    def _measured_lines(
        self, lines: Asked, rows: np.ndarray, pilot: Measured
    ) -> tuple[np.ndarray, np.ndarray]:
        """([new lines, known drugs] predictions that follow what was measured of a line; their
        standard deviations, NaN for a line of which nothing was).
        """
        rows, sd = rows.copy(), np.full(rows.shape, np.nan)
        prior = self.pilot("new line") if pilot.lines else None
        for i, (at, y) in pilot.lines.items():
            assert prior is not None
            rows[lines.new[i]] = prior.update(rows[lines.new[i]], at, y)
            sd[lines.new[i]] = np.sqrt(prior.variance(at))
        return rows, sd

    def _new_columns(
        self, side: Side, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What is said of new drugs [.., D] in known lines, in new lines, and in known lines as if
        they had been held out.
        """
        joint = self.known.extended(side)
        n, m = self.known.shape
        asked = m + np.arange(len(side))
        profiles = np.vstack([rows, self.held_out])
        known, further = (part.T for part in self.drug.carried(joint, asked, profiles.T))
        facts = described(side)
        levels = self.level.predict(facts)
        dose = self._doses(side)
        if self.dosed is not None and dose.any():
            levels[dose] = self.dosed.predict(facts[np.flatnonzero(dose)])
        shift = levels - known.mean(0)
        return known + shift, further[: len(rows)] + shift, further[len(rows) :] + shift

    def _doses(self, side: Side) -> np.ndarray:
        """[D] bool: the highest concentration is given, and the model reads it."""
        if self.dosed is None or "dose" not in side.views:
            return np.zeros(len(side), dtype=bool)
        return np.isfinite(side.views["dose"].to_numpy()[:, 0])

    def _drug_id(self, drugs: Asked, j: int) -> str:
        return str(self.known.sides[1].ids[drugs.at[j]]) if drugs.at[j] >= 0 else ""

    def _tissues(self, lines: Asked) -> np.ndarray:
        """[n] tissue of each line."""
        own = self.known.sides[0].frame["tissue"].fillna("unknown").astype(str).to_numpy()
        out = np.empty(len(lines), dtype=object)
        out[lines.at >= 0] = own[lines.at[lines.at >= 0]]
        if lines.side is not None:
            new = lines.side.frame["tissue"].fillna("unknown").astype(str).to_numpy()
            out[lines.at < 0] = new[lines.new[lines.at < 0]]
        return out.astype(str)

    def _about_lines(self, lines: Asked) -> pd.DataFrame:
        """[n] nearest known line of a new one by expression, genes given, views that are missing,
        and notes.
        """
        side = self.known.sides[0]
        nearest, missing = (np.full(len(lines), "", dtype=object) for _ in range(2))
        similarity = np.full(len(lines), np.nan)
        notes = [list(part) for part in lines.notes]
        if lines.side is not None and "expression" in side.views:
            there = np.flatnonzero(side.has("expression"))
            z = _standard(side.views["expression"].to_numpy(np.float64)[there])
            names = side.frame["name"].astype(str).to_numpy()[there]
            kinds = ("expression", "mutation", "copy_number", "events")
            views = [view for view in kinds if view in side.views]
            has = {view: lines.side.has(view) for view in views}
            own = lines.side.views["expression"].to_numpy(np.float64)
            for i in np.flatnonzero(lines.at < 0):
                new = lines.new[i]
                missing[i] = ", ".join(view for view in views if not has[view][new])
                if not has["expression"][new]:
                    notes[i].append("no expression: predicted from what else is known of the line")
                    continue
                alike = np.round(z @ _standard(own[[new]])[0], 6)
                best = int(np.argmax(alike))
                nearest[i], similarity[i] = names[best], alike[best]
                if alike[best] < self.far["line"]:
                    notes[i].append("a line unlike all that the model knows")
        return pd.DataFrame(
            {
                "nearest_line": nearest,
                "line_similarity": similarity,
                "missing_views": missing,
                "genes_given": lines.genes,
                "note": ["; ".join(part) for part in notes],
            }
        )

    def _about_drugs(self, drugs: Asked) -> pd.DataFrame:
        """[m] nearest known drug of a new one by fingerprint, and notes."""
        nearest = np.full(len(drugs), "", dtype=object)
        similarity = np.full(len(drugs), np.nan)
        notes = [list(part) for part in drugs.notes]
        if drugs.side is not None:
            side = self.known.sides[1]
            known = np.asarray(side.views[BITS_VIEW], dtype=np.float32)
            names = side.frame["name"].astype(str).to_numpy()
            bits = np.asarray(drugs.side.views[BITS_VIEW], dtype=np.float32)
            alike, there = tanimoto(bits, known), np.asarray(bits.any(1))
            best = alike.argmax(1)
            structures = drugs.side.frame["smiles"].tolist()
            for j in np.flatnonzero(drugs.at < 0):
                new = drugs.new[j]
                if self.elsewhere and isinstance(structures[new], str):
                    screens = self.elsewhere.get(parent_key(structures[new]) or "")
                    if screens:
                        notes[j].append(f"its level follows what was measured by {screens}")
                if not there[new]:
                    continue
                nearest[j], similarity[j] = names[best[new]], alike[new, best[new]]
                if similarity[j] < self.far["drug"]:
                    notes[j].append("a structure unlike all that the model knows")
        told = ["; ".join(part) for part in notes]
        return pd.DataFrame({"nearest_drug": nearest, "drug_similarity": similarity, "note": told})

    def _frame(
        self,
        drugs: Asked,
        lines: Asked,
        about_lines: pd.DataFrame,
        found: np.ndarray,
        half: np.ndarray,
        percentile: np.ndarray,
        kind: np.ndarray,
        told: np.ndarray,
    ) -> pd.DataFrame:
        """A row for each pair, drug by drug."""
        n, m = found.shape
        about_drugs = self._about_drugs(drugs)
        j, i = (part.ravel() for part in np.indices((m, n)))
        y, width = found.T.ravel(), half.T.ravel()
        of_line, of_drug = about_lines.iloc[i], about_drugs.iloc[j]
        notes = [
            "; ".join(part for part in every if part)
            for every in zip(of_drug["note"], of_line["note"], told.T.ravel(), strict=True)
        ]
        return pd.DataFrame(
            {
                "line": np.array(lines.ids, dtype=object)[i],
                "drug": np.array(drugs.ids, dtype=object)[j],
                "ln_ic50": y,
                "lower": y - width,
                "upper": y + width,
                "ic50_um": np.exp(y),
                "percentile": percentile.T.ravel(),
                "pair": kind.T.ravel(),
                "line_name": np.array(lines.names, dtype=object)[i],
                "drug_name": np.array(drugs.names, dtype=object)[j],
                "nearest_drug": of_drug["nearest_drug"].to_numpy(),
                "drug_similarity": of_drug["drug_similarity"].to_numpy(),
                "nearest_line": of_line["nearest_line"].to_numpy(),
                "line_similarity": of_line["line_similarity"].to_numpy(),
                "genes_given": of_line["genes_given"].to_numpy(),
                "missing_views": of_line["missing_views"].to_numpy(),
                "note": notes,
                "use": USE,
            },
            columns=list(COLUMNS),
        )

    def accuracy(self) -> pd.DataFrame:
        """[kinds of pairs] how good it was on what was held out while it was fitted: pairs, lines,
        drugs, RMSE, mean per-drug r, half width of the 90 % interval.
        """
        rows = {}
        for kind, calibration in self.calibration.items():
            width = float(calibration.pooled[LEVELS.index(0.9)])
            rows[kind] = {**calibration.error, "half width": round(width, 2)}
        return pd.DataFrame(rows).T.rename_axis("pair")

    def trust(self, by: str = "drug") -> pd.DataFrame:
        """How far its answers about new lines could be trusted, as measured while lines were held
        out: by drug, or by tissue of the line.

        Returns
        -------
        [drugs or tissues] frame with `name` (of a drug), `lines`, `r` (correlation with what was
        measured, across lines; by tissue its mean over drugs), `rmse`, and `half_width` of the 90 %
        interval (by tissue the median over drugs). Best r first.

        Raises
        ------
        DataError
            Neither of the two.
        """
        if by not in ("drug", "tissue"):
            raise DataError(f"no table of trust by {by!r}", remedy="ask for drug or tissue")
        row, column = self.known.pairs.T
        found = self.held_out[row, column].astype(np.float64)
        error = found - self.known.y
        tissue = self.known.sides[0].frame["tissue"].fillna("unknown").astype(str).to_numpy()
        ids = self.known.sides[1].ids.to_numpy()
        width = self.calibration["new line"].half_width(ids[column], tissue[row], 0.9)
        label = ids[column] if by == "drug" else tissue[row]
        out = {}
        for one in np.unique(label):
            at = np.flatnonzero((label == one) & np.isfinite(found))
            if len(at) == 0:
                continue
            out[str(one)] = {
                "lines": len(np.unique(row[at])),
                "r": per_group(self.known.y[at], found[at], column[at]),
                "rmse": float(np.sqrt((error[at] ** 2).mean())),
                "half_width": float(np.median(width[at])),
            }
        table = pd.DataFrame(out).T.rename_axis(by).astype({"lines": int})
        if by == "drug":
            names = self.known.sides[1].frame["name"].astype(str)
            table.insert(0, "name", names.reindex(table.index))
        return table.sort_values("r", ascending=False, kind="stable")

    def by_mechanism(self) -> pd.DataFrame:
        """How well new drugs were ranked over lines while they were held out, by how much of their
        listed targets the nearest other compound shares.

        Returns
        -------
        [drugs] frame with `shared` (Jaccard similarity of the targets with the nearest other
        compound), `r` (correlation with what was measured, across lines), and `line_mean`, the same
        of what the lines do under all other drugs, which knows no mechanism. Drugs without a listed
        target are left out.
        """
        side, truth = self.known.sides[1], self.known.matrix()
        said = self.out_of_fold["new drug"].astype(np.float64)
        told = [
            {part.strip() for part in text.split(",")} if isinstance(text, str) else set()
            for text in side.frame["target"]
        ]
        compound = np.asarray(side.keys["compound"])
        centred = truth - np.nanmean(truth, axis=0)
        out = {}
        for j in np.flatnonzero([bool(own) for own in told]):
            others = np.flatnonzero(compound != compound[j])
            shared = max(len(told[j] & told[k]) / len(told[j] | told[k]) for k in others)
            at = np.flatnonzero(np.isfinite(truth[:, j]) & np.isfinite(said[:, j]))
            usual = np.nanmean(centred[np.ix_(at, others)], axis=1)
            own = np.isfinite(usual)
            y = truth[at[own], j]
            if len(y) > 2 and y.std() > 0:
                out[str(side.ids[j])] = {
                    "shared": shared,
                    "r": np.corrcoef(y, said[at[own], j])[0, 1],
                    "line_mean": np.corrcoef(y, usual[own])[0, 1],
                }
        return pd.DataFrame(out).T.rename_axis("drug")

    def pack(self) -> dict[str, Any]:
        """What `save` writes."""
        return dict(vars(self))

    def unpack(self, parts: dict[str, Any]) -> None:
        """Take back what `pack` gave."""
        for name, value in parts.items():
            setattr(self, name, value)

    def save(self, folder: str | os.PathLike) -> Path:
        """Write it into a folder: `model.json` and `arrays.safetensors`.

        Raises
        ------
        DataError
            A folder that holds something else.
        """
        saver: Any = self
        return saving.write(saver, Path(folder))

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "Predictor":
        """Read what `save` wrote; its predictions are the same.

        Raises
        ------
        DataError
            No such folder, files that were changed, another version.
        """
        asked: Any = cls
        return saving.read(asked, Path(folder))


def predict_responses(
    model: str | os.PathLike | Predictor,
    drugs: Source = None,
    lines: Source = None,
    **options: Any,
) -> pd.DataFrame:
    """Predictions of a fitted model, or of the folder it was saved in; see `Predictor.predict`."""
    fitted = model if isinstance(model, Predictor) else Predictor.load(model)
    return fitted.predict(drugs, lines, **options)


def write_predictions(
    predictor: Predictor,
    path: str | os.PathLike,
    drugs: Source = None,
    lines: Source = None,
    *,
    jobs: int = 1,
    progress: bool = False,
    **options: Any,
) -> int:
    """Write predictions into a CSV or Parquet file, block by block; how many pairs there are.

    Blocks that are done are kept beside the file while it is made: called again after an
    interruption with the same question, it goes on where it was.

    Parameters
    ----------
    path : file to make
    jobs : processes that work at once, each with a copy of the model
    progress : show a bar

    Raises
    ------
    DataError
        Another kind of file; from `Predictor.predict`.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".parquet"):
        raise DataError(
            "predictions are written as .csv or .parquet", file=path, remedy="name it so"
        )
    n_lines, n_drugs = predictor.count(drugs, lines, **options)
    blocks = -(-n_drugs // block_size(n_lines))
    parts = path.with_name(f"{path.name}.parts")
    question = _question(predictor, drugs, lines, {**options, "blocks": blocks})
    parts.mkdir(parents=True, exist_ok=True)
    note = parts / "question.txt"
    if not note.exists() or note.read_text() != question:
        for old in parts.glob("*.parquet"):
            old.unlink()
        with atomic_write(note) as file:
            file.write(question)
    files = [parts / f"{number:06d}.parquet" for number in range(blocks)]
    missing = [number for number in range(blocks) if not files[number].exists()]
    done = blocks - len(missing)
    jobs = max(1, min(jobs, len(missing)))
    # neighbours go to different processes, so that these end at about the same time
    shares = [missing[i::jobs] for i in range(jobs)]
    with tqdm(total=blocks, initial=done, unit="block", disable=not progress) as bar:
        if jobs == 1:
            for _ in _write_blocks(predictor, parts, drugs, lines, options, shares[0]):
                bar.update()
        else:
            _in_processes(jobs, (predictor, parts, drugs, lines, options), shares, bar)
    count = _joined(path, files)
    shutil.rmtree(parts)
    return count


def block_size(lines: int) -> int:
    """How many drugs are predicted together under so many lines.

    >>> block_size(10), block_size(1_000), block_size(200_000)
    (500, 100, 1)
    """
    return max(1, min(BLOCK, PAIRS // max(lines, 1)))


def _write_blocks(
    predictor: Predictor,
    parts: Path,
    drugs: Source,
    lines: Source,
    options: Mapping[str, Any],
    numbers: Sequence[int],
) -> Iterator[int]:
    """Write some blocks of a question, each whole or not at all, and name each when it is there."""
    wanted = set(numbers)
    frames = predictor.blocks(drugs, lines, skip=lambda i: i not in wanted, checked=True, **options)
    for number, frame in zip(sorted(wanted), frames, strict=True):
        with atomic_write(parts / f"{number:06d}.parquet", "wb") as file:
            frame.to_parquet(file, index=False)
        yield number


def _share(work: Any, numbers: Sequence[int], told: Any) -> None:
    """What one process does: its share of the blocks, one thread."""
    import torch

    torch.set_num_threads(1)
    predictor, parts, drugs, lines, options = work
    for number in _write_blocks(predictor, parts, drugs, lines, options, numbers):
        told.put(number)


def _started(context: SpawnContext) -> SyncManager:
    """A process that keeps what others tell; raises DataError where none can be started."""
    try:
        return context.Manager()
    except EOFError:
        raise not_started() from None


def _in_processes(
    jobs: int, work: tuple[Any, ...], shares: Sequence[Sequence[int]], bar: Any
) -> None:
    """Each share in a process of its own; what one of them raises is raised here."""
    check_processes()
    with (
        spawning(1) as context,
        _started(context) as manager,
        ProcessPoolExecutor(jobs, context) as pool,
    ):
        told = manager.Queue()
        running = [pool.submit(_share, work, share, told) for share in shares]
        while running:
            ended = [one for one in running if one.done()]
            for one in ended:
                try:
                    one.result()
                except BrokenProcessPool:
                    raise DataError(
                        "a process was killed; memory may have run out",
                        remedy="the same again with fewer jobs: what is done is kept",
                    ) from None
            running = [one for one in running if one not in ended]
            wait(running, timeout=0.5)
            while not told.empty():
                told.get()
                bar.update()


def _joined(path: Path, parts: list[Path]) -> int:
    """Write the blocks one after the other into one file; the number of rows."""
    import pyarrow.parquet as pq

    count = 0
    with atomic_write(path, "wb") as file:
        writer = None
        for i, part in enumerate(parts):
            table = pq.read_table(part)
            count += len(table)
            if path.suffix == ".csv":
                text = table.to_pandas().to_csv(index=False, header=i == 0, lineterminator="\n")
                file.write(text.encode())
                continue
            writer = writer or pq.ParquetWriter(file, table.schema)
            writer.write_table(table.cast(writer.schema))
        if writer is not None:
            writer.close()
    return count


def _question(predictor: Predictor, drugs: Source, lines: Source, options: Any) -> str:
    """What identifies a question: the model, the bytes of the files, the options."""
    digest = hashlib.sha256(repr(sorted(options.items())).encode())
    digest.update(predictor.held_out.tobytes())
    for source in (drugs, lines, options.get("measured")):
        if isinstance(source, (str, os.PathLike)):
            digest.update(Path(source).read_bytes())
        elif isinstance(source, pd.DataFrame):
            digest.update(source.to_csv().encode())
        else:
            digest.update(repr(source if source is None else list(source)).encode())
    return digest.hexdigest()


def parts_of(known: Benchmark, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """([lines], [drugs]) the part in which each is held out, all ids of a compound together."""
    rng = np.random.default_rng([seed, 18])
    compound = np.unique(known.sides[1].keys["compound"], return_inverse=True)[1]
    line_part = rng.permutation(known.shape[0]) % LINE_PARTS
    return line_part, (rng.permutation(compound.max() + 1) % DRUG_PARTS)[compound]


def _gene_sets() -> dict[str, set[str]]:
    return {name: genes for name, genes in reactome().items() if len(genes) <= LARGEST}


def _told(benchmark: Benchmark, gene_sets: Mapping[str, set[str]] | None) -> Benchmark:
    """The benchmark with every view that the models read, each computed once."""
    benchmark = with_events(with_culture(benchmark))
    try:
        benchmark = highest_concentration(benchmark)
    except DataError:  # the screen's plan is not known: no model reads it
        pass
    side = benchmark.sides[1]
    views = {**side.views, **drug_views(side.frame, gene_sets)}
    return benchmark.with_sides(replace(side, views=views))


def _told_lines(lines: Side, benchmark: Benchmark) -> Side:
    """Further lines with the views "culture" and "events"."""
    nothing = replace(
        benchmark,
        sides=(lines, benchmark.sides[1]),
        pairs=np.zeros((0, 2), dtype=np.int64),
        y=np.zeros(0),
        censored=np.zeros(0, dtype=bool),
    )
    return with_events(with_culture(nothing)).sides[0]


def _whole(benchmark: Benchmark) -> Benchmark:
    """Its entities with pairs, all their views, and all pairs."""
    views = [view for side in benchmark.sides for view in side.views]
    known = training_set(benchmark, whole_split(benchmark, "mixed"), views)
    sides = [replace(side, scales=old.scales) for side, old in zip(known.sides, benchmark.sides)]
    return replace(known, sides=(sides[0], sides[1]))


def _of_whole_lines(known: Benchmark) -> np.ndarray:
    """[n] pairs of lines that have every measurement: the model of new lines is fitted on these
    (on GDSC2's folds the other lines made it worse), unless they are few.
    """
    side = known.sides[0]
    views = [view for view in ("expression", "mutation", "copy_number") if view in side.views]
    whole = (
        np.all([side.has(view) for view in views], axis=0) if views else np.ones(len(side), bool)
    )
    rows = np.flatnonzero(whole[known.pairs[:, 0]])
    return rows if 2 * len(rows) > len(known) else np.arange(len(known))


def _with_expression(side: Side) -> np.ndarray:
    """[n] bool: the expression of a line is known."""
    return side.has("expression") if "expression" in side.views else np.ones(len(side), bool)


def _only(known: Benchmark, rows: np.ndarray, kind: str) -> Split:
    """The split that trains on some pairs and has nothing else."""
    return replace(whole_split(known, kind), train=rows)


def _again(model: KernelHead, known: Benchmark, rows: np.ndarray) -> KernelHead:
    """A model fitted on some pairs, with the constants that were trained before."""
    return copy.copy(model).fit_again(known, _only(known, rows, model.kind))


@dataclass(eq=False)
class _Levels:
    """Levels of the known drugs, and of those of other screens, to fit `DrugLevels` on.

    Attributes
    ----------
    own, others : what is read of the drugs
    elsewhere_is : [others] names of the screens
    level : [others] in ln uM
    compound : [own + others] labels
    keys : [others] skeletons, or None
    labels : [others] of the frame that `read` gives
    read : ids of lines -> levels without them, or None
    """

    own: Described
    others: Described | None
    elsewhere_is: np.ndarray
    level: np.ndarray
    compound: np.ndarray
    keys: list[str | None]
    labels: pd.Index
    read: Elsewhere | None

    @classmethod
    def of(
        cls,
        known: Benchmark,
        read: Elsewhere | None,
        gene_sets: Mapping[str, set[str]] | None,
    ) -> "_Levels":
        """From a benchmark, and frames as `other_levels` gives them."""
        side = known.sides[1]
        own = described(side)
        others = None if read is None else read(())
        if others is None or not len(others):
            nothing = np.zeros(0)
            compound = np.asarray(side.keys["compound"])
            return cls(own, None, nothing, nothing, compound, [], pd.Index([]), None)
        rows = others.rename(columns={"max_concentration_um": "max_conc_um"})
        facts = ["name", "smiles", "target", "pathway", "max_conc_um"]
        more = described(new_drug_side(rows[facts].to_dict("records"), known, gene_sets))
        names = ["name", "inchikey", "smiles"]
        frame = side.frame.reindex(columns=names)
        compound = group_compounds(pd.concat([frame, others[names]], ignore_index=True))
        # what the benchmark holds out together stays together
        joint = np.concatenate([side.keys["compound"], [f"other {i}" for i in range(len(others))]])
        facts_of = [{one, f"group {two}"} for one, two in zip(joint, compound, strict=True)]
        return cls(
            own,
            more,
            others["screen"].to_numpy(object),
            others["level"].to_numpy(np.float64),
            connected(facts_of),
            [parent_key(text) if isinstance(text, str) else None for text in others["smiles"]],
            others.index,
            read,
        )

    def without(self, lines: Collection[str]) -> "_Levels":
        """The same, but for levels that no response of some lines went into (NaN where none is
        left).
        """
        if self.read is None:
            return self
        level = self.read(lines)["level"].reindex(self.labels)
        return replace(self, level=level.to_numpy(np.float64))

    def count(self) -> int:
        """How many levels other screens tell."""
        return len(self.level)

    def elsewhere(self) -> dict[str, str]:
        """Skeleton of a compound -> the other screens that tell its level."""
        out: dict[str, list[str]] = {}
        for key, screen in zip(self.keys, self.elsewhere_is, strict=True):
            if key is not None and screen not in out.setdefault(key, []):
                out[key].append(str(screen))
        return {key: ", ".join(screens) for key, screens in out.items()}

    def fit(
        self,
        pairs: np.ndarray,
        y: np.ndarray,
        without: np.ndarray | None = None,
        with_dose: bool = False,
    ) -> DrugLevels:
        """Levels from some pairs [n, 2] of known drugs and their responses, and from other screens,
        compounds of some drugs left out of both.
        """
        m = len(self.own)
        drugs = np.unique(pairs[:, 1])
        count = np.bincount(pairs[:, 1], minlength=m)[drugs]
        means = np.bincount(pairs[:, 1], y, minlength=m)[drugs] / count
        if self.others is None:
            return DrugLevels.fit(self.own[drugs], means, self.compound[drugs], with_dose=with_dose)
        gone = self.compound[[] if without is None else without]
        kept = np.flatnonzero(~np.isin(self.compound[m:], gone) & np.isfinite(self.level))
        screen = 1 + np.unique(self.elsewhere_is.astype(str), return_inverse=True)[1]
        return DrugLevels.fit(
            joined(self.own[drugs], self.others[kept]),
            np.concatenate([means, self.level[kept]]),
            np.concatenate([self.compound[drugs], self.compound[m + kept]]),
            np.concatenate([np.zeros(len(drugs), dtype=np.int64), screen[kept]]),
            with_dose,
        )


def _seen(known: Benchmark, seed: int) -> tuple[KernelHead, dict[str, Calibration]]:
    """The model of known pairs: its constants are trained without a part of the pairs, which
    calibrates its intervals; then it is solved on all of them.
    """
    order = np.random.default_rng([seed, 10]).permutation(len(known))
    held, rest = (
        np.sort(order[::SEEN_PART]),
        np.sort(np.delete(order, slice(None, None, SEEN_PART))),
    )
    split = replace(whole_split(known, "mixed"), train=rest, valid=held)
    model = KernelHead().fit(known, split)
    found = model.table[tuple(known.pairs[held].T)]
    calibration = _calibrated(known, held, found, False)
    model.fit_again(known, split)
    return model, {"known": calibration}


def _calibrated(
    known: Benchmark, rows: np.ndarray, found: np.ndarray, drugs_are_new: bool
) -> Calibration:
    """The calibration by some pairs and what was said of them while they were held out."""
    line, drug = known.pairs[rows].T
    y = known.y[rows]
    tissue = known.sides[0].frame["tissue"].fillna("unknown").astype(str).to_numpy()[line]
    compound = known.sides[1].keys["compound"][drug] if drugs_are_new else None
    ids = known.sides[1].ids.to_numpy()[drug]
    error = found - y
    calibration = calibrate(error, line, ids, tissue, compound)
    r = per_group(y, found, drug)
    about = {
        "pairs": len(rows),
        "lines": len(np.unique(line)),
        "drugs": len(np.unique(drug)),
        "rmse": round(float(np.sqrt((error**2).mean())), 4),
        "per_drug_r": round(r, 4),
    }
    return replace(calibration, error=about)


def _pilot_notes(pilot: Measured, drugs: Asked, lines: Asked, sd: np.ndarray) -> np.ndarray:
    """[lines, drugs] what is said of pairs that follow a measurement, or were measured."""
    out = np.full(sd.shape, "", dtype=object)
    for j, (at, _) in pilot.drugs.items():
        if 0 <= j < sd.shape[1]:
            out[:, j] = f"follows {len(at)} measured line{'s' if len(at) > 1 else ''}"
    for i, (at, _) in pilot.lines.items():
        out[i, drugs.at >= 0] = f"follows {len(at)} measured drug{'s' if len(at) > 1 else ''}"
    out[sd == 0] = "measured"
    return out


def _far(known: Benchmark) -> dict[str, float]:
    """What is far: the similarity that all but `FAR` of the known drugs (of another compound) and
    lines have with the nearest other.
    """
    lines, drugs = known.sides
    bits = np.asarray(drugs.views[BITS_VIEW], dtype=np.float32)
    compound = np.asarray(drugs.keys["compound"])
    there = bits.any(1)
    alike = tanimoto(bits, bits) - 2.0 * (compound[:, None] == compound[None])
    out = {"drug": float(np.quantile(alike[there][:, there].max(1), FAR)), "line": -1.0}
    if "expression" in lines.views:
        z = lines.views["expression"].to_numpy(np.float64)[lines.has("expression")]
        near = _standard(z) @ _standard(z).T - 2.0 * np.eye(len(z))
        out["line"] = float(np.quantile(near.max(1), FAR))
    return out


def _percentile(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """[n] per cent of the other lines that are said to need less of the drug.

    >>> _percentile(np.array([0.5, 9.0]), np.array([0.0, 1.0, 2.0, 3.0])).tolist()
    [25.0, 100.0]
    """
    return 100.0 * np.searchsorted(np.sort(others), own, side="left") / len(others)


def _standard(x: np.ndarray) -> np.ndarray:
    """Rows centred and of length 1, so that their products are correlations."""
    x = x - x.mean(1, keepdims=True)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _some_of(side: Side, rows: slice) -> Side:
    """A slice of the entities of a side."""
    views = {
        view: part.iloc[rows] if isinstance(part, pd.DataFrame) else part[rows]
        for view, part in side.views.items()
    }
    present = {view: part[rows] for view, part in side.present.items()}
    return Side(side.name, side.frame.iloc[rows], views=views, present=present)
