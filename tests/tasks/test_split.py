"""Dealing: decontamination of train against the other splits, memory a row, rows kept + rejected = rows read."""

import json
import random
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nightforge.overlap import Overlap
from nightforge.records import Record, content_id
from nightforge.similar import Near
from tasks import gate_table, shards, split
from tasks.split import Shares, SplitConfig

SHARES = {"train": 0.6, "validation": 0.1, "calibration": 0.1, "search": 0.1, "acceptance": 0.1}
CFG = SplitConfig(
    seed=1,
    shares=Shares(**SHARES),
    near=Near(shingle_words=3, bands=16, rows=4, jaccard_min=0.7),
    decontaminate=Overlap(run_words=8, item_words_min=5, share_min=0),
)


def record(text: str, **meta: Any) -> Record:
    return Record(id=content_id(text), text=text, label="a", source=f"test#{content_id(text)}", meta=meta)


def pages(rows: int) -> list[Record]:
    """Pages of 60 words; every fifth quotes nine words of an earlier one."""
    rng, made = random.Random(5), list[Record]()
    for at in range(rows):
        words = [f"w{rng.randrange(100_000)}" for _ in range(60)]
        if at % 5 == 4:
            begin = rng.randrange(50)
            words[20:29] = rng.choice(made).text.split()[begin : begin + 9]
        made.append(record(" ".join(words)))
    return made


def dealt(tmp_path: Path, records: list[Record], cfg: SplitConfig = CFG) -> tuple[dict[str, list[Record]], Any, Any]:
    shards.write(tmp_path / "clean", records)
    metrics = split.run(cfg, tmp_path / "clean", tmp_path / "splits", tmp_path / "split_rejects")
    return (
        {name: list(shards.read(tmp_path / "splits" / name)) for name in SHARES},
        list(shards.rows(tmp_path / "split_rejects")),
        metrics,
    )


def runs(r: Record) -> set[tuple[str, ...]]:
    words = r.text.split()
    return {tuple(words[i : i + 8]) for i in range(len(words) - 7)}


@pytest.mark.parametrize("at_once", [16_000_000, 500])
def test_no_row_of_train_shares_a_run_with_another_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(split, "RUNS_AT_ONCE", at_once)
    records = pages(600)
    kept, rejects, metrics = dealt(tmp_path, records)
    plain, none, _ = dealt(tmp_path / "plain", records, CFG.model_copy(update={"decontaminate": None}))
    assert none == [] and sum(map(len, plain.values())) == 600
    judged = {name: rows for name, rows in plain.items() if name != "train"}
    assert {name: rows for name, rows in kept.items() if name != "train"} == judged, "only train loses rows"
    seen = set().union(*(runs(r) for rows in judged.values() for r in rows))
    expected = [r for r in plain["train"] if runs(r) & seen]
    assert [row["id"] for row in rejects] == [r.id for r in expected] and len(expected) > 20
    assert kept["train"] == [r for r in plain["train"] if not runs(r) & seen]
    assert {(row["rule"], row["reason"]) for row in rejects} == {("decontaminate", "contaminated")}
    others = {f"{name} {r.id}" for name, rows in judged.items() for r in rows}
    assert all(row["evidence"].split(":")[0] in others for row in rejects), "the row of the other split is named"
    assert (
        metrics["rows_rejected"] == len(expected) == json.loads((tmp_path / "splits/rejected.json").read_text())["rows"]
    )
    assert metrics["rows_read"] == 600 == sum(metrics["rows"].values()) + metrics["rows_rejected"]
    assert metrics["rejected"] == {"decontaminate": {"contaminated": len(expected)}}
    assert not list(tmp_path.rglob("*.partial"))
    assert gate_table.of(tmp_path / "splits", tmp_path / "clean").facts["rows_missing"] == 0


def test_rows_keep_their_split_whatever_is_rejected(tmp_path: Path) -> None:
    records = pages(300)
    few, _, _ = dealt(tmp_path / "few", records[:150])
    many, rejects, _ = dealt(tmp_path / "many", records)
    where = {r.id: name for name, rows in many.items() for r in rows} | {row["id"]: "train" for row in rejects}
    assert all(where[r.id] == name for name, rows in few.items() for r in rows)


def test_documents_stay_together(tmp_path: Path) -> None:
    rng = random.Random(8)
    records = [record(f"{at} {rng.random()}", document=f"d{rng.randrange(40)}") for at in range(400)]
    kept, _, metrics = dealt(tmp_path, records)
    places = {(r.meta["document"], name) for name, rows in kept.items() for r in rows}
    assert max(Counter(d for d, _ in places).values()) == 1 and len(places) == metrics["groups"] == 40


def test_memory_a_row(tmp_path: Path) -> None:
    """Between 5,000 and 14,000 rows of six words, the peak grows by fewer than 200 bytes a row."""
    rng = random.Random(9)
    peaks = []
    for rows in (5_000, 14_000):
        texts = (" ".join(f"w{rng.randrange(2_000)}" for _ in range(6)) for _ in range(rows))
        shards.write(tmp_path / str(rows), map(record, texts))
        tracemalloc.start()
        split.grouped(tmp_path / str(rows), CFG, tmp_path / "held")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 9_000 < 200
