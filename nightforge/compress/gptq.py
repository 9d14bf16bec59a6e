"""Weights rounded one column after the other, those not yet rounded changed to make up for it.

Frantar et al. 2022 (GPTQ, 2210.17323, alg. 1); act-order (columns of the largest inputs first) from its repository. The
scales are fitted before, block by block, so that blocks stay side by side whatever the order, as runtimes want them.
"""

from typing import Any

import torch
from pydantic import Field

from nightforge import grids
from nightforge.blocks import HEAD, Moments
from nightforge.compress import _hessian, _pass, _quantize
from nightforge.compress._context import Context, refuse_other
from nightforge.compress._descent import descend
from nightforge.compress._pass import Given, each_linear
from nightforge.grids import Grid, Spec
from nightforge.held import Held

COMPATIBLE, KIND, AFTER = _pass.COMPATIBLE, _quantize.KIND, _quantize.AFTER
least = _quantize.least
TIED_DAMP = 1.0
"""The Hessian is that of the output projection; where its table is looked up too, all channels count about alike. On a
model with tied embeddings the loss of rounding them fell by an eighth against a damping of 0.01."""


class Config(_quantize.Rounding):
    """How the weights are rounded."""

    damp: float = Field(gt=0, le=1)
    """Added to the diagonal of the Hessian, as a share of its mean; more where few tokens are calibrated on. Tied
    embeddings take TIED_DAMP at least."""
    act_order: bool
    """Whether the columns of the largest inputs are rounded first, or from left to right."""
    rounds: int = Field(ge=0, le=20)
    """How often, after that, scales are fitted and integers rounded anew for each other; 3 take off a tenth."""


SAMPLE = Config(layers=["model.layers.*"], bits=4, block_size=32, symmetric=True, damp=0.01, act_order=True, rounds=3)


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model.

    Raises:
        ConfigError: it is not of a kind that this works on.
    """
    refuse_other("gptq", COMPATIBLE, context)


def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Round layer by layer, each on what the rounded ones before it give; `held` is changed in place.

    Raises:
        DataError: a weight or an activation is not a finite number.
    """

    def make(name: str, weight: torch.Tensor, seen: Moments) -> Grid:
        return rounded(weight, seen.gram, cfg.spec, damping(held.model, name, cfg.damp), cfg.act_order, cfg.rounds)

    return each_linear(held, given, cfg.layers, make)


def damping(model: Any, name: str, damp: float) -> float:
    """What is added for a layer: as told, and for the output projection at least TIED_DAMP where embeddings are tied.

    Args:
        model: a causal LM.
        name: of the layer.
        damp: as in Config.
    """
    tied = name == HEAD and model.get_input_embeddings().weight is model.get_output_embeddings().weight
    return max(damp, TIED_DAMP) if tied else damp


def rounded(weight: torch.Tensor, gram: torch.Tensor, spec: Spec, damp: float, act_order: bool, rounds: int) -> Grid:
    """The integers of least error after what comes in, found column by column; what was zero (pruned) stays zero.

    Args:
        weight: (outputs, inputs).
        gram: Σ xᵀx of what goes into it (inputs, inputs).
        spec: how it is to be held.
        damp: as in Config.
        act_order: as in Config.
        rounds: as in Config.
    """
    energy = gram.diagonal()
    scales, zeros = grids.fit(weight, spec, energy + damp * energy.mean() + torch.finfo(torch.float32).tiny)
    order = energy.argsort(descending=True, stable=True) if act_order else torch.arange(len(energy))
    at = (order // spec.block_size).tolist()
    kept = (weight != 0)[:, order].T.contiguous()  # a row a column: what is taken out lies together
    ints = torch.empty(kept.shape, dtype=torch.uint8)

    def settle(now: torch.Tensor, column: int) -> torch.Tensor:
        scale, zero = scales[:, at[column]], zeros[:, at[column]].float()
        exact = torch.round(now[:, column] / scale + zero).clamp_(0, spec.levels - 1)
        exact = torch.where(kept[column], exact, zero)
        ints[column] = exact.to(torch.uint8)
        return (exact - zero) * scale

    hessian = _hessian.regular(gram, damp)
    root = _hessian.root_of_inverse(hessian[order][:, order])
    _hessian.sweep(weight[:, order].T.contiguous().T, root, settle)
    grid = Grid(spec, ints[order.argsort()].T.contiguous(), scales, zeros)
    return descend(weight, hessian, grid, rounds)
