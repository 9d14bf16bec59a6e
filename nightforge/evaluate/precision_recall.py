"""Are samples like real records (precision), and is every kind of record made (recall)?

Kynkäänniemi et al. 2019 (arXiv 1904.06991, §2): a sample is like real ones if it lies, in the judge's features, within
the distance of some real record to its k-th nearest real neighbour; recall is the same with the roles exchanged.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.errors import DataError
from nightforge.evaluate._array_subject import ArraySubject
from nightforge.evaluate._distances import nearest, squared
from nightforge.evaluate._subject import Scores

KIND = "array"
Floats = NDArray[np.float64]


class Config(BaseConfig):
    """The neighbourhoods."""

    neighbours: int = Field(ge=1, le=100)
    """k: which neighbour bounds a neighbourhood; 3 in the paper."""
    rows: int = Field(ge=2, le=50_000)
    """Of either side at most, evenly spaced; both get as many, for recall grows with the samples."""


SAMPLE = Config(neighbours=3, rows=50)


def measure(subject: ArraySubject, cfg: Config) -> Scores:
    """Precision and recall, shares between 0 and 1.

    Raises:
        DataError: too few records or samples for k neighbours.
    """
    rows = min(cfg.rows, len(subject.real.labels), len(subject.made.labels))
    if rows <= cfg.neighbours:
        raise DataError(
            f"precision_recall: expected more than {cfg.neighbours} records and samples, got {rows}. "
            "Lower `neighbours`, or sample more."
        )
    real, made = (seen.first(rows).features for seen in (subject.real, subject.made))
    return Scores(
        {
            "precision": covered(made, real, cfg.neighbours),
            "recall": covered(real, made, cfg.neighbours),
            "precision_recall_rows": rows,
        }
    )


def covered(points: NDArray[np.float32], by: NDArray[np.float32], neighbours: int) -> float:
    """Share of points (rows, d) that lie in the neighbourhood of some other point of `by` (rows, d)."""
    radius = nearest(squared(by, by), neighbours + 1)  # the nearest is the point itself
    return float((squared(points, by) <= radius).any(axis=1).mean())
