"""A tiny subject of pictures, as evaluate_array hands it to a metric: what was scored, and what was made."""

import numpy as np

from nightforge.evaluate._array_subject import ArraySubject, Seen
from nightforge.judge import CLASSIFIER
from nightforge.stats import Bootstrap

CLASSES = ["one", "two", "three"]


def seen(rows: int, seed: int, moved: float = 0.0) -> Seen:
    """Pictures around a centre for each class, which the judge reads right where the second feature says so."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % 3
    features = (rng.normal(size=(rows, 4)) * 0.3 + np.eye(4)[labels] * 3 + moved).astype(np.float32)
    values = np.tanh(np.concatenate([features, rng.normal(size=(rows, 12))], axis=1)).astype(np.float32)
    return Seen(values, labels, features[:, :3], features)


def subject() -> ArraySubject:
    """A model that makes pictures much like the real ones."""
    real = seen(24, 1)
    return ArraySubject(
        metric="bpb",
        extractor=CLASSIFIER,
        classes=CLASSES,
        nats=np.random.default_rng(5).gamma(9, 2, 24),
        units=np.full(24, 16),
        groups=np.array([f"d{i // 2}" for i in range(24)]),
        real=real,
        made=seen(30, 2, moved=0.1),
        training=seen(60, 3),
        boot=Bootstrap(resamples=200, level=0.9),
        seed=1,
    )
