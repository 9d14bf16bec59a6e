"""Plans, on the train split alone, which rows stay and how many varied copies of each augment is to make."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from nightforge.config import Config
from nightforge.errors import DataError, RowsLost
from nightforge.methods import Chosen, Method
from nightforge.privacy import evidence
from nightforge.records import Reject
from tasks import shards
from tasks.shards import RejectShards, Shards

PLAN = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("copies", pa.int32(), nullable=False),
    ]
)


class BalanceConfig(Config):
    """Which methods plan the balance."""

    steps: Annotated[list[Annotated[Method, Chosen("balance")]], Field(min_length=1)]
    """Methods in order: each sees what the one before it left."""


def run(cfg: BalanceConfig, seed: int, splits: Path, plan: Path, balance_rejects: Path) -> dict[str, Any]:
    """The plan of the rows that stay, with the copies to make of each; rows that go to `balance_rejects`.

    Memory: label and count of every row of the train split.

    Raises:
        DataError: the train split is empty.
        RowsLost: rows planned + rejected are not the rows read.
    """
    train = splits / "train"
    labels = [row["label"] or "none" for row in shards.rows(train)]
    if not labels:
        raise DataError("balance: the train split is empty. See split.shares in params.yaml.")
    times = planned(labels, cfg, seed)
    before, after, synthetic = Counter(labels), Counter[str](), Counter[str]()
    with Shards(plan, PLAN) as out, RejectShards(balance_rejects) as rejects:
        for at, record in enumerate(shards.read(train)):
            if not times[at]:
                reject = Reject("class_over_its_share", evidence(f"{labels[at]}: {record.text}"))
                rejects.put(record, "balance", reject)
                continue
            out.add({"id": record.id, "copies": times[at] - 1})
            after[labels[at]] += 1
            synthetic[labels[at]] += times[at] - 1
    if out.rows + rejects.rows != len(labels):
        raise RowsLost(f"balance: read {len(labels)} rows, planned {out.rows}, rejected {rejects.rows}.")
    return {
        "rows_read": len(labels),
        "rows_kept": out.rows,
        "rows_rejected": rejects.rows,
        "rejected": {"balance": {"class_over_its_share": rejects.rows}} if rejects.rows else {},
        "copies": synthetic.total(),
        "copies_per_row_max": max((n - 1 for n in times.values()), default=0),
        "synthetic_share": synthetic.total() / (synthetic.total() + after.total()),
        "labels_before": dict(sorted(before.items())),
        "labels_after": dict(sorted((after + synthetic).items())),
        "class_ratio_before": max(before.values()) / min(before.values()),
        "class_ratio_after": max((after + synthetic).values()) / min((after + synthetic).values()),
    }


def planned(labels: list[str], cfg: BalanceConfig, seed: int) -> Counter[int]:
    """Position → how often the row occurs after all steps; a row that none of them keeps counts 0."""
    rows = list(range(len(labels)))
    for at, step in enumerate(cfg.steps):
        rng = np.random.default_rng([seed, at])
        index = np.asarray(rows).reshape(-1, 1)
        picked = step.module.resample([labels[i] for i in rows], index, step.cfg, rng)
        rows = [rows[i] for i in picked]
    return Counter(rows)
