"""Compress: what is decided by hand, and one whole run with a recipe that works, and one that fails."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import LlamaConfig, LlamaForCausalLM

from nightforge import methods, models, tokenizer
from nightforge.contract import Contract, Judgement, Term, proofs
from nightforge.errors import ConfigError, GateClosed, NightforgeError
from nightforge.records import Record, content_id
from tasks import candidates, compress, explore, shards
from tasks.compressing import CompressConfig, Made
from tasks.hashing import sha256_tree, size_mb

LIMITS = {
    "confidence": 0.95,
    "max_quality_loss": 0.5,
    "max_size_share": 0.9,
    "max_size_mb": None,
    "max_latency_ratio": None,
    "max_latency_ms_p95": None,
    "max_peak_memory_mb": None,
    "max_kernel_distance_rise": None,
    "max_plausible_gain": 1.0,
}
HEAD = {"name": "rtn", "layers": ["lm_head"], "bits": 8, "block_size": 64, "symmetric": True, "search": False}
INT8 = [HEAD, HEAD | {"layers": ["model.layers.*"]}]
INT4 = [HEAD, HEAD | {"layers": ["model.layers.*"], "bits": 4, "block_size": 32}]
VALUES = {
    "search": "all",
    "budget_minutes": 60,
    "pareto": None,
    "also": {},
    "calibration_tokens": 256,
    "export": {"name": "onnx_genai"} | methods.load("export", "onnx_genai").SAMPLE.model_dump(),
    "resamples": 200,
    "batch_tokens": 512,
    "rounds": 1,
    "prompts": 2,
    "new_tokens": 4,
}


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
    assert [term.met for term in proofs(found)] == [met]


def test_figures_of_the_clock_stay_out_of_the_reasons() -> None:
    slow = Term("latency_ratio", 1.0, 1.2345, 1.2345, met=False)
    large = Term("size_share", 0.25, 0.4, 0.4, met=False)
    told = candidates.verdict(Judgement((slow, large), ("latency 1.2345 …", "size_share 0.4 …")))
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
    for split in ("search", "calibration"):
        shards.write(folder / "splits" / split, rows)
    (folder / "evaluate.json").write_text(json.dumps({"dense_sha256": sha256_tree(folder / "dense")}))
    return folder


def run(project: Path, out: Path, recipes: dict[str, Any], limits: dict[str, Any], **values: Any) -> Any:
    cfg = CompressConfig.model_validate(VALUES | {"recipes": recipes} | values)
    contract = Contract.model_validate(limits)
    read = (project / "dense", project / "evaluate.json", project / "splits", {})
    wrote = [out / name for name in ("work/this", "candidates", "compressed", "artifacts")]
    return compress.run(cfg, contract, 17, *read, *wrote)


@pytest.mark.slow
def test_a_whole_run(project: Path, tmp_path: Path) -> None:
    """Every recipe; then again, from what was kept of those that did not fail; then up to the first that is small."""
    recipes = {"int8": INT8, "int4": INT4}
    measured = run(project, tmp_path, recipes, LIMITS | {"max_latency_ratio": 100})
    found = measured.metrics["candidates"]
    chosen = measured.metrics["chosen"]
    assert chosen == min(("int8", "int4"), key=lambda name: found[name]["bpb_loss_share"]["high"])
    for good in (found["int8"], found["int4"]):
        assert good["meets"] and good["changed_share"] > 0.9 and good["output_max_difference"] > 0
        assert 0 <= good["reload_kl_nats"] < 0.01
    assert found["int4"]["size_mb"] < found["int8"]["size_mb"]
    assert measured.speed["dense"]["latency_ms_p50"] > 0 and measured.speed["candidates"].keys() == {"int8", "int4"}
    page = (tmp_path / "compressed/README.md").read_text()
    size, label = r"| size\_share | 0.9 |", "| plant | 40 |"
    for told in (f"# {chosen} for onnxruntime", size, label, "| search split |", "1. rtn"):
        assert told in page, told
    assert "latency" not in page, "a page that a clock took part in would never be the same twice"
    assert size_mb(tmp_path / "compressed") == found[chosen]["size_mb"], "without that page"
    (tmp_path / "compressed/README.md").unlink()
    assert sha256_tree(tmp_path / "compressed") == sha256_tree(tmp_path / "candidates" / chosen)
    card = json.loads((tmp_path / "compressed/model.json").read_text())
    assert (card["loader"], card["family"]) == ("onnxruntime-genai", "causal_lm")
    assert card["dense_sha256"] == sha256_tree(project / "dense")

    (tmp_path / "candidates").rename(tmp_path / "before")
    shutil.rmtree(tmp_path / "compressed")
    recipes = {"int8": INT8, "int4": INT4, "dearer": INT4}
    between = (found["int8"]["size_share"] + found["int4"]["size_share"]) / 2
    again = run(project, tmp_path, recipes, LIMITS | {"max_size_share": between}, search="ladder")
    assert [(r["recipe"], r["taken"]) for r in again.metrics["ladder"]] == [
        ("int8", True),
        ("int4", True),
        ("dearer", False),
    ]
    assert "int8 does not keep the contract: size_share" in again.metrics["ladder"][1]["why"]
    assert again.metrics["ladder"][2]["why"] == "int4 keeps the contract"
    for name in ("int8", "int4"):
        assert sha256_tree(tmp_path / "candidates" / name) == sha256_tree(tmp_path / "before" / name)


@pytest.mark.slow
def test_low_ranks_are_low_in_the_artifact_too(project: Path, tmp_path: Path) -> None:
    layers = ["model.layers.*.mlp.*"]
    low = {"name": "svd_llm", "layers": layers, "parameter_share": 0.5, "damp": 0.01}
    halves = HEAD | {"layers": ["model.layers.*.down", "model.layers.*.up"], "block_size": 16}
    measured = run(project, tmp_path, {"low": [low], "low8": [low, halves]}, LIMITS)
    dense, found = models.card(project / "dense")["parameters"], measured.metrics["candidates"]
    for name, saved in (("low", 0), ("low8", 3 * 2 * 64 * 16 * 2)):  # three layers, two factors of rank 16
        left = models.card(tmp_path / "candidates" / name)["parameters"]
        assert left == dense - 3 * (64 * 64 - 2 * 64 * 16)
        weights = (tmp_path / "candidates" / name / "model.onnx.data").stat().st_size
        assert 0.95 < weights / (4 * left - saved) < 1.1, "with the tables of the rotary embedding"
        assert found[name]["reload_kl_nats"] < 0.01 and found[name]["size_share"] < 1


def test_what_cannot_be_is_refused_before_anything_is_exported(project: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"max_size_share: 0\.01 cannot be met"):
        run(project, tmp_path, {"int4": INT4}, LIMITS | {"max_size_share": 0.01})
    with pytest.raises(ValidationError, match="names a folder"):
        run(project, tmp_path, {"../int4": INT4}, LIMITS)
    with pytest.raises(ValidationError, match="null otherwise"):
        run(project, tmp_path, {"int4": INT4}, LIMITS, search="pareto")
    pruning = {"name": "magnitude"} | methods.load("compress", "magnitude").SAMPLE.model_dump()
    with pytest.raises(ConfigError, match=r"compress\.recipes\.int4: .*magnitude cannot come after rtn"):
        run(project, tmp_path, {"int4": [*INT4, pruning]}, LIMITS)
    with pytest.raises(ConfigError, match=r"named like 'no\.such\.layer'; there are lm_head"):
        run(project, tmp_path, {"int4": [HEAD | {"layers": ["no.such.layer"]}]}, LIMITS)
    training = {"name": "qat"} | methods.load("compress", "qat").SAMPLE.model_dump(mode="json")
    start = HEAD | {"layers": ["no.such.layer"]}
    with pytest.raises(ConfigError, match=r"named like 'no\.such\.layer'"):
        run(project, tmp_path, {"qat": [training | {"start": start}]}, LIMITS)
    with pytest.raises(ConfigError, match="max_kernel_distance_rise: expected null for a model of text"):
        run(project, tmp_path, {"int4": INT4}, LIMITS | {"max_kernel_distance_rise": 0.01})
    with pytest.raises(ConfigError, match=r"compress\.export: expected onnx_genai.*got gguf"):
        run(project, tmp_path, {"int4": INT4}, LIMITS, export={"name": "gguf", "rest": "f16", "tolerance": 0.1})
    with pytest.raises(ConfigError, match="calibration_tokens: expected a number"):
        run(project, tmp_path, {"int4": INT4}, LIMITS, calibration_tokens=None)
    assert list(tmp_path.iterdir()) == []


class Stumbling:
    """A compressor that fails after half of a folder, the first time it is asked."""

    def __init__(self, error: Exception) -> None:
        self.errors = [error]

    def key(self, recipe: Any) -> str:
        return "one"

    def write(self, recipe: Any, out: Path, kept: Path) -> Made:
        out.mkdir(parents=True)
        if self.errors:
            raise self.errors.pop()
        (out / "model.json").write_text("{}")
        return Made({"skipped": {}}, None)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NightforgeError("no room"), "no room"),
        (MemoryError("3 GB"), "it ran out of memory: 3 GB"),
        (
            RuntimeError("can't allocate memory: you tried\nto"),
            "it ran out of memory: can't allocate memory: you tried",
        ),
        (RuntimeError("memory_format channels_last only"), "RuntimeError: memory_format channels_last only"),
        (torch.linalg.LinAlgError("it did not converge"), "_LinAlgError: it did not converge"),
    ],
)
def test_a_failure_is_told_and_never_kept(error: Exception, told: str, tmp_path: Path) -> None:
    stumbling, out, work = Stumbling(error), tmp_path / "out", tmp_path / "work"
    first = candidates.attempt(stumbling, [], out, work, lambda _: None)  # type: ignore[arg-type, return-value]
    assert first.failed == f"NightforgeError: {told}" and not out.exists()
    second = candidates.attempt(stumbling, [], out, work, lambda _: None)  # type: ignore[arg-type, return-value]
    assert second.failed is None and second.made == Made({"skipped": {}}, None) and (out / "model.json").exists()


def test_a_search_exchanges_values_by_their_address() -> None:
    cfg = CompressConfig.model_validate(VALUES | {"recipes": {"int4": INT4}})
    recipe = explore.varied(cfg, "int4", {"int4.1.block_size": 128, "int4.1.symmetric": False})
    assert [(m.cfg.block_size, m.cfg.symmetric) for m in recipe] == [(64, True), (128, False)]
    for address in ("int4.2.bits", "int4.1.bit", "int4.x.bits", "int4.1"):
        with pytest.raises(ConfigError, match=r"the passes 0 rtn, 1 rtn"):
            explore.varied(cfg, "int4", {address: 8})
    with pytest.raises(ConfigError, match="there is no recipe 'int5'; there are int4"):
        explore.varied(cfg, "int5", {})
    with pytest.raises(ConfigError, match="bits"):
        explore.varied(cfg, "int4", {"int4.1.bits": 7})


@pytest.mark.slow
def test_a_search_reports_its_front(project: Path, tmp_path: Path) -> None:
    zeros = {"name": "magnitude"} | methods.load("compress", "magnitude").SAMPLE.model_dump()
    vary = {"int4.1.bits": [4, 8], "zeros.0.sparsity": [0.5, "2 of 4"], "zeros.0.scope": ["layer", "all"]}
    recipes, pareto = {"int4": INT4, "zeros": [zeros, *INT4]}, {"trials": 9, "vary": vary}
    measured = run(project, tmp_path, recipes, LIMITS, search="pareto", pareto=pareto)
    taken = [rung for rung in measured.metrics["ladder"] if rung["taken"]]
    (left,) = (rung for rung in measured.metrics["ladder"] if not rung["taken"])
    assert "sparsity 2 of 4, 0.scope all: " in left["why"] and "magnitude" in left["why"]
    assert set(measured.metrics["candidates"]) == {rung["recipe"] for rung in taken}
    assert len(taken) == len({rung["why"] for rung in taken}) == 5, "all that there is, each once, but what cannot be"
    assert set(measured.speed["front"]) <= set(measured.metrics["candidates"])


def test_another_model_than_the_gate_opened_for_is_refused(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project, tmp_path / "project")
    shutil.copy(tmp_path / "project/dense/config.json", tmp_path / "project/dense/extra.json")
    with pytest.raises(GateClosed, match=r"evaluate\.json measured one of sha256 .* lies there\. Run: dvc repro"):
        run(tmp_path / "project", tmp_path / "out", {"int4": INT4}, LIMITS)
    assert not (tmp_path / "out").exists()
