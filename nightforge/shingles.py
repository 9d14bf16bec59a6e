"""Hashes of runs of words: one 64-bit number a run, the same on every machine and in every process.

A run's hash is a sum of its words' hashes (xxh3), each times an odd number of its place, mod 2**64, then mixed; all of
a text's runs are worked out at once, which costs a tenth of hashing each run's text.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import xxhash

REMEMBERED_WORDS = 2**16
"""Words whose hash is not worked out twice; some 10 MB."""

_SEED = 42  # fixed: a hash must not change from run to run
_MIX = np.uint64(0x9E3779B97F4A7C15)


class _Hashes(dict[str, int]):
    """Word → hash, for the words met first."""

    def __missing__(self, word: str) -> int:
        value = xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass"))
        if len(self) < REMEMBERED_WORDS:
            self[word] = value
        return value


_HASHES = _Hashes()


@lru_cache
def _places(count: int) -> npt.NDArray[np.uint64]:
    return np.random.default_rng(_SEED).integers(2**64, size=count, dtype=np.uint64) | np.uint64(1)


def shingles(words: Sequence[str], count: int) -> npt.NDArray[np.uint64]:
    """The hash of every run of `count` words, in order, repeats included; (max(0, words - count + 1),)."""
    runs = len(words) - count + 1
    if runs < 1:
        return np.empty(0, np.uint64)
    each = np.fromiter(map(_HASHES.__getitem__, words), np.uint64, len(words))
    places = _places(count)
    hashes: npt.NDArray[np.uint64] = each[:runs] * places[0]
    for place in range(1, count):
        hashes += each[place : place + runs] * places[place]
    hashes ^= hashes >> np.uint64(32)
    hashes *= _MIX
    hashes ^= hashes >> np.uint64(32)
    return hashes
