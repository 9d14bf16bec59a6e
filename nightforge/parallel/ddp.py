"""Data parallel: each process holds the whole model and has its share of the micro-batches.

Li et al. 2020, "PyTorch Distributed" (arXiv 2006.15704): gradients are averaged in buckets while the rest of the
backward pass of the step's last micro-batch still runs.
"""

import torch

from nightforge.parallel._group import Config, Losses
from nightforge.ranks import Ranks

__all__ = ["SAMPLE", "Config", "spread"]

SAMPLE = Config(processes=2, restarts=0)


def spread(model: torch.nn.Module, turns: int, cfg: Config) -> Ranks:
    """Replicate a network; where several players take turns, each loss leaves out some of the weights."""
    wrapped = torch.nn.parallel.DistributedDataParallel(Losses(model), find_unused_parameters=turns > 1)

    def syncing(last: bool) -> None:
        wrapped.require_backward_grad_sync = last  # what no_sync() sets

    of = torch.distributed.get_world_size()
    return Ranks(torch.distributed.get_rank(), of, losses=wrapped, syncing=syncing)
