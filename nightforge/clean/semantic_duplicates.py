"""Drops rows that say what an earlier row says, by the cosine of their embeddings (SemDeDup: Abbas et al. 2023,
arXiv 2303.09540): a row goes if any earlier one is near it, kept or not, so that the first of a cluster stays.

Without an encoder, texts are near if they share words, in whatever order; only an encoder knows that two words mean the
same. Up to 20,000 rows every pair is compared; beyond, those that share a bucket of random hyperplanes
(nightforge/nearest.py), which finds 97 % of pairs at `cosine_min` and more of nearer ones.

Memory a row: 128 bytes of embedding, and 32 for its bucket and what it is near to. 17,000 pages of 1.2 kB a second a
core are embedded by their words; 40,000 compared in 4 s.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import Field

from nightforge import embeddings, nearest
from nightforge.records import Reject
from nightforge.signatures import Signatures
from nightforge.view import View


class Config(embeddings.Embedding):
    """What says the same."""

    cosine_min: float = Field(gt=0.5, le=1)
    """Cosine of two texts' embeddings from which the later one is dropped."""


SAMPLE = Config(encoder=None, batch_texts=1, cosine_min=0.9)


def prepare(cfg: Config, assets: Path) -> Path:
    """The assets, once the encoder was found to work.

    Raises:
        AssetMissing: the encoder is not among the assets.
    """
    embeddings.embed([""], cfg, assets)
    return assets


def signature(view: View, cfg: Config, assets: Path) -> bytes:
    """The embedding of the text, a byte a dimension."""
    points = embeddings.embed([view.text], cfg, assets) if cfg.encoder else embeddings.of_words(view.folded)[None]
    return embeddings.pack(points).tobytes()


def select(signatures: Signatures, cfg: Config, assets: Path) -> Iterator[tuple[int, Reject]]:
    """Position → why, for every row with an earlier one near it."""
    points = np.empty((len(signatures), embeddings.DIMS), np.int8)
    at = 0
    for batch in signatures.batches():
        rows = np.frombuffer(b"".join(batch.to_pylist()), np.int8).reshape(-1, embeddings.DIMS)
        points[at : at + len(rows)] = rows
        at += len(rows)
    found = nearest.earlier(points, cfg.cosine_min)
    dropped = np.flatnonzero(found >= 0)
    partners, where = np.unique(found[dropped].astype(np.int64), return_inverse=True)
    names = signatures.ids(partners)
    for i, j in zip(dropped.tolist(), where.tolist(), strict=True):
        cosine = nearest.cosine(points[i], points[partners[j]])
        yield i, Reject("semantic_duplicate", f"of {names[j]} (cosine {cosine:.2f})")
