"""What a metric of KIND "array" measures: a model of images or sounds, what it was scored on, and what it makes."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nightforge.stats import Bootstrap


class Seen(NamedTuple):
    """Pictures, and what the judge makes of them."""

    values: NDArray[np.float32]
    """(rows, values of a picture)"""
    labels: NDArray[np.int64]
    """What they are, or were asked to be (rows,); the number of classes where that is nothing."""
    logits: NDArray[np.float32]
    """Of the judge (rows, classes)."""
    features: NDArray[np.float32]
    """Of the judge (rows, features)."""

    def rows(self, chosen: NDArray[Any]) -> "Seen":
        """Some of them, by their numbers or by a mask."""
        return Seen(self.values[chosen], self.labels[chosen], self.logits[chosen], self.features[chosen])

    def first(self, rows: int) -> "Seen":
        """So many of them, evenly spaced."""
        return self.rows(np.unique(np.linspace(0, len(self.labels) - 1, min(rows, len(self.labels))).astype(int)))


class ArraySubject(NamedTuple):
    """A model, records that it was scored on, and what it makes."""

    metric: str
    """What its nats by unit are called."""
    extractor: str
    """What the judge is: nightforge.judge.CLASSIFIER or RANDOM_FEATURES."""
    classes: list[str]
    nats: NDArray[np.float64]
    """Of each record (rows,)."""
    units: NDArray[np.int64]
    """Of each record (rows,): its bytes, where the metric is bits per byte."""
    groups: NDArray[np.str_]
    """The document of each record (rows,): intervals draw whole documents (nightforge.stats)."""
    real: Seen
    """The records."""
    made: Seen
    """As many samples of each class as of any other."""
    training: Seen
    """What the model was trained on."""
    boot: Bootstrap
    seed: int

    def name(self, label: int) -> str:
        """Of a class; `none` of the number that means no label."""
        return self.classes[label] if label < len(self.classes) else "none"
