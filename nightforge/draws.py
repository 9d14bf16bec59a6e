"""Draws for scores: each row's from its own seed, so that they do not depend on the rows beside it or on the device."""

import torch


def normal(seeds: torch.Tensor, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Standard normal numbers: (rows, *shape)."""
    return torch.stack([torch.randn(shape, generator=_generator(int(seed))) for seed in seeds]).to(device)


def uniform(seeds: torch.Tensor, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Numbers in 0 … 1: (rows, *shape)."""
    return torch.stack([torch.rand(shape, generator=_generator(int(seed))) for seed in seeds]).to(device)


def one_normal(seed: int, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Standard normal numbers for samples, all from one seed: shape."""
    return torch.randn(shape, generator=_generator(seed)).to(device)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
