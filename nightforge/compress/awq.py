"""Inputs that carry much made larger in the weights before these are rounded, so that they lose less by it.

Lin et al. 2023 (AWQ, 2306.00978, §3.2): s = mean|x|^α for each input, α by grid search for the least error of what
comes out. Here the error is taken by the Gram matrix of all calibration tokens, not on a sample of them. It rounds
nothing: a quantizer must follow (rtn with `search` for the paper's clipping, or gptq).
"""

from collections.abc import Mapping

import torch
from pydantic import Field

from nightforge import grids
from nightforge.blocks import Moments
from nightforge.compress import _fold, _pass, _quantize
from nightforge.compress._context import Context, refuse_other
from nightforge.compress._fold import Fold
from nightforge.compress._pass import Given
from nightforge.grids import Spec
from nightforge.held import Held

COMPATIBLE, KIND, AFTER = _pass.COMPATIBLE, _fold.KIND, _fold.AFTER
least = _fold.least
SMALLEST = 1e-4
"""As in the authors' repository: no mean counts as less."""


class Config(_quantize.Rounding):
    """Which layers, and the grid that they are to be rounded to later."""

    tries: int = Field(ge=1, le=100)
    """Values of α between 0 and 1 that are tried beside 0; 20 in the paper."""


SAMPLE = Config(layers=["model.layers.*"], bits=4, block_size=32, symmetric=True, tries=10)


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model.

    Raises:
        ConfigError: it is not of a kind that this works on.
    """
    refuse_other("awq", COMPATIBLE, context)


def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Move scale to the weights; `held` is changed in place, its function stays."""

    return _fold.smooth(held, given, cfg.layers, lambda fold, seen: best(fold, seen, cfg.spec, cfg.tries))


def best(fold: Fold, seen: Mapping[str, Moments], spec: Spec, tries: int) -> torch.Tensor:
    """The scales of the source's channels with which rounding the targets loses least; ones if none is better.

    Args:
        fold: where scale is moved.
        seen: moments of the targets' inputs, by name.
        spec: how the targets are to be held.
        tries: see Config.
    """
    large = torch.stack([seen[name].mean_abs for name in fold.targets]).amax(0)
    channels = fold.gathered(large).clamp_min(SMALLEST * float(large.max().clamp_min(SMALLEST)))
    kept = torch.ones_like(channels)
    least_error = sum(lost(fold, seen, spec, kept))
    for i in range(1, tries + 1):
        tried = channels ** (i / tries)
        tried = tried / (tried.max() * tried.min()).sqrt()
        if (error := sum(lost(fold, seen, spec, tried))) < least_error:
            least_error, kept = error, tried
    return kept


def lost(fold: Fold, seen: Mapping[str, Moments], spec: Spec, scales: torch.Tensor) -> list[float]:
    """‖(W − Ŵ)X‖² of each target, were it rounded with these scales of the source's channels."""
    spread, errors = fold.spread(scales), []
    for name, layer in fold.targets.items():
        weight = layer.weight.detach()
        scaled = weight * spread
        rounded = grids.encode(scaled, spec, *grids.fit(scaled, spec)).values() / spread
        error = weight - rounded
        errors.append(float((error @ seen[name].gram * error).sum(dtype=torch.float64)))
    return errors
