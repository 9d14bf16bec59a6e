"""A tiny model with random weights, and documents that it was scored on, for tests that must not train one."""

import numpy as np
import torch

from nightforge import models, scoring, tokenizer
from nightforge.evaluate._subject import Subject
from nightforge.records import Record, content_id
from nightforge.stats import Bootstrap
from nightforge.train import causal_lm

TEXTS = {
    "plant": ["a tall tree", "any of several small herbs of the tropics having showy flowers", "a fern"],
    "food": ["a sauce of cream and herbs", "bread", "a small cake with fruit and nuts, eaten at noon"],
    "time": ["the tenth month of the year", "noon"],
}
RECORDS = [
    Record(id=content_id(text, label), text=text, label=label) for label, texts in TEXTS.items() for text in texts
]


def subject() -> Subject:
    """What evaluate hands to a metric."""
    words = tokenizer.train([r.text for r in RECORDS], TEXTS, 300, 64)
    torch.manual_seed(0)
    net = causal_lm.build(causal_lm.SAMPLE, words).eval()
    encoded = list(tokenizer.encode_all(words, RECORDS))
    return Subject(
        loaded=models.Loaded(net, words, {"context_length": 64, "family": "causal_lm"}),
        records=RECORDS,
        nats=scoring.document_nats(models.logits_fn(net), encoded, 512, 64),
        tokens=scoring.text_tokens(encoded),
        bytes=scoring.text_bytes([r.text for r in RECORDS]),
        groups=np.array([r.id for r in RECORDS]),
        training=lambda: iter(RECORDS),
        boot=Bootstrap(resamples=200, level=0.9),
        seed=1,
    )
