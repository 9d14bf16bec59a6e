"""A causal language model from scratch, of any config that transformers has.

`config` is what config.json would say: a model_type, and values that its class knows. What can be compressed afterwards
is in nightforge.models.ARCHITECTURES.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.errors import ConfigError
from nightforge.tokenizer import fits
from nightforge.training import At

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from nightforge.scoring import Encoded

KIND, CLASS = "text", "AutoModelForCausalLM"


class Config(BaseConfig):
    """The config of transformers, and what it does not hold."""

    config: dict[str, Any]
    """`model_type` and values of that type's config; those of the vocabulary and the context are filled in."""
    vocab: int = Field(ge=300, le=200_000)
    """Tokens of the BPE vocabulary, the 256 bytes and the special ones included."""
    context: int = Field(ge=16, le=131_072)
    """Longest sequence, in tokens."""
    label_smoothing: float = Field(ge=0, lt=1)
    """Probability that is spread over all tokens in the loss."""


SAMPLE = Config(
    config={"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0,
            "attn_pdrop": 0.0},
    vocab=300, context=64, label_smoothing=0.0,
)  # fmt: skip


def build(cfg: Config, tokenizer: Any) -> Any:
    """The network with random weights, as its class draws them from torch's generator.

    Raises:
        ConfigError: no such type, a value that it does not know, or more tokens than `cfg.vocab`.
    """
    from transformers import AutoModelForCausalLM
    from transformers.models.auto import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING

    fits(tokenizer, cfg.vocab)
    values = dict(cfg.config)
    kind = values.pop("model_type", None)
    if kind not in CONFIG_MAPPING or CONFIG_MAPPING[kind] not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ConfigError(
            f"train.family.config: expected the model_type of a causal language model of transformers, got {kind!r}. "
            "llama, qwen3 and gpt2 are some."
        )
    known = CONFIG_MAPPING[kind]()
    if unknown := sorted(key for key in values if not hasattr(known, key)):
        raise ConfigError(
            f"train.family.config: {kind} knows no {', '.join(unknown)}. Look into its class in transformers."
        )
    ends = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.eos_token_id}
    ends["eos_token_id"] = tokenizer.eos_token_id
    shape = {"vocab_size": cfg.vocab, "max_position_embeddings": cfg.context, **values, **ends}
    return AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**shape))


def loss(
    model: Any, tensors: "Mapping[str, torch.Tensor]", cfg: Config, at: At
) -> "tuple[torch.Tensor, dict[str, float]]":
    """Σ nats of the learnt tokens; see nightforge/train/_causal.py."""
    from nightforge.train import _causal

    return _causal.loss(model, tensors, cfg.label_smoothing)


def nats(model: Any, documents: "Sequence[Encoded]", batch_tokens: int, context: int) -> "NDArray[np.float64]":
    """Of what is scored of each document: (documents,); see nightforge.scoring."""
    from nightforge import models, scoring

    return scoring.document_nats(models.logits_fn(model), documents, batch_tokens, context)


def sample(
    model: Any, prompts: Sequence[Sequence[int]], new_tokens: int, temperature: float, top_p: float, seed: int
) -> list[list[int]]:
    """The tokens that follow each prompt, drawn with a seed; see nightforge.sampling."""
    from nightforge import sampling

    return sampling.sample(model, prompts, new_tokens, temperature, top_p, seed)
