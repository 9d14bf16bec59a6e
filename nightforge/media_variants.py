"""Whether a variant of a picture or a sound may be trained on: it decodes, and is changed enough and not too much."""

import numpy as np
from pydantic import Field

from nightforge import pictures, sounds
from nightforge.config import Config
from nightforge.pictures import Alike
from nightforge.records import Record


class MediaQuality(Config):
    """What a variant of a picture or a sound must keep."""

    changed_min: float = Field(ge=0)
    """Least root mean square of the difference from what it varies: for pictures as a share of white, for sounds as a
    share of their own root mean square."""
    changed_max: float = Field(gt=0)
    """Largest such difference."""
    near: Alike | None
    """No variant of a picture may look so much like one of a split that models are judged on; null: not asked."""


def problem(parent: Record, variant: Record, cfg: MediaQuality) -> str:
    """Why a variant may not stand for its parent, or nothing."""
    try:
        share = changed_share(parent, variant)
    except (pictures.NotAPicture, sounds.NotASound) as e:
        return str(e)
    if share < cfg.changed_min:
        return "changed_too_little"
    return "changed_too_much" if share > cfg.changed_max else ""


def changed_share(parent: Record, variant: Record) -> float:
    """Root mean square of the difference, over white or over that of the sound; infinite where the sizes differ.

    Raises:
        NotAPicture, NotASound: one of them cannot be decoded.
    """
    picture = parent.media_type.startswith("image/")
    before, after = (_values(record, picture=picture) for record in (parent, variant))
    if before.shape != after.shape:
        return float("inf")
    difference = float(np.sqrt(np.mean((after - before) ** 2)))
    whole = 255.0 if picture else float(np.sqrt(np.mean(before**2)))
    return difference / max(whole, 1e-9)


def _values(record: Record, *, picture: bool) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    content = record.content or b""
    return (pictures.pixels(content) if picture else sounds.decoded(content).samples).astype(np.float64)
