"""What structure, and profiles beside it, tell of label tables, as derived records (chapter
profiles).

    python experiments/probes.py tables blends fractions imputed ceiling

needs `CLMT_DATA`. Writes `probes-tables` (every model of every table and split), `probes-tasks`
(each assay of the published splits), `probes-blend`, `probes-fractions`, `probes-imputed` and
`probes-ceiling`. Scores are kept in `experiments/runs/probes`: what is there is not made again.
`--only chembl2k` makes the scores of one table and writes no record; `write` makes the records of
tables from the scores that are there, keeps rows whose scores are gone, and lists what is missing.
"""

import argparse
import hashlib
import json
import time
from ast import literal_eval
from dataclasses import replace
from functools import lru_cache, partial
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
TOLD = ("counts", "both", "forest", "ranks", "chosen", "blend")  # of these each assay is kept
MEMBERS = ("both", "fragments", *BLEND[1:])  # and these over folds inside train and valid
BASE, DRAWS, TREES, DIGITS = "both", 1000, 100, 5


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
    "fragments": linear("counts", "fragments", "descriptors"),
    "random_encoder": linear("random"),
    "forest_counts": partial(probes.ForestProbe, ("counts",), TREES),
    "forest": partial(probes.ForestProbe, BOTH, TREES),
    "kernel_counts": kernel("counts"),
    "kernel": kernel("structure"),
    "imputed": linear("imputed"),
    "imputed_both": linear(*BOTH, "imputed"),
    "shuffled_both": linear(*BOTH, "shuffled"),
}
MODELS["blend"] = lambda: Resumable({name: MODELS[name]() for name in MEMBERS})


class Resumable(probes.BlendProbe):
    """A blend that keeps what its members say in the folds."""

    def table_of(self, name, benchmark, part):
        """As in the library; made once."""
        train = hashlib.sha256(part.train.tobytes()).hexdigest()[:12]
        file = KEPT / "folds" / f"{benchmark.name}-{name}-{train}.npz"
        kept = read_cached(file)
        if kept is None:
            kept = {"table": super().table_of(name, benchmark, part).astype(np.float32)}
            write_cached(file, kept)
            print(file.stem, flush=True)
        return kept["table"].astype(np.float64)


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


def name_of(table, rule, seed, model, percent=100):
    """What scores are kept under."""
    return f"{table}-{rule}-{seed}-{model}" + (f"-{percent}" if percent < 100 else "")


@lru_cache(maxsize=8)
def split_of(table, rule, seed):
    """A split of a label table; published ones have no seed."""
    return published.molecule_split(benchmark_of(table), rule, seed)


@lru_cache(maxsize=2)
def profiles_for(benchmark, split, shuffled, seed):
    """`imputed`, which the fractions of a table share."""
    return imputed(benchmark, split, shuffled, seed)


def scores(table, rule, seed, model, percent=100):
    """(benchmark, split, {"table": [molecules, assays] scores, "chosen": what was chosen, "seconds"
    of the CPU; of a blend "again", fitted on train and valid, and what it "looked" at}).
    """
    benchmark = benchmark_of(table)
    split = split_of(table, rule, 0 if percent < 100 else seed)
    file = KEPT / f"{name_of(table, rule, seed, model, percent)}.npz"
    kept = read_cached(file)
    if kept is None:
        started = time.process_time()
        made = benchmark
        if model == "random_encoder":
            made = with_view(benchmark, random=random_encoder(benchmark))
        elif "imputed" in model:
            made = with_view(benchmark, imputed=profiles_for(benchmark, split, False, 0))
        elif "shuffled" in model:
            made = with_view(benchmark, shuffled=profiles_for(benchmark, split, True, seed))
        settings = {"fraction": percent / 100, "seed": seed} if percent < 100 else {}
        fitted = MODELS[model](**settings).fit(made, replace(split, checksum=made.checksum))
        seconds = time.process_time() - started
        kept = {
            "table": fitted.table.astype(np.float32),
            "seconds": np.array(seconds),
            "chosen": np.array(str(fitted.chosen)),
        }
        if model == "blend":
            looked = {", ".join(names): score for names, score in fitted.looked.items()}
            kept["looked"] = np.array(json.dumps(looked))
            kept["again"] = fitted.fit_again(made, split).table.astype(np.float32)
        write_cached(file, kept)
        print(f"{file.stem}: {seconds:.0f} s", flush=True)
    return benchmark, split, kept | {"table": kept["table"].astype(float)}


def blends():
    """Rows: every subset of the models over folds inside train and valid; the best one on the test
    set, trained on train, and on train and valid.
    """
    rows = []
    for entry in CONFIG["blends"]:
        for seed in entry["seeds"]:
            where = {"table": entry["table"], "rule": entry["rule"], "seed": seed}
            benchmark, split, base = scores(*where.values(), BASE)
            *_, kept = scores(*where.values(), "blend")
            looked = json.loads(str(kept["looked"]))
            sign = 1 if benchmark.task == "properties" else -1
            if entry.get("subsets"):
                rows += [
                    {**where, "what": "inner", "models": names, "valid": sign * score}
                    for names, score in looked.items()
                ]
            again = MODELS[BASE]().fit(benchmark, split).fit_again(benchmark, split).table
            whole = replace(split, train=split.with_validation().train)
            models = ", ".join(literal_eval(str(kept["chosen"])))
            about = {**where, "models": models, "looked": len(looked)}
            for what, part, table, other in (
                ("chosen", split, kept["table"], base["table"]),
                ("chosen, trained on valid, too", whole, kept["again"].astype(float), again),
            ):
                rows.append({**about, "what": what, **summary(benchmark, part, table, other)})
    return rows


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


def tables(only=None, models=None, rules=None, seeds=None):
    """({"tables": rows of every table, split and model; "tasks": each assay; "stereo": who is
    helped by known stereoisomers}, names of missing scores). With `only` "" the rows of the record
    stay where scores are gone; with the name of a table its scores are made, of these models, rules
    and seeds alone.
    """
    rows, missing = {"tables": [], "tasks": [], "stereo": []}, []
    known = known_rows() if only == "" else {}
    for entry in CONFIG["tables"]:
        if (only and entry["table"] != only) or (rules and entry["rule"] not in rules):
            continue
        for seed in entry["seeds"]:
            if seeds and seed not in seeds:
                continue
            where = {"table": entry["table"], "rule": entry["rule"], "seed": seed}
            told = known.get(tuple(where.values()), {})
            found, about = {}, {}
            for model in entry["models"]:
                if models and model not in models:
                    continue
                if only == "" and not (KEPT / f"{name_of(*where.values(), model)}.npz").exists():
                    if ("tables", model) not in told:
                        missing.append(name_of(*where.values(), model))
                    continue
                benchmark, split, kept = scores(*where.values(), model)
                found[model] = kept["table"]
                about[model] = {"chosen": str(kept["chosen"]), "seconds": float(kept["seconds"])}
            if only:
                continue
            if found and len(found) == len(entry["models"]):  # of a part, others would be chosen
                for name, (table, chosen) in blended(found, benchmark, split).items():
                    found[name], about[name] = table, {"chosen": chosen, "seconds": None}
            if found:
                told = {**told, **rows_of(where, found, about, benchmark, split, told)}
            for (part, _), row in told.items():
                rows[part if part in rows else "stereo"].append(row)
    return rows, missing


def rows_of(where, found, about, benchmark, split, known):
    """{(part, model): row} of one split; what the record says of the same scores is not computed
    again.
    """
    out = {}
    sizes = np.bincount(published.roles(benchmark.sides[0], where["rule"], where["seed"]))
    apart = sets_apart(benchmark, split)
    for name, table in found.items():
        base = found.get(BASE) if name != BASE else None
        row = known.get(("tables", name))
        if (
            row is None
            or about[name]["chosen"] != row["chosen"]
            or (base is not None and "difference" not in row)
        ):
            row = {**where, "model": name, **about[name]}
            row |= summary(benchmark, split, table, base)
        out["tables", name] = {**row, "molecules": sizes.tolist()}
        for part, half in apart.items():
            out[part, name] = known.get((part, name))
            if out[part, name] is None:
                new = summary(benchmark, half, table)
                keep = ("test_all", "test", "interval", "assays")
                out[part, name] = {**where, "part": part, "model": name}
                out[part, name] |= {key: new[key] for key in keep}
        asked = name in TOLD and benchmark.shape[1] <= 100 and where["rule"] != "random"
        if asked and where["seed"] == 0:  # each assay, to three digits
            each = probes.Scored.of(benchmark, split, "test", 1).each(table, metric_of(benchmark))
            values = [None if np.isnan(value) else round(float(value), 3) for value in each]
            what = {"table": where["table"], "rule": where["rule"], "model": name}
            out["tasks", name] = {**what, "values": values}
    return out


def known_rows():
    """{(table, rule, seed): {(part, model): row}} of the records as they are."""
    out = {}
    for record, parts in (("tables", ("tables", "stereo")), ("tasks", ("tasks",))):
        if not is_derived(f"probes-{record}"):
            continue
        found = read(f"probes-{record}").metrics
        for part in parts:
            for row in found[part]:
                where = row["table"], row["rule"], row.get("seed", 0)
                out.setdefault(where, {})[row.get("part", part), row["model"]] = row
    return out


def fractions():
    """Rows of label fractions: mean over draws of the labels, and what each has over the probe on
    structure from the same labels, with an interval over molecules.
    """
    rows = []
    for entry in CONFIG["fractions"]:
        for percent in entry["percent"]:
            each, drawn = {}, {}
            for model in entry["models"]:
                for seed in entry["seeds"] if percent < 100 else [0]:
                    where = entry["table"], entry["rule"], seed
                    benchmark, split, kept = scores(*where, model, percent)
                    test, metric = probes.Scored.of(benchmark, split), metric_of(benchmark)
                    mean = float(np.nanmean(test.each(kept["table"], metric)))
                    each.setdefault(model, []).append(mean)
                    draw = test.draws(kept["table"], metric, draws=DRAWS)
                    drawn.setdefault(model, []).append(draw)
            for model, values in each.items():
                gap = np.mean(drawn[model], axis=0) - np.mean(drawn[BASE], axis=0)
                row = {"table": entry["table"], "rule": entry["rule"], "model": model}
                row |= {"percent": percent, "values": values, "mean": np.mean(values)}
                if model != BASE:
                    row["gain"] = row["mean"] - np.mean(each[BASE])
                    row["gain_interval"] = interval(gap)
                rows.append(row)
    return rows


def with_imputed():
    """Rows: imputed profiles alone, beside structure, and those of shuffled pairs."""
    rows = []
    for entry in CONFIG["imputed"]["rows"]:
        for seed in entry["seeds"]:
            where = {"table": entry["table"], "rule": entry["rule"], "seed": seed}
            parts = entry["table"], entry["rule"], seed
            benchmark, split, kept = scores(*parts, BASE)
            base = kept["table"]
            plain = scores(*parts, "shuffled_both")[2]["table"]
            for model in ("both", "imputed", "imputed_both", "shuffled_both"):
                kept = scores(*parts, model)[2]
                table, chosen = kept["table"], str(kept["chosen"])
                row = summary(benchmark, split, table, None if model == BASE else base)
                if model == "imputed_both":
                    test = probes.Scored.of(benchmark, split)
                    row["to_shuffled"] = test.compared(table, plain, "auroc", DRAWS)
                rows.append({**where, "model": model, "chosen": chosen, **row})
    return rows


def worth():
    """Rows of the ceiling: structure, with a measured and an imputed profile, and less."""
    rows = []
    for entry in CONFIG["ceiling"]["rows"]:
        table, space = entry["table"], entry["space"]
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


# the part of the configuration that a record is made of
MADE_OF = {"tables": "tables", "tasks": "tables", "blend": "blends"}


def write(name, **metrics):
    """A derived record; a probability is read to three digits, and kept to five."""
    part = MADE_OF.get(name, name)
    config = {part: CONFIG[part], "draws": DRAWS, "trees": TREES, "fewest": probes.FEWEST}
    made_of = {"config": config | {"base": BASE}, "provenance": provenance(None, None)}
    write_derived(f"probes-{name}", {**made_of, "metrics": short(metrics)})


def short(value):
    """Floats to `DIGITS` digits."""
    if isinstance(value, dict):
        return {key: short(part) for key, part in value.items()}
    if isinstance(value, list):
        return [short(part) for part in value]
    return round(float(value), DIGITS) if isinstance(value, (float, np.floating)) else value


def main():
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "parts", nargs="+", choices=["tables", "blends", "fractions", "imputed", "ceiling", "write"]
    )
    parser.add_argument(
        "--only", nargs="+", help="label tables: make their scores, and write no record"
    )
    parser.add_argument("--models", nargs="+", help="with --only: these models alone")
    parser.add_argument("--rules", nargs="+", help="with --only: splits by these rules alone")
    parser.add_argument("--seeds", nargs="+", type=int, help="with --only: these seeds alone")
    asked = parser.parse_args()
    for table in asked.only or ():
        tables(table, asked.models, asked.rules, asked.seeds)
    if asked.only:
        return
    if "tables" in asked.parts or "write" in asked.parts:
        rows, missing = tables("" if "write" in asked.parts else None)
        write("tasks", tasks=rows.pop("tasks"))
        write("tables", **rows, printed=CONFIG["printed"], missing=missing)
    if "fractions" in asked.parts:
        write("fractions", fractions=fractions())
    if "imputed" in asked.parts:
        write("imputed", imputed=with_imputed())
    if "blends" in asked.parts:
        write("blend", blends=blends())
    if "ceiling" in asked.parts:
        write("ceiling", ceiling=worth())


if __name__ == "__main__":
    main()
