"""Parameters shared out over a mesh of processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule, fully_shard

from nightforge.parallel._group import Losses, blocks
from nightforge.ranks import Ranks


def shard(model: torch.nn.Module, mesh: Any) -> Ranks:
    """Share out the parameters of a network over the data parallel dimension of a mesh.

    Args:
        model: changed in place: its parameters become DTensors.
        mesh: one-dimensional.
    """
    root = Losses(model)
    for block in blocks(model):
        fully_shard(block, mesh=mesh)
    sharded: Any = fully_shard(root, mesh=mesh)
    units = [module for module in root.modules() if isinstance(module, FSDPModule)]

    @contextmanager
    def whole() -> Iterator[None]:
        """A block is put together when it is called, by itself; what belongs to no block is not."""
        for unit in units:
            unit.unshard()
        yield
        for unit in units:
            unit.reshard()

    return Ranks(mesh.get_local_rank(), mesh.size(), mesh.get_group(), root, sharded.set_requires_gradient_sync, whole)
