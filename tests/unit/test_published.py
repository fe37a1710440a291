"""The published network: repaired, it keeps what it promises; with a defect switched on, it does
what the defect says.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import renamed

from clmt_lib import data, models
from clmt_lib.audit import proves_blind
from clmt_lib.io import DataError
from clmt_lib.models.clmt.corrected import CLMTConfig
from clmt_lib.models.clmt.published import (
    DEFECTS,
    Batch,
    Network,
    Published,
    PublishedConfig,
    contrastive,
    objective,
    prepare,
)

SMALL = {"width": 8, "epochs": 1, "batch": 256, "mates": 16}


@pytest.fixture(scope="module")
def world():
    drugs = list(dict.fromkeys(data.load("simulated", cells=24).drugs["name"]))[:30]
    return data.load("simulated", cells=48, drugs=drugs)


def made(world, *defects, kind="mixed", **changes):
    """(config, inputs, network in eval mode, split): one set of weights whatever the defects."""
    config = PublishedConfig(defects=defects, **{**SMALL, **changes})
    split = data.make_split(world, kind)
    inputs = prepare(world, split, config)
    torch.manual_seed(0)
    return config, inputs, Network(inputs, config).eval(), split


def said(world, *defects, batch=64, order=None, **changes):
    config, inputs, net, split = made(world, *defects, batch=batch, **changes)
    model, pairs = Published(config), world.pairs[split.test]
    order = np.arange(len(pairs)) if order is None else order
    out = np.empty(len(pairs))
    out[order] = model.predicted(net, inputs, pairs[order])
    return out


def test_repaired_predictions_do_not_depend_on_batch_size_order_or_mates(world):
    shuffled = np.random.default_rng(0).permutation(len(data.make_split(world, "mixed").test))
    reference = said(world)
    assert reference.std() > 0
    for other in (said(world, batch=7), said(world, batch=4096), said(world, order=shuffled)):
        assert np.allclose(other, reference, atol=1e-5)


def test_norm_over_the_batch_makes_mates_matter(world):
    shuffled = np.random.default_rng(0).permutation(len(data.make_split(world, "mixed").test))
    assert (
        np.abs(
            said(world, "graph_norm_over_batch", order=shuffled)
            - said(world, "graph_norm_over_batch")
        ).max()
        > 1e-4
    )


def test_dropout_at_test_makes_two_calls_differ_and_predict_still_repeats_itself(world):
    config, inputs, net, split = made(world, "dropout_at_test")
    model = Published(config)
    model.inputs, model.networks = inputs, [net]
    pairs = world.pairs[split.test]
    two = [model.predicted(net, inputs, pairs) for _ in range(2)]
    assert np.abs(two[0] - two[1]).max() > 1e-4
    assert np.array_equal(model.predict(pairs), model.predict(pairs))


def test_shuffled_test_alone_is_harmless_and_with_the_norm_it_is_not(world):
    assert np.allclose(said(world, "shuffled_test"), said(world), atol=1e-5)
    assert (
        np.abs(
            said(world, "shuffled_test", "graph_norm_over_batch")
            - said(world, "graph_norm_over_batch")
        ).max()
        > 1e-4
    )


@pytest.mark.parametrize(
    "defect", ["nearest_dropped", "reversed_neighbours", "no_drug_to_cell", "unweighted_responses"]
)
def test_graph_defects_change_the_graph(world, defect):
    plain, changed = (made(world, *on)[1].graph for on in ((), (defect,)))
    assert set(plain) != set(changed) or any(
        not torch.equal(plain[name], changed[name]) for name in plain
    )


def test_no_drug_to_cell_leaves_lines_without_a_word_from_drugs(world):
    assert not any(
        target == "cell" and source == "drug"
        for source, _, target in made(world, "no_drug_to_cell")[1].graph
    )
    assert any(target == "cell" and source == "drug" for source, _, target in made(world)[1].graph)


@pytest.mark.parametrize("kind", ["cell_blind", "drug_blind"])
def test_only_training_entities_speak_unless_neighbours_are_transductive(world, kind):
    node = "cell" if kind == "cell_blind" else "drug"
    for defects, expected in (
        ((), False),
        (("reversed_neighbours",), False),
        (("transductive_neighbours",), True),
    ):
        _, inputs, _, split = made(world, *defects, kind=kind)
        unseen = np.setdiff1d(
            np.arange(world.n_cells if node == "cell" else world.n_drugs),
            world.pairs[split.train, 0 if node == "cell" else 1],
        )
        assert bool(inputs.graph[node, "similar", node][:, unseen].any()) is expected


def test_supervision_edges_leave_the_graph_of_their_batch(world):
    _, inputs, _, split = made(world)
    pairs = torch.tensor(world.pairs[split.train][:50])
    less = inputs.without(pairs)
    for (source, name, target), table in less.items():
        if source == target:
            assert torch.equal(table, inputs.graph[source, name, target])
        else:
            row, column = pairs.T if target == "cell" else pairs.T.flip(0)
            assert not table[row, column].any()
    gone = sum(float(inputs.graph[key].sum() - less[key].sum()) for key in less)
    assert gone == 2 * len(pairs)  # each edge and its reverse


def test_test_graph_is_made_of_the_pairs_asked_about(world):
    given = []

    def spy(inputs, pairs, edges):
        given.append(edges)
        return SimpleNamespace(prediction=torch.zeros(len(pairs)))

    for defects in (
        ("unweighted_responses", "test_graph_of_test_pairs"),
        ("unweighted_responses",),
    ):
        config, inputs, _, split = made(world, *defects)
        pairs = world.pairs[split.test]
        Published(config).predicted(spy, inputs, pairs)
        edges = given[-1]
        if edges is None:
            continue
        responses = {key: table for key, table in edges.items() if key[0] != key[2]}
        assert {key[2] for key in responses} == {"cell", "drug"}
        for (_, _, target), table in responses.items():
            heard = (table if target == "cell" else table.T).nonzero().tolist()
            assert sorted(heard) == sorted(pairs.tolist())
    assert (
        given[0] is not None and given[-1] is None
    )  # without the defect the network keeps its training graph


def test_text_tail_empties_short_texts_and_only_then_missing_as_text_matters(world):
    whole, tail, vector = (
        made(world, *on)[1] for on in ((), ("text_tail",), ("text_tail", "missing_as_text"))
    )
    assert (
        whole.has_text_drug.any() and not tail.has_text_drug.any()
    )  # one sentence is shorter than 800 characters
    assert (
        vector.has_text_drug.all()
        and torch.equal(vector.text_drug, vector.text_drug[:1].expand_as(vector.text_drug))
        and vector.text_drug[0].abs().sum() > 0
    )


def test_scaling_and_thresholds_leak_only_where_they_are_told_to(world):
    y = world.y.copy()
    y[data.make_split(world, "mixed").test] = 9.0
    corrupt = replace(world, y=y)
    for defects, same in (((), True), (("threshold_from_all_responses",), False)):
        a, b = (
            prepare(
                w, data.make_split(world, "mixed"), PublishedConfig(defects=defects, **SMALL)
            ).fitted["threshold"]
            for w in (world, corrupt)
        )
        assert np.array_equal(a, b) is same
    honest, leaky = (
        made(world, *on, kind="cell_blind")[1].fitted["range"]
        for on in ((), ("scaled_on_all_cells",))
    )
    assert (leaky >= honest).all() and (leaky > honest).any()


@pytest.mark.parametrize(
    "defects, clean",
    [
        ((), True),
        (("threshold_from_all_responses",), False),
        (("scaled_on_all_cells",), False),
        (("transductive_neighbours",), False),
    ],
)
def test_the_proof_finds_each_leak_of_the_published_code_and_none_of_the_repaired(
    world, defects, clean
):
    def fit(benchmark, split):
        return Published(PublishedConfig(defects=defects, **SMALL)).fit(benchmark, split).state()

    report = proves_blind(fit, world, data.make_split(world, "cell_blind"), at_once=clean)
    assert report.clean is clean


@pytest.mark.parametrize("defect", ["false_negatives", "positive_left_out", "one_direction"])
def test_contrast_defects_change_the_loss_and_nothing_else(world, defect):
    parts = []
    for on in ((), (defect,)):
        config, inputs, net, split = made(world, *on)
        rows = split.train[::7]
        parts.append(
            objective(
                net,
                inputs,
                torch.tensor(world.pairs[rows]),
                torch.tensor(world.y[rows].astype(np.float32)),
                config,
            ).parts
        )
    assert (
        parts[0]["error"] == parts[1]["error"]
        and abs(float(parts[0]["contrast"] - parts[1]["contrast"])) > 1e-3
    )


def test_false_negatives_raise_the_floor_by_the_logarithm_of_the_copies(world):
    """Two views that agree perfectly: over unique entities the loss is near 0, over pairs with m
    copies of each it is near ln m, for lines and drugs alike.
    """
    z, places = torch.eye(10), torch.arange(10).repeat(4)
    side = {"anchor": z, "graph": z}
    out = Batch(torch.zeros(40), torch.arange(10), torch.arange(10), side, side, places, places)
    inputs = SimpleNamespace(
        has_text_cell=None, has_text_drug=None, same_drug=torch.eye(10, dtype=torch.bool)
    )
    floors = [
        float(
            contrastive(
                out,
                inputs,
                PublishedConfig(defects=on, views=("graph",), temperature=0.02, mates=mates),
            )
        )
        for on, mates in (((), 40), (("false_negatives",), 40), (("false_negatives",), 10))
    ]
    assert np.allclose(
        floors, [0, 2 * np.log(4), 0], atol=2e-3
    )  # ten pairs at a time hold each entity once


def test_or_selection_keeps_an_epoch_that_is_worse_by_rmse():
    from clmt_lib.nn.heads import LossOutput
    from clmt_lib.training import TrainConfig, train

    class One(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.zeros(1))

    def kept(marks):
        """Weight of the kept epoch, when evaluations return `marks` in turn and the weight grows by
        every step.
        """
        turn = iter(marks)
        net, _ = train(
            One,
            lambda net: LossOutput(-net.w.sum(), {}),
            TrainConfig(len(marks), 0.1, 0.0, evaluate_every=1, schedule="step"),
            evaluate=lambda net: next(turn),
        )
        return round(float(net.w.detach()) / 0.1)

    assert kept([1.0, 0.8, 0.9, 1.1]) == 2
    assert (
        kept([(1.0, -0.5), (0.8, -0.6), (0.9, -0.7), (0.85, -0.6)]) == 4
        # the third is kept for its correlation, and the fourth beats its RMSE: worse than the
        # second by both
    )


def test_presets_and_bad_names(world):
    assert set(CLMTConfig.published().defects) == set(DEFECTS) and len(DEFECTS) == 18
    assert (
        models.build("clmt_repaired").config.defects == ()
        and models.build("clmt_published").config.width == 256
    )
    with pytest.raises(DataError, match="unknown defects 'gremlin'.*one_direction"):
        PublishedConfig(defects=("gremlin",))
    with pytest.raises(DataError, match="no setting 'stride'"):
        models.build("clmt_published", stride=2)


@pytest.mark.parametrize("kind", ["cell_blind", "drug_blind"])
def test_a_new_entity_gets_the_prediction_of_a_held_out_one_and_a_saved_model_says_the_same(
    world, kind, tmp_path
):
    """In the repaired network only training entities speak, so one more node changes nothing for
    the others, and hears what a held-out one hears.
    """
    split, axis = data.make_split(world, kind), int(kind == "drug_blind")
    model = Published(PublishedConfig(defects=(), **SMALL)).fit(world, split)
    new, known = np.unique(world.pairs[split.test, axis]), model.predict(world.pairs)
    other = renamed(world, **{("lines", "drugs")[axis]: new})
    found = model.predict(world.pairs, other)
    assert np.allclose(found, known, rtol=0, atol=1e-4) and known.std() > 0
    model.save(tmp_path / "it")
    again = models.load(tmp_path / "it")
    assert np.array_equal(again.predict(world.pairs), known)
    assert np.array_equal(again.predict(world.pairs, other), found)
    state, kept = again.state(), model.state()
    assert state.keys() == kept.keys() and "0.head.2.weight" in state
    for name, value in kept.items():  # a held-out drug's threshold is NaN
        np.testing.assert_array_equal(state[name], value)


def test_new_lines_and_drugs_at_once_are_nodes_without_responses(world):
    """With every defect on, too, as far as the code goes: there they also speak."""
    for defects in ((), tuple(DEFECTS)):
        config = PublishedConfig(defects=defects, **SMALL)
        split = data.make_split(world, "mixed")
        model = Published(config).fit(world, split)
        other = renamed(world, lines=[0, 5], drugs=[3])
        pairs = np.array([[0, 3], [5, 3], [1, 3], [0, 2], [1, 2]])
        found = model.predict(pairs, other)
        assert np.isfinite(found).all() and np.array_equal(found, model.predict(pairs, other))
        places, inputs = model.placed(pairs, other)
        n, m = world.shape
        assert places.tolist() == [[n, m], [n + 1, m], [1, m], [n, 2], [1, 2]]
        for (source, _, target), table in inputs.graph.items():
            old = {"cell": n, "drug": m}
            heard = table[:, old[source] :]
            speaks = source == target and "transductive_neighbours" in defects
            assert bool(heard.any()) is speaks
            if source != target:
                assert not table[old[target] :].any()
