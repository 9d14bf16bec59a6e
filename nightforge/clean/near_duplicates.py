"""Drops near-duplicates of an earlier row, transitively: MinHash candidates, verified by their Jaccard index."""

from collections.abc import Iterator

from nightforge import similar
from nightforge.clean._duplicates import rejects
from nightforge.records import Reject
from nightforge.signatures import Signatures
from nightforge.view import View


class Config(similar.Near):
    """What counts as a near-duplicate."""


SAMPLE = Config(shingle_words=3, bands=32, rows=4, jaccard_min=0.7)


def signature(view: View, cfg: Config) -> bytes:
    """The sketch of the text: 4 bytes a band, 4, and 4 a shingle up to 256 (see nightforge/similar.py)."""
    return similar.sketch_words(view.folded or [view.text], cfg).tobytes()


def select(signatures: Signatures, cfg: Config) -> Iterator[tuple[int, Reject]]:
    """Position → why, for every row of a cluster but its first."""
    yield from rejects(signatures, similar.clusters(signatures, cfg).every_root(), "near_duplicate")
