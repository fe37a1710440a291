"""Retrieval: given one view of an entity, to find its other view among all of them."""

import numpy as np

from clmt_lib.io import DataError
from clmt_lib.tasks.base import Task, register
from clmt_lib.tasks.metrics import top_k

RETRIEVAL = register(
    Task(
        name="retrieval",
        question="Given one view of an entity, is its other view among the nearest?",
        scored=("top1_per_{row}", "top5_per_{row}", "top10_per_{row}"),
        with_interval=("top1_per_{row}", "top10_per_{row}"),
        usual="top1_per_{row}",
        drawn=("{row}",),
        fewest=1,
        sides=("query", "candidate"),
    )
)


def retrieve(
    similarity: np.ndarray, same: np.ndarray | None = None, k: tuple[int, ...] = (1, 5, 10)
) -> dict[str, float]:
    """How often a right candidate is among the `k` most similar ones, over the queries.

    Parameters
    ----------
    similarity : [queries, candidates], higher is more similar
    same : [queries, candidates] bool, right pairs (equal captions make several); None takes the
        diagonal of a square matrix. A query without a right candidate does not count
    k : how many candidates may be looked at

    Returns
    -------
    dict: "top1" and so on. Chance with one right candidate of n is k / n; equal similarities count
    as if in random order.

    Raises
    ------
    DataError
        Shapes that differ, a similarity that is not finite, no query with a right candidate.

    Examples
    --------
    >>> retrieve(np.array([[0.9, 0.1], [0.8, 0.2]]), k=(1, 2))
    {'top1': 0.5, 'top2': 1.0}
    """
    similarity = np.asarray(similarity)
    if same is None and similarity.ndim == 2 and similarity.shape[0] == similarity.shape[1]:
        same = np.eye(len(similarity), dtype=bool)
    shape = None if same is None else same.shape
    if same is None or shape != similarity.shape or similarity.ndim != 2:
        raise DataError(
            f"similarities of shape {similarity.shape}, right pairs of shape {shape}",
            remedy="give both as [queries, candidates]",
        )
    if not np.isfinite(similarity).all():
        raise DataError("a similarity is not finite", remedy="look at the embeddings")
    rows = np.flatnonzero(np.any(same, axis=1))
    if not len(rows):
        raise DataError("no query has a right candidate", remedy="look at `same`")
    return {
        f"top{size}": float(np.mean([top_k(size)(same[row], similarity[row]) for row in rows]))
        for size in k
    }
