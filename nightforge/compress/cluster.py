"""Weights as numbers out of a small codebook of their layer, found by k-means; no runtime that is exported to reads it.

Han et al. 2015 (Deep Compression, 1510.00149, §3 and §4): the codebook begins evenly between the least and the largest
weight, and the indices are told by Huffman's code. Here the model stays in floats and as large as it was; what it would
take is noted, with plain indices and with Huffman's, codebooks and code lengths included.
"""

from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from math import ceil, log2

import numpy as np
import torch
from pydantic import Field

from nightforge import blocks, config
from nightforge.compress import _pass, _quantize
from nightforge.compress._context import Context, refuse_other
from nightforge.compress._pass import Footprint, Given
from nightforge.held import Held, Tensors, put

COMPATIBLE, KIND, AFTER = _pass.COMPATIBLE, _quantize.KIND, _quantize.AFTER
CODE_LENGTH_BITS = 8
"""What it takes to tell how long an entry's code is."""
ROUNDS = 50
"""Of k-means, at most."""


class Config(config.Config):
    """Which layers, and how large their codebooks are."""

    layers: list[str] = Field(min_length=1)
    """Patterns of layers' names, such as `model.layers.*` or `lm_head` (with which tied embeddings go)."""
    entries: int = Field(ge=2, le=4096)
    """Numbers in a codebook; a weight that is zero (pruned) stays zero, which takes one more."""


SAMPLE = Config(layers=["model.layers.*"], entries=16)


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model.

    Raises:
        ConfigError: it is not of a kind that this works on.
    """
    refuse_other("cluster", COMPATIBLE, context)


def least(footprints: Mapping[str, Footprint], cfg: Config) -> dict[str, Footprint]:
    """Nothing becomes smaller where no runtime reads it."""
    return dict(footprints)


def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Cluster each layer; `held` is changed in place."""
    figures = {"weights_mb_dense": 0.0, "weights_mb_indices": 0.0, "weights_mb_huffman": 0.0}
    for name, layer in blocks.linears(held.model, cfg.layers).items():
        weight = layer.weight.detach()

        def made(weight: torch.Tensor = weight) -> Tensors:
            return {"weight": clustered(weight, cfg.entries)}

        put(held, name, layer, given.keep(name, made))
        counts = np.unique(layer.weight.detach().numpy(), return_counts=True)[1].tolist()
        figures["weights_mb_dense"] += weight.numel() * 32 / 8e6
        figures["weights_mb_indices"] += indexed_bits(counts) / 8e6
        figures["weights_mb_huffman"] += huffman_bits(counts) / 8e6
    held.notes.append((f"cluster: {_quantize.NO_RUNTIME}", figures))
    return held


def clustered(weight: torch.Tensor, entries: int) -> torch.Tensor:
    """Each weight replaced by the mean of its cluster; zeros stay. Lloyd's algorithm on sorted numbers.

    Args:
        weight: of any shape.
        entries: clusters, at most.
    """
    numbers = weight[weight != 0].double().sort().values
    if not len(numbers):
        return weight.clone()
    sums = torch.cat([torch.zeros(1).double(), numbers.cumsum(0)])
    means = torch.linspace(float(numbers[0]), float(numbers[-1]), entries, dtype=torch.float64)
    for _ in range(ROUNDS):
        ends = torch.searchsorted(numbers, (means[1:] + means[:-1]) / 2)
        ends = torch.cat([torch.tensor([0]), ends, torch.tensor([len(numbers)])])
        sizes = ends.diff()
        new = torch.where(sizes > 0, sums[ends].diff() / sizes.clamp_min(1), means)
        if new.equal(means):
            break
        means = new
    nearest = torch.bucketize(weight.double(), (means[1:] + means[:-1]) / 2)
    return torch.where(weight != 0, means[nearest].to(weight.dtype), weight)


def indexed_bits(counts: list[int]) -> float:
    """Bits of indices of one length, with the codebook in float32.

    Args:
        counts: how often each number occurs.
    """
    return sum(counts) * ceil(log2(max(2, len(counts)))) + 32 * len(counts)


def huffman_bits(counts: list[int]) -> float:
    """Bits of indices in Huffman's code (1952), with the codebook in float32 and the length of each entry's code.

    Args:
        counts: how often each number occurs.
    """
    heap = list(counts)
    heapify(heap)
    bits = sum(counts) if len(heap) == 1 else 0
    while len(heap) > 1:  # each joining puts one bit before all that lies below
        joined = heappop(heap) + heappop(heap)
        bits += joined
        heappush(heap, joined)
    return bits + (32 + CODE_LENGTH_BITS) * len(counts)
