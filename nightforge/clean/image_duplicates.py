"""Drops pictures that an earlier row shows already: the same bytes or pixels, or a look that is near (perceptual hash).

The difference hash (Krawetz 2013, hackerfactor.com) survives another size, format or quality; it does not survive
crops, turns or mirrors. A thumbnail of 4 × 4 colours must be near too, for outlines repeat (nightforge/pictures.py).
Records that are no pictures are compared by their bytes and text. 100 bytes and 60 a band, a row.
"""

from collections.abc import Iterator

import xxhash

from nightforge.pictures import Alike, Looks, look
from nightforge.records import Reject
from nightforge.signatures import Signatures
from nightforge.view import View

HASH_BYTES = 16


class Config(Alike):
    """When two pictures are taken for one."""


SAMPLE = Config(bits_max=4, difference_max=0.04)


def signature(view: View, cfg: Config) -> bytes:
    """128-bit hash of the pixels (of content and text where there are none), and the look of a picture (56 bytes)."""
    if view.pixels is None:
        return xxhash.xxh3_128_digest((view.record.content or b"") + view.text.encode("utf-8", "surrogatepass"))
    return xxhash.xxh3_128_digest(repr(view.pixels.shape).encode() + view.pixels.tobytes()) + look(view.pixels)


def select(signatures: Signatures, cfg: Config) -> Iterator[tuple[int, Reject]]:
    """Position → why, for every row that looks like one before it that stays."""
    import numpy as np

    seen: dict[bytes, int] = {}
    looks, kept = Looks(cfg), list[int]()
    at = 0
    for batch in signatures.batches():
        for one in batch.to_pylist():
            first, reason = seen.get(one[:HASH_BYTES]), "exact_duplicate"
            if first is None and len(one) > HASH_BYTES and (near := looks.find(one[HASH_BYTES:])) is not None:
                first, reason = kept[near], "looks_alike"
            if first is not None:
                yield at, Reject(reason, f"of {signatures.ids(np.array([first]))[0]}")
            else:
                seen[one[:HASH_BYTES]] = at
                if len(one) > HASH_BYTES:
                    looks.add(one[HASH_BYTES:])
                    kept.append(at)
            at += 1
