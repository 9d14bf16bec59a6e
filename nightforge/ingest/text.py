"""Plain text, UTF-8: a document a file, a paragraph or a line."""

from collections.abc import Iterator
from typing import BinaryIO, Literal

from nightforge import config
from nightforge.ingest._columns import lines, record
from nightforge.records import Record, Reject


class Config(config.Config):
    """Plain-text files."""

    unit: Literal["file", "paragraph", "line"]
    """What one document is; paragraphs are parted by blank lines."""
    label: str | None
    """Label of every document of this source; null for none."""


SAMPLE = Config(unit="line", label=None)


def read(handle: BinaryIO, cfg: Config) -> Iterator[Record | Reject]:
    """One item for every unit that is not blank; a unit with a line that is not UTF-8 is rejected whole."""
    held: list[str | Reject] = []
    start = ""
    for place, line in lines(handle):
        blank = isinstance(line, str) and not line.strip()
        if cfg.unit == "line" or (cfg.unit == "paragraph" and blank):
            yield from _unit(held, start, cfg)
            held = []
        if held or not blank:
            start = start if held else place
            held.append(line)
    yield from _unit(held, start, cfg)


def _unit(held: list[str | Reject], place: str, cfg: Config) -> Iterator[Record | Reject]:
    if broken := [line for line in held if isinstance(line, Reject)]:
        yield broken[0]
    elif text := "\n".join(str(line) for line in held).strip():
        yield record(text, place, {}, label=cfg.label)
