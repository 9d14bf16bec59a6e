"""Writes the kept rows of the train split, and after each the varied copies that the plan asks for."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import xxhash

from nightforge.config import Config
from nightforge.errors import DataError, RowsLost
from nightforge.methods import Chosen, Method
from nightforge.privacy import evidence
from nightforge.records import Record, Reject
from nightforge.words import folded
from tasks import shards
from tasks.progress import report
from tasks.shards import RecordShards, RejectShards

ROWS_PER_REPORT = 5_000


class AugmentConfig(Config):
    """How copies are varied."""

    method: Annotated[Method, Chosen("augment")]
    """A method of nightforge/augment/."""


def run(
    cfg: AugmentConfig, seed: int, splits: Path, plan: Path, assets: Path, balanced: Path, augment_rejects: Path
) -> dict[str, Any]:
    """Originals and copies to `balanced`; copies that cannot be made, or equal any other row, to `augment_rejects`.

    Memory: 8 bytes a row of all splits.

    Raises:
        DataError: the plan names a row that the train split lacks.
        RowsLost: copies made + rejected are not the copies planned.
    """
    plan_rows, kept = shards.rows(plan), shards.count(plan)
    row = next(plan_rows, None)
    seen = {_key(record.text) for folder in sorted(splits.iterdir()) for record in shards.read(folder)}
    labels: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    edits = done = planned = 0
    with RecordShards(balanced) as out, RejectShards(augment_rejects) as rejects:
        for record in shards.read(splits / "train"):
            if row is None or record.id != row["id"]:  # the plan lists the rows that stay in their order
                continue
            out.put(record)
            done, planned = done + 1, planned + row["copies"]
            labels[record.label or "none"] += 1
            for variant, problem in _variants(record, row["copies"], cfg.method, seed, assets, seen):
                if problem:
                    rejects.put(variant, cfg.method.name, problem)
                    reasons[problem.reason] += 1
                else:
                    out.put(variant)
                    labels[record.label or "none"] += 1
                    edits += len(variant.meta.get("edits", []))
            if done % ROWS_PER_REPORT == 0:
                report(done, kept, "rows")
            row = next(plan_rows, None)
    if done != kept:
        raise DataError(f"augment: the plan keeps {kept} rows, the train split has {done} of them, in that order.")
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


def _variants(
    record: Record, copies: int, method: Method, seed: int, assets: Path, seen: set[int]
) -> Iterator[tuple[Record, Reject | None]]:
    """The copies of a row, each with why it cannot be used; the random numbers hang on (seed, id, copy) alone."""
    for copy in range(1, copies + 1):
        rng = random.Random(f"{seed} {record.id} {copy}")  # noqa: S311  not for secrets
        tried = record
        for variant in method.module.vary(record, method.cfg, rng, assets):
            meta = {**variant.meta, "augmenter": method.name, "copy": copy}
            tried = replace(variant, meta=meta)
            if (key := _key(tried.text)) not in seen:
                seen.add(key)
                yield tried, None
                break
        else:
            reason = "nothing_to_vary" if tried is record else "equals_another_row"
            yield tried, Reject(reason, evidence(tried.text))


def _key(text: str) -> int:
    return xxhash.xxh3_64_intdigest((" ".join(folded(text)) or text).encode())
