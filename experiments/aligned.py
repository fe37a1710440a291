"""What alignment to profiles is worth, as derived records (chapter profiles).

    python experiments/aligned.py simulated retrieval scaling probes home

`simulated` needs nothing and writes `profiles-simulated`; the others need `CLMT_DATA`.
`retrieval` and `scaling` go into `profiles-retrieval`, `probes` and `home` into
`profiles-aligned`. What is finished is kept in `experiments/runs/aligned` and not done again.
"""

import argparse
import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from clmt_lib import data
from clmt_lib.data import profiles
from clmt_lib.data.profiles import simulated
from clmt_lib.data.profiles.matching import matching
from clmt_lib.io import atomic_write
from clmt_lib.models.ceiling import ceiling, gains
from clmt_lib.models.imputation import fit_components, impute
from clmt_lib.models.profiles import DEFECTS, Profiles, ProfilesConfig
from clmt_lib.nn.contrast import rank_of_positive
from clmt_lib.records import provenance, write_derived
from clmt_lib.tasks.bootstrap import Bootstrap, interval
from clmt_lib.views.molecules import fingerprints, tanimoto

KEPT = Path(__file__).parent / "runs" / "aligned"
SPACES = {"comas_references": 15, "comas_profiles": 50, "cmap": 50, "cdrp": 30, "l1000": 30}
FOLDS, RIDGE, TOP = 5, 0.3, (1, 10)
CONTRAST = ProfilesConfig()


def kept(name, make):
    """What `make` returns, as JSON under a name; made once."""
    file = KEPT / f"{name}.json"
    if not file.exists():
        started = time.perf_counter()
        found = make()
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as out:
            json.dump(found, out)
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    return json.loads(file.read_text())


def cost(names):
    """CPU seconds and number of the parts a record is made of, for its provenance."""
    return provenance(None, None, parts=len(names))


# Retrieval


def places(query, profile, same):
    """([n] rank of each molecule's profile, [n] candidates), 1 is best."""
    rank = rank_of_positive(torch.as_tensor(query), torch.as_tensor(profile), same=same)
    rivals = ~(same | torch.eye(len(same), dtype=torch.bool))
    return rank.numpy(), rivals.sum(1).numpy() + 1


def ranks(query, profile, same):
    """Both directions: {"there": ranks, "back": ranks, "of": candidates}."""
    there, of = places(query, profile, same)
    back, _ = places(profile, query, same)
    return {"there": there.tolist(), "back": back.tolist(), "of": of.tolist()}


def cut(table, fold, seed=0):
    """(split, training, test molecules) of a fold, held out by scaffold."""
    split = data.make_split(table, "scaffold_blind", seed, fold)
    train, test = (np.unique(table.pairs[part, 0]) for part in (split.train, split.test))
    return split, train, test


def predicted(side, space, train, test, components):
    """({method: [test, k] predicted components}, [test, k] true ones): ridge, and the profile of
    the nearest training molecule.
    """
    train = train[side.has(space)[train]]
    values = side.views[space].to_numpy(np.float64)
    how = fit_components(values[train], components)
    known, truth = how(values[train]), how(values[test])
    bits = side.views["fingerprint"].astype(np.float64)
    between = tanimoto(bits[test], bits[train])
    ridge = impute(known, tanimoto(bits[train], bits[train]), between, RIDGE)
    near = known[between.argmax(1)]
    return {"ridge": ridge, "neighbour": near}, truth


def retrieve(side, space, fold, config, shared=None):
    """{method: ranks} of the test molecules of one fold.

    Parameters
    ----------
    shared : spaces to train on together; None: this one alone
    """
    table = matching(side, [space])
    split, train, test = cut(table, fold)
    compound, library = side.keys["compound"], side.keys["library"]
    same = torch.as_tensor(compound[test][:, None] == compound[test][None])
    other = torch.as_tensor(library[test][:, None] != library[test][None])
    found = {}
    guesses, truth = predicted(side, space, train, test, SPACES.get(space, 30))
    queries = {name: (guess, truth) for name, guess in guesses.items()}
    variants = {
        "contrast": config,
        "soft": replace(config, targets="soft"),
        "shuffled": replace(config, shuffled=True),
    }
    for name, settings in variants.items():
        z = Profiles(settings).fit(table, split).embeddings(test)
        queries[name] = z["molecule"], z[space]
    if space == "comas_profiles":
        settings = replace(config, within="library")
        z = Profiles(settings).fit(table, split).embeddings(test)
        queries["negatives of one library"] = z["molecule"], z[space]
    for name, (query, profile) in queries.items():
        found[name] = ranks(query, profile, same)
        if space == "comas_profiles":
            found[f"{name}, within"] = ranks(
                centred(query, library[test]), centred(profile, library[test]), same | other
            )
    return found


def centred(z, groups):
    """Rows less the mean of their group."""
    out = np.array(z, dtype=np.float64)
    for group in np.unique(groups):
        out[groups == group] -= out[groups == group].mean(0)
    return out


def summary(parts):
    """Top-1, top-10 and median place of ranks pooled over folds, intervals by molecule, and
    chance.
    """
    of = np.concatenate([part["of"] for part in parts])
    out = {"molecules": len(of), "candidates": float(of.mean())}
    boot = Bootstrap((len(of),), names=("molecule",)).counts[0]
    for way in ("there", "back"):
        rank = np.concatenate([part[way] for part in parts])
        place = (rank - 1) / np.maximum(of - 1, 1)
        for k in TOP:
            hit = (rank <= k).astype(float)
            out |= {
                f"{way}_top{k}": hit.mean(),
                f"{way}_top{k}_interval": interval(boot @ hit / len(of)),
            }
        out |= {f"{way}_median": float(np.median(place)), f"{way}_place": place.mean()}
        out[f"{way}_place_interval"] = interval(boot @ place / len(of))
    return out | {f"chance_top{k}": float(np.minimum(k / of, 1).mean()) for k in TOP}


def real(spaces):
    """The side of molecules with these feature spaces, their fingerprints and libraries."""
    found = profiles.load(spaces=tuple(spaces))
    side = found.side
    library = np.full(len(side), "none", dtype=object)
    if "comas_profiles" in spaces:
        known = found.fact("comas_profiles", "library")
        there = np.array([isinstance(value, str) for value in known])
        library[there] = known[there]
    bits = fingerprints(side.frame).astype(np.uint8)
    rules = {key: side.keys[key] for key in ("compound", "scaffold")}
    rules["library"] = library.astype(str)
    return replace(side, views={**side.views, "fingerprint": bits}, keys=rules)


def retrieval():
    """Rows of space and method, and the names of the parts."""
    rows, names = [], []
    for space in SPACES:
        side = None
        parts = {}
        for fold in range(FOLDS):
            name = f"retrieval-{space}-{fold}"
            if side is None and not (KEPT / f"{name}.json").exists():
                side = real([space])
            for method, found in kept(
                name,
                lambda s=side, w=space, f=fold: retrieve(
                    s, w, f, replace(CONTRAST, components=SPACES[w], seed=f)
                ),
            ).items():
                parts.setdefault(method, []).append(found)
            names.append(name)
        rows += [{"space": space, "method": m, **summary(found)} for m, found in parts.items()]
    return rows, names


# The simulated world

SEEDS, SMALLER = 5, {"hidden": 128, "dim": 32, "profile_hidden": 64, "components": 20, "steps": 60}
VARIANTS = {  # what is changed of the corrected settings, and of the world
    "corrected": ({}, {}),
    "another seed": ({"seed": 7}, {}),
    "all pairs of views": ({"pairs": "all"}, {}),
    "soft targets": ({"targets": "soft"}, {}),
    **{f"defect: {name}": ({"defects": (name,)}, {}) for name in DEFECTS},
    "published": ({"defects": tuple(DEFECTS), "drop_in": 0.0, "drop": 0.1}, {}),
    "published, columns masked": (
        {
            "defects": tuple(name for name in DEFECTS if name != "absent_columns"),
            "drop_in": 0.0,
            "drop": 0.1,
        },
        {},
    ),
    "shuffled pairs": ({"shuffled": True}, {}),
    "nobody has both": ({}, {"both": 0.0}),
    "four in ten have both": ({}, {"both": 0.4}),
    "nothing shared": ({}, {"shares": {"shared": 0.0}}),
}


def worlds(seed, shares=None, **options):
    """A simulated world."""
    return simulated.world(
        seed, shares=simulated.Shares(**(shares or {})), molecules=600, **options
    )


def align(seed, settings, options):
    """Where held-out molecules find their profiles, and what the embeddings know."""
    world = worlds(seed, **options)
    side = world.benchmark.sides[0]
    table = matching(side)
    split, _, test = cut(table, 0, seed)
    rest = np.unique(table.pairs[np.concatenate([split.valid, split.test]), 0])
    config = ProfilesConfig(**{**SMALLER, "seed": seed, **settings})
    z = Profiles(config).fit(table, split).embeddings()
    compound, out, found = side.keys["compound"], {}, []
    for space in simulated.SPACES:
        rows = test[side.has(space)[test]]
        same = torch.as_tensor(compound[rows][:, None] == compound[rows][None])
        found.append(ranks(z["molecule"][rows], z[space][rows], same))
        rows = rest[side.has(space)[rest]]
        for what, vectors in (("profile", z[space]), ("molecule", z["molecule"])):
            for state, share in world.told(vectors, space, rows).items():
                out[f"{what}: {state}"] = out.get(f"{what}: {state}", 0) + share / 2
        for state, share in world.told(world.complete[space], space, rows).items():
            out[f"raw profile: {state}"] = out.get(f"raw profile: {state}", 0) + share / 2
    table = summary(found)
    asked = (
        "there_place",
        "back_place",
        "there_top1",
        "there_top10",
        "chance_top1",
        "chance_top10",
    )
    return out | {name: float(table[name]) for name in asked}


def spread(values, base=None):
    """Mean over seeds and its standard error; paired to `base` where there is one."""
    values = np.asarray(values, dtype=float)
    values = values if base is None else values - np.asarray(base, dtype=float)
    return [float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))]


def simulation():
    """({variants: [rows], ceiling: [rows]}, names of the parts)."""
    names, found = [], {}
    for variant, (settings, options) in VARIANTS.items():
        for seed in range(SEEDS):
            name = f"simulated-{variant.replace(' ', '_').replace(':', '')}-{seed}"
            make = partial(align, seed, dict(settings), dict(options))
            found.setdefault(variant, []).append(kept(name, make))
            names.append(name)
    rows, base = [], found["corrected"]
    for variant, parts in found.items():
        row = {"variant": variant, "seeds": SEEDS}
        for key in parts[0]:
            row[key] = spread([part[key] for part in parts])
        place = [
            [(part["there_place"] + part["back_place"]) / 2 for part in p] for p in (parts, base)
        ]
        row["place"], row["place_difference"] = spread(place[0]), spread(*place)
        rows.append(row)
    ceilings = []
    for world, shares in (("shared", {}), ("nothing shared", {"shared": 0.0})):
        parts = []
        for seed in range(SEEDS):
            name = f"ceiling-{world.replace(' ', '_')}-{seed}"
            parts.append(kept(name, partial(worth, seed, shares)))
            names.append(name)
        for row in parts[0]:
            ceilings.append(
                {
                    "world": world,
                    "row": row,
                    "auroc": spread([part[row]["auroc"] for part in parts]),
                    "gain": spread([part[row]["gain"] for part in parts]),
                    "intervals": [part[row]["interval"] for part in parts],
                }
            )
    return {"variants": rows, "ceiling": ceilings}, names


def worth(seed, shares):
    """`ceiling.gains` of a simulated world."""
    benchmark = worlds(seed, shares).benchmark
    config = ProfilesConfig(**{**SMALLER, "seed": seed})
    asked, scores = ceiling(benchmark, "morphology", seed, encoder=config, components=20)
    return gains(benchmark, asked, scores)


def main():
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="+", choices=["simulated", "retrieval"])
    parts = parser.parse_args().parts
    if "simulated" in parts:
        found, names = simulation()
        config = {"seeds": SEEDS, "settings": SMALLER, "molecules": 600}
        write_derived(
            "profiles-simulated",
            {"config": config, "metrics": found, "provenance": cost(names)},
        )
    if "retrieval" in parts:
        rows, names = retrieval()
        config = {"folds": FOLDS, "ridge": RIDGE, "components": SPACES}
        write_derived(
            "profiles-retrieval",
            {"config": config, "metrics": {"retrieval": rows}, "provenance": cost(names)},
        )


if __name__ == "__main__":
    main()
