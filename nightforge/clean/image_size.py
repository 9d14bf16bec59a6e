"""Drops pictures that are too small, too large, too long or too wide, and what cannot be decoded.

Bounds on the sides and on their ratio are those of collections such as LAION-5B (Schuhmann et al. 2022, arXiv
2210.08402) and DataComp (Gadre et al. 2023, arXiv 2304.14108: shorter side 200 pixels or more, ratio 3 at most).
"""

from collections.abc import Iterator

from pydantic import Field

from nightforge import config
from nightforge.records import Reject
from nightforge.view import View


class Config(config.Config):
    """Bounds on the size of a picture; one at a bound stays. What is no picture by its media type is not asked."""

    side_min_px: int = Field(ge=1)
    """Shortest side, in pixels."""
    side_max_px: int = Field(ge=1)
    """Longest side, in pixels."""
    aspect_max: float = Field(ge=1)
    """Largest ratio of the longer side to the shorter; 1: square."""


SAMPLE = Config(side_min_px=32, side_max_px=8192, aspect_max=3.0)


def judge(view: View, cfg: Config) -> Iterator[Reject]:
    """Why its size is wrong."""
    if not view.record.media_type.startswith("image/"):
        return
    if view.pixels is None:
        yield Reject("not_a_picture", f"{len(view.record.content or b'')} bytes")
        return
    height, width, _ = view.pixels.shape
    if min(height, width) < cfg.side_min_px:
        yield Reject("too_small", f"{width}×{height}, a side < {cfg.side_min_px}")
    if max(height, width) > cfg.side_max_px:
        yield Reject("too_large", f"{width}×{height}, a side > {cfg.side_max_px}")
    if max(height, width) > cfg.aspect_max * min(height, width):
        yield Reject("too_oblong", f"{width}×{height}, ratio > {cfg.aspect_max:g}")
