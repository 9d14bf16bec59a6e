"""Diffusion among the latents of a trained autoencoder (nightforge/train/vae.py), which stays as it is.

Rombach et al. 2022 (arXiv 2112.10752). `train.model` names the autoencoder's model folder, and `autoencoder` says its
values once more; the folder that is written holds both networks. The score is −ELBO with the diffusion as the prior
(Vahdat et al. 2021, arXiv 2106.05931, eq. 2), so `bpb` is an upper bound of true bits a byte.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch

from nightforge import denoising
from nightforge.array_models import Loaded
from nightforge.draws import normal, one_normal
from nightforge.errors import ConfigError
from nightforge.train import diffusion, vae
from nightforge.train._likelihood import logistic_nats
from nightforge.training import At

KIND, METRIC = "array", "bpb"
FARTHEST = 8.0
"""Where latents end, in standard deviations of the prior: beyond it predictions are cut in the score."""
units = vae.units


class Config(denoising.Config):
    """The diffusion's network and noise, and the autoencoder that it works in."""

    autoencoder: vae.Config
    """As the autoencoder was trained. With kl_weight 1 its latents are about as wide as noise, as diffusion needs."""


SAMPLE = Config(**diffusion.SAMPLE.model_dump() | {"halvings": 0}, autoencoder=vae.SAMPLE)


class LatentDenoiser(torch.nn.Module):
    """The frozen autoencoder and the denoiser of its latents."""

    def __init__(self, cfg: Config, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.vae = vae.build(cfg.autoencoder, shape, classes).requires_grad_(False)
        self.denoiser = diffusion.build(cfg, self.vae.latent_shape, classes)

    def encode(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and logarithm of the variance of the latents of rows (rows, *shape)."""
        mean, log_var, _ = self.vae.encode(x, y)
        return mean, log_var

    def decode(self, z: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What latents stand for, and the logarithm of its scale."""
        made, log_scale = self.vae.decode(z, y)
        return made, log_scale

    def denoise(self, z: torch.Tensor, step: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The prediction from noisy latents, their steps and labels (rows,)."""
        out: torch.Tensor = self.denoiser(z, step, y)
        return out

    def told(self, y: torch.Tensor) -> denoising.Denoise:
        """The denoiser for rows of known labels."""
        return lambda z, step: self.denoise(z, step, y)

    def train(self, mode: bool = True) -> "LatentDenoiser":
        """The autoencoder's norms stay in evaluation mode."""
        super().train(mode)
        self.vae.eval()
        return self


def build(cfg: Config, shape: tuple[int, int, int], classes: int) -> LatentDenoiser:
    """Both networks with random weights, drawn from torch's generator as the caller seeded it; see `adopt`."""
    return LatentDenoiser(cfg, shape, classes)


def adopt(model: LatentDenoiser, cfg: Config, loaded: Loaded) -> None:
    """Take over the weights of a trained autoencoder.

    Raises:
        ConfigError: the folder holds another family, or an autoencoder of other values.
    """
    if loaded.card["family"] != "vae" or loaded.family.cfg != cfg.autoencoder:
        raise ConfigError(
            f"train.model: expected a vae of the values in train.family.autoencoder, got a {loaded.card['family']} of "
            f"{loaded.card['config']}."
        )
    model.vae.load_state_dict(loaded.model.state_dict())


def loss(model: Any, tensors: Mapping[str, torch.Tensor], cfg: Config, at: At) -> tuple[torch.Tensor, dict[str, float]]:
    """Σ over rows of the weighted mean squared error of what is predicted of the row's latents, drawn anew."""
    with torch.no_grad():
        mean, log_var = model.encode(tensors["x"], tensors["y"])
        z = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
    return diffusion.loss(model.denoiser, {"x": z.float(), "y": tensors["y"]}, cfg, at)


@torch.no_grad()
def sample(model: Any, cfg: Config, labels: torch.Tensor, seed: int) -> torch.Tensor:
    """What sampled latents decode to: (rows, *shape) in −1 … 1."""
    y = labels.to(next(model.parameters()).device)
    told, untold = model.told(y), model.told(torch.full_like(y, model.denoiser.none))
    noise = one_normal(seed, (len(y), *model.vae.latent_shape), y.device)
    z = denoising.sample(denoising.guided(told, untold, cfg), noise, cfg, None)
    made: torch.Tensor = model.decode(z, y)[0]
    return made.clamp(-1, 1)


@torch.no_grad()
def score(
    model: Any, cfg: Config, tensors: Mapping[str, torch.Tensor], seeds: torch.Tensor, judge: Any
) -> torch.Tensor:
    """−ln p(x | z) + ln q(z | x) + the bound of −ln p(z), for one z a row, in nats: (rows,)."""
    x, y = tensors["x"], tensors["y"]
    mean, log_var = model.encode(x, y)
    noise = normal(seeds, model.vae.latent_shape, x.device)
    z = mean + (0.5 * log_var).exp() * noise
    made, log_scale = model.decode(z, y)
    reconstruction = logistic_nats(x, made, log_scale).flatten(1).sum(1)
    density = -0.5 * (noise.square() + log_var + math.log(2 * math.pi)).flatten(1).sum(1)
    # the row's next seed: the diffusion's noise must not be the noise that made z
    prior = denoising.bound(model.told(y), z, seeds + 1, cfg, denoising.of_numbers, FARTHEST)
    nats: torch.Tensor = reconstruction + density + prior
    return nats
