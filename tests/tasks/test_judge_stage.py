"""The stage `judge`: its folder loads again, its accuracy has an interval, and bad records are named."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from nightforge import array_models, judge, methods
from nightforge.errors import AssetMissing, ConfigError, DataError
from nightforge.levels import from_levels
from nightforge.media import image
from nightforge.stats import Bootstrap
from tasks import arrays, shards
from tasks.judge import JudgeConfig, run
from tests import digits

MEDIA = {"name": "image", **image.SAMPLE.model_dump()}
IMAGE = methods.choose("media", MEDIA)


def config(**changes: Any) -> JudgeConfig:
    values = {"media": MEDIA, "network": judge.SAMPLE, "bootstrap": Bootstrap(resamples=100, level=0.95), "threads": 1}
    return JudgeConfig(**values | changes)


def test_what_was_written_is_what_was_trained(tmp_path: Path) -> None:
    splits = digits.splits(tmp_path / "splits", 500, 200)
    metrics = run(config(), 3, splits, tmp_path / "judge")
    assert metrics["kind"] == "classifier" and metrics["classes"] == 10
    accuracy = metrics["accuracy"]
    assert 0.8 < accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 1
    loaded = array_models.load_judge(tmp_path / "judge")
    assert loaded.classes == list("0123456789") and loaded.shape == (1, 8, 8)
    assert loaded.media.cfg == image.SAMPLE
    data = arrays.read(splits / "validation", loaded.media, loaded.classes)
    right = judge.read(loaded.model, data.x).logits.argmax(1) == data.labels
    assert right.mean() == pytest.approx(accuracy["value"])
    run(config(), 3, splits, tmp_path / "again")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("judge", "again")]
    assert weights[0] == weights[1]


def test_without_labels_the_features_are_random_and_called_so(tmp_path: Path) -> None:
    plain = [dataclasses.replace(r, label=None) for r in digits.records(30)]
    shards.write(tmp_path / "splits/train", plain)
    shards.write(tmp_path / "splits/validation", plain)
    metrics = run(config(), 3, tmp_path / "splits", tmp_path / "judge")
    assert metrics["kind"] == "random features" and "accuracy" not in metrics
    loaded = array_models.load_judge(tmp_path / "judge")
    assert judge.read(loaded.model, torch.zeros(2, 1, 8, 8)).features.shape == (2, 64)


def test_records_become_levels_labels_and_seeds(tmp_path: Path) -> None:
    rows = digits.records(3)
    rows[1] = dataclasses.replace(rows[1], label=None, meta={"document": "other"})
    shards.write(tmp_path, rows)
    data = arrays.read(tmp_path, IMAGE, list("0123456789"))
    assert data.labels.tolist() == [0, 10, 2]
    np.testing.assert_allclose(data.x[0], image.array(rows[0], image.SAMPLE), atol=1e-6)
    assert data.documents[1] == "other" and len(set(data.rows.seeds.tolist())) == 3
    batch = data.batch([2, 0])
    assert batch.units == 2 and batch.tensors["y"].tolist() == [2, 0]
    assert torch.equal(batch.tensors["x"], from_levels(data.levels[[2, 0]]))
    assert data.of({"other"}).ids == [rows[1].id]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"content": b"no picture"}, "expected a picture"), ({"label": "ten"}, "a label that the judge knows .*'ten'")],
)
def test_a_bad_record_is_named(change: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    rows = digits.records(2)
    rows[1] = dataclasses.replace(rows[1], **change)
    shards.write(tmp_path, rows)
    with pytest.raises(DataError, match=f"record {rows[1].id}.*{complaint}"):
        arrays.read(tmp_path, IMAGE, list("0123456789"))


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    class Broken:
        @staticmethod
        def shape(cfg: Any) -> tuple[int, int, int]:
            return 1, 8, 8

        @staticmethod
        def array(record: Any, cfg: Any) -> Any:
            return np.full((1, 8, 8), np.nan, dtype=np.float32)

    shards.write(tmp_path, digits.records(1))
    with pytest.raises(DataError, match="64 that are not finite"):
        arrays.read(tmp_path, methods.Method("media", "broken", Broken, image.SAMPLE), [])  # type: ignore[arg-type]


def test_a_data_set_beyond_memory_is_refused_before_it_is_decoded() -> None:
    arrays.check_memory(10, (3, 64, 64))
    with pytest.raises(ConfigError, match="12288 bytes"):
        arrays.check_memory(psutil.virtual_memory().available // 12_288, (3, 64, 64))


def test_only_safetensors_of_this_network_are_loaded(tmp_path: Path) -> None:
    model = judge.build(judge.SAMPLE, (1, 8, 8), 2)
    facts = {"config": judge.SAMPLE.model_dump(), "shape": [1, 8, 8], "classes": ["a", "b", "c"]}
    array_models.save(tmp_path, model, facts)
    with pytest.raises(DataError, match="head"):
        array_models.load_judge(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(AssetMissing, match="safetensors alone"):
        array_models.load_judge(tmp_path)
    (tmp_path / "model.json").write_text('{"loader": "transformers"}')
    with pytest.raises(DataError, match="expected loader 'array', got 'transformers'"):
        array_models.load_judge(tmp_path)
