"""Columns settled from left to right, each one's error spread over those to its right by the inverse Hessian.

Frantar et al. 2022 (GPTQ, 2210.17323, alg. 1) and 2023 (SparseGPT, 2301.00774, alg. 1), which differ in how a column is
settled alone: to the nearest integers, or to zeros where a mask says so.
"""

import warnings
from collections.abc import Callable

import torch

from nightforge.errors import DataError

BLOCK = 128
"""Columns whose error is spread over the rest at once: the same result, in larger matrix products."""
Settle = Callable[[torch.Tensor, int], torch.Tensor]
"""(weight as it is by now (outputs, inputs), column) → that column settled (outputs,). Columns from the given one to
the end of its block are up to date; to look further, look when the column is the first of a block."""


def regular(gram: torch.Tensor, damp: float) -> torch.Tensor:
    """The Hessian, made regular: gram + damp · mean(diag) · 1, (inputs, inputs) float64.

    An input that is always zero counts as one that is not, or nothing could be inverted; what its weight is makes no
    difference. With fewer tokens than inputs the Gram matrix is singular, and the damping alone makes it regular: it
    grows tenfold until it does, which is warned of.

    Args:
        gram: Σ xᵀx (inputs, inputs).
        damp: share of the mean of the diagonal, > 0; 0.01 in both papers.

    Raises:
        DataError: it is not finite.
    """
    if not gram.isfinite().all():
        raise DataError("expected activations that are finite, some are not: the model overflows on this text.")
    hessian = gram.double()
    diagonal = hessian.diagonal()
    hessian = hessian + torch.diag((diagonal == 0).double() * diagonal.mean().clamp_min(1e-30))
    mean, grown = hessian.diagonal().mean(), damp
    while True:
        damped = hessian + grown * mean * torch.eye(len(hessian), dtype=torch.float64)
        if not torch.linalg.cholesky_ex(damped).info:
            break
        grown *= 10
    if grown > damp:
        warnings.warn(f"a Hessian of {len(gram)} inputs was singular at damp {damp}: {grown:g} was taken", stacklevel=2)
    return damped


def inverse_root(gram: torch.Tensor, damp: float) -> torch.Tensor:
    """The upper Cholesky factor of the inverse of the Hessian; arguments and errors as those of `regular`."""
    return root_of_inverse(regular(gram, damp))


def root_of_inverse(hessian: torch.Tensor) -> torch.Tensor:
    """The upper Cholesky factor U of the inverse, UᵀU = hessian⁻¹: (inputs, inputs) float32.

    Args:
        hessian: as `regular` gives it.
    """
    root: torch.Tensor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True)
    return root.float()


def sweep(weight: torch.Tensor, root: torch.Tensor, settle: Settle) -> torch.Tensor:
    """Settle the columns of a weight, which is changed in place and given back.

    Args:
        weight: (outputs, inputs) float32.
        root: `inverse_root` of what goes into it (inputs, inputs).
        settle: see Settle.
    """
    inputs = weight.shape[1]
    for start in range(0, inputs, BLOCK):
        end = min(start + BLOCK, inputs)
        errors = torch.empty(len(weight), end - start)
        for at in range(start, end):
            settled = settle(weight, at)
            errors[:, at - start] = (weight[:, at] - settled) / root[at, at]
            weight[:, at:end] -= torch.outer(errors[:, at - start], root[at, at:end])
            weight[:, at] = settled  # not a rounding error away
        weight[:, end:] -= errors @ root[start:end, end:]
    return weight
