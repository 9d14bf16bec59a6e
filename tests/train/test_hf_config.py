"""Any config of transformers: filled in, checked, and refused where it would silently be another."""

from typing import Any

import pytest

from nightforge import tokenizer
from nightforge.errors import ConfigError
from nightforge.train import hf_config

WORDS = tokenizer.train(["a tall tree of the tropics"], {"plant"}, 280, 32)


def test_values_are_taken_and_the_vocabulary_filled_in() -> None:
    model = hf_config.build(hf_config.SAMPLE, WORDS)
    config = model.config
    assert (type(model).__name__, config.n_embd, config.vocab_size) == ("GPT2LMHeadModel", 32, 300)
    assert (config.max_position_embeddings, config.eos_token_id, config.pad_token_id) == (64, 1, 0)
    assert model.transformer.wpe.num_embeddings == 64, "learnt positions"


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"model_type": "gpt2", "n_embedd": 32}, "gpt2 knows no n_embedd"),
        ({"model_type": "gpt22"}, "expected the model_type of a causal language model.*'gpt22'"),
        ({"model_type": "t5"}, "got 't5'"),
        ({}, "got None"),
    ],
)
def test_what_transformers_does_not_know_is_refused(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        hf_config.build(hf_config.SAMPLE.model_copy(update={"config": values}), WORDS)


def test_the_tokenizer_must_fit() -> None:
    tight = hf_config.SAMPLE.model_copy(update={"vocab": len(WORDS) - 1})
    with pytest.raises(ConfigError, match=f"at most vocab = {len(WORDS) - 1}"):
        hf_config.build(tight, WORDS)
