"""The learning rate is cut whenever evaluations no longer get better (torch's ReduceLROnPlateau, threshold 0)."""

from collections.abc import Sequence
from math import inf

from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.schedule import _warmup
from nightforge.training import At


class Config(BaseConfig):
    """When it is cut, and how far."""

    warmup_share: float = Field(ge=0, le=0.5)
    """Share of the steps in which the learning rate rises from zero."""
    patience: int = Field(ge=1)
    """Evaluations without a new best after which it is cut; below train.loop.patience, or training stops first."""
    cut: float = Field(gt=0, lt=1)
    """What it is multiplied by."""
    floor: float = Field(ge=0, le=1)
    """Share of the peak that it never falls below."""


SAMPLE = Config(warmup_share=0.05, patience=2, cut=0.5, floor=0.01)


def factor(at: At, seen: Sequence[float], cfg: Config) -> float:
    """The learning rate of a step ÷ the peak; the evaluations `seen` are gone through anew, so nothing is kept."""
    share, best, waited = 1.0, inf, 0
    for value in seen:
        best, waited = (value, 0) if value < best else (best, waited + 1)
        if waited >= cfg.patience:
            share, waited = max(cfg.floor, share * cfg.cut), 0
    return share * _warmup.rising(at, cfg.warmup_share)
