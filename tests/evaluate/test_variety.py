"""1 for as much as real records differ, 0 for samples that are all the same; twice the spread is four times."""

import numpy as np
import pytest

from nightforge.errors import DataError
from nightforge.evaluate import variety
from nightforge.evaluate._array_subject import ArraySubject


def test_ratios(array_subject: ArraySubject) -> None:
    real = array_subject.real
    assert variety.measure(array_subject._replace(made=real), variety.SAMPLE).metrics["variety"] == pytest.approx(1)
    wider = real._replace(features=real.features * 2)
    assert variety.measure(array_subject._replace(made=wider), variety.SAMPLE).metrics["variety"] == pytest.approx(4)
    same = real._replace(features=np.eye(4, dtype=np.float32)[real.labels])
    assert variety.measure(array_subject._replace(made=same), variety.SAMPLE).metrics["variety_by_label"] == {
        "one": 0, "two": 0, "three": 0
    }  # fmt: skip


def test_a_class_needs_two_of_either(array_subject: ArraySubject) -> None:
    with pytest.raises(DataError, match="two records that differ"):
        variety.measure(array_subject._replace(real=array_subject.real.first(1)), variety.SAMPLE)
