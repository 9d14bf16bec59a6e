"""The plan of balance: rows by class, which step dropped what, points only where a step needs them, and memory."""

import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightforge.embeddings import DIMS
from nightforge.methods import choose
from nightforge.records import Record, content_id
from tasks import balance, shards
from tasks.balance import BalanceConfig

PLANT, FOOD = ("{} tall tree with {} leaves", "{} warm soup of {} beans")
EMBEDDING = {"encoder": None, "batch_texts": 8}


def rows(plants: int, foods: int) -> list[Record]:
    given = [(PLANT, "plant", i) for i in range(plants)] + [(FOOD, "food", i) for i in range(foods)]
    made = [(text.format(f"number{i}", f"shade{i % 7}"), label, i) for text, label, i in given]
    return [Record(content_id(t, x), t, label=x, language="en", source=f"{x[0]}.csv#{i}") for t, x, i in made]


def plan(folder: Path, records: list[Record], *steps: dict[str, Any], by: str = "label") -> dict[str, Any]:
    shards.write(folder / "splits" / "train", records)
    shards.write(folder / "splits" / "acceptance", rows(1, 1))
    cfg = BalanceConfig.model_validate({"by": by, "embedding": EMBEDDING, "steps": list(steps)})
    return balance.run(cfg, 1, folder / "splits", folder / "assets", folder / "plan", folder / "rejects")


THIN = {"weights": "equal", "median_ratio_max": None}
COPY = {"weights": "equal", "synthetic_share_max": 0.4, "copies_max": 3}


def test_each_dropped_row_names_the_step_that_dropped_it(tmp_path: Path) -> None:
    steps = (
        {"name": "undersample", **THIN, "rows_max": 50},
        {"name": "near_miss", **THIN, "rows_max": 40, "version": 1, "neighbours": 3, "candidates": 3},
        {"name": "cluster_centroids", **THIN, "rows_max": 30},
        {"name": "smote_neighbours", **COPY, "kind": "adasyn", "neighbours": 5},
    )
    metrics = plan(tmp_path, rows(60, 10), *steps)
    share = "class_over_its_share"
    assert metrics["rejected"] == {name: {share: 10} for name in ("undersample", "near_miss", "cluster_centroids")}
    assert metrics["labels_after"] == {"food": 30, "plant": 30} and metrics["copies_per_row_max"] <= 3
    assert Counter(r["rule"] for r in shards.rows(tmp_path / "rejects")) == dict.fromkeys(metrics["rejected"], 10)
    planned = {r["id"]: r["copies"] for r in shards.rows(tmp_path / "plan")}
    assert planned.keys() == {r.id for r in rows(60, 10)} - {r["id"] for r in shards.rows(tmp_path / "rejects")}
    assert plan(tmp_path / "again", rows(60, 10), *steps) == metrics


def test_classes_may_be_sources(tmp_path: Path) -> None:
    metrics = plan(tmp_path, rows(60, 10), {"name": "undersample", **THIN, "rows_max": 20}, by="source")
    assert metrics["labels_after"] == {"f.csv": 10, "p.csv": 20}


def test_points_are_those_of_the_rows_that_a_step_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nightforge.embeddings import Embedding, embed, pack

    given, cfg = rows(20, 5), Embedding(encoder=None, batch_texts=8)
    shards.write(tmp_path / "train", given)
    monkeypatch.setattr(shards, "ROWS_PER_BATCH", 7)
    seen = np.array([24, 3, 3, 0, 13, 6, 7])
    found = balance._points(tmp_path / "train", seen, cfg, tmp_path)
    assert found.tolist() == pack(embed([given[i].text for i in seen], cfg)).tolist()


@pytest.mark.parametrize(
    "step",
    [
        {"name": "oversample", **COPY, "synthetic_share_max": 0.2},
        {"name": "undersample", **THIN, "rows_max": 15_000},
        {"name": "near_miss", **THIN, "rows_max": 15_000, "version": 2, "neighbours": 3, "candidates": 3},
        {"name": "cluster_centroids", **THIN, "rows_max": 60},
        {"name": "smote_neighbours", **COPY, "synthetic_share_max": 0.2, "kind": "adasyn", "neighbours": 5},
    ],
    ids=lambda step: step["name"],
)
def test_memory_is_at_most_200_bytes_a_row(step: dict[str, Any]) -> None:
    """Growth from 20,000 to 40,000 rows; the points, for a step that looks at them, are made while it is measured."""
    method, peaks = choose("balance", step), []
    needed = getattr(method.module, "NEEDS", None) == "embedding"
    assert needed == (step["name"] not in {"oversample", "undersample"})

    def points(rows: np.ndarray) -> np.ndarray:
        assert needed, "no step asked for points"
        return np.ones((len(rows), DIMS), np.int8)

    for n in (20_000, 40_000):
        labels = ["a"] * (n - 20) + ["b"] * 20
        tracemalloc.start()
        balance.planned(labels, [method], 1, points)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 20_000 + 8 <= 200, "with 8 bytes a row for the labels"
