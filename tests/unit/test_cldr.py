"""CLDR's network: the shared route equals the published one, arms differ in what they say they do,
nothing of the test set is read, and bad input is refused.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from clmt_lib import data, models
from clmt_lib.data.response.gdsc1 import CLDR_DRUGS, cldr_partitions
from clmt_lib.io import DataError
from clmt_lib.models import cldr
from clmt_lib.models.baselines.linear import per_drug_targets
from clmt_lib.models.cldr import ARMS, CLDR, DEFECTS, CLDRConfig
from clmt_lib.models.clmt.corrected import similar_responses
from clmt_lib.nn.contrast import info_nce, rank_n_contrast
from clmt_lib.nn.encoders import SequenceTower
from clmt_lib.nn.molecular import AttentionEncoder, ConvolutionEncoder, max_of_atoms
from clmt_lib.nn.numbers import LineNumbers, NumberGraph, RBFNumbers, SinusoidalNumbers
from clmt_lib.views.captions import labels
from clmt_lib.views.geometry import molecule_graphs

QUICK = {
    "updates": 8,
    "hidden": 16,
    "dim": 8,
    "text_width": 8,
    "text_layers": 2,
    "text_heads": 2,
    "tile": (12, 8),
    "block": 32,
    "tower": 16,
    "drop": 0.0,
    "drop_in": 0.0,
    "drop_pair": 0.0,
}


@pytest.fixture(scope="module")
def world():
    benchmark = data.load("simulated", cells=40)
    return benchmark, data.make_split(benchmark, "cell_blind")


def made(world, **settings):
    """(model, inputs, network) before any training."""
    model = models.build("cldr", **{**QUICK, **settings})
    inputs = model.prepare(*world, torch.device("cpu"))
    torch.manual_seed(0)
    return model, inputs, model.build(inputs)


@pytest.mark.parametrize("caption", ["published", "entity", "facts"])
def test_the_shared_route_of_captions_equals_the_published_one(world, caption):
    """Values and gradients, where every caption is written out and padded to the context."""
    _, inputs, net = made(world, alignment="clip", caption=caption, graph=True)
    padded = CLDRConfig(
        **{**QUICK, "alignment": "clip", "caption": caption, "graph": True},
        defects=("whole_context_padded",),
    )
    rows = torch.arange(0, len(inputs.pairs), 37)
    pairs, codes = inputs.pairs[rows], inputs.code[rows]
    found = []
    for config in (net.config, padded):
        net.config = config
        net.zero_grad()
        texts, tied = net.texts(inputs, pairs, codes)
        (texts.sin().sum() + tied).backward()
        towers = (net.caption, net.number, net.join)
        grads = [p.grad.clone() for tower in towers for p in tower.parameters()]
        found.append((texts, tied, grads))
    (texts, tied, grads), (plain, plain_tied, plain_grads) = found
    assert torch.allclose(texts, plain, atol=1e-5)
    assert torch.allclose(tied, plain_tied, atol=1e-5)
    for one, other in zip(grads, plain_grads, strict=True):
        assert torch.allclose(one, other, atol=1e-5 * max(1.0, other.abs().max().item()))


def test_a_caption_written_out_is_its_sentence(world):
    benchmark, split = world
    written = cldr.Captions.written(benchmark, (np.arange(40), np.arange(113)), "published")
    pair = torch.tensor([[3, 5]])
    parts = [torch.as_tensor(side.ids) for side in (written.drug, written.line)]
    lengths = [torch.as_tensor(side.length) for side in (written.drug, written.line)]
    ids, length = cldr._whole(
        (parts[0][[5]], parts[1][[3]]), (lengths[0][[5]], lengths[1][[3]]), 300
    )
    said = [written.tokeniser.vocabulary[i] for i in ids[0, : int(length)]]
    smiles = benchmark.drugs["smiles"].iloc[5]
    assert "".join(said).startswith(f"thedrugresponsevaluebetween{smiles}and")
    assert said[-1] == "is" and (ids[0, int(length) :] == 0).all()
    assert pair.shape == (1, 2)


def test_embeddings_of_pairs_equal_features_written_down_pair_by_pair(world):
    _, inputs, net = made(world)
    net.eval()
    pairs = inputs.pairs[::53]
    parts = []
    for views, tower, column in ((inputs.cell, net.cell, 0), (inputs.drug, net.drug, 1)):
        parts.append(sum(tower.views[name](x[pairs[:, column]]) for name, x in views.items()))
    h = F.gelu(F.layer_norm(parts[0][:, :16] + parts[1][:, :16], (16,)))  # norms start as such
    h = F.gelu(F.layer_norm(net.pair.of_sum[3](h), (8,)))
    p = parts[0][:, 16:] * parts[1][:, 16:]
    plain = net.pair.merge(torch.cat([h, p], 1))
    assert torch.allclose(net.embedded(inputs, pairs), plain, atol=1e-5)


@pytest.mark.parametrize("within", [False, True])
def test_the_alignment_is_the_mean_of_blocks_of_the_plain_loss(world, within):
    model, inputs, net = made(world, alignment="rank", within=within, block=1000)
    rows = torch.arange(0, len(inputs.pairs), 29)
    z = net.embedded(inputs, inputs.pairs[rows])
    found = cldr.alignment(net, inputs, rows, z, model.config)
    groups = inputs.pairs[rows, 1] if within else None
    assert torch.allclose(found, rank_n_contrast(z, inputs.label[rows], groups=groups), atol=1e-6)


@pytest.mark.parametrize("within", [False, True])
def test_fewer_blocks_read_fewer_rows(world, within):
    model, inputs, net = made(world, alignment="soft", within=within, block=10, blocks=2)
    rows = torch.nonzero(inputs.pairs[:, 1] < 4)[:, 0]
    z = net.embedded(inputs, inputs.pairs[rows]).detach().requires_grad_()
    cldr.alignment(net, inputs, rows, z, model.config).backward()
    assert 0 < (z.grad.abs().sum(1) > 0).sum() <= 20


def test_the_alignment_of_entities_equals_a_loop_over_lines_and_over_drugs(world):
    benchmark, split = world
    model, inputs, net = made(world, alignment="entities")
    table, _, _, _ = per_drug_targets(benchmark, split)
    reference = similar_responses(table)
    rows = torch.arange(0, len(inputs.pairs), 31)
    pairs, total = inputs.pairs[rows], 0.0
    for axis, (name, tower) in enumerate((("cell", net.cell), ("drug", net.drug))):
        alike, known = reference[name]
        met = [i for i in pairs[:, axis].unique().tolist() if known[i]]
        z = tower(getattr(inputs, name), torch.tensor(met))
        gaps = [
            (F.cosine_similarity(z[a], z[b], dim=0) - alike[met[a], met[b]]) ** 2
            for a in range(len(met))
            for b in range(len(met))
            if a != b
        ]
        total = total + sum(gaps) / len(gaps)
    z = net.embedded(inputs, pairs)
    assert torch.allclose(cldr.alignment(net, inputs, rows, z, model.config), total, atol=1e-4)


def test_rows_with_one_word_are_no_negatives_unless_the_defect_is_on(world):
    rows = torch.arange(60)
    losses = {}
    for defects in ((), ("ties_as_negatives",)):
        model, inputs, net = made(world, alignment="clip", block=1000, defects=defects)
        z = net.embedded(inputs, inputs.pairs[rows])
        texts, _ = net.texts(inputs, inputs.pairs[rows], inputs.code[rows])
        code = inputs.code[rows]
        same = None if defects else code[:, None] == code[None]
        plain = info_nce(z, texts, net.temperature(), same=same)
        losses[defects] = cldr.alignment(net, inputs, rows, z, model.config).item()
        assert losses[defects] == pytest.approx(plain.item(), abs=1e-5)
    assert losses[()] < losses["ties_as_negatives",]


def test_shuffled_labels_are_the_same_labels_in_another_order(world):
    _, inputs, _ = made(world, alignment="clip", caption="entity")
    _, dealt, _ = made(world, alignment="clip", caption="entity", shuffled=True)
    assert torch.equal(inputs.label.sort()[0], dealt.label.sort()[0])
    assert (inputs.label != dealt.label).float().mean() > 0.9
    assert torch.equal(inputs.target, dealt.target)  # fine-tuning reads the true ones


@pytest.mark.parametrize("target", ["residual", "normalised"])
def test_targets_come_back_as_responses(world, target):
    benchmark, split = world
    _, inputs, _ = made(world, target=target)
    pairs, y = benchmark.pairs[split.train], benchmark.y[split.train]
    assert np.allclose(inputs.in_units(inputs.target.numpy(), pairs[:, 1]), y, atol=1e-3)
    table, offset, _, _ = per_drug_targets(benchmark, split)
    if target == "residual":
        assert np.allclose(inputs.target.numpy(), table[tuple(pairs.T)], atol=1e-5)
        y = y - offset[pairs[:, 1]]
    assert np.allclose(inputs.label.numpy(), labels(y), atol=1e-6)


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_trains_and_keeps_the_phases_it_has(world, arm):
    benchmark, split = world
    model = models.build("cldr", **QUICK, **ARMS[arm]).fit(benchmark, split)
    pairs = benchmark.pairs[split.test][:50]
    assert np.isfinite(model.predict(pairs)).all()
    steps = {
        phase: max((row["step"] for row in model.history if row["phase"] == phase), default=0)
        for phase in ("pre-training", "fine-tuning")
    }
    assert tuple(steps.values()) == model.config.steps
    assert sum(steps.values()) == model.config.updates  # every arm pays for what it does
    first = model.embed(pairs, "untrained")
    last = model.embed(pairs)
    assert first.shape == last.shape == (50, 8) and not np.allclose(first, last)
    if model.config.steps[0]:
        between = model.embed(pairs, "pretrained")
        assert not np.allclose(between, first) and not np.allclose(between, last)
    else:
        with pytest.raises(DataError, match="pretrained"):
            model.embed(pairs, "pretrained")
    if model.config.reads:
        assert model.numbers().shape == (1001, 8)
        assert set(np.rint(1000 * model.read(pairs))) <= set(model.inputs.code.tolist())
    else:
        with pytest.raises(DataError, match="reads no numbers"):
            model.numbers()


def test_arms_start_from_the_same_weights(world):
    _, _, mse = made(world)
    for arm in ("clip_caption", "rank_before", "soft"):
        _, _, other = made(world, **ARMS[arm])
        for name in ("cell", "drug", "pair"):
            parts = zip(getattr(mse, name).parameters(), getattr(other, name).parameters())
            assert all(torch.equal(a, b) for a, b in parts)


def test_fine_tuning_starts_where_pre_training_ended(world):
    """With no update worth mentioning, the weights stay those of pre-training."""
    benchmark, split = world
    still = replace(CLDRConfig(**QUICK, **ARMS["rank_before"]), weight_decay=0.0)
    model = CLDR(still)
    rate = model.schedule
    model.schedule = lambda inputs: replace(rate(inputs), learning_rate=1e-12)
    model.fit(benchmark, split)
    pairs = benchmark.pairs[split.test][:20]
    assert np.allclose(model.embed(pairs), model.embed(pairs, "pretrained"), atol=1e-6)


@pytest.mark.parametrize("budget, steps", [("total", (2, 6)), ("fine_tuning", (2, 8))])
def test_budgets(budget, steps):
    config = CLDRConfig(alignment="rank", updates=8, pre=0.25, budget=budget)
    assert config.steps == steps
    assert CLDRConfig(updates=8, pre=0.25, budget=budget).steps == (0, 8)
    assert replace(config, when="joint").steps == (0, 8)


def test_no_test_pair_reaches_the_training(world):
    benchmark, split = world
    y = benchmark.y.copy()
    y[split.test] = np.random.default_rng(0).permutation(y[split.test]) + 3
    settings = {**QUICK, **ARMS["clip_caption"], "defects": ("identity_in_caption",)}
    states = [
        models.build("cldr", **settings).fit(table, split).state()
        for table in (benchmark, replace(benchmark, y=y))
    ]
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])


def test_few_labels_are_all_that_is_read(world):
    benchmark, split = world
    few = cldr.thinned(split, 0.1, 0)
    assert len(few.train) == round(0.1 * len(split.train)) and set(few.train) <= set(split.train)
    y = benchmark.y.copy()
    y[np.setdiff1d(split.train, few.train)] += 5
    found = [
        models.build("cldr", **QUICK, share=0.1)
        .fit(table, split)
        .predict(benchmark.pairs[split.test])
        for table in (benchmark, replace(benchmark, y=y))
    ]
    assert np.array_equal(*found)


def test_warm_validation_knows_every_drug(world):
    benchmark, _ = world
    split = data.make_split(benchmark, "drug_blind")
    warm = cldr.warmed(split, 0)
    drugs = {name: set(benchmark.pairs[rows, 1]) for name, rows in warm.sets().items()}
    assert drugs["valid"] <= drugs["train"] and not drugs["test"] & drugs["train"]
    pooled = np.sort(np.concatenate([split.train, split.valid]))
    assert np.array_equal(np.sort(np.concatenate([warm.train, warm.valid])), pooled)
    assert np.array_equal(warm.test, split.test)


def test_the_23_named_drugs_are_the_test_set_with_all_their_ids(world):
    benchmark, _ = world
    frame = benchmark.drugs.copy()
    frame["name"] = [*CLDR_DRUGS, *map("other {}".format, range(len(frame) - 23))]
    frame.iloc[30, frame.columns.get_loc("compound")] = frame["compound"].iloc[4]  # another id
    renamed = benchmark.with_frames(drug=frame)
    held_out = {*range(23), *np.flatnonzero(frame["compound"].isin(frame["compound"].iloc[:23]))}
    assert 30 in held_out
    named = replace(renamed, partitions=cldr_partitions(renamed))
    for kind, blind in (("published", False), ("published_cold", True)):
        split = data.make_split(named, kind, fold=1)
        drugs = {part: set(named.pairs[rows, 1]) for part, rows in split.sets().items()}
        assert drugs["test"] == held_out and not drugs["test"] & (drugs["train"] | drugs["valid"])
        assert bool(drugs["valid"] & drugs["train"]) is not blind
        assert len(np.concatenate(list(split.sets().values()))) == len(named)
    assert cldr_partitions(benchmark.with_frames(drug=frame.assign(name="nobody"))) == {}


def test_published_has_every_defect_and_repaired_none():
    published = CLDRConfig.published()
    assert all(published.has(name) for name in DEFECTS) and published.said == "published"
    repaired = CLDRConfig.published(defects=())
    assert not any(repaired.has(name) for name in DEFECTS) and repaired.said == "none"
    slow = CLDR(published).schedule(None).learning_rate
    assert slow == pytest.approx(cldr.RATE * published.learning_rate)
    assert CLDR(repaired).schedule(None).learning_rate == repaired.learning_rate
    assert published.steps == (150, 300) and repaired.steps == (150, 150)


@pytest.mark.parametrize("backbone", ["graphdrp", "deepcdr"])
def test_backbones_of_molecules_train_and_meet_new_drugs(world, backbone):
    benchmark, split = world
    names = ["mutation", "expression"]
    model = models.build("cldr", **QUICK, backbone=backbone, cell_views=names).fit(benchmark, split)
    pairs = benchmark.pairs[split.test][:30]
    found = model.predict(pairs)
    assert np.isfinite(found).all() and found.std() > 0
    frame = benchmark.drugs.copy()
    frame.index = [
        f"new {name}" if i == pairs[0, 1] else name for i, name in enumerate(frame.index)
    ]
    other = benchmark.with_frames(drug=frame)
    again = model.predict(pairs, other)
    asked = pairs[:, 1] == pairs[0, 1]
    assert np.allclose(again[~asked], found[~asked], atol=1e-4)
    assert np.isfinite(again).all()


def test_molecular_encoders_equal_their_equations():
    """One graph with dense matrices: normalised adjacency with self-loops, and attention."""
    graphs = molecule_graphs(pd.DataFrame({"smiles": ["CCO", None, "c1ccccc1C"]}))
    torch.manual_seed(0)
    n = len(graphs.atom)
    table = torch.eye(n)
    table[graphs.bond_index[1], graphs.bond_index[0]] = 1.0
    degree = table.sum(1) ** -0.5
    normal = degree[:, None] * table * degree[None]
    encoder = ConvolutionEncoder((6, 5), dim=4, drop=0.0).eval()
    h = encoder.atoms(graphs.atom)
    for layer, norm in zip(encoder.layers, encoder.norms, strict=True):
        h = F.relu(norm(normal @ h @ layer.lin.weight.T + layer.bias))
    pooled = torch.stack(
        [
            h[graphs.molecule == i].max(0)[0] if (graphs.molecule == i).any() else torch.zeros(5)
            for i in range(3)
        ]
    )
    assert torch.allclose(encoder(graphs), pooled, atol=1e-5)
    attend = AttentionEncoder(3, 2, 7, 4, drop=0.0).eval()
    x = attend.atoms(graphs.atom)
    layer = attend.attend
    heads = (x @ layer.lin.weight.T).view(n, 2, 3)
    source, target = ((heads * part).sum(-1) for part in (layer.att_src, layer.att_dst))
    score = F.leaky_relu(source[None] + target[:, None], 0.2)  # [hears, heard, heads]
    share = score.masked_fill(table[..., None] == 0, -torch.inf).softmax(1)
    h = F.relu(torch.einsum("ijk,jkd->ikd", share, heads).reshape(n, 6) + layer.bias)
    h = F.relu(normal @ h @ attend.convolve.lin.weight.T + attend.convolve.bias)
    rows = [h[graphs.molecule == i] for i in (0, 2)]
    pools = torch.stack([torch.cat([row.max(0)[0], row.mean(0)]) for row in rows])
    assert torch.allclose(attend(graphs)[[0, 2]], attend.read_out(pools), atol=1e-5)
    assert (attend(graphs)[1] == 0).all() and (encoder(graphs)[1] == 0).all()
    assert torch.equal(
        max_of_atoms(torch.tensor([[-1.0], [-2.0]]), torch.tensor([1, 1]), 2),
        torch.tensor([[0.0], [-1.0]]),
    )


def test_too_few_features_for_the_convolutions_are_refused():
    with pytest.raises(DataError, match="too few"):
        SequenceTower(100)


def looped_graph(e, r, summed, shrinks):
    terms = []
    for n in range(len(e) - 1):
        near = (e[n] + r - e[n + 1]).abs().sum()
        far = (e[n + 1] + r - e[n]).abs().sum()
        terms.append(F.relu(1 + near - far) + (near + far if shrinks else 0.0))
    return sum(terms) if summed else sum(terms) / len(terms)


@pytest.mark.parametrize("summed, shrinks", [(False, False), (True, True)])
def test_the_number_graph_equals_a_loop_over_neighbours(summed, shrinks):
    torch.manual_seed(0)
    e = torch.randn(7, 4)
    graph = NumberGraph(4, summed=summed, shrinks=shrinks)
    assert torch.allclose(graph(e), looped_graph(e, graph.relation, summed, shrinks))
    assert graph.relation.abs().sum().item() == pytest.approx(1)
    assert graph(e[:1]).item() == 0


def test_where_the_margin_is_violated_the_pulls_on_negatives_cancel():
    """As in the authors' code: margin + d+ - d- and d+ + d- leave twice d+."""
    torch.manual_seed(0)
    e, graph = torch.zeros(5, 3).requires_grad_(), NumberGraph(3, summed=True, shrinks=True)
    near = (e[:-1] + graph.relation - e[1:]).abs().sum()
    found, twice = (torch.autograd.grad(loss, e)[0] for loss in (graph(e), 2 * near))
    assert torch.allclose(found, twice)


def test_a_relation_is_trained_or_not_and_drawn_anew_or_not():
    torch.manual_seed(0)
    e = torch.randn(5, 3)
    assert NumberGraph(3).relation.requires_grad
    graph = NumberGraph(3, trained=False, fresh=2)
    assert not graph.relation.requires_grad
    seen = []
    for _ in range(4):
        graph(e)
        seen.append(graph.relation.clone())
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[2], seen[3])
    assert not torch.equal(seen[1], seen[2])


def test_number_encoders_equal_their_formulas():
    codes = torch.tensor([0, 250, 1000])
    torch.manual_seed(0)
    line = LineNumbers(4)
    assert torch.allclose(
        line(codes), torch.stack([line.start + n * line.step for n in (0, 0.25, 1)])
    )
    waves = SinusoidalNumbers(4, waves=3)
    lengths = np.geomspace(2, 2000, 3)
    angle = 2 * np.pi * codes.numpy()[:, None] / lengths
    features = torch.tensor(np.hstack([np.sin(angle), np.cos(angle)])).float()
    assert torch.allclose(waves(codes), waves.project(features), atol=1e-4)
    bumps = RBFNumbers(4, centres=5)
    apart = (codes.numpy()[:, None] - np.linspace(0, 1000, 5)) / 250
    assert torch.allclose(
        bumps(codes), bumps.project(torch.tensor(np.exp(-(apart**2) / 2)).float())
    )
    for wrong in (lambda: SinusoidalNumbers(4, 0), lambda: RBFNumbers(4, 1)):
        with pytest.raises(DataError, match="at least"):
            wrong()


@pytest.mark.parametrize("arm", ["clip_number", "clip_caption", "soft", "smoothing", "rank_within"])
def test_a_batch_of_one_and_a_batch_of_equal_labels(world, arm):
    model, inputs, net = made(world, **ARMS[arm])
    one = torch.tensor([3])
    for loss in (cldr.aligned, cldr.objective):
        found = loss(net, inputs, one, model.config)
        found.total.backward()
        assert torch.isfinite(found.total)
    assert cldr.aligned(net, inputs, one, model.config).total.item() == 0
    flat = replace(
        inputs, label=torch.full_like(inputs.label, 0.4), code=torch.full_like(inputs.code, 400)
    )
    net.zero_grad()
    found = cldr.aligned(net, flat, torch.arange(40), model.config).total
    found.backward()
    assert torch.isfinite(found)
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_all_responses_of_a_benchmark_equal(world):
    benchmark, split = world
    flat = replace(benchmark, y=np.full(len(benchmark), 1.5))
    for settings in (ARMS["clip_number"], {"target": "normalised", **ARMS["rank_joint"]}):
        model = models.build("cldr", **QUICK, **settings).fit(flat, split)
        assert np.isfinite(model.predict(flat.pairs[split.test])).all()
        nothing = np.zeros(len(split.test))  # what is left of a response after all effects
        units = model.inputs.in_units(nothing, flat.pairs[split.test, 1])
        assert np.allclose(units, 1.5)


def test_two_ids_of_one_compound_on_one_line_are_no_negatives(world):
    benchmark, split = world
    frame = benchmark.drugs.copy()
    frame["compound"] = ["twin" if i < 2 else name for i, name in enumerate(frame["compound"])]
    twins = benchmark.with_frames(drug=frame), split
    model, inputs, net = made(twins, alignment="clip", caption="entity", block=1000)
    lines = [set(benchmark.pairs[benchmark.pairs[:, 1] == i, 0]) for i in range(2)]
    assert inputs.compound[0] == inputs.compound[1] and lines[0] & lines[1]
    line = min(set(benchmark.pairs[split.train, 0]) & lines[0] & lines[1])
    rows = torch.cat(
        [
            torch.nonzero((inputs.pairs[:, 0] == line) & (inputs.pairs[:, 1] == i))[:, 0]
            for i in range(2)
        ]
        + [torch.arange(5)]
    ).unique()
    z = net.embedded(inputs, inputs.pairs[rows])
    texts, _ = net.texts(inputs, inputs.pairs[rows], inputs.code[rows])
    line_of, compound = inputs.pairs[rows, 0], inputs.compound[inputs.pairs[rows, 1]]
    same = (line_of[:, None] == line_of[None]) & (compound[:, None] == compound[None])
    assert same.sum() > len(rows)
    plain = info_nce(z, texts, net.temperature(), same=same)
    found = cldr.alignment(net, inputs, rows, z, model.config)
    assert found.item() == pytest.approx(plain.item(), abs=1e-5)


def test_a_long_smiles_is_cut_and_a_missing_one_is_a_drug(world):
    benchmark, split = world
    frame = benchmark.drugs.copy()
    frame["smiles"] = [
        "C" * 400 if i == 0 else None if i == 1 else text for i, text in enumerate(frame["smiles"])
    ]
    table = benchmark.with_frames(drug=frame)
    model = models.build("cldr", **QUICK, **ARMS["clip_caption"]).fit(table, split)
    assert model.inputs.cut == 1
    asked = table.pairs[np.isin(table.pairs[:, 1], [0, 1])][:10]
    assert np.isfinite(model.predict(asked)).all() and np.isfinite(model.read(asked)).all()


@pytest.mark.parametrize(
    "settings, word",
    [
        ({"alignment": "clap"}, "alignment"),
        ({"defects": ("typo",)}, "defects"),
        ({"numbers": "roman"}, "numbers"),
        ({"share": 0.0}, "share"),
        ({"pre": 1.0}, "pre"),
        ({"smoothing": 1.0}, "smoothing"),
        ({"block": 1}, "block"),
        ({"alignment": "rank", "caption": "facts"}, "reads no"),
        ({"alignment": "none", "graph": True}, "reads no"),
        ({"alignment": "clip", "caption": "entity", "numbers": "rbf"}, "numbers"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, word):
    with pytest.raises(DataError, match=word):
        models.build("cldr", **settings)


def test_a_saved_model_predicts_the_same_and_has_no_pre_training(world, tmp_path):
    benchmark, split = world
    model = models.build("cldr", **QUICK, **ARMS["clip_caption"]).fit(benchmark, split)
    pairs = benchmark.pairs[split.test][:40]
    again = models.load(model.save(tmp_path / "kept"))
    assert np.array_equal(again.predict(pairs), model.predict(pairs))
    assert np.array_equal(again.embed(pairs), model.embed(pairs))
    with pytest.raises(DataError, match="pretrained"):
        again.embed(pairs, "pretrained")
