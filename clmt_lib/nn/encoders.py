"""One tower for one view of one kind of entity (chapter 03), a convolution over letters, and a
dropout that draws its mask cheaply (chapter 14).
"""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

from clmt_lib.io import DataError

LEVELS = 2**16  # a share of dropout is rounded to one of so many


def dropout(x: torch.Tensor, share: float, on: bool = True) -> torch.Tensor:
    """`torch.nn.functional.dropout`, on a processor with four elements of the mask from one random
    number (chapter 14 measures what that saves).

    Parameters
    ----------
    x : tensor of any shape
    share : of the elements set to zero, rounded to 1 / 65536; the others grow so that the
        expectation stays
    on : False returns `x`

    >>> dropout(torch.ones(2, 3), 0.5, on=False).sum().item()
    6.0
    """
    lost = round(share * LEVELS)
    if not on or not 0 < lost < LEVELS or x.device.type != "cpu":
        return F.dropout(x, share, on)
    bits = (
        torch.empty(-(-x.numel() // 4), dtype=torch.int64)
        .random_(-(2**63), None)
        .view(torch.int16)[: x.numel()]
    )
    return x * (bits.view(x.shape) >= lost - LEVELS // 2).to(x.dtype).mul_(LEVELS / (LEVELS - lost))


class Dropout(nn.Dropout):
    """`nn.Dropout` by `dropout`, or by what stands in `lose`."""

    lose = staticmethod(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape; in evaluation the same numbers."""
        return self.lose(x, self.p, self.training)


class Tower(nn.Module):
    """Dropout, Linear, LayerNorm, GELU, dropout, Linear.

    LayerNorm looks at one entity at a time, so an embedding never depends on who else is in the
    batch.

    Parameters
    ----------
    features, hidden, dim : widths
    drop_in, drop : dropout of the input and of the hidden layer

    Shapes
    ------
    x : [n, features]; out : [n, dim]

    >>> Tower(features=5, dim=2)(torch.zeros(3, 5)).shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        features: int,
        hidden: int = 256,
        dim: int = 64,
        drop_in: float = 0.2,
        drop: float = 0.5,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(drop_in),
            nn.Linear(features, hidden),
            nn.LayerNorm(hidden),
            nn.GELU(),
            nn.Dropout(drop),
            nn.Linear(hidden, dim),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, features] -> [n, dim]."""
        return self.layers(x)


class SequenceTower(nn.Module):
    """A row of features read as a sequence: three rounds of Conv1d (8 wide), ReLU, MaxPool over 3,
    then a linear layer, as in tCNNS and GraphDRP (Liu et al. 2019; Nguyen et al. 2022).

    Neighbouring features have nothing to do with each other, so a convolution finds no
    neighbourhood here; it is the authors' choice.

    Parameters
    ----------
    features, out : widths; at least 118 features
    channels : of the three rounds

    Shapes
    ------
    x : [n, features]; out : [n, out]

    Raises
    ------
    DataError
        Too few features for three rounds.

    >>> SequenceTower(118, out=2, channels=(2, 2, 2))(torch.zeros(3, 134)).shape
    torch.Size([3, 2])
    """

    def __init__(
        self, features: int, out: int = 128, channels: tuple[int, ...] = (32, 64, 128)
    ) -> None:
        super().__init__()
        layers, before, length = [], 1, features
        for width in channels:
            layers += [nn.Conv1d(before, width, 8), nn.ReLU(), nn.MaxPool1d(3)]
            before, length = width, (length - 7) // 3
        if length < 1:
            raise DataError(
                f"{features} features are too few for {len(channels)} rounds of convolution",
                remedy="give more features, or take another tower",
            )
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * length, out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, features] -> [n, out]."""
        return self.layers(x[:, None])


class EntityNorm(nn.Module):
    """BatchNorm over the entities that are there: what an encoder makes of all of them alike is
    taken off, where a norm within each would keep it. Who is not there, or alone in training, gets
    zeros.

    Shapes
    ------
    x : [n, width]; there : [n] bool; out : [n, width]

    >>> EntityNorm(2).eval()(torch.ones(2, 2), torch.tensor([True, False])).round()
    tensor([[1., 1.],
            [0., 0.]], grad_fn=<RoundBackward0>)
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """See the class."""
        some, out = there.nonzero()[:, 0], torch.zeros_like(x)
        if len(some) > 1 or not self.training:  # one alone has no spread
            out = out.index_copy(0, some, self.norm(x[some]))
        return out


class SequenceEncoder(nn.Module):
    """A small convolution over letters, such as residues of a protein or characters of a SMILES
    (as in DeepDTA, Öztürk et al. 2018).

    Embedding, then `layers` rounds of Conv1d and ReLU, each with the stride, then the maximum over
    places, `EntityNorm` and one linear layer. What stands behind the end of a sequence never
    enters: the result does not depend on how far a batch is padded. The maxima of long sequences
    are nearly the same for all of them: with a norm within each, filters died in the first steps.

    Parameters
    ----------
    letters : largest code; 0 is nothing (padding)
    width, dim : of the convolutions, of the result
    kernel : odd length of a filter
    stride : of every convolution: a layer has so many times fewer places
    drop : dropout before the linear layer

    Shapes
    ------
    x : [n, longest] int64 codes, zeros behind the end; out : [n, dim], of an empty sequence what
    the linear layer makes of zeros, as of the mean of all sequences

    >>> SequenceEncoder(letters=4, width=8, dim=3)(torch.tensor([[1, 2, 0], [0, 0, 0]])).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        letters: int,
        width: int = 64,
        dim: int = 64,
        kernel: int = 7,
        stride: int = 2,
        layers: int = 3,
        drop: float = 0.2,
    ) -> None:
        super().__init__()
        self.letter = nn.Embedding(letters + 1, width // 2, padding_idx=0)
        widths = [width // 2] + [width] * layers
        self.rounds = nn.ModuleList(
            [
                nn.Conv1d(before, after, kernel, stride, padding=kernel // 2)
                for before, after in itertools.pairwise(widths)
            ]
        )
        self.norm = EntityNorm(width)
        self.read_out = nn.Sequential(nn.Dropout(drop), nn.Linear(width, dim))
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, longest] -> [n, dim]."""
        there = x != 0  # [n, longest]
        known = there.any(1)
        h = self.letter(x).transpose(1, 2)  # [n, width / 2, longest]
        for convolve in self.rounds:
            there = there[:, :: self.stride]
            h = F.relu(convolve(h)) * there[:, None].to(h.dtype)
        most = h.amax(2)  # [n, width]: nothing is below 0 after a ReLU
        return self.read_out(self.norm(most, known))
