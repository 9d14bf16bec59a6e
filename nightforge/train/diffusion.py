"""Denoising diffusion of pictures or spectrograms, told the label: diffusers' UNet2DModel.

The methods, and where they are from: nightforge/denoising.py. The score is the variational bound of levels by
SCORE_STEPS noise levels a row, an unbiased estimate, so `bpb` is an upper bound of true bits a byte.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch

from nightforge import denoising
from nightforge.denoising import Config
from nightforge.draws import one_normal
from nightforge.train._blocks import padded, widths
from nightforge.training import At

__all__ = ["KIND", "METRIC", "SAMPLE", "Config", "Denoiser", "build", "loss", "sample", "score", "units"]

KIND, METRIC = "array", "bpb"
SAMPLE = Config(
    width=8, halvings=1, blocks=1, noise_steps=50, schedule="squaredcos_cap_v2", prediction="v_prediction",
    zero_snr=False, min_snr=5.0, label_dropout=0.1, guidance=1.5, sample_steps=4,
)  # fmt: skip


class Denoiser(torch.nn.Module):
    """The U-net, which pads what it sees and cuts what it says."""

    def __init__(self, cfg: Config, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        self.shape, self.halvings, self.none = shape, cfg.halvings, classes
        wide = widths(cfg.width, cfg.halvings)
        self.unet = UNet2DModel(
            in_channels=shape[0],
            out_channels=shape[0],
            block_out_channels=wide,
            down_block_types=[*["DownBlock2D"] * cfg.halvings, "AttnDownBlock2D"],
            up_block_types=["AttnUpBlock2D", *["UpBlock2D"] * cfg.halvings],
            layers_per_block=cfg.blocks,
            norm_num_groups=8,
            attention_head_dim=8,
            num_class_embeds=classes + 1,
        )

    def forward(self, x: torch.Tensor, step: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Its prediction from noisy rows (rows, *shape), their steps and labels (rows,)."""
        out: torch.Tensor = self.unet(padded(x, self.halvings), step, class_labels=y).sample
        return out[:, :, : self.shape[1], : self.shape[2]]

    def told(self, y: torch.Tensor) -> denoising.Denoise:
        """The network for rows of known labels."""
        return lambda x, step: self(x, step, y)


def build(cfg: Config, shape: tuple[int, int, int], classes: int) -> Denoiser:
    """The network with random weights, drawn from torch's generator as the caller seeded it."""
    return Denoiser(cfg, shape, classes)


def dropped(y: torch.Tensor, share: float, none: int) -> torch.Tensor:
    """Labels, a share of them taken away; draws from torch's generator."""
    return torch.where(torch.rand(len(y), device=y.device) < share, none, y)


def loss(model: Any, tensors: Mapping[str, torch.Tensor], cfg: Config, at: At) -> tuple[torch.Tensor, dict[str, float]]:
    """Σ over the rows of `x` of the weighted mean squared error of what is predicted."""
    y = dropped(tensors["y"], cfg.label_dropout, model.none)
    return denoising.loss(model.told(y), tensors["x"], cfg), {}


@torch.no_grad()
def sample(model: Any, cfg: Config, labels: torch.Tensor, seed: int) -> torch.Tensor:
    """Pictures of labels, by DDIM with guidance: (rows, *shape) in −1 … 1."""
    device = next(model.parameters()).device
    y = labels.to(device)
    denoise = denoising.guided(model.told(y), model.told(torch.full_like(y, model.none)), cfg)
    return denoising.sample(denoise, one_normal(seed, (len(y), *model.shape), device), cfg, 1.0).clamp(-1, 1)


@torch.no_grad()
def score(
    model: Any, cfg: Config, tensors: Mapping[str, torch.Tensor], seeds: torch.Tensor, judge: Any
) -> torch.Tensor:
    """The bound of each row in nats, without guidance: (rows,)."""
    return denoising.bound(model.told(tensors["y"]), tensors["x"], seeds, cfg, denoising.of_levels, 1.0)


def units(shape: tuple[int, int, int]) -> int:
    """Bytes of a row: a level takes one."""
    return math.prod(shape)
