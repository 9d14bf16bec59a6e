"""What a network drew, as one picture to look at."""

import io

import numpy as np
from numpy.typing import NDArray

from nightforge.levels import to_levels

GAP_PX, SIDE_PX = 2, 48
"""Between pictures, and how large small ones are at least shown."""


def grid(x: NDArray[np.float32], columns: int) -> bytes:
    """Pictures (rows, channels, height, width) in −1 … 1 as a PNG with so many a line; small ones are enlarged."""
    from PIL import Image

    levels = to_levels(x)
    rows, channels, height, width = levels.shape
    lines, times = -(-rows // columns), max(1, SIDE_PX // max(height, width))
    room = np.zeros((lines * columns, channels, times * height + GAP_PX, times * width + GAP_PX), dtype=np.uint8)
    room[:rows, :, GAP_PX:, GAP_PX:] = levels.repeat(times, axis=2).repeat(times, axis=3)
    laid = room.reshape(lines, columns, *room.shape[1:]).transpose(0, 3, 1, 4, 2)
    picture = laid.reshape(lines * room.shape[2], columns * room.shape[3], channels)
    out = io.BytesIO()
    Image.fromarray(picture[:, :, 0] if channels == 1 else picture).save(out, "PNG")
    return out.getvalue()
