"""A generative adversarial network told the label: discriminator and generator move in turns, each by an optimizer.

Goodfellow et al. 2014 (arXiv 1406.2661) with their non-saturating loss, or the hinge of Lim & Ye 2017
(arXiv 1705.02894); the label by projection (Miyato & Koyama 2018, arXiv 1802.05637); spectral norm (Miyato et al. 2018,
arXiv 1802.05957); R1 (Mescheder et al. 2018, arXiv 1801.04406). A moving average of the weights is the loop's
(`train.loop.ema`). It has no likelihood: the score is the judge's nats of the label that was asked for, which a
generator of one good picture a class would win, so early stopping looks at the kernel distance.
"""

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
from pydantic import Field
from torch.nn import functional
from torch.nn.utils import parametrizations

from nightforge.config import Config as BaseConfig
from nightforge.draws import normal, one_normal
from nightforge.judge import BITS
from nightforge.train._blocks import Block, grid, norm, padded, widths
from nightforge.training import At, Turn

KIND, METRIC, WATCHED = "array", BITS, "kid"


class Config(BaseConfig):
    """The two networks and their losses."""

    width: int = Field(ge=8, le=1024, multiple_of=8)
    """Channels at full size; they double with each halving, up to four times."""
    halvings: int = Field(ge=0, le=7)
    """Sizes below the whole one; sides that do not divide are padded, and what is made is cut."""
    latent: int = Field(ge=1, le=4096)
    """Normal numbers that a picture is made of."""
    loss: Literal["hinge", "non_saturating"]
    """What the discriminator's verdict costs."""
    spectral_norm: bool
    """Whether every layer of the discriminator is divided by its largest singular value."""
    r1: float = Field(ge=0, le=1000)
    """Weight of half the squared gradient of the discriminator at real pictures; 0 does without."""
    discriminator_moves: int = Field(ge=1, le=20)
    """Moves of the discriminator a step; the generator makes one."""
    discriminator_lr_scale: float = Field(gt=0, le=100)
    """Its learning rate ÷ the generator's."""


SAMPLE = Config(
    width=8, halvings=2, latent=8, loss="hinge", spectral_norm=True, r1=0.1, discriminator_moves=1,
    discriminator_lr_scale=1.0,
)  # fmt: skip


class Generator(torch.nn.Module):
    """From normal numbers and a label to pictures; every block is told both."""

    def __init__(self, cfg: Config, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.shape, self.coarsest = shape, grid(shape, cfg.halvings)
        wide = widths(cfg.width, cfg.halvings)[::-1]
        self.labels = torch.nn.Embedding(classes + 1, cfg.latent)
        self.enter = torch.nn.Linear(2 * cfg.latent, wide[0] * self.coarsest[0] * self.coarsest[1])
        self.first = Block(wide[0], wide[0], 2 * cfg.latent, "group")
        self.blocks = torch.nn.ModuleList([Block(a, b, 2 * cfg.latent, "group") for a, b in pairwise(wide)])
        self.leave = torch.nn.Sequential(
            norm("group", wide[-1]), torch.nn.SiLU(), torch.nn.Conv2d(wide[-1], shape[0], 3, padding=1), torch.nn.Tanh()
        )

    def forward(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """(rows, latent) and (rows,) → (rows, channels, height, width) in −1 … 1."""
        told = torch.cat([z, self.labels(y)], dim=1)
        hidden = self.first(self.enter(told).unflatten(1, (-1, *self.coarsest)), told)
        for block in self.blocks:
            hidden = block(functional.interpolate(hidden, scale_factor=2), told)
        made: torch.Tensor = self.leave(hidden)[:, :, : self.shape[1], : self.shape[2]]
        return made


class Discriminator(torch.nn.Module):
    """From pictures and labels to a verdict: above zero is real."""

    def __init__(self, cfg: Config, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.halvings = cfg.halvings
        wide = widths(cfg.width, cfg.halvings)
        layers: list[torch.nn.Module] = [torch.nn.Conv2d(shape[0], wide[0], 3, padding=1), torch.nn.LeakyReLU(0.2)]
        for before, after in pairwise(wide):
            layers += [torch.nn.Conv2d(before, after, 3, padding=1), torch.nn.LeakyReLU(0.2)]
            layers += [torch.nn.Conv2d(after, after, 4, 2, padding=1), torch.nn.LeakyReLU(0.2)]
        rows, columns = grid(shape, cfg.halvings)
        self.layers = torch.nn.Sequential(*layers, torch.nn.Flatten())
        self.verdict = torch.nn.Linear(wide[-1] * rows * columns, 1)
        self.labels = torch.nn.Embedding(classes + 1, wide[-1] * rows * columns)
        torch.nn.init.normal_(self.labels.weight, std=0.02)
        if cfg.spectral_norm:
            for module in [m for m in self.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]:
                parametrizations.spectral_norm(module)
            parametrizations.spectral_norm(self.labels)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """(rows, channels, height, width) and (rows,) → (rows,)."""
        features = self.layers(padded(x, self.halvings))
        verdict: torch.Tensor = self.verdict(features).squeeze(1) + (self.labels(y) * features).sum(1)
        return verdict


class Gan(torch.nn.Module):
    """Both players."""

    def __init__(self, cfg: Config, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.generator = Generator(cfg, shape, classes)
        self.discriminator = Discriminator(cfg, shape, classes)


def build(cfg: Config, shape: tuple[int, int, int], classes: int) -> Gan:
    """Both networks with random weights, drawn from torch's generator as the caller seeded it."""
    return Gan(cfg, shape, classes)


def turns(cfg: Config) -> list[Turn]:
    """The discriminator moves, then the generator; each draws fresh latents."""
    return [
        Turn("discriminator", "discriminator", partial(_discriminator_loss, cfg), cfg.discriminator_lr_scale,
             cfg.discriminator_moves),
        Turn("generator", "generator", partial(_generator_loss, cfg)),
    ]  # fmt: skip


def costs(kind: str, real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    """What its verdicts on real and on made pictures cost the discriminator, in sum."""
    if kind == "hinge":
        return functional.relu(1 - real).sum() + functional.relu(1 + made).sum()
    return functional.softplus(-real).sum() + functional.softplus(made).sum()


def _discriminator_loss(
    cfg: Config, model: Any, tensors: Mapping[str, torch.Tensor], at: At
) -> tuple[torch.Tensor, dict[str, float]]:
    x, y = tensors["x"], tensors["y"]
    with torch.no_grad():
        made = model.generator(torch.randn(len(x), cfg.latent, device=x.device), y)
    if cfg.r1:
        x = x.detach().requires_grad_() + 0  # the hooks that count operations by module cannot bear a leaf here
    real, fake = model.discriminator(x, y), model.discriminator(made, y)
    total = costs(cfg.loss, real, fake)
    logged = {"real": float(real.detach().sum()), "made": float(fake.detach().sum())}
    if cfg.r1:
        penalty = gradient_penalty(real, x)
        total, logged = total + cfg.r1 * penalty, logged | {"r1": float(penalty.detach())}
    return total, logged


def gradient_penalty(verdict: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Σ over rows of half the squared norm of the verdict's gradient at the pictures that it was given on."""
    (gradient,) = torch.autograd.grad(verdict.sum(), x, create_graph=True)
    return 0.5 * gradient.square().sum()


def _generator_loss(
    cfg: Config, model: Any, tensors: Mapping[str, torch.Tensor], at: At
) -> tuple[torch.Tensor, dict[str, float]]:
    y = tensors["y"]
    verdict = model.discriminator(model.generator(torch.randn(len(y), cfg.latent, device=y.device), y), y)
    return (-verdict if cfg.loss == "hinge" else functional.softplus(-verdict)).sum(), {}


@torch.no_grad()
def sample(model: Any, cfg: Config, labels: torch.Tensor, seed: int) -> torch.Tensor:
    """Pictures of labels: (rows, channels, height, width) in −1 … 1."""
    device = model.generator.labels.weight.device
    z = one_normal(seed, (len(labels), cfg.latent), device)
    made: torch.Tensor = model.generator(z, labels.to(device))
    return made


@torch.no_grad()
def score(
    model: Any, cfg: Config, tensors: Mapping[str, torch.Tensor], seeds: torch.Tensor, judge: Any
) -> torch.Tensor:
    """Nats of each row's label when the judge reads a picture made for it; of its likeliest label for a row of none."""
    y = tensors["y"]
    nats = -judge(model.generator(normal(seeds, (cfg.latent,), y.device), y)).log_softmax(1)
    none = nats.shape[1] == y
    return torch.where(none, nats.min(1).values, nats.gather(1, y.masked_fill(none, 0)[:, None])[:, 0])


def units(shape: tuple[int, int, int]) -> int:
    """One a picture."""
    return 1
