"""Captions: padding changes nothing, and of a model with a decoder the encoder reads."""

from pathlib import Path

import pytest
import torch

from nightforge import captions, models
from nightforge.errors import ConfigError
from tests import tiny_encoder


def test_a_caption_is_read_alike_alone_and_among_others(tmp_path: Path) -> None:
    encoder, words = models.read_transformers(tiny_encoder.lay(tmp_path), "AutoModel")
    together = captions.read(["the cat sat on the mat", "hello", "you are kind"], encoder, words, 8, at_once=2)
    alone = captions.read(["hello"], encoder, words, 8)
    assert together.states.shape == (3, 8, 32) and together.mask.sum(1).tolist() == [8, 3, 5]
    torch.testing.assert_close(together.states[1], alone.states[0], atol=1e-5, rtol=1e-4)
    with pytest.raises(ConfigError, match="at most the encoder's 16"):
        captions.read(["hello"], encoder, words, 17)


def test_the_encoder_of_a_model_that_also_decodes(tmp_path: Path) -> None:
    from transformers import T5Config, T5Model

    _, words = models.read_transformers(tiny_encoder.lay(tmp_path), "AutoModel")
    torch.manual_seed(0)
    model = T5Model(T5Config(vocab_size=len(words), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)).eval()
    found = captions.read(["the cat"], model, words, 4)
    ids = words("the cat", return_tensors="pt")["input_ids"]
    torch.testing.assert_close(found.states, model.encoder(input_ids=ids).last_hidden_state)
