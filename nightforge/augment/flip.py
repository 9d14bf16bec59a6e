"""Mirrors a picture. Not for what reads otherwise in a mirror: letters, digits, maps, left hands."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nightforge.augment._media import Told, Varied, images
from nightforge.records import Record

if TYPE_CHECKING:
    from PIL.Image import Image

MEDIA = "image"
Axis = Literal["left_right", "top_bottom"]


class Config(Varied):
    """How it may be mirrored."""

    axis: Literal["left_right", "top_bottom", "either"]
    """What changes sides; `either`: drawn."""


SAMPLE = Config(tries=2, axis="left_right")


def vary(record: Record, cfg: Config, rng: random.Random, assets: Path) -> Iterator[Record]:
    """The picture mirrored; nothing where it is symmetric."""
    from PIL.Image import Transpose

    def draw(picture: "Image", rng: random.Random) -> tuple["Image", Told]:
        axis = rng.choice(["left_right", "top_bottom"]) if cfg.axis == "either" else cfg.axis
        made = picture.transpose(Transpose.FLIP_LEFT_RIGHT if axis == "left_right" else Transpose.FLIP_TOP_BOTTOM)
        return made, {"flip": axis}

    return images(record, cfg, rng, draw)
