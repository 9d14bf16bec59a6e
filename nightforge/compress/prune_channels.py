"""Channels between the two convolutions of a residual block are taken out: the network gets smaller and faster.

He et al. 2017 (*Channel pruning*, 1707.06168): those go that add least to what the block gives, and the second
convolution is fitted to give, of what stays, what it gave of all (there by least squares on patches; here channel by
channel at the same place, so that it costs the square of the channels alone). What passes around a block keeps its
width. Each group of a group norm loses as many channels as the others, as its layers know groups of one size.
"""

from typing import Any

import torch
from pydantic import Field
from torch.nn import functional

from nightforge import config
from nightforge.compress import _network
from nightforge.compress._context import Context, refuse_other
from nightforge.compress._network import Given, Inner, Network, inner
from nightforge.compress._pass import Kind
from nightforge.compress._shrink import energy, most

COMPATIBLE, AFTER = _network.COMPATIBLE, _network.AFTER
KIND: Kind = "shrink"


class Config(config.Config):
    """How many channels."""

    share: float = Field(gt=0, lt=1)
    """Share of the inner channels of each block that is taken out, at most."""
    damp: float = Field(gt=0, le=1)
    """Of the fit of what stays, as a share of the mean of the diagonal; more where few records are calibrated on."""


SAMPLE = Config(share=0.5, damp=0.001)


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model.

    Raises:
        ConfigError: it is not of a kind that this works on.
    """
    refuse_other("prune_channels", COMPATIBLE, context)


def least_share(cfg: Config) -> float:
    """The least share of the weights that stays: a layer loses channels at one of its ends."""
    return 1 - cfg.share


def apply(network: Network, given: Given, cfg: Config) -> Network:
    """Narrow block by block, each for what the narrower ones before it give; `network` is changed in place."""
    for name, block in list(inner(network.model)):
        hidden = seen(network, given, block)
        if not len(hidden):
            network.skipped[name] = "not narrowed: neither scoring nor sampling goes through it"
            continue
        old = functional.silu(block.norm(hidden))
        kept = chosen(block, gram(old, old), cfg.share)
        if len(kept) == block.first.out_channels:
            network.skipped[name] = f"not narrowed: {cfg.share:g} of the channels of a group are less than one"
            continue
        narrow(block, kept)
        new = functional.silu(block.norm(hidden[:, kept]))
        block.second.weight = torch.nn.Parameter(fitted(block.second.weight.detach(), old, new, cfg.damp))
        block.second.in_channels = len(kept)
    return network


@torch.no_grad()
def seen(network: Network, given: Given, block: Inner) -> torch.Tensor:
    """What goes into a block's inner norm on the calibration split: (rows of all calls, channels, height, width)."""
    found: list[torch.Tensor] = []
    handle = block.norm.register_forward_pre_hook(lambda _, args: found.append(args[0].detach().clone()))
    try:
        _network.work(network.model, network.family, given.calibration, given.judge, given.seed)
    finally:
        handle.remove()
    return torch.cat(found) if found else torch.empty(0)


def gram(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Σ over rows and places of one's channels times the other's: (channels, channels) float64."""
    a, b = (x.transpose(0, 1).flatten(1) for x in (one, other))
    return (a @ b.T).double()


def chosen(block: Inner, activity: torch.Tensor, share: float) -> torch.Tensor:
    """The channels that stay, in their order: of each group of the norm those that add most to what the block gives.

    Args:
        block: of which the second convolution says what a channel adds.
        activity: the channels' Gram matrix.
        share: as in Config.
    """
    groups = getattr(block.norm, "num_groups", 1)
    each = len(activity) // groups
    stays = max(1, each - int(share * each + 1e-9))
    weight = block.second.weight.detach().transpose(1, 3).flatten(0, 2)  # (outputs and places of the kernel, channels)
    worth = energy(weight, activity.float(), 1).reshape(groups, each)
    return torch.cat([most(worth[group], stays) + group * each for group in range(groups)])


def narrow(block: Inner, kept: torch.Tensor) -> None:
    """Keep some of the inner channels (kept,), in place, in all but the second convolution's weight."""
    layers: list[Any] = [block.first, block.told, block.norm]
    for layer in layers:
        layer.weight = torch.nn.Parameter(layer.weight.detach()[kept].clone())
        layer.bias = torch.nn.Parameter(layer.bias.detach()[kept].clone())
    block.first.out_channels = block.told.out_features = len(kept)
    if isinstance(block.norm, torch.nn.GroupNorm):
        block.norm.num_channels = len(kept)
    else:
        block.norm.num_features = len(kept)
        block.norm.running_mean, block.norm.running_var = block.norm.running_mean[kept], block.norm.running_var[kept]


def fitted(weight: torch.Tensor, old: torch.Tensor, new: torch.Tensor, damp: float) -> torch.Tensor:
    """The weight on fewer channels that gives most nearly what the whole gave: each old channel as a sum of new ones.

    Args:
        weight: (outputs, channels, height, width) of a convolution.
        old: what went into it (rows, channels, height, width).
        new: what goes into it now (rows, fewer, height, width).
        damp: as in Config.
    """
    within = gram(new, new)
    within += damp * within.diagonal().mean().clamp_min(1e-30) * torch.eye(len(within), dtype=torch.float64)
    mixture = torch.linalg.solve(within, gram(new, old))  # (fewer, channels)
    return torch.einsum("ochw,nc->onhw", weight.double(), mixture).float()
