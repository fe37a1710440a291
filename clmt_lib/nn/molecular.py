"""Encoders of molecules: from fingerprint bits, from the atom graph, from the atom and the
bond-angle graph (chapter 03).

Each takes all drugs of a batch at once and returns one row a drug. A drug without a structure (no
atoms) is a row of zeros, to be masked by the caller.
"""

import math
from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from clmt_lib.nn.encoders import dropout
from clmt_lib.views.geometry import MoleculeGraphs, load_pyg

if TYPE_CHECKING:  # PyG takes seconds to import
    from torch_geometric.nn import GraphNorm

# mean and spread, so that the numbers enter the network near 0
LENGTH = 1.45, 0.15  # of a bond in a drug, angstrom
MASS = 13.0, 3.0  # of a heavy atom in a drug, Da


class Categories(nn.Module):
    """Sum of one learned vector for each category: [n, columns] integers -> [n, dim]. `sizes` are
    the numbers of categories.

    Thousands of bonds are of a few kinds: the sum is made once a kind.
    """

    def __init__(self, sizes: Sequence[int], dim: int) -> None:
        super().__init__()
        tables = [nn.Embedding(size, dim) for size in sizes]
        for table in tables:  # so that the sum has about unit variance
            nn.init.normal_(table.weight, std=len(sizes) ** -0.5)
        self.tables = nn.ModuleList(tables)
        self.sizes, self.steps = sizes, [math.prod(sizes[:i]) for i in range(len(sizes))]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, dim] from [n, columns] integers."""
        columns = zip(self.steps, x.unbind(1), strict=True)
        code = torch.stack([step * column for step, column in columns]).sum(0)
        kinds, which = code.unique(return_inverse=True)
        tables = zip(self.tables, self.steps, self.sizes, strict=True)
        vectors = [table(kinds // step % size) for table, step, size in tables]
        return reduce(torch.add, vectors).index_select(0, which)


def atom_categories(dim: int) -> Categories:
    """`Categories` for the nine atom columns."""
    load_pyg()
    from torch_geometric.utils.smiles import x_map

    return Categories([len(values) for values in x_map.values()], dim)


def bond_categories(dim: int) -> Categories:
    """`Categories` for the three bond columns."""
    from torch_geometric.utils.smiles import e_map

    return Categories([len(values) for values in e_map.values()], dim)


def gine(dim: int) -> nn.Module:
    """One round of message passing, h_i + sum over neighbours j of relu(h_j + e_ji), then a
    two-layer network (Hu et al. 2020): PyG's GINEConv, width `dim`.
    """
    load_pyg()
    from torch_geometric.nn import GINEConv

    return GINEConv(nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim)))


def mean_of_atoms(h: torch.Tensor, molecule: torch.Tensor, n: int) -> torch.Tensor:
    """[n, dim] mean over the atoms of each drug, zeros for a drug without atoms; `h` [N, dim],
    `molecule` [N].
    """
    total = h.new_zeros(n, h.shape[1]).index_add(0, molecule, h)
    return total / torch.bincount(molecule, minlength=n).clamp(min=1)[:, None]


def graph_norm(norm: "GraphNorm", x: torch.Tensor, graph: torch.Tensor, n: int) -> torch.Tensor:
    """PyG's `GraphNorm` `norm` (Cai et al. 2021) of x [nodes, dim] over each of n graphs, `graph`
    [nodes], in fewer passes over the nodes.
    """
    nodes = torch.bincount(graph, minlength=n).clamp(min=1)[:, None]

    def mean(values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(n, values.shape[1]).index_add(0, graph, values) / nodes

    out = x - (norm.mean_scale * mean(x)).index_select(0, graph)
    return (
        out * (norm.weight * (mean(out * out) + norm.eps).rsqrt()).index_select(0, graph)
        + norm.bias
    )


class Block(nn.Module):
    """GINE, LayerNorm, GraphNorm (Cai et al. 2021), perhaps ReLU, dropout, and the input added
    back, on atoms or on bonds.

    Parameters
    ----------
    act : ReLU before the dropout
    alive : dropout stays on in evaluation (defect 1 of the authors' code)
    whole_batch : GraphNorm takes its mean and variance over the whole batch, not over each molecule
        (their defect 2)
    """

    def __init__(self, dim: int, drop: float, act: bool, alive: bool, whole_batch: bool) -> None:
        super().__init__()
        from torch_geometric.nn import GraphNorm

        self.pass_messages = gine(dim)
        self.layer_norm, self.graph_norm = nn.LayerNorm(dim), GraphNorm(dim)
        self.drop, self.act, self.alive, self.whole_batch = drop, act, alive, whole_batch
        # ours, quicker than the libraries' on a processor: the bench puts those in their place
        self.lose, self.normalise = dropout, graph_norm

    def forward(
        self,
        h: torch.Tensor,
        edge_index: torch.Tensor,
        edge: torch.Tensor,
        graph: torch.Tensor,
        n: int,
        keep: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """[nodes, dim] from h [nodes, dim], edge_index [2, edges], edge [edges, dim], graph [nodes]
        (whose drug a node is, of n); `keep` is added back, `h` if None.
        """
        keep = h if keep is None else keep
        if not len(h):
            return keep
        out = self.layer_norm(self.pass_messages(h, edge_index, edge))
        if self.whole_batch:
            graph, n = torch.zeros_like(graph), 1
        out = self.normalise(self.graph_norm, out, graph, n)
        out = F.relu(out) if self.act else out
        return self.lose(out, self.drop, self.training or self.alive) + keep


class GeometricEncoder(nn.Module):
    """CLMT's drug encoder: messages between atoms through bonds, and between bonds through angles
    (GeoGNN, Fang et al. 2022).

        h0 = sum of atom embeddings, e0 = sum of bond embeddings
        h(l+1) = Drop(act(GraphNorm(LN(GINE(h(l), e(l)))))) + h(l)
        e(l+1) = Drop(GraphNorm(LN(GINE(b(l), MLP(angle))))) + e(l)
        out = Linear(mean over atoms of [h0, ..., hL])

    where act is a ReLU in the last layer only, and b(l) the bond embeddings of layer l.
    What the authors compute and never use is left out: the bond round after the last atom round
    gets no gradient. Their read-out, two linear layers without anything but BatchNorm between, is
    one linear layer here; self-loops on bonds are left out, since GINE adds a node's own state
    anyway.

    Parameters
    ----------
    dim, layers, drop, out : width, rounds, dropout, width of the result
    alive, whole_batch : two defects of the authors' code, see `Block`
    use_length, use_mass : bond length and atom mass enter; the authors compute both and use neither
    """

    def __init__(
        self,
        dim: int = 256,
        layers: int = 2,
        drop: float = 0.4,
        out: int = 256,
        *,
        alive: bool = False,
        whole_batch: bool = False,
        use_length: bool = True,
        use_mass: bool = True,
    ) -> None:
        super().__init__()
        last = [layer == layers - 1 for layer in range(layers)]
        self.atoms = atom_categories(dim)
        self.bonds = nn.ModuleList([bond_categories(dim) for _ in last])  # for e0 and each b(l)
        self.mass = nn.Linear(1, dim) if use_mass else None
        self.length = nn.ModuleList([nn.Linear(1, dim) for _ in last]) if use_length else None
        self.atom_blocks = nn.ModuleList(
            [Block(dim, drop, act, alive, whole_batch) for act in last]
        )
        self.bond_blocks = nn.ModuleList(
            [Block(dim, drop, False, alive, whole_batch) for _ in last[1:]]
        )
        self.angles = nn.ModuleList(
            [nn.Sequential(nn.Linear(1, dim), nn.ReLU(), nn.Linear(dim, dim)) for _ in last[1:]]
        )
        self.read_out = nn.Linear((layers + 1) * dim, out)

    def forward(self, graphs: MoleculeGraphs) -> torch.Tensor:
        """`MoleculeGraphs` of n drugs -> [n, out]."""
        mean = mean_of_atoms(self.atom_states(graphs), graphs.molecule, graphs.n)
        return self.read_out(mean) * graphs.known[:, None]

    def atom_states(self, graphs: MoleculeGraphs) -> torch.Tensor:
        """[N, (layers + 1) dim] what each atom holds after every round; a drug's result is the mean
        of `read_out` over its atoms.
        """
        h, e, layers = self._atoms(graphs), self._bonds(graphs, 0), []
        # many corners of drugs have the same angle: each is read once
        angles, which = graphs.angle.unique(return_inverse=True)
        for number, block in enumerate(self.atom_blocks):
            layers.append(h)
            h = block(h, graphs.bond_index, e, graphs.molecule, graphs.n)
            if number < len(self.bond_blocks):
                angle = self.angles[number](angles[:, None]).index_select(0, which)
                bonds = self._bonds(graphs, number + 1)
                e = self.bond_blocks[number](
                    bonds, graphs.angle_index, angle, graphs.bond_molecule, graphs.n, keep=e
                )
        return torch.cat([*layers, h], 1)

    def _atoms(self, graphs):
        h = self.atoms(graphs.atom)
        return h if self.mass is None else h + self.mass((graphs.mass[:, None] - MASS[0]) / MASS[1])

    def _bonds(self, graphs, number):
        e = self.bonds[number](graphs.bond)
        if self.length is None:
            return e
        return e + self.length[number]((graphs.length[:, None] - LENGTH[0]) / LENGTH[1])


class GINE(nn.Module):
    """The plain comparison: the atom graph alone, no shapes. Atom and bond embeddings, `layers`
    blocks, mean over atoms of all rounds, one linear layer.
    """

    def __init__(self, dim: int = 64, layers: int = 2, drop: float = 0.2, out: int = 64) -> None:
        super().__init__()
        self.atoms, self.bonds = atom_categories(dim), bond_categories(dim)
        self.blocks = nn.ModuleList([Block(dim, drop, True, False, False) for _ in range(layers)])
        self.read_out = nn.Linear((layers + 1) * dim, out)

    def forward(self, graphs: MoleculeGraphs) -> torch.Tensor:
        """`MoleculeGraphs` of n drugs -> [n, out]."""
        mean = mean_of_atoms(self.atom_states(graphs), graphs.molecule, graphs.n)
        return self.read_out(mean) * graphs.known[:, None]

    def atom_states(self, graphs: MoleculeGraphs) -> torch.Tensor:
        """[N, (layers + 1) dim], as in `GeometricEncoder`."""
        layers, e = [self.atoms(graphs.atom)], self.bonds(graphs.bond)
        for block in self.blocks:
            layers.append(block(layers[-1], graphs.bond_index, e, graphs.molecule, graphs.n))
        return torch.cat(layers, 1)


class FingerprintEncoder(nn.Module):
    """CLMT's fingerprint branch: three rounds of Conv1d (8 wide), BatchNorm, ReLU, MaxPool over 3,
    then two linear layers.

    Neighbouring bits of a hashed fingerprint have nothing to do with each other, so a convolution
    finds no neighbourhood here; it is the authors' choice.
    """

    def __init__(self, bits: int = 2048, hidden: int = 512, out: int = 256) -> None:
        super().__init__()
        layers, length = [], bits
        for before, after in ((1, 4), (4, 8), (8, 16)):
            layers += [
                nn.Conv1d(before, after, 8),
                nn.BatchNorm1d(after),
                nn.ReLU(),
                nn.MaxPool1d(3),
            ]
            length = (length - 7) // 3
        self.convolve = nn.Sequential(*layers, nn.Flatten())
        self.read_out = nn.Sequential(
            nn.Linear(16 * length, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, out),
        )

    def forward(self, bits: torch.Tensor) -> torch.Tensor:
        """[n, bits] float 0/1 -> [n, out]; a row without any bit, a drug without a structure, gives
        zeros.
        """
        return self.read_out(self.convolve(bits[:, None])) * bits.any(1, keepdim=True)


def max_of_atoms(h: torch.Tensor, molecule: torch.Tensor, n: int) -> torch.Tensor:
    """[n, dim] largest value over the atoms of each drug, zeros for a drug without atoms; `h`
    [N, dim], `molecule` [N].
    """
    place = molecule[:, None].expand_as(h)
    return h.new_zeros(n, h.shape[1]).scatter_reduce(0, place, h, "amax", include_self=False)


class AttentionEncoder(nn.Module):
    """GraphDRP's drug encoder (Nguyen et al. 2022): graph attention of several heads, a graph
    convolution, maximum and mean over the atoms, two linear layers.

    Its atoms carry 78 features of their own making (90 in CLDR's copy); here they are the nine
    categories of every encoder of this book, embedded. Bonds are edges without features, as there.

    Parameters
    ----------
    dim, heads : of the attention; their product is the width from there on
    hidden, out : of the linear layers
    """

    def __init__(
        self, dim: int = 78, heads: int = 10, hidden: int = 1500, out: int = 128, drop: float = 0.2
    ) -> None:
        super().__init__()
        self.atoms = atom_categories(dim)
        from torch_geometric.nn import GATConv, GCNConv

        self.attend = GATConv(dim, dim, heads=heads, dropout=drop)
        self.convolve = GCNConv(dim * heads, dim * heads)
        self.read_out = nn.Sequential(
            nn.Linear(2 * dim * heads, hidden), nn.ReLU(), nn.Dropout(drop), nn.Linear(hidden, out)
        )

    def forward(self, graphs: MoleculeGraphs) -> torch.Tensor:
        """`MoleculeGraphs` of n drugs -> [n, out]."""
        h = F.relu(self.attend(self.atoms(graphs.atom), graphs.bond_index))
        h = F.relu(self.convolve(h, graphs.bond_index))
        pools = [pool(h, graphs.molecule, graphs.n) for pool in (max_of_atoms, mean_of_atoms)]
        return self.read_out(torch.cat(pools, 1)) * graphs.known[:, None]


class ConvolutionEncoder(nn.Module):
    """DeepCDR's drug encoder (Liu et al. 2020): graph convolutions with BatchNorm, ReLU and
    dropout, then the maximum over the atoms.

    Parameters
    ----------
    widths : of the convolutions; the last is that of the result
    """

    def __init__(
        self, widths: Sequence[int] = (256, 256, 256, 200), dim: int = 64, drop: float = 0.1
    ) -> None:
        super().__init__()
        self.atoms = atom_categories(dim)
        from torch_geometric.nn import GCNConv

        before = (dim, *widths[:-1])
        self.layers = nn.ModuleList([GCNConv(a, b) for a, b in zip(before, widths, strict=True)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(width) for width in widths])
        self.drop = nn.Dropout(drop)

    def forward(self, graphs: MoleculeGraphs) -> torch.Tensor:
        """`MoleculeGraphs` of n drugs -> [n, last width]."""
        h = self.atoms(graphs.atom)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            h = self.drop(F.relu(norm(layer(h, graphs.bond_index))))
        return max_of_atoms(h, graphs.molecule, graphs.n) * graphs.known[:, None]
