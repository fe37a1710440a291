"""One tower for one view of one kind of entity (chapter 03)."""

from torch import nn


class Tower(nn.Module):
    """Dropout, Linear, LayerNorm, GELU, dropout, Linear: [n, features] -> [n, dim].

    LayerNorm looks at one entity at a time, so an embedding never depends on who else is in the batch.

    Parameters
    ----------
    features, hidden, dim : widths
    drop_in, drop : dropout of the input and of the hidden layer
    """

    def __init__(self, features, hidden=256, dim=64, drop_in=0.2, drop=0.5):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(drop_in), nn.Linear(features, hidden), nn.LayerNorm(hidden), nn.GELU(), nn.Dropout(drop), nn.Linear(hidden, dim)
        )

    def forward(self, x):
        """[n, features] -> [n, dim]."""
        return self.layers(x)
