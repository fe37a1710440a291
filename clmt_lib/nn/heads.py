"""From two embeddings to a response, and the named results that travel (chapter 06)."""

import math
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Output:
    """What a model says: predictions [C, D] in the drug's standard deviations, and embeddings by
    view, each [n, dim].
    """

    prediction: torch.Tensor
    cell: dict
    drug: dict


@dataclass(frozen=True)
class LossOutput:
    """Total loss, and its named parts as detached scalars."""

    total: torch.Tensor
    parts: dict


class PairHead(nn.Module):
    """Scaled inner product plus a bias from either side: [C, dim], [D, dim] -> [C, D].

    Every pair of the table costs one column of a matrix product, so a pair never carries features
    of its own.
    """

    def __init__(self, dim):
        super().__init__()
        self.cell, self.drug = nn.Linear(dim, 1), nn.Linear(dim, 1)
        self.scale = 1 / math.sqrt(dim)

    def forward(self, z_cell, z_drug):
        """[C, D] predictions."""
        return self.scale * z_cell @ z_drug.T + self.cell(z_cell) + self.drug(z_drug).T
