"""Captions as a network sees them: the last layer of a local text encoder of transformers."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from nightforge.errors import ConfigError


class Captions(NamedTuple):
    """Texts as an encoder reads them."""

    states: torch.Tensor
    """(rows, tokens, width)"""
    mask: torch.Tensor
    """(rows, tokens): whether there is a token."""


@torch.inference_mode()
def read(texts: Sequence[str], encoder: Any, tokenizer: Any, tokens: int, at_once: int = 64) -> Captions:
    """What an encoder makes of texts, the first so many tokens of each.

    Args:
        texts: any number above zero.
        encoder: of `models.read_transformers(folder, "AutoModel")`; of a model with a decoder its encoder is taken.
        tokenizer: of the same folder.
        tokens: of each; what is not there is masked.
        at_once: texts.

    Raises:
        ConfigError: the encoder has fewer positions.
    """
    positions = min(tokenizer.model_max_length, getattr(encoder.config, "max_position_embeddings", tokens))
    if tokens > positions:
        raise ConfigError(f"train.family.text_tokens: expected at most the encoder's {positions}, got {tokens}.")
    network = encoder.get_encoder() if encoder.config.is_encoder_decoder else encoder
    network.eval()
    parts = []
    for begin in range(0, len(texts), at_once):
        chosen = list(texts[begin : begin + at_once])
        found = tokenizer(chosen, truncation=True, max_length=tokens, padding="max_length", return_tensors="pt")
        mask = found["attention_mask"]
        states = network(input_ids=found["input_ids"], attention_mask=mask).last_hidden_state
        parts.append(Captions(states.float() * mask[:, :, None], mask.bool()))
    return Captions(torch.cat([part.states for part in parts]), torch.cat([part.mask for part in parts]))
