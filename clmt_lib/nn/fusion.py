"""From the views of an entity to one vector, when some views are missing (chapter 06).

Every function takes `z`, view -> [n, dim] embeddings, and `present`, view -> [n] bool: which
entities have the view; a view not named there is had by all. What is not present never reaches the
result, and gets no gradient. An entity without any view gets zeros.
"""

from collections.abc import Iterable, Mapping

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


class GatedFusion(nn.Module):
    """A weighted mean over the views that an entity has; each view says by one linear layer how
    much it should count for this entity (Arevalo et al. 2017, with a softmax over views).

    Parameters
    ----------
    views : their names
    dim : width of an embedding

    Shapes
    ------
    z : view -> [n, dim]; present : view -> [n] bool; out : [n, dim]

    Gates start at zero, so before training this is `masked_mean`.
    """

    def __init__(self, views: Iterable[str], dim: int) -> None:
        super().__init__()
        gates = {view: nn.Linear(dim, 1) for view in views}
        for gate in gates.values():
            nn.init.zeros_(gate.weight)
            nn.init.zeros_(gate.bias)
        self.gates = nn.ModuleDict(gates)

    def weights(self, z: Embeddings, present: Embeddings) -> torch.Tensor:
        """[n, views] weights that sum to one over the views an entity has, in the order of `z`."""
        if set(z) != set(self.gates):
            raise DataError(
                f"views {', '.join(z)} for gates of {', '.join(self.gates)}",
                remedy="hand over exactly the views that the gates were made for",
            )
        there = _table(z, present)
        say = torch.cat([self.gates[view](x) for view, x in masked(z, present).items()], 1)
        # a large negative number and not -inf: the softmax of nothing but -inf would be NaN
        return say.masked_fill(~there, -1e4).softmax(1) * there

    def forward(self, z: Embeddings, present: Embeddings) -> torch.Tensor:
        """[n, dim]."""
        share = self.weights(z, present)
        first, *others = (share[:, [i]] * x for i, x in enumerate(masked(z, present).values()))
        return sum(others, start=first)


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
