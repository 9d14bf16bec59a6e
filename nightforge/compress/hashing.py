"""Weights that share a number by a hash of their place, without a table of indices; no runtime exported to reads it.

Chen et al. 2015 (HashedNets, 1504.04788, §4): a weight is ξ(i, j) · v[h(i, j)], with h a hash to the layer's numbers
and ξ one to signs. There the numbers are trained; of a trained model the numbers of least squares are means, and little
is left of it. It stands here to be measured against; `cluster` keeps a model at the same size.
"""

from collections.abc import Mapping
from math import ceil
from zlib import crc32

import torch
from pydantic import Field

from nightforge import blocks, config
from nightforge.compress import _pass, _quantize
from nightforge.compress._context import Context, refuse_other
from nightforge.compress._pass import Footprint, Given
from nightforge.held import Held, put

COMPATIBLE, KIND, AFTER = _pass.COMPATIBLE, _quantize.KIND, _quantize.AFTER


class Config(config.Config):
    """Which layers, and how many numbers they share."""

    layers: list[str] = Field(min_length=1)
    """Patterns of layers' names, such as `model.layers.*` or `lm_head` (with which tied embeddings go)."""
    share: float = Field(gt=0, lt=1)
    """Numbers over weights of a layer: 1/8 takes 4 bits a weight."""


SAMPLE = Config(layers=["model.layers.1.mlp.*"], share=0.125)


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model.

    Raises:
        ConfigError: it is not of a kind that this works on.
    """
    refuse_other("hashing", COMPATIBLE, context)


def least(footprints: Mapping[str, Footprint], cfg: Config) -> dict[str, Footprint]:
    """Nothing becomes smaller where no runtime reads it."""
    return dict(footprints)


def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Share the numbers of each layer; `held` is changed in place."""
    figures = {"weights_mb_dense": 0.0, "weights_mb_hashed": 0.0}
    for name, layer in blocks.linears(held.model, cfg.layers).items():
        weight = layer.weight.detach()
        numbers = ceil(cfg.share * weight.numel())
        put(held, name, layer, {"weight": shared(weight, numbers, given.seed + crc32(name.encode()))})
        figures["weights_mb_dense"] += weight.numel() * 32 / 8e6
        figures["weights_mb_hashed"] += numbers * 32 / 8e6
    held.notes.append((f"hashing: {_quantize.NO_RUNTIME}", figures))
    return held


def shared(weight: torch.Tensor, numbers: int, seed: int) -> torch.Tensor:
    """The weight of least squares among those that share so many numbers.

    Args:
        weight: (outputs, inputs).
        numbers: that there are.
        seed: of the hash: places and signs are drawn from it.
    """
    generator = torch.Generator().manual_seed(seed)
    at = torch.randint(0, numbers, (weight.numel(),), generator=generator)
    signs = torch.randint(0, 2, (weight.numel(),), generator=generator) * 2.0 - 1
    sums = torch.zeros(numbers, dtype=torch.float64).index_add_(0, at, (signs * weight.flatten()).double())
    means = sums / at.bincount(minlength=numbers).clamp_min(1)
    return (signs * means[at]).to(weight.dtype).reshape(weight.shape)
