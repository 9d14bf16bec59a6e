"""Diffusion without its network: how noise is added, what is predicted, what it costs, and the way back.

Ho et al. 2020 (DDPM, arXiv 2006.11239) with the schedules of diffusers; min-SNR weights: Hang et al. 2023
(arXiv 2303.09556); zero terminal SNR: Lin et al. 2024 (arXiv 2305.08891); sampling: DDIM (Song et al. 2021,
arXiv 2010.02502); guidance: Ho & Salimans 2022 (arXiv 2207.12598); the bound: Kingma et al. 2021 (VDM,
arXiv 2107.00630, eq. 11 and 13).
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator

from nightforge.config import Config as BaseConfig
from nightforge.draws import normal, uniform
from nightforge.levels import HIGHEST

SCORE_STEPS = 16
"""Noise levels at which a row is scored, spread evenly over the logarithm of the signal-to-noise ratio."""
Denoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(noisy rows, the step of each) → what the network predicts."""


class Config(BaseConfig):
    """The network, the noise, and how samples are drawn."""

    width: int = Field(ge=8, le=1024, multiple_of=8)
    """Channels at full size; they double with each halving, up to four times."""
    halvings: int = Field(ge=0, le=6)
    """Times that the sides are halved; sides that do not divide are padded for the network alone."""
    blocks: int = Field(ge=1, le=8)
    """Residual blocks at each size."""
    noise_steps: int = Field(ge=10, le=10_000)
    """Steps from data to noise."""
    schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"]
    """How fast noise comes in, as diffusers names it."""
    prediction: Literal["epsilon", "v_prediction", "sample"]
    """What the network predicts: the noise, a mixture of noise and data, or the data."""
    zero_snr: bool
    """Whether the last step is noise alone; the noise cannot be what is predicted then."""
    min_snr: float | None = Field(gt=0)
    """Signal-to-noise ratio above which a step counts no more in training; null weighs all predictions alike."""
    label_dropout: float = Field(ge=0, lt=1)
    """Share of the training rows that are told nothing, so that samples can be guided away from that."""
    guidance: float = Field(ge=0, le=50)
    """How far samples go towards what they are told: 1 as the network says, above 1 further; needs dropout."""
    sample_steps: int = Field(ge=1, le=10_000)
    """Steps from noise to a sample."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.zero_snr and self.prediction == "epsilon":
            raise ValueError(
                "zero_snr: expected prediction v_prediction or sample, for pure noise says nothing of data"
            )
        if self.guidance != 1 and not self.label_dropout:
            raise ValueError(f"guidance {self.guidance}: expected label_dropout above 0, or guidance 1")
        if self.sample_steps > self.noise_steps:
            raise ValueError(f"sample_steps: expected at most noise_steps, {self.noise_steps}, got {self.sample_steps}")
        return self


@lru_cache(maxsize=8)
def _signal(noise_steps: int, schedule: str, zero_snr: bool) -> torch.Tensor:
    from diffusers import DDPMScheduler

    made = DDPMScheduler(num_train_timesteps=noise_steps, beta_schedule=schedule, rescale_betas_zero_snr=zero_snr)
    signal: torch.Tensor = made.alphas_cumprod.double()
    return signal


def signal(cfg: Config, device: torch.device) -> torch.Tensor:
    """ᾱ: the share of the variance that is still data, at each step: (noise_steps,)."""
    return _signal(cfg.noise_steps, cfg.schedule, cfg.zero_snr).to(device)


def _parts(cfg: Config, step: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(α, σ) of each row's step, shaped to multiply rows; step −1 is data without noise."""
    share = torch.cat([signal(cfg, like.device), like.new_ones(1, dtype=torch.float64)])[step].view(
        -1, *[1] * (like.ndim - 1)
    )
    return share.sqrt().to(like.dtype), (1 - share).sqrt().to(like.dtype)


def loss(denoise: Denoise, x: torch.Tensor, cfg: Config) -> torch.Tensor:
    """Σ over rows of the mean squared error of the prediction, weighted; draws from torch's generator."""
    step = torch.randint(0, cfg.noise_steps, (len(x),), device=x.device)
    noise = torch.randn_like(x)
    alpha, sigma = _parts(cfg, step, x)
    target = {"epsilon": noise, "v_prediction": alpha * noise - sigma * x, "sample": x}[cfg.prediction]
    errors = (denoise(alpha * x + sigma * noise, step).float() - target).square().flatten(1).mean(1)
    return (weights(cfg, step) * errors).sum()


def weights(cfg: Config, step: torch.Tensor) -> torch.Tensor:
    """min(SNR, γ) of the error in the data, whatever is predicted; 1 where there is no γ."""
    if cfg.min_snr is None:
        return torch.ones(len(step), device=step.device)
    share = signal(cfg, step.device)[step]
    bounded = (share / (1 - share)).clamp(max=cfg.min_snr)
    # in units of the prediction's own error: of the data it is σ²/α² of the noise's, σ² of v's
    factor = {"epsilon": (1 - share) / share, "v_prediction": 1 - share, "sample": torch.ones_like(share)}
    return (bounded * factor[cfg.prediction]).float()


def data_of(prediction: torch.Tensor, noisy: torch.Tensor, step: torch.Tensor, cfg: Config) -> torch.Tensor:
    """The data that a prediction speaks of."""
    alpha, sigma = _parts(cfg, step, noisy)
    if cfg.prediction == "epsilon":
        return (noisy - sigma * prediction) / alpha
    return alpha * noisy - sigma * prediction if cfg.prediction == "v_prediction" else prediction


def noised(x: torch.Tensor, noise: torch.Tensor, step: torch.Tensor, cfg: Config) -> torch.Tensor:
    """Data at the level of noise of each row's step."""
    alpha, sigma = _parts(cfg, step, x)
    return alpha * x + sigma * noise


def levels(cfg: Config) -> torch.Tensor:
    """Where each of the steps of `sample` starts and where it ends, −1 for data without noise: (sample_steps, 2)."""
    start = _scheduler(cfg, None, torch.device("cpu")).timesteps
    return torch.stack([start, start - cfg.noise_steps // cfg.sample_steps], dim=1)


def ddim(
    prediction: torch.Tensor, noisy: torch.Tensor, start: torch.Tensor, end: torch.Tensor, cfg: Config, limit: float
) -> torch.Tensor:
    """A step of DDIM (eq. 12 with η = 0) from the level of each row to another, −1 for none; data is cut at `limit`."""
    data = data_of(prediction, noisy, start, cfg)
    alpha, sigma = _parts(cfg, start, noisy)
    to_alpha, to_sigma = _parts(cfg, end, noisy)
    return to_alpha * data.clamp(-limit, limit) + to_sigma * (noisy - alpha * data) / sigma


def leading(
    noisy: torch.Tensor, ahead: torch.Tensor, start: torch.Tensor, end: torch.Tensor, cfg: Config
) -> torch.Tensor:
    """The data that a step of DDIM from `noisy` to `ahead` speaks of."""
    alpha, sigma = _parts(cfg, start, noisy)
    to_alpha, to_sigma = _parts(cfg, end, noisy)
    return (ahead - to_sigma / sigma * noisy) / (to_alpha - to_sigma / sigma * alpha)


def bound(denoise: Denoise, x: torch.Tensor, seeds: torch.Tensor, cfg: Config, last: Any, limit: float) -> torch.Tensor:
    """An unbiased estimate of the variational bound of −ln p(x) of each row, in nats: (rows,).

    Each step back costs half its loss of signal-to-noise ratio times the squared error in the data. The steps are drawn
    with a chance in proportion to their share of ln SNR, one in each of SCORE_STEPS equal parts, by the row's seed.

    Args:
        denoise: the network.
        x: (rows, …).
        seeds: (rows,).
        cfg: of the noise.
        last: (x, noisy, α, σ) → nats of the data given its least noisy form: `of_levels` or `of_numbers`.
        limit: beyond which the data cannot be, so predictions are cut there.
    """
    share = signal(cfg, x.device)
    snr = share / (1 - share)
    lost = snr[:-1] - snr[1:]  # of step t + 1
    proposal = snr.clamp_min(1e-8).log()
    proposal = (proposal[:-1] - proposal[1:]) / (proposal[0] - proposal[-1])
    edges = proposal.cumsum(0).contiguous()
    places = (uniform(seeds, (SCORE_STEPS,), x.device) + torch.arange(SCORE_STEPS, device=x.device)) / SCORE_STEPS
    chosen = torch.searchsorted(edges, places.double()).clamp(max=len(lost) - 1)  # (rows, SCORE_STEPS)
    noise = normal(seeds, (SCORE_STEPS + 1, *x.shape[1:]), x.device)
    nats = torch.zeros(len(x), device=x.device, dtype=torch.float64)
    for draw in range(SCORE_STEPS):
        step = chosen[:, draw] + 1
        noisy = noised(x, noise[:, draw], step, cfg)
        found = data_of(denoise(noisy, step), noisy, step, cfg).clamp(-limit, limit)
        error = (x - found).double().square().flatten(1).sum(1)
        nats += 0.5 * lost[step - 1] * error / (SCORE_STEPS * proposal[step - 1])
    first = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    alpha, sigma = _parts(cfg, first, x)
    nats += last(x, alpha * x + sigma * noise[:, -1], alpha, sigma)
    left = share[-1]
    ends = 0.5 * (left * x.double().square() - left - torch.log1p(-left))  # KL of the noisiest to N(0, 1)
    return nats + ends.flatten(1).sum(1)


def of_levels(x: torch.Tensor, noisy: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Nats of levels, each as probable as the noisy value is under it: (rows,)."""
    levels = torch.arange(HIGHEST + 1, device=x.device) / (HIGHEST / 2) - 1
    distances = (noisy[..., None] - alpha[..., None] * levels) / sigma[..., None]
    logits = (-0.5 * distances.double().square()).log_softmax(-1)
    index = ((x + 1) * (HIGHEST / 2)).round().long()
    return -logits.gather(-1, index[..., None])[..., 0].flatten(1).sum(1)


def of_numbers(x: torch.Tensor, noisy: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Nats of real numbers, normal around the noisy ones: (rows,)."""
    width = (sigma / alpha).double()
    nats = 0.5 * ((x - noisy / alpha) / width).square() + width.log() + 0.5 * math.log(2 * math.pi)
    return nats.flatten(1).sum(1)


def sample(denoise: Denoise, noise: torch.Tensor, cfg: Config, limit: float | None) -> torch.Tensor:
    """What noise (rows, …) becomes in `sample_steps` steps of DDIM; data is cut at `limit` on the way, if given."""
    scheduler, x = _scheduler(cfg, limit, noise.device), noise
    for step in scheduler.timesteps:
        x = scheduler.step(denoise(x, step.expand(len(x))), step, x).prev_sample
    return x


def _scheduler(cfg: Config, limit: float | None, device: torch.device) -> Any:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        num_train_timesteps=cfg.noise_steps,
        beta_schedule=cfg.schedule,
        prediction_type=cfg.prediction,
        rescale_betas_zero_snr=cfg.zero_snr,
        timestep_spacing="trailing",
        clip_sample=limit is not None,
        clip_sample_range=limit or 1.0,
    )
    scheduler.set_timesteps(cfg.sample_steps, device=device)
    return scheduler


def guided(told: Denoise, untold: Denoise, cfg: Config) -> Denoise:
    """The prediction, moved away from what the network says when it is told nothing."""
    if cfg.guidance == 1:
        return told

    def prediction(x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        without = untold(x, step)
        return without + cfg.guidance * (told(x, step) - without)

    return prediction
