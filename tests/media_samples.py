"""Pictures and sounds for tests: small, each seed another."""

import io
import zipfile
from collections.abc import Mapping

import numpy as np

from nightforge import pictures, sounds
from nightforge.records import Record, content_id
from nightforge.sounds import Sound

RATE_HZ = 8000


def scene(seed: int, side: int = 32) -> pictures.Pixels:
    """(side, side, 3) some coloured boxes on a ground, as a photograph is: large shapes and edges."""
    rng = np.random.default_rng(seed)
    drawn = np.full((side, side, 3), rng.integers(0, 256, 3), np.uint8)
    for _ in range(6):
        x, y, w, h = rng.integers(0, side // 2, 4)
        drawn[y : y + h + 2, x * 2 : x * 2 + w + 2] = rng.integers(0, 256, 3)
    return drawn


def encoded(pixels: pictures.Pixels, kind: str = "PNG", **options: int) -> bytes:
    """Pixels as a file."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def png(seed: int) -> bytes:
    """A picture as a file."""
    return encoded(scene(seed))


def tone(hz: float, seconds: float = 0.5, level: float = 0.5) -> Sound:
    """A sine."""
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return Sound((level * np.sin(2 * np.pi * hz * at)).astype(np.float32), RATE_HZ)


def wav(seed: int) -> bytes:
    """A sound as a file."""
    return sounds.wav(tone(200 + 100 * seed))


def record(content: bytes, media_type: str, label: str | None = "a", text: str = "") -> Record:
    """A record of content."""
    return Record(
        content_id(text, label, content), text, content=content, media_type=media_type, label=label, source="t#1"
    )


def picture(seed: int, label: str | None = "a") -> Record:
    """A record that is a picture."""
    return record(png(seed), "image/png", label)


def sound(seed: int, label: str | None = "a") -> Record:
    """A record that is a sound."""
    return record(wav(seed), "audio/wav", label)


def size(one: Record) -> tuple[int, ...]:
    """Height, width and channels of a picture; samples and rate of a sound."""
    if one.media_type.startswith("image/"):
        return pictures.pixels(one.content or b"").shape
    heard = sounds.decoded(one.content or b"")
    return len(heard.samples), heard.rate_hz


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Files in a zip archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()
