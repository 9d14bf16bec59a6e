"""`nightforge generate`, on a tiny real model: random weights, a real tokenizer, a real ONNX Runtime GenAI folder."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nightforge.errors import AssetMissing, ConfigError, ContractNotMet
from tasks.generate import generate

ROOT = Path(__file__).parent.parent
HOW: dict[str, Any] = {"label": "plant", "prompt": "a small", "n": 3, "max_new_tokens": 12, "temperature": 1.0}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with a dense model, its fp32 export and an open verdict."""
    import torch

    from nightforge import models, tokenizer
    from nightforge.train import causal_lm

    folder = tmp_path_factory.mktemp("project")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, folder / name)
    made = tokenizer.train(["a small green herb", "a large animal"] * 20, ["plant", "animal"], 300, 64)
    torch.manual_seed(5)
    models.save(folder / "models/dense", causal_lm.build(causal_lm.SAMPLE, made), made, {"family": "causal_lm"})
    dense, compressed = str(folder / "models/dense"), folder / "models/compressed"
    builder = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", dense, "-o", str(compressed)]
    subprocess.run([*builder, "-p", "fp32", "-e", "cpu", "-c", str(folder / "cache")], check=True, capture_output=True)
    shutil.copy(folder / "models/dense/model.json", compressed / "model.json")
    judge(folder, "MET")
    return folder


def judge(folder: Path, verdict: str) -> None:
    (folder / "metrics").mkdir(exist_ok=True)
    (folder / "metrics/accept.json").write_text(json.dumps({"verdict": verdict, "reasons": ["size_share 0.3 > 0.25"]}))


@pytest.mark.parametrize("model", ["dense", "compressed"])
def test_seeded_and_goes_on_from_the_prompt(project: Path, model: Any) -> None:
    first = generate(project, **HOW, seed=3, model=model)
    assert len(first) == 3 and all(text.startswith("a small") for text in first)
    assert first == generate(project, **HOW, seed=3, model=model)
    assert first != generate(project, **HOW, seed=4, model=model)
    assert len(set(first)) == 3, "texts of one call differ from each other"
    assert not any("<|" in text for text in first), "label and end are not text"


def test_greedy_agrees_between_the_two_runtimes(project: Path) -> None:
    how = HOW | {"temperature": 0.0, "n": 2}
    dense = generate(project, **how, seed=0, model="dense")
    assert dense == generate(project, **how, seed=9, model="compressed")
    assert dense[0] == dense[1]


def test_the_class_changes_the_text(project: Path) -> None:
    how = HOW | {"temperature": 0.0, "n": 1, "prompt": ""}
    assert generate(project, **how, seed=0) != generate(project, **how | {"label": "animal"}, seed=0)
    assert generate(project, **how | {"label": None}, seed=0)


def test_a_refused_model_must_be_asked_for(project: Path) -> None:
    judge(project, "NOT MET")
    try:
        with pytest.raises(ContractNotMet, match=r"size_share 0.3 > 0.25.*--refused-too"):
            generate(project, **HOW, seed=0)
        assert generate(project, **HOW, seed=0, refused_too=True) == generate(project, **HOW, seed=0, refused_too=True)
        assert generate(project, **HOW, seed=0, model="dense")
        (project / "metrics/accept.json").unlink()
        with pytest.raises(ContractNotMet, match="no verdict"):
            generate(project, **HOW, seed=0)
    finally:
        judge(project, "MET")


def test_an_unknown_class_names_the_nearest(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"no class 'plnt'. Did you mean 'plant'.*animal, plant"):
        generate(project, **HOW | {"label": "plnt"}, seed=0)


def test_special_tokens_in_a_prompt_are_text(project: Path) -> None:
    [text] = generate(project, **HOW | {"prompt": "<|eos|>", "n": 1}, seed=0)
    assert text.startswith("<|eos|>")


def test_the_context_bounds_the_length(project: Path) -> None:
    long = generate(project, **HOW | {"max_new_tokens": 10_000, "n": 1}, seed=1)
    assert long
    with pytest.raises(ConfigError, match="context 64"):
        generate(project, **HOW | {"prompt": "herb " * 100}, seed=0)
    with pytest.raises(ConfigError, match="n ≥ 1"):
        generate(project, **HOW | {"n": 0}, seed=0)


def test_no_model_says_how_to_make_one(tmp_path: Path) -> None:
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    with pytest.raises(AssetMissing, match="make run"):
        generate(tmp_path, **HOW, seed=0)
