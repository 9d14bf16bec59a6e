"""Writes the kept rows of the train split, and after each the varied copies that the plan asks for."""

import heapq
import json
import shutil
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from nightforge import classifier
from nightforge.errors import DataError, RowsLost
from nightforge.privacy import evidence
from nightforge.records import Record, Reject
from nightforge.variants import fold, learn_labels
from nightforge.words import folded
from tasks import augment_chunk as chunk
from tasks import shards
from tasks.augment_chunk import AugmentConfig, Job
from tasks.executor import Executor, each
from tasks.shards import RecordShards, RejectShards
from tasks.split import SplitConfig

ROWS_PER_CHUNK = 1_000
"""Rows that a worker varies at once. Copies of one chunk are told apart while they are made, and tried again where two
are equal; copies of two chunks, where this is rare, when they are gathered."""

FACTS = "facts.json"


def run(
    cfg: AugmentConfig,
    split: SplitConfig,
    seed: int,
    splits: Path,
    plan: Path,
    assets: Path,
    balanced: Path,
    augment_rejects: Path,
    work: Path,
    executor: Executor,
) -> dict[str, Any]:
    """Originals and copies to `balanced`; to `augment_rejects` the copies that cannot be made, that equal a row of the
    train split, that come near a row of another (as near as `split` lets no two rows stand apart), or that do not keep
    what `cfg.quality` says.

    Memory: 8 bytes a row of the train split, 8 a copy's hash in a set, and in each worker an index of the other splits'
    rows (nightforge/similar.py).

    Raises:
        DataError: the plan names a row that the train split lacks.
        RowsLost: copies made + rejected are not the copies planned.
    """
    if not (work / FACTS).exists():
        prepare(cfg, splits / "train", plan, work)
    facts = json.loads((work / FACTS).read_text(encoding="utf-8"))
    spec, near = cfg.as_json(), split.near.model_dump_json() if split.near else chunk.NONE
    places = splits.resolve(), assets.resolve(), work.resolve()
    jobs = [Job(number, spec, near, seed, *places) for number in range(facts["chunks"])]
    missing = [job for job in jobs if not job.folder.exists()]
    if len(missing) < len(jobs):
        print(f"augment: {len(jobs) - len(missing)} of {len(jobs)} chunks are there already", flush=True)
    for broken in (work / "made").glob(".*"):
        shutil.rmtree(broken)
    for _ in each(executor, chunk.vary, missing, "chunks varied"):
        pass
    folders = [job.folder for job in jobs]
    metrics = gather(splits / "train", plan, folders, balanced, augment_rejects)
    if metrics["copies_made"] + metrics["copies_rejected"] != metrics["copies_planned"]:
        raise RowsLost(f"augment: not every copy planned was made or rejected: {metrics}.")
    metrics |= {"refused": chunk.refused(folders), "label_accuracy_cv": facts["label_accuracy_cv"]}
    for made in ("rows", "made"):
        shutil.rmtree(work / made, ignore_errors=True)
    for file in (FACTS, chunk.HASHES, chunk.LABELS):
        (work / file).unlink(missing_ok=True)
    return metrics


def prepare(cfg: AugmentConfig, train: Path, plan: Path, work: Path) -> None:
    """What the workers need: the keys of the train split, classifiers of its labels, and the rows to vary in chunks."""
    for made in ("rows", "made"):
        shutil.rmtree(work / made, ignore_errors=True)
        (work / made).mkdir(parents=True)
    held = cfg.quality.label if cfg.quality else None
    keys = array("Q")
    sample: list[tuple[int, int, int, str, Any]] = []
    for at, record in enumerate(shards.read(train)):
        keys.append(chunk.key(record))
        if held and record.label is not None:
            _sample(sample, at, record, held.rows_max)
    np.save(work / chunk.HASHES, np.sort(np.asarray(keys)))
    learnt = learn_labels((n, label, hashes) for _, _, n, label, hashes in sorted(sample, key=lambda s: s[1]))
    if learnt:
        learnt[0].save(work / chunk.LABELS)
    facts = {
        "chunks": _deal(train, plan, work / "rows"),
        "label_accuracy_cv": round(learnt[1], 4) if learnt else None,
    }
    (work / FACTS).write_text(json.dumps(facts), encoding="utf-8")


def _sample(sample: list[tuple[int, int, int, str, Any]], at: int, record: Record, rows_max: int) -> None:
    """Keep the rows of least hash: the same rows whatever their order, and never more than `rows_max` in memory."""
    rank = -xxhash.xxh3_64_intdigest(record.id.encode())
    if len(sample) == rows_max and rank < sample[0][0]:
        return
    row = (rank, at, fold(record), record.label or "", classifier.hashes(folded(record.text)))
    heapq.heappush(sample, row) if len(sample) < rows_max else heapq.heapreplace(sample, row)


def _deal(train: Path, plan: Path, rows: Path) -> int:
    """Write the rows to vary, so many to a chunk, each with its number of copies; returns how many chunks there are."""
    dealt = 0
    with ExitStack() as stack:
        for record, copies in _kept(train, plan):
            if not copies:
                continue
            if dealt % ROWS_PER_CHUNK == 0:
                stack.close()
                out = stack.enter_context(RecordShards(rows / f"{dealt // ROWS_PER_CHUNK:05d}"))
            out.put(replace(record, meta={"copies": copies, "meta": record.meta}))
            dealt += 1
    return -(-dealt // ROWS_PER_CHUNK)


def gather(train: Path, plan: Path, folders: list[Path], balanced: Path, augment_rejects: Path) -> dict[str, Any]:
    """Put the copies after their originals; of two equal copies from different chunks the first stays."""
    labels: Counter[str] = Counter()
    rejected: dict[str, Counter[str]] = {}
    copies = (record for folder in folders for record in shards.read(folder / "made"))
    copy = next(copies, None)
    known: set[int] = set()
    edits = originals = planned = 0
    with RecordShards(balanced) as out, RejectShards(augment_rejects) as rejects:
        for folder in folders:
            for row in shards.rows(folder / "rejects"):
                rejects.add(row)
                rejected.setdefault(row["rule"], Counter())[row["reason"]] += 1
        for record, count in _kept(train, plan):
            out.put(record)
            originals, planned = originals + 1, planned + count
            labels[record.label or "none"] += 1
            while count and copy is not None and copy.meta["parent"] == record.id:
                if (key := chunk.key(copy)) in known:
                    name = copy.meta["augmenter"]
                    rejects.put(copy, name, Reject("equals_another_row", evidence(copy.text)))
                    rejected.setdefault(name, Counter())["equals_another_row"] += 1
                else:
                    known.add(key)
                    out.put(copy)
                    labels[record.label or "none"] += 1
                    edits += len(copy.meta.get("edits", []))
                copy = next(copies, None)
    made = out.rows - originals
    return {
        "originals": originals,
        "copies_planned": planned,
        "copies_made": made,
        "copies_rejected": rejects.rows,
        "rejected": {method: dict(sorted(reasons.items())) for method, reasons in sorted(rejected.items())},
        "edits_per_copy_mean": edits / made if made else 0.0,
        "synthetic_share": made / out.rows if out.rows else 0.0,
        "labels": dict(sorted(labels.items())),
    }


def _kept(train: Path, plan: Path) -> Iterator[tuple[Record, int]]:
    """The rows that stay, with the copies to make of each; the plan lists them in the order of the split.

    Raises:
        DataError: it does not.
    """
    rows, count, done = shards.rows(plan), shards.count(plan), 0
    row = next(rows, None)
    for record in shards.read(train):
        if row is not None and record.id == row["id"]:
            yield record, row["copies"]
            done, row = done + 1, next(rows, None)
    if done != count:
        raise DataError(f"augment: the plan keeps {count} rows, the train split has {done} of them, in that order.")
