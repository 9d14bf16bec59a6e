"""Large activations made smaller and the weights that take them larger, for runtimes that round both.

Xiao et al. 2022 (SmoothQuant, 2211.10438, eq. 4): s = max|x|^α / max|w|^(1 − α) for each input.
"""

from collections.abc import Mapping

import torch
from pydantic import Field

from nightforge import config
from nightforge.blocks import Moments
from nightforge.compress import _fold, _pass
from nightforge.compress._context import Context, refuse_other
from nightforge.compress._fold import Fold
from nightforge.compress._pass import Given
from nightforge.held import Held

COMPATIBLE, KIND, AFTER = _pass.COMPATIBLE, _fold.KIND, _fold.AFTER
least = _fold.least
SMALLEST = 1e-5
"""As in the authors' repository: no maximum counts as less."""


class Config(config.Config):
    """Which layers, and how far."""

    layers: list[str] = Field(min_length=1)
    """Patterns of layers' names, such as `model.layers.*`."""
    alpha: float = Field(ge=0, le=1)
    """How much of the difficulty goes from the activations to the weights: 0 none, 1 all; 0.5 in the paper."""


SAMPLE = Config(layers=["model.layers.*"], alpha=0.5)


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model.

    Raises:
        ConfigError: it is not of a kind that this works on.
    """
    refuse_other("smoothquant", COMPATIBLE, context)


def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Move scale from activations to weights; `held` is changed in place, its function stays."""

    return _fold.smooth(held, given, cfg.layers, lambda fold, seen: scales(fold, seen, cfg.alpha))


def scales(fold: Fold, seen: Mapping[str, Moments], alpha: float) -> torch.Tensor:
    """What the source's channels are divided by: (channels,).

    Args:
        fold: where scale is moved.
        seen: moments of the targets' inputs, by name.
        alpha: see Config.
    """
    activations = torch.stack([seen[name].abs_max for name in fold.targets]).amax(0)
    weights = torch.cat([layer.weight.detach() for layer in fold.targets.values()]).abs().amax(0)
    large, own = (fold.gathered(one).clamp_min(SMALLEST) for one in (activations, weights))
    return (large**alpha / own ** (1 - alpha)).clamp_min(SMALLEST)
