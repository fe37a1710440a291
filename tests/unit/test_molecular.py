"""Encoders of molecules: equal to a plain loop, blind to batch-mates when repaired, and broken in
the authors' ways when asked to be.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from clmt_lib.data.response import simulated
from clmt_lib.nn.heads import LossOutput
from clmt_lib.nn.molecular import (
    GINE,
    Block,
    Categories,
    FingerprintEncoder,
    GeometricEncoder,
    gine,
    graph_norm,
    mean_of_atoms,
)
from clmt_lib.tasks.metrics import pearson
from clmt_lib.training import TrainConfig, train
from clmt_lib.views.geometry import lipophilicity, molecule_graphs

CHAPTER = Path(__file__).resolve().parents[2] / "notebooks" / "03_attribute_encoders.ipynb"

SMILES = ["CCO", None, "c1ccccc1", "C", "CC(=O)[O-].[Na+]", "c1ccc2[nH]ccc2c1", "N[Pt](N)(Cl)Cl"]


@pytest.fixture(scope="module")
def graphs():
    return molecule_graphs(pd.DataFrame({"smiles": SMILES}), cache=False)


def made(what, **options):
    torch.manual_seed(0)
    return what(**options)


def encoders():
    return [
        made(GeometricEncoder, dim=16, out=8),
        made(GeometricEncoder, dim=16, out=8, layers=3, use_length=False, use_mass=False),
        made(GINE, dim=16, out=8),
    ]


def test_gine_is_a_sum_over_neighbours_then_a_network(graphs):
    layer, h, e = (
        made(gine, dim=4),
        torch.randn(len(graphs.atom), 4),
        torch.randn(len(graphs.bond), 4),
    )
    heard = h.clone()
    for (source, target), edge in zip(graphs.bond_index.T.tolist(), e):
        heard[target] += F.relu(h[source] + edge)
    assert torch.allclose(layer(h, graphs.bond_index, e), layer.nn(heard), atol=1e-5)


def test_graph_norm_is_that_of_pyg_values_and_gradients():
    from torch_geometric.nn import GraphNorm

    torch.manual_seed(0)
    norm, x, graph = (
        GraphNorm(6),
        torch.randn(9, 6, requires_grad=True),
        torch.tensor([0, 0, 0, 0, 1, 1, 3, 3, 3]),
    )
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    found = []
    for made in (norm(x, graph, 4), graph_norm(norm, x, graph, 4)):
        found.append([made, *torch.autograd.grad((made**2).sum(), [x, *norm.parameters()])])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*found))


def test_a_mean_of_atoms_is_the_mean_and_zero_without_atoms():
    h = torch.tensor([[1.0, 0.0], [3.0, 2.0], [5.0, 5.0]])
    assert mean_of_atoms(h, torch.tensor([0, 0, 2]), 4).tolist() == [[2, 1], [0, 0], [5, 5], [0, 0]]


def test_categories_are_summed():
    embed = Categories([3, 2], 4)
    assert torch.allclose(
        embed(torch.tensor([[2, 1]]))[0], embed.tables[0].weight[2] + embed.tables[1].weight[1]
    )


@pytest.mark.parametrize("number", range(3))
def test_an_embedding_does_not_depend_on_order_size_or_company_of_its_batch(graphs, number):
    encoder = (
        encoders()[number].eval().double()
    )  # the atoms of benzene are all alike, so GraphNorm divides rounding by nearly nothing
    graphs = replace(
        graphs,
        mass=graphs.mass.double(),
        length=graphs.length.double(),
        angle=graphs.angle.double(),
    )
    together = encoder(graphs)
    order = torch.tensor([6, 2, 0, 5, 1, 4, 3])
    assert torch.allclose(encoder(graphs.take(order)), together[order], atol=1e-9)
    for drug in range(graphs.n):
        assert torch.allclose(encoder(graphs.take([drug]))[0], together[drug], atol=1e-9)
    assert torch.equal(encoder(graphs), together)


def test_fingerprints_in_evaluation_do_not_depend_on_company():
    encoder, bits = made(FingerprintEncoder, bits=256, hidden=16, out=8), torch.rand(9, 256).round()
    encoder(bits)  # moves the running statistics
    encoder.eval()
    assert torch.allclose(encoder(bits[3:4]), encoder(bits)[3:4], atol=1e-5)


def test_the_fingerprint_branch_has_the_papers_widths():
    encoder = FingerprintEncoder()
    assert encoder.read_out[0].in_features == 1152 and encoder(torch.ones(2, 2048)).shape == (
        2,
        256,
    )


@pytest.mark.parametrize("number", range(3))
def test_a_drug_is_the_mean_of_what_its_atoms_say(graphs, number):
    encoder = encoders()[number].eval()
    said = encoder.read_out(encoder.atom_states(graphs))
    assert torch.allclose(
        mean_of_atoms(said, graphs.molecule, graphs.n), encoder(graphs), atol=1e-5
    )


@pytest.mark.parametrize("number", range(3))
def test_a_missing_structure_is_a_row_of_zeros(graphs, number):
    encoder = encoders()[number].eval()
    assert (
        not encoder(graphs)[1].any()
        and encoder(graphs)[0].any()
        and encoder(graphs.take([1])).shape == (1, 8)
    )
    fingerprint = FingerprintEncoder(bits=256).eval()
    assert not fingerprint(torch.zeros(1, 256)).any()


def test_a_norm_over_the_whole_batch_lets_batch_mates_in(graphs):
    encoder = made(GeometricEncoder, dim=16, out=8, whole_batch=True).eval()
    assert (encoder(graphs.take([0, 2]))[0] - encoder(graphs.take([0, 5]))[0]).abs().max() > 1e-3


def test_dropout_that_is_alive_is_random_in_evaluation(graphs):
    broken, repaired = (
        made(GeometricEncoder, dim=16, out=8, alive=alive).eval() for alive in (True, False)
    )
    torch.manual_seed(1)
    assert not torch.allclose(broken(graphs), broken(graphs), atol=1e-3) and torch.equal(
        repaired(graphs), repaired(graphs)
    )


def test_every_weight_of_a_repaired_encoder_gets_a_gradient(graphs):
    for encoder in encoders():
        encoder(graphs).square().sum().backward()
        assert not [name for name, weight in encoder.named_parameters() if weight.grad is None]


def test_shapes_reach_the_embedding(graphs):
    """Angles and lengths must matter in the geometric encoder, and cannot in the plain one."""
    from dataclasses import replace

    bent = replace(graphs, angle=graphs.angle * 0.5)
    longer = replace(graphs, length=graphs.length + 0.3)
    geometric, without, _ = encoders()
    plain = encoders()[2].eval()
    geometric, without = geometric.eval(), without.eval()
    assert not torch.allclose(geometric(bent), geometric(graphs), atol=1e-4) and not torch.allclose(
        geometric(longer), geometric(graphs), atol=1e-4
    )
    assert (
        torch.equal(without(longer), without(graphs))
        and torch.equal(plain(bent), plain(graphs))
        and torch.equal(plain(longer), plain(graphs))
    )


def test_only_the_last_layer_has_an_activation():
    encoder = GeometricEncoder(dim=8, layers=3)
    assert [block.act for block in encoder.atom_blocks] == [False, False, True] and len(
        encoder.bond_blocks
    ) == 2
    assert isinstance(encoder.atom_blocks[0], Block)


def test_what_gine_learns_of_lipophilicity():
    """The claim of chapter 03: from one number a molecule, the network finds what each atom of
    unseen molecules contributes; with room to spare.
    """
    table = simulated.facts().query("name != 'Cisplatin'")
    shares = [lipophilicity(smiles) for smiles in table["smiles"]]
    goal = torch.tensor([share.mean() for share in shares], dtype=torch.float32)
    goal, every, draw = (
        (goal - goal.mean()) / goal.std(),
        molecule_graphs(table),
        torch.Generator().manual_seed(0),
    )
    rows = torch.arange(len(goal))[torch.arange(len(goal)) % 3 != 0]

    def loss(network):
        batch = rows[torch.randperm(len(rows), generator=draw)[:16]]
        error = (network(every.take(batch))[:, 0] - goal[batch]).square().mean()
        return LossOutput(error, {"mse": error.detach()})

    network, _ = train(
        lambda: GINE(32, 2, 0.1, 1),
        loss,
        TrainConfig(steps=60, learning_rate=3e-2, weight_decay=0.01),
    )
    with torch.inference_mode():
        said, atoms = (
            network(every)[:, 0].numpy(),
            network.read_out(network.atom_states(every))[:, 0].numpy(),
        )
    unseen = np.arange(0, len(goal), 3)
    owner = every.molecule.numpy()
    assert 0.35 < pearson(goal.numpy()[unseen], said[unseen]) < 0.95
    assert np.mean([pearson(shares[d], atoms[owner == d]) for d in unseen]) > 0.3


def outputs():
    """Everything that the stored chapter prints, cell by cell."""
    cells = json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]
    texts = [
        [
            part.get("text") or part.get("data", {}).get("text/plain", "")
            for part in cell.get("outputs", [])
        ]
        for cell in cells
    ]
    return ["".join("".join(text) for text in cell) for cell in texts]


def numbers_of(text, name):
    """The numbers behind a row's name."""
    row = next(line for line in text.splitlines() if line.startswith(name))
    return [
        float(word.strip(":,"))
        for word in row[len(name) :].split()
        if word.strip(":,").replace(".", "", 1).lstrip("-").isdigit()
    ]


@pytest.mark.skipif(not CHAPTER.exists(), reason="the chapter is not written yet")
def test_the_stored_chapter_shows_what_its_prose_says():
    said = outputs()
    table = next(
        text for text in said if "lipophilicity" in text and "geometric, shapes erased" in text
    )
    lipo = {
        name: numbers_of(table, name)[0]
        for name in (
            "element shares, ridge",
            "fingerprint, convolutions",
            "GINE",
            "geometric  ",
            "geometric, shapes erased",
        )
    }
    assert lipo["element shares, ridge"] >= max(lipo.values()) - 0.05 and lipo[
        "fingerprint, convolutions"
    ] == min(lipo.values())
    assert abs(lipo["geometric  "] - lipo["geometric, shapes erased"]) <= 0.101
    assert max(numbers_of(table, name)[1] for name in lipo) < 0.2  # nothing to be learnt of potency
    orders = next(text for text in said if "one set of weights" in text)
    low, high = numbers_of(orders, "repaired: r between")
    assert low == high and all(
        np.ptp(numbers_of(orders, f"{name}: r between")) > 0
        for name in ("norm over the batch", "dropout at test")
    )
    lines = next(text for text in said if "expression, tower" in text)
    assert (
        numbers_of(lines, "expression, ridge")[0] > 0.4
        and abs(numbers_of(lines, "copy_number, ridge")[0]) < 0.25
    )
