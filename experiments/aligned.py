"""What alignment to profiles is worth, as derived records (chapter profiles).

    python experiments/aligned.py simulated retrieval home probes

`simulated` needs nothing and writes `profiles-simulated`; the others need `CLMT_DATA`. `retrieval`
also asks how it grows with the number of pairs, and writes `profiles-retrieval`; `probes` writes
`profiles-aligned`, of which `home` (the drug kernel of GDSC2) is a part. What is finished is kept
in `experiments/runs/aligned` and not done again.
"""

import argparse
import json
import time
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from clmt_lib import data
from clmt_lib.data import profiles
from clmt_lib.data.base import Side
from clmt_lib.data.grouping import parent_key
from clmt_lib.data.profiles import simulated
from clmt_lib.data.profiles.matching import matching
from clmt_lib.data.published import molecule_split
from clmt_lib.io import atomic_write
from clmt_lib.models.base import cosine
from clmt_lib.models.baselines.drug_ridge import DrugRidge
from clmt_lib.models.ceiling import ceiling, gains
from clmt_lib.models.imputation import fit_components, impute, impute_donors
from clmt_lib.models.probes import LinearProbe, Scored
from clmt_lib.models.profiles import DEFECTS, Assays, AssaysConfig, Profiles, ProfilesConfig
from clmt_lib.nn.contrast import rank_of_positive
from clmt_lib.records import provenance, write_derived
from clmt_lib.tasks.bootstrap import Bootstrap, interval
from clmt_lib.tasks.metrics import pearson
from clmt_lib.views.molecules import fingerprints, jaccard, tanimoto

KEPT = Path(__file__).parent / "runs" / "aligned"
SPACES = {"comas_references": 15, "comas_profiles": 50, "cmap": 50, "cdrp": 30, "l1000": 30}
PARTS = ("simulated", "retrieval", "scaling", "probes", "home")
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
        "shuffled": replace(config, shuffled=True),
    }
    if space == "comas_references":
        variants["soft"] = replace(config, targets="soft")
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


# How it grows

SHARES, GROWN, GROWN_FOLDS = (0.125, 0.25, 0.5, 1.0), ("comas_references",), 2


def grow(side, space, fold, share):
    """{method: ranks} of the test molecules of a fold, from a share of the training molecules."""
    table = matching(side, [space])
    split, train, test = cut(table, fold)
    rows = np.random.default_rng([fold, 5]).permutation(split.train)
    part = replace(split, train=np.sort(rows[: round(share * len(rows))]))
    train = np.unique(table.pairs[part.train, 0])
    whole = KEPT / f"retrieval-{space}-{fold}.json"
    if share == 1 and whole.exists():
        made = json.loads(whole.read_text())
        return {"pairs": len(train), **{name: made[name] for name in ("ridge", "contrast")}}
    compound = side.keys["compound"][test]
    same = torch.as_tensor(compound[:, None] == compound[None])
    guesses, truth = predicted(side, space, train, test, SPACES[space])
    found = {"ridge": ranks(guesses["ridge"], truth, same)}
    config = replace(CONTRAST, components=SPACES[space], seed=fold)
    z = Profiles(config).fit(table, part).embeddings(test)
    found["contrast"] = ranks(z["molecule"], z[space], same)
    return {"pairs": len(train), **found}


def scaling():
    """Rows of space, method and number of training molecules, and the names of the parts."""
    rows, names = [], []
    for space in GROWN:
        side = None
        for share in SHARES:
            parts = []
            for fold in range(GROWN_FOLDS):
                name = f"scaling-{space}-{share:g}-{fold}"
                if side is None and not (KEPT / f"{name}.json").exists():
                    side = real([space])
                parts.append(kept(name, partial(grow, side, space, fold, share)))
                names.append(name)
            for method in ("ridge", "contrast"):
                found = summary([part[method] for part in parts])
                kept_ = {key: value for key, value in found.items() if "there" in key}
                pairs = float(np.mean([part["pairs"] for part in parts]))
                rows.append({"space": space, "method": method, "pairs": pairs, **kept_})
    return rows, names


# Probes

PROBED, REPEATS, STRENGTHS = "chembl2k", {"scaffold": 5, "published": 1}, (0.03,)
PRETRAINED = replace(CONTRAST, components=50, steps=150)


def held_out(table, held, seed):
    """A split of a table of profiles (or activities) to pre-train on: no compound of `held`, a
    tenth of the rest, by scaffold, to choose on.
    """
    split = data.make_split(table, "scaffold_blind", seed)
    compound = table.sides[0].keys["compound"][table.pairs[:, 0]]
    free = ~np.isin(compound, held)
    train = np.sort(np.concatenate([split.train, split.test]))
    return replace(
        split, train=train[free[train]], valid=split.valid[free[split.valid]], test=split.test[:0]
    )


def imputed(side, table, cut_, labels, rng=None):
    """[label molecules, components] imputed profiles of all spaces, each molecule's own profile
    (and that of its scaffold) left out; `rng` deals profiles out anew: a control.
    """
    rows = np.concatenate([cut_.train, cut_.valid])
    bits = labels.views["fingerprint"].astype(np.float64)
    ours, blocks = labels.keys["compound"], []
    for number, space in enumerate(table.sides[1].ids):
        donors = np.unique(table.pairs[rows[table.pairs[rows, 1] == number], 0])
        values = side.views[space].to_numpy(np.float64)[donors]
        z = fit_components(values, SPACES[space])(values)
        z = z if rng is None else z[rng.permutation(len(z))]
        theirs = side.views["fingerprint"][donors].astype(np.float64)
        among = tanimoto(theirs, theirs)
        found = impute(z, among, tanimoto(bits, theirs), RIDGE)
        alone = impute_donors(z, among, side.keys["scaffold"][donors], RIDGE)
        place = {name: row for row, name in enumerate(side.keys["compound"][donors])}
        for row, name in enumerate(ours):
            if name in place:
                found[row] = alone[place[name]]
        blocks.append(found)
    return np.hstack(blocks)


def probe(benchmark, split, view=None, alone=False):
    """[molecules, assays] scores of the linear probe on structure and perhaps one more block."""
    side, names = benchmark.sides[0], () if alone else ("counts", "descriptors")
    if view is not None:
        benchmark = benchmark.with_sides(replace(side, views={**side.views, "more": view}))
        split, names = replace(split, checksum=benchmark.checksum), (*names, "more")
    return LinearProbe(names, STRENGTHS).fit(benchmark, split).table


def encoders(split, benchmark, side, table, seed, transductive):
    """{name: [label molecules, features]} of every encoder and imputation."""
    labels = benchmark.sides[0]
    rows = benchmark.pairs[np.concatenate([split.valid, split.test]), 0]
    held = np.unique(labels.keys["compound"][rows])
    own = held_out(table, held, seed)
    config = replace(PRETRAINED, seed=seed)
    found = {
        "imputed": imputed(side, table, own, labels),
        "imputed, shuffled": imputed(side, table, own, labels, np.random.default_rng(seed)),
        "aligned": Profiles(config).fit(table, own).features(labels),
        "aligned, shuffled": Profiles(replace(config, shuffled=True))
        .fit(table, own)
        .features(labels),
        "random weights": Profiles(config).untrained(table, own).features(labels),
    }
    if transductive:
        every = held_out(table, held[:0], seed)
        found["aligned, test molecules in it"] = Profiles(config).fit(table, every).features(labels)
    assays = activities()
    model = Assays(AssaysConfig(seed=seed)).fit(assays, held_out(assays, held, seed))
    if transductive:
        found["activities"] = model.features(labels)
    found["predicted activities"] = model.outputs(labels)
    return found


def with_bits(benchmark):
    """The benchmark with fingerprints as a view of its molecules."""
    side = benchmark.sides[0]
    bits = fingerprints(side.frame).astype(np.uint8)
    return benchmark.with_sides(replace(side, views={**side.views, "fingerprint": bits}))


@lru_cache(maxsize=1)
def activities():
    """691 targets of ChEMBL, with fingerprints."""
    return with_bits(data.load("chembl691"))


@lru_cache(maxsize=1)
def pretraining():
    """(side of molecules with five feature spaces, table of who was measured)."""
    side = real(SPACES)
    return side, matching(side, SPACES)


def probed(kind, seed):
    """What each row has over structure on one split of the label table."""
    benchmark = with_bits(data.load(PROBED))
    rule = "infoalign" if kind == "published" else "scaffold"
    split = molecule_split(benchmark, rule, seed)
    side, table = pretraining()
    test, published = Scored.of(benchmark, split), kind == "published"
    base = probe(benchmark, split)
    every = Scored.of(benchmark, split, fewest=1)  # as published means count them
    out = {
        "structure": {
            "auroc": float(np.nanmean(test.each(base))),
            "all": float(np.nanmean(every.each(base))),
        }
    }
    for name, x in encoders(split, benchmark, side, table, seed, published).items():
        for alone in (False, True) if published else (False,):
            scores = probe(benchmark, split, x, alone)
            found = test.compared(scores, base)
            row = f"{name} alone" if alone else f"+ {name}"
            auroc = float(np.nanmean(test.each(scores)))
            out[row] = {"auroc": auroc, "all": float(np.nanmean(every.each(scores))), **found}
    counted = {"tasks": int(test.kept.sum()), "all_tasks": int(every.kept.sum())}
    return {**counted, "rows": out}


def probes(there_only=False):
    """({published: rows, scaffold: rows}, names of the parts)."""
    names, found = [], {}
    for kind, repeats in REPEATS.items():
        parts = []
        for seed in range(repeats):
            name = f"probes-{PROBED}-{kind}-{seed}"
            if there_only and not (KEPT / f"{name}.json").exists():
                continue
            parts.append(kept(name, partial(probed, kind, seed)))
            names.append(name)
        if not parts:
            continue
        rows, base = [], [part["rows"]["structure"] for part in parts]
        for row in parts[0]["rows"]:
            each = [part["rows"][row] for part in parts]
            gain = [one.get("mean", 0.0) for one in each]
            rows.append(
                {
                    "row": row,
                    "auroc": spread([one["auroc"] for one in each]),
                    "gain": spread(gain),
                    "gains": gain,
                    "all": spread([one["all"] for one in each]),
                    "gain_all": spread([one["all"] - b["all"] for one, b in zip(each, base)]),
                    "interval_all": between([o["all"] - b["all"] for o, b in zip(each, base)]),
                    "interval": between(gain),
                    "over_molecules": [one.get("over_molecules") for one in each],
                }
            )
        counts = {key: [part[key] for part in parts] for key in ("tasks", "all_tasks")}
        found[kind] = {"rows": rows, **counts}
    return found, names


def between(values):
    """95 % interval of a mean over few splits (Student's t)."""
    from scipy import stats

    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return [np.nan, np.nan]
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return [float(values.mean() - half), float(values.mean() + half)]


# Back home


class DrugsOf(DrugRidge):
    """Ridge over drugs on the cosine of given vectors, or the mean of several such kernels."""

    blocks = ()

    def _kernels(self, benchmark, split):
        likeness = [cosine(x - x.mean(0)) if centre else jaccard(x) for x, centre in self.blocks]
        return [
            ({"sharpness": s}, np.mean([np.exp(s * (k - 1)) for k in likeness], axis=0))
            for s in (1.0, 3.0)
        ]


def home():
    """Rows of the drug-blind split of GDSC2 by what the drug kernel reads."""
    screen = data.load("gdsc2")
    drugs = screen.sides[1]
    side, table = pretraining()
    bits = fingerprints(drugs.frame)
    held = np.array([parent_key(smiles) or "" for smiles in drugs.frame["smiles"]])
    own = held_out(table, held, 0)
    like = Side("molecule", drugs.frame, {"fingerprint": bits.astype(np.uint8)})
    read = {"fingerprint": [(bits, False)]}
    for name, model in {
        "aligned": Profiles(PRETRAINED).fit(table, own),
        "aligned, shuffled": Profiles(replace(PRETRAINED, shuffled=True)).fit(table, own),
        "random weights": Profiles(PRETRAINED).untrained(table, own),
    }.items():
        read[name] = [(model.features(like), True)]
    own_side = replace(like, keys={"compound": held}, identity="compound")
    read["imputed"] = [(imputed(side, table, own, own_side), True)]
    for name in ("aligned", "aligned, shuffled", "random weights", "imputed"):
        read[f"fingerprint + {name}"] = [*read["fingerprint"], *read[name]]
    r = {name: np.full(screen.shape[1], np.nan) for name in read}
    for fold in range(10):
        split = data.make_split(screen, "drug_blind", 0, fold)
        pairs, y = screen.pairs[split.test], screen.y[split.test]
        for name, blocks in read.items():
            model = DrugsOf()
            model.blocks = blocks
            said = model.fit(screen, split).predict(pairs)
            for drug in np.unique(pairs[:, 1]):
                mine = pairs[:, 1] == drug
                r[name][drug] = pearson(y[mine], said[mine])
    compound = np.unique(drugs.keys["compound"], return_inverse=True)[1]
    boot, rows = Bootstrap((compound.max() + 1,), names=("drug",)).counts[0][:, compound], []
    for name, values in r.items():
        gap = values - r["fingerprint"]
        known = np.isfinite(gap)
        drawn = boot[:, known] @ gap[known] / boot[:, known].sum(1)
        rows.append(
            {
                "row": name,
                "pcc_per_drug": float(np.nanmean(values)),
                "gain": float(gap[known].mean()),
                "interval": interval(drawn),
                "drugs": int(known.sum()),
            }
        )
    return {"rows": rows, "held": int(np.isin(side.keys["compound"], held).sum())}


# The simulated world

SEEDS, CEILINGS = 5, 3  # worlds
SMALLER = {"hidden": 128, "dim": 32, "profile_hidden": 64, "components": 20, "steps": 60}
CEILING = {"molecules": 1500, "labelled": 0.25}  # many profiles, few labels
RARE = {"molecules": 1500, "rare": 0.1}  # one space that a tenth of the others have
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
    "a rare space": ({}, RARE),
    "a rare space, columns unmasked": ({"defects": ("absent_columns",)}, RARE),
}


def worlds(seed, shares=None, molecules=600, rare=None, **options):
    """A simulated world; `rare` is the share of its expression profiles that are kept."""
    shares = simulated.Shares(**(shares or {}))
    world = simulated.world(seed, shares=shares, molecules=molecules, **options)
    if rare is None:
        return world
    side = world.benchmark.sides[0]
    kept_ = np.random.default_rng(seed).random(len(side)) < rare
    present = {**side.present, "expression": side.has("expression") & kept_}
    side = replace(side, present=present)
    return replace(world, benchmark=world.benchmark.with_sides(side))


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
    rare = summary(found[1:])  # the last space: expression
    out["rare_place"] = float(rare["there_place"] + rare["back_place"]) / 2
    return out | {name: float(table[name]) for name in asked}


def spread(values, base=None):
    """Mean over seeds and its standard error; paired to `base` where there is one."""
    values = np.asarray(values, dtype=float)
    values = values if base is None else values - np.asarray(base, dtype=float)
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return [float(values.mean()), float(error)]


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
        row |= {"rare_difference": None}
        if variant == "a rare space, columns unmasked":
            rare = [[part["rare_place"] for part in p] for p in (parts, found["a rare space"])]
            row["rare_difference"] = spread(*rare)
        rows.append(row)
    ceilings = []
    for world, shares in (("shared", {}), ("nothing shared", {"shared": 0.0})):
        parts = []
        for seed in range(CEILINGS):
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
    benchmark = simulated.load(seed, shares=simulated.Shares(**shares), **CEILING)
    config = ProfilesConfig(**{**SMALLER, "seed": seed})
    asked, scores = ceiling(benchmark, "morphology", seed, encoder=config, components=20)
    return gains(benchmark, asked, scores)


def record(name, make, config):
    """Write a derived record of what `make` returns: metrics and the names of their parts."""
    metrics, names = make()
    parts = {"config": config, "metrics": metrics, "provenance": cost(names)}
    write_derived(name, parts)


def real_retrieval():
    """Retrieval, and how it grows where that was asked."""
    (rows, names), (grown, more) = retrieval(), scaling() if grows() else ([], [])
    return {"retrieval": rows, "scaling": grown}, names + more


def grows():
    """Whether the parts of `scaling` are there."""
    last = f"scaling-{GROWN[-1]}-{SHARES[-1]:g}-{GROWN_FOLDS - 1}"
    return (KEPT / f"{last}.json").exists()


def real_probes(there_only=False):
    """Probes of label tables, and the drug kernel of the screen."""
    found, names = probes(there_only)
    return {**found, "home": kept("home-gdsc2", home)}, [*names, "home-gdsc2"]


def main():
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--there", action="store_true", help="probes: only what is finished")
    asked = parser.parse_args()
    parts = asked.parts
    if "simulated" in parts:
        config = {"seeds": SEEDS, "settings": SMALLER, "molecules": 600, "ceiling": CEILING}
        record("profiles-simulated", simulation, config)
    if "scaling" in parts:
        scaling()
    if "retrieval" in parts or "scaling" in parts:
        config = {"folds": FOLDS, "ridge": RIDGE, "components": SPACES, "settings": plain(CONTRAST)}
        record("profiles-retrieval", real_retrieval, config)
    if "home" in parts:
        kept("home-gdsc2", home)
    if "probes" in parts:
        config = {"table": PROBED, "repeats": REPEATS, "strengths": STRENGTHS}
        record(
            "profiles-aligned",
            partial(real_probes, asked.there),
            config | {"settings": plain(PRETRAINED)},
        )


def plain(config):
    """Settings as JSON would have them."""
    return json.loads(json.dumps(asdict(config)))


if __name__ == "__main__":
    main()
