"""The stage: train split against what is trained on, with a sample of the target domain among the assets."""

import json
from pathlib import Path
from typing import Any

import pytest

from nightforge.errors import AssetMissing
from nightforge.records import Record, content_id
from nightforge.representation import Representation
from tasks import represent, shards, wiring

ROOT = Path(__file__).resolve().parents[2]


def told(folder: Path, target: str | None) -> dict[str, Any]:
    made = [Record(content_id(t), t, label=x) for t, x in (("a cat sat", "pet"), ("rates fell", "news"))]
    shards.write(folder / "splits/train", made)
    shards.write(folder / "balanced", [*made, Record("2", "rates sank", label="news", meta={"parent": made[1].id})])
    values = wiring.read_yaml(ROOT / "params.yaml")["represent"]
    cfg = Representation.model_validate(values | {"target": target})
    return represent.run(cfg, folder / "splits", folder / "balanced", folder / "assets")


def test_before_and_after_against_a_target(tmp_path: Path) -> None:
    (tmp_path / "assets/domain").mkdir(parents=True)
    (tmp_path / "assets/domain/sample.jsonl").write_text('{"text": "rates fell"}\n{"text": "rates sank"}\n')
    found = told(tmp_path, "domain")
    assert (found["rows_before"], found["rows_after"]) == (2, 3)
    assert found["target"]["after_js_bits"] < found["target"]["before_js_bits"]
    assert json.loads(json.dumps(found)) == found, "plain data"
    assert told(tmp_path / "again", None)["target"] is None


def test_a_missing_target_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssetMissing, match="name: domain"):
        told(tmp_path, "domain")
