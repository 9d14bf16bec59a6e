"""Neighbourhoods by hand, and the two ways in which samples can be wrong."""

import numpy as np

from nightforge.evaluate import precision_recall
from nightforge.evaluate._array_subject import ArraySubject


def test_neighbourhoods_by_hand() -> None:
    by = np.array([[0.0], [1.0], [3.0]], np.float32)  # to the nearest other: 1, 1 and 2
    points = np.array([[-0.9], [-1.1], [1.9], [4.9], [5.1]], np.float32)
    assert precision_recall.covered(points, by, 1) == 3 / 5
    assert precision_recall.covered(by, by, 1) == 1


def test_one_mode_is_precise_and_covers_little_noise_neither(array_subject: ArraySubject) -> None:
    cfg = precision_recall.Config(neighbours=3, rows=100)
    real = array_subject.real
    one = real._replace(features=np.repeat(real.features[:1], 24, axis=0) + np.linspace(0, 1e-3, 24)[:, None])
    found = precision_recall.measure(array_subject._replace(made=one), cfg).metrics
    assert found["precision"] == 1 and found["recall"] < 0.2
    noise = real._replace(features=real.features + 100)
    found = precision_recall.measure(array_subject._replace(made=noise), cfg).metrics
    assert (found["precision"], found["recall"], found["precision_recall_rows"]) == (0, 0, 24)
