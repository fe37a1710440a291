"""The book's one text encoder that is trained: a causal transformer (Vaswani et al. 2017; Radford
et al. 2021), and how a text that begins like others is encoded without reading the beginning again.

Under a causal mask a token hears only those before it. So what the layers make of a beginning, its
keys and values, is the same whatever follows: `TextTower.prefix` makes them once, and
`TextTower.continued` reads any number of endings after them. That is exact, values and gradients.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from clmt_lib.io import DataError


@dataclass(frozen=True)
class LanguageConfig:
    """Sizes of a text tower; the defaults are the authors' (CLDR's).

    Attributes
    ----------
    width, layers, heads : of the transformer
    context : most tokens of a text
    out : width of an embedding
    """

    width: int = 128
    layers: int = 3
    heads: int = 8
    context: int = 300
    out: int = 128

    def __post_init__(self) -> None:
        """Raises DataError where the heads do not divide the width, or a size is below one."""
        if min(self.width, self.layers, self.heads, self.context, self.out) < 1:
            raise DataError(f"a size below one in {self}", remedy="give sizes of at least one")
        if self.width % self.heads:
            raise DataError(
                f"{self.heads} heads in a width of {self.width}",
                remedy="give a width that is a multiple of the heads",
            )


@dataclass(frozen=True, eq=False)
class Prefix:
    """What the layers made of n beginnings.

    Attributes
    ----------
    keys, values : a layer each [n, heads, longest, width / heads]
    length : [n] tokens of each beginning
    """

    keys: tuple[torch.Tensor, ...]
    values: tuple[torch.Tensor, ...]
    length: torch.Tensor


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x), the activation of CLIP."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        return x * torch.sigmoid(1.702 * x)


class Layer(nn.Module):
    """LayerNorm before attention, LayerNorm before a two-layer network, both added to what came in.

    Shapes
    ------
    x : [n, tokens, width]; out : the same
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), QuickGELU(), nn.Linear(4 * width, width)
        )

    def heard(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Queries, keys and values, each [..., heads, tokens, width / heads]."""
        parts = self.project(self.norm_1(x)).chunk(3, -1)  # [..., tokens, width]
        return tuple(part.unflatten(-1, (self.heads, -1)).transpose(-2, -3) for part in parts)

    def after(self, x: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:
        """The layer's result from what was heard, [..., heads, tokens, width / heads]."""
        x = x + self.merge(heard.transpose(-2, -3).flatten(-2))
        return x + self.mlp(self.norm_2(x))


class TextTower(nn.Module):
    """Token and position embeddings, `layers` causal pre-LN layers, the last token of a text,
    LayerNorm, a projection.

    Parameters
    ----------
    vocabulary : number of tokens

    Shapes
    ------
    ids : [n, tokens]; length : [n]; out : [n, out]

    >>> tower = TextTower(5, LanguageConfig(width=8, layers=1, heads=2, context=4, out=3))
    >>> tower(torch.tensor([[1, 2, 0], [3, 4, 1]]), torch.tensor([2, 3])).shape
    torch.Size([2, 3])
    """

    def __init__(self, vocabulary: int, config: LanguageConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(vocabulary, config.width)
        self.positions = nn.Embedding(config.context, config.width)
        nn.init.normal_(self.tokens.weight, std=0.02)  # as in CLIP
        nn.init.normal_(self.positions.weight, std=0.01)
        self.layers: Any = nn.ModuleList(
            [Layer(config.width, config.heads) for _ in range(config.layers)]
        )
        self.norm = nn.LayerNorm(config.width)
        self.project = nn.Linear(config.width, config.out, bias=False)

    def forward(self, ids: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """[n, out] from [n, tokens] and [n] lengths; padding is never heard."""
        x = self._embedded(ids, 0)
        for layer in self.layers:
            q, k, v = layer.heard(x)
            x = layer.after(x, F.scaled_dot_product_attention(q, k, v, is_causal=True))
        return self._read(x, length)

    def prefix(self, ids: torch.Tensor, length: torch.Tensor) -> Prefix:
        """Keys and values of n beginnings, [n, tokens] with [n] lengths."""
        x, keys, values = self._embedded(ids, 0), [], []
        for number, layer in enumerate(self.layers):
            q, k, v = layer.heard(x)
            keys.append(k)
            values.append(v)
            if number + 1 < len(self.layers):  # nobody asks what the last layer makes of them
                x = layer.after(x, F.scaled_dot_product_attention(q, k, v, is_causal=True))
        return Prefix(tuple(keys), tuple(values), length)

    def continued(
        self, prefix: Prefix, which: torch.Tensor, ids: torch.Tensor, length: torch.Tensor
    ) -> torch.Tensor:
        """[m, out] of m texts: the beginning `which` [m], then the tokens [m, tokens] with [m]
        lengths. The same as `forward` of the whole texts.

        Endings are put together by their beginning, so that a beginning's keys are read where they
        lie, not copied for each ending.
        """
        n, m, tokens = len(prefix.length), *ids.shape
        counts = torch.bincount(which, minlength=n)
        order = torch.argsort(which, stable=True)
        first = counts.cumsum(0) - counts
        slot = torch.empty_like(which)
        slot[order] = torch.arange(m, device=ids.device) - first[which[order]]
        most = int(counts.max()) if m else 0
        place = which * most + slot  # [m] in a table of n beginnings and `most` endings
        start = prefix.length[which]
        x = self._embedded(ids, start)  # [m, tokens, width]
        # who may hear whom: all of the own beginning, and of the own ending what came before
        there = torch.arange(prefix.keys[0].shape[2], device=ids.device) < prefix.length[:, None]
        far = torch.zeros_like(there, dtype=x.dtype).masked_fill(~there, -math.inf)
        near = torch.full((tokens, tokens), -math.inf, device=ids.device).triu(1)
        for layer, keys, values in zip(self.layers, prefix.keys, prefix.values, strict=True):
            q, k, v = layer.heard(x)  # [m, heads, tokens, d]
            heads, d = q.shape[1], q.shape[3]
            q = q / math.sqrt(d)
            own = q @ k.transpose(-1, -2) + near  # [m, heads, tokens, tokens]
            table = q.new_zeros(n * most, heads, tokens, d).index_copy(0, place, q)
            table = table.view(n, most, heads, tokens, d).transpose(1, 2)
            table = table.reshape(n, heads, most * tokens, d)
            long = table @ keys.transpose(-1, -2) + far[:, None, None]  # [n, heads, most x t, P]
            long = long.view(n, heads, most, tokens, -1).transpose(1, 2)
            long = long.reshape(n * most, heads, tokens, -1)[place]  # [m, heads, tokens, P]
            share = torch.softmax(torch.cat([long, own], -1), -1)
            split = share.shape[-1] - tokens
            far_share = share[..., :split]
            back = share.new_zeros(n * most, heads, tokens, split).index_copy(0, place, far_share)
            back = back.view(n, most, heads, tokens, split).transpose(1, 2)
            heard = back.reshape(n, heads, most * tokens, split) @ values
            heard = heard.view(n, heads, most, tokens, d).transpose(1, 2)
            heard = heard.reshape(n * most, heads, tokens, d)[place]
            x = layer.after(x, heard + share[..., split:] @ v)
        return self._read(x, length)

    def _embedded(self, ids: torch.Tensor, start: torch.Tensor | int) -> torch.Tensor:
        """[n, tokens, width] of tokens that begin at position `start`."""
        place = torch.arange(ids.shape[1], device=ids.device)
        if isinstance(start, torch.Tensor):
            place = place + start[:, None]
        last = self.config.context - 1
        # the padding of an ending may lie beyond the context; no token does
        return self.tokens(ids) + self.positions(place.clamp(max=last))

    def _read(self, x: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        last = x[torch.arange(len(x), device=x.device), length - 1]  # [n, width]
        return self.project(self.norm(last))
