"""Near-duplicates: MinHash bands find candidate pairs, the true Jaccard index decides, union-find joins clusters.

MinHash and banding: Broder 1997; Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", ch. 3. Two texts of
Jaccard index J become candidates with probability 1 - (1 - J**rows)**bands. Bands alone are never believed: a candidate
pair joins only if the index computed from its shingles reaches `jaccard_min`.

Sketches lie wherever the caller has them (nightforge/signatures.py). Held in memory while clusters are found: 8 bytes a
row for the clusters, 8 · BANDS_AT_ONCE for bands, some 90 for the one being looked at: below 170 bytes a row in all.
"""

from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from pydantic import Field

from nightforge.config import Config
from nightforge.shingles import shingles
from nightforge.signatures import Signatures
from nightforge.words import folded

KEPT = 256
"""Shingles kept of a text, those of smallest hash: up to here J is exact, beyond it is the bottom-k estimate (Cohen
and Kaplan 2007) with a standard error of at most 0.031."""

KEPT_IN_INDEX = 128
"""Of a text that an `Index` holds: a standard error of at most 0.044 for longer ones."""

BANDS_AT_ONCE = 8
"""Bands held at once: more are found in further passes over the sketches."""

HEADS = 32
"""Rows of one band's bucket that every other row of it is compared with, at most: see `_join`."""

PAIRS_AT_ONCE = 4_096
"""Pairs verified at once: some 60 MB."""

_SEED = 42  # fixed: a sketch must not change from run to run
_BLOCK = 1_024  # shingles: what the permutations of a block fill stays in the processor's cache
_ROW = np.uint64(2**32 - 1)
_HALF = np.uint64(32)

Sketch = npt.NDArray[np.uint32]
"""What is remembered of a text: a key a band, how many shingles it has, and the KEPT smallest of their hashes, sorted.

32 bits are enough for each, in half the space of 64: among the 512 hashes of a pair, two different shingles are taken
for one once in 30,000 pairs, which shifts its index by 1/256; a band of 10 million rows holds 12,000 false candidate
pairs, which are verified like any other."""

Rows = npt.NDArray[np.int64]
"""Positions of rows."""


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


def sketch(text: str, near: Near) -> Sketch:
    """The sketch of a text."""
    return sketch_words(folded(text) or [text], near)


def sketch_words(words: Sequence[str], near: Near) -> Sketch:
    """The sketch of a text's words; one with fewer words than a shingle is one shingle."""
    hashes = (shingles(words, min(near.shingle_words, len(words))) >> _HALF).astype(np.uint32)
    hashes.sort()
    distinct = hashes[np.concatenate([[True], hashes[1:] != hashes[:-1]])]
    keys = band_keys(minhash(distinct, near.bands * near.rows), near)
    return np.concatenate([keys, np.array([len(distinct)], np.uint32), distinct[:KEPT]])


@lru_cache
def _permutations(count: int) -> tuple[Sketch, Sketch]:
    """x → a·x + b mod 2**32 with odd a, a permutation of all 32-bit numbers: a and b, (count, 1) each."""
    drawn = np.random.default_rng(_SEED).integers(2**32, size=(2, count, 1), dtype=np.uint32)
    return drawn[0] | np.uint32(1), drawn[1]


def minhash(hashes: npt.NDArray[np.uint32], count: int) -> npt.NDArray[np.uint32]:
    """The least of a set of hashes under each of `count` permutations, (count,): two sets agree in a share J of them.

    The standard error of that share is sqrt(J (1 - J) / count), since the hashes are well mixed beforehand.
    """
    a, b = _permutations(count)
    least: npt.NDArray[np.uint32] = np.full(count, 2**32 - 1, np.uint32)
    for at in range(0, len(hashes), _BLOCK):
        permuted = a * hashes[at : at + _BLOCK]  # wraps
        permuted += b
        np.minimum(least, permuted.min(axis=1), out=least)
    return least


@lru_cache
def _weights(bands: int, rows: int) -> npt.NDArray[np.uint64]:
    return np.random.default_rng(_SEED).integers(2**64, size=(bands, rows), dtype=np.uint64) | np.uint64(1)


def band_keys(minhashes: npt.NDArray[np.uint32], near: Near) -> npt.NDArray[np.uint32]:
    """MinHashes (bands * rows,) → one number a band, (bands,); bands of equal place and hashes give equal numbers."""
    parts = minhashes.reshape(near.bands, near.rows) * _weights(near.bands, near.rows)
    keys: npt.NDArray[np.uint64] = parts.sum(axis=1, dtype=np.uint64)  # wraps
    return (keys >> _HALF).astype(np.uint32)


def jaccard(a: Sketch, b: Sketch, near: Near) -> float:
    """Jaccard index of two texts' shingles: exact where both have at most KEPT, else from the KEPT smallest of both."""
    whole = np.array([max(a[near.bands], b[near.bands]) <= KEPT])
    return float(_jaccards([a[near.bands + 1 :]], [b[near.bands + 1 :]], whole, KEPT)[0])


def _jaccards(
    a: Sequence[Sketch], b: Sequence[Sketch], whole: npt.NDArray[np.bool_], kept: int
) -> npt.NDArray[np.float64]:
    """The index of each pair of hash sets: of all their hashes where they are whole, else of the `kept` smallest."""
    sides = [
        np.concatenate(side) | np.repeat(np.arange(len(side), dtype=np.uint64) << _HALF, [len(s) for s in side])
        for side in (a, b)
    ]
    both = np.concatenate(sides)
    both.sort()
    twice = np.concatenate([both[1:] == both[:-1], [False]])  # at the first of two equal hashes
    new = np.concatenate([[True], ~twice[:-1]])
    pair = (both >> _HALF).astype(np.intp)
    order = np.cumsum(new)  # of the distinct hashes, over all pairs
    begun = np.concatenate([[0], np.cumsum(np.bincount(pair[new], minlength=len(a)))])
    counted = new & (whole[pair] | (order - begun[pair] <= kept))
    shared = np.bincount(pair[counted & twice], minlength=len(a))
    return np.asarray(shared / np.bincount(pair[counted], minlength=len(a)))


class Index:
    """Texts that others are held against; memory a text: 8 bytes a band, 12, and 4 a shingle up to KEPT_IN_INDEX."""

    def __init__(self, sketches: Iterable[Sketch], near: Near) -> None:
        self.near = near
        keyed, hashes, ends, totals = array("Q"), array("I"), array("Q", [0]), array("I")
        for row, one in enumerate(sketches):
            keyed.frombytes(_packed(one[: near.bands], row).tobytes())
            hashes.frombytes(one[near.bands + 1 :][:KEPT_IN_INDEX].tobytes())
            ends.append(len(hashes))
            totals.append(int(one[near.bands]))
        self.keyed = np.frombuffer(keyed, np.uint64)
        self.keyed.sort()
        self.hashes, self.ends, self.totals = (np.asarray(values) for values in (hashes, ends, totals))

    def find(self, text: Sketch) -> int | None:
        """Position of the first text that this one is a near-duplicate of, or none."""
        low = _packed(text[: self.near.bands], 0)
        spans = zip(np.searchsorted(self.keyed, low), np.searchsorted(self.keyed, low | _ROW, "right"), strict=True)
        if not (hits := [self.keyed[start:end] for start, end in spans if start < end]):
            return None
        rows = np.unique(np.concatenate(hits) & _ROW)
        mine, total = text[self.near.bands + 1 :][:KEPT_IN_INDEX], int(text[self.near.bands])
        for at in range(0, len(rows), PAIRS_AT_ONCE):
            some = rows[at : at + PAIRS_AT_ONCE].astype(np.intp)
            others = [self.hashes[self.ends[row] : self.ends[row + 1]] for row in some]
            whole = np.maximum(self.totals[some], total) <= KEPT_IN_INDEX
            near = _jaccards([mine] * len(others), others, whole, KEPT_IN_INDEX) >= self.near.jaccard_min
            if near.any():
                return int(some[np.argmax(near)])
        return None


def _packed(keys: npt.NDArray[np.uint32], rows: int | npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A key and a row as one number, so that sorting numbers sorts rows by key, and needs no order beside them."""
    return np.asarray((keys.astype(np.uint64) << _HALF) | np.asarray(rows, np.uint64))


class Clusters:
    """Union-find over positions; the root of a cluster is its first row. 8 bytes a row."""

    def __init__(self, size: int) -> None:
        self.parent = np.arange(size, dtype=np.int64)

    def root(self, i: int) -> int:
        """The first row of the cluster of row i."""
        return int(self.roots(np.array([i]))[0])

    def roots(self, rows: Rows) -> Rows:
        """The first row of the cluster of each of some rows."""
        found = self.parent[rows]
        while not np.array_equal(found, further := self.parent[found]):
            found = further
        self.parent[rows] = found
        return found

    def every_root(self) -> Rows:
        """The first row of the cluster of every row."""
        return self.roots(np.arange(len(self.parent)))

    def join(self, a: Rows, b: Rows) -> None:
        """Make one cluster of the clusters of a[i] and b[i], for each i."""
        while len(a):
            a, b = self.roots(a), self.roots(b)
            apart = a != b
            a, b = np.minimum(a, b)[apart], np.maximum(a, b)[apart]
            np.minimum.at(self.parent, b, a)


def clusters(sketches: Signatures, near: Near) -> Clusters:
    """Join the pairs that share a band and whose Jaccard index reaches `jaccard_min`, transitively.

    Where no bucket of a band has more than HEADS rows, clusters are what comparing all its pairs would give, whatever
    the order of the rows; what is promised of larger ones is in `_join`.
    """
    found = Clusters(len(sketches))
    for first in range(0, near.bands, BANDS_AT_ONCE):
        for band in _bands(sketches, range(first, min(first + BANDS_AT_ONCE, near.bands))):
            band.sort()
            shared = np.zeros(len(band) + 1, np.bool_)
            shared[1:-1] = band[1:] >> _HALF == band[:-1] >> _HALF
            _join(band[shared[1:] | shared[:-1]], sketches, near, found)
    return found


def _bands(sketches: Signatures, bands: range) -> npt.NDArray[np.uint64]:
    """The keys of some bands, each packed with its row: (bands, rows)."""
    keyed, row = np.empty((len(bands), len(sketches)), np.uint64), 0
    for batch in sketches.batches():
        _, offsets, data = batch.buffers()
        if len(batch) == 0:
            continue
        begins = np.frombuffer(offsets, np.int32)[batch.offset : batch.offset + len(batch)].astype(np.int64) // 4
        numbers = np.frombuffer(data, np.uint32, len(data) // 4)
        rows = np.arange(row, row + len(batch), dtype=np.uint64)
        for at, band in enumerate(bands):
            keyed[at, row : row + len(batch)] = _packed(numbers[begins + band], rows)
        row += len(batch)
    return keyed


def _join(band: npt.NDArray[np.uint64], sketches: Signatures, near: Near, found: Clusters) -> None:
    """Verify the pairs of one band's buckets, given as packed numbers in order; pairs of one cluster need no proof.

    All buckets go in step. In each round the first row left in a bucket is its head and is compared with the others;
    then it leaves. A bucket of up to HEADS rows so compares all its pairs. In a larger one all rows of the head's
    cluster leave with it, and after HEADS rounds the rest is left alone: each row costs at most HEADS comparisons, and
    a near-duplicate of a row that is no head may be missed unless another band holds the two.
    """
    if len(band) == 0:
        return
    rows, key = (band & _ROW).astype(np.int64), band >> _HALF
    bucket = np.cumsum(np.concatenate([[False], key[1:] != key[:-1]]))
    small = np.bincount(bucket)[bucket] <= HEADS
    for _ in range(HEADS):
        if len(rows) == 0:
            return
        begins = np.flatnonzero(np.concatenate([[True], bucket[1:] != bucket[:-1]]))
        head = np.repeat(rows[begins], np.diff([*begins, len(rows)]))
        apart = found.roots(rows) != found.roots(head)
        _verify(head[apart], rows[apart], sketches, near, found)
        roots = found.roots(rows)
        mixed = np.minimum.reduceat(roots, begins) != np.maximum.reduceat(roots, begins)
        left = np.repeat(mixed, np.diff([*begins, len(rows)]))
        left &= np.where(small, rows != head, roots != found.roots(head))
        rows, bucket, small = rows[left], bucket[left], small[left]


def _verify(a: Rows, b: Rows, sketches: Signatures, near: Near, found: Clusters) -> None:
    """Join the pairs whose index reaches the limit."""
    for at in range(0, len(a), PAIRS_AT_ONCE):
        one, other = a[at : at + PAIRS_AT_ONCE], b[at : at + PAIRS_AT_ONCE]
        positions, which = np.unique(np.concatenate([one, other]), return_inverse=True)
        held = [np.frombuffer(s, np.uint32)[near.bands :] for s in sketches.at(positions)]
        totals = np.array([s[0] for s in held])
        hashes = [s[1:] for s in held]
        left, right = which[: len(one)], which[len(one) :]
        whole = np.maximum(totals[left], totals[right]) <= KEPT
        index = _jaccards([hashes[i] for i in left], [hashes[i] for i in right], whole, KEPT)
        close = index >= near.jaccard_min
        found.join(one[close], other[close])
