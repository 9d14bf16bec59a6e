"""Documents as a training set: cut, padded, masked; and the loss masked by hand is the loop's."""

import pytest
import torch

from nightforge import loop, tokenizer
from nightforge.corpus import corpus
from nightforge.errors import DataError
from nightforge.records import Record, pair_text
from nightforge.scoring import END, GIVEN, IGNORE, TEXT, Encoded
from nightforge.train import causal_lm
from nightforge.training import Stepped, Turn
from tests import training_contracts

PAIRS = [(f"what is {a}?", f"{a} is a {b} of the tropics") for a in ("oak", "fern") for b in ("tree", "herb", "shrub")]
RECORDS = [Record(id=q, text=pair_text(q, a), prompt=q, response=a) for q, a in PAIRS]
WORDS = tokenizer.train([r.text for r in RECORDS], [], 300, 64)


def plain(*ids: int) -> Encoded:
    """A label, tokens of a text, an end."""
    return Encoded(list(ids), [GIVEN, *[TEXT] * (len(ids) - 2), END])


def test_a_long_document_is_cut_and_a_batch_is_padded() -> None:
    data = corpus([plain(7, *range(10), 1), plain(7, 2, 1)], context=5)
    assert data.sizes.tolist() == [5, 5, 4, 3] and (data.cut, data.mute) == (1, 0)
    batch = data.batch([0, 3])
    assert batch.tensors["ids"].tolist() == [[7, 0, 1, 2, 3], [7, 2, 1, IGNORE, IGNORE]]
    assert batch.tensors["targets"].tolist() == [[IGNORE, 0, 1, 2, 3], [IGNORE, 2, 1, IGNORE, IGNORE]]
    assert batch.units == 6


def test_of_a_pair_only_the_response_is_a_target() -> None:
    pair = Encoded([7, 5, 6, 2, 3, 1], [GIVEN, GIVEN, GIVEN, TEXT, TEXT, END])
    whole = corpus([pair], 8)
    assert whole.batch([0]).tensors["targets"].tolist() == [[IGNORE, IGNORE, IGNORE, 2, 3, 1]]
    assert whole.batch([0]).units == 3
    cut = corpus([pair], 3)  # (7, 5, 6), which teaches nothing, (7, 2, 3) and (7, 1)
    assert cut.ids.tolist() == [7, 2, 3, 7, 1] and (cut.cut, cut.mute) == (1, 1)


@pytest.mark.parametrize("documents", [[], [Encoded([7, 5], [GIVEN, GIVEN])]])
def test_nothing_to_learn_is_said(documents: list[Encoded]) -> None:
    with pytest.raises(DataError, match=f"got none \\({len(documents)} without\\)"):
        corpus(documents, 5)


def test_the_loss_masked_by_hand_is_the_loops() -> None:
    documents = list(tokenizer.encode_all(WORDS, RECORDS))
    torch.manual_seed(5)
    model = causal_lm.build(causal_lm.SAMPLE, WORDS)
    nats, count = 0.0, 0
    for record, document in zip(RECORDS, documents, strict=True):
        with torch.inference_mode():
            log_p = model(torch.tensor([document.ids])).logits[0].double().log_softmax(-1)
        begin = len(WORDS(f"<|label:none|>{record.prompt}\n")["input_ids"])
        for at in range(begin, len(document.ids)):  # the response, and the end
            nats -= float(log_p[at - 1, document.ids[at]])
            count += 1
    settings = training_contracts.settings(steps=1, batch_size=10_000, eval_every=1, patience=1)
    turn = Turn("", "", lambda net, tensors, at: causal_lm.loss(net, tensors, causal_lm.SAMPLE, at))
    run = loop.start(model, [turn], settings, 3, "fp32")
    (step,) = [e for e in loop.steps(run, corpus(documents, 64), lambda _: 1.0) if isinstance(e, Stepped)]
    assert step.units == count
    assert step.loss == pytest.approx(nats / count, rel=1e-6)
