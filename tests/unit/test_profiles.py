"""Molecules and their profiles: the simulated world, the table of who was measured, components,
the contrast of many views against a plain loop, and what must not change a bit.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import roc_auc_score

from clmt_lib import data, records
from clmt_lib.audit import proves_blind
from clmt_lib.audit.blind import state_difference
from clmt_lib.data import load, profiles
from clmt_lib.data.base import Benchmark, Side
from clmt_lib.data.grouping import molecule_side, scaffold_of
from clmt_lib.data.profiles import simulated
from clmt_lib.data.profiles.matching import follow, matching
from clmt_lib.data.profiles.measured import CLIP, FEWEST_INSTANCES
from clmt_lib.io import DataError
from clmt_lib.models.ceiling import ROWS, _rotated, ceiling, features, gains
from clmt_lib.models.imputation import fit_components, impute, impute_donors
from clmt_lib.models.profiles import (
    Assays,
    AssaysConfig,
    FeatureSpace,
    Network,
    Profiles,
    ProfilesConfig,
    encode,
    objective,
)
from clmt_lib.nn.contrast import info_nce, rank_of_positive
from clmt_lib.views.molecules import jaccard, tanimoto

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"hidden": 32, "dim": 8, "profile_hidden": 16, "components": 10, "steps": 8}


@pytest.fixture(scope="module")
def world():
    return simulated.world(0, molecules=240)


@pytest.fixture(scope="module")
def table(world):
    return matching(world.benchmark.sides[0])


@pytest.fixture(scope="module")
def split(table):
    return data.make_split(table, "scaffold_blind")


def explained(y, x):
    """Share of the variance of each column of y that x tells, over all rows."""
    x = np.hstack([np.ones((len(x), 1)), x])
    rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return 1 - rest.var(0) / y.var(0)


# The simulated world


@pytest.mark.parametrize("space", simulated.SPACES)
def test_the_shares_are_exact_in_every_feature(space):
    shares = simulated.Shares(0.4, 0.2, 0.1, 0.3)
    world = simulated.world(1, molecules=240, shares=shares)
    profile = world.complete[space]
    assert np.allclose(profile.var(0), 1.0)
    library = np.where(world.benchmark.sides[0].keys["library"] == "first", 1.0, -1.0)[:, None]
    assert np.allclose(explained(profile, world.shared), 0.4)
    assert np.allclose(explained(profile, world.private[space]), 0.2)
    told = explained(profile, np.hstack([world.shared, world.private[space], library]))
    known = explained(library, world.structure)[0]  # libraries have scaffolds of their own
    assert np.all((told > 0.6 + 0.1 * (1 - known) - 1e-9) & (told < 0.7 + 1e-9))


def test_a_share_of_zero_takes_one_term_away_and_nothing_else(world):
    off = simulated.world(0, molecules=240, shares=simulated.Shares(shared=0.0))
    for space in simulated.SPACES:
        gone = world.complete[space] - off.complete[space]
        assert np.allclose(explained(gone, world.shared), 1.0)
        assert np.abs(off.complete[space].T @ world.shared).max() < 1e-8
    assert np.array_equal(off.benchmark.y, world.benchmark.y)


def test_labels_know_nothing_of_what_is_private(world):
    other = simulated.world(0, molecules=240, shares=simulated.Shares(private=0.0, noise=0.6))
    assert np.array_equal(other.benchmark.y, world.benchmark.y)
    liability = world.benchmark.matrix()
    share = np.nanmean(liability, axis=0)
    assert np.all(abs(share - simulated.ACTIVE) < 0.12)
    toxic = np.isfinite(liability[:, 0])
    active = liability[toxic, 0] == 1
    state = world.shared[toxic, 0]
    assert state[active].mean() - state[~active].mean() > 0.8


def test_structure_shows_the_stated_share_of_the_shared_states(world):
    assert np.allclose(explained(world.shared, world.structure), 0.6)
    bits = world.benchmark.sides[0].views["fingerprint"].astype(float)
    assert np.allclose(explained(world.structure, bits), 1.0)


def test_twins_are_one_compound_and_replicates_average_to_the_profile(world):
    side = world.benchmark.sides[0]
    again = [name for name in side.ids if name.endswith("-2")]
    assert len(again) == round(simulated.TWINS * 240)
    places = side.ids.get_indexer([name[:-2] for name in again])
    twins = side.ids.get_indexer(again)
    assert np.array_equal(side.keys["compound"][places], side.keys["compound"][twins])
    assert np.array_equal(side.views["fingerprint"][places], side.views["fingerprint"][twins])
    assert not np.allclose(
        world.complete["morphology"][places], world.complete["morphology"][twins]
    )
    for space, rows in world.replicates.items():
        mean = rows.drop(columns="replicate").groupby(level=0).mean()
        there = side.has(space)
        assert list(mean.index) == sorted(side.ids[there])
        assert np.allclose(mean.loc[side.ids[there]], side.views[space][there], atol=1e-5)


@pytest.mark.parametrize("both", [0.0, 0.1, 0.4])
def test_who_has_both_profiles_is_as_asked(both):
    side = simulated.load(molecules=240, both=both).sides[0]
    have = np.stack([side.has(space) for space in simulated.SPACES])
    assert have.all(0).mean() == pytest.approx(both, abs=0.005)
    assert np.allclose(have.mean(1), list(simulated.HAVE.values()), atol=0.005)
    assert not side.views["morphology"].to_numpy()[~have[0]].any()


@pytest.mark.parametrize("wrong", [{"both": 0.9}, {"molecules": 20}])
def test_a_world_that_cannot_be_is_refused(wrong):
    with pytest.raises(DataError):
        simulated.world(**wrong)


@pytest.mark.parametrize("wrong", [{"shared": 0.9}, {"told": 2.0}, {"noise": -0.1}])
def test_shares_that_cannot_be_are_refused(wrong):
    with pytest.raises(DataError, match="shares"):
        simulated.Shares(**wrong)


# Who was measured, and components


def test_a_pair_for_each_profile(world, table):
    side = world.benchmark.sides[0]
    for number, space in enumerate(simulated.SPACES):
        rows = table.pairs[table.pairs[:, 1] == number, 0]
        assert np.array_equal(rows, np.flatnonzero(side.has(space)))
    with pytest.raises(DataError, match="no feature space 'nothing'"):
        matching(side, ["nothing"])
    nobody = {space: np.zeros(len(side), dtype=bool) for space in simulated.SPACES}
    with pytest.raises(DataError, match="no molecule has a profile"):
        matching(replace(side, present=nobody))


def test_components_are_those_of_scikit_learn(world):
    side = world.benchmark.sides[0]
    rows = np.arange(150)
    there = rows[side.has("morphology")[rows]]
    made = FeatureSpace("morphology", most=7, entity="molecule").fit(side, rows)
    x, present = made.make(side)
    table = side.views["morphology"].to_numpy(float)
    z = np.clip((table - table[there].mean(0)) / table[there].std(0), -6, 6)
    theirs = PCA(7, whiten=True, svd_solver="full").fit(z[there])
    expected = theirs.transform(z[present]) * np.sqrt(len(there) / (len(there) - 1))
    sign = np.sign((expected * x[present]).sum(0))
    assert np.allclose(x[present], sign * expected, atol=1e-6)
    assert not x[~present].any() and np.array_equal(made.fitted_on, there)


def test_constant_features_and_heavy_tails_do_no_harm(world):
    side = world.benchmark.sides[0]
    frame = side.views["morphology"].copy()
    frame["morphology_01"] = 7.0
    frame.iloc[np.flatnonzero(side.has("morphology"))[3], 5] = 4500.0
    side = replace(side, views={**side.views, "morphology": frame})
    x, _ = FeatureSpace("morphology", most=5).fit(side, np.arange(len(side))).make(side)
    assert np.isfinite(x).all() and np.abs(x).max() < 12


# The loss


def one_way(z_a, z_b, temperature, asks, rivals):
    """Plain loop: cross-entropy of each anchor over itself and its rivals."""
    a = z_a / np.linalg.norm(z_a, axis=1, keepdims=True)
    b = z_b / np.linalg.norm(z_b, axis=1, keepdims=True)
    found = []
    for i in range(len(a)):
        if not asks[i]:
            continue
        odds = [np.exp(a[i] @ b[i] / temperature)]
        odds += [np.exp(a[i] @ b[j] / temperature) for j in range(len(b)) if rivals[i, j]]
        found.append(-np.log(odds[0] / np.sum(odds)))
    return np.mean(found)


def network(table, split, **settings):
    model = Profiles(ProfilesConfig(**{**SMALL, **settings}))
    inputs = model.prepare(table, split, torch.device("cpu"))
    torch.manual_seed(1)
    return model, inputs, model.build(inputs).eval()


@pytest.mark.parametrize("defects", [(), ("absent_columns",), ("stereoisomers_apart",)])
@pytest.mark.parametrize("pairs", ["molecule", "all"])
@pytest.mark.parametrize("within", ["", "library"])
def test_the_loss_is_that_of_a_plain_loop(table, split, defects, pairs, within):
    model, inputs, net = network(table, split, defects=defects, pairs=pairs, within=within)
    rows = inputs.rows[:60]
    z = encode(net, inputs, rows, inputs.train, model.config)
    z = {view: value.detach().double().numpy() for view, value in z.items()}
    side, places = table.sides[0], rows.numpy()
    total = 0.0
    asked = [("molecule", space) for space in simulated.SPACES]
    for a, b in asked + ([tuple(simulated.SPACES)] if pairs == "all" else []):
        have = np.ones(len(places), dtype=bool)
        for view in (a, b):
            if view != "molecule":
                have &= inputs.train[view].numpy()[places]
        compound = side.keys["molecule" if "stereoisomers_apart" in defects else "compound"]
        rivals = compound[places][:, None] != compound[places][None]
        if within:
            rivals &= side.keys[within][places][:, None] == side.keys[within][places][None]
        if "absent_columns" not in defects:
            rivals &= have[:, None] & have[None]
        for left, right in ((z[a], z[b]), (z[b], z[a])):
            total += 0.5 * one_way(left, right, 0.1, have, rivals)
    found = objective(net, inputs, rows, inputs.train, model.config)
    assert found.total.item() == pytest.approx(total, rel=1e-4)
    assert len(found.parts) == (3 if pairs == "all" else 2)


def test_who_only_answers_is_a_candidate_and_no_anchor():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 7, 4))
    asks = np.array([True, False, True, True, False, False, True])
    rivals = ~np.eye(7, dtype=bool)
    expected = 0.5 * (one_way(a, b, 0.3, asks, rivals) + one_way(b, a, 0.3, asks, rivals))
    a, b, asks = torch.tensor(a), torch.tensor(b), torch.tensor(asks)
    assert info_nce(a, b, 0.3, asks=asks).item() == pytest.approx(expected)
    everybody = torch.ones(7, dtype=torch.bool)
    assert info_nce(a, b, 0.3, asks=everybody).item() == info_nce(a, b, 0.3).item()
    both = info_nce(a, b, 0.3, known=asks, asks=asks)
    assert both.item() == pytest.approx(info_nce(a, b, 0.3, known=asks).item())
    assert info_nce(a, b, 0.3, asks=~everybody).item() == 0
    left = -torch.stack([info_nce(a, b, 0.3, asks=asks, positive=False)])
    assert torch.isfinite(left).all()


def test_soft_targets_come_from_the_profiles(table, split):
    model, inputs, net = network(table, split, targets="soft", soft_temperature=0.3)
    rows = inputs.rows[:50]
    found = objective(net, inputs, rows, inputs.train, model.config).parts
    z = encode(net, inputs, rows, inputs.train, model.config)
    for space in simulated.SPACES:
        have = inputs.train[space][rows]
        x = inputs.spaces[space][rows][have]
        x = (x / x.norm(dim=1, keepdim=True)).double().numpy()
        target = np.exp(x @ x.T / 0.3)
        target /= target.sum(1, keepdims=True)
        a, b = (z[view][have].detach().double().numpy() for view in ("molecule", space))
        a, b = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (a, b))
        loss = 0.0
        for s in (a @ b.T / 0.1, b @ a.T / 0.1):
            log = s - np.log(np.exp(s).sum(1, keepdims=True))
            loss -= 0.5 * (target * log).sum(1).mean()
        assert found[f"molecule-{space}"].item() == pytest.approx(loss, rel=1e-4)


# What must not matter


@pytest.mark.parametrize("value", [np.nan, 1e30, -4500.0])
def test_the_values_of_an_absent_profile_change_no_bit(table, split, value):
    side = table.sides[0]
    views = dict(side.views)
    for space in simulated.SPACES:
        frame = views[space].to_numpy().copy()
        frame[~side.has(space)] = value
        views[space] = pd.DataFrame(frame, side.ids, views[space].columns)
    other = table.with_views(molecule=views)
    other_split = replace(split, checksum=other.checksum)
    fits = [
        Profiles(ProfilesConfig(**SMALL)).fit(world, cut)
        for world, cut in ((table, split), (other, other_split))
    ]
    assert state_difference(fits[0].state(), fits[1].state()) is None
    assert state_difference(fits[0].embeddings(), fits[1].embeddings()) is None


def test_two_ids_of_one_compound_do_not_push_each_other(table, split):
    model, inputs, net = network(table, split)
    compound = inputs.compound.numpy()
    train = inputs.train["morphology"].numpy() | inputs.train["expression"].numpy()
    twice = [c for c in np.unique(compound[train]) if (compound[train] == c).sum() == 2]
    rows = torch.as_tensor(np.flatnonzero(train & np.isin(compound, twice[:1])))
    z = torch.randn(2, 8, requires_grad=True)
    same = inputs.compound[rows][:, None] == inputs.compound[rows][None]
    info_nce(z, torch.randn(2, 8), 0.1, same=same).backward()
    assert len(rows) == 2 and not z.grad.abs().max() > 1e-12  # nobody is left to be pushed from


def test_a_fit_is_blind_to_molecules_of_the_test_set(table, split):
    def fit(benchmark, cut):
        return Profiles(ProfilesConfig(**SMALL)).fit(benchmark, cut).state()

    assert proves_blind(fit, table, split, at_once=True).clean

    def fitted_on_all(benchmark, cut):
        every = np.arange(len(benchmark))
        return Profiles(ProfilesConfig(**SMALL)).fit(benchmark, replace(cut, train=every)).state()

    assert not proves_blind(fitted_on_all, table, split).clean


def test_heads_are_trained_unless_the_defect_is_on(table, split):
    for defects, moved in (((), True), (("untrained_heads",), False)):
        model = Profiles(ProfilesConfig(**SMALL, defects=defects)).fit(table, split)
        fresh = Profiles(ProfilesConfig(**SMALL, defects=defects)).untrained(table, split)
        for tower in ("molecule", "spaces.morphology", "spaces.expression"):
            name = f"0.{tower}.layers.5.weight"
            assert np.array_equal(model.state()[name], fresh.state()[name]) is not moved
            name = f"0.{tower}.layers.1.weight"
            assert not np.array_equal(model.state()[name], fresh.state()[name])


def test_shuffled_pairs_are_the_same_profiles_of_other_training_molecules(table, split):
    plain = Profiles(ProfilesConfig(**SMALL)).prepare(table, split, torch.device("cpu"))
    dealt = Profiles(ProfilesConfig(**SMALL, shuffled=True)).prepare(
        table, split, torch.device("cpu")
    )
    for space in simulated.SPACES:
        train = plain.train[space]
        a, b = plain.spaces[space], dealt.spaces[space]
        assert torch.equal(a[~train], b[~train])
        assert (a[train] == b[train]).all(1).double().mean() < 0.1
        assert torch.equal(a[train].sort(0).values, b[train].sort(0).values)


def test_the_published_settings_carry_every_defect_and_selection_follows_them(table, split):
    every = ProfilesConfig.published(**SMALL)
    assert every.has("mixed_accuracy") and ProfilesConfig.published(defects=()).defects == ()
    model = Profiles(every).fit(table, split)
    inputs, valid = model.inputs, np.unique(table.pairs[split.valid, 0])
    z = encode(model.networks[0], inputs, torch.as_tensor(valid), inputs.known, every)
    with torch.inference_mode():
        right = (rank_of_positive(z["molecule"], z["morphology"]) == 1).double().mean()
    # the best weights are kept
    assert model.chosen["best_valid"] == pytest.approx(-right.item(), abs=1e-5)
    warm = Profiles(ProfilesConfig(**SMALL, defects=("temperature_in_training_only",)))
    warm.fit(table, split)
    assert 0 < warm.chosen["best_valid"] < 2 * np.log(len(valid))
    with pytest.raises(DataError, match="unknown defects 'typo'"):
        ProfilesConfig(defects=("typo",))


# The contract


def test_new_molecules_are_read_and_a_saved_model_says_the_same(world, table, split, tmp_path):
    model = Profiles(ProfilesConfig(**SMALL, members=2)).fit(table, split)
    test = table.pairs[split.test]
    said = model.predict(test)
    z = model.embeddings()
    spaces = np.array(list(simulated.SPACES))[test[:, 1]]
    own = [z["molecule"][row] @ z[space][row] for (row, _), space in zip(test, spaces)]
    assert np.allclose(said, own, atol=1e-5)
    model.save(tmp_path / "it")
    again = Profiles.load(tmp_path / "it")
    assert np.array_equal(again.predict(test), said)
    side = table.sides[0]
    assert np.array_equal(again.features(), model.features(side))
    renamed = replace(side, frame=side.frame.set_axis([f"new {name}" for name in side.ids]))
    other = replace(table, sides=(renamed, table.sides[1]))
    assert np.allclose(model.predict(test, other), said, atol=1e-6)


def test_no_training_profile_in_a_space_is_named(table, split):
    few = replace(split, train=split.train[table.pairs[split.train, 1] == 0])
    with pytest.raises(DataError, match="no training molecule has expression"):
        Profiles(ProfilesConfig(**SMALL)).fit(table, few)


def test_graphs_are_read_as_well():
    smiles = ["C" * n + end for n in range(1, 11) for end in ("O", "N", "c1ccccc1")]
    ids = [f"m{i}" for i in range(len(smiles))]
    frame = pd.DataFrame({"name": ids, "smiles": smiles}, index=ids)
    values = np.random.default_rng(0).normal(size=(len(ids), 5)).astype(np.float32)
    side = Side("molecule", frame, {"space": values})
    table = matching(side)
    split = data.make_split(table, "molecule_blind")
    config = ProfilesConfig(**{**SMALL, "components": 3, "steps": 2}, encoder="graph")
    model = Profiles(config).fit(table, split)
    assert model.features().shape == (30, 32)
    assert np.allclose(model.features(side), model.features())


# The positive control


def test_the_assay_encoder_fits_measured_pairs_alone(world):
    benchmark = world.benchmark
    split = data.make_split(benchmark, "scaffold_blind")
    config = AssaysConfig(hidden=32, dim=8, steps=8)
    model = Assays(config)
    inputs = model.prepare(benchmark, split, torch.device("cpu"))
    torch.manual_seed(0)
    net = model.build(inputs).eval()
    rows = inputs.rows[:40]
    said, table = net(inputs.molecule[rows]).detach().numpy(), benchmark.matrix(split.train)
    errors = []
    for i, row in enumerate(rows.numpy()):
        for j in range(table.shape[1]):
            if np.isfinite(table[row, j]):
                y = (table[row, j] - np.nanmean(table[:, j])) / np.nanstd(table[:, j])
                errors.append((said[i, j] - y) ** 2)
    assert model.loss(net, inputs, rows).total.item() == pytest.approx(np.mean(errors), rel=1e-4)
    model.fit(benchmark, split)
    assert np.allclose(model.features(benchmark.sides[0]), model.features())
    assert model.outputs(benchmark.sides[0]).shape == benchmark.shape

    def fit(benchmark, cut):
        return Assays(config).fit(benchmark, cut).state()

    assert proves_blind(fit, benchmark, split, at_once=True).clean


def test_a_network_has_one_tower_a_view(table, split):
    _, inputs, net = network(table, split)
    assert isinstance(net, Network) and set(net.spaces) == set(simulated.SPACES)
    assert isinstance(table, Benchmark) and inputs.kept.max() < simulated.BITS


# What a measured profile is worth


def test_profiles_of_held_out_scaffolds_and_compounds_are_held_out(world, table):
    benchmark = world.benchmark
    labels = data.make_split(benchmark, "scaffold_blind", 1)
    cut = follow(labels, benchmark, table)
    side = table.sides[0]
    for key in ("scaffold", "compound"):
        kept = side.keys[key][table.pairs[cut.train, 0]]
        for part in (labels.valid, labels.test):
            asked = benchmark.sides[0].keys[key][benchmark.pairs[part, 0]]
            assert not np.isin(kept, asked).any()
    every = np.sort(np.concatenate(list(cut.sets().values())))
    assert np.array_equal(every, np.arange(len(table)))
    assert len(cut.test) and len(cut.valid)
    with pytest.raises(DataError, match="no profile is left for valid"):
        follow(replace(labels, valid=labels.valid[:0]), benchmark, table)


def test_scaffolds_of_two_sides_are_compared_by_what_they_are():
    """Groups of scaffolds are numbered afresh on every side: "group 0" here is not that there."""
    rings = ["c1ccccc1", "c1ccncc1", "c1ccoc1", "c1ccsc1", "C1CCCCC1", "C1CCNCC1", "C1CCOCC1"]
    first = [f"{'C' * n}{ring}" for ring in rings for n in (1, 2)]
    second = [f"{'C' * n}{ring}" for ring in rings[::-1] for n in (3, 4)]
    sides = []
    for smiles in (first, second):
        frame = pd.DataFrame({"name": smiles, "smiles": smiles}, index=smiles)
        sides.append(molecule_side(frame, {"space": np.ones((len(smiles), 3))}))
    pairs = np.stack([np.arange(14), np.zeros(14, dtype=int)], 1)
    assay = Side("assay", pd.DataFrame({"name": ["a"]}, index=["a"]))
    labels = Benchmark("labels", (sides[0], assay), pairs, np.ones(14), np.zeros(14, dtype=bool))
    table = matching(sides[1])
    split = data.make_split(labels, "scaffold_blind")
    cut = follow(split, labels, table)
    for ours, theirs in ((split.test, cut.test), (split.valid, cut.valid)):
        held = {scaffold_of(first[labels.pairs[p, 0]]) for p in ours}
        assert held == {scaffold_of(second[table.pairs[p, 0]]) for p in theirs}
    alike = follow(split, labels, matching(sides[0]), "compound")
    assert np.array_equal(alike.test, split.test) and np.array_equal(alike.valid, split.valid)


def test_features_never_read_a_profile_that_is_held_out(world):
    benchmark = world.benchmark
    split = data.make_split(benchmark, "scaffold_blind")
    config = ProfilesConfig(**{**SMALL, "steps": 4})
    found = features(benchmark, split, "morphology", config, 8)
    side = benchmark.sides[0]
    held = np.isin(side.keys["scaffold"], side.keys["scaffold"][benchmark.pairs[split.test, 0]])
    frame = side.views["morphology"].copy()
    frame.iloc[held & side.has("morphology")] = 99.0
    other = benchmark.with_views(molecule={**side.views, "morphology": frame})
    again = features(other, replace(split, checksum=other.checksum), "morphology", config, 8)
    assert tuple(found) == ROWS
    for name in ("structure", "+ imputed", "+ aligned"):
        assert np.array_equal(found[name], again[name])
    for name in ("+ measured", "measured", "cell count"):
        assert np.array_equal(found[name][~held], again[name][~held])
        assert not np.array_equal(found[name][held], again[name][held])


def test_an_imputed_profile_is_a_kernel_ridge_from_other_scaffolds(world):
    benchmark = world.benchmark
    split = data.make_split(benchmark, "scaffold_blind")
    found = features(benchmark, split, "morphology", None, 8)
    side = benchmark.sides[0]
    bits = side.views["fingerprint"].astype(float)
    both = bits @ bits.T
    kernel = both / (bits.sum(1)[:, None] + bits.sum(1)[None] - both)
    held = np.isin(side.keys["scaffold"], side.keys["scaffold"][benchmark.pairs[split.test, 0]])
    donors = np.flatnonzero(side.has("morphology") & ~held)
    measured = found["measured"][donors]
    assert np.allclose(measured.mean(0), 0, atol=1e-9)
    scaffold = side.keys["scaffold"]
    imputed = np.empty((len(side), measured.shape[1]))
    ridge = KernelRidge(alpha=0.3, kernel="precomputed")
    ridge.fit(kernel[np.ix_(donors, donors)], measured)
    imputed[:] = ridge.predict(kernel[:, donors])
    for molecule in donors:
        rest = scaffold[donors] != scaffold[molecule]
        ridge.fit(kernel[np.ix_(donors[rest], donors[rest])], measured[rest])
        imputed[molecule] = ridge.predict(kernel[[molecule]][:, donors[rest]])[0]
    imputed = (imputed - imputed[donors].mean(0)) / imputed[donors].std(0)
    assert np.allclose(found["+ imputed"][:, found["structure"].shape[1] :], imputed, atol=1e-6)


@pytest.fixture(scope="module")
def worths():
    found = {}
    for name, shared in (("shared", 0.35), ("nothing shared", 0.0)):
        shares = simulated.Shares(shared=shared)
        benchmark = simulated.load(0, molecules=600, shares=shares)
        asked, scores = ceiling(benchmark, "morphology", components=20)
        found[name] = benchmark, asked, scores, gains(benchmark, asked, scores, 200)
    return found


def test_the_order_of_the_ceiling_appears_and_vanishes(worths):
    shared, off = (found[-1] for found in worths.values())
    order = [shared[name]["auroc"] for name in ("+ measured", "+ imputed", "structure")]
    assert order[0] > order[1] + 0.05 and order[1] > order[2]
    assert shared["+ measured"]["interval"][0] > 0.05
    assert off["structure"]["auroc"] == shared["structure"]["auroc"]
    assert off["+ measured"]["gain"] < 0.01 and off["+ imputed"]["gain"] < 0.01
    assert abs(off["measured"]["auroc"] - 0.5) < 0.06


def test_gains_are_means_over_assays(worths):
    benchmark, asked, scores, found = worths["shared"]
    (_, assay), y = benchmark.pairs[asked].T, benchmark.y[asked]
    for name, score in scores.items():
        each = [roc_auc_score(y[assay == t], score[assay == t]) for t in np.unique(assay)]
        assert found[name]["auroc"] == pytest.approx(np.mean(each))
    assert found["structure"]["gain"] == 0 and found["structure"]["interval"] == [0, 0]


def test_known_states_tell_of_a_vector_what_it_is_made_of(world):
    rows = np.arange(len(world.shared))
    told = world.told(world.complete["morphology"], "morphology", rows)
    assert told["visible"] == pytest.approx(0.35 * 0.6)
    assert told["hidden"] == pytest.approx(0.35 * 0.4)
    assert told["private"] == pytest.approx(0.35)


# What the page says of the records


@pytest.fixture(scope="module")
def variants():
    found = records.read("profiles-simulated", ROOT / "experiments").metrics
    return pd.DataFrame(found["variants"]).set_index("variant"), found


def test_what_the_chapter_says_of_the_defects_is_in_the_record(variants):
    table, _ = variants
    gap = {name: np.array(value) for name, value in table["place_difference"].items()}
    low, high = (gap["another seed"][0] + sign * 2 * gap["another seed"][1] for sign in (-1, 1))
    for name in ("defect: untrained_heads", "defect: mixed_accuracy", "published"):
        assert gap[name][0] - 2 * gap[name][1] > 0 and gap[name][0] > high
    assert low < gap["defect: absent_columns"][0] < max(high, 0.02)
    rare, error = table.loc["a rare space, columns unmasked", "rare_difference"]
    assert abs(rare) < 2 * error
    assert gap["published"][0] > 0.4 * gap["shuffled pairs"][0]
    # nobody has both profiles: still nearer to the corrected settings than to shuffled pairs
    assert gap["nobody has both"][0] < 0.3 * gap["shuffled pairs"][0]
    assert abs(table.loc["shuffled pairs", "place"][0] - 0.5) < 0.03
    assert abs(table.loc["nothing shared", "place"][0] - 0.5) < 0.03


def test_alignment_keeps_what_structure_shows_and_drops_what_is_private(variants):
    row = variants[0].loc["corrected"]
    assert row["profile: private"][0] < 0.8 * row["raw profile: private"][0]
    assert row["profile: visible"][0] >= row["raw profile: visible"][0]
    assert row["molecule: visible"][0] > 2 * row["molecule: private"][0]


def test_the_order_of_the_ceiling_is_in_the_record(variants):
    rows = pd.DataFrame(variants[1]["ceiling"]).set_index(["world", "row"])["auroc"]
    mean = {key: value[0] for key, value in rows.items()}
    order = [mean["shared", row] for row in ("+ measured", "+ imputed", "+ aligned", "structure")]
    assert order == sorted(order, reverse=True) and order[2] > order[3] + 0.01
    off = "nothing shared"
    for row in ("+ measured", "+ imputed", "+ aligned", "measured", "cell count"):
        assert mean[off, row] < mean[off, "structure"] + 0.01


def test_retrieval_beats_shuffled_pairs_and_chance_in_every_large_space():
    rows = pd.DataFrame(
        records.read("profiles-retrieval", ROOT / "experiments").metrics["retrieval"]
    )
    rows = rows.set_index(["space", "method"])
    for space in ("comas_references", "comas_profiles", "cmap"):
        for key in ("there_top10_interval", "there_place_interval"):
            contrast, shuffled = (rows.loc[(space, m), key] for m in ("contrast", "shuffled"))
            low, high = (contrast, shuffled) if "top10" in key else (shuffled, contrast)
            assert low[0] > high[1], (space, key)
        assert (
            rows.loc[(space, "contrast"), "there_top10_interval"][0]
            > rows.loc[(space, "contrast"), "chance_top10"]
        )
    # not just two libraries told apart
    assert rows.loc[("comas_profiles", "contrast, within"), "there_place_interval"][1] < 0.4


def test_a_closed_form_finds_profiles_better_than_contrast_does():
    rows = pd.DataFrame(
        records.read("profiles-retrieval", ROOT / "experiments").metrics["retrieval"]
    )
    rows = rows.set_index(["space", "method"])
    for space in ("comas_references", "comas_profiles", "cmap"):
        place = [rows.loc[(space, method), "there_place"] for method in ("ridge", "contrast")]
        assert place[0] < place[1] - 0.02


def test_an_aligned_encoder_does_not_help_the_drug_kernel():
    """On drug-blind GDSC2: beside the fingerprint it adds less than anybody could see."""
    rows = records.read("profiles-aligned", ROOT / "experiments").metrics["home"]["rows"]
    gain = {row["row"]: (row["gain"], row["interval"]) for row in rows}
    low, high = gain["fingerprint + aligned"][1]
    assert low < 0 < high < 0.01
    assert gain["aligned"][1][1] < 0.01 and gain["fingerprint + imputed"][1][1] < 0.01


def test_alignment_adds_nothing_to_a_probe_that_our_splits_can_see():
    found = records.read("profiles-aligned", ROOT / "experiments").metrics["scaffold"]
    rows = {row["row"]: row for row in found["rows"]}
    assert len(found["tasks"]) >= 3 and "+ aligned, shuffled" in rows
    for row in ("+ aligned", "+ imputed"):
        for key in ("interval", "interval_all"):
            assert rows[row][key][0] < 0, (row, key)
    low, high = rows["+ aligned"]["interval"]
    assert low < 0 < high < 0.01  # a gain of a hundredth would have been seen
    assert rows["+ predicted activities"]["gain"][0] < 0  # the control does not help either


def test_simple_models_chosen_on_valid_pass_infoalign_on_two_of_three_tables_and_chmr_on_none():
    told = records.read("probes-tables", ROOT / "experiments").metrics
    ours = {
        row["table"]: row["test_all"]
        for row in told["tables"]
        if (row["rule"], row["model"]) == ("infoalign", "chosen")
    }
    printed = {(row["table"], row["model"]): row["value"] for row in told["printed"]}
    assert ours["broad6k"] > printed["broad6k", "InfoAlign"] + 0.01
    assert ours["biogen"] < printed["biogen", "InfoAlign"] - 0.03  # an error
    assert printed["chembl2k", "InfoAlign"] - 0.01 < ours["chembl2k"]
    assert ours["chembl2k"] < printed["chembl2k", "InfoAlign"]
    assert ours["broad6k"] <= printed["broad6k", "CHMR"]
    assert ours["biogen"] > printed["biogen", "CHMR"]


def test_a_measured_profile_adds_to_structure_on_tox21_and_a_predicted_one_does_not():
    rows = records.read("probes-ceiling", ROOT / "experiments").metrics["ceiling"]
    gain = {row["row"]: row["gain_interval"] for row in rows if row["table"] == "tox21"}
    assert gain["+ measured"][0] > 0.01
    assert gain["+ imputed"][0] < 0 < gain["+ imputed"][1] < gain["+ measured"][0]
    assert gain["cell count"][1] < 0  # the number of cells alone is no rival here
    gain = {row["row"]: row["gain_interval"] for row in rows if row["table"] == "chembl2k"}
    assert gain["+ measured"][0] < 0 < gain["+ imputed"][0]  # and there it is the other way round


# --- Imputed profiles: the closed forms against refitting and against scikit-learn


@pytest.fixture
def impute_world():
    rng = np.random.default_rng(0)
    bits = (rng.random((40, 30)) < 0.3).astype(float)
    bits[bits.sum(1) == 0, 0] = 1
    return bits, bits @ rng.normal(size=(30, 12)) + rng.normal(size=(40, 12))


@pytest.mark.parametrize("features", [5, 12, 60])
def test_fitted_components_are_those_of_scikit_learn(features):
    x = np.random.default_rng(1).normal(size=(20, features)) * np.arange(1, features + 1)
    z = (x - x.mean(0)) / x.std(0)  # no value of 20 is 6 deviations away
    want = PCA(3, whiten=True).fit_transform(z)
    got = fit_components(x, 3)(x)
    sign = np.sign((want * got).sum(0))
    assert np.allclose(got, want * sign * np.sqrt(20 / 19), atol=1e-6)


def test_components_ignore_constants_and_stop_at_the_rank():
    x = np.random.default_rng(2).normal(size=(4, 6))
    x[:, 2] = 7.0
    fitted = fit_components(x, 10)
    assert fitted(x).shape == (4, 3)  # four points span three directions
    moved = x.copy()
    moved[:, 2] = -100.0
    assert np.allclose(fitted(moved), fitted(x))
    with pytest.raises(DataError, match="all 6 features are constant"):
        fit_components(np.ones((4, 6)), 2)
    with pytest.raises(DataError, match="not finite"):
        fit_components(np.full((4, 6), np.nan), 2)


def test_imputing_is_kernel_ridge(impute_world):
    bits, profile = impute_world
    donors, asked = np.arange(30), np.arange(30, 40)
    k = tanimoto(bits, bits)
    want = KernelRidge(alpha=0.3, kernel="precomputed")
    mean = profile[donors].mean(0)
    want.fit(k[np.ix_(donors, donors)], profile[donors] - mean)
    got = impute(profile[donors], k[np.ix_(donors, donors)], k[np.ix_(asked, donors)], 0.3)
    assert np.allclose(got, want.predict(k[np.ix_(asked, donors)]) + mean)


def test_leaving_groups_out_at_once_is_refitting_without_each(impute_world):
    bits, profile = impute_world
    profile = profile - profile.mean(0)
    k, groups = jaccard(bits), np.arange(40) // 3
    got = impute_donors(profile, k, groups, 0.3)
    for group in np.unique(groups):
        out, rest = np.flatnonzero(groups == group), np.flatnonzero(groups != group)
        weights = np.linalg.solve(k[np.ix_(rest, rest)] + 0.3 * np.eye(len(rest)), profile[rest])
        assert np.allclose(got[out], k[np.ix_(out, rest)] @ weights)


def test_shapes_that_do_not_match_are_refused(impute_world):
    bits, profile = impute_world
    with pytest.raises(DataError, match="40 profiles"):
        impute(profile, np.eye(39), np.eye(40))


def test_features_in_coordinates_of_their_span_keep_every_product():
    """What a penalty on squared weights sees are products of molecules."""
    x = np.random.default_rng(0).normal(size=(9, 40))
    row = np.array([3, 3, 5, 8, 0])
    part, place = _rotated(x, row[:4], row)
    assert part.shape == (3, 3)
    assert np.allclose(part @ part.T, x[[3, 5, 8]] @ x[[3, 5, 8]].T)
    assert place[:4].tolist() == [0, 0, 1, 2]
    thin, place = _rotated(x[:, :2], np.arange(9), row)
    assert np.array_equal(thin, x[:, :2]) and np.array_equal(place, row)


# --- Profiles: each feature space its own, replicates kept, extremes clipped, gaps known


ASPIRIN, CAFFEINE, ETHANOL = (
    ("BSYNRYMUTXBXSQ-UHFFFAOYSA-N", "CC(=O)Oc1ccccc1C(=O)O"),
    ("RYYVLZVUVIJVGH-UHFFFAOYSA-N", "Cn1c(=O)c2c(ncn2C)n(C)c1=O"),
    ("LFQSCWFLJHTTHZ-UHFFFAOYSA-N", "CCO"),
)


def comas(rows):
    """A table like COMAS': (molecule, two features, cell count) a row."""
    return pd.DataFrame(
        [
            {
                "source_set": "a library",
                "Run": str(row),
                "Well_Id": f"w{row}",
                "Conc_uM": 10.0,
                "Induction": 5.0,
                "Rel_Cell_Count": count,
                "Smiles": key[1],
                "inchikey": key[0],
                "Median_Cells_Area": one,
                "Median_Nuclei_Area": two,
            }
            for row, (key, one, two, count) in enumerate(rows)
        ]
    )


def cmap(instances):
    """A table like the Connectivity Map's: (molecule, line, genes up, genes down) a row."""
    return pd.DataFrame(
        [
            {
                "drug_name": "a drug",
                "cell_line": line,
                "conc_M": 1e-5,
                "replicate": row,
                "smiles": key[1],
                "inchikey": key[0],
                "up_genes": up,
                "down_genes": down,
            }
            for row, (key, line, up, down) in enumerate(instances)
        ]
    )


@pytest.fixture
def folder(tmp_path):
    for part in ("morphology", "expression"):
        (tmp_path / part).mkdir()
    comas(
        [
            (ASPIRIN, 4500.0, 1.0, 90),
            (ASPIRIN, 0.0, 1.0, 110),
            (CAFFEINE, -4500.0, 1.0, 50),
        ]
    ).to_parquet(tmp_path / "morphology/comas_profiles_579.parquet")
    instances = [(CAFFEINE, "MCF7", "A B", "C"), (ETHANOL, "MCF7", "A", "B C")] * FEWEST_INSTANCES
    instances += [(ETHANOL, "PC3", "C rare", "A")] * 3
    cmap(instances).to_parquet(tmp_path / "expression/cmap_build02_top100.parquet")
    return tmp_path


def read(folder, *spaces):
    return profiles.load(folder, spaces or ("comas_profiles", "cmap"))


def test_replicates_are_kept_and_their_mean_is_the_view(folder):
    found = read(folder)
    assert list(found.side.ids) == [key[:14] for key, _ in (ASPIRIN, CAFFEINE, ETHANOL)]
    data = found.measurements["comas_profiles"]
    assert len(data) == 3 and data.facts["replicate"].tolist() == ["0", "1", "2"]
    aspirin = data.molecule == 0
    assert np.allclose(data.dense()[aspirin].mean(0), found.values("comas_profiles")[0])
    assert found.fact("comas_profiles", "library").tolist() == ["a library", "a library", None]
    count, known = found.cell_count()
    assert count[known].tolist() == [[100.0, 5.0], [50.0, 5.0]] and known.tolist() == [1, 1, 0]


def test_extremes_are_clipped_and_counted(folder):
    found = read(folder, "comas_profiles")
    assert found.measurements["comas_profiles"].dense()[:, 0].tolist() == [CLIP, 0.0, -CLIP]
    assert found.measurements["comas_profiles"].clipped == pytest.approx(2 / 6)


def test_a_molecule_without_a_profile_is_missing_and_zero(folder):
    found = read(folder)
    assert found.known("comas_profiles").tolist() == [True, True, False]
    assert found.known("cmap").tolist() == [False, True, True]
    assert not found.values("cmap")[0].any()
    assert not found.standardised("comas_profiles", np.arange(3))[2].any()
    assert found.positions(["no such molecule", CAFFEINE[0][:14]]).tolist() == [-1, 1]


def test_standardising_reads_training_molecules_and_leaves_constants_at_zero(folder):
    found = read(folder, "comas_profiles")
    one = found.standardised("comas_profiles", np.array([0, 1]))
    assert np.allclose(one[:, 0], [1, -1]) and not one[:, 1].any()  # the second never varies
    with pytest.raises(DataError, match="no training molecule"):
        read(folder).standardised("comas_profiles", np.array([2]))


def test_a_signature_without_its_cell_line_is_left_out_and_counted(folder):
    path = folder / "expression/cmap_build02_top100.parquet"
    table, whole = pd.read_parquet(path), read(folder, "cmap").measurements["cmap"]
    table.loc[0, "cell_line"] = None
    table.to_parquet(path)
    found = read(folder, "cmap").measurements["cmap"]
    assert len(found) == len(whole) - 1 and found.left_out == whole.left_out + 1
    assert (found.line >= 0).all()


def test_signed_genes_are_centred_per_line_then_averaged(folder):
    found = read(folder, "cmap")
    data, table = found.measurements["cmap"], found.side.views["cmap"]
    assert list(table) == ["A", "B", "C"]  # the rare gene is no feature
    signs = {"A B|C": [1, 1, -1], "A|B C": [1, -1, -1], "C rare|A": [-1, 0, 1]}
    lines = np.array(["MCF7"] * 2 * FEWEST_INSTANCES + ["PC3"] * 3)
    plain = np.array(
        [signs["A B|C"], signs["A|B C"]] * FEWEST_INSTANCES + [signs["C rare|A"]] * 3, dtype=float
    )
    for line in np.unique(lines):
        plain[lines == line] -= plain[lines == line].mean(0)
    assert np.allclose(data.dense(), plain, atol=1e-6)
    assert np.allclose(data.dense(np.array([5, 0])), plain[[5, 0]], atol=1e-6)
    for molecule in range(2):
        mean = plain[data.molecule == molecule].mean(0)
        assert np.allclose(table.to_numpy()[molecule], mean, atol=1e-6)
    assert data.facts["dose_um"].iloc[0] == pytest.approx(10.0)


def test_levels_become_differences_from_the_vehicle(tmp_path):
    (tmp_path / "expression").mkdir()
    wells = pd.DataFrame(
        {
            "pert_iname": ["DMSO", "DMSO", "aspirin"],
            "pert_type": ["ctl_vehicle", "ctl_vehicle", "trt_cp"],
            "pert_dose": ["-666", "-666", "3.33"],
            "cell_id": "A375",
            "det_plate": "p",
            "det_well": ["a", "b", "c"],
            "smiles": [None, None, ASPIRIN[1]],
            "inchikey": [None, None, ASPIRIN[0]],
            "PSME1": [4.0, 6.0, 8.0],
            "ATF1": [1.0, 1.0, 0.5],
        }
    )
    path = tmp_path / "expression/l1000_level3_LJP005_A375_24h.parquet"
    wells.to_parquet(path)
    found = read(tmp_path, "l1000_kinase")
    assert found.values("l1000_kinase").tolist() == [[3.0, -0.5]]
    assert found.measurements["l1000_kinase"].left_out == 2
    wells[wells["pert_type"] == "trt_cp"].to_parquet(path)
    with pytest.raises(DataError, match="no untreated well"):
        read(tmp_path, "l1000_kinase")


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda t: t.assign(Median_Cells_Area=["x", "1", "2"]), "Median_Cells_Area is 'x'"),
        (lambda t: t.assign(Median_Cells_Area=[np.inf, 1, 2]), "Median_Cells_Area is inf"),
        (lambda t: t.assign(inchikey="ASPIRIN"), "is no InChIKey"),
        (lambda t: t.assign(Smiles="C1CC"), "cannot be parsed"),
        (lambda t: t.drop(columns="Smiles"), "missing column 'Smiles'"),
    ],
)
def test_bad_tables_of_features_are_refused(folder, change, said):
    path = folder / "morphology/comas_profiles_579.parquet"
    change(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(DataError, match=said) as error:
        read(folder, "comas_profiles")
    assert "row" in str(error.value)


def test_bad_requests_and_lists_are_refused(folder):
    with pytest.raises(DataError, match="unknown feature space 'no'"):
        read(folder, "no")
    path = folder / "expression/cmap_build02_top100.parquet"
    cmap([(CAFFEINE, "MCF7", "A B", "B")] * 40).to_parquet(path)
    with pytest.raises(DataError, match="gene 'B' is listed twice"):
        read(folder, "cmap")


def test_profiles_beside_labels_keep_molecules_without_labels_as_donors(folder):
    (folder / "probing").mkdir()
    labels = pd.DataFrame(
        {
            "smiles": ["c1ccccc1", ASPIRIN[1]],
            "inchikey": ["UHOVQNZJYSORNB-UHFFFAOYSA-N", ASPIRIN[0]],
            "Class": [0, 1],
        }
    )
    labels.to_parquet(folder / "probing/bace.parquet")
    found = read(folder)
    table = load("bace", folder=folder, molecules="connectivity")
    joined = profiles.beside(table, found, ["comas_profiles", "cmap"])
    side = joined.sides[0]
    assert list(side.ids) == [
        "UHOVQNZJYSORNB",
        *(key[:14] for key, _ in (ASPIRIN, CAFFEINE, ETHANOL)),
    ]
    assert side.has("comas_profiles").tolist() == [False, True, True, False]
    assert side.has("cmap").tolist() == [False, False, True, True]
    assert np.array_equal(side.views["cmap"].to_numpy()[2:], found.values("cmap")[1:])
    assert np.array_equal(joined.pairs, table.pairs) and np.array_equal(joined.y, table.y)
    with pytest.raises(DataError, match="no molecule of bace has a profile of cmap"):
        profiles.beside(table, read(folder, "cmap"), ["cmap"])
