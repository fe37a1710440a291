"""Kernel ridge as the head of a network: each view gives a kernel, and what is trained are the
kernels' weights and the ridges, by gradient through the closed form (chapter 06).

Of a ridge the residual that every row would have had, had it been left out, is known without
fitting again (PRESS, Allen 1974); of a block of rows, too. So a whole cross-validation is one
differentiable expression.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

Solver = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]


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
    inverse = torch.linalg.inv(kernel + ridge * eye)  # its gradient is two matrix products
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
        scores: Sequence[torch.Tensor],
        modes: Sequence[torch.Tensor],
        blocks: Sequence[torch.Tensor],
    ) -> torch.Tensor:
        """[n, m] predictions of every row by fits without its block.

        Parameters
        ----------
        kernels : [kernels, n, n]
        scores, modes : of each group the target's scores [n, k] on its k modes [k, m]; the sum of
            their products is the target
        """
        found = []
        for group, score in enumerate(scores):
            kernel, ridge = self.mixture(group, kernels), self.log_ridge[group].exp()
            found.append(score - press_residuals(kernel, ridge, score, blocks))
        return torch.cat(found, 1) @ torch.cat(list(modes))


class PairSolve(torch.autograd.Function):
    """Dual weights A of pairwise kernel ridge on the seen pairs, with the gradient of the exact
    solution.

    A solves seen * (K_row A K_column) + ridge A = target. With G = dL/dA, and B the solution of the
    same system with seen * G on the right, dL/dK_row = -B (A K_column)', dL/dK_column =
    -(K_row A)' B and dL/dridge = -sum(B A) (the implicit function theorem): one more solve, however
    many steps the solver takes.

    Shapes
    ------
    k_row : [R, R]; k_column : [C, C]; ridge : scalar; target, seen, out : [R, C] (seen 0 or 1)
    solve : (k_row, k_column, target, seen, ridge) -> A, on arrays
    """

    @staticmethod
    def forward(
        ctx: Any,
        k_row: torch.Tensor,
        k_column: torch.Tensor,
        ridge: torch.Tensor,
        target: torch.Tensor,
        seen: torch.Tensor,
        solve: Solver,
    ) -> torch.Tensor:
        """[R, C] dual weights."""
        a = _solved(solve, k_row, k_column, target, seen, ridge)
        ctx.solve = solve
        ctx.save_for_backward(k_row, k_column, ridge, seen, a)
        return a

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of the two kernels and the ridge."""
        k_row, k_column, ridge, seen, a = ctx.saved_tensors
        b = _solved(ctx.solve, k_row, k_column, seen * gradients[0], seen, ridge)
        return -b @ (a @ k_column).T, -(k_row @ a).T @ b, -(b * a).sum(), None, None, None


def _solved(
    solve: Solver,
    k_row: torch.Tensor,
    k_column: torch.Tensor,
    target: torch.Tensor,
    seen: torch.Tensor,
    ridge: torch.Tensor,
) -> torch.Tensor:
    rows, columns, wanted = (x.detach().numpy() for x in (k_row, k_column, target))
    return torch.from_numpy(solve(rows, columns, wanted, seen.numpy() > 0, float(ridge)))


class StructureKernel(nn.Module):
    """One side's kernel in the pairwise ridge: a constant, the identity, given kernels, and
    exp(s (cos - 1)) of the entities' scaled structure vectors, each with a positive weight.

    Parameters
    ----------
    weights : where constant, structure, identity and the given kernels start
    sharpness : where s starts
    rank : of the structure vectors; their log scales start at 0 and move `SLOW` as fast as the rest

    Shapes
    ------
    structure : [n, rank], rows of zeros for an entity without responses; kernels : [views, n, n];
    out : [n, n]
    """

    SLOW = 0.375

    def __init__(self, weights: Sequence[float], sharpness: float, rank: int) -> None:
        super().__init__()
        self.log_weight = nn.Parameter(torch.tensor(weights, dtype=torch.float64).log())
        self.log_sharpness = nn.Parameter(torch.tensor(sharpness, dtype=torch.float64).log())
        self.log_scale = nn.Parameter(torch.zeros(rank, dtype=torch.float64))

    def forward(self, structure: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
        """[n, n] kernel; an entity without structure has no part in that of structures."""
        constant, alike, own, *given = self.log_weight.exp()
        z = F.normalize(structure * (self.SLOW * self.log_scale).exp(), dim=1)
        there = (structure != 0).any(1).to(z.dtype)
        structural = torch.exp(self.log_sharpness.exp() * (z @ z.T - 1)) * torch.outer(there, there)
        eye = torch.eye(len(z), dtype=z.dtype)
        return (
            constant
            + alike * structural
            + own * eye
            + torch.tensordot(torch.stack(given), kernels, 1)
        )


class PairRidge(nn.Module):
    """Pairwise kernel ridge between two sides, each with a `StructureKernel`.

    Parameters
    ----------
    rows, columns : the kernels of the two sides
    ridge : where the ridge starts

    Shapes
    ------
    structure : [R, rank], [C, rank]; kernels : [views, R, R], [views, C, C]; target, seen, out :
    [R, C]
    """

    def __init__(self, rows: StructureKernel, columns: StructureKernel, ridge: float) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns
        self.log_ridge = nn.Parameter(torch.tensor(ridge, dtype=torch.float64).log())

    def kernels(
        self,
        structure: tuple[torch.Tensor, torch.Tensor],
        kernels: tuple[torch.Tensor, torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(k_row [R, R], k_column [C, C])."""
        return self.rows(structure[0], kernels[0]), self.columns(structure[1], kernels[1])

    def forward(
        self,
        structure: tuple[torch.Tensor, torch.Tensor],
        kernels: tuple[torch.Tensor, torch.Tensor],
        target: torch.Tensor,
        seen: torch.Tensor,
        solve: Solver,
    ) -> torch.Tensor:
        """[R, C] predictions of every pair."""
        k_row, k_column = self.kernels(structure, kernels)
        a = PairSolve.apply(k_row, k_column, self.log_ridge.exp(), target, seen, solve)
        return k_row @ a @ k_column
