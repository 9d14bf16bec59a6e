import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightforge.errors import DataError
from nightforge.records import Record, content_id
from nightforge.similar import Near, sketch
from tasks import balance, shards, split, wiring
from tasks.balance import BalanceConfig
from tasks.split import SplitConfig

ROOT = Path(__file__).resolve().parents[2]
NEAR = {"shingle_words": 3, "bands": 42, "rows": 3, "jaccard_min": 0.5}
SHARES = {"train": 0.6, "validation": 0.1, "calibration": 0.1, "search": 0.1, "acceptance": 0.1}
SPLIT = SplitConfig.model_validate({"seed": 1, "shares": SHARES, "near": NEAR, "decontaminate": None})


def record(text: str, label: str | None = "plant", **meta: Any) -> Record:
    return Record(id=content_id(text, label), text=text, label=label, source=f"test#{text[:5]}", meta=meta)


def corpus(rows: int, near: float = 0.1) -> list[Record]:
    """Random documents of one to three rows, some rows near-duplicates of rows of other documents."""
    rng = random.Random(0)
    made: list[Record] = []
    while len(made) < rows:
        document, label = f"d{len(made)}", rng.choice(["plant"] * 6 + ["food"] * 3 + ["time"])
        for _ in range(rng.randrange(1, 4)):
            words = [f"w{rng.randrange(3_000)}" for _ in range(rng.randrange(5, 25))]
            if made and rng.random() < near:
                words = [*rng.choice(made).text.split(), "again"]
            made.append(record(" ".join(words), label, document=document))
    return made[:rows]


def dealt(tmp_path: Path, records: list[Record], seed: int = 1) -> tuple[dict[str, str], dict[str, Any]]:
    shards.write(tmp_path / "clean", records)
    metrics = split.run(
        SPLIT.model_copy(update={"seed": seed}), tmp_path / "clean", tmp_path / "splits", tmp_path / "split_rejects"
    )
    return {r.id: name for name in SHARES for r in shards.read(tmp_path / "splits" / name)}, metrics


def test_neither_a_document_nor_a_near_duplicate_crosses(tmp_path: Path) -> None:
    records = corpus(600)
    where, metrics = dealt(tmp_path, records)
    assert sum(metrics["rows"].values()) == metrics["rows_read"] == 600
    documents: dict[str, set[str]] = {}
    for r in records:
        documents.setdefault(r.meta["document"], set()).add(where[r.id])
    assert all(len(splits) == 1 for splits in documents.values())
    near = Near.model_validate(NEAR)
    texts = [set(sketch(r.text, near)[near.bands + 1 :].tolist()) for r in records]
    close = 0
    for j, r in enumerate(records):
        for i in range(j):
            if len(texts[i] & texts[j]) >= near.jaccard_min * len(texts[i] | texts[j]):
                close += 1
                assert where[records[i].id] == where[r.id]
    assert close > 20


def test_shares_are_kept_for_every_label(tmp_path: Path) -> None:
    rng = random.Random(2)
    records = [record(" ".join(f"{i}w{rng.randrange(10**6)}" for _ in range(6)), "ab"[i % 2]) for i in range(4_000)]
    _, metrics = dealt(tmp_path, records)
    for name, share in SHARES.items():
        for label in "ab":
            deviation = 4 * np.sqrt(share * (1 - share) / 2_000)  # four standard deviations
            assert abs(metrics["labels"][name][label] / 2_000 - share) < deviation
    shares = {n: metrics["labels"][n]["a"] / metrics["rows"][n] for n in SHARES}
    assert metrics["label_share_deviation_max"] == pytest.approx(max(abs(s - 0.5) for s in shares.values()))


def test_a_document_stays_in_its_split_as_data_grows(tmp_path: Path) -> None:
    records = corpus(900, near=0)
    before, _ = dealt(tmp_path / "1", records[:300])
    after, _ = dealt(tmp_path / "2", records)
    assert {r: after[r] for r in before} == before
    assert dealt(tmp_path / "3", records[:300], seed=2)[0] != before


def test_the_split_does_not_hang_on_the_seed_of_the_run() -> None:
    assert wiring.stage("split", ROOT).params == ("split",), "a champion must never be judged on what it was trained on"


def test_a_new_row_that_joins_two_groups_takes_the_later_to_the_earlier(tmp_path: Path) -> None:
    words = [f"w{i}" for i in range(30)]
    halves = [record(" ".join(words[:20])), record(" ".join(words[10:]))]
    bridge = record(" ".join(words[2:28]))
    alone = next(s for s in range(50) if len(set(dealt(tmp_path / f"a{s}", halves, s)[0].values())) == 2)
    apart, _ = dealt(tmp_path / "apart", halves, alone)
    joined, _ = dealt(tmp_path / "joined", [*halves, bridge], alone)
    assert set(joined.values()) == {apart[halves[0].id]}


def planned(
    tmp_path: Path, records: list[Record], steps: list[dict[str, Any]]
) -> tuple[dict[str, int], dict[str, Any]]:
    shards.write(tmp_path / "splits" / "train", records)
    plain = {"by": "label", "embedding": {"encoder": None, "batch_texts": 8}}
    cfg = BalanceConfig.model_validate(plain | {"steps": steps})
    metrics = balance.run(cfg, 1, tmp_path / "splits", tmp_path / "assets", tmp_path / "plan", tmp_path / "rejects")
    return {row["id"]: row["copies"] for row in shards.rows(tmp_path / "plan")}, metrics


STEPS = [
    {"name": "undersample", "weights": "equal", "median_ratio_max": 3.0, "rows_max": None},
    {"name": "oversample", "weights": "equal", "synthetic_share_max": 0.2, "copies_max": 2},
]
SIZES = {"plant": 60, "food": 10, "time": 4}


def rows(text: str = "a tall {} meal number {}") -> list[Record]:
    return [record(text.format(label, i), label) for label, size in SIZES.items() for i in range(size)]


def test_the_plan_thins_and_repeats(tmp_path: Path) -> None:
    plan, metrics = planned(tmp_path, rows(), STEPS)
    assert metrics["rows_kept"] == len(plan) == 30 + 10 + 4 and metrics["rows_rejected"] == 30
    assert metrics["labels_after"] == {"plant": 30, "food": 13, "time": 12}  # 11 copies: 4→12 (2 a row), 10→13
    assert metrics["synthetic_share"] == 11 / 55
    assert shards.count(tmp_path / "rejects") == 30
    assert planned(tmp_path / "again", rows(), STEPS)[0] == plan


def test_an_empty_train_split_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train split is empty"):
        planned(tmp_path, [], STEPS)
