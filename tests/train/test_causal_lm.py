"""The network from scratch: its shape is the config's, it is causal, and its loss is what the logits say."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import LlamaConfig, LlamaForCausalLM

from nightforge import tokenizer
from nightforge.errors import ConfigError
from nightforge.scoring import IGNORE
from nightforge.train import causal_lm
from nightforge.training import At

WORDS = tokenizer.train(["a tall tree of the tropics"], {"plant"}, 280, 32)


def test_parameters_by_hand() -> None:
    cfg = causal_lm.SAMPLE.model_copy(update={"heads": 4, "kv_heads": 2, "ffn": 96, "context": 32})
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
    two_classes = {"norm": "layer", "qk_norm": True}
    for wrong in ({"heads": 3}, {"kv_heads": 3, "heads": 4}, {"hidden": 100}, two_classes):
        with pytest.raises(ValidationError):
            causal_lm.Config(**causal_lm.SAMPLE.model_dump() | wrong)


def test_the_tokenizer_must_fit() -> None:
    tight = causal_lm.SAMPLE.model_copy(update={"vocab": len(WORDS) - 1})
    with pytest.raises(ConfigError, match=f"at most vocab = {len(WORDS) - 1}"):
        causal_lm.build(tight, WORDS)


CHOICES = {
    "Llama": {},
    "Mistral": {"window": 4},
    "Qwen3": {"qk_norm": True, "window": 4},
    "SmolLM3": {"rope_theta": None, "window": 4},
    "Starcoder2": {"norm": "layer", "window": 4, "activation": "gelu"},
}


@pytest.mark.parametrize(("name", "changes"), CHOICES.items(), ids=CHOICES)
def test_what_is_chosen_is_what_is_built(name: str, changes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = causal_lm.build(causal_lm.SAMPLE.model_copy(update=changes), WORDS).eval()
    assert type(model).__name__ == f"{name}ForCausalLM"
    layer = model.model.layers[0]
    assert isinstance(layer.input_layernorm, torch.nn.LayerNorm) == (name == "Starcoder2")
    assert hasattr(layer.self_attn, "q_norm") == (name == "Qwen3")
    ids = torch.arange(10, 30)[None]
    other = torch.cat([ids[:, 1:2], ids[:, :1], ids[:, 2:]], dim=1)
    with torch.inference_mode():
        logits, swapped = model(ids).logits[0], model(other).logits[0]
        near, far = ((logits - swapped)[at].abs().max() for at in (3, 19))
    # Two layers that see 4 tokens each reach 6 back; without positions, attention to all before has no order.
    assert near > 1e-4 and (far > 1e-6) == (name == "Llama")


def test_without_positions_the_order_of_what_came_before_is_nothing() -> None:
    torch.manual_seed(0)
    shape = {"rope_theta": None, "layers": 1}
    model = causal_lm.build(causal_lm.SAMPLE.model_copy(update=shape), WORDS).eval()
    with torch.inference_mode():
        one, two = (model(torch.tensor([ids])).logits[0, -1] for ids in ([10, 11, 12, 13], [12, 10, 11, 13]))
    torch.testing.assert_close(one, two)


def test_label_smoothing_by_hand() -> None:
    torch.manual_seed(0)
    model = causal_lm.build(causal_lm.SAMPLE, WORDS)
    ids = torch.tensor([[3, 10, 11, 1]])
    cfg = causal_lm.SAMPLE.model_copy(update={"label_smoothing": 0.2})
    nats, _ = causal_lm.loss(model, {"ids": ids, "targets": ids}, cfg, At(0, 1))
    log_p = model(ids).logits[0].log_softmax(-1)
    by_hand = sum(-0.8 * log_p[i, ids[0, i + 1]] - 0.2 * log_p[i].mean() for i in range(3))
    torch.testing.assert_close(nats, by_hand)


def test_dropout_drops_in_training_alone() -> None:
    torch.manual_seed(0)
    model = causal_lm.build(causal_lm.SAMPLE.model_copy(update={"dropout": 0.5}), WORDS)
    ids = torch.arange(10, 30)[None]
    torch.manual_seed(1)
    assert not torch.equal(model.train()(ids).logits, model(ids).logits)
    assert torch.equal(model.eval()(ids).logits, model(ids).logits)


def test_the_network_of_the_sample_project_is_llamas_as_it_was() -> None:
    """Seeded weights and config are those of LlamaConfig with its defaults."""
    cfg = causal_lm.SAMPLE
    torch.manual_seed(7)
    built = causal_lm.build(cfg, WORDS)
    torch.manual_seed(7)
    plain = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=300, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
            intermediate_size=128, max_position_embeddings=64, tie_word_embeddings=True, initializer_range=64**-0.5,
            pad_token_id=0, bos_token_id=1, eos_token_id=1,
        )
    )  # fmt: skip
    assert built.config.to_diff_dict() == plain.config.to_diff_dict()
    assert all(torch.equal(v, plain.state_dict()[k]) for k, v in built.state_dict().items())
