"""What each task asks: its metrics, headline and selection; scores of two-sided benchmarks."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import (
    average_precision_score,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
    roc_auc_score,
    top_k_accuracy_score,
)

from clmt_lib import data, records, tasks
from clmt_lib.data import Benchmark, Side
from clmt_lib.io import DataError
from clmt_lib.tasks import metrics
from clmt_lib.tasks.metrics import METRICS, Metric, evaluate, find, per_group

rng = np.random.default_rng(0)


def side(name, n, **facts):
    """A side of n entities."""
    ids = pd.Index([f"{name}{i}" for i in range(n)])
    return Side(name, pd.DataFrame({"name": ids, **facts}, index=ids), keys=dict.fromkeys(facts))


def table(task, rows, columns, y, density=0.6, censored=None):
    """A benchmark of random pairs, whose values `y` makes of them and a generator."""
    random = np.random.default_rng(1)
    pairs = np.argwhere(random.random((len(rows), len(columns))) < density)
    values = y(pairs, random)
    bound = np.zeros(len(pairs), dtype=bool) if censored is None else values <= censored
    return Benchmark("toy", (rows, columns), pairs, values, bound, task=task)


@pytest.fixture(scope="module")
def world():
    benchmark = data.load("simulated", cells=60)
    return benchmark, data.make_split(benchmark, "mixed")


@pytest.fixture(scope="module")
def affinities():
    """Proteins x drugs; a third of the values sit on a bound, as in Davis."""
    return table(
        "affinity",
        side("protein", 30),
        side("drug", 25),
        lambda pairs, random: np.maximum(
            5.0, 5.5 + random.normal(size=len(pairs)) + 0.05 * pairs[:, 1]
        ),
        censored=5.0,
    )


@pytest.fixture(scope="module")
def assays():
    """Molecules x assays with gaps, 0 or 1."""
    return table(
        "labels",
        side("molecule", 120),
        side("assay", 6),
        lambda pairs, random: (random.random(len(pairs)) < 0.1 + 0.1 * pairs[:, 1]).astype(float),
    )


def shrunk(benchmark, positions, axis):
    """[entities] mean of an entity's training residuals, as if one more of them were zero."""
    out, left = np.zeros(benchmark.shape[axis]), benchmark.y - benchmark.y[positions].mean()
    for entity in range(len(out)):
        own = left[positions][benchmark.pairs[positions, axis] == entity]
        out[entity] = own.sum() / (len(own) + 1)
    return out


@pytest.mark.parametrize(
    "kind, known", [("protein_blind", (1,)), ("drug_blind", (0,)), ("both_blind", ())]
)
def test_only_the_effects_of_a_side_that_is_not_held_out_are_known(affinities, kind, known):
    split = data.make_split(affinities, kind)
    mean, *found = metrics.known_effects(affinities, split)
    assert mean == pytest.approx(affinities.y[split.train].mean())
    for axis, effects in enumerate(found):
        wanted = shrunk(affinities, split.train, axis) if axis in known else 0.0
        assert np.allclose(effects, wanted)


def test_of_random_pairs_the_effects_of_both_sides_are_known(affinities):
    split = data.make_split(affinities, "mixed")
    found = metrics.known_effects(affinities, split)
    wanted = metrics.additive_effects(affinities, split.train, shrink=1.0)
    assert all(np.array_equal(*pair) for pair in zip(found, wanted, strict=True))
    assert all(np.ptp(effects) > 0.1 for effects in found[1:])


def test_drug_response_equals_scipy_and_scikit_learn(world):
    benchmark, split = world
    y = benchmark.y[split.test]
    p = y + rng.normal(size=len(y))
    found = tasks.score(benchmark, split, p)
    assert found["pairs"] == len(y)
    assert found["rmse"] == np.sqrt(np.mean((y - p) ** 2))
    assert found["mae"] == pytest.approx(mean_absolute_error(y, p))
    assert found["r2"] == pytest.approx(r2_score(y, p))
    assert found["spearman"] == pytest.approx(stats.spearmanr(y, p)[0])
    for column, name in ((0, "cell"), (1, "drug")):
        label = benchmark.pairs[split.test, column]
        each = [
            stats.pearsonr(y[label == entity], p[label == entity])[0]
            for entity in np.unique(label)
            if (label == entity).sum() >= metrics.FEWEST
        ]
        expected = np.mean(each) if each else np.nan
        assert found[f"pcc_per_{name}"] == pytest.approx(expected, nan_ok=True)
    mean, cell, drug = metrics.additive_effects(benchmark, split.train)
    base = mean + cell[benchmark.pairs[split.test, 0]] + drug[benchmark.pairs[split.test, 1]]
    assert found["pcc_normalised"] == pytest.approx(stats.pearsonr(y - base, p - base)[0])
    assert set(found) == {"pairs", *tasks.of(benchmark).metrics} | {
        "pcc_normalised",
        "r2_normalised",
    }


def test_effects_alone_are_zero_after_normalising(world):
    benchmark, split = world
    mean, cell, drug = metrics.additive_effects(benchmark, split.train)
    pairs = benchmark.pairs[split.test]
    found = tasks.score(benchmark, split, mean + cell[pairs[:, 0]] + drug[pairs[:, 1]])
    assert found["r2_normalised"] == pytest.approx(0, abs=1e-12)


def test_effects_minimise_the_ridge_objective(world):
    benchmark, split = world
    pairs, y = benchmark.pairs[split.train], benchmark.y[split.train]
    rows, columns = benchmark.shape
    x = np.zeros((len(y), rows + columns))
    x[np.arange(len(y)), pairs[:, 0]] = 1
    x[np.arange(len(y)), rows + pairs[:, 1]] = 1
    exact = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ (y - y.mean()))
    _, cell, drug = metrics.additive_effects(benchmark, split.train)
    assert np.abs(x @ (np.concatenate([cell, drug]) - exact)).max() < 1e-3


@pytest.mark.filterwarnings("error")
def test_without_shrinkage_an_entity_without_pairs_still_has_effect_zero(world):
    benchmark, split = world
    pairs = benchmark.pairs[split.train]
    kept = split.train[(pairs[:, 0] != 0) & (pairs[:, 1] != 0)]
    _, cell, drug = metrics.additive_effects(benchmark, kept, shrink=0)
    assert cell[0] == drug[0] == 0 and cell.any() and drug.any()
    assert np.isfinite(cell).all() and np.isfinite(drug).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_predictions_that_are_not_finite_are_refused(world, wrong):
    benchmark, split = world
    p = np.zeros(len(split.test))
    p[3] = wrong
    with pytest.raises(DataError, match="1 not finite"):
        tasks.score(benchmark, split, p)
    with pytest.raises(DataError, match="shape"):
        tasks.score(benchmark, split, p[:-1])


def test_affinities_are_scored_per_protein_and_per_drug_and_without_bounds(affinities):
    split = data.make_split(affinities, "mixed")
    y = affinities.y[split.test]
    p = y + rng.normal(size=len(y))
    found = tasks.score(affinities, split, p)
    right = [
        1.0 if a[1] > b[1] else 0.5 if a[1] == b[1] else 0.0
        for a in zip(y, p, strict=True)
        for b in zip(y, p, strict=True)
        if a[0] > b[0]
    ]
    assert found["ci"] == pytest.approx(np.mean(right))
    bound = affinities.censored[split.test]
    assert 0.1 < found["censored"] < 0.6 and found["censored"] == bound.mean()
    assert found["mse_measured"] == pytest.approx(np.mean((y - p)[~bound] ** 2))
    assert found["rmse_measured"] == pytest.approx(np.sqrt(found["mse_measured"]))
    for column, name in ((0, "protein"), (1, "drug")):
        label = affinities.pairs[split.test, column]
        values = [
            metrics.concordance(y[label == entity], p[label == entity])
            for entity in np.unique(label)
            if (label == entity).sum() >= metrics.FEWEST
        ]
        assert found[f"ci_per_{name}"] == pytest.approx(
            np.nanmean(values) if values else np.nan, nan_ok=True
        )
    assert set(tasks.of(affinities).reported) <= set(found)


def test_assays_are_scored_one_by_one(assays):
    split = data.make_split(assays, "molecule_blind")
    y = assays.y[split.test]
    p = rng.random(len(y)) + 0.3 * y
    found = tasks.score(assays, split, p)
    label = assays.pairs[split.test, 1]
    areas = [
        roc_auc_score(y[label == assay], p[label == assay])
        for assay in np.unique(label)
        if len(set(y[label == assay])) == 2 and (label == assay).sum() >= metrics.FEWEST
    ]
    assert len(areas) > 3 and found["auroc_per_assay"] == pytest.approx(np.mean(areas))
    assert found["auroc"] == pytest.approx(roc_auc_score(y, p)) and found["auroc"] > 0.5
    assert 0 <= found["ece_per_assay"] <= 1 and "rmse" not in found and "censored" not in found


def test_selection_is_by_error_or_by_rank_inside_new_drugs(world):
    benchmark, mixed = world
    for kind in ("mixed", "drug_blind", "tissue_blind", "scaffold_blind", "both_blind"):
        split = mixed if kind == "mixed" else data.make_split(benchmark, kind)
        y, (_, drug) = benchmark.y[split.valid], benchmark.pairs[split.valid].T
        p = y + rng.normal(size=len(y))
        found = tasks.selection_score(benchmark, split, p)
        if kind in ("mixed", "tissue_blind"):
            assert found == metrics.rmse(y, p)
        else:
            assert found == -metrics.per_group(y, p, drug)
        better = tasks.selection_score(benchmark, split, y + 0.1 * (p - y))
        assert better < found


def test_selection_of_labels_is_by_the_area_inside_assays(assays):
    split = data.make_split(assays, "molecule_blind")
    y, assay = assays.y[split.valid], assays.pairs[split.valid, 1]
    p = rng.random(len(y))
    expected = -metrics.per_group(y, p, assay, metrics.auroc)
    assert tasks.selection_score(assays, split, p) == expected
    assert tasks.selection_score(assays, split, y) == -1.0


@pytest.mark.parametrize(
    "name, kind, headline",
    [
        ("response", "mixed", "rmse"),
        ("response", "cell_blind", "rmse"),
        ("response", "tissue_blind", "rmse"),
        ("response", "drug_blind", "pcc_per_drug"),
        ("response", "pathway_blind", "pcc_per_drug"),
        ("response", "both_blind", "pcc_per_drug"),
        ("affinity", "drug_blind", "rmse"),
        ("labels", "molecule_blind", "auroc_per_assay"),
        ("retrieval", "mixed", "top1_per_query"),
    ],
)
def test_the_headline_depends_on_what_is_held_out(name, kind, headline):
    task = tasks.get(name)
    assert task.headline(kind) == task.selection(kind) == headline


def test_names_come_from_the_sides(affinities):
    renamed = Benchmark(
        "toy",
        (side("kinase", 30), side("inhibitor", 25)),
        affinities.pairs,
        affinities.y,
        affinities.censored,
        task="affinity",
    )
    task = tasks.of(renamed)
    assert {"ci_per_kinase", "pcc_per_inhibitor"} <= set(task.metrics)
    boot = tasks.bootstrap_of(renamed, draws=5)
    assert boot.names == ("kinase", "inhibitor") and boot.resampled == boot.names
    assert tasks.get("affinity").resampled == ("protein", "drug")
    own = side("cell", 9), side("drug", 8, family=list("aabbccdd"))
    keyed = table("response", *own, lambda pairs, random: random.normal(size=len(pairs)))
    assert tasks.of(keyed).headline("family_blind") == "pcc_per_drug"


def test_what_is_reported_can_be_drawn_again(world, affinities, assays):
    for benchmark, kind in ((world[0], "mixed"), (affinities, "mixed"), (assays, "mixed")):
        task, split = tasks.of(benchmark), data.make_split(benchmark, kind)
        boot = tasks.bootstrap_of(benchmark, draws=200)
        pairs, y = benchmark.pairs[split.test], benchmark.y[split.test]
        p = y + rng.normal(size=len(y))
        draws = boot.statistics(pairs, y, p, task.reported)
        weights = boot.weights(pairs, task.reported, y)
        point = tasks.score(benchmark, split, p)
        for name in task.reported:
            if np.isnan(point[name]):
                continue
            pooled = tasks.pool([draws[name]], [weights[name]])
            low, high = tasks.interval(pooled)
            assert low <= point[name] <= high, (task.name, name)
            assert tasks.draws_used(pooled) == (weights[name] > 0).sum()
            assert tasks.draws_used(pooled) > (100 if "_per_" in name else 190)


@pytest.mark.parametrize("kind", ["mixed", "both_blind"])
def test_runs_on_other_tables_are_summarised(affinities, assays, tmp_path, kind):
    for benchmark in (affinities, assays):
        configs = [
            records.RunConfig(dataset=benchmark.name, split=kind, model=model, fold=fold)
            for model in ("column_mean", "als")
            for fold in (0, 1)
        ]
        for config in configs:
            records.run(config, tmp_path, benchmark=benchmark)
        found = records.summarise(configs, tmp_path, benchmark=benchmark).metrics
        for name in tasks.of(benchmark).reported:
            value = found["models"]["als"][name]
            if value is None:  # no entity of a fold has enough pairs
                assert "_per_" in name
                continue
            low, high = found["models"]["als"][f"{name}_interval"]
            assert low <= value <= high, name
            used = found["models"]["als"][f"{name}_draws_used"]
            assert found["differences"][0][name]["draws_used"] == used > 500
            assert used == 1000 or kind != "mixed" or "_per_" in name


def test_assays_stay_and_molecules_are_drawn(assays):
    boot = tasks.bootstrap_of(assays, draws=20)
    assert (boot.counts[1] == 1).all() and boot.counts[0].std() > 0


def test_unknown_tasks_and_tasks_of_the_same_name_are_refused(affinities):
    with pytest.raises(DataError, match="unknown task 'toxicity'"):
        tasks.get("toxicity")
    with pytest.raises(DataError, match="there is a task 'labels' already"):
        tasks.register(tasks.Task("labels", "?", ("rmse",), ("rmse",), "rmse"))
    with pytest.raises(DataError, match="unknown metric 'accuracy'"):
        tasks.register(tasks.Task("other", "?", ("accuracy",), ("rmse",), "rmse"))
    assert "other" not in tasks.TASKS and tasks.register(tasks.get("labels")) is not None


def test_retrieval_against_a_loop():
    similarity, label = np.round(rng.normal(size=(40, 40)), 1), rng.integers(0, 15, 40)
    found = tasks.retrieve(similarity, label[:, None] == label[None], k=(1, 3))
    for k in (1, 3):
        hits = []
        for query in range(40):
            order = np.array([np.lexsort([rng.random(40), -similarity[query]]) for _ in range(200)])
            hits.append((label[order[:, :k]] == label[query]).any(1).mean())
        assert found[f"top{k}"] == pytest.approx(np.mean(hits), abs=0.02)
    assert tasks.retrieve(np.zeros((20, 20)), k=(1,)) == {"top1": pytest.approx(1 / 20)}
    assert tasks.retrieve(np.eye(5), k=(1,)) == {"top1": 1.0}


def test_retrieval_of_nonsense_is_refused():
    with pytest.raises(DataError, match="queries, candidates"):
        tasks.retrieve(np.zeros((3, 4)))
    with pytest.raises(DataError, match="not finite"):
        tasks.retrieve(np.full((3, 3), np.nan))
    with pytest.raises(DataError, match="no query has a right candidate"):
        tasks.retrieve(np.zeros((3, 3)), np.zeros((3, 3), dtype=bool))


# --- Every metric against scipy, scikit-learn or a plain loop: ties, constants, tiny groups, gaps


metrics_rng = np.random.default_rng(0)
few = st.sampled_from([0.0, 1.0, 2.0, -1.5])  # values that tie often
wide = st.floats(-100, 100, allow_nan=False).map(lambda value: round(value, 4))


@st.composite
def measured_and_predicted(draw, least=2):
    """[n] measured and [n] predicted values, with or without many ties."""
    n = draw(st.integers(least, 30))
    return tuple(
        np.array(draw(st.lists(draw(st.sampled_from([few, wide])), min_size=n, max_size=n)))
        for _ in range(2)
    )


@st.composite
def labelled(draw, least=1):
    """[n] labels of 0 and 1 and [n] scores in [0, 1], with or without many ties."""
    n = draw(st.integers(least, 40))
    y = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    score = draw(st.sampled_from([st.integers(0, 4).map(lambda v: v / 4), st.floats(0, 1)]))
    return np.array(y, dtype=float), np.array(draw(st.lists(score, min_size=n, max_size=n)))


def concordance_by_pairs(y, p):
    """All pairs of examples, one by one, as GraphDTA's code counts them."""
    right = pairs = 0.0
    for i in range(len(y)):
        for j in range(len(y)):
            if y[i] > y[j]:
                pairs += 1
                right += 1.0 if p[i] > p[j] else 0.5 if p[i] == p[j] else 0.0
    return right / pairs if pairs else np.nan


def rm2_by_regression(y, p):
    """Least squares with and without an intercept."""
    r2 = stats.linregress(p, y).rvalue ** 2
    k = np.linalg.lstsq(p[:, None], y, rcond=None)[0][0]
    r02 = 1 - ((y - k * p) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    return r2 * (1 - np.sqrt(abs(r2**2 - r02**2)))


@given(measured_and_predicted())
def test_errors_equal_scikit_learn(both):
    y, p = both
    assert METRICS["rmse"](y, p) == pytest.approx(np.sqrt(mean_squared_error(y, p)))
    assert METRICS["mse"](y, p) == pytest.approx(mean_squared_error(y, p))
    assert METRICS["mae"](y, p) == pytest.approx(mean_absolute_error(y, p))
    if np.ptp(y):
        assert METRICS["r2"](y, p) == pytest.approx(r2_score(y, p))
    else:
        assert METRICS["r2"](y, p) == 0.0


@given(measured_and_predicted())
def test_correlations_equal_scipy_and_are_zero_of_a_constant(both):
    y, p = both
    constant = not np.ptp(y) or not np.ptp(p)
    if constant:
        assert METRICS["pcc"](y, p) == METRICS["spearman"](y, p) == 0.0
    else:
        assume(min(np.std(y), np.std(p)) > 1e-3)
        assert METRICS["pcc"](y, p) == pytest.approx(stats.pearsonr(y, p)[0], abs=1e-9)
        assert METRICS["spearman"](y, p) == pytest.approx(stats.spearmanr(y, p)[0], abs=1e-9)


@given(measured_and_predicted())
def test_concordance_counts_pairs_as_the_drug_target_code_does(both):
    y, p = both
    found = METRICS["ci"](y, p)
    assert found == pytest.approx(concordance_by_pairs(y, p), abs=1e-12, nan_ok=True)
    if np.ptp(y):
        assert METRICS["ci"](y, -p) == pytest.approx(1 - found, abs=1e-12)
        assert METRICS["ci"](y, np.ones(len(y))) == 0.5
        assert METRICS["ci"](y, y) == 1.0


def test_concordance_is_quick_and_exact_on_many():
    y, p = (
        np.round(metrics_rng.normal(size=200_000), 2),
        np.round(metrics_rng.normal(size=200_000), 1),
    )
    y[:50_000] = 5.0  # a pile of bounds, as in Davis
    found = METRICS["ci"](y, p)
    rows = metrics_rng.integers(0, len(y), (2, 2_000_000))
    a, b = y[rows[0]], y[rows[1]]
    order = np.sign(p[rows[0]] - p[rows[1]])
    sampled = np.mean((0.5 + 0.5 * order * np.sign(a - b))[a != b])
    assert found == pytest.approx(sampled, abs=3e-3) and 0.49 < found < 0.51


@given(measured_and_predicted(least=3))
def test_rm2_equals_two_regressions(both):
    y, p = both
    if not np.ptp(y) or not np.ptp(p):
        assert METRICS["rm2"](y, p) == 0.0
        return
    assume(min(np.std(y), np.std(p)) > 1e-2 and abs(stats.pearsonr(y, p)[0]) > 1e-6)
    assert METRICS["rm2"](y, p) == pytest.approx(rm2_by_regression(y, p), abs=1e-6)


@given(labelled())
def test_areas_equal_scikit_learn_and_are_missing_without_both_labels(both):
    y, p = both
    if 0 < y.sum() < len(y):
        assert METRICS["auroc"](y, p) == roc_auc_score(y, p)
    else:
        assert np.isnan(METRICS["auroc"](y, p))
    if y.any():
        assert METRICS["auprc"](y, p) == average_precision_score(y, p)
    else:
        assert np.isnan(METRICS["auprc"](y, p))


@given(labelled())
def test_calibration_error_equals_a_loop_over_bins(both):
    y, p = both
    expected = 0.0
    for low, high in zip(np.linspace(0, 1, 16)[:-1], np.linspace(0, 1, 16)[1:], strict=True):
        rows = (p >= low) & ((p < high) | (high == 1))
        if rows.any():
            expected += rows.mean() * abs(y[rows].mean() - p[rows].mean())
    assert METRICS["ece"](y, p) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_of_what_is_no_probability_is_that_of_the_nearest():
    y = np.array([0.0, 1, 1])
    assert METRICS["ece"](y, np.array([-0.2, 1.3, 1.0])) == 0.0
    assert METRICS["ece"](y, np.array([1.5, 1.5, 1.5])) == pytest.approx(1 / 3)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31), st.booleans())
def test_top_k_equals_breaking_ties_at_random(n, k, seed, ties):
    r = np.random.default_rng(seed)
    y = r.permutation(np.arange(n) < r.integers(1, n + 1)).astype(float)
    p = r.integers(0, 3, n).astype(float) if ties else r.permutation(n).astype(float)
    found = metrics.top_k(k)(y, p)
    hits = []
    for _ in range(400 if ties else 1):
        order = np.lexsort([r.random(n), -p])
        hits.append(y[order[:k]].any())
    assert found == pytest.approx(np.mean(hits), abs=0.13 if ties else 0)
    assert found in (0.0, 1.0) or ties


def test_top_k_of_many_queries_equals_scikit_learn():
    scores = metrics_rng.normal(size=(50, 12))
    right = metrics_rng.integers(0, 12, 50)
    y = (np.arange(12) == right[:, None]).astype(float)
    query = np.repeat(np.arange(50), 12)
    for k, name in ((1, "top1"), (5, "top5"), (10, "top10")):
        found = evaluate(
            y.ravel(), scores.ravel(), {"query": query}, [f"{name}_per_query"], fewest=1
        )
        expected = top_k_accuracy_score(right, scores, k=k, labels=np.arange(12))
        assert found[f"{name}_per_query"] == pytest.approx(expected)


def test_labels_that_are_not_zero_or_one_are_refused():
    for name in ("auroc", "auprc", "ece", "top1"):
        with pytest.raises(DataError, match=r"label .*2\.0.* is neither 0 nor 1"):
            METRICS[name](np.array([0.0, 1.0, 2.0]), np.array([0.1, 0.2, 0.3]))


@given(measured_and_predicted(), st.integers(1, 6), st.integers(1, 4))
def test_per_group_equals_a_loop(both, groups, fewest):
    y, p = both
    group = np.array([f"g{(7 * i * i) % groups}" for i in range(len(y))])
    for name in ("pcc", "rmse", "ci"):
        values = []
        for label in sorted(set(group)):
            rows = np.flatnonzero(group == label)
            if len(rows) >= fewest and not (name == "ci" and not np.ptp(y[rows])):
                values.append(METRICS[name](y[rows], p[rows]))
        expected = np.mean(values) if values else np.nan
        found = per_group(y, p, group, METRICS[name].function, fewest)
        assert found == pytest.approx(expected, nan_ok=True)
        named = evaluate(y, p, {"drug": group}, [f"{name}_per_drug"], fewest=fewest)
        assert named[f"{name}_per_drug"] == pytest.approx(expected, nan_ok=True)


def test_groups_that_do_not_define_a_metric_do_not_count():
    y, p = np.array([0, 1, 0, 1, 1.0]), np.array([0.1, 0.9, 0.8, 0.7, 0.6])
    group = np.array([0, 0, 1, 1, 2])
    assert per_group(y, p, group, METRICS["auroc"].function, fewest=1) == pytest.approx(0.5)
    assert np.isnan(per_group(y[4:], p[4:], group[4:], METRICS["auroc"].function, fewest=1))


def test_evaluate_names_what_it_computes():
    y, p = metrics_rng.normal(size=30), metrics_rng.normal(size=30)
    group = np.repeat(np.arange(5), 6)
    found = evaluate(y, p, {"drug": group})
    assert list(found) == [
        "rmse",
        "mae",
        "r2",
        "pcc",
        "spearman",
        "pcc_per_drug",
        "spearman_per_drug",
    ]
    assert found["spearman_per_drug"] == pytest.approx(
        np.mean([stats.spearmanr(y[group == g], p[group == g])[0] for g in range(5)])
    )
    assert evaluate(list(y), list(p.astype(np.float32)), metrics=["rmse"])["rmse"] == (
        pytest.approx(np.sqrt(np.mean((y - p) ** 2)), abs=1e-6)
    )


@pytest.mark.parametrize(
    "y, p, options, message",
    [
        ([1.0, 2.0], [1.0, np.nan], {}, "1 not finite"),
        ([1.0, np.inf], [1.0, 2.0], {}, "all finite"),
        ([1.0, 2.0], [1.0], {}, r"shape \(1,\)"),
        ([[1.0], [2.0]], [[1.0], [2.0]], {}, "shape"),
        ([], [], {}, "no value to score"),
        ([1.0, 2.0], [1.0, 2.0], {"metrics": ["accuracy"]}, "unknown metric 'accuracy'"),
        ([1.0, 2.0], [1.0, 2.0], {"metrics": ["pcc_per_drug"]}, "groups are: none"),
        (
            [1.0, 2.0],
            [1.0, 2.0],
            {"metrics": ["pcc_per_drug"], "groups": {"drug": np.zeros(3)}},
            "one label of 'drug' for each of 2 values",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused(y, p, options, message):
    with pytest.raises(DataError, match=message):
        evaluate(y, p, **options)


@settings(max_examples=30)
@given(measured_and_predicted(least=6))
def test_every_direction_is_right(both):
    """A perfect prediction is never worse than another, by the direction in the table."""
    y, p = both
    assume(np.ptp(y))
    labels = (y > np.median(y)).astype(float)
    assume(labels.any())
    for metric in METRICS.values():
        truth = labels if metric.name in ("auroc", "auprc", "ece", "top1", "top5", "top10") else y
        best, other = metric(truth, truth), metric(truth, p)
        if metric.name == "rm2" and best < 1:
            continue  # of values around zero even the truth has no line through the origin
        assert metric.gain(best - other) >= -1e-9, metric.name


def test_a_name_in_a_record_leads_to_its_metric():
    assert find("spearman_per_cell") is METRICS["spearman"]
    assert find("rmse_measured") is METRICS["rmse"] and find("r2_normalised") is METRICS["r2"]
    assert find("rmse").gain(-0.2) == 0.2 and find("pcc_per_drug").gain(-0.2) == -0.2
    np.testing.assert_array_equal(find("mae").gain(np.array([1.0, -1.0])), [-1.0, 1.0])
    with pytest.raises(DataError, match="unknown metric 'loss'"):
        find("loss")
    assert all(metric.name == name for name, metric in METRICS.items())
    assert isinstance(METRICS["ece"], Metric) and METRICS["ece"].unit == ""
