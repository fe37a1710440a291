"""A few measurements of a new drug (or line): what a model got wrong of them, carried over to
everything that was not measured, in closed form (chapter "Your own drugs and lines").

A model is asked about a new drug, and is wrong in some way: too high everywhere, say, and too low
in the blood lines. How such errors go together over the lines is learnt from the training drugs,
each predicted by a fit that did not see it: their covariance. Given the errors of a few lines,
those of the others follow by conditioning a normal distribution (kriging). The level of the drug
moves with its mean error, shrunk; the ranking follows drugs that were mispredicted alike. No
feature is read, so the same holds for a new line and the drugs it was tried with.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib.data.base import Side
from clmt_lib.data.grouping import letters
from clmt_lib.data.response.base import LARGEST_LN_UM
from clmt_lib.io import DataError, read_table
from clmt_lib.predict.entities import Asked

SHARES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
TRIED = (3, 10, 30)  # measurements that a share of the plain part is chosen on
Places = Sequence[int] | np.ndarray
FEWEST = 5  # entities that a covariance is learnt from


@dataclass(frozen=True, eq=False)
class PilotPrior:
    """How the errors of a model go together over the entities of the other side.

    Attributes
    ----------
    mean : [m] mean error of a new entity, measured minus predicted
    covariance : [m, m] of the errors, with the noise of a measurement on its diagonal
    share : of the plain part (one variance for the level, one for the rest) in the covariance
    """

    mean: np.ndarray
    covariance: np.ndarray
    share: float

    def update(self, predicted: np.ndarray, at: Places, measured: Any) -> np.ndarray:
        """[m] prediction of an entity, given what was measured of it.

        Parameters
        ----------
        predicted : [m] what the model says
        at : [k] positions that were measured
        measured : [k] values

        Examples
        --------
        >>> plain = PilotPrior(np.zeros(3), np.eye(3) + 3.0, 1.0)  # a level of variance 3, noise 1
        >>> plain.update(np.zeros(3), [0], [4.0]).round(2).tolist()  # 3 / (3 + 1) of the error
        [4.0, 3.0, 3.0]
        """
        at = np.asarray(at, dtype=np.int64)
        measured, out = np.asarray(measured, dtype=np.float64), predicted + self.mean
        if len(at) != len(measured):
            raise DataError(
                f"{len(measured)} values measured at {len(at)} places", remedy="give one a place"
            )
        if not len(at):
            return out
        weights = np.linalg.solve(self.covariance[np.ix_(at, at)], measured - out[at])
        out = out + self.covariance[:, at] @ weights
        out[at] = measured
        return out

    def variance(self, at: Places) -> np.ndarray:
        """[m] variance that is left in the prediction of a measurement, given those at `at`."""
        at = np.asarray(at, dtype=np.int64)
        variance = np.diag(self.covariance).copy()
        if len(at):
            across = self.covariance[:, at]
            solved = np.linalg.solve(self.covariance[np.ix_(at, at)], across.T)
            variance -= (across * solved.T).sum(1)
            variance[at] = 0.0
        return np.maximum(variance, 0.0)

    def choose(self, count: int, at: Places = (), among: Places | None = None) -> list[int]:
        """Positions to measure next: one after the other, that which leaves the smallest variance
        in all the rest. What will be measured does not matter to it, only where.

        Parameters
        ----------
        count : how many
        at : positions that were measured already
        among : positions that can be measured; None: all
        """
        left = self.covariance.copy()
        free = np.zeros(len(left), dtype=bool)
        free[np.arange(len(left)) if among is None else np.asarray(among, dtype=np.int64)] = True
        chosen: list[int] = []
        for step in range(len(at) + count):
            known = step < len(at)
            own = np.maximum(np.diag(left), 1e-12)
            if known:
                best = int(at[step])
            else:
                if not free.any():
                    break
                gain = ((left**2).sum(0) - own**2) / own  # off the others' variances
                best = int(np.argmax(np.where(free, np.round(gain, 9), -np.inf)))
                chosen.append(best)
            left = left - np.outer(left[best], left[best]) / own[best]
            free[best] = False
        return chosen


def fit_prior(
    errors: np.ndarray, groups: np.ndarray | None = None, seed: int = 0, parts: int = 5
) -> PilotPrior:
    """The covariance of errors [n, m] over the m entities of the other side, from n entities that
    were each predicted by a fit without them.

    The covariance is (1 - s) that of the errors + s a plain one: one variance for the level of an
    entity, one for the rest. The share s is chosen by the squared error of what is not measured
    when a few of the held-out entities' pairs are.

    Parameters
    ----------
    errors : measured minus predicted, NaN where nothing was measured
    groups : [n] label of what is held out together when s is chosen (ids of one compound)
    parts : that the entities are dealt into

    Raises
    ------
    DataError
        Fewer than `FEWEST` entities.
    """
    if len(errors) < FEWEST:
        raise DataError(
            f"errors of {len(errors)} entities", remedy=f"a covariance needs {FEWEST} or more"
        )
    groups = np.arange(len(errors)) if groups is None else np.unique(groups, return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    part = (rng.permutation(groups.max() + 1) % parts)[groups]
    wrong = np.zeros(len(SHARES))
    for held in range(parts):
        priors = _priors(errors[part != held])
        for row in errors[part == held]:
            there = rng.permutation(np.flatnonzero(np.isfinite(row)))
            for count in TRIED:
                if len(there) < count + 2:
                    continue
                at, rest = there[:count], there[count:]
                for i, prior in enumerate(priors):
                    left = prior.update(np.zeros(len(row)), at, row[at])[rest] - row[rest]
                    wrong[i] += np.mean(left**2)
    return _priors(errors)[int(np.argmin(np.round(wrong, 9)))]


def _priors(errors: np.ndarray) -> list[PilotPrior]:
    """The prior of every share."""
    mean, sample, plain = _moments(errors)
    return [PilotPrior(mean, (1 - share) * sample + share * plain, share) for share in SHARES]


def _moments(errors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean error, the same at every place; covariance of the errors; the plain one). A hole is
    filled by what the rest of its row says of it, with the covariance of errors filled by row
    means.
    """
    seen = np.isfinite(errors)
    level = np.where(
        seen.any(1), np.where(seen, errors, 0.0).sum(1) / np.maximum(seen.sum(1), 1), 0.0
    )
    mean = np.full(errors.shape[1], level.mean())
    filled = np.where(seen, errors, level[:, None]) - mean
    sample, plain = _second_moments(filled)
    precision = np.linalg.inv(0.5 * sample + 0.5 * plain)
    for row, there in zip(filled, seen, strict=True):
        if there.any() and not there.all():  # as `PilotPrior.update`, with the smaller system
            told = precision[np.ix_(~there, there)] @ row[there]
            row[~there] = -np.linalg.solve(precision[np.ix_(~there, ~there)], told)
    return mean, *_second_moments(filled)


def _second_moments(filled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sample = filled.T @ filled / len(filled)
    m, own = len(sample), float(np.diag(sample).mean())
    level = max((float(sample.sum()) - m * own) / max(m * (m - 1), 1), 0.0)
    return sample, level + max(own - level, 1e-9) * np.eye(m)


# What a reader measured


@dataclass(frozen=True, eq=False)
class Measured:
    """A table of pilot responses, matched to what is asked and to what the model knows.

    Attributes
    ----------
    drugs : place among the asked drugs -> (positions of known lines, ln IC50)
    lines : place among the asked lines -> (positions of known drugs, ln IC50)
    """

    drugs: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    lines: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    @classmethod
    def match(
        cls,
        source: str | os.PathLike | pd.DataFrame,
        drugs: Asked,
        lines: Asked,
        known: tuple[Side, Side],
    ) -> "Measured":
        """Read a table of pilot responses: columns line, drug, and ln_ic50 or ic50_uM.

        A row tells of a new drug in a known line, or of a new line under a known drug; entities are
        named as they were asked about, or by a name or id that the model knows.

        Raises
        ------
        DataError
            A column that is missing, a name that nobody knows, a value that is no ln IC50, a pair
            twice, or a row from which nothing is learnt (both are known, or both are new).
        """
        file = None if isinstance(source, pd.DataFrame) else Path(source)
        table = source if isinstance(source, pd.DataFrame) else read_table(source, dtype=str)
        names = {str(column).strip().lower(): column for column in table.columns}
        unit = "ln_ic50" if "ln_ic50" in names else "ic50_um"
        missing = [name for name in ("line", "drug", unit) if name not in names]
        if missing:
            raise DataError(
                f"no column {missing[0]!r}",
                file=file,
                row=1,
                remedy="give the columns line, drug, and ln_ic50 or ic50_uM",
            )
        places = [_places(asked, side) for asked, side in ((lines, known[0]), (drugs, known[1]))]
        found: tuple[dict[Any, dict[Any, float]], dict[Any, dict[Any, float]]] = ({}, {})
        labels = table[[names["line"], names["drug"], names[unit]]].itertuples(index=False)
        for number, (line, drug, value) in enumerate(labels):
            row = number + 2 if file else number + 1
            at = []
            for what, label, (new, old) in zip(("line", "drug"), (line, drug), places):
                key = letters(label)
                if key not in new and key not in old:
                    raise DataError(
                        f"{what} {label!r} is neither asked about nor known",
                        file=file,
                        row=row,
                        remedy=f"name it as in --{what}s, or as the model does",
                    )
                at.append((new.get(key), old.get(key)))
            y = _ln_um(value, unit, file, row)
            (new_line, old_line), (new_drug, old_drug) = at
            if (new_line is None) == (new_drug is None):
                raise DataError(
                    f"line {line!r} and drug {drug!r} are both "
                    + ("known" if new_line is None else "new"),
                    file=file,
                    row=row,
                    remedy="measure a new drug in known lines, or a new line under known drugs",
                )
            if new_drug is not None:
                given, place = found[1].setdefault(new_drug, {}), old_line
            else:
                given, place = found[0].setdefault(new_line, {}), old_drug
            if place in given:
                raise DataError(
                    f"line {line!r} and drug {drug!r} are there twice",
                    file=file,
                    row=row,
                    remedy="average the replicates, or keep one",
                )
            given[place] = y
        of_lines, of_drugs = (
            {
                key: (np.array(list(rows), dtype=np.int64), np.array(list(rows.values())))
                for key, rows in part.items()
            }
            for part in found
        )
        return cls(of_drugs, of_lines)


def told_next(predictor: Any, measured: str | os.PathLike | None, count: int) -> list[str]:
    """Sentences that say which known lines to measure a new drug in, and which known drugs to try
    on a new line, besides those of the table `measured`.
    """
    table = pd.DataFrame() if measured is None else read_table(measured, dtype=str)
    names = {str(column).strip().lower(): column for column in table.columns}
    out = []
    for what, side in zip(("lines", "drugs"), predictor.known.sides, strict=True):
        known, column = known_names(side), names.get(what[:-1])
        labels = [] if column is None else [str(label) for label in table[column].dropna()]
        done = [label for label in dict.fromkeys(labels) if letters(label) in known]
        chosen = predictor.measure_next(what, count, done)
        told = ", ".join(f"{side.frame.loc[one, 'name']} ({one})" for one in chosen)
        whom = (
            "a new drug next in the lines" if what == "lines" else "a new line next with the drugs"
        )
        out.append(f"measure {whom}: {told}")
    return out


def is_pilot_note(note: Any) -> bool:
    """Whether a note of a prediction says that it follows a measurement, or was measured."""
    return isinstance(note, str) and (note == "measured" or note.startswith("follows "))


def _places(asked: Asked, side: Side) -> tuple[dict[str, int], dict[str, int]]:
    """(name of a new entity -> its place among those asked, name of a known one -> position)."""
    new: dict[str, int] = {}
    for place in np.flatnonzero(asked.at < 0):
        for label in (asked.ids[place], asked.names[place]):
            new.setdefault(letters(label), int(place))
    old = known_names(side)
    return new, {key: place for key, place in old.items() if key not in new}


def known_names(side: Side) -> dict[str, int]:
    """Every id and name of a side's entities, as letters and digits, to its position."""
    old: dict[str, int] = {}
    columns = ("name", "depmap_id", "cosmic_id", "sanger_model_id", "rrid")
    for values in (side.ids, *(side.frame[name] for name in columns if name in side.frame)):
        for place, label in enumerate(values):
            if isinstance(label, str):
                old.setdefault(letters(label), place)
    return old


def _ln_um(value: Any, unit: str, file: Path | None, row: int) -> float:
    number = pd.to_numeric(pd.Series([value]), errors="coerce").astype(float).iloc[0]
    if unit == "ic50_um" and number > 0:
        number = np.log(number)
    elif unit == "ic50_um":
        number = np.nan
    if not abs(number) <= LARGEST_LN_UM:
        raise DataError(
            f"{unit} is {value!r}",
            file=file,
            row=row,
            remedy="give ln IC50 (uM) in a column ln_ic50, or uM in a column ic50_uM",
        )
    return float(number)
