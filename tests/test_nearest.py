"""Near rows: as brute force says when all are compared, and nearly all of them in buckets; the first always stays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightforge import nearest
from nightforge.embeddings import DIMS, pack, unit


def points(rows: int, planted: int, cosine: float, seed: int = 0) -> np.ndarray:
    """Random ones around a common direction, as texts are, and after them `planted` with that cosine to the first."""
    rng = np.random.default_rng(seed)
    made = unit((rng.standard_normal((rows, DIMS)) + 0.5).astype(np.float32))
    aside = rng.standard_normal((planted, DIMS)).astype(np.float32)
    aside = unit(aside - (aside * made[:planted]).sum(1, keepdims=True) * made[:planted])
    return pack(np.concatenate([made, cosine * made[:planted] + np.float32((1 - cosine**2) ** 0.5) * aside]))


def brute(packed: np.ndarray, cosine_min: float) -> list[int]:
    x = packed.astype(np.float64)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
    near = np.tril(x @ x.T >= cosine_min, -1)
    return [int(row.argmax()) if row.any() else -1 for row in near]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 60), st.sampled_from([0.6, 0.8, 0.9]), st.integers(0, 5))
def test_few_rows_are_as_by_brute_force(rows: int, cosine_min: float, seed: int) -> None:
    given_points = np.concatenate([points(rows, rows // 2, 0.85, seed), np.zeros((2, DIMS), np.int8)])
    assert nearest.earlier(given_points, cosine_min).tolist() == brute(given_points, cosine_min)


def test_over_several_blocks_the_earliest_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "BLOCK", 7)
    given_points = points(40, 20, 0.9)
    assert nearest.earlier(given_points, 0.8).tolist() == brute(given_points, 0.8)


@pytest.mark.parametrize("cosine", [0.8, 0.9, 0.97])
def test_buckets_find_what_theory_says(cosine: float, monkeypatch: pytest.MonkeyPatch) -> None:
    given_points = points(4_000, 1_000, cosine)
    monkeypatch.setattr(nearest, "EXACT_ROWS", 0)
    monkeypatch.setattr(nearest, "ROWS_PER_BUCKET", 160)
    count, planes = nearest.tables(5_000, cosine)
    assert count > 1 and planes == 5
    found = nearest.earlier(given_points, cosine - 0.01)
    assert (found[:4_000] == -1).all()  # nothing that is not near
    assert (found[4_000:] == np.arange(1_000)).mean() > nearest.RECALL - 0.02


def test_many_copies_of_one_row_take_no_time() -> None:
    found = nearest.earlier(np.repeat(points(1, 0, 0.9), 21_000, axis=0), 0.9)
    assert found[0] == -1 and (found[1:] >= 0).all()


def test_copies_are_near_at_a_cosine_of_one() -> None:
    given_points = np.repeat(points(300, 0, 0.9), 2, axis=0)
    assert nearest.earlier(given_points, 1)[1::2].tolist() == list(range(0, 600, 2))


def test_cosine() -> None:
    a, b = np.zeros(DIMS, np.int8), np.zeros(DIMS, np.int8)
    a[:2], b[0] = 100, 127
    assert nearest.cosine(a, b) == pytest.approx(0.5**0.5)
