"""Thins the largest classes at random.

With imbalanced-learn's RandomUnderSampler (Lemaître, Nogueira, Aridas 2017, JMLR 18).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nightforge.balance._targets import Ints, Thin, coded, lowered, sized


class Config(Thin):
    """How far a class may stand out."""


SAMPLE = Config(weights="equal", median_ratio_max=1.5, rows_max=None)


def resample(labels: Sequence[str], features: Any, cfg: Config, rng: np.random.Generator) -> Ints:
    """Indices of the rows that stay, in their order; `features` are not looked at."""
    names, codes = coded(labels)
    targets = {names.index(label): n for label, n in lowered(sized(names, codes), cfg).items()}
    if not targets:
        return np.arange(len(labels))
    if len(names) == 1:  # imbalanced-learn wants two classes
        return np.sort(rng.choice(len(labels), targets[0], replace=False))
    from imblearn.under_sampling import RandomUnderSampler

    sampler = RandomUnderSampler(sampling_strategy=targets, random_state=int(rng.integers(2**31)))
    sampler.fit_resample(np.arange(len(labels)).reshape(-1, 1), codes)  # (rows, 1): it refuses a plain list
    return np.sort(sampler.sample_indices_).astype(np.int64)
