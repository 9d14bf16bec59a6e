"""The gain is paired, in bits per byte, and above zero only for a model that is better."""

from collections.abc import Callable

import numpy as np
import pytest

from nightforge import ngram
from nightforge.evaluate import ngram_gain
from nightforge.evaluate._subject import Subject


def test_against_the_baseline_itself(subject: Subject, scored: Callable[[list[float]], Subject]) -> None:
    documents = [(r.label, r.text.encode()) for r in subject.records]
    nats = ngram.document_nats(ngram.fit(documents, 3), documents)
    same = ngram_gain.measure(scored(nats.tolist()), ngram_gain.SAMPLE)
    assert same.metrics["gain_over_ngram_bpb"] == pytest.approx({"value": 0, "low": 0, "high": 0})
    np.testing.assert_allclose(same.columns["ngram_nats"], nats)
    better = ngram_gain.measure(scored((nats - subject.bytes * np.log(2) / 4).tolist()), ngram_gain.SAMPLE)
    assert better.metrics["gain_over_ngram_bpb"] == pytest.approx({"value": 0.25, "low": 0.25, "high": 0.25})
    assert better.metrics["ngram_bpb"] == pytest.approx(nats.sum() / subject.bytes.sum() / np.log(2))


def test_random_weights_lose(subject: Subject) -> None:
    assert ngram_gain.measure(subject, ngram_gain.SAMPLE).metrics["gain_over_ngram_bpb"]["high"] < 0
