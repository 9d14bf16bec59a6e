"""Truncated factors against the definition; which layers are factored, which are not, and what is said of them."""

import pytest
import torch

from nightforge.compress import _factor, gptq, rtn, svd
from nightforge.compress._pass import Footprint
from nightforge.errors import DataError
from nightforge.held import Factored, Held, multiplied_out
from tests.small_lm import Small


def config(**values: object) -> svd.Config:
    return svd.Config(**svd.SAMPLE.model_dump() | values)


def footprints(model: torch.nn.Module) -> dict[str, Footprint]:
    return {name: Footprint(tuple(p.shape), 32) for name, p in model.named_parameters()}


def test_rank_by_hand() -> None:
    """Of 60 × 20 = 1200 parameters a rank takes 80: of a half 600, so 7 ranks; of a share of 0.8 960, so 12."""
    assert (_factor.rank((60, 20), 0.5), _factor.rank((60, 20), 0.8)) == (7, 12)
    assert _factor.rank((60, 20), 0.06) == 0
    assert _factor.rank((100, 100), 0.999) == 49, "never as many parameters as before"


def test_what_is_dropped_is_the_small_singular_values() -> None:
    weight = torch.diag(torch.tensor([5.0, 1.0, 3.0, 2.0]))
    found = _factor.truncated(weight, 2)
    assert found["up"].shape == (4, 2) and found["down"].shape == (2, 4)
    torch.testing.assert_close(found["up"] @ found["down"], torch.diag(torch.tensor([5.0, 0, 3, 0])).double())
    norms = found["up"].square().sum(0)
    torch.testing.assert_close(norms, torch.tensor([5.0, 3.0]).double())
    torch.testing.assert_close(found["down"].square().sum(1), norms)  # the values are shared by both


def test_each_layer_becomes_two_of_the_share_and_least_says_so(small: Small) -> None:
    held = svd.apply(small.held(), small.given, config(layers=["model.layers.*.mlp.*"], parameter_share=0.5))
    factored = [m for m in held.model.modules() if isinstance(m, Factored)]
    assert len(factored) == 9 and all(m.down.out_features == 21 for m in factored)  # 0.5 · 64 · 128 / 192
    least = svd.least(footprints(small.model), config(layers=["model.layers.*.mlp.*"], parameter_share=0.5))
    assert {n: f.shape for n, f in least.items()} == {n: tuple(p.shape) for n, p in held.model.named_parameters()}
    weight = small.model.model.layers[1].mlp.up_proj.weight
    made = held.model.model.layers[1].mlp.up_proj
    values = torch.linalg.svdvals(weight)
    lost = (weight - made.up.weight @ made.down.weight).square().sum()
    torch.testing.assert_close(lost, values[21:].square().sum(), rtol=1e-4, atol=1e-6)


def test_factors_outside_of_the_blocks_are_left_and_named(small: Small) -> None:
    held = small.held()
    held.model.lm_head.weight = torch.nn.Parameter(held.model.lm_head.weight.detach().clone())  # untied
    svd.apply(held, small.given, config(layers=["lm_head"], parameter_share=0.5))
    gptq.apply(
        held, small.given, gptq.SAMPLE.model_copy(update={"layers": ["lm_head.*", "model.layers.0.mlp.up_proj"]})
    )
    assert set(held.grids) == {"model.layers.0.mlp.up_proj"}
    assert set(held.skipped) == {"lm_head.down", "lm_head.up"}
    assert "lies in no block" in held.skipped["lm_head.up"]


def test_a_weight_of_low_rank_loses_nothing_and_a_bias_goes_along(small: Small) -> None:
    held = small.held()
    layer = held.model.model.layers[0].mlp.up_proj
    layer.weight.data = torch.randn(128, 5) @ torch.randn(5, 64)
    layer.bias = torch.nn.Parameter(torch.randn(128))
    x = torch.randn(7, 64)
    before = layer(x).detach()
    svd.apply(held, small.given, config(layers=["model.layers.0.mlp.up_proj"], parameter_share=0.2))
    made = held.model.model.layers[0].mlp.up_proj
    assert made.down.out_features == 8 and made.down.bias is None
    torch.testing.assert_close(made(x), before, rtol=1e-4, atol=1e-4)


def test_the_model_with_its_factors_multiplied_out_is_the_same(small: Small) -> None:
    held = svd.apply(small.held(), small.given, svd.SAMPLE)
    ids = torch.arange(3, 23)[None]
    with torch.no_grad():
        now = held.model(ids).logits
        with multiplied_out(held.model) as plain:
            assert {n: p.shape for n, p in plain.named_parameters()} == {
                n: p.shape for n, p in small.model.named_parameters()
            }
            torch.testing.assert_close(plain(ids).logits, now, rtol=1e-3, atol=1e-3)


def test_what_cannot_be_factored_is_skipped_with_the_reason(small: Small) -> None:
    held = small.held()
    held.model.lm_head.weight = held.model.model.embed_tokens.weight
    svd.apply(held, small.given, config(layers=["lm_head", "model.layers.0.self_attn.*"], parameter_share=0.03))
    assert "embedding table too" in held.skipped["lm_head"]
    assert "rank 1 of 32 × 64" in held.skipped["model.layers.0.self_attn.k_proj"]  # 0.03 · 32 · 64 / 96 < 1
    assert not any(isinstance(m, Factored) for m in held.model.modules() if m is held.model.lm_head)


def test_what_was_factored_before_is_left_alone(small: Small) -> None:
    held = svd.apply(small.held(), small.given, config(layers=["model.layers.0.*"], parameter_share=0.5))
    before = {name: p.clone() for name, p in held.model.model.layers[0].named_parameters()}
    svd.apply(held, small.given, config(layers=["model.layers.*"], parameter_share=0.8))
    assert all(p.equal(before[name]) for name, p in held.model.model.layers[0].named_parameters())
    assert "factored before" in held.skipped["model.layers.0.mlp.up_proj.down"]
    assert isinstance(held.model.model.layers[1].mlp.up_proj, Factored)
    twice = svd.least(svd.least(footprints(small.model), config(layers=["model.layers.0.*"])), svd.SAMPLE)
    assert "model.layers.0.mlp.up_proj.down.weight" in twice and "model.layers.1.mlp.up_proj.up.weight" in twice


def test_quantizers_after_it_see_both_halves(small: Small) -> None:
    held = svd.apply(small.held(), small.given, svd.SAMPLE)
    factored = small.nats(held.model)
    held = gptq.apply(held, small.given, gptq.SAMPLE.model_copy(update={"bits": 8, "layers": ["model.layers.1.*"]}))
    held = rtn.apply(held, small.given, rtn.SAMPLE.model_copy(update={"bits": 8, "layers": ["*_proj.down", "*.up"]}))
    assert len(held.grids) == 2 * 3 * 7
    assert abs(small.nats(held.model) - factored) < 0.02
    bits = rtn.least(svd.least(footprints(small.model), svd.SAMPLE), rtn.SAMPLE)
    assert bits["model.layers.0.mlp.up_proj.down.weight"].bits < 6


def test_kept_factors_are_taken_over(small: Small) -> None:
    kept: dict[str, dict[str, torch.Tensor]] = {}

    def keep(name: str, make: object) -> dict[str, torch.Tensor]:
        if name not in kept:
            kept[name] = make()  # type: ignore[operator]
        return kept[name]

    def run() -> Held:
        given = type(small.given)(**{n: getattr(small.given, n) for n in type(small.given).__slots__} | {"keep": keep})
        return svd.apply(small.held(), given, svd.SAMPLE)

    first = run()
    name = "model.layers.2.mlp.down_proj"
    kept[name]["up"] = torch.zeros_like(kept[name]["up"])
    assert not run().model.get_submodule(name).up.weight.any()
    assert first.model.get_submodule(name).up.weight.any()


def test_weights_that_are_not_finite_are_refused(small: Small) -> None:
    held = small.held()
    held.model.model.layers[1].mlp.up_proj.weight.data[3, 4] = torch.inf
    with pytest.raises(DataError, match=r"layers.1.mlp.up_proj"):
        svd.apply(held, small.given, svd.SAMPLE)
