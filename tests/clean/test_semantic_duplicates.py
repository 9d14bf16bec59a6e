"""Semantic duplicates: the first of a cluster stays, whatever decides what is near."""

from pathlib import Path

import pytest

from nightforge import embeddings
from nightforge.clean.semantic_duplicates import SAMPLE, prepare, select, signature
from nightforge.errors import AssetMissing
from nightforge.records import Record
from nightforge.signatures import Held
from nightforge.view import View
from tests import tiny_encoder

TEXTS = [
    "a tall evergreen tree of the northern mountains, with hard timber",
    "a soup of beans and bacon, eaten hot in the winter",
    "of the northern mountains: a tall, evergreen tree with hard timber",
    "",
    "a tall evergreen tree of the northern mountains, with hard red timber",
    "",
]


def dropped(texts: list[str], assets: Path, **changes: object) -> dict[int, str]:
    cfg = SAMPLE.model_copy(update=changes)
    state = prepare(cfg, assets)
    rows = [(f"r{i}", signature(View(Record(id=f"r{i}", text=t)), cfg, state)) for i, t in enumerate(texts)]
    assert all(len(row) == embeddings.DIMS for _, row in rows)
    return {at: f"{why.reason} {why.evidence}" for at, why in select(Held(rows), cfg, state)}


def test_the_same_words_in_another_order_are_the_same(tmp_path: Path) -> None:
    found = dropped(TEXTS, tmp_path)
    assert found[2] == "semantic_duplicate of r0 (cosine 1.00)"
    assert found[4].startswith("semantic_duplicate of r0 (cosine 0.9")
    assert set(found) == {2, 4}  # texts without words are near nothing
    assert set(dropped(TEXTS, tmp_path, cosine_min=0.999)) == {2}


def test_a_real_encoder_decides_where_there_is_one(tmp_path: Path) -> None:
    tiny_encoder.lay(tmp_path / "tiny")
    texts = ["the cat sat on the mat", "hello you", "The cat sat on the mat"]
    assert set(dropped(texts, tmp_path, encoder="tiny", cosine_min=0.999)) == {2}
    points = embeddings.embed(texts, embeddings.Embedding(encoder="tiny", batch_texts=2), tmp_path)
    assert float(points[0] @ points[1]) < 0.999


def test_a_missing_encoder_is_named_before_any_row_is_read(tmp_path: Path) -> None:
    with pytest.raises(AssetMissing, match="name: tiny"):
        prepare(SAMPLE.model_copy(update={"encoder": "tiny"}), tmp_path)
