"""Embeddings: near for texts that share words, the same in any batch, small when packed, and a real encoder's mean."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from nightforge import models
from nightforge.embeddings import DIMS, Embedding, embed, pack, unit
from nightforge.errors import AssetMissing, ConfigError
from tests import tiny_encoder

WORDS = Embedding(encoder=None, batch_texts=4)
ENCODER = Embedding(encoder="tiny", batch_texts=2)


def test_by_hand() -> None:
    def signs(word: str) -> np.ndarray:
        number = int.from_bytes(xxhash.xxh3_128_digest(word.encode()), "big")
        return np.array([1.0 if number >> (127 - i) & 1 else -1.0 for i in range(128)])

    # "oak" twice: 3 letters times 1 + ln 2; "extraordinary": 8 letters at most
    want = 3 * (1 + np.log(2)) * signs("oak") + 8 * signs("extraordinary")
    got = embed(["Oak, extraordinary oak!"], WORDS)[0]
    np.testing.assert_allclose(got, want / np.linalg.norm(want), atol=1e-3)


def test_texts_that_share_words_are_near() -> None:
    texts = [
        "a tall evergreen tree of the northern mountains with hard timber",
        "tall evergreen trees with hard timber, of the northern mountains",
        "a soup of beans and bacon eaten hot in the winter",
    ]
    points = embed(texts, WORDS)
    assert points.shape == (3, DIMS) and points.dtype == np.float32
    near, far = points[0] @ points[1], points[0] @ points[2]
    assert near > 0.8 and abs(far) < 0.35


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=5))
def test_a_text_alone_is_as_in_any_batch_and_of_length_one_or_zero(texts: list[str]) -> None:
    together = embed(texts, WORDS)
    for text, point in zip(texts, together, strict=True):
        np.testing.assert_array_equal(embed([text], WORDS)[0], point)
        assert np.linalg.norm(point) == pytest.approx(1, abs=1e-5) or not point.any()


def test_packed_cosines_hold() -> None:
    points = unit(np.random.default_rng(0).standard_normal((200, DIMS)).astype(np.float32))
    points[1] = unit(points[:1] + 0.3 * points[1:2])
    packed = pack(points)
    assert packed.dtype == np.int8 and packed.nbytes == 200 * DIMS
    again = unit(packed.astype(np.float32))
    np.testing.assert_allclose(again @ again.T, points @ points.T, atol=0.01)
    assert not pack(np.zeros((1, DIMS), np.float32)).any()


def test_nothing_in_nothing_out(tmp_path: Path) -> None:
    tiny_encoder.lay(tmp_path / "tiny")
    assert embed([], WORDS).shape == embed([], ENCODER, tmp_path).shape == (0, DIMS)


def test_an_encoder_is_the_mean_over_real_tokens_and_padding_changes_nothing(tmp_path: Path) -> None:
    tiny_encoder.lay(tmp_path / "tiny")
    texts = ["the cat sat on the mat", "hello", "you are so kind and so vile " * 5, ""]
    got = embed(texts, ENCODER, tmp_path)
    for text, point in zip(texts, got, strict=True):
        np.testing.assert_allclose(embed([text], ENCODER, tmp_path)[0], point, atol=1e-5)
    model, tokenizer = models.read_transformers(tmp_path / "tiny", "AutoModel")
    with torch.inference_mode():
        last = model.eval()(**tokenizer("hello", return_tensors="pt")).last_hidden_state
    projection = np.random.default_rng(DIMS).standard_normal((32, DIMS)) / DIMS**0.5
    np.testing.assert_allclose(got[1], unit((last[0].mean(0).numpy() @ projection)[None])[0], atol=1e-5)


def test_an_encoder_that_cannot_pad_is_refused(tmp_path: Path) -> None:
    folder = tiny_encoder.lay(tmp_path / "encoder")
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != "pad_token"}))
    with pytest.raises(ConfigError, match="expected a tokenizer with a pad_token"):
        embed(["a cat", "the cat sat"], Embedding(encoder="encoder", batch_texts=2), tmp_path)


def test_a_missing_encoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssetMissing, match=r"tiny: expected a Hugging Face folder(.*\n)+.*name: tiny"):
        embed(["x"], ENCODER, tmp_path)
    with pytest.raises(ConfigError, match="no assets here"):
        embed(["x"], ENCODER)
