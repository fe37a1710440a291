"""How far could anyone get in random pairs? Replicates and near twins of a benchmark, as the record
`noise-<dataset>` (chapter 09a).

    python experiments/noise.py gdsc2 tgsa

needs `CLMT_DATA`, and takes about four minutes a benchmark.

    python experiments/noise.py --reference

writes `reference-gdsc2`: how far two *screens* agree (GDSC1 and GDSC2 measured some drug ids in the
same lines), two ids of one compound, and a model that never saw the lines. A second screen is a
reference, not a ceiling: a model that learnt from this screen can agree with it better.

A *replicate* is a line and a compound that were measured under two drug ids. The two values differ
by noise, and by all that was different when they were measured (batch, doses,
laboratory); half of the variance of the difference is what one measurement carries. A *near twin*
of a drug is another drug whose residuals, after drug and cell effects, are
correlated with its own across lines (of a line: across drugs). *Nonsense* is a model that reads the
structure of another drug in the place of each.
"""

import argparse
import sys
from itertools import combinations

import numpy as np
import pandas as pd

from clmt_lib import data, models, tasks
from clmt_lib.data.response.gdsc import read_drugs
from clmt_lib.io import locate, read_table
from clmt_lib.records import RunConfig, provenance, run, write_derived
from clmt_lib.tasks import metrics

MODELS = ("effects", "als", "learned_kernel", "kernel_text")
DRUG_TWIN, LINE_TWIN = (
    0.6,
    0.7,
)  # residual correlations from which we call two drugs, or two lines, near twins
FEWEST = 30  # lines that two ids, or entities that two rows, must share


def two_ids(benchmark):
    """Every two ids of one compound that share at least `FEWEST` lines: [{compound, lines,
    sd_difference, sd_measurement, r, shift}], all in ln uM but r.

    `sd_difference` is of the differences after their mean, `shift`, is taken off; `sd_measurement`
    is that divided by the square root of two.
    """
    table, rows = benchmark.matrix(), []
    for compound, ids in benchmark.drugs.groupby("compound", sort=True).indices.items():
        for a, b in combinations(ids, 2):
            both = np.isfinite(table[:, [a, b]]).all(axis=1)
            if both.sum() >= FEWEST:
                gap = table[both, a] - table[both, b]
                sd = gap.std(ddof=1)
                rows.append(
                    {
                        "compound": str(compound),
                        "lines": int(both.sum()),
                        "sd_difference": sd,
                        "sd_measurement": sd / np.sqrt(2),
                        "r": metrics.pearson(table[both, a], table[both, b]),
                        "shift": gap.mean(),
                    }
                )
    return rows


def correlations(table):
    """[rows, rows] Pearson correlations of the rows of a table with holes, over the columns both
    have; 0 where they share fewer than `FEWEST`, and with themselves.
    """
    seen = np.isfinite(table).astype(float)
    x = np.nan_to_num(table)
    n, s, q, p = seen @ seen.T, x @ seen.T, (x * x) @ seen.T, x @ x.T
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (p - s * s.T / n) / np.sqrt((q - s * s / n) * (q.T - s.T * s.T / n))
    r = np.where((n >= FEWEST) & np.isfinite(r), r, 0.0)
    np.fill_diagonal(r, 0.0)
    return r


def nearest(benchmark, split):
    """([C], [D]) correlation of each line, and each drug, with its nearest twin, from the training
    residuals alone.
    """
    mean, cells, drugs = metrics.additive_effects(benchmark, split.train)
    rest = (
        benchmark.matrix(split.train) - mean - cells[:, None] - drugs[None]
    )  # [C, D], NaN where unknown
    return correlations(rest).max(axis=1), correlations(rest.T).max(axis=1)


def groups(benchmark, split):
    """name -> mask over the test pairs."""
    cell, drug = benchmark.pairs[split.test].T
    line, twin = (
        near[which] > least
        for near, which, least in zip(
            nearest(benchmark, split), (cell, drug), (LINE_TWIN, DRUG_TWIN), strict=True
        )
    )
    compound = benchmark.drugs["compound"].factorize()[0]
    asked = (
        benchmark.pairs[:, 0] * benchmark.n_drugs + compound[benchmark.pairs[:, 1]]
    )  # [pairs] one number for each line and compound
    again = np.isin(asked[split.test], asked[split.train])
    return {
        "all": np.full(len(cell), True),
        "drug has a twin": twin,
        "drug has none": ~twin,
        "line has a twin": line,
        "line has none": ~line,
        "neither has a twin": ~twin & ~line,
        "replicate in train": again,
        "no replicate in train": ~again,
    }


def errors(benchmark, seeds):
    """[{model, group, pairs, rmse}], means over mixed splits; groups without a pair left out."""
    found = {}
    for seed in seeds:
        split = data.make_split(benchmark, "mixed", seed)
        masks, y, pairs = (
            groups(benchmark, split),
            benchmark.y[split.test],
            benchmark.pairs[split.test],
        )
        for name in MODELS:
            predicted = models.build(name).fit(benchmark, split).predict(pairs)
            for group, mask in masks.items():
                if mask.any():
                    found.setdefault((name, group), []).append(
                        (mask.sum(), metrics.rmse(y[mask], predicted[mask]))
                    )
    return [
        {
            "model": name,
            "group": group,
            "pairs": float(np.mean([n for n, _ in runs])),
            "rmse": float(np.mean([e for _, e in runs])),
            "splits": len(runs),
        }
        for (name, group), runs in found.items()
    ]


def nonsense(benchmark, seeds, folds=5):
    """A kernel that reads every drug's structure, and one that reads another drug's: [{split, seed,
    fold, model, rmse, pcc_per_drug}], models means, swapped, true.

    `means` are the drug + cell effects on random pairs, and the cell mean for new drugs. Every
    split draws its swap afresh.
    """
    rows = []
    for kind, base, seed, fold in [("mixed", "effects", seed, 0) for seed in seeds] + [
        ("drug_blind", "cell_mean", 0, fold) for fold in range(folds)
    ]:
        split = data.make_split(benchmark, kind, seed, fold)
        order = np.random.default_rng([seed, fold]).permutation(benchmark.n_drugs)
        swapped = benchmark.with_frames(
            drug=benchmark.drugs.assign(smiles=benchmark.drugs["smiles"].to_numpy()[order])
        )
        for model, rung, world in (
            ("means", base, benchmark),
            ("swapped", "kernel_fingerprint", swapped),
            ("true", "kernel_fingerprint", benchmark),
        ):
            predicted = models.build(rung).fit(world, split).predict(benchmark.pairs[split.test])
            found = tasks.score(benchmark, split, predicted)
            rows.append(
                {
                    "split": kind,
                    "seed": seed,
                    "fold": fold,
                    "model": model,
                    "rmse": found["rmse"],
                    "pcc_per_drug": found["pcc_per_drug"],
                }
            )
    return rows


def record(name, seeds=(0, 1, 2), folder=None):
    """Compute and write `noise-<name>`; returns its metrics."""
    benchmark = data.load(name)
    line, drug = nearest(benchmark, data.make_split(benchmark, "mixed", seeds[0]))
    ids = two_ids(benchmark)
    sd = [row["sd_measurement"] for row in ids]
    body = {
        "density": len(benchmark) / (benchmark.n_cells * benchmark.n_drugs),
        "two_ids": ids,
        "noise": {
            "pairs_of_ids": len(ids),
            "mean": np.mean(sd),
            "low": np.min(sd),
            "high": np.max(sd),
        }
        if ids
        else None,
        "nearest": {
            side: [float(v) for v in np.quantile(values, np.linspace(0, 1, 41))]
            for side, values in (("drugs", drug), ("lines", line))
        },
        "twins": {
            "drug_r": DRUG_TWIN,
            "line_r": LINE_TWIN,
            "drugs": float((drug > DRUG_TWIN).mean()),
            "lines": float((line > LINE_TWIN).mean()),
        },
        "errors": errors(benchmark, seeds),
        "nonsense": nonsense(benchmark, seeds),
    }
    about = {"dataset": name, "split": "mixed", "seeds": list(seeds), "models": list(MODELS)}
    parts = {"config": about, "metrics": body, "provenance": provenance(benchmark)}
    return write_derived(f"noise-{name}", parts, folder).metrics


def agreement(a, b):
    """Two tables [lines, drugs] of ln IC50, drug by drug over the lines that both measured:
    [{lines, r, sd, left}] of each drug with at least `FEWEST`. `sd` is that of `a`, `left` what is
    left of it when `b` is known, by a straight line for each drug.
    """
    rows = []
    for drug in a.columns.intersection(b.columns):
        both = pd.concat([a[drug], b[drug]], axis=1, keys=["a", "b"]).dropna()
        if len(both) >= FEWEST:
            line = np.polyfit(both["b"], both["a"], 1)
            rows.append(
                {
                    "lines": len(both),
                    "r": metrics.pearson(both["a"].to_numpy(), both["b"].to_numpy()),
                    "sd": both["a"].std(),
                    "left": (both["a"] - np.polyval(line, both["b"])).std(),
                }
            )
    return pd.DataFrame(rows)


def told(values, draws=2000):
    """Mean of one value a drug, with an interval from drawing the drugs again."""
    values = np.asarray(values)
    rows = np.random.default_rng(0).integers(0, len(values), (draws, len(values)))
    return {
        "mean": values.mean(),
        **tasks.with_interval(values[rows].mean(1)),
        "drugs": len(values),
    }


def of_screens(a, b):
    """What `agreement` finds, in a few numbers."""
    found = agreement(a, b)
    return {
        "r": told(found["r"]),
        "pairs": int(found["lines"].sum()),
        "sd": float(np.sqrt((found["sd"] ** 2).mean())),
        "left": float(np.sqrt((found["left"] ** 2).mean())),
    }


def on_new_lines(benchmark, other, model, folds=5, folder=None):
    """Drug by drug over test lines that nobody trained on: r of this screen with the other one and
    with the predictions of a recorded model, of the other screen with the predictions, and of what
    the predictions leave of either. Each is the mean over the folds a drug is in.
    """
    rows = []
    for fold in range(folds):
        config = RunConfig(benchmark.name, "cell_blind", model, 0, fold)
        made = run(config, folder, needs=("predictions",), benchmark=benchmark).predictions
        test = made[made["role"] == "test"]
        cell, drug = benchmark.pairs[test["position"].to_numpy()].T
        frame = pd.DataFrame(
            {"drug": benchmark.drugs.index[drug], "p": test["predicted"].to_numpy()}
        )
        frame["y"] = benchmark.y[test["position"].to_numpy()]
        places = other.index.get_indexer(benchmark.cells.index[cell])
        columns = other.columns.get_indexer(frame["drug"])
        known = (places >= 0) & (columns >= 0)
        frame["second"] = np.where(known, other.to_numpy()[places, columns], np.nan)
        for name, own in frame.dropna().groupby("drug"):
            if len(own) < FEWEST:
                continue
            y, p, second = (own[column].to_numpy() for column in ("y", "p", "second"))
            rest = second - np.polyval(np.polyfit(p, second, 1), p)
            rows.append(
                {
                    "drug": name,
                    "screen and screen": metrics.pearson(y, second),
                    "screen and prediction": metrics.pearson(y, p),
                    "other and prediction": metrics.pearson(second, p),
                    "rest and rest": metrics.pearson(y - p, rest),
                }
            )
    frame = pd.DataFrame(rows).groupby("drug").mean()
    return {name: told(frame[name]) for name in frame.columns}


def reference(model="kernel_head", folder=None):
    """Compute and write `reference-gdsc2`; returns its metrics."""
    benchmark = data.load("gdsc2")
    home = locate(None)
    second = read_table(home / "gdsc/response_gdsc2.parquet", ["COSMIC_ID", "DRUG_ID", "LN_IC50"])
    first = read_table(
        home / "gdsc/response_gdsc1_v17.parquet", ["COSMIC_ID", "DRUG_ID", "LN_IC50"]
    )
    compound = read_drugs(home)["name"].str.lower().str.strip()

    def table(rows, named=None):
        drug = rows["DRUG_ID"].astype(str)
        drug = drug if named is None else drug.map(named)
        cell = rows["COSMIC_ID"].astype(str)
        return rows["LN_IC50"].groupby([cell.rename("cell"), drug.rename("drug")]).mean().unstack()

    sd = two_ids(benchmark)
    body = {
        "by_id": of_screens(table(second), table(first)),
        "by_compound": of_screens(table(second, compound), table(first, compound)),
        "two_ids": {
            "pairs": len(sd),
            "r": float(np.mean([row["r"] for row in sd])),
            "sd_measurement": float(np.sqrt(np.mean([row["sd_measurement"] ** 2 for row in sd]))),
        },
        "new_lines": on_new_lines(benchmark, table(first), model, folder=folder),
    }
    about = {"dataset": "gdsc2", "other": "gdsc1", "split": "cell_blind", "model": model}
    parts = {"config": about, "metrics": body, "provenance": provenance(benchmark)}
    return write_derived("reference-gdsc2", parts, folder).metrics


def main(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", nargs="*")
    parser.add_argument("--reference", action="store_true", help="how far two screens agree")
    parser.add_argument("--records", metavar="DIR")
    options = parser.parse_args(argv)
    if options.reference:
        found = reference(folder=options.records)
        print(
            f"reference-gdsc2: {found['by_id']['r']['mean']:.3f} between screens", file=sys.stderr
        )
    for name in options.dataset:
        found = record(name, folder=options.records)
        print(
            f"noise-{name}: {len(found['two_ids'])} pairs of ids, noise {found['noise']}, twins "
            f"{found['twins']}"
        )


if __name__ == "__main__":
    sys.exit(main())
