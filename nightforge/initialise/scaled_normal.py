"""Normal weights, those that write to the residual stream smaller by √(2·layers) (GPT-2: Radford et al. 2019, §2.3)."""

from typing import Any

import torch
from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.parameters import groups


class Config(BaseConfig):
    """How wide the weights are drawn."""

    std: float | None = Field(gt=0, le=1)
    """Standard deviation; null takes 1/√width of what a matrix reads."""
    residual: list[str]
    """Ends of the names of the matrices that write to the residual stream, such as `o_proj.weight`."""


SAMPLE = Config(std=0.02, residual=["o_proj.weight", "down_proj.weight"])


@torch.no_grad()
def fill(model: Any, cfg: Config) -> None:
    """Draw all weights with two or more dimensions anew; norms and biases stay as they are."""
    names = {id(p): name for name, p in model.named_parameters()}
    found = groups(model)
    writes = [p for p in found.matrices if names[id(p)].endswith(tuple(cfg.residual))] if cfg.residual else []
    narrower = {id(p) for p in writes}
    for p in (*found.matrices, *found.heads, *found.tables):
        std = cfg.std or p.shape[1:].numel() ** -0.5
        torch.nn.init.normal_(p, 0.0, std * (len(writes) ** -0.5 if id(p) in narrower else 1.0))
