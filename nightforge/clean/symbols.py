"""Drops texts that are tables of figures, dumps, encoded bytes or shouting: shares of characters, and outsize pieces.

After the statistics of the CCNet and Stack corpora (Kocetkov et al. 2022, arXiv 2211.15533, section 2.3: the longest
line and the share of letters and digits); the bounds fit prose and must be wider for code.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from nightforge import config
from nightforge.records import Reject
from nightforge.view import View

Share = Annotated[float, Field(ge=0, le=1)]
_RUN = re.compile(r"([^\w\s])\1{3,}")


class Config(config.Config):
    """Bounds; a text at a bound stays."""

    symbol_share_max: Share
    """Largest share of characters that are neither letters, marks, digits nor white space ÷ those that are not white
    space."""
    digit_share_max: Share
    """Largest share of digits ÷ characters that are not white space."""
    upper_share_max: Share
    """Largest share of capitals ÷ letters."""
    run_chars_max: int = Field(ge=1)
    """Most times that one symbol may follow itself, as in a ruled line."""
    word_chars_max: int = Field(ge=1)
    """Most characters between two white spaces, in scripts that have spaces: more is encoded bytes."""
    line_chars_max: int = Field(ge=1)
    """Most characters of a line."""


SAMPLE = Config(
    symbol_share_max=0.25,
    digit_share_max=0.2,
    upper_share_max=0.5,
    run_chars_max=100,
    word_chars_max=200,
    line_chars_max=100_000,
)


def judge(view: View, cfg: Config) -> Iterator[Reject]:
    """Every bound that the text breaks."""
    kinds = {kind: sum(n for c, n in view.characters.items() if test(c)) for kind, test in _KINDS.items()}
    if solid := len(view.text) - kinds["space"]:
        yield from _above("symbols", kinds["symbol"] / solid, cfg.symbol_share_max)
        yield from _above("digits", kinds["digit"] / solid, cfg.digit_share_max)
    if kinds["letter"]:
        yield from _above("capitals", kinds["upper"] / kinds["letter"], cfg.upper_share_max)
    run = max((len(found[0]) for found in _RUN.finditer(view.text)), default=0)
    yield from _above("symbol_run", run, cfg.run_chars_max)
    if len(view.text) > cfg.word_chars_max:
        longest = max(view.text.split(), key=len, default="")
        if longest.isascii() or len(view.words) < len(longest) / 4:  # scripts without spaces have a word a character
            yield from _above("long_word", len(longest), cfg.word_chars_max)
    yield from _above("long_line", max(map(len, view.lines), default=0), cfg.line_chars_max)


def _symbol(c: str) -> bool:
    return not (c.isalnum() or c.isspace() or unicodedata.category(c)[0] == "M")


_KINDS = {
    "space": str.isspace,
    "symbol": _symbol,
    "digit": str.isdecimal,
    "letter": str.isalpha,
    "upper": str.isupper,
}


def _above(reason: str, value: float, most: float) -> Iterator[Reject]:
    if value > most:
        yield Reject(reason, f"{round(value, 2)} > {most}")
