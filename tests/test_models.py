"""A model folder comes back as it was written, and anything else is refused with the way out."""

import json
from pathlib import Path

import pytest
import torch

from nightforge import models, tokenizer
from nightforge.errors import AssetMissing, DataError
from nightforge.train import causal_lm

WORDS = tokenizer.train(["a tall tree of the tropics"], {"plant"}, 280, 64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    models.save(tmp_path / "m", causal_lm.build(causal_lm.SAMPLE, WORDS), WORDS, {"family": "causal_lm"})
    return tmp_path / "m"


def test_what_is_saved_is_what_is_loaded(folder: Path) -> None:
    torch.manual_seed(0)
    built = causal_lm.build(causal_lm.SAMPLE, WORDS)
    loaded = models.load(folder)
    assert not loaded.model.training
    state = loaded.model.state_dict()
    assert all(torch.equal(state[k], v) for k, v in built.state_dict().items())
    assert loaded.card["parameters"] == sum(p.numel() for p in built.parameters())
    assert (loaded.card["family"], loaded.card["dtype"], loaded.context) == ("causal_lm", "float32", 64)


def test_saved_twice_is_the_same_to_the_byte(folder: Path, tmp_path: Path) -> None:
    loaded = models.load(folder)
    models.save(tmp_path / "again", loaded.model, loaded.tokenizer, {"family": "causal_lm"})
    for file in ("model.safetensors", "tokenizer.json", "model.json", "config.json"):
        assert (folder / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


def test_another_tokenizer_is_refused(folder: Path) -> None:
    changed = json.loads((folder / "tokenizer.json").read_text())
    changed["truncation"] = None
    (folder / "tokenizer.json").write_text(json.dumps(changed))
    with pytest.raises(DataError, match="expected sha256"):
        models.load(folder)


def test_pickled_weights_and_empty_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(AssetMissing, match=r"model\.json"):
        models.load(tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(AssetMissing, match="safetensors"):
        models.load(folder)


def test_another_loader_is_refused(folder: Path) -> None:
    card = models.card(folder) | {"loader": "onnxruntime-genai"}
    (folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(DataError, match="expected loader 'transformers'"):
        models.load(folder)
