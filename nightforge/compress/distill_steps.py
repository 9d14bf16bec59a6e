"""A diffusion model learns to go several steps towards a sample in one.

Salimans & Ho 2022 (*Progressive distillation*, 2202.00512, alg. 2 and §4): from noisy training rows the dense model
goes some steps of DDIM, and the student learns the data whose one step ends there, by the weight SNR + 1; there two
steps at a time, again and again, here as many as it takes, once. The steps are guided, and the student takes guidance
in (Meng et al. 2023, 2210.03142), so that it is called once where the dense model is called twice. At all other
levels of noise it goes on giving what the dense model gives, so that its bound of the likelihood stays what it was.
"""

from collections.abc import Iterator

import torch
from pydantic import Field

from nightforge import config, denoising
from nightforge.compress import _network, fewer_steps
from nightforge.compress._context import Context, refuse_other
from nightforge.compress._network import Given, Network
from nightforge.compress._pass import Kind
from nightforge.denoising import Denoise
from nightforge.methods import choose

COMPATIBLE, AFTER = _network.COMPATIBLE | {"family": {"diffusion"}}, _network.AFTER
KIND: Kind = "train"
LIMIT = 1.0
"""Beyond which no data is, as sampling has it."""


class Config(config.Config):
    """How many steps, and how they are learnt."""

    sample_steps: int = Field(ge=1, le=10_000)
    """From noise to a sample, in place of the dense model's `sample_steps`."""
    steps: int = Field(ge=1, le=1_000_000)
    """Batches that are trained on."""
    lr: float = Field(gt=0, lt=1)
    """Peak learning rate of AdamW, which falls to zero by a cosine."""
    batch_rows: int = Field(ge=2, le=65_536)
    """Rows of a batch; half of them learn steps, the others what the dense model gives at any level of noise."""


SAMPLE = Config(sample_steps=2, steps=10, lr=1e-3, batch_rows=8)


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model, and steps that are not fewer.

    Raises:
        ConfigError: such a model or number.
    """
    refuse_other("distill_steps", COMPATIBLE, context)
    fewer_steps.refuse_more("distill_steps", context, cfg.sample_steps)


def least_share(cfg: Config) -> float:
    """All weights stay."""
    return 1.0


def apply(network: Network, given: Given, cfg: Config) -> Network:
    """Train; from then on sampling takes so many steps, without guidance. `network` is changed in place."""
    noise: denoising.Config = network.family.cfg  # type: ignore[assignment]
    teacher, rows = given.dense(), given.training()
    levels = denoising.levels(noise.model_copy(update={"sample_steps": cfg.sample_steps}))
    together = max(1, round(noise.sample_steps / cfg.sample_steps))
    generator = torch.Generator().manual_seed(given.seed)

    def losses() -> Iterator[torch.Tensor]:
        at = torch.randint(len(rows.seeds), (cfg.batch_rows,), generator=generator)
        x, y = rows.tensors["x"][at], rows.tensors["y"][at]
        start, end = levels[torch.randint(len(levels), (cfg.batch_rows // 2,), generator=generator)].T
        other = torch.randint(noise.noise_steps, (cfg.batch_rows - len(start),), generator=generator)
        step = torch.cat([start, other])
        noisy = denoising.noised(x, torch.randn(x.shape, generator=generator), step, noise)
        with torch.no_grad():
            half, told = len(start), teacher.told
            guided = denoising.guided(told(y[:half]), told(torch.full_like(y[:half], teacher.none)), noise)
            ahead = gone(guided, noisy[:half], start, end, together, noise)
            same = denoising.data_of(told(y[half:])(noisy[half:], other), noisy[half:], other, noise)
            wanted = torch.cat([denoising.leading(noisy[:half], ahead, start, end, noise), same])
        found = denoising.data_of(network.model.told(y)(noisy, step), noisy, step, noise)
        yield error(found, wanted, step, noise)

    _network.train(network.model, cfg.steps, cfg.lr, losses)
    values = noise.model_dump(mode="json") | {"sample_steps": cfg.sample_steps, "guidance": 1.0}
    network.family = choose(network.family.stage, {"name": network.family.name, **values})
    return network


def gone(
    denoise: Denoise, noisy: torch.Tensor, start: torch.Tensor, end: torch.Tensor, together: int, cfg: denoising.Config
) -> torch.Tensor:
    """What so many steps of DDIM, evenly spaced, make of noisy rows: of level `start` (rows,), to `end` (rows,)."""
    x, at = noisy, start
    for part in range(1, together + 1):
        to = start + torch.round((end - start) * part / together).long()
        x = denoising.ddim(denoise(x, at), x, at, to, cfg, LIMIT)
        at = to
    return x


def error(found: torch.Tensor, wanted: torch.Tensor, step: torch.Tensor, cfg: denoising.Config) -> torch.Tensor:
    """Mean squared error of the data, weighted by SNR + 1: that of v, whatever the network predicts."""
    weight = 1 / (1 - denoising.signal(cfg, found.device)[step])
    return (weight.float() * (found - wanted).square().flatten(1).mean(1)).mean()
