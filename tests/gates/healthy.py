"""Small artifacts that every suite opens for, as plain lists that a test can spoil before they are written."""

import json
import math
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from nightforge import drift
from nightforge.records import Record, Reject, content_id
from nightforge.signals import READ, of_batch
from tasks import shards
from tasks.wiring import Wiring

LABELS = ["animal", "body", "event", "feeling", "food", "plant", "shape", "time"]
SIZES = {"train": 400, "validation": 80, "calibration": 80, "search": 80, "acceptance": 160}
SCALE = 50
"""Row counts that a suite asks for are divided by this, so that a gate is held against hundreds of rows."""

State = dict[str, Any]


def word(n: int) -> str:
    """A word of letters for a number: 0 → a, 27 → bb."""
    return (word(n // 26 - 1) if n >= 26 else "") + chr(ord("a") + n % 26)


def record(n: int, **change: Any) -> Record:
    """The n-th healthy record: ten words, an own document, labels in turn."""
    label = LABELS[n % 8]
    text = f"a kind of {label} grown {word(n)} with {word(n + 1000)} and foliage"
    meta = {"document": f"d{n}"}
    return replace(
        Record(content_id(text, label), text, label=label, source=f"pkg:words#{n}", language="en", meta=meta), **change
    )


def rejected(n: int) -> tuple[Record, str, Reject]:
    return record(900_000 + n), "length", Reject("too short", "x")


def state(gate: str) -> State:
    """The healthy artifact of a gate, and what lies beside it."""
    return deepcopy(_STATES[gate]())


def _records() -> State:
    return {"artifact": [record(n) for n in range(480)], "beside": [rejected(n) for n in range(10)]}


def _split() -> dict[str, list[Record]]:
    parts, start = {}, 0
    for name, size in SIZES.items():
        parts[name] = [record(n) for n in range(start, start + size)]
        start += size
    return parts


def _splits() -> State:
    parts = _split()
    return {"artifact": parts, "beside": [r for part in parts.values() for r in part]}


def variant(parent: Record, copy: int) -> Record:
    """A synthetic row of a parent."""
    text = f"{parent.text} {word(copy + 5000)}"
    return replace(parent, id=content_id(text, parent.label), text=text, meta={"parent": parent.id, "copy": copy})


def _balanced() -> State:
    """One class has half the rows of the others, and a synthetic row for each of them."""
    parts = _split()
    parts["train"] = [r for n, r in enumerate(parts["train"]) if n % 16 != 7]
    rare = [r for r in parts["train"] if r.label == LABELS[7]]
    return {"artifact": parts["train"] + [variant(r, 0) for r in rare], "beside": parts}


def _dense() -> State:
    scores = [{"id": r.id, "label": r.label, "nats": 60.0, "bytes": 60, "ngram_nats": 80.0} for r in _split()["search"]]
    metrics = {
        "bpb": {"value": 1 / math.log(2), "low": 1.3, "high": 1.5},
        "gain_over_ngram_bpb": {"value": 0.4, "low": 0.3, "high": 0.5},
        "distinct_2": 0.6,
        "repetition": 0.05,
        "documents": 80,
        "by_label": {"animal": {"value": 1.4}},
    }
    return {"artifact": metrics, "beside": scores}


def _compressed() -> State:
    loss = {"value": 0.01, "low": 0.005, "high": 0.015}
    return {
        "artifact": {"verdict": "MET", "met": 1, "bpb_loss_share": loss, "documents": 160},
        "beside": "<html></html>",
    }


def _drift() -> State:
    """Another night of the same source."""
    rows = table([record(n) for n in range(480)])
    far = drift.compare(drift.profile(table([record(n) for n in range(240, 720)])), rows)
    return {"artifact": {"has_reference": 1, **far}, "beside": drift.profile(rows)}


def _calibration() -> State:
    parts = _split()
    return {"artifact": parts.pop("calibration"), "beside": parts}


def table(records: list[Record]) -> Any:
    """The signals of records."""
    rows = [{**asdict(r), "meta": json.dumps(r.meta)} for r in records]
    return of_batch(pa.RecordBatch.from_pylist(rows, shards.SCHEMA).select(READ))


_STATES = {
    "raw": _records,
    "drift": _drift,
    "calibration": _calibration,
    "clean": _records,
    "splits": _splits,
    "balanced": _balanced,
    "dense": _dense,
    "compressed": _compressed,
}


def put(path: Path, what: Any) -> None:
    """Write one side of a state as what it is: metrics, a page, scores, rejects, splits or records."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps(what))
    elif path.suffix == ".html":
        path.write_text(what)
    elif isinstance(what, dict):
        for name, part in what.items():
            shards.write(path / name, part)
    elif what and isinstance(what[0], dict):
        path.mkdir()
        pq.write_table(pa.Table.from_pylist(what), path / "scores.parquet")
    elif what and isinstance(what[0], tuple):
        with shards.RejectShards(path) as rejects:
            for row in what:
                rejects.put(*row)
    else:
        shards.write(path, what)


def scaled(suite: Path) -> dict[str, Any]:
    """A suite as it is, but for the row counts it asks for."""
    loaded: dict[str, Any] = yaml.safe_load(suite.read_text())
    for entry in [*loaded.get("rows", []), *loaded.get("facts", [])]:
        column = entry.get("column", "")
        if "row_count" in entry["expect"] or column.split(".")[-1] == "rows" or column == "documents":
            entry |= {k: entry[k] // SCALE for k in ("min_value", "max_value") if k in entry}
    return loaded


def lay(folder: Path, wired: Wiring, what: State, suite: dict[str, Any]) -> None:
    """Write a state and a suite where the wiring of a gate, made absolute under `folder`, expects them."""
    put(folder / wired.item["artifact"], what["artifact"])
    put(folder / wired.item["beside"], what["beside"])
    path = next(p for p in wired.deps if p.suffix == ".yaml")
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(yaml.safe_dump(suite))
