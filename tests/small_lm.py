"""A small language model, trained for a few seconds on sentences of a grammar, for passes to work on."""

import copy
from typing import Any, NamedTuple

import numpy as np
import torch

from nightforge import models, tokenizer
from nightforge.blocks import Rows
from nightforge.compress._pass import Given, made_at_once
from nightforge.corpus import corpus
from nightforge.held import Held
from nightforge.records import Record, content_id
from nightforge.scoring import document_nats, padded, text_tokens
from nightforge.train import causal_lm

SHAPE = causal_lm.SAMPLE.model_copy(
    update={"hidden": 64, "layers": 3, "heads": 4, "kv_heads": 2, "ffn": 128, "vocab": 400, "context": 64}
)
ADJECTIVES = ["tall", "small", "old", "green", "quiet", "woollen", "bitter", "distant"]
NOUNS = {"tree": "leaves", "river": "water", "town": "people", "cat": "fur", "soup": "herbs", "song": "words"}
PLACES = ["the north", "the valley", "an island", "the desert", "a small harbour"]


class Small(NamedTuple):
    """A trained model with rows to calibrate on and documents to judge on."""

    model: Any
    tokenizer: Any
    given: Given
    documents: list[Any]

    def held(self) -> Held:
        """A copy to work on."""
        return Held(copy.deepcopy(self.model))

    def nats(self, model: Any) -> float:
        """Nats per token on documents that it was neither trained nor calibrated on."""
        scored = document_nats(models.logits_fn(model), self.documents, 4096, SHAPE.context)
        return float(scored.sum() / text_tokens(self.documents).sum())


def sentences(count: int, seed: int) -> list[str]:
    """Sentences of a grammar with some memory: what a noun has depends on the noun."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        noun = str(rng.choice(list(NOUNS)))
        adjective, place = rng.choice(ADJECTIVES, 2, replace=False), rng.choice(PLACES)
        made.append(
            f"the {adjective[0]} {noun} of {place} has {adjective[1]} {NOUNS[noun]}, and {rng.integers(2, 99)} more"
        )
    return made


def trained() -> Small:
    """The fixture `small` holds one for the session; take `held()` of it, never the model itself."""
    torch.manual_seed(3)
    texts = sentences(2_400, 1)
    words = tokenizer.train(texts[:2_000], [], SHAPE.vocab, SHAPE.context)
    records = [Record(content_id(t, str(i)), t) for i, t in enumerate(texts)]
    encoded = list(tokenizer.encode_all(words, records))
    learnt, calibration, judged = encoded[:2_000], encoded[2_000:2_200], encoded[2_200:]
    model = causal_lm.build(SHAPE, words)
    rows = corpus(iter(learnt), SHAPE.context)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rng = np.random.default_rng(5)
    for _ in range(250):
        batch = rows.batch(rng.integers(0, len(rows.sizes), 32).tolist())
        loss, _ = causal_lm.loss(model, batch.tensors, SHAPE, None)  # type: ignore[arg-type]
        optimizer.zero_grad()
        (loss / batch.units).backward()
        optimizer.step()
    model.eval()
    batches = [padded([d.ids for d in calibration[i : i + 50]], 0) for i in range(0, len(calibration), 50)]
    given = Given(
        calibration=[Rows(torch.from_numpy(ids), torch.from_numpy(mask).bool()) for ids, mask in batches],
        teacher=lambda: copy.deepcopy(model),
        data=lambda: rows,
        validate=lambda one: Small(model, words, given, judged).nats(one),
        size_mb_max=None,
        seed=7,
        keep=made_at_once,
    )
    return Small(model, words, given, judged)
