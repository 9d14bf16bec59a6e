"""Thins the largest classes, with imbalanced-learn's RandomUnderSampler (Lemaître, Nogueira, Aridas 2017, JMLR 18)."""

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
from pydantic import Field

from nightforge import config


class Config(config.Config):
    """How far a class may stand out."""

    median_ratio_max: float = Field(ge=1)
    """Largest size of a class ÷ median size of the classes."""


SAMPLE = Config(median_ratio_max=1.5)


def resample(labels: Sequence[str], features: Any, cfg: Config, rng: np.random.Generator) -> list[int]:
    """Indices of the rows that stay, in their order; `features` are not looked at."""
    sizes = Counter(labels)
    cap = int(cfg.median_ratio_max * median(sizes.values())) if sizes else 0
    targets = {label: cap for label, size in sizes.items() if size > cap}
    if not targets:
        return list(range(len(labels)))
    from imblearn.under_sampling import RandomUnderSampler

    sampler = RandomUnderSampler(sampling_strategy=targets, random_state=int(rng.integers(2**31)))
    index = np.arange(len(labels)).reshape(-1, 1)  # (rows, 1)
    sampler.fit_resample(index, np.asarray(labels))
    return sorted(int(i) for i in sampler.sample_indices_)
