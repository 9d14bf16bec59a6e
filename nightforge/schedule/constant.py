"""Linear warm-up, then always the peak."""

from collections.abc import Sequence

from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.schedule import _warmup
from nightforge.training import At


class Config(BaseConfig):
    """Where it rises."""

    warmup_share: float = Field(ge=0, le=0.5)
    """Share of the steps in which the learning rate rises from zero."""


SAMPLE = Config(warmup_share=0.05)


def factor(at: At, seen: Sequence[float], cfg: Config) -> float:
    """The learning rate of a step ÷ the peak. `seen`: the value of each evaluation so far."""
    return _warmup.rising(at, cfg.warmup_share)
