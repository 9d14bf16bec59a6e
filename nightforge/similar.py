"""Near-duplicates: MinHash sketches find candidate pairs, the true Jaccard index decides, union-find joins clusters.

MinHash and banding: Broder 1997; Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", ch. 3. Two texts of
Jaccard index J become candidates with probability 1 - (1 - J**rows)**bands. Signatures alone are never believed: a
candidate pair joins only if the index computed from its shingles reaches `jaccard_min`.

Memory a row: 4·bands·rows bytes of MinHash and at most 8·KEPT bytes of shingle hashes (80 bytes for ten words).
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import rensa
import xxhash
from pydantic import Field

from nightforge.config import Config
from nightforge.words import folded

KEPT = 256
"""Shingles kept of a text, those of smallest hash: up to here J is exact, beyond it is the bottom-k estimate (Cohen
and Kaplan 2007) with a standard error of at most 0.031."""

_SEED = 42  # fixed: a signature must not change from run to run


class Near(Config):
    """What counts as a near-duplicate."""

    shingle_words: int = Field(ge=1, le=13)
    """Words a shingle: 3 suits texts of one sentence, 5 suits web pages."""
    bands: int = Field(ge=1, le=256)
    """Bands of the MinHash signature: more find more candidates."""
    rows: int = Field(ge=1, le=32)
    """Hashes a band: more make a candidate rarer."""
    jaccard_min: float = Field(gt=0, le=1)
    """Jaccard index of two texts' shingle sets from which they are near-duplicates."""


class Sketch(NamedTuple):
    """What is remembered of a text."""

    minhash: npt.NDArray[np.uint32]
    """(bands * rows,)"""
    shingles: npt.NDArray[np.uint64]
    """(≤ KEPT,) sorted shingle hashes."""
    whole: bool
    """Whether these are all its shingles."""


def sketch(text: str, near: Near) -> Sketch:
    """The sketch of a text; one with fewer words than a shingle is one shingle."""
    tokens, n = folded(text) or [text], near.shingle_words
    parts = {" ".join(tokens[i : i + n]) for i in range(max(1, len(tokens) - n + 1))}
    hashes = sorted(xxhash.xxh3_64_intdigest(part.encode("utf-8", "surrogatepass")) for part in parts)
    matrix = rensa.RMinHash.digest_matrix_from_token_hash_sets([hashes], num_perm=near.bands * near.rows, seed=_SEED)
    return Sketch(
        np.array(matrix.to_rows()[0], dtype=np.uint32), np.array(hashes[:KEPT], dtype=np.uint64), len(hashes) <= KEPT
    )


def jaccard(a: Sketch, b: Sketch) -> float:
    """Jaccard index of two texts' shingles: exact for whole sketches, else from the KEPT smallest of their union."""
    mine, other = set(a.shingles.tolist()), set(b.shingles.tolist())
    if a.whole and b.whole:
        return len(mine & other) / len(mine | other)
    union = sorted(mine | other)[:KEPT]
    return sum(h in mine and h in other for h in union) / len(union)


def band_keys(matrix: npt.NDArray[np.uint32], near: Near) -> npt.NDArray[np.uint64]:
    """MinHashes (n, bands * rows) → one number a band, (n, bands); equal bands give equal numbers."""
    weights = np.random.default_rng(_SEED).integers(2**64, size=near.rows, dtype=np.uint64) | np.uint64(1)
    parts = matrix.reshape(-1, near.bands, near.rows).astype(np.uint64)
    keys: npt.NDArray[np.uint64] = (parts * weights).sum(axis=2, dtype=np.uint64)  # wraps mod 2**64
    return keys


class Index:
    """Texts that others are held against; memory a text: its sketch, and 12 bytes a band."""

    def __init__(self, sketches: Iterable[Sketch], near: Near) -> None:
        self.near, self.kept = near, list(sketches)
        matrix = np.stack([s.minhash for s in self.kept]) if self.kept else np.empty((0, near.bands * near.rows), "u4")
        keys = band_keys(matrix, near).T  # (bands, n)
        self.order = np.argsort(keys, axis=1, kind="stable").astype(np.uint32)
        self.keys = np.take_along_axis(keys, self.order.astype(np.intp), axis=1)

    def find(self, text: Sketch) -> int | None:
        """Position of a text that this one is a near-duplicate of, or none."""
        seen: set[int] = set()
        for band, key in enumerate(band_keys(text.minhash, self.near)[0]):
            start, end = np.searchsorted(self.keys[band], key), np.searchsorted(self.keys[band], key, side="right")
            for at in self.order[band, start:end].tolist():
                if at not in seen and jaccard(text, self.kept[at]) >= self.near.jaccard_min:
                    return int(at)
                seen.add(at)
        return None


class Clusters:
    """Union-find over positions; the root of a cluster is its first row."""

    def __init__(self, size: int) -> None:
        self.parent = list(range(size))
        self.why: dict[int, tuple[int, float]] = {}
        """Row → the earlier row that it was joined to, and their Jaccard index."""

    def root(self, i: int) -> int:
        """The first row of the cluster of row i."""
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = self.parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        """Make one cluster of two rows' clusters."""
        a, b = self.root(i), self.root(j)
        self.parent[max(a, b)] = min(a, b)


def clusters(sketches: Iterable[Sketch], near: Near) -> Clusters:
    """Join every pair that shares a band and whose Jaccard index reaches `jaccard_min`, transitively."""
    kept = list(sketches)
    found = Clusters(len(kept))
    if not kept:
        return found
    matrix = band_keys(np.stack([s.minhash for s in kept]), near)  # (n, bands)
    for band in range(near.bands):
        keys = matrix[:, band]
        order = np.argsort(keys, kind="stable")
        new = np.flatnonzero(np.concatenate([[True], keys[order][1:] != keys[order][:-1]]))
        for start, end in zip(new, [*new[1:], len(kept)], strict=True):
            if end - start > 1:
                _join(order[start:end].tolist(), kept, near.jaccard_min, found)
    return found


def _join(bucket: list[int], kept: list[Sketch], jaccard_min: float, found: Clusters) -> None:
    """Verify the candidate pairs of one bucket; a pair already in one cluster needs no proof."""
    for at, j in enumerate(bucket):
        for i in bucket[:at]:
            if found.root(i) != found.root(j) and (index := jaccard(kept[i], kept[j])) >= jaccard_min:
                found.join(i, j)
                found.why.setdefault(j, (i, index))
