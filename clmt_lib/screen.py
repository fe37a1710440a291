"""Which model answers a screen of one's own: the ladder and CLMT's kernel head by cross-validation,
with and without another screen beside it; and the pages of that, and of predictions (chapter "Your
own drugs and lines").

Small screens are the rule (20 lines x 8 drugs). Another screen, such as GDSC2, lends its drugs as
further columns and its lines as further rows. Whether that helps is measured on held-out parts of
the reader's own screen, and whatever is held out there is held out of the other screen, too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from clmt_lib import models, tasks
from clmt_lib.data.base import Benchmark
from clmt_lib.data.grouping import group_compounds, letters
from clmt_lib.data.response.base import DrugResponse, cell_side, drug_side
from clmt_lib.data.splits import Split, make_split
from clmt_lib.io import DataError, read_table
from clmt_lib.models import fitted, predicted
from clmt_lib.models.kernels import side_kernels
from clmt_lib.nn.kernel_ridge import press_residuals
from clmt_lib.predict import Predictor
from clmt_lib.predict.entities import SAME, Source, find_lines
from clmt_lib.predict.pilot import is_pilot_note
from clmt_lib.report import Page, intervals, scatter, shown
from clmt_lib.views.genesets import reactome
from clmt_lib.views.wording import in_the_words_of

QUESTIONS = {"lines": "cell_blind", "drugs": "drug_blind"}  # what is new -> kind of split
BASELINE = {"lines": "drug_mean", "drugs": "cell_mean"}
LADDER = {  # models of the reader's own screen; the last one is CLMT's head
    "lines": ("drug_mean", "tissue_drug_mean", "ridge_per_drug", "kernel_annotation_refit",
              "kernel_head_refit"),
    "drugs": ("cell_mean", "drugs_fingerprint_refit", "drugs_annotation_refit",
              "kernel_annotation_refit", "kernel_head_level_refit"),
}  # fmt: skip
PAIRS = "pair ridge"  # the rung that can have another screen beside it
RIDGES, PRODUCTS = (0.1, 0.3, 1.0, 3.0), (0.1, 0.5)  # tried, of the pair ridge
MOST_PAIRS = 4000  # of a screen that the pair ridge solves
FOLDS = 5  # of lines; drugs are left out one compound at a time, up to ten parts
FEWEST = {"lines": 5, "drugs": 3}
COHORT = 30  # lines from which a table of expression can be standardised against itself
SHARE_OF_GENES = 0.3  # that the other screen's table must find in the reader's
METRICS = ("rmse", "pcc_per_drug")


@dataclass(frozen=True, eq=False)
class Compared:
    """What `compare` found for one question.

    Attributes
    ----------
    question : "lines" or "drugs": what is new
    benchmark : the reader's screen
    table : one row a model: name, screens ("own", or "own + gdsc2"), rmse and pcc_per_drug with low
        and high, gain over the baseline (positive is better) with low and high, verdict
    predictions : [pairs] frame of cell, drug, measured, and a column a row of the table
    notes : what was done, and what could not be
    """

    question: str
    benchmark: Benchmark
    table: pd.DataFrame
    predictions: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> pd.Series:
        """The row with the smallest RMSE."""
        return self.table.loc[self.table["rmse"].idxmin()]

    def told(self) -> str:
        """The table as lines of text, the best model in a sentence."""
        lines = [f"new {self.question}: " + " ".join(_sentences(self))]
        for _, row in self.table.iterrows():
            name = f"{_told(row['name'])} ({row['screens']})"
            lines.append(
                f"  {name:<58} RMSE {row['rmse']:.2f}  per-drug r {row['pcc_per_drug']:5.2f}  "
                f"{row['verdict']}"
            )
        return "\n".join(lines)


def compare(
    screen: DrugResponse,
    question: str = "lines",
    beside: DrugResponse | None = None,
    *,
    names: tuple[str, ...] | None = None,
    seed: int = 0,
    draws: int = tasks.DRAWS,
    say: Callable[[str], None] = lambda line: None,
) -> Compared:
    """Cross-validate models on a screen of one's own, for new lines or for new drugs.

    Every pair is predicted once, by a fit that did not see its line (or any id of its compound).
    RMSE is over all pairs; per-drug r is of values and predictions less their means over the drug's
    pairs of one fold, as each fold has a fit of its own. Intervals are a bootstrap over lines and
    drugs; the gain is that in RMSE over the baseline (the drug's mean, or the line's), and says
    "better" or "worse" where its interval leaves zero out.

    Parameters
    ----------
    question : "lines" or "drugs", what will be new
    beside : another screen, whose rows and columns are put beside
    names : of models, beside the baseline; None takes `LADDER`
    say : is told of progress

    Raises
    ------
    DataError
        Unknown question, or too few lines or drugs.
    """
    if question not in QUESTIONS:
        raise DataError(f"unknown question {question!r}", remedy=f"use {' or '.join(QUESTIONS)}")
    axis, notes = list(QUESTIONS).index(question), list[str]()
    side = screen.sides[axis]
    groups = np.unique(side.keys[side.identity], return_inverse=True)[1]
    if groups.max() + 1 < FEWEST[question]:
        raise DataError(
            f"{groups.max() + 1} {question} in {screen.name}",
            remedy=f"{FEWEST[question]} are needed for cross-validation over {question}",
        )
    wanted = LADDER[question] if names is None else (BASELINE[question], *names)
    rows: dict[tuple[str, str], np.ndarray] = {}
    folds = _folds(screen, axis, groups, seed)
    for name in dict.fromkeys(wanted):
        say(f"new {question}: {models.display_name(name)}")
        rows[name, "own"] = _out_of_fold(name, screen, QUESTIONS[question], folds, notes)
    if len(screen) <= MOST_PAIRS:
        kernels = _own_kernels(screen)
        say(f"new {question}: {PAIRS}")
        rows[PAIRS, "own"] = _pair_ridge(screen, axis, groups, folds, kernels)
    if beside is not None and len(screen) > MOST_PAIRS:
        notes.append(f"{beside.name} was not put beside: your screen is large enough alone")
    elif beside is not None:
        try:
            joint = Joint.of(screen, beside)
        except DataError as error:
            notes.append(f"{beside.name} was not put beside: {error}")
        else:
            notes += joint.notes
            say(f"new {question}: {PAIRS}, {beside.name} beside")
            told = _asked(joint, screen, QUESTIONS[question], axis, folds)
            rows[PAIRS, f"own + {beside.name}"] = _pair_ridge(
                screen, axis, groups, folds, kernels, told
            )
    table = _scored(screen, rows, folds, draws, BASELINE[question])
    cells, drugs = (part.ids.to_numpy()[screen.pairs[:, i]] for i, part in enumerate(screen.sides))
    found = pd.DataFrame({"cell": cells, "drug": drugs, "measured": screen.y})
    for (name, screens), values in rows.items():
        found[f"{name} ({screens})"] = values
    return Compared(question, screen, table, found, tuple(dict.fromkeys(notes)))


def _folds(
    screen: Benchmark, axis: int, groups: np.ndarray, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(validation, test) positions of each fold: whole entities, each in the test set once."""
    rng, n = np.random.default_rng([seed, axis]), groups.max() + 1
    parts = min(n, FOLDS if axis == 0 else 10)
    part = np.empty(n, dtype=np.int64)
    part[rng.permutation(n)] = np.arange(n) % parts
    own = part[groups][screen.pairs[:, axis]]
    folds = []
    for fold in range(parts):
        # of what is left, a fifth of the entities (one at least) chooses settings
        left = rng.permutation(np.flatnonzero(part != fold))
        valid = np.isin(groups[screen.pairs[:, axis]], left[: max(1, len(left) // 5)])
        folds.append((np.flatnonzero(valid), np.flatnonzero(own == fold)))
    return folds


def _split(
    benchmark: Benchmark, kind: str, train: np.ndarray, valid: np.ndarray, test: np.ndarray
) -> Split:
    return Split(kind, train, valid, test, 0, 0, 1, benchmark.name, benchmark.checksum)


def _out_of_fold(
    name: str, screen: Benchmark, kind: str, folds: list, notes: list[str]
) -> np.ndarray:
    """[pairs] predictions by fits that did not see the pair's entity; NaN where a fit failed."""
    out = np.full(len(screen), np.nan)
    if "kernel_head" in name and not screen.simulated and not _has_gene_sets():
        screen = replace(screen, simulated=True)  # whose genes are in no set: none is read
        notes.append(
            f"{models.display_name(name)} read no gene sets: CLMT_DATA names no folder with them"
        )
    for valid, test in folds:
        train = np.setdiff1d(np.arange(len(screen)), np.concatenate([valid, test]))
        split = _split(screen, kind, train, valid, test)
        try:
            model = fitted(models.build(name, kind), screen, split)
            out[test] = predicted(model, screen.pairs[test])
        except (DataError, ArithmeticError, np.linalg.LinAlgError) as error:
            notes.append(f"{models.display_name(name)} could not be fitted: {error}")
            return np.full(len(screen), np.nan)
    return out


def _has_gene_sets() -> bool:
    try:
        return bool(reactome())
    except DataError:
        return False


def _scored(screen: Benchmark, rows: dict, folds: list, draws: int, baseline: str) -> pd.DataFrame:
    """The table of `Compared`."""
    boot, pairs = tasks.bootstrap_of(screen, draws), screen.pairs
    fold = np.empty(len(screen), dtype=np.int64)
    for number, (_, test) in enumerate(folds):
        fold[test] = number
    group = pd.Series(fold * len(screen.sides[1]) + pairs[:, 1])

    def centred(values: np.ndarray) -> np.ndarray:
        return values - pd.Series(values).groupby(group).transform("mean").to_numpy()

    found, statistics = list[dict[str, Any]](), {}
    for (name, screens), p in rows.items():
        if not np.isfinite(p).all():
            continue
        drawn = boot.statistics(pairs, screen.y, p, ("rmse",))
        y0, p0 = centred(screen.y), centred(p)
        drawn |= boot.statistics(pairs, y0, p0, ("pcc_per_drug",))
        statistics[name, screens] = drawn["rmse"]
        value = {
            "rmse": tasks.metrics.rmse(screen.y, p),
            "pcc_per_drug": tasks.metrics.per_group(y0, p0, pairs[:, 1]),
        }
        row: dict[str, Any] = {"name": name, "screens": screens}
        for metric in METRICS:
            low, high = tasks.interval(drawn[metric])
            row |= {metric: value[metric], f"{metric}_low": low, f"{metric}_high": high}
        gain = statistics[baseline, "own"] - drawn["rmse"]
        low, high = tasks.interval(gain)
        row |= {"gain": found[0]["rmse"] - row["rmse"] if found else 0.0, "low": low, "high": high}
        row["verdict"] = (
            "baseline" if not found else "better" if low > 0 else "worse" if high < 0 else
            f"no difference found (smallest we could have seen: {(high - low) / 2:.2f})"
        )  # fmt: skip
        found.append(row)
    return pd.DataFrame(found)


# Another screen beside one's own


@dataclass(frozen=True, eq=False)
class Joint:
    """Another screen's responses, in a table that has the lines and drugs of one's own, too.

    Rows are the own lines (those that the other screen knows with its responses), then its further
    lines; columns the own drugs, without a response, then all of the other's.

    Attributes
    ----------
    benchmark : the table, with the other screen's responses
    notes : what was recognised, and how expression was put on one scale
    """

    benchmark: DrugResponse
    notes: tuple[str, ...]

    @classmethod
    def of(cls, screen: DrugResponse, other: DrugResponse) -> "Joint":
        """Put `other` beside `screen`: lines are recognised by their ids and names, compounds by
        name and structure; expression is put on the other's scale.

        Raises
        ------
        DataError
            No expression, too few genes in common, or a scale that cannot be told.
        """
        notes: list[str] = []
        if not screen.sides[0].has("expression").all():
            raise DataError("no expression of the lines", remedy="add a table expression.csv")
        twin = _same_lines(screen.cells, other.cells)
        expression = _on_scale(screen, other, twin, notes)
        lines = screen.cells.rename(index=lambda label: f"own {label}")
        rest = np.setdiff1d(np.arange(other.n_cells), twin[twin >= 0])
        cells = pd.concat([lines, other.cells.iloc[rest]])
        table = pd.concat([expression.set_axis(lines.index), other.omics["expression"].iloc[rest]])
        own, how = in_the_words_of(_facts(screen.drugs), _facts(other.drugs))
        drugs = pd.concat(
            [
                own.rename(index=lambda label: f"own {label}"),
                _facts(other.drugs).rename(index=lambda label: f"{other.name} {label}"),
            ]
        )
        drugs = drugs.assign(compound=group_compounds(drugs))
        row = np.full(other.n_cells, -1)
        row[rest] = screen.n_cells + np.arange(len(rest))
        row[twin[twin >= 0]] = np.flatnonzero(twin >= 0)
        theirs = np.column_stack([row[other.pairs[:, 0]], other.pairs[:, 1] + screen.n_drugs])
        known = set(drugs["compound"].iloc[screen.n_drugs :])
        shared = int(drugs["compound"].iloc[: screen.n_drugs].isin(known).sum())
        notes.append(
            f"{int((twin >= 0).sum())} of {screen.n_cells} lines and {shared} of {screen.n_drugs} "
            f"drugs are in {other.name}, too; what is held out here was held out there"
        )
        kept = int((how == "own words").sum())
        if kept:
            notes.append(f"targets of {kept} drugs stay as you wrote them: {other.name} has none")
        joined = DrugResponse(
            f"{screen.name}+{other.name}",
            (
                cell_side(cells[["name", "tissue"]], {"expression": table.astype(np.float32)}),
                drug_side(drugs),
            ),
            theirs,
            other.y,
            other.censored,
            task="response",
            units=screen.units,
            target=screen.target,
            simulated=screen.simulated or other.simulated,
        )
        return cls(joined, tuple(notes))


def _facts(drugs: pd.DataFrame) -> pd.DataFrame:
    return drugs.reindex(columns=["name", "smiles", "inchikey", "target", "pathway"]).astype(object)


def _same_lines(cells: pd.DataFrame, others: pd.DataFrame) -> np.ndarray:
    """[lines] position among the others of the line with the same id or name, -1 where there is
    none; case, spaces and marks aside.
    """
    known: dict[str, int] = {}
    ids = [c for c in ("name", "sanger_model_id", "depmap_id", "cosmic_id") if c in others]
    for labels in (others.index, *(others[column] for column in ids)):
        for place, label in enumerate(labels):
            if isinstance(label, str):
                known.setdefault(letters(label), place)
    found, taken = np.full(len(cells), -1), set[int]()
    for i, labels in enumerate(zip(cells.index, cells["name"], strict=True)):
        place = next((known[p] for p in map(letters, labels) if p in known), -1)
        if place not in taken:
            found[i] = place
            taken |= {place}
    return found


def _on_scale(
    screen: DrugResponse, other: DrugResponse, twin: np.ndarray, notes: list[str]
) -> pd.DataFrame:
    """[lines, genes of the other] expression of the own lines on the scale of the other's table;
    lines that the other knows take its values.
    """
    own, theirs = screen.omics["expression"].astype("float64"), other.omics["expression"]
    place = {str(gene).upper(): gene for gene in own.columns}
    genes = [gene for gene in theirs.columns if gene.upper() in place]
    if len(genes) < SHARE_OF_GENES * len(theirs.columns):
        raise DataError(
            f"{len(genes)} of the {len(theirs.columns)} genes of {other.name} are in your table",
            remedy=f"give gene symbols; {SHARE_OF_GENES:.0%} of them are needed",
        )
    values = own[[place[gene.upper()] for gene in genes]].set_axis(genes, axis=1)
    scale = other.sides[0].scales.get("expression")
    as_z = (values < 0).to_numpy().mean() > 0.2  # a logarithm of TPM + 1 is never below zero
    new = twin < 0
    if as_z:
        notes.append("expression was taken as z-scores: a fifth of the values are below zero")
    elif scale is not None:
        values = (values - scale.loc[genes, "mean"]) / scale.loc[genes, "deviation"]
        notes.append(f"expression was standardised by the means and deviations of {other.name}")
    elif len(values) >= COHORT:
        deviation = values.std(ddof=0).replace(0.0, 1.0)
        values = (values - values.mean()) / deviation
        notes.append("expression was standardised over your own lines: a guess at the scale")
    elif new.any():
        raise DataError(
            f"logarithms of expression of {len(values)} lines, and {other.name} does not say what "
            "its z-scores were standardised by",
            remedy=f"give z-scores, {COHORT} lines or more, or prepare the tables with `clmt data "
            "prepare`",
        )
    missing = len(theirs.columns) - len(genes)
    if missing and new.any():
        notes.append(f"{missing} of the {len(theirs.columns)} genes are missing: taken as average")
    out = values.reindex(columns=theirs.columns, fill_value=0.0)
    if (~new).any():
        out.iloc[np.flatnonzero(~new)] = theirs.iloc[twin[~new]].to_numpy()
        notes.append(f"expression of {int((~new).sum())} lines is that of {other.name}")
    return out


def _asked(
    joint: Joint, screen: Benchmark, kind: str, axis: int, folds: list
) -> Iterator[np.ndarray]:
    """For each fold [own lines, own drugs] what the other screen says of the own pairs, by a kernel
    ridge that never saw a response of what the fold holds out.
    """
    benchmark, own = joint.benchmark, screen.shape
    side = benchmark.sides[axis]
    label = np.unique(side.keys[side.identity], return_inverse=True)[1]  # own entities come first
    group, nothing = label[benchmark.pairs[:, axis]], np.zeros(0, dtype=np.int64)
    ridge = _chosen_ridge(benchmark, kind, np.isin(group, label[: own[axis]]))
    asked = np.argwhere(np.ones(own, dtype=bool))
    fitted_on: dict[bytes, np.ndarray] = {}  # of folds that hold nothing out of it, the same
    for _, test in folds:
        held = np.isin(group, label[screen.pairs[test, axis]])
        if held.tobytes() not in fitted_on:
            model = models.build("kernel_annotation", ridges=(ridge,), same=(0.5,))
            model.fit(benchmark, _split(benchmark, kind, np.flatnonzero(~held), nothing, nothing))
            fitted_on[held.tobytes()] = predicted(model, asked).reshape(own)
        yield fitted_on[held.tobytes()]


def _chosen_ridge(benchmark: Benchmark, kind: str, own: np.ndarray) -> float:
    """The ridge that suits the other screen, on its own validation set; pairs of what the `own`
    screen holds [pairs] are not read.
    """
    split = make_split(benchmark, kind)
    train, valid = (part[~own[part]] for part in (split.train, split.valid))
    model = models.build("kernel_annotation", ridges=(0.3, 1.0, 3.0), same=(0.5,))
    return float(model.fit(benchmark, replace(split, train=train, valid=valid)).chosen["ridge"])


def _pair_ridge(
    screen: Benchmark,
    axis: int,
    groups: np.ndarray,
    folds: list,
    kernels: tuple[np.ndarray, np.ndarray],
    told: Iterator[np.ndarray] | None = None,
) -> np.ndarray:
    """[pairs] out-of-fold predictions of a ridge between pairs: effects of lines and drugs, the
    product of their kernels, and, where another screen was asked, a slope on the drug's mean in its
    answer and one on the rest of it. Weights and ridge are chosen by leaving out entities of the
    training set (in closed form).

    Parameters
    ----------
    groups : [entities] what is held out together
    kernels : of lines [C, C] and of drugs [D, D]
    told : for each fold [C, D] what the other screen says
    """
    row, column = screen.pairs.T
    k_row, k_column = (k[np.ix_(at, at)] for k, at in zip(kernels, (row, column), strict=True))
    effects = 0.5 * k_row + 0.5 * (row[:, None] == row) + 0.5 * k_column
    effects = effects + 1.0 * (column[:, None] == column)
    out = np.full(len(screen), np.nan)
    for _, test in folds:
        train = np.setdiff1d(np.arange(len(screen)), test)
        own = groups[screen.pairs[train, axis]]
        blocks = [torch.from_numpy(np.flatnonzero(own == one)) for one in np.unique(own)]
        mean, spread = screen.y[train].mean(), max(screen.y[train].std(), 1e-6)
        target = (screen.y[train] - mean) / spread
        candidates = [effects + product * k_row * k_column for product in PRODUCTS]
        if told is not None:
            say = next(told)
            level = (say.mean(0) - say.mean())[column] / spread
            rest = (say - say.mean(0))[row, column] / spread
            candidates += [k + np.outer(rest, rest) for k in candidates]
            candidates += [k + np.outer(level, level) for k in candidates[len(PRODUCTS) :]]
        best: tuple[float, Any] = (np.inf, None)
        for kernel in candidates:
            among = torch.from_numpy(kernel[np.ix_(train, train)])
            for ridge in RIDGES:
                left = press_residuals(among, ridge, torch.from_numpy(target)[:, None], blocks)
                press = round(float((left**2).mean()), 9)
                if press < best[0]:
                    best = press, (kernel, ridge)
        kernel, ridge = best[1]
        solved = np.linalg.solve(kernel[np.ix_(train, train)] + ridge * np.eye(len(train)), target)
        out[test] = mean + spread * kernel[np.ix_(test, train)] @ solved
    return out


def _own_kernels(screen: Benchmark) -> tuple[np.ndarray, np.ndarray]:
    """Kernels of the own lines (expression, or none) and of the own drugs (annotation and
    fingerprint); nothing is fitted but the scale and width of expression, over all lines.
    """
    nothing = np.zeros(0, dtype=np.int64)
    every = _split(screen, "mixed", np.arange(len(screen)), nothing, nothing)
    lines = np.eye(screen.shape[0])
    if screen.sides[0].has("expression").all():
        lines = side_kernels(screen, 0, "expression", every)[0][1]
    annotation, structure = (
        side_kernels(screen, 1, kind)[0][1] for kind in ("annotation", "fingerprint")
    )
    return lines, 0.5 * annotation + 0.5 * structure


# The page


def page(
    found: dict[str, Compared],
    title: str,
    notes: tuple[str, ...] = (),
    listed: pd.DataFrame | None = None,
) -> Page:
    """The report page of what `compare` found, by question.

    Parameters
    ----------
    notes : of the tables (`data.response.screen.check`)
    listed : dose-response curves that could not be fitted
    """
    first = next(iter(found.values())).benchmark
    out = Page(
        f"{title}: which model answers?",
        f"{len(first.sides[0])} lines x {len(first.sides[1])} drugs, {len(first)} responses. Every "
        "response below was predicted by a fit that had not seen its line, or its drug.",
    )
    for question, one in found.items():
        new = question.removesuffix("s")
        names = {name: _told(name) for name in one.table["name"]}
        out.heading(f"A new {new}")
        out.text(*_sentences(one))
        table = one.table
        rows = [
            (f"{names[r['name']]} ({r['screens']})", r.rmse, r.rmse_low, r.rmse_high)
            for _, r in table.iterrows()
        ]
        out.figure(
            intervals(
                rows,
                "RMSE, ln(µM): smaller is better",
                f"RMSE of {len(rows)} models for a new {new}, with intervals",
                float(table["rmse"].iloc[0]),
            ),
            "RMSE with 95 % intervals (lines and drugs drawn again); dotted: the baseline.",
        )
        out.table(
            pd.DataFrame(
                {
                    "model": table["name"].map(names),
                    "trained on": table["screens"],
                    "RMSE": table["rmse"],
                    "per-drug r": table["pcc_per_drug"],
                    "against the baseline": table["verdict"],
                }
            ),
            f"A new {new}: RMSE in ln(µM), mean correlation over lines within a drug.",
        )
        out.bullets(one.notes)
    if notes:
        out.heading("About your tables")
        out.bullets(notes)
    if listed is not None and len(listed):
        out.heading("Curves without an IC50")
        out.table(listed, "Dose-response points that could not be fitted, and why.")
    out.warn(
        [
            "These errors hold for lines and drugs like those of your screen. A new mechanism, or "
            "a line unlike all of them, will be predicted worse than this page says.",
            "With few lines and drugs the intervals are wide: several models may be equally good.",
        ]
    )
    return out


def _told(name: str) -> str:
    return name if name == PAIRS else models.display_name(name)


def _sentences(one: Compared) -> Iterator[str]:
    table, best = one.table, one.best
    new = one.question.removesuffix("s")
    base = table.iloc[0]
    yield (
        f"For a new {new}, {_told(best['name'])} ({best['screens']}) had the smallest error: "
        f"RMSE {shown(best['rmse'])} ln(µM), a factor of {np.exp(best['rmse']):.1f} in the "
        f"IC50; the baseline ({_told(base['name'])}) has {shown(base['rmse'])}."
    )
    if best["verdict"] == "better":
        yield "The gain over the baseline is larger than chance explains."
    elif best["verdict"] != "baseline":
        yield "This is not more than chance explains: take the baseline as an honest answer."
    beside, own = (table[table["name"].eq(PAIRS) & (table["screens"].eq("own") == alone)]
                   for alone in (False, True))  # fmt: skip
    if len(beside) and len(own):
        gap = float(own["rmse"].iloc[0] - beside["rmse"].iloc[0])
        which = beside["screens"].iloc[0].removeprefix("own + ")
        yield (
            f"With {which} beside it, the error of the {PAIRS} is "
            f"{'smaller' if gap > 0 else 'larger'} by {shown(abs(gap))}."
        )


MOST_SECTIONS = 5  # drugs, and lines, that a page of predictions writes of one by one
MOST_ROWS, LEAST_ROWS = 10, 5
MOST_MAPPED = 12  # new lines that are drawn with their names


def predictions_page(
    predictor: Predictor, found: pd.DataFrame, lines: Source = None, **options: Any
) -> Page:
    """The report page of predictions: for a drug the lines that it should act on most and least,
    for a line its drugs, where new lines lie among the known ones, and what makes one doubt.

    Parameters
    ----------
    found : what `Predictor.predict` gave
    lines, options : that it was asked with (options of `find_lines`: scale, as_new)
    """
    drugs, cells = found["drug"].nunique(), found["line"].nunique()
    kinds = list(dict.fromkeys(found["pair"]))
    out = Page(
        f"{_count(drugs, 'drug')} in {_count(cells, 'line')}",
        f"Predicted ln IC50, by a model fitted on {predictor.about['fitted_on']} "
        f"({predictor.about['lines']} lines, {predictor.about['drugs']} drugs"
        + (", a simulated world" if predictor.about["simulated"] else "")
        + f"). Pairs of these kinds: {', '.join(kinds)}.",
    )
    out.heading("How far to believe it")
    out.bullets([*_believed(predictor, kinds), *_told_of_pilots(found)])
    out.warn(_warnings(found))
    mapped = _map_of_lines(predictor, lines, options)
    if mapped is not None:
        out.heading("Where the new lines lie")
        out.figure(
            scatter(*mapped, "known lines as faint dots, new lines as named large dots"),
            "Two main directions of expression among the known lines (faint; names at the middle "
            "of some large tissues); new lines are large. Far from all others: believe less.",
        )
    if cells > 1 and (cells >= drugs or cells >= MOST_SECTIONS):
        for drug, part in list(found.groupby("drug", sort=False))[:MOST_SECTIONS]:
            _drug_section(out, str(drug), part)
    if drugs > 1:
        for line, part in list(found.groupby("line", sort=False))[:MOST_SECTIONS]:
            _line_section(out, str(line), part)
    if cells == 1 and drugs == 1:
        one = found.iloc[0]
        out.heading("The answer")
        out.text(
            f"{one['drug_name']} in {one['line_name']}: IC50 about {one['ic50_um']:.3g} µM, "
            f"from {np.exp(one['lower']):.2g} to {np.exp(one['upper']):.2g} in nine cases of ten."
        )
    if max(drugs, cells) > MOST_SECTIONS:
        out.text(
            f"Only the first {MOST_SECTIONS} drugs and lines are written of here; the table of "
            "predictions has them all."
        )
    return out


def read_predictions(path: str | Path) -> pd.DataFrame:
    """The table that `predict.write_predictions` wrote, with ids and notes as text."""
    words = ("line", "drug", "pair", "line_name", "drug_name", "note")
    found = read_table(path, text=words)
    return found.assign(**{word: found[word].fillna("").astype(str) for word in words})


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _believed(predictor: Predictor, kinds: list[str]) -> Iterator[str]:
    """One sentence for each kind of pair: how good the model was on what was held out."""
    accuracy = predictor.accuracy()
    for kind in kinds:
        row = accuracy.loc[kind]
        yield (
            f"{kind}: on {int(row['pairs']):,} held-out pairs of this kind the RMSE was "
            f"{row['rmse']:.2f} ln(µM), the mean per-drug r {row['per_drug_r']:.2f}; an interval "
            f"that holds 90 % reaches a factor of {np.exp(row['half width']):.1f} in IC50 to both "
            "sides."
        )


def _told_of_pilots(found: pd.DataFrame) -> Iterator[str]:
    """One sentence for each drug or line whose predictions follow measurements."""
    said = found.assign(note=found["note"].str.split("; ")).explode("note")
    said = said[said["note"].map(is_pilot_note) & (said["note"] != "measured")]
    for note, rows in said.groupby("note", sort=False):
        who = "line_name" if "drug" in str(note) else "drug_name"
        names = ", ".join(dict.fromkeys(rows[who].astype(str)))
        yield f"{names} {note}: level and ranking, and the width of the intervals."


def _warnings(found: pd.DataFrame, most: int = 8) -> list[str]:
    """What the notes say, each once, with whom it is about; the commonest first."""
    said = found[["line_name", "drug_name", "drug", "note"]]
    said = said.assign(note=found["note"].str.split("; "))
    said = said.explode("note")
    said = said[said["note"].astype(bool) & ~said["note"].map(is_pilot_note)]
    out = []
    for note in said["note"].value_counts().index:
        rows = said[said["note"] == note]
        names = rows["drug_name"] if rows["drug_name"].nunique() == 1 else rows["line_name"]
        if note.startswith(SAME):  # the model's name of it stands in the note
            names = rows["drug"]
        few = names.nunique() <= 3 and len(rows) < len(found)
        whom = f" ({', '.join(dict.fromkeys(map(str, names)))})" if few else ""
        out.append(f"{note[0].upper()}{note[1:]}{whom}.")
    left = len(out) - most
    return out[:most] + ([f"And {left} more notes: see the column note."] if left > 0 else [])


def _drug_section(out: Page, drug: str, part: pd.DataFrame) -> None:
    order = part.sort_values(["percentile", "ln_ic50", "line"], kind="stable")
    most = order.head(MOST_ROWS)
    least = order.iloc[len(most) :].tail(LEAST_ROWS)
    name = str(part["drug_name"].iloc[0])
    title = name if name == drug else f"{name} ({drug})"
    out.heading(f"Drug {title}")
    rows = [(str(r.line_name), r.ln_ic50, r.lower, r.upper) for r in most.itertuples()]
    rows += [(str(r.line_name), r.ln_ic50, r.lower, r.upper) for r in least.itertuples()]
    out.figure(
        intervals(rows, "ln IC50, ln(µM): lower acts more", f"predicted ln IC50 of {name} by line"),
        f"Of {len(part)} lines: the {len(most)} on which it should act most"
        + (f", then the {len(least)} on which it should act least" if len(least) else "")
        + ". Dots: predictions; bars: intervals.",
    )
    _answers(out, pd.concat([most, least]), "line_name", f"{name}: lines, most sensitive first")


def _line_section(out: Page, line: str, part: pd.DataFrame) -> None:
    order = part.sort_values(["percentile", "ln_ic50", "drug"], kind="stable").head(MOST_ROWS)
    name = str(part["line_name"].iloc[0])
    out.heading(f"Line {name if name == line else f'{name} ({line})'}")
    out.text(
        "Drugs that should act on this line more than on most other lines, first. The percentile "
        "is that of the line among all known lines under the drug: 0 is the most sensitive."
    )
    _answers(out, order, "drug_name", f"{name}: drugs by percentile")


def _answers(out: Page, rows: pd.DataFrame, who: str, caption: str) -> None:
    table = pd.DataFrame(
        {
            who.removesuffix("_name"): rows[who].astype(str),
            "percentile": rows["percentile"].round().astype("Int64"),
            "IC50, µM": rows["ic50_um"].map(_two_digits),
            "from": np.exp(rows["lower"]).map(_two_digits),
            "to": np.exp(rows["upper"]).map(_two_digits),
            "kind of pair": rows["pair"],
        }
    )
    if rows["pair"].nunique() == 1:
        table = table.drop(columns="kind of pair")
    out.table(table, caption)


def _two_digits(value: float) -> str:
    """A positive number with two digits, written out.

    >>> _two_digits(0.02345), _two_digits(137.4), _two_digits(2.0)
    ('0.023', '140', '2')
    """
    return np.format_float_positional(float(f"{value:.2g}"), trim="-")


def _map_of_lines(
    predictor: Predictor, lines: Source, options: dict[str, Any]
) -> tuple[np.ndarray, list[str], dict[str, np.ndarray]] | None:
    """([known, 2], their tissues, new line -> [2]) in the main directions of the known lines'
    expression; None where no new line has any.
    """
    side = predictor.known.sides[0]
    if lines is None or "expression" not in side.views:
        return None
    asked = find_lines(lines, predictor.known, predictor.lines, **options)
    if asked.side is None or not asked.side.has("expression").any():
        return None
    there = np.flatnonzero(side.has("expression"))
    x = side.views["expression"].to_numpy(np.float64)[there]
    directions = np.linalg.svd(x - x.mean(0), full_matrices=False)[2][:2]
    new = {}
    for place in np.flatnonzero(asked.new >= 0)[:MOST_MAPPED]:
        row = asked.new[place]
        if asked.side.has("expression")[row]:
            own = asked.side.views["expression"].to_numpy(np.float64)[row]
            new[asked.names[place]] = (own - x.mean(0)) @ directions.T
    tissue = side.frame["tissue"].fillna("unknown").astype(str).to_numpy()[there]
    return (x - x.mean(0)) @ directions.T, list(tissue), new
