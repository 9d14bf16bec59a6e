"""Intervals by the cluster bootstrap: whole documents are drawn again, for texts of one document are not independent.

A text is one row of every column; `groups` names the document of each (nightforge.records.document).

Efron & Tibshirani, *An Introduction to the Bootstrap* (1993), ch. 13 (percentile interval) and 8.3 (clusters).
A comparison draws the same documents for both sides (paired), which removes the variance that the documents share.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from nightforge.config import Config
from nightforge.errors import DataError

Floats = NDArray[np.float64]
DRAWS_PER_CHUNK = 1 << 21
"""Bounds the memory of the bootstrap: 2²¹ indices and values at a time are about 50 MB, however many documents."""


class Bootstrap(Config):
    """How intervals are drawn."""

    resamples: int = Field(ge=100, le=1_000_000)
    """Times that the documents are drawn again."""
    level: float = Field(gt=0.5, lt=1)
    """Confidence level of the two-sided interval, such as 0.95."""


class Interval(NamedTuple):
    """A point estimate and the two-sided interval around it."""

    value: float
    low: float
    high: float

    def scaled(self, factor: float) -> "Interval":
        """The interval in another unit; `factor` is positive."""
        return Interval(*(v * factor for v in self))

    def json(self) -> dict[str, float]:
        """As it stands in metrics files."""
        return self._asdict()


def ratio(numerator: ArrayLike, denominator: ArrayLike, groups: ArrayLike, boot: Bootstrap, seed: int) -> Interval:
    """Σ numerator / Σ denominator over texts, such as nats over bytes; all (texts,).

    Raises:
        DataError: no documents, or a denominator that sums to nothing.
    """
    return _interval([numerator, denominator], groups, lambda s: s[..., 0] / s[..., 1], boot, seed)


def difference(
    new: ArrayLike, old: ArrayLike, denominator: ArrayLike, groups: ArrayLike, boot: Bootstrap, seed: int
) -> Interval:
    """(Σ new − Σ old) / Σ denominator, paired on the same documents; all (texts,).

    Raises:
        DataError: no documents, or a denominator that sums to nothing.
    """
    return _interval([new, old, denominator], groups, lambda s: (s[..., 0] - s[..., 1]) / s[..., 2], boot, seed)


def loss_share(new: ArrayLike, old: ArrayLike, groups: ArrayLike, boot: Bootstrap, seed: int) -> Interval:
    """Σ new / Σ old − 1, paired on the same documents; 0.01 says that `new` is 1% worse. All (texts,).

    Raises:
        DataError: no documents, or an `old` that sums to nothing.
    """
    return _interval([new, old], groups, lambda s: s[..., 0] / s[..., 1] - 1, boot, seed)


def _interval(
    columns: Sequence[ArrayLike], groups: ArrayLike, statistic: Callable[[Floats], Any], boot: Bootstrap, seed: int
) -> Interval:
    """The statistic of the column sums (columns last), on the documents as they are and on each resample."""
    table = document_sums(columns, groups)
    if not len(table) or table[:, -1].sum() <= 0:
        raise DataError(
            f"an interval needs documents with a positive total to divide by; got {len(table)} documents. "
            "Give the split or the slice more documents."
        )
    estimates = statistic(resampled_sums(table, boot.resamples, seed))
    tail = (1 - boot.level) / 2
    low, high = np.quantile(estimates, [tail, 1 - tail])
    return Interval(float(statistic(table.sum(axis=0))), float(low), float(high))


def document_sums(columns: Sequence[ArrayLike], groups: ArrayLike) -> Floats:
    """Sums of columns (texts,) over the texts of each document: (documents, columns), by the documents' names."""
    names, owner = np.unique(np.asarray(groups), return_inverse=True)
    return np.column_stack([np.bincount(owner, np.asarray(c, dtype=np.float64), len(names)) for c in columns])


def resampled_sums(table: Floats, resamples: int, seed: int) -> Floats:
    """Column sums of `table` (documents, columns) over documents drawn with replacement: (resamples, columns)."""
    rng = np.random.default_rng(seed)
    n = len(table)
    rows = max(1, DRAWS_PER_CHUNK // n)
    sums = np.empty((resamples, table.shape[1]))
    for start in range(0, resamples, rows):
        drawn = rng.integers(0, n, (min(rows, resamples - start), n), dtype=np.int32)
        for column in range(table.shape[1]):
            sums[start : start + len(drawn), column] = table[:, column][drawn].sum(axis=1)
    return sums
