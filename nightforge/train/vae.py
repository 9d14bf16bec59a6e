"""A variational autoencoder with convolutions, told the label; for pictures and for spectrograms of any shape.

Kingma & Welling 2014 (arXiv 1312.6114); free bits: Kingma et al. 2016 (arXiv 1606.04934, §3.3), by row so that a step
in parts is the same step; KL annealing: Bowman et al. 2016 (arXiv 1511.06349); perceptual loss: Hou et al. 2017
(arXiv 1610.00291). The score is −ELBO of levels, so `bpb` is an upper bound of true bits a byte.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from pydantic import Field
from torch.nn import functional

from nightforge.config import Config as BaseConfig
from nightforge.draws import normal, one_normal
from nightforge.errors import ConfigError
from nightforge.train._blocks import Block, Norm, grid, norm, padded, widths
from nightforge.train._likelihood import logistic_nats
from nightforge.training import At

KIND, METRIC = "array", "bpb"
SCORE_DRAWS = 4
"""Latents that a row's score is the mean over."""
LOG_SCALES = (-7.0, 2.0)
"""Bounds of the logistic's ln scale: narrower than a level, wider than the picture's range."""
Extractor = Callable[[torch.Tensor], Sequence[torch.Tensor]]


class Config(BaseConfig):
    """The network and its loss."""

    width: int = Field(ge=8, le=1024, multiple_of=8)
    """Channels at full size; they double with each halving, up to four times."""
    halvings: int = Field(ge=0, le=7)
    """Times that the sides are halved; sides that do not divide are padded, and what is made is cut."""
    blocks: int = Field(ge=1, le=8)
    """Residual blocks at each size."""
    latent: int = Field(ge=1, le=1024)
    """Numbers at each place of the coarsest grid: the latent is (latent, height / 2^halvings, width / 2^halvings)."""
    norm: Norm
    """Batch norm, or group norm (eight groups), under which no row sees another."""
    upsample: Literal["nearest", "transposed"]
    """Between sizes: interpolation and a convolution, or a transposed convolution."""
    skip_share: float = Field(ge=0, lt=1)
    """Share of the training rows whose decoder also sees the encoder's layers; 0 builds no such connections. They
    bypass the latent, so scores and samples never use them."""
    kl_weight: float = Field(ge=0, le=10)
    """Weight of the divergence from the prior once it is annealed; 1 trains the bound itself."""
    anneal_share: float = Field(ge=0, le=1)
    """Share of the steps in which that weight rises from zero."""
    free_bits: float = Field(ge=0, le=10)
    """Bits of each latent number that cost nothing in training."""
    perceptual: float = Field(ge=0)
    """Weight of the mean squared distance of the judge's layers, in nats a byte; 0 does without."""


SAMPLE = Config(
    width=8, halvings=2, blocks=1, latent=4, norm="group", upsample="nearest", skip_share=0.0, kl_weight=1.0,
    anneal_share=0.2, free_bits=0.0, perceptual=0.0,
)  # fmt: skip


class Vae(torch.nn.Module):
    """Encoder and decoder; `extractor` makes layers of pictures for the perceptual loss, and is no part of it."""

    def __init__(self, cfg: Config, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.shape, self.cfg = shape, cfg
        self.latent_shape = (cfg.latent, *grid(shape, cfg.halvings))
        self.extractor: Extractor | None = None
        wide = widths(cfg.width, cfg.halvings)
        self.labels = torch.nn.Embedding(classes + 1, cfg.width)
        self.enter = torch.nn.Conv2d(shape[0], wide[0], 3, padding=1)
        self.down, self.shrink = _levels(cfg, wide), torch.nn.ModuleList()
        self.up, self.grow = _levels(cfg, wide), torch.nn.ModuleList()
        for finer, coarser in pairwise(wide):
            self.shrink.append(torch.nn.Conv2d(finer, coarser, 3, 2, padding=1))
            self.grow.append(_larger(cfg, coarser, finer))
        self.skips = torch.nn.ModuleList([torch.nn.Conv2d(w, w, 1) for w in wide] if cfg.skip_share else [])
        self.to_latent = torch.nn.Conv2d(wide[-1], 2 * cfg.latent, 1)
        self.from_latent = torch.nn.Conv2d(cfg.latent, wide[-1], 1)
        self.leave = torch.nn.Sequential(
            norm(cfg.norm, wide[0]), torch.nn.SiLU(), torch.nn.Conv2d(wide[0], 2 * shape[0], 3, padding=1)
        )

    def encode(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """Mean and ln variance of the latents (rows, *latent_shape), and the layers, the finest first."""
        label, hidden, layers = self.labels(y), self.enter(padded(x, self.cfg.halvings)), []
        for level, blocks in enumerate(self.down):
            hidden = _through(blocks, self.shrink[level - 1](hidden) if level else hidden, label)
            layers.append(hidden)
        mean, log_var = self.to_latent(hidden).chunk(2, dim=1)
        return mean, log_var.clamp(-20, 10), layers

    def decode(
        self, z: torch.Tensor, y: torch.Tensor, layers: Sequence[torch.Tensor] = ()
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and ln scale of each value (rows, *shape); `layers` as `encode` gave them, if the decoder may look."""
        label, hidden = self.labels(y), self.from_latent(z)
        for level in reversed(range(len(self.up))):
            if level < len(self.grow):
                hidden = self.grow[level](hidden)
            if layers:
                hidden = hidden + self.skips[level](layers[level])
            hidden = _through(self.up[level], hidden, label)
        mean, log_scale = self.leave(hidden)[:, :, : self.shape[1], : self.shape[2]].chunk(2, dim=1)
        return mean, log_scale.clamp(*LOG_SCALES)


def build(cfg: Config, shape: tuple[int, int, int], classes: int) -> Vae:
    """The network with random weights, drawn from torch's generator as the caller seeded it."""
    return Vae(cfg, shape, classes)


def attend(model: Vae, judge: Any) -> None:
    """Let the perceptual loss look through the judge's layers; its weights are not trained."""
    judge.requires_grad_(False)
    model.extractor = judge.maps


def loss(model: Any, tensors: Mapping[str, torch.Tensor], cfg: Config, at: At) -> tuple[torch.Tensor, dict[str, float]]:
    """Σ nats of the rows of `x`: −ln p(x | z) + weight · KL, and the perceptual part.

    Raises:
        ConfigError: a perceptual part is wanted, and there is no extractor.
    """
    x, y = tensors["x"], tensors["y"]
    mean, log_var, layers = model.encode(x, y)
    z = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
    if cfg.skip_share:
        kept = (torch.rand(len(x), 1, 1, 1, device=x.device) < cfg.skip_share).to(x.dtype)
        layers = [layer * kept for layer in layers]
    made, log_scale = model.decode(z, y, layers if cfg.skip_share else ())
    nats = logistic_nats(x, made.float(), log_scale.float()).sum()
    each = kl(mean.float(), log_var.float())
    free = each.clamp_min(cfg.free_bits * math.log(2)).sum()
    weight = cfg.kl_weight * min(1.0, at.step / max(1.0, cfg.anneal_share * at.steps))
    total = nats + weight * free
    logged = {"reconstruction_nats": float(nats.detach()), "kl_nats": float(each.detach().sum())}
    if cfg.perceptual:
        distance = cfg.perceptual * x[0].numel() * _perceptual(model.extractor, x, made)
        total, logged = total + distance, logged | {"perceptual": float(distance.detach())}
    return total, logged


def kl(mean: torch.Tensor, log_var: torch.Tensor) -> torch.Tensor:
    """KL(N(mean, var) ‖ N(0, 1)) of each number, in nats."""
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var)


@torch.no_grad()
def sample(model: Any, cfg: Config, labels: torch.Tensor, seed: int) -> torch.Tensor:
    """The means that latents of the prior decode to: (rows, *shape) in −1 … 1."""
    device = model.labels.weight.device
    z = one_normal(seed, (len(labels), *model.latent_shape), device)
    made: torch.Tensor = model.decode(z, labels.to(device))[0]
    return made.clamp(-1, 1)


@torch.no_grad()
def score(
    model: Any, cfg: Config, tensors: Mapping[str, torch.Tensor], seeds: torch.Tensor, judge: Any
) -> torch.Tensor:
    """−ELBO of each row in nats, without skip connections, as for samples of the prior: (rows,)."""
    x, y = tensors["x"], tensors["y"]
    mean, log_var, _ = model.encode(x, y)
    draws = normal(seeds, (SCORE_DRAWS, *model.latent_shape), x.device)
    nats = kl(mean, log_var).flatten(1).sum(1)
    for draw in range(SCORE_DRAWS):
        made, log_scale = model.decode(mean + (0.5 * log_var).exp() * draws[:, draw], y)
        nats = nats + logistic_nats(x, made, log_scale).flatten(1).sum(1) / SCORE_DRAWS
    return nats


def units(shape: tuple[int, int, int]) -> int:
    """Bytes of a row: a level takes one."""
    return math.prod(shape)


def _levels(cfg: Config, wide: list[int]) -> torch.nn.ModuleList:
    """The blocks at each size, the finest first."""
    return torch.nn.ModuleList(
        [torch.nn.ModuleList([Block(w, w, cfg.width, cfg.norm) for _ in range(cfg.blocks)]) for w in wide]
    )


def _larger(cfg: Config, coarser: int, finer: int) -> torch.nn.Module:
    if cfg.upsample == "transposed":
        return torch.nn.ConvTranspose2d(coarser, finer, 4, 2, padding=1)
    return torch.nn.Sequential(torch.nn.Upsample(scale_factor=2), torch.nn.Conv2d(coarser, finer, 3, padding=1))


def _through(blocks: Any, hidden: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    for block in blocks:
        hidden = block(hidden, label)
    return hidden


def _perceptual(extractor: Extractor | None, x: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    """Σ over rows of the mean squared distance of the layers, each layer's share the same."""
    if extractor is None:
        raise ConfigError(
            "train.family.perceptual: expected a network to look through (attend), got none; set it to 0."
        )
    pairs = list(zip(extractor(x), extractor(made), strict=True))
    return torch.stack([functional.mse_loss(b, a) * len(x) for a, b in pairs]).mean()
