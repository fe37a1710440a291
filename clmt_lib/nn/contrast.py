"""Aligning two views of the same entities: the book's one contrastive primitive, its soft
relatives, and what to measure on held-out entities (chapter 05).

A loss is embeddings -> scalar and knows no model. `info_nce` takes two views; `multi_view` sums it,
or another loss of two views, over pairs of any number of views, some of them missing.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from clmt_lib.io import DataError

# cosines closer than this are equal: identical vectors may differ in the last bit after a matrix
# product
TIE = 1e-6


def info_nce(
    z_a: torch.Tensor,
    z_b: torch.Tensor,
    temperature: float | torch.Tensor = 0.1,
    known: torch.Tensor | None = None,
    same: torch.Tensor | None = None,
    *,
    groups: torch.Tensor | None = None,
    both: bool = True,
    positive: bool = True,
    asks: torch.Tensor | None = None,
) -> torch.Tensor:
    """Symmetric InfoNCE over unique entities: row i of `z_a` and row i of `z_b` are two views of
    entity i (van den Oord et al. 2018).

    As it stands the positive is in the denominator, both directions count, the loss is never below
    0, and chance is log n.
    `both` and `positive` switch back on what the code of CLMT's authors does.

    Parameters
    ----------
    z_a, z_b : [n, dim], normalised here
    temperature : above 0; a tensor, such as that of `Temperature`, is trained along
    known : [n] bool, entities that have both views; the others are neither anchors nor negatives,
        and get no gradient
    same : [n, n] bool, pairs that are one thing under two ids (two ids of a compound): left out of
        the negatives; rows whose number is the same word
    groups : [n] integers, an entity meets only those of its own group; None: everybody
    both : False keeps the direction a -> b alone: every a looks for its b, no b for its a
    positive : False leaves the positive out of the denominator, -s_ii / temperature + log sum over
        j != i of exp(s_ij / temperature).
        That has no bound at 0: it can fall to log(n - 1) - n / ((n - 1) temperature), and its pull
        on the positive never lets go (Yeh et al. 2022 leave it out
        on purpose). Chance is log(n - 1). An anchor without any negative counts as 0.
    asks : [n] bool, the anchors; the others are candidates only, whatever stands in their rows.
        None: all. The code of Masood et al. 2025 masks the rows of what is missing, and not the
        columns (chapter profiles)

    Returns
    -------
    scalar in nats; 0 if fewer than two entities are known.

    >>> one_hot = torch.eye(3)
    >>> round(info_nce(one_hot, one_hot, 1.0).item(), 4)  # log(e + 2) - 1
    0.5514
    >>> round(info_nce(one_hot, one_hot, 1.0, positive=False).item(), 4)  # log(2) - 1
    -0.3069
    """
    if groups is not None:
        apart = groups[:, None] != groups[None]
        same = apart if same is None else same | apart
    z_a, z_b, same = _known(z_a, z_b, known, same)
    if asks is not None and known is not None:
        asks = asks[known]
    if len(z_a) < 2 or (asks is not None and not asks.any()):
        return z_a.sum() * 0.0
    logits = F.normalize(z_a, dim=1) @ F.normalize(z_b, dim=1).T / temperature  # [n, n]
    if same is not None:
        logits = logits.masked_fill(same & ~_diagonal(logits), float("-inf"))
    one_way = partial(_pick if positive else _pick_without_positive, asks=asks)
    return 0.5 * (one_way(logits) + one_way(logits.T)) if both else one_way(logits)


def multi_view(
    z: Mapping[str, torch.Tensor],
    known: Mapping[str, torch.Tensor] | None = None,
    same: torch.Tensor | None = None,
    pairs: str | Iterable[tuple[str, str]] = "all",
    loss: Callable[..., torch.Tensor] = info_nce,
) -> torch.Tensor:
    """Sum of a loss of two views over pairs of views of the same entities; an entity counts in a
    pair where it has both (Tian et al. 2020, equation 9).

    Parameters
    ----------
    z : view -> [n, dim] embeddings; row i of each is entity i
    known : view -> [n] bool, entities that have this view; a view not named: all of them
    same : [n, n] bool, as in `info_nce`; handed on where it is given
    pairs : "all", every two views once, in the order of `z`; or the pairs that count, such as one
        view with each of the others
    loss : (z_a, z_b, known=, same=) -> scalar; a temperature or soft targets by
        `functools.partial`

    Returns
    -------
    scalar; 0 where no pair is asked about.

    Raises
    ------
    DataError
        A pair names a view that is not there, or one view twice.

    >>> z = {"text": torch.eye(3), "graph": torch.eye(3), "omics": torch.eye(3)}
    >>> round(multi_view(z, loss=lambda a, b, known: info_nce(a, b, 1.0, known)).item(), 4)
    1.6543
    >>> known = {"omics": torch.tensor([True, False, False])}  # one entity: nobody to compare with
    >>> multi_view(z, known, pairs=[("text", "omics")]).item()
    0.0
    """
    known, more = known or {}, {} if same is None else {"same": same}
    asked = list(combinations(z, 2)) if isinstance(pairs, str) else list(pairs)
    wrong: Any = pairs if isinstance(pairs, str) and pairs != "all" else None
    wrong = next((pair for pair in asked if len(set(pair) & set(z)) < 2), wrong)
    if wrong is not None:
        raise DataError(
            f"no pair of views {wrong!r}",
            remedy=f"use 'all', or pairs of two of: {', '.join(z)}",
        )
    total = torch.zeros((), device=next(iter(z.values())).device if z else None)
    for a, b in asked:
        have = [known[view] for view in (a, b) if view in known]
        both = have[0] & have[1] if len(have) == 2 else have[0] if have else None
        total = total + loss(z[a], z[b], known=both, **more)
    return total


class Temperature(nn.Module):
    """A temperature that is learnt, kept as the log of its inverse (Radford et al. 2021).

    Parameters
    ----------
    start : temperature before training
    least : it never gets colder than this, whatever the gradient says; a loss at 0 would be a
        division by zero

    Shapes
    ------
    out : [] scalar tensor above 0, to be handed to a loss as its `temperature`

    Weight decay pulls the log to 0, a temperature of 1: leave it out of the decay where that
    matters.

    >>> round(Temperature(0.07)().item(), 4)
    0.07
    """

    def __init__(self, start: float = 0.07, least: float = 0.01) -> None:
        super().__init__()
        if not 0 < least <= start:
            raise DataError(
                f"a temperature of {start} that never falls below {least}",
                remedy="give a start of at least `least`, and both above 0",
            )
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / start)))
        self.highest = math.log(1 / least)

    def forward(self) -> torch.Tensor:
        """The temperature as it stands."""
        return torch.exp(-self.log_scale.clamp(max=self.highest))


def _known(
    z_a: torch.Tensor,
    z_b: torch.Tensor,
    known: torch.Tensor | None,
    same: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    if known is None:
        return z_a, z_b, same
    return z_a[known], z_b[known], None if same is None else same[known][:, known]


def _diagonal(table: torch.Tensor) -> torch.Tensor:
    return torch.eye(len(table), dtype=torch.bool, device=table.device)


def _pick(logits: torch.Tensor, asks: torch.Tensor | None = None) -> torch.Tensor:
    """Cross-entropy of picking the diagonal, each row (or each that asks) an anchor."""
    own = torch.arange(len(logits), device=logits.device)
    if asks is not None:
        logits, own = logits[asks], own[asks]
    return F.cross_entropy(logits, own)


def _pick_without_positive(logits: torch.Tensor, asks: torch.Tensor | None = None) -> torch.Tensor:
    others = logits.masked_fill(_diagonal(logits), float("-inf"))
    some = ~torch.isneginf(others).all(
        1
    )  # [n] anchors that have a negative; the softmax of nothing would be NaN
    others = others.masked_fill(~some[:, None], 0.0)
    found = torch.where(some, others.logsumexp(1) - logits.diagonal(), 0.0)
    return (found if asks is None else found[asks]).mean()


def soft_alignment(
    z_a: torch.Tensor,
    z_b: torch.Tensor,
    targets: torch.Tensor,
    temperature: float | torch.Tensor = 0.1,
    known: torch.Tensor | None = None,
    *,
    groups: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cross-entropy of picking a partner, onto soft targets: an entity may belong to several others
    a little.

    Identity targets give `info_nce`. Both directions count. The loss cannot fall below the mean
    entropy of the targets.

    Parameters
    ----------
    z_a, z_b : [n, dim], normalised here
    targets : [n, n], rows are anchors and sum to one, such as the softmax of a response similarity
        of training entities, or `ordinal_targets`
    known : [n] bool, entities that have both views; targets are restricted to them and rescaled to
        sum to one
    groups : [n] integers, an entity meets only those of its own group; the targets, too, are to be
        zero between groups

    Returns
    -------
    scalar in nats; 0 if fewer than two entities are known.
    """
    z_a, z_b, kept = _known(z_a, z_b, known, targets)
    targets = targets if kept is None else kept
    if len(z_a) < 2:
        return z_a.sum() * 0.0
    if known is not None:
        targets = targets / targets.sum(1, keepdim=True).clamp(min=1e-12)
    logits = F.normalize(z_a, dim=1) @ F.normalize(z_b, dim=1).T / temperature  # [n, n]
    if groups is not None:
        groups = groups if known is None else groups[known]
        # not minus infinity, of which a target of zero would make NaN
        logits = logits.masked_fill(groups[:, None] != groups[None], torch.finfo(logits.dtype).min)
    return 0.5 * (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets))


def ordinal_targets(
    y: torch.Tensor, width: float, groups: torch.Tensor | None = None
) -> torch.Tensor:
    """[n, n] soft targets by the distance of labels, softmax over j of -|y_i - y_j| / width, for
    `soft_alignment`: a partner whose label is nearly the anchor's is nearly as right.

    Equal labels share the target, a narrow width gives the identity up to ties, a wide one asks for
    nothing.

    Parameters
    ----------
    y : [n] labels
    width : above 0, in the units of `y`; the noise of a measurement is the natural one
    groups : [n] integers, the target is zero between groups

    >>> ordinal_targets(torch.tensor([0.0, 0.0, 9.0]), 0.1)[0].round(decimals=6).tolist()
    [0.5, 0.5, 0.0]

    Raises
    ------
    DataError
        A width that is not above 0.
    """
    if not width > 0:
        raise DataError(f"a width of {width} of soft targets", remedy="give one above 0")
    logits = -(y[:, None] - y[None]).abs() / width
    if groups is not None:
        logits = logits.masked_fill(groups[:, None] != groups[None], float("-inf"))
    return logits.softmax(1)


def rank_n_contrast(
    z: torch.Tensor,
    y: torch.Tensor,
    temperature: float | torch.Tensor = 2.0,
    groups: torch.Tensor | None = None,
) -> torch.Tensor:
    """Order embeddings as their labels are: Rank-N-Contrast (Zha et al. 2023).

    To a partner j of an anchor i, everybody is a negative whose label is at least as far away:

        mean over i, j of -log(exp(s_ij) / sum over k with |y_i - y_k| >= |y_i - y_j| of exp(s_ik))

    with s_ij = -|z_i - z_j| / temperature. The sums over such k are running sums along each
    anchor's row, sorted by distance of labels: O(n^2 log n), not O(n^3).

    Parameters
    ----------
    z : [n, dim], not normalised, as in the authors' code
    y : [n] labels
    temperature : above 0
    groups : [n] integers, partners and negatives come from the anchor's own group; None: everybody

    Returns
    -------
    scalar in nats, 0 where nobody has a partner. With all labels equal, every partner has the same
    negatives: the loss is that of a uniform choice where the embeddings are equal, log(n - 1).

    >>> line = torch.tensor([[0.0], [1.0], [3.0]])
    >>> round(rank_n_contrast(line, torch.tensor([0.0, 1.0, 3.0]), 1.0).item(), 4)
    0.1256
    """
    n = len(z)
    alone = torch.eye(n, dtype=torch.bool, device=z.device)
    if groups is not None:
        alone = alone | (groups[:, None] != groups[None])
    logits = -torch.cdist(z, z) / temperature  # [n, n]
    apart = (y[:, None] - y[None]).abs().masked_fill(alone, float("-inf"))
    # nearest last; who is no partner comes after all partners, and reaches no sum of theirs
    far, order = apart.sort(1, descending=True)
    total = logits.gather(1, order).logcumsumexp(1)  # [n, n]
    # partners at one distance are each other's negatives: the sum up to the last of them
    last = torch.searchsorted(-far.contiguous(), -far.contiguous(), right=True) - 1
    loss = total.gather(1, last) - logits.gather(1, order)
    partner = torch.isfinite(far)
    return loss.masked_fill(~partner, 0.0).sum() / partner.sum().clamp(min=1)


@torch.no_grad()
def rank_of_positive(
    z_a: torch.Tensor,
    z_b: torch.Tensor,
    known: torch.Tensor | None = None,
    same: torch.Tensor | None = None,
) -> torch.Tensor:
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

    >>> rank_of_positive(torch.eye(3), torch.eye(3)).tolist()
    [1.0, 1.0, 1.0]
    >>> rank_of_positive(torch.eye(3), torch.ones(3, 3)).tolist()
    [2.0, 2.0, 2.0]
    """
    z_a, z_b, same = _known(z_a, z_b, known, same)
    cosine = F.normalize(z_a, dim=1) @ F.normalize(z_b, dim=1).T  # [n, n]
    gap = cosine - cosine.diagonal()[:, None]
    rivals = ~_diagonal(gap) if same is None else ~(same | _diagonal(gap))
    return 1.0 + ((gap > TIE) & rivals).sum(1) + 0.5 * ((gap.abs() <= TIE) & rivals).sum(1)


@torch.no_grad()
def alignment_uniformity(z_a: torch.Tensor, z_b: torch.Tensor) -> tuple[float, float]:
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


def response_alignment(
    z: torch.Tensor, similarity: torch.Tensor, known: torch.Tensor
) -> torch.Tensor:
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
