"""In which precision a model is trained: measured on this machine, never assumed.

On a CPU without AMX, bf16 autocast takes 1.6 times as long as fp32; on accelerators it is the other way round.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import Any

import torch

BF16_MARGIN = 0.9
"""bf16 is chosen only where it takes less than this share of the time of fp32: below that, rounding is for nothing."""
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def device() -> str:
    """The accelerator that torch sees, or the CPU."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def autocast(device_type: str, precision: str) -> AbstractContextManager[Any]:
    """The context that the forward pass runs in."""
    return torch.autocast(device_type, TYPES[precision]) if precision in TYPES else nullcontext()


def seconds(model: Any, loss: Callable[[Any], torch.Tensor], device_type: str, repeats: int = 5) -> dict[str, float]:
    """Seconds of a forward and backward pass in each precision, the best of a few in turns; `model` is unchanged.

    Args:
        model: on its device.
        loss: of a network, a scalar.
        device_type: of the model.
        repeats: timed passes of each precision, after one that warms up.
    """
    trial = deepcopy(model).train()
    taken: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(repeats + 1):
        for precision, each in taken.items():
            begun = time.perf_counter()
            with autocast(device_type, precision):
                value = loss(trial)
            value.backward()  # type: ignore[no-untyped-call]
            value.item()  # waits for an accelerator
            each.append(time.perf_counter() - begun)
    return {precision: min(each[1:]) for precision, each in taken.items()}


def faster(taken: dict[str, float]) -> str:
    """The precision to train in, given what each one takes."""
    return "bf16" if taken["bf16"] < BF16_MARGIN * taken["fp32"] else "fp32"
