"""Weights whose variance is 2 ÷ (inputs + outputs) (Glorot & Bengio 2010, AISTATS), for tanh, sigmoid and attention.

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
    gain: float = Field(gt=0, le=10)
    """Their standard deviation is multiplied by this: 1 for a linear layer, 5/3 before a tanh."""


SAMPLE = Config(distribution="uniform", gain=1.0)


def fill(model: Any, cfg: Config) -> None:
    """Draw the weights of all layers anew."""
    draw = torch.nn.init.xavier_uniform_ if cfg.distribution == "uniform" else torch.nn.init.xavier_normal_
    found = groups(model)
    for p in (*found.matrices, *found.heads):
        draw(p, cfg.gain)
