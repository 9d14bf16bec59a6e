"""Deals rows to splits by a hash of (its own seed, label, group): what belongs together stays together, and stays put.

A group is all rows of one document, and all near-duplicates, joined transitively; its key is the document of its first
row. The hash is compared with fixed thresholds, so a group keeps its split when data is appended; only where a new row
joins two groups, the later one goes to the split of the earlier. Hashing with the label stratifies by expectation; the
largest deviation is a metric.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Self

import xxhash
from pydantic import Field, model_validator

from nightforge.config import Config
from nightforge.errors import RowsLost
from nightforge.records import Record
from nightforge.similar import Clusters, Near, Sketch, clusters, sketch
from tasks import shards
from tasks.shards import RecordShards

Share = Annotated[float, Field(gt=0, lt=1)]


class Shares(Config):
    """Expected share of the rows of each label in each split; they sum to 1."""

    train: Share
    """What the model learns from."""
    validation: Share
    """What early stopping and evaluation look at."""
    calibration: Share
    """What compression passes may look at."""
    search: Share
    """What candidates are compared on."""
    acceptance: Share
    """What only the final verdict looks at."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(sum(self.model_dump().values()) - 1) > 1e-9:
            raise ValueError(f"shares must sum to 1, got {sum(self.model_dump().values())}")
        return self


class SplitConfig(Config):
    """How rows are dealt to splits."""

    seed: int = Field(ge=0)
    """Of this section alone, and the same for ever: with another, the champion and the compressed model of today would
    be judged on rows that they were trained on. The global seed may change from run to run."""
    shares: Shares
    """How much each split gets."""
    near: Near
    """What counts as too near to stand on both sides; wider than the rule that cleans."""


def run(cfg: SplitConfig, clean: Path, splits: Path) -> dict[str, Any]:
    """Every row of `clean` to one folder of `splits`.

    Memory: a sketch a row (see nightforge/similar.py), and the documents' names.

    Raises:
        RowsLost: the splits hold not as many rows as came.
    """
    groups, keys = grouped(shards.read(clean), cfg.near)
    shares = cfg.shares.model_dump()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    with ExitStack() as stack:
        out = {name: stack.enter_context(RecordShards(splits / name)) for name in shares}
        for at, record in enumerate(shards.read(clean)):
            name = deal(cfg.seed, *keys[groups.root(at)], shares)
            counts[name][record.label or "none"] += 1
            out[name].put(record)
    if (dealt := sum(s.rows for s in out.values())) != (read := shards.count(clean)):
        raise RowsLost(f"split: read {read} rows, wrote {dealt}.")
    return {
        "rows_read": read,
        "rows": {name: out[name].rows for name in shares},
        "labels": {name: dict(sorted(counts[name].items())) for name in shares},
        "groups": len({groups.root(at) for at in range(read)}),
        "label_share_deviation_max": deviation(counts),
    }


def grouped(records: Iterable[Record], near: Near) -> tuple[Clusters, list[tuple[str, str]]]:
    """The groups over row positions, and the (label, document) of each row."""
    keys: list[tuple[str, str]] = []

    def sketches() -> Iterable[Sketch]:
        for record in records:
            keys.append((record.label or "none", str(record.meta.get("document", record.id))))
            yield sketch(record.text, near)

    found = clusters(sketches(), near)
    first: dict[str, int] = {}
    for at, (_, document) in enumerate(keys):
        found.join(first.setdefault(document, at), at)
    return found, keys


def deal(seed: int, label: str, document: str, shares: dict[str, float]) -> str:
    """The split of a group: where its hash falls among the cumulative shares."""
    point = xxhash.xxh3_64_intdigest(f"{seed}\0{label}\0{document}".encode()) / 2**64
    for name, limit in zip(shares, accumulate(shares.values()), strict=True):
        if point < limit:
            return name
    return next(reversed(shares))  # the shares' sum may round to a hair below 1


def deviation(counts: dict[str, Counter[str]]) -> float:
    """Largest |share of a label in a split − its share in all| over splits with rows."""
    total = sum(counts.values(), Counter[str]())
    rows = total.total()
    return max(
        (
            abs(split[label] / split.total() - total[label] / rows)
            for split in counts.values()
            for label in total
            if split.total()
        ),
        default=0.0,
    )
