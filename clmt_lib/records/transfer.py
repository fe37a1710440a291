"""A transfer file run to records: fits on the source's responses, asks about the target's, compares
(chapter 09d).

A fit is kept as soon as it is done (`runs/.fits-transfer/`, not committed), so a run
that was killed goes on where it stopped, and the two readings of one
screen (IC50 and area) share their fits. What was predicted never depends on what the target
measured: the fits know its lines and drugs, not its responses.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clmt_lib import models, tasks
from clmt_lib.config import Target, Transfer, TransferModel, load
from clmt_lib.data.response import transfer as screens
from clmt_lib.io import atomic_write
from clmt_lib.records import store
from clmt_lib.records.provenance import provenance
from clmt_lib.records.store import Record, home
from clmt_lib.tasks import metrics

CEILING = "the source's own measurement"
NETWORKS = ("clmt", "kernel_head")  # compared with the best of the others
REPORTED = ("spearman_per_drug", "spearman_per_cell")
ROLES = tuple(dict.fromkeys(screens.VALID.values()))
FEWEST_DRUGS, FEWEST_PAIRS = 3, 100  # a mean over less is an anecdote
Fits = dict[str, dict[int, dict[str, np.ndarray]]]  # model -> fold -> kind -> [C, D]
COLUMNS = (
    "category",
    "origin",
    "words",
    "model",
    "metric",
    "value",
    "low",
    "high",
    "within",
    "folds",
    "pairs",
    "lines",
    "drugs",
    "censored",
    "value_measured",
)


def read_transfer(path: str | Path) -> Transfer:
    """A transfer file: `question`, `source`, `targets` (a list of {dataset, options?, folds?}),
    `folds` (parts), `models` (name -> {settings?, folds?, mixed?, cell_blind?, drug_blind?}).

    A model's `settings` hold for all its fits; those under a split's name are put over them where
    settings are chosen for that kind of newness.

    Raises
    ------
    DataError
        Unreadable file, missing or unknown key, unknown model.
    """
    plan = load(
        Transfer, path, "transfer", "see experiments/configs/transfer.yaml and `read_transfer`"
    )
    for name in plan.models:
        models.model_class(name)
    return plan


def label(source: str, row: Target) -> str:
    """Name of a target's record: transfer-gdsc2-ccle, with its reading if not the first."""
    return "-".join(
        [
            "transfer",
            source,
            row.dataset,
            *(str(value) for value in row.options.values()),
        ]
    )


def run_transfer(
    path: str | Path,
    folder: str | Path | None = None,
    *,
    device: str = "auto",
    say: Callable[[str], None] = print,
) -> list[Record]:
    """Run what is missing of a transfer file, target by target, and write each target's record.
    Returns the records.
    """
    plan = read_transfer(path)
    return [_one_target(plan, row, folder, device, say) for row in plan.targets]


def load_transfer(
    plan: Transfer, row: Target, folder: str | Path | None = None
) -> tuple[screens.Transfer, np.ndarray]:
    """(Transfer, [D] how each drug of the union got its words; empty for the source's drugs), facts
    in the words of GDSC's table of drugs.
    """
    from clmt_lib.data.response.gdsc import read_drugs
    from clmt_lib.io import locate
    from clmt_lib.views.wording import in_the_words_of

    said = {}

    def words(drugs: pd.DataFrame) -> pd.DataFrame:
        worded, said["how"] = in_the_words_of(drugs, read_drugs(locate(folder)))
        return worded

    joined = screens.load(plan.source, row.dataset, plan.folds, folder, words, **row.options)
    how = (
        said["how"]
        .rename(lambda drug: f"{row.dataset} {drug}")
        .reindex(joined.benchmark.drugs.index)
        .fillna("")
    )
    return joined, how.to_numpy()


def _one_target(plan, row, folder, device, say):
    joined, how = load_transfer(plan, row)
    parts = range(plan.folds)
    abouts = {name: about or TransferModel() for name, about in plan.models.items()}
    jobs = [
        (name, fold, kind)
        for name, about in abouts.items()
        for fold in row.folds or parts
        if fold in (about.folds or parts)
        for kind in ROLES
    ]
    found = {}
    for number, (name, fold, kind) in enumerate(jobs, start=1):
        settings = {**abouts[name].settings, **getattr(abouts[name], kind)}
        found.setdefault(name, {}).setdefault(fold, {})[kind] = fit(
            joined, name, settings, fold, kind, folder, device
        )
        say(
            f"[{number}/{len(jobs)}] {label(plan.source, row)}: {name}, fold {fold}, "
            f"settings chosen {kind}"
        )
    body = {
        "rows": compare(joined, how, found),
        "counts": joined.counts,
        "words": {str(k): int(v) for k, v in pd.Series(how[how != ""]).value_counts().items()},
    }
    parts = {
        "config": {
            "source": plan.source,
            "target": row.dataset,
            "options": row.options,
            "folds": plan.folds,
            "models": {
                name: about.model_dump(exclude_unset=True) for name, about in abouts.items()
            },
            "checksum": joined.benchmark.checksum,
        },
        "metrics": body,
        "provenance": provenance(joined.benchmark, measures=joined.measures),
    }
    return store.write_derived(label(plan.source, row), parts, folder)


def fit(
    joined: screens.Transfer,
    name: str,
    settings: dict[str, Any],
    fold: int,
    kind: str,
    folder: str | Path | None = None,
    device: str = "auto",
) -> np.ndarray:
    """[C, D] float32 predictions of one model, higher where a line is less sensitive; kept among
    the records, and read from there the second time.

    Parameters
    ----------
    joined : Transfer; only its benchmark and its folds are read
    kind : "mixed", "cell_blind" or "drug_blind": what the valid role is new in
    """
    category = next(category for category, role in screens.VALID.items() if role == kind)
    split = joined.split(fold, category)
    body = [
        joined.benchmark.checksum,
        name,
        settings,
        models.model_class(name).version,
        fold,
        kind,
        hashlib.sha256(np.concatenate([split.train, split.valid]).tobytes()).hexdigest(),
    ]
    path = (
        home(folder)
        / "runs"
        / ".fits-transfer"
        / f"{hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:20]}.npy"
    )
    if path.exists():
        return np.load(path)
    model = models.build(name, **settings)
    model.device = device
    models.fitted(model, joined.benchmark, split)
    every = np.indices((joined.benchmark.n_cells, joined.benchmark.n_drugs)).reshape(2, -1).T
    table = np.asarray(model.predict(every), dtype=np.float32).reshape(joined.benchmark.n_cells, -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, "wb") as file:
        np.save(file, table)
    return table


def compare(
    joined: screens.Transfer, how: np.ndarray, found: Fits, draws: int = tasks.DRAWS
) -> list[dict[str, Any]]:
    """Rows of the record: each model, and the ceiling, on each kind of pair, with two-way bootstrap
    intervals and differences from the best rung that is no network.

    Parameters
    ----------
    how : [D] as `load_transfer` gives it
    found : model -> fold -> kind of valid role -> [C, D] predictions
    """
    rows, where = [], {fold: joined.categories(fold) for runs in found.values() for fold in runs}
    for origin in screens.ORIGINS:
        for category in screens.CATEGORIES:
            mixed = (category, origin) == ("new_drug", "natural") and {"own words"} < set(
                how[joined.benchmark.n_drugs - joined.counts["new_compounds"] :]
            )
            for words in (None, "shared", "own") if mixed else (None,):
                chosen = _chosen(joined, how, where, category, origin, words)
                rows += _category(
                    joined,
                    found,
                    chosen,
                    {"category": category, "origin": origin, "words": words},
                    draws,
                )
    return rows


def _chosen(joined, how, where, category, origin, words):
    """fold -> positions into the target's pairs of one kind."""
    spoken = how[joined.pairs[:, 1]]
    fits = (
        np.ones(len(spoken), dtype=bool)
        if words is None
        else (spoken != "own words")
        if words == "shared"
        else (spoken == "own words")
    )
    return {
        fold: np.flatnonzero((kind == category) & (said == origin) & fits)
        for fold, (kind, said) in where.items()
    }


def _category(joined, found, chosen, about, draws):
    entities = [
        np.unique(np.concatenate([joined.pairs[rows, side] for rows in chosen.values()]))
        for side in (0, 1)
    ]
    if len(entities[1]) < FEWEST_DRUGS or min(map(len, chosen.values())) < FEWEST_PAIRS:
        return []
    kind, out = screens.VALID[about["category"]], []
    tables = {name: {fold: runs[fold][kind] for fold in runs} for name, runs in found.items()}
    if about["origin"] == "held_out":
        tables = {CEILING: dict.fromkeys(chosen), **tables}
    boots = {
        "spearman_per_drug": tasks.Bootstrap((len(entities[0]), len(entities[1])), draws),
        "spearman_per_cell": tasks.Bootstrap(
            (len(entities[1]), len(entities[0])), draws, names=("drug", "cell")
        ),
    }
    scored = {name: Scored(joined, chosen, runs, entities, boots) for name, runs in tables.items()}
    for metric in REPORTED:
        values = {name: one.value(metric) for name, one in scored.items()}
        if not np.isfinite(list(values.values())).all():  # no line has enough of these drugs
            continue
        best = max(
            (name for name in values if name != CEILING and not name.startswith(NETWORKS)),
            key=values.get,
            default=None,
        )
        for name, one in scored.items():
            out.append({**about, "model": name, "metric": metric, **one.about(metric)})
            if best not in (None, name) and name != CEILING:
                out[-1]["against_best"] = {
                    "best": best,
                    **_gap(joined, chosen, tables, scored, name, best, entities, boots, metric),
                }
    return out


def _gap(joined, chosen, tables, scored, name, other, entities, boots, metric):
    """Paired difference name - other on the folds both have."""
    both = [fold for fold in tables[name] if fold in tables[other]]
    a, b = (
        scored[which]
        if both == list(tables[which])
        else Scored(joined, chosen, {fold: tables[which][fold] for fold in both}, entities, boots)
        for which in (name, other)
    )
    return {
        "mean": a.value(metric) - b.value(metric),
        **tasks.with_interval(a.draws(metric) - b.draws(metric)),
        "folds": len(both),
    }


class Scored:
    """Predictions of one kind of pair over folds, ranked inside each fold and drug (or line), and
    what they score against the target.

    Ranks are taken once; a bootstrap draw weighs lines and drugs, so its Spearman correlation is
    the weighted correlation of these ranks.
    """

    def __init__(
        self,
        joined: screens.Transfer,
        chosen: dict[int, np.ndarray],
        runs: dict[int, np.ndarray | None],
        entities: list[np.ndarray],
        boots: dict[str, tasks.Bootstrap],
    ) -> None:
        self.folds = [fold for fold in runs if len(chosen[fold])]
        at = (
            np.concatenate([chosen[fold] for fold in self.folds])
            if self.folds
            else np.zeros(0, dtype=int)
        )
        self.fold = np.repeat(
            np.arange(len(self.folds)), [len(chosen[fold]) for fold in self.folds]
        )
        pairs = joined.pairs[at]
        self.y, self.inside, self.bound = joined.y[at], joined.y_source[at], joined.censored[at]
        tables = [table for fold in self.folds if (table := runs[fold]) is not None]
        told = [
            table[tuple(joined.pairs[chosen[fold]].T)]
            for fold, table in zip(self.folds, tables, strict=False)
        ]
        ceiling = any(table is None for table in runs.values())
        self.p = self.inside if ceiling else np.concatenate(told).astype(np.float64)
        self.pairs = np.stack(
            [np.searchsorted(entities[side], pairs[:, side]) for side in (0, 1)], axis=1
        )
        self.sizes, self.boots = [len(names) for names in entities], boots
        self.drawn: dict[str, np.ndarray] = {}

    def _group(self, metric):
        side = 1 if metric == "spearman_per_drug" else 0
        return self.fold * self.sizes[side] + self.pairs[:, side], 1 - side

    def value(
        self, metric: str, against: np.ndarray | None = None, rows: Any = slice(None)
    ) -> float:
        """Mean over (fold, drug) or (fold, line) of the Spearman correlation with the target's
        values, or with `against`.
        """
        y = self.y if against is None else against
        return mean_spearman(y[rows], self.p[rows], self._group(metric)[0][rows])

    def draws(self, metric: str) -> np.ndarray:
        """[draws] of `value`: every drug (or line) of every fold counts alike, as often as it was
        drawn.
        """
        if metric not in self.drawn:
            boot, values, weights = self.boots[metric], [], []
            sides = [0, 1] if boot.names[0] == "cell" else [1, 0]
            for fold in range(len(self.folds)):
                rows = self.fold == fold
                pairs = self.pairs[rows][:, sides]
                found = boot.statistics(pairs, self.y[rows], self.p[rows], [metric])
                values.append(found[metric])
                weights.append(boot.weights(pairs, [metric], relative=False)[metric])
            self.drawn[metric] = tasks.pool(np.stack(values), np.stack(weights))
        return self.drawn[metric]

    def about(self, metric: str) -> dict[str, Any]:
        """What the record says of one metric."""
        measured = np.isfinite(self.inside).all() and not np.array_equal(self.p, self.inside)
        bound = self.bound.any()
        return {
            "value": self.value(metric),
            **tasks.with_interval(self.draws(metric)),
            "within": self.value(metric, self.inside) if measured else None,
            "folds": len(self.folds),
            "pairs": len(self.y),
            "lines": len(np.unique(self.pairs[:, 0])),
            "drugs": len(np.unique(self.pairs[:, 1])),
            "censored": float(self.bound.mean()),
            "value_measured": self.value(metric, rows=~self.bound) if bound else None,
        }


def mean_spearman(y: np.ndarray, p: np.ndarray, group: np.ndarray) -> float:
    """`metrics.within(y, p, group, metrics.spearman)` for many groups at once: ranks by group, then
    sums by group instead of a loop.
    """
    if not len(group):
        return float("nan")
    a, b = _ranks(y, group), _ranks(p, group)
    n = np.bincount(group)
    a, b = (values - (np.bincount(group, values) / np.maximum(n, 1))[group] for values in (a, b))
    scale = np.sqrt(np.bincount(group, a * a) * np.bincount(group, b * b))
    found = np.divide(np.bincount(group, a * b), scale, out=np.zeros(len(n)), where=scale > 1e-9)[
        n >= metrics.FEWEST
    ]
    return float(found.mean()) if len(found) else float("nan")


def _ranks(values, group):
    return pd.Series(values).groupby(group).rank().to_numpy()


def transfers(
    source: str = "gdsc2",
    target: str = "ccle",
    folder: str | Path | None = None,
    metric: str = "spearman_per_drug",
) -> pd.DataFrame:
    """A transfer's record as a frame with `COLUMNS`, and `best`, `gap`, `gap_low`, `gap_high`,
    `gap_folds`: the paired difference from the best rung. Empty where no record is there yet.

    Parameters
    ----------
    target : "ccle", "ccle-act_area", "ctrp"
    """
    name, rows = f"transfer-{source}-{target}", []
    there = store.is_derived(name, folder)
    for row in store.read(name, folder).metrics["rows"] if there else ():
        if row["metric"] != metric:
            continue
        gap = row.get("against_best")
        ends = {"low": row["interval"][0], "high": row["interval"][1]}
        more = (
            {
                "best": gap["best"],
                "gap": gap["mean"],
                "gap_low": gap["interval"][0],
                "gap_high": gap["interval"][1],
                "gap_folds": gap["folds"],
            }
            if gap
            else {}
        )
        rows.append({**row, **ends, **more})
    return pd.DataFrame(rows, columns=[*COLUMNS, "best", "gap", "gap_low", "gap_high", "gap_folds"])


def transfer_counts(
    source: str = "gdsc2", target: str = "ccle", folder: str | Path | None = None
) -> dict[str, Any] | None:
    """{"counts", "words"} of a transfer's record, or None where there is none."""
    name = f"transfer-{source}-{target}"
    if not store.is_derived(name, folder):
        return None
    body = store.read(name, folder).metrics
    return {key: body[key] for key in ("counts", "words")}
