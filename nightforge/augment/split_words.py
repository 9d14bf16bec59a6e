"""Puts a space inside words: Li et al. 2019, arXiv 1812.05271 (TextBugger)."""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from pydantic import Field

from nightforge.augment._prose import Change, Draw, Varied, prose_words, some, variants
from nightforge.records import Record


class Config(Varied):
    """Which words."""

    word_share: float = Field(gt=0, le=1)
    """Share of the words of prose to split (rounded up)."""
    letters_min: int = Field(ge=2)
    """Letters from which a word may be split."""


SAMPLE = Config(part="prompt", tries=2, word_share=0.1, letters_min=4)


def vary(record: Record, cfg: Config, rng: random.Random, assets: Path) -> Iterator[Record]:
    """At most `tries` variants, none where no word is long enough."""
    return variants(record, cfg, rng, partial(_plan, cfg))


def _plan(cfg: Config, text: str) -> Draw | None:
    found = prose_words(text)
    places = [place for place in found if len(place[1]) >= cfg.letters_min]
    return some(cfg.word_share, len(found), places, _split)


def _split(place: tuple[int, str], rng: random.Random) -> Change:
    at, word = place
    cut = rng.randrange(1, len(word))
    return Change(at, word, f"{word[:cut]} {word[cut:]}")
