from collections import Counter

import numpy as np

from nightforge.balance.undersample import Config, resample

LABELS = ["a"] * 40 + ["b"] * 10 + ["c"] * 4


def config(ratio: float | None, rows: int | None = None) -> Config:
    return Config(weights="equal", median_ratio_max=ratio, rows_max=rows)


def test_the_largest_class_is_cut_to_its_ratio_to_the_median() -> None:
    picked = resample(LABELS, None, config(1.5), np.random.default_rng(0)).tolist()
    assert Counter(LABELS[i] for i in picked) == {"a": 15, "b": 10, "c": 4}
    assert picked == sorted(set(picked)), "in order, none twice"


def test_a_cap_holds_for_every_class_also_for_the_only_one() -> None:
    picked = resample(LABELS, None, config(None, 6), np.random.default_rng(0))
    assert Counter(LABELS[i] for i in picked) == {"a": 6, "b": 6, "c": 4}
    alone = resample(["a"] * 9, None, config(None, 6), np.random.default_rng(0)).tolist()
    assert len(alone) == 6 and alone == sorted(set(alone))


def test_which_rows_stay_hangs_on_the_generator_alone() -> None:
    first, again, other = (resample(LABELS, None, config(2), np.random.default_rng(s)).tolist() for s in (1, 1, 2))
    assert first == again != other


def test_nothing_to_thin() -> None:
    for labels in (LABELS, ["a", "a"], []):
        assert resample(labels, None, config(4), np.random.default_rng(0)).tolist() == list(range(len(labels)))
