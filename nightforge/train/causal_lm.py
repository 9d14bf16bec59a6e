"""A Llama-style causal transformer, from scratch: RMSNorm, rotary positions, SwiGLU, grouped-query attention.

Touvron et al. 2023 (LLaMA). The transformers class is used as it is, so that ONNX Runtime GenAI's model builder exports
the result unchanged.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from nightforge.config import Config as BaseConfig
from nightforge.errors import ConfigError
from nightforge.scoring import IGNORE
from nightforge.training import At

if TYPE_CHECKING:
    import torch


KIND = "text"


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
        return self


SAMPLE = Config(hidden=64, layers=2, heads=2, kv_heads=1, ffn=128, vocab=300, context=64, tied=True)


def build(cfg: Config, tokenizer: Any) -> Any:
    """A `LlamaForCausalLM` with random weights, drawn from torch's generator as the caller seeded it.

    Raises:
        ConfigError: the tokenizer has more tokens than `cfg.vocab`.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    if len(tokenizer) > cfg.vocab:
        raise ConfigError(f"expected at most vocab = {cfg.vocab} tokens, the tokenizer has {len(tokenizer)}.")
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=cfg.vocab,
            hidden_size=cfg.hidden,
            num_hidden_layers=cfg.layers,
            num_attention_heads=cfg.heads,
            num_key_value_heads=cfg.kv_heads,
            intermediate_size=cfg.ffn,
            max_position_embeddings=cfg.context,
            tie_word_embeddings=cfg.tied,
            initializer_range=cfg.hidden**-0.5,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.eos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def loss(
    model: Any, tensors: "Mapping[str, torch.Tensor]", cfg: Config, at: At
) -> "tuple[torch.Tensor, dict[str, float]]":
    """Σ nats of the learnt tokens of `ids` (rows, seq), padded on the right with IGNORE; `targets` is IGNORE elsewhere.

    A causal mask hides right padding from every real token, so no mask is passed.
    """
    from torch.nn import functional

    ids = tensors["ids"]
    targets = tensors["targets"][:, 1:]
    logits = model(input_ids=ids[:, :-1].clamp_min(0), use_cache=False).logits  # (rows, seq - 1, vocab)
    nats = functional.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORE, reduction="sum"
    )
    return nats, {}


def sample(
    model: Any, prompts: Sequence[Sequence[int]], new_tokens: int, temperature: float, top_p: float, seed: int
) -> list[list[int]]:
    """The tokens that follow each prompt, drawn with a seed; see nightforge.sampling."""
    from nightforge import sampling

    return sampling.sample(model, prompts, new_tokens, temperature, top_p, seed)
