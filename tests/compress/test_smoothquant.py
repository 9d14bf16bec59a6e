"""Scale moved from activations to weights: by hand, and without a change of the function."""

import copy

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from nightforge import blocks
from nightforge.blocks import Rows
from nightforge.compress import _fold, smoothquant
from nightforge.compress._fold import Fold
from nightforge.errors import ConfigError
from nightforge.held import Factored, Held
from tests.small_lm import Small


def difference(small: Small, held: Held) -> float:
    """Of logits, over the largest."""
    ids = small.given.calibration[0].ids
    with torch.no_grad():
        dense, now = small.model(input_ids=ids).logits, held.model(input_ids=ids).logits
    return float((now - dense).abs().max() / dense.abs().max())


def test_by_hand() -> None:
    """Activations up to 16 and 4, weights up to 1 and 4: s = √16/√1 and √4/√4."""
    norm, layer = torch.nn.RMSNorm(2), torch.nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.tensor([[1.0, -4.0], [0.5, 2.0]])
    seen = {"layer": blocks.moments(torch.tensor([[16.0, 1.0], [-2.0, -4.0]]))}
    fold = Fold(norm, {"layer": layer}, 2, 1)
    scales = smoothquant.scales(fold, seen, 0.5)
    assert scales.tolist() == [4.0, 1.0]
    _fold.move(fold, scales)
    assert norm.weight.tolist() == [0.25, 1.0]
    assert layer.weight.tolist() == [[4.0, -4.0], [2.0, 2.0]]


def test_heads_that_share_keys_and_values_share_scales() -> None:
    """Two groups of two heads of width 1: inputs 0, 1 come of channel 0, and 2, 3 of channel 1."""
    fold = Fold(torch.nn.Linear(3, 2), {}, 1, 2)
    assert fold.spread(torch.tensor([5.0, 7.0])).tolist() == [5, 5, 7, 7]
    assert fold.gathered(torch.tensor([1.0, 3.0, 4.0, 2.0])).tolist() == [3, 4]
    wide = Fold(torch.nn.Linear(3, 4), {}, 2, 2)
    assert wide.spread(torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist() == [1, 2, 1, 2, 3, 4, 3, 4]


def test_the_function_stays_and_activations_become_more_even(small: Small) -> None:
    held = smoothquant.apply(small.held(), small.given, smoothquant.SAMPLE)
    assert difference(small, held) < 1e-4 and not held.skipped
    ratio: dict[str, list[float]] = {"before": [], "after": []}
    for key, model in (("before", small.model), ("after", held.model)):
        wanted = list(blocks.linears(model, ["model.layers.*"]))

        def visit(_: str, layers: object, seen: dict[str, blocks.Moments], key: str = key) -> None:
            ratio[key] += [float(one.abs_max.max() / one.abs_max.mean()) for one in seen.values()]

        blocks.walk(model, small.given.calibration, visit, wanted)  # type: ignore[arg-type]
    assert sum(ratio["after"]) < 0.8 * sum(ratio["before"])


def test_biases_and_layers_in_two_parts_move_along(small: Small) -> None:
    held = small.held()
    for block in held.model.model.layers:
        for name in ("q_proj", "v_proj"):
            layer = block.self_attn.get_submodule(name)
            layer.bias = torch.nn.Parameter(torch.linspace(-1, 1, layer.out_features))
        up = block.mlp.up_proj
        down = torch.nn.Linear(up.in_features, up.in_features, bias=False)
        down.weight.data = torch.eye(up.in_features)
        block.mlp.up_proj = Factored(down, copy.deepcopy(up))
    dense = copy.deepcopy(held.model)
    smoothquant.apply(held, small.given, smoothquant.SAMPLE)
    assert difference(small._replace(model=dense), held) < 1e-4
    assert not held.model.model.layers[0].mlp.up_proj.down.weight.equal(torch.eye(64))


def test_inputs_that_never_come_and_weights_that_are_zero_stay_finite(small: Small) -> None:
    held = small.held()
    block = held.model.model.layers[1]
    block.input_layernorm.weight.data[5] = 0
    block.mlp.down_proj.weight.data[:, 3] = 0
    dense = copy.deepcopy(held.model)
    smoothquant.apply(held, small.given, smoothquant.SAMPLE)
    assert all(parameter.isfinite().all() for parameter in held.model.parameters())
    assert difference(small._replace(model=dense), held) < 1e-4


def test_norms_that_add_to_their_weight_are_left_alone_and_named() -> None:
    shape = Gemma2Config(
        vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, head_dim=8,
        num_key_value_heads=1,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(shape).eval()
    found = _fold.folds(model, "model.layers.0", model.model.layers[0])
    assert [list(fold.targets) for fold in found] == [
        ["model.layers.0.self_attn.o_proj"],
        ["model.layers.0.mlp.down_proj"],
    ]


def test_a_model_that_would_compute_something_else_is_refused(small: Small) -> None:
    held = small.held()
    with pytest.raises(ConfigError, match="not built like Llama"), _fold.unchanged(held.model, small.given.calibration):
        held.model.model.norm.weight.data[0] *= 5
    row = Rows(torch.ones(1, 3, dtype=torch.long), torch.ones(1, 3, dtype=torch.bool))
    with _fold.unchanged(held.model, [row]):
        pass
