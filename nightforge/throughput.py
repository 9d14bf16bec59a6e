"""How fast a run is, as plain figures: units a second, the share of the machine's arithmetic, where the time goes.

MFU (model FLOPs utilisation, Chowdhery et al. 2022, PaLM, appendix B): the arithmetic that a step must do, each second,
over what the machine can. Both are measured, so it holds for every family and every machine: the operations of one
micro-batch, forward and backward, are counted as torch calls them, and the peak is the fastest of a few products of two
square matrices in the type that the run computes in.
"""

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from nightforge.batching import Batch
from nightforge.precision import TYPES, autocast
from nightforge.training import At, Timed, Turn

PARTS = ("data", "forward", "backward", "optimizer", "communication", "saving", "driver")
PEAK_SIDE = {"cpu": 1024, "cuda": 8192, "mps": 4096}
"""Rows of the matrices whose product shows the peak: large enough that arithmetic is all that counts."""
PEAK_TRIES = 6


class Work(NamedTuple):
    """What the speed of a run is held against."""

    flops_per_unit: float
    """Floating-point operations of a step for each unit (token, image), backward included."""
    peak_flops_per_s: float
    units_per_epoch: float


def work(model: Any, turns: Sequence[Turn], batch: Batch, epoch: float, steps: int, precision: str) -> Work:
    """Measure it on one micro-batch; the model is left as it was.

    Args:
        model: on its device.
        turns: of its family.
        batch: the first, on the CPU.
        epoch: size of all rows ÷ size of the rows of the batch.
        steps: of the run.
        precision: of the run.
    """
    device = next(model.parameters()).device
    flops = operations(model, turns, batch.to(device), steps, precision)
    return Work(flops / batch.units, peak(device, precision), epoch * batch.units)


def operations(model: Any, turns: Sequence[Turn], batch: Batch, steps: int, precision: str) -> float:
    """Floating-point operations of a step on one micro-batch, all turns together: two for each multiplication."""
    kept = {name: value.clone() for name, value in model.named_buffers()}
    aten = torch.ops.aten
    missing = {
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda grad, *shapes, **_: 2 * _attention(*shapes),
    }
    counted, device = 0.0, next(model.parameters()).device
    model.train()
    for turn in turns:
        with FlopCounterMode(display=False, custom_mapping=missing) as counter:
            with autocast(device.type, precision):
                loss, _ = turn.loss(model, batch.tensors, At(0, steps))
            loss.backward()  # type: ignore[no-untyped-call]
        counted += turn.times * counter.get_total_flops()
        model.zero_grad(set_to_none=True)
    with torch.no_grad():
        for name, value in model.named_buffers():
            value.copy_(kept[name])
    return counted


def _attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    """Scores and weighted sum, of shapes (rows, heads, length, width), whatever the number of key heads."""
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def peak(device: torch.device, precision: str) -> float:
    """Floating-point operations a second, at most, of the product of two matrices."""
    side = PEAK_SIDE[device.type]
    one = torch.ones(side, side, device=device, dtype=TYPES.get(precision, torch.float32))
    seconds = []
    for _ in range(PEAK_TRIES):
        begun = time.perf_counter()
        float((one @ one)[0, 0])  # waits for an accelerator
        seconds.append(time.perf_counter() - begun)
    return float(2 * side**3 / min(seconds))


def figures(timed: Timed, work: Work, cores: int) -> dict[str, float]:
    """Of a stretch of steps: units a second, MFU, seconds an epoch, share of each part of the time, and of the cores.

    Args:
        timed: of the stretch.
        work: of the run.
        cores: that the process may use.
    """
    wall = timed.seconds["wall"]
    speed = timed.units / wall
    shares = {part: timed.seconds.get(part, 0.0) / wall for part in PARTS}
    return {
        "units_per_s": speed,
        "mfu": speed * work.flops_per_unit / work.peak_flops_per_s,
        "epoch_s": work.units_per_epoch / speed if speed else math.inf,
        "cpu_share": timed.seconds["cpu"] / wall / cores,
        **{f"time_share/{part}": share for part, share in shares.items()},
        "time_share/idle": max(0.0, 1 - sum(shares.values())),
    }


def together(timed: Sequence[Timed]) -> Timed | None:
    """Several stretches as one; None of none."""
    if not timed:
        return None
    names = {name for one in timed for name in one.seconds}
    seconds = {name: sum(one.seconds.get(name, 0.0) for one in timed) for name in sorted(names)}
    return Timed(timed[-1].step, seconds, sum(one.units for one in timed))
