"""Repeats rows of small classes, with imbalanced-learn's RandomOverSampler (Lemaître, Nogueira, Aridas 2017, JMLR 18).

Two bounds are ours. How many copies a class gets is bounded (nightforge/balance/_targets.py). And within a class the
sampler's draw gives the order of the rows, not their number of copies (it may draw one row nine times and another
never): copies are dealt in rounds, so that two rows of a class differ by one copy at most.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nightforge.balance._targets import Copy, Ints, coded, raised, sized


class Config(Copy):
    """How many copies there may be."""


SAMPLE = Config(weights="equal", synthetic_share_max=0.3, copies_max=3)


def resample(labels: Sequence[str], features: Any, cfg: Config, rng: np.random.Generator) -> Ints:
    """Indices of all rows in their order, then of the copies; `features` are not looked at."""
    names, codes = coded(labels)
    sizes = sized(names, codes)
    copies = raised(sizes, cfg)
    rows = np.arange(len(labels))
    if not copies:
        return rows
    from imblearn.over_sampling import RandomOverSampler

    targets = {names.index(label): sizes[label] + n for label, n in copies.items()}
    sampler = RandomOverSampler(sampling_strategy=targets, random_state=int(rng.integers(2**31)))
    sampler.fit_resample(rows.reshape(-1, 1), codes)  # (rows, 1): it refuses a plain list
    drawn = sampler.sample_indices_[len(labels) :]
    dealt = [
        np.resize(_firsts(np.concatenate([drawn[codes[drawn] == at], np.flatnonzero(codes == at)])), copies[names[at]])
        for at in sorted(targets)
    ]
    return np.concatenate([rows, *dealt])


def _firsts(rows: Ints) -> Ints:
    """Each row once, where it first stands."""
    return rows[np.sort(np.unique(rows, return_index=True)[1])]
