"""Warm-up, the peak for long, then a fall by 1 − √ (Hu et al. 2024, arXiv 2404.06395; Hägele et al. 2024, 2405.18392).

What was reached before the fall is as good a start for a longer run, which no cosine gives.
"""

import math
from collections.abc import Sequence

from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.schedule import _warmup
from nightforge.training import At


class Config(BaseConfig):
    """Where it rises, falls and ends."""

    warmup_share: float = Field(ge=0, le=0.5)
    """Share of the steps in which the learning rate rises from zero."""
    decay_share: float = Field(ge=0, le=0.5)
    """Share of the steps, the last ones, in which it falls."""
    floor: float = Field(ge=0, le=1)
    """Share of the peak that would be reached one step after the last."""


SAMPLE = Config(warmup_share=0.05, decay_share=0.2, floor=0.0)


def factor(at: At, seen: Sequence[float], cfg: Config) -> float:
    """The learning rate of a step ÷ the peak. `seen`: the value of each evaluation so far."""
    falls = round(at.steps * cfg.decay_share)
    fallen = max(0, at.step - (at.steps - falls)) / max(1, falls)
    return _warmup.rising(at, cfg.warmup_share) * (1 - (1 - cfg.floor) * math.sqrt(fallen))
