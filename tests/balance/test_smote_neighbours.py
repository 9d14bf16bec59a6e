from collections import Counter
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.over_sampling import BorderlineSMOTE
from sklearn.neighbors import NearestNeighbors

from nightforge.balance.smote_neighbours import Config, _scores, resample

Kind = Literal["borderline", "adasyn", "sparse"]


def config(kind: Kind, share: float = 0.2, copies_max: int = 3, neighbours: int = 5) -> Config:
    return Config(weights="equal", synthetic_share_max=share, copies_max=copies_max, kind=kind, neighbours=neighbours)


def mixed(seed: int, large: int = 60, small: int = 20) -> tuple[list[str], np.ndarray]:
    """Two classes that overlap."""
    rng = np.random.default_rng(seed)
    points = np.concatenate([rng.normal(0.5, 1, (large, 6)), rng.normal(-0.5, 1, (small, 6))])
    return ["a"] * large + ["b"] * small, points / np.linalg.norm(points, axis=1, keepdims=True)


@settings(deadline=None)
@given(st.integers(0, 50))
def test_scores_are_those_that_imbalanced_learn_starts_from(seed: int) -> None:
    labels, points = mixed(seed)
    rows, codes = np.arange(60, 80), np.array([0] * 60 + [1] * 20, np.int32)
    search = NearestNeighbors(n_neighbors=6).fit(points)
    danger = BorderlineSMOTE()._in_danger_noise(search, points[rows], "b", np.array(labels), kind="danger")
    assert _scores(points, rows, codes, config("borderline")).tolist() == danger.astype(float).tolist()
    others = (codes[search.kneighbors(points[rows], return_distance=False)[:, 1:]] == 0).mean(axis=1)  # ADASYN's r
    assert _scores(points, rows, codes, config("adasyn")) == pytest.approx(others)


@settings(deadline=None)
@given(st.integers(0, 50), st.sampled_from(["borderline", "adasyn", "sparse"]), st.floats(0, 0.6), st.integers(1, 4))
def test_copies_are_of_real_rows_within_bounds_and_even_among_equals(
    seed: int, kind: Kind, share: float, copies_max: int
) -> None:
    labels, points = mixed(seed)
    cfg = config(kind, share, copies_max)
    picked = resample(labels, points, cfg, np.random.default_rng(seed))
    assert picked[:80].tolist() == list(range(80))
    assert 1 - 80 / len(picked) <= share + 1e-9
    times = Counter(picked[80:].tolist())
    assert max(times.values(), default=0) <= copies_max and all(labels[i] == "b" for i in times)
    scores = _scores(points, np.arange(60, 80), np.array([0] * 60 + [1] * 20, np.int32), cfg)
    for score in set(scores):
        counts = [times[60 + i] for i in np.flatnonzero(scores == score)]
        assert max(counts) - min(counts) <= 1
    order = np.argsort(scores)
    counts = [times[60 + i] for i in order]
    assert all(a <= b + 1 for a, b in pairwise(counts)), "a higher score never has fewer copies"


def test_the_lonely_row_is_copied_first_where_rows_are_sparse() -> None:
    rng = np.random.default_rng(0)
    dense = np.array([1.0, 0, 0]) + rng.normal(scale=0.01, size=(9, 3))
    points = np.concatenate([np.tile([0.0, 0, 1], (12, 1)), dense, [[0.0, 1, 0]]])
    labels = ["a"] * 12 + ["b"] * 10
    picked = resample(
        labels, points, config("sparse", share=0.09, copies_max=5, neighbours=3), np.random.default_rng(0)
    )
    assert picked[22:].tolist() == [21, 21]


def test_the_generator_decides_between_equals_alone() -> None:
    labels, points = ["a"] * 30 + ["b"] * 10, np.ones((40, 3), np.int8)
    first, again, other = (
        resample(labels, points, config("adasyn", 0.1), np.random.default_rng(s)).tolist() for s in (1, 1, 2)
    )
    assert first == again != other
