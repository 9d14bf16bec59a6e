"""The blockwise search against scikit-learn's, and its share of memory."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

from nightforge.balance import _neighbours
from nightforge.balance._neighbours import nearest


def joined(*args: Any) -> tuple[np.ndarray, np.ndarray]:
    blocks = list(nearest(*args))
    return np.concatenate([d for d, _ in blocks]), np.concatenate([f for _, f in blocks])


def points(rows: int, dims: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-127, 128, (rows, dims)).astype(np.int8)


@pytest.mark.parametrize("block", [3, 50, 10_000])
def test_neighbours_are_those_of_scikit_learn(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.neighbors import NearestNeighbors

    monkeypatch.setattr(_neighbours, "BLOCK", block)
    monkeypatch.setattr(_neighbours, "QUERIES", 7)
    given = points(200)
    units = given / np.linalg.norm(given, axis=1, keepdims=True)
    rows, among = np.arange(40), np.arange(20, 200)
    theirs, order = NearestNeighbors(n_neighbors=180).fit(units[among]).kneighbors(units[rows])
    for farthest in (False, True):
        distances, found = joined(given, rows, among, 5, farthest)
        for i in rows:
            line = [(d, among[j]) for d, j in zip(theirs[i], order[i], strict=True) if among[j] != i]
            line = line[::-1] if farthest else line
            assert found[i].tolist() == [j for _, j in line[:5]]
            assert distances[i] == pytest.approx([d for d, _ in line[:5]], abs=1e-6)


def test_of_equals_the_earlier_comes_first_and_what_is_missing_is_far() -> None:
    same = np.ones((4, 3), np.int8)
    distances, found = joined(same, np.array([2]), np.arange(4), 5)
    assert found[0, :3].tolist() == [0, 1, 3]
    assert distances[0, :3] == pytest.approx(0, abs=1e-6) and np.isinf(distances[0, 3:]).all()


def test_memory_does_not_grow_with_the_rows() -> None:
    given, rows = points(40_000, 128), np.arange(300)
    peaks = []
    for among in (20_000, 40_000):
        tracemalloc.start()
        joined(given, rows, np.arange(among), 5)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 16 * 20_000
