"""Weights rounded to the nearest integer of their block, without a look at data.

In blocks as in Dettmers & Zettlemoyer 2023 (*The case for 4-bit precision*, §3). With `search`, the range of each block
is shrunk to where the rounding loses least of the weight, as llama.cpp's `make_qkx2_quants` does for its k-quants.
"""

import torch

from nightforge import blocks, grids
from nightforge.compress import _pass, _quantize
from nightforge.compress._context import Context, refuse_other
from nightforge.compress._pass import Given
from nightforge.held import Held, put

COMPATIBLE, KIND, AFTER = _pass.COMPATIBLE, _quantize.KIND, _quantize.AFTER
least = _quantize.least
TABLE = True
"""`model.embed_tokens` is a layer to it, where the output has other weights."""


class Config(_quantize.Rounding):
    """How the weights are rounded."""

    search: bool
    """Whether the range of each block is searched for the least squared error, or covers the block."""


SAMPLE = Config(layers=["model.layers.*"], bits=4, block_size=32, symmetric=True, search=False)


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model.

    Raises:
        ConfigError: it is not of a kind that this works on.
    """
    refuse_other("rtn", COMPATIBLE, context)


def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Round each layer, and a table of embeddings of its own that is named; `held` is changed in place."""
    for name, layer in blocks.linears(held.model, cfg.layers, table=True).items():
        weight = layer.weight.detach()
        scales, zeros = grids.fit(weight, cfg.spec, torch.ones(weight.shape[1]) if cfg.search else None)
        put(held, name, layer, grids.encode(weight, cfg.spec, scales, zeros).tensors())
    return held
