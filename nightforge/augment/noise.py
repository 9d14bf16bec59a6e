"""Random noise: words or characters swapped, left out, put in or replaced.

Words: Wei and Zou 2019, arXiv 1901.11196 (EDA), with words of the same text in place of synonyms. Characters: Belinkov
and Bisk 2018, arXiv 1711.02173, with nlpaug's RandomCharAug.
"""

import random
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from nightforge.augment._prose import Change, Draw, Varied, prose_words, variants, wanted
from nightforge.records import Record

Action = Literal["swap", "delete", "insert", "substitute"]


class Config(Varied):
    """What is done, to what, and how often."""

    unit: Literal["words", "characters"]
    """Whether words of the text or characters within a word are changed."""
    actions: list[Action] = Field(min_length=1)
    """What may be done; one is drawn for each place. `swap` is with the next word or character, `insert` puts in a
    word of the same text or a random letter, `substitute` puts such a one in its place."""
    word_share: float = Field(gt=0, le=1)
    """Share of the words of prose to change (rounded up)."""
    letters_min: int = Field(ge=2)
    """Letters from which a word may be changed."""


SAMPLE = Config(
    part="prompt", tries=2, unit="words", actions=["swap", "delete", "insert"], word_share=0.1, letters_min=2
)


def vary(record: Record, cfg: Config, rng: random.Random, assets: Path) -> Iterator[Record]:
    """At most `tries` variants, none where fewer than two words may be changed."""
    return variants(record, cfg, rng, partial(_plan, cfg))


def _plan(cfg: Config, text: str) -> Draw | None:
    words = prose_words(text)
    found = [place for place in words if len(place[1]) >= cfg.letters_min]
    if len(found) < 2:
        return None
    count = wanted(cfg.word_share, len(words), len(found) // 2)

    def draw(rng: random.Random) -> Iterable[Change]:
        # never two neighbours, so that no swap and no lost space meets the change beside it
        slots = sorted(rng.sample(range(len(found) - count + 1), count))
        for n, slot in enumerate(slots):
            at, word = found[slot + n]
            action = rng.choice(cfg.actions)
            if cfg.unit == "characters":
                yield Change(at, word, _characters(action, word, rng))
            else:
                after = found[slot + n + 1] if slot + n + 1 < len(found) else None
                yield _words(action, text, (at, word), after, rng.choice(found)[1])

    return draw


def _words(action: Action, text: str, this: tuple[int, str], after: tuple[int, str] | None, other: str) -> Change:
    """The change at a word; a swap needs a neighbour with nothing but a space between, else `other` takes its place."""
    at, word = this
    if action == "swap" and after and text[at + len(word) : after[0]] == " ":
        return Change(at, f"{word} {after[1]}", f"{after[1]} {word}")
    if action == "delete":
        return Change(at, f"{word} ", "") if text.startswith(" ", at + len(word)) else Change(at, word, "")
    return Change(at, word, f"{other} {word}" if action == "insert" else other)


def _characters(action: Action, word: str, rng: random.Random) -> str:
    from nightforge.augment._nlpaug_shim import drawing

    varied: str = getattr(drawing(_augmenter(), rng), action)(word)
    return varied


@lru_cache(maxsize=1)
def _augmenter() -> Any:
    from nlpaug.augmenter.char import RandomCharAug

    from nightforge.augment._nlpaug_shim import one_change

    return one_change(RandomCharAug, min_char=1, include_upper_case=False, include_numeric=False, spec_char="")
