"""The processes that train one model together, as far as the loop must know of them."""

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes that share out the micro-batches of a step (data parallel), and which of them this is."""

    index: int
    of: int
    group: Any = None
    """Of torch.distributed; None where there is one process."""

    def total(self, *values: float) -> list[float]:
        """Each value summed over the processes."""
        if self.of == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64)
        torch.distributed.all_reduce(summed, group=self.group)
        return [float(v) for v in summed]


ALONE = Ranks(0, 1)
