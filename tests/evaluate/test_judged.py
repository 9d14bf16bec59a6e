"""The share of samples that are read as what they should be, by hand; without labels there is nothing to read."""

import numpy as np
import pytest

from nightforge.errors import ConfigError
from nightforge.evaluate import judged
from nightforge.evaluate._array_subject import ArraySubject


def test_shares_by_hand(array_subject: ArraySubject) -> None:
    logits = np.eye(3, dtype=np.float32)[array_subject.made.labels]
    logits[array_subject.made.labels == 2] = [1, 0, 0]  # each of the third class is read as the first
    made = array_subject.made._replace(logits=logits)
    found = judged.measure(array_subject._replace(made=made), judged.SAMPLE).metrics
    assert found["judged"]["value"] == pytest.approx(2 / 3)
    assert found["judged"]["low"] < 2 / 3 < found["judged"]["high"]
    assert [found["judged_by_label"][name]["value"] for name in ("one", "two", "three")] == [1, 1, 0]
    assert found["samples"] == 30 and found["judged_real"]["value"] == 1


def test_records_of_no_label_are_not_asked_about(array_subject: ArraySubject) -> None:
    real = array_subject.real._replace(labels=np.where(np.arange(24) < 12, 3, array_subject.real.labels))
    assert judged.measure(array_subject._replace(real=real), judged.SAMPLE).metrics["judged_real"]["value"] == 1


def test_a_judge_that_learnt_no_labels_is_refused(array_subject: ArraySubject) -> None:
    with pytest.raises(ConfigError, match="expected a judge that is a classifier, got random features"):
        judged.measure(array_subject._replace(extractor="random features"), judged.SAMPLE)
