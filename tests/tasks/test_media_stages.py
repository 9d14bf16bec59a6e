"""Pictures and sounds through the data stages, which were made for texts."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nightforge.records import Record
from tasks import augment, clean, gate_table, shards, split
from tasks.augment_chunk import AugmentConfig
from tasks.clean import CleanConfig
from tasks.executor import Executor
from tasks.split import SplitConfig
from tests.digits import records
from tests.media_samples import encoded, picture, record, scene, sound

ALONE = Executor(name="local", workers=1, address=None)
SHARES = {"train": 0.6, "validation": 0.1, "calibration": 0.1, "search": 0.1, "acceptance": 0.1}
SPLIT = SplitConfig.model_validate({"seed": 1, "shares": SHARES, "near": None, "decontaminate": None})
LOOKS = {"name": "image_duplicates", "bits_max": 2, "difference_max": 0.02}


def cleaned(tmp_path: Path, given: list[Record], *rules: dict[str, Any]) -> tuple[list[Record], Counter[str]]:
    shards.write(tmp_path / "raw", given)
    cfg = CleanConfig.model_validate({"preset": "p", "presets": {"p": list(rules)}, "rule_share_max": 1.0})
    folders = (tmp_path / name for name in ("raw", "assets", "clean", "clean_rejects", "work"))
    clean.run(cfg, *folders, ALONE)
    rejects = list(shards.rows(tmp_path / "clean_rejects"))
    assert all(len(row["evidence"]) < 200 for row in rejects), "no bytes of content among the evidence"
    return list(shards.read(tmp_path / "clean")), Counter(f"{r['rule']}:{r['reason']}" for r in rejects)


def test_a_picture_without_a_caption_is_not_empty(tmp_path: Path) -> None:
    editor = {"name": "unicode", "normal_form": "NFC", "uncurl_quotes": False}
    captioned = record(picture(3).content or b"", "image/png", text="cafe\u0301")
    kept, gone = cleaned(tmp_path, [picture(1), sound(1), captioned], editor)
    assert gone == {} and [r.text for r in kept] == ["", "", "café"]
    assert [r.content for r in kept] == [picture(1).content, sound(1).content, captioned.content]


def test_rules_of_pictures_and_sounds(tmp_path: Path) -> None:
    again = record(encoded(scene(1), "JPEG"), "image/jpeg")
    given = [
        picture(1),
        picture(2),
        again,
        picture(2),
        record(picture(5).content or b"", "image/png", text="x"),
        sound(1),
    ]
    kept, gone = cleaned(
        tmp_path,
        given,
        {"name": "image_size", "side_min_px": 8, "side_max_px": 64, "aspect_max": 1.0},
        {"name": "audio_length", "seconds_min": 1, "seconds_max": 2, "rate_min_hz": 1},
        {"name": "image_duplicates", "bits_max": 4, "difference_max": 0.04},
    )
    assert [r.id for r in kept] == [given[at].id for at in (0, 1, 4)]
    assert gone == {
        "image_duplicates:looks_alike": 1,
        "image_duplicates:exact_duplicate": 1,
        "audio_length:too_short": 1,
    }


def test_exact_duplicates_are_of_content_too(tmp_path: Path) -> None:
    kept, gone = cleaned(tmp_path, [picture(1), picture(2), picture(1)], {"name": "exact_duplicates"})
    assert len(kept) == 2 and gone == {"exact_duplicates:exact_duplicate": 1}


@pytest.fixture
def dealt(tmp_path: Path) -> Path:
    """200 digits in splits."""
    cleaned(tmp_path, records(200), LOOKS)
    split.run(SPLIT, tmp_path / "clean", tmp_path / "splits", tmp_path / "split_rejects")
    return tmp_path


def test_pictures_are_dealt_by_their_hash(dealt: Path) -> None:
    rows = {name: shards.count(dealt / "splits" / name) for name in SHARES}
    assert sum(rows.values()) == shards.count(dealt / "clean") >= 195
    assert rows["train"] > 95 and min(rows.values()) > 5
    tables = gate_table.of(dealt / "splits", dealt / "clean")
    assert tables.rows is not None
    assert tables.rows["near_train"].sum() == 0 and tables.facts["rows_missing"] == 0
    assert 0.8 < tables.facts["acceptance.brightness_ratio"] < 1.2


def test_a_picture_that_looks_like_one_of_train_is_seen_by_the_gate(dealt: Path) -> None:
    train, held = (list(shards.read(dealt / "splits" / name)) for name in ("train", "search"))
    same = record(encoded(gate_table.pixels(train[5].content or b""), "BMP"), "image/bmp", train[5].label)
    shards.write(dealt / "splits" / "search", [*held[:3], same, *held[3:]])
    tables = gate_table.of(dealt / "splits", dealt / "clean")
    assert tables.rows is not None
    assert tables.rows.filter(tables.rows["near_train"] == 1)["id"].to_list() == [same.id]


def augmented(folder: Path, methods: list[dict[str, Any]], **media: Any) -> tuple[list[Record], dict[str, Any]]:
    spec = {"methods": [{"weight": 1, "method": m} for m in methods], "quality": None}
    cfg = AugmentConfig.model_validate(
        spec | {"media": {"changed_min": 0.02, "changed_max": 0.3, "near": None} | media}
    )
    train = list(shards.read(folder / "splits" / "train"))
    with shards.Shards(folder / "plan", augment_plan()) as plan:
        for one in train:
            plan.add({"id": one.id, "copies": 1})
    names = ("splits", "plan", "assets", "balanced", "augment_rejects", "work")
    found = augment.run(cfg, SPLIT, 3, *(folder / name for name in names), ALONE)
    return list(shards.read(folder / "balanced")), found


def augment_plan() -> Any:
    from tasks.balance import PLAN

    return PLAN


def test_variants_of_pictures_are_made_and_held_to_their_bounds(dealt: Path) -> None:
    methods = [{"name": "rotate", "degrees_max": 10.0, "tries": 8}, {"name": "crop", "share_max": 0.13, "tries": 8}]
    made, metrics = augmented(dealt, methods)
    copies = [r for r in made if "parent" in r.meta]
    assert metrics["copies_planned"] == metrics["copies_made"] + metrics["copies_rejected"]
    assert len(copies) == metrics["copies_made"] > 0.9 * metrics["copies_planned"]
    assert len({r.content for r in made}) == len(made)
    by_id = {r.id: r for r in made}
    assert all(r.label == by_id[r.meta["parent"]].label and r.media_type == "image/png" for r in copies)
    _, none = augmented(dealt, methods, changed_min=0.9, changed_max=1.0)
    assert none["copies_made"] == 0 and none["refused"]["rotate"].keys() == {"changed_too_little"}


def test_no_variant_looks_like_a_row_of_another_split(dealt: Path) -> None:
    near = {"bits_max": 16, "difference_max": 0.1}
    _, metrics = augmented(dealt, [{"name": "rotate", "degrees_max": 10.0, "tries": 2}], near=near)
    assert metrics["refused"]["rotate"]["near_another_split"] > 0
