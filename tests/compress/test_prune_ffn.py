"""Fewer neurons: a smaller model that transformers loads, the right ones gone, and the rest made up for by hand."""

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import strategies as st

from nightforge.compress import _shrink, prune_ffn
from nightforge.compress._context import Context
from nightforge.compress._pass import Footprint
from nightforge.errors import ConfigError
from nightforge.train import causal_lm
from tests.compress import shrunk
from tests.small_lm import Small


def config(**values: object) -> prune_ffn.Config:
    return prune_ffn.Config(**prune_ffn.SAMPLE.model_dump() | values)


def test_a_plain_smaller_model(small: Small) -> None:
    held = prune_ffn.apply(small.held(), small.given, config(share=0.25))
    again = shrunk.reloaded(held.model, small)
    assert again.config.intermediate_size == 96 == again.model.layers[2].mlp.up_proj.out_features
    assert shrunk.size(small.model) - shrunk.size(again) == 3 * 3 * 32 * 64  # blocks · matrices · neurons · hidden
    least = prune_ffn.least(
        {n: Footprint(tuple(p.shape), 32) for n, p in small.model.named_parameters()}, config(share=0.25)
    )
    assert {n: one.shape for n, one in least.items()} == {n: tuple(p.shape) for n, p in again.named_parameters()}
    assert small.nats(small.model) < small.nats(again) < small.nats(small.model) + 0.5


@pytest.mark.parametrize("importance", ["activation", "taylor"])
def test_neurons_that_add_nothing_go_and_nothing_is_lost(small: Small, importance: str) -> None:
    held = small.held()
    idle = torch.randperm(128, generator=torch.Generator().manual_seed(2))[:32]
    for i, block in enumerate(held.model.model.layers):
        block.mlp.down_proj.weight.data[:, (idle + i) % 128] = 0
    with torch.no_grad():
        before = held.model(**shrunk.rows(small)).logits
        after = prune_ffn.apply(held, small.given, config(share=0.25, importance=importance)).model(
            **shrunk.rows(small)
        )
    torch.testing.assert_close(after.logits, before, rtol=0, atol=2e-4)


def test_first_order_importance_is_that_of_the_weights_gradient(small: Small) -> None:
    """|Σ w · ∂loss/∂w| over a neuron's column, row by row; for a group of heads over all its columns."""
    name = {"model.layers.1.mlp.down_proj": 1, "model.layers.1.self_attn.o_proj": 32}
    rows = small.given.calibration[0]
    few = rows._replace(ids=rows.ids[:3], mask=rows.mask[:3])
    for layer, width in name.items():
        found = _shrink.first_order(small.model, [few], [layer], width)[layer]
        weight = small.model.get_submodule(layer).weight
        expected = torch.zeros_like(found)
        for row, mask in zip(few.ids, few.mask, strict=True):
            ids = row[mask][None]
            loss = small.model(ids, labels=ids).loss * (ids.shape[1] - 1)
            [slope] = torch.autograd.grad(loss, [weight])
            expected += (weight * slope).detach().sum(0).reshape(-1, width).sum(-1).abs()
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_energy_by_hand() -> None:
    """Two groups of two: ‖x₁w₁ + x₂w₂‖² and ‖x₃w₃ + x₄w₄‖², summed over tokens."""
    generator = torch.Generator().manual_seed(3)
    weight, x = torch.randn(5, 4, generator=generator), torch.randn(70, 4, generator=generator)
    parts = [(x[:, at] @ weight[:, at].T).square().sum() for at in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(_shrink.energy(weight, x.T @ x, 2), torch.stack(parts), rtol=1e-4, atol=1e-3)


def test_what_stays_is_fitted_by_least_squares() -> None:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(400, 12, generator=generator) @ torch.randn(12, 12, generator=generator)
    weight, kept = torch.randn(7, 12, generator=generator), torch.tensor([0, 2, 3, 7, 8, 11])
    fitted = _shrink.least_squares(weight, x.T @ x, kept, 1e-9)
    best = torch.linalg.lstsq(x[:, kept].double(), (x @ weight.T).double()).solution.T
    torch.testing.assert_close(fitted.double(), best, rtol=1e-3, atol=1e-3)
    never = torch.zeros(12, 12)  # nothing came: nothing is made up for
    assert _shrink.least_squares(weight, never, kept, 0.01).equal(weight[:, kept])


def test_fitting_loses_less_than_taking_out_alone(small: Small) -> None:
    fitted = prune_ffn.apply(small.held(), small.given, config(share=0.5))
    alone = prune_ffn.apply(small.held(), small.given, config(share=0.5, damp=1.0))  # the damping all but forbids it
    assert small.nats(fitted.model) < small.nats(alone.model)


@drawn(st.integers(1, 4000), st.floats(0.01, 0.99), st.sampled_from([1, 8, 16, 32, 64, 128]))
def test_the_width_that_stays(width: int, share: float, multiple: int) -> None:
    cfg = config(share=share, multiple=multiple)
    try:
        stays = prune_ffn.left(width, cfg)
    except ConfigError:
        assert width * (1 - share) < multiple
        return
    assert stays % multiple == 0
    assert 0 <= width * (1 - share) - stays + 1e-6 <= multiple + 1e-6
    assert stays < width


def test_a_fifth_of_a_round_width_is_a_fifth() -> None:
    assert prune_ffn.left(1280, config(share=0.2, multiple=128)) == 1024  # and not 896, for a rounding error
    assert prune_ffn.left(1536, config(share=0.2)) == 1216


def test_what_it_cannot_work_on_is_refused(small: Small) -> None:
    fused = {"model.layers.0.mlp.gate_up_proj.weight": (256, 64), "model.layers.0.mlp.down_proj.weight": (64, 128)}
    with pytest.raises(ConfigError, match=r"mlp\.gate_proj, mlp\.up_proj"):
        prune_ffn.check(Context("hf_config", "transformers", True, fused), prune_ffn.SAMPLE)
    shapes = {name: tuple(p.shape) for name, p in small.model.named_parameters()}
    with pytest.raises(ConfigError, match="multiple of 128"):
        prune_ffn.check(Context("causal_lm", "transformers", True, shapes), config(multiple=128))
    prune_ffn.check(Context("causal_lm", "transformers", True, shapes), prune_ffn.SAMPLE)


@pytest.mark.parametrize("special", [{"qk_norm": True}, {"window": 8}, {"rope_theta": None}, {"activation": "gelu"}])
def test_other_classes_of_networks_too(small: Small, special: dict[str, object]) -> None:
    torch.manual_seed(1)
    model = causal_lm.build(causal_lm.SAMPLE.model_copy(update={"vocab": 400, **special}), small.tokenizer).eval()
    held = small.held()
    held.model = model
    prune_ffn.apply(held, small.given, config(share=0.5))
    shrunk.reloaded(held.model, small)
