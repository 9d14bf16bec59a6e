"""Quantization-aware training: weights rounded to their grids at every step, and the grids' scales learnt.

LSQ (Esser et al. 2020, arXiv 1902.08153): the gradient goes straight through the rounding, and the scales have one of
their own; with a start from what was rounded after training, as in EfficientQAT (Chen et al. 2024, arXiv 2407.11062).
What rounding alone scored, at the same bits, stands in the notes beside what came of it.
"""

from collections.abc import Mapping
from typing import Annotated

import torch

from nightforge import blocks
from nightforge.compress import _pass, _quantize, _recover
from nightforge.compress._context import Context, refuse_other
from nightforge.compress._pass import Footprint, Given
from nightforge.errors import ConfigError
from nightforge.grids import Grid
from nightforge.held import Held
from nightforge.methods import Chosen, Method, choose

COMPATIBLE, KIND, AFTER = _pass.COMPATIBLE, _quantize.KIND, _quantize.AFTER
INSIDE = 0.49
"""Of a step: nearer than half, a weight rounds to where it was."""


class Config(_recover.Config):
    """How the weights are rounded, and trained."""

    start: Annotated[Method, Chosen("compress")] | None
    """The quantizer that makes the grids (rtn, gptq, …) with its values; null starts from those there are."""


SAMPLE = Config(
    loop=_recover.SAMPLE_LOOP,
    alpha=0.5,
    temperature=1.0,
    hidden=0.0,
    start=choose("compress", {"name": "rtn", "layers": ["model.layers.*"], "bits": 3, "block_size": 32,
                              "symmetric": True, "search": False}),
)  # fmt: skip


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model, a start that does not quantize, and settings that would not give the same twice.

    Raises:
        ConfigError: see there.
    """
    refuse_other("qat", COMPATIBLE, context)
    _recover.check("qat", cfg)
    if cfg.start is None:
        return
    if getattr(cfg.start.module, "KIND", "") != KIND or cfg.start.name == "qat":
        raise ConfigError(
            f"compress: qat: expected start to be a quantizer, such as rtn or gptq, got {cfg.start.name}."
        )
    cfg.start.module.check(context, cfg.start.cfg)


def least(footprints: Mapping[str, Footprint], cfg: Config) -> dict[str, Footprint]:
    """What the start makes of them."""
    made: dict[str, Footprint] = cfg.start.module.least(footprints, cfg.start.cfg) if cfg.start else dict(footprints)
    return made


def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Round, then train; `held` is changed in place, and has the figures of both in its notes.

    Raises:
        ConfigError: nothing is on a grid.
    """
    exact = {}
    if cfg.start:
        exact = {name: layer.weight.detach().clone() for name, layer in blocks.linears(held.model, ["*"]).items()}
        held = cfg.start.module.apply(held, given, cfg.start.cfg)
    if not held.grids:
        raise ConfigError("compress: qat: expected layers on grids, got none. Name a quantizer in start, or before it.")
    latent = {name: within(grid, exact[name]) for name, grid in held.grids.items() if name in exact}
    figures = _recover.recover(held, given, cfg, "all", None, latent)
    figures = {"nats_ptq": figures.pop("nats_before"), "nats_qat": figures.pop("nats_after")} | figures
    held.notes.append(("qat", figures))
    return held


def within(grid: Grid, weight: torch.Tensor) -> torch.Tensor:
    """The nearest to a weight (outputs, inputs) that the grid still rounds as it has: training starts from there.

    So none of what rounding took is lost to the training, and its first step computes what the grid holds.
    """
    values, room = grid.values(), INSIDE * grid.scales.abs()[:, grid.block_of()]
    return values + (weight - values).clamp(-room, room)
