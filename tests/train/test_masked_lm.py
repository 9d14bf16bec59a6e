"""A network that fills gaps: masked as BERT's, scored in passes, and read by the augmenter that needs one."""

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from nightforge import loop, models, tokenizer
from nightforge.augment import contextual
from nightforge.corpus import corpus
from nightforge.records import Record
from nightforge.scoring import GIVEN, IGNORE, TEXT, Encoded
from nightforge.train import masked_lm
from nightforge.training import At, Stepped, Turn
from tests import training_contracts
from tests.tiny_encoder import lay

TEXTS = [f"the {size} {kind} stands on the {place}" for size in ("tall", "small", "green")
         for kind in ("tree", "herb", "fern") for place in ("hill", "shore")]  # fmt: skip
BARE = tokenizer.train(TEXTS, {"plant"}, 400, 64)
RECORDS = [Record(t, t) for t in TEXTS]
SHAPE = masked_lm.SAMPLE.model_copy(update={"vocab": 401})


def built() -> tuple[Any, Any]:
    torch.manual_seed(3)
    words = copy.deepcopy(BARE)
    return masked_lm.build(SHAPE, words), words


def test_the_tokenizer_gets_a_mask_and_berts_names_for_its_ends() -> None:
    model, words = built()
    assert (words.mask_token_id, words.sep_token_id, len(words)) == (len(BARE), BARE.eos_token_id, len(BARE) + 1)
    assert words.cls_token_id == tokenizer.prompt(BARE, None)[0] == tokenizer.prompt(words, None)[0]
    assert model.config.mask_token_id == words.mask_token_id
    assert tokenizer.encode(words, RECORDS[0]) == tokenizer.encode(BARE, RECORDS[0])


def test_of_what_is_learnt_a_share_is_chosen_and_mostly_masked() -> None:
    model, words = built()
    seen: dict[str, Any] = {}
    forward = model.forward

    def spying(**given: Any) -> Any:
        seen.update(given)
        return forward(**given)

    model.forward = spying
    torch.manual_seed(1)
    ids = torch.randint(10, 200, (400, 60))
    targets = torch.where(torch.arange(60) >= 20, ids, IGNORE)
    masked_lm.loss(model, {"ids": ids, "targets": targets}, SHAPE, At(0, 1))
    changed = seen["input_ids"] != ids
    assert not changed[:, :20].any(), "what is not learnt is not masked"
    masks = (seen["input_ids"] == words.mask_token_id)[:, 20:].float().mean()
    assert float(masks) == pytest.approx(0.15 * 0.8, abs=0.008)
    assert float(changed[:, 20:].float().mean()) == pytest.approx(0.15 * 0.9, abs=0.008)


def test_nats_by_hand_and_padding_changes_nothing() -> None:
    model, words = built()
    model.eval()
    documents = list(tokenizer.encode_all(words, RECORDS[:4]))
    got = masked_lm.nats(model, documents, 4096, 64)
    assert masked_lm.nats(model, documents[1:2], 8, 64)[0] == pytest.approx(got[1], rel=1e-5)
    first, by_hand = documents[0], 0.0
    for at, mark in enumerate(first.marks):
        if mark == TEXT:
            hidden = [words.mask_token_id if m == TEXT and i % 7 == at % 7 else t
                      for i, (t, m) in enumerate(zip(first.ids, first.marks, strict=True))]  # fmt: skip
            with torch.inference_mode():
                by_hand -= float(model(torch.tensor([hidden])).logits[0, at].log_softmax(-1)[first.ids[at]])
    assert got[0] == pytest.approx(by_hand, rel=1e-5)
    assert masked_lm.nats(model, [Encoded([3, 1], [0, 1])], 9, 64).tolist() == [0]


def test_it_learns_and_the_contextual_augmenter_reads_it(tmp_path: Path) -> None:
    model, words = built()
    settings = training_contracts.settings(
        steps=60, batch_size=10_000, eval_every=60, patience=1, schedule=training_contracts.constant()
    )
    turn = Turn("", "", lambda net, tensors, at: masked_lm.loss(net, tensors, SHAPE, at))
    run = loop.start(model, [turn], settings, 3, "fp32")
    rows = corpus(tokenizer.encode_all(words, RECORDS), 64)
    losses = [e.loss for e in loop.steps(run, rows, lambda _: 1.0) if isinstance(e, Stepped)]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    models.save(tmp_path / "masked_lm", run.model, words, {"family": "masked_lm", "class": masked_lm.CLASS})
    assert models.load(tmp_path / "masked_lm").context == 64
    given = Record("x", "the tall tree stands on the hill")
    made = [r.text for r in contextual.vary(given, contextual.SAMPLE, random.Random(1), tmp_path)]
    assert made and all(text != given.text for text in made)
    before, after = given.text.split(), made[0].split()
    assert len(before) == len(after) and any(a != b for a, b in zip(before, after, strict=True))


def test_a_bert_from_elsewhere_keeps_its_ends(tmp_path: Path) -> None:
    lay(tmp_path)
    model, words = models.read_transformers(tmp_path, masked_lm.CLASS)
    size = len(words)
    assert tokenizer.add_labels(words, []) == 0 and len(words) == size
    document = tokenizer.encode(words, Record("x", "the cat sat"))
    assert document.ids == words("the cat sat")["input_ids"]
    assert document.marks[0] == GIVEN and model.config.vocab_size == 68
