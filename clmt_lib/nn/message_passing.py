"""Message passing over the response graph, each entity once (chapter 04)."""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import nn

from clmt_lib.io import DataError

Relation = tuple[str, str, str]  # source node, name, target node


class ResponseLayer(nn.Module):
    """Messages to one kind of node: from the other kind through its responses, and from its own
    kind through similarity.

    A node's message is a sum over its training responses r: relu(r) e_resistant + relu(-r)
    e_sensitive of the other node, over the square root of their number + 5.
    A node without responses receives its nearest neighbours' messages only.

    Shapes
    ------
    residual, mask : [n, others] (dense: ~10^3 nodes a side make sparse storage slower, not faster);
        neighbours : [n, n]; out : two of [n, dim]
    """

    def __init__(self, others: int, message: int = 256, dim: int = 128, drop: float = 0.2) -> None:
        super().__init__()
        self.sender = nn.Parameter(torch.randn(2 * others, message) / math.sqrt(message))
        self.own, self.nearby = (
            nn.Sequential(
                nn.LayerNorm(message), nn.GELU(), nn.Dropout(drop), nn.Linear(message, dim)
            )
            for _ in range(2)
        )

    def message(self, residual: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """[n, message] what each node's own responses say, as far as `mask` lets them through."""
        seen = residual * mask
        message = torch.cat([seen.clamp(min=0), (-seen).clamp(min=0)], 1) @ self.sender
        return message / (mask.sum(1, keepdim=True) + 5).sqrt()

    def forward(
        self, residual: torch.Tensor, mask: torch.Tensor, neighbours: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(own [n, dim], nearby [n, dim]) from what `mask` lets through."""
        message = self.message(residual, mask)
        return self.own(message), self.nearby(neighbours @ message)


class SAGELayer(nn.Module):
    """One layer of `HeteroSAGE`: every relation averages the features of its sources and adds the
    target's own, each by a linear map; relations that reach the same kind of node are averaged.

    Parameters
    ----------
    features : node -> number of input features
    relations : (source node, name, target node)
    hidden : width of the result
    """

    def __init__(
        self, features: Mapping[str, int], relations: Iterable[Relation], hidden: int
    ) -> None:
        super().__init__()
        self.relations = list(relations)
        self.incoming = {
            node: [relation for relation in self.relations if relation[2] == node]
            for node in features
        }
        self.neighbour = nn.ModuleDict(
            {
                _key(relation): nn.Linear(features[relation[0]], hidden)
                for relation in self.relations
            }
        )
        self.own = nn.ModuleDict(
            {
                _key(relation): nn.Linear(features[relation[2]], hidden, bias=False)
                for relation in self.relations
            }
        )
        self.alone = nn.ModuleDict(
            {
                node: nn.Linear(width, hidden)
                for node, width in features.items()
                if not self.incoming[node]
            }
        )

    def forward(
        self, x: Mapping[str, torch.Tensor], mean: Mapping[Relation, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """node -> [n, hidden], before an activation.

        Parameters
        ----------
        x : node -> [n, features]
        mean : relation -> [n_target, n_source], rows that sum to one (`row_mean`)
        """
        projected, out = self._project(x), {}
        for node, incoming in self.incoming.items():
            if not incoming:
                out[node] = projected[node, None] + self.alone[node].bias
                continue
            messages = sum(
                mean[relation] @ projected[relation[0], relation]
                + self.neighbour[_key(relation)].bias
                for relation in incoming
            )
            out[node] = messages / len(incoming) + projected[node, None]
        return out

    def _project(self, x):
        """(node, relation or None for itself) -> [n, hidden]: before anything is averaged, as 8,000
        genes would be otherwise, and in one product for each kind of node.
        """
        out = {}
        for node, incoming in self.incoming.items():
            own = (
                torch.stack([self.own[_key(relation)].weight for relation in incoming]).mean(0)
                if incoming
                else self.alone[node].weight
            )  # the mean of linear maps is one
            weights = {None: own} | {
                relation: self.neighbour[_key(relation)].weight
                for relation in self.relations
                if relation[0] == node
            }
            parts = (x[node] @ torch.cat(list(weights.values())).T).split(own.shape[0], 1)
            out |= {(node, relation): part for relation, part in zip(weights, parts, strict=True)}
        return out


class HeteroSAGE(nn.Module):
    """GraphSAGE on several kinds of nodes, as in the published code, with each entity once
    (Hamilton et al. 2017; chapter 04).

    Equal to a stack of PyG's `HeteroConv({relation: SAGEConv(aggr="mean")}, aggr="mean")` with ReLU
    after every layer, over whole neighbourhoods instead of sampled ones.

    Parameters
    ----------
    features : node -> number of input features
    relations : list of (source node, name, target node)
    drop : dropout after every layer (the published code has none here)

    Raises
    ------
    DataError
        A relation names a node without features, or the tables given to `forward` are not those of
        `relations`.
    """

    def __init__(
        self,
        features: Mapping[str, int],
        relations: Iterable[Relation],
        hidden: int = 256,
        layers: int = 2,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.relations: list[Relation] = [(a, name, b) for a, name, b in relations]
        unknown = sorted(
            {node for source, _, target in self.relations for node in (source, target)}
            - set(features)
        )
        if unknown:
            raise DataError(
                f"a relation names {unknown[0]!r}, which has no features",
                remedy=f"nodes with features: {', '.join(features)}",
            )
        widths = [features, *[dict.fromkeys(features, hidden)] * (layers - 1)]
        self.layers = nn.ModuleList(SAGELayer(width, self.relations, hidden) for width in widths)
        self.drop = nn.Dropout(drop)

    def forward(
        self, x: Mapping[str, torch.Tensor], adjacency: Mapping[Relation, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """node -> [n, hidden] from x: node -> [n, features] and adjacency: relation -> [n_target,
        n_source] 0/1 or weights of at least 0; rows are normalised here.

        A node without sources in a relation gets a zero message from it and keeps what it knows
        itself.
        """
        if set(adjacency) != set(self.relations):
            raise DataError(
                "the tables are not those of the relations",
                remedy=f"hand over exactly {', '.join(map(str, self.relations))}",
            )
        mean = {relation: row_mean(table) for relation, table in adjacency.items()}
        for layer in self.layers:
            x = {node: self.drop(value.relu()) for node, value in layer(x, mean).items()}
        return dict(x)


def row_mean(table: torch.Tensor) -> torch.Tensor:
    """[n, m] weights with every row divided by its sum, so that a product with it averages; a row
    of zeros stays one.
    """
    total = table.sum(1, keepdim=True)
    return table / torch.where(total > 0, total, torch.ones_like(total))


def _key(relation):
    return "__".join(relation)
