"""A GGUF file comes back as the model that it was written from, splits text as it was trained, and can be saved."""

from pathlib import Path
from typing import Any

import pytest
import torch

from nightforge import gguf_models, models, tokenizer
from nightforge.errors import ConfigError
from nightforge.train import causal_lm
from tests import tiny_gguf

TEXTS = ["a tall tree  1984 of the tropics\n\n12 leaves", "  77\n\nit's one"]


@pytest.fixture(scope="module")
def words() -> Any:
    return tokenizer.train(TEXTS * 9, {"plant"}, 300, 64)


@pytest.fixture(scope="module")
def rounded(words: Any) -> Any:
    """A tiny Llama whose matrices are what Q8_0 can hold: blocks of 32 whole numbers from −127 to 127, ÷ 128."""
    torch.manual_seed(0)
    model = causal_lm.build(causal_lm.SAMPLE, words).eval()
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim == 2:
                blocks = torch.randint(-127, 128, (weights.numel() // 32, 32))
                blocks[:, 0] = 127
                weights.copy_((blocks / 128).reshape(weights.shape))
    return model


@pytest.fixture
def folder(rounded: Any, words: Any, tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    tiny_gguf.write(tmp_path / "base" / "tiny.gguf", rounded, words)
    return tmp_path / "base"


def test_weights_and_logits_are_those_that_were_written(folder: Path, rounded: Any) -> None:
    model, _ = models.read_transformers(folder)
    state = model.state_dict()
    for name, weights in rounded.state_dict().items():
        assert torch.equal(state[name], weights), name
    ids = torch.arange(20)[None]
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, rounded(input_ids=ids).logits)


def test_it_is_saved_and_trained_as_any_other(folder: Path, tmp_path: Path) -> None:
    model, words = models.read_transformers(folder)
    models.save(tmp_path / "saved", model, words, {"family": "causal_lm"})
    again, same = models.read_transformers(tmp_path / "saved")
    assert all(torch.equal(model.state_dict()[k], v) for k, v in again.state_dict().items())
    assert all(p.requires_grad and p.dtype == torch.float32 for p in model.parameters())
    assert (
        not getattr(model, "is_quantized", False) and "quantization" not in (tmp_path / "saved/config.json").read_text()
    )
    assert same.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False) == "<user>Hi"


@pytest.mark.parametrize(("split", "pieces"), [("smollm", ["ĊĊ", "1", "2"]), ("gpt-2", ["Ċ", "Ċ", "12"])])
def test_text_is_split_as_the_file_says(
    split: str, pieces: list[str], rounded: Any, words: Any, tmp_path: Path
) -> None:
    """Before a digit stand both line ends as one word, where digits are words by themselves."""
    tiny_gguf.write(tmp_path / "tiny.gguf", rounded, words, split=split)
    read = gguf_models.read(tmp_path / "tiny.gguf")[1]
    got = read.backend_tokenizer.pre_tokenizer.pre_tokenize_str("\n\n12")
    assert [piece for piece, _ in got] == pieces
    assert all(read.decode(read(text)["input_ids"]) == text for text in TEXTS)


def test_an_unknown_split_is_refused(rounded: Any, words: Any, tmp_path: Path) -> None:
    tiny_gguf.write(tmp_path / "tiny.gguf", rounded, words, split="of-tomorrow")
    with pytest.raises(ConfigError, match=r"tokenizer\.ggml\.pre.*smollm.*got 'of-tomorrow'"):
        models.read_transformers(tmp_path)


def test_what_cannot_be_compressed_or_read_is_refused(folder: Path, tmp_path: Path) -> None:
    models.check_architecture(folder)
    (folder / "tiny.gguf").write_bytes(b"GGUF and no more")
    with pytest.raises(ConfigError, match=r"tiny\.gguf: expected a GGUF file"):
        models.check_architecture(folder)
    (folder / "other.gguf").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"expected one \*\.gguf, found other\.gguf, tiny\.gguf"):
        models.read_transformers(folder)
