"""Whether a network is compiled (torch.compile): only where what is left of the run repays the wait for the compiler.

Sizes are compiled as unknown, since batches differ; a batch of one row is compiled once more. Evaluations use the
network as it is. Compiled sums round otherwise, so a run goes on as it began.
"""

import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch

from nightforge.errors import ConfigError
from nightforge.parameters import untouched

WARM_UP_S = 60.0
"""What compiling forward and backward of a small transformer takes on two cores, at the least."""
LARGEST_GAIN = 0.4
"""Share of a pass that compiling saves at best; where even this would not repay the warm-up, nothing is tried."""
MARGIN = 0.95
"""A compiled pass must take less than this share of a plain one."""


class Choice(NamedTuple):
    """What was chosen, and why."""

    compiled: bool
    seconds: dict[str, float]
    """Of a forward and backward pass `plain` and `compiled`, and of the `warm_up`: what was measured of them."""
    why: str


def network(model: Any) -> Any:
    """The same weights, behind compiled code; it is compiled when it is first called."""
    return torch.compile(model, dynamic=True)


def choose(
    model: Any, wanted: bool | Literal["auto"], loss: Callable[[Any], torch.Tensor], passes: int
) -> tuple[Any, Choice]:
    """What losses are to be computed with, the network or its compiled self; the model is as before.

    Args:
        model: on its device.
        wanted: `auto` measures.
        loss: of a network, a scalar.
        passes: forward and backward passes that are to come.

    Raises:
        ConfigError: it must be compiled, and cannot be.
    """
    if wanted is False:
        return model, Choice(False, {}, "as it is")
    with untouched(model):
        taken = {"plain": _seconds(model, loss)}
        saved = taken["plain"] * passes * LARGEST_GAIN
        if wanted == "auto" and saved < WARM_UP_S:
            return model, Choice(False, taken, f"compiling would save {saved:.0f} s at best, and take {WARM_UP_S:.0f}")
        compiled, begun = network(model), time.perf_counter()
        trouble = _warmed_up(compiled, loss)
        taken["warm_up"] = time.perf_counter() - begun
        if trouble and wanted is True:
            raise ConfigError(
                f"train.loop.compile: {trouble} Set it to `no` or `auto`, or install a C++ compiler and the headers of "
                "Python if they lack."
            )
        if trouble:
            return model, Choice(False, taken, trouble)
        taken["compiled"] = _seconds(compiled, loss)
    repays = taken["compiled"] < MARGIN * taken["plain"]
    why = f"a pass takes {taken['compiled']:.4f} s compiled and {taken['plain']:.4f} s as it is"
    return (compiled if repays or wanted is True else model), Choice(repays or wanted is True, taken, why)


def _warmed_up(compiled: Any, loss: Callable[[Any], torch.Tensor]) -> str:
    """Compile; what went wrong, if anything did."""
    from torch._dynamo.utils import counters

    counters.clear()
    try:
        _seconds(compiled, loss, repeats=1)
    except Exception as e:  # noqa: BLE001  the compiler's own errors are of many kinds
        return f"compiling failed ({type(e).__name__}: {str(e).strip().splitlines()[0][:200]})."
    if not counters["stats"]["unique_graphs"]:
        return "nothing was compiled, for the family calls its network by parts."
    return ""


def _seconds(model: Any, loss: Callable[[Any], torch.Tensor], repeats: int = 3) -> float:
    """Of a forward and backward pass, the best of a few."""
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        value = loss(model)
        value.backward()  # type: ignore[no-untyped-call]
        value.item()  # waits for an accelerator
        taken.append(time.perf_counter() - begun)
    return min(taken)
