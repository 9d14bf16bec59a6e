"""Fewer heads: whole groups go, grouped-query attention and its cache go on working, the idle ones are found."""

from typing import Any

import pytest
import torch

from nightforge.compress import prune_ffn, prune_heads, prune_layers
from nightforge.compress._context import Context
from nightforge.compress._pass import Footprint
from nightforge.errors import ConfigError
from nightforge.train import causal_lm
from tests.compress import shrunk
from tests.small_lm import Small


def config(**values: object) -> prune_heads.Config:
    return prune_heads.Config(**prune_heads.SAMPLE.model_dump() | values)


def network(small: Small, **shape: object) -> Any:
    torch.manual_seed(1)
    sample = causal_lm.SAMPLE.model_copy(update={"vocab": 400, "hidden": 96, "heads": 12, "kv_heads": 4, **shape})
    return causal_lm.build(sample, small.tokenizer).eval()


def test_a_plain_smaller_model(small: Small) -> None:
    held = prune_heads.apply(small.held(), small.given, prune_heads.SAMPLE)
    again = shrunk.reloaded(held.model, small)
    said = again.config
    assert (said.num_attention_heads, said.num_key_value_heads, said.head_dim) == (2, 1, 16)
    assert shrunk.size(small.model) - shrunk.size(again) == 3 * 64 * (32 + 16 + 16 + 32)
    assert small.nats(small.model) < small.nats(again)


@pytest.mark.parametrize("importance", ["activation", "taylor"])
def test_groups_that_add_nothing_go_and_nothing_is_lost(small: Small, importance: str) -> None:
    held = small.held()
    held.model = network(small)
    for i, block in enumerate(held.model.model.layers):
        block.self_attn.o_proj.weight.data[:, 24 * i : 24 * (i + 2)] = 0  # a group is 3 heads of 8
    with torch.no_grad():
        before = held.model(**shrunk.rows(small)).logits
        after = (
            prune_heads.apply(held, small.given, config(importance=importance, remove=2))
            .model(**shrunk.rows(small))
            .logits
        )
    torch.testing.assert_close(after, before, rtol=0, atol=1e-4)
    assert held.model.config.num_key_value_heads == 2


@pytest.mark.parametrize("special", [{"qk_norm": True}, {"window": 8}, {"rope_theta": None}])
def test_other_classes_of_networks_too(small: Small, special: dict[str, object]) -> None:
    held = small.held()
    held.model = network(small, **special)
    shrunk.reloaded(prune_heads.apply(held, small.given, config(remove=2)).model, small)


def test_what_takes_structure_out_takes_turns(small: Small) -> None:
    """Blocks, neurons, heads, neurons again: still a plain model, with the sizes that the shapes foretold."""
    held = small.held()
    least = {name: Footprint(tuple(p.shape), 32) for name, p in small.model.named_parameters()}
    for module in (prune_layers, prune_ffn, prune_heads, prune_ffn):
        held, least = module.apply(held, small.given, module.SAMPLE), module.least(least, module.SAMPLE)
    again = shrunk.reloaded(held.model, small)
    said = again.config
    assert (said.num_hidden_layers, said.intermediate_size, said.num_key_value_heads) == (2, 64, 1)
    shapes = {name: tuple(p.shape) for name, p in again.named_parameters()}
    assert least.keys() == shapes.keys()
    assert all(least[name].shape == shape for name, shape in shapes.items() if least[name].bits)


def test_biases_go_with_their_heads(small: Small) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(2)
    shape = LlamaConfig(
        hidden_size=64, num_attention_heads=4, num_key_value_heads=2, num_hidden_layers=1, intermediate_size=64,
        vocab_size=400, attention_bias=True,
    )  # fmt: skip
    held = small.held()
    held.model = LlamaForCausalLM(shape).eval()
    for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
        torch.nn.init.normal_(held.model.model.layers[0].self_attn.get_submodule(name).bias)
    shrunk.reloaded(prune_heads.apply(held, small.given, prune_heads.SAMPLE).model, small)


def test_what_cannot_be_is_refused_before_anything_is_changed(small: Small) -> None:
    held = small.held()
    with pytest.raises(ConfigError, match="fewer than the 2 key-value heads"):
        prune_heads.apply(held, small.given, config(remove=2))
    held.model = network(small)  # 9 heads would stay, and transformers wants them to divide 96
    with pytest.raises(ConfigError, match="num_attention_heads"):
        prune_heads.apply(held, small.given, prune_heads.SAMPLE)
    assert held.model.config.num_attention_heads == 12
    with pytest.raises(ConfigError, match=r"self_attn\.k_proj"):
        fused = {
            "model.layers.0.self_attn.qkv_proj.weight": (64, 64),
            "model.layers.0.self_attn.o_proj.weight": (64, 64),
        }
        prune_heads.check(Context("hf_config", "transformers", True, fused), prune_heads.SAMPLE)
