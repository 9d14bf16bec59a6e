"""Up and down in triangles, each smaller than the last (Smith 2017, arXiv 1506.01186; `triangular2` halves them)."""

import math
from collections.abc import Sequence

from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.training import At


class Config(BaseConfig):
    """The triangles."""

    cycles: int = Field(ge=1)
    """Triangles in the run."""
    floor: float = Field(ge=0, le=1)
    """Share of the peak that each begins and ends at."""
    shrink: float = Field(gt=0, le=1)
    """Height of a triangle ÷ that of the one before."""


SAMPLE = Config(cycles=4, floor=0.1, shrink=0.5)


def factor(at: At, seen: Sequence[float], cfg: Config) -> float:
    """The learning rate of a step ÷ the peak. `seen`: the value of each evaluation so far."""
    cycles = min(cfg.cycles, at.steps)
    cycle, place = divmod((at.step + 0.5) * cycles / at.steps, 1)  # of the step's middle: no step stands at the floor
    return cfg.floor + (1 - cfg.floor) * math.pow(cfg.shrink, cycle) * (1 - abs(2 * place - 1))
