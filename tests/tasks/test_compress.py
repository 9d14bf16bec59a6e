"""Compress: what is decided by hand, and one whole run with a recipe that works, and one that fails."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from nightforge import models, tokenizer
from nightforge.contract import Contract, Judgement, Term
from nightforge.errors import ConfigError, GateClosed, NightforgeError
from nightforge.records import Record, content_id
from tasks import compress, shards
from tasks.compress import Candidate, CompressConfig
from tasks.hashing import sha256_tree

LIMITS = {
    "confidence": 0.95,
    "max_quality_loss": 0.5,
    "max_size_share": 0.9,
    "max_size_mb": None,
    "max_latency_ratio": None,
    "max_latency_ms_p95": None,
    "max_peak_memory_mb": None,
}
INT4 = {
    "name": "weight_only",
    "bits": 4,
    "block_size": 32,
    "symmetric": True,
    "rounding": "rtn",
    "quantize_embeddings": True,
    "int8": ["last_matmul"],
    "accuracy_level": 4,
}
# 64 weights in blocks of 64 are one block: an odd count, on which the quantizer of ONNX Runtime 1.32 stumbles
BROKEN = INT4 | {"block_size": 64, "symmetric": False, "rounding": "k_quant"}
VALUES = {
    "export": {"name": "onnx_genai", "execution_provider": "cpu", "timeout_s": 300, "accuracy_level": 4, "rest": "fp32"},
    "resamples": 200,
    "batch_tokens": 512,
    "rounds": 1,
    "prompts": 2,
    "new_tokens": 4,
}


def test_when_every_recipe_failed_the_stage_fails_with_each_reason() -> None:
    tried = {"a": Candidate(Path("a"), failed="no room"), "b": Candidate(Path("b"), failed="no time")}
    with pytest.raises(NightforgeError, match=r"every recipe failed\. a: no room; b: no time"):
        compress._whole(tried)
    assert list(compress._whole({**tried, "c": Candidate(Path("c"))})) == ["c"]


@pytest.mark.parametrize(
    ("found", "met"),
    [
        ({"changed_share": 0.9, "output_max_difference": 0.1, "size_share": 0.2}, True),
        ({"changed_share": 0.0, "output_max_difference": 0.1, "size_share": 0.2}, False),
        ({"changed_share": 0.9, "output_max_difference": 0.0, "size_share": 0.2}, False),
        ({"changed_share": 0.9, "output_max_difference": 0.1, "size_share": 1.01}, False),
    ],
)
def test_a_recipe_without_effect_is_refused(found: dict[str, Any], met: bool) -> None:
    assert compress._no_effect(found).met is met


def test_figures_of_the_clock_stay_out_of_the_reasons() -> None:
    slow = Term("latency_ratio", 1.0, 1.2345, 1.2345, met=False)
    large = Term("size_share", 0.25, 0.4, 0.4, met=False)
    told = compress._verdict(Judgement((slow, large), ("latency 1.2345 …", "size_share 0.4 …")))
    assert told == {
        "meets": False,
        "why": ["latency_ratio is over its limit 1; see compress.speed.json", "size_share 0.4 …"],
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dense model of random weights and a search split."""
    folder = tmp_path_factory.mktemp("project")
    torch.manual_seed(0)
    texts = [f"a tall tree number {i} with leaves" for i in range(40)]
    words = tokenizer.train(texts, ["plant"], 300, 64)
    shape = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0}
    config = LlamaConfig(vocab_size=len(words), max_position_embeddings=64, tie_word_embeddings=True, **shape, **ends)
    models.save(folder / "dense", LlamaForCausalLM(config), words, {"family": "causal_lm"})
    rows = [Record(id=content_id(t, "plant"), text=t, label="plant") for t in texts]
    shards.write(folder / "splits/search", rows)
    (folder / "evaluate.json").write_text(json.dumps({"dense_sha256": sha256_tree(folder / "dense")}))
    return folder


def run(project: Path, out: Path, recipes: dict[str, Any], limits: dict[str, Any]) -> Any:
    cfg, contract = CompressConfig.model_validate(VALUES | {"recipes": recipes}), Contract.model_validate(limits)
    where = (
        project / "dense",
        project / "evaluate.json",
        project / "splits",
        {},
        out / "candidates",
        out / "compressed",
    )
    return compress.run(cfg, contract, 17, *where)


@pytest.mark.slow
def test_a_whole_run(project: Path, tmp_path: Path) -> None:
    measured = run(project, tmp_path, {"int4": INT4, "broken": BROKEN}, LIMITS)
    assert measured.metrics["chosen"] == "int4"
    good, broken = (measured.metrics["candidates"][name] for name in ("int4", "broken"))
    assert good["meets"] and good["changed_share"] > 0.9 and good["output_max_difference"] > 0
    assert broken["meets"] is False and "exited with 1" in broken["failed"]
    assert not (tmp_path / "candidates/broken").exists()
    assert measured.speed["dense"]["latency_ms_p50"] > 0 and measured.speed["candidates"].keys() == {"int4"}
    assert sha256_tree(tmp_path / "compressed") == sha256_tree(tmp_path / "candidates/int4")
    card = json.loads((tmp_path / "compressed/model.json").read_text())
    assert (card["loader"], card["recipe"], card["family"]) == ("onnxruntime-genai", "int4", "causal_lm")
    assert card["dense_sha256"] == sha256_tree(project / "dense")


def test_what_cannot_be_is_refused_before_anything_is_exported(project: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"max_size_share: 0\.01 cannot be met"):
        run(project, tmp_path, {"int4": INT4}, LIMITS | {"max_size_share": 0.01})
    with pytest.raises(ConfigError, match="names a folder"):
        run(project, tmp_path, {"../int4": INT4}, LIMITS)
    assert list(tmp_path.iterdir()) == []


def test_another_model_than_the_gate_opened_for_is_refused(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project, tmp_path / "project")
    shutil.copy(tmp_path / "project/dense/config.json", tmp_path / "project/dense/extra.json")
    with pytest.raises(GateClosed, match=r"evaluate\.json measured one of sha256 .* lies there\. Run: dvc repro"):
        run(tmp_path / "project", tmp_path / "out", {"int4": INT4}, LIMITS)
    assert not (tmp_path / "out").exists()
