"""Pictures: files in folders, or in zip and tar archives; PNG, JPEG, WebP, GIF (its first frame), BMP, by Pillow."""

from collections.abc import Iterator, Mapping
from typing import BinaryIO

from nightforge import pictures
from nightforge.ingest import _files
from nightforge.records import Record, Reject


class Config(_files.Files):
    """Files that are pictures."""


SAMPLE = Config(label="folder", listed=None)

listed = _files.listed


def read(handle: BinaryIO, cfg: Config, told: Mapping[str, _files.Told] | None = None) -> Iterator[Record | Reject]:
    """A record a picture, its bytes as they are; what cannot be decoded to its end is a reject.

    `told` is what lists beside the file told (`listed`); an archive's own list is read from it.
    """
    return _files.read(handle, cfg, told, _check)


def _check(content: bytes) -> str | Reject:
    try:
        return f"image/{str(pictures.opened(content).format).lower()}"
    except pictures.NotAPicture as e:
        return Reject(str(e), e.detail)
