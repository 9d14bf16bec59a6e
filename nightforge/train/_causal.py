"""The loss that every causal language model shares."""

from collections.abc import Mapping
from typing import Any

import torch

from nightforge.scoring import IGNORE


def loss(model: Any, tensors: Mapping[str, torch.Tensor], smoothing: float) -> tuple[torch.Tensor, dict[str, float]]:
    """Σ nats of the learnt tokens of `ids` (rows, seq), padded on the right with IGNORE; `targets` is IGNORE elsewhere.

    A causal mask hides right padding from every real token, so no mask is passed. Of packed rows, `positions` restart
    with each document, and transformers makes a mask in blocks of them, though only where it keeps no cache
    (nightforge.packing.check). With smoothing, so much of a target's probability is spread over the vocabulary
    (Szegedy et al. 2016, §7).
    """
    ids, targets = tensors["ids"], tensors["targets"][:, 1:]
    places = {"position_ids": tensors["positions"][:, :-1]} if "positions" in tensors else {}
    logits = model(input_ids=ids[:, :-1].clamp_min(0), use_cache=False, **places).logits  # (rows, seq - 1, vocab)
    nats = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(),
        targets.flatten(),
        ignore_index=IGNORE,
        reduction="sum",
        label_smoothing=smoothing,
    )
    return nats, {}
