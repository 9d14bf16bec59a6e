"""Misspells words as people do: Belinkov and Bisk 2018, arXiv 1711.02173, with the dictionary that nlpaug bundles."""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from pydantic import Field

from nightforge.augment._prose import Change, Draw, Varied, prose_words, some, variants
from nightforge.records import Record


class Config(Varied):
    """How many words."""

    word_share: float = Field(gt=0, le=1)
    """Share of the words of prose to misspell (rounded up), as far as the dictionary has them. It is English."""
    letters_min: int = Field(ge=1)
    """Letters from which a word may be misspelt."""


SAMPLE = Config(part="prompt", tries=2, word_share=0.1, letters_min=4)


def vary(record: Record, cfg: Config, rng: random.Random, assets: Path) -> Iterator[Record]:
    """At most `tries` variants, none where the dictionary has no word of the text."""
    return variants(record, cfg, rng, partial(_plan, cfg))


def _plan(cfg: Config, text: str) -> Draw | None:
    from nightforge.augment._nlpaug_shim import misspellings

    known = misspellings()
    found = prose_words(text)
    places = [(at, word, known[word]) for at, word in found if len(word) >= cfg.letters_min and word in known]
    return some(cfg.word_share, len(found), places, _misspell)


def _misspell(place: tuple[int, str, list[str]], rng: random.Random) -> Change:
    at, word, wrong = place
    return Change(at, word, rng.choice(wrong))
