"""What a record costs, by unit and in bits, over all records and by label, each with its interval.

The family says what that is called: `bpb` is bits per byte of the stored levels (van den Oord et al. 2016, *Pixel
Recurrent Neural Networks*, §5.1, there bits per dimension), of a bound where a family knows no more than one.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nightforge import stats
from nightforge.config import Config as BaseConfig
from nightforge.evaluate._array_subject import ArraySubject
from nightforge.evaluate._subject import Scores
from nightforge.scoring import LN2

KIND = "array"


class Config(BaseConfig):
    """How records are sliced."""

    slice_documents_min: int = Field(ge=1)
    """Labels of fewer documents are left out: their intervals would say nothing."""


SAMPLE = Config(slice_documents_min=1)


def measure(subject: ArraySubject, cfg: Config) -> Scores:
    """Bits by unit with intervals.

    Raises:
        DataError: no records.
    """
    everything = np.ones(len(subject.nats), dtype=bool)
    slices = {int(label): subject.real.labels == label for label in np.unique(subject.real.labels)}
    documents = {label: len(np.unique(subject.groups[rows])) for label, rows in slices.items()}
    return Scores(
        {
            subject.metric: _bits(subject, everything).json(),
            "by_label": {
                subject.name(label): _bits(subject, rows).json() | {"documents": documents[label]}
                for label, rows in slices.items()
                if documents[label] >= cfg.slice_documents_min
            },
            "documents": len(np.unique(subject.groups)),
            "records": len(subject.nats),
            "units": int(subject.units.sum()),
        }
    )


def _bits(subject: ArraySubject, rows: NDArray[np.bool_]) -> stats.Interval:
    columns = (subject.nats[rows], subject.units[rows], subject.groups[rows])
    return stats.ratio(*columns, subject.boot, subject.seed).scaled(1 / LN2)
