"""Recovery of what the passes before it lost: trained on against the dense model, compressed as it stays.

Hinton et al. 2015, arXiv 1503.02531. Which numbers move: all (rounding by straight-through, Bengio et al. 2013, arXiv
1308.3432), the scales of grids with norms and biases (EfficientQAT, Chen et al. 2024, arXiv 2407.11062, §3.3; of a
pruned model norms and biases alone, PERP, Zimmer et al. 2023, arXiv 2312.15230), or low-rank adapters, merged at the
end. Grids stay grids, and zeros of pruned layers stay zeros.
"""

from typing import Literal

from pydantic import Field, model_validator

from nightforge.compress import _pass, _recover
from nightforge.compress._context import Context, refuse_other
from nightforge.compress._pass import Given, Kind
from nightforge.compress._written import Written
from nightforge.held import Held

COMPATIBLE = _pass.COMPATIBLE
KIND: Kind = "train"
AFTER: set[Kind] = {"smooth", "prune", "shrink", "factor", "train", "quantize"}
least = _recover.least


class Config(_recover.Config):
    """What is trained, and against what."""

    trains: Literal["all", "scales", "lora"]
    """`all` weights; only `scales` of grids, norms and biases; or `lora`: adapters, scales, norms and biases."""
    rank: int | None = Field(ge=1, le=4096)
    """Rank of each adapter; null where there are none."""
    texts: Written | None
    """Train on texts that the teacher writes in place of the train split (sequence-level distillation); or null."""

    @model_validator(mode="after")
    def _ranked(self) -> "Config":
        if (self.trains == "lora") != (self.rank is not None):
            raise ValueError("rank is a number where trains is lora, and null elsewhere")
        return self


SAMPLE = Config(loop=_recover.SAMPLE_LOOP, alpha=0.5, temperature=2.0, hidden=0.1, trains="lora", rank=4, texts=None)


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model, and settings that would not give the same twice.

    Raises:
        ConfigError: see there.
    """
    refuse_other("distill", COMPATIBLE, context)
    _recover.check("distill", cfg)


def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Train; `held` is changed in place, and has the figures in its notes."""
    held.notes.append(("distill", _recover.recover(held, given, cfg, cfg.trains, cfg.rank, texts=cfg.texts)))
    return held
