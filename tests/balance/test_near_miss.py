from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.under_sampling import NearMiss

from nightforge.balance.near_miss import Config, resample


def config(version: Literal[1, 2, 3], rows: int, candidates: int = 3) -> Config:
    return Config(
        weights="equal", median_ratio_max=None, rows_max=rows, version=version, neighbours=3, candidates=candidates
    )


def by_class(seed: int, sizes: dict[str, int]) -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation([label for label, size in sizes.items() for _ in range(size)]).tolist()
    points = rng.normal(size=(len(labels), 8))
    return labels, points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.filterwarnings("ignore")
@settings(deadline=None)
@given(st.sampled_from([1, 2, 3]), st.integers(0, 99), st.integers(8, 39))
def test_the_same_rows_stay_as_with_imbalanced_learn(version: Literal[1, 2, 3], seed: int, rows: int) -> None:
    labels, points = by_class(seed, {"a": 40, "b": 20, "c": 7})
    cut = {x: min(n, rows) for x, n in {"a": 40, "b": 20}.items() if n > rows}
    theirs = NearMiss(version=version, sampling_strategy=cut)
    theirs.fit_resample(points, labels)
    ours = resample(labels, points, config(version, rows), np.random.default_rng(0))
    assert ours.tolist() == sorted(theirs.sample_indices_)


def test_version_3_says_when_it_keeps_fewer_than_asked() -> None:
    labels, points = by_class(1, {"a": 60, "c": 3})
    with pytest.warns(UserWarning, match=r"50 rows of 'a' asked, \d kept"):
        picked = resample(labels, points, config(3, 50), np.random.default_rng(0))
    kept = sum(labels[i] == "a" for i in picked)
    assert 3 <= kept <= 9, "three candidates for each of three rows"
    assert sum(labels[i] == "c" for i in picked) == 3


def test_fewer_rows_than_neighbours() -> None:
    labels, points = by_class(2, {"a": 9, "c": 1})
    for version in (1, 2, 3):
        picked = resample(labels, points, config(version, 2), np.random.default_rng(0))
        assert sorted(labels[i] for i in picked) == ["a", "a", "c"]
