"""Generation of images and sounds, one after the other, under a clock; tasks/probe.py runs it."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from nightforge import graphs

UNIT = "samples"


def measure(model: Path, prompts: Sequence[Sequence[int]], each: int) -> list[float]:
    """Seconds of every sample; what is made for the first prompt warms up.

    By torch it is made on as many threads as suit it best: one or all, whichever is faster on the first prompt.

    Args:
        model: a folder that nightforge.graphs loads.
        prompts: the number of a label each.
        each: samples of each.
    """
    loaded = graphs.load(model)
    family = loaded.family

    def seconds(prompt: Sequence[int]) -> list[float]:
        taken = []
        for seed in range(each):
            begun = time.perf_counter()
            family.module.sample(loaded.model, family.cfg, torch.tensor(prompt), seed)
            taken.append(time.perf_counter() - begun)
        return taken

    with torch.inference_mode():
        trials: dict[int, float] = {}
        for threads in (torch.get_num_threads(), 1):
            torch.set_num_threads(threads)
            seconds(prompts[0])
            trials[threads] = sum(seconds(prompts[0]))
        torch.set_num_threads(min(trials, key=trials.__getitem__))
        return [s for prompt in prompts[1:] for s in seconds(prompt)]
