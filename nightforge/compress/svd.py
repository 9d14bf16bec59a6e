"""Each weight as a product of two of a lower rank that is nearest to it, without a look at data.

Eckart & Young 1936; of language models the baseline that ASVD (2312.05821) and SVD-LLM (2403.07378) compare with.
"""

import torch

from nightforge.compress import _factor
from nightforge.compress._context import Context, refuse_other
from nightforge.compress._factor import truncated
from nightforge.compress._pass import Given
from nightforge.held import Held, Tensors

COMPATIBLE, KIND, AFTER = _factor.COMPATIBLE, _factor.KIND, _factor.AFTER
least = _factor.least


class Config(_factor.Factoring):
    """Which layers are factored, and how far."""


SAMPLE = Config(layers=["model.layers.*"], parameter_share=0.8)


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model.

    Raises:
        ConfigError: it is not of a kind that this works on.
    """
    refuse_other("svd", COMPATIBLE, context)


def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Factor each layer; `held` is changed in place.

    Raises:
        DataError: a weight is not a finite number.
    """
    for name, layer in _factor.able(held, cfg).items():

        def made(layer: torch.nn.Linear = layer) -> Tensors:
            return truncated(layer.weight.detach(), _factor.rank(layer.weight.shape, cfg.parameter_share))

        _factor.put(held, name, layer, given.keep(name, made))
    return held
