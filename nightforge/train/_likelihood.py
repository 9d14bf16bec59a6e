"""How probable each of the 256 levels of a value is under a logistic: true bits, since the levels' shares sum to one.

Salimans et al. 2017 (PixelCNN++, arXiv 1701.05517, §2.1), with one component, and its edges open to ±∞.
"""

import torch
from torch.nn import functional

from nightforge.levels import HIGHEST

HALF_STEP = 1 / HIGHEST
"""Half the distance of two levels, where the lowest is −1 and the highest 1."""


def logistic_nats(x: torch.Tensor, mean: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """−ln of the share of each value's level; all of one shape, x on the levels in −1 … 1.

    σ(a) − σ(b) = σ(a) · σ(−b) · (1 − exp(b − a)), which loses no digits where both are near 0 or 1.
    """
    scale = log_scale.exp()
    upper, lower = (x - mean + HALF_STEP) / scale, (x - mean - HALF_STEP) / scale
    below, above = functional.logsigmoid(upper), functional.logsigmoid(-lower)
    within = below + above + torch.log(-torch.expm1(-2 * HALF_STEP / scale))
    return -torch.where(x < -1 + HALF_STEP, below, torch.where(x > 1 - HALF_STEP, above, within))
