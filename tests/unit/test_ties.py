"""Ties are broken by rule: exact ties (identical drugs, identical texts, equal scores on the
validation set) are chosen the same way when their last bits are others, as they are elsewhere.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clmt_lib import data, models
from clmt_lib.models import stack
from clmt_lib.models.base import TableModel, cosine, improves
from clmt_lib.models.clmt.auxiliary import peaks, smooth
from clmt_lib.views import base as views
from clmt_lib.views import geometry
from clmt_lib.views.molecules import fingerprints, jaccard
from clmt_lib.views.structure import nearest, ranked
from clmt_lib.views.text import describe_drugs, encode

SEEDS = st.integers(0, 10_000)


def jittered(values, seed, size=1e-15):
    """The values with other last bits."""
    values = np.asarray(values, dtype=float)
    return values * (1 + size * np.random.default_rng(seed).uniform(-1, 1, values.shape))


@pytest.fixture(scope="module")
def world():
    """A small simulated benchmark, and a split of random pairs."""
    benchmark = data.load("simulated", cells=60)
    return benchmark, data.make_split(benchmark, "mixed")


@given(seed=SEEDS, levels=st.lists(st.integers(0, 3), min_size=2, max_size=30))
def test_equal_scores_keep_their_order_whatever_their_last_bits(seed, levels):
    scores = np.array([0.1, 1 / 3, 2 / 3, 0.7])[levels]
    rule = sorted(range(len(levels)), key=lambda i: (-levels[i], i))
    assert ranked(scores).tolist() == ranked(jittered(scores, seed)).tolist() == rule


def test_ranked_puts_what_is_missing_last_and_works_along_the_last_axis():
    scores = np.array([[0.2, -np.inf, 0.9], [0.5, 0.5, 0.4]])
    assert ranked(scores).tolist() == [[2, 0, 1], [0, 1, 2]]


@given(seed=SEEDS)
def test_nearest_of_identical_drugs_are_the_first_ones(seed):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, 14)  # three structures, each several times
    similarity = cosine(rng.normal(size=(3, 8))[kinds])
    known = np.ones(14, dtype=bool)
    edges, weight = nearest(similarity, known, 4)
    again, weight_again = nearest(jittered(similarity, seed), known, 4)
    assert np.array_equal(edges, again) and np.allclose(weight, weight_again, atol=1e-12)
    for drug in range(14):
        twins = np.setdiff1d(np.flatnonzero(kinds == kinds[drug]), drug)
        assert edges[0][edges[1] == drug][: len(twins)].tolist() == twins[:4].tolist()


def test_real_texts_and_structures_that_are_the_same_rank_by_position(world):
    benchmark, _ = world
    drugs = benchmark.drugs.iloc[np.repeat(np.arange(8), 3)]  # each drug three times
    for similarity in (cosine(encode(describe_drugs(drugs))), jaccard(fingerprints(drugs))):
        order = ranked(similarity)
        assert all(sorted(row[:3]) == list(row[:3]) for row in order)
        assert np.array_equal(order, ranked(jittered(similarity, 1)))
        assert np.array_equal(order[::3], order[1::3])  # twins see the same order


@given(seed=SEEDS)
def test_meta_features_of_identical_columns_do_not_hang_on_last_bits(seed):
    rng = np.random.default_rng(seed)
    kinds, row, column = rng.integers(0, 4, 20), rng.integers(0, 6, 40), rng.integers(0, 20, 40)
    similar = np.corrcoef(rng.normal(size=(4, 9))[kinds])
    seen, target = rng.random((6, 20)) < 0.8, rng.normal(size=(6, 20))
    plain = stack.neighbour_features(similar, seen, target, row, column)
    other = stack.neighbour_features(jittered(similar, seed), seen, target, row, column)
    assert all(np.allclose(a, b, atol=1e-9) for a, b in zip(plain, other, strict=True))


def test_of_equal_candidates_the_first_is_kept(world):
    benchmark, split = world
    table = np.random.default_rng(0).normal(size=(benchmark.n_cells, benchmark.n_drugs))
    for seed in range(10):
        equal = [({"number": i}, jittered(table, 10 * seed + i), {}) for i in range(4)]
        assert TableModel.choose(Kept(), benchmark, split, equal).chosen == {"number": 0}
    better = [*equal, ({"number": 9}, benchmark.matrix(), {})]
    assert TableModel.choose(Kept(), benchmark, split, better).chosen == {"number": 9}


class Kept(TableModel):
    """A model of tables that are given."""

    def fit(self, benchmark, split):
        """Nothing to learn."""
        return self


def test_a_real_gain_counts_and_the_last_bits_do_not():
    assert improves(1.0, None) and improves(1.0 - 1e-6, 1.0)
    assert not improves(1.0, 1.0) and not improves(1.0 - 1e-15, 1.0) and not improves(1.1, 1.0)


@pytest.mark.parametrize("name", ["als", "ridge_per_drug"])
def test_settings_that_are_given_twice_are_chosen_once_everywhere(world, name):
    """The same candidate twice: the first is kept, with responses of other last bits, too."""
    benchmark, split = world
    settings = {"als": {"ranks": (2, 2), "ridges": (3.0,)}, "ridge_per_drug": {}}[name]
    chosen = [
        models.build(name, **settings).fit(replace_y(benchmark, seed), split).chosen
        for seed in (None, 1, 2)
    ]
    assert chosen[0] == chosen[1] == chosen[2]


def replace_y(benchmark, seed):
    """The benchmark with other last bits in its responses."""
    if seed is None:
        return benchmark
    return replace(benchmark, y=jittered(benchmark.y, seed))


@pytest.mark.parametrize("kind", ["mixed", "cell_blind", "drug_blind", "scaffold_blind"])
def test_splits_do_not_read_the_responses(world, kind):
    benchmark, _ = world
    split, other = (data.make_split(replace_y(benchmark, seed), kind) for seed in (None, 3))
    for part in ("train", "valid", "test"):
        assert np.array_equal(getattr(split, part), getattr(other, part))


def test_columns_that_vary_as_much_are_kept_from_the_left(world):
    benchmark, split = world
    side, rows = benchmark.sides[0], np.unique(benchmark.pairs[split.train, 0])
    x = np.asarray(side.views["expression"], dtype=float)
    many = np.concatenate([x, x[:, ::-1]], axis=1)  # every column twice
    kept = [
        views.Ranged("expression", most=7)
        .fit(replace(side, views={"expression": table}), rows)
        .kept
        for table in (many, *(jittered(many, seed) for seed in range(4)))
    ]
    assert all(np.array_equal(kept[0], other) for other in kept)
    assert (kept[0] < x.shape[1]).sum() == 4  # three pairs of twins, and the left one of a fourth


def test_of_shapes_with_one_energy_the_first_is_kept(monkeypatch):
    """A rigid molecule: every conformer relaxes to the same minimum, to the last bits."""
    rigid = "O=c1[nH]cc(F)c(=O)[nH]1"
    first, four = (geometry.conformer(rigid, conformers=count)[0] for count in (1, 4))
    assert np.array_equal(first, four)
    found = []
    for above in ([0, 0, 0, 0], [3e-8, 2e-8, 1e-8, 0], [1e-8, 0, 3e-8, 2e-8], [0, 0, -0.01, 0]):
        energies = -20 + np.array(above)
        monkeypatch.setattr(geometry, "_energies", lambda *about: energies)
        found.append(geometry.conformer(rigid, conformers=4)[0])
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
    assert not np.array_equal(found[0], found[3])  # an energy that is lower


@given(seed=SEEDS)
def test_the_mode_of_a_density_of_two_equal_peaks_is_the_first(seed):
    grid, density = smooth(np.repeat([-2.0, 3.0], 50))
    equal = (density + density[::-1]) / 2  # the same to the left and to the right
    assert peaks(grid, equal, -2.0) == peaks(grid, jittered(equal, seed), -2.0)
    assert peaks(grid, jittered(equal, seed), -2.0)[0] < 0
