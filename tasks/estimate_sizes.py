"""`nightforge estimate --sizes`: what a language model from scratch costs on this machine, by its size."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from nightforge import estimating, loop, memory, precision, tokenizer
from nightforge.corpus import Corpus, corpus
from nightforge.errors import ConfigError
from nightforge.scoring import TEXT, Encoded
from nightforge.training import Stepped, turns
from tasks.prepared import TrainConfig

SIZES = ((128, 4), (256, 6), (384, 8), (512, 12), (768, 12), (1024, 24), (2048, 24))
"""Width and number of blocks."""
HEAD, FFN_RATIO = 64, 3
"""Width of a head, and of the feed-forward layer ÷ that of the network."""
STEPS, LONGEST_S = 3, 30.0
"""Steps of each size, the first to warm up; and how long a step may take before the table ends."""
MOMENTS = 2
"""Numbers that an optimizer keeps a weight, at the most."""


def table(cfg: TrainConfig, seed: int) -> Iterator[str]:
    """Lines: a header, and a size each, until one would not fit or would take too long; `state` is what is held
    beside activations.

    Raises:
        ConfigError: the family is none of language models.
    """
    if not hasattr(cfg.family.cfg, "kv_heads"):
        raise ConfigError(f"estimate --sizes: expected train.family causal_lm, got {cfg.family.name}.")
    torch.set_num_threads(cfg.loop.threads)
    yield f"{'width × blocks':>14} {'parameters':>12} {'tokens/s':>10} {'state MB':>10}  20 tokens a parameter"
    took, before = 0.0, 1
    for hidden, layers in SIZES:
        model, data = _made(cfg, hidden, layers, seed)
        parameters = sum(p.numel() for p in model.parameters())
        needs = estimating.state_bytes(parameters, MOMENTS, cfg.loop.ema is not None)
        name = f"{hidden} × {layers}"
        if needs > memory.free_bytes(precision.device()) or took * parameters / before > LONGEST_S:
            why = f"memory is short, or a step would take over {LONGEST_S:.0f} s"
            yield f"{name:>14} {parameters:>12,}   not measured: {why}"
            return
        units_per_s, took = _speed(cfg, model, data, seed)
        before = parameters
        lasts = estimating.in_words(3600 * estimating.hours(parameters, units_per_s))
        yield f"{name:>14} {parameters:>12,} {units_per_s:>10,.0f} {needs / 1e6:>10,.0f}  {lasts}"


def _made(cfg: TrainConfig, hidden: int, layers: int, seed: int) -> tuple[Any, Corpus]:
    """A model of the family's kind, of that size, and rows of random tokens as long as its context allows."""
    heads = hidden // HEAD
    changes = {"hidden": hidden, "layers": layers, "heads": heads, "kv_heads": heads, "ffn": FFN_RATIO * hidden}
    shape: Any = cfg.family.cfg.model_copy(update=changes)
    words = tokenizer.train(["a"], [], shape.vocab, shape.context)
    torch.manual_seed(seed)
    model = cfg.family.module.build(shape, words).to(precision.device())
    length = min(shape.context, cfg.loop.batch_size)
    rows = max(1, cfg.loop.batch_size // length) * cfg.loop.accumulate
    ids = np.random.default_rng(seed).integers(len(words), size=(rows, length))
    return model, corpus((Encoded(row, [TEXT] * length) for row in ids.tolist()), length)


def _speed(cfg: TrainConfig, model: Any, data: Corpus, seed: int) -> tuple[float, float]:
    """Tokens a second, and seconds, of the fastest step."""
    chosen = "fp32" if cfg.loop.precision == "auto" else cfg.loop.precision
    settings = cfg.loop.model_copy(update={"steps": STEPS, "eval_every": STEPS, "save_every": STEPS})
    run = loop.start(model, turns(cfg.family), settings, seed, chosen)
    taken, before = [], time.perf_counter()
    for event in loop.steps(run, data, lambda _: 0.0):
        if isinstance(event, Stepped):
            taken.append((time.perf_counter() - before, event.units))
            before = time.perf_counter()
        if event.step == STEPS:
            break
    fastest = min(seconds for seconds, _ in taken[1:])
    return taken[-1][1] / fastest, fastest
