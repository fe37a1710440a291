"""Every metric against scipy, scikit-learn or a plain loop: ties, constants, tiny groups, gaps."""

import numpy as np
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

from clmt_lib.io import DataError
from clmt_lib.tasks import metrics
from clmt_lib.tasks.metrics import METRICS, Metric, evaluate, find, per_group

rng = np.random.default_rng(0)
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
    y, p = np.round(rng.normal(size=200_000), 2), np.round(rng.normal(size=200_000), 1)
    y[:50_000] = 5.0  # a pile of bounds, as in Davis
    found = METRICS["ci"](y, p)
    rows = rng.integers(0, len(y), (2, 2_000_000))
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
    scores = rng.normal(size=(50, 12))
    right = rng.integers(0, 12, 50)
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
    y, p = rng.normal(size=30), rng.normal(size=30)
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
