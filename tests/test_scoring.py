"""Nats per document: by hand, and the same however documents are batched."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from nightforge import models, scoring, tokenizer
from nightforge.records import Record, content_id
from nightforge.scoring import END, GIVEN, TEXT
from nightforge.train import causal_lm

VOCAB = 5


def record(text: str, label: str | None = "plant") -> Record:
    return Record(id=content_id(text, label), text=text, label=label)


def table_logits(input_ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A bigram model: after token t, token w has probability ∝ 1 + (t · w mod 5); padding gets nonsense."""
    p = 1.0 + (input_ids[..., None] * np.arange(VOCAB)) % VOCAB
    return np.where(mask[..., None] == 1, np.log(p), np.nan)


def plain(*ids: int) -> scoring.Encoded:
    """A label, tokens of a text, an end."""
    return scoring.Encoded(list(ids), [GIVEN, *[TEXT] * (len(ids) - 2), END])


def bigram_nats(document: list[int]) -> float:
    nats = 0.0
    for t, w in pairwise(document[:-1]):  # the label conditions, the end is not counted
        p = [1.0 + (t * v) % VOCAB for v in range(VOCAB)]
        nats -= math.log(p[w] / sum(p))
    return nats


def test_by_hand() -> None:
    # label 1, text (2, 3), end 0: p(2 | 1) = 3/15; p(3 | 2) = (1 + 6 mod 5)/(1+3+5+2+4) = 2/15
    got = scoring.document_nats(table_logits, [plain(1, 2, 3, 0)], batch_tokens=64, context=16)
    np.testing.assert_allclose(got, [-math.log(3 / 15) - math.log(2 / 15)], rtol=1e-6)


def test_of_a_pair_the_response_alone_is_counted() -> None:
    # label 1, prompt (2, 3), response (4, 2), end 0: p(4 | 3) = (1 + 12 mod 5)/(1+4+2+5+3), p(2 | 4) = (1 + 8 mod 5)/15
    pair = scoring.Encoded([1, 2, 3, 4, 2, 0], [GIVEN, GIVEN, GIVEN, TEXT, TEXT, END])
    for context, last in ((16, 4), (3, 3)):  # cut to 3, the second row is (1, 2): p(2 | 1) = (1 + 2)/15
        got = scoring.document_nats(table_logits, [pair], batch_tokens=64, context=context)
        np.testing.assert_allclose(got, [-math.log(3 / 15) - math.log(last / 15)], rtol=1e-6)
    unanswered = scoring.Encoded([1, 2, 3], [GIVEN] * 3)
    assert scoring.document_nats(table_logits, [unanswered, pair], 64, 16)[0] == 0
    assert pair.condition == [1, 2, 3] and unanswered.condition == [1, 2, 3]


def test_padding_and_batching_change_nothing() -> None:
    rng = np.random.default_rng(0)
    documents = [[1, *rng.integers(0, VOCAB, n).tolist(), 0] for n in (7, 1, 0, 19, 3, 3)]
    want = [bigram_nats(d) for d in documents]
    for batch_tokens in (1, 8, 30, 1000):
        got = scoring.document_nats(table_logits, [plain(*d) for d in documents], batch_tokens, context=32)
        np.testing.assert_allclose(got, want, rtol=1e-5)


def test_a_long_document_is_scored_in_pieces_that_begin_with_its_label() -> None:
    long = [1, 2, 3, 4, 2, 3, 0]
    whole = [[1, 2, 3, 0], [1, 4, 2, 0], [1, 3, 0]]  # the same text in documents of two tokens
    got = scoring.document_nats(table_logits, [plain(*long)], batch_tokens=64, context=2)
    np.testing.assert_allclose(got, [sum(map(bigram_nats, whole))], rtol=1e-6)


def test_pieces_keep_every_token_once() -> None:
    document = [9, *range(20), 8]
    for context in (2, 5, 21, 22, 100):
        cut = scoring.pieces(document, context)
        assert all(len(p) <= context and p[0] == 9 for p in cut)
        assert [t for p in cut for t in p[1:]] == document[1:]


def test_batches_hold_every_row_once_within_the_bound() -> None:
    lengths = [3, 9, 1, 1, 7, 20, 2]
    got = list(scoring.batches(lengths, 12))
    assert sorted(i for b in got for i in b) == list(range(7))
    assert all(len(b) == 1 or len(b) * max(lengths[i] for i in b) <= 12 for b in got)


def test_a_network_scores_the_same_alone_and_in_company() -> None:
    words = tokenizer.train(["a tall tree", "a small herb of the tropics"], {"plant", "food"}, 300, 32)
    torch.manual_seed(0)
    model = causal_lm.build(causal_lm.SAMPLE.model_copy(update={"vocab": len(words)}), words).eval()
    texts = ["a tall tree", "herb", "", "a small tree of the tropics, tall as a herb", "naïve ☕"]
    documents = [tokenizer.encode(words, record(t)) for t in texts]
    fn = models.logits_fn(model)
    together = scoring.document_nats(fn, documents, 4096, 64)
    alone = [scoring.document_nats(fn, [d], 4096, 64)[0] for d in documents]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    assert together[2] == 0
    first = documents[0].ids
    ids = torch.tensor([first])
    with torch.inference_mode():
        p = model(ids).logits.log_softmax(-1)[0]
    by_hand = -sum(p[i, first[i + 1]].item() for i in range(len(first) - 2))
    assert together[0] == pytest.approx(by_hand, rel=1e-5)


def test_bytes_and_tokens_of_texts() -> None:
    assert scoring.text_bytes(["é", "ab", ""]).tolist() == [2, 2, 0]
    assert scoring.text_tokens([plain(1, 5, 6, 0), plain(1, 0)]).tolist() == [2, 0]
