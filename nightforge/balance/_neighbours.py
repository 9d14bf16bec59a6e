"""Nearest rows in an embedding space, block by block: beyond the features, memory does not grow with the rows."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from nightforge.balance._targets import Ints

QUERIES, BLOCK = 256, 2048
Floats = npt.NDArray[np.float64]
Features = npt.NDArray[np.generic]
"""(rows, dims) of any number type. Only directions count: int8 from `nightforge.embeddings.pack` is 1 byte a dimension,
and its products are whole numbers below 2²⁴, exact in float32, so that neighbours are the same on every machine."""


def nearest(
    features: Features, rows: Ints, among: Ints, k: int, farthest: bool = False
) -> Iterator[tuple[Floats, Ints]]:
    """The k rows of `among` next to each of `rows` (or farthest from it), none its own neighbour; nearest (farthest)
    first.

    Distances are those between the directions, √(2 - 2 cosine); of equal ones the earlier row comes first. Where there
    are fewer than k, the distance of what is missing is infinite.

    Yields:
        distances and positions in `features`, both (≤ QUERIES, k), block after block of `rows`.
    """
    sign = -1.0 if farthest else 1.0
    for at in range(0, len(rows), QUERIES):
        asked = rows[at : at + QUERIES]
        key, found = np.full((len(asked), k), np.inf), np.full((len(asked), k), -1, np.int64)
        for start in range(0, len(among), BLOCK):
            block = among[start : start + BLOCK]
            # A whisker for the position makes all keys differ, so that the choice between equals is no accident.
            new = sign * _distances(features[asked], features[block]) + 1e-13 * block
            new[asked[:, None] == block] = np.inf
            key = np.concatenate([key, new], axis=1)
            found = np.concatenate([found, np.broadcast_to(block, new.shape)], axis=1)
            best = np.argpartition(key, k - 1, axis=1)[:, :k]
            key, found = np.take_along_axis(key, best, 1), np.take_along_axis(found, best, 1)
        order = np.argsort(key, axis=1, kind="stable")
        key, found = np.take_along_axis(key, order, 1), np.take_along_axis(found, order, 1)
        yield np.where(np.isinf(key), np.inf, sign * (key - 1e-13 * found)), found


def _distances(some: Features, others: Features) -> Floats:
    a, b = some.astype(np.float32), others.astype(np.float32)
    lengths = np.sqrt(np.outer((a * a).sum(1, dtype=np.float64), (b * b).sum(1, dtype=np.float64)))
    cosine = np.divide((a @ b.T).astype(np.float64), lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return np.asarray(np.sqrt(np.maximum(0, 2 - 2 * cosine)))
