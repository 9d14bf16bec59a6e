"""Deals rows to splits by a hash of (its own seed, label, group): what belongs together stays together, and stays put.

A group is all rows of one document, and all near-duplicates, joined transitively; its key is the document of its first
row. The hash is compared with fixed thresholds, so a group keeps its split when data is appended; only where a new row
joins two groups, the later one goes to the split of the earlier. Hashing with the label stratifies by expectation; the
largest deviation is a metric. Afterwards the rows of train that share runs of words with a row of another split go.

Memory, a row: 25 bytes, and what finding near-duplicates takes (nightforge/similar.py). Sketches lie on disk.
"""

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import accumulate, islice
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
import xxhash
from pydantic import Field, model_validator

from nightforge.config import Config
from nightforge.errors import RowsLost
from nightforge.overlap import Items, Overlap
from nightforge.privacy import evidence
from nightforge.records import Record, Reject, document
from nightforge.similar import Clusters, Index, Near, clusters, sketch
from nightforge.words import folded
from tasks import shards
from tasks.clean_signatures import Spill, Spilled
from tasks.shards import RecordShards, RejectShards

HELD = ".split-held.partial"
"""Beside the output: the sketches."""
TRAIN = "train"
ROWS_AT_ONCE = 1_000
REJECTED = "rejected.json"
"""In `splits`: how many rows of those read are in none of them."""
RUNS_AT_ONCE = 16_000_000
"""Runs of words of the other splits that are held at once (12 bytes each): beyond, train is read once more."""

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
    near: Near | None
    """What counts as too near to stand on both sides; wider than the rule that cleans. It is about words: null for
    pictures and sounds, whose near-duplicates the rules that clean must have found."""
    decontaminate: Overlap | None
    """Which runs of words no row of train may share with a row of another split; null lets them stand."""


def run(cfg: SplitConfig, clean: Path, splits: Path, split_rejects: Path) -> dict[str, Any]:
    """Every row of `clean` to one folder of `splits`, or as contaminated to `split_rejects`.

    Raises:
        RowsLost: rows dealt + rejected are not the rows read.
    """
    shares = cfg.shares.model_dump()
    names, read = list(shares), shards.count(clean)
    roots, points = grouped(clean, cfg, splits.with_name(HELD))
    dealt = deal(points[roots], cfg.shares)
    rejects = contaminated(clean, dealt, names, cfg.decontaminate) if cfg.decontaminate else {}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    with ExitStack() as stack:
        out = {name: stack.enter_context(RecordShards(splits / name)) for name in names}
        dropped = stack.enter_context(RejectShards(split_rejects))
        for at, record in enumerate(shards.read(clean)):
            name = names[dealt[at]]
            if at in rejects:
                dropped.put(record, "decontaminate", Reject("contaminated", evidence(rejects[at])))
            else:
                counts[name][record.label or "none"] += 1
                out[name].put(record)
    (splits / REJECTED).write_text(json.dumps({"rows": dropped.rows}) + "\n", encoding="utf-8")
    if (kept := sum(s.rows for s in out.values())) + dropped.rows != read:
        raise RowsLost(f"split: read {read} rows, dealt {kept}, rejected {dropped.rows}.")
    return {
        "rows_read": read,
        "rows": {name: out[name].rows for name in names},
        "rows_rejected": dropped.rows,
        "rejected": {"decontaminate": {"contaminated": dropped.rows}} if dropped.rows else {},
        "labels": {name: dict(sorted(counts[name].items())) for name in names},
        "groups": len(np.unique(roots)),
        "label_share_deviation_max": deviation(counts),
    }


def grouped(clean: Path, cfg: SplitConfig, held: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """The first row of each row's group, and the hash of (seed, label, document) of each row: (rows,) both."""
    rows, near = shards.count(clean), cfg.near
    documents, points = np.empty(rows, np.uint64), np.empty(rows, np.uint64)
    shutil.rmtree(held, ignore_errors=True)
    held.mkdir(parents=True)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, held)
        with Spill(held / "ids") as ids, Spill(held / "0") as sketches:
            records = shards.read(clean)
            for at in range(0, rows, ROWS_AT_ONCE):
                some = list(islice(records, ROWS_AT_ONCE))
                ids.extend([record.id.encode() for record in some])
                sketches.extend([sketch(record.text, near).tobytes() if near else b"" for record in some])
                documents[at : at + len(some)] = [_hash(document(r)) for r in some]
                points[at : at + len(some)] = [_hash(f"{cfg.seed}\0{r.label or 'none'}\0{document(r)}") for r in some]
        found = clusters(Spilled([held], "0", np.ones(rows, np.bool_)), near) if near else Clusters(rows)
    _, first, which = np.unique(documents, return_index=True, return_inverse=True)
    found.join(first[which], np.arange(rows))
    return found.every_root(), points


def _hash(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))


def deal(points: npt.NDArray[np.uint64], shares: Shares) -> npt.NDArray[np.int8]:
    """The split of each group, by its place in `shares`: where its hash falls among the cumulative shares."""
    limits = list(accumulate(shares.model_dump().values()))[:-1]  # the sum may round to a hair below 1
    return np.searchsorted(limits, points / 2.0**64, side="right").astype(np.int8)


def contaminated(clean: Path, dealt: npt.NDArray[np.int8], names: list[str], cfg: Overlap) -> dict[int, str]:
    """Position → what it shares with which row, for the rows of train that have seen a row of another split."""
    found: dict[int, str] = {}
    train = names.index(TRAIN)
    items = _items(clean, dealt, names)
    while True:
        some = Items(items, cfg, RUNS_AT_ONCE)
        for at, record in enumerate(shards.read(clean)):
            if dealt[at] == train and at not in found and (hit := some.find(folded(record.text))):
                found[at] = str(hit)
        if some.exhausted:
            return found


def _items(clean: Path, dealt: npt.NDArray[np.int8], names: list[str]) -> Iterator[tuple[str, list[str]]]:
    for at, record in enumerate(shards.read(clean)):
        if (name := names[dealt[at]]) != TRAIN:
            yield f"{name} {record.id}", folded(record.text)


def judged_records(splits: Path) -> Iterator[Record]:
    """Every row of the splits that are not trained on."""
    others = sorted(folder for folder in splits.iterdir() if folder.is_dir() and folder.name != TRAIN)
    return (record for folder in others for record in shards.read(folder))


def judged_rows(splits: Path, near: Near) -> Index:
    """An index of the texts of those rows: what is made for training comes near none of them."""
    return Index((sketch(record.text, near) for record in judged_records(splits)), near)


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
