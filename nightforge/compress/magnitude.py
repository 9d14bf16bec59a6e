"""The weights of least magnitude are put to zero, without a look at data.

Han et al. 2015 (*Learning both weights and connections*, §3), whose threshold is a share of the standard deviation of
the layer's weights; by rate, in each layer or over all, and n of m as in Mishra et al. 2021 (2104.08378).
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, model_validator

from nightforge import config
from nightforge.compress import _prune
from nightforge.compress._context import Context
from nightforge.compress._pass import Given
from nightforge.held import Held, put

COMPATIBLE, KIND, AFTER = _prune.COMPATIBLE, _prune.KIND, _prune.AFTER
least = _prune.least
HIGH_BITS = 16


class Config(config.Config):
    """Which weights."""

    layers: list[str] = Field(min_length=1)
    """Patterns of layers' names, such as `model.layers.*`."""
    sparsity: _prune.Rate | _prune.Pattern | None
    """Share of the weights that are put to zero, or `2 of 4`: so many of each so many inputs side by side (n:m)."""
    threshold: float | None = Field(gt=0)
    """In place of `sparsity`: weights below so many standard deviations of the layer's weights are put to zero."""
    scope: Literal["layer", "all"]
    """Whether `sparsity` is the rate of each layer, or of all layers together, where some lose more than others."""

    @model_validator(mode="after")
    def _one_measure(self) -> "Config":
        if (self.sparsity is None) == (self.threshold is None):
            raise ValueError("expected one of sparsity and threshold, and null for the other")
        if self.scope == "all" and not isinstance(self.sparsity, float):
            raise ValueError("scope: all needs a rate as sparsity")
        return self


SAMPLE = Config(layers=["model.layers.*"], sparsity=0.5, threshold=None, scope="layer")


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model.

    Raises:
        ConfigError: it is not of a kind that this works on.
    """
    _prune.refuse("magnitude", context)


def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Put the smallest weights to zero; `held` is changed in place.

    Raises:
        DataError: a weight is not a finite number.
    """
    found = _prune.able(held, cfg.layers, cfg.sparsity)
    weights = [layer.weight.detach() for layer in found.values()]
    together = cut(weights, float(cfg.sparsity)) if cfg.scope == "all" else None  # type: ignore[arg-type]
    for (name, layer), weight in zip(found.items(), weights, strict=True):
        if together is not None:
            gone = weight.abs() <= together
        elif cfg.threshold is not None:
            gone = weight.abs() < cfg.threshold * weight.std()
        elif isinstance(cfg.sparsity, str):
            gone = _prune.lowest(weight.abs(), cfg.sparsity)
        else:
            gone = _prune.lowest(weight.abs().reshape(1, -1), float(cfg.sparsity or 0)).reshape(weight.shape)
        put(held, name, layer, {"weight": weight.masked_fill(gone, 0)})
    return held


def cut(weights: Sequence[torch.Tensor], rate: float) -> float:
    """The magnitude that a share of all weights does not exceed; found in two looks, no copy of them all is sorted.

    Bits of a float above zero are ordered as it is: the upper half of the one that is sought first, then the lower.

    Args:
        weights: float32.
        rate: 0 … 1.
    """
    count = int(rate * sum(weight.numel() for weight in weights))
    if count == 0:
        return -1.0
    high = _reached(torch.stack([_counted(_bits(w) >> HIGH_BITS) for w in weights]).sum(0), count)
    inside = [bits[bits >> HIGH_BITS == high] for bits in map(_bits, weights)]
    below = sum(int((_bits(w) >> HIGH_BITS < high).sum()) for w in weights)
    low = _reached(torch.stack([_counted(bits & (2**HIGH_BITS - 1)) for bits in inside]).sum(0), count - below)
    return float(torch.tensor(high << HIGH_BITS | low, dtype=torch.int32).view(torch.float32))


def _bits(weight: torch.Tensor) -> torch.Tensor:
    return weight.abs().contiguous().view(torch.int32).flatten()


def _counted(halves: torch.Tensor) -> torch.Tensor:
    return torch.bincount(halves, minlength=2**HIGH_BITS)


def _reached(counts: torch.Tensor, count: int) -> int:
    """The first value at which so many are counted."""
    return int(torch.searchsorted(counts.cumsum(0), count))
