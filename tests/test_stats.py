"""Intervals: by hand, against scipy, and by how often they cover the truth."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from nightforge import stats
from nightforge.errors import DataError
from nightforge.stats import Bootstrap, Interval

BOOT = Bootstrap(resamples=4000, level=0.95)


def documents(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    size = rng.integers(5, 200, n).astype(float)
    return size * rng.gamma(8, 1 / 8, n), size


def alone(rows: np.ndarray) -> np.ndarray:
    """Each text a document of its own."""
    return np.arange(len(rows))


def test_the_value_is_the_ratio_of_sums_not_the_mean_of_ratios() -> None:
    got = stats.ratio([1.0, 9.0], [1.0, 3.0], ["a", "b"], BOOT, seed=1)
    assert got.value == 2.5  # 10 / 4; the mean of ratios would be 2
    # four equally likely resamples: (1, 1) → 1, (9, 9) → 3, and twice (1, 9) → 2.5
    assert (got.low, got.high) == (1.0, 3.0)


def test_resampled_sums_have_the_moments_of_drawing_with_replacement() -> None:
    table = np.array([[1.0, 10.0], [2.0, 20.0], [6.0, 60.0]])
    sums = stats.resampled_sums(table, 40_000, seed=3)
    assert sums.shape == (40_000, 2)
    np.testing.assert_allclose(sums[:, 1], 10 * sums[:, 0])  # a document brings all its columns
    np.testing.assert_allclose(sums[:, 0].mean(), 9.0, rtol=0.01)
    np.testing.assert_allclose(sums[:, 0].var(), 3 * np.var([1, 2, 6]), rtol=0.03)


def test_chunks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.random.default_rng(0).random((50, 2))
    whole = stats.resampled_sums(table, 300, seed=5)
    monkeypatch.setattr(stats, "DRAWS_PER_CHUNK", 120)
    np.testing.assert_array_equal(stats.resampled_sums(table, 300, seed=5), whole)


def test_agrees_with_scipy() -> None:
    nats, size = documents(np.random.default_rng(0), 300)
    ours = stats.ratio(nats, size, alone(nats), Bootstrap(resamples=20_000, level=0.9), seed=0)
    theirs = bootstrap(
        (nats, size),
        lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        confidence_level=0.9,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    np.testing.assert_allclose([ours.low, ours.high], theirs, rtol=2e-3)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    boot = Bootstrap(resamples=400, level=0.9)
    covered = []
    for seed in range(300):
        nats, size = documents(rng, 120)
        got = stats.ratio(nats, size, alone(nats), boot, seed)
        covered.append(got.low <= 1.0 <= got.high)  # E[nats] = E[size]
    assert 0.84 <= np.mean(covered) <= 0.95


def test_the_interval_covers_the_truth_with_many_texts_of_one_document() -> None:
    """What the 20 texts of a document share makes an interval over texts far too narrow."""
    rng = np.random.default_rng(12)
    boot = Bootstrap(resamples=400, level=0.95)
    by_document, by_text = [], []
    for seed in range(300):
        size = rng.integers(5, 200, (80, 20)).astype(float)
        nats = (size * rng.gamma(8, 1 / 8, (80, 1)) * rng.gamma(8, 1 / 8, (80, 20))).ravel()
        groups = np.repeat([f"d{i}" for i in range(80)], 20)
        shuffled = rng.permutation(1600)  # texts of a document need not stand together
        columns = nats[shuffled], size.ravel()[shuffled]
        for covered, named in ((by_document, groups[shuffled]), (by_text, alone(nats))):
            got = stats.ratio(*columns, named, boot, seed)
            covered.append(got.low <= 1.0 <= got.high)
    assert 0.91 <= np.mean(by_document) <= 0.98
    assert np.mean(by_text) < 0.7


def test_columns_are_summed_by_document_by_hand() -> None:
    sums = stats.document_sums([[1, 2, 4, 8], [1, 1, 1, 1]], ["b", "a", "b", "c"])
    assert sums.tolist() == [[2, 1], [5, 2], [8, 1]]
    # documents x (1 + 3 nats of 2 bytes) and y (2 of 1): resamples xx 2, yy 2, xy 2: no spread, though texts differ
    assert stats.ratio([1, 3, 2], [1, 1, 1], ["x", "x", "y"], BOOT, 0) == Interval(2.0, 2.0, 2.0)


def test_pairing_removes_what_documents_share() -> None:
    rng = np.random.default_rng(2)
    old, size = documents(rng, 400)
    new = old * 1.01 + rng.normal(0, 0.05, 400)
    share = stats.loss_share(new, old, alone(new), BOOT, seed=4)
    assert share.value == pytest.approx(0.01, abs=5e-4)
    assert 0.009 < share.low < share.value < share.high < 0.011
    unpaired = stats.ratio(old, size, alone(old), BOOT, seed=4)
    assert share.high - share.low < 0.1 * (unpaired.high - unpaired.low)
    gap = stats.difference(new, old, size, alone(new), BOOT, seed=4)
    assert gap.value == pytest.approx((new.sum() - old.sum()) / size.sum())
    assert gap.low > 0


def test_seeded_and_order_of_arguments_matters() -> None:
    new, old = documents(np.random.default_rng(8), 60)
    own = alone(new)
    assert stats.loss_share(new, old, own, BOOT, 1) == stats.loss_share(new, old, own, BOOT, 1)
    assert stats.loss_share(new, old, own, BOOT, 1) != stats.loss_share(new, old, own, BOOT, 2)
    assert stats.difference(new, old, old, own, BOOT, 1).value == pytest.approx(
        -stats.difference(old, new, old, own, BOOT, 1).value
    )


def test_one_document_has_an_interval_of_no_width_and_none_is_an_error() -> None:
    assert stats.ratio([3.0], [2.0], ["a"], BOOT, 0) == Interval(1.5, 1.5, 1.5)
    with pytest.raises(DataError, match="got 0 documents"):
        stats.ratio([], [], [], BOOT, 0)
    with pytest.raises(DataError, match="positive total"):
        stats.ratio([1.0], [0.0], ["a"], BOOT, 0)


def test_scaled() -> None:
    assert Interval(2.0, 1.0, 4.0).scaled(0.5).json() == {"value": 1.0, "low": 0.5, "high": 2.0}
