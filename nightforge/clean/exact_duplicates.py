"""Drops texts that an earlier row has already, case, white space and outer punctuation aside; 16 bytes a row."""

from collections.abc import Iterable

import xxhash

from nightforge import config
from nightforge.records import Record, Reject
from nightforge.words import folded


class Config(config.Config):
    """No values: equal is equal."""


SAMPLE = Config()


def signature(record: Record, cfg: Config) -> bytes:
    """128-bit hash of the folded words; of the text itself where it has none."""
    return xxhash.xxh3_128_digest((" ".join(folded(record.text)) or record.text).encode())


def select(signatures: Iterable[tuple[str, bytes]], cfg: Config) -> dict[int, Reject]:
    """Position → why, for every row but the first of each text."""
    first: dict[bytes, str] = {}
    rejects = {}
    for at, (row, seen) in enumerate(signatures):
        if seen in first:
            rejects[at] = Reject("exact_duplicate", f"of {first[seen]}")
        else:
            first[seen] = row
    return rejects
