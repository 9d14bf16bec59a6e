"""Are samples copies of training pictures? How near each lies to its nearest one, against how near new real ones do.

Meehan et al. 2020 (arXiv 2004.05675): what generalises lies as far from its training set as held-out data does.
Distances are of the pictures themselves, root mean square by value. A ratio far below 1 says that samples are copies,
or that they are all alike and smooth; the share of copies tells which.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.evaluate._array_subject import ArraySubject
from nightforge.evaluate._distances import nearest, squared
from nightforge.evaluate._subject import Scores

KIND = "array"


class Config(BaseConfig):
    """What a copy is."""

    copy_distance: float = Field(ge=0, le=2)
    """Root mean square distance, of values in −1 … 1, below which a sample is a copy of a training picture."""


SAMPLE = Config(copy_distance=0.05)


def measure(subject: ArraySubject, cfg: Config) -> Scores:
    """Median distances of samples and of real records to the nearest training picture, their ratio, and copies."""
    made, real = (_nearest(values, subject.training.values) for values in (subject.made.values, subject.real.values))
    return Scores(
        {
            "nearest_training_distance": float(np.median(made)),
            "nearest_training_distance_real": float(np.median(real)),
            "nearest_training_ratio": float(np.median(made) / max(np.median(real), 1e-12)),
            "copied_share": float((made < cfg.copy_distance).mean()),
        }
    )


def _nearest(values: NDArray[np.float32], training: NDArray[np.float32]) -> NDArray[np.float64]:
    parts = [nearest(squared(values[at : at + 256], training), 1) for at in range(0, len(values), 256)]
    return np.asarray(np.sqrt(np.concatenate(parts) / values.shape[1]))
