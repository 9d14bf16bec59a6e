"""Greedy generation by llama.cpp, through llama-cpp-python, under a clock; tasks/probe.py runs it."""

import os
import time
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from nightforge.errors import AssetMissing
from nightforge.export import gguf

UNIT = "tokens"


def measure(model: Path, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[float]:
    """Seconds of every generated token after a prompt's first, over all prompts; the first prompt warms up.

    On as many threads as suit it best: one or all, whichever is faster on the first prompt.

    Args:
        model: a folder with a GGUF file.
        prompts: token ids.
        new_tokens: tokens to generate for each prompt; the end token does not stop it.

    Raises:
        AssetMissing: the package is not installed.
    """
    if find_spec("llama_cpp") is None:
        raise AssetMissing("expected the package llama-cpp-python, found none: pip install 'nightforge[llama-cpp]'")
    from llama_cpp import Llama

    most = max(map(len, prompts)) + new_tokens
    trials: dict[float, Any] = {}
    for threads in {os.cpu_count() or 1, 1}:
        runtime = Llama(str(model / gguf.FILE), n_ctx=most, n_threads=threads, verbose=False)
        _generate(runtime, prompts[0], new_tokens)
        trials[sum(_generate(runtime, prompts[0], new_tokens))] = runtime
    fastest = trials[min(trials)]
    return [s for prompt in prompts[1:] for s in _generate(fastest, prompt, new_tokens)]


def _generate(runtime: Any, prompt: Sequence[int], new_tokens: int) -> list[float]:
    times = []
    for _ in islice(runtime.generate(list(prompt), top_k=1, temp=0.0, repeat_penalty=1.0, reset=True), new_tokens):
        times.append(time.perf_counter())
    return [after - before for before, after in pairwise(times)]
