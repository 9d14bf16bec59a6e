"""Diffusion told a text: a caption, as any local text encoder of transformers reads it, through cross-attention.

Rombach et al. 2022 (arXiv 2112.10752, §3.3) with diffusers' UNet2DConditionModel on the pictures themselves; noise,
guidance and score as in nightforge/train/diffusion.py. The encoder is no part of the network: captions reach it as the
encoder's last layer (nightforge/captions.py), those of the labels, which are their names, lie in the model folder.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field

from nightforge import denoising
from nightforge.captions import Captions
from nightforge.draws import one_normal
from nightforge.train._blocks import padded, widths
from nightforge.training import At

KIND, METRIC, TEXT = "array", "bpb", True


class Config(denoising.Config):
    """The network, the noise, and what of a text it sees."""

    text_width: int = Field(ge=1, le=65_536)
    """Width of the text encoder's last layer."""
    text_tokens: int = Field(ge=1, le=4096)
    """Tokens of a caption that are looked at; a longer one is cut."""


SAMPLE = Config(
    width=8, halvings=1, blocks=1, noise_steps=50, schedule="squaredcos_cap_v2", prediction="v_prediction",
    zero_snr=False, min_snr=5.0, label_dropout=0.1, guidance=1.5, sample_steps=4, text_width=16, text_tokens=6,
)  # fmt: skip


class TextDenoiser(torch.nn.Module):
    """The U-net, and the captions of the labels."""

    label_states: torch.Tensor
    label_mask: torch.Tensor

    def __init__(self, cfg: Config, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        from diffusers import UNet2DConditionModel

        self.shape, self.halvings = shape, cfg.halvings
        self.unet = UNet2DConditionModel(
            in_channels=shape[0],
            out_channels=shape[0],
            block_out_channels=widths(cfg.width, cfg.halvings),
            down_block_types=[*["DownBlock2D"] * cfg.halvings, "CrossAttnDownBlock2D"],
            up_block_types=["CrossAttnUpBlock2D", *["UpBlock2D"] * cfg.halvings],
            layers_per_block=cfg.blocks,
            norm_num_groups=8,
            attention_head_dim=8,
            cross_attention_dim=cfg.text_width,
        )
        nothing = _nothing(classes + 1, cfg, torch.device("cpu"))
        self.register_buffer("label_states", nothing.states)
        self.register_buffer("label_mask", nothing.mask)

    def forward(self, x: torch.Tensor, step: torch.Tensor, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Its prediction from noisy rows (rows, *shape), their steps (rows,) and captions."""
        out: torch.Tensor = self.unet(
            padded(x, self.halvings), step, encoder_hidden_states=states, encoder_attention_mask=mask
        ).sample
        return out[:, :, : self.shape[1], : self.shape[2]]

    def told(self, told: Captions) -> denoising.Denoise:
        """The network for rows of known captions."""
        return lambda x, step: self(x, step, told.states, told.mask)


def build(cfg: Config, shape: tuple[int, int, int], classes: int) -> TextDenoiser:
    """The network with random weights; labels say nothing until `caption` was told their names."""
    return TextDenoiser(cfg, shape, classes)


def caption(model: TextDenoiser, labels: Captions) -> None:
    """Keep the captions of the labels, one a class: what `sample` is told, and a row without a caption of its own."""
    model.label_states[: len(labels.states)] = labels.states
    model.label_mask[: len(labels.mask)] = labels.mask


def of_labels(model: Any, y: torch.Tensor) -> Captions:
    """The captions of labels (rows,)."""
    return Captions(model.label_states[y], model.label_mask[y])


def loss(model: Any, tensors: Mapping[str, torch.Tensor], cfg: Config, at: At) -> tuple[torch.Tensor, dict[str, float]]:
    """Σ over the rows of `x` of the weighted mean squared error; a share of the rows is told nothing."""
    x, told = tensors["x"], _told(model, tensors)
    nothing = _nothing(len(x), cfg, x.device)
    drop = torch.rand(len(x), device=x.device) < cfg.label_dropout
    states = torch.where(drop[:, None, None], nothing.states, told.states)
    mask = torch.where(drop[:, None], nothing.mask, told.mask)
    return denoising.loss(model.told(Captions(states, mask)), x, cfg), {}


@torch.no_grad()
def sample(model: Any, cfg: Config, labels: torch.Tensor, seed: int) -> torch.Tensor:
    """Pictures of labels: (rows, *shape) in −1 … 1."""
    return draw(model, cfg, of_labels(model, labels.to(model.label_states.device)), seed)


@torch.no_grad()
def draw(model: Any, cfg: Config, told: Captions, seed: int) -> torch.Tensor:
    """Pictures of any captions, by DDIM with guidance: (rows, *shape) in −1 … 1."""
    device, rows = model.label_states.device, len(told.states)
    denoise = denoising.guided(model.told(told), model.told(_nothing(rows, cfg, device)), cfg)
    return denoising.sample(denoise, one_normal(seed, (rows, *model.shape), device), cfg, 1.0).clamp(-1, 1)


@torch.no_grad()
def score(
    model: Any, cfg: Config, tensors: Mapping[str, torch.Tensor], seeds: torch.Tensor, judge: Any
) -> torch.Tensor:
    """The bound of each row given its caption in nats, without guidance: (rows,)."""
    return denoising.bound(model.told(_told(model, tensors)), tensors["x"], seeds, cfg, denoising.of_levels, 1.0)


def units(shape: tuple[int, int, int]) -> int:
    """Bytes of a row: a level takes one."""
    return math.prod(shape)


def _told(model: Any, tensors: Mapping[str, torch.Tensor]) -> Captions:
    if "text" in tensors:
        return Captions(tensors["text"].to(model.label_states.dtype), tensors["text_mask"])
    return of_labels(model, tensors["y"])


def _nothing(rows: int, cfg: Config, device: torch.device) -> Captions:
    """One token of zeros."""
    mask = torch.zeros(rows, cfg.text_tokens, dtype=torch.bool, device=device)
    mask[:, 0] = True
    return Captions(torch.zeros(rows, cfg.text_tokens, cfg.text_width, device=device), mask)
