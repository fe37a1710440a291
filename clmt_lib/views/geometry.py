"""Molecules as two graphs, atoms joined by bonds and bonds joined by angles, from one 3-D conformer
of each drug (chapter 03).

The two graphs are GeoGNN's (Fang et al. 2022), which CLMT's drug encoder uses. A conformer is one
plausible shape of a floppy thing, not *the* shape.
"""

import csv
import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
import torch

from clmt_lib.io import cache_file, read_cached, write_cached

# of ETKDG, from distances, then again from random coordinates; a cage or a large ring may need more
# than anybody wants to wait for
EMBED_TRIES = 20
# the last resort against a molecule that never ends; the tries above nearly always end first
EMBED_SECONDS = 60
MMFF_STEPS = 500
ENERGY_DIGITS = 3  # of kcal/mol: closer shapes have the same energy


@dataclass(frozen=True, eq=False)
class MoleculeGraphs:
    """The atom graphs and bond-angle graphs of some drugs, laid end to end; hydrogens are counted
    on their atom and are no nodes.

    Attributes
    ----------
    atom : [N, 9] int64 categories of `torch_geometric.utils.smiles.x_map`
    mass : [N] float, Da
    molecule : [N] int64, the drug an atom belongs to, ascending
    bond_index : [2, E] int64, every bond in both directions, sorted by its first atom
    bond : [E, 3] int64 categories of `e_map`
    length : [E] float, angstrom
    angle_index : [2, A] int64, pairs of directed bonds (i -> j, j -> k), k not i
    angle : [A] float, radians, at atom j
    n : number of drugs
    embedded : [n] bool, a 3-D shape was found (else lengths and angles are of the flat drawing)
    known : [n] bool, there is a structure
    """

    atom: torch.Tensor
    mass: torch.Tensor
    molecule: torch.Tensor
    bond_index: torch.Tensor
    bond: torch.Tensor
    length: torch.Tensor
    angle_index: torch.Tensor
    angle: torch.Tensor
    n: int
    embedded: torch.Tensor
    known: torch.Tensor

    @property
    def bond_molecule(self) -> torch.Tensor:
        """[E] int64, the drug a bond belongs to."""
        return self.molecule[self.bond_index[0]]

    def to(self, device: str | torch.device) -> "MoleculeGraphs":
        """The same graphs on a device."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in values.items():
            values[name] = value.to(device) if torch.is_tensor(value) else value
        return MoleculeGraphs(**values)

    def take(self, drugs: Sequence[int] | np.ndarray | torch.Tensor) -> "MoleculeGraphs":
        """The graphs of these drug positions (any order, repeats allowed), renumbered from 0."""
        drugs = torch.as_tensor(drugs, dtype=torch.int64, device=self.atom.device)
        bond_molecule = self.bond_molecule
        atoms, atom_move = _blocks(self.molecule, drugs, self.n)
        bonds, bond_move = _blocks(bond_molecule, drugs, self.n)
        angles, _ = _blocks(bond_molecule[self.angle_index[0]], drugs, self.n)
        position = torch.arange(len(drugs), device=drugs.device)
        per_drug = (
            torch.bincount(self.molecule, minlength=self.n),
            torch.bincount(bond_molecule, minlength=self.n),
        )
        bonds_to = position.repeat_interleave(per_drug[1][drugs])
        angles_to = position.repeat_interleave(
            torch.bincount(bond_molecule[self.angle_index[0]], minlength=self.n)[drugs]
        )
        return MoleculeGraphs(
            self.atom[atoms],
            self.mass[atoms],
            position.repeat_interleave(per_drug[0][drugs]),
            self.bond_index[:, bonds] + atom_move[bonds_to],
            self.bond[bonds],
            self.length[bonds],
            self.angle_index[:, angles] + bond_move[angles_to],
            self.angle[angles],
            len(drugs),
            self.embedded[drugs],
            self.known[drugs],
        )

    def joined(self, more: "MoleculeGraphs") -> "MoleculeGraphs":
        """These drugs' graphs, then those of `more`."""
        values = {}
        for field in fields(self):
            name = field.name
            mine, theirs = getattr(self, name), getattr(more, name)
            if name == "n":
                values[name] = mine + theirs
                continue
            ahead = {
                "molecule": self.n,
                "bond_index": len(self.atom),
                "angle_index": len(self.bond),
            }.get(name)
            theirs = theirs if ahead is None else theirs + ahead
            values[name] = torch.cat([mine, theirs], -1 if name.endswith("_index") else 0)
        return MoleculeGraphs(**values)


def _blocks(owner, drugs, n):
    """Rows of an ascending `owner` that belong to each drug in turn, and how far each drug's rows
    move, [len(drugs)].
    """
    count = torch.bincount(owner, minlength=n)
    start, wanted = (count.cumsum(0) - count)[drugs], count[drugs]
    move = wanted.cumsum(0) - wanted - start
    rows = torch.arange(int(wanted.sum()), device=drugs.device) - move.repeat_interleave(wanted)
    return rows, move


def molecule_graphs(
    drugs: pd.DataFrame, conformers: int = 1, seed: int = 0, cache: bool = True
) -> MoleculeGraphs:
    """The graphs of a table of drugs, each structure computed once.

    Parameters
    ----------
    drugs : [D] frame with `smiles`; a missing one is a drug without atoms, `known` False
    conformers : shapes tried for each molecule, of which the one with the lowest MMFF energy is
        kept. The authors take 10; 1 costs a tenth and is the default.
    seed : of the shapes
    cache : keep coordinates under `CLMT_CACHE`, by content; with the default shape and seed, those
        of the simulated world's drugs are part of the package

    Returns
    -------
    MoleculeGraphs on the CPU. Lengths and angles come from coordinates rounded to 0.001 angstrom,
    so that what is kept equals what is fresh.

    Raises
    ------
    DataError
        A SMILES that RDKit cannot read.
    """
    from clmt_lib.data.grouping import check_smiles

    check_smiles(drugs)
    smiles = [text if isinstance(text, str) and text.strip() else None for text in drugs["smiles"]]
    unique = sorted({text for text in smiles if text is not None})
    position, embedded = _coordinates(unique, conformers, seed, cache)
    once = _graphs(unique, position, embedded)
    row = {text: i for i, text in enumerate(unique)}
    return once.take([len(unique) if text is None else row[text] for text in smiles])


def conformer(smiles: str, conformers: int = 1, seed: int = 0) -> tuple[np.ndarray, bool]:
    """Coordinates [atoms, 3] in angstrom of the heavy atoms in the order of the SMILES, and whether
    they are 3-D.

    ETKDGv3 with hydrogens (Riniker and Landrum 2015), MMFF94 where it has parameters (not for
    metals); the flat drawing where no shape is found.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDepictor

    with rdBase.BlockLogs():
        heavy = Chem.MolFromSmiles(smiles)
        full = Chem.AddHs(heavy)
        ids = _embed(full, conformers, seed)
        if not ids:
            rdDepictor.Compute2DCoords(heavy)
            return heavy.GetConformer().GetPositions().round(3), False
        # shapes that relaxed to one minimum are a tie: the first of them
        best = ids[int(np.argmin(_energies(full, ids).round(ENERGY_DIGITS)))]
    # hydrogens were added behind the others
    return full.GetConformer(best).GetPositions()[: heavy.GetNumAtoms()].round(3), True


def _embed(molecule, conformers, seed):
    from rdkit.Chem import rdDistGeom

    settings = rdDistGeom.ETKDGv3()
    settings.maxIterations, settings.timeout = EMBED_TRIES, EMBED_SECONDS
    settings.randomSeed = (
        1 + 10007 * seed % 10**8
    )  # conformer i starts from i times this number, so with 0 all would be the same
    for settings.useRandomCoords in (False, True):
        ids = list(rdDistGeom.EmbedMultipleConfs(molecule, conformers, settings))
        if ids:
            return ids
    return []


def _energies(molecule, ids):
    """MMFF energy (kcal/mol) of each conformer, relaxed in place; zeros, and the shapes as they
    are, where MMFF lacks parameters.
    """
    from rdkit.Chem import rdForceFieldHelpers as forces

    if not forces.MMFFHasAllMoleculeParams(molecule):
        return np.zeros(len(ids))
    return np.array(
        [energy for _, energy in forces.MMFFOptimizeMoleculeConfs(molecule, maxIters=MMFF_STEPS)]
    )


def _coordinates(unique, conformers, seed, cache):
    """[all heavy atoms, 3] and [unique] bool: packaged, from the cache, or computed on all cores (a
    molecule's shape does not depend on the others).
    """
    from rdkit import rdBase

    shape = packaged_shapes() if cache and (conformers, seed) == (1, 0) else {}
    missing = [smiles for smiles in unique if smiles not in shape]
    path = (
        cache_file(
            "conformers", ["2", str(conformers), str(seed), rdBase.rdkitVersion, *missing], "npz"
        )
        if cache and missing
        else None
    )
    stored = read_cached(path)
    if (
        not isinstance(stored, dict)
        or not {"position", "embedded", "atoms"} <= set(stored)
        or len(stored["atoms"]) != len(missing)
    ):
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            made = list(pool.map(lambda smiles: conformer(smiles, conformers, seed), missing))
        embedded, atoms = (
            np.array([found for _, found in made], dtype=bool),
            np.array([len(xyz) for xyz, _ in made], dtype=np.int64),
        )
        stored = {
            "position": np.concatenate([np.zeros((0, 3)), *(xyz for xyz, _ in made)]),
            "embedded": embedded,
            "atoms": atoms,
        }
        write_cached(path, stored)
    parts = np.split(stored["position"], stored["atoms"].cumsum()[:-1])
    shape = shape | dict(zip(missing, zip(parts, stored["embedded"])))
    return np.concatenate([np.zeros((0, 3)), *(shape[smiles][0] for smiles in unique)]), np.array(
        [shape[smiles][1] for smiles in unique], dtype=bool
    )


def packaged_shapes() -> dict[str, tuple[np.ndarray, bool]]:
    """SMILES -> (coordinates [atoms, 3] in angstrom, 3-D or not) of the simulated world's drugs, so
    that every computer reads the same shapes at once.

    The table `oncology_shapes.tsv` is what `conformer` gives, written by `shape_rows`; a test makes
    some of them again.
    """
    with (files("clmt_lib.data") / "oncology_shapes.tsv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    return {
        row["smiles"]: (
            np.array(row["position"].split(), dtype=float).reshape(-1, 3),
            row["embedded"] == "1",
        )
        for row in rows
    }


def shape_rows(smiles: Iterable[str]) -> list[str]:
    """Lines of `oncology_shapes.tsv` for these SMILES: the text, 1 if the shape is 3-D, and x y z
    of each heavy atom.
    """
    made = [(text, *conformer(text)) for text in sorted(set(smiles))]
    rows = [
        "\t".join([text, str(int(found)), " ".join(f"{value:g}" for value in xyz.ravel() + 0.0)])
        for text, xyz, found in made
    ]
    return ["smiles\tembedded\tposition", *rows]


def _graphs(unique, position, embedded):
    """`MoleculeGraphs` of the unique structures, with one empty drug behind them to stand for a
    missing structure.
    """
    from rdkit import Chem

    load_pyg()
    from torch_geometric.utils import from_rdmol

    molecules = [Chem.MolFromSmiles(text) for text in unique]
    parts = [from_rdmol(molecule) for molecule in molecules]
    empty_atoms, empty_bonds = (
        torch.zeros((0, 9), dtype=torch.int64),
        torch.zeros((0, 3), dtype=torch.int64),
    )
    counts = torch.tensor([molecule.GetNumAtoms() for molecule in molecules], dtype=torch.int64)
    start = counts.cumsum(0) - counts
    bond_index = torch.cat(
        [
            torch.zeros((2, 0), dtype=torch.int64),
            *(part.edge_index + first for part, first in zip(parts, start, strict=True)),
        ],
        1,
    )
    mass = torch.tensor([atom.GetMass() for molecule in molecules for atom in molecule.GetAtoms()])
    step = position[bond_index[1]] - position[bond_index[0]]  # [bonds, 3]
    angle_index = angle_pairs(bond_index, int(counts.sum()))
    yes = torch.from_numpy(np.append(embedded, False).astype(bool))
    return MoleculeGraphs(
        torch.cat([empty_atoms, *(part.x for part in parts)]),
        mass.to(torch.float32),
        torch.arange(len(unique)).repeat_interleave(counts),
        bond_index,
        torch.cat([empty_bonds, *(part.edge_attr for part in parts)]),
        torch.from_numpy(np.linalg.norm(step, axis=1)).float(),
        angle_index,
        torch.from_numpy(_angles(step, angle_index.numpy())).float(),
        len(unique) + 1,
        yes,
        torch.arange(len(unique) + 1) < len(unique),
    )


def angle_pairs(bond_index: torch.Tensor, n_atoms: int) -> torch.Tensor:
    """[2, A] pairs of directed bonds (i -> j, j -> k) that meet at j, k not i; `bond_index` [2, E]
    must be sorted by its first row.

    A bent chain 0 - 1 - 2 has the angle at 1, from either side:

    >>> angle_pairs(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), 3).tolist()
    [[0, 3], [2, 1]]
    """
    count = torch.bincount(bond_index[0], minlength=n_atoms)
    leaving, first = (
        count[bond_index[1]],
        (count.cumsum(0) - count)[bond_index[1]],
    )  # of the atom where each bond arrives
    one = torch.arange(bond_index.shape[1]).repeat_interleave(leaving)
    other = torch.arange(len(one)) - (leaving.cumsum(0) - leaving - first).repeat_interleave(
        leaving
    )
    pairs = torch.stack([one, other])
    return pairs[:, bond_index[0][one] != bond_index[1][other]]


def _angles(step, angle_index):
    """[A] radians between the bond walked backwards and the bond walked on, to 4 digits; `step` [E,
    3] goes along each bond.
    """
    back, on = -step[angle_index[0]], step[angle_index[1]]
    sine, cosine = np.linalg.norm(np.cross(back, on), axis=1), (back * on).sum(1)
    return np.arctan2(sine, cosine).round(4)


def flat_drawing(smiles: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """A molecule on paper: positions [atoms, 2], bonds [bonds, 3] (atom, atom, order; 1.5 is
    aromatic) and the element of each atom.

    >>> flat_drawing("CO")[1:]
    (array([[0., 1., 1.]]), ['C', 'O'])
    """
    from rdkit import Chem
    from rdkit.Chem import rdDepictor

    molecule = Chem.MolFromSmiles(smiles)
    rdDepictor.Compute2DCoords(molecule)
    bonds = [
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), bond.GetBondTypeAsDouble())
        for bond in molecule.GetBonds()
    ]
    return (
        molecule.GetConformer().GetPositions()[:, :2],
        np.array(bonds, dtype=float).reshape(-1, 3),
        [atom.GetSymbol() for atom in molecule.GetAtoms()],
    )


def lipophilicity(smiles: str) -> np.ndarray:
    """[atoms] share of each heavy atom, its hydrogens included, in Crippen's log P (Wildman and
    Crippen 1999): a property whose parts are known.

    The carbon of methanol would rather be in fat, its oxygen in water:

    >>> lipophilicity("CO").round(2).tolist()
    [0.17, -0.56]
    """
    from rdkit import Chem
    from rdkit.Chem import rdMolDescriptors

    full = Chem.AddHs(Chem.MolFromSmiles(smiles))
    share = np.array([value for value, _ in rdMolDescriptors._CalcCrippenContribs(full)])
    home = [
        atom.GetNeighbors()[0].GetIdx()
        if atom.GetAtomicNum() == 1 and atom.GetDegree()
        else atom.GetIdx()
        for atom in full.GetAtoms()
    ]
    return np.bincount(home, share)


def load_pyg() -> None:
    """Import torch_geometric (seconds) without tqdm's advice about progress bars in notebooks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        import torch_geometric  # noqa: F401
