"""Texts drawn from a causal model with a key-value cache, many at once, determined by the seed."""

from collections.abc import Sequence
from typing import Any

import torch


@torch.inference_mode()
def sample(
    model: Any, prompts: Sequence[Sequence[int]], new_tokens: int, temperature: float, top_p: float, seed: int
) -> list[list[int]]:
    """The tokens that follow each prompt, up to its end token or `new_tokens`.

    Nucleus sampling: Holtzman et al. 2020. The generator is the CPU's, so a seed means the same on every device.

    Args:
        model: a transformers causal LM in evaluation mode; its config names the end token.
        prompts: of token ids; shorter ones are padded on the left, and the padding is masked.
        new_tokens: at most; fewer where the model's context ends.
        temperature: divides the logits; above zero.
        top_p: probability of the likeliest tokens that may be drawn.
        seed: of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    end = model.config.eos_token_id
    width = max(map(len, prompts))
    ids = torch.tensor([[end] * (width - len(p)) + list(p) for p in prompts], device=model.device)  # (rows, seq)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=model.device)
    room = min(new_tokens, model.config.max_position_embeddings - width)
    open_, cache, drawn = torch.ones(len(ids), dtype=torch.bool), None, []
    for _ in range(room):
        places = (mask.cumsum(dim=1) - 1).clamp_min(0)[:, -ids.shape[1] :]  # (rows, seq), the padding not counted
        out = model(input_ids=ids, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True)
        cache, mask = out.past_key_values, torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        token = draw(out.logits[:, -1].float().cpu() / temperature, top_p, generator)  # (rows,)
        drawn.append(torch.where(open_, token, end))
        open_ = open_ & (token != end)
        if not open_.any():
            break
        ids = token[:, None].to(model.device)
    rows = torch.stack(drawn, dim=1).tolist() if drawn else [[] for _ in prompts]
    return [row[: row.index(end)] if end in row else row for row in rows]


def draw(logits: torch.Tensor, top_p: float, generator: torch.Generator) -> torch.Tensor:
    """One token a row from the nucleus of logits (rows, vocab): (rows,)."""
    p, order = logits.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    p = p.masked_fill(p.cumsum(dim=-1) - p >= top_p, 0.0)
    chosen = torch.multinomial(p, 1, generator=generator)
    return order.gather(1, chosen)[:, 0]
