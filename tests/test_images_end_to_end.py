"""Pictures from records to a verdict and its page, by the stages of examples/images; the network learns little."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from nightforge import methods
from nightforge.contract import Contract
from tasks import accept, compress, evaluate_array, judge, report, shards, train
from tasks.compressing import CompressConfig
from tasks.hashing import sha256_tree
from tests import digits

ROOT = Path(__file__).parent.parent
PROJECT = ROOT / "examples/images"
VALUES: dict[str, Any] = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
SEED = 3
pytestmark = pytest.mark.slow


def small(family: str) -> dict[str, Any]:
    """The project's values, with little of everything."""
    values: dict[str, Any] = json.loads(json.dumps(VALUES))
    values["judge"] |= {"threads": 1}
    values["judge"]["network"] |= {"width": 8, "steps": 150}
    values["train"] |= {"family": {"name": family, **methods.load("train", family).SAMPLE.model_dump(mode="json")}}
    values["train"]["loop"] |= {"steps": 40, "batch_size": 32, "eval_every": 20, "save_every": 20, "threads": 1}
    values["train"]["eval_documents"] = 10
    values["evaluate_array"] |= {"threads": 1, "samples_per_label": 4, "shown_per_label": 3, "speed_samples": 2}
    values["compress"] |= {"rounds": 1, "prompts": 2, "new_tokens": 3, "resamples": 200}
    values["accept"] |= {"resamples": 200}
    values["contract"] |= {"max_quality_loss": 0.2, "max_size_share": 0.95, "max_latency_ratio": None}
    return values


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Splits, and what stands in git."""
    every = digits.records(420)
    for name, rows in {
        "train": every[:200], "validation": every[200:260], "calibration": every[260:300],
        "search": every[300:360], "acceptance": every[360:],
    }.items():  # fmt: skip
        shards.write(tmp_path / "splits" / name, rows)
    shards.write(tmp_path / "balanced", every[:200])
    (tmp_path / "base.json").write_text('{"from": "scratch"}')
    (tmp_path / "champion.json").write_text('{"champion": null}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def to_verdict(at: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Every stage from the judge on; returns the metrics of each by its name."""
    found: dict[str, Any] = {}

    def keep(name: str, measured: Any) -> None:
        metrics, speed = measured if isinstance(measured, tuple) else (measured, {})
        found[name], found[f"{name}_speed"] = metrics, speed
        for file, content in ((f"{name}.json", metrics), (f"{name}.speed.json", speed)):
            (at / file).write_text(json.dumps(content))

    deps, contract = {"judge": at / "judge"}, Contract(**values["contract"])
    keep("judge", judge.run(judge.JudgeConfig(**values["judge"]), SEED, at / "splits", at / "judge"))
    (at / "work").mkdir()
    wrote = (at / "dense", at / "work", at / "plots")
    cfg = train.TrainConfig(**values["train"])
    keep("train", train.run(cfg, SEED, at / "base.json", at / "balanced", at / "splits", deps, *wrote))
    chosen = evaluate_array.EvaluateConfig(**values["evaluate_array"])
    read = (at / "dense", at / "judge", at / "splits", at / "balanced")
    keep("evaluate", evaluate_array.run(chosen, SEED, *read, at / "evaluation"))
    recipes = CompressConfig(**values["compress"])
    read = (at / "dense", at / "evaluate.json", at / "splits")
    wrote = (at / "works/compress", at / "candidates", at / "compressed", at / "artifacts")
    keep("compress", compress.run(recipes, contract, SEED, *read, deps, *wrote))
    asked = accept.AcceptConfig(**values["accept"])
    read = (at / "dense", at / "compressed", at / "champion.json", at / "splits")
    speed = (at / "compress.json", at / "compress.speed.json", deps, at / "acceptance")
    keep("accept", accept.run(asked, contract, values["split"], SEED, *read, *speed))
    return found


@pytest.mark.parametrize("family", ["vae"])
def test_pictures_reach_a_verdict_and_a_page(family: str, project: Path) -> None:
    values = small(family)
    found = to_verdict(project, values)
    accepted, tried = found["accept"], found["compress"]["candidates"]
    assert accepted["verdict"] == "MET", accepted["reasons"]
    assert (accepted["metric"], accepted["documents"], accepted["units"]) == ("bpb", 60, 60 * 64)
    assert all(c["changed_share"] > 0.5 and c["output_max_difference"] > 0 for c in tried.values()), tried
    assert tried["half"]["bpb_loss_share"]["high"] < 0.001, "half precision costs next to nothing"
    assert tried["int8_weights"]["size_mb"] < tried["half"]["size_mb"] < tried["half"]["size_share"] * 10
    assert found["evaluate"]["dense_sha256"] == accepted["dense_sha256"] == sha256_tree(project / "dense")
    card = json.loads((project / "compressed/model.json").read_text())
    assert (card["loader"], card["family"]) == ("onnx", family)
    assert found["compress_speed"]["dense"]["samples_per_s"] > 0
    page(project, found, values)


def page(at: Path, found: dict[str, Any], values: dict[str, Any]) -> None:
    """The report of a project that has no stage of texts, with pictures in it and nothing that runs."""
    (at / "metrics").mkdir()
    names = ["train", "evaluate", "compress", "accept"]
    for name in names:
        for suffix in (".json", ".speed.json"):
            (at / f"{name}{suffix}").rename(at / "metrics" / f"{name}{suffix}")
    (at / "source.json").write_text('{"sources": {}}')
    (at / "requirements.lock").write_text("torch==2.13.0\n")
    listed = [Path(f"metrics/{name}{suffix}") for name in names for suffix in (".json", ".speed.json")]
    wired = SimpleNamespace(deps=[*listed, Path("plots"), Path("requirements.lock")], gates=[])
    cfg, contract = report.ReportConfig(**values["report"]), Contract(**values["contract"])
    report.run(cfg, contract, wired, at / "source.json", at / "evaluation", at / "index.html")  # type: ignore[arg-type]
    said = (at / "index.html").read_text()
    assert said.count('src="data:image/png;base64,') == 2 and "<script" not in said
    assert "bits per byte" in said and "Samples/s" in said and "Representation" not in said
    assert "samples that the judge reads as what they should be" in said
