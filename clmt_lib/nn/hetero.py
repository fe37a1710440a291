"""Message passing over the response graph, each entity once (chapter 04)."""

import math

import torch
from torch import nn


class ResponseLayer(nn.Module):
    """One kind of node listens to the other through its responses, and to its own kind through similarity.

    A node's message is a sum over its training responses r: relu(r) e_resistant + relu(-r) e_sensitive of the other node, over the square root of their number + 5.
    It is what an isolated line of a drug screen can tell about itself; a node without responses hears its nearest neighbours' messages only.

    Shapes
    ------
    residual, mask : [n, others] (dense: ~10^3 nodes a side make sparse storage slower, not faster); neighbours : [n, n]; out : two of [n, dim]
    """

    def __init__(self, others, message=256, dim=128, drop=0.2):
        super().__init__()
        self.sender = nn.Parameter(torch.randn(2 * others, message) / math.sqrt(message))
        self.own, self.nearby = (nn.Sequential(nn.LayerNorm(message), nn.GELU(), nn.Dropout(drop), nn.Linear(message, dim)) for _ in range(2))

    def forward(self, residual, mask, neighbours):
        """(own [n, dim], nearby [n, dim]) from what `mask` lets through."""
        heard = residual * mask
        message = torch.cat([heard.clamp(min=0), (-heard).clamp(min=0)], 1) @ self.sender  # [n, message]
        message = message / (mask.sum(1, keepdim=True) + 5).sqrt()
        return self.own(message), self.nearby(neighbours @ message)
