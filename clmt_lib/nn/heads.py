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
