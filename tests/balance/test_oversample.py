from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nightforge.balance.oversample import Config, filled, resample


def test_filled_by_hand() -> None:
    # 10 copies raise 2 and 5 to 8 (6 + 3 = 9), one is left for the smallest
    assert filled({"a": 2, "b": 5, "c": 20}, 10, 100) == {"a": 7, "b": 3, "c": 0}
    assert filled({"a": 2, "b": 5, "c": 20}, 10, 1) == {"a": 2, "b": 5, "c": 0}, "each row once at most"
    assert filled({"a": 2, "b": 5, "c": 6}, 1_000, 100) == {"a": 4, "b": 1, "c": 0}, "no class rises above the largest"
    assert filled({}, 5, 1) == {}


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 60), min_size=1),
    st.integers(0, 200),
    st.integers(1, 5),
)
def test_filled_is_fair_and_uses_all_it_may(sizes: dict[str, int], allowed: int, copies_max: int) -> None:
    copies = filled(sizes, allowed, copies_max)
    after = {label: sizes[label] + n for label, n in copies.items()}
    assert sum(copies.values()) <= allowed
    assert all(n <= copies_max * sizes[label] for label, n in copies.items())
    assert all(n == 0 for label, n in copies.items() if sizes[label] == max(sizes.values()))
    free = [x for x in sizes if after[x] < min(max(sizes.values()), sizes[x] * (1 + copies_max))]
    raised = [after[x] for x in sizes if copies[x]]
    assert not free or sum(copies.values()) == allowed, "what is left could have been used"
    assert not free or not raised or max(raised) - min(after[x] for x in free) <= 1, "a smaller class was passed over"


@given(st.lists(st.sampled_from("aaaabbc"), max_size=120), st.integers(0, 5))
def test_rows_of_a_class_differ_by_one_copy_at_most(labels: list[str], seed: int) -> None:
    cfg = Config(synthetic_share_max=0.4, copies_max=3)
    picked = resample(labels, None, cfg, np.random.default_rng(seed))
    assert picked[: len(labels)] == list(range(len(labels))), "all originals, in order"
    assert not labels or 1 - len(labels) / len(picked) <= 0.4 + 1e-9
    times = Counter(picked)
    for label in set(labels):
        counts = [times[i] for i in range(len(labels)) if labels[i] == label]
        assert max(counts) - min(counts) <= 1 and max(counts) <= 4
