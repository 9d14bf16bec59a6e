"""`nightforge tune`: a learning rate by the range test and a batch size by timing, for the project at hand."""

import time
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

from nightforge import loop, memory, methods, precision, tuning
from nightforge.batching import order
from nightforge.errors import ConfigError
from nightforge.training import At, NotFinite, Settings, Stepped, turns
from tasks import train
from tasks.estimate import opened
from tasks.prepared import Prepared, TrainConfig

LOOP = "train.loop"
STEPS, LOWEST, HIGHEST = 100, 1e-6, 0.99
"""Of the range test: how many steps, and learning rates of the first and the last."""
LEAST_PASSES, LEAST_S = 3, 1.0
"""Of each batch size: timed passes, after one that warms up, and seconds that they take together."""
SHARE = 0.8
"""Of the free memory that a larger batch may be expected to take."""
ROWS = 12
"""Lines of the printed curve."""


class Size(NamedTuple):
    """A micro-batch, tried."""

    batch_size: int
    units_per_s: float
    peak_bytes: int


def main(write: bool) -> int:
    """Print both tables and what to put into params.yaml; put it there if asked to."""
    project = opened()
    cfg, seed = project.cfg, project.seed
    torch.set_num_threads(cfg.loop.threads)
    torch.manual_seed(seed)
    prepared = train.prepare(cfg, seed, project.inputs)
    prepared.model.to(precision.device())
    rates, losses = range_test(cfg, seed, prepared)
    means = tuning.smoothed(losses)
    print("learning rate   smoothed loss")
    for i in range(0, len(rates), max(1, len(rates) // ROWS)):
        print(f"{rates[i]:>13.1e}   {means[i]:.4f}")
    found = tuning.find(rates, losses)
    print(f"falls fastest at {found.steepest:.1e}, lowest at {found.lowest:.1e}" if found else "the loss never fell")
    print("\nbatch_size      units/s   peak MB")
    tried = []
    for size in sizes(cfg, seed, prepared):
        tried.append(size)
        print(f"{size.batch_size:>10} {size.units_per_s:>12,.0f} {size.peak_bytes / 1e6:>9,.0f}")
    fastest = max(tried, key=lambda size: size.units_per_s).batch_size
    batch_size, accumulate = tuning.same_steps(cfg.loop.batch_size, cfg.loop.accumulate, fastest)
    lr = float(f"{found.suggested:.1e}") if found else cfg.loop.optimizer.cfg.lr  # type: ignore[attr-defined]
    print("\nThe steps as large as they were, and by this short test the learning rate to begin with:")
    values = {f"{LOOP}.optimizer.lr": lr, f"{LOOP}.batch_size": batch_size, f"{LOOP}.accumulate": accumulate}
    print("\n".join(f"{name}: {value}" for name, value in values.items()))
    if write:
        put(Path("params.yaml"), values)
        print("written to params.yaml")
    return 0


def range_test(cfg: TrainConfig, seed: int, prepared: Prepared) -> tuple[list[float], list[float]]:
    """Learning rates, and the loss of the step at each, until the loss runs away; the model is as before."""
    optimizer, rising = cfg.loop.optimizer, {"name": "range_test", "start": LOWEST / HIGHEST}
    top = methods.Method(
        optimizer.stage, optimizer.name, optimizer.module, optimizer.cfg.model_copy(update={"lr": HIGHEST})
    )
    changes = {"optimizer": top, "schedule": methods.choose("schedule", rising), "ema": None}
    often = {"steps": STEPS, "eval_every": STEPS + 1, "save_every": STEPS + 1}
    settings: Settings = cfg.loop.model_copy(update=changes | often)
    chosen = "fp32" if settings.precision == "auto" else settings.precision
    run = loop.start(deepcopy(prepared.model), turns(cfg.family), settings, seed, chosen)
    rates, losses = [], []
    events = loop.steps(run, prepared.data, lambda _: 0.0)
    try:
        for event in events:
            if isinstance(event, Stepped) and event.units:
                rates.append(event.lr)
                losses.append(event.loss)
                if len(rates) == STEPS or tuning.diverged(losses):
                    break
    except NotFinite:
        pass  # which is how a range test may end
    finally:
        events.close()  # type: ignore[attr-defined]  # a generator
    return rates, losses


def sizes(cfg: TrainConfig, seed: int, prepared: Prepared) -> Iterator[Size]:
    """Yield a `Size` for a quarter of the present batch size, twice that, and so on, while it pays and memory lasts."""
    device, family = precision.device(), turns(cfg.family)
    chosen = "fp32" if cfg.loop.precision == "auto" else cfg.loop.precision
    model, speeds = deepcopy(prepared.model).train(), list[float]()
    free = memory.free_bytes(device)
    size, begun = max(1, cfg.loop.batch_size // 4), memory.peak_bytes(device)
    while True:
        rows = next(order(prepared.data.sizes, size, seed))
        try:
            units_per_s = _timed(model, family, prepared.data.batch(rows).to(device), chosen)
        except (MemoryError, RuntimeError) as e:
            if not memory.lacked(e) or not speeds:
                raise
            return
        speeds.append(units_per_s)
        peak = memory.peak_bytes(device)
        yield Size(size, units_per_s, peak)
        if not tuning.goes_on(speeds) or len(rows) == len(prepared.data.sizes) or 2 * (peak - begun) > SHARE * free:
            return
        size *= 2


def _timed(model: Any, family: Any, batch: Any, chosen: str) -> float:
    """Units a second, forward and backward, the best of a few passes."""
    taken: list[float] = []
    while len(taken) <= LEAST_PASSES or sum(taken[1:]) < LEAST_S:
        begun = time.perf_counter()
        for turn in family:
            with precision.autocast(next(model.parameters()).device.type, chosen):
                value = turn.loss(model, batch.tensors, At(0, 1))[0]
            (value / batch.units).backward()
            value.item()  # waits for an accelerator
        model.zero_grad(set_to_none=True)
        taken.append(time.perf_counter() - begun)
    return float(batch.units / min(taken[1:]))


def put(path: Path, values: Mapping[str, float]) -> None:
    """Change values in a YAML file, each by the dotted path of its key, and leave all else to the byte as it is.

    Raises:
        ConfigError: the file has no such key, or another thing than a value there.
    """
    text = path.read_text(encoding="utf-8")
    spans = []
    for name, value in values.items():
        node: Any = yaml.compose(text)
        for key in name.split("."):
            held = {k.value: v for k, v in node.value} if isinstance(node, yaml.MappingNode) else {}
            node = held.get(key)
        if not isinstance(node, yaml.ScalarNode):
            raise ConfigError(f"{path}: expected a value at {name}, got none. Put {value} there by hand.")
        spans.append((node.start_mark.index, node.end_mark.index, str(value)))
    for begin, end, new in sorted(spans, reverse=True):
        text = text[:begin] + new + text[end:]
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
