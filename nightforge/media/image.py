"""Pictures as arrays: PNG, JPEG, WebP, GIF (its first frame), BMP, by Pillow."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.errors import DataError
from nightforge.pictures import NotAPicture, on_ground, opened, png
from nightforge.records import Record


class Config(BaseConfig):
    """The array that a picture becomes."""

    side: int = Field(ge=4, le=2048)
    """Height and width in pixels."""
    mode: Literal["L", "RGB"]
    """Grey (one channel) or colour (three)."""
    background: int = Field(ge=0, le=255)
    """Brightness behind pictures with transparency."""


SAMPLE = Config(side=8, mode="L", background=255)


def shape(cfg: Config) -> tuple[int, int, int]:
    """(channels, height, width)."""
    return {"L": 1, "RGB": 3}[cfg.mode], cfg.side, cfg.side


def array(record: Record, cfg: Config) -> NDArray[np.float32]:
    """The picture of a record, −1 (black) to 1: (channels, height, width).

    Raises:
        DataError: its content is no picture; the message names the record.
    """
    from PIL import Image

    try:
        picture = on_ground(opened(record.content or b""), cfg.mode, cfg.background)
    except NotAPicture as e:
        raise DataError(f"record {record.id} ({record.source}): expected a picture, got {e}: {e.detail}") from None
    if picture.size != (cfg.side, cfg.side):
        picture = picture.resize((cfg.side, cfg.side), Image.Resampling.LANCZOS)
    pixels = np.asarray(picture, dtype=np.float32)
    return (pixels if pixels.ndim == 3 else pixels[:, :, None]).transpose(2, 0, 1) / 127.5 - 1


def render(array: NDArray[np.float32], cfg: Config) -> bytes:
    """An array (channels, height, width) as a PNG; values beyond −1 … 1 are cut."""
    from PIL import Image

    pixels = ((np.clip(array, -1, 1) + 1) * 127.5).round().astype(np.uint8).transpose(1, 2, 0)
    return png(Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))
