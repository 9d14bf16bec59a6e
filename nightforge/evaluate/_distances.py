"""Squared Euclidean distances of many points to many."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def squared(a: NDArray[np.float32], b: NDArray[np.float32]) -> Floats:
    """Of each of a (rows, d) to each of b (others, d): (rows, others)."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    found: Floats = (x * x).sum(1)[:, None] + (y * y).sum(1)[None] - 2 * x @ y.T
    return found.clip(0)


def nearest(distances: Floats, k: int) -> Floats:
    """The k-th smallest of each row (rows, others): (rows,)."""
    return np.asarray(np.partition(distances, k - 1, axis=1)[:, k - 1])
