"""Variance of activations by hand and at extremes; recomputed gradients are the kept ones."""

import math
from typing import Any

import pytest
import torch

from nightforge import activations
from nightforge.errors import ConfigError
from nightforge.initialise import he
from nightforge.train import causal_lm
from nightforge.training import At
from tests.test_loop import DATA, model
from tests.training_contracts import Rows, Toy, toy_loss


def deep(gain: float) -> torch.nn.Sequential:
    """Twelve layers, each of which multiplies by `gain`."""
    net = torch.nn.Sequential(*[torch.nn.Linear(4, 4, bias=False) for _ in range(12)])
    for layer in net:
        layer.weight.data = gain * torch.eye(4)
    return net


def test_by_hand_in_the_order_of_the_calls() -> None:
    x = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    seen = activations.variances(deep(2.0), lambda net: net(x))
    assert list(seen) == [str(n) for n in range(12)]
    assert list(seen.values()) == pytest.approx([4.0 ** (n + 1) for n in range(12)])
    assert activations.summary(seen) == {"first": 4.0, "last": 4.0**12, "ratio": 4.0**11}


@pytest.mark.parametrize(("gain", "word"), [(2.0, "explode"), (0.5, "vanish"), (1.0, ""), (0.0, "vanish")])
def test_only_what_is_out_of_bounds_is_warned_of(gain: float, word: str) -> None:
    figures = activations.summary(activations.variances(deep(gain), lambda net: net(torch.randn(8, 4))))
    assert (word in activations.warning(figures)) if word else activations.warning(figures) == ""


def test_nothing_to_see_is_no_warning_and_overflow_is() -> None:
    assert activations.summary({}) == {} and activations.warning({}) == ""
    assert "explode" in activations.warning({"first": 1.0, "last": math.inf, "ratio": math.inf})
    assert activations.summary({"only": 2.0}) == {"first": 2.0, "last": 2.0, "ratio": 1.0}


def test_the_model_and_the_generator_are_as_before() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.5))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    torch.manual_seed(1)
    activations.variances(net, lambda m: m(torch.randn(5, 3)).sum().backward())
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert not any(m._forward_hooks for m in net.modules())


def test_blocks_are_the_outermost_numbered_modules() -> None:
    assert [name for name, _ in activations.layers(model())] == ["model.layers.0", "model.layers.1"]
    assert [name for name, _ in activations.layers(Toy())] == ["layers.0", "layers.1"]
    assert [name for name, _ in activations.layers(torch.nn.Transformer(8, 2, 1, 1, 8).encoder)] == ["layers.0"]
    assert [n for n, _ in activations.layers(torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2)}))] == ["a"]


def test_he_keeps_the_variance_where_torchs_default_loses_it() -> None:
    layers = [m for _ in range(30) for m in (torch.nn.Linear(128, 128, bias=False), torch.nn.ReLU())]
    net, x = torch.nn.Sequential(*layers), torch.randn(64, 128)
    assert "vanish" in activations.warning(activations.summary(activations.variances(net, lambda m: m(x))))
    torch.manual_seed(0)
    he.fill(net, he.SAMPLE)
    assert activations.warning(activations.summary(activations.variances(net, lambda m: m(x)))) == ""


def gradients(net: Any) -> list[torch.Tensor]:
    net.train()
    torch.manual_seed(2)
    causal_lm.loss(net, DATA.batch([0, 4, 9]).tensors, causal_lm.SAMPLE, At(0, 1))[0].backward()  # type: ignore[no-untyped-call]
    return [p.grad for p in net.parameters()]


def test_recomputed_gradients_are_the_kept_ones_and_less_is_kept() -> None:
    kept, saved = [0], [0]
    plain, recomputed = model(), model()
    for net in (plain, recomputed):
        net.model.layers[0].self_attn.attention_dropout = 0.5  # drawn the same the second time
    activations.recompute(recomputed)
    found = []
    for net, counted in ((plain, kept), (recomputed, saved)):

        def pack(tensor: torch.Tensor, counted: list[int] = counted) -> torch.Tensor:
            counted[0] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            found.append(gradients(net))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert saved[0] < 0.8 * kept[0]


def test_a_diffusers_network_within_another_recomputes_too() -> None:
    from diffusers import UNet2DModel

    found = []
    for again in (False, True):
        torch.manual_seed(4)
        unet = UNet2DModel(
            sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 16),
            norm_num_groups=4, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
        )  # fmt: skip
        net = torch.nn.ModuleDict({"unet": unet}).train()
        if again:
            activations.recompute(net)
            assert unet.is_gradient_checkpointing
        unet(torch.linspace(-1, 1, 128).reshape(2, 1, 8, 8), 3).sample.square().sum().backward()
        found.append([p.grad for p in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_network_that_cannot_recompute_says_so() -> None:
    toy = Toy()
    with pytest.raises(ConfigError, match=r"train\.loop\.recompute: .* got a Toy"):
        activations.recompute(toy)
    assert torch.isfinite(toy_loss(toy, Rows().batch([1]).tensors, At(0, 1))[0])
