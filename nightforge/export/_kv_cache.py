"""Scales of a cache of keys and values in integers, one for each channel, as GroupQueryAttention reads them.

A few channels of the keys are large for all tokens (Liu et al. 2024, *KIVI*, §3.2): one scale for all would lose the
others.
"""

from collections.abc import Sequence
from typing import Any

import torch

from nightforge.blocks import Rows


@torch.inference_mode()
def scales(model: Any, rows: Sequence[Rows], bits: int) -> dict[str, Any]:
    """What the model builder reads from `kv_cache_scale_file`: the largest magnitude that was seen is the last integer.

    Args:
        model: a causal language model of transformers.
        rows: what it is calibrated on.
        bits: of an integer.
    """
    largest: dict[tuple[str, int], torch.Tensor] = {}
    for ids, mask in rows:
        cache = model(input_ids=ids, use_cache=True).past_key_values
        for at, layer in enumerate(cache.layers):
            for kind, held in (("k", layer.keys), ("v", layer.values)):  # (rows, heads, seq, size)
                seen = (held.abs() * mask[:, None, :, None]).amax((0, 2)).flatten()
                largest[kind, at] = torch.maximum(largest.get((kind, at), seen), seen)
    steps = 2 ** (bits - 1) - 1
    count = len(largest) // 2
    found = {
        f"{kind}_scales": [(largest[kind, at].clamp_min(1e-6) / steps).tolist() for at in range(count)] for kind in "kv"
    }
    return {"scales": found}
