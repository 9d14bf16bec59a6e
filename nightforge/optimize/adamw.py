"""Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv 1711.05101), on weight matrices alone."""

import torch
from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.parameters import Groups


class Config(BaseConfig):
    """Its constants."""

    lr: float = Field(gt=0, lt=1)
    """Peak learning rate."""
    beta1: float = Field(ge=0, lt=1)
    """Memory of gradients."""
    beta2: float = Field(ge=0, lt=1)
    """Memory of squared gradients."""
    eps: float = Field(gt=0, lt=1)
    """Added to the root of the squared gradients."""
    weight_decay: float = Field(ge=0, lt=1)
    """Share of a weight matrix that is taken away, times the learning rate; embeddings, norms and biases have none."""


SAMPLE = Config(lr=3e-3, beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1)


def build(groups: Groups, cfg: Config) -> list[torch.optim.Optimizer]:
    """One fused optimizer over all groups."""
    return [
        torch.optim.AdamW(
            groups.decayed(cfg.weight_decay),
            lr=cfg.lr,
            betas=(cfg.beta1, cfg.beta2),
            eps=cfg.eps,
            fused=True,
        )
    ]
