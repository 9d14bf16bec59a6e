"""Greedy generation by torch with a key-value cache, under a clock; tasks/probe.py runs it."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from nightforge import models

UNIT = "tokens"


def measure(model: Path, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[float]:
    """Seconds of every generated token after a prompt's first, over all prompts; the first prompt warms up.

    A bare loop over the model, without the overhead of `generate`, on as many threads as suit it best: one or all,
    whichever is faster on the first prompt.

    Args:
        model: a folder that transformers loads.
        prompts: token ids.
        new_tokens: tokens to generate for each prompt; the end token does not stop it.
    """
    loaded = models.load(model).model
    trials: dict[int, float] = {}
    for threads in (torch.get_num_threads(), 1):
        torch.set_num_threads(threads)
        _generate(loaded, prompts[0], new_tokens)
        trials[threads] = sum(_generate(loaded, prompts[0], new_tokens))
    torch.set_num_threads(min(trials, key=trials.__getitem__))
    return [s for prompt in prompts[1:] for s in _generate(loaded, prompt, new_tokens)]


@torch.inference_mode()
def _generate(model: Any, prompt: Sequence[int], new_tokens: int) -> list[float]:
    ids, cache, seconds = torch.tensor([list(prompt)]), None, []
    name, given = "input_ids", {}
    if model.config.is_encoder_decoder:
        name, given = "decoder_input_ids", {"encoder_outputs": model.get_encoder()(input_ids=ids)}
        ids = torch.tensor([[model.config.decoder_start_token_id]])
    for _ in range(new_tokens):
        begun = time.perf_counter()
        out = model(**{name: ids}, **given, past_key_values=cache, use_cache=True)
        ids, cache = out.logits[:, -1:].argmax(dim=-1), out.past_key_values
        seconds.append(time.perf_counter() - begun)
    return seconds[1:]
