"""What quantization-aware training starts from, and what it gains over rounding alone."""

from typing import Any

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import strategies as st

from nightforge.compress import qat, rtn
from nightforge.compress._context import Context
from nightforge.compress._pass import Footprint
from nightforge.errors import ConfigError
from nightforge.grids import Spec, encode, fit
from nightforge.methods import choose
from tests.small_lm import Small

ROUNDING = {"name": "rtn", "layers": ["model.layers.*", "lm_head"], "bits": 2, "block_size": 64, "symmetric": False,
            "search": False}  # fmt: skip
START = choose("compress", ROUNDING)


def config(**changes: Any) -> qat.Config:
    loop = qat.SAMPLE.loop.model_copy(update={"steps": 60, "eval_every": 20})
    return qat.SAMPLE.model_copy(update={"loop": loop, "start": START} | changes)


@drawn(st.integers(0, 9999), st.sampled_from([2, 3, 4]), st.booleans())
def test_training_starts_within_the_cell_that_was_chosen(seed: int, bits: int, symmetric: bool) -> None:
    """Also of integers that are not the nearest, as GPTQ leaves them; of those that are, from the weight itself."""
    generator = torch.Generator().manual_seed(seed)
    weight, spec = torch.randn(3, 40, generator=generator), Spec(bits, 32, symmetric)
    scales, zeros = fit(weight, spec)
    shifted = encode(weight + 0.3 * torch.randn(3, 40, generator=generator), spec, scales, zeros)
    latent = qat.within(shifted, weight)
    assert encode(latent, spec, scales, zeros).ints.equal(shifted.ints)
    assert ((latent - weight).abs() <= (shifted.values() - weight).abs() + 1e-6).all()
    nearest = encode(weight, spec, scales, zeros)
    inside = (nearest.values() - weight).abs() < 0.48 * scales.abs()[:, nearest.block_of()]
    torch.testing.assert_close(qat.within(nearest, weight)[inside], weight[inside])


def test_trained_rounding_beats_rounding_at_the_same_bits(small: Small) -> None:
    alone = rtn.apply(small.held(), small.given, START.cfg)  # type: ignore[arg-type]
    held = qat.apply(small.held(), small.given, config())
    assert held.grids.keys() == alone.grids.keys()
    assert all(grid.spec == alone.grids[name].spec for name, grid in held.grids.items())
    assert sum(grid.size_bits for grid in held.grids.values()) == sum(g.size_bits for g in alone.grids.values())
    layers = dict(held.model.named_modules())
    assert all(layers[name].weight.equal(grid.values()) for name, grid in held.grids.items())
    assert held.model.lm_head.weight is held.model.model.embed_tokens.weight
    ((name, figures),) = held.notes
    assert name == "qat" and figures["nats_ptq"] == pytest.approx(small.nats(alone.model), rel=1e-5)
    assert figures["nats_qat"] == pytest.approx(small.nats(held.model), rel=1e-5)
    lost = figures["nats_ptq"] - small.nats(small.model)
    assert figures["nats_ptq"] - figures["nats_qat"] > 0.5 * lost > 0.1


def test_given_grids_are_gone_on_from(small: Small) -> None:
    held = rtn.apply(small.held(), small.given, START.cfg)  # type: ignore[arg-type]
    short = config(start=None, alpha=0.0, loop=qat.SAMPLE.loop)
    figures = qat.apply(held, small.given, short).notes[0][1]
    assert figures["nats_qat"] < figures["nats_ptq"] and "nats_teacher" not in figures
    with pytest.raises(ConfigError, match="got none"):
        qat.apply(small.held(), small.given, short)


def test_what_it_starts_from_is_checked_and_weighed() -> None:
    context = Context("causal_lm", "transformers", True, {})
    qat.check(context, config())
    tensors = {"model.layers.0.mlp.up_proj.weight": Footprint((128, 64), 32)}
    assert qat.least(tensors, config()) == rtn.least(tensors, START.cfg)  # type: ignore[arg-type]
    assert qat.least(tensors, config(start=None)) == tensors
    for start in (
        choose("compress", {"name": "magnitude", **_values("magnitude")}),
        choose("compress", {"name": "qat", **_values("qat")}),
    ):
        with pytest.raises(ConfigError, match="expected start to be a quantizer"):
            qat.check(context, config(start=start))


def _values(name: str) -> dict[str, Any]:
    from nightforge.methods import load

    values: dict[str, Any] = load("compress", name).SAMPLE.model_dump()
    return values
