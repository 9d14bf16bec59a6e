"""Fully sharded data parallel: weights, gradients and the optimizer's state are shared out too.

Zhao et al. 2023, "PyTorch FSDP" (arXiv 2304.11277), as torch's `fully_shard` (FSDP2): each block is put together
just before it is needed, in the forward pass and in the backward pass, its gradient summed to who has which part.
"""

import torch
from torch.distributed.device_mesh import init_device_mesh

from nightforge.parallel import _shards
from nightforge.parallel._group import Config
from nightforge.ranks import Ranks

__all__ = ["SAMPLE", "Config", "spread"]

SAMPLE = Config(processes=2, restarts=0)


def spread(model: torch.nn.Module, turns: int, cfg: Config) -> Ranks:
    """Share out the parameters of every block, and those of no block as one more."""
    of = torch.distributed.get_world_size()
    device = next(model.parameters()).device.type
    return _shards.shard(model, init_device_mesh(device, (of,), mesh_dim_names=("data",)))
