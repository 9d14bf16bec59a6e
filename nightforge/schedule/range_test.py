"""The learning rate rises by the same ratio at every step, to the peak at the last: the range test (Smith 2017, §3.3).

`nightforge tune` finds a learning rate with it.
"""

from collections.abc import Sequence

from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.training import At


class Config(BaseConfig):
    """Where it begins."""

    start: float = Field(gt=0, le=1)
    """Share of the peak at the first step."""


SAMPLE = Config(start=1e-4)


def factor(at: At, seen: Sequence[float], cfg: Config) -> float:
    """The learning rate of a step ÷ the peak. `seen`: the value of each evaluation so far."""
    return float(cfg.start ** (1 - at.step / max(1, at.steps - 1)))
