"""Turns a picture about its centre by some degrees; corners are filled with the colour that its border has most often,
or left transparent."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from nightforge.augment._media import Told, Varied, images
from nightforge.records import Record

if TYPE_CHECKING:
    from PIL.Image import Image

MEDIA = "image"


class Config(Varied):
    """How far it is turned."""

    degrees_max: float = Field(gt=0, le=180)
    """Most degrees, to either side; digits and letters bear some 15."""


SAMPLE = Config(tries=2, degrees_max=15.0)


def vary(record: Record, cfg: Config, rng: random.Random, assets: Path) -> Iterator[Record]:
    """At most `tries` turned pictures, of the size it had."""
    from PIL.Image import Resampling

    def draw(picture: "Image", rng: random.Random) -> tuple["Image", Told]:
        degrees = round(rng.uniform(-cfg.degrees_max, cfg.degrees_max), 2)
        ground = (0, 0, 0, 0) if picture.mode == "RGBA" else _border(picture)
        return picture.rotate(degrees, Resampling.BICUBIC, fillcolor=ground), {"rotate_degrees": degrees}

    return images(record, cfg, rng, draw)


def _border(picture: "Image") -> int | tuple[int, ...]:
    """The colour that occurs most often among the outermost pixels."""
    pixels = np.asarray(picture)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    colours, counts = np.unique(edge.reshape(len(edge), -1), axis=0, return_counts=True)
    most = tuple(colours[counts.argmax()].tolist())
    return most[0] if len(most) == 1 else most
