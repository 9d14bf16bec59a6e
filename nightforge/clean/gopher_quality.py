"""Drops texts that do not read like prose: Gopher's quality rules (Rae et al. 2021, arXiv 2112.11446, section A.1.1).

The published values were set on web pages whose words were cut at white space. A tokenizer that counts punctuation as
words fails far more texts, most of all by `alphabetic_share_min`; ours does not count it (nightforge/words.py).
"""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from nightforge import config
from nightforge.records import Reject
from nightforge.view import View

Share = Annotated[float, Field(ge=0, le=1)]
BULLETS = ("•", "-")
ELLIPSES = ("...", "…")


class Config(config.Config):
    """Bounds; a text at a bound stays."""

    words_min: int = Field(ge=0)
    """Fewest words."""
    words_max: int = Field(ge=1)
    """Most words."""
    word_chars_mean_min: float = Field(ge=0)
    """Least mean length of a word, in characters."""
    word_chars_mean_max: float = Field(ge=1)
    """Greatest mean length of a word, in characters."""
    symbol_share_max: float = Field(ge=0)
    """Most `#` a word, and most ellipses a word."""
    bullet_line_share_max: Share
    """Largest share of lines that begin with a bullet or a hyphen."""
    ellipsis_line_share_max: Share
    """Largest share of lines that end with an ellipsis."""
    alphabetic_share_min: Share
    """Least share of words that hold a letter."""
    stop_words: list[str]
    """Words of which any running text of the language has some, in lower case."""
    stop_words_min: int = Field(ge=0)
    """Fewest different stop words."""


SAMPLE = Config(
    words_min=50,
    words_max=100_000,
    word_chars_mean_min=3,
    word_chars_mean_max=10,
    symbol_share_max=0.1,
    bullet_line_share_max=0.9,
    ellipsis_line_share_max=0.3,
    alphabetic_share_min=0.8,
    stop_words=["the", "be", "to", "of", "and", "that", "have", "with"],
    stop_words_min=2,
)


def judge(view: View, cfg: Config) -> Iterator[Reject]:
    """Every bound that the text breaks."""
    words, tokens = len(view.words), len(view.tokens)
    if words < cfg.words_min:
        yield Reject("too_few_words", f"{words} < {cfg.words_min}")
    if words > cfg.words_max:
        yield Reject("too_many_words", f"{words} > {cfg.words_max}")
    if words:
        mean = sum(map(len, view.words)) / words
        if mean < cfg.word_chars_mean_min:
            yield Reject("short_words", f"{mean:.1f} < {cfg.word_chars_mean_min}")
        if mean > cfg.word_chars_mean_max:
            yield Reject("long_words", f"{mean:.1f} > {cfg.word_chars_mean_max}")
        alphabetic = tokens - sum(n for w, n in view.counts.items() if not (w.isalpha() or any(map(str.isalpha, w))))
        yield from _below("few_alphabetic_words", alphabetic / tokens, cfg.alphabetic_share_min)
        yield from _above("hashes", view.text.count("#") / tokens, cfg.symbol_share_max)
        yield from _above("ellipses", sum(map(view.text.count, ELLIPSES)) / tokens, cfg.symbol_share_max)
    if lines := len(view.lines):
        bullets = sum(line.startswith(BULLETS) for line in view.lines)
        yield from _above("bullet_lines", bullets / lines, cfg.bullet_line_share_max)
        yield from _above(
            "ellipsis_lines", sum(line.endswith(ELLIPSES) for line in view.lines) / lines, cfg.ellipsis_line_share_max
        )
    stop_words = sum(word in view.counts for word in cfg.stop_words)
    if stop_words < cfg.stop_words_min:  # rarely: only then is it worth a look at those with capitals
        stop_words = sum(word in view.kinds for word in cfg.stop_words)
    if stop_words < cfg.stop_words_min:
        yield Reject("few_stop_words", f"{stop_words} < {cfg.stop_words_min}")


def _above(reason: str, share: float, most: float) -> Iterator[Reject]:
    if share > most:
        yield Reject(reason, f"{share:.2f} > {most}")


def _below(reason: str, share: float, least: float) -> Iterator[Reject]:
    if share < least:
        yield Reject(reason, f"{share:.2f} < {least}")
