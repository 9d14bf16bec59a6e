"""Share of samples that the judge, which knows real pictures alone, reads as the class that they were asked to be.

Ravuri & Vinyals 2019 (arXiv 1905.10887) with the roles exchanged: the classifier sees real data, and is asked about
samples. What it says of real records is the most that can be expected.
"""

from typing import Any

import numpy as np

from nightforge import stats
from nightforge.config import Config as BaseConfig
from nightforge.errors import ConfigError
from nightforge.evaluate._array_subject import ArraySubject, Seen
from nightforge.evaluate._subject import Scores
from nightforge.judge import CLASSIFIER

KIND = "array"


class Config(BaseConfig):
    """No values: the judge is trained by the stage `judge`."""


SAMPLE = Config()


def measure(subject: ArraySubject, cfg: Config) -> Scores:
    """Shares with intervals: of samples, by label, and of real records.

    Raises:
        ConfigError: the records have one label or none, so nothing can be told apart.
        DataError: no samples.
    """
    if subject.extractor != CLASSIFIER:
        raise ConfigError(
            f"evaluate: judged: expected a judge that is a {CLASSIFIER}, got {subject.extractor}: the records have one "
            "label or none. Take judged out of the metrics."
        )
    made, real = subject.made, subject.real
    by_label = {
        subject.name(int(label)): _share(subject, made.rows(made.labels == label)) for label in np.unique(made.labels)
    }
    known = real.rows(real.labels < len(subject.classes))
    found: dict[str, Any] = {"judged": _share(subject, made), "judged_by_label": by_label}
    if len(known.labels):
        found["judged_real"] = _share(subject, known)
    return Scores(found | {"samples": len(made.labels)})


def _share(subject: ArraySubject, seen: Seen) -> dict[str, float]:
    right = (seen.logits.argmax(axis=1) == seen.labels).astype(float)
    each = np.arange(len(right))
    return stats.ratio(right, np.ones(len(right)), each, subject.boot, subject.seed).json()
