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
from clmt_lib.io import DataError
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
from clmt_lib.views import geometry
from clmt_lib.views.geometry import MoleculeGraphs, conformer, lipophilicity, molecule_graphs

CHAPTER = Path(__file__).resolve().parents[2] / "notebooks" / "attribute_encoders.ipynb"

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
            "geometric ",
            "geometric, shapes erased",
        )
    }
    assert lipo["element shares, ridge"] >= max(lipo.values()) - 0.05 and lipo[
        "fingerprint, convolutions"
    ] == min(lipo.values())
    assert abs(lipo["geometric "] - lipo["geometric, shapes erased"]) <= 0.101
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


# --- Molecule graphs: shapes that repeat, graphs that can be cut and put together, and structures
# that break naive code


ETHANOL, BENZENE, CISPLATIN, SALT, METHANE = (
    "CCO",
    "c1ccccc1",
    "N[Pt](N)(Cl)Cl",
    "CC(=O)[O-].[Na+]",
    "C",
)
ALL = [ETHANOL, None, BENZENE, CISPLATIN, METHANE, SALT, ETHANOL]
TENSORS = (
    "atom",
    "mass",
    "molecule",
    "bond_index",
    "bond",
    "length",
    "angle_index",
    "angle",
    "embedded",
    "known",
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLMT_CACHE", str(tmp_path / "cache"))


def table(smiles):
    return pd.DataFrame({"smiles": smiles})


def geometry_graphs(smiles, **options):
    return molecule_graphs(table(smiles), **options)


def same(a, b):
    return a.n == b.n and all(torch.equal(getattr(a, name), getattr(b, name)) for name in TENSORS)


def test_atoms_and_bonds_are_those_of_pyg():
    from torch_geometric.utils import from_smiles

    ours, theirs = (
        geometry_graphs([BENZENE, ETHANOL]),
        [from_smiles(text) for text in (BENZENE, ETHANOL)],
    )
    assert torch.equal(ours.atom, torch.cat([part.x for part in theirs])) and torch.equal(
        ours.bond, torch.cat([part.edge_attr for part in theirs])
    )
    assert torch.equal(
        ours.bond_index, torch.cat([theirs[0].edge_index, theirs[1].edge_index + 6], 1)
    )
    assert ours.molecule.tolist() == [0] * 6 + [1] * 3 and ours.n == 2


@pytest.mark.parametrize("cut", [0, 2, 3, 7])
def test_graphs_that_are_joined_are_those_of_all(cut):
    assert same(geometry_graphs(ALL[:cut]).joined(geometry_graphs(ALL[cut:])), geometry_graphs(ALL))


def test_lengths_and_angles_are_those_of_the_molecule():
    benzene = geometry_graphs([BENZENE])
    assert benzene.embedded.all() and torch.allclose(
        benzene.length, torch.tensor(1.39), atol=0.02
    )  # the textbook's aromatic bond
    assert len(benzene.angle) == 12 and torch.allclose(
        benzene.angle, torch.tensor(2 * np.pi / 3), atol=0.02
    )
    ethanol = geometry_graphs([ETHANOL])  # C - C - O, about 109 degrees
    assert len(ethanol.angle) == 2 and torch.allclose(
        ethanol.angle, torch.tensor(np.deg2rad(109.5)).float(), atol=0.06
    )
    assert torch.allclose(ethanol.mass, torch.tensor([12.011, 12.011, 15.999]))


def test_an_angle_joins_two_different_bonds_that_meet():
    every = geometry_graphs(ALL)
    (start, end), (one, other) = every.bond_index, every.angle_index
    assert torch.equal(end[one], start[other]) and (start[one] != end[other]).all()
    wanted = sum(
        int(degree) * (int(degree) - 1) for degree in torch.bincount(start)
    )  # every ordered pair of neighbours of every atom
    assert (
        every.angle_index.shape
        == (2, wanted)
        == (2, len(torch.unique(every.angle_index, dim=1)[0]))
    )
    assert ((every.angle > 0) & (every.angle <= np.pi + 1e-4)).all()


def test_taking_drugs_equals_building_from_the_subset():
    every, kept = geometry_graphs(ALL), [5, 1, 0, 3, 3]
    assert same(every.take(kept), geometry_graphs([ALL[i] for i in kept]))
    assert same(every.take(torch.arange(every.n)), every) and every.take([]).n == 0


def test_one_drug_twice_has_one_shape_whatever_its_company():
    every = geometry_graphs(ALL)
    assert same(every.take([0]), every.take([6])) and same(
        every.take([0]), geometry_graphs([ETHANOL])
    )


def test_a_missing_structure_is_a_drug_without_atoms():
    every = geometry_graphs(ALL)
    assert (
        every.known.tolist() == [True, False, True, True, True, True, True]
        and not every.embedded[1]
        and not (every.molecule == 1).any()
    )
    nothing = geometry_graphs([None, float("nan"), ""])
    assert (
        nothing.n == 3
        and not nothing.known.any()
        and nothing.atom.shape == (0, 9)
        and nothing.angle_index.shape == (2, 0)
    )


def test_one_atom_salts_and_metals_work():
    methane, salt, metal = (
        geometry_graphs([METHANE]),
        geometry_graphs([SALT]),
        geometry_graphs([CISPLATIN]),
    )
    assert len(methane.atom) == 1 and methane.bond_index.shape == (2, 0) and methane.embedded.all()
    assert (
        len(salt.atom) == 5 and salt.embedded.all() and not (salt.bond_index == 4).any()
    )  # the sodium is bonded to nothing
    assert (
        metal.embedded.all() and ((metal.length > 1.6) & (metal.length < 2.8)).all()
    )  # no MMFF parameters: the shape as embedded


def test_what_cannot_be_embedded_keeps_its_drawing_and_is_counted(monkeypatch):
    monkeypatch.setattr(geometry, "_embed", lambda *given: [])
    flat = geometry_graphs([BENZENE, ETHANOL], cache=False)
    assert (
        not flat.embedded.any()
        and flat.known.all()
        and (flat.length > 1).all()
        and torch.isfinite(flat.angle).all()
    )


def test_the_second_try_saves_a_large_ring_system():
    """Fulvestrant has no shape within the tries that start from distances; random coordinates find
    one.
    """
    smiles = simulated.facts().set_index("name").loc["Fulvestrant", "smiles"]
    xyz, found = conformer(smiles)
    assert found and np.ptp(xyz, axis=0).min() > 1.0


def test_several_conformers_are_different_and_the_best_is_kept(monkeypatch):
    """RDKit starts conformer i from i times its seed: with seed 0 all ten would be one."""
    seen, relax = [], geometry._energies
    monkeypatch.setattr(
        geometry, "_energies", lambda *given: seen.append(relax(*given)) or seen[-1]
    )
    smiles = simulated.facts().set_index("name").loc["Erlotinib", "smiles"]
    one, five = (conformer(smiles, n) for n in (1, 5))
    assert len(np.unique(seen[1].round(2))) > 1 and seen[1].min() < seen[0].min() - 0.01
    assert one[1] and five[1] and not np.array_equal(one[0], five[0])


def test_the_same_seed_gives_the_same_shape_and_another_another():
    smiles = "CCCCCCO"
    assert np.array_equal(conformer(smiles)[0], conformer(smiles)[0]) and not np.array_equal(
        conformer(smiles)[0], conformer(smiles, seed=1)[0]
    )


def test_shapes_are_cached_by_content(monkeypatch, tmp_path):
    fresh = geometry_graphs(ALL)
    monkeypatch.setattr(geometry, "conformer", lambda *given: pytest.fail("computed again"))
    assert same(geometry_graphs(ALL[::-1]), fresh.take(range(6, -1, -1)))
    assert len(list((tmp_path / "cache").glob("conformers-*.npz"))) == 1


@pytest.mark.parametrize("damage", [b"", b"not an archive", b"PK\x03\x04 broken"])
def test_a_damaged_cache_costs_only_time(tmp_path, damage):
    fresh = geometry_graphs([ETHANOL])
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(damage)
    assert same(geometry_graphs([ETHANOL]), fresh)
    assert {"position", "embedded", "atoms"} <= set(np.load(file))  # and it is repaired


def test_a_cache_that_cannot_be_written_costs_only_time(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("CLMT_CACHE", str(tmp_path / "file" / "cache"))
    assert geometry_graphs([ETHANOL]).embedded.all()


def test_a_smiles_that_cannot_be_read_is_named():
    with pytest.raises(DataError, match="row 2.*C1CC.*cannot be parsed"):
        geometry_graphs([ETHANOL, "C1CC"])


def test_the_packaged_shapes_cover_the_simulated_world_and_can_be_made_again(monkeypatch):
    """Distances between atoms of small rigid molecules must agree; floppy ones may settle elsewhere
    with another RDKit.
    """
    shapes, facts = geometry.packaged_shapes(), simulated.facts().set_index("name")["smiles"]
    assert set(facts) == set(shapes)
    for name in ("Olaparib", "5-Fluorouracil", "Temozolomide"):
        if name not in facts:
            continue
        again, kept = conformer(facts[name])[0], shapes[facts[name]][0]
        gap = [np.linalg.norm(xyz[:, None] - xyz[None], axis=-1) for xyz in (again, kept)]
        near = gap[1] < 2.7  # bonds and angles
        assert np.abs(gap[0] - gap[1])[near].max() < 0.1
    monkeypatch.setattr(
        geometry, "conformer", lambda *given: pytest.fail("computed, though packaged")
    )
    assert molecule_graphs(simulated.facts()).embedded.all()


def test_shape_rows_are_the_packaged_format():
    header, row = geometry.shape_rows([ETHANOL])
    smiles, found, position = row.split("\t")
    assert header == "smiles\tembedded\tposition" and (smiles, found) == (ETHANOL, "1")
    assert np.allclose(
        np.array(position.split(), dtype=float).reshape(-1, 3), conformer(ETHANOL)[0]
    )


def test_graphs_move_between_devices_whole():
    moved = geometry_graphs(ALL).to("meta")
    assert (
        isinstance(moved, MoleculeGraphs)
        and moved.n == 7
        and all(getattr(moved, name).device.type == "meta" for name in TENSORS)
    )
