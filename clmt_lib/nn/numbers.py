"""Numbers from 0.000 to 1.000 as vectors, without reading their words, and the graph that ties the
words of one to those of the next (chapter "Drug response as language").

The authors tie the texts of consecutive numbers by TransE (Bordes et al. 2013), "n, next, n + 1",
so that distances between texts follow distances between numbers. What the loss drives to can be
written down, e(n) = e(0) + n r: `LineNumbers`. Sines and Gaussian bumps are the usual encoders of a
number.
"""

import math

import torch
from torch import nn

from clmt_lib.io import DataError

STEPS = 1000  # codes are thousandths


class NumberGraph(nn.Module):
    """TransE over consecutive numbers, for embeddings e(0) to e(n - 1) of their texts.

        d+ = |e(i) + r - e(i + 1)|_1,  d- = |e(i + 1) + r - e(i)|_1,  max(0, margin + d+ - d-).

    Parameters
    ----------
    dim : of the embeddings
    summed : the sum over all pairs of neighbours instead of the mean, as in the authors' code: a
        thousand times the weight
    shrinks : d+ + d- is added, as there: the distances of the negatives shrink, too, and where the
        margin is violated the two pulls on d- cancel
    trained : the relation r is learnt; in the authors' code it is not
    fresh : a new random r every so many calls in training; in the authors' code every epoch.
        0: never

    Shapes
    ------
    e : [n, dim]; out : scalar

    >>> e = torch.arange(4.0)[:, None].expand(4, 2)
    >>> graph = NumberGraph(2)
    >>> graph.relation.data = torch.ones(2)
    >>> graph(e).item()  # d+ is 0 and d- is 4: no margin is violated
    0.0
    """

    calls: torch.Tensor

    def __init__(
        self,
        dim: int,
        *,
        margin: float = 1.0,
        summed: bool = False,
        shrinks: bool = False,
        trained: bool = True,
        fresh: int = 0,
    ) -> None:
        super().__init__()
        self.margin, self.summed, self.shrinks, self.fresh = margin, summed, shrinks, fresh
        self.relation = nn.Parameter(self._drawn(dim), requires_grad=trained)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    @staticmethod
    def _drawn(dim: int) -> torch.Tensor:
        """[dim] random relation of L1 length 1."""
        bound = 6 / math.sqrt(dim)  # as in TransE
        drawn = torch.empty(dim).uniform_(-bound, bound)
        return drawn / drawn.abs().sum()

    def forward(self, e: torch.Tensor) -> torch.Tensor:
        """The loss of embeddings of consecutive numbers; 0 for fewer than two."""
        if len(e) < 2:
            return e.sum() * 0.0
        if self.fresh and self.training:
            if self.calls and self.calls % self.fresh == 0:
                self.relation.data = self._drawn(e.shape[1]).to(e.device)
            self.calls += 1
        near = (e[:-1] + self.relation - e[1:]).abs().sum(1)  # [n - 1]
        far = (e[1:] + self.relation - e[:-1]).abs().sum(1)
        loss = (self.margin + near - far).clamp(min=0)
        if self.shrinks:
            loss = loss + near + far
        return loss.sum() if self.summed else loss.mean()


class LineNumbers(nn.Module):
    """What the number graph drives to: e(n) = start + n / 1000 step, both learnt.

    Shapes
    ------
    codes : [n] integers from 0 to 1000; out : [n, dim]
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(dim) / math.sqrt(dim))
        self.step = nn.Parameter(torch.randn(dim))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """[n, dim] embeddings."""
        return self.start + (codes[:, None] / STEPS) * self.step


class SinusoidalNumbers(nn.Module):
    """Sines and cosines of wavelengths from two thousandths to twice the range (Vaswani et al.
    2017), then a linear layer.

    Shapes
    ------
    codes : [n] integers from 0 to 1000; out : [n, dim]

    Raises
    ------
    DataError
        Fewer than one wave.
    """

    frequency: torch.Tensor

    def __init__(self, dim: int, waves: int = 32) -> None:
        super().__init__()
        if waves < 1:
            raise DataError(f"{waves} waves", remedy="give at least one")
        length = torch.logspace(math.log10(2.0), math.log10(2.0 * STEPS), waves)
        self.register_buffer("frequency", 2 * math.pi / length, persistent=False)
        self.project = nn.Linear(2 * waves, dim)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """[n, dim] embeddings."""
        angle = codes[:, None] * self.frequency
        return self.project(torch.cat([angle.sin(), angle.cos()], 1))


class RBFNumbers(nn.Module):
    """Gaussian bumps at even centres from 0 to 1, as wide as they are apart, then a linear layer.

    Shapes
    ------
    codes : [n] integers from 0 to 1000; out : [n, dim]

    Raises
    ------
    DataError
        Fewer than two centres.
    """

    centres: torch.Tensor

    def __init__(self, dim: int, centres: int = 64) -> None:
        super().__init__()
        if centres < 2:
            raise DataError(f"{centres} centres", remedy="give at least two")
        self.register_buffer("centres", torch.linspace(0, STEPS, centres), persistent=False)
        self.project = nn.Linear(centres, dim)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """[n, dim] embeddings."""
        apart = (codes[:, None] - self.centres) / (self.centres[1] - self.centres[0])
        return self.project(torch.exp(-0.5 * apart**2))


ENCODERS = {"line": LineNumbers, "sinusoidal": SinusoidalNumbers, "rbf": RBFNumbers}
