"""Thins large classes to the rows nearest to the centres of their clusters: what is said often thins.

With imbalanced-learn's ClusterCentroids and hard voting (Lemaître, Nogueira, Aridas 2017, JMLR 18). Its result are
vectors without a way back to the rows, so they are found again by their bytes; where two centres lie next to one row,
another is kept in its place. A class is clustered in blocks of 2,048 rows in random order: the time grows with the rows
alone (k-means over a whole class: with rows × clusters), and memory does not.
"""

from collections.abc import Sequence

import numpy as np

from nightforge.balance._neighbours import Features
from nightforge.balance._targets import Ints, Thin, coded, lowered, sized

NEEDS = "embedding"
BLOCK = 2048
ITERATIONS = 20


class Config(Thin):
    """How far a class may stand out."""


SAMPLE = Config(weights="equal", median_ratio_max=1.5, rows_max=None)


def resample(labels: Sequence[str], features: Features, cfg: Config, rng: np.random.Generator) -> Ints:
    """Indices of the rows that stay, in their order."""
    names, codes = coded(labels)
    keep = np.ones(len(labels), bool)
    for label, wanted in lowered(sized(names, codes), cfg).items():
        rows = rng.permutation(np.flatnonzero(codes == names.index(label)))
        keep[rows] = False
        edges = [*range(0, len(rows), BLOCK), len(rows)]
        shares = np.diff([edge * wanted // len(rows) for edge in edges])
        for start, share in zip(edges, shares, strict=False):
            block = rows[start : start + BLOCK]
            keep[_typical(features, block, int(share), int(rng.integers(2**31)))] = True
    return np.flatnonzero(keep)


def _typical(features: Features, rows: Ints, wanted: int, seed: int) -> Ints:
    """So many rows of a block, each next to a centre of its own."""
    from imblearn.under_sampling import ClusterCentroids
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    if wanted in (0, len(rows)):
        return rows[:wanted]
    points = features[rows].astype(np.float32)
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-9)
    classes = np.append(np.zeros(len(rows), int), 1)  # imbalanced-learn wants two classes: the last row is no row
    means = KMeans(wanted, n_init=1, max_iter=ITERATIONS, random_state=seed)
    sampler = ClusterCentroids(sampling_strategy={0: wanted}, estimator=means, voting="hard")
    with threadpool_limits(1):  # sums in another order would give other clusters
        found, _ = sampler.fit_resample(np.vstack([points, np.zeros_like(points[:1])]), classes)
    at = {point.tobytes(): i for i, point in reversed(list(enumerate(points)))}
    chosen = dict.fromkeys(at[point.tobytes()] for point in found[:wanted])
    return rows[list(dict.fromkeys([*chosen, *range(len(rows))]))[:wanted]]
