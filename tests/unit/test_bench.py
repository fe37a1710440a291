"""The bench: its plain path computes what the fast path computes, and the fast path is faster, by
ratio and never by absolute time.
"""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "experiments"))

import bench  # noqa: E402
import bench_accuracy  # noqa: E402
import bench_captions  # noqa: E402
import bench_curves  # noqa: E402
import bench_speed  # noqa: E402
import bench_tools  # noqa: E402
import per_pair  # noqa: E402

from clmt_lib import data, models, records  # noqa: E402
from clmt_lib.io import DataError  # noqa: E402
from clmt_lib.models.clmt import published  # noqa: E402
from clmt_lib.nn import encoders, molecular  # noqa: E402

SMALL = {
    "lines": 60,
    "drugs": 24,
    "genes": 200,
    "mutations": 12,
    "copy_numbers": 12,
    "text": 16,
    "bits": 1024,
}
REPAIRED, HELD_OUT = bench_tools.AS_PUBLISHED, ("no_drug_to_cell", "unweighted_responses")


@pytest.fixture(scope="module")
def tensors():
    return bench_tools.invented(bench_tools.bench_config(width=16), **SMALL)


def network(tensors, **changes):
    torch.manual_seed(0)
    config = bench_tools.bench_config(width=16, **changes)
    return config, published.Network(tensors, config).eval()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"defects": HELD_OUT},
        {"defects": (*REPAIRED, "false_negatives", "positive_left_out")},
        {"views": ("text", "attribute"), "tasks": ()},
    ],
)
def test_loss_and_gradients_of_both_paths_are_equal(tensors, changes):
    config, net = network(tensors, **changes)
    found = bench_speed.equal(net, tensors, config, pairs=100)
    assert found["loss_fast"] == pytest.approx(found["loss_per_pair"], rel=1e-5)
    assert found["gradient_difference"] < 1e-3 and found["parameters"] > 20


def test_the_comparison_of_gradients_notices_a_path_that_differs(tensors, monkeypatch):
    config, net = network(tensors)
    monkeypatch.setattr(
        per_pair,
        "aggregate_first",
        lambda sage, x, graph: {node: value * 1.01 for node, value in sage(x, graph).items()},
    )
    found = bench_speed.equal(net, tensors, config, pairs=100)
    assert found["gradient_difference"] > 5e-3


def test_predictions_of_both_paths_are_equal_pair_by_pair(tensors):
    config, net = network(tensors)
    pairs = tensors.pairs[torch.randperm(len(tensors.pairs))[:64]]
    with torch.inference_mode():
        plain = per_pair.predict_pairs(
            net, *per_pair.encode_pairs(net, tensors, pairs, tensors.graph)
        )
        fast = net(tensors, pairs).prediction
    assert fast.std() > 0 and torch.allclose(plain, fast, atol=1e-5)


def test_the_plain_path_encodes_a_drug_as_often_as_it_is_named(tensors):
    config, net = network(tensors)
    seen = []
    net.text_drug.register_forward_hook(lambda module, given, out: seen.append(len(out)))
    pairs = torch.zeros(50, 2, dtype=torch.int64)
    for module in (per_pair, published):
        module.objective(net, tensors, pairs, torch.zeros(50), config)
    assert seen == [50, 1]


def layers_of(net):
    """(kinds of dropout, kinds of graph norm) that a network uses."""
    kinds = [
        {getattr(module, name) for module in net.modules() if hasattr(module, name)}
        for name in ("lose", "normalise")
    ]
    return tuple(kinds)


def test_library_layers_are_those_of_the_libraries_inside_and_ours_again_outside(tensors):
    """In evaluation the loss is the same; what runs is PyG's GraphNorm and PyTorch's dropout, and
    only inside, even after an error.
    """
    config, net = network(tensors)
    other, norms, losses = network(tensors)[1], [], []
    ours = {encoders.dropout}, {molecular.graph_norm}
    net.geometry.atom_blocks[0].graph_norm.register_forward_hook(lambda *_: norms.append(1))

    def loss():
        rows = tensors.pairs[:100], tensors.y[:100]
        losses.append(published.objective(net, tensors, *rows, config).total.item())

    loss()
    assert layers_of(net) == ours and not norms
    with bench_speed.library_layers(net):
        loss()
        lost, normed = layers_of(net)
        assert lost == {torch.nn.functional.dropout} and not normed & ours[1]
        assert layers_of(other) == ours, "another network is left alone"
    loss()
    assert layers_of(net) == ours and len(norms) == 1
    assert losses[1] == pytest.approx(losses[0], rel=1e-5) and losses[2] == losses[0]
    with pytest.raises(KeyboardInterrupt), bench_speed.library_layers(net):
        raise KeyboardInterrupt
    assert layers_of(net) == ours


def test_paths_that_check_the_factors_train_with_the_layers_they_name(tensors):
    """A path of the libraries' layers draws its mask by PyTorch's dropout, the headline path does
    not.
    """
    config, _ = network(tensors)
    net, actions = bench_speed.steps(tensors, config, ("random_256", "random_library"))
    inside = []
    net.head.register_forward_hook(
        lambda module, given, out: inside.append((len(out), layers_of(net)[0]))
    )
    for action in actions.values():
        action()
    assert inside == [
        (bench_speed.PER_PAIR, {encoders.dropout}),
        (bench_speed.RANDOM, {torch.nn.functional.dropout}),
    ]


def test_the_plain_ways_share_of_molecules_is_timed_on_the_plain_encoder(tensors, monkeypatch):
    config, net = network(tensors)
    plain, lean = [], []
    encode = per_pair.encode_molecules
    monkeypatch.setattr(
        per_pair, "encode_molecules", lambda *given: plain.append(1) or encode(*given)
    )
    net.geometry.register_forward_hook(lambda *_: lean.append(1))
    for kept, seen in ((True, [1, 0]), (False, [1, 1])):
        bench_speed._parts(net, tensors, config, tensors.pairs[:20], kept)["molecules"]()
        assert [len(plain), len(lean)] == seen


def test_the_fast_path_is_faster_than_the_plain_path_by_ratio():
    """A short bench: at a quarter of the widths and 2,048 pairs a step, at least 5 times the plain
    path's pairs a processor second (it is some 20 times).
    """
    config = bench_tools.bench_config(width=32)
    tensors = bench_tools.invented(config, 200, 60, 1000)
    _, actions = bench_speed.steps(tensors, config, ("per_pair", "random"))
    found = bench_tools.interleaved(actions, 2)
    pairs = {"per_pair": bench_speed.PER_PAIR, "random": bench_speed.RANDOM}
    rate = {name: pairs[name] / found[name]["cpu_seconds"] for name in pairs}
    assert rate["random"] > 5 * rate["per_pair"]


def test_the_shared_route_of_captions_costs_a_fraction_of_the_published_one():
    """Operations of a step for each pair, which no other work on the machine disturbs."""
    sizes = {"text_width": 16, "text_layers": 1, "text_heads": 2, "dim": 8}
    made, pairs, tokens = bench_captions.actions(lines=60, **sizes)
    assert tokens["number"] == 5 and tokens["drug"] > tokens["line"]
    for routes in made.values():
        cost = {name: bench_tools.gflop(step) / pairs[name] for name, step in routes.items()}
        assert cost["published"] > 10 * cost["shared"]


def test_tiles_are_blocks_of_training_pairs_and_nothing_else():
    pairs = torch.cartesian_prod(torch.arange(3, 40), torch.arange(2, 20))
    pairs = pairs[torch.rand(len(pairs)) < 0.8]
    draw, size = published.tiles(pairs, (10, 6))
    for _ in range(20):
        rows = draw()
        assert len(rows.unique()) == len(rows) > 0
        lines, drugs = (ids.unique() for ids in pairs[rows].unbind(1))
        assert len(lines) <= 10 and len(drugs) <= 6
        inside = torch.isin(pairs[:, 0], lines) & torch.isin(pairs[:, 1], drugs)
        assert torch.equal(
            inside.nonzero()[:, 0], rows.sort().values
        )  # every measured pair of the block
    assert 0.6 * 60 < size < 60


def test_a_tile_without_a_measured_pair_is_drawn_again():
    pairs = torch.stack(
        [torch.arange(12), torch.arange(12)], 1
    )  # a diagonal: most blocks are empty
    draw, size = published.tiles(pairs, (2, 2))
    assert all(len(draw()) for _ in range(30)) and size == 1


def test_a_tile_larger_than_the_table_is_the_table():
    pairs = torch.cartesian_prod(torch.arange(5), torch.arange(4))
    draw, size = published.tiles(pairs, (100, 100))
    assert sorted(draw().tolist()) == list(range(20)) and size == 20


def test_unknown_precision_is_refused():
    with pytest.raises(DataError, match="unknown precision 'float8'.*float32"):
        published.PublishedConfig(precision="float8")
    assert published.PublishedConfig(precision="bfloat16").precision == "bfloat16"


def test_half_precision_trains_towards_the_same_thing(tensors):
    """bfloat16 keeps 8 bits: the loss of one step agrees to a few per cent, its weights stay
    float32.
    """
    config, net = network(tensors)
    losses = []
    for precision in ("float32", "bfloat16"):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            losses.append(
                published.objective(
                    net, tensors, tensors.pairs[:200], tensors.y[:200], config
                ).total
            )
    exact, half = (loss.item() for loss in losses)
    assert half == pytest.approx(exact, rel=0.05) and half != exact
    losses[1].backward()
    assert all(p.grad.dtype == torch.float32 for p in net.parameters() if p.grad is not None)


def test_a_curve_ends_before_a_step_takes_too_long(monkeypatch):
    monkeypatch.setattr(
        bench_curves,
        "point",
        lambda lines, drugs, pairs, rounds, device: {"lines": lines, "cpu_seconds": lines / 100},
    )
    found = bench_curves.curve("lines", False, "cpu")
    assert (
        [row["factor"] for row in found["rows"]] == [1, 2]
        and found["rows"][1]["lines"] == 1250
        and "4 times the lines" in found["stopped"]
    )
    assert bench_curves.curve("drugs", True, "cpu")["stopped"] is None and bench_curves.sizes(
        "pairs", 4
    ) == (625, 188, 4 * 8192)
    assert "4 times the lines and drugs" in bench_curves.curve("both", False, "cpu")["stopped"]


def test_lines_and_drugs_grow_together_to_four_times_and_no_further(monkeypatch):
    """Their tables grow with the square: sixteen times both would be 30 million pairs."""
    monkeypatch.setattr(
        bench_curves,
        "point",
        lambda lines, drugs, pairs, rounds, device: {
            "lines": lines,
            "drugs": drugs,
            "cpu_seconds": 1.0,
        },
    )
    found = bench_curves.curve("both", False, "cpu")
    assert [(row["factor"], row["lines"], row["drugs"]) for row in found["rows"]] == [
        (1, 625, 188),
        (2, 1250, 376),
        (4, 2500, 752),
    ] and found["stopped"] is None


def test_rungs_timed_afresh_are_models_without_a_long_training():
    assert set(bench_accuracy.CHEAP) <= set(models.names()) and not {
        "random_forest",
        "stack",
        "clmt",
    } & set(bench_accuracy.CHEAP)


def test_exponents_are_slopes_on_logarithms():
    rows = [{"factor": k, "cpu_seconds": 3 * k**0.5} for k in (1, 2, 4, 8)]
    assert bench_curves.slope(rows) == pytest.approx(0.5)
    found = {
        name: {"rows": rows, "stopped": "too slow" if name == "drugs" else None}
        for name in ("lines", "drugs", "pairs")
    }
    made = bench_curves.assemble(found)
    assert (
        made["doubling"]["pairs"] == pytest.approx(2**0.5)
        and len(made["drugs"]) == 4
        and made["stopped"] == {"drugs": "too slow"}
    )


class Fake:
    """A bench of three parts, the second of which fails at first."""

    CHILDREN = {}

    def __init__(self):
        self.made, self.broken = [], True

    def part(self, name):
        self.made.append(name)
        if name == "b" and self.broken:
            raise KeyboardInterrupt
        return {"value": name}

    def measure(self, keep, short, device):
        for name in "abc":
            keep(name, lambda: self.part(name))

    def assemble(self, found):
        return found


def test_an_interrupted_bench_goes_on_where_it_stopped_and_a_finished_one_is_left_alone(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("CLMT_RECORDS", str(tmp_path))
    fake = Fake()
    with pytest.raises(KeyboardInterrupt):
        bench.bench("fake", fake, False, False, "cpu")
    assert not records.exists("bench-fake")
    fake.broken = False
    bench.bench("fake", fake, False, False, "cpu")
    assert fake.made == ["a", "b", "b", "c"]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == []
    about = records.read("bench-fake").provenance
    assert (
        len(about["load_before"]) == len(about["load"]) == 3
    )  # a record made on a busy machine says so
    bench.bench("fake", fake, False, False, "cpu")
    assert fake.made == ["a", "b", "b", "c"]
    bench.bench("fake", fake, False, True, "cpu")
    assert fake.made == ["a", "b", "b", "c", "a", "b", "c"]


def test_a_short_record_gives_way_to_a_long_one_and_not_the_other_way_round(tmp_path, monkeypatch):
    monkeypatch.setenv("CLMT_RECORDS", str(tmp_path))
    fake = Fake()
    fake.broken = False
    for short, expected in ((True, 3), (False, 6), (True, 6)):
        bench.bench("fake", fake, short, False, "cpu")
        assert len(fake.made) == expected
    assert records.read("bench-fake").config["short"] is False


def test_the_published_network_says_how_far_it_has_come_finished_or_not(tmp_path):
    """One run is finished; of another there is what a killed process leaves, a checkpoint."""
    small = {"width": 8, "epochs": 4, "batch": 1024, "genes": 32, "precision": "float32"}
    row = {"dataset": "simulated", "split": "mixed", "seeds": [0], "models": ["clmt_published"]}
    row |= {"options": {"cells": 24}, "settings": small, "folds": [0, 1], "last": True}
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "published.yaml").write_text(json.dumps({"runs": [row]}))
    configs = records.read_grid(tmp_path / "configs" / "published.yaml")
    benchmark = data.load("simulated", cells=24)
    for config in configs:
        records.run(config, tmp_path, benchmark=benchmark, device="cpu")
    done, left = (tmp_path / "runs" / config.id(benchmark.checksum) for config in configs)
    split = data.make_split(benchmark, "mixed", 0, 1)
    model = models.build("clmt_published", "mixed", **small)
    work = left.parent / f".work-{left.name}"
    work.mkdir()
    model.checkpoint, model.device = work / "checkpoint.pt", "cpu"
    model.fit(benchmark, split)
    shutil.rmtree(left)
    rows = bench_accuracy.own_size(tmp_path).metrics["runs"]
    assert [row["finished"] for row in rows] == [True, False]
    assert [row["passes"] for row in rows] == [4, 4] and rows[0]["width"] == 8
    assert rows[0]["test"]["rmse"] > 0 and rows[1]["test"] is None
    history = json.loads((done / "history.json").read_text())
    assert [value for _, value in rows[0]["curve"]] == [look["valid"] for look in history]
    assert rows[1]["best_valid_rmse"] == min(look["valid"] for look in model.history)
