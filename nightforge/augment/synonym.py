"""Replaces words by WordNet synonyms: Zhang, Zhao, LeCun 2015, arXiv 1509.01626.

Only uninflected nouns, verbs, adjectives and adverbs are varied, by synonyms in their most frequent sense and of the
same part of speech (the tags are those of TextBlob, github.com/sloria/TextBlob). nlpaug's SynonymAug takes every sense
and every part of a text; bench/_synonyms.py holds the two side by side.
"""

import random
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path

from pydantic import Field

from nightforge import assets as laid
from nightforge.augment._prose import Change, Draw, Varied, prose_words, some, variants
from nightforge.augment._wordnet import Synonyms
from nightforge.records import Record

OPEN_CLASS = {"NN": "n", "JJ": "a", "RB": "r", "VB": "v", "VBP": "v"}
"""Penn tags of uninflected open-class words → WordNet's part of speech: a synonym of `leaves` would be inflected."""


class Config(Varied):
    """How much is varied."""

    word_share: float = Field(gt=0, le=1)
    """Share of the words of prose to replace (rounded up), as far as they have synonyms."""
    asset: str
    """Folder of WordNet among the assets."""
    stopwords: list[str]
    """Words that are never replaced."""


SAMPLE = Config(part="all", tries=8, word_share=0.2, asset="wordnet", stopwords=["have", "then"])


def vary(record: Record, cfg: Config, rng: random.Random, assets: Path) -> Iterator[Record]:
    """At most `tries` variants, none where no word has a synonym.

    Raises:
        AssetMissing: there is no WordNet in the assets.
    """
    names = _names(assets, cfg.asset, frozenset(cfg.stopwords))
    return variants(record, cfg, rng, partial(_plan, names, cfg.word_share))


def _plan(names: "Names", share: float, text: str) -> Draw | None:
    known, found = names.known, prose_words(text)
    places = [(at, word, others) for at, word in found if word in known and (others := names[word])]
    return some(share, len(found), places, _replace)


def _replace(place: tuple[int, str, tuple[str, ...]], rng: random.Random) -> Change:
    at, word, names = place
    return Change(at, word, names[int(rng.random() * len(names))])  # a third of the time of rng.choice


class Names(dict[str, tuple[str, ...]]):
    """Word → what may stand in its place; worked out when a word is first asked for."""

    def __init__(self, synonyms: Synonyms, stopwords: frozenset[str]) -> None:
        super().__init__()
        self.synonyms, self.known = synonyms, synonyms.words - stopwords

    def __missing__(self, word: str) -> tuple[str, ...]:
        """Of the part of speech that TextBlob gives it, which looks at no neighbours (a test holds it to that)."""
        from textblob.en import parser

        ((_, tag),) = parser.find_tags([word])
        self[word] = self.synonyms.of(word, OPEN_CLASS[tag]) if tag in OPEN_CLASS else ()
        return self[word]


@lru_cache(maxsize=2)
def _names(assets: Path, name: str, stopwords: frozenset[str]) -> Names:
    return Names(Synonyms(laid.folder(assets, name, "WordNet (data.noun, index.noun, …)")), stopwords)
