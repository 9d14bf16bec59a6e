from collections import Counter

import numpy as np

from nightforge.balance.undersample import Config, resample

LABELS = ["a"] * 40 + ["b"] * 10 + ["c"] * 4


def test_the_largest_class_is_cut_to_its_ratio_to_the_median() -> None:
    picked = resample(LABELS, None, Config(median_ratio_max=1.5), np.random.default_rng(0))
    assert Counter(LABELS[i] for i in picked) == {"a": 15, "b": 10, "c": 4}
    assert picked == sorted(set(picked)), "in order, none twice"


def test_which_rows_stay_hangs_on_the_generator_alone() -> None:
    cfg = Config(median_ratio_max=2)
    first, again, other = (resample(LABELS, None, cfg, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first == again != other


def test_nothing_to_thin() -> None:
    cfg = Config(median_ratio_max=4)
    for labels in (LABELS, ["a", "a"], []):
        assert resample(labels, None, cfg, np.random.default_rng(0)) == list(range(len(labels)))
