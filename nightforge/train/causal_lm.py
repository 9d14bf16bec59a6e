"""A causal transformer from scratch: by default Llama's (RMSNorm, rotary positions, SwiGLU, grouped-query attention).

Touvron et al. 2023 (LLaMA). What is chosen decides which class of transformers it is, and that class is used as it is,
so that ONNX Runtime GenAI's model builder exports the result unchanged. Normalisation stands before each layer in all.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from nightforge.config import Config as BaseConfig
from nightforge.tokenizer import fits
from nightforge.training import At

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from nightforge.scoring import Encoded


KIND, CLASS = "text", "AutoModelForCausalLM"


class Config(BaseConfig):
    """The shape of the network."""

    hidden: int = Field(ge=32, le=16_384, multiple_of=32)
    """Width of the residual stream; a multiple of 32, the block of int4 quantization."""
    layers: int = Field(ge=1, le=200)
    """Transformer blocks."""
    heads: int = Field(ge=1, le=256)
    """Query heads; must divide `hidden`."""
    kv_heads: int = Field(ge=1, le=256)
    """Key and value heads; must divide `heads`."""
    ffn: int = Field(ge=32, le=65_536, multiple_of=32)
    """Width of the feed-forward layer."""
    norm: Literal["rms", "layer"]
    """RMSNorm, or LayerNorm with biases and a feed-forward layer without a gate (StarCoder2; cannot be compressed)."""
    qk_norm: bool
    """Whether queries and keys are normalised, which keeps attention's logits in bounds (Qwen3)."""
    window: int | None = Field(ge=1)
    """Tokens that a token sees, itself included (Mistral's sliding window); null sees all before it."""
    rope_theta: float | None = Field(gt=0)
    """Base of the rotary positions' angles; null has no positions but what the causal mask tells (SmolLM3's NoPE)."""
    activation: Literal["silu", "gelu", "relu"]
    """Of the feed-forward layer."""
    dropout: float = Field(ge=0, lt=1)
    """Share of attention weights that are dropped in training; these classes drop nothing else."""
    label_smoothing: float = Field(ge=0, lt=1)
    """Probability that is spread over all tokens in the loss; a starting model is trained with it too."""
    vocab: int = Field(ge=300, le=200_000)
    """Tokens of the BPE vocabulary, the 256 bytes and the special ones included."""
    context: int = Field(ge=16, le=131_072)
    """Longest sequence, in tokens."""
    tied: bool
    """Whether the output layer shares the weights of the embedding."""

    @model_validator(mode="after")
    def _divisible(self) -> "Config":
        if self.hidden % self.heads or (self.hidden // self.heads) % 2 or self.heads % self.kv_heads:
            raise ValueError(
                f"hidden ({self.hidden}) must be an even multiple of heads ({self.heads}), "
                f"and heads a multiple of kv_heads ({self.kv_heads})"
            )
        if [self.norm == "layer", self.qk_norm, self.rope_theta is None].count(True) > 1:
            raise ValueError("no network of transformers has two of norm: layer, qk_norm: true and rope_theta: null")
        return self


SAMPLE = Config(
    hidden=64, layers=2, heads=2, kv_heads=1, ffn=128, norm="rms", qk_norm=False, window=None, rope_theta=10_000,
    activation="silu", dropout=0, label_smoothing=0, vocab=300, context=64, tied=True,
)  # fmt: skip


def build(cfg: Config, tokenizer: Any) -> Any:
    """A model of transformers with random weights, drawn from torch's generator as the caller seeded it.

    Raises:
        ConfigError: the tokenizer has more tokens than `cfg.vocab`.
    """
    from transformers import AutoModelForCausalLM

    fits(tokenizer, cfg.vocab)
    shape = {
        "vocab_size": cfg.vocab,
        "hidden_size": cfg.hidden,
        "num_hidden_layers": cfg.layers,
        "num_attention_heads": cfg.heads,
        "num_key_value_heads": cfg.kv_heads,
        "intermediate_size": cfg.ffn,
        "hidden_act": cfg.activation,
        "attention_dropout": cfg.dropout,
        "max_position_embeddings": cfg.context,
        "tie_word_embeddings": cfg.tied,
        "initializer_range": cfg.hidden**-0.5,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.eos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    if cfg.rope_theta is not None:
        shape["rope_parameters"] = {"rope_type": "default", "rope_theta": cfg.rope_theta}
    return AutoModelForCausalLM.from_config(_class(cfg)(**shape, **_special(cfg)))


def _class(cfg: Config) -> Any:
    """The config class of the network."""
    import transformers

    if cfg.norm == "layer":
        return transformers.Starcoder2Config
    if cfg.qk_norm:
        return transformers.Qwen3Config
    if cfg.rope_theta is None:
        return transformers.SmolLM3Config
    return transformers.LlamaConfig if cfg.window is None else transformers.MistralConfig


def _special(cfg: Config) -> dict[str, Any]:
    """What only this class calls so."""
    if cfg.norm == "layer":
        return {"sliding_window": cfg.window, "residual_dropout": 0.0, "embedding_dropout": 0.0}
    window = {"use_sliding_window": cfg.window is not None, "sliding_window": cfg.window}
    if cfg.qk_norm:
        return {**window, "max_window_layers": 0, "head_dim": cfg.hidden // cfg.heads}
    if cfg.rope_theta is None:
        return {**window, "no_rope_layers": [0] * cfg.layers}
    return {} if cfg.window is None else {"sliding_window": cfg.window}


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
