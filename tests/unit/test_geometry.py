"""Molecule graphs: shapes that repeat, graphs that can be cut and put together, and structures that
break naive code.
"""

import numpy as np
import pandas as pd
import pytest
import torch

from clmt_lib.data.response import simulated
from clmt_lib.io import DataError
from clmt_lib.views import geometry
from clmt_lib.views.geometry import MoleculeGraphs, conformer, molecule_graphs

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


def graphs(smiles, **options):
    return molecule_graphs(table(smiles), **options)


def same(a, b):
    return a.n == b.n and all(torch.equal(getattr(a, name), getattr(b, name)) for name in TENSORS)


def test_atoms_and_bonds_are_those_of_pyg():
    from torch_geometric.utils import from_smiles

    ours, theirs = graphs([BENZENE, ETHANOL]), [from_smiles(text) for text in (BENZENE, ETHANOL)]
    assert torch.equal(ours.atom, torch.cat([part.x for part in theirs])) and torch.equal(
        ours.bond, torch.cat([part.edge_attr for part in theirs])
    )
    assert torch.equal(
        ours.bond_index, torch.cat([theirs[0].edge_index, theirs[1].edge_index + 6], 1)
    )
    assert ours.molecule.tolist() == [0] * 6 + [1] * 3 and ours.n == 2


@pytest.mark.parametrize("cut", [0, 2, 3, 7])
def test_graphs_that_are_joined_are_those_of_all(cut):
    assert same(graphs(ALL[:cut]).joined(graphs(ALL[cut:])), graphs(ALL))


def test_lengths_and_angles_are_those_of_the_molecule():
    benzene = graphs([BENZENE])
    assert benzene.embedded.all() and torch.allclose(
        benzene.length, torch.tensor(1.39), atol=0.02
    )  # the textbook's aromatic bond
    assert len(benzene.angle) == 12 and torch.allclose(
        benzene.angle, torch.tensor(2 * np.pi / 3), atol=0.02
    )
    ethanol = graphs([ETHANOL])  # C - C - O, about 109 degrees
    assert len(ethanol.angle) == 2 and torch.allclose(
        ethanol.angle, torch.tensor(np.deg2rad(109.5)).float(), atol=0.06
    )
    assert torch.allclose(ethanol.mass, torch.tensor([12.011, 12.011, 15.999]))


def test_an_angle_joins_two_different_bonds_that_meet():
    every = graphs(ALL)
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
    every, kept = graphs(ALL), [5, 1, 0, 3, 3]
    assert same(every.take(kept), graphs([ALL[i] for i in kept]))
    assert same(every.take(torch.arange(every.n)), every) and every.take([]).n == 0


def test_one_drug_twice_has_one_shape_whatever_its_company():
    every = graphs(ALL)
    assert same(every.take([0]), every.take([6])) and same(every.take([0]), graphs([ETHANOL]))


def test_a_missing_structure_is_a_drug_without_atoms():
    every = graphs(ALL)
    assert (
        every.known.tolist() == [True, False, True, True, True, True, True]
        and not every.embedded[1]
        and not (every.molecule == 1).any()
    )
    nothing = graphs([None, float("nan"), ""])
    assert (
        nothing.n == 3
        and not nothing.known.any()
        and nothing.atom.shape == (0, 9)
        and nothing.angle_index.shape == (2, 0)
    )


def test_one_atom_salts_and_metals_work():
    methane, salt, metal = graphs([METHANE]), graphs([SALT]), graphs([CISPLATIN])
    assert len(methane.atom) == 1 and methane.bond_index.shape == (2, 0) and methane.embedded.all()
    assert (
        len(salt.atom) == 5 and salt.embedded.all() and not (salt.bond_index == 4).any()
    )  # the sodium is bonded to nothing
    assert (
        metal.embedded.all() and ((metal.length > 1.6) & (metal.length < 2.8)).all()
    )  # no MMFF parameters: the shape as embedded


def test_what_cannot_be_embedded_keeps_its_drawing_and_is_counted(monkeypatch):
    monkeypatch.setattr(geometry, "_embed", lambda *given: [])
    flat = graphs([BENZENE, ETHANOL], cache=False)
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
    fresh = graphs(ALL)
    monkeypatch.setattr(geometry, "conformer", lambda *given: pytest.fail("computed again"))
    assert same(graphs(ALL[::-1]), fresh.take(range(6, -1, -1)))
    assert len(list((tmp_path / "cache").glob("conformers-*.npz"))) == 1


@pytest.mark.parametrize("damage", [b"", b"not an archive", b"PK\x03\x04 broken"])
def test_a_damaged_cache_costs_only_time(tmp_path, damage):
    fresh = graphs([ETHANOL])
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(damage)
    assert same(graphs([ETHANOL]), fresh)
    assert {"position", "embedded", "atoms"} <= set(np.load(file))  # and it is repaired


def test_a_cache_that_cannot_be_written_costs_only_time(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("CLMT_CACHE", str(tmp_path / "file" / "cache"))
    assert graphs([ETHANOL]).embedded.all()


def test_a_smiles_that_cannot_be_read_is_named():
    with pytest.raises(DataError, match="row 2.*C1CC.*cannot be parsed"):
        graphs([ETHANOL, "C1CC"])


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
    moved = graphs(ALL).to("meta")
    assert (
        isinstance(moved, MoleculeGraphs)
        and moved.n == 7
        and all(getattr(moved, name).device.type == "meta" for name in TENSORS)
    )
