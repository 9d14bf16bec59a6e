"""Makes a picture lighter or darker, harsher or flatter, stronger or paler (Pillow's ImageEnhance; cf. the colour
jitter of Howard 2013, arXiv 1312.5402)."""

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
    """How far each may change: a factor is drawn between 1 − bound and 1 + bound."""

    brightness: float = Field(ge=0, lt=1)
    """Bound on the factor of brightness; 0: stays."""
    contrast: float = Field(ge=0, lt=1)
    """Bound on the factor of contrast."""
    saturation: float = Field(ge=0, le=1)
    """Bound on the factor of saturation; of a grey picture there is none."""


SAMPLE = Config(tries=2, brightness=0.2, contrast=0.2, saturation=0.3)


def vary(record: Record, cfg: Config, rng: random.Random, assets: Path) -> Iterator[Record]:
    """At most `tries` pictures in other light."""
    from PIL import ImageEnhance

    def draw(picture: "Image", rng: random.Random) -> tuple["Image", Told]:
        told, made = {}, picture
        for name, bound, enhance in (
            ("brightness", cfg.brightness, ImageEnhance.Brightness),
            ("contrast", cfg.contrast, ImageEnhance.Contrast),
            ("saturation", cfg.saturation, ImageEnhance.Color),
        ):
            if bound:
                told[name] = round(rng.uniform(1 - bound, 1 + bound), 3)
                made = enhance(made).enhance(told[name])
        return made, told

    return images(record, cfg, rng, draw)
