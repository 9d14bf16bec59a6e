"""`nightforge tune` and `nightforge estimate` in a small project, and values put into params.yaml."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from nightforge import cli
from nightforge.errors import AssetMissing, ConfigError
from nightforge.records import Record, content_id
from tasks import estimate, knowledge, shards, tune

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The sample's wiring and values, a small network, and texts to train on."""
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    values: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    shape = {"hidden": 64, "layers": 2, "heads": 2, "kv_heads": 1, "ffn": 64, "vocab": 320, "context": 48}
    values["train"]["family"] |= shape
    values["train"]["loop"] |= {"steps": 60, "batch_size": 160, "eval_every": 30, "precision": "fp32", "threads": 1}
    values["train"]["eval_documents"] = 4
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    texts = [f"the {n % 7} trees of {place} are {size}" for n in range(20) for place in ("Rome", "Bonn", "Oslo")
             for size in ("tall", "small")]  # fmt: skip
    records = [Record(id=content_id(t), text=t, label="plant") for t in dict.fromkeys(texts)]
    for folder, rows in (("balanced", records), ("splits/validation", records[:8]), ("splits/train", records)):
        shards.write(tmp_path / "data" / folder, rows)
    shards.write(tmp_path / "data/knowledge", [])
    with shards.Shards(tmp_path / "data/entity_vectors", knowledge.ENTITIES):
        pass
    (tmp_path / "models").mkdir()
    (tmp_path / "models/base.json").write_text("{}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def test_estimate_prints_what_a_run_will_take(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["estimate", "--project", str(project)]) == 0
    printed = capsys.readouterr().out
    assert "steps" in printed and "(60 × 0." in printed
    assert "evaluations" in printed and "(2)" in printed
    assert "peak memory" in printed


def test_tune_suggests_and_writes_only_when_asked(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (project / "params.yaml").read_bytes()
    assert cli.main(["tune", "--project", str(project)]) == 0
    printed = capsys.readouterr().out
    assert (project / "params.yaml").read_bytes() == before
    lines = dict(line.split(": ") for line in printed.splitlines() if line.startswith("train.loop"))
    assert 1e-6 < float(lines["train.loop.optimizer.lr"]) < 1
    assert 150 <= int(lines["train.loop.batch_size"]) * int(lines["train.loop.accumulate"]) <= 170


def test_without_data_it_says_how_to_make_it(project: Path) -> None:
    (project / "data/balanced").rename(project / "data/elsewhere")
    with pytest.raises(AssetMissing, match=r"data/balanced: expected what .* reads.* dvc repro"):
        estimate.opened()


def test_values_are_put_where_they_are_and_all_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    loop = "batch_size: 512   # tokens\n    optimizer: {name: adamw, lr: 4.0e-3, x: [1]}\n"
    text = f"a: null  # über\ntrain:\n  loop:\n    {loop}"
    path.write_text(text, encoding="utf-8")
    tune.put(path, {"train.loop.optimizer.lr": 0.001, "train.loop.batch_size": 64})
    expected = text.replace("4.0e-3", "0.001").replace("512", "64")
    assert path.read_text(encoding="utf-8") == expected
    with pytest.raises(ConfigError, match=r"expected a value at train\.loop\.accumulate"):
        tune.put(path, {"train.loop.accumulate": 2})
    with pytest.raises(ConfigError, match=r"expected a value at train\.loop\.optimizer"):
        tune.put(path, {"train.loop.optimizer": 2})
    assert path.read_text(encoding="utf-8") == expected
