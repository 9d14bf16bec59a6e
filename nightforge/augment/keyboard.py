"""Hits a neighbouring key: Belinkov and Bisk 2018, arXiv 1711.02173, with nlpaug's KeyboardAug and its layouts."""

import random
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from nightforge.augment._prose import Change, Draw, Varied, prose_words, some, variants
from nightforge.records import Record


class Config(Varied):
    """Which words, on which keyboard."""

    word_share: float = Field(gt=0, le=1)
    """Share of the words of prose that get one wrong letter each (rounded up)."""
    letters_min: int = Field(ge=1)
    """Letters from which a word may be varied."""
    layout: Literal["de", "en", "es", "fr", "he", "it", "nl", "pl", "tr", "uk"]
    """Language of the keyboard."""


SAMPLE = Config(part="prompt", tries=2, word_share=0.1, letters_min=4, layout="en")


def vary(record: Record, cfg: Config, rng: random.Random, assets: Path) -> Iterator[Record]:
    """At most `tries` variants, none where no word is long enough."""
    return variants(record, cfg, rng, partial(_plan, cfg))


def _plan(cfg: Config, text: str) -> Draw | None:
    keyboard = _keyboard(cfg.layout)
    found = prose_words(text)
    places = [
        (at, word)
        for at, word in found
        if len(word) >= cfg.letters_min and any(c in keyboard.model.model for c in word)
    ]
    return some(cfg.word_share, len(found), places, partial(_hit, keyboard))


def _hit(keyboard: Any, place: tuple[int, str], rng: random.Random) -> Change:
    from nightforge.augment._nlpaug_shim import drawing

    return Change(*place, drawing(keyboard, rng).substitute(place[1]))


@lru_cache(maxsize=4)
def _keyboard(layout: str) -> Any:
    from nlpaug.augmenter.char import KeyboardAug

    from nightforge.augment._nlpaug_shim import one_change

    return one_change(
        KeyboardAug,
        lang=layout,
        min_char=1,
        include_special_char=False,
        include_numeric=False,
        include_upper_case=False,
    )
