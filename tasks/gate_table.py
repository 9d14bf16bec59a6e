"""What a gate looks at: an artifact as a table of signals, and facts about it as a whole. No text in either."""

import json
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nightforge.records import Record
from nightforge.signals import COLUMNS, flatten, of_record, plain_id
from nightforge.similar import Index, Near, sketch
from tasks import shards

ROWS_PER_BATCH = 10_000
TRAIN = "train"
NEAR = Near(shingle_words=3, bands=32, rows=4, jaccard_min=0.7)
"""What no honest split has on both its sides, whatever the values of the stage that dealt it."""
SCORES = "scores.parquet"
KEYS = ["words_hash", "document_hash", "origin_hash", "origin_label_hash"]
"""Columns that rows are matched by, of no meaning to an expectation."""
Facts = dict[str, float]


class Tables(NamedTuple):
    """`rows`: one row a record (None where the artifact has no records); `facts`: numbers about the whole."""

    rows: pd.DataFrame | None
    facts: Facts


def of(artifact: Path, beside: Path) -> Tables:
    """The tables of an artifact, by what it is: metrics (JSON), a folder of splits, or a folder of shards.

    `beside` is what it is compared with: rejected rows, the records it was made from, splits, or scores.
    Memory grows by about 300 bytes a row (600 once Great Expectations has looked at them), whatever the length of
    the texts.

    Raises:
        DataError: neither metrics nor shards lie there.
    """
    if artifact.suffix == ".json":
        return _metrics(artifact, beside)
    names = splits(artifact)
    rows = table(_signals(artifact, names))
    facts = _whole(rows)
    if names:
        facts |= _compare_splits(rows)
        rows["near_train"] = _near_train(rows, artifact, names)
    if kept := splits(beside):
        facts |= _compare_with_splits(rows, beside, kept)
    elif "reason" in columns(beside):
        rejected = shards.count(beside)
        facts |= {"rejected": rejected, "rejected_share": rejected / max(rejected + len(rows), 1)}
    else:
        facts |= {"rows_missing": shards.count(beside) - len(rows)}
    return Tables(rows.drop(columns=KEYS), facts)


def splits(folder: Path) -> list[str]:
    """The names of the splits in a folder; none where it holds shards itself."""
    return (
        sorted(p.name for p in folder.iterdir() if p.is_dir() and any(p.glob("*.parquet"))) if folder.is_dir() else []
    )


def columns(folder: Path) -> list[str]:
    """The column names of a folder of shards."""
    return list(pq.read_schema(shards.parts(folder)[0]).names)


def table(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Signals as a pandas frame (what Great Expectations takes), gathered a batch at a time."""
    stream = iter(rows)
    first = list(islice(stream, ROWS_PER_BATCH))
    extra = {"split": "string"} if first and "split" in first[0] else {}
    schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in (COLUMNS | extra).items()])
    batches = [pa.RecordBatch.from_pylist(first, schema)]
    while some := list(islice(stream, ROWS_PER_BATCH)):
        batches.append(pa.RecordBatch.from_pylist(some, schema))
    frame: pd.DataFrame = pa.Table.from_batches(batches).to_pandas()
    return frame


def _signals(folder: Path, names: list[str]) -> Iterator[dict[str, Any]]:
    if not names:
        yield from map(of_record, shards.read(folder))
    for name in names:
        for record in shards.read(folder / name):
            yield of_record(record) | {"split": name}


def _whole(rows: pd.DataFrame) -> Facts:
    """Facts that every table has: shares are of rows; the ratio is of the largest label to the smallest."""
    sizes = rows["label"].value_counts()
    return {
        "rows": len(rows),
        "labels": len(sizes),
        "label_share_min": _mean(sizes.min() / len(rows) if len(rows) else math.nan),
        "label_ratio": _ratio(sizes),
        "duplicate_share": _mean(rows["text_hash"].duplicated()),
        "synthetic_share": _mean(rows["is_synthetic"]),
        "n_words_mean": _mean(rows["n_words"]),
    }


def _compare_splits(rows: pd.DataFrame) -> Facts:
    """Marks rows whose text or document is in another split too; each split against train and against the whole.

    `<split>.n_words_ratio` and `.alpha_share_ratio` are means over train's; `.label_share_deviation` is the largest
    difference of a label's share from its share in the whole.
    """
    code = pd.Series(pd.factorize(rows["split"])[0], index=rows.index)
    for what in ("text", "document"):
        same = code.groupby(rows[f"{what}_hash"])
        rows[f"{what}_elsewhere"] = (same.transform("min") != same.transform("max")).astype("int8")
    facts: Facts = {"splits": rows["split"].nunique()}
    share = rows["label"].value_counts(normalize=True)
    train = rows[rows["split"] == TRAIN]
    for name, part in rows.groupby("split"):
        sizes = part["label"].value_counts().reindex(share.index, fill_value=0)
        facts |= {
            f"{name}.rows": len(part),
            f"{name}.rows_per_label_min": _mean(sizes.min()),
            f"{name}.label_share_deviation": _mean((sizes / len(part) - share).abs().max()),
            f"{name}.n_words_ratio": _over(part["n_words"], train["n_words"]),
            f"{name}.alpha_share_ratio": _over(part["alpha_share"], train["alpha_share"]),
        }
    return facts


def _near_train(rows: pd.DataFrame, folder: Path, names: list[str]) -> "pd.Series[int]":
    """1 for rows that models are judged on and that a row of train comes `NEAR`, one for each such row of train.

    Memory: a sketch a judged row (see nightforge/similar.py); rows of train stream by.
    """
    judged = rows.index[rows["split"] != TRAIN]
    index = Index((sketch(r.text, NEAR) for r in _records(folder, [n for n in names if n != TRAIN])), NEAR)
    found = {index.find(sketch(r.text, NEAR)) for r in _records(folder, [n for n in names if n == TRAIN])}
    marks = pd.Series(0, rows.index, "int8")
    marks[judged[[at for at in found if at is not None]]] = 1
    return marks


def _records(folder: Path, names: list[str]) -> Iterator[Record]:
    return (record for name in names for record in shards.read(folder / name))


def _compare_with_splits(rows: pd.DataFrame, folder: Path, names: list[str]) -> Facts:
    """Marks rows without an origin in train, and rows that repeat what the model will be judged on."""
    train = table(_signals(folder / TRAIN, [])) if TRAIN in names else table([])
    judged: dict[str, list[np.ndarray[Any, Any]]] = {"text_hash": [], "words_hash": []}
    for name in names:
        if name != TRAIN:
            part = table(_signals(folder / name, []))
            for key, seen in judged.items():
                seen.append(part[key].to_numpy())
    rows["origin_in_train"] = rows["origin_hash"].isin(train["origin_hash"]).astype("int8")
    rows["label_as_origin"] = rows["origin_label_hash"].isin(train["origin_label_hash"]).astype("int8")
    for key, mark in (("text_hash", "equals_evaluation"), ("words_hash", "words_of_evaluation")):
        rows[mark] = np.isin(rows[key], np.concatenate([*judged[key], np.empty(0, "int64")])).astype("int8")
    rows["copies"] = rows.groupby("origin_hash")["is_synthetic"].transform("sum").astype("int32")
    before = _ratio(train["label"].value_counts())
    return {
        "train_rows": len(train),
        "train_kept_share": _mean(train["origin_hash"].isin(rows["origin_hash"])),
        "train_label_ratio": before,
        "label_ratio_change": _ratio(rows["label"].value_counts()) / before if before else math.nan,
    }


def _metrics(artifact: Path, beside: Path) -> Tables:
    """Numbers of a metrics file, and where scores lie beside it, those with the figure worked out again from them."""
    facts = flatten(json.loads(artifact.read_text(encoding="utf-8")))
    if not (beside / SCORES).exists():
        return Tables(None, facts)
    rows = pd.read_parquet(beside / SCORES)
    rows = rows.select_dtypes("number").assign(id=rows["id"].astype("str"))
    if {"nats", "bytes"} <= set(rows):
        again = rows["nats"].sum() / (math.log(2) * rows["bytes"].sum()) if len(rows) else math.nan
        facts |= {"scores": len(rows), "bpb_difference": abs(again - facts.get("bpb.value", math.nan))}
    return Tables(rows, facts)


def texts(artifact: Path, wanted: set[str]) -> dict[str, str]:
    """The texts of the wanted rows by id, read again from a record artifact; nothing for metrics."""
    if artifact.suffix == ".json" or not wanted:
        return {}
    folders = [artifact / name for name in splits(artifact)] or [artifact]
    records = (record for folder in folders for record in shards.read(folder))
    return {name: record.text for record in records if (name := plain_id(record.id)) in wanted}


def _ratio(sizes: "pd.Series[int]") -> float:
    return float(sizes.max() / sizes.min()) if len(sizes) else math.nan


def _mean(values: Any) -> float:
    return float(np.mean(values)) if np.size(values) else math.nan


def _over(part: "pd.Series[Any]", whole: "pd.Series[Any]") -> float:
    return _mean(part) / _mean(whole) if _mean(whole) else math.nan
