"""Plain text, UTF-8: a document a file, a paragraph or a line."""

from collections.abc import Iterator
from typing import BinaryIO, Literal

from nightforge import config
from nightforge.ingest._columns import TEXT_MAX, lines, record
from nightforge.records import Record, Reject


class Config(config.Config):
    """Plain-text files."""

    unit: Literal["file", "paragraph", "line"]
    """What one document is; paragraphs are parted by blank lines."""
    label: str | None
    """Label of every document of this source; null for none."""


SAMPLE = Config(unit="line", label=None)


def read(handle: BinaryIO, cfg: Config) -> Iterator[Record | Reject]:
    """One item for every unit that is not blank; a unit that is too long or has a line that is not UTF-8 is rejected
    whole."""
    held: list[str] = []
    start, size, broken = "", 0, None
    for place, line in lines(handle):
        blank = isinstance(line, str) and not line.strip()
        if cfg.unit == "line" or (cfg.unit == "paragraph" and blank):
            yield from _unit(held, start, broken, cfg)
            held, size, broken = [], 0, None
        if isinstance(line, Reject):
            broken = broken or line
        elif broken is None and (held or not blank):
            start = start if held else place
            held.append(line)
            size += len(line)
            if size > TEXT_MAX:
                held, broken = [], Reject("too_long", f"{start}: at most {TEXT_MAX} characters are read")
    yield from _unit(held, start, broken, cfg)


def _unit(held: list[str], place: str, broken: Reject | None, cfg: Config) -> Iterator[Record | Reject]:
    if broken is not None:
        yield broken
    elif text := "\n".join(held).strip():
        yield record(text, place, {}, label=cfg.label)
