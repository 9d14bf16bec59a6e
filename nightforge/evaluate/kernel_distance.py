"""How far samples lie from real records: the kernel distance of Bińkowski et al. 2018 (arXiv 1801.01401, §4).

The unbiased estimator of the squared maximum mean discrepancy under a cubic kernel, on features of the project's own
judge, so it compares with no figure of another extractor: the mean over subsets of a fixed number of rows, and its
interval is of those. `kernel_distance_real` is the same between records and training rows, which no model need beat.
"""

from typing import Any

import numpy as np
from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.errors import DataError
from nightforge.evaluate._array_subject import ArraySubject, Seen
from nightforge.evaluate._subject import Scores
from nightforge.judge import kernel_distance
from nightforge.stats import Interval

KIND = "array"


class Config(BaseConfig):
    """The subsets."""

    rows: int = Field(ge=2, le=10_000)
    """Of either side in a subset, drawn without replacement; all where there are fewer."""
    subsets: int = Field(ge=2, le=10_000)
    """Drawn."""


SAMPLE = Config(rows=10, subsets=20)


def measure(subject: ArraySubject, cfg: Config) -> Scores:
    """The distance with its interval, and what the features are.

    Raises:
        DataError: fewer than two records or samples.
    """
    sides = (subject.real, subject.made, subject.training)
    rows = min(cfg.rows, *(len(side.labels) for side in sides))
    if rows < 2:
        raise DataError(f"kernel_distance: expected 2 or more records, samples and training rows each, got {rows}.")
    found: dict[str, Any] = {
        name: _distance(subject, subject.real, other, rows, cfg.subsets).json()
        for name, other in (("kernel_distance", subject.made), ("kernel_distance_real", subject.training))
    }
    return Scores(found | {"kernel_distance_rows": rows, "kernel_distance_features": f"the judge: {subject.extractor}"})


def _distance(subject: ArraySubject, real: Seen, other: Seen, rows: int, subsets: int) -> Interval:
    rng = np.random.default_rng(subject.seed)
    drawn = [
        kernel_distance(
            real.features[rng.choice(len(real.features), rows, replace=False)],
            other.features[rng.choice(len(other.features), rows, replace=False)],
        )
        for _ in range(subsets)
    ]
    tail = (1 - subject.boot.level) / 2
    return Interval(float(np.mean(drawn)), *(float(q) for q in np.quantile(drawn, [tail, 1 - tail])))
