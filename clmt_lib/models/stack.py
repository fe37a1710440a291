"""Stacking: simple predictors, each asked about pairs it has not seen, and a meta-learner that
learns whom to believe (Wolpert 1992; chapter 09).

The training set is cut into inner folds of the same blindness as the split. Every base is fitted
without one inner fold and predicts it; these out-of-fold predictions teach the meta-learner. Then
every base is fitted on the whole training set, and the meta-learner is applied to that. The
validation set chooses among meta-learners.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from clmt_lib.data.base import Benchmark
from clmt_lib.data.response.auxiliary import AuxiliaryOmics
from clmt_lib.data.splits import Split
from clmt_lib.io import DataError
from clmt_lib.models.base import Candidate, Model, TableModel, predicted
from clmt_lib.models.baselines.drug_ridge import DrugRidge
from clmt_lib.models.baselines.factors import factorise
from clmt_lib.models.baselines.linear import per_drug_targets
from clmt_lib.models.kernels import (
    ROUGH,
    VIEWS,
    all_omics,
    bandwidth,
    correlation,
    drug_kernels,
    line_kernels,
    same_entity,
    solve_pairs,
    squared_distances,
    unit,
)
from clmt_lib.models.known import joined, training_set, whole_split
from clmt_lib.tasks import UNSEEN_DRUG_SPLITS
from clmt_lib.tasks.metrics import additive_effects

NEIGHBOURS = 8  # measured neighbours of a pair that the meta-learner is shown
Kept = dict[str, Any]  # name of a base -> what it is made of when it is asked about new entities
Part = tuple[
    "BasePredictions", np.ndarray, np.ndarray
]  # out of fold: bases, pairs, measured values


@dataclass(frozen=True, eq=False)
class BasePredictions:
    """What the bases say of every pair, having seen one set of responses.

    Attributes
    ----------
    offset [C, D], spread [D] : ln IC50 = offset + spread * prediction
    tables : name of base -> [C, D] predictions, standardised
    target [C, D] : what they were fitted on, NaN where not seen
    """

    offset: np.ndarray
    spread: np.ndarray
    tables: dict[str, np.ndarray]
    target: np.ndarray

    def stacked(self, pairs: np.ndarray) -> np.ndarray:
        """[n, bases] predictions for [n, 2] pairs."""
        cell, drug = pairs.T
        return np.stack([table[cell, drug] for table in self.tables.values()], axis=1)


@dataclass
class Stack(TableModel):
    """Bases suited to the split's blindness, and a meta-learner fitted on what they say out of
    fold.

    Mixed: factorisation, and kernel ridges whose kernels are learned from responses, read off omics
    and annotation, or both. New lines: kernels of omics whose
    genes are weighted by what they tell about training responses. New drugs: kernels of text,
    targets, pathway and structure.

    Parameters
    ----------
    inner : inner folds
    boost : offer trees over the bases' predictions and the nearest measured pairs as a meta-learner
        (mixed only)
    seed : of the inner folds and of the trees
    auxiliary : read `data.response.auxiliary`: expression measured again; for new lines their
        cancer events; in the mixed split what other screens measured of the lines, with other
        compounds. "masked": the same, but a new line is predicted from what was measured of it,
        where True has zeros stand for what is not known
    """

    inner: int = 5
    boost: bool = True
    seed: int = 0
    auxiliary: bool | str = False

    def __post_init__(self) -> None:
        if self.auxiliary not in (True, False, "masked"):
            raise DataError(
                f"unknown auxiliary {self.auxiliary!r}", remedy="use true, false or masked"
            )

    def fit(self, benchmark: Benchmark, split: Split) -> "Stack":
        """Fit bases and meta-learners on train, choose the meta-learner on valid."""
        bases = self._bases(benchmark, split.kind)
        fold = inner_folds(benchmark, split, self.inner, self.seed)
        parts = []
        for k in range(self.inner):
            base = bases(benchmark, replace(split, train=split.train[fold != k]))
            held = split.train[fold == k]
            parts.append((base, benchmark.pairs[held], benchmark.y[held]))
        kept: Kept = {}
        whole = bases(benchmark, split, kept=kept)
        self.choose(benchmark, split, self._meta_learners(parts, whole, split.kind))
        self.kind = split.kind
        if self.kind != "mixed":  # bases of known entities alone have nothing to say of others
            self.known = training_set(benchmark, split, VIEWS["omics"])
            self.kept = _of_training_entities(kept, benchmark.pairs[split.train])
        return self

    def _bases(self, benchmark: Benchmark, kind: str) -> Callable[..., BasePredictions]:
        """The bases that suit a kind of split, with what they read besides responses."""
        made = {"mixed": seen_bases, **dict.fromkeys(UNSEEN_DRUG_SPLITS, new_drug_bases)}
        auxiliary = self.load_auxiliary(benchmark) if self.auxiliary else None
        new_lines = masked_bases if self.auxiliary == "masked" else new_line_bases
        return partial(made.get(kind, new_lines), facts=drug_facts(benchmark), auxiliary=auxiliary)

    def new_table(self, benchmark: Benchmark, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """[rows, columns] from bases that compare new entities with those of the training set.

        Raises
        ------
        DataError
            It was fitted for pairs of known lines and known drugs.
        """
        if self.kind == "mixed":
            raise DataError(
                "this stack was fitted for pairs of known lines and known drugs",
                remedy="fit one on a split that holds lines or drugs out: cell_blind, drug_blind",
            )
        joint, rows, columns = joined(self.known, benchmark, rows, columns)
        bases = self._bases(joint, self.kind)
        whole = bases(joint, whole_split(self.known, self.kind), kept=self.kept, asked=rows)
        at = np.ix_(rows, columns)
        tables = np.stack([table[at] for table in whole.tables.values()])
        if self.chosen["second"] == "mean of bases":
            found = tables.mean(0)
        else:
            found = np.tensordot(self.fitted["weights"], tables, 1)
        return whole.offset[at] + whole.spread[columns] * found

    def _meta_learners(
        self, parts: list[Part], whole: BasePredictions, kind: str
    ) -> Iterator[Candidate]:
        everything = np.argwhere(np.ones(whole.offset.shape, dtype=bool))
        weights = blend(parts, centre=kind in UNSEEN_DRUG_SPLITS)
        tables = np.stack(list(whole.tables.values()))  # [bases, cells, drugs]
        mixed = np.tensordot(weights, tables, 1)
        state = {
            "weights": weights,
            "out_of_fold": np.concatenate([base.stacked(pairs) for base, pairs, _ in parts]),
        }
        yield {"second": "mean of bases"}, whole.offset + whole.spread * tables.mean(0), state
        yield (
            {
                "second": "weights",
                **dict(zip(whole.tables, weights.round(3).tolist(), strict=True)),
            },
            whole.offset + whole.spread * mixed,
            state,
        )
        if kind == "mixed" and self.boost:
            trees = boosted(parts, weights, self.seed)
            rest = np.concatenate(
                [
                    trees.predict(meta_features(whole, rows, weights))
                    for rows in np.array_split(everything, 20)
                ]
            ).reshape(mixed.shape)
            yield (
                {"second": "trees"},
                whole.offset + whole.spread * (mixed + rest),
                {**state, "trees": trees.predict(meta_features(*parts[0][:2], weights))},
            )


def inner_folds(benchmark: Benchmark, split: Split, folds: int, seed: int) -> np.ndarray:
    """[train] inner fold of each training pair: groups of the split's own kind (pairs, lines,
    compounds, ...) are dealt out whole.
    """
    groups = np.unique(benchmark.groups(split.kind)[split.train], return_inverse=True)[1]
    rng = np.random.default_rng([seed, 77])
    order = rng.permutation(groups.max() + 1)
    return (order % folds)[groups]


def blend(parts: list[Part], centre: bool = False) -> np.ndarray:
    """[bases] weights >= 0 of out-of-fold predictions, by least squares in ln uM; with `centre`
    after removing each drug's mean, which is unknowable for a new drug.
    """
    rows, wanted = [], []
    for base, pairs, y in parts:
        drug = pairs[:, 1]
        x, t = base.spread[drug, None] * base.stacked(pairs), y - base.offset[pairs[:, 0], drug]
        if centre:
            count = np.maximum(np.bincount(drug), 1)
            t = t - (np.bincount(drug, t) / count)[drug]
            x = x - np.stack([np.bincount(drug, column) / count for column in x.T], axis=1)[drug]
        rows.append(x)
        wanted.append(t)
    x, t = np.concatenate(rows), np.concatenate(wanted)
    root = np.linalg.cholesky(
        x.T @ x + 1e-6 * len(x) * np.eye(x.shape[1])
    )  # the normal equations as a small least-squares problem
    return nnls(root.T, np.linalg.solve(root, x.T @ t))[0]


def boosted(parts: list[Part], weights: np.ndarray, seed: int) -> Any:
    """Trees on what `blend` leaves of the out-of-fold errors, given `meta_features`; an error
    counts in the units of the benchmark, so a drug's pairs weigh the square of its spread.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    rows, wanted, weight = [], [], []
    for base, pairs, y in parts:
        cell, drug = pairs.T
        rows.append(meta_features(base, pairs, weights))
        wanted.append(
            (y - base.offset[cell, drug]) / base.spread[drug] - base.stacked(pairs) @ weights
        )
        weight.append(base.spread[drug] ** 2)  # errors count in ln uM
    trees = HistGradientBoostingRegressor(
        learning_rate=0.03,
        max_iter=300,
        max_leaf_nodes=15,
        min_samples_leaf=200,
        max_features=0.4,
        early_stopping=False,
        random_state=seed,
    )
    return trees.fit(
        np.concatenate(rows), np.concatenate(wanted), sample_weight=np.concatenate(weight)
    )


def meta_features(base: BasePredictions, pairs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[n, features] what the meta-learner knows of a pair: the bases' predictions, their blend and
    spread, how well line and drug are known, and the nearest measured pairs.
    """
    cell, drug = pairs.T
    stacked = base.stacked(pairs)
    seen, target = np.isfinite(base.target), np.nan_to_num(base.target)
    smooth = next(iter(base.tables.values()))
    by_drug = neighbour_features(correlation(smooth.T), seen, target, cell, drug)
    by_cell = neighbour_features(correlation(smooth), seen.T, target.T, drug, cell)
    return np.column_stack(
        [
            stacked,
            stacked @ weights,
            stacked.std(1),
            np.log(base.spread[drug]),
            base.offset[cell, drug],
            seen.mean(1)[cell],
            seen.mean(0)[drug],
            *by_drug,
            *by_cell,
        ]
    )


def neighbour_features(
    similar: np.ndarray, seen: np.ndarray, target: np.ndarray, row: np.ndarray, column: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measured values of `row` in the columns most like `column` (its own left out): ([n, 8]
    values, [n, 8] similarities, [n, 1] mean weighted by similarity).
    """
    similar = similar.copy()
    np.fill_diagonal(similar, -2)
    near = np.where(seen[row], similar[column], -2.0)  # [n, columns]
    k = min(NEIGHBOURS, near.shape[1] - 1)
    order = 1e-13 * np.arange(near.shape[1]) - np.round(near, 9)  # of equals, the first column
    which = np.argpartition(order, k, axis=1)[:, :k]
    which = np.take_along_axis(which, np.argsort(np.take_along_axis(order, which, 1), axis=1), 1)
    near, values = np.take_along_axis(near, which, 1), np.take_along_axis(target[row], which, 1)
    weight = np.exp(6 * near)
    return values, near, ((values * weight).sum(1) / weight.sum(1))[:, None]


def drug_facts(benchmark: Benchmark) -> dict[str, np.ndarray]:
    """Kernels [D, D] of what is known of drugs, responses apart: text, annotation, fingerprint,
    same compound.
    """
    return {
        name: drug_kernels(benchmark, name)[0][1] for name in ("text", "annotation", "fingerprint")
    } | {"same": same_entity(benchmark, 1)}


def _ridge(
    k_cell: np.ndarray,
    k_drug: np.ndarray,
    target: np.ndarray,
    ridge: float,
    kept: Kept | None = None,
    name: str = "",
) -> np.ndarray:
    """[C, D] predictions of a pairwise kernel ridge; its weights are kept by name, or, where they
    are kept already, those of the first entities are used.
    """
    if kept is None or name not in kept:
        seen = np.isfinite(target)
        weights = solve_pairs(k_cell, k_drug, np.nan_to_num(target), seen, ridge, tolerance=ROUGH)
        if kept is not None:
            kept[name] = weights
        return k_cell @ weights @ k_drug
    n, m = kept[name].shape
    return k_cell[:, :n] @ kept[name] @ k_drug[:m]


def _of_training_entities(kept: Kept, pairs: np.ndarray) -> Kept:
    """What was kept, of lines and drugs with training pairs alone."""
    some = [np.unique(column) for column in pairs.T]

    def cut(value: Any) -> Any:
        if isinstance(value, Model):
            return value
        if isinstance(value, dict):
            return {"dual": cut(value["dual"]), "widths": value["widths"][some[1]]}
        return value[np.ix_(*some)]

    return {name: cut(value) for name, value in kept.items()}


def seen_bases(
    benchmark: Benchmark,
    part: Split,
    facts: dict[str, np.ndarray],
    auxiliary: AuxiliaryOmics | None = None,
    kept: Kept | None = None,
) -> BasePredictions:
    """Bases of the mixed split, lines and drugs all known: kernels learned from denoised residuals,
    alone and with omics (the first table is the best one).

    Nothing is kept: of a line or drug without responses these bases know nothing.

    Columns of other screens join those of this one: they are never predicted, but they tell of the
    lines.
    """
    mean, cell, drug = additive_effects(benchmark, part.train)
    y, n = benchmark.matrix(part.train), benchmark.shape[1]
    offset, seen = mean + cell[:, None] + drug[None], np.isfinite(y)
    spread = np.sqrt((np.where(seen, y - offset, 0) ** 2).sum(0) / np.maximum(seen.sum(0), 1))
    spread = np.where(spread > 1e-6, spread, 1.0)
    target = np.hstack(
        [
            (y - offset) / spread,
            *([] if auxiliary is None else [other_columns(auxiliary.responses)]),
        ]
    )
    one_c, one_d = np.eye(len(y)), np.eye(target.shape[1])
    u, v = factorise(np.nan_to_num(target), np.isfinite(target), 60, 10.0)
    factors = u @ v.T
    k = line_kernels(benchmark, part, factors, auxiliary)
    omics = 0.5 * k["expression"] + 0.2 * k["mutation"] + 0.1 * k["copies"]
    known, same = (
        0.5 * one_d,
        0.2 * one_d,
    )  # of a column of another screen, nothing is known but that it is itself
    known[:n, :n], same[:n, :n] = (
        0.15 * (facts["text"] + facts["fingerprint"]) + 0.2 * facts["same"],
        0.2 * facts["same"],
    )

    def learned(rows: np.ndarray, sharpness: float) -> np.ndarray:
        return np.exp(sharpness * (correlation(rows) - 1))

    smooth = factors
    for _ in range(2):  # each round reads its kernels off a better reconstruction
        smooth = _ridge(
            0.3 + learned(smooth, 3) + omics + 0.3 * one_c,
            0.3 + learned(smooth.T, 3) + known + 0.3 * one_d,
            target,
            0.15,
        )
    soft_c, soft_d = (
        0.3 + learned(smooth, 2) + 0.05 * one_c,
        0.3 + learned(smooth.T, 2) + 0.05 * one_d + same,
    )
    best = _ridge(soft_c + omics, soft_d, target, 0.3)
    across = _ridge(0.3 + 2 * omics + 0.1 * k["tissue"] + 0.3 * one_c, soft_d, target, 0.4)
    responses, own = (_standardised(best), 0.9, 1.0, True), target[:, :n]
    tables = {
        "learned + omics": best[:, :n],
        "omics x learned": across[:, :n],
        "drug by drug": one_by_one(own, [responses], 0.7),
    }
    tables["drug by drug + omics"] = one_by_one(own, [responses, (k["z"], 0.3, 0.5, False)], 0.7)
    return BasePredictions(offset, spread, tables, own)


def other_columns(table: pd.DataFrame) -> np.ndarray:
    """[C, D'] responses of another screen as `seen_bases` has its own: without the effects of drugs
    and lines, by the spread of the drug; NaN where not measured.
    """
    y = table.to_numpy(np.float64)
    seen = np.isfinite(y)
    y = (y - np.nanmean(y, axis=0)) / np.nanstd(y, axis=0)
    y = y - (np.where(seen, y, 0.0).sum(1) / np.maximum(seen.sum(1), 1))[:, None]
    return y / np.nanstd(y, axis=0)


def _standardised(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(0)) / np.maximum(x.std(0), 1e-9)


def new_line_bases(
    benchmark: Benchmark,
    part: Split,
    facts: dict[str, np.ndarray],
    auxiliary: AuxiliaryOmics | None = None,
    kept: Kept | None = None,
    asked: np.ndarray | None = None,
) -> BasePredictions:
    """Bases of splits that hold out lines: kernels of omics, genes weighted by all drugs together
    or drug by drug. Not one response of another screen is read.
    """
    target, offset, spread, _ = per_drug_targets(benchmark, part)
    filled, one = np.nan_to_num(target), np.eye(benchmark.shape[0])
    k, k_drug = (
        line_kernels(benchmark, part, filled, auxiliary),
        0.3 + facts["text"] + 0.5 * facts["same"],
    )
    in_all = partial(_ridge, target=target, kept=kept)
    by_one = partial(one_by_one, target, ridge=1.5, kept=kept, asked=asked)
    expression = (k["z"], 0.3, 1.0, False)
    tables = {
        "plain": in_all(0.3 + k["plain"] + 0.5 * one, k_drug, ridge=0.3, name="plain"),
        "weighted": in_all(0.3 + k["expression"] + 0.5 * one, k_drug, ridge=0.3, name="weighted"),
        "all omics": in_all(all_omics(k), k_drug, ridge=0.5, name="all omics"),
        "drug by drug": by_one([expression], name="drug by drug"),
    }
    if "hits" in k:
        events = (k["hits"], 0.6, 0.3, False)
        tables["drug by drug + events"] = by_one([expression, events], name="with events")
    return BasePredictions(np.broadcast_to(offset, target.shape), spread, tables, target)


def masked_bases(
    benchmark: Benchmark,
    part: Split,
    facts: dict[str, np.ndarray],
    auxiliary: AuxiliaryOmics,
    kept: Kept | None = None,
    asked: np.ndarray | None = None,
) -> BasePredictions:
    """`new_line_bases` of each pattern of what was measured, put together line by line: a table
    that does not know a line has no part in its prediction.

    A line without events gets, for the base that reads them, the base that does not.
    """
    found = []
    for name, rows, own in auxiliary.patterns():
        mine = None if kept is None else _under(kept, name)
        found.append((rows, new_line_bases(benchmark, part, facts, own, mine, asked)))
        if kept is not None and mine is not None:
            kept.update({f"{name}: {key}": value for key, value in mine.items()})
    first = max((base for _, base in found), key=lambda base: len(base.tables))
    tables = {}
    for name in first.tables:
        tables[name] = np.empty(benchmark.shape)
        for rows, base in found:
            tables[name][rows] = base.tables.get(name, base.tables["drug by drug"])[rows]
    return replace(first, tables=tables)


def _under(kept: Kept, pattern: str) -> Kept:
    """What was kept of the bases of one pattern, by their own names."""
    start = f"{pattern}: "
    return {key.removeprefix(start): kept[key] for key in kept if key.startswith(start)}


def one_by_one(
    target: np.ndarray,
    views: list[tuple[np.ndarray, float, float, bool]],
    ridge: float,
    kept: Kept | None = None,
    name: str = "",
    asked: np.ndarray | None = None,
) -> np.ndarray:
    """One kernel ridge for each column of `target` [rows, columns], on features weighted by what
    they tell of this column and of all columns.

    Parameters
    ----------
    views : list of (x [rows, features] standardised, share of the weights that is the column's own,
        scale of the kernel, own): where `own`, features are the columns
        themselves, and a column may not explain itself
    kept, name : where duals [rows, columns] and bandwidths [columns, views] are kept; if they are
        there already, they are used, and only rows `asked` are predicted

    Returns
    -------
    [rows, columns]; 0 for a column without a value.
    """
    seen, out = np.isfinite(target), np.zeros(target.shape)
    rows = np.flatnonzero(seen.any(1))
    general = [
        unit(np.sqrt(((x[rows].T @ np.nan_to_num(target)[rows] / len(rows)) ** 2).mean(1)))
        for x, *_ in views
    ]
    before = None if kept is None else kept.get(name)
    again = before is not None
    dual = np.zeros(target.shape) if before is None else before["dual"]
    widths = np.ones((target.shape[1], len(views))) if before is None else before["widths"]
    to = asked if again else np.arange(len(target))
    for column in np.flatnonzero(seen.any(0)):
        known = np.flatnonzero(seen[:, column])
        level = target[known, column].mean()
        kernel: Any = 0.0
        for i, ((x, share, scale, own), common) in enumerate(zip(views, general, strict=True)):
            weight = (
                share * unit(np.abs(x[known].T @ (target[known, column] - level)) / len(known))
                + (1 - share) * common
            )
            weight[column if own else []] = 0.0
            others = known if again else to  # when fitting, all: bandwidths are over them
            distance = squared_distances((x * weight)[to], (x * weight)[others])
            if not again:
                widths[column, i] = bandwidth(distance, known)
            kernel = kernel + scale * (
                0.7 * np.exp(-distance / widths[column, i])
                + 0.3 * (x[to] * weight**2) @ x[others].T / x.shape[1]
            )
        if not again:
            dual[known, column] = np.linalg.solve(
                kernel[np.ix_(known, known)] + ridge * np.eye(len(known)),
                target[known, column] - level,
            )
            kernel = kernel[:, known]
        out[to, column] = level + kernel @ dual[known, column]
    if kept is not None:
        kept[name] = {"dual": dual, "widths": widths}
    return out


def new_drug_bases(
    benchmark: Benchmark,
    part: Split,
    facts: dict[str, np.ndarray],
    auxiliary: AuxiliaryOmics | None = None,
    kept: Kept | None = None,
    asked: np.ndarray | None = None,
) -> BasePredictions:
    """Bases of splits that hold out drugs: pairwise kernel ridges with one kernel of drugs each,
    and the ridge over drugs that knows the steps their targets take part in.
    """
    target, offset, spread, _ = per_drug_targets(benchmark, part)
    k_cell = (
        0.3
        + line_kernels(benchmark, part, np.nan_to_num(target), auxiliary)["expression"]
        + 0.5 * np.eye(benchmark.shape[0])
    )
    tables = {
        name: _ridge(k_cell, 0.3 + facts[name] + 0.3 * facts["same"], target, 1.0, kept, name)
        for name in ("text", "annotation", "fingerprint")
    }
    if kept is not None and "processes" in kept:
        processes = kept["processes"].new_table(benchmark, *map(np.arange, benchmark.shape))
    else:
        model = DrugRidge().fit(benchmark, part)
        processes = model.table
        if kept is not None:
            kept["processes"] = model
    tables["processes"] = (processes - offset) / spread
    return BasePredictions(np.broadcast_to(offset, target.shape), spread, tables, target)


@dataclass
class Blend(TableModel):
    """Weighted mean of two other models, the weight chosen on valid.

    Parameters
    ----------
    parts : names of two models
    settings : name -> what overrides its defaults
    shares : weights of the first part that are tried
    """

    parts: tuple[str, str] = ("clmt", "kernel_text")
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    shares: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

    def resolved(self, kind: str | None = None) -> dict[str, Any]:
        """Every setting with its exact value; those of the parts, too."""
        from clmt_lib.models.registry import resolve

        parts = {name: resolve(name, self.settings.get(name), kind) for name in self.parts}
        return {**super().resolved(kind), "settings": parts}

    def fit(
        self, benchmark: Benchmark, split: Split, tables: list[np.ndarray] | None = None
    ) -> "Blend":
        """Choose the share on valid. `tables` are predictions [C, D] of the parts that somebody has
        already; otherwise each part is fitted, with what suits the kind of split.
        """
        from clmt_lib.models.registry import build

        state, self.models = {}, {}
        if tables is None:
            everything = np.argwhere(np.ones(benchmark.shape, dtype=bool))
            for name in self.parts:
                model = build(name, split.kind, **self.settings.get(name, {}))
                model.device, model.progress = self.device, self.progress
                self.models[name] = model.fit(benchmark, split)
            tables = [
                predicted(model, everything).reshape(benchmark.shape)
                for model in self.models.values()
            ]
            state = {
                f"{name}.{key}": value
                for name, model in self.models.items()
                for key, value in model.state().items()
            }
        first, second = tables
        return self.choose(
            benchmark,
            split,
            (
                ({"share": share, "of": self.parts[0]}, share * first + (1 - share) * second, state)
                for share in self.shares
            ),
        )

    def fit_again(self, benchmark: Benchmark, split: Split) -> "Blend":
        """Fit the parts again on the training and the validation set, and keep the share.

        Raises
        ------
        DataError
            It was made of tables of predictions.
        """
        self._whole()
        everything = np.argwhere(np.ones(benchmark.shape, dtype=bool))
        for model in self.models.values():
            model.fit_again(benchmark, split)
        first, second = (
            predicted(model, everything).reshape(benchmark.shape) for model in self.models.values()
        )
        share = self.chosen["share"]
        self.table = share * first + (1 - share) * second
        return self

    def _whole(self) -> None:
        """Raises DataError where there are tables of predictions, and no parts."""
        if not self.models:
            raise DataError(
                "this blend was made of its parts' predictions, not of the parts",
                remedy="fit it without tables",
            )

    def new_table(self, benchmark: Benchmark, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """[rows, columns] from what the parts predict.

        Raises
        ------
        DataError
            It was made of tables of predictions, or a part cannot.
        """
        self._whole()
        pairs = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
        first, second = (predicted(model, pairs, benchmark) for model in self.models.values())
        share = self.chosen["share"]
        return (share * first + (1 - share) * second).reshape(len(rows), len(columns))
