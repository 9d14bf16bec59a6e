"""Drops texts that use the words and phrases of a list: slurs, spam, names that must not be learned.

Words are compared whole, after NFKC and case folding, as the word boundaries of nightforge/words.py cut them; a list
that was made by matching anywhere in the text (such as C4's bad words, arXiv 1910.10683, 2.2) drops less here, and does
not drop Scunthorpe.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from nightforge import assets as laid
from nightforge import config
from nightforge.records import Reject
from nightforge.view import View
from nightforge.words import folded

Phrases = dict[str, list[tuple[str, ...]]]
"""First word → the phrases that begin with it, folded, longest first."""


class Config(config.Config):
    """The list, and how much of it a text may use; a text at a bound stays."""

    words: list[str]
    """Words and phrases, in any case."""
    asset: str | None
    """Name of an asset that holds more of them, one a line of its *.txt files; null for none."""
    places_max: int = Field(ge=0)
    """Most places where one of the list stands; 0 drops every text that uses one."""
    share_max: float = Field(ge=0, le=1)
    """Largest share of the words that may lie in such places; 1 asks nothing."""

    @model_validator(mode="after")
    def _names_words(self) -> Self:
        if not self.words and self.asset is None:
            raise ValueError("expected words, or an asset that holds them, got neither")
        if wordless := [word for word in self.words if not folded(word)]:
            raise ValueError(f"expected words and phrases, got {wordless[0]!r}, which holds no letter and no digit")
        return self


SAMPLE = Config(words=["lorem ipsum"], asset=None, places_max=2, share_max=0.1)


def prepare(cfg: Config, assets: Path) -> Phrases:
    """The list, ready to be looked up.

    Raises:
        AssetMissing: the asset is not there.
        DataError: it holds no text, or no UTF-8.
    """
    listed = [*cfg.words]
    for text in laid.texts(assets, cfg.asset) if cfg.asset is not None else []:
        listed += text.split("\n")
    phrases: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)
    for phrase in sorted({tuple(folded(line)) for line in listed}, key=lambda p: (-len(p), p)):
        if phrase:
            phrases[phrase[0]].append(phrase)
    return dict(phrases)


def judge(view: View, cfg: Config, phrases: Phrases) -> Iterator[Reject]:
    """Too many places, or too much of the text in them; the evidence shows the first."""
    found = list(_places(view.folded, phrases))
    if len(found) > cfg.places_max:
        yield Reject("too_many_listed", f"{len(found)} > {cfg.places_max}: {' '.join(found[0])}")
    words = sum(map(len, found))
    if words > cfg.share_max * len(view.folded):
        share = words / len(view.folded)
        yield Reject("too_much_listed", f"{share:.2f} > {cfg.share_max}: {' '.join(found[0])}")


def _places(words: list[str], phrases: Phrases) -> Iterator[tuple[str, ...]]:
    """The phrases in a text, from left to right, the longest at each place; no word counts twice."""
    if phrases.keys().isdisjoint(words):
        return
    at = 0
    while at < len(words):
        here = next((p for p in phrases.get(words[at], []) if tuple(words[at : at + len(p)]) == p), None)
        if here is not None:
            yield here
        at += len(here) if here else 1
