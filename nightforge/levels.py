"""Pictures and spectrograms are stored in 256 levels, a byte a value: networks see these as −1 … 1."""

import numpy as np
import torch
from numpy.typing import NDArray

Levels = NDArray[np.uint8]
"""(rows, channels, height, width)"""
HIGHEST = 255


def to_levels(x: NDArray[np.float32]) -> Levels:
    """Values in −1 … 1 as the nearest of 256 levels."""
    levels: Levels = ((x + 1) * (HIGHEST / 2)).round().clip(0, HIGHEST).astype(np.uint8)
    return levels


def from_levels(levels: Levels) -> torch.Tensor:
    """Levels as the values in −1 … 1 that networks take."""
    return torch.from_numpy(levels).float() / (HIGHEST / 2) - 1
