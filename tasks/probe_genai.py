"""Greedy generation by ONNX Runtime GenAI (Generator API of 0.18) under a clock; tasks/probe.py runs it."""

import time
from collections.abc import Sequence
from pathlib import Path

UNIT = "tokens"


def measure(model: Path, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[float]:
    """Seconds of every generated token after a prompt's first, over all prompts; the first prompt warms up.

    Args:
        model: a folder with genai_config.json.
        prompts: token ids.
        new_tokens: tokens to generate for each prompt; the end token does not stop it.
    """
    import onnxruntime_genai as og

    runtime = og.Model(str(model))
    seconds: list[float] = []
    for i, prompt in enumerate(prompts):
        length = len(prompt) + new_tokens
        params = og.GeneratorParams(runtime)
        params.set_search_options(do_sample=False, min_length=length, max_length=length)
        generator = og.Generator(runtime, params)
        generator.append_tokens([list(prompt)])
        taken = []
        while not generator.is_done():
            start = time.perf_counter()
            generator.generate_next_token()
            taken.append(time.perf_counter() - start)
        seconds += taken[1:] if i else []
    return seconds
