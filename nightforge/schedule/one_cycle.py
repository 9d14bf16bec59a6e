"""One rise and one fall, both along half a cosine (Smith & Topin 2018, arXiv 1708.07120; torch's OneCycleLR).

Momentum stays as it is.
"""

import math
from collections.abc import Sequence

from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.training import At


class Config(BaseConfig):
    """Where it begins, turns and ends."""

    rise_share: float = Field(ge=0, le=1)
    """Share of the steps in which it rises."""
    start: float = Field(ge=0, le=1)
    """Share of the peak at the first step."""
    floor: float = Field(ge=0, le=1)
    """Share of the peak at the last step."""


SAMPLE = Config(rise_share=0.3, start=0.04, floor=4e-6)


def factor(at: At, seen: Sequence[float], cfg: Config) -> float:
    """The learning rate of a step ÷ the peak. `seen`: the value of each evaluation so far."""
    top = max(0.0, at.steps * cfg.rise_share - 1)
    if at.step < top:
        return _between(cfg.start, 1.0, at.step / top)
    return _between(1.0, cfg.floor, (at.step - top) / max(1.0, at.steps - 1 - top))


def _between(begin: float, end: float, done: float) -> float:
    return end + (begin - end) * 0.5 * (1 + math.cos(math.pi * done))
