"""Weights factored such that the layer's output loses least: the optimum of its rank, in closed form.

Wang et al. 2024 (SVD-LLM, 2403.07378, §3.1): with S Sᵀ = Σ xᵀx (Cholesky), the squared error of the output of W' is
‖(W − W') S‖², so truncating the singular values of W S loses exactly the squares of those that are dropped.
"""

import torch
from pydantic import Field

from nightforge.blocks import Moments
from nightforge.compress import _factor, _hessian
from nightforge.compress._context import Context, refuse_other
from nightforge.compress._factor import truncated
from nightforge.compress._pass import Given
from nightforge.held import Held, Tensors

COMPATIBLE, KIND, AFTER = _factor.COMPATIBLE, _factor.KIND, _factor.AFTER
least = _factor.least


class Config(_factor.Factoring):
    """Which layers are factored, and how far."""

    damp: float = Field(gt=0, le=1)
    """Added to the diagonal of the Gram matrix, as a share of its mean: more where few tokens are calibrated on."""


SAMPLE = Config(layers=["model.layers.*"], parameter_share=0.8, damp=0.01)


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model.

    Raises:
        ConfigError: it is not of a kind that this works on.
    """
    refuse_other("svd_llm", COMPATIBLE, context)


def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Factor layer by layer, each for what the factored ones before it give; `held` is changed in place.

    Raises:
        DataError: a weight or an activation is not a finite number.
    """

    def made(weight: torch.Tensor, seen: Moments, rank: int) -> Tensors:
        return split(weight, _hessian.regular(seen.gram, cfg.damp), rank)

    return _factor.each(held, given, cfg, made)


def split(weight: torch.Tensor, gram: torch.Tensor, rank: int) -> Tensors:
    """The two weights.

    Args:
        weight: (outputs, inputs).
        gram: Σ xᵀx of what goes into it, regular (inputs, inputs) float64.
        rank: of the product.
    """
    root = torch.linalg.cholesky(gram)
    found = truncated(weight.double() @ root, rank)
    down = torch.linalg.solve_triangular(root, found["down"], upper=False, left=False)
    return {"down": down, "up": found["up"]}
