"""What is measured of a model, one file a metric: `measure(subject, cfg) -> Scores`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nightforge.knowledge import Cloze
from nightforge.models import Loaded
from nightforge.records import Record
from nightforge.stats import Bootstrap


class Subject(NamedTuple):
    """A model, and documents that it was scored on."""

    loaded: Loaded
    records: list[Record]
    nats: NDArray[np.float64]
    """Of each record's text (texts,), see nightforge.scoring."""
    tokens: NDArray[np.int64]
    """Of what is scored of each record (texts,)."""
    bytes: NDArray[np.int64]
    """UTF-8 bytes of what is scored of each record (texts,), see nightforge.records.written."""
    groups: NDArray[np.str_]
    """The document of each record (texts,): intervals draw whole documents (nightforge.stats)."""
    training: Callable[[], Iterable[Record]]
    """Streams the documents that the model was trained on."""
    boot: Bootstrap
    seed: int
    questions: Sequence[Cloze] = ()
    """About facts, see nightforge.knowledge."""
    before: Loaded | None = None
    """The model that training began from; none where it began from scratch."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What a metric found."""

    metrics: dict[str, Any]
    """Goes into metrics/evaluate.json; no two metrics share a key."""
    columns: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """A value a record, (texts,) each."""
    samples: list[dict[str, Any]] = field(default_factory=list)
    """Texts that the model wrote, for a person to read."""
