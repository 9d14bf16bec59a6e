"""Stochastic gradient descent with momentum (Sutskever et al. 2013, ICML; Nesterov's as in §2 there)."""

import torch
from pydantic import Field, model_validator

from nightforge.config import Config as BaseConfig
from nightforge.parameters import Groups
from nightforge.ranks import is_shared


class Config(BaseConfig):
    """Its constants."""

    lr: float = Field(gt=0, le=100)
    """Peak learning rate."""
    momentum: float = Field(ge=0, lt=1)
    """Memory of gradients."""
    nesterov: bool
    """Whether the gradient is taken where the momentum leads to; needs a momentum above zero."""
    weight_decay: float = Field(ge=0, lt=1)
    """Share of a weight matrix that is added to its gradient; embeddings, norms and biases have none."""

    @model_validator(mode="after")
    def _leads_somewhere(self) -> "Config":
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above zero")
        return self


SAMPLE = Config(lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)


def build(groups: Groups, cfg: Config) -> list[torch.optim.Optimizer]:
    """One optimizer over all groups, fused unless processes share out the weights, which torch's fused one cannot."""
    several = groups.decayed(cfg.weight_decay)
    fused = not any(is_shared(p) for group in several for p in group["params"])
    return [torch.optim.SGD(several, lr=cfg.lr, momentum=cfg.momentum, nesterov=cfg.nesterov, fused=fused)]
