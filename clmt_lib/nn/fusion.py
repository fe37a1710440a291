"""From the views of an entity to one vector, when some views are missing (chapter 06), and from the
views of two entities to how well they match (the UMME chapter).

Every function takes `z`, view -> [n, dim] embeddings, and `present`, view -> [n] bool: which
entities have the view; a view not named there is had by all. What is not present never reaches the
result, and gets no gradient. An entity without any view gets zeros.
"""

import math
from collections.abc import Mapping

import torch
from torch import nn

from clmt_lib.io import DataError

Embeddings = Mapping[str, torch.Tensor]


def masked(z: Embeddings, present: Embeddings) -> dict[str, torch.Tensor]:
    """view -> [n, dim], rows of zeros where an entity has no such view."""
    return {
        view: x if view not in present else x * present[view][:, None].to(x.dtype)
        for view, x in z.items()
    }


def masked_sum(z: Embeddings, present: Embeddings) -> torch.Tensor:
    """[n, dim] sum over the views that an entity has.

    >>> z = {"text": torch.ones(2, 1), "graph": torch.full((2, 1), 3.0)}
    >>> masked_sum(z, {"text": torch.tensor([True, False])}).tolist()
    [[4.0], [3.0]]
    """
    first, *others = masked(_some(z), present).values()
    return sum(others, start=first)


def masked_mean(z: Embeddings, present: Embeddings) -> torch.Tensor:
    """[n, dim] mean over the views that an entity has.

    >>> z = {"text": torch.ones(2, 1), "graph": torch.full((2, 1), 3.0)}
    >>> masked_mean(z, {"text": torch.tensor([True, False])}).tolist()
    [[2.0], [3.0]]
    """
    return masked_sum(z, present) / _table(z, present).sum(1, keepdim=True).clamp(min=1)


def stacked(
    z: Embeddings, present: Embeddings, null: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Views of a side as tokens: ([n, views + 1, dim], [n, views + 1] bool which are there).

    The last token is `null` [dim], a learned vector that is there for an entity without any view
    and for no other. What is missing is zeros, and gets no gradient.
    """
    there = _table(z, present)  # [n, views]
    tokens = torch.stack([*masked(z, present).values(), null.expand(len(there), -1)], 1)
    return tokens, torch.cat([there, ~there.any(1, keepdim=True)], 1)


def shares(say: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Softmax over the last dimension among those that are there; zero for the others."""
    return say.masked_fill(~there, float("-inf")).softmax(-1)


class SideAttention(nn.Module):
    """From the tokens of each entity to one vector: attention with one learned question a side.

        a_m = softmax over the tokens m there of (q . W_k z_m / sqrt(dim) + log w_m)
        u = sum of a_m W_v z_m; or with `add`, of M a_m z_m for the M tokens that are there

    Parameters
    ----------
    dim : width of an embedding
    add : tokens add up as they are, instead of being projected and averaged: before anything is
        learnt, u is their sum

    Shapes
    ------
    tokens : [n, tokens, dim]; there : [n, tokens] bool, at least one an entity (`stacked` sees to
    it); weight : [tokens] above 0, how much a token counts before anything is learnt;
    out : [n, dim]

    The question starts at zero, so before training this is the mean of W_v z weighted by `weight`.
    """

    def __init__(self, dim: int, add: bool = False) -> None:
        super().__init__()
        self.add = add
        self.question = nn.Parameter(torch.zeros(dim))
        self.key = nn.Linear(dim, dim)
        self.value = nn.Identity() if add else nn.Linear(dim, dim)

    def weights(
        self, tokens: torch.Tensor, there: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        """[n, tokens] that sum to one."""
        say = self.key(tokens) @ self.question / math.sqrt(tokens.shape[2])
        return shares(say + weight.log(), there)

    def forward(
        self, tokens: torch.Tensor, there: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        """[n, dim]."""
        share = self.weights(tokens, there, weight)  # [n, tokens]
        if self.add:
            share = share * there.sum(1, keepdim=True)
        return (share[..., None] * self.value(tokens)).sum(1)


class CrossAttention(nn.Module):
    """How well two entities of different sides match: each asks which of the other's tokens count.

        a_m = softmax of (W_q u_row . W_k z_column,m / sqrt(dim) + log w_m), b_n likewise the
        other way round
        match = sum over m, n of a_m b_n (V_column z_column,m) . (V_row z_row,n) / sqrt(dim)

    No pair carries a vector of its own: everything is a product of entities' tokens, so all pairs
    of a table cost a few matrix products, and some pairs (`pairs`) a gathering of rows.

    Parameters
    ----------
    dim : width of an embedding

    Shapes
    ------
    row, column : (u [n, dim], tokens [n, tokens, dim], there [n, tokens], weight [tokens]) of each
    side; out : [rows, columns], or [pairs] with pairs [pairs, 2]
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        asks, keys, values = ([nn.Linear(dim, dim) for _ in range(2)] for _ in range(3))
        for ask in asks:  # before training every token that is there counts alike
            nn.init.zeros_(ask.weight)
            nn.init.zeros_(ask.bias)
        self.ask, self.key, self.value = map(nn.ModuleList, (asks, keys, values))
        self.scale = 1 / math.sqrt(dim)

    def forward(
        self,
        row: tuple[torch.Tensor, ...],
        column: tuple[torch.Tensor, ...],
        pairs: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """[rows, columns] or [pairs]."""
        sides = (row, column)
        ask, key, value = (
            [self.ask[axis](side[0]) for axis, side in enumerate(sides)],  # [n, dim]
            [self.key[axis](side[1]) for axis, side in enumerate(sides)],  # [n, tokens, dim]
            [self.value[axis](side[1]) for axis, side in enumerate(sides)],
        )
        if pairs is None:
            dots = torch.einsum("rnd,cmd->rcnm", *value)
            asked = [
                torch.einsum("cd,rnd->rcn", ask[1], key[0]),
                torch.einsum("rd,cmd->rcm", ask[0], key[1]),
            ]
            there = [row[2][:, None], column[2][None]]
        else:
            r, c = pairs.T
            dots = value[0][r] @ value[1][c].transpose(1, 2)  # [pairs, row tokens, column tokens]
            asked = [
                (key[0][r] @ ask[1][c][..., None])[..., 0],
                (key[1][c] @ ask[0][r][..., None])[..., 0],
            ]
            there = [row[2][r], column[2][c]]
        share = [
            shares(say * self.scale + side[3].log(), here)
            for say, side, here in zip(asked, sides, there, strict=True)
        ]
        return self.scale * ((dots * share[1][..., None, :]).sum(-1) * share[0]).sum(-1)


def _some(z: Embeddings) -> Embeddings:
    if not z:
        raise DataError("no view to fuse", remedy="give at least one")
    return z


def _table(z: Embeddings, present: Embeddings) -> torch.Tensor:
    """[n, views] bool."""
    return torch.stack(
        [
            present.get(view, torch.ones(len(x), dtype=torch.bool, device=x.device))
            for view, x in _some(z).items()
        ],
        1,
    )
