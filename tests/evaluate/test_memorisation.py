"""Copies lie at no distance from training, new records farther; by hand."""

import numpy as np
import pytest

from nightforge.evaluate import memorisation
from nightforge.evaluate._array_subject import ArraySubject


def test_copies_are_found(array_subject: ArraySubject) -> None:
    copies = array_subject.training.first(10)
    found = memorisation.measure(array_subject._replace(made=copies), memorisation.SAMPLE).metrics
    assert found["copied_share"] == 1 and found["nearest_training_ratio"] < 0.01
    honest = memorisation.measure(array_subject, memorisation.SAMPLE).metrics
    assert honest["copied_share"] == 0 and 0.7 < honest["nearest_training_ratio"] < 1.4


def test_distances_by_hand(array_subject: ArraySubject) -> None:
    zero, ones = np.zeros((1, 16), np.float32), np.ones((1, 16), np.float32)
    training = array_subject.training._replace(values=np.concatenate([zero, ones * 0.5]))
    given = array_subject._replace(
        training=training, made=array_subject.made._replace(values=ones), real=array_subject.real._replace(values=-ones)
    )
    found = memorisation.measure(given, memorisation.SAMPLE).metrics
    assert found["nearest_training_distance"] == pytest.approx(0.5)
    assert found["nearest_training_distance_real"] == pytest.approx(1)
