"""Message passing over several kinds of nodes equals PyG's, and the graph of the published code has
exactly the defects that are switched on (chapter 04).
"""

import numpy as np
import pytest
import torch

from clmt_lib.io import DataError
from clmt_lib.nn.message_passing import HeteroSAGE, row_mean
from clmt_lib.views.structure import neighbours, relations

FEATURES = {"cell": 7, "drug": 5}
NUMBER = {"cell": 9, "drug": 6}
FULL = [
    ("cell", "similar", "cell"),
    ("drug", "similar", "drug"),
    *(
        (s, name, t)
        for s, t in (("cell", "drug"), ("drug", "cell"))
        for name in ("sensitive", "resistant")
    ),
]
PUBLISHED = [("cell", "similar", "cell"), ("drug", "similar", "drug"), ("cell", "response", "drug")]


def random_graph(names, seed, density=0.3):
    """Features and 0/1 tables in which some nodes hear nobody."""
    rng = np.random.default_rng(seed)
    x = {
        node: torch.tensor(rng.normal(size=(NUMBER[node], width)), dtype=torch.float32)
        for node, width in FEATURES.items()
    }
    tables = {
        name: (rng.random((NUMBER[name[2]], NUMBER[name[0]])) < density).astype(np.float32)
        for name in names
    }
    for table in tables.values():
        table[0] = 0
    return x, {name: torch.from_numpy(table) for name, table in tables.items()}


def as_pyg(net, x, tables):
    """(output, layers) of the same weights in PyG's layers, on edge lists."""
    from torch_geometric.nn import HeteroConv, SAGEConv

    edges = {name: table.nonzero().T.flip(0) for name, table in tables.items()}  # (source, target)
    layers = []
    for layer in net.layers:
        convs = {}
        for name in net.relations:
            convs[name] = SAGEConv(
                (x[name[0]].shape[1], x[name[2]].shape[1]),
                layer.neighbour["__".join(name)].out_features,
            )
            convs[name].lin_l.load_state_dict(layer.neighbour["__".join(name)].state_dict())
            convs[name].lin_r.load_state_dict(layer.own["__".join(name)].state_dict())
        x = {node: value.relu() for node, value in HeteroConv(convs, aggr="mean")(x, edges).items()}
        layers.append(convs)
    return x, layers


@pytest.mark.parametrize("names", [FULL, PUBLISHED])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_equal_to_pyg_with_nodes_that_hear_nobody(names, layers):
    torch.manual_seed(layers)
    net = HeteroSAGE(FEATURES, names, hidden=8, layers=layers).eval()
    for seed in range(3):
        x, tables = random_graph(names, seed)
        with torch.no_grad():
            ours, (theirs, _) = net(x, tables), as_pyg(net, x, tables)
        assert ours.keys() == theirs.keys()
        for node in ours:
            assert ours[node].abs().sum() > 0 and torch.allclose(
                ours[node], theirs[node], atol=1e-5
            )


def test_gradients_equal_pygs_so_that_training_is_the_same_too():
    torch.manual_seed(0)
    net = HeteroSAGE(FEATURES, FULL, hidden=8, layers=2)
    x, tables = random_graph(FULL, 1)
    theirs, layers = as_pyg(net, x, tables)
    for out in (net(x, tables), theirs):
        sum(value.square().sum() for value in out.values()).backward()
    for layer, convs in zip(net.layers, layers, strict=True):
        for name, conv in convs.items():
            own, heard = layer.own["__".join(name)], layer.neighbour["__".join(name)]
            assert own.weight.grad.abs().sum() > 0
            for ours, their in (
                (own.weight, conv.lin_r.weight),
                (heard.weight, conv.lin_l.weight),
                (heard.bias, conv.lin_l.bias),
            ):
                assert torch.allclose(ours.grad, their.grad, rtol=1e-4, atol=1e-5)


def test_a_kind_of_node_that_nothing_reaches_keeps_its_own_projection():
    net = HeteroSAGE(FEATURES, [("cell", "response", "drug")], hidden=4, layers=2)
    x, tables = random_graph([("cell", "response", "drug")], 0)
    out = net(x, tables)
    assert out["cell"].shape == (9, 4) and out["cell"].abs().sum() > 0
    tables["cell", "response", "drug"][:] = 0
    assert torch.equal(net(x, tables)["cell"], out["cell"])  # a line hears nobody here


def test_weights_are_averaged_and_an_empty_row_stays_zero():
    table = torch.tensor([[0.2, 0.6], [0.0, 0.0], [1.0, 1.0]])
    assert torch.allclose(row_mean(table), torch.tensor([[0.25, 0.75], [0.0, 0.0], [0.5, 0.5]]))


def test_a_table_in_the_wrong_direction_or_a_missing_one_is_refused():
    net = HeteroSAGE(FEATURES, PUBLISHED, hidden=4)
    x, tables = random_graph(PUBLISHED, 0)
    with pytest.raises(DataError, match="not those of the relations"):
        net(x, {name: tables[name] for name in PUBLISHED[:2]})
    with pytest.raises(DataError, match="no features"):
        HeteroSAGE(FEATURES, [("gene", "in", "cell")])


def test_dropout_is_silent_in_eval_mode():
    x, tables = random_graph(FULL, 2)
    net = HeteroSAGE(FEATURES, FULL, hidden=8, drop=0.5)
    assert not torch.equal(net(x, tables)["drug"], net(x, tables)["drug"])
    net.eval()
    assert torch.equal(net(x, tables)["drug"], net(x, tables)["drug"])


# ---- the graph and its switches

RNG = np.random.default_rng(3)
SIMILAR = {
    "cell": np.corrcoef(RNG.normal(size=(12, 4))),
    "drug": np.corrcoef(RNG.normal(size=(8, 4))),
}
TARGET = np.where(RNG.random((12, 8)) < 0.7, RNG.normal(size=(12, 8)), np.nan)
PAIRS = np.argwhere(np.isfinite(TARGET))


def graph(**switches):
    return relations(PAIRS, TARGET, SIMILAR["cell"], SIMILAR["drug"], k=3, **switches)


def test_the_repaired_graph_tells_sensitive_from_resistant_in_both_directions():
    tables = graph()
    assert list(tables) == [
        ("cell", "similar", "cell"),
        ("drug", "similar", "drug"),
        ("cell", "sensitive", "drug"),
        ("cell", "resistant", "drug"),
        ("drug", "sensitive", "cell"),
        ("drug", "resistant", "cell"),
    ]
    low, high = tables["drug", "sensitive", "cell"], tables["drug", "resistant", "cell"]
    assert np.array_equal(low == 1, TARGET < 0) and np.array_equal(
        low + high, np.isfinite(TARGET).astype(float)
    )
    assert all(
        np.array_equal(tables["cell", name, "drug"], tables["drug", name, "cell"].T)
        for name in ("sensitive", "resistant")
    )


def test_only_the_pairs_given_are_edges_and_a_pair_without_a_residual_has_no_sign():
    some = relations(PAIRS[:5], TARGET, SIMILAR["cell"], SIMILAR["drug"], k=3)
    assert some["cell", "sensitive", "drug"].sum() + some["cell", "resistant", "drug"].sum() == 5
    unknown = np.argwhere(np.isnan(TARGET))
    blind = relations(unknown, TARGET, SIMILAR["cell"], SIMILAR["drug"], k=3)
    assert blind["cell", "sensitive", "drug"].sum() + blind["cell", "resistant", "drug"].sum() == 0
    bare = relations(
        unknown, TARGET, SIMILAR["cell"], SIMILAR["drug"], k=3, unweighted_responses=True
    )
    assert bare["cell", "response", "drug"].sum() == len(unknown)


def test_unweighted_responses_are_one_relation_that_does_not_depend_on_what_was_measured():
    tables = graph(unweighted_responses=True)
    assert (
        np.array_equal(tables["drug", "response", "cell"] == 1, np.isfinite(TARGET))
        and len(tables) == 4
    )
    other = relations(
        PAIRS, -TARGET, SIMILAR["cell"], SIMILAR["drug"], k=3, unweighted_responses=True
    )
    assert all(np.array_equal(tables[name], other[name]) for name in tables)


def test_without_the_reverse_a_line_hears_no_drug():
    assert not [
        name for name in graph(no_drug_to_cell=True) if name[0] == "drug" and name[2] == "cell"
    ]
    assert set(graph()) - set(graph(no_drug_to_cell=True)) == {
        ("drug", "sensitive", "cell"),
        ("drug", "resistant", "cell"),
    }


def test_neighbours_are_the_most_similar_ones_and_never_oneself():
    table, similar = neighbours(SIMILAR["cell"], 3), SIMILAR["cell"].copy()
    np.fill_diagonal(similar, -2)
    for row, values in zip(table, similar, strict=True):
        best = [i for i in np.argsort(-values)[:3] if values[i] > 0]
        assert sorted(np.flatnonzero(row)) == sorted(best)
    assert np.diag(neighbours(np.ones((4, 4)), 3)).sum() == 0  # ties, too


def test_dropping_the_nearest_takes_ranks_two_to_k_plus_one():
    full, kept, dropped = (
        neighbours(SIMILAR["drug"], 3),
        neighbours(SIMILAR["drug"], 2),
        neighbours(SIMILAR["drug"], 2, nearest_dropped=True),
    )
    nearest = neighbours(SIMILAR["drug"], 1)
    assert np.array_equal(dropped, full - nearest) and not np.array_equal(dropped, kept)


def test_the_slice_of_the_published_code_is_reproduced():
    similar, k = np.clip(SIMILAR["cell"], 0, None), 4
    np.fill_diagonal(similar, 0)
    theirs = np.zeros_like(similar)
    for u in range(len(similar)):
        listed = similar[u].argsort()[-k - 1 : -1]
        theirs[listed, u] = similar[u][listed] > 0  # an edge u -> v, and v is who hears
    assert np.array_equal(
        neighbours(SIMILAR["cell"], k, nearest_dropped=True, reversed_neighbours=True), theirs
    )


def test_reversed_neighbours_leave_some_nodes_without_anybody_to_hear():
    place = np.r_[0:9, 50.0]  # the last one lives far away
    alike = np.exp(-(np.subtract.outer(place, place) ** 2) / 200)
    right, wrong = neighbours(alike, 2), neighbours(alike, 2, reversed_neighbours=True)
    assert np.array_equal(wrong, right.T) and (right.sum(1) == 2).all() and wrong[-1].sum() == 0


# ---- the trained numbers of chapter 04

STEPS = 100


@pytest.fixture(scope="module")
def trained():
    """Valid RMSE of the chapter's small structure-only networks, and their errors on training pairs
    whose edge is there, or hidden.
    """
    from dataclasses import replace

    from clmt_lib import data
    from clmt_lib.models import clmt
    from clmt_lib.tasks import metrics
    from clmt_lib.training import TrainConfig, train

    world = data.load("simulated", seed=0)
    split = data.make_split(world, "mixed", 0)
    config = clmt.CLMTConfig.corrected(
        cell_views=("structure",),
        drug_views=("structure",),
        alignment="none",
        hidden=128,
        dim=64,
        message=128,
        learning_rate=1e-2,
        steps=STEPS,
    )
    given = clmt.prepare(world, split, config)
    bare = given.with_graph(replace(given.graph, value=np.ones_like(given.graph.value)))
    out = {}
    for name, inputs, keep in (
        ("complete", bare, 0.85),
        ("responses", given, 0.85),
        ("copying", given, 1.0),
    ):
        settings = replace(config, keep=keep)
        net, _ = train(
            lambda i=inputs, c=settings: clmt.Network(i, c),
            lambda net, i=inputs, c=settings: clmt.objective(net, i, c),
            TrainConfig(STEPS, config.learning_rate, config.weight_decay, seed=0),
        )
        hidden = inputs.mask * (
            torch.rand(inputs.mask.shape, generator=torch.Generator().manual_seed(0)) < 0.1
        )
        with torch.inference_mode():
            said = net(inputs).prediction, net(inputs, inputs.mask - hidden).prediction
        table = inputs.in_units(said[0])
        out[name] = (
            metrics.rmse(world.y[split.valid], table[tuple(world.pairs[split.valid].T)]),
            [
                ((hidden * (p - inputs.target) ** 2).sum() / hidden.sum()).sqrt().item()
                for p in said
            ],
        )
    mean, cell, drug = metrics.additive_effects(world, split.train)
    base = mean + cell[:, None] + drug[None]
    return out, metrics.rmse(world.y[split.valid], base[tuple(world.pairs[split.valid].T)])


def test_what_an_edge_carries_decides_whether_the_graph_beats_the_effects(trained):
    out, effects = trained
    assert (
        out["complete"][0] == pytest.approx(1.14, abs=0.06) and out["complete"][0] > effects - 0.03
    )
    assert (
        out["responses"][0] == pytest.approx(0.94, abs=0.05) and out["responses"][0] < effects - 0.1
    )


def test_a_network_whose_messages_hold_the_answer_copies(trained):
    (_, (seen, hidden)), (_, (own_seen, own_hidden)) = (
        trained[0]["copying"],
        trained[0]["responses"],
    )
    assert seen == pytest.approx(0.53, abs=0.05) and hidden == pytest.approx(0.64, abs=0.05)
    assert hidden - seen > 1.4 * (own_hidden - own_seen) > 0
