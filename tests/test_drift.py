"""Divergences against their formulas, and the noise that is taken off against simulated nights without news."""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2

from nightforge import drift

WORDS = np.arange(5, 45)


def table(rng: np.random.Generator, rows: int, longer: float = 0, labels: str = "abcd") -> pl.DataFrame:
    """A night: word counts, letters by them, and labels of unequal shares."""
    words = (rng.choice(WORDS, rows) * (1 + longer)).astype(np.int32)
    weights = np.arange(1, len(labels) + 1, dtype=float)
    label = rng.choice(list(labels), rows, p=weights / weights.sum())
    flags = {name: np.zeros(rows, np.int8) for name in drift.FLAGS}
    numbers = {
        "n_words": words,
        "n_chars": words * 6,
        "alpha_share": rng.beta(80, 20, rows),
        "digit_share": np.zeros(rows),
    }
    places = np.where(np.arange(rows) % 3 == 0, "wiki:a/x.txt", "mail:b")
    names = {"label": label, "source": places, "language": ["en"] * rows, "media_type": ["text/plain"] * rows}
    return pl.DataFrame({**numbers, **flags, **names})


def test_psi_and_js_are_their_formulas() -> None:
    then, now = np.array([50.0, 30.0, 20.0]), np.array([20.0, 30.0, 50.0])
    p, q = (then + 0.5) / 101.5, (now + 0.5) / 101.5
    assert drift._psi(then, now)["psi"] == pytest.approx(float(np.sum((q - p) * np.log(q / p))))
    assert drift._js(then, now)["js"] == pytest.approx(jensenshannon(then, now, base=2) ** 2)


def test_the_quantile_of_the_noise_is_that_of_chi_squared() -> None:
    for bins in (2, 3, 5, 11, 51):
        exact = (1 / 400 + 1 / 900) * chi2.ppf(drift.CALM, bins - 1)
        assert exact * 0.999 <= drift.noise(400, 900, bins) <= exact * 1.04
    assert drift.noise(400, 900, 1) == 0


@pytest.mark.parametrize(("then_rows", "now_rows"), [(200, 200), (300, 2_000), (5_000, 5_000)])
def test_nights_without_news_stay_below_the_noise(then_rows: int, now_rows: int) -> None:
    """The raw index of 200 rows passes 0.1 by chance; what is beyond the noise does not, but once in a thousand."""
    rng = np.random.default_rng(5)
    raw, beyond = [], []
    for _ in range(300):
        then = drift.profile(table(rng, then_rows))
        found = drift.compare(then, table(rng, now_rows))
        raw.append(found["n_words"]["psi"])
        beyond += [found["n_words"]["psi_beyond_noise"], found["label"]["js_beyond_noise"]]
    assert np.mean(np.array(beyond) > 0) <= 0.005
    assert max(beyond) < 0.02
    if then_rows == now_rows == 200:
        assert max(raw) > 0.1


def test_the_index_of_large_samples_has_the_mean_that_theory_gives() -> None:
    """E[PSI] = (1/n + 1/m)·(B − 1)."""
    rng = np.random.default_rng(6)
    edges = np.arange(10, 45, 5)
    shares = [drift._binned(rng.choice(WORDS, 4_000), edges) for _ in range(2_000)]
    found = np.mean([drift._psi(a, b)["psi"] for a, b in zip(shares[::2], shares[1::2], strict=True)])
    assert found == pytest.approx(2 / 4_000 * len(edges), rel=0.1)


def test_a_shift_of_lengths_and_a_new_label_are_seen() -> None:
    rng = np.random.default_rng(7)
    then = drift.profile(table(rng, 2_000))
    found = drift.compare(then, table(rng, 2_000, longer=0.5))
    assert found["n_words"]["psi_beyond_noise"] > 0.25
    assert found["label"]["js_beyond_noise"] == 0
    found = drift.compare(then, table(rng, 2_000, labels="abcde"))
    assert found["label"]["js_beyond_noise"] > 0.05
    assert found["label"]["share_change"] > 0.2
    assert found["n_words"]["psi_beyond_noise"] == 0


def test_what_never_varied_is_seen_to_move_either_way() -> None:
    then = drift.profile(table(np.random.default_rng(8), 500).with_columns(digit_share=pl.lit(0.5)))
    for value in (0.4, 0.6):
        now = table(np.random.default_rng(9), 500).with_columns(digit_share=pl.lit(value))
        assert drift.compare(then, now)["digit_share"]["psi_beyond_noise"] > 1


def test_volume_as_a_whole_and_by_source() -> None:
    rng = np.random.default_rng(10)
    then, now = drift.profile(table(rng, 3_000)), table(rng, 3_000)
    without = now.filter((pl.col("source") != "wiki:a/x.txt") | (pl.int_range(pl.len()) % 10 == 0))
    found = drift.compare(then, without)
    assert found["rows_ratio"] == pytest.approx(len(without) / 3_000)
    assert found["source"]["rows_ratio_min"] == pytest.approx(0.1, abs=0.01)
    renamed = now.with_columns(source=pl.col("source").str.replace("x.txt", "y.txt"))
    assert drift.compare(then, renamed)["source"]["js"] == 0, "files of a source come and go"


def test_rare_and_new_names_are_counted_as_others() -> None:
    rng = np.random.default_rng(11)
    many = table(rng, 4_000).with_columns(label=pl.Series([f"l{i % 80}" for i in range(4_000)]))
    names = drift.profile(many)["names"]["label"]
    assert len(names) == drift.NAMES_KEPT + 1
    assert sum(names.values()) == 4_000 and names[drift.OTHER] == 1_500
    assert drift.compare(drift.profile(many), many)["label"]["js"] == 0


def test_a_table_without_rows_has_no_distance() -> None:
    rng = np.random.default_rng(12)
    full, none = table(rng, 10), table(rng, 10).clear()
    for then, now in ((none, full), (full, none)):
        found: dict[str, Any] = drift.compare(drift.profile(then), now)
        assert all(math.isnan(found[name][what]) for name, what in (("n_words", "psi"), ("label", "js")))
        assert math.isnan(found["label"]["share_change"])


def test_a_profile_holds_no_text_and_survives_json() -> None:
    import json

    night = table(np.random.default_rng(13), 1_000)
    profile = json.loads(json.dumps(drift.profile(night)))
    found = drift.compare(profile, night)
    assert found["rows_ratio"] == 1 and found["n_words"]["psi"] == 0 and found["label"]["js"] == 0
    assert sum(profile["numbers"]["n_words"]["counts"]) == 1_000
