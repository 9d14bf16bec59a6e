"""Grids as the operators MatMulNBits and GatherBlockQuantized of ONNX Runtime hold them: blocks of integers in bytes.

docs/ContribOperators.md of ONNX Runtime 1.32: a weight (outputs, inputs) is (outputs, blocks, bytes), the first integer
of a byte in its lowest bits; without zero points 2^(bits − 1) stands for zero.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nightforge.grids import Grid

CONTAINERS = (2, 4, 8)
"""Bits for which there are kernels."""

Array = NDArray[np.generic]


class Packed(NamedTuple):
    """A weight in blocks of integers."""

    bits: int
    block_size: int
    inputs: int
    weight: NDArray[np.uint8]
    """(outputs, blocks, block_size · bits / 8)."""
    scales: NDArray[np.float32]
    """(outputs, blocks)."""
    zeros: NDArray[np.uint8] | None
    """(outputs, bytes); None where the integers lie around 2^(bits − 1)."""

    @property
    def tensors(self) -> dict[str, Array]:
        """What a file holds, by the ends of the names."""
        zeros: dict[str, Array] = {} if self.zeros is None else {"_zeros": self.zeros}
        scales: Array = self.scales
        with np.errstate(over="ignore"):
            halves = self.scales.astype(np.float16)
        if (halves == self.scales).all():  # then nothing is lost in half of the bytes
            scales = halves
        return {f"_q{self.bits}": self.weight, "_scales": scales, **zeros}


def container(bits: int) -> int:
    """Bits in which integers of so many bits are held."""
    return next(size for size in CONTAINERS if size >= bits)


def alike(grids: Sequence[Grid]) -> bool:
    """Whether the weights can be one, output after output."""
    return len({(container(g.spec.bits), g.spec.block_size, g.spec.symmetric, g.ints.shape[1]) for g in grids}) == 1


def pack(grids: Sequence[Grid]) -> Packed:
    """Grids that are alike as one weight, output after output; what each stands for is as it was."""
    first = grids[0].spec
    bits = container(first.bits)
    inputs = grids[0].ints.shape[1]
    blocks = grids[0].scales.shape[1]
    ints = np.concatenate([_moved(g.ints.numpy(), g, bits) for g in grids])
    ints = np.pad(ints, ((0, 0), (0, blocks * first.block_size - inputs)))
    zeros = None if first.symmetric else in_bytes(np.concatenate([g.zeros.numpy() for g in grids]), bits)
    return Packed(
        bits,
        first.block_size,
        inputs,
        in_bytes(ints, bits).reshape(len(ints), blocks, -1),
        np.concatenate([g.scales.float().numpy() for g in grids]),
        zeros,
    )


def in_bytes(ints: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """(rows, integers) → (rows, bytes), the first integer of a byte in its lowest bits, the last byte filled up."""
    each = 8 // bits
    padded = np.pad(ints, ((0, 0), (0, -ints.shape[1] % each))).reshape(len(ints), -1, each)
    shifted = padded << (np.arange(each, dtype=np.uint8) * np.uint8(bits))
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(shifted, axis=-1)
    return packed


def _moved(ints: NDArray[np.uint8], grid: Grid, bits: int) -> NDArray[np.uint8]:
    """Integers around zero lie around the middle of a larger container too."""
    if not grid.spec.symmetric:
        return ints
    moved: NDArray[np.uint8] = ints + np.uint8(2 ** (bits - 1) - grid.spec.levels // 2)
    return moved
