"""The kernel-head network against references that know nothing of it: refits, finite differences,
plain solves.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from clmt_lib import data, models
from clmt_lib.audit import proves_blind
from clmt_lib.data.response import simulated
from clmt_lib.data.response.auxiliary import (
    ANNOTATIONS,
    CULTURE,
    DETAILS,
    read_culture,
    with_culture,
)
from clmt_lib.io import DataError
from clmt_lib.models.kernel_head import KernelHead, _culture_kernels, _dealt
from clmt_lib.nn.kernel_ridge import WeightedKernels, press_residuals

BLIND = ("cell_blind", "drug_blind")


@pytest.fixture(scope="module")
def world():
    """The simulated world, its lines with facts of culture, half of the doubling times missing."""
    names = list(dict.fromkeys(simulated.facts()["name"]))[:40]
    world = data.load("simulated", cells=50, drugs=names)
    rng, lines = np.random.default_rng(0), world.sides[0]
    facts = pd.DataFrame(rng.integers(0, 2, (50, 5)).astype(float), lines.ids, list(CULTURE))
    facts[CULTURE[-1]] = np.where(rng.random(50) < 0.5, np.nan, rng.normal(4, 0.5, 50))
    return world.with_sides(replace(lines, views={**lines.views, "culture": facts}))


def built(kind, **settings):
    return models.build("kernel_head", kind, **{"steps": 4, **settings})


def some_kernels(n, views, seed=0):
    """[views, n, n] positive definite kernels of random features."""
    x = np.random.default_rng(seed).normal(size=(views, n, 5))
    return np.exp(-((x[:, :, None] - x[:, None]) ** 2).sum(-1) / 5)


def refitted(kernel, ridge, y, block):
    """Residuals of a block of rows under a ridge fitted on the other rows."""
    rest = np.setdiff1d(np.arange(len(y)), block)
    dual = np.linalg.solve(kernel[np.ix_(rest, rest)] + ridge * np.eye(len(rest)), y[rest])
    return y[block] - kernel[np.ix_(block, rest)] @ dual


@pytest.mark.parametrize("blocks", [[[i] for i in range(8)], [[0, 3, 5], [1, 7], [2, 4, 6]]])
def test_press_equals_refits_without_the_block(blocks):
    """Eight lines one by one, and dealt into uneven blocks: the closed form is the refit."""
    kernel, y = some_kernels(8, 1)[0], np.random.default_rng(1).normal(size=(8, 3))
    found = press_residuals(
        *(torch.from_numpy(part) for part in (kernel, np.array(0.7), y)),
        [torch.tensor(block) for block in blocks],
    ).numpy()
    for block in blocks:
        assert np.allclose(found[block], refitted(kernel, 0.7, y, block), atol=1e-12)


def test_the_gradient_of_every_constant_is_that_of_finite_differences():
    kernels, rng = torch.from_numpy(some_kernels(8, 3)), np.random.default_rng(2)
    parts = [torch.from_numpy(rng.normal(size=(8, 4))) for _ in range(2)]
    blocks = [torch.tensor([0, 5, 6]), torch.tensor([1, 2]), torch.tensor([3, 4, 7])]
    net = WeightedKernels([0.4, 0.2, 0.3], [0.5, 2.0])

    def loss(log_weight, log_ridge):
        values = {"log_weight": log_weight, "log_ridge": log_ridge}
        made = torch.func.functional_call(net, values, ())
        return made

    net.forward = lambda: (net.held_out(kernels, parts, blocks) ** 2).mean()
    assert torch.autograd.gradcheck(loss, (net.log_weight, net.log_ridge))


def test_blocks_keep_groups_whole_and_deal_out_every_row():
    groups = np.array([0, 1, 2, 1, 3, 0, 4, 4])
    blocks = [part.numpy() for part in _dealt(groups, 3, np.random.default_rng(0))]
    assert sorted(np.concatenate(blocks)) == list(range(8)) and len(blocks) == 3
    for group in range(5):
        assert (
            sum(bool(np.isin(np.flatnonzero(groups == group), part).any()) for part in blocks) == 1
        )


@pytest.mark.parametrize("kind", BLIND)
def test_the_loss_of_the_start_is_that_of_refits_group_by_group(world, kind):
    """The first loss of a training, from plain solves without each block."""
    split = data.make_split(world, kind)
    model = built(kind).fit(world, split)
    problem = model._problem(world, split)
    rng, among = np.random.default_rng(0), np.ix_(problem.known, problem.known)
    blocks = [
        part.numpy() for part in _dealt(model._groups(world, split, problem), model.blocks, rng)
    ]
    fresh = built(kind, steps=1, learning_rate=0.0).fit(world, split)
    start = fresh.constants
    left = problem.target - start["share"] * problem.states[problem.known]
    u, s, vt = np.linalg.svd(problem.target, full_matrices=False)
    edges = [0, 1, 3, 8, 20, 50 if kind == "cell_blind" else 60, len(s)]
    edges = sorted({min(edge, len(s)) for edge in edges})
    expected = np.zeros_like(left)
    for a, ridge, i, j in zip(start["log_weight"], start["log_ridge"], edges, edges[1:]):
        kernel = sum(np.exp(w) * k[among] for w, k in zip(a, problem.kernels.values()))
        part = problem.target @ vt[i:j].T @ vt[i:j]
        for block in blocks:
            expected[block] += part[block] - refitted(kernel, np.exp(ridge), part, block)
    found = expected + start["share"] * problem.states[problem.known]
    weight = np.ones(len(problem.other))
    if kind == "cell_blind":
        weight = problem.spread[problem.other] ** 2
        weight = weight / weight.mean()
    mse = (problem.seen * weight * (found - problem.target) ** 2).sum() / problem.seen.sum()
    assert model.history[0]["mse"] == pytest.approx(mse, abs=1e-5)  # kept to five digits
    if kind == "drug_blind":
        r = [
            np.corrcoef(found[i, seen], problem.target[i, seen])[0, 1]
            for i, seen in enumerate(problem.seen.astype(bool))
        ]
        assert model.history[0]["r"] == pytest.approx(np.mean(r), abs=1e-5)


@pytest.mark.parametrize("kind", BLIND)
def test_the_table_is_a_ridge_for_each_group_of_modes(world, kind):
    """scikit-learn's kernel ridge on every group, its predictions added up."""
    from sklearn.kernel_ridge import KernelRidge

    split = data.make_split(world, kind)
    model = built(kind).fit(world, split)
    problem = model._problem(world, split)
    found = model.constants["share"] * problem.states
    modes = np.linalg.svd(problem.target, full_matrices=False)[2]
    edges = [e for e in (0, 1, 3, 8, 20, 50 if kind == "cell_blind" else 60) if e < len(modes)]
    for a, ridge, i, j in zip(
        model.constants["log_weight"],
        model.constants["log_ridge"],
        edges,
        [*edges[1:], len(modes)],
    ):
        kernel = sum(np.exp(w) * k for w, k in zip(a, problem.kernels.values()))
        known = problem.known
        ridge_of_group = KernelRidge(alpha=np.exp(ridge), kernel="precomputed")
        ridge_of_group.fit(kernel[np.ix_(known, known)], problem.target @ modes[i:j].T @ modes[i:j])
        found = found + ridge_of_group.predict(kernel[:, known])
    if kind == "drug_blind":
        found = found.T
    rows, columns = (problem.known, problem.other)[:: 1 if kind == "cell_blind" else -1]
    if kind == "cell_blind":
        own = np.ix_(np.arange(len(found)), columns)
    else:
        own = np.ix_(rows, np.arange(found.shape[1]))
    table = (model.table - problem.offset) / problem.spread
    assert np.allclose(table[own], found, atol=1e-8)


@pytest.mark.parametrize("kind", BLIND)
def test_permuted_test_responses_change_no_bit(world, kind):
    def fit(benchmark, split):
        model = built(kind).fit(benchmark, split)
        return {"state": model.state(), "history": list(model.history)}

    split = data.make_split(world, kind)
    proves_blind(fit, world, split).raise_if_leaky()
    y = world.y.copy()
    y[split.test] = np.random.default_rng(0).permutation(y[split.test])
    first, second = (built(kind).fit(b, split).table for b in (world, replace(world, y=y)))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("kind", BLIND)
def test_a_refit_keeps_the_constants_and_learns_from_more(world, kind):
    split = data.make_split(world, kind)
    model = built(kind).fit(world, split)
    before = {name: value.copy() for name, value in model.constants.items()}
    first = model.table.copy()
    model.refit(world, split)
    assert all(np.array_equal(model.constants[name], value) for name, value in before.items())
    valid = world.pairs[split.valid]
    wrong = [np.abs(t[tuple(valid.T)] - world.y[split.valid]).mean() for t in (first, model.table)]
    assert wrong[1] < wrong[0]
    model.refit(world, replace(split, valid=split.valid[:0]))
    assert np.allclose(model.table, first, atol=1e-7)


@pytest.mark.parametrize("kind", BLIND)
def test_it_comes_back_from_disk_and_knows_new_entities(world, kind, tmp_path):
    """Fitted on part of the entities; the others are asked about by another benchmark, before and
    after the disk.
    """
    split = data.make_split(world, kind)
    whole = built(kind).fit(world, split)
    axis = 0 if kind == "cell_blind" else 1
    kept = np.unique(world.pairs[np.append(split.train, split.valid), axis])
    side = world.sides[axis]
    small = replace(
        side,
        frame=side.frame.iloc[kept],
        views={name: view.iloc[kept] for name, view in side.views.items()},
        keys=side.keys.rules,
    )
    inside = np.isin(world.pairs[:, axis], kept)
    pairs = world.pairs[inside].copy()
    pairs[:, axis] = np.searchsorted(kept, pairs[:, axis])
    part = replace(
        world,
        sides=(small, world.sides[1]) if axis == 0 else (world.sides[0], small),
        pairs=pairs,
        y=world.y[inside],
        censored=world.censored[inside],
    )
    place = np.flatnonzero(inside)
    train, valid = (np.searchsorted(place, rows) for rows in (split.train, split.valid))
    model = built(kind).fit(part, replace(split, train=train, valid=valid, test=valid[:0]))
    asked = world.pairs[split.test]
    assert np.abs(model.predict(asked, world) - whole.predict(asked)).max() < 1e-6
    again = KernelHead.load(model.save(tmp_path / "model"))
    assert np.array_equal(again.predict(asked, world), model.predict(asked, world))


def test_a_line_of_which_nothing_is_known_has_no_part_in_a_kernel_of_culture(world):
    split = data.make_split(world, "cell_blind")
    target = np.nan_to_num(built("cell_blind").fit(world, split)._problem(world, split).target)
    rows = np.unique(world.pairs[split.train, 0])
    full = np.zeros((50, target.shape[1]))
    full[rows] = target
    k = _culture_kernels(world, full, rows)["doubling time"]
    lost = world.sides[0].views["culture"][CULTURE[-1]].isna().to_numpy()
    assert lost.any() and not k[lost].any() and not k[:, lost].any()
    assert np.allclose(np.diag(k)[~lost], 1) and np.linalg.eigvalsh(k).min() > -1e-10


def test_culture_facts_are_read_and_what_is_missing_is_missing(tmp_path, world):
    (tmp_path / "raw").mkdir()
    pd.DataFrame(
        {
            "Sample Name": ["A", "B", "TOTAL"],
            "COSMIC identifier": [11.0, 12.0, "TOTAL:"],
            "Screen Medium": ["D/F12", "R ", None],
            "Growth Properties": ["Adherent", None, None],
        }
    ).to_excel(tmp_path / DETAILS, index=False)
    table = pd.DataFrame(
        {"depMapID": ["ACH-1", "ACH-2", None], "Doubling.Time.Calculated.hrs": [50.0, None, 9.0]}
    )
    table.to_csv(tmp_path / ANNOTATIONS, sep="\t", index=False)
    facts, hours = read_culture(tmp_path)
    assert facts.index.tolist() == ["11", "12"] and list(facts.columns) == list(CULTURE[:-1])
    assert facts.loc["11"].tolist() == [1, 1, 0, 0]
    assert facts.loc["12", CULTURE[0]] == 0 and facts.loc["12", list(CULTURE[1:-1])].isna().all()
    assert hours.to_dict() == {"ACH-1": pytest.approx(np.log(50))}
    (tmp_path / DETAILS).write_text("no sheet")
    with pytest.raises(DataError, match="not a sheet"):
        read_culture(tmp_path)
    (tmp_path / DETAILS).unlink()
    with pytest.raises(DataError, match="no such file"):
        read_culture(tmp_path)


def test_culture_is_a_view_that_leaves_the_benchmark_as_it_was():
    plain = data.load("simulated", cells=30)
    before = plain.checksum
    told = with_culture(plain)
    assert told.sides[0].views["culture"].isna().all(axis=None)  # an invented line has no medium
    assert "culture" not in plain.sides[0].views
    assert data.load("simulated", cells=30).checksum == before
    assert with_culture(told) is told


def test_an_unknown_head_is_refused():
    with pytest.raises(DataError, match="unknown head 'both'"):
        models.build("kernel_head", head="both")
