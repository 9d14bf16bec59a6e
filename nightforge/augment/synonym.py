"""Replaces words by WordNet synonyms, with nlpaug's SynonymAug (Ma 2019, github.com/makcedward/nlpaug).

The method is that of Zhang, Zhao, LeCun 2015, arXiv 1509.01626.

Only uninflected nouns, verbs, adjectives and adverbs are varied, by synonyms in their most frequent sense. White
space, punctuation, numbers, money, addresses, code, names and special tokens stay to the byte.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import Field

from nightforge import config
from nightforge.errors import AssetMissing
from nightforge.records import Record, content_id
from nightforge.words import words


class Config(config.Config):
    """How much is varied."""

    word_share: float = Field(gt=0, le=1)
    """Share of the words to replace (rounded up), as far as they have synonyms."""
    asset: str
    """Folder of the dictionary among the assets."""
    tries: int = Field(ge=1, le=100)
    """Most variants of one copy to draw; the stage takes the first that equals no other row."""
    stopwords: list[str]
    """Words that are never replaced."""


SAMPLE = Config(word_share=0.2, asset="wordnet", tries=8, stopwords=["have", "then"])


def vary(record: Record, cfg: Config, rng: random.Random, assets: Path) -> Iterator[Record]:
    """At most `tries` variants, none where no word has a synonym; `meta.edits` lists the pairs of old and new.

    Raises:
        AssetMissing: there is no WordNet in the assets.
    """
    folder = assets / cfg.asset
    if not (folder / "data.noun").exists():
        raise AssetMissing(
            f"{folder}: expected WordNet (data.noun, index.noun, …). List it in ingest.assets of params.yaml."
        )
    count = math.ceil(cfg.word_share * len(words(record.text)))
    if not count:
        return
    augmenter = _augmenter(folder, tuple(cfg.stopwords))
    augmenter.draw_from(rng, count)
    for _ in range(cfg.tries):
        text, changes = augmenter.substitute(record.text)
        if text == record.text:
            return
        edits = [[change["orig_token"], change["new_token"]] for change in changes]
        meta = {**record.meta, "parent": record.id, "edits": edits}
        yield replace(record, id=content_id(text, record.label), text=text, meta=meta)
        augmenter.draw_from(rng, count)  # another record's generator may have come between


@lru_cache(maxsize=2)
def _augmenter(folder: Path, stopwords: tuple[str, ...]) -> Any:
    from nightforge.augment._nlpaug_shim import Synonyms, dictionary

    return Synonyms(dictionary(folder), list(stopwords))
