"""Plans, on the train split alone, which rows stay and how many varied copies of each augment is to make."""

from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from sys import intern
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from nightforge.config import Config
from nightforge.embeddings import DIMS, Embedding, Packed, embed, pack
from nightforge.errors import DataError, RowsLost
from nightforge.methods import Chosen, Method
from nightforge.privacy import evidence
from nightforge.records import Record, Reject
from tasks import shards
from tasks.shards import RejectShards, Shards

PLAN = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("copies", pa.int32(), nullable=False),
    ]
)
Rows = npt.NDArray[np.int64]
REASON = "class_over_its_share"
NO_CLASS = "none"


class BalanceConfig(Config):
    """Which methods plan the balance."""

    by: Literal["label", "source", "language"]
    """What the classes are: labels, the addresses that rows come from, or languages."""
    embedding: Embedding
    """How texts become points, for the steps that look at neighbours; no other step needs it."""
    steps: Annotated[list[Annotated[Method, Chosen("balance")]], Field(min_length=1)]
    """Methods in order: each sees what the one before it left."""


class Plan(NamedTuple):
    """What the steps make of each row, by its position."""

    times: npt.NDArray[np.int64]
    """(rows,) how often the row occurs after all steps; 0 if one of them dropped it."""
    dropped_by: npt.NDArray[np.int16]
    """(rows,) which step dropped it, or -1."""


def run(cfg: BalanceConfig, seed: int, splits: Path, assets: Path, plan: Path, balance_rejects: Path) -> dict[str, Any]:
    """The plan of the rows that stay, with the copies to make of each; rows that go to `balance_rejects`.

    Memory: at most 200 bytes a row of the train split, of which 128 are its point, if a step needs one.

    Raises:
        DataError: the train split is empty.
        RowsLost: rows planned + rejected are not the rows read.
    """
    train = splits / "train"
    labels = [intern(class_of(record, cfg.by)) for record in shards.read(train)]
    if not labels:
        raise DataError("balance: the train split is empty. See split.shares in params.yaml.")
    made = planned(labels, cfg.steps, seed, lambda rows: _points(train, rows, cfg.embedding, assets))
    before, after, synthetic = Counter(labels), Counter[str](), Counter[str]()
    dropped: Counter[str] = Counter()
    with Shards(plan, PLAN) as out, RejectShards(balance_rejects) as rejects:
        for record, label, times, step in zip(shards.read(train), labels, *made, strict=True):
            if not times:
                rule = cfg.steps[step].name
                rejects.put(record, rule, Reject(REASON, evidence(f"{label}: {record.text}")))
                dropped[rule] += 1
                continue
            out.add({"id": record.id, "copies": int(times) - 1})
            after[label] += 1
            synthetic[label] += int(times) - 1
    if out.rows + rejects.rows != len(labels):
        raise RowsLost(f"balance: read {len(labels)} rows, planned {out.rows}, rejected {rejects.rows}.")
    return {
        "rows_read": len(labels),
        "rows_kept": out.rows,
        "rows_rejected": rejects.rows,
        "rejected": {rule: {REASON: n} for rule, n in sorted(dropped.items())},
        "copies": synthetic.total(),
        "copies_per_row_max": max(0, int(made.times.max()) - 1),
        "synthetic_share": synthetic.total() / (synthetic.total() + after.total()),
        "labels_before": dict(sorted(before.items())),
        "labels_after": dict(sorted((after + synthetic).items())),
        "class_ratio_before": max(before.values()) / min(before.values()),
        "class_ratio_after": max((after + synthetic).values()) / min((after + synthetic).values()),
    }


def class_of(record: Record, by: str) -> str:
    """The class that a record is balanced as; of a source the address, without the place in it."""
    found = record.source.rpartition("#")[0] or record.source if by == "source" else getattr(record, by)
    return found or NO_CLASS


def _points(train: Path, rows: Rows, cfg: Embedding, assets: Path) -> Packed:
    """(rows, DIMS) of the texts of so many rows of the split, a byte a dimension."""
    points, order = np.empty((len(rows), DIMS), np.int8), np.argsort(rows, kind="stable")
    asked, start, records = rows[order], 0, shards.read(train)
    while batch := [record.text for record in islice(records, shards.ROWS_PER_BATCH)]:
        lo, hi = np.searchsorted(asked, [start, start + len(batch)])
        points[order[lo:hi]] = pack(embed(batch, cfg, assets))[asked[lo:hi] - start]
        start += len(batch)
    return points


def planned(labels: list[str], steps: list[Method], seed: int, points: Callable[[Rows], Packed]) -> Plan:
    """What the steps, one after the other, make of the rows: only those that are there yet are seen by the next.

    `points` is asked only by a step that needs them, for the rows that it sees.
    """
    rows = np.arange(len(labels))
    dropped_by = np.full(len(labels), -1, np.int16)
    for at, step in enumerate(steps):
        rng = np.random.default_rng([seed, at])
        features = points(rows) if getattr(step.module, "NEEDS", None) == "embedding" else None
        rows = rows[step.module.resample([labels[i] for i in rows], features, step.cfg, rng)]
        gone = np.bincount(rows, minlength=len(labels)) == 0
        dropped_by[gone & (dropped_by < 0)] = at
    return Plan(np.bincount(rows, minlength=len(labels)), dropped_by)
