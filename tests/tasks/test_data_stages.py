import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightforge.errors import DataError
from nightforge.methods import choose
from nightforge.records import Record, content_id
from nightforge.similar import Near, jaccard, sketch
from tasks import augment, balance, shards, split, wiring
from tasks.balance import BalanceConfig
from tasks.split import SplitConfig

ROOT = Path(__file__).resolve().parents[2]
NEAR = {"shingle_words": 3, "bands": 42, "rows": 3, "jaccard_min": 0.5}
SHARES = {"train": 0.6, "validation": 0.1, "calibration": 0.1, "search": 0.1, "acceptance": 0.1}
SPLIT = SplitConfig.model_validate({"seed": 1, "shares": SHARES, "near": NEAR})


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
    metrics = split.run(SPLIT.model_copy(update={"seed": seed}), tmp_path / "clean", tmp_path / "splits")
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
    sketches = [sketch(r.text, near) for r in records]
    close = 0
    for j, r in enumerate(records):
        for i in range(j):
            if jaccard(sketches[i], sketches[j]) >= near.jaccard_min:
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


def augmented(tmp_path: Path, assets: Path, records: list[Record], held_out: list[Record]) -> dict[str, Any]:
    planned(tmp_path, records, STEPS)
    shards.write(tmp_path / "splits" / "acceptance", held_out)
    spec = {"name": "synonym", "asset": "wordnet", "word_share": 0.5, "tries": 8, "stopwords": []}
    cfg = augment.AugmentConfig.model_validate({"method": spec})
    out, rejects = tmp_path / "balanced", tmp_path / "augment_rejects"
    return augment.run(cfg, SPLIT, 1, tmp_path / "splits", tmp_path / "plan", assets, out, rejects)


def test_copies_are_varied_new_and_traced(tmp_path: Path, wordnet_assets: Path) -> None:
    given = rows()
    held_out = [record(f"a high time repast number {i}", "food") for i in range(4)]
    metrics = augmented(tmp_path, wordnet_assets, given, held_out)
    made = list(shards.read(tmp_path / "balanced"))
    copies = [r for r in made if "parent" in r.meta]
    originals = {r.id: r for r in made if "parent" not in r.meta}
    assert metrics["originals"] == len(originals) == 44
    assert metrics["copies_planned"] == 11 == metrics["copies_made"] + metrics["copies_rejected"]
    assert len(copies) == metrics["copies_made"] == sum(metrics["labels"].values()) - 44 > 5
    texts = Counter(" ".join(r.text.lower().split()) for r in [*made, *held_out])
    assert max(texts.values()) == 1, "no copy equals an original, a copy, or a row of another split"
    for copy in copies:
        parent = originals[copy.meta["parent"]]
        assert copy.label == parent.label and copy.meta["augmenter"] == "synonym" and copy.meta["copy"] in (1, 2)
        assert [new for _, new in copy.meta["edits"]] and parent.text.split()[-1] == copy.text.split()[-1]
    again = augmented(tmp_path / "again", wordnet_assets, given, held_out)
    assert again == metrics and list(shards.read(tmp_path / "again" / "balanced")) == made


def test_a_copy_that_cannot_be_varied_is_rejected(tmp_path: Path, wordnet_assets: Path) -> None:
    metrics = augmented(tmp_path, wordnet_assets, rows("{} no synonyms {}"), [])
    assert metrics["rejected"] == {"synonym": {"nothing_to_vary": 11}} and metrics["copies_made"] == 0
    assert {row["reason"] for row in shards.rows(tmp_path / "augment_rejects")} == {"nothing_to_vary"}


def test_a_copy_near_a_row_of_another_split_is_rejected(tmp_path: Path, wordnet_assets: Path) -> None:
    near = "{} high {} on the way to the old house by the river"
    held_out = [record(near.format(label, i), label) for label in ("food", "time") for i in range(10)]
    metrics = augmented(tmp_path, wordnet_assets, rows(near.replace("high", "tall")), held_out)
    assert set(metrics["rejected"]["synonym"]) == {"near_another_split"}


def test_a_plan_of_other_rows_is_refused(tmp_path: Path, wordnet_assets: Path) -> None:
    planned(tmp_path, rows(), STEPS)
    shards.write(tmp_path / "splits" / "train", rows()[:20])
    spec = {"name": "synonym", "asset": "wordnet", "word_share": 0.5, "tries": 8, "stopwords": []}
    cfg = augment.AugmentConfig(method=choose("augment", spec))
    plan, out, rejects = (tmp_path / name for name in ("plan", "balanced", "augment_rejects"))
    with pytest.raises(DataError, match="the plan keeps 44 rows"):
        augment.run(cfg, SPLIT, 1, tmp_path / "splits", plan, wordnet_assets, out, rejects)
