"""The bootstrap against plain loops that draw the pairs one by one; folds pooled; intervals."""

import numpy as np
import pytest
from scipy import stats

from clmt_lib import tasks
from clmt_lib.io import DataError
from clmt_lib.tasks.bootstrap import Bootstrap, draws_used, interval, pool, with_interval
from clmt_lib.tasks.metrics import FEWEST, METRICS, mae, mse, pearson, per_group, rmse

rng = np.random.default_rng(0)


def drawn(pairs, counts, draw):
    """[m] rows of a table as often as both entities of their pair were drawn, one by one."""
    rows = []
    for row, entities in enumerate(pairs):
        times = 1
        for side, entity in enumerate(entities):
            times *= int(counts[side][draw][entity])
        rows += [row] * times
    return np.array(rows, dtype=int)


def per_entity(pairs, counts, draw, side, y, p, statistic):
    """Mean over entities drawn, each as often as it was: in each, the pairs whose *other* entity
    was drawn. Entities with too few pairs in the table, too few drawn (a correlation needs two), or
    without a value do not count.
    """
    least = 2 if statistic in (pearson, METRICS["rm2"].function, METRICS["r2"].function) else 1
    other, values = 1 - side, []
    for entity in range(counts[side].shape[1]):
        own = [row for row in range(len(pairs)) if pairs[row][side] == entity]
        rows = [row for row in own for _ in range(int(counts[other][draw][pairs[row][other]]))]
        if len(own) < FEWEST or len(rows) < least:
            continue
        value = statistic(y[rows], p[rows])
        values += [value] * int(counts[side][draw][entity]) if np.isfinite(value) else []
    return np.mean(values) if values else np.nan


def table(seed, shape=(12, 5), density=0.6):
    """A random small table in which some entities have fewer pairs than count."""
    r = np.random.default_rng(seed)
    pairs = np.argwhere(r.random(shape) < density * r.random(shape[1])[None, :] * 1.6)
    y = r.normal(size=len(pairs)) + pairs[:, 1]
    return pairs, y, y + r.normal(size=len(pairs))


@pytest.mark.parametrize("seed", range(6))
def test_every_draw_equals_drawing_pairs_one_by_one(seed):
    pairs, y, p = table(seed)
    boot = Bootstrap((12, 5), draws=40, seed=seed)
    names = ("rmse", "pcc", "pcc_per_drug", "pcc_per_cell", "mae", "mse", "rmse_per_drug")
    found = boot.statistics(pairs, y, p, names)
    for draw in range(40):
        rows = drawn(pairs, boot.counts, draw)
        if not len(rows):
            assert all(np.isnan(found[name][draw]) for name in names)
            continue
        expected = {
            "rmse": rmse(y[rows], p[rows]),
            "pcc": pearson(y[rows], p[rows]),
            "pcc_per_drug": per_entity(pairs, boot.counts, draw, 1, y, p, pearson),
            "pcc_per_cell": per_entity(pairs, boot.counts, draw, 0, y, p, pearson),
            "mae": mae(y[rows], p[rows]),
            "mse": mse(y[rows], p[rows]),
            "rmse_per_drug": per_entity(pairs, boot.counts, draw, 1, y, p, rmse),
        }
        for name, value in expected.items():
            assert found[name][draw] == pytest.approx(value, nan_ok=True), (name, draw)


def test_a_drug_of_which_no_line_was_drawn_does_not_count():
    r = np.random.default_rng(9)
    pairs = np.array([(c, d) for d in range(6) for c in r.permutation(40)[:5]])
    y, p = r.normal(size=30), r.normal(size=30)
    boot = Bootstrap((40, 6), draws=200, seed=9)
    found = boot.statistics(pairs, y, p, ["rmse_per_drug", "pcc_per_drug"])
    without = 0
    for draw in range(200):
        drawn_lines = [boot.counts[0][draw][pairs[pairs[:, 1] == d, 0]].sum() for d in range(6)]
        without += 0 in drawn_lines
        for name, statistic in (("rmse_per_drug", rmse), ("pcc_per_drug", pearson)):
            expected = per_entity(pairs, boot.counts, draw, 1, y, p, statistic)
            assert found[name][draw] == pytest.approx(expected, nan_ok=True)
    assert without > 3


RANKED = ("auroc", "auprc", "ece", "ci", "rm2", "r2")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
def test_rank_metrics_of_every_draw_equal_drawing_pairs_one_by_one(seed, ties):
    pairs, y, p = table(seed, density=0.8)
    labels, p = (y > 2).astype(float), 1.4 / (1 + np.exp(-p)) - 0.2  # some are no probability
    if ties:
        y, p = np.round(y), np.round(p, 1)
    boot = Bootstrap((12, 5), draws=25, seed=seed)
    for name in RANKED:
        truth, function = (y if name in ("ci", "rm2", "r2") else labels), METRICS[name].function
        names = [name, f"{name}_per_drug", f"{name}_per_cell"]
        found = boot.statistics(pairs, truth, p, names)
        weights = boot.weights(pairs, names, truth)
        for draw in range(25):
            rows = drawn(pairs, boot.counts, draw)
            expected = {
                name: function(truth[rows], p[rows]) if len(rows) else np.nan,
                f"{name}_per_drug": per_entity(pairs, boot.counts, draw, 1, truth, p, function),
                f"{name}_per_cell": per_entity(pairs, boot.counts, draw, 0, truth, p, function),
            }
            for asked, value in expected.items():
                assert found[asked][draw] == pytest.approx(value, nan_ok=True), (asked, draw)
                assert (weights[asked][draw] == 0) == np.isnan(value), (asked, draw)


def test_rank_metrics_in_small_parts_are_the_same(monkeypatch):
    pairs, y, p = table(3)
    whole = Bootstrap((12, 5), draws=20).statistics(pairs, y, p, ["ci", "ci_per_drug"])
    monkeypatch.setattr("clmt_lib.tasks.bootstrap.AT_ONCE", 100)
    monkeypatch.setattr("clmt_lib.tasks.bootstrap.BLOCK", 7)
    parts = Bootstrap((12, 5), draws=20).statistics(pairs, y, p, ["ci", "ci_per_drug"])
    for name, values in whole.items():
        np.testing.assert_array_equal(values, parts[name])


def test_retrieval_draws_queries_again():
    r = np.random.default_rng(3)
    pairs = np.argwhere(np.ones((30, 12)))
    y, p = (r.integers(0, 12, 30)[:, None] == np.arange(12)).astype(float).ravel(), r.random(360)
    y[:12] = 0  # a query without a right candidate
    boot = Bootstrap((30, 12), 50, 1, ("query", "candidate"), ("query",), fewest=1)
    found = boot.statistics(pairs, y, p, ["top1_per_query"])["top1_per_query"]
    each = np.array([METRICS["top1"](*part) for part in zip(y.reshape(30, 12), p.reshape(30, 12))])
    counts = boot.counts[0][:, 1:]
    np.testing.assert_allclose(found, (counts * each[1:]).sum(1) / counts.sum(1))
    both = Bootstrap((30, 12), 50, 1, ("query", "candidate"), fewest=1)
    with pytest.raises(DataError, match="no bootstrap of 'top1_per_query'"):
        both.statistics(pairs, y, p, ["top1_per_query"])
    with pytest.raises(DataError, match="need y"):
        boot.weights(pairs, ["top1_per_query"])


def test_a_drug_with_too_few_pairs_never_counts_and_one_drawn_twice_counts_twice():
    def correlated(r):
        half = np.arange(6.0)
        other = np.array([1.0, -1, 1, -1, 1, -1])
        other -= half * (half @ other) / (half @ half)
        return half, r * half / np.std(half) + np.sqrt(1 - r * r) * other / np.std(other)

    pairs = np.array([(c, d) for d in range(2) for c in range(6)] + [(c, 2) for c in range(4)])
    y, p = np.zeros(len(pairs)), np.zeros(len(pairs))
    y[:6], p[:6] = correlated(0.9)
    y[6:12], p[6:12] = correlated(-0.3)
    y[12:], p[12:] = np.arange(4.0), -np.arange(4.0)  # r of -1, in fewer than FEWEST pairs
    boot = Bootstrap((6, 3), draws=300, seed=1)
    boot.counts = (np.ones((300, 6)), boot.counts[1])  # only drugs are drawn
    found = boot.statistics(pairs, y, p, ["pcc_per_drug"])["pcc_per_drug"]
    r = [pearson(y[:6], p[:6]), pearson(y[6:12], p[6:12])]
    times = boot.counts[1][:, :2]
    with np.errstate(invalid="ignore"):
        expected = (times * r).sum(1) / times.sum(1)
    assert {2.0} <= set(times[:, 0]) and np.isnan(expected).any()
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_draws_are_those_of_earlier_records():
    """Draws of entities are compared with draws kept in records: their order must never change."""
    random = np.random.default_rng(0)
    boot = Bootstrap((7, 4))
    for counts, n in zip(boot.counts, (7, 4), strict=True):
        np.testing.assert_array_equal(counts, random.multinomial(n, np.full(n, 1 / n), 1000))


def test_an_empty_draw_is_empty_in_every_metric():
    boot = Bootstrap((20, 8), draws=400, seed=2)
    pairs = np.array([(c, d) for c in range(20) for d in (0, 5)])
    found = boot.statistics(pairs, rng.normal(size=40), rng.normal(size=40))
    empty = boot.counts[1][:, [0, 5]].sum(1) == 0
    assert 0 < empty.sum() < 400
    for name, values in found.items():
        np.testing.assert_array_equal(np.isnan(values), empty, err_msg=name)
    for name, weights in boot.weights(pairs).items():
        np.testing.assert_array_equal(weights == 0, empty, err_msg=name)


def folds_of_two_drugs():
    """Two folds of six drugs and one of two, as in a small drug-blind split."""
    r = np.random.default_rng(5)
    folds = [range(6), range(6, 12), range(12, 14)]
    pairs = [np.array([(c, d) for c in range(15) for d in drugs]) for drugs in folds]
    y = [r.normal(size=len(fold)) for fold in pairs]
    return pairs, y, [values + r.normal(size=len(values)) for values in y]


def test_a_fold_of_two_drugs_loses_no_draw():
    pairs, y, p = folds_of_two_drugs()
    boot = Bootstrap((15, 14), draws=500, seed=4)
    draws = [boot.statistics(*fold) for fold in zip(pairs, y, p, strict=True)]
    weights = [boot.weights(fold) for fold in pairs]
    assert min(draws_used(fold["rmse"]) for fold in draws) < 450  # some folds were not drawn
    as_it_is = Bootstrap((15, 14), draws=1)
    as_it_is.counts = (np.ones((1, 15)), np.ones((1, 14)))
    for name, statistic in (
        ("rmse", rmse),
        ("pcc", pearson),
        ("pcc_per_drug", lambda y, p: per_group(y, p, np.arange(len(y)) % (len(y) // 15))),
    ):
        pooled = pool([fold[name] for fold in draws], [fold[name] for fold in weights])
        assert draws_used(pooled) == 500
        reported = np.mean([statistic(*fold) for fold in zip(y, p, strict=True)])
        low, high = interval(pooled)
        assert low < reported < high, name
        same = pool(
            [as_it_is.statistics(*fold)[name] for fold in zip(pairs, y, p, strict=True)],
            [as_it_is.weights(fold)[name] for fold in pairs],
        )
        assert same[0] == pytest.approx(reported), name


def test_pooled_per_drug_r_equals_a_plain_loop_over_folds_and_drugs():
    pairs, y, p = folds_of_two_drugs()
    boot = Bootstrap((15, 14), draws=30, seed=6)
    draws = [boot.statistics(*fold)["pcc_per_drug"] for fold in zip(pairs, y, p, strict=True)]
    shares = [boot.weights(fold)["pcc_per_drug"] for fold in pairs]
    alike = [boot.weights(fold, relative=False)["pcc_per_drug"] for fold in pairs]
    for draw in range(30):
        sums = np.zeros((2, 2))
        for fold, a, b in zip(pairs, y, p, strict=True):
            drugs = np.unique(fold[:, 1])
            for drug in drugs:
                rows = drawn(fold[fold[:, 1] == drug], boot.counts, draw)
                times = boot.counts[1][draw, drug]
                if not times:
                    continue
                own = np.flatnonzero(fold[:, 1] == drug)
                r = pearson(a[own][rows], b[own][rows])
                sums += np.outer([times / len(drugs), times], [r, 1])
        expected = sums[:, 0] / sums[:, 1]
        assert pool(draws, shares)[draw] == pytest.approx(expected[0])
        assert pool(draws, alike)[draw] == pytest.approx(expected[1])


def test_with_one_drug_a_fold_pooling_is_the_plain_bootstrap_of_drugs():
    boot = Bootstrap((9, 6), draws=50, seed=8)
    pairs = [np.array([(c, d) for c in range(9)]) for d in range(6)]
    error = np.arange(1.0, 7.0)  # every pair of drug d is wrong by d + 1
    draws = [
        boot.statistics(fold, np.full(9, error[d]), np.zeros(9))["rmse"]
        for d, fold in enumerate(pairs)
    ]
    found = pool(draws, [boot.weights(fold)["rmse"] for fold in pairs])
    np.testing.assert_allclose(found, boot.counts[1] @ error / 6)


def test_pooling_refuses_weights_of_something_else():
    with pytest.raises(DataError, match="of which something was drawn"):
        pool([[np.nan, 1.0]], [[1.0, 1.0]])
    with pytest.raises(DataError, match="shape"):
        pool([[1.0, 1.0]], [[1.0]])
    assert np.isnan(pool([[1.0, 2.0]], [[0.0, 1.0]])).tolist() == [True, False]


def test_unknown_metrics_and_pairs_are_refused():
    boot = Bootstrap((3, 3), draws=2)
    with pytest.raises(DataError, match="no bootstrap of 'pcc_per_tissue'"):
        boot.weights(np.zeros((4, 2), dtype=int), ["pcc_per_tissue"])
    with pytest.raises(DataError, match="pairs of shape"):
        boot.weights(np.zeros(4, dtype=int))
    with pytest.raises(DataError, match="give every side a name"):
        Bootstrap((3, 3), resampled=["protein"])


def test_one_side_alone_is_the_plain_bootstrap_of_items():
    y, p = rng.normal(size=25), rng.normal(size=25)
    boot = Bootstrap((25,), draws=20, seed=3, names=("molecule",))
    found = boot.statistics(np.arange(25), y, p, ["rmse", "pcc"])
    for draw in range(20):
        rows = np.repeat(np.arange(25), boot.counts[0][draw].astype(int))
        assert found["rmse"][draw] == pytest.approx(rmse(y[rows], p[rows]))
        assert found["pcc"][draw] == pytest.approx(stats.pearsonr(y[rows], p[rows])[0])


def test_a_side_that_is_not_resampled_stays_as_it_is():
    boot = Bootstrap((30, 4), draws=10, names=("molecule", "assay"), resampled=("molecule",))
    assert (boot.counts[1] == 1).all() and boot.counts[0].std() > 0
    np.testing.assert_array_equal(boot.counts[0], Bootstrap((30, 4), draws=10).counts[0])


def test_interval_leaves_empty_draws_out_and_says_so():
    values = np.append(np.arange(100.0), np.nan)
    assert with_interval(values) == {"interval": interval(values[:-1]), "draws_used": 100}
    assert np.isnan(interval([np.nan])).all() and draws_used([np.nan]) == 0
    hundredths = np.linspace(0, 100, 1001)  # the percentiles are the values themselves
    assert np.allclose(interval(hundredths), [2.5, 97.5], atol=1e-9)
    assert np.allclose(interval(hundredths, level=0.5), [25, 75], atol=1e-9)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    inside = 0
    for seed in range(60):
        r = np.random.default_rng(seed)
        pairs = np.array([(c, d) for c in range(40) for d in range(20)])
        error = (
            r.normal(size=40)[pairs[:, 0]]
            + r.normal(size=20)[pairs[:, 1]]
            + r.normal(size=len(pairs))
        )
        boot = tasks.Bootstrap((40, 20), 200, seed)
        low, high = interval(boot.statistics(pairs, error, np.zeros(len(pairs)))["rmse"])
        inside += low <= np.sqrt(3) <= high
    assert 48 <= inside <= 60  # 95 % nominal, 60 worlds


def _null(rng, boot, pairs, weights, spread):
    """(entities' interval, gaps) of two models that differ in the luck of their trainings alone:
    on each of five folds each training is off by its own amount, in every line and every drug.
    """
    gaps, draws = [], []
    lines, drugs = (len(counts[0]) for counts in boot.counts)
    y = rng.normal(size=len(pairs))
    for _ in range(5):
        values, shifted = [], []
        for _ in range(2):
            off = spread * (rng.normal() + rng.normal(size=lines)[pairs[:, 0]])
            off = off + spread * rng.normal(size=drugs)[pairs[:, 1]]
            predicted = y + rng.normal(0, 0.5, len(y)) + off
            values.append(float(np.sqrt(((predicted - y) ** 2).mean())))
            shifted.append(boot.statistics(pairs, y, predicted, ["rmse"])["rmse"])
        gaps.append(values[1] - values[0])
        draws.append(shifted[1] - shifted[0])
    return tasks.interval(tasks.pool(np.stack(draws), np.stack([weights] * 5))), gaps


def test_an_interval_holds_nothing_as_often_as_it_promises():
    """Of two hundred comparisons of nothing with nothing, about ten may leave zero out."""
    rng, boot = np.random.default_rng(0), tasks.Bootstrap((40, 12), draws=100)
    pairs = np.argwhere(np.ones((40, 12)))
    weights = boot.weights(pairs, ["rmse"])["rmse"]
    for spread in (0.0, 0.3):
        found = [_null(rng, boot, pairs, weights, spread) for _ in range(200)]
        clear = [tasks.judge(*one).word in ("better", "worse") for one in found]
        alone = [not low <= 0 <= high for (low, high), _ in found]
        assert np.mean(clear) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
        if spread:  # the bootstrap of entities alone does not know the luck of a training
            assert np.mean(alone) > 0.1 > np.mean(clear)


def test_an_effect_of_the_smallest_visible_size_is_found_four_times_in_five():
    rng, error, found = np.random.default_rng(1), 0.01, []
    half = 1.96 * error
    smallest = tasks.judge((-half, half), 3).smallest
    for _ in range(4000):
        middle = rng.normal(-smallest, error)
        found.append(tasks.judge((middle - half, middle + half), 3).word == "better")
    assert np.mean(found) == pytest.approx(0.8, abs=0.02)


def test_the_wider_of_two_intervals_decides_and_a_margin_is_of_the_base():
    gaps = [-0.01, -0.02, -0.03, -0.02]
    by_luck = tasks.luck(gaps)
    t = stats.ttest_1samp(gaps, 0).confidence_interval()
    assert by_luck == pytest.approx([t.low, t.high])
    told = tasks.judge((-0.03, -0.015), gaps)
    assert (told.low, told.high) == (min(-0.03, by_luck[0]), max(-0.015, by_luck[1]))
    assert tasks.judge((-0.01, 0.012), 5, "rmse", base=1.3).word == "equivalent"
    assert tasks.judge((-0.01, 0.012), 5, "rmse", base=1.0).word == "no difference found"
    assert "smallest we could have seen: 0.016" in str(tasks.judge((-0.01, 0.012), 5))
