"""Texts that share runs of words with texts that models are judged on: decontamination.

Brown et al. 2020 (GPT-3), appendix C: what shares a run of N = 13 words with a benchmark is taken out of training; for
benchmarks of short items N is their length, but at least 8. Dolma and datatrove (decont/n_grams.py) do alike with 13
and 12 words. Here runs are of folded words (nightforge/words.py), compared by their 64-bit hashes.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from nightforge.config import Config
from nightforge.shingles import shingles


class Overlap(Config):
    """What counts as having seen an item."""

    run_words: int = Field(ge=1, le=100)
    """Words in a row that a text must share with an item: GPT-3 and Dolma took 13."""
    item_words_min: int = Field(ge=1, le=100)
    """Shorter items are passed over; one of fewer than `run_words` must be in the text as a whole: GPT-3 took 8."""
    share_min: float = Field(ge=0, le=1)
    """Share of an item's runs that the text must hold; 0 is any one of them."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.item_words_min > self.run_words:
            raise ValueError(f"item_words_min {self.item_words_min} is over run_words {self.run_words}")
        return self


class Hit(NamedTuple):
    """Of the items that a text overlaps with, the one of which it holds the largest share."""

    item: str
    shared: int
    """Different runs of the item that the text holds."""
    runs: int
    """Different runs of the item."""
    passage: str
    """The first of them in the text, in folded words."""

    def __str__(self) -> str:
        return f"{self.item}: {self.shared} of {self.runs} runs of words, first “{self.passage}”"


class Items:
    """Items to look for; memory: 12 bytes a run (40 while they are sorted), and the items' names."""

    def __init__(self, items: Iterable[tuple[str, Sequence[str]]], cfg: Overlap, runs_max: int | None = None) -> None:
        """Take (name, folded words) until there are `runs_max` runs; `exhausted` says whether that was all."""
        self.cfg, self.exhausted = cfg, True
        self.names: list[str] = []
        self.passed_over = 0
        runs, owners, sizes, lengths = array("Q"), array("I"), array("I"), set[int]()
        for name, words in items:
            length = min(cfg.run_words, len(words))
            if length < cfg.item_words_min:
                self.passed_over += 1
                continue
            hashes = np.unique(shingles(words, length))
            runs.frombytes(hashes.tobytes())
            owners.extend([len(self.names)] * len(hashes))
            sizes.append(len(hashes))
            lengths.add(length)
            self.names.append(name)
            if runs_max is not None and len(runs) >= runs_max:
                self.exhausted = False
                break
        order = np.argsort(np.frombuffer(runs, np.uint64), kind="stable")
        self.runs, self.owners = np.frombuffer(runs, np.uint64)[order], np.frombuffer(owners, np.uint32)[order]
        self.sizes, self.lengths = np.frombuffer(sizes, np.uint32), sorted(lengths)

    def find(self, words: Sequence[str]) -> Hit | None:
        """The item that a text of these folded words has seen most of, if that is enough; of equals the first."""
        best: tuple[float, int, int, int, int] | None = None
        for length in self.lengths:
            hashes = shingles(words, length)
            begins = np.searchsorted(self.runs, hashes)
            hits = np.flatnonzero(self.runs[np.minimum(begins, len(self.runs) - 1)] == hashes)
            if not len(hits):
                continue
            shared, firsts = np.unique(hashes[hits], return_index=True)
            spans = zip(np.searchsorted(self.runs, shared), np.searchsorted(self.runs, shared, "right"), strict=True)
            owners = [self.owners[start:end] for start, end in spans]
            items, counts = np.unique(np.concatenate(owners), return_counts=True)
            share = counts / self.sizes[items]
            at = int(np.argmax(share))
            place = min(int(hits[f]) for f, o in zip(firsts, owners, strict=True) if items[at] in o)
            found = (float(share[at]), -int(items[at]), int(counts[at]), place, length)
            best = max(best, found) if best else found
        if best is None or best[0] < self.cfg.share_min:
            return None
        _, item, count, place, length = best
        return Hit(self.names[-item], count, int(self.sizes[-item]), " ".join(words[place : place + length]))
