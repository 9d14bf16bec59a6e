"""Replaces or puts in words that carry little information, and leaves those that carry much.

TF-IDF word replacement: Xie et al. 2020, arXiv 1904.12848 (UDA), appendix B. nlpaug's TfIdfAug draws over the whole
vocabulary for each word and counts occurrences where the paper counts texts; the statistics here are the paper's.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from nightforge import assets as laid
from nightforge.augment._prose import Change, Draw, Varied, prose_words, variants, wanted
from nightforge.augment._tfidf import Statistics
from nightforge.records import Record


class Config(Varied):
    """What is done to how many words."""

    action: Literal["substitute", "insert"]
    """Whether a drawn word takes the place of one, or is put in before it."""
    word_share: float = Field(gt=0, le=1)
    """Share of the words of prose at which this is done (rounded up)."""
    asset: str
    """Name of an asset of texts of the domain (*.jsonl or *.txt), which the statistics are of."""


SAMPLE = Config(part="all", tries=2, action="substitute", word_share=0.1, asset="texts")


def vary(record: Record, cfg: Config, rng: random.Random, assets: Path) -> Iterator[Record]:
    """At most `tries` variants, none where the texts of the asset have no word of it.

    Raises:
        AssetMissing: there are no such texts in the assets.
    """
    return variants(record, cfg, rng, partial(_plan, cfg, _statistics(assets, cfg.asset)))


def _plan(cfg: Config, known: Statistics, text: str) -> Draw | None:
    words = prose_words(text)
    found = [place for place in words if place[1].lower() in known.idf]
    counts = Counter(word.lower() for _, word in found)
    carried = [counts[word.lower()] / len(found) * known.idf[word.lower()] for _, word in found]
    highest = max(carried, default=0.0)
    places = [(at, word, highest - score) for (at, word), score in zip(found, carried, strict=True)]

    def draw(rng: random.Random) -> Iterable[Change]:
        # the first few of a weighted random order: Efraimidis and Spirakis 2006
        order = sorted(places, key=lambda p: rng.expovariate(1.0) / (p[2] + 1e-9))
        for at, word, _ in order[:count]:
            names = rng.choices(known.words, cum_weights=known.weights, k=8)
            drawn = next((name for name in names if name != word.lower()), word.lower())
            drawn = drawn.capitalize() if word[0].isupper() else drawn
            yield Change(at, word, drawn if cfg.action == "substitute" else f"{drawn} {word}")

    count = wanted(cfg.word_share, len(words), len(places))
    return draw if count else None


@lru_cache(maxsize=2)
def _statistics(assets: Path, name: str) -> Statistics:
    return Statistics(laid.texts(assets, name))
