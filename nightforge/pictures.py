"""Pictures as pixels, and when two look alike: shared by the rules, augmenters, signals and readers of pictures."""

import io
import warnings
from itertools import chain, pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import Field

from nightforge.config import Config

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
PIXELS_MAX = 50_000_000
"""Most pixels of a picture: beyond, a small file would take gigabytes to unpack."""
GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Brightness of red, green and blue (ITU-R BT.601)."""
BITS, THUMB = 64, 4
HASH_BYTES = BITS // 8
THUMB_BYTES = THUMB * THUMB * 3

Pixels = npt.NDArray[np.uint8]


class NotAPicture(ValueError):
    """Bytes that are no picture; the message is the reason in a word, `detail` what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.detail = detail


def opened(content: bytes) -> "Image":
    """A picture, decoded to its end; of an animation the first frame.

    Raises:
        NotAPicture: `not_a_picture`, `truncated_picture` or `too_many_pixels`.
    """
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata, palettes with transparency; large pictures are refused here
        try:
            picture = Image.open(io.BytesIO(content), formats=FORMATS)
        except Image.DecompressionBombError as e:
            raise NotAPicture("too_many_pixels", str(e)) from None
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
            raise NotAPicture("not_a_picture", f"{len(content)} bytes") from None
        width, height = picture.size
        if width * height > PIXELS_MAX:
            raise NotAPicture("too_many_pixels", f"{width}×{height}, at most {PIXELS_MAX} pixels are read")
        try:
            picture.load()
        except (OSError, ValueError, SyntaxError, IndexError) as e:
            raise NotAPicture("truncated_picture", f"{width}×{height}: {e}") from None
    return picture


def on_ground(picture: "Image", mode: str, ground: int) -> "Image":
    """A picture without transparency, in mode `L` or `RGB`; `ground` (0 … 255) is the brightness behind it.

    Sixteen bits a pixel become eight.
    """
    from PIL import Image

    if picture.mode.startswith("I;16") or picture.mode == "I":
        deep = np.asarray(picture)
        return Image.fromarray((np.clip(deep, 0, 65_535) // 257).astype(np.uint8)).convert(mode)
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, (ground,) * 3 + (255,)), picture)
    return picture.convert(mode)


def pixels(content: bytes) -> Pixels:
    """(height, width, 3) red, green and blue, 0 … 255, on white.

    Raises:
        NotAPicture: as `opened`.
    """
    return np.asarray(on_ground(opened(content), "RGB", 255))


def grey(rgb: Pixels) -> npt.NDArray[np.float32]:
    """(height, width) brightness, 0 (black) … 255."""
    return rgb.astype(np.float32) @ GREY


def png(picture: "Image") -> bytes:
    """A picture as PNG, the same bytes each time."""
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


class Alike(Config):
    """When two pictures look alike: both must hold."""

    bits_max: int = Field(ge=0, le=16)
    """Most of the 64 bits of the difference hash in which they differ; 0: none."""
    difference_max: float = Field(ge=0, le=1)
    """Largest mean difference of colour between thumbnails of 4 × 4 (0: none, 1: black and white). It tells pictures of
    one outline apart, such as a red heart and a blue one."""


def look(rgb: Pixels) -> bytes:
    """The difference hash of a picture (64 bits) and a thumbnail of it (4 × 4 colours).

    A bit says whether a pixel of the picture in 8 rows of 9 is darker than the one to its right (dHash; Krawetz 2013,
    "Kind of Like That", hackerfactor.com). Pixels that differ by less than two in brightness count as equal.
    """
    from PIL import Image

    picture = Image.fromarray(rgb)
    small = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.BOX), np.int16)
    thumb = np.asarray(picture.resize((THUMB, THUMB), Image.Resampling.BOX))
    return np.packbits(small[:, 1:] - small[:, :-1] >= 2).tobytes() + thumb.tobytes()


class Looks:
    """Pictures seen, and the first that a new one looks like. Memory: 56 bytes a picture and some 40 a band.

    Hashes that differ in k bits at most are equal in one of k + 1 bands (pigeonhole), so only pictures of an equal band
    are compared.
    """

    def __init__(self, cfg: Alike) -> None:
        self.cfg, self.count = cfg, 0
        self._bands: list[dict[int, list[int]]] = [{} for _ in range(cfg.bits_max + 1)]
        edges = np.linspace(0, BITS, len(self._bands) + 1).astype(int).tolist()
        self._masks = [((1 << hi) - 1) ^ ((1 << lo) - 1) for lo, hi in pairwise(edges)]
        self._bits = np.empty(1024, np.uint64)
        self._thumbs = np.empty((1024, THUMB_BYTES), np.uint8)

    def find(self, one: bytes) -> int | None:
        """The position of the first picture seen that looks like it, or none."""
        this = int.from_bytes(one[:HASH_BYTES], "big")
        near = (band.get(this & mask, []) for band, mask in zip(self._bands, self._masks, strict=True))
        rows = np.array(sorted(set(chain.from_iterable(near))), np.int64)
        rows = rows[np.bitwise_count(self._bits[rows] ^ np.uint64(this)) <= self.cfg.bits_max]
        thumb = np.frombuffer(one[HASH_BYTES:], np.uint8).astype(np.int16)
        far = np.abs(self._thumbs[rows] - thumb).mean(axis=1) / 255
        rows = rows[far <= self.cfg.difference_max]
        return int(rows[0]) if len(rows) else None

    def add(self, one: bytes) -> int:
        """Remember a picture; returns its position."""
        at = self.count
        if at == len(self._bits):
            self._bits = np.concatenate([self._bits, np.empty_like(self._bits)])
            self._thumbs = np.concatenate([self._thumbs, np.empty_like(self._thumbs)])
        this = int.from_bytes(one[:HASH_BYTES], "big")
        self._bits[at], self._thumbs[at] = this, np.frombuffer(one[HASH_BYTES:], np.uint8)
        for band, mask in zip(self._bands, self._masks, strict=True):
            band.setdefault(this & mask, []).append(at)
        self.count += 1
        return at
