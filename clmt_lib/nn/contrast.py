"""Aligning two views of the same entities: the book's one contrastive primitive, its soft
relatives, and what to measure on held-out entities (chapter 05).
"""

import torch
import torch.nn.functional as F

# cosines closer than this are equal: identical vectors may differ in the last bit after a matrix
# product
TIE = 1e-6


def info_nce(z_a, z_b, temperature=0.1, known=None, same=None, *, both=True, positive=True):
    """Symmetric InfoNCE over unique entities: row i of `z_a` and row i of `z_b` are two views of
    entity i (van den Oord et al. 2018).

    As it stands the positive is in the denominator, both directions count, the loss is never below
    0, and chance is log n.
    The two keywords switch back on what the code of CLMT's authors does.

    Parameters
    ----------
    z_a, z_b : [n, dim], normalised here
    known : [n] bool, entities that have both views; the others are neither anchors nor negatives,
        and get no gradient
    same : [n, n] bool, pairs that are one thing under two ids (two ids of a compound): left out of
        the negatives
    both : False keeps the direction a -> b alone: every a looks for its b, no b for its a
    positive : False leaves the positive out of the denominator, -s_ii / temperature + log sum over
        j != i of exp(s_ij / temperature).
        That has no bound at 0: it can fall to log(n - 1) - n / ((n - 1) temperature), and its pull
        on the positive never lets go (Yeh et al. 2022 leave it out
        on purpose). Chance is log(n - 1). An anchor without any negative counts as 0.

    Returns
    -------
    scalar in nats; 0 if fewer than two entities are known.

    >>> one_hot = torch.eye(3)
    >>> round(info_nce(one_hot, one_hot, 1.0).item(), 4)  # log(e + 2) - 1
    0.5514
    >>> round(info_nce(one_hot, one_hot, 1.0, positive=False).item(), 4)  # log(2) - 1
    -0.3069
    """
    z_a, z_b, same = _known(z_a, z_b, known, same)
    if len(z_a) < 2:
        return z_a.sum() * 0.0
    logits = F.normalize(z_a, dim=1) @ F.normalize(z_b, dim=1).T / temperature  # [n, n]
    if same is not None:
        logits = logits.masked_fill(same & ~_diagonal(logits), float("-inf"))
    one_way = _pick if positive else _pick_without_positive
    return 0.5 * (one_way(logits) + one_way(logits.T)) if both else one_way(logits)


def _known(z_a, z_b, known, same=None):
    if known is None:
        return z_a, z_b, same
    return z_a[known], z_b[known], None if same is None else same[known][:, known]


def _diagonal(table):
    return torch.eye(len(table), dtype=torch.bool, device=table.device)


def _pick(logits):
    """Cross-entropy of picking the diagonal, each row an anchor."""
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def _pick_without_positive(logits):
    others = logits.masked_fill(_diagonal(logits), float("-inf"))
    some = ~torch.isneginf(others).all(
        1
    )  # [n] anchors that have a negative; the softmax of nothing would be NaN
    others = others.masked_fill(~some[:, None], 0.0)
    return torch.where(some, others.logsumexp(1) - logits.diagonal(), 0.0).mean()


def soft_alignment(z_a, z_b, targets, temperature=0.1, known=None):
    """Cross-entropy of picking a partner, onto soft targets: an entity may belong to several others
    a little.

    Identity targets give `info_nce`. Both directions count. The loss cannot fall below the mean
    entropy of the targets.

    Parameters
    ----------
    z_a, z_b : [n, dim], normalised here
    targets : [n, n], rows are anchors and sum to one, such as the softmax of a response similarity
        of training entities
    known : [n] bool, entities that have both views; targets are restricted to them and rescaled to
        sum to one

    Returns
    -------
    scalar in nats; 0 if fewer than two entities are known.
    """
    z_a, z_b, targets = _known(z_a, z_b, known, targets)
    if len(z_a) < 2:
        return z_a.sum() * 0.0
    if known is not None:
        targets = targets / targets.sum(1, keepdim=True).clamp(min=1e-12)
    logits = F.normalize(z_a, dim=1) @ F.normalize(z_b, dim=1).T / temperature  # [n, n]
    return 0.5 * (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets))


@torch.no_grad()
def rank_of_positive(z_a, z_b, known=None, same=None):
    """Where an entity's own partner lands when all partners are sorted by cosine: 1 is best, (n +
    1) / 2 is chance.

    A tie counts as half a place lost, so views that are all alike sit at chance, not at the top.
    Top-1 is the share of ranks equal to 1.

    Parameters
    ----------
    z_a, z_b, known, same : as in `info_nce`; direction a -> b

    Returns
    -------
    [known entities] float: rank of b_i among all b, seen from a_i.

    >>> rank_of_positive(torch.eye(3), torch.eye(3)).tolist(), rank_of_positive(torch.eye(3), torch.ones(3, 3)).tolist()
    ([1.0, 1.0, 1.0], [2.0, 2.0, 2.0])
    """
    z_a, z_b, same = _known(z_a, z_b, known, same)
    cosine = F.normalize(z_a, dim=1) @ F.normalize(z_b, dim=1).T  # [n, n]
    gap = cosine - cosine.diagonal()[:, None]
    rivals = ~_diagonal(gap) if same is None else ~(same | _diagonal(gap))
    return 1.0 + ((gap > TIE) & rivals).sum(1) + 0.5 * ((gap.abs() <= TIE) & rivals).sum(1)


@torch.no_grad()
def alignment_uniformity(z_a, z_b):
    """What InfoNCE trades off, as two numbers (Wang and Isola 2020): lower is better for both.

    Parameters
    ----------
    z_a, z_b : [n, dim], normalised here

    Returns
    -------
    (alignment: mean squared distance of partners, 0 to 4; uniformity: log of the mean of exp(-2
    distance^2) over different entities, -8 to 0, the mean of both views)

    >>> tuple(round(value, 2) for value in alignment_uniformity(torch.eye(2), torch.eye(2)))
    (0.0, -4.0)
    """
    z_a, z_b = F.normalize(z_a, dim=1), F.normalize(z_b, dim=1)
    gap = ((z_a - z_b) ** 2).sum(1).mean().item()
    spread = [(-2 * torch.pdist(z) ** 2).exp().mean().log().item() for z in (z_a, z_b)]
    return gap, sum(spread) / 2


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
