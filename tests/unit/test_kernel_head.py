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
from clmt_lib.models.kernel_head import _culture_kernels, _dealt, _structured
from clmt_lib.nn.kernel_ridge import (
    PairSolve,
    StructureKernel,
    WeightedKernels,
    press_residuals,
)
from clmt_lib.tasks.metrics import additive_effects

BLIND = ("cell_blind", "drug_blind")
ALIGNMENTS = (("cell_blind", {"alignment": "hard"}), ("drug_blind", {"alignment": "response"}))
KINDS = ("mixed", *BLIND)
ALIGNED = "clmt_lib.models.kernel_head:AlignedKernelHead"


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
    name = ALIGNED if "alignment" in settings else "kernel_head"
    return models.build(name, kind, **{"steps": 4, **settings})


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
    scores = [torch.from_numpy(rng.normal(size=(8, k))) for k in (1, 2)]
    modes = [torch.from_numpy(rng.normal(size=(k, 4))) for k in (1, 2)]
    blocks = [torch.tensor([0, 5, 6]), torch.tensor([1, 2]), torch.tensor([3, 4, 7])]
    net = WeightedKernels([0.4, 0.2, 0.3], [0.5, 2.0])

    def loss(log_weight, log_ridge):
        values = {"log_weight": log_weight, "log_ridge": log_ridge}
        made = torch.func.functional_call(net, values, ())
        return made

    net.forward = lambda: (net.held_out(kernels, scores, modes, blocks) ** 2).mean()
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
    fresh = built(kind, steps=1, learning_rate=1e-12).fit(world, split)
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


@pytest.mark.parametrize("kind, more", [*((kind, {}) for kind in KINDS), *ALIGNMENTS])
def test_permuted_test_responses_change_no_bit(world, kind, more):
    def fit(benchmark, split):
        model = built(kind, **more).fit(benchmark, split)
        return {"state": model.state(), "history": list(model.history)}

    split = data.make_split(world, kind)
    proves_blind(fit, world, split, at_once=True).raise_if_leaky()
    y = world.y.copy()
    y[split.test] = np.random.default_rng(0).permutation(y[split.test])
    first, second = (built(kind, **more).fit(b, split).table for b in (world, replace(world, y=y)))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("kind, more", [*((kind, {}) for kind in KINDS), *ALIGNMENTS])
def test_a_refit_keeps_the_constants_and_learns_from_more(world, kind, more):
    split = data.make_split(world, kind)
    model = built(kind, **more).fit(world, split)
    before = {name: value.copy() for name, value in model.constants.items()}
    first = model.table.copy()
    model.fit_again(world, split)
    assert all(np.array_equal(model.constants[name], value) for name, value in before.items())
    valid = world.pairs[split.valid]
    wrong = [np.abs(t[tuple(valid.T)] - world.y[split.valid]).mean() for t in (first, model.table)]
    assert wrong[1] < wrong[0]
    model.fit_again(world, replace(split, valid=split.valid[:0]))
    assert np.allclose(model.table, first, atol=1e-7)


@pytest.mark.parametrize("kind, more", [*((kind, {}) for kind in BLIND), *ALIGNMENTS])
def test_it_comes_back_from_disk_and_knows_new_entities(world, kind, more, tmp_path):
    """Fitted on part of the entities; the others are asked about by another benchmark, before and
    after the disk.
    """
    split = data.make_split(world, kind)
    whole = built(kind, **more).fit(world, split)
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
    model = built(kind, **more).fit(part, replace(split, train=train, valid=valid, test=valid[:0]))
    asked = world.pairs[split.test]
    assert np.abs(model.predict(asked, world) - whole.predict(asked)).max() < 1e-6
    again = type(model).load(model.save(tmp_path / "model"))
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


def dense(k_row, k_column, target, seen, ridge):
    """Dual weights by one plain solve over the seen pairs."""
    row, column = np.nonzero(seen)
    system = k_row[np.ix_(row, row)] * k_column[np.ix_(column, column)]
    out = np.zeros(seen.shape)
    out[row, column] = np.linalg.solve(system + ridge * np.eye(len(row)), target[row, column])
    return out


def test_the_implicit_gradient_equals_autograd_through_a_dense_solve():
    rng = np.random.default_rng(4)
    seen = rng.random((6, 5)) < 0.7
    row, column = (torch.from_numpy(part) for part in np.nonzero(seen))
    target, wanted = torch.from_numpy(rng.normal(size=(2, 6, 5)))
    target = target * torch.from_numpy(seen)

    def leaves():
        k = torch.from_numpy(some_kernels(6, 1)[0]), torch.from_numpy(some_kernels(5, 1, 1)[0])
        leaf = [part.requires_grad_() for part in (*k, torch.tensor(0.4, dtype=torch.float64))]
        return leaf

    def loss(k_row, k_column, a):
        return (wanted * (k_row @ a @ k_column) ** 2).sum() + (wanted * a).sum()

    k_row, k_column, ridge = ours = leaves()
    a = PairSolve.apply(k_row, k_column, ridge, target, torch.from_numpy(seen.astype(float)), dense)
    loss(k_row, k_column, a).backward()
    k_row, k_column, ridge = plain = leaves()
    system = k_row[row][:, row] * k_column[column][:, column].T  # (K_row A K_column)
    weights = torch.linalg.solve(
        system + ridge * torch.eye(len(row), dtype=torch.float64), target[row, column]
    )
    b = torch.zeros(6, 5, dtype=torch.float64).index_put((row, column), weights)
    loss(k_row, k_column, b).backward()
    assert np.allclose(a.detach().numpy(), b.detach().numpy(), atol=1e-12)
    for own, reference in zip(ours, plain, strict=True):
        assert np.allclose(own.grad.numpy(), reference.grad.numpy(), atol=1e-10)


def test_a_structure_kernel_is_what_it_says_and_knows_nothing_of_an_entity_without_responses():
    rng = np.random.default_rng(5)
    z, views = rng.normal(size=(4, 3)), some_kernels(4, 2)
    z[2] = 0
    net = StructureKernel([0.3, 1.0, 0.05, 0.5, 0.2], 2.0, 3)
    with torch.no_grad():
        net.log_scale.copy_(torch.tensor([0.4, -0.2, 0.1]))
        found = net(torch.from_numpy(z), torch.from_numpy(views)).numpy()
    scaled = z * np.exp(0.375 * np.array([0.4, -0.2, 0.1]))
    for i in range(4):
        for j in range(4):
            size = np.linalg.norm(scaled[i]) * np.linalg.norm(scaled[j])
            alike = np.exp(2 * (scaled[i] @ scaled[j] / size - 1)) if size else 0.0
            given = 0.5 * views[0, i, j] + 0.2 * views[1, i, j]
            assert found[i, j] == pytest.approx(0.3 + alike + 0.05 * (i == j) + given)


def test_the_table_of_known_pairs_is_a_plain_solve_of_the_trained_kernels(world):
    split = data.make_split(world, "mixed")
    model = built("mixed").fit(world, split)
    table = _structured(world, split)
    k_row, k_column = model._pair_kernels(table)
    duals = dense(k_row, k_column, table.target, table.seen, np.exp(model.constants["log_ridge"]))
    mean, row, column = additive_effects(world, split.train)
    base = mean + row[:, None] + column[None]
    rest = np.where(table.seen, world.matrix(split.train) - base, 0.0)
    spread = np.sqrt((rest**2).sum(0) / table.seen.sum(0))
    found = base + spread * (k_row @ duals @ k_column)
    assert np.abs(model.table - found).max() < 1e-3  # the solver stops at a residual of 1e-5
    losses = [row["mse"] for row in built("mixed", steps=12).fit(world, split).history]
    assert np.mean(losses[-2:]) < np.mean(losses[:2])  # of the same two masks


def test_a_mask_hides_its_pairs_from_everything_that_is_read(world):
    """The structure, too, is made without the pairs that are hidden in training."""
    split = data.make_split(world, "mixed")
    part = replace(split, train=split.train[10:])
    y = world.y.copy()
    y[split.train[:10]] += 5.0
    first, second = (_structured(b, part) for b in (world, replace(world, y=y)))
    for name in ("base", "spread", "target", "factors"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    for name in ("kernels", "structure"):
        assert all(map(np.array_equal, getattr(first, name), getattr(second, name)))


@pytest.mark.parametrize("kind", BLIND)
def test_a_pair_head_asked_about_a_new_entity_says_what_it_said_when_it_was_there(world, kind):
    split = data.make_split(world, kind)
    whole = built("mixed").fit(world, split)
    axis = BLIND.index(kind)
    held = np.unique(world.pairs[split.test, axis])
    asked = [np.arange(n) for n in world.shape]
    asked[axis] = held
    found = whole.new_table(_renamed(world, axis, held), *asked)
    assert np.abs(found - whole.table[np.ix_(*asked)]).max() < 1e-6


def _renamed(benchmark, axis, held):
    """The benchmark with other ids for some entities: the model has never met them."""
    side = benchmark.sides[axis]
    ids = [f"new {label}" if i in held else label for i, label in enumerate(side.ids)]
    index = pd.Index(ids, name=side.ids.name)
    views = {name: view.set_axis(index) for name, view in side.views.items()}
    return benchmark.with_sides(replace(side, frame=side.frame.set_axis(index), views=views))


def test_an_unknown_head_is_refused():
    with pytest.raises(DataError, match="unknown head 'both'"):
        models.build("kernel_head", head="both")


def test_views_aligned_to_each_other_know_no_response_and_meet(world):
    """Hard alignment of drugs reads views alone; after it a drug's views are nearer to each other
    than to those of other drugs.
    """
    split = data.make_split(world, "drug_blind")
    other = replace(world, y=np.random.default_rng(0).normal(size=len(world.y)))
    one, two = (built("drug_blind", alignment="hard").fit(b, split) for b in (world, other))
    assert all(np.array_equal(one.maps[name], two.maps[name]) for name in one.maps)
    soft = [built("drug_blind", alignment="soft").fit(b, split) for b in (world, other)]
    assert not np.allclose(soft[0].maps["text"], soft[1].maps["text"])
    problem = one._problem(world, split)
    among = problem.kernels["text"][np.ix_(problem.known, problem.known)]
    prints = problem.kernels["fingerprint"][np.ix_(problem.known, problem.known)]
    z_text, z_print = among @ one.maps["text"], prints @ one.maps["fingerprint"]
    cosines = (z_text / np.linalg.norm(z_text, axis=1, keepdims=True)) @ (
        z_print / np.linalg.norm(z_print, axis=1, keepdims=True)
    ).T
    assert cosines.diagonal().mean() > cosines.mean() + 0.3
    kernel = problem.kernels["aligned"]
    assert np.linalg.eigvalsh(kernel).min() > -1e-8 and np.allclose(kernel.diagonal(), 1)


def test_pairs_have_no_contrastive_stage_and_an_unknown_one_is_refused(world):
    with pytest.raises(DataError, match="hard, soft, response"):
        built("cell_blind", alignment="nix")
    with pytest.raises(DataError, match="take kernel_head"):
        built("mixed", alignment="hard").fit(world, data.make_split(world, "mixed"))
