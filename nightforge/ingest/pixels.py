"""Pictures as lines of numbers, as in scikit-learn's digits and MNIST as CSV; each becomes a PNG."""

from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO, Literal

import numpy as np
from pydantic import Field

from nightforge import config
from nightforge.ingest._columns import lines, record
from nightforge.pictures import png
from nightforge.records import Record, Reject, content_id


class Config(config.Config):
    """A CSV file without quotes: the brightness of each pixel, row by row, and a label."""

    width: int = Field(ge=1, le=4096)
    """Pixels of a row."""
    height: int = Field(ge=1, le=4096)
    """Rows of a picture."""
    brightest: float = Field(gt=0)
    """The number that stands for white; 0 is black, and what lies between is rounded to 256 steps."""
    label: Literal["first", "last"] | None
    """Which field of a line is the label; null: none is."""
    delimiter: str = Field(min_length=1, max_length=1)
    """Character between fields."""


SAMPLE = Config(width=2, height=2, brightest=16, label="last", delimiter=",")


def read(handle: BinaryIO, cfg: Config) -> Iterator[Record | Reject]:
    """A record a line, without text; a blank line is passed over, any other that is no picture is a reject."""
    for place, line in lines(handle):
        if isinstance(line, Reject):
            yield line
        elif line.strip():
            yield _picture(line.split(cfg.delimiter), place, cfg)


def _picture(fields: list[str], place: str, cfg: Config) -> Record | Reject:
    from PIL import Image

    wanted = cfg.width * cfg.height + (cfg.label is not None)
    if len(fields) != wanted:
        return Reject("fields_unlike_pixels", f"{place}: {len(fields)} fields, expected {wanted}")
    label = fields.pop(0 if cfg.label == "first" else -1).strip() or None if cfg.label else None
    try:
        values = np.array(fields, np.float64)
    except ValueError:
        return Reject("not_numbers", place)
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= cfg.brightest):
        return Reject("beyond_brightest", f"{place}: {values.min():g} to {values.max():g}, at most {cfg.brightest:g}")
    grey = (values * (255 / cfg.brightest)).round().astype(np.uint8).reshape(cfg.height, cfg.width)
    made = record("", place, {}, label=label)
    if isinstance(made, Reject):
        return made
    content = png(Image.fromarray(grey))
    return replace(made, id=content_id("", label, content), content=content, media_type="image/png")
