"""Kernel ridge as the head of a network: each view gives a kernel, and what is trained are the
kernels' weights and the ridges, by gradient through the closed form (chapter 06).

Of a ridge the residual that every row would have had, had it been left out, is known without
fitting again (PRESS, Allen 1974); of a block of rows, too. So a whole cross-validation is one
differentiable expression.
"""

from collections.abc import Sequence

import torch
from torch import nn


def press_residuals(
    kernel: torch.Tensor,
    ridge: torch.Tensor | float,
    target: torch.Tensor,
    blocks: Sequence[torch.Tensor],
) -> torch.Tensor:
    """Residuals of kernel ridge, each block of rows predicted by a fit without it.

    With G = (K + ridge I)^-1, those of the rows B are G_BB^-1 (G Y)_B.

    Parameters
    ----------
    kernel : [n, n] positive semi-definite
    target : [n, m]
    blocks : index tensors that deal out the n rows

    Returns
    -------
    [n, m] residuals in the order of the rows.

    Examples
    --------
    >>> y = torch.tensor([[1.0], [2.0], [4.0]], dtype=torch.float64)
    >>> k = torch.ones(3, 3, dtype=torch.float64)
    >>> press_residuals(k, 1.0, y, [torch.tensor([0]), torch.tensor([1, 2])])[0].item()  # 1 - 6/3
    -1.0
    """
    eye = torch.eye(len(kernel), dtype=kernel.dtype, device=kernel.device)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(kernel + ridge * eye))
    dual = inverse @ target  # [n, m]
    parts = [torch.linalg.solve(inverse[rows][:, rows], dual[rows]) for rows in blocks]
    return torch.cat(parts)[torch.argsort(torch.cat(list(blocks)))]


class WeightedKernels(nn.Module):
    """Positive weights of given kernels and positive ridges, one set for each group of response
    modes.

    Parameters
    ----------
    weights : [kernels] where the weights of every group start
    ridges : [groups] where the ridges start
    share : of an additive term that a prediction starts with; None leaves it out

    Shapes
    ------
    kernels : [kernels, n, n]; mixture : [n, n]
    """

    def __init__(
        self, weights: Sequence[float], ridges: Sequence[float], share: float | None = None
    ) -> None:
        super().__init__()
        logs = torch.tensor(weights, dtype=torch.float64).log()
        self.log_weight = nn.Parameter(logs.repeat(len(ridges), 1))
        self.log_ridge = nn.Parameter(torch.tensor(ridges, dtype=torch.float64).log())
        given = torch.tensor(share or 0.0, dtype=torch.float64)
        self.share = nn.Parameter(given, requires_grad=share is not None)

    def mixture(self, group: int, kernels: torch.Tensor) -> torch.Tensor:
        """[n, n] weighted sum of the kernels for one group of modes."""
        return torch.tensordot(self.log_weight[group].exp(), kernels, 1)

    def held_out(
        self,
        kernels: torch.Tensor,
        parts: Sequence[torch.Tensor],
        blocks: Sequence[torch.Tensor],
    ) -> torch.Tensor:
        """[n, m] predictions of every row by fits without its block.

        Parameters
        ----------
        kernels : [kernels, n, n]
        parts : for each group of modes what it holds of the target, [n, m]; their sum is the target
        """
        out = torch.zeros_like(parts[0])
        for group, part in enumerate(parts):
            kernel, ridge = self.mixture(group, kernels), self.log_ridge[group].exp()
            out = out + part - press_residuals(kernel, ridge, part, blocks)
        return out
