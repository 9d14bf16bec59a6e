"""The processes that train one model together, as far as the loop must know of them."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch


def directly(loss: Callable[..., Any], *arguments: Any) -> Any:
    """Call it."""
    return loss(*arguments)


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes that share out the micro-batches of a step (data parallel), which of them this is, and what the
    loop must do otherwise because of them. The defaults are for one process; nightforge/parallel/ has the others.
    """

    index: int
    of: int
    group: Any = None
    """Of torch.distributed; None for all there are."""
    losses: Callable[..., Any] = directly
    """Computes loss(network, …); gradients are averaged over the processes when what it returned is propagated back."""
    syncing: Callable[[bool], object] = bool
    """Told before each micro-batch whether it is the step's last of this process: before that nothing is averaged."""
    whole: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Inside, the network and its parts may be called directly; all processes must, in the same way."""
    window: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Around all losses of a step and their backward passes; at its end the gradients are those of the step."""
    stage: int = 0
    """Which run of the layers this process has, where they are shared out one after the other (pipeline)."""
    stages: int = 1
    """Processes that have such a run, all there are. The last alone knows a loss; a weight is one process's, and in the
    others has no rows."""

    @property
    def ahead(self) -> int:
        """Micro-batches that go forward before the first goes backward: the processes after this are busy with them."""
        return self.stages - 1 - self.stage

    def total(self, *values: float) -> list[float]:
        """Each value summed over the processes."""
        if self.of == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64)
        torch.distributed.all_reduce(summed, group=self.group)
        return [float(v) for v in summed]

    def together(self, figures: dict[str, float]) -> dict[str, float]:
        """The figures of all stages, those of one name summed."""
        if self.stages == 1:
            return figures
        several: list[dict[str, float]] = [{} for _ in range(self.stages)]
        torch.distributed.all_gather_object(several, figures)
        names = dict.fromkeys(name for found in several for name in found)
        return {name: sum(found.get(name, 0.0) for found in several) for name in names}

    def norm(self, gradients: list[torch.Tensor]) -> torch.Tensor:
        """Of all gradients together, whoever has them."""
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.stages == 1:
            return norm
        square = norm.detach().cpu().double().square()
        torch.distributed.all_reduce(square)
        return square.sqrt().to(norm)


ALONE = Ranks(0, 1)


def is_shared(tensor: Any) -> bool:
    """Whether processes share out a tensor (a DTensor)."""
    return hasattr(tensor, "to_local")


def own(tensor: Any) -> Any:
    """What this process has of a tensor: all of it, unless processes share it out."""
    return tensor.to_local() if is_shared(tensor) else tensor


def full(tensor: Any) -> Any:
    """All of a tensor, put together where processes share it out; all of them must ask."""
    return tensor.full_tensor() if is_shared(tensor) else tensor
