"""What models compute, against small references written out independently: loops, scikit-learn,
matrices over all pairs.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from clmt_lib import data, models
from clmt_lib.data.base import Benchmark, Side
from clmt_lib.data.response import simulated
from clmt_lib.models import kernels, stack
from clmt_lib.models.baselines import factors, linear, means, trees
from clmt_lib.tasks import evaluate
from clmt_lib.views.molecules import fingerprints
from clmt_lib.views.proteins import kmer_counts
from clmt_lib.views.text import describe_drugs, encode


@pytest.fixture(scope="module")
def world():
    names = list(dict.fromkeys(simulated.facts()["name"]))[:20]
    return data.load("simulated", cells=36, drugs=names)


@pytest.fixture(scope="module")
def splits(world):
    return {kind: data.make_split(world, kind) for kind in ("mixed", "cell_blind", "drug_blind")}


def training_frame(world, split):
    cell, drug = world.pairs[split.train].T
    return pd.DataFrame({"cell": cell, "drug": drug, "y": world.y[split.train]})


def plain_effects(frame, shape, sweeps=20, shrink=1.0):
    """Mean, row and column effects, one entity after the other."""
    mean = frame["y"].mean()
    cell, drug = np.zeros(shape[0]), np.zeros(shape[1])
    for _ in range(sweeps):
        for side, own, other in (("drug", drug, cell), ("cell", cell, drug)):
            away = "cell" if side == "drug" else "drug"
            for entity, rows in frame.groupby(side):
                rest = rows["y"] - mean - other[rows[away]]
                own[entity] = rest.sum() / (len(rows) + shrink)
    return mean, cell, drug


@pytest.mark.parametrize("kind", ["mixed", "cell_blind", "drug_blind"])
def test_means_are_those_of_a_groupby(world, splits, kind):
    frame, (rows, columns) = training_frame(world, splits[kind]), world.shape
    tables = {
        by: means.Means(by=by).fit(world, splits[kind]).table
        for by in ("global", "cell", "drug", "tissue_drug", "effects")
    }
    mean = frame["y"].mean()
    cell = frame.groupby("cell")["y"].mean().reindex(range(rows)).fillna(mean).to_numpy()
    drug = frame.groupby("drug")["y"].mean().reindex(range(columns)).fillna(mean).to_numpy()
    assert np.allclose(tables["global"], mean)
    assert np.allclose(tables["cell"], cell[:, None]) and np.allclose(tables["drug"], drug[None])
    mean, own, other = plain_effects(frame, world.shape)
    assert np.allclose(tables["effects"], mean + own[:, None] + other[None])
    frame["tissue"] = world.cells["tissue"].to_numpy()[frame["cell"]]
    for (tissue, column), part in frame.groupby(["tissue", "drug"]):
        moved = drug[column] + (part["y"] - drug[column]).sum() / (len(part) + 2.0)
        at = np.flatnonzero(world.cells["tissue"] == tissue)
        assert np.allclose(tables["tissue_drug"][at, column], moved)
    assert np.array_equal(means.Means(by="row").fit(world, splits[kind]).table, tables["cell"])
    assert np.array_equal(means.Means(by="column").fit(world, splits[kind]).table, tables["drug"])


def test_neighbours_are_a_weighted_mean_over_other_drugs(world, splits):
    split = splits["drug_blind"]
    frame = training_frame(world, split)
    model = means.Neighbours(sharpness=(5.0,)).fit(world, split)
    mean, cell, drug = plain_effects(frame, world.shape)
    bits = fingerprints(world.drugs).astype(bool)
    new = world.pairs[split.test[0], 1]
    known = sorted(frame["drug"].unique())
    like = [(bits[new] & bits[d]).sum() / (bits[new] | bits[d]).sum() for d in known]  # Tanimoto
    weight = np.exp(5.0 * (np.array(like) - 1))
    potency = weight @ drug[known] / (weight.sum() + 1e-3)
    for line in range(5):
        own = frame[frame["cell"] == line].set_index("drug")["y"]
        rest = [own[d] - mean - cell[line] - drug[d] if d in own else np.nan for d in known]
        seen = np.isfinite(rest)
        borrowed = weight[seen] @ np.array(rest)[seen] / (weight[seen].sum() + 0.1)
        assert np.isclose(model.table[line, new], mean + cell[line] + potency + borrowed)


def test_als_is_a_plain_loop(world, splits):
    """Every factor in turn is a ridge regression on the factors of the other side."""
    split, rank, ridge = splits["mixed"], 3, 5.0
    frame = training_frame(world, split)
    model = factors.ALS(ranks=(rank,), ridges=(ridge,)).fit(world, split)
    mean, cell, drug = plain_effects(frame, world.shape)
    u = np.zeros((world.shape[0], rank))
    v = np.random.default_rng(0).normal(0, 0.1, (world.shape[1], rank))  # where the library starts
    rest = frame["y"] - mean - cell[frame["cell"]] - drug[frame["drug"]]
    for _ in range(20):
        for own, other, side, away in ((u, v, "cell", "drug"), (v, u, "drug", "cell")):
            for entity in range(len(own)):
                rows = frame[side] == entity
                x, t = other[frame.loc[rows, away]], rest[rows].to_numpy()
                own[entity] = np.linalg.solve(x.T @ x + ridge * np.eye(rank), x.T @ t)
    wanted = mean + cell[:, None] + drug[None] + u @ v.T
    assert np.allclose(model.table, wanted, atol=1e-8)


def standardised(world, split):
    rows = np.unique(world.pairs[split.train, 0])
    x = world.omics["expression"].to_numpy(float)
    return (x - x[rows].mean(0)) / x[rows].std(0), rows


def explicit_kernel_ridge(k_row, k_column, pairs, target, asked, ridge):
    """Kernel ridge on pairs, the matrix over all of them written down."""
    k = k_row[np.ix_(pairs[:, 0], pairs[:, 0])] * k_column[np.ix_(pairs[:, 1], pairs[:, 1])]
    dual = np.linalg.solve(k + ridge * np.eye(len(k)), target)
    to = k_row[np.ix_(asked[:, 0], pairs[:, 0])] * k_column[np.ix_(asked[:, 1], pairs[:, 1])]
    return to @ dual


@pytest.mark.parametrize("kind", ["mixed", "cell_blind", "drug_blind"])
def test_kernel_ridge_predicts_with_the_kernels_it_was_fitted_with(world, splits, kind):
    """From tables to predictions, with nothing of the library's but texts' embeddings."""
    split = splits[kind]
    frame = training_frame(world, split)
    model = kernels.KernelRidge(column_kernel="text", ridges=(0.3,), same=(0.5,)).fit(world, split)
    z, rows = standardised(world, split)
    distance = cdist(z, z, "sqeuclidean")
    width = np.median([distance[a, b] for a in rows for b in rows if a < b])
    k_row = 0.3 + np.exp(-distance / width) + 0.5 * np.eye(len(z))
    text = encode(describe_drugs(world.drugs)).astype(float)
    compound = world.drugs["compound"].to_numpy()
    cosine = 1 - cdist(text, text, "cosine")
    k_column = 0.3 + np.exp(model.chosen["sharpness"] * (cosine - 1))
    k_column = k_column + 0.5 * (compound[:, None] == compound[None])
    mean, _, drug = plain_effects(frame, world.shape)
    pairs, asked = world.pairs[split.train], world.pairs[split.test]
    target = world.y[split.train] - mean - drug[pairs[:, 1]]
    wanted = explicit_kernel_ridge(k_row, k_column, pairs, target, asked, 0.3)
    wanted += mean + drug[asked[:, 1]]
    assert np.allclose(model.predict(asked), wanted, atol=2e-4)  # it stops at 1e-5


def test_learned_kernels_are_read_off_denoised_residuals(world, splits):
    split = splits["mixed"]
    model = kernels.LearnedKernelRidge(rank=4, ridges=(0.4,), rounds=2).fit(world, split)
    frame = training_frame(world, split)
    mean, cell, drug = plain_effects(frame, world.shape)
    pairs = world.pairs[split.train]
    rest = world.y[split.train] - mean - cell[pairs[:, 0]] - drug[pairs[:, 1]]
    spread = np.array([np.sqrt(np.mean(rest[pairs[:, 1] == d] ** 2)) for d in range(len(drug))])
    table, seen = np.zeros(world.shape), np.zeros(world.shape, dtype=bool)
    table[tuple(pairs.T)], seen[tuple(pairs.T)] = rest / spread[pairs[:, 1]], True
    u, v = factors.factorise(table, seen, 4, 10.0)
    smooth = u @ v.T
    everything = np.argwhere(np.ones(world.shape, dtype=bool))
    for _ in range(2):
        k_row, k_column = (
            0.3 + np.exp(3.0 * (np.corrcoef(x) - 1)) + 0.3 * np.eye(len(x))
            for x in (smooth, smooth.T)
        )
        found = explicit_kernel_ridge(
            k_row, k_column, pairs, table[tuple(pairs.T)], everything, 0.4
        )
        smooth = found.reshape(world.shape)
    wanted = mean + cell[:, None] + drug[None] + smooth * spread
    assert np.allclose(model.table, wanted, atol=1e-3)


def test_ridge_per_drug_is_scikit_learns(world, splits):
    from sklearn.linear_model import Ridge

    split = splits["cell_blind"]
    model = linear.RidgePerDrug(ridges=(100.0,)).fit(world, split)
    z, _ = standardised(world, split)
    frame = training_frame(world, split)
    mean, _, effect = plain_effects(frame, world.shape)
    for drug in range(5):
        own = frame[frame["drug"] == drug]
        target = (own["y"] - mean - effect[drug]).to_numpy()
        spread = target.std()
        level = (target / spread).mean()
        plain = Ridge(100.0, fit_intercept=False).fit(z[own["cell"]], target / spread - level)
        wanted = mean + effect[drug] + spread * (level + plain.predict(z))
        assert np.allclose(model.table[:, drug], wanted, atol=1e-8)


def test_elastic_net_has_the_intercept_of_uncentred_features():
    """Far from the origin, an intercept that forgets the centring is far off."""
    from sklearn.linear_model import ElasticNet

    rng = np.random.default_rng(0)
    x = 7.0 + rng.normal(size=(60, 5))
    values = x @ np.array([1.0, -2.0, 0.0, 0.5, 0.0]) + 3.0 + 0.1 * rng.normal(size=60)
    values[::4] = np.nan
    path = linear.ElasticNetPerDrug(alphas=(0.15, 0.3))._path(x, values)
    seen = np.isfinite(values)
    for column, alpha in enumerate((0.3, 0.15)):
        plain = ElasticNet(alpha, l1_ratio=0.5, tol=1e-8).fit(x[seen], values[seen])
        found = x @ path[:-1, column] + path[-1, column]
        assert np.allclose(found, plain.predict(x), atol=0.02)


def test_elastic_net_per_drug_goes_through_every_drugs_mean(world, splits):
    """A least-squares fit with an intercept has residuals that sum to zero, drug by drug."""
    split = splits["cell_blind"]
    model = linear.ElasticNetPerDrug(alphas=(0.08,)).fit(world, split)
    rest = world.y[split.train] - model.predict(world.pairs[split.train])
    by_drug = pd.Series(rest).groupby(world.pairs[split.train, 1]).sum()
    assert np.abs(by_drug).max() < 1e-9


def test_trees_kept_as_arrays_vote_as_scikit_learns_do(world, splits):
    grown = []

    class Spied(trees.RandomForest):
        def keep(self, ensemble):
            grown.append(ensemble)
            super().keep(ensemble)

    model = Spied(trees=15).fit(world, splits["mixed"])
    x = model._features(world.pairs)
    grown[0].n_jobs = 1
    assert np.array_equal(model.votes(x), grown[0].predict(x))
    assert np.array_equal(
        model.predict(world.pairs), model.base[tuple(world.pairs.T)] + grown[0].predict(x)
    )


@pytest.mark.parametrize("kind", ["mixed", "cell_blind", "drug_blind"])
def test_bases_of_the_stack_never_saw_the_pairs_they_teach_with(world, splits, kind, monkeypatch):
    """Out of fold: what teaches the second stage comes from bases that were fitted without it,
    and without the line or the compound that is held out with it.
    """
    bases = {"mixed": "seen_bases", "cell_blind": "new_line_bases"}.get(kind, "new_drug_bases")
    honest, fitted_on, taught = getattr(stack, bases), {}, []

    def spied(benchmark, part, **options):
        found = honest(benchmark, part, **options)
        fitted_on[id(found)] = part.train
        taught.append(found)  # kept, or its id could be another's
        return found

    blended = stack.blend

    def blend(parts, **options):
        asked = []
        for stage, pairs, y in parts:
            table = {tuple(pair): i for i, pair in enumerate(world.pairs)}
            held = np.array([table[tuple(pair)] for pair in pairs])
            assert np.array_equal(world.y[held], y)
            assert not np.intersect1d(held, fitted_on[id(stage)]).size
            groups = world.groups(kind)
            assert not np.intersect1d(groups[held], groups[fitted_on[id(stage)]]).size
            asked.append(held)
        assert np.array_equal(np.sort(np.concatenate(asked)), np.sort(splits[kind].train))
        taught.append("blended")
        return blended(parts, **options)

    monkeypatch.setattr(stack, bases, spied)
    monkeypatch.setattr(stack, "blend", blend)
    stack.Stack(inner=3, boost=False).fit(world, splits[kind])
    assert taught.count("blended") == 1 and len(taught) == 5  # three inner fits and the whole one
    assert np.array_equal(fitted_on[id(taught[3])], splits[kind].train)


def invented_parts(rng, shape=(40, 6)):
    """Two folds of bases whose drugs differ much in spread, and what was measured."""
    spread = np.array([0.1, 0.3, 1.0, 2.0, 4.0, 8.0])
    everything = np.argwhere(np.ones(shape, dtype=bool))
    out = []
    for half in (everything[::2], everything[1::2]):
        tables = {"a": rng.normal(size=shape), "b": rng.normal(size=shape)}
        offset, target = rng.normal(size=shape), rng.normal(size=shape)
        target[rng.random(shape) < 0.3] = np.nan
        stage = stack.BasePredictions(offset, spread, tables, target)
        y = offset[tuple(half.T)] + spread[half[:, 1]] * (
            0.7 * tables["a"][tuple(half.T)] + rng.normal(size=len(half))
        )
        out.append((stage, half, y))
    return out


def test_trees_of_the_stack_count_errors_in_the_units_of_the_benchmark(monkeypatch):
    """An error of one standard deviation of a drug is `spread` units, its square spread squared."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    parts, weights = invented_parts(np.random.default_rng(0)), np.array([0.7, 0.1])
    x, t, w = [], [], []
    for stage, pairs, y in parts:
        for i, (cell, drug) in enumerate(pairs):
            x.append(stack.meta_features(stage, pairs, weights)[i])
            said = 0.7 * stage.tables["a"][cell, drug] + 0.1 * stage.tables["b"][cell, drug]
            t.append((y[i] - stage.offset[cell, drug]) / stage.spread[drug] - said)
            w.append(stage.spread[drug] * stage.spread[drug])
    fitted = {}

    def fit(self, x, y, sample_weight):
        fitted.update(x=x, y=y, w=sample_weight)
        return self

    monkeypatch.setattr(HistGradientBoostingRegressor, "fit", fit)
    stack.boosted(parts, weights, seed=0)
    assert np.allclose(fitted["x"], x) and np.allclose(fitted["y"], t)
    assert np.allclose(fitted["w"], w)


def test_the_second_stage_solves_least_squares_in_the_units_of_the_benchmark():
    from scipy.optimize import nnls

    parts = invented_parts(np.random.default_rng(1))
    x = np.concatenate([s.spread[p[:, 1], None] * s.stacked(p) for s, p, _ in parts])
    t = np.concatenate([y - s.offset[tuple(p.T)] for s, p, y in parts])
    assert np.allclose(stack.blend(parts), nnls(x, t)[0], atol=1e-4)


def test_one_kernel_ridge_a_column_is_the_formula():
    """Weights of features from their correlation with the column, an RBF and a linear kernel."""
    rng = np.random.default_rng(2)
    x, target = rng.normal(size=(20, 6)), rng.normal(size=(20, 3))
    target[rng.random(target.shape) < 0.3] = np.nan
    found = stack.one_by_one(target, [(x, 0.4, 0.5, False)], ridge=0.7)
    shared = np.sqrt(
        [np.mean([(np.nansum(x[:, f] * t) / 20) ** 2 for t in target.T]) for f in range(6)]
    )
    for column, t in enumerate(target.T):
        known = np.flatnonzero(np.isfinite(t))
        level = t[known].mean()
        own = np.abs(x[known].T @ (t[known] - level)) / len(known)
        weight = 0.4 * own / np.sqrt(np.mean(own**2))
        weight = weight + 0.6 * shared / np.sqrt(np.mean(shared**2))
        z = x * weight
        distance = cdist(z, z, "sqeuclidean")
        width = np.median([distance[a, b] for a in known for b in known if a < b])
        k = 0.5 * (0.7 * np.exp(-distance / width) + 0.3 * (z @ z.T) / 6)
        dual = np.linalg.solve(k[np.ix_(known, known)] + 0.7 * np.eye(len(known)), t[known] - level)
        assert np.allclose(found[:, column], level + k[:, known] @ dual)


def test_a_blend_is_the_mean_that_it_says(world, splits):
    model = models.build("clmt_kernel", parts=("effects", "als"), shares=(0.4,))
    model.fit(world, splits["mixed"])
    first, second = (models.build(n).fit(world, splits["mixed"]).table for n in ("effects", "als"))
    assert np.allclose(model.table, 0.4 * first + 0.6 * second)
    assert model.chosen == {"share": 0.4, "of": "effects"}


def affinities(rng, name="affinities", proteins=24, drugs=14):
    """Invented proteins in four families, drugs of three kinds, and how they bind."""
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
    ancestors = rng.choice(letters, (4, 60))
    family = np.arange(proteins) % 4
    sequences = []
    for f in family:
        own = ancestors[f].copy()
        own[rng.integers(0, 60, 3)] = rng.choice(letters, 3)
        sequences.append("".join(own))
    base = ["c1ccccc1", "C1CCCCC1", "c1ccncc1"]
    smiles = [base[i % 3] + "C" * (1 + i // 3) for i in range(drugs)]
    ids = [f"P{i}" for i in range(proteins)], [f"D{i}" for i in range(drugs)]
    protein = Side(
        "protein",
        pd.DataFrame({"name": ids[0]}, ids[0]),
        {"sequence": pd.Series(sequences, ids[0])},
    )
    drug = Side("drug", pd.DataFrame({"name": ids[1], "smiles": smiles}, ids[1]))
    liking = rng.normal(size=(4, 3))
    table = liking[family][:, np.arange(drugs) % 3] + 0.1 * rng.normal(size=(proteins, drugs))
    pairs = np.argwhere(rng.random(table.shape) < 0.8)
    y = 6.0 + table[tuple(pairs.T)]
    return Benchmark(
        name, (protein, drug), pairs, y, np.zeros(len(y), dtype=bool), task="affinity", units="pKd"
    )


@pytest.mark.parametrize("kind", ["mixed", "protein_blind", "drug_blind", "both_blind"])
def test_proteins_and_drugs_are_two_sides_like_any(kind):
    """The same models; kernels by what a side has: k-mers of sequences, bits of structures."""
    benchmark = affinities(np.random.default_rng(0), proteins=48, drugs=36)
    split = data.make_split(benchmark, kind)
    y, asked = benchmark.y[split.test], benchmark.pairs[split.test]
    error = {}
    for name in ("global_mean", "row_mean", "column_mean", "effects", "als", "kernel_fingerprint"):
        model = models.build(name).fit(benchmark, split)
        error[name] = np.sqrt(np.mean((models.predicted(model, asked) - y) ** 2))
    assert error["kernel_fingerprint"] < 0.7 * error["global_mean"], error
    wanted = kernels.side_kernels(benchmark, 0, "auto")[0][1]
    counts = kmer_counts(benchmark.sides[0].views["sequence"])
    assert np.allclose(wanted, 1 - cdist(counts, counts, "cosine"))
    with pytest.raises(data.DataError, match="unknown mean 'cell'.*protein, drug"):
        models.build("cell_mean").fit(benchmark, split)
    with pytest.raises(data.DataError, match="proteins of .* have no view 'expression'"):
        models.build("kernel_omics").fit(benchmark, split)
    with pytest.raises(data.DataError, match="drugs of .* have no column 'target'"):
        models.build("kernel_annotation").fit(benchmark, split)


def test_labels_of_molecules_are_two_sides_like_any():
    """Molecules x assays, 0 or 1, with gaps."""
    rng = np.random.default_rng(1)
    benchmark = affinities(rng, "labels", proteins=8, drugs=60)
    molecule, assay = (
        replace(benchmark.sides[1], name="molecule", identity=""),
        Side("assay", benchmark.sides[0].frame),
    )
    labels = Benchmark(
        "labels",
        (molecule, assay),
        benchmark.pairs[:, ::-1].copy(),
        (benchmark.y > 6.0).astype(float),
        benchmark.censored,
        task="labels",
        units="",
    )
    split = data.make_split(labels, "molecule_blind")
    for name in ("row_mean", "column_mean", "als", "kernel_identity"):
        model = models.build(name).fit(labels, split)
        found = models.predicted(model, labels.pairs[split.test])
        if name == "kernel_identity":  # of the assays; the molecules' is of their structures
            assert evaluate(labels.y[split.test], found, metrics=["auroc"])["auroc"] > 0.8
