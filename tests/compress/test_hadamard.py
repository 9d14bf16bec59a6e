"""A turned residual stream: the matrix by its definition, the function by its logits, also in stock transformers."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from nightforge.blocks import Rows
from nightforge.compress import hadamard
from nightforge.errors import ConfigError
from nightforge.held import Held
from tests.small_lm import Small


@pytest.mark.parametrize("order", [1, 2, 4, 12, 20, 24, 48, 64, 96, 128, 576, 1536])
def test_rows_are_of_ones_and_orthogonal(order: int) -> None:
    entries = hadamard.hadamard(order)
    assert entries is not None
    assert entries.abs().equal(torch.ones(order, order).double())
    assert (entries @ entries.T).equal(order * torch.eye(order).double())


@pytest.mark.parametrize("order", [3, 6, 28 * 2 + 2, 92 // 4])
def test_where_none_is_known_any_rotation_does(order: int) -> None:
    assert hadamard.hadamard(order) is None
    turn, known = hadamard.rotation(order, 1)
    assert not known
    torch.testing.assert_close(turn @ turn.T, torch.eye(order).double())
    assert not turn.equal(hadamard.rotation(order, 2)[0])


def test_the_function_stays_and_stock_transformers_loads_it(small: Small, tmp_path: Path) -> None:
    held = small.held()
    held.model.model.norm.weight.data *= torch.linspace(0.5, 2, 64)
    dense = small.held().model
    dense.model.norm.weight.data *= torch.linspace(0.5, 2, 64)
    hadamard.apply(held, small.given, hadamard.SAMPLE)
    held.model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(loaded) is type(small.model) and not loaded.config.tie_word_embeddings
    ids = small.given.calibration[0].ids
    with torch.no_grad():
        for model in (held.model, loaded):
            torch.testing.assert_close(model(input_ids=ids).logits, dense(input_ids=ids).logits, rtol=1e-4, atol=1e-4)


def test_no_channel_carries_more_than_the_others(small: Small) -> None:
    held = small.held()
    table = held.model.model.embed_tokens.weight
    table.data[:, 3] *= 30
    before = table.detach().abs().amax(0)
    hadamard.apply(held, small.given, hadamard.SAMPLE)
    after = held.model.model.embed_tokens.weight.detach().abs().amax(0)
    assert after.max() / after.mean() < 0.3 * before.max() / before.mean()


def test_biases_and_sizes_without_a_hadamard_matrix(small: Small) -> None:
    shape = Qwen2Config(
        vocab_size=50, hidden_size=36, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(shape).eval()
    for block in model.model.layers:
        block.self_attn.q_proj.bias.data.normal_()
        block.input_layernorm.weight.data.uniform_(0.5, 2)
    ids = torch.arange(20).reshape(2, 10)
    with torch.no_grad():
        before = model(input_ids=ids).logits
        given = small.given
        rows = [Rows(ids, torch.ones_like(ids).bool())]
        held = hadamard.apply(
            Held(model), type(given)(rows, *[getattr(given, n) for n in given.__slots__[1:]]), hadamard.SAMPLE
        )
        torch.testing.assert_close(model(input_ids=ids).logits, before, rtol=1e-4, atol=1e-4)
    assert held.notes == [("hadamard", {"order": 36, "hadamard": 0.0})]


def test_another_norm_is_refused(small: Small) -> None:
    held = small.held()
    held.model.model.layers[1].input_layernorm = torch.nn.LayerNorm(64)
    with pytest.raises(ConfigError, match="LayerNorm"):
        hadamard.apply(held, small.given, hadamard.SAMPLE)
