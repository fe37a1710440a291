"""What structure, and profiles beside it, tell of label tables, as derived records (chapter
profiles).

    python experiments/probes.py tables inner fractions imputed ceiling

needs `CLMT_DATA`. Writes `probes-tables` (every model of every table and split), `probes-tasks`
(each assay of the published splits), `probes-inner`, `probes-fractions`, `probes-imputed` and
`probes-ceiling`. Scores are kept in `experiments/runs/probes`: what is there is not made again.
`--only chembl2k` makes the scores of one table and writes no record; `write` makes the records of
tables from the scores that are there, and lists what is missing.
"""

import argparse
import time
from ast import literal_eval
from dataclasses import replace
from functools import lru_cache, partial
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
import yaml

from clmt_lib import data
from clmt_lib.data import profiles, published
from clmt_lib.data.grouping import molecule_side, skeletons
from clmt_lib.data.profiles.measured import beside
from clmt_lib.io import DataError, read_cached, write_cached
from clmt_lib.models import ceiling, probes
from clmt_lib.models.imputation import fit_components, impute, impute_donors
from clmt_lib.models.kernels import KernelRidge
from clmt_lib.models.profiles import ProfilesConfig
from clmt_lib.nn.encoders import Tower
from clmt_lib.records import provenance, read, write_derived
from clmt_lib.records.store import is_derived
from clmt_lib.tasks import bootstrap_of, evaluate, interval
from clmt_lib.views.molecules import fingerprints, tanimoto

HERE = Path(__file__).parent
KEPT = HERE / "runs" / "probes"
CONFIG = yaml.safe_load((HERE / "configs" / "probes.yaml").read_text(encoding="utf-8"))
BOTH = ("counts", "descriptors")
BLEND = ("both", "forest", "kernel_counts", "kernel")  # subsets are looked at on valid
BASE, DRAWS, TREES, INNER = "both", 1000, 100, 3


def linear(*names):
    """A probe on features."""
    return partial(probes.LinearProbe, tuple(names))


def kernel(kind):
    """The pairwise kernel ridge, every assay at once."""
    return partial(KernelRidge, kind, "identity", ridges=(0.1, 0.3, 1.0), same=(0.5, 2.0))


MODELS = {
    "heavy_atoms": linear("heavy_atoms"),
    "counts": linear("counts"),
    "descriptors": linear("descriptors"),
    "both": linear(*BOTH),
    "random_encoder": linear("random"),
    "forest_counts": partial(probes.ForestProbe, ("counts",), TREES),
    "forest": partial(probes.ForestProbe, BOTH, TREES),
    "kernel_counts": kernel("counts"),
    "kernel": kernel("structure"),
    "imputed": linear("imputed"),
    "imputed_both": linear(*BOTH, "imputed"),
    "shuffled_both": linear(*BOTH, "shuffled"),
}


@lru_cache(maxsize=2)
def benchmark_of(table):
    """A label table; published splits count its rows."""
    return data.load(table, **({} if table == "tox21" else {"molecules": "rows"}))


def with_view(benchmark, **views):
    """The benchmark with further views of its molecules."""
    side = benchmark.sides[0]
    return benchmark.with_sides(replace(side, views={**side.views, **views}))


def random_encoder(benchmark, seed=0):
    """[molecules, 256] output of a tower that nobody trained."""
    torch.manual_seed(seed)
    tower = Tower(2048, 512, 256).eval()
    bits = torch.as_tensor(fingerprints(benchmark.sides[0].frame), dtype=torch.float32)
    with torch.no_grad():
        return torch.relu(tower(bits)).numpy().astype(np.float64)


@lru_cache(maxsize=1)
def measured():
    """Profiles of the spaces that are imputed, and bits of their molecules."""
    found = profiles.load(spaces=tuple(CONFIG["imputed"]["spaces"]))
    return found, fingerprints(found.side.frame)


def imputed(benchmark, split, shuffled=False, seed=0):
    """[molecules, components] profiles of all spaces, from molecules whose compound and scaffold
    are in neither the validation nor the test set; of donors, from those of other scaffolds.
    """
    found, bits = measured()
    side, blocks = benchmark.sides[0], []
    known = skeletons(side.frame["inchikey"]).to_numpy()
    asked = fingerprints(side.frame)
    held = np.unique(benchmark.pairs[np.concatenate([split.valid, split.test]), 0])
    out = np.isin(found.side.ids, known[held])
    scaffold = found.side.keys["scaffold"]
    out |= np.isin(scaffold, scaffold[out])
    rng = np.random.default_rng(seed)
    for space, k in CONFIG["imputed"]["spaces"].items():
        donors = np.flatnonzero(found.known(space) & ~out)
        values = found.values(space)[donors].astype(np.float64)
        z = fit_components(values, k)(values)
        if shuffled:
            z = z[rng.permutation(len(z))]
        among = tanimoto(bits[donors], bits[donors])
        block = impute(z, among, tanimoto(asked, bits[donors]))
        own = impute_donors(z, among, scaffold[donors])
        at = {key: row for row, key in enumerate(found.side.ids[donors])}
        for row, key in enumerate(known):
            if key in at:
                block[row] = own[at[key]]
        blocks.append(block)
    return np.hstack(blocks)


def name_of(table, rule, seed, model, percent=100, variant=""):
    """What scores are kept under."""
    name = f"{table}-{rule}-{seed}-{model}" + (f"-{percent}" if percent < 100 else "")
    return f"{name}-{variant}" if variant else name


def cut(benchmark, split, variant):
    """The split of a variant: "inner0" to "inner2" hold a third of the scaffolds of train and valid
    out as validation set; "refit" trains on both. The test set stays, and nobody reads it.
    """
    if not variant:
        return split
    both = np.sort(np.concatenate([split.train, split.valid]))
    if variant == "refit":
        return replace(split, train=both)
    rows = benchmark.pairs[both, 0]
    group = np.unique(benchmark.sides[0].keys["scaffold"][rows], return_inverse=True)[1]
    fold = np.random.default_rng(5).permutation(group.max() + 1)[group] % INNER
    out = fold == int(variant.removeprefix("inner"))
    return replace(split, train=both[~out], valid=both[out])


def scores(table, rule, seed, model, percent=100, variant=""):
    """(benchmark, split, [molecules, assays] scores, what was chosen, CPU seconds)."""
    benchmark = benchmark_of(table)
    split = published.molecule_split(benchmark, rule, 0 if percent < 100 else seed)
    split = cut(benchmark, split, variant)
    file = KEPT / f"{name_of(table, rule, seed, model, percent, variant)}.npz"
    kept = read_cached(file)
    if kept is None:
        started = time.process_time()
        made = benchmark
        if model == "random_encoder":
            made = with_view(benchmark, random=random_encoder(benchmark))
        elif "imputed" in model:
            made = with_view(benchmark, imputed=imputed(benchmark, split))
        elif "shuffled" in model:
            made = with_view(benchmark, shuffled=imputed(benchmark, split, True, seed))
        settings = {"fraction": percent / 100, "seed": seed} if percent < 100 else {}
        if variant == "refit":
            settings = chosen_settings(scores(table, rule, seed, model)[3])
        fitted = MODELS[model](**settings).fit(made, replace(split, checksum=made.checksum))
        seconds = time.process_time() - started
        kept = {
            "table": fitted.table.astype(np.float32),
            "seconds": np.array(seconds),
            "chosen": np.array(str(fitted.chosen)),
        }
        write_cached(file, kept)
        print(f"{file.stem}: {seconds:.0f} s", flush=True)
    return benchmark, split, kept["table"].astype(float), str(kept["chosen"]), kept["seconds"]


def chosen_settings(text):
    """Settings of a model that has nothing left to choose."""
    chosen = literal_eval(text)
    names = {"C": "strengths", "ridge": "ridges", "same": "same"}
    return {names[key]: (value,) for key, value in chosen.items()}


def ranked(found, names, benchmark, split):
    """Mean of ranks of some models, among the molecules that the split does not train on."""
    fitted = np.unique(benchmark.pairs[split.train, 0])
    rows = np.setdiff1d(np.arange(benchmark.shape[0]), fitted)
    return probes.mean_of_ranks([found[name] for name in names], rows)


def inner():
    """Rows: every subset of the models by cross-validation inside train and valid; the best one on
    the test set, trained on train, and on train and valid.
    """
    rows = []
    for entry in CONFIG["inner"]:
        where = entry["table"], entry["rule"], 0
        subsets = [c for k in range(1, 5) for c in combinations(BLEND, k)]
        values = {names: [] for names in subsets}
        for fold in range(INNER):
            found = {}
            for model in BLEND:
                benchmark, split, found[model], *_ = scores(*where, model, variant=f"inner{fold}")
            valid = probes.Scored.of(benchmark, split, "valid", 1)
            for names in subsets:
                table = ranked(found, names, benchmark, split)
                values[names].append(float(np.nanmean(valid.each(table))))
        best = max(subsets, key=lambda names: round(np.mean(values[names]), 6))
        for names in subsets:
            rows.append(
                {"what": "inner", "models": ", ".join(names), "valid": np.mean(values[names])}
            )
        for what, variant in (("chosen", ""), ("chosen, trained on valid, too", "refit")):
            found = {}
            for model in dict.fromkeys([*best, BASE]):
                benchmark, split, found[model], *_ = scores(*where, model, variant=variant)
            table = ranked(found, best, benchmark, split)
            base = ranked(found, [BASE], benchmark, split)
            row = summary(benchmark, split, table, base)
            rows.append({"what": what, "models": ", ".join(best), **row})
        for row in rows:
            row |= {"table": entry["table"], "rule": entry["rule"], "looked": len(subsets)}
    return rows


def parts(rows):
    """(row, seed, model) of a list of the configuration."""
    for row in rows:
        for seed in row["seeds"]:
            for model in row["models"]:
                yield row["table"], row["rule"], seed, model


def metric_of(benchmark):
    """What is averaged over assays."""
    return "mae" if benchmark.task == "properties" else "auroc"


def summary(benchmark, split, table, base=None):
    """One row of a record: means over assays on valid and test, and the difference to `base`."""
    metric = metric_of(benchmark)
    every = probes.Scored.of(benchmark, split, "test", 1)  # as published: one of a class is enough
    test = probes.Scored.of(benchmark, split)
    valid = probes.Scored.of(benchmark, split, "valid", 1)
    seen = np.isin(split.valid, split.train).any()  # trained on it: it says nothing
    row = {
        "valid": None if seen else np.nanmean(valid.each(table, metric)),
        "test_all": np.nanmean(every.each(table, metric)),
        "test": np.nanmean(test.each(table, metric)),
        "interval": interval(test.draws(table, metric, draws=DRAWS)),
        "assays": int(test.kept.sum()),
        "dropped": test.dropped,
    }
    if metric == "auroc":
        row["auprc"] = np.nanmean(test.each(table, "auprc"))
        y, assay = benchmark.y[test.positions], benchmark.pairs[test.positions, 1]
        row["prevalence"] = np.mean([y[assay == t].mean() for t in np.flatnonzero(test.kept)])
    if base is not None:
        row["difference"] = test.compared(table, base, metric, DRAWS)
    return row


def blended(found, benchmark, split):
    """{row: ([molecules, assays], what was chosen)}: the forest's hard labels, and means of ranks
    (of numbers: of values).
    """
    numbers, out = benchmark.task == "properties", {}
    if "forest_counts" in found:  # grown to pure leaves, the forest's label is what half would say
        out["forest_hard"] = (found["forest_counts"] > 0.5).astype(float), ""
    fitted = np.unique(benchmark.pairs[split.train, 0])
    rows = np.setdiff1d(np.arange(benchmark.shape[0]), fitted)
    if {"both", "forest"} <= set(found):
        two = [found["both"], found["forest"]]
        out["ranks"] = (
            np.mean(two, axis=0) if numbers else probes.mean_of_ranks(two, rows),
            "both, forest",
        )
        among = {name: found[name] for name in BLEND if name in found}
        names, table, looked = probes.best_of_ranks(among, benchmark, split, numbers)
        out["chosen"] = table, f"{', '.join(names)} (of {looked} on valid)"
    return out


def sets_apart(benchmark, split, fewest=probes.FEWEST):
    """{name: split} whose test set is that part with, and without, a stereoisomer in train or
    valid; nothing where either part has no assay to score.
    """
    skeleton = skeletons(benchmark.sides[0].frame["inchikey"]).to_numpy()
    rows = benchmark.pairs[:, 0]
    seen = np.isin(skeleton, skeleton[rows[np.concatenate([split.train, split.valid])]])
    known = seen[rows[split.test]]
    if not known.any():
        return {}
    halves = {
        "stereoisomer known": replace(split, test=split.test[known]),
        "new": replace(split, test=split.test[~known]),
    }
    enough = [
        probes.Scored.of(benchmark, part, fewest=fewest).kept.any() for part in halves.values()
    ]
    return halves if all(enough) else {}


def tables(only=None, models=None):
    """Rows of every table, split and model; each assay; who is helped by known stereoisomers."""
    rows, tasks, apart, missing = [], [], [], []
    known = known_rows() if only == "" else {}
    for entry in CONFIG["tables"]:
        if only and entry["table"] != only:
            continue
        for seed in entry["seeds"]:
            found, about = {}, {}
            for model in entry["models"]:
                if models and model not in models:
                    continue
                part = entry["table"], entry["rule"], seed, model
                if not (KEPT / f"{name_of(*part)}.npz").exists() and only == "":
                    missing.append(name_of(*part))
                    continue
                benchmark, split, found[model], chosen, seconds = scores(*part)
                about[model] = {"chosen": chosen, "seconds": float(seconds)}
            if only or not found:
                continue
            for name, (table, chosen) in blended(found, benchmark, split).items():
                found[name], about[name] = table, {"chosen": chosen, "seconds": None}
            where = {"table": entry["table"], "rule": entry["rule"], "seed": seed}
            sizes = np.bincount(published.roles(benchmark.sides[0], entry["rule"], seed))
            for name, table in found.items():
                base = found.get(BASE) if name != BASE else None
                row = known.get(("tables", *where.values(), name))
                if (
                    row is None
                    or about[name]["chosen"] != row["chosen"]
                    or (base is not None and "difference" not in row)
                ):
                    row = {**where, "model": name, **about[name]}
                    row |= summary(benchmark, split, table, base)
                rows.append({**row, "molecules": sizes.tolist()})
                if seed == 0 and entry["rule"] != "random":
                    tasks += each_assay(where, name, benchmark, split, table)
            for part, half in sets_apart(benchmark, split).items():
                for name, table in found.items():
                    row = known.get((part, *where.values(), name))
                    if row is None:
                        new = summary(benchmark, half, table)
                        keep = ("test_all", "test", "interval", "assays")
                        row = {**where, "part": part, "model": name}
                        row |= {key: new[key] for key in keep}
                    apart.append(row)
    return rows, tasks, apart, missing


def known_rows():
    """Rows of the record as it is, which `write` does not compute again: {(part, table, rule, seed,
    model): row}.
    """
    if not is_derived("probes-tables"):
        return {}
    found = read("probes-tables").metrics
    out = {}
    for part in ("tables", "stereo"):
        for row in found[part]:
            name = row.get("part", "tables")
            out[name, row["table"], row["rule"], row["seed"], row["model"]] = row
    return out


def each_assay(where, name, benchmark, split, table):
    """One row: the metric of each assay that is scored, to three digits."""
    if benchmark.shape[1] > 100 or name not in ("counts", "both", "forest", "ranks", "chosen"):
        return []
    each = probes.Scored.of(benchmark, split, "test", 1).each(table, metric_of(benchmark))
    values = [None if np.isnan(value) else round(float(value), 3) for value in each]
    return [{"table": where["table"], "rule": where["rule"], "model": name, "values": values}]


def fractions():
    """Rows of label fractions: mean over seeds."""
    rows = []
    for entry in CONFIG["fractions"]:
        for percent in entry["percent"]:
            for model in entry["models"]:
                each = []
                for seed in entry["seeds"]:
                    benchmark, split, table, *_ = scores(
                        entry["table"], entry["rule"], seed, model, percent
                    )
                    test = probes.Scored.of(benchmark, split)
                    each.append(float(np.nanmean(test.each(table, metric_of(benchmark)))))
                rows.append(
                    {
                        "table": entry["table"],
                        "rule": entry["rule"],
                        "model": model,
                        "percent": percent,
                        "values": each,
                        "mean": np.mean(each),
                    }
                )
    return rows


def with_imputed():
    """Rows: imputed profiles alone, beside structure, and those of shuffled pairs."""
    rows = []
    for entry in CONFIG["imputed"]["rows"]:
        for seed in entry["seeds"]:
            where = {"table": entry["table"], "rule": entry["rule"], "seed": seed}
            parts = entry["table"], entry["rule"], seed
            benchmark, split, base, *_ = scores(*parts, BASE)
            plain = scores(*parts, "shuffled_both")[2]
            for model in ("both", "imputed", "imputed_both", "shuffled_both"):
                table, chosen = scores(*parts, model)[2:4]
                row = summary(benchmark, split, table, None if model == BASE else base)
                if model == "imputed_both":
                    test = probes.Scored.of(benchmark, split)
                    row["to_shuffled"] = test.compared(table, plain, "auroc", DRAWS)
                rows.append({**where, "model": model, "chosen": chosen, **row})
    return rows


def worth(finished=False):
    """Rows of the ceiling: structure, with a measured and an imputed profile, and less; only of
    what is there already, where that is asked for.
    """
    rows = []
    for entry in CONFIG["ceiling"]["rows"]:
        table, space = entry["table"], entry["space"]
        files = [ceiling_file(table, space, seed) for seed in range(CONFIG["ceiling"]["repeats"])]
        if finished and not all(file.exists() for file in files):
            continue
        benchmark = data.load(table, **({} if table == "tox21" else {"molecules": "connectivity"}))
        benchmark = asked_of(beside(benchmark, profiles.load(spaces=[space]), [space]), space)
        benchmark = with_view(benchmark, fingerprint=fingerprints(benchmark.sides[0].frame))
        found, drawn = {}, {}
        boot, metric = bootstrap_of(benchmark, DRAWS), "auroc_per_assay"
        for seed in range(CONFIG["ceiling"]["repeats"]):
            kept = kept_ceiling(benchmark, entry, seed)
            asked = kept.pop("asked").astype(int)
            pairs, y = benchmark.pairs[asked], benchmark.y[asked]
            groups = {"molecule": pairs[:, 0], "assay": pairs[:, 1]}
            for name, score in kept.items():
                found.setdefault(name, []).append(evaluate(y, score, groups, [metric])[metric])
                drawn.setdefault(name, []).append(
                    boot.statistics(pairs, y, score, [metric])[metric]
                )
        base = np.mean(drawn["structure"], axis=0)
        for name, values in found.items():
            gain = np.mean(values) - np.mean(found["structure"])
            mean = np.mean(drawn[name], axis=0)
            rows.append(
                {
                    "table": table,
                    "space": space,
                    "row": name,
                    "molecules": len(np.unique(benchmark.pairs[:, 0])),
                    "assays": benchmark.shape[1],
                    "auroc": np.mean(values),
                    "auroc_interval": interval(mean),
                    "gain": gain,
                    "gain_interval": interval(mean - base),
                    "repeats": [round(float(value), 4) for value in values],
                }
            )
    return rows


def asked_of(benchmark, space, fewest=15):
    """The benchmark with molecules that have the profile, labelled or not, and assays with at least
    `fewest` of either class among them.
    """
    molecules = benchmark.sides[0]
    has = molecules.has(space)
    there = has[benchmark.pairs[:, 0]]
    pairs, y = benchmark.pairs[there], benchmark.y[there]
    size = benchmark.shape[1]
    positive = np.bincount(pairs[:, 1], y, minlength=size)
    kept = (positive >= fewest) & (np.bincount(pairs[:, 1], 1 - y, minlength=size) >= fewest)
    rows = kept[pairs[:, 1]]
    if not rows.any():
        raise DataError(
            f"no assay of {benchmark.name} has {fewest} of both classes",
            remedy="use another space or table",
        )
    assays = benchmark.sides[1]
    places = np.cumsum(has) - 1, np.cumsum(kept) - 1
    cut = np.column_stack([place[part] for place, part in zip(places, pairs[rows].T, strict=True)])
    views = {space: molecules.views[space][has]}
    return replace(
        benchmark,
        sides=(
            molecule_side(molecules.frame[has], views),
            replace(assays, frame=assays.frame[kept]),
        ),
        pairs=cut,
        y=y[rows],
        censored=np.zeros(len(cut), dtype=bool),
    )


def structure(benchmark, split):
    """[molecules, features] of structure: counts and descriptors."""
    return probes.features(benchmark, split, BOTH).toarray()


def ceiling_file(table, space, seed):
    """Where the scores of one repeat are kept."""
    return KEPT / f"ceiling-{table}-{space}-{seed}.npz"


def kept_ceiling(benchmark, entry, seed):
    """{"asked": positions, row: scores} of one repeat; made once."""
    file = ceiling_file(entry["table"], entry["space"], seed)
    kept = read_cached(file)
    if kept is None:
        started = time.process_time()
        asked, found = ceiling.ceiling(
            benchmark,
            entry["space"],
            seed,
            encoder=ProfilesConfig(components=entry["components"], seed=seed),
            components=entry["components"],
            strength=0.1,
            structure=structure,
        )
        kept = {"asked": asked, **found}
        write_cached(file, kept)
        print(f"{file.stem}: {time.process_time() - started:.0f} s", flush=True)
    return kept


def write(name, **metrics):
    """A derived record."""
    config = {key: CONFIG[key] for key in ("tables", "inner", "fractions", "imputed", "ceiling")}
    config |= {"draws": DRAWS, "trees": TREES, "fewest": probes.FEWEST, "base": BASE}
    write_derived(
        name, {"config": config, "metrics": metrics, "provenance": provenance(None, None)}
    )


def main():
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "parts", nargs="+", choices=["tables", "inner", "fractions", "imputed", "ceiling", "write"]
    )
    parser.add_argument(
        "--only", nargs="+", help="label tables: make their scores, and write no record"
    )
    parser.add_argument("--models", nargs="+", help="with --only: these models alone")
    asked = parser.parse_args()
    for table in asked.only or ():
        tables(table, asked.models)
    if asked.only:
        return
    if "tables" in asked.parts or "write" in asked.parts:
        rows, tasks, apart, missing = tables("" if "write" in asked.parts else None)
        write(
            "probes-tables", tables=rows, stereo=apart, printed=CONFIG["printed"], missing=missing
        )
        write("probes-tasks", tasks=tasks)
    if "fractions" in asked.parts:
        write("probes-fractions", fractions=fractions())
    if "imputed" in asked.parts:
        write("probes-imputed", imputed=with_imputed())
    if "inner" in asked.parts:
        write("probes-inner", inner=inner())
    if "ceiling" in asked.parts or "write" in asked.parts:
        write("probes-ceiling", ceiling=worth("write" in asked.parts))


if __name__ == "__main__":
    main()
