"""Entropy of attention against weights that a network itself returns, and by hand."""

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention as attention
from torch.overrides import _get_current_function_mode_stack

from nightforge.train import causal_lm
from nightforge.watch import attention_entropy
from tests import tiny_model


def test_equal_weights_have_the_logarithm_of_their_number() -> None:
    watcher = attention_entropy.start(torch.nn.Module(), attention_entropy.SAMPLE)
    q, k = torch.zeros(2, 1, 4, 8), torch.randn(2, 1, 4, 8)
    watcher.before()
    attention(q, k, k, is_causal=True)
    got = watcher.read()
    assert got["attention_entropy/attention"] == pytest.approx(math.log(24) / 4)  # of 1, 2, 3 and 4 keys
    assert got["attention_entropy_share/attention"] == pytest.approx(1)
    watcher.before()
    mask = torch.tensor([[True, True, False, False]]).expand(4, 4)
    attention(q, k, k, attn_mask=mask)
    attention(q, k, k, attn_mask=torch.zeros(4, 4).masked_fill(~mask, torch.finfo(torch.float32).min))
    got = watcher.read()
    assert got["attention_entropy/attention"] == pytest.approx(math.log(2))
    assert got["attention_entropy_share/attention"] == pytest.approx(1)


def test_it_is_that_of_the_weights_that_eager_attention_returns() -> None:
    words = tiny_model.subject().loaded.tokenizer
    torch.manual_seed(3)
    shape = causal_lm.SAMPLE.model_copy(update={"heads": 2, "kv_heads": 1})
    net = causal_lm.build(shape, words)
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(3)  # far from equal weights
    ids = torch.randint(3, 300, (3, 9))
    net.set_attn_implementation("eager")
    weights = net(input_ids=ids, output_attentions=True).attentions
    net.set_attn_implementation("sdpa")
    watcher = attention_entropy.start(net, attention_entropy.Config(rows=10))
    watcher.before()
    watched = net(input_ids=ids).logits
    got = watcher.read()
    assert torch.equal(watched, net(input_ids=ids).logits)
    for layer, each in enumerate(weights):
        expected = float(torch.special.entr(each).sum(-1).mean())
        name = f"model.layers.{layer}.self_attn"
        assert got[f"attention_entropy/{name}"] == pytest.approx(expected, rel=1e-4)
        assert 0 < got[f"attention_entropy_share/{name}"] < 1


def test_nothing_is_left_where_the_step_fails() -> None:
    net = torch.nn.Module()
    watcher = attention_entropy.start(net, attention_entropy.SAMPLE)
    watcher.before()
    watcher.read()
    assert watcher.read() == {} and not _get_current_function_mode_stack()
