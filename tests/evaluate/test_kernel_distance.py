"""The distance is about zero between draws of one distribution, grows as they part, and names its features."""

import pytest

from nightforge.errors import DataError
from nightforge.evaluate import kernel_distance
from nightforge.evaluate._array_subject import ArraySubject
from tests.tiny_pictures import seen

CFG = kernel_distance.Config(rows=20, subsets=50)


def test_it_grows_as_samples_part_from_real_records(array_subject: ArraySubject) -> None:
    def of(moved: float) -> dict[str, float]:
        given = array_subject._replace(real=seen(300, 1), made=seen(300, 9, moved), training=seen(300, 3))
        found: dict[str, float] = kernel_distance.measure(given, CFG).metrics["kernel_distance"]
        return found

    near, some, far = of(0.0), of(0.3), of(1.0)
    assert near["low"] < 0 < near["high"], "the estimator is unbiased, so it lies about zero"
    assert near["value"] < some["value"] < far["value"] and far["low"] > near["high"]


def test_the_features_and_the_rows_are_named(array_subject: ArraySubject) -> None:
    found = kernel_distance.measure(array_subject, kernel_distance.Config(rows=500, subsets=5)).metrics
    assert found["kernel_distance_features"] == "the judge: classifier"
    assert found["kernel_distance_rows"] == 24, "as many as there are of the fewest"
    with pytest.raises(DataError, match="expected 2 or more"):
        kernel_distance.measure(array_subject._replace(real=array_subject.real.first(1)), CFG)
