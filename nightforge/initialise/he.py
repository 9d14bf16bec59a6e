"""Weights whose variance is 2 ÷ inputs, or ÷ outputs (He et al. 2015, arXiv 1502.01852), for ReLU and its kin.

A convolution's inputs and outputs are its channels times the size of its kernel. Embeddings, which nothing is
multiplied with, norms and biases stay as the family made them.
"""

from typing import Any, Literal

import torch
from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.parameters import groups


class Config(BaseConfig):
    """How wide the weights are drawn."""

    distribution: Literal["uniform", "normal"]
    """What they are drawn from."""
    fan: Literal["fan_in", "fan_out"]
    """`fan_in` keeps the variance of activations on the way forward, `fan_out` that of gradients on the way back."""
    slope: float = Field(ge=0, le=1)
    """Of the leaky ReLU below zero; 0 is ReLU."""


SAMPLE = Config(distribution="normal", fan="fan_in", slope=0.0)


def fill(model: Any, cfg: Config) -> None:
    """Draw the weights of all layers anew."""
    draw = torch.nn.init.kaiming_uniform_ if cfg.distribution == "uniform" else torch.nn.init.kaiming_normal_
    found = groups(model)
    for p in (*found.matrices, *found.heads):
        draw(p, cfg.slope, mode=cfg.fan)
