"""A weight as integers in blocks: how it is rounded, what it weighs, and what it stands for.

Along a weight's inputs, each block of `block_size` has a scale (and, unless symmetric, an offset) for each output:
weight ≈ scale · (integer − zero). Symmetric integers lie around 2^(bits − 1), and the value of largest magnitude is
mapped to the lowest of them, as llama.cpp's Q4_0 and ONNX Runtime's MatMulNBits do: one more level for the larger side.
"""

from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import torch

SCALE_BITS = 16
"""Scales are numbers of half precision, and held so in files; whoever computes in float32 widens them as it loads."""
SHRINKS = 20
"""Ranges that are tried where the range is searched."""
LEAST_SHRINK = 0.5


class Spec(NamedTuple):
    """How a weight is to be held."""

    bits: int
    block_size: int
    symmetric: bool

    @property
    def levels(self) -> int:
        """Integers that there are."""
        return int(2**self.bits)

    def bits_a_weight(self, inputs: int) -> float:
        """Bits that a weight of a row of so many inputs takes, its part of scale and offset included; a block at the
        end of the row that is not full takes as much as the others."""
        a_block = self.block_size * self.bits + SCALE_BITS + (0 if self.symmetric else self.bits)
        return ceil(inputs / self.block_size) * a_block / inputs


@dataclass(frozen=True, slots=True)
class Grid:
    """A weight (outputs, inputs) as integers."""

    spec: Spec
    ints: torch.Tensor
    """(outputs, inputs) uint8, 0 … 2^bits − 1."""
    scales: torch.Tensor
    """(outputs, blocks) float32, as `halves` gives them."""
    zeros: torch.Tensor
    """(outputs, blocks) uint8: the integer that stands for zero; 2^(bits − 1) where the grid is symmetric."""

    def values(self) -> torch.Tensor:
        """What it stands for: (outputs, inputs) float32."""
        at = self.block_of()
        return (self.ints.float() - self.zeros.float()[:, at]) * self.scales[:, at]

    def block_of(self) -> torch.Tensor:
        """The block of each input: (inputs,)."""
        return torch.arange(self.ints.shape[1]) // self.spec.block_size

    @property
    def size_bits(self) -> float:
        """What it takes on disk."""
        return self.ints.numel() * self.spec.bits_a_weight(self.ints.shape[1])

    def tensors(self) -> dict[str, torch.Tensor]:
        """For a file; `read` reads them."""
        spec = torch.tensor([self.spec.bits, self.spec.block_size, int(self.spec.symmetric)])
        return {"spec": spec, "ints": self.ints, "scales": self.scales, "zeros": self.zeros}


def read(tensors: dict[str, torch.Tensor]) -> Grid:
    """What `Grid.tensors` gave."""
    bits, block_size, symmetric = tensors["spec"].tolist()
    return Grid(Spec(bits, block_size, bool(symmetric)), tensors["ints"], tensors["scales"], tensors["zeros"])


def fit(weight: torch.Tensor, spec: Spec, importance: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales (outputs, blocks) and zeros (outputs, blocks) for a weight (outputs, inputs).

    Without `importance` the whole range of each block is covered. With it, ranges shrunk to 0.5 … 1 of that are tried
    for each block, and the one is kept whose rounding has the least squared error, each input's weighed by its
    importance (such as the mean square of what it is multiplied by; ones for the weight alone).

    Args:
        weight: (outputs, inputs).
        spec: how it is to be held.
        importance: (inputs,), ≥ 0.
    """
    blocks = _blocked(weight.float(), spec.block_size)  # (outputs, blocks, block_size)
    scales, zeros = _covering(blocks, spec)
    if importance is None:
        return scales, zeros
    weights = _blocked(importance.float()[None], spec.block_size)  # (1, blocks, block_size)
    best = torch.full_like(scales, torch.inf)
    kept = scales, zeros
    for i in range(SHRINKS):
        tried = _covering(blocks * (1 - i * (1 - LEAST_SHRINK) / SHRINKS), spec)
        error = (weights * (_rounded(blocks, spec, *tried) - blocks).square()).sum(-1)
        better = error < best
        best = torch.where(better, error, best)
        kept = tuple(torch.where(better, new, old) for new, old in zip(tried, kept, strict=True))  # type: ignore[assignment]
    return kept


def halves(scales: torch.Tensor) -> torch.Tensor:
    """The nearest numbers of half precision, in float32; those that are too large or too small for it stay."""
    near = scales.half().float()
    normal = near.isfinite() & (near.abs() >= torch.finfo(torch.float16).tiny)  # below, a half has fewer digits
    return torch.where(normal, near, scales)


def encode(weight: torch.Tensor, spec: Spec, scales: torch.Tensor, zeros: torch.Tensor) -> Grid:
    """A weight (outputs, inputs) rounded to the nearest integers of its blocks."""
    at = torch.arange(weight.shape[1]) // spec.block_size
    ints = torch.round(weight.float() / scales[:, at] + zeros.float()[:, at]).clamp(0, spec.levels - 1)
    return Grid(spec, ints.to(torch.uint8), scales, zeros)


def _covering(blocks: torch.Tensor, spec: Spec) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales and zeros that cover the range of each block; a block of zeros has scale 1."""
    low, high = blocks.amin(-1), blocks.amax(-1)
    if spec.symmetric:
        half = spec.levels // 2
        scales = halves(torch.where(-low >= high, low, high) / -half)
        zeros = torch.full_like(scales, half)
    else:
        low, high = low.clamp_max(0), high.clamp_min(0)
        scales = halves((high - low) / (spec.levels - 1))
        zeros = torch.round(-low / torch.where(scales != 0, scales, 1)).clamp(0, spec.levels - 1)
    return torch.where(scales != 0, scales, 1), zeros.to(torch.uint8)


def _rounded(blocks: torch.Tensor, spec: Spec, scales: torch.Tensor, zeros: torch.Tensor) -> torch.Tensor:
    offset = zeros.float()[..., None]
    ints = torch.round(blocks / scales[..., None] + offset).clamp(0, spec.levels - 1)
    return (ints - offset) * scales[..., None]


def _blocked(weight: torch.Tensor, block_size: int) -> torch.Tensor:
    """(rows, inputs) → (rows, blocks, block_size), the last block filled up."""
    short = -weight.shape[1] % block_size
    return torch.nn.functional.pad(weight, (0, short)).reshape(len(weight), -1, block_size)
