"""Linear warm-up, then half a cosine (Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts)."""

import math
from collections.abc import Sequence

from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.schedule import _warmup
from nightforge.training import At


class Config(BaseConfig):
    """Where it rises and where it ends."""

    warmup_share: float = Field(ge=0, le=0.5)
    """Share of the steps in which the learning rate rises from zero."""
    floor: float = Field(ge=0, le=1)
    """Share of the peak that would be reached one step after the last."""


SAMPLE = Config(warmup_share=0.05, floor=0.0)


def factor(at: At, seen: Sequence[float], cfg: Config) -> float:
    """The learning rate of a step ÷ the peak. `seen`: the value of each evaluation so far."""
    if at.step < _warmup.steps(at, cfg.warmup_share):
        return _warmup.rising(at, cfg.warmup_share)
    return cfg.floor + (1 - cfg.floor) * 0.5 * (1 + math.cos(math.pi * _warmup.done(at, cfg.warmup_share)))
