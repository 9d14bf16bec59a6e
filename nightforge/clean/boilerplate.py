"""Takes out lines that belong to the page and not to its text: menus, notices about cookies, buttons to share.

By their words, as C4 (arXiv 1910.10683) and the line rules of RefinedWeb do it (Penedo et al. 2023, arXiv 2306.01116,
G.2). Text in fenced code blocks and in tables stays; a text without such lines comes back unchanged.
"""

import re
from collections import Counter

from pydantic import Field

from nightforge import config
from nightforge.records import Edit
from nightforge.words import folded

_PARTED = re.compile(r"\s+[|»›·•>/]\s+|[»›•]")
_ITEM = re.compile(r"[^\W\d_][\w'’&-]*(?: [\w'’&-]+){0,2}")
_SENTENCE_ENDS = (".", "!", "?", ",", ";")


class Config(config.Config):
    """What such a line looks like."""

    lines: list[str]
    """A line that says just this goes, case and punctuation aside; one that ends a sentence may be wrapped prose, and
    stays."""
    phrases: list[str]
    """A line of few words that holds one of these goes; case and punctuation aside."""
    line_words_max: int = Field(ge=1)
    """Most words of a line that goes for a phrase in it; a longer one is running text."""
    menu_items_min: int = Field(ge=2)
    """A line of so many items, three words each at most, parted by bars, bullets or arrows, is a menu."""


SAMPLE = Config(
    lines=[
        "home", "menu", "search", "share", "tweet", "print", "reply", "next", "previous", "back to top",
        "skip to content", "skip to main content", "read more", "load more", "log in", "sign in", "sign up",
        "subscribe", "accept all", "advertisement", "table of contents", "toggle navigation",
    ],
    phrases=[
        "we use cookies", "uses cookies", "accept cookies", "cookie policy", "cookie settings", "privacy policy",
        "terms of service", "terms of use", "all rights reserved", "share on facebook", "share on twitter",
        "share this", "follow us on", "subscribe to our newsletter", "sign up for our newsletter", "click here to",
        "leave a comment", "posted in", "filed under", "enable javascript",
    ],
    line_words_max=15,
    menu_items_min=4,
)  # fmt: skip


def edit(text: str, cfg: Config) -> Edit:
    """The text without such lines, and blank lines that then follow one another made one."""
    plain = [(said, f" {' '.join(folded(said))} ") for said in (*cfg.lines, *cfg.phrases)]
    whole, phrases = [p for _, p in plain[: len(cfg.lines)]], [p for _, p in plain[len(cfg.lines) :]]
    kept, counts, fenced, lines = list[str](), Counter[str](), False, text.split("\n")
    menus = [_is_menu(line, cfg.menu_items_min) for line in lines]
    for at, line in enumerate(lines):
        fenced ^= line.lstrip().startswith(("```", "~~~"))
        said = "" if fenced or len(line) > 40 * cfg.line_words_max else f" {' '.join(folded(line))} "
        if said in whole and not line.rstrip().endswith(_SENTENCE_ENDS):
            counts["page_lines"] += 1
        elif said.count(" ") <= cfg.line_words_max + 1 and any(map(said.__contains__, phrases)):
            counts["phrase_lines"] += 1
        elif menus[at] and not fenced and not any(menus[max(0, at - 1) : at] + menus[at + 1 : at + 2]):
            counts["menu_lines"] += 1
        elif line.strip() or not counts or not kept or kept[-1].strip():
            kept.append(line)
    return Edit("\n".join(kept).strip() if counts else text, counts)


def _is_menu(line: str, items_min: int) -> bool:
    """Whether a line is made of short items; one that begins with a bar is the row of a table."""
    if len(line) > 400 or line.lstrip().startswith("|"):
        return False
    items = _PARTED.split(line.strip())
    return len(items) >= items_min and all(map(_ITEM.fullmatch, items))
