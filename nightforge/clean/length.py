"""Drops texts that are too short to learn from or too long to be one document (cf. Gopher, arXiv 2112.11446, A.1)."""

from pydantic import Field

from nightforge import config
from nightforge.records import Record, Reject
from nightforge.words import words


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


def apply(record: Record, cfg: Config) -> Record | Reject:
    """The record itself, or why its size is wrong."""
    chars = len(record.text)
    if not cfg.chars_min <= chars <= cfg.chars_max:
        return Reject("too_few_characters" if chars < cfg.chars_min else "too_many_characters", record.text)
    count = len(words(record.text))
    if not cfg.words_min <= count <= cfg.words_max:
        return Reject("too_few_words" if count < cfg.words_min else "too_many_words", record.text)
    return record
