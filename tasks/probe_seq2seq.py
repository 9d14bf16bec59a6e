"""Greedy generation by the graphs of an encoder-decoder, with a cache, under a clock; tasks/probe.py runs it."""

import time
from collections.abc import Sequence
from pathlib import Path

from nightforge import seq2seq_models

UNIT = "tokens"


def measure(model: Path, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[float]:
    """Seconds of every generated token after a response's first, over all prompts; the first prompt warms up.

    Args:
        model: a folder that nightforge.seq2seq_models loads.
        prompts: token ids.
        new_tokens: tokens to generate for each prompt; the end token does not stop it.
    """
    loaded = seq2seq_models.load(model).model

    def seconds(prompt: Sequence[int]) -> list[float]:
        response = seq2seq_models.respond(loaded, prompt, lambda logits: logits.argmax(dim=-1))
        taken = []
        for _ in range(new_tokens):
            begun = time.perf_counter()
            next(response)
            taken.append(time.perf_counter() - begun)
        return taken[1:]

    return [s for prompt in prompts for s in seconds(prompt)][new_tokens - 1 :]
