"""Adafactor (Shazeer & Stern 2018, arXiv 1804.04235): a matrix's squared gradients kept as its rows' and columns' sums.

Its state is a few numbers a row and a column where Adam's is two a weight. torch's version has no momentum and takes
`max(eps, RMS of the weights) · min(lr, 1/√step)` as the size of a step (torch.optim.Adafactor), so a good `lr` is some
ten times that of AdamW.
"""

import torch
from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.errors import ConfigError
from nightforge.parameters import Groups
from nightforge.ranks import is_shared


class Config(BaseConfig):
    """Its constants."""

    lr: float = Field(gt=0, lt=1)
    """Peak learning rate, relative to the size of the weights."""
    beta2_decay: float = Field(ge=-1, lt=0)
    """The memory of squared gradients at step t is 1 − t to this power."""
    eps: float = Field(gt=0, lt=1)
    """What the size of the weights counts as at least, so that weights of zero move."""
    update_clip: float = Field(gt=0)
    """Largest root mean square of an update before it is scaled."""
    weight_decay: float = Field(ge=0, lt=1)
    """Share of a weight matrix that is taken away, times the learning rate; embeddings, norms and biases have none."""


SAMPLE = Config(lr=0.05, beta2_decay=-0.8, eps=1e-3, update_clip=1.0, weight_decay=0.0)


def build(groups: Groups, cfg: Config) -> list[torch.optim.Optimizer]:
    """One optimizer over all groups.

    Raises:
        ConfigError: processes share out the weights, whose rows and columns torch's Adafactor cannot sum then.
    """
    if any(is_shared(p) or not p.numel() for several in groups for p in several):
        raise ConfigError(
            "train.loop.optimizer: adafactor needs whole weights, and train.parallel shares them out. Choose adamw, or "
            "train.parallel: {name: ddp}."
        )
    return [
        torch.optim.Adafactor(
            groups.decayed(cfg.weight_decay),
            lr=cfg.lr,
            beta2_decay=cfg.beta2_decay,
            eps=(None, cfg.eps),
            d=cfg.update_clip,
        )
    ]
