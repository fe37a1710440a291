"""What a few measurements of a new drug, or of a new line, are worth: the record `pilot-gdsc2`
(chapter "Your own drugs and lines").

    python experiments/pilot.py            # every fold, resumable; needs CLMT_DATA
    python experiments/pilot.py --collect  # the record, from the folds that are there
    python experiments/pilot.py --small 10 # `pilot-small`: what another screen lends a small one

A fold holds out drugs (or lines) as its split does. The model is asked about them, then given k
measurements of each, drawn at random (the same for every k, nested) or chosen by the library, the
same for all (`predict.pilot`). All are scored on the pairs that nobody was given at the largest k,
so that numbers of measurements are compared on the same pairs (a second id of a compound is another
drug: 18 of 216 ids of GDSC2 have one). The covariance of errors comes from
five fits inside the training and validation set.

A small screen is 20 lines x 8 compounds of GDSC1, drawn at random among those that were measured
together, and GDSC2 is put beside it as `clmt compare --beside gdsc2` does: whatever is held out of
the small screen is held out of GDSC2, too.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from clmt_lib import data, models, screen, tasks
from clmt_lib.predict.pilot import fit_prior
from clmt_lib.records import provenance, write_derived

COUNTS = (0, 1, 3, 5, 10, 20, 50)
QUESTIONS = {  # kind of split -> (model, side that is new, folds of one seed)
    "drug_blind": ("kernel_head_level_refit", 1, 10),
    "cell_blind": ("kernel_head_refit", 0, 5),
}
FOLDS = 10  # of each question: those of the first seed, then of the next
INNER = 5
NORMAL_90 = 1.6449  # half the width of an interval that holds 90 %, in standard deviations
RUNS = Path(__file__).parent / "runs" / "pilot"


def out_of_fold(benchmark, split, name, axis):
    """[pairs] predictions of every training and validation pair by a fit without its entity, NaN
    elsewhere.
    """
    rows = np.union1d(split.train, split.valid)
    key = benchmark.sides[axis].keys[benchmark.sides[axis].identity]
    group = np.unique(key, return_inverse=True)[1][benchmark.pairs[rows, axis]]
    names = np.unique(group)
    part = np.full(names.max() + 1, -1)
    part[np.random.default_rng(split.fold).permutation(names)] = np.arange(len(names)) % INNER
    part, found = part[group], np.full(len(benchmark), np.nan)
    for held in range(INNER):
        again = (held + 1) % INNER
        inner = replace(
            split,
            train=rows[(part != held) & (part != again)],
            valid=rows[part == again],
            test=rows[part == held],
        )
        model = models.build(name, split.kind).fit(benchmark, inner)
        found[inner.test] = model.predict(benchmark.pairs[inner.test])
    return found


def one_fold(benchmark, kind, fold):
    """Predictions [strategies, counts, test pairs] of the pairs that are scored (NaN elsewhere)."""
    name, axis, of_a_seed = QUESTIONS[kind]
    split = data.make_split(benchmark, kind, *divmod(fold, of_a_seed))
    errors = np.full(benchmark.shape, np.nan)
    inside = out_of_fold(benchmark, split, name, axis)
    rows = np.flatnonzero(np.isfinite(inside))
    errors[tuple(benchmark.pairs[rows].T)] = benchmark.y[rows] - inside[rows]
    errors = errors if axis == 0 else errors.T  # [new kind, other]
    known = np.flatnonzero(np.isfinite(errors).any(1))
    other = np.flatnonzero(np.isfinite(errors).any(0))
    side = benchmark.sides[axis]
    groups = np.asarray(side.keys[side.identity])[known]
    prior = fit_prior(errors[np.ix_(known, other)], groups, seed=fold)

    model = models.build(name, kind).fit(benchmark, split)
    predicted = model.predict(benchmark.pairs[split.test])
    place = np.full(benchmark.shape[1 - axis], -1)
    place[other] = np.arange(len(other))
    entity, where = benchmark.pairs[split.test, axis], place[benchmark.pairs[split.test, 1 - axis]]
    y, most = benchmark.y[split.test], max(COUNTS)
    out = np.full((2, len(COUNTS), len(split.test)), np.nan)
    sd = np.full(out.shape, np.nan)
    rng = np.random.default_rng([fold, axis])
    for one in np.unique(entity):
        mine = np.flatnonzero((entity == one) & (where >= 0))
        at = where[mine]
        back = np.full(len(other), -1)
        back[at] = mine
        base = np.zeros(len(other))
        base[at] = predicted[mine]
        orders = [rng.permutation(at)[:most], np.array(prior.choose(most, among=at))]
        free = np.setdiff1d(at, np.concatenate(orders))
        if len(free) < tasks.metrics.FEWEST:
            continue
        for strategy, order in enumerate(orders):
            for i, count in enumerate(COUNTS):
                given = order[:count]
                found = prior.update(base, given, y[back[given]])
                out[strategy, i, back[free]] = found[free]
                sd[strategy, i, back[free]] = np.sqrt(prior.variance(given)[free])
    chosen = [str(benchmark.sides[1 - axis].ids[other[i]]) for i in prior.choose(most)]
    return {
        "out": out.astype(np.float32),
        "sd": sd.astype(np.float32),
        "test": split.test,
        "share": prior.share,
        "chosen": np.array(chosen),
        "expected": np.sqrt(
            [prior.variance(prior.choose(c)).sum() / (len(other) - c) for c in COUNTS]
        ),
        "known": len(known),
    }


def collect(benchmark):
    """Write the record from the folds that are there."""
    metrics = {}
    for kind, (name, _, of_a_seed) in QUESTIONS.items():
        parts = [np.load(p) for f in range(FOLDS) if (p := RUNS / f"{kind}-{f}.npz").exists()]
        if not parts:
            continue
        boot = tasks.bootstrap_of(benchmark, tasks.DRAWS)
        drawn, rows = {}, []
        for strategy, label in enumerate(("random", "chosen")):
            for i, count in enumerate(COUNTS):
                values = {"rmse": [], "pcc_per_drug": []}
                each = {metric: ([], []) for metric in values}
                inside = []
                for part in parts:
                    found, test = part["out"][strategy, i].astype(float), part["test"]
                    there = np.isfinite(found)
                    pairs, y, p = (
                        benchmark.pairs[test[there]],
                        benchmark.y[test[there]],
                        found[there],
                    )
                    wide = NORMAL_90 * part["sd"][strategy, i][there]
                    inside.append(float((np.abs(y - p) <= wide).mean()))
                    values["rmse"].append(tasks.metrics.rmse(y, p))
                    r = tasks.metrics.per_group(y, p, pairs[:, 1])
                    values["pcc_per_drug"].append(r)
                    stats = boot.statistics(pairs, y, p, tuple(values))
                    weights = boot.weights(pairs, tuple(values), y)
                    for metric, (a, b) in each.items():
                        a.append(stats[metric])
                        b.append(weights[metric])
                row = {"strategy": label, "measured": count, "covered": float(np.mean(inside))}
                for metric, (a, b) in each.items():
                    pooled = tasks.pool(a, b)
                    drawn[label, count, metric] = pooled
                    low, high = tasks.interval(pooled)
                    row |= {
                        metric: float(np.mean(values[metric])),
                        f"{metric}_low": low,
                        f"{metric}_high": high,
                    }
                rows.append(row)
        gaps = []
        for count in COUNTS[1:]:
            for metric in ("rmse", "pcc_per_drug"):
                for what, a, b in (
                    ("chosen - random", ("chosen", count), ("random", count)),
                    ("random - nothing", ("random", count), ("random", 0)),
                ):
                    gap = drawn[(*a, metric)] - drawn[(*b, metric)]
                    low, high = tasks.interval(gap)
                    found = {(r["strategy"], r["measured"]): r[metric] for r in rows}
                    mean = found[a] - found[b]
                    gaps.append(
                        {
                            "what": what,
                            "measured": count,
                            "metric": metric,
                            "difference": mean,
                            "low": low,
                            "high": high,
                        }
                    )
        metrics[kind] = {
            "model": name,
            "folds": len(parts),
            "seeds": -(-len(parts) // of_a_seed),
            "pairs": int(sum(np.isfinite(p["out"][0, 0]).sum() for p in parts)),
            "curve": rows,
            "differences": gaps,
            "share": [float(p["share"]) for p in parts],
            "expected_rmse": [float(v) for v in np.mean([p["expected"] for p in parts], axis=0)],
            "first_chosen": [str(v) for v in parts[0]["chosen"][:10]],
        }
    config = {"dataset": benchmark.name, "counts": list(COUNTS), "inner": INNER, "seed": 0}
    body = {"config": config, "metrics": metrics, "provenance": provenance(benchmark)}
    write_derived(f"pilot-{benchmark.name}", body)


def small_screen(benchmark, seed, lines=20, compounds=8):
    """[lines x compounds] of a benchmark, drawn at random among those that were measured."""
    rng = np.random.default_rng(seed)
    first = np.flatnonzero(~benchmark.drugs["compound"].duplicated().to_numpy())
    seen = np.isfinite(benchmark.matrix())
    drugs = rng.choice(first[seen[:, first].mean(0) > 0.6], compounds, replace=False)
    rows = rng.choice(np.flatnonzero(seen[:, drugs].all(1)), lines, replace=False)
    cells, table = benchmark.cells.iloc[np.sort(rows)], benchmark.drugs.iloc[np.sort(drugs)]
    keep = np.isin(benchmark.pairs[:, 0], rows) & np.isin(benchmark.pairs[:, 1], drugs)
    line, drug = benchmark.pairs[keep].T
    values = pd.DataFrame(
        {
            "cell": benchmark.cells.index[line],
            "drug": benchmark.drugs.index[drug],
            "ln_ic50": benchmark.y[keep],
        }
    )
    omics = {kind: part.loc[cells.index] for kind, part in benchmark.omics.items()}
    return data.DrugResponse.from_tables("small", cells, table, omics, values, trust_units=True)


def small(draws):
    """Write the record of small screens alone and beside GDSC2; resumable."""
    gdsc1, gdsc2 = data.load("gdsc1"), data.load("gdsc2")
    rows = []
    for draw in range(draws):
        path = RUNS / f"small-{draw}.csv"
        if not path.exists():
            own, parts = small_screen(gdsc1, draw), []
            for question in screen.QUESTIONS:
                found = screen.compare(own, question, gdsc2, say=print)
                parts.append(found.table.assign(question=question, draw=draw))
            pd.concat(parts).to_csv(path, index=False)
            print(path.name, flush=True)
        rows.append(pd.read_csv(path))
    table = pd.concat(rows)
    pair = table[table["name"] == screen.PAIRS].assign(beside=lambda t: t["screens"] != "own")
    gains = pair.pivot_table(
        index=["question", "draw"], columns="beside", values=["rmse", "pcc_per_drug"]
    )
    told = {}
    for question in screen.QUESTIONS:
        own = gains.loc[question]
        for metric in ("rmse", "pcc_per_drug"):
            gap = (own[metric][True] - own[metric][False]).to_numpy()
            drawn = np.random.default_rng(0).choice(gap, (tasks.DRAWS, len(gap))).mean(1)
            low, high = tasks.interval(drawn)
            told[f"{question}, {metric}"] = {
                "alone": float(own[metric][False].mean()),
                "beside": float(own[metric][True].mean()),
                "difference": float(gap.mean()),
                "low": low,
                "high": high,
                "screens_better": int(((gap < 0) if metric == "rmse" else (gap > 0)).sum()),
            }
    mean = table.groupby(["question", "name", "screens"], sort=False)[
        ["rmse", "pcc_per_drug"]
    ].mean()
    config = {"own": "gdsc1", "beside": "gdsc2", "lines": 20, "compounds": 8, "screens": draws}
    metrics = {"gain": told, "models": mean.reset_index().to_dict("records")}
    body = {"config": config, "metrics": metrics, "provenance": provenance(gdsc1)}
    write_derived("pilot-small", body)


def main():
    """Every fold that is missing, then the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--collect", action="store_true", help="only write the record")
    parser.add_argument("--only", metavar="KIND", choices=QUESTIONS)
    parser.add_argument("--fold", type=int, help="this one alone, and no record")
    parser.add_argument("--small", type=int, metavar="SCREENS", help="small screens instead")
    args = parser.parse_args()
    RUNS.mkdir(parents=True, exist_ok=True)
    if args.small:
        small(args.small)
        return
    benchmark = data.load("gdsc2")
    for kind in QUESTIONS:
        for fold in range(FOLDS):
            path = RUNS / f"{kind}-{fold}.npz"
            wanted = args.only in (None, kind) and args.fold in (None, fold) and not args.collect
            if wanted and not path.exists():
                np.savez_compressed(path, **one_fold(benchmark, kind, fold))
                print(path.name, flush=True)
    if args.fold is None:
        collect(benchmark)


if __name__ == "__main__":
    main()
