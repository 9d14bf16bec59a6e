"""Do samples of one class differ as much as real records of it do? 1 says as much, 0 that they are all the same.

The mean squared distance of two of one class in the judge's features, of samples over that of real records, as the
intra-class variety of Zhang et al. 2019 (SAGAN, arXiv 1805.08318, §4); by their features instead of LPIPS.
"""

import numpy as np
from numpy.typing import NDArray

from nightforge.config import Config as BaseConfig
from nightforge.errors import DataError
from nightforge.evaluate._array_subject import ArraySubject, Seen
from nightforge.evaluate._subject import Scores

KIND = "array"


class Config(BaseConfig):
    """No values."""


SAMPLE = Config()


def measure(subject: ArraySubject, cfg: Config) -> Scores:
    """The ratio over all classes, and by class.

    Raises:
        DataError: no class has two records that differ, and two samples.
    """
    ratios = {}
    for label in np.unique(subject.made.labels):
        real, made = (_spread(seen, int(label)) for seen in (subject.real, subject.made))
        if real and made is not None:
            ratios[subject.name(int(label))] = made / real
    if not ratios:
        raise DataError("variety: expected a class with two records that differ, and two samples; got none.")
    return Scores({"variety": float(np.mean(list(ratios.values()))), "variety_by_label": ratios})


def _spread(seen: Seen, label: int) -> float | None:
    """Mean squared distance of two rows of a class: twice the unbiased variance; none of fewer than two."""
    rows: NDArray[np.float64] = seen.features[seen.labels == label].astype(np.float64)
    return float(2 * rows.var(axis=0, ddof=1).sum()) if len(rows) > 1 else None
