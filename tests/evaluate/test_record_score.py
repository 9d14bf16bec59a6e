"""Bits by unit, by hand; labels of too few documents are left out."""

import numpy as np
import pytest

from nightforge.evaluate import record_score
from nightforge.evaluate._array_subject import ArraySubject


def test_bits_by_unit_by_hand(array_subject: ArraySubject) -> None:
    nats = np.where(array_subject.real.labels == 0, 16 * np.log(2), 32 * np.log(2))
    found = record_score.measure(array_subject._replace(nats=nats), record_score.SAMPLE).metrics
    assert found["bpb"]["value"] == pytest.approx((1 + 2 + 2) / 3)
    assert found["by_label"]["one"]["value"] == pytest.approx(1) and found["by_label"]["two"]["low"] == pytest.approx(2)
    assert (found["records"], found["documents"], found["units"]) == (24, 12, 24 * 16)


def test_the_family_says_what_it_is_called(array_subject: ArraySubject) -> None:
    other = array_subject._replace(metric="judge_bits")
    assert "judge_bits" in record_score.measure(other, record_score.SAMPLE).metrics
    few = record_score.measure(array_subject, record_score.Config(slice_documents_min=100)).metrics
    assert few["by_label"] == {}
