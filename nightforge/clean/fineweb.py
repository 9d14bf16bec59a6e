"""Drops lists, menus and boards of short lines: FineWeb's own rules (Penedo et al. 2024, arXiv 2406.17557, 3.6)."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from nightforge import config
from nightforge.records import Reject
from nightforge.view import View

Share = Annotated[float, Field(ge=0, le=1)]


class Config(config.Config):
    """Bounds on the lines of a text that are not blank, as they stand; a text at a bound stays."""

    ends: list[str]
    """What ends a sentence."""
    ended_line_share_min: Share
    """Least share of lines that end a sentence."""
    short_line_chars: int = Field(ge=0)
    """A line of so many characters is short."""
    short_line_share_max: Share
    """Largest share of short lines."""
    repeated_char_share_max: Share
    """Largest share of the characters that may stand in lines that repeat an earlier one."""
    breaks_per_word_max: float = Field(ge=0)
    """Most line breaks a word."""


SAMPLE = Config(
    ends=[".", "!", "?", "‼", "⁇", "⁈", "⁉", "。", "！", "．", "？", "｡", "։", "؟", "۔", "।", "॥", "።"],
    ended_line_share_min=0.12,
    short_line_chars=30,
    short_line_share_max=0.67,
    repeated_char_share_max=0.01,
    breaks_per_word_max=0.3,
)


def judge(view: View, cfg: Config) -> Iterator[Reject]:
    """Every bound that the text breaks."""
    if not (lines := len(view.raw_lines)):
        return
    ends = tuple(cfg.ends)
    ended = sum(line.endswith(ends) for line in view.raw_lines) / lines
    if ended < cfg.ended_line_share_min:
        yield Reject("few_ended_lines", f"{ended:.2f} < {cfg.ended_line_share_min}")
    short = sum(len(line) <= cfg.short_line_chars for line in view.raw_lines) / lines
    if short > cfg.short_line_share_max:
        yield Reject("short_lines", f"{short:.2f} > {cfg.short_line_share_max}")
    breaks = view.text.count("\n")
    repeated = view.repeated_lines[1] / (len(view.text) - breaks)
    if repeated > cfg.repeated_char_share_max:
        yield Reject("repeated_line_characters", f"{repeated:.3f} > {cfg.repeated_char_share_max}")
    if view.tokens and (rate := breaks / len(view.tokens)) > cfg.breaks_per_word_max:
        yield Reject("line_breaks", f"{rate:.2f} > {cfg.breaks_per_word_max}")
