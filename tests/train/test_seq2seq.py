"""Prompts into the encoder, responses out of the decoder: cut where they meet, scored as by hand, and learnt."""

from pathlib import Path

import pytest
import torch

from nightforge import loop, models, tokenizer
from nightforge.corpus import corpus
from nightforge.errors import ConfigError
from nightforge.records import Record, pair_text
from nightforge.scoring import GIVEN, IGNORE, TEXT, Encoded
from nightforge.train import seq2seq
from nightforge.training import Stepped, Turn
from tests import training_contracts

PAIRS = [(f"what is {a}?", f"{a} is a {b}") for a, b in (("oak", "tree"), ("moss", "plant"), ("heron", "bird"))] * 4
RECORDS = [Record(f"{q}{i}", pair_text(q, a), prompt=q, response=a) for i, (q, a) in enumerate(PAIRS)]
WORDS = tokenizer.train([r.text for r in RECORDS], [], 300, 64)


def test_a_row_is_cut_where_its_last_response_begins() -> None:
    x = IGNORE
    ids = torch.tensor([[9, 4, 5, 6, 1], [9, 7, 1, x, x], [9, 3, 1, 8, 2]])
    targets = torch.tensor([[x, x, 5, 6, 1], [x, 7, 1, x, x], [x, 3, x, 8, x]])
    source, mask, written = seq2seq.halves(ids, targets)
    assert source.tolist() == [[9, 4, 0], [9, 0, 0], [9, 3, 1]]
    assert mask.tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 1]]
    assert written.tolist() == [[5, 6, 1], [7, 1, x], [8, x, x]]


def model() -> torch.nn.Module:
    torch.manual_seed(3)
    built: torch.nn.Module = seq2seq.build(seq2seq.SAMPLE, WORDS)
    return built


def test_nats_by_hand_and_alone_as_in_company() -> None:
    net, documents = model().eval(), list(tokenizer.encode_all(WORDS, RECORDS))
    got = seq2seq.nats(net, documents, 4096, 64)
    for document, nats in zip(documents[:3], got, strict=False):
        text = [i for i, mark in zip(document.ids, document.marks, strict=True) if mark == TEXT]
        with torch.inference_mode():
            out = net(input_ids=torch.tensor([document.condition]), decoder_input_ids=torch.tensor([[0, *text[:-1]]]))
        log_p = out.logits[0].double().log_softmax(-1)
        assert nats == pytest.approx(-float(log_p[range(len(text)), text].sum()), rel=1e-5)
    assert seq2seq.nats(net, documents[2:3], 8, 64)[0] == pytest.approx(got[2], rel=1e-5)
    assert seq2seq.nats(net, [Encoded([3, 4], [GIVEN, GIVEN])], 8, 64).tolist() == [0]


def test_it_learns_pairs_and_answers() -> None:
    settings = training_contracts.settings(
        steps=120,
        batch_size=10_000,
        eval_every=120,
        patience=1,
        schedule=training_contracts.constant(),
        optimizer={**training_contracts.ADAMW, "lr": 0.01},
    )
    turn = Turn("", "", lambda net, tensors, at: seq2seq.loss(net, tensors, seq2seq.SAMPLE, at))
    run = loop.start(model(), [turn], settings, 3, "fp32")
    steps = [
        e
        for e in loop.steps(run, corpus(tokenizer.encode_all(WORDS, RECORDS), 64), lambda _: 1.0)
        if isinstance(e, Stepped)
    ]
    assert steps[-1].loss < 0.1 < steps[0].loss
    prompts = [document.condition for document in tokenizer.encode_all(WORDS, RECORDS[:3])]
    said = seq2seq.sample(run.model.eval(), prompts, 20, 0.1, 0.5, 1)
    assert [WORDS.decode(ids) for ids in said] == [answer for _, answer in PAIRS[:3]]


def test_the_folder_is_read_back(tmp_path: Path) -> None:
    net = model().eval()
    facts = {"family": "seq2seq", "class": seq2seq.CLASS, "context_length": 64}
    models.save(tmp_path, net, WORDS, facts)
    loaded = models.load(tmp_path)
    documents = list(tokenizer.encode_all(loaded.tokenizer, RECORDS[:3]))
    assert loaded.context == 64
    assert seq2seq.nats(loaded.model, documents, 99, 64).tolist() == seq2seq.nats(net, documents, 99, 64).tolist()


def test_a_shape_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"heads that divide hidden \(32\), got 3"):
        seq2seq.build(seq2seq.SAMPLE.model_copy(update={"heads": 3}), WORDS)
