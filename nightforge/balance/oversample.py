"""Repeats rows of small classes, with imbalanced-learn's RandomOverSampler (Lemaître, Nogueira, Aridas 2017, JMLR 18).

Two bounds are ours. The copies are shared out as water fills a vessel: the smallest class rises first, then it and the
next together, until the copies allowed are used up, and no class rises beyond `copies_max` of each row. And within a
class the sampler's draw gives the order of the rows, not their number of copies (it may draw one row nine times and
another never): copies are dealt in rounds, so that two rows of a class differ by one copy at most.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from nightforge import config


class Config(config.Config):
    """How many copies there may be."""

    synthetic_share_max: float = Field(ge=0, lt=1)
    """Largest share of copies in what results."""
    copies_max: int = Field(ge=1, le=100)
    """Most copies of one row."""


SAMPLE = Config(synthetic_share_max=0.3, copies_max=3)


def resample(labels: Sequence[str], features: Any, cfg: Config, rng: np.random.Generator) -> list[int]:
    """Indices of all rows in their order, then of the copies; `features` are not looked at."""
    sizes = Counter(labels)
    allowed = int(cfg.synthetic_share_max / (1 - cfg.synthetic_share_max) * len(labels))
    copies = filled(dict(sizes), allowed, cfg.copies_max)
    targets = {label: sizes[label] + n for label, n in copies.items() if n}
    rows = list(range(len(labels)))
    if not targets:
        return rows
    from imblearn.over_sampling import RandomOverSampler

    sampler = RandomOverSampler(sampling_strategy=targets, random_state=int(rng.integers(2**31)))
    index = np.arange(len(labels)).reshape(-1, 1)  # (rows, 1)
    sampler.fit_resample(index, np.asarray(labels))
    drawn = [int(i) for i in sampler.sample_indices_[len(labels) :]]
    return rows + [row for label in targets for row in _dealt(drawn, labels, label, copies[label])]


def filled(sizes: dict[str, int], allowed: int, copies_max: int) -> dict[str, int]:
    """Copies for each class: levels are raised from the smallest class up until `allowed` copies are used.

    No class rises above the largest, nor beyond `copies_max` copies of each row.
    """
    top = max(sizes.values(), default=0)
    ceiling = {label: min(top, size * (1 + copies_max)) for label, size in sizes.items()}

    def needed(level: int) -> int:
        return sum(max(0, min(level, ceiling[label]) - size) for label, size in sizes.items())

    low, high = 0, top  # the highest level that `allowed` copies reach
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if needed(middle) <= allowed else (low, middle - 1)
    copies = {label: max(0, min(low, ceiling[label]) - size) for label, size in sizes.items()}
    spare = allowed - sum(copies.values())
    for label in sorted(sizes, key=lambda name: (sizes[name], name)):  # what no whole level could use
        if spare and sizes[label] + copies[label] == low < ceiling[label]:
            copies[label] += 1
            spare -= 1
    return copies


def _dealt(drawn: list[int], labels: Sequence[str], label: str, copies: int) -> list[int]:
    """So many copies of the rows of one class, in rounds; rows drawn come first in the last round."""
    order = list(
        dict.fromkeys([i for i in drawn if labels[i] == label] + [i for i, x in enumerate(labels) if x == label])
    )
    return [order[n % len(order)] for n in range(copies)]
