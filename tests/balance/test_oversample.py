from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nightforge.balance.oversample import Config, resample


@settings(deadline=None)
@given(st.lists(st.sampled_from("aaaabbc"), max_size=120), st.integers(0, 5))
def test_rows_of_a_class_differ_by_one_copy_at_most(labels: list[str], seed: int) -> None:
    cfg = Config(weights="equal", synthetic_share_max=0.4, copies_max=3)
    picked = resample(labels, None, cfg, np.random.default_rng(seed)).tolist()
    assert picked[: len(labels)] == list(range(len(labels))), "all originals, in order"
    assert not labels or 1 - len(labels) / len(picked) <= 0.4 + 1e-9
    times = Counter(picked)
    for label in set(labels):
        counts = [times[i] for i in range(len(labels)) if labels[i] == label]
        assert max(counts) - min(counts) <= 1 and max(counts) <= 4


def test_plain_random_oversampling_gives_one_row_more_copies_than_ours() -> None:
    from imblearn.over_sampling import RandomOverSampler

    labels = ["a"] * 500 + ["b"] * 100
    theirs = RandomOverSampler(random_state=0)
    theirs.fit_resample(np.arange(600).reshape(-1, 1), labels)
    cfg = Config(weights="equal", synthetic_share_max=0.9, copies_max=9)
    ours = resample(labels, None, cfg, np.random.default_rng(0))
    assert len(ours) == len(theirs.sample_indices_) == 1000
    assert max(Counter(theirs.sample_indices_.tolist()).values()) >= 9
    assert set(Counter(ours[ours >= 500].tolist()).values()) == {5}
