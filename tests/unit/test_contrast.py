"""The contrastive primitive against a plain loop, scipy, an open implementation, and its limits."""

import math
import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import logsumexp
from torch.nn import functional as F

from clmt_lib import data
from clmt_lib.data.response import simulated
from clmt_lib.io import DataError
from clmt_lib.nn import contrast
from clmt_lib.nn.contrast import (
    Temperature,
    alignment_uniformity,
    info_nce,
    multi_view,
    rank_of_positive,
    soft_alignment,
)
from clmt_lib.nn.encoders import Tower
from clmt_lib.nn.heads import LossOutput
from clmt_lib.training import TrainConfig, train
from clmt_lib.views import molecules, text
from clmt_lib.views.omics import fit_omics

N, DIM = 9, 5
VARIANTS = [(both, positive) for both in (True, False) for positive in (True, False)]
TWINS = torch.eye(N, dtype=torch.bool)
TWINS[2, 5] = TWINS[5, 2] = True


def draw(n=N, dim=DIM, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, dim))).float()


A, B = draw(), draw(seed=1) + draw()
KNOWN = torch.tensor([True, True, False, True, True, True, False, True, True])


def by_loop(a, b, temperature, same=None, both=True, positive=True):
    """The definition in plain Python floats."""

    def cosine(x, y):
        return sum(p * q for p, q in zip(x, y)) / math.sqrt(
            sum(p * p for p in x) * sum(q * q for q in y)
        )

    a, b, total = a.tolist(), b.tolist(), 0.0
    for x, y in ((a, b), (b, a))[: 2 if both else 1]:
        for i in range(len(x)):
            rivals = [j for j in range(len(y)) if j != i and not (same is not None and same[i, j])]
            partner = cosine(x[i], y[i]) / temperature
            below = sum(math.exp(cosine(x[i], y[j]) / temperature) for j in rivals) + (
                math.exp(partner) if positive else 0.0
            )
            total += math.log(below) - partner if below else 0.0
    return total / (len(a) * (2 if both else 1))


@pytest.mark.parametrize("both, positive", VARIANTS)
@pytest.mark.parametrize("temperature", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("same", [None, TWINS])
def test_each_variant_equals_a_plain_loop(both, positive, temperature, same):
    found = info_nce(A, B, temperature, same=same, both=both, positive=positive)
    assert found.item() == pytest.approx(by_loop(A, B, temperature, same, both, positive), abs=2e-5)


@pytest.mark.parametrize("both, positive", VARIANTS)
def test_each_variant_equals_scipy(both, positive):
    a, b = (np.float64(F.normalize(z, dim=1)) for z in (A, B))
    s = a @ b.T / 0.2
    below = s if positive else np.where(np.eye(N, dtype=bool), -np.inf, s)
    ways = [logsumexp(below, axis=axis) - s.diagonal() for axis in (1, 0)]
    assert info_nce(A, B, 0.2, both=both, positive=positive).item() == pytest.approx(
        np.mean(ways if both else ways[0]), abs=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("both", [True, False])
def test_equals_an_open_implementation(both):
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    directions = ("query_to_doc", "doc_to_query") if both else ("query_to_doc",)
    theirs = losses.MultipleNegativesRankingLoss(
        torch.nn.Identity(), scale=5.0, directions=directions, partition_mode="per_direction"
    )
    reference = theirs.compute_loss_from_embeddings([A, B], None)
    assert info_nce(A, B, 0.2, both=both).item() == pytest.approx(reference.item(), abs=1e-5)


def test_the_published_loss_and_infonce_are_one_function_of_the_other():
    a, b = A[:2], B[:2]  # two entities, one direction: the mean of two terms
    for i in range(2):
        order = torch.tensor([i, 1 - i])
        s = F.normalize(a[order], dim=1) @ F.normalize(b[order], dim=1).T / 0.3
        without = s[0, 1] - s[0, 0]
        assert F.softplus(without).item() == pytest.approx(
            (s[0].logsumexp(0) - s[0, 0]).item(), abs=1e-6
        )
    assert info_nce(a, b, 0.3, both=False) > info_nce(a, b, 0.3, both=False, positive=False)


def test_without_the_positive_the_loss_falls_below_zero_to_its_floor_and_infonce_never_does():
    simplex = torch.eye(6) - 1 / 6  # six vectors as far apart as six can be
    floor = math.log(5) - 6 / (5 * 0.1)
    assert (
        info_nce(simplex, simplex, 0.1, positive=False).item() == pytest.approx(floor, abs=1e-4)
        and floor < -10
    )
    assert info_nce(simplex, simplex, 0.1).item() == pytest.approx(
        math.log1p(math.exp(floor)), abs=1e-6
    )
    for seed in range(20):
        assert info_nce(draw(6, 6, seed), draw(6, 6, seed), 0.1, positive=False) > floor
        assert info_nce(draw(6, 6, seed), draw(6, 6, seed), 0.1) >= 0


def test_the_pull_on_a_found_positive_fades_only_with_the_positive_in_the_denominator():
    pull = {}
    for positive in (True, False):
        a = (torch.eye(4) + 0.05 * draw(4, 4)).requires_grad_()
        info_nce(a, torch.eye(4), 0.05, positive=positive).backward()
        pull[positive] = a.grad.norm().item()
    assert pull[True] < 1e-5 < 1e-1 < pull[False]


def test_copies_of_an_entity_in_a_batch_lift_the_floor_to_log_of_their_number():
    copies = torch.eye(4).repeat_interleave(
        3, dim=0
    )  # four entities, three rows each, perfectly embedded
    assert info_nce(copies, copies, 0.02).item() == pytest.approx(math.log(3), abs=1e-5)
    owner = torch.arange(4).repeat_interleave(3)
    same = owner[:, None] == owner[None]
    assert info_nce(copies, copies, 0.02, same=same).item() == pytest.approx(0, abs=1e-5)
    assert info_nce(torch.eye(4), torch.eye(4), 0.02).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("both, positive", VARIANTS)
def test_a_twin_is_no_negative(both, positive):
    b = B.clone()
    b[5] = b[2]
    moved = b.clone()
    moved[5] = -b[2]
    keep = torch.arange(N) != 5  # rows other than the moved one
    weight = [
        info_nce(A[keep], z[keep], 0.2, same=TWINS[keep][:, keep], both=both, positive=positive)
        for z in (b, moved)
    ]
    assert weight[0] == weight[1]
    apart = torch.eye(2)
    assert info_nce(
        apart,
        apart.flip(0),
        0.2,
        same=torch.ones(2, 2, dtype=torch.bool),
        both=both,
        positive=positive,
    ).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("both, positive", VARIANTS)
def test_an_anchor_whose_rivals_are_all_twins_gives_finite_gradients(both, positive):
    a = A.clone().requires_grad_()
    everyone = torch.ones(N, N, dtype=torch.bool)
    loss = info_nce(a, B, 0.2, same=everyone, both=both, positive=positive)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6) and torch.isfinite(a.grad).all()


@pytest.mark.parametrize("both, positive", VARIANTS)
def test_masked_entities_change_nothing_and_get_no_gradient(both, positive):
    def loss(a, b):
        return info_nce(a, b, 0.2, KNOWN, TWINS, both=both, positive=positive)

    a, b = A.clone(), B.clone()
    b[~KNOWN] = 0.0  # a missing text is a row of zeros, where the slope of a normalisation is huge
    a.requires_grad_()
    b.requires_grad_()
    loss(a, b).backward()
    assert (
        (a.grad[~KNOWN] == 0).all()
        and (b.grad[~KNOWN] == 0).all()
        and (a.grad[KNOWN] != 0).any(1).all()
    )
    assert (
        loss(A, B)
        == loss(A, torch.where(KNOWN[:, None], B, 100.0))
        == loss(torch.where(KNOWN[:, None], A, -3.0), B)
    )
    assert loss(A, B).item() == pytest.approx(
        by_loop(A[KNOWN], B[KNOWN], 0.2, TWINS[KNOWN][:, KNOWN], both, positive), abs=1e-5
    )


@pytest.mark.parametrize("both, positive", VARIANTS)
def test_the_order_of_entities_does_not_matter(both, positive):
    order = torch.from_numpy(np.random.default_rng(3).permutation(N))
    before = info_nce(A, B, 0.2, KNOWN, TWINS, both=both, positive=positive)
    after = info_nce(
        A[order], B[order], 0.2, KNOWN[order], TWINS[order][:, order], both=both, positive=positive
    )
    assert after.item() == pytest.approx(before.item(), abs=1e-5)


def test_direction_matters_only_one_way():
    assert info_nce(A, B, 0.2).item() == pytest.approx(info_nce(B, A, 0.2).item(), abs=1e-6)
    one = [info_nce(*pair, 0.2, both=False).item() for pair in ((A, B), (B, A))]
    assert abs(one[0] - one[1]) > 1e-3 and np.mean(one) == pytest.approx(
        info_nce(A, B, 0.2).item(), abs=1e-6
    )


@pytest.mark.parametrize("both, positive", VARIANTS)
@pytest.mark.parametrize("n", [0, 1])
def test_nobody_to_compare_with_is_zero_and_differentiable(n, both, positive):
    a = A.clone().requires_grad_()
    loss = info_nce(a, B, known=torch.arange(N) < n, both=both, positive=positive)
    loss.backward()
    assert loss.item() == 0 and (a.grad == 0).all()


def test_soft_targets_that_are_hard_are_infonce():
    assert soft_alignment(A, B, torch.eye(N), 0.2).item() == pytest.approx(
        info_nce(A, B, 0.2).item(), abs=1e-5
    )
    assert soft_alignment(A, B, torch.eye(N), 0.2, KNOWN).item() == pytest.approx(
        info_nce(A, B, 0.2, KNOWN).item(), abs=1e-5
    )


def test_soft_targets_equal_a_plain_sum_and_are_rescaled_to_the_known():
    likeness = draw(N, N, seed=4)
    targets = (likeness + likeness.T).softmax(1)
    for known in (None, KNOWN):
        rows = slice(None) if known is None else known
        a, b = (np.float64(F.normalize(z[rows], dim=1)) for z in (A, B))
        t, s = np.float64(targets[rows][:, rows]), a @ b.T / 0.3
        t /= t.sum(1, keepdims=True)
        want = 0.5 * sum(
            -(t * (x - logsumexp(x, axis=1, keepdims=True))).sum(1).mean() for x in (s, s.T)
        )
        assert soft_alignment(A, B, targets, 0.3, known).item() == pytest.approx(want, abs=1e-5)


def test_soft_alignment_is_smallest_where_the_softmax_of_the_cosines_is_the_target():
    z = F.normalize(draw(6, 3), dim=1)
    logits = z @ z.T / 0.3
    targets = logits.softmax(1)
    entropy = -(targets * targets.log()).sum(1).mean()
    assert soft_alignment(z, z, targets, 0.3).item() == pytest.approx(entropy.item(), abs=1e-5)
    assert soft_alignment(z, draw(6, 3, seed=5), targets, 0.3) > entropy + 0.1


def test_soft_alignment_leaves_unknown_rows_without_gradient():
    b = torch.where(KNOWN[:, None], B, 0.0).requires_grad_()
    soft_alignment(A, b, torch.full((N, N), 1 / N), 0.2, KNOWN).backward()
    assert (b.grad[~KNOWN] == 0).all() and (b.grad[KNOWN] != 0).any()
    assert soft_alignment(A, B, torch.eye(N), known=torch.arange(N) < 1).item() == 0


def test_rank_counts_who_is_nearer_than_the_partner():
    cosine = (F.normalize(A, dim=1) @ F.normalize(B, dim=1).T).tolist()
    want = [1 + sum(row[j] > row[i] for j in range(N) if j != i) for i, row in enumerate(cosine)]
    assert rank_of_positive(A, B).tolist() == want
    fewer = [
        1 + sum(row[j] > row[i] for j in range(N) if j != i and not TWINS[i, j])
        for i, row in enumerate(cosine)
    ]
    assert rank_of_positive(A, B, same=TWINS).tolist() == fewer
    assert rank_of_positive(A, B, KNOWN).tolist() == rank_of_positive(A[KNOWN], B[KNOWN]).tolist()


def test_views_that_are_all_alike_rank_at_chance_not_at_the_top():
    alike = (
        torch.ones(N, DIM) * torch.linspace(1, 3, N)[:, None]
    )  # one direction, different lengths
    assert rank_of_positive(A, alike).tolist() == [(N + 1) / 2] * N
    two = torch.cat([B[:1], B[:1], B[2:]])
    assert (rank_of_positive(two, two)[:2] == 1.5).all()  # a tie at the top is shared


def test_alignment_and_uniformity_equal_their_definitions():
    a, b = (np.float64(F.normalize(z, dim=1)) for z in (A, B))
    gap, spread = alignment_uniformity(A, B)
    assert gap == pytest.approx(((a - b) ** 2).sum(1).mean(), abs=1e-5)
    pairs = np.triu_indices(N, 1)
    want = [np.log(np.exp(-2 * ((z[:, None] - z[None]) ** 2).sum(2)[pairs]).mean()) for z in (a, b)]
    assert spread == pytest.approx(np.mean(want), abs=1e-5)
    assert alignment_uniformity(torch.ones(4, 3), torch.ones(4, 3)) == pytest.approx(
        (0, 0), abs=1e-6
    )


VIEWS = {"a": A, "b": B, "c": draw(seed=2)}
HAVE = {"a": KNOWN, "c": torch.arange(N) != 4}


def test_many_views_are_the_sum_over_their_pairs_with_who_has_both():
    one = partial(info_nce, temperature=0.2, same=TWINS)
    both = KNOWN & HAVE["c"]
    expected = {
        ("a", "b"): one(A, B, known=KNOWN),
        ("a", "c"): one(A, VIEWS["c"], known=both),
        ("b", "c"): one(B, VIEWS["c"], known=HAVE["c"]),
    }
    found = multi_view(VIEWS, HAVE, TWINS, loss=partial(info_nce, temperature=0.2))
    assert found.item() == pytest.approx(sum(expected.values()).item(), abs=1e-6)
    for pairs in ([("a", "c")], [("a", "b"), ("a", "c")], []):
        some = multi_view(VIEWS, HAVE, TWINS, pairs, partial(info_nce, temperature=0.2))
        assert some.item() == pytest.approx(float(sum(expected[p] for p in pairs)), abs=1e-6)
    assert multi_view({"a": A, "b": B}) == info_nce(A, B)  # two views of everybody


def test_many_views_take_soft_targets_and_other_variants():
    targets = draw(N, N, seed=7).softmax(1)
    soft = partial(soft_alignment, targets=targets, temperature=0.2)
    assert multi_view({"a": A, "b": B}, HAVE, loss=soft) == soft_alignment(
        A, B, targets, 0.2, KNOWN
    )
    coded = partial(info_nce, both=False, positive=False)
    assert multi_view({"a": A, "b": B}, None, TWINS, loss=coded) == coded(A, B, same=TWINS)


def test_a_missing_view_gets_no_gradient_from_any_pair():
    z = {name: value.clone().requires_grad_() for name, value in VIEWS.items()}
    multi_view(z, HAVE).backward()
    for name, have in HAVE.items():
        assert not z[name].grad[~have].any() and z[name].grad[have].any(1).all()


@pytest.mark.parametrize("pairs", ["some", [("a", "d")], [("a", "b"), ("a", "a")]])
def test_pairs_of_views_that_are_not_there_are_named(pairs):
    name = repr(pairs if pairs == "some" else pairs[-1])
    with pytest.raises(DataError, match=re.escape(f"no pair of views {name}")):
        multi_view(VIEWS, pairs=pairs)


def test_a_learnt_temperature_has_the_gradient_of_its_logarithm_and_a_floor():
    temperature = Temperature(0.3, least=0.05)
    info_nce(A, B, temperature()).backward()
    step = 1e-3
    slope = [info_nce(A, B, 0.3 * math.exp(-sign * step)).item() for sign in (1, -1)]
    assert temperature.log_scale.grad.item() == pytest.approx(
        (slope[0] - slope[1]) / (2 * step), rel=1e-2
    )
    with torch.no_grad():
        temperature.log_scale.fill_(100.0)
    assert temperature().item() == pytest.approx(0.05)
    coldest = Temperature()
    with torch.no_grad():
        coldest.log_scale.fill_(100.0)
    assert coldest().item() == pytest.approx(0.01)
    with pytest.raises(DataError, match="temperature of 0.01"):
        Temperature(0.01, least=0.05)


def play(shuffled=False, everyone=False):
    """The game of chapter 05 on two of its five parts: ranks of (training, held-out) drugs, and the
    number of held-out candidates.
    """
    world = data.load("simulated")
    sentences, bits = (
        text.describe_drugs(world.drugs),
        molecules.fingerprints(world.drugs, bits=1024),
    )
    drugs = np.flatnonzero(~world.drugs["compound"].duplicated())
    wording = pd.Series(sentences).iloc[drugs].factorize()[0]
    views = [
        torch.tensor(x[drugs] * scale).float()
        for x, scale in ((bits, 3), (text.encode(sentences), 10))
    ]
    part, out = np.random.default_rng(0).permutation(len(drugs)) % 5, ([], [])
    for i in range(2):
        rows, held = np.flatnonzero(everyone | (part != i)), np.flatnonzero(part == i)
        order = np.arange(len(drugs))
        if shuffled:
            order[rows] = np.random.default_rng(0).permutation(rows)
        same = torch.from_numpy(wording[order][:, None] == wording[order][None])
        a, b = views[0], views[1][order]

        def loss(towers):
            value = info_nce(towers[0](a[rows]), towers[1](b[rows]), 0.2, same=same[rows][:, rows])
            return LossOutput(value, {"loss": value.detach()})

        towers, _ = train(
            lambda: torch.nn.ModuleList(Tower(x.shape[1], 64, 32) for x in (a, b)),
            loss,
            TrainConfig(60, evaluate_every=60),
        )
        with torch.inference_mode():
            for ranks, which in zip(out, (rows, held), strict=True):
                ranks.append(
                    rank_of_positive(
                        towers[0](a[which]), towers[1](b[which]), same=same[which][:, which]
                    ).numpy()
                )
    return *map(np.concatenate, out), len(held)


def test_chapter_05_learns_partners_memorises_shuffled_ones_and_a_leak_finds_all():
    places = {}
    for name, options in {
        "aligned": {},
        "shuffled": {"shuffled": True},
        "leak": {"everyone": True},
    }.items():
        training, held, pool = play(**options)
        assert np.mean(training == 1) == pytest.approx(
            0.94, abs=0.08
        )  # whatever the partners, training drugs are learnt by heart
        places[name] = ((held - 1) / (pool - 1)).mean()
    assert (
        places["aligned"] == pytest.approx(0.32, abs=0.1)
        and places["shuffled"] == pytest.approx(0.5, abs=0.14)
        and places["leak"] < 0.03
    )


def test_chapter_05_alignment_with_a_tissue_sentence_keeps_the_tissue_and_loses_the_rest():
    world = data.load("simulated")
    split = data.make_split(world, "cell_blind")
    rows, held = (np.unique(world.pairs[role, 0]) for role in (split.train, split.test))
    sentences = text.describe_cells(world.cells)
    views = [
        torch.tensor(x).float()
        for x in (fit_omics(world, split)(world), 10 * text.encode(sentences))
    ]
    same = torch.from_numpy(np.array(sentences)[rows][:, None] == np.array(sentences)[rows][None])

    def build():
        return torch.nn.ModuleList(Tower(x.shape[1], 64, 32) for x in views)

    def loss(towers):
        value = info_nce(
            *(tower(x[rows]) for tower, x in zip(towers, views, strict=True)), 0.2, same=same
        )
        return LossOutput(value, {"loss": value.detach()})

    def read_off(z, values):
        z = (z - z[rows].mean(0)) / (z[rows].std(0) + 1e-6)
        kernel = z @ z.T / z.shape[1]
        weights = np.linalg.solve(
            kernel[np.ix_(rows, rows)] + 0.3 * np.eye(len(rows)),
            values[rows] - values[rows].mean(0),
        )
        return values[rows].mean(0) + kernel[:, rows] @ weights

    tissue = world.cells["tissue"].factorize()[0]
    one_hot = np.eye(tissue.max() + 1)[tissue]
    states = simulated.truth().latents.to_numpy()
    rest = states - read_off(one_hot * 100, states)
    knows = []
    for steps in (0, 60):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            towers = (
                train(build, loss, TrainConfig(60, evaluate_every=60))[0]
                if steps
                else build().eval()
            )
        with torch.inference_mode():
            z = towers[0](views[0]).double().numpy()
        beyond = np.mean(
            [
                np.corrcoef(a, b)[0, 1]
                for a, b in zip(rest[held].T, read_off(z, rest)[held].T, strict=True)
            ]
        )
        knows.append((np.mean(read_off(z, one_hot)[held].argmax(1) == tissue[held]), beyond))
    (tissue_before, rest_before), (tissue_after, rest_after) = knows
    assert tissue_after > 0.95 > tissue_before + 0.2
    assert rest_after == pytest.approx(0.19, abs=0.12) and rest_before > rest_after + 0.05


def test_the_defaults_are_those_of_the_recorded_runs_and_an_entity_is_no_pair_with_itself():
    torch.manual_seed(0)
    z, y, target = torch.randn(5, 3), torch.randn(5), torch.rand(5, 5).softmax(1)
    soft = contrast.soft_alignment(z, z.flip(0), target)
    assert soft == contrast.soft_alignment(z, z.flip(0), target, 0.1)
    assert contrast.rank_n_contrast(z, y) == contrast.rank_n_contrast(z, y, 2.0)
    known, similarity = torch.ones(5, dtype=torch.bool), torch.rand(5, 5)
    found = contrast.response_alignment(z, similarity, known)
    similarity.fill_diagonal_(-1.0)
    assert torch.isclose(found, contrast.response_alignment(z, similarity, known))
