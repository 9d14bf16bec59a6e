"""Drops near-duplicates of an earlier row, transitively: MinHash candidates, verified by their Jaccard index."""

from collections.abc import Iterable, Iterator

from nightforge import similar
from nightforge.records import Record, Reject


class Config(similar.Near):
    """What counts as a near-duplicate."""


SAMPLE = Config(shingle_words=3, bands=32, rows=4, jaccard_min=0.7)


def signature(record: Record, cfg: Config) -> similar.Sketch:
    """The sketch of the text."""
    return similar.sketch(record.text, cfg)


def select(signatures: Iterable[tuple[str, similar.Sketch]], cfg: Config) -> dict[int, Reject]:
    """Position → why, for every row of a cluster but its first."""
    ids: list[str] = []

    def sketches() -> Iterator[similar.Sketch]:
        for row, sketch in signatures:
            ids.append(row)
            yield sketch

    found = similar.clusters(sketches(), cfg)
    return {at: Reject("near_duplicate", f"of {ids[found.root(at)]}") for at in range(len(ids)) if found.root(at) != at}
