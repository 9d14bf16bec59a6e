"""What the augmenters of pictures and sounds share: content is decoded once, varied, encoded, and the change told."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from nightforge import config, pictures, sounds
from nightforge.records import Record, content_id
from nightforge.sounds import Sound

if TYPE_CHECKING:
    from PIL.Image import Image

Told = dict[str, Any]
"""What was done to the content: name → value, as JSON can hold it."""


class Varied(config.Config):
    """What the config of every augmenter of pictures and sounds holds."""

    tries: int = Field(ge=1, le=100)
    """Most variants of one copy to draw; the stage takes the first that it may use."""


def images(
    record: Record, cfg: Varied, rng: random.Random, draw: Callable[["Image", random.Random], tuple["Image", Told]]
) -> Iterator[Record]:
    """At most `cfg.tries` variants of a picture, as PNG of its mode and size; none of what is no picture.

    Yields:
        Records with an id of their own, `meta.parent`, and `meta.edits`: what was done.
    """
    if not record.media_type.startswith("image/"):
        return
    try:
        picture = _plain(pictures.opened(record.content or b""))
    except pictures.NotAPicture:
        return
    for _ in range(cfg.tries):
        made, told = draw(picture, rng)
        yield from _variant(record, pictures.png(made), "image/png", told)


def audio(
    record: Record, cfg: Varied, rng: random.Random, draw: Callable[[Sound, random.Random], tuple[sounds.Samples, Told]]
) -> Iterator[Record]:
    """At most `cfg.tries` variants of a sound, as WAV of one channel at its rate; none of what is no sound."""
    if not record.media_type.startswith("audio/"):
        return
    try:
        sound = sounds.decoded(record.content or b"")
    except sounds.NotASound:
        return
    for _ in range(cfg.tries):
        made, told = draw(sound, rng)
        yield from _variant(record, sounds.wav(Sound(made, sound.rate_hz)), "audio/wav", told)


def _variant(record: Record, content: bytes, media_type: str, told: Told) -> Iterator[Record]:
    if content != record.content:
        meta = {**record.meta, "parent": record.id, "edits": [{"part": "content", **told}]}
        name = content_id(record.text, record.label, content)
        yield replace(record, id=name, content=content, media_type=media_type, meta=meta)


def _plain(picture: "Image") -> "Image":
    """A picture in mode L, RGB or, where it has transparency, RGBA."""
    if "A" in picture.getbands() or "transparency" in picture.info:
        return picture.convert("RGBA")
    return picture if picture.mode in {"L", "RGB"} else pictures.on_ground(picture, "RGB", 255)
