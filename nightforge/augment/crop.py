"""Cuts off some of each side of a picture and enlarges the rest to the size it had: nearer, and not quite centred.

The milder kin of the crops of Szegedy et al. 2015 (arXiv 1409.4842), which cut to as little as 8% of the area.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from nightforge.augment._media import Told, Varied, images
from nightforge.records import Record

if TYPE_CHECKING:
    from PIL.Image import Image

MEDIA = "image"


class Config(Varied):
    """How much is cut off."""

    share_max: float = Field(gt=0, le=0.4)
    """Most that is cut off each of the four sides, as a share of width or height; each draws its own, in pixels."""


SAMPLE = Config(tries=2, share_max=0.2)


def vary(record: Record, cfg: Config, rng: random.Random, assets: Path) -> Iterator[Record]:
    """At most `tries` crops."""
    from PIL.Image import Resampling

    def draw(picture: "Image", rng: random.Random) -> tuple["Image", Told]:
        width, height = picture.size
        left, right = (rng.randint(0, int(cfg.share_max * width)) for _ in range(2))
        top, bottom = (rng.randint(0, int(cfg.share_max * height)) for _ in range(2))
        box = (left, top, width - right, height - bottom)
        return picture.resize(picture.size, Resampling.BICUBIC, box=box), {"crop_px": [left, top, right, bottom]}

    return images(record, cfg, rng, draw)
