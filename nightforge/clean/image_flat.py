"""Drops pictures with next to no contrast: blank pages, black frames, placeholders (the spread of brightness, RMS
contrast; Peli 1990, "Contrast in complex images", JOSA A 7)."""

from collections.abc import Iterator

from pydantic import Field

from nightforge import config
from nightforge.pictures import grey
from nightforge.records import Reject
from nightforge.view import View


class Config(config.Config):
    """How much contrast a picture must have."""

    contrast_min: float = Field(ge=0, le=0.5)
    """Least standard deviation of the brightness of the pixels, as a share of white: 0 is one brightness, 0.5 half of
    the pixels black and half white."""


SAMPLE = Config(contrast_min=0.02)


def judge(view: View, cfg: Config) -> Iterator[Reject]:
    """That it is flat."""
    if view.pixels is None:
        return
    contrast = float(grey(view.pixels).std()) / 255
    if contrast < cfg.contrast_min:
        yield Reject("flat", f"contrast {contrast:.3f} < {cfg.contrast_min:g}")
