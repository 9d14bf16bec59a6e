"""A diffusion model draws its samples in fewer steps: as much faster, by the same network.

Song et al. 2021 (DDIM, 2010.02502, §5.1): the same network samples in any number of steps. What is lost shows in the
samples alone (`kernel_distance` beside the dense model's), not in the bound of the likelihood, which takes no steps.
"""

from pydantic import Field

from nightforge import config
from nightforge.compress import _network
from nightforge.compress._context import Context, refuse_other
from nightforge.compress._network import Given, Network
from nightforge.compress._pass import Kind
from nightforge.errors import ConfigError
from nightforge.methods import choose

COMPATIBLE = _network.COMPATIBLE | {"family": {"diffusion", "latent_diffusion", "text_diffusion"}}
KIND: Kind = "shrink"
AFTER = _network.AFTER


class Config(config.Config):
    """How many steps."""

    sample_steps: int = Field(ge=1, le=10_000)
    """From noise to a sample, in place of the dense model's `sample_steps`."""


SAMPLE = Config(sample_steps=2)


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model, and steps that are not fewer.

    Raises:
        ConfigError: such a model or number.
    """
    refuse_other("fewer_steps", COMPATIBLE, context)
    refuse_more("fewer_steps", context, cfg.sample_steps)


def refuse_more(name: str, context: Context, sample_steps: int) -> None:
    """Refuse steps that are not fewer than the dense model's.

    Raises:
        ConfigError: they are not.
    """
    if sample_steps >= (steps := context.config["sample_steps"]):
        raise ConfigError(f"compress: {name}: expected fewer than the dense model's {steps}, got {sample_steps}.")


def least_share(cfg: Config) -> float:
    """All weights stay."""
    return 1.0


def apply(network: Network, given: Given, cfg: Config) -> Network:
    """Sampling, from here on, takes so many steps."""
    family = network.family
    values = family.cfg.model_dump(mode="json") | {"sample_steps": cfg.sample_steps}
    network.family = choose(family.stage, {"name": family.name, **values})
    return network
