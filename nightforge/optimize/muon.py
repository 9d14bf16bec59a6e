"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): the momentum of a hidden matrix, made orthogonal.

Its updates are scaled to the size of AdamW's (Liu et al. 2025, arXiv 2502.16982, §2.2), so that one learning rate does
for both: AdamW moves all else, which is the output layer, embeddings, norms, biases and kernels of convolutions (Muon
is defined for matrices).
"""

import torch
from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.optimize import adamw
from nightforge.parameters import Groups


class Config(BaseConfig):
    """Its constants, and AdamW's."""

    lr: float = Field(gt=0, lt=1)
    """Peak learning rate of all weights."""
    momentum: float = Field(ge=0, lt=1)
    """Memory of gradients of hidden matrices; Nesterov's."""
    beta1: float = Field(ge=0, lt=1)
    """AdamW's memory of gradients."""
    beta2: float = Field(ge=0, lt=1)
    """AdamW's memory of squared gradients."""
    eps: float = Field(gt=0, lt=1)
    """AdamW's: added to the root of the squared gradients."""
    weight_decay: float = Field(ge=0, lt=1)
    """Share of a weight matrix that is taken away, times the learning rate; embeddings, norms and biases have none."""


SAMPLE = Config(lr=3e-3, momentum=0.95, beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1)


def build(groups: Groups, cfg: Config) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices and AdamW for all else; one of them, where there is nothing for the other."""
    hidden = [p for p in groups.matrices if p.ndim == 2]
    rest = groups._replace(matrices=[p for p in groups.matrices if p.ndim > 2])
    made: list[torch.optim.Optimizer] = []
    if hidden:
        made.append(
            torch.optim.Muon(
                hidden,
                lr=cfg.lr,
                weight_decay=cfg.weight_decay,
                momentum=cfg.momentum,
                nesterov=True,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    if any(rest):
        made += adamw.build(rest, adamw.Config(**cfg.model_dump(exclude={"momentum"})))
    return made
