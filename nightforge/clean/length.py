"""Drops texts that are too short to learn from or too long to be one document (cf. Gopher, arXiv 2112.11446, A.1).

The size of a pair or a chat is that of all its parts together; bounds on each part are those of the rule `turns`.
"""

from collections.abc import Iterator

from pydantic import Field

from nightforge import config
from nightforge.records import Reject
from nightforge.view import View


class Config(config.Config):
    """Bounds on the size of a text; a text at a bound stays."""

    words_min: int = Field(ge=0)
    """Fewest words; scripts without spaces count a character as a word."""
    words_max: int = Field(ge=1)
    """Most words."""
    chars_min: int = Field(ge=0)
    """Fewest characters."""
    chars_max: int = Field(ge=1)
    """Most characters."""


SAMPLE = Config(words_min=2, words_max=1_000, chars_min=10, chars_max=10_000)


def judge(view: View, cfg: Config) -> Iterator[Reject]:
    """Why its size is wrong."""
    yield from _bounds("characters", len(view.text), cfg.chars_min, cfg.chars_max)
    yield from _bounds("words", len(view.words), cfg.words_min, cfg.words_max)


def _bounds(what: str, count: int, least: int, most: int) -> Iterator[Reject]:
    if count < least:
        yield Reject(f"too_few_{what}", f"{count} < {least}")
    if count > most:
        yield Reject(f"too_many_{what}", f"{count} > {most}")
