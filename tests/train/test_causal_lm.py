"""The network from scratch: its shape is the config's, it is causal, and its loss is what the logits say."""

import pytest
import torch
from pydantic import ValidationError

from nightforge import tokenizer
from nightforge.errors import ConfigError
from nightforge.scoring import IGNORE
from nightforge.train import causal_lm
from nightforge.training import At

WORDS = tokenizer.train(["a tall tree of the tropics"], {"plant"}, 280, 32)


def test_parameters_by_hand() -> None:
    cfg = causal_lm.Config(hidden=64, layers=2, heads=4, kv_heads=2, ffn=96, vocab=300, context=32, tied=True)
    attention = 64 * 64 * 2 + 64 * 32 * 2
    by_hand = 300 * 64 + 2 * (attention + 3 * 64 * 96 + 2 * 64) + 64
    assert sum(p.numel() for p in causal_lm.build(cfg, WORDS).parameters()) == by_hand
    untied = cfg.model_copy(update={"tied": False})
    assert sum(p.numel() for p in causal_lm.build(untied, WORDS).parameters()) == by_hand + 300 * 64


def test_the_loss_is_what_the_logits_say_and_never_looks_ahead() -> None:
    torch.manual_seed(0)
    model = causal_lm.build(causal_lm.SAMPLE, WORDS)
    batch = torch.tensor([[3, 10, 11, 12, 1], [3, 20, 1, IGNORE, IGNORE]])
    nats, _ = causal_lm.loss(model, {"ids": batch, "targets": batch}, causal_lm.SAMPLE, At(0, 1))
    log_p = model(batch.clamp_min(0)).logits.log_softmax(-1)
    by_hand = -sum(log_p[r, i, batch[r, i + 1]] for r, i in [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)])
    torch.testing.assert_close(nats, by_hand)
    changed = batch.clone()
    changed[0, 4] = 77
    torch.testing.assert_close(model(changed.clamp_min(0)).logits[0, :4].log_softmax(-1), log_p[0, :4])


def test_a_shape_that_cannot_be_is_refused() -> None:
    for wrong in ({"heads": 3}, {"kv_heads": 3, "heads": 4}, {"hidden": 100}):
        with pytest.raises(ValidationError):
            causal_lm.Config(**causal_lm.SAMPLE.model_dump() | wrong)


def test_the_tokenizer_must_fit() -> None:
    tight = causal_lm.SAMPLE.model_copy(update={"vocab": len(WORDS) - 1})
    with pytest.raises(ConfigError, match=f"at most vocab = {len(WORDS) - 1}"):
        causal_lm.build(tight, WORDS)
