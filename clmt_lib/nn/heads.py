"""From two embeddings to a response, and the named results that travel (chapter 06)."""

import math
from dataclasses import dataclass, field

import torch
from torch import nn


@dataclass(frozen=True)
class Output:
    """What a network says of all pairs of C lines and D drugs.

    Attributes
    ----------
    prediction : [C, D] in the drug's standard deviations
    cell, drug : view -> [n, dim] embeddings, rows of zeros where an entity has no such view
    present_cell, present_drug : view -> [n] bool, which entities have it
    """

    prediction: torch.Tensor
    cell: dict[str, torch.Tensor]
    drug: dict[str, torch.Tensor]
    present_cell: dict[str, torch.Tensor] = field(default_factory=dict)
    present_drug: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class LossOutput:
    """Total loss, and its named parts as detached scalars."""

    total: torch.Tensor
    parts: dict[str, torch.Tensor]


class PairHead(nn.Module):
    """Scaled inner product plus a bias from either side.

    Every pair of the table costs one column of a matrix product, so a pair never carries features
    of its own.

    Shapes
    ------
    z_cell : [C, dim]; z_drug : [D, dim]; out : [C, D]

    >>> PairHead(4)(torch.zeros(3, 4), torch.zeros(5, 4)).shape
    torch.Size([3, 5])
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.cell, self.drug = nn.Linear(dim, 1), nn.Linear(dim, 1)
        self.scale = 1 / math.sqrt(dim)

    def forward(self, z_cell: torch.Tensor, z_drug: torch.Tensor) -> torch.Tensor:
        """[C, D] predictions."""
        return self.scale * z_cell @ z_drug.T + self.cell(z_cell) + self.drug(z_drug).T


class PairTower(nn.Module):
    """An embedding for each pair, and a response read from it.

        h = GELU(LayerNorm(Linear(GELU(LayerNorm(c + d))))),  z = Linear([h, c' d'])

    of a line's part [c, c'] and a drug's part [d, d']. The sum is what a first layer over both
    would compute. The product, which no norm and no bend touches, is `PairHead`'s: by it every drug
    weighs a line's features in its own way, as a linear model for each drug does. So whatever is
    costly is done once an entity.

    Parameters
    ----------
    hidden : width of c, c', d and d'; the parts are twice as wide
    dim : of a pair's embedding
    drop : dropout before the first Linear

    Shapes
    ------
    cell, drug : [n, 2 hidden], the parts of the line and the drug of each pair; out : [n, dim]

    >>> PairTower(8, 4)(torch.zeros(3, 16), torch.zeros(3, 16)).shape
    torch.Size([3, 4])
    """

    def __init__(self, hidden: int, dim: int, drop: float = 0.1) -> None:
        super().__init__()
        self.of_sum = nn.Sequential(
            nn.LayerNorm(hidden),
            nn.GELU(),
            nn.Dropout(drop),
            nn.Linear(hidden, dim),
            nn.LayerNorm(dim),
            nn.GELU(),
        )
        self.merge = nn.Linear(dim + hidden, dim)
        self.response = nn.Linear(dim, 1)

    def forward(self, cell: torch.Tensor, drug: torch.Tensor) -> torch.Tensor:
        """[n, dim] embeddings of pairs."""
        (c, c_), (d, d_) = cell.chunk(2, 1), drug.chunk(2, 1)
        return self.merge(torch.cat([self.of_sum(c + d), c_ * d_], 1))

    def predicted(self, z: torch.Tensor) -> torch.Tensor:
        """[n] responses read from embeddings [n, dim]."""
        return self.response(z)[:, 0]


class HistogramHead(nn.Module):
    """A response as a distribution over bins, learnt by cross-entropy onto a Gaussian around the
    label and read as its mean (Imani and White 2018): soft number classes without any text.

    Parameters
    ----------
    dim : of the embeddings
    low, high, bins : the range of labels, and how finely it is cut
    sigma : of the Gaussian, in the labels' units

    Shapes
    ------
    z : [n, dim]; y : [n]

    >>> head = HistogramHead(4, bins=8)
    >>> head.targets(torch.tensor([0.0])).sum().item()
    1.0
    """

    edges: torch.Tensor

    def __init__(
        self, dim: int, low: float = -4.0, high: float = 4.0, bins: int = 100, sigma: float = 0.25
    ) -> None:
        super().__init__()
        self.sigma = sigma
        self.logits = nn.Sequential(nn.Dropout(0.1), nn.Linear(dim, bins))
        self.register_buffer("edges", torch.linspace(low, high, bins + 1), persistent=False)

    @property
    def centres(self) -> torch.Tensor:
        """[bins] middle of each bin."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    def targets(self, y: torch.Tensor) -> torch.Tensor:
        """[n, bins] mass of a Gaussian around y in each bin, cut at the ends of the range."""
        y = y.clamp(self.edges[0], self.edges[-1])
        mass = torch.special.ndtr((self.edges - y[:, None]) / self.sigma).diff(dim=1)
        return mass / mass.sum(1, keepdim=True)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """[n] means of the distributions."""
        return self.logits(z).softmax(1) @ self.centres

    def loss(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """[n] cross-entropies in nats."""
        return -(self.targets(y) * self.logits(z).log_softmax(1)).sum(1)


def correlation_loss(
    predicted: torch.Tensor, y: torch.Tensor, groups: torch.Tensor, fewest: int = 3
) -> torch.Tensor:
    """1 - Pearson correlation within each group, its mean over groups of at least `fewest` rows;
    0 where there is none.

    Parameters
    ----------
    predicted, y : [n]
    groups : [n] integers, such as the drug of each pair

    >>> y = torch.tensor([1.0, 2.0, 3.0, 1.0, 2.0, 3.0])
    >>> drug = torch.tensor([0, 0, 0, 4, 4, 4])
    >>> round(correlation_loss(torch.cat([y[:3], -y[3:]]), y, drug).item(), 3)
    1.0
    """
    which = groups.unique(return_inverse=True)[1]
    size = torch.bincount(which)

    def total(x: torch.Tensor) -> torch.Tensor:  # [groups]
        return x.new_zeros(len(size)).index_add(0, which, x)

    a, b = (x - (total(x) / size)[which] for x in (predicted, y))
    norms = (total(a * a) * total(b * b)).clamp(min=1e-12).sqrt()
    lost = 1 - total(a * b) / norms
    kept = size >= fewest
    return (lost * kept).sum() / kept.sum().clamp(min=1)
