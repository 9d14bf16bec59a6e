"""Grids fitted to most of a block's weights and not to its few far ones, without a look at data.

Badri & Shaji 2023 (*Half-Quadratic Quantization of Large Machine Learning Models*, mobiusml.github.io/hqq_blog): the
error counts by the p-norm, p < 1, split into W − Ŵ − E, least squares, and E, shrunk (their equations 3 to 6). There
the offset is a real number. Here it is an integer, as runtimes hold it, so each round fits scale and offset together as
a line through (integers, weights − E) and rounds the offset; the round that loses least by the p-norm is kept, for each
block. A symmetric grid's offset stays, and its scale alone is fitted.
"""

import torch
from pydantic import Field

from nightforge import blocks, grids
from nightforge.compress import _pass, _quantize
from nightforge.compress._context import Context, refuse_other
from nightforge.compress._pass import Given
from nightforge.grids import Grid, Spec
from nightforge.held import Held, put

COMPATIBLE, KIND, AFTER = _pass.COMPATIBLE, _quantize.KIND, _quantize.AFTER
least = _quantize.least
BETA = 10.0
GROWTH = 1.01
"""Weight of the least squares at first, and its growth by round: those of the authors' repository."""


class Config(_quantize.Rounding):
    """How the weights are rounded."""

    norm: float = Field(gt=0, lt=1)
    """p: the smaller, the less do far weights count; 0.7 in the authors' repository."""
    rounds: int = Field(ge=1, le=100)
    """20 in the authors' repository."""


SAMPLE = Config(layers=["model.layers.*"], bits=4, block_size=32, symmetric=False, norm=0.7, rounds=20)


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model.

    Raises:
        ConfigError: it is not of a kind that this works on.
    """
    refuse_other("hqq", COMPATIBLE, context)


def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Round each layer; `held` is changed in place."""
    for name, layer in blocks.linears(held.model, cfg.layers).items():
        put(held, name, layer, rounded(layer.weight.detach(), cfg.spec, cfg.norm, cfg.rounds).tensors())
    return held


def rounded(weight: torch.Tensor, spec: Spec, norm: float, rounds: int) -> Grid:
    """The grid of least Σ |W − Ŵ|^p of each block, of those that the rounds come by.

    Args:
        weight: (outputs, inputs).
        spec: how it is to be held.
        norm: p.
        rounds: see Config.
    """
    scales, zeros = grids.fit(weight, spec)
    best = grids.encode(weight, spec, scales, zeros)
    fewest, beta, grid = by_block((weight - best.values()).abs() ** norm, spec), BETA, best
    for _ in range(rounds):
        far = shrunk(weight - grid.values(), beta, norm)
        grid = grids.encode(weight, spec, *refitted(weight - far, grid))
        errors = by_block((weight - grid.values()).abs() ** norm, spec)
        better = errors < fewest
        fewest, beta = torch.where(better, errors, fewest), beta * GROWTH
        scales, zeros = torch.where(better, grid.scales, scales), torch.where(better, grid.zeros, zeros)
    return grids.encode(weight, spec, scales, zeros)


def shrunk(errors: torch.Tensor, beta: float, norm: float) -> torch.Tensor:
    """The generalized soft threshold: what of an error is far enough to be let go (Chartrand 2012)."""
    least = torch.finfo(errors.dtype).tiny
    return errors.sign() * (errors.abs() - errors.abs().clamp_min(least) ** (norm - 1) / beta).clamp_min(0)


def refitted(wanted: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales and zeros of least squares for the integers as they are: (outputs, blocks) each.

    Args:
        wanted: what the integers are to stand for (outputs, inputs).
        grid: whose integers are taken, and whose scale stays where a block's integers are all one.
    """
    spec, ints = grid.spec, grid.ints.float()
    zeros = grid.zeros
    if not spec.symmetric:
        count = by_block(torch.ones_like(ints), spec)
        mean_int, mean = by_block(ints, spec) / count, by_block(wanted, spec) / count
        slope = by_block(ints * wanted, spec) / count - mean_int * mean
        spread = by_block(ints**2, spec) / count - mean_int**2
        step = torch.where((spread > 0) & (slope * grid.scales > 0), slope / spread, grid.scales)
        zeros = (mean_int - mean / step).round().clamp(0, spec.levels - 1).to(torch.uint8)
    steps = ints - zeros.float()[:, grid.block_of()]
    energy, along = by_block(steps**2, spec), by_block(steps * wanted, spec)
    scales = torch.where((energy > 0) & (along * grid.scales > 0), along / energy, grid.scales)
    return grids.halves(scales), zeros


def by_block(values: torch.Tensor, spec: Spec) -> torch.Tensor:
    """Sums over blocks: (outputs, inputs) → (outputs, blocks)."""
    short = -values.shape[1] % spec.block_size
    return torch.nn.functional.pad(values, (0, short)).reshape(len(values), -1, spec.block_size).sum(-1)
