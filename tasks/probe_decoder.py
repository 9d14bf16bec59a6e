"""Greedy generation by a graph of tokens and their past (OpenVINO, torch.export), under a clock, for tasks/probe.py."""

import time
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path

from nightforge import methods, models
from nightforge.export import _decoder
from tasks.score import EXPORTERS

UNIT = "tokens"


def measure(model: Path, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[float]:
    """Seconds of every generated token after a prompt's first, over all prompts; the first prompt warms up.

    Args:
        model: a folder whose exporter has `stepping`.
        prompts: token ids.
        new_tokens: tokens to generate for each prompt; the end token does not stop it.
    """
    step = methods.load("export", EXPORTERS[models.card(model)["loader"]]).stepping(model)
    seconds: list[float] = []
    for i, prompt in enumerate(prompts):
        times = [time.perf_counter()]
        for _ in islice(_decoder.greedy(step, _decoder.empty(model, 1), prompt), new_tokens):
            times.append(time.perf_counter())
        taken = [after - before for before, after in pairwise(times)]
        seconds += taken[1:] if i else []
    return seconds
