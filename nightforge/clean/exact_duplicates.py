"""Drops texts that an earlier row has already, case, white space and outer punctuation aside; 60 bytes a row."""

from collections.abc import Iterator

import numpy as np
import xxhash

from nightforge import config
from nightforge.clean._duplicates import rejects
from nightforge.records import Reject
from nightforge.signatures import Signatures
from nightforge.view import View


class Config(config.Config):
    """No values: equal is equal."""


SAMPLE = Config()


def signature(view: View, cfg: Config) -> bytes:
    """128-bit hash of the folded words, or of a text that has none, and of the content, where there is any."""
    said = (" ".join(view.folded) or view.text).encode("utf-8", "surrogatepass")
    return xxhash.xxh3_128_digest(said + (view.record.content or b""))


def select(signatures: Signatures, cfg: Config) -> Iterator[tuple[int, Reject]]:
    """Position → why, for every row but the first of each text."""
    hashes, row = np.empty((len(signatures), 2), np.uint64), 0
    for batch in signatures.batches():
        if len(batch):
            numbers = np.frombuffer(batch.buffers()[2], np.uint64, (batch.offset + len(batch)) * 2)
            hashes[row : row + len(batch)] = numbers.reshape(-1, 2)[batch.offset :]
            row += len(batch)
    order = np.lexsort(hashes.T)  # stable, so that the rows of a text come in their order
    new = np.ones(len(hashes), np.bool_)
    new[1:] = (hashes[order][1:] != hashes[order][:-1]).any(axis=1)
    firsts = np.empty(len(hashes), np.int64)
    firsts[order] = order[new][np.cumsum(new) - 1]
    yield from rejects(signatures, firsts, "exact_duplicate")
