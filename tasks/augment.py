"""Writes the kept rows of the train split, and after each the varied copies that the plan asks for."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import xxhash

from nightforge.config import Config
from nightforge.errors import DataError, RowsLost
from nightforge.methods import Chosen, Method
from nightforge.privacy import evidence
from nightforge.records import Record, Reject
from nightforge.similar import Index, sketch
from nightforge.words import folded
from tasks import shards
from tasks.progress import report
from tasks.shards import RecordShards, RejectShards
from tasks.split import SplitConfig

ROWS_PER_REPORT = 5_000


class AugmentConfig(Config):
    """How copies are varied."""

    method: Annotated[Method, Chosen("augment")]
    """A method of nightforge/augment/."""


@dataclass
class Maker:
    """Makes the copies of a row; knows every text that a copy may not repeat."""

    method: Method
    seed: int
    assets: Path
    train: set[int]
    """Hashes of the texts of the train split, and of the copies made."""
    held_out: Index
    """Sketches of the other splits' texts."""

    def copies(self, record: Record, count: int) -> Iterator[tuple[Record, Reject | None]]:
        """So many copies, each with why it cannot be used; its random numbers hang on (seed, id, copy) alone."""
        for copy in range(1, count + 1):
            rng = random.Random(f"{self.seed} {record.id} {copy}")  # noqa: S311  not for secrets
            tried, reason = record, "nothing_to_vary"
            for variant in self.method.module.vary(record, self.method.cfg, rng, self.assets):
                tried = replace(variant, meta={**variant.meta, "augmenter": self.method.name, "copy": copy})
                if (reason := self.problem(tried.text)) == "":
                    self.train.add(_key(tried.text))
                    break
            yield tried, Reject(reason, evidence(tried.text)) if reason else None

    def problem(self, text: str) -> str:
        """Why a text may not be added to the train split, or nothing."""
        if _key(text) in self.train:
            return "equals_another_row"
        return "near_another_split" if self.held_out.find(sketch(text, self.held_out.near)) is not None else ""


def run(
    cfg: AugmentConfig,
    split: SplitConfig,
    seed: int,
    splits: Path,
    plan: Path,
    assets: Path,
    balanced: Path,
    augment_rejects: Path,
) -> dict[str, Any]:
    """Originals and copies to `balanced`; to `augment_rejects` the copies that cannot be made, that equal a row of the
    train split, or that come near a row of another (as near as `split` lets no two rows stand apart).

    Memory: 8 bytes a row of the train split, a sketch and 12 bytes a band of `split.near` a row of the others.

    Raises:
        DataError: the plan names a row that the train split lacks.
        RowsLost: copies made + rejected are not the copies planned.
    """
    maker = Maker(cfg.method, seed, assets, _hashes(splits / "train"), _held_out(splits, split))
    labels: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    edits = done = planned = 0
    with RecordShards(balanced) as out, RejectShards(augment_rejects) as rejects:
        for record, count in _kept(splits / "train", plan):
            out.put(record)
            labels[record.label or "none"] += 1
            done, planned = done + 1, planned + count
            for variant, problem in maker.copies(record, count):
                if problem:
                    rejects.put(variant, cfg.method.name, problem)
                    reasons[problem.reason] += 1
                else:
                    out.put(variant)
                    labels[record.label or "none"] += 1
                    edits += len(variant.meta.get("edits", []))
    made = out.rows - done
    if made + rejects.rows != planned:
        raise RowsLost(f"augment: {planned} copies planned, {made} made, {rejects.rows} rejected.")
    return {
        "originals": done,
        "copies_planned": planned,
        "copies_made": made,
        "copies_rejected": rejects.rows,
        "rejected": {cfg.method.name: dict(sorted(reasons.items()))} if reasons else {},
        "edits_per_copy_mean": edits / made if made else 0.0,
        "synthetic_share": made / out.rows if out.rows else 0.0,
        "labels": dict(sorted(labels.items())),
    }


def _kept(train: Path, plan: Path) -> Iterator[tuple[Record, int]]:
    """The rows that stay, with the copies to make of each; the plan lists them in the order of the split."""
    rows, count, done = shards.rows(plan), shards.count(plan), 0
    row = next(rows, None)
    for record in shards.read(train):
        if row is not None and record.id == row["id"]:
            yield record, row["copies"]
            done, row = done + 1, next(rows, None)
            if done % ROWS_PER_REPORT == 0:
                report(done, count, "rows")
    if done != count:
        raise DataError(f"augment: the plan keeps {count} rows, the train split has {done} of them, in that order.")


def _hashes(train: Path) -> set[int]:
    return {_key(record.text) for record in shards.read(train)}


def _held_out(splits: Path, split: SplitConfig) -> Index:
    others = sorted(folder for folder in splits.iterdir() if folder.name != "train")
    texts = (record.text for folder in others for record in shards.read(folder))
    return Index((sketch(text, split.near) for text in texts), split.near)


def _key(text: str) -> int:
    return xxhash.xxh3_64_intdigest((" ".join(folded(text)) or text).encode())
