"""The response graph: who responded to what, and who resembles whom, from training pairs only
(chapter 04).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class ResponseGraph:
    """Lines and drugs as nodes; what a response *was* travels on its edge.

    A complete, unweighted response graph says nothing: every line would be a neighbour of every
    drug. Here an edge carries the training response as a residual
    standardised per drug, so "more sensitive than usual" and "more resistant than usual" are
    different relations.

    Attributes
    ----------
    responses : [2, E] (cell, drug) positions of training pairs
    value : [E] standardised residual (unit: the drug's training standard deviation), clipped to +-4
    similar_cells, similar_drugs : [2, k n] (source, target): a node listens to its k nearest
        neighbours that have training pairs
    weight_cells, weight_drugs : [k n], summing to one over a target's sources
    n_cells, n_drugs : number of nodes
    """

    responses: np.ndarray
    value: np.ndarray
    similar_cells: np.ndarray
    weight_cells: np.ndarray
    similar_drugs: np.ndarray
    weight_drugs: np.ndarray
    n_cells: int
    n_drugs: int

    def to_hetero(self) -> Any:
        """The graph as a PyG `HeteroData`, each relation with its reverse."""
        import torch
        from torch_geometric.data import HeteroData

        graph = HeteroData()
        graph["cell"].num_nodes, graph["drug"].num_nodes = self.n_cells, self.n_drugs
        edges = {
            ("cell", "responds_to", "drug"): (self.responses, self.value),
            ("drug", "acts_on", "cell"): (self.responses[::-1], self.value),
        }
        edges["cell", "similar", "cell"] = self.similar_cells, self.weight_cells
        edges["drug", "similar", "drug"] = self.similar_drugs, self.weight_drugs
        for relation, (index, weight) in edges.items():
            graph[relation].edge_index = torch.from_numpy(np.ascontiguousarray(index))
            graph[relation].edge_weight = torch.as_tensor(weight, dtype=torch.float32)
        return graph


def ranked(scores: np.ndarray, digits: int = 9) -> np.ndarray:
    """Positions along the last axis, the highest score first: scores that agree to `digits`
    decimals are equal, and keep their order.

    So a tie is broken by rule, and not by the last bit, which another processor computes otherwise.

    >>> ranked(np.array([0.3, 0.1 + 0.7, 0.8, 0.9]))
    array([3, 1, 2, 0])
    """
    return np.argsort(-np.round(scores, digits), axis=-1, kind="stable")


def nearest(
    similarity: np.ndarray, known: np.ndarray, k: int, sharpness: float = 5.0
) -> tuple[np.ndarray, np.ndarray]:
    """kNN edges [2, k n] (source, target) and softmax weights [k n]: the k most similar *known*
    nodes of each node, itself excluded.

    Parameters
    ----------
    similarity : [n, n], at most 1
    known : [n] bool, nodes that may be sources (those with training pairs)
    """
    score = np.where(known[None], similarity, -np.inf)
    np.fill_diagonal(score, -np.inf)
    source, weight = _sources(score, known, k, sharpness)
    target = np.repeat(np.arange(len(score)), source.shape[1])
    return np.stack([source.ravel(), target]), weight.ravel()


def nearest_of_new(
    similarity: np.ndarray, known: np.ndarray, k: int, sharpness: float = 5.0
) -> np.ndarray:
    """[m, n] weights of the k most similar known nodes of m nodes that are not in the graph, each
    row summing to one; what `nearest` would give them, were they among its nodes.

    Parameters
    ----------
    similarity : [m, n] of new nodes (rows) and those of the graph, at most 1
    known : [n] bool, nodes that may be sources (those with training pairs)

    >>> nearest_of_new(np.array([[0.9, 0.1, 0.9]]), np.array([True, True, True]), k=2).tolist()
    [[0.5, 0.0, 0.5]]
    """
    score = np.where(known[None], similarity, -np.inf)
    source, weight = _sources(score, known, k, sharpness)
    table = np.zeros(score.shape)
    np.put_along_axis(table, source, weight, axis=1)
    return table


def _sources(
    score: np.ndarray, known: np.ndarray, k: int, sharpness: float
) -> tuple[np.ndarray, np.ndarray]:
    """([m, k] the best scores' positions, [m, k] softmax weights)."""
    k = min(k, int(known.sum()) - 1)
    source = ranked(score)[:, :k]
    best = np.take_along_axis(score, source, 1)
    weight = np.exp(sharpness * (best - best[:, :1]))
    return source, weight / weight.sum(1, keepdims=True)


def response_graph(
    pairs: np.ndarray,
    target: np.ndarray,
    cell_similarity: np.ndarray,
    drug_similarity: np.ndarray,
    k: int = 10,
) -> ResponseGraph:
    """Build a `ResponseGraph` from training pairs.

    Parameters
    ----------
    pairs : [E, 2] training positions (cell, drug)
    target : [C, D] standardised training residuals, NaN elsewhere (see
        `models.baselines.linear.per_drug_targets`)
    cell_similarity [C, C], drug_similarity [D, D] : from features alone
    """
    seen = np.isfinite(target)
    cells, weight_cells = nearest(cell_similarity, seen.any(1), k)
    drugs, weight_drugs = nearest(drug_similarity, seen.any(0), k)
    value = np.clip(target[tuple(pairs.T)], -4, 4)
    return ResponseGraph(
        np.ascontiguousarray(pairs.T),
        value,
        cells,
        weight_cells,
        drugs,
        weight_drugs,
        *target.shape,
    )


def relations(
    pairs: np.ndarray,
    target: np.ndarray,
    cell_similarity: np.ndarray,
    drug_similarity: np.ndarray,
    k: int = 20,
    *,
    nearest_dropped: bool = False,
    reversed_neighbours: bool = False,
    no_drug_to_cell: bool = False,
    unweighted_responses: bool = False,
) -> dict[tuple[str, str, str], np.ndarray]:
    """The graph of the published code, or its repair, as 0/1 tables: which node receives messages
    from which, in every relation (what `nn.message_passing.HeteroSAGE` averages over).

    Without any switch, a response is one of two relations, "sensitive" (residual below 0) and
    "resistant" (above), each with its reverse.
    Each switch does what the authors' code does.

    Parameters
    ----------
    pairs : [E, 2] positions (cell, drug) whose responses are edges: those of the training set
    target : [C, D] standardised training residuals, NaN elsewhere (see
        `models.baselines.linear.per_drug_targets`); without a sign there is no edge
    cell_similarity [C, C], drug_similarity [D, D] : from features alone; only positive ones make
        neighbours. All entities may be neighbours, whatever set they are in (transductive)
    k : neighbours of a node
    nearest_dropped : take ranks 2 to k + 1, as an `argsort` slice that means to skip the node
        itself does after the diagonal was set to zero
    reversed_neighbours : messages come from those that list the node among their k, not from those
        it lists
    no_drug_to_cell : no reverse relations, so that no message goes from a drug to a line
    unweighted_responses : one relation "response" for every pair, whatever was measured

    Returns
    -------
    dict (source, name, target) -> [n_target, n_source] float64, 1 where there is an edge

    >>> alike = np.array([[1, 0.9, 0.2], [0.9, 1, 0.5], [0.2, 0.5, 1]])
    >>> target = np.array([[-1.0, np.nan], [np.nan, np.nan], [np.nan, 0.5]])
    >>> pairs = np.array([[0, 0], [2, 1]])
    >>> tables = relations(pairs, target, alike, alike[:2, :2], k=1)
    >>> tables["cell", "sensitive", "drug"]
    array([[1., 0., 0.],
           [0., 0., 0.]])
    >>> tables["cell", "similar", "cell"][2]
    array([0., 1., 0.])
    """
    similar = [
        neighbours(table, k, nearest_dropped, reversed_neighbours)
        for table in (cell_similarity, drug_similarity)
    ]
    out = {("cell", "similar", "cell"): similar[0], ("drug", "similar", "drug"): similar[1]}
    edge = np.zeros(np.shape(target), dtype=bool)
    edge[tuple(np.asarray(pairs, dtype=int).reshape(-1, 2).T)] = True
    if unweighted_responses:
        kinds = {"response": edge}
    else:
        with np.errstate(invalid="ignore"):
            kinds = {"sensitive": edge & (target < 0), "resistant": edge & (target > 0)}
    for name, table in kinds.items():
        out["cell", name, "drug"] = table.T.astype(np.float64)
    for name, table in kinds.items() if not no_drug_to_cell else ():
        out["drug", name, "cell"] = table.astype(np.float64)
    return out


def neighbours(
    similarity: np.ndarray, k: int, nearest_dropped: bool = False, reversed_neighbours: bool = False
) -> np.ndarray:
    """[n, n] float64: row v has a 1 at each of the k most similar nodes of v, itself excluded, that
    are similar at all (above 0); see `relations` for the switches.
    """
    score = np.array(similarity, dtype=np.float64)
    np.fill_diagonal(score, -np.inf)
    first = int(nearest_dropped)
    chosen = ranked(score)[:, first : first + k]  # [n, k]
    table = np.zeros_like(score)
    np.put_along_axis(table, chosen, 1.0, axis=1)
    table[~(score > 0)] = 0.0
    return np.ascontiguousarray(table.T) if reversed_neighbours else table
