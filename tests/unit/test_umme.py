"""UMME and ACMO: fusion and convolution against plain loops, masks that hide to the bit, switches
that are identities where they should be, and the invented world they are tried on.
"""

import importlib.util
from dataclasses import replace
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from clmt_lib import data, models, records
from clmt_lib.audit import audit, proves_blind
from clmt_lib.book import plotting
from clmt_lib.data import Benchmark, Side
from clmt_lib.data.interaction import simulated
from clmt_lib.io import DataError
from clmt_lib.models import umme
from clmt_lib.models.umme import UMME, UMMEConfig
from clmt_lib.nn.encoders import SequenceEncoder
from clmt_lib.nn.fusion import CrossAttention, SideAttention, stacked
from clmt_lib.records.ledger import check_claim, evidence, world_gaps
from clmt_lib.training import Callback
from clmt_lib.views.base import Alike, Letters, Measured

SMALL = {"dim": 8, "hidden": 16, "steps": 12, "evaluate_every": 6, "drop": 0.2}
ACMO = {"curriculum": "reliability", "modality_dropout": "scheduled", "align": 0.1}
CPU = torch.device("cpu")
EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


@pytest.fixture(scope="module")
def world():
    return data.load("interactions", drugs=40, proteins=24, seed=2)


@pytest.fixture(scope="module")
def split(world):
    return data.make_split(world, "drug_blind")


def small(**changes):
    return UMME.make(**{**SMALL, **changes})


def draw(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


# Convolution and attention


def test_the_convolution_equals_a_loop_over_places_and_does_not_see_the_padding():
    torch.manual_seed(0)
    net = SequenceEncoder(letters=5, width=4, dim=3, kernel=3, stride=2, layers=2).eval()
    norm = net.norm.norm
    norm.running_mean += torch.rand(4)
    norm.running_var *= 3
    codes = torch.tensor([[1, 5, 2, 2, 4, 3, 1, 0, 0], [2, 0, 0, 0, 0, 0, 0, 0, 0]])
    for row in codes:
        h = net.letter(row[row != 0])  # [letters, width / 2], without any padding
        for convolve in net.rounds:
            out = []
            for middle in range(0, len(h), 2):
                total = convolve.bias.clone()
                for offset in (-1, 0, 1):
                    if 0 <= middle + offset < len(h):
                        total = total + convolve.weight[:, :, offset + 1] @ h[middle + offset]
                out.append(total.clamp(min=0))
            h = torch.stack(out)
        z = (h.max(0).values - norm.running_mean) / (norm.running_var + 1e-5).sqrt()
        wanted = net.read_out(norm.weight * z + norm.bias)
        assert torch.allclose(net(row[None])[0], wanted, atol=1e-6)
    longer = nn.functional.pad(codes, (0, 40))
    assert torch.allclose(net(longer), net(codes), atol=1e-6)
    empty = net(torch.zeros(1, 9, dtype=torch.int64))
    assert torch.allclose(empty[0], net.read_out(torch.zeros(4)), atol=1e-6)


def test_a_convolution_in_training_is_scaled_by_the_sequences_that_are_there():
    torch.manual_seed(0)
    net = SequenceEncoder(letters=5, width=8, dim=8, kernel=3, layers=1, drop=0.0)
    net.read_out[1] = nn.Identity()
    codes = torch.randint(1, 6, (5, 9))
    codes[2] = 0
    z = net(codes)
    assert torch.equal(z[2], torch.zeros(8))
    others = z[[0, 1, 3, 4]]
    assert others.mean(0).abs().max() < 1e-6
    assert torch.equal(net(codes[[0, 2, 1, 3, 4]])[[0, 2, 3, 4]], others)
    before = net.norm.norm.running_mean.clone()
    assert torch.equal(net(codes[:1]), torch.zeros(1, 8))  # alone it has no spread
    assert torch.equal(net.norm.norm.running_mean, before)


@pytest.mark.parametrize("text", ["", "M", "MKVLA" * 600, "MBZX*U-", None])
def test_sequences_of_any_kind_become_letters(text):
    ids = pd.Index(["a", "b"], name="protein")
    views = {"sequence": pd.Series(["ACDY", text], ids)}
    side = Side("protein", pd.DataFrame({"name": ["a", "b"]}, ids), views=views)
    codes, there = Letters("sequence", longest=1200).make(side)
    assert codes[0, :4].tolist() == [1, 2, 3, 20] and not codes[0, 4:].any()
    assert there.tolist() == [True, bool(text)]
    assert codes.max() <= Letters("sequence").letters
    if text == "MBZX*U-":
        assert (codes[1, :7] == 21).sum() == 6  # letters that are no amino acid share a code
    assert (codes[1] != 0).sum() == min(len(text or ""), 1200)


def random_sides(seed=0, dim=6):
    """Both sides as `CrossAttention` takes them: (u, tokens, there, weight)."""
    rng, out = np.random.default_rng(seed), []
    for n, many in ((4, 2), (5, 3)):
        tokens = draw(n, many, dim, seed=seed + n)
        there = torch.from_numpy(rng.random((n, many)) < 0.6)
        there[:, 0] |= ~there.any(1)
        out.append((draw(n, dim, seed=n), tokens, there, torch.rand(many) + 0.5))
    return out


def test_attention_equals_a_loop_over_entities():
    torch.manual_seed(1)
    (_, tokens, there, weight), net = random_sides()[1], SideAttention(6)
    nn.init.normal_(net.question)
    found = net(tokens, there, weight)
    for i in range(len(tokens)):
        odds, value = [], []
        for m in range(tokens.shape[1]):
            if there[i, m]:
                say = (net.key(tokens[i, m]) * net.question).sum() / 6**0.5
                odds.append(weight[m] * say.exp())
                value.append(net.value(tokens[i, m]))
        wanted = sum(o * v for o, v in zip(odds, value)) / sum(odds)
        assert torch.allclose(found[i], wanted, atol=1e-5)


def test_attention_across_equals_a_loop_over_pairs_by_table_and_by_pair():
    torch.manual_seed(2)
    row, column = random_sides()
    net = CrossAttention(6)
    for ask in net.ask:
        nn.init.normal_(ask.weight)
    table = net(row, column)
    pairs = torch.cartesian_prod(torch.arange(4), torch.arange(5))
    assert torch.allclose(net(row, column, pairs).view(4, 5), table, atol=1e-5)
    for r, c in pairs.tolist():
        sides, shares, values = (row, column), [], []
        for axis, (mine, other) in enumerate(((r, c), (c, r))):
            asks = net.ask[1 - axis](sides[1 - axis][0][other])
            _, tokens, there, weight = sides[axis]
            odds = [
                weight[m] * ((net.key[axis](z) * asks).sum() / 6**0.5).exp() * there[mine, m]
                for m, z in enumerate(tokens[mine])
            ]
            shares.append([o / sum(odds) for o in odds])
            values.append([net.value[axis](z) for z in tokens[mine]])
        wanted = sum(
            a * b * (x * y).sum() / 6**0.5
            for a, x in zip(shares[0], values[0])
            for b, y in zip(shares[1], values[1])
        )
        assert torch.allclose(table[r, c], wanted, atol=1e-5)


def test_an_empty_entity_is_the_null_token_and_nothing_else_is():
    z = {"a": draw(3, 4), "b": draw(3, 4, seed=1)}
    present = {"a": torch.tensor([True, False, False]), "b": torch.tensor([True, True, False])}
    null = torch.full((4,), 7.0)
    tokens, there = stacked(z, present, null)
    assert there.tolist() == [[True, True, False], [False, True, False], [False, False, True]]
    net = SideAttention(4)
    found = net(tokens, there, torch.ones(3))
    assert torch.allclose(found[2], net.value(null)) and torch.isfinite(found).all()
    assert torch.allclose(found[1], net.value(z["b"][1]))


# Masks


def hidden_changed(world, rng):
    """The world with other numbers wherever a modality is missing."""
    drug = world.side("drug")
    views = {}
    for name, table in drug.views.items():
        noise = rng.normal(size=table.shape) * 9
        views[name] = table.copy()
        views[name].iloc[~drug.has(name)] = noise[~drug.has(name)]
    return world.with_sides(replace(drug, views=views))


@pytest.mark.parametrize("changes", [{}, ACMO, {"missing": "mean"}])
def test_what_an_absent_modality_holds_changes_no_bit(world, split, changes):
    rng = np.random.default_rng(0)
    assert not world.side("drug").has("genes").all()
    other = hidden_changed(world, rng)
    found = [small(**changes).fit(w, split).predict(w.pairs) for w in (world, other)]
    assert np.array_equal(*found)


def test_withheld_at_test_is_as_if_it_had_never_been_there(world, split):
    model = small(identity=False).fit(world, split)
    names = ("structure", "words", "genes", "assays")
    nobody = np.zeros(world.shape[1], dtype=bool)
    blind = model.seeing({1: dict.fromkeys(names[1:], nobody)})
    drug = world.side("drug")
    told = replace(drug, present={**drug.present, **dict.fromkeys(names[1:], nobody)})
    net, inputs = model.networks[0], blind.inputs
    assert not any(inputs.present[1][name].any() for name in names[1:])
    assert not np.allclose(blind.predict(world.pairs), model.predict(world.pairs))
    new = replace(told, frame=told.frame.set_axis([f"new {i}" for i in told.ids]))
    there = world.with_sides(new)
    found = model.predict(world.pairs, there)  # the same drugs as strangers with one modality
    assert np.allclose(found, blind.predict(world.pairs), atol=1e-6)
    none = model.seeing({1: dict.fromkeys(names, nobody)}).predict(world.pairs)
    of_protein = pd.Series(none).groupby(world.pairs[:, 0])
    assert (of_protein.max() - of_protein.min()).max() < 1e-6  # nothing tells drugs apart
    assert net.step == SMALL["steps"]
    with pytest.raises(DataError, match="no modality 'shape'.*structure"):
        model.seeing({1: {"shape": nobody}})


def test_the_contrast_masks_absent_columns_and_twins(world, split):
    model = small(align=1.0)
    inputs = model.prepare(world, split, CPU)
    torch.manual_seed(0)
    net = model.build(inputs)
    z, present = net.encoded(inputs, 1)
    before = umme._aligned(net, inputs, z, present, 1)
    lacks = ~(present["genes"] & inputs.seen[1])
    changed = {**z, "genes": torch.where(lacks[:, None], draw(*z["genes"].shape), z["genes"])}
    assert lacks.any() and torch.equal(umme._aligned(net, inputs, changed, present, 1), before)
    twins = replace(inputs, same=(inputs.same[0], torch.ones_like(inputs.same[1])))
    assert abs(umme._aligned(net, twins, z, present, 1).item()) < 1e-6  # nobody is a stranger


# Curriculum


def test_equal_reliabilities_are_no_curriculum(world, split):
    model = small(curriculum="reliability")
    net = model.build(model.prepare(world, split, CPU))
    assert torch.allclose(net.weights(1), torch.ones(6))  # nothing is known yet
    net.sides[1].running.copy_(torch.tensor([0.2, 0.5, 0.9, 1.0, 1.0, 1.0]))
    early = net.weights(1)
    r = torch.softmax(-torch.tensor([0.2, 0.5, 0.9, 1.0, 1.0]) / 0.1, 0)
    assert torch.allclose(early[:5], (5 * r).clamp(min=1e-6), atol=1e-5) and early[5] == 1
    net.step += 3  # a quarter of 12 steps: half of the ramp
    assert torch.allclose(net.weights(1)[:5], 0.5 * 5 * r + 0.5, atol=1e-5)
    net.step += 3
    assert torch.equal(net.weights(1), torch.ones(6))
    other = small(curriculum="permuted").build(model.prepare(world, split, CPU))
    other.sides[1].running.copy_(net.sides[1].running)
    assert torch.allclose(other.weights(1)[:5], early[:5].roll(1))


def test_with_one_modality_a_side_the_curriculum_changes_nothing_but_the_held_in_pairs(
    world, split
):
    views = {"row_views": ("residues",), "column_views": ("structure",), "identity": False}
    found = [
        small(curriculum=name, **views).fit(world, split).predict(world.pairs)
        for name in ("equal", "reliability", "permuted")
    ]
    assert np.allclose(found[0], found[1], atol=1e-6) and np.allclose(found[0], found[2], atol=1e-6)


@pytest.mark.parametrize(
    "kind, held_by", [("drug_blind", "split"), ("drug_blind", "pairs"), ("mixed", "split")]
)
def test_held_in_pairs_are_of_held_in_entities_where_the_split_asks(world, kind, held_by):
    cut = data.make_split(world, kind)
    config = UMMEConfig(curriculum="reliability", held_by=held_by)
    inputs = umme.prepare(world, cut, config)
    drug = inputs.pairs[:, 1]
    shared = set(drug[inputs.held].tolist()) & set(drug[~inputs.held].tolist())
    assert 0.1 < inputs.held.float().mean() < 0.3
    assert bool(shared) == (held_by == "pairs" or kind == "mixed")
    assert torch.equal(inputs.held, umme.prepare(world, cut, config).held)
    assert not umme.prepare(world, cut, UMMEConfig()).held.any()


def test_probes_reach_no_encoder_and_held_in_pairs_teach_nothing_while_it_lasts(world, split):
    model = small(curriculum="reliability", drop=0.0, drop_in=0.0, hide=0.0)
    inputs = model.prepare(world, split, CPU)
    torch.manual_seed(0)
    net = model.build(inputs)
    gone = torch.where(inputs.held, 99.0, inputs.target)
    grads = []
    for target in (inputs.target, gone):
        net.zero_grad()
        net.step.zero_()
        for side in net.sides:
            side.running.fill_(1.0)
        out = model.loss(net, replace(inputs, target=target))
        out.total.backward()
        grads.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
    net.zero_grad()
    z, present = zip(*(net.encoded(inputs, axis) for axis in (0, 1)))
    u = [torch.zeros(n, 8, requires_grad=True) for n in world.shape]
    umme._probed(net, inputs, z, present, u).backward()
    reached = {name.split(".")[2] for name, p in net.named_parameters() if p.grad is not None}
    assert reached == {"probes"} and u[0].grad is None


def test_modality_dropout_leaves_every_entity_something(world, split):
    model = small(modality_dropout="plain", lose=0.5, hide=1.0)
    inputs = model.prepare(world, split, CPU)
    net = model.build(inputs)
    _, present = net.encoded(inputs, 1)
    torch.manual_seed(0)
    left = net.lost(present, inputs.seen[1])
    had, has = (torch.stack(list(part.values()), 1) for part in (present, left))
    assert (has.any(1) == had.any(1)).all() and not (has & ~had).any()
    assert has.sum() < 0.75 * had.sum()
    calm = small(modality_dropout="scheduled", hide=0.0).build(inputs)
    assert all(torch.equal(a, present[n]) for n, a in calm.lost(present, inputs.seen[1]).items())


class Dies(Callback):
    def __init__(self, at):
        self.at = at

    def on_step(self, step, module, out, learning_rate):
        if step == self.at:
            raise KeyboardInterrupt


def test_a_fit_that_was_cut_off_in_the_curriculum_ends_with_the_same_weights(
    world, split, tmp_path
):
    changes = {**ACMO, "steps": 120, "dim": 4, "hidden": 4}
    calm = small(**changes).fit(world, split)
    for at in (55, 110):  # in the curriculum and behind it; a checkpoint is written at 50 and 100
        model = small(**changes)
        model.checkpoint, model.callbacks = tmp_path / "it.pt", [Dies(at)]
        with pytest.raises(KeyboardInterrupt):
            model.fit(world, split)
    again = small(**changes)
    again.checkpoint = tmp_path / "it.pt"
    again.fit(world, split)
    assert again.history == calm.history
    one, other = calm.state(), again.state()
    assert one.keys() == other.keys() and "0.step" in one and "0.sides.1.running" in one
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert (calm.networks[0].sides[1].running[:-1] != 1).all()


# A model like the others


@pytest.mark.parametrize("kind", ["mixed", "drug_blind", "both_blind"])
@pytest.mark.parametrize("changes", [{}, ACMO])
def test_it_learns_no_bit_from_the_test_set(world, kind, changes):
    cut = data.make_split(world, kind)
    assert audit(world, cut).clean
    settings = {**SMALL, **UMME.settings_for.get(kind, {}), **changes, "steps": 3}

    def fit(benchmark, cut):
        return UMME.make(**settings).fit(benchmark, cut).state()

    proves_blind(fit, world, cut, at_once=True).raise_if_leaky()


def test_a_step_of_a_few_rows_reads_their_pairs_and_a_pass_all_of_them_once(world, split):
    model = small(rows_a_step=7, identity=False)
    inputs = model.prepare(world, split, torch.device("cpu"))
    inputs.seen[0][3] = False  # somebody without a training pair is in no pass
    passes = list(model.batches(inputs))
    assert sorted(torch.cat(passes).tolist()) == inputs.seen[0].nonzero()[:, 0].tolist()
    assert {len(rows) for rows in passes[:-1]} == {7}
    net = model.build(inputs).eval()
    rows = passes[0]
    some = torch.isin(inputs.pairs[:, 0], rows)
    said = net(inputs, inputs.pairs[some])
    wanted = ((said - inputs.target[some]) ** 2).mean()
    assert torch.allclose(model.loss(net, inputs, rows).total, wanted, atol=1e-5)
    with pytest.raises(DataError, match="rows_a_step of 7 with the curriculum 'equal'"):
        UMME.make(rows_a_step=7, curriculum="equal")


def test_a_saved_model_and_strangers(world, split, tmp_path):
    model = small(**ACMO).fit(world, split)
    model.save(tmp_path / "it")
    again = UMME.load(tmp_path / "it")
    assert np.array_equal(again.predict(world.pairs), model.predict(world.pairs))
    assert again.reliabilities() == model.reliabilities()
    assert sum(model.reliabilities()["column"].values()) == pytest.approx(1)


def test_the_whole_table_and_the_pairs_one_by_one_are_one_model(world, split):
    model = small(identity=False).fit(world, split)
    few = model.predict(world.pairs[:20])
    assert np.allclose(few, model.predict(world.pairs)[:20], atol=1e-6)
    inputs = model.prepare(world, split, CPU)
    assert inputs.dense
    net, asked = model.networks[0], inputs.pairs
    assert torch.allclose(net(inputs, asked, True), net(inputs, asked, False), atol=1e-5)


def labelled(world):
    """The world as yes or no."""
    return replace(world, y=(world.y > np.median(world.y)).astype(float), task="labels")


def test_labels_are_predicted_as_chances(world):
    yes = labelled(world)
    cut = data.make_split(yes, "mixed")
    model = small(steps=80, learning_rate=0.02, hide=0.0).fit(yes, cut)
    found = model.predict(yes.pairs)
    assert ((found > 0) & (found < 1)).all()
    assert model.history[-1]["error"] < 0.85 * model.history[0]["error"]
    said = torch.tensor([0.3, -2.0])
    wanted = [np.log1p(np.exp(-0.3)), np.log1p(np.exp(-2.0))]
    assert np.allclose(model.networks[0].error(said, torch.tensor([1.0, 0.0])).detach(), wanted)


def test_real_kinds_of_modalities(tmp_path):
    rng = np.random.default_rng(0)
    smiles = ["c1ccccc1", "CCO", "c1ccncc1", "CCN", "c1ccoc1", "CCCl", "CC(=O)O", "C1CCCCC1", None]
    ids = pd.Index([f"d{i}" for i in range(len(smiles))], name="drug")
    assay = pd.DataFrame(rng.integers(0, 2, (9, 5)).astype(float), ids, list("vwxyz"))
    assay.iloc[2, 1:3] = np.nan
    drug = Side(
        "drug",
        pd.DataFrame({"name": ids, "smiles": smiles}, ids),
        views={"assay": assay},
        present={"assay": np.arange(9) % 3 != 0},
    )
    names = pd.Index([f"p{i}" for i in range(8)], name="protein")
    sequences = pd.Series(
        ["".join(rng.choice(list("ACDEFGHIKL"), 30 + i)) for i in range(8)], names
    )
    roles = pd.Series(
        ["binds ATP", "", "cleaves", "moves", "signals", "holds", "reads", "cuts"], names
    )
    protein = Side(
        "protein",
        pd.DataFrame({"name": names}, names),
        views={"sequence": sequences, "function": roles},
    )
    row, column = map(np.ravel, np.meshgrid(np.arange(8), np.arange(9), indexing="ij"))
    values = pd.DataFrame({"protein": names[row], "drug": ids[column], "y": rng.normal(6, 1, 72)})
    tiny = Benchmark.from_ids("tiny", (protein, drug), values, task="affinity", target="pkd")
    split = data.make_split(tiny, "mixed")
    views = {
        "row_views": ("auto",),
        "column_views": ("graph", "smiles", "shape/fingerprint", "assay"),
    }
    model = small(kernel_rows=True, **views).fit(tiny, split)
    assert list(model.inputs.x[0]) == ["sequence", "function", "kernel"]
    assert list(model.inputs.x[1]) == ["graph", "smiles", "fingerprint", "assay", "kernel"]
    assert model.inputs.present[1]["graph"].tolist() == [True] * 8 + [False]
    assert model.inputs.present[0]["function"].sum() == 7
    found = model.predict(tiny.pairs)
    assert np.isfinite(found).all()
    stranger = replace(drug, frame=drug.frame.set_axis([f"e{i}" for i in range(9)]))
    assert np.isfinite(model.predict(tiny.pairs, tiny.with_sides(stranger))).all()
    marked = small(row_views=("words_3",), landmarks=4, column_views=("fingerprint",))
    marked = marked.fit(tiny, split).inputs.x[0]["words_3"]  # compared with four of eight
    assert marked.shape == (8, 4) and np.isfinite(marked.numpy()).all()
    mlp = small(head="mlp", row_views=("sequence",), column_views=("smiles",), identity=False)
    assert np.isfinite(mlp.fit(tiny, split).predict(tiny.pairs)).all()
    for wrong, what in (
        ({"row_views": ("shape",)}, "proteins have no 'shape'.*sequence"),
        ({"column_views": ("words_3",)}, "drugs have no 'words_3'.*assay"),
        ({"row_views": (), "identity": False}, "the proteins of tiny have no modality"),
        ({"curriculum": "fast"}, "unknown curriculum 'fast'"),
        ({"lose": 1.5}, "lose of 1.5"),
    ):
        with pytest.raises(DataError, match=what):
            small(**wrong).fit(tiny, split)


def test_the_head_without_attention_is_a_product_of_sums(world, split):
    """Before the questions have learnt anything: levels + sums of what the encoders say, multiplied
    and scaled; identities of new drugs are absent, and in training their elements are dropped.
    """
    model = small(head="dot", identity=True, steps=1, drop_identity=0.5)
    inputs = model.prepare(world, split, torch.device("cpu"))
    torch.manual_seed(0)
    net = model.build(inputs).eval()
    total = []
    for axis, side in enumerate(net.sides):
        u = torch.where(inputs.seen[axis][:, None], side.free, torch.zeros(()))
        for name, encode in side.encoders.items():
            there = inputs.present[axis][name][:, None]
            u = u + torch.where(there, encode(inputs.x[axis][name]), torch.zeros(()))
        total.append(u)
    empty = [(u == 0).all(1) for u in total]  # an entity of no modality is the null token
    total = [
        torch.where(none[:, None], side.null, u)
        for none, side, u in zip(empty, net.sides, total, strict=True)
    ]
    level = [layer(u)[:, 0] for layer, u in zip(net.level, total, strict=True)]
    wanted = level[0][:, None] + level[1] + total[0] @ total[1].T / model.config.dim**0.5
    pairs = torch.from_numpy(world.pairs)
    wanted = wanted[tuple(pairs.T)]
    with torch.no_grad():
        for dense in (True, False):
            assert torch.allclose(net(inputs, pairs, dense), wanted, atol=1e-5)
    z = net.train().sides[1].embeddings(inputs.x[1])["identity"]
    kept = z != 0
    assert 0.4 < kept.float().mean() < 0.6
    assert torch.allclose(z[kept], 2 * net.sides[1].free[kept])


def test_landmarks_are_spread_over_the_training_entities():
    """Columns of the whole comparison, those of every third drug of the training set."""
    ids = pd.Index([f"d{i}" for i in range(9)], name="drug")
    smiles = pd.DataFrame({"name": ids, "smiles": ["C" * (i + 1) + "O" for i in range(9)]}, ids)
    side = Side("drug", smiles)
    rows = np.arange(7)
    some, all_of = (
        Alike(kinds=("morgan",), landmarks=n).fit(side, rows).make(side)[0] for n in (3, 0)
    )
    assert all_of.shape == (9, 7) and np.allclose(some, all_of[:, [0, 3, 6]])
    assert np.allclose(Alike(kinds=("morgan",), landmarks=9).fit(side, rows).make(side)[0], all_of)


def test_measurements_with_gaps_are_scaled_by_training_entities_that_have_them():
    ids = pd.Index(list("abcde"), name="drug")
    table = pd.DataFrame({"x": [1.0, 3.0, 5.0, 99.0, 7.0], "y": [0.0, np.nan, 2.0, 99.0, 4.0]}, ids)
    side = Side(
        "drug",
        pd.DataFrame({"name": ids}, ids),
        views={"t": table},
        present={"t": np.array([True, True, True, False, True])},
    )
    recipe = Measured("t").fit(side, np.array([0, 1, 2, 3]))
    z, there = recipe.make(side)
    assert recipe.fitted_on.tolist() == [0, 1, 2] and there.tolist() == [True] * 3 + [False, True]
    assert z[:, 0] == pytest.approx([-1.2247, 0, 1.2247, 0, 2.4495], abs=1e-4)
    assert z[:, 1].tolist() == [-1, 0, 1, 0, 3] and z[:, 2].tolist() == [1, 0, 1, 0, 1]


def test_rows_of_kernels_compare_with_training_entities_alone():
    ids = pd.Index(list("abcd"), name="drug")
    smiles = ["CCO", "CCN", "c1ccccc1", ""]
    side = Side("drug", pd.DataFrame({"name": ids, "smiles": smiles}, ids))
    recipe = Alike(kinds=("morgan",)).fit(side, np.array([0, 1]))
    z, there = recipe.make(side)
    assert z.shape == (4, 2) and there.tolist() == [True, True, True, False]
    raw = z * recipe.deviation + recipe.mean
    assert raw[0, 0] == pytest.approx(1) and raw[0, 1] == pytest.approx(raw[1, 0])
    assert not z[3].any()
    views = {"sequence": pd.Series(["MKVMKV", "MKVAAA", "", "MKV"], ids)}
    protein = Side("protein", pd.DataFrame({"name": ids}, ids), views=views)
    words = Alike(kinds=("words_2", "words_3")).fit(protein, np.arange(4))
    assert words.make(protein)[0].shape == (4, 6)  # the empty one is no reference


# The invented world


def test_the_world_is_what_it_says(world):
    assert world.simulated and world.kinds == ("mixed", "protein_blind", "drug_blind", "both_blind")
    assert data.load("interactions", drugs=40, proteins=24, seed=2).checksum == world.checksum
    big = data.load("interactions", drugs=4000, proteins=20, seed=1)
    drug = big.side("drug")
    for name, share in simulated.TRUTHS["structure"].missing.items():
        assert 1 - drug.has(name).mean() == pytest.approx(share, abs=0.03)
        assert not drug.views[name].to_numpy()[~drug.has(name)].any()
    assert big.y.var() == pytest.approx(simulated.SD**2, rel=0.15)
    assert data.load("interactions", rate=0.0).side("drug").has("genes").all()


@pytest.mark.parametrize("truth", simulated.TRUTHS)
def test_a_modality_explains_the_match_as_it_is_worth(truth):
    made = simulated.TRUTHS[truth]
    assert sum(made.share.values()) == pytest.approx(1)
    rng = np.random.default_rng(0)
    width = simulated.BLOCK * 5
    u, v = rng.standard_normal((6000, width)), rng.standard_normal((12, width))
    share = np.repeat(list(made.share.values()), simulated.BLOCK)
    match = u @ (v * np.sqrt(share / simulated.BLOCK)).T  # [drugs, proteins]
    for number, name in enumerate(simulated.OF_DRUGS, start=1):
        seen = np.r_[0 : simulated.BLOCK, simulated.BLOCK * number : simulated.BLOCK * (number + 1)]
        hidden = u[:, seen] if name != made.barcode else rng.standard_normal((6000, len(seen)))
        x = simulated._shown(hidden, made.reliability[name], rng)
        fit, *_ = np.linalg.lstsq(x, match, rcond=None)
        explained = 1 - ((match - x @ fit) ** 2).sum() / (match**2).sum()
        # the texture costs a few hundredths, and twelve proteins are a sample
        assert explained == pytest.approx(made.worth[name], abs=0.1)


def test_informative_missingness_tells_of_the_level_and_random_does_not():
    gaps = []
    for missing in simulated.MISSING:
        world = data.load("interactions", drugs=1500, proteins=20, missing=missing)
        level = pd.Series(world.y).groupby(world.pairs[:, 1]).mean().reindex(range(1500))
        there = world.side("drug").has("genes")
        gaps.append(level[there].mean() - level[~there].mean())
    assert abs(gaps[0]) < 0.1 and gaps[1] > 0.3


@pytest.mark.parametrize(
    "options, what",
    [
        ({"truth": "shape"}, "unknown truth 'shape'"),
        ({"missing": "never"}, "unknown missingness"),
        ({"rate": 2.0}, "a rate of 2.*less than 2"),
        ({"rate": -1.0}, "a rate of -1"),
        ({"drugs": 5}, "at least 20"),
    ],
)
def test_a_world_that_cannot_be_is_refused(options, what):
    with pytest.raises(DataError, match=what):
        data.load("interactions", **options)


def test_registered_models_are_switches_of_one():
    plain, acmo = models.build("umme"), models.build("acmo")
    assert plain.config.curriculum == "none" and not plain.config.align
    assert (acmo.config.curriculum, acmo.config.modality_dropout) == ("reliability", "scheduled")
    assert models.build("umme", "drug_blind").config.identity is False
    assert models.build("deep_dta").config.head == models.build("graph_dta").config.head == "mlp"


# What the chapter draws


def test_the_figures_show_what_they_are_given():
    matplotlib.use("agg", force=True)
    over = np.linspace(0, 1, 9)
    axes = plotting.curriculum(over, {"a": over, "b": 1 - over}, ends=0.5)
    assert [line.get_label() for line in axes.get_lines()[1:]] == ["a", "b"]
    long = pd.DataFrame(
        [("t", seed, m, 0.5) for seed in range(2) for m in "xy"],
        columns=["truth", "seed", "modality", "reliability"],
    )
    panel = plotting.reliabilities(long, {"t": {"x": 0.1, "y": 0.9}})[0]
    assert [text.get_text() for text in panel.get_xticklabels()] == ["y\n0.90", "x\n0.10"]
    assert len(panel.get_lines()) == 2
    rows = pd.DataFrame({"mean": [1.0, 0.1], "low": [0.5, -1], "high": [2.0, 1.0]}, ["p", "q"])
    axes = plotting.changes(rows, "gain")
    assert [text.get_text() for text in axes.get_yticklabels()] == ["q", "p"]
    hollow = [line.get_mfc() == "none" for line in axes.get_lines() if line.get_marker() == "o"]
    assert hollow == [True, False]
    dots = plotting.withheld(pd.DataFrame({"many": [1, 1, 2], "score": [3.0, 1.0, 1.0]}), "MSE")
    assert dots.get_lines()[1].get_ydata().tolist() == [2.0, 1.0]
    plt.close("all")


# What is done to drugs at test, and what was withheld in training


@pytest.fixture(scope="module")
def script():
    """experiments/umme.py, with short trainings."""
    spec = importlib.util.spec_from_file_location("umme_script", EXPERIMENTS / "umme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.WORLD, module.SMALL = {"drugs": 40, "proteins": 24}, SMALL
    return module


def test_noise_is_of_the_size_that_is_said_and_reaches_nothing_that_is_absent(script, world, split):
    model = small().fit(world, split)
    asked = world.pairs[split.test]
    assert np.array_equal(script.noisy(model, 0.0).predict(asked), model.predict(asked))
    loud = script.noisy(model, 2.0)
    known = model.inputs.present[1]["words"] & model.inputs.seen[1]
    error = (loud.inputs.x[1]["words"] - model.inputs.x[1]["words"]).std(0)
    wanted = 2 * model.inputs.x[1]["words"][known].std(0)
    assert (error / wanted).mean() == pytest.approx(1, abs=0.1)
    nobody = np.zeros(40, dtype=bool)
    off = {1: dict.fromkeys(model.inputs.present[1], nobody)}
    assert np.array_equal(loud.seeing(off).predict(asked), model.seeing(off).predict(asked))
    assert not np.array_equal(loud.predict(asked), model.predict(asked))


def test_only_drugs_of_training_and_validation_lose_modalities(script):
    model, benchmark, split = script.fit_world("words", 2, {}, rate=0.0, lost=0.5)
    test = np.isin(np.arange(40), benchmark.pairs[split.test, 1])
    for there in model.inputs.present[1].values():
        assert there[test].all() and 0.2 < there[~test].float().mean() < 0.8


# What the record of the invented worlds says; the ledger holds claims against these


def worlds():
    frame = pd.DataFrame(records.read("umme-world", EXPERIMENTS).metrics["rows"])
    frame[["truth", "seed", "variant"]] = frame["key"].str.split("/", n=2, expand=True).to_numpy()
    return frame


def test_reliabilities_judged_by_held_in_drugs_rank_modalities_as_they_were_made():
    frame = worlds()
    frame = frame[(frame["variant"] == "reliability first") & (frame["truth"] != "barcode")]
    right = 0
    for _, row in frame.iterrows():
        worth = simulated.TRUTHS[row["truth"]].worth
        found = row["reliability"]
        right += sorted(worth, key=worth.get) == sorted(found, key=found.get)
    assert len(frame) == 15 and right >= 13


def test_a_judge_of_pairs_trusts_a_barcode_more_than_a_judge_of_drugs_does():
    frame = worlds().set_index(["variant", "seed"])
    trust = [
        [row["assays"] for row in frame.loc[f"judged by held-in {who}", "reliability"]]
        for who in ("pairs", "drugs")
    ]
    pairs, drugs = (np.array(part[: min(map(len, trust))]) for part in trust)
    assert len(pairs) >= 4 and (pairs > drugs).all() and pairs.mean() > 0.25


def test_verdicts_on_the_parts_of_acmo_are_paired_world_by_world(tmp_path):
    """The ledger's differences are those of a loop over truths and seeds, and change with rows."""
    score = {row["key"]: row for _, row in worlds().iterrows()}
    gaps = [
        score[f"{truth}/{seed}/contrast"]["mse_half"] - score[f"{truth}/{seed}/plain"]["mse_half"]
        for truth in ("genes", "structure", "words")
        for seed in range(5)
    ]
    found = world_gaps("contrast", "plain", True, EXPERIMENTS)
    np.testing.assert_allclose(found, gaps)
    claim = {
        "id": "c",
        "title": "t",
        "claim": "c",
        "by": "here",
        "where": "here",
        "tests": [
            {"world": "new", "against": "old", "expect": "better"},
            {"world": "old", "against": "new", "expect": "better"},
            {"world": "same", "against": "old", "expect": "better"},
        ],
    }
    shift = {"old": 0.0, "new": -0.5, "same": 0.0}
    rng = np.random.default_rng(0)
    rows = [
        {"key": f"words/{seed}/{name}", "mse": 1 + by + 0.01 * rng.standard_normal()}
        for seed in range(5)
        for name, by in shift.items()
    ]
    parts = {"config": {}, "metrics": {"rows": rows}, "provenance": {}}
    records.write_derived("umme-world", parts, tmp_path)
    outcome = evidence([check_claim(claim)], tmp_path, tmp_path)
    assert list(outcome["outcome"]) == ["holds", "fails", "fails"]
    assert outcome["why"][2].startswith("no difference found (smallest we could have seen")
    with pytest.raises(DataError, match="withhold"):
        check_claim(claim | {"tests": [claim["tests"][0] | {"withhold": True}]})


def test_a_curriculum_that_goes_all_the_way_is_asked_with_and_without_what_it_trusts():
    """Fifteen worlds, the same trainings: without the trusted modality everybody errs more."""
    frame = pd.DataFrame(records.read("umme-shift", EXPERIMENTS).metrics["rows"])
    frame[["truth", "seed", "variant"]] = frame["key"].str.split("/", n=2, expand=True).to_numpy()
    assert frame.groupby("variant").size().to_dict() == {"sharp equal": 15, "sharp reliability": 15}
    lost = frame.groupby("truth")[["mse", "mse_without"]].mean()
    assert (lost["mse_without"] > lost["mse"]).all() and set(lost.index) == {
        "structure",
        "words",
        "genes",
    }
