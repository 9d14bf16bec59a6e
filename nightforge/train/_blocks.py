"""The layers that the image networks share: normed residual blocks, told the label."""

from typing import Literal

import torch
from torch.nn import functional

Norm = Literal["batch", "group"]
WIDEST = 4
"""Width doubles with each halving of the picture, up to so many times the first."""


def widths(width: int, halvings: int) -> list[int]:
    """Channels at each size of the picture, the whole one first."""
    return [min(2**i, WIDEST) * width for i in range(halvings + 1)]


def grid(shape: tuple[int, int, int], halvings: int) -> tuple[int, int]:
    """Height and width of the coarsest grid, enough for the whole picture."""
    return -(-shape[1] // 2**halvings), -(-shape[2] // 2**halvings)


def padded(x: torch.Tensor, halvings: int) -> torch.Tensor:
    """(rows, channels, height, width) with its last rows and columns repeated until it can be halved so often."""
    height, width = (-side % 2**halvings for side in x.shape[2:])
    return functional.pad(x, (0, width, 0, height), mode="replicate") if height or width else x


def norm(kind: Norm, width: int) -> torch.nn.Module:
    """Batch norm, or group norm with eight groups."""
    return torch.nn.BatchNorm2d(width) if kind == "batch" else torch.nn.GroupNorm(8, width)


class Block(torch.nn.Module):
    """Two normed convolutions around which the input passes, the label's vector added between."""

    def __init__(self, before: int, after: int, told: int, kind: Norm) -> None:
        super().__init__()
        self.norms = torch.nn.ModuleList([norm(kind, before), norm(kind, after)])
        self.first = torch.nn.Conv2d(before, after, 3, padding=1)
        self.told = torch.nn.Linear(told, after)
        self.second = torch.nn.Conv2d(after, after, 3, padding=1)
        self.past = torch.nn.Conv2d(before, after, 1) if before != after else torch.nn.Identity()

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """(rows, before, h, w), and labels as vectors (rows, told) → (rows, after, h, w)."""
        hidden = self.first(functional.silu(self.norms[0](x))) + self.told(label)[:, :, None, None]
        out: torch.Tensor = self.past(x) + self.second(functional.silu(self.norms[1](hidden)))
        return out
