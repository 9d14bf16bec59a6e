"""Weights factored such that errors count more on the inputs that are larger.

Yuan et al. 2023 (ASVD, 2312.05821, §3.2): each column is multiplied by mean |x| of its input to the power of α before
the singular value decomposition, and divided by it after.
"""

import torch
from pydantic import Field

from nightforge.blocks import Moments
from nightforge.compress import _factor
from nightforge.compress._context import Context, refuse_other
from nightforge.compress._factor import truncated
from nightforge.compress._pass import Given
from nightforge.held import Held, Tensors

COMPATIBLE, KIND, AFTER = _factor.COMPATIBLE, _factor.KIND, _factor.AFTER
least = _factor.least
SMALLEST = 1e-4
"""Of an input that is (next to) never there, as a share of the mean of all: nothing is divided by zero."""


class Config(_factor.Factoring):
    """Which layers are factored, how far, and for what."""

    alpha: float = Field(ge=0, le=1)
    """How much the size of an input says of what an error on it costs: 0 nothing, as in svd; 0.5 in the paper."""


SAMPLE = Config(layers=["model.layers.*"], parameter_share=0.8, alpha=0.5)


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model.

    Raises:
        ConfigError: it is not of a kind that this works on.
    """
    refuse_other("asvd", COMPATIBLE, context)


def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Factor layer by layer, each for what the factored ones before it give; `held` is changed in place.

    Raises:
        DataError: a weight is not a finite number.
    """

    def made(weight: torch.Tensor, seen: Moments, rank: int) -> Tensors:
        return split(weight, seen.mean_abs, rank, cfg.alpha)

    return _factor.each(held, given, cfg, made)


def split(weight: torch.Tensor, mean_abs: torch.Tensor, rank: int, alpha: float) -> Tensors:
    """The two weights.

    Args:
        weight: (outputs, inputs).
        mean_abs: mean |x| of each input (inputs,).
        rank: of the product.
        alpha: as in Config.
    """
    sizes = mean_abs.double()
    scale = sizes.clamp_min(SMALLEST * float(sizes.mean().clamp_min(1e-30))) ** alpha
    found = truncated(weight * scale, rank)
    return {"down": found["down"] / scale, "up": found["up"]}
