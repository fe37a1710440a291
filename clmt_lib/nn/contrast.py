"""Aligning two views of the same entities: the book's one contrastive primitive (chapter 05)."""

import torch
import torch.nn.functional as F


def info_nce(z_a, z_b, temperature=0.1, known=None, same=None):
    """Symmetric InfoNCE over unique entities: row i of `z_a` and row i of `z_b` are two views of entity i (van den Oord et al. 2018).

    The positive is in the denominator, both directions count, and chance is log n.

    Parameters
    ----------
    z_a, z_b : [n, dim], normalised here
    known : [n] bool, entities that have both views; the others are neither anchors nor negatives
    same : [n, n] bool, pairs that are one thing under two ids (two ids of a compound): left out of the negatives

    Returns
    -------
    scalar in nats; 0 if fewer than two entities are known.
    """
    if known is not None:
        z_a, z_b = z_a[known], z_b[known]
        same = None if same is None else same[known][:, known]
    if len(z_a) < 2:
        return z_a.sum() * 0.0
    logits = F.normalize(z_a, dim=1) @ F.normalize(z_b, dim=1).T / temperature  # [n, n]
    if same is not None:
        logits = logits.masked_fill(same & ~torch.eye(len(logits), dtype=torch.bool, device=logits.device), float("-inf"))
    target = torch.arange(len(logits), device=logits.device)
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))


def response_alignment(z, similarity, known):
    """Regression of the cosines between embeddings onto a similarity read off training responses.

    Parameters
    ----------
    z : [n, dim] one view's embeddings
    similarity : [n, n] in [-1, 1], from training responses only
    known : [n] bool, entities with enough training responses to have a similarity

    Returns
    -------
    scalar: mean squared difference over pairs of different known entities.
    """
    z = F.normalize(z[known], dim=1)
    gap = (z @ z.T - similarity[known][:, known]) ** 2
    n = len(z)
    return (gap.sum() - gap.diagonal().sum()) / max(n * (n - 1), 1)
