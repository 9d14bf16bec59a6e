import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nightforge.balance import cluster_centroids
from nightforge.balance.cluster_centroids import Config, resample


def config(rows: int) -> Config:
    return Config(weights="equal", median_ratio_max=None, rows_max=rows)


def test_one_row_of_each_cluster_stays() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(6, 16)
    of = rng.permutation(np.repeat(np.arange(6), 20))
    points = centres[of] + rng.normal(scale=0.01, size=(120, 16))
    picked = resample(["a"] * 120, points, config(6), np.random.default_rng(0))
    assert sorted(of[picked]) == [0, 1, 2, 3, 4, 5]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 9), st.integers(1, 40), st.integers(1, 4))
def test_as_many_rows_stay_as_asked_though_points_coincide(seed: int, rows: int, different: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.integers(-9, 9, (different, 5)).astype(np.int8)[rng.integers(0, different, 45)]
    labels = ["a"] * 40 + ["b"] * 5
    picked = resample(labels, points, config(rows), np.random.default_rng(seed)).tolist()
    assert picked == sorted(set(picked))
    assert sum(i < 40 for i in picked) == rows and sum(i >= 40 for i in picked) == min(5, rows)


def test_blocks_share_the_rows_and_the_generator_decides(monkeypatch: object) -> None:
    points = np.random.default_rng(3).normal(size=(5000, 4)).astype(np.float16)
    labels = ["a"] * 5000
    first, again, other = (resample(labels, points, config(60), np.random.default_rng(s)).tolist() for s in (1, 1, 2))
    assert len(first) == 60 and first == again != other
    assert cluster_centroids.BLOCK < 5000
